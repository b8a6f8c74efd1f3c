//! What a cluster has that objects use by a general name: classes, issuers, a pod network, names, addresses.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Cluster;
use super::error::ClusterError;
use crate::model::object::{GroupKind, Object, ObjectId};
use crate::plan::backends::of_webhooks;
use crate::plan::facility::{Facility, LOAD_BALANCER, provided};
use crate::plan::planner::Desired;

/// The kinds that provide something by being there: group and kind.
const KINDS: [(&str, &str); 5] = [
    ("storage.k8s.io", "StorageClass"),
    ("networking.k8s.io", "IngressClass"),
    ("gateway.networking.k8s.io", "GatewayClass"),
    ("cert-manager.io", "Issuer"),
    ("cert-manager.io", "ClusterIssuer"),
];

impl Cluster {
    /// Answers what the cluster has. Where cozy did not make the cluster, whatever gives Services addresses there
    /// cannot be seen, and counts as there.
    pub(crate) async fn provided(&self, desired: &Desired) -> Result<BTreeSet<Facility>, ClusterError> {
        let mut found = BTreeSet::new();
        for (group, kind) in KINDS {
            let objects = self.all(group, kind).await?;
            found.extend(objects.iter().flat_map(provided));
        }
        if found.iter().any(|facility| matches!(facility, Facility::StorageClass(_))) {
            found.insert(Facility::Capability("storage".to_owned()));
        }
        if desired.hosts.is_empty() {
            found.insert(Facility::LoadBalancer);
            found.insert(Facility::Capability(LOAD_BALANCER.to_owned()));
        }
        if self.all("", "Node").await?.iter().any(|node| is_ready(&node.value)) {
            found.insert(Facility::Capability("cni".to_owned()));
        }
        if self.get(&service("kube-system", "kube-dns"), "v1").await?.is_some() {
            found.insert(Facility::Capability("dns".to_owned()));
        }
        for id in backends(desired) {
            if self.get(&id, "v1").await?.is_some() {
                let ObjectId { namespace, name, .. } = id;
                found.insert(Facility::Service { namespace: namespace.unwrap_or_default(), name });
            }
        }
        Ok(found)
    }

    /// All objects of a kind; none where it is not served.
    async fn all(&self, group: &str, kind: &str) -> Result<Vec<Object>, ClusterError> {
        match self
            .list((&GroupKind::new(group, kind), None), "", |value| Object::from_value(value).ok())
            .await
        {
            Err(ClusterError::NoSuchKind { .. }) => Ok(Vec::new()),
            listed => listed,
        }
    }
}

/// The Services that answer webhooks which are wanted, and that are not wanted themselves.
fn backends(desired: &Desired) -> BTreeSet<ObjectId> {
    let objects = || desired.components.iter().flat_map(|component| &component.objects);
    let mut called: BTreeSet<ObjectId> = objects()
        .flat_map(|(_, object)| of_webhooks(object))
        .map(|(namespace, name)| service(namespace, name))
        .collect();
    for (_, object) in objects() {
        called.remove(&object.id);
    }
    called
}

fn service(namespace: &str, name: &str) -> ObjectId {
    let kind = GroupKind::new("", "Service");
    ObjectId { kind, namespace: Some(namespace.to_owned()), name: name.to_owned() }
}

/// A node is ready once its pods have a network.
fn is_ready(node: &Value) -> bool {
    let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
