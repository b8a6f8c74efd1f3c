//! cozy turns fresh Linux servers into a cloud.

mod cluster;
mod diagnose;
mod error;
mod execute;
mod health;
mod model;
mod plan;
mod render;
mod ui;
