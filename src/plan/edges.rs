//! Edges: written ones (`needs:`), and those found in rendered objects, each
//! with its reason and what it holds back.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::planner::Desired;
use super::{Blocks, Edge, Milestone, PlanError, Reason, Stage, Step, StepId};
use crate::model::component::GateSpec;
use crate::model::names::ComponentName;
use crate::model::object::{GroupKind, Object, ObjectId};

/// Which step applies what others may wait for.
#[derive(Debug)]
pub(crate) struct Owners<'a> {
    kinds: HashMap<GroupKind, usize>,
    objects: HashMap<&'a ObjectId, usize>,
}

impl<'a> Owners<'a> {
    /// Indexes the objects of all steps.
    pub(crate) fn new(steps: &'a [Step]) -> Self {
        let mut owners = Self { kinds: HashMap::new(), objects: HashMap::new() };
        for (index, step) in steps.iter().enumerate() {
            for object in step.actions.iter().filter_map(|action| action.object.as_ref()) {
                owners.objects.insert(&object.id, index);
                if let Some(kind) = object.defines() {
                    owners.kinds.insert(kind, index);
                }
            }
        }
        owners
    }
}

/// Whether a gate's `of:` (`KIND/NAME`, `KIND.GROUP/NAME`, `KIND/NAMESPACE/NAME`) names an object.
pub(crate) fn gate_is_of(gate: &GateSpec, id: &ObjectId) -> bool {
    let parts: Vec<&str> = gate.of.split('/').collect();
    let (kind, namespace, name) = match parts.as_slice() {
        [kind, name] => (*kind, None, *name),
        [kind, namespace, name] => (*kind, Some(*namespace), *name),
        _ => return false,
    };
    let (kind, group) = kind.split_once('.').map_or((kind, None), |(kind, group)| (kind, Some(group)));
    kind.eq_ignore_ascii_case(&id.kind.kind)
        && group.is_none_or(|group| group == id.kind.group)
        && namespace.is_none_or(|namespace| id.namespace.as_deref() == Some(namespace))
        && name == id.name
}

/// Edges from `needs:`: a component, one of its stages, or a capability.
pub(crate) fn needs(desired: &Desired, steps: &[Step], edges: &mut Vec<Edge>) -> Vec<PlanError> {
    let mut of: HashMap<&str, Vec<(usize, Stage)>> = HashMap::new();
    for (index, step) in steps.iter().enumerate() {
        if let StepId::Stage(component, stage) = &step.id {
            of.entry(component.as_str()).or_default().push((index, *stage));
        }
    }
    let mut providers: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    for component in &desired.components {
        let name = component.name.as_str();
        for offered in component.capabilities.iter().map(String::as_str).chain([name]) {
            providers.entry(offered).or_default().insert(name);
        }
    }
    let mut errors = Vec::new();
    for component in &desired.components {
        let Some(&(first, _)) = of.get(component.name.as_str()).and_then(|steps| steps.first()) else {
            continue;
        };
        for need in &component.needs {
            let (name, stage) =
                need.split_once('/').map_or((need.as_str(), None), |(name, stage)| (name, Some(stage)));
            let mut found: Vec<usize> = providers
                .get(name)
                .into_iter()
                .flatten()
                .filter(|provider| **provider != component.name.as_str())
                .filter_map(|provider| of.get(provider))
                .flatten()
                .filter(|(_, of)| stage.is_none_or(|stage| of.to_string() == stage))
                .map(|(index, _)| *index)
                .collect();
            found.sort_unstable();
            // A component without objects has no steps to wait for.
            let nothing_to_wait_for = providers.contains_key(name) && stage.is_none();
            if found.is_empty() && !nothing_to_wait_for {
                errors.push(PlanError::UnknownNeed { component: component.name.clone(), need: need.clone() });
            }
            edges.extend(found.into_iter().map(|from| Edge {
                from,
                milestone: Milestone::Ready,
                to: first,
                blocks: Blocks::Apply,
                reason: Reason::Needs(need.clone()),
            }));
        }
    }
    errors
}

/// Edges found in the objects. Each pair of steps gets one edge a kind of
/// reason: the first object that shows it.
pub(crate) fn inferred(desired: &Desired, steps: &[Step], owners: &Owners<'_>, edges: &mut Vec<Edge>) {
    let cni: Vec<usize> = desired
        .components
        .iter()
        .filter(|component| component.capabilities.iter().any(|capability| capability == "cni"))
        .filter_map(|component| {
            steps.iter().position(|step| step.id == StepId::Stage(component.name.clone(), Stage::Objects))
        })
        .collect();
    let ignored: HashMap<&str, &[ComponentName]> = desired
        .components
        .iter()
        .filter(|component| !component.ignore_edges.is_empty())
        .map(|component| (component.name.as_str(), component.ignore_edges.as_slice()))
        .collect();
    for (to, step) in steps.iter().enumerate() {
        let ignored = ignored.get(step.id.component()).copied().unwrap_or_default();
        let mut found = Found { to, steps, ignored, edges, seen: Vec::new() };
        for object in step.actions.iter().filter_map(|action| action.object.as_deref()) {
            found.of_object(object, owners, &cni);
        }
    }
}

/// Collects the edges into one step.
struct Found<'a> {
    to: usize,
    steps: &'a [Step],
    ignored: &'a [ComponentName],
    edges: &'a mut Vec<Edge>,
    seen: Vec<(usize, Blocks, std::mem::Discriminant<Reason>)>,
}

impl Found<'_> {
    fn of_object(&mut self, object: &Object, owners: &Owners<'_>, cni: &[usize]) {
        let id = &object.id;
        if let Some(&from) = owners.kinds.get(&id.kind) {
            let reason = || Reason::Kind { object: id.clone(), kind: id.kind.clone() };
            self.add(from, Milestone::Ready, Blocks::Apply, reason);
        }
        if let Some(namespace) = &id.namespace {
            let target =
                ObjectId { kind: GroupKind::new("", "Namespace"), namespace: None, name: namespace.clone() };
            if let Some(&from) = owners.objects.get(&target) {
                let reason = || Reason::Namespace { object: id.clone(), namespace: namespace.clone() };
                self.add(from, Milestone::Applied, Blocks::Apply, reason);
            }
        }
        let Some(pod) = pod_spec(object) else { return };
        for (target, blocks) in references(pod, id.namespace.as_deref()) {
            if let Some(&from) = owners.objects.get(&target) {
                let reason = || Reason::Reference { object: id.clone(), target: target.clone() };
                self.add(from, Milestone::Applied, blocks, reason);
            }
        }
        if pod.get("hostNetwork").and_then(Value::as_bool) != Some(true) {
            for &from in cni {
                self.add(from, Milestone::Ready, Blocks::Ready, || Reason::Network { object: id.clone() });
            }
        }
    }

    fn add(&mut self, from: usize, milestone: Milestone, blocks: Blocks, reason: impl FnOnce() -> Reason) {
        let (Some(first), Some(second)) = (self.steps.get(from), self.steps.get(self.to)) else { return };
        if first.id.component() == second.id.component()
            || self.ignored.iter().any(|name| name.as_str() == first.id.component())
        {
            return;
        }
        let reason = reason();
        let key = (from, blocks, std::mem::discriminant(&reason));
        if !self.seen.contains(&key) {
            self.seen.push(key);
            self.edges.push(Edge { from, milestone, to: self.to, blocks, reason });
        }
    }
}

/// Whether an object runs pods.
pub(crate) fn has_pods(object: &Object) -> bool {
    pod_spec(object).is_some()
}

/// The pod spec of a workload, or of a pod itself.
fn pod_spec(object: &Object) -> Option<&Value> {
    match (object.id.kind.group.as_str(), object.id.kind.kind.as_str()) {
        ("", "Pod") => object.value.get("spec"),
        ("apps" | "batch", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job")
        | ("", "ReplicationController") => object.value.pointer("/spec/template/spec"),
        _ => None,
    }
}

/// A list in a pod's spec; empty where there is none.
fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The objects that a pod names, and what their absence holds back. The
/// admission controllers for `ServiceAccount`, `PriorityClass` and `RuntimeClass`
/// refuse a *pod*; a workload's objects go in, and only its pods wait. For a
/// bare class the request itself is refused, hence `Apply` there.
fn references(pod: &Value, namespace: Option<&str>) -> Vec<(ObjectId, Blocks)> {
    let mut found = Vec::new();
    let mut namespaced = |kind: &str, name: Option<&Value>| {
        if let Some(name) = name.and_then(Value::as_str) {
            let id = ObjectId {
                kind: GroupKind::new("", kind),
                namespace: namespace.map(str::to_owned),
                name: name.to_owned(),
            };
            found.push((id, Blocks::Ready));
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
            let id = ObjectId { kind: GroupKind::new(group, kind), namespace: None, name: name.to_owned() };
            found.push((id, Blocks::Apply));
        }
    }
    found
}
