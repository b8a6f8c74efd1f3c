//! `cozy bundle list|show|lint`.

use serde_json::json;

use super::flow;
use crate::error::{Exit, Problem};
use crate::model::names::BundleName;
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
}

/// Runs the command.
pub(super) fn run(args: Args, settings: &Settings, ui: &Ui) -> anyhow::Result<Exit> {
    let (catalogue, findings) = flow::catalogue(settings)?;
    match args {
        Args::List => {
            let rows: Vec<Vec<String>> = catalogue
                .bundles
                .values()
                .map(|bundle| {
                    let components = catalogue.flatten(&bundle.name).map_or(0, |entries| entries.len());
                    vec![
                        bundle.name.to_string(),
                        bundle.version.to_string(),
                        components.to_string(),
                        bundle.summary.clone(),
                    ]
                })
                .collect();
            match ui.format() {
                Format::Text => {
                    ui.data(&table(&["NAME", "VERSION", "COMPONENTS", "SUMMARY"], &rows, ui.width()))?;
                }
                Format::Json | Format::Yaml => {
                    let bundles: Vec<_> = catalogue
                        .bundles
                        .values()
                        .map(|bundle| json!({ "name": bundle.name, "version": bundle.version, "summary": bundle.summary }))
                        .collect();
                    ui.json(&json!({ "schema": "cozy/v1/bundles", "bundles": bundles }))?;
                }
            }
            Ok(Exit::Done)
        }
        Args::Show { name } => {
            let entries = catalogue.flatten(&name).map_err(|problem| {
                let known = catalogue.bundles.keys().map(BundleName::as_str);
                let hint = crate::model::suggest::did_you_mean(name.as_str(), known);
                Problem::new(1208, Exit::Usage, problem, hint)
            })?;
            let rows: Vec<Vec<String>> = entries
                .iter()
                .map(|(name, entry)| {
                    let known = catalogue.components.get(name).map(|known| &known.component);
                    let text = |of: fn(&crate::model::component::Component) -> &str| {
                        known.map(of).unwrap_or_default().to_owned()
                    };
                    vec![
                        name.to_string(),
                        text(|component| &component.version),
                        if entry.optional { "optional".to_owned() } else { String::new() },
                        text(|component| &component.summary),
                    ]
                })
                .collect();
            match ui.format() {
                Format::Text => {
                    ui.data(&table(&["COMPONENT", "VERSION", "", "SUMMARY"], &rows, ui.width()))?;
                }
                Format::Json | Format::Yaml => {
                    let components: Vec<_> = entries
                        .iter()
                        .map(|(name, entry)| json!({ "name": name, "optional": entry.optional, "settings": entry.settings }))
                        .collect();
                    ui.json(&json!({ "schema": "cozy/v1/bundle", "name": name, "components": components }))?;
                }
            }
            Ok(Exit::Done)
        }
        Args::Lint => {
            if !findings.is_empty() {
                return Err(Problem::Findings(findings).into());
            }
            let said = flow::lint(&catalogue);
            if said.is_empty() {
                ui.note(format!(
                    "{} bundles and {} components are fine",
                    catalogue.bundles.len(),
                    catalogue.components.len()
                ));
                Ok(Exit::Done)
            } else {
                Err(Problem::Many(said).into())
            }
        }
    }
}
