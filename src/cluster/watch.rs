//! What is known of the objects that gates look at: one watch for each kind,
//! shared by all gates. Only objects that somebody waits for are kept, and of
//! what rules look at besides (pods, endpoints, …) only what they can use.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use kube::api::{Api, DynamicObject, TypeMeta};
use serde_json::Value;
use tokio::task::{AbortHandle, JoinSet};

use super::error::ClusterError;
use super::follow::{Followed, Sink, follow};
pub(crate) use super::known::Listener;
use super::known::Shared;
use super::{Cluster, to_value, types};
use crate::health::around::{self, Need};
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

/// Keeps what comes in of one kind.
struct Keeper {
    shared: Arc<Shared>,
    kind: GroupKind,
    types: TypeMeta,
    keeps: BTreeSet<Keep>,
    /// What the list that is coming in has; `None`: none is.
    listed: Option<BTreeSet<ObjectId>>,
}

impl Keeper {
    fn id(&self, object: &DynamicObject) -> ObjectId {
        ObjectId {
            kind: self.kind.clone(),
            namespace: object.metadata.namespace.clone(),
            name: object.metadata.name.clone().unwrap_or_default(),
        }
    }

    /// Items of a list do not say what they are. Whose their fields are is looked at by nobody, and large.
    fn typed(&self, mut object: DynamicObject) -> Value {
        object.metadata.managed_fields = None;
        to_value(DynamicObject { types: Some(self.types.clone()), ..object })
    }

    /// Whether anything is kept of all objects of the kind.
    fn is_for_all(&self) -> bool {
        self.keeps.iter().any(|keep| *keep != Keep::Wanted)
    }
}

impl Sink for Keeper {
    fn begin(&mut self) {
        self.listed = Some(BTreeSet::new());
    }

    fn now(&mut self, object: DynamicObject) {
        let id = self.id(&object);
        if let Some(listed) = &mut self.listed {
            listed.insert(id.clone());
        }
        // Most objects of a kind are nobody's: they are not even looked into.
        if !self.is_for_all() && !self.shared.lock().wants(&id) {
            return;
        }
        let value = self.typed(object);
        self.shared.change(|known| {
            for keep in &self.keeps {
                match keep {
                    Keep::Wanted => {}
                    Keep::Parts => known.keep_part(&self.kind, &value),
                    Keep::Whole => known.keep_whole(&id, &value),
                }
            }
            known.store(&id, value);
        });
    }

    fn gone(&mut self, object: DynamicObject) {
        let id = self.id(&object);
        let last = self.typed(object);
        self.shared.change(|known| {
            known.forget_part(&self.kind, &last);
            known.forget_whole(&id);
            known.delete(&id, Arc::new(last));
        });
    }

    fn whole(&mut self, version: &str) {
        let listed = self.listed.take().unwrap_or_default();
        self.shared.change(|known| {
            for keep in &self.keeps {
                match keep {
                    Keep::Wanted => {}
                    Keep::Parts => known.parts_are_whole(&self.kind, &listed),
                    Keep::Whole => known.all_are_whole(&self.kind, &listed),
                }
            }
            known.wanted_are_whole(&self.kind, &listed, version);
        });
    }

    fn trouble(&mut self, what: Option<String>) {
        self.shared.change(|known| known.trouble(&self.kind, what));
    }
}

/// An object without whose its fields are.
fn without_managers(live: &Value) -> Value {
    let Value::Object(map) = live else { return live.clone() };
    let part = |(key, value): (&String, &Value)| match value {
        Value::Object(metadata) if key == "metadata" => {
            let kept = metadata.iter().filter(|(key, _)| *key != "managedFields");
            Value::Object(kept.map(|(key, value)| (key.clone(), value.clone())).collect())
        }
        other => other.clone(),
    };
    Value::Object(map.iter().map(|entry| (entry.0.clone(), part(entry))).collect())
}

impl Watches {
    /// No watch yet.
    pub(crate) fn new() -> Self {
        Self { shared: Arc::default(), tasks: Mutex::default() }
    }

    /// Begins to hear of changes.
    pub(crate) fn listen(&self) -> Listener {
        Listener::new(Arc::clone(&self.shared))
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
        if self.shared.lock().want(id) {
            return Ok(());
        }
        let started = self.start(cluster, &id.kind, version, Keep::Wanted);
        // The watch may have passed this object before anybody wanted it.
        let live = match started {
            Ok(()) => cluster.get(id, version).await,
            Err(error) => Err(error),
        };
        match live {
            Ok(Some(live)) => self.shared.change(|known| known.store(id, without_managers(&live))),
            Ok(None) => {}
            Err(error) => {
                self.forget(id);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Starts to keep an object up to date that is about to be written. Where its kind cannot be watched yet, it is not.
    pub(crate) fn expect(&self, cluster: &Cluster, object: &Object) {
        let id = &object.id;
        self.shared.lock().want(id);
        if self.start(cluster, &id.kind, &object.version, Keep::Wanted).is_err() {
            self.forget(id);
        }
    }

    /// Takes what the server answered to a write.
    pub(crate) fn told(&self, id: &ObjectId, live: &Value) {
        if self.shared.lock().wants(id) {
            self.shared.change(|known| known.store(id, without_managers(live)));
        }
    }

    /// Nobody waits for an object any more.
    pub(crate) fn forget(&self, id: &ObjectId) {
        self.shared.lock().forget(id);
    }

    /// Why a kind cannot be watched now.
    pub(crate) fn trouble(&self, kind: &GroupKind) -> Option<String> {
        self.shared.lock().has_trouble(kind)
    }

    /// Starts to keep what a rule or a gate looks at besides.
    pub(crate) fn look_around(&self, cluster: &Cluster, need: &Need) -> Result<(), ClusterError> {
        match need {
            Need::Parts(kind, version) => self.start(cluster, kind, version, Keep::Parts),
            Need::Whole(kind) => self.start(cluster, kind, "", Keep::Whole),
        }
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
            listed: None,
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
