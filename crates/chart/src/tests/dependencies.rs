//! What processing dependencies leaves in `.Chart` (Helm's `dependencies.go`).

use crate::Standalone;

/// `processImportValues` writes what it has imported as `map[string]string`, whatever it was.
#[test]
fn import_values_are_maps_once_they_are_imported() {
    let chart = "apiVersion: v2
name: shop
version: 0.1.0
dependencies:
  - name: sub
    version: 0.1.0
    import-values:
      - data
      - child: default.inner
        parent: imported
      - child: 1
      - [left, out]
  - name: other
    version: 0.1.0
";
    let template = r#"{{ range .Chart.Dependencies }}{{ .Name }}: {{ printf "%T %v" .ImportValues .ImportValues }}
{{ range .ImportValues }}{{ printf "%T %s %s" . .child .parent }}{{ .none }}
{{ end }}{{ end }}{{ .Values.imported }} {{ .Values.own }}"#;
    let files = [
        ("Chart.yaml", chart),
        ("templates/NOTES.txt", template),
        ("charts/sub/Chart.yaml", "apiVersion: v2\nname: sub\nversion: 0.1.0\n"),
        ("charts/sub/values.yaml", "exports: {data: {own: 1}}\ndefault: {inner: {a: 2}}\n"),
        ("charts/other/Chart.yaml", "apiVersion: v2\nname: other\nversion: 0.1.0\n"),
    ];
    let notes = super::notes_of(&files, "", &mut Standalone).unwrap();
    assert_eq!(
        notes,
        "sub: []interface {} [map[child:exports.data parent:.] map[child:default.inner parent:imported] map[child:1 parent:<nil>]]
map[string]string exports.data .
map[string]string default.inner imported
map[string]string 1 <nil>
other: []interface {} []
map[a:2] 1"
    );
}

/// Go's JSON reads a list over the one that is there, element by element.
#[test]
fn requirements_are_read_over_the_dependencies_of_the_chart() {
    let chart = "apiVersion: v2
name: shop
version: 0.1.0
maintainers: [{name: m, email: e}]
annotations: {a: b}
dependencies: [{name: a, version: 0.1.0, alias: q, condition: x.y, tags: [k]}, {name: d, version: 0.1.0}]
";
    let files = [
        ("Chart.yaml", chart),
        (
            "requirements.yaml",
            "dependencies: [{name: b, version: 0.1.0}]\nmaintainers: [{url: u}]\nannotations: {c: d}\n",
        ),
        (
            "templates/NOTES.txt",
            r#"{{ toJson .Chart.Dependencies }}{{ toJson .Chart.Maintainers }}{{ toJson .Chart.Annotations }}{{ keys .Subcharts | sortAlpha }}"#,
        ),
        ("charts/b/Chart.yaml", "apiVersion: v2\nname: b\nversion: 0.1.0\n"),
        ("charts/d/Chart.yaml", "apiVersion: v2\nname: d\nversion: 0.1.0\n"),
    ];
    let notes = super::notes_of(&files, "", &mut Standalone).unwrap();
    assert_eq!(
        notes,
        concat!(
            r#"[{"Alias":"q","Condition":"x.y","Enabled":true,"ImportValues":[],"Name":"q","#,
            r#""Repository":"","Tags":["k"],"Version":"0.1.0"}]"#,
            r#"[{"Email":"e","Name":"m","URL":"u"}]{"a":"b","c":"d"}[d q]"#
        )
    );
}

/// What is imported from an empty table is not the subchart's own.
#[test]
fn an_empty_table_that_is_imported_is_a_new_one() {
    let chart = "apiVersion: v2
name: shop
version: 0.1.0
dependencies:
  - {name: a, version: 0.1.0, import-values: [{child: t, parent: p}]}
  - {name: b, version: 0.1.0, import-values: [{child: t, parent: p}]}
";
    let files = [
        ("Chart.yaml", chart),
        ("templates/NOTES.txt", "{{ toJson .Values.p }}{{ toJson .Values.a.t }}"),
        ("charts/a/Chart.yaml", "apiVersion: v2\nname: a\nversion: 0.1.0\n"),
        ("charts/a/values.yaml", "t: {}\n"),
        ("charts/b/Chart.yaml", "apiVersion: v2\nname: b\nversion: 0.1.0\n"),
        ("charts/b/values.yaml", "t: {x: 1}\n"),
    ];
    let notes = super::notes_of(&files, "", &mut Standalone).unwrap();
    assert_eq!(notes, r#"{"x":1}{}"#);
}
