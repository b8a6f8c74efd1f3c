//! What the controllers know together: Services and ready pods by namespace, whether pods have a network, addresses.
//! No lock is held over an await.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::{Notify, watch};

use crate::json as tree;

/// Namespace and name.
pub(super) type Name = (String, String);

/// A pod that answers.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    pub(super) labels: BTreeMap<String, String>,
    /// The whole pod, with its address and node.
    pub(super) pod: Value,
}

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Services with a selector.
    pub(super) services: BTreeMap<Name, Value>,
    pub(super) pods: BTreeMap<Name, Ready>,
    /// Claims that a pod uses.
    pub(super) used: BTreeSet<Name>,
    addresses: u32,
    network: bool,
}

impl Known {
    /// Makes a new pod address.
    pub(super) fn new_address(&mut self) -> String {
        self.addresses += 1;
        let [_, _, c, d] = (self.addresses + self.addresses / 254).to_be_bytes();
        format!("10.244.{c}.{d}")
    }
}

/// What all controllers share.
#[derive(Debug, Default)]
pub(super) struct World {
    known: Mutex<Known>,
    connected: Notify,
    /// Counts the nodes that joined.
    nodes: watch::Sender<usize>,
}

impl World {
    /// Makes a world whose pods have a network from the start, or not.
    pub(super) fn new(network: bool) -> Self {
        let known = Known { network, ..Known::default() };
        Self { known: Mutex::new(known), connected: Notify::new(), nodes: watch::Sender::default() }
    }

    /// Says that a node has joined.
    pub(super) fn joined(&self) {
        self.nodes.send_modify(|count| *count += 1);
    }

    /// Tells of nodes that join from now on.
    pub(super) fn nodes(&self) -> watch::Receiver<usize> {
        self.nodes.subscribe()
    }

    /// Gives access to what is known.
    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the ready pods of a controller.
    pub(super) fn ready_of(&self, uid: &str) -> usize {
        let of = |pod: &Value| {
            let owners = pod.get("metadata").map(|it| tree::items(it, "ownerReferences")).unwrap_or_default();
            owners.iter().any(|owner| tree::text(owner, &["uid"]) == uid)
        };
        self.known().pods.values().filter(|ready| of(&ready.pod)).count()
    }

    /// Says that pods have a network from now on.
    pub(super) fn connect(&self) {
        self.known().network = true;
        self.connected.notify_waiters();
    }

    /// Waits until pods have a network.
    pub(super) async fn network(&self) {
        loop {
            let connected = self.connected.notified();
            if self.known().network {
                return;
            }
            connected.await;
        }
    }
}
