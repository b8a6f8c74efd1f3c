//! Pods: ready, ended, or in a state that looks like a failure; and whether a
//! workload waits because of such a pod. That volumes cannot be mounted is in
//! no field of a pod: only events tell it.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::around::By;
use super::{Context, Health, Soft, SoftCause, condition, quota, said, text};
use crate::model::object::GroupKind;

/// How often a container has ended before it counts as one that will not run.
const RESTARTS: u64 = 5;

/// Reasons of failed pods that somebody else replaces.
const SUPERSEDED: &[&str] =
    &["Evicted", "NodeShutdown", "Terminated", "Preempting", "NodeAffinity", "UnexpectedAdmissionError"];

/// A failed pod that somebody else replaces, or one on its way out: it says nothing of its workload.
pub(crate) fn is_superseded(pod: &Value) -> bool {
    pod.pointer("/metadata/deletionTimestamp").is_some()
        || (text(pod, "/status/phase") == Some("Failed")
            && text(pod, "/status/reason").is_some_and(|reason| SUPERSEDED.contains(&reason)))
}

/// Whether any rule looks at a pod: one that looks like a failure, or that waits for a claim or other volumes.
pub(super) fn matters(pod: &Value) -> bool {
    !is_superseded(pod)
        && match self::pod(pod) {
            Health::Stuck(_) | Health::Failed(_) => true,
            Health::Progressing(_) => claims(pod).next().is_some() || waits_for_volumes(pod),
            Health::Ready | Health::Unknown => false,
        }
}

/// The reasons of events that say that a volume is not there.
const NO_VOLUME: &[&str] = &["FailedMount", "FailedAttachVolume"];

/// The reason of events that say that volumes are there: the kubelet makes a pod's sandbox after it has mounted them.
const NO_SANDBOX: &str = "FailedCreatePodSandBox";

/// From when on, after it was said first, a volume that is not there is no hiccup. The kubelet tries, and says so, again
/// after 0.5 s, 1 s, 2 s and so on, up to about two minutes (`pkg/util/goroutinemap/exponentialbackoff`).
const LASTING: SignedDuration = SignedDuration::from_secs(60);

/// Whether an event says of a pod that a volume is not there, or that all are.
pub(super) fn tells_of_volumes(event: &Value) -> bool {
    text(event, "/reason").is_some_and(|reason| NO_VOLUME.contains(&reason) || reason == NO_SANDBOX)
}

fn moment(event: &Value, pointer: &str) -> Option<Timestamp> {
    text(event, pointer)?.parse().ok()
}

/// Whether an event was said again for so long that it does not pass by itself. One without times counts.
fn lasts(event: &Value) -> bool {
    let (first, last) = (moment(event, "/first"), moment(event, "/last"));
    first.zip(last).is_none_or(|(first, last)| last.duration_since(first) >= LASTING)
}

/// Whether a pod has its node, and is not so far that its volumes must be there: they are before its sandbox is
/// (`PodReadyToStartContainers`), and that is before its images are pulled.
fn waits_for_volumes(pod: &Value) -> bool {
    let creating = |status: &Value| {
        let reason = text(status, "/state/waiting/reason").unwrap_or_default();
        ["ContainerCreating", "PodInitializing"].contains(&reason)
    };
    text(pod, "/spec/nodeName").is_some_and(|node| !node.is_empty())
        && text(pod, "/status/phase") == Some("Pending")
        && !condition(pod, "PodReadyToStartContainers").is_some_and(|found| found.is_true())
        && containers(pod).all(creating)
}

/// Judges a pod, and by its events its volumes.
pub(super) fn with_volumes(pod: &Value, context: Context<'_>) -> Health {
    match self::pod(pod) {
        Health::Progressing(reason) => match missing_volume(pod, context) {
            Some(soft) => Health::Stuck(soft),
            None => Health::Progressing(reason),
        },
        health => health,
    }
}

fn missing_volume(pod: &Value, context: Context<'_>) -> Option<Soft> {
    if !waits_for_volumes(pod) {
        return None;
    }
    let by = By::Pod(text(pod, "/metadata/uid")?.to_owned());
    let events = context.around.parts(&GroupKind::new("", "Event"), &by)?;
    let own = || events.iter();
    let is_sandbox = |event: &Value| text(event, "/reason") == Some(NO_SANDBOX);
    let mounted = own().filter(|event| is_sandbox(event)).filter_map(|event| moment(event, "/last")).max();
    let missing = own()
        .filter(|event| !is_sandbox(event))
        .filter(|event| mounted.is_none_or(|mounted| moment(event, "/last") > Some(mounted)));
    let event = missing.max_by_key(|event| lasts(event))?;
    let words =
        format!("{}: {}", text(event, "/reason")?, text(event, "/message").unwrap_or_default().trim());
    Some(Soft { ripe: lasts(event), ..Soft::new(SoftCause::Volumes, words) })
}

pub(super) fn claims(pod: &Value) -> impl Iterator<Item = &str> {
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
    volumes.filter_map(|volume| text(volume, "/persistentVolumeClaim/claimName"))
}

/// Judges a pod.
pub(crate) fn pod(object: &Value) -> Health {
    let phase = text(object, "/status/phase").unwrap_or("unknown");
    match phase {
        "Succeeded" => return Health::Ready,
        "Failed" => {
            let reason = text(object, "/status/reason").unwrap_or_default();
            if is_superseded(object) {
                return Health::Progressing(format!("{reason}: to be replaced"));
            }
            let reason = Some(reason).filter(|reason| !reason.is_empty()).unwrap_or("without a reason");
            return Health::Stuck(Soft::new(SoftCause::PodFailed, format!("the pod failed: {reason}")));
        }
        _ => {}
    }
    if condition(object, "Ready").is_some_and(|found| found.is_true()) {
        return Health::Ready;
    }
    if let Some(soft) = containers(object).find_map(container) {
        return Health::Stuck(soft);
    }
    if condition(object, "PodScheduled").is_some_and(|found| found.status == "False") {
        return Health::Stuck(Soft::new(SoftCause::Unschedulable, said(object, "PodScheduled")));
    }
    Health::Progressing(format!("phase {phase}, not ready"))
}

/// The statuses of all containers, in the order in which they start.
pub(crate) fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["/status/initContainerStatuses", "/status/containerStatuses"]
        .into_iter()
        .filter_map(|pointer| pod.pointer(pointer)?.as_array())
        .flatten()
}

/// What looks like a failure in a container's status.
fn container(status: &Value) -> Option<Soft> {
    let name = text(status, "/name").unwrap_or("?");
    let waiting = text(status, "/state/waiting/reason").unwrap_or_default();
    let message = text(status, "/state/waiting/message").unwrap_or_default();
    match waiting {
        "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull" => {
            let cause = if is_refused(message) { SoftCause::ImageRefused } else { SoftCause::ImagePull };
            return Some(Soft::new(cause, format!("container {name}: {waiting}")));
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            let words = format!("container {name}: {waiting}: {message}");
            return Some(Soft::new(SoftCause::Configuration, words));
        }
        _ => {}
    }
    let restarts = status.get("restartCount").and_then(Value::as_u64).unwrap_or(0);
    let exit = ["/state/terminated/exitCode", "/lastState/terminated/exitCode"]
        .into_iter()
        .find_map(|pointer| status.pointer(pointer)?.as_i64());
    // Between two ends it runs for a moment: that is the same loop still.
    let loops = waiting == "CrashLoopBackOff" || (restarts > 0 && exit.is_some_and(|code| code != 0));
    let ready = status.get("ready").and_then(Value::as_bool) == Some(true);
    (loops && !ready).then(|| {
        let exit = exit.map_or_else(String::new, |code| format!(", exit {code}"));
        let what = if waiting.is_empty() { "keeps ending" } else { waiting };
        let message = format!("container {name}: {what} (restarts {restarts}{exit})");
        Soft { cause: SoftCause::CrashLoop, message, ripe: restarts >= RESTARTS }
    })
}

/// Whether a registry said that an image is not there, or not for us: trying
/// again does not help. The kubelet has no code for it.
fn is_refused(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["not found", "manifest unknown", "denied", "unauthorized", "authentication required", "403 forbidden"]
        .iter()
        .any(|words| message.contains(words))
}

/// A workload that is not ready because one of its pods looks like a failure
/// is stuck as that pod is. Pods of older revisions do not count.
pub(super) fn or_stuck(object: &Value, health: Health, context: Context<'_>) -> Health {
    let waits = match &health {
        Health::Progressing(_) => true,
        Health::Stuck(soft) => soft.cause == SoftCause::PodsRefused,
        Health::Ready | Health::Failed(_) | Health::Unknown => false,
    };
    if waits && let Some(reason) = quota::never_fits(object, context) {
        return Health::Failed(reason);
    }
    let Health::Progressing(reason) = health else { return health };
    match worst(object, context) {
        Some((pod, soft)) => {
            Health::Stuck(Soft { message: format!("{reason}: Pod {pod}: {}", soft.message), ..soft })
        }
        None => Health::Progressing(reason),
    }
}

fn worst(object: &Value, context: Context<'_>) -> Option<(String, Soft)> {
    let uid = text(object, "/metadata/uid")?.to_owned();
    let owner =
        if text(object, "/kind") == Some("Deployment") { newest_replica_set(uid, context)? } else { uid };
    let revision = text(object, "/status/updateRevision");
    let own = context.around.parts(&GroupKind::new("", "Pod"), &By::Owner(owner))?;
    let stuck = own
        .iter()
        // Its controller makes another one instead, or says itself that it has given up.
        .filter(|pod| text(pod, "/status/phase") != Some("Failed"))
        .filter(|pod| {
            let own = text(pod, "/metadata/labels/controller-revision-hash");
            revision.is_none() || own.is_none() || own == revision
        })
        .filter_map(|pod| match with_volumes(pod, context) {
            Health::Stuck(soft) => Some((text(pod, "/metadata/name").unwrap_or_default().to_owned(), soft)),
            Health::Ready | Health::Progressing(_) | Health::Failed(_) | Health::Unknown => None,
        });
    // One that may still pass must not hide one that has lasted; of those, the first to count as a failure.
    stuck.min_by_key(|(_, soft)| (!soft.ripe, soft.cause.grace()))
}

/// The uid of a Deployment's newest `ReplicaSet`.
fn newest_replica_set(deployment: String, context: Context<'_>) -> Option<String> {
    let own = context.around.parts(&GroupKind::new("apps", "ReplicaSet"), &By::Owner(deployment))?;
    let revision =
        |set: &Value| text(set, "/revision").and_then(|revision| revision.parse::<u64>().ok()).unwrap_or(0);
    let newest = own.iter().max_by_key(|set| revision(set))?;
    text(newest, "/metadata/uid").map(str::to_owned)
}
