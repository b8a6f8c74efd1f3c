//! Which API server is asked: the kubeconfig of a cluster on hosts names one of
//! its servers, and the cluster lives without that one. And which servers only
//! believe to be among them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future;
use serde_json::Value;

use super::files::authority;
use super::leave::expelled;
use super::members::Membership;
use super::observe::ASK;
use super::run::{Parts, Runner};
use super::{Node, canonical, scripts};
use crate::cluster::inventory::Inventories;
use crate::cluster::nodes::About;
use crate::cluster::{Cluster, connect_text};
use crate::execute::event::Failure;
use crate::model::cloud::{Cloud, Role};
use crate::model::object::{GroupKind, ObjectId};
use crate::proxy;

/// How long a server may take to answer a connection before another one is asked.
const DIAL: Duration = Duration::from_secs(2);

/// A cluster that was looked at while its hosts were asked what they are.
pub(crate) struct Ahead {
    /// The kubeconfig by which it was reached.
    pub(super) kubeconfig: String,
    /// The API servers that may answer in its place.
    pub(super) servers: Vec<String>,
    /// The cluster; its API server is ready.
    pub(super) cluster: Cluster,
    /// What it said.
    pub(super) said: Said,
}

/// What a cluster was asked first.
pub(crate) struct Said {
    /// Its version and nodes.
    pub(crate) about: About,
    /// What was installed in it.
    pub(crate) inventories: Inventories,
}

/// Looks at the cluster that an earlier run left the kubeconfig of. `None`: there is none, or it does not answer well,
/// which may be for what is about to be done on its hosts.
pub(crate) async fn ahead(cloud: Cloud, path: PathBuf) -> Option<Ahead> {
    let kubeconfig = fs_err::read_to_string(&path).ok()?;
    let servers = servers(&cloud);
    let text = by_any(&kubeconfig, &servers).await;
    let connection = connect_text(text.as_deref().unwrap_or(&kubeconfig)).await.ok()?;
    let cluster = Cluster::once_ready(connection).await.ok()?;
    let (about, inventories) = futures::try_join!(cluster.about(), cluster.inventories()).ok()?;
    Some(Ahead { kubeconfig, servers, cluster, said: Said { about, inventories } })
}

/// The kubeconfig of a cluster on hosts, for all servers at once; `None`: it is used as it is.
pub(crate) async fn of_all(cloud: &Cloud, path: &Path) -> Option<String> {
    by_any(&fs_err::read_to_string(path).ok()?, &servers(cloud)).await
}

/// [`through`], where one of the servers can be dialed.
async fn by_any(text: &str, servers: &[String]) -> Option<String> {
    let dialed = future::join_all(servers.iter().map(|server| answers(server))).await;
    // Where none answers, the error is to name the one that people know.
    if dialed.contains(&true) { through(text, servers).await } else { None }
}

/// A kubeconfig that goes to any of these servers. `None` where it names something else that stands for all of them,
/// or where there is but one.
pub(super) async fn through(text: &str, servers: &[String]) -> Option<String> {
    let (_, rest) = text.split_once("server: https://")?;
    let written = rest.split_whitespace().next()?;
    if servers.len() < 2 || !servers.iter().any(|server| server == written) {
        return None;
    }
    let port = proxy::within(servers).await.ok()?;
    Some(text.replacen(written, &format!("127.0.0.1:{port}"), 1))
}

/// The API servers that `cozy.yaml` names.
fn servers(cloud: &Cloud) -> Vec<String> {
    cloud
        .present_hosts()
        .filter(|(index, _)| cloud.role(*index) == Role::Server)
        .filter_map(|(_, host)| host.address.as_ref())
        .map(|address| authority(&canonical(address)))
        .collect()
}

async fn answers(server: &str) -> bool {
    let dialed = tokio::time::timeout(DIAL, tokio::net::TcpStream::connect(server)).await;
    dialed.is_ok_and(|stream| stream.is_ok())
}

impl Runner {
    /// Refuses where a server was taken out of the cluster while it was off. Who serves the API is in a list of the
    /// cluster's; those who are missing there are asked for: they may be starting.
    pub(super) async fn belongs(&self, cluster: &Cluster) -> Result<(), Failure> {
        let Parts { nodes, sessions, .. } = &self.parts;
        let Ok(Some(slice)) = cluster.get(&api_servers(), "v1").await else { return Ok(()) };
        let serving = addresses(&slice);
        let servers = nodes.iter().zip(sessions).zip(&self.found);
        let servers = servers.filter(|((node, _), found)| node.role == Role::Server && found.joined);
        let (up, missing): (Vec<_>, Vec<_>) =
            servers.map(|(here, _)| here).partition(|(node, _)| serving.contains(&node.address));
        let (Some((_, session)), false) = (up.first(), missing.is_empty()) else { return Ok(()) };
        let asked = session.run("asking who is in the cluster", &scripts::membership(), &[], ASK).await;
        let Some(text) = asked.ok().filter(|asked| asked.status == 0).map(|asked| asked.stdout) else {
            return Ok(());
        };
        let missing: Vec<&Node> = missing.into_iter().map(|(node, _)| node).collect();
        let Some(error) = expelled(&missing, &Membership::read(&text)) else { return Ok(()) };
        let (code, message, hint) = (error.code(), error.to_string(), error.hint().into_owned());
        Err(Failure { code, message, chain: Vec::new(), hint: Some(hint) })
    }
}

/// The list of those who serve the API: each keeps itself in it as long as its etcd takes writes.
fn api_servers() -> ObjectId {
    let kind = GroupKind::new("discovery.k8s.io", "EndpointSlice");
    ObjectId { kind, namespace: Some("default".to_owned()), name: "kubernetes".to_owned() }
}

/// The addresses of an `EndpointSlice`.
fn addresses(slice: &Value) -> Vec<String> {
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    let addresses = endpoints.filter_map(|endpoint| endpoint["addresses"].as_array()).flatten();
    addresses.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by review: a server whose address is written in another form was never turned away from.
    #[test]
    fn servers_are_known_by_the_form_that_the_kubeconfig_has() {
        let text = "apiVersion: cozy/v1\nkind: Cloud\nname: demo\nbundle: edge\nhosts:\n  - { address: 'FD00:0::12' }\n  - { address: web, role: server }\n  - { address: 'fd00::13', role: server }\nnetwork: { pods: 'fd42::/56', services: 'fd43::/112' }\n";
        let cloud = crate::model::resolve::CloudFile::read(text.as_bytes(), "cozy.yaml").unwrap().cloud;
        assert_eq!(servers(&cloud), ["[fd00::12]:6443", "web:6443", "[fd00::13]:6443"]);
    }

    #[test]
    fn those_who_serve_the_api_are_read_from_the_clusters_list() {
        let slice = serde_json::json!({ "endpoints": [{ "addresses": ["10.0.0.11", "10.0.0.12"] }, { "addresses": ["fd00::3"] }] });
        assert_eq!(addresses(&slice), ["10.0.0.11", "10.0.0.12", "fd00::3"]);
        assert!(addresses(&Value::Null).is_empty());
    }
}
