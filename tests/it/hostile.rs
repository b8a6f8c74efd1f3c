//! Files of a megabyte that are wrong in every line, or in one very long one: refused soon, and in few words.

use std::fmt::Write as _;
use std::process::{Command, Output, Stdio};

use super::{text, write};

/// What a debug build may take in CPU seconds; a release build takes a fifth of it.
const SECONDS: u32 = 8;

/// The most that is said of one file, in bytes.
const WORDS: usize = 64 * 1024;

const HEAD: &str = "apiVersion: cozy/v1\nkind: Cloud\nname: demo\nbundle: edge\n";

/// Many copies of a text with a number in it: a little less than the megabyte that is read at all.
fn many(before: &str, each: impl Fn(usize) -> String, after: &str) -> String {
    let mut file = format!("{HEAD}{before}");
    for number in 0.. {
        if file.len() > 1_040_000 {
            break;
        }
        let _ = write!(file, "{}", each(number));
    }
    file + after
}

#[test]
fn files_full_of_mistakes_are_refused_soon_and_in_few_words() {
    let same = |words: &'static str| move |_| words.to_owned();
    let pool = |n: usize| format!("10.{}.{}.1-10.{}.{}.9,", n >> 8 & 255, n & 255, n >> 8 & 255, n & 255);
    let files = [
        ("nesting", many("x: ", same("{a: "), "")),
        ("duplicate keys", many("", same("x: 1\n"), "")),
        ("unknown keys", many("", |n| format!("k{n}: 1\n"), "")),
        ("hosts without a word that is known", many("hosts:\n", same("  - { adress: 1 }\n"), "")),
        ("the same host", many("hosts:\n", same("  - { address: 10.0.0.11 }\n"), "")),
        ("this machine, often", many("hosts:\n", same("  - { local: true }\n"), "")),
        ("unknown components", many("components:\n", |n| format!("  c{n}: {{}}\n"), "")),
        ("names that are none", many("components:\n", |n| format!("  C{n}: {{}}\n"), "")),
        ("pools", many("network: { loadBalancer: [", pool, "] }\n")),
        ("pools that are none", many("network: { loadBalancer: [", same("x,"), "] }\n")),
        ("the same device", many("hosts: [{ local: true, devices: [", same("/dev/a,"), "] }]\n")),
        (
            "patches that are none",
            many("components: { cilium: { patches: [", same("{ kind: A },"), "] } }\n"),
        ),
        ("settings", many("components: { cilium: { settings: {", |n| format!("a{n}: 1,"), "} } }\n")),
        ("anchors", many("x:\n", |n| format!("- &a{n} 1\n"), "")),
        ("one long name", many("domain: ", same("d"), "\n")),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (what, file) in files {
        let path = write(&folder, "cozy.yaml", &file);
        let run = format!("ulimit -t {SECONDS}; exec \"$0\" validate -f \"$1\"");
        let output = Command::new("sh")
            .args(["-c", &run, env!("CARGO_BIN_EXE_cozy"), &path])
            .env_clear()
            .output()
            .unwrap();
        let stderr = text(&output.stderr);
        let shown: String = stderr.chars().take(300).collect();
        assert_eq!(output.status.code(), Some(2), "{what}: {:?} {shown}", output.status);
        assert!(stderr.starts_with("error[C1") && stderr.len() < WORDS, "{what}: {} {shown}", stderr.len());
    }
}

/// Runs cozy with little memory and time.
fn poor(seconds: u32, arguments: &[&str]) -> Output {
    let run = format!("ulimit -t {seconds}; ulimit -v 4000000; exec \"$0\" \"$@\"");
    let state = tempfile::tempdir().unwrap();
    Command::new("sh")
        .args(["-c", &run, env!("CARGO_BIN_EXE_cozy")])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .env("XDG_STATE_HOME", state.path())
        .output()
        .unwrap()
}

#[test]
fn templates_that_multiply_lists_or_fill_a_line_end_soon() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("templates/x");
    fs_err::create_dir_all(&base).unwrap();
    fs_err::create_dir_all(folder.path().join("bundles")).unwrap();
    let contract = "apiVersion: cozy/v1\nkind: Component\nname: x\nsummary: x\ncategory: test\nversion: 1.0.0\nsource: { templates: [x.yaml.j2] }\n";
    fs_err::write(base.join("component.yaml"), contract).unwrap();
    write(
        &folder,
        "bundles/b.yaml",
        "apiVersion: cozy/v1\nkind: Bundle\nname: b\nversion: 1.0.0\nsummary: b\ncomponents: { x: {} }\n",
    );
    let cloud = "apiVersion: cozy/v1\nkind: Cloud\nname: c\nbundle: b\nkubernetes: { provider: existing }\n";
    let cloud = write(&folder, "cozy.yaml", cloud);
    let catalogue = folder.path().to_str().unwrap();
    let long = format!("a: [{}]\n", "{{ cloud.name }}, ".repeat(5_000));
    for (template, words) in [
        ("a: {{ [[1]*10000]*10000 }}\n", "more than 16 MiB"),
        ("a: {{ ([[1]*10000]*10000) | tojson }}\n", "more than 16 MiB"),
        ("a: {{ [1, [2]] | tojson(indent=99999999) }}\n", "more than 16 MiB"),
        ("a: |\n  {{ ([[1]*10000]*10000) | text }}\n", "more than 16 MiB"),
        (long.as_str(), "each document is one object"),
    ] {
        fs_err::write(base.join("x.yaml.j2"), template).unwrap();
        let output = poor(3 * SECONDS, &["validate", "-f", &cloud, "--catalogue", catalogue]);
        let said = text(&output.stderr);
        let shown: String = said.chars().take(300).collect();
        assert!(
            output.status.code() == Some(2) && said.contains(words),
            "{words}: {:?} {shown}",
            output.status
        );
    }
}

#[test]
fn files_that_do_not_end_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let chart = "tests/charts/web/chart";
    let existing = write(
        &folder,
        "cozy.yaml",
        "apiVersion: cozy/v1\nkind: Cloud\nname: c\nbundle: edge\nkubernetes: { provider: existing }\n",
    );
    let authorities = write(
        &folder,
        "ca.yaml",
        &format!("{HEAD}hosts: [{{ local: true }}]\nartifacts: {{ ca: /dev/zero }}\n"),
    );
    for arguments in [
        &["render", "--chart", chart, "--values", "/dev/zero"][..],
        &["render", "--chart", chart, "--set-file", "a=/dev/zero"],
        &["render", "--chart", "/dev/zero"],
        &["status", "-f", &existing, "--kubeconfig", "/dev/zero"],
        &["validate", "-f", &authorities],
    ] {
        let output = poor(SECONDS, arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {:?} {said}", output.status);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cozy"))
        .args(["render", "--chart", "tests/charts/web/chart"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

/// The file that is there is the old one or the new one, and never a part.
#[test]
fn a_full_disk_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let graph = write(&folder, "graph.svg", "old");
    let run = "trap '' XFSZ; ulimit -f 1; exec \"$0\" plan -f examples/edge.yaml --graph \"$1\"";
    let output = Command::new("sh")
        .args(["-c", run, env!("CARGO_BIN_EXE_cozy"), &graph])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("error[C7009]"), "{}", text(&output.stderr));
    assert_eq!(fs_err::read_to_string(&graph).unwrap(), "old");
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1);
}
