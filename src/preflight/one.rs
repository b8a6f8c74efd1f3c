//! Checks that look at one host alone.

use super::{
    Finding, Findings, PORTS_OF_ALL, PORTS_OF_KUBE_PROXY, PORTS_OF_SERVERS, RENAME, Seen, Wanted, size,
};
use crate::model::cloud::{ProxyMode, Role};
use crate::model::names::is_dns_label;

/// Distributions that are supported, with their oldest version.
const SUPPORTED: &[(&str, u32)] = &[
    ("debian", 12),
    ("ubuntu", 22),
    ("rhel", 9),
    ("rocky", 9),
    ("almalinux", 9),
    ("centos", 9),
    ("ol", 9),
    ("fedora", 40),
    ("sles", 15),
    ("opensuse-leap", 15),
    ("opensuse-tumbleweed", 0),
];

/// The least free space in a folder, in KiB: images and pods need most, as kubelet
/// evicts below 15 %.
const SPACE: &[(&str, u64)] =
    &[("/var/lib", 20 << 20), ("/usr/local/bin", 1 << 20), ("/opt", 512 << 10), ("/etc", 64 << 10)];

/// The slowest small write that etcd bears: its documentation asks for a
/// 99th percentile below 10 ms; heartbeats are lost at about 100 ms.
const SLOW_SYNC: u64 = 10_000;
const TOO_SLOW_SYNC: u64 = 100_000;

pub(super) fn check(wanted: &Wanted<'_>, host: &Seen) -> Vec<Finding> {
    let mut findings = Findings::of(host);
    system(host, &mut findings);
    hardware(wanted, host, &mut findings);
    kernel(wanted, host, &mut findings);
    software(wanted, host, &mut findings);
    storage(host, &mut findings);
    devices(wanted, host, &mut findings);
    findings.all
}

fn system(host: &Seen, findings: &mut Findings<'_>) {
    let facts = &host.facts;
    let like = |id: &str| facts.os == id || facts.os_like.split_whitespace().any(|like| like == id);
    let oldest = SUPPORTED.iter().find(|(id, _)| *id == facts.os);
    let major = facts.os_version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    let expected =
        "Debian 12, Ubuntu 22.04, RHEL 9 or a rebuild, SLES or openSUSE Leap 15, or newer".to_owned();
    let name = if facts.os_name.is_empty() { "an unknown system".to_owned() } else { facts.os_name.clone() };
    match oldest {
        Some((_, oldest)) if major.is_none_or(|major| major >= *oldest) => {}
        Some(_) => {
            let fix = "upgrade the distribution, or use another server".to_owned();
            findings.error("os", ["distribution".to_owned(), name, expected, fix]);
        }
        None if SUPPORTED.iter().any(|(id, _)| like(id)) => {
            let fix = "nothing, if it works: it is like a supported one, and not tested".to_owned();
            findings.warning("os", ["distribution".to_owned(), name, expected, fix]);
        }
        None => {
            let fix = "use a supported distribution".to_owned();
            findings.error("os", ["distribution".to_owned(), name, expected, fix]);
        }
    }
    if facts.architecture().is_none() {
        let words = ["architecture", &facts.arch, "x86_64 or aarch64", "use another server"];
        findings.error("arch", words.map(str::to_owned));
    }
    if facts.systemd.is_empty() {
        let words = ["init system", "systemd does not run", "systemd", "use a distribution with systemd"];
        findings.error("systemd", words.map(str::to_owned));
    }
    if !is_dns_label(&host.node_name()) {
        let expected = "lower-case letters, digits and `-`".to_owned();
        let observed = format!("`{}`", facts.hostname);
        findings.error("hostname", ["name as a node".to_owned(), observed, expected, RENAME.to_owned()]);
    }
}

fn hardware(wanted: &Wanted<'_>, host: &Seen, findings: &mut Findings<'_>) {
    let facts = &host.facts;
    // kubeadm refuses control planes with less than 1700 MB and 2 CPUs.
    let (memory, role) = match host.role {
        Role::Server => (1_700_000_000 / 1024, "a server"),
        Role::Agent => (900_000_000 / 1024, "an agent"),
    };
    if facts.memory < memory {
        let expected = format!("at least {} for {role}", size(memory));
        let words = ["memory".to_owned(), size(facts.memory), expected, "give it more memory".to_owned()];
        findings.error("memory", words);
    }
    if host.role == Role::Server && facts.cpus < 2 {
        let words =
            ["processors", &facts.cpus.to_string(), "at least 2 for a server", "give it more processors"];
        findings.error("cpus", words.map(str::to_owned));
    }
    if facts.cgroup != 2 {
        let fix = "boot with `systemd.unified_cgroup_hierarchy=1`".to_owned();
        let observed = format!("version {}", facts.cgroup);
        findings.error("cgroup", ["control groups".to_owned(), observed, "version 2".to_owned(), fix]);
    }
    // Whoever lets kubelets start with swap knows of it.
    let refuses = wanted.cloud.kubernetes.kubelet.get("failSwapOn") != Some(&serde_json::Value::Bool(false));
    if facts.swap > 0 && refuses {
        let fix = "swapoff -a, and take swap out of /etc/fstab and systemd's swap units".to_owned();
        let observed = format!("{} of swap are in use", size(facts.swap));
        let expected = "none: kubelet refuses to start with swap".to_owned();
        findings.error("swap", ["swap".to_owned(), observed, expected, fix]);
    }
}

fn kernel(wanted: &Wanted<'_>, host: &Seen, findings: &mut Findings<'_>) {
    let facts = &host.facts;
    for (module, who) in wanted.modules() {
        if facts.modules.get(module).is_none_or(|state| state == "missing") {
            let fix = format!(
                "install the package with the kernel's modules (linux-modules-extra, kernel-modules), or {}",
                if module == "drbd" { "drbd-dkms with the kernel's headers" } else { "another kernel" }
            );
            let words = [
                format!("kernel module for {who}"),
                format!("{module} is missing"),
                "there, or loadable".to_owned(),
                fix,
            ];
            findings.error("modules", words);
        }
    }
    for (who, required) in &wanted.required {
        if let Some(oldest) = &required.min_kernel
            && version(&facts.kernel) < version(oldest)
        {
            let fix = "install a newer kernel, and reboot".to_owned();
            findings.error(
                "kernel",
                [format!("kernel for {who}"), facts.kernel.clone(), format!("{oldest} or newer"), fix],
            );
        }
        if required.virtualization && !facts.kvm {
            let observed = if facts.virtualization.is_empty() {
                "the processor offers none".to_owned()
            } else {
                "/dev/kvm is missing".to_owned()
            };
            let fix = "turn it on in the firmware (or nested virtualization at the hypervisor), and load kvm_intel or kvm_amd";
            let words = [
                format!("virtualization for {who}"),
                observed,
                "vmx or svm, and /dev/kvm".to_owned(),
                fix.to_owned(),
            ];
            findings.error("virtualization", words);
        }
    }
    for (name, least) in [
        ("fs.inotify.max_user_instances", 512_u64),
        ("fs.inotify.max_user_watches", 65_536),
        ("fs.file-max", 100_000),
    ] {
        let Some(value) = facts.sysctls.get(name).and_then(|value| value.parse::<u64>().ok()) else {
            continue;
        };
        if value < least {
            let set = format!("sysctl -w {name}={least}");
            findings.warning(
                "limits",
                [
                    format!("kernel setting {name}"),
                    value.to_string(),
                    format!("at least {least}"),
                    set.clone(),
                ],
            );
            findings.mended_by(format!(
                "{set} && printf '%s = %s\\n' {name} {least} >/etc/sysctl.d/80-{name}.conf"
            ));
        }
    }
}

/// The numbers of a version, for comparison.
fn version(text: &str) -> Vec<u32> {
    text.split(|c: char| !c.is_ascii_digit()).take(2).map(|part| part.parse().unwrap_or_default()).collect()
}

fn software(wanted: &Wanted<'_>, host: &Seen, findings: &mut Findings<'_>) {
    let facts = &host.facts;
    for program in &facts.lacks {
        // Only kube-proxy calls it.
        if program == "conntrack" && wanted.cloud.network.proxy_mode == ProxyMode::Cilium {
            continue;
        }
        let package = package(program, &facts.os, &facts.os_like);
        let install = if facts.os_like.contains("suse") || facts.os.contains("suse") || facts.os == "sles" {
            format!("zypper --non-interactive install {package}")
        } else if facts.os_like.contains("rhel")
            || facts.os_like.contains("fedora")
            || matches!(facts.os.as_str(), "rhel" | "fedora")
        {
            format!("dnf install -y {package}")
        } else {
            format!("apt-get install -y {package}")
        };
        let words = [
            "base program".to_owned(),
            format!("`{program}` is missing"),
            "there".to_owned(),
            install.clone(),
        ];
        findings.error("packages", words);
        findings.mended_by(mending(&install));
    }
    for rule in &facts.firewall {
        let fix = match rule.split(' ').next() {
            Some("ufw") => "ufw disable, or allow the hosts and the pods' range there".to_owned(),
            Some("firewalld") => "systemctl disable --now firewalld, or put the hosts and the pods' range into its trusted zone".to_owned(),
            _ => "take the rule out, or allow the hosts' addresses and the pods' range before it".to_owned(),
        };
        let words = [
            "firewall".to_owned(),
            rule.clone(),
            "nothing that drops what hosts and pods send".to_owned(),
            fix,
        ];
        findings.warning("firewall", words);
    }
    if !facts.cozy.is_empty() && facts.cozy != wanted.cloud.name.as_str() {
        let fix = format!(
            "if cloud {} needs it no more: `cozy uninstall --hosts` with that cloud's cozy.yaml; else take the host out of this one",
            facts.cozy
        );
        let words = [
            "leftovers".to_owned(),
            format!("it belongs to cloud {}", facts.cozy),
            "a fresh server".to_owned(),
            fix,
        ];
        findings.error("leftovers", words);
        return;
    }
    if !facts.cozy.is_empty() {
        // Its own kubelet, containerd and ports are what is to be found there.
        return;
    }
    for leftover in &facts.leftovers {
        let fix = if leftover.starts_with("/etc/kubernetes")
            || leftover.starts_with("/var/lib/kubelet")
            || leftover.starts_with("/var/lib/etcd")
        {
            "if nothing needs it any more: kubeadm reset, then remove /etc/kubernetes, /var/lib/kubelet, /var/lib/etcd and /etc/cni".to_owned()
        } else if leftover.starts_with("/etc/cni") {
            format!("if nothing needs it any more: rm {leftover}")
        } else if leftover.contains("rancher") {
            "if nothing needs it any more: k3s-uninstall.sh or rke2-uninstall.sh".to_owned()
        } else {
            format!(
                "if nothing needs it any more: stop its service, and remove the package or file of {leftover}"
            )
        };
        let words =
            ["leftovers".to_owned(), format!("{leftover} is there"), "a fresh server".to_owned(), fix];
        findings.error("leftovers", words);
    }
    ports(wanted, host, findings);
}

fn ports(wanted: &Wanted<'_>, host: &Seen, findings: &mut Findings<'_>) {
    let own = match host.role {
        Role::Server => PORTS_OF_SERVERS,
        Role::Agent => &[],
    };
    let proxy: &[_] = match wanted.cloud.network.proxy_mode {
        ProxyMode::Cilium => &[],
        ProxyMode::Nftables | ProxyMode::Iptables => PORTS_OF_KUBE_PROXY,
    };
    for (protocol, port, whose) in PORTS_OF_ALL.iter().chain(proxy).chain(own) {
        let taken = host.facts.ports.iter().find_map(|line| {
            let mut words = line.split(' ');
            let same = words.next() == Some(protocol)
                && words.next().and_then(|address| address.rsplit(':').next()) == Some(&port.to_string());
            same.then(|| words.next().unwrap_or_default())
        });
        if let Some(who) = taken {
            let who = if who.is_empty() { "something".to_owned() } else { format!("`{who}`") };
            let fix = format!("stop {who}, or move it to another port");
            let words = [
                format!("port {port}/{protocol} of {whose}"),
                format!("taken by {who}"),
                "free".to_owned(),
                fix,
            ];
            findings.error("ports", words);
        }
    }
}

/// The script that installs a package. Fresh servers may not know yet what there is, or be at their own upgrades: apt
/// waits for the lock of dpkg by itself (`DPkg::Lock::Timeout`), and for that of its lists not.
fn mending(install: &str) -> String {
    let Some(packages) = install.strip_prefix("apt-get install -y ") else { return install.to_owned() };
    let apt = "apt-get -q -o DPkg::Lock::Timeout=120";
    format!(
        "export DEBIAN_FRONTEND=noninteractive LC_ALL=C; end=$(($(date +%s) + 120)); \
         {apt} install -y {packages} || {{ until said=$({apt} update 2>&1); do \
         case $said in *'Could not get lock'*) [ $(date +%s) -lt $end ] && sleep 2 && continue ;; esac; \
         echo \"$said\" >&2; exit 1; done; {apt} install -y {packages}; }}"
    )
}

/// The package that brings a program.
fn package<'a>(program: &'a str, os: &str, like: &str) -> &'a str {
    let debian = os == "debian" || os == "ubuntu" || like.contains("debian");
    match program {
        "awk" if debian => "mawk",
        "awk" => "gawk",
        "conntrack" if !debian => "conntrack-tools",
        "ip" if debian => "iproute2",
        "ip" => "iproute",
        "modprobe" => "kmod",
        "mount" | "nsenter" if debian => "util-linux mount",
        "mount" | "nsenter" => "util-linux",
        "sha256sum" => "coreutils",
        "systemd-run" => "systemd",
        other => other,
    }
}

fn storage(host: &Seen, findings: &mut Findings<'_>) {
    let facts = &host.facts;
    for line in &facts.unwritable {
        let (folder, why) = line.split_once(": ").unwrap_or((line, "no file can be made there"));
        let fix = format!("remount it writable; if its disk failed, `dmesg` says so: {folder}");
        let words = [format!("folder {folder}"), why.to_owned(), "writable by root".to_owned(), fix];
        findings.error("writable", words);
    }
    for line in &facts.space {
        let mut words = line.split(' ');
        let (Some(folder), Some(free)) =
            (words.next(), words.next().and_then(|free| free.parse::<u64>().ok()))
        else {
            continue;
        };
        let Some((_, least)) = SPACE.iter().find(|(known, _)| *known == folder) else { continue };
        // On one that is ours images and logs are what takes it.
        let ours = !facts.cozy.is_empty();
        if free < *least {
            let mount = words.next().unwrap_or("/");
            let fix = format!("free space on {mount}, or put a larger disk there");
            let words = [
                format!("space under {folder}"),
                format!("{} free", size(free)),
                format!("at least {}", size(*least)),
                fix,
            ];
            if ours && free >= least / 10 {
                findings.warning("disk-space", words);
            } else {
                findings.error("disk-space", words);
            }
        }
    }
    if host.role == Role::Server && facts.sync > SLOW_SYNC {
        let words = [
            "small writes to /var/lib, as etcd makes them".to_owned(),
            format!("{} ms each", facts.sync / 1000),
            format!("at most {} ms", SLOW_SYNC / 1000),
            "put /var/lib/etcd on an SSD or NVMe disk".to_owned(),
        ];
        // On one that is ours already something may be at work that makes it slow.
        if facts.sync > TOO_SLOW_SYNC && facts.cozy.is_empty() {
            findings.error("disk-speed", words);
        } else {
            findings.warning("disk-speed", words);
        }
    }
}

fn devices(wanted: &Wanted<'_>, host: &Seen, findings: &mut Findings<'_>) {
    let facts = &host.facts;
    for (who, required) in &wanted.required {
        if (host.devices.len() as u64) < u64::from(required.disks) {
            let fix = "name blank disks of this host under `devices:` in cozy.yaml".to_owned();
            let words = [
                format!("disks for {who}"),
                format!("{} named", host.devices.len()),
                format!("at least {}", required.disks),
                fix,
            ];
            findings.error("devices", words);
        }
    }
    for line in &facts.devices {
        let mut words = line.split_whitespace();
        let (Some(path), Some(real)) = (words.next(), words.next()) else { continue };
        let (observed, fix) = if real == "missing" {
            (
                "it is not there".to_owned(),
                "mend `devices:`; `ls -l /dev/disk/by-id` shows what is there".to_owned(),
            )
        } else {
            match words.next() {
                Some("disk" | "part" | "lvm" | "mpath" | "raid0" | "raid1" | "raid10") => continue,
                kind => (
                    format!("it is a {}", kind.unwrap_or("thing of no kind")),
                    "name a whole disk".to_owned(),
                ),
            }
        };
        findings.error("devices", [format!("device {path}"), observed, "a blank disk".to_owned(), fix]);
    }
    for line in &facts.device_use {
        let (path, usage) = line.split_once(' ').unwrap_or((line, "is in use"));
        let fix = format!("cozy never formats it; if nothing on it is needed: wipefs --all {path}");
        findings.error(
            "devices",
            [format!("device {path}"), format!("it {usage}"), "a blank disk".to_owned(), fix],
        );
    }
}
