//! The catalogue: bundles and components from their files, and what a cloud
//! makes of them. No I/O: files come in by name.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::bundle::{Bundle, BundleEntry};
use super::component::Component;
use super::file::{Parsed, Tree};
use super::finding::{Finding, sort};
use super::lock::Lock;
use super::names::{BundleName, ComponentName};
use super::release::{Release, ReleaseError};
use super::schema::{FileKind, SettingsSchema};
use super::suggest::did_you_mean;
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
    /// Bundles and components whose files could not be read at all; they exist, nevertheless.
    pub(super) unread: BTreeSet<String>,
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
    /// The folder of its files, as people know it, with a `/` at its end.
    pub(crate) folder: String,
    /// Whether its files have no mistakes; else a part of them may be missing here.
    pub(crate) whole: bool,
}

/// The trees of a catalogue's files, for what concerns several of them.
#[derive(Debug, Default)]
pub(super) struct Trees {
    /// Of components.
    pub(super) components: BTreeMap<ComponentName, Tree>,
    /// Of bundles.
    pub(super) bundles: BTreeMap<BundleName, Tree>,
}

/// Why it cannot be said what a bundle consists of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotFlat {
    /// It, or a bundle that it extends, does not exist.
    #[error("there is no bundle `{0}`")]
    Unknown(BundleName),
    /// Bundles extend each other.
    #[error("bundles extend each other: {0}")]
    Cycle(String),
    /// Bundles extend each other over too many levels to be meant.
    #[error("bundle `{0}` is extended over more than {DEEPEST} levels")]
    Deep(BundleName),
}

/// How many levels of bundles may extend each other: people write two or three.
const DEEPEST: usize = 32;

impl NotFlat {
    /// The stable code.
    pub(crate) fn code(&self) -> u16 {
        match self {
            Self::Unknown(_) => 1208,
            Self::Cycle(_) => 1218,
            Self::Deep(_) => 1240,
        }
    }

    /// What to do, if the bundle is one of those that are known.
    pub(crate) fn hint<'a>(&self, known: impl Iterator<Item = &'a BundleName>) -> String {
        match self {
            Self::Unknown(name) => match did_you_mean(name.as_str(), known.map(BundleName::as_str)) {
                near if near.is_empty() => "`cozy bundle list` shows all".to_owned(),
                near => near,
            },
            Self::Cycle(_) => "take one of them out of `extends`".to_owned(),
            Self::Deep(_) => "name what it is to hold in fewer bundles".to_owned(),
        }
    }
}

impl Catalogue {
    /// Reads a catalogue. What is wrong is left out, and found.
    pub(crate) fn load(files: &Files) -> (Self, Vec<Finding>) {
        let mut catalogue = Self::default();
        let mut findings = Vec::new();
        let mut trees = Trees::default();
        for (path, file) in files {
            let parts: Vec<&str> = path.split('/').collect();
            let mut found = match parts.as_slice() {
                ["templates", folder, "component.yaml"] => {
                    let (known, found) = contract::read(files, folder, file);
                    catalogue.add_component(folder, known, &mut trees);
                    found
                }
                ["bundles", "kubernetes.lock"] => match Release::read(&file.bytes) {
                    Ok(releases) => {
                        catalogue.kubernetes = releases;
                        Vec::new()
                    }
                    Err(error) => {
                        vec![Finding::error(error.code(), error.to_string()).hinted(error.hint())]
                    }
                },
                ["bundles", name] => catalogue.add_bundle_file(name, file, &mut trees),
                _ => Vec::new(),
            };
            findings.append(&mut found);
        }
        findings.extend(misnamed(files));
        cross::check(&catalogue, &trees, &mut findings);
        sort(&mut findings);
        (catalogue, findings)
    }

    /// The release of Kubernetes that a version means; the newest when none is named.
    pub(crate) fn release(&self, version: Option<&str>) -> Result<Release, ReleaseError> {
        Release::choose(self.kubernetes.clone(), version)
    }

    /// Whether a bundle or component exists, but nothing can be said of it.
    pub(crate) fn is_unread(&self, name: &str) -> bool {
        self.unread.contains(name)
    }

    fn add_component(&mut self, folder: &str, known: Option<(Known, Tree)>, trees: &mut Trees) {
        match known {
            Some((known, tree)) => {
                // By its folder's name others may mean it, too.
                if known.component.name.as_str() != folder {
                    self.unread.insert(folder.to_owned());
                }
                trees.components.insert(known.component.name.clone(), tree);
                self.components.insert(known.component.name.clone(), known);
            }
            None => drop(self.unread.insert(folder.to_owned())),
        }
    }

    /// A bundle, or its lock; what else lies there is nobody's.
    fn add_bundle_file(&mut self, name: &str, file: &File, trees: &mut Trees) -> Vec<Finding> {
        if let Some(stem) = name.strip_suffix(".yaml") {
            let (bundle, findings) = bundle(stem, file);
            match bundle {
                Some(Parsed { value: bundle, tree }) => {
                    if bundle.name.as_str() != stem {
                        self.unread.insert(stem.to_owned());
                    }
                    trees.bundles.insert(bundle.name.clone(), tree);
                    self.bundles.insert(bundle.name.clone(), bundle);
                }
                None => drop(self.unread.insert(stem.to_owned())),
            }
            return findings;
        }
        let Some(stem) = name.strip_suffix(".lock") else { return Vec::new() };
        match Lock::read(stem, file) {
            Ok(lock) => {
                self.locks.insert(stem.to_owned(), lock);
                Vec::new()
            }
            Err(findings) => findings,
        }
    }

    /// The components of a bundle with those that it extends.
    pub(crate) fn flatten(&self, name: &BundleName) -> Result<BTreeMap<ComponentName, BundleEntry>, NotFlat> {
        let mut entries: BTreeMap<ComponentName, BundleEntry> = BTreeMap::new();
        self.walk(name, &mut Vec::new(), &mut BTreeSet::new(), &mut |bundle| {
            for (component, entry) in &bundle.components {
                let known = entries.entry(component.clone()).or_default();
                known.optional = entry.optional;
                merge(&mut known.settings, &entry.settings);
                merge(&mut known.values, &entry.values);
            }
        })?;
        Ok(entries)
    }

    /// Whether the bundles that a bundle extends end somewhere.
    pub(super) fn ends(&self, name: &BundleName) -> Result<(), NotFlat> {
        self.walk(name, &mut Vec::new(), &mut BTreeSet::new(), &mut |_| {})
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

    /// Visits what a bundle extends, and then itself, each once.
    fn walk<'a>(
        &'a self,
        name: &'a BundleName,
        way: &mut Vec<&'a BundleName>,
        done: &mut BTreeSet<&'a BundleName>,
        visit: &mut dyn FnMut(&'a Bundle),
    ) -> Result<(), NotFlat> {
        if let Some(first) = way.iter().position(|known| *known == name) {
            let cycle = way.iter().skip(first).copied().chain([name]);
            return Err(NotFlat::Cycle(cycle.map(BundleName::as_str).collect::<Vec<_>>().join(" → ")));
        }
        if way.len() > DEEPEST {
            return Err(NotFlat::Deep(name.clone()));
        }
        // A base that several bundles share counts once, before all of them.
        if !done.insert(name) {
            return Ok(());
        }
        let bundle = self.bundles.get(name).ok_or_else(|| NotFlat::Unknown(name.clone()))?;
        way.push(name);
        for base in &bundle.extends {
            self.walk(base, way, done, visit)?;
        }
        way.pop();
        visit(bundle);
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

/// Files that look as if they were meant, and that nothing reads: `component.yml`, `bundles/mine.yml`.
fn misnamed(files: &Files) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut folders = BTreeSet::new();
    for (path, file) in files {
        let mut parts = path.split('/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("bundles"), Some(name), None) if name.strip_suffix(".yml").is_some() => {
                let message = format!("{}: the files of bundles end in `.yaml`", file.shown);
                found.push(Finding::error(1234, message).hinted("rename it"));
            }
            (Some("templates"), Some(folder), Some(_)) => {
                let known = files.contains_key(&format!("templates/{folder}/component.yaml"));
                if !known && folders.insert(folder) {
                    let own = path.strip_prefix(&format!("templates/{folder}/")).unwrap_or(path);
                    let shown = file.shown.strip_suffix(own).unwrap_or(path);
                    let message = format!("{shown}: there is no `component.yaml` in this folder");
                    found.push(
                        Finding::error(1234, message).hinted("a folder in `templates/` is a component"),
                    );
                }
            }
            _ => {}
        }
    }
    found
}

fn bundle(name: &str, file: &File) -> (Option<Parsed<Bundle>>, Vec<Finding>) {
    let (parsed, mut findings) = Parsed::<Bundle>::read(FileKind::Bundle, &file.bytes, &file.shown, name);
    if let Some(Parsed { value: bundle, tree }) = &parsed
        && bundle.name.as_str() != name
    {
        let message = format!("the bundle is named `{}`, but its file `{name}.yaml`", bundle.name);
        let place = tree.root.at(["name"]).range.clone();
        let mistake = Finding::error(1211, message).on(&tree.source, place);
        findings.push(mistake.hinted("give both the same name"));
    }
    (parsed, findings)
}
