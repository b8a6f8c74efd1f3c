//! How long a component may take: its deadline counts while it works, from its first request to its last gate, and
//! not while it waits for others.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::names::ComponentName;
use crate::plan::{Stage, Step, StepId};

/// The component whose deadline a step shares. Steps on hosts have their own; so has what is deleted: it comes last, and
/// finalizers take as long as they do.
fn sharing(step: &Step) -> Option<&ComponentName> {
    match &step.id {
        StepId::Stage(_, Stage::Prune) | StepId::Host { .. } => None,
        StepId::Stage(component, _) => Some(component),
    }
}

/// What components have left of their deadlines.
pub(super) struct Budgets<'a> {
    all: BTreeMap<&'a ComponentName, Budget>,
    /// Instead of each component's own deadline.
    timeout: Option<Duration>,
}

impl<'a> Budgets<'a> {
    /// None has begun yet.
    pub(super) fn new(timeout: Option<Duration>) -> Self {
        Self { all: BTreeMap::new(), timeout }
    }

    /// A step goes to work; answers when it must be done.
    pub(super) fn begin(&mut self, step: &'a Step) -> Instant {
        let now = Instant::now();
        let whole = self.timeout.unwrap_or(step.deadline);
        match sharing(step) {
            Some(component) => {
                self.all.entry(component).or_insert_with(|| Budget::new(whole, now)).begin(now)
            }
            None => now + whole,
        }
    }

    /// A step does nothing more for now.
    pub(super) fn end(&mut self, step: &Step) {
        if let Some(budget) = sharing(step).and_then(|component| self.all.get_mut(component)) {
            budget.end(Instant::now());
        }
    }
}

/// What a component has left of its deadline.
#[derive(Debug, Clone, Copy)]
struct Budget {
    left: Duration,
    /// How many of its steps are at work.
    working: usize,
    /// Since when, if any is.
    since: Instant,
}

impl Budget {
    /// A component that has not begun yet.
    fn new(whole: Duration, now: Instant) -> Self {
        Self { left: whole, working: 0, since: now }
    }

    /// A step goes to work; answers when the component must be done.
    fn begin(&mut self, now: Instant) -> Instant {
        if self.working == 0 {
            self.since = now;
        }
        self.working += 1;
        self.since + self.left
    }

    /// A step has ended, or waits for others.
    fn end(&mut self, now: Instant) {
        self.working = self.working.saturating_sub(1);
        if self.working == 0 {
            self.left = self.left.saturating_sub(now.saturating_duration_since(self.since));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by reading: what was deleted had what its component had left of its deadline.
    #[tokio::test(start_paused = true)]
    async fn what_is_deleted_has_a_deadline_of_its_own() {
        let step = |stage, seconds| {
            Step::new(StepId::Stage("a".parse().unwrap(), stage), Duration::from_secs(seconds))
        };
        let (objects, prune, rest) =
            (step(Stage::Objects, 30), step(Stage::Prune, 600), step(Stage::Resources, 30));
        let mut budgets = Budgets::new(None);
        let left = |deadline: Instant| (deadline - Instant::now()).as_secs();
        assert_eq!(left(budgets.begin(&objects)), 30);
        tokio::time::advance(Duration::from_secs(29)).await;
        budgets.end(&objects);
        assert_eq!(left(budgets.begin(&prune)), 600);
        tokio::time::advance(Duration::from_secs(100)).await;
        budgets.end(&prune);
        assert_eq!(left(budgets.begin(&rest)), 1);
    }

    #[test]
    fn the_deadline_counts_while_any_step_works_and_not_in_between() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut budget = Budget::new(Duration::from_secs(60), start);
        // 0 to 10: the first step; 5 to 20: the second beside it.
        assert_eq!(budget.begin(at(0)), at(60));
        assert_eq!(budget.begin(at(5)), at(60));
        budget.end(at(10));
        budget.end(at(20));
        // 20 to 100: nothing but waiting for others.
        assert_eq!(budget.begin(at(100)), at(140));
        budget.end(at(200));
        assert_eq!(budget.begin(at(300)), at(300));
    }
}
