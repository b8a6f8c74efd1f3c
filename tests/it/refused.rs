//! What is refused before anything is done, and runs that cannot tell what they did.

use std::process::{Command, Output, Stdio};

use crate::text;

/// A catalogue of two components, with further lines for the first one, and a cloud of it.
struct Cloud(tempfile::TempDir);

impl Cloud {
    fn new(more: &str, template: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| {
            let path = folder.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, content).unwrap();
        };
        for (name, more, template) in [("first", more, template), ("second", "needs: [first]", "")] {
            let contract = format!(
                "apiVersion: cozy/v1\nkind: Component\nname: {name}\nsummary: x\ncategory: x\nversion: 1.0.0\n\
                 namespace: {{ name: {name} }}\nsource: {{ templates: [a.yaml.j2] }}\n{more}\n"
            );
            write(&format!("templates/{name}/component.yaml"), &contract);
            let config =
                format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name} }}\n---\n{template}");
            write(&format!("templates/{name}/a.yaml.j2"), &config);
        }
        let bundle = "apiVersion: cozy/v1\nkind: Bundle\nname: two\nversion: 1.0.0\nsummary: x\ncomponents: { first: {}, second: {} }\n";
        write("bundles/two.yaml", bundle);
        write(
            "cozy.yaml",
            "apiVersion: cozy/v1\nkind: Cloud\nname: two\nbundle: two\nkubernetes: { provider: existing }\n",
        );
        Self(folder)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cozy"));
        command.args(arguments).args(["--file", "cozy.yaml", "--catalogue", "."]).current_dir(self.0.path());
        command.env_clear().env("XDG_STATE_HOME", self.0.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        (status.code(), format!("{}{}", text(&stdout), text(&stderr)))
    }
}

#[test]
fn catalogues_that_cannot_be_rendered_or_planned_are_no_fine_ones() {
    let fine = Cloud::new("", "");
    for command in [&["validate"][..], &["bundle", "lint"]] {
        assert_eq!(fine.run(command).0, Some(0), "{}", fine.run(command).1);
    }
    let config = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name} }}\n");
    let broken = [
        ("needs: [second]", String::new(), "C2503"),
        ("", "{{ nope.x }}".to_owned(), "undefined"),
        ("", config("first"), "twice"),
        ("", config("../../nodes/x"), "`metadata.name` is `../../nodes/x`"),
        ("ignoreEdges: [nobody]", String::new(), "C1209"),
    ];
    for (more, template, said) in broken {
        let cloud = Cloud::new(more, &template);
        for command in [&["validate"][..], &["bundle", "lint"], &["plan", "--rehearse"]] {
            let (code, output) = cloud.run(command);
            assert_eq!(code, Some(2), "{command:?}, {more}{template}:\n{output}");
            assert!(output.contains(said), "{command:?}, {more}{template}:\n{output}");
        }
    }
}

#[test]
fn a_cloud_of_another_version_is_not_changed() {
    let cloud = Cloud::new("", "");
    let path = cloud.0.path().join("cozy.yaml");
    let file = fs_err::read_to_string(&path).unwrap();
    fs_err::write(&path, format!("{file}version: 99.0.0\n")).unwrap();
    let (code, output) = cloud.run(&["install", "--rehearse", "--yes"]);
    assert_eq!(code, Some(2), "{output}");
    assert!(output.contains("C7010") && output.contains("99.0.0"), "{output}");
    let (code, output) = cloud.run(&["validate"]);
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("warning") && output.contains("99.0.0"), "{output}");
    fs_err::write(&path, format!("{file}version: {}\n", env!("CARGO_PKG_VERSION"))).unwrap();
    assert_eq!(cloud.run(&["install", "--rehearse", "--yes"]).0, Some(0));
}

#[test]
fn a_run_that_cannot_tell_what_it_did_does_not_end_well() {
    let cloud = Cloud::new("", "");
    let (code, output) = cloud.run(&["install", "--rehearse", "--yes", "--timeline", "nowhere/run.svg"]);
    assert_eq!(code, Some(2), "{output}");
    assert!(output.contains("C7009") && !output.contains("timeline   "), "the run began: {output}");
    let full = fs_err::OpenOptions::new().write(true).open("/dev/full").unwrap().into_parts().0;
    let mut command = cloud.command(&["install", "--rehearse", "--yes", "-o", "json"]);
    let output = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("events could not be written"), "{}", text(&output.stderr));
}

#[test]
fn a_rehearsal_with_faults_says_how_to_have_it_again() {
    let cloud = Cloud::new("", "");
    let faults = ["--inject", "api=503:100%", "--seed", "7", "--timeout", "20s"];
    let (code, output) = cloud.run(&[&["install", "--rehearse", "--yes"][..], &faults].concat());
    assert_eq!(code, Some(1), "{output}");
    let words = output.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("--inject api=503:100% --seed 7 --timeout 20s rehearses it again"), "{output}");
}

#[test]
fn variables_stand_for_flags() {
    let cloud = Cloud::new("", "");
    let output = cloud
        .command(&["install", "--rehearse"])
        .env("COZY_YES", "1")
        .env("COZY_TIMELINE", "run.json")
        .output();
    assert_eq!(output.unwrap().status.code(), Some(0));
    assert!(cloud.0.path().join("run.json").exists());
}
