//! From a kubeconfig to clients.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

use tower::buffer::BufferLayer;
use tower::retry::RetryLayer;
use tower::util::AndThenLayer;

use super::again::Again;
use super::capped::Capped;
use super::error::ClusterError;
use super::told;

/// How a cluster is reached; clones share their connections.
#[derive(Clone)]
pub(crate) struct Connection {
    client: kube::Client,
    /// To make further clients from; none, where there is only the one.
    config: Option<Arc<kube::Config>>,
}

impl From<kube::Client> for Connection {
    fn from(client: kube::Client) -> Self {
        Self { client, config: None }
    }
}

impl Connection {
    /// The client of most requests.
    pub(super) fn client(&self) -> &kube::Client {
        &self.client
    }

    /// A client that shares no connection with the first one, if one can be made.
    pub(super) fn another(&self) -> Result<kube::Client, ClusterError> {
        match &self.config {
            Some(config) => client_of((**config).clone())
                .map_err(|error| ClusterError::Kubeconfig { path: None, source: error.into() }),
            None => Ok(self.client.clone()),
        }
    }
}

/// Makes a connection. Without a path, kube's usual places are looked at
/// (`KUBECONFIG`, `~/.kube/config`).
pub(crate) async fn connect(path: Option<&Path>, context: Option<&str>) -> Result<Connection, ClusterError> {
    let shown = path.map(|path| path.display().to_string());
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| ClusterError::Kubeconfig {
        path: shown.clone(),
        source,
    };
    let kubeconfig = match path {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    }
    .map_err(|error| failed(unreadable(&error)))?;
    client(kubeconfig, context).await.map_err(failed)
}

/// Makes a connection from a kubeconfig's text.
pub(crate) async fn connect_text(text: &str) -> Result<Connection, ClusterError> {
    let failed = |source| ClusterError::Kubeconfig { path: None, source };
    let kubeconfig = Kubeconfig::from_yaml(text).map_err(|error| failed(unreadable(&error)))?;
    client(kubeconfig, None).await.map_err(failed)
}

/// A client that asks again where that is harmless.
fn client_of(config: kube::Config) -> Result<kube::Client, kube::Error> {
    let builder = ClientBuilder::try_from(config)?;
    // A buffer can be cloned, as each further try needs it.
    let builder = builder.with_layer(&BufferLayer::new(REQUESTS));
    let builder = builder.with_layer(&Capped);
    let builder = builder.with_layer(&AndThenLayer::new(told::tell));
    Ok(builder.with_layer(&RetryLayer::new(Again::default())).build())
}

/// How many requests may wait for a connection.
const REQUESTS: usize = 1024;

/// How long a server may say nothing on a connection. The API server answers within 60 s
/// (`--request-timeout`), and ends watches that were asked to end.
const SILENCE: Duration = Duration::from_secs(70);

/// Why a kubeconfig cannot be read, without its content: parsers quote it, and it holds keys and tokens.
fn unreadable(error: &KubeconfigError) -> Box<dyn std::error::Error + Send + Sync> {
    match error {
        KubeconfigError::ReadConfig(source, path) => {
            format!("`{}`: {}", path.display(), std::io::Error::from(source.kind())).into()
        }
        KubeconfigError::Parse(source) => {
            let place = source.location().map(|at| format!(", line {}, column {}", at.line(), at.column()));
            format!("it is not a kubeconfig{}", place.unwrap_or_default()).into()
        }
        KubeconfigError::FindPath => "there is no kubeconfig: neither KUBECONFIG nor ~/.kube/config".into(),
        other => other.to_string().lines().next().unwrap_or_default().to_owned().into(),
    }
}

async fn client(
    kubeconfig: Kubeconfig,
    context: Option<&str>,
) -> Result<Connection, Box<dyn std::error::Error + Send + Sync>> {
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    // Retries are ours: of writes, so that they can be shown (`execute::retry`), and of reads (`again`).
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(10));
    // A server that takes a connection and says nothing; watches hear a bookmark or end before that.
    config.read_timeout = Some(SILENCE);
    config.write_timeout = Some(SILENCE);
    let client = client_of(config.clone())?;
    Ok(Connection { client, config: Some(Arc::new(config)) })
}
