//! One installation, killed at the start, in the middle and at the end of every step: whatever the moment, the next run
//! goes on, and the last one ends with the same cluster. Then the same with settings that change.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::away::until;
use crate::bed::Bed;
use crate::fresh::{differences, state};
use crate::{Running, THREE, cloud, connections, cozy, done, kubectl, text, whole, written};

/// After that long nothing more is killed: what was begun is brought to its end.
const BOUND: Duration = Duration::from_secs(1500);

/// What is there of a phase when it is killed, too, as when the host's power goes: kubeadm's certificates, the manifests
/// of the API server and of etcd, the kubelet's credentials.
const HALVES: [&str; 4] = [
    "/etc/kubernetes/pki/etcd/peer.key",
    "/etc/kubernetes/manifests/kube-apiserver.yaml",
    "/etc/kubernetes/manifests/etcd.yaml",
    "/etc/kubernetes/kubelet.conf",
];

/// Kills runs, each at a moment at which none was killed before.
struct Killer<'a> {
    bed: &'a Bed,
    begun: Instant,
    /// Moments at which a run was killed.
    seen: BTreeSet<String>,
    /// What was there of phases that were killed with their runs.
    halves: BTreeSet<(String, &'static str)>,
}

/// What an event is of, where runs are killed at it: each step's start, everything that steps on hosts are at, each
/// step's end. What components wait for is many a thing: once each. Hosts are prepared at the same time, and alike.
fn moment(event: &Value) -> Option<String> {
    let step = event["step"].as_str()?;
    let step = if step.ends_with("/prepare") { "kubernetes/hosts/prepare" } else { step };
    match event["event"].as_str()? {
        kind @ ("stepStarted" | "stepApplied" | "stepReady") => Some(format!("{kind} {step}")),
        "waiting" if step.starts_with("kubernetes/") => Some(format!("{step}: {}", event["reason"])),
        "waiting" => Some(format!("{step}: waiting")),
        _ => None,
    }
}

/// The phase that an event says is at work now, with its host.
fn phase(event: &Value) -> Option<(usize, &'static str)> {
    let step = event["step"].as_str()?;
    let host = step.strip_prefix("kubernetes/h")?.split('/').next()?.parse().ok()?;
    let reason = event["reason"].as_str()?;
    let all =
        [("kubeadm init", "init"), ("kubeadm join", "join"), ("writing the control plane", "configure")];
    all.into_iter().find(|(words, _)| reason.starts_with(words)).map(|(_, phase)| (host, phase))
}

impl Killer<'_> {
    /// Runs until a moment that was not seen before, and kills it there; `false`: it came to its end.
    fn kills(&mut self) -> bool {
        let mut running = Running::start(cozy(self.bed, &["install", "--yes", "-o", "json"]));
        let mut all = Vec::new();
        while let Some(event) = running.next() {
            all.push(event.to_string());
            let Some(moment) = moment(&event).filter(|_| self.begun.elapsed() < BOUND) else { continue };
            if self.seen.insert(moment) {
                running.kill();
                return true;
            }
            if let Some((host, phase)) = phase(&event)
                && let Some(half) = self.half(host, phase)
            {
                until(self.bed, host, &format!("test -e {half} || ! systemctl is-active -q cozy-{phase}"));
                running.kill();
                self.bed.on(host, &format!("systemctl kill -s KILL cozy-{phase} || true"));
                return true;
            }
        }
        let output = running.end();
        let last = all.get(all.len().saturating_sub(12)..).unwrap_or_default().join("\n");
        let after = self.seen.len();
        assert_eq!(output.status.code(), Some(0), "after {after} kills: {last}\n{}", text(&output.stderr));
        false
    }

    /// What is to be there of a phase when it is killed next.
    fn half(&mut self, host: usize, phase: &str) -> Option<&'static str> {
        // The third server joins as the second does.
        let halves = match (phase, host) {
            ("configure", _) => HALVES.get(1..2),
            (_, 3) => HALVES.get(2..3),
            _ => HALVES.get(..),
        };
        let key = format!("h{host}/{phase}");
        halves?.iter().find(|half| self.halves.insert((key.clone(), half))).copied()
    }

    /// Installs what `cozy.yaml` says now, however often it is killed.
    fn goes_on(&mut self) {
        while self.kills() {}
        let (moments, halves) = (self.seen.len(), self.halves.len());
        println!("{moments} runs killed, {halves} with the phase at work, in {:.0?}", self.begun.elapsed());
        let events = done(&cozy(self.bed, &["install", "--yes", "-o", "json"]).output().unwrap());
        assert_eq!(written(&events), 0);
        assert!(!events.iter().any(|event| event["event"] == "stepStarted"), "there is something to do");
        assert!(self.begun.elapsed() < BOUND, "not all moments were reached");
    }
}

/// No run left anything beside what it was to bring, here or there.
fn nothing_left(bed: &Bed) {
    for host in [1, 2, 3] {
        let left = "find /etc /opt /usr/local /var/lib -xdev -name '.cozy-*'; \
            ls -d /var/lib/cozy/incoming-* /var/lib/cozy/begun /var/lib/cozy/unsettled /var/lib/cozy/join.json 2>/dev/null || true";
        assert_eq!(bed.on(host, left), "", "h{host}");
    }
    assert_eq!(connections(bed), Vec::<String>::new());
}

#[test]
#[ignore = "long"]
fn an_installation_that_is_killed_at_every_step_goes_on_each_time() {
    let bed = Bed::boot(3);
    let before = [1, 2, 3].map(|host| state(&bed, host));
    let file = cloud(&bed, THREE, "");
    let mut killer =
        Killer { bed: &bed, begun: Instant::now(), seen: BTreeSet::new(), halves: BTreeSet::new() };
    killer.goes_on();
    whole(&bed);
    nothing_left(&bed);

    // Settings that change, on a cluster that works: of etcd, the API server, kubelets and containerd.
    let changed = fs_err::read_to_string(&file).unwrap();
    let changed = changed
        .replace(
            "kubernetes:\n",
            "kubernetes:\n  apiServer: { extraArgs: [{ name: max-requests-inflight, value: \"500\" }] }\n",
        )
        .replace("  kubelet:\n", "  kubelet:\n    maxPods: 77\n")
        .replace("  containerd:\n", "  containerd:\n    debug: { level: info }\n");
    fs_err::write(&file, changed).unwrap();
    let mut killer =
        Killer { bed: &bed, begun: Instant::now(), seen: BTreeSet::new(), halves: BTreeSet::new() };
    killer.goes_on();
    for host in [1, 2, 3] {
        let api = bed.on(host, "tr '\\0' ' ' </proc/$(pgrep -o -x kube-apiserver)/cmdline");
        assert!(api.contains("max-requests-inflight=500"), "h{host}: {api}");
        // What runs was started after its file was written.
        for (unit, path) in
            [("containerd", "/etc/containerd/config.toml"), ("kubelet", "/var/lib/kubelet/config.yaml")]
        {
            let since = format!(
                "date -d \"$(systemctl show -p ActiveEnterTimestamp --value {unit})\" +%s; stat -c %Z {path}"
            );
            let times = bed.on(host, &since);
            let times: Vec<u64> = times.lines().map(|line| line.parse().unwrap()).collect();
            assert!(
                times[0] >= times[1],
                "h{host}: {unit} runs since {}, its file is of {}",
                times[0],
                times[1]
            );
        }
    }
    let reported = "--for=jsonpath={.status.capacity.pods}=77";
    kubectl(&bed, &["wait", reported, "nodes", "--all", "--timeout=2m"]);
    whole(&bed);
    nothing_left(&bed);

    // And back.
    let output = cozy(&bed, &["uninstall", "--hosts", "--yes"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for (host, before) in before.iter().enumerate() {
        let left = differences(before, &state(&bed, host + 1));
        assert!(left.is_empty(), "h{}:\n{}", host + 1, left.join("\n"));
    }
}
