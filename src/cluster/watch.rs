//! What is known of the objects that gates look at: one watch for each kind,
//! shared by all gates. Only objects that somebody waits for are kept, and of
//! what rules look at besides (pods, endpoints, …) only what they can use.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::api::{Api, DynamicObject, TypeMeta};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::task::{AbortHandle, JoinSet};

use super::error::ClusterError;
use super::follow::{Followed, Sink, follow};
use super::{Cluster, to_value, types};
use crate::health::around::{self, Around, Need};
use crate::model::object::{GroupKind, Object, ObjectId};

/// The objects that gates look at, as the cluster has them now.
pub(crate) struct Watches {
    shared: Arc<Shared>,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    /// The kinds that are watched, and what is kept of them.
    running: BTreeMap<GroupKind, (BTreeSet<Keep>, AbortHandle)>,
    set: JoinSet<()>,
}

/// What is kept of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Keep {
    /// The objects that somebody waits for.
    Wanted,
    /// Of all objects what rules look at.
    Parts,
    /// All objects, for `objects()` in gates.
    Whole,
}

struct Shared {
    known: Mutex<Known>,
    /// Wakes the gates in the order in which they wait: a `tokio::sync::watch` wakes them in a random one.
    changed: Notify,
}

/// All objects of a kind.
#[derive(Default)]
struct All {
    objects: BTreeMap<ObjectId, Arc<Value>>,
    /// The first list is whole.
    listed: bool,
}

#[derive(Default)]
struct Known {
    wanted: HashMap<ObjectId, usize>,
    objects: BTreeMap<ObjectId, Arc<Value>>,
    /// The last state of wanted objects that were deleted.
    last: HashMap<ObjectId, Arc<Value>>,
    parts: BTreeMap<GroupKind, All>,
    whole: BTreeMap<GroupKind, All>,
    /// The kinds that cannot be watched now, with why.
    trouble: BTreeMap<GroupKind, String>,
    /// Counts the changes of `parts` and `whole`.
    version: u64,
}

impl Known {
    /// Keeps a wanted object's newer state. What a late watch tells of an
    /// older one must not undo what was read since.
    fn store(&mut self, id: &ObjectId, value: Value) -> bool {
        let older = |known: &Arc<Value>| match (version(known), version(&value)) {
            (Some(known), Some(new)) => new < known,
            (None, _) | (_, None) => false,
        };
        if !self.wanted.contains_key(id)
            || self.objects.get(id).is_some_and(older)
            || self.last.get(id).is_some_and(older)
        {
            return false;
        }
        self.objects.insert(id.clone(), Arc::new(value));
        true
    }

    fn delete(&mut self, id: &ObjectId, last: Arc<Value>) -> bool {
        if !self.wanted.contains_key(id) {
            return false;
        }
        self.last.insert(id.clone(), last);
        self.objects.remove(id).is_some()
    }
}

/// An object's version: a number that grows with every change of it.
fn version(object: &Value) -> Option<u64> {
    object.pointer("/metadata/resourceVersion")?.as_str()?.parse().ok()
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known, and wakes the gates if `act` says so.
    fn change(&self, act: impl FnOnce(&mut Known) -> bool) {
        // The guard is gone before anybody wakes.
        let changed = act(&mut self.lock());
        if changed {
            self.changed.notify_waiters();
        }
    }
}

/// Keeps what comes in of one kind.
struct Keeper {
    shared: Arc<Shared>,
    kind: GroupKind,
    types: TypeMeta,
    keeps: BTreeSet<Keep>,
    /// What the list that is coming in has.
    listed: BTreeSet<ObjectId>,
}

impl Keeper {
    fn id(&self, object: &DynamicObject) -> ObjectId {
        ObjectId {
            kind: self.kind.clone(),
            namespace: object.metadata.namespace.clone(),
            name: object.metadata.name.clone().unwrap_or_default(),
        }
    }

    /// Items of a list do not say what they are.
    fn typed(&self, object: DynamicObject) -> Value {
        to_value(DynamicObject { types: Some(self.types.clone()), ..object })
    }

    /// Changes what is kept of all objects of the kind: parts, or the whole of them.
    fn all(known: &mut Known, keep: Keep) -> Option<&mut BTreeMap<GroupKind, All>> {
        match keep {
            Keep::Wanted => None,
            Keep::Parts => Some(&mut known.parts),
            Keep::Whole => Some(&mut known.whole),
        }
    }
}

impl Sink for Keeper {
    fn begin(&mut self) {
        self.listed.clear();
    }

    fn now(&mut self, object: DynamicObject) {
        let id = self.id(&object);
        self.listed.insert(id.clone());
        let besides = self.keeps.iter().any(|keep| *keep != Keep::Wanted);
        // Most objects of a kind are nobody's: they are not even looked into.
        if !besides && !self.shared.lock().wanted.contains_key(&id) {
            return;
        }
        let value = self.typed(object);
        self.shared.change(|known| {
            let mut changed = false;
            for keep in &self.keeps {
                let kept = match keep {
                    Keep::Wanted => continue,
                    Keep::Parts => around::kept(&self.kind, &value),
                    Keep::Whole => Some(value.clone()),
                };
                let Some(all) = Self::all(known, *keep) else { continue };
                let objects = &mut all.entry(self.kind.clone()).or_default().objects;
                let same = objects.get(&id).map(|before| &**before) == kept.as_ref();
                match kept {
                    Some(kept) => drop(objects.insert(id.clone(), Arc::new(kept))),
                    None => drop(objects.remove(&id)),
                }
                known.version += u64::from(!same);
                changed |= !same;
            }
            known.store(&id, value) || changed
        });
    }

    fn gone(&mut self, object: DynamicObject) {
        let id = self.id(&object);
        let last = Arc::new(self.typed(object));
        self.shared.change(|known| {
            let mut changed = false;
            for keep in &self.keeps {
                let all = Self::all(known, *keep).and_then(|all| all.get_mut(&self.kind));
                if all.is_some_and(|all| all.objects.remove(&id).is_some()) {
                    known.version += 1;
                    changed = true;
                }
            }
            known.delete(&id, last) || changed
        });
    }

    fn whole(&mut self) {
        let listed = std::mem::take(&mut self.listed);
        self.shared.change(|known| {
            for keep in &self.keeps {
                if let Some(all) = Self::all(known, *keep) {
                    let all = all.entry(self.kind.clone()).or_default();
                    all.objects.retain(|id, _| listed.contains(id));
                    all.listed = true;
                }
            }
            known.version += 1;
            let gone = known.objects.iter().filter(|(id, _)| id.kind == self.kind && !listed.contains(id));
            let gone: Vec<_> = gone.map(|(id, value)| (id.clone(), Arc::clone(value))).collect();
            for (id, last) in gone {
                known.delete(&id, last);
            }
            true
        });
    }

    fn trouble(&mut self, what: Option<String>) {
        self.shared.change(|known| match what {
            Some(what) => known.trouble.insert(self.kind.clone(), what.clone()) != Some(what),
            None => known.trouble.remove(&self.kind).is_some(),
        });
    }
}

impl Around for Watches {
    fn all(&self, kind: &GroupKind, namespace: Option<&str>) -> Option<Vec<Arc<Value>>> {
        let known = self.shared.lock();
        let objects = known.parts.get(kind).filter(|all| all.listed)?.objects.iter();
        let here = objects.filter(|(id, _)| namespace.is_none() || namespace == id.namespace.as_deref());
        Some(here.map(|(_, object)| Arc::clone(object)).collect())
    }

    fn whole(&self, kind: &GroupKind) -> Option<Vec<Arc<Value>>> {
        let known = self.shared.lock();
        let all = known.whole.get(kind).filter(|all| all.listed)?;
        Some(all.objects.values().cloned().collect())
    }
}

impl Watches {
    /// No watch yet.
    pub(crate) fn new() -> Self {
        let shared = Shared { known: Mutex::default(), changed: Notify::new() };
        Self { shared: Arc::new(shared), tasks: Mutex::default() }
    }

    /// Starts to keep an object up to date.
    pub(crate) async fn want(&self, cluster: &Cluster, object: &Object) -> Result<(), ClusterError> {
        self.want_named(cluster, &object.id, &object.version).await
    }

    /// Starts to keep an object up to date; `version` empty: read at the preferred one.
    pub(crate) async fn want_named(
        &self,
        cluster: &Cluster,
        id: &ObjectId,
        version: &str,
    ) -> Result<(), ClusterError> {
        *self.shared.lock().wanted.entry(id.clone()).or_default() += 1;
        let started = self.start(cluster, &id.kind, version, Keep::Wanted);
        // The watch may have passed this object before anybody wanted it.
        let live = match started {
            Ok(()) => cluster.get(id, version).await,
            Err(error) => Err(error),
        };
        match live {
            Ok(Some(live)) => self.shared.change(|known| known.store(id, live)),
            Ok(None) => {}
            Err(error) => {
                self.forget(id);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Nobody waits for an object any more.
    pub(crate) fn forget(&self, id: &ObjectId) {
        let mut known = self.shared.lock();
        if let Some(count) = known.wanted.get_mut(id) {
            *count -= 1;
            if *count == 0 {
                known.wanted.remove(id);
                known.objects.remove(id);
                known.last.remove(id);
            }
        }
    }

    /// An object as it is now; `None`: it is not there.
    pub(crate) fn get(&self, id: &ObjectId) -> Option<Arc<Value>> {
        self.shared.lock().objects.get(id).cloned()
    }

    /// The last state of an object that was deleted since somebody wanted it.
    pub(crate) fn last(&self, id: &ObjectId) -> Option<Arc<Value>> {
        self.shared.lock().last.get(id).cloned()
    }

    /// Why a kind cannot be watched now.
    pub(crate) fn trouble(&self, kind: &GroupKind) -> Option<String> {
        self.shared.lock().trouble.get(kind).cloned()
    }

    /// Starts to keep what a rule or a gate looks at besides.
    pub(crate) fn look_around(&self, cluster: &Cluster, need: &Need) -> Result<(), ClusterError> {
        match need {
            Need::Parts(kind, version) => self.start(cluster, kind, version, Keep::Parts),
            Need::Whole(kind) => self.start(cluster, kind, "", Keep::Whole),
        }
    }

    /// Counts the changes of what rules look at besides.
    pub(crate) fn version(&self) -> u64 {
        self.shared.lock().version
    }

    /// Ends when anything that is looked at changes after this call.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.shared.changed.notified()
    }

    /// Starts the watch of a kind, or starts it again if it shall keep more than before.
    fn start(
        &self,
        cluster: &Cluster,
        kind: &GroupKind,
        version: &str,
        keep: Keep,
    ) -> Result<(), ClusterError> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keeps = tasks.running.get(kind).map(|(keeps, _)| keeps.clone()).unwrap_or_default();
        if !keeps.insert(keep) {
            return Ok(());
        }
        let (resource, _) = cluster
            .resource(kind, version)
            .ok_or_else(|| ClusterError::NoSuchKind { object: kind.to_string() })?;
        let keeper = Keeper {
            shared: Arc::clone(&self.shared),
            kind: kind.clone(),
            types: types(&resource),
            keeps: keeps.clone(),
            listed: BTreeSet::new(),
        };
        let api = Api::all_with(cluster.client().clone(), &resource);
        let (connection, resource, first) = (cluster.connection.clone(), resource, api.clone());
        let again = move || {
            // A client could be made before.
            connection.another().map_or_else(|_| first.clone(), |client| Api::all_with(client, &resource))
        };
        let fields = if keeps.iter().all(|keep| *keep == Keep::Parts) { around::fields(kind) } else { None };
        let task = tasks.set.spawn(follow(Followed { api, fields }, again, keeper));
        if let Some((_, before)) = tasks.running.insert(kind.clone(), (keeps, task)) {
            before.abort();
        }
        Ok(())
    }
}
