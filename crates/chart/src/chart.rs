//! A chart: its own files, and the charts within it (Helm's `chart/v2/loader`).

mod archive;
pub(crate) mod dependencies;
mod ignore;
mod metadata;

use std::collections::BTreeMap;
use std::rc::Rc;

pub use ignore::IgnoreRules;
pub(crate) use ignore::path_matches;
pub(crate) use metadata::{Dependency, Metadata, text as scalar_text};

use crate::error::Error;
use crate::limits::Limits;
use crate::value::Value;
use crate::values;

/// A file of a chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path within the chart, with `/`.
    pub path: String,
    /// Its content.
    pub data: Rc<[u8]>,
}

impl File {
    /// A file.
    pub fn new(path: impl Into<String>, data: impl Into<Rc<[u8]>>) -> Self {
        Self { path: path.into(), data: data.into() }
    }
}

/// A chart.
#[derive(Debug, Clone)]
pub struct Chart {
    pub(crate) metadata: Metadata,
    /// `values.yaml`; `None`: there is none.
    pub(crate) values: Option<Value>,
    pub(crate) schema: Option<Rc<[u8]>>,
    pub(crate) templates: Vec<File>,
    /// All that is neither a template nor read by Helm itself.
    pub(crate) files: Vec<File>,
    pub(crate) dependencies: Vec<Self>,
    /// The path of the chart that Helm takes for the one around it; `None`: of the one around it.
    pub(crate) above: Option<String>,
}

impl Chart {
    /// Reads a chart from its archive (`.tgz`).
    ///
    /// # Errors
    /// Where the archive is damaged or beyond the limits, or the chart is wrong.
    pub fn from_archive(bytes: &[u8], limits: &Limits) -> Result<Self, Error> {
        let mut budget = archive::Budget::new(limits);
        let files = archive::files(bytes, &mut budget)?;
        known_version(&files)?;
        load(files, &mut budget, 0)
    }

    /// Reads a chart from its files, sorted as a walk of its folder has them;
    /// what `.helmignore` names is left out already (see [`IgnoreRules`]).
    ///
    /// # Errors
    /// Where the chart is wrong.
    pub fn from_files(files: Vec<File>, limits: &Limits) -> Result<Self, Error> {
        known_version(&files)?;
        let files = files
            .into_iter()
            .map(|file| match file.data.strip_prefix(archive::BOM) {
                Some(data) => File { data: Rc::from(data), path: file.path },
                None => file,
            })
            .collect();
        load(files, &mut archive::Budget::new(limits), 0)
    }

    /// The chart's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// The chart's version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.metadata.version
    }

    /// The version of what it installs, as it says.
    #[must_use]
    pub fn app_version(&self) -> &str {
        &self.metadata.app_version
    }

    /// The charts within it.
    #[must_use]
    pub fn dependencies(&self) -> &[Self] {
        &self.dependencies
    }

    /// Its values, as JSON.
    #[must_use]
    pub fn values(&self) -> serde_json::Value {
        self.values.as_ref().map_or_else(|| serde_json::json!({}), Value::to_json_value)
    }
}

/// Refuses charts of an `apiVersion` that Helm does not know.
fn known_version(files: &[File]) -> Result<(), Error> {
    let Some(file) = files.iter().find(|file| file.path == "Chart.yaml") else {
        return Err(chart_error("", "Chart.yaml is missing"));
    };
    let metadata = Metadata::read(&file.data, "Chart.yaml", Metadata::default())?;
    match metadata.api_version.as_str() {
        "" | "v1" | "v2" => Ok(()),
        other => Err(chart_error(&metadata.name, &format!("apiVersion {other:?} is not supported"))),
    }
}

fn chart_error(chart: &str, problem: &str) -> Error {
    Error::Chart {
        chart: if chart.is_empty() { "chart".to_owned() } else { chart.to_owned() },
        problem: problem.to_owned(),
    }
}

/// What follows the last `.` of a path's last name.
fn extension(path: &str) -> Option<&str> {
    path.rsplit('/').next()?.rsplit_once('.').map(|(_, extension)| extension)
}

/// Files of the charts within a chart, by the names of their folders or archives.
type Subcharts = BTreeMap<String, Vec<File>>;

fn load(files: Vec<File>, budget: &mut archive::Budget<'_>, depth: usize) -> Result<Chart, Error> {
    if depth > budget.limits.archive_depth {
        return Err(Error::Archive(format!(
            "charts are nested more than {} deep",
            budget.limits.archive_depth
        )));
    }
    let metadata = own_metadata(&files)?;
    let is_described = metadata.is_some();
    let mut chart = Chart {
        metadata: metadata.unwrap_or_default(),
        values: None,
        schema: None,
        templates: Vec::new(),
        files: Vec::new(),
        dependencies: Vec::new(),
        above: None,
    };
    let mut subcharts = Subcharts::new();
    for file in files {
        chart.take(file, &mut subcharts)?;
    }
    if !is_described {
        return Err(chart_error("", "Chart.yaml is missing"));
    }
    chart.metadata.check().map_err(|problem| chart_error(&chart.metadata.name, &problem))?;
    for (name, files) in subcharts {
        if !name.starts_with(['_', '.']) {
            let subchart = load_subchart(&name, files, budget, depth + 1)
                .map_err(|problem| chart_error(&chart.metadata.name, &format!("subchart {name}{problem}")))?;
            chart.dependencies.push(subchart);
        }
    }
    Ok(chart)
}

/// What `Chart.yaml` says; of several, the later ones over the earlier.
fn own_metadata(files: &[File]) -> Result<Option<Metadata>, Error> {
    let mut metadata = None;
    for file in files.iter().filter(|file| file.path == "Chart.yaml") {
        let mut read = Metadata::read(&file.data, "Chart.yaml", metadata.take().unwrap_or_default())?;
        if read.api_version.is_empty() {
            "v1".clone_into(&mut read.api_version);
        }
        metadata = Some(read);
    }
    Ok(metadata)
}

/// Loads a chart within a chart, from its folder or its archive; problems are for what follows its name.
fn load_subchart(
    name: &str,
    files: Vec<File>,
    budget: &mut archive::Budget<'_>,
    depth: usize,
) -> Result<Chart, String> {
    let within = |error: Error| format!(": {error}");
    if extension(name) == Some("tgz") {
        let Some(file) = files.first().filter(|file| file.path == name) else {
            return Err(" is a folder named like an archive".to_owned());
        };
        let files = archive::files(&file.data, budget).map_err(within)?;
        return load(files, budget, depth).map_err(within);
    }
    let own = files.into_iter().filter_map(|file| {
        let (_, path) = file.path.split_once('/')?;
        Some(File::new(path, Rc::clone(&file.data)))
    });
    load(own.collect(), budget, depth).map_err(within)
}

impl Chart {
    /// Puts a file where it belongs.
    fn take(&mut self, file: File, subcharts: &mut Subcharts) -> Result<(), Error> {
        let wrong = |problem: String| chart_error(&self.metadata.name, &problem);
        match file.path.as_str() {
            "Chart.yaml" => {}
            name @ ("Chart.lock" | "requirements.lock") => {
                metadata::check_lock(&file.data, name).map_err(wrong)?;
                if name == "requirements.lock" && self.metadata.api_version == "v1" {
                    self.files.push(file);
                }
            }
            "values.yaml" => {
                let read = values::read_documents(&file.data)
                    .map_err(|problem| wrong(format!("values.yaml: {problem}")))?;
                self.values = Some(read);
            }
            "values.schema.json" => self.schema = Some(file.data),
            "requirements.yaml" => {
                let before = std::mem::take(&mut self.metadata);
                self.metadata = Metadata::read(&file.data, "requirements.yaml", before)?;
                if self.metadata.api_version == "v1" {
                    self.files.push(file);
                }
            }
            path if path.starts_with("templates/") => self.templates.push(file),
            path => match path.strip_prefix("charts/") {
                Some(_) if extension(path) == Some("prov") => self.files.push(file),
                Some(inner) => {
                    let name = inner.split('/').next().unwrap_or(inner).to_owned();
                    let path = inner.to_owned();
                    subcharts.entry(name).or_default().push(File { path, data: file.data });
                }
                None => self.files.push(file),
            },
        }
        Ok(())
    }
}
