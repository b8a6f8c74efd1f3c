//! What rules look at besides the object itself: the pods of a workload, why
//! their volumes are not there, quotas, the endpoints of a webhook's Service, the class of a claim. Only what a rule
//! can use is kept of each, so that whole clusters fit.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{pods, quota, text};
use crate::model::object::GroupKind;

/// Other objects, as far as they are known.
pub(crate) trait Around: Sync {
    /// What is kept of those of a kind's objects that can be found in this way, in a fixed order; `None`: not known yet.
    fn parts(&self, kind: &GroupKind, by: &By) -> Option<Vec<Arc<Value>>>;
    /// The whole of a kind's objects, in a fixed order; `None`: not known yet.
    fn whole(&self, kind: &GroupKind) -> Option<Vec<Arc<Value>>>;
}

/// How rules find the objects that they look at, so that no rule goes over all of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum By {
    /// The pods and `ReplicaSet`s of an owner, by its uid.
    Owner(String),
    /// The events of a pod, by its uid.
    Pod(String),
    /// The pods of a namespace that use a claim, by both names.
    Claim(String, String),
    /// The endpoints of a namespace's Service, by both names.
    Service(String, String),
    /// The quotas of a namespace.
    Namespace(String),
    /// The class of a name.
    Name(String),
}

/// What a rule or a gate looks at besides the object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// What rules use of a kind's objects, read at a version.
    Parts(GroupKind, &'static str),
    /// The whole of a kind's objects.
    Whole(GroupKind),
}

/// Nothing is known.
pub(crate) struct Nothing;

impl Around for Nothing {
    fn parts(&self, _: &GroupKind, _: &By) -> Option<Vec<Arc<Value>>> {
        None
    }

    fn whole(&self, _: &GroupKind) -> Option<Vec<Arc<Value>>> {
        None
    }
}

/// What is kept of a kind's objects. Each is found in every way in which rules look for it.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// By namespace and name.
    objects: BTreeMap<Place, Arc<Value>>,
    found: BTreeMap<By, BTreeMap<Place, Arc<Value>>>,
}

/// The namespace and name of an object.
type Place = Arc<(String, String)>;

fn place(object: &Value) -> Place {
    let part = |pointer: &str| text(object, pointer).unwrap_or_default().to_owned();
    Arc::new((part("/metadata/namespace"), part("/metadata/name")))
}

impl Kept {
    /// Keeps what there is to keep of an object, and gives the ways that lead elsewhere than before.
    pub(crate) fn put(&mut self, kind: &GroupKind, object: &Value) -> Vec<By> {
        let place = place(object);
        let new = kept(kind, object);
        if self.objects.get(&place).map(|before| &**before) == new.as_ref() {
            return Vec::new();
        }
        let mut changed = self.take(kind, &place);
        if let Some(new) = new.map(Arc::new) {
            for by in ways(kind, &new) {
                self.found.entry(by.clone()).or_default().insert(Arc::clone(&place), Arc::clone(&new));
                changed.push(by);
            }
            self.objects.insert(place, new);
        }
        changed
    }

    /// Forgets an object, and gives the ways that led to it.
    pub(crate) fn forget(&mut self, kind: &GroupKind, object: &Value) -> Vec<By> {
        self.take(kind, &place(object))
    }

    fn take(&mut self, kind: &GroupKind, place: &Place) -> Vec<By> {
        let Some(before) = self.objects.remove(place) else { return Vec::new() };
        let ways = ways(kind, &before);
        for by in &ways {
            if let Some(there) = self.found.get_mut(by) {
                there.remove(place);
                if there.is_empty() {
                    self.found.remove(by);
                }
            }
        }
        ways
    }

    /// Forgets the objects whose namespace and name are not wanted any more.
    pub(crate) fn retain(&mut self, kind: &GroupKind, wanted: impl Fn(&str, &str) -> bool) {
        let gone: Vec<Place> =
            self.objects.keys().filter(|place| !wanted(&place.0, &place.1)).cloned().collect();
        for place in gone {
            self.take(kind, &place);
        }
    }

    /// The objects that are found in a way.
    pub(crate) fn find(&self, by: &By) -> Vec<Arc<Value>> {
        self.found.get(by).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }
}

/// The ways in which rules look for an object of which this is kept.
fn ways(kind: &GroupKind, kept: &Value) -> Vec<By> {
    let part = |pointer: &str| text(kept, pointer).unwrap_or_default().to_owned();
    let namespace = || part("/metadata/namespace");
    let owners = || {
        let owners = kept.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        owners.into_iter().flatten().filter_map(|owner| Some(By::Owner(text(owner, "/uid")?.to_owned())))
    };
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") => {
            let claims = pods::claims(kept).map(|claim| By::Claim(namespace(), claim.to_owned()));
            owners().chain(claims).collect()
        }
        ("apps", "ReplicaSet") => owners().collect(),
        ("", "Event") => vec![By::Pod(part("/pod"))],
        ("discovery.k8s.io", "EndpointSlice") => {
            vec![By::Service(namespace(), part("/metadata/labels/kubernetes.io~1service-name"))]
        }
        ("", "ResourceQuota") => vec![By::Namespace(namespace())],
        ("storage.k8s.io", "StorageClass") => vec![By::Name(part("/metadata/name"))],
        _ => Vec::new(),
    }
}

/// Everything that was listed.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// What rules use.
    pub(crate) parts: BTreeMap<GroupKind, Arc<Kept>>,
    /// Whole objects.
    pub(crate) whole: BTreeMap<GroupKind, Arc<Vec<Arc<Value>>>>,
}

impl Around for Listed {
    fn parts(&self, kind: &GroupKind, by: &By) -> Option<Vec<Arc<Value>>> {
        Some(self.parts.get(kind)?.find(by))
    }

    fn whole(&self, kind: &GroupKind) -> Option<Vec<Arc<Value>>> {
        self.whole.get(kind).map(|objects| objects.to_vec())
    }
}

/// What the rule of a kind looks at. A Service needs its endpoints only where a gate names it.
pub(crate) fn needs(kind: &GroupKind, gated: bool) -> Vec<Need> {
    let parts = |group: &str, version, kind: &str| Need::Parts(GroupKind::new(group, kind), version);
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "Deployment") => {
            let sets = parts("apps", "v1", "ReplicaSet");
            vec![sets, parts("", "v1", "Pod"), parts("", "v1", "Event"), parts("", "v1", "ResourceQuota")]
        }
        ("apps", "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch", "Job")
        | ("", "ReplicationController") => {
            vec![parts("", "v1", "Pod"), parts("", "v1", "Event"), parts("", "v1", "ResourceQuota")]
        }
        ("", "Pod") => vec![parts("", "v1", "Event")],
        _ => deciding(kind, gated),
    }
}

/// That without which a kind's rule cannot say *ready*. The pods of a
/// workload only tell whether it is stuck.
pub(crate) fn deciding(kind: &GroupKind, gated: bool) -> Vec<Need> {
    let parts = |group: &str, version, kind: &str| Need::Parts(GroupKind::new(group, kind), version);
    let endpoints = || vec![parts("discovery.k8s.io", "v1", "EndpointSlice")];
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "PersistentVolumeClaim") => {
            vec![parts("storage.k8s.io", "v1", "StorageClass"), parts("", "v1", "Pod")]
        }
        (
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
        ) => endpoints(),
        ("", "Service") if gated => endpoints(),
        _ => Vec::new(),
    }
}

/// Which of a kind's objects rules look at, as a field selector; `None`: all. Clusters have very many events.
pub(crate) fn fields(kind: &GroupKind) -> Option<&'static str> {
    let is_event = kind.group.is_empty() && kind.kind == "Event";
    is_event.then_some("involvedObject.kind=Pod,type=Warning")
}

/// What is kept of an object; `None`: nothing.
fn kept(kind: &GroupKind, object: &Value) -> Option<Value> {
    let part = |pointer: &str| object.pointer(pointer).cloned().unwrap_or_default();
    let metadata = || {
        let keys = ["name", "namespace", "uid", "labels", "ownerReferences"];
        let kept = keys
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), object.get("metadata")?.get(key)?.clone())));
        Value::Object(kept.collect())
    };
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") if pods::matters(object) => Some(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata(),
            "spec": { "nodeName": part("/spec/nodeName"), "volumes": part("/spec/volumes") },
            "status": part("/status"),
        })),
        ("apps", "ReplicaSet") if object.pointer("/spec/replicas").and_then(Value::as_i64) != Some(0) => {
            Some(json!({
                "metadata": metadata(),
                "revision": part("/metadata/annotations/deployment.kubernetes.io~1revision"),
            }))
        }
        ("discovery.k8s.io", "EndpointSlice") => {
            let endpoints = object.get("endpoints").and_then(Value::as_array).into_iter().flatten();
            // Without a word on it an endpoint is ready (the API's own rule).
            let ready = endpoints
                .filter(|endpoint| {
                    endpoint.pointer("/conditions/ready").and_then(Value::as_bool) != Some(false)
                })
                .count();
            Some(json!({ "metadata": metadata(), "ready": ready }))
        }
        ("", "Event") if pods::tells_of_volumes(object) => {
            let last = ["/series/lastObservedTime", "/lastTimestamp", "/eventTime"];
            let last = last.iter().find_map(|pointer| object.pointer(pointer)?.as_str());
            Some(json!({
                "metadata": metadata(), "first": part("/firstTimestamp"), "last": last,
                "pod": part("/involvedObject/uid"), "reason": part("/reason"), "message": part("/message"),
            }))
        }
        ("", "ResourceQuota") if quota::counts_all(object) => {
            Some(json!({ "metadata": metadata(), "hard": part("/spec/hard") }))
        }
        ("storage.k8s.io", "StorageClass") => Some(json!({
            "metadata": metadata(),
            "mode": part("/volumeBindingMode"),
        })),
        _ => None,
    }
}

/// How many ready endpoints a Service has; `None`: not known yet.
pub(super) fn endpoints(around: &dyn Around, namespace: &str, service: &str) -> Option<u64> {
    let by = By::Service(namespace.to_owned(), service.to_owned());
    let slices = around.parts(&GroupKind::new("discovery.k8s.io", "EndpointSlice"), &by)?;
    Some(slices.iter().filter_map(|slice| slice.get("ready")?.as_u64()).sum())
}
