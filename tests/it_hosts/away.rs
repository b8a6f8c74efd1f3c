//! Hosts that go away in the middle, and come back.

use std::process::Output;
use std::time::{Duration, Instant};

use crate::bed::Bed;
use crate::{Running, THREE, done, install, text, whole};

/// A run that went on by itself after a host had been away.
fn went_on(running: Running) {
    let output = running.end();
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
}

/// A run that ended with an error that names the host and what to do.
fn said(output: &Output, words: &[&str]) {
    let all = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{all}");
    for word in words {
        assert!(all.contains(word), "no `{word}`: {all}");
    }
}

#[test]
#[ignore = "long"]
fn hosts_that_lose_their_power_in_the_middle_are_waited_for() {
    let mut bed = Bed::boot(3);
    // While its artefacts come: the run waits, and goes on.
    let mut running = Running::start(install(&bed, THREE));
    running.until("waiting", "install kubelet");
    bed.power("off 2");
    running.until("retry", "kubernetes/h2/prepare");
    bed.power("on 2");
    // The first server in the middle of kubeadm init.
    running.until("waiting", "\"reason\":\"kubeadm init\"");
    until(&bed, 1, "test -e /etc/kubernetes/manifests/etcd.yaml");
    bed.power("off 1");
    running.until("retry", "kubernetes/h1/init");
    bed.power("on 1");
    went_on(running);
    whole(&bed);
}

#[test]
#[ignore = "long"]
fn a_server_that_loses_its_power_while_it_joins_is_waited_for_and_joins() {
    let mut bed = Bed::boot(3);
    let mut running = Running::start(install(&bed, THREE));
    running.until("stepStarted", "kubernetes/h3/join");
    until(&bed, 3, "test -e /etc/kubernetes/manifests/etcd.yaml");
    bed.power("off 3");
    running.until("retry", "kubernetes/h3/join");
    bed.power("on 3");
    went_on(running);
    whole(&bed);
}

#[test]
#[ignore = "long"]
fn a_cable_that_is_out_for_half_a_minute_and_a_killed_sshd_are_waited_for() {
    let bed = Bed::boot(3);
    let mut running = Running::start(install(&bed, THREE));
    running.until("waiting", "install containerd");
    bed.on(2, "systemd-run --quiet sh -c 'systemctl kill -s KILL ssh; systemctl restart ssh'");
    running.until("waiting", "kubeadm join");
    bed.cable(2, "down");
    let out = Instant::now();
    running.until("retry", "kubernetes/h2/join");
    while out.elapsed() < Duration::from_secs(30) {
        // What happens meanwhile is read on.
        assert!(running.next().is_some(), "it did not wait");
    }
    bed.cable(2, "up");
    went_on(running);
    whole(&bed);
}

#[test]
#[ignore = "long"]
fn a_full_disk_and_a_broken_one_are_said_and_the_next_run_goes_on() {
    let bed = Bed::boot(3);
    bed.on(2, "mount -t tmpfs -o size=20m tmpfs /usr/local/bin");
    let output = install(&bed, THREE).output().unwrap();
    said(&output, &["host `10.98.0.22`", "no space is left on the device", "df -h"]);
    bed.on(2, "umount /usr/local/bin");
    let mut running = Running::start(install(&bed, THREE));
    running.until("waiting", "install runc");
    bed.on(3, "mount --bind /etc /etc; mount -o remount,bind,ro /etc");
    said(&running.end(), &["host `10.98.0.23`", "the file system is read-only"]);
    bed.on(3, "umount /etc");
    done(&install(&bed, THREE).output().unwrap());
    whole(&bed);
}

/// Asks a host until a command succeeds there.
pub(crate) fn until(bed: &Bed, host: usize, command: &str) {
    bed.on(
        host,
        &format!(
            "tries=0; until {command}; do tries=$((tries + 1)); [ $tries -lt 600 ] || exit 1; sleep 0.1; done"
        ),
    );
}
