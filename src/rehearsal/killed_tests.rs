//! Runs that die at every write, after the server has acted and before it answers; for the server, that is also before
//! the next one. Whatever the moment, the next run, which wants other objects, ends with what is wanted then, and with
//! nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cozy_sim::{Controllers, run_controllers};
use futures::FutureExt as _;
use http::{Method, Request};
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::client::Body;
use kube::core::GroupVersionKind;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::cluster::Cluster;
use crate::cluster::lease::{Holder, Liveness};
use crate::execute::event::{Event, Outcome, Reporter};
use crate::execute::hosts::Simulated;
use crate::execute::run::{Options, Shared, run};
use crate::model::object::Object;
use crate::plan::planner::{Desired, DesiredComponent, plan};
use crate::plan::{Stage, tests};

/// How many components there are, of twelve objects each.
const COMPONENTS: usize = 5;

struct Silent;

impl Reporter for Silent {
    fn report(&self, _: &Event) {}
}

/// The run before this one is dead: it was killed.
struct Dead;

impl Liveness for Dead {
    fn is_dead(&self, _: &Holder) -> bool {
        true
    }
}

fn holder(pid: usize) -> Holder {
    Holder {
        machine: "m".to_owned(),
        boot: "b".to_owned(),
        pid_namespace: String::new(),
        pid: u32::try_from(pid).unwrap(),
        started: 1,
        host: "h".to_owned(),
        command: "cozy install".to_owned(),
    }
}

/// The objects of a component. Some have other names in each round: those of the round before are to go.
fn objects(number: usize, round: usize) -> Vec<(Stage, Arc<Object>)> {
    let namespace = format!("part-{number}");
    let made = |api: &str, kind: &str, name: String, more: &Value| {
        let mut value =
            json!({ "apiVersion": api, "kind": kind, "metadata": { "name": name, "namespace": namespace } });
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        (Stage::Objects, Arc::new(Object::from_value(value).unwrap()))
    };
    let pod = json!({ "containers": [{ "name": "main", "image": format!("example.org/web:{round}") }] });
    let web = json!({ "spec": {
        "selector": { "matchLabels": { "app": "web" } },
        "template": { "metadata": { "labels": { "app": "web" } }, "spec": pod },
    } });
    let service = json!({ "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80 }] } });
    let own = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
    let mut all = vec![
        (Stage::Namespaces, Arc::new(Object::from_value(own).unwrap())),
        made("v1", "ServiceAccount", format!("round-{round}"), &json!({})),
        made("v1", "Service", "web".to_owned(), &service),
        made("apps/v1", "Deployment", "web".to_owned(), &web),
    ];
    for config in 0..8 {
        let name = if config < 4 { format!("stays-{config}") } else { format!("round-{round}-{config}") };
        all.push(made("v1", "ConfigMap", name, &json!({ "data": { "round": round.to_string() } })));
    }
    all
}

fn desired(round: usize) -> Desired {
    let component = |number: usize| DesiredComponent {
        needs: number.checked_sub(1).map(|before| format!("part-{before}")).into_iter().collect(),
        expect: Duration::from_secs(5),
        ..tests::component(&format!("part-{number}"), objects(number, round))
    };
    tests::of((0..COMPONENTS).map(component).collect())
}

/// Where a run dies: at its so-manyeth write.
#[derive(Debug, Clone, Copy)]
struct Death(usize);

/// A client whose requests end for ever at a write, and what tells that.
fn mortal(simulated: &cozy_sim::Cluster, death: Option<Death>) -> (kube::Client, Arc<Notify>) {
    let (server, died, writes) = (simulated.server(), Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let tells = Arc::clone(&died);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (mut server, writes, died) = (server.clone(), Arc::clone(&writes), Arc::clone(&died));
        async move {
            let dry = request.uri().query().is_some_and(|query| query.contains("dryRun=All"));
            let reads = request.method() == Method::GET || dry;
            let write = if reads { 0 } else { writes.fetch_add(1, Ordering::Relaxed) + 1 };
            if death.is_none_or(|Death(last)| write <= last) {
                let answer = tower::Service::call(&mut server, request).await;
                if death.is_none_or(|Death(last)| write != last) {
                    return answer;
                }
            }
            died.notify_one();
            std::future::pending().await
        }
    });
    (kube::Client::new(service, "default"), tells)
}

/// One life of a run; answers whether it came to its end.
async fn live(simulated: &cozy_sim::Cluster, round: usize, death: Option<Death>) -> bool {
    let (client, died) = mortal(simulated, death);
    let work = async {
        let cluster = Cluster::new(client).await.unwrap();
        let mut desired = desired(round);
        let inventories = cluster.inventories().await.unwrap();
        let (observed, inventories) = cluster.observe(&mut desired, inventories, 32).await.unwrap();
        let plan = plan(&desired, &observed).unwrap();
        cluster.ensure_system_namespace().await.unwrap();
        let lock = cluster.locker().unwrap().take(&holder(round), &Dead).await.unwrap();
        let options = Options { concurrency: 32, force_conflicts: false, timeout: None, cloud: None };
        let shared = Shared::new(Some(&cluster), &Simulated, &Silent, options);
        let finished = run(&shared, &plan, inventories.all, std::future::pending().boxed_local()).await;
        assert_eq!(finished.outcome, Outcome::Done, "{death:?}: {:?}", finished.failures);
        lock.release().await.unwrap();
    };
    tokio::select! {
        biased;
        () = died.notified() => false,
        () = work => true,
    }
}

/// Everything that is there of the kinds that runs make, but for the cluster's own.
async fn there(simulated: &cozy_sim::Cluster) -> BTreeSet<String> {
    let kinds = [
        ("", "Namespace"),
        ("", "ServiceAccount"),
        ("", "Service"),
        ("apps", "Deployment"),
        ("", "ConfigMap"),
    ];
    let mut all = BTreeSet::new();
    for (group, kind) in kinds {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
        let api: Api<DynamicObject> = Api::all_with(simulated.client(), &resource);
        for object in api.list(&ListParams::default()).await.unwrap() {
            let name = object.metadata.name.unwrap();
            let namespace = object.metadata.namespace.unwrap_or_default();
            let own = if kind == "Namespace" { &name } else { &namespace };
            if own.starts_with("part-") && !["default", "kube-root-ca.crt"].contains(&name.as_str()) {
                all.insert(format!("{kind} {namespace}/{name}"));
            }
        }
    }
    all
}

fn wanted(round: usize) -> BTreeSet<String> {
    let ids = (0..COMPONENTS).flat_map(|number| objects(number, round)).map(|(_, object)| object.id.clone());
    ids.map(|id| format!("{} {}/{}", id.kind.kind, id.namespace.unwrap_or_default(), id.name)).collect()
}

/// What is there is what is wanted, and another run would do nothing.
async fn settled(simulated: &cozy_sim::Cluster, round: usize, when: Death) {
    assert_eq!(there(simulated).await, wanted(round), "{when:?}");
    let cluster = Cluster::new(simulated.client()).await.unwrap();
    let mut desired = desired(round);
    let inventories = cluster.inventories().await.unwrap();
    assert_eq!(cluster.inventories_state().await.unwrap(), inventories.state, "{when:?}");
    for component in &desired.components {
        let known = inventories.all[&component.name].ids().cloned().collect::<BTreeSet<_>>();
        let own = component.objects.iter().map(|(_, object)| object.id.clone()).collect();
        assert_eq!(known, own, "{when:?}: the inventory of {}", component.name);
    }
    let (observed, _) = cluster.observe(&mut desired, inventories, 32).await.unwrap();
    let plan = plan(&desired, &observed).unwrap();
    let open: Vec<String> =
        plan.steps.iter().filter(|step| !step.done).map(|step| step.id.to_string()).collect();
    let mut unready = Vec::new();
    for (id, _) in observed.objects.iter().filter(|(_, live)| !live.ready) {
        unready.push(format!("{id}: {}", cluster.get(id, "").await.unwrap().unwrap_or_default()));
    }
    assert!(plan.is_empty(), "{when:?}: to do: {open:?}, not ready: {unready:?}");
}

/// The life and death of a run, the first on its cluster or the next, and what the one after it makes of that; answers
/// whether it died.
async fn dies(death: Death, round: usize) -> bool {
    let simulated = cozy_sim::Cluster::new(cozy_sim::Options { nodes: 3, ..cozy_sim::Options::default() });
    let controllers = run_controllers(simulated.client(), Controllers::default());
    let lives = async {
        for before in 0..round {
            assert!(live(&simulated, before, None).await);
        }
        if live(&simulated, round, Some(death)).await {
            return false;
        }
        assert!(live(&simulated, round + 1, None).await);
        settled(&simulated, round + 1, death).await;
        true
    };
    tokio::select! {
        biased;
        died = lives => died,
        () = controllers => panic!("the controllers ended"),
    }
}

/// Dies in a round at each other write from `first` on; in the quick tests at each eighth. Answers about how many writes
/// there are.
fn at_each_other_write(round: usize, first: usize) -> usize {
    assert_eq!(wanted(0).len(), 60);
    #[expect(clippy::disallowed_methods, reason = "tests/run says how thorough its tests are")]
    let step = if std::env::var("COZY_TESTS").is_ok_and(|tests| tests == "quick") { 8 } else { 2 };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let writes = (first..1_000).step_by(step);
    writes.take_while(|write| runtime.block_on(dies(Death(*write), round))).count() * step
}

/// The first round writes 60 objects, the inventories and the lock.
#[test]
fn at_whichever_write_the_first_run_dies_the_next_one_leaves_what_is_wanted_and_nothing_else() {
    let writes = at_each_other_write(0, 1).min(at_each_other_write(0, 2));
    assert!(writes > 70, "{writes} writes");
}

/// Further rounds write 45 objects, delete 25, and keep the inventories and the lock.
#[test]
fn at_whichever_odd_write_a_run_dies_the_next_one_leaves_what_is_wanted_and_nothing_else() {
    let writes = at_each_other_write(1, 1);
    assert!(writes > 84, "{writes} writes");
}

#[test]
fn at_whichever_even_write_a_run_dies_the_next_one_leaves_what_is_wanted_and_nothing_else() {
    let writes = at_each_other_write(1, 2);
    assert!(writes > 84, "{writes} writes");
}
