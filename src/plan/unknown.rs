//! What nobody knows: kinds of objects, versions of kinds that are known, and
//! kinds that gates are to judge.

use std::collections::{BTreeMap, BTreeSet};

use foldhash::HashSet;
use serde_json::Value;

use super::PlanError;
use super::edges;
use super::planner::{Desired, DesiredComponent, Observed};
use crate::model::component::GateSpec;
use crate::model::kinds;
use crate::model::object::{GroupKind, Object};
use crate::model::suggest::nearest;

/// The kinds that there will be.
struct Known<'a> {
    /// Those that components define or declare, with the versions that are served; `None`: not known which.
    own: BTreeMap<GroupKind, Option<BTreeSet<String>>>,
    /// Groups that servers of components serve.
    aggregated: BTreeSet<&'a str>,
    /// Those that the cluster serves, with the versions at which it does; `None`: nobody asked one.
    served: Option<&'a BTreeMap<GroupKind, BTreeSet<String>>>,
}

impl<'a> Known<'a> {
    fn new(desired: &'a Desired, observed: &'a Observed) -> Self {
        let mut own: BTreeMap<GroupKind, Option<BTreeSet<String>>> = BTreeMap::new();
        let objects = || desired.components.iter().flat_map(|component| &component.objects);
        for (_, object) in objects() {
            let Some(kind) = object.defines() else { continue };
            let versions = served(object);
            match (own.entry(kind).or_insert_with(|| Some(BTreeSet::new())), versions) {
                (Some(known), Some(more)) => known.extend(more),
                (slot, None) => *slot = None,
                (None, Some(_)) => {}
            }
        }
        for (provided, _) in desired.components.iter().flat_map(|component| component.provides.all_kinds()) {
            // What pods define when they run may have more versions than the one that is declared.
            if let Some(known) = own.entry(provided.kind.clone()).or_insert(None) {
                known.insert(provided.version.clone());
            }
        }
        let aggregated = objects().filter_map(|(_, object)| object.aggregates()).collect();
        Self { own, aggregated, served: observed.served.as_ref() }
    }

    fn has(&self, kind: &GroupKind) -> bool {
        kinds::built_in(kind).is_some()
            || self.own.contains_key(kind)
            || self.aggregated.contains(kind.group.as_str())
            || self.served.is_some_and(|served| served.contains_key(kind))
    }

    /// The versions at which a kind is served, where that is known, and an object's is none of them.
    fn others(&self, object: &Object) -> Option<BTreeSet<String>> {
        let kind = &object.id.kind;
        let is_other = |versions: &BTreeSet<String>| !versions.contains(&object.version);
        if kinds::built_in(kind).is_some()
            && let Some(versions) = kinds::versions(kind, &object.version).filter(is_other)
        {
            return Some(versions);
        }
        let brought = self.own.contains_key(kind) || self.aggregated.contains(kind.group.as_str());
        match self.served.and_then(|served| served.get(kind)) {
            Some(_) if brought => None, // The components may bring more versions than there are.
            Some(versions) => Some(versions.clone()).filter(is_other),
            None => self.own.get(kind).cloned().flatten().filter(is_other),
        }
    }

    /// The kind that may have been meant; empty: none is near.
    fn near(&self, kind: &str) -> Option<String> {
        let built_in = kinds::all_built_in();
        let all = built_in
            .chain(self.own.keys().cloned())
            .chain(self.served.into_iter().flat_map(BTreeMap::keys).cloned());
        let names: BTreeSet<String> = all.map(|kind| kind.to_string()).collect();
        nearest(kind, names.iter().map(String::as_str)).map(str::to_owned)
    }
}

/// The versions that a `CustomResourceDefinition` says are served; `None`: it names none at all.
fn served(definition: &Object) -> Option<BTreeSet<String>> {
    let versions = definition.value.pointer("/spec/versions")?.as_array()?;
    let served = versions.iter().filter(|version| version.get("served") != Some(&Value::Bool(false)));
    Some(served.filter_map(|version| Some(version.get("name")?.as_str()?.to_owned())).collect())
}

/// All that nobody knows.
pub(super) fn errors(desired: &Desired, observed: &Observed) -> Vec<PlanError> {
    let known = Known::new(desired, observed);
    let mut errors = kinds(desired, &known);
    errors.extend(gates(desired, &known));
    errors
}

/// Objects whose kind is neither built in, nor defined or declared by a component, nor served; and those of a version
/// at which their kind is not served. The first of each.
fn kinds(desired: &Desired, known: &Known<'_>) -> Vec<PlanError> {
    let (mut judged, mut unknown) = (HashSet::default(), HashSet::default());
    let mut errors = Vec::new();
    for component in &desired.components {
        for (_, object) in &component.objects {
            let kind = &object.id.kind;
            if !judged.insert((kind, &object.version)) {
                continue;
            }
            let name = || (component.name.clone(), Box::new(object.id.clone()));
            if !known.has(kind) {
                if unknown.insert(kind) {
                    let (component, object) = name();
                    let near = known.near(&kind.to_string());
                    errors.push(PlanError::UnknownKind { component, object, near });
                }
            } else if let Some(served) = known.others(object) {
                let (component, id) = name();
                let version = object.version.clone();
                errors.push(PlanError::UnknownVersion { component, object: id, version, served });
            }
        }
    }
    errors
}

/// Gates of kinds that nobody knows: they would judge nothing, whatever comes. Stand-ins are not all that their
/// components bring.
fn gates(desired: &Desired, known: &Known<'_>) -> Vec<PlanError> {
    let own = desired.components.iter().filter(|component| !component.stood_in);
    let unknown = own.flat_map(|component| {
        let gates = component.gates.iter().filter(|gate| !judges(known, component, gate));
        gates.map(|gate| {
            let kind = gate.of.split('/').next().unwrap_or_default();
            PlanError::UnknownGate {
                component: component.name.clone(),
                of: gate.of.clone(),
                near: known.near(kind),
            }
        })
    });
    unknown.collect()
}

/// Whether a gate's kind is known, or that of an object of the component.
fn judges(known: &Known<'_>, component: &DesiredComponent, gate: &GateSpec) -> bool {
    let kind = gate.of.split('/').next().unwrap_or_default();
    let is_it = |known: &GroupKind| edges::names_kind(kind, known);
    known.own.keys().any(is_it)
        || known.served.into_iter().flat_map(BTreeMap::keys).any(is_it)
        || kinds::all_built_in().any(|kind| is_it(&kind))
        || match kind.split_once('.') {
            Some((_, group)) => known.aggregated.contains(group),
            None => !known.aggregated.is_empty(),
        }
        || component.objects.iter().any(|(_, object)| edges::gate_is_of(gate, &object.id))
}
