//! From a workload over its pods to the container that is the cause, with its
//! last words and the newest event.

use kube::api::ListParams;
use serde_json::Value;

use super::LOG;
use super::walk::{Walk, conditions, text, worst};
use crate::health::{Health, pods};
use crate::model::object::{GroupKind, ObjectId};

impl Walk<'_> {
    pub(super) async fn workload(&mut self, id: &ObjectId, live: &Value) {
        let namespace = id.namespace.as_deref();
        let refused =
            conditions(live).find(|(kind, status, _)| *kind == "ReplicaFailure" && *status == "True");
        if let Some((_, _, words)) = refused {
            self.found(id.to_string(), format!("its pods are refused: {words}"));
            return;
        }
        let list = self.pods_of(id, live).await;
        if let Some(pod) = worst(&list) {
            self.pod(pod).await;
            return;
        }
        if id.kind.kind == "DaemonSet" {
            self.nodes_of(live).await;
        }
        if list.is_empty() {
            self.event(namespace, &id.kind.kind, &id.name).await;
        }
    }

    async fn pods_of(&self, id: &ObjectId, live: &Value) -> Vec<Value> {
        let labels = live.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
        let labels: Vec<String> = labels
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
            .collect();
        if labels.is_empty() {
            return Vec::new();
        }
        let params = ListParams::default().labels(&labels.join(","));
        self.look.list(&GroupKind::new("", "Pod"), id.namespace.as_deref(), params).await
    }

    /// Which nodes a `DaemonSet` could run on.
    async fn nodes_of(&mut self, live: &Value) {
        let selector = live.pointer("/spec/template/spec/nodeSelector").and_then(Value::as_object);
        let nodes = self.look.list(&GroupKind::new("", "Node"), None, ListParams::default()).await;
        let Some(selector) = selector else { return };
        let fits = |node: &&Value| has_labels(node, Some(selector));
        let words: Vec<String> = selector
            .iter()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
            .collect();
        let words = words.join(",");
        self.more(&format!(
            "nodeSelector {words} matches {} of {} nodes",
            nodes.iter().filter(fits).count(),
            nodes.len()
        ));
        self.advise(format!("label the nodes that it is meant for with {words}, or say `mayBeEmpty: true`"));
    }

    /// The taints of the nodes that a pod names by their labels: the scheduler only counts them.
    async fn taints(&mut self, pod: &Value) {
        let selector = pod.pointer("/spec/nodeSelector").and_then(Value::as_object);
        let nodes = self.look.list(&GroupKind::new("", "Node"), None, ListParams::default()).await;
        for node in nodes.iter().filter(|node| has_labels(node, selector)) {
            let taints = node.pointer("/spec/taints").and_then(Value::as_array).into_iter().flatten();
            let part = |taint: &Value, pointer: &str| text(taint, pointer).unwrap_or_default().to_owned();
            let taints: Vec<String> = taints
                .map(|taint| {
                    format!("{}={}:{}", part(taint, "/key"), part(taint, "/value"), part(taint, "/effect"))
                })
                .collect();
            if !taints.is_empty() {
                let name = text(node, "/metadata/name").unwrap_or_default();
                self.more(&format!("node {name} has taint {}", taints.join(", ")));
            }
        }
    }

    pub(super) async fn pod(&mut self, pod: &Value) {
        let at = |pointer: &str| text(pod, pointer).unwrap_or_default().to_owned();
        let (namespace, name) = (at("/metadata/namespace"), at("/metadata/name"));
        let state = match pods::pod(pod) {
            Health::Ready => "ready".to_owned(),
            Health::Progressing(reason) | Health::Failed(reason) => reason,
            Health::Stuck(soft) => soft.message,
            Health::Unknown => "unknown".to_owned(),
        };
        self.found(format!("Pod {namespace}/{name}"), state);
        if conditions(pod).any(|(kind, _, words)| kind == "PodScheduled" && words.contains("taint")) {
            self.taints(pod).await;
        }
        self.container(pod, &namespace, &name).await;
        self.event(Some(&namespace), "Pod", &name).await;
        if let Some(node) = text(pod, "/spec/nodeName")
            && let Some(node) = self.look.get("", "Node", None, node).await
        {
            self.node(&node);
        }
        let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
        let claims: Vec<&str> = volumes
            .into_iter()
            .flatten()
            .filter_map(|volume| text(volume, "/persistentVolumeClaim/claimName"))
            .collect();
        for claim in claims {
            self.claim_of(&namespace, claim).await;
        }
    }

    /// The first container that does not run: why, and what it said last.
    async fn container(&mut self, pod: &Value, namespace: &str, pod_name: &str) {
        for status in pods::containers(pod) {
            let name = text(status, "/name").unwrap_or_default();
            let waiting = text(status, "/state/waiting/reason").unwrap_or_default();
            let message = text(status, "/state/waiting/message").unwrap_or_default();
            let ended = ["/state/terminated", "/lastState/terminated"]
                .iter()
                .find_map(|pointer| status.pointer(pointer).filter(|ended| ended.is_object()));
            let failed = ended.filter(|ended| ended.get("exitCode").and_then(Value::as_i64) != Some(0));
            if waiting.is_empty() && failed.is_none()
                || waiting == "ContainerCreating"
                || waiting == "PodInitializing"
            {
                continue;
            }
            if !message.is_empty() && waiting != "CrashLoopBackOff" {
                self.found(format!("container {name}"), format!("{waiting}: {message}"));
                return;
            }
            let Some(failed) = failed else { return };
            let code = failed.get("exitCode").and_then(Value::as_i64).unwrap_or_default();
            let reason = text(failed, "/reason").unwrap_or("Error");
            let log = self.look.log(namespace, pod_name, name, true).await;
            self.found(format!("container {name}"), format!("{reason}, exit {code}"));
            let words: Vec<String> =
                text(failed, "/message").map(str::to_owned).into_iter().chain(log).collect();
            for line in words.iter().flat_map(|words| words.lines()) {
                self.more(&format!("{LOG}{line}"));
            }
            self.advise(if reason == "OOMKilled" {
                format!("container {name} needs more memory than limits.memory allows: raise it")
            } else {
                format!("mend what container {name} of Pod {namespace}/{pod_name} says before it exits with {code}")
            });
            return;
        }
    }

    /// A claim that is not bound holds its pod up.
    async fn claim_of(&mut self, namespace: &str, name: &str) {
        let id = ObjectId {
            kind: GroupKind::new("", "PersistentVolumeClaim"),
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
        };
        match self.look.get("", "PersistentVolumeClaim", Some(namespace), name).await {
            None => {
                self.found(id.to_string(), "it is not there");
                self.advise(format!("make {id}"));
            }
            Some(claim) if text(&claim, "/status/phase") != Some("Bound") => {
                self.found(id.to_string(), "not bound");
                self.claim(&id, &claim).await;
            }
            Some(_) => {}
        }
    }
}

fn has_labels(node: &Value, wanted: Option<&serde_json::Map<String, Value>>) -> bool {
    let labels = node.pointer("/metadata/labels");
    wanted.into_iter().flatten().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}
