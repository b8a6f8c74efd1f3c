//! Our renderer against Helm: recorded answers, fresh ones, and hostile input.
//! `cargo test` runs what needs no Helm; the rest is ignored and is named by
//! `tests/run charts`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod costs;
mod fuzz;
mod goldens;
mod oracle;
mod support;
mod times;
mod tools;
