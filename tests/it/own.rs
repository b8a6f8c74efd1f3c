//! A catalogue of one's own with one component: what is said of its mistakes,
//! by `validate`, `plan`, `render` and rehearsals alike.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use super::{text, write};

const HOST: &str = "hosts: [{ local: true }]\n";
const EXISTING: &str = "kubernetes: { provider: existing }\n";
const TEMPLATE: &str = "source: { templates: [a.yaml.j2] }\n";
const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n";

struct Own(tempfile::TempDir);

impl Own {
    fn new(contract: &str, template: &str, cloud: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for part in ["cat/bundles", "cat/templates/mine"] {
            fs_err::create_dir_all(folder.path().join(part)).unwrap();
        }
        let head = "apiVersion: cozy/v1\nkind: Bundle\nname: own\nversion: 1.0.0\nsummary: x\n";
        write(&folder, "cat/bundles/own.yaml", &format!("{head}components: {{ mine: {{}} }}\n"));
        let head = "apiVersion: cozy/v1\nkind: Component\nname: mine\nsummary: x\ncategory: x\nversion: 1.0.0\n\
            namespace: { name: mine }\nexpect: 1s\n";
        let deadline = if contract.contains("deadline:") { "" } else { "deadline: 1m\n" };
        write(&folder, "cat/templates/mine/component.yaml", &format!("{head}{deadline}{contract}"));
        write(&folder, "cat/templates/mine/a.yaml.j2", template);
        let head = "apiVersion: cozy/v1\nkind: Cloud\nname: x\nbundle: own\n";
        write(&folder, "cozy.yaml", &format!("{head}{cloud}"));
        Self(folder)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cozy"));
        command.args(arguments).args(["--catalogue", "cat"]).current_dir(self.0.path());
        command.env_clear().env("XDG_STATE_HOME", self.0.path()).env("COLUMNS", "200");
        command
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        (status.code(), format!("{}{}", text(&stdout), text(&stderr)))
    }
}

const CRD: &str = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: { name: things.ex.org }\n\
    spec:\n  group: ex.org\n  scope: Namespaced\n  names: { kind: Thing, plural: things }\n  versions: [{ name: v1, served: SERVED, storage: true }]\n\
    ---\napiVersion: ex.org/VERSION\nkind: Thing\nmetadata: { name: a }\n";

/// Contract, template, cloud, and the words that `validate` and `plan` say.
type Case = (&'static str, String, String, &'static [&'static str]);

/// What cannot be planned.
fn unplanned() -> Vec<Case> {
    let crd = |served: &str, version: &str| CRD.replace("SERVED", served).replace("VERSION", version);
    vec![
        (
            "",
            CONFIG.replace("v1", "v2"),
            HOST.into(),
            &[
                "C2501",
                "written as `v2`, and ConfigMap is served as `v1` only",
                "a.yaml.j2:2:1",
                "write `apiVersion: v1`",
            ],
        ),
        (
            "",
            "apiVersion: apps/v1beta1\nkind: Deployment\nmetadata: { name: a }\n".into(),
            EXISTING.into(),
            &["C2501", "served as `apps/v1` only"],
        ),
        (
            "",
            crd("true", "v2"),
            HOST.into(),
            &["C2501", "Thing is served as `ex.org/v1` only", "a.yaml.j2:11"],
        ),
        ("", crd("false", "v1"), HOST.into(), &["C2501", "Thing is served at no version"]),
        ("", CONFIG.replace("ConfigMap", "Configmap"), HOST.into(), &["C2501", "did you mean `ConfigMap`?"]),
        ("", CONFIG.replace("ConfigMap", "Secrt"), HOST.into(), &["C2501", "did you mean `Secret`?"]),
        (
            "gates: [{ cel: object.data.x == 'y', of: ConfgMap/b }]\n",
            CONFIG.into(),
            HOST.into(),
            &["C2514", "did you mean `ConfigMap`?", "component.yaml:11"],
        ),
        ("needs: [cilium]\n", CONFIG.into(), EXISTING.into(), &["C2502", "`cilium`", "component.yaml:11"]),
        (
            "requires: { kubernetes: '>=1.99' }\n",
            CONFIG.into(),
            HOST.into(),
            &["C1241", "requires Kubernetes >=1.99"],
        ),
    ]
}

/// What cannot be rendered.
fn unrendered() -> Vec<Case> {
    let patch = |patch: &str| format!("{HOST}components:\n  mine:\n    patches:\n      - {patch}\n");
    vec![
        (
            "",
            CONFIG.into(),
            patch("{ target: { kind: ConfigMp }, patch: [{ op: remove, path: /data }] }"),
            &["C2009", "there is no ConfigMp to patch", "cozy.yaml:9", "did you mean `ConfigMap`?"],
        ),
        (
            "",
            CONFIG.into(),
            patch("{ target: { kind: ConfigMap, name: b }, patch: [{ op: remove, path: /data }] }"),
            &["C2009", "there is no ConfigMap `b` to patch", "did you mean `a`?"],
        ),
        (
            "",
            CONFIG.into(),
            patch("{ target: { kind: ConfigMap }, patch: [{ op: remove, path: /nope/x }] }"),
            &["C2009", "ConfigMap a: there is nothing at `/nope/x`", "cozy.yaml:9"],
        ),
        (
            "",
            format!("{CONFIG}---\n{CONFIG}"),
            HOST.into(),
            &["C2010", "rendered twice", "a.yaml.j2:6", "another name"],
        ),
        (
            "",
            format!("{CONFIG}data:\n  x: {{{{ nope }}}}\n  y: a{{{{ cloud.name }}}}b{{{{ cloud.name }}}}\n"),
            HOST.into(),
            &[
                "C2003",
                "a.yaml.j2:6:7",
                "C2004",
                "a.yaml.j2:5:6",
                "write `{{ 'a' ~ cloud.name ~ 'b' ~ cloud.name }}`",
            ],
        ),
        ("", "{% include 'x' %}\n".into(), HOST.into(), &["C2004", "stands alone"]),
        ("", "{{ nobody(1) }}\n".into(), HOST.into(), &["C2004", "https://docs.rs/minijinja"]),
        (
            "",
            "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}\n".into(),
            HOST.into(),
            &["C2004", "loops"],
        ),
        ("", "a: b\n".into(), HOST.into(), &["C2006", "each document is one object"]),
        ("", "a: [\n".into(), HOST.into(), &["C2005", "indentation"]),
        ("source: { templates: [a.txt] }\n", CONFIG.into(), HOST.into(), &["C1242", "end in `.yaml.j2`"]),
        ("deadline: 0s\n", CONFIG.into(), HOST.into(), &["C1106", "no time at all"]),
        (
            "source: { manifest: { file: a.yaml.j2, sha256: 0000000000000000000000000000000000000000000000000000000000000000 } }\n",
            CONFIG.into(),
            HOST.into(),
            &["C2007", "the sha256 of a.yaml.j2 is", "component.yaml:10"],
        ),
    ]
}

#[test]
fn mistakes_are_said_with_their_place_before_anything_is_done() {
    for (contract, template, cloud, words) in unplanned().into_iter().chain(unrendered()) {
        let source = if contract.contains("source:") { "" } else { TEMPLATE };
        let own = Own::new(&format!("{source}{contract}"), &template, &cloud);
        if contract.contains("a.txt") {
            write(&own.0, "cat/templates/mine/a.txt", CONFIG);
        }
        for command in [&["validate"][..], &["plan", "--rehearse"]] {
            let (code, said) = own.run(command);
            assert_eq!(code, Some(2), "{command:?} of {contract}{template}{cloud}:\n{said}");
            for word in words {
                assert!(
                    said.contains(word),
                    "no {word:?} from {command:?} of {contract}{template}{cloud}:\n{said}"
                );
            }
        }
    }
}

#[test]
fn versions_that_somebody_may_serve_pass() {
    for (template, cloud) in [
        (CONFIG.to_owned(), HOST),
        (CRD.replace("SERVED", "true").replace("VERSION", "v1"), HOST),
        (
            "apiVersion: resource.k8s.io/v1beta1\nkind: ResourceClaim\nmetadata: { name: a }\n".to_owned(),
            EXISTING,
        ),
        (
            "apiVersion: others.org/v3\nkind: Other\nmetadata: { name: a, namespace: mine }\n".to_owned(),
            EXISTING,
        ),
    ] {
        let own = Own::new(TEMPLATE, &template, cloud);
        let (code, said) = own.run(&["validate"]);
        assert_eq!(code, Some(0), "{template}{said}");
    }
    let idle = Own::new(
        &format!("{TEMPLATE}gates: [{{ cel: object.data.x == 'y', of: ConfigMap/b }}]\n"),
        CONFIG,
        HOST,
    );
    let (code, said) = idle.run(&["validate"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("gate of ConfigMap/b judges nothing"), "{said}");
}

#[test]
fn a_glued_expression_is_shown_alike_by_all_commands() {
    let own = Own::new(TEMPLATE, &format!("{CONFIG}data:\n  x: a{{{{ cloud.name }}}}\n"), HOST);
    let [validated, rendered, planned] =
        [&["validate"][..], &["render"], &["plan", "--rehearse"]].map(|command| own.run(command).1);
    assert!(validated.contains("a.yaml.j2:5:7"), "{validated}");
    assert_eq!(validated, rendered);
    assert_eq!(validated, planned);
}

#[test]
fn all_cycles_and_all_unknown_names_are_said() {
    let own = Own::new(TEMPLATE, CONFIG, EXISTING);
    let pairs = [("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")];
    for (name, need) in pairs {
        fs_err::create_dir_all(own.0.path().join(format!("cat/templates/{name}"))).unwrap();
        let contract = format!(
            "apiVersion: cozy/v1\nkind: Component\nname: {name}\nsummary: x\ncategory: x\nversion: '1'\nnamespace: {{ name: {name} }}\n\
             needs: [{need}]\nsource: {{ templates: [a.yaml.j2] }}\n"
        );
        write(&own.0, &format!("cat/templates/{name}/component.yaml"), &contract);
        write(&own.0, &format!("cat/templates/{name}/a.yaml.j2"), CONFIG);
    }
    let bundle = "apiVersion: cozy/v1\nkind: Bundle\nname: own\nversion: 1.0.0\nsummary: x\ncomponents: { a: {}, b: {}, c: {}, d: {} }\n";
    write(&own.0, "cat/bundles/own.yaml", bundle);
    let (code, said) = own.run(&["validate"]);
    assert_eq!((code, said.matches("C2503").count()), (Some(2), 2), "{said}");
    let (code, said) = own.run(&["render", "a", "nope", "nix"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("`nope`") && said.contains("`nix`"), "{said}");
}

#[test]
fn bundles_that_extend_each_other_end_soon() {
    let own = Own::new(TEMPLATE, CONFIG, HOST);
    let bundle = |name: &str, base: &str| {
        let head = format!("apiVersion: cozy/v1\nkind: Bundle\nname: {name}\nversion: 1.0.0\nsummary: x\n");
        write(&own.0, &format!("cat/bundles/{name}.yaml"), &format!("{head}extends: [{base}]\n"));
    };
    bundle("eins", "zwei");
    bundle("zwei", "eins");
    let (code, said) = own.run(&["bundle", "show", "zwei"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("C1218") && said.contains("zwei → eins → zwei") && !said.contains("did you mean"),
        "{said}"
    );
    fs_err::remove_file(own.0.path().join("cat/bundles/eins.yaml")).unwrap();
    bundle("zwei", "own");
    bundle("b1", "own");
    (2..=1000).for_each(|level| bundle(&format!("b{level}"), &format!("b{}", level - 1)));
    // Seconds of a processor: others may be at work here, too.
    let limited = "ulimit -t 3; exec \"$0\" validate --catalogue cat";
    let mut command = Command::new("sh");
    command.args(["-c", limited, env!("CARGO_BIN_EXE_cozy")]).current_dir(own.0.path()).env_clear();
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), said.matches("C1240").count()), (Some(2), 1), "{said}");
}

#[test]
fn variables_are_read_as_people_mean_them() {
    let own = Own::new(TEMPLATE, CONFIG, HOST);
    let run = |command: &[&str], variable: (&str, &str)| {
        let output = own.command(command).env(variable.0, variable.1).output().unwrap();
        (output.status.code(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
    };
    for name in ["COZY_YES", "COZY_ADOPT", "COZY_QUIET", "COZY_REMOVE_HOSTS"] {
        let (code, said) = run(&["install", "--rehearse"], (name, "nope"));
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(name) && said.contains("`nope`"), "{said}");
        for value in ["yes", "On", "1", "TRUE", "no", "off", "0", "False", ""] {
            let (code, said) = run(&["install", "--rehearse"], (name, value));
            assert_eq!(code, Some(0), "{name}={value}: {said}");
        }
    }
    assert_eq!(run(&["validate"], ("COZY_QUIET", "on")).1, "");
    assert!(!run(&["validate"], ("COZY_QUIET", "off")).1.is_empty());
    for name in [
        "COZY_CATALOGUE",
        "COZY_OUTPUT",
        "COZY_TIMEOUT",
        "COZY_CONTEXT",
        "COZY_FILE",
        "COZY_CONCURRENCY",
        "COZY_COLOR",
    ] {
        let (code, said) = run(&["install", "--rehearse"], (name, ""));
        assert_eq!(code, Some(0), "{name}: {said}");
    }
}

#[test]
fn a_file_from_stdin_shows_all_that_it_lacks() {
    let own = Own::new(TEMPLATE, CONFIG, HOST);
    let run = |file: &str| {
        let mut child = own
            .command(&["validate", "-f", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(file.as_bytes()).unwrap();
        text(&child.wait_with_output().unwrap().stderr)
    };
    let said = run("apiVersion: cozy/v1\nkind: Cloud\n");
    for word in ["`bundle`", "`name`", "C1206"] {
        assert!(said.contains(word), "no {word} in\n{said}");
    }
    assert!(!said.contains("C1208"), "{said}");
    let said = run("apiVersion: cozy/v1\nkind: Cloud\nname: X\nbundle: own\nversion: z\n");
    assert!(said.contains("C1206") && said.contains("C1210"), "{said}");
    // What was meant as hosts is a mistake of its own.
    for lost in ["hots: []\n", "hosts: 3\n", "kubernetes: { provider: exsting }\n"] {
        let said = run(&format!("apiVersion: cozy/v1\nkind: Cloud\nname: x\nbundle: own\n{lost}"));
        assert!(!said.contains("C1206"), "{said}");
    }
    let said = run("- 1\n");
    assert!(said.contains("C1102") && said.contains("error: 1 mistake"), "{said}");
    let said = run(
        "apiVersion: cozy/v1\nkind: Cloud\nname: x\nbundle: own\nhosts: [{ local: true }]\ncomponents: { foo: { path: nope } }\n",
    );
    assert!(
        said.contains("C1300") && said.contains("current folder") && said.contains("error: 1 mistake"),
        "{said}"
    );
}

#[test]
fn help_is_a_command_and_graphs_are_refused_beforehand() {
    let own = Own::new("nonsense", CONFIG, HOST);
    for (command, word) in [(&["help"][..], "COMMAND"), (&["help", "plan"], "--graph")] {
        let output = super::cozy(command);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains(word), "{}", text(&output.stdout));
    }
    for (file, refused) in
        [("x.foo", "C7002"), ("nowhere/x.svg", "C7009"), ("cat", "C7002"), ("x.json", "C7002")]
    {
        let (code, said) = own.run(&["plan", "--rehearse", "--graph", file]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(refused) && !said.contains("nonsense"), "{said}");
    }
}

#[test]
fn catalogues_reach_no_terminal() {
    let own = Own::new(&format!("{TEMPLATE}# \u{1b}]0;x\u{7}\n"), CONFIG, HOST);
    let (code, said) = own.run(&["validate", "--catalogue", "nowhere", "-f", "cat/bundles/own.yaml"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("C1300") && said.contains("C1104"), "{said}");
    let (code, said) = own.run(&["component", "show", "mine"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("name: mine\n") && !said.contains(['\u{1b}', '\u{7}']), "{said:?}");
}

/// Each try has another pod's name: what is waited for is said once.
#[test]
fn the_same_refusal_of_pods_is_said_once() {
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: x }\nspec:\n  replicas: 1\n  selector: { matchLabels: { a: b } }\n\
        \x20 template:\n    metadata: { labels: { a: b } }\n    spec: { containers: [{ name: c, image: registry.example.org/c:1 }] }\n";
    let own = Own::new(&format!("{TEMPLATE}deadline: 10m\n"), deployment, EXISTING);
    let (code, said) = own.run(&["install", "--rehearse"]);
    assert_eq!(code, Some(5), "{said}");
    let waits = said.lines().filter(|line| line.contains("in trouble") && line.contains("forbidden")).count();
    assert!(waits == 1, "{waits} lines:\n{said}");
}

#[test]
fn a_rehearsal_is_said_again_as_it_was_asked_for() {
    let own = Own::new(TEMPLATE, CONFIG, HOST);
    let faults = ["--inject", "api=503:100%", "--timeout", "500ms"];
    let (_, said) = own.run(&[&["install", "--rehearse"][..], &faults].concat());
    assert!(said.contains("--timeout 500ms"), "{said}");
    let (_, said) = own.run(&["plan"]);
    assert!(said.contains("there is no `x.kubeconfig`"), "{said}");
    let path = own.0.path().join("cozy.yaml");
    let (_, said) = own.run(&["plan", "-f", path.to_str().unwrap()]);
    let kubeconfig = own.0.path().join("x.kubeconfig");
    assert!(said.contains(kubeconfig.to_str().unwrap()), "{said}");
}

#[test]
fn tenants_have_the_quotas_that_they_are_given() {
    let render = |tenants: &str, name: &str| {
        let folder = tempfile::tempdir().unwrap();
        let cloud = format!(
            "apiVersion: cozy/v1\nkind: Cloud\nname: {name}\nbundle: edge\n{HOST}components: {{ platform: {{ settings: {{ tenants: [{tenants}] }} }} }}\n"
        );
        let file = write(&folder, "cozy.yaml", &cloud);
        let output = super::cozy(&["render", "platform", "issuers", "-f", &file]);
        (output.status.code(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
    };
    let (code, said) = render("{ name: a }", "x");
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("ResourceQuota") && !said.contains("LimitRange"), "{said}");
    assert!(said.contains("enforce: baseline") && !said.contains("null") && !said.contains("None"), "{said}");
    for (quota, line) in [
        ("cpu: 1.5", "requests.cpu: '1.5'"),
        ("cpu: 500m", "requests.cpu: 500m"),
        ("memory: 16Gi", "requests.memory: 16Gi"),
        ("storage: 1T", "requests.storage: 1T"),
        ("pods: 3", "pods: '3'"),
    ] {
        let (code, said) = render(&format!("{{ name: a, {quota} }}"), "x");
        assert_eq!(code, Some(0), "{said}");
        let said = said.replace('"', "'");
        let hard: Vec<&str> = said.split("  hard:\n").nth(1).unwrap().lines().take(2).collect();
        assert!(
            hard[0].trim() == line && hard.get(1).is_none_or(|next| !next.starts_with("    ")),
            "{hard:?}"
        );
    }
    for (quota, hint) in [
        ("cpu: lots", "write a number of CPUs"),
        ("cpu: -1", "at least 0"),
        ("storage: -1Gi", "write an amount"),
        ("memory: 16G i", "write an amount"),
    ] {
        let (code, said) = render(&format!("{{ name: a, {quota} }}"), "x");
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(hint), "{said}");
    }
    let (code, said) = render("{ name: T }", "x");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("write 1 to 56 lower-case letters"), "{said}");
    // X.509 takes no longer names (RFC 5280, ub-common-name).
    let (code, said) = render("{ name: a }", &"n".repeat(63));
    assert_eq!(code, Some(0), "{said}");
    let name = said.lines().find_map(|line| line.trim().strip_prefix("commonName: ")).unwrap();
    assert!(name.len() == 64 && name.ends_with(" CA"), "{name}");
}

/// A connection that is not made yet, and what an earlier run left that was killed.
#[test]
fn a_signal_closes_what_preflight_has_open() {
    let own = Own::new(TEMPLATE, CONFIG, "hosts: [{ address: 192.0.2.1 }]\n");
    let fifo = own.0.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let ssh = write(&own.0, "ssh", "#!/bin/sh\necho $$ >\"$HOME/fifo\"\nexec sleep 60\n");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs_err::set_permissions(&ssh, executable).unwrap();
    let namespace = std::os::unix::fs::MetadataExt::ino(&fs_err::metadata("/proc/self/ns/pid").unwrap());
    let mut gone = Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    let left = format!("/tmp/cozy-{namespace}-{}-left", gone.id());
    fs_err::create_dir(&left).unwrap();
    let path = format!("{}:/usr/bin:/bin", own.0.path().display());
    let mut run = own
        .command(&["preflight"])
        .env("PATH", path)
        .env("HOME", own.0.path())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let child = fs_err::read_to_string(&fifo).unwrap();
    assert!(!std::path::Path::new(&left).exists(), "{left}");
    assert!(Command::new("kill").args(["-TERM", &run.id().to_string()]).status().unwrap().success());
    assert_eq!(run.wait().unwrap().code(), Some(143));
    let prefix = format!("cozy-{namespace}-{}-", run.id());
    let mut folders = fs_err::read_dir("/tmp").unwrap().flatten();
    assert!(!folders.any(|folder| folder.file_name().to_string_lossy().starts_with(&prefix)));
    let state = fs_err::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "{state}");
}
