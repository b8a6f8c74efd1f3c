//! Subresources besides the status: pod logs, evictions, the scale of a workload.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::crud::{find, key};
use crate::kinds::Kind;
use crate::request::{Request, Target};
use crate::service::Reply;
use crate::state::State;
use crate::status::{Answer, not_found};
use crate::{delete, json as tree};

/// Answers a pod's log: what its last terminated container said.
pub(crate) fn log(state: &State, target: &Target, kind: &Kind) -> Answer<Reply> {
    let pod = find(state, target, kind)?.value(kind);
    if tree::text(&pod, &["spec", "nodeName"]).is_empty() {
        return Ok(Reply::Full(StatusCode::NO_CONTENT, Bytes::new()));
    }
    let status = pod.get("status").unwrap_or(&Value::Null);
    let containers = tree::items(status, "containerStatuses").iter();
    let said = containers.map(|container| tree::text(container, &["lastState", "terminated", "message"]));
    Ok(Reply::Text(said.collect::<Vec<_>>().concat()))
}

/// Evicts a pod: no disruption budget is looked at.
pub(crate) fn evict(state: &mut State, request: &Request, target: &Target, kind: &Kind) -> Answer<Reply> {
    let pod = key(target);
    if !request.dry_run() {
        delete::remove(state, kind, &pod, &delete::Deletion::BACKGROUND)?;
    } else if state.get(kind, &pod).is_none() {
        return Err(not_found(kind, &pod.name));
    }
    let body =
        json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
    Ok(Reply::Full(StatusCode::CREATED, body.to_string().into()))
}

/// Answers the scale of a workload.
pub(crate) fn scale(state: &State, target: &Target, kind: &Kind) -> Answer<Reply> {
    let object = find(state, target, kind)?.value(kind);
    let number = |path: &[&str]| tree::at(&object, path).and_then(Value::as_i64).unwrap_or_default();
    let wanted = number(&["spec", "replicas"]);
    let spec = if wanted == 0 { json!({}) } else { json!({ "replicas": wanted }) };
    let metadata: Map<_, _> = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"]
        .into_iter()
        .filter_map(|field| Some((field.to_owned(), tree::at(&object, &["metadata", field])?.clone())))
        .collect();
    let body = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec,
        "status": { "replicas": number(&["status", "replicas"]) },
    });
    Ok(Reply::ok(body.to_string()))
}
