//! Helm's side: the batch oracle that `tests/helm/build` makes.

use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::process::{Command, Stdio};

use super::job::{Answer, Job};

/// Asks Helm all jobs in one process, in order.
pub(crate) fn ask<'a>(jobs: impl IntoIterator<Item = &'a Job>) -> Vec<Answer> {
    let path = super::root().join("target/helm/helm-oracle");
    let mut child = Command::new(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; run tests/helm/build", path.display()));
    let lines: Vec<_> = jobs.into_iter().map(|job| serde_json::to_string(job).unwrap()).collect();
    let count = lines.len();
    let mut stdin = BufWriter::new(child.stdin.take().expect("stdin is piped"));
    let writer = std::thread::spawn(move || {
        for line in lines {
            writeln!(stdin, "{line}")?;
        }
        stdin.flush()
    });
    let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let answers: Vec<Answer> =
        stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    writer.join().expect("the writer does not panic").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(answers.len(), count, "the oracle answers every job");
    answers
}
