//! JSON schemas of users' files and of settings: one source of truth for
//! validation, for editors, and for `cozy schema`. The errors of the library
//! become findings with a place and words.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value, json};

use super::finding::{Finding, Source};
use super::secret::SecretSetting;
use super::translate::{self, schema_at};
use super::weight;
use super::yaml::Node;

/// The kinds of files that have a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// `cozy.yaml`.
    Cloud,
    /// `bundles/NAME.yaml`.
    Bundle,
    /// `component.yaml`.
    Component,
    /// `bundles/NAME.lock`.
    Lock,
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
static LOCK: LazyLock<Loaded> = LazyLock::new(|| Loaded::new(include_str!("schemas/lock.json")));

impl FileKind {
    fn loaded(self) -> &'static Loaded {
        match self {
            Self::Cloud => &CLOUD,
            Self::Bundle => &BUNDLE,
            Self::Component => &COMPONENT,
            Self::Lock => &LOCK,
        }
    }

    /// The schema's text, for `cozy schema`.
    pub(crate) fn text(self) -> &'static str {
        self.loaded().text
    }

    /// The keys that a file must have, with values that stand in for them where they are missing or wrong.
    pub(super) fn required(self, name: &str) -> Vec<(&'static str, &str)> {
        let kind = match self {
            Self::Cloud => "Cloud",
            Self::Bundle => "Bundle",
            Self::Component => "Component",
            Self::Lock => "Lock",
        };
        let of_kind: &[(&str, &str)] = match self {
            Self::Cloud => &[("bundle", "unknown")],
            Self::Bundle => &[("version", "0.0.0"), ("summary", "unknown")],
            Self::Component => &[("version", "0"), ("summary", "unknown"), ("category", "unknown")],
            Self::Lock => &[],
        };
        let all = [("apiVersion", "cozy/v1"), ("kind", kind), ("name", name)];
        all.into_iter().chain(of_kind.iter().copied()).collect()
    }

    /// Checks a file against its schema.
    pub(crate) fn check(self, source: &Arc<Source>, root: &Node) -> Vec<Finding> {
        let Loaded { schema, validator, .. } = self.loaded();
        match validator {
            Some(validator) => translate::check(validator, schema, source, root),
            None => Vec::new(),
        }
    }
}

/// A component's settings schema, ready to check and to fill in defaults.
#[derive(Debug)]
pub(crate) struct SettingsSchema {
    schema: Value,
    validator: Validator,
    /// The most schemas that judge one value.
    weight: u64,
}

/// Why a file is no settings schema.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SchemaFault {
    /// It is no JSON.
    #[error("not JSON: {}", words(.0))]
    Json(serde_json::Error),
    /// It is no JSON schema.
    #[error("not a JSON schema: {message}")]
    Schema {
        /// Where, a JSON pointer.
        at: String,
        /// What is wrong there.
        message: String,
    },
    /// It refers to schemas in a way that what it costs cannot be told.
    #[error("{message}")]
    Reference {
        /// Where, a JSON pointer.
        at: String,
        /// What is wrong there.
        message: String,
    },
    /// A default is not what its own schema allows.
    #[error("the default does not fit: {message}")]
    Default {
        /// Where, a JSON pointer.
        at: String,
        /// What is wrong with it.
        message: String,
    },
    /// Checking values against it would take too long.
    #[error("more than {} schemas judge one value: references and alternatives multiply", weight::MOST)]
    Heavy,
}

/// What the parser says, without its place.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(words, _)| words.to_owned())
}

/// How many schemas may judge values at all: those of large settings take a hundredth of it.
const MOST_CHECKS: u64 = 300_000;

impl SettingsSchema {
    /// Reads a schema. Its type `secret` becomes a reference, `{ env: NAME }` or `{ file: PATH }`.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, SchemaFault> {
        let mut schema: Value = serde_json::from_slice(text).map_err(SchemaFault::Json)?;
        let fault = |at: String, message: String| SchemaFault::Schema { at, message };
        if !schema.is_object() {
            return Err(fault(String::new(), "it is not a mapping".to_owned()));
        }
        let weight = weight::weight(&schema);
        if weight > weight::MOST {
            return Err(SchemaFault::Heavy);
        }
        if let Some((at, message)) = weight::reference(&schema) {
            return Err(SchemaFault::Reference { at, message });
        }
        secrets(&mut schema, 0);
        let validator = jsonschema::validator_for(&schema)
            .map_err(|error| fault(error.instance_path().to_string(), error.to_string()))?;
        let read = Self { schema, validator, weight };
        match read.wrong_default() {
            Some((at, message)) => Err(SchemaFault::Default { at, message }),
            None => Ok(read),
        }
    }

    /// A default that the schema itself refuses, with its place. What only other settings make wrong is none.
    fn wrong_default(&self) -> Option<(String, String)> {
        let mut all = Map::new();
        let mut places = BTreeMap::new();
        given(&self.schema, &mut all, ("", ""), &mut places);
        let all = Value::Object(all);
        if self.is_too_much(&all) {
            return None;
        }
        self.validator.iter_errors(&all).find_map(|error| {
            let at = error.instance_path().to_string();
            let within = |place: &str| {
                at.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            let (_, schema) = places.iter().find(|(place, _)| within(place))?;
            Some((format!("{schema}/default"), error.to_string()))
        })
    }

    /// Whether checking a value would take too long.
    fn is_too_much(&self, value: &Value) -> bool {
        parts(value).saturating_mul(self.weight) > MOST_CHECKS
    }

    /// All mistakes in the settings that stand at a node, but for missing
    /// ones: another file may give them, see [`Self::missing`].
    pub(crate) fn check(&self, source: &Arc<Source>, node: &Node) -> Vec<Finding> {
        if self.is_too_much(&node.to_json()) {
            let message = "the settings are too many to be checked against their schema";
            let finding = Finding::error(1014, message).on(source, node.range.clone());
            return vec![finding.hinted("no component needs that many")];
        }
        let mut findings = translate::check(&self.validator, &self.schema, source, node);
        findings.retain(|finding| finding.code != translate::MISSING);
        findings
    }

    /// Required settings that merged settings lack, and that have no default.
    pub(crate) fn missing(&self, merged: &Map<String, Value>) -> Vec<String> {
        let merged = Value::Object(merged.clone());
        if self.is_too_much(&merged) {
            return Vec::new();
        }
        let errors = self.validator.iter_errors(&merged);
        errors
            .filter_map(|error| {
                let ValidationErrorKind::Required { property } = error.kind() else { return None };
                let property = property.as_str()?;
                let defined = schema_at(&self.schema, error.schema_path().as_str())
                    .and_then(|schema| schema.get("properties")?.get(property)?.get("default"));
                let path = error.instance_path().to_string();
                let path = path.trim_start_matches('/').replace('/', ".");
                let dot = if path.is_empty() { "" } else { "." };
                defined.is_none().then(|| format!("{path}{dot}{property}"))
            })
            .collect()
    }

    /// The secrets among checked settings.
    pub(crate) fn secrets(&self, settings: &Map<String, Value>) -> Vec<SecretSetting> {
        let mut found = Vec::new();
        references(&self.schema, &Value::Object(settings.clone()), "", &mut found);
        found
    }

    /// Settings with the schema's defaults filled in.
    pub(crate) fn fill(&self, settings: &Map<String, Value>) -> Map<String, Value> {
        let mut filled = settings.clone();
        defaults(&self.schema, &mut filled);
        filled
    }
}

/// A key as JSON pointers write it (RFC 6901).
pub(super) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Finds the references in checked settings.
fn references(schema: &Value, value: &Value, pointer: &str, found: &mut Vec<SecretSetting>) {
    if schema.get("x-secret").is_some() {
        if let Ok(source) = serde_json::from_value(value.clone()) {
            found.push(SecretSetting { pointer: pointer.to_owned(), source, value: None });
        }
        return;
    }
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                let known = schema.get("properties").and_then(|known| known.get(key));
                if let Some(schema) = known.or_else(|| schema.get("additionalProperties")) {
                    let key = escaped(key);
                    references(schema, inner, &format!("{pointer}/{key}"), found);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.get("items") else { return };
            for (index, item) in items.iter().enumerate() {
                references(schema, item, &format!("{pointer}/{index}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// How many values a value holds, itself included.
fn parts(value: &Value) -> u64 {
    match value {
        Value::Object(map) => map.values().map(parts).sum::<u64>() + 1,
        Value::Array(items) => items.iter().map(parts).sum::<u64>() + 1,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

fn secrets(schema: &mut Value, depth: usize) {
    if depth > 64 {
        return;
    }
    if schema.get("type").and_then(Value::as_str) == Some("secret") {
        let description = schema.get("description").cloned();
        *schema = json!({
            "x-secret": true, "type": "object", "additionalProperties": false, "minProperties": 1, "maxProperties": 1,
            "properties": { "env": { "type": "string", "minLength": 1 }, "file": { "type": "string", "minLength": 1 } },
        });
        if let Some(description) = description {
            schema["description"] = description;
        }
        return;
    }
    match schema {
        Value::Object(map) => map.values_mut().for_each(|inner| secrets(inner, depth + 1)),
        Value::Array(items) => items.iter_mut().for_each(|inner| secrets(inner, depth + 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The defaults of a schema as settings. `at` is where these stand, and where their schema stands; `places` takes the
/// same of each default. Both are JSON pointers.
fn given(
    schema: &Value,
    settings: &mut Map<String, Value>,
    at: (&str, &str),
    places: &mut BTreeMap<String, String>,
) {
    for (key, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let key_at = escaped(key);
        let (own, of_schema) = (format!("{}/{key_at}", at.0), format!("{}/properties/{key_at}", at.1));
        if let Some(default) = property.get("default") {
            settings.insert(key.clone(), default.clone());
            places.insert(own, of_schema);
            continue;
        }
        let mut inner = Map::new();
        given(property, &mut inner, (&own, &of_schema), places);
        if !inner.is_empty() {
            settings.insert(key.clone(), Value::Object(inner));
        }
    }
}

fn defaults(schema: &Value, settings: &mut Map<String, Value>) {
    for (key, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if !settings.contains_key(key) {
            let nested = property.get("properties").is_some() && property.get("default").is_none();
            match property.get("default") {
                Some(default) => settings.insert(key.clone(), default.clone()),
                None if nested
                    && property.get("x-optional").is_none()
                    && property.get("minProperties").is_none() =>
                {
                    settings.insert(key.clone(), json!({}))
                }
                None => settings.insert(key.clone(), Value::Null),
            };
        }
        if property.get("x-secret").is_some() {
            continue;
        }
        match settings.get_mut(key) {
            Some(Value::Object(inner)) => defaults(property, inner),
            Some(Value::Array(items)) => {
                let Some(schema) = property.get("items") else { continue };
                items.iter_mut().filter_map(Value::as_object_mut).for_each(|item| defaults(schema, item));
            }
            _ => {}
        }
    }
}
