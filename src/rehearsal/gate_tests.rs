//! How long a run waits: for kinds that nobody knows, for gates that must hold for a while, for failures that may pass,
//! and for a component as a whole. On the embedded cluster and the virtual clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cozy_sim::{Controllers, Trouble, Troubled, run_controllers};
use futures::FutureExt as _;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::cluster::Cluster;
use crate::execute::event::{Event, EventKind, Outcome, Reporter};
use crate::execute::hosts::Simulated;
use crate::execute::run::{Options, Shared, run};
use crate::model::component::GateSpec;
use crate::model::object::Object;
use crate::plan::planner::{DesiredComponent, Observed, plan};
use crate::plan::{Stage, tests};

/// Remembers all events.
#[derive(Default)]
struct Recorder(Mutex<Vec<Event>>);

impl Reporter for Recorder {
    fn report(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

/// A component in its namespace `web`.
fn component(objects: Vec<(Stage, Value)>, gates: &[Value]) -> DesiredComponent {
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "web" } });
    let all = [(Stage::Namespaces, namespace)].into_iter().chain(objects);
    let objects = all.map(|(stage, value)| (stage, Arc::new(Object::from_value(value).unwrap()))).collect();
    DesiredComponent {
        gates: gates.iter().map(|gate| serde_json::from_value::<GateSpec>(gate.clone()).unwrap()).collect(),
        expect: Duration::from_secs(5),
        ..tests::component("web", objects)
    }
}

fn deployment(name: &str) -> (Stage, Value) {
    let pod = json!({ "containers": [{ "name": "main", "image": "example.org/web" }], "volumes": [{ "name": "keys", "secret": { "secretName": "keys", "optional": true } }] });
    let spec = json!({
        "selector": { "matchLabels": { "app": name } },
        "template": { "metadata": { "labels": { "app": name } }, "spec": pod },
    });
    let metadata = json!({ "name": name, "namespace": "web" });
    (
        Stage::Objects,
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec }),
    )
}

/// The same, asked whether it is ready.
fn probed(name: &str) -> (Stage, Value) {
    let (stage, mut value) = deployment(name);
    value["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] =
        json!({ "tcpSocket": { "port": 80 } });
    (stage, value)
}

fn config(name: &str, value: &str) -> (Stage, Value) {
    let metadata = json!({ "name": name, "namespace": "web" });
    (
        Stage::Resources,
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": { "is": value } }),
    )
}

/// What goes on around a run.
#[derive(Clone, Copy)]
struct Bed {
    /// How long each Deployment takes.
    takes: Duration,
    /// What is wrong with Deployments.
    trouble: Option<Troubled>,
    /// The data of `ConfigMap door` from these seconds on.
    door: &'static [(u64, &'static str)],
    /// How many pods of `Deployment web` are ready from these seconds on.
    ready: &'static [(u64, i64)],
}

const CALM: Bed = Bed { takes: Duration::from_secs(2), trouble: None, door: &[], ready: &[] };

struct Ended {
    outcome: Outcome,
    took: u64,
    events: Vec<Event>,
    /// The message and the chain of the failure.
    said: String,
}

impl Ended {
    fn warned(&self, words: &str) -> bool {
        self.events
            .iter()
            .any(|event| matches!(&event.kind, EventKind::Warning { message } if message.contains(words)))
    }
}

/// Installs one component.
fn install(component: DesiredComponent, bed: Bed) -> Ended {
    install_all(vec![component], bed)
}

fn install_all(components: Vec<DesiredComponent>, bed: Bed) -> Ended {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let recorder = Recorder::default();
    let plan = plan(&tests::of(components), &Observed::nothing(true)).unwrap();
    let Bed { takes, trouble, door, ready } = bed;
    let (finished, took) = runtime.block_on(async {
        let simulated =
            cozy_sim::Cluster::new(cozy_sim::Options { nodes: 3, ..cozy_sim::Options::default() });
        let is_deployment = |object: &Value| object["kind"] == "Deployment";
        let controllers = run_controllers(
            simulated.client(),
            Controllers {
                readiness: Box::new(move |object| is_deployment(object).then_some(takes)),
                trouble: Box::new(move |object| {
                    let what = trouble.filter(|_| is_deployment(object))?;
                    Some(Trouble { what, lasts: None })
                }),
                ..Controllers::default()
            },
        );
        let begun = Instant::now();
        let pods = async {
            let api: Api<k8s_openapi::api::apps::v1::Deployment> = Api::namespaced(simulated.client(), "web");
            for (at, ready) in ready {
                sleep_until(begun + Duration::from_secs(*at)).await;
                let patch =
                    Patch::Merge(json!({ "status": { "readyReplicas": ready, "availableReplicas": ready } }));
                api.patch_status("web", &PatchParams::default(), &patch).await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        let actor = async {
            let api: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::namespaced(simulated.client(), "web");
            for (at, is) in door {
                sleep_until(begun + Duration::from_secs(*at)).await;
                let patch = Patch::Merge(json!({ "data": { "is": is } }));
                api.patch("door", &PatchParams::default(), &patch).await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        let work = async {
            let cluster = Cluster::new(simulated.client()).await.unwrap();
            cluster.ensure_system_namespace().await.unwrap();
            let options = Options { concurrency: 32, force_conflicts: false, timeout: None, cloud: None };
            let shared = Shared::new(Some(&cluster), &Simulated, &recorder, options);
            run(&shared, &plan, BTreeMap::new(), std::future::pending().boxed_local()).await
        };
        tokio::select! {
            biased;
            finished = work => (finished, begun.elapsed().as_secs()),
            () = controllers => panic!("the controllers ended"),
            () = actor => panic!("the actor ended"),
            () = pods => panic!("the pods ended"),
        }
    });
    let failure = finished.failures.first().map(|(_, failure)| failure);
    let chain = failure.into_iter().flat_map(|failure| &failure.chain).map(|cause| cause.message.clone());
    let said: Vec<String> = failure.map(|failure| failure.message.clone()).into_iter().chain(chain).collect();
    Ended { outcome: finished.outcome, took, events: recorder.0.into_inner().unwrap(), said: said.join("\n") }
}

/// A kind, and an object of it.
fn silent() -> Vec<(Stage, Value)> {
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": "things.x.example.org" },
        "spec": {
            "group": "x.example.org", "scope": "Namespaced",
            "names": { "kind": "Thing", "plural": "things", "singular": "thing", "listKind": "ThingList" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } }],
        },
    });
    let thing = json!({ "apiVersion": "x.example.org/v1", "kind": "Thing", "metadata": { "name": "a", "namespace": "web" } });
    vec![(Stage::Crds, crd), (Stage::Resources, thing)]
}

#[test]
fn a_kind_that_nobody_knows_and_that_is_silent_for_30_s_is_applied_and_not_gated() {
    let ended = install(component(silent(), &[]), CALM);
    assert_eq!(ended.outcome, Outcome::Done, "{}", ended.said);
    assert!((30..33).contains(&ended.took), "{} s", ended.took);
    assert!(ended.warned("Thing web/a of web was applied and is not gated"));
    // With a gate somebody knows it: it is never ready by silence.
    let gate = json!({ "cel": "object.status.phase == 'Bound'", "of": "Thing/a" });
    let ended =
        install(DesiredComponent { deadline: Duration::from_secs(60), ..component(silent(), &[gate]) }, CALM);
    assert_eq!((ended.outcome, ended.took / 5), (Outcome::Failed, 12), "{}", ended.said);
    assert!(ended.said.contains("no field `status`"), "{}", ended.said);
}

#[test]
fn a_gate_that_must_be_stable_holds_for_that_long_without_a_flip() {
    let gate =
        |stable: &str| json!({ "cel": "object.data.is == 'open'", "of": "ConfigMap/door", "stable": stable });
    let door = &[(3, "open"), (8, "closed"), (9, "open")];
    let of = |stable: &str| {
        install(component(vec![config("door", "closed")], &[gate(stable)]), Bed { door, ..CALM })
    };
    let (short, long) = (of("4s"), of("10s"));
    assert_eq!((short.outcome, short.took), (Outcome::Done, 7));
    // The flip at 8 s counts: from 9 s on it holds.
    assert_eq!((long.outcome, long.took), (Outcome::Done, 19));
    let waits = |events: &[Event], words: &str| {
        events
            .iter()
            .any(|event| matches!(&event.kind, EventKind::Waiting { reason, .. } if reason.contains(words)))
    };
    assert!(waits(&long.events, "ready, and must stay so for 10s"));
    // The component's deadline holds here, too.
    let web = DesiredComponent {
        deadline: Duration::from_secs(6),
        ..component(vec![config("door", "closed")], &[gate("10s")])
    };
    let late = install(web, Bed { door: &[(3, "open")], ..CALM });
    assert_eq!(late.outcome, Outcome::Failed, "{}", late.said);
    assert!((6..9).contains(&late.took), "{} s", late.took);
}

#[test]
fn failures_that_may_pass_fail_a_component_after_its_grace_and_long_before_its_deadline() {
    let of = |trouble, grace: Option<u64>| {
        let web = DesiredComponent {
            grace: grace.map(Duration::from_secs),
            ..component(vec![deployment("web")], &[])
        };
        let ended = install(web, Bed { trouble: Some(trouble), ..CALM });
        assert_eq!(ended.outcome, Outcome::Failed);
        (ended.took, ended.said)
    };
    let rows = [
        (Troubled::Mount, "FailedMount: ", 180),
        (Troubled::ImageMissing, "ErrImagePull", 60),
        (Troubled::ImagePull, "ImagePullBackOff", 180),
        (Troubled::Configuration, "CreateContainerConfigError", 180),
        (Troubled::Unschedulable, "Unschedulable", 180),
    ];
    for (trouble, words, grace) in rows {
        let (took, said) = of(trouble, None);
        assert!((grace..grace + 12).contains(&took) && said.contains(words), "{words}: {took} s: {said}");
        let (took, said) = of(trouble, Some(20));
        assert!((20..32).contains(&took) && said.contains(words), "{words}: {took} s: {said}");
    }
    // Five restarts, and three minutes.
    let (took, said) = of(Troubled::CrashLoop, None);
    assert!((180..600).contains(&took) && said.contains("CrashLoopBackOff"), "{took} s: {said}");
}

#[test]
fn the_deadline_is_of_the_component_and_not_of_each_of_its_stages() {
    let gate = json!({ "cel": "object.data.is == 'open'", "of": "ConfigMap/door" });
    let web = |deadline| DesiredComponent {
        deadline: Duration::from_secs(deadline),
        ..component(vec![deployment("web"), config("door", "closed")], std::slice::from_ref(&gate))
    };
    let bed = || Bed { takes: Duration::from_secs(40), door: &[(90, "open")], ..CALM };
    // 40 s for the Deployment, and 20 s for the rest.
    let ended = install(web(60), bed());
    assert_eq!(ended.outcome, Outcome::Failed, "{}", ended.said);
    assert!((60..70).contains(&ended.took), "{} s", ended.took);
    assert_eq!(install(web(100), bed()).outcome, Outcome::Done);
}

#[test]
fn a_workload_that_nobody_asks_is_ready_once_it_has_stayed_so() {
    let of = |web, ready| install(component(vec![web], &[]), Bed { ready, ..CALM });
    let asked = of(probed("web"), &[]);
    assert_eq!((asked.outcome, asked.took), (Outcome::Done, 2), "{}", asked.said);
    let unasked = of(deployment("web"), &[]);
    assert_eq!((unasked.outcome, unasked.took), (Outcome::Done, 7), "{}", unasked.said);
    // helm, kubectl and kapp say *ready* after 2 s. It crashes 1 s, and then 3 s, after it was started; then it stays.
    let crashes = &[(3, 0), (13, 1), (16, 0), (40, 1)];
    let crashing = of(deployment("web"), crashes);
    assert_eq!((crashing.outcome, crashing.took), (Outcome::Done, 70), "{}", crashing.said);
    let waits = |words: &str| {
        let mut events = crashing.events.iter();
        events.any(|event| matches!(&event.kind, EventKind::Waiting { reason, .. } if reason.contains(words)))
    };
    assert!(waits("ready, and must stay so for 5s") && waits("ready, and must stay so for 30s"));
}

#[test]
fn components_that_wait_for_each_others_milestones_end() {
    let object = |value: Value| Arc::new(Object::from_value(value).unwrap());
    let named = |api: &str, kind: &str, name: &str| {
        object(json!({ "apiVersion": api, "kind": kind, "metadata": { "name": name, "namespace": "web" } }))
    };
    // The pods of one mount what the other brings, whose objects cannot go in before that one's class.
    let class = json!({ "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": { "name": "high" }, "value": 1 });
    let (_, mut web) = deployment("web");
    web["spec"]["template"]["spec"]["volumes"][0]["secret"]["optional"] = json!(false);
    let mut first = component(vec![(Stage::Objects, web), (Stage::Objects, class)], &[]);
    first.deadline = Duration::from_secs(60);
    let (_, mut other) = probed("other");
    other["spec"]["template"]["spec"]["priorityClassName"] = json!("high");
    other["spec"]["template"]["spec"]["volumes"] = json!([]);
    let objects = vec![(Stage::Objects, named("v1", "Secret", "keys")), (Stage::Objects, object(other))];
    let second = tests::component("other", objects);
    let ended = install_all(vec![first, second], CALM);
    assert_eq!(ended.outcome, Outcome::Done, "{}", ended.said);
    let path = ended.events.iter().find_map(|event| match &event.kind {
        EventKind::RunFinished { critical_path, .. } => Some(critical_path.clone()),
        _ => None,
    });
    assert_eq!(path.unwrap(), ["web", "other", "web"]);
}

#[test]
fn the_critical_path_of_a_failed_run_leads_to_what_failed_last() {
    let pod =
        json!({ "restartPolicy": "Never", "containers": [{ "name": "main", "image": "example.org/job" }] });
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "job", "namespace": "default" },
        "spec": { "template": { "spec": pod } },
    });
    let of = |name: &str, object: Value| {
        tests::component(name, vec![(Stage::Objects, Arc::new(Object::from_value(object).unwrap()))])
    };
    let base = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "namespace": "default" } });
    let web = DesiredComponent { needs: vec!["base".to_owned()], ..component(vec![deployment("web")], &[]) };
    let bed = Bed { trouble: Some(Troubled::ImageMissing), ..CALM };
    // The Job is the last that ends well, long before.
    let ended = install_all(vec![of("base", base), of("other", job), web], bed);
    let path = ended.events.iter().find_map(|event| match &event.kind {
        EventKind::RunFinished { critical_path, .. } => Some(critical_path.join(" → ")),
        _ => None,
    });
    assert_eq!((ended.outcome, path.as_deref()), (Outcome::Failed, Some("base → web")));
}
