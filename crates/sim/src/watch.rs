//! Watches: a stream of what happens to a resource, one JSON event a line.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::{StreamExt, stream};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::cluster::Cluster;
use crate::crud;
use crate::kinds::Kind;
use crate::request::{Request, Target};
use crate::selector::Selector;
use crate::service::Reply;
use crate::state::State;
use crate::status::{Answer, internal, too_old};
use crate::store::{Change, Happened, Store, Stored};

const BOOKMARKS: Duration = Duration::from_secs(60);
/// How long a watch lasts that asked for no end, as the real server has it at least.
const LONGEST: Duration = Duration::from_secs(30 * 60);

struct Watch {
    cluster: Cluster,
    kind: Arc<Kind>,
    target: Target,
    selector: Selector,
    /// What has been sent.
    version: u64,
    wake: Arc<Notify>,
    bookmarks: bool,
    next_bookmark: Instant,
    end: Instant,
    /// What to send before anything that happens.
    first: Option<Bytes>,
    over: bool,
}

/// Answers a stream of events.
pub(crate) fn watch(
    cluster: &Cluster,
    state: &mut State,
    (request, target): (&Request, &Target),
    kind: Arc<Kind>,
) -> Answer<Reply> {
    let selector = Selector::parse(&kind, request.param("labelSelector"), request.param("fieldSelector"))?;
    let asked = request.param("resourceVersion").filter(|version| *version != "0");
    let asked: Option<u64> = asked
        .map(|version| {
            version
                .parse()
                .map_err(|_| internal(format!("strconv.ParseUint: parsing {version:?}: invalid syntax")))
        })
        .transpose()?;
    let initial = request.flag("sendInitialEvents");
    let list = initial || asked.is_none() && request.param("sendInitialEvents").is_none();
    let version = if list { state.version } else { asked.unwrap_or(state.version) };
    let oldest = state.store(&kind.id).oldest;
    if version < oldest {
        let refused = too_old(version, oldest).status();
        let line = Bytes::from(format!("{}\n", json!({ "type": "ERROR", "object": refused })));
        let once = stream::iter([Ok(Frame::data(line))]);
        return Ok(Reply::Stream(StreamBody::new(once).boxed_unsync()));
    }
    let first = list.then(|| initial_events(state, target, &kind, (&selector, initial)));
    let seconds = request.param("timeoutSeconds").and_then(|seconds| seconds.parse().ok());
    let now = Instant::now();
    let wake = Arc::clone(&state.store(&kind.id).wake);
    let watch = Watch {
        cluster: cluster.clone(),
        kind,
        target: target.clone(),
        selector,
        version,
        wake,
        bookmarks: request.flag("allowWatchBookmarks"),
        next_bookmark: now + BOOKMARKS,
        end: now + seconds.map_or(LONGEST, Duration::from_secs),
        first: first.filter(|first| !first.is_empty()),
        over: false,
    };
    let lines = stream::unfold(watch, Watch::next).map(|line| Ok(Frame::data(line)));
    Ok(Reply::Stream(StreamBody::new(lines).boxed_unsync()))
}

impl Watch {
    /// Answers the next lines, once there are any.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        if let Some(first) = self.first.take() {
            return Some((first, self));
        }
        loop {
            if self.over {
                return None;
            }
            let wake = Arc::clone(&self.wake);
            // Before the look, so that nothing falls between.
            let changed = wake.notified();
            let lines = self.news();
            if !lines.is_empty() {
                return Some((lines, self));
            }
            tokio::select! {
                biased;
                () = changed => {}
                () = sleep_until(self.end) => return None,
                () = sleep_until(self.next_bookmark), if self.bookmarks => {
                    self.next_bookmark += BOOKMARKS;
                    let line = self.bookmark();
                    return Some((line, self));
                }
            }
        }
    }

    /// Takes from the log what happened since the last look.
    fn news(&mut self) -> Bytes {
        let state = self.cluster.lock();
        let mut lines = BytesMut::new();
        let Some(store) = state.stores.get(&self.kind.id) else {
            self.over = true;
            return lines.freeze();
        };
        if self.version < store.oldest {
            self.over = true;
            let refused = too_old(self.version, store.oldest).status();
            return Bytes::from(format!("{}\n", json!({ "type": "ERROR", "object": refused })));
        }
        self.send(store, &mut lines);
        // Everything up to here was looked at, though it was about other resources.
        self.version = state.version;
        lines.freeze()
    }

    fn send(&self, store: &Store, lines: &mut BytesMut) {
        for happened in store.since(self.version) {
            let Happened { change, now, .. } = happened;
            let was = happened.before.as_ref().is_some_and(|before| self.wants(happened, before));
            let is = *change != Change::Deleted && self.wants(happened, now);
            let seen = match (was, is) {
                (false, false) => continue,
                (false, true) => "ADDED",
                (true, true) => "MODIFIED",
                (true, false) => "DELETED",
            };
            line(lines, seen, &self.kind, now);
        }
    }

    fn wants(&self, happened: &Happened, stored: &Stored) -> bool {
        let Target { namespace, name, .. } = &self.target;
        namespace.as_ref().is_none_or(|namespace| *namespace == happened.key.namespace)
            && name.as_ref().is_none_or(|name| *name == happened.key.name)
            && self.selector.matches(&self.kind, &happened.key, stored)
    }

    fn bookmark(&self) -> Bytes {
        bookmark(&self.kind, self.version, false)
    }
}

fn line(lines: &mut BytesMut, seen: &str, kind: &Kind, stored: &Stored) {
    lines.put_slice(format!(r#"{{"type":"{seen}","object":"#).as_bytes());
    lines.put_slice(&kind.prefix);
    lines.put_slice(stored.tail());
    lines.put_slice(b"}\n");
}

fn bookmark(kind: &Kind, version: u64, initial: bool) -> Bytes {
    let mut metadata = json!({ "resourceVersion": version.to_string() });
    if initial {
        metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
    }
    let object = json!({ "kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata });
    Bytes::from(format!("{}\n", json!({ "type": "BOOKMARK", "object": object })))
}

fn initial_events(
    state: &State,
    target: &Target,
    kind: &Kind,
    (selector, marked): (&Selector, bool),
) -> Bytes {
    let mut lines = BytesMut::new();
    for (_, stored) in crud::matching(state, target, kind, selector, None) {
        line(&mut lines, "ADDED", kind, stored);
    }
    if marked {
        lines.put_slice(&bookmark(kind, state.version, true));
    }
    lines.freeze()
}
