//! What would change in an object: two JSON trees, as fields with their
//! values before and after. What only the server writes is left out.

use serde_json::Value;

use super::Change;

/// Fields that the server keeps for itself.
const SERVERS_OWN: &[&str] = &[
    ".metadata.managedFields",
    ".metadata.resourceVersion",
    ".metadata.generation",
    ".metadata.creationTimestamp",
    ".metadata.uid",
    ".status",
];

/// What is different in `to`. Values of a Secret's data are masked.
pub(crate) fn changes(from: &Value, to: &Value) -> Vec<Change> {
    let secret = to.get("kind").and_then(Value::as_str) == Some("Secret");
    let mut found = Vec::new();
    walk(String::new(), Some(from), Some(to), &mut found);
    if secret {
        for change in found
            .iter_mut()
            .filter(|change| change.field.starts_with(".data") || change.field.starts_with(".stringData"))
        {
            let mask = |value: &mut Option<String>| {
                if let Some(value) = value {
                    "(secret)".clone_into(value);
                }
            };
            mask(&mut change.from);
            mask(&mut change.to);
        }
    }
    found
}

fn walk(field: String, from: Option<&Value>, to: Option<&Value>, found: &mut Vec<Change>) {
    if from == to || SERVERS_OWN.contains(&field.as_str()) {
        return;
    }
    match (from, to) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            for (key, value) in a {
                walk(join(&field, key), Some(value), b.get(key), found);
            }
            for (key, value) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
                walk(join(&field, key), None, Some(value), found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                walk(format!("{field}[{index}]"), Some(a), Some(b), found);
            }
        }
        (from, to) => {
            found.push(Change {
                field,
                from: from.map(ToString::to_string),
                to: to.map(ToString::to_string),
            });
        }
    }
}

/// `.spec.replicas`, or `.data["a.b"]` where a key is no plain word.
fn join(field: &str, key: &str) -> String {
    let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if plain { format!("{field}.{key}") } else { format!("{field}[{key:?}]") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(from: &Value, to: &Value) -> Vec<String> {
        changes(from, to)
            .into_iter()
            .map(|change| {
                let side = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
                format!("{}: {} → {}", change.field, side(change.from), side(change.to))
            })
            .collect()
    }

    #[test]
    fn fields_that_differ_are_named_and_the_servers_own_are_not() {
        let from = json!({ "metadata": { "resourceVersion": "1", "labels": { "a/b": "x" } }, "spec": { "replicas": 1, "gone": true, "list": [1, 2] } });
        let to = json!({ "metadata": { "resourceVersion": "2", "labels": { "a/b": "y" } }, "spec": { "replicas": 3, "new": {}, "list": [1, 3] }, "status": {} });
        assert_eq!(
            shown(&from, &to),
            [
                ".metadata.labels[\"a/b\"]: \"x\" → \"y\"",
                ".spec.replicas: 1 → 3",
                ".spec.gone: true → -",
                ".spec.list[1]: 2 → 3",
                ".spec.new: - → {}",
            ]
        );
    }

    #[test]
    fn secrets_are_masked() {
        let of = |value: &str| json!({ "kind": "Secret", "data": { "password": value } });
        assert_eq!(shown(&of("YQ=="), &of("Yg==")), [".data.password: (secret) → (secret)"]);
    }
}
