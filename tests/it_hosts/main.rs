//! Tier 5: servers with systemd and sshd, reached over real SSH. What is marked
//! as ignored is too long for CI; `tests/run long` runs it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "what was measured is reported")]

#[path = "../support/bed.rs"]
mod bed;
mod supply;

mod available;
mod away;
mod causes;
mod changes;
mod fresh;
mod killed;
mod odd;
mod operator;
mod preflight;

use std::io::{BufRead as _, BufReader, Lines, Read as _};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use bed::Bed;
use serde_json::Value;

/// What the test machine lacks, and hosts of a person do not: each named.
/// Their disk is as large as what the test machine has left.
const LACKS: &[&str] = &["--skip-check", "cgroup", "--skip-check", "modules", "--skip-check", "disk-space"];

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const THREE: &str = "  - { address: 10.98.0.21, role: server }\n  - { address: 10.98.0.22, role: server, user: admin }\n  - { address: 10.98.0.23, role: server }\n";

/// What hosts of the bed need that hosts of a person do not: each named.
const BED: &str = r#"network: { proxyMode: nftables }
kubernetes:
  kubelet:
    failCgroupV1: false
    failSwapOn: false
    cgroupDriver: cgroupfs
    featureGates: { KubeletInUserNamespace: true }
    evictionHard: { memory.available: 1Mi, nodefs.available: 0%, imagefs.available: 0% }
    imageGCHighThresholdPercent: 100
  kubeProxy: { conntrack: { maxPerCore: 0, min: 0 } }
  containerd:
    plugins:
      io.containerd.cri.v1.runtime:
        restrict_oom_score_adj: true
        containerd: { runtimes: { runc: { options: { SystemdCgroup: false } } } }
  etcd: { local: { extraArgs: [{ name: election-timeout, value: "5000" }, { name: heartbeat-interval, value: "500" }] } }
  ignorePreflightErrors: [SystemVerification]
"#;

/// Processes that were started with the bed's configuration of ssh in their environment.
fn connections(bed: &Bed) -> Vec<String> {
    let config = bed.path("ssh_config");
    let all = fs_err::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    all.filter(|process| {
        fs_err::read(process.join("environ")).is_ok_and(|all| String::from_utf8_lossy(&all).contains(&config))
    })
    .map(|process| fs_err::read_to_string(process.join("cmdline")).unwrap_or_default())
    .collect()
}

/// Writes `cozy.yaml` for the bundle `bed`; `more` is added to it.
fn cloud(bed: &Bed, hosts: &str, more: &str) -> String {
    let path = bed.path("cozy.yaml");
    let mirror = concat!("file://", env!("CARGO_MANIFEST_DIR"), "/target/bed/mirror");
    let text = format!(
        "apiVersion: cozy/v1\nkind: Cloud\nname: bed\nbundle: bed\nhosts:\n{hosts}artifacts: {{ mirror: '{mirror}' }}\n{BED}{more}"
    );
    fs_err::write(&path, text).unwrap();
    path
}

/// A command on the cloud of [`cloud`], with what the test machine lacks.
fn cozy(bed: &Bed, words: &[&str]) -> Command {
    let mut command = bed.command(&bed.program());
    command.args(words).args(["-f", &bed.path("cozy.yaml")]);
    if !matches!(words, ["status" | "diagnose" | "plan", ..]) {
        command.arg("--accept-new-host-keys").args(LACKS);
    }
    for catalogue in ["tests/bed/catalogue", "target/bed/catalogue"] {
        command.arg("--catalogue").arg(format!("{}/{catalogue}", env!("CARGO_MANIFEST_DIR")));
    }
    command
}

/// Installs the bundle `bed` on some hosts, with events on stdout.
fn install(bed: &Bed, hosts: &str) -> Command {
    install_with(bed, hosts, "")
}

fn install_with(bed: &Bed, hosts: &str, more: &str) -> Command {
    cloud(bed, hosts, more);
    cozy(bed, &["install", "--yes", "-o", "json"])
}

/// The events of a run that ended well.
fn done(output: &Output) -> Vec<Value> {
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let last = || stdout.lines().rev().take(5).collect::<Vec<_>>().join("\n");
    assert_eq!(output.status.code(), Some(0), "{}\n{stderr}", last());
    let events: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.last().unwrap()["outcome"], "done", "{}", last());
    events
}

/// How many objects a run wrote.
fn written(events: &[Value]) -> u64 {
    let counts = &events.last().unwrap()["counts"];
    ["create", "update", "delete"].iter().map(|verb| counts[verb].as_u64().unwrap()).sum()
}

/// A run whose events are read as they come.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next event; `None`: it ended.
    fn next(&mut self) -> Option<Value> {
        let line = self.lines.next()?.unwrap();
        Some(serde_json::from_str(&line).unwrap())
    }

    /// Reads on to an event of a kind, of a step on a host, whose text has these words.
    fn until(&mut self, kind: &str, words: &str) -> Value {
        let mut seen = Vec::new();
        while let Some(event) = self.next() {
            let line = event.to_string();
            if event["event"] == kind && line.contains(words) {
                return event;
            }
            seen.push(line);
        }
        let output = self.child.wait();
        panic!("no {kind} with `{words}`: {output:?}\n{}", seen.join("\n"));
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end; what was not read yet is in the answer.
    fn end(mut self) -> Output {
        let mut rest = String::new();
        for line in &mut self.lines {
            rest.push_str(&line.unwrap());
            rest.push('\n');
        }
        let mut stderr = Vec::new();
        self.child.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
        Output { status: self.child.wait().unwrap(), stdout: rest.into_bytes(), stderr }
    }
}

impl Drop for Running {
    /// A test that fails leaves no run behind.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// kubectl, as the user has the cluster.
fn kubectl(bed: &Bed, words: &[&str]) -> String {
    let kubectl = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bed/bin/kubectl");
    let output = bed
        .command(kubectl)
        .args(["--kubeconfig", &bed.path("bed.kubeconfig")])
        .args(words)
        .output()
        .unwrap();
    assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

/// Nodes with whether they are ready, by name.
fn nodes(bed: &Bed) -> String {
    let path = "{range .items[*]}{.metadata.name}={.status.conditions[?(@.type==\"Ready\")].status} {end}";
    kubectl(bed, &["get", "nodes", "-o", &format!("jsonpath={path}")])
}

/// etcd's members, `NAME KIND STATE` a line.
fn members(bed: &Bed, host: usize) -> String {
    let all = bed.on(host, "/usr/local/bin/cozy host etcd members");
    let mut all: Vec<String> = all
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            format!("{} {} {}", words[2], words[4], words[5])
        })
        .collect();
    all.sort();
    all.join("\n")
}

/// What is restarted where something is changed: the services of hosts, with when each began.
fn services(bed: &Bed, hosts: &[usize]) -> Vec<String> {
    let show = "systemctl show -p Id,MainPID,ActiveEnterTimestampMonotonic containerd cozy-proxy kubelet";
    hosts.iter().map(|host| bed.on(*host, &format!("{show}; cat /proc/sys/kernel/random/boot_id"))).collect()
}

/// A cluster of three servers is whole: nodes, members, the workload.
fn whole(bed: &Bed) {
    assert_eq!(nodes(bed), "h1=True h2=True h3=True");
    assert_eq!(members(bed, 1), "h1 voter up\nh2 voter up\nh3 voter up");
    kubectl(bed, &["wait", "-n", "bed", "--for=condition=Available", "deployment/web", "--timeout=120s"]);
    kubectl(bed, &["wait", "-n", "bed", "--for=condition=Complete", "job/client", "--timeout=120s"]);
}
