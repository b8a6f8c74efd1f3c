//! The inventories of a run, each in the hand of one step at a time, and the Jobs that they are still to remember.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::event::EventKind;
use super::shared::Shared;
use crate::cluster::inventory::Inventory;
use crate::model::names::ComponentName;
use crate::model::object::ObjectId;
use crate::plan::{Plan, Stage, StepId};

/// How long it is tried to let an inventory remember Jobs that are done.
const RECORDING: Duration = Duration::from_secs(30);

/// The inventories that no step has in hand.
pub(super) struct Inventories {
    idle: BTreeMap<ComponentName, Inventory>,
    /// Jobs that were seen complete, which the inventory is still to remember.
    complete: BTreeMap<ComponentName, Vec<ObjectId>>,
    /// Components whose inventory is being written with such Jobs.
    recording: BTreeSet<ComponentName>,
}

impl Inventories {
    /// Takes them as they are in the cluster, and lets them know what the plan says.
    pub(super) fn new(plan: &Plan, mut all: BTreeMap<ComponentName, Inventory>) -> Self {
        hand_over(plan, &mut all);
        Self { idle: all, complete: BTreeMap::new(), recording: BTreeSet::new() }
    }

    /// Gives a component's inventory into a step's hand.
    pub(super) fn take(&mut self, component: &ComponentName) -> Inventory {
        self.idle.remove(component).unwrap_or_default()
    }

    /// Takes it back.
    pub(super) fn give_back(&mut self, component: ComponentName, inventory: Inventory) {
        self.recording.remove(&component);
        self.idle.insert(component, inventory);
    }

    /// Whether a component's inventory is being written with Jobs.
    pub(super) fn is_recording(&self, component: &ComponentName) -> bool {
        self.recording.contains(component)
    }

    /// Whether any is.
    pub(super) fn are_recording(&self) -> bool {
        !self.recording.is_empty()
    }

    /// Jobs were seen complete.
    pub(super) fn remember(&mut self, component: &ComponentName, jobs: Vec<ObjectId>) {
        if !jobs.is_empty() {
            self.complete.entry(component.clone()).or_default().extend(jobs);
        }
    }

    /// The inventories that are to be written once more, with such Jobs; those that a step has in hand come later.
    pub(super) fn due(&mut self) -> Vec<(ComponentName, Inventory)> {
        let mut due = Vec::new();
        for (component, jobs) in std::mem::take(&mut self.complete) {
            let Some(mut inventory) = self.idle.remove(&component) else {
                self.complete.insert(component, jobs);
                continue;
            };
            if jobs.iter().filter(|job| inventory.complete(job)).count() == 0 {
                self.idle.insert(component, inventory);
                continue;
            }
            self.recording.insert(component.clone());
            due.push((component, inventory));
        }
        due
    }
}

/// Writes an inventory that knows of more Jobs that are done, and gives it back.
pub(super) async fn record(
    shared: &Shared<'_>,
    component: &ComponentName,
    mut inventory: Inventory,
) -> Inventory {
    let what = format!("inventory of {component}");
    let act = async || shared.write_inventory(component, &mut inventory).await;
    // The component is ready: without this its Jobs would only run once more.
    if let Err(error) = shared.insist_on(None, &what, Instant::now() + RECORDING, act).await {
        shared.report(EventKind::Warning {
            message: format!(
                "the {what} could not be written, so that Jobs that are done run again: {error}"
            ),
        });
    }
    inventory
}

/// Lets inventories know what the plan says: all objects that a component is about to have, those that are of another
/// one now with what is known of them, and what each component waits for. Where that is news of objects, it is written
/// before the component's first step.
fn hand_over(plan: &Plan, inventories: &mut BTreeMap<ComponentName, Inventory>) {
    let steps = || {
        plan.steps.iter().filter_map(|step| match &step.id {
            StepId::Stage(component, stage) if !step.done && *stage != Stage::Prune => {
                Some((component, step.actions.iter().map(|action| &action.id)))
            }
            StepId::Stage(..) | StepId::Host { .. } => None,
        })
    };
    let is_known =
        |inventory: &Inventory, id: &ObjectId| inventory.get(id).is_some_and(|entry| entry.desired.is_some());
    let mut news = HashSet::new();
    for (component, ids) in steps() {
        let own = inventories.entry(component.clone()).or_default();
        news.extend(ids.filter(|id| !is_known(own, id)));
    }
    let mut known = HashMap::new();
    for (id, entry) in inventories.values().flat_map(Inventory::entries) {
        if entry.desired.is_some() && news.contains(id) {
            known.insert(id.clone(), entry.clone());
        }
    }
    for (component, ids) in steps() {
        let own = inventories.entry(component.clone()).or_default();
        for id in ids {
            match known.get(id) {
                Some(entry) if !is_known(own, id) => own.take_over(id, entry.clone()),
                Some(_) | None => own.add(id),
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
