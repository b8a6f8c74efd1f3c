//! What a schema cannot say of `cozy.yaml`: networks that overlap, hosts
//! given twice, a number of servers that cannot keep a quorum.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::cloud::{Cloud, HostState, Provider};
use super::finding::{Finding, Source};
use super::names::is_dns_subdomain;
use super::ranges::Range;
use super::yaml::Node;

/// All mistakes in the meaning of a cloud that its schema allows.
pub(crate) fn check(cloud: &Cloud, source: &Arc<Source>, root: &Node) -> Vec<Finding> {
    let mut checker = Checker { cloud, source, root, findings: Vec::new() };
    checker.networks();
    checker.hosts();
    checker.devices();
    checker.servers();
    if let Some(version) = &cloud.version
        && semver::Version::parse(version.trim_start_matches('v')).is_err()
    {
        checker.add(
            1210,
            &["version"],
            format!("`{version}` is not a version"),
            "write it like `0.1.0`, or leave it out",
        );
    }
    checker.findings
}

struct Checker<'a> {
    cloud: &'a Cloud,
    source: &'a Arc<Source>,
    root: &'a Node,
    findings: Vec<Finding>,
}

impl Checker<'_> {
    fn add(&mut self, code: u16, path: &[&str], message: String, hint: &str) {
        let node = self.root.at(path.iter().copied());
        let finding = Finding::error(code, message).on(self.source, node.range.clone()).hinted(hint);
        self.findings.push(finding);
    }

    fn networks(&mut self) {
        let network = &self.cloud.network;
        let mut known: Vec<(String, Range)> = Vec::new();
        for (key, text) in [("pods", &network.pods), ("services", &network.services)] {
            match Range::cidr(text) {
                Ok(range) => {
                    if let Some((other, _)) = known.iter().find(|(_, other)| other.overlaps(&range)) {
                        let message = format!("`{key}` ({text}) overlaps {other}");
                        self.add(1201, &["network", key], message, "give each network a range of its own");
                    }
                    known.push((format!("`{key}` ({text})"), range));
                }
                Err(problem) => self.add(
                    1202,
                    &["network", key],
                    format!("`{key}`: {problem}"),
                    "write a CIDR such as `10.42.0.0/16`",
                ),
            }
        }
        for (index, text) in network.load_balancer.iter().enumerate() {
            let at = index.to_string();
            let path = ["network", "loadBalancer", at.as_str()];
            match Range::pool(text) {
                Ok(range) => {
                    if let Some((other, _)) = known.iter().find(|(_, other)| other.overlaps(&range)) {
                        self.add(
                            1201,
                            &path,
                            format!("the pool {text} overlaps {other}"),
                            "give each network a range of its own",
                        );
                    }
                    known.push((format!("the pool {text}"), range));
                }
                Err(problem) => {
                    self.add(
                        1203,
                        &path,
                        format!("`loadBalancer`: {problem}"),
                        "write `10.0.0.200-10.0.0.220` or a CIDR",
                    );
                }
            }
        }
        for (index, host) in self.cloud.hosts.iter().enumerate() {
            let Some(address) = host.address.as_deref() else { continue };
            let Ok(range) = Range::pool(address) else { continue };
            if let Some((other, _)) = known.iter().find(|(_, other)| other.overlaps(&range)) {
                let at = index.to_string();
                self.add(
                    1201,
                    &["hosts", &at, "address"],
                    format!("the host {address} is inside {other}"),
                    "give each network a range of its own",
                );
            }
        }
    }

    fn hosts(&mut self) {
        let mut addresses: HashMap<String, usize> = HashMap::new();
        let mut names: HashMap<&str, usize> = HashMap::new();
        let mut local = None;
        for (index, host) in self.cloud.hosts.iter().enumerate() {
            let at = index.to_string();
            match (&host.address, host.local) {
                (None, false) => {
                    self.add(
                        1204,
                        &["hosts", &at],
                        "the host has no address".to_owned(),
                        "write `address:`, or `local: true` for this machine",
                    );
                }
                (Some(_), true) => {
                    self.add(
                        1204,
                        &["hosts", &at],
                        "the host has an address and is local".to_owned(),
                        "keep one of `address` and `local`",
                    );
                }
                (None, true) | (Some(_), false) => {}
            }
            if let Some(address) = &host.address
                && !is_host(address)
            {
                let message = format!("`{address}` is neither an IP address nor a DNS name");
                self.add(
                    1217,
                    &["hosts", &at, "address"],
                    message,
                    "write it like `10.0.0.11` or `node-1.example.org`",
                );
            } else if let Some(address) = &host.address
                && let Some(first) = addresses.insert(one_form(address), index)
            {
                self.add(
                    1205,
                    &["hosts", &at, "address"],
                    format!("{address} is already host {}", first + 1),
                    "each host stands once",
                );
            }
            if let Some(name) = &host.name
                && let Some(first) = names.insert(name.as_str(), index)
            {
                self.add(
                    1205,
                    &["hosts", &at, "name"],
                    format!("`{name}` is already the name of host {}", first + 1),
                    "each host has a name of its own",
                );
            }
            if host.local
                && let Some(first) = local.replace(index)
            {
                self.add(
                    1205,
                    &["hosts", &at],
                    format!("this machine is already host {}", first + 1),
                    "each host stands once",
                );
            }
        }
    }

    fn devices(&mut self) {
        for (index, host) in self.cloud.hosts.iter().enumerate() {
            let at = index.to_string();
            let mut devices = HashSet::new();
            for (number, device) in host.devices.iter().enumerate() {
                let number = number.to_string();
                let path = ["hosts", &at, "devices", &number];
                if !device.starts_with("/dev") {
                    let message = format!("`{}` is not a block device", device.display());
                    self.add(1219, &path, message, "write its path, best one of /dev/disk/by-id");
                } else if !devices.insert(device) {
                    let message = format!("the device {} stands twice", device.display());
                    self.add(1205, &path, message, "each device stands once");
                }
            }
        }
    }

    fn servers(&mut self) {
        let existing = self.cloud.kubernetes.provider == Provider::Existing;
        let servers = self.cloud.servers();
        if existing {
            if !self.cloud.hosts.is_empty() {
                let key = self.root.key("hosts").map_or(0..0, |key| key.range.clone());
                let finding = Finding::error(1220, "hosts are not used with `kubernetes.provider: existing`");
                let finding = finding.on(self.source, key).hinted("remove `hosts`, or the provider");
                self.findings.push(finding.warning());
            }
            return;
        }
        if servers == 0 {
            self.add(
                1206,
                &["hosts"],
                "the cloud has no server".to_owned(),
                "give at least one host, or set `kubernetes.provider: existing`",
            );
        } else if servers.is_multiple_of(2)
            && !self.cloud.hosts.iter().any(|host| host.state == HostState::Removed)
        {
            let message = format!("the cloud has {servers} servers, an even number");
            let hint = format!(
                "etcd keeps a quorum with an odd number: {} servers survive no more failures than {}",
                servers,
                servers - 1
            );
            self.add(1207, &["hosts"], message, &hint);
        }
    }
}

/// Whether a text can be a host's address.
fn is_host(address: &str) -> bool {
    if address.parse::<IpAddr>().is_ok() {
        return true;
    }
    // `10.0.0.300` is a DNS name by its letters, and never meant as one.
    let last = address.rsplit('.').next().unwrap_or_default();
    is_dns_subdomain(&address.to_lowercase()) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// An address in one of its many forms: `::1` and `0:0:0:0:0:0:0:1` are the same.
fn one_form(address: &str) -> String {
    address.parse::<IpAddr>().map_or_else(|_| address.to_lowercase(), |ip| ip.to_string())
}
