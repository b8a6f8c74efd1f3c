//! Fresh comparisons with Helm: all test charts, thousands of mutated values,
//! random calls of every function, and large charts. Needs the oracle that
//! `tests/helm/build` makes, so they run only when they are named.

use crate::support::cases;
use crate::support::job::Job;
use crate::support::oracle::ask;
use crate::support::ours;
use crate::support::random::{Seed, call, mutation};
use crate::support::report::Report;

/// How many mutated value sets are compared, over all charts: at least 5,000
/// different ones.
const MUTATIONS: usize = 8000;
/// The least of them that both render: what both refuse says little.
const RENDERED: usize = 3000;
/// How many random calls are compared.
const CALLS: usize = 6000;
/// How many bent flags, value files and templates are compared.
const BENT: u64 = 1000;
const SEED: u64 = 20_260_801;

/// Charts that no value changes, that take long, or whose years must stay below 10,000.
const NOT_MUTATED: &[&str] = &["random", "set", "dates"];

fn compare(report: &mut Report, group: impl Fn(usize) -> String, jobs: &[(String, Job)]) {
    let helm = ask(jobs.iter().map(|(_, job)| job));
    let ours = ours::answers(jobs.iter().map(|(_, job)| job));
    for (index, ((name, job), (helm, ours))) in jobs.iter().zip(helm.iter().zip(&ours)).enumerate() {
        report.add(&group(index), name, job, helm, ours);
    }
}

#[test]
#[ignore = "needs the oracle"]
fn charts_and_cases() {
    let cases = cases::charts();
    let jobs: Vec<_> = cases.iter().map(|case| (case.name.clone(), case.job.clone())).collect();
    let mut report = Report::default();
    compare(&mut report, |index| cases[index].chart.clone(), &jobs);
    report.finish();
}

#[test]
#[ignore = "needs the oracle"]
fn snippets() {
    let mut report = Report::default();
    for (file, snippets) in cases::snippets() {
        let jobs: Vec<_> = snippets.into_iter().map(|snippet| (snippet.name, snippet.job)).collect();
        compare(&mut report, |_| file.clone(), &jobs);
    }
    report.finish();
}

#[test]
#[ignore = "needs the oracle"]
#[expect(clippy::print_stdout, reason = "the count is what a run of the tests shows")]
fn mutated_values() {
    let cases: Vec<_> = cases::charts()
        .into_iter()
        .filter(|case| case.name.ends_with("/default") && !NOT_MUTATED.contains(&case.chart.as_str()))
        .collect();
    let questions: Vec<_> = cases.iter().map(|case| Job { effective: true, ..case.job.clone() }).collect();
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
    let different: std::collections::BTreeSet<_> = jobs.iter().map(|(name, _)| name).collect();
    println!("{} value sets, {} of them different, {} rendered", jobs.len(), different.len(), report.equal());
    assert!(different.len() >= 5000 && report.equal() >= RENDERED, "too few value sets are compared");
    report.finish();
}

#[test]
#[ignore = "needs the oracle"]
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

/// Bent flags, value files and templates: equal, or both refuse.
#[test]
#[ignore = "needs the oracle"]
fn bent_input() {
    let jobs: Vec<_> = (0..BENT)
        .flat_map(|index| {
            let seed = || Seed(SEED + index);
            let flag = crate::fuzz::flag(&mut seed());
            let values = crate::fuzz::value_file(&mut seed());
            let template = crate::fuzz::template(&mut seed());
            [("flags", flag), ("values", values), ("templates", template)]
        })
        .map(|(name, job)| (name.to_owned(), job))
        .collect();
    let mut report = Report::default();
    compare(&mut report, |index| jobs[index].0.clone(), &jobs);
    report.finish();
}

#[test]
#[ignore = "needs the oracle"]
fn large_charts() {
    let jobs = cases::large();
    let mut report = Report::default();
    compare(&mut report, |index| jobs[index].0.clone(), &jobs);
    report.finish();
}

/// The batch oracle is the command: same bytes, and both refuse.
#[test]
#[ignore = "needs the oracle"]
fn the_oracle_is_the_command() {
    let cases = cases::charts();
    let answers = ask(cases.iter().map(|case| &case.job));
    let helm = crate::support::root().join("target/helm/helm");
    let mut compared = 0;
    for (case, answer) in cases.iter().zip(&answers) {
        let job = &case.job;
        // flags are passed on by the other tests' cases
        let plain = Job { values: Vec::new(), ..job.clone() };
        if !case.name.ends_with("/default")
            && format!("{plain:?}")
                != format!("{:?}", Job { notes: true, ..Job::chart(job.chart.clone().unwrap()) })
        {
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
