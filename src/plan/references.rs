//! The objects that a pod names, and what their absence holds back.

use serde_json::Value;

use super::Blocks;
use crate::model::object::{Object, ObjectRef};

/// Whether an object runs pods.
pub(crate) fn has_pods(object: &Object) -> bool {
    pod_spec(object).is_some()
}

/// The pod spec of a workload, or of a pod itself.
pub(crate) fn pod_spec(object: &Object) -> Option<&Value> {
    match (object.id.kind.group.as_str(), object.id.kind.kind.as_str()) {
        ("", "Pod") => object.value.get("spec"),
        ("apps" | "batch", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job")
        | ("", "ReplicationController") => object.value.get("spec")?.get("template")?.get("spec"),
        _ => None,
    }
}

/// Whether a pod uses its host's network, and needs none for pods.
pub(crate) fn is_on_host_network(pod: &Value) -> bool {
    pod.get("hostNetwork").and_then(Value::as_bool) == Some(true)
}

/// A list in a pod's spec; empty where there is none.
fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The objects that a pod names, and what their absence holds back. The
/// admission controllers for `ServiceAccount`, `PriorityClass` and `RuntimeClass`
/// refuse a *pod*; a workload's objects go in, and only its pods wait. For a
/// bare class the request itself is refused, hence `Apply` there.
pub(super) fn references<'a>(pod: &'a Value, namespace: Option<&'a str>) -> Vec<(ObjectRef<'a>, Blocks)> {
    let mut found = Vec::new();
    let mut namespaced = |kind: &'static str, name: Option<&'a Value>| {
        if let Some(name) = name.and_then(Value::as_str) {
            found.push((ObjectRef { group: "", kind, namespace, name }, Blocks::Ready));
        }
    };
    let optional = |value: &Value| value.get("optional").and_then(Value::as_bool) == Some(true);
    namespaced("ServiceAccount", pod.get("serviceAccountName"));
    for secret in list(pod, "imagePullSecrets") {
        namespaced("Secret", secret.get("name"));
    }
    for volume in list(pod, "volumes") {
        if let Some(secret) = volume.get("secret").filter(|secret| !optional(secret)) {
            namespaced("Secret", secret.get("secretName"));
        }
        if let Some(map) = volume.get("configMap").filter(|map| !optional(map)) {
            namespaced("ConfigMap", map.get("name"));
        }
        for source in volume.get("projected").map(|projected| list(projected, "sources")).unwrap_or_default()
        {
            for (key, kind) in [("secret", "Secret"), ("configMap", "ConfigMap")] {
                if let Some(source) = source.get(key).filter(|source| !optional(source)) {
                    namespaced(kind, source.get("name"));
                }
            }
        }
    }
    for container in list(pod, "initContainers").iter().chain(list(pod, "containers")) {
        let sources = list(container, "env").iter().filter_map(|variable| variable.get("valueFrom"));
        for (key, kind) in [("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")] {
            for reference in
                sources.clone().filter_map(|source| source.get(key)).filter(|source| !optional(source))
            {
                namespaced(kind, reference.get("name"));
            }
        }
        for source in list(container, "envFrom") {
            for (key, kind) in [("secretRef", "Secret"), ("configMapRef", "ConfigMap")] {
                if let Some(reference) = source.get(key).filter(|reference| !optional(reference)) {
                    namespaced(kind, reference.get("name"));
                }
            }
        }
    }
    for (key, group, kind) in [
        ("priorityClassName", "scheduling.k8s.io", "PriorityClass"),
        ("runtimeClassName", "node.k8s.io", "RuntimeClass"),
    ] {
        if let Some(name) = pod.get(key).and_then(Value::as_str) {
            found.push((ObjectRef { group, kind, namespace: None, name }, Blocks::Apply));
        }
    }
    found
}
