//! etcd's members, asked and changed through its JSON gateway. Runs on a
//! server, with the certificates that kubeadm made there. Prints plain lines
//! for the provider that started it; decides nothing.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future;
use reqwest::{Certificate, Client, Identity, Url};
use serde::Deserialize;
use serde_json::{Value, json};

/// Where kubeadm keeps etcd's certificates.
const PKI: &str = "/etc/kubernetes/pki/etcd";

/// Where this server's etcd listens for clients: on hosts with IPv6 addresses at the second of these.
const HERE: [&str; 2] = ["https://127.0.0.1:2379", "https://[::1]:2379"];

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long a change may take: it may wait for an election.
const CHANGE: Duration = Duration::from_secs(20);

/// Why etcd cannot be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EtcdError {
    /// A certificate is not there: this is no server of a cluster.
    #[error("cannot read etcd's certificate `{path}`")]
    Certificate {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A certificate is of no use.
    #[error("cannot use etcd's certificates")]
    Tls(#[source] reqwest::Error),
    /// It does not answer.
    #[error("etcd does not answer at {url}")]
    Silent {
        /// Where.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// It does what was asked, and says so in another way than etcd does.
    #[error("what etcd answers cannot be read")]
    Unreadable(#[source] serde_json::Error),
    /// It says no.
    #[error("etcd refused ({status}): {message}")]
    Refused {
        /// The status of HTTP.
        status: u16,
        /// Its words.
        message: String,
    },
}

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    id: u64,
    name: String,
    /// The host in the URL that the others reach it by.
    address: String,
    learner: bool,
    /// It answers, and knows a leader.
    up: bool,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, name, address, learner, up } = self;
        let name = if name.is_empty() { "-" } else { name };
        let kind = if *learner { "learner" } else { "voter" };
        write!(f, "member {id:x} {name} {address} {kind} {}", if *up { "up" } else { "down" })
    }
}

#[derive(Deserialize)]
struct List {
    members: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    name: String,
    #[serde(rename = "peerURLs", default)]
    peers: Vec<String>,
    #[serde(rename = "clientURLs", default)]
    clients: Vec<String>,
    #[serde(rename = "isLearner", default)]
    learner: bool,
}

impl List {
    fn read(answer: Value) -> Result<Self, EtcdError> {
        serde_json::from_value(answer).map_err(EtcdError::Unreadable)
    }
}

/// etcd as this server reaches it.
pub(crate) struct Etcd {
    client: Client,
}

impl Etcd {
    /// Reads the certificates.
    pub(crate) fn here() -> Result<Self, EtcdError> {
        Self::with(Path::new(PKI))
    }

    fn with(pki: &Path) -> Result<Self, EtcdError> {
        let read = |name: &str| {
            let path = pki.join(name);
            fs_err::read(&path).map_err(|source| EtcdError::Certificate { path, source })
        };
        let ca = Certificate::from_pem(&read("ca.crt")?).map_err(EtcdError::Tls)?;
        let mut pem = read("healthcheck-client.crt")?;
        pem.extend(read("healthcheck-client.key")?);
        let client = Client::builder()
            .identity(Identity::from_pem(&pem).map_err(EtcdError::Tls)?)
            .tls_certs_only([ca])
            .no_proxy()
            .build()
            .map_err(EtcdError::Tls)?;
        Ok(Self { client })
    }

    /// All members, as this server knows them: without a quorum, too.
    pub(crate) async fn members(&self) -> Result<Vec<Member>, EtcdError> {
        let answer =
            self.ask_here("cluster/member/list", &json!({ "linearizable": false }), PATIENCE).await?;
        let members = List::read(answer)?.members.into_iter().map(|listed| async move {
            let Listed { id, name, peers, clients, learner } = listed;
            let host = |url: &String| {
                let url = Url::parse(url).ok()?;
                Some(url.host_str()?.trim_matches(['[', ']']).to_owned())
            };
            let up = match clients.first() {
                Some(url) => self.is_up(url).await,
                None => false,
            };
            let address = peers.iter().find_map(host).unwrap_or_else(|| "-".to_owned());
            Member { id: id.parse().unwrap_or_default(), name, address, learner, up }
        });
        Ok(future::join_all(members).await)
    }

    async fn is_up(&self, url: &str) -> bool {
        let answer = self.ask(url, "maintenance/status", &json!({}), PATIENCE).await;
        answer.is_ok_and(|status| status["leader"].as_str().is_some_and(|leader| leader != "0"))
    }

    /// Takes a member out; `id` in hexadecimal. One that is out already is no error.
    pub(crate) async fn remove(&self, id: u64) -> Result<(), EtcdError> {
        let gone = async || Ok(!self.members().await?.iter().any(|member| member.id == id));
        if gone().await? {
            return Ok(());
        }
        match self.ask_here("cluster/member/remove", &json!({ "ID": id.to_string() }), CHANGE).await {
            Ok(_) => Ok(()),
            Err(error) => {
                if gone().await? {
                    Ok(())
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Asks this server's etcd.
    async fn ask_here(&self, method: &str, body: &Value, limit: Duration) -> Result<Value, EtcdError> {
        let [first, second] = HERE;
        match self.ask(first, method, body, limit).await {
            Err(EtcdError::Silent { source, url }) if source.is_connect() => {
                let other = self.ask(second, method, body, limit).await;
                // Where neither listens, the usual one is named.
                other.map_err(|error| match error {
                    EtcdError::Silent { source: of_other, .. } if of_other.is_connect() => {
                        EtcdError::Silent { source, url }
                    }
                    other => other,
                })
            }
            answered => answered,
        }
    }

    async fn ask(&self, base: &str, method: &str, body: &Value, limit: Duration) -> Result<Value, EtcdError> {
        let url = format!("{base}/v3/{method}");
        let silent = |source| EtcdError::Silent { url: url.clone(), source };
        let request = self.client.post(&url).timeout(limit).body(body.to_string());
        let answer = request.send().await.map_err(silent)?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(silent)?;
        if status.is_success() {
            return Ok(serde_json::from_slice(&bytes).unwrap_or_default());
        }
        let said: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let message = said["message"]
            .as_str()
            .map_or_else(|| String::from_utf8_lossy(&bytes).into_owned(), str::to_owned);
        Err(EtcdError::Refused { status: status.as_u16(), message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_printed_one_a_line() {
        let member = Member {
            id: 0x8e9e_05c5_2164_694d,
            name: String::new(),
            address: "10.0.0.13".to_owned(),
            learner: true,
            up: false,
        };
        assert_eq!(member.to_string(), "member 8e9e05c52164694d - 10.0.0.13 learner down");
        let list = r#"{"members":[{"ID":"10276657743932975437","peerURLs":["https://10.0.0.13:2380"],"isLearner":true}]}"#;
        let list = List::read(serde_json::from_str(list).unwrap()).unwrap();
        assert_eq!(list.members[0].id.parse(), Ok(0x8e9e_05c5_2164_694d_u64));
        let error = List::read(Value::Null).err().unwrap();
        assert_eq!(error.to_string(), "what etcd answers cannot be read");
    }
}
