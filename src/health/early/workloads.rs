//! The rows of workloads and pods.
//! See the parent for what they mean.

use super::*;

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn rows() -> Vec<Row> {
    let deployed = json!({ "observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3,
        "conditions": [{ "type": "Available", "status": "True" }] });
    let deployment = |changes: &[(&str, Value)]| {
        object("apps/v1", "Deployment", json!({ "replicas": 3 }), with(deployed.clone(), changes))
    };
    let counted = json!({ "observedGeneration": 2, "replicas": 3, "readyReplicas": 3, "availableReplicas": 3, "currentReplicas": 3,
        "updatedReplicas": 3, "currentRevision": "b", "updateRevision": "b" });
    let stateful = |spec: Value, changes: &[(&str, Value)]| {
        object(
            "apps/v1",
            "StatefulSet",
            with(json!({ "replicas": 3 }), &[("/updateStrategy", spec)]),
            with(counted.clone(), changes),
        )
    };
    let daemon = |desired: i64, updated: i64| {
        let status = json!({ "observedGeneration": 2, "desiredNumberScheduled": desired, "currentNumberScheduled": desired,
            "updatedNumberScheduled": updated, "numberReady": desired, "numberAvailable": desired, "numberUnavailable": 0 });
        object("apps/v1", "DaemonSet", json!({}), status)
    };
    let ready = || vec![deployment(&[])];
    vec![
        Row {
            rule: "Deployment: the new revision has no pod yet, and all old ones are available",
            fooled: &["kapp (unavailableReplicas)", "kubectl wait --for=condition=Available"],
            around: Vec::new(),
            early: deployment(&[("/updatedReplicas", json!(0))]),
            says: "0 of 3 replicas updated",
            then: Vec::new(),
            ready: ready().remove(0),
        },
        Row {
            rule: "Deployment: maxUnavailable lets it be Available with one pod too few",
            fooled: &["kubectl wait --for=condition=Available"],
            around: Vec::new(),
            early: deployment(&[("/readyReplicas", json!(2)), ("/availableReplicas", json!(2))]),
            says: "2 of 3 replicas ready",
            then: Vec::new(),
            ready: ready().remove(0),
        },
        Row {
            rule: "Deployment: old replicas are still there, and still answer",
            fooled: &["kapp (unavailableReplicas)"],
            around: Vec::new(),
            early: deployment(&[
                ("/replicas", json!(4)),
                ("/readyReplicas", json!(4)),
                ("/availableReplicas", json!(4)),
            ]),
            says: "1 old replicas still there",
            then: Vec::new(),
            ready: ready().remove(0),
        },
        Row {
            rule: "StatefulSet: OnDelete and not one pod runs",
            fooled: &["helm 4 (stsConditions)"],
            around: Vec::new(),
            early: stateful(
                json!({ "type": "OnDelete" }),
                &[("/readyReplicas", json!(0)), ("/availableReplicas", json!(0))],
            ),
            says: "0 of 3 replicas ready",
            then: Vec::new(),
            // kapp and kubectl wait for ever: nobody but the user replaces the pods.
            ready: stateful(
                json!({ "type": "OnDelete" }),
                &[("/updatedReplicas", json!(0)), ("/currentRevision", json!("a"))],
            ),
        },
        Row {
            rule: "StatefulSet: pods are ready, but not for minReadySeconds",
            fooled: &["helm 4 (stsConditions)", "kubectl rollout status", "kapp"],
            around: Vec::new(),
            early: stateful(json!({}), &[("/availableReplicas", json!(1))]),
            says: "1 of 3 replicas available",
            then: Vec::new(),
            ready: stateful(json!({}), &[]),
        },
        Row {
            rule: "StatefulSet: the rollout with partition 0 has not come to its end",
            fooled: &["helm 4 (a partition, though 0)", "kubectl rollout status"],
            around: Vec::new(),
            early: stateful(
                json!({ "rollingUpdate": { "partition": 0 } }),
                &[("/currentRevision", json!("a"))],
            ),
            says: "the new revision is not current yet",
            then: Vec::new(),
            ready: stateful(
                json!({ "rollingUpdate": { "partition": 2 } }),
                &[("/updatedReplicas", json!(1)), ("/currentRevision", json!("a"))],
            ),
        },
        Row {
            rule: "StatefulSet: a partition counts ordinals, which may begin at 5",
            fooled: &["helm 4 (3 - 7 are to be updated)", "kubectl rollout status", "kapp"],
            around: Vec::new(),
            early: with(
                stateful(
                    json!({ "rollingUpdate": { "partition": 7 } }),
                    &[("/updatedReplicas", json!(0)), ("/currentRevision", json!("a"))],
                ),
                &[("/spec/ordinals", json!({ "start": 5 }))],
            ),
            says: "0 of 1 replicas updated",
            then: Vec::new(),
            ready: with(
                stateful(
                    json!({ "rollingUpdate": { "partition": 7 } }),
                    &[("/updatedReplicas", json!(1)), ("/currentRevision", json!("a"))],
                ),
                &[("/spec/ordinals", json!({ "start": 5 }))],
            ),
        },
        Row {
            rule: "DaemonSet: no node at all",
            fooled: &["helm 4 (daemonsetConditions)", "kubectl rollout status", "kapp"],
            around: Vec::new(),
            early: daemon(0, 0),
            says: "no node matches it",
            then: Vec::new(),
            ready: daemon(2, 2),
        },
        Row {
            rule: "DaemonSet: all pods are available, and of the old revision",
            fooled: &["kapp (numberUnavailable)"],
            around: Vec::new(),
            early: daemon(2, 0),
            says: "0 of 2 nodes updated",
            then: Vec::new(),
            ready: daemon(2, 2),
        },
        Row {
            rule: "ReplicaSet: not observed, with numbers of before",
            fooled: &["kubectl wait --for=jsonpath"],
            around: Vec::new(),
            early: object(
                "apps/v1",
                "ReplicaSet",
                json!({ "replicas": 1 }),
                json!({ "observedGeneration": 1, "readyReplicas": 1 }),
            ),
            says: "generation 2 not observed yet",
            then: Vec::new(),
            ready: object(
                "apps/v1",
                "ReplicaSet",
                json!({ "replicas": 1 }),
                json!({ "observedGeneration": 2, "readyReplicas": 1 }),
            ),
        },
        Row {
            rule: "ReplicationController: not one pod is ready",
            fooled: &["kapp (no rule)"],
            around: Vec::new(),
            early: object(
                "v1",
                "ReplicationController",
                json!({ "replicas": 2 }),
                json!({ "observedGeneration": 2, "replicas": 2 }),
            ),
            says: "0 of 2 replicas ready",
            then: Vec::new(),
            ready: object(
                "v1",
                "ReplicationController",
                json!({ "replicas": 2 }),
                json!({ "observedGeneration": 2, "replicas": 2, "readyReplicas": 2 }),
            ),
        },
        Row {
            rule: "Job: it runs",
            fooled: &["helm 4 without --wait-for-jobs (jobConditions)"],
            around: Vec::new(),
            early: object(
                "batch/v1",
                "Job",
                json!({ "completions": 2 }),
                json!({ "startTime": "2026-01-01T00:00:00Z", "active": 2, "succeeded": 1 }),
            ),
            says: "1 of 2 completions",
            then: Vec::new(),
            ready: object("batch/v1", "Job", json!({ "completions": 2 }), condition_of("Complete", "True")),
        },
        Row {
            rule: "Job: a pod of it failed, and the next one runs: that is no failure yet",
            fooled: &[],
            around: vec![
                json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a-1", "namespace": "n", "ownerReferences": [{ "uid": "u" }] },
                "status": { "phase": "Failed", "reason": "Error" } }),
            ],
            early: object("batch/v1", "Job", json!({}), json!({ "active": 1, "failed": 1 })),
            says: "0 of 1 completions",
            then: Vec::new(),
            // Suspended is how its maker wants it.
            ready: object("batch/v1", "Job", json!({ "suspend": true }), json!({})),
        },
        Row {
            rule: "Pod: it failed, and was replaced by nobody",
            fooled: &["helm 4 (podConditions: completed, but not successfully)"],
            around: Vec::new(),
            early: object("v1", "Pod", json!({}), json!({ "phase": "Failed", "reason": "Evicted" })),
            says: "Evicted: to be replaced",
            then: Vec::new(),
            ready: object("v1", "Pod", json!({}), json!({ "phase": "Succeeded" })),
        },
    ]
}
