//! From a gate that does not hold down to the cause, as far as the cluster
//! tells: the object, its pods, their containers, and the newest event.

use kube::api::{Api, DynamicObject, ListParams};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::execute::event::Cause;
use crate::model::object::ObjectId;

/// Pods looked at for one workload: the first that is not ready tells enough.
const PODS: u32 = 50;

/// What is known of why an object is not ready. Errors of the look-up itself
/// are left out: the diagnosis must not hide the failure behind another.
pub(crate) async fn causes(cluster: &Cluster, id: &ObjectId, reason: &str) -> Vec<Cause> {
    let mut chain = vec![Cause { object: id.to_string(), message: reason.to_owned() }];
    let Ok(Some(live)) = cluster.get(id, "").await else { return chain };
    if let Some(pod) = broken_pod(cluster, id, &live).await {
        let name = pod.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("?");
        let namespace = id.namespace.as_deref().unwrap_or_default();
        chain.push(Cause { object: format!("Pod {namespace}/{name}"), message: pod_state(&pod) });
        if let Some(event) = newest_event(cluster, namespace, name).await {
            chain.push(Cause { object: "event".to_owned(), message: event });
        }
    }
    chain
}

/// The first pod of a workload that is not ready.
async fn broken_pod(cluster: &Cluster, id: &ObjectId, live: &Value) -> Option<Value> {
    let selector: Vec<String> = live
        .pointer("/spec/selector/matchLabels")?
        .as_object()?
        .iter()
        .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
        .collect();
    let pods: Api<DynamicObject> = cluster.list_api("", "Pod", id.namespace.as_deref()?)?;
    let params = ListParams::default().labels(&selector.join(",")).limit(PODS);
    let list = pods.list(&params).await.ok()?;
    list.items.into_iter().filter_map(|pod| serde_json::to_value(pod).ok()).find(|pod| !is_ready(pod))
}

fn is_ready(pod: &Value) -> bool {
    conditions(pod).any(|condition| {
        condition.get("type").and_then(Value::as_str) == Some("Ready")
            && condition.get("status").and_then(Value::as_str) == Some("True")
    })
}

fn conditions(pod: &Value) -> impl Iterator<Item = &Value> {
    pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten()
}

/// What a pod says of itself: a waiting container first, then the scheduler.
fn pod_state(pod: &Value) -> String {
    let text =
        |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let containers = ["/status/initContainerStatuses", "/status/containerStatuses"]
        .into_iter()
        .filter_map(|pointer| pod.pointer(pointer)?.as_array())
        .flatten();
    for container in containers {
        if let Some(reason) = text(container, "/state/waiting/reason") {
            let name = text(container, "/name").unwrap_or_default();
            let restarts = container.get("restartCount").and_then(Value::as_u64).unwrap_or(0);
            let exit = container
                .pointer("/lastState/terminated/exitCode")
                .and_then(Value::as_i64)
                .map_or_else(String::new, |code| format!(", exit {code}"));
            return format!("container {name}: {reason} (restarts {restarts}{exit})");
        }
    }
    let unscheduled = conditions(pod).find(|condition| {
        condition.get("type").and_then(Value::as_str) == Some("PodScheduled")
            && condition.get("status").and_then(Value::as_str) == Some("False")
    });
    if let Some(condition) = unscheduled {
        let reason = text(condition, "/reason").unwrap_or_default();
        return format!("{reason}: {}", text(condition, "/message").unwrap_or_default());
    }
    format!("phase {}", text(pod, "/status/phase").unwrap_or_else(|| "unknown".to_owned()))
}

async fn newest_event(cluster: &Cluster, namespace: &str, pod: &str) -> Option<String> {
    let events: Api<DynamicObject> = cluster.list_api("", "Event", namespace)?;
    let params = ListParams::default().fields(&format!("involvedObject.name={pod}"));
    let list = events.list(&params).await.ok()?;
    let newest = list
        .items
        .into_iter()
        .filter_map(|event| serde_json::to_value(event).ok())
        .max_by_key(|event| event.pointer("/lastTimestamp").and_then(Value::as_str).map(str::to_owned))?;
    let text = |key: &str| newest.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(format!("{}: {}", text("reason"), text("message")))
}
