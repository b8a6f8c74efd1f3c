//! Makes things ready after a while, as a cluster's own controllers, kubelets
//! and operators would: over an ordinary [`kube::Client`], by watches and
//! status writes, so that the same code can run against a real API server.

mod outcome;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// Says something of an object.
pub type Says<T> = Box<dyn Fn(&Value) -> Option<T> + Send + Sync>;

/// What the controllers are told.
pub struct Controllers {
    /// How long an object takes from each new generation to being ready; `None`: [`Self::usual`].
    pub readiness: Says<Duration>,
    /// The status that an operator gives to a custom resource; `None`: it stays without.
    pub status_of: Says<Value>,
    /// How long things take of which nothing is said.
    pub usual: Duration,
}

impl Default for Controllers {
    fn default() -> Self {
        Self { readiness: Box::new(|_| None), status_of: Box::new(|_| None), usual: Duration::from_secs(2) }
    }
}

/// The built-in kinds that become ready: group, version, kind, plural.
const KINDS: &[(&str, &str, &str, &str)] = &[
    ("apps", "v1", "Deployment", "deployments"),
    ("apps", "v1", "StatefulSet", "statefulsets"),
    ("apps", "v1", "DaemonSet", "daemonsets"),
    ("batch", "v1", "Job", "jobs"),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("", "v1", "Service", "services"),
];

/// Simulated work: the one place where virtual time passes in a controller.
#[expect(clippy::disallowed_methods, reason = "work that takes its time on the virtual clock")]
async fn work(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Runs until it is dropped.
pub async fn run_controllers(client: Client, config: Controllers) {
    let config = Arc::new(config);
    let (found, mut kinds) = mpsc::unbounded_channel();
    for (group, version, kind, plural) in KINDS {
        let gvk = GroupVersionKind::gvk(group, version, kind);
        // The receiver lives as long as this function.
        let _ = found.send(ApiResource::from_gvk_with_plural(&gvk, plural));
    }
    let mut tasks = FuturesUnordered::new();
    let mut discover = Box::pin(custom_kinds(client.clone(), found));
    loop {
        tokio::select! {
            biased;
            Some(resource) = kinds.recv() => tasks.push(one_kind(client.clone(), resource, Arc::clone(&config))),
            () = &mut discover => return,
            Some(()) = tasks.next() => {}
        }
    }
}

/// Tells of each kind that a CRD defines, once it is established.
async fn custom_kinds(client: Client, found: mpsc::UnboundedSender<ApiResource>) {
    let api: Api<CustomResourceDefinition> = Api::all(client);
    let mut events = watcher(api, watcher::Config::default()).default_backoff().applied_objects().boxed();
    let mut known = BTreeSet::new();
    while let Some(event) = events.next().await {
        let Ok(definition) = event else { continue };
        let established = definition.status.as_ref().is_some_and(|status| {
            status
                .conditions
                .iter()
                .flatten()
                .any(|condition| condition.type_ == "Established" && condition.status == "True")
        });
        let spec = &definition.spec;
        let Some(version) = spec.versions.iter().find(|version| version.storage) else { continue };
        if established && known.insert(definition.name_any()) {
            let gvk = GroupVersionKind::gvk(&spec.group, &version.name, &spec.names.kind);
            if found.send(ApiResource::from_gvk_with_plural(&gvk, &spec.names.plural)).is_err() {
                return;
            }
        }
    }
}

/// Follows one kind, and finishes each object after its time.
async fn one_kind(client: Client, resource: ApiResource, config: Arc<Controllers>) {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let mut events = watcher(api, watcher::Config::default()).default_backoff().applied_objects().boxed();
    let mut done: BTreeSet<(String, i64)> = BTreeSet::new();
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            event = events.next() => match event {
                None => return,
                Some(Err(_)) => {}
                Some(Ok(object)) => {
                    let key = (object.uid().unwrap_or_default(), object.metadata.generation.unwrap_or(0));
                    if object.metadata.deletion_timestamp.is_none() && done.insert(key) {
                        running.push(finish(client.clone(), resource.clone(), object, Arc::clone(&config)));
                    }
                }
            },
            Some(()) = running.next() => {}
        }
    }
}

/// Waits until an object is done, and writes what its controller would say.
async fn finish(client: Client, resource: ApiResource, object: DynamicObject, config: Arc<Controllers>) {
    let value = serde_json::to_value(&object).unwrap_or_default();
    let custom = !KINDS.iter().any(|(group, _, kind, _)| *group == resource.group && *kind == resource.kind);
    let status = if custom { (config.status_of)(&value) } else { None };
    let api: Api<DynamicObject> = match object.namespace() {
        Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let write = async |status: Value| {
        let params =
            PatchParams { field_manager: Some("sim-controllers".to_owned()), ..PatchParams::default() };
        // An object that was deleted meanwhile needs no status.
        let _ =
            api.patch_status(&object.name_any(), &params, &Patch::Merge(&json!({ "status": status }))).await;
    };
    if let Some(first) = outcome::begun(&value) {
        write(first).await;
    }
    work((config.readiness)(&value).unwrap_or(config.usual)).await;
    let nodes = outcome::nodes(&client, &resource).await;
    if let Some(last) = status.or_else(|| outcome::ended(&value, nodes)) {
        write(last).await;
    }
}
