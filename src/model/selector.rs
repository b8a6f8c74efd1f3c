//! Label selectors: as objects have them (`matchLabels`, `matchExpressions`)
//! and as kubectl takes them (`app=web,tier in (a,b),!old`).

use serde_json::Value;

/// What labels must be. All requirements hold together; none at all takes everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    must: Must,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Must {
    In(Vec<String>),
    /// Also where the label is missing.
    NotIn(Vec<String>),
    Exist,
    NotExist,
}

impl Selector {
    /// Reads a selector as objects have it, which the API server has validated; missing, it takes everything.
    pub(crate) fn of(selector: Option<&Value>) -> Self {
        let at = |key: &str| selector.and_then(|selector| selector.get(key));
        let labels = at("matchLabels").and_then(Value::as_object).into_iter().flatten();
        let labels = labels.map(|(key, value)| Requirement {
            key: key.clone(),
            must: Must::In(value.as_str().map(str::to_owned).into_iter().collect()),
        });
        let expressions = at("matchExpressions").and_then(Value::as_array).into_iter().flatten();
        let expressions = expressions.filter_map(|expression| {
            let text = |key: &str| expression.get(key).and_then(Value::as_str);
            let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
            let values = values.filter_map(Value::as_str).map(str::to_owned).collect();
            let must = match text("operator")? {
                "In" => Must::In(values),
                "NotIn" => Must::NotIn(values),
                "Exists" => Must::Exist,
                "DoesNotExist" => Must::NotExist,
                _ => return None,
            };
            Some(Requirement { key: text("key")?.to_owned(), must })
        });
        Self(labels.chain(expressions).collect())
    }

    /// Reads a selector as kubectl takes it; `None`: it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut depth = 0_usize;
        let parts = text.split(|character: char| {
            match character {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            character == ',' && depth == 0
        });
        parts.map(str::trim).filter(|part| !part.is_empty()).map(requirement).collect::<Option<_>>().map(Self)
    }

    /// Whether labels (`metadata.labels`) are as they must be.
    pub(crate) fn takes(&self, labels: Option<&Value>) -> bool {
        self.0.iter().all(|Requirement { key, must }| {
            let label = labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
            let among =
                |values: &[String]| label.is_some_and(|label| values.iter().any(|value| value == label));
            match must {
                Must::In(values) => among(values),
                Must::NotIn(values) => !among(values),
                Must::Exist => label.is_some(),
                Must::NotExist => label.is_none(),
            }
        })
    }
}

fn requirement(part: &str) -> Option<Requirement> {
    let is_key = |key: &str| {
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
    };
    let made = |key: &str, must| is_key(key).then(|| Requirement { key: key.to_owned(), must });
    if let Some(list) = part.strip_suffix(')') {
        let (left, values) = list.split_once('(')?;
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        let (key, word) = left.trim().split_once(char::is_whitespace)?;
        return match word.trim() {
            "in" => made(key, Must::In(values)),
            "notin" => made(key, Must::NotIn(values)),
            _ => None,
        };
    }
    if let Some((key, value)) = part.split_once("!=") {
        return made(key.trim(), Must::NotIn(vec![value.trim().to_owned()]));
    }
    if let Some((key, value)) = part.split_once('=') {
        let value = value.strip_prefix('=').unwrap_or(value);
        return made(key.trim(), Must::In(vec![value.trim().to_owned()]));
    }
    match part.strip_prefix('!') {
        Some(key) => made(key.trim(), Must::NotExist),
        None => made(part, Must::Exist),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_are_read_as_kubectl_reads_them() {
        let labels = json!({ "app": "web", "tier": "a" });
        let takes = |text: &str| Selector::parse(text).map(|selector| selector.takes(Some(&labels)));
        for text in
            ["", "app=web", "app==web, tier in (a, b)", "app!=db", "tier notin (b)", "app", "!old", "old!=x"]
        {
            assert_eq!(takes(text), Some(true), "{text}");
        }
        for text in ["app=db", "tier in (b,c)", "app!=web", "old", "!app", "app=web,old"] {
            assert_eq!(takes(text), Some(false), "{text}");
        }
        for text in ["a b", "app within (x)", "=x", "in (a)", "a=b c (d)"] {
            assert_eq!(takes(text), None, "{text}");
        }
    }

    #[test]
    fn selectors_of_objects_join_labels_and_expressions() {
        let takes = |selector: Value| Selector::of(Some(&selector)).takes(Some(&json!({ "app": "web" })));
        assert!(takes(json!({})));
        assert!(takes(json!({ "matchLabels": { "app": "web" } })));
        assert!(!takes(
            json!({ "matchExpressions": [{ "key": "app", "operator": "NotIn", "values": ["web"] }] })
        ));
        assert!(takes(json!({ "matchExpressions": [{ "key": "x", "operator": "DoesNotExist" }] })));
        assert!(Selector::of(None).takes(None));
    }
}
