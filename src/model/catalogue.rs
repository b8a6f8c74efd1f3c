//! The catalogue: bundles and components from their files, and what a cloud
//! makes of them. No I/O: files come in by name.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::bundle::{Bundle, BundleEntry};
use super::cloud::Cloud;
use super::component::{Component, Resolved};
use super::finding::{Finding, Level, Source, sort};
use super::meaning;
use super::names::{BundleName, ComponentName};
use super::schema::{FileKind, SettingsSchema};
use super::suggest::did_you_mean;
use super::yaml::{self, Node};
use crate::error::Code;

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

/// `cozy.yaml`, read.
#[derive(Debug)]
pub(crate) struct CloudFile {
    /// What it says.
    pub(crate) cloud: Cloud,
    source: Arc<Source>,
    root: Node,
}

impl CloudFile {
    /// Reads `cozy.yaml`; all mistakes that can be seen without a catalogue.
    pub(crate) fn read(bytes: &[u8], name: &str) -> Result<Self, Vec<Finding>> {
        let (source, root) = yaml::read(bytes, name)?;
        let cloud: Cloud = typed(FileKind::Cloud, &source, &root)?;
        let mut findings = meaning::check(&cloud, &source, &root);
        if findings.is_empty() {
            Ok(Self { cloud, source, root })
        } else {
            sort(&mut findings);
            Err(findings)
        }
    }
}

/// Checks a tree against its schema, then makes the typed value.
fn typed<T: DeserializeOwned>(kind: FileKind, source: &Arc<Source>, root: &Node) -> Result<T, Vec<Finding>> {
    let findings = kind.check(source, root);
    if !findings.is_empty() {
        return Err(findings);
    }
    serde_json::from_value(root.to_json())
        .map_err(|error| vec![at(1108, source, root, error.to_string(), String::new(), None)])
}

fn at(code: u16, source: &Arc<Source>, node: &Node, message: String, label: String, hint: Option<String>) -> Finding {
    let text = source.text.get(node.range.clone()).unwrap_or_default();
    let end = node.range.start + text.lines().next().unwrap_or_default().len();
    Finding {
        code: Code(code),
        level: Level::Error,
        message,
        label,
        place: Some((Arc::clone(source), node.range.start..end)),
        hint,
    }
}

impl Catalogue {
    /// Reads a catalogue. Broken files are left out, and found.
    pub(crate) fn load(files: &Files) -> (Self, Vec<Finding>) {
        let mut catalogue = Self::default();
        let mut findings = Vec::new();
        for (path, file) in files {
            let parts: Vec<&str> = path.split('/').collect();
            match parts.as_slice() {
                ["templates", folder, "component.yaml"] => match component(files, folder, file) {
                    Ok(known) => {
                        catalogue.components.insert(known.component.name.clone(), known);
                    }
                    Err(mut found) => findings.append(&mut found),
                },
                ["bundles", name] if name.ends_with(".yaml") => match bundle(name.trim_end_matches(".yaml"), file) {
                    Ok(bundle) => {
                        catalogue.bundles.insert(bundle.name.clone(), bundle);
                    }
                    Err(mut found) => findings.append(&mut found),
                },
                _ => {}
            }
        }
        sort(&mut findings);
        (catalogue, findings)
    }

    /// The components of a bundle with those that it extends; `Err`: the name that is not known, or a cycle.
    pub(crate) fn flatten(&self, name: &BundleName) -> Result<BTreeMap<ComponentName, BundleEntry>, String> {
        let mut entries = BTreeMap::new();
        self.collect(name, &mut Vec::new(), &mut entries)?;
        Ok(entries)
    }

    fn collect<'a>(
        &'a self,
        name: &'a BundleName,
        way: &mut Vec<&'a BundleName>,
        entries: &mut BTreeMap<ComponentName, BundleEntry>,
    ) -> Result<(), String> {
        if way.contains(&name) {
            let names: Vec<&str> = way.iter().map(|name| name.as_str()).chain([name.as_str()]).collect();
            return Err(format!("bundles extend each other: {}", names.join(" → ")));
        }
        let bundle = self.bundles.get(name).ok_or_else(|| format!("there is no bundle `{name}`"))?;
        way.push(name);
        for base in &bundle.extends {
            self.collect(base, way, entries)?;
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

    /// What a cloud consists of, in the order of names.
    pub(crate) fn resolve(&self, file: &CloudFile) -> Result<Vec<Resolved>, Vec<Finding>> {
        let CloudFile { cloud, source, root } = file;
        let finding = |code, path: &[&str], message: String, label, hint| {
            at(code, source, root.at(path.iter().copied()), message, label, hint)
        };
        if !self.bundles.contains_key(&cloud.bundle) {
            let label = did_you_mean(cloud.bundle.as_str(), self.bundles.keys().map(BundleName::as_str));
            let known: Vec<&str> = self.bundles.keys().map(BundleName::as_str).collect();
            let hint = Some(format!("known bundles: {}", known.join(", ")));
            return Err(vec![finding(1208, &["bundle"], format!("there is no bundle `{}`", cloud.bundle), label, hint)]);
        }
        let entries = self
            .flatten(&cloud.bundle)
            .map_err(|problem| vec![finding(1208, &["bundle"], problem, String::new(), None)])?;
        let mut findings = Vec::new();
        for name in cloud.components.keys().filter(|name| !self.components.contains_key(*name)) {
            let key = root.at(["components"]).key(name.as_str());
            let label = did_you_mean(name.as_str(), self.components.keys().map(ComponentName::as_str));
            let hint = label.is_empty().then(|| "`cozy component list` shows all".to_owned());
            let mut unknown = finding(1209, &["components"], format!("there is no component `{name}`"), label, hint);
            if let Some(key) = key {
                unknown.place = Some((Arc::clone(source), key.range.clone()));
            }
            findings.push(unknown);
        }
        let names: BTreeSet<&ComponentName> = entries.keys().chain(cloud.components.keys()).collect();
        let mut resolved = Vec::new();
        for name in names {
            let Some(known) = self.components.get(name) else {
                if entries.contains_key(name) {
                    let message = format!("bundle `{}` names the component `{name}`, which is not in the catalogue", cloud.bundle);
                    findings.push(finding(1209, &["bundle"], message, String::new(), None));
                }
                continue;
            };
            let entry = entries.get(name);
            let config = cloud.components.get(name);
            let enabled = config
                .and_then(|config| config.enabled)
                .unwrap_or_else(|| entry.map_or(config.is_some(), |entry| !entry.optional));
            if !enabled {
                continue;
            }
            let path = ["components", name.as_str(), "settings"];
            let mut settings = entry.map(|entry| entry.settings.clone()).unwrap_or_default();
            let written = root.get("components").and_then(|node| node.get(name.as_str())?.get("settings"));
            if let Some(config) = config {
                merge(&mut settings, &config.settings);
            }
            match (&known.settings, written) {
                (Some(schema), written) => {
                    if let Some(node) = written {
                        findings.extend(schema.check(source, node));
                    }
                    settings = schema.fill(&settings);
                }
                (None, Some(_)) if !settings.is_empty() => {
                    findings.push(finding(1101, &path, format!("component `{name}` has no settings"), String::new(), None));
                }
                (None, _) => {}
            }
            let mut values = entry.map(|entry| entry.values.clone()).unwrap_or_default();
            if let Some(config) = config {
                merge(&mut values, &config.values);
            }
            resolved.push(Resolved {
                component: known.component.clone(),
                settings,
                values,
                patches: config.map(|config| config.patches.clone()).unwrap_or_default(),
                files: known.files.clone(),
            });
        }
        if findings.is_empty() {
            Ok(resolved)
        } else {
            sort(&mut findings);
            Err(findings)
        }
    }
}

/// Lays `over` over `base`: mappings are merged, everything else is replaced.
fn merge(base: &mut Map<String, Value>, over: &Map<String, Value>) {
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

fn bundle(name: &str, file: &File) -> Result<Bundle, Vec<Finding>> {
    let (source, root) = yaml::read(&file.bytes, &file.shown)?;
    let bundle: Bundle = typed(FileKind::Bundle, &source, &root)?;
    if bundle.name.as_str() == name {
        return Ok(bundle);
    }
    let message = format!("the bundle is named `{}`, but its file `{name}.yaml`", bundle.name);
    Err(vec![at(1211, &source, root.at(["name"]), message, String::new(), Some("give both the same name".to_owned()))])
}

fn component(files: &Files, folder: &str, file: &File) -> Result<Known, Vec<Finding>> {
    let (source, root) = yaml::read(&file.bytes, &file.shown)?;
    let component: Component = typed(FileKind::Component, &source, &root)?;
    let mut findings = Vec::new();
    let mut add = |code: u16, path: &[&str], message: String, hint: &str| {
        findings.push(at(code, &source, root.at(path.iter().copied()), message, String::new(), Some(hint.to_owned())));
    };
    let prefix = format!("templates/{folder}/");
    let own: BTreeMap<String, Cow<'static, [u8]>> = files
        .range(prefix.clone()..)
        .take_while(|(path, _)| path.starts_with(&prefix))
        .map(|(path, file)| (path[prefix.len()..].to_owned(), file.bytes.clone()))
        .collect();
    if component.name.as_str() != folder {
        add(1211, &["name"], format!("the component is named `{}`, but its folder `{folder}`", component.name), "give both the same name");
    }
    let from = &component.source;
    let sources = [from.chart.is_some(), from.manifest.is_some(), from.templates.is_some()];
    if sources.iter().filter(|given| **given).count() > 1 {
        add(1212, &["source"], "the component has several sources".to_owned(), "keep one of `chart`, `manifest` and `templates`");
    }
    if from.values.is_some() && from.chart.is_none() {
        add(1212, &["source", "values"], "`values` without a chart".to_owned(), "values are for charts");
    }
    if let Some(manifest) = &from.manifest
        && manifest.url.is_some() == manifest.file.is_some()
    {
        add(1213, &["source", "manifest"], "a manifest has exactly one of `url` and `file`".to_owned(), "keep one of them");
    }
    let templates = from.templates.iter().flatten().enumerate().map(|(index, name)| (vec!["source".to_owned(), "templates".to_owned(), index.to_string()], name));
    let resources = component.resources.iter().enumerate().map(|(index, name)| (vec!["resources".to_owned(), index.to_string()], name));
    let single = [
        (vec!["source".to_owned(), "values".to_owned()], from.values.as_ref()),
        (vec!["source".to_owned(), "manifest".to_owned(), "file".to_owned()], from.manifest.as_ref().and_then(|manifest| manifest.file.as_ref())),
        (vec!["settings".to_owned()], component.settings.as_ref()),
    ];
    let single = single.into_iter().filter_map(|(path, name)| name.map(|name| (path, name)));
    let samples = component.gates.iter().enumerate().flat_map(|(index, gate)| {
        let path = move |kind: &str, at: usize| vec!["gates".to_owned(), index.to_string(), "samples".to_owned(), kind.to_owned(), at.to_string()];
        let ready = gate.samples.ready.iter().enumerate().map(move |(at, name)| (path("ready", at), name));
        let not_ready = gate.samples.not_ready.iter().enumerate().map(move |(at, name)| (path("notReady", at), name));
        ready.chain(not_ready).collect::<Vec<_>>()
    });
    let named: Vec<(Vec<String>, &String)> = templates.chain(resources).chain(single).chain(samples).collect();
    for (path, name) in named {
        if !own.contains_key(name) {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            add(1214, &path, format!("there is no file `{name}` beside component.yaml"), "mend the name, or add the file");
        }
    }
    for (index, gate) in component.gates.iter().enumerate() {
        if let Err(error) = crate::health::cel::Gate::parse(&gate.cel) {
            let index = index.to_string();
            add(1215, &["gates", &index, "cel"], error.to_string(), "gates are CEL expressions over `object`");
        }
    }
    let settings = component.settings.as_ref().and_then(|name| own.get(name)).map(|bytes| SettingsSchema::parse(bytes));
    let settings = match settings {
        None => None,
        Some(Ok(schema)) => Some(schema),
        Some(Err(problem)) => {
            add(1216, &["settings"], format!("not a JSON schema: {problem}"), "see https://json-schema.org");
            None
        }
    };
    if findings.is_empty() { Ok(Known { component, settings, files: own }) } else { Err(findings) }
}
