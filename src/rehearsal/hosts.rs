//! Hosts of a rehearsal: each step takes its expected time, hosts become nodes when they have joined, and what goes
//! wrong with a host ends as it does over SSH.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::{FutureExt as _, LocalBoxFuture};
use k8s_openapi::api::core::v1::Node;
use kube::api::Api;
use kube::runtime::wait::await_condition;
use tokio::time::Instant;

use super::SimulatedNode;
use crate::cluster::Cluster;
use crate::execute::hosts::{Broken, Hosts};
use crate::execute::retry;
use crate::host::{HostError, Target, Trouble, Way};
use crate::plan::planner::Phase;
use crate::plan::{Step, StepId};
use crate::provider::kubeadm::broken;

/// How long a connection is silent before ssh gives it up (`ServerAliveInterval` times `ServerAliveCountMax`).
const SILENT: Duration = Duration::from_secs(15);

/// How long a new connection is tried.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a host takes to start.
const BOOT: Duration = Duration::from_secs(30);

/// What goes wrong with a host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum HostFault {
    /// Nothing comes or goes between two times.
    Unreachable { at: Duration, lasts: Duration },
    /// It starts anew: what runs on it ends.
    Reboot { at: Duration },
    /// No space is left for what is put there.
    DiskFull,
    /// Nobody listens for SSH from a time on.
    Refused { at: Duration },
    /// All that it does takes so many times as long.
    Slow(f64),
}

/// The hosts, with what goes wrong with them by name.
pub(super) struct RehearsedHosts<'a> {
    faults: &'a [(String, HostFault)],
    begun: Instant,
    simulated: &'a cozy_sim::Cluster,
    nodes: &'a [SimulatedNode],
    /// When hosts began what they are at.
    at_work: RefCell<BTreeMap<StepId, Duration>>,
}

impl<'a> RehearsedHosts<'a> {
    /// Hosts of a run that begins now.
    pub(super) fn new(
        faults: &'a [(String, HostFault)],
        simulated: &'a cozy_sim::Cluster,
        nodes: &'a [SimulatedNode],
    ) -> Self {
        Self { faults, begun: Instant::now(), simulated, nodes, at_work: RefCell::default() }
    }

    /// What a phase that ended well means to the cluster.
    async fn ended(&self, host: &str, phase: Phase) {
        match phase {
            Phase::Init | Phase::Join => {
                let nodes = self.nodes.iter().filter(|node| node.name == host);
                nodes.for_each(|node| self.simulated.join(&node.name, node.server, &node.labels));
            }
            Phase::Ready => {
                let nodes = Api::<Node>::all(self.simulated.client());
                // The step has a deadline, and a watch that breaks is the run's to suffer, not the host's.
                let _ = await_condition(nodes, host, |node: Option<&Node>| node.is_some_and(is_ready)).await;
            }
            Phase::Prepare | Phase::Configure | Phase::Certify | Phase::Remove | Phase::Clean => {}
        }
    }

    async fn step(&self, step: &Step) -> Result<(), Broken> {
        let StepId::Host { host, phase } = &step.id else { return Ok(()) };
        let own: Vec<HostFault> =
            self.faults.iter().filter(|(name, _)| name == host).map(|(_, fault)| *fault).collect();
        let now = self.begun.elapsed();
        let since = self.at_work.borrow().get(&step.id).copied();
        let left = left(&own, *phase, step.expect, since.map(|since| (since, now)));
        if left == step.expect && !is_away(&own, now) {
            self.at_work.borrow_mut().insert(step.id.clone(), now);
        }
        let (time, trouble) = plan(&own, *phase, now, left);
        retry::pause(time).await;
        let Some(trouble) = trouble else {
            self.ended(host, *phase).await;
            return Ok(());
        };
        let way = Way::Ssh { address: host.clone(), user: "root".to_owned(), port: None };
        Err(broken(&HostError::new(&Target { name: host.clone(), way }, trouble)))
    }
}

impl Hosts for RehearsedHosts<'_> {
    fn work<'a>(
        &'a self,
        step: &'a Step,
        _say: &'a dyn Fn(String),
    ) -> LocalBoxFuture<'a, Result<Option<Cluster>, Broken>> {
        async { self.step(step).await.map(|()| None) }.boxed_local()
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether there is no way to a host.
fn is_away(faults: &[HostFault], now: Duration) -> bool {
    faults.iter().any(|fault| match *fault {
        HostFault::Unreachable { at, lasts } => at <= now && now < at + lasts,
        HostFault::Refused { at } => at <= now,
        HostFault::Reboot { at } => at <= now && now < at + BOOT,
        HostFault::DiskFull | HostFault::Slow(_) => false,
    })
}

/// What is left of a step that began and was lost sight of: a phase is a unit of its own, which goes on without the
/// connection, but for a reboot. `times`: when it began, and now.
fn left(
    faults: &[HostFault],
    phase: Phase,
    expect: Duration,
    times: Option<(Duration, Duration)>,
) -> Duration {
    let Some((since, now)) = times.filter(|_| is_unit(phase)) else { return expect };
    let ended = |fault: &HostFault| matches!(*fault, HostFault::Reboot { at } if since <= at && at <= now);
    if faults.iter().any(ended) { expect } else { expect.saturating_sub(now.saturating_sub(since)) }
}

/// How long a step takes that starts at `start`, and how it ends if not well.
fn plan(
    faults: &[HostFault],
    phase: Phase,
    start: Duration,
    expect: Duration,
) -> (Duration, Option<Trouble>) {
    let factor: f64 =
        faults.iter().map(|it| if let HostFault::Slow(factor) = it { *factor } else { 1.0 }).product();
    let mut took = expect.mul_f64(factor);
    for fault in faults {
        let end = start + took;
        // Since the step began.
        let after = |time: Duration| time.saturating_sub(start);
        match *fault {
            HostFault::DiskFull if phase == Phase::Prepare => {
                let what = "writing /usr/local/bin/kubelet".to_owned();
                return (took / 2, Some(Trouble::NoSpace { what }));
            }
            HostFault::Refused { at } if at < end => return (after(at), Some(Trouble::Refused)),
            HostFault::Reboot { at } if at < start && start < at + BOOT => {
                return (Duration::ZERO, Some(Trouble::Refused));
            }
            HostFault::Reboot { at } if start <= at && at < end => {
                let words = "the host was started anew".to_owned();
                return (after(at), Some(Trouble::Lost(words)));
            }
            HostFault::Unreachable { at, lasts } if at < end && start < at + lasts => {
                let first = after(at);
                let silent = after(at + lasts).saturating_sub(first);
                // Before it began there is no connection yet.
                if start >= at && silent >= CONNECT {
                    return (CONNECT, Some(Trouble::Unreachable("timed out".to_owned())));
                }
                if silent >= SILENT {
                    let words = format!("nothing came for {} s", SILENT.as_secs());
                    return (first + SILENT, Some(Trouble::Lost(words)));
                }
                took += silent;
            }
            HostFault::Slow(_)
            | HostFault::DiskFull
            | HostFault::Refused { .. }
            | HostFault::Reboot { .. }
            | HostFault::Unreachable { .. } => {}
        }
    }
    (took, None)
}

/// Whether a phase is a unit of its own on the host.
fn is_unit(phase: Phase) -> bool {
    match phase {
        Phase::Init | Phase::Join | Phase::Configure | Phase::Certify => true,
        Phase::Prepare | Phase::Ready | Phase::Remove | Phase::Clean => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(faults: &[HostFault], start: u64) -> (u64, Option<Trouble>) {
        let seconds = Duration::from_secs;
        let (took, trouble) = plan(faults, Phase::Prepare, seconds(start), seconds(20));
        (took.as_secs(), trouble)
    }

    #[test]
    fn short_silence_is_waited_for_and_long_silence_breaks_the_connection() {
        let seconds = Duration::from_secs;
        let silent = |at, lasts| HostFault::Unreachable { at: seconds(at), lasts: seconds(lasts) };
        let lost = || Some(Trouble::Lost("nothing came for 15 s".to_owned()));
        assert_eq!(run(&[], 0), (20, None));
        assert_eq!(run(&[silent(10, 5)], 0), (25, None));
        assert_eq!(run(&[silent(10, 60)], 0), (25, lost()));
        // It began in the middle of it; and after it.
        let timed_out = Trouble::Unreachable("timed out".to_owned());
        assert_eq!(run(&[silent(10, 60)], 30), (10, Some(timed_out)));
        assert_eq!(run(&[silent(10, 60)], 62), (28, None));
        assert_eq!(run(&[silent(10, 60)], 61), (29, None));
        assert_eq!(run(&[silent(10, 60)], 70), (20, None));
        assert_eq!(run(&[silent(100, 60)], 0), (20, None));
    }

    #[test]
    fn reboots_end_what_runs_and_slow_hosts_take_longer() {
        let seconds = Duration::from_secs;
        let reboot = HostFault::Reboot { at: seconds(12) };
        let lost = Some(Trouble::Lost("the host was started anew".to_owned()));
        assert_eq!(run(&[reboot], 0), (12, lost.clone()));
        assert_eq!(run(&[reboot], 13), (0, Some(Trouble::Refused)));
        assert_eq!(run(&[reboot], 42), (20, None));
        assert_eq!(run(&[HostFault::Slow(3.0)], 0), (60, None));
        assert_eq!(run(&[HostFault::Slow(3.0), HostFault::Reboot { at: seconds(50) }], 0), (50, lost));
        assert_eq!(run(&[HostFault::Refused { at: seconds(5) }], 0), (5, Some(Trouble::Refused)));
        assert_eq!(run(&[HostFault::Refused { at: seconds(5) }], 9), (0, Some(Trouble::Refused)));
        assert!(matches!(run(&[HostFault::DiskFull], 0), (10, Some(Trouble::NoSpace { .. }))));
        assert_eq!(plan(&[HostFault::DiskFull], Phase::Join, seconds(0), seconds(9)), (seconds(9), None));
    }

    #[test]
    fn a_phase_goes_on_without_the_connection_unless_its_host_starts_anew() {
        let seconds = Duration::from_secs;
        let silent = HostFault::Unreachable { at: seconds(10), lasts: seconds(60) };
        let reboot = HostFault::Reboot { at: seconds(12) };
        let left = |faults: &[HostFault], phase: Phase| {
            super::left(faults, phase, seconds(40), Some((seconds(5), seconds(30)))).as_secs()
        };
        assert_eq!(left(&[silent], Phase::Init), 15);
        assert_eq!(left(&[silent, reboot], Phase::Init), 40);
        assert_eq!(left(&[silent], Phase::Prepare), 40);
        assert_eq!(super::left(&[], Phase::Init, seconds(40), None), seconds(40));
    }
}
