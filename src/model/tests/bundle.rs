//! Broken files, and what is said of them: bundle.

use insta::assert_snapshot;

use super::bundle;

#[test]
fn broken_files_1() {
    assert_snapshot!(bundle("version: 1"), @r#"
    error[C1102]: `version` must be text, not the number 1
     --> bundles/mine.yaml:5:10
      |
    5 | version: 1
      |          ^
      |
      = help: quote it: "1"
    "#);
    assert_snapshot!(bundle("extends: [egde]"), @r"
    error[C1208]: there is no bundle `egde`
     --> bundles/mine.yaml:6:11
      |
    6 | extends: [egde]
      |           ^^^^ did you mean `edge`?
    ");
    assert_snapshot!(bundle("extends: [edge]"), @r"
    error[C1218]: bundles extend each other: edge → mine → edge
     --> bundles/edge.yaml:6:10
      |
    6 | extends: [mine]
      |          ^^^^^^
      |
      = help: take one of them out of `extends`

    error[C1218]: bundles extend each other: mine → edge → mine
     --> bundles/mine.yaml:6:10
      |
    6 | extends: [edge]
      |          ^^^^^^
      |
      = help: take one of them out of `extends`
    ");
    assert_snapshot!(bundle("components: { zzzzzz: {} }"), @r"
    error[C1209]: there is no component `zzzzzz`
     --> bundles/mine.yaml:6:15
      |
    6 | components: { zzzzzz: {} }
      |               ^^^^^^
      |
      = help: known: cilium, plain, strict
    ");
    assert_snapshot!(bundle("components: { cilium: { option: true } }"), @r"
    error[C1101]: unknown key `option`
     --> bundles/mine.yaml:6:25
      |
    6 | components: { cilium: { option: true } }
      |                         ^^^^^^ did you mean `optional`?
    ");
    assert_snapshot!(bundle("components: { cilium: { settings: { mtu: 10 } } }"), @r"
    error[C1106]: `mtu` is `10`, and must be at least 1280
     --> bundles/mine.yaml:6:42
      |
    6 | components: { cilium: { settings: { mtu: 10 } } }
      |                                          ^^
    ");
}

#[test]
fn broken_files_2() {
    assert_snapshot!(bundle("components: { plain: { settings: { a: 1 } } }"), @r"
    error[C1101]: component `plain` has no settings
     --> bundles/mine.yaml:6:34
      |
    6 | components: { plain: { settings: { a: 1 } } }
      |                                  ^^^^^^^^
      |
      = help: take them out
    ");
    assert_snapshot!(bundle("name: other"), @r"
    error[C1211]: the bundle is named `other`, but its file `mine.yaml`
     --> bundles/mine.yaml:5:7
      |
    5 | name: other
      |       ^^^^^
      |
      = help: give both the same name
    ");
}
