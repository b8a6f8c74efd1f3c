//! From what a client sent to an object: wrong types are refused, unknown and duplicate fields are found, and the
//! rest comes back as the server writes it: empty fields left out, quantities canonical, times cut.
//!
//! - `duplicates`: fields that stand twice in the text
//! - `typed`: what an apply refuses before anything is merged

mod duplicates;
mod typed;

pub(crate) use duplicates::duplicates;
pub(crate) use typed::typed;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use serde_json::{Map, Value, json};

use crate::kinds::Kind;
use crate::types::{self, Field, Form, Written};
use crate::{quantity, schema};

/// What came of a value.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Paths of fields that the type does not have.
    pub(crate) unknown: Vec<String>,
    /// The first value that is of the wrong type, in the decoder's words.
    pub(crate) wrong: Option<String>,
}

/// Reads an object of a kind, built-in or custom: leaves what may be in it, and says what else there was.
pub(crate) fn object(value: &mut Value, kind: &Kind) -> Found {
    match kind.type_name {
        Some(type_name) => decode(value, type_name),
        None => custom(value, kind),
    }
}

/// Answers what an object of a built-in kind is written as when nothing is in it.
pub(crate) fn empty(kind: &Kind) -> Value {
    let mut value = json!({});
    if let Some(type_name) = kind.type_name {
        decode(&mut value, type_name);
    }
    value
}

fn custom(value: &mut Value, kind: &Kind) -> Found {
    let mut found = Found::default();
    if let Some(metadata) = value.get_mut("metadata") {
        let inner = decode(metadata, "ObjectMeta");
        found.unknown.extend(inner.unknown.into_iter().map(|path| format!("metadata.{path}")));
        found.wrong = inner.wrong;
    }
    if let Some(schema) = &kind.schema {
        found.unknown.extend(schema::prune(value, schema));
        schema::fill(value, schema);
    }
    found.unknown.sort();
    found
}

/// Makes a value what its type allows, and says what it did not.
pub(crate) fn decode(value: &mut Value, type_name: &'static str) -> Found {
    let mut walk = Walk { found: Found::default(), path: Vec::new(), owner: type_name, shown: String::new() };
    walk.structure(value, type_name);
    walk.found
}

struct Walk {
    found: Found,
    /// Names of fields, as the decoder's errors have them.
    path: Vec<String>,
    /// The type that has the field at hand.
    owner: &'static str,
    /// The path with the positions of items, as errors of strict decoding have it.
    shown: String,
}

impl Walk {
    fn structure(&mut self, value: &mut Value, type_name: &'static str) {
        let Some(fields) = types::fields(type_name) else { return };
        let Value::Object(map) = value else {
            self.mismatch(value, &format!("v1.{type_name}"));
            return;
        };
        let own = self.owner;
        let typed = fields.contains_key("metadata");
        let mut kept = Map::new();
        for (name, mut inner) in std::mem::take(map) {
            if typed && (name == "apiVersion" || name == "kind") {
                kept.insert(name, inner);
                continue;
            }
            let length = self.shown.len();
            if !self.shown.is_empty() {
                self.shown.push('.');
            }
            self.shown.push_str(&name);
            match fields.get(name.as_str()) {
                None => self.found.unknown.push(self.shown.clone()),
                Some(field) => {
                    self.owner = type_name;
                    self.path.push(name.clone());
                    if !inner.is_null() {
                        self.value(&mut inner, &field.form);
                    }
                    self.path.pop();
                    if is_written(&inner, field) {
                        kept.insert(name, inner);
                    }
                }
            }
            self.shown.truncate(length);
        }
        self.owner = own;
        for (name, field) in fields {
            if !kept.contains_key(*name)
                && let Some(empty) = unsaid(field)
            {
                kept.insert((*name).to_owned(), empty);
            }
        }
        *map = kept;
    }

    fn value(&mut self, value: &mut Value, form: &Form) {
        match form {
            Form::Any => {}
            Form::Struct { name, .. } => self.structure(value, name),
            Form::List { items, .. } => self.list(value, items),
            Form::Map { values, .. } => self.map(value, values),
            Form::Quantity => self.quantity(value),
            Form::Time { micro } => self.time(value, *micro),
            Form::Bytes => self.bytes(value),
            Form::IntegerOrText if value.is_string() || value.is_i64() => {}
            Form::Text if value.is_string() => {}
            Form::Boolean if value.is_boolean() => {}
            Form::Number if value.is_number() => {}
            Form::Integer(_) if value.is_i64() => {}
            // 3.0 and 1e3 are whole numbers, too.
            Form::Integer(_) if value.as_f64().is_some_and(|it| it.fract() == 0.0 && it.abs() < 1e15) => {
                let text = format!("{:.0}", value.as_f64().unwrap_or_default());
                *value = json!(text.parse::<i64>().unwrap_or_default());
            }
            Form::IntegerOrText | Form::Text | Form::Boolean | Form::Number | Form::Integer(_) => {
                self.mismatch(value, &go_type(form));
            }
        }
    }

    fn list(&mut self, value: &mut Value, items: &Form) {
        let Value::Array(list) = value else {
            self.mismatch(value, &format!("[]{}", go_type(items)));
            return;
        };
        let length = self.shown.len();
        for (index, item) in list.iter_mut().enumerate() {
            self.shown.extend(["[", &index.to_string(), "]"]);
            self.value(item, items);
            self.shown.truncate(length);
        }
    }

    fn map(&mut self, value: &mut Value, values: &Form) {
        let Value::Object(map) = value else {
            self.mismatch(value, &format!("map[string]{}", go_type(values)));
            return;
        };
        let length = self.shown.len();
        for (key, inner) in map {
            self.shown.extend([".", key.as_str()]);
            if inner.is_null() {
                *inner = zero(values);
            } else {
                self.value(inner, values);
            }
            self.shown.truncate(length);
        }
    }

    fn quantity(&mut self, value: &mut Value) {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        match quantity::canonical(&text) {
            Some(text) => *value = Value::String(text),
            None => self.say(quantity::PATTERN.to_owned()),
        }
    }

    fn time(&mut self, value: &mut Value, micro: bool) {
        match value.as_str().and_then(|text| text.parse::<Timestamp>().ok()) {
            Some(time) => {
                let form = if micro { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
                *value = Value::String(time.strftime(form).to_string());
            }
            None => {
                self.say(format!("parsing time {:?} as \"2006-01-02T15:04:05Z07:00\"", value.to_string()));
            }
        }
    }

    fn bytes(&mut self, value: &mut Value) {
        if value.is_string() {
            if serde_json::from_value::<ByteString>(value.clone()).is_err() {
                self.say("illegal base64 data at input byte 0".to_owned());
            }
        } else {
            self.mismatch(value, "[]uint8");
        }
    }

    fn mismatch(&mut self, value: &Value, wanted: &str) {
        let given = match value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let (owner, path) = (self.owner, self.path.join("."));
        self.say(format!(
            "json: cannot unmarshal {given} into Go struct field {owner}.{path} of type {wanted}"
        ));
    }

    fn say(&mut self, wrong: String) {
        self.found.wrong.get_or_insert(wrong);
    }
}

fn is_written(value: &Value, field: &Field) -> bool {
    let structure = matches!(field.form, Form::Struct { .. });
    match field.written {
        // The time types know no way to be left out.
        Written::Filled if value.is_null() => matches!(field.form, Form::Time { .. }),
        _ if value.is_null() => false,
        Written::Always | Written::Present => true,
        Written::Filled => structure || *value != zero(&field.form) && !is_empty(value),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// What the server writes for a field that is not there.
fn unsaid(field: &Field) -> Option<Value> {
    match (&field.form, field.written) {
        (Form::Struct { name, .. }, Written::Always | Written::Filled) => {
            let mut value = json!({});
            decode(&mut value, name);
            Some(value)
        }
        (Form::Time { .. }, Written::Filled) => Some(Value::Null),
        (form, Written::Always) => Some(zero(form)),
        (_, Written::Present | Written::Filled) => None,
    }
}

fn zero(form: &Form) -> Value {
    match form {
        Form::Text => json!(""),
        Form::Integer(_) | Form::Number | Form::IntegerOrText => json!(0),
        Form::Boolean => json!(false),
        Form::Quantity => json!("0"),
        Form::Struct { .. } => json!({}),
        Form::Time { .. } | Form::Bytes | Form::Any | Form::List { .. } | Form::Map { .. } => Value::Null,
    }
}

/// Names a type as the decoder's errors do.
fn go_type(form: &Form) -> String {
    match form {
        Form::Text => "string".to_owned(),
        Form::Integer(bits) => format!("int{bits}"),
        Form::Boolean => "bool".to_owned(),
        Form::Number => "float64".to_owned(),
        Form::Quantity => "resource.Quantity".to_owned(),
        Form::IntegerOrText => "intstr.IntOrString".to_owned(),
        Form::Time { micro: false } => "v1.Time".to_owned(),
        Form::Time { micro: true } => "v1.MicroTime".to_owned(),
        Form::Bytes => "[]uint8".to_owned(),
        Form::Any => "runtime.RawExtension".to_owned(),
        Form::Struct { name, .. } => format!("v1.{name}"),
        Form::List { items, .. } => format!("[]{}", go_type(items)),
        Form::Map { values, .. } => format!("map[string]{}", go_type(values)),
    }
}
