//! What is known of a cluster before the plan: what there is of what is
//! wanted, how it differs, and what earlier runs left.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::Change;
use super::facility::Facility;
use super::planner::Desired;
use crate::model::names::ComponentName;
use crate::model::object::{GroupKind, ObjectId};

/// What is there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    /// The kinds that the cluster serves, with the versions at which it does; `None`: there is no cluster yet.
    pub(crate) served: Option<BTreeMap<GroupKind, BTreeSet<String>>>,
    /// What the cluster has that objects use by a general name; `None`: there is a cluster, and nobody looked.
    pub(crate) provided: Option<BTreeSet<Facility>>,
    /// What is known of each wanted object that exists.
    pub(crate) objects: BTreeMap<ObjectId, Live>,
    /// What earlier runs applied, by component, in that order.
    pub(crate) inventories: BTreeMap<ComponentName, Vec<ObjectId>>,
    /// The components that each of them waited for.
    pub(crate) needs: BTreeMap<ComponentName, BTreeSet<ComponentName>>,
    /// What of the inventories nobody wants any more, and is not simply to be deleted.
    pub(crate) leftovers: BTreeMap<ObjectId, Leftover>,
    /// The clouds that the inventories are of, as far as they say so.
    pub(crate) clouds: BTreeSet<String>,
}

impl Observed {
    /// What is known where no cluster was asked: `unseen`, there is one; else there is nothing yet.
    pub(crate) fn nothing(unseen: bool) -> Self {
        Self { provided: (!unseen).then(BTreeSet::new), ..Self::default() }
    }
}

/// What is known of an object that exists.
#[derive(Debug, Clone, Default)]
pub(crate) struct Live {
    /// How it differs.
    pub(crate) verdict: Verdict,
    /// Its health rule holds.
    pub(crate) ready: bool,
    /// It is a Job or a Pod that has ended badly.
    pub(crate) failed: bool,
    /// The inventory of its component has it, and knows what it became.
    pub(crate) recorded: bool,
    /// Others made it, and nobody's inventory has it: who has fields in it.
    pub(crate) foreign: Option<Vec<String>>,
    /// Its uid.
    pub(crate) uid: Option<String>,
}

/// What is in a namespace that is being deleted, or of a kind whose definition is, is as good as gone, however it looks.
pub(crate) fn goes_along(desired: &Desired, objects: &mut BTreeMap<ObjectId, Live>) {
    let going = |id: &ObjectId| objects.get(id).is_some_and(|live| matches!(live.verdict, Verdict::Going));
    let wanted = desired.components.iter().flat_map(|component| &component.objects).map(|(_, object)| object);
    let (mut namespaces, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    for object in wanted.filter(|object| going(&object.id)) {
        if object.id.kind.is("", "Namespace") {
            namespaces.insert(object.id.name.as_str());
        }
        kinds.extend(object.defines());
    }
    if namespaces.is_empty() && kinds.is_empty() {
        return;
    }
    for (id, live) in objects.iter_mut() {
        let along = kinds.contains(&id.kind)
            || id.namespace.as_deref().is_some_and(|namespace| namespaces.contains(namespace));
        // A Job that is done is not run again because its namespace is made anew.
        if along && !matches!(live.verdict, Verdict::Finished) {
            let uid = live.uid.take();
            *live = Live { verdict: Verdict::Going, recorded: live.recorded, uid, ..Live::default() };
        }
    }
}

impl Live {
    /// It is as wanted.
    pub(crate) fn is_same(&self) -> bool {
        self.foreign.is_none() && matches!(self.verdict, Verdict::Same | Verdict::Finished)
    }

    /// It is as wanted, and nothing is to be remembered of it.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_same() && self.recorded
    }
}

/// How an object that exists differs from what is wanted.
#[derive(Debug, Clone)]
pub(crate) enum Verdict {
    /// Not at all.
    Same,
    /// It is a Job that was complete, and is gone by now.
    Finished,
    /// In fields that can be changed.
    Change {
        /// What changes.
        changes: Vec<Change>,
        /// Fields that other managers own.
        conflicts: Vec<FieldConflict>,
        /// What the server has against it as things are.
        refused: Option<String>,
    },
    /// In fields that only a new object can have.
    Fixed {
        /// The fields, each with the server's words.
        fields: Vec<String>,
    },
    /// It is being deleted.
    Going,
}

impl Default for Verdict {
    fn default() -> Self {
        Self::Change { changes: Vec::new(), conflicts: Vec::new(), refused: None }
    }
}

/// A field whose value another manager set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct FieldConflict {
    /// The field, as the server writes it: `.spec.containers[name="a"].image`.
    pub(crate) field: String,
    /// Who set it.
    pub(crate) manager: String,
    /// The inventory says that it was ours.
    pub(crate) ours: bool,
    /// They set it by scaling the object, as autoscalers do.
    #[serde(skip)]
    pub(crate) scaled: bool,
}

impl FieldConflict {
    /// What to do about conflicts.
    pub(crate) const REMEDY: &str = "`--force-conflicts` takes these fields over; `ignoreFields:` in component.yaml leaves them to their managers";

    /// Several of them, for people.
    pub(crate) fn words(all: &[Self]) -> String {
        all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for FieldConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (`{}`)", self.field, self.manager)
    }
}

/// Why an object that nobody wants any more is not simply deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leftover {
    /// It is not there.
    Gone,
    /// What is there now is somebody else's: it was never applied, or others made it anew.
    Foreign,
    /// It is a namespace in which others have fields: somebody made it, or uses it, too.
    Shared,
    /// It says of itself that it is to be kept.
    Marked,
    /// Claims belong to it, and go with it.
    Claims,
}
