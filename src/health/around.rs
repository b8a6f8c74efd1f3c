//! What rules look at besides the object itself: the pods of a workload, why
//! their volumes are not there, quotas, the endpoints of a webhook's Service, the class of a claim. Only what a rule
//! can use is kept of each, so that whole clusters fit.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{pods, quota};
use crate::model::object::GroupKind;

/// Other objects, as far as they are known.
pub(crate) trait Around: Sync {
    /// What is kept of a kind's objects, in a namespace or of the whole cluster; `None`: not known yet.
    fn all(&self, kind: &GroupKind, namespace: Option<&str>) -> Option<Vec<Arc<Value>>>;
    /// The whole of a kind's objects, in a fixed order; `None`: not known yet.
    fn whole(&self, kind: &GroupKind) -> Option<Vec<Arc<Value>>>;
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
    fn all(&self, _: &GroupKind, _: Option<&str>) -> Option<Vec<Arc<Value>>> {
        None
    }

    fn whole(&self, _: &GroupKind) -> Option<Vec<Arc<Value>>> {
        None
    }
}

/// Everything that was listed.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// What rules use.
    pub(crate) parts: BTreeMap<GroupKind, Vec<Arc<Value>>>,
    /// Whole objects.
    pub(crate) whole: BTreeMap<GroupKind, Vec<Arc<Value>>>,
}

impl Around for Listed {
    fn all(&self, kind: &GroupKind, namespace: Option<&str>) -> Option<Vec<Arc<Value>>> {
        let objects = self.parts.get(kind)?.iter();
        Some(
            objects
                .filter(|object| namespace.is_none() || namespace == self::namespace(object))
                .cloned()
                .collect(),
        )
    }

    fn whole(&self, kind: &GroupKind) -> Option<Vec<Arc<Value>>> {
        self.whole.get(kind).cloned()
    }
}

fn namespace(object: &Value) -> Option<&str> {
    object.pointer("/metadata/namespace").and_then(Value::as_str)
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
pub(crate) fn kept(kind: &GroupKind, object: &Value) -> Option<Value> {
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
    let slices = around.all(&GroupKind::new("discovery.k8s.io", "EndpointSlice"), Some(namespace))?;
    let own = slices.iter().filter(|slice| {
        slice.pointer("/metadata/labels/kubernetes.io~1service-name").and_then(Value::as_str) == Some(service)
    });
    Some(own.filter_map(|slice| slice.get("ready")?.as_u64()).sum())
}
