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
    act: impl AsyncFnMut() -> Result<T, E>,
    report: impl FnMut(Retry<'_, E>),
) -> Result<T, E> {
    until_stopped(deadline, std::future::pending, act, report).await
}

/// The same; when `stop` has ended, nothing is tried again either. A try that is under way comes to its end.
pub(crate) async fn until_stopped<T, E: Transient>(
    deadline: Instant,
    stop: impl AsyncFn(),
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
        // Who says 0 s is not asked in a loop either; what others say may be any number.
        let wait = error.retry_after().unwrap_or_default().max(delay);
        if !error.is_transient() || deadline.saturating_duration_since(Instant::now()) < wait {
            return Err(error);
        }
        report(Retry { attempt, delay: wait, error: &error });
        tokio::select! {
            biased;
            () = stop() => return Err(error),
            () = pause(wait) => {}
        }
        delay = (delay * 2).min(LONGEST);
        attempt += 1;
    }
}

/// Lets time pass: between tries, and for steps that only stand in for work.
#[expect(clippy::disallowed_methods, reason = "the one place where time passes without an event")]
pub(crate) async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Busy(Option<Duration>);

    impl Display for Busy {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("busy")
        }
    }

    impl Transient for Busy {
        fn is_transient(&self) -> bool {
            true
        }

        fn retry_after(&self) -> Option<Duration> {
            self.0
        }
    }

    /// How often a server is asked within ten seconds that says so each time.
    async fn tries(after: Option<Duration>) -> u32 {
        let mut count = 0;
        let deadline = Instant::now() + Duration::from_secs(10);
        let answer: Result<(), Busy> = until(
            deadline,
            async || {
                count += 1;
                Err(Busy(after))
            },
            |_| {},
        )
        .await;
        assert!(answer.is_err());
        count
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_says_when_to_ask_again_but_never_at_once_or_beyond_the_deadline() {
        let own = tries(None).await;
        assert_eq!(tries(Some(Duration::ZERO)).await, own);
        assert_eq!(tries(Some(Duration::from_secs(u64::MAX))).await, 1);
        assert_eq!(tries(Some(Duration::from_secs(4))).await, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn once_it_is_to_stop_nothing_is_tried_again() {
        let begun = Instant::now();
        let mut tries = 0;
        let act = async || {
            tries += 1;
            // A try that is under way comes to its end.
            pause(Duration::from_secs(2)).await;
            Err::<(), _>(ClusterError::NoSuchKind { object: "Thing n/a".to_owned() })
        };
        let stop = async || tokio::time::sleep_until(begun + Duration::from_secs(7)).await;
        let deadline = begun + Duration::from_secs(600);
        let error = until_stopped(deadline, stop, act, |_| {}).await.unwrap_err();
        assert!(matches!(error, ClusterError::NoSuchKind { .. }));
        // After 0, 2.05, 4.15 and 6.35 s.
        assert_eq!((tries, begun.elapsed().as_secs()), (4, 8));
    }
}
