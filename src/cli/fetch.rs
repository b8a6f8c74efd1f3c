//! `cozy fetch`: fills the cache with what a cloud is made from.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::flow::Loaded;
use super::{artefacts, flow};
use crate::error::Exit;
use crate::execute::event::FetchedFrom;
use crate::fetch::{Fetched, Held};
use crate::model::artefact::Digest;
use crate::model::cloud::Provider;
use crate::model::names::ComponentName;
use crate::model::release::Binary;
use crate::settings::{self, Settings};
use crate::ui::table::table;
use crate::ui::text::size;
use crate::ui::{Format, Ui};

/// Flags of `cozy fetch`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The components; all, and Kubernetes for the hosts, when none is named
    component: Vec<ComponentName>,
    /// The hosts' architecture, for Kubernetes (repeatable); else this machine's
    #[arg(long, value_name = "ARCH")]
    arch: Vec<Arch>,
    #[command(flatten)]
    patience: Patience,
}

/// The architectures that there are releases for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
enum Arch {
    Amd64,
    Arm64,
}

impl Arch {
    fn here() -> Self {
        if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::Amd64 }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
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
    let Args { component, arch, patience } = args;
    let mut loaded = flow::load(settings)?;
    flow::warn(&loaded, ui);
    flow::only(&mut loaded, component)?;
    let cloud = &loaded.file.cloud;
    let components = loaded.components.iter().map(|resolved| &resolved.component);
    let wanted = artefacts::pinned(components, &cloud.bundle, &loaded.catalogue, settings)?;
    let how = artefacts::Wanted::of(cloud, settings, patience.timeout);
    let interrupted = |signal| Ok(artefacts::interrupted(signal, "cozy fetch", ui));
    let binaries = if component.is_empty() { binaries(&loaded, arch) } else { Vec::new() };
    // One after the other, so that what fails of either is told.
    let fetched = artefacts::fetch(&wanted, &how, settings, ui);
    if let Ok(Err(signal)) = fetched {
        return interrupted(signal);
    }
    let held = if binaries.is_empty() {
        Ok(Ok(Vec::new()))
    } else {
        flow::runtime()?.block_on(artefacts::binaries(&binaries, &how, settings, ui))
    };
    let (fetched, held) = match (fetched, held) {
        (_, Ok(Err(signal))) | (Ok(Err(signal)), _) => return interrupted(signal),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => return Err(error),
        (Err(error), Err(other)) => {
            flow::tell(&error, ui);
            return Err(other);
        }
        (Ok(Ok(fetched)), Ok(Ok(held))) => (fetched, held),
    };
    show(fetched.iter().map(Row::from).chain(held.iter().map(Row::from)).collect(), "cozy/v1/fetch", ui)?;
    Ok(Exit::Done)
}

/// What hosts of these architectures get.
fn binaries(loaded: &Loaded, arch: &[Arch]) -> Vec<Binary> {
    if loaded.file.cloud.kubernetes.provider == Provider::Existing {
        return Vec::new();
    }
    let wanted: BTreeSet<Arch> =
        if arch.is_empty() { BTreeSet::from([Arch::here()]) } else { arch.iter().copied().collect() };
    wanted.into_iter().flat_map(|arch| loaded.release.of(arch.as_str()).cloned()).collect()
}

/// Something that is at hand, for people and programs.
pub(super) struct Row {
    kind: &'static str,
    name: String,
    version: String,
    /// Of what runs on hosts.
    arch: Option<String>,
    url: String,
    sha256: Digest,
    bytes: u64,
    from: FetchedFrom,
    is_new: bool,
}

impl From<&Fetched> for Row {
    fn from(fetched: &Fetched) -> Self {
        let Fetched { id, url, sha256, size, from, is_new } = fetched;
        Self {
            kind: id.kind.word(),
            name: id.name.clone(),
            version: id.version.clone(),
            arch: None,
            url: url.clone(),
            sha256: *sha256,
            bytes: *size as u64,
            from: *from,
            is_new: *is_new,
        }
    }
}

impl From<&Held> for Row {
    fn from(held: &Held) -> Self {
        let Held { binary, path: _, size, from } = held;
        Self {
            kind: "binary",
            name: binary.name.clone(),
            version: binary.version.clone(),
            arch: Some(binary.arch.clone()),
            url: binary.url.clone(),
            sha256: binary.sha256,
            bytes: *size,
            from: *from,
            is_new: false,
        }
    }
}

/// Prints what is in the cache now.
pub(super) fn show(all: Vec<Row>, schema: &str, ui: &Ui) -> anyhow::Result<()> {
    match ui.format() {
        Format::Text => {
            let total: u64 = all.iter().map(|row| row.bytes).sum();
            let rows: Vec<Vec<String>> = all
                .into_iter()
                .map(|Row { kind, name, version, arch, sha256, bytes, from, .. }| {
                    let version = arch.map_or_else(|| version.clone(), |arch| format!("{version} {arch}"));
                    let (size, from) = (size(bytes), from.to_string());
                    vec![kind.to_owned(), name, version, size, from, sha256.to_string()]
                })
                .collect();
            if !rows.is_empty() {
                ui.data(&table(&["KIND", "NAME", "VERSION", "SIZE", "FROM", "SHA256"], &rows, ui.width()))?;
            }
            ui.note(format!("{} at hand, {}", crate::ui::text::count(rows.len(), "artefact"), size(total)));
        }
        Format::Json | Format::Yaml => {
            let artefacts: Vec<_> = all
                .into_iter()
                .map(|Row { kind, name, version, arch, url, sha256, bytes, from, is_new }| {
                    let mut row = json!({
                        "kind": kind, "name": name, "version": version, "url": url,
                        "sha256": sha256, "bytes": bytes, "from": from, "newlyLocked": is_new,
                    });
                    if let Some(arch) = arch {
                        row["arch"] = json!(arch);
                    }
                    row
                })
                .collect();
            ui.document(&json!({ "schema": schema, "artifacts": artefacts }))?;
        }
    }
    Ok(())
}
