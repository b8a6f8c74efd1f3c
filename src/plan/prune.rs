//! What earlier runs applied and nobody wants any more: what of it is
//! deleted, in which order, what is only forgotten, and what is kept.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use super::live::{Leftover, Observed};
use super::planner::Desired;
use super::{Action, Blocks, Edge, Guard, Guarded, Milestone, Reason, Stage, Step, StepId, Verb, namespaces};
use crate::model::names::ComponentName;
use crate::model::object::{GroupKind, ObjectId};
use crate::model::{kept, kinds};

/// How long objects may take to go.
const DEADLINE: Duration = Duration::from_secs(600);

/// Adds the steps that delete and forget, after everything that is wanted is ready, and gives what is kept.
pub(super) fn steps(
    desired: &Desired,
    observed: &Observed,
    steps: &mut Vec<Step>,
    edges: &mut Vec<Edge>,
) -> Vec<Guarded> {
    if observed.inventories.is_empty() {
        return Vec::new();
    }
    let wanted = Wanted::of(desired);
    let mut guarded = Vec::new();
    let mut places: BTreeMap<&ComponentName, usize> = BTreeMap::new();
    let others = steps.len();
    let needs = needs(desired, observed, steps, edges);
    for component in order(observed, &needs) {
        let Some(inventory) = observed.inventories.get(component) else { continue };
        let mut actions = Vec::new();
        for id in inventory.iter().rev() {
            match fate(id, component, &wanted, (desired, observed)) {
                Fate::Wanted => {}
                Fate::Guarded(why) => {
                    guarded.push(Guarded { component: component.clone(), object: id.clone(), why });
                }
                Fate::Act(verb, note) => {
                    actions.push(Action { note, ..Action::new(id.clone(), verb) });
                }
            }
        }
        let forgotten = !desired.components.iter().any(|wanted| wanted.name == *component);
        if actions.is_empty() && !(forgotten && inventory.is_empty()) {
            continue;
        }
        // Of equal turns, what was applied last goes first.
        actions.sort_by_key(|action| turn(&action.id.kind));
        let to = steps.len();
        let id = StepId::Stage(component.clone(), Stage::Prune);
        steps.push(Step { actions, ..Step::new(id, DEADLINE) });
        let edge = |from| Edge {
            from,
            milestone: Milestone::Ready,
            to,
            blocks: Blocks::Apply,
            reason: Reason::PruneOrder,
        };
        edges.extend((0..others).map(edge));
        // What needs it, if only through others, goes before, and stands before it here.
        let needing = places.iter().filter(|(other, _)| reaches(&needs, other.as_str(), component.as_str()));
        edges.extend(needing.map(|(_, from)| edge(*from)));
        places.insert(component, to);
    }
    guarded
}

/// What is wanted.
struct Wanted<'a> {
    /// Whose each object is.
    owners: HashMap<&'a ObjectId, &'a ComponentName>,
    namespaces: HashSet<&'a str>,
    kinds: HashSet<&'a GroupKind>,
}

impl<'a> Wanted<'a> {
    fn of(desired: &'a Desired) -> Self {
        let all = || {
            desired.components.iter().flat_map(|component| {
                let ids = component.objects.iter().map(|(_, object)| &object.id).chain(&component.idle);
                ids.map(move |id| (id, &component.name))
            })
        };
        Self {
            owners: all().collect(),
            namespaces: all().filter_map(|(id, _)| id.namespace.as_deref()).collect(),
            kinds: all().map(|(id, _)| &id.kind).collect(),
        }
    }

    /// Whether objects that are wanted cannot be without an object.
    fn uses(&self, id: &ObjectId) -> bool {
        match (id.kind.group.as_str(), id.kind.kind.as_str()) {
            ("", "Namespace") => self.namespaces.contains(id.name.as_str()),
            // Its name is the plural and the group.
            ("apiextensions.k8s.io", "CustomResourceDefinition") => {
                let group = id.name.split_once('.').map_or("", |(_, group)| group);
                self.kinds.iter().any(|kind| kind.group == group)
            }
            _ => false,
        }
    }
}

/// What becomes of an entry of an inventory.
enum Fate {
    /// It stays.
    Wanted,
    /// It is kept against the wish.
    Guarded(Guard),
    /// It is deleted, or forgotten.
    Act(Verb, Option<String>),
}

fn fate(
    id: &ObjectId,
    component: &ComponentName,
    wanted: &Wanted<'_>,
    (desired, observed): (&Desired, &Observed),
) -> Fate {
    match wanted.owners.get(id) {
        Some(owner) if *owner == component => return Fate::Wanted,
        Some(owner) => return Fate::Act(Verb::Forget, Some(format!("it is of {owner} now"))),
        None => {}
    }
    if id.kind.is("", "Namespace") && namespaces::is_usual(&id.name) {
        return Fate::Act(Verb::Forget, Some("every cluster has it".to_owned()));
    }
    match observed.leftovers.get(id) {
        Some(Leftover::Gone) => Fate::Act(Verb::Forget, Some("it is not there".to_owned())),
        Some(Leftover::Foreign) => {
            Fate::Act(Verb::Forget, Some("what is there now was made by others".to_owned()))
        }
        Some(Leftover::Shared) => {
            Fate::Act(Verb::Forget, Some("others made it, or have fields in it".to_owned()))
        }
        Some(Leftover::Marked) if !desired.allowed.data_loss => Fate::Guarded(Guard::Marked),
        Some(Leftover::Claims) if !desired.allowed.data_loss => Fate::Guarded(Guard::Data),
        None | Some(Leftover::Marked | Leftover::Claims) if wanted.uses(id) => Fate::Guarded(Guard::Used),
        None | Some(Leftover::Marked | Leftover::Claims) if !desired.allowed.data_loss && holds_data(id) => {
            Fate::Guarded(Guard::Data)
        }
        None | Some(Leftover::Marked | Leftover::Claims) => Fate::Act(Verb::Delete, None),
    }
}

/// Objects whose deletion loses data that cozy cannot make again.
fn holds_data(id: &ObjectId) -> bool {
    matches!(
        (id.kind.group.as_str(), id.kind.kind.as_str()),
        ("apiextensions.k8s.io", "CustomResourceDefinition")
            | ("", "Namespace" | "PersistentVolume" | "PersistentVolumeClaim")
    ) || kept::is_secret(id) // The passwords of the data in volumes that stay.
}

/// When objects of a kind go within their component; the next turn waits until those before are gone: custom
/// resources while their operator still looks after them, and what the API server calls before what answers it.
pub(crate) fn turn(kind: &GroupKind) -> u8 {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("admissionregistration.k8s.io", _) | ("apiregistration.k8s.io", "APIService") => 1,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => 3,
        ("", "Namespace") => 4,
        _ if kinds::built_in(kind).is_none() => 0,
        _ => 2,
    }
}

/// For each component those that it needs.
type Needs = BTreeMap<String, BTreeSet<String>>;

/// What components waited for when they were applied, and wait for now.
fn needs(desired: &Desired, observed: &Observed, steps: &[Step], edges: &[Edge]) -> Needs {
    let mut needs = Needs::new();
    for (component, needed) in &observed.needs {
        // What is wanted says itself what it needs now.
        if !desired.components.iter().any(|wanted| wanted.name == *component) {
            let names = needed.iter().map(ToString::to_string);
            needs.entry(component.to_string()).or_default().extend(names);
        }
    }
    for edge in edges {
        if let (Some(from), Some(to)) = (steps.get(edge.from), steps.get(edge.to)) {
            let (from, to) = (from.id.component(), to.id.component());
            needs.entry(to.to_owned()).or_default().insert(from.to_owned());
        }
    }
    needs
}

/// The components of the inventories, what needs others before them; where they need each other, by name.
fn order<'a>(observed: &'a Observed, needs: &Needs) -> Vec<&'a ComponentName> {
    let mut after = Vec::new();
    let mut seen = BTreeSet::new();
    for component in observed.inventories.keys() {
        visit(component.as_str(), needs, &mut seen, &mut after);
    }
    let known = after.iter().rev().filter_map(|name| observed.inventories.get_key_value(*name));
    known.map(|(name, _)| name).collect()
}

/// Puts a component behind everything that it needs.
fn visit<'a>(component: &'a str, needs: &'a Needs, seen: &mut BTreeSet<&'a str>, after: &mut Vec<&'a str>) {
    if !seen.insert(component) {
        return;
    }
    for needed in needs.get(component).into_iter().flatten() {
        visit(needed, needs, seen, after);
    }
    after.push(component);
}

/// Whether a component needs another one, if only through others.
fn reaches(needs: &Needs, from: &str, to: &str) -> bool {
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    visit(from, needs, &mut seen, &mut found);
    from != to && found.contains(&to)
}
