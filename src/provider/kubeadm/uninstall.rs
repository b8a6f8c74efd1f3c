//! Takes Kubernetes away from hosts again, all at once: there is no quorum left to keep.

use futures::future::{self, FutureExt as _, LocalBoxFuture};

use super::leave::Answer;
use super::run::{broken, clean_host, unknown};
use super::scripts;
use crate::cluster::Cluster;
use crate::execute::hosts::{Broken, Hosts};
use crate::host::{HostError, Session};
use crate::model::cloud::Cloud;
use crate::plan::planner::{HostStep, Phase};
use crate::plan::{Step, StepId};

/// Hosts of a cloud that are to be as they were.
pub(crate) struct Cleaner {
    cloud: Cloud,
    sessions: Vec<Session>,
    steps: Vec<HostStep>,
}

impl Cleaner {
    /// Looks on which hosts there is something of this cloud.
    pub(crate) async fn new(cloud: &Cloud, sessions: Vec<Session>) -> Result<Self, HostError> {
        let looks = sessions.iter().map(|session| async move {
            session.sh("looking what is there", &scripts::observe_leaver()).await
        });
        let answers = future::join_all(looks).await;
        let mut steps = Vec::new();
        for (session, text) in sessions.iter().zip(answers) {
            let done = Answer::read(&text?).cloud() != Some(cloud.name.as_str());
            let work =
                "stop everything, and take away what was put there, all data and local volumes included";
            steps.push(HostStep {
                host: session.target().name.clone(),
                phase: Phase::Clean,
                needs: Vec::new(),
                work: if done { Vec::new() } else { vec![work.to_owned()] },
                expect: super::leave::REMOVE,
                done,
            });
        }
        Ok(Self { cloud: cloud.clone(), sessions, steps })
    }

    /// The steps, for the planner.
    pub(crate) fn steps(&self) -> Vec<HostStep> {
        self.steps.clone()
    }

    async fn clean(&self, step: &Step, say: &dyn Fn(String)) -> Result<Option<Cluster>, Broken> {
        let StepId::Host { host, .. } = &step.id else { return Err(broken(&unknown(&step.id.to_string()))) };
        let session = self.sessions.iter().find(|session| session.target().name == *host);
        let session = session.ok_or_else(|| broken(&unknown(host)))?;
        say("stopping everything, and taking it away".to_owned());
        clean_host(session, &self.cloud).await.map(|()| None).map_err(|error| broken(&error))
    }
}

impl Hosts for Cleaner {
    fn work<'a>(
        &'a self,
        step: &'a Step,
        say: &'a dyn Fn(String),
    ) -> LocalBoxFuture<'a, Result<Option<Cluster>, Broken>> {
        self.clean(step, say).boxed_local()
    }
}
