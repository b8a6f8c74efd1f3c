//! From a kubeconfig to a client.

use std::path::Path;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};

use super::error::ClusterError;

/// Makes a client. Without a path, kube's usual places are looked at
/// (`KUBECONFIG`, `~/.kube/config`).
pub(crate) async fn connect(
    path: Option<&Path>,
    context: Option<&str>,
) -> Result<kube::Client, ClusterError> {
    let shown = path.map(|path| path.display().to_string());
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| ClusterError::Kubeconfig {
        path: shown.clone(),
        source,
    };
    let kubeconfig = match path {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    }
    .map_err(|error| failed(Box::new(error)))?;
    client(kubeconfig, context).await.map_err(failed)
}

/// Makes a client from a kubeconfig's text.
pub(crate) async fn connect_text(text: &str) -> Result<kube::Client, ClusterError> {
    let failed = |source| ClusterError::Kubeconfig { path: None, source };
    let kubeconfig = Kubeconfig::from_yaml(text).map_err(|error| failed(error.into()))?;
    client(kubeconfig, None).await.map_err(failed)
}

async fn client(
    kubeconfig: Kubeconfig,
    context: Option<&str>,
) -> Result<kube::Client, Box<dyn std::error::Error + Send + Sync>> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    // Retries are ours, so that they can be shown (execute::retry).
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(10));
    Ok(kube::Client::try_from(config)?)
}
