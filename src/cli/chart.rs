//! `cozy render --chart`: any Helm chart, byte for byte as `helm template`
//! prints it with the same flags.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use cozy_chart::{
    Chart, File, IgnoreRules, KubeVersion, Limits, Lookup, Printed, Release, Set, Standalone, ValueSource,
    Values,
};

use super::artefacts;
use super::remote::Remote;
use crate::error::{Code, Exit, Problem, Said};
use crate::settings::Settings;
use crate::ui::Ui;

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
    /// A file of values; repeatable, the later ones win
    #[arg(long, requires = "chart", value_name = "PATH")]
    values: Vec<PathBuf>,
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
    #[arg(long, requires = "chart")]
    include_crds: bool,
    /// Leave out hooks
    #[arg(long, requires = "chart")]
    no_hooks: bool,
    /// Leave out tests
    #[arg(long, requires = "chart")]
    skip_tests: bool,
    /// Only these templates; repeatable
    #[arg(long, requires = "chart", value_name = "TEMPLATE")]
    show_only: Vec<String>,
    /// Render as an upgrade
    #[arg(long, requires = "chart")]
    is_upgrade: bool,
    /// Do not check the values against the chart's schema
    #[arg(long, requires = "chart")]
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
    let files = args.values.iter().map(|path| Ok((path.display().to_string(), content(path)?)));
    let files: Vec<(String, Vec<u8>)> = files.collect::<anyhow::Result<_>>()?;
    let mut sources: Vec<_> = files.iter().map(|(name, content)| ValueSource::File(name, content)).collect();
    sources.extend(args.set_json.iter().map(|flag| ValueSource::Set(Set::Json(flag))));
    sources.extend(args.set.iter().map(|flag| ValueSource::Set(Set::Typed(flag))));
    sources.extend(args.set_string.iter().map(|flag| ValueSource::Set(Set::Text(flag))));
    sources.extend(args.set_file.iter().map(|flag| ValueSource::Set(Set::File(flag, &Disk))));
    sources.extend(args.set_literal.iter().map(|flag| ValueSource::Set(Set::Literal(flag))));
    let values = Values::read(&sources).map_err(|error| refused(&error.to_string()))?;
    // As for Helm, no name of a namespace is the usual one.
    let namespace = if args.namespace.is_empty() { "default" } else { &args.namespace };
    let mut release = Release::new(&args.name, namespace);
    release.is_upgrade = args.is_upgrade;
    release.skip_schema = args.skip_schema_validation;
    if let Some(version) = &args.kube_version {
        release.capabilities.kube = KubeVersion::parse(version).map_err(|problem| refused(&problem))?;
    }
    for list in &args.api_versions {
        let versions =
            csv(list).map_err(|problem| refused(&format!("`--api-versions {list}`: {problem}")))?;
        release.capabilities.api_versions.extend(versions);
    }
    let chart = match Remote::of(chart, args.repo.as_deref(), args.version.as_deref()) {
        None => load(Path::new(chart), &release.limits)?,
        Some(remote) => match remote.fetch(args.ca_file.as_deref(), settings, ui)? {
            Ok(bytes) => Chart::from_archive(&bytes, &release.limits)
                .map_err(|error| refused(&format!("{chart}: {error}")))?,
            Err(signal) => return Ok(artefacts::interrupted(signal, "cozy render", ui)),
        },
    };
    let rendered = cozy_chart::render(&chart, &values, &release, &mut Standalone)
        .map_err(|error| refused(&error.to_string()))?;
    let printed = Printed {
        crds: args.include_crds,
        no_hooks: args.no_hooks,
        skip_tests: args.skip_tests,
        show_only: args.show_only.clone(),
    };
    let text = rendered.print(&printed).map_err(|error| refused(&error.to_string()))?;
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(Exit::Done)
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
    let said = Said { code: Code(2021), message: error.to_string(), hint: None };
    Problem::One(said, Some(error.into()), Exit::Usage).into()
}

fn content(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut content = Vec::new();
        std::io::stdin().read_to_end(&mut content).map_err(unreadable)?;
        return Ok(content);
    }
    fs_err::read(path).map_err(unreadable)
}

/// The files of `--set-file`.
#[derive(Debug)]
struct Disk;

impl Lookup for Disk {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        content(Path::new(path)).map_err(|error| error.to_string())
    }
}

/// Reads a chart: a folder without what its `.helmignore` names, or an archive.
fn load(path: &Path, limits: &Limits) -> anyhow::Result<Chart> {
    let wrong = |error: cozy_chart::Error| refused(&format!("{}: {error}", path.display()));
    if !path.is_dir() {
        let bytes = fs_err::read(path).map_err(unreadable)?;
        return Chart::from_archive(&bytes, limits).map_err(wrong);
    }
    let rules = fs_err::read(path.join(".helmignore")).ok();
    let rules = rules.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let rules = IgnoreRules::parse(rules.as_deref()).map_err(|problem| refused(&problem))?;
    let mut walk = Walk { rules, files: Vec::new(), bytes: limits.archive_bytes, count: limits.files };
    walk.folder(path, "", 0)?;
    Chart::from_files(walk.files, limits).map_err(wrong)
}

/// A walk through a chart's folder, within limits.
struct Walk {
    rules: IgnoreRules,
    files: Vec<File>,
    bytes: u64,
    count: usize,
}

/// The deepest nesting of folders; links may lead around in circles.
const DEEPEST: usize = 40;

impl Walk {
    /// Files in the order of their names; links are followed, as Helm does.
    fn folder(&mut self, folder: &Path, within: &str, depth: usize) -> anyhow::Result<()> {
        if depth > DEEPEST {
            return Err(refused(&format!("{} is nested more than {DEEPEST} deep", folder.display())));
        }
        let mut entries: Vec<_> = fs_err::read_dir(folder).and_then(Iterator::collect).map_err(unreadable)?;
        entries.sort_by_key(fs_err::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if within.is_empty() { name } else { format!("{within}/{name}") };
            let metadata = fs_err::metadata(entry.path()).map_err(unreadable)?;
            if self.rules.ignores(&path, metadata.is_dir()) {
                continue;
            }
            if metadata.is_dir() {
                self.folder(&entry.path(), &path, depth + 1)?;
                continue;
            }
            if !metadata.is_file() {
                return Err(refused(&format!("{} is neither a file nor a folder", entry.path().display())));
            }
            let left = self.bytes.checked_sub(metadata.len()).zip(self.count.checked_sub(1));
            let Some(left) = left else {
                return Err(refused(&format!("{} is larger than a chart may be", folder.display())));
            };
            (self.bytes, self.count) = left;
            self.files.push(File::new(path, fs_err::read(entry.path()).map_err(unreadable)?));
        }
        Ok(())
    }
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
