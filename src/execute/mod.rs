//! Runs a plan: bounded parallelism, events, retries, cancellation.

pub(crate) mod event;
