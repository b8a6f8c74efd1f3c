//! How long something takes, whatever else the machine does.

use std::time::Duration;

/// What a function answers, and how long this thread computed for it.
pub(crate) fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let began = processor_time();
    let answer = run();
    (answer, processor_time().saturating_sub(began))
}

fn processor_time() -> Duration {
    /// `sysconf(_SC_CLK_TCK)`, which is the same on all of Linux.
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs_err::read_to_string("/proc/thread-self/stat").unwrap();
    // utime and stime are the fields 14 and 15; the second, the name, may hold spaces (proc_pid_stat(5)).
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: u32 = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u32>().unwrap()).sum();
    TICK * ticks
}
