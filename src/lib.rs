//! cozy turns fresh Linux servers into a cloud.

mod error;
mod model;
