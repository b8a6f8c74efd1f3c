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
            "{{ toJson .Chart.Dependencies }}{{ toJson .Chart.Maintainers }}{{ toJson .Chart.Annotations }}{{ keys .Subcharts | sortAlpha }}",
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

/// Go's times are those of RFC 3339, whose days, hours and seconds there are.
#[test]
fn a_lock_has_a_time_that_there_is() {
    for (time, fits) in [
        ("2020-12-01T23:59:59.5+24:00", true),
        ("2020-02-29T00:00:00Z", true),
        ("2020-13-01T00:00:00Z", false),
        ("2020-02-30T00:00:00Z", false),
        ("2020-12-01T00:00:60Z", false),
        ("2020-12-01T24:00:00Z", false),
        ("2020-12-01T00:00:00+25:00", false),
        ("2020-12-01t00:00:00z", false),
    ] {
        let lock = format!("generated: \"{time}\"\n");
        let files = [("Chart.lock", lock.as_str()), ("templates/NOTES.txt", "")];
        assert_eq!(super::notes_of(&files, "", &mut Standalone).is_ok(), fits, "{time}");
    }
}

#[test]
fn a_version_of_kubernetes_may_end_with_a_dot() {
    let version = crate::KubeVersion::parse("1.30.").unwrap();
    assert_eq!((version.version.as_str(), version.normalized.as_str()), ("v1.30.", "v1.30"));
    assert!(crate::KubeVersion::parse("1.").is_err());
}
