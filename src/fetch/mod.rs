//! Fetching: artefacts come from a mirror or from their upstream homes, are
//! checked against what the lock pins, and are kept in the cache. [`Store`]
//! alone answers without any network.

mod digests;
mod error;
mod file;
pub(crate) mod folder;
mod http;
mod index;
mod local;
mod oci;
mod source;
mod store;

use cozy_chart::{Chart, Limits};
use futures::StreamExt as _;
use reqwest::Url;
use tokio::time::Instant;

use crate::execute::event::{Event, EventKind, FetchedFrom, Reporter};
use crate::execute::retry::Retry;
use crate::model::artefact::{Artefact, Digest, Home, Id, Kind};

pub(crate) use digests::Digests;
pub(crate) use error::FetchError;
pub(crate) use file::Held;
pub(crate) use http::{Network, authorities};
pub(crate) use source::Mirror;
pub(crate) use store::{Store, alone, atomically, digest_of};

/// Downloads in flight at most.
const PARALLEL: usize = 8;

/// How often progress is told: each time so many bytes came.
const STEP: usize = 512 * 1024;

/// An artefact that is in the cache now.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    /// What it is called.
    pub(crate) id: Id,
    /// Where it was found, for the lock.
    pub(crate) url: String,
    /// What its bytes are.
    pub(crate) sha256: Digest,
    /// How many.
    pub(crate) size: usize,
    /// Where it came from now.
    pub(crate) from: FetchedFrom,
    /// Nothing said before what its bytes must be.
    pub(crate) is_new: bool,
}

/// Where to look for artefacts, and where to keep them.
pub(crate) struct Fetcher<'a> {
    http: http::Http,
    registry: oci::Registry,
    store: &'a Store,
    mirror: Option<Mirror>,
    verify: bool,
    reporter: &'a dyn Reporter,
    started: Instant,
}

impl<'a> Fetcher<'a> {
    /// Prepares; nothing is sent.
    pub(crate) fn new(
        network: &Network,
        store: &'a Store,
        mirror: Option<Mirror>,
        reporter: &'a dyn Reporter,
    ) -> Result<Self, FetchError> {
        let http = http::Http::new(network)?;
        let registry = oci::Registry::new(network)?;
        let verify = store.verifies();
        Ok(Self { http, registry, store, mirror, verify, reporter, started: Instant::now() })
    }

    /// Fetches what is not at hand yet; the answers are in the order of the artefacts.
    pub(crate) async fn all(
        &self,
        artefacts: &[Artefact],
        concurrency: usize,
    ) -> Vec<Result<Fetched, FetchError>> {
        let all = artefacts.iter().map(|artefact| self.one(artefact));
        futures::stream::iter(all).buffered(concurrency.clamp(1, PARALLEL)).collect().await
    }

    /// The cache that it fills.
    pub(crate) fn store(&self) -> &'a Store {
        self.store
    }

    /// Tells of something that stops nothing.
    pub(crate) fn warn(&self, message: String) {
        self.report(EventKind::Warning { message });
    }

    fn report(&self, kind: EventKind) {
        self.reporter.report(&Event { at: self.started.elapsed(), kind });
    }

    async fn one(&self, artefact: &Artefact) -> Result<Fetched, FetchError> {
        let begun = self.started.elapsed();
        let id = &artefact.id;
        let fetched = if let Some(fetched) = self.at_hand(artefact)? {
            fetched
        } else {
            let found = self.find(artefact).await?;
            self.check(artefact, &found)?;
            let is_new = self.verify && artefact.sha256.is_none();
            if is_new {
                plausible(artefact, &found)?;
            }
            Fetched {
                id: id.clone(),
                sha256: self.store.put(artefact, &found.bytes)?,
                url: found.url,
                size: found.bytes.len(),
                from: found.from,
                is_new,
            }
        };
        self.report(EventKind::Fetched {
            artefact: id.to_string(),
            bytes: fetched.size as u64,
            sha256: fetched.sha256.to_string(),
            from: fetched.from,
            took: self.started.elapsed().saturating_sub(begun),
        });
        Ok(fetched)
    }

    fn at_hand(&self, artefact: &Artefact) -> Result<Option<Fetched>, FetchError> {
        // A folder may change at any time; without a digest only reading it again tells.
        let fresh = !self.verify && matches!(self.mirror, Some(Mirror::Folder(_)));
        if fresh && !matches!(artefact.home, Home::Folder(_)) {
            return Ok(None);
        }
        let bytes = match self.store.get(artefact) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(error @ FetchError::Spoiled { .. }) => {
                self.warn(format!("{error}: it is fetched again"));
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let (url, from) = match &artefact.home {
            Home::Folder(folder) => (format!("file://{}", folder.display()), FetchedFrom::Folder),
            Home::Repository(_) | Home::Registry(_) | Home::File(_) => {
                (artefact.url.clone().unwrap_or_default(), FetchedFrom::Cache)
            }
        };
        let (id, sha256) = (artefact.id.clone(), Digest::of(&bytes));
        if let Some(expected) = artefact.sha256
            && expected != sha256
            && !matches!(artefact.home, Home::Folder(_))
        {
            self.differs(&id, &url, error::Difference { whose: "the lock", expected, found: sha256 })?;
        }
        Ok(Some(Fetched { id, url, sha256, size: bytes.len(), from, is_new: false }))
    }

    /// Compares with what is pinned, and with what the source itself says.
    fn check(&self, artefact: &Artefact, found: &source::Found) -> Result<(), FetchError> {
        let digest = Digest::of(&found.bytes);
        if let Some((path, version)) = &found.unpacked {
            if self.verify {
                return Err(FetchError::Unpacked { what: artefact.id.to_string(), path: path.clone() });
            }
            self.warn(format!("{} is not verified: an unpacked chart, at `{}`", artefact.id, path.display()));
            if *version != artefact.id.version {
                self.warn(format!("{}: `{}` has version {version}", artefact.id, path.display()));
            }
            return Ok(());
        }
        let claims = [(artefact.sha256, "the lock"), (found.claimed, "the repository's index")];
        let Some((expected, whose)) = claims.into_iter().find_map(|(claim, whose)| Some((claim?, whose)))
        else {
            return Ok(());
        };
        if expected == digest {
            return Ok(());
        }
        self.differs(&artefact.id, &found.url, error::Difference { whose, expected, found: digest })
    }

    /// Refuses bytes that are not what they should be, or warns where that is allowed.
    fn differs(&self, id: &Id, from: &str, difference: error::Difference) -> Result<(), FetchError> {
        let (what, from, difference) = (id.to_string(), from.to_owned(), Box::new(difference));
        let error = FetchError::Mismatch { what, from, difference, fixed: false };
        if self.verify {
            return Err(error);
        }
        self.warn(format!("{error}\n  it is used all the same: `artifacts.verify` is false"));
        Ok(())
    }

    fn teller(&self, what: &impl ToString) -> Teller<'_> {
        Teller { reporter: self.reporter, started: self.started, what: what.to_string() }
    }
}

/// Refuses what cannot be what was asked for, before its digest is locked for good: a portal's login page, another
/// chart.
fn plausible(artefact: &Artefact, found: &source::Found) -> Result<(), FetchError> {
    let id = &artefact.id;
    let damaged =
        |problem: String| FetchError::Damaged { what: id.to_string(), from: found.url.clone(), problem };
    match id.kind {
        Kind::Chart => {}
        Kind::Manifest => {
            return match std::str::from_utf8(&found.bytes) {
                Ok(text) if !text.trim_start().starts_with('<') => Ok(()),
                Ok(_) => Err(damaged("it is a web page".to_owned())),
                Err(error) => Err(damaged(error.to_string())),
            };
        }
        Kind::Schema => {
            let read: Result<serde::de::IgnoredAny, _> = serde_json::from_slice(&found.bytes);
            return read.map(|_| ()).map_err(|error| damaged(format!("it is not JSON: {error}")));
        }
    }
    let chart =
        Chart::from_archive(&found.bytes, &Limits::default()).map_err(|error| damaged(error.to_string()))?;
    let number = |version: &str| semver::Version::parse(version.trim_start_matches('v')).ok();
    // A tag such as `latest` says no version.
    let same = chart.name() == id.name
        && number(&id.version).is_none_or(|wanted| number(chart.version()) == Some(wanted));
    // Who names a file names no chart.
    if same || matches!(artefact.home, Home::File(_)) {
        return Ok(());
    }
    Err(damaged(format!("it is chart {} {}", chart.name(), chart.version())))
}

/// Tells how one download goes.
pub(crate) struct Teller<'a> {
    reporter: &'a dyn Reporter,
    started: Instant,
    what: String,
}

impl Teller<'_> {
    fn report(&self, kind: EventKind) {
        self.reporter.report(&Event { at: self.started.elapsed(), kind });
    }

    /// A source is asked.
    pub(crate) fn asking(&self, from: &str) {
        self.report(EventKind::Fetching { artefact: self.what.clone(), from: from.to_owned() });
    }

    /// More bytes came.
    pub(crate) fn progress(&self, before: usize, now: usize, total: Option<usize>) {
        if before / STEP != now / STEP {
            let (received, total) = (now as u64, total.map(|total| total as u64));
            self.report(EventKind::FetchProgress { artefact: self.what.clone(), received, total });
        }
    }

    /// A try failed, and another one follows.
    pub(crate) fn retry(&self, from: &str, retry: &Retry<'_, FetchError>) {
        self.report(EventKind::Retry {
            step: None,
            object: from.to_owned(),
            attempt: retry.attempt,
            delay: retry.delay,
            reason: self::reason(retry.error),
        });
    }
}

/// The innermost reason of a failure: what stands above it is said already.
fn reason(error: &FetchError) -> String {
    match error {
        FetchError::Refused { status, .. } => format!("the server answered {status}"),
        other => {
            let mut last: &dyn std::error::Error = other;
            while let Some(next) = last.source() {
                last = next;
            }
            last.to_string()
        }
    }
}

/// A URL of the user's.
fn parse(what: &str, url: &str) -> Result<Url, FetchError> {
    let problem = match Url::parse(url) {
        Ok(parsed) if parsed.has_host() => return Ok(parsed),
        Ok(_) => "it names no host".to_owned(),
        Err(error) => error.to_string(),
    };
    let url = crate::model::artefact::shown(url);
    Err(FetchError::Location { what: what.to_owned(), url, problem })
}
