//! What users see of broken charts: the place, the stack of calls, the cause.
//! And that what a chart generates does not depend on its other templates.

use std::collections::BTreeMap;

use cozy_chart::{
    Chart, Environment, Error, File, Limits, Release, Standalone, ValueKey, ValueSource, Values,
};

const CHART: &str = "apiVersion: v2\nname: shop\nversion: 0.1.0\n";

fn chart(files: &[(&str, &str)]) -> Result<Chart, Error> {
    let mut all = vec![("Chart.yaml", CHART)];
    all.retain(|(path, _)| !files.iter().any(|(other, _)| other == path));
    all.extend(files);
    let files = all.into_iter().map(|(path, text)| File::new(path, text.as_bytes())).collect();
    Chart::from_files(files, &Limits::default())
}

fn error(files: &[(&str, &str)], values: &str) -> String {
    let rendered = chart(files).and_then(|chart| {
        let values = Values::read(&[ValueSource::File("values.yaml", values.as_bytes())])?;
        cozy_chart::render(&chart, &values, &Release::new("demo", "default"), &mut Standalone)
    });
    rendered.expect_err("the chart is broken").to_string()
}

/// Broken templates, one a line; `⏎` stands for a line break.
const TEMPLATES: &str = r#"{{ .Values.a.b.c }}
{{ if .Values.on }}never ends
{{ end }}
{{ else }}
{{ .Values.name
{{ nosuch 1 }}
{{ "text }}
{{ $x }}
{{ range .Values.none }}{{ $q := 1 }}{{ else }}{{ $q }}{{ end }}
{{ $port = 1 }}
{{$x=1}}
{{ define "shop/templates/a.yaml" }}a{{ end }}b
{{ range $i, $j, $k := .Values.list }}{{ end }}
{{ template "nosuch" . }}
{{ include "nosuch" . }}
{{ required "a name is needed" .Values.name }}
{{ fail "this chart wants Kubernetes on Mars" }}
{{ index .Values.list 9 }}
{{ index .Values.map.missing "x" }}
{{ until "five" }}
{{ .Values.name | repeat }}
{{ add }}{{ sub 1 }}
{{ div 1 0 }}
{{ first 5 }}
{{ set .Values.nothing "a" 1 }}
{{ lt 1 "a" }}
{{ eq .Values.map .Values.map }}
{{ semver "not one" }}
{{ mustRegexMatch "(" "a" }}
{{ mustFromJson "{" }}
{{ mustToDate "2006-01-02" "soon" }}
{{ .Release.Nope.Deeper }}
{{ .Capabilities.Nope }}
{{ "a".b }}
{{ break }}
{{ 99999999999999999999 }}
{{ tpl "{{ .Values.x.y.z }}" . }}
{{ define "a" }}{{ include "b" . }}{{ end }}{{ define "b" }}{{ .Values.x.y }}{{ end }}⏎x: {{ include "a" . }}
{{ define "loop" }}{{ include "loop" . }}{{ end }}{{ include "loop" . }}
{{ range until 30000000 }}x{{ end }}
{{ range until 3000 }}{{ repeat 99999 "x" }}{{ end }}
{{ range 9000000000000 }}{{ end }}
a:⏎{{ range 9000000000000 }} x{{ end }}
{{ define "f" }}{{ range 9000000000000 }}x: y⏎{{ end }}{{ end }}⏎{{ include "f" . }}
a: 1⏎  b: {{ .Values.x⏎c: 1⏎d: {{ .Values.x }}
{{ trunc⏎  "x"⏎  "y" }}
{{ "y" | trunc (len "abc" | toString) }}
a: b⏎  c: d
- list
kind: [1]
metadata: {annotations: {a: {b: c}}}"#;

#[test]
#[expect(clippy::too_many_lines, reason = "one snapshot of them all")]
fn broken_templates_say_where_and_why() {
    let shown: Vec<String> = TEMPLATES
        .lines()
        .map(|line| {
            let template = line.replace('⏎', "\n");
            let files =
                [("templates/a.yaml", template.as_str()), ("values.yaml", "list: [1]\nmap: {a: 1}\n")];
            format!("{line}\n{}", error(&files, ""))
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n\n"), @r#"
        {{ .Values.a.b.c }}
        shop/templates/a.yaml:1:4: nil pointer evaluating interface {}.b: .Values.a has no value
          at <.Values.a.b.c>

        {{ if .Values.on }}never ends
        shop/templates/a.yaml:1:30: unexpected end of the template: an {{end}} is missing

        {{ end }}
        shop/templates/a.yaml:1:4: unexpected {{end}}

        {{ else }}
        shop/templates/a.yaml:1:4: unexpected {{else}}

        {{ .Values.name
        shop/templates/a.yaml:1:16: unclosed action

        {{ nosuch 1 }}
        shop/templates/a.yaml:1:4: function "nosuch" not defined

        {{ "text }}
        shop/templates/a.yaml:1:5: unterminated quoted string

        {{ $x }}
        shop/templates/a.yaml:1:4: undefined variable "$x"

        {{ range .Values.none }}{{ $q := 1 }}{{ else }}{{ $q }}{{ end }}
        shop/templates/a.yaml:1:51: undefined variable: $q
          at <$q>

        {{ $port = 1 }}
        shop/templates/a.yaml:1:4: undefined variable: $port
          at <$port = 1>

        {{$x=1}}
        shop/templates/a.yaml:1:5: bad character '=' after $x

        {{ define "shop/templates/a.yaml" }}a{{ end }}b
        shop/templates/a.yaml:1:48: multiple definition of template "shop/templates/a.yaml"

        {{ range $i, $j, $k := .Values.list }}{{ end }}
        shop/templates/a.yaml:1:14: too many declarations in range

        {{ template "nosuch" . }}
        shop/templates/a.yaml:1:4: template "nosuch" not defined
          at <template "nosuch">

        {{ include "nosuch" . }}
        shop/templates/a.yaml:1:4: include: there is no template "nosuch"
          at <include "nosuch" .>

        {{ required "a name is needed" .Values.name }}
        shop/templates/a.yaml:1:4: a name is needed
          at <required "a name is needed" .Values.name>

        {{ fail "this chart wants Kubernetes on Mars" }}
        shop/templates/a.yaml:1:4: this chart wants Kubernetes on Mars
          at <fail "this chart wants Kubernetes on Mars">

        {{ index .Values.list 9 }}
        shop/templates/a.yaml:1:4: index: index out of range: 9, of 1
          at <index .Values.list 9>

        {{ index .Values.map.missing "x" }}
        shop/templates/a.yaml:1:4: index: index of untyped nil
          at <index .Values.map.missing "x">

        {{ until "five" }}
        shop/templates/a.yaml:1:10: expected int; found "five"
          at <"five">
          called from shop/templates/a.yaml:1:4 at <until "five">

        {{ .Values.name | repeat }}
        shop/templates/a.yaml:1:19: wrong number of args for repeat: want 2 got 1
          at <repeat>

        {{ add }}{{ sub 1 }}
        shop/templates/a.yaml:1:13: wrong number of args for sub: want 2 got 1
          at <sub 1>

        {{ div 1 0 }}
        shop/templates/a.yaml:1:4: div: runtime error: integer divide by zero
          at <div 1 0>

        {{ first 5 }}
        shop/templates/a.yaml:1:4: first: Cannot find first on type int
          at <first 5>

        {{ set .Values.nothing "a" 1 }}
        shop/templates/a.yaml:1:8: invalid value; expected map[string]interface {}
          at <.Values.nothing>
          called from shop/templates/a.yaml:1:4 at <set .Values.nothing "a" 1>

        {{ lt 1 "a" }}
        shop/templates/a.yaml:1:4: lt: incompatible types for comparison
          at <lt 1 "a">

        {{ eq .Values.map .Values.map }}
        shop/templates/a.yaml:1:4: eq: non-comparable type map[string]interface {}
          at <eq .Values.map .Values.map>

        {{ semver "not one" }}
        shop/templates/a.yaml:1:4: semver: "not one" is not a version
          at <semver "not one">

        {{ mustRegexMatch "(" "a" }}
        shop/templates/a.yaml:1:4: mustRegexMatch: error parsing regexp: error: unclosed group: `(`
          at <mustRegexMatch "(" "a">

        {{ mustFromJson "{" }}
        shop/templates/a.yaml:1:4: mustFromJson: unexpected end of JSON input
          at <mustFromJson "{">

        {{ mustToDate "2006-01-02" "soon" }}
        shop/templates/a.yaml:1:4: mustToDate: parsing time "soon" as "2006-01-02": cannot parse it
          at <mustToDate "2006-01-02" "soon">

        {{ .Release.Nope.Deeper }}
        shop/templates/a.yaml:1:4: nil pointer evaluating interface {}.Deeper: .Release.Nope has no value
          at <.Release.Nope.Deeper>

        {{ .Capabilities.Nope }}
        shop/templates/a.yaml:1:4: can't evaluate field Nope in type *common.Capabilities
          at <.Capabilities.Nope>

        {{ "a".b }}
        shop/templates/a.yaml:1:4: unexpected . after term ""a""

        {{ break }}
        shop/templates/a.yaml:1:4: {{break}} outside {{range}}

        {{ 99999999999999999999 }}
        shop/templates/a.yaml:1:4: bad number syntax: "99999999999999999999"

        {{ tpl "{{ .Values.x.y.z }}" . }}
        gotpl:1:4: nil pointer evaluating interface {}.y: .Values.x has no value
          at <.Values.x.y.z>
          called from shop/templates/a.yaml:1:4 at <tpl "{{ .Values.x.y.z }}" .>

        {{ define "a" }}{{ include "b" . }}{{ end }}{{ define "b" }}{{ .Values.x.y }}{{ end }}⏎x: {{ include "a" . }}
        shop/templates/a.yaml:1:64: nil pointer evaluating interface {}.y: .Values.x has no value
          at <.Values.x.y> in "b"
          called from shop/templates/a.yaml:1:20 at <include "b" .> in "a"
          called from shop/templates/a.yaml:2:7 at <include "a" .>

        {{ define "loop" }}{{ include "loop" . }}{{ end }}{{ include "loop" . }}
        shop/templates/a.yaml:1:23: include: template "loop" includes itself without end
          at <include "loop" .> in "loop"
          called from shop/templates/a.yaml:1:23 at <include "loop" .> in "loop"
          called from shop/templates/a.yaml:1:23 at <include "loop" .> in "loop"
          called from shop/templates/a.yaml:1:23 at <include "loop" .> in "loop"
          called from shop/templates/a.yaml:1:23 at <include "loop" .> in "loop"
          called from shop/templates/a.yaml:1:23 at <include "loop" .> in "loop"
          called from shop/templates/a.yaml:1:23 at <include "loop" .> in "loop"
          called from shop/templates/a.yaml:1:23 at <include "loop" .> in "loop"
          called from shop/templates/a.yaml:1:23 at <include "loop" .> in "loop"
          called from shop/templates/a.yaml:1:23 at <include "loop" .> in "loop"
          called from shop/templates/a.yaml:1:23 at <include "loop" .> in "loop"
          called from shop/templates/a.yaml:1:23 at <include "loop" .> in "loop"

        {{ range until 30000000 }}x{{ end }}
        shop/templates/a.yaml:1:10: until: the templates make values of more than 201326592 bytes
          at <until 30000000>

        {{ range until 3000 }}{{ repeat 99999 "x" }}{{ end }}
        shop/templates/a.yaml:1:26: repeat: the templates write more than 104857600 bytes
          at <repeat 99999 "x">

        {{ range 9000000000000 }}{{ end }}
        shop/templates/a.yaml:1:10: the templates take more than 20000000 steps
          at <9000000000000>

        a:⏎{{ range 9000000000000 }} x{{ end }}
        shop/templates/a.yaml:2:10: the templates take more than 20000000 steps
          at <9000000000000>

        {{ define "f" }}{{ range 9000000000000 }}x: y⏎{{ end }}{{ end }}⏎{{ include "f" . }}
        shop/templates/a.yaml:1:26: the templates take more than 20000000 steps
          at <9000000000000> in "f"
          called from shop/templates/a.yaml:3:4 at <include "f" .>

        a: 1⏎  b: {{ .Values.x⏎c: 1⏎d: {{ .Values.x }}
        shop/templates/a.yaml:3:3: expected :=: the action begins at 2:6 and is not closed before

        {{ trunc⏎  "x"⏎  "y" }}
        shop/templates/a.yaml:2:3: expected int; found "x"
          at <"x">
          called from shop/templates/a.yaml:1:4 at <trunc "x" "y">

        {{ "y" | trunc (len "abc" | toString) }}
        shop/templates/a.yaml:1:16: wrong type for value; expected int; got string
          at <(len "abc" | toString)>
          called from shop/templates/a.yaml:1:10 at <trunc (len "abc" | toString)>

        a: b⏎  c: d
        shop/templates/a.yaml: what it renders is not YAML: yaml: line 2: mapping values are not allowed in this context

        - list
        shop/templates/a.yaml: what it renders is not YAML: a document is to be a map, not slice

        kind: [1]
        shop/templates/a.yaml: what it renders is not YAML: kind is to be a string, not slice

        metadata: {annotations: {a: {b: c}}}
        shop/templates/a.yaml: what it renders is not YAML: an annotation is to be a string, not map
    "#);
}

#[test]
fn broken_charts_say_what_is_wrong() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("Chart.yaml", "name: [")], ""),
        (&[("Chart.yaml", "apiVersion: v2\nversion: 0.1.0\n")], ""),
        (&[("Chart.yaml", "apiVersion: v9\nname: a\nversion: 0.1.0\n")], ""),
        (&[("Chart.yaml", "apiVersion: v2\nname: a\nversion: one\n")], ""),
        (&[("Chart.yaml", "apiVersion: v2\nname: a/b\nversion: 0.1.0\n")], ""),
        (
            &[(
                "Chart.yaml",
                "apiVersion: v2\nname: a\nversion: 0.1.0\ndependencies: [{name: b, alias: c.d}]\n",
            )],
            "",
        ),
        (&[("Chart.yaml", "apiVersion: v2\nname: a\nversion: 0.1.0\ntype: library\n")], ""),
        (&[("Chart.yaml", "apiVersion: v2\nname: a\nversion: 0.1.0\nkubeVersion: '>=9'\n")], ""),
        (
            &[(
                "Chart.yaml",
                "apiVersion: v2\nname: a\nversion: 0.1.0\ndependencies: [{name: b, version: 1.x.x}]\n",
            )],
            "",
        ),
        (&[("values.yaml", "a: [")], ""),
        (&[("values.yaml", "- a")], ""),
        (&[("values.schema.json", "{")], ""),
        (
            &[(
                "values.schema.json",
                r#"{"required": ["name"], "properties": {"port": {"type": "integer"}}}"#,
            )],
            "port: http",
        ),
        (&[("charts/b/templates/a.yaml", "")], ""),
        (&[("charts/b.tgz", "not an archive")], ""),
    ];
    let shown: Vec<String> = cases.iter().map(|(files, values)| error(files, values)).collect();
    insta::assert_snapshot!(shown.join("\n\n"), @r#"
        chart: Chart.yaml: yaml: line 1: a flow collection does not end: did not find expected node content

        chart: name is missing

        a: apiVersion "v9" is not supported

        a: version: "one" is not a version

        a/b: name "a/b" is not allowed

        a: dependency "b" has disallowed characters in the alias

        a: library charts are not installable

        a: it requires kubeVersion: >=9 which is incompatible with Kubernetes v1.37.0

        a: found in Chart.yaml, but missing in charts/ directory: b; `helm dependency build` fetches them

        shop: values.yaml: yaml: line 1: a flow collection does not end: did not find expected node content

        shop: values.yaml: values are to be a map, not slice

        values do not meet the schema of chart shop:
        - values.schema.json: EOF while parsing an object at line 1 column 1

        values do not meet the schema of chart shop:
        - /: "name" is a required property
        - /port: value is not of type "integer"

        shop: subchart b: chart: Chart.yaml is missing

        shop: subchart b.tgz: the chart's archive is refused: it is not compressed with gzip
    "#);
}

/// Keeps what is generated, as a cluster would.
#[derive(Default)]
struct Kept(BTreeMap<ValueKey, Vec<u8>>);

impl Environment for Kept {
    fn kept(&mut self, key: &ValueKey) -> Option<Vec<u8>> {
        self.0.get(key).cloned()
    }

    fn keep(&mut self, key: ValueKey, value: &[u8]) {
        self.0.insert(key, value.to_vec());
    }
}

#[test]
fn a_template_before_another_changes_nothing_that_it_generates() {
    let later = "password: {{ randAlphaNum 20 }}\nother: {{ randAlphaNum 20 }}\nca: {{ (genCA \"ca\" 1).Cert | b64enc }}\n";
    let mut kept = Kept::default();
    let mut render = |files: &[(&str, &str)]| {
        let release = Release::new("demo", "default");
        let rendered =
            cozy_chart::render(&chart(files).unwrap(), &Values::default(), &release, &mut kept).unwrap();
        rendered.manifests.into_iter().find(|one| one.path.ends_with("m.yaml")).unwrap().text
    };
    let before = render(&[("templates/m.yaml", later)]);
    let first = "password: {{ randAlphaNum 20 }}\nca: {{ (genCA \"ca\" 1).Cert | b64enc }}\n";
    let after =
        render(&[("templates/m.yaml", later), ("templates/a.yaml", first), ("templates/z.yaml", first)]);
    assert_eq!(before, after);
    let values: Vec<&str> =
        before.lines().filter_map(|line| line.split_once(": ")).map(|(_, value)| value).collect();
    assert_ne!(values.first(), values.get(1), "two values of one template are two");
}

/// Templates may look at what `fromYaml` and `fromJson` say: the words are
/// those of Helm 4.3.1.
#[test]
fn wrong_texts_are_told_in_the_words_of_go() {
    for (call, words) in [
        (
            r#"fromYaml "a: [1, 2""#,
            "error converting YAML to JSON: yaml: line 1: did not find expected ',' or ']'",
        ),
        (
            r#"fromYaml "a: 1\n b: 2""#,
            "error converting YAML to JSON: yaml: line 2: mapping values are not allowed in this context",
        ),
        (
            r#"fromYaml "a: b: c""#,
            "error converting YAML to JSON: yaml: mapping values are not allowed in this context",
        ),
        (r#"fromYaml "a: 'x""#, "error converting YAML to JSON: yaml: found unexpected end of stream"),
        (
            r#"fromYaml "- a\nb: 1""#,
            "error converting YAML to JSON: yaml: line 1: did not find expected '-' indicator",
        ),
        (r#"fromYaml "a: 1\n- b""#, "error converting YAML to JSON: yaml: line 1: did not find expected key"),
        (r#"fromYaml "a: 1\nb""#, "error converting YAML to JSON: yaml: line 3: could not find expected ':'"),
        (r#"fromYaml "a: }""#, "error converting YAML to JSON: yaml: did not find expected node content"),
        (
            r#"fromYaml "a: !!int x""#,
            "error converting YAML to JSON: yaml: cannot decode !!str `x` as a !!int",
        ),
        (r#"fromJson "{""#, "unexpected end of JSON input"),
        (r#"fromJson "{\"a\" 1}""#, "invalid character '1' after object key"),
        (r#"fromJson "[1 2]""#, "invalid character '2' after array element"),
        (r#"fromJson "{a: 1}""#, "invalid character 'a' looking for beginning of object key string"),
        (r#"fromJson "tru""#, "invalid character ' ' in literal true (expecting 'e')"),
        (r#"fromJson "1.""#, "invalid character ' ' after decimal point in numeric literal"),
        (r#"fromJson "\"tru""#, "unexpected end of JSON input"),
    ] {
        let template = format!("{{{{ fail ({call}).Error }}}}");
        let said = error(&[("templates/a.yaml", &template)], "");
        assert!(said.starts_with(&format!("shop/templates/a.yaml:1:4: {words}\n")), "{call}: {said}");
    }
}
