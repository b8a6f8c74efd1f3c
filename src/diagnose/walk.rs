//! From object to object, down to the one that is the cause.

use kube::api::ListParams;
use serde_json::Value;

use super::look::{Look, Warning};
use super::patterns::explain;
use super::{Diagnosis, Operators};
use crate::execute::event::Cause;
use crate::health::{admission, pods};
use crate::model::duration::human;
use crate::model::object::{GroupKind, ObjectId};

/// How far down it goes: nothing real is deeper, and relations may be circles.
const DEEPEST: usize = 8;

/// A walk, and what it has found.
pub(super) struct Walk<'a> {
    pub(super) look: &'a Look<'a>,
    operators: &'a Operators,
    chain: Vec<Cause>,
    fix: Option<String>,
}

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

/// The conditions of an object: type, status, and reason and message in one.
pub(super) fn conditions(object: &Value) -> impl Iterator<Item = (&str, &str, String)> {
    object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten().map(|condition| {
        let part = |pointer| text(condition, pointer).unwrap_or_default();
        let parts: Vec<&str> =
            [part("/reason"), part("/message")].into_iter().filter(|part| !part.is_empty()).collect();
        (part("/type"), part("/status"), parts.join(": "))
    })
}

impl<'a> Walk<'a> {
    pub(super) fn new(look: &'a Look<'a>, operators: &'a Operators) -> Self {
        Self { look, operators, chain: Vec::new(), fix: None }
    }

    pub(super) fn end(self) -> Diagnosis {
        Diagnosis { chain: self.chain, fix: self.fix }
    }

    /// Goes one level deeper. What the message means is the cause so far: deeper ones are nearer to it.
    pub(super) fn found(&mut self, object: impl Into<String>, message: impl Into<String>) {
        let (object, message) = (object.into(), message.into());
        if let Some(explained) = explain(&message) {
            self.fix = Some(format!("{}: {}", explained.cause, explained.fix));
        }
        let found = Cause { object, message };
        // Where the walk begins at the cause, it is said once.
        if self.chain.last() != Some(&found) {
            self.chain.push(found);
        }
    }

    /// The newest event of an object that is a warning, if there is any.
    pub(super) async fn event(&mut self, namespace: Option<&str>, kind: &str, name: &str) {
        if let Some(Warning { age, words }) = self.look.warning(namespace, kind, name).await {
            let event = age.map_or_else(|| "event".to_owned(), |age| format!("event {}", human(age)));
            self.found(event, words);
        }
    }

    /// Says what to do, in words of its own.
    pub(super) fn advise(&mut self, fix: impl Into<String>) {
        self.fix = Some(fix.into());
    }

    /// Adds a line to what was found last.
    pub(super) fn more(&mut self, line: &str) {
        if let Some(last) = self.chain.last_mut() {
            last.message.push('\n');
            last.message.push_str(line);
        }
    }

    pub(super) async fn from(&mut self, id: &ObjectId, reason: &str) {
        self.found(id.to_string(), reason);
        if self.chain.len() > DEEPEST {
            return;
        }
        let (group, kind, namespace) =
            (id.kind.group.as_str(), id.kind.kind.as_str(), id.namespace.as_deref());
        let Some(live) = self.look.get(group, kind, namespace, &id.name).await else { return };
        if live.pointer("/metadata/deletionTimestamp").is_some() && kind != "Namespace" {
            return self.held(id, &live);
        }
        match (group, kind) {
            ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") | ("batch", "Job") => {
                Box::pin(self.workload(id, &live)).await;
            }
            ("", "Pod") => Box::pin(self.pod(&live)).await,
            ("", "Namespace") => self.namespace(&id.name, &live).await,
            ("", "PersistentVolumeClaim") => self.claim(id, &live).await,
            ("", "Service") => Box::pin(self.service(id, &live)).await,
            ("", "Node") => self.node(&live),
            ("apiextensions.k8s.io", "CustomResourceDefinition") => self.definition(&live).await,
            ("apiregistration.k8s.io", "APIService") => {
                let at =
                    |key: &str| text(&live, &format!("/spec/service/{key}")).unwrap_or_default().to_owned();
                Box::pin(self.behind(&at("namespace"), &at("name"))).await;
            }
            (
                "admissionregistration.k8s.io",
                "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
            ) => {
                let services: Vec<(String, String)> =
                    admission::closed(&live).iter().filter_map(admission::Webhook::service).collect();
                for (namespace, name) in services {
                    Box::pin(self.behind(&namespace, &name)).await;
                }
            }
            _ => Box::pin(self.custom(id)).await,
        }
    }

    /// Something is being deleted, and somebody must agree first.
    fn held(&mut self, id: &ObjectId, live: &Value) {
        let finalizers = live.pointer("/metadata/finalizers").and_then(Value::as_array);
        let names: Vec<&str> = finalizers.into_iter().flatten().filter_map(Value::as_str).collect();
        if names.is_empty() {
            return;
        }
        self.found(id.to_string(), format!("being deleted, held by finalizer {}", names.join(", ")));
        self.advise(format!(
            "whoever set finalizer {} must run to let {id} go; if that is gone for good, take the finalizer off",
            names.join(", ")
        ));
    }

    async fn namespace(&mut self, name: &str, live: &Value) {
        let remaining: Vec<String> = conditions(live)
            .filter(|(kind, status, _)| *status == "True" && kind.starts_with("Namespace"))
            .map(|(_, _, words)| words)
            .collect();
        for words in &remaining {
            self.found(format!("Namespace {name}"), words.clone());
        }
        // `widgets.example.org has 1 resource instances`
        let cluster = self.look.cluster;
        for kind in cluster.kinds() {
            let plural = cluster.plural(&kind).unwrap_or_default();
            let resource = format!(" {plural}.{} has ", kind.group);
            if !remaining.iter().any(|words| words.contains(&resource)) {
                continue;
            }
            for object in self.look.list(&kind, Some(name), ListParams::default()).await {
                let id = ObjectId {
                    kind: kind.clone(),
                    namespace: Some(name.to_owned()),
                    name: text(&object, "/metadata/name").unwrap_or_default().to_owned(),
                };
                self.held(&id, &object);
            }
        }
    }

    pub(super) async fn claim(&mut self, id: &ObjectId, live: &Value) {
        let namespace = id.namespace.as_deref();
        self.event(namespace, "PersistentVolumeClaim", &id.name).await;
        let Some(class) = text(live, "/spec/storageClassName").filter(|class| !class.is_empty()) else {
            self.advise("name a StorageClass in the claim, make one the default, or make a volume that fits");
            return;
        };
        let class = class.to_owned();
        match self.look.get("storage.k8s.io", "StorageClass", None, &class).await {
            None => {
                self.found(format!("StorageClass {class}"), "it is not there");
                self.advise(format!("make StorageClass {class}, or name another"));
            }
            Some(found) => {
                let provisioner = text(&found, "/provisioner").unwrap_or_default();
                let driver = self.look.get("storage.k8s.io", "CSIDriver", None, provisioner).await;
                let known = if driver.is_some() { "registered" } else { "not registered as a CSIDriver" };
                self.found(format!("StorageClass {class}"), format!("provisioner {provisioner}: {known}"));
                self.advise(format!(
                    "the pods of provisioner {provisioner} must run: nobody else makes its volumes"
                ));
            }
        }
    }

    /// The Service that something else needs.
    async fn behind(&mut self, namespace: &str, name: &str) {
        if name.is_empty() {
            return;
        }
        let id = ObjectId {
            kind: GroupKind::new("", "Service"),
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
        };
        if let Some(live) = self.look.get("", "Service", Some(namespace), name).await {
            self.found(id.to_string(), "it is there");
            self.service(&id, &live).await;
        } else {
            self.found(id.to_string(), "it is not there");
            self.advise(format!("install what brings {id}"));
        }
    }

    async fn service(&mut self, id: &ObjectId, live: &Value) {
        let Some(selector) =
            live.pointer("/spec/selector").and_then(Value::as_object).filter(|map| !map.is_empty())
        else {
            self.more("it has no selector: somebody else keeps its endpoints");
            return;
        };
        let labels: Vec<String> =
            selector.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
        let labels = labels.join(",");
        let pods = GroupKind::new("", "Pod");
        let pods =
            self.look.list(&pods, id.namespace.as_deref(), ListParams::default().labels(&labels)).await;
        if pods.is_empty() {
            self.more(&format!("no endpoints: no pod has the labels {labels}"));
            self.advise(format!("start the pods of {id}, or mend its selector {labels}"));
        } else if let Some(pod) = worst(&pods) {
            self.more(&format!("{} of {} pods ready", pods.len() - unready(&pods), pods.len()));
            self.pod(pod).await;
        }
    }

    pub(super) fn node(&mut self, live: &Value) {
        let name = text(live, "/metadata/name").unwrap_or("?");
        let ready = conditions(live).find(|(kind, ..)| *kind == "Ready");
        if let Some((_, status, words)) = ready
            && status != "True"
        {
            self.found(format!("Node {name}"), format!("Ready={status}: {words}"));
            self.advise(format!(
                "look at the kubelet of {name}: `systemctl status kubelet` there, and its network"
            ));
        }
    }

    async fn definition(&mut self, live: &Value) {
        let refused =
            conditions(live).find(|(kind, status, _)| *kind == "NamesAccepted" && *status == "False");
        let Some((_, _, words)) = refused else { return };
        let own = text(live, "/metadata/name").unwrap_or_default();
        let kind = GroupKind::new("apiextensions.k8s.io", "CustomResourceDefinition");
        let others = self.look.list(&kind, None, ListParams::default()).await;
        let same = |pointer: &str, other: &Value| text(live, pointer) == text(other, pointer);
        let holder = others.iter().find(|other| {
            text(other, "/metadata/name") != Some(own)
                && same("/spec/group", other)
                && ["kind", "plural", "singular", "listKind"].iter().any(|name| {
                    text(live, &format!("/spec/names/{name}"))
                        == text(other, &format!("/status/acceptedNames/{name}"))
                })
        });
        if let Some(holder) = holder.and_then(|holder| text(holder, "/metadata/name")) {
            self.found(format!("CustomResourceDefinition {holder}"), format!("it has these names: {words}"));
            self.advise(format!(
                "remove CustomResourceDefinition {holder}, or rename {own}: one of both is too many"
            ));
        }
    }

    /// A custom resource: who looks after it?
    async fn custom(&mut self, id: &ObjectId) {
        self.event(id.namespace.as_deref(), &id.kind.kind, &id.name).await;
        let operators = self.operators.of(&id.kind).to_vec();
        for operator in operators {
            let part =
                (operator.kind.group.as_str(), operator.kind.kind.as_str(), operator.namespace.as_deref());
            let Some(live) = self.look.get(part.0, part.1, part.2, &operator.name).await else {
                self.found(operator.to_string(), format!("it looks after {}, and is not there", id.kind));
                self.advise(format!("install {operator}: it looks after {}", id.kind));
                return;
            };
            self.found(operator.to_string(), format!("it looks after {}", id.kind));
            let before = self.chain.len();
            self.workload(&operator, &live).await;
            if self.chain.len() == before {
                self.more("it runs, and has not acted on this object");
                self.advise(format!("look at the log of {operator}: it runs, and does not act on {id}"));
            }
        }
    }
}

/// How many pods are not ready.
fn unready(pods: &[Value]) -> usize {
    pods.iter().filter(|pod| pods::pod(pod) != crate::health::Health::Ready).count()
}

/// The pod that tells most: one that looks like a failure, else one that is not ready.
pub(super) fn worst(pods: &[Value]) -> Option<&Value> {
    use crate::health::Health;
    let stuck = pods
        .iter()
        .filter(|pod| !pods::is_superseded(pod))
        .find(|pod| matches!(pods::pod(pod), Health::Stuck(_)));
    stuck.or_else(|| pods.iter().find(|pod| pods::pod(pod) != Health::Ready))
}
