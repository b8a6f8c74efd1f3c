//! Hosts that leave: what of them is still in the cluster, and the steps that
//! take it out. Pure: decided from what a living server and the host itself said.

use std::time::Duration;

use super::Node;
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
    /// Its name and address there, which it wrote down when it joined.
    identity: Option<Known>,
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
                ("joined", identity) => {
                    answer.joined = true;
                    let words: Vec<&str> = identity.split_whitespace().collect();
                    if let [_, name, address] = words.as_slice() {
                        let (names, addresses) = (vec![(*name).to_owned()], vec![(*address).to_owned()]);
                        answer.identity = Some(Known { names, addresses });
                    }
                }
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
    /// That is a name in DNS, and nothing else: which node it is can only be guessed.
    pub(super) vague: bool,
    /// What it said; `None`: it does not answer.
    pub(super) answer: Option<Answer>,
}

impl Leaver {
    /// What it is known by: where it wrote that down itself, by nothing else. Others may have its host name.
    fn known(&self) -> Known {
        let Some(answer) = &self.answer else { return self.written.clone() };
        if let Some(identity) = &answer.identity {
            return identity.clone();
        }
        let mut known = self.written.clone();
        known.names.extend(answer.known.names.iter().cloned());
        known.addresses.extend(answer.known.addresses.iter().cloned());
        known
    }
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
    /// It answers.
    pub(super) answers: bool,
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
        let cleaned = match (self.clean, self.answers) {
            (true, _) => "stop everything, and take away what was put there, local volumes included",
            (false, true) => "nothing of this cloud is on it: nothing is cleaned there",
            (false, false) => "it does not answer: nothing is cleaned there",
        };
        work.push(cleaned.to_owned());
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
        let answer = leaver.answer.as_ref();
        let known = leaver.known();
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
            answers: answer.is_some(),
        });
    }
    all.sort_by_key(Leaving::alive);
    Ok(all)
}

/// A host that does not answer, and that is none of the Nodes that are known, while there are others. `staying` are
/// those of hosts that stay.
pub(super) fn nameless(
    leavers: &[Leaver],
    leaving: &[Leaving],
    membership: &Membership,
    staying: &[&str],
) -> Result<(), PlanError> {
    let goes = |name: &str| leaving.iter().any(|one| one.node.as_ref().is_some_and(|(node, _)| node == name));
    let unknown = |name: &str| !staying.contains(&name) && !goes(name);
    if !membership.nodes.iter().any(|node| unknown(&node.name)) {
        return Ok(());
    }
    let lost = leavers.iter().enumerate().find(|(index, leaver)| {
        leaver.vague && leaver.answer.is_none() && leaving.iter().all(|one| one.index != *index)
    });
    lost.map_or(Ok(()), |(_, leaver)| Err(PlanError::Nameless { host: leaver.host.clone() }))
}

/// A server that believes to belong to the cluster, and is no member of its etcd.
pub(super) fn expelled(servers: &[&Node], membership: &Membership) -> Option<PlanError> {
    let out = servers.iter().find(|node| membership.members(&Known::of(node)).is_empty())?;
    Some(PlanError::Expelled { host: out.name.clone() })
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

#[cfg(test)]
mod tests {
    use super::super::tests::{cloud, leaver, nodes};
    use super::*;

    fn names(leavers: &[Leaver], membership: &Membership) -> Vec<String> {
        let leaving = leaving("demo", leavers, membership, true).unwrap();
        leaving.into_iter().filter_map(|one| one.node).map(|(name, _)| name).collect()
    }

    #[test]
    fn a_host_that_leaves_is_the_node_that_it_joined_as_and_none_that_has_its_host_name() {
        let membership = Membership::read("node h9 10.0.0.11, True\nnode worker 10.0.0.19, True\n");
        let answer = "name h9\naddress 10.0.0.19\ncloud demo\njoined agent worker 10.0.0.19";
        assert_eq!(names(&[leaver("10.0.0.19", Role::Agent, Some(answer))], &membership), ["worker"]);
        // Nor is it one that stays, whatever is guessed.
        let silent = leaver("10.0.0.11", Role::Agent, None);
        assert_eq!(names(std::slice::from_ref(&silent), &membership), ["h9"]);
        assert!(names(&[silent], &membership.without(&["h9"])).is_empty());
    }

    /// Found by review: a removal that was cut off after the clean, or a host that was set up anew.
    #[test]
    fn a_host_that_was_cleaned_already_is_not_called_silent() {
        let membership = Membership::read("node h9 10.0.0.19, Unknown\n");
        let work = |answer: Option<&str>| {
            let leavers = [leaver("10.0.0.19", Role::Agent, answer)];
            leaving("demo", &leavers, &membership, true)
                .unwrap()
                .iter()
                .flat_map(Leaving::work)
                .collect::<Vec<_>>()
                .join("; ")
        };
        assert_eq!(
            work(Some("name h9\naddress 10.0.0.19")),
            "delete Node h9; nothing of this cloud is on it: nothing is cleaned there"
        );
        assert_eq!(work(None), "delete Node h9; it does not answer: nothing is cleaned there");
    }

    #[test]
    fn a_dead_host_that_may_be_any_node_is_not_passed_over() {
        let membership = Membership::read("node h1 10.0.0.11, True\nnode h9 10.0.0.19, Unknown\n");
        let vague = Leaver { vague: true, ..leaver("db.example.org", Role::Agent, None) };
        let check = |leaver: &Leaver, staying: &[&str]| {
            let leavers = std::slice::from_ref(leaver);
            let leaving = leaving("demo", leavers, &membership, true).unwrap();
            nameless(leavers, &leaving, &membership, staying).map_err(|error| error.to_string())
        };
        let error = check(&vague, &["h1"]).unwrap_err();
        assert_eq!(
            error,
            "`db.example.org` is to be removed and does not answer, and which node it was cannot be told"
        );
        assert_eq!(check(&vague, &["h1", "h9"]), Ok(()), "all nodes stay: it left long ago");
        assert_eq!(check(&leaver("10.0.0.77", Role::Agent, None), &["h1"]), Ok(()));
        let found = Known { names: vec!["h9".to_owned()], addresses: Vec::new() };
        assert_eq!(check(&Leaver { written: found, ..vague }, &["h1"]), Ok(()));
    }

    #[test]
    fn a_server_that_etcd_does_not_know_any_more_was_taken_out() {
        let cloud = cloud();
        let nodes = nodes(&cloud);
        let membership =
            Membership::read("member a h1 10.0.0.11 voter up\nmember b h2 10.0.0.12 voter down\n");
        // One whose API server is only down is none.
        assert_eq!(expelled(&[&nodes[0], &nodes[1]], &membership), None);
        let error = expelled(&[&nodes[1], &nodes[2]], &membership).unwrap();
        assert_eq!(
            format!("{}: {error}; {}", error.code(), error.hint()),
            "C2516: `h3` was taken out of the cluster while it was off: it is there again, and etcd refuses it; \
             `state: removed` and --remove-hosts clean it; after that, with `state: present`, it joins anew"
        );
    }
}
