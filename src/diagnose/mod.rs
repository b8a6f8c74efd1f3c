//! From a gate that does not hold down to the cause: by owners, claims,
//! endpoints, finalizers and operators, as far as the cluster tells; ended by
//! what to do. Secrets are masked. Nothing here decides what a run does.
//!
//! - `walk`: from object to object; `workloads`: from a workload to a container's last words
//! - `archive`: files for others; `look`: the reading
//! - `patterns`: what messages mean

pub(crate) mod archive;
mod look;
pub(crate) mod patterns;
mod walk;
mod workloads;

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::Cluster;
use crate::execute::event::Cause;
use crate::model::object::{GroupKind, Object, ObjectId};
use look::Look;

/// What is known of why something is not ready.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    /// From the object down to the cause.
    pub(crate) chain: Vec<Cause>,
    /// What to do, where the cause is known.
    pub(crate) fix: Option<String>,
}

/// The workloads that are likely to look after a kind's objects: those of the component that brings its CRD.
#[derive(Debug, Clone, Default)]
pub(crate) struct Operators(BTreeMap<GroupKind, Vec<ObjectId>>);

impl Operators {
    /// Takes the objects of one component.
    pub(crate) fn add<'a>(&mut self, objects: impl Iterator<Item = &'a Object> + Clone) {
        let runs = |object: &&Object| {
            object.id.kind.group == "apps"
                && ["Deployment", "StatefulSet", "DaemonSet"].contains(&object.id.kind.kind.as_str())
        };
        let workloads: Vec<ObjectId> = objects.clone().filter(runs).map(|object| object.id.clone()).collect();
        for kind in objects.filter_map(Object::defines) {
            self.0.entry(kind).or_default().extend(workloads.iter().cloned());
        }
    }

    fn of(&self, kind: &GroupKind) -> &[ObjectId] {
        self.0.get(kind).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Finds out why an object is not as it should be. `reason` is what its rule or gate says.
pub(crate) async fn diagnose(
    cluster: &Cluster,
    id: &ObjectId,
    reason: &str,
    operators: &Operators,
) -> Diagnosis {
    let look = Look::new(cluster);
    let mut walk = walk::Walk::new(&look, operators);
    walk.from(id, reason).await;
    let Diagnosis { chain, fix } = walk.end();
    let namespaces: BTreeSet<&str> =
        chain.iter().filter_map(|cause| namespace_of(&cause.object)).chain(id.namespace.as_deref()).collect();
    let (masks, unread) = look.masks(&namespaces).await;
    let why = unread.map(|error| format!("left out, as it may hold values of Secrets: {error}"));
    let shown = |cause: Cause| {
        let message = match &why {
            Some(why) => without_words(&cause, why),
            None => cause.message,
        };
        Cause { message: masks.mask(&message), ..cause }
    };
    Diagnosis { chain: chain.into_iter().map(shown).collect(), fix: fix.map(|fix| masks.mask(&fix)) }
}

/// What begins each line of a container's log.
const LOG: &str = "last log  ";

/// Events that quote what a container answered or wrote (`pkg/kubelet/events/event.go`).
const QUOTING: [&str; 4] = ["Unhealthy", "ProbeWarning", "FailedPostStartHook", "FailedPreStopHook"];

/// What was found, without the words of containers: they may hold anything. `why` stands for them.
fn without_words(cause: &Cause, why: &str) -> String {
    let reason = cause.message.split(':').next().unwrap_or_default();
    if cause.object.starts_with("event") && QUOTING.contains(&reason) {
        return format!("{reason}: {why}");
    }
    let mut lines: Vec<String> = Vec::new();
    let mut said = false;
    for line in cause.message.lines() {
        match (line.starts_with(LOG), said) {
            (false, _) => lines.push(line.to_owned()),
            (true, false) => lines.push(format!("{LOG}{why}")),
            (true, true) => {}
        }
        said = said || line.starts_with(LOG);
    }
    lines.join("\n")
}

/// The namespace in `Pod n/a`.
fn namespace_of(object: &str) -> Option<&str> {
    object.split_once(' ')?.1.split_once('/').map(|(namespace, _)| namespace)
}

#[cfg(test)]
mod tests {
    use kube::api::{Api, Patch, PatchParams};
    use serde_json::json;

    use super::*;
    use crate::cluster::ApplyMode;
    use crate::model::mask::Masks;

    /// A pod that fails, and says a Secret's value; the Secret comes after many others.
    async fn bed() -> (cozy_sim::Cluster, Cluster, ObjectId) {
        let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
        let cluster = Cluster::new(simulated.client()).await.unwrap();
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p", "namespace": "default" },
            "spec": { "nodeName": "node-1", "containers": [{ "name": "c", "image": "x" }] } });
        let secret = |name: String, value: &str| {
            json!({ "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": name, "namespace": "default" }, "stringData": { "token": value } })
        };
        let others = (0..300).map(|number| secret(format!("s{number:03}"), "another-value"));
        for value in others.chain([secret("z".to_owned(), "canary-value"), pod.clone()]) {
            cluster.apply(&Object::from_value(value).unwrap(), ApplyMode::default()).await.unwrap();
        }
        let ended = json!({ "exitCode": 1, "reason": "Error", "message": "bad token\ncanary-value" });
        let status = json!({ "phase": "Running", "containerStatuses": [{ "name": "c", "image": "x", "imageID": "", "ready": false,
            "restartCount": 7, "state": { "waiting": { "reason": "CrashLoopBackOff" } }, "lastState": { "terminated": ended } }] });
        let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(simulated.client(), "default");
        let patch = Patch::Merge(json!({ "status": status }));
        pods.patch_status("p", &PatchParams::default(), &patch).await.unwrap();
        (simulated, cluster, Object::from_value(pod).unwrap().id)
    }

    fn no_secrets() -> cozy_sim::Refusal {
        cozy_sim::Refusal::of("list", "secrets", 403, "Forbidden", "secrets is forbidden")
    }

    /// Found by reading: only the first 200 Secrets were known, and none where they could not be listed.
    #[tokio::test(start_paused = true)]
    async fn logs_are_masked_or_left_out() {
        let (simulated, cluster, pod) = bed().await;
        let told = async || {
            let found = diagnose(&cluster, &pod, "it does not run", &Operators::default()).await;
            let causes = found.chain.iter().map(|cause| format!("{}: {}", cause.object, cause.message));
            causes.collect::<Vec<_>>().join("\n")
        };
        let masked = told().await;
        assert!(masked.contains("last log  bad token\nlast log  [secret]"), "{masked}");
        assert!(!masked.contains("canary-value"), "{masked}");
        simulated.refuse(no_secrets());
        let left_out = told().await;
        let words = "exit 1\nlast log  left out, as it may hold values of Secrets: the API server refused to list Secret: secrets is forbidden";
        assert!(left_out.contains(words), "{left_out}");
        assert!(!left_out.contains("canary-value") && !left_out.contains("bad token"), "{left_out}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_archive_is_masked_or_not_made() {
        let (simulated, cluster, pod) = bed().await;
        let object = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": pod.name, "namespace": "default" } });
        let objects =
            vec![(crate::plan::Stage::Objects, std::sync::Arc::new(Object::from_value(object).unwrap()))];
        let component = crate::plan::tests::component("a", objects);
        let masks = Masks::of_texts(["bad token".to_owned()]);
        let files = archive::collect(&cluster, &[&component], &masks).await.unwrap();
        let all: String = files.values().map(|file| String::from_utf8_lossy(file)).collect();
        assert!(all.contains("CrashLoopBackOff") && all.contains("[secret]"), "{all}");
        assert!(!all.contains("canary-value") && !all.contains("bad token"), "{all}");
        simulated.refuse(no_secrets());
        assert!(archive::collect(&cluster, &[&component], &masks).await.unwrap_err().is_forbidden());
    }

    #[test]
    fn the_words_of_containers_are_left_out() {
        let left = |object: &str, message: &str| {
            without_words(&Cause { object: object.to_owned(), message: message.to_owned() }, "left out: no")
        };
        assert_eq!(
            left("container c", "Error, exit 1\nlast log  token=hunter2\nlast log  more"),
            "Error, exit 1\nlast log  left out: no"
        );
        assert_eq!(
            left("event 8s", "Unhealthy: Readiness probe failed: token=hunter2\nmore"),
            "Unhealthy: left out: no"
        );
        for (object, message) in [
            ("event 8s", "FailedMount: no"),
            ("Deployment x/a", "0 of 1\nunavailable"),
            ("Pod x/a", "Unhealthy: x"),
        ] {
            assert_eq!(left(object, message), message);
        }
    }
}
