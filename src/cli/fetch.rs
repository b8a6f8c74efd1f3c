//! `cozy fetch`: fills the cache with what a cloud is made from.

use std::time::Duration;

use serde_json::json;

use super::{artefacts, flow};
use crate::error::Exit;
use crate::fetch::Fetched;
use crate::model::names::ComponentName;
use crate::settings::{self, Settings};
use crate::ui::table::table;
use crate::ui::text::size;
use crate::ui::{Format, Ui};

/// Flags of `cozy fetch`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The components; all when none is named
    component: Vec<ComponentName>,
    #[command(flatten)]
    patience: Patience,
}

/// How long downloads may hang.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Patience {
    /// How long a download may go without progress
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = settings::span, env = "COZY_FETCH_TIMEOUT")]
    pub(super) timeout: Duration,
}

/// Runs the command.
pub(super) fn run(args: &Args, settings: &Settings, ui: &Ui) -> anyhow::Result<Exit> {
    let Args { component, patience } = args;
    let mut loaded = flow::load(settings)?;
    flow::warn(&loaded, ui);
    flow::only(&mut loaded, component)?;
    let cloud = &loaded.file.cloud;
    let components = loaded.components.iter().map(|resolved| &resolved.component);
    let wanted = artefacts::pinned(components, &cloud.bundle, &loaded.catalogue, settings)?;
    let how = artefacts::Wanted::of(cloud, settings, patience.timeout);
    match artefacts::fetch(&wanted, &how, settings, ui)? {
        Ok(fetched) => {
            show(&fetched, "cozy/v1/fetch", ui)?;
            Ok(Exit::Done)
        }
        Err(signal) => Ok(artefacts::interrupted(signal, "cozy fetch", ui)),
    }
}

/// Prints what is in the cache now.
pub(super) fn show(fetched: &[Fetched], schema: &str, ui: &Ui) -> anyhow::Result<()> {
    match ui.format() {
        Format::Text => {
            let rows: Vec<Vec<String>> = fetched
                .iter()
                .map(|Fetched { id, sha256, size: bytes, from, .. }| {
                    vec![
                        id.kind.word().to_owned(),
                        id.name.clone(),
                        id.version.clone(),
                        size(*bytes as u64),
                        from.to_string(),
                        sha256.to_string(),
                    ]
                })
                .collect();
            let total: u64 = fetched.iter().map(|one| one.size as u64).sum();
            if !rows.is_empty() {
                ui.data(&table(&["KIND", "NAME", "VERSION", "SIZE", "FROM", "SHA256"], &rows, ui.width()))?;
            }
            ui.note(format!("{} at hand, {}", crate::ui::text::count(rows.len(), "artefact"), size(total)));
        }
        Format::Json | Format::Yaml => {
            let artefacts: Vec<_> = fetched
                .iter()
                .map(|Fetched { id, url, sha256, size, from, is_new }| {
                    json!({
                        "kind": id.kind, "name": id.name, "version": id.version, "url": url,
                        "sha256": sha256, "bytes": size, "from": from, "newlyLocked": is_new,
                    })
                })
                .collect();
            ui.document(&json!({ "schema": schema, "artifacts": artefacts }))?;
        }
    }
    Ok(())
}
