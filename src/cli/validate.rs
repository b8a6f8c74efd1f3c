//! `cozy validate`: all mistakes in the cloud's file, the catalogue and what they render to.

use std::collections::BTreeSet;

use serde_json::json;

use super::artefacts;
use super::flow;
use super::unplanned;
use crate::error::{Exit, Problem, Said};
use crate::model::cloud::Provider;
use crate::model::finding::{self, Finding};
use crate::plan::planner::{self, Allowed, Observed};
use crate::render::{self, Missing, Rendered};
use crate::settings::Settings;
use crate::ui::{Format, Ui};

/// Flags of `cozy validate`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// Runs the command.
pub(super) fn run(Args {}: &Args, settings: &Settings, ui: &Ui) -> anyhow::Result<Exit> {
    let checked = flow::load(settings).and_then(|mut loaded| {
        // Nothing is fetched, so nothing waits for a signal.
        let _ = artefacts::attach(&mut loaded, settings, None)?;
        let own =
            loaded.components.iter().filter_map(|one| loaded.catalogue.components.get(&one.component.name));
        let mistakes = own.flat_map(render::mistakes).chain(unplanned::unfit(&loaded)).collect();
        let rendered = together(mistakes, flow::rendered(&loaded, Missing::StandIn))?;
        let desired = flow::desired(&loaded, rendered, Allowed::default());
        // A cluster that exists may have what no component brings.
        let existing = loaded.file.cloud.kubernetes.provider == Provider::Existing;
        let mut errors = planner::plan(&desired, &Observed::nothing(existing)).err().unwrap_or_default();
        errors.retain(|error| !(existing && error.may_be_there()));
        if !errors.is_empty() {
            return Err(unplanned::no_plan(errors, &loaded.components));
        }
        Ok((loaded, desired))
    });
    match checked {
        Ok((loaded, desired)) => {
            if ui.format() == Format::Text {
                flow::warn(&loaded, ui);
            }
            flow::mention_idle_gates(&desired, ui);
            if let Err(error) = flow::own_version(&loaded.file.cloud) {
                ui.note(format!("warning: {error}"));
            }
            match ui.format() {
                Format::Text => {
                    let name = if settings.file == "-" { "<stdin>" } else { settings.file.as_str() };
                    let count = loaded.components.len();
                    ui.note(format!(
                        "{name} is valid: {count} component{}",
                        if count == 1 { "" } else { "s" }
                    ));
                }
                Format::Json | Format::Yaml => ui.document(&document(&loaded.file.warnings))?,
            }
            Ok(Exit::Done)
        }
        Err(error) => told(error, ui),
    }
}

/// What was rendered; or the mistakes that are seen without rendering, and those that are not, each once.
fn together(
    mut mistakes: Vec<Finding>,
    rendered: anyhow::Result<Vec<Rendered>>,
) -> anyhow::Result<Vec<Rendered>> {
    match rendered {
        Ok(rendered) if mistakes.is_empty() => return Ok(rendered),
        Ok(_) => {}
        Err(error) => match error.downcast::<Problem>()? {
            Problem::Findings(found) => {
                let key = |one: &Finding| {
                    (one.code, one.place.as_ref().map(|(source, _)| source.name.clone()), one.position())
                };
                let known: BTreeSet<_> = mistakes.iter().map(key).collect();
                let new = |one: &Finding| one.place.is_none() || !known.contains(&key(one));
                mistakes.extend(found.into_iter().filter(new));
            }
            other => return Err(other.into()),
        },
    }
    finding::sort(&mut mistakes);
    Err(Problem::Findings(mistakes).into())
}

/// Mistakes as the document that was asked for; the error itself where text was.
pub(super) fn told(error: anyhow::Error, ui: &Ui) -> anyhow::Result<Exit> {
    match (ui.format(), error.downcast_ref::<Problem>()) {
        (Format::Json | Format::Yaml, Some(Problem::Findings(findings))) => {
            ui.document(&document(findings))?;
        }
        (Format::Json | Format::Yaml, Some(problem)) => ui.document(&said(problem))?,
        _ => return Err(error),
    }
    Ok(Exit::Usage)
}

/// Other problems as findings without a place.
fn said(problem: &Problem) -> serde_json::Value {
    let all: Vec<&Said> = match problem {
        Problem::Findings(_) => Vec::new(),
        Problem::Many(said) | Problem::Several { said, .. } => said.iter().collect(),
        Problem::One(said, ..) => vec![said],
    };
    let findings: Vec<_> = all
        .into_iter()
        .map(|Said { code, message, hint }| {
            json!({ "code": code, "level": "error", "message": message, "file": null, "line": null, "column": null,
                "suggestion": null, "hint": hint })
        })
        .collect();
    json!({ "schema": "cozy/v1/findings", "findings": findings })
}

/// Findings as data.
fn document(findings: &[Finding]) -> serde_json::Value {
    let findings: Vec<_> = findings
        .iter()
        .map(|finding| {
            let position = finding.position();
            json!({
                "code": finding.code,
                "level": finding.level,
                "message": finding.message,
                "file": finding.place.as_ref().map(|(source, _)| source.name.as_str()),
                "line": position.map(|(line, _)| line),
                "column": position.map(|(_, column)| column),
                "suggestion": Some(finding.label.as_str()).filter(|label| !label.is_empty()),
                "hint": finding.hint,
            })
        })
        .collect();
    json!({ "schema": "cozy/v1/findings", "findings": findings })
}
