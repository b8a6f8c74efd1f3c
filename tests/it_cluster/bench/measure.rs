//! A process from its start to its end: how long it took, and the most memory that it had.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a process took.
pub(super) struct Took {
    pub(super) wall: Duration,
    /// The most memory that was resident, in MiB; 0 where it ended before anybody looked.
    pub(super) peak: f64,
    /// What it wrote to stdout.
    pub(super) said: String,
}

/// Runs a process, which must succeed.
pub(super) fn run(command: &mut Command) -> Took {
    let folder = tempfile::tempdir().unwrap();
    let [out, err] = ["out", "err"].map(|name| folder.path().join(name));
    let file = |path| Stdio::from(fs_err::File::create(path).unwrap().into_parts().0);
    command.stdin(Stdio::null()).stdout(file(&out)).stderr(file(&err));
    let begun = Instant::now();
    let mut child = command.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let ended = loop {
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        let text = fs_err::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u32>().ok());
        peak = peak.max(kib.unwrap_or(0));
        // The kernel tells of a process' end by a signal to its parent, which this one does not take.
        std::thread::park_timeout(Duration::from_millis(1));
    };
    let wall = begun.elapsed();
    let said = fs_err::read_to_string(&out).unwrap();
    assert!(ended.success(), "{command:?}: {ended}\n{said}{}", fs_err::read_to_string(&err).unwrap());
    Took { wall, peak: f64::from(peak) / 1024.0, said }
}

/// The shortest of some runs.
pub(super) fn best(mut once: impl FnMut() -> Took, times: usize) -> Took {
    let first = once();
    (1..times).fold(first, |best, _| {
        let next = once();
        if next.wall < best.wall { next } else { best }
    })
}
