//! What the planner decides, without a cluster.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::facility::Facility;
use super::live::Live;
use super::planner::{Allowed, Desired, DesiredComponent, HostStep, Observed, Phase, Verdict, plan};
use super::savings::{self, Culprit};
use super::{Plan, Reason, Stage, Verb};
use crate::model::component::Provides;
use crate::model::object::Object;

pub(super) fn object(value: Value) -> Arc<Object> {
    Arc::new(Object::from_value(value).unwrap())
}

pub(super) fn named(api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> Arc<Object> {
    let mut value = json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": name } });
    if let Some(namespace) = namespace {
        value["metadata"]["namespace"] = json!(namespace);
    }
    object(value)
}

pub(super) fn crd(group: &str, kind: &str) -> Arc<Object> {
    object(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{}s.{group}", kind.to_lowercase()) },
        "spec": { "group": group, "names": { "kind": kind }, "scope": "Namespaced" },
    }))
}

pub(super) fn deployment(namespace: &str, name: &str, pod: &Value) -> Arc<Object> {
    object(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "namespace": namespace },
        "spec": { "template": { "spec": pod } },
    }))
}

/// A component that says nothing of itself.
pub(crate) fn component(name: &str, objects: Vec<(Stage, Arc<Object>)>) -> DesiredComponent {
    DesiredComponent {
        name: name.parse().unwrap(),
        namespace: None,
        objects,
        needs: Vec::new(),
        ignore_edges: Vec::new(),
        provides: Provides::default(),
        gates: Vec::new(),
        expect: Duration::from_secs(10),
        deadline: Duration::from_secs(600),
        may_be_empty: false,
        grace: None,
        stood_in: false,
        idle: Vec::new(),
    }
}

fn needing(mut component: DesiredComponent, needs: &[&str]) -> DesiredComponent {
    component.needs = needs.iter().map(|need| (*need).to_owned()).collect();
    component
}

pub(crate) fn of(components: Vec<DesiredComponent>) -> Desired {
    Desired {
        hosts: Vec::new(),
        components,
        autoscaled: std::collections::BTreeSet::new(),
        allowed: Allowed::default(),
        load_balancer_pool: true,
        unwanted: std::collections::BTreeSet::new(),
        cloud: None,
    }
}

/// A cluster with nothing but the namespaces that these tests use.
pub(super) fn bare() -> Observed {
    let namespaces = ["net", "x"].map(|name| Facility::Namespace(name.to_owned()));
    Observed { provided: Some(namespaces.into()), ..Observed::nothing(false) }
}

/// An object that is as wanted.
pub(super) fn as_wanted() -> Live {
    Live { verdict: Verdict::Same, ready: true, recorded: true, ..Live::default() }
}

pub(super) fn edges(plan: &Plan) -> Vec<String> {
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
    network.provides.capabilities = vec!["cni".to_owned()];
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
fn what_a_component_needs_may_be_in_its_namespace() {
    let within = |name: &str| (Stage::Objects, named("v1", "ConfigMap", Some("ns"), name));
    let first = vec![
        (Stage::Generated, named("v1", "Secret", Some("cozy-system"), "generated")),
        (Stage::Namespaces, named("v1", "Namespace", None, "ns")),
        within("x"),
    ];
    let desired = of(vec![needing(component("c", first), &["d"]), component("d", vec![within("y")])]);
    insta::assert_debug_snapshot!(edges(&plan(&desired, &Observed::default()).unwrap()), @r#"
        [
            "c/generated Applied -> c/namespaces Apply: stages go in order",
            "c/namespaces Applied -> d/objects Apply: ConfigMap ns/y is in namespace ns",
            "c/namespaces Applied -> c/objects Apply: stages go in order",
            "d/objects Ready -> c/objects Apply: needs: d",
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
    let errors: Vec<String> = plan(&desired, &bare())
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
    observed.objects.insert(same.id.clone(), as_wanted());
    observed.objects.insert(changed.id.clone(), Live { ready: true, ..Live::default() });
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
    observed.objects.insert(object.id.clone(), as_wanted());
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

#[test]
fn what_is_used_by_a_general_name_comes_from_a_component_or_the_cluster() {
    let uses = || {
        vec![
            (
                Stage::Objects,
                object(
                    json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "a", "namespace": "x" },
            "spec": { "type": "LoadBalancer" } }),
                ),
            ),
            (
                Stage::Objects,
                object(
                    json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "b", "namespace": "x" },
            "spec": { "storageClassName": "fast" } }),
                ),
            ),
            (
                Stage::Objects,
                object(
                    json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "c", "namespace": "x" },
            "spec": { "template": { "spec": { "hostNetwork": true } }, "volumeClaimTemplates": [{ "spec": {} }] } }),
                ),
            ),
            (
                Stage::Objects,
                object(json!({ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": { "name": "d", "namespace": "x", "annotations": { "cert-manager.io/cluster-issuer": "letsencrypt" } },
            "spec": { "ingressClassName": "nginx" } })),
            ),
        ]
    };
    let mut provider = component(
        "provider",
        vec![
            (
                Stage::Objects,
                object(
                    json!({ "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": { "name": "fast",
            "annotations": { "storageclass.kubernetes.io/is-default-class": "true" } } }),
                ),
            ),
            (Stage::Crds, crd("cert-manager.io", "ClusterIssuer")),
            (Stage::Resources, named("cert-manager.io/v1", "ClusterIssuer", None, "letsencrypt")),
        ],
    );
    provider.objects.sort_by_key(|(stage, _)| *stage);
    provider.provides.capabilities = vec!["load-balancer".to_owned()];
    provider.provides.ingress_classes = vec!["nginx".to_owned()];
    let whole = of(vec![component("app", uses()), provider]);
    let edges = edges(&plan(&whole, &bare()).unwrap());
    insta::assert_debug_snapshot!(edges.iter().filter(|edge| edge.contains("uses")).collect::<Vec<_>>(), @r#"
        [
            "provider/resources Ready -> app/objects Ready: PersistentVolumeClaim x/b uses StorageClass fast",
            "provider/resources Ready -> app/objects Ready: Service x/a uses a load-balancer address",
            "provider/resources Ready -> app/objects Ready: StatefulSet x/c uses the default StorageClass",
            "provider/resources Ready -> app/objects Ready: Ingress x/d uses IngressClass nginx",
            "provider/resources Ready -> app/objects Ready: Ingress x/d uses ClusterIssuer letsencrypt",
        ]
    "#);
    let problems = |desired: &Desired, observed: &Observed| match plan(desired, observed) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(|error| format!("{}: {error}", error.code())).collect::<Vec<_>>(),
    };
    let alone = of(vec![component("app", uses())]);
    insta::assert_debug_snapshot!(problems(&alone, &bare()), @r#"
        [
            "C2504: component `app`: Service x/a uses a load-balancer address, which no enabled component provides and the cluster does not have",
            "C2504: component `app`: Ingress x/d uses IngressClass nginx, which no enabled component provides and the cluster does not have",
            "C2504: component `app`: Ingress x/d uses ClusterIssuer letsencrypt, which no enabled component provides and the cluster does not have",
        ]
    "#);
    assert!(
        problems(&alone, &Observed::nothing(true)).is_empty(),
        "a cluster that nobody asked may have all of it"
    );
    let has = |facilities: Vec<Facility>| Observed {
        provided: Some(facilities.into_iter().collect()),
        ..Observed::default()
    };
    let cluster = has(vec![
        Facility::LoadBalancer,
        Facility::IngressClass("nginx".to_owned()),
        Facility::ClusterIssuer("letsencrypt".to_owned()),
        Facility::Namespace("x".to_owned()),
    ]);
    assert!(problems(&alone, &cluster).is_empty());
    let no_pool = Desired { load_balancer_pool: false, ..whole.clone() };
    insta::assert_debug_snapshot!(problems(&no_pool, &bare()), @r#"
        [
            "C2505: component `app`: Service x/a is of type LoadBalancer, and `network.loadBalancer` names no addresses",
        ]
    "#);
    assert!(problems(&no_pool, &cluster).is_empty());
    let mut ignoring = no_pool;
    ignoring.components[0].ignore_edges = vec!["provider".parse().unwrap()];
    assert!(problems(&ignoring, &bare()).is_empty());
}

#[test]
fn objects_of_an_aggregated_api_come_after_its_server() {
    let api = object(
        json!({ "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": { "name": "v1.agg.example" },
        "spec": { "group": "agg.example", "version": "v1", "service": { "namespace": "x", "name": "server" } } }),
    );
    let server = component(
        "server",
        vec![(Stage::Objects, named("v1", "Service", Some("x"), "server")), (Stage::Webhooks, api)],
    );
    let app = component("app", vec![(Stage::Objects, named("agg.example/v1", "Thing", Some("x"), "thing"))]);
    let plan = plan(&of(vec![app, server]), &bare()).unwrap();
    insta::assert_debug_snapshot!(edges(&plan), @r#"
        [
            "server/objects Applied -> server/webhooks Apply: stages go in order",
            "server/objects Ready -> server/webhooks Apply: APIService v1.agg.example is answered by Service x/server",
            "server/webhooks Ready -> app/objects Apply: Thing x/thing is served by APIService v1.agg.example",
        ]
    "#);
}

#[test]
fn a_capability_of_the_cluster_can_be_needed() {
    let app = || {
        vec![needing(
            component("app", vec![(Stage::Objects, named("v1", "ConfigMap", Some("x"), "a"))]),
            &["dns"],
        )]
    };
    let mut with_dns = bare();
    with_dns.provided.get_or_insert_default().insert(Facility::Capability("dns".to_owned()));
    assert!(plan(&of(app()), &with_dns).is_ok());
    assert!(plan(&of(app()), &bare()).is_err());
}

#[test]
fn what_costs_most_is_named_with_what_it_saves() {
    // slow (60 s) and quick (10 s) go side by side, app (5 s) comes after both.
    let with = |mut component: DesiredComponent, seconds: u64| {
        component.expect = Duration::from_secs(seconds);
        component
    };
    let pods = |name: &str| vec![(Stage::Objects, deployment("x", name, &json!({ "hostNetwork": true })))];
    let desired = of(vec![
        with(component("slow", pods("slow")), 60),
        with(component("quick", pods("quick")), 10),
        with(needing(component("app", pods("app")), &["slow", "quick"]), 5),
    ]);
    let plan = plan(&desired, &bare()).unwrap();
    let costs = savings::expected(&plan);
    let said: Vec<String> = savings::savings(&plan, &costs)
        .iter()
        .map(|saving| {
            let what = match saving.what {
                Culprit::Step(step) => plan.steps[step].id.to_string(),
                Culprit::Edge(edge) => plan.edges[edge].reason.to_string(),
            };
            format!("{what}: {}s", saving.saves.as_secs())
        })
        .collect();
    assert_eq!(said, ["slow/objects: 50s", "app/objects: 5s", "needs: slow: 5s"]);
    let times = savings::times(&plan, &costs);
    assert_eq!(times.iter().map(|times| times.ready.as_secs()).max(), Some(65));
    let measured: Vec<_> = times.into_iter().map(Some).collect();
    assert_eq!(savings::measured(&plan, &measured), costs);
}

/// Found by reading: a version that the cluster does not serve was waited for until the deadline.
#[test]
fn a_version_that_the_cluster_does_not_serve_is_refused() {
    let thing = |version: &str| named(&format!("x.example/{version}"), "Thing", Some("x"), "a");
    let app = |version: &str| component("app", vec![(Stage::Objects, thing(version))]);
    let kind = thing("v1").id.kind.clone();
    let versions = |all: &[&str]| all.iter().map(|version| (*version).to_owned()).collect();
    let cluster = Observed { served: Some([(kind, versions(&["v1", "v1alpha1"]))].into()), ..bare() };
    assert!(plan(&of(vec![app("v1")]), &cluster).is_ok());
    let errors = plan(&of(vec![app("v1beta1")]), &cluster).unwrap_err();
    let said: Vec<String> = errors.iter().map(|error| format!("{error}; {}", error.hint())).collect();
    insta::assert_debug_snapshot!(said, @r#"
        [
            "component `app`: Thing x/a is written as `x.example/v1beta1`, and Thing is served as `x.example/v1` and `x.example/v1alpha1` only; write `apiVersion: x.example/v1`",
        ]
    "#);
    // A component may bring it.
    let operator = component("operator", vec![(Stage::Crds, crd("x.example", "Thing"))]);
    assert!(plan(&of(vec![app("v1beta1"), operator]), &cluster).is_ok());
    // Built-in kinds, too: a release may have them at other versions than are known here.
    let early =
        component("app", vec![(Stage::Objects, named("resource.k8s.io/v1", "DeviceClass", None, "a"))]);
    let kind = early.objects[0].1.id.kind.clone();
    let older = Observed { served: Some([(kind, versions(&["v1beta1"]))].into()), ..bare() };
    let errors = plan(&of(vec![early]), &older).unwrap_err();
    assert!(errors[0].hint().contains("resource.k8s.io/v1beta1"), "{}", errors[0].hint());
}

#[test]
fn a_written_need_that_the_objects_imply_is_told() {
    let cr = || (Stage::Objects, named("db.example/v1", "Database", Some("x"), "orders"));
    let map = || (Stage::Objects, named("v1", "ConfigMap", Some("x"), "a"));
    let desired = of(vec![
        needing(component("app", vec![cr()]), &["operator/crds"]),
        needing(component("other", vec![map()]), &["operator/crds"]),
        component("operator", vec![(Stage::Crds, crd("db.example", "Database"))]),
    ]);
    let plan = plan(&desired, &bare()).unwrap();
    assert_eq!(plan.implied_needs(), [("app", "operator/crds")]);
}

#[test]
fn a_node_is_ready_after_the_pod_network_and_before_where_nobody_brings_one() {
    let host = |phase, needs, done| HostStep {
        host: "a".to_owned(),
        phase,
        needs,
        work: Vec::new(),
        expect: Duration::from_secs(8),
        done,
    };
    let into_ready = |brings: bool, done: bool| {
        let pods = json!({ "hostNetwork": true });
        let mut network =
            component("network", vec![(Stage::Objects, deployment("kube-system", "cni", &pods))]);
        network.provides.capabilities = if brings { vec!["cni".to_owned()] } else { Vec::new() };
        let mut desired = of(vec![network]);
        let ready = host(Phase::Ready, vec![(0, Reason::StageOrder)], done);
        desired.hosts = vec![host(Phase::Init, Vec::new(), done), ready];
        let plan = plan(&desired, &bare()).unwrap();
        let all = edges(&plan).into_iter().filter(|edge| edge.contains("-> kubernetes/a/ready"));
        (all.collect::<Vec<_>>(), plan.expected.as_secs())
    };
    insta::assert_debug_snapshot!(into_ready(true, false), @r#"
    (
        [
            "kubernetes/a/init Ready -> kubernetes/a/ready Apply: stages go in order",
            "network/objects Ready -> kubernetes/a/ready Apply: the node of a is ready when it has the pod network",
        ],
        26,
    )
    "#);
    assert_eq!(into_ready(false, false).0.len(), 1);
    assert_eq!(into_ready(true, true).0.len(), 1, "a node that is in the cluster was seen ready");
}

#[test]
fn a_pod_network_that_is_not_there_is_said_once_however_many_need_it() {
    let app = |number: usize| {
        let name = format!("c{number:03}");
        component(&name, vec![(Stage::Objects, deployment("net", &name, &json!({})))])
    };
    let errors = plan(&of((0..200).map(app).collect()), &bare()).unwrap_err();
    let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let first = "component `c000`: Deployment net/c000 uses a pod network (`cni`), which no enabled component provides \
        and the cluster does not have";
    assert_eq!(said, [first]);
}
