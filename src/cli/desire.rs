//! From what was loaded to what is wanted of a cluster: charts are told what the
//! cluster has, and what they generated before.

use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::flow::{self, Loaded};
use super::unplanned;
use crate::cluster::Cluster;
use crate::cluster::error::ClusterError;
use crate::cluster::inventory::{Inventories, Inventory};
use crate::cluster::nodes::About;
use crate::cluster::observe::Read;
use crate::error::{Exit, Problem};
use crate::execute::retry::{self, Retry};
use crate::model::component::Resolved;
use crate::model::kept::{self, Kept};
use crate::model::mask::Masks;
use crate::model::names::ComponentName;
use crate::plan::Plan;
use crate::plan::planner::{self, Allowed, Desired, Observed};
use crate::provider::kubeadm::Said;
use crate::render::{self, Known, Missing, Rendered};
use crate::ui::Ui;

/// How long an API server that has just started is waited for.
const READY: Duration = Duration::from_secs(30);

/// How often charts may ask for more after an answer: a lookup may depend on another one's.
const ROUNDS: usize = 10;

/// What is wanted of a real cluster.
pub(super) struct Wanted<'a> {
    /// The components with their objects.
    pub(super) desired: Desired,
    /// What charts generated, and settings that are secret: nothing shows it.
    pub(super) masks: Masks,
    /// Components whose generated values were kept, and are not there any more.
    lost: Vec<ComponentName>,
    /// What the cluster says of itself; `None`: it is still to be made.
    seen: Option<Seen<'a>>,
    /// The components that it was made from.
    components: &'a [Resolved],
}

/// What was asked of a cluster before anything was rendered for it.
struct Seen<'a> {
    /// The cluster.
    cluster: &'a Cluster,
    /// What it said of itself.
    about: About,
    /// Read before what charts generated: what another run keeps meanwhile shows in their state. `None`: there are no
    /// charts, and nobody needed them yet.
    inventories: Option<Inventories>,
}

/// What need not be found out again.
#[derive(Default)]
pub(super) struct Before {
    /// What the cluster said of itself.
    pub(super) about: Option<About>,
    /// What was installed in it.
    pub(super) inventories: Option<Inventories>,
    /// The components, where they are the same for every cluster.
    pub(super) rendered: Option<Vec<Rendered>>,
}

impl Before {
    /// What a cluster on hosts said while these were asked.
    pub(super) fn of(said: Option<Said>, rendered: Option<Vec<Rendered>>) -> Self {
        let (about, inventories) = said.map(|said| (said.about, said.inventories)).unzip();
        Self { about, inventories, rendered }
    }
}

/// Refuses what is wrong whatever a cluster says, before anybody connects to one. Gives the components, where no cluster
/// can say anything that changes them.
pub(super) fn refuse(loaded: &Loaded) -> anyhow::Result<Option<Vec<Rendered>>> {
    let others = loaded.components.iter().filter(|resolved| resolved.artefact.is_none());
    let others: Vec<Resolved> = others.cloned().collect();
    let facts = flow::facts(&loaded.file.cloud, &loaded.components, None);
    let rendered = flow::rendered_with((&loaded.file, &others), &facts, Missing::Refuse)?;
    let all = others.len() == loaded.components.len();
    Ok((all && !render::sees(&others, "cluster")).then_some(rendered))
}

/// Renders the components for a cluster, or for one that is still to be made.
pub(super) async fn wanted<'a>(
    loaded: &'a Loaded,
    cluster: Option<&'a Cluster>,
    before: Before,
    allowed: Allowed,
) -> anyhow::Result<Wanted<'a>> {
    let mut facts = flow::facts(&loaded.file.cloud, &loaded.components, None);
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let mut known = Known { now: Some(now), ..Known::nothing(Missing::Refuse) };
    let (mut lost, mut seen) = (Vec::new(), None);
    if let Some(cluster) = cluster {
        let about = match before.about {
            Some(about) => about,
            None => cluster.about().await.map_err(flow::cluster)?,
        };
        tell(&about, loaded, &mut facts);
        let mut inventories = before.inventories;
        if loaded.components.iter().any(Resolved::is_chart) {
            let read = match inventories {
                Some(read) => read,
                None => cluster.inventories().await.map_err(flow::cluster)?,
            };
            lost = recall(cluster, loaded, &read, &mut known).await?;
            inventories = Some(read);
        }
        seen = Some(Seen { cluster, about, inventories });
    }
    let rendered = match before.rendered {
        Some(rendered) => rendered,
        None => answered(cluster, loaded, &facts, known).await?,
    };
    let settings = loaded.components.iter().flat_map(|resolved| &resolved.secrets);
    let settings = settings.filter_map(|secret| Some(secret.value.as_ref()?.expose().clone()));
    let generated = rendered.iter().filter_map(|component| component.kept.as_ref()).flat_map(Kept::secrets);
    let masks = Masks::of_texts(settings.chain(generated));
    Ok(Wanted {
        desired: flow::desired(loaded, rendered, allowed),
        masks,
        lost,
        seen,
        components: &loaded.components,
    })
}

/// Puts what a cluster says of itself among the facts that templates see.
fn tell(about: &About, loaded: &Loaded, facts: &mut Map<String, Value>) {
    let Some(facts) = facts.get_mut("cluster") else { return };
    facts["version"] = json!(about.version);
    if loaded.file.cloud.hosts.is_empty() {
        // Who may not list them is no worse off than with one node.
        facts["nodes"] = json!(about.nodes.as_ref().map_or(1, |nodes| nodes.len().max(1)));
    }
}

/// What charts may know of a cluster: what they generated before, and its APIs. Returns the components whose generated
/// values were kept, and are not there any more.
async fn recall(
    cluster: &Cluster,
    loaded: &Loaded,
    read: &Inventories,
    known: &mut Known,
) -> anyhow::Result<Vec<ComponentName>> {
    let inventories = &read.all;
    known.kept = cluster.kept().await.map_err(flow::cluster)?;
    let once = |name: &ComponentName| {
        let entry = inventories.get(name).and_then(|inventory| inventory.get(&kept::secret(name)));
        entry.is_some_and(|entry| entry.desired.is_some())
    };
    let all = loaded.components.iter().map(|resolved| &resolved.component.name);
    let lost = all.filter(|name| !known.kept.contains_key(*name) && once(name)).cloned().collect();
    let unfinished = known.kept.iter().filter(|(name, kept)| {
        kept.is_unfinished(|kind, of| {
            let entries = inventories.get(*name).into_iter().flat_map(Inventory::entries);
            let mut own = entries.filter(|(id, _)| id.kind.kind == kind && id.name == of);
            own.any(|(_, entry)| entry.complete)
        })
    });
    known.unfinished = unfinished.map(|(name, _)| name.clone()).collect();
    let declared = loaded.components.iter().flat_map(|resolved| resolved.component.provides.all_kinds());
    let declared = declared.map(|(provided, _)| provided.kind.clone()).collect();
    known.apis = Some(cluster.apis(&declared, inventories.values().flat_map(Inventory::ids)));
    Ok(lost)
}

/// Renders until no chart asks for an object whose answer is not known yet.
async fn answered(
    cluster: Option<&Cluster>,
    loaded: &Loaded,
    facts: &Map<String, Value>,
    mut known: Known,
) -> anyhow::Result<Vec<Rendered>> {
    let mut rounds = 0;
    loop {
        let rendering = render::render(&loaded.components, facts, &known);
        let (Some(cluster), false) = (cluster, rendering.asked.is_empty()) else {
            return rendering
                .result
                .map_err(|errors| unplanned::not_rendered(errors, &loaded.file, &loaded.components));
        };
        rounds += 1;
        if rounds > ROUNDS {
            let lookup = rendering.asked.first().map(|lookup| format!("{} {}", lookup.kind, lookup.name));
            return Err(Problem::new(
                2023,
                Exit::Usage,
                format!(
                    "a chart looks up other objects each time it is rendered, {} at last",
                    lookup.unwrap_or_default()
                ),
                "`lookup` must not depend on what is generated",
            )
            .into());
        }
        for component in rendering.result.into_iter().flatten() {
            known.made.extend(component.kept.map(|kept| (component.component, kept)));
        }
        for lookup in rendering.asked {
            let answer = cluster.lookup(&lookup).await.map_err(flow::cluster);
            let answer =
                answer.with_context(|| format!("a chart looks up {} {}", lookup.kind, lookup.name))?;
            known.answers.insert(lookup, answer);
        }
    }
}

impl Wanted<'_> {
    /// Looks at the cluster, plans, and says what is lost; the plan shows nothing that is secret.
    pub(super) async fn plan(mut self, concurrency: usize, ui: &Ui) -> anyhow::Result<(Plan, Inventories)> {
        for name in &self.lost {
            ui.note(format!(
                "warning: {} is lost: the passwords and certificates that the chart of component `{name}` generates \
                 are made anew",
                kept::secret(name)
            ));
        }
        if let Some(Seen { cluster, .. }) = &self.seen {
            let again = |retry: Retry<'_, ClusterError>| {
                if retry.attempt == 1 {
                    ui.note(format!("waiting for the API server: {}", retry.error));
                }
            };
            let act = async || cluster.know_all().await;
            retry::until(Instant::now() + READY, act, again).await.map_err(flow::cluster)?;
        }
        let (observed, inventories) = self.observed(concurrency).await?;
        let mut plan = planner::plan(&self.desired, &observed)
            .map_err(|errors| unplanned::no_plan_of(errors, self.components, &self.masks))?;
        plan.mask(&self.masks);
        Ok((plan, inventories))
    }

    /// Looks at the cluster that it was rendered for, to say what is there: also where its API server is not ready,
    /// and may not know yet all that it serves.
    pub(super) async fn observe(
        &mut self,
        concurrency: usize,
        ui: &Ui,
    ) -> anyhow::Result<(Observed, Inventories)> {
        if let Some(Seen { cluster, .. }) = &self.seen
            && let Err(error) = cluster.know_all().await
        {
            ui.note(format!("warning: the API server is not ready: {error}"));
            cluster.take_as_whole();
        }
        self.observed(concurrency).await
    }

    /// What is there. On bare servers there is nothing to look at.
    async fn observed(&mut self, concurrency: usize) -> anyhow::Result<(Observed, Inventories)> {
        let Some(Seen { cluster, about, inventories }) = self.seen.take() else {
            return Ok((Observed::nothing(false), Inventories::default()));
        };
        let inventories = match inventories {
            Some(inventories) => inventories,
            None => cluster.inventories().await.map_err(flow::cluster)?,
        };
        let read = Read::new(inventories, about.nodes);
        cluster.observe(&mut self.desired, read, concurrency).await.map_err(flow::cluster)
    }

    /// What the cluster that it was rendered for said of itself.
    pub(super) fn about(&self) -> Option<&About> {
        Some(&self.seen.as_ref()?.about)
    }
}
