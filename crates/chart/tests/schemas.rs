//! Schemas of charts: what Helm refuses is refused, nothing takes long, and
//! errors do not show values. Helm's verdicts were taken from Helm 4.3.1.

#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::fmt::Write as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

use cozy_chart::{Chart, Environment, File, Limits, Release, ValueSource, Values};

/// The error of values that a schema refuses.
fn refused(schema: &str, values: &str) -> Option<String> {
    judged(schema, values, &[])
}

#[test]
fn what_helm_refuses_is_refused() {
    let refusals = [
        r#"{"properties": {"a": {"pattern": "(?=x)"}}}"#,
        r#"{"properties": {"a": {"pattern": "(x)\\1"}}}"#,
        r#"{"properties": {"a": {"pattern": "a++"}}}"#,
        r#"{"properties": {"a": {"pattern": "^\\cA$"}}}"#,
        r#"{"properties": {"a": {"pattern": "^\\u0061$"}}}"#,
        r##"{"$ref": "#"}"##,
        r##"{"allOf": [{"$ref": "#"}]}"##,
        r##"{"dependentSchemas": {"a": {"$ref": "#"}}}"##,
        r##"{"$defs": {"x": {"$ref": "#/$defs/y"}, "y": {"$ref": "#/$defs/x"}}, "properties": {"a": {"$ref": "#/$defs/x"}}}"##,
        r#"{"$schema": ""}"#,
        r##"{"$schema": "#"}"##,
        r#"{"type": "nothing"}"#,
        "[1]",
    ];
    let accepted: Vec<_> = refusals.into_iter().filter(|schema| refused(schema, "").is_none()).collect();
    assert!(accepted.is_empty(), "{accepted:#?}");
}

#[test]
fn what_helm_accepts_is_accepted() {
    let accepted = [
        r##"{"anyOf": [{"type": "object"}, {"$ref": "#"}]}"##,
        r##"{"if": {"type": "string"}, "then": {"$ref": "#"}}"##,
        r##"{"properties": {"a": {"$ref": "#"}}}"##,
        r##"{"$defs": {"x": {"$ref": "#/$defs/y"}, "y": {"$ref": "#/$defs/x"}}}"##,
        r#"{"properties": {"a": {"pattern": "^\\p{L}+$"}}}"#,
        r#"{"properties": {"a": {"pattern": "^\\Qtext\\E$"}}}"#,
        r#"{"properties": {"a": {"pattern": "^[a-z\\d-_.]+$"}}}"#,
        r#"{"properties": {"a": {"enum": ["text", {"pattern": "(?=x)"}]}}}"#,
        r#"{"properties": {"a": {"default": {"pattern": "(?=x)"}}}}"#,
        r#"{"x-ui": {"pattern": "(?=x)"}}"#,
        r#"{"properties": {"a": {"format": "uuid"}}}"#,
        "true",
    ];
    let refusals: Vec<_> = accepted.into_iter().filter_map(|schema| refused(schema, "")).collect();
    assert!(refusals.is_empty(), "{refusals:#?}");
}

#[test]
fn schemas_and_values_that_would_take_long_are_refused() {
    let doubled = |keyword: &str| {
        let mut text = r##"{"$ref": "#/$defs/d0", "$defs": {"d40": {}"##.to_owned();
        for level in 0..40 {
            let next = format!(r##"{{"$ref": "#/$defs/d{}"}}"##, level + 1);
            let _ = write!(text, r#", "d{level}": {{"{keyword}": [{next}, {next}]}}"#);
        }
        text + "}}"
    };
    let (words, keys) = ((0..1_500_000).map(|number| number.to_string()), 0..600_000);
    let words = words.collect::<Vec<_>>().join(",");
    let many: String = keys.fold(String::new(), |mut text, number| {
        let _ = writeln!(text, "k{number}: 1");
        text
    });
    let cases = [
        (doubled("allOf"), String::new(), "they multiply"),
        (doubled("anyOf"), String::new(), "they multiply"),
        (format!(r#"{{"properties": {{"a": {{"enum": [{words}]}}}}}}"#), String::new(), "more than 4 MiB"),
        ("{}".to_owned(), many, "values to check"),
    ];
    for (schema, values, problem) in cases {
        let began = Instant::now();
        let error = refused(&schema, &values).unwrap();
        assert!(error.contains(problem) && error.len() < 300, "{error}");
        assert!(began.elapsed() < Duration::from_secs(20), "{error}: {:?}", began.elapsed());
    }
}

#[test]
fn errors_do_not_show_values() {
    let schema = r#"{"properties": {"password": {"type": "string", "minLength": 50, "pattern": "^[a-z]+$"}, "list": {"maxItems": 1}}}"#;
    let values = format!("password: hunter2\nlist: [{}]\n", "long,".repeat(100_000));
    let error = refused(schema, &values).unwrap();
    assert!(!error.contains("hunter2") && error.len() < 1_000, "{error}");
    assert!(error.contains("- /password: ") && error.contains("- /list: "), "{error}");
}

/// A world with documents at URLs.
struct Web(Vec<(&'static str, String)>);

impl Environment for Web {
    fn schema(&mut self, url: &str) -> Option<Rc<[u8]>> {
        let found = self.0.iter().find(|(known, _)| *known == url);
        found.map(|(_, text)| Rc::from(text.as_bytes()))
    }
}

fn chart_of(schema: &str) -> Chart {
    let files = [
        ("Chart.yaml", "apiVersion: v2\nname: shop\nversion: 0.1.0\n"),
        ("values.schema.json", schema),
        ("values.yaml", "a: text\n"),
    ];
    let files = files.map(|(path, text)| File::new(path, text.as_bytes())).into();
    Chart::from_files(files, &Limits::default()).unwrap()
}

/// The error of values that a schema refuses, which refers to documents.
fn judged(schema: &str, values: &str, documents: &[(&'static str, &str)]) -> Option<String> {
    let values = Values::read(&[ValueSource::File("values", values.as_bytes())]).unwrap();
    let mut web = Web(documents.iter().map(|(url, text)| (*url, (*text).to_owned())).collect());
    let rendered = cozy_chart::render(&chart_of(schema), &values, &Release::new("demo", "default"), &mut web);
    rendered.err().map(|error| error.to_string())
}

const DEFINITIONS: &str = r##"{
    "definitions": {
        "port": {"type": "integer", "maximum": 65535},
        "ports": {"type": "array", "items": {"$ref": "#/definitions/port"}, "description": "x"},
        "tree": {"type": "object", "properties": {"size": {"type": "integer"}, "in": {"$ref": "#/definitions/tree"}}},
        "far": {"$ref": "further.json#named"},
        "low": {"$ref": "#/definitions/port", "maximum": 1023},
        "unused": {"$ref": "https://example.org/never.json"},
        "a/b c": {"type": "string"}
    }
}"##;

#[test]
fn schemas_elsewhere_are_read_as_if_they_stood_there() {
    let documents = [
        ("https://example.org/k8s/definitions.json", DEFINITIONS),
        (
            "https://example.org/k8s/further.json",
            r#"{"$defs": {"x": {"$anchor": "named", "type": "boolean"}}}"#,
        ),
    ];
    let refused = |pointer: &str, values: &str| {
        let schema = format!(
            r#"{{"$schema": "http://json-schema.org/draft-07/schema#",
                "definitions": {{"own": {{"$ref": "https://example.org/unused.json"}}}},
                "properties": {{"a": {{"$ref": "https://example.org/k8s/definitions.json#/definitions/{pointer}"}}}}}}"#
        );
        judged(&schema, values, &documents)
    };
    for (pointer, values) in [
        ("port", "a: 80"),
        ("ports", "a: [80, 443]"),
        ("tree", "a: {in: {in: {size: 1}}}"),
        ("far", "a: true"),
        ("low", "a: 80"),
        ("a~1b%20c", "a: x"),
    ] {
        assert_eq!(refused(pointer, values), None, "{pointer}");
    }
    for (pointer, values) in [
        ("port", "a: 70000"),
        ("ports", "a: [80, x]"),
        ("tree", "a: {in: {in: {size: x}}}"),
        ("far", "a: x"),
        ("low", "a: 8080"),
        ("a~1b%20c", "a: 1"),
    ] {
        let error = refused(pointer, values).expect(pointer);
        assert!(error.contains("values do not meet the schema of chart shop:\n- /a"), "{pointer}: {error}");
    }
    let error = refused("missing", "a: 1").unwrap();
    assert!(error.contains("leads nowhere"), "{error}");
}

/// References are relative to `$id`, and to the document that they stand in.
#[test]
fn references_are_relative_to_what_they_stand_in() {
    let schema = r##"{"$id": "https://example.org/charts/shop.json", "$ref": "common.json",
        "properties": {"a": {"$ref": "https://example.org/charts/shop.json#/$defs/own"}, "b": {"$ref": "#/$defs/own"}},
        "$defs": {"own": {"type": "string"}, "inner": {"$id": "inner/", "properties": {"c": {"$ref": "x.json"}}}},
        "allOf": [{"$ref": "inner/"}]}"##;
    let documents = [
        (
            "https://example.org/charts/common.json",
            r##"{"required": ["a"], "properties": {"d": {"$ref": "#/required"}, "e": {"$ref": "#"}}}"##,
        ),
        ("https://example.org/charts/inner/x.json", r#"{"type": "integer"}"#),
    ];
    let refused = |values: &str| judged(schema, values, &documents);
    let wrong = refused("d: 1").unwrap();
    assert!(wrong.contains("values.schema.json"), "{wrong}");
    let documents = [
        (
            "https://example.org/charts/common.json",
            r##"{"required": ["a"], "properties": {"e": {"$ref": "#"}}}"##,
        ),
        documents[1],
    ];
    let refused = |values: &str| judged(schema, values, &documents);
    assert_eq!(refused("{a: x, b: text, c: 1, e: {a: z}}"), None);
    for (values, path) in [("a: 1", "/a"), ("b: 1", "/b"), ("c: x", "/c"), ("e: {}", "/e")] {
        let error = refused(values).unwrap();
        assert!(error.contains(&format!("- {path}: ")), "{values}: {error}");
    }
}

#[test]
fn a_schema_elsewhere_that_is_not_at_hand_is_an_error_with_its_url() {
    let schema = r#"{"properties": {"a": {"$ref": "https://example.org/x.json"}, "b": {"$ref": "http://example.org/y.json#/a"}}}"#;
    let problem = "shop: values.schema.json refers to http://example.org/y.json and https://example.org/x.json, which is not at hand";
    assert_eq!(judged(schema, "", &[]).as_deref(), Some(problem));
    let mut asked = Vec::new();
    let x: Rc<[u8]> = Rc::from(&br#"{"$ref": "z.json"}"#[..]);
    let missing = chart_of(schema).missing_schemas(&mut |url| {
        asked.push(url.to_owned());
        (url == "https://example.org/x.json").then(|| Rc::clone(&x))
    });
    assert_eq!(
        missing.into_iter().collect::<Vec<_>>(),
        ["http://example.org/y.json", "https://example.org/z.json"]
    );
    assert_eq!(asked.len(), 3, "{asked:?}");
    for (schema, problem) in [
        (r#"{"$ref": "other.json"}"#, "file:///other.json is not read"),
        (r#"{"$ref": "https://[broken"}"#, "values.schema.json"),
    ] {
        let error = judged(schema, "", &[]).unwrap();
        assert!(error.contains(problem), "{error}");
    }
}

/// Every validator has the drafts themselves; URNs allow everything.
#[test]
fn drafts_and_urns_are_not_asked_for() {
    let draft = r#"{"properties": {"a": {"$ref": "http://json-schema.org/draft-07/schema#"}, "b": {"$ref": "urn:x"}, "c": {"$ref": "https://example.org/x.json"}}}"#;
    let documents = [("https://example.org/x.json", r#"{"type": "integer"}"#)];
    assert_eq!(judged(draft, "{a: {type: string}, b: 1, c: 1}", &documents), None);
    assert!(judged(draft, "{a: {type: nothing}}", &documents).is_some());
    // A draft of somebody's own is as the one that it extends.
    let own = r#"{"$schema": "https://example.org/draft.json", "properties": {"a": {"type": "integer"}}}"#;
    let documents = [(
        "https://example.org/draft.json",
        r#"{"$schema": "https://json-schema.org/draft/2020-12/schema"}"#,
    )];
    assert_eq!(judged(own, "a: 1", &documents), None);
    assert!(judged(own, "a: x", &documents).is_some());
    assert!(
        judged(own, "a: 1", &[]).unwrap().contains("https://example.org/draft.json, which is not at hand")
    );
}

#[test]
fn documents_that_would_take_long_are_refused() {
    let doubled = |level: usize| {
        let next = format!(r##"{{"$ref": "#/d/{}"}}"##, level + 1);
        format!(r#""{level}": {{"allOf": [{next}, {next}]}}"#)
    };
    let all: Vec<String> = (0..40).map(doubled).collect();
    let multiplied = format!(r#"{{"d": {{{}, "40": {{}}}}}}"#, all.join(","));
    // Each copy holds all that follow it.
    let nested = (0..60)
        .fold("{}".to_owned(), |inner, _| format!(r#"{{"properties": {{"x": {inner}, "y": {}}}}}"#, "{}"));
    let wide: Vec<String> = (0..3_000).map(|count| format!(r#"{{"enum": ["{count}"]}}"#)).collect();
    let mut pointers = Vec::new();
    for (depth, count) in (0..60).flat_map(|depth| (0..100).map(move |count| (depth, count))) {
        pointers.push(format!(
            r#"{{"$ref": "https://example.org/x.json#/{count}{}"}}"#,
            "/properties/x".repeat(depth)
        ));
    }
    let copies: Vec<String> = (0..100).map(|count| format!(r#""{count}": {nested}"#)).collect();
    let nested = format!(r#"{{{}, "wide": [{}]}}"#, copies.join(","), wide.join(","));
    let endless = r##"{"d": {"0": {"$ref": "#/d/0"}}}"##;
    for (document, references, problem) in [
        (
            multiplied.as_str(),
            vec![r#"{"$ref": "https://example.org/x.json#/d/0"}"#.to_owned()],
            "they multiply",
        ),
        (&nested, pointers, "nodes"),
        (endless, vec![r#"{"$ref": "https://example.org/x.json#/d/0"}"#.to_owned()], "without end"),
        (
            "[",
            vec![r#"{"$ref": "https://example.org/x.json"}"#.to_owned()],
            "the schema at https://example.org/x.json: EOF",
        ),
    ] {
        let began = Instant::now();
        let schema = format!(r#"{{"allOf": [{}]}}"#, references.join(","));
        let error = judged(&schema, "", &[("https://example.org/x.json", document)]).expect(problem);
        assert!(error.contains(problem) && error.len() < 400, "{error}");
        assert!(began.elapsed() < Duration::from_secs(20), "{error}: {:?}", began.elapsed());
    }
}
