//! Downloads over HTTP: bounded in size and time, taken up again where they
//! broke off, tried again while there is hope. TLS is always verified.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{
    ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, RANGE, RETRY_AFTER,
};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Certificate, Client, NoProxy, Proxy, StatusCode, Url};
use tokio::time::Instant;

use super::Teller;
use super::error::FetchError;
use crate::execute::retry;
use crate::files;
use crate::model::artefact::shown;
use crate::model::secret::Secret;

/// The most redirects that are followed.
const REDIRECTS: usize = 5;

/// How long one download may take altogether: half an hour, and the largest ones 40 KiB/s.
fn longest(limit: usize) -> Duration {
    Duration::from_secs((limit as u64 / (40 * 1024)).max(30 * 60))
}

/// How downloads reach the outside.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    /// The proxy for `http://`, and for `https://`. May hold credentials.
    pub(crate) http_proxy: Option<Secret<String>>,
    /// See above.
    pub(crate) https_proxy: Option<Secret<String>>,
    /// Hosts that are reached without.
    pub(crate) no_proxy: Option<String>,
    /// A PEM file with more certificate authorities.
    pub(crate) ca: Option<PathBuf>,
    /// docker's `config.json`.
    pub(crate) docker_config: Option<PathBuf>,
    /// How long a download may go without progress, tries included.
    pub(crate) patience: Duration,
}

impl Network {
    /// How long a connection may be silent before it is given up.
    pub(crate) fn stall(&self) -> Duration {
        (self.patience / 2).min(Duration::from_secs(30))
    }

    /// The authorities of the user's own, as PEM.
    pub(crate) fn authorities(&self) -> Result<Option<Vec<u8>>, FetchError> {
        let Some(path) = &self.ca else { return Ok(None) };
        let failed = |source| FetchError::File {
            verb: "read",
            what: "the certificate authorities (`artifacts.ca`)".to_owned(),
            path: path.clone(),
            source,
        };
        authorities(path).map(Some).map_err(failed)
    }
}

/// The largest file of certificate authorities, in bytes: those of all browsers have a quarter of a megabyte.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Reads a file with certificate authorities, PEM.
///
/// # Errors
/// It cannot be read, or holds none.
pub(crate) fn authorities(path: &Path) -> io::Result<Vec<u8>> {
    if !fs_err::metadata(path)?.is_file() {
        return Err(io::Error::other(format!("`{}` is not a file", path.display())));
    }
    let pem = files::read(path, LARGEST)?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(all) if !all.is_empty() => Ok(pem),
        Ok(_) | Err(_) => Err(io::Error::other("it holds no PEM certificate")),
    }
}

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) enum Credentials {
    /// Nobody.
    None,
    /// A user with a password.
    Basic(String, Secret<String>),
    /// The holder of a token.
    Bearer(Secret<String>),
}

/// What to download.
pub(crate) struct Ask<'a> {
    /// What it is, for people.
    pub(crate) what: &'a str,
    /// Where it is.
    pub(crate) url: Url,
    /// The URL for people, if it is another.
    pub(crate) from: String,
    /// The most bytes.
    pub(crate) limit: usize,
    /// Who asks.
    pub(crate) credentials: Credentials,
    /// The media types that are wanted.
    pub(crate) accept: Option<&'static str>,
}

impl<'a> Ask<'a> {
    /// Asks for what is at a URL.
    pub(crate) fn new(what: &'a str, url: Url, limit: usize) -> Self {
        let from = shown(url.as_str());
        Self { what, url, from, limit, credentials: Credentials::None, accept: None }
    }
}

/// Where bytes go while they come.
pub(super) trait Sink {
    /// Where that is, for people.
    fn place(&self) -> PathBuf;
    /// How many are there.
    fn held(&self) -> usize;
    /// Takes more.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Forgets them all.
    fn clear(&mut self) -> io::Result<()>;
}

impl Sink for Vec<u8> {
    fn place(&self) -> PathBuf {
        PathBuf::from("memory")
    }

    fn held(&self) -> usize {
        self.len()
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.clear();
        Ok(())
    }
}

/// What came so far.
struct Partial<'a, S> {
    sink: &'a mut S,
    /// What the server calls this version of the file: only the same one is taken up again.
    version: Option<String>,
}

/// A client for downloads.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client,
    patience: Duration,
    stall: Duration,
}

impl Http {
    /// Prepares; nothing is sent.
    pub(crate) fn new(network: &Network) -> Result<Self, FetchError> {
        let stall = network.stall();
        let mut builder = Client::builder()
            .user_agent(concat!("cozy/", env!("CARGO_PKG_VERSION")))
            .referer(false)
            .redirect(Policy::custom(follow))
            .retry(reqwest::retry::never())
            .connect_timeout(stall)
            .read_timeout(stall)
            // The environment is read in one place, and not by libraries.
            .no_proxy();
        let failed = |source: reqwest::Error| FetchError::Client { source: Box::new(source.without_url()) };
        let proxies =
            [(&network.http_proxy, Proxy::http::<&str> as fn(_) -> _), (&network.https_proxy, Proxy::https)];
        for (url, proxy) in proxies {
            if let Some(url) = url {
                let none = network.no_proxy.as_deref().and_then(NoProxy::from_string);
                builder = builder.proxy(proxy(url.expose().as_str()).map_err(failed)?.no_proxy(none));
            }
        }
        if let Some(pem) = network.authorities()? {
            builder = builder.tls_certs_merge(Certificate::from_pem_bundle(&pem).map_err(failed)?);
        }
        Ok(Self { client: builder.build().map_err(failed)?, patience: network.patience, stall })
    }

    /// Downloads. Breaks and errors that pass are tried again as long as
    /// something came within the time of patience.
    pub(crate) async fn get(&self, ask: &Ask<'_>, teller: &Teller<'_>) -> Result<Vec<u8>, FetchError> {
        let mut bytes = Vec::new();
        self.pour(ask, &mut bytes, teller).await?;
        Ok(bytes)
    }

    /// Downloads into a sink, as [`Http::get`] does.
    pub(super) async fn pour<S: Sink>(
        &self,
        ask: &Ask<'_>,
        sink: &mut S,
        teller: &Teller<'_>,
    ) -> Result<(), FetchError> {
        let mut partial = Partial { sink, version: None };
        let end = Instant::now() + longest(ask.limit);
        loop {
            let before = partial.sink.held();
            let deadline = (Instant::now() + self.patience).min(end);
            let act = async || self.attempt(ask, &mut partial, teller).await;
            match retry::until(deadline, act, |retry| teller.retry(&ask.from, &retry)).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    use retry::Transient as _;
                    if !error.is_transient() || partial.sink.held() <= before || Instant::now() >= end {
                        return Err(error);
                    }
                }
            }
        }
    }

    async fn attempt<S: Sink>(
        &self,
        ask: &Ask<'_>,
        partial: &mut Partial<'_, S>,
        teller: &Teller<'_>,
    ) -> Result<(), FetchError> {
        let failed = |error| FetchError::from_http(ask.what, &ask.from, error, self.stall);
        let path = partial.sink.place();
        let full = |source| FetchError::File {
            verb: "write",
            what: ask.what.to_owned(),
            path: path.clone(),
            source,
        };
        let mut request = self.client.get(ask.url.clone());
        request = match &ask.credentials {
            Credentials::None => request,
            Credentials::Basic(user, password) => request.basic_auth(user, Some(password.expose())),
            Credentials::Bearer(token) => request.bearer_auth(token.expose()),
        };
        if let Some(accept) = ask.accept {
            request = request.header(ACCEPT, accept);
        }
        match &partial.version {
            Some(version) if partial.sink.held() > 0 => {
                request = request
                    .header(RANGE, format!("bytes={}-", partial.sink.held()))
                    .header(IF_RANGE, version);
            }
            _ => partial.sink.clear().map_err(full)?,
        }
        let mut response = request.send().await.map_err(failed)?;
        let headers = response.headers();
        match response.status() {
            StatusCode::PARTIAL_CONTENT if range_start(headers) == Some(partial.sink.held()) => {}
            StatusCode::OK => {
                partial.sink.clear().map_err(full)?;
                partial.version = version(headers);
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                let (what, from) = (ask.what.to_owned(), ask.from.clone());
                return Err(FetchError::NotFound { what, from, known: String::new() });
            }
            status => {
                let odd = matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE);
                if odd {
                    // A part that does not fit what is here already: from the beginning, then.
                    partial.sink.clear().map_err(full)?;
                    partial.version = None;
                }
                return Err(FetchError::Refused {
                    what: ask.what.to_owned(),
                    from: ask.from.clone(),
                    status: if odd { 503 } else { status.as_u16() },
                    retry_after: retry_after(headers),
                });
            }
        }
        let length =
            headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        let total = length.map(|length| partial.sink.held().saturating_add(length));
        let too_large =
            || FetchError::TooLarge { what: ask.what.to_owned(), from: ask.from.clone(), limit: ask.limit };
        if total.is_some_and(|total| total > ask.limit) {
            return Err(too_large());
        }
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            let before = partial.sink.held();
            if before + chunk.len() > ask.limit {
                return Err(too_large());
            }
            partial.sink.take(&chunk).map_err(full)?;
            teller.progress(before, partial.sink.held(), total);
        }
        Ok(())
    }
}

/// Follows a few redirects, and none that leaves TLS.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let from_tls = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
    if attempt.previous().len() > REDIRECTS {
        attempt.error(format!("more than {REDIRECTS} redirects"))
    } else if from_tls && attempt.url().scheme() != "https" {
        attempt.error("a redirect from https:// to http://")
    } else {
        attempt.follow()
    }
}

/// The name of this version of a file that `If-Range` takes (RFC 9110, 13.1.5): no weak one.
fn version(headers: &HeaderMap) -> Option<String> {
    let strong = headers.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""));
    strong.or_else(|| headers.get(LAST_MODIFIED)).and_then(|value| Some(value.to_str().ok()?.to_owned()))
}

/// Where a part begins: `bytes 100-199/200`.
fn range_start(headers: &HeaderMap) -> Option<usize> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    range.split_once('-')?.0.parse().ok()
}

/// Seconds; the form with a date is rare, and treated as if it were not there.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
