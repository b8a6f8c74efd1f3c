//! `cozy bundle list|show|lint|lock`.

use serde_json::json;

use std::collections::BTreeMap;
use std::path::Path;

use super::fetch::{self, Patience};
use super::{artefacts, flow, lint as checks, validate};
use crate::catalogue;
use crate::error::{Exit, Problem};
use crate::execute::event::FetchedFrom;
use crate::model::bundle::{Bundle, BundleEntry};
use crate::model::catalogue::Catalogue;
use crate::model::cloud::Artifacts;
use crate::model::finding::Finding;
use crate::model::lock::{Lock, Pin};
use crate::model::names::{BundleName, ComponentName};
use crate::render;
use crate::settings::Settings;
use crate::ui::table::table;
use crate::ui::{Format, Ui};

/// What to show of bundles.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    /// List all bundles
    List,
    /// Show the components of a bundle
    Show {
        /// Which
        name: BundleName,
    },
    /// Check all bundles and components of the catalogue, and the gates on their samples
    Lint,
    /// Write the lock of a bundle: which bytes its charts and manifests are
    ///
    /// Everything that the bundle's components are made from is fetched and checked against the lock that is
    /// there; what is new is added, what is not needed any more removed. The bundle must be in a catalogue on
    /// disk (`--catalogue`): `bundles/NAME.lock` is written beside its `bundles/NAME.yaml`.
    Lock {
        /// Which
        name: BundleName,
        #[command(flatten)]
        patience: Patience,
    },
}

/// Runs the command.
pub(super) fn run(args: Args, settings: &Settings, ui: &Ui) -> anyhow::Result<Exit> {
    let (catalogue, findings) = flow::catalogue(settings)?;
    match args {
        Args::List => {
            list(&catalogue, ui)?;
            flow::mention(&findings, ui);
            Ok(Exit::Done)
        }
        Args::Show { name } if catalogue.is_unread(name.as_str()) => Err(Problem::Findings(findings).into()),
        Args::Show { name } => show(&catalogue, &name, ui),
        Args::Lock { .. } if !findings.is_empty() => Err(Problem::Findings(findings).into()),
        Args::Lock { name, patience } => lock(&catalogue, &name, &patience, settings, ui),
        Args::Lint => lint(catalogue, findings, ui).or_else(|error| validate::told(error, ui)),
    }
}

fn list(catalogue: &Catalogue, ui: &Ui) -> anyhow::Result<()> {
    let bundles = catalogue.bundles.values();
    match ui.format() {
        Format::Text => {
            let row = |bundle: &Bundle| {
                let components = catalogue.flatten(&bundle.name).map_or(0, |entries| entries.len());
                vec![
                    bundle.name.to_string(),
                    bundle.version.to_string(),
                    components.to_string(),
                    bundle.summary.clone(),
                ]
            };
            let rows: Vec<_> = bundles.map(row).collect();
            ui.data(&table(&["NAME", "VERSION", "COMPONENTS", "SUMMARY"], &rows, ui.width()))?;
        }
        Format::Json | Format::Yaml => {
            let bundles: Vec<_> = bundles
                .map(|Bundle { name, version, summary, .. }| {
                    json!({ "name": name, "version": version, "summary": summary })
                })
                .collect();
            ui.document(&json!({ "schema": "cozy/v1/bundles", "bundles": bundles }))?;
        }
    }
    Ok(())
}

fn show(catalogue: &Catalogue, name: &BundleName, ui: &Ui) -> anyhow::Result<Exit> {
    let entries = entries(catalogue, name)?;
    match ui.format() {
        Format::Text => {
            let row = |(name, entry): (&ComponentName, &BundleEntry)| {
                let known = catalogue.components.get(name).map(|known| &known.component);
                vec![
                    name.to_string(),
                    known.map(|component| component.version.clone()).unwrap_or_default(),
                    if entry.optional { "optional".to_owned() } else { String::new() },
                    known.map(|component| component.summary.clone()).unwrap_or_default(),
                ]
            };
            let rows: Vec<_> = entries.iter().map(row).collect();
            ui.data(&table(&["COMPONENT", "VERSION", "", "SUMMARY"], &rows, ui.width()))?;
        }
        Format::Json | Format::Yaml => {
            let components: Vec<_> = entries
                .iter()
                .map(|(name, entry)| {
                    json!({ "name": name, "optional": entry.optional, "settings": entry.settings })
                })
                .collect();
            ui.document(&json!({ "schema": "cozy/v1/bundle", "name": name, "components": components }))?;
        }
    }
    Ok(Exit::Done)
}

fn lint(catalogue: Catalogue, mut findings: Vec<Finding>, ui: &Ui) -> anyhow::Result<Exit> {
    findings.extend(catalogue.components.values().flat_map(render::mistakes));
    if !findings.is_empty() {
        return Err(Problem::Findings(findings).into());
    }
    let said = checks::lint(&catalogue);
    if !said.is_empty() {
        return Err(Problem::Many(said).into());
    }
    let (bundles, components) = (catalogue.bundles.len(), catalogue.components.len());
    let checks::Planned { mistakes, notes } = checks::planned(catalogue)?;
    if !mistakes.is_empty() {
        return Err(Problem::Findings(mistakes).into());
    }
    match ui.format() {
        Format::Text => {
            ui.note(format!("bundles: {bundles}, components: {components}: all are fine"));
            for note in notes {
                ui.note(format!("note: {note}"));
            }
        }
        Format::Json | Format::Yaml => ui.document(&json!({
            "schema": "cozy/v1/lint", "bundles": bundles, "components": components, "notes": notes,
        }))?,
    }
    Ok(Exit::Done)
}

fn entries(catalogue: &Catalogue, name: &BundleName) -> anyhow::Result<BTreeMap<ComponentName, BundleEntry>> {
    catalogue.flatten(name).map_err(|problem| {
        let hint = problem.hint(catalogue.bundles.keys());
        Problem::new(problem.code(), Exit::Usage, problem.to_string(), hint).into()
    })
}

fn lock(
    catalogue: &Catalogue,
    name: &BundleName,
    patience: &Patience,
    settings: &Settings,
    ui: &Ui,
) -> anyhow::Result<Exit> {
    let entries = entries(catalogue, name)?;
    let Some(path) = catalogue::lock_path(&settings.catalogue, name) else {
        let message = format!("bundle `{name}` is built in: its lock cannot be written");
        let hint = "name the catalogue on disk that holds it with --catalogue";
        return Err(Problem::new(1301, Exit::Usage, message, hint).into());
    };
    let components = entries.keys().filter_map(|name| catalogue.components.get(name));
    let wanted = artefacts::pinned(components.map(|known| &known.component), name, catalogue, settings)?;
    let artifacts = Artifacts::default();
    let how = artefacts::Wanted {
        bundle: name,
        artifacts: &artifacts,
        base: Path::new(""),
        patience: patience.timeout,
        schemas: true,
    };
    let before = artefacts::read(&path, name)?;
    let fetched = match artefacts::fetch(&wanted, &how, settings, ui)? {
        Ok(fetched) => fetched,
        Err(signal) => return Ok(artefacts::interrupted(signal, "cozy bundle lock", ui)),
    };
    // A folder's charts change as their owner likes: nothing to hold them to.
    let pinned = fetched.iter().filter(|one| one.from != FetchedFrom::Folder);
    let pins = pinned.map(|one| (one.id.clone(), Pin { url: one.url.clone(), sha256: one.sha256 }));
    let pins = Lock(pins.collect());
    let after = artefacts::change(&path, name, |lock| {
        // What another run pinned meanwhile is not this one's to remove.
        lock.0.retain(|id, _| !before.0.contains_key(id));
        let mut after = pins;
        after.fill(lock);
        lock.clone_from(&after);
        after
    })?;
    fetch::show(fetched.iter().map(fetch::Row::from).collect(), "cozy/v1/lock", ui)?;
    let added = after.0.keys().filter(|id| !before.0.contains_key(id)).count();
    let removed = before.0.keys().filter(|id| !after.0.contains_key(id)).count();
    ui.note(format!("{}: {} locked, {added} of them new, {removed} removed", path.display(), after.0.len()));
    Ok(Exit::Done)
}
