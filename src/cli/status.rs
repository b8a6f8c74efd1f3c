//! `cozy status`: the components of a cloud and how they are, from what the
//! cluster says now.

use jiff::Timestamp;
use serde_json::json;

use super::artefacts;
use super::desire::{self, Before};
use super::flow;
use super::secrets;
use crate::cluster::nodes::NodeState;
use crate::error::Exit;
use crate::model::cloud::{Cloud, Provider};
use crate::plan::planner::{Allowed, Desired, Observed};
use crate::provider::kubeadm::certificates::embedded;
use crate::settings::Settings;
use crate::ui::{Format, Ui};

/// Flags of `cozy status`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// One component, summed up.
struct Line {
    name: String,
    objects: usize,
    present: usize,
    ready: usize,
    drifted: Vec<String>,
    unready: Vec<String>,
}

/// Runs the command.
pub(super) fn run(Args {}: &Args, settings: &Settings, ui: &Ui) -> anyhow::Result<Exit> {
    let mut loaded = flow::load(settings)?;
    secrets::read(&mut loaded, settings)?;
    let runtime = flow::runtime()?;
    // Where there is no cluster nothing needs to be fetched.
    let cluster = runtime.block_on(flow::connect(&loaded.file.cloud, settings, ui))?;
    if let Err(signal) = artefacts::attach(&mut loaded, settings, Some(ui))? {
        return Ok(artefacts::interrupted(signal, "cozy status", ui));
    }
    let rendered = desire::refuse(&loaded)?;
    let (desired, observed, version, nodes) = runtime.block_on(async {
        let about = cluster.about().await.map_err(flow::cluster)?;
        let (version, nodes) = (about.version.clone(), about.nodes.clone());
        let before = Before { about: Some(about), rendered, ..Before::default() };
        let mut wanted = desire::wanted(&loaded, Some(&cluster), before, Allowed::default()).await?;
        let nodes = match nodes {
            Some(nodes) => nodes,
            // This time its refusal is told.
            None => cluster.nodes().await.map_err(flow::cluster)?,
        };
        let (observed, _) = wanted.observe(settings.concurrency, ui).await?;
        anyhow::Ok((wanted.desired, observed, version, nodes))
    })?;
    let lines = sum_up(&desired, &observed);
    let certificates = certificates(&loaded.file.cloud, settings);
    let unhealthy =
        lines.iter().any(|line| line.ready < line.objects) || nodes.iter().any(|node| node.unready.is_some());
    let drifted = lines.iter().any(|line| !line.drifted.is_empty());
    match ui.format() {
        Format::Text => ui.data(&tree(&loaded.file.cloud, &version, &nodes, &lines, certificates))?,
        Format::Json | Format::Yaml => {
            let components: Vec<_> = lines
                .iter()
                .map(|line| {
                    json!({ "name": line.name, "objects": line.objects, "present": line.present, "ready": line.ready,
                        "drifted": line.drifted, "notReady": line.unready })
                })
                .collect();
            ui.document(
                &json!({ "schema": "cozy/v1/status", "cloud": loaded.file.cloud.name, "kubernetes": version,
                "healthy": !unhealthy, "drift": drifted, "nodes": nodes, "components": components,
                "certificatesEnd": certificates.map(|ends| ends.to_string()) }),
            )?;
        }
    }
    Ok(match (unhealthy, drifted) {
        (true, _) => Exit::Unhealthy,
        (false, true) => Exit::Changes,
        (false, false) => Exit::Done,
    })
}

/// When the first of the cluster's certificates ends. All of them are made and renewed together, server by server,
/// and the administrator's, which is at hand here, comes from the first one.
fn certificates(cloud: &Cloud, settings: &Settings) -> Option<Timestamp> {
    if cloud.kubernetes.provider == Provider::Existing {
        return None;
    }
    let kubeconfig = fs_err::read(flow::own_kubeconfig(cloud, settings)).ok()?;
    Timestamp::from_second(embedded(&kubeconfig)?).ok()
}

fn sum_up(desired: &Desired, observed: &Observed) -> Vec<Line> {
    desired
        .components
        .iter()
        .map(|component| {
            let mut line = Line {
                name: component.name.to_string(),
                objects: component.objects.len(),
                present: 0,
                ready: 0,
                drifted: Vec::new(),
                unready: Vec::new(),
            };
            for (_, object) in &component.objects {
                match observed.objects.get(&object.id) {
                    None => line.unready.push(format!("{} is not there", object.id)),
                    Some(seen) => {
                        line.present += 1;
                        line.ready += usize::from(seen.ready);
                        if !seen.ready {
                            line.unready.push(format!("{} is not ready", object.id));
                        }
                        if !seen.is_same() {
                            line.drifted.push(object.id.to_string());
                        }
                    }
                }
            }
            line
        })
        .collect()
}

fn tree(
    cloud: &Cloud,
    version: &str,
    nodes: &[NodeState],
    lines: &[Line],
    certificates: Option<Timestamp>,
) -> String {
    use std::fmt::Write as _;
    let provider = cloud.kubernetes.provider.as_str();
    let mut text = format!("cloud {} · {provider} {version}", cloud.name);
    let unready: Vec<&NodeState> = nodes.iter().filter(|node| node.unready.is_some()).collect();
    let _ = writeln!(text, " · {} of {} nodes ready", nodes.len() - unready.len(), nodes.len());
    if let Some(ends) = certificates {
        let days = ends.duration_since(Timestamp::now()).as_hours() / 24;
        let mark = if days < 60 { "✗" } else { "✓" };
        let date = ends.strftime("%F");
        let renewed = if days < 60 { ": `cozy install` renews them" } else { "" };
        let _ = writeln!(text, "├ {mark} certificates         end on {date}, in {days} days{renewed}");
    }
    for node in unready {
        let _ = writeln!(text, "├ ✗ node {:<15} {}", node.name, node.unready.as_deref().unwrap_or_default());
    }
    for (index, line) in lines.iter().enumerate() {
        let last = index + 1 == lines.len();
        let mark = if line.ready == line.objects { "✓" } else { "✗" };
        let drift = if line.drifted.is_empty() {
            String::new()
        } else {
            format!(" · {} drifted", line.drifted.len())
        };
        let _ = writeln!(
            text,
            "{} {mark} {:<20} {} of {} objects ready{drift}",
            if last { "└" } else { "├" },
            line.name,
            line.ready,
            line.objects
        );
        for words in line
            .unready
            .iter()
            .take(5)
            .cloned()
            .chain(line.drifted.iter().take(5).map(|id| format!("{id} differs")))
        {
            let _ = writeln!(text, "{}     {words}", if last { " " } else { "│" });
        }
    }
    text
}
