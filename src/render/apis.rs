//! The API versions that charts see (`.Capabilities.APIVersions`): what
//! Kubernetes has built in, and what the components before a chart bring. What
//! later components bring is never seen, so that a second plan sees the same.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Rendered;
use crate::model::component::Resolved;
use crate::model::kinds::SERVED;
use crate::model::object::{GroupKind, api_version};

/// What a version of Kubernetes has built in, `v1.36.3`; an unknown one has what the newest has.
pub(super) fn built_in(version: &str) -> BTreeSet<String> {
    let mut parts = version.trim_start_matches('v').split('.');
    let minor = parts.nth(1).and_then(|minor| minor.parse().ok()).unwrap_or(u32::MAX);
    let there = SERVED.iter().filter(|row| row.since <= minor);
    there.flat_map(|row| row.kinds().flat_map(|kind| names(&row.api_version(), kind))).collect()
}

/// An API version, alone and with a kind.
fn names(api_version: &str, kind: &str) -> [String; 2] {
    [api_version.to_owned(), format!("{api_version}/{kind}")]
}

/// The names of kinds at their versions.
pub(crate) fn served<'a>(kinds: impl IntoIterator<Item = (&'a GroupKind, &'a str)>) -> BTreeSet<String> {
    kinds
        .into_iter()
        .flat_map(|(kind, version)| names(&api_version(&kind.group, version), &kind.kind))
        .collect()
}

/// What a component brings: by its CRDs, by aggregated APIs, and by what it declares.
pub(super) fn brought(resolved: &Resolved, rendered: &Rendered) -> BTreeSet<String> {
    let declared = resolved.component.provides.all_kinds();
    let mut found = served(declared.map(|(provided, _)| (&provided.kind, provided.version.as_str())));
    for (_, object) in &rendered.objects {
        if let Some(kind) = object.defines() {
            let versions = object.value.pointer("/spec/versions").and_then(Value::as_array);
            let versions = versions.into_iter().flatten().filter(|version| version["served"] == true);
            let versions = versions.filter_map(|version| version["name"].as_str());
            found.extend(served(versions.map(|version| (&kind, version))));
        } else if let Some(group) = object.aggregates() {
            let version = object.value.pointer("/spec/version").and_then(Value::as_str);
            found.extend(version.map(|version| format!("{group}/{version}")));
        }
    }
    found
}

/// The order in which charts see each other: after what they need, and by name.
pub(super) fn order(components: &[Resolved]) -> Vec<usize> {
    let mut offers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, Resolved { component, .. }) in components.iter().enumerate() {
        let names = component.provides.capabilities.iter().map(String::as_str);
        for name in names.chain([component.name.as_str()]) {
            offers.entry(name).or_default().push(index);
        }
    }
    let mut left: BTreeSet<usize> = (0..components.len()).collect();
    let mut order = Vec::with_capacity(left.len());
    while let Some(first) = left.first().copied() {
        let waits = |index: &usize| {
            let needs = components.get(*index).map(|resolved| resolved.component.needs.as_slice());
            needs.unwrap_or_default().iter().any(|need| {
                let name = need.split('/').next().unwrap_or(need);
                offers.get(name).into_iter().flatten().any(|other| other != index && left.contains(other))
            })
        };
        // Those that wait for each other are refused by the planner.
        let next = left.iter().copied().find(|index| !waits(index)).unwrap_or(first);
        left.remove(&next);
        order.push(next);
    }
    order
}
