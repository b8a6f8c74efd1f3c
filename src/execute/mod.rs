//! Runs a plan: bounded parallelism, events, retries, cancellation.

mod apply;
pub(crate) mod event;
mod gate;
pub(crate) mod hosts;
pub(crate) mod retry;
pub(crate) mod run;
