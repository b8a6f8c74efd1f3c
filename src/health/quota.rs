//! Quotas that are too small for even one pod of a workload: however much is freed, it never comes. Told by what both
//! ask for and allow, not by the API server's words.

use serde_json::Value;

use super::around::By;
use super::quantity::amount;
use super::{Context, text, workloads};
use crate::model::object::GroupKind;

/// Whether a quota counts every pod of its namespace: with scopes it counts some.
pub(super) fn counts_all(quota: &Value) -> bool {
    let scoped = |pointer: &str| match quota.pointer(pointer) {
        None | Some(Value::Null) => false,
        Some(Value::Array(scopes)) => !scopes.is_empty(),
        Some(_) => true,
    };
    !scoped("/spec/scopes") && !scoped("/spec/scopeSelector")
}

/// Says which quota never lets a workload's pods in; `None`: none is known to.
pub(super) fn never_fits(workload: &Value, context: Context<'_>) -> Option<String> {
    if !workloads::lacks_pods(workload) {
        return None;
    }
    let by = By::Namespace(text(workload, "/metadata/namespace").unwrap_or_default().to_owned());
    let quotas = context.around.parts(&GroupKind::new("", "ResourceQuota"), &by)?;
    let pod = workload.pointer("/spec/template/spec")?;
    quotas.iter().find_map(|quota| {
        let hard = quota.get("hard")?.as_object()?;
        let (resource, asked, most) =
            hard.iter().find_map(|(resource, most)| exceeds(pod, resource, most))?;
        let name = text(quota, "/metadata/name").unwrap_or_default();
        Some(format!(
            "ResourceQuota {name} never lets one of its pods in: it asks for {asked} {resource}, of {most}"
        ))
    })
}

/// What a pod asks for of a resource, and all that there may ever be, if that is less.
fn exceeds<'a>(pod: &Value, resource: &'a str, most: &'a Value) -> Option<(&'a str, String, String)> {
    let hard = amount(most)?;
    let asks = asks(pod, resource);
    let sum: i128 = asks.iter().filter_map(amount).sum();
    let words = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let asked: Vec<String> = asks.iter().map(words).collect();
    (sum > hard).then(|| (resource, asked.join(" + "), words(most)))
}

/// What a pod asks for at least of what a quota counts by this name: defaults of the namespace can only add to it.
fn asks(pod: &Value, resource: &str) -> Vec<Value> {
    if ["pods", "count/pods"].contains(&resource) {
        return vec![Value::from(1)];
    }
    let (limits, name) = match resource.split_once('.') {
        Some(("limits", name)) => (true, name),
        Some(("requests", name)) => (false, name),
        _ => (false, resource),
    };
    let of = |resources: Option<&Value>| -> Option<Value> {
        let part = |key: &str| resources?.get(key)?.get(name);
        // Without a request of its own a container asks for its limit.
        if limits { part("limits") } else { part("requests").or_else(|| part("limits")) }.cloned()
    };
    // What is said of the whole pod counts instead.
    if let Some(whole) = of(pod.get("resources")) {
        return vec![whole];
    }
    let containers = pod.get("containers").and_then(Value::as_array);
    containers.into_iter().flatten().filter_map(|container| of(container.get("resources"))).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::around::{Kept, Listed};
    use super::super::{Health, Soft, SoftCause, health};
    use super::*;

    fn judged(kind: &str, status: &Value, pod: &Value, quota: &Value) -> Health {
        let api_version = if kind == "Job" { "batch/v1" } else { "apps/v1" };
        let metadata = json!({ "name": "web", "namespace": "n", "uid": "u", "generation": 1 });
        let workload = json!({
            "apiVersion": api_version, "kind": kind, "metadata": metadata,
            "spec": { "template": { "spec": pod } }, "status": status,
        });
        let quota = json!({ "metadata": { "name": "small", "namespace": "n" }, "spec": quota });
        let kind = GroupKind::new("", "ResourceQuota");
        let mut kept = Kept::default();
        kept.put(&kind, &quota);
        let listed = Listed { parts: [(kind, Arc::new(kept))].into(), ..Listed::default() };
        health(&workload, Context { may_be_empty: false, around: &listed })
    }

    /// The status of a workload whose pods do not come.
    fn lacking(kind: &str) -> Value {
        match kind {
            "Deployment" => json!({ "observedGeneration": 1, "conditions": [
                { "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "no" } ] }),
            "DaemonSet" => json!({ "observedGeneration": 1, "desiredNumberScheduled": 2 }),
            "Job" => json!({ "startTime": "2026-01-01T00:00:00Z" }),
            _ => json!({ "observedGeneration": 1 }),
        }
    }

    fn asking(requests: &Value, limits: &Value) -> Value {
        let one = json!({ "resources": { "requests": requests, "limits": limits } });
        json!({ "containers": [one, one] })
    }

    #[test]
    fn a_quota_that_one_pod_exceeds_is_a_failure_at_once() {
        let pod = asking(&json!({ "cpu": "600m" }), &json!({ "memory": "1Gi" }));
        let rows = [
            (json!({ "requests.cpu": "1" }), "600m + 600m requests.cpu, of 1"),
            (json!({ "cpu": 1 }), "600m + 600m cpu, of 1"),
            (json!({ "limits.memory": "1.5Gi" }), "1Gi + 1Gi limits.memory, of 1.5Gi"),
            // A limit without a request is one.
            (json!({ "memory": "1Gi" }), "1Gi + 1Gi memory, of 1Gi"),
            (json!({ "pods": "0" }), "1 pods, of 0"),
        ];
        for kind in ["Deployment", "StatefulSet", "DaemonSet", "Job"] {
            for (hard, words) in &rows {
                let health = judged(kind, &lacking(kind), &pod, &json!({ "hard": hard }));
                let said = format!("ResourceQuota small never lets one of its pods in: it asks for {words}");
                assert_eq!(health, Health::Failed(said), "{kind} {hard}");
            }
        }
    }

    #[test]
    fn a_quota_that_may_fit_later_is_none() {
        let pod = asking(&json!({ "cpu": "600m" }), &json!({ "memory": "1Gi" }));
        let not_yet = |quota: Value| match judged("Deployment", &lacking("Deployment"), &pod, &quota) {
            Health::Stuck(Soft { cause: SoftCause::PodsRefused, .. }) => {}
            other => panic!("{quota}: {other:?}"),
        };
        not_yet(
            json!({ "hard": { "requests.cpu": "1200m", "pods": "1", "limits.cpu": "1", "secrets": "0" } }),
        );
        // Quotas with scopes do not count every pod.
        not_yet(json!({ "hard": { "pods": "0" }, "scopes": ["BestEffort"] }));
        not_yet(json!({ "hard": { "pods": "0" }, "scopeSelector": { "matchExpressions": [] } }));
        // The pods are there, and wait for something else.
        let there = json!({ "observedGeneration": 1, "replicas": 1 });
        let health = judged("StatefulSet", &there, &pod, &json!({ "hard": { "pods": "0" } }));
        assert!(matches!(health, Health::Progressing(_)), "{health:?}");
        // What is said of the whole pod counts instead of its containers.
        let mut whole = pod.clone();
        whole["resources"] = json!({ "limits": { "memory": "1Gi" } });
        let quota = json!({ "hard": { "limits.memory": "1Gi" } });
        assert!(matches!(judged("Deployment", &lacking("Deployment"), &whole, &quota), Health::Stuck(_)));
    }
}
