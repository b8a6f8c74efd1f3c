//! The loop that runs a plan: starts a step when its edges hold, and reports
//! what happens. Decides nothing that the plan did not decide.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::future::{FutureExt as _, LocalBoxFuture};
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::budget::Budget;
use super::event::{Cause, Event, EventKind, Failure, Outcome, Reporter};
use super::hosts::Hosts;
use super::{apply, gate, retry};
use crate::cluster::Cluster;
use crate::cluster::error::ClusterError;
use crate::cluster::inventory::Inventory;
use crate::cluster::watch::Watches;
use crate::code::causes;
use crate::diagnose::{Operators, patterns};
use crate::model::mask::Masks;
use crate::model::names::ComponentName;
use crate::model::object::ObjectId;
use crate::plan::{Blocks, Counts, Edge, Milestone, Plan, Stage, Step, StepId, Verb};

/// How a plan is run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Requests in flight at most.
    pub(crate) concurrency: usize,
    /// Take fields over from other managers.
    pub(crate) force_conflicts: bool,
    /// Instead of each component's own deadline, and of each step's on hosts.
    pub(crate) timeout: Option<Duration>,
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
    /// One permit for each request in flight.
    pub(crate) requests: Semaphore,
    /// What gates wait on.
    pub(crate) watches: Watches,
    /// Who looks after custom resources.
    pub(crate) operators: Operators,
    /// What no event says.
    masks: Masks,
    counts: Mutex<Counts>,
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
            requests: Semaphore::new(options.concurrency.max(1)),
            options,
            watches: Watches::new(),
            operators: Operators::default(),
            masks: Masks::default(),
            counts: Mutex::default(),
        }
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
    async fn insist_on<T>(
        &self,
        step: Option<&StepId>,
        object: &str,
        deadline: Instant,
        act: impl AsyncFnMut() -> Result<T, ClusterError>,
    ) -> Result<T, ClusterError> {
        let report = |retry: retry::Retry<'_>| {
            self.report(EventKind::Retry {
                step: step.cloned(),
                object: object.to_owned(),
                attempt: retry.attempt,
                delay: retry.delay,
                reason: retry.error.to_string(),
            });
        };
        retry::until(deadline, act, report).await
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

    /// Counts an object that was written.
    pub(crate) fn count(&self, verb: Verb) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).add(verb);
    }
}

/// How long it is tried to let an inventory remember Jobs that are done.
const RECORDING: Duration = Duration::from_secs(30);

/// A signal that asks a run to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub(crate) struct Finished {
    /// How.
    pub(crate) outcome: Outcome,
    /// The components that failed, with why.
    pub(crate) failures: Vec<(String, Failure)>,
}

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Waiting,
    Applying,
    Applied,
    Gating,
    Ready,
    Failed,
}

enum Done {
    Applied(usize, Inventory, Result<(), Failure>),
    /// With the Jobs that were seen complete, and that will be gone when the next run looks.
    Gated(usize, Result<Vec<ObjectId>, Failure>),
    /// An inventory was written once more.
    Recorded(ComponentName, Inventory),
}

/// Runs a plan. `stop` ends when nothing new may be started any more, with
/// what is to be said of it.
pub(crate) async fn run(
    shared: &Shared<'_>,
    plan: &Plan,
    mut inventories: BTreeMap<ComponentName, Inventory>,
    stop: LocalBoxFuture<'_, Outcome>,
) -> Finished {
    hand_over(plan, &mut inventories);
    let mut loop_ = Loop {
        shared,
        plan,
        inventories,
        states: plan.steps.iter().map(|step| if step.done { State::Ready } else { State::Waiting }).collect(),
        started: vec![None; plan.steps.len()],
        held_by: vec![None; plan.steps.len()],
        into: by_step(plan, |edge| edge.to),
        out_of: by_step(plan, |edge| edge.from),
        announced: BTreeSet::new(),
        complete: BTreeMap::new(),
        recording: BTreeSet::new(),
        budgets: BTreeMap::new(),
        failures: Vec::new(),
        stopped: None,
        last: None,
    };
    loop_.work(stop).await;
    loop_.finish()
}

/// Lets inventories know what the plan says: the objects that are of another component now, with what is known of
/// them, and what each component waits for. They are written when their steps are run.
fn hand_over(plan: &Plan, inventories: &mut BTreeMap<ComponentName, Inventory>) {
    let mut known = BTreeMap::new();
    for (id, entry) in inventories.values().flat_map(Inventory::entries) {
        if entry.desired.is_some() {
            known.insert(id.clone(), entry.clone());
        }
    }
    for step in &plan.steps {
        let StepId::Stage(component, stage) = &step.id else { continue };
        if step.done || *stage == Stage::Prune {
            continue;
        }
        let own = inventories.entry(component.clone()).or_default();
        for id in step.actions.iter().map(|action| &action.id) {
            if own.get(id).is_none_or(|entry| entry.desired.is_none())
                && let Some(entry) = known.get(id)
            {
                own.take_over(id, entry.clone());
            }
        }
    }
    let mut needs: BTreeMap<&ComponentName, BTreeSet<ComponentName>> = BTreeMap::new();
    for edge in &plan.edges {
        if let (StepId::Stage(from, _), StepId::Stage(to, stage)) =
            (&plan.steps[edge.from].id, &plan.steps[edge.to].id)
            && from != to
            && *stage != Stage::Prune
        {
            needs.entry(to).or_default().insert(from.clone());
        }
    }
    for (component, needs) in needs {
        inventories.entry(component.clone()).or_default().wait_for(needs);
    }
}

/// The edges of a plan by one of their ends.
fn by_step(plan: &Plan, end: impl Fn(&Edge) -> usize) -> Vec<Vec<&Edge>> {
    let mut sorted = vec![Vec::new(); plan.steps.len()];
    for edge in &plan.edges {
        sorted[end(edge)].push(edge);
    }
    sorted
}

struct Loop<'a, 'b> {
    shared: &'b Shared<'a>,
    plan: &'b Plan,
    inventories: BTreeMap<ComponentName, Inventory>,
    states: Vec<State>,
    started: Vec<Option<Duration>>,
    /// The step whose milestone let this one go on last.
    held_by: Vec<Option<usize>>,
    /// For each step the edges into it.
    into: Vec<Vec<&'b Edge>>,
    /// For each step the edges out of it.
    out_of: Vec<Vec<&'b Edge>>,
    announced: BTreeSet<&'b str>,
    /// Jobs that were seen complete, which the inventory is still to remember.
    complete: BTreeMap<ComponentName, Vec<ObjectId>>,
    /// Components whose inventory is being written with such Jobs.
    recording: BTreeSet<ComponentName>,
    /// What components have left of their deadlines.
    budgets: BTreeMap<&'b ComponentName, Budget>,
    failures: Vec<(String, Failure)>,
    stopped: Option<Outcome>,
    last: Option<usize>,
}

impl<'b> Loop<'_, 'b> {
    async fn work(&mut self, stop: LocalBoxFuture<'_, Outcome>) {
        let mut running: FuturesUnordered<LocalBoxFuture<'b, Done>> = FuturesUnordered::new();
        let mut stop = stop.fuse();
        let plan = self.plan;
        for name in plan.components() {
            self.announce(name);
        }
        loop {
            if self.stopped.is_none() {
                self.start(&mut running);
            }
            if running.is_empty() {
                return;
            }
            tokio::select! {
                biased;
                outcome = &mut stop, if self.stopped.is_none() => self.stopped = Some(outcome),
                Some(done) = running.next() => self.done(done),
            }
            if self.stopped == Some(Outcome::LockLost) {
                // Another run may be at work: what was sent is cut off, and nothing is waited for.
                return;
            }
            if self.stopped.is_some() {
                // What was sent is finished, so that the inventory is true; gates are not waited for.
                while self.is_sending() || !self.recording.is_empty() {
                    match running.next().await {
                        Some(done) => self.done(done),
                        None => break,
                    }
                }
                return;
            }
        }
    }

    /// Whether objects are being written. Steps on hosts are not waited for: a phase goes on
    /// there without us, and the next run joins it.
    fn is_sending(&self) -> bool {
        let mut steps = self.states.iter().zip(&self.plan.steps);
        steps.any(|(state, step)| *state == State::Applying && matches!(step.id, StepId::Stage(..)))
    }

    /// Starts everything whose edges hold.
    fn start(&mut self, running: &mut FuturesUnordered<LocalBoxFuture<'b, Done>>) {
        let (shared, plan) = (self.shared, self.plan);
        self.record(running);
        for (index, step) in plan.steps.iter().enumerate() {
            let recording =
                matches!(&step.id, StepId::Stage(component, _) if self.recording.contains(component));
            if self.states[index] == State::Waiting && !recording && self.holds(index, Blocks::Apply) {
                let deadline = self.begin(step);
                self.states[index] = State::Applying;
                self.started[index] = Some(shared.started.elapsed());
                let objects = step.actions.iter().filter(|action| action.verb.writes()).count();
                shared.report(EventKind::StepStarted { step: step.id.clone(), objects });
                let inventory = match &step.id {
                    StepId::Stage(component, _) => self.inventories.remove(component).unwrap_or_default(),
                    StepId::Host { .. } => Inventory::default(),
                };
                running.push(
                    async move {
                        gate::expect(shared, step, deadline).await;
                        let (inventory, result) = apply::apply(shared, step, inventory, deadline).await;
                        Done::Applied(index, inventory, result)
                    }
                    .boxed_local(),
                );
            }
            if self.states[index] == State::Applied && self.holds(index, Blocks::Ready) {
                let deadline = self.begin(step);
                self.states[index] = State::Gating;
                running.push(
                    async move {
                        let result = gate::wait(shared, plan, step, deadline).await;
                        if result.is_err() {
                            apply::delete_failed(shared, step).await;
                        }
                        Done::Gated(index, result)
                    }
                    .boxed_local(),
                );
            }
        }
    }

    /// A step goes to work; answers when it must be done. Hosts have no deadline in common: each step has its own.
    fn begin(&mut self, step: &'b Step) -> Instant {
        let now = Instant::now();
        let whole = self.shared.options.timeout.unwrap_or(step.deadline);
        match &step.id {
            StepId::Stage(component, _) => {
                self.budgets.entry(component).or_insert_with(|| Budget::new(whole, now)).begin(now)
            }
            StepId::Host { .. } => now + whole,
        }
    }

    /// A step does nothing more for now.
    fn rest(&mut self, index: usize) {
        if let StepId::Stage(component, _) = &self.plan.steps[index].id
            && let Some(budget) = self.budgets.get_mut(component)
        {
            budget.end(Instant::now());
        }
    }

    /// Lets inventories remember Jobs, unless a step has the inventory in hand.
    fn record(&mut self, running: &mut FuturesUnordered<LocalBoxFuture<'b, Done>>) {
        let shared = self.shared;
        for (component, jobs) in std::mem::take(&mut self.complete) {
            let Some(mut inventory) = self.inventories.remove(&component) else {
                self.complete.insert(component, jobs);
                continue;
            };
            if jobs.iter().filter(|job| inventory.complete(job)).count() == 0 {
                self.inventories.insert(component, inventory);
                continue;
            }
            self.recording.insert(component.clone());
            running.push(
                async move {
                    let what = format!("inventory of {component}");
                    let act = async || {
                        let _permit = shared.requests.acquire().await;
                        shared.cluster()?.write_inventory(&component, &mut inventory).await
                    };
                    // The component is ready: without this its Jobs would only run once more.
                    if let Err(error) = shared.insist_on(None, &what, Instant::now() + RECORDING, act).await {
                        shared.report(EventKind::Warning {
                            message: format!(
                                "the {what} could not be written, so that Jobs that are done run again: {error}"
                            ),
                        });
                    }
                    Done::Recorded(component, inventory)
                }
                .boxed_local(),
            );
        }
    }

    /// Whether the edges into a step that hold back `blocks` hold.
    fn holds(&self, step: usize, blocks: Blocks) -> bool {
        self.into[step].iter().filter(|edge| edge.blocks == blocks).all(|edge| match edge.milestone {
            Milestone::Applied => {
                matches!(self.states[edge.from], State::Applied | State::Gating | State::Ready)
            }
            Milestone::Ready => self.states[edge.from] == State::Ready,
        })
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Applied(index, inventory, result) => {
                self.rest(index);
                let step = &self.plan.steps[index];
                if let StepId::Stage(component, _) = &step.id {
                    self.inventories.insert(component.clone(), inventory);
                }
                match result {
                    Ok(()) => {
                        self.states[index] = State::Applied;
                        self.shared.report(EventKind::StepApplied { step: step.id.clone() });
                        self.pass(index, Milestone::Applied);
                    }
                    Err(failure) => self.fail(index, failure),
                }
            }
            Done::Recorded(component, inventory) => {
                self.recording.remove(&component);
                self.inventories.insert(component, inventory);
            }
            Done::Gated(index, Ok(complete)) => {
                self.rest(index);
                if let StepId::Stage(component, _) = &self.plan.steps[index].id
                    && !complete.is_empty()
                {
                    self.complete.entry(component.clone()).or_default().extend(complete);
                }
                self.states[index] = State::Ready;
                self.last = Some(index);
                let plan = self.plan;
                let step = &plan.steps[index];
                let after = self.held_by[index].map(|before| self.plan.steps[before].id.clone());
                self.shared.report(EventKind::StepReady { step: step.id.clone(), after });
                self.pass(index, Milestone::Ready);
                self.announce(step.id.component());
            }
            Done::Gated(index, Err(failure)) => {
                self.rest(index);
                self.fail(index, failure);
            }
        }
    }

    /// Remembers that this step was the newest that others waited for.
    fn pass(&mut self, index: usize, milestone: Milestone) {
        for edge in self.out_of[index].iter().filter(|edge| edge.milestone == milestone) {
            if matches!(self.states[edge.to], State::Waiting | State::Applied) {
                self.held_by[edge.to] = Some(index);
            }
        }
    }

    fn fail(&mut self, index: usize, failure: Failure) {
        self.states[index] = State::Failed;
        let step: &Step = &self.plan.steps[index];
        let component = step.id.component().to_owned();
        self.shared.report(EventKind::ComponentFailed {
            component: component.clone(),
            step: step.id.clone(),
            failure: failure.clone(),
            blocks: self.blocked_by(index),
        });
        self.failures.push((component, failure));
    }

    /// The components that cannot go on without a step.
    fn blocked_by(&self, index: usize) -> Vec<String> {
        let mut blocked = BTreeSet::new();
        let mut open = vec![index];
        while let Some(step) = open.pop() {
            if blocked.insert(step) {
                open.extend(self.out_of[step].iter().map(|edge| edge.to));
            }
        }
        let own = self.plan.steps[index].id.component();
        let names: BTreeSet<&str> = blocked
            .iter()
            .map(|step| self.plan.steps[*step].id.component())
            .filter(|name| *name != own)
            .collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// Reports a component if its last step has become ready.
    fn announce(&mut self, name: &'b str) {
        let own = || self.plan.steps.iter().enumerate().filter(|(_, step)| step.id.component() == name);
        if self.announced.contains(name) || !own().all(|(index, _)| self.states[index] == State::Ready) {
            return;
        }
        let begun = own().filter_map(|(index, _)| self.started[index]).min();
        let now = self.shared.started.elapsed();
        let mut after: Vec<String> = Vec::new();
        for before in own().filter_map(|(index, _)| self.held_by[index]).rev() {
            let other = self.plan.steps[before].id.component();
            if other != name && !after.iter().any(|known| known == other) {
                after.push(other.to_owned());
            }
        }
        self.shared.report(EventKind::ComponentReady {
            component: name.to_owned(),
            objects: own().map(|(_, step)| step.actions.len()).sum(),
            took: begun.map_or(Duration::ZERO, |begun| now.saturating_sub(begun)),
            after,
        });
        self.announced.insert(name);
    }

    fn finish(self) -> Finished {
        let unfinished: Vec<String> = self
            .plan
            .components()
            .into_iter()
            .filter(|name| !self.announced.contains(name))
            .map(str::to_owned)
            .collect();
        let outcome = match self.stopped {
            Some(outcome) => outcome,
            None if self.failures.is_empty() && unfinished.is_empty() => Outcome::Done,
            None => Outcome::Failed,
        };
        let mut path: Vec<String> = Vec::new();
        let mut at = self.last;
        while let Some(index) = at {
            let name = self.plan.steps[index].id.component().to_owned();
            if path.last() != Some(&name) {
                path.push(name);
            }
            at = self.held_by[index];
        }
        path.reverse();
        let counts = *self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.report(EventKind::RunFinished {
            outcome,
            counts: Counts { keep: self.plan.counts().keep, ..counts },
            failed: self.failures.iter().map(|(name, _)| name.clone()).collect(),
            unfinished,
            took: self.shared.started.elapsed(),
            critical_path: path,
        });
        Finished { outcome, failures: self.failures }
    }
}

/// A request's error as a component's failure.
pub(crate) fn failed(error: &ClusterError) -> Failure {
    let said = error.to_string();
    let causes = causes(std::error::Error::source(error), &said);
    let message = std::iter::once(said).chain(causes).collect::<Vec<_>>().join(": ");
    let explained = patterns::explain(&message).map(|found| format!("{}: {}", found.cause, found.fix));
    Failure { code: error.code(), message, chain: owners(error), hint: explained.or_else(|| error.hint()) }
}

/// Who owns the fields that a conflict is about, one entry a manager.
fn owners(error: &ClusterError) -> Vec<Cause> {
    let ClusterError::Conflict { object, conflicts } = error else { return Vec::new() };
    let mut fields: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for conflict in conflicts {
        fields.entry(&conflict.manager).or_default().push(&conflict.field);
    }
    let cause = |(manager, fields): (&str, Vec<&str>)| Cause {
        object: object.clone(),
        message: format!("`{manager}` owns {}", fields.join(", ")),
    };
    fields.into_iter().map(cause).collect()
}
