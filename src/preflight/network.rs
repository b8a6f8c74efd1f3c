//! Checks of a host's network, and of the cloud's ranges against it.

use std::net::IpAddr;

use super::{Finding, Findings, Seen, Wanted};
use crate::model::cloud::Announce;
use crate::model::ranges::Range;

pub(super) fn check(wanted: &Wanted<'_>, host: &Seen) -> Vec<Finding> {
    let mut findings = Findings::of(host);
    let facts = &host.facts;
    if facts.route.is_empty() {
        let fix = "add one: Services and kubelet's own address are found by it".to_owned();
        findings.error("route", ["routes".to_owned(), "no default route".to_owned(), "one".to_owned(), fix]);
    }
    // What kubelet is told to read is not looked at; and in a cluster that runs somebody has told CoreDNS better.
    let own = wanted.cloud.kubernetes.kubelet.contains_key("resolvConf");
    let doubt = if facts.joined.is_empty() { Findings::error } else { Findings::warning };
    if facts.nameservers.is_empty() {
        let fix = "name one in /etc/resolv.conf or for systemd-resolved, or servers in a file on the host, and that as `kubernetes: { kubelet: { resolvConf: FILE } }`";
        let expected = "at least one that answers".to_owned();
        if !own {
            let words = ["name servers".to_owned(), "none".to_owned(), expected, fix.to_owned()];
            doubt(&mut findings, "dns", words);
        }
    } else if !facts.dns {
        let observed = format!("{} did not answer within 4 s", facts.nameservers.join(", "));
        let fix = "name one that answers in /etc/resolv.conf or for systemd-resolved".to_owned();
        findings.error("dns", ["name servers".to_owned(), observed, "an answer".to_owned(), fix]);
    } else if facts.nameservers.iter().all(|server| is_loopback(server)) && !own {
        let observed = format!("{}: pods would ask themselves", facts.nameservers.join(", "));
        let fix = "name real servers in a file on the host, and that as `kubernetes: { kubelet: { resolvConf: FILE } }`";
        let expected = "servers that pods reach, too".to_owned();
        let words = ["name servers".to_owned(), observed, expected, fix.to_owned()];
        doubt(&mut findings, "dns", words);
    }
    announced(wanted, host, &mut findings);
    if let Some(address) = host.address.as_ref().and_then(|address| address.parse::<IpAddr>().ok())
        && !facts.ips().any(|own| own == address)
    {
        let own: Vec<String> = facts.ips().map(|ip| ip.to_string()).collect();
        let fix = "behind address translation, name the host's own address in cozy.yaml and reach it through your ssh configuration; where its API is reached from here is `kubernetes.endpoint`".to_owned();
        let words = ["address".to_owned(), format!("it has {}", own.join(", ")), address.to_string(), fix];
        findings.error("address", words);
    }
    registries(wanted, host, &mut findings);
    ranges(wanted, host, &mut findings);
    findings.all
}

fn is_loopback(server: &str) -> bool {
    server.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Default routes that are lost when the host is started again as one that forwards IPv6: cozy lets interfaces take them
/// while it runs, and what sets interfaces up may not.
fn announced(wanted: &Wanted<'_>, host: &Seen, findings: &mut Findings<'_>) {
    let network = &wanted.cloud.network;
    let six = [&network.pods, &network.services].into_iter().any(|range| range.contains(':'))
        || host.own_address().is_some_and(|address| address.is_ipv6());
    for device in host.facts.announced.iter().filter(|_| six) {
        let words = [
            format!("default route of {device}"),
            "a router announces it, and hosts that forward IPv6 take none".to_owned(),
            format!("net.ipv6.conf.{device}.accept_ra is 2 whenever {device} is up"),
            format!(
                "where {device} is set up (`accept_ra 2` in /etc/network/interfaces), and now: sysctl -w net.ipv6.conf.{device}.accept_ra=2"
            ),
        ];
        findings.warning("route", words);
    }
}

/// Any registry will do; behind a proxy it cannot be seen from here.
fn registries(wanted: &Wanted<'_>, host: &Seen, findings: &mut Findings<'_>) {
    let asked = wanted.registries();
    let silent = &host.facts.no_registry;
    if asked.is_empty() || silent.len() < asked.len() || !host.facts.proxies.is_empty() {
        return;
    }
    let fix = "open the way there, or name a mirror in `artifacts.registries`, or a folder with images in `artifacts.mirror`";
    let words =
        ["registries of images".to_owned(), silent.join("; "), "one that answers".to_owned(), fix.to_owned()];
    findings.warning("registries", words);
}

/// Who has addresses of the pool. Once there is a cluster, it is that itself.
pub(super) fn pool(host: &Seen, all: &[Seen]) -> Vec<Finding> {
    let mut findings = Findings::of(host);
    if all.iter().any(|seen| !seen.facts.cozy.is_empty()) {
        return findings.all;
    }
    for line in &host.facts.taken {
        let (address, link) = line.split_once(' ').unwrap_or((line, ""));
        let words = [
            format!("address {address} of the load balancers' pool"),
            format!("somebody has it ({link})"),
            "nobody has it".to_owned(),
            "take it out of `network.loadBalancer` in cozy.yaml, or give that machine another one".to_owned(),
        ];
        findings.error("pool", words);
    }
    findings.all
}

fn ranges(wanted: &Wanted<'_>, host: &Seen, findings: &mut Findings<'_>) {
    let network = &wanted.cloud.network;
    let own: Vec<(&str, Range)> = host
        .facts
        .addresses
        .iter()
        .filter_map(|line| Some((line.as_str(), subnet(line.split(' ').nth(1)?)?)))
        .collect();
    // On a host that is ours already, pods' links have addresses of the pods' range.
    if host.facts.cozy.is_empty() {
        for (key, text) in [("pods", &network.pods), ("services", &network.services)] {
            let Ok(range) = Range::cidr(text) else { continue };
            if let Some((line, _)) = own.iter().find(|(_, subnet)| subnet.overlaps(&range)) {
                let fix = format!("choose another range for `network.{key}` in cozy.yaml");
                let words = [
                    format!("range {text} of the {key}"),
                    format!("it overlaps the host's {line}"),
                    "no overlap".to_owned(),
                    fix,
                ];
                findings.error("ranges", words);
            }
        }
    }
    if network.announce == Announce::L2 {
        for text in &network.load_balancer {
            let Ok(range) = Range::pool(text) else { continue };
            if !own.iter().any(|(_, subnet)| subnet.overlaps(&range)) {
                let fix = "choose addresses of the hosts' subnet, or `announce: bgp`".to_owned();
                let words = [
                    format!("load-balancer pool {text}"),
                    "it is in none of the host's subnets".to_owned(),
                    "inside one, for `announce: l2`".to_owned(),
                    fix,
                ];
                findings.error("ranges", words);
            }
        }
    }
}

/// The subnet of an address with a prefix length.
fn subnet(text: &str) -> Option<Range> {
    let (address, length) = text.split_once('/')?;
    let length: u32 = length.parse().ok()?;
    let network: IpAddr = match address.parse().ok()? {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.checked_sub(length)?).unwrap_or_default();
            IpAddr::V4((u32::from(address) & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.checked_sub(length)?).unwrap_or_default();
            IpAddr::V6((u128::from(address) & mask).into())
        }
    };
    Range::cidr(&format!("{network}/{length}")).ok()
}
