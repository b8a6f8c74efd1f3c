//! Objects made from a component's contract, for rehearsals in which its
//! chart or manifest is not at hand. Never used on a real cluster.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::model::component::Component;
use crate::model::object::Object;

/// What `provides:` declares, as objects.
pub(crate) fn objects(component: &Component) -> Vec<Object> {
    let provides = &component.provides;
    let namespace = component.namespace.as_ref().map_or("default", |namespace| namespace.name.as_str());
    let kinds = provides.all_kinds().map(|(kind, scope)| kind.definition(scope));
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
    let gateways = named(
        "gateway.networking.k8s.io/v1",
        "GatewayClass",
        &provides.gateway_classes,
        json!({ "spec": { "controllerName": format!("{}.stand-in/controller", component.name) } }),
    );
    let others = workloads
        .chain(classes)
        .chain(ingress)
        .chain(gateways)
        .chain(service.flatten())
        .chain(webhooks)
        .chain(apis);
    kinds.chain(others.filter_map(|value| Object::from_value(value).ok())).collect()
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
        let kinds = self.component.provides.all_kinds();
        let groups: BTreeSet<&str> = kinds.map(|(provided, _)| provided.kind.group.as_str()).collect();
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
                // The contract says when it is ready: nobody need see whether it stays so.
                "spec": {
                    "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
                    "containers": [{
                        "name": "stand-in", "image": "stand-in", "readinessProbe": { "tcpSocket": { "port": 8443 } },
                        "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
                    }],
                },
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
