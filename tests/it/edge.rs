//! The bundle `edge` on clouds of one, three and ten servers: rendered, planned, and rehearsed as the plan says.

use serde_json::Value;

use super::{cozy, text, write};

/// A cloud of that many servers; `more` is further YAML.
fn cloud(folder: &tempfile::TempDir, servers: usize, more: &str) -> String {
    let hosts: Vec<String> = (1..=servers).map(|number| format!("{{ address: 10.0.0.{number} }}")).collect();
    let text = format!(
        "apiVersion: cozy/v1\nkind: Cloud\nname: demo\nbundle: edge\ndomain: cloud.example.org\nhosts: [{}]\n{more}\n",
        hosts.join(", ")
    );
    write(folder, &format!("cloud-{servers}.yaml"), &text)
}

fn json(arguments: &[&str]) -> Vec<Value> {
    let output = cozy(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Settings that change what is rendered.
const VARIANTS: [&str; 4] = [
    "",
    "network: { loadBalancer: [10.0.0.200-10.0.0.220] }\ncomponents: { cilium: { settings: { hubble: true } } }",
    "network: { loadBalancer: [10.1.0.0/24], announce: bgp }\n\
     components: { cilium: { settings: { bgp: { localAsn: 64512, peers: [{ address: 10.0.0.254, asn: 64513 }] } } } }",
    "network: { proxyMode: nftables }",
];

#[test]
fn announcing_by_bgp_needs_somebody_to_announce_to() {
    let folder = tempfile::tempdir().unwrap();
    let file = cloud(&folder, 1, "network: { loadBalancer: [10.1.0.0/24], announce: bgp }");
    let output = cozy(&["validate", "-f", &file]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    for words in [
        "component `cilium`: `announce: bgp` needs routers: name them in `components.cilium.settings.bgp.peers`",
        "templates/cilium/bgp.yaml.j2:3:1",
    ] {
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn edge_is_rehearsed_on_1_3_and_10_servers_in_the_time_that_its_plan_says() {
    let folder = tempfile::tempdir().unwrap();
    for servers in [1, 3, 10] {
        for variant in VARIANTS {
            let file = cloud(&folder, servers, variant);
            let plan: Value =
                serde_json::from_slice(&cozy(&["plan", "-f", &file, "-o", "json"]).stdout).unwrap();
            let events = json(&["install", "--rehearse", "-f", &file, "--yes", "-o", "json"]);
            let last = events.last().unwrap();
            assert_eq!(last["outcome"], "done", "{servers} servers, {variant}");
            let (expected, took) = (plan["expectedMs"].as_f64().unwrap(), last["tookMs"].as_f64().unwrap());
            assert!((took / expected - 1.0).abs() < 0.05, "{servers} servers: {expected} ms, took {took} ms");
            let joined = events
                .iter()
                .filter(|event| event["event"] == "stepReady")
                .filter(|event| {
                    event["step"]
                        .as_str()
                        .is_some_and(|step| step.starts_with("kubernetes/") && step.ends_with("/ready"))
                })
                .count();
            assert_eq!(joined, servers);
            let warnings: Vec<_> = events.iter().filter(|event| event["event"] == "warning").collect();
            assert!(warnings.is_empty(), "{warnings:?}");
        }
    }
}

/// Which value of a chart, and what it is on 1, 3 and 10 servers.
const AVAILABILITY: [(&str, &str, [&str; 3]); 9] = [
    ("cilium", "/operator/replicas", ["1", "2", "2"]),
    ("cert-manager", "/replicaCount", ["1", "2", "2"]),
    ("cert-manager", "/podDisruptionBudget/enabled", ["false", "true", "true"]),
    ("cert-manager", "/webhook/replicaCount", ["1", "3", "3"]),
    ("cert-manager", "/webhook/podDisruptionBudget/enabled", ["false", "true", "true"]),
    ("cert-manager", "/cainjector/replicaCount", ["1", "2", "2"]),
    ("cert-manager", "/cainjector/podDisruptionBudget/enabled", ["false", "true", "true"]),
    ("metrics-server", "/replicas", ["1", "2", "2"]),
    ("metrics-server", "/podDisruptionBudget/enabled", ["false", "true", "true"]),
];

/// A mirror whose charts print the values that they are given.
fn mirror(folder: &tempfile::TempDir) -> String {
    for chart in ["cilium", "cert-manager", "metrics-server"] {
        let root = folder.path().join("mirror/charts").join(chart);
        fs_err::create_dir_all(root.join("templates")).unwrap();
        fs_err::write(root.join("Chart.yaml"), format!("apiVersion: v2\nname: {chart}\nversion: 0.1.0\n"))
            .unwrap();
        let told = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: {{ .Chart.Name }}-told }\ndata: { values: {{ toJson .Values | quote }} }\n";
        fs_err::write(root.join("templates/told.yaml"), told).unwrap();
    }
    format!("artifacts: {{ mirror: 'file://{}', verify: false }}", folder.path().join("mirror").display())
}

#[test]
fn availability_follows_the_number_of_servers() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = mirror(&folder);
    let cache = folder.path().join("cache");
    for (at, servers) in [1, 3, 10].into_iter().enumerate() {
        let file = cloud(&folder, servers, &artifacts);
        let run = |arguments: &[&str]| {
            let output = std::process::Command::new(env!("CARGO_BIN_EXE_cozy"))
                .args(arguments)
                .args(["-f", &file])
                .env_clear()
                .env("XDG_CACHE_HOME", &cache)
                .env("XDG_STATE_HOME", folder.path())
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
            output.stdout
        };
        let charts = ["cilium", "cert-manager", "metrics-server"];
        run(&["fetch", charts[0], charts[1], charts[2]]);
        let rendered: Value =
            serde_json::from_slice(&run(&["render", charts[0], charts[1], charts[2], "-o", "json"])).unwrap();
        let told = |chart: &str| -> Value {
            let name = format!("{chart}-told");
            let mut items = rendered["items"].as_array().unwrap().iter();
            let found = items.find(|item| item["metadata"]["name"] == name.as_str());
            serde_json::from_str(found.unwrap()["data"]["values"].as_str().unwrap()).unwrap()
        };
        for (chart, value, expected) in AVAILABILITY {
            let found = told(chart).pointer(value).map(Value::to_string);
            assert_eq!(found.as_deref(), Some(expected[at]), "{chart} {value} on {servers} servers");
        }
    }
}
