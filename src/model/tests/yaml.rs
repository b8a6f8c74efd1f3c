//! Broken files, and what is said of them: yaml.

use insta::assert_snapshot;

use super::yaml;

#[test]
fn broken_files_1() {
    assert_snapshot!(yaml("name: a\nname: b"), @r"
    error[C1011]: duplicate key `name`: it is already on line 1
     --> cozy.yaml:2:1
      |
    2 | name: b
      | ^^^^
      |
      = help: keep one of them
    ");
    assert_snapshot!(yaml("name: &a x"), @r"
    error[C1009]: anchors are not allowed
     --> cozy.yaml:1:7
      |
    1 | name: &a x
      |       ^^^^
      |
      = help: write the value out where it is used
    ");
    assert_snapshot!(yaml("name: *a"), @r"
    error[C1009]: aliases are not allowed
     --> cozy.yaml:1:7
      |
    1 | name: *a
      |       ^
      |
      = help: write the value out
    ");
    assert_snapshot!(yaml("<<: {a: 1}"), @r"
    error[C1009]: merge keys are not allowed
     --> cozy.yaml:1:1
      |
    1 | <<: {a: 1}
      | ^^
      |
      = help: write the values out
    ");
    assert_snapshot!(yaml("name: !!str x"), @r"
    error[C1012]: tags are not allowed
     --> cozy.yaml:1:7
      |
    1 | name: !!str x
      |       ^^^^^^^
      |
      = help: remove the `!…`
    ");
    assert_snapshot!(yaml("a: 1\n---\nb: 2"), @r"
    error[C1007]: a second document starts here
     --> cozy.yaml:2:1
      |
    2 | ---
      | ^^^
      |
      = help: one file holds one document: remove the `---`
    ");
}

#[test]
fn broken_files_2() {
    assert_snapshot!(yaml("\tname: x"), @r"
    error[C1004]: a tab indents this line
     --> cozy.yaml:1:1
      |
    1 |     name: x
      | ^^^^
      |
      = help: indent with spaces
    ");
    assert_snapshot!(yaml("name: [a"), @r"
    error[C1006]: not YAML: while parsing a flow sequence, expected ',' or ']'
     --> cozy.yaml:1:9
      |
    1 | name: [a
      |         ^
      |
      = help: check indentation, colons and quotes here and above
    ");
    assert_snapshot!(yaml("name: \"a"), @r#"
    error[C1006]: not YAML: while scanning a quoted scalar, found unexpected end of stream
     --> cozy.yaml:1:7
      |
    1 | name: "a
      |       ^
      |
      = help: check indentation, colons and quotes here and above
    "#);
    assert_snapshot!(yaml("? [a]\n: b"), @r"
    error[C1010]: this cannot be a key
     --> cozy.yaml:1:3
      |
    1 | ? [a]
      |   ^^^
      |
      = help: keys are words
    ");
    assert_snapshot!(yaml(""), @r"
    error[C1005]: cozy.yaml: the file is empty
     |
     = help: `cozy schema cloud`, `bundle` and `component` print what can stand in such a file
    ");
    assert_snapshot!(yaml("# nothing"), @r"
    error[C1005]: cozy.yaml: the file is empty
     |
     = help: `cozy schema cloud`, `bundle` and `component` print what can stand in such a file
    ");
}

#[test]
fn broken_files_3() {
    assert_snapshot!(yaml("name: a: b"), @r"
    error[C1006]: not YAML: mapping values are not allowed in this context
     --> cozy.yaml:1:8
      |
    1 | name: a: b
      |        ^
      |
      = help: check indentation, colons and quotes here and above
    ");
    assert_snapshot!(yaml("- a\nb: c"), @r"
    error[C1006]: not YAML: while parsing a block collection, did not find expected '-' indicator
     --> cozy.yaml:2:1
      |
    2 | b: c
      | ^
      |
      = help: check indentation, colons and quotes here and above
    ");
    assert_snapshot!(yaml("name: \0"), @r"
    error[C1003]: the file has a NUL byte
     --> cozy.yaml:1:7
      |
    1 | name: ␀
      |       ^
      |
      = help: is it a text file?
    ");
    assert_snapshot!(yaml("a: {b: 1, b: 2}"), @r"
    error[C1011]: duplicate key `b`: it is already on line 1
     --> cozy.yaml:1:11
      |
    1 | a: {b: 1, b: 2}
      |           ^
      |
      = help: keep one of them
    ");
    assert_snapshot!(yaml("ü: 1\nü: 2"), @r"
    error[C1011]: duplicate key `ü`: it is already on line 1
     --> cozy.yaml:2:1
      |
    2 | ü: 2
      | ^
      |
      = help: keep one of them
    ");
}
