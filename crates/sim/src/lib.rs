//! A small Kubernetes API server in memory, as a `tower` service under the ordinary [`kube::Client`], and
//! controllers over that client, all on tokio's virtual clock. It knows nothing of its users.
//!
//! What it can do is a closed list (the tests in `tests/suite`); everything else is answered with status 501,
//! reason `NotSimulated`, and remembered. Where it differs from a real API server, it is wrong.
//!
//! - `cluster`: the handle that users hold, faults and counters
//! - `service`: requests in, responses out; `request`: from a URL to a verb and a target
//! - `kinds`, `discovery`, `crd`: what is served
//! - `store`, `state`: objects, versions, the event log; `watch`: streams of it
//! - `types`, `decode`, `quantity`, `schema`: what objects look like, built-in and custom, and how they are read
//! - `crud`, `subresources`, `patch`, `apply`, `delete`, `collect`: the verbs, and what follows deletion
//! - `defaults`, `validate`, `status`: what the server fills in, and what it refuses
//! - `webhooks`: admission webhooks and `APIServices`, and whether their backends answer
//! - `pod_admission`, `pod_security`: what the server has against a new pod; `class_admission`: the class of a claim
//! - `furnish`: what a fresh cluster and a fresh namespace have
//! - `flaky`: a connection that loses, delays and refuses
//! - `controllers`: makes things ready, as a cluster's own controllers and kubelets would

mod apply;
mod class_admission;
mod cluster;
mod collect;
mod controllers;
mod crd;
mod crud;
mod decode;
mod defaults;
mod delete;
mod discovery;
mod flaky;
mod furnish;
mod json;
mod kinds;
mod patch;
mod pod_admission;
mod pod_security;
mod quantity;
mod request;
mod schema;
mod selector;
mod service;
mod state;
mod status;
mod store;
mod subresources;
mod types;
mod validate;
mod watch;
mod webhooks;

pub use cluster::{Cluster, Options, Refusal, Requests};
pub use controllers::{
    Controllers, PODS_OF_A_WORKLOAD, Says, Trouble, Troubled, run_controllers, wanted_pods,
};
pub use flaky::{Fault, Flaky, FlakyBody, FlakyService, Flaws};
pub use service::{Server, ServerBody};
pub use webhooks::Answers;
