//! From a kubeconfig to clients.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tower::buffer::BufferLayer;
use tower::retry::RetryLayer;
use tower::util::AndThenLayer;

use super::again::Again;
use super::capped::Capped;
use super::error::ClusterError;
use super::{Cluster, kubeconfig, told};
use crate::model::duration::human;

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

    /// A client that shares no connection with the first one, if one can be made. Where a plugin gives the credentials
    /// it is the first one: a second one would run it again, and wait for it here.
    pub(super) fn another(&self) -> Result<kube::Client, ClusterError> {
        match &self.config {
            Some(config) if config.auth_info.exec.is_none() => {
                client_of((**config).clone()).map_err(|error| unusable(None, error))
            }
            Some(_) | None => Ok(self.client.clone()),
        }
    }
}

/// Makes a connection. Without a path, the usual ones are looked at.
pub(crate) async fn connect(
    path: Option<&Path>,
    usual: &[PathBuf],
    context: Option<&str>,
    tell: &(dyn Fn(String) + Sync),
) -> Result<Connection, ClusterError> {
    let shown = path.map(|path| path.display().to_string());
    let kubeconfig = kubeconfig::read(path, usual)
        .map_err(|source| ClusterError::Kubeconfig { path: shown.clone(), source })?;
    client(kubeconfig, shown, context, tell).await
}

/// Makes a connection from a kubeconfig's text.
pub(crate) async fn connect_text(text: &str) -> Result<Connection, ClusterError> {
    let kubeconfig =
        kubeconfig::parsed(text).map_err(|source| ClusterError::Kubeconfig { path: None, source })?;
    client(kubeconfig, None, None, &|_| {}).await
}

/// Reaches a cluster: what it serves is asked for, with one deadline over all tries.
///
/// # Errors
/// As [`Cluster::new`], and [`ClusterError::Unreachable`] after the deadline.
pub(crate) async fn reach(
    connection: Connection,
    tell: &(dyn Fn(String) + Sync),
) -> Result<Cluster, ClusterError> {
    let url = connection.config.as_ref().map(|config| config.cluster_url.to_string()).unwrap_or_default();
    let note = || tell(format!("note: waiting for an answer of the API server, {url}"));
    patiently(Cluster::new(connection), REACHED, note).await.unwrap_or_else(|| {
        let silent = format!("it said nothing for {}", human(REACHED));
        Err(ClusterError::Unreachable {
            verb: "get",
            object: "the API's discovery".to_owned(),
            source: Box::new(kube::Error::Service(silent.into())),
        })
    })
}

/// Waits for work up to `longest`, and says so once it takes a while; `None`: it took longer.
async fn patiently<T>(work: impl Future<Output = T>, longest: Duration, note: impl FnOnce()) -> Option<T> {
    let mut work = std::pin::pin!(work);
    if let Ok(done) = tokio::time::timeout(UNNOTICED, work.as_mut()).await {
        return Some(done);
    }
    note();
    tokio::time::timeout(longest.saturating_sub(UNNOTICED), work).await.ok()
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

/// How long a cluster may take to be reached, all tries together.
const REACHED: Duration = Duration::from_secs(90);

/// How long a plugin may take for credentials: a person may have to log in.
const PLUGIN: Duration = Duration::from_secs(5 * 60);

/// How long anything may take before it is said what is waited for.
const UNNOTICED: Duration = Duration::from_secs(5);

async fn client(
    mut kubeconfig: Kubeconfig,
    path: Option<String>,
    context: Option<&str>,
    tell: &(dyn Fn(String) + Sync),
) -> Result<Connection, ClusterError> {
    let failed = |source| ClusterError::Kubeconfig { path: path.clone(), source };
    context.map_or(Ok(()), |context| kubeconfig::has_context(&kubeconfig, context)).map_err(failed)?;
    kubeconfig::direct(&mut kubeconfig, context).map_err(failed)?;
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let mut config = config.map_err(|error| failed(error.into()))?;
    kubeconfig::without_proxy(&mut config);
    config.auth_info = kubeconfig::sendable(config.auth_info).map_err(failed)?;
    // Retries are ours: of writes, so that they can be shown (`execute::retry`), and of reads (`again`).
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(10));
    // A server that takes a connection and says nothing; watches hear a bookmark or end before that.
    config.read_timeout = Some(SILENCE);
    config.write_timeout = Some(SILENCE);
    let plugin = config.auth_info.exec.as_ref().and_then(|exec| exec.command.clone());
    let client = match plugin {
        Some(plugin) => with_plugin(config.clone(), &plugin, tell).await?,
        None => client_of(config.clone()).map_err(|error| unusable(path, error))?,
    };
    Ok(Connection { client, config: Some(Arc::new(config)) })
}

/// A client whose credentials a program of the user's gives. That may take as long as it likes, and is run on a thread
/// of its own, which the end of this process does not wait for.
async fn with_plugin(
    config: kube::Config,
    plugin: &str,
    tell: &(dyn Fn(String) + Sync),
) -> Result<kube::Client, ClusterError> {
    let (answer, answered) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        // The client's buffer is a task.
        let _entered = runtime.enter();
        drop(answer.send(client_of(config)));
    });
    let note = || tell(format!("note: waiting for the credential plugin `{plugin}`"));
    let problem = match patiently(answered, PLUGIN, note).await {
        Some(Ok(Ok(client))) => return Ok(client),
        Some(Ok(Err(error))) => return Err(unusable(None, error)),
        // The client panics on what cannot be sent.
        Some(Err(_)) => "what it gives is no token that can be sent".to_owned(),
        None => format!("it gave no credentials within {}", human(PLUGIN)),
    };
    Err(ClusterError::Plugin { problem: format!("`{plugin}`: {problem}") })
}

/// A client that cannot be made.
fn unusable(path: Option<String>, error: kube::Error) -> ClusterError {
    match ClusterError::no_credentials(&error) {
        Some(problem) => ClusterError::Plugin { problem },
        None => ClusterError::Kubeconfig { path, source: error.into() },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_said_and_ends() {
        let begun = Instant::now();
        let mut said = false;
        assert_eq!(patiently(std::future::ready(1), REACHED, || said = true).await, Some(1));
        assert!(!said);
        assert_eq!(patiently(std::future::pending::<()>(), REACHED, || said = true).await, None);
        assert!(said);
        assert_eq!(begun.elapsed(), REACHED);
    }

    /// A kubeconfig whose user is a shell script.
    fn of_plugin(script: &str) -> String {
        let exec = json!({
            "apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": ["-c", script],
            "interactiveMode": "Never",
        });
        json!({
            "current-context": "a",
            "contexts": [{ "name": "a", "context": { "cluster": "a", "user": "a" } }],
            "clusters": [{ "name": "a", "cluster": { "server": "http://127.0.0.1:9" } }],
            "users": [{ "name": "a", "user": { "exec": exec } }],
        })
        .to_string()
    }

    #[tokio::test]
    async fn what_plugins_print_is_not_shown() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        for (script, words) in [
            ("echo canary; exit 3", "exit status: 3"),
            ("echo canary", "what it prints is no ExecCredential"),
            ("echo '{}'", "it gives no credentials"),
            (r#"printf %s '{"status": {"token": "canary\nx"}}'"#, "no token that can be sent"),
        ] {
            let Err(error) = connect_text(&of_plugin(script)).await else { panic!("{script}") };
            let chain = crate::code::causes(std::error::Error::source(&error), "").join("; ");
            let said = format!("{error}; {chain}; {}", error.hint().unwrap_or_default());
            assert!(matches!(error, ClusterError::Plugin { .. }) && said.contains(words), "{said}");
            assert!(!said.contains("canary"), "{said}");
        }
        let made = connect_text(&of_plugin(r#"echo '{"status": {"token": "abc"}}'"#)).await;
        assert!(made.is_ok(), "{:?}", made.err());
    }
}
