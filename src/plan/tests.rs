//! What the planner decides, without a cluster.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::planner::{Desired, DesiredComponent, HostStep, Live, Observed, Phase, plan};
use super::{Plan, Reason, Stage, Verb};
use crate::model::object::Object;

fn object(value: Value) -> Arc<Object> {
    Arc::new(Object::from_value(value).unwrap())
}

fn named(api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> Arc<Object> {
    let mut value = json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": name } });
    if let Some(namespace) = namespace {
        value["metadata"]["namespace"] = json!(namespace);
    }
    object(value)
}

fn crd(group: &str, kind: &str) -> Arc<Object> {
    object(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{}s.{group}", kind.to_lowercase()) },
        "spec": { "group": group, "names": { "kind": kind }, "scope": "Namespaced" },
    }))
}

fn deployment(namespace: &str, name: &str, pod: &Value) -> Arc<Object> {
    object(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "namespace": namespace },
        "spec": { "template": { "spec": pod } },
    }))
}

fn component(name: &str, objects: Vec<(Stage, Arc<Object>)>) -> DesiredComponent {
    DesiredComponent {
        name: name.parse().unwrap(),
        objects,
        needs: Vec::new(),
        ignore_edges: Vec::new(),
        capabilities: Vec::new(),
        gates: Vec::new(),
        expect: Duration::from_secs(10),
        deadline: Duration::from_secs(600),
        may_be_empty: false,
        grace: None,
        stood_in: false,
    }
}

fn needing(mut component: DesiredComponent, needs: &[&str]) -> DesiredComponent {
    component.needs = needs.iter().map(|need| (*need).to_owned()).collect();
    component
}

fn of(components: Vec<DesiredComponent>) -> Desired {
    Desired { hosts: Vec::new(), components, allow_data_loss: false }
}

fn edges(plan: &Plan) -> Vec<String> {
    plan.edges
        .iter()
        .map(|edge| {
            format!(
                "{} {:?} -> {} {:?}: {}",
                plan.steps[edge.from].id, edge.milestone, plan.steps[edge.to].id, edge.blocks, edge.reason
            )
        })
        .collect()
}

#[test]
fn edges_are_found_in_objects_with_their_reasons() {
    let desired = of(vec![
        component(
            "app",
            vec![
                (Stage::Objects, named("db.example/v1", "Database", Some("team"), "orders")),
                (
                    Stage::Objects,
                    deployment(
                        "team",
                        "web",
                        &json!({ "serviceAccountName": "web", "priorityClassName": "high",
                            "volumes": [{ "secret": { "secretName": "tls" } }, { "configMap": { "name": "x", "optional": true } }] }),
                    ),
                ),
            ],
        ),
        component("operator", vec![(Stage::Crds, crd("db.example", "Database"))]),
        component(
            "base",
            vec![
                (Stage::Namespaces, named("v1", "Namespace", None, "team")),
                (Stage::Objects, named("v1", "Secret", Some("team"), "tls")),
                (Stage::Objects, named("v1", "ConfigMap", Some("team"), "x")),
                (Stage::Objects, named("scheduling.k8s.io/v1", "PriorityClass", None, "high")),
            ],
        ),
    ]);
    insta::assert_debug_snapshot!(edges(&plan(&desired, &Observed::default()).unwrap()), @r#"
        [
            "base/namespaces Applied -> base/objects Apply: stages go in order",
            "operator/crds Ready -> app/objects Apply: Database team/orders is a Database.db.example",
            "base/namespaces Applied -> app/objects Apply: Database team/orders is in namespace team",
            "base/objects Applied -> app/objects Apply: Deployment team/web uses PriorityClass high",
            "base/objects Applied -> app/objects Ready: Deployment team/web uses Secret team/tls",
        ]
    "#);
}

#[test]
fn a_stage_can_be_needed_and_a_capability() {
    let mut network = component(
        "network",
        vec![(Stage::Objects, deployment("kube-system", "cni", &json!({ "hostNetwork": true })))],
    );
    network.capabilities = vec!["cni".to_owned()];
    let desired = of(vec![
        network,
        needing(
            component("a", vec![(Stage::Objects, deployment("kube-system", "a", &json!({})))]),
            &["b/crds"],
        ),
        needing(
            component(
                "b",
                vec![
                    (Stage::Crds, crd("b.example", "B")),
                    (Stage::Objects, deployment("kube-system", "b", &json!({}))),
                ],
            ),
            &["cni"],
        ),
    ]);
    insta::assert_debug_snapshot!(edges(&plan(&desired, &Observed::default()).unwrap()), @r#"
        [
            "network/objects Ready -> b/crds Apply: needs: cni",
            "network/objects Ready -> a/objects Ready: Deployment kube-system/a has pods on the pod network",
            "b/crds Ready -> a/objects Apply: needs: b/crds",
            "network/objects Ready -> b/objects Ready: Deployment kube-system/b has pods on the pod network",
            "b/crds Ready -> b/objects Apply: stages go in order",
        ]
    "#);
}

#[test]
fn impossible_plans_name_object_kind_and_path() {
    let desired = of(vec![
        needing(component("a", vec![(Stage::Objects, named("v1", "ConfigMap", Some("x"), "a"))]), &["b"]),
        needing(component("b", vec![(Stage::Objects, named("v1", "ConfigMap", Some("x"), "b"))]), &["c"]),
        needing(
            component("c", vec![(Stage::Objects, named("v1", "ConfigMap", Some("x"), "c"))]),
            &["a", "storge"],
        ),
        component("d", vec![(Stage::Objects, named("nobody.example/v1", "Thing", Some("x"), "d"))]),
    ]);
    let errors: Vec<String> = plan(&desired, &Observed::default())
        .unwrap_err()
        .iter()
        .map(|error| format!("{}: {error}; {}", error.code(), error.hint()))
        .collect();
    insta::assert_debug_snapshot!(errors, @r#"
        [
            "C2501: component `d`: Thing x/d is a Thing.nobody.example, which no component provides and the cluster does not serve; enable the component that brings this kind, or install its CustomResourceDefinition",
            "C2502: component `c` needs `storge`, which no enabled component is or provides; enable that component in cozy.yaml, or mend `needs:` in component.yaml",
            "C2503: steps wait for each other: a/objects → c/objects (needs: a) → b/objects (needs: c) → a/objects (needs: b); take one of the written `needs:` out, or stop it at a stage such as `needs: [x/crds]`",
        ]
    "#);
}

#[test]
fn an_inferred_ready_edge_that_closes_a_cycle_is_dropped_and_named() {
    let pod = |account: &str| json!({ "serviceAccountName": account });
    let both = |name: &str, other: &str| {
        needing(
            component(
                name,
                vec![
                    (Stage::Objects, deployment("x", name, &pod(other))),
                    (Stage::Resources, named("v1", "ServiceAccount", Some("x"), name)),
                ],
            ),
            &[],
        )
    };
    let plan = plan(&of(vec![both("a", "b"), both("b", "a")]), &Observed::default()).unwrap();
    assert_eq!(plan.dropped.len(), 1);
    assert_eq!(plan.dropped[0].reason.to_string(), "Deployment x/b uses ServiceAccount x/a");
}

#[test]
fn what_is_there_is_kept_what_differs_updated_what_is_gone_deleted_but_for_data() {
    let config = |name: &str| named("v1", "ConfigMap", Some("x"), name);
    let (same, changed, new, gone) = (config("same"), config("changed"), config("new"), config("gone"));
    let desired = of(vec![component(
        "app",
        [&same, &changed, &new].map(|object| (Stage::Objects, Arc::clone(object))).into(),
    )]);
    let mut observed = Observed::default();
    observed.objects.insert(same.id.clone(), Live { same: true, ready: true, ..Live::default() });
    observed.objects.insert(changed.id.clone(), Live { same: false, ready: true, ..Live::default() });
    let claim = named("v1", "PersistentVolumeClaim", Some("x"), "data");
    observed
        .inventories
        .insert("app".parse().unwrap(), vec![same.id.clone(), gone.id.clone(), claim.id.clone()]);
    let plan = super::planner::plan(&desired, &observed).unwrap();
    let verbs: Vec<(String, Verb)> = plan
        .steps
        .iter()
        .flat_map(|step| &step.actions)
        .map(|action| (action.id.name.clone(), action.verb))
        .collect();
    let expected =
        [("same", Verb::Keep), ("changed", Verb::Update), ("new", Verb::Create), ("gone", Verb::Delete)];
    assert_eq!(verbs, expected.map(|(name, verb)| (name.to_owned(), verb)));
    assert!(!plan.is_empty());
}

#[test]
fn a_plan_with_nothing_to_do_is_empty() {
    let object = named("v1", "ConfigMap", Some("x"), "a");
    let desired = of(vec![component("app", vec![(Stage::Objects, Arc::clone(&object))])]);
    let mut observed = Observed::default();
    observed.objects.insert(object.id.clone(), Live { same: true, ready: true, ..Live::default() });
    observed.inventories.insert("app".parse().unwrap(), vec![object.id.clone()]);
    assert!(plan(&desired, &observed).unwrap().is_empty());
}

#[test]
fn the_critical_path_is_the_longest_chain_of_expected_times() {
    let workload = |name: &str, seconds| {
        let mut made = component(name, vec![(Stage::Objects, deployment("kube-system", name, &json!({})))]);
        made.expect = Duration::from_secs(seconds);
        made
    };
    let mut desired = of(vec![
        workload("short", 1),
        workload("long", 100),
        needing(workload("after-short", 50), &["short"]),
        needing(workload("after-long", 5), &["long"]),
    ]);
    let host = |host: &str, phase, needs, seconds| HostStep {
        host: host.to_owned(),
        phase,
        needs,
        work: vec!["something".to_owned()],
        expect: Duration::from_secs(seconds),
        done: false,
    };
    // A server that joins late holds nobody back.
    desired.hosts = vec![
        host("a", Phase::Prepare, Vec::new(), 20),
        host("a", Phase::Init, vec![(0, Reason::StageOrder)], 40),
        host("b", Phase::Join, vec![(1, Reason::Kubernetes)], 15),
    ];
    let plan = plan(&desired, &Observed::default()).unwrap();
    let path: Vec<String> = plan.critical_path.iter().map(|step| plan.steps[*step].id.to_string()).collect();
    assert_eq!(path, ["kubernetes/a/prepare", "kubernetes/a/init", "long/objects", "after-long/objects"]);
    assert_eq!(plan.expected.as_secs(), 165);
    for edge in &plan.edges {
        assert!(edge.blocks == super::Blocks::Ready || edge.from < edge.to);
    }
}
