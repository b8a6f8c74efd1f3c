//! Corners in which Helm is found only by what its libraries do: each test holds what Helm 4.3.1 answers.

mod certificates;
mod dependencies;
mod printf;
mod schemas;
mod yaml;

use crate::{Chart, Environment, Error, File, Limits, Release, Standalone, ValueSource, Values, render};

const CHART: &str = "apiVersion: v2\nname: shop\nversion: 0.1.0\n";

/// What files of a chart render as its notes, for some values, in a world.
fn notes_of(
    files: &[(&str, &str)],
    values: &str,
    environment: &mut dyn Environment,
) -> Result<String, Error> {
    let mut all = vec![("Chart.yaml", CHART)];
    all.retain(|(path, _)| !files.iter().any(|(other, _)| other == path));
    all.extend(files);
    let files = all.into_iter().map(|(path, text)| File::new(path, text.as_bytes())).collect();
    let chart = Chart::from_files(files, &Limits::default())?;
    let values = Values::read(&[ValueSource::File("values", values.as_bytes())])?;
    render(&chart, &values, &Release::new("demo", "default"), environment).map(|rendered| rendered.notes)
}

/// What a template renders.
fn notes(template: &str) -> String {
    match notes_of(&[("templates/NOTES.txt", template)], "", &mut Standalone) {
        Ok(notes) => notes,
        Err(error) => format!("error: {error}"),
    }
}

/// Compares what templates render with what Helm renders.
fn compare(cases: &[(&str, &str)]) {
    let wrong: Vec<_> = cases
        .iter()
        .map(|(template, helm)| (template, helm, notes(template)))
        .filter(|(_, helm, ours)| **helm != ours)
        .map(|(template, helm, ours)| format!("{template}\n  helm: {helm:?}\n  ours: {ours:?}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
