//! What must be done on which host, from what is wanted and what is there.
//! Pure: the same for real hosts and in a rehearsal.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::certificates::{Ends, Renewal};
use super::files::{self, Service};
use super::leave::Departures;
use super::settings::{Change, Part, Settings};
use super::{Node, STATE, Site, scripts, upkeep};
use crate::model::artefact::Digest;
use crate::model::cloud::{Cloud, Role};
use crate::model::release::Release;
use crate::plan::planner::{HostStep, Phase};
use crate::plan::{PlanError, Reason};

/// Estimates, measured on small servers: artefacts sent and containerd up;
/// `kubeadm init`; joins.
const PREPARE: Duration = Duration::from_secs(22);
const INIT: Duration = Duration::from_secs(40);
const JOIN_SERVER: Duration = Duration::from_secs(28);
const JOIN_AGENT: Duration = Duration::from_secs(12);
pub(super) const READY: Duration = Duration::from_secs(8);

/// A file with its digest: an archive of images, or the running program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocalFile {
    /// Its name, for people and for marks.
    pub(crate) name: String,
    /// Where it is here.
    pub(crate) path: PathBuf,
    /// The sha256 of its bytes.
    pub(crate) sha256: Digest,
}

/// Something that a host must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// For people: `install kubelet v1.36.3`.
    pub(super) what: String,
    /// The file on the host that shows whether it is there.
    pub(super) probe: String,
    /// That file's sha256 when it is.
    pub(super) digest: String,
    /// Where it comes from.
    pub(super) source: Source,
    /// What is done with it.
    pub(super) action: Action,
    /// What is restarted when it changes.
    pub(super) service: Option<Service>,
}

/// Where an item comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// It is this text.
    Text(String),
    /// A file here, with the sha256 that it must have.
    File(PathBuf, Digest),
    /// What the lock calls by this digest: fetched once it is known that a host needs it.
    Locked(Digest),
}

/// What is done with an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// It is put at its probe's place, with these permissions.
    Place(u32),
    /// It is unpacked into a folder; the probe is a mark.
    Unpack(String),
    /// It is imported into containerd; the probe is a mark.
    Import,
    /// What is at its probe's place is not wanted any more.
    Remove,
}

/// What was seen on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// sha256 by path.
    digests: BTreeMap<String, String>,
    /// Services that run.
    active: BTreeSet<String>,
    /// Phases that are at work.
    pub(super) working: BTreeSet<String>,
    /// It belongs to the cluster.
    pub(crate) joined: bool,
    /// Files that say where a registry's mirrors are, and that cozy wrote.
    mirrors: Vec<String>,
    /// As what it joined: `server NAME ADDRESS`.
    identity: Option<String>,
    /// The digest of the certificate authority of its cluster.
    ca: Option<String>,
    /// A phase began, and did not end.
    begun: bool,
    /// Files were put there that do not count yet, with what must be restarted for it.
    unsettled: Option<BTreeSet<Service>>,
    /// The release of Kubernetes that its kubelet is of; `None`: it has none, or it is the very file that is wanted.
    pub(super) kubelet: Option<String>,
    /// How long its certificates last.
    ends: Ends,
    /// What is done about them.
    pub(super) renewal: Renewal,
    /// Settings that it does not have yet.
    pub(super) change: Change,
    /// Its API server does not answer, and settings of the control plane are to change: those that it has may be
    /// why.
    pub(super) silent: bool,
}

impl Found {
    /// The sha256 of a file on the host; `None`: it is not there.
    pub(super) fn digest(&self, path: &str) -> Option<&str> {
        self.digests.get(path).map(String::as_str)
    }

    /// A phase began on it, did not end, and is not at work any more.
    fn is_broken(&self, phase: Phase) -> bool {
        !self.joined && self.begun && !self.working.contains(&format!("cozy-{phase}"))
    }

    /// Whether its kubelet is waited for once it was restarted: one that its settings keep from running gets others
    /// first.
    pub(super) fn awaits_kubelet(&self) -> bool {
        self.joined && (!self.change.has(Part::Kubelet) || self.active.contains(Service::Kubelet.unit()))
    }

    /// All services run.
    fn is_up(&self) -> bool {
        Service::ALL.iter().all(|service| self.active.contains(service.unit()))
    }

    /// It is to join, and is not at it already.
    pub(super) fn is_to_join(&self) -> bool {
        !self.joined && !self.working.contains("cozy-join")
    }

    /// Decides what is done about its certificates and settings.
    pub(super) fn judged(self, site: &Site<'_>, node: &Node) -> Self {
        let renewal = Renewal::of(site.cloud, node.role, self.joined, &self.ends);
        Self { renewal, change: Settings::of(site, node).changed(&self), ..self }
    }

    /// Reads what the script printed.
    pub(super) fn read(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("active", unit) => drop(found.active.insert(unit.to_owned())),
                ("working", unit) => drop(found.working.insert(unit.to_owned())),
                ("joined", identity) => {
                    found.joined = true;
                    found.identity = Some(identity.trim().to_owned()).filter(|identity| !identity.is_empty());
                }
                ("mirror", path) => found.mirrors.push(path.to_owned()),
                ("begun", _) => found.begun = true,
                ("unsettled", unit) => {
                    let service = Service::ALL.into_iter().find(|service| service.unit() == unit.trim());
                    found.unsettled.get_or_insert_default().extend(service);
                }
                ("renewing", _) => found.ends.interrupted(),
                ("ends", line) => found.ends.read(line),
                (digest, path) => {
                    found
                        .digests
                        .insert(path.trim_start().trim_start_matches('*').to_owned(), digest.to_owned());
                }
            }
        }
        found.ca = found.digests.remove(scripts::CA);
        found
    }
}

/// A step on a host, with what doing it takes.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    /// As the planner sees it.
    pub(crate) step: HostStep,
    /// What is missing.
    pub(super) items: Vec<Item>,
    /// What is restarted, because files that it reads have changed.
    pub(super) restarts: Vec<Service>,
    /// The files whose digests are kept when the step is done, a path a line.
    pub(super) probes: String,
    /// What a killed phase left is cleared first.
    pub(super) clear: bool,
    /// Members of etcd, by ID, that are taken out first.
    pub(super) former: Vec<String>,
    /// What is done about certificates.
    pub(super) renewal: Renewal,
    /// The settings that are applied.
    pub(super) change: Change,
    /// Settings that hosts of the cluster do not have yet are put where joins take them from.
    pub(super) upload: bool,
    /// Nothing else works on the host before this is done.
    pub(super) urgent: bool,
}

impl Planned {
    /// A step that puts nothing on its host.
    pub(super) fn new(step: HostStep) -> Self {
        Self {
            step,
            items: Vec::new(),
            restarts: Vec::new(),
            probes: String::new(),
            clear: false,
            former: Vec::new(),
            renewal: Renewal::default(),
            change: Change::default(),
            upload: false,
            urgent: false,
        }
    }
}

/// What artefacts and programs hosts get.
pub(crate) struct Supplies<'a> {
    /// What the lock has of this version.
    pub(crate) release: &'a Release,
    /// Archives of images.
    pub(crate) images: &'a [LocalFile],
    /// cozy itself, by the architecture of hosts.
    pub(crate) programs: &'a BTreeMap<&'static str, LocalFile>,
}

/// Where cozy itself is on a host.
pub(super) const ITSELF: &str = "/usr/local/bin/cozy";

/// Where it is until it has shown that it starts there: beside its place, whose file system lets programs run.
pub(super) const UNTRIED: &str = "/usr/local/bin/.cozy-new";

/// Everything that a node must have, in the order in which it is put there.
pub(super) fn items(site: &Site<'_>, node: &Node, supplies: Option<&Supplies<'_>>) -> Vec<Item> {
    // First of all: whose host this is, so that the next run knows what it finds.
    let mut items = vec![text(&format!("{STATE}/host"), format!("{}\n", site.cloud.name), 0o644, None)];
    if let Some(supplies) = supplies {
        items.extend(supplied(node, supplies));
    }
    items.extend(
        files::all(site, node).into_iter().map(|file| text(&file.path, file.text, file.mode, file.service)),
    );
    if let Some(supplies) = supplies {
        items.extend(supplies.images.iter().map(|image| Item {
            what: format!("import images {}", image.name),
            source: Source::File(image.path.clone(), image.sha256),
            action: Action::Import,
            service: None,
            ..marked(&format!("image-{}", image.name), image.sha256)
        }));
    }
    items
}

fn supplied<'a>(node: &'a Node, supplies: &'a Supplies<'_>) -> impl Iterator<Item = Item> + 'a {
    let artefacts = supplies.release.of(node.arch).map(|artefact| {
        let source = Source::Locked(artefact.sha256);
        let what = format!("install {} {}", artefact.name, artefact.version);
        let service = match artefact.name.as_str() {
            "containerd" => Some(Service::Containerd),
            "kubelet" => Some(Service::Kubelet),
            _ => None,
        };
        let into = match artefact.name.as_str() {
            "containerd" => Some("/usr/local"),
            "cni-plugins" => Some("/opt/cni/bin"),
            "crictl" => Some("/usr/local/bin"),
            _ => None,
        };
        match into {
            Some(into) => Item {
                what,
                source,
                action: Action::Unpack(into.to_owned()),
                service,
                ..marked(&artefact.name, artefact.sha256)
            },
            None => Item {
                what,
                probe: format!("/usr/local/bin/{}", artefact.name),
                digest: artefact.sha256.to_string(),
                source,
                action: Action::Place(0o755),
                service,
            },
        }
    });
    // The first of all: if it does not start there, nothing else is put there.
    let itself = supplies.programs.get(node.arch).map(|itself| Item {
        what: format!("install {}", itself.name),
        probe: ITSELF.to_owned(),
        digest: itself.sha256.to_string(),
        source: Source::File(itself.path.clone(), itself.sha256),
        action: Action::Place(0o755),
        service: Some(Service::Proxy),
    });
    itself.into_iter().chain(artefacts)
}

fn text(path: &str, text: String, mode: u32, service: Option<Service>) -> Item {
    Item {
        what: format!("write {path}"),
        probe: path.to_owned(),
        digest: Digest::of(text.as_bytes()).to_string(),
        source: Source::Text(text),
        action: Action::Place(mode),
        service,
    }
}

/// A file that is not wanted any more.
fn removed(path: &str) -> Item {
    Item { what: format!("remove {path}"), action: Action::Remove, ..text(path, String::new(), 0, None) }
}

/// An item whose presence is shown by a mark, not by its own file.
fn marked(name: &str, sha256: Digest) -> Item {
    let mark = mark(sha256);
    Item {
        what: String::new(),
        probe: format!("{STATE}/artifacts/{name}"),
        digest: Digest::of(mark.as_bytes()).to_string(),
        source: Source::Text(String::new()),
        action: Action::Import,
        service: None,
    }
}

/// The text of a mark.
pub(super) fn mark(sha256: Digest) -> String {
    format!("{sha256}\n")
}

/// The server that others join through: the first that belongs to the cluster, else the first.
pub(super) fn leader(nodes: &[Node], found: &[Found]) -> Option<usize> {
    let servers =
        || nodes.iter().enumerate().filter(|(_, node)| node.role == Role::Server).map(|(index, _)| index);
    servers().find(|index| found.get(*index).is_some_and(|found| found.joined)).or_else(|| servers().next())
}

/// What a host joins as, for its own memory.
pub(super) fn identity(node: &Node) -> String {
    let role = match node.role {
        Role::Server => "server",
        Role::Agent => "agent",
    };
    format!("{role} {} {}", node.name, node.address)
}

/// Hosts that are in the cluster as something else than is wanted, or in another cluster, or in one whose servers
/// are gone.
pub(super) fn strangers(nodes: &[Node], found: &[Found]) -> Vec<PlanError> {
    let mut errors = Vec::new();
    let servers = nodes.iter().zip(found).any(|(node, found)| node.role == Role::Server && found.joined);
    let speaks = leader(nodes, found).and_then(|leader| Some((nodes.get(leader)?, found.get(leader)?)));
    for (node, found) in nodes.iter().zip(found).filter(|(_, found)| found.joined) {
        let wanted = identity(node);
        if let Some(is) = found.identity.as_ref().filter(|is| **is != wanted) {
            errors.push(PlanError::Other { host: node.name.clone(), is: is.clone(), wanted });
        }
        if !servers {
            errors.push(PlanError::Orphan { host: node.name.clone() });
        }
        if let Some((leader, first)) = speaks
            && let (Some(ca), Some(own)) = (&first.ca, &found.ca)
            && ca != own
        {
            errors.push(PlanError::TwoClusters { one: leader.name.clone(), other: node.name.clone() });
        }
    }
    errors
}

/// The steps of all hosts. `wanted`, `found` and `departures.former` go with `nodes`.
pub(super) fn steps(
    nodes: &[Node],
    wanted: Vec<Vec<Item>>,
    found: &[Found],
    departures: &Departures,
) -> Vec<Planned> {
    let mut all: Vec<Planned> = Vec::new();
    let mut restarted = None;
    for ((index, node), (wanted, found)) in nodes.iter().enumerate().zip(wanted.into_iter().zip(found)) {
        let mut planned = prepare(node, wanted, found);
        // One whose services are down is no loss, and the others may wait for it.
        let restarts = found.joined && found.is_up() && !planned.restarts.is_empty();
        if restarts && node.role == Role::Server {
            planned.step.needs.extend(restarted.map(|before| (before, Reason::Turns)));
            restarted = Some(index);
        }
        all.push(planned);
    }
    let Some(leader) = leader(nodes, found) else { return all };
    let init = all.len();
    let here = |index: usize| Some((nodes.get(index)?, found.get(index)?));
    if let Some((node, found)) = here(leader) {
        all.push(phase(node, found, Phase::Init, vec![(leader, Reason::StageOrder)]));
    }
    let changes = found.iter().any(|found| found.change.is_shared());
    let mut before = departures.add(&mut all, false, &[(init, Reason::Kubernetes)]);
    for (index, node) in nodes.iter().enumerate().filter(|(index, _)| *index != leader) {
        let mut needs = vec![(index, Reason::StageOrder), (init, Reason::Kubernetes)];
        if node.role == Role::Server {
            needs.extend(before.map(|before| (before, Reason::Quorum)));
        }
        let Some((node, found)) = here(index) else { continue };
        let mut planned = phase(node, found, Phase::Join, needs);
        // What is done waits for nobody: who waits for it would not wait for those before.
        if node.role == Role::Server && !planned.step.done {
            before = Some(all.len());
        }
        if changes && found.is_to_join() {
            planned
                .step
                .work
                .insert(0, "put the settings that changed where joins take them from".to_owned());
            planned.upload = true;
        }
        for member in departures.former.get(index).into_iter().flatten() {
            planned.step.work.insert(0, format!("remove etcd's member {} of its former life", member.id));
            planned.former.push(member.id.clone());
        }
        all.push(planned);
    }
    let mut needs: Vec<(usize, Reason)> = (0..nodes.len()).map(|index| (index, Reason::Endpoints)).collect();
    needs.push((init, Reason::Kubernetes));
    // What runs on the last agent needs a place before that one leaves.
    let first = upkeep::takes_over(nodes, found);
    if first {
        before = upkeep::configure(&mut all, nodes, found, before);
    }
    needs.extend(before.map(|before| (before, Reason::Quorum)));
    let mut before = departures.add(&mut all, true, &needs).or(before);
    if !first {
        before = upkeep::configure(&mut all, nodes, found, before);
    }
    upkeep::certify(&mut all, nodes, found, before);
    // Nobody waits for these: a node is ready once the pod network is, which comes with the components.
    for index in 0..all.len() {
        let Some(before) = all.get(index).map(|planned| planned.step.clone()) else { continue };
        if !matches!(before.phase, Phase::Init | Phase::Join) {
            continue;
        }
        let work = if before.done { Vec::new() } else { vec!["wait until the node is ready".to_owned()] };
        all.push(Planned::new(HostStep {
            host: before.host,
            phase: Phase::Ready,
            needs: vec![(index, Reason::StageOrder)],
            work,
            expect: READY,
            done: before.done,
        }));
    }
    all
}

fn prepare(node: &Node, wanted: Vec<Item>, found: &Found) -> Planned {
    let probes = wanted.iter().map(|item| format!("{}\n", item.probe)).collect::<Vec<_>>().concat();
    let unwanted = found.mirrors.iter().filter(|path| wanted.iter().all(|item| item.probe != **path));
    let unwanted: Vec<Item> = unwanted.map(|path| removed(path)).collect();
    let missing = wanted.into_iter().filter(|item| found.digest(&item.probe) != Some(&item.digest));
    let items: Vec<Item> = missing.chain(unwanted).collect();
    let interrupted = found.unsettled.clone();
    let restarts: BTreeSet<Service> =
        items.iter().filter_map(|item| item.service).chain(interrupted.clone().unwrap_or_default()).collect();
    let down: Vec<&str> = Service::ALL
        .into_iter()
        .filter(|service| *service != Service::Kubelet || found.joined)
        .map(Service::unit)
        .filter(|unit| !found.active.contains(*unit))
        .collect();
    let mut work: Vec<String> = items.iter().map(|item| item.what.clone()).collect();
    work.extend(interrupted.map(|_| "finish what an interrupted run began".to_owned()));
    let running = restarts.iter().filter(|service| found.active.contains(service.unit()));
    work.extend(running.map(|service| format!("restart {}", service.unit())));
    work.extend(down.iter().map(|unit| format!("start {unit}")));
    let done = work.is_empty();
    let step = HostStep {
        host: node.name.clone(),
        phase: Phase::Prepare,
        needs: Vec::new(),
        work,
        expect: PREPARE,
        done,
    };
    Planned { items, restarts: restarts.into_iter().collect(), probes, ..Planned::new(step) }
}

fn phase(node: &Node, found: &Found, phase: Phase, needs: Vec<(usize, Reason)>) -> Planned {
    let unit = format!("cozy-{phase}");
    let clear = found.is_broken(phase);
    let expect = match (phase, node.role) {
        (Phase::Join, Role::Server) => JOIN_SERVER,
        (Phase::Join, Role::Agent) => JOIN_AGENT,
        (
            Phase::Prepare
            | Phase::Init
            | Phase::Configure
            | Phase::Certify
            | Phase::Ready
            | Phase::Remove
            | Phase::Clean,
            _,
        ) => INIT,
    };
    let mut work = Vec::new();
    if clear {
        work.push("clear what an interrupted run left (kubeadm reset)".to_owned());
    }
    if found.working.contains(&unit) {
        work.push(format!("wait for {unit}, which is at work"));
    } else if !found.joined {
        work.push(match (phase, node.role) {
            (Phase::Join, Role::Server) => "kubeadm join as a server".to_owned(),
            (Phase::Join, Role::Agent) => "kubeadm join".to_owned(),
            (
                Phase::Prepare
                | Phase::Init
                | Phase::Configure
                | Phase::Certify
                | Phase::Ready
                | Phase::Remove
                | Phase::Clean,
                _,
            ) => "kubeadm init".to_owned(),
        });
    }
    let done = work.is_empty();
    let step = HostStep { host: node.name.clone(), phase, needs, work, expect, done };
    Planned { clear, ..Planned::new(step) }
}

/// The steps on made-up fresh hosts, for rehearsals and plans that see no host.
pub(crate) fn rehearsed(cloud: &Cloud, version: &str) -> Vec<HostStep> {
    let nodes: Vec<Node> = cloud
        .present_hosts()
        .map(|(index, host)| Node {
            name: host.name.as_ref().map_or_else(|| format!("node-{}", index + 1), ToString::to_string),
            role: cloud.role(index),
            address: host.address.clone().unwrap_or_else(|| "localhost".to_owned()),
            arch: "amd64",
            labels: host.labels.clone(),
            taints: host.taints.clone(),
        })
        .collect();
    let site = Site { cloud, version, sandbox: "", nodes: &nodes };
    let wanted = nodes.iter().map(|node| items(&site, node, None)).collect();
    let found: Vec<Found> = nodes.iter().map(|node| Found::default().judged(&site, node)).collect();
    let departures = Departures::default();
    steps(&nodes, wanted, &found, &departures).into_iter().map(|planned| planned.step).collect()
}
