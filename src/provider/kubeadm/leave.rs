//! Hosts that leave: what of them is still in the cluster, and the steps that
//! take it out. Pure: decided from what a living server and the host itself said.

use std::time::Duration;

use super::members::{Known, Member, Membership, Turn, keeps_quorum};
use super::steps::Planned;
use crate::model::cloud::Role;
use crate::plan::planner::{HostStep, Phase};
use crate::plan::{PlanError, Reason};

/// Estimate: pods are stopped, and the host is cleaned.
pub(super) const REMOVE: Duration = Duration::from_secs(40);

/// A host with `state: removed`, as it answers for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Its names and addresses.
    known: Known,
    /// The cloud that it was prepared for.
    cloud: Option<String>,
    /// It belongs to a cluster.
    joined: bool,
}

impl Answer {
    /// Reads what the script printed.
    pub(super) fn read(text: &str) -> Self {
        let mut answer = Self::default();
        for line in text.lines() {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("name", name) => answer.known.names.push(name.trim().to_owned()),
                ("address", address) => answer.known.addresses.push(address.trim().to_owned()),
                ("cloud", cloud) => answer.cloud = Some(cloud.trim().to_owned()),
                ("joined", _) => answer.joined = true,
                _ => {}
            }
        }
        answer
    }

    /// The cloud that the host was prepared for.
    pub(super) fn cloud(&self) -> Option<&str> {
        self.cloud.as_deref()
    }
}

/// A host with `state: removed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaver {
    /// As people call it.
    pub(super) host: String,
    /// What it was.
    pub(super) role: Role,
    /// What `cozy.yaml` says of its name and address.
    pub(super) written: Known,
    /// What it said; `None`: it does not answer.
    pub(super) answer: Option<Answer>,
}

/// What is still to be done for a host that leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaving {
    /// Its place among the hosts that leave.
    pub(super) index: usize,
    /// The name of its step: its node's, else as people call it.
    pub(super) name: String,
    /// Its Node, with whether pods can be moved away in order.
    pub(super) node: Option<(String, bool)>,
    /// Its members of etcd.
    pub(super) members: Vec<Member>,
    /// It answers, and is to be cleaned.
    pub(super) clean: bool,
}

impl Leaving {
    fn alive(&self) -> bool {
        self.clean || self.members.iter().any(|member| member.up)
    }

    /// For people.
    fn work(&self) -> Vec<String> {
        let mut work = Vec::new();
        if let Some((name, true)) = &self.node {
            work.push(format!("drain node {name}"));
        }
        work.extend(self.members.iter().map(|member| {
            format!("remove etcd's {} {}", if member.voter { "member" } else { "learner" }, member.id)
        }));
        if let Some((name, _)) = &self.node {
            work.push(format!("delete Node {name}"));
        }
        work.push(if self.clean {
            "stop everything, and take away what was put there".to_owned()
        } else {
            "it does not answer: nothing is cleaned there".to_owned()
        });
        work
    }
}

/// What is left of hosts in a cluster and on themselves, those that are dead first.
/// `staying`: whether a server that stays belongs to the cluster.
pub(super) fn leaving(
    cloud: &str,
    leavers: &[Leaver],
    membership: &Membership,
    staying: bool,
) -> Result<Vec<Leaving>, PlanError> {
    let mut all = Vec::new();
    for (index, leaver) in leavers.iter().enumerate() {
        let mut known = leaver.written.clone();
        let answer = leaver.answer.as_ref();
        if let Some(answer) = answer {
            known.names.extend(answer.known.names.iter().cloned());
            known.addresses.extend(answer.known.addresses.iter().cloned());
        }
        if !staying && leaver.role == Role::Server && answer.is_none_or(|answer| answer.joined) {
            return Err(PlanError::Stranded { host: leaver.host.clone() });
        }
        let node = membership.node(&known);
        let members: Vec<Member> = membership.members(&known).into_iter().cloned().collect();
        let clean = answer.is_some_and(|answer| answer.cloud() == Some(cloud));
        if node.is_none() && members.is_empty() && !clean {
            continue;
        }
        all.push(Leaving {
            index,
            name: node.map_or_else(|| leaver.host.clone(), |node| node.name.clone()),
            node: node.map(|node| (node.name.clone(), node.ready)),
            members,
            clean,
        });
    }
    all.sort_by_key(Leaving::alive);
    Ok(all)
}

/// What is to be taken out of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Departures {
    /// Hosts that leave. Invariant: those that are dead first.
    pub(super) leaving: Vec<Leaving>,
    /// For each node what is left of its former life in etcd: of a join that was
    /// interrupted, or of a server that was set up anew.
    pub(super) former: Vec<Vec<Member>>,
}

impl Departures {
    /// Whether all of it keeps a quorum: the dead leave, servers join one after the
    /// other, the living leave. `names` go with `former`; `joins`: which are servers that join.
    pub(super) fn check(
        &self,
        membership: &Membership,
        names: &[&str],
        joins: &[bool],
    ) -> Result<(), PlanError> {
        let out = |alive: bool| {
            let those = self.leaving.iter().filter(move |one| one.alive() == alive);
            those.flat_map(|one| one.members.iter().map(|member| Turn::Out(one.name.as_str(), member)))
        };
        let joining = self.former.iter().zip(names).zip(joins).flat_map(|((former, name), joins)| {
            let out = former.iter().map(|member| Turn::Out(name, member));
            out.chain(joins.then_some(Turn::In))
        });
        keeps_quorum(&membership.members, out(false).chain(joining).chain(out(true)))
    }

    /// Adds the steps of hosts that leave, the dead or the living, each after the one
    /// before. `needs` is what the first waits for; the last one's index is given back.
    pub(super) fn add(
        &self,
        all: &mut Vec<Planned>,
        alive: bool,
        needs: &[(usize, Reason)],
    ) -> Option<usize> {
        let mut last = None;
        for one in self.leaving.iter().filter(|one| one.alive() == alive) {
            let needs = last.map_or_else(|| needs.to_vec(), |last| vec![(last, Reason::Quorum)]);
            last = Some(all.len());
            let step = HostStep {
                host: one.name.clone(),
                phase: Phase::Remove,
                needs,
                work: one.work(),
                expect: REMOVE,
                done: false,
            };
            all.push(Planned::new(step));
        }
        last
    }
}
