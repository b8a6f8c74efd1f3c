//! What goes wrong with a workload's pods, and with what other controllers do: statuses and events as a kubelet, a
//! scheduler or nobody would write them.

use std::time::Duration;

use serde_json::{Value, json};

use super::Objects;
use crate::json as tree;

/// Something that goes wrong with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What.
    pub what: Troubled,
    /// For how long; for ever if not given.
    pub lasts: Option<Duration>,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Troubled {
    /// Its containers end at once, with code 1.
    CrashLoop,
    /// Its containers are killed for using too much memory.
    OutOfMemory,
    /// Its image cannot be pulled just now.
    ImagePull,
    /// Its image does not exist.
    ImageMissing,
    /// Its containers name a `ConfigMap` that is not there.
    Configuration,
    /// No node takes its pods.
    Unschedulable,
    /// A volume cannot be mounted.
    Mount,
    /// Nobody does anything about it.
    Silent,
}

/// The status of a pod in trouble, and the event that goes with it: reason and message. `words`: what is said of it
/// instead of something usual.
pub(super) fn of_pod(
    pod: &Value,
    what: Troubled,
    words: Option<&str>,
) -> Option<(Value, &'static str, String)> {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    let first = tree::items(spec, "containers").first().cloned().unwrap_or_default();
    let (container, image) = (tree::text(&first, &["name"]), tree::text(&first, &["image"]));
    let name = tree::text(pod, &["metadata", "name"]);
    let status = |waiting: &str, message: &str, last: Value, restarts: u32| {
        let states: Vec<_> = tree::items(spec, "containers")
            .iter()
            .map(|container| {
                json!({
                    "name": container["name"], "image": container["image"], "imageID": "", "ready": false,
                    "started": false, "restartCount": restarts,
                    "state": { "waiting": { "reason": waiting, "message": message } }, "lastState": last,
                })
            })
            .collect();
        json!({ "status": {
            "phase": if restarts > 0 { "Running" } else { "Pending" },
            "conditions": [
                { "type": "PodScheduled", "status": "True" },
                { "type": "ContainersReady", "status": "False", "reason": "ContainersNotReady" },
                { "type": "Ready", "status": "False", "reason": "ContainersNotReady",
                    "message": format!("containers with unready status: [{container}]") },
            ],
            "containerStatuses": states,
        } })
    };
    let ended = |code: u32, reason: &str| json!({ "terminated": { "exitCode": code, "reason": reason } });
    let back_off = format!("back-off 5m0s restarting failed container={container} pod={name}");
    Some(match what {
        Troubled::CrashLoop => {
            (status("CrashLoopBackOff", &back_off, ended(1, "Error"), 6), "BackOff", back_off)
        }
        Troubled::OutOfMemory => {
            (status("CrashLoopBackOff", &back_off, ended(137, "OOMKilled"), 6), "BackOff", back_off)
        }
        Troubled::ImagePull => {
            let said = format!("Back-off pulling image {image:?}");
            (status("ImagePullBackOff", &said, json!({}), 0), "BackOff", said)
        }
        Troubled::ImageMissing => {
            let said = format!(
                "rpc error: code = NotFound desc = failed to pull and unpack image {image:?}: {image}: not found"
            );
            (status("ErrImagePull", &said, json!({}), 0), "Failed", said)
        }
        Troubled::Configuration => {
            let said = words.map_or_else(|| format!("configmap \"{container}\" not found"), str::to_owned);
            (status("CreateContainerConfigError", &said, json!({}), 0), "Failed", format!("Error: {said}"))
        }
        Troubled::Mount => {
            let said = words.unwrap_or(
                "MountVolume.SetUp failed for volume \"data\" : rpc error: code = Internal desc = exit status 32",
            );
            (status("ContainerCreating", "", json!({}), 0), "FailedMount", said.to_owned())
        }
        Troubled::Unschedulable => {
            let said = words.unwrap_or("0/1 nodes are available: 1 Insufficient cpu.");
            let condition = json!({
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said,
            });
            let status = json!({ "status": { "phase": "Pending", "conditions": [condition] } });
            (status, "FailedScheduling", said.to_owned())
        }
        Troubled::Silent => return None,
    })
}

/// What a Job's controller says when its pods have failed for the last time.
pub(super) fn failed_job() -> Value {
    json!({
        "failed": 7,
        "conditions": [{
            "type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
            "message": "Job has reached the specified backoff limit",
        }],
    })
}

/// Writes a warning about a workload whose pods are refused.
pub(super) async fn warn_of_refusal(objects: &Objects<'_>, owner: &Value, message: &str) {
    let text = |path: &[&str]| tree::text(owner, path);
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "type": "Warning", "reason": "FailedCreate", "message": message, "count": 1,
        "metadata": { "name": format!("{}.refused", text(&["metadata", "name"])), "namespace": objects.namespace },
        "involvedObject": {
            "apiVersion": text(&["apiVersion"]), "kind": text(&["kind"]), "namespace": objects.namespace,
            "name": text(&["metadata", "name"]), "uid": owner["metadata"]["uid"],
        },
        "source": { "component": "controller-manager" },
        "lastTimestamp": owner["metadata"]["creationTimestamp"],
    });
    // The same warning twice is one.
    let _ = objects.create("v1", "Event", "events", &event).await;
}

/// Writes a warning about a pod.
pub(super) async fn warn(objects: &Objects<'_>, pod: &Value, reason: &str, message: &str) {
    let name = tree::text(pod, &["metadata", "name"]);
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "type": "Warning", "reason": reason, "message": message, "count": 1,
        "metadata": { "name": format!("{name}.trouble"), "namespace": objects.namespace },
        "involvedObject": {
            "apiVersion": "v1", "kind": "Pod", "namespace": objects.namespace, "name": name,
            "uid": pod["metadata"]["uid"],
        },
        "source": { "component": "kubelet" },
        "lastTimestamp": pod["metadata"]["creationTimestamp"],
    });
    // The same warning twice is one.
    let _ = objects.create("v1", "Event", "events", &event).await;
}
