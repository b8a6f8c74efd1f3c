//! `cozy plan`: what would happen, and why in this order. `install` plans by
//! the same functions.

use std::path::Path;

use super::allow::Allow;
use super::artefacts;
use super::desire::{self, Before};
use super::flow::{self, Loaded};
use super::hosts::Purpose;
use super::preflight::{WorkArgs, skipped};
use super::{secrets, signals, unplanned};
use crate::cluster::Cluster;
use crate::cluster::inventory::Inventories;
use crate::error::{Exit, Problem};
use crate::model::cloud::{Cloud, Provider};
use crate::model::mask::Masks;
use crate::plan::Plan;
use crate::plan::planner::{self, Allowed, Observed};
use crate::provider::kubeadm::Runner;
use crate::render::Missing;
use crate::settings::Settings;
use crate::ui::diagnosis::Facts;
use crate::ui::picture::{Course, Form, Picture};
use crate::ui::{Format, Ui, graph, plan as draw, plan_json};

/// Flags of `cozy plan`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Show each object that changes, field by field
    #[arg(long)]
    diff: bool,
    /// Write the graph with the reasons of its edges: FILE.svg, FILE.html or FILE.dot, or `-` for text
    #[arg(long, value_name = "FILE")]
    graph: Option<String>,
    /// Exit with 3 when something would change
    #[arg(long)]
    exit_code: bool,
    /// Plan against an empty cluster that is simulated, with stand-ins
    #[arg(long)]
    rehearse: bool,
    #[command(flatten)]
    allow: Allow,
    #[command(flatten)]
    hosts: WorkArgs,
}

/// What a plan is made from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum View {
    /// An empty cluster that is simulated.
    Rehearsal,
    /// Servers with nothing on them: nobody installed this cloud from here yet.
    Fresh,
    /// The hosts, and the cluster on them.
    Hosts,
    /// A cluster that others made.
    Cluster,
}

impl View {
    fn of(cloud: &Cloud, rehearse: bool, settings: &Settings) -> Self {
        match cloud.kubernetes.provider {
            _ if rehearse => Self::Rehearsal,
            Provider::Existing => Self::Cluster,
            Provider::Kubeadm if flow::own_kubeconfig(cloud, settings).exists() => Self::Hosts,
            Provider::Kubeadm => Self::Fresh,
        }
    }

    /// Whether something real is looked at.
    fn is_real(self) -> bool {
        matches!(self, Self::Hosts | Self::Cluster)
    }
}

/// Runs the command.
pub(super) fn run(args: Args, settings: &Settings, ui: &Ui) -> anyhow::Result<Exit> {
    let Args { diff, graph, exit_code, rehearse, allow, hosts } = args;
    skipped(&hosts.look)?;
    graph.as_deref().map_or(Ok(()), |file| drawable(file, ui))?;
    let mut loaded = flow::load(settings)?;
    flow::warn(&loaded, ui);
    unplanned::supported(&loaded)?;
    let view = View::of(&loaded.file.cloud, rehearse, settings);
    if view != View::Cluster && (settings.kubeconfig.is_some() || settings.context.is_some()) {
        ui.note("note: --kubeconfig and --context are not used: this plan is not made from the cluster that they name");
    }
    if view.is_real() {
        secrets::read(&mut loaded, settings)?;
    }
    if let Err(signal) = artefacts::attach(&mut loaded, settings, view.is_real().then_some(ui))? {
        return Ok(artefacts::interrupted(signal, "cozy plan", ui));
    }
    let rendered = if view.is_real() { desire::refuse(&loaded)? } else { None };
    let before = Before { rendered, ..Before::default() };
    let allowed = allow.into();
    let (plan, facts) = match view {
        View::Rehearsal | View::Fresh => simulated(&loaded, allowed, ui)?,
        View::Cluster => flow::runtime()?.block_on(async {
            let cluster = flow::connect(&loaded.file.cloud, settings, ui).await?;
            let place = Place { cluster: Some(&cluster), runner: None, before };
            let Planned { plan, facts, .. } = planned(&loaded, place, allowed, settings, ui).await?;
            anyhow::Ok((plan, facts))
        })?,
        View::Hosts => {
            let found = of_hosts(&hosts, (&loaded, before), allowed, settings, ui);
            match flow::runtime()?.block_on(signals::or_stop(found)) {
                Ok(found) => match found? {
                    Ok(found) => found,
                    Err(exit) => return Ok(exit),
                },
                Err(exit) => return Ok(exit),
            }
        }
    };
    if view == View::Fresh {
        let cloud = &loaded.file.cloud;
        let kubeconfig = flow::own_kubeconfig(cloud, settings);
        ui.note(format!(
            "note: cloud {} was not installed from here yet (there is no `{}`): this is the plan for servers with \
             nothing on them; `cozy preflight` looks at them",
            cloud.name,
            kubeconfig.display()
        ));
    }
    print(ui, &plan, &facts.borrow(rehearse), diff, graph.as_deref())?;
    Ok(if exit_code && !plan.is_empty() { Exit::Changes } else { Exit::Done })
}

/// The plan for a cluster that is still to be made, with stand-ins for what is not at hand.
fn simulated(loaded: &Loaded, allowed: Allowed, ui: &Ui) -> anyhow::Result<(Plan, OwnFacts)> {
    let cloud = &loaded.file.cloud;
    let desired = flow::desired(loaded, flow::rendered(loaded, Missing::StandIn)?, allowed);
    flow::mention_idle_gates(&desired, ui);
    let existing = cloud.kubernetes.provider == Provider::Existing;
    let plan = planner::plan(&desired, &Observed::nothing(existing))
        .map_err(|errors| unplanned::no_plan(errors, &loaded.components))?;
    Ok((plan, OwnFacts::new(loaded, &flow::version(cloud))))
}

/// The plan as `install` would make it now. `Err`: preflight failed, and it was said why.
async fn of_hosts(
    hosts: &WorkArgs,
    (loaded, before): (&Loaded, Before),
    allowed: Allowed,
    settings: &Settings,
    ui: &Ui,
) -> anyhow::Result<Result<(Plan, OwnFacts), Exit>> {
    let ahead = super::hosts::ahead(&loaded.file.cloud, settings);
    let found = super::hosts::runner(hosts, Purpose::Plan, loaded, settings, ui).await?;
    let runner = match found {
        Ok(runner) => runner,
        Err(exit) => return Ok(Err(exit)),
    };
    if let Some(plan) = super::hosts::urgent(&runner, ui)? {
        return Ok(Ok((plan, OwnFacts::new(loaded, runner.version()))));
    }
    let cluster = runner.cluster(ahead, |said| ui.note(said)).await.map_err(flow::failure)?;
    let (cluster, said) = cluster.unzip();
    let before = Before::of(said.flatten(), before.rendered);
    let place = Place { cluster: cluster.as_ref(), runner: Some(&runner), before };
    let Planned { plan, facts, .. } = planned(loaded, place, allowed, settings, ui).await?;
    Ok(Ok((plan, facts)))
}

/// A plan with what it was made from.
pub(super) struct Planned {
    pub(super) plan: Plan,
    pub(super) facts: OwnFacts,
    pub(super) inventories: Inventories,
    /// What nothing may show.
    pub(super) masks: Masks,
}

/// What is planned for: a cluster, hosts, or both.
pub(super) struct Place<'a> {
    pub(super) cluster: Option<&'a Cluster>,
    pub(super) runner: Option<&'a Runner>,
    /// What need not be found out again.
    pub(super) before: Before,
}

/// Plans for what is there now.
pub(super) async fn planned(
    loaded: &Loaded,
    Place { cluster, runner, before }: Place<'_>,
    allowed: Allowed,
    settings: &Settings,
    ui: &Ui,
) -> anyhow::Result<Planned> {
    let mut wanted = desire::wanted(loaded, cluster, before, allowed).await?;
    wanted.desired.hosts = runner.map(Runner::steps).unwrap_or_default();
    let masks = wanted.masks.clone();
    flow::mention_idle_gates(&wanted.desired, ui);
    let about = wanted.about().map(|about| about.version.as_str());
    let facts = OwnFacts::new(loaded, runner.map(Runner::version).or(about).unwrap_or_default());
    let (plan, inventories) = wanted.plan(settings.concurrency, ui).await?;
    Ok(Planned { plan, facts, inventories, masks })
}

/// Refuses a graph that could not be written, before the work for it begins.
///
/// # Errors
/// C7002 for a form that there is not, C7009 for a file that cannot be written.
fn drawable(file: &str, ui: &Ui) -> anyhow::Result<()> {
    let is_dot = Path::new(file).extension().is_some_and(|extension| extension == "dot");
    match (file, Form::of(file)) {
        ("-", _) if ui.format() == Format::Text => Ok(()),
        ("-", _) => {
            let hint = "the document has every edge with its reason: leave `--graph -` out";
            Err(Problem::new(7002, Exit::Usage, "`--graph -` prints text only", hint).into())
        }
        (_, Some(Form::Svg | Form::Html)) => flow::writable(file),
        _ if is_dot => flow::writable(file),
        _ => {
            let hint = "name a file that ends in .svg, .html or .dot, or `-` for text";
            Err(Problem::new(7002, Exit::Usage, format!("cannot write a graph as `{file}`"), hint).into())
        }
    }
}

fn print(ui: &Ui, plan: &Plan, facts: &Facts<'_>, diff: bool, to: Option<&str>) -> anyhow::Result<()> {
    match (to, to.and_then(Form::of)) {
        (Some("-"), _) => return Ok(ui.data(&graph::graph_text(plan))?),
        (Some(file), Some(form @ (Form::Svg | Form::Html))) => {
            flow::written(file, &Picture::new(plan, facts, &Course::expected(plan)).render(form)?)?;
        }
        // The only other form that was let pass.
        (Some(file), _) => flow::written(file, &graph::graph_dot(plan))?,
        (None, _) => {}
    }
    match ui.format() {
        Format::Text => {
            ui.data(&draw::plan_text(plan, facts, ui.width()))?;
            if diff {
                ui.data(&draw::plan_diff(plan))?;
            }
        }
        Format::Json | Format::Yaml => ui.document(&plan_json::plan_json(plan))?,
    }
    Ok(())
}

/// What a plan's header says, owned.
pub(super) struct OwnFacts {
    cloud: String,
    bundle: String,
    hosts: usize,
    provider: String,
}

impl OwnFacts {
    /// Collects them.
    pub(super) fn new(loaded: &Loaded, version: &str) -> Self {
        let cloud = &loaded.file.cloud;
        let bundle = loaded.catalogue.bundles.get(&cloud.bundle);
        let provider = cloud.kubernetes.provider.as_str();
        Self {
            cloud: cloud.name.to_string(),
            bundle: bundle.map_or_else(
                || cloud.bundle.to_string(),
                |bundle| format!("{} {}", bundle.name, bundle.version),
            ),
            hosts: cloud.present_hosts().count(),
            provider: format!("{provider} {version}"),
        }
    }

    /// As the UI wants them.
    pub(super) fn borrow(&self, rehearsal: bool) -> Facts<'_> {
        Facts {
            cloud: &self.cloud,
            bundle: &self.bundle,
            hosts: self.hosts,
            provider: &self.provider,
            rehearsal,
        }
    }

    /// The first event of a run.
    pub(super) fn started(&self, plan: &Plan, rehearsal: bool) -> crate::execute::event::EventKind {
        crate::execute::event::EventKind::RunStarted {
            cloud: self.cloud.clone(),
            bundle: self.bundle.clone(),
            hosts: self.hosts,
            provider: self.provider.clone(),
            rehearsal,
            stood_in: plan.stood_in.clone(),
            components: plan.components().into_iter().map(str::to_owned).collect(),
            counts: plan.counts(),
            expected: plan.expected,
        }
    }
}
