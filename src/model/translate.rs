//! From the errors of the JSON schema library to findings with a place, in
//! words of people. Plain text where a secret belongs is never shown again.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use super::finding::{Finding, MOST, Source, sort};
use super::suggest::did_you_mean;
use super::yaml::{Node, NodeValue};
use crate::code::Code;

/// The code of a missing key.
pub(crate) const MISSING: Code = Code(1103);

/// Checks a node against a schema; all mistakes.
pub(crate) fn check(
    validator: &Validator,
    schema: &Value,
    source: &Arc<Source>,
    root: &Node,
) -> Vec<Finding> {
    let value = root.to_json();
    let errors: Vec<ValidationError<'_>> = validator.iter_errors(&value).take(MOST).collect();
    let source = masked(&errors, schema, source, root);
    let mut findings: Vec<Finding> = errors
        .iter()
        .flat_map(|error| Mistake::new(error, schema, &source, root).findings())
        .take(MOST)
        .collect();
    sort(&mut findings);
    findings
}

fn unescape(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

/// The schema that holds the keyword at a path.
pub(crate) fn schema_at<'a>(schema: &'a Value, pointer: &str) -> Option<&'a Value> {
    let parent = pointer.rsplit_once('/').map_or("", |(parent, _)| parent);
    let mut at = schema;
    for step in parent.split('/').skip(1) {
        at = match at {
            Value::Object(map) if step == "$ref" => {
                let reference = map.get("$ref")?.as_str()?;
                schema.pointer(reference.strip_prefix('#')?)?
            }
            Value::Object(map) => map.get(&unescape(step))?,
            Value::Array(items) => items.get(step.parse::<usize>().ok()?)?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
        };
    }
    Some(at)
}

fn is_secret(schema: &Value, error: &ValidationError<'_>) -> bool {
    schema_at(schema, error.schema_path().as_str()).is_some_and(|schema| schema.get("x-secret").is_some())
}

fn steps(error: &ValidationError<'_>) -> Vec<String> {
    error.instance_path().to_string().split('/').skip(1).map(unescape).collect()
}

/// The source with `*` in place of what was written where a secret belongs:
/// the line under a finding must not show it.
fn masked(errors: &[ValidationError<'_>], schema: &Value, source: &Arc<Source>, root: &Node) -> Arc<Source> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for error in errors.iter().filter(|error| is_secret(schema, error)) {
        let steps = steps(error);
        let node = root.at(steps.iter().map(String::as_str));
        match &node.value {
            NodeValue::Map(entries) => {
                let unknown = entries.iter().filter(|(key, _)| key.text != "env" && key.text != "file");
                ranges.extend(unknown.map(|(_, node)| node.range.clone()));
            }
            NodeValue::Scalar(_) | NodeValue::List(_) => ranges.push(node.range.clone()),
        }
    }
    if ranges.is_empty() {
        return Arc::clone(source);
    }
    let mut text = source.text.clone();
    for range in ranges {
        let stars = text
            .get(range.clone())
            .map(|old| old.bytes().map(|byte| if byte == b'\n' { '\n' } else { '*' }).collect::<String>());
        if let Some(stars) = stars {
            text.replace_range(range, &stars);
        }
    }
    Arc::new(Source { name: source.name.clone(), text })
}

/// One error of the library, on its way to findings.
struct Mistake<'a> {
    error: &'a ValidationError<'a>,
    /// The schema that the value broke.
    schema: Option<&'a Value>,
    source: &'a Arc<Source>,
    node: &'a Node,
    /// The name of the key it is about.
    what: String,
}

impl<'a> Mistake<'a> {
    fn new(
        error: &'a ValidationError<'a>,
        schema: &'a Value,
        source: &'a Arc<Source>,
        root: &'a Node,
    ) -> Self {
        let steps = steps(error);
        let node = root.at(steps.iter().map(String::as_str));
        let key = steps.iter().rfind(|step| step.parse::<usize>().is_err());
        let number = steps.last().and_then(|step| step.parse::<usize>().ok());
        let what = match (key, number) {
            (Some(key), Some(number)) => format!("entry {} of `{key}`", number + 1),
            (Some(key), None) => format!("`{key}`"),
            (None, _) => "the file".to_owned(),
        };
        Self { error, schema: schema_at(schema, error.schema_path().as_str()), source, node, what }
    }

    fn finding(&self, code: u16, message: String) -> Finding {
        Finding::error(code, message).on(self.source, self.node.range.clone())
    }

    /// What may be written: the schema's rule, or else what the value is for.
    fn rule(&self) -> Option<String> {
        let text = |key: &str| self.schema?.get(key)?.as_str();
        let rule = text("x-rule").map(|rule| format!("write {rule}"));
        rule.or_else(|| Some(format!("{}: {}", self.what, as_hint(text("description")?))))
    }

    fn is_secret(&self) -> bool {
        self.schema.is_some_and(|schema| schema.get("x-secret").is_some())
    }

    fn findings(&self) -> Vec<Finding> {
        let what = &self.what;
        let found = self.written();
        let one = match self.error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => return self.unknown(unexpected),
            ValidationErrorKind::Type { kind } => self.wrong_type(kind),
            ValidationErrorKind::Required { property } => self.missing(property.as_str().unwrap_or_default()),
            ValidationErrorKind::Enum { options } => self.not_one_of(options),
            ValidationErrorKind::Constant { expected_value } => self
                .finding(1104, format!("{what} must be {}, not {found}", shown(expected_value)))
                .hinted(format!("write {}", shown(expected_value))),
            ValidationErrorKind::Pattern { .. } | ValidationErrorKind::Format { .. } => {
                let finding = self.finding(1105, format!("{what} cannot be {found}"));
                match self.rule() {
                    Some(rule) => finding.hinted(rule),
                    None => finding,
                }
            }
            ValidationErrorKind::PropertyNames { error } => self.bad_name(error),
            ValidationErrorKind::MaxProperties { .. } | ValidationErrorKind::MinProperties { .. }
                if self.is_secret() =>
            {
                self.finding(1107, format!("{what} is a secret, and must name one of `env` and `file`"))
                    .hinted(format!(
                        "write `{0}: {{ env: NAME }}` or `{0}: {{ file: PATH }}`",
                        what.trim_matches('`')
                    ))
            }
            kind => match limit(kind) {
                Some((code, _)) if found == "empty" => {
                    self.finding(code, format!("{what} must not be empty"))
                }
                Some((code, rule)) => self.finding(code, format!("{what} is {found}, and must {rule}")),
                None => self.finding(1109, format!("{what} cannot be {found}")),
            },
        };
        vec![one]
    }

    /// The value as it is written: `1e+20` is not what stands there.
    fn written(&self) -> String {
        match self.error.instance().as_ref() {
            Value::Number(number) => {
                let text = self.source.text.get(self.node.range.clone()).map(str::trim);
                format!("`{}`", short(text.unwrap_or(&number.to_string())))
            }
            value => shown(value),
        }
    }

    fn missing(&self, property: &str) -> Finding {
        let finding = self.finding(1103, format!("{} lacks the key `{property}`", self.what));
        let schema = self.schema.and_then(|schema| schema.get("properties")?.get(property));
        let text = |key: &str| schema.and_then(|schema| Some(plain(schema.get(key)?)));
        match (text("const"), text("description")) {
            (Some(value), _) => finding.hinted(format!("write `{property}: {value}`")),
            (None, Some(what)) => finding.hinted(format!("`{property}`: {}", as_hint(&what))),
            (None, None) => finding,
        }
    }

    fn unknown(&self, unexpected: &[String]) -> Vec<Finding> {
        let mut known: Vec<&str> = self
            .schema
            .and_then(|schema| schema.get("properties")?.as_object())
            .map(|properties| properties.keys().map(String::as_str).collect())
            .unwrap_or_default();
        known.sort_unstable();
        let finding = |key: &String| {
            let range = self.node.key(key).map_or_else(|| self.node.range.clone(), |key| key.range.clone());
            let label = did_you_mean(key, known.iter().copied());
            let finding =
                Finding::error(1101, format!("unknown key `{}`", short(key))).on(self.source, range);
            match (label.is_empty(), known.is_empty()) {
                (true, true) => finding.hinted("nothing can stand here"),
                (true, false) => finding.hinted(format!("known keys: {}", known.join(", "))),
                (false, _) => finding.labelled(label),
            }
        };
        unexpected.iter().take(MOST).map(finding).collect()
    }

    fn wrong_type(&self, kind: &TypeKind) -> Finding {
        let what = &self.what;
        if self.is_secret() {
            let key = what.trim_matches('`');
            return self
                .finding(1102, format!("{what} is a secret, which cannot stand here itself"))
                .hinted(format!("write `{key}: {{ env: NAME }}` or `{key}: {{ file: PATH }}`"));
        }
        let wanted = match kind {
            TypeKind::Single(one) => article(&one.to_string()),
            TypeKind::Multiple(many) => {
                many.iter().map(|one| article(&one.to_string())).collect::<Vec<_>>().join(" or ")
            }
        };
        let instance = self.error.instance();
        let found = match instance.as_ref() {
            Value::Number(_) => format!("the number {}", self.written().trim_matches('`')),
            value => describe(value),
        };
        let finding = self.finding(1102, format!("{what} must be {wanted}, not {found}"));
        match instance.as_ref() {
            Value::Number(_) | Value::Bool(_) if wanted == "text" => {
                finding.hinted(format!("quote it: \"{}\"", self.written().trim_matches('`')))
            }
            Value::String(text) if wanted == "true or false" && matches!(text.as_str(), "yes" | "on") => {
                finding.hinted("write `true`")
            }
            Value::String(text) if wanted == "true or false" && matches!(text.as_str(), "no" | "off") => {
                finding.hinted("write `false`")
            }
            _ if wanted == "a list" => finding.hinted("write each entry on a line of its own, after `- `"),
            _ if wanted == "a mapping" => finding.hinted("write `key: value`, each on a line of its own"),
            _ => finding,
        }
    }

    fn not_one_of(&self, options: &Value) -> Finding {
        let known: Vec<String> = options.as_array().into_iter().flatten().map(plain).collect();
        let written = self.error.instance();
        let label = did_you_mean(&plain(written), known.iter().map(String::as_str));
        self.finding(1104, format!("{} cannot be {}", self.what, shown(written)))
            .labelled(label)
            .hinted(format!("one of: {}", known.join(", ")))
    }

    fn bad_name(&self, error: &ValidationError<'_>) -> Finding {
        let name = error.instance().as_str().unwrap_or_default();
        let range = self.node.key(name).map_or_else(|| self.node.range.clone(), |key| key.range.clone());
        Finding::error(1105, format!("`{}` is not a valid name in {}", short(name), self.what))
            .on(self.source, range)
            .hinted("names are 1 to 63 lower-case letters, digits and `-`, starting and ending with a letter or digit")
    }
}

/// Code and words of a limit that was passed.
fn limit(kind: &ValidationErrorKind) -> Option<(u16, String)> {
    Some(match kind {
        ValidationErrorKind::Minimum { limit } => (1106, format!("be at least {limit}")),
        ValidationErrorKind::Maximum { limit } => (1106, format!("be at most {limit}")),
        ValidationErrorKind::ExclusiveMinimum { limit } => (1106, format!("be more than {limit}")),
        ValidationErrorKind::ExclusiveMaximum { limit } => (1106, format!("be less than {limit}")),
        ValidationErrorKind::MultipleOf { multiple_of } => (1106, format!("be a multiple of {multiple_of}")),
        ValidationErrorKind::MinLength { limit: 1 } => (1107, "not be empty".to_owned()),
        ValidationErrorKind::MinLength { limit } => least(*limit, CHARACTERS),
        ValidationErrorKind::MaxLength { limit } => most(*limit, CHARACTERS),
        ValidationErrorKind::MinItems { limit } => least(*limit, ENTRIES),
        ValidationErrorKind::MaxItems { limit } => most(*limit, ENTRIES),
        ValidationErrorKind::MinProperties { limit } => least(*limit, KEYS),
        ValidationErrorKind::MaxProperties { limit } => most(*limit, KEYS),
        ValidationErrorKind::UniqueItems => (1107, "not have an entry twice".to_owned()),
        _ => return None,
    })
}

/// The words for one and for several of what texts, lists and mappings have.
const CHARACTERS: [&str; 2] = ["character", "characters"];
const ENTRIES: [&str; 2] = ["entry", "entries"];
const KEYS: [&str; 2] = ["key", "keys"];

fn least(limit: u64, of: [&str; 2]) -> (u16, String) {
    (1107, format!("have {} or more", count(limit, of)))
}

fn most(limit: u64, of: [&str; 2]) -> (u16, String) {
    (1107, format!("have {} at most", count(limit, of)))
}

/// A number of things, by the word for one and that for several.
fn count(number: u64, [one, many]: [&str; 2]) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A sentence as a hint: in lower case, without a period.
fn as_hint(sentence: &str) -> String {
    let mut rest = sentence.trim_end_matches('.').chars();
    rest.next().map(|first| first.to_lowercase().chain(rest).collect()).unwrap_or_default()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The beginning of a text, of its first line.
fn short(text: &str) -> Cow<'_, str> {
    if let Some((line, _)) = text.split_once('\n') {
        return Cow::Owned(format!("{}…", short(line).trim_end_matches('…')));
    }
    match text.char_indices().nth(60) {
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}

/// A value in a message.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "empty".to_owned(),
        Value::String(text) if text.is_empty() => "empty".to_owned(),
        Value::Bool(_) | Value::Number(_) => format!("`{value}`"),
        Value::String(text) => format!("`{}`", short(text)),
        Value::Array(items) => format!("a list of {}", count(items.len() as u64, ENTRIES)),
        Value::Object(map) => format!("a mapping of {}", count(map.len() as u64, KEYS)),
    }
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
        Value::String(text) => format!("the text `{}`", short(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}
