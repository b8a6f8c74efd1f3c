//! Looks at a cluster before the plan: what is served, which of the wanted
//! objects exist, and what applying them would change. Writes nothing.

mod look;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::discovery::Scope;
use serde_json::Value;
use tokio::sync::OnceCell;

use self::look::{Found, Known, Looker, Wanted, grouped};
use super::error::ClusterError;
use super::inventory::{Entry, Inventories, Inventory};
use super::nodes::NodeState;
use super::turns::Turns;
use super::{ApplyMode, Cluster};
use crate::health::around::{self, Kept, Listed, Need, Nothing};
use crate::health::cel::{Gate, GateError};
use crate::health::{self, Context, Health};
use crate::model::kinds;
use crate::model::names::ComponentName;
use crate::model::object::{GroupKind, Object, ObjectId};
use crate::plan::Stage;
use crate::plan::edges::gate_is_of;
use crate::plan::live::{Leftover, Observed, goes_along};
use crate::plan::planner::{Desired, DesiredComponent};
use crate::plan::send;
use crate::render::scope;

/// What was read of a cluster before it is looked at closer.
pub(crate) struct Read {
    inventories: Inventories,
    /// `None`: nobody asked for them.
    nodes: Option<Vec<NodeState>>,
}

impl Read {
    /// Takes what was read.
    pub(crate) fn new(inventories: Inventories, nodes: Option<Vec<NodeState>>) -> Self {
        Self { inventories, nodes }
    }
}

impl From<Inventories> for Read {
    fn from(inventories: Inventories) -> Self {
        Self { inventories, nodes: None }
    }
}

impl Cluster {
    /// Puts objects of kinds that only the cluster knows where these live: charts leave the namespace to their release.
    pub(crate) fn place(&self, desired: &mut Desired) -> Result<(), ClusterError> {
        let scope = |kind: &GroupKind| {
            let (_, scope) = self.resource(kind, "").filter(|_| kinds::built_in(kind).is_none())?;
            Some(match scope {
                Scope::Namespaced => kinds::Scope::Namespaced,
                Scope::Cluster => kinds::Scope::Cluster,
            })
        };
        for component in &mut desired.components {
            let namespace = component.namespace.as_deref();
            for (_, object) in &mut component.objects {
                let scope = scope(&object.id.kind).filter(|scope| !scope::is_in_place(object, *scope));
                let Some(scope) = scope else { continue };
                scope::place(Arc::make_mut(object), scope, namespace)
                    .map_err(|problem| ClusterError::Unplaced { object: object.id.to_string(), problem })?;
            }
            for id in &mut component.idle {
                match scope(&id.kind) {
                    Some(kinds::Scope::Namespaced) if id.namespace.is_none() => {
                        id.namespace.clone_from(&component.namespace);
                    }
                    Some(kinds::Scope::Cluster) => id.namespace = None,
                    Some(kinds::Scope::Namespaced) | None => {}
                }
            }
        }
        Ok(())
    }

    /// Leaves replicas to the autoscalers that are in the cluster: also to one that is to go, as it is at work until
    /// then, and the next run takes them back. Gives what they scale; `None`: not known.
    async fn leave_replicas(
        &self,
        desired: &mut Desired,
    ) -> Result<Option<BTreeSet<ObjectId>>, ClusterError> {
        let mut objects = desired.components.iter().flat_map(|component| &component.objects);
        if !objects.any(|(_, object)| object.value.pointer("/spec/replicas").is_some()) {
            return Ok(None);
        }
        let (mut scaled, mut all_seen) = (BTreeSet::new(), true);
        for kind in send::scalers() {
            let keep = |live| send::scaled(&Object::from_value(live).ok()?);
            match self.list((&kind, None), "", keep).await {
                Ok(found) => scaled.extend(found),
                Err(ClusterError::NoSuchKind { .. }) => {}
                // Who may not see them overrules none: replicas that a controller has set are never taken for ours.
                Err(error) if error.is_forbidden() => all_seen = false,
                Err(error) => {
                    unreadable(&kind, error)?;
                    all_seen = false;
                }
            }
        }
        send::leave_replicas(desired, &scaled);
        Ok(all_seen.then_some(scaled))
    }

    /// Observes everything that the plan of `desired` depends on. The inventories that it gives know more of objects
    /// that are as wanted than those in the cluster may.
    pub(crate) async fn observe(
        &self,
        desired: &mut Desired,
        read: impl Into<Read>,
        concurrency: usize,
    ) -> Result<(Observed, Inventories), ClusterError> {
        let Read { mut inventories, nodes } = read.into();
        self.know_all().await?;
        self.place(desired)?;
        let scaled = self.leave_replicas(desired).await?;
        let (lists, turns) = (Lists::new(self), Turns::new(concurrency));
        let (found, leftovers, provided) = {
            let all = &inventories.all;
            let index = indexed(all);
            futures::try_join!(
                self.wanted(desired, all, &index, (&lists, scaled.as_ref(), &turns)),
                self.leftovers(desired, &index, &turns),
                self.provided(desired, nodes),
            )?
        };
        let mut objects = BTreeMap::new();
        for (component, id, Found { live, entry }) in found {
            if let (Some(entry), Some(inventory)) = (entry, inventories.all.get_mut(component)) {
                inventory.record(&id, entry);
            }
            objects.insert(id, live);
        }
        goes_along(desired, &mut objects);
        let observed = Observed {
            served: Some(self.versions()),
            provided: Some(provided),
            objects,
            inventories: each(&inventories, |inventory| inventory.ids().cloned().collect()),
            needs: each(&inventories, |inventory| inventory.needs().clone()),
            leftovers,
            clouds: inventories.clouds.clone(),
        };
        Ok((observed, inventories))
    }

    /// What is there of what is wanted.
    async fn wanted<'a>(
        &self,
        desired: &'a Desired,
        inventories: &BTreeMap<ComponentName, Inventory>,
        index: &HashMap<&ObjectId, &Entry>,
        (lists, scaled, turns): (&Lists<'_>, Option<&BTreeSet<ObjectId>>, &Turns),
    ) -> Result<Vec<(&'a ComponentName, ObjectId, Found)>, ClusterError> {
        let all = desired.components.iter().flat_map(|component| {
            let inventory = inventories.get(&component.name);
            component.objects.iter().map(move |(stage, object)| {
                let own = inventory.and_then(|inventory| inventory.get(&object.id));
                let known = Known { own, any: own.or_else(|| index.get(&object.id).copied()) };
                Wanted { component, stage: *stage, object: object.as_ref(), known }
            })
        });
        let (many, few) = grouped(all);
        let looker = Looker { cluster: self, lists, scaled, turns };
        let looker = &looker;
        let together = stream::iter(many)
            .map(|(namespace, group)| looker.group(namespace, group))
            .buffer_unordered(GROUPS)
            .try_collect::<Vec<_>>();
        let alone = stream::iter(few)
            .map(|wanted| looker.alone(wanted))
            .buffer_unordered(turns.most())
            .try_collect::<Vec<_>>();
        let (together, alone) = futures::try_join!(together, alone)?;
        Ok(together.into_iter().flatten().chain(alone).flatten().collect())
    }

    /// What there is to say of what nobody wants any more.
    async fn leftovers(
        &self,
        desired: &Desired,
        index: &HashMap<&ObjectId, &Entry>,
        turns: &Turns,
    ) -> Result<BTreeMap<ObjectId, Leftover>, ClusterError> {
        let ids = desired.components.iter().flat_map(|component| {
            component.objects.iter().map(|(_, object)| &object.id).chain(&component.idle)
        });
        let wanted: HashSet<&ObjectId> = ids.collect();
        let gone = index.iter().filter(|(id, _)| !wanted.contains(*id)).map(|(id, entry)| (*id, *entry));
        // `APIService`s are called VERSION.GROUP: what such a one served nobody serves again once it has gone, too.
        let going = index.keys().filter(|id| id.kind.is("apiregistration.k8s.io", "APIService"));
        let going = going.filter(|id| !wanted.contains(*id)).filter_map(|id| id.name.split_once('.'));
        let going: &HashSet<&str> = &going.map(|(_, group)| group).collect();
        let (defined, claims) = (OnceCell::new(), OnceCell::new());
        let (defined, claims) = (&defined, &claims);
        let found: Vec<Option<_>> = stream::iter(gone)
            .map(|(id, entry)| async move {
                let _turn = turns.turn().await;
                let mut leftover = self.leftover(id, entry, claims).await?;
                // What is of a kind that is only not served yet is not gone.
                if leftover == Some(Leftover::Gone)
                    && !going.contains(id.kind.group.as_str())
                    && self.is_hidden(&id.kind, defined).await?
                {
                    leftover = None;
                }
                Ok::<_, ClusterError>(leftover.map(|leftover| (id.clone(), leftover)))
            })
            .buffer_unordered(turns.most())
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }
}

/// What any inventory knows of objects: what was applied, before what was only about to be.
fn indexed(inventories: &BTreeMap<ComponentName, Inventory>) -> HashMap<&ObjectId, &Entry> {
    let mut index: HashMap<&ObjectId, &Entry> = HashMap::new();
    for (id, entry) in inventories.values().flat_map(Inventory::entries) {
        let known = index.entry(id).or_insert(entry);
        if known.desired.is_none() {
            *known = entry;
        }
    }
    index
}

/// How many lists are read at a time: each holds a page in memory.
const GROUPS: usize = 4;

/// Why an object of a kind that a CRD defines cannot be read, though all else can: what converts it between its kind's
/// versions does not answer. What is wanted may be what mends that.
pub(super) fn unreadable(kind: &GroupKind, error: ClusterError) -> Result<String, ClusterError> {
    match error {
        ClusterError::Refused { code: 500..=599, message, .. } if kinds::built_in(kind).is_none() => {
            Ok(message)
        }
        error => Err(error),
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
            Err(error) => return unreadable(&object.id.kind, error).map(Some),
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
type Once<T> = Arc<OnceCell<Arc<T>>>;

/// Lists that are read at most once, by what they are of.
type All<T> = Mutex<BTreeMap<GroupKind, Once<T>>>;

fn once<T>(all: &All<T>, kind: &GroupKind) -> Once<T> {
    Arc::clone(all.lock().unwrap_or_else(PoisonError::into_inner).entry(kind.clone()).or_default())
}

/// What rules and gates look at besides the object, listed once each, when it is asked for.
pub(crate) struct Lists<'a> {
    cluster: &'a Cluster,
    parts: All<Kept>,
    whole: All<Vec<Arc<Value>>>,
}

impl<'a> Lists<'a> {
    /// Nothing is listed yet.
    pub(crate) fn new(cluster: &'a Cluster) -> Self {
        Self { cluster, parts: Mutex::default(), whole: Mutex::default() }
    }

    /// Lists what is needed. A kind that cannot be listed stays unknown.
    pub(crate) async fn around(&self, needs: &[Need]) -> Listed {
        let mut listed = Listed::default();
        for need in needs {
            match need {
                Need::Parts(kind, version) => {
                    let read = || self.cluster.list_parts(kind, version);
                    if let Ok(objects) = once(&self.parts, kind).get_or_try_init(read).await {
                        listed.parts.insert(kind.clone(), Arc::clone(objects));
                    }
                }
                Need::Whole(kind) => {
                    let read = async || {
                        let keep = |object| Some(Arc::new(object));
                        self.cluster.list((kind, None), "", keep).await.map(Arc::new)
                    };
                    if let Ok(objects) = once(&self.whole, kind).get_or_try_init(read).await {
                        listed.whole.insert(kind.clone(), Arc::clone(objects));
                    }
                }
            }
        }
        listed
    }
}
