//! Scripts run in a shell, on a host that is a folder.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::settings::Settings;
use super::tests::{cloud, nodes};
use super::{Site, scripts};

/// A host in a folder: what cozy and containerd keep is there, and programs do what a test wants of them. They find
/// the folder in `PLACE`.
pub(super) struct Host(tempfile::TempDir);

impl Host {
    pub(super) fn new(programs: &[(&str, &str)]) -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        fs_err::create_dir_all(host.path("cozy")).unwrap();
        for (name, script) in programs {
            host.program(name, script);
        }
        host
    }

    /// Puts a program in the place of the system's.
    pub(super) fn program(&self, name: &str, script: &str) {
        let path = self.write(&format!("bin/{name}"), &format!("#!/bin/sh\n{script}\n"));
        fs_err::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, text).unwrap();
        path
    }

    pub(super) fn read(&self, name: &str) -> String {
        fs_err::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Runs a script; one that does not end is ended.
    pub(super) fn run(&self, script: &str) -> Output {
        let place = self.0.path().to_str().unwrap();
        let script = PLACES
            .iter()
            .fold(script.to_owned(), |script, (from, to)| script.replace(from, &format!("{place}/{to}")));
        let script = format!("PLACE={place} PATH={place}/bin:$PATH; export PLACE\n{script}");
        let mut command = Command::new("timeout");
        command.args(["20", "sh", "-c", &script]).stdin(Stdio::null()).output().unwrap()
    }
}

/// What of this machine no script of a test may touch, and where it is in the folder.
const PLACES: [(&str, &str); 10] = [
    ("/var/lib/cozy", "cozy"),
    ("/etc/containerd", "containerd"),
    ("/etc/kubernetes", "kubernetes"),
    ("/etc/cni", "cni"),
    ("/etc/modules-load.d", "modules"),
    ("/etc/sysctl.d", "sysctl"),
    ("/proc/sys", "proc"),
    ("/root/.kube", "kube"),
    ("/sys/class/net", "links"),
    ("/sys/fs/bpf", "bpf"),
];

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_node_that_never_registers_ends_the_wait_for_it() {
    // Each look at the clock is 1000 s after the one before.
    let clock =
        "now=$(cat $PLACE/clock 2>/dev/null || echo 0)\necho $((now + 1000)) >$PLACE/clock\necho $now";
    let host = Host::new(&[("date", clock), ("kubectl", "exit 1")]);
    let output = host.run(&scripts::ready_node("h4"));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(said(&output.stderr), "h4 has not registered: look there with journalctl -u kubelet\n");
}

/// Found by review: 600 tries of unknown length, each of which could take for ever.
#[test]
fn an_api_server_that_never_gets_ready_ends_the_wait_for_it() {
    let clock = "now=$(cat $PLACE/clock 2>/dev/null || echo 0)\necho $((now + 200)) >$PLACE/clock\necho $now";
    let host =
        Host::new(&[("date", clock), ("kubectl", "echo \"$*\" >>$PLACE/asked; exit 1"), ("sleep", "")]);
    let output = host.run(&scripts::settled(false, true));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(said(&output.stderr), "etcd or the API server of this host is not ready after 5 minutes\n");
    let asked = host.read("asked");
    assert!(
        asked.lines().count() == 2 && asked.lines().all(|line| line.contains("--request-timeout")),
        "{asked}"
    );
}

/// Found by review: a host with IPv6 lost its default route, and with it the connection, as soon as it forwarded.
#[test]
fn a_host_takes_its_routes_from_routers_before_it_forwards() {
    let sysctl = "echo \"$* $(cat $PLACE/proc/net/ipv6/conf/eth0/accept_ra)\" >>$PLACE/set";
    let host = Host::new(&[("sysctl", sysctl), ("systemctl", ""), ("modprobe", "")]);
    host.write("modules/cozy.conf", "");
    host.write("proc/net/ipv6/conf/all/forwarding", "0\n");
    for (link, value) in [("eth0", "1\n"), ("eth1", "0\n"), ("eth2", "2\n")] {
        host.write(&format!("proc/net/ipv6/conf/{link}/accept_ra"), value);
    }
    let four = "net.ipv4.ip_forward = 1\n";
    host.write("sysctl/80-cozy.conf", four);
    let accepts = |link: &str| host.read(&format!("proc/net/ipv6/conf/{link}/accept_ra"));
    assert!(host.run(&scripts::settle(&[])).status.success());
    assert_eq!(accepts("eth0"), "1\n", "a cloud with IPv4 alone has no say in it");
    host.write(
        "sysctl/80-cozy.conf",
        &format!("{four}net.ipv6.conf.all.forwarding = 1\nnet.ipv6.conf.all.accept_ra = 2\n"),
    );
    assert!(host.run(&scripts::settle(&[])).status.success());
    assert_eq!(host.read("set"), "-q -w net.ipv6.conf.all.forwarding=1 2\n");
    assert_eq!(["eth0", "eth1", "eth2"].map(accepts), ["2\n", "0\n", "2\n"]);
}

#[test]
fn a_phase_whose_end_could_not_be_written_down_says_why() {
    let host = Host::new(&[("systemctl", "case $1 in show) echo inactive ;; esac")]);
    let run = "for last in \"$@\"; do :; done\nsh -c \"$last\"";
    host.write("cozy/phases/configure.sh", "exit 3");
    host.program("systemd-run", run);
    let output = host.run(&scripts::phase("configure"));
    assert_eq!((output.status.code(), said(&output.stderr)), (Some(3), String::new()));
    // A file that is made on a full disk is empty.
    host.program("systemd-run", &format!("{run}\n: >$PLACE/cozy/phases/configure.status"));
    let output = host.run(&scripts::phase("configure"));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(said(&output.stderr), "its end could not be written down: is the disk full?\n");
}

#[test]
fn a_mirror_that_cozy_wrote_is_found_and_one_of_others_is_not() {
    let host = Host::new(&[("systemctl", "case $1 in show) echo inactive ;; esac")]);
    let own = host.write("containerd/certs.d/a/hosts.toml", "# Written by cozy from `x`.\nserver = \"\"\n");
    host.write("containerd/certs.d/b/hosts.toml", "server = \"https://b\"\n");
    let output = said(&host.run(&scripts::observe(&[], &[])).stdout);
    let mirrors: Vec<&str> = output.lines().filter(|line| line.starts_with("mirror ")).collect();
    assert_eq!(mirrors, [format!("mirror {}", own.display())]);
}

#[test]
fn marks_reach_the_disk_after_what_they_vouch_for() {
    let cloud = cloud();
    let nodes = nodes(&cloud);
    let site = Site { cloud: &cloud, version: "v1.36.3", sandbox: "pause:1", nodes: &nodes };
    let before = |script: &str, one: &str, other: &str| {
        let at = |words: &str| script.find(words).unwrap_or_else(|| panic!("{words} is not in {script}"));
        assert!(at(one) < at(other), "{script}");
    };
    let join = scripts::join(&nodes[3], &Settings::of_join(&site, &nodes[3]));
    before(&join, "kubeadm join", "sync -f /etc/kubernetes /var/lib/kubelet");
    before(&join, "sync -f /etc/kubernetes /var/lib/kubelet", "/joined.new");
    let import = scripts::import("/x");
    before(&import, "images import", "sync -f /var/lib/containerd");
    before(&import, "sync -f /var/lib/containerd", "rm /x");
}
