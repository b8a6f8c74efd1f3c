//! The handle that users hold: options, a client, faults, counters, and what was not simulated.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use serde_json::Value;
use tokio::time::Instant;

use crate::service::Server;
use crate::state::{Chore, State};
use crate::webhooks::Answers;

/// How a cluster behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// The version that `/version` answers.
    pub version: String,
    /// The time when the clock starts.
    pub start: Timestamp,
    /// How many nodes there are, all ready: `node-1`, `node-2`…
    pub nodes: usize,
    /// How long each request takes.
    pub latency: Duration,
    /// How long a CRD takes to be established.
    pub establish: Duration,
    /// How much later its kinds appear in discovery.
    pub discovery_lag: Duration,
    /// How long the server takes to follow up: dependants of deleted objects, contents of namespaces.
    pub lag: Duration,
    /// How many events of a resource are kept for watches that start late.
    pub history: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            version: "v1.36.3".to_owned(),
            start: Timestamp::from_second(1_767_225_600).unwrap_or(Timestamp::UNIX_EPOCH),
            nodes: 3,
            latency: Duration::from_millis(2),
            establish: Duration::from_millis(20),
            discovery_lag: Duration::from_millis(20),
            lag: Duration::from_millis(10),
            history: 4096,
        }
    }
}

/// A fault: requests that match are answered with this.
#[derive(Clone, Debug, Default)]
pub struct Refusal {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `apply`, `delete` or `deletecollection`; any if none.
    /// `patch` matches applies, too.
    pub verb: Option<String>,
    /// The end of the object's path, such as `configmaps/a` or `namespaces/x/configmaps/a`; any if empty.
    pub object: String,
    /// The HTTP status code.
    pub code: u16,
    /// The reason, such as `Conflict`.
    pub reason: String,
    /// What the server says.
    pub message: String,
    /// Seconds for the header `Retry-After`.
    pub retry_after: Option<u32>,
    /// How many requests are refused; all if none.
    pub times: Option<u32>,
}

impl Refusal {
    /// Refuses all requests of a verb about objects whose path ends so.
    #[must_use]
    pub fn of(verb: &str, object: &str, code: u16, reason: &str, message: &str) -> Self {
        Self {
            verb: Some(verb.to_owned()),
            object: object.to_owned(),
            code,
            reason: reason.to_owned(),
            message: message.to_owned(),
            ..Self::default()
        }
    }
}

/// How many requests there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Requests by verb; dry runs are counted under `dry-run` alone, discovery under `discovery`.
    pub by_verb: BTreeMap<String, u64>,
}

impl Requests {
    /// Answers how many requests asked to write, dry runs not counted.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.sum(&["create", "update", "patch", "apply", "delete", "deletecollection"])
    }

    /// Answers how many requests only read.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.sum(&["get", "list", "watch"])
    }

    fn sum(&self, verbs: &[&str]) -> u64 {
        verbs.iter().filter_map(|verb| self.by_verb.get(*verb)).sum()
    }
}

/// A simulated cluster; clones are the same cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    state: Arc<Mutex<State>>,
}

impl Cluster {
    /// Makes a cluster.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(options))) }
    }

    /// Makes a client of the cluster.
    ///
    /// # Panics
    /// Outside a tokio runtime, as every [`Client`] does.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.server(), "default")
    }

    /// Answers the server itself, to put layers between it and a client.
    #[must_use]
    pub fn server(&self) -> Server {
        self.lock().start_clock();
        Server::new(self.clone())
    }

    /// Lets a node join, with labels of its own besides the usual ones. It is not ready before the controllers say so.
    pub fn join(&self, name: &str, server: bool, labels: &BTreeMap<String, String>) {
        let chores = {
            let mut state = self.lock();
            state.join(name, server, labels);
            std::mem::take(&mut state.chores)
        };
        self.start_chores(chores);
    }

    /// Refuses requests from now on.
    pub fn refuse(&self, refusal: Refusal) {
        self.lock().refusals.push(refusal);
    }

    /// Lets the webhooks of a configuration answer like this from now on, for a while or for ever.
    pub fn answer_webhooks(&self, configuration: &str, answers: Answers, lasts: Option<Duration>) {
        let until = lasts.map(|lasts| Instant::now() + lasts);
        self.lock().answers.insert(configuration.to_owned(), (answers, until));
    }

    /// Ends all refusals.
    pub fn refuse_nothing(&self) {
        self.lock().refusals.clear();
    }

    /// Forgets the events so far: watches that did not read them are answered 410 Gone.
    pub fn compact(&self) {
        let mut state = self.lock();
        let version = state.version;
        state.stores.values_mut().for_each(|store| store.compact(version));
    }

    /// Answers how many requests there were.
    #[must_use]
    pub fn requests(&self) -> Requests {
        self.lock().requests.clone()
    }

    /// Answers the simulated time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.lock().now()
    }

    /// Answers all objects, by group, kind, namespace and name.
    #[must_use]
    pub fn objects(&self) -> Vec<Value> {
        let state = self.lock();
        let stores = state.stores.iter().filter_map(|(id, store)| Some((state.kind_of(id)?, store)));
        stores
            .flat_map(|(kind, store)| store.objects.values().map(move |stored| stored.value(&kind)))
            .collect()
    }

    /// Answers what was asked for that is not simulated.
    #[must_use]
    pub fn not_simulated(&self) -> Vec<String> {
        self.lock().not_simulated.clone()
    }

    /// Locks the state. No lock is held over an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the chores that requests left.
    pub(crate) fn start_chores(&self, chores: Vec<(Duration, Chore)>) {
        for (after, chore) in chores {
            // The task holds no cluster while it waits, so that a dropped cluster is freed.
            let state = Arc::downgrade(&self.state);
            tokio::spawn(async move {
                crate::service::pause(after).await;
                let Some(state) = state.upgrade() else { return };
                let cluster = Self { state };
                let chores = {
                    let mut state = cluster.lock();
                    state.run(chore);
                    std::mem::take(&mut state.chores)
                };
                cluster.start_chores(chores);
            });
        }
    }
}
