//! Runs a plan: bounded parallelism, events, retries, cancellation.

mod apply;
mod budget;
pub(crate) mod event;
mod gate;
pub(crate) mod hosts;
mod probe;
pub(crate) mod retry;
pub(crate) mod run;
