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
