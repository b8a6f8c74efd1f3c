//! What a schema cannot say of `component.yaml`: files that must exist
//! beside it, one source only, names, gates and version ranges.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::catalogue::{File, Files, Known};
use super::component::{Component, PROVIDED};
use super::duration::human;
use super::file::{Parsed, Tree};
use super::finding::{Finding, Source};
use super::schema::{FileKind, SchemaFault, SettingsSchema};
use super::texts;
use super::yaml::{self, Node, Read};

/// Where a key of `component.yaml` is: its path.
type Place = Vec<String>;

/// The findings of one `component.yaml`.
struct Checks<'a> {
    component: &'a Component,
    /// The component's own files, by their path beside `component.yaml`.
    own: &'a BTreeMap<String, Cow<'static, [u8]>>,
    source: &'a Arc<Source>,
    root: &'a Node,
    findings: Vec<Finding>,
}

/// Reads a component beside its files, as far as it can be; with all its mistakes.
pub(super) fn read(files: &Files, folder: &str, file: &File) -> (Option<(Known, Tree)>, Vec<Finding>) {
    let (parsed, mut findings) =
        Parsed::<Component>::read(FileKind::Component, &file.bytes, &file.shown, folder);
    let Some(Parsed { value: component, tree }) = parsed else { return (None, findings) };
    let prefix = format!("templates/{folder}/");
    let own: BTreeMap<String, Cow<'static, [u8]>> = files
        .range(prefix.clone()..)
        .take_while(|(path, _)| path.starts_with(&prefix))
        .map(|(path, file)| (path[prefix.len()..].to_owned(), file.bytes.clone()))
        .collect();
    let mut checks = Checks {
        component: &component,
        own: &own,
        source: &tree.source,
        root: &tree.root,
        findings: Vec::new(),
    };
    checks.name(folder);
    checks.source();
    checks.files();
    checks.template_names();
    checks.times();
    checks.gates();
    checks.ignored();
    checks.ranges();
    let settings = checks.settings(folder_of(file));
    let mut meant = checks.findings;
    tree.keep_own(&mut meant);
    findings.extend(meant);
    let (whole, folder) = (findings.is_empty(), folder_of(file).to_owned());
    (Some((Known { component, settings, files: own, folder, whole }, tree)), findings)
}

impl Checks<'_> {
    fn add(&mut self, code: u16, path: &[&str], message: impl Into<String>, hint: &str) {
        let place = self.root.at(path.iter().copied()).range.clone();
        self.findings.push(Finding::error(code, message.into()).on(self.source, place).hinted(hint));
    }

    fn name(&mut self, folder: &str) {
        let name = &self.component.name;
        if name.as_str() != folder {
            let message = format!("the component is named `{name}`, but its folder `{folder}`");
            self.add(1211, &["name"], message, "give both the same name");
        }
        if name.as_str() == PROVIDED[0] {
            let message = format!("`{name}` is what hosts get, and no component");
            self.add(1211, &["name"], message, "give it another name");
        }
    }

    fn source(&mut self) {
        let from = &self.component.source;
        let sources = [from.chart.is_some(), from.manifest.is_some(), from.templates.is_some()];
        if sources.iter().filter(|given| **given).count() > 1 {
            let hint = "keep one of `chart`, `manifest` and `templates`";
            self.add(1212, &["source"], "the component has several sources", hint);
        }
        if from.values.is_some() && from.chart.is_none() {
            self.add(1212, &["source", "values"], "`values` without a chart", "values are for charts");
        }
        if let Some(manifest) = &from.manifest
            && manifest.url.is_some() == manifest.file.is_some()
        {
            let message = "a manifest has exactly one of `url` and `file`";
            self.add(1213, &["source", "manifest"], message, "keep one of them");
        }
        let homes = [
            (&["source", "chart", "repository"], from.chart.as_ref().map(|chart| &chart.repository)),
            (
                &["source", "manifest", "url"],
                from.manifest.as_ref().and_then(|manifest| manifest.url.as_ref()),
            ),
        ];
        for (path, home) in homes {
            let known = home.map(|home| texts::url(home, &["https://", "http://", "oci://", "file://"]));
            if let Some(Err(problem)) = known {
                self.add(1226, path, problem, "write it like `https://charts.example.org`");
            }
        }
    }

    /// Files that are named must be there.
    fn files(&mut self) {
        for (path, name) in named(self.component) {
            if !self.own.contains_key(name) {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                let message = format!("there is no file `{name}` beside component.yaml");
                self.add(1214, &path, message, "mend the name, or add the file");
            }
        }
    }

    /// Templates have names that say what they are: editors and people know them by these.
    fn template_names(&mut self) {
        for (path, name) in named(self.component) {
            let is_template = path.first().is_some_and(|key| key == "resources")
                || path.get(1).is_some_and(|key| key == "templates");
            if is_template && ![".yaml.j2", ".yaml"].iter().any(|end| name.ends_with(end)) {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                let message = format!("`{name}` is not the name of a template");
                self.add(
                    1242,
                    &path,
                    message,
                    "templates end in `.yaml.j2`; those without expressions may end in `.yaml`",
                );
            }
        }
    }

    fn times(&mut self) {
        if self.component.deadline.0.is_zero() {
            self.add(1106, &["deadline"], "`deadline` is no time at all", "write it like `10m`");
        }
        let deadline = self.component.deadline;
        for (index, gate) in self.component.gates.iter().enumerate() {
            for (key, span) in [("expect", gate.expect), ("stable", gate.stable)] {
                if let Some(span) = span.filter(|span| *span > deadline) {
                    let (span, whole) = (human(span.0), human(deadline.0));
                    let message = format!("`{key}` ({span}) is longer than the component may take ({whole})");
                    let path = ["gates", &index.to_string(), key];
                    self.add(1106, &path, message, "write a longer `deadline`");
                }
            }
        }
    }

    fn gates(&mut self) {
        for (index, gate) in self.component.gates.iter().enumerate() {
            if let Err(error) = crate::health::cel::Gate::parse(&gate.cel) {
                let words = error.to_string();
                let words = words.lines().next().unwrap_or_default().replace("ERROR: <input>:", "at ");
                let path = ["gates", &index.to_string(), "cel"];
                self.add(1215, &path, words, "gates are CEL expressions over `object`");
            }
        }
    }

    /// Fields that others own are named by JSON pointers (RFC 6901), and no object goes without those that say what it is.
    fn ignored(&mut self) {
        for (index, fields) in self.component.ignore_fields.iter().enumerate() {
            for (number, pointer) in fields.paths.iter().enumerate() {
                let whole = ["/apiVersion", "/kind", "/metadata", "/metadata/name", "/metadata/namespace"];
                let message = if !pointer.starts_with('/') || pointer.len() < 2 {
                    format!("`{pointer}` is not a JSON pointer")
                } else if whole.contains(&pointer.as_str()) {
                    format!("`{pointer}` says which object it is")
                } else {
                    continue;
                };
                let path = ["ignoreFields", &index.to_string(), "paths", &number.to_string()];
                self.add(1245, &path, message, "write it like `/spec/replicas` (RFC 6901)");
            }
        }
    }

    fn ranges(&mut self) {
        let upgrade = self.component.upgrade.as_ref();
        let ranges = [
            (["requires", "kubernetes"], self.component.requires.kubernetes.as_ref()),
            (["upgrade", "from"], upgrade.and_then(|upgrade| upgrade.from.as_ref())),
        ];
        for (path, range) in ranges {
            if let Some(range) = range
                && semver::VersionReq::parse(range).is_err()
            {
                let message = format!("`{range}` is not a version range");
                self.add(1221, &path, message, "write it like `>=1.31` or `>=2.8, <3`");
            }
        }
    }

    /// The schema of the settings; mistakes stand in its own file.
    fn settings(&mut self, folder: &str) -> Option<SettingsSchema> {
        let name = self.component.settings.as_ref()?;
        let bytes = self.own.get(name)?;
        let fault = match SettingsSchema::parse(bytes) {
            Ok(schema) => return Some(schema),
            Err(fault) => fault,
        };
        let Read { source, root, .. } = yaml::read(bytes, &format!("{folder}{name}"));
        let place = match &fault {
            SchemaFault::Json(error) => source.place(error.line(), error.column()),
            SchemaFault::Schema { at, .. }
            | SchemaFault::Reference { at, .. }
            | SchemaFault::Default { at, .. } => {
                root.map_or(0..0, |root| root.at(at.split('/').skip(1)).range.clone())
            }
            SchemaFault::Heavy => root.map_or(0..0, |root| root.range),
        };
        let hint = match fault {
            SchemaFault::Json(_) => "check commas, quotes and brackets here and above",
            SchemaFault::Schema { .. } => "see https://json-schema.org",
            SchemaFault::Reference { .. } => {
                "refer to schemas by `$ref: \"#/$defs/NAME\"`, as it is spelled there, without anchors and nested ids"
            }
            SchemaFault::Default { .. } => "write a default that the schema allows",
            SchemaFault::Heavy => "write out what is needed, with fewer `$ref`, `allOf` and `anyOf`",
        };
        self.findings.push(Finding::error(1216, fault.to_string()).on(&source, place).hinted(hint));
        None
    }
}

/// The folder of a `component.yaml`, as people know it.
fn folder_of(file: &File) -> &str {
    file.shown.trim_end_matches("component.yaml")
}

/// Every file that a component names, with where it does so.
fn named(component: &Component) -> Vec<(Place, &String)> {
    let place = |path: &[&str]| -> Place { path.iter().map(|key| (*key).to_owned()).collect() };
    let mut lists: Vec<(Place, &[String])> = vec![
        (place(&["source", "templates"]), component.source.templates.as_deref().unwrap_or_default()),
        (place(&["resources"]), &component.resources),
    ];
    for (index, gate) in component.gates.iter().enumerate() {
        let samples = |kind: &str| place(&["gates", &index.to_string(), "samples", kind]);
        lists.push((samples("ready"), &gate.samples.ready));
        lists.push((samples("notReady"), &gate.samples.not_ready));
    }
    let manifest = component.source.manifest.as_ref();
    let single = [
        (place(&["source", "values"]), component.source.values.as_ref()),
        (place(&["source", "manifest", "file"]), manifest.and_then(|manifest| manifest.file.as_ref())),
        (place(&["settings"]), component.settings.as_ref()),
    ];
    let listed = lists.into_iter().flat_map(|(path, names)| {
        names
            .iter()
            .enumerate()
            .map(move |(index, name)| ([path.clone(), vec![index.to_string()]].concat(), name))
    });
    listed.chain(single.into_iter().filter_map(|(path, name)| Some((path, name?)))).collect()
}
