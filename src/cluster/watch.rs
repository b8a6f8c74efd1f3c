//! Watches: one for each kind that is waited on, shared by all gates. Only
//! objects that somebody waits for are kept, and of what rules look at besides
//! (pods, endpoints, …) only what they can use.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use kube::api::{DynamicObject, TypeMeta};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::task::JoinSet;

use super::error::ClusterError;
use super::{Cluster, to_value};
use crate::health::around::{self, Around};
use crate::model::object::{GroupKind, Object, ObjectId};

/// The objects that gates wait for, as the cluster has them now.
pub(crate) struct Watches {
    shared: Arc<Shared>,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    /// The kinds that are watched, and whether for what rules look at besides.
    running: BTreeSet<(GroupKind, bool)>,
    set: JoinSet<()>,
}

struct Shared {
    known: Mutex<Known>,
    /// Wakes the gates in the order in which they wait: a `tokio::sync::watch` wakes them in a random one.
    changed: Notify,
}

#[derive(Default)]
struct Known {
    wanted: HashMap<ObjectId, usize>,
    objects: BTreeMap<ObjectId, Arc<Value>>,
    /// The last state of wanted objects that were deleted.
    last: HashMap<ObjectId, Arc<Value>>,
    /// What rules look at besides, by kind.
    around: BTreeMap<GroupKind, BTreeMap<ObjectId, Arc<Value>>>,
    /// Of these kinds the first list is not whole yet.
    unlisted: BTreeSet<GroupKind>,
    /// Counts the changes of `around`.
    version: u64,
}

/// What a watch does with the objects that come in.
trait Keep: Send + Sync {
    /// It keeps what rules look at besides.
    fn is_besides(&self) -> bool;
    fn store(&self, id: &ObjectId, value: Option<Value>);
    /// It was deleted in this state.
    fn delete(&self, id: &ObjectId, last: Value);
    /// What a new list does not have was deleted while the watch was broken.
    fn listed(&self, kind: &GroupKind, listed: &BTreeSet<ObjectId>);
}

impl Keep for Shared {
    fn is_besides(&self) -> bool {
        false
    }

    fn store(&self, id: &ObjectId, value: Option<Value>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.wanted.contains_key(id) {
            return;
        }
        match value {
            Some(value) => known.objects.insert(id.clone(), Arc::new(value)),
            None => known.objects.remove(id),
        };
        drop(known);
        self.changed.notify_waiters();
    }

    fn delete(&self, id: &ObjectId, last: Value) {
        {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.wanted.contains_key(id) {
                known.last.insert(id.clone(), Arc::new(last));
            }
        }
        self.store(id, None);
    }

    fn listed(&self, kind: &GroupKind, listed: &BTreeSet<ObjectId>) {
        let gone: Vec<(ObjectId, Arc<Value>)> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let unlisted = known.objects.iter().filter(|(id, _)| id.kind == *kind && !listed.contains(id));
            unlisted.map(|(id, value)| (id.clone(), Arc::clone(value))).collect()
        };
        for (id, last) in gone {
            self.delete(&id, (*last).clone());
        }
    }
}

/// Keeps what rules look at besides the objects that are waited for.
struct Besides(Arc<Shared>);

impl Besides {
    fn change(&self, kind: &GroupKind, act: impl FnOnce(&mut BTreeMap<ObjectId, Arc<Value>>) -> bool) {
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        if act(known.around.entry(kind.clone()).or_default()) {
            known.version += 1;
            drop(known);
            self.0.changed.notify_waiters();
        }
    }
}

impl Keep for Besides {
    fn is_besides(&self) -> bool {
        true
    }

    fn store(&self, id: &ObjectId, value: Option<Value>) {
        let kept = value.as_ref().and_then(|value| around::kept(&id.kind, value)).map(Arc::new);
        self.change(&id.kind, |objects| match kept {
            Some(kept) if objects.get(id).is_some_and(|before| **before == *kept) => false,
            Some(kept) => {
                objects.insert(id.clone(), kept);
                true
            }
            None => objects.remove(id).is_some(),
        });
    }

    fn delete(&self, id: &ObjectId, _: Value) {
        self.store(id, None);
    }

    fn listed(&self, kind: &GroupKind, listed: &BTreeSet<ObjectId>) {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner).unlisted.remove(kind);
        self.change(kind, |objects| {
            objects.retain(|id, _| listed.contains(id));
            true
        });
    }
}

impl Around for Watches {
    fn all(&self, kind: &GroupKind, namespace: Option<&str>) -> Option<Vec<Arc<Value>>> {
        let known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
        let objects = known.around.get(kind).filter(|_| !known.unlisted.contains(kind))?.iter();
        Some(
            objects
                .filter(|(id, _)| namespace.is_none() || namespace == id.namespace.as_deref())
                .map(|(_, object)| Arc::clone(object))
                .collect(),
        )
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
        {
            let mut known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
            *known.wanted.entry(object.id.clone()).or_default() += 1;
        }
        self.start(cluster, &object.id.kind, &object.version, Arc::clone(&self.shared) as Arc<dyn Keep>)?;
        // The watch may have passed this object before anybody wanted it.
        let live = cluster.get(&object.id, &object.version).await?;
        let unknown = {
            let known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
            !known.objects.contains_key(&object.id)
        };
        if unknown && live.is_some() {
            self.shared.store(&object.id, live);
        }
        Ok(())
    }

    /// Nobody waits for an object any more.
    pub(crate) fn forget(&self, id: &ObjectId) {
        let mut known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
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
        self.shared.known.lock().unwrap_or_else(PoisonError::into_inner).objects.get(id).cloned()
    }

    /// The last state of an object that was deleted since somebody wanted it.
    pub(crate) fn last(&self, id: &ObjectId) -> Option<Arc<Value>> {
        self.shared.known.lock().unwrap_or_else(PoisonError::into_inner).last.get(id).cloned()
    }

    /// Starts to keep what the rule of a kind looks at besides.
    pub(crate) fn look_around(&self, cluster: &Cluster, kind: &GroupKind) -> Result<(), ClusterError> {
        for (group, version, kind) in around::kinds(kind) {
            let kind = GroupKind::new(*group, *kind);
            self.start(cluster, &kind, version, Arc::new(Besides(Arc::clone(&self.shared))))?;
        }
        Ok(())
    }

    /// Counts the changes of what rules look at besides.
    pub(crate) fn version(&self) -> u64 {
        self.shared.known.lock().unwrap_or_else(PoisonError::into_inner).version
    }

    /// Ends when any wanted object changes after this call.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.shared.changed.notified()
    }

    /// Starts the watch of a kind, unless it runs.
    fn start(
        &self,
        cluster: &Cluster,
        kind: &GroupKind,
        version: &str,
        keep: Arc<dyn Keep>,
    ) -> Result<(), ClusterError> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let besides = keep.is_besides();
        if tasks.running.contains(&(kind.clone(), besides)) {
            return Ok(());
        }
        let everywhere = ObjectId { kind: kind.clone(), namespace: None, name: String::new() };
        let api = cluster.api(&everywhere, version)?;
        let kind = kind.clone();
        let api_version =
            if kind.group.is_empty() { version.to_owned() } else { format!("{}/{version}", kind.group) };
        let meta = TypeMeta { api_version, kind: kind.kind.clone() };
        // Items of a list do not say what they are.
        let typed =
            move |object: DynamicObject| to_value(DynamicObject { types: Some(meta.clone()), ..object });
        tasks.running.insert((kind.clone(), besides));
        if besides {
            let mut known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.unlisted.insert(kind.clone());
        }
        tasks.set.spawn(async move {
            let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
            let mut listed: BTreeSet<ObjectId> = BTreeSet::new();
            while let Some(event) = events.next().await {
                match event {
                    Ok(watcher::Event::Init) => listed.clear(),
                    Ok(watcher::Event::InitApply(object)) => {
                        let id = identify(&kind, &object);
                        listed.insert(id.clone());
                        keep.store(&id, Some(typed(object)));
                    }
                    Ok(watcher::Event::InitDone) => keep.listed(&kind, &listed),
                    Ok(watcher::Event::Apply(object)) => {
                        keep.store(&identify(&kind, &object), Some(typed(object)));
                    }
                    Ok(watcher::Event::Delete(object)) => {
                        keep.delete(&identify(&kind, &object), typed(object));
                    }
                    // The watcher lists again by itself, after a while.
                    Err(_) => {}
                }
            }
        });
        Ok(())
    }
}

fn identify(kind: &GroupKind, object: &DynamicObject) -> ObjectId {
    ObjectId {
        kind: kind.clone(),
        namespace: object.metadata.namespace.clone(),
        name: object.metadata.name.clone().unwrap_or_default(),
    }
}
