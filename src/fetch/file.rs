//! Files of upstream releases: always pinned, and too large to be held in
//! memory. They go straight into the cache; those of a folder stay where they are.

use std::path::PathBuf;

use futures::StreamExt as _;
use reqwest::Url;

use super::error::{Difference, FetchError};
use super::http::Ask;
use super::oci::Wanted;
use super::source::Mirror;
use super::store::{Spool, digest_of};
use super::{Fetcher, PARALLEL, Teller, parse};
use crate::execute::event::{EventKind, FetchedFrom};
use crate::model::artefact::Digest;
use crate::model::release::Binary;

/// The largest file, in bytes.
const LARGEST: usize = 1024 * 1024 * 1024;

/// A file that is at hand, and is what was locked.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// Which one.
    pub(crate) binary: Binary,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// How many bytes it has.
    pub(crate) size: u64,
    /// Where it came from now.
    pub(crate) from: FetchedFrom,
}

impl Fetcher<'_> {
    /// Fetches files that are not at hand yet; the answers are in their order.
    pub(crate) async fn files(&self, wanted: &[Binary], concurrency: usize) -> Vec<Result<Held, FetchError>> {
        let all = wanted.iter().map(|binary| self.binary(binary));
        futures::stream::iter(all).buffered(concurrency.clamp(1, PARALLEL)).collect().await
    }

    async fn binary(&self, binary: &Binary) -> Result<Held, FetchError> {
        let begun = self.started.elapsed();
        let (path, size, from) = match self.held(binary).await? {
            Some(held) => held,
            None => self.download(binary).await?,
        };
        self.report(EventKind::Fetched {
            artefact: binary.to_string(),
            bytes: size,
            sha256: binary.sha256.to_string(),
            from,
            took: self.started.elapsed().saturating_sub(begun),
        });
        Ok(Held { binary: binary.clone(), path, size, from })
    }

    /// From the cache, or from the folder that is the mirror.
    async fn held(&self, binary: &Binary) -> Result<Option<(PathBuf, u64, FetchedFrom)>, FetchError> {
        let (store, what, digest) = (self.store.clone(), binary.to_string(), binary.sha256);
        match off_thread(move || store.held(&what, digest)).await? {
            Ok(Some((path, size))) => return Ok(Some((path, size, FetchedFrom::Cache))),
            Ok(None) => {}
            Err(error @ FetchError::Spoiled { .. }) => self.warn(format!("{error}: it is fetched again")),
            Err(error) => return Err(error),
        }
        let Some(Mirror::Folder(folder)) = &self.mirror else { return Ok(None) };
        let path = folder.join(binary.path());
        let file = path.clone();
        match off_thread(move || digest_of(&file)).await? {
            Ok((found, size)) => {
                check(binary, &format!("file://{}", path.display()), found)?;
                Ok(Some((path, size, FetchedFrom::Mirror)))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FetchError::File { verb: "read", what: binary.to_string(), path, source }),
        }
    }

    /// From the mirror, or else from its home.
    async fn download(&self, binary: &Binary) -> Result<(PathBuf, u64, FetchedFrom), FetchError> {
        let what = binary.to_string();
        let teller = self.teller(&what);
        let mut spool = self.store.spool(&what)?;
        let mirrored = match &self.mirror {
            None | Some(Mirror::Folder(_)) => None,
            Some(Mirror::Web(mirror)) => {
                // `+` of versions means a space to some servers.
                let url = mirror.join(&binary.path().replace('+', "%2B"));
                let url = url.map_err(|error| FetchError::Location {
                    what: format!("the URL of {what}"),
                    url: binary.path(),
                    problem: error.to_string(),
                })?;
                Some(self.pour(&what, url, &mut spool, &teller).await)
            }
            Some(Mirror::Registry(mirror)) => {
                Some(self.pull(binary, &what, mirror, &mut spool, &teller).await)
            }
        };
        let (url, from) = match mirrored {
            Some(Ok(url)) => (url, FetchedFrom::Mirror),
            Some(Err(error)) if !error.is_not_found() => return Err(error),
            Some(Err(_)) | None => {
                let url = parse(&format!("the URL of {what}"), &binary.url)?;
                (self.pour(&what, url, &mut spool, &teller).await?, FetchedFrom::Upstream)
            }
        };
        check(binary, &url, spool.digest())?;
        let size = spool.size as u64;
        Ok((self.store.keep(&what, spool)?, size, from))
    }

    async fn pour(
        &self,
        what: &str,
        url: Url,
        spool: &mut Spool,
        teller: &Teller<'_>,
    ) -> Result<String, FetchError> {
        let ask = Ask::new(what, url, LARGEST);
        teller.asking(&ask.from);
        self.http.pour(&ask, spool, teller).await?;
        Ok(ask.from)
    }

    /// `MIRROR/kubernetes/NAME:VERSION-ARCH`, whose first layer is the file.
    async fn pull(
        &self,
        binary: &Binary,
        what: &str,
        mirror: &str,
        spool: &mut Spool,
        teller: &Teller<'_>,
    ) -> Result<String, FetchError> {
        let home = format!("{}/kubernetes", mirror.trim_end_matches('/'));
        let version = format!("{}-{}", binary.version, binary.arch);
        let wanted = Wanted { what, name: &binary.name, version: &version, kind: None, pinned: None };
        let (ask, _, url) = self.registry.locate(&self.http, &wanted, &home, LARGEST, teller).await?;
        self.http.pour(&ask, spool, teller).await?;
        Ok(url)
    }
}

/// Compares with what is locked.
fn check(binary: &Binary, from: &str, found: Digest) -> Result<(), FetchError> {
    if found == binary.sha256 {
        return Ok(());
    }
    let difference = Difference { whose: "bundles/kubernetes.lock", expected: binary.sha256, found };
    let (what, from) = (binary.to_string(), from.to_owned());
    Err(FetchError::Mismatch { what, from, difference: Box::new(difference), fixed: true })
}

/// Reads hundreds of megabytes beside the runtime.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, FetchError> {
    tokio::task::spawn_blocking(work).await.map_err(|source| FetchError::Client { source: Box::new(source) })
}
