//! One installation, killed at the start, in the middle and at the end of every step: whatever the moment, the next run
//! goes on, and the last one ends with the same cluster.

use crate::away::until;
use crate::bed::Bed;
use crate::{Running, THREE, done, install, whole, written};

/// Runs until something of a step is seen, and kills it; `false`: it was over before.
fn killed_at(bed: &Bed, kind: &str, step: &str, words: &str) -> bool {
    let mut running = Running::start(install(bed, THREE));
    let mut seen = Vec::new();
    while let Some(event) = running.next() {
        seen.push(event.to_string());
        if event["event"] == kind && event["step"] == step && event.to_string().contains(words) {
            running.kill();
            return true;
        }
    }
    let output = running.end();
    let last = seen.len().saturating_sub(8);
    assert_eq!(output.status.code(), Some(0), "before {kind} of {step}: {}", seen[last..].join("\n"));
    false
}

#[test]
#[ignore = "long"]
fn an_installation_that_is_killed_at_every_step_goes_on_each_time() {
    let bed = Bed::boot(3);
    let mut kills = 0;
    for host in ["h1", "h2", "h3"] {
        let step = format!("kubernetes/{host}/prepare");
        for (kind, words) in [
            ("stepStarted", ""),
            ("waiting", "install kubelet"),
            ("waiting", "starting containerd"),
            ("waiting", "import images"),
            ("stepApplied", ""),
        ] {
            kills += usize::from(killed_at(&bed, kind, &step, words));
        }
    }
    assert_eq!(kills, 15);
    for (host, number, phase) in [("h1", 1, "init"), ("h2", 2, "join"), ("h3", 3, "join")] {
        let step = format!("kubernetes/{host}/{phase}");
        assert!(killed_at(&bed, "stepStarted", &step, ""), "{step}");
        assert!(killed_at(&bed, "waiting", &step, &format!("kubeadm {phase}")), "{step}");
        // Killed together with the phase itself, as when the host's power goes.
        let mut running = Running::start(install(&bed, THREE));
        running.until("waiting", &format!("kubeadm {phase}"));
        until(&bed, number, "test -e /etc/kubernetes/manifests/etcd.yaml");
        running.kill();
        bed.on(number, &format!("systemctl kill -s KILL cozy-{phase} || true"));
        kills += 3 + usize::from(killed_at(&bed, "stepApplied", &step, ""));
    }
    // The components: each run gets one event further.
    for events in 1.. {
        let mut running = Running::start(install(&bed, THREE));
        let mut seen = 0;
        while seen < events && running.next().is_some() {
            seen += 1;
        }
        if seen < events {
            assert_eq!(running.end().status.code(), Some(0));
            break;
        }
        running.kill();
        kills += 1;
    }
    println!("{kills} kills");
    whole(&bed);
    let events = done(&install(&bed, THREE).output().unwrap());
    assert_eq!(written(&events), 0);
}
