//! Objects made from a component's contract, for rehearsals in which its
//! chart or manifest is not at hand. Never used on a real cluster.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::model::component::Component;
use crate::model::kinds;
use crate::model::object::{GroupKind, Object};

/// What `provides:` declares, as objects.
pub(crate) fn objects(component: &Component) -> Vec<Object> {
    let provides = &component.provides;
    let namespace = component.namespace.as_ref().map_or("default", |namespace| namespace.name.as_str());
    let kinds = provides.kinds.iter().filter_map(|kind| definition(kind));
    // What gives pods their network cannot wait for it.
    let host_network = provides.capabilities.iter().any(|capability| capability == "cni");
    let workloads =
        provides.workloads.iter().filter_map(|workload| self::workload(workload, namespace, host_network));
    let backend = Backend { component, namespace };
    let webhooks = provides.webhooks.iter().filter_map(|webhook| backend.webhook(webhook));
    let apis = provides.api_services.iter().filter_map(|api| backend.api(api));
    let service =
        (!provides.webhooks.is_empty() || !provides.api_services.is_empty()).then(|| backend.service());
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
        .chain(service.flatten())
        .chain(webhooks)
        .chain(apis)
        .filter_map(|value| Object::from_value(value).ok())
        .collect()
}

/// The kinds that a component declares to bring, each with its version.
pub(crate) fn declared(component: &Component) -> impl Iterator<Item = (GroupKind, &str)> {
    let split = component.provides.kinds.iter().filter_map(|kind| split(kind));
    split.map(|(kind, version, group)| (GroupKind::new(group, kind), version))
}

/// A CRD for `Certificate.cert-manager.io` or `Certificate.v1.cert-manager.io`.
fn definition(kind: &str) -> Option<Value> {
    let (kind, version, group) = split(kind)?;
    let plural = kinds::plural(kind);
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

/// Kind, version and group of `Certificate.v1.cert-manager.io`; the version may be left out.
fn split(kind: &str) -> Option<(&str, &str, &str)> {
    let (kind, rest) = kind.split_once('.')?;
    match rest.split_once('.') {
        Some((version, group)) if is_version(version) => Some((kind, version, group)),
        _ => Some((kind, "v1", rest)),
    }
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

/// The Service that answers a component's webhooks and aggregated APIs.
struct Backend<'a> {
    component: &'a Component,
    namespace: &'a str,
}

impl Backend<'_> {
    /// It selects the workload that is named for webhooks, or the first.
    fn service(&self) -> Option<Value> {
        let workloads = &self.component.provides.workloads;
        let workload =
            workloads.iter().find(|name| name.contains("webhook")).or_else(|| workloads.first())?;
        let (_, name) = workload.split_once('/')?;
        Some(json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": self.name(), "namespace": self.namespace },
            "spec": { "selector": { "app.kubernetes.io/name": name }, "ports": [{ "port": 443, "targetPort": 8443 }] },
        }))
    }

    fn name(&self) -> String {
        format!("{}-stand-in", self.component.name)
    }

    /// A configuration that judges the kinds that the component brings.
    fn webhook(&self, webhook: &str) -> Option<Value> {
        let (kind, name) = webhook.split_once('/')?;
        let kind = match kind {
            "validating" => "ValidatingWebhookConfiguration",
            "mutating" => "MutatingWebhookConfiguration",
            _ => return None,
        };
        let groups: BTreeSet<&str> =
            self.component.provides.kinds.iter().filter_map(|kind| Some(split(kind)?.2)).collect();
        Some(json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": { "name": name },
            "webhooks": [{
                "name": format!("{name}.stand-in.example.org"),
                "admissionReviewVersions": ["v1"],
                "clientConfig": {
                    "service": { "name": self.name(), "namespace": self.namespace, "path": "/" },
                },
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "rules": [{
                    "apiGroups": groups, "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["*"],
                }],
            }],
        }))
    }

    /// `v1beta1.metrics.k8s.io`.
    fn api(&self, api: &str) -> Option<Value> {
        let (version, group) = api.split_once('.')?;
        Some(json!({
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": { "name": api },
            "spec": {
                "group": group, "version": version, "groupPriorityMinimum": 100, "versionPriority": 100,
                "insecureSkipTLSVerify": true, "service": { "name": self.name(), "namespace": self.namespace },
            },
        }))
    }
}

fn workload(workload: &str, namespace: &str, host_network: bool) -> Option<Value> {
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
    if host_network {
        value["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
    }
    if kind == "StatefulSet" {
        value["spec"]["serviceName"] = json!(name);
    }
    Some(value)
}
