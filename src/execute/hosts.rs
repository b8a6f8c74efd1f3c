//! Steps on hosts: who does them, and how long that may take.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use futures::future::{FutureExt as _, LocalBoxFuture};
use tokio::time::Instant;

use super::event::{EventKind, Failure};
use super::failed::failed;
use super::retry;
use super::run::Shared;
use crate::cluster::Cluster;
use crate::code::{Code, REPORT};
use crate::plan::Step;

/// How long a host may be away, for a reboot or a network that is mended.
const AWAY: Duration = Duration::from_secs(300);

/// Why a step on a host did not end well.
#[derive(Debug, Clone)]
pub(crate) struct Broken {
    /// For the user.
    pub(crate) failure: Failure,
    /// The host was lost on the way: doing the step again may help.
    pub(crate) away: bool,
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self { failure, away: false }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.failure.message)
    }
}

impl retry::Transient for Broken {
    fn is_transient(&self) -> bool {
        self.away
    }

    fn retry_after(&self) -> Option<Duration> {
        None
    }
}

/// Does steps on hosts.
pub(crate) trait Hosts {
    /// Does one step, and says what it is at. Gives the cluster, if there is one because of it.
    fn work<'a>(
        &'a self,
        step: &'a Step,
        say: &'a dyn Fn(String),
    ) -> LocalBoxFuture<'a, Result<Option<Cluster>, Broken>>;
}

/// Hosts of a run that has none: on a cluster that others made. No plan of such a run has a step for them.
pub(crate) struct NoHosts;

impl Hosts for NoHosts {
    fn work<'a>(
        &'a self,
        step: &'a Step,
        _say: &'a dyn Fn(String),
    ) -> LocalBoxFuture<'a, Result<Option<Cluster>, Broken>> {
        let failure = Failure {
            code: Code(5044),
            message: format!("{}: this run has no hosts", step.id),
            chain: Vec::new(),
            hint: Some(REPORT.to_owned()),
        };
        std::future::ready(Err(failure.into())).boxed_local()
    }
}

/// Hosts of a rehearsal in tests: each step takes its expected time.
#[cfg(test)]
pub(crate) struct Simulated;

#[cfg(test)]
impl Hosts for Simulated {
    fn work<'a>(
        &'a self,
        step: &'a Step,
        _say: &'a dyn Fn(String),
    ) -> LocalBoxFuture<'a, Result<Option<Cluster>, Broken>> {
        async {
            retry::pause(step.expect).await;
            Ok(None)
        }
        .boxed_local()
    }
}

/// Does one step on a host before its deadline, and again when the host was away for a while.
pub(super) async fn work(shared: &Shared<'_>, step: &Step, deadline: Instant) -> Result<(), Failure> {
    let started = Instant::now();
    let say = |reason: String| {
        shared.report(EventKind::Waiting {
            step: step.id.clone(),
            object: step.id.to_string(),
            reason,
            remaining: 1,
            soft_failure: false,
        });
    };
    let lost = Cell::new(None);
    let act = async || {
        let began = Instant::now();
        let result = shared.hosts.work(step, &say).await;
        result.map_err(|broken| {
            let now = Instant::now();
            // One that worked for longer than it may be away was there.
            let since = lost.get().filter(|_| now - began < AWAY).unwrap_or(now);
            lost.set(Some(since));
            Broken { away: broken.away && now - since < AWAY, ..broken }
        })
    };
    let again = |retry: retry::Retry<'_, Broken>| {
        shared.report(EventKind::Retry {
            step: Some(step.id.clone()),
            object: step.id.to_string(),
            attempt: retry.attempt,
            delay: retry.delay,
            reason: retry.error.to_string(),
        });
    };
    let work = retry::until(deadline, act, again);
    match tokio::time::timeout_at(deadline, work).await {
        Ok(Ok(None)) => Ok(()),
        Ok(Ok(Some(cluster))) => {
            let act = async || cluster.ensure_system_namespace().await;
            shared
                .insist(&step.id, "Namespace cozy-system", deadline, act)
                .await
                .map_err(|error| failed(&error))?;
            shared.arrived(cluster);
            Ok(())
        }
        Ok(Err(broken)) => Err(broken.failure),
        Err(_) => Err(late(step, started.elapsed())),
    }
}

fn late(step: &Step, took: Duration) -> Failure {
    Failure {
        code: Code(3006),
        message: format!("{} is not done after {}", step.id, crate::model::duration::human(took)),
        chain: Vec::new(),
        hint: Some("look what the host is at, and run the same command again".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::planner::{self, Desired, HostStep, Observed, Phase};

    /// Found by review: such a step was slept through, and reported as done.
    #[tokio::test]
    async fn a_run_without_hosts_does_no_step_of_theirs() {
        let step = HostStep {
            host: "h1".to_owned(),
            phase: Phase::Init,
            needs: Vec::new(),
            work: vec!["kubeadm init".to_owned()],
            expect: Duration::from_secs(1),
            done: false,
        };
        let plan =
            planner::plan(&Desired { hosts: vec![step], ..Desired::default() }, &Observed::nothing(false))
                .unwrap();
        let broken = NoHosts.work(&plan.steps[0], &|_| {}).await.err().unwrap();
        assert_eq!(broken.to_string(), "kubernetes/h1/init: this run has no hosts");
        assert!(!broken.away);
    }
}
