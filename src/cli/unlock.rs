//! `cozy unlock`: takes the lock away from a run that is dead.

use serde_json::json;

use super::flow;
use crate::error::{Exit, Problem};
use crate::settings::{Settings, Switch, ThisMachine};
use crate::ui::{Format, Ui};

/// Flags of `cozy unlock`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Do not ask
    #[arg(long, env = "COZY_YES", value_parser = Switch)]
    yes: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args, settings: &Settings, ui: &Ui) -> anyhow::Result<Exit> {
    let loaded = flow::load(settings)?;
    flow::runtime()?.block_on(async {
        let cluster = flow::connect(&loaded.file.cloud, settings, ui).await?;
        let locker = cluster.locker().map_err(flow::cluster)?;
        let say = |text: &str, was: Option<&str>| match ui.format() {
            Format::Text => ui.data(&format!("{text}\n")),
            Format::Json | Format::Yaml => {
                ui.document(&json!({ "schema": "cozy/v1/unlock", "unlocked": was.is_some(), "holder": was }))
            }
        };
        let Some(held) = locker.held(&ThisMachine).await.map_err(flow::cluster)? else {
            say("nobody holds the lock", None)?;
            return Ok(Exit::Done);
        };
        let state = if held.alive { "It may still be at work: end it first." } else { "It is dead." };
        let question = format!("the lock is held by {}. {state} Take it away?", held.by);
        let agreed = flow::confirm(&question, args.yes, settings).await?;
        if !agreed {
            ui.note("declined: the lock is still there");
            return Ok(Exit::Failed);
        }
        if !locker.remove(&held).await.map_err(flow::cluster)? {
            let hint = "its holder is at work: wait until it ends";
            return Err(Problem::new(6002, Exit::Locked, "the lock was renewed meanwhile", hint).into());
        }
        say(&format!("unlocked: it was held by {}", held.by), Some(&held.by))?;
        Ok(Exit::Done)
    })
}
