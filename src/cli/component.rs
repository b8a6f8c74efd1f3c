//! `cozy component list|show`.

use serde_json::json;

use super::flow;
use crate::error::{Exit, Problem};
use crate::model::names::ComponentName;
use crate::settings::Settings;
use crate::ui::table::table;
use crate::ui::{Format, Ui};

/// What to show of components.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Args {
    /// List all components
    List,
    /// Show a component: what it is, needs and provides, and its settings
    Show {
        /// Which
        name: ComponentName,
    },
}

/// Runs the command.
pub(super) fn run(args: Args, settings: &Settings, ui: &Ui) -> anyhow::Result<Exit> {
    let (catalogue, _) = flow::catalogue(settings)?;
    match args {
        Args::List => {
            let components = catalogue.components.values().map(|known| &known.component);
            match ui.format() {
                Format::Text => {
                    let rows: Vec<Vec<String>> = components
                        .map(|component| {
                            let source = &component.source;
                            let from = match (&source.chart, &source.manifest, &source.templates) {
                                (Some(_), _, _) => "chart",
                                (_, Some(_), _) => "manifest",
                                _ => "templates",
                            };
                            vec![
                                component.name.to_string(),
                                component.version.clone(),
                                component.category.clone(),
                                from.to_owned(),
                                component.summary.clone(),
                            ]
                        })
                        .collect();
                    let width = ui.width();
                    ui.data(&table(&["NAME", "VERSION", "CATEGORY", "SOURCE", "SUMMARY"], &rows, width))?;
                }
                Format::Json | Format::Yaml => {
                    let components: Vec<_> = components
                        .map(|component| {
                            json!({ "name": component.name, "version": component.version, "category": component.category, "summary": component.summary })
                        })
                        .collect();
                    ui.json(&json!({ "schema": "cozy/v1/components", "components": components }))?;
                }
            }
            Ok(Exit::Done)
        }
        Args::Show { name } => {
            let Some(known) = catalogue.components.get(&name) else {
                let names = catalogue.components.keys().map(ComponentName::as_str);
                let hint = crate::model::suggest::did_you_mean(name.as_str(), names);
                return Err(
                    Problem::new(1209, Exit::Usage, format!("there is no component `{name}`"), hint).into()
                );
            };
            let text =
                |file: &str| known.files.get(file).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            match ui.format() {
                Format::Text => {
                    ui.data(&text("component.yaml").unwrap_or_default())?;
                    if let Some(schema) = known.component.settings.as_deref().and_then(text) {
                        ui.data(&format!("---\n# settings\n{schema}"))?;
                    }
                }
                Format::Json | Format::Yaml => {
                    let component = &known.component;
                    ui.json(&json!({
                        "schema": "cozy/v1/component",
                        "name": component.name,
                        "version": component.version,
                        "category": component.category,
                        "summary": component.summary,
                        "needs": component.needs,
                        "expect": component.expect,
                        "deadline": component.deadline,
                        "settings": component.settings.as_deref().and_then(text).and_then(|schema| serde_json::from_str::<serde_json::Value>(&schema).ok()),
                    }))?;
                }
            }
            Ok(Exit::Done)
        }
    }
}
