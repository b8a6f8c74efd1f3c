//! Error codes, hints, the renderer of error chains, and the exit-code table.

use std::fmt::{self, Write as _};

use serde::{Serialize, Serializer};

use crate::model::finding::Finding;

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

/// How the process ends. The table of `cozy --help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// The operation failed, or was declined.
    Failed,
    /// Wrong use or invalid input.
    Usage,
    /// Changes are pending (`plan --exit-code`, `status` with drift).
    Changes,
    /// Preflight failed.
    Preflight,
    /// Unhealthy, or not ready in time.
    Unhealthy,
    /// Locked by another run, or the lock was lost.
    Locked,
    /// Ended by SIGINT.
    Interrupted,
    /// Ended by SIGTERM.
    Terminated,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Changes => 3,
            Self::Preflight => 4,
            Self::Unhealthy => 5,
            Self::Locked => 6,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

/// Something that a command tells its user instead of doing its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// Mistakes in the user's files.
    #[error("{} in the input", amount(.0.len()))]
    Findings(Vec<Finding>),
    /// Several errors of one kind.
    #[error("{}", amount(.0.len()))]
    Many(Vec<Said>),
    /// Several parts of one operation that failed.
    #[error("{summary}")]
    Several {
        /// What failed.
        said: Vec<Said>,
        /// The last line.
        summary: String,
        /// How the process ends.
        exit: Exit,
    },
    /// One error.
    #[error("{}", .0.message)]
    One(Said, #[source] Option<anyhow::Error>, Exit),
}

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

fn amount(count: usize) -> String {
    if count == 1 { "1 mistake".to_owned() } else { format!("{count} mistakes") }
}

impl Problem {
    /// One error without a cause.
    pub(crate) fn new(code: u16, exit: Exit, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let hint = Some(hint.into()).filter(|hint| !hint.is_empty());
        Self::One(Said { code: Code(code), message: message.into(), hint }, None, exit)
    }

    /// Adds what caused it, if it is one error.
    pub(crate) fn because(mut self, error: impl Into<anyhow::Error>) -> Self {
        if let Self::One(_, cause, _) = &mut self {
            *cause = Some(error.into());
        }
        self
    }

    /// How the process ends because of it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Findings(_) | Self::Many(_) => Exit::Usage,
            Self::One(_, _, exit) | Self::Several { exit, .. } => *exit,
        }
    }
}

/// Draws a chain of errors: each cause once, then the hint. Findings are drawn with colours where `color` allows them.
pub(crate) fn render(error: &anyhow::Error, color: bool) -> (String, Exit) {
    let Some(problem) = error.downcast_ref::<Problem>() else {
        let mut text = format!("error: {error}\n");
        caused_by(&mut text, causes(error.source(), ""));
        return (text, Exit::Failed);
    };
    let text = match problem {
        Problem::Findings(findings) => {
            let mut text = crate::ui::findings::drawn(findings, color);
            let _ = writeln!(text, "error: {problem}");
            text
        }
        Problem::Many(said) | Problem::Several { said, .. } => {
            let mut text = String::new();
            for said in said {
                let _ = writeln!(text, "{}", one(said, None));
            }
            let _ = writeln!(text, "error: {problem}");
            text
        }
        Problem::One(said, cause, _) => one(said, cause.as_ref()),
    };
    (text, problem.exit())
}

fn one(said: &Said, cause: Option<&anyhow::Error>) -> String {
    let mut text = format!("error[{}]: {}\n", said.code, said.message);
    if let Some(cause) = cause {
        caused_by(&mut text, causes(Some(cause.as_ref()), &said.message));
    }
    if let Some(hint) = &said.hint {
        let _ = writeln!(text, "\nhint: {hint}");
    }
    text
}

fn caused_by(text: &mut String, causes: Vec<String>) {
    for cause in causes {
        let _ = writeln!(text, "  caused by: {cause}");
    }
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
