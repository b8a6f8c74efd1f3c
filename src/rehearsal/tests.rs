//! What holds for every graph: nothing deadlocks, nothing starts before its edges hold, all is done when the plan
//! says, and an edge goes with its reason. What is waited for becomes ready.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::faults::Faults;
use super::{Rehearsal, Script, SimulatedNode};
use crate::execute::event::{Event, EventKind, Outcome, Reporter};
use crate::execute::run::Options;
use crate::model::component::Provides;
use crate::model::object::{Object, ObjectId};
use crate::plan::planner::{Desired, DesiredComponent, HostStep, Observed, Phase, plan};
use crate::plan::tests as made;
use crate::plan::{Blocks, Milestone, Plan, Reason, Stage, StepId};

/// Remembers all events.
#[derive(Default)]
struct Recorder(Mutex<Vec<Event>>);

impl Reporter for Recorder {
    fn report(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

/// What a random component is like. Its links are to components before it, all around.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
struct Shape {
    needs: Vec<prop::sample::Index>,
    kinds: Vec<prop::sample::Index>,
    secrets: Vec<prop::sample::Index>,
    namespace_of: Option<prop::sample::Index>,
    expect: u64,
    network: bool,
    webhook: bool,
    api: bool,
    claims: bool,
}

fn shape() -> impl Strategy<Value = Shape> {
    let links = || prop::collection::vec(any::<prop::sample::Index>(), 0..3);
    let flags = (any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.2), any::<bool>());
    (links(), links(), links(), prop::option::of(any::<prop::sample::Index>()), 0_u64..90, flags).prop_map(
        |(needs, kinds, secrets, namespace_of, expect, (network, webhook, api, claims))| Shape {
            needs,
            kinds,
            secrets,
            namespace_of,
            expect,
            network,
            webhook,
            api,
            claims,
        },
    )
}

fn object(value: Value) -> Arc<Object> {
    Arc::new(Object::from_value(value).unwrap())
}

fn deployment(name: &str, namespace: &str, spec: &Value) -> Value {
    let probe = json!({ "tcpSocket": { "port": 80 } });
    let mut pod =
        json!({ "containers": [{ "name": "main", "image": "example.org/a:1", "readinessProbe": probe }] });
    pod.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "selector": { "matchLabels": { "app": name } },
            "template": { "metadata": { "labels": { "app": name } }, "spec": pod },
        },
    })
}

/// Makes the components: `c0` gives pods their network, storage and a default class.
fn components(shapes: &[Shape]) -> Vec<DesiredComponent> {
    shapes.iter().enumerate().map(|(number, shape)| component(number, shape, shapes)).collect()
}

/// A webhook and an aggregated API, answered by the component's own pods.
fn served(objects: &mut Vec<(Stage, Arc<Object>)>, shape: &Shape, number: usize, namespace: &str) {
    let name = format!("c{number}");
    if shape.webhook || shape.api {
        objects.push((
            Stage::Objects,
            object(json!({
                "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": namespace },
                "spec": { "selector": { "app": name }, "ports": [{ "port": 443 }] },
            })),
        ));
    }
    if shape.webhook {
        objects.push((Stage::Webhooks, object(json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": { "name": name },
            "webhooks": [{
                "name": format!("{name}.example.org"), "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "clientConfig": { "service": { "name": name, "namespace": namespace } },
                "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"] }],
            }],
        }))));
    }
    if shape.api {
        objects.push((Stage::Webhooks, object(json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": { "name": format!("v1.a{number}.example.org") },
            "spec": { "group": format!("a{number}.example.org"), "version": "v1", "groupPriorityMinimum": 100,
                "versionPriority": 100, "insecureSkipTLSVerify": true,
                "service": { "name": name, "namespace": namespace } },
        }))));
    }
}

/// The namespace of a component's objects.
fn namespace(number: usize, shape: &Shape) -> String {
    let other = shape.namespace_of.as_ref().filter(|_| number > 0).map(|index| index.index(number));
    format!("ns-{}", other.unwrap_or(number))
}

fn component(number: usize, shape: &Shape, shapes: &[Shape]) -> DesiredComponent {
    let name = format!("c{number}");
    let own = format!("ns-{number}");
    let before = |index: &prop::sample::Index| (number > 0).then(|| index.index(number));
    let namespace = self::namespace(number, shape);
    let mut objects = vec![
        (
            Stage::Namespaces,
            object(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": own } })),
        ),
        (
            Stage::Crds,
            object(json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": { "name": format!("things.g{number}.example.org") },
                "spec": {
                    "group": format!("g{number}.example.org"), "scope": "Namespaced",
                    "names": { "kind": "Thing", "plural": "things", "singular": "thing", "listKind": "ThingList" },
                    "versions": [{ "name": "v1", "served": true, "storage": true, "subresources": { "status": {} },
                        "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } }],
                },
            })),
        ),
        (
            Stage::Objects,
            object(json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": { "name": format!("s{number}"), "namespace": namespace },
            })),
        ),
    ];
    let mut volumes = Vec::new();
    // Secrets of others that are in the namespace of this one's pods.
    let beside = |other: &usize| self::namespace(*other, &shapes[*other]) == namespace;
    for other in shape.secrets.iter().filter_map(before).filter(beside) {
        volumes.push(json!({ "name": format!("v{}", volumes.len()), "secret": { "secretName": format!("s{other}"), "optional": false } }));
    }
    if shape.claims {
        objects.push((Stage::Objects, object(json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": name, "namespace": namespace },
            "spec": { "accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
                "resources": { "requests": { "storage": "1Gi" } } },
        }))));
        volumes.push(json!({ "name": "data", "persistentVolumeClaim": { "claimName": name } }));
    }
    let host_network = number == 0 || !shape.network;
    let pod = json!({ "volumes": volumes, "hostNetwork": host_network });
    objects.push((Stage::Objects, object(deployment(&name, &namespace, &pod))));
    for (index, other) in shape.kinds.iter().filter_map(before).enumerate() {
        objects.push((
            Stage::Resources,
            object(json!({
                "apiVersion": format!("g{other}.example.org/v1"), "kind": "Thing",
                "metadata": { "name": format!("{name}-{index}"), "namespace": namespace },
            })),
        ));
    }
    served(&mut objects, shape, number, &namespace);
    let mut provides = Provides::default();
    if number == 0 {
        provides.capabilities = vec!["cni".to_owned()];
        objects.push((
            Stage::Objects,
            object(json!({
                "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": { "name": "fast" },
                "provisioner": "example.org/fast", "volumeBindingMode": "WaitForFirstConsumer",
            })),
        ));
        let mut daemons = deployment("cni", &namespace, &pod);
        daemons["kind"] = json!("DaemonSet");
        objects.push((Stage::Objects, object(daemons)));
    }
    objects.sort_by_key(|(stage, _)| *stage);
    DesiredComponent {
        needs: shape.needs.iter().filter_map(before).map(|other| format!("c{other}")).collect(),
        provides,
        expect: Duration::from_secs(shape.expect),
        ..made::component(&name, objects)
    }
}

fn desired(shapes: &[Shape]) -> Desired {
    made::of(components(shapes))
}

/// Rehearses a plan: how it ended, and its events.
fn rehearse(desired: &Desired, plan: &Plan) -> (Outcome, Vec<Event>) {
    rehearse_with(desired, plan, Faults::default())
}

fn rehearse_with(desired: &Desired, plan: &Plan, faults: Faults) -> (Outcome, Vec<Event>) {
    let rehearsal = Rehearsal {
        nodes: SimulatedNode::some(3),
        script: Script::new(plan, desired, [], faults),
        started: EventKind::Warning { message: String::new() },
        options: Options { concurrency: 32, force_conflicts: false, timeout: None, cloud: None },
        signal: std::future::pending().boxed(),
    };
    let recorder = Recorder::default();
    let rehearsed = rehearsal.run(plan, &recorder).unwrap();
    assert_eq!(rehearsed.not_simulated, [""; 0]);
    (rehearsed.finished.outcome, recorder.0.into_inner().unwrap())
}

/// When each step reached what: its place among the events.
#[derive(Default)]
struct Reached {
    started: BTreeMap<StepId, usize>,
    applied: BTreeMap<StepId, usize>,
    ready: BTreeMap<StepId, usize>,
}

impl Reached {
    fn new(events: &[Event]) -> Self {
        let mut reached = Self::default();
        for (place, event) in events.iter().enumerate() {
            match &event.kind {
                EventKind::StepStarted { step, .. } => drop(reached.started.insert(step.clone(), place)),
                EventKind::StepApplied { step } => drop(reached.applied.insert(step.clone(), place)),
                EventKind::StepReady { step, .. } => drop(reached.ready.insert(step.clone(), place)),
                _ => {}
            }
        }
        reached
    }
}

/// The object whose looks are an inferred edge's reason.
fn shown_by(reason: &Reason) -> Option<&ObjectId> {
    match reason {
        Reason::Kind { object, .. }
        | Reason::Namespace { object, .. }
        | Reason::Reference { object, .. }
        | Reason::Provided { object, .. }
        | Reason::Api { object, .. }
        | Reason::Admission { object, .. }
        | Reason::Network { object } => Some(object),
        Reason::Backend { caller, .. } => Some(caller),
        Reason::Needs(_)
        | Reason::StageOrder
        | Reason::NodeNetwork { .. }
        | Reason::Kubernetes
        | Reason::Quorum
        | Reason::Turns
        | Reason::Endpoints
        | Reason::Agents
        | Reason::PruneOrder => None,
    }
}

/// A rehearsal takes most of a second where nothing is optimized: a twentieth of what `PROPTEST_CASES` says.
fn cases() -> u32 {
    ProptestConfig::default().cases / 20
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_graph_is_done_in_order_and_in_time(shapes in prop::collection::vec(shape(), 1..9)) {
        let desired = desired(&shapes);
        let plan = plan(&desired, &Observed::nothing(false)).unwrap();
        let (outcome, events) = rehearse(&desired, &plan);
        prop_assert_eq!(outcome, Outcome::Done, "{:#?}", events.iter().rev().take(8).collect::<Vec<_>>());
        let reached = Reached::new(&events);
        for edge in &plan.edges {
            let (from, to) = (&plan.steps[edge.from].id, &plan.steps[edge.to].id);
            let first = match edge.milestone {
                Milestone::Applied => reached.applied[from],
                Milestone::Ready => reached.ready[from],
            };
            let second = match edge.blocks {
                Blocks::Apply => reached.started[to],
                Blocks::Ready => reached.ready[to],
            };
            prop_assert!(first < second, "{from} -> {to}: {}", edge.reason);
        }
        let took = events.last().map_or(Duration::ZERO, |event| event.at);
        let limit = plan.expected.mul_f64(1.05) + Duration::from_millis(500);
        prop_assert!(took <= limit, "expected {:?}, took {took:?}", plan.expected);
    }

    #[test]
    fn an_edge_goes_with_its_reason(shapes in prop::collection::vec(shape(), 2..8), pick in any::<prop::sample::Index>()) {
        let whole = desired(&shapes);
        let before = plan(&whole, &Observed::nothing(false)).unwrap();
        let reasons: Vec<&Reason> = before.edges.iter().map(|edge| &edge.reason).collect();
        let shown: Vec<&ObjectId> = reasons.iter().filter_map(|reason| shown_by(reason)).collect();
        prop_assume!(!shown.is_empty());
        let gone = (*pick.get(&shown)).clone();
        let mut less = whole.clone();
        for component in &mut less.components {
            component.objects.retain(|(_, object)| object.id != gone);
        }
        // What others need of it may be missing now; then there is no plan, and no edge.
        if let Ok(after) = plan(&less, &Observed::nothing(false)) {
            for edge in after.edges.iter().chain(&after.dropped) {
                prop_assert_ne!(shown_by(&edge.reason), Some(&gone), "{}", edge.reason);
            }
            let known = |reason: &Reason| before.edges.iter().chain(&before.dropped).any(|edge| edge.reason == *reason);
            let new = after.edges.iter().find(|edge| !known(&edge.reason) && shown_by(&edge.reason).is_none());
            prop_assert!(new.is_none(), "{:?}", new.map(|edge| edge.reason.to_string()));
        }
    }
}

/// One object of each kind with a rule of its own that no other test rehearses: API version, kind, spec.
fn waited_for() -> Vec<(&'static str, &'static str, Value)> {
    let template = json!({
        "metadata": { "labels": { "app": "a" } },
        "spec": { "containers": [{ "name": "main", "image": "example.org/a:1" }] },
    });
    let rules = json!([{ "apiGroups": ["x.test"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["things"] }]);
    let target = json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a" });
    vec![
        ("v1", "Pod", template["spec"].clone()),
        ("v1", "ReplicationController", json!({ "selector": { "app": "a" }, "template": template })),
        (
            "apps/v1",
            "ReplicaSet",
            json!({ "selector": { "matchLabels": { "app": "a" } }, "template": template }),
        ),
        ("policy/v1", "PodDisruptionBudget", json!({ "selector": { "matchLabels": { "app": "a" } } })),
        ("autoscaling/v2", "HorizontalPodAutoscaler", json!({ "maxReplicas": 3, "scaleTargetRef": target })),
        (
            "networking.k8s.io/v1",
            "Ingress",
            json!({ "defaultBackend": { "service": { "name": "a", "port": { "number": 80 } } } }),
        ),
        (
            "admissionregistration.k8s.io/v1",
            "ValidatingAdmissionPolicy",
            json!({ "matchConstraints": { "resourceRules": rules }, "validations": [{ "expression": "true" }] }),
        ),
        ("gateway.networking.k8s.io/v1", "GatewayClass", json!({ "controllerName": "example.org/a" })),
        ("gateway.networking.k8s.io/v1", "Gateway", json!({ "gatewayClassName": "a" })),
        ("resource.k8s.io/v1", "DeviceClass", json!({})),
    ]
}

#[test]
fn every_kind_that_is_waited_for_becomes_ready() {
    let shape = Shape {
        needs: Vec::new(),
        kinds: Vec::new(),
        secrets: Vec::new(),
        namespace_of: None,
        expect: 3,
        network: false,
        webhook: false,
        api: false,
        claims: false,
    };
    let mut desired = desired(&[shape]);
    let component = &mut desired.components[0];
    let schema =
        json!({ "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } });
    for (kind, plural, scope) in
        [("Gateway", "gateways", "Namespaced"), ("GatewayClass", "gatewayclasses", "Cluster")]
    {
        component.objects.push((
            Stage::Crds,
            object(json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": { "name": format!("{plural}.gateway.networking.k8s.io") },
                "spec": {
                    "group": "gateway.networking.k8s.io", "scope": scope,
                    "names": { "kind": kind, "plural": plural },
                    "versions": [{
                        "name": "v1", "served": true, "storage": true, "subresources": { "status": {} }, "schema": schema,
                    }],
                },
            })),
        ));
    }
    for (api_version, kind, spec) in waited_for() {
        let metadata = match kind {
            "ValidatingAdmissionPolicy" | "DeviceClass" | "GatewayClass" => json!({ "name": "a" }),
            _ => json!({ "name": "a", "namespace": "ns-0" }),
        };
        let value = json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec });
        component.objects.push((Stage::Objects, object(value)));
    }
    component.objects.sort_by_key(|(stage, _)| *stage);
    let plan = plan(&desired, &Observed::nothing(false)).unwrap();
    let (outcome, events) = rehearse(&desired, &plan);
    let last: Vec<_> = events.iter().rev().take(8).collect();
    assert_eq!(outcome, Outcome::Done, "{last:#?}");
    // Nothing was given up on: a kind that has no status for a while is taken for ready with a warning.
    let warnings = events
        .iter()
        .filter(|event| matches!(&event.kind, EventKind::Warning { message } if !message.is_empty()));
    assert_eq!(warnings.count(), 0, "{last:#?}");
    // Three seconds until there is a network, and three with it.
    assert!(events.last().unwrap().at < Duration::from_millis(6500), "{last:#?}");
}

#[test]
fn huge_workloads_are_rehearsed_with_a_part_of_their_pods() {
    let workload = |api_version: &str, kind: &str, spec: &Value| {
        let pod = json!({ "restartPolicy": "Never", "containers": [{ "name": "c", "image": "x" }] });
        let mut value = json!({
            "apiVersion": api_version, "kind": kind, "metadata": { "name": "w", "namespace": "default" },
            "spec": { "template": { "metadata": { "labels": { "app": "w" } }, "spec": pod } },
        });
        value["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        (Stage::Objects, object(value))
    };
    let selector = json!({ "matchLabels": { "app": "w" } });
    let mut deployment =
        workload("apps/v1", "Deployment", &json!({ "replicas": 2_000_000_000, "selector": selector }));
    let mut value = deployment.1.value.clone();
    value["spec"]["template"]["spec"]["restartPolicy"] = json!("Always");
    deployment.1 = object(value);
    let job = workload("batch/v1", "Job", &json!({ "completions": 100_000, "parallelism": 100_000 }));
    let desired = made::of(vec![made::component("a", vec![deployment, job])]);
    let plan = plan(&desired, &Observed::nothing(true)).unwrap();
    let (outcome, events) = rehearse(&desired, &plan);
    assert_eq!(outcome, Outcome::Done, "{events:#?}");
    let warned: Vec<&str> = events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::Warning { message } if !message.is_empty() => Some(message.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(
        warned,
        [
            "Deployment default/w wants 2000000000 pods: a rehearsal makes 100",
            "Job default/w wants 100000 pods: a rehearsal makes 100",
        ]
    );
}

/// A pod network on hosts that join one after the other, the second after 29 s: what the network waits for, when it is
/// ready, when each node is, and how it ends.
fn joining(fault: Option<&str>) -> (Vec<String>, u64, Vec<(String, u64)>, Outcome) {
    let probe = json!({ "tcpSocket": { "port": 80 } });
    let container = json!({ "name": "c", "image": "x", "readinessProbe": probe });
    let pods = json!({ "hostNetwork": true, "containers": [container] });
    let template = json!({ "metadata": { "labels": { "app": "net" } }, "spec": pods });
    let daemons = object(json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": "net", "namespace": "kube-system" },
        "spec": { "selector": { "matchLabels": { "app": "net" } }, "template": template },
    }));
    let mut network = made::component("network", vec![(Stage::Objects, daemons)]);
    network.expect = Duration::from_secs(20);
    network.provides.capabilities = vec!["cni".to_owned()];
    let step = |host: &str, phase, needs, seconds| HostStep {
        host: host.to_owned(),
        phase,
        needs,
        work: vec!["something".to_owned()],
        expect: Duration::from_secs(seconds),
        done: false,
    };
    let mut desired = made::of(vec![network]);
    desired.hosts = vec![
        step("node-1", Phase::Init, Vec::new(), 10),
        step("node-2", Phase::Join, vec![(0, Reason::Kubernetes)], 19),
        step("node-3", Phase::Join, vec![(1, Reason::Quorum)], 300),
    ];
    for (at, host) in ["node-1", "node-2", "node-3"].into_iter().enumerate() {
        desired.hosts.push(step(host, Phase::Ready, vec![(at, Reason::StageOrder)], 8));
    }
    let plan = plan(&desired, &Observed::nothing(false)).unwrap();
    let injected: Vec<_> = fault.into_iter().map(|fault| fault.parse().unwrap()).collect();
    let faults = Faults::new(&injected, 0, &plan).unwrap();
    let (outcome, events) = rehearse_with(&desired, &plan, faults);
    let ready = |name: &str| {
        events.iter().find_map(|event| match &event.kind {
            EventKind::StepReady { step, .. } if step.to_string() == name => Some(event.at.as_secs()),
            _ => None,
        })
    };
    let waited = events.iter().filter_map(|event| match &event.kind {
        EventKind::Waiting { object, reason, .. } if object.starts_with("DaemonSet") => Some(reason.clone()),
        _ => None,
    });
    let nodes = ["node-1", "node-2", "node-3"].into_iter();
    let nodes = nodes.filter_map(|host| Some((host.to_owned(), ready(&format!("kubernetes/{host}/ready"))?)));
    (waited.collect(), ready("network/objects").unwrap_or_default(), nodes.collect(), outcome)
}

#[test]
fn nodes_are_there_when_their_hosts_have_joined_and_ready_with_the_pod_network() {
    let (waited, network, nodes, outcome) = joining(None);
    assert_eq!(outcome, Outcome::Done);
    assert_eq!(waited[1..], ["0 of 1 nodes updated", "0 of 2 nodes updated", "ready on 1 of 2 nodes"]);
    // The network takes 20 s from 10 s on, and 2 s on the second node; the third is not waited for.
    assert_eq!(network, 31);
    let nodes: Vec<_> = nodes.iter().map(|(host, at)| (host.as_str(), *at)).collect();
    assert_eq!(nodes, [("node-1", 39), ("node-2", 39), ("node-3", 337)]);
}

#[test]
fn a_host_that_never_joins_is_no_node() {
    let (waited, network, nodes, outcome) = joining(Some("host/node-2=refused@5s"));
    assert_eq!(outcome, Outcome::Failed);
    assert_eq!((&waited[1..], network), (&["0 of 1 nodes updated".to_owned()][..], 30));
    assert_eq!(nodes, [("node-1".to_owned(), 38)]);
}
