//! Preflight of a cluster that others made: what is wrong with it for this
//! cloud, all at once, before anything is planned or written.

use std::collections::BTreeSet;

use super::desire::{self, Before};
use super::flow::{self, Loaded};
use crate::cluster::Cluster;
use crate::cluster::nodes::About;
use crate::error::Exit;
use crate::model::component::Component;
use crate::plan::planner::{self, Allowed};
use crate::plan::rights::Right;
use crate::plan::{grants, rights};
use crate::preflight::{Finding, cluster};
use crate::render::Missing;
use crate::settings::Settings;
use crate::ui::{Ui, preflight as draw};

/// Version, nodes and rights: enough to know whether a plan can be made and run at all. Gives what the cluster said of
/// itself, too.
pub(super) async fn basics(
    loaded: &Loaded,
    cluster: &Cluster,
    settings: &Settings,
) -> anyhow::Result<(Vec<Finding>, About)> {
    let components = || loaded.components.iter().map(|resolved| &resolved.component);
    let asked = futures::try_join!(cluster.about(), cluster.may_do_everything());
    let (about, everything) = asked.map_err(flow::cluster)?;
    let mut findings = cluster::version(&about.version, components());
    let missing =
        if everything { BTreeSet::new() } else { missing(loaded, cluster, settings.concurrency).await? };
    if let Some(nodes) = &about.nodes {
        let unready: Vec<(String, String)> =
            nodes.iter().filter_map(|node| Some((node.name.clone(), node.unready.clone()?))).collect();
        let brings = components().any(brings_network);
        findings.extend(cluster::nodes(nodes.len(), &unready, brings));
    }
    findings.extend(cluster::rights(&missing));
    Ok((findings, about))
}

/// The rights that one does not have, of those that this cloud needs.
async fn missing(loaded: &Loaded, cluster: &Cluster, concurrency: usize) -> anyhow::Result<BTreeSet<Right>> {
    let mut desired = flow::desired(loaded, flow::rendered(loaded, Missing::StandIn)?, Allowed::default());
    cluster.place(&mut desired).map_err(flow::cluster)?;
    let needed = rights::needed(&desired, |kind| cluster.plural(kind));
    let mut missing = cluster.missing(needed, concurrency).await.map_err(flow::cluster)?;
    let grants = grants::grants(&desired);
    missing.extend(cluster.withheld(grants, concurrency).await.map_err(flow::cluster)?);
    Ok(missing)
}

fn brings_network(component: &Component) -> bool {
    component.provides.capabilities.iter().any(|capability| capability == "cni")
}

/// Everything: also what a plan would run into.
pub(super) async fn look(loaded: &Loaded, settings: &Settings, ui: &Ui) -> anyhow::Result<Vec<Finding>> {
    let cluster = flow::connect(&loaded.file.cloud, settings, ui).await?;
    let (mut findings, about) = basics(loaded, &cluster, settings).await?;
    // Without these nothing more can be seen.
    if findings.iter().any(|found| found.check == "rights") {
        return Ok(findings);
    }
    let before = Before { about: Some(about), ..Before::default() };
    let mut wanted = desire::wanted(loaded, Some(&cluster), before, Allowed::default()).await?;
    let (observed, _) = wanted.observe(settings.concurrency, ui).await?;
    if let Err(errors) = planner::plan(&wanted.desired, &observed) {
        findings.extend(cluster::plan(&errors));
    }
    for found in &mut findings {
        found.observed = wanted.masks.mask(&found.observed);
    }
    Ok(findings)
}

/// Says what stands in the way of an install; `None`: nothing.
pub(super) fn refused(loaded: &Loaded, findings: &[Finding], skipped: usize, ui: &Ui) -> Option<Exit> {
    if super::preflight::passes(findings) {
        return None;
    }
    ui.error(&draw::text(loaded.file.cloud.name.as_str(), 0, findings, skipped, ui.width()));
    Some(Exit::Preflight)
}
