//! What must be allowed in a cluster for a plan to be made and run. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::planner::Desired;
use crate::model::kept::SYSTEM_NAMESPACE;
use crate::model::kinds;
use crate::model::object::GroupKind;

/// Something that one may do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Right {
    /// The API group.
    pub(crate) group: String,
    /// The plural.
    pub(crate) resource: String,
    /// Where; `None`: everywhere, or the kind has no namespaces.
    pub(crate) namespace: Option<String>,
    /// What.
    pub(crate) verb: &'static str,
}

impl Right {
    /// All rights that there are.
    pub(crate) fn everything() -> Self {
        let any = || "*".to_owned();
        Self { group: any(), resource: any(), namespace: None, verb: "*" }
    }

    /// `deployments.apps`.
    pub(crate) fn name(&self) -> String {
        if self.group.is_empty() {
            self.resource.clone()
        } else {
            format!("{}.{}", self.resource, self.group)
        }
    }
}

/// What is done with objects that are wanted: looked at, applied, waited for by watches of all namespaces, pruned.
const HERE: [&str; 4] = ["get", "create", "patch", "delete"];
const EVERYWHERE: [&str; 2] = ["list", "watch"];

/// What the engine itself keeps in its namespace, and reads of the cluster.
const OWN: [(&str, &str, &[&str]); 2] = [
    ("", "secrets", &["get", "list", "create", "patch", "delete"]),
    ("coordination.k8s.io", "leases", &["get", "create", "update", "patch", "delete"]),
];
const READ: [(&str, &str); 4] = [
    ("", "nodes"),
    ("storage.k8s.io", "storageclasses"),
    ("networking.k8s.io", "ingressclasses"),
    ("", "pods"),
];

/// What a plan for `desired` needs. `served` gives the plurals of kinds that the cluster has.
pub(crate) fn needed(desired: &Desired, served: impl Fn(&GroupKind) -> Option<String>) -> BTreeSet<Right> {
    let mut all = BTreeSet::new();
    let mut add = |group: &str, resource: &str, namespace: Option<&str>, verbs: &[&'static str]| {
        all.extend(verbs.iter().map(|verb| Right {
            group: group.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.map(str::to_owned),
            verb,
        }));
    };
    add("", "namespaces", None, &["get", "create", "patch"]);
    for (group, resource, verbs) in OWN {
        add(group, resource, Some(SYSTEM_NAMESPACE), verbs);
    }
    for (group, resource) in READ {
        add(group, resource, None, &["list"]);
    }
    let objects = || desired.components.iter().flat_map(|component| &component.objects).map(|(_, it)| it);
    let defined: BTreeMap<GroupKind, String> = objects()
        .filter_map(|object| {
            let plural = object.value.pointer("/spec/names/plural")?.as_str()?;
            Some((object.defines()?, plural.to_owned()))
        })
        .collect();
    for object in objects() {
        let kind = &object.id.kind;
        let plural = served(kind).or_else(|| defined.get(kind).cloned());
        let plural = plural.unwrap_or_else(|| kinds::plural(&kind.kind));
        add(&kind.group, &plural, object.id.namespace.as_deref(), &HERE);
        add(&kind.group, &plural, None, &EVERYWHERE);
    }
    all
}

/// Rights for people: by what and where they are, with all that is missing of it.
pub(crate) fn summed_up(missing: &BTreeSet<Right>) -> Vec<(String, Option<String>, Vec<&'static str>)> {
    let mut sums: BTreeMap<(String, Option<String>), Vec<&'static str>> = BTreeMap::new();
    for right in missing {
        sums.entry((right.name(), right.namespace.clone())).or_default().push(right.verb);
    }
    sums.into_iter().map(|((name, namespace), verbs)| (name, namespace, verbs)).collect()
}
