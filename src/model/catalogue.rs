//! The catalogue: bundles and components from their files, and what a cloud
//! makes of them. No I/O: files come in by name.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::bundle::{Bundle, BundleEntry};
use super::component::Component;
use super::finding::{Finding, Source, sort};
use super::lock::Lock;
use super::names::{BundleName, ComponentName};
use super::release::{Release, ReleaseError};
use super::schema::{FileKind, SettingsSchema};
use super::yaml::{self, Node};
use super::{contract, cross};

/// One file of a catalogue.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// The name to show.
    pub(crate) shown: String,
    /// Its bytes.
    pub(crate) bytes: Cow<'static, [u8]>,
}

/// Files by path: `bundles/edge.yaml`, `templates/cilium/component.yaml`.
pub(crate) type Files = BTreeMap<String, File>;

/// All bundles and components that are known.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    /// Components by name.
    pub(crate) components: BTreeMap<ComponentName, Known>,
    /// Bundles by name.
    pub(crate) bundles: BTreeMap<BundleName, Bundle>,
    /// Lock files by bundle.
    locks: BTreeMap<String, Lock>,
    /// `bundles/kubernetes.lock`: the releases of Kubernetes, the newest first.
    kubernetes: Vec<Release>,
}

/// A component of the catalogue.
#[derive(Debug)]
pub(crate) struct Known {
    /// Its contract.
    pub(crate) component: Component,
    /// The schema of its settings.
    pub(crate) settings: Option<SettingsSchema>,
    /// Its files by name, without its folder.
    pub(crate) files: BTreeMap<String, Cow<'static, [u8]>>,
}

/// A file's tree, to find places in.
#[derive(Debug)]
pub(super) struct Tree {
    /// The file.
    pub(super) source: Arc<Source>,
    /// Its values.
    pub(super) root: Node,
}

/// The trees of a catalogue's files, for what concerns several of them.
#[derive(Debug, Default)]
pub(super) struct Trees {
    /// Of components.
    pub(super) components: BTreeMap<ComponentName, Tree>,
    /// Of bundles.
    pub(super) bundles: BTreeMap<BundleName, Tree>,
    /// Bundles and components that could not be read; they exist, nevertheless.
    pub(super) broken: BTreeSet<String>,
}

/// Checks a tree against its schema, then makes the typed value.
pub(super) fn typed<T: DeserializeOwned>(
    kind: FileKind,
    source: &Arc<Source>,
    root: &Node,
) -> Result<T, Vec<Finding>> {
    let findings = kind.check(source, root);
    if !findings.is_empty() {
        return Err(findings);
    }
    serde_path_to_error::deserialize(root.to_json()).map_err(|error| {
        let path = error.path().iter().map(|segment| match segment {
            serde_path_to_error::Segment::Seq { index } => index.to_string(),
            other => other.to_string(),
        });
        let path: Vec<String> = path.collect();
        let node = root.at(path.iter().map(String::as_str));
        vec![Finding::error(1108, error.inner().to_string()).on(source, node.range.clone())]
    })
}

impl Catalogue {
    /// Reads a catalogue. Broken files are left out, and found.
    pub(crate) fn load(files: &Files) -> (Self, Vec<Finding>) {
        let mut catalogue = Self::default();
        let mut findings = Vec::new();
        let mut trees = Trees::default();
        for (path, file) in files {
            let parts: Vec<&str> = path.split('/').collect();
            match parts.as_slice() {
                ["templates", folder, "component.yaml"] => match contract::read(files, folder, file) {
                    Ok((known, tree)) => {
                        trees.components.insert(known.component.name.clone(), tree);
                        catalogue.components.insert(known.component.name.clone(), known);
                    }
                    Err(mut found) => {
                        trees.broken.insert((*folder).to_owned());
                        findings.append(&mut found);
                    }
                },
                ["bundles", name] if let Some(stem) = name.strip_suffix(".yaml") => {
                    match bundle(stem, file) {
                        Ok((bundle, tree)) => {
                            trees.bundles.insert(bundle.name.clone(), tree);
                            catalogue.bundles.insert(bundle.name.clone(), bundle);
                        }
                        Err(mut found) => {
                            trees.broken.insert(name.trim_end_matches(".yaml").to_owned());
                            findings.append(&mut found);
                        }
                    }
                }
                ["bundles", "kubernetes.lock"] => match Release::read(&file.bytes) {
                    Ok(releases) => catalogue.kubernetes = releases,
                    Err(error) => {
                        findings.push(Finding::error(error.code(), error.to_string()).hinted(error.hint()));
                    }
                },
                ["bundles", name] if let Some(stem) = name.strip_suffix(".lock") => {
                    match Lock::read(stem, file) {
                        Ok(lock) => drop(catalogue.locks.insert(stem.to_owned(), lock)),
                        Err(mut found) => findings.append(&mut found),
                    }
                }
                _ => {}
            }
        }
        cross::check(&catalogue, &trees, &mut findings);
        sort(&mut findings);
        (catalogue, findings)
    }

    /// The release of Kubernetes that a version means; the newest when none is named.
    pub(crate) fn release(&self, version: Option<&str>) -> Result<Release, ReleaseError> {
        Release::choose(self.kubernetes.clone(), version)
    }

    /// The components of a bundle with those that it extends; `Err`: the name that is not known, or a cycle.
    pub(crate) fn flatten(&self, name: &BundleName) -> Result<BTreeMap<ComponentName, BundleEntry>, String> {
        let mut entries = BTreeMap::new();
        self.collect(name, &mut Vec::new(), &mut BTreeSet::new(), &mut entries)?;
        Ok(entries)
    }

    /// What the catalogue pins for a bundle: its own lock first, then those of
    /// the bundles that it extends, then all others, for components that users add.
    pub(crate) fn lock(&self, name: &BundleName) -> Lock {
        let mut order = vec![name];
        let mut next = 0;
        while let Some(bundle) = order.get(next).and_then(|name| self.bundles.get(*name)) {
            for base in &bundle.extends {
                if !order.contains(&base) {
                    order.push(base);
                }
            }
            next += 1;
        }
        let mut lock = Lock::default();
        let first = order.into_iter().filter_map(|name| self.locks.get(name.as_str()));
        for one in first.chain(self.locks.values()) {
            lock.fill(one);
        }
        lock
    }

    fn collect<'a>(
        &'a self,
        name: &'a BundleName,
        way: &mut Vec<&'a BundleName>,
        done: &mut BTreeSet<&'a BundleName>,
        entries: &mut BTreeMap<ComponentName, BundleEntry>,
    ) -> Result<(), String> {
        if way.contains(&name) {
            let names: Vec<&str> = way.iter().map(|name| name.as_str()).chain([name.as_str()]).collect();
            return Err(format!("bundles extend each other: {}", names.join(" → ")));
        }
        // A base that several bundles share counts once, before all of them.
        if !done.insert(name) {
            return Ok(());
        }
        let bundle = self.bundles.get(name).ok_or_else(|| format!("there is no bundle `{name}`"))?;
        way.push(name);
        for base in &bundle.extends {
            self.collect(base, way, done, entries)?;
        }
        way.pop();
        for (component, entry) in &bundle.components {
            let known = entries.entry(component.clone()).or_default();
            known.optional = entry.optional;
            merge(&mut known.settings, &entry.settings);
            merge(&mut known.values, &entry.values);
        }
        Ok(())
    }
}

/// Lays `over` over `base`: mappings are merged, everything else is replaced.
pub(super) fn merge(base: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (Some(Value::Object(inner)), Value::Object(over)) => merge(inner, over),
            (Some(slot), value) => *slot = value.clone(),
            (None, value) => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

fn bundle(name: &str, file: &File) -> Result<(Bundle, Tree), Vec<Finding>> {
    let (source, root) = yaml::read(&file.bytes, &file.shown)?;
    let bundle: Bundle = typed(FileKind::Bundle, &source, &root)?;
    if bundle.name.as_str() == name {
        return Ok((bundle, Tree { source, root }));
    }
    let message = format!("the bundle is named `{}`, but its file `{name}.yaml`", bundle.name);
    let place = root.at(["name"]).range.clone();
    Err(vec![Finding::error(1211, message).on(&source, place).hinted("give both the same name")])
}
