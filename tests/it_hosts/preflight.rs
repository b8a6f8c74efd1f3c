//! Preflight on hosts that are not as they must be.

use std::process::{Command, Output};

use serde_json::Value;

use crate::bed::Bed;
use crate::{LACKS, THREE, connections, text};

fn cloud(bed: &Bed, hosts: &str) -> String {
    let path = bed.path("cozy.yaml");
    let text = format!(
        "apiVersion: cozy/v1\nkind: Cloud\nname: bed\nbundle: edge\nhosts:\n{hosts}network: {{ loadBalancer: [10.98.0.200-10.98.0.220] }}\n"
    );
    fs_err::write(&path, text).unwrap();
    path
}

fn preflight(bed: &Bed, file: &str, more: &[&str]) -> Output {
    let arguments: Vec<&str> = ["preflight", "-f", file]
        .into_iter()
        .chain(LACKS.iter().copied())
        .chain(more.iter().copied())
        .collect();
    bed.cozy(&arguments)
}

/// Findings that are errors, as `HOST CHECK: CHECKED: OBSERVED`.
fn errors(output: &Output) -> Vec<String> {
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["schema"], "cozy/v1/preflight");
    let findings = document["findings"].as_array().unwrap();
    let word = |found: &Value, key: &str| found[key].as_str().unwrap().to_owned();
    for found in findings {
        assert!(!word(found, "fix").is_empty() && !word(found, "expected").is_empty(), "{found}");
    }
    findings
        .iter()
        .filter(|found| found["level"] == "error")
        .map(|found| {
            let [host, check, checked, observed] =
                ["host", "check", "checked", "observed"].map(|key| word(found, key));
            format!("{host} {check}: {checked}: {observed}")
        })
        .collect()
}

#[test]
fn three_fresh_servers_pass_once_their_keys_are_known() {
    let bed = Bed::boot(3);
    let file = cloud(&bed, THREE);
    let output = preflight(&bed, &file, &["-o", "json"]);
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(
        errors(&output),
        ["10.98.0.21", "10.98.0.22", "10.98.0.23"]
            .map(|host| format!("{host} ssh: connection: its host key is not known yet [C5014]"))
    );
    let output = preflight(&bed, &file, &["--accept-new-host-keys"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    // Keys are stored now; the one of h3 changes.
    bed.on(3, "rm /etc/ssh/ssh_host_*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key; systemctl restart ssh");
    let output = preflight(&bed, &file, &["-o", "json", "--accept-new-host-keys"]);
    assert_eq!(errors(&output), ["10.98.0.23 ssh: connection: its host key has changed [C5015]"]);
    // No connection stays behind.
    assert_eq!(connections(&bed), Vec::<String>::new());
    // The API must be reached from here, too; firewalls of others may let SSH in alone.
    let closed = "nft 'add table ip t; add chain ip t in { type filter hook input priority 0; }; add rule ip t in ip saddr 10.98.0.1 tcp dport 6443 drop'";
    let file = cloud(&bed, "  - { address: 10.98.0.21, role: server }\n  - { address: 10.98.0.22 }\n");
    bed.on(1, closed);
    let output = preflight(&bed, &file, &["-o", "json"]);
    assert_eq!(
        errors(&output),
        ["cluster api: way from this machine to the API servers: no answer from 10.98.0.21:6443"]
    );
    assert_eq!(output.status.code(), Some(4));
}

#[test]
fn twelve_faults_are_found_in_one_run_each_with_its_fix() {
    let bed = Bed::boot(4);
    let file = cloud(
        &bed,
        &format!("{THREE}  - {{ address: 10.98.0.24, user: guest }}\n  - {{ address: 10.98.0.29 }}\n"),
    );
    bed.on(1, "systemd-run --unit=busy socat TCP-LISTEN:6443,fork /dev/null");
    bed.on(1, "mkdir -p /etc/kubernetes /etc/cni/net.d; touch /etc/kubernetes/kubelet.conf /etc/cni/net.d/10-other.conflist");
    bed.on(1, "mount -t tmpfs -o size=100m tmpfs /opt");
    bed.on(2, "hostname h1; mv /usr/sbin/iptables /usr/sbin/iptables.away");
    let id = bed.on(1, "cat /etc/machine-id");
    bed.on(2, &format!("echo {} >/etc/machine-id", id.trim()));
    bed.on(3, ": >/etc/machine-id; echo nameserver 192.0.2.1 >/etc/resolv.conf");
    bed.on(3, "nft 'add table ip t; add chain ip t in { type filter hook input priority 0; }; add rule ip t in tcp dport 2380 drop'");
    bed.on(3, "mount --bind /usr/local/bin /usr/local/bin; mount -o remount,bind,ro /usr/local/bin");
    bed.on(3, "sed 's/^SwapTotal:.*/SwapTotal: 1048572 kB/' /proc/meminfo >/run/meminfo; mount --bind /run/meminfo /proc/meminfo");
    let arguments = ["preflight", "-f", &file, "-o", "json", "--accept-new-host-keys"];
    let output = bed.cozy(&[&arguments[..], &["--skip-check", "cgroup", "--skip-check", "modules"]].concat());
    assert_eq!(output.status.code(), Some(4));
    let found: Vec<String> =
        errors(&output).into_iter().filter(|found| !found.contains("space under /var/lib")).collect();
    insta::assert_snapshot!(found.join("\n"), @"
        10.98.0.21 disk-space: space under /opt: 100 MiB free
        10.98.0.21 hostname: name as a node: `h1`, as 10.98.0.22 is called, too
        10.98.0.21 leftovers: leftovers: /etc/cni/net.d/10-other.conflist is there
        10.98.0.21 leftovers: leftovers: /etc/kubernetes/kubelet.conf is there
        10.98.0.21 machine-id: machine id: the same as that of 10.98.0.22
        10.98.0.21 peers: way to 10.98.0.23: no answer on port 2380
        10.98.0.21 peers: way to 10.98.0.29: no route to host on ports 4240, 4244, 10250
        10.98.0.21 ports: port 6443/tcp of the API server: taken by `socat`
        10.98.0.22 hostname: name as a node: `h1`, as 10.98.0.21 is called, too
        10.98.0.22 machine-id: machine id: the same as that of 10.98.0.21
        10.98.0.22 packages: base program: `iptables` is missing
        10.98.0.22 peers: way to 10.98.0.23: no answer on port 2380
        10.98.0.22 peers: way to 10.98.0.29: no route to host on ports 4240, 4244, 10250
        10.98.0.23 dns: name servers: 192.0.2.1 did not answer within 4 s
        10.98.0.23 machine-id: machine id: none
        10.98.0.23 peers: way to 10.98.0.29: no route to host on ports 4240, 4244, 10250
        10.98.0.23 swap: swap: 1023 MiB of swap are in use
        10.98.0.23 writable: folder /usr/local/bin: Read-only file system
        10.98.0.24 ssh: rights of root: `sudo` without a password is refused for `guest`: sudo: a password is required [C5018]
        10.98.0.29 ssh: connection: it cannot be reached: no route to host [C5013]
    ");
    assert!(text(&output.stdout).contains("in: tcp dport 2380 drop"), "{}", text(&output.stdout));
    // What can do no harm is mended; the next run does not find it any more.
    let output = preflight(&bed, &file, &["-o", "json", "--fix", "--yes"]);
    let said = text(&output.stderr);
    assert!(said.contains("fix     10.98.0.23: systemd-machine-id-setup"), "{said}");
    assert!(
        !errors(&output).iter().any(|found| found.starts_with("10.98.0.23 machine-id")),
        "{:?}",
        errors(&output)
    );
    // The others are mended as their findings say.
    bed.on(1, "systemctl stop busy; rm -r /etc/kubernetes /etc/cni; umount /opt");
    bed.on(2, "hostname h2; mv /usr/sbin/iptables.away /usr/sbin/iptables; rm /etc/machine-id; systemd-machine-id-setup");
    bed.on(3, "echo nameserver 10.98.0.1 >/etc/resolv.conf; nft delete table ip t; umount /usr/local/bin; umount /proc/meminfo");
    let file = cloud(&bed, THREE);
    let output = preflight(&bed, &file, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

#[test]
fn a_check_that_does_not_exist_cannot_be_skipped() {
    let output = Command::new(env!("CARGO_BIN_EXE_cozy"))
        .args(["preflight", "-f", "examples/edge.yaml", "--skip-check", "swop"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).starts_with("error[C7005]: there is no check `swop`"),
        "{}",
        text(&output.stderr)
    );
}
