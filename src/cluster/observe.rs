//! Looks at a cluster before the plan: what is served, which of the wanted
//! objects exist, and what applying them would change. Writes nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::error::ClusterError;
use super::inventory::{Entry, Inventories, Inventory};
use super::owned::digest;
use super::verdict::foreign;
use super::{ApplyMode, Cluster};
use crate::health::around::{self, Listed, Need, Nothing};
use crate::health::cel::{Gate, GateError};
use crate::health::{self, Context, Health};
use crate::model::names::ComponentName;
use crate::model::object::{GroupKind, Object, ObjectId};
use crate::plan::Stage;
use crate::plan::edges::gate_is_of;
use crate::plan::live::{Leftover, Live, Observed, Verdict};
use crate::plan::planner::{Desired, DesiredComponent};
use crate::plan::send;

/// What is known of an object, by whichever inventory.
struct Known<'a> {
    /// The inventory of the component that wants it.
    own: Option<&'a Entry>,
    /// Any inventory.
    any: Option<&'a Entry>,
}

/// What was found of one wanted object.
struct Found {
    live: Live,
    /// What the inventory should know of it, where it does not.
    entry: Option<Entry>,
}

impl Cluster {
    /// Leaves replicas to the autoscalers that are in the cluster.
    async fn leave_replicas(&self, desired: &mut Desired) {
        let lists = Lists::new(self);
        let needs: Vec<Need> =
            send::scalers().filter(|kind| self.plural(kind).is_some()).map(Need::Whole).collect();
        let found = lists.around(&needs).await;
        let scalers =
            found.whole.values().flatten().filter_map(|live| Object::from_value((**live).clone()).ok());
        let scaled = scalers.filter_map(|scaler| send::scaled(&scaler)).collect();
        send::leave_replicas(desired, &scaled);
    }

    /// Observes everything that the plan of `desired` depends on. The inventories that it gives know more of objects
    /// that are as wanted than those in the cluster may.
    pub(crate) async fn observe(
        &self,
        desired: &mut Desired,
        mut inventories: Inventories,
        concurrency: usize,
    ) -> Result<(Observed, Inventories), ClusterError> {
        self.leave_replicas(desired).await;
        let lists = Lists::new(self);
        let (found, leftovers) = {
            let all = &inventories.all;
            let index: HashMap<&ObjectId, &Entry> = all.values().flat_map(Inventory::entries).collect();
            let found = self.wanted(desired, all, &index, (&lists, concurrency)).await?;
            (found, self.leftovers(desired, &index, concurrency).await?)
        };
        let mut objects = BTreeMap::new();
        for (component, id, Found { live, entry }) in found {
            if let (Some(entry), Some(inventory)) = (entry, inventories.all.get_mut(component)) {
                inventory.record(&id, entry);
            }
            objects.insert(id, live);
        }
        let observed = Observed {
            served: Some(self.kinds()),
            provided: Some(self.provided(desired.hosts.is_empty()).await?),
            objects,
            inventories: each(&inventories, |inventory| inventory.ids().cloned().collect()),
            needs: each(&inventories, |inventory| inventory.needs().clone()),
            leftovers,
        };
        Ok((observed, inventories))
    }

    /// What is there of what is wanted.
    async fn wanted<'a>(
        &self,
        desired: &'a Desired,
        inventories: &BTreeMap<ComponentName, Inventory>,
        index: &HashMap<&ObjectId, &Entry>,
        (lists, concurrency): (&Lists<'_>, usize),
    ) -> Result<Vec<(&'a ComponentName, ObjectId, Found)>, ClusterError> {
        let wanted = desired.components.iter().flat_map(|component| {
            let inventory = inventories.get(&component.name);
            component.objects.iter().map(move |(stage, object)| (component, inventory, (*stage, object)))
        });
        let found: Vec<Option<_>> = stream::iter(wanted)
            .map(|(component, inventory, (stage, object))| {
                let own = inventory.and_then(|inventory| inventory.get(&object.id));
                let known = Known { own, any: own.or_else(|| index.get(&object.id).copied()) };
                (component, known, (stage, object))
            })
            .map(|(component, known, (stage, object))| async move {
                let found = self.observe_object(component, known, (stage, object), lists).await?;
                Ok::<_, ClusterError>(found.map(|found| (&component.name, object.id.clone(), found)))
            })
            .buffer_unordered(concurrency.max(1))
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// What there is to say of what nobody wants any more.
    async fn leftovers(
        &self,
        desired: &Desired,
        index: &HashMap<&ObjectId, &Entry>,
        concurrency: usize,
    ) -> Result<BTreeMap<ObjectId, Leftover>, ClusterError> {
        let ids = desired.components.iter().flat_map(|component| {
            component.objects.iter().map(|(_, object)| &object.id).chain(&component.idle)
        });
        let wanted: HashSet<&ObjectId> = ids.collect();
        let gone = index.iter().filter(|(id, _)| !wanted.contains(*id)).map(|(id, entry)| (*id, *entry));
        let found: Vec<Option<_>> = stream::iter(gone)
            .map(|(id, entry)| async move {
                let leftover = self.leftover(id, entry).await?;
                Ok::<_, ClusterError>(leftover.map(|leftover| (id.clone(), leftover)))
            })
            .buffer_unordered(concurrency.max(1))
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn observe_object(
        &self,
        component: &DesiredComponent,
        Known { own, any }: Known<'_>,
        (stage, object): (Stage, &Object),
        lists: &Lists<'_>,
    ) -> Result<Option<Found>, ClusterError> {
        let recorded = own.is_some_and(|entry| entry.desired.is_some());
        let Some(live) = self.get(&object.id, &object.version).await? else {
            let ran = any.is_some_and(|entry| {
                entry.complete && entry.desired.as_deref() == Some(&digest(&object.value))
            });
            let live = Live { verdict: Verdict::Finished, ready: true, recorded, ..Live::default() };
            return Ok(ran.then_some(Found { live, entry: None }));
        };
        let ended = !stage.is_hook() || health::has_ended(&live);
        let ready = ended && is_ready(component, object, &live, lists).await;
        let failed = health::has_failed(&live);
        let (verdict, entry) = self.verdict(object, &live, any).await?;
        let foreign = if any.is_some() { None } else { foreign(object, &live) };
        Ok(Some(Found { live: Live { verdict, ready, failed, recorded, foreign }, entry }))
    }
}

/// Something of each inventory.
fn each<T>(inventories: &Inventories, of: impl Fn(&Inventory) -> T) -> BTreeMap<ComponentName, T> {
    inventories.all.iter().map(|(name, inventory)| (name.clone(), of(inventory))).collect()
}

impl Cluster {
    /// The objects of a component that are not as they should be, with why:
    /// they are not there, are refused, or are not ready.
    pub(crate) async fn unwell(
        &self,
        component: &DesiredComponent,
        lists: &Lists<'_>,
        concurrency: usize,
    ) -> Result<Vec<(ObjectId, String)>, ClusterError> {
        let objects = component.objects.iter();
        let judged: Vec<Option<(ObjectId, String)>> = stream::iter(objects)
            .map(|(stage, object)| async move {
                let why = self.why_unwell(component, (*stage, object), lists).await?;
                Ok::<_, ClusterError>(why.map(|why| (object.id.clone(), why)))
            })
            .buffered(concurrency.max(1))
            .try_collect()
            .await?;
        Ok(judged.into_iter().flatten().collect())
    }

    async fn why_unwell(
        &self,
        component: &DesiredComponent,
        (stage, object): (Stage, &Object),
        lists: &Lists<'_>,
    ) -> Result<Option<String>, ClusterError> {
        let live = match self.get(&object.id, &object.version).await {
            Ok(live) => live,
            Err(ClusterError::Refused { code: 403, message, .. }) => return Ok(Some(message)),
            Err(error) => return Err(error),
        };
        // A CRD may be refused though it is there: a version that objects are stored in is missing.
        if live.is_none() || object.defines().is_some() {
            let dry_run = self.apply(object, ApplyMode { force: true, dry_run: true }).await;
            match (dry_run, &live) {
                (Err(error), _) => {
                    let why = match &error {
                        ClusterError::Refused { message, .. } => message.clone(),
                        other => other.to_string(),
                    };
                    return Ok(Some(why));
                }
                // It has done its work, and its time to live or its policy took it away.
                (Ok(_), None) if stage.is_hook() || health::is_passing_job(&object.value) => return Ok(None),
                (Ok(_), None) => return Ok(Some("it is not there".to_owned())),
                (Ok(_), Some(_)) => {}
            }
        }
        let Some(live) = live else { return Ok(None) };
        Ok(match judged(component, object, &live, lists, around::needs).await {
            Ok(Health::Ready | Health::Unknown) => None,
            Ok(Health::Progressing(why) | Health::Failed(why)) | Err(why) => Some(why),
            Ok(Health::Stuck(soft)) => Some(soft.message),
        })
    }
}

/// Whether an object's gates hold, or without any its health rule.
async fn is_ready(component: &DesiredComponent, object: &Object, live: &Value, lists: &Lists<'_>) -> bool {
    let judged = judged(component, object, live, lists, around::deciding).await;
    matches!(judged, Ok(Health::Ready | Health::Unknown))
}

/// What an object's gates say, or without any its health rule.
async fn judged(
    component: &DesiredComponent,
    object: &Object,
    live: &Value,
    lists: &Lists<'_>,
    needs: fn(&GroupKind, bool) -> Vec<Need>,
) -> Result<Health, String> {
    let own = component.gates.iter().filter(|spec| gate_is_of(spec, &object.id));
    let Ok(gates) = own
        .map(|spec| Ok((spec.of.as_str(), Gate::parse(&spec.cel)?)))
        .collect::<Result<Vec<_>, GateError>>()
    else {
        return Err("a gate cannot be read".to_owned());
    };
    let kind = &object.id.kind;
    if gates.is_empty() && !health::is_gated(&kind.group, &kind.kind) {
        return Ok(Health::Ready);
    }
    let judge = |around| {
        let context = Context { may_be_empty: component.may_be_empty, around };
        health::judge(live, gates.iter().map(|(of, gate)| (*of, gate)), context)
    };
    // Most objects say enough of themselves.
    let alone = judge(&Nothing);
    if matches!(alone, Ok(Health::Ready | Health::Unknown)) {
        return alone;
    }
    let whole = gates.iter().flat_map(|(_, gate)| gate.kinds()).cloned().map(Need::Whole);
    let needs: Vec<Need> = needs(kind, !gates.is_empty()).into_iter().chain(whole).collect();
    if needs.is_empty() { alone } else { judge(&lists.around(&needs).await) }
}

/// A list that is read at most once.
type Once = Arc<OnceCell<Vec<Arc<Value>>>>;

/// What rules and gates look at besides the object, listed once each, when it is asked for.
pub(crate) struct Lists<'a> {
    cluster: &'a Cluster,
    lists: Mutex<BTreeMap<Need, Once>>,
}

impl<'a> Lists<'a> {
    /// Nothing is listed yet.
    pub(crate) fn new(cluster: &'a Cluster) -> Self {
        Self { cluster, lists: Mutex::default() }
    }

    /// Lists what is needed. A kind that cannot be listed stays unknown.
    pub(crate) async fn around(&self, needs: &[Need]) -> Listed {
        let mut listed = Listed::default();
        for need in needs {
            let cell = {
                let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(lists.entry(need.clone()).or_default())
            };
            match need {
                Need::Parts(kind, version) => {
                    let keep = |object: Value| around::kept(kind, &object).map(Arc::new);
                    let read = || self.cluster.list((kind, None), version, keep);
                    if let Ok(objects) = cell.get_or_try_init(read).await {
                        listed.parts.insert(kind.clone(), objects.clone());
                    }
                }
                Need::Whole(kind) => {
                    let read = || self.cluster.list((kind, None), "", |object| Some(Arc::new(object)));
                    if let Ok(objects) = cell.get_or_try_init(read).await {
                        listed.whole.insert(kind.clone(), objects.clone());
                    }
                }
            }
        }
        listed
    }
}
