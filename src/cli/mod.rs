//! The command line: one file a command. clap lives here only.

mod allow;
mod artefacts;
mod bundle;
mod chart;
mod component;
mod desire;
mod diagnose;
mod existing;
mod fetch;
mod flow;
mod help;
mod host;
mod hosts;
mod install;
mod lint;
mod plan;
mod preflight;
mod remote;
mod render;
mod schema;
mod schemas;
mod secrets;
mod signals;
mod status;
mod uninstall;
mod unlock;
mod unplanned;
mod validate;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use serde_json::json;

use crate::error::Exit;
use crate::settings::{self, GlobalArgs, Settings};
use crate::ui::{Format, Ui};

/// Turns fresh Linux servers into a cloud: one binary, one file, one command
#[derive(Debug, Parser)]
#[command(
    name = "cozy",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 done · 1 failed or declined · 2 wrong use or invalid input · 3 changes pending · \
        4 preflight failed · 5 unhealthy or not ready in time · 6 locked · 130 SIGINT · 143 SIGTERM"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: GlobalArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the cloud's file and the catalogue
    Validate(validate::Args),
    /// Print the objects of components
    Render(Box<render::Args>),
    /// Check hosts for what this cloud needs; all findings at once
    Preflight(preflight::Args),
    /// Show what would happen
    Plan(plan::Args),
    /// Install, or go on, or change: plan, confirm, run with gates
    Install(install::Args),
    /// Show what is there, and how it is
    Status(status::Args),
    /// Say why components are not ready, down to the cause and the fix
    Diagnose(diagnose::Args),
    /// Take the lock away from a run that is dead
    Unlock(unlock::Args),
    /// Take away what was put on hosts
    Uninstall(uninstall::Args),
    /// Fill the cache with charts and manifests
    Fetch(fetch::Args),
    /// Show bundles, and lock their artefacts
    #[command(subcommand)]
    Bundle(bundle::Args),
    /// Show components
    #[command(subcommand)]
    Component(component::Args),
    /// What runs on hosts, started by systemd
    #[command(subcommand, hide = true)]
    Host(host::Args),
    /// Print a JSON schema, for editors and scripts
    Schema(schema::Args),
    /// Print a completion script
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
    /// Print the version
    Version,
}

/// Runs the command that the arguments name.
pub fn main() -> Exit {
    let command = settings::without_empty(Cli::command());
    let overview = help::overview(&command);
    let parsed = command.override_help(overview).try_get_matches();
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // Broken pipe is not an error.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    let Cli { command, global } = cli;
    let settings = Settings::from(global);
    let ui = Ui::new(settings.ui);
    match run(command, &settings, &ui) {
        Ok(exit) => exit,
        Err(error) => flow::tell(&error, &ui),
    }
}

fn run(command: Command, settings: &Settings, ui: &Ui) -> anyhow::Result<Exit> {
    match command {
        Command::Validate(args) => validate::run(&args, settings, ui),
        Command::Render(args) => render::run(*args, settings, ui),
        Command::Preflight(args) => preflight::run(&args, settings, ui),
        Command::Plan(args) => plan::run(args, settings, ui),
        Command::Install(args) => install::run(&args, settings, ui),
        Command::Status(args) => status::run(&args, settings, ui),
        Command::Diagnose(args) => diagnose::run(&args, settings, ui),
        Command::Unlock(args) => unlock::run(&args, settings, ui),
        Command::Uninstall(args) => uninstall::run(&args, settings, ui),
        Command::Fetch(args) => fetch::run(&args, settings, ui),
        Command::Bundle(args) => bundle::run(args, settings, ui),
        Command::Component(args) => component::run(args, settings, ui),
        Command::Host(args) => host::run(args, ui),
        Command::Schema(args) => schema::run(&args, ui),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "cozy", &mut script);
            ui.data(&String::from_utf8_lossy(&script))?;
            Ok(Exit::Done)
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page)?;
            ui.data(&String::from_utf8_lossy(&page))?;
            Ok(Exit::Done)
        }
        Command::Version => {
            let version = env!("CARGO_PKG_VERSION");
            match ui.format() {
                Format::Text => ui.data(&format!("cozy {version}\n"))?,
                Format::Json | Format::Yaml => {
                    ui.document(&json!({ "schema": "cozy/v1/version", "version": version }))?;
                }
            }
            Ok(Exit::Done)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
