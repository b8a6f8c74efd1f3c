//! The flags that allow what is never done unasked: `plan` shows with them
//! what `install` does with them.

use crate::plan::planner::Allowed;
use crate::settings::Switch;

/// What the user allows.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(super) struct Allow {
    /// Take over fields that other managers own
    #[arg(long, env = "COZY_FORCE_CONFLICTS", value_parser = Switch)]
    force_conflicts: bool,
    /// Take over objects that others made
    #[arg(long, env = "COZY_ADOPT", value_parser = Switch)]
    adopt: bool,
    /// Allow to delete data: CRDs, namespaces, volumes, and what is marked to be kept
    #[arg(long = "allow-data-loss", env = "COZY_ALLOW_DATA_LOSS", value_parser = Switch)]
    data_loss: bool,
}

impl From<Allow> for Allowed {
    fn from(args: Allow) -> Self {
        let Allow { force_conflicts: conflicts, adopt, data_loss } = args;
        Self { data_loss, conflicts, adopt }
    }
}
