//! `ReplicaSets` and Pods, named and owned as the real controllers do it: `NAME-HASH-SUFFIX` of a Deployment,
//! `NAME-0` of a `StatefulSet` with its claims, one for each node of a `DaemonSet`, and those of Jobs.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::trouble::{self, Troubled};
use super::world::{Ready, World};
use super::{Objects, hindered, nodes, refused, services, volumes, work};
use crate::json as tree;
use crate::state::suffix;

/// How many pods of a workload are made: what holds for so many holds for more of the same.
pub const PODS_OF_A_WORKLOAD: usize = 100;

/// The pods of a workload's generation, on their way to being ready.
pub(super) struct Pods<'a> {
    objects: Objects<'a>,
    workload: &'a Value,
    /// The pods' controller: the workload itself, or its `ReplicaSet`.
    owner: Value,
    made: Vec<(Value, Instant)>,
}

/// Answers how many replicas a workload wants.
pub(super) fn replicas(object: &Value, field: &str) -> usize {
    let wanted = tree::at(object, &["spec", field]).and_then(Value::as_u64).unwrap_or(1);
    usize::try_from(wanted).unwrap_or(usize::MAX)
}

/// Answers how many pods a workload wants at a time; of a `DaemonSet` the nodes decide that.
#[must_use]
pub fn wanted(workload: &Value) -> usize {
    match tree::text(workload, &["kind"]) {
        "Deployment" | "StatefulSet" | "ReplicaSet" | "ReplicationController" => {
            replicas(workload, "replicas")
        }
        "Job" => replicas(workload, "parallelism").min(replicas(workload, "completions")),
        "Pod" => 1,
        _ => 0,
    }
}

fn owned_by(owner: &Value) -> Value {
    json!([{
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    }])
}

/// Names a pod template, so that equal ones have equal names.
fn hash(template: &Value) -> String {
    // FNV-1a: short and the same everywhere.
    let hash = template.to_string().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    suffix(hash >> 8) + &suffix(hash & 0xff_ffff)
}

/// Makes the pods that a generation of a workload wants, and takes away those that it does not.
pub(super) async fn make<'a>(client: &'a Client, world: &'a World, workload: &'a Value) -> Pods<'a> {
    let namespace = tree::text(workload, &["metadata", "namespace"]);
    let objects = Objects { client, namespace };
    let kind = tree::text(workload, &["kind"]);
    let mut template = tree::at(workload, &["spec", "template"]).cloned().unwrap_or_default();
    let mut owner = workload.clone();
    if kind == "Deployment" {
        owner = replica_set(&objects, workload, &mut template).await;
    }
    let name = tree::text(&owner, &["metadata", "name"]).to_owned();
    let mut nodes = nodes::selected(client, template.get("spec").unwrap_or(&Value::Null)).await;
    let wanted = match kind {
        "DaemonSet" => nodes.len(),
        _ => wanted(workload).min(PODS_OF_A_WORKLOAD),
    };
    let live = owned(&objects, &owner, &template).await;
    let on = |pod: &Value, node: &str| tree::text(pod, &["spec", "nodeName"]) == node;
    let stays = |pod: &Value| kind != "DaemonSet" || nodes.iter().any(|node| on(pod, node));
    let (mut live, mut surplus): (Vec<_>, Vec<_>) = live.into_iter().partition(stays);
    surplus.extend(live.split_off(wanted.min(live.len())));
    for pod in surplus {
        remove(&objects, world, &pod).await;
    }
    if kind == "DaemonSet" {
        // The nodes that have a pod stand first, as the pods do.
        nodes.sort_by_key(|node| !live.iter().any(|pod| on(pod, node)));
    }
    let mut made: Vec<_> = live.into_iter().map(|pod| (pod, Instant::now())).collect();
    for index in made.len()..wanted {
        let mut pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"] });
        pod["metadata"]["namespace"] = json!(namespace);
        pod["metadata"]["ownerReferences"] = owned_by(&owner);
        if let Some(node) = nodes.get(index % nodes.len().max(1)) {
            pod["spec"]["nodeName"] = json!(node);
        }
        if kind == "StatefulSet" {
            let pod_name = format!("{name}-{index}");
            pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] = json!(index.to_string());
            pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] = json!(pod_name);
            volumes::claims_of(&objects, workload, &pod_name, &mut pod).await;
            pod["metadata"]["name"] = json!(pod_name);
        } else {
            pod["metadata"]["generateName"] = json!(format!("{name}-"));
        }
        if let Some(pod) = refused::create(&objects, (workload, &owner), &pod).await {
            volumes::used(client, world, &pod).await;
            made.push((pod, Instant::now()));
        }
    }
    Pods { objects, workload, owner, made }
}

/// Takes in a pod that nobody controls.
pub(super) async fn alone<'a>(client: &'a Client, world: &'a World, pod: &'a Value) -> Pods<'a> {
    let objects = Objects { client, namespace: tree::text(pod, &["metadata", "namespace"]) };
    volumes::used(client, world, pod).await;
    Pods { objects, workload: pod, owner: Value::Null, made: vec![(pod.clone(), Instant::now())] }
}

/// Answers the pods of an owner that still are as its template has them; others go.
async fn owned(objects: &Objects<'_>, owner: &Value, template: &Value) -> Vec<Value> {
    let labels: BTreeMap<String, String> = tree::labels(template);
    let terms: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let pods = objects.list("v1", "Pod", "pods", &terms.join(",")).await;
    let uid = tree::text(owner, &["metadata", "uid"]);
    pods.into_iter()
        .filter(|pod| {
            let owners = pod.get("metadata").map_or(&[][..], |it| tree::items(it, "ownerReferences"));
            owners.iter().any(|owner| tree::text(owner, &["uid"]) == uid)
        })
        .collect()
}

async fn remove(objects: &Objects<'_>, world: &World, pod: &Value) {
    let name = tree::text(pod, &["metadata", "name"]);
    world.known().pods.remove(&(objects.namespace.to_owned(), name.to_owned()));
    // What is gone already is gone.
    let _ = objects.api("v1", "Pod", "pods").delete(name, &DeleteParams::default()).await;
    services::publish(objects, world, &tree::labels(pod)).await;
}

/// Makes the `ReplicaSet` of a Deployment's template, or scales it.
async fn replica_set(objects: &Objects<'_>, deployment: &Value, template: &mut Value) -> Value {
    let hash = hash(template);
    let name = format!("{}-{hash}", tree::text(deployment, &["metadata", "name"]));
    let mut selector = deployment["spec"]["selector"].clone();
    selector["matchLabels"]["pod-template-hash"] = json!(hash);
    template["metadata"]["labels"]["pod-template-hash"] = json!(hash);
    let wanted = deployment["spec"]["replicas"].clone();
    // The newest set has the highest number; real ones are counted without gaps.
    let revision =
        json!({ "deployment.kubernetes.io/revision": deployment["metadata"]["generation"].to_string() });
    let set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": name, "namespace": objects.namespace, "labels": template["metadata"]["labels"],
            "annotations": revision, "ownerReferences": owned_by(deployment),
        },
        "spec": { "replicas": wanted, "selector": selector, "template": template },
    });
    if let Ok(made) = objects.create("apps/v1", "ReplicaSet", "replicasets", &set).await {
        return made;
    }
    let change = json!({ "metadata": { "annotations": revision }, "spec": { "replicas": wanted } });
    objects.change("apps/v1", "ReplicaSet", "replicasets", &name, &change).await.unwrap_or(set)
}

impl Pods<'_> {
    /// Tells whether the pods need a network of their own.
    pub(super) fn need_network(&self) -> bool {
        let of_pod: &[&str] = match tree::text(self.workload, &["kind"]) {
            "Pod" => &["spec", "hostNetwork"],
            _ => &["spec", "template", "spec", "hostNetwork"],
        };
        tree::at(self.workload, of_pod).is_none_or(|it| it != true)
    }

    /// Answers the nodes that the pods run on.
    pub(super) fn nodes(&self) -> Vec<String> {
        self.made.iter().map(|(pod, _)| tree::text(pod, &["spec", "nodeName"]).to_owned()).collect()
    }

    /// Waits until nothing keeps the pods from starting; meanwhile they say what does. `references`: whether objects
    /// that they name count.
    pub(super) async fn start(&self, world: &World, references: bool) {
        let mut said = None;
        while let Some((pod, _)) = self.made.first()
            && let Some(now) = hindered::by(&self.objects, pod, references).await
        {
            if said.as_ref() != Some(&now) {
                self.say(world, now.0, Some(&now.1)).await;
                said = Some(now);
            }
            work(Duration::from_secs(1)).await;
        }
    }

    /// Lets something go wrong with the pods.
    pub(super) async fn suffer(&self, world: &World, what: Troubled) {
        self.say(world, what, None).await;
    }

    async fn say(&self, world: &World, what: Troubled, words: Option<&str>) {
        for (pod, _) in &self.made {
            let Some((status, reason, message)) = trouble::of_pod(pod, what, words) else { continue };
            let name = tree::text(pod, &["metadata", "name"]);
            world.known().pods.remove(&(self.objects.namespace.to_owned(), name.to_owned()));
            self.objects.change_status("v1", "Pod", "pods", name, &status).await;
            trouble::warn(&self.objects, pod, reason, &message).await;
        }
    }

    /// Lets the pods be ready, or done if they are a Job's, and takes away those of older templates.
    pub(super) async fn become_ready(self, world: &World) {
        let Self { objects, workload, owner, made } = self;
        let job = tree::text(workload, &["kind"]) == "Job";
        let count = made.len();
        let mut labels = BTreeMap::new();
        for (pod, since) in made {
            let name = tree::text(&pod, &["metadata", "name"]).to_owned();
            if world.known().pods.contains_key(&(objects.namespace.to_owned(), name.clone())) {
                labels = tree::labels(&pod);
                continue;
            }
            let address = world.known().new_address();
            let status = json!({ "status": status(&pod, since, &address, job) });
            let Some(pod) = objects.change_status("v1", "Pod", "pods", &name, &status).await else {
                continue;
            };
            labels = tree::labels(&pod);
            if !job {
                let ready = Ready { labels: labels.clone(), pod };
                world.known().pods.insert((objects.namespace.to_owned(), name), ready);
            }
        }
        services::publish(&objects, world, &labels).await;
        if tree::text(&owner, &["kind"]) == "ReplicaSet" {
            let name = tree::text(&owner, &["metadata", "name"]);
            let status = json!({ "status": {
                "replicas": count, "fullyLabeledReplicas": count, "readyReplicas": count, "availableReplicas": count,
                "observedGeneration": owner["metadata"]["generation"],
            } });
            objects.change_status("apps/v1", "ReplicaSet", "replicasets", name, &status).await;
            retire(&objects, world, workload, name).await;
        }
    }
}

/// Scales the other `ReplicaSets` of a Deployment down.
async fn retire(objects: &Objects<'_>, world: &World, deployment: &Value, current: &str) {
    // Only a changed Deployment can have others.
    if deployment["metadata"]["generation"] == 1 {
        return;
    }
    let uid = tree::text(deployment, &["metadata", "uid"]);
    for set in objects.list("apps/v1", "ReplicaSet", "replicasets", "").await {
        let owners = set.get("metadata").map_or(&[][..], |it| tree::items(it, "ownerReferences"));
        let name = tree::text(&set, &["metadata", "name"]);
        let ours = owners.iter().any(|owner| tree::text(owner, &["uid"]) == uid);
        if !ours || name == current || set["spec"]["replicas"] == 0 {
            continue;
        }
        let change = json!({ "spec": { "replicas": 0 } });
        objects.change("apps/v1", "ReplicaSet", "replicasets", name, &change).await;
        let template = set["spec"]["template"].clone();
        for pod in owned(objects, &set, &template).await {
            remove(objects, world, &pod).await;
        }
    }
}

fn status(pod: &Value, since: Instant, address: &str, done: bool) -> Value {
    let made = tree::text(pod, &["metadata", "creationTimestamp"]).parse::<Timestamp>().unwrap_or_default();
    let waited = SignedDuration::try_from(since.elapsed()).unwrap_or_default();
    let now = crate::state::stamp(made.saturating_add(waited).unwrap_or(made));
    let condition = |kind: &str, yes: bool| json!({ "type": kind, "status": if yes { "True" } else { "False" }, "lastTransitionTime": now });
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    let state = if done {
        json!({ "terminated": { "exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now } })
    } else {
        json!({ "running": { "startedAt": now } })
    };
    let containers: Vec<_> = tree::items(spec, "containers")
        .iter()
        .map(|container| {
            json!({
                "name": container["name"], "image": container["image"], "imageID": "", "ready": !done,
                "started": !done, "restartCount": 0, "state": state,
            })
        })
        .collect();
    json!({
        "phase": if done { "Succeeded" } else { "Running" },
        "podIP": address, "podIPs": [{ "ip": address }], "startTime": now,
        "conditions": [
            condition("PodScheduled", true), condition("Initialized", true), condition("ContainersReady", !done),
            condition("Ready", !done),
        ],
        "containerStatuses": containers,
    })
}
