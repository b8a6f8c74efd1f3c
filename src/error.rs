//! What a command tells its user instead of doing its work: problems, how they are drawn, and the exit-code table.

use std::fmt::Write as _;

use crate::code::causes;
pub(crate) use crate::code::{Code, Said};
use crate::model::finding::Finding;

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
