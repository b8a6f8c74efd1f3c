//! Tier 2: the binary as a user runs it, in rehearsals.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::path::PathBuf;
use std::process::{Command, Output};

fn cozy(arguments: &[&str]) -> Output {
    let state = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_cozy"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .env("XDG_STATE_HOME", state.path())
        .env("COLUMNS", "100")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn write(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path: PathBuf = folder.path().join(name);
    fs_err::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

const REHEARSAL: &[&str] = &["install", "--rehearse", "-f", "examples/edge.yaml", "--yes"];

#[test]
fn the_edge_bundle_is_rehearsed_with_timeline_and_critical_path() {
    let output = cozy(REHEARSAL);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    for words in [
        "rehearsal: nothing real is touched",
        "stands in by contract: cert-manager, cilium, gateway-api, local-storage, metrics-server",
        "critical path",
        "timeline",
        "◆ kubernetes",
        "57 created",
    ] {
        assert!(stderr.contains(words), "no {words:?} in\n{stderr}");
    }
    assert!(output.stdout.is_empty());
}

#[test]
fn events_are_json_lines_and_the_same_bytes_twice() {
    let arguments: Vec<&str> = REHEARSAL.iter().copied().chain(["-o", "json"]).collect();
    let (first, second) = (cozy(&arguments), cozy(&arguments));
    assert_eq!(text(&first.stdout), text(&second.stdout));
    assert_eq!(text(&first.stderr), "");
    let events: Vec<serde_json::Value> =
        text(&first.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().all(|event| event["schema"] == "cozy/v1/event"));
    assert_eq!(events.first().unwrap()["event"], "runStarted");
    assert_eq!(events.last().unwrap()["event"], "runFinished");
    assert_eq!(events.last().unwrap()["outcome"], "done");
}

#[test]
fn every_example_is_valid_planned_and_rehearsed() {
    for (file, catalogue) in [
        ("edge.yaml", None),
        ("edge-single.yaml", None),
        ("hello/cozy.yaml", Some("examples/hello/catalogue")),
    ] {
        let file = format!("examples/{file}");
        let overlay: Vec<&str> = catalogue.map(|path| vec!["--catalogue", path]).unwrap_or_default();
        for command in [
            &["validate"][..],
            &["plan", "--rehearse"],
            &["render", "--stand-in"],
            &["install", "--rehearse"],
        ] {
            let arguments: Vec<&str> =
                command.iter().copied().chain(["-f", &file]).chain(overlay.iter().copied()).collect();
            let output = cozy(&arguments);
            assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        }
    }
}

#[test]
fn the_built_in_catalogue_has_no_findings() {
    let output = cozy(&["bundle", "lint"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn hosts_are_not_installed_yet_and_that_is_said() {
    let output = cozy(&["install", "-f", "examples/edge.yaml", "--yes"]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(text(&output.stderr), @"
    error[C5000]: this version of cozy cannot install Kubernetes on hosts yet

    hint: rehearse it with `cozy install --rehearse`, or set `kubernetes.provider: existing` and name a kubeconfig
    ");
}

#[test]
fn charts_are_refused_on_a_real_cluster_until_they_can_be_rendered() {
    let output = cozy(&["render", "cert-manager", "-f", "examples/edge.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("chart cert-manager v1.21.2 cannot be fetched and rendered by this version"),
        "{stderr}"
    );
}

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
fn without_a_terminal_nothing_is_asked() {
    let output = cozy(&[
        "install",
        "-f",
        "examples/hello/cozy.yaml",
        "--catalogue",
        "examples/hello/catalogue",
        "--kubeconfig",
        "/nonexistent/kubeconfig",
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("cannot read the kubeconfig at `/nonexistent/kubeconfig`"));
}

#[test]
fn schemas_and_the_graph_are_printed() {
    for of in ["cloud", "bundle", "component"] {
        let schema: serde_json::Value = serde_json::from_slice(&cozy(&["schema", of]).stdout).unwrap();
        assert_eq!(schema["type"], "object");
    }
    let graph = text(&cozy(&["plan", "-f", "examples/edge.yaml", "--graph", "-"]).stdout);
    assert!(graph.contains("there is no API server before"), "{graph}");
    let plan: serde_json::Value =
        serde_json::from_slice(&cozy(&["plan", "-f", "examples/edge.yaml", "-o", "json"]).stdout).unwrap();
    assert_eq!(plan["schema"], "cozy/v1/plan");
}
