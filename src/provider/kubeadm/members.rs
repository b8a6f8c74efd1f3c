//! Who belongs to a cluster, as a living server sees it: Nodes and members of
//! etcd. Who may leave it without its quorum being given up. Pure.

use super::Node;
use crate::plan::PlanError;

/// Nodes and members of etcd.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Membership {
    pub(super) members: Vec<Member>,
    pub(super) nodes: Vec<NodeSeen>,
}

/// A member of etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// In hexadecimal.
    pub(super) id: String,
    /// The node's name; a member that never started has none.
    pub(super) name: Option<String>,
    /// The address that the others reach it by.
    pub(super) address: String,
    /// Learners have no vote.
    pub(super) voter: bool,
    /// It answers.
    pub(super) up: bool,
}

/// A Node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeSeen {
    pub(super) name: String,
    pub(super) addresses: Vec<String>,
    pub(super) ready: bool,
}

/// What a host is known by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Names: in `cozy.yaml`, and what the host calls itself.
    pub(super) names: Vec<String>,
    /// Addresses: in `cozy.yaml`, and what the host has.
    pub(super) addresses: Vec<String>,
}

impl Known {
    /// What a node is known by.
    pub(super) fn of(node: &Node) -> Self {
        Self { names: vec![node.name.clone()], addresses: vec![node.address.clone()] }
    }

    fn is(&self, name: Option<&str>, mut addresses: impl Iterator<Item = impl AsRef<str>>) -> bool {
        name.is_some_and(|name| self.names.iter().any(|own| own == name))
            || addresses.any(|address| self.addresses.iter().any(|own| own == address.as_ref()))
    }
}

impl Membership {
    /// Reads what the script printed: `node NAME ADDRESS,… READY` and `member ID NAME ADDRESS KIND STATE` lines.
    pub(super) fn read(text: &str) -> Self {
        let mut seen = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["node", name, addresses, ready] => seen.nodes.push(NodeSeen {
                    name: (*name).to_owned(),
                    addresses: addresses
                        .split(',')
                        .filter(|one| !one.is_empty())
                        .map(str::to_owned)
                        .collect(),
                    ready: *ready == "True",
                }),
                ["member", id, name, address, kind, state] => seen.members.push(Member {
                    id: (*id).to_owned(),
                    name: Some(*name).filter(|name| *name != "-").map(str::to_owned),
                    address: (*address).to_owned(),
                    voter: *kind == "voter",
                    up: *state == "up",
                }),
                _ => {}
            }
        }
        seen
    }

    /// The same but for Nodes and members of these names.
    pub(super) fn without(&self, names: &[&str]) -> Self {
        let mut others = self.clone();
        others.nodes.retain(|node| !names.contains(&node.name.as_str()));
        others.members.retain(|member| member.name.as_deref().is_none_or(|name| !names.contains(&name)));
        others
    }

    /// A host's Node.
    pub(super) fn node(&self, host: &Known) -> Option<&NodeSeen> {
        self.nodes.iter().find(|node| host.is(Some(&node.name), node.addresses.iter()))
    }

    /// A host's members: one that died while it joined may be there beside another.
    pub(super) fn members(&self, host: &Known) -> Vec<&Member> {
        let own = |member: &&Member| host.is(member.name.as_deref(), std::iter::once(&member.address));
        self.members.iter().filter(own).collect()
    }
}

/// What changes etcd's members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn<'a> {
    /// A server's member is taken out.
    Out(&'a str, &'a Member),
    /// A server joins.
    In,
}

/// Whether each turn keeps a quorum: more than half of the voters must be up,
/// before it, for it to be agreed on, and after it.
/// <https://etcd.io/docs/v3.6/op-guide/runtime-configuration/>
pub(super) fn keeps_quorum<'a>(
    members: &[Member],
    turns: impl IntoIterator<Item = Turn<'a>>,
) -> Result<(), PlanError> {
    let voters = || members.iter().filter(|member| member.voter);
    let (mut all, mut up) = (voters().count(), voters().filter(|member| member.up).count());
    for turn in turns {
        let (host, member) = match turn {
            Turn::In => {
                (all, up) = (all + 1, up + 1);
                continue;
            }
            Turn::Out(_, member) if !member.voter => continue,
            Turn::Out(host, member) => (host, member),
        };
        for step in [0, 1] {
            all -= step;
            up -= if member.up { step } else { 0 };
            let needed = all / 2 + 1;
            if up < needed {
                let host = host.to_owned();
                return Err(PlanError::Quorum { host, then: step == 1, up, all, needed });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "node h1 10.0.0.11,h1, True\nnode h2 10.0.0.12, True\nnode h3 10.0.0.13, Unknown\n\
        member a h1 10.0.0.11 voter up\nmember b h2 10.0.0.12 voter up\nmember c h3 10.0.0.13 voter down\n\
        member d - 10.0.0.13 learner down\nnoise\n";

    fn known(address: &str) -> Known {
        Known { names: Vec::new(), addresses: vec![address.to_owned()] }
    }

    #[test]
    fn hosts_are_found_by_name_and_by_address() {
        let seen = Membership::read(TEXT);
        assert_eq!(
            seen.node(&known("10.0.0.13")).map(|node| (node.name.as_str(), node.ready)),
            Some(("h3", false))
        );
        let ids =
            |host: &Known| seen.members(host).iter().map(|member| member.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&known("10.0.0.13")), ["c", "d"]);
        assert_eq!(ids(&Known { names: vec!["h2".to_owned()], addresses: Vec::new() }), ["b"]);
        assert_eq!(seen.node(&known("10.0.0.99")), None);
    }

    #[test]
    fn a_quorum_is_never_given_up() {
        let members = Membership::read(TEXT).members;
        let [h1, h2, h3, learner] = [0, 1, 2, 3].map(|index| &members[index]);
        let turn = |turns: &[Turn<'_>]| match keeps_quorum(&members, turns.iter().copied()) {
            Ok(()) => "kept".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(turn(&[Turn::Out("h3", h3)]), "kept");
        assert_eq!(turn(&[Turn::Out("h3", learner)]), "kept");
        assert_eq!(turn(&[Turn::Out("h3", h3), Turn::Out("h2", h2)]), "kept");
        assert_eq!(
            turn(&[Turn::Out("h2", h2)]),
            "`h2` cannot be removed: then 1 of 2 members of etcd would be up, and 2 are needed for a quorum"
        );
        assert_eq!(turn(&[Turn::Out("h3", h3), Turn::In, Turn::Out("h1", h1)]), "kept");
        assert_eq!(turn(&[Turn::In, Turn::Out("h1", h1)]), "kept");
        let two_down: Vec<Member> =
            members.iter().map(|member| Member { up: member.id == "a", ..member.clone() }).collect();
        assert_eq!(
            keeps_quorum(&two_down, [Turn::Out("h3", h3)]).unwrap_err().to_string(),
            "`h3` cannot be removed: 1 of 3 members of etcd is up, and 2 are needed for a quorum"
        );
        assert_eq!(
            keeps_quorum(&two_down[..1], [Turn::Out("h1", h1)]).unwrap_err().to_string(),
            "`h1` cannot be removed: then 0 of 0 members of etcd would be up, and 1 is needed for a quorum"
        );
    }
}
