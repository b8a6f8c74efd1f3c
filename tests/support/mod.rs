//! What several test binaries use.

pub(crate) mod control_plane;
