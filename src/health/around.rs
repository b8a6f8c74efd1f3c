//! What rules look at besides the object itself: the pods of a workload, the
//! endpoints of a webhook's Service, the class of a claim. Only what a rule
//! can use is kept of each, so that whole clusters fit.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::pods;
use crate::model::object::GroupKind;

/// Other objects, as far as they are known.
pub(crate) trait Around: Sync {
    /// What is kept of a kind's objects, in a namespace or of the whole cluster; `None`: not known yet.
    fn all(&self, kind: &GroupKind, namespace: Option<&str>) -> Option<Vec<Arc<Value>>>;
}

/// Nothing is known.
pub(crate) struct Nothing;

impl Around for Nothing {
    fn all(&self, _: &GroupKind, _: Option<&str>) -> Option<Vec<Arc<Value>>> {
        None
    }
}

/// Everything that was listed.
#[derive(Default)]
pub(crate) struct Listed(pub(crate) BTreeMap<GroupKind, Vec<Arc<Value>>>);

impl Around for Listed {
    fn all(&self, kind: &GroupKind, namespace: Option<&str>) -> Option<Vec<Arc<Value>>> {
        let objects = self.0.get(kind)?.iter();
        Some(objects.filter(|object| namespace.is_none() || namespace == self::namespace(object)).cloned().collect())
    }
}

fn namespace(object: &Value) -> Option<&str> {
    object.pointer("/metadata/namespace").and_then(Value::as_str)
}

/// The kinds that a kind's rule looks at: group, version and kind.
pub(crate) fn kinds(kind: &GroupKind) -> &'static [(&'static str, &'static str, &'static str)] {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "Deployment") => &[("apps", "v1", "ReplicaSet"), ("", "v1", "Pod")],
        ("apps", "StatefulSet" | "DaemonSet" | "ReplicaSet") | ("batch", "Job") | ("", "ReplicationController") => {
            &[("", "v1", "Pod")]
        }
        (group, kind) => deciding(group, kind),
    }
}

/// The kinds without which a kind's rule cannot say *ready*. The pods of a
/// workload only tell whether it is stuck.
pub(crate) fn deciding(group: &str, kind: &str) -> &'static [(&'static str, &'static str, &'static str)] {
    match (group, kind) {
        ("", "PersistentVolumeClaim") => &[("storage.k8s.io", "v1", "StorageClass"), ("", "v1", "Pod")],
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration")
        | ("", "Service") => &[("discovery.k8s.io", "v1", "EndpointSlice")],
        _ => &[],
    }
}

/// What is kept of an object; `None`: nothing.
pub(crate) fn kept(kind: &GroupKind, object: &Value) -> Option<Value> {
    let part = |pointer: &str| object.pointer(pointer).cloned().unwrap_or_default();
    let metadata = || {
        let keys = ["name", "namespace", "uid", "labels", "ownerReferences"];
        let kept = keys.iter().filter_map(|key| Some(((*key).to_owned(), object.get("metadata")?.get(key)?.clone())));
        Value::Object(kept.collect())
    };
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Pod") if pods::matters(object) => Some(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata(),
            "spec": { "nodeName": part("/spec/nodeName"), "volumes": part("/spec/volumes") },
            "status": part("/status"),
        })),
        ("apps", "ReplicaSet") if object.pointer("/spec/replicas").and_then(Value::as_i64) != Some(0) => Some(json!({
            "metadata": metadata(),
            "revision": part("/metadata/annotations/deployment.kubernetes.io~1revision"),
        })),
        ("discovery.k8s.io", "EndpointSlice") => {
            let endpoints = object.get("endpoints").and_then(Value::as_array).into_iter().flatten();
            // Without a word on it an endpoint is ready (the API's own rule).
            let ready = endpoints
                .filter(|endpoint| endpoint.pointer("/conditions/ready").and_then(Value::as_bool) != Some(false))
                .count();
            Some(json!({ "metadata": metadata(), "ready": ready }))
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
