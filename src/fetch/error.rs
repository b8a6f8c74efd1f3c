//! Why an artefact is not there, translated where it was asked for. URLs in
//! texts are without credentials and query.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::code::{Code, Said, causes, is_tls};
use crate::execute::retry::Transient;
use crate::model::artefact::{Digest, Id, shown};

/// What was tried, and how it failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// No answer came, or it broke off.
    #[error("cannot download {what} from {from}")]
    Unreachable {
        /// What was asked for.
        what: String,
        /// The URL.
        from: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The server answered with an error.
    #[error("cannot download {what} from {from}: the server answered {status}")]
    Refused {
        /// What was asked for.
        what: String,
        /// The URL.
        from: String,
        /// The HTTP status code.
        status: u16,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// It is not where it should be.
    #[error("there is no {what} at {from}{known}")]
    NotFound {
        /// What was asked for.
        what: String,
        /// The URL.
        from: String,
        /// `: known versions are …`, or nothing.
        known: String,
    },
    /// Other bytes than those that are pinned.
    #[error("{what} from {from} is not what it should be\n{difference}")]
    Mismatch {
        /// What was asked for.
        what: String,
        /// The URL.
        from: String,
        /// What differs.
        difference: Box<Difference>,
        /// Nothing lets it through.
        fixed: bool,
    },
    /// An unpacked chart has no bytes that a digest could be of.
    #[error("{what} is unpacked at `{path}`: that cannot be verified")]
    Unpacked {
        /// What was asked for.
        what: String,
        /// The folder.
        path: PathBuf,
    },
    /// It is larger than anything that is meant.
    #[error("{what} from {from} is larger than {} MiB", .limit / 1024 / 1024)]
    TooLarge {
        /// What was asked for.
        what: String,
        /// The URL.
        from: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// What came cannot be read.
    #[error("cannot read {what} from {from}: {problem}")]
    Damaged {
        /// What was asked for.
        what: String,
        /// The URL.
        from: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A URL of the user's cannot be used.
    #[error("cannot use {what} `{url}`: {problem}")]
    Location {
        /// Whose it is.
        what: String,
        /// The URL, without credentials.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file cannot be read or written.
    #[error("cannot {verb} {what} at `{path}`")]
    File {
        /// Read or write.
        verb: &'static str,
        /// What it is.
        what: String,
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A blob of the cache has other bytes than its name says.
    #[error("{what} was damaged in the cache, at `{path}`")]
    Spoiled {
        /// What was asked for.
        what: String,
        /// The blob.
        path: PathBuf,
    },
    /// There is no folder for the cache.
    #[error("there is no place for a cache: neither XDG_CACHE_HOME nor HOME is set")]
    NoCache,
    /// The TLS library or its settings cannot be used.
    #[error("cannot prepare for downloads")]
    Client {
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Two digests that should be one.
#[derive(Debug)]
pub(crate) struct Difference {
    /// Who says what it should be.
    pub(crate) whose: &'static str,
    /// What it should be.
    pub(crate) expected: Digest,
    /// What it is.
    pub(crate) found: Digest,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { whose, expected, found } = self;
        write!(f, "  expected sha256 {expected}, from {whose}\n  found    sha256 {found}")
    }
}

/// What is said for a request that took too long without a byte.
#[derive(Debug, thiserror::Error)]
#[error("nothing came for {}", crate::model::duration::human(*.0))]
pub(crate) struct Stalled(pub(crate) Duration);

impl FetchError {
    /// Translates an error of the HTTP client, without its URL: that may hold secrets.
    pub(crate) fn from_http(what: &str, from: &str, error: reqwest::Error, stall: Duration) -> Self {
        let (what, from) = (what.to_owned(), shown(from));
        if error.is_timeout() {
            return Self::Unreachable { what, from, source: Box::new(Stalled(stall)) };
        }
        Self::Unreachable { what, from, source: Box::new(error.without_url()) }
    }

    /// Other bytes came from a URL than the lock says.
    pub(crate) fn differs(id: &Id, from: &str, expected: Digest, found: Digest) -> Self {
        let difference = Box::new(Difference { whose: "the lock", expected, found });
        Self::Mismatch { what: id.to_string(), from: shown(from), difference, fixed: false }
    }

    /// It is not there, as far as the other side says.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// The stable code.
    pub(crate) fn code(&self) -> Code {
        Code(match self {
            Self::Unreachable { source, .. } if is_tls(&**source) => 8002,
            Self::Unreachable { source, .. } if is_redirect(&**source) => 8003,
            Self::Unreachable { .. } => 8001,
            Self::Refused { status: 401 | 403, .. } => 8004,
            Self::Refused { .. } => 8005,
            Self::NotFound { .. } => 8006,
            Self::Mismatch { .. } | Self::Unpacked { .. } => 8007,
            Self::TooLarge { .. } => 8008,
            Self::Damaged { .. } => 8009,
            Self::Location { .. } => 8010,
            Self::File { .. } | Self::NoCache => 8011,
            Self::Spoiled { .. } => 8012,
            Self::Client { .. } => 8013,
        })
    }

    /// What to do.
    pub(crate) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unreachable { source, .. } if is_tls(&**source) => {
                "if its certificate is from a company's own authority, name that authority with `artifacts.ca` in cozy.yaml".to_owned()
            }
            Self::Unreachable { source, .. } if is_redirect(&**source) => {
                "check the URL: it leads in a circle, or to a server without TLS".to_owned()
            }
            Self::Unreachable { .. } => {
                "check the network; `artifacts.proxy` names a proxy, `artifacts.mirror` another place to look at first".to_owned()
            }
            Self::Refused { status: 401 | 403, from, .. } if from.starts_with("oci://") => {
                "log in with `docker login`: credentials are read from docker's config.json (`auths`, not credential helpers)".to_owned()
            }
            Self::Refused { status: 401 | 403, .. } => {
                "the server wants credentials: write them into the URL as `https://USER:PASSWORD@HOST/…`".to_owned()
            }
            Self::Refused { .. } => "try again later, or name a mirror with `artifacts.mirror`".to_owned(),
            Self::NotFound { .. } => "check its name, its version, and where it is said to be".to_owned(),
            Self::Mismatch { fixed: true, .. } => {
                "nothing was written on a host; somebody changed it, on the way or at its home: find out who before you lock it in a catalogue of your own".to_owned()
            }
            Self::Mismatch { .. } => {
                "somebody changed it, on the way or at its home: find out who before you remove its entry from the lock, or set `artifacts.verify: false`".to_owned()
            }
            Self::Unpacked { .. } => "pack it with `helm package`, or set `artifacts.verify: false`".to_owned(),
            Self::TooLarge { .. } => "check the URL: charts and manifests are much smaller".to_owned(),
            Self::Damaged { .. } => "check the URL with a browser: is it what it should be?".to_owned(),
            Self::Location { .. } => "write it as https://, oci:// or file://".to_owned(),
            Self::File { .. } => return None,
            Self::Client { .. } => "check `artifacts.proxy`, `artifacts.ca` and the environment's proxies".to_owned(),
            Self::NoCache => "set one of them".to_owned(),
            Self::Spoiled { .. } => "`cozy fetch` gets it again".to_owned(),
        })
    }

    /// The error for the user.
    pub(crate) fn said(&self) -> Said {
        let mut message = self.to_string();
        let mut causes = causes(self.source(), &message);
        if matches!(self, Self::Unreachable { .. }) {
            // What the client's layers say of each other helps nobody.
            causes.drain(..causes.len().saturating_sub(1));
        }
        for cause in causes {
            message.push_str("\n  caused by: ");
            message.push_str(&cause);
        }
        Said { code: self.code(), message, hint: self.hint() }
    }
}

/// Whether the client gave up following redirects.
fn is_redirect(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_redirect)
}

impl Transient for FetchError {
    /// Resets, stalls, 429 and 5xx pass. A certificate that does not verify, a
    /// refusal and other bytes stay what they are.
    fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => !is_tls(&**source) && !is_redirect(&**source),
            Self::Refused { status, .. } => matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504),
            Self::NotFound { .. }
            | Self::Mismatch { .. }
            | Self::Unpacked { .. }
            | Self::TooLarge { .. }
            | Self::Damaged { .. }
            | Self::Location { .. }
            | Self::File { .. }
            | Self::Spoiled { .. }
            | Self::NoCache
            | Self::Client { .. } => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
