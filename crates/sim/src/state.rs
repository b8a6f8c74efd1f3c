//! All that the server knows, behind one lock: what is served, the objects, the versions, the clock.
//! What must happen later (a CRD becomes established, dependants of a deleted object go) is left as a chore.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster::{Options, Refusal, Requests};
use crate::json;
use crate::kinds::{self, Kind, Kinds, ResourceId};
use crate::store::{Key, Store, Stored};
use crate::webhooks::Answers;

/// Something that the server does by itself after a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chore {
    /// Accepts a CRD's names and serves its kinds.
    Establish(String),
    /// Shows a CRD's kinds in discovery.
    Publish(String),
    /// Deletes a CRD's objects, then the CRD.
    DropCustom(String),
    /// Puts the default `ServiceAccount` and the CA into a namespace.
    Furnish(String),
    /// Deletes what is in a namespace, then the namespace.
    EmptyNamespace(String),
    /// Deletes what the owner with this uid, which is gone, leaves behind.
    Collect(String),
    /// Looks whether the backend of an `APIService` can be reached.
    Availability(String),
    /// Lets a claim or a volume go that nothing uses any more.
    Unprotect(Arc<ResourceId>, Key),
    /// Frees or deletes the dependants of an object that waits for that with a finalizer.
    Release(Arc<ResourceId>, Key),
}

/// The server's state.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) options: Options,
    /// What requests can name.
    pub(crate) kinds: Kinds,
    /// What discovery shows: the same, a little later.
    pub(crate) published: BTreeSet<(String, String, String)>,
    pub(crate) stores: BTreeMap<Arc<ResourceId>, Store>,
    /// Who names an owner's uid. Invariant: as the owner references of the stored objects have it.
    pub(crate) dependents: BTreeMap<String, BTreeSet<(Arc<ResourceId>, Key)>>,
    /// Objects, by uid, that wait with a finalizer for their dependants.
    pub(crate) waiting: BTreeMap<String, (Arc<ResourceId>, Key)>,
    /// The webhooks of all configurations, read when they are needed.
    /// With the name of their configuration.
    pub(crate) webhooks: Option<Arc<Vec<(String, Value)>>>,
    /// How webhooks answer, by configuration, and until when; all others let everything pass.
    pub(crate) answers: BTreeMap<String, (Answers, Option<Instant>)>,
    /// The version of the newest write.
    pub(crate) version: u64,
    uids: u64,
    addresses: u32,
    origin: Option<Instant>,
    pub(crate) chores: Vec<(Duration, Chore)>,
    pub(crate) refusals: Vec<Refusal>,
    pub(crate) requests: Requests,
    pub(crate) not_simulated: Vec<String>,
}

impl State {
    /// Makes a cluster's state with its first namespaces and nodes.
    pub(crate) fn new(options: Options) -> Self {
        let kinds = kinds::builtin();
        let mut state = Self {
            published: kinds.keys().cloned().collect(),
            kinds,
            stores: BTreeMap::new(),
            dependents: BTreeMap::new(),
            waiting: BTreeMap::new(),
            webhooks: None,
            answers: BTreeMap::new(),
            version: 0,
            uids: 0,
            addresses: 1,
            origin: None,
            chores: Vec::new(),
            refusals: Vec::new(),
            requests: Requests::default(),
            not_simulated: Vec::new(),
            options,
        };
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            state.first_namespace(name);
        }
        for number in 1..=state.options.nodes {
            state.first_node(number);
        }
        state
    }

    /// Starts the clock, at the first use within a runtime.
    pub(crate) fn start_clock(&mut self) {
        self.origin.get_or_insert_with(Instant::now);
    }

    /// Answers the simulated time.
    pub(crate) fn now(&self) -> Timestamp {
        let elapsed = self.origin.map(|origin| origin.elapsed()).unwrap_or_default();
        let elapsed = SignedDuration::try_from(elapsed).unwrap_or(SignedDuration::MAX);
        self.options.start.saturating_add(elapsed).unwrap_or(self.options.start)
    }

    /// Answers the simulated time as objects carry it, to the second.
    pub(crate) fn stamp(&self) -> String {
        stamp(self.now())
    }

    /// Makes a new uid.
    pub(crate) fn new_uid(&mut self) -> String {
        self.uids += 1;
        format!("00000000-0000-4000-8000-{:012x}", self.uids)
    }

    /// Makes a new suffix for a generated name.
    pub(crate) fn new_suffix(&mut self) -> String {
        self.uids += 1;
        suffix(self.uids)
    }

    /// Makes a new cluster IP.
    pub(crate) fn new_address(&mut self) -> String {
        self.addresses += 1;
        let [_, b, c, d] = self.addresses.to_be_bytes();
        format!("10.{}.{c}.{d}", 96_u8.wrapping_add(b))
    }

    /// Answers how many cluster IPs were given, to give them back after a dry run.
    pub(crate) fn addresses(&self) -> u32 {
        self.addresses
    }

    /// Gives back the cluster IPs given since.
    pub(crate) fn restore_addresses(&mut self, addresses: u32) {
        self.addresses = addresses;
    }

    /// Leaves a chore for later.
    pub(crate) fn later(&mut self, after: Duration, chore: Chore) {
        self.chores.push((after, chore));
    }

    /// Answers the served kind that a resource's objects are read as.
    pub(crate) fn kind_of(&self, id: &ResourceId) -> Option<Arc<Kind>> {
        let from = (id.group.clone(), String::new(), String::new());
        let group = self.kinds.range(from..).take_while(|((group, ..), _)| group == &id.group);
        group.map(|(_, kind)| kind).find(|kind| kind.plural() == id.plural).cloned()
    }

    /// Answers a built-in kind.
    pub(crate) fn builtin(&self, group: &str, version: &str, plural: &str) -> Arc<Kind> {
        let key = (group.to_owned(), version.to_owned(), plural.to_owned());
        self.kinds.get(&key).expect("built-in kinds stand in kinds.txt and are never removed").clone()
    }

    /// Answers an object as it is stored.
    pub(crate) fn get(&self, kind: &Kind, key: &Key) -> Option<&Arc<Stored>> {
        self.stores.get(&kind.id)?.objects.get(key)
    }

    /// Answers the store of a resource, made where it is missing.
    pub(crate) fn store(&mut self, id: &Arc<ResourceId>) -> &mut Store {
        let history = self.options.history;
        self.stores.entry(id.clone()).or_insert_with(|| Store::new(history))
    }

    /// Stores an object under a new version, which it writes into the object.
    pub(crate) fn put(&mut self, kind: &Kind, object: &mut Value) -> Bytes {
        let stored = self.stamped(object);
        let key = Key::of(object);
        let before = self.get(kind, &key).cloned();
        if before.as_ref().is_none_or(|before| before.owners != stored.owners) {
            self.forget_owners(kind, &key, before.as_deref());
            for owner in &stored.owners {
                self.dependents.entry(owner.clone()).or_default().insert((kind.id.clone(), key.clone()));
            }
        }
        let text = stored.text(kind);
        self.store(&kind.id).put(key, stored);
        self.watch_backends(kind, object);
        text
    }

    /// Removes an object, and leaves the chores that follow from that.
    pub(crate) fn remove(&mut self, kind: &Kind, mut object: Value) -> Bytes {
        let stored = self.stamped(&mut object);
        let key = Key::of(&object);
        let before = self.get(kind, &key).cloned();
        self.forget_owners(kind, &key, before.as_deref());
        let text = stored.text(kind);
        let lag = self.options.lag;
        if self.dependents.contains_key(&stored.uid) {
            self.later(lag, Chore::Collect(stored.uid.clone()));
        }
        for owner in &stored.owners {
            if let Some((id, key)) = self.waiting.get(owner).cloned() {
                self.later(lag, Chore::Release(id, key));
            }
        }
        self.store(&kind.id).remove(&key, stored);
        self.watch_backends(kind, &object);
        if kind.is("", "pods") {
            self.unprotect_claims(&object);
        }
        if self.namespace_is_deleting(&key.namespace) {
            self.later(lag, Chore::EmptyNamespace(key.namespace.clone()));
        }
        if kind.custom {
            self.later(lag, Chore::DropCustom(kind.qualified()));
        }
        text
    }

    /// Tells whether a namespace is on its way out.
    pub(crate) fn namespace_is_deleting(&self, namespace: &str) -> bool {
        let kind = self.builtin("", "v1", "namespaces");
        !namespace.is_empty()
            && self.get(&kind, &Key::new("", namespace)).is_some_and(|stored| stored.deleting)
    }

    fn stamped(&mut self, object: &mut Value) -> Arc<Stored> {
        self.version += 1;
        json::object(object, "metadata")
            .insert("resourceVersion".to_owned(), json!(self.version.to_string()));
        Arc::new(Stored::new(object, self.version))
    }

    fn forget_owners(&mut self, kind: &Kind, key: &Key, before: Option<&Stored>) {
        for owner in before.map(|before| &before.owners[..]).unwrap_or_default() {
            if let Some(dependents) = self.dependents.get_mut(owner) {
                dependents.remove(&(kind.id.clone(), key.clone()));
                if dependents.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
    }
}

/// Writes a time as objects carry it, to the second.
pub(crate) fn stamp(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

/// Makes the number's name of five letters, in the alphabet that generated names use.
pub(crate) fn suffix(number: u64) -> String {
    const ALPHABET: [char; 27] = [
        'b', 'c', 'd', 'f', 'g', 'h', 'j', 'k', 'l', 'm', 'n', 'p', 'q', 'r', 's', 't', 'v', 'w', 'x', 'z',
        '2', '4', '5', '6', '7', '8', '9',
    ];
    let mut rest = number.wrapping_mul(2_654_435_761) % 14_348_907;
    let mut letters = String::new();
    for _ in 0..5 {
        let index = usize::try_from(rest % 27).unwrap_or_default();
        letters.extend(ALPHABET.get(index));
        rest /= 27;
    }
    letters
}
