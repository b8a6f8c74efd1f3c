//! The statuses that controllers write: when they have seen an object, and
//! when it is done.

use serde_json::{Value, json};

fn kind(object: &Value) -> &str {
    object.get("kind").and_then(Value::as_str).unwrap_or_default()
}

fn generation(object: &Value) -> i64 {
    object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(1)
}

fn replicas(object: &Value) -> i64 {
    object.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1)
}

/// What a controller writes as soon as it has seen an object. None of a changed one's pods is updated by then; those that
/// it had are still ready.
pub(super) fn begun(object: &Value, nodes: usize) -> Option<Value> {
    let observed = generation(object);
    let changed = observed > 1;
    match kind(object) {
        "Deployment" => {
            let wanted = replicas(object);
            let updated = if changed { 0 } else { wanted };
            Some(
                json!({ "observedGeneration": observed, "replicas": wanted, "updatedReplicas": updated, "unavailableReplicas": wanted }),
            )
        }
        "StatefulSet" if changed => Some(json!({
            "observedGeneration": observed, "replicas": replicas(object), "updatedReplicas": 0,
            "updateRevision": observed.to_string(),
        })),
        "StatefulSet" => Some(json!({ "observedGeneration": observed, "replicas": replicas(object) })),
        "DaemonSet" if changed => Some(
            json!({ "observedGeneration": observed, "desiredNumberScheduled": nodes, "updatedNumberScheduled": 0 }),
        ),
        "DaemonSet" => Some(json!({ "observedGeneration": observed, "desiredNumberScheduled": nodes })),
        "ReplicaSet" | "ReplicationController" => {
            Some(json!({ "observedGeneration": observed, "replicas": replicas(object) }))
        }
        "PersistentVolumeClaim" => Some(json!({ "phase": "Pending" })),
        _ => None,
    }
}

/// What a controller writes of an object that nobody is to work on: a Deployment that is paused rolls nothing out, and a
/// Job that is suspended has no pods.
pub(super) fn resting(object: &Value) -> Option<Value> {
    let set = |pointer: &str| object.pointer(pointer) == Some(&Value::Bool(true));
    match kind(object) {
        "Deployment" if set("/spec/paused") => Some(json!({ "observedGeneration": generation(object) })),
        "Job" if set("/spec/suspend") => Some(json!({
            "conditions": [{ "type": "Suspended", "status": "True", "reason": "JobSuspended", "message": "Job suspended" }],
        })),
        _ => None,
    }
}

/// The start of a certificate, as base64: enough to be taken for one.
const CERTIFICATE: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==";

/// The webhooks of a configuration with the CA that charts leave to a Job or to cert-manager; `None`: none lacks one.
pub(super) fn certified(object: &Value) -> Option<Value> {
    let mut webhooks =
        object.get("webhooks").filter(|_| kind(object).ends_with("WebhookConfiguration"))?.clone();
    let mut lacking = 0;
    for config in webhooks.as_array_mut()?.iter_mut().filter_map(|webhook| webhook.get_mut("clientConfig")) {
        let known = config.get("caBundle").and_then(Value::as_str).is_some_and(|bundle| bundle.len() > 8);
        if config.get("service").is_some() && !known {
            config["caBundle"] = json!(CERTIFICATE);
            lacking += 1;
        }
    }
    (lacking > 0).then(|| json!({ "webhooks": webhooks }))
}

/// What a controller writes when all is done. `nodes`: on how many a `DaemonSet`'s pods are ready, and on how many they
/// should run.
pub(super) fn ended(object: &Value, (nodes, on): (usize, usize)) -> Option<Value> {
    let observed = generation(object);
    let wanted = replicas(object);
    match kind(object) {
        "Deployment" => Some(json!({
            "observedGeneration": observed, "replicas": wanted, "updatedReplicas": wanted, "readyReplicas": wanted,
            "availableReplicas": wanted, "unavailableReplicas": null,
            "conditions": [{ "type": "Available", "status": "True", "reason": "MinimumReplicasAvailable" }],
        })),
        "StatefulSet" => Some(json!({
            "observedGeneration": observed, "replicas": wanted, "updatedReplicas": wanted, "readyReplicas": wanted,
            "availableReplicas": wanted, "currentRevision": observed.to_string(),
            "updateRevision": observed.to_string(),
        })),
        "DaemonSet" => Some(json!({
            "observedGeneration": observed, "desiredNumberScheduled": on, "currentNumberScheduled": on,
            "updatedNumberScheduled": on, "numberReady": nodes, "numberAvailable": nodes, "numberMisscheduled": 0,
        })),
        "Job" => Some(json!({
            "succeeded": object.pointer("/spec/completions").and_then(Value::as_i64).unwrap_or(1),
            "conditions": [{ "type": "Complete", "status": "True", "reason": "CompletionsReached" }],
        })),
        "ReplicaSet" | "ReplicationController" => Some(json!({
            "observedGeneration": observed, "replicas": wanted, "fullyLabeledReplicas": wanted,
            "readyReplicas": wanted, "availableReplicas": wanted,
        })),
        "PodDisruptionBudget" => Some(json!({
            "observedGeneration": observed, "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0,
            "expectedPods": 0,
        })),
        "HorizontalPodAutoscaler" => Some(json!({
            "observedGeneration": observed, "desiredReplicas": 0,
            "conditions": [{ "type": "AbleToScale", "status": "True", "reason": "SucceededGetScale" }],
        })),
        "ValidatingAdmissionPolicy" => Some(json!({ "observedGeneration": observed, "typeChecking": {} })),
        "Ingress" => Some(json!({ "loadBalancer": { "ingress": [{ "ip": "192.0.2.1" }] } })),
        "Service" if object.pointer("/spec/type").and_then(Value::as_str) == Some("LoadBalancer") => {
            Some(json!({ "loadBalancer": { "ingress": [{ "ip": "192.0.2.1" }] } }))
        }
        _ => None,
    }
}
