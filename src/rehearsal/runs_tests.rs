//! Runs that are asked to stop, that follow one that was killed, that find another object than they planned for, or an
//! API server that has just started. On the embedded cluster and the virtual clock.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cozy_sim::{Controllers, Flaky, Flaws, Refusal, run_controllers};
use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use http::{Method, Request, StatusCode};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until, timeout};
use tower::Layer as _;

use crate::cluster::Cluster;
use crate::cluster::apply::tests::made_anew;
use crate::cluster::inventory::Inventories;
use crate::execute::event::{Event, EventKind, Outcome, Reporter};
use crate::execute::hosts::Simulated;
use crate::execute::run::{Finished, Options, Shared, Stop, run};
use crate::model::object::Object;
use crate::plan::planner::{Desired, DesiredComponent, plan};
use crate::plan::{Plan, Stage, tests};

type ConfigMap = k8s_openapi::api::core::v1::ConfigMap;

struct Silent;

impl Reporter for Silent {
    fn report(&self, _: &Event) {}
}

fn config(name: &str, value: &str) -> (Stage, Value) {
    let metadata = json!({ "name": name, "namespace": "default" });
    (
        Stage::Objects,
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": { "is": value } }),
    )
}

fn job(stage: Stage, name: &str, annotations: &Value) -> (Stage, Value) {
    let metadata = json!({ "name": name, "namespace": "default", "annotations": annotations });
    let pod =
        json!({ "restartPolicy": "Never", "containers": [{ "name": "main", "image": "example.org/job" }] });
    (
        stage,
        json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": { "template": { "spec": pod } } }),
    )
}

fn app(objects: Vec<(Stage, Value)>) -> Desired {
    let objects =
        objects.into_iter().map(|(stage, value)| (stage, Arc::new(Object::from_value(value).unwrap())));
    tests::of(vec![tests::component("app", objects.collect())])
}

fn never() -> Stop<'static> {
    let never: LocalBoxFuture<'static, Outcome> = std::future::pending().boxed_local();
    never.into()
}

async fn planned(cluster: &Cluster, desired: &Desired) -> (Plan, Inventories) {
    let mut desired = desired.clone();
    let inventories = cluster.inventories().await.unwrap();
    let (observed, inventories) = cluster.observe(&mut desired, inventories, 8).await.unwrap();
    (plan(&desired, &observed).unwrap(), inventories)
}

async fn done(cluster: &Cluster, (plan, inventories): (Plan, Inventories), stop: Stop<'_>) -> Finished {
    cluster.ensure_system_namespace().await.unwrap();
    let options = Options { concurrency: 2, force_conflicts: false, timeout: None, cloud: None };
    let shared = Shared::new(Some(cluster), &Simulated, &Silent, options);
    run(&shared, &plan, inventories.all, stop).await
}

/// Installs, and says how it ended.
async fn install(cluster: &Cluster, desired: &Desired) -> Finished {
    done(cluster, planned(cluster, desired).await, never()).await
}

/// A cluster whose Jobs take ten seconds.
async fn beside_controllers(test: impl AsyncFnOnce(&cozy_sim::Cluster)) {
    let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
    let takes = |object: &Value| (object["kind"] == "Job").then_some(Duration::from_secs(10));
    let config = Controllers { readiness: Box::new(takes), ..Controllers::default() };
    let controllers = run_controllers(simulated.client(), config);
    tokio::select! {
        biased;
        () = test(&simulated) => {}
        () = controllers => panic!("the controllers ended"),
    }
}

async fn configs(simulated: &cozy_sim::Cluster) -> usize {
    let api: Api<ConfigMap> = Api::namespaced(simulated.client(), "default");
    let all = api.list(&ListParams::default()).await.unwrap().items;
    all.iter().filter(|one| one.metadata.name.as_deref() != Some("kube-root-ca.crt")).count()
}

/// Remembers the events.
#[derive(Default)]
struct Record(Mutex<Vec<EventKind>>);

impl Reporter for Record {
    fn report(&self, event: &Event) {
        self.0.lock().unwrap().push(event.kind.clone());
    }
}

/// Of forty components of which each needs the one before, the first goes on at once: the namespaces of the others do
/// not keep the API server busy meanwhile.
#[tokio::test(start_paused = true)]
async fn namespaces_that_nothing_waits_for_yet_go_behind_what_does() {
    let component = |number: usize| {
        let name = format!("c{number}");
        let own = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        let metadata = json!({ "name": "a", "namespace": name });
        let config = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata });
        let objects = [(Stage::Namespaces, own), (Stage::Objects, config)]
            .map(|(stage, value)| (stage, Arc::new(Object::from_value(value).unwrap())));
        let needs = number.checked_sub(1).map(|before| format!("c{before}")).into_iter().collect();
        DesiredComponent { needs, ..tests::component(&name, objects.to_vec()) }
    };
    let desired = tests::of((0..40).map(component).collect());
    let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
    let cluster = Cluster::new(simulated.client()).await.unwrap();
    cluster.ensure_system_namespace().await.unwrap();
    let (plan, inventories) = planned(&cluster, &desired).await;
    let options = Options { concurrency: 64, force_conflicts: false, timeout: None, cloud: None };
    let record = Record::default();
    let shared = Shared::new(Some(&cluster), &Simulated, &record, options);
    let finished = run(&shared, &plan, inventories.all, never()).await;
    assert_eq!(finished.outcome, Outcome::Done, "{:?}", finished.failures);
    let events = record.0.lock().unwrap();
    let first = |event: &&EventKind| !matches!(event, EventKind::StepApplied { step } if step.to_string() == "c0/objects");
    let begun = events.iter().take_while(first).filter(|event| {
        matches!(event, EventKind::StepStarted { step, .. } if step.to_string().ends_with("/namespaces"))
    });
    let begun = begun.count();
    assert!((2..20).contains(&begun), "{begun} of 40");
}

/// Found by reading: after a signal everything that was not sent yet was sent all the same.
#[tokio::test(start_paused = true)]
async fn a_run_that_is_to_stop_sends_nothing_more() {
    let desired = app((0..40).map(|number| config(&format!("c{number}"), "a")).collect());
    let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
    let calm = async || Cluster::new(simulated.client()).await.unwrap();
    let first = planned(&calm().await, &desired).await;
    calm().await.ensure_system_namespace().await.unwrap();
    let flaws = Flaws { latency: Duration::from_secs(1), ..Flaws::default() };
    let slow = kube::Client::new(Flaky::new(flaws).layer(simulated.server()), "default");
    let slow = calm().await.through(slow);
    let begun = Instant::now();
    let asked = async {
        sleep_until(begun + Duration::from_secs(7)).await;
        Outcome::Interrupted
    };
    let finished = done(&slow, first, Stop::new(asked, std::future::pending())).await;
    assert_eq!(finished.outcome, Outcome::Interrupted);
    assert!(finished.failures.is_empty(), "{:?}", finished.failures);
    // What was in flight, and the inventory.
    assert!(begun.elapsed() < Duration::from_secs(11), "{:?}", begun.elapsed());
    let made = configs(&simulated).await;
    assert!((1..16).contains(&made), "{made} objects");
    assert_eq!(install(&calm().await, &desired).await.outcome, Outcome::Done);
    assert_eq!(configs(&simulated).await, 40);
    assert!(planned(&calm().await, &desired).await.0.is_empty());

    // The same of what is deleted.
    let less = app(vec![config("c0", "a")]);
    let second = planned(&calm().await, &less).await;
    let begun = Instant::now();
    let asked = async {
        sleep_until(begun + Duration::from_secs(7)).await;
        Outcome::Interrupted
    };
    let finished = done(&slow, second, Stop::new(asked, std::future::pending())).await;
    assert_eq!(finished.outcome, Outcome::Interrupted, "{:?}", finished.failures);
    assert!(
        finished.failures.is_empty() && begun.elapsed() < Duration::from_secs(12),
        "{:?}",
        begun.elapsed()
    );
    let left = configs(&simulated).await;
    assert!((20..40).contains(&left), "{left} objects");
    assert_eq!(install(&calm().await, &less).await.outcome, Outcome::Done);
    assert_eq!(configs(&simulated).await, 1);
    assert!(planned(&calm().await, &less).await.0.is_empty());
}

/// Found by reading: the lock was not renewed any more while a run that was to stop finished what it had sent.
#[tokio::test(start_paused = true)]
async fn a_lock_that_is_lost_while_a_run_stops_cuts_it_off() {
    let desired = app(vec![config("a", "a")]);
    let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
    let calm = Cluster::new(simulated.client()).await.unwrap();
    let first = planned(&calm, &desired).await;
    calm.ensure_system_namespace().await.unwrap();
    let flaws = Flaws { latency: Duration::from_secs(60), ..Flaws::default() };
    let slow = kube::Client::new(Flaky::new(flaws).layer(simulated.server()), "default");
    let begun = Instant::now();
    let asked = async {
        sleep_until(begun + Duration::from_secs(65)).await;
        Outcome::Terminated
    };
    let stop = Stop::new(asked, sleep_until(begun + Duration::from_secs(90)));
    // The namespace is asked for, and the inventory written, before the signal comes.
    let finished = done(&calm.through(slow), first, stop).await;
    assert_eq!((finished.outcome, begun.elapsed().as_secs()), (Outcome::LockLost, 90));
}

/// Found by reading: it ran again, or an upgrade skipped its hooks for ever, with exit 0.
#[tokio::test(start_paused = true)]
async fn a_hook_that_ends_while_nobody_looks_is_remembered() {
    beside_controllers(async |simulated| {
        let cluster = Cluster::new(simulated.client()).await.unwrap();
        let before = job(Stage::PreHooks(0), "before", &json!({}));
        let mut passing = job(Stage::Objects, "passing", &json!({}));
        passing.1["spec"]["ttlSecondsAfterFinished"] = json!(3600);
        let desired = app(vec![before, passing]);
        let ids: Vec<_> = desired.components[0].objects.iter().map(|(_, object)| object.id.clone()).collect();
        let remembered = async || {
            let known = cluster.inventories().await.unwrap().all;
            let own = known.values().next().unwrap();
            ids.iter().filter(|id| own.get(id).is_some_and(|entry| entry.complete)).count()
        };
        // Killed while the hook is at work, and then while the Job is.
        for (seconds, count) in [(5, 0), (5, 1)] {
            assert!(timeout(Duration::from_secs(seconds), install(&cluster, &desired)).await.is_err());
            sleep_until(Instant::now() + Duration::from_secs(20)).await;
            assert_eq!(remembered().await, count);
        }
        let finished = install(&cluster, &desired).await;
        assert_eq!(finished.outcome, Outcome::Done, "{:?}", finished.failures);
        assert_eq!(remembered().await, 2);
        assert!(planned(&cluster, &desired).await.0.is_empty());
    })
    .await;
}

async fn uid_of(simulated: &cozy_sim::Cluster, name: &str) -> Option<String> {
    let api: Api<ConfigMap> = Api::namespaced(simulated.client(), "default");
    api.get_opt(name).await.unwrap().and_then(|found| found.metadata.uid)
}

/// Found by reading: an object that was on its way out when it was planned was deleted by its name, whoever had made it
/// anew by then.
#[tokio::test(start_paused = true)]
async fn what_took_the_place_of_an_object_that_went_stays() {
    let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
    let cluster = Cluster::new(simulated.client()).await.unwrap();
    let desired = app(vec![config("a", "a")]);
    assert_eq!(install(&cluster, &desired).await.outcome, Outcome::Done);
    let api: Api<ConfigMap> = Api::namespaced(simulated.client(), "default");
    let finalizers = |all: Value| kube::api::Patch::Merge(json!({ "metadata": { "finalizers": all } }));
    let params = kube::api::PatchParams::default();
    api.patch("a", &params, &finalizers(json!(["example.org/x"]))).await.unwrap();
    api.delete("a", &DeleteParams::default()).await.unwrap();
    let first = planned(&cluster, &desired).await;
    api.patch("a", &params, &finalizers(json!([]))).await.unwrap();
    let theirs = serde_json::from_value(config("a", "a").1).unwrap();
    api.create(&PostParams::default(), &theirs).await.unwrap();
    let there = uid_of(&simulated, "a").await;
    let finished = done(&cluster, first, never()).await;
    assert_eq!(finished.outcome, Outcome::Done, "{:?}", finished.failures);
    assert_eq!(uid_of(&simulated, "a").await, there);
}

/// Found by reading: a hook that had succeeded was deleted by its name, too.
#[tokio::test(start_paused = true)]
async fn what_took_the_place_of_a_hook_stays() {
    let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
    let cluster = Cluster::new(simulated.client()).await.unwrap();
    let (_, mut hook) = config("hook", "ours");
    hook["metadata"]["annotations"] = json!({ "helm.sh/hook-delete-policy": "hook-succeeded" });
    let desired = app(vec![(Stage::PreHooks(0), hook), config("a", "a")]);
    assert_eq!(install(&cluster, &desired).await.outcome, Outcome::Done);
    assert_eq!(uid_of(&simulated, "hook").await, None);
    // Another revision of it, whose place is taken between its turn and its clean-up.
    let mut again = desired.clone();
    Arc::make_mut(&mut again.components[0].objects[0].1).value["data"]["is"] = json!("new");
    let (server, others) = (simulated.server(), simulated.client());
    let armed = Arc::new(AtomicBool::new(true));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (mut server, others, armed) = (server.clone(), others.clone(), Arc::clone(&armed));
        async move {
            let writes = request.method() == Method::PATCH
                && request.uri().path().ends_with("/configmaps/hook")
                && !request.uri().query().is_some_and(|query| query.contains("dryRun"));
            let answer = tower::Service::call(&mut server, request).await?;
            if writes && armed.swap(false, Ordering::Relaxed) {
                made_anew(others, config("hook", "theirs").1).await;
            }
            Ok::<_, kube::Error>(answer)
        }
    });
    let cluster = cluster.through(kube::Client::new(service, "default"));
    let finished = install(&cluster, &again).await;
    assert_eq!(finished.outcome, Outcome::Done, "{:?}", finished.failures);
    assert!(uid_of(&simulated, "hook").await.is_some());
}

/// A cluster whose API server is not ready for a while, as it says by this code.
async fn starting(simulated: &cozy_sim::Cluster, code: u16, lasts: Duration) -> Cluster {
    let (server, begun) = (simulated.server(), Instant::now());
    let service = tower::service_fn(move |request: Request<Body>| {
        let mut server = server.clone();
        async move {
            let asked = request.uri().path() == "/readyz";
            let mut answer = tower::Service::call(&mut server, request).await?;
            if asked && begun.elapsed() < lasts {
                *answer.status_mut() = StatusCode::from_u16(code).unwrap();
            }
            Ok::<_, kube::Error>(answer)
        }
    });
    let calm = Cluster::new(simulated.client()).await.unwrap();
    calm.through(kube::Client::new(service, "default"))
}

/// Found by reading: an API server refuses what it will allow once it has read its roles, and that failed the run.
#[tokio::test(start_paused = true)]
async fn who_is_refused_by_an_api_server_that_has_just_started_asks_again() {
    let forbidden = |times| Refusal { times, ..Refusal::of("apply", "configmaps/a", 403, "Forbidden", "no") };
    // How long it is not ready, what it says then, how often it refuses, and how that ends after how many seconds.
    let rows = [
        (20, 500, Some(5), Outcome::Done, 0..4),
        // Who may not even ask that is refused for want of roles, too, or for good.
        (20, 403, Some(5), Outcome::Done, 0..4),
        (600, 403, None, Outcome::Failed, 5..20),
        (0, 500, Some(1), Outcome::Done, 0..1),
        (0, 500, None, Outcome::Failed, 0..1),
    ];
    for (lasts, code, times, outcome, seconds) in rows {
        let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
        let desired = app(vec![config("a", "a")]);
        let first = planned(&Cluster::new(simulated.client()).await.unwrap(), &desired).await;
        let cluster = starting(&simulated, code, Duration::from_secs(lasts)).await;
        simulated.refuse(forbidden(times));
        let begun = Instant::now();
        let finished = done(&cluster, first, never()).await;
        assert_eq!(finished.outcome, outcome, "{code} {times:?}: {:?}", finished.failures);
        assert!(seconds.contains(&begun.elapsed().as_secs()), "{code} {times:?}: {:?}", begun.elapsed());
        if let Some((_, failure)) = finished.failures.first() {
            assert_eq!(failure.code.0, 4002);
        }
    }
}

/// Found by reading: an API server that had just started did not know yet who asked, and that failed the run.
#[tokio::test(start_paused = true)]
async fn who_is_not_known_to_an_api_server_that_has_just_started_asks_again() {
    for (times, outcome, seconds) in [(Some(8), Outcome::Done, 0..13), (None, Outcome::Failed, 13..22)] {
        let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
        let cluster = Cluster::new(simulated.client()).await.unwrap();
        let first = planned(&cluster, &app(vec![config("a", "a")])).await;
        simulated.refuse(Refusal {
            times,
            ..Refusal::of("apply", "configmaps/a", 401, "Unauthorized", "Unauthorized")
        });
        let begun = Instant::now();
        let finished = done(&cluster, first, never()).await;
        assert_eq!(finished.outcome, outcome, "{times:?}: {:?}", finished.failures);
        assert!(seconds.contains(&begun.elapsed().as_secs()), "{times:?}: {:?}", begun.elapsed());
        assert!(finished.failures.iter().all(|(_, failure)| failure.code.0 == 4002));
    }
}

/// Found by reading: what became ready while its watch said nothing was not ready at the deadline.
#[tokio::test(start_paused = true)]
async fn what_is_waited_for_is_looked_at_once_more_at_the_deadline() {
    beside_controllers(async |simulated| {
        let server = simulated.server();
        let service = tower::service_fn(move |request: Request<Body>| {
            let mut server = server.clone();
            async move {
                if request.uri().query().is_some_and(|query| query.contains("watch=true")) {
                    std::future::pending::<()>().await;
                }
                tower::Service::call(&mut server, request).await
            }
        });
        let mut desired = app(vec![job(Stage::Objects, "once", &json!({}))]);
        desired.components[0].deadline = Duration::from_secs(20);
        let calm = Cluster::new(simulated.client()).await.unwrap();
        let first = planned(&calm, &desired).await;
        calm.ensure_system_namespace().await.unwrap();
        let begun = Instant::now();
        let finished = done(&calm.through(kube::Client::new(service, "default")), first, never()).await;
        assert_eq!(finished.outcome, Outcome::Done, "{:?}", finished.failures);
        assert_eq!(begun.elapsed().as_secs(), 20);
    })
    .await;
}

/// Found by reading: a write that nobody answered held its component up for more than a minute beyond its deadline.
#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_given_up_soon_after_the_deadline() {
    let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
    let calm = Cluster::new(simulated.client()).await.unwrap();
    let mut desired = app(vec![config("a", "a")]);
    desired.components[0].deadline = Duration::from_secs(20);
    let first = planned(&calm, &desired).await;
    calm.ensure_system_namespace().await.unwrap();
    let server = simulated.server();
    let service = tower::service_fn(move |request: Request<Body>| {
        let mut server = server.clone();
        async move {
            if request.uri().path().ends_with("/configmaps/a") {
                std::future::pending::<()>().await;
            }
            tower::Service::call(&mut server, request).await
        }
    });
    let begun = Instant::now();
    let finished = done(&calm.through(kube::Client::new(service, "default")), first, never()).await;
    assert_eq!((finished.outcome, begun.elapsed().as_secs()), (Outcome::Failed, 25));
    assert_eq!(finished.failures[0].1.code.0, 4004);
}
