//! Makes things ready after a while, as a cluster's own controllers, kubelets
//! and operators would: over an ordinary [`kube::Client`], by watches and
//! status writes, so that the same code can run against a real API server.
//!
//! - `outcome`: the statuses of what is under way, and of what is done
//! - `pods`: `ReplicaSets` and Pods; `services`: `EndpointSlices`; `volumes`: claims
//! - `hindered`: what keeps pods from starting; `refused`: pods that are not let in
//! - `nodes`: nodes that join, and when they are ready
//! - `trouble`: what goes wrong
//! - `world`: what all of them know

mod hindered;
mod nodes;
mod outcome;
mod pods;
mod refused;
mod services;
mod trouble;
mod volumes;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::{AbortHandle, abortable};
use futures::stream::FuturesUnordered;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use self::pods::{PODS_OF_A_WORKLOAD, wanted as wanted_pods};
pub use self::trouble::{Trouble, Troubled};
use self::world::World;
use crate::json as tree;

/// Says something of an object.
pub type Says<T> = Box<dyn Fn(&Value) -> Option<T> + Send + Sync>;

/// What the controllers are told.
pub struct Controllers {
    /// How long an object takes from each new generation to being ready; `None`: [`Self::usual`].
    pub readiness: Says<Duration>,
    /// The status that an operator gives to a custom resource; `None`: it stays without.
    pub status_of: Says<Value>,
    /// What goes wrong with an object.
    pub trouble: Says<Trouble>,
    /// The `CustomResourceDefinition`s that a workload's pods make when they run.
    pub brings: Says<Vec<Value>>,
    /// How long things take of which nothing is said.
    pub usual: Duration,
    /// Does the work of Kubernetes' own controllers, too. Off where they run: then only what a cloud and operators do
    /// is left: addresses of load balancers, volumes of CSI drivers, statuses of custom resources.
    pub pods: bool,
    /// Pods wait for the `ConfigMaps` and Secrets that they name, unless somebody's role lets him make such.
    pub references: bool,
    /// Says of a `DaemonSet` whether its pods give all others their network. Without it there is one from the start;
    /// with it, nodes are not ready before, and only pods on the host's network run.
    pub network: Option<Says<()>>,
}

impl Default for Controllers {
    fn default() -> Self {
        Self {
            readiness: Box::new(|_| None),
            status_of: Box::new(|_| None),
            trouble: Box::new(|_| None),
            brings: Box::new(|_| None),
            usual: Duration::from_secs(2),
            pods: true,
            references: true,
            network: None,
        }
    }
}

/// Who writes.
const MANAGER: &str = "sim-controllers";

/// The built-in kinds that become ready: group, version, kind, plural.
const KINDS: &[(&str, &str, &str, &str)] = &[
    ("apps", "v1", "Deployment", "deployments"),
    ("apps", "v1", "StatefulSet", "statefulsets"),
    ("apps", "v1", "DaemonSet", "daemonsets"),
    ("batch", "v1", "Job", "jobs"),
    ("apps", "v1", "ReplicaSet", "replicasets"),
    ("", "v1", "ReplicationController", "replicationcontrollers"),
    ("", "v1", "Pod", "pods"),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("", "v1", "Service", "services"),
    ("networking.k8s.io", "v1", "Ingress", "ingresses"),
    ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    ("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    ("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
    ("admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
    (
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
    ),
];

/// Those of [`KINDS`] that a cloud or a driver finishes.
const CLOUDS: &[&str] = &["Ingress", "PersistentVolumeClaim", "Service"];

/// Simulated work: the one place where virtual time passes in a controller.
#[expect(clippy::disallowed_methods, reason = "work that takes its time on the virtual clock")]
async fn work(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Runs until it is dropped.
pub async fn run_controllers(client: Client, config: Controllers) {
    let world = Arc::new(World::new(config.network.is_none()));
    let config = Arc::new(config);
    if config.pods {
        nodes::say_ready(&client, config.network.is_none(), None).await;
    }
    let shared = Shared { client: client.clone(), config, world };
    let (found, mut kinds) = mpsc::unbounded_channel();
    for (group, version, kind, plural) in
        KINDS.iter().filter(|(_, _, kind, _)| shared.config.pods || CLOUDS.contains(kind))
    {
        let gvk = GroupVersionKind::gvk(group, version, kind);
        // The receiver lives as long as this function.
        let _ = found.send(ApiResource::from_gvk_with_plural(&gvk, plural));
    }
    let mut tasks = FuturesUnordered::new();
    let mut discover = Box::pin(custom_kinds(client.clone(), found));
    let mut nodes = Box::pin(nodes::follow(shared.clone()));
    loop {
        tokio::select! {
            biased;
            Some(resource) = kinds.recv() => tasks.push(one_kind(shared.clone(), resource)),
            () = &mut discover => return,
            () = &mut nodes => return,
            Some(()) = tasks.next() => {}
        }
    }
}

/// What every controller has.
#[derive(Clone)]
struct Shared {
    client: Client,
    config: Arc<Controllers>,
    world: Arc<World>,
}

/// The objects of a namespace, or the cluster-wide ones, as plain values.
#[derive(Clone, Copy)]
struct Objects<'a> {
    client: &'a Client,
    namespace: &'a str,
}

impl Objects<'_> {
    fn api(&self, api_version: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
        if self.namespace.is_empty() {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), self.namespace, &resource)
        }
    }

    async fn get(&self, api_version: &str, kind: &str, plural: &str, name: &str) -> Option<Value> {
        let found = self.api(api_version, kind, plural).get_opt(name).await.ok().flatten()?;
        serde_json::to_value(found).ok()
    }

    async fn list(&self, api_version: &str, kind: &str, plural: &str, labels: &str) -> Vec<Value> {
        let params = ListParams::default().labels(labels);
        let found = self.api(api_version, kind, plural).list(&params).await.map(|list| list.items);
        let types = |mut object: Value| {
            object["apiVersion"] = json!(api_version);
            object["kind"] = json!(kind);
            object
        };
        found
            .unwrap_or_default()
            .into_iter()
            .filter_map(|it| serde_json::to_value(it).ok())
            .map(types)
            .collect()
    }

    async fn create(
        &self,
        api_version: &str,
        kind: &str,
        plural: &str,
        object: &Value,
    ) -> Result<Value, kube::Error> {
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let object = serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)?;
        let made = self.api(api_version, kind, plural).create(&params, &object).await?;
        serde_json::to_value(made).map_err(kube::Error::SerdeError)
    }

    /// Changes an object, and answers it unless it is gone.
    async fn change(
        &self,
        api_version: &str,
        kind: &str,
        plural: &str,
        name: &str,
        change: &Value,
    ) -> Option<Value> {
        let api = self.api(api_version, kind, plural);
        answered(api.patch(name, &changes(), &Patch::Merge(change)).await)
    }

    /// Changes an object's status, and answers it unless it is gone.
    async fn change_status(
        &self,
        api_version: &str,
        kind: &str,
        plural: &str,
        name: &str,
        change: &Value,
    ) -> Option<Value> {
        let api = self.api(api_version, kind, plural);
        answered(api.patch_status(name, &changes(), &Patch::Merge(change)).await)
    }
}

/// How the controllers change objects.
fn changes() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

/// An object that was changed; `None`: it is gone.
fn answered(changed: Result<DynamicObject, kube::Error>) -> Option<Value> {
    serde_json::to_value(changed.ok()?).ok()
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

/// What is being finished, by namespace and name: the uid and generation, and what ends the work on it.
type Under = BTreeMap<(String, String), (String, i64, Vec<AbortHandle>)>;

/// Follows one kind, and finishes each object after its time. As real controllers do, nobody works on what an object
/// was before: a newer generation, or another object of that name, ends the work on it.
async fn one_kind(shared: Shared, resource: ApiResource) {
    let api: Api<DynamicObject> = Api::all_with(shared.client.clone(), &resource);
    let mut events = watcher(api, watcher::Config::default()).default_backoff().applied_objects().boxed();
    let mut done: BTreeSet<(String, i64, bool)> = BTreeSet::new();
    let mut under = Under::new();
    let mut running = FuturesUnordered::new();
    // What runs on every node: it has more to do when another joins.
    let mut everywhere: BTreeMap<(String, String), (DynamicObject, Instant)> = BTreeMap::new();
    let mut nodes = shared.world.nodes();
    let daemons = resource.group == "apps" && resource.kind == "DaemonSet";
    loop {
        tokio::select! {
            biased;
            event = events.next() => match event {
                None => return,
                Some(Err(_)) => {}
                Some(Ok(object)) => {
                    let scheduled = object.annotations().contains_key(volumes::SELECTED_NODE);
                    let (uid, generation) =
                        (object.uid().unwrap_or_default(), object.metadata.generation.unwrap_or(0));
                    // What a workload made is part of its work.
                    let owned = matches!(resource.kind.as_str(), "Pod" | "ReplicaSet")
                        && object.owner_references().iter().any(|owner| owner.controller == Some(true));
                    let new = !owned
                        && object.metadata.deletion_timestamp.is_none()
                        && done.insert((uid.clone(), generation, scheduled));
                    if new {
                        let name = (object.namespace().unwrap_or_default(), object.name_any());
                        if daemons {
                            everywhere.insert(name.clone(), (object.clone(), Instant::now()));
                        }
                        let (task, handle) = abortable(work_on(shared.clone(), resource.clone(), object, None));
                        running.push(task);
                        let (before, older, handles) = under.entry(name).or_default();
                        if *before != uid || *older != generation {
                            handles.drain(..).for_each(|handle| handle.abort());
                        }
                        (*before, *older) = (uid, generation);
                        handles.push(handle);
                    }
                }
            },
            Ok(()) = nodes.changed(), if daemons => {
                for (name, (object, began)) in &everywhere {
                    let work = work_on(shared.clone(), resource.clone(), object.clone(), Some(*began));
                    let (task, handle) = abortable(work);
                    running.push(task);
                    under.entry(name.clone()).or_default().2.push(handle);
                }
            },
            Some(_) = running.next() => {}
        }
    }
}

/// Does the work on a generation of an object. `again`: it began then, and goes on only if that is still the newest one.
async fn work_on(shared: Shared, resource: ApiResource, object: DynamicObject, again: Option<Instant>) {
    if again.is_some() {
        let namespace = object.namespace().unwrap_or_default();
        let api: Api<DynamicObject> = Api::namespaced_with(shared.client.clone(), &namespace, &resource);
        let there = api.get_opt(&object.name_any()).await.ok().flatten();
        let same = there.is_some_and(|there| {
            there.uid() == object.uid()
                && there.metadata.generation == object.metadata.generation
                && there.metadata.deletion_timestamp.is_none()
        });
        if !same {
            return;
        }
    }
    let task = Task::new(shared, resource, object).await;
    Task { began: again, ..task }.finish().await;
}

/// Makes the kinds that an operator brings; those that are there stay.
async fn define(client: &Client, definitions: &[Value]) {
    let objects = Objects { client, namespace: "" };
    for definition in definitions {
        let (version, kind) = ("apiextensions.k8s.io/v1", "CustomResourceDefinition");
        // One that is there already is another's, or was made before.
        let _ = objects.create(version, kind, "customresourcedefinitions", definition).await;
    }
}

/// An object on its way to being done.
struct Task {
    shared: Shared,
    resource: ApiResource,
    /// With what it is, which items of lists do not say.
    value: Value,
    name: String,
    namespace: String,
    api: Api<DynamicObject>,
    /// It is none of [`KINDS`].
    custom: bool,
    /// How many nodes there are, where that matters.
    nodes: usize,
    /// When the work began that goes on because a node has joined.
    began: Option<Instant>,
}

impl Task {
    async fn new(shared: Shared, resource: ApiResource, object: DynamicObject) -> Self {
        let mut value = serde_json::to_value(&object).unwrap_or_default();
        value["apiVersion"] = json!(resource.api_version);
        value["kind"] = json!(resource.kind);
        let custom =
            !KINDS.iter().any(|(group, _, kind, _)| *group == resource.group && *kind == resource.kind);
        let api = match object.namespace() {
            Some(namespace) => Api::namespaced_with(shared.client.clone(), &namespace, &resource),
            None => Api::all_with(shared.client.clone(), &resource),
        };
        let nodes = nodes::of_daemons(&shared.client, &value).await.len();
        let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
        Self { shared, resource, value, name, namespace, api, custom, nodes, began: None }
    }

    async fn write(&self, status: Value) {
        // An object that was deleted meanwhile needs no status.
        let _ =
            self.api.patch_status(&self.name, &changes(), &Patch::Merge(&json!({ "status": status }))).await;
    }

    /// The kind, where the work of Kubernetes' own controllers is done here.
    fn kind(&self) -> &str {
        if self.custom || !self.shared.config.pods { "" } else { self.resource.kind.as_str() }
    }

    fn objects(&self) -> Objects<'_> {
        Objects { client: &self.shared.client, namespace: &self.namespace }
    }

    /// Waits until the object is done, and writes what its controller would say.
    async fn finish(&self) {
        let Shared { client, config, world } = &self.shared;
        if let Some(resting) = outcome::resting(&self.value).filter(|_| config.pods) {
            self.write(resting).await;
            return;
        }
        if let Some(mut first) = outcome::begun(&self.value, self.nodes).filter(|_| config.pods) {
            if self.began.is_some() {
                // A node has joined: what was updated before stays so.
                tree::as_map(&mut first).shift_remove("updatedNumberScheduled");
            }
            self.write(first).await;
        }
        let trouble = (config.trouble)(&self.value);
        if self.kind() == "Service" && trouble.is_none() {
            services::serve(&self.objects(), world, &self.value).await;
        }
        let pods = match self.kind() {
            "Deployment" | "StatefulSet" | "DaemonSet" | "Job" | "ReplicaSet" | "ReplicationController" => {
                Some(pods::make(client, world, &self.value).await)
            }
            "Pod" => Some(pods::alone(client, world, &self.value).await),
            _ => None,
        };
        if pods.as_ref().is_some_and(pods::Pods::need_network) {
            world.network().await;
        }
        if !self.passes(trouble, pods.as_ref()).await {
            return;
        }
        if let Some(pods) = &pods {
            pods.start(world, config.references).await;
        }
        let whole = (config.readiness)(&self.value).unwrap_or(config.usual);
        // A node that joins meanwhile is ready with the others; one that joins later takes no longer than anything.
        let left = |began: Instant| whole.saturating_sub(began.elapsed()).max(config.usual.min(whole));
        work(self.began.map_or(whole, left)).await;
        if let Some(pods) = pods {
            let on = pods.nodes();
            pods.become_ready(world).await;
            define(client, &(config.brings)(&self.value).unwrap_or_default()).await;
            if config.network.as_ref().is_some_and(|network| network(&self.value).is_some()) {
                world.connect();
                nodes::say_ready(client, true, Some(&on)).await;
            }
            // Pods that are ready are available only when they have been so for as long.
            let least = tree::at(&self.value, &["spec", "minReadySeconds"]).and_then(Value::as_u64);
            work(Duration::from_secs(least.unwrap_or_default())).await;
        }
        self.settle().await;
    }

    /// Lets go wrong what goes wrong; answers whether that passes.
    async fn passes(&self, trouble: Option<Trouble>, pods: Option<&pods::Pods<'_>>) -> bool {
        let Some(Trouble { what, lasts }) = trouble else { return true };
        if let Some(pods) = pods {
            pods.suffer(&self.shared.world, what).await;
        }
        let Some(lasts) = lasts else {
            if self.kind() == "Job" && what != Troubled::Silent {
                self.write(trouble::failed_job()).await;
            }
            return false;
        };
        work(lasts).await;
        if self.kind() == "Service" {
            services::serve(&self.objects(), &self.shared.world, &self.value).await;
        }
        true
    }

    /// Writes what is said of an object that is done.
    async fn settle(&self) {
        let Shared { config, world, .. } = &self.shared;
        if self.resource.kind == "PersistentVolumeClaim" && !self.custom {
            if config.pods {
                volumes::bind(&self.objects(), world, &self.value).await;
            } else {
                volumes::provision(&self.objects(), &self.value).await;
            }
            return;
        }
        if let Some(change) = outcome::certified(&self.value).filter(|_| config.pods) {
            // One that was deleted meanwhile needs no certificate.
            let _ = self.api.patch(&self.name, &changes(), &Patch::Merge(&change)).await;
        }
        let status = if self.custom { (config.status_of)(&self.value) } else { None };
        // Another node may have joined meanwhile.
        let on = nodes::of_daemons(&self.shared.client, &self.value).await.len();
        let ready = world.ready_of(tree::text(&self.value, &["metadata", "uid"])).min(on);
        if let Some(last) = status.or_else(|| outcome::ended(&self.value, (ready, on))) {
            self.write(last).await;
        }
    }
}
