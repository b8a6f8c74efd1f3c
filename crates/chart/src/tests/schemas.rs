//! What the schemas of older drafts allow, by santhosh-tekuri/jsonschema as Helm calls it.

use crate::Standalone;

/// Whether a schema of a draft takes values.
fn takes(draft: &str, schema: &str, values: &str) -> bool {
    let schema = format!(r#"{{"$schema": "http://json-schema.org/{draft}/schema#", {schema}}}"#);
    super::notes_of(&[("values.schema.json", &schema)], values, &mut Standalone).is_ok()
}

/// `Compiler.AssertContent` is not called.
#[test]
fn encoded_contents_are_not_looked_at() {
    for draft in ["draft-06", "draft-07"] {
        for content in [
            r#""contentEncoding": "base64""#,
            r#""contentMediaType": "application/json""#,
            r#""contentEncoding": "base64", "contentMediaType": "application/json""#,
        ] {
            let schema = format!(r#""properties": {{"a": {{"type": "string", {content}}}}}"#);
            assert!(takes(draft, &schema, "a: '{'"), "{draft} {content}");
            assert!(!takes(draft, &schema, "a: 1"), "{draft} {content}");
        }
        // A property may have the name of a keyword.
        let named =
            r#""properties": {"contentEncoding": {"type": "string"}, "examples": {"type": "string"}}"#;
        assert!(takes(draft, named, "{contentEncoding: a, examples: b}"));
        assert!(!takes(draft, named, "contentEncoding: 1") && !takes(draft, named, "examples: 1"));
    }
    assert!(!takes("draft-07", r#""properties": {"a": {"contentEncoding": 1}}"#, ""));
}

#[test]
fn schemas_are_checked_by_helms_schemas_of_older_drafts() {
    for draft in ["draft-04", "draft-06", "draft-07"] {
        let inner = |schema: &str| format!(r#""properties": {{"a": {{"items": [{schema}]}}}}"#);
        for schema in [
            r#"{"enum": []}"#,
            r#"{"enum": [1, 1]}"#,
            r#"{"enum": [1, 1.0]}"#,
            r#"{"enum": [{"a": [1]}, {"a": [1.0]}]}"#,
        ] {
            assert!(!takes(draft, &inner(schema), ""), "{draft} {schema}");
        }
        for schema in [
            r#"{"enum": [1, "1", true, null, 1.5]}"#,
            r#"{"default": {"enum": []}}"#,
            r#"{"x-other": {"enum": []}}"#,
        ] {
            assert!(takes(draft, &inner(schema), ""), "{draft} {schema}");
        }
    }
    assert!(
        takes("draft-06", r#""examples": "text""#, "") && !takes("draft-07", r#""examples": "text""#, "")
    );
    let latest = r#"{"properties": {"a": {"enum": []}}}"#;
    assert!(super::notes_of(&[("values.schema.json", latest)], "", &mut Standalone).is_ok());
}
