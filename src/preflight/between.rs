//! Checks between hosts: what must differ, what must agree, who reaches whom.

use std::collections::BTreeMap;

use super::{Finding, Findings, RENAME, Seen};

/// How far a clock may be from the median, in seconds: certificates and leases bear no more.
const CLOCK: i64 = 30;

/// How far the hosts' clocks may be from this machine's, in seconds: kubeadm's certificates are valid from five minutes
/// before they were made on.
const OURS: i64 = 240;

pub(super) fn check(host: &Seen, all: &[Seen]) -> Vec<Finding> {
    let mut findings = Findings::of(host);
    let facts = &host.facts;
    let same = |value: fn(&Seen) -> String| -> Vec<&str> {
        let own = value(host);
        let others =
            all.iter().filter(|other| other.name != host.name && !own.is_empty() && value(other) == own);
        others.map(|other| other.name.as_str()).collect()
    };
    let names = same(Seen::node_name);
    if !names.is_empty() {
        let observed = format!("`{}`, as {} is called, too", host.node_name(), names.join(", "));
        findings.error(
            "hostname",
            ["name as a node".to_owned(), observed, "a name of its own".to_owned(), RENAME.to_owned()],
        );
    }
    let ids = same(|seen| seen.facts.machine_id.clone());
    if !ids.is_empty() {
        let observed = format!("the same as that of {}", ids.join(", "));
        let fix =
            "cloned servers share it: rm /etc/machine-id && systemd-machine-id-setup, then reboot".to_owned();
        findings.error("machine-id", ["machine id".to_owned(), observed, "one of its own".to_owned(), fix]);
    } else if facts.machine_id.is_empty() {
        let fix = "systemd-machine-id-setup".to_owned();
        findings.error(
            "machine-id",
            ["machine id".to_owned(), "none".to_owned(), "one of its own".to_owned(), fix.clone()],
        );
        findings.mended_by(fix);
    }
    let common = median(all);
    if common.abs() > OURS && all.first().is_some_and(|first| first.name == host.name) {
        let word = if common > 0 { "ahead of" } else { "behind" };
        let observed = format!("the hosts' are {} s {word} this machine's", common.abs());
        let fix =
            "the hosts' or this machine's is wrong: set it, or certificates are not valid yet".to_owned();
        let expected = format!("within {OURS} s of this machine's");
        findings.error("clock", ["clock".to_owned(), observed, expected, fix]);
    }
    let off = facts.clock_offset - common;
    if off.abs() > CLOCK {
        let observed = format!("{} s {} the others", off.abs(), if off > 0 { "ahead of" } else { "behind" });
        let fix = "set it, and keep it with chrony or systemd-timesyncd".to_owned();
        findings
            .error("clock", ["clock".to_owned(), observed, format!("within {CLOCK} s of the others"), fix]);
    }
    let addresses = same(|seen| seen.own_address().map(|address| address.to_string()).unwrap_or_default());
    if !addresses.is_empty() {
        let own = host.own_address().map(|address| address.to_string()).unwrap_or_default();
        let observed = format!("{own}, as {} has, too", addresses.join(", "));
        let fix =
            "give it an address of its own, or take the host that stands twice out of cozy.yaml".to_owned();
        findings.error("address", ["address".to_owned(), observed, "one of its own".to_owned(), fix]);
    }
    peers(host, all, &mut findings);
    findings.all
}

/// Ways to other hosts, by host and by what keeps them from being used.
fn peers(host: &Seen, all: &[Seen], findings: &mut Findings<'_>) {
    let mut blocked: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for line in &host.facts.blocked {
        let (peer, why) = line.split_once(' ').unwrap_or((line, "no answer"));
        let (address, port) = peer.rsplit_once(':').unwrap_or((peer, ""));
        blocked.entry((address, why)).or_default().push(port);
    }
    for ((to, why), mut ports) in blocked {
        ports.sort_by_key(|port| port.parse::<u16>().ok());
        let is = |other: &&Seen| {
            other.address.as_deref() == Some(to)
                || other.own_address().is_some_and(|own| own.to_string() == to)
        };
        let name = all.iter().find(is).map_or(to, |other| &other.name);
        let ports = format!("port{} {}", if ports.len() == 1 { "" } else { "s" }, ports.join(", "));
        let fix = format!("open the way to {to}, {ports}, in firewalls on both hosts and between them");
        let words =
            [format!("way to {name}"), format!("{} on {ports}", why.to_lowercase()), "open".to_owned(), fix];
        findings.error("peers", words);
    }
}

/// The median of all clocks' offsets from ours.
fn median(all: &[Seen]) -> i64 {
    let mut offsets: Vec<i64> = all.iter().map(|seen| seen.facts.clock_offset).collect();
    offsets.sort_unstable();
    offsets.get(offsets.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}
