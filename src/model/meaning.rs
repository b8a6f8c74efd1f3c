//! What a schema cannot say of `cozy.yaml`: networks that overlap, hosts
//! given twice, a number of servers that cannot keep a quorum.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::Component;
use std::sync::Arc;

use super::cloud::{Announce, Cloud, HostState, Provider, ProxyMode};
use super::finding::{Finding, MOST, Source};
use super::names::is_dns_subdomain;
use super::ranges::Range;
use super::yaml::Node;
use super::{raw, texts};

/// What to do about addresses that nobody can reach.
const PRIVATE: &str = "take addresses of your network, such as `10.0.0.200-10.0.0.220`";

/// What to do about networks that overlap.
const OWN_RANGE: &str = "give each network a range of its own";

/// The most ranges of addresses for load balancers.
const MOST_POOLS: usize = 256;

/// Networks that were looked at, with what they are called.
type Known = Vec<(String, Range)>;

/// All mistakes in the meaning of a cloud that its schema allows.
pub(crate) fn check(cloud: &Cloud, source: &Arc<Source>, root: &Node) -> Vec<Finding> {
    let mut checker = Checker { cloud, source, root, findings: Vec::new() };
    checker.networks();
    checker.hosts();
    checker.devices();
    checker.servers();
    checker.kubernetes();
    checker.host_texts();
    checker.artifacts();
    checker.sizes();
    checker.replicas();
    checker.patches();
    checker.domain();
    checker.unused();
    checker.findings.extend(raw::in_cloud(source, root));
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
        if self.findings.len() >= MOST {
            return;
        }
        let node = self.root.at(path.iter().copied());
        let finding = Finding::error(code, message).on(self.source, node.range.clone()).hinted(hint);
        self.findings.push(finding);
    }

    fn networks(&mut self) {
        let network = &self.cloud.network;
        let mut known: Known = Vec::new();
        for (key, text) in [("pods", &network.pods), ("services", &network.services)] {
            match Range::cidr(text) {
                Ok(range) => self.network(&["network", key], format!("`{key}` ({text})"), range, &mut known),
                Err(problem) => {
                    let hint = "write a CIDR such as `10.42.0.0/16`";
                    self.add(1202, &["network", key], format!("`{key}`: {problem}"), hint);
                }
            }
        }
        let pools = &network.load_balancer;
        if pools.len() > MOST_POOLS {
            let message = format!("`loadBalancer` has {} ranges, more than {MOST_POOLS}", pools.len());
            self.add(1203, &["network", "loadBalancer"], message, "join ranges that follow each other");
        }
        for (index, text) in pools.iter().enumerate().take(MOST_POOLS) {
            let at = index.to_string();
            let path = ["network", "loadBalancer", at.as_str()];
            match Range::pool(text) {
                Ok(range) => self.network(&path, format!("the pool {text}"), range, &mut known),
                Err(problem) => {
                    let hint = "write `10.0.0.200-10.0.0.220` or a CIDR";
                    self.add(1203, &path, format!("`loadBalancer`: {problem}"), hint);
                }
            }
        }
        self.outside(&known);
    }

    /// Hosts and the API's endpoint have addresses that are nobody else's.
    fn outside(&mut self, known: &Known) {
        let endpoint = self.cloud.kubernetes.endpoint.as_deref();
        if let Some(address) = endpoint.and_then(texts::endpoint_address)
            && let Ok(range) = Range::pool(&address.to_string())
            && let Some((other, _)) = known.iter().find(|(_, other)| other.overlaps(&range))
        {
            let message = format!("the endpoint {address} is inside {other}");
            self.add(1201, &["kubernetes", "endpoint"], message, "give it an address of its own");
        }
        for (index, host) in self.cloud.hosts.iter().enumerate() {
            let Some(address) = host.address.as_deref() else { continue };
            let Ok(range) = Range::pool(address) else { continue };
            if let Err(problem) = texts::reachable(&range) {
                let message = format!("the host {address} cannot be reached by others: {problem}");
                let hint = "write an address that all hosts reach; this machine is `local: true`";
                self.add(1228, &["hosts", &index.to_string(), "address"], message, hint);
            }
            if let Some((other, _)) = known.iter().find(|(_, other)| other.overlaps(&range)) {
                let message = format!("the host {address} is inside {other}");
                self.add(1201, &["hosts", &index.to_string(), "address"], message, OWN_RANGE);
            }
        }
    }

    /// One network: nobody else has its addresses, and everybody can reach them.
    fn network(&mut self, path: &[&str], what: String, range: Range, known: &mut Known) {
        if let Err(problem) = texts::reachable(&range) {
            self.add(1228, path, format!("{what}: {problem}"), PRIVATE);
        }
        if let Some((other, _)) = known.iter().find(|(_, other)| other.overlaps(&range)) {
            self.add(1201, path, format!("{what} overlaps {other}"), OWN_RANGE);
        }
        known.push((what, range));
    }

    fn hosts(&mut self) {
        let mut addresses: HashMap<String, usize> = HashMap::new();
        let mut names: HashMap<&str, usize> = HashMap::new();
        let mut local = None;
        for (index, host) in self.cloud.hosts.iter().enumerate() {
            let at = index.to_string();
            match (&host.address, host.local) {
                (None, false) => {
                    let hint = "write `address:`, or `local: true` for this machine";
                    self.add(1204, &["hosts", &at], "the host has no address".to_owned(), hint);
                }
                (Some(_), true) => {
                    let message = "the host has an address and is local".to_owned();
                    self.add(1204, &["hosts", &at], message, "keep one of `address` and `local`");
                }
                (None, true) | (Some(_), false) => {}
            }
            let once = "each host stands once";
            if let Some(address) = &host.address
                && !is_host(address)
            {
                let message = format!("`{address}` is neither an IP address nor a DNS name");
                let hint = "write it like `10.0.0.11` or `node-1.example.org`";
                self.add(1217, &["hosts", &at, "address"], message, hint);
            } else if let Some(address) = &host.address
                && let Some(first) = addresses.insert(one_form(address), index)
            {
                let message = format!("{address} is already host {}", first + 1);
                self.add(1205, &["hosts", &at, "address"], message, once);
            }
            if let Some(name) = &host.name
                && let Some(first) = names.insert(name.as_str(), index)
            {
                let message = format!("`{name}` is already the name of host {}", first + 1);
                self.add(1205, &["hosts", &at, "name"], message, "each host has a name of its own");
            }
            if host.local
                && let Some(first) = local.replace(index)
            {
                let message = format!("this machine is already host {}", first + 1);
                self.add(1205, &["hosts", &at], message, once);
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
                let below = device.strip_prefix("/dev").is_ok_and(|below| {
                    let mut parts = below.components().peekable();
                    parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
                });
                if !below {
                    let message = format!("`{}` is not a block device", device.display());
                    self.add(1219, &path, message, "write its path, best one of /dev/disk/by-id");
                } else if !devices.insert(device) {
                    let message = format!("the device {} stands twice", device.display());
                    self.add(1205, &path, message, "each device stands once");
                }
            }
        }
    }

    fn domain(&mut self) {
        let Some(domain) = &self.cloud.domain else { return };
        let message = if domain.parse::<IpAddr>().is_ok() {
            format!("`domain` is the address {domain}")
        } else if is_dns_subdomain(domain) {
            return;
        } else {
            "`domain` is not a DNS name".to_owned()
        };
        let hint = "write a name such as `cloud.example.org`: labels of at most 63 letters, digits and `-`";
        self.add(1238, &["domain"], message, hint);
    }

    fn kubernetes(&mut self) {
        let kubernetes = &self.cloud.kubernetes;
        if let Some(Err(problem)) = kubernetes.version.as_deref().map(texts::kubernetes) {
            self.add(1223, &["kubernetes", "version"], problem, "leave it out for the newest that is known");
        }
        if let Some(Err(problem)) = kubernetes.endpoint.as_deref().map(texts::api) {
            let hint = "write it like `api.example.org`: its port is that of the servers, 6443";
            self.add(1224, &["kubernetes", "endpoint"], problem, hint);
        }
        if kubernetes.etcd.contains_key("external") {
            let message = "etcd outside the cluster is not supported".to_owned();
            self.add(
                1243,
                &["kubernetes", "etcd", "external"],
                message,
                "leave it out: each server has its member",
            );
        }
        let local = kubernetes.etcd.get("local");
        if local.is_some_and(|local| local.get("dataDir").is_some_and(|folder| folder != "/var/lib/etcd")) {
            let message = "etcd keeps its data in /var/lib/etcd".to_owned();
            let hint = "leave `dataDir` out, and mount a disk of etcd's own there";
            self.add(1243, &["kubernetes", "etcd", "local", "dataDir"], message, hint);
        }
    }

    fn host_texts(&mut self) {
        for (index, host) in self.cloud.hosts.iter().enumerate() {
            let at = index.to_string();
            if let Some(Err(problem)) = host.user.as_deref().map(texts::user) {
                self.add(1227, &["hosts", &at, "user"], problem, "options of SSH belong into ~/.ssh/config");
            }
            for (key, value) in &host.labels {
                if let Err(problem) = texts::label_key(key).and_then(|()| texts::label_value(value)) {
                    let hint =
                        "letters, digits, `-`, `_` and `.`, at most 63; a key may have a prefix and `/`";
                    self.add(1225, &["hosts", &at, "labels", key], problem, hint);
                }
            }
            let mut taints = HashSet::new();
            for (number, taint) in host.taints.iter().enumerate() {
                if let Err(problem) = texts::taint(taint) {
                    let path = ["hosts", &at, "taints", &number.to_string()];
                    self.add(1225, &path, problem, "write it like `key=value:NoSchedule`");
                } else if !taints.insert(key_and_effect(taint)) {
                    let path = ["hosts", &at, "taints", &number.to_string()];
                    let message = format!("the taint {taint} stands twice");
                    self.add(1205, &path, message, "a host has one taint for each key and effect");
                }
            }
        }
    }

    fn artifacts(&mut self) {
        let artifacts = &self.cloud.artifacts;
        let mirror = artifacts.mirror.as_deref();
        if let Some(Err(problem)) =
            mirror.map(|mirror| texts::url(mirror, &["https://", "http://", "oci://", "file://"]))
        {
            self.add(
                1226,
                &["artifacts", "mirror"],
                problem,
                "write it like `https://mirror.example.org/cozy`",
            );
        }
        let proxy = artifacts.proxy.as_deref();
        if let Some(Err(problem)) =
            proxy.map(|proxy| texts::url(proxy, &["http://", "https://", "socks5://", "socks5h://"]))
        {
            self.add(1226, &["artifacts", "proxy"], problem, "write it like `http://proxy.example.org:3128`");
        }
        for (registry, endpoints) in &artifacts.registries {
            if texts::endpoint(registry).is_err() {
                let path = ["artifacts", "registries", registry];
                let message = format!("`{registry}` is not a registry's name");
                self.add(1226, &path, message, "write it like `registry.example.org:5000`");
            }
            for (number, endpoint) in endpoints.iter().enumerate() {
                if let Err(problem) = texts::url(endpoint, &["https://", "http://"]) {
                    let path = ["artifacts", "registries", registry, &number.to_string()];
                    self.add(1226, &path, problem, "write it like `https://registry.example.org`");
                }
            }
        }
    }

    /// kubeadm's limits: a tenth address for DNS, 20 bits of Services (`--service-cluster-ip-range`), and a range for
    /// each node's pods (`--node-cidr-mask-size`: 24 bits of IPv4, 64 of IPv6).
    fn sizes(&mut self) {
        let network = &self.cloud.network;
        let (Ok(pods), Ok(services)) = (Range::cidr(&network.pods), Range::cidr(&network.services)) else {
            return;
        };
        if pods.is_v4() != services.is_v4() {
            let message = "pods and Services have addresses of different families".to_owned();
            self.add(1229, &["network"], message, "write both as IPv4, or both as IPv6");
            return;
        }
        self.families(&pods);
        if !(4..=20).contains(&services.bits()) {
            let message = format!("`services` ({}) must hold 16 to 1,048,576 addresses", network.services);
            self.add(1235, &["network", "services"], message, "a `/16` is usual");
        }
        let each = if pods.is_v4() { 8 } else { 64 };
        let nodes = pods.bits().checked_sub(each).map_or(0, |bits| 1_u128 << bits.min(100));
        let hosts = self.cloud.hosts.len().max(1);
        if nodes < hosts as u128 {
            let message = format!(
                "`pods` ({}) has ranges for {nodes} nodes, and the cloud has {hosts}: each takes a `/{}`",
                network.pods,
                if pods.is_v4() { 24 } else { 64 }
            );
            self.add(1235, &["network", "pods"], message, "a `/16` is usual");
        }
    }

    /// Hosts and pools have addresses of the same family as pods: others reach nobody.
    fn families(&mut self, pods: &Range) {
        let family = |v4: bool| if v4 { "IPv4" } else { "IPv6" };
        let hint = "write all addresses as IPv4, or all as IPv6";
        for (index, host) in self.cloud.hosts.iter().enumerate() {
            let Some(Ok(address)) = host.address.as_deref().map(str::parse::<IpAddr>) else { continue };
            let unfit = Range::pool(&address.to_string()).is_ok_and(|one| texts::reachable(&one).is_err());
            if address.is_ipv4() != pods.is_v4() && !unfit {
                let path = ["hosts", &index.to_string(), "address"];
                let message = format!("the host {address} is not {}, and pods are", family(pods.is_v4()));
                self.add(1229, &path, message, hint);
            }
        }
        for (index, text) in self.cloud.network.load_balancer.iter().enumerate().take(MOST_POOLS) {
            if Range::pool(text).is_ok_and(|pool| pool.is_v4() != pods.is_v4()) {
                let path = ["network", "loadBalancer", &index.to_string()];
                let message = format!("the pool {text} is not {}, and Services are", family(pods.is_v4()));
                self.add(1229, &path, message, hint);
            }
        }
    }

    /// More copies of a volume than hosts with devices can never be.
    fn replicas(&mut self) {
        let with_devices = self.cloud.present_hosts().filter(|(_, host)| !host.devices.is_empty()).count();
        if let Some(replicas) = self.cloud.storage.replicas
            && with_devices > 0
            && replicas as usize > with_devices
        {
            let message = format!("{replicas} replicas on {with_devices} hosts with devices");
            let hint = "each copy of a volume is on a host of its own: name devices of more hosts, or fewer replicas";
            self.add(1237, &["storage", "replicas"], message, hint);
        }
    }

    /// Patches are JSON patches (RFC 6902).
    fn patches(&mut self) {
        for (name, config) in &self.cloud.components {
            for (index, patch) in config.patches.iter().enumerate() {
                for (number, operation) in patch.patch.iter().enumerate() {
                    let parsed = serde_json::from_value::<json_patch::PatchOperation>(operation.clone());
                    let Err(error) = parsed else { continue };
                    let (index, number) = (index.to_string(), number.to_string());
                    let path = ["components", name.as_str(), "patches", &index, "patch", &number];
                    let message = format!("not an operation of a JSON patch: {error}");
                    let hint = "write it like `{ op: replace, path: /spec/replicas, value: 2 }` (RFC 6902)";
                    self.add(2009, &path, message, hint);
                }
            }
        }
    }

    /// Keys that nothing reads beside others.
    fn unused(&mut self) {
        let Cloud { hosts, kubernetes, network, .. } = self.cloud;
        let existing = kubernetes.provider == Provider::Existing;
        if existing {
            let with = "`kubernetes.provider: existing`";
            if !hosts.is_empty() {
                self.warn(&["hosts"], "hosts are not used", with, "remove `hosts`, or the provider");
            }
            for key in ["endpoint"].into_iter().chain(raw::MERGED) {
                let what = format!("`{key}` is not used");
                self.warn(&["kubernetes", key], &what, with, "who made the cluster settles that: remove it");
            }
        } else if network.proxy_mode == ProxyMode::Cilium {
            let hint = "remove it, or take `proxyMode: nftables` or `iptables`";
            self.warn(&["kubernetes", "kubeProxy"], "`kubeProxy` is not used", "`proxyMode: cilium`", hint);
        }
        if network.announce == Announce::None && !network.load_balancer.is_empty() {
            let hint = "nobody would announce its addresses: remove it, or take `announce: l2` or `bgp`";
            self.warn(&["network", "loadBalancer"], "`loadBalancer` is not used", "`announce: none`", hint);
        }
        if !existing && hosts.iter().all(|host| host.devices.is_empty()) {
            let hint = "name `devices` of hosts, or remove it";
            self.warn(&["storage", "replicas"], "`replicas` is not used", "hosts without devices", hint);
        }
        for (index, _) in hosts.iter().enumerate().filter(|(_, host)| host.local) {
            for key in ["user", "port"] {
                let what = format!("`{key}` is not used");
                let path = ["hosts", &index.to_string(), key];
                self.warn(&path, &what, "`local: true`", "this machine is worked on without SSH: remove it");
            }
        }
    }

    /// Warns of a key that is there, and that nothing reads.
    fn warn(&mut self, path: &[&str], what: &str, with: &str, hint: &str) {
        let Some((key, above)) = path.split_last() else { return };
        let Some(key) = self.root.at(above.iter().copied()).key(key) else { return };
        if self.findings.len() < MOST {
            let finding = Finding::error(1220, format!("{what} with {with}"));
            self.findings.push(finding.on(self.source, key.range.clone()).hinted(hint).warning());
        }
    }

    fn servers(&mut self) {
        let existing = self.cloud.kubernetes.provider == Provider::Existing;
        let servers = self.cloud.servers();
        if existing {
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

/// What a host has one taint of: its key and effect.
fn key_and_effect(taint: &str) -> (&str, &str) {
    let (rest, effect) = taint.rsplit_once(':').unwrap_or((taint, ""));
    (rest.split('=').next().unwrap_or_default(), effect)
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
