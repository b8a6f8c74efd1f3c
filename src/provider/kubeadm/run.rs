//! Does the steps of hosts, over their sessions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::{FutureExt as _, LocalBoxFuture};

use super::documents::{self, Credentials, ENCRYPTION};
use super::leave::Leaving;
use super::lock::LockError;
use super::steps::{self, Action, Found, Item, Planned, Source, Supplies};
use super::{Node, PORT, STATE, Site, clean, scripts};
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
    /// What they are.
    pub(super) parts: Parts,
    pub(super) version: String,
    pub(super) sandbox: String,
    /// Invariant: they go with the nodes.
    pub(super) found: Vec<Found>,
    /// What leaves.
    pub(super) leaving: Vec<Leaving>,
    pub(super) planned: Vec<Planned>,
}

/// What a runner is made of.
pub(crate) struct Parts {
    /// What the user wants.
    pub(crate) cloud: Cloud,
    /// The hosts as nodes.
    pub(crate) nodes: Vec<Node>,
    /// Sessions to them, in the same order.
    pub(crate) sessions: Vec<Session>,
    /// Hosts with `state: removed`.
    pub(crate) gone: Vec<Gone>,
    /// Whether those may be taken out of the cluster.
    pub(crate) remove: bool,
    /// Where the kubeconfig goes.
    pub(crate) kubeconfig: PathBuf,
}

/// A host with `state: removed`.
pub(crate) struct Gone {
    /// As people call it.
    pub(crate) host: String,
    /// What it was.
    pub(crate) role: Role,
    /// Its name in `cozy.yaml`.
    pub(crate) name: Option<String>,
    /// Its address in `cozy.yaml`.
    pub(crate) address: Option<String>,
    /// `None`: it does not answer.
    pub(crate) session: Option<Session>,
}

impl Runner {
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
        let Parts { cloud, nodes, .. } = &self.parts;
        Site { cloud, version: &self.version, sandbox: &self.sandbox, nodes }
    }

    fn leader(&self) -> Option<(&Node, &Session, &Found)> {
        let Parts { nodes, sessions, .. } = &self.parts;
        let index = steps::leader(nodes, &self.found)?;
        Some((nodes.get(index)?, sessions.get(index)?, self.found.get(index)?))
    }

    /// Hosts that are to leave, and may not.
    pub(crate) fn held(&self) -> Vec<&str> {
        if self.parts.remove {
            Vec::new()
        } else {
            self.leaving.iter().map(|one| one.name.as_str()).collect()
        }
    }

    /// The cluster, where there is one already.
    pub(crate) async fn cluster(&self) -> Result<Option<Cluster>, Failure> {
        match self.leader() {
            Some((node, session, found)) if found.joined => self.connect(node, session).await.map(Some),
            Some(_) | None => Ok(None),
        }
    }

    /// Fetches the kubeconfig, keeps it beside `cozy.yaml`, and connects.
    async fn connect(&self, node: &Node, session: &Session) -> Result<Cluster, Failure> {
        let text = session
            .sh("reading the kubeconfig", "cat /etc/kubernetes/admin.conf")
            .await
            .map_err(|error| failure(&error))?;
        // A first server that is still to join has no API server yet.
        let endpoint = self.parts.cloud.kubernetes.endpoint.clone().unwrap_or_else(|| node.address.clone());
        let host = if endpoint.contains(':') { format!("[{endpoint}]") } else { endpoint };
        let text: String = text
            .lines()
            .map(|line| match line.split_once("server: ") {
                Some((before, _)) => format!("{before}server: https://{host}:{PORT}\n"),
                None => format!("{line}\n"),
            })
            .collect();
        if let Err(error) = keep(&self.parts.kubeconfig, &text) {
            let message =
                format!("cannot write the kubeconfig `{}`: {error}", self.parts.kubeconfig.display());
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
        if *phase == Phase::Remove {
            return self.remove(host, say).await.map(|()| None).map_err(|error| failure(&error));
        }
        let Parts { nodes, sessions, .. } = &self.parts;
        let index = nodes.iter().position(|node| node.name == *host);
        let here = index.and_then(|index| Some((nodes.get(index)?, sessions.get(index)?)));
        let (Some(planned), Some((node, session))) = (found, here) else { return Ok(None) };
        let result = match phase {
            Phase::Prepare => self.prepare(session, planned, say).await,
            Phase::Init => self.init(session, say).await,
            Phase::Join => self.join(node, session, planned, say).await,
            Phase::Ready => self.ready(node, say).await,
            Phase::Remove | Phase::Clean => Ok(()),
        };
        result.map_err(|error| failure(&error))?;
        match phase {
            Phase::Init => self.connect(node, session).await.map(Some),
            Phase::Prepare | Phase::Join | Phase::Ready | Phase::Remove | Phase::Clean => Ok(None),
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
        let placed = others.iter().filter(|item| matches!(item.action, Action::Place(_)));
        let placed = placed.map(|item| format!("{}\n", item.probe)).collect::<Vec<_>>().concat();
        let what = "remembering what is there";
        session.must(what, &clean::remember(), placed.as_bytes(), SETTLE).await?;
        for item in others {
            put(session, item, say).await?;
        }
        say("starting containerd and the local endpoint".to_owned());
        let script = scripts::settle(&steps::changed(&planned.items));
        session.must("starting the services", &script, &[], SETTLE).await?;
        for item in images {
            put(session, item, say).await?;
        }
        let what = "keeping the digests of the files";
        session.must(what, &scripts::keep_digests(), planned.digests.as_bytes(), SETTLE).await.map(drop)
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
            take_out(leader, &planned.former, say).await?;
            if planned.clear || !planned.former.is_empty() {
                leader.sh("removing the node of a former life", &scripts::delete_node(&node.name)).await?;
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

impl Runner {
    /// Takes a host out of the cluster.
    async fn remove(&self, name: &str, say: &dyn Fn(String)) -> Result<(), HostError> {
        let Some(leaving) = self.leaving.iter().find(|one| one.name == name) else { return Ok(()) };
        let Some((_, leader, _)) = self.leader() else { return Ok(()) };
        if let Some((node, true)) = &leaving.node {
            say(format!("draining {node}"));
            leader.must(&format!("draining {node}"), &scripts::drain(node), &[], PHASE).await?;
        }
        let members: Vec<String> = leaving.members.iter().map(|member| member.id.clone()).collect();
        take_out(leader, &members, say).await?;
        let session = self.parts.gone.get(leaving.index).and_then(|gone| gone.session.as_ref());
        if let Some(session) = session.filter(|_| leaving.clean) {
            say("stopping everything, and taking it away".to_owned());
            clean_host(session, self.parts.cloud.name.as_str()).await?;
        }
        if let Some((node, _)) = &leaving.node {
            let what = format!("deleting Node {node}");
            leader.must(&what, &scripts::delete_node(node), &[], SETTLE).await?;
        }
        Ok(())
    }
}

/// Takes members out of etcd, by ID.
async fn take_out(leader: &Session, members: &[String], say: &dyn Fn(String)) -> Result<(), HostError> {
    for id in members {
        say(format!("removing etcd's member {id}"));
        let script = format!("/usr/local/bin/cozy host etcd remove {}", crate::host::quote(id));
        leader.must(&format!("removing etcd's member {id}"), &script, &[], SETTLE).await?;
    }
    Ok(())
}

/// Takes everything away that a cloud put on a host.
pub(super) async fn clean_host(session: &Session, cloud: &str) -> Result<(), HostError> {
    session.must("taking away what was put there", &clean::clean(cloud), &[], PHASE).await.map(drop)
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
        Action::Unpack(into) => clean::unpack(&archive, into),
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
pub(super) fn failure(error: &HostError) -> Failure {
    Failure { code: error.code(), message: error.to_string(), chain: Vec::new(), hint: Some(error.hint()) }
}
