//! Follows the objects of one kind: a list in pages, then watches from where
//! it ended, for as long as anybody listens. Nothing here decides anything.
//!
//! A watch is asked to end after [`PERIOD`], and is given up when it has not
//! done so a little later: a connection that died without a word looks just
//! like a kind of which nothing changes.

use std::time::Duration;

use futures::StreamExt as _;
use kube::api::{Api, DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::core::Status;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::capped::TooLarge;
use super::{PAGE, SMALL_PAGE};

/// How long one watch lasts, in seconds: the server ends it then.
const PERIOD: u32 = 30;

/// How much longer than it should an answer may take before its connection counts as dead.
const SLACK: Duration = Duration::from_secs(10);

/// A watch that lasted so long worked.
const LASTING: Duration = Duration::from_secs(1);

/// The delay after the first failure; doubled each time.
const FIRST: Duration = Duration::from_millis(50);

/// The longest delay.
const LONGEST: Duration = Duration::from_secs(5);

/// Takes what happens.
pub(super) trait Sink: Send {
    /// A whole list begins.
    fn begin(&mut self);
    /// An object is like this now.
    fn now(&mut self, object: DynamicObject);
    /// An object was deleted in this state.
    fn gone(&mut self, object: DynamicObject);
    /// The list that began is whole: what it does not have was not there at this version of the cluster.
    fn whole(&mut self, version: &str);
    /// The cluster does not answer; `None`: it does again.
    fn trouble(&mut self, what: Option<String>);
}

/// Why following stopped for the moment.
enum Stop {
    /// As it should: the watch goes on from where it ended.
    Ended,
    /// The connection broke or died: the watch goes on from where it was.
    Broken(String),
    /// The server sheds load or restarts: the watch goes on from where it was, when the server wants to be asked again.
    Busy(Box<Status>),
    /// The server forgot what happened since, or refuses: only a new list helps.
    Lost(String),
}

impl Stop {
    /// What a server says instead of going on.
    fn of(status: Box<Status>) -> Self {
        match status.code {
            TOO_MANY | 500 | 502..=504 => Self::Busy(status),
            _ => Self::Lost(status.message.clone()),
        }
    }
}

/// The answer of a server that sheds load.
const TOO_MANY: u16 = 429;

/// When the server wants to be asked again, but at most 30 s later.
fn retry_after(status: &Status) -> Duration {
    let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    Duration::from_secs(seconds.into()).min(LONGEST * 6)
}

/// What is followed: the objects of a kind, or those of them that a field selector names.
pub(super) struct Followed {
    pub(super) api: Api<DynamicObject>,
    pub(super) fields: Option<&'static str>,
}

/// Follows a kind until it is dropped. `again` gives its API over new connections: where one has fallen silent, those
/// that are kept open for other requests have, too.
pub(super) async fn follow(
    mut followed: Followed,
    again: impl Fn() -> Api<DynamicObject>,
    mut sink: impl Sink,
) {
    let mut wait = FIRST;
    loop {
        let (mut version, mut stop) = match followed.list(&mut sink).await {
            Ok(version) => (version, Stop::Ended),
            Err(what) => (String::new(), Stop::Lost(what)),
        };
        let mut failed = false;
        while !matches!(stop, Stop::Lost(_)) {
            let (from, begun) = (version.clone(), Instant::now());
            stop = followed.watch(&mut version, &mut sink).await;
            let lasted = begun.elapsed() >= LASTING;
            if version != from || lasted {
                (wait, failed) = (FIRST, false);
            }
            let mut pause = Duration::ZERO;
            match &stop {
                Stop::Broken(what) => {
                    sink.trouble(Some(what.clone()));
                    followed.api = again();
                    pause = wait;
                }
                // It may be this version that it cannot go on from.
                Stop::Busy(status) if failed && status.code != TOO_MANY => {
                    stop = Stop::Lost(status.message.clone());
                }
                Stop::Busy(status) => {
                    failed = true;
                    sink.trouble(Some(status.message.clone()));
                    pause = wait.max(retry_after(status));
                }
                // Something between may end watches as soon as they begin.
                Stop::Ended if !lasted => pause = wait,
                Stop::Ended | Stop::Lost(_) => {}
            }
            if pause > Duration::ZERO {
                sleep_until(Instant::now() + pause).await;
                wait = (wait * 2).min(LONGEST);
            }
        }
        if let Stop::Lost(what) = stop {
            sink.trouble(Some(what));
            followed.api = again();
        }
        sleep_until(Instant::now() + wait).await;
        wait = (wait * 2).min(LONGEST);
    }
}

impl Followed {
    /// Lists everything, and gives the version of the list.
    async fn list(&self, sink: &mut impl Sink) -> Result<String, String> {
        sink.begin();
        // Without a version: what the cluster has agreed on, not what one server happens to remember.
        let mut params = ListParams::default().limit(PAGE);
        params.field_selector = self.fields.map(str::to_owned);
        loop {
            let limit = Duration::from_secs(PERIOD.into()) + SLACK;
            let page = timeout(limit, self.api.list(&params)).await;
            let page = match page.map_err(|_| "no answer in time".to_owned())? {
                // Some objects are as large as objects may be: fewer of them at a time.
                Err(error) if TooLarge::is_in(&error) && params.limit > Some(SMALL_PAGE) => {
                    params.limit = Some(SMALL_PAGE);
                    continue;
                }
                page => page.map_err(|error| said(&error))?,
            };
            page.items.into_iter().for_each(|object| sink.now(object));
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                let version = page.metadata.resource_version;
                let version = version.ok_or_else(|| "the list has no version".to_owned())?;
                sink.whole(&version);
                sink.trouble(None);
                return Ok(version);
            }
        }
    }

    /// Watches once, and moves `version` on with what came.
    async fn watch(&self, version: &mut String, sink: &mut impl Sink) -> Stop {
        let field_selector = self.fields.map(str::to_owned);
        let params =
            WatchParams { timeout: Some(PERIOD), bookmarks: true, field_selector, ..WatchParams::default() };
        let end = Instant::now() + Duration::from_secs(PERIOD.into()) + SLACK;
        let stream = match timeout(SLACK, self.api.watch(&params, version)).await {
            Err(_) => return Stop::Broken("no answer in time".to_owned()),
            Ok(Err(kube::Error::Api(status))) => return Stop::of(status),
            Ok(Err(error)) => return Stop::Broken(said(&error)),
            Ok(Ok(stream)) => stream,
        };
        sink.trouble(None);
        let mut stream = std::pin::pin!(stream);
        loop {
            let event = match timeout_at(end, stream.next()).await {
                Err(_) => return Stop::Broken("the connection died".to_owned()),
                Ok(None) => return Stop::Ended,
                Ok(Some(Err(kube::Error::Api(status)))) => return Stop::of(status),
                Ok(Some(Err(error))) => return Stop::Broken(said(&error)),
                Ok(Some(Ok(event))) => event,
            };
            let newest = match &event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => {
                    object.metadata.resource_version.clone()
                }
                WatchEvent::Bookmark(bookmark) => Some(bookmark.metadata.resource_version.clone()),
                WatchEvent::Error(_) => None,
            };
            if let Some(newest) = newest {
                *version = newest;
            }
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => sink.now(object),
                WatchEvent::Deleted(object) => sink.gone(object),
                WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(status) => return Stop::of(status),
            }
        }
    }
}

/// A foreign error in one line.
fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
