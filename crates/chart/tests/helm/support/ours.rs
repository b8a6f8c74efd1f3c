//! Our side: the library, called as `helm template` calls Helm's.

use super::job::{Answer, Job};

/// Renders all jobs on two threads, in order.
pub(crate) fn answers<'a>(jobs: impl IntoIterator<Item = &'a Job>) -> Vec<Answer> {
    let jobs: Vec<&Job> = jobs.into_iter().collect();
    let (left, right) = jobs.split_at(jobs.len() / 2);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| right.iter().map(|job| answer(job)).collect::<Vec<_>>());
        let mut all: Vec<_> = left.iter().map(|job| answer(job)).collect();
        all.extend(other.join().expect("rendering does not panic"));
        all
    })
}

/// Renders one job.
pub(crate) fn answer(_job: &Job) -> Answer {
    Answer { error: Some("stub".to_owned()), ..Answer::default() }
}

/// Loads and renders an archive.
pub(crate) fn archive(_bytes: &[u8]) -> Answer {
    Answer::default()
}
