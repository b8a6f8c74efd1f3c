//! Does the steps of hosts, over their sessions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::{self, FutureExt as _, LocalBoxFuture};

use super::documents::{self, Credentials, ENCRYPTION};
use super::lock::{Lock, LockError};
use super::steps::{self, Action, Found, Item, Planned, Source, Supplies};
use super::{Node, PORT, STATE, Site, scripts};
use crate::cluster::{Cluster, connect_text};
use crate::execute::event::Failure;
use crate::execute::hosts::Hosts;
use crate::host::{HostError, Session, Trouble, Upload};
use crate::model::artefact::Digest;
use crate::model::cloud::{Cloud, Role};
use crate::plan::planner::{HostStep, Phase};
use crate::plan::{Step, StepId};

/// How long a phase may take: images may have to be pulled.
const PHASE: Duration = Duration::from_secs(1200);

/// How long services may take to start.
const SETTLE: Duration = Duration::from_secs(180);

/// Hosts with what is to be done on them.
pub(crate) struct Runner {
    cloud: Cloud,
    version: String,
    sandbox: String,
    nodes: Vec<Node>,
    /// Invariant: they go with `nodes`.
    sessions: Vec<Session>,
    found: Vec<Found>,
    planned: Vec<Planned>,
    /// Where the kubeconfig goes.
    kubeconfig: PathBuf,
}

/// What a runner is made of.
pub(crate) struct Parts {
    /// What the user wants.
    pub(crate) cloud: Cloud,
    /// The hosts as nodes.
    pub(crate) nodes: Vec<Node>,
    /// Sessions to them, in the same order.
    pub(crate) sessions: Vec<Session>,
    /// Where the kubeconfig goes.
    pub(crate) kubeconfig: PathBuf,
}

impl Runner {
    /// Looks what is on the hosts, and decides what is to be done.
    pub(crate) async fn new(parts: Parts, supplies: &Supplies<'_>) -> Result<Self, HostError> {
        let Parts { cloud, nodes, sessions, kubeconfig } = parts;
        let Lock { kubernetes: version, sandbox, .. } = supplies.lock.clone();
        let site = Site { cloud: &cloud, version: &version, sandbox: &sandbox, nodes: &nodes };
        let wanted: Vec<Vec<Item>> =
            nodes.iter().map(|node| steps::items(&site, node, Some(supplies))).collect();
        let looks = sessions.iter().zip(&wanted).map(|(session, items)| async move {
            let probes: Vec<&str> = items.iter().map(|item| item.probe.as_str()).collect();
            let text = session.sh("looking what is there", &scripts::observe(&probes)).await?;
            Ok(Found::read(&text))
        });
        let found = future::join_all(looks).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let planned = steps::steps(&nodes, wanted, &found);
        Ok(Self { cloud, version, sandbox, nodes, sessions, found, planned, kubeconfig })
    }

    /// The steps, for the planner.
    pub(crate) fn steps(&self) -> Vec<HostStep> {
        self.planned.iter().map(|planned| planned.step.clone()).collect()
    }

    /// The version that hosts get.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Makes sure that everything that will be sent is what was locked.
    pub(crate) fn verify(&self, supplies: &Supplies<'_>) -> Result<(), LockError> {
        let mut checked: BTreeMap<&Path, &str> = BTreeMap::new();
        for item in self.planned.iter().flat_map(|planned| &planned.items) {
            if let Source::File(path, sha256) = &item.source {
                checked.insert(path, sha256);
            }
        }
        for artefact in &supplies.lock.artifacts {
            let path = artefact.path(&supplies.mirror);
            let Some(expected) = checked.get(path.as_path()) else { continue };
            let (name, version) = (artefact.name.clone(), artefact.version.clone());
            let bytes = match fs_err::read(&path) {
                Ok(bytes) => bytes,
                Err(source) => return Err(LockError::Missing { name, version, path, source }),
            };
            let found = Digest::of(&bytes).to_string();
            if found != **expected {
                let expected = (*expected).to_owned();
                return Err(LockError::Digest { name, version, path, found, expected });
            }
        }
        Ok(())
    }

    fn site(&self) -> Site<'_> {
        Site { cloud: &self.cloud, version: &self.version, sandbox: &self.sandbox, nodes: &self.nodes }
    }

    fn leader(&self) -> Option<(&Node, &Session, &Found)> {
        let index = steps::leader(&self.nodes, &self.found)?;
        Some((self.nodes.get(index)?, self.sessions.get(index)?, self.found.get(index)?))
    }

    /// The cluster, where there is one already.
    pub(crate) async fn cluster(&self) -> Result<Option<Cluster>, Failure> {
        match self.leader() {
            Some((_, session, found)) if found.joined => self.connect(session).await.map(Some),
            Some(_) | None => Ok(None),
        }
    }

    /// Fetches the kubeconfig, keeps it beside `cozy.yaml`, and connects.
    async fn connect(&self, session: &Session) -> Result<Cluster, Failure> {
        let text = session
            .sh("reading the kubeconfig", "cat /etc/kubernetes/admin.conf")
            .await
            .map_err(|error| failure(&error))?;
        let endpoint = self.site().endpoint();
        let host = if endpoint.contains(':') { format!("[{endpoint}]") } else { endpoint };
        let text: String = text
            .lines()
            .map(|line| match line.split_once("server: ") {
                Some((before, _)) => format!("{before}server: https://{host}:{PORT}\n"),
                None => format!("{line}\n"),
            })
            .collect();
        if let Err(error) = keep(&self.kubeconfig, &text) {
            let message = format!("cannot write the kubeconfig `{}`: {error}", self.kubeconfig.display());
            let hint = Some("make its folder writable".to_owned());
            return Err(Failure { code: crate::error::Code(5035), message, chain: Vec::new(), hint });
        }
        let connected = async { Cluster::new(connect_text(&text).await?).await };
        connected.await.map_err(|error| crate::execute::run::failed(&error))
    }

    async fn work(&self, step: &Step, say: &dyn Fn(String)) -> Result<Option<Cluster>, Failure> {
        let StepId::Host { host, phase } = &step.id else { return Ok(None) };
        let found =
            self.planned.iter().find(|planned| planned.step.host == *host && planned.step.phase == *phase);
        let index = self.nodes.iter().position(|node| node.name == *host);
        let here = index.and_then(|index| Some((self.nodes.get(index)?, self.sessions.get(index)?)));
        let (Some(planned), Some((node, session))) = (found, here) else { return Ok(None) };
        let result = match phase {
            Phase::Prepare => self.prepare(session, planned, say).await,
            Phase::Init => self.init(session, say).await,
            Phase::Join => self.join(node, session, planned, say).await,
            Phase::Ready => self.ready(node, say).await,
        };
        result.map_err(|error| failure(&error))?;
        match phase {
            Phase::Init => self.connect(session).await.map(Some),
            Phase::Prepare | Phase::Join | Phase::Ready => Ok(None),
        }
    }

    async fn prepare(
        &self,
        session: &Session,
        planned: &Planned,
        say: &dyn Fn(String),
    ) -> Result<(), HostError> {
        let (images, others): (Vec<&Item>, Vec<&Item>) =
            planned.items.iter().partition(|item| item.action == Action::Import);
        for item in others {
            put(session, item, say).await?;
        }
        say("starting containerd and the local endpoint".to_owned());
        let script = scripts::settle(&steps::changed(&planned.items));
        session.must("starting the services", &script, &[], SETTLE).await?;
        for item in images {
            put(session, item, say).await?;
        }
        Ok(())
    }

    async fn init(&self, session: &Session, say: &dyn Fn(String)) -> Result<(), HostError> {
        say("kubeadm init".to_owned());
        phase(session, "init", &scripts::init()).await
    }

    async fn ready(&self, node: &Node, say: &dyn Fn(String)) -> Result<(), HostError> {
        let Some((_, leader, _)) = self.leader() else { return Ok(()) };
        say("the node is not ready yet: it waits for the pod network".to_owned());
        leader.must("waiting for the node", &scripts::ready_node(&node.name), &[], PHASE).await.map(drop)
    }

    async fn join(
        &self,
        node: &Node,
        session: &Session,
        planned: &Planned,
        say: &dyn Fn(String),
    ) -> Result<(), HostError> {
        let at_work = session.sh("looking for a join", "systemctl is-active cozy-join || true").await?;
        if at_work.trim() != "active" {
            let Some((_, leader, _)) = self.leader() else { return Ok(()) };
            if planned.clear {
                let name = crate::host::quote(&node.name);
                let script = format!(
                    "kubectl --kubeconfig /etc/kubernetes/admin.conf delete node {name} --ignore-not-found --wait=false"
                );
                leader.sh("removing the node of an interrupted join", &script).await?;
            }
            say("making a token to join".to_owned());
            let credentials = credentials(leader, node.role).await?;
            if node.role == Role::Server {
                let path = format!("{ENCRYPTION}/config.yaml");
                let key = leader.sh("reading the encryption configuration", &format!("cat {path}")).await?;
                session.upload(Upload { path: &path, content: key.as_bytes(), mode: 0o600 }).await?;
            }
            let document = documents::join(&self.site(), node, &credentials);
            let path = format!("{STATE}/join.json");
            session.upload(Upload { path: &path, content: document.as_bytes(), mode: 0o600 }).await?;
        }
        say("kubeadm join".to_owned());
        phase(session, "join", &scripts::join(node.role)).await
    }
}

impl Hosts for Runner {
    fn work<'a>(
        &'a self,
        step: &'a Step,
        say: &'a dyn Fn(String),
    ) -> LocalBoxFuture<'a, Result<Option<Cluster>, Failure>> {
        self.work(step, say).boxed_local()
    }
}

/// Puts one item on a host.
async fn put(session: &Session, item: &Item, say: &dyn Fn(String)) -> Result<(), HostError> {
    let content = match &item.source {
        Source::Text(text) => text.clone().into_bytes(),
        Source::File(path, sha256) => {
            say(item.what.clone());
            let bytes =
                fs_err::read(path).map_err(|error| session.error(Trouble::Unsent(error.to_string())))?;
            // It was what was locked when the plan was made; what is sent must still be.
            if Digest::of(&bytes).to_string() != *sha256 {
                return Err(session.error(Trouble::Unsent(format!(
                    "`{}` has changed since it was verified",
                    path.display()
                ))));
            }
            bytes
        }
    };
    let archive = format!("{STATE}/incoming-{}", item.probe.rsplit('/').next().unwrap_or_default());
    let script = match &item.action {
        Action::Place(mode) => {
            return session.upload(Upload { path: &item.probe, content: &content, mode: *mode }).await;
        }
        Action::Unpack(into) => scripts::unpack(&archive, into),
        Action::Import => scripts::import(&archive),
    };
    session.upload(Upload { path: &archive, content: &content, mode: 0o600 }).await?;
    session.must(&item.what, &script, &[], SETTLE).await?;
    let Source::File(_, sha256) = &item.source else { return Ok(()) };
    let mark = steps::mark(sha256);
    session.upload(Upload { path: &item.probe, content: mark.as_bytes(), mode: 0o644 }).await
}

/// Runs a phase to its end, or joins one that is at work.
async fn phase(session: &Session, name: &str, script: &str) -> Result<(), HostError> {
    let path = format!("{STATE}/phases/{name}.sh");
    session.upload(Upload { path: &path, content: script.as_bytes(), mode: 0o700 }).await?;
    session.must(&format!("phase {name}"), &scripts::phase(name), &[], PHASE).await.map(drop)
}

async fn credentials(leader: &Session, role: Role) -> Result<Credentials, HostError> {
    let text = leader.sh("making a token to join", &scripts::credentials(role)).await?;
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key))
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    };
    match (value("token="), value("ca=")) {
        (Some(token), Some(ca)) => Ok(Credentials { token, ca, key: value("key=") }),
        _ => Err(leader.error(Trouble::Unreadable("kubeadm printed no join command".to_owned()))),
    }
}

/// Writes a file that only its owner reads.
fn keep(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if fs_err::read_to_string(path).is_ok_and(|before| before == text) {
        return Ok(());
    }
    // Temporary files are made with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// An error of a host as the failure of its step.
fn failure(error: &HostError) -> Failure {
    Failure { code: error.code(), message: error.to_string(), chain: Vec::new(), hint: Some(error.hint()) }
}
