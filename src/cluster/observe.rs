//! Looks at a cluster before the plan: what is served, which of the wanted
//! objects exist, and what applying them would change. Writes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::discovery::Scope;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::apply::uid;
use super::error::ClusterError;
use super::inventory::{Entry, Inventories, Inventory};
use super::nodes::NodeState;
use super::owned::digest;
use super::turns::Turns;
use super::verdict::foreign;
use super::{ApplyMode, Cluster};
use crate::health::around::{self, Kept, Listed, Need, Nothing};
use crate::health::cel::{Gate, GateError};
use crate::health::{self, Context, Health};
use crate::model::kinds;
use crate::model::names::ComponentName;
use crate::model::object::{GroupKind, Object, ObjectId};
use crate::plan::Stage;
use crate::plan::edges::gate_is_of;
use crate::plan::live::{Leftover, Live, Observed, Verdict, goes_along};
use crate::plan::planner::{Desired, DesiredComponent};
use crate::plan::send;
use crate::render::scope;

/// What is known of an object, by whichever inventory.
#[derive(Clone, Copy)]
struct Known<'a> {
    /// The inventory of the component that wants it.
    own: Option<&'a Entry>,
    /// Any inventory.
    any: Option<&'a Entry>,
}

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

/// What was found of one wanted object.
struct Found {
    live: Live,
    /// What the inventory should know of it, where it does not.
    entry: Option<Entry>,
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
            let index: HashMap<&ObjectId, &Entry> = all.values().flat_map(Inventory::entries).collect();
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

/// An object that is wanted.
#[derive(Clone, Copy)]
struct Wanted<'a, 'k> {
    component: &'a DesiredComponent,
    stage: Stage,
    object: &'a Object,
    known: Known<'k>,
}

/// What was found of a wanted object; `None`: it is not there.
type Seen<'a> = Option<(&'a ComponentName, ObjectId, Found)>;

/// From how many wanted objects of a kind on they are listed: one request then tells of all.
const MANY: usize = 8;

/// Wanted objects of one kind that are looked at by their list, and the namespace of that; `None`: the list of all.
type Group<'a, 'k> = (Option<&'a str>, Vec<Wanted<'a, 'k>>);

/// Groups wanted objects that one list tells of, and gives those that are asked for one by one. A list of all namespaces
/// is read where many have some; but not of Secrets: those of others are nobody's business, and large.
fn grouped<'a, 'k>(all: impl Iterator<Item = Wanted<'a, 'k>>) -> (Vec<Group<'a, 'k>>, Vec<Wanted<'a, 'k>>) {
    let mut kinds: BTreeMap<_, BTreeMap<Option<&str>, Vec<Wanted<'a, 'k>>>> = BTreeMap::new();
    for wanted in all {
        let Object { id, version, .. } = wanted.object;
        let kind = kinds.entry((&id.kind, version.as_str())).or_default();
        kind.entry(id.namespace.as_deref()).or_default().push(wanted);
    }
    let (mut many, mut few) = (Vec::new(), Vec::new());
    for ((kind, _), namespaces) in kinds {
        if namespaces.len() >= MANY && !kind.is("", "Secret") {
            many.push((None, namespaces.into_values().flatten().collect()));
            continue;
        }
        for (namespace, group) in namespaces {
            if group.len() >= MANY { many.push((namespace, group)) } else { few.extend(group) }
        }
    }
    (many, few)
}

/// How many times as many objects as are wanted a list may have; where there are more, the wanted ones are asked for.
const OTHERS: usize = 4;

/// How many lists are read at a time: each holds a page in memory.
const GROUPS: usize = 4;

/// Looks at wanted objects.
struct Looker<'a, 'b> {
    cluster: &'a Cluster,
    lists: &'b Lists<'a>,
    /// What autoscalers scale; `None`: not known.
    scaled: Option<&'b BTreeSet<ObjectId>>,
    turns: &'b Turns,
}

impl Looker<'_, '_> {
    /// Looks at an object that is asked for by its name.
    async fn alone<'w>(&self, wanted: Wanted<'w, '_>) -> Result<Seen<'w>, ClusterError> {
        let _turn = self.turns.turn().await;
        match self.cluster.get(&wanted.object.id, &wanted.object.version).await {
            Ok(live) => self.seen(wanted, live).await,
            // It is some component's, so that it may be applied whatever it is like.
            Err(error) if wanted.known.any.is_some() => {
                let words = unreadable(&wanted.object.id.kind, error)?;
                let recorded = wanted.known.own.is_some_and(|entry| entry.desired.is_some());
                let verdict =
                    Verdict::Change { changes: Vec::new(), conflicts: Vec::new(), refused: Some(words) };
                let found = Found { live: Live { verdict, recorded, ..Live::default() }, entry: None };
                Ok(Some((&wanted.component.name, wanted.object.id.clone(), found)))
            }
            Err(error) => Err(error),
        }
    }

    /// Looks at an object that a list has.
    async fn listed<'w>(
        &self,
        wanted: Wanted<'w, '_>,
        live: Option<Value>,
    ) -> Result<Seen<'w>, ClusterError> {
        let _turn = self.turns.turn().await;
        self.seen(wanted, live).await
    }

    /// Looks at objects of one kind by the list of a namespace, or of all, page by page. Where that is refused, ends
    /// early, or has mostly other objects, they are asked for one by one.
    async fn group<'w>(
        &self,
        namespace: Option<&str>,
        group: Vec<Wanted<'w, '_>>,
    ) -> Result<Vec<Seen<'w>>, ClusterError> {
        let mut found = Vec::with_capacity(group.len());
        let most = group.len() * OTHERS + usize::try_from(super::PAGE).unwrap_or(usize::MAX);
        let Some(first) = group.first() else { return Ok(found) };
        let (id, version) = (&first.object.id, first.object.version.as_str());
        let mut open: BTreeMap<&ObjectId, Wanted<'w, '_>> =
            group.iter().map(|wanted| (&wanted.object.id, *wanted)).collect();
        let mut whole = false;
        if let Ok(mut pages) = self.cluster.pages((&id.kind, namespace), version) {
            loop {
                let page = match pages.next(self.cluster).await {
                    Ok(Some(page)) => page,
                    Ok(None) => {
                        whole = true;
                        break;
                    }
                    Err(_) => break,
                };
                let here: Vec<(Wanted<'w, '_>, Value)> = page
                    .into_iter()
                    .filter_map(|live| {
                        let text = |pointer| live.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
                        let namespace = text("/metadata/namespace").or_else(|| id.namespace.clone());
                        let name = text("/metadata/name")?;
                        let found = open.remove(&ObjectId { kind: id.kind.clone(), namespace, name })?;
                        Some((found, live))
                    })
                    .collect();
                let seen = stream::iter(here).map(|(wanted, live)| self.listed(wanted, Some(live)));
                found.extend(seen.buffer_unordered(most).try_collect::<Vec<_>>().await?);
                let remaining = pages.remaining.and_then(|count| usize::try_from(count).ok());
                if open.is_empty() || remaining.is_some_and(|remaining| remaining > most) {
                    break;
                }
            }
        }
        let rest = stream::iter(open.into_values()).map(|wanted| async move {
            if whole { self.listed(wanted, None).await } else { self.alone(wanted).await }
        });
        found.extend(rest.buffer_unordered(most).try_collect::<Vec<_>>().await?);
        Ok(found)
    }

    /// What there is to say of an object that is like this.
    async fn seen<'w>(&self, wanted: Wanted<'w, '_>, live: Option<Value>) -> Result<Seen<'w>, ClusterError> {
        let Wanted { component, stage, object, known: Known { own, any } } = wanted;
        let found = |found| Ok(Some((&component.name, object.id.clone(), found)));
        let Some(live) = live else {
            let recorded = own.is_some_and(|entry| entry.desired.is_some());
            let ran = any.is_some_and(|entry| {
                entry.complete && entry.desired.as_deref() == Some(&digest(&object.value))
            });
            let live = Live { verdict: Verdict::Finished, ready: true, recorded, ..Live::default() };
            return if ran { found(Found { live, entry: None }) } else { Ok(None) };
        };
        // A hook, or a Job that will be gone, may have ended while nobody looked: that it did is to be remembered.
        let remembered = |entry: &Entry| entry.complete || !(stage.is_hook() || health::is_done_job(&live));
        let recorded = own.is_some_and(|entry| entry.desired.is_some() && remembered(entry));
        let ended = !stage.is_hook() || health::has_ended(&live);
        let ready = ended && is_ready(component, object, &live, self.lists).await;
        let failed = health::has_failed(&live);
        let unscaled = any.is_some() && self.scaled.is_some_and(|scaled| !scaled.contains(&object.id));
        let (verdict, entry) = self.cluster.verdict(object, &live, (any, unscaled)).await?;
        let foreign = match any {
            Some(entry) if entry.desired.is_some() => None,
            // A run ended before it knew what became of this: what has nothing but a name may be its own.
            Some(_) => foreign(object, &live).filter(|managers| !managers.is_empty()),
            None => foreign(object, &live),
        };
        let uid = uid(&live).map(str::to_owned);
        found(Found { live: Live { verdict, ready, failed, recorded, foreign, uid }, entry })
    }
}

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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::tests::{component, of};

    /// Found by reading: that nobody could say who scales what was taken for "nobody does".
    #[tokio::test(start_paused = true)]
    async fn replicas_are_not_taken_from_autoscalers_that_cannot_be_listed() {
        let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
        let cluster = Cluster::new(simulated.client()).await.unwrap();
        let metadata = json!({ "name": "d", "namespace": "default" });
        let wanted = |spec: Value| {
            let value =
                json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec });
            of(vec![component("a", vec![(Stage::Objects, Arc::new(Object::from_value(value).unwrap()))])])
        };
        let (mut scaled, mut unscaled) = (wanted(json!({ "replicas": 3 })), wanted(json!({})));
        assert!(cluster.observe(&mut scaled, Inventories::default(), 4).await.is_ok());
        let scalers = "horizontalpodautoscalers";
        simulated.refuse(cozy_sim::Refusal::of("list", scalers, 503, "ServiceUnavailable", "not now"));
        let refused = cluster.observe(&mut scaled, Inventories::default(), 4).await.err().unwrap();
        assert!(
            refused.is_transient() && refused.to_string().contains("HorizontalPodAutoscaler"),
            "{refused}"
        );
        assert!(cluster.observe(&mut unscaled, Inventories::default(), 4).await.is_ok());
    }

    /// Found by reading: while nobody answered a webhook, nothing could be planned, what mends it included.
    #[tokio::test(start_paused = true)]
    async fn a_webhook_that_does_not_answer_does_not_end_the_look() {
        let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
        let cluster = Cluster::new(simulated.client()).await.unwrap();
        let config = |data: &str| {
            let value = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "namespace": "default" }, "data": { "is": data } });
            Arc::new(Object::from_value(value).unwrap())
        };
        cluster.apply(&config("1"), ApplyMode::default()).await.unwrap();
        let words = "Internal error occurred: failed calling webhook \"x.example.org\": connection refused";
        for (message, passes) in [(words, true), ("Internal error occurred: etcd is away", false)] {
            simulated.refuse_nothing();
            simulated.refuse(cozy_sim::Refusal::of("patch", "configmaps/a", 500, "InternalError", message));
            let mut desired = of(vec![component("a", vec![(Stage::Objects, config("2"))])]);
            let found = cluster.observe(&mut desired, Inventories::default(), 4).await;
            let verdict = found.ok().map(|(observed, _)| observed.objects[&config("2").id].verdict.clone());
            let refused =
                matches!(&verdict, Some(Verdict::Change { refused: Some(said), .. }) if said == words);
            assert_eq!((verdict.is_some(), refused), (passes, passes), "{message}");
        }
    }

    /// Objects of one kind in many namespaces are looked at by one list; those of others in it are not taken for ours.
    #[tokio::test(start_paused = true)]
    async fn many_namespaces_are_looked_at_together() {
        let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
        let cluster = Cluster::new(simulated.client()).await.unwrap();
        let object = |kind: &str, namespace: &str| {
            let metadata = json!({ "name": "a", "namespace": namespace });
            let value = json!({ "apiVersion": "v1", "kind": kind, "metadata": metadata, "data": {} });
            Arc::new(Object::from_value(value).unwrap())
        };
        let names: Vec<String> = (0..MANY).map(|number| format!("n-{number}")).collect();
        for namespace in [names[3].as_str(), "other"] {
            let own = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
            cluster.apply(&Object::from_value(own).unwrap(), ApplyMode::default()).await.unwrap();
            for kind in ["ConfigMap", "Secret"] {
                cluster.apply(&object(kind, namespace), ApplyMode::default()).await.unwrap();
            }
        }
        let look = async |kind: &str, namespaces: &[String]| {
            let objects = namespaces.iter().map(|namespace| (Stage::Objects, object(kind, namespace)));
            let mut desired = of(vec![component("a", objects.collect())]);
            let gets = || simulated.requests().by_verb.get("get").copied().unwrap_or_default();
            let before = gets();
            let (observed, _) = cluster.observe(&mut desired, Inventories::default(), 4).await.unwrap();
            (observed.objects.into_keys().collect::<Vec<_>>(), gets() - before)
        };
        let (configs, together) = look("ConfigMap", &names).await;
        let (secrets, alone) = look("Secret", &names).await;
        assert_eq!(configs, [object("ConfigMap", &names[3]).id.clone()]);
        assert_eq!(secrets, [object("Secret", &names[3]).id.clone()]);
        assert_eq!(alone - together, MANY as u64);
    }

    /// What a run was about to apply when it ended was made by others since: that is asked about, as if no run had been.
    #[tokio::test(start_paused = true)]
    async fn what_others_made_in_the_place_of_what_never_was_is_foreign() {
        let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
        let cluster = Cluster::new(simulated.client()).await.unwrap();
        let value = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "namespace": "default" }, "data": { "a": "b" } });
        let object = Arc::new(Object::from_value(value).unwrap());
        let api = cluster.api(&object.id, "").unwrap();
        let params = kube::api::PostParams { field_manager: Some("hand".to_owned()), ..Default::default() };
        api.create(&params, &serde_json::from_value(object.value.clone()).unwrap()).await.unwrap();
        let mut planned = Inventory::default();
        planned.add(&object.id);
        let mut applied = planned.clone();
        applied.record(&object.id, Entry { desired: Some("x".to_owned()), ..Entry::default() });
        for (inventory, foreign) in [(planned, Some(vec!["hand".to_owned()])), (applied, None)] {
            let all = [("a".parse().unwrap(), inventory)].into();
            let inventories = Inventories { all, ..Inventories::default() };
            let mut desired = of(vec![component("a", vec![(Stage::Objects, Arc::clone(&object))])]);
            let (observed, _) = cluster.observe(&mut desired, inventories, 4).await.unwrap();
            assert_eq!(observed.objects[&object.id].foreign, foreign);
        }
    }
}
