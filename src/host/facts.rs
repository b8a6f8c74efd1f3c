//! What a host says of itself, gathered in one round trip by one script.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::{HostError, Trouble};
use super::quote;
use super::session::Session;

/// The script that gathers them.
const SCRIPT: &str = include_str!("facts.sh");

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a host is asked besides what it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Questions {
    /// Of a host that belongs to a cluster only what may keep a run from working on it.
    pub(crate) brief: bool,
    /// `ADDRESS:PORT` that it must reach.
    pub(crate) peers: Vec<String>,
    /// Kernel modules that must be there or loadable.
    pub(crate) modules: BTreeSet<String>,
    /// Block devices that are named for storage.
    pub(crate) devices: Vec<String>,
    /// `ADDRESS:PORT` of registries that images may come from.
    pub(crate) registries: Vec<String>,
    /// Addresses of its network that nobody should have.
    pub(crate) pool: Vec<String>,
}

/// What a host says of itself. What it did not say is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Facts {
    /// `debian`, as in os-release's `ID`.
    pub(crate) os: String,
    /// The distributions that it is like.
    pub(crate) os_like: String,
    /// `12`.
    pub(crate) os_version: String,
    /// For people.
    pub(crate) os_name: String,
    /// `6.1.0-18-amd64`.
    pub(crate) kernel: String,
    /// `x86_64`, as `uname -m` prints it.
    pub(crate) arch: String,
    /// systemd's version, where it runs.
    pub(crate) systemd: String,
    /// The kernel's host name.
    pub(crate) hostname: String,
    /// `/etc/machine-id`.
    pub(crate) machine_id: String,
    /// Interfaces with their addresses, `eth0 10.0.0.11/24`.
    pub(crate) addresses: Vec<String>,
    /// The default route.
    pub(crate) route: String,
    /// Interfaces to which routers announce default routes that the kernel takes only as long as it does not forward.
    pub(crate) announced: Vec<String>,
    /// Its own address that it was reached at; empty: it is this machine.
    pub(crate) reached: String,
    /// The name servers that pods get.
    pub(crate) nameservers: Vec<String>,
    /// Whether they answer.
    pub(crate) dns: bool,
    /// How far its clock is ahead of ours, in seconds.
    pub(crate) clock_offset: i64,
    /// Memory in KiB.
    pub(crate) memory: u64,
    /// Swap in KiB.
    pub(crate) swap: u64,
    /// Processors.
    pub(crate) cpus: u64,
    /// The version of control groups.
    pub(crate) cgroup: u64,
    /// `vmx` or `svm`.
    pub(crate) virtualization: String,
    /// Whether there is `/dev/kvm`.
    pub(crate) kvm: bool,
    /// Whether Secure Boot is on.
    pub(crate) secure_boot: bool,
    /// `Enforcing`, `Permissive`, `Disabled`.
    pub(crate) selinux: String,
    /// `on`; `noparser`: on, and nothing loads profiles.
    pub(crate) apparmor: String,
    /// Proxies that services are started with, `HTTPS_PROXY=…`, without passwords.
    pub(crate) proxies: Vec<String>,
    /// Kernel settings.
    pub(crate) sysctls: BTreeMap<String, String>,
    /// Kernel modules: `present`, `loadable` or `missing`.
    pub(crate) modules: BTreeMap<String, String>,
    /// Programs that are not there.
    pub(crate) lacks: Vec<String>,
    /// Rules that drop what comes in, and firewalls that are active.
    pub(crate) firewall: Vec<String>,
    /// What listens: `tcp 0.0.0.0:22 sshd`.
    pub(crate) ports: Vec<String>,
    /// Files of other container runtimes, kubelets and pod networks.
    pub(crate) leftovers: Vec<String>,
    /// What cozy left there to know its own hosts by; empty: nothing.
    pub(crate) cozy: String,
    /// As what it joined its cluster, `server NAME ADDRESS`; empty: it belongs to none.
    pub(crate) joined: String,
    /// Folders that take no file, with why.
    pub(crate) unwritable: Vec<String>,
    /// Free KiB by folder, with the mount point.
    pub(crate) space: Vec<String>,
    /// How long a small write takes until it is on the disk, in microseconds.
    pub(crate) sync: u64,
    /// Named devices: path, real path, type, size; or `missing`.
    pub(crate) devices: Vec<String>,
    /// What is on named devices.
    pub(crate) device_use: Vec<String>,
    /// Peers that cannot be reached, with why.
    pub(crate) blocked: Vec<String>,
    /// Registries that cannot be reached, with why.
    pub(crate) no_registry: Vec<String>,
    /// Addresses of the pool that somebody has, with their hardware address.
    pub(crate) taken: Vec<String>,
}

impl Session {
    /// Gathers the facts of this host.
    pub(crate) async fn facts(&self, questions: &Questions) -> Result<Facts, HostError> {
        let words = |words: &mut dyn Iterator<Item = &String>| {
            words
                .map(String::as_str)
                .filter(|word| !word.contains(char::is_whitespace))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let script = format!(
            "brief={} peers={} modules={} devices={} registries={} pool={}\n{SCRIPT}",
            if questions.brief { "yes" } else { "" },
            quote(&words(&mut questions.peers.iter())),
            quote(&words(&mut questions.modules.iter())),
            quote(&words(&mut questions.devices.iter())),
            quote(&words(&mut questions.registries.iter())),
            quote(&words(&mut questions.pool.iter())),
        );
        let asked = Timestamp::now().as_second();
        let text = self.must("gathering facts", &script, &[], PATIENCE).await?;
        let facts = parse(&text, asked).map_err(|problem| self.error(Trouble::Unreadable(problem)))?;
        Ok(Facts { reached: self.reached().to_owned(), ..facts })
    }
}

/// Reads what the script printed. `asked`: our clock when it was started, in Unix seconds.
fn parse(text: &str, asked: i64) -> Result<Facts, String> {
    let mut facts = Facts::default();
    let mut ended = false;
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let pair: BTreeMap<String, String> =
            serde_json::from_str(line).map_err(|error| format!("{error} in `{line}`"))?;
        for (key, value) in pair {
            let value = value.trim().to_owned();
            ended |= key == "end";
            facts.take(&key, value, asked);
        }
    }
    if ended { Ok(facts) } else { Err("the script ended early".to_owned()) }
}

impl Facts {
    /// Takes one line; a key that is not known is left.
    fn take(&mut self, key: &str, value: String, asked: i64) {
        let number = |value: &str| value.parse::<u64>().unwrap_or_default();
        match key {
            "os" => self.os = value,
            "osLike" => self.os_like = value,
            "osVersion" => self.os_version = value,
            "osName" => self.os_name = value,
            "kernel" => self.kernel = value,
            "arch" => self.arch = value,
            "systemd" => self.systemd = value,
            "hostname" => self.hostname = value,
            "machineId" => self.machine_id = value,
            "address" => self.addresses.push(value),
            "route" => self.route = value,
            "announced" => self.announced.push(value),
            "nameserver" => self.nameservers.push(value),
            "dns" => self.dns = value == "answers",
            "clock" => self.clock_offset = value.parse::<i64>().map_or(0, |clock| clock - asked),
            "memory" => self.memory = number(&value),
            "swap" => self.swap = number(&value),
            "cpus" => self.cpus = number(&value),
            "cgroup" => self.cgroup = number(&value),
            "virtualization" => self.virtualization = value,
            "kvm" => self.kvm = true,
            "secureBoot" => self.secure_boot = value == "1",
            "selinux" => self.selinux = value,
            "apparmor" => self.apparmor = value,
            "proxy" => self.proxies.push(value),
            "sysctl" => insert(&mut self.sysctls, &value),
            "module" => insert(&mut self.modules, &value),
            "lacks" => self.lacks.push(value),
            "firewall" => self.firewall.push(value),
            "port" => self.ports.push(value),
            "leftover" => self.leftovers.push(value),
            "cozy" => self.cozy = value,
            "joined" => self.joined = value,
            "unwritable" => self.unwritable.push(value),
            "space" => self.space.push(value),
            "sync" => self.sync = number(&value),
            "device" => self.devices.push(value),
            "deviceUse" => self.device_use.push(value),
            "blocked" => self.blocked.push(value),
            "noRegistry" => self.no_registry.push(value),
            "taken" => self.taken.push(value),
            _ => {}
        }
    }

    /// The host's name without its domain, as a node's name.
    pub(crate) fn short_name(&self) -> String {
        self.hostname.split('.').next().unwrap_or_default().to_lowercase()
    }

    /// Its addresses without interfaces and prefix lengths.
    pub(crate) fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses
            .iter()
            .filter_map(|line| line.split_whitespace().nth(1)?.split('/').next()?.parse().ok())
    }

    /// The address that it has as a node where `cozy.yaml` gives a name: the one that it joined with, else the one that
    /// it was reached at, else one of the default route, else its first.
    pub(crate) fn own_address(&self) -> Option<IpAddr> {
        let has = |address: &IpAddr| self.ips().any(|own| own == *address);
        let after = |word: &str| {
            let mut words = self.route.split_whitespace().skip_while(|known| *known != word);
            words.nth(1)
        };
        let parsed = |text: &str| text.parse().ok().filter(has);
        let by_device = || {
            let device = format!("{} ", after("dev")?);
            let line = self.addresses.iter().find_map(|line| line.strip_prefix(&device))?;
            line.split('/').next()?.parse().ok()
        };
        let routed = || after("src").and_then(parsed).or_else(by_device);
        let joined = self.joined.rsplit(' ').next().and_then(parsed);
        joined.or_else(|| parsed(&self.reached)).or_else(routed).or_else(|| self.ips().next())
    }

    /// The architecture as releases call it: `amd64`, `arm64`.
    pub(crate) fn architecture(&self) -> Option<&'static str> {
        match self.arch.as_str() {
            "x86_64" => Some("amd64"),
            "aarch64" => Some("arm64"),
            _ => None,
        }
    }
}

fn insert(map: &mut BTreeMap<String, String>, pair: &str) {
    if let Some((name, value)) = pair.split_once('=') {
        map.insert(name.to_owned(), value.trim().to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Ssh, Target, Way};

    #[test]
    fn lines_become_facts_and_a_cut_answer_is_refused() {
        let text = "motd\n{\"os\":\"debian\"}\n{\"clock\":\"1060\"}\n{\"address\":\"eth0 10.0.0.11/24\"}\n{\"module\":\"overlay=present\"}\n{\"new\":\"key\"}\n{\"end\":\"\"}\n";
        let facts = parse(text, 1000).unwrap();
        assert_eq!((facts.os.as_str(), facts.clock_offset), ("debian", 60));
        assert_eq!(facts.ips().map(|ip| ip.to_string()).collect::<Vec<_>>(), ["10.0.0.11"]);
        assert_eq!(facts.modules["overlay"], "present");
        assert!(parse("{\"os\":\"debian\"}\n", 0).is_err());
        assert!(parse("{\"os\":\n", 0).is_err());
    }

    #[test]
    fn a_host_with_several_addresses_is_known_by_the_one_that_it_was_reached_at() {
        let addresses =
            ["docker0 172.17.0.1/16", "eth0 10.0.0.11/24", "eth1 192.168.1.5/24", "eth1 fd00::5/64"];
        let own = |route: &str, reached: &str| {
            let addresses = addresses.map(str::to_owned).to_vec();
            let facts =
                Facts { addresses, route: route.to_owned(), reached: reached.to_owned(), ..Facts::default() };
            facts.own_address().unwrap().to_string()
        };
        let route = "default via 10.0.0.1 dev eth0 proto dhcp src 10.0.0.11 metric 100";
        assert_eq!(own(route, "fd00::5"), "fd00::5");
        // Behind address translation it is none of its own.
        assert_eq!(own(route, "203.0.113.7"), "10.0.0.11");
        assert_eq!(own("default via 192.168.1.1 dev eth1", ""), "192.168.1.5");
        assert_eq!(own("", ""), "172.17.0.1");
        // One that belongs to a cluster is what it joined as, as long as it has that address.
        let joined = |joined: &str| {
            let text = "{\"address\":\"eth0 10.0.0.11/24\"}\n{\"address\":\"eth1 fd00::5/64\"}\n";
            let facts = parse(&format!("{text}{{\"joined\":\"{joined}\"}}\n{{\"end\":\"\"}}\n"), 0).unwrap();
            Facts { reached: "fd00::5".to_owned(), ..facts }.own_address().unwrap().to_string()
        };
        assert_eq!(joined("server h1 10.0.0.11"), "10.0.0.11");
        assert_eq!(joined("server h1 10.0.0.99"), "fd00::5");
    }

    #[tokio::test]
    async fn this_machine_says_what_it_is() {
        let ssh = Ssh { accept_new: false, config: None, patience: Duration::from_secs(5) };
        let target = Target { name: "here".to_owned(), way: Way::Local };
        let Ok(session) = Session::open(target, &ssh).await else { return };
        let questions = Questions {
            modules: ["overlay".to_owned(), "no_such_module".to_owned()].into(),
            devices: vec!["/dev/no-such-device".to_owned()],
            ..Questions::default()
        };
        let facts = session.facts(&questions).await.unwrap();
        assert!(!facts.kernel.is_empty() && facts.memory > 0 && facts.cpus > 0, "{facts:?}");
        assert_eq!(facts.modules["no_such_module"], "missing");
        assert_eq!(facts.devices, ["/dev/no-such-device missing"]);
        assert!(facts.clock_offset.abs() < 30, "{facts:?}");
    }
}
