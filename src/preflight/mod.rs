//! Preflight: from facts and `cozy.yaml` to findings, all at once, each with
//! its fix. Pure: what must be asked of hosts was asked by `host::facts`.

mod between;
pub(crate) mod cluster;
mod network;
mod one;
mod policy;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Serialize;

use crate::host::facts::{Facts, Questions};
use crate::model::cloud::{Announce, Cloud, ProxyMode, Role};
use crate::model::component::{Component, HostRequirements};
use crate::model::finding::Level;
use crate::model::ranges::Range;

/// Ports that Kubernetes and the components take on every host, with whose they are.
const PORTS_OF_ALL: &[(&str, u16, &str)] = &[
    ("tcp", 7443, "the local endpoint of the API servers"),
    ("tcp", 10248, "kubelet"),
    ("tcp", 10250, "kubelet"),
    ("udp", 8472, "the pod network (VXLAN)"),
    ("tcp", 4240, "cilium"),
    ("tcp", 4244, "cilium"),
];

/// Ports that kube-proxy takes on every host, where Cilium does not replace it.
const PORTS_OF_KUBE_PROXY: &[(&str, u16, &str)] =
    &[("tcp", 10249, "kube-proxy"), ("tcp", 10256, "kube-proxy")];

/// Where images come from, if nothing else is said.
const REGISTRY: &str = "registry.k8s.io";

/// How a host gets another name as a node.
const RENAME: &str = "give it a `name:` in cozy.yaml, or another host name: hostnamectl set-hostname NAME";

/// So many addresses of the pool are looked for.
const MOST: usize = 64;

/// Ports that only servers take.
const PORTS_OF_SERVERS: &[(&str, u16, &str)] = &[
    ("tcp", 2379, "etcd"),
    ("tcp", 2380, "etcd"),
    ("tcp", 2381, "etcd"),
    ("tcp", 6443, "the API server"),
    ("tcp", 10257, "the controller manager"),
    ("tcp", 10259, "the scheduler"),
];

/// Every check, with what it looks at; `--skip-check` takes these names.
pub(crate) const CHECKS: &[(&str, &str)] = &[
    ("address", "each host has the address that cozy.yaml says, and no two the same"),
    ("api", "the API servers' port can be reached from this machine"),
    ("arch", "x86-64 or arm64"),
    ("cgroup", "control groups version 2"),
    ("clock", "clocks within 30 s of each other"),
    ("cpus", "processors for the role"),
    ("devices", "the named disks are there and blank"),
    ("disk-space", "free space for images, pods and etcd"),
    ("disk-speed", "how long small writes take, for etcd"),
    ("dns", "name servers answer"),
    ("endpoint", "the name of `kubernetes.endpoint` has an address"),
    ("firewall", "no firewall drops what comes in"),
    ("hostname", "a valid name as a node that no other host has"),
    ("kernel", "the oldest kernel that the components work with"),
    ("kubernetes", "a version of Kubernetes that cozy and the components work with"),
    ("leftovers", "nothing of another container runtime, kubelet or pod network, and no objects of others"),
    ("limits", "inotify and file limits"),
    ("machine-id", "a machine id that no other host has"),
    ("memory", "memory for the role"),
    ("modules", "kernel modules are there or can be loaded"),
    ("nodes", "of a cluster that is there: its nodes are ready"),
    ("os", "a supported distribution"),
    ("packages", "base programs"),
    ("peers", "hosts reach each other"),
    ("plan", "of a cluster that is there: a plan can be made for it"),
    ("pool", "nobody has addresses of the load balancers' pool"),
    ("ports", "the ports of Kubernetes are free"),
    ("provided", "of a cluster that is there: it has the classes and kinds that no component brings"),
    ("proxy", "proxies of the host's services let the cluster's own traffic be"),
    ("ranges", "pod and service ranges do not overlap the hosts' networks"),
    ("registries", "images can be pulled: a registry answers"),
    ("rights", "of a cluster that is there: one may do what is to be done"),
    ("route", "a default route"),
    ("security", "SELinux, AppArmor and Secure Boot let components work"),
    ("ssh", "the host answers, and we may do everything there"),
    ("swap", "swap is off"),
    ("systemd", "systemd runs"),
    ("virtualization", "hardware virtualization, where a component needs it"),
    ("writable", "the folders that are written to take files"),
];

/// One thing that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// The host's name.
    pub(crate) host: String,
    /// The check, as `--skip-check` names it.
    pub(crate) check: &'static str,
    /// Error or warning.
    pub(crate) level: Level,
    /// What was looked at.
    pub(crate) checked: String,
    /// What was seen.
    pub(crate) observed: String,
    /// What should have been seen.
    pub(crate) expected: String,
    /// What to do.
    pub(crate) fix: String,
    /// A script that does it and can do no harm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) script: Option<String>,
}

/// One host as the checks see it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Its name, as shown.
    pub(crate) name: String,
    /// Its name in `cozy.yaml`.
    pub(crate) named: Option<String>,
    /// What `cozy.yaml` says of its address; `None`: this machine.
    pub(crate) address: Option<String>,
    /// Its role.
    pub(crate) role: Role,
    /// Devices named for storage.
    pub(crate) devices: Vec<String>,
    /// What it said.
    pub(crate) facts: Facts,
}

impl Seen {
    /// The name that it has as a node: the one in `cozy.yaml`, else what it calls itself.
    pub(crate) fn node_name(&self) -> String {
        self.named.clone().unwrap_or_else(|| self.facts.short_name())
    }

    /// The address that it has as a node: the one in `cozy.yaml`, else the one that its facts are for.
    pub(crate) fn own_address(&self) -> Option<IpAddr> {
        let written = self.address.as_deref().and_then(|address| address.parse().ok());
        written.or_else(|| self.facts.own_address())
    }
}

/// What all checks go by.
pub(crate) struct Wanted<'a> {
    cloud: &'a Cloud,
    /// What components require of each host, with whose word it is.
    required: Vec<(&'a str, &'a HostRequirements)>,
}

impl<'a> Wanted<'a> {
    /// What a cloud and its components want of hosts.
    pub(crate) fn new(cloud: &'a Cloud, components: impl IntoIterator<Item = &'a Component>) -> Self {
        let required = components
            .into_iter()
            .map(|component| (component.name.as_str(), &component.requires.host))
            .collect();
        Self { cloud, required }
    }

    /// The kernel modules that must be there, with who needs each.
    fn modules(&self) -> Vec<(&str, &str)> {
        let mut modules = vec![("overlay", "containerd")];
        if self.cloud.network.proxy_mode != ProxyMode::Cilium {
            modules.push(("br_netfilter", "kube-proxy"));
            modules.push(("nf_conntrack", "kube-proxy"));
        }
        for (who, required) in &self.required {
            modules.extend(required.kernel_modules.iter().map(|module| (module.as_str(), *who)));
        }
        modules
    }

    /// What the host at `index` of `cozy.yaml` is asked. `reached` has the address that each host was reached at, by its
    /// index: names of `cozy.yaml` need not mean anything to the other hosts.
    pub(crate) fn questions(&self, index: usize, reached: &BTreeMap<usize, String>) -> Questions {
        let cloud = self.cloud;
        let role = cloud.role(index);
        let mut peers = Vec::new();
        for (other, host) in cloud.present_hosts().filter(|(other, _)| *other != index) {
            let Some(written) = &host.address else { continue };
            let own = || reached.get(&other).filter(|address| !address.is_empty());
            let address = if written.parse::<IpAddr>().is_ok() { written } else { own().unwrap_or(written) };
            let mut ports = vec![10250];
            if cloud.network.proxy_mode == ProxyMode::Cilium {
                ports.extend([4240, 4244]);
            }
            if cloud.role(other) == Role::Server {
                ports.push(6443);
                if role == Role::Server {
                    ports.extend([2379, 2380]);
                }
            }
            peers.extend(ports.into_iter().map(|port| format!("{address}:{port}")));
        }
        let devices = cloud.hosts.get(index).map(devices).unwrap_or_default();
        let modules: BTreeSet<String> = self.modules().into_iter().map(|(name, _)| name.to_owned()).collect();
        // One looks for all: they are in one network.
        let first = cloud.present_hosts().next().is_some_and(|(first, _)| first == index);
        let pool = if first { self.pool() } else { Vec::new() };
        Questions { brief: false, peers, modules, devices, registries: self.registries(), pool }
    }

    /// The addresses of the pool that are looked for. Behind routers nobody answers.
    fn pool(&self) -> Vec<String> {
        let network = &self.cloud.network;
        if network.announce != Announce::L2 {
            return Vec::new();
        }
        let ranges = network.load_balancer.iter().filter_map(|text| Range::pool(text).ok());
        ranges.flat_map(|range| range.addresses(MOST)).take(MOST).map(|address| address.to_string()).collect()
    }

    /// Where images may come from; nowhere, when they lie in a folder here.
    fn registries(&self) -> Vec<String> {
        let artifacts = &self.cloud.artifacts;
        if artifacts.mirror.as_deref().is_some_and(|mirror| mirror.starts_with("file://")) {
            return Vec::new();
        }
        let mirrors = artifacts.registries.get(REGISTRY).into_iter().flatten();
        mirrors.filter_map(|url| authority(url)).chain([format!("{REGISTRY}:443")]).collect()
    }
}

/// `HOST:PORT` of a URL.
fn authority(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split('/').next()?;
    let port = if scheme == "http" { 80 } else { 443 };
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Some(if has_port { host.to_owned() } else { format!("{host}:{port}") })
}

/// The devices of a host as text.
pub(crate) fn devices(host: &crate::model::cloud::Host) -> Vec<String> {
    host.devices.iter().map(|path| path.display().to_string()).collect()
}

/// All findings, by host in the order of `cozy.yaml`, then by check.
pub(crate) fn check(wanted: &Wanted<'_>, hosts: &[Seen]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for host in hosts {
        let mut own = one::check(wanted, host);
        own.extend(policy::check(wanted, host));
        own.extend(network::check(wanted, host));
        own.extend(network::pool(host, hosts));
        own.extend(between::check(host, hosts));
        own.sort_by(|a, b| {
            (a.level, a.check, &a.observed, &a.checked).cmp(&(b.level, b.check, &b.observed, &b.checked))
        });
        findings.extend(own);
    }
    findings
}

/// Makes findings of one host.
struct Findings<'a> {
    host: &'a str,
    all: Vec<Finding>,
}

impl<'a> Findings<'a> {
    fn of(host: &'a Seen) -> Self {
        Self { host: &host.name, all: Vec::new() }
    }

    /// Adds an error: check, what was looked at, what was seen, what should have been, what to do.
    fn error(&mut self, check: &'static str, [checked, observed, expected, fix]: [String; 4]) {
        self.all.push(Finding {
            host: self.host.to_owned(),
            check,
            level: Level::Error,
            checked,
            observed,
            expected,
            fix,
            script: None,
        });
    }

    /// Adds a warning.
    fn warning(&mut self, check: &'static str, words: [String; 4]) {
        self.error(check, words);
        if let Some(last) = self.all.last_mut() {
            last.level = Level::Warning;
        }
    }

    /// Gives the last one a script that mends it.
    fn mended_by(&mut self, script: String) {
        if let Some(last) = self.all.last_mut() {
            last.script = Some(script);
        }
    }
}

/// Amounts of memory and disk for people; `kib` in KiB.
fn size(kib: u64) -> String {
    if kib >= 1 << 20 {
        let tenths = (kib * 10) >> 20;
        format!("{}.{} GiB", tenths / 10, tenths % 10)
    } else {
        format!("{} MiB", kib >> 10)
    }
}
