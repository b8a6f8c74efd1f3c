//! `cozy uninstall --hosts`: the hosts of a cloud as they were before.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future;

use super::flow::{self, Loaded};
use super::hosts;
use super::plan::OwnFacts;
use super::preflight::{self, HostArgs};
use super::{signals, unplanned};
use crate::error::{Exit, Problem};
use crate::execute::run::{self, Options, Shared};
use crate::host::{Session, Target};
use crate::model::cloud::{Cloud, HostState, Provider};
use crate::plan::planner::{self, Desired, Observed};
use crate::provider::kubeadm::{self, Cleaner};
use crate::settings::{Settings, Switch};
use crate::ui::{Format, Ui, plan as draw};

/// Flags of `cozy uninstall`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Take Kubernetes and everything in it away from the hosts
    #[arg(long)]
    hosts: bool,
    /// Do not ask
    #[arg(long, env = "COZY_YES", value_parser = Switch)]
    yes: bool,
    #[command(flatten)]
    reach: HostArgs,
}

/// Runs the command.
pub(super) fn run(args: &Args, settings: &Settings, ui: &Ui) -> anyhow::Result<Exit> {
    let Args { hosts, yes, ref reach } = *args;
    preflight::skipped(reach)?;
    if !hosts {
        let hint = "--hosts takes the whole cluster away, with everything in it";
        return Err(Problem::new(
            7008,
            Exit::Usage,
            "components alone are not uninstalled by this version of cozy",
            hint,
        )
        .into());
    }
    let loaded = flow::load(settings)?;
    flow::own_version(&loaded.file.cloud)?;
    flow::warn(&loaded, ui);
    if loaded.file.cloud.kubernetes.provider == Provider::Existing {
        return Err(hosts::none("nothing was put on hosts"));
    }
    flow::runtime()?.block_on(work(reach, yes, &loaded, settings, ui))
}

/// The hosts of a cloud, held and ready to be cleaned.
async fn reached(reach: &HostArgs, cloud: &Cloud, settings: &Settings, ui: &Ui) -> anyhow::Result<Cleaner> {
    let ssh = preflight::ssh(reach, settings);
    let opened =
        future::join_all(cloud.hosts.iter().map(|host| Session::open(Target::new(host), &ssh))).await;
    let (mut sessions, mut away, mut silent) = (Vec::new(), Vec::new(), Vec::new());
    for (host, opened) in cloud.hosts.iter().zip(opened) {
        match opened {
            Ok(session) if host.state == HostState::Removed => away.push(session),
            Ok(session) => sessions.push(session),
            // It may be gone for good: that is what its state says.
            Err(error) if host.state == HostState::Removed => {
                ui.note(format!("{error}: nothing is cleaned there"));
            }
            Err(error) => silent.push(error),
        }
    }
    if !silent.is_empty() {
        return Err(hosts::silent(&silent));
    }
    let ours = kubeadm::of_cloud(&away, cloud).await;
    hosts::hold(sessions.iter().chain(ours), "cozy uninstall", Duration::ZERO).await?;
    sessions.extend(away);
    Cleaner::new(cloud, sessions).await.map_err(|error| hosts::host(&error))
}

async fn work(
    reach: &HostArgs,
    yes: bool,
    loaded: &Loaded,
    settings: &Settings,
    ui: &Ui,
) -> anyhow::Result<Exit> {
    let cloud = &loaded.file.cloud;
    let name = cloud.name.as_str();
    let cleaner = match signals::or_stop(reached(reach, cloud, settings, ui)).await {
        Ok(cleaner) => cleaner?,
        Err(exit) => return Ok(exit),
    };
    let desired = Desired { hosts: cleaner.steps(), ..Desired::default() };
    let plan = planner::plan(&desired, &Observed::nothing(false))
        .map_err(|errors| unplanned::no_plan(errors, &[]))?;
    let facts = OwnFacts::new(loaded, &flow::version(cloud));
    if ui.format() == Format::Text {
        ui.note(draw::plan_text(&plan, &facts.borrow(false), ui.width()).trim_end());
    }
    if !plan.is_empty() {
        let question = format!("take cloud {name} away from its hosts, with all data in it?");
        let agreed = flow::confirm(&question, yes, settings).await?;
        if !agreed {
            ui.note("declined: nothing was removed");
            return Ok(Exit::Failed);
        }
    }
    let options =
        Options { concurrency: settings.concurrency, force_conflicts: false, timeout: None, cloud: None };
    let reporter = ui.reporter();
    let shared = Shared::new(None, &cleaner, &*reporter, options);
    shared.report(facts.started(&plan, false));
    let stop = shared.interrupted(signals::listen()).boxed_local();
    let finished = run::run(&shared, &plan, BTreeMap::new(), stop).await;
    for (_, failure) in finished.failures.clone() {
        flow::tell(&flow::failure(failure), ui);
    }
    let exit = super::install::exit(&finished);
    if exit == Exit::Done {
        let _ = fs_err::remove_file(flow::own_kubeconfig(cloud, settings));
        ui.note(format!("cloud {name} is gone from its hosts"));
    } else {
        ui.note("the same command goes on from here");
    }
    Ok(exit)
}
