//! Our side: the library, called as `helm template` calls Helm's.

use std::path::Path;
use std::time::Instant;

use cozy_chart::{
    Chart, Environment, Error, File, IgnoreRules, KubeVersion, Limits, Printed, Release, Set, ValueSource,
    Values,
};

use super::job::{Answer, Job};

/// Renders all jobs on two threads, in order.
pub(crate) fn answers<'a>(jobs: impl IntoIterator<Item = &'a Job>) -> Vec<Answer> {
    let jobs: Vec<&Job> = jobs.into_iter().collect();
    let (left, right) = jobs.split_at(jobs.len() / 2);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| right.iter().map(|job| answer(job)).collect::<Vec<_>>());
        let mut all: Vec<_> = left.iter().map(|job| answer(job)).collect();
        all.extend(other.join().expect("rendering does not panic"));
        all
    })
}

/// Renders one job.
pub(crate) fn answer(job: &Job) -> Answer {
    rendered(job).unwrap_or_else(|error| Answer { error: Some(error.to_string()), ..Answer::default() })
}

/// Loads and renders an archive.
pub(crate) fn archive(bytes: &[u8]) -> Answer {
    let release = Release::new("demo", "default");
    let chart = Chart::from_archive(bytes, &Limits::default());
    let answered = chart.and_then(|chart| {
        let rendered = cozy_chart::render(&chart, &Values::default(), &release, &mut World)?;
        rendered.print(&Printed::default())
    });
    match answered {
        Ok(output) => Answer { output: Some(output), ..Answer::default() },
        Err(error) => Answer { error: Some(error.to_string()), ..Answer::default() },
    }
}

/// The world without a cluster, where it is UTC.
struct World;

impl Environment for World {
    fn time_zone(&mut self) -> Option<std::rc::Rc<str>> {
        Some("UTC".into())
    }
}

fn rendered(job: &Job) -> Result<Answer, Error> {
    let began = Instant::now();
    let mut sources: Vec<ValueSource<'_>> =
        job.values.iter().map(|text| ValueSource::File("values", text.as_bytes())).collect();
    sources.extend(job.set_json.iter().map(|flag| ValueSource::Set(Set::Json(flag))));
    sources.extend(job.set.iter().map(|flag| ValueSource::Set(Set::Typed(flag))));
    sources.extend(job.set_string.iter().map(|flag| ValueSource::Set(Set::Text(flag))));
    sources.extend(job.set_literal.iter().map(|flag| ValueSource::Set(Set::Literal(flag))));
    let values = Values::read(&sources)?;
    let mut release = Release::new(&job.name, &job.namespace);
    release.is_upgrade = job.is_upgrade;
    release.skip_schema = job.skip_schema;
    if !job.kube_version.is_empty() {
        release.capabilities.kube = KubeVersion::parse(&job.kube_version).map_err(Error::Values)?;
    }
    release.capabilities.api_versions.extend(job.api_versions.iter().cloned());
    let chart = load(job, &release.limits)?;
    let load_ns = nanoseconds(began);
    let began = Instant::now();
    let rendered = cozy_chart::render(&chart, &values, &release, &mut World)?;
    let printed = Printed {
        crds: job.include_crds,
        no_hooks: job.no_hooks,
        skip_tests: job.skip_tests,
        show_only: job.show_only.clone(),
    };
    let output = rendered.print(&printed)?;
    let render_ns = nanoseconds(began);
    let notes = job.notes.then_some(rendered.notes);
    Ok(Answer { output: Some(output), notes, load_ns, render_ns, ..Answer::default() })
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn load(job: &Job, limits: &Limits) -> Result<Chart, Error> {
    if let Some(files) = &job.files {
        let files = files.iter().map(|(path, text)| File::new(path, text.as_bytes())).collect();
        return Chart::from_files(files, limits);
    }
    let path = job.chart.as_ref().expect("a job has a chart");
    if !path.is_dir() {
        let bytes = fs_err::read(path).map_err(|error| Error::Archive(error.to_string()))?;
        return Chart::from_archive(&bytes, limits);
    }
    let rules = match fs_err::read_to_string(path.join(".helmignore")) {
        Ok(text) => IgnoreRules::parse(Some(&text)).map_err(Error::Archive)?,
        Err(_) => IgnoreRules::parse(None).map_err(Error::Archive)?,
    };
    let mut files = Vec::new();
    walk(path, "", &rules, &mut files)?;
    Chart::from_files(files, limits)
}

/// Files of a folder, in the order of their names; links are followed.
fn walk(folder: &Path, within: &str, rules: &IgnoreRules, files: &mut Vec<File>) -> Result<(), Error> {
    let wrong = |error: std::io::Error| Error::Archive(error.to_string());
    let mut entries: Vec<_> =
        fs_err::read_dir(folder).map_err(wrong)?.collect::<Result<_, _>>().map_err(wrong)?;
    entries.sort_by_key(fs_err::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if within.is_empty() { name } else { format!("{within}/{name}") };
        let is_folder = entry.path().is_dir();
        if rules.ignores(&path, is_folder) {
            continue;
        }
        if is_folder {
            walk(&entry.path(), &path, rules, files)?;
        } else {
            files.push(File::new(path, fs_err::read(entry.path()).map_err(wrong)?));
        }
    }
    Ok(())
}
