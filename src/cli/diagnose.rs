//! `cozy diagnose`: why components are not ready, down to the cause and the
//! fix; with an archive for others to read, secrets removed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;

use super::artefacts;
use super::desire::{self, Before};
use super::flow;
use super::secrets;
use crate::cluster::Cluster;
use crate::cluster::observe::Lists;
use crate::diagnose::{Operators, archive, diagnose};
use crate::error::{Code, Exit};
use crate::execute::event::Failure;
use crate::model::names::ComponentName;
use crate::plan::planner::{Allowed, Desired, DesiredComponent};
use crate::settings::Settings;
use crate::ui::diagnosis::Block;
use crate::ui::{Format, Ui};

/// Flags of `cozy diagnose`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The component; all when none is named
    component: Option<ComponentName>,
    /// Write what others need to look at it, without secrets
    #[arg(long, value_name = "FILE.tar.zst")]
    archive: Option<PathBuf>,
}

/// A component with what is wrong with it.
struct Found {
    name: ComponentName,
    objects: usize,
    failures: Vec<Failure>,
}

/// Runs the command.
pub(super) fn run(args: &Args, settings: &Settings, ui: &Ui) -> anyhow::Result<Exit> {
    let Args { component, archive: file } = args;
    let mut loaded = flow::load(settings)?;
    flow::known(&loaded, component.as_slice())?;
    secrets::read(&mut loaded, settings)?;
    let runtime = flow::runtime()?;
    // Where there is no cluster nothing needs to be fetched.
    let cluster = runtime.block_on(flow::connect(&loaded.file.cloud, settings, ui))?;
    if let Err(signal) = artefacts::attach(&mut loaded, settings, Some(ui))? {
        return Ok(artefacts::interrupted(signal, "cozy diagnose", ui));
    }
    let before = Before { rendered: desire::refuse(&loaded)?, ..Before::default() };
    let (found, files) = runtime.block_on(async {
        let wanted = desire::wanted(&loaded, Some(&cluster), before, Allowed::default()).await?;
        let (mut desired, masks) = (wanted.desired, wanted.masks);
        cluster.place(&mut desired).map_err(flow::cluster)?;
        let all = desired.components.iter();
        let wanted: Vec<&DesiredComponent> =
            all.filter(|known| component.as_ref().is_none_or(|named| *named == known.name)).collect();
        let mut found =
            look(&cluster, &desired, &wanted, settings.concurrency).await.map_err(flow::cluster)?;
        let failures = found.iter_mut().flat_map(|component| &mut component.failures);
        failures.for_each(|failure| failure.mask(&masks));
        let files = match file {
            Some(_) => archive::collect(&cluster, &wanted, &masks).await.map_err(flow::cluster).context(
                "no archive is written: it may hold values of Secrets, and they cannot be read to take them out",
            )?,
            None => BTreeMap::new(),
        };
        anyhow::Ok((found, files))
    })?;
    let healthy = found.iter().all(|component| component.failures.is_empty());
    let document = document(loaded.file.cloud.name.as_str(), healthy, &found);
    if let Some(path) = file {
        write(path, files, &document)
            .with_context(|| format!("cannot write the archive `{}`", path.display()))?;
    }
    match ui.format() {
        Format::Text => ui.data(&text(&found, ui))?,
        Format::Json | Format::Yaml => ui.document(&document)?,
    }
    Ok(if healthy { Exit::Done } else { Exit::Unhealthy })
}

async fn look(
    cluster: &Cluster,
    desired: &Desired,
    wanted: &[&DesiredComponent],
    concurrency: usize,
) -> Result<Vec<Found>, crate::cluster::error::ClusterError> {
    let mut operators = Operators::default();
    for component in &desired.components {
        operators.add(component.objects.iter().map(|(_, object)| &**object));
    }
    let lists = Lists::new(cluster);
    let mut all = Vec::new();
    for component in wanted {
        let mut failures = Vec::new();
        for (id, reason) in cluster.unwell(component, &lists, concurrency).await? {
            let found = diagnose(cluster, &id, &reason, &operators).await;
            failures.push(Failure {
                code: Code(3001),
                message: format!("{id} is not ready"),
                chain: found.chain,
                hint: found.fix,
            });
        }
        all.push(Found { name: component.name.clone(), objects: component.objects.len(), failures });
    }
    Ok(all)
}

fn document(cloud: &str, healthy: bool, found: &[Found]) -> serde_json::Value {
    let components: Vec<_> = found
        .iter()
        .map(|Found { name, objects, failures }| {
            json!({ "name": name, "objects": objects, "healthy": failures.is_empty(), "failures": failures })
        })
        .collect();
    json!({ "schema": "cozy/v1/diagnosis", "cloud": cloud, "healthy": healthy, "components": components })
}

fn text(found: &[Found], ui: &Ui) -> String {
    let mut out = String::new();
    for Found { name, objects, failures } in found {
        if failures.is_empty() {
            let _ = writeln!(out, "✓ {name}: {objects} objects, all ready");
        }
        for failure in failures {
            let block = Block { component: name.as_str(), failure, blocks: &[], total: None };
            out.push_str(&block.render(ui.paint(), ui.width()));
        }
    }
    out
}

/// Writes the archive: readable by its owner only, and whole or not at all.
fn write(path: &Path, files: BTreeMap<String, Vec<u8>>, document: &serde_json::Value) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(folder)?;
    let mut tar = tar::Builder::new(zstd::Encoder::new(file, 3)?);
    let diagnosis = ("diagnosis.json".to_owned(), serde_json::to_vec_pretty(document)?);
    for (name, contents) in std::iter::once(diagnosis).chain(files) {
        let mut header = tar::Header::new_gnu();
        header.set_size(contents.len() as u64);
        header.set_mode(0o600);
        header.set_cksum();
        tar.append_data(&mut header, name, contents.as_slice())?;
    }
    tar.into_inner()?.finish()?.persist(path)?;
    Ok(())
}
