//! What webhooks and admission policies judge, and what comes before them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Stage;
use super::facility::Facility;
use super::planner::{Desired, Observed, plan};
use super::tests::{component, crd, deployment, edges, named, object, of};
use crate::model::object::Object;

pub(super) fn webhook(rules: &Value, rest: &Value) -> Arc<Object> {
    let mut webhook = json!({
        "name": "judge.example.org", "rules": [rules],
        "clientConfig": { "service": { "namespace": "judge", "name": "judge" } },
    });
    webhook.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    object(json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": "judge" }, "webhooks": [webhook],
    }))
}

pub(super) fn any_rule() -> Value {
    json!({ "apiGroups": ["*"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["*"] })
}

/// A cloud in which `judge` brings an admission configuration, and `app` what may be judged.
fn judged(guards: Vec<Arc<Object>>) -> Vec<String> {
    let mut team = Object::clone(&named("v1", "Namespace", None, "team"));
    team.value["metadata"]["labels"] = json!({ "judged": "yes" });
    let mut crd = Object::clone(&crd("db.example", "Database"));
    crd.value["spec"]["names"]["plural"] = json!("databases");
    let mut labelled = Object::clone(&named("v1", "ConfigMap", Some("team"), "labelled"));
    labelled.value["metadata"]["labels"] = json!({ "tier": "web" });
    let mut objects = vec![
        (Stage::Namespaces, named("v1", "Namespace", None, "judge")),
        (Stage::Objects, named("v1", "Service", Some("judge"), "judge")),
    ];
    objects.extend(guards.into_iter().map(|guard| (Stage::Webhooks, guard)));
    let desired = of(vec![
        component("judge", objects),
        component(
            "app",
            vec![
                (Stage::Namespaces, Arc::new(team)),
                (Stage::Crds, Arc::new(crd)),
                (Stage::Objects, Arc::new(labelled)),
                (Stage::Resources, named("db.example/v1", "Database", Some("team"), "orders")),
                (
                    Stage::Webhooks,
                    named("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", None, "own"),
                ),
            ],
        ),
    ]);
    let plan = plan(&desired, &Observed::default()).unwrap();
    edges(&plan).into_iter().filter(|edge| edge.contains("is judged by")).collect()
}

#[test]
fn what_a_fail_closed_webhook_judges_comes_after_it() {
    let judged_by = |rules: &Value, rest: &Value| judged(vec![webhook(rules, rest)]);
    let all = judged_by(&any_rule(), &json!({}));
    assert_eq!(all.len(), 4, "namespaces, CRDs, objects, resources, and no admission policy: {all:?}");
    assert!(all.iter().all(|edge| edge.starts_with("judge/webhooks Ready -> app/")), "{all:?}");
    let with = |key: &str, value: Value| {
        let mut rules = any_rule();
        rules[key] = value;
        judged_by(&rules, &json!({})).len()
    };
    assert_eq!(with("apiGroups", json!(["db.example"])), 1);
    assert_eq!(with("apiGroups", json!(["other.example"])), 0);
    assert_eq!(with("resources", json!(["databases", "configmaps/status"])), 1);
    assert_eq!(with("resources", json!(["databases/*"])), 1, "with its subresources");
    assert_eq!(with("resources", json!(["databases/status", "*/scale"])), 0, "a subresource alone");
    assert_eq!(with("resources", json!(["*/*"])), 4);
    assert_eq!(with("scope", json!("Namespaced")), 2);
    assert_eq!(with("scope", json!("Cluster")), 2);
    assert_eq!(with("operations", json!(["DELETE"])), 0);
    assert_eq!(with("apiVersions", json!(["v2"])), 4, "other versions of a kind are judged as well");
    let exact = json!({ "matchPolicy": "Exact" });
    assert_eq!(
        judged_by(
            &json!({ "apiGroups": ["*"], "apiVersions": ["v2"], "operations": ["*"], "resources": ["*"] }),
            &exact
        )
        .len(),
        0
    );
    let rest = |rest: Value| judged_by(&any_rule(), &rest).len();
    assert_eq!(rest(json!({ "failurePolicy": "Ignore" })), 0);
    assert_eq!(rest(json!({ "objectSelector": { "matchLabels": { "tier": "web" } } })), 1);
    assert_eq!(
        rest(json!({ "objectSelector": { "matchExpressions": [{ "key": "tier", "operator": "Exists" }] } })),
        1
    );
    // Selected by namespace: the namespace itself and what is in it; the CRD is in none.
    assert_eq!(rest(json!({ "namespaceSelector": { "matchLabels": { "judged": "yes" } } })), 4);
    assert_eq!(rest(json!({ "namespaceSelector": { "matchLabels": { "judged": "no" } } })), 1);
    let by_name = json!({ "matchExpressions": [{ "key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["team"] }] });
    assert_eq!(rest(json!({ "namespaceSelector": by_name })), 1);
}

#[test]
fn an_admission_policy_judges_when_it_is_bound() {
    let policy = object(json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": { "name": "p" },
        "spec": { "matchConstraints": { "resourceRules": [any_rule()],
            "excludeResourceRules": [{ "apiGroups": ["db.example"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"] }] } },
    }));
    let binding = object(json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": "b" }, "spec": { "policyName": "p" },
    }));
    assert_eq!(judged(vec![Arc::clone(&policy)]).len(), 0);
    assert_eq!(judged(vec![policy, binding]).len(), 3);
}

/// What `judge` calls, applied by another component than what its pods answer with.
fn split(selected: &Value) -> Vec<String> {
    let mut service = Object::clone(&named("v1", "Service", Some("judge"), "judge"));
    service.value["spec"] = json!({ "selector": { "app": "judge" } });
    let mut pods = Object::clone(&deployment("judge", "judge", &json!({ "hostNetwork": true })));
    pods.value["spec"]["template"]["metadata"] = json!({ "labels": selected });
    let judge = component(
        "c",
        vec![(Stage::Objects, Arc::new(service)), (Stage::Webhooks, webhook(&any_rule(), &json!({})))],
    );
    let backend = component(
        "d",
        vec![
            (Stage::Objects, Arc::new(pods)),
            (Stage::Objects, named("v1", "ConfigMap", Some("judge"), "beside")),
            (Stage::Resources, named("v1", "ConfigMap", Some("judge"), "later")),
        ],
    );
    let plan = plan(&of(vec![judge, backend]), &Observed::default()).unwrap();
    edges(&plan).into_iter().filter(|edge| edge.contains("d/")).collect()
}

#[test]
fn a_webhook_waits_for_the_pods_that_its_service_selects_and_judges_what_comes_after_them() {
    insta::assert_debug_snapshot!(split(&json!({ "app": "judge", "more": "too" })), @r#"
    [
        "d/objects Ready -> c/webhooks Apply: ValidatingWebhookConfiguration judge is answered by Service judge/judge",
        "d/objects Ready -> d/resources Apply: stages go in order",
        "c/webhooks Ready -> d/resources Apply: ConfigMap judge/later is judged by ValidatingWebhookConfiguration judge",
    ]
    "#);
    let apart = split(&json!({ "app": "other" }));
    assert!(!apart.iter().any(|edge| edge.contains("-> c/webhooks")), "{apart:?}");
}

#[test]
fn a_fail_closed_webhook_that_nobody_answers_is_refused() {
    let judge =
        |rest: &Value, rules: &Value| of(vec![component("c", vec![(Stage::Webhooks, webhook(rules, rest))])]);
    let errors = |desired: &Desired, observed: &Observed| -> Vec<String> {
        let errors = plan(desired, observed).err().unwrap_or_default();
        errors.iter().map(|error| format!("{}: {error}", error.code())).collect()
    };
    let closed = judge(&json!({}), &any_rule());
    let said = errors(&closed, &Observed::nothing(false));
    insta::assert_debug_snapshot!(said, @r#"
    [
        "C2513: component `c`: ValidatingWebhookConfiguration judge is answered by Service judge/judge, which is neither in the plan nor known to be in the cluster: it would refuse all that it judges",
    ]
    "#);
    assert_eq!(errors(&closed, &Observed::nothing(true)), said, "a cluster that nobody looked at");
    let service = Facility::Service { namespace: "judge".to_owned(), name: "judge".to_owned() };
    let there = Observed { provided: Some([service].into()), ..Observed::default() };
    assert!(errors(&closed, &there).is_empty());
    let open = judge(&json!({ "failurePolicy": "Ignore" }), &any_rule());
    assert!(errors(&open, &Observed::nothing(false)).is_empty());
}

#[test]
fn a_webhook_waits_for_its_backend_and_gives_way_to_what_that_needs() {
    // The backend needs the network, and the webhook would judge the network's objects.
    let mut network = component(
        "network",
        vec![(Stage::Objects, deployment("kube-system", "cni", &json!({ "hostNetwork": true })))],
    );
    network.provides.capabilities = vec!["cni".to_owned()];
    let judge = component(
        "judge",
        vec![
            (Stage::Objects, named("v1", "Service", Some("judge"), "judge")),
            (Stage::Objects, deployment("judge", "judge", &json!({}))),
            (Stage::Webhooks, webhook(&any_rule(), &json!({}))),
        ],
    );
    let app = component("app", vec![(Stage::Objects, named("v1", "ConfigMap", Some("default"), "a"))]);
    let plan = plan(&of(vec![network, judge, app]), &Observed::default()).unwrap();
    insta::assert_debug_snapshot!(edges(&plan), @r#"
        [
            "network/objects Ready -> judge/objects Ready: Deployment judge/judge has pods on the pod network",
            "judge/objects Applied -> judge/webhooks Apply: stages go in order",
            "judge/objects Ready -> judge/webhooks Apply: ValidatingWebhookConfiguration judge is answered by Service judge/judge",
            "judge/webhooks Ready -> app/objects Apply: ConfigMap default/a is judged by ValidatingWebhookConfiguration judge",
        ]
    "#);
    let dropped: Vec<_> = plan.dropped.iter().map(|edge| edge.reason.to_string()).collect();
    insta::assert_debug_snapshot!(dropped, @r#"
        [
            "Deployment kube-system/cni is judged by ValidatingWebhookConfiguration judge",
        ]
    "#);
}
