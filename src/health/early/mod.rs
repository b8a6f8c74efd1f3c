//! False-ready and false-wait: for every rule a state in which another tool
//! says *ready* too early and this one does not, and the first state in which
//! users would expect *ready*. The tools by their sources: helm 4 waits by
//! kstatus (`cli-utils/pkg/kstatus/status`), kubectl by
//! `polymorphichelpers/rollout_status.go` and conditions, kapp by
//! `pkg/kapp/resourcesmisc` (read at a89576c5). A tool without a rule for a kind says *ready* as
//! soon as the object is there.

mod others;
mod workloads;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::around::{Kept, Listed};
use super::*;
use crate::model::object::{GroupKind, split_api_version};
use serde_json::json;

/// A rule with a state that others take for ready, and the first that is.
struct Row {
    rule: &'static str,
    /// Who says ready too early.
    fooled: &'static [&'static str],
    /// What others stand around in that state.
    around: Vec<Value>,
    early: Value,
    says: &'static str,
    /// What others stand around when it is ready.
    then: Vec<Value>,
    ready: Value,
}

fn listed(objects: &[Value]) -> Listed {
    let mut parts: BTreeMap<GroupKind, Kept> = BTreeMap::new();
    let kinds = [
        ("apps", "ReplicaSet"),
        ("", "Pod"),
        ("", "Event"),
        ("discovery.k8s.io", "EndpointSlice"),
        ("storage.k8s.io", "StorageClass"),
    ];
    for (group, kind) in kinds {
        parts.insert(GroupKind::new(group, kind), Kept::default());
    }
    for object in objects {
        let (group, _) = split_api_version(object["apiVersion"].as_str().unwrap());
        let kind = GroupKind::new(group, object["kind"].as_str().unwrap());
        parts.entry(kind.clone()).or_default().put(&kind, object);
    }
    let parts = parts.into_iter().map(|(kind, kept)| (kind, Arc::new(kept))).collect();
    Listed { parts, ..Listed::default() }
}

fn judged(object: &Value, objects: &[Value]) -> Health {
    health(object, Context { may_be_empty: false, around: &listed(objects) })
}

#[expect(clippy::needless_pass_by_value, reason = "tables of literals read better")]
fn object(api_version: &str, kind: &str, spec: Value, status: Value) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind, "spec": spec, "status": status,
        "metadata": { "name": "a", "namespace": "n", "uid": "u", "generation": 2 },
    })
}

fn condition_of(name: &str, status: &str) -> Value {
    json!({ "conditions": [{ "type": name, "status": status }] })
}

/// A value with some fields changed.
fn with(mut value: Value, changes: &[(&str, Value)]) -> Value {
    for (pointer, change) in changes {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        value.pointer_mut(parent).unwrap()[key] = change.clone();
    }
    value
}

const CERTIFICATE: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==";

#[test]
fn what_others_take_for_ready_is_not_and_the_first_ready_state_is() {
    for Row { rule, fooled, around, early, says, then, ready } in
        workloads::rows().into_iter().chain(others::rows())
    {
        let health = judged(&early, &around);
        let (Health::Progressing(reason) | Health::Stuck(Soft { message: reason, .. })) = &health else {
            panic!("{rule}: {health:?}, as {fooled:?} say");
        };
        assert!(reason.contains(says), "{rule}: {reason}");
        assert_eq!(judged(&ready, &then), Health::Ready, "{rule}");
    }
}

/// The kind of a row's object.
fn kind_of(object: &Value) -> GroupKind {
    let (group, _) = split_api_version(object["apiVersion"].as_str().unwrap());
    GroupKind::new(group, object["kind"].as_str().unwrap())
}

#[test]
fn every_rule_has_a_row() {
    let rows: Vec<Row> = workloads::rows().into_iter().chain(others::rows()).collect();
    for row in &rows {
        assert_eq!(kind_of(&row.early), kind_of(&row.ready), "{}", row.rule);
    }
    // A kind that says nothing and is judged all the same has a rule of its own, as Gateways do.
    let of_its_own = |kind: &GroupKind| {
        let api_version = if kind.group.is_empty() { "v1".to_owned() } else { format!("{}/v1", kind.group) };
        let silent = json!({ "apiVersion": api_version, "kind": kind.kind, "metadata": { "name": "a" } });
        is_gated(&kind.group, &kind.kind) && judged(&silent, &[]) != Health::Unknown
    };
    let gateway = GroupKind::new("gateway.networking.k8s.io", "Gateway");
    let kinds = crate::model::kinds::all_built_in().filter(of_its_own).chain([gateway]);
    let fools = |row: &&Row| !row.fooled.is_empty();
    let without: Vec<GroupKind> =
        kinds.filter(|kind| !rows.iter().filter(fools).any(|row| kind_of(&row.early) == *kind)).collect();
    assert_eq!(without, [], "a rule and no row");
    // The rules for objects of any kind.
    for any in ["being deleted", "older generation", "Reconciling", "its condition is of an older generation"]
    {
        assert!(rows.iter().any(|row| row.rule.contains(any)), "no row for {any}");
    }
}

#[test]
fn what_says_that_it_has_given_up_has_failed() {
    let stalled = json!({ "conditions": [
        { "type": "Ready", "status": "True" }, { "type": "Stalled", "status": "True", "reason": "BadSpec", "message": "no such class" },
    ] });
    let health = judged(&object("x.example/v1", "Thing", json!({}), stalled), &[]);
    assert_eq!(health, Health::Failed("Stalled=True: BadSpec: no such class".to_owned()));
    let failed = object("batch/v1", "Job", json!({}), condition_of("Failed", "True"));
    assert!(matches!(judged(&failed, &[]), Health::Failed(_)));
    let lost = object("v1", "PersistentVolumeClaim", json!({}), json!({ "phase": "Lost" }));
    assert!(matches!(judged(&lost, &[]), Health::Failed(_)));
}

#[test]
fn a_kind_that_nobody_knows_is_never_ready_by_silence() {
    // helm 4 and kapp take each of these for ready.
    for status in [json!(null), json!({}), json!({ "message": "x" }), json!({ "conditions": [] })] {
        assert_eq!(judged(&object("x.example/v1", "Thing", json!({}), status), &[]), Health::Unknown);
    }
}

#[test]
fn a_job_that_its_time_to_live_took_away_was_done_if_it_was_seen_complete() {
    let job = |ttl: Value, condition: &str| {
        object("batch/v1", "Job", json!({ "ttlSecondsAfterFinished": ttl }), condition_of(condition, "True"))
    };
    assert_eq!(gone(Some(&job(json!(0), "Complete"))), Health::Ready);
    for last in [Some(job(json!(0), "Failed")), Some(job(json!(null), "Suspended")), None] {
        assert!(matches!(gone(last.as_ref()), Health::Progressing(_)), "{last:?}");
    }
}

/// A pod of the newest `ReplicaSet` of a Deployment, in some state.
fn crew(pod_status: &Value) -> Vec<Value> {
    let set = |name: &str, revision: &str, owner: &str| {
        json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "spec": { "replicas": 1 },
            "metadata": { "name": name, "namespace": "n", "uid": name, "annotations": { "deployment.kubernetes.io/revision": revision }, "ownerReferences": [{ "uid": owner }] },
        })
    };
    let pod = |of: &str, status: &Value| {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": format!("{of}-x"), "namespace": "n", "ownerReferences": [{ "uid": of }] }, "status": status,
        })
    };
    let old = json!({ "phase": "Pending", "containerStatuses": [{ "name": "c", "state": { "waiting": { "reason": "ImagePullBackOff" } } }] });
    vec![
        set("old", "9", "u"),
        set("new", "10", "u"),
        set("other", "11", "v"),
        pod("old", &old),
        pod("new", pod_status),
        pod("other", &old),
    ]
}

#[test]
fn a_workload_is_stuck_as_its_newest_pods_are() {
    let waiting = |reason: &str, message: &str, restarts: u64| {
        json!({ "phase": "Pending", "containerStatuses": [{
        "name": "c", "restartCount": restarts, "state": { "waiting": { "reason": reason, "message": message } }, "lastState": { "terminated": { "exitCode": 1 } } }] })
    };
    let deployment = object(
        "apps/v1",
        "Deployment",
        json!({}),
        json!({ "observedGeneration": 2, "replicas": 1, "updatedReplicas": 1 }),
    );
    let unschedulable = json!({ "phase": "Pending", "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable" }] });
    let rows = [
        (waiting("CreateContainerError", "", 0), SoftCause::Configuration, true, 180),
        (waiting("ImagePullBackOff", "manifest unknown", 0), SoftCause::ImageRefused, true, 60),
        (waiting("ErrImagePull", "i/o timeout", 0), SoftCause::ImagePull, true, 180),
        (waiting("InvalidImageName", "", 0), SoftCause::ImagePull, true, 180),
        (
            waiting("CreateContainerConfigError", "secret \"x\" not found", 0),
            SoftCause::Configuration,
            true,
            180,
        ),
        (waiting("CrashLoopBackOff", "", 4), SoftCause::CrashLoop, false, 180),
        (waiting("CrashLoopBackOff", "", 5), SoftCause::CrashLoop, true, 180),
        (unschedulable, SoftCause::Unschedulable, true, 180),
    ];
    for (status, cause, ripe, grace) in rows {
        match judged(&deployment, &crew(&status)) {
            Health::Stuck(soft) => {
                assert_eq!(
                    (soft.cause, soft.ripe, soft.cause.grace().as_secs()),
                    (cause, ripe, grace),
                    "{status}"
                );
                assert!(soft.message.contains("0 of 1 replicas ready: Pod new-x: "), "{}", soft.message);
            }
            other => panic!("{status}: {other:?}"),
        }
    }
    // Superseded and replaced pods, and those that are only slow, say nothing.
    for status in [
        json!({ "phase": "Failed", "reason": "Evicted" }),
        json!({ "phase": "Failed", "reason": "OutOfcpu" }),
        json!({ "phase": "Pending", "containerStatuses": [{ "name": "c", "state": { "waiting": { "reason": "ContainerCreating" } } }] }),
    ] {
        assert!(matches!(judged(&deployment, &crew(&status)), Health::Progressing(_)), "{status}");
    }
}

#[test]
fn a_pod_whose_volume_cannot_be_mounted_is_stuck_until_it_is() {
    let creating = json!([{ "name": "c", "state": { "waiting": { "reason": "ContainerCreating" } } }]);
    let pod = |started: &str| {
        let conditions = json!([
            { "type": "PodScheduled", "status": "True" }, { "type": "PodReadyToStartContainers", "status": started },
        ]);
        let status = json!({ "phase": "Pending", "containerStatuses": creating, "conditions": conditions });
        object("v1", "Pod", json!({ "nodeName": "node-1" }), status)
    };
    let event = |reason: &str, of: &str| {
        json!({
            "apiVersion": "v1", "kind": "Event", "metadata": { "name": "e", "namespace": "n" }, "type": "Warning",
            "reason": reason, "message": "MountVolume.SetUp failed for volume \"keys\" : secret \"tls\" not found",
            "involvedObject": { "kind": "Pod", "namespace": "n", "name": "a", "uid": of },
        })
    };
    let stuck = |health: Health| match health {
        Health::Stuck(soft) => Some((soft.cause, soft.ripe, soft.cause.grace().as_secs(), soft.message)),
        _ => None,
    };
    for reason in ["FailedMount", "FailedAttachVolume"] {
        let said =
            format!("{reason}: MountVolume.SetUp failed for volume \"keys\" : secret \"tls\" not found");
        let found = stuck(judged(&pod("False"), &[event(reason, "u")]));
        assert_eq!(found, Some((SoftCause::Volumes, true, 180, said)));
    }
    // Once its sandbox is there its volumes are, though the image is still pulled; another pod's event, and others.
    assert_eq!(stuck(judged(&pod("True"), &[event("FailedMount", "u")])), None);
    assert_eq!(stuck(judged(&pod("False"), &[event("FailedMount", "before")])), None);
    assert_eq!(stuck(judged(&pod("False"), &[event("FailedScheduling", "u")])), None);
    // What passed by itself is no failure, neither is what was before the sandbox.
    let timed = |reason: &str, first: &str, last: &str| {
        let name = json!(format!("{reason}-{last}"));
        let times =
            [("/firstTimestamp", json!(first)), ("/lastTimestamp", json!(last)), ("/metadata/name", name)];
        with(event(reason, "u"), &times)
    };
    let (start, soon, late) = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:31Z", "2026-01-01T00:01:03Z");
    let ripe = |events: &[Value]| stuck(judged(&pod("False"), events)).map(|found| found.1);
    let (once, long) = (timed("FailedMount", start, soon), timed("FailedMount", start, late));
    assert_eq!(ripe(std::slice::from_ref(&once)), Some(false));
    assert_eq!(ripe(&[long.clone(), once.clone()]), Some(true));
    assert_eq!(ripe(&[once.clone(), long.clone()]), Some(true));
    let sandbox = timed("FailedCreatePodSandBox", soon, "2026-01-01T00:00:40Z");
    assert_eq!(ripe(&[once, sandbox.clone()]), None);
    assert_eq!(ripe(&[long, sandbox.clone()]), Some(true));
    assert_eq!(ripe(&[sandbox]), None);
    // A workload is stuck as its pod is.
    let deployment =
        object("apps/v1", "Deployment", json!({}), json!({ "observedGeneration": 2, "replicas": 1 }));
    let mut around = crew(&json!({ "phase": "Pending", "containerStatuses": creating }));
    around.push(event("FailedMount", "pod-of-new"));
    for pod in around.iter_mut().filter(|pod| pod["metadata"]["name"] == "new-x") {
        pod["metadata"]["uid"] = json!("pod-of-new");
        pod["spec"] = json!({ "nodeName": "node-1" });
    }
    let found = stuck(judged(&deployment, &around)).unwrap();
    assert!(found.3.contains("Pod new-x: FailedMount: "), "{}", found.3);
}

#[test]
fn a_service_that_a_gate_names_needs_somebody_behind_it() {
    let gate = cel::Gate::parse("true").unwrap();
    let service =
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "s", "namespace": "n" } });
    let slice = |ready: bool| {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": { "name": "s-1", "namespace": "n", "labels": { "kubernetes.io/service-name": "s" } },
            "endpoints": [{ "conditions": { "ready": ready } }],
        })
    };
    let judged = |slices: &[Value]| {
        let around = listed(slices);
        judge(&service, [("Service/s", &gate)], Context { may_be_empty: false, around: &around }).unwrap()
    };
    assert_eq!(judged(&[]), Health::Progressing("no ready endpoint yet".to_owned()));
    assert_eq!(judged(&[slice(false)]), Health::Progressing("no ready endpoint yet".to_owned()));
    assert_eq!(judged(&[slice(true)]), Health::Ready);
}

#[test]
fn every_built_in_kind_has_a_rule_or_needs_none() {
    // These become what they are when somebody uses or approves them; they are not made by components.
    let conventional = ["CertificateSigningRequest", "VolumeAttachment", "ServiceCIDR"];
    for kind in crate::model::kinds::all_built_in() {
        let api_version = if kind.group.is_empty() { "v1".to_owned() } else { format!("{}/v1", kind.group) };
        let silent = json!({ "apiVersion": api_version, "kind": kind.kind, "metadata": { "name": "a" } });
        let unknown = judged(&silent, &[]) == Health::Unknown;
        assert_eq!(unknown, conventional.contains(&kind.kind.as_str()), "{kind}");
    }
}

#[test]
fn a_webhook_judges_what_its_rules_and_selectors_name() {
    let configuration = json!({ "webhooks": [
        { "name": "open", "failurePolicy": "Ignore" },
        { "name": "w", "namespaceSelector": { "matchLabels": { "guarded": "yes" } }, "objectSelector": { "matchExpressions": [{ "key": "free", "operator": "DoesNotExist" }] },
          "rules": [{ "apiGroups": ["apps"], "apiVersions": ["*"], "resources": ["deployments"], "operations": ["CREATE"], "scope": "Namespaced" }] },
    ] });
    let closed = admission::closed(&configuration);
    let [webhook] = closed.as_slice() else { panic!("one fails closed") };
    let planned = |labels: Value| {
        let value = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "a", "namespace": "n", "labels": labels } });
        crate::model::object::Object::from_value(value).unwrap()
    };
    let namespace = |guarded: &str| json!({ "metadata": { "labels": { "guarded": guarded } } });
    let object = planned(json!({}));
    assert!(webhook.judges(&object, "deployments") && !webhook.judges(&object, "statefulsets"));
    assert!(webhook.is_called("CREATE") && !webhook.is_called("UPDATE"));
    assert!(
        webhook.selects(&object, Some(&namespace("yes")))
            && !webhook.selects(&object, Some(&namespace("no")))
    );
    assert!(!webhook.selects(&planned(json!({ "free": "" })), Some(&namespace("yes"))));
}
