//! What a cluster says of itself: its version and its nodes, and whether they are ready.

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams};
use serde::Serialize;

use super::Cluster;
use super::error::ClusterError;

/// What `status` shows of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeState {
    /// Its name.
    pub(crate) name: String,
    /// The kubelet's version, `v1.36.3`.
    pub(crate) kubelet: String,
    /// Why it is not ready; `None`: it is.
    pub(crate) unready: Option<String>,
}

/// What a cluster says of itself.
#[derive(Debug, Clone)]
pub(crate) struct About {
    /// The version of Kubernetes, `v1.36.3`.
    pub(crate) version: String,
    /// All nodes, by name; `None`: one may not list them.
    pub(crate) nodes: Option<Vec<NodeState>>,
}

impl Cluster {
    /// Asks for the version and the nodes.
    pub(crate) async fn about(&self) -> Result<About, ClusterError> {
        let nodes = async {
            match self.nodes().await {
                Err(error) if error.is_forbidden() => Ok(None),
                nodes => nodes.map(Some),
            }
        };
        let (version, nodes) = futures::try_join!(self.version(), nodes)?;
        Ok(About { version, nodes })
    }

    /// All nodes, by name.
    pub(crate) async fn nodes(&self) -> Result<Vec<NodeState>, ClusterError> {
        let api: Api<Node> = Api::all(self.client().clone());
        let list = api.list(&ListParams::default()).await;
        let list = list.map_err(|error| ClusterError::from_kube("list", "nodes", error))?;
        let mut nodes: Vec<NodeState> = list.items.into_iter().map(state).collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(nodes)
    }
}

fn state(node: Node) -> NodeState {
    let status = node.status.unwrap_or_default();
    let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready");
    let unready = match ready {
        Some(condition) if condition.status == "True" => None,
        Some(condition) => {
            let words = [condition.reason.as_deref(), condition.message.as_deref()];
            let words: Vec<&str> = words.into_iter().flatten().collect();
            Some(if words.is_empty() { "not ready".to_owned() } else { words.join(": ") })
        }
        None => Some("its kubelet has not reported yet".to_owned()),
    };
    NodeState {
        name: node.metadata.name.unwrap_or_default(),
        kubelet: status.node_info.unwrap_or_default().kubelet_version,
        unready,
    }
}
