//! How long rendering takes, beside Helm in the same run: as a library call,
//! and as a process. Needs Helm, an optimised build, and a binary of cozy, so
//! it runs only when `tests/run` names it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::job::{Answer, Job};
use crate::support::oracle::ask;
use crate::support::{cases, ours};

/// How often each is measured in a round. The least of all counts: it is what
/// others on the machine disturbed least.
const SAMPLES: usize = 5;

/// How often they take turns: what disturbs one for seconds disturbs the other, too.
const ROUNDS: usize = 4;

/// Helm's time ÷ ours on charts of more than 50 templates, and on large ones:
/// the targets are 10 and 3, half of which also holds on a busy machine.
const LIBRARY: f64 = 10.0 / 2.0;
const PROCESS: f64 = 3.0 / 2.0;

/// cozy renders with this allocator, too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn least(mut sample: impl FnMut() -> Duration) -> Duration {
    (0..SAMPLES).map(|_| sample()).min().unwrap()
}

fn timed(run: impl FnOnce()) -> Duration {
    let began = Instant::now();
    run();
    began.elapsed()
}

/// Charts that render, by name.
fn jobs() -> Vec<(String, Job)> {
    let small = cases::charts()
        .into_iter()
        .filter(|case| case.name.ends_with("/default") && case.chart != "random")
        .map(|case| (case.chart, case.job));
    let repeat = u32::try_from(SAMPLES).unwrap();
    small.chain(cases::large()).map(|(name, job)| (name, Job { repeat, ..job })).collect()
}

/// Times of reading values and chart, rendering and printing, in one process each.
#[test]
#[ignore = "measures; needs an optimised build"]
#[expect(clippy::print_stdout, reason = "the table is the answer")]
fn library_calls() {
    let large: Vec<String> = cases::large().into_iter().map(|(name, _)| name).collect();
    let jobs = jobs();
    println!("{:<20} {:>12} {:>12} {:>7}", "library call", "helm, µs", "ours, µs", "ratio");
    let mut slow = Vec::new();
    let mut times = vec![(Duration::MAX, Duration::MAX); jobs.len()];
    for _ in 0..ROUNDS {
        for (((_, job), helm), times) in jobs.iter().zip(ask(jobs.iter().map(|(_, job)| job))).zip(&mut times)
        {
            if helm.error.is_none() && ours::answer(job).error.is_none() {
                let Answer { load_ns, render_ns, .. } = helm;
                times.0 = times.0.min(Duration::from_nanos(load_ns + render_ns));
                times.1 = times.1.min(least(|| timed(|| drop(ours::answer(job)))));
            }
        }
    }
    for ((name, _), (theirs, ours)) in jobs.iter().zip(times) {
        if ours == Duration::MAX {
            continue;
        }
        let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
        println!("{name:<20} {:>12} {:>12} {ratio:>7.1}", theirs.as_micros(), ours.as_micros());
        if large.contains(name) && ratio < LIBRARY {
            slow.push(format!("{name}: {ratio:.1}"));
        }
    }
    assert!(slow.is_empty(), "below {LIBRARY}: {slow:?}");
}

/// Writes a chart in memory, and its value files, into a folder.
fn written(job: &Job, folder: &Path) -> Vec<PathBuf> {
    for (path, text) in job.files.as_ref().expect("a chart in memory") {
        let path = folder.join("chart").join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
    let files = job.values.iter().enumerate().map(|(index, text)| {
        let path = folder.join(format!("{index}.yaml"));
        fs_err::write(&path, text).unwrap();
        path
    });
    files.collect()
}

/// `helm template` and `cozy render --chart`, which `COZY` is.
#[test]
#[ignore = "measures; needs the binary"]
#[expect(clippy::print_stdout, reason = "the table is the answer")]
fn processes() {
    #[expect(clippy::disallowed_methods, reason = "the caller says where the binary is")]
    let cozy = PathBuf::from(std::env::var("COZY").unwrap());
    let helm = crate::support::root().join("target/helm/helm");
    println!("{:<20} {:>12} {:>12} {:>7}", "process", "helm, µs", "ours, µs", "ratio");
    let mut slow = Vec::new();
    for (name, job) in cases::large() {
        let folder = tempfile::tempdir().unwrap();
        let values = written(&job, folder.path());
        let run = |program: &Path, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments).env("HOME", folder.path()).current_dir(folder.path());
            for path in &values {
                command.arg("--values").arg(path);
            }
            let output = command.stdin(Stdio::null()).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        let theirs = || run(&helm, &["template", "demo", "chart"]);
        let ours = || run(&cozy, &["render", "--name", "demo", "--chart", "chart"]);
        assert!(theirs() == ours(), "{name}: the bytes differ");
        let (theirs, ours) = (least(|| timed(|| drop(theirs()))), least(|| timed(|| drop(ours()))));
        let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
        println!("{name:<20} {:>12} {:>12} {ratio:>7.1}", theirs.as_micros(), ours.as_micros());
        if ratio < PROCESS {
            slow.push(format!("{name}: {ratio:.1}"));
        }
    }
    assert!(slow.is_empty(), "below {PROCESS}: {slow:?}");
}
