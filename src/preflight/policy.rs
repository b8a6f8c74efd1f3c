//! Checks of what else has a say on a host: its security modules, Secure Boot,
//! and proxies that its services use.

use std::net::IpAddr;

use super::{Finding, Findings, Seen, Wanted};
use crate::model::ranges::Range;

/// Kernel modules that come from outside the kernel, and are signed by whoever built them.
const UNSIGNED: &[&str] = &["drbd", "nvidia"];

pub(super) fn check(wanted: &Wanted<'_>, host: &Seen) -> Vec<Finding> {
    let mut findings = Findings::of(host);
    security(wanted, host, &mut findings);
    if host.facts.cozy.is_empty() {
        proxies(wanted, host, &mut findings);
    }
    findings.all
}

fn security(wanted: &Wanted<'_>, host: &Seen, findings: &mut Findings<'_>) {
    let facts = &host.facts;
    if facts.selinux == "Enforcing" {
        let fix = "nothing, if all gets ready; else `setenforce 0` and SELINUX=permissive in /etc/selinux/config, or the package container-selinux and `enable_selinux` in `kubernetes.containerd`";
        let words =
            ["SELinux", "it enforces", "permissive: what pods and components mount is not labelled", fix];
        findings.warning("security", words.map(str::to_owned));
    }
    if facts.apparmor == "noparser" {
        let fix = "install the package apparmor";
        let words = ["AppArmor", "it is on, and apparmor_parser is missing", "both, or none", fix];
        findings.warning("security", words.map(str::to_owned));
    }
    for (module, who) in wanted.modules() {
        let loaded = facts.modules.get(module).is_some_and(|state| state == "present");
        if facts.secure_boot && !loaded && UNSIGNED.contains(&module) {
            let fix = format!(
                "enrol the key that {module} is signed with (mokutil --import), or turn Secure Boot off in the firmware"
            );
            let words = [
                format!("Secure Boot, with module {module} for {who}"),
                "it is on: a module that is not signed with a known key is not loaded".to_owned(),
                format!("{module} loaded, or Secure Boot off"),
                fix,
            ];
            findings.warning("security", words);
        }
    }
}

/// Services that are started with a proxy in their environment use it for the cluster's own traffic, too, unless told
/// what not to use it for. kubeadm gives it on to the control plane.
fn proxies(wanted: &Wanted<'_>, host: &Seen, findings: &mut Findings<'_>) {
    let value = |key: &str| {
        let mut pairs = host.facts.proxies.iter().filter_map(|line| line.split_once('='));
        pairs
            .find(|(name, value)| name.eq_ignore_ascii_case(key) && !value.is_empty())
            .map(|(_, value)| value)
    };
    let Some(proxy) = value("https_proxy").or_else(|| value("http_proxy")) else { return };
    let except = value("no_proxy").unwrap_or_default();
    let network = &wanted.cloud.network;
    let addresses = wanted.cloud.present_hosts().filter_map(|(_, host)| host.address.clone());
    let needed: Vec<String> = addresses
        .chain([network.pods.clone(), network.services.clone()])
        .filter(|one| !covers(except, one))
        .collect();
    if needed.is_empty() {
        return;
    }
    let fix = format!(
        "add to NO_PROXY there (DefaultEnvironment in /etc/systemd/system.conf): {}",
        needed.join(",")
    );
    // Names and passwords may stand before the host.
    let shown = proxy.rsplit('@').next().unwrap_or_default();
    let words = [
        "proxy of the host's services".to_owned(),
        format!("{shown}, also for {}", needed.join(", ")),
        "no proxy between hosts, pods and Services".to_owned(),
        fix,
    ];
    findings.error("proxy", words);
}

/// Whether `NO_PROXY` names an address or a range, as Go reads it.
fn covers(except: &str, wanted: &str) -> bool {
    let range = |text: &str| Range::cidr(text).or_else(|_| Range::pool(text)).ok();
    except.split(',').map(str::trim).any(|entry| {
        if entry == "*" || entry.eq_ignore_ascii_case(wanted) {
            return true;
        }
        match (range(entry), range(wanted)) {
            (Some(entry), Some(wanted)) => entry.contains(&wanted),
            _ => {
                wanted.parse::<IpAddr>().is_err()
                    && !entry.is_empty()
                    && wanted.ends_with(&format!(".{}", entry.trim_start_matches('.')))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn no_proxy_is_read_as_go_reads_it() {
        let except = "localhost, 10.0.0.0/24,10.42.0.0/15, .example.org";
        for inside in ["10.0.0.7", "10.42.0.0/16", "10.43.0.0/16", "h1.example.org"] {
            assert!(covers(except, inside), "{inside}");
        }
        for outside in ["10.0.1.7", "10.44.0.0/16", "example.com", "10.40.0.0/13"] {
            assert!(!covers(except, outside), "{outside}");
        }
        assert!(covers("*", "10.0.1.7") && !covers("", "10.0.1.7"));
    }
}
