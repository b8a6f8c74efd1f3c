//! Lists whose parts are independent of each other, worked on by all processors.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Shorter parts are not worth a turn of their own.
const SHORTEST: usize = 16;

/// How many turns each thread has, if all parts take equally long.
const TURNS: usize = 8;

/// Maps parts of a list on all processors; the answers are in its order. A thread takes the next part when it is done
/// with one: parts may take longer than others, and processors may have other work.
pub(crate) fn in_parallel<T: Sync, A: Send>(all: &[T], map: impl Fn(&[T]) -> Vec<A> + Sync) -> Vec<A> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let parts: Vec<&[T]> = all.chunks(all.len().div_ceil(threads * TURNS).max(SHORTEST)).collect();
    if threads == 1 || parts.len() <= 1 {
        return map(all);
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let turns = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        let turns = turns.map_while(|turn| Some((turn, map(parts.get(turn)?))));
        turns.collect::<Vec<(usize, Vec<A>)>>()
    };
    let mut answers = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(parts.len())).map(|_| scope.spawn(work)).collect();
        let mut answers = work();
        for other in others {
            answers.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        answers
    });
    answers.sort_unstable_by_key(|(turn, _)| *turn);
    answers.into_iter().flat_map(|(_, answers)| answers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_in_the_order_of_the_list() {
        for length in [0, 1, SHORTEST, SHORTEST + 1, 1_000] {
            let all: Vec<usize> = (0..length).collect();
            let twice = in_parallel(&all, |part| part.iter().map(|number| number * 2).collect());
            assert_eq!(twice, all.iter().map(|number| number * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_panic_in_one_part_is_a_panic_of_the_whole() {
        let all: Vec<usize> = (0..1_000).collect();
        let panic = std::panic::catch_unwind(|| {
            in_parallel(&all, |part| {
                assert!(!part.contains(&777), "not this one");
                part.to_vec()
            })
        });
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"not this one"));
    }
}
