//! Steps on hosts: who does them, and how long that may take.

use std::time::Duration;

use futures::future::{FutureExt as _, LocalBoxFuture};
use tokio::time::Instant;

use super::event::{EventKind, Failure};
use super::retry;
use super::run::{Shared, failed};
use crate::cluster::Cluster;
use crate::code::Code;
use crate::plan::Step;

/// Does steps on hosts.
pub(crate) trait Hosts {
    /// Does one step, and says what it is at. Gives the cluster, if there is one because of it.
    fn work<'a>(
        &'a self,
        step: &'a Step,
        say: &'a dyn Fn(String),
    ) -> LocalBoxFuture<'a, Result<Option<Cluster>, Failure>>;
}

/// Hosts of a rehearsal: each step takes its expected time.
pub(crate) struct Simulated;

impl Hosts for Simulated {
    fn work<'a>(
        &'a self,
        step: &'a Step,
        _say: &'a dyn Fn(String),
    ) -> LocalBoxFuture<'a, Result<Option<Cluster>, Failure>> {
        async {
            retry::pause(step.expect).await;
            Ok(None)
        }
        .boxed_local()
    }
}

/// Does one step on a host before its deadline.
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
    match tokio::time::timeout_at(deadline, shared.hosts.work(step, &say)).await {
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
        Ok(Err(failure)) => Err(failure),
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
