//! What a schema cannot say of `cozy.yaml`: networks that overlap, hosts
//! given twice, a number of servers that cannot keep a quorum.

use std::collections::HashMap;
use std::sync::Arc;

use super::cloud::{Cloud, HostState, Provider};
use super::finding::{Finding, Level, Source};
use super::ranges::Range;
use super::yaml::Node;
use crate::error::Code;

/// All mistakes in the meaning of a cloud that its schema allows.
pub(crate) fn check(cloud: &Cloud, source: &Arc<Source>, root: &Node) -> Vec<Finding> {
    let mut checker = Checker { cloud, source, root, findings: Vec::new() };
    checker.networks();
    checker.hosts();
    checker.servers();
    if let Some(version) = &cloud.version
        && semver::Version::parse(version.trim_start_matches('v')).is_err()
    {
        checker.add(1210, &["version"], format!("`{version}` is not a version"), "write it like `0.1.0`, or leave it out");
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
        let text = self.source.text.get(node.range.clone()).unwrap_or_default();
        let end = node.range.start + text.lines().next().unwrap_or_default().len();
        self.findings.push(Finding {
            code: Code(code),
            level: Level::Error,
            message,
            label: String::new(),
            place: Some((Arc::clone(self.source), node.range.start..end)),
            hint: Some(hint.to_owned()),
        });
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
                Err(problem) => self.add(1202, &["network", key], format!("`{key}`: {problem}"), "write a CIDR such as `10.42.0.0/16`"),
            }
        }
        for (index, text) in network.load_balancer.iter().enumerate() {
            let at = index.to_string();
            let path = ["network", "loadBalancer", at.as_str()];
            match Range::pool(text) {
                Ok(range) => {
                    if let Some((other, _)) = known.iter().find(|(_, other)| other.overlaps(&range)) {
                        self.add(1201, &path, format!("the pool {text} overlaps {other}"), "give each network a range of its own");
                    }
                    known.push((format!("the pool {text}"), range));
                }
                Err(problem) => {
                    self.add(1203, &path, format!("`loadBalancer`: {problem}"), "write `10.0.0.200-10.0.0.220` or a CIDR");
                }
            }
        }
        for (index, host) in self.cloud.hosts.iter().enumerate() {
            let Some(address) = host.address.as_deref() else { continue };
            let Ok(range) = Range::pool(address) else { continue };
            if let Some((other, _)) = known.iter().find(|(_, other)| other.overlaps(&range)) {
                let at = index.to_string();
                self.add(1201, &["hosts", &at, "address"], format!("the host {address} is inside {other}"), "give each network a range of its own");
            }
        }
    }

    fn hosts(&mut self) {
        let mut addresses: HashMap<&str, usize> = HashMap::new();
        let mut names: HashMap<&str, usize> = HashMap::new();
        let mut local = None;
        for (index, host) in self.cloud.hosts.iter().enumerate() {
            let at = index.to_string();
            match (&host.address, host.local) {
                (None, false) => {
                    self.add(1204, &["hosts", &at], "the host has no address".to_owned(), "write `address:`, or `local: true` for this machine");
                }
                (Some(_), true) => {
                    self.add(1204, &["hosts", &at], "the host has an address and is local".to_owned(), "keep one of `address` and `local`");
                }
                (None, true) | (Some(_), false) => {}
            }
            if let Some(address) = &host.address
                && let Some(first) = addresses.insert(address, index)
            {
                self.add(1205, &["hosts", &at, "address"], format!("{address} is already host {}", first + 1), "each host stands once");
            }
            if let Some(name) = &host.name
                && let Some(first) = names.insert(name.as_str(), index)
            {
                self.add(1205, &["hosts", &at, "name"], format!("`{name}` is already the name of host {}", first + 1), "each host has a name of its own");
            }
            if host.local
                && let Some(first) = local.replace(index)
            {
                self.add(1205, &["hosts", &at], format!("this machine is already host {}", first + 1), "each host stands once");
            }
            let mut devices: Vec<&std::path::PathBuf> = Vec::new();
            for (number, device) in host.devices.iter().enumerate() {
                if devices.contains(&device) {
                    let number = number.to_string();
                    self.add(1205, &["hosts", &at, "devices", &number], format!("the device {} stands twice", device.display()), "each device stands once");
                }
                devices.push(device);
            }
        }
    }

    fn servers(&mut self) {
        let existing = self.cloud.kubernetes.provider == Provider::Existing;
        let servers = self.cloud.servers();
        if existing {
            return;
        }
        if servers == 0 {
            self.add(1206, &["hosts"], "the cloud has no server".to_owned(), "give at least one host, or set `kubernetes.provider: existing`");
        } else if servers.is_multiple_of(2) && !self.cloud.hosts.iter().any(|host| host.state == HostState::Removed) {
            let message = format!("the cloud has {servers} servers, an even number");
            let hint = format!("etcd keeps a quorum with an odd number: {} servers survive no more failures than {}", servers, servers - 1);
            self.add(1207, &["hosts"], message, &hint);
        }
    }
}
