//! What a cloud makes of a catalogue: `cozy.yaml` read, and the components it
//! enables with their settings merged.
#![expect(clippy::too_many_lines, reason = "one pass over the components, with a finding at each turn")]

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::catalogue::{Catalogue, merge, typed};
use super::cloud::Cloud;
use super::component::Resolved;
use super::finding::{Finding, Level, MOST, Source, sort};
use super::meaning;
use super::names::{BundleName, ComponentName};
use super::schema::FileKind;
use super::suggest::did_you_mean;
use super::yaml::{self, Node};

/// `cozy.yaml`, read.
#[derive(Debug)]
pub(crate) struct CloudFile {
    /// What it says.
    pub(crate) cloud: Cloud,
    /// Worth a look, and no reason to stop.
    pub(crate) warnings: Vec<Finding>,
    source: Arc<Source>,
    root: Node,
    /// The places of what was left out, because its form is wrong.
    left_out: Vec<Range<usize>>,
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
        let (source, root) = match yaml::read(bytes, name) {
            Ok(read) => read,
            Err(findings) => return (None, findings),
        };
        let (root, cloud, mut findings) = match typed::<Cloud>(FileKind::Cloud, &source, &root) {
            Ok(cloud) => (root, cloud, Vec::new()),
            Err(findings) => {
                let left_out: Vec<Range<usize>> = places(&findings).collect();
                let rest = root.without(&source, &left_out).and_then(|rest| {
                    let cloud = typed::<Cloud>(FileKind::Cloud, &source, &rest).ok()?;
                    Some((rest, cloud))
                });
                let Some((rest, cloud)) = rest else { return (None, findings) };
                (rest, cloud, findings)
            }
        };
        let mut file =
            Self { cloud, warnings: Vec::new(), source, root, left_out: places(&findings).collect() };
        let mut meant = meaning::check(&file.cloud, &file.source, &file.root);
        file.keep_own(&mut meant);
        let wrong = !findings.is_empty() || meant.iter().any(|found| found.level == Level::Error);
        if wrong {
            findings.extend(meant);
        } else {
            file.warnings = meant;
        }
        sort(&mut findings);
        (Some(file), findings)
    }

    /// Takes out what is only found because something was left out.
    fn keep_own(&self, findings: &mut Vec<Finding>) {
        let holds = |finding: &Range<usize>| {
            self.left_out.iter().any(|left| self.root.holds(&self.source, finding, left))
        };
        findings.retain(|found| {
            !found
                .place
                .as_ref()
                .is_some_and(|(source, range)| Arc::ptr_eq(source, &self.source) && holds(range))
        });
    }
}

/// Where findings are.
fn places(findings: &[Finding]) -> impl Iterator<Item = Range<usize>> {
    findings.iter().filter_map(|found| Some(found.place.as_ref()?.1.clone()))
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
    /// What a cloud consists of, in the order of names.
    pub(crate) fn resolve(&self, file: &CloudFile) -> Result<Vec<Resolved>, Vec<Finding>> {
        let CloudFile { cloud, warnings: _, source, root, left_out: _ } = file;
        let finding = |code, path: &[&str], message: String, label: String, hint: Option<String>| {
            let mut finding =
                Finding::error(code, message).on(source, root.at(path.iter().copied()).range.clone());
            finding.label = label;
            finding.hint = hint;
            finding
        };
        if !self.bundles.contains_key(&cloud.bundle) {
            let label = did_you_mean(cloud.bundle.as_str(), self.bundles.keys().map(BundleName::as_str));
            let known: Vec<&str> = self.bundles.keys().map(BundleName::as_str).collect();
            let hint = Some(format!("known bundles: {}", known.join(", ")));
            return Err(vec![finding(
                1208,
                &["bundle"],
                format!("there is no bundle `{}`", cloud.bundle),
                label,
                hint,
            )]);
        }
        let entries = self
            .flatten(&cloud.bundle)
            .map_err(|problem| vec![finding(1208, &["bundle"], problem, String::new(), None)])?;
        let mut findings = Vec::new();
        let unknown = cloud.components.keys().filter(|name| !self.components.contains_key(*name));
        for name in unknown.take(MOST) {
            let key = root.at(["components"]).key(name.as_str());
            let label = did_you_mean(name.as_str(), self.components.keys().map(ComponentName::as_str));
            let hint = label.is_empty().then(|| "`cozy component list` shows all".to_owned());
            let mut unknown =
                finding(1209, &["components"], format!("there is no component `{name}`"), label, hint);
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
                    let message = format!(
                        "bundle `{}` names the component `{name}`, which is not in the catalogue",
                        cloud.bundle
                    );
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
            let mut secrets = Vec::new();
            match (&known.settings, written) {
                (Some(schema), written) => {
                    if let Some(node) = written {
                        findings.extend(schema.check(source, node));
                    }
                    for setting in schema.missing(&settings) {
                        let message = format!("component `{name}` lacks the setting `{setting}`");
                        let hint = format!("`cozy component show {name}` explains it");
                        findings.push(finding(1103, &path, message, String::new(), Some(hint)));
                    }
                    settings = schema.fill(&settings);
                    secrets = schema.secrets(&settings);
                }
                (None, Some(_)) if !settings.is_empty() => {
                    findings.push(finding(
                        1101,
                        &path,
                        format!("component `{name}` has no settings"),
                        String::new(),
                        None,
                    ));
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
                secrets,
                values,
                patches: config.map(|config| config.patches.clone()).unwrap_or_default(),
                files: known.files.clone(),
                artefact: None,
            });
        }
        file.keep_own(&mut findings);
        if findings.is_empty() {
            Ok(resolved)
        } else {
            sort(&mut findings);
            Err(findings)
        }
    }
}
