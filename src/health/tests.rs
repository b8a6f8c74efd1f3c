//! The rules, as tables.

use super::around::Nothing;
use super::*;
use serde_json::json;

#[expect(clippy::needless_pass_by_value, reason = "tables of literals read better")]
fn of(object: Value) -> String {
    match health(&object, Context { may_be_empty: false, around: &Nothing }) {
        Health::Ready => "ready".to_owned(),
        Health::Progressing(reason) => format!("progressing: {reason}"),
        Health::Stuck(soft) => format!("stuck: {}", soft.message),
        Health::Failed(reason) => format!("failed: {reason}"),
        Health::Unknown => "unknown".to_owned(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "tables of literals read better")]
fn with_status(api_version: &str, kind: &str, status: Value) -> Value {
    json!({ "apiVersion": api_version, "kind": kind, "metadata": { "generation": 2 }, "status": status })
}

#[test]
fn what_is_being_deleted_or_stale_is_not_ready() {
    assert_eq!(
        of(
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" } })
        ),
        "progressing: it is being deleted"
    );
    assert_eq!(
        of(with_status(
            "x.example/v1",
            "Thing",
            json!({ "observedGeneration": 1, "conditions": [{ "type": "Ready", "status": "True" }] })
        )),
        "progressing: generation 2 not observed yet (status is of 1)"
    );
}

#[test]
fn a_status_that_does_not_say_of_which_generation_it_is_may_be_of_before() {
    let thing = |status: Value| with_status("x.example/v1", "Thing", status);
    let ready = json!([{ "type": "Ready", "status": "True" }]);
    assert!(
        is_undated(&thing(json!({ "conditions": ready }))) && is_undated(&thing(json!({ "phase": "Ready" })))
    );
    assert!(!is_undated(&thing(json!({ "conditions": ready, "observedGeneration": 2 }))));
    let dated = json!([{ "type": "Ready", "status": "True", "observedGeneration": 2 }]);
    assert!(!is_undated(&thing(json!({ "conditions": dated }))));
    // Nothing to be of before: no status at all, or never another generation; built-in kinds have rules of their own.
    assert!(!is_undated(&thing(json!({}))));
    let mut first = thing(json!({ "phase": "Ready" }));
    first["metadata"]["generation"] = json!(1);
    assert!(!is_undated(&first));
    assert!(!is_undated(&with_status("v1", "Pod", json!({ "phase": "Ready" }))));
}

#[test]
fn a_custom_resource_without_status_is_never_ready() {
    let conditions = |list: Value| with_status("x.example/v1", "Thing", json!({ "conditions": list }));
    assert_eq!(of(json!({ "apiVersion": "x.example/v1", "kind": "Thing", "metadata": {} })), "unknown");
    assert_eq!(of(conditions(json!([{ "type": "Ready", "status": "True" }]))), "ready");
    assert_eq!(
        of(conditions(
            json!([{ "type": "Ready", "status": "False", "reason": "Pending", "message": "wait" }])
        )),
        "progressing: Ready=False: Pending: wait"
    );
    assert_eq!(
        of(conditions(json!([{ "type": "Ready", "status": "True", "observedGeneration": 1 }]))),
        "progressing: Ready is of an older generation"
    );
    assert_eq!(
        of(conditions(json!([{ "type": "Stalled", "status": "True", "reason": "No" }]))),
        "failed: Stalled=True: No"
    );
}

#[test]
fn definitions_services_and_namespaces_have_their_rules() {
    let crd = |list: Value| {
        with_status("apiextensions.k8s.io/v1", "CustomResourceDefinition", json!({ "conditions": list }))
    };
    assert_eq!(of(crd(json!([]))), "progressing: not established yet");
    assert_eq!(
        of(crd(
            json!([{ "type": "Established", "status": "True" }, { "type": "NamesAccepted", "status": "True" }])
        )),
        "ready"
    );
    assert_eq!(
        of(crd(json!([{ "type": "NamesAccepted", "status": "False", "reason": "PluralConflict" }]))),
        "stuck: NamesAccepted=False: PluralConflict"
    );
    let balancer = |status: Value| json!({ "apiVersion": "v1", "kind": "Service", "spec": { "type": "LoadBalancer" }, "status": status });
    assert_eq!(of(balancer(json!({ "loadBalancer": {} }))), "progressing: no load-balancer address yet");
    assert_eq!(of(balancer(json!({ "loadBalancer": { "ingress": [{ "ip": "10.0.0.1" }] } }))), "ready");
    assert_eq!(
        of(with_status("v1", "Namespace", json!({ "phase": "Terminating" }))),
        "progressing: phase Terminating"
    );
}

#[test]
fn fields_of_wrong_types_count_as_missing() {
    for status in
        [json!(null), json!("x"), json!([1]), json!({ "conditions": "x", "replicas": "3", "phase": 7 })]
    {
        for (api_version, kind) in [
            ("apps/v1", "Deployment"),
            ("apps/v1", "StatefulSet"),
            ("apps/v1", "DaemonSet"),
            ("batch/v1", "Job"),
            ("v1", "Pod"),
            ("v1", "PersistentVolumeClaim"),
            ("v1", "Namespace"),
        ] {
            assert!(
                of(with_status(api_version, kind, status.clone())).starts_with("progressing"),
                "{kind} {status}"
            );
        }
    }
}

#[test]
fn an_autoscaler_of_any_version_is_ready_once_it_is_observed() {
    let scaler = |version: &str, annotations: Value, status: Value| {
        let metadata = json!({ "annotations": annotations });
        json!({ "apiVersion": version, "kind": "HorizontalPodAutoscaler", "metadata": metadata, "status": status })
    };
    let waits = "progressing: not observed by its controller yet";
    // A fresh one has zeros, and the conditions of v1 are an annotation.
    let zeros = json!({ "currentReplicas": 0, "desiredReplicas": 0 });
    assert_eq!(of(scaler("autoscaling/v1", json!({}), zeros.clone())), waits);
    let said = |text: &str| json!({ "autoscaling.alpha.kubernetes.io/conditions": text });
    assert_eq!(of(scaler("autoscaling/v1", said("[]"), zeros.clone())), waits);
    let observed = r#"[{"type":"AbleToScale","status":"True"}]"#;
    assert_eq!(of(scaler("autoscaling/v1", said(observed), zeros)), "ready");
    let conditions = |list: Value| scaler("autoscaling/v2", json!({}), json!({ "conditions": list }));
    assert_eq!(of(conditions(json!([]))), waits);
    assert_eq!(of(conditions(json!([{ "type": "AbleToScale", "status": "False" }]))), "ready");
}

/// Found by reading: with a gate of its own nothing else was asked, and a Certificate whose spec had just changed was
/// ready by what was said of the one before.
#[test]
fn what_holds_for_all_holds_for_objects_with_gates_too() {
    let gate =
        cel::Gate::parse("object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')");
    let gate = gate.unwrap();
    let judged = |metadata: Value, mut status: Value, more: Value| {
        if let Some(conditions) = status["conditions"].as_array_mut() {
            conditions.extend(more.as_array().cloned().unwrap_or_default());
        }
        let object =
            json!({ "apiVersion": "x.example/v1", "kind": "Thing", "metadata": metadata, "status": status });
        judge(&object, [("Thing", &gate)], Context { may_be_empty: false, around: &Nothing })
    };
    let ready = || json!({ "conditions": [{ "type": "Ready", "status": "True" }] });
    let progressing = |words: &str| Ok(Health::Progressing(words.to_owned()));
    let second = || json!({ "generation": 2 });
    assert_eq!(judged(second(), ready(), json!([])), Ok(Health::Ready));
    let mut of_first = ready();
    of_first["observedGeneration"] = json!(1);
    assert_eq!(
        judged(second(), of_first, json!([])),
        progressing("generation 2 not observed yet (status is of 1)")
    );
    let going = json!({ "generation": 2, "deletionTimestamp": "2026-01-01T00:00:00Z" });
    assert_eq!(judged(going, ready(), json!([])), progressing("it is being deleted"));
    let stalled = json!([{ "type": "Stalled", "status": "True", "reason": "No" }]);
    assert_eq!(judged(second(), ready(), stalled), Ok(Health::Failed("Stalled=True: No".to_owned())));
    let at_work = json!([{ "type": "Reconciling", "status": "True" }]);
    assert_eq!(judged(second(), ready(), at_work), progressing("Reconciling=True"));
    // Of the condition itself, too: only what is said of this generation counts.
    let old = json!({ "conditions": [{ "type": "Ready", "status": "True", "observedGeneration": 1 }] });
    assert_eq!(judged(second(), old, json!([])), progressing("the gate of Thing does not hold yet"));
    let new = json!({ "conditions": [{ "type": "Ready", "status": "True", "observedGeneration": 2 }] });
    assert_eq!(judged(second(), new, json!([])), Ok(Health::Ready));
}
