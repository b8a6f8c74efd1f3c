//! What a cloud makes of a catalogue: `cozy.yaml` read, and the components it
//! enables with their settings merged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::bundle::BundleEntry;
use super::catalogue::{Catalogue, Known, merge};
use super::cloud::{Cloud, ComponentConfig};
use super::component::Resolved;
use super::file::{Parsed, Tree};
use super::finding::{Finding, Level, MOST, sort};
use super::meaning;
use super::names::{BundleName, ComponentName};
use super::schema::{FileKind, SettingsSchema};
use super::suggest::did_you_mean;
use crate::code::Code;

/// The code of a cloud without a server.
const NO_SERVER: Code = Code(1206);

/// `cozy.yaml`, read.
#[derive(Debug)]
pub(crate) struct CloudFile {
    /// What it says.
    pub(crate) cloud: Cloud,
    /// Worth a look, and no reason to stop.
    pub(crate) warnings: Vec<Finding>,
    tree: Tree,
}

impl CloudFile {
    /// Reads `cozy.yaml`; all mistakes that can be seen without a catalogue.
    pub(crate) fn read(bytes: &[u8], name: &str) -> Result<Self, Vec<Finding>> {
        match Self::read_far(bytes, name) {
            (Some(file), findings) if findings.is_empty() => Ok(file),
            (_, findings) => Err(findings),
        }
    }

    /// Reads `cozy.yaml` as far as it can be: what has the wrong form is found, and left out, so that the meaning of
    /// the rest can be checked, too.
    pub(crate) fn read_far(bytes: &[u8], name: &str) -> (Option<Self>, Vec<Finding>) {
        let (parsed, mut findings) = Parsed::<Cloud>::read(FileKind::Cloud, bytes, name, "unknown");
        let Some(Parsed { value: cloud, tree }) = parsed else { return (None, findings) };
        let mut file = Self { cloud, warnings: Vec::new(), tree };
        let mut meant = meaning::check(&file.cloud, &file.tree.source, &file.tree.root);
        let no_server = meant.iter().find(|found| found.code == NO_SERVER).cloned();
        file.tree.keep_own(&mut meant);
        // It stands at the top, where much else may be missing that has nothing to do with it.
        if let Some(found) = no_server
            && !meant.contains(&found)
            && file.tree.root.key("hosts").is_none()
            && !["hosts", "kubernetes"].iter().any(|key| file.tree.is_lost(key))
        {
            meant.push(found);
        }
        let wrong = !findings.is_empty() || meant.iter().any(|found| found.level == Level::Error);
        if wrong {
            findings.extend(meant);
        } else {
            file.warnings = meant;
        }
        sort(&mut findings);
        (Some(file), findings)
    }

    /// A mistake in what stands at a path.
    pub(crate) fn mistake(&self, code: u16, path: &[&str], message: impl Into<String>) -> Finding {
        let place = self.tree.root.at(path.iter().copied()).range.clone();
        Finding::error(code, message).on(&self.tree.source, place)
    }
}

/// Reads `cozy.yaml`; with a catalogue, what it says of bundles, components
/// and settings is checked, too.
#[cfg(test)]
pub(crate) fn read_cloud(
    bytes: &[u8],
    name: &str,
    catalogue: Option<&Catalogue>,
) -> Result<CloudFile, Vec<Finding>> {
    let file = CloudFile::read(bytes, name)?;
    if let Some(catalogue) = catalogue {
        catalogue.resolve(&file)?;
    }
    Ok(file)
}

impl Catalogue {
    /// What a cloud says of components that its bundle leaves off: worth a look, and no reason to stop.
    pub(crate) fn off(&self, file: &CloudFile) -> Vec<Finding> {
        let Ok(entries) = self.flatten(&file.cloud.bundle) else { return Vec::new() };
        let named = file.cloud.components.iter().filter(|(name, config)| {
            config.enabled.is_none() && entries.get(*name).is_some_and(|entry| entry.optional)
        });
        let found = named.map(|(name, _)| {
            let message = format!("component `{name}` is optional, and stays off");
            let found = file.mistake(1246, &["components", name.as_str()], message);
            found.hinted("write `enabled: true`, or `enabled: false`").warning()
        });
        found.collect()
    }

    /// What a cloud consists of, in the order of names.
    ///
    /// # Errors
    /// All mistakes of the cloud; none where they are the catalogue's own.
    pub(crate) fn resolve(&self, file: &CloudFile) -> Result<Vec<Resolved>, Vec<Finding>> {
        let mut resolving = Resolving { catalogue: self, file, findings: Vec::new() };
        let entries = resolving.bundle();
        resolving.unknown();
        let bundled: BTreeMap<ComponentName, BundleEntry> = entries.clone().unwrap_or_default();
        let names: BTreeSet<&ComponentName> = bundled.keys().chain(file.cloud.components.keys()).collect();
        let mut resolved = Vec::new();
        for name in names {
            let (entry, config) = (bundled.get(name), file.cloud.components.get(name));
            // Who names it, the bundle or the cloud, has a finding already.
            let Some(known) = self.components.get(name) else { continue };
            let enabled = config
                .and_then(|config| config.enabled)
                .unwrap_or_else(|| entry.map_or(config.is_some(), |entry| !entry.optional));
            let chosen = Chosen { name, known, entry, config, bundled: enabled && entries.is_some() };
            // What is said of a component that is off is checked, too.
            let component = resolving.component(&chosen);
            if enabled {
                resolved.push(component);
            }
        }
        let mut findings = resolving.findings;
        file.tree.keep_own(&mut findings);
        if findings.is_empty() && entries.is_some() {
            Ok(resolved)
        } else {
            sort(&mut findings);
            Err(findings)
        }
    }
}

/// A cloud on its way to its components.
struct Resolving<'a> {
    catalogue: &'a Catalogue,
    file: &'a CloudFile,
    findings: Vec<Finding>,
}

/// A component that a cloud enables.
struct Chosen<'a> {
    name: &'a ComponentName,
    known: &'a Known,
    /// What the bundle says of it.
    entry: Option<&'a BundleEntry>,
    /// What `cozy.yaml` says of it.
    config: Option<&'a ComponentConfig>,
    /// Whether the bundle is known: it may give settings.
    bundled: bool,
}

impl Resolving<'_> {
    /// The components of the cloud's bundle; `None`: it is not known, or wrong itself.
    fn bundle(&mut self) -> Option<BTreeMap<ComponentName, BundleEntry>> {
        let (catalogue, name) = (self.catalogue, &self.file.cloud.bundle);
        if !catalogue.bundles.contains_key(name) && !catalogue.unread.contains(name.as_str()) {
            let known: Vec<&str> = catalogue.bundles.keys().map(BundleName::as_str).collect();
            let label = did_you_mean(name.as_str(), known.iter().copied());
            let finding = self.file.mistake(1208, &["bundle"], format!("there is no bundle `{name}`"));
            let hint = format!("known bundles: {}", known.join(", "));
            self.findings.push(finding.labelled(label).hinted(hint));
        }
        catalogue.flatten(name).ok()
    }

    /// Components in `cozy.yaml` that nobody knows.
    fn unknown(&mut self) {
        // With a path it is the cloud's own, and why there is none was found when it was read.
        let named = self.file.cloud.components.iter().filter(|(_, config)| config.path.is_none());
        let unknown = named.map(|(name, _)| name).filter(|name| {
            !self.catalogue.components.contains_key(*name) && !self.catalogue.unread.contains(name.as_str())
        });
        for name in unknown.take(MOST) {
            let known = self.catalogue.components.keys().map(ComponentName::as_str);
            let label = did_you_mean(name.as_str(), known);
            let hint = label.is_empty().then(|| "`cozy component list` shows all".to_owned());
            let message = format!("there is no component `{name}`");
            let mut finding = self.file.mistake(1209, &["components"], message).labelled(label);
            finding.hint = hint;
            if let Some(key) = self.file.tree.root.at(["components"]).key(name.as_str()) {
                finding.place = Some((Arc::clone(&self.file.tree.source), key.range.clone()));
            }
            self.findings.push(finding);
        }
    }

    /// One component: bundle and `cozy.yaml` merged.
    fn component(&mut self, chosen: &Chosen<'_>) -> Resolved {
        let Chosen { known, entry, config, .. } = *chosen;
        let mut settings = entry.map(|entry| entry.settings.clone()).unwrap_or_default();
        let mut values = entry.map(|entry| entry.values.clone()).unwrap_or_default();
        if let Some(config) = config {
            merge(&mut settings, &config.settings);
            merge(&mut values, &config.values);
        }
        let mut secrets = Vec::new();
        if let Some(schema) = &known.settings {
            self.settings(chosen, schema, &settings);
            settings = schema.fill(&settings);
            secrets = schema.secrets(&settings);
        } else if known.whole && config.is_some_and(|config| !config.settings.is_empty()) {
            let path = ["components", chosen.name.as_str(), "settings"];
            let message = format!("component `{}` has no settings", chosen.name);
            self.findings.push(self.file.mistake(1101, &path, message).hinted("take them out"));
        }
        if config.is_some_and(|config| !config.values.is_empty()) && known.component.source.chart.is_none() {
            let path = ["components", chosen.name.as_str(), "values"];
            let message = format!("component `{}` has no chart", chosen.name);
            self.findings.push(self.file.mistake(1212, &path, message).hinted("values are for charts"));
        }
        Resolved {
            component: known.component.clone(),
            settings,
            secrets,
            values,
            patches: config.map(|config| config.patches.clone()).unwrap_or_default(),
            files: known.files.clone(),
            folder: known.folder.clone(),
            artefact: None,
            schemas: BTreeMap::new(),
        }
    }

    /// Mistakes in the settings of a component.
    fn settings(
        &mut self,
        chosen: &Chosen<'_>,
        schema: &SettingsSchema,
        merged: &serde_json::Map<String, serde_json::Value>,
    ) {
        let Chosen { name, bundled, .. } = *chosen;
        let Tree { source, root, .. } = &self.file.tree;
        let written = root.get("components").and_then(|node| node.get(name.as_str())?.get("settings"));
        if let Some(node) = written {
            self.findings.extend(schema.check(source, node));
        }
        if !bundled {
            return;
        }
        let below = ["components", name.as_str(), "settings"];
        // Where the cloud does not name the component, its bundle does.
        let is_named = root.get("components").is_some_and(|node| node.get(name.as_str()).is_some());
        let path: &[&str] = if is_named { &below } else { &["bundle"] };
        for setting in schema.missing(merged) {
            let message = format!("component `{name}` lacks the setting `{setting}`");
            let hint = format!("`cozy component show {name}` explains it");
            self.findings.push(self.file.mistake(1103, path, message).hinted(hint));
        }
    }
}
