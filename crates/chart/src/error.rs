//! Why a chart cannot be loaded or rendered.

use std::fmt;

/// A place in a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The template's file, `chart/templates/x.yaml`.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// The template that was executed there: the file, or a `define`.
    pub template: String,
    /// The expression that failed, as it was written.
    pub expression: String,
}

/// Why a chart cannot be loaded or rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The archive is damaged, or tries to do harm.
    #[error("the chart's archive is refused: {0}")]
    Archive(String),
    /// The chart's own files.
    #[error("{chart}: {problem}")]
    Chart {
        /// Its name, as far as it is known.
        chart: String,
        /// What is wrong.
        problem: String,
    },
    /// The given values.
    #[error("{0}")]
    Values(String),
    /// Values that a chart's schema refuses.
    #[error("values do not meet the schema of chart {chart}:\n{}", problems.iter().map(|problem| format!("- {problem}")).collect::<Vec<_>>().join("\n"))]
    Schema {
        /// The chart.
        chart: String,
        /// Each with the path of its value.
        problems: Vec<String>,
    },
    /// Schemas that a chart's schema refers to by their URLs, and that the environment does not have.
    #[error("{chart}: values.schema.json refers to {}, which is not at hand", urls.join(" and "))]
    Elsewhere {
        /// The chart.
        chart: String,
        /// Where they are.
        urls: Vec<String>,
    },
    /// A template that cannot be parsed.
    #[error("{file}:{line}:{column}: {problem}")]
    Parse {
        /// The template's file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong.
        problem: String,
    },
    /// A template that fails.
    #[error("{}", Stack(frames, problem))]
    Execute {
        /// From the innermost place to the outermost. Never empty.
        frames: Vec<Frame>,
        /// What is wrong.
        problem: String,
    },
    /// What a template rendered is not YAML.
    #[error("{file}: what it renders is not YAML: {problem}")]
    Rendered {
        /// The template's file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// A limit that protects whoever renders charts of others.
    #[error("{0}")]
    Limit(String),
}

struct Stack<'a>(&'a [Frame], &'a str);

impl fmt::Display for Stack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(frames, problem) = self;
        for (index, frame) in frames.iter().enumerate() {
            let Frame { file, line, column, template, expression } = frame;
            if index == 0 {
                write!(f, "{file}:{line}:{column}: {problem}\n  at <{expression}>")?;
            } else {
                write!(f, "\n  called from {file}:{line}:{column} at <{expression}>")?;
            }
            if template != file {
                write!(f, " in \"{template}\"")?;
            }
        }
        Ok(())
    }
}
