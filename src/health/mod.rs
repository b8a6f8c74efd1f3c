//! When is an object ready: a pure function over its JSON. The rules are the
//! union of kapp's, kstatus' and helm's, with their known holes closed. A
//! field of the wrong type counts as missing.

pub(crate) mod cel;
mod custom;
mod workloads;

use std::time::Duration;

use serde_json::Value;

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
}

/// Failures that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SoftCause {
    /// A Deployment made no progress for its own deadline.
    ProgressDeadline,
    /// A CRD's names are taken.
    NamesNotAccepted,
    /// A pod failed.
    PodFailed,
    /// A container's image cannot be pulled.
    ImagePull,
    /// A container keeps ending.
    CrashLoop,
    /// No node takes the pod.
    Unschedulable,
}

impl SoftCause {
    /// How long it may last before it counts as a failure.
    pub(crate) fn grace(self) -> Duration {
        match self {
            Self::ProgressDeadline
            | Self::NamesNotAccepted
            | Self::PodFailed
            | Self::ImagePull
            | Self::CrashLoop
            | Self::Unschedulable => Duration::from_secs(180),
        }
    }
}

/// What a rule may need beyond the object.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Context {
    /// A `DaemonSet` may match no node.
    pub(crate) may_be_empty: bool,
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
    ("", "PersistentVolume"),
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
    ("storage.k8s.io", "StorageClass"),
    ("coordination.k8s.io", "Lease"),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
];

/// Whether objects of a kind are waited for at all.
pub(crate) fn is_gated(group: &str, kind: &str) -> bool {
    !UNGATED.contains(&(group, kind))
}

/// Judges an object.
pub(crate) fn health(object: &Value, context: Context) -> Health {
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return Health::Progressing("it is being deleted".to_owned());
    }
    if let Some(reason) = stale(object) {
        return Health::Progressing(reason);
    }
    if condition(object, "Stalled").is_some_and(|condition| condition.is_true()) {
        return Health::Failed(said(object, "Stalled"));
    }
    if condition(object, "Reconciling").is_some_and(|condition| condition.is_true()) {
        return Health::Progressing(said(object, "Reconciling"));
    }
    let api_version = text(object, "/apiVersion").unwrap_or_default();
    let (group, _) = crate::model::object::split_api_version(api_version);
    let kind = text(object, "/kind").unwrap_or_default();
    match (group, kind) {
        (group, kind) if !is_gated(group, kind) => Health::Ready,
        ("", "Namespace") => match text(object, "/status/phase") {
            Some("Active") => Health::Ready,
            phase => Health::Progressing(format!("phase {}", phase.unwrap_or("unknown"))),
        },
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("apps", "Deployment") => workloads::deployment(object),
        ("apps", "StatefulSet") => workloads::stateful_set(object),
        ("apps", "DaemonSet") => workloads::daemon_set(object, context),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => workloads::replica_set(object),
        ("batch", "Job") => workloads::job(object),
        ("", "Pod") => workloads::pod(object),
        ("", "Service") => service(object),
        ("", "PersistentVolumeClaim") => match text(object, "/status/phase") {
            Some("Bound") => Health::Ready,
            Some("Lost") => Health::Failed("its volume is lost".to_owned()),
            // Whether its class waits for a consumer is not in the object: see `plan`.
            _ if object.pointer("/metadata/annotations/volume.kubernetes.io~1selected-node").is_none()
                && object.pointer("/spec/volumeName").is_none()
                && object.pointer("/status/phase").is_some() =>
            {
                Health::Progressing("not bound; its class may wait for the first pod that uses it".to_owned())
            }
            phase => Health::Progressing(format!("phase {}", phase.unwrap_or("unknown"))),
        },
        ("policy", "PodDisruptionBudget") | ("autoscaling", "HorizontalPodAutoscaler") => Health::Ready,
        ("networking.k8s.io", "Ingress") => {
            if first_ingress(object) {
                Health::Ready
            } else {
                Health::Progressing("no address yet".to_owned())
            }
        }
        _ => custom::conventional(object),
    }
}

/// Judges an object by its own gates, each with the name that people know it
/// by; without any, by its health rule. `Err`: a gate cannot be evaluated.
pub(crate) fn judge<'a>(
    object: &Value,
    gates: impl IntoIterator<Item = (&'a str, &'a cel::Gate)>,
    context: Context,
) -> Result<Health, String> {
    let mut gates = gates.into_iter().peekable();
    if gates.peek().is_none() {
        return Ok(health(object, context));
    }
    for (of, gate) in gates {
        match gate.evaluate(object) {
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
    Ok(Health::Ready)
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
        return Health::Stuck(Soft {
            cause: SoftCause::NamesNotAccepted,
            message: said(object, "NamesAccepted"),
        });
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
    let observed = number(found, "/observedGeneration");
    let generation = number(object, "/metadata/generation");
    Some(Condition {
        status: text(found, "/status").unwrap_or_default(),
        reason: text(found, "/reason").unwrap_or_default(),
        message: text(found, "/message").unwrap_or_default(),
        stale: matches!((observed, generation), (Some(observed), Some(generation)) if observed != generation),
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[expect(clippy::needless_pass_by_value, reason = "tables of literals read better")]
    fn of(object: Value) -> String {
        match health(&object, Context::default()) {
            Health::Ready => "ready".to_owned(),
            Health::Progressing(reason) => format!("progressing: {reason}"),
            Health::Stuck(soft) => format!("stuck: {}", soft.message),
            Health::Failed(reason) => format!("failed: {reason}"),
            Health::Unknown => "unknown".to_owned(),
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "tables of literals read better")]
    fn with_status(api_version: &str, kind: &str, status: Value) -> Value {
        json!({ "apiVersion": api_version, "kind": kind, "metadata": { "generation": 2 }, "status": status })
    }

    #[test]
    fn what_is_being_deleted_or_stale_is_not_ready() {
        assert_eq!(
            of(
                json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } })
            ),
            "progressing: it is being deleted"
        );
        assert_eq!(
            of(with_status(
                "x.example/v1",
                "Thing",
                json!({ "observedGeneration": 1, "conditions": [{ "type": "Ready", "status": "True" }] })
            )),
            "progressing: generation 2 not observed yet (status is of 1)"
        );
    }

    #[test]
    fn a_custom_resource_without_status_is_never_ready() {
        let conditions = |list: Value| with_status("x.example/v1", "Thing", json!({ "conditions": list }));
        assert_eq!(of(json!({ "apiVersion": "x.example/v1", "kind": "Thing", "metadata": {} })), "unknown");
        assert_eq!(of(conditions(json!([{ "type": "Ready", "status": "True" }]))), "ready");
        assert_eq!(
            of(conditions(
                json!([{ "type": "Ready", "status": "False", "reason": "Pending", "message": "wait" }])
            )),
            "progressing: Ready=False: Pending: wait"
        );
        assert_eq!(
            of(conditions(json!([{ "type": "Ready", "status": "True", "observedGeneration": 1 }]))),
            "progressing: Ready is of an older generation"
        );
        assert_eq!(
            of(conditions(json!([{ "type": "Stalled", "status": "True", "reason": "No" }]))),
            "failed: Stalled=True: No"
        );
    }

    #[test]
    fn definitions_services_and_namespaces_have_their_rules() {
        let crd = |list: Value| {
            with_status("apiextensions.k8s.io/v1", "CustomResourceDefinition", json!({ "conditions": list }))
        };
        assert_eq!(of(crd(json!([]))), "progressing: not established yet");
        assert_eq!(
            of(crd(
                json!([{ "type": "Established", "status": "True" }, { "type": "NamesAccepted", "status": "True" }])
            )),
            "ready"
        );
        assert_eq!(
            of(crd(json!([{ "type": "NamesAccepted", "status": "False", "reason": "PluralConflict" }]))),
            "stuck: NamesAccepted=False: PluralConflict"
        );
        let balancer = |status: Value| json!({ "apiVersion": "v1", "kind": "Service", "spec": { "type": "LoadBalancer" }, "status": status });
        assert_eq!(of(balancer(json!({ "loadBalancer": {} }))), "progressing: no load-balancer address yet");
        assert_eq!(of(balancer(json!({ "loadBalancer": { "ingress": [{ "ip": "10.0.0.1" }] } }))), "ready");
        assert_eq!(
            of(with_status("v1", "Namespace", json!({ "phase": "Terminating" }))),
            "progressing: phase Terminating"
        );
    }

    #[test]
    fn fields_of_wrong_types_count_as_missing() {
        for status in
            [json!(null), json!("x"), json!([1]), json!({ "conditions": "x", "replicas": "3", "phase": 7 })]
        {
            for (api_version, kind) in [
                ("apps/v1", "Deployment"),
                ("apps/v1", "StatefulSet"),
                ("apps/v1", "DaemonSet"),
                ("batch/v1", "Job"),
                ("v1", "Pod"),
                ("v1", "PersistentVolumeClaim"),
                ("v1", "Namespace"),
            ] {
                assert!(
                    of(with_status(api_version, kind, status.clone())).starts_with("progressing"),
                    "{kind} {status}"
                );
            }
        }
    }
}
