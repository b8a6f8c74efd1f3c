//! Broken files, and what is said of them: component.

use insta::assert_snapshot;

use super::component;

#[test]
fn broken_files_1() {
    assert_snapshot!(component("source: { chart: { repository: x, name: y, version: z } }"), @r"
    error[C1105]: `repository` cannot be `x`
     --> templates/mine/component.yaml:7:32
      |
    7 | source: { chart: { repository: x, name: y, version: z } }
      |                                ^
      |
      = help: write a URL with https:// or oci://
    ");
    assert_snapshot!(component("source: { templates: [a.yaml], manifest: { url: https://a/b, sha256: x } }"), @r"
    error[C1214]: there is no file `a.yaml` beside component.yaml
     --> templates/mine/component.yaml:7:23
      |
    7 | source: { templates: [a.yaml], manifest: { url: https://a/b, sha256: x } }
      |                       ^^^^^^
      |
      = help: mend the name, or add the file

    error[C1105]: `sha256` cannot be `x`
     --> templates/mine/component.yaml:7:70
      |
    7 | source: { templates: [a.yaml], manifest: { url: https://a/b, sha256: x } }
      |                                                                      ^
      |
      = help: write 64 hexadecimal digits in lower case
    ");
    assert_snapshot!(component("source: { manifest: { sha256: '0000000000000000000000000000000000000000000000000000000000000000' } }"), @r"
    error[C1213]: a manifest has exactly one of `url` and `file`
     --> templates/mine/component.yaml:7:21
      |
    7 | source: { manifest: { sha256: '0000000000000000000000000000000000000000000000000000000000000000' } }
      |                     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = help: keep one of them
    ");
    assert_snapshot!(component("source: { templates: [gone.yaml.j2] }"), @r"
    error[C1214]: there is no file `gone.yaml.j2` beside component.yaml
     --> templates/mine/component.yaml:7:23
      |
    7 | source: { templates: [gone.yaml.j2] }
      |                       ^^^^^^^^^^^^
      |
      = help: mend the name, or add the file
    ");
    assert_snapshot!(component("source: { templates: [], manifest: { url: https://a/b, sha256: '0000000000000000000000000000000000000000000000000000000000000000' } }"), @r"
    error[C1212]: the component has several sources
     --> templates/mine/component.yaml:7:9
      |
    7 | source: { templates: [], manifest: { url: https://a/b, sha256: '0000000000000000000000000000000000000000000000000000000000000000' } }
      |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = help: keep one of `chart`, `manifest` and `templates`
    ");
    assert_snapshot!(component("source: { values: component.yaml }"), @r"
    error[C1212]: `values` without a chart
     --> templates/mine/component.yaml:7:19
      |
    7 | source: { values: component.yaml }
      |                   ^^^^^^^^^^^^^^
      |
      = help: values are for charts
    ");
}

#[test]
fn broken_files_2() {
    assert_snapshot!(component("needs: [cillium]"), @r"
    error[C1209]: there is no component or capability `cillium`
     --> templates/mine/component.yaml:7:9
      |
    7 | needs: [cillium]
      |         ^^^^^^^ did you mean `cilium`?
    ");
    assert_snapshot!(component("needs: [cilium/crd]"), @r"
    error[C1222]: there is no stage `crd`
     --> templates/mine/component.yaml:7:9
      |
    7 | needs: [cilium/crd]
      |         ^^^^^^^^^^ did you mean `crds`?
      |
      = help: one of: namespaces, crds, objects, webhooks, resources, gates
    ");
    assert_snapshot!(component("requires: { kubernetes: new }"), @r"
    error[C1221]: `new` is not a version range
     --> templates/mine/component.yaml:7:25
      |
    7 | requires: { kubernetes: new }
      |                         ^^^
      |
      = help: write it like `>=1.31` or `>=2.8, <3`
    ");
    assert_snapshot!(component("upgrade: { from: '>=2.8 <3' }"), @r"
    error[C1221]: `>=2.8 <3` is not a version range
     --> templates/mine/component.yaml:7:18
      |
    7 | upgrade: { from: '>=2.8 <3' }
      |                  ^^^^^^^^^^
      |
      = help: write it like `>=1.31` or `>=2.8, <3`
    ");
    assert_snapshot!(component("gates: [{ cel: 'a ==', of: Pod/x }]"), @r"
    error[C1215]: not a CEL expression: at 1:5: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}
     --> templates/mine/component.yaml:7:16
      |
    7 | gates: [{ cel: 'a ==', of: Pod/x }]
      |                ^^^^^^
      |
      = help: gates are CEL expressions over `object`
    ");
    assert_snapshot!(component("gates: [{ cel: 'true', of: Pod }]"), @r"
    error[C1105]: `of` cannot be `Pod`
     --> templates/mine/component.yaml:7:28
      |
    7 | gates: [{ cel: 'true', of: Pod }]
      |                            ^^^
      |
      = help: write `KIND/NAME`, `KIND.GROUP/NAME` or `KIND/NAMESPACE/NAME`
    ");
}

#[test]
fn broken_files_3() {
    assert_snapshot!(component("expect: 5 minutes"), @r"
    error[C1105]: `expect` cannot be `5 minutes`
     --> templates/mine/component.yaml:7:9
      |
    7 | expect: 5 minutes
      |         ^^^^^^^^^
      |
      = help: write a duration such as `90s`, `2m30s` or `1h`
    ");
    assert_snapshot!(component("name: other"), @r"
    error[C1211]: the component is named `other`, but its folder `mine`
     --> templates/mine/component.yaml:6:7
      |
    6 | name: other
      |       ^^^^^
      |
      = help: give both the same name
    ");
    assert_snapshot!(component("namespace: { name: A }"), @r"
    error[C1105]: `name` cannot be `A`
     --> templates/mine/component.yaml:7:20
      |
    7 | namespace: { name: A }
      |                    ^
      |
      = help: write 1 to 63 lower-case letters, digits and `-`, starting and ending with a letter or digit
    ");
    assert_snapshot!(component("settings: component.yaml"), @r"
    error[C1216]: not JSON: expected value
     --> templates/mine/component.yaml:1:1
      |
    1 | apiVersion: cozy/v1
      | ^
      |
      = help: check commas, quotes and brackets here and above
    ");
}

#[test]
fn gates_and_defaults_that_cannot_be() {
    assert_snapshot!(component("gates: [{ of: Pod/a, cel: 'size(object.spec.containers)' }]"), @r"
    error[C1215]: the expression is never true or false: compare what it gives with something
     --> templates/mine/component.yaml:7:27
      |
    7 | gates: [{ of: Pod/a, cel: 'size(object.spec.containers)' }]
      |                           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = help: gates are CEL expressions over `object`
    ");
    let schema = r#"{ "type": "object", "required": ["of"], "properties": {
  "of": { "type": "string" }, "some": { "type": "object", "minProperties": 2, "properties": {
    "size": { "type": "string", "default": 5 }, "kept": { "type": "boolean", "default": true } } } } }"#;
    let more = [
        ("templates/mine/component.yaml", super::component_file("mine", "settings: s.json")),
        ("templates/mine/s.json", schema.to_owned()),
    ];
    assert_snapshot!(super::render(&super::load(&more).1), @r#"
    error[C1216]: the default does not fit: 5 is not of type "string"
     --> templates/mine/s.json:3:44
      |
    3 |     "size": { "type": "string", "default": 5 }, "kept": { "type": "boolean", "default": true } } } } }
      |                                            ^
      |
      = help: write a default that the schema allows
    "#);
}
