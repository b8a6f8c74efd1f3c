//! Does the steps of hosts, over their sessions.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::{FutureExt as _, LocalBoxFuture};
use tokio::time::Instant;

use super::files::authority;
use super::leave::Leaving;
use super::reach::{self, Ahead, Said};
use super::settings::{Part, Settings};
use super::steps::{self, Action, Found, Item, Planned, Source};
use super::{Node, PORT, STATE, Site, clean, scripts, upkeep};
use crate::cluster::{Cluster, connect_text};
use crate::execute::event::Failure;
use crate::execute::hosts::{Broken, Hosts};
use crate::execute::retry::{self, Retry};
use crate::fetch::Held;
use crate::host::{Content, HostError, Session, Trouble, Upload};
use crate::model::artefact::Digest;
use crate::model::cloud::{Cloud, Role};
use crate::model::release::{Binary, Release};
use crate::plan::planner::{HostStep, Phase};
use crate::plan::{Step, StepId};

/// How long a phase may take: images may have to be pulled.
pub(super) const PHASE: Duration = Duration::from_secs(1200);

/// What is said of settings that joins and upgrades take from the cluster.
pub(super) const UPLOADING: &str = "keeping the settings in the cluster";

/// How long archives may take to be unpacked and imported, on slow disks.
const UNPACK: Duration = Duration::from_secs(900);

/// How long it is waited for an API server that does not answer.
const ANSWERS: Duration = Duration::from_secs(60);

/// How long services may take to start.
pub(super) const SETTLE: Duration = Duration::from_secs(180);

/// Hosts with what is to be done on them.
pub(crate) struct Runner {
    /// What they are.
    pub(super) parts: Parts,
    pub(super) version: String,
    pub(super) sandbox: String,
    /// Everything that the nodes must have. Invariant: this and what is found go with them.
    pub(super) wanted: Vec<Vec<Item>>,
    pub(super) found: Vec<Found>,
    /// What leaves.
    pub(super) leaving: Vec<Leaving>,
    pub(super) planned: Vec<Planned>,
    /// Where the release's files are, by their digests.
    pub(super) held: BTreeMap<Digest, PathBuf>,
    /// Hosts whose joins began in this run.
    pub(super) joins: RefCell<BTreeSet<String>>,
}

/// What a runner is made of.
pub(crate) struct Parts {
    /// What the user wants.
    pub(crate) cloud: Cloud,
    /// The hosts as nodes.
    pub(crate) nodes: Vec<Node>,
    /// Sessions to them, in the same order. They keep other runs off the hosts.
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
    /// `Err`: why it does not answer.
    pub(crate) session: Result<Session, HostError>,
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

    /// What of a release has to be fetched, because a host needs it.
    pub(crate) fn needs(&self, release: &Release) -> Vec<Binary> {
        let items = self.planned.iter().flat_map(|planned| &planned.items);
        let locked: BTreeSet<Digest> = items
            .filter_map(|item| match &item.source {
                Source::Locked(digest) => Some(*digest),
                Source::Text(_) | Source::File(..) => None,
            })
            .collect();
        let needed = release.artifacts.iter().filter(|binary| locked.contains(&binary.sha256));
        needed.cloned().collect()
    }

    /// Takes note where what was fetched is.
    pub(crate) fn hold(&mut self, held: Vec<Held>) {
        self.held.extend(held.into_iter().map(|held| (held.binary.sha256, held.path)));
    }

    pub(super) fn site(&self) -> Site<'_> {
        let Parts { cloud, nodes, .. } = &self.parts;
        Site { cloud, version: &self.version, sandbox: &self.sandbox, nodes }
    }

    pub(super) fn leader(&self) -> Option<(&Node, &Session, &Found)> {
        let Parts { nodes, sessions, .. } = &self.parts;
        let index = steps::leader(nodes, &self.found)?;
        Some((nodes.get(index)?, sessions.get(index)?, self.found.get(index)?))
    }

    /// The server that the others are asked through, where a step needs one: there is no such step without it.
    pub(super) fn led(&self) -> Result<(&Node, &Session, &Found), HostError> {
        self.leader().ok_or_else(|| unknown("the first server"))
    }

    /// Hosts that are to leave, and may not.
    pub(crate) fn held(&self) -> Vec<&str> {
        if self.parts.remove {
            Vec::new()
        } else {
            self.leaving.iter().map(|one| one.name.as_str()).collect()
        }
    }

    /// The cluster, where there is one already, and what it was asked `ahead`, if it was that one. The kubeconfig is
    /// kept, too: it may have been lost. One with another endpoint is of use only once certificates name that. An API
    /// server that starts is waited for; `say` is told.
    pub(crate) async fn cluster(
        &self,
        ahead: impl Future<Output = Option<Ahead>>,
        say: impl Fn(String),
    ) -> Result<Option<(Cluster, Option<Said>)>, Failure> {
        let Some((node, session, _)) = self.leader().filter(|(_, _, found)| found.joined) else {
            return Ok(None);
        };
        let named = !self.planned.iter().any(|planned| planned.change.has(Part::Names));
        if named {
            // What is wrong with it is said below.
            let (text, ahead) = tokio::join!(self.kubeconfig(node, session), ahead);
            if let (Ok(text), Some(Ahead { kubeconfig, servers, cluster, said })) = (text, ahead)
                && text == kubeconfig
                && servers == self.servers()
            {
                self.belongs(&cluster).await?;
                return Ok(Some((cluster, Some(said))));
            }
        }
        let again = |retry: Retry<'_, Broken>| {
            if retry.attempt == 1 {
                say(format!("waiting for the API server: {}", retry.error));
            }
        };
        let act = async || self.connect(node, session, named).await;
        let connected = retry::until(Instant::now() + ANSWERS, act, again).await;
        let cluster = connected.map_err(|broken| broken.failure)?;
        self.belongs(&cluster).await.map(|()| Some((cluster, None)))
    }

    /// Settings that are not applied, and hosts that leave without being cleaned, with why.
    pub(crate) fn notes(&self) -> Vec<String> {
        let stays = self.found.iter().any(|found| found.change.kube_proxy_stays);
        let note = "kube-proxy stays beside Cilium: without it there would be no Services until Cilium is there. Then \
                    `kubectl -n kube-system delete daemonset/kube-proxy configmap/kube-proxy`, and restart the hosts one \
                    after the other, which ends its rules";
        let dead =
            self.leaving.iter().filter_map(|one| self.parts.gone.get(one.index)?.session.as_ref().err());
        let dead =
            dead.filter(|_| self.parts.remove).map(|error| format!("{error}: nothing is cleaned there"));
        stays.then(|| note.to_owned()).into_iter().chain(dead).collect()
    }

    fn is_leader(&self, node: &Node) -> bool {
        self.leader().is_some_and(|(leader, _, _)| leader.name == node.name)
    }

    /// Whether certificates have ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.planned.iter().any(|planned| planned.renewal.is_urgent())
    }

    /// What is done before anything else: without it nothing else works.
    pub(crate) fn urgent(&self) -> Vec<HostStep> {
        upkeep::urgent(&self.planned)
    }

    /// Fetches the kubeconfig and connects. It is kept beside `cozy.yaml` where the certificates name its endpoint;
    /// where they do not yet, servers are asked by their own addresses.
    async fn connect(&self, node: &Node, session: &Session, named: bool) -> Result<Cluster, Broken> {
        let text = if named {
            self.kubeconfig(node, session).await?
        } else {
            fetched(session, &node.address).await.map_err(|error| broken(&error))?
        };
        let text = reach::through(&text, &self.servers()).await.unwrap_or(text);
        let connected = async { Cluster::once_ready(connect_text(&text).await?).await };
        // What a server refuses that has just started, it allows later.
        connected.await.map_err(|error| Broken {
            away: error.is_transient() || error.is_forbidden(),
            failure: crate::execute::failed::failed(&error),
        })
    }

    /// Where the API servers are reached.
    fn servers(&self) -> Vec<String> {
        self.site().servers().map(|server| authority(&server.address)).collect()
    }

    /// Fetches the kubeconfig, and keeps it beside `cozy.yaml`.
    async fn kubeconfig(&self, node: &Node, session: &Session) -> Result<String, Broken> {
        // A first server that is still to join has no API server yet.
        let endpoint = self.parts.cloud.kubernetes.endpoint.clone().unwrap_or_else(|| node.address.clone());
        let text = fetched(session, &endpoint).await.map_err(|error| broken(&error))?;
        if let Err(error) = keep(&self.parts.kubeconfig, &text) {
            let message =
                format!("cannot write the kubeconfig `{}`: {error}", self.parts.kubeconfig.display());
            let hint = Some("make its folder writable".to_owned());
            let code = crate::code::Code(5035);
            return Err(Failure { code, message, chain: Vec::new(), hint }.into());
        }
        Ok(text)
    }

    async fn work(&self, step: &Step, say: &dyn Fn(String)) -> Result<Option<Cluster>, Broken> {
        let StepId::Host { host, phase } = &step.id else {
            return Err(broken(&unknown(&step.id.to_string())));
        };
        let found =
            self.planned.iter().find(|planned| planned.step.host == *host && planned.step.phase == *phase);
        if *phase == Phase::Remove {
            return self.remove(host, say).await.map(|()| None).map_err(|error| broken(&error));
        }
        let Parts { nodes, sessions, .. } = &self.parts;
        let index = nodes.iter().position(|node| node.name == *host);
        let here = index.and_then(|index| Some((nodes.get(index)?, sessions.get(index)?)));
        let (Some(planned), Some((node, session))) = (found, here) else {
            return Err(broken(&unknown(host)));
        };
        let result = match phase {
            Phase::Prepare => self.prepare(node, session, planned, say).await,
            Phase::Init => self.init(node, session, say).await,
            Phase::Join => self.join(node, session, planned, say).await,
            Phase::Configure => self.configure(node, session, planned, say).await,
            Phase::Certify => self.certify(node, session, planned, say).await,
            Phase::Ready => self.ready(node, say).await,
            Phase::Remove | Phase::Clean => Err(unknown(host)),
        };
        result.map_err(|error| broken(&error))?;
        match phase {
            Phase::Init => self.connect(node, session, true).await.map(Some),
            // The administrator's own certificate is among them.
            Phase::Certify if planned.renewal.leaves.is_some() && self.is_leader(node) => {
                self.kubeconfig(node, session).await.map(|_| None)
            }
            // Whichever server is asked shows a certificate with the new names now.
            Phase::Configure if self.last_named() == Some(host.as_str()) => {
                let (leader, session, _) = self.led().map_err(|error| broken(&error))?;
                self.kubeconfig(leader, session).await.map(|_| None)
            }
            Phase::Prepare
            | Phase::Join
            | Phase::Configure
            | Phase::Certify
            | Phase::Ready
            | Phase::Remove
            | Phase::Clean => Ok(None),
        }
    }

    /// The last server whose certificate gets other names.
    fn last_named(&self) -> Option<&str> {
        let named = self.planned.iter().rev().find(|planned| planned.change.has(Part::Names))?;
        Some(&named.step.host)
    }

    /// What was seen on a host that belongs to the cluster.
    fn joined(&self, node: &Node) -> Option<&Found> {
        let mut all = self.parts.nodes.iter().zip(&self.found);
        all.find(|(other, found)| other.name == node.name && found.joined).map(|(_, found)| found)
    }

    async fn prepare(
        &self,
        node: &Node,
        session: &Session,
        planned: &Planned,
        say: &dyn Fn(String),
    ) -> Result<(), HostError> {
        let (images, others): (Vec<&Item>, Vec<&Item>) =
            planned.items.iter().partition(|item| item.action == Action::Import);
        let placed = others.iter().filter(|item| matches!(item.action, Action::Place(_)));
        let placed = placed.map(|item| format!("{}\n", item.probe)).collect::<Vec<_>>();
        let placed = format!("{}{}\n", placed.concat(), steps::UNTRIED);
        let what = "remembering what is there";
        let remember = clean::remember(self.parts.cloud.name.as_str());
        let remember = format!("{remember}\n{}", scripts::unsettled(&planned.restarts));
        session.must(what, &remember, placed.as_bytes(), SETTLE).await?;
        for item in others {
            if item.probe == steps::ITSELF {
                let untried = Item { probe: steps::UNTRIED.to_owned(), ..item.clone() };
                self.put(session, &untried, say).await?;
                starts(session).await?;
            } else {
                self.put(session, item, say).await?;
            }
        }
        say("starting containerd and the local endpoint".to_owned());
        let script = scripts::settle(&planned.restarts);
        session.must("starting the services", &script, &[], SETTLE).await?;
        if let Some(found) = self.joined(node) {
            let control_plane = node.role == Role::Server && !found.silent;
            settled(session, found.awaits_kubelet(), control_plane, say).await?;
        }
        for item in images {
            self.put(session, item, say).await?;
        }
        let what = "keeping the digests of the files";
        session.must(what, &scripts::keep_digests(), planned.probes.as_bytes(), SETTLE).await.map(drop)
    }

    async fn init(&self, node: &Node, session: &Session, say: &dyn Fn(String)) -> Result<(), HostError> {
        say("kubeadm init".to_owned());
        phase(session, "init", &scripts::init(node, &Settings::of_join(&self.site(), node))).await?;
        if node.labels.is_empty() { Ok(()) } else { self.label(node, session, say).await }
    }

    async fn ready(&self, node: &Node, say: &dyn Fn(String)) -> Result<(), HostError> {
        let (_, leader, _) = self.led()?;
        say("the node is not ready yet: it waits for the pod network".to_owned());
        leader.must("waiting for the node", &scripts::ready_node(&node.name), &[], PHASE).await.map(drop)
    }
}

impl Runner {
    /// Takes a host out of the cluster.
    async fn remove(&self, name: &str, say: &dyn Fn(String)) -> Result<(), HostError> {
        let leaving = self.leaving.iter().find(|one| one.name == name).ok_or_else(|| unknown(name))?;
        let (_, leader, _) = self.led()?;
        if let Some((node, true)) = &leaving.node {
            say(format!("draining {node}"));
            leader.must(&format!("draining {node}"), &scripts::drain(node), &[], PHASE).await?;
        }
        let members: Vec<String> = leaving.members.iter().map(|member| member.id.clone()).collect();
        take_out(leader, &members, say).await?;
        let session = self.parts.gone.get(leaving.index).and_then(|gone| gone.session.as_ref().ok());
        if let Some(session) = session.filter(|_| leaving.clean) {
            say("stopping everything, and taking it away".to_owned());
            clean_host(session, &self.parts.cloud).await?;
        }
        if let Some((node, _)) = &leaving.node {
            let what = format!("deleting Node {node}");
            soon(leader, &what, &scripts::delete_node(node)).await?;
        }
        Ok(())
    }
}

impl Runner {
    /// Puts one item on a host.
    async fn put(&self, session: &Session, item: &Item, say: &dyn Fn(String)) -> Result<(), HostError> {
        let (content, digest) = match &item.source {
            Source::Text(text) => (Content::Bytes(text.as_bytes()), Digest::of(text.as_bytes())),
            Source::File(path, digest) => (Content::File(path, *digest), *digest),
            Source::Locked(digest) => {
                let missing = || session.error(Trouble::Unsent(format!("{} was not fetched", item.what)));
                (Content::File(self.held.get(digest).ok_or_else(missing)?, *digest), *digest)
            }
        };
        if matches!(content, Content::File(..)) {
            say(item.what.clone());
        }
        let archive = format!("{STATE}/incoming-{}", item.probe.rsplit('/').next().unwrap_or_default());
        let script = match &item.action {
            Action::Place(mode) => {
                return session.upload(Upload { path: &item.probe, content, mode: *mode }).await;
            }
            Action::Unpack(into) => clean::unpack(&archive, into),
            Action::Import => scripts::import(&archive),
            Action::Remove => return session.sh(&item.what, &clean::take_back(&item.probe)).await.map(drop),
        };
        session.upload(Upload { path: &archive, content, mode: 0o600 }).await?;
        session.must(&item.what, &script, &[], UNPACK).await?;
        let mark = steps::mark(digest);
        let content = Content::Bytes(mark.as_bytes());
        session.upload(Upload { path: &item.probe, content, mode: 0o644 }).await
    }
}

/// Puts cozy in its place on a host if it starts there: a build that needs a C library may find another one.
/// What works there stays otherwise.
async fn starts(session: &Session) -> Result<(), HostError> {
    let output = session.run("starting cozy", &scripts::try_itself(), &[], SETTLE).await?;
    match output.status {
        0 => session.sh("putting cozy in its place", &scripts::take_itself()).await.map(drop),
        _ => Err(session.error(Trouble::NoStart(crate::host::error::last_words(&output.stderr)))),
    }
}

/// Takes members out of etcd, by ID.
pub(super) async fn take_out(
    leader: &Session,
    members: &[String],
    say: &dyn Fn(String),
) -> Result<(), HostError> {
    for id in members {
        say(format!("removing etcd's member {id}"));
        let script = format!("/usr/local/bin/cozy host etcd remove {}", crate::host::quote(id));
        leader.must(&format!("removing etcd's member {id}"), &script, &[], SETTLE).await?;
    }
    Ok(())
}

/// Takes everything away that a cloud put on a host.
pub(super) async fn clean_host(session: &Session, cloud: &Cloud) -> Result<(), HostError> {
    session
        .must(
            "taking away what was put there",
            &clean::clean(cloud.name.as_str(), &cloud.network.pods),
            &[],
            PHASE,
        )
        .await
        .map(drop)
}

impl Hosts for Runner {
    fn work<'a>(
        &'a self,
        step: &'a Step,
        say: &'a dyn Fn(String),
    ) -> LocalBoxFuture<'a, Result<Option<Cluster>, Broken>> {
        self.work(step, say).boxed_local()
    }
}

/// Waits until what was restarted on a host does its work again: its kubelet, etcd and the API server.
pub(super) async fn settled(
    session: &Session,
    kubelet: bool,
    control_plane: bool,
    say: &dyn Fn(String),
) -> Result<(), HostError> {
    if !kubelet && !control_plane {
        return Ok(());
    }
    let what = "waiting for what was restarted";
    say(what.to_owned());
    session.must(what, &scripts::settled(kubelet, control_plane), &[], PHASE).await.map(drop)
}

/// The administrator's kubeconfig, for an endpoint.
async fn fetched(session: &Session, endpoint: &str) -> Result<String, HostError> {
    let text = session.sh("reading the kubeconfig", &format!("cat {}", scripts::ADMIN)).await?;
    let host = if endpoint.contains(':') { format!("[{endpoint}]") } else { endpoint.to_owned() };
    let line = |line: &str| match line.split_once("server: ") {
        Some((before, _)) => format!("{before}server: https://{host}:{PORT}\n"),
        None => format!("{line}\n"),
    };
    Ok(text.lines().map(line).collect())
}

/// Runs a phase to its end, or joins one that is at work.
pub(super) async fn phase(session: &Session, name: &str, script: &str) -> Result<(), HostError> {
    let path = format!("{STATE}/phases/{name}.sh");
    session.upload(Upload { path: &path, content: Content::Bytes(script.as_bytes()), mode: 0o700 }).await?;
    session.must(&format!("phase {name}"), &scripts::phase(name), &[], PHASE).await.map(drop)
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

/// Does on a host what asks something of the cluster; for a minute again, until there is an answer.
pub(super) async fn soon(session: &Session, what: &str, script: &str) -> Result<String, HostError> {
    session.must(what, &scripts::soon(script, scripts::SOON), &[], SETTLE).await
}

/// A step that names what this run knows nothing of.
pub(super) fn unknown(host: &str) -> HostError {
    HostError { host: host.to_owned(), trouble: Trouble::Unknown, command: String::new() }
}

/// An error of a host that ends a step, or lets it be done again.
pub(crate) fn broken(error: &HostError) -> Broken {
    Broken { failure: failure(error), away: error.is_away() }
}

/// An error of a host as the failure of its step.
pub(super) fn failure(error: &HostError) -> Failure {
    Failure { code: error.code(), message: error.to_string(), chain: Vec::new(), hint: Some(error.hint()) }
}
