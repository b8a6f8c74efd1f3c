//! When is an object ready: a pure function over its JSON. The rules are the
//! union of kapp's, kstatus' and helm's, with their known holes closed. A
//! field of the wrong type counts as missing.

pub(crate) mod admission;
pub(crate) mod around;
pub(crate) mod cel;
mod cel_type;
mod custom;
#[cfg(test)]
mod early;
mod fuel;
pub(crate) mod pods;
mod quantity;
mod quota;
mod storage;
#[cfg(test)]
mod tests;
mod workloads;

use std::borrow::Cow;
use std::time::Duration;

use serde_json::Value;

use around::Around;
pub(crate) use workloads::is_unproved;

use crate::model::kinds;
use crate::model::object::{GroupKind, split_api_version};

/// What an object's own JSON says about its readiness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Health {
    /// It is.
    Ready,
    /// Not yet; why.
    Progressing(String),
    /// It looks like a failure, and is one if it lasts.
    Stuck(Soft),
    /// It will not become ready by itself.
    Failed(String),
    /// No rule knows its kind, and it says nothing.
    Unknown,
}

/// A failure that may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Soft {
    /// Which.
    pub(crate) cause: SoftCause,
    /// In words.
    pub(crate) message: String,
    /// It counts as a failure once it has lasted; a container that ended only a few times does not yet.
    pub(crate) ripe: bool,
}

impl Soft {
    fn new(cause: SoftCause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into(), ripe: true }
    }
}

/// Failures that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SoftCause {
    /// A Deployment made no progress for its own deadline.
    ProgressDeadline,
    /// A CRD's names are taken.
    NamesNotAccepted,
    /// A pod failed.
    PodFailed,
    /// A container's image cannot be pulled.
    ImagePull,
    /// A container's image is not there, or not for us.
    ImageRefused,
    /// A container keeps ending.
    CrashLoop,
    /// A container's configuration names what is not there.
    Configuration,
    /// No node takes the pod.
    Unschedulable,
    /// A volume of the pod cannot be attached or mounted.
    Volumes,
    /// The API server refuses a workload's pods.
    PodsRefused,
    /// An admission policy's expressions do not fit what they judge.
    PolicyWarnings,
    /// The pods of a disruption budget cannot be counted.
    BudgetUncounted,
}

impl SoftCause {
    /// How long it may last before it counts as a failure.
    pub(crate) fn grace(self) -> Duration {
        match self {
            Self::ImageRefused => Duration::from_secs(60),
            Self::ProgressDeadline
            | Self::NamesNotAccepted
            | Self::PodFailed
            | Self::ImagePull
            | Self::CrashLoop
            | Self::Configuration
            | Self::Unschedulable
            | Self::Volumes
            | Self::PodsRefused
            | Self::PolicyWarnings
            | Self::BudgetUncounted => Duration::from_secs(180),
        }
    }
}

/// What a rule may need beyond the object.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    /// A `DaemonSet` may match no node.
    pub(crate) may_be_empty: bool,
    /// Other objects.
    pub(crate) around: &'a dyn Around,
}

/// Kinds that only need to exist: group and kind.
const UNGATED: &[(&str, &str)] = &[
    ("", "ConfigMap"),
    ("", "Secret"),
    ("", "ServiceAccount"),
    ("", "Endpoints"),
    ("", "LimitRange"),
    ("", "ResourceQuota"),
    ("", "Event"),
    ("events.k8s.io", "Event"),
    ("", "PersistentVolume"),
    ("", "PodTemplate"),
    ("apps", "ControllerRevision"),
    ("batch", "CronJob"),
    ("discovery.k8s.io", "EndpointSlice"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("networking.k8s.io", "IngressClass"),
    ("node.k8s.io", "RuntimeClass"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("storage.k8s.io", "CSIDriver"),
    ("storage.k8s.io", "CSINode"),
    ("storage.k8s.io", "CSIStorageCapacity"),
    ("storage.k8s.io", "StorageClass"),
    ("storage.k8s.io", "VolumeAttributesClass"),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"),
    ("resource.k8s.io", "DeviceClass"),
    ("resource.k8s.io", "ResourceClaim"),
    ("resource.k8s.io", "ResourceClaimTemplate"),
    ("resource.k8s.io", "ResourceSlice"),
    ("certificates.k8s.io", "ClusterTrustBundle"),
    ("networking.k8s.io", "IPAddress"),
    ("coordination.k8s.io", "Lease"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"),
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"),
];

/// Whether objects of a kind are waited for at all.
pub(crate) fn is_gated(group: &str, kind: &str) -> bool {
    !UNGATED.contains(&(group, kind))
}

/// What is not ready whatever its kind and its gates say; `None`: those decide.
fn general(object: &Value) -> Option<Health> {
    let holds = |name| condition(object, name).is_some_and(|condition| condition.is_true());
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return Some(Health::Progressing("it is being deleted".to_owned()));
    }
    if let Some(reason) = stale(object) {
        return Some(Health::Progressing(reason));
    }
    if holds("Stalled") {
        return Some(Health::Failed(said(object, "Stalled")));
    }
    holds("Reconciling").then(|| Health::Progressing(said(object, "Reconciling")))
}

/// A budget whose pods cannot be counted: its controller says so, and of which generation it does not (`failSafe` in
/// `k8s.io/kubernetes/pkg/controller/disruption`).
fn uncounted(object: &Value) -> Option<Health> {
    let kind = (text(object, "/apiVersion"), text(object, "/kind"));
    let counted = number(object, "/status/observedGeneration");
    if kind != (Some("policy/v1"), Some("PodDisruptionBudget"))
        || object.pointer("/metadata/deletionTimestamp").is_some()
        || counted.is_some() && counted == number(object, "/metadata/generation")
    {
        return None;
    }
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let failed = conditions.iter().find(|one| text(one, "/reason") == Some("SyncFailed"))?;
    let words = text(failed, "/message").unwrap_or("its pods cannot be counted");
    Some(Health::Stuck(Soft::new(SoftCause::BudgetUncounted, format!("SyncFailed: {words}"))))
}

/// Judges an object.
pub(crate) fn health(object: &Value, context: Context<'_>) -> Health {
    if let Some(health) = uncounted(object).or_else(|| general(object)) {
        return health;
    }
    let api_version = text(object, "/apiVersion").unwrap_or_default();
    let (group, _) = split_api_version(api_version);
    let kind = text(object, "/kind").unwrap_or_default();
    match (group, kind) {
        (group, kind) if !is_gated(group, kind) => Health::Ready,
        ("", "Namespace") => match text(object, "/status/phase") {
            Some("Active") => Health::Ready,
            phase => Health::Progressing(format!("phase {}", phase.unwrap_or("unknown"))),
        },
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("apps", "Deployment") => pods::or_stuck(object, workloads::deployment(object), context),
        ("apps", "StatefulSet") => pods::or_stuck(object, workloads::stateful_set(object), context),
        ("apps", "DaemonSet") => pods::or_stuck(object, workloads::daemon_set(object, context), context),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => {
            pods::or_stuck(object, workloads::replica_set(object), context)
        }
        ("batch", "Job") => pods::or_stuck(object, workloads::job(object), context),
        ("", "Pod") => pods::with_volumes(object, context),
        ("", "Node") => node(object),
        ("", "Service") => service(object),
        ("", "PersistentVolumeClaim") => storage::claim(object, context),
        (
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
        ) => admission::webhooks(object, context),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => admission::policy(object),
        ("apiregistration.k8s.io", "APIService") => by_condition(object, "Available"),
        ("policy", "PodDisruptionBudget") => match number(object, "/status/observedGeneration") {
            Some(_) => Health::Ready,
            None => Health::Progressing("not observed by its controller yet".to_owned()),
        },
        ("autoscaling", "HorizontalPodAutoscaler") if is_observed(object) => Health::Ready,
        ("autoscaling", "HorizontalPodAutoscaler") => {
            Health::Progressing("not observed by its controller yet".to_owned())
        }
        ("networking.k8s.io", "Ingress") => {
            if first_ingress(object) {
                Health::Ready
            } else {
                Health::Progressing("no address yet".to_owned())
            }
        }
        ("gateway.networking.k8s.io", "Gateway") => gateway(object),
        _ => custom::conventional(object),
    }
}

/// Judges an object by what holds for all and its own gates, each with the name that people know it
/// by; without any, by its health rule. `Err`: a gate cannot be evaluated.
pub(crate) fn judge<'a>(
    object: &Value,
    gates: impl IntoIterator<Item = (&'a str, &'a cel::Gate)>,
    context: Context<'_>,
) -> Result<Health, String> {
    let mut gates = gates.into_iter().peekable();
    if gates.peek().is_none() {
        return Ok(health(object, context));
    }
    if let Some(health) = general(object) {
        return Ok(health);
    }
    for (of, gate) in gates {
        match gate.evaluate(object, context.around) {
            cel::Verdict::True => {}
            cel::Verdict::False => {
                return Ok(Health::Progressing(format!("the gate of {of} does not hold yet")));
            }
            cel::Verdict::Missing(what) => {
                return Ok(Health::Progressing(format!("the gate of {of} waits: {what}")));
            }
            cel::Verdict::Error(error) => {
                return Err(format!("the gate of {of} cannot be evaluated: {error}"));
            }
        }
    }
    // A Service that a gate names is used: somebody must answer behind it.
    let kind = (text(object, "/apiVersion"), text(object, "/kind"));
    Ok(if kind == (Some("v1"), Some("Service")) {
        admission::answered(object, context)
    } else {
        Health::Ready
    })
}

/// What an object's last state says of it now that it is gone: a Job that
/// was complete, and that its own time to live took away, has done its work.
pub(crate) fn gone(last: Option<&Value>) -> Health {
    match last {
        Some(last) if is_done_job(last) => Health::Ready,
        Some(_) => Health::Progressing("it was deleted".to_owned()),
        None => Health::Progressing("it does not exist yet".to_owned()),
    }
}

/// Whether an object is a Job that its time to live takes away once it has ended.
pub(crate) fn is_passing_job(object: &Value) -> bool {
    text(object, "/kind") == Some("Job")
        && text(object, "/apiVersion").is_some_and(|version| version.starts_with("batch/"))
        && object.pointer("/spec/ttlSecondsAfterFinished").is_some()
}

/// Whether an object is such a Job that has ended well.
pub(crate) fn is_done_job(object: &Value) -> bool {
    is_passing_job(object) && condition(object, "Complete").is_some_and(|found| found.is_true())
}

/// Whether an object has done its work, where it is of a kind that ends.
pub(crate) fn has_ended(object: &Value) -> bool {
    text(object, "/kind") != Some("Pod") || text(object, "/status/phase") == Some("Succeeded")
}

/// Whether an object is a Job or a Pod that has ended badly.
pub(crate) fn has_failed(object: &Value) -> bool {
    match text(object, "/kind") {
        Some("Job") => condition(object, "Failed").is_some_and(|found| found.is_true()),
        Some("Pod") => text(object, "/status/phase") == Some("Failed"),
        _ => false,
    }
}

/// Whether a custom resource that was changed has a status that does not say of which generation it is: it may be of
/// before the change. (kstatus takes it for current.)
pub(crate) fn is_undated(object: &Value) -> bool {
    let (group, _) = split_api_version(text(object, "/apiVersion").unwrap_or_default());
    let kind = GroupKind::new(group, text(object, "/kind").unwrap_or_default());
    let status = object.get("status").and_then(Value::as_object);
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let mut conditions = conditions.into_iter().flatten();
    kinds::built_in(&kind).is_none()
        && number(object, "/metadata/generation") != Some(1)
        && status.is_some_and(|status| !status.is_empty())
        && number(object, "/status/observedGeneration").is_none()
        && !conditions.any(|condition| number(condition, "/observedGeneration").is_some())
}

/// A status that speaks of an older generation.
fn stale(object: &Value) -> Option<String> {
    let generation = number(object, "/metadata/generation")?;
    let observed = number(object, "/status/observedGeneration")?;
    (observed != generation)
        .then(|| format!("generation {generation} not observed yet (status is of {observed})"))
}

fn definition(object: &Value) -> Health {
    if let Some(names) = condition(object, "NamesAccepted")
        && names.status == "False"
    {
        return Health::Stuck(Soft::new(SoftCause::NamesNotAccepted, said(object, "NamesAccepted")));
    }
    let holds = |name| condition(object, name).is_some_and(|condition| condition.is_true());
    match (holds("NamesAccepted"), holds("Established")) {
        (true, true) => Health::Ready,
        _ => Health::Progressing("not established yet".to_owned()),
    }
}

fn service(object: &Value) -> Health {
    if text(object, "/spec/type") != Some("LoadBalancer") || first_ingress(object) {
        Health::Ready
    } else {
        Health::Progressing("no load-balancer address yet".to_owned())
    }
}

/// Taints of a node that is not up yet, or not any more: no pods come to it.
pub(crate) const NOT_UP: &[&str] = &[
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/network-unavailable",
    "node.cloudprovider.kubernetes.io/uninitialized",
];

fn node(object: &Value) -> Health {
    let taints = object.pointer("/spec/taints").and_then(Value::as_array).into_iter().flatten();
    let not_up = taints.filter_map(|taint| text(taint, "/key")).find(|key| NOT_UP.contains(key));
    match (by_condition(object, "Ready"), not_up) {
        (Health::Ready, Some(taint)) => Health::Progressing(format!("it has the taint {taint}")),
        (health, _) => health,
    }
}

/// Whether an autoscaler's controller has said anything of it. `autoscaling/v1` has its conditions, as JSON, in an
/// annotation only (`k8s.io/kubernetes/pkg/apis/autoscaling/v1/conversion.go`).
fn is_observed(autoscaler: &Value) -> bool {
    let said = text(autoscaler, "/metadata/annotations/autoscaling.alpha.kubernetes.io~1conditions");
    let said = said.and_then(|said| serde_json::from_str::<Value>(said).ok());
    [autoscaler.pointer("/status/conditions"), said.as_ref()]
        .into_iter()
        .flatten()
        .any(|conditions| conditions.as_array().is_some_and(|conditions| !conditions.is_empty()))
}

fn gateway(object: &Value) -> Health {
    match by_condition(object, "Programmed") {
        Health::Ready => {
            let addresses = object.pointer("/status/addresses").and_then(Value::as_array);
            match addresses {
                Some(addresses) if !addresses.is_empty() => Health::Ready,
                _ => Health::Progressing("no address yet".to_owned()),
            }
        }
        health => health,
    }
}

/// Ready when one condition holds.
fn by_condition(object: &Value, name: &str) -> Health {
    if condition(object, name).is_some_and(|found| found.is_true()) {
        Health::Ready
    } else {
        Health::Progressing(said(object, name))
    }
}

fn first_ingress(object: &Value) -> bool {
    object.pointer("/status/loadBalancer/ingress").and_then(Value::as_array).is_some_and(|addresses| {
        addresses.iter().any(|one| one.get("ip").or_else(|| one.get("hostname")).is_some())
    })
}

/// One entry of `status.conditions`.
struct Condition<'a> {
    status: &'a str,
    reason: &'a str,
    message: &'a str,
    /// It speaks of an older generation.
    stale: bool,
}

impl Condition<'_> {
    fn is_true(&self) -> bool {
        self.status == "True" && !self.stale
    }
}

fn condition<'a>(object: &'a Value, name: &str) -> Option<Condition<'a>> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|condition| text(condition, "/type") == Some(name))?;
    Some(Condition {
        status: text(found, "/status").unwrap_or_default(),
        reason: text(found, "/reason").unwrap_or_default(),
        message: text(found, "/message").unwrap_or_default(),
        stale: is_stale(found, object),
    })
}

/// Whether a condition speaks of an older generation of its object.
fn is_stale(condition: &Value, object: &Value) -> bool {
    let observed = number(condition, "/observedGeneration");
    observed.zip(number(object, "/metadata/generation")).is_some_and(|(observed, now)| observed != now)
}

/// An object without the conditions that speak of an older generation.
fn current(object: &Value) -> Cow<'_, Value> {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    if !conditions.into_iter().flatten().any(|condition| is_stale(condition, object)) {
        return Cow::Borrowed(object);
    }
    let mut current = object.clone();
    if let Some(conditions) = current.pointer_mut("/status/conditions").and_then(Value::as_array_mut) {
        conditions.retain(|condition| !is_stale(condition, object));
    }
    Cow::Owned(current)
}

/// A condition in words: `Ready=False: NotYet: waiting for x`.
fn said(object: &Value, name: &str) -> String {
    match condition(object, name) {
        None => format!("no condition {name} yet"),
        Some(Condition { stale: true, .. }) => format!("{name} is of an older generation"),
        Some(Condition { status, reason, message, .. }) => {
            let mut words = format!("{name}={status}");
            for part in [reason, message].into_iter().filter(|part| !part.is_empty()) {
                words.push_str(": ");
                words.push_str(part);
            }
            words
        }
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn number(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer).and_then(Value::as_i64)
}
