//! Whether the machine was suspended while a lock was held: its holder's time stood still, and that of others did not.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// By how much two clocks may differ that are read one after the other, while the machine is awake.
const TOLERANCE: Duration = Duration::from_secs(2);

/// Tells whether a lock may be relied on: not after the machine was suspended, until it was renewed since.
pub(crate) struct SuspendCheck {
    /// The time since the machine's boot with that of suspends, which [`Instant`] does not count; `None`: not known.
    uptime: Box<dyn Fn() -> Option<Duration> + Send + Sync>,
    begun: Instant,
    /// By how much that was ahead of this process's time when the lock was certainly ours.
    confirmed: watch::Sender<Option<Duration>>,
}

impl SuspendCheck {
    /// Begins with a lock that is certainly ours.
    pub(crate) fn new(uptime: impl Fn() -> Option<Duration> + Send + Sync + 'static) -> Self {
        let check =
            Self { uptime: Box::new(uptime), begun: Instant::now(), confirmed: watch::Sender::new(None) };
        check.confirm(check.ahead());
        check
    }

    /// By how much the machine's time is ahead of this process's.
    pub(super) fn ahead(&self) -> Option<Duration> {
        Some((self.uptime)()?.saturating_sub(self.begun.elapsed()))
    }

    /// The lock was certainly ours when the machine's time was this much ahead.
    pub(super) fn confirm(&self, ahead: Option<Duration>) {
        self.confirmed.send_replace(ahead);
    }

    /// Whether the machine was suspended since the lock was certainly ours.
    pub(super) fn was_suspended(&self) -> bool {
        let confirmed = *self.confirmed.borrow();
        confirmed.zip(self.ahead()).is_some_and(|(then, now)| now.saturating_sub(then) >= TOLERANCE)
    }

    /// Ends when the lock may be relied on.
    pub(crate) async fn sure(&self) {
        let mut confirmed = self.confirmed.subscribe();
        while self.was_suspended() {
            // The sender lives as long as this does.
            let _ = confirmed.changed().await;
        }
    }
}
