//! What concerns several files of a catalogue: bundles that extend each
//! other, components that bundles and `needs:` name, settings in bundles.

use super::catalogue::{Catalogue, NotFlat, Trees};
use super::component::PROVIDED;
use super::file::Tree;
use super::finding::Finding;
use super::names::{BundleName, ComponentName};
use super::raw;
use super::suggest::did_you_mean;

/// Stages at which an edge can stop.
const STAGES: [&str; 6] = ["namespaces", "crds", "objects", "webhooks", "resources", "gates"];

/// All mistakes between files.
pub(super) fn check(catalogue: &Catalogue, trees: &Trees, findings: &mut Vec<Finding>) {
    for (name, tree) in &trees.bundles {
        let mut found = bundle(catalogue, name, tree);
        tree.keep_own(&mut found);
        findings.append(&mut found);
    }
    for (name, tree) in &trees.components {
        let mut found = needs(catalogue, name, tree);
        tree.keep_own(&mut found);
        findings.append(&mut found);
    }
}

fn unknown(
    tree: &Tree,
    range: std::ops::Range<usize>,
    code: u16,
    what: &str,
    name: &str,
    known: &[&str],
) -> Finding {
    let label = did_you_mean(name, known.iter().copied());
    let finding = Finding::error(code, format!("there is no {what} `{name}`")).on(&tree.source, range);
    if label.is_empty() {
        finding.hinted(format!("known: {}", known.join(", ")))
    } else {
        finding.labelled(label)
    }
}

fn bundle(catalogue: &Catalogue, name: &BundleName, tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(bundle) = catalogue.bundles.get(name) else { return findings };
    for (index, base) in bundle.extends.iter().enumerate() {
        if !catalogue.bundles.contains_key(base) && !catalogue.unread.contains(base.as_str()) {
            let range = tree.root.at(["extends", &index.to_string()]).range.clone();
            let known: Vec<&str> = catalogue.bundles.keys().map(BundleName::as_str).collect();
            findings.push(unknown(tree, range, 1208, "bundle", base.as_str(), &known));
        }
    }
    if let Err(problem) = catalogue.ends(name) {
        // Too many levels are too many for all that is above, too: said once.
        let is_first = match &problem {
            NotFlat::Unknown(_) => false,
            NotFlat::Cycle(_) => true,
            NotFlat::Deep(_) => {
                let mut bases = bundle.extends.iter();
                bases.all(|base| !matches!(catalogue.ends(base), Err(NotFlat::Deep(_))))
            }
        };
        if is_first {
            let range = tree.root.at(["extends"]).range.clone();
            let finding = Finding::error(problem.code(), problem.to_string()).on(&tree.source, range);
            findings.push(finding.hinted(problem.hint(catalogue.bundles.keys())));
        }
    }
    let entries = tree.root.at(["components"]);
    for component in bundle.components.keys() {
        match catalogue.components.get(component) {
            None if catalogue.unread.contains(component.as_str()) => {}
            None => {
                let range = entries.key(component.as_str()).map_or(0..0, |key| key.range.clone());
                let known: Vec<&str> = catalogue.components.keys().map(ComponentName::as_str).collect();
                findings.push(unknown(tree, range, 1209, "component", component.as_str(), &known));
            }
            Some(known) => {
                let entry = entries.get(component.as_str());
                let values = entry.and_then(|entry| entry.get("values"));
                findings.extend(values.into_iter().flat_map(|node| raw::words(&tree.source, node)));
                let written = entry.and_then(|entry| entry.get("settings"));
                match (&known.settings, written) {
                    (Some(schema), Some(node)) => findings.extend(schema.check(&tree.source, node)),
                    (None, Some(node)) if known.whole => {
                        let message = format!("component `{component}` has no settings");
                        let finding = Finding::error(1101, message).on(&tree.source, node.range.clone());
                        findings.push(finding.hinted("take them out"));
                    }
                    (None, Some(_)) | (_, None) => {}
                }
            }
        }
    }
    findings
}

fn needs(catalogue: &Catalogue, name: &ComponentName, tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(known) = catalogue.components.get(name) else { return findings };
    for (index, need) in known.component.needs.iter().enumerate() {
        let range = tree.root.at(["needs", &index.to_string()]).range.clone();
        let (what, stage) =
            need.split_once('/').map_or((need.as_str(), None), |(what, stage)| (what, Some(stage)));
        if let Some(stage) = stage.filter(|stage| !STAGES.contains(stage)) {
            let finding =
                Finding::error(1222, format!("there is no stage `{stage}`")).on(&tree.source, range.clone());
            let finding = finding.labelled(did_you_mean(stage, STAGES));
            findings.push(finding.hinted(format!("one of: {}", STAGES.join(", "))));
        }
        if what == name.as_str() {
            let message = format!("component `{name}` needs itself");
            findings
                .push(Finding::error(1236, message).on(&tree.source, range.clone()).hinted("take it out"));
        }
        let capabilities =
            catalogue.components.values().flat_map(|known| &known.component.provides.capabilities);
        let mut all: Vec<&str> = capabilities.map(String::as_str).chain(PROVIDED).collect();
        all.extend(catalogue.components.keys().map(ComponentName::as_str));
        if !all.contains(&what) && !catalogue.unread.contains(what) {
            findings.push(unknown(tree, range, 1209, "component or capability", what, &all));
        }
    }
    for (index, ignored) in known.component.ignore_edges.iter().enumerate() {
        let mut all: Vec<&str> = PROVIDED.to_vec();
        all.extend(catalogue.components.keys().map(ComponentName::as_str));
        if !all.contains(&ignored.as_str()) && !catalogue.unread.contains(ignored.as_str()) {
            let range = tree.root.at(["ignoreEdges", &index.to_string()]).range.clone();
            findings.push(unknown(tree, range, 1209, "component", ignored.as_str(), &all));
        }
    }
    findings
}
