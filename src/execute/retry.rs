//! Trying again: which errors pass by themselves is said by the error, how
//! long to wait and until when is said here, and nowhere else.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::error::ClusterError;

/// An error that knows whether it passes by itself.
pub(crate) trait Transient: Display {
    /// Whether trying again may help.
    fn is_transient(&self) -> bool;
    /// When the other side wants to be asked again.
    fn retry_after(&self) -> Option<Duration>;
}

impl Transient for ClusterError {
    fn is_transient(&self) -> bool {
        self.is_transient()
    }

    fn retry_after(&self) -> Option<Duration> {
        self.retry_after()
    }
}

/// The delay after the first failure; doubled each time.
const FIRST: Duration = Duration::from_millis(50);

/// The longest delay.
const LONGEST: Duration = Duration::from_secs(5);

/// One failure that is tried again.
#[derive(Debug)]
pub(crate) struct Retry<'a, E = ClusterError> {
    /// The first is 1.
    pub(crate) attempt: u32,
    /// How long until the next try.
    pub(crate) delay: Duration,
    /// Why.
    pub(crate) error: &'a E,
}

/// Does `act` until it succeeds, fails for good, or the deadline passes; then
/// the last error is the answer.
pub(crate) async fn until<T, E: Transient>(
    deadline: Instant,
    mut act: impl AsyncFnMut() -> Result<T, E>,
    mut report: impl FnMut(Retry<'_, E>),
) -> Result<T, E> {
    let mut delay = FIRST;
    let mut attempt = 1;
    loop {
        let error = match act().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let wait = error.retry_after().unwrap_or(delay);
        if !error.is_transient() || Instant::now() + wait > deadline {
            return Err(error);
        }
        report(Retry { attempt, delay: wait, error: &error });
        pause(wait).await;
        delay = (delay * 2).min(LONGEST);
        attempt += 1;
    }
}

/// Lets time pass: between tries, and for steps that only stand in for work.
#[expect(clippy::disallowed_methods, reason = "the one place where time passes without an event")]
pub(crate) async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}
