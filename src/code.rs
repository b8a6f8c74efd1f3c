//! What errors of every module have in common: codes, what to do, chains of causes.

use std::fmt;

use serde::{Serialize, Serializer};

/// A stable error code: `C` and four digits, never reused.
///
/// 1000 files, 1100 their schema, 1200 their meaning; 2000 rendering, 2500
/// planning; 3000 health; 4000 the cluster; 5000 hosts; 6000 locks and runs;
/// 7000 the command line; 8000 artefacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Code(pub(crate) u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "C{:04}", self.0)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What to do about what cannot be, unless cozy is wrong.
pub(crate) const REPORT: &str = "this is a mistake of cozy's: please report it, with the log of this run";

/// One error with its code and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// The stable code.
    pub(crate) code: Code,
    /// What was tried on what.
    pub(crate) message: String,
    /// What to do.
    pub(crate) hint: Option<String>,
}

/// What a chain of errors says below `above`, each level once: some libraries
/// print their source in their own text.
pub(crate) fn causes(mut cause: Option<&(dyn std::error::Error + 'static)>, above: &str) -> Vec<String> {
    let mut last = above.to_owned();
    let mut all = Vec::new();
    while let Some(current) = cause {
        let words = current.to_string();
        if !last.contains(&words) {
            all.push(words.clone());
        }
        last = words;
        cause = current.source();
    }
    all
}

/// Whether TLS itself failed, somewhere down the chain of causes.
pub(crate) fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if current.is::<rustls::Error>() {
            return true;
        }
        if let Some(inner) = current.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref)
            && (inner.is::<rustls::Error>() || is_tls(inner))
        {
            return true;
        }
        cause = current.source();
    }
    false
}
