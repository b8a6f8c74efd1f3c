//! `Chart.yaml` (Helm's `chart/v2/metadata.go`), read as Go reads YAML into a
//! struct: numbers become strings where strings are wanted.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::OnceLock;

use regex::Regex;

use super::chart_error;
use crate::error::Error;
use crate::format;
use crate::funcs::semver::Version;
use crate::number;
use crate::value::{Entries, MapKind, Value};
use crate::yaml;

/// What a chart says of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metadata {
    pub(crate) name: String,
    home: String,
    sources: Vec<String>,
    pub(crate) version: String,
    description: String,
    keywords: Vec<String>,
    maintainers: Vec<[String; 3]>,
    icon: String,
    pub(crate) api_version: String,
    condition: String,
    tags: String,
    pub(crate) app_version: String,
    deprecated: bool,
    annotations: Vec<(String, String)>,
    pub(crate) kube_version: String,
    /// `None`: there is no such list, which is not the same as an empty one.
    pub(crate) dependencies: Option<Vec<Dependency>>,
    pub(crate) kind: String,
}

/// A chart that a chart depends on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) version: String,
    repository: String,
    pub(crate) condition: String,
    pub(crate) tags: Vec<String>,
    pub(crate) enabled: bool,
    pub(crate) imports: Vec<Import>,
    pub(crate) alias: String,
}

/// Values that a chart takes from a subchart.
#[derive(Debug, Clone)]
pub(crate) enum Import {
    /// All of `exports.NAME`.
    Exported(String),
    /// A table, to another place.
    Moved { child: String, parent: String },
    /// What Helm does not know, and drops.
    Other,
}

impl Import {
    /// The table of the subchart's values, and its place in the parent's; nothing for what Helm does not know.
    pub(crate) fn places(&self) -> Option<(Cow<'_, str>, &str)> {
        match self {
            Self::Exported(name) => Some((Cow::Owned(format!("exports.{name}")), ".")),
            Self::Moved { child, parent } => Some((Cow::Borrowed(child), parent)),
            Self::Other => None,
        }
    }
}

/// A map whose keys are found as Go's JSON finds fields: exactly, or else in
/// any case.
struct Fields<'v>(Vec<(Rc<str>, Value)>, &'v str);

impl Fields<'_> {
    fn of<'v>(value: &Value, place: &'v str) -> Result<Option<Fields<'v>>, String> {
        match value {
            Value::Nil | Value::Null => Ok(None),
            Value::Map(map) => Ok(Some(Fields(map.entries(), place))),
            other => Err(format!("{place} is to be a map, not {}", other.kind())),
        }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        let exact = self.0.iter().find(|(key, _)| **key == *name);
        let found = exact.or_else(|| self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)));
        found.map(|(_, value)| value).filter(|value| !value.is_nil())
    }

    fn text(&self, name: &str, into: &mut String) -> Result<(), String> {
        if let Some(value) = self.get(name) {
            *into = text(value)
                .ok_or_else(|| format!("{}.{name} is to be a string, not {}", self.1, value.kind()))?;
        }
        Ok(())
    }

    fn texts(&self, name: &str, into: &mut Vec<String>) -> Result<(), String> {
        if let Some(value) = self.get(name) {
            let wrong = || format!("{}.{name} is to be a list of strings", self.1);
            let items = value.elements().ok_or_else(wrong)?;
            *into = items
                .iter()
                .map(|item| if item.is_nil() { Some(String::new()) } else { text(item) })
                .collect::<Option<_>>()
                .ok_or_else(wrong)?;
        }
        Ok(())
    }

    fn flag(&self, name: &str, into: &mut bool) -> Result<(), String> {
        match self.get(name) {
            None => {}
            Some(Value::Bool(value)) => *into = *value,
            Some(other) => {
                return Err(format!("{}.{name} is to be true or false, not {}", self.1, other.kind()));
            }
        }
        Ok(())
    }
}

/// A scalar as sigs.k8s.io/yaml makes a string of it.
pub(crate) fn text(value: &Value) -> Option<String> {
    Some(match value {
        Value::Text(text) => text.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Int(number) | Value::Int64(number) => number.to_string(),
        Value::Uint(number, _) => number.to_string(),
        Value::Float(float) => number::general(*float),
        _ => return None,
    })
}

impl Metadata {
    /// Reads a file over what is known already. As for Go, elements of lists are read over those at their places.
    pub(super) fn read(data: &[u8], file: &str, before: Self) -> Result<Self, Error> {
        let known = before.name.clone();
        let name = known.clone();
        let wrong = move |problem: String| chart_error(&name, &format!("{file}: {problem}"));
        let value = yaml::decoded(data).and_then(|text| yaml::read_typed(&text, true)).map_err(&wrong)?;
        before.read_fields(&value, file).map_err(|problem| chart_error(&known, &problem))
    }

    fn read_fields(mut self, value: &Value, file: &str) -> Result<Self, String> {
        let Some(fields) = Fields::of(value, file)? else { return Ok(self) };
        fields.text("name", &mut self.name)?;
        fields.text("home", &mut self.home)?;
        fields.texts("sources", &mut self.sources)?;
        fields.text("version", &mut self.version)?;
        fields.text("description", &mut self.description)?;
        fields.texts("keywords", &mut self.keywords)?;
        fields.text("icon", &mut self.icon)?;
        fields.text("apiVersion", &mut self.api_version)?;
        fields.text("condition", &mut self.condition)?;
        fields.text("tags", &mut self.tags)?;
        fields.text("appVersion", &mut self.app_version)?;
        fields.flag("deprecated", &mut self.deprecated)?;
        fields.text("kubeVersion", &mut self.kube_version)?;
        fields.text("type", &mut self.kind)?;
        if let Some(value) = fields.get("maintainers") {
            let items = value.elements().ok_or("maintainers is to be a list")?;
            let mut before = std::mem::take(&mut self.maintainers).into_iter();
            self.maintainers = items
                .iter()
                .map(|item| maintainer(item, before.next().unwrap_or_default()))
                .collect::<Result<_, _>>()?;
        }
        if let Some(value) = fields.get("annotations") {
            let all = Fields::of(value, "annotations")?.map(|fields| fields.0).unwrap_or_default();
            let read: Vec<(String, String)> = all
                .into_iter()
                .map(|(key, value)| {
                    let value = if value.is_nil() { Some(String::new()) } else { text(&value) };
                    Some((key.to_string(), value?))
                })
                .collect::<Option<_>>()
                .ok_or("annotations is to be a map of strings")?;
            self.annotations.extend(read);
        }
        if let Some(value) = fields.get("dependencies") {
            let items = value.elements().ok_or("dependencies is to be a list")?;
            let mut before = self.dependencies.take().unwrap_or_default().into_iter();
            let read = items.iter().map(|item| dependency(item, before.next().unwrap_or_default()));
            self.dependencies = Some(read.collect::<Result<_, _>>()?);
        }
        Ok(self)
    }

    /// Cleans and checks what was read (Helm's `Metadata.Validate`).
    pub(super) fn check(&mut self) -> Result<(), String> {
        for text in [
            &mut self.name,
            &mut self.description,
            &mut self.home,
            &mut self.icon,
            &mut self.condition,
            &mut self.tags,
            &mut self.app_version,
            &mut self.kube_version,
        ] {
            *text = printable(text);
        }
        for text in
            self.sources.iter_mut().chain(&mut self.keywords).chain(self.maintainers.iter_mut().flatten())
        {
            *text = printable(text);
        }
        if self.api_version.is_empty() {
            return Err("apiVersion is missing".to_owned());
        }
        if self.name.is_empty() {
            return Err("name is missing".to_owned());
        }
        if matches!(self.name.as_str(), "." | "..") || self.name.contains('/') {
            return Err(format!("name {:?} is not allowed", self.name));
        }
        if self.version.is_empty() {
            return Err("version is missing".to_owned());
        }
        Version::parse(&self.version).map_err(|problem| format!("version: {problem}"))?;
        if !matches!(self.kind.as_str(), "" | "application" | "library") {
            return Err("type must be application or library".to_owned());
        }
        let mut seen: Vec<String> = Vec::new();
        for dependency in self.dependencies.iter_mut().flatten() {
            dependency.check()?;
            let key = if dependency.alias.is_empty() { &dependency.name } else { &dependency.alias };
            if seen.contains(key) {
                return Err(format!("more than one dependency has the name or alias {key:?}"));
            }
            seen.push(key.clone());
        }
        Ok(())
    }

    /// `.Chart`
    pub(crate) fn to_value(&self, is_root: bool) -> Value {
        let maintainers = self.maintainers.iter().map(|[name, email, url]| {
            Value::map_from([
                ("Name", Value::text(name)),
                ("Email", Value::text(email)),
                ("URL", Value::text(url)),
            ])
        });
        let annotations: Entries = self
            .annotations
            .iter()
            .map(|(key, value)| (Rc::from(key.as_str()), Value::text(value)))
            .collect();
        let list = |items: &[String]| Value::list(items.iter().map(Value::text).collect());
        Value::map_from([
            ("Name", Value::text(&self.name)),
            ("Home", Value::text(&self.home)),
            ("Sources", list(&self.sources)),
            ("Version", Value::text(&self.version)),
            ("Description", Value::text(&self.description)),
            ("Keywords", list(&self.keywords)),
            ("Maintainers", Value::list(maintainers.collect())),
            ("Icon", Value::text(&self.icon)),
            ("APIVersion", Value::text(&self.api_version)),
            ("Condition", Value::text(&self.condition)),
            ("Tags", Value::text(&self.tags)),
            ("AppVersion", Value::text(&self.app_version)),
            ("Deprecated", Value::Bool(self.deprecated)),
            (
                "Annotations",
                Value::map_of(
                    if self.annotations.is_empty() { MapKind::NilText } else { MapKind::Text },
                    annotations,
                ),
            ),
            ("KubeVersion", Value::text(&self.kube_version)),
            (
                "Dependencies",
                Value::list(self.dependencies.iter().flatten().map(Dependency::to_value).collect()),
            ),
            ("Type", Value::text(&self.kind)),
            ("IsRoot", Value::Bool(is_root)),
        ])
    }
}

fn maintainer(value: &Value, before: [String; 3]) -> Result<[String; 3], String> {
    let fields = Fields::of(value, "maintainers")?.ok_or("maintainers must not contain null")?;
    let mut all = before;
    for (name, into) in ["name", "email", "url"].into_iter().zip(&mut all) {
        fields.text(name, into)?;
    }
    Ok(all)
}

fn dependency(value: &Value, before: Dependency) -> Result<Dependency, String> {
    let fields = Fields::of(value, "dependencies")?.ok_or("dependencies must not contain null")?;
    let mut dependency = before;
    fields.text("name", &mut dependency.name)?;
    fields.text("version", &mut dependency.version)?;
    fields.text("repository", &mut dependency.repository)?;
    fields.text("condition", &mut dependency.condition)?;
    fields.texts("tags", &mut dependency.tags)?;
    fields.flag("enabled", &mut dependency.enabled)?;
    fields.text("alias", &mut dependency.alias)?;
    if let Some(value) = fields.get("import-values") {
        let items = value.elements().ok_or("import-values is to be a list")?;
        dependency.imports = items.iter().map(import).collect();
    }
    Ok(dependency)
}

fn import(value: &Value) -> Import {
    match value {
        Value::Text(name) => Import::Exported(name.to_string()),
        Value::Map(map) => {
            // Numbers of JSON are `float64`.
            let part = |key: &str| {
                let value = map.get(key).map(|value| Value::from(value.to_json_value()));
                format::text(&value.unwrap_or(Value::Nil))
            };
            Import::Moved { child: part("child"), parent: part("parent") }
        }
        _ => Import::Other,
    }
}

impl Dependency {
    fn check(&mut self) -> Result<(), String> {
        for text in [&mut self.name, &mut self.version, &mut self.repository, &mut self.condition] {
            *text = printable(text);
        }
        for tag in &mut self.tags {
            *tag = printable(tag);
        }
        let fits = self.alias.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if !fits {
            return Err(format!("dependency {:?} has disallowed characters in the alias", self.name));
        }
        Ok(())
    }

    fn to_value(&self) -> Value {
        // Once Helm has imported values, all imports are maps of texts (`processImportValues`).
        let imports = self.imports.iter().filter_map(Import::places).map(|(child, parent)| {
            let entries = [("child", Value::text(child)), ("parent", Value::text(parent))];
            let entries = entries.into_iter().map(|(key, value)| (Rc::from(key), value));
            Value::map_of(MapKind::Text, entries.collect())
        });
        Value::map_from([
            ("Name", Value::text(&self.name)),
            ("Version", Value::text(&self.version)),
            ("Repository", Value::text(&self.repository)),
            ("Condition", Value::text(&self.condition)),
            ("Tags", Value::list(self.tags.iter().map(Value::text).collect())),
            ("Enabled", Value::Bool(self.enabled)),
            ("ImportValues", Value::list(imports.collect())),
            ("Alias", Value::text(&self.alias)),
        ])
    }
}

/// Spaces for white space, and nothing for what cannot be printed.
fn printable(text: &str) -> String {
    text.chars()
        .filter_map(|character| {
            if character.is_whitespace() {
                Some(' ')
            } else {
                format::is_print(character).then_some(character)
            }
        })
        .collect()
}

/// Checks that a lock file has the types that Helm reads.
pub(super) fn check_lock(data: &[u8], file: &str) -> Result<(), String> {
    static TIME: OnceLock<Option<Regex>> = OnceLock::new();
    let value = yaml::decoded(data)
        .and_then(|text| yaml::read_typed(&text, true))
        .map_err(|problem| format!("{file}: {problem}"))?;
    let Some(fields) = Fields::of(&value, file)? else { return Ok(()) };
    fields.text("digest", &mut String::new())?;
    if let Some(value) = fields.get("dependencies") {
        let items = value.elements().ok_or_else(|| format!("{file}.dependencies is to be a list"))?;
        for item in items.iter().filter(|item| !item.is_nil()) {
            dependency(item, Dependency::default())?;
        }
    }
    if let Some(value) = fields.get("generated") {
        let time = TIME.get_or_init(|| {
            let clock = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.,][0-9]+)?";
            let offset = "(Z|[+-]([01][0-9]|2[0-4]):([0-5][0-9]|60))";
            Regex::new(&format!(r"^([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})T{clock}{offset}$")).ok()
        });
        let written = value.string_text().unwrap_or_default();
        let read = time.as_ref().and_then(|time| time.captures(&written));
        let day = read.and_then(|read| read.get(1)).map(|day| day.as_str().parse::<jiff::civil::Date>());
        if !matches!(day, Some(Ok(_))) {
            return Err(format!("{file}.generated is not a time"));
        }
    }
    Ok(())
}
