//! `cozy component list|show`.

use serde_json::{Value, json};

use super::flow;
use crate::error::{Exit, Problem};
use crate::model::catalogue::Catalogue;
use crate::model::component::Component;
use crate::model::names::ComponentName;
use crate::model::suggest::did_you_mean;
use crate::settings::Settings;
use crate::ui::table::table;
use crate::ui::text::clean_block;
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
    let (catalogue, findings) = flow::catalogue(settings)?;
    match args {
        Args::List => {
            list(&catalogue, ui)?;
            flow::mention(&findings, ui);
            Ok(Exit::Done)
        }
        Args::Show { name } if catalogue.is_unread(name.as_str()) => Err(Problem::Findings(findings).into()),
        Args::Show { name } => show(&catalogue, &name, ui),
    }
}

fn list(catalogue: &Catalogue, ui: &Ui) -> anyhow::Result<()> {
    let components = catalogue.components.values().map(|known| &known.component);
    match ui.format() {
        Format::Text => {
            let row = |component: &Component| {
                let source = &component.source;
                let from = match (&source.chart, &source.manifest) {
                    (Some(_), _) => "chart",
                    (None, Some(_)) => "manifest",
                    (None, None) => "templates",
                };
                vec![
                    component.name.to_string(),
                    component.version.clone(),
                    component.category.clone(),
                    from.to_owned(),
                    component.summary.clone(),
                ]
            };
            let rows: Vec<_> = components.map(row).collect();
            ui.data(&table(&["NAME", "VERSION", "CATEGORY", "SOURCE", "SUMMARY"], &rows, ui.width()))?;
        }
        Format::Json | Format::Yaml => {
            let components: Vec<_> = components
                .map(|Component { name, version, category, summary, .. }| {
                    json!({ "name": name, "version": version, "category": category, "summary": summary })
                })
                .collect();
            ui.document(&json!({ "schema": "cozy/v1/components", "components": components }))?;
        }
    }
    Ok(())
}

fn show(catalogue: &Catalogue, name: &ComponentName, ui: &Ui) -> anyhow::Result<Exit> {
    let Some(known) = catalogue.components.get(name) else {
        let names = catalogue.components.keys().map(ComponentName::as_str);
        let hint = did_you_mean(name.as_str(), names);
        let hint = if hint.is_empty() { "`cozy component list` shows all".to_owned() } else { hint };
        return Err(Problem::new(1209, Exit::Usage, format!("there is no component `{name}`"), hint).into());
    };
    let component = &known.component;
    let text = |file: &str| known.files.get(file).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let settings = component.settings.as_deref().and_then(text);
    match ui.format() {
        Format::Text => {
            ui.data(&clean_block(&text("component.yaml").unwrap_or_default(), false))?;
            if let Some(schema) = settings {
                ui.data(&clean_block(&format!("---\n# settings\n{schema}"), false))?;
            }
        }
        Format::Json | Format::Yaml => {
            let schema = settings.and_then(|schema| serde_json::from_str::<Value>(&schema).ok());
            ui.document(&json!({
                "schema": "cozy/v1/component",
                "name": component.name,
                "version": component.version,
                "category": component.category,
                "summary": component.summary,
                "needs": component.needs,
                "expect": component.expect,
                "deadline": component.deadline,
                "settings": schema,
            }))?;
        }
    }
    Ok(Exit::Done)
}
