//! The objects of one resource, and the log of what happened to them, which watches read.
//! Objects are kept as JSON text, without the `apiVersion` and `kind` that all share: a parsed value takes twenty
//! times the memory, and reads hand out the text as it is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::Value;
use tokio::sync::Notify;

use crate::json;
use crate::kinds::Kind;

/// Where an object stands within its resource; cluster-wide ones have an empty namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    /// Makes a key.
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// Answers the key of an object.
    pub(crate) fn of(object: &Value) -> Self {
        Self::new(json::text(object, &["metadata", "namespace"]), json::text(object, &["metadata", "name"]))
    }
}

/// An object as it is kept. What requests look at often stands beside the text.
#[derive(Debug)]
pub(crate) struct Stored {
    /// The object's JSON after `apiVersion` and `kind`, with the closing brace.
    tail: Bytes,
    pub(crate) version: u64,
    pub(crate) uid: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// The uids of its owners.
    pub(crate) owners: Vec<String>,
    /// Has a deletion timestamp.
    pub(crate) deleting: bool,
}

impl Stored {
    /// Takes an object in.
    pub(crate) fn new(object: &Value, version: u64) -> Self {
        let owners = json::at(object, &["metadata"])
            .map_or(&[][..], |metadata| json::items(metadata, "ownerReferences"));
        Self {
            tail: tail(object),
            version,
            uid: json::text(object, &["metadata", "uid"]).to_owned(),
            labels: json::labels(object),
            owners: owners.iter().map(|owner| json::text(owner, &["uid"]).to_owned()).collect(),
            deleting: json::at(object, &["metadata", "deletionTimestamp"]).is_some(),
        }
    }

    /// Answers the object's whole JSON.
    pub(crate) fn text(&self, kind: &Kind) -> Bytes {
        let mut text = BytesMut::with_capacity(kind.prefix.len() + self.tail.len());
        text.put_slice(&kind.prefix);
        text.put_slice(&self.tail);
        text.freeze()
    }

    /// Answers the JSON without `apiVersion` and `kind`, after the opening brace.
    pub(crate) fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// Parses the object.
    pub(crate) fn value(&self, kind: &Kind) -> Value {
        serde_json::from_slice(&self.text(kind)).expect("stored objects were written by serde_json")
    }
}

fn tail(object: &Value) -> Bytes {
    let mut text = Vec::with_capacity(512);
    for (field, value) in object.as_object().into_iter().flatten() {
        if field == "apiVersion" || field == "kind" {
            continue;
        }
        if !text.is_empty() {
            text.push(b',');
        }
        serde_json::to_writer(&mut text, field).expect("a string is always JSON, and memory takes it");
        text.push(b':');
        serde_json::to_writer(&mut text, value).expect("a value is always JSON, and memory takes it");
    }
    text.push(b'}');
    Bytes::from(text)
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Modified,
    Deleted,
}

/// One line of the log.
#[derive(Clone, Debug)]
pub(crate) struct Happened {
    pub(crate) version: u64,
    pub(crate) change: Change,
    pub(crate) key: Key,
    pub(crate) now: Arc<Stored>,
    /// The state before, for watches whose selector matched only that.
    pub(crate) before: Option<Arc<Stored>>,
}

/// The objects of one resource.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) objects: BTreeMap<Key, Arc<Stored>>,
    log: VecDeque<Happened>,
    history: usize,
    /// The newest version that is no longer in the log: watches may start from here, not earlier.
    pub(crate) oldest: u64,
    /// Wakes the watches, in the order in which they wait: a `tokio::sync::watch` wakes them in a random one.
    pub(crate) wake: Arc<Notify>,
}

impl Store {
    /// Makes an empty store that keeps so many log entries.
    pub(crate) fn new(history: usize) -> Self {
        Self { objects: BTreeMap::new(), log: VecDeque::new(), history, oldest: 0, wake: Arc::default() }
    }

    /// Puts an object, new or changed.
    pub(crate) fn put(&mut self, key: Key, now: Arc<Stored>) {
        let before = self.objects.insert(key.clone(), now.clone());
        let change = if before.is_some() { Change::Modified } else { Change::Added };
        self.record(Happened { version: now.version, change, key, now, before });
    }

    /// Removes an object; `last` is its state with the version of the removal.
    pub(crate) fn remove(&mut self, key: &Key, last: Arc<Stored>) {
        let before = self.objects.remove(key);
        let (version, key) = (last.version, key.clone());
        self.record(Happened { version, change: Change::Deleted, key, now: last, before });
    }

    /// Answers what happened after a version, in order.
    pub(crate) fn since(&self, version: u64) -> impl Iterator<Item = &Happened> {
        let first = self.log.partition_point(|happened| happened.version <= version);
        self.log.range(first..)
    }

    /// Forgets the log, so that every watch must list again.
    pub(crate) fn compact(&mut self, version: u64) {
        self.log.clear();
        self.oldest = version;
        self.wake.notify_waiters();
    }

    fn record(&mut self, happened: Happened) {
        if self.log.len() >= self.history {
            self.oldest = self.log.pop_front().map_or(self.oldest, |dropped| dropped.version);
        }
        self.log.push_back(happened);
        self.wake.notify_waiters();
    }
}
