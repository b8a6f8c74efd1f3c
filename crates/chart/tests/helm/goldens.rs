//! Every test chart, case and snippet against what Helm printed for it when
//! the goldens were recorded. Needs no Helm.

use crate::support::job::Answer;
use crate::support::report::Report;
use crate::support::{cases, ours};

#[test]
fn charts_print_what_helm_printed() {
    let mut report = Report::default();
    for case in cases::charts() {
        let helm = if let Ok(output) = fs_err::read_to_string(case.golden.with_extension("txt")) {
            let notes = fs_err::read_to_string(case.golden.with_extension("notes")).unwrap_or_default();
            Answer { output: Some(output), notes: Some(notes), ..Answer::default() }
        } else {
            let error = fs_err::read_to_string(case.golden.with_extension("err")).unwrap();
            Answer { error: Some(error), ..Answer::default() }
        };
        report.add(&case.chart, &case.name, &case.job, &helm, &ours::answer(&case.job));
    }
    assert!(report.total() > 100, "{} cases were found", report.total());
    report.finish();
}

#[test]
fn snippets_print_what_helm_printed() {
    let mut report = Report::default();
    for (file, snippets) in cases::snippets() {
        let golden = cases::folder().join(format!("snippets/{file}.golden"));
        let text = fs_err::read_to_string(&golden).unwrap();
        let answers: Vec<Answer> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(answers.len(), snippets.len(), "{} is out of date: record again", golden.display());
        for (snippet, helm) in snippets.iter().zip(&answers) {
            report.add(&file, &snippet.name, &snippet.job, helm, &ours::answer(&snippet.job));
        }
    }
    assert!(report.total() > 500, "the snippets were found");
    report.finish();
}

#[test]
fn every_function_of_helm_has_a_snippet() {
    let names = fs_err::read_to_string(cases::folder().join("FUNCTIONS")).unwrap();
    let mut words = std::collections::BTreeSet::new();
    for (_, snippets) in cases::snippets() {
        for snippet in snippets {
            let name = snippet.name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', " ");
            words.extend(name.split(' ').map(str::to_owned));
        }
    }
    let missing: Vec<_> = names.lines().filter(|name| !words.contains(*name)).collect();
    assert!(missing.is_empty(), "no snippet uses {missing:?}");
}
