//! Mistakes in users' files: all at once, each with its place and what to do.

use std::process::Command;

use super::{cozy, shop, text, write};

#[test]
fn all_mistakes_are_shown_at_once_with_line_and_suggestion() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(
        &folder,
        "cozy.yaml",
        "apiVersion: cozy/v1\nkind: Cloud\nname: Demo\nbundle: edge\nhosts:\n  - { adress: 10.0.0.1 }\nnetwork: { announce: l3 }\n",
    );
    let output = cozy(&["validate", "-f", &file]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = text(&output.stderr);
    for words in ["3 mistakes", "cozy.yaml:3:7", "did you mean `address`?", "did you mean `l2`?"] {
        assert!(stderr.contains(words), "no {words:?} in\n{stderr}");
    }
}

#[test]
fn mistakes_of_form_hide_none_of_meaning() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(
        &folder,
        "cozy.yaml",
        "apiVersion: cozy/v1\nkind: Cloud\nname: demo\nbundle: edge\nhots: 3\nversion: x\n\
         hosts:\n  - { address: 10.0.0.1, prot: 22 }\n  - address: 10.0.0.2\n    role: 7\n\
         network: { pods: 10.42.0.0/16, services: 10.42.0.0/16 }\n\
         components:\n  cillium: { enabled: true }\n  cilium: { settings: { hubbel: true } }\n",
    );
    let stderr = text(&cozy(&["validate", "-f", &file]).stderr);
    for words in [
        "`hots`",
        "`x` is not a version",
        "`prot`",
        "`role`",
        "overlaps",
        "`cillium`",
        "`hubbel`",
        "7 mistakes",
    ] {
        assert!(stderr.contains(words), "no {words:?} in\n{stderr}");
    }
}

/// Wrong text, wrong form and wrong meaning, in `cozy.yaml` and in a catalogue: one run shows them all.
#[test]
fn mistakes_of_all_files_are_shown_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for part in ["c/templates/x", "c/templates/y", "c/templates/z", "c/bundles"] {
        fs_err::create_dir_all(folder.path().join(part)).unwrap();
    }
    let head = "apiVersion: cozy/v1\nkind: Component\nsummary: x\ncategory: test\nversion: '1'\n";
    let component = "name: x\nneeds: [nobody]\nsource: { templates: [x.yaml.j2], values: v.yaml }\nsettings: s.json\ngats: []\n";
    write(&folder, "c/templates/x/component.yaml", &format!("{head}{component}"));
    write(&folder, "c/templates/x/x.yaml.j2", "a: b-{{ c }}\nd: {{ e }}f\n");
    write(&folder, "c/templates/x/s.json", "{ \"type\": \"object\",, }\n");
    write(&folder, "c/templates/y/component.yml", head);
    write(&folder, "c/templates/z/component.yaml", &format!("{head}name: z\nresources: [z.yaml.j2]\n"));
    write(&folder, "c/templates/z/z.yaml.j2", "{% if x %}\n");
    write(
        &folder,
        "c/bundles/b.yaml",
        "apiVersion: cozy/v1\nkind: Bundle\nname: b\nversion: 1\nsummary: x\nextends: [gone]\ncomponents: { x: {}, q: {} }\n",
    );
    let cloud = write(
        &folder,
        "cozy.yaml",
        "apiVersion: cozy/v1\nkind: Cloud\nname: Demo\nbundle: b\nbundle: c\nversion: x\n\
         hosts:\n\t\t- { address: 10.0.0.1, port: 22.0, role: &a server }\n  - { address: 10.0.0.1, role: *a }\n\
         network: { pods: 10.42.0.0/16, services: 10.42.0.0/16 }\n\
         components: { nobody: {}, z: { path: nowhere } }\n",
    );
    let catalogue = folder.path().join("c");
    let output = cozy(&["validate", "-o", "json", "-f", &cloud, "--catalogue", catalogue.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let shown = |finding: &serde_json::Value| {
        let file =
            finding["file"].as_str().and_then(|file| file.rsplit('/').next()).unwrap_or("-").to_owned();
        let message = finding["message"].as_str().unwrap();
        let message = message.replace(folder.path().to_str().unwrap(), "");
        format!("{} {file}:{} {message}", finding["code"].as_str().unwrap(), finding["line"])
    };
    let mut lines: Vec<String> = document["findings"].as_array().unwrap().iter().map(shown).collect();
    lines.sort();
    insta::assert_snapshot!(lines.join("\n"), @r"
    C1004 cozy.yaml:8 a tab indents this line
    C1009 cozy.yaml:8 anchors are not allowed
    C1009 cozy.yaml:9 aliases are not allowed
    C1011 cozy.yaml:5 duplicate key `bundle`: it is already on line 4
    C1101 component.yaml:10 unknown key `gats`
    C1102 b.yaml:4 `version` must be text, not the number 1
    C1105 cozy.yaml:3 `name` cannot be `Demo`
    C1108 cozy.yaml:8 `port` must be a whole number, not `22.0`
    C1201 cozy.yaml:10 `services` (10.42.0.0/16) overlaps `pods` (10.42.0.0/16)
    C1205 cozy.yaml:9 10.0.0.1 is already host 1
    C1208 b.yaml:6 there is no bundle `gone`
    C1209 b.yaml:7 there is no component `q`
    C1209 component.yaml:7 there is no component or capability `nobody`
    C1209 cozy.yaml:11 there is no component `nobody`
    C1210 cozy.yaml:6 `x` is not a version
    C1212 component.yaml:8 `values` without a chart
    C1214 component.yaml:8 there is no file `v.yaml` beside component.yaml
    C1216 s.json:1 not JSON: key must be a string
    C1234 -:null /c/templates/y/: there is no `component.yaml` in this folder
    C1300 cozy.yaml:11 cannot read the component at `/nowhere`: failed to read directory `/nowhere`: No such file or directory (os error 2)
    C2003 x.yaml.j2:1 `{{ c }}` is glued to other text: each expression is a whole value
    C2003 x.yaml.j2:2 `{{ e }}` is glued to other text: each expression is a whole value
    C2004 z.yaml.j2:1 syntax error: unexpected end of input, expected end of block
    ");
}

#[test]
fn schemas_that_multiply_are_refused_soon() {
    let folder = tempfile::tempdir().unwrap();
    let (file, catalogue) = shop(&folder, "web");
    let component = folder.path().join("catalogue/templates/shop");
    let doubled: Vec<String> = (0..40)
        .map(|level| {
            let next = format!("{{ \"$ref\": \"#/$defs/a{}\" }}", level + 1);
            format!("\"a{level}\": {{ \"allOf\": [{next}, {next}] }}")
        })
        .collect();
    let schema = format!("{{ \"$ref\": \"#/$defs/a0\", \"$defs\": {{ {} }} }}", doubled.join(", "));
    let anchors: Vec<String> = (0..40)
        .map(|level| {
            let next = format!("{{ \"$ref\": \"#b{}\" }}", level + 1);
            format!("\"a{level}\": {{ \"$anchor\": \"b{level}\", \"allOf\": [{next}, {next}] }}")
        })
        .collect();
    let anchors = format!(
        "{{ \"$ref\": \"#b0\", \"$defs\": {{ {}, \"a40\": {{ \"$anchor\": \"b40\" }} }} }}",
        anchors.join(", ")
    );
    let encoded =
        format!("{{ \"$ref\": \"#/%24defs/a0\", \"$defs\": {{ {}, \"a40\": {{}} }} }}", doubled.join(", "))
            .replace("#/$defs", "#/%24defs");
    let many: Vec<String> = (0..300).map(|number| format!("{{ \"const\": {number} }}")).collect();
    let alternatives =
        format!("{{ \"properties\": {{ \"a\": {{ \"items\": {{ \"anyOf\": [{}] }} }} }} }}", many.join(", "));
    let contract = "apiVersion: cozy/v1\nkind: Component\nname: shop\nsummary: x\ncategory: test\nversion: '1'\nsettings: s.json\n";
    fs_err::write(component.join("component.yaml"), contract).unwrap();
    let cloud =
        "apiVersion: cozy/v1\nkind: Cloud\nname: demo\nbundle: shop\nkubernetes: { provider: existing }\n";
    for (schema, settings, words) in [
        (schema, "{ a: 1 }".to_owned(), "references and alternatives multiply"),
        (anchors, "{ a: 1 }".to_owned(), "`$ref: #b0` is no place in this file"),
        (encoded, "{ a: 1 }".to_owned(), "`$ref: #/%24defs/a0` is no place in this file"),
        (alternatives, format!("{{ a: [{}] }}", "x,".repeat(20_000)), "too many to be checked"),
    ] {
        fs_err::write(component.join("s.json"), schema).unwrap();
        fs_err::write(&file, format!("{cloud}components: {{ shop: {{ settings: {settings} }} }}\n")).unwrap();
        let run = "ulimit -t 8; ulimit -v 4000000; exec \"$0\" validate -f \"$1\" --catalogue \"$2\"";
        let output = Command::new("sh")
            .args(["-c", run, env!("CARGO_BIN_EXE_cozy"), &file, &catalogue])
            .env_clear()
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{words}: {:?}", output.status);
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
    }
}

#[test]
fn what_is_no_text_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cozy.yaml");
    let head = b"apiVersion: cozy/v1\nkind: Cloud\nname: demo\nbundle: edge\n".to_vec();
    let utf16: Vec<u8> = [0xff_u8, 0xfe].into_iter().chain(head.iter().flat_map(|byte| [*byte, 0])).collect();
    let latin1: Vec<u8> = [&head[..], b"# caf\xe9\nhots: [] # \xe9\n\tdomain: a\n"].concat();
    let windows: Vec<u8> = [&b"\xef\xbb\xbf"[..], &head, b"hosts: [{ local: true }]\n"].concat();
    let windows =
        windows.iter().flat_map(|byte| if *byte == b'\n' { vec![b'\r', b'\n'] } else { vec![*byte] });
    let windows: Vec<u8> = windows.collect();
    let large = [&head[..], &vec![b'#'; 100 << 20]].concat();
    let mut said = String::new();
    for bytes in [utf16, latin1, windows, large, Vec::new(), b"---\n".to_vec(), vec![0; 10]] {
        fs_err::write(&path, bytes).unwrap();
        said += &text(&cozy(&["validate", "-f", path.to_str().unwrap()]).stderr);
    }
    said += &text(&cozy(&["validate", "-f", folder.path().to_str().unwrap()]).stderr);
    insta::assert_snapshot!(said.replace(folder.path().to_str().unwrap(), ""), @r"
    error[C1002]: /cozy.yaml: the file is UTF-16
     |
     = help: save the file as UTF-8

    error: 1 mistake in the input
    error[C1002]: this line is not UTF-8
     --> /cozy.yaml:5:6
      |
    5 | # caf�
      |      ^
      |
      = help: save the file as UTF-8

    error[C1002]: this line is not UTF-8
     --> /cozy.yaml:6:12
      |
    6 | hots: [] # �
      |            ^
      |
      = help: save the file as UTF-8

    error[C1004]: a tab indents this line
     --> /cozy.yaml:7:1
      |
    7 |     domain: a
      | ^^^^
      |
      = help: indent with spaces

    error: 3 mistakes in the input
    /cozy.yaml is valid: 7 components
    error[C1001]: /cozy.yaml: the file is larger than 1 MiB
     |
     = help: is it the right file?

    error: 1 mistake in the input
    error[C1005]: /cozy.yaml: the file is empty
     |
     = help: `cozy schema cloud`, `bundle` and `component` print what can stand in such a file

    error: 1 mistake in the input
    error[C1005]: /cozy.yaml: the file is empty
     |
     = help: `cozy schema cloud`, `bundle` and `component` print what can stand in such a file

    error: 1 mistake in the input
    error[C1003]: the file has a NUL byte
     --> /cozy.yaml:1:1
      |
    1 | ␀␀␀␀␀␀␀␀␀␀
      | ^
      |
      = help: is it a text file?

    error: 1 mistake in the input
    error[C1000]: cannot read the cloud's file ``
      caused by: failed to read from file ``: Is a directory (os error 21)

    hint: name it with --file; `cozy schema cloud` says what can stand in it
    ");
}

#[test]
fn what_nothing_reads_in_a_catalogue_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = folder.path().to_str().unwrap();
    for part in ["templates/x", "bundles"] {
        fs_err::create_dir_all(folder.path().join(part)).unwrap();
    }
    let lint = || text(&cozy(&["bundle", "lint", "--catalogue", catalogue]).stderr).replace(catalogue, "");
    let mut said = lint();
    fs_err::create_dir(folder.path().join("templates/x/a")).unwrap();
    write(&folder, "templates/x/a/y.yaml", "");
    write(&folder, "templates/x/component.yml", "");
    write(&folder, "bundles/mine.yml", "");
    said += &lint();
    fs_err::os::unix::fs::symlink("/etc/passwd", folder.path().join("templates/x/component.yaml")).unwrap();
    said += &lint();
    insta::assert_snapshot!(said, @r"
    error[C1300]: `` is no catalogue: it has no files in `templates/` or `bundles/`

    hint: a catalogue is a folder with `templates/` and `bundles/`
    error[C1234]: /bundles/mine.yml: the files of bundles end in `.yaml`
     |
     = help: rename it

    error[C1234]: /templates/x/: there is no `component.yaml` in this folder
     |
     = help: a folder in `templates/` is a component

    error: 2 mistakes in the input
    error[C1300]: `/templates/x/component.yaml` is a link: a catalogue holds its own files

    hint: a catalogue is a folder with `templates/` and `bundles/`
    ");
}
