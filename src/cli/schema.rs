//! `cozy schema`: JSON schemas of the user's files.

use crate::error::Exit;
use crate::model::schema::FileKind;
use crate::ui::Ui;

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
}

/// Runs the command.
pub(super) fn run(args: &Args, ui: &Ui) -> anyhow::Result<Exit> {
    let Args { of } = *args;
    let kind = match of {
        Of::Cloud => FileKind::Cloud,
        Of::Bundle => FileKind::Bundle,
        Of::Component => FileKind::Component,
        Of::Lock => FileKind::Lock,
    };
    ui.data(kind.text())?;
    Ok(Exit::Done)
}
