//! Pods that the API server does not let in: tried again, while their workload says why it has none.

use std::time::Duration;

use serde_json::{Value, json};

use super::trouble::warn_of_refusal;
use super::{Objects, work};
use crate::json as tree;

/// The first pause between two tries, and the longest: each is twice as long as the one before
/// (`DefaultTypedControllerRateLimiter` of client-go, which begins with milliseconds).
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(1000);

/// Makes a pod of a workload, of which `owner` is its controller; `None`: it is not wanted any more, or there already.
pub(super) async fn create(
    objects: &Objects<'_>,
    (workload, owner): (&Value, &Value),
    pod: &Value,
) -> Option<Value> {
    let mut said = None;
    let mut pause = FIRST;
    loop {
        match objects.create("v1", "Pod", "pods", pod).await {
            Ok(made) => {
                if said.is_some() {
                    admitted(objects, (workload, owner)).await;
                }
                return Some(made);
            }
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => return None,
            // It may be let in later; what a webhook has to say that does not answer yet, too.
            Err(kube::Error::Api(status)) if status.code < 500 && status.code != 429 => {
                if said.as_ref() != Some(&status.message) {
                    refused(objects, (workload, owner), pod, &status.message).await;
                    said = Some(status.message.clone());
                }
            }
            Err(_) => {}
        }
        work(pause).await;
        pause = (pause * 2).min(LONGEST);
    }
}

/// Lets a workload say why its pods are refused.
async fn refused(objects: &Objects<'_>, (workload, owner): (&Value, &Value), pod: &Value, why: &str) {
    let name = tree::text(owner, &["metadata", "name"]);
    let message = match tree::text(owner, &["kind"]) {
        "StatefulSet" => {
            let pod = tree::text(pod, &["metadata", "name"]);
            format!("create Pod {pod} in StatefulSet {name} failed error: {why}")
        }
        _ => format!("Error creating: {why}"),
    };
    warn_of_refusal(objects, owner, &message).await;
    let failure =
        json!([{ "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": why }]);
    let status = match tree::text(workload, &["kind"]) {
        "Deployment" => {
            let set = json!({ "status": { "replicas": 0, "conditions": failure } });
            objects.change_status("apps/v1", "ReplicaSet", "replicasets", name, &set).await;
            json!({ "replicas": 0, "updatedReplicas": 0, "conditions": failure })
        }
        "ReplicaSet" | "ReplicationController" => json!({ "replicas": 0, "conditions": failure }),
        "StatefulSet" => json!({ "replicas": 0 }),
        "Job" => json!({ "startTime": workload["metadata"]["creationTimestamp"] }),
        _ => return,
    };
    write(objects, workload, &status).await;
}

/// Takes back what was said of refused pods.
async fn admitted(objects: &Objects<'_>, (workload, owner): (&Value, &Value)) {
    let wanted = tree::at(workload, &["spec", "replicas"]).cloned().unwrap_or_else(|| json!(1));
    let status = match tree::text(workload, &["kind"]) {
        "Deployment" => {
            let name = tree::text(owner, &["metadata", "name"]);
            let set = json!({ "status": { "replicas": wanted, "conditions": null } });
            objects.change_status("apps/v1", "ReplicaSet", "replicasets", name, &set).await;
            json!({ "replicas": wanted, "updatedReplicas": wanted, "conditions": null })
        }
        "ReplicaSet" | "ReplicationController" => json!({ "replicas": wanted, "conditions": null }),
        "StatefulSet" => json!({ "replicas": wanted }),
        _ => return,
    };
    write(objects, workload, &status).await;
}

async fn write(objects: &Objects<'_>, workload: &Value, status: &Value) {
    let (version, kind) = (tree::text(workload, &["apiVersion"]), tree::text(workload, &["kind"]));
    let (plural, name) = (format!("{}s", kind.to_lowercase()), tree::text(workload, &["metadata", "name"]));
    objects.change_status(version, kind, &plural, name, &json!({ "status": status })).await;
}
