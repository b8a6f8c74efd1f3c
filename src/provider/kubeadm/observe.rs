//! Looks what is on the hosts and in the cluster, all at once, and decides what is to be done.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use futures::future;

use super::leave::{Answer, Departures, Leaver, Leaving, leaving, nameless};
use super::members::{Known, Membership};
use super::run::{Gone, Parts, Runner};
use super::settings::Part;
use super::steps::{self, Found, Supplies};
use super::{Node, Site, canonical, scripts, scripts_upkeep, settings};
use crate::host::{HostError, Session, Trouble};
use crate::model::cloud::{Cloud, Role};
use crate::model::release::Release;
use crate::plan::PlanError;

/// How long an API server may take to say that it is ready.
pub(super) const ASK: Duration = Duration::from_secs(30);

/// How long a cluster may take to say who is in it: its servers may have started just now.
const ASKS: Duration = Duration::from_secs(120);

/// How long a resolver may take to find the address of a host that does not answer.
const LOOK_UP: Duration = Duration::from_secs(5);

/// Where hosts have their kubelet.
const KUBELET: &str = "/usr/local/bin/kubelet";

/// Why nothing is done on hosts.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// A host cannot be asked.
    Host(HostError),
    /// It must not be done.
    Plan(Vec<PlanError>),
}

impl From<HostError> for Refusal {
    fn from(error: HostError) -> Self {
        Self::Host(error)
    }
}

impl Runner {
    /// Looks what is on the hosts, and decides what is to be done.
    pub(crate) async fn new(parts: Parts, supplies: &Supplies<'_>) -> Result<Self, Refusal> {
        let Release { kubernetes: version, sandbox, .. } = supplies.release.clone();
        let Parts { cloud, nodes, .. } = &parts;
        let site = Site { cloud, version: &version, sandbox: &sandbox, nodes };
        let wanted = nodes.iter().map(|node| steps::items(&site, node, Some(supplies))).collect();
        let fresh = Self {
            parts,
            version,
            sandbox,
            wanted,
            found: Vec::new(),
            leaving: Vec::new(),
            planned: Vec::new(),
            held: BTreeMap::new(),
            joins: RefCell::default(),
        };
        fresh.again().await
    }

    /// Looks again: hosts have changed since. No other run gets in between.
    pub(crate) async fn again(self) -> Result<Self, Refusal> {
        let Self { version, sandbox, wanted, parts, held, joins: begun, .. } = self;
        let Parts { cloud, nodes, sessions, gone, remove, .. } = &parts;
        let site = Site { cloud, version: &version, sandbox: &sandbox, nodes };
        let (site, marks) = (&site, &settings::marks().collect::<Vec<_>>());
        let looks = sessions.iter().zip(&wanted).zip(nodes).map(|((session, items), node)| async move {
            let probes: Vec<&str> = items.iter().map(|item| item.probe.as_str()).collect();
            let text = session.sh("looking what is there", &scripts::observe(&probes, marks)).await?;
            let mut found = Found::read(&text).judged(site, node);
            let kubelet = items.iter().find(|item| item.probe == KUBELET);
            if found.joined && kubelet.is_some_and(|item| found.digest(KUBELET) != Some(&item.digest)) {
                let asked = session.run("asking for its release", scripts::RELEASE, &[], ASK).await?;
                found.kubelet = Some(asked.stdout.trim().to_owned()).filter(|version| !version.is_empty());
            }
            if found.change.kube_proxy_stays {
                let there = session
                    .run("looking for kube-proxy", &scripts_upkeep::has_kube_proxy(), &[], ASK)
                    .await?;
                found.change.kube_proxy_stays = !there.stdout.trim().is_empty();
            }
            if found.change.has(Part::ControlPlane) || found.change.has(Part::Names) {
                let asked = session.run("asking the API server", &scripts::answers(), &[], ASK).await?;
                found.silent = asked.status != 0;
            }
            Ok::<_, HostError>(found)
        });
        let (found, leavers) =
            future::join(future::join_all(looks), future::join_all(gone.iter().map(ask))).await;
        let found = found.into_iter().collect::<Result<Vec<_>, _>>()?;
        same_version(nodes, &found, &version).map_err(|error| Refusal::Plan(vec![error]))?;
        let leavers = leavers.into_iter().collect::<Result<Vec<_>, _>>()?;
        // While API servers let nobody in, or do not answer, nobody can be asked who is in the cluster: that is mended
        // first, and then it is looked again.
        let broken = found.iter().any(|found| found.renewal.is_urgent() || found.silent);
        let leavers = if broken { Vec::new() } else { leavers };
        let strangers = steps::strangers(nodes, &found);
        if !strangers.is_empty() {
            return Err(Refusal::Plan(strangers));
        }
        let membership = if broken {
            Membership::default()
        } else {
            membership(nodes, sessions, &found, &leavers).await?
        };
        let staying = servers(nodes, &found).any(|(_, found)| found.joined);
        let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        let plan = |error| Refusal::Plan(vec![error]);
        // Whatever is known of a host that leaves: it is none that stays.
        let stay = names.iter().zip(&found).filter(|(_, found)| found.joined).map(|(name, _)| *name);
        let others = membership.without(&stay.collect::<Vec<_>>());
        let departures = Departures {
            leaving: leaving(cloud.name.as_str(), &leavers, &others, staying).map_err(plan)?,
            former: nodes.iter().zip(&found).map(|(node, found)| former(node, found, &membership)).collect(),
        };
        let none = Departures { leaving: Vec::new(), former: departures.former.clone() };
        let allowed = if *remove { &departures } else { &none };
        if *remove {
            nameless(&leavers, &departures.leaving, &membership, &names).map_err(plan)?;
            at_work(&departures.leaving, |index| gone.get(index)?.session.as_ref().err())?;
        }
        let joins: Vec<bool> = nodes
            .iter()
            .zip(&found)
            .map(|(node, found)| node.role == Role::Server && found.is_to_join())
            .collect();
        if staying && !broken {
            allowed.check(&membership, &names, &joins).map_err(plan)?;
        }
        let planned = steps::steps(nodes, wanted.clone(), &found, allowed);
        let leaving = departures.leaving;
        Ok(Self { parts, version, sandbox, wanted, found, leaving, planned, held, joins: begun })
    }
}

/// Another release comes with an upgrade, not with an install.
fn same_version(nodes: &[Node], found: &[Found], version: &str) -> Result<(), PlanError> {
    let others = nodes.iter().zip(found).filter(|(_, found)| found.joined).filter_map(|(node, found)| {
        let has = found.kubelet.as_ref().filter(|has| *has != version)?;
        Some(PlanError::Release { host: node.name.clone(), has: has.clone(), wants: version.to_owned() })
    });
    others.into_iter().next().map_or(Ok(()), Err)
}

fn servers<'a>(nodes: &'a [Node], found: &'a [Found]) -> impl Iterator<Item = (&'a Node, &'a Found)> {
    nodes.iter().zip(found).filter(|(node, _)| node.role == Role::Server)
}

/// What etcd still has of a server that is to join.
fn former(node: &Node, found: &Found, membership: &Membership) -> Vec<super::members::Member> {
    if node.role != Role::Server || !found.is_to_join() {
        return Vec::new();
    }
    membership.members(&Known::of(node)).into_iter().cloned().collect()
}

/// Who belongs to the cluster; asked only where somebody comes or goes.
async fn membership(
    nodes: &[Node],
    sessions: &[Session],
    found: &[Found],
    leavers: &[Leaver],
) -> Result<Membership, HostError> {
    let quiet = leavers.is_empty() && servers(nodes, found).all(|(_, found)| found.joined);
    let leader = steps::leader(nodes, found)
        .filter(|index| found.get(*index).is_some_and(|found| found.joined))
        .and_then(|index| sessions.get(index));
    match leader {
        Some(leader) if !quiet => {
            let what = "asking who is in the cluster";
            let text =
                leader.must(what, &scripts::soon(&scripts::membership(), scripts::SOON), &[], ASKS).await?;
            Ok(Membership::read(&text))
        }
        Some(_) | None => Ok(Membership::default()),
    }
}

/// What `cozy.yaml` says of a host's name and address, as Nodes and members of etcd have them.
fn written(name: Option<&str>, address: Option<&str>) -> Known {
    Known {
        names: name.into_iter().map(str::to_owned).collect(),
        addresses: address.into_iter().map(canonical).collect(),
    }
}

/// Those of hosts with `state: removed` on which there is something of this cloud, or that do not say. What else is at
/// work on the others is no business of this cloud's any more.
pub(crate) async fn of_cloud<'a>(
    sessions: impl IntoIterator<Item = &'a Session>,
    cloud: &Cloud,
) -> Vec<&'a Session> {
    let looks = sessions.into_iter().map(|session| async move {
        let said = session.sh("looking whose it is", &scripts::observe_leaver()).await;
        concerns(said.ok().as_deref(), cloud.name.as_str()).then_some(session)
    });
    future::join_all(looks).await.into_iter().flatten().collect()
}

/// Whether a host that leaves, by what it said, may have something of a cloud.
fn concerns(said: Option<&str>, cloud: &str) -> bool {
    said.is_none_or(|said| Answer::read(said).cloud() == Some(cloud))
}

async fn ask(gone: &Gone) -> Result<Leaver, HostError> {
    let Gone { host, role, name, address, session } = gone;
    let answer = match session {
        Ok(session) => {
            let text = session.sh("looking what is there", &scripts::observe_leaver()).await?;
            Some(Answer::read(&text))
        }
        Err(_) => None,
    };
    let mut written = written(name.as_deref(), address.as_deref());
    let dns = address.as_deref().filter(|address| name.is_none() && address.parse::<IpAddr>().is_err());
    if let (Some(dns), None) = (dns, &answer) {
        written.names.extend(dns.split('.').next().map(str::to_lowercase));
        let found = tokio::time::timeout(LOOK_UP, tokio::net::lookup_host((dns, 22))).await;
        written.addresses.extend(found.into_iter().flatten().flatten().map(|found| found.ip().to_string()));
    }
    Ok(Leaver { host: host.clone(), role: *role, written, vague: dns.is_some(), answer })
}

/// Refuses where a host that leaves only does not let us in: it may be at work. `why` says why each does not answer.
fn at_work<'a>(leaving: &[Leaving], why: impl Fn(usize) -> Option<&'a HostError>) -> Result<(), HostError> {
    let dead = |error: &HostError| error.is_away() || matches!(error.trouble, Trouble::UnknownName(_));
    let lives = leaving.iter().filter_map(|one| why(one.index)).find(|error| !dead(error));
    lives.map_or(Ok(()), |error| Err(error.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Target, Way};

    /// Found by review: its member of etcd stayed, and nobody said so.
    #[test]
    fn a_dead_host_is_known_by_an_address_that_is_written_in_another_form() {
        let membership = Membership::read("member a h2 fd00::12 voter down\n");
        for address in ["FD00::12", "fd00:0::12", "fd00::12"] {
            assert_eq!(membership.members(&written(None, Some(address))).len(), 1, "{address}");
        }
        let named = written(Some("h2"), Some("db.example.org"));
        assert_eq!(
            (named.names, named.addresses),
            (vec!["h2".to_owned()], vec!["db.example.org".to_owned()])
        );
    }

    /// Found by review: runs of the other cloud kept this one's from its own hosts.
    #[test]
    fn a_host_that_left_for_another_cloud_is_none_of_our_business() {
        assert!(concerns(Some("name h9\ncloud demo\n"), "demo"));
        assert!(!concerns(Some("name h9\ncloud other\njoined"), "demo"));
        assert!(!concerns(Some("name h9\n"), "demo"));
        assert!(concerns(None, "demo"), "it does not say");
    }

    #[test]
    fn a_host_that_only_does_not_let_us_in_is_not_taken_for_dead() {
        let target = Target { name: "h9".to_owned(), way: Way::Local };
        let check = |trouble: Trouble| {
            let error = HostError::new(&target, trouble);
            let dead = Leaving {
                index: 0,
                name: "h9".to_owned(),
                node: Some(("h9".to_owned(), false)),
                members: Vec::new(),
                clean: false,
                answers: false,
            };
            at_work(&[dead], |_| Some(&error)).is_ok()
        };
        assert!(check(Trouble::Refused) && check(Trouble::Unreachable("timed out".to_owned())));
        assert!(check(Trouble::UnknownName("h9".to_owned())));
        let changed = Trouble::ChangedKey { name: "h9".to_owned(), other: false };
        assert!(!check(Trouble::UnknownKey(None)) && !check(changed));
        let (user, detail) = ("admin".to_owned(), String::new());
        assert!(!check(Trouble::NoSudo { user: user.clone(), detail: detail.clone() }));
        assert!(!check(Trouble::Refuses { user, detail }));
        // Who is in no cluster any more is nobody's loss.
        assert!(at_work(&[], |_| None).is_ok());
    }
}
