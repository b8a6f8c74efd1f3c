//! cozy turns fresh Linux servers into a cloud.
//!
//! The map of the modules; arrows go down only:
//!
//! - `cli`: one file a command; clap lives here only
//! - `settings`: flags and environment become `Settings`; the only reader of the environment
//! - `error`: what a command tells its user instead of doing its work, and the exit-code table
//! - `ui`: terminal, plain and JSON reporters, prompts, tables; stdout and stderr live here only
//! - `rehearsal`: a plan run against the simulated cluster of `cozy-sim`
//! - `provider`: how Kubernetes gets onto hosts: what is to be done, pure, and what does it
//! - `fetch`: charts and manifests from repositories, registries and mirrors, verified, into the cache
//! - `execute`: runs a plan: events, retries, cancellation
//! - `diagnose`: from a gate that does not hold down to the cause
//! - `x509`: what certificates, and requests for them, say of themselves. No I/O
//! - `etcd`: the members of etcd, asked and changed on servers
//! - `proxy`: the local endpoint of the API servers, which runs on hosts
//! - `preflight`: from facts and `cozy.yaml` to findings. No I/O
//! - `host`: sessions over SSH or on this machine, facts, uploads
//! - `cluster`: the only user of kube's client: apply, observe, watch, inventory, lock
//! - `catalogue`: reads the built-in catalogue and its overlays
//! - `files`: files that users name, read up to a limit
//! - `render`: minijinja templates and YAML become objects. No I/O
//! - `plan`: graph, edges, planner, diff. No I/O
//! - `health`: when an object is ready, and gates in CEL. No I/O
//! - `model`: what the user's files mean, and findings with places. No I/O
//! - `parallel`: work on lists, on all processors
//! - `code`: error codes, what to do, chains of causes: what errors of every module have in common
//!
//! `ui` sees events and plain data. Public is only what `main` and the benches need. `tests/it/house.rs` holds the code
//! to this map, and names the two arrows that go up.

#[doc(hidden)]
pub mod bench;
mod catalogue;
mod cli;
mod cluster;
mod code;
mod diagnose;
mod error;
mod etcd;
mod execute;
mod fetch;
mod files;
mod health;
mod host;
mod model;
mod parallel;
mod plan;
mod preflight;
mod provider;
mod proxy;
mod rehearsal;
mod render;
mod settings;
mod ui;
mod x509;

/// Rendering and planning are mostly small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub use cli::main;
pub use error::Exit;
