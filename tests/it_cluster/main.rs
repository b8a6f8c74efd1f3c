//! Tier 3: the binary against a real API server, controllers and scheduler.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod answer;
mod applying;
mod behaviours;
mod bench;
mod canary;
mod charts;
mod diagnosis;
mod early;
mod edge;
mod existing;
mod faults;
mod gates;
mod hooks;
mod killed;
mod leftovers;
mod locking;
mod made;
mod proxy;
mod scenario;
mod served;
#[path = "../../crates/sim/tests/suite/mod.rs"]
mod suite;
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use support::control_plane::ControlPlane;

/// A copy of `examples/hello` that can be edited.
struct Cloud {
    plane: Arc<ControlPlane>,
    folder: tempfile::TempDir,
}

impl Cloud {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let example = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/hello");
        let copied =
            Command::new("cp").arg("-r").arg(example).arg(folder.path().join("hello")).status().unwrap();
        assert!(copied.success());
        let cloud = Self { plane: ControlPlane::shared(), folder };
        // Without one, each install looks for seconds whether pods stay ready. kwok's are, whatever the probe.
        for template in ["guestbook/guestbook", "database/server"] {
            cloud.edit(&format!("catalogue/templates/{template}.yaml.j2"), |text| {
                let image = "image: registry.k8s.io/pause:3.10\n";
                text.replace(
                    image,
                    &format!("{image}          readinessProbe: {{ tcpSocket: {{ port: 8080 }} }}\n"),
                )
            });
        }
        cloud
    }

    fn edit(&self, file: &str, change: impl Fn(&str) -> String) {
        let path = self.folder.path().join("hello").join(file);
        let before = fs_err::read_to_string(&path).unwrap();
        let after = change(&before);
        assert_ne!(before, after, "the change changes nothing");
        fs_err::write(path, after).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cozy"));
        command
            .args(arguments)
            .arg("--file")
            .arg(self.folder.path().join("hello/cozy.yaml"))
            .arg("--catalogue")
            .arg(self.folder.path().join("hello/catalogue"))
            .arg("--kubeconfig")
            .arg(self.plane.kubeconfig())
            .env("XDG_STATE_HOME", self.folder.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs, and must end with an exit code.
    fn expect(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}:\n{text}");
        text
    }

    /// A field of one of the example's objects.
    fn field(&self, kind: &str, name: &str, path: &str) -> String {
        self.plane.ask(&["-n", "hello", "get", kind, name, "-o", &format!("jsonpath={{{path}}}")])
    }

    /// Resource versions of everything that the example makes, and of the engine's own objects.
    fn versions(&self) -> String {
        let columns = "custom-columns=:kind,:metadata.name,:metadata.resourceVersion";
        let hello = self.plane.ask(&[
            "-n",
            "hello",
            "get",
            "configmaps,serviceaccounts,services,databases.hello.example.org",
            "-o",
            columns,
        ]);
        let engine = self.plane.ask(&["-n", "cozy-system", "get", "secrets", "-o", columns]);
        let cluster = self.plane.ask(&["get", "crd,priorityclasses", "-o", columns]);
        // Controllers write the status of workloads: their spec's generation must not change.
        let generations = self.plane.ask(&[
            "-n",
            "hello",
            "get",
            "deployment,statefulset,job",
            "-o",
            "custom-columns=:kind,:metadata.name,:metadata.generation",
        ]);
        format!("{hello}\n{engine}\n{cluster}\n{generations}")
    }
}

/// Killed after an event, the next run ends in the same state.
#[test]
fn a_killed_install_of_the_example_goes_on() {
    let cloud = Cloud { plane: ControlPlane::own(), ..Cloud::new() };
    cloud.expect(&["install", "--yes"], 0);
    for event in 1..=if settings_are_long() { 60 } else { 12 } {
        cloud.edit("cozy.yaml", |text| text.replace(&message(text), &format!("message: Hello-{event}")));
        killed_after(&cloud, event);
        cloud.expect(&["install", "--yes"], 0);
        let pods = cloud.field("deployment", "guestbook", ".spec.template.spec.containers[0].env[0].value");
        assert_eq!(pods, format!("Hello-{event}"));
        assert!(cloud.expect(&["install", "--yes"], 0).contains("nothing to do"));
    }
}

/// One test, because the scenarios build on each other and share cluster-wide objects.
#[test]
fn the_example_is_installed_left_alone_changed_broken_and_mended() {
    let cloud = Cloud::new();
    assert!(cloud.expect(&["plan", "--exit-code"], 3).contains("13 objects to create"));

    let first = cloud.expect(&["install", "--yes"], 0);
    assert!(first.contains("13 created"), "{first}");
    assert_eq!(cloud.field("deployment", "guestbook", ".status.availableReplicas"), "2");
    assert_eq!(cloud.field("database", "hello", ".spec.size"), "1");

    // Again: nothing is written, and no lock is taken.
    let before = cloud.versions();
    let again = cloud.expect(&["install", "--yes"], 0);
    assert!(again.contains("nothing to do"), "{again}");
    assert_eq!(before, cloud.versions());
    assert_eq!(cloud.plane.ask(&["-n", "cozy-system", "get", "leases", "-o", "name"]), "");
    cloud.expect(&["plan", "--exit-code"], 0);
    assert!(cloud.expect(&["status"], 0).contains("✓ guestbook"));
    let status: serde_json::Value =
        serde_json::from_str(&cloud.expect(&["status", "-o", "json"], 0)).unwrap();
    let schema = serde_json::from_str(&cloud.expect(&["schema", "status"], 0)).unwrap();
    assert!(jsonschema::is_valid(&schema, &status), "{status}");
    let known = schema["properties"].as_object().unwrap();
    assert!(status.as_object().unwrap().keys().all(|key| known.contains_key(key)), "{status}");

    // A changed value changes one object.
    cloud.edit("cozy.yaml", |text| text.replace("replicas: 2", "replicas: 3"));
    let plan = cloud.expect(&["plan", "--diff"], 0);
    assert!(plan.contains(".spec.replicas: 2 → 3"), "{plan}");
    let changed = cloud.expect(&["install", "--yes"], 0);
    assert!(changed.contains("1 changed") || changed.contains("1 updated"), "{changed}");
    assert_eq!(cloud.field("deployment", "guestbook", ".status.availableReplicas"), "3");

    // Drift in a field of ours is found, and mended.
    cloud.plane.ask(&[
        "-n",
        "hello",
        "patch",
        "configmap",
        "hello",
        "--type=merge",
        "-p",
        r#"{"data":{"cloud":"theirs"}}"#,
    ]);
    cloud.expect(&["status"], 3);
    cloud.expect(&["install", "--yes"], 0);
    assert_eq!(cloud.field("configmap", "hello", ".data.cloud"), "hello");

    // A component that cannot become ready fails with its cause; then it is mended.
    cloud.edit("cozy.yaml", |text| text.replace("replicas: 3", "replicas: 3, nodeSelector: { disk: none }"));
    let failed = cloud.expect(&["install", "--yes", "--timeout", "5s"], 5);
    assert!(failed.contains("guestbook") && failed.contains("Unschedulable"), "{failed}");

    // A signal ends the wait, gives the lock back, and says how to go on.
    let (code, said) = interrupted_while_waiting(&cloud);
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("SIGINT") && said.contains("goes on from here"), "{said}");
    assert_eq!(
        cloud.plane.ask(&[
            "-n",
            "cozy-system",
            "get",
            "leases",
            "-o",
            "jsonpath={.items[*].spec.holderIdentity}"
        ]),
        ""
    );
    cloud.edit("cozy.yaml", |text| text.replace(", nodeSelector: { disk: none }", ""));
    cloud.expect(&["install", "--yes"], 0);

    // What is not wanted any more goes.
    cloud.edit("cozy.yaml", |text| text.replace("components:", "components:\n  jobs: { enabled: false }"));
    cloud.expect(&["install", "--yes"], 0);
    assert_eq!(cloud.plane.ask(&["-n", "hello", "get", "jobs", "-o", "name"]), "");
    assert!(
        !cloud.plane.kubectl(&["-n", "cozy-system", "get", "secret", "cozy-inventory-jobs"]).status.success()
    );
}

fn message(text: &str) -> String {
    let from = text.find("message: ").unwrap();
    let to = text[from..].find([',', ' ', '}']).map_or(text.len(), |_| {
        let after = from + "message: ".len();
        after + text[after..].find([',', ' ', '}']).unwrap()
    });
    text[from..to].to_owned()
}

/// Whether this is `tests/run long`.
#[expect(clippy::disallowed_methods, reason = "how tests/run tells its tests")]
fn settings_are_long() -> bool {
    std::env::var("COZY_TESTS").is_ok_and(|tests| tests == "long")
}

/// Starts an install that cannot become ready, interrupts it when it waits,
/// and gives its exit code and what it said.
fn interrupted_while_waiting(cloud: &Cloud) -> (Option<i32>, String) {
    use std::io::{BufRead as _, BufReader};
    let mut child =
        cloud.command(&["install", "--yes"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap) {
        if line.contains(" waiting ") && !said.contains(" waiting ") {
            let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
            assert!(sent.success());
        }
        said += &line;
        said.push('\n');
    }
    (child.wait().unwrap().code(), said)
}

/// Starts an install, and kills it with SIGKILL after so many events.
fn killed_after(cloud: &Cloud, events: usize) {
    use std::io::{BufRead as _, BufReader};
    let mut child = cloud
        .command(&["install", "--yes", "-o", "json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.take(events).for_each(|line| drop(line.unwrap()));
    child.kill().unwrap();
    child.wait().unwrap();
}
