//! Helm's side: the batch oracle that `tests/helm/build` makes.

use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::process::{Command, Stdio};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::job::{Answer, Job};

/// Asks Helm all jobs in one process, in order.
pub(crate) fn ask<'a>(jobs: impl IntoIterator<Item = &'a Job>) -> Vec<Answer> {
    converse("serve", jobs)
}

/// A chart's output, whose custom resources are to be validated.
#[derive(Serialize)]
pub(crate) struct Rendered {
    pub(crate) chart: String,
    pub(crate) output: String,
}

/// What the definitions that any of the charts holds say to its resources.
#[derive(Deserialize)]
pub(crate) struct Verdict {
    pub(crate) chart: String,
    pub(crate) valid: usize,
    /// Resources without a definition.
    pub(crate) unknown: usize,
    pub(crate) invalid: Vec<String>,
}

/// Validates custom resources strictly, as the API server would.
pub(crate) fn validate(charts: &[Rendered]) -> Vec<Verdict> {
    converse("validate", charts)
}

fn converse<Question: Serialize, Reply: DeserializeOwned>(
    mode: &str,
    questions: impl IntoIterator<Item = Question>,
) -> Vec<Reply> {
    let path = super::root().join("target/helm/helm-oracle");
    let mut child = Command::new(&path)
        .arg(mode)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; run tests/helm/build", path.display()));
    let lines: Vec<_> =
        questions.into_iter().map(|question| serde_json::to_string(&question).unwrap()).collect();
    let count = lines.len();
    let mut stdin = BufWriter::new(child.stdin.take().expect("stdin is piped"));
    let writer = std::thread::spawn(move || {
        for line in lines {
            writeln!(stdin, "{line}")?;
        }
        stdin.flush()
    });
    let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let answers: Vec<Reply> =
        stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    writer.join().expect("the writer does not panic").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(answers.len(), count, "the oracle answers every job");
    answers
}
