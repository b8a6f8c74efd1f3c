//! The loop that runs a plan: starts a step when its edges hold, and reports
//! what happens. Decides nothing that the plan did not decide.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::{Fuse, FutureExt as _, LocalBoxFuture};
use futures::stream::{FuturesUnordered, StreamExt as _};

use super::apply::Sent;
use super::budget::Budgets;
use super::event::{EventKind, Failure, Outcome};
use super::inventories::{self, Inventories};
pub(crate) use super::shared::{Options, Shared, Signal};
use super::{apply, gate};
use crate::cluster::inventory::Inventory;
use crate::model::names::ComponentName;
use crate::model::object::ObjectId;
use crate::plan::{Blocks, Counts, Edge, Milestone, Plan, Reason, Stage, Step, StepId};

/// How many steps that nothing waits for yet are at work at a time: an API server that is busy with them answers others
/// later.
const EARLY: usize = 4;

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
    Applied(usize, Inventory, Result<Sent, Failure>),
    /// With the Jobs that were seen complete, and that will be gone when the next run looks.
    Gated(usize, Result<Vec<ObjectId>, Failure>),
    /// An inventory was written once more.
    Recorded(ComponentName, Inventory),
}

/// What ends a run before all is done.
pub(crate) struct Stop<'a> {
    /// Ends when nothing new may be sent any more, with what is to be said of it.
    asked: Fuse<LocalBoxFuture<'a, Outcome>>,
    /// Ends when the lock is lost: another run may be at work. Polled as long as the run lasts.
    lost: Fuse<LocalBoxFuture<'a, ()>>,
}

impl<'a> Stop<'a> {
    /// Takes what asks a run to stop, and what tells that its lock is lost.
    pub(crate) fn new(
        asked: impl Future<Output = Outcome> + 'a,
        lost: impl Future<Output = ()> + 'a,
    ) -> Self {
        Self { asked: asked.boxed_local().fuse(), lost: lost.boxed_local().fuse() }
    }
}

impl<'a> From<LocalBoxFuture<'a, Outcome>> for Stop<'a> {
    /// There is no lock to be lost.
    fn from(asked: LocalBoxFuture<'a, Outcome>) -> Self {
        Self { asked: asked.fuse(), lost: std::future::pending().boxed_local().fuse() }
    }
}

/// Runs a plan.
pub(crate) async fn run<'a>(
    shared: &Shared<'_>,
    plan: &Plan,
    inventories: BTreeMap<ComponentName, Inventory>,
    stop: impl Into<Stop<'a>>,
) -> Finished {
    let mut loop_ = Loop {
        shared,
        plan,
        inventories: Inventories::new(plan, inventories),
        states: plan.steps.iter().map(|step| if step.done { State::Ready } else { State::Waiting }).collect(),
        started: vec![None; plan.steps.len()],
        held: vec![Held::default(); plan.steps.len()],
        into: by_step(plan, |edge| edge.to),
        out_of: by_step(plan, |edge| edge.from),
        announced: BTreeSet::new(),
        budgets: Budgets::new(shared.options.timeout),
        failures: Vec::new(),
        stopped: None,
        last: None,
    };
    loop_.work(stop.into()).await;
    loop_.finish()
}

/// The edges of a plan by one of their ends.
fn by_step(plan: &Plan, end: impl Fn(&Edge) -> usize) -> Vec<Vec<&Edge>> {
    let mut sorted = vec![Vec::new(); plan.steps.len()];
    for edge in &plan.edges {
        sorted[end(edge)].push(edge);
    }
    sorted
}

/// The milestones that a step waited for last: another's, with how far that one was. Two steps may wait for each other,
/// each for another of its two milestones.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    /// Before it went to work.
    apply: Option<(usize, Milestone)>,
    /// Before its gates were looked at.
    ready: Option<(usize, Milestone)>,
}

impl Held {
    /// What let it be this far.
    fn before(self, milestone: Milestone) -> Option<(usize, Milestone)> {
        match milestone {
            Milestone::Applied => self.apply,
            Milestone::Ready => self.ready.or(self.apply),
        }
    }
}

struct Loop<'a, 'b> {
    shared: &'b Shared<'a>,
    plan: &'b Plan,
    inventories: Inventories,
    states: Vec<State>,
    started: Vec<Option<Duration>>,
    /// For each step what it waited for.
    held: Vec<Held>,
    /// For each step the edges into it.
    into: Vec<Vec<&'b Edge>>,
    /// For each step the edges out of it.
    out_of: Vec<Vec<&'b Edge>>,
    announced: BTreeSet<&'b str>,
    /// What components have left of their deadlines.
    budgets: Budgets<'b>,
    failures: Vec<(String, Failure)>,
    stopped: Option<Outcome>,
    /// The step that ended last, well or not, and how far it was to be.
    last: Option<(usize, Milestone)>,
}

impl<'b> Loop<'_, 'b> {
    async fn work(&mut self, mut stop: Stop<'_>) {
        let mut running: FuturesUnordered<LocalBoxFuture<'b, Done>> = FuturesUnordered::new();
        let plan = self.plan;
        for name in plan.components() {
            self.announce(name);
        }
        loop {
            if self.stopped.is_none() {
                self.start(&mut running);
            }
            // What was sent is finished, so that the inventory is true; gates are not waited for.
            let goes_on = self.stopped.is_none() || self.is_sending() || self.inventories.are_recording();
            if running.is_empty() || !goes_on {
                return;
            }
            tokio::select! {
                biased;
                () = &mut stop.lost => {
                    // Another run may be at work: what was sent is cut off, and nothing is waited for.
                    self.stopped = Some(Outcome::LockLost);
                    return;
                }
                outcome = &mut stop.asked, if self.stopped.is_none() => {
                    self.stopped = Some(outcome);
                    self.shared.stop();
                }
                Some(done) = running.next() => self.done(done),
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
        for (component, inventory) in self.inventories.due() {
            running.push(
                async move {
                    let inventory = inventories::record(shared, &component, inventory).await;
                    Done::Recorded(component, inventory)
                }
                .boxed_local(),
            );
        }
        let mut early = None;
        for (index, step) in plan.steps.iter().enumerate() {
            if self.may_begin(index, &mut early) {
                let deadline = self.budgets.begin(step);
                self.states[index] = State::Applying;
                self.started[index] = Some(shared.started.elapsed());
                let objects = step.actions.iter().filter(|action| action.verb.writes()).count();
                shared.report(EventKind::StepStarted { step: step.id.clone(), objects });
                let own = step.id.component_name();
                let inventory = own.map(|component| self.inventories.take(component)).unwrap_or_default();
                running.push(
                    async move {
                        gate::expect(shared, step);
                        let (inventory, result) = apply::apply(shared, step, inventory, deadline).await;
                        Done::Applied(index, inventory, result)
                    }
                    .boxed_local(),
                );
            }
            if self.states[index] == State::Applied && self.holds(index, Blocks::Ready) {
                let deadline = self.budgets.begin(step);
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

    /// Whether a step may go to work now; `early` counts those at work that nothing waits for yet, once it is asked for.
    fn may_begin(&self, index: usize, early: &mut Option<usize>) -> bool {
        let component = self.plan.steps[index].id.component_name();
        if self.states[index] != State::Waiting
            || component.is_some_and(|component| self.inventories.is_recording(component))
            || !self.holds(index, Blocks::Apply)
        {
            return false;
        }
        if self.is_early(index) {
            let early = early.get_or_insert_with(|| self.count_early());
            *early += 1;
            return *early <= EARLY;
        }
        true
    }

    /// How many steps are at work that nothing waits for yet.
    fn count_early(&self) -> usize {
        let states = self.states.iter().enumerate();
        states.filter(|(index, state)| **state == State::Applying && self.is_early(*index)).count()
    }

    /// Whether a step makes namespaces whose objects cannot be sent yet for another reason: what is sent now goes first.
    fn is_early(&self, index: usize) -> bool {
        // Deletions wait for everything.
        let mut after = self.out_of[index].iter().filter(|edge| edge.reason != Reason::PruneOrder).peekable();
        let is_held_otherwise = |edge: &&Edge| {
            self.into[edge.to].iter().any(|other| {
                let counts = other.blocks == Blocks::Apply || edge.blocks == Blocks::Ready;
                counts && !self.is_passed(other) && !self.may_make_namespaces(other.from)
            })
        };
        self.may_make_namespaces(index) && after.peek().is_some() && after.all(is_held_otherwise)
    }

    /// Whether a step makes namespaces, and nothing holds it back.
    fn may_make_namespaces(&self, index: usize) -> bool {
        matches!(self.plan.steps[index].id, StepId::Stage(_, Stage::Namespaces))
            && matches!(self.states[index], State::Waiting | State::Applying)
            && self.holds(index, Blocks::Apply)
    }

    /// Whether the edges into a step that hold back `blocks` hold.
    fn holds(&self, step: usize, blocks: Blocks) -> bool {
        self.into[step].iter().filter(|edge| edge.blocks == blocks).all(|edge| self.is_passed(edge))
    }

    /// Whether what an edge waits for has happened.
    fn is_passed(&self, edge: &Edge) -> bool {
        match edge.milestone {
            Milestone::Applied => {
                matches!(self.states[edge.from], State::Applied | State::Gating | State::Ready)
            }
            Milestone::Ready => self.states[edge.from] == State::Ready,
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Applied(index, inventory, result) => {
                let step = &self.plan.steps[index];
                self.budgets.end(step);
                if let Some(component) = step.id.component_name() {
                    self.inventories.give_back(component.clone(), inventory);
                }
                match result {
                    // It began, and will not go on.
                    Ok(Sent::Part) => self.states[index] = State::Waiting,
                    Ok(Sent::All) => {
                        self.states[index] = State::Applied;
                        self.shared.report(EventKind::StepApplied { step: step.id.clone() });
                        self.pass(index, Milestone::Applied);
                    }
                    Err(failure) => self.fail(index, failure),
                }
            }
            Done::Recorded(component, inventory) => {
                self.inventories.give_back(component, inventory);
            }
            Done::Gated(index, Ok(complete)) => {
                let plan = self.plan;
                let step = &plan.steps[index];
                self.budgets.end(step);
                if let Some(component) = step.id.component_name() {
                    self.inventories.remember(component, complete);
                }
                self.states[index] = State::Ready;
                self.last = Some((index, Milestone::Ready));
                let before = self.held[index].before(Milestone::Ready);
                let after = before.map(|(before, _)| plan.steps[before].id.clone());
                self.shared.report(EventKind::StepReady { step: step.id.clone(), after });
                self.pass(index, Milestone::Ready);
                self.announce(step.id.component());
            }
            Done::Gated(index, Err(failure)) => {
                self.budgets.end(&self.plan.steps[index]);
                self.fail(index, failure);
            }
        }
    }

    /// Remembers that this step was the newest that others waited for.
    fn pass(&mut self, index: usize, milestone: Milestone) {
        for edge in self.out_of[index].iter().filter(|edge| edge.milestone == milestone) {
            let (held, state) = (&mut self.held[edge.to], self.states[edge.to]);
            match edge.blocks {
                Blocks::Apply if state == State::Waiting => held.apply = Some((index, milestone)),
                Blocks::Ready if state == State::Applied => held.ready = Some((index, milestone)),
                Blocks::Apply | Blocks::Ready => {}
            }
        }
    }

    fn fail(&mut self, index: usize, failure: Failure) {
        let was = std::mem::replace(&mut self.states[index], State::Failed);
        let milestone = if was == State::Applying { Milestone::Applied } else { Milestone::Ready };
        self.last = Some((index, milestone));
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
        let held = own().filter_map(|(index, _)| self.held[index].before(Milestone::Ready));
        for (before, _) in held.rev() {
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
        // Each step of this way is earlier than the one before.
        while let Some((index, milestone)) = at {
            let name = self.plan.steps[index].id.component().to_owned();
            if path.last() != Some(&name) {
                path.push(name);
            }
            at = self.held[index].before(milestone);
        }
        path.reverse();
        let counts = self.shared.counts();
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
