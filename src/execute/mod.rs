//! Runs a plan: bounded parallelism, events, retries, cancellation.

mod apply;
mod budget;
pub(crate) mod event;
pub(crate) mod failed;
mod gate;
pub(crate) mod hosts;
mod inventories;
mod judge;
mod probe;
pub(crate) mod retry;
pub(crate) mod run;
mod shared;
