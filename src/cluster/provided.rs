//! What a cluster has that objects use by a general name: classes, issuers, a pod network, names, addresses.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::Cluster;
use super::error::ClusterError;
use super::nodes::NodeState;
use crate::model::object::{GroupKind, Object, ObjectId};
use crate::plan::backends::of_webhooks;
use crate::plan::facility::{Facility, LOAD_BALANCER, provided};
use crate::plan::namespaces::is_usual;
use crate::plan::planner::Desired;

/// The kinds that provide something by being there: group and kind.
const KINDS: [(&str, &str); 5] = [
    ("storage.k8s.io", "StorageClass"),
    ("networking.k8s.io", "IngressClass"),
    ("gateway.networking.k8s.io", "GatewayClass"),
    ("cert-manager.io", "Issuer"),
    ("cert-manager.io", "ClusterIssuer"),
];

/// How many objects are asked for at a time.
const AT_ONCE: usize = 8;

impl Cluster {
    /// Answers what the cluster has. Where cozy did not make the cluster, whatever gives Services addresses there
    /// cannot be seen, and counts as there.
    pub(super) async fn provided(
        &self,
        desired: &Desired,
        nodes: Option<Vec<NodeState>>,
    ) -> Result<BTreeSet<Facility>, ClusterError> {
        let classes = KINDS.map(|(group, kind)| self.all(group, kind));
        let ids: Vec<ObjectId> = namespaces(desired).chain(backends(desired)).collect();
        let dns = service("kube-system", "kube-dns");
        let there = stream::iter(ids.iter().chain([&dns])).map(|id| self.get(id, "v1"));
        let there = there.buffered(AT_ONCE).try_collect::<Vec<_>>();
        let nodes = async {
            match nodes {
                Some(nodes) => Ok(nodes),
                None => self.nodes().await,
            }
        };
        let (classes, nodes, there) =
            futures::try_join!(futures::future::try_join_all(classes), nodes, there)?;
        let mut found: BTreeSet<Facility> = classes.iter().flatten().flat_map(provided).collect();
        let mut capability = |name: &str| found.extend([Facility::Capability(name.to_owned())]);
        capability("kubernetes");
        if classes.iter().flatten().any(|object| object.id.kind.kind == "StorageClass") {
            capability("storage");
        }
        if desired.hosts.is_empty() {
            capability(LOAD_BALANCER);
        }
        // A node is ready once its pods have a network.
        if nodes.iter().any(|node| node.unready.is_none()) {
            capability("cni");
        }
        if there.last().is_some_and(Option::is_some) {
            capability("dns");
        }
        if desired.hosts.is_empty() {
            found.insert(Facility::LoadBalancer);
        }
        let there = ids.into_iter().zip(there).filter(|(_, live)| live.is_some());
        found.extend(there.map(|(ObjectId { namespace, name, .. }, _)| match namespace {
            Some(namespace) => Facility::Service { namespace, name },
            None => Facility::Namespace(name),
        }));
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

/// The namespaces of wanted objects that are not wanted themselves.
fn namespaces(desired: &Desired) -> impl Iterator<Item = ObjectId> {
    let objects = || desired.components.iter().flat_map(|component| &component.objects);
    let mut found: BTreeSet<&str> =
        objects().filter_map(|(_, object)| object.id.namespace.as_deref()).collect();
    for (_, object) in objects().filter(|(_, object)| object.id.kind.is("", "Namespace")) {
        found.remove(object.id.name.as_str());
    }
    found.into_iter().filter(|name| !is_usual(name)).map(|name| ObjectId {
        kind: GroupKind::new("", "Namespace"),
        namespace: None,
        name: name.to_owned(),
    })
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
