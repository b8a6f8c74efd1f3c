//! Tier 2: the binary as a user runs it, in rehearsals.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod costs;
mod edge;
mod faults;
mod hostile;
mod house;
mod ignored;
mod mistakes;
mod own;
mod refused;
mod strangers;

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

/// Of many alike every so-manyeth is tried: each, but in `tests/run quick`.
#[expect(clippy::disallowed_methods, reason = "tests/run says how thorough its tests are")]
fn some(quick: usize) -> usize {
    if std::env::var("COZY_TESTS").is_ok_and(|tests| tests == "quick") { quick } else { 1 }
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
        "62 created",
    ] {
        assert!(stderr.contains(words), "no {words:?} in\n{stderr}");
    }
    assert!(output.stdout.is_empty());
}

#[test]
fn events_are_json_lines_and_the_same_bytes_each_time() {
    let arguments: Vec<&str> = REHEARSAL.iter().copied().chain(["-o", "json"]).collect();
    let first = cozy(&arguments);
    // More than once: an order by chance can be the same by chance.
    for _ in 0..8 {
        assert_eq!(text(&first.stdout), text(&cozy(&arguments).stdout));
    }
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
fn a_lock_of_what_goes_onto_hosts_that_is_broken_is_a_finding() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(
        &folder,
        "cozy.yaml",
        "apiVersion: cozy/v1\nkind: Cloud\nname: demo\nbundle: bed\nhosts:\n  - { address: 192.0.2.1 }\n",
    );
    fs_err::create_dir_all(folder.path().join("bundles")).unwrap();
    write(&folder, "bundles/kubernetes.lock", "kubernetes: v1.36.4\nartifacts: []\n");
    let overlay = folder.path().to_str().unwrap();
    let output = cozy(&[
        "install",
        "-f",
        &file,
        "--catalogue",
        "tests/bed/catalogue",
        "--catalogue",
        overlay,
        "--yes",
    ]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(
        said.contains("error[C5030]: `bundles/kubernetes.lock` cannot be read: ") && said.contains("sandbox"),
        "{said}"
    );
}

#[test]
fn charts_that_are_not_at_hand_are_refused() {
    let output = cozy(&["render", "cert-manager", "-f", "examples/edge.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("chart cert-manager v1.21.2 is not at hand"), "{stderr}");
    assert!(stderr.contains("cozy fetch"), "{stderr}");
}

#[test]
fn charts_print_what_helm_prints() {
    for (chart, golden) in [("web", "default"), ("hooks", "default"), ("dependencies", "default")] {
        let output = cozy(&["render", "--chart", &format!("tests/charts/{chart}/chart"), "--name", "demo"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let helm = fs_err::read_to_string(format!("tests/charts/{chart}/golden/{golden}.txt")).unwrap();
        assert_eq!(text(&output.stdout), helm);
    }
    let broken = cozy(&["render", "--chart", "tests/charts/broken-syntax/chart"]);
    assert_eq!(broken.status.code(), Some(2));
    insta::assert_snapshot!(text(&broken.stderr), @"error[C2020]: broken-syntax/templates/a.yaml:6:1: unexpected end of the template: an {{end}} is missing");
}

/// A catalogue with one component, which is the chart of a test.
fn shop(folder: &tempfile::TempDir, chart: &str) -> (String, String) {
    let charts = folder.path().join("charts");
    let component = folder.path().join("catalogue/templates/shop");
    let bundles = folder.path().join("catalogue/bundles");
    for path in [&charts, &component, &bundles] {
        fs_err::create_dir_all(path).unwrap();
    }
    let packed = Command::new("tar")
        .args(["--transform", &format!("s/^chart/{chart}/"), "-czf"])
        .arg(charts.join(format!("{chart}-0.1.0.tgz")))
        .args(["-C", &format!("{}/tests/charts/{chart}", env!("CARGO_MANIFEST_DIR")), "chart"])
        .status()
        .unwrap();
    assert!(packed.success());
    let contract = format!(
        "apiVersion: cozy/v1\nkind: Component\nname: shop\nsummary: A chart\ncategory: example\nversion: 0.1.0\n\
         namespace: {{ name: shop, podSecurity: privileged }}\nsource:\n  chart: {{ repository: \"file://{}\", name: {chart}, version: 0.1.0 }}\n  values: values.yaml.j2\n",
        charts.display()
    );
    fs_err::write(component.join("component.yaml"), contract).unwrap();
    // No controller gives an Ingress its address here, and nobody makes the Secret of its variables.
    fs_err::write(component.join("values.yaml.j2"), "ingress: { enabled: false }\nenv: []\n").unwrap();
    let bundle = "apiVersion: cozy/v1\nkind: Bundle\nname: shop\nversion: 1.0.0\nsummary: one chart\ncomponents: { shop: {} }\n";
    fs_err::write(bundles.join("shop.yaml"), bundle).unwrap();
    let cloud =
        "apiVersion: cozy/v1\nkind: Cloud\nname: demo\nbundle: shop\nkubernetes: { provider: existing }\n";
    (write(folder, "cozy.yaml", cloud), folder.path().join("catalogue").to_str().unwrap().to_owned())
}

#[test]
fn a_chart_is_rehearsed_with_its_own_objects() {
    let folder = tempfile::tempdir().unwrap();
    let (file, catalogue) = shop(&folder, "web");
    let cache = folder.path().join("cache");
    let rehearse = || {
        Command::new(env!("CARGO_BIN_EXE_cozy"))
            .args(["install", "--rehearse", "--yes", "-o", "json", "-f", &file, "--catalogue", &catalogue])
            .env_clear()
            .env("XDG_CACHE_HOME", &cache)
            .env("XDG_STATE_HOME", folder.path())
            .output()
            .unwrap()
    };
    let (first, second) = (rehearse(), rehearse());
    let events = text(&first.stdout);
    assert_eq!(first.status.code(), Some(0), "{events}{}", text(&first.stderr));
    assert!(events.contains("Deployment shop/shop-web"), "{events}");
    assert!(!events.contains("\"stoodIn\":[\"shop\"]"), "{events}");
    assert_eq!(events, text(&second.stdout));
}

#[test]
fn what_is_printed_is_what_its_schema_says() {
    let validator = |of: &str| {
        let schema: serde_json::Value = serde_json::from_slice(&cozy(&["schema", of]).stdout).unwrap();
        jsonschema::validator_for(&schema).unwrap()
    };
    let events = validator("events");
    for (faults, seed) in [(&[][..], "0"), (&["api=503:20%"], "1"), (&["daemonset/cilium=ErrImagePull"], "0")]
    {
        for line in text(&crate::faults::faulty(faults, seed).stdout).lines() {
            let event = serde_json::from_str(line).unwrap();
            let mistakes: Vec<String> = events.iter_errors(&event).map(|error| error.to_string()).collect();
            assert!(mistakes.is_empty(), "{line}: {mistakes:?}");
        }
    }
    let plan = cozy(&["plan", "-f", "examples/edge.yaml", "-o", "json"]);
    let plan = serde_json::from_slice(&plan.stdout).unwrap();
    let validator = validator("plan");
    let mistakes: Vec<String> = validator.iter_errors(&plan).map(|error| error.to_string()).collect();
    assert!(mistakes.is_empty(), "{mistakes:?}");
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
    let said = text(&output.stderr);
    assert!(
        said.starts_with("note: nobody can be asked here: without `--yes` nothing is written\n"),
        "{said}"
    );
    assert!(said.contains("cannot read the kubeconfig at `/nonexistent/kubeconfig`"), "{said}");
}

#[test]
fn schemas_and_the_graph_are_printed() {
    for of in ["cloud", "bundle", "component", "lock", "events", "plan", "status"] {
        let schema: serde_json::Value = serde_json::from_slice(&cozy(&["schema", of]).stdout).unwrap();
        assert_eq!(schema["type"], "object");
    }
    let graph = text(&cozy(&["plan", "-f", "examples/edge.yaml", "--graph", "-"]).stdout);
    assert!(graph.contains("there is no API server before"), "{graph}");
    let plan: serde_json::Value =
        serde_json::from_slice(&cozy(&["plan", "-f", "examples/edge.yaml", "-o", "json"]).stdout).unwrap();
    assert_eq!(plan["schema"], "cozy/v1/plan");
}

/// A catalogue with one component that has a secret, and a cloud that names it.
fn cloud_with_secret(folder: &tempfile::TempDir, template: &str) -> (String, String) {
    let component = folder.path().join("catalogue/templates/vault");
    fs_err::create_dir_all(&component).unwrap();
    fs_err::create_dir_all(folder.path().join("catalogue/bundles")).unwrap();
    write(
        folder,
        "catalogue/bundles/safe.yaml",
        "apiVersion: cozy/v1\nkind: Bundle\nname: safe\nversion: 1.0.0\nsummary: x\ncomponents: { vault: {} }\n",
    );
    write(
        folder,
        "catalogue/templates/vault/component.yaml",
        "apiVersion: cozy/v1\nkind: Component\nname: vault\nsummary: x\ncategory: x\nversion: 1.0.0\n\
         namespace: { name: vault }\nsource: { templates: [vault.yaml.j2] }\nsettings: settings.schema.json\n",
    );
    write(
        folder,
        "catalogue/templates/vault/settings.schema.json",
        r#"{"type": "object", "properties": {"accounts": {"type": "array", "items": {"type": "object", "properties":
            {"name": {"type": "string", "default": "admin"}, "password": {"type": "secret"}}}}}}"#,
    );
    write(folder, "catalogue/templates/vault/vault.yaml.j2", template);
    write(folder, "password", "hunter22-canary\n");
    let cloud = write(
        folder,
        "cozy.yaml",
        "apiVersion: cozy/v1\nkind: Cloud\nname: safe\nbundle: safe\nkubernetes: { provider: existing }\n\
         components: { vault: { settings: { accounts: [{ password: { file: password } }, { password: { env: NOT_SET } }] } } }\n",
    );
    (cloud, folder.path().join("catalogue").to_str().unwrap().to_owned())
}

const SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata: { name: a }\nstringData:\n{% for account in settings.accounts %}\n  {{ account.name }}: {{ account.password }}\n{% endfor %}\n";

#[test]
fn secrets_are_read_for_clusters_only_and_printed_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let (cloud, catalogue) = cloud_with_secret(&folder, SECRET);
    let run = |command: &[&str]| {
        let arguments: Vec<&str> =
            command.iter().copied().chain(["-f", &cloud, "--catalogue", &catalogue]).collect();
        let output = cozy(&arguments);
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, objects, _) = run(&["render"]);
    assert_eq!(code, Some(0));
    assert!(objects.contains("admin: (secret)"), "{objects}");
    assert_eq!(run(&["install", "--rehearse"]).0, Some(0));
    let (code, _, said) = run(&["install", "--yes"]);
    assert_eq!(code, Some(2));
    for words in [
        "error[C1230]: component `vault`, secret setting `accounts.1.password`: the environment variable `NOT_SET` is not set, or empty\n",
        "cozy.yaml:6:",
        "help: export NOT_SET, or name another variable or file in cozy.yaml",
    ] {
        assert!(said.contains(words), "no {words:?} in\n{said}");
    }
}

#[test]
fn a_secret_that_would_leave_its_secret_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let leak = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\ndata: { url: {{ 'https://x:' ~ settings.accounts[0].password ~ '@y' }} }\n";
    let (cloud, catalogue) = cloud_with_secret(&folder, leak);
    let text_of = fs_err::read_to_string(&cloud).unwrap().replace(", { password: { env: NOT_SET } }", "");
    fs_err::write(&cloud, text_of).unwrap();
    let output = cozy(&["install", "--yes", "-f", &cloud, "--catalogue", &catalogue]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(
        said.contains(
            "error[C2013]: component `vault`: the secret setting `accounts.0.password` ends up in ConfigMap a"
        ),
        "{said}"
    );
    assert!(!said.contains("canary"), "{said}");
}

/// The gate waits for who answers the webhook, and for its CA, which nobody but a controller fills in.
#[test]
fn a_webhook_beside_its_server_is_rehearsed() {
    let folder = tempfile::tempdir().unwrap();
    for part in ["catalogue/templates/hook", "catalogue/bundles"] {
        fs_err::create_dir_all(folder.path().join(part)).unwrap();
    }
    let head = "apiVersion: cozy/v1\nname: hook\n";
    write(
        &folder,
        "catalogue/bundles/hook.yaml",
        &format!("{head}kind: Bundle\nversion: 1.0.0\nsummary: x\ncomponents: {{ hook: {{}} }}\n"),
    );
    let component = "kind: Component\nsummary: x\ncategory: example\nversion: 1.0.0\nnamespace: { name: hook, podSecurity: privileged }\nresources: [objects.yaml]\n";
    write(&folder, "catalogue/templates/hook/component.yaml", &format!("{head}{component}"));
    write(
        &folder,
        "catalogue/templates/hook/objects.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: hook, namespace: hook }\nspec:\n  selector: { matchLabels: { app: hook } }\n  \
         template: { metadata: { labels: { app: hook } }, spec: { containers: [{ name: c, image: x }] } }\n\
         ---\napiVersion: v1\nkind: Service\nmetadata: { name: hook, namespace: hook }\nspec: { selector: { app: hook }, ports: [{ port: 443 }] }\n\
         ---\napiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: { name: hook }\n\
         webhooks:\n  - name: hook.example.org\n    sideEffects: None\n    admissionReviewVersions: [v1]\n    \
         rules: [{ apiGroups: [''], apiVersions: [v1], operations: ['*'], resources: [configmaps] }]\n    \
         clientConfig: { service: { namespace: hook, name: hook } }\n",
    );
    let cloud = write(
        &folder,
        "cozy.yaml",
        &format!("{head}kind: Cloud\nbundle: hook\nkubernetes: {{ provider: existing }}\n"),
    );
    let catalogue = folder.path().join("catalogue");
    let output =
        cozy(&["install", "--rehearse", "--yes", "-f", &cloud, "--catalogue", catalogue.to_str().unwrap()]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("Service hook/hook has no ready endpoint"), "{said}");
}

#[test]
fn templates_end_and_kubeconfigs_are_not_printed() {
    let folder = tempfile::tempdir().unwrap();
    let component = |template: &str| {
        let base = folder.path().join("templates/x");
        fs_err::create_dir_all(&base).unwrap();
        fs_err::create_dir_all(folder.path().join("bundles")).unwrap();
        let contract = "apiVersion: cozy/v1\nkind: Component\nname: x\nsummary: x\ncategory: test\nversion: 1.0.0\nsource: { templates: [x.yaml.j2] }\n";
        fs_err::write(base.join("component.yaml"), contract).unwrap();
        fs_err::write(base.join("x.yaml.j2"), template).unwrap();
        let bundle =
            "apiVersion: cozy/v1\nkind: Bundle\nname: b\nversion: 1.0.0\nsummary: b\ncomponents: { x: {} }\n";
        fs_err::write(folder.path().join("bundles/b.yaml"), bundle).unwrap();
    };
    let cloud = write(
        &folder,
        "cozy.yaml",
        "apiVersion: cozy/v1\nkind: Cloud\nname: c\nbundle: b\nkubernetes: { provider: existing }\n",
    );
    let catalogue = folder.path().to_str().unwrap();
    let validate = ["validate", "-f", &cloud, "--catalogue", catalogue];
    component("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}");
    let endless = cozy(&validate);
    assert_eq!(endless.status.code(), Some(2), "{}", text(&endless.stderr));
    assert!(text(&endless.stderr).contains("x.yaml.j2"), "{}", text(&endless.stderr));
    component(&format!("{{% for a in range(50000) %}}\n# {}\n{{% endfor %}}", "x".repeat(1000)));
    assert!(text(&cozy(&validate).stderr).contains("more than 16 MiB"), "{}", text(&cozy(&validate).stderr));
    component("apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a, namespace: default }\n");
    let kubeconfig = write(&folder, "kubeconfig", "users:\n- user: { token: CANARY }\n  name: [\n");
    let refused = cozy(&["status", "-f", &cloud, "--catalogue", catalogue, "--kubeconfig", &kubeconfig]);
    let stderr = text(&refused.stderr);
    assert!(stderr.contains("not a kubeconfig, line"), "{stderr}");
    assert!(!stderr.contains("CANARY"), "{stderr}");
}

#[test]
fn a_run_is_drawn_as_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["run.svg", "run.html", "run.json"] {
        let file = folder.path().join(name);
        let mut arguments = REHEARSAL.to_vec();
        arguments.extend(["--timeline", file.to_str().unwrap()]);
        assert_eq!(cozy(&arguments).status.code(), Some(0));
        let drawn = fs_err::read_to_string(&file).unwrap();
        assert!(
            drawn.contains("kubernetes on node-3")
                && drawn.contains("has pods on the pod network") == (name != "run.svg")
        );
    }
    let graph = folder.path().join("plan.html");
    let planned = cozy(&["plan", "-f", "examples/edge.yaml", "--graph", graph.to_str().unwrap()]);
    assert_eq!(planned.status.code(), Some(0), "{}", text(&planned.stderr));
    assert!(fs_err::read_to_string(&graph).unwrap().contains("What would make it shorter"));
    let mut wrong = REHEARSAL.to_vec();
    wrong.extend(["--timeline", "run.png"]);
    assert_eq!(cozy(&wrong).status.code(), Some(2));
}

#[test]
fn a_host_that_fails_is_named_with_what_to_do() {
    let output = cozy(&[REHEARSAL, &["--inject", "host/node-2=unreachable@65s+10m"]].concat());
    let said = text(&output.stderr);
    for words in ["host `node-2`: it cannot be reached: timed out", "C5013", "check that the host is on"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn six_workers_take_hardly_longer_than_two() {
    let folder = tempfile::tempdir().unwrap();
    let took = |workers: usize| -> f64 {
        let hosts: Vec<String> =
            (1..=workers + 1).map(|number| format!("  - {{ address: 10.0.0.{number} }}\n")).collect();
        let hosts = hosts.concat();
        let file = write(
            &folder,
            "cozy.yaml",
            &format!(
                "apiVersion: cozy/v1\nkind: Cloud\nname: demo\nbundle: edge\ndomain: cloud.example.org\n\
                 hosts:\n{hosts}network: {{ loadBalancer: [10.0.0.200-10.0.0.220] }}\n"
            ),
        );
        let run = cozy(&["install", "--rehearse", "-f", &file, "--yes", "-o", "json"]);
        assert_eq!(run.status.code(), Some(0), "{}", text(&run.stderr));
        let last: serde_json::Value =
            serde_json::from_str(text(&run.stdout).lines().last().unwrap()).unwrap();
        last["tookMs"].as_f64().unwrap()
    };
    let (two, six) = (took(2), took(6));
    assert!(six <= 1.3 * two, "two workers: {two} ms, six: {six} ms");
}

#[test]
fn a_rehearsal_takes_as_long_as_its_plan_says() {
    for example in ["examples/edge.yaml", "examples/edge-single.yaml"] {
        let plan = cozy(&["plan", "-f", example, "-o", "json"]);
        let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
        let run = cozy(&["install", "--rehearse", "-f", example, "--yes", "-o", "json"]);
        let last: serde_json::Value =
            serde_json::from_str(text(&run.stdout).lines().last().unwrap()).unwrap();
        let (expected, took) = (plan["expectedMs"].as_f64().unwrap(), last["tookMs"].as_f64().unwrap());
        assert!((took / expected - 1.0).abs() < 0.05, "{example}: expected {expected} ms, took {took} ms");
    }
}
