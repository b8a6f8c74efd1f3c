//! `cozy render --chart`: any Helm chart, byte for byte as `helm template`
//! prints it with the same flags.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use cozy_chart::{
    Chart, Environment, KubeVersion, Limits, Lookup, Printed, Release, Set, ValueSource, Values,
};

use super::artefacts::{self, Wanted};
use super::remote::Remote;
use crate::error::{Code, Exit, Problem, Said};
use crate::fetch::folder::{self, FolderError};
use crate::files;
use crate::model::artefact::Kind;
use crate::model::cloud::Artifacts;
use crate::settings::Settings;
use crate::ui::Ui;

/// How long the server of a schema is asked again. Helm asks once; nothing is installed here that would be worth a wait.
const SCHEMAS: Duration = Duration::from_secs(5);

/// The largest file of values, in bytes.
const LARGEST: u64 = 64 * 1024 * 1024;

/// Flags of `cozy render --chart`; those of `helm template`.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Any Helm chart")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of Helm")]
pub(super) struct ChartArgs {
    /// A chart's folder or archive, `https://…`, `oci://…`, or its name with --repo, instead of components
    #[arg(long, value_name = "PATH|URL|NAME", conflicts_with = "component")]
    chart: Option<String>,
    /// The repository of a chart that is named
    #[arg(long, requires = "chart", value_name = "URL")]
    repo: Option<String>,
    /// The version of a chart that is not a path, or a constraint such as `^1.2`; else the newest
    #[arg(long, requires = "chart", value_name = "VERSION")]
    version: Option<String>,
    /// Certificates of authorities that the chart's server is checked with
    #[arg(long, requires = "chart", value_name = "PATH")]
    ca_file: Option<PathBuf>,
    /// The release's name
    #[arg(long, requires = "chart", default_value = "release-name", overrides_with = "name")]
    name: String,
    /// The release's namespace
    #[arg(long, requires = "chart", default_value = "default", overrides_with = "namespace")]
    namespace: String,
    /// Files of values, separated by commas; repeatable, the later ones win
    #[arg(long, requires = "chart", value_name = "PATH")]
    values: Vec<String>,
    /// Values: `a.b=1,c[0]=x,d={1,2}`; repeatable
    #[arg(long, requires = "chart", value_name = "VALUES")]
    set: Vec<String>,
    /// Values that are all strings
    #[arg(long, requires = "chart", value_name = "VALUES")]
    set_string: Vec<String>,
    /// Values in JSON
    #[arg(long, requires = "chart", value_name = "VALUES")]
    set_json: Vec<String>,
    /// Values that are the text of files: `key=PATH`
    #[arg(long, requires = "chart", value_name = "VALUES")]
    set_file: Vec<String>,
    /// A value that is taken as it is
    #[arg(long, requires = "chart", value_name = "VALUE")]
    set_literal: Vec<String>,
    /// The Kubernetes version that templates see
    #[arg(long, requires = "chart", value_name = "VERSION", overrides_with = "kube_version")]
    kube_version: Option<String>,
    /// API versions that templates see besides the known ones
    #[arg(long, requires = "chart", value_name = "LIST")]
    api_versions: Vec<String>,
    /// Print CRDs, too
    #[arg(long, requires = "chart", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = boolean, action = clap::ArgAction::Set, overrides_with = "include_crds",
        default_value = "false", hide_default_value = true, value_name = "BOOL")]
    include_crds: bool,
    /// Leave out hooks
    #[arg(long, requires = "chart", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = boolean, action = clap::ArgAction::Set, overrides_with = "no_hooks",
        default_value = "false", hide_default_value = true, value_name = "BOOL")]
    no_hooks: bool,
    /// Leave out tests
    #[arg(long, requires = "chart", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = boolean, action = clap::ArgAction::Set, overrides_with = "skip_tests",
        default_value = "false", hide_default_value = true, value_name = "BOOL")]
    skip_tests: bool,
    /// Only these templates; repeatable
    #[arg(long, requires = "chart", value_name = "TEMPLATE")]
    show_only: Vec<String>,
    /// Render as an upgrade
    #[arg(long, requires = "chart", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = boolean, action = clap::ArgAction::Set, overrides_with = "is_upgrade",
        default_value = "false", hide_default_value = true, value_name = "BOOL")]
    is_upgrade: bool,
    /// Do not check the values against the chart's schema
    #[arg(long, requires = "chart", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        value_parser = boolean, action = clap::ArgAction::Set, overrides_with = "skip_schema_validation",
        default_value = "false", hide_default_value = true, value_name = "BOOL")]
    skip_schema_validation: bool,
}

impl ChartArgs {
    /// The chart, where one is named.
    pub(super) fn chart(&self) -> Option<&str> {
        self.chart.as_deref()
    }
}

/// Runs the command.
pub(super) fn run(chart: &str, args: &ChartArgs, settings: &Settings, ui: &Ui) -> anyhow::Result<Exit> {
    if settings.file != "cozy.yaml" {
        ui.note(
            "`--file` is the cloud's, and not read here: a chart's values are given with `--values`"
                .to_owned(),
        );
    }
    let interrupted = |signal| Ok(artefacts::interrupted(signal, "cozy render", ui));
    let values = args.values()?;
    let release = args.release()?;
    let remote = Remote::of(chart, args.repo.as_deref(), args.version.as_deref());
    let loaded = match &remote {
        None => load(Path::new(chart), &release.limits)?,
        Some(remote) => match remote.fetch(args.ca_file.as_deref(), settings, ui)? {
            Ok(bytes) => Chart::from_archive(&bytes, &release.limits)
                .map_err(|error| refused(&format!("{chart}: {error}")))?,
            Err(signal) => return interrupted(signal),
        },
    };
    let lock = remote.map_or_else(|| "charts".parse().ok(), |remote| remote.lock());
    let mut world = World(BTreeMap::new());
    if let Some(bundle) = lock.filter(|_| !args.skip_schema_validation) {
        let artifacts = Artifacts { ca: args.ca_file.clone(), ..Artifacts::default() };
        let (base, patience) = (Path::new(""), SCHEMAS);
        let wanted = Wanted { bundle: &bundle, artifacts: &artifacts, base, patience, schemas: true };
        match artefacts::schemas_of(&loaded, &wanted, settings, ui)? {
            Ok(schemas) => world.0 = schemas,
            Err(signal) => return interrupted(signal),
        }
    }
    let rendered =
        cozy_chart::render(&loaded, &values, &release, &mut world).map_err(|error| match error {
            cozy_chart::Error::Elsewhere { .. } => {
                let hint = "check the network, or do without it: `--skip-schema-validation`";
                Problem::new(2020, Exit::Usage, error.to_string(), hint).into()
            }
            error => refused(&error.to_string()),
        })?;
    let printed = Printed {
        crds: args.include_crds,
        no_hooks: args.no_hooks,
        skip_tests: args.skip_tests,
        show_only: args.show_only.clone(),
    };
    let text = rendered.print(&printed).map_err(|error| refused(&error.to_string()))?;
    ui.data(&text)?;
    Ok(Exit::Done)
}

impl ChartArgs {
    /// The values of all files and flags.
    fn values(&self) -> anyhow::Result<Values> {
        let mut read: Vec<(String, Vec<u8>)> = Vec::new();
        for list in &self.values {
            let paths = csv(list).map_err(|problem| refused(&format!("`--values {list}`: {problem}")))?;
            for path in paths {
                let content = content(&path)?;
                read.push((path, content));
            }
        }
        let mut sources: Vec<_> =
            read.iter().map(|(name, content)| ValueSource::File(name, content)).collect();
        sources.extend(self.set_json.iter().map(|flag| ValueSource::Set(Set::Json(flag))));
        sources.extend(self.set.iter().map(|flag| ValueSource::Set(Set::Typed(flag))));
        sources.extend(self.set_string.iter().map(|flag| ValueSource::Set(Set::Text(flag))));
        sources.extend(self.set_file.iter().map(|flag| ValueSource::Set(Set::File(flag, &Disk))));
        sources.extend(self.set_literal.iter().map(|flag| ValueSource::Set(Set::Literal(flag))));
        Values::read(&sources).map_err(|error| refused(&error.to_string()))
    }

    /// What it is rendered for.
    fn release(&self) -> anyhow::Result<Release> {
        // As for Helm, no name of a namespace is the usual one.
        let namespace = if self.namespace.is_empty() { "default" } else { &self.namespace };
        let mut release = Release::new(&self.name, namespace);
        release.is_upgrade = self.is_upgrade;
        release.skip_schema = self.skip_schema_validation;
        // A variable that is empty is none for Helm.
        if let Some(version) = self.kube_version.as_ref().filter(|version| !version.is_empty()) {
            release.capabilities.kube = KubeVersion::parse(version).map_err(|problem| refused(&problem))?;
        }
        for list in &self.api_versions {
            let versions =
                csv(list).map_err(|problem| refused(&format!("`--api-versions {list}`: {problem}")))?;
            release.capabilities.api_versions.extend(versions);
        }
        Ok(release)
    }
}

/// The world of a chart without a cluster.
struct World(BTreeMap<String, Bytes>);

impl Environment for World {
    fn schema(&mut self, url: &str) -> Option<Rc<[u8]>> {
        self.0.get(url).map(|bytes| Rc::from(&**bytes))
    }
}

/// The fields of a list as Helm's flags have it: separated by commas, those in
/// quotes may hold some.
fn csv(list: &str) -> Result<Vec<String>, &'static str> {
    let mut fields = Vec::new();
    let mut rest = list.lines().next().unwrap_or_default();
    if rest.is_empty() {
        return Ok(fields);
    }
    loop {
        let mut field = String::new();
        if let Some(mut quoted) = rest.strip_prefix('"') {
            loop {
                let (part, after) = quoted.split_once('"').ok_or("a quote is not closed")?;
                field.push_str(part);
                let Some(more) = after.strip_prefix('"') else {
                    rest = after;
                    break;
                };
                field.push('"');
                quoted = more;
            }
        } else {
            let (part, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
            if part.contains('"') {
                return Err("a quote is within a field that does not begin with one");
            }
            field.push_str(part);
            rest = after;
        }
        fields.push(field);
        if rest.is_empty() {
            return Ok(fields);
        }
        rest = rest.strip_prefix(',').ok_or("text follows a quote that is closed")?;
    }
}

fn refused(problem: &str) -> anyhow::Error {
    Problem::One(Said { code: Code(2020), message: problem.to_owned(), hint: None }, None, Exit::Usage).into()
}

fn unreadable(error: std::io::Error) -> anyhow::Error {
    Problem::new(2021, Exit::Usage, error.to_string(), file_hint(error.kind())).because(error).into()
}

/// What to do about a file that cannot be read.
fn file_hint(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            "check the path: it is relative to the folder that cozy runs in, and a link must lead somewhere"
        }
        ErrorKind::PermissionDenied => {
            "let this user read it with `chmod` or `chown`, or run cozy as one who may"
        }
        ErrorKind::IsADirectory => "name a file in it",
        ErrorKind::FileTooLarge => "is it the right file?",
        _ => "check with `cat` whether other programs can read it",
    }
}

fn content(path: &str) -> anyhow::Result<Vec<u8>> {
    if path == "-" {
        return files::all(std::io::stdin(), LARGEST).map_err(unreadable);
    }
    if ["http://", "https://", "oci://"].iter().any(|scheme| path.starts_with(scheme)) {
        let hint = "download it first: values are read from files only";
        let problem = format!("`{path}` is not a file: nothing is fetched for values");
        return Err(Problem::new(2021, Exit::Usage, problem, hint).into());
    }
    files::read(path.as_ref(), LARGEST).map_err(unreadable)
}

/// A flag's value as Go's `strconv.ParseBool` reads it.
fn boolean(text: &str) -> Result<bool, &'static str> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("it is `true` or `false`"),
    }
}

/// The files of `--set-file`.
#[derive(Debug)]
struct Disk;

impl Lookup for Disk {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        content(path).map_err(|error| error.to_string())
    }
}

/// Reads a chart: a folder, or an archive.
fn load(path: &Path, limits: &Limits) -> anyhow::Result<Chart> {
    let wrong = |error: cozy_chart::Error| refused(&format!("{}: {error}", path.display()));
    if !path.is_dir() {
        let bytes = files::read(path, Kind::Chart.limit() as u64).map_err(unreadable)?;
        return Chart::from_archive(&bytes, limits).map_err(wrong);
    }
    let found = folder::files(path, limits).map_err(|error| match error {
        FolderError::Unreadable(error) => unreadable(error),
        FolderError::Refused(_) | FolderError::TooLarge(_) => refused(&error.to_string()),
    })?;
    Chart::from_files(found, limits).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        component: Option<String>,
        #[command(flatten)]
        args: ChartArgs,
    }

    /// As Helm, the last of a flag counts; clap's own way is to refuse the second.
    #[test]
    fn flags_may_be_given_again() {
        let flags = "cozy --chart x --kube-version 1.30 --kube-version 1.31 --namespace a --namespace b --name c --name d";
        let Command { component, args } = Command::try_parse_from(flags.split(' ')).unwrap();
        assert_eq!(component, None);
        assert_eq!((args.kube_version.as_deref(), &*args.namespace, &*args.name), (Some("1.31"), "b", "d"));
    }

    fn parsed(flags: &[&str]) -> Result<ChartArgs, clap::Error> {
        let all = ["cozy", "--chart", "x"].iter().chain(flags);
        Command::try_parse_from(all).map(|command| command.args)
    }

    /// As scripts write them for Helm.
    #[test]
    fn switches_may_have_values() {
        let flags =
            ["--include-crds=true", "--no-hooks=false", "--skip-tests", "--skip-tests", "--is-upgrade=1"];
        let args = parsed(&flags).unwrap();
        assert!(args.include_crds && !args.no_hooks && args.skip_tests && args.is_upgrade);
        assert!(!args.skip_schema_validation);
        assert!(!parsed(&["--skip-tests", "--skip-tests=f"]).unwrap().skip_tests, "the last one counts");
        assert!(parsed(&["--no-hooks=maybe"]).is_err());
    }

    #[test]
    fn files_of_values_are_a_list_and_what_is_empty_is_not_given() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs_err::write(path("a.yaml"), "a: 1\nb: 1\n").unwrap();
        fs_err::write(path("b.yaml"), "b: 2\n").unwrap();
        let list = format!("{},{}", path("a.yaml"), path("b.yaml"));
        let args = parsed(&["--values", "", "--values", &list, "--kube-version", ""]).unwrap();
        assert_eq!(args.values().unwrap().to_json().unwrap(), r#"{"a":1,"b":2}"#);
        assert_eq!(args.release().unwrap().capabilities.kube, Release::new("a", "b").capabilities.kube);
        for flags in [["--values", "https://a.example/b.yaml"], ["--set-file", "a=https://a.example/b.yaml"]]
        {
            let error = parsed(&flags).unwrap().values().unwrap_err().to_string();
            assert!(error.contains("`https://a.example/b.yaml` is not a file"), "{error}");
        }
    }

    #[test]
    fn lists_of_versions_are_read_as_helm_reads_them() {
        for (list, fields) in [
            ("", vec![]),
            ("a/v1", vec!["a/v1"]),
            ("a/v1,b/v2/C", vec!["a/v1", "b/v2/C"]),
            (r#""a,b""#, vec!["a,b"]),
            (r#""a""b",,c"#, vec![r#"a"b"#, "", "c"]),
        ] {
            assert_eq!(csv(list), Ok(fields.into_iter().map(str::to_owned).collect()), "{list}");
        }
        for list in [r#"a"b"#, r#""a"#, r#""a"b"#] {
            assert!(csv(list).is_err(), "{list}");
        }
    }
}
