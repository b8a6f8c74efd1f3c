//! One call of `helm template`: its chart, values and flags, in the form that
//! the oracle reads as a JSON line and that our side is called with.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A call of `helm template`; the field names are the oracle's.
#[derive(Clone, Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command")]
pub(crate) struct Job {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) chart: Option<PathBuf>,
    /// A chart in memory, instead of one on disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) files: Option<BTreeMap<String, String>>,
    pub(crate) name: String,
    pub(crate) namespace: String,
    /// Texts of value files, in order.
    pub(crate) values: Vec<String>,
    pub(crate) set: Vec<String>,
    pub(crate) set_string: Vec<String>,
    pub(crate) set_json: Vec<String>,
    pub(crate) set_literal: Vec<String>,
    pub(crate) kube_version: String,
    pub(crate) api_versions: Vec<String>,
    pub(crate) show_only: Vec<String>,
    pub(crate) include_crds: bool,
    pub(crate) no_hooks: bool,
    pub(crate) skip_tests: bool,
    pub(crate) skip_schema: bool,
    pub(crate) is_upgrade: bool,
    /// Answer with the notes, too.
    pub(crate) notes: bool,
    /// Answer with the values that templates see, as JSON.
    pub(crate) effective: bool,
    /// How often to measure loading and rendering.
    pub(crate) repeat: u32,
}

/// What a side says to a job.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Answer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) notes: Option<String>,
    #[serde(default, skip_serializing)]
    pub(crate) load_ns: u64,
    #[serde(default, skip_serializing)]
    pub(crate) render_ns: u64,
}

impl Job {
    fn empty() -> Self {
        Self {
            chart: None,
            files: None,
            name: "demo".to_owned(),
            namespace: "default".to_owned(),
            values: Vec::new(),
            set: Vec::new(),
            set_string: Vec::new(),
            set_json: Vec::new(),
            set_literal: Vec::new(),
            kube_version: String::new(),
            api_versions: Vec::new(),
            show_only: Vec::new(),
            include_crds: false,
            no_hooks: false,
            skip_tests: false,
            skip_schema: false,
            is_upgrade: false,
            notes: false,
            effective: false,
            repeat: 0,
        }
    }

    /// Renders a chart on disk, a folder or an archive.
    pub(crate) fn chart(path: impl Into<PathBuf>) -> Self {
        Self { chart: Some(path.into()), ..Self::empty() }
    }

    /// Renders one template as the notes of a chart that has these values.
    pub(crate) fn snippet(template: &str, values: &str) -> Self {
        let files = [
            ("Chart.yaml", "apiVersion: v2\nname: snippet\nversion: 0.1.0\n"),
            ("values.yaml", values),
            ("templates/NOTES.txt", template),
        ];
        Self {
            files: Some(files.map(|(path, text)| (path.to_owned(), text.to_owned())).into()),
            notes: true,
            ..Self::empty()
        }
    }

    /// Adds a value file that may start with `# flags: …`.
    pub(crate) fn case(mut self, text: &str) -> Self {
        let first = text.lines().next().unwrap_or_default();
        if let Some(flags) = first.strip_prefix("# flags: ") {
            let mut words = flags.split(' ');
            while let Some(flag) = words.next() {
                self.flag(flag, &mut words);
            }
        }
        self.values.push(text.to_owned());
        self
    }

    fn flag<'a>(&mut self, flag: &str, words: &mut impl Iterator<Item = &'a str>) {
        let mut word = || words.next().expect("a flag of a case has a value").to_owned();
        match flag {
            "--set" => self.set.push(word()),
            "--set-string" => self.set_string.push(word()),
            "--set-json" => self.set_json.push(word()),
            "--set-literal" => self.set_literal.push(word()),
            "--kube-version" => self.kube_version = word(),
            "--api-versions" => self.api_versions.push(word()),
            "--show-only" => self.show_only.push(word()),
            "--namespace" => self.namespace = word(),
            "--include-crds" => self.include_crds = true,
            "--no-hooks" => self.no_hooks = true,
            "--skip-tests" => self.skip_tests = true,
            "--skip-schema-validation" => self.skip_schema = true,
            "--is-upgrade" => self.is_upgrade = true,
            other => panic!("a case has the flag {other}, which nothing reads"),
        }
    }
}
