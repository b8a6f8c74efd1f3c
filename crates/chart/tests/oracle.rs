//! Fresh comparisons with Helm: all test charts, thousands of mutated values,
//! random calls of every function, and large charts. Needs the oracle that
//! `tests/helm/build` makes, so it runs only when it is named.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod support;

use std::collections::BTreeMap;

use support::cases;
use support::job::{Answer, Job};
use support::oracle::{Rendered, Verdict, ask, validate};
use support::ours;
use support::random::{Seed, call, mutation};
use support::report::Report;

/// How many mutated value sets are compared, over all charts.
const MUTATIONS: usize = 6000;
/// How many random calls are compared.
const CALLS: usize = 6000;
const SEED: u64 = 20_260_801;

/// Charts that no value changes, that take long, or whose sizes must stay small.
const NOT_MUTATED: &[&str] = &["random", "set"];

fn compare(report: &mut Report, group: impl Fn(usize) -> String, jobs: &[(String, Job)]) {
    let helm = ask(jobs.iter().map(|(_, job)| job));
    let ours = ours::answers(jobs.iter().map(|(_, job)| job));
    for (index, ((name, job), (helm, ours))) in jobs.iter().zip(helm.iter().zip(&ours)).enumerate() {
        report.add(&group(index), name, job, helm, ours);
    }
}

#[test]
fn charts_and_cases() {
    let cases = cases::charts();
    let jobs: Vec<_> = cases.iter().map(|case| (case.name.clone(), case.job.clone())).collect();
    let mut report = Report::default();
    compare(&mut report, |index| cases[index].chart.clone(), &jobs);
    report.finish();
}

#[test]
fn snippets() {
    let mut report = Report::default();
    for (file, snippets) in cases::snippets() {
        let jobs: Vec<_> = snippets.into_iter().map(|snippet| (snippet.name, snippet.job)).collect();
        compare(&mut report, |_| file.clone(), &jobs);
    }
    report.finish();
}

#[test]
fn mutated_values() {
    let cases: Vec<_> = cases::charts()
        .into_iter()
        .filter(|case| {
            case.name.ends_with("/default") && !NOT_MUTATED.contains(&case.chart.as_str())
        })
        .collect();
    let questions: Vec<_> =
        cases.iter().map(|case| Job { effective: true, ..case.job.clone() }).collect();
    let mut seed = Seed(SEED);
    let charts: Vec<_> = cases
        .iter()
        .zip(ask(&questions))
        .filter_map(|(case, answer)| {
            let values: serde_json::Value = serde_json::from_str(&answer.output?).unwrap();
            values.as_object().is_some_and(|map| !map.is_empty()).then_some((case, values))
        })
        .collect();
    let mut groups = Vec::new();
    let mut jobs = Vec::new();
    for index in 0..MUTATIONS {
        let (case, values) = &charts[index % charts.len()];
        let text = mutation(&mut seed, values);
        groups.push(case.chart.clone());
        jobs.push((format!("{} with {text}", case.chart), Job { values: vec![text], ..case.job.clone() }));
    }
    let mut report = Report::default();
    compare(&mut report, |index| groups[index].clone(), &jobs);
    report.finish();
}

#[test]
fn random_calls() {
    let folder = cases::folder();
    let values = fs_err::read_to_string(folder.join("snippets/values.yaml")).unwrap();
    let functions = fs_err::read_to_string(folder.join("FUNCTIONS")).unwrap();
    let functions: Vec<_> = functions.lines().collect();
    let mut seed = Seed(SEED);
    let jobs: Vec<_> = (0..CALLS)
        .map(|_| {
            let text = call(&mut seed, &functions);
            let job = Job::snippet(&text, &values);
            (text, job)
        })
        .collect();
    let group = |index: usize| {
        let (text, _): &(String, Job) = &jobs[index];
        let first = text.trim_start_matches("{{ ").split(' ').next().unwrap_or_default();
        first.chars().next().map(|c| format!("{c}…")).unwrap_or_default()
    };
    let mut report = Report::default();
    compare(&mut report, group, &jobs);
    report.finish();
}

#[test]
fn large_charts() {
    let jobs = vec![
        ("60 templates".to_owned(), cases::many_templates(60)),
        ("2,000 objects".to_owned(), cases::many_objects(2000)),
        ("1 MB of values".to_owned(), cases::large_values(1 << 20)),
    ];
    let mut report = Report::default();
    compare(&mut report, |index| jobs[index].0.clone(), &jobs);
    report.finish();
}

/// The batch oracle is the command: same bytes, and both refuse.
#[test]
fn the_oracle_is_the_command() {
    let cases = cases::charts();
    let answers = ask(cases.iter().map(|case| &case.job));
    let helm = support::root().join("target/helm/helm");
    let mut compared = 0;
    for (case, answer) in cases.iter().zip(&answers) {
        let job = &case.job;
        // flags are passed on by the other tests' cases
        let plain = Job { values: Vec::new(), ..job.clone() };
        if !case.name.ends_with("/default") && format!("{plain:?}") != format!("{:?}", Job { notes: true, ..Job::chart(job.chart.clone().unwrap()) }) {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new(&helm);
        command.args(["template", "demo"]).arg(job.chart.as_ref().unwrap());
        for (index, text) in job.values.iter().enumerate() {
            let path = folder.path().join(format!("{index}.yaml"));
            fs_err::write(&path, text).unwrap();
            command.arg("-f").arg(path);
        }
        let result = command.env("HOME", folder.path()).output().unwrap();
        if case.chart == "random" && answer.error.is_none() {
            assert!(result.status.success());
            continue;
        }
        let printed = result.status.success().then(|| String::from_utf8(result.stdout).unwrap());
        assert_eq!(printed, answer.output, "{}", case.name);
        compared += 1;
    }
    assert!(compared > 100, "{compared} cases were compared");
}

/// Writes the goldens: `cargo test -p cozy-chart --test oracle -- --ignored record`.
#[test]
#[ignore = "writes the goldens"]
fn record() {
    let folder = cases::folder();
    let cases = cases::charts();
    for (case, answer) in cases.iter().zip(ask(cases.iter().map(|case| &case.job))) {
        fs_err::create_dir_all(case.golden.parent().unwrap()).unwrap();
        let (txt, err, notes) = (
            case.golden.with_extension("txt"),
            case.golden.with_extension("err"),
            case.golden.with_extension("notes"),
        );
        for path in [&txt, &err, &notes] {
            let _ = fs_err::remove_file(path);
        }
        match answer.output {
            Some(output) => fs_err::write(&txt, output).unwrap(),
            None => fs_err::write(&err, without_folder(&answer.error.unwrap_or_default())).unwrap(),
        }
        if let Some(text) = answer.notes.filter(|text| !text.is_empty()) {
            fs_err::write(&notes, text).unwrap();
        }
    }
    for (file, snippets) in cases::snippets() {
        let lines: Vec<_> = ask(snippets.iter().map(|snippet| &snippet.job))
            .iter()
            .map(|answer| {
                let error = answer.error.as_deref().map(without_folder);
                serde_json::to_string(&Answer { error, ..answer.clone() }).unwrap()
            })
            .collect();
        fs_err::write(folder.join(format!("snippets/{file}.golden")), lines.join("\n") + "\n").unwrap();
    }
    let helm = support::root().join("target/helm");
    let version = fs_err::read_to_string(helm.join("version")).unwrap();
    fs_err::write(folder.join("HELM_VERSION"), version).unwrap();
    let functions = std::process::Command::new(helm.join("helm-oracle")).arg("functions").output().unwrap();
    fs_err::write(folder.join("FUNCTIONS"), functions.stdout).unwrap();
}

/// The oracle's value files are in a temporary folder, whose name would change.
fn without_folder(error: &str) -> String {
    let words = error.split(' ').map(|word| match word.strip_prefix("/tmp/helm-oracle") {
        Some(rest) => rest.split_once('/').map_or(rest, |(_, file)| file),
        None => word,
    });
    let text: String = words.collect::<Vec<_>>().join(" ").chars().take(400).collect();
    text + "\n"
}

/// Compares every chart found under `CHARTS_FROM`, as `tests/run charts --from` does.
#[test]
#[ignore = "needs charts that are not in this repository"]
#[expect(clippy::print_stdout, reason = "the table is the answer")]
fn from_a_folder() {
    #[expect(clippy::disallowed_methods, reason = "the caller says where the charts are")]
    let folder = std::env::var("CHARTS_FROM").unwrap();
    let count: usize = {
        #[expect(clippy::disallowed_methods, reason = "the caller says how many mutations")]
        std::env::var("CHARTS_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    let charts = support::found::charts(std::path::Path::new(&folder));
    println!("{} charts", charts.len());
    let mut seed = Seed(SEED);
    let mut jobs: Vec<(String, Job)> = Vec::new();
    let questions: Vec<_> =
        charts.iter().map(|(_, path)| Job { effective: true, ..Job::chart(path) }).collect();
    let effective = if count > 0 { ask(&questions) } else { vec![Answer::default(); charts.len()] };
    for ((name, path), answer) in charts.iter().zip(effective) {
        let job = Job { notes: true, include_crds: true, ..Job::chart(path) };
        jobs.push((name.clone(), job.clone()));
        let values = answer.output.and_then(|text| serde_json::from_str(&text).ok());
        for _ in 0..count {
            if let Some(values) = &values {
                let job = Job { values: vec![mutation(&mut seed, values)], ..job.clone() };
                jobs.push((name.clone(), job));
            }
        }
    }
    let groups: BTreeMap<usize, String> =
        jobs.iter().enumerate().map(|(index, (name, _))| (index, name.clone())).collect();
    let helm = ask(jobs.iter().map(|(_, job)| job));
    let again = ask(jobs.iter().map(|(_, job)| job));
    let ours = ours::answers(jobs.iter().map(|(_, job)| job));
    let mut report = Report::default();
    for (index, (name, job)) in jobs.iter().enumerate() {
        let masked = support::mask::alike(&helm[index], &again[index], &ours[index]);
        report.add(&groups[&index], name, job, &masked.0, &masked.1);
    }
    let rendered: Vec<_> = jobs
        .iter()
        .zip(&ours)
        .filter(|((_, job), _)| job.values.is_empty())
        .filter_map(|((name, _), answer)| {
            Some(Rendered { chart: name.clone(), output: answer.output.clone()? })
        })
        .collect();
    println!("{:<60} {:>6} {:>8} {:>8}", "custom resources of", "valid", "unknown", "invalid");
    for Verdict { chart, valid, unknown, invalid } in validate(&rendered) {
        if valid + unknown + invalid.len() > 0 {
            println!("{chart:<60} {valid:>6} {unknown:>8} {:>8}", invalid.len());
        }
        for finding in invalid {
            println!("    {finding}");
        }
    }
    report.finish();
}

/// Times of loading and rendering as library calls, ours and Helm's, in one run:
/// `cargo test --release -p cozy-chart --test oracle -- --ignored --nocapture times`.
#[test]
#[ignore = "measures; needs an optimised build"]
#[expect(clippy::print_stdout, reason = "the table is the answer")]
fn times() {
    let mut jobs: Vec<_> = cases::charts()
        .into_iter()
        .filter(|case| case.name.ends_with("/default") && case.chart != "random")
        .map(|case| (case.chart, case.job))
        .collect();
    jobs.push(("60 templates".to_owned(), cases::many_templates(60)));
    jobs.push(("2,000 objects".to_owned(), cases::many_objects(2000)));
    jobs.push(("1 MB of values".to_owned(), cases::large_values(1 << 20)));
    for (_, job) in &mut jobs {
        job.repeat = 5;
    }
    let helm = ask(jobs.iter().map(|(_, job)| job));
    println!("{:<20} {:>12} {:>12} {:>7}", "chart", "helm, µs", "ours, µs", "ratio");
    for ((name, job), helm) in jobs.iter().zip(helm) {
        let mut samples: Vec<_> = (0..5)
            .map(|_| {
                let start = std::time::Instant::now();
                let answer = ours::answer(job);
                (start.elapsed(), answer.error.is_some())
            })
            .collect();
        samples.sort();
        let (median, refused) = samples[2];
        if refused || helm.error.is_some() {
            continue;
        }
        let theirs = u128::from(helm.load_ns + helm.render_ns) / 1000;
        let mine = median.as_micros().max(1);
        println!("{name:<20} {theirs:>12} {mine:>12} {:>5}.{}", theirs / mine, theirs * 10 / mine % 10);
    }
}
