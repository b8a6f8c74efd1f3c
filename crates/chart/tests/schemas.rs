//! Schemas of charts: what Helm refuses is refused, nothing takes long, and
//! errors do not show values. Helm's verdicts were taken from Helm 4.3.1.

#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use cozy_chart::{Chart, File, Limits, Release, Standalone, ValueSource, Values};

/// Renders a chart with a schema; the error, where there is one.
fn refused(schema: &str, values: &str) -> Option<String> {
    let files = [
        ("Chart.yaml", "apiVersion: v2\nname: shop\nversion: 0.1.0\n"),
        ("values.schema.json", schema),
        ("values.yaml", "a: text\n"),
    ];
    let files = files.map(|(path, text)| File::new(path, text.as_bytes())).into();
    let chart = Chart::from_files(files, &Limits::default()).unwrap();
    let values = Values::read(&[ValueSource::File("values", values.as_bytes())]).unwrap();
    cozy_chart::render(&chart, &values, &Release::new("demo", "default"), &mut Standalone)
        .err()
        .map(|error| error.to_string())
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

#[test]
fn a_schema_elsewhere_is_an_error_with_a_way_out() {
    let error = refused(r#"{"properties": {"a": {"$ref": "https://example.com/x.json"}}}"#, "").unwrap();
    assert!(
        error.contains("https://example.com/x.json") && error.contains("--skip-schema-validation"),
        "{error}"
    );
}
