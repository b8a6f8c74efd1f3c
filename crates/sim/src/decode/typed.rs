//! What server-side apply refuses of a configuration before it merges it: unknown fields, wrong types, items twice.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::apply::{ListShape, element, list_shape, shown};
use crate::json;
use crate::types::{self, Form};

/// What a value is held against.
#[derive(Clone, Copy)]
enum Against<'a> {
    Form(&'a Form),
    /// A structural schema of a CRD.
    Schema(&'a Value),
    Anything,
}

/// Says what a configuration of a built-in type, or of a schema, may not have.
pub(crate) fn typed(config: &Value, type_name: &'static str, schema: Option<&Value>) -> Vec<String> {
    let mut errors = Vec::new();
    match schema {
        Some(schema) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, value) in config.as_object().into_iter().flatten() {
                if ["apiVersion", "kind"].contains(&name.as_str()) {
                    continue;
                }
                let path = format!(".{name}");
                if name == "metadata" {
                    let form = Form::Struct { name: "ObjectMeta", atomic: false };
                    check(value, Against::Form(&form), &path, &mut errors);
                    continue;
                }
                match properties.and_then(|fields| fields.get(name)) {
                    Some(schema) => check(value, Against::Schema(schema), &path, &mut errors),
                    None if open(schema) => {}
                    None => errors.push(format!("{path}: field not declared in schema")),
                }
            }
        }
        None => structure(config, type_name, "", &mut errors),
    }
    errors
}

fn open(schema: &Value) -> bool {
    schema.get("x-kubernetes-preserve-unknown-fields").is_some_and(|it| it == true)
        || schema.get("properties").is_none() && schema.get("additionalProperties").is_none()
}

fn structure(value: &Value, type_name: &'static str, path: &str, errors: &mut Vec<String>) {
    let Some(fields) = types::fields(type_name) else { return };
    let typed = fields.contains_key("metadata");
    for (name, inner) in value.as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        match fields.get(name.as_str()) {
            Some(field) => check(inner, Against::Form(&field.form), &path, errors),
            None if typed && (name == "apiVersion" || name == "kind") => {}
            None => {
                errors.push(format!("{path}: field not declared in schema"));
                return;
            }
        }
    }
}

fn check(value: &Value, against: Against<'_>, path: &str, errors: &mut Vec<String>) {
    if value.is_null() {
        return;
    }
    match against {
        Against::Anything => {}
        Against::Form(form) => match form {
            Form::Text | Form::Bytes | Form::Time { .. } => scalar(value, "string", path, errors),
            Form::Integer(_) | Form::Number => scalar(value, "number", path, errors),
            Form::Boolean => scalar(value, "boolean", path, errors),
            Form::Quantity | Form::IntegerOrText | Form::Any => {}
            Form::Struct { name, .. } if value.is_object() => structure(value, name, path, errors),
            Form::Struct { .. } => errors.push(format!("{path}: expected map, got {}", go_value(value))),
            Form::Map { values, .. } => map(value, Against::Form(values), path, errors),
            Form::List { keys, items } => {
                list(value, (&list_shape(keys), Against::Form(items)), path, errors);
            }
        },
        Against::Schema(schema) => by_schema(value, schema, path, errors),
    }
}

fn by_schema(value: &Value, schema: &Value, path: &str, errors: &mut Vec<String>) {
    if schema.get("x-kubernetes-int-or-string").is_some_and(|it| it == true) {
        return;
    }
    match json::text(schema, &["type"]) {
        "string" => scalar(value, "string", path, errors),
        "integer" | "number" => scalar(value, "number", path, errors),
        "boolean" => scalar(value, "boolean", path, errors),
        "array" => {
            let items = schema.get("items").map_or(Against::Anything, Against::Schema);
            list(value, (&crate::apply::list_shape_of_schema(schema), items), path, errors);
        }
        "object" if schema.get("additionalProperties").is_some_and(Value::is_object) => {
            let values = schema.get("additionalProperties").map_or(Against::Anything, Against::Schema);
            map(value, values, path, errors);
        }
        "object" => {
            let Some(fields) = value.as_object() else {
                errors.push(format!("{path}: expected map, got {}", go_value(value)));
                return;
            };
            for (name, inner) in fields {
                let path = format!("{path}.{name}");
                match json::at(schema, &["properties", name]) {
                    Some(schema) => check(inner, Against::Schema(schema), &path, errors),
                    None if open(schema) => {}
                    None => errors.push(format!("{path}: field not declared in schema")),
                }
            }
        }
        _ => {}
    }
}

fn map(value: &Value, values: Against<'_>, path: &str, errors: &mut Vec<String>) {
    let Some(fields) = value.as_object() else {
        errors.push(format!("{path}: expected map, got {}", go_value(value)));
        return;
    };
    for (name, inner) in fields {
        check(inner, values, &format!("{path}.{name}"), errors);
    }
}

fn list(value: &Value, (shape, items): (&ListShape, Against<'_>), path: &str, errors: &mut Vec<String>) {
    let Some(list) = value.as_array() else {
        errors.push(format!("{path}: expected list, got {}", go_value(value)));
        return;
    };
    let mut seen = BTreeSet::new();
    for (index, item) in list.iter().enumerate() {
        let name = element(shape, item);
        let inner = match &name {
            Some(element) => format!("{path}{}", shown(element)),
            None => format!("{path}[{index}]"),
        };
        if let Some(element) = name
            && !seen.insert(element.clone())
        {
            errors.push(format!("{path}: duplicate entries for key {}", shown(&element)));
        }
        check(item, items, &inner, errors);
    }
}

fn scalar(value: &Value, wanted: &str, path: &str, errors: &mut Vec<String>) {
    let fits = match wanted {
        "string" => value.is_string(),
        "number" => value.is_number(),
        _ => value.is_boolean(),
    };
    if fits {
        return;
    }
    errors.push(match wanted {
        "string" => {
            format!("{path}: expected string, got &value.valueUnstructured{{Value:{}}}", go_value(value))
        }
        "number" => format!("{path}: expected numeric (int or float), got {}", go_kind(value)),
        _ => format!("{path}: expected boolean, got &{{{}}}", go_value(value)),
    });
}

fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn go_value(value: &Value) -> String {
    value.to_string()
}
