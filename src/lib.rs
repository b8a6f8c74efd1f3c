//! cozy turns fresh Linux servers into a cloud.

mod error;
mod execute;
mod model;
mod plan;
mod ui;
