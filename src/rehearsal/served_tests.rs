//! Kinds that come to be served while a run is at work, or are served otherwise than it knows. On the embedded cluster
//! and the virtual clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cozy_sim::{Controllers, run_controllers};
use futures::FutureExt as _;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::cluster::Cluster;
use crate::execute::event::{Event, EventKind, Outcome, Reporter};
use crate::execute::hosts::Simulated;
use crate::execute::run::{Options, Shared, run};
use crate::model::object::Object;
use crate::plan::planner::{DesiredComponent, Observed, plan};
use crate::plan::{Stage, tests};

type Crd = k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

#[derive(Default)]
struct Recorder(Mutex<Vec<Event>>);

impl Reporter for Recorder {
    fn report(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

fn definition(scope: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": "things.x.example.org" },
        "spec": {
            "group": "x.example.org", "scope": scope,
            "names": { "kind": "Thing", "plural": "things", "singular": "thing", "listKind": "ThingList" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } }],
        },
    })
}

async fn define(simulated: &cozy_sim::Cluster, scope: &str) {
    let crds: Api<Crd> = Api::all(simulated.client());
    let new = serde_json::from_value(definition(scope)).unwrap();
    crds.create(&PostParams::default(), &new).await.unwrap();
}

fn component(name: &str, objects: Vec<(Stage, Value)>) -> DesiredComponent {
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    let all = [(Stage::Namespaces, namespace)].into_iter().chain(objects);
    tests::component(
        name,
        all.map(|(stage, value)| (stage, Arc::new(Object::from_value(value).unwrap()))).collect(),
    )
}

fn thing(name: &str) -> (Stage, Value) {
    let metadata = json!({ "name": name, "namespace": "app" });
    (Stage::Resources, json!({ "apiVersion": "x.example.org/v1", "kind": "Thing", "metadata": metadata }))
}

/// How a run ended, what it said of a failure, and its events about Things.
struct Ended {
    outcome: Outcome,
    said: String,
    /// What was tried again.
    retried: Vec<String>,
    waited: Vec<String>,
}

/// Installs components; at `late`, somebody else defines Things.
async fn install(
    (simulated, cluster): (&cozy_sim::Cluster, &Cluster),
    components: Vec<DesiredComponent>,
    late: Option<Duration>,
) -> Ended {
    let recorder = Recorder::default();
    // Where nobody brings Things, the cluster served them when it was looked at.
    let brings = |(stage, _): &(Stage, Arc<Object>)| matches!(stage, Stage::Crds | Stage::Webhooks);
    let objects = || components.iter().flat_map(|component| &component.objects);
    let kind = |(_, it): &(Stage, Arc<Object>)| (it.id.kind.clone(), [it.version.clone()].into());
    let served = (!objects().any(brings)).then(|| objects().map(kind).collect());
    let observed = Observed { served, ..Observed::nothing(true) };
    let plan = plan(&tests::of(components), &observed).unwrap();
    let controllers = run_controllers(
        simulated.client(),
        Controllers {
            readiness: Box::new(|object| (object["kind"] == "Deployment").then_some(Duration::from_secs(2))),
            ..Controllers::default()
        },
    );
    let actor = async {
        if let Some(late) = late {
            sleep_until(Instant::now() + late).await;
            define(simulated, "Namespaced").await;
        }
        std::future::pending::<()>().await;
    };
    let work = async {
        cluster.ensure_system_namespace().await.unwrap();
        let options = Options { concurrency: 32, force_conflicts: false, timeout: None, cloud: None };
        let shared = Shared::new(Some(cluster), &Simulated, &recorder, options);
        run(&shared, &plan, BTreeMap::new(), std::future::pending().boxed_local()).await
    };
    let finished = tokio::select! {
        biased;
        finished = work => finished,
        () = controllers => panic!("the controllers ended"),
        () = actor => panic!("the actor ended"),
    };
    let said = format!("{:#?}", finished.failures);
    let (mut retried, mut waited) = (Vec::new(), Vec::new());
    for event in recorder.0.into_inner().unwrap() {
        match event.kind {
            EventKind::Retry { object, .. } => retried.push(object),
            EventKind::Waiting { object, reason, .. } => waited.push(format!("{object}: {reason}")),
            _ => {}
        }
    }
    Ended { outcome: finished.outcome, said, retried, waited }
}

async fn bed() -> (cozy_sim::Cluster, Cluster) {
    let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
    let cluster = Cluster::new(simulated.client()).await.unwrap();
    (simulated, cluster)
}

/// Found by reading: what the cluster serves was asked once, and each try saw the same answer.
#[tokio::test(start_paused = true)]
async fn what_is_not_served_is_looked_for_again_by_one_for_all() {
    let (simulated, cluster) = bed().await;
    let things = (0..20).map(|number| thing(&format!("t{number}"))).collect();
    let late = Some(Duration::from_secs(20));
    let ended = install((&simulated, &cluster), vec![component("app", things)], late).await;
    assert_eq!(ended.outcome, Outcome::Done, "{}", ended.said);
    assert!(ended.retried.iter().any(|object| object == "Thing app/t19"), "{:?}", ended.retried);
    let asked = simulated.requests().by_verb["discovery"];
    assert!(asked < 60, "{asked} requests");
}

/// Found by reading: an aggregated API that the same run installs answered, and its kinds were never discovered.
#[tokio::test(start_paused = true)]
async fn an_aggregated_api_is_ready_once_its_kinds_are_in_discovery() {
    let (simulated, cluster) = bed().await;
    let metadata = json!({ "name": "api", "namespace": "server" });
    let labels = json!({ "app": "api" });
    let pod = json!({ "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "c", "image": "x", "readinessProbe": { "tcpSocket": { "port": 443 } } }] } });
    let server = component(
        "server",
        vec![
            (
                Stage::Objects,
                json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": { "selector": { "matchLabels": labels }, "template": pod } }),
            ),
            (
                Stage::Objects,
                json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": { "selector": labels, "ports": [{ "port": 443 }] } }),
            ),
            (
                Stage::Webhooks,
                json!({
                    "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": { "name": "v1.x.example.org" },
                    "spec": { "group": "x.example.org", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 100,
                        "insecureSkipTLSVerify": true, "service": { "name": "api", "namespace": "server" } },
                }),
            ),
        ],
    );
    // Its kinds come a while after it answers, as they do where the API server has not asked it for them yet.
    let late = Some(Duration::from_secs(60));
    let ended = install((&simulated, &cluster), vec![server, component("app", vec![thing("t")])], late).await;
    assert_eq!(ended.outcome, Outcome::Done, "{}", ended.said);
    let waits = "APIService v1.x.example.org: available, but it does not answer, or is not in discovery yet";
    assert!(ended.waited.iter().any(|waited| waited == waits), "{:?}", ended.waited);
    assert!(!ended.retried.iter().any(|object| object.starts_with("Thing")), "{:?}", ended.retried);
}

/// Found by reading: a definition that was there when the run began, and went, said how its successor's objects are
/// sent.
#[tokio::test(start_paused = true)]
async fn a_definition_that_was_replaced_is_not_known_by_what_it_was() {
    let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
    define(&simulated, "Cluster").await;
    sleep_until(Instant::now() + Duration::from_secs(1)).await;
    let cluster = Cluster::new(simulated.client()).await.unwrap();
    let crds: Api<Crd> = Api::all(simulated.client());
    crds.delete("things.x.example.org", &DeleteParams::default()).await.unwrap();
    sleep_until(Instant::now() + Duration::from_secs(1)).await;
    let objects = vec![(Stage::Crds, definition("Namespaced")), thing("t")];
    let ended = install((&simulated, &cluster), vec![component("app", objects)], None).await;
    assert_eq!(ended.outcome, Outcome::Done, "{}", ended.said);
    assert!(ended.retried.is_empty(), "{:?}", ended.retried);
}

/// Found by reading: an API server that still knew a kind as it was before this run changed it refused its objects, and
/// that was taken for lasting.
#[tokio::test(start_paused = true)]
async fn what_a_kind_as_it_was_refuses_is_tried_again_for_a_while() {
    let refused = |object: &str, code, message: &str, times| cozy_sim::Refusal {
        times,
        ..cozy_sim::Refusal::of("apply", object, code, "Invalid", message)
    };
    let untyped = "failed to create typed patch object (app/t; x.example.org/v1, Kind=Thing): .spec.new: field not declared in schema";
    let rows = [
        ("things/t", 422, "no", Some(4), true),
        ("things/t", 400, "strict decoding error: unknown field \"spec.new\"", Some(4), true),
        ("things/t", 500, untyped, Some(4), true),
        ("things/t", 422, "no", None, false),
        // Nobody has changed what a ConfigMap is.
        ("configmaps/c", 422, "no", Some(1), false),
    ];
    for (object, code, message, times, passes) in rows {
        let (simulated, cluster) = bed().await;
        simulated.refuse(refused(object, code, message, times));
        let metadata = json!({ "name": "c", "namespace": "app" });
        let config = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata });
        let objects = vec![(Stage::Crds, definition("Namespaced")), (Stage::Objects, config), thing("t")];
        let begun = Instant::now();
        let ended = install((&simulated, &cluster), vec![component("app", objects)], None).await;
        let done = ended.outcome == Outcome::Done;
        assert_eq!(done, passes, "{object} {code} {times:?}: {}", ended.said);
        // Things are no kind that anybody knows: they are watched for half a minute.
        assert!(done || begun.elapsed() < Duration::from_secs(16), "{object} {code}: {:?}", begun.elapsed());
    }
}
