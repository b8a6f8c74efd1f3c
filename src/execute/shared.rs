//! What all steps of a run use: the cluster, who hears of it, how it is run.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::event::{Event, EventKind, Outcome, Reporter};
use super::hosts::Hosts;
use super::retry;
use crate::cluster::Cluster;
use crate::cluster::error::ClusterError;
use crate::cluster::inventory::Inventory;
use crate::cluster::suspend::SuspendCheck;
use crate::cluster::turns::{Turn, Turns};
use crate::cluster::watch::Watches;
use crate::diagnose::Operators;
use crate::model::mask::Masks;
use crate::model::names::ComponentName;
use crate::model::object::GroupKind;
use crate::plan::{Counts, Plan, StepId, Verb};

/// How long after a deadline the answer to a request may come that was sent before it.
const LAST_ANSWER: Duration = Duration::from_secs(5);

/// How long an API server that says nothing of its readiness may go without its roles, which it has not read yet.
const ROLES: Duration = Duration::from_secs(10);

/// How long an API server that has just started may take until it knows who asks: its authenticator of OIDC asks for its
/// issuer every 10 s (`k8s.io/apiserver/plugin/pkg/authenticator/token/oidc`).
const AUTHENTICATOR: Duration = Duration::from_secs(15);

/// How long API servers may go on with what a kind was before its definition was written: each hears of it by and by.
const DEFINITIONS: Duration = Duration::from_secs(10);

/// How a plan is run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Requests in flight at most.
    pub(crate) concurrency: usize,
    /// Take fields over from other managers.
    pub(crate) force_conflicts: bool,
    /// Instead of each component's own deadline, and of each step's on hosts.
    pub(crate) timeout: Option<Duration>,
    /// The cloud that is installed; inventories say so.
    pub(crate) cloud: Option<String>,
}

/// What all steps of a run use.
pub(crate) struct Shared<'a> {
    /// The cluster; `None` where there was none when the run began.
    cluster: Option<&'a Cluster>,
    /// The cluster that hosts have become.
    arrived: OnceLock<Cluster>,
    /// Does the steps on hosts.
    pub(super) hosts: &'a dyn Hosts,
    /// Takes the events.
    pub(crate) reporter: &'a dyn Reporter,
    /// When the run began.
    pub(crate) started: Instant,
    /// How it is run.
    pub(crate) options: Options,
    requests: Turns,
    /// What gates wait on.
    pub(crate) watches: Watches,
    /// Who looks after custom resources.
    pub(crate) operators: Operators,
    /// What no event says.
    masks: Masks,
    counts: Mutex<Counts>,
    /// When what the cluster serves was asked for last; held while it is.
    discovered: tokio::sync::Mutex<Option<Instant>>,
    /// When this run wrote the definitions of kinds.
    defined: Mutex<HashMap<GroupKind, Instant>>,
    /// Whether the run is to stop.
    stop: watch::Sender<bool>,
    /// Whether its lock may be relied on.
    pub(crate) suspends: SuspendCheck,
}

impl<'a> Shared<'a> {
    /// Begins a run now.
    pub(crate) fn new(
        cluster: Option<&'a Cluster>,
        hosts: &'a dyn Hosts,
        reporter: &'a dyn Reporter,
        options: Options,
    ) -> Self {
        Self {
            cluster,
            arrived: OnceLock::new(),
            hosts,
            reporter,
            started: Instant::now(),
            requests: Turns::new(options.concurrency),
            options,
            watches: Watches::new(),
            operators: Operators::default(),
            masks: Masks::default(),
            counts: Mutex::default(),
            discovered: tokio::sync::Mutex::default(),
            defined: Mutex::default(),
            stop: watch::Sender::new(false),
            suspends: SuspendCheck::new(|| None),
        }
    }

    /// Takes what tells whether the machine was suspended.
    pub(crate) fn with_suspends(mut self, suspends: SuspendCheck) -> Self {
        self.suspends = suspends;
        self
    }

    /// The turn of a request that writes: the lock may be relied on, and not too many are under way.
    pub(super) async fn turn(&self) -> Turn<'_> {
        self.suspends.sure().await;
        self.requests.turn().await
    }

    /// Writes the inventory of a component.
    pub(super) async fn write_inventory(
        &self,
        component: &ComponentName,
        inventory: &mut Inventory,
    ) -> Result<(), ClusterError> {
        let _turn = self.turn().await;
        let owner = (self.options.cloud.as_deref(), component);
        self.cluster()?.write_inventory(owner, inventory).await
    }

    /// Takes what the plan says of who looks after custom resources, for diagnoses.
    pub(crate) fn with_operators(mut self, plan: &Plan) -> Self {
        for component in plan.components() {
            let own = plan.steps.iter().filter(|step| step.id.component() == component);
            self.operators
                .add(own.flat_map(|step| &step.actions).filter_map(|action| action.object.as_deref()));
        }
        self
    }

    /// Takes what no event may say.
    pub(crate) fn with_masks(mut self, masks: Masks) -> Self {
        self.masks = masks;
        self
    }

    /// The cluster, or why there is none.
    pub(crate) fn cluster(&self) -> Result<&Cluster, ClusterError> {
        self.cluster
            .or_else(|| self.arrived.get())
            .ok_or_else(|| ClusterError::NoSuchKind { object: "the API server".to_owned() })
    }

    /// Takes the cluster that hosts have become.
    pub(super) fn arrived(&self, cluster: Cluster) {
        // A second one would be the same: there is one first server.
        let _ = self.arrived.set(cluster);
    }

    /// Reports what happens now.
    pub(crate) fn report(&self, mut kind: EventKind) {
        kind.mask(&self.masks);
        self.reporter.report(&Event { at: self.started.elapsed(), kind });
    }

    /// Does `act` for a step until it succeeds, fails for good, or the
    /// deadline passes; each failure that is tried again is reported.
    pub(crate) async fn insist<T>(
        &self,
        step: &StepId,
        object: &str,
        deadline: Instant,
        act: impl AsyncFnMut() -> Result<T, ClusterError>,
    ) -> Result<T, ClusterError> {
        self.insist_on(Some(step), object, deadline, act).await
    }

    /// The same, outside steps, too.
    pub(super) async fn insist_on<T>(
        &self,
        step: Option<&StepId>,
        object: &str,
        deadline: Instant,
        mut act: impl AsyncFnMut() -> Result<T, ClusterError>,
    ) -> Result<T, ClusterError> {
        let (mut unknown, mut forbidden, mut unauthorized) = (None, None, None);
        // A server that says nothing is not waited for much longer than the deadline: what came of it the next run sees.
        let mut act = async || match timeout_at(deadline + LAST_ANSWER, act()).await {
            Ok(result) => result,
            Err(_) => Err(ClusterError::silent(object)),
        };
        let act = async || {
            if let Some(since) = unknown.take() {
                self.discover(since).await;
            }
            let mut result = act().await;
            if result.as_ref().is_err_and(ClusterError::is_forbidden)
                && let Ok(cluster) = self.cluster()
            {
                let since: Instant = *forbidden.get_or_insert_with(Instant::now);
                // One that has just started refuses what it will allow once it has read its roles.
                result = match cluster.ready().await {
                    Ok(()) => act().await,
                    Err(error) if error.is_transient() || since.elapsed() < ROLES => {
                        result.map_err(ClusterError::passing)
                    }
                    Err(_) => result,
                };
            }
            if result.as_ref().is_err_and(ClusterError::is_unknown_user)
                && unauthorized.get_or_insert_with(Instant::now).elapsed() < AUTHENTICATOR
            {
                result = result.map_err(ClusterError::passing);
            }
            if matches!(result, Err(ClusterError::NoSuchKind { .. })) {
                unknown = Some(Instant::now());
            }
            result
        };
        let report = |retry: retry::Retry<'_>| {
            self.report(EventKind::Retry {
                step: step.cloned(),
                object: object.to_owned(),
                attempt: retry.attempt,
                delay: retry.delay,
                reason: retry.error.to_string(),
            });
        };
        retry::until_stopped(deadline, async || self.stopped().await, act, report).await
    }

    /// Asks again what the cluster serves, unless somebody has done so `since`. Many wait for one kind: one asks for all.
    async fn discover(&self, since: Instant) {
        let Ok(cluster) = self.cluster() else { return };
        let mut discovered = self.discovered.lock().await;
        if discovered.is_none_or(|begun| begun < since) {
            let begun = Instant::now();
            // That it failed shows in what is still not served.
            if cluster.discover().await.is_ok() {
                *discovered = Some(begun);
            }
        }
    }

    /// From now on nothing is tried again, and nothing that goes is waited for.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// A kind's definition was written.
    pub(super) fn defines(&self, kind: GroupKind) {
        self.defined.lock().unwrap_or_else(PoisonError::into_inner).insert(kind, Instant::now());
    }

    /// Whether an API server may still take a kind for what it was before this run wrote its definition.
    pub(super) fn is_new(&self, kind: &GroupKind) -> bool {
        let defined = self.defined.lock().unwrap_or_else(PoisonError::into_inner);
        defined.get(kind).is_some_and(|since| since.elapsed() < DEFINITIONS)
    }

    /// Whether the run is to stop.
    pub(super) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Ends when the run is to stop.
    pub(super) async fn stopped(&self) {
        // The sender lives as long as this does.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Waits for a signal, and reports it.
    pub(crate) async fn interrupted(&self, signal: impl Future<Output = Signal>) -> Outcome {
        let (name, outcome) = match signal.await {
            Signal::Interrupt => ("SIGINT", Outcome::Interrupted),
            Signal::Terminate => ("SIGTERM", Outcome::Terminated),
        };
        self.report(EventKind::Interrupted { signal: name.to_owned() });
        outcome
    }

    /// How many objects were written so far.
    pub(super) fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an object that was written.
    pub(crate) fn count(&self, verb: Verb) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).add(verb);
    }
}

/// A signal that asks a run to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
}
