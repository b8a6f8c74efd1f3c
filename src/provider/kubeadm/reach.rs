//! Which API server is asked: the kubeconfig of a cluster on hosts names one of
//! its servers, and the cluster lives without that one.

use std::path::Path;
use std::time::Duration;

use futures::future;

use super::files::authority;
use crate::model::cloud::{Cloud, Role};
use crate::proxy;

/// How long a server may take to answer a connection before another one is asked.
const DIAL: Duration = Duration::from_secs(2);

/// The kubeconfig of a cluster on hosts, for all servers at once; `None`: it is used as it is.
pub(crate) async fn of_all(cloud: &Cloud, path: &Path) -> Option<String> {
    let text = fs_err::read_to_string(path).ok()?;
    let servers = servers(cloud);
    let dialed = future::join_all(servers.iter().map(|server| answers(server))).await;
    // Where none answers, the error is to name the one that people know.
    if dialed.contains(&true) { through(&text, &servers).await } else { None }
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
        .map(|address| authority(address))
        .collect()
}

async fn answers(server: &str) -> bool {
    let dialed = tokio::time::timeout(DIAL, tokio::net::TcpStream::connect(server)).await;
    dialed.is_ok_and(|stream| stream.is_ok())
}
