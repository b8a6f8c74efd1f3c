//! Structural schemas of custom resources: what is not in them is pruned, their defaults are filled in, and values
//! are held against them, in the words of the real server's validator.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use regex::Regex;
use serde_json::{Map, Value, json};

use crate::apply::{ListShape, element, list_shape_of_schema};
use crate::json as tree;
use crate::status::Cause;

fn yes(schema: &Value, field: &str) -> bool {
    schema.get(field).is_some_and(|it| it == true)
}

fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

/// Takes out of an object what its schema does not have, and answers the paths of that.
pub(crate) fn prune(object: &mut Value, schema: &Value) -> Vec<String> {
    let mut unknown = Vec::new();
    prune_map(object, schema, "", &mut unknown);
    unknown
}

/// The fields that every object has, whatever its schema says.
const ALWAYS: [&str; 3] = ["apiVersion", "kind", "metadata"];

fn prune_map(value: &mut Value, schema: &Value, path: &str, unknown: &mut Vec<String>) {
    let Value::Object(map) = value else { return };
    let whole = path.is_empty() || yes(schema, "x-kubernetes-embedded-resource");
    let open = yes(schema, "x-kubernetes-preserve-unknown-fields");
    let (known, others) = (properties(schema), schema.get("additionalProperties"));
    map.retain(|name, inner| {
        if whole && ALWAYS.contains(&name.as_str()) {
            return true;
        }
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if let Some(schema) = known.and_then(|known| known.get(name)) {
            prune_value(inner, schema, &path, unknown);
            return true;
        }
        match others {
            Some(Value::Object(_)) => {
                prune_value(inner, others.unwrap_or(&Value::Null), &path, unknown);
                true
            }
            Some(Value::Bool(true)) => true,
            _ if open => true,
            _ => {
                unknown.push(path);
                false
            }
        }
    });
}

fn prune_value(value: &mut Value, schema: &Value, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(_) if !yes(schema, "x-kubernetes-int-or-string") => {
            prune_map(value, schema, path, unknown);
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                if let Some(schema) = schema.get("items") {
                    prune_value(item, schema, &format!("{path}[{index}]"), unknown);
                }
            }
        }
        _ => {}
    }
}

/// Fills in the defaults of a schema, and takes out nulls where none may be.
pub(crate) fn fill(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(map) => {
            for (name, schema) in properties(schema).into_iter().flatten() {
                let default = schema.get("default");
                if map.get(name).is_some_and(Value::is_null) && !yes(schema, "nullable") {
                    map.shift_remove(name);
                }
                if let Some(default) = default.filter(|_| !map.contains_key(name)) {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, inner) in map {
                let known = properties(schema).and_then(|known| known.get(name));
                if let Some(schema) =
                    known.or_else(|| schema.get("additionalProperties").filter(|it| it.is_object()))
                {
                    fill(inner, schema);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    fill(item, schema);
                }
            }
        }
        _ => {}
    }
}

/// Says what of an object is not as its schema has it.
pub(crate) fn validate(object: &Value, schema: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    Check { prefix: "", causes: &mut causes }.value(object, schema, "");
    twice(object, schema, "", &mut causes);
    causes
}

/// Says what of an object's status is not as its schema has it.
pub(crate) fn validate_status(object: &Value, schema: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let (Some(status), Some(schema)) = (object.get("status"), tree::at(schema, &["properties", "status"]))
    {
        Check { prefix: "status.", causes: &mut causes }.value(status, schema, "");
        twice(status, schema, "status", &mut causes);
    }
    causes
}

struct Check<'a> {
    /// Stands before the paths of fields, but not in what is said of them.
    prefix: &'static str,
    causes: &'a mut Vec<Cause>,
}

impl Check<'_> {
    fn say(&mut self, reason: &'static str, path: &str, message: String) {
        let field = format!("{}{path}", self.prefix);
        self.causes.push(Cause { reason, field, message });
    }

    fn invalid(&mut self, path: &str, value: &Value, why: &str) {
        self.say("FieldValueInvalid", path, format!("Invalid value: {value}: {path} in body {why}"));
    }

    fn wrong_type(&mut self, path: &str, shown: &str, wanted: &str) {
        let message = format!("Invalid value: {shown:?}: {path} in body must be of type {wanted}: {shown:?}");
        self.say("FieldValueTypeInvalid", path, message);
    }

    fn value(&mut self, value: &Value, schema: &Value, path: &str) {
        if value.is_null() && yes(schema, "nullable") {
            return;
        }
        let wanted = if yes(schema, "x-kubernetes-int-or-string") {
            "integer,string"
        } else {
            tree::text(schema, &["type"])
        };
        let fits = match wanted {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => is_integer(value),
            "number" => value.is_number(),
            "integer,string" => is_integer(value) || value.is_string(),
            _ => true,
        };
        if !fits {
            self.wrong_type(path, type_of(value), wanted);
            return;
        }
        match value {
            Value::Object(map) => self.map(map, schema, path),
            Value::Array(items) => self.list(items, schema, path),
            Value::String(text) => self.text(text, schema, path),
            Value::Number(_) => self.number(value, schema, path),
            Value::Null | Value::Bool(_) => {}
        }
        let known = tree::items(schema, "enum");
        if !known.is_empty() && !known.contains(value) {
            let known: Vec<_> =
                known.iter().map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned)).collect();
            let cause = Cause::unsupported(format!("{}{path}", self.prefix), value, &known);
            self.causes.push(cause);
        }
        self.alternatives(value, schema, path);
    }

    fn map(&mut self, map: &Map<String, Value>, schema: &Value, path: &str) {
        let inner = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let others = schema.get("additionalProperties").filter(|it| it.is_object());
        for (name, value) in map {
            if path.is_empty() && self.prefix.is_empty() && ALWAYS.contains(&name.as_str()) {
                continue;
            }
            let known = properties(schema).and_then(|known| known.get(name));
            if let Some(schema) = known.or(others) {
                self.value(value, schema, &inner(name));
            }
        }
        for name in tree::items(schema, "required").iter().filter_map(Value::as_str) {
            if !map.contains_key(name) {
                self.say("FieldValueRequired", &inner(name), "Required value".to_owned());
            }
        }
        let count = map.len() as u64;
        if let Some(most) = schema.get("maxProperties").and_then(Value::as_u64).filter(|most| count > *most) {
            let message = format!("Too many: {count}: must have at most {most} items");
            self.say("FieldValueTooMany", path, message);
        }
        if let Some(least) =
            schema.get("minProperties").and_then(Value::as_u64).filter(|least| count < *least)
        {
            self.invalid(path, &json!(map), &format!("should have at least {least} properties"));
        }
    }

    fn list(&mut self, items: &[Value], schema: &Value, path: &str) {
        let count = items.len() as u64;
        if let Some(most) = schema.get("maxItems").and_then(Value::as_u64).filter(|most| count > *most) {
            let message = format!("Too many: {count}: must have at most {most} items");
            self.say("FieldValueTooMany", path, message);
        }
        if let Some(least) = schema.get("minItems").and_then(Value::as_u64).filter(|least| count < *least) {
            self.invalid(path, &json!(count), &format!("should have at least {least} items"));
        }
        if let Some(schema) = schema.get("items") {
            for (index, item) in items.iter().enumerate() {
                self.value(item, schema, &format!("{path}[{index}]"));
            }
        }
    }

    fn text(&mut self, text: &str, schema: &Value, path: &str) {
        let length = text.chars().count() as u64;
        if let Some(most) = schema.get("maxLength").and_then(Value::as_u64).filter(|most| length > *most) {
            self.say("FieldValueTooLong", path, format!("Too long: may not be more than {most} bytes"));
        }
        if let Some(least) = schema.get("minLength").and_then(Value::as_u64).filter(|least| length < *least) {
            self.invalid(path, &json!(text), &format!("should be at least {least} chars long"));
        }
        let pattern = tree::text(schema, &["pattern"]);
        if !pattern.is_empty() && !matches(pattern, text) {
            self.invalid(path, &json!(text), &format!("should match '{pattern}'"));
        }
        let time = tree::text(schema, &["format"]) == "date-time";
        if time && text.parse::<jiff::Timestamp>().is_err() {
            self.wrong_type(path, text, "date-time");
        }
    }

    fn number(&mut self, value: &Value, schema: &Value, path: &str) {
        let bound = |field: &str| schema.get(field).and_then(Value::as_f64);
        let number = value.as_f64().unwrap_or_default();
        if let Some(most) = bound("maximum") {
            let open = yes(schema, "exclusiveMaximum");
            if number > most || open && number >= most {
                let or_equal = if open { "" } else { " or equal to" };
                self.invalid(path, value, &format!("should be less than{or_equal} {most}"));
            }
        }
        if let Some(least) = bound("minimum") {
            let open = yes(schema, "exclusiveMinimum");
            if number < least || open && number <= least {
                let or_equal = if open { "" } else { " or equal to" };
                self.invalid(path, value, &format!("should be greater than{or_equal} {least}"));
            }
        }
    }

    fn alternatives(&mut self, value: &Value, schema: &Value, path: &str) {
        let passes = |schema: &Value| {
            let mut causes = Vec::new();
            Check { prefix: "", causes: &mut causes }.value(value, schema, path);
            causes.is_empty()
        };
        for schema in tree::items(schema, "allOf") {
            self.value(value, schema, path);
        }
        let any = tree::items(schema, "anyOf");
        if !any.is_empty() && !any.iter().any(passes) {
            self.invalid(path, value, "must validate at least one schema (anyOf)");
        }
        let one = tree::items(schema, "oneOf");
        let fit = one.iter().filter(|schema| passes(schema)).count();
        if !one.is_empty() && fit != 1 {
            let found = if fit == 0 {
                "Found none valid".to_owned()
            } else {
                format!("Found {fit} valid alternatives")
            };
            self.invalid(path, value, &format!("must validate one and only one schema (oneOf). {found}"));
        }
        if schema.get("not").is_some_and(passes) {
            self.invalid(path, value, "must not validate the schema (not)");
        }
    }
}

/// Tells whether a text matches a pattern; one that cannot be read here is not held against anything.
fn matches(pattern: &str, text: &str) -> bool {
    thread_local! {
        /// Patterns that were read, which costs more than their use.
        static READ: RefCell<HashMap<String, Option<Regex>>> = RefCell::default();
    }
    READ.with_borrow_mut(|read| {
        let known = read.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).ok());
        known.as_ref().is_none_or(|known| known.is_match(text))
    })
}

/// Finds items that stand twice in sets, and in lists that are told apart by keys.
fn twice(value: &Value, schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                let known = properties(schema).and_then(|known| known.get(name));
                let others = schema.get("additionalProperties").filter(|it| it.is_object());
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                if let Some(schema) = known.or(others) {
                    twice(inner, schema, &path, causes);
                }
            }
        }
        Value::Array(items) => {
            let shape = list_shape_of_schema(schema);
            let mut seen = BTreeSet::new();
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                if let Some(element) = element(&shape, item)
                    && !seen.insert(element)
                {
                    let shown = match &shape {
                        ListShape::Map(keys) => keys
                            .iter()
                            .filter_map(|(key, _)| Some((key.clone(), item.get(key)?.clone())))
                            .collect(),
                        ListShape::Set | ListShape::Atomic => item.clone(),
                    };
                    causes.push(Cause::duplicate(path.clone(), &shown));
                }
                if let Some(schema) = schema.get("items") {
                    twice(item, schema, &path, causes);
                }
            }
        }
        _ => {}
    }
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|it| it.fract() == 0.0)
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_integer(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
