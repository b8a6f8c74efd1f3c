//! What would make an installation shorter: the gates and the edges on its critical path, each with what it costs.

use std::time::Duration;

use super::graph::{Node, Schedule};
use super::planner::apply_time;
use super::{Blocks, Milestone, Plan, Reason};

/// How long a step takes, without what it waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Its requests.
    pub(crate) applying: Duration,
    /// From when its gates can hold until they do.
    pub(crate) gating: Duration,
}

/// When a step was worked on, from the start of the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// Its requests begin.
    pub(crate) started: Duration,
    /// They are answered.
    pub(crate) applied: Duration,
    /// Its gates hold.
    pub(crate) ready: Duration,
}

/// Something that makes the whole longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Saving {
    /// What.
    pub(crate) what: Culprit,
    /// How much sooner all would be ready without it.
    pub(crate) saves: Duration,
}

/// A gate or an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Culprit {
    /// The time that a step takes to be applied and to become ready: an index of the plan's steps.
    Step(usize),
    /// What one step waits for of another: an index of the plan's edges, the first between the two.
    Edge(usize),
}

/// How many are named.
const MOST: usize = 3;

/// What each step of a plan is expected to cost.
pub(crate) fn expected(plan: &Plan) -> Vec<Cost> {
    plan.steps.iter().map(|step| Cost { applying: apply_time(step), gating: step.expect }).collect()
}

/// What each step did cost: `times` are of the plan's steps, `None` where one was not finished.
pub(crate) fn measured(plan: &Plan, times: &[Option<Times>]) -> Vec<Cost> {
    let reached = |edge: &super::Edge| {
        let times = times.get(edge.from).copied().flatten().unwrap_or_default();
        match edge.milestone {
            Milestone::Applied => times.applied,
            Milestone::Ready => times.ready,
        }
    };
    let mut free: Vec<Duration> = vec![Duration::ZERO; plan.steps.len()];
    for edge in plan.edges.iter().filter(|edge| edge.blocks == Blocks::Ready) {
        if let Some(free) = free.get_mut(edge.to) {
            *free = (*free).max(reached(edge));
        }
    }
    times
        .iter()
        .zip(free)
        .map(|(times, free)| {
            let Times { started, applied, ready } = times.unwrap_or_default();
            Cost {
                applying: applied.saturating_sub(started),
                gating: ready.saturating_sub(applied.max(free)),
            }
        })
        .collect()
}

/// When each step starts and ends, if it costs that.
pub(crate) fn times(plan: &Plan, costs: &[Cost]) -> Vec<Times> {
    let schedule = schedule(plan, costs, |_| true, None);
    costs
        .iter()
        .enumerate()
        .map(|(step, cost)| {
            let applied = schedule.applied(step);
            Times { started: applied.saturating_sub(cost.applying), applied, ready: schedule.ready(step) }
        })
        .collect()
}

/// How long a component takes if its steps cost that, and it never waits for others: parts of it go at the same time.
pub(crate) fn alone(plan: &Plan, costs: &[Cost], component: &str) -> Duration {
    let own: Vec<usize> =
        (0..plan.steps.len()).filter(|&step| plan.steps[step].id.component() == component).collect();
    let place = |step: usize| own.binary_search(&step).ok();
    let inside = plan.edges.iter().filter_map(|edge| {
        Some(super::Edge { from: place(edge.from)?, to: place(edge.to)?, ..edge.clone() })
    });
    let edges: Vec<_> = inside.collect();
    let cost = |place: usize| own.get(place).and_then(|step| costs.get(*step)).copied().unwrap_or_default();
    let applying = |place| cost(place).applying;
    let gating = |place| cost(place).gating;
    Schedule::new(own.len(), &edges, applying, gating).critical_nodes().1
}

/// The longest chain of steps, if each costs that.
pub(crate) fn critical_path(plan: &Plan, costs: &[Cost]) -> Vec<usize> {
    schedule(plan, costs, |_| true, None).critical_path().0
}

/// The gates and edges that cost most, the worst first.
pub(crate) fn savings(plan: &Plan, costs: &[Cost]) -> Vec<Saving> {
    let whole = schedule(plan, costs, |_| true, None);
    let (path, total) = whole.critical_nodes();
    let mut found: Vec<Saving> = Vec::new();
    for pair in path.windows(2) {
        let [before, after] = *pair else { continue };
        if let Some((first, without)) = without_edge(plan, costs, before, after) {
            found.push(Saving { what: Culprit::Edge(first), saves: total.saturating_sub(without) });
        }
    }
    let mut steps: Vec<usize> = path.iter().map(|node| node / 2).collect();
    steps.dedup();
    for step in steps {
        let without = schedule(plan, costs, |_| true, Some(step)).critical_nodes().1;
        found.push(Saving { what: Culprit::Step(step), saves: total.saturating_sub(without) });
    }
    found.retain(|saving| !saving.saves.is_zero());
    found.sort_by(|a, b| b.saves.cmp(&a.saves).then_with(|| a.what.cmp(&b.what)));
    found.truncate(MOST);
    found
}

/// How long all takes without the edges between two nodes; `None` where there are none that could be left out.
fn without_edge(plan: &Plan, costs: &[Cost], before: Node, after: Node) -> Option<(usize, Duration)> {
    let between = |index: usize| {
        plan.edges
            .get(index)
            .is_some_and(|edge| super::graph::tail(edge) == before && super::graph::head(edge) == after)
    };
    let mut indices = (0..plan.edges.len()).filter(|index| between(*index));
    let first = indices.next()?;
    let needed = |index: &usize| {
        plan.edges.get(*index).is_none_or(|edge| {
            matches!(
                edge.reason,
                Reason::StageOrder
                    | Reason::NodeNetwork { .. }
                    | Reason::Kubernetes
                    | Reason::Quorum
                    | Reason::PruneOrder
            )
        })
    };
    if needed(&first) || indices.any(|index| needed(&index)) {
        return None;
    }
    Some((first, schedule(plan, costs, |index| !between(index), None).critical_nodes().1))
}

fn schedule(plan: &Plan, costs: &[Cost], keep: impl Fn(usize) -> bool, at_once: Option<usize>) -> Schedule {
    let edges: Vec<_> = plan
        .edges
        .iter()
        .enumerate()
        .filter(|(index, _)| keep(*index))
        .map(|(_, edge)| edge.clone())
        .collect();
    let cost = |step: usize| match at_once {
        Some(at_once) if at_once == step => Cost::default(),
        Some(_) | None => costs.get(step).copied().unwrap_or_default(),
    };
    Schedule::new(plan.steps.len(), &edges, |step| cost(step).applying, |step| cost(step).gating)
}
