//! The rules of workloads: what `kubectl rollout status` waits for, and what
//! it forgets.

use serde_json::Value;

use super::{Context, Health, Soft, SoftCause, condition, number, said, text};

fn progressing(reason: String) -> Health {
    Health::Progressing(reason)
}

/// A missing `observedGeneration` means that the controller has not seen the object.
fn unobserved(object: &Value) -> Option<Health> {
    number(object, "/status/observedGeneration")
        .is_none()
        .then(|| progressing("not observed by its controller yet".to_owned()))
}

fn count(object: &Value, field: &str) -> i64 {
    number(object, &format!("/status/{field}")).unwrap_or(0)
}

fn desired(object: &Value) -> i64 {
    number(object, "/spec/replicas").unwrap_or(1)
}

pub(super) fn deployment(object: &Value) -> Health {
    if let Some(health) = unobserved(object) {
        return health;
    }
    if let Some(found) = condition(object, "Progressing")
        && found.reason == "ProgressDeadlineExceeded"
    {
        return Health::Stuck(Soft::new(SoftCause::ProgressDeadline, said(object, "Progressing")));
    }
    if condition(object, "ReplicaFailure").is_some_and(|found| found.is_true()) {
        return Health::Stuck(Soft::new(SoftCause::PodsRefused, said(object, "ReplicaFailure")));
    }
    let wanted = desired(object);
    let (updated, total) = (count(object, "updatedReplicas"), count(object, "replicas"));
    let (ready, available) = (count(object, "readyReplicas"), count(object, "availableReplicas"));
    if updated < wanted {
        progressing(format!("{updated} of {wanted} replicas updated"))
    } else if total > updated {
        progressing(format!("{} old replicas still there", total - updated))
    } else if ready < wanted {
        progressing(format!("{ready} of {wanted} replicas ready"))
    } else if available < wanted {
        progressing(format!("{available} of {wanted} replicas available"))
    } else {
        Health::Ready
    }
}

pub(super) fn stateful_set(object: &Value) -> Health {
    if let Some(health) = unobserved(object) {
        return health;
    }
    let wanted = desired(object);
    let (ready, total) = (count(object, "readyReplicas"), count(object, "replicas"));
    if total > wanted {
        return progressing(format!("{} replicas too many", total - wanted));
    }
    if ready < wanted {
        return progressing(format!("{ready} of {wanted} replicas ready"));
    }
    // Ready for as long as `minReadySeconds` asks for.
    let available = count(object, "availableReplicas");
    if available < wanted {
        return progressing(format!("{available} of {wanted} replicas available"));
    }
    // With OnDelete somebody else replaces the pods, whenever they like.
    if text(object, "/spec/updateStrategy/type") == Some("OnDelete") {
        return Health::Ready;
    }
    let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
    // The partition counts ordinals, which need not begin at 0.
    let first = number(object, "/spec/ordinals/start").unwrap_or(0);
    let to_update = (first + wanted - partition).clamp(0, wanted);
    let updated = count(object, "updatedReplicas");
    if updated < to_update {
        return progressing(format!("{updated} of {to_update} replicas updated"));
    }
    let revision = |field: &str| text(object, &format!("/status/{field}"));
    if to_update == wanted && revision("updateRevision") != revision("currentRevision") {
        return progressing("the new revision is not current yet".to_owned());
    }
    Health::Ready
}

pub(super) fn daemon_set(object: &Value, context: Context<'_>) -> Health {
    if let Some(health) = unobserved(object) {
        return health;
    }
    let wanted = count(object, "desiredNumberScheduled");
    if wanted == 0 {
        return if context.may_be_empty {
            Health::Ready
        } else {
            progressing("no node matches it".to_owned())
        };
    }
    let (ready, available) = (count(object, "numberReady"), count(object, "numberAvailable"));
    let on_delete = text(object, "/spec/updateStrategy/type") == Some("OnDelete");
    let updated = count(object, "updatedNumberScheduled");
    if !on_delete && updated < wanted {
        progressing(format!("{updated} of {wanted} nodes updated"))
    } else if ready < wanted {
        progressing(format!("ready on {ready} of {wanted} nodes"))
    } else if available < wanted {
        progressing(format!("available on {available} of {wanted} nodes"))
    } else {
        Health::Ready
    }
}

pub(super) fn replica_set(object: &Value) -> Health {
    if let Some(health) = unobserved(object) {
        return health;
    }
    if condition(object, "ReplicaFailure").is_some_and(|found| found.is_true()) {
        return Health::Stuck(Soft::new(SoftCause::PodsRefused, said(object, "ReplicaFailure")));
    }
    let (wanted, ready) = (desired(object), count(object, "readyReplicas"));
    if ready == wanted { Health::Ready } else { progressing(format!("{ready} of {wanted} replicas ready")) }
}

/// From how many seconds of `minReadySeconds` on a pod that is available has proved itself.
const PROVED: i64 = 5;

/// Whether a workload's pods count as ready as soon as their containers are started, because nobody asks these: what
/// crashes a moment later was ready before.
pub(crate) fn is_unproved(object: &Value) -> bool {
    let kind = (text(object, "/apiVersion"), text(object, "/kind"));
    let (Some("apps/v1"), Some("Deployment" | "StatefulSet" | "DaemonSet")) = kind else { return false };
    let asked = |container: &Value| {
        ["readinessProbe", "startupProbe"]
            .iter()
            .any(|probe| container.get(probe).is_some_and(Value::is_object))
    };
    let containers = object.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    number(object, "/spec/replicas") != Some(0)
        && number(object, "/spec/minReadySeconds").unwrap_or(0) < PROVED
        && containers.into_iter().flatten().any(|container| !asked(container))
}

/// Whether pods that it wants are not even there.
pub(super) fn lacks_pods(object: &Value) -> bool {
    match text(object, "/kind") {
        Some("Deployment" | "ReplicaSet" | "ReplicationController") => {
            condition(object, "ReplicaFailure").is_some_and(|found| found.is_true())
        }
        Some("StatefulSet") => count(object, "replicas") < desired(object),
        Some("DaemonSet") => {
            count(object, "currentNumberScheduled") < count(object, "desiredNumberScheduled")
        }
        Some("Job") => {
            text(object, "/status/startTime").is_some()
                && ["active", "succeeded", "failed"].iter().all(|field| count(object, field) == 0)
        }
        _ => false,
    }
}

pub(super) fn job(object: &Value) -> Health {
    let holds = |name| condition(object, name).is_some_and(|found| found.is_true());
    if holds("Complete") {
        Health::Ready
    } else if holds("Failed") {
        Health::Failed(said(object, "Failed"))
    } else if object.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true) {
        Health::Ready
    } else {
        let wanted = number(object, "/spec/completions").unwrap_or(1);
        progressing(format!("{} of {wanted} completions", count(object, "succeeded")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::around::Nothing;
    use super::super::{Context, Health, health};
    use serde_json::{Value, json};

    fn judge(kind: &str, spec: &Value, status: &Value) -> Health {
        let api_version = if kind == "Job" { "batch/v1" } else { "apps/v1" };
        let object = json!({ "apiVersion": api_version, "kind": kind, "metadata": { "generation": 2 }, "spec": spec, "status": status });
        health(&object, Context { may_be_empty: false, around: &Nothing })
    }

    fn says(health: &Health, words: &str) -> bool {
        matches!(health, Health::Progressing(reason) if reason.contains(words))
    }

    #[test]
    fn a_deployment_is_ready_when_all_and_only_new_replicas_are_available() {
        let spec = json!({ "replicas": 3 });
        let status = |updated: i64, total: i64, ready: i64, available: i64| json!({ "observedGeneration": 2, "updatedReplicas": updated, "replicas": total, "readyReplicas": ready, "availableReplicas": available });
        let of = |status: &Value| judge("Deployment", &spec, status);
        assert!(says(&of(&json!({})), "not observed"));
        assert!(says(&of(&status(1, 3, 3, 3)), "1 of 3 replicas updated"));
        assert!(says(&of(&status(3, 4, 4, 4)), "1 old replicas"));
        assert!(says(&of(&status(3, 3, 2, 2)), "2 of 3 replicas ready"));
        assert!(says(&of(&status(3, 3, 3, 2)), "2 of 3 replicas available"));
        assert_eq!(of(&status(3, 3, 3, 3)), Health::Ready);
        let mut late = status(3, 3, 0, 0);
        late["conditions"] =
            json!([{ "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded" }]);
        assert!(matches!(of(&late), Health::Stuck(_)));
    }

    #[test]
    fn stateful_sets_honour_partition_on_delete_and_revision() {
        let status = |updated: i64, revision: &str| json!({ "observedGeneration": 2, "replicas": 3, "readyReplicas": 3, "availableReplicas": 3, "updatedReplicas": updated, "currentRevision": "a", "updateRevision": revision });
        let rolling = json!({ "replicas": 3 });
        assert!(says(&judge("StatefulSet", &rolling, &status(1, "b")), "1 of 3 replicas updated"));
        assert!(says(&judge("StatefulSet", &rolling, &status(3, "b")), "revision"));
        assert_eq!(judge("StatefulSet", &rolling, &status(3, "a")), Health::Ready);
        let partition = json!({ "replicas": 3, "updateStrategy": { "rollingUpdate": { "partition": 2 } } });
        assert_eq!(judge("StatefulSet", &partition, &status(1, "b")), Health::Ready);
        let on_delete = json!({ "replicas": 3, "updateStrategy": { "type": "OnDelete" } });
        assert_eq!(judge("StatefulSet", &on_delete, &status(0, "b")), Health::Ready);
    }

    #[test]
    fn a_daemon_set_without_nodes_is_not_ready_unless_it_may_be_empty() {
        let status = |wanted: i64, ready: i64| json!({ "observedGeneration": 2, "desiredNumberScheduled": wanted, "updatedNumberScheduled": wanted, "numberReady": ready, "numberAvailable": ready });
        assert!(says(&judge("DaemonSet", &json!({}), &status(0, 0)), "no node"));
        assert!(says(&judge("DaemonSet", &json!({}), &status(1, 0)), "ready on 0 of 1"));
        assert_eq!(judge("DaemonSet", &json!({}), &status(1, 1)), Health::Ready);
        let empty =
            json!({ "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {}, "status": status(0, 0) });
        assert_eq!(health(&empty, Context { may_be_empty: true, around: &Nothing }), Health::Ready);
    }

    #[test]
    fn containers_that_nobody_asks_prove_nothing() {
        let of = |kind: &str, spec: Value| {
            super::is_unproved(&json!({ "apiVersion": "apps/v1", "kind": kind, "spec": spec }))
        };
        let with = |containers: Value| json!({ "template": { "spec": { "containers": containers } } });
        let (asked, started) = (json!({ "readinessProbe": {} }), json!({ "startupProbe": {} }));
        for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
            assert!(of(kind, with(json!([{ "livenessProbe": {} }]))), "{kind}");
            assert!(of(kind, with(json!([asked, {}]))), "{kind}");
            assert!(!of(kind, with(json!([asked, started]))), "{kind}");
        }
        let mut spec = with(json!([{}]));
        spec["minReadySeconds"] = json!(10);
        assert!(!of("Deployment", spec.clone()));
        spec["minReadySeconds"] = json!(1);
        assert!(of("Deployment", spec.clone()));
        spec["replicas"] = json!(0);
        assert!(!of("Deployment", spec));
        assert!(!of("Job", with(json!([{}]))));
    }

    #[test]
    fn jobs_end_in_one_of_two_ways() {
        let of = |conditions: Value| judge("Job", &json!({}), &json!({ "conditions": conditions }));
        assert!(says(&of(json!([])), "0 of 1 completions"));
        assert_eq!(of(json!([{ "type": "Complete", "status": "True" }])), Health::Ready);
        assert!(matches!(
            of(json!([{ "type": "Failed", "status": "True", "reason": "BackoffLimitExceeded" }])),
            Health::Failed(_)
        ));
        assert_eq!(judge("Job", &json!({ "suspend": true }), &json!({})), Health::Ready);
    }
}
