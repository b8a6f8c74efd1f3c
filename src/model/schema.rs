//! JSON schemas of users' files and of settings: one source of truth for
//! validation, for editors, and for `cozy schema`. The errors of the library
//! become findings with a place and words.

use std::sync::{Arc, LazyLock};

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use serde_json::{Map, Value, json};

use super::finding::{Finding, Level, Source};
use super::yaml::Node;
use crate::error::Code;

/// The kinds of files that have a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// `cozy.yaml`.
    Cloud,
    /// `bundles/NAME.yaml`.
    Bundle,
    /// `component.yaml`.
    Component,
}

struct Loaded {
    text: &'static str,
    schema: Value,
    validator: Option<Validator>,
}

impl Loaded {
    fn new(text: &'static str) -> Self {
        let schema: Value = serde_json::from_str(text).unwrap_or_default();
        let validator = jsonschema::validator_for(&schema).ok();
        Self { text, schema, validator }
    }
}

static CLOUD: LazyLock<Loaded> = LazyLock::new(|| Loaded::new(include_str!("schemas/cloud.json")));
static BUNDLE: LazyLock<Loaded> = LazyLock::new(|| Loaded::new(include_str!("schemas/bundle.json")));
static COMPONENT: LazyLock<Loaded> = LazyLock::new(|| Loaded::new(include_str!("schemas/component.json")));

impl FileKind {
    fn loaded(self) -> &'static Loaded {
        match self {
            Self::Cloud => &CLOUD,
            Self::Bundle => &BUNDLE,
            Self::Component => &COMPONENT,
        }
    }

    /// The schema's text, for `cozy schema`.
    pub(crate) fn text(self) -> &'static str {
        self.loaded().text
    }

    /// Checks a file against its schema.
    pub(crate) fn check(self, source: &Arc<Source>, root: &Node) -> Vec<Finding> {
        let Loaded { schema, validator, .. } = self.loaded();
        match validator {
            Some(validator) => check(validator, schema, source, root),
            None => Vec::new(),
        }
    }
}

/// Checks a node against a schema; all mistakes.
pub(crate) fn check(validator: &Validator, schema: &Value, source: &Arc<Source>, root: &Node) -> Vec<Finding> {
    let value = root.to_json();
    let mut findings: Vec<Finding> =
        validator.iter_errors(&value).flat_map(|error| translate(&error, schema, source, root)).collect();
    super::finding::sort(&mut findings);
    findings
}

/// The schema that applies at the instance path of an error.
fn schema_at<'a>(schema: &'a Value, error: &ValidationError<'_>) -> Option<&'a Value> {
    let pointer = error.schema_path().to_string();
    let parent = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
    let mut at = schema;
    for step in parent.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        at = match at {
            Value::Object(map) => map.get(&step)?,
            Value::Array(items) => items.get(step.parse::<usize>().ok()?)?,
            _ => return None,
        };
        if let Some(reference) = at.get("$ref").and_then(Value::as_str) {
            at = schema.pointer(reference.strip_prefix('#')?)?;
        }
    }
    Some(at)
}

fn translate(error: &ValidationError<'_>, schema: &Value, source: &Arc<Source>, root: &Node) -> Vec<Finding> {
    let path = error.instance_path().to_string();
    let steps: Vec<String> =
        path.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
    let node = root.at(steps.iter().map(String::as_str));
    let what = steps.iter().rfind(|step| step.parse::<usize>().is_err()).map_or("the file", String::as_str);
    let finding = |code: u16, range: std::ops::Range<usize>, message: String, label: String, hint: Option<String>| Finding {
        code: Code(code),
        level: Level::Error,
        message,
        label,
        place: Some((Arc::clone(source), first_line(source, range))),
        hint,
    };
    let here = node.range.clone();
    let found = &error.instance().to_string();
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let mut known: Vec<&str> = schema_at(schema, error)
                .and_then(|schema| schema.get("properties")?.as_object())
                .map(|properties| properties.keys().map(String::as_str).collect())
                .unwrap_or_default();
            known.sort_unstable();
            unexpected
                .iter()
                .map(|key| {
                    let range = node.key(key).map_or(here.clone(), |key| key.range.clone());
                    let label = super::suggest::did_you_mean(key, known.iter().copied());
                    let hint = label.is_empty().then(|| format!("known keys: {}", known.join(", ")));
                    finding(1101, range, format!("unknown key `{key}`"), label, hint)
                })
                .collect()
        }
        ValidationErrorKind::Type { kind } => {
            let wanted = match kind {
                TypeKind::Single(one) => article(&one.to_string()),
                TypeKind::Multiple(many) => {
                    many.iter().map(|one| article(&one.to_string())).collect::<Vec<_>>().join(" or ")
                }
            };
            vec![finding(1102, here, format!("`{what}` must be {wanted}, not {}", describe(error.instance())), String::new(), None)]
        }
        ValidationErrorKind::Required { property } => {
            let property = property.as_str().unwrap_or_default();
            let of = if steps.is_empty() { "the file".to_owned() } else { format!("`{what}`") };
            vec![finding(1103, here, format!("{of} lacks the key `{property}`"), String::new(), None)]
        }
        ValidationErrorKind::Enum { options } => {
            let known: Vec<String> = options
                .as_array()
                .into_iter()
                .flatten()
                .map(|option| option.as_str().map_or_else(|| option.to_string(), str::to_owned))
                .collect();
            let written = error.instance().as_str().map_or_else(|| found.clone(), str::to_owned);
            let label = super::suggest::did_you_mean(&written, known.iter().map(String::as_str));
            vec![finding(1104, here, format!("`{what}` cannot be `{written}`"), label, Some(format!("one of: {}", known.join(", "))))]
        }
        ValidationErrorKind::Constant { expected_value } => {
            let expected = expected_value.as_str().map_or_else(|| expected_value.to_string(), str::to_owned);
            vec![finding(1104, here, format!("`{what}` must be `{expected}`"), String::new(), None)]
        }
        ValidationErrorKind::Pattern { .. } | ValidationErrorKind::Format { .. } => {
            let rule = schema_at(schema, error)
                .and_then(|schema| schema.get("x-rule").or_else(|| schema.get("description"))?.as_str())
                .map(|rule| format!("it is {rule}"));
            vec![finding(1105, here, format!("`{what}` cannot be {found}"), String::new(), rule)]
        }
        ValidationErrorKind::Minimum { limit } => {
            vec![finding(1106, here, format!("`{what}` is {found}, and must be at least {limit}"), String::new(), None)]
        }
        ValidationErrorKind::Maximum { limit } => {
            vec![finding(1106, here, format!("`{what}` is {found}, and must be at most {limit}"), String::new(), None)]
        }
        ValidationErrorKind::MinLength { .. } => {
            vec![finding(1107, here, format!("`{what}` is empty"), String::new(), None)]
        }
        ValidationErrorKind::PropertyNames { error: inner } => {
            let name = inner.instance().as_str().unwrap_or_default();
            let range = node.key(name).map_or(here, |key| key.range.clone());
            vec![finding(1105, range, format!("`{name}` is not a valid name in `{what}`"), String::new(),
                Some("names are 1 to 63 lower-case letters, digits and `-`, starting and ending with a letter or digit".to_owned()))]
        }
        ValidationErrorKind::MinProperties { .. } | ValidationErrorKind::MaxProperties { .. } => {
            vec![finding(1107, here, format!("`{what}` must be `{{ env: NAME }}` or `{{ file: PATH }}`"), String::new(), None)]
        }
        _ => vec![finding(1109, here, format!("`{what}`: {error}"), String::new(), None)],
    }
}

/// Only the first line of a place is shown under a caret.
fn first_line(source: &Source, range: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let text = source.text.get(range.clone()).unwrap_or_default();
    let end = text.find('\n').map_or(range.end, |at| range.start + at);
    range.start..range.start + source.text.get(range.start..end).unwrap_or_default().trim_end().len()
}

fn article(kind: &str) -> String {
    match kind {
        "array" => "a list".to_owned(),
        "object" => "a mapping".to_owned(),
        "integer" => "a whole number".to_owned(),
        "boolean" => "true or false".to_owned(),
        "string" => "text".to_owned(),
        "null" => "empty".to_owned(),
        other => format!("a {other}"),
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "empty".to_owned(),
        Value::Bool(flag) => format!("`{flag}`"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text `{}`", text.chars().take(40).collect::<String>()),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

/// A component's settings schema, ready to check and to fill in defaults.
#[derive(Debug)]
pub(crate) struct SettingsSchema {
    schema: Value,
    validator: Validator,
}

impl SettingsSchema {
    /// Reads a schema. Its type `secret` becomes a reference, `{ env: NAME }` or `{ file: PATH }`.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let mut schema: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if !schema.is_object() {
            return Err("it is not a mapping".to_owned());
        }
        secrets(&mut schema, 0);
        let validator = jsonschema::validator_for(&schema).map_err(|error| error.to_string())?;
        Ok(Self { schema, validator })
    }

    /// All mistakes in the settings that stand at a node.
    pub(crate) fn check(&self, source: &Arc<Source>, node: &Node) -> Vec<Finding> {
        check(&self.validator, &self.schema, source, node)
    }

    /// Settings with the schema's defaults filled in.
    pub(crate) fn fill(&self, settings: &Map<String, Value>) -> Map<String, Value> {
        let mut filled = settings.clone();
        defaults(&self.schema, &mut filled);
        filled
    }
}

fn secrets(schema: &mut Value, depth: usize) {
    if depth > 64 {
        return;
    }
    if schema.get("type").and_then(Value::as_str) == Some("secret") {
        let description = schema.get("description").cloned().unwrap_or_default();
        *schema = json!({
            "type": "object", "description": description, "additionalProperties": false, "minProperties": 1, "maxProperties": 1,
            "properties": { "env": { "type": "string", "minLength": 1 }, "file": { "type": "string", "minLength": 1 } },
        });
        return;
    }
    match schema {
        Value::Object(map) => map.values_mut().for_each(|inner| secrets(inner, depth + 1)),
        Value::Array(items) => items.iter_mut().for_each(|inner| secrets(inner, depth + 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn defaults(schema: &Value, settings: &mut Map<String, Value>) {
    for (key, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if !settings.contains_key(key) {
            let nested = property.get("properties").is_some() && property.get("default").is_none();
            match property.get("default") {
                Some(default) => settings.insert(key.clone(), default.clone()),
                None if nested && property.get("x-optional").is_none() && property.get("minProperties").is_none() => {
                    settings.insert(key.clone(), json!({}))
                }
                None => settings.insert(key.clone(), Value::Null),
            };
        }
        if let Some(Value::Object(inner)) = settings.get_mut(key) {
            defaults(property, inner);
        }
    }
}
