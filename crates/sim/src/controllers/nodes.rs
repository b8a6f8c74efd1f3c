//! Nodes: when they are ready, which of them a `DaemonSet` runs on, and who is to know that another has joined.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use super::{Objects, Shared};
use crate::furnish::readiness;
use crate::json as tree;

/// Tells of nodes that join. Where pods have a network from the start, they are ready at once.
pub(super) async fn follow(shared: Shared) {
    if !shared.config.pods {
        return std::future::pending().await;
    }
    let api: Api<Node> = Api::all(shared.client.clone());
    let mut known: BTreeSet<String> = names(&shared.client).await.into_iter().collect();
    let mut events = watcher(api, watcher::Config::default()).default_backoff().applied_objects().boxed();
    while let Some(event) = events.next().await {
        let Ok(node) = event else { continue };
        if !known.insert(node.name_any()) {
            continue;
        }
        if shared.config.network.is_none() {
            say_ready(&shared.client, true, Some(&[node.name_any()])).await;
        }
        shared.world.joined();
    }
}

/// The names of all nodes.
pub(super) async fn names(client: &Client) -> Vec<String> {
    selected(client, &Value::Null).await
}

/// The names of the nodes that a pod's spec selects.
pub(super) async fn selected(client: &Client, spec: &Value) -> Vec<String> {
    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await;
    let nodes = nodes.map(|list| list.items).unwrap_or_default();
    nodes.into_iter().filter(|node| fits(spec, node)).filter_map(|node| node.metadata.name).collect()
}

/// Whether a pod's spec says anything of the nodes that it may run on.
pub(super) fn selects(spec: &Value) -> bool {
    spec.get("nodeSelector").is_some() || required(spec).is_some()
}

fn required(spec: &Value) -> Option<&Value> {
    tree::at(spec, &["affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"])
}

/// Whether a node is one that a pod's spec selects: by its labels, and by one of the terms of its affinity.
fn fits(spec: &Value, node: &Node) -> bool {
    let mut wanted = spec.get("nodeSelector").and_then(Value::as_object).into_iter().flatten();
    let labels = node.labels();
    wanted.all(|(key, value)| labels.get(key).map(String::as_str) == value.as_str())
        && required(spec).is_none_or(|required| {
            tree::items(required, "nodeSelectorTerms").iter().any(|term| matches(term, node))
        })
}

/// Whether a node matches all of a term; an empty term matches none.
fn matches(term: &Value, node: &Node) -> bool {
    let (labels, fields) = (tree::items(term, "matchExpressions"), tree::items(term, "matchFields"));
    let name = node.name_any();
    // The one field that there is (`metadata.name`).
    !(labels.is_empty() && fields.is_empty())
        && labels
            .iter()
            .all(|one| holds(one, node.labels().get(tree::text(one, &["key"])).map(String::as_str)))
        && fields.iter().all(|one| holds(one, Some(&name)))
}

/// Whether a requirement holds of a label's value.
fn holds(requirement: &Value, found: Option<&str>) -> bool {
    let values: Vec<&str> = tree::items(requirement, "values").iter().filter_map(Value::as_str).collect();
    let numbers = || Some((found?.parse::<i64>().ok()?, values.first()?.parse::<i64>().ok()?));
    match tree::text(requirement, &["operator"]) {
        "In" => found.is_some_and(|found| values.contains(&found)),
        "NotIn" => found.is_none_or(|found| !values.contains(&found)),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => numbers().is_some_and(|(found, than)| found > than),
        "Lt" => numbers().is_some_and(|(found, than)| found < than),
        _ => false,
    }
}

/// The nodes that a `DaemonSet`'s pods run on; none of anything else.
pub(super) async fn of_daemons(client: &Client, workload: &Value) -> Vec<String> {
    if tree::text(workload, &["kind"]) != "DaemonSet" {
        return Vec::new();
    }
    selected(client, tree::at(workload, &["spec", "template", "spec"]).unwrap_or(&Value::Null)).await
}

/// Says of nodes whether they are ready, which they are not without a network for pods; `None`: of all.
pub(super) async fn say_ready(client: &Client, ready: bool, which: Option<&[String]>) {
    let objects = Objects { client, namespace: "" };
    for node in objects.list("v1", "Node", "nodes", "").await {
        let name = node["metadata"]["name"].as_str().unwrap_or_default();
        if which.is_some_and(|which| !which.iter().any(|one| one == name)) {
            continue;
        }
        let mut conditions = node["status"]["conditions"].clone();
        let (status, reason, message) = readiness(ready);
        let mut change = false;
        for condition in conditions.as_array_mut().into_iter().flatten().filter(|it| it["type"] == "Ready") {
            change |= condition["status"] != status;
            condition["status"] = json!(status);
            condition["reason"] = json!(reason);
            condition["message"] = json!(message);
        }
        if change {
            let status = json!({ "status": { "conditions": conditions } });
            objects.change_status("v1", "Node", "nodes", name, &status).await;
        }
    }
}
