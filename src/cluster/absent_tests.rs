//! What is not there, and what only looks so: an API server that has just started does not serve all kinds yet, and what is
//! in front of one has pages of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cozy_sim::Options;
use http::{Method, Request, StatusCode};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::core::GroupVersionKind;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::Cluster;
use super::apply::Pruned;
use super::error::ClusterError;
use super::inventory::{Entry, Inventories, Inventory};
use crate::model::object::{GroupKind, Object, ObjectId};
use crate::plan::Stage;
use crate::plan::live::Leftover;
use crate::plan::planner::DesiredComponent;
use crate::plan::tests::{component, of};

type Crd = k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// Until when discovery does not have what was defined at the beginning.
const LATE: Duration = Duration::from_secs(60);

fn id(kind: &str, name: &str) -> ObjectId {
    let kind = if kind == "Thing" { GroupKind::new("x.example.org", kind) } else { GroupKind::new("", kind) };
    ObjectId { kind, namespace: Some("default".to_owned()), name: name.to_owned() }
}

/// A cluster with `Thing default/t`, whose kind is in discovery late.
async fn bed() -> cozy_sim::Cluster {
    let simulated = cozy_sim::Cluster::new(Options { discovery_lag: LATE, ..Options::default() });
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": "things.x.example.org" },
        "spec": {
            "group": "x.example.org", "scope": "Namespaced",
            "names": { "kind": "Thing", "plural": "things", "singular": "thing", "listKind": "ThingList" },
            "versions": [{ "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } }],
        },
    });
    let crds: Api<Crd> = Api::all(simulated.client());
    crds.create(&PostParams::default(), &serde_json::from_value(definition).unwrap()).await.unwrap();
    sleep_until(Instant::now() + Duration::from_secs(1)).await;
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("x.example.org", "v1", "Thing"));
    let things: Api<DynamicObject> = Api::namespaced_with(simulated.client(), "default", &resource);
    let thing = json!({ "apiVersion": "x.example.org/v1", "kind": "Thing", "metadata": { "name": "t" }, "spec": { "a": 1 } });
    things.patch("t", &PatchParams::apply("cozy"), &Patch::Apply(&thing)).await.unwrap();
    simulated
}

/// The cluster, as it is reached: its server is not `ready` at first, and a proxy `hides` it.
async fn reached(simulated: &cozy_sim::Cluster, ready: bool, hides: Arc<AtomicBool>) -> Cluster {
    let (server, begun) = (simulated.server(), Instant::now());
    let service = tower::service_fn(move |mut request: Request<Body>| {
        let (mut server, hides) = (server.clone(), Arc::clone(&hides));
        async move {
            let asked = request.uri().path() == "/readyz";
            if request.method() == Method::GET && hides.load(Ordering::Relaxed) && !asked {
                *request.uri_mut() = http::Uri::from_static("/nowhere");
            }
            let mut answer = tower::Service::call(&mut server, request).await?;
            if asked && !ready && begun.elapsed() < LATE {
                *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            }
            Ok::<_, kube::Error>(answer)
        }
    });
    Cluster::new(kube::Client::new(service, "default")).await.unwrap()
}

/// Found by reading: what an API server that had just started did not serve yet was not there, and was forgotten.
#[tokio::test(start_paused = true)]
async fn what_is_not_served_yet_is_not_taken_for_gone() {
    let simulated = bed().await;
    let cluster = reached(&simulated, false, Arc::default()).await;
    let (thing, other) = (id("Thing", "t"), id("Thing", "other"));
    for id in [&thing, &other] {
        let unknown = cluster.get(id, "").await.unwrap_err();
        assert!(matches!(unknown, ClusterError::NoSuchKind { .. }) && unknown.is_transient(), "{unknown}");
        assert!(cluster.prune(id, None).await.is_err());
    }
    // Nothing is planned by what it knows.
    let refused = cluster.observe(&mut of(Vec::new()), Inventories::default(), 4).await.err().unwrap();
    assert!(refused.is_transient() && refused.to_string().contains("/readyz"), "{refused}");
    sleep_until(Instant::now() + LATE * 2).await;
    assert!(cluster.get(&thing, "").await.unwrap().is_some());
    assert_eq!(cluster.get(&other, "").await.unwrap(), None);
    assert_eq!(cluster.prune(&other, None).await.unwrap(), Pruned::Gone);
}

/// What a component has applied.
fn inventories_of<const N: usize>(ids: [&ObjectId; N]) -> Inventories {
    let mut inventory = Inventory::default();
    for id in ids {
        inventory.add(id);
        inventory.record(id, Entry { desired: Some("d".to_owned()), ..Entry::default() });
    }
    Inventories { all: BTreeMap::from([("a".parse().unwrap(), inventory)]), ..Inventories::default() }
}

/// The one that is asked is ready, and has not heard of the kind: another one of several API servers has.
#[tokio::test(start_paused = true)]
async fn what_is_of_a_kind_that_is_defined_is_not_forgotten() {
    let simulated = bed().await;
    let cluster = reached(&simulated, true, Arc::default()).await;
    let nobodys = ObjectId { kind: GroupKind::new("y.example.org", "Thing"), ..id("Thing", "t") };
    let inventories = inventories_of([&id("Thing", "t"), &nobodys]);
    let (observed, _) = cluster.observe(&mut of(Vec::new()), inventories, 4).await.unwrap();
    // No word of it: it is to be deleted.
    assert_eq!(observed.leftovers.keys().collect::<Vec<_>>(), [&nobodys]);
    let unknown = cluster.prune(&id("Thing", "t"), None).await.unwrap_err();
    assert!(unknown.is_transient(), "{unknown}");
    assert_eq!(cluster.prune(&nobodys, None).await.unwrap(), Pruned::Gone);
}

/// Found by reading: a load balancer's 404 said that an object was gone.
#[tokio::test(start_paused = true)]
async fn a_page_that_is_not_found_is_no_object_that_is_gone() {
    let simulated = bed().await;
    let hides = Arc::new(AtomicBool::new(false));
    let cluster = reached(&simulated, true, Arc::clone(&hides)).await;
    let (there, none) = (id("ServiceAccount", "default"), id("ServiceAccount", "none"));
    assert!(cluster.get(&there, "v1").await.unwrap().is_some());
    assert_eq!(cluster.get(&none, "v1").await.unwrap(), None);
    hides.store(true, Ordering::Relaxed);
    for id in [&there, &none] {
        let unknown = cluster.get(id, "v1").await.unwrap_err();
        assert!(unknown.is_transient(), "{unknown}");
        assert!(cluster.prune(id, None).await.is_err());
    }
}

/// Found by reading: a group that one of several API servers had not heard of yet failed the gate of its `APIService`.
#[tokio::test(start_paused = true)]
async fn a_group_that_does_not_answer_yet_is_asked_again() {
    let cluster = Cluster::new(bed().await.client()).await.unwrap();
    let refused = cluster.answers("nobodys.example.org", "v1").await.unwrap_err();
    assert!(refused.is_transient() && refused.is_not_found(), "{refused}");
}

/// Found by reading: what is of a group whose own server was away was forgotten.
#[tokio::test(start_paused = true)]
async fn what_is_of_an_aggregated_group_whose_server_is_away_is_not_forgotten() {
    let simulated = bed().await;
    let api: Api<DynamicObject> = Api::all_with(
        simulated.client(),
        &ApiResource::from_gvk(&GroupVersionKind::gvk("apiregistration.k8s.io", "v1", "APIService")),
    );
    let service = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": { "name": "v1.y.example.org" },
        "spec": { "group": "y.example.org", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 1,
            "insecureSkipTLSVerify": true, "service": { "namespace": "default", "name": "nobody" } },
    });
    api.create(&PostParams::default(), &serde_json::from_value(service).unwrap()).await.unwrap();
    let cluster = reached(&simulated, true, Arc::default()).await;
    let of_group = |group: &str| ObjectId { kind: GroupKind::new(group, "Thing"), ..id("Thing", "t") };
    let (away, nobodys) = (of_group("y.example.org"), of_group("z.example.org"));
    let inventories = inventories_of([&away, &nobodys]);
    let (observed, _) = cluster.observe(&mut of(Vec::new()), inventories, 4).await.unwrap();
    assert_eq!(observed.leftovers.keys().collect::<Vec<_>>(), [&nobodys]);
    assert!(cluster.prune(&away, None).await.unwrap_err().is_transient());
    assert_eq!(cluster.prune(&nobodys, None).await.unwrap(), Pruned::Gone);
}

/// Found by reading: an object of a kind that only the cluster knows was looked for where none of its kind is.
#[tokio::test(start_paused = true)]
async fn objects_of_kinds_that_the_cluster_knows_are_put_where_these_live() {
    let simulated = bed().await;
    sleep_until(Instant::now() + LATE).await;
    let cluster = Cluster::new(simulated.client()).await.unwrap();
    let thing = json!({ "apiVersion": "x.example.org/v1", "kind": "Thing", "metadata": { "name": "t" }, "spec": { "a": 1 } });
    let wanted = |namespace: Option<&str>| {
        let object = Arc::new(Object::from_value(thing.clone()).unwrap());
        let idle = ObjectId { namespace: None, ..id("Thing", "idle") };
        let component = component("a", vec![(Stage::Objects, object)]);
        of(vec![DesiredComponent { namespace: namespace.map(str::to_owned), idle: vec![idle], ..component }])
    };
    // One that was written down where it cannot be is not there, and the one that is wanted is not deleted for it.
    let misplaced = ObjectId { namespace: None, ..id("Thing", "t") };
    let inventories = inventories_of([&misplaced]);
    let mut desired = wanted(Some("default"));
    let (observed, _) = cluster.observe(&mut desired, inventories, 4).await.unwrap();
    assert_eq!(observed.objects.keys().collect::<Vec<_>>(), [&id("Thing", "t")]);
    assert_eq!(desired.components[0].idle, [id("Thing", "idle")]);
    assert_eq!(observed.leftovers, BTreeMap::from([(misplaced, Leftover::Gone)]));
    let refused = cluster.observe(&mut wanted(None), Inventories::default(), 4).await.err().unwrap();
    assert_eq!((refused.code().0, refused.is_transient()), (2011, false), "{refused}");
}
