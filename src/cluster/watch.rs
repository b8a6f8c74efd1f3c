//! Watches: one for each kind that is waited on, shared by all gates. Only
//! objects that somebody waits for are kept.

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
use crate::model::object::{GroupKind, Object, ObjectId};

/// The objects that gates wait for, as the cluster has them now.
pub(crate) struct Watches {
    shared: Arc<Shared>,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    running: BTreeSet<GroupKind>,
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
}

impl Shared {
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
        self.start(cluster, object)?;
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
            }
        }
    }

    /// An object as it is now; `None`: it is not there.
    pub(crate) fn get(&self, id: &ObjectId) -> Option<Arc<Value>> {
        self.shared.known.lock().unwrap_or_else(PoisonError::into_inner).objects.get(id).cloned()
    }

    /// Ends when any wanted object changes after this call.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.shared.changed.notified()
    }

    /// Starts the watch of an object's kind, unless it runs.
    fn start(&self, cluster: &Cluster, object: &Object) -> Result<(), ClusterError> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.running.contains(&object.id.kind) {
            return Ok(());
        }
        let everywhere = ObjectId { namespace: None, ..object.id.clone() };
        let api = cluster.api(&everywhere, &object.version)?;
        let shared = Arc::clone(&self.shared);
        let kind = object.id.kind.clone();
        let meta = TypeMeta { api_version: object.api_version(), kind: kind.kind.clone() };
        // Items of a list do not say what they are.
        let typed =
            move |object: DynamicObject| to_value(DynamicObject { types: Some(meta.clone()), ..object });
        tasks.running.insert(kind.clone());
        tasks.set.spawn(async move {
            let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
            let mut listed: BTreeSet<ObjectId> = BTreeSet::new();
            while let Some(event) = events.next().await {
                match event {
                    Ok(watcher::Event::Init) => listed.clear(),
                    Ok(watcher::Event::InitApply(object)) => {
                        let id = identify(&kind, &object);
                        listed.insert(id.clone());
                        shared.store(&id, Some(typed(object)));
                    }
                    Ok(watcher::Event::InitDone) => shared.drop_unlisted(&kind, &listed),
                    Ok(watcher::Event::Apply(object)) => {
                        shared.store(&identify(&kind, &object), Some(typed(object)));
                    }
                    Ok(watcher::Event::Delete(object)) => shared.store(&identify(&kind, &object), None),
                    // The watcher lists again by itself, after a while.
                    Err(_) => {}
                }
            }
        });
        Ok(())
    }
}

impl Shared {
    /// What a new list does not have was deleted while the watch was broken.
    fn drop_unlisted(&self, kind: &GroupKind, listed: &BTreeSet<ObjectId>) {
        let gone: Vec<ObjectId> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.objects.keys().filter(|id| id.kind == *kind && !listed.contains(id)).cloned().collect()
        };
        for id in gone {
            self.store(&id, None);
        }
    }
}

fn identify(kind: &GroupKind, object: &DynamicObject) -> ObjectId {
    ObjectId {
        kind: kind.clone(),
        namespace: object.metadata.namespace.clone(),
        name: object.metadata.name.clone().unwrap_or_default(),
    }
}
