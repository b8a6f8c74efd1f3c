//! Who answers webhooks and aggregated APIs: Services, and the workloads whose pods they select. A fail-closed webhook
//! that nobody answers refuses whatever it judges, what would mend it included.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::Step;
use super::admission::items;
use super::references;
use crate::model::object::Object;

/// The Services of a plan in the namespaces of those that are called, and the pods that they may select.
#[derive(Debug, Default)]
pub(super) struct Backends<'a> {
    /// By namespace and name: the step that applies it, and its selector.
    services: HashMap<(&'a str, &'a str), (usize, &'a Value)>,
    /// Workloads by namespace: the step that applies it, and its pods' labels.
    workloads: HashMap<&'a str, Vec<(usize, &'a Value)>>,
}

impl<'a> Backends<'a> {
    /// Indexes the objects of all steps. Where nothing is called, nobody has to answer.
    pub(super) fn new(steps: &'a [Step]) -> Self {
        let mut found = Self::default();
        let objects = |step: &'a Step| step.actions.iter().filter_map(|action| action.object.as_deref());
        let calls = steps.iter().flat_map(objects).flat_map(called);
        let namespaces: HashSet<&str> = calls.map(|(namespace, _)| namespace).collect();
        if namespaces.is_empty() {
            return found;
        }
        for (index, step) in steps.iter().enumerate() {
            for object in objects(step) {
                let namespace = object.id.namespace.as_deref();
                let Some(namespace) = namespace.filter(|name| namespaces.contains(name)) else { continue };
                if is_service(object) {
                    let selector = object.value.pointer("/spec/selector").unwrap_or(&Value::Null);
                    found.services.insert((namespace, &object.id.name), (index, selector));
                } else if let Some(labels) = pod_labels(object) {
                    found.workloads.entry(namespace).or_default().push((index, labels));
                }
            }
        }
        found
    }

    /// Whether the plan has a Service that is called.
    pub(super) fn has(&self, service: (&str, &str)) -> bool {
        self.services.contains_key(&service)
    }

    /// The steps without which a Service that is called has no ready endpoint: its own, and those of the workloads that
    /// it selects.
    pub(super) fn steps(&self, service: (&str, &str)) -> Vec<usize> {
        let Some((own, selector)) = self.services.get(&service) else { return Vec::new() };
        let workloads = self.workloads.get(service.0).into_iter().flatten();
        let selected = workloads.filter(|(_, labels)| selects(selector, labels)).map(|(step, _)| *step);
        let mut steps: Vec<usize> = std::iter::once(*own).chain(selected).collect();
        steps.sort_unstable();
        steps.dedup();
        steps
    }
}

fn is_service(object: &Object) -> bool {
    object.id.kind.is("", "Service")
}

/// The labels of a workload's pods, which stay to answer.
fn pod_labels(object: &Object) -> Option<&Value> {
    if !references::has_pods(object) || object.id.kind.kind == "Job" {
        return None;
    }
    let of = if object.id.kind.kind == "Pod" { "/metadata/labels" } else { "/spec/template/metadata/labels" };
    object.value.pointer(of)
}

/// Whether a Service selects pods with some labels. Without a selector it selects none.
fn selects(selector: &Value, labels: &Value) -> bool {
    let Some(wanted) = selector.as_object().filter(|wanted| !wanted.is_empty()) else { return false };
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// The Services that answer an object's fail-closed webhooks and its aggregated API: namespace and name.
pub(super) fn called(object: &Object) -> impl Iterator<Item = (&str, &str)> {
    of_webhooks(object).chain(of_api(object))
}

/// The Services that answer an object's fail-closed webhooks: namespace and name.
pub(crate) fn of_webhooks(object: &Object) -> impl Iterator<Item = (&str, &str)> {
    let webhooks = match object.id.kind.kind.as_str() {
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => items(&object.value, "webhooks"),
        _ => &[],
    };
    let closed = webhooks.iter().filter(|webhook| {
        webhook.get("failurePolicy").and_then(Value::as_str) != Some("Ignore")
            && !items(webhook, "rules").is_empty()
    });
    closed.filter_map(|webhook| named(webhook.pointer("/clientConfig/service")?))
}

/// The Service that answers for an object's aggregated API.
fn of_api(object: &Object) -> Option<(&str, &str)> {
    object.aggregates().and_then(|_| named(object.value.pointer("/spec/service")?))
}

fn named(service: &Value) -> Option<(&str, &str)> {
    Some((service.get("namespace")?.as_str()?, service.get("name")?.as_str()?))
}
