//! Watches against the embedded cluster on the virtual clock: what happens
//! when a watch ends, is cut, comes too late, or dies without a word.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use cozy_sim::{Options, Refusal};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::capped::TooLarge;
use super::known::Shared;
use super::watch::{Listener, Watches};
use super::{ApplyMode, Cluster, SMALL_PAGE};
use crate::health::around::{Around as _, By, Need};
use crate::model::object::{GroupKind, Object};

/// A body that says nothing more, and does not end, once it is dead.
struct Mortal {
    inner: http_body_util::combinators::UnsyncBoxBody<Bytes, kube::Error>,
    dead: Arc<AtomicBool>,
}

impl Body for Mortal {
    type Data = Bytes;
    type Error = kube::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, kube::Error>>> {
        if self.dead.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_frame(context)
    }
}

/// A cluster whose connections can be made to die.
struct Bed {
    simulated: cozy_sim::Cluster,
    cluster: Cluster,
    /// Kills the watches that are under way; others are not touched.
    dead: Arc<std::sync::Mutex<Arc<AtomicBool>>>,
    /// Holds the answers to lists back until it is opened.
    held: tokio::sync::watch::Sender<bool>,
    /// Lists of more objects at a time are too large.
    most: Arc<std::sync::Mutex<Option<u32>>>,
}

impl Bed {
    async fn new() -> Self {
        let simulated = cozy_sim::Cluster::new(Options::default());
        let dead: Arc<std::sync::Mutex<Arc<AtomicBool>>> = Arc::default();
        let held = tokio::sync::watch::Sender::new(false);
        let most: Arc<std::sync::Mutex<Option<u32>>> = Arc::default();
        let (server, fuse) = (simulated.server(), Arc::clone(&dead));
        let (gate, limit) = (held.clone(), Arc::clone(&most));
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let (mut server, fuse) = (server.clone(), Arc::clone(&fuse));
            let (mut gate, limit) = (gate.subscribe(), Arc::clone(&limit));
            async move {
                let query = request.uri().query().unwrap_or_default().to_owned();
                let is_watch = query.contains("watch=true");
                let asked =
                    query.split('&').find_map(|part| part.strip_prefix("limit=")?.parse::<u32>().ok());
                if asked.is_some_and(|asked| limit.lock().unwrap().is_some_and(|most| asked > most)) {
                    return Err(kube::Error::Service(TooLarge.into()));
                }
                let response = tower::Service::call(&mut server, request).await?;
                if asked.is_some() && !is_watch {
                    gate.wait_for(|shut| !shut).await.unwrap();
                }
                Ok::<_, kube::Error>(response.map(|body| {
                    let inner = body.map_err(|never| match never {}).boxed_unsync();
                    let dead = if is_watch { Arc::clone(&fuse.lock().unwrap()) } else { Arc::default() };
                    Mortal { inner, dead }
                }))
            }
        });
        let cluster = Cluster::new(kube::Client::new(service, "default")).await.unwrap();
        Self { simulated, cluster, dead, held, most }
    }

    /// All watches under way say nothing more.
    fn kill_watches(&self) {
        let fuse = std::mem::take(&mut *self.dead.lock().unwrap());
        fuse.store(true, Ordering::Relaxed);
    }

    async fn apply(&self, object: &Object) {
        self.cluster.apply(object, ApplyMode::default()).await.unwrap();
    }

    /// How many requests of a verb there were.
    fn count(&self, verb: &str) -> u64 {
        self.simulated.requests().by_verb.get(verb).copied().unwrap_or_default()
    }
}

fn config(name: &str, data: &str) -> Object {
    let value = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": "default" }, "data": { "is": data },
    });
    Object::from_value(value).unwrap()
}

fn data(object: Option<Arc<Value>>) -> Option<String> {
    Some(object?.pointer("/data/is")?.as_str()?.to_owned())
}

/// Waits until it holds, for a minute of the virtual clock at most; gives how long it took.
async fn until(known: &Listener, holds: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    let waited = timeout(Duration::from_secs(60), async {
        loop {
            if holds() {
                return;
            }
            known.changed().await;
        }
    });
    waited.await.expect("not within a minute");
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_watch_is_shared_goes_on_when_it_ends_and_reads_no_list_again() {
    let bed = Bed::new().await;
    let watches = Watches::new();
    let known = watches.listen();
    let (a, b) = (config("a", "1"), config("b", "1"));
    bed.apply(&a).await;
    bed.apply(&b).await;
    watches.want(&bed.cluster, &a).await.unwrap();
    watches.want(&bed.cluster, &b).await.unwrap();
    assert_eq!(data(known.view(0).get(&a.id)).as_deref(), Some("1"));
    // The server ends each watch after half a minute; for ten minutes nothing happens.
    tokio::time::advance(Duration::from_secs(1)).await;
    let quiet = timeout(Duration::from_secs(600), known.changed());
    let _ = quiet.await;
    bed.apply(&config("a", "2")).await;
    assert!(
        until(&known, || data(known.view(0).get(&a.id)).as_deref() == Some("2")).await
            < Duration::from_secs(1)
    );
    assert_eq!(bed.count("list"), 1, "one list for both, and none when a watch ends");
    assert!((18..=24).contains(&bed.count("watch")), "{} watches in ten minutes", bed.count("watch"));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_dies_without_a_word_is_noticed() {
    let bed = Bed::new().await;
    let watches = Watches::new();
    let known = watches.listen();
    let a = config("a", "1");
    bed.apply(&a).await;
    watches.want(&bed.cluster, &a).await.unwrap();
    bed.apply(&config("a", "2")).await;
    until(&known, || data(known.view(0).get(&a.id)).as_deref() == Some("2")).await;
    bed.kill_watches();
    bed.apply(&config("a", "3")).await;
    let took = until(&known, || data(known.view(0).get(&a.id)).as_deref() == Some("3")).await;
    assert!(took > Duration::from_secs(20) && took <= Duration::from_secs(41), "{took:?}");
    assert_eq!(bed.count("list"), 1, "it goes on from where it was");
}

#[tokio::test(start_paused = true)]
async fn after_410_gone_a_new_list_tells_what_was_deleted_meanwhile() {
    let bed = Bed::new().await;
    let watches = Watches::new();
    let known = watches.listen();
    let (a, b) = (config("a", "1"), config("b", "1"));
    bed.apply(&a).await;
    bed.apply(&b).await;
    watches.want(&bed.cluster, &a).await.unwrap();
    watches.want(&bed.cluster, &b).await.unwrap();
    bed.apply(&config("b", "1b")).await;
    until(&known, || data(known.view(0).get(&b.id)).as_deref() == Some("1b")).await;
    bed.kill_watches();
    bed.cluster.delete(&a.id).await.unwrap();
    bed.apply(&config("b", "2")).await;
    bed.simulated.compact();
    until(&known, || known.view(0).get(&a.id).is_none()).await;
    until(&known, || data(known.view(0).get(&b.id)).as_deref() == Some("2")).await;
    assert_eq!(data(known.view(0).last(&a.id)).as_deref(), Some("1"), "the last state that was seen");
    assert_eq!(bed.count("list"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_is_asked_again_and_named_meanwhile() {
    let bed = Bed::new().await;
    let watches = Watches::new();
    let known = watches.listen();
    let refusal = |verb: &str| Refusal {
        times: Some(4),
        ..Refusal::of(verb, "configmaps", 503, "ServiceUnavailable", "etcd is restarting")
    };
    bed.simulated.refuse(refusal("list"));
    bed.simulated.refuse(refusal("watch"));
    let a = config("a", "1");
    bed.apply(&a).await;
    watches.want(&bed.cluster, &a).await.unwrap();
    until(&known, || watches.trouble(&a.id.kind).is_some_and(|what| what.contains("etcd is restarting")))
        .await;
    bed.apply(&config("a", "2")).await;
    until(&known, || data(known.view(0).get(&a.id)).as_deref() == Some("2")).await;
    until(&known, || watches.trouble(&a.id.kind).is_none()).await;
}

/// Found by reading: a server that sheds load was sent what it sheds, whole lists.
#[tokio::test(start_paused = true)]
async fn a_server_that_is_busy_is_not_asked_for_a_list_again() {
    for (code, times, lists, least) in [(429, 3, 1, 10), (503, 1, 1, 0), (500, 2, 2, 0), (410, 1, 2, 0)] {
        let bed = Bed::new().await;
        let watches = Watches::new();
        let known = watches.listen();
        let a = config("a", "1");
        bed.apply(&a).await;
        let busy = Refusal {
            times: Some(times),
            retry_after: (code == 429).then_some(4),
            ..Refusal::of("watch", "configmaps", code, "TooManyRequests", "please try again")
        };
        bed.simulated.refuse(busy);
        watches.want(&bed.cluster, &a).await.unwrap();
        let begun = Instant::now();
        bed.apply(&config("a", "2")).await;
        let is_new = || data(known.view(0).get(&a.id)).as_deref() == Some("2");
        until(&known, || is_new() && watches.trouble(&a.id.kind).is_none()).await;
        let _ = timeout(Duration::from_secs(20), async {
            loop {
                known.changed().await;
            }
        })
        .await;
        assert_eq!(bed.count("list"), lists, "{code}");
        assert!(begun.elapsed() >= Duration::from_secs(least), "{code}: {:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_wanted_and_looked_at_has_one_watch() {
    let bed = Bed::new().await;
    let watches = Watches::new();
    let known = watches.listen();
    let kind = GroupKind::new("", "ConfigMap");
    let (a, b) = (config("a", "1"), config("b", "1"));
    bed.apply(&a).await;
    bed.apply(&b).await;
    watches.want(&bed.cluster, &a).await.unwrap();
    assert!(known.view(0).whole(&kind).is_none(), "nobody asked for all of them");
    watches.look_around(&bed.cluster, &Need::Whole(kind.clone())).unwrap();
    until(&known, || known.view(0).whole(&kind).is_some()).await;
    let own = || {
        let whole = known.view(0).whole(&kind).unwrap_or_default();
        whole.iter().filter_map(|object| data(Some(Arc::clone(object)))).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(own(), "1 1");
    bed.apply(&config("b", "2")).await;
    until(&known, || own() == "1 2").await;
    bed.cluster.delete(&b.id).await.unwrap();
    until(&known, || own() == "1").await;
    bed.apply(&config("a", "3")).await;
    until(&known, || data(known.view(0).get(&a.id)).as_deref() == Some("3")).await;
    watches.forget(&a.id);
    assert!(known.view(0).get(&a.id).is_none());
}

/// Found by reading: the watch told of generation 1 after generation 2 was applied, which looked ready.
#[tokio::test(start_paused = true)]
async fn a_late_watch_does_not_bring_an_older_state_back() {
    let bed = Bed::new().await;
    let watches = Watches::new();
    let known = watches.listen();
    let (a, other) = (config("a", "old"), config("other", "x"));
    bed.apply(&a).await;
    bed.apply(&other).await;
    // The watch of the kind runs already, and has not come to this object's changes.
    watches.want(&bed.cluster, &other).await.unwrap();
    bed.kill_watches();
    for state in ["old-1", "old-2"] {
        let patch = Patch::Merge(json!({ "data": { "is": state } }));
        let api = bed.cluster.api(&a.id, "v1").unwrap();
        api.patch("a", &PatchParams::default(), &patch).await.unwrap();
    }
    bed.cluster.apply(&config("a", "new"), ApplyMode { force: true, dry_run: false }).await.unwrap();
    watches.want(&bed.cluster, &a).await.unwrap();
    assert_eq!(data(known.view(0).get(&a.id)).as_deref(), Some("new"));
    // The next watch tells the whole history.
    let before = bed.count("watch");
    let mut seen = Vec::new();
    while bed.count("watch") <= before + 1 {
        let _ = timeout(Duration::from_secs(1), known.changed()).await;
        seen.extend(data(known.view(0).get(&a.id)));
    }
    seen.dedup();
    assert_eq!(seen, ["new"]);
}

/// Found by reading: what was made while the list came in is not in it, and counted as deleted; and the watch, which
/// told of it, told nothing new.
#[tokio::test(start_paused = true)]
async fn what_is_made_while_its_kind_is_listed_is_there() {
    let bed = Bed::new().await;
    let watches = Watches::new();
    let known = watches.listen();
    let a = config("a", "1");
    bed.held.send_replace(true);
    watches.expect(&bed.cluster, &a);
    // The server has made the list, and its answer is on the way.
    while bed.count("list") == 0 {
        let _ = timeout(Duration::from_millis(1), known.changed()).await;
    }
    let live = bed.cluster.apply(&a, ApplyMode::default()).await.unwrap();
    watches.told(&a.id, &live);
    bed.held.send_replace(false);
    let quiet = timeout(Duration::from_secs(5), async {
        loop {
            assert_eq!(data(known.view(0).get(&a.id)).as_deref(), Some("1"));
            known.changed().await;
        }
    });
    assert!(quiet.await.is_err());
    assert_eq!((bed.count("list"), data(known.view(0).last(&a.id))), (1, None));
    bed.apply(&config("a", "2")).await;
    until(&known, || data(known.view(0).get(&a.id)).as_deref() == Some("2")).await;
}

/// Found by reading: a Job was replaced, and that the old one was deleted was told last.
#[test]
fn that_an_older_one_was_deleted_says_nothing_of_the_one_that_is_there() {
    let shared = Arc::new(Shared::default());
    let listener = Listener::new(Arc::clone(&shared));
    let id = config("a", "").id;
    let state = |uid: &str, version: &str| json!({ "metadata": { "name": "a", "uid": uid, "resourceVersion": version }, "data": { "is": uid } });
    let is = || data(listener.view(0).get(&id));
    let was = || data(listener.view(0).last(&id));
    assert!(!shared.lock().want(&id), "it is not known yet");
    shared.change(|known| known.store(&id, state("old", "4")));
    shared.change(|known| known.delete(&id, Arc::new(state("old", "5"))));
    assert_eq!((is(), was().as_deref()), (None, Some("old")));
    // The answer to its apply comes before what a late watch tells of the one before.
    shared.change(|known| known.store(&id, state("new", "6")));
    shared.change(|known| known.delete(&id, Arc::new(state("old", "5"))));
    assert_eq!((is().as_deref(), was()), (Some("new"), None));
    // Where versions are no numbers, it is another object.
    shared.change(|known| known.delete(&id, Arc::new(state("old", "x"))));
    assert_eq!(is().as_deref(), Some("new"));
    shared.change(|known| known.delete(&id, Arc::new(state("new", "7"))));
    assert_eq!((is(), was().as_deref()), (None, Some("new")));
}

#[tokio::test(start_paused = true)]
async fn large_objects_are_listed_few_at_a_time() {
    let bed = Bed::new().await;
    *bed.most.lock().unwrap() = Some(SMALL_PAGE);
    let watches = Watches::new();
    let known = watches.listen();
    let kind = GroupKind::new("", "ConfigMap");
    bed.apply(&config("a", "1")).await;
    watches.look_around(&bed.cluster, &Need::Whole(kind.clone())).unwrap();
    let took = until(&known, || known.view(0).whole(&kind).is_some()).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn only_those_who_looked_at_what_changed_hear_of_it() {
    let shared = Arc::new(Shared::default());
    let (first, second) = (Listener::new(Arc::clone(&shared)), Listener::new(Arc::clone(&shared)));
    let pod = GroupKind::new("", "Pod");
    let crashing = |name: &str, owner: &str| {
        json!({
            "metadata": { "name": name, "namespace": "n", "ownerReferences": [{ "uid": owner }] },
            "status": { "phase": "Running", "containerStatuses": [
                { "name": "c", "restartCount": 1, "state": { "waiting": { "reason": "CrashLoopBackOff" } } } ] },
        })
    };
    let looks = |listener: &Listener, judgement: usize, owner: &str| {
        listener.view(judgement).parts(&pod, &By::Owner(owner.to_owned())).map(|pods| pods.len())
    };
    // Before the first list is whole nothing is known; then all who asked look again.
    assert_eq!((looks(&first, 0, "a"), looks(&first, 1, "b"), looks(&second, 7, "a")), (None, None, None));
    shared.change(|known| known.parts_are_whole(&pod, &[].into()));
    assert_eq!((first.take(), second.take()), ([0, 1].into(), [7].into()));
    shared.change(|known| known.keep_part(&pod, &crashing("x", "a")));
    assert_eq!((first.take(), second.take()), ([0].into(), [7].into()));
    assert_eq!((looks(&first, 0, "a"), looks(&first, 1, "b")), (Some(1), Some(0)));
    // The same once more is no change; another owner is one for both.
    shared.change(|known| known.keep_part(&pod, &crashing("x", "a")));
    assert_eq!((first.take(), second.take()), ([].into(), [].into()));
    shared.change(|known| known.keep_part(&pod, &crashing("x", "b")));
    assert_eq!((first.take(), second.take()), ([0, 1].into(), [7].into()));
    drop(second);
    let running = json!({ "metadata": { "name": "x", "namespace": "n" }, "status": { "phase": "Running" } });
    shared.change(|known| known.keep_part(&pod, &running));
    assert_eq!((first.take(), looks(&first, 1, "b")), ([1].into(), Some(0)));
}
