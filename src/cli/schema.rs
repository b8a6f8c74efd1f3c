//! `cozy schema`: JSON schemas of the user's files, and of what cozy prints for programs.

use crate::error::Exit;
use crate::model::schema::FileKind;
use crate::ui::Ui;
use crate::ui::schemas::Document;

/// Flags of `cozy schema`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Of what
    #[arg(default_value = "cloud")]
    of: Of,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Of {
    /// cozy.yaml
    Cloud,
    /// bundles/NAME.yaml
    Bundle,
    /// templates/NAME/component.yaml
    Component,
    /// bundles/NAME.lock
    Lock,
    /// Each line of `cozy install -o json`, and of a run's log
    Events,
    /// `cozy plan -o json`
    Plan,
    /// `cozy status -o json`
    Status,
}

/// Runs the command.
pub(super) fn run(args: &Args, ui: &Ui) -> anyhow::Result<Exit> {
    let Args { of } = *args;
    ui.data(match of {
        Of::Cloud => FileKind::Cloud.text(),
        Of::Bundle => FileKind::Bundle.text(),
        Of::Component => FileKind::Component.text(),
        Of::Lock => FileKind::Lock.text(),
        Of::Events => Document::Event.schema(),
        Of::Plan => Document::Plan.schema(),
        Of::Status => Document::Status.schema(),
    })?;
    Ok(Exit::Done)
}
