//! Kinds that no CRD of the plan defines, because a component's pods define them when they run, as many operators do.
//! They are waited for before their objects are sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::planner::{Desired, DesiredComponent, Observed};
use super::{Step, StepId, references};
use crate::model::object::{GroupKind, Object};

/// Lets the steps that run a component's pods wait for the CRDs of kinds that it declares, that are used, and that
/// nobody renders and the cluster does not serve yet. Of a kind that is never used nothing is expected: whether it
/// comes may hang on a setting.
pub(super) fn add(desired: &Desired, observed: &Observed, steps: &mut [Step]) {
    if desired.components.iter().all(|component| component.provides.all_kinds().next().is_none()) {
        return;
    }
    let objects = || desired.components.iter().flat_map(|component| &component.objects);
    let used: foldhash::HashSet<&GroupKind> = objects().map(|(_, object)| &object.id.kind).collect();
    let mut known: foldhash::HashSet<GroupKind> =
        objects().filter_map(|(_, object)| object.defines()).collect();
    known.extend(observed.served.iter().flat_map(BTreeMap::keys).cloned());
    for component in &desired.components {
        let awaits: Vec<Arc<Object>> = component
            .provides
            .all_kinds()
            .filter(|(provided, _)| used.contains(&provided.kind) && known.insert(provided.kind.clone()))
            .map(|(provided, scope)| Arc::new(provided.definition(scope)))
            .collect();
        if awaits.is_empty() {
            continue;
        }
        if let Some(step) = runner(component, steps) {
            step.awaits = awaits;
            step.done = false;
        }
    }
}

/// The first step of a component that runs pods, or else its last one.
fn runner<'a>(component: &DesiredComponent, steps: &'a mut [Step]) -> Option<&'a mut Step> {
    let own = |step: &Step| matches!(&step.id, StepId::Stage(name, _) if *name == component.name);
    let runs = |step: &Step| {
        step.actions.iter().filter_map(|action| action.object.as_deref()).any(references::has_pods)
    };
    let at = steps.iter().position(|step| own(step) && runs(step)).or_else(|| steps.iter().rposition(own))?;
    steps.get_mut(at)
}
