//! JSON schemas of what cozy prints for programs: events, plans, status.

/// The documents that have a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Document {
    /// One line of a run.
    Event,
    /// `cozy plan -o json`.
    Plan,
    /// `cozy status -o json`.
    Status,
}

impl Document {
    /// The schema's text, for `cozy schema`.
    pub(crate) fn schema(self) -> &'static str {
        match self {
            Self::Event => include_str!("schemas/event.json"),
            Self::Plan => include_str!("schemas/plan.json"),
            Self::Status => include_str!("schemas/status.json"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;

    use super::super::{json, plan_json, samples};
    use super::*;
    use crate::execute::event::{Event, EventKind, FetchedFrom};

    /// A schema for programs allows fields that later versions add; here every field must be known. `part`: one of
    /// several schemas of the same object, which need not know what the others say.
    fn strict(schema: &mut Value, part: bool) {
        match schema {
            Value::Object(fields) => {
                let open = ["additionalProperties", "unevaluatedProperties"];
                if !part
                    && fields.contains_key("properties")
                    && !open.iter().any(|key| fields.contains_key(*key))
                {
                    fields.insert("unevaluatedProperties".to_owned(), Value::Bool(false));
                }
                for (key, value) in fields {
                    match (key.as_str(), value) {
                        ("oneOf" | "anyOf" | "allOf", parts) => strict(parts, true),
                        ("$defs", Value::Object(named)) => {
                            named.values_mut().for_each(|named| strict(named, true));
                        }
                        (_, value) => strict(value, false),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| strict(item, part)),
            _ => {}
        }
    }

    fn mistakes(of: Document, document: &Value) -> Vec<String> {
        let mut schema = serde_json::from_str(of.schema()).unwrap();
        strict(&mut schema, false);
        let validator = jsonschema::validator_for(&schema).unwrap();
        validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    #[test]
    fn what_is_printed_is_what_its_schema_says() {
        let others = [
            EventKind::Fetching { artefact: "chart a 1".to_owned(), from: "https://a".to_owned() },
            EventKind::FetchProgress { artefact: "chart a 1".to_owned(), received: 1, total: None },
            EventKind::Fetched {
                artefact: "chart a 1".to_owned(),
                bytes: 1,
                sha256: "0".repeat(64),
                from: FetchedFrom::Mirror,
                took: Duration::ZERO,
            },
            EventKind::Interrupted { signal: "SIGINT".to_owned() },
            EventKind::Warning { message: "x".to_owned() },
        ];
        let others = others.map(|kind| Event { at: Duration::ZERO, kind });
        let mut kinds = std::collections::BTreeSet::new();
        for event in samples::run().iter().chain(&samples::failing_run()).chain(&others) {
            let document: Value = serde_json::from_str(&json::line(event)).unwrap();
            assert_eq!(mistakes(Document::Event, &document), Vec::<String>::new(), "{document}");
            kinds.insert(document["event"].as_str().unwrap().to_owned());
        }
        let schema: Value = serde_json::from_str(Document::Event.schema()).unwrap();
        let known = schema["properties"]["event"]["enum"].as_array().unwrap();
        assert_eq!(kinds.len(), known.len(), "events that no sample shows");
        let plan = plan_json::plan_json(&samples::plan());
        assert_eq!(mistakes(Document::Plan, &plan), Vec::<String>::new());
        assert!(!mistakes(Document::Plan, &serde_json::json!({ "schema": "cozy/v1/plan" })).is_empty());
    }
}
