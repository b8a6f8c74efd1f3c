//! Objects made from a component's contract, for rehearsals in which its
//! chart or manifest is not at hand. Never used on a real cluster.

use serde_json::{Value, json};

use crate::model::component::Component;
use crate::model::object::Object;

/// What `provides:` declares, as objects.
pub(crate) fn objects(component: &Component) -> Vec<Object> {
    let provides = &component.provides;
    let namespace = component.namespace.as_ref().map_or("default", |namespace| namespace.name.as_str());
    let kinds = provides.kinds.iter().filter_map(|kind| definition(kind));
    let workloads = provides.workloads.iter().filter_map(|workload| self::workload(workload, namespace));
    let named = |api_version: &'static str, kind: &'static str, names: &[String], rest: Value| {
        names
            .iter()
            .map(|name| {
                let mut object = rest.clone();
                object["apiVersion"] = json!(api_version);
                object["kind"] = json!(kind);
                object["metadata"] = json!({ "name": name });
                object
            })
            .collect::<Vec<_>>()
    };
    let classes = named(
        "storage.k8s.io/v1",
        "StorageClass",
        &provides.storage_classes,
        json!({ "provisioner": format!("{}.stand-in", component.name), "volumeBindingMode": "WaitForFirstConsumer" }),
    );
    let ingress = named(
        "networking.k8s.io/v1",
        "IngressClass",
        &provides.ingress_classes,
        json!({ "spec": { "controller": format!("{}.stand-in/controller", component.name) } }),
    );
    kinds
        .chain(workloads)
        .chain(classes)
        .chain(ingress)
        .filter_map(|value| Object::from_value(value).ok())
        .collect()
}

/// A CRD for `Certificate.cert-manager.io` or `Certificate.v1.cert-manager.io`.
fn definition(kind: &str) -> Option<Value> {
    let (kind, rest) = kind.split_once('.')?;
    let (version, group) = match rest.split_once('.') {
        Some((version, group)) if is_version(version) => (version, group),
        _ => ("v1", rest),
    };
    let plural = plural(&kind.to_lowercase());
    Some(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": {
            "group": group,
            "names": { "kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List") },
            "scope": if is_cluster_scoped(kind) { "Cluster" } else { "Namespaced" },
            "versions": [{
                "name": version,
                "served": true,
                "storage": true,
                "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
            }],
        },
    }))
}

/// Whether a text is an API version such as `v1` or `v2alpha1`.
fn is_version(text: &str) -> bool {
    text.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// The usual naming of cluster-scoped kinds. A guess, good enough for a kind
/// that only stands in.
fn is_cluster_scoped(kind: &str) -> bool {
    kind.starts_with("Cluster")
        || kind.ends_with("Class")
        || kind.ends_with("Pool")
        || kind.starts_with("Cilium") && kind.ends_with("Policy") && kind.contains("L2")
}

/// The English plural that API conventions use.
fn plural(singular: &str) -> String {
    if let Some(stem) = singular.strip_suffix('y')
        && !stem.ends_with(['a', 'e', 'o', 'u'])
    {
        format!("{stem}ies")
    } else if singular.ends_with(['s', 'x']) || singular.ends_with("ch") {
        format!("{singular}es")
    } else {
        format!("{singular}s")
    }
}

fn workload(workload: &str, namespace: &str) -> Option<Value> {
    let (kind, name) = workload.split_once('/')?;
    let kind = match kind {
        "deployment" => "Deployment",
        "daemonset" => "DaemonSet",
        "statefulset" => "StatefulSet",
        _ => return None,
    };
    let labels = json!({ "app.kubernetes.io/name": name });
    let mut value = json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": { "name": name, "namespace": namespace, "labels": labels },
        "spec": {
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [{ "name": "stand-in", "image": "stand-in" }] },
            },
        },
    });
    if kind == "StatefulSet" {
        value["spec"]["serviceName"] = json!(name);
    }
    Some(value)
}
