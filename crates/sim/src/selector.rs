//! Label and field selectors, parsed once a request and matched against stored objects.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::json;
use crate::kinds::Kind;
use crate::status::{Answer, bad_request};
use crate::store::{Key, Stored};

#[derive(Clone, Debug)]
enum Label {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
}

#[derive(Clone, Debug)]
struct Field {
    path: String,
    value: String,
    equal: bool,
}

/// What a list, watch or deletecollection asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    labels: Vec<Label>,
    fields: Vec<Field>,
}

/// The fields, besides name and namespace, that built-in kinds can be selected by.
const FIELDS: [(&str, &[&str]); 6] = [
    (
        "pods",
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
        ],
    ),
    (
        "events",
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "reason",
            "type",
        ],
    ),
    ("secrets", &["type"]),
    ("namespaces", &["status.phase"]),
    ("nodes", &["spec.unschedulable"]),
    ("jobs", &["status.successful"]),
];

impl Selector {
    /// Reads the two parameters of a request.
    pub(crate) fn parse(kind: &Kind, labels: Option<&str>, fields: Option<&str>) -> Answer<Self> {
        let labels = labels.unwrap_or_default();
        let parsed = split(labels).into_iter().map(|term| label(&term));
        let labels: Vec<_> = parsed.collect::<Option<_>>().ok_or_else(|| {
            let found = labels.split_whitespace().nth(1).unwrap_or(labels);
            let wanted = "in, notin, =, ==, !=, gt, lt";
            bad_request(format!("unable to parse requirement: found '{found}', expected: {wanted}"))
        })?;
        let fields = fields.unwrap_or_default().split(',').filter(|term| !term.is_empty());
        let fields: Vec<_> = fields.map(|term| field(kind, term)).collect::<Answer<_>>()?;
        Ok(Self { labels, fields })
    }

    /// Tells whether everything matches.
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Tells whether an object is asked for.
    pub(crate) fn matches(&self, kind: &Kind, key: &Key, stored: &Stored) -> bool {
        self.labels.iter().all(|label| label.matches(&stored.labels))
            && (self.fields.is_empty() || self.fields_match(kind, key, stored))
    }

    fn fields_match(&self, kind: &Kind, key: &Key, stored: &Stored) -> bool {
        let mut parsed = None;
        self.fields.iter().all(|field| {
            let found = match field.path.as_str() {
                "metadata.name" => key.name.clone(),
                "metadata.namespace" => key.namespace.clone(),
                path => {
                    let object: &Value = parsed.get_or_insert_with(|| stored.value(kind));
                    let path: Vec<_> = path.split('.').collect();
                    json::text(object, &path).to_owned()
                }
            };
            (found == field.value) == field.equal
        })
    }
}

impl Label {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::In(name, values) => labels.get(name).is_some_and(|value| values.contains(value)),
            Self::NotIn(name, values) => labels.get(name).is_none_or(|value| !values.contains(value)),
            Self::Exists(name) => labels.contains_key(name),
            Self::Missing(name) => !labels.contains_key(name),
        }
    }
}

/// Tells whether a `labelSelector` of an object selects these labels; an empty one selects all.
pub(crate) fn labels_match(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    let wanted = selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten();
    let mut wanted = wanted.map(|(name, value)| (name, value.as_str()));
    wanted.all(|(name, value)| labels.get(name).map(String::as_str) == value)
        && json::items(selector, "matchExpressions").iter().all(|rule| {
            let name = json::text(rule, &["key"]).to_owned();
            let values =
                json::items(rule, "values").iter().filter_map(Value::as_str).map(str::to_owned).collect();
            match json::text(rule, &["operator"]) {
                "In" => Label::In(name, values),
                "NotIn" => Label::NotIn(name, values),
                "DoesNotExist" => Label::Missing(name),
                _ => Label::Exists(name),
            }
            .matches(labels)
        })
}

/// Splits at commas outside parentheses.
fn split(text: &str) -> Vec<String> {
    let (mut terms, mut term, mut depth) = (Vec::new(), String::new(), 0);
    for c in text.chars() {
        match c {
            ',' if depth == 0 => terms.push(std::mem::take(&mut term)),
            _ => {
                depth += i32::from(c == '(') - i32::from(c == ')');
                term.push(c);
            }
        }
    }
    terms.push(term);
    terms.retain(|term| !term.trim().is_empty());
    terms
}

fn label(term: &str) -> Option<Label> {
    let term = term.trim();
    let set = |rest: &str| -> Option<Vec<String>> {
        let inner = rest.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(inner.split(',').map(|value| value.trim().to_owned()).collect())
    };
    if let Some((name, rest)) = term.split_once(" notin ") {
        return Some(Label::NotIn(name.trim().to_owned(), set(rest)?));
    }
    if let Some((name, rest)) = term.split_once(" in ") {
        return Some(Label::In(name.trim().to_owned(), set(rest)?));
    }
    if let Some((name, value)) = term.split_once("!=") {
        return Some(Label::NotIn(name.trim().to_owned(), vec![value.trim().to_owned()]));
    }
    if let Some((name, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        return Some(Label::In(name.trim().to_owned(), vec![value.trim().to_owned()]));
    }
    if let Some(name) = term.strip_prefix('!') {
        return Some(Label::Missing(name.trim().to_owned()));
    }
    (!term.contains([' ', '(', ')'])).then(|| Label::Exists(term.to_owned()))
}

fn field(kind: &Kind, term: &str) -> Answer<Field> {
    let (path, value, equal) = if let Some((path, value)) = term.split_once("!=") {
        (path, value, false)
    } else {
        let parts = term.split_once("==").or_else(|| term.split_once('='));
        let (path, value) = parts.ok_or_else(|| bad_request(format!("invalid selector: '{term}'")))?;
        (path, value, true)
    };
    let more = FIELDS.iter().find(|(plural, _)| kind.plural() == *plural && !kind.custom);
    let known = ["metadata.name", "metadata.namespace"].contains(&path)
        || more.is_some_and(|(_, fields)| fields.contains(&path));
    if !known {
        return Err(bad_request(if more.is_some() || kind.custom {
            format!("field label not supported: {path}")
        } else {
            format!("{path:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
        }));
    }
    Ok(Field { path: path.to_owned(), value: value.to_owned(), equal })
}
