//! goyaml's emitter and reader, by `emitterc.go`, `scannerc.go` and sigs.k8s.io/yaml.

use super::{compare, notes, notes_of};
use crate::Standalone;

/// U+2028 and U+2029 end lines, but are no `\n`; U+0085 is read as one on the way through JSON.
#[test]
fn line_breaks_of_yaml_1_1_are_written_as_goyaml_writes_them() {
    compare(&[
        (r#"{{ toYaml (dict "a" "x\u2028y") }}"#, "a: 'x\u{2028}  y'"),
        (
            r#"{{ toYaml (list "x\u2028\u2029y\u2029" "\u2028x") }}"#,
            "- 'x\u{2028}\u{2029}  y\u{2029}'\n- '\u{2028}  x'",
        ),
        (r#"{{ toYaml (dict "a" (dict "b" (list "x\u2028y"))) }}"#, "a:\n  b:\n  - 'x\u{2028}    y'"),
        (r#"{{ toYaml "x\u2028y" }}"#, "'x\u{2028}  y'"),
        (r#"{{ toYaml (dict "a\u2028b" 1) }}"#, "? 'a\u{2028}  b'\n: 1"),
        (r#"{{ toYaml (dict "a" "x\u2028 y") }}"#, r#"a: "x\L y""#),
        (r#"{{ toYaml (dict "a" "x\u2028y\nz\n") }}"#, "a: |\n  x\u{2028}  y\n  z"),
        (r#"{{ toYaml (dict "a" "\u2028x\nz" "b" 1) }}"#, "a: |2-\n\u{2028}  x\n  z\nb: 1"),
        (r#"{{ toYaml (dict "a" "x\n\u2028" "b" 1) }}"#, "a: |+\n  x\n\u{2028}b: 1"),
        (
            r#"{{ toYaml (dict "a" "x\u0085y" "b" "x \u0085\u0085 y" "c" "\u0085x") }}"#,
            "a: x y\nb: |-\n  x\n  y\nc: ' x'",
        ),
        (r#"{{ toYaml (dict "a\u0085b" 1) }}"#, ""),
        (r#"{{ toYaml (dict "a" "x\u0085--- y") }}"#, ""),
    ]);
}

#[test]
fn pretty_yaml_has_the_characters_of_goyaml_v3() {
    compare(&[
        (r#"{{ toYamlPretty (dict "a" "x\u2028y") }}"#, "a: 'x\u{2028}  y'"),
        (r#"{{ toYamlPretty (dict "a" "x\u2028y\nz\n" "b" 1) }}"#, "a: |\n  x\u{2028}  y\n  z\nb: 1"),
        (
            r#"{{ toYamlPretty (dict "a" (list "x\u0085y" "x\ty" "x\ty\nz")) }}"#,
            "a:\n  - \"x\\Ny\"\n  - \"x\\ty\"\n  - |-\n    x\ty\n    z",
        ),
        (r#"{{ toYamlPretty (dict "a" "\ufeffx y\u00a0") }}"#, r#"a: "\uFEFF\x78\x20\x79\_""#),
        (r#"{{ toYamlPretty (dict "a" "x\ufeff\u00a0") }}"#, "a: \"x\\uFEFF\u{a0}\""),
        (r#"{{ toYamlPretty (dict "a" (b64dec "/w==")) }}"#, "a: !!binary /w=="),
        (
            r#"{{ toYamlPretty (dict (repeat 129 "k") 1 "z" (list 1)) | replace "kkk" "" }}"#,
            "? \n: 1\nz:\n  - 1",
        ),
        (r#"{{ toYamlPretty (dict (repeat 129 "k") (dict "a" 1)) | replace "kkk" "" }}"#, "? \n: a: 1"),
        (r#"{{ toYamlPretty (dict (repeat 129 "k") (list 1 2)) | replace "kkk" "" }}"#, "? \n: - 1\n  - 2"),
    ]);
}

/// A text that begins with a byte order mark is escaped as a whole.
#[test]
fn byte_order_marks_are_escaped_with_all_that_follows() {
    compare(&[
        (r#"{{ toYaml (dict "a" "\ufeffx y\u00a0") }}"#, r#"a: "\uFEFF\x78\x20\x79\_""#),
        (r#"{{ toYaml (dict "a" "x\ufeff y") }}"#, r#"a: "x\uFEFF y""#),
    ]);
}

/// JSON is read as a flow collection, whose keys have 1,024 characters at most.
#[test]
fn keys_that_goyaml_does_not_read_make_no_yaml() {
    compare(&[
        (
            r#"{{ toYaml (dict (repeat 1022 "k") 1) | len }}|{{ toYaml (dict (repeat 1023 "k") 1) | len }}"#,
            "1028|0",
        ),
        (r#"{{ toYaml (dict (repeat 129 "k") (dict "a" 1)) | replace "kkk" "" }}"#, "? \n: a: 1"),
        (r#"{{ toYaml (dict (repeat 129 "k") (list 1)) | replace "kkk" "" }}"#, "? \n: - 1"),
    ]);
}

#[test]
fn numbers_that_json_does_not_have_are_keys_but_no_values() {
    compare(&[
        (
            r#"{{ fromYaml "{.nan: 1, .inf: 2, -.inf: 3, a: b}" | toJson }}"#,
            r#"{"-.inf":3,".inf":2,".nan":1,"a":"b"}"#,
        ),
        (
            r#"{{ (fromYaml "a: [b, .nan]").Error }}"#,
            "error converting YAML to JSON: json: unsupported value: NaN",
        ),
        (
            r#"{{ (fromYaml "a: -.inf").Error }}"#,
            "error converting YAML to JSON: json: unsupported value: -Inf",
        ),
        (r#"{{ fromYaml "{.nan: 1, .NaN: 1}" | toJson }}"#, r#"{".nan":1}"#),
    ]);
}

/// goyaml has scanned what stands behind a document when it finds that it has ended: a token, and all on the line of
/// what might have been a key.
#[test]
fn what_follows_a_document_is_scanned_as_far_as_goyaml_scans_it() {
    let follows = [
        ("b", true),
        (" b", true),
        (" b @", true),
        (" 'b' c", true),
        (", @", true),
        ("}", true),
        ("]", true),
        ("#x", true),
        ("\\nb: c", true),
        ("\\n---\\n@", true),
        ("\\n'b'\\n@", false),
        ("\\n- 'b' @", true),
        ("@", false),
        (" 'b' @", false),
        (" [b] `", false),
        ("- b", false),
        (" - b", false),
        ("? b", false),
        ("'x", false),
        ("|x", false),
        ("&", false),
        (" !<x", false),
        ("%x", false),
        (":b", true),
        ("} @", true),
        ("] 'b", true),
        ("#x: y", true),
        ("b{c: d", false),
        ("\\n%x", false),
        ("\\n@", false),
        ("\\n'b' @", false),
        (" b: c", false),
        (" [\\n@", false),
    ];
    let wrong: Vec<_> = follows
        .iter()
        .filter(|(text, fits)| {
            let template = format!(r#"{{{{ hasKey (fromYaml "{{a: 1}}{text}") "Error" }}}}"#);
            notes(&template) != (!fits).to_string()
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    compare(&[
        (r#"{{ fromYaml "{a:\n 1} b: c" | toJson }}"#, r#"{"a":1}"#),
        (r#"{{ fromYaml "{a:\n 1} 'b' @" | toJson }}"#, r#"{"a":1}"#),
        (r#"{{ fromYaml "--- {a: 1} 'b' @" | toJson }}"#, r#"{"a":1}"#),
    ]);
}

#[test]
fn lines_of_errors_are_those_of_goyaml_in_templates() {
    compare(&[
        (
            r#"{{ (fromYaml "a: 1\nb\nc: 3").Error }}"#,
            "error converting YAML to JSON: yaml: line 3: could not find expected ':'",
        ),
        (
            r#"{{ (fromYaml "a: 1\nb\n").Error }}"#,
            "error converting YAML to JSON: yaml: line 3: could not find expected ':'",
        ),
        (
            r#"{{ (fromYaml "a: 1\nb").Error }}"#,
            "error converting YAML to JSON: yaml: line 3: could not find expected ':'",
        ),
        (
            r#"{{ (fromYaml "a: 1\n'b'\n\n# d\nc: 3").Error }}"#,
            "error converting YAML to JSON: yaml: line 5: could not find expected ':'",
        ),
        (
            r#"{{ (fromYaml "a: 1\nb: [c\n").Error }}"#,
            "error converting YAML to JSON: yaml: line 2: did not find expected ',' or ']'",
        ),
        (
            r#"{{ (fromYaml "a: 1\nb: 'c\n\n").Error }}"#,
            "error converting YAML to JSON: yaml: line 4: found unexpected end of stream",
        ),
        (
            r#"{{ (fromYaml "a: 1\nb: !!int x").Error }}"#,
            "error converting YAML to JSON: yaml: cannot decode !!str `x` as a !!int",
        ),
        (
            r#"{{ (fromYaml "a: 1\nb: *x\n").Error }}"#,
            "error converting YAML to JSON: yaml: unknown anchor 'x' referenced",
        ),
    ]);
}

/// Where what is rendered is not YAML, the line of what is wrong is told, not the one at which it is noticed.
#[test]
fn lines_of_errors_are_those_of_what_is_wrong_for_people() {
    for (rendered, problem) in [
        ("a: 1\nb\nc: 3\n", "line 2: could not find expected ':'"),
        ("a: 1\nb\n\n\nc: 3\n", "line 2: could not find expected ':'"),
        ("a: 1\n'b'\nc: 3\n", "line 2: could not find expected ':'"),
        ("a: 1\n&b\nc: 3\n", "line 2: could not find expected ':'"),
        ("a: 1\nb: !!int x\nc: 3\n", "line 2: cannot decode `x` as a !!int"),
        ("a: 1\nb: [c\n", "line 2: a flow collection does not end: did not find expected ',' or ']'"),
        ("a: 1\nb: 'c\n\n\n", "line 2: a quoted scalar does not end"),
        ("a: 1\nb: x\n c: 3\n", "line 3: mapping values are not allowed in this context"),
        ("a: 1\n- b\n", "line 2: did not find expected key"),
    ] {
        let error = notes_of(&[("templates/a.yaml", rendered)], "", &mut Standalone).unwrap_err().to_string();
        let wanted = format!("shop/templates/a.yaml: what it renders is not YAML: yaml: {problem}");
        assert_eq!(error, wanted);
    }
}

/// Whole numbers are whole as keys, in values as in templates; floats are written as `float32`.
#[test]
fn keys_that_are_numbers_stay_apart() {
    let values = "m: {1234567890123456: x, 1234567890123457: z, 1e6: a, 16777217.0: b, 1e40: c}\n";
    let template = "{{ toJson .Values }}";
    let notes = notes_of(&[("templates/NOTES.txt", template)], values, &mut Standalone).unwrap();
    let keys = r#""1.6777216e+07":"b","1234567890123456":"x","1234567890123457":"z","1e+06":"a""#;
    assert_eq!(notes, format!(r#"{{"m":{{".inf":"c",{keys}}}}}"#));
    let refused = notes_of(&[("templates/NOTES.txt", "")], "18446744073709551615: x\n", &mut Standalone);
    assert!(refused.unwrap_err().to_string().contains("unsupported map key of type: uint64"));
}

/// goyaml.v2's order goes in circles for keys like these; a sort that insists on an order panics.
#[test]
fn keys_whose_order_goes_in_circles_are_all_written() {
    let keys = (0..200).flat_map(|number| {
        [
            format!("{number}e+06"),
            format!("0{number}"),
            format!("1{number}34567890123456"),
            format!("0{number}a"),
        ]
    });
    let set: Vec<String> = keys.map(|key| format!("{{{{ $_ := set $all \"{key}\" 1 }}}}")).collect();
    let set = set.concat();
    let lines = notes(&format!("{{{{ $all := dict }}}}{set}{{{{ toYaml $all }}}}"));
    assert_eq!(lines.lines().count(), 800);
    assert_eq!(
        notes(&format!("{{{{ $all := dict }}}}{set}{{{{ toYamlPretty $all }}}}")).lines().count(),
        800
    );
}
