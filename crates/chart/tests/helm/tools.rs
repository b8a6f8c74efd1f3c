//! What is run by hand: recording goldens, charts from elsewhere, times.

use std::collections::BTreeMap;

use crate::support::job::{Answer, Job};
use crate::support::oracle::{Rendered, Verdict, ask, validate};
use crate::support::random::{Seed, mutation};
use crate::support::report::Report;
use crate::support::{cases, ours};

const SEED: u64 = 20_260_802;

/// Writes the goldens, as `tests/run charts --record` does.
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
    let helm = crate::support::root().join("target/helm");
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
    let charts = crate::support::found::charts(std::path::Path::new(&folder));
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
        let masked = crate::support::mask::alike(&helm[index], &again[index], &ours[index]);
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
