//! How many requests are in flight: few at first, more with those that were answered, up to what the user allows. One
//! that finds all connections busy opens another; what that takes from an API server most steps never need.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// How many requests are in flight at first.
const FIRST: usize = 8;

/// After how many answers there may be one more.
const MORE_AFTER: usize = 2;

/// One permit for each request in flight.
pub(crate) struct Turns {
    permits: Semaphore,
    answered: AtomicUsize,
    most: usize,
}

/// The turn of a request, until this is dropped.
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    _permit: Option<SemaphorePermit<'a>>,
}

impl Turns {
    /// At most so many requests; at least one.
    pub(crate) fn new(most: usize) -> Self {
        let most = most.max(1);
        Self { permits: Semaphore::new(most.min(FIRST)), answered: AtomicUsize::new(0), most }
    }

    /// How many requests may be in flight at last.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Waits for the turn of a request.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        // It is never closed.
        Turn { turns: self, _permit: self.permits.acquire().await.ok() }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let answered = self.turns.answered.fetch_add(1, Ordering::Relaxed) + 1;
        if answered.is_multiple_of(MORE_AFTER) && FIRST + answered / MORE_AFTER <= self.turns.most {
            self.turns.permits.add_permits(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn more_are_in_flight_with_each_answer_up_to_the_most() {
        for (most, first) in [(1, 1), (5, 5), (20, FIRST)] {
            let turns = Turns::new(most);
            let all = || -> Vec<_> { std::iter::from_fn(|| turns.turn().now_or_never()).take(100).collect() };
            assert_eq!(all().len(), first);
            for _ in 0..100 {
                assert!(turns.turn().now_or_never().is_some());
            }
            assert_eq!(all().len(), most);
        }
    }
}
