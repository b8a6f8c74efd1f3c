//! The steps on hosts that belong to the cluster: settings that changed and
//! certificates that end, server by server. Pure.

use std::time::Duration;

use super::Node;
use super::settings::Part;
use super::steps::{Found, Planned, READY};
use crate::model::cloud::Role;
use crate::plan::Reason;
use crate::plan::planner::{HostStep, Phase};

/// Estimates: a request of a kubelet approved; etcd and the control plane of a server restarted.
const APPROVE: Duration = Duration::from_secs(3);
const RESTART: Duration = Duration::from_secs(40);

/// A step of a node after all its earlier ones, and after `before`.
fn upkeep(all: &[Planned], node: &Node, phase: Phase, work: Vec<String>, before: Option<usize>) -> Planned {
    let own = all.iter().enumerate().filter(|(_, planned)| planned.step.host == node.name);
    let mut needs: Vec<(usize, Reason)> = own.map(|(index, _)| (index, Reason::StageOrder)).collect();
    needs.extend(before.map(|before| (before, Reason::Quorum)));
    Planned::new(HostStep { host: node.name.clone(), phase, needs, work, expect: READY, done: false })
}

/// Whether servers take over the work of agents, as none is left: they lose their taint.
pub(super) fn takes_over(nodes: &[Node], found: &[Found]) -> bool {
    nodes.iter().all(|node| node.role == Role::Server)
        && found.iter().any(|found| found.change.has(Part::Node))
}

/// Settings that changed: servers one after the other, then agents; after `before`, the last server that comes or goes.
pub(super) fn configure(
    all: &mut Vec<Planned>,
    nodes: &[Node],
    found: &[Found],
    mut before: Option<usize>,
) -> Option<usize> {
    let of = |role: Role| nodes.iter().zip(found).filter(move |(node, _)| node.role == role);
    for (node, found) in of(Role::Server).chain(of(Role::Agent)) {
        if found.change.is_nothing() {
            continue;
        }
        let mut planned = upkeep(all, node, Phase::Configure, found.change.work(), before);
        if found.change.has(Part::ControlPlane) {
            planned.step.expect = RESTART;
        }
        if node.role == Role::Server && found.change.has(Part::Node) {
            planned.step.needs.extend(agents(all, nodes));
        }
        if node.role == Role::Server {
            before = Some(all.len());
        }
        all.push(Planned { change: found.change.clone(), urgent: found.silent, ..planned });
    }
    before
}

/// The joins of agents: whatever servers have to do is theirs until then.
fn agents(all: &[Planned], nodes: &[Node]) -> Vec<(usize, Reason)> {
    let agent = |host: &str| nodes.iter().any(|node| node.name == host && node.role == Role::Agent);
    let joins = all.iter().enumerate().filter(|(_, planned)| {
        let step = &planned.step;
        step.phase == Phase::Join && !step.done && agent(&step.host)
    });
    joins.map(|(index, _)| (index, Reason::Agents)).collect()
}

/// Certificates, once a node belongs to the cluster. Control planes restart one after the other.
pub(super) fn certify(all: &mut Vec<Planned>, nodes: &[Node], found: &[Found], mut before: Option<usize>) {
    for (node, found) in nodes.iter().zip(found).filter(|(_, found)| !found.renewal.is_nothing()) {
        let renews = found.renewal.leaves.is_some();
        let turn = before.filter(|_| renews);
        let mut planned = upkeep(all, node, Phase::Certify, found.renewal.work(), turn);
        planned.step.expect = if renews { RESTART } else { APPROVE };
        if renews {
            before = Some(all.len());
        }
        all.push(Planned { renewal: found.renewal, ..planned });
    }
}

/// The steps without which nothing else works: certificates that have ended, else settings without which the API
/// server does not answer, with the files that they are taken from.
pub(super) fn urgent(all: &[Planned]) -> Vec<HostStep> {
    if all.iter().any(|planned| planned.renewal.is_urgent()) { ended(all) } else { silent(all) }
}

/// Certificates that have ended. All servers at once: members of etcd do not talk to one whose certificate has ended,
/// so the first would wait for a quorum that there is only once most have new ones.
fn ended(all: &[Planned]) -> Vec<HostStep> {
    let urgent = || all.iter().filter(|planned| planned.renewal.is_urgent());
    let renews = |planned: &&Planned| planned.renewal.leaves.is_some();
    let step = |planned: &Planned, needs: Vec<(usize, Reason)>| HostStep { needs, ..planned.step.clone() };
    let mut steps: Vec<HostStep> = urgent().filter(renews).map(|planned| step(planned, Vec::new())).collect();
    // Kubelets get theirs from the authority of a server, through an API server that lets them in.
    let servers: Vec<(usize, Reason)> = (0..steps.len()).map(|index| (index, Reason::Kubernetes)).collect();
    let others = urgent().filter(|planned| !renews(planned));
    steps.extend(others.map(|planned| step(planned, servers.clone())));
    steps
}

/// Settings without which API servers do not answer, one host after the other.
fn silent(all: &[Planned]) -> Vec<HostStep> {
    let silent = |host: &str| all.iter().any(|planned| planned.urgent && planned.step.host == host);
    let urgent = all.iter().filter(|planned| {
        let step = &planned.step;
        planned.urgent || (step.phase == Phase::Prepare && !step.done && silent(&step.host))
    });
    let mut steps: Vec<HostStep> = urgent.map(|planned| planned.step.clone()).collect();
    for (index, step) in steps.iter_mut().enumerate() {
        step.needs = index.checked_sub(1).map(|before| (before, Reason::Quorum)).into_iter().collect();
    }
    steps
}
