//! What is accepted is used; what is not used, or means something else to others, is said, with its place.

use serde_json::Value;

use super::{cozy, text, write};

const HEAD: &str = "apiVersion: cozy/v1\nkind: Cloud\nname: demo\nbundle: edge\n";

/// What `validate` says of a cloud, one line a finding.
fn found(cloud: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = write(&folder, "cozy.yaml", &format!("{HEAD}{cloud}"));
    let output = cozy(&["validate", "-f", &file, "-o", "json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = document["findings"].as_array().unwrap().iter();
    let lines = findings.map(|found| {
        let word = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}: {}", word("code"), word("level"), found["line"], word("message"))
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn words_that_are_something_else_to_helm_and_kubernetes_are_refused() {
    insta::assert_snapshot!(found(
        "hosts: [{ address: 10.0.0.11 }]\n\
         kubernetes:\n  kubelet: { failSwapOn: no, mode: '0644' }\n  containerd: { a: [0x1F] }\n\
         components:\n  cilium:\n    values: { a: { b: on, c: \"on\" }, d: 0644 }\n    \
         patches:\n      - { target: { kind: DaemonSet }, patch: [{ op: add, path: /spec/x, value: { y: off } }] }\n"
    ), @"
    C1244 error 7: `no` is false for others, and text here
    C1244 error 8: `0x1F` is 31 for others, and text here
    C1244 error 11: `on` is true for others, and text here
    C1244 error 11: `0644` is 420 for others, and text here
    C1244 error 13: `off` is false for others, and text here
    ");
}

#[test]
fn what_would_take_away_what_cozy_writes_is_refused() {
    insta::assert_snapshot!(found(
        "hosts: [{ address: 10.0.0.11 }]\n\
         kubernetes:\n  endpoint: api.example.org:6443\n  kubelet: { maxPods: }\n  \
         apiServer:\n    extraArgs:\n    extraVolumes: { a: b }\n"
    ), @"
    C1224 error 7: `api.example.org:6443` is more than a name or address
    C1102 error 8: `maxPods` has no value
    C1102 error 10: `extraArgs` has no value
    C1102 error 11: `extraVolumes` must be a list of entries with a `name`
    ");
    insta::assert_snapshot!(found(
        "hosts: [{ address: 10.0.0.11 }]\nkubernetes:\n  apiServer: { extraArgs: [{ value: x }] }\n"
    ), @"C1102 error 7: `extraArgs` must be a list of entries with a `name`");
}

#[test]
fn what_nothing_reads_is_said() {
    insta::assert_snapshot!(found(
        "hosts: [{ local: true, port: 22, user: admin }]\nkubernetes: { kubeProxy: { mode: x } }\n\
         network: { announce: none, loadBalancer: [10.0.0.200-10.0.0.210] }\nstorage: { replicas: 3 }\n"
    ), @"
    C1220 warning 6: `kubeProxy` is not used with `proxyMode: cilium`
    C1220 warning 7: `loadBalancer` is not used with `announce: none`
    C1220 warning 8: `replicas` is not used with hosts without devices
    C1220 warning 5: `user` is not used with `local: true`
    C1220 warning 5: `port` is not used with `local: true`
    ");
    insta::assert_snapshot!(found("kubernetes: { provider: existing, endpoint: a.b, kubelet: { a: 1 } }\n"), @"
    C1220 warning 5: `endpoint` is not used with `kubernetes.provider: existing`
    C1220 warning 5: `kubelet` is not used with `kubernetes.provider: existing`
    ");
    insta::assert_snapshot!(found(
        "hosts: [{ address: 10.0.0.11 }]\ncomponents: { local-storage: { values: { a: 1 } } }\n"
    ), @"C1212 error 6: component `local-storage` has no chart");
}

#[test]
fn addresses_are_announced_as_they_can_be() {
    insta::assert_snapshot!(found(
        "hosts: [{ address: 10.0.0.11 }]\nnetwork: { proxyMode: nftables, loadBalancer: [10.0.0.200-10.0.0.210] }\n"
    ), @"C2004 error 2: component `cilium`: `announce: l2` works only with `proxyMode: cilium`: take that, or `announce: bgp`, or leave `loadBalancer` out");
    // Routers have addresses.
    insta::assert_snapshot!(found(
        "hosts: [{ address: 10.0.0.11 }]\nnetwork: { announce: bgp, loadBalancer: [10.0.0.200-10.0.0.210] }\n\
         components: { cilium: { settings: { bgp: { peers: [{ address: xx, asn: 1 }, { address: 'fd00::1', asn: 1 }] } } } }\n"
    ), @"C1105 error 7: `address` cannot be `xx`");
}

#[test]
fn releases_and_what_they_do_not_suit_are_found_with_the_rest() {
    insta::assert_snapshot!(found(
        "hosts: [{ address: 10.0.0.11 }]\nhots: 1\nkubernetes: { version: 1.36.77 }\n"
    ), @"
    C1101 error 6: unknown key `hots`
    C5031 error 7: Kubernetes 1.36.77 is not in `bundles/kubernetes.lock`, which has v1.36.4, v1.35.8, v1.34.11, v1.33.13
    ");
}

/// Cilium's values, as a chart sees them that prints them.
#[test]
fn clouds_of_ipv6_get_their_addresses_from_cilium() {
    let folder = tempfile::tempdir().unwrap();
    for part in ["cilium/templates", "charts", "templates/cilium", "bundles"] {
        fs_err::create_dir_all(folder.path().join(part)).unwrap();
    }
    write(&folder, "cilium/Chart.yaml", "apiVersion: v2\nname: cilium\nversion: 0.1.0\n");
    let values =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\ndata:\n  is: {{ toJson .Values | quote }}\n";
    write(&folder, "cilium/templates/a.yaml", values);
    let packed = std::process::Command::new("tar")
        .arg("-czf")
        .arg(folder.path().join("charts/cilium-0.1.0.tgz"))
        .arg("-C")
        .args([folder.path(), std::path::Path::new("cilium")])
        .status();
    assert!(packed.unwrap().success());
    let own = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/cilium");
    for file in ["values.yaml.j2", "settings.schema.json"] {
        fs_err::copy(own.join(file), folder.path().join("templates/cilium").join(file)).unwrap();
    }
    let contract = format!(
        "apiVersion: cozy/v1\nkind: Component\nname: cilium\nsummary: x\ncategory: x\nversion: 1.0.0\n\
         namespace: {{ name: kube-system }}\nsettings: settings.schema.json\nsource:\n  \
         chart: {{ repository: 'file://{}', name: cilium, version: 0.1.0 }}\n  values: values.yaml.j2\n",
        folder.path().join("charts").display()
    );
    write(&folder, "templates/cilium/component.yaml", &contract);
    let bundle = "apiVersion: cozy/v1\nkind: Bundle\nname: net\nversion: 1.0.0\nsummary: x\ncomponents: { cilium: {} }\n";
    write(&folder, "bundles/net.yaml", bundle);
    let of = |pods: &str, services: &str| {
        let cloud = format!(
            "apiVersion: cozy/v1\nkind: Cloud\nname: demo\nbundle: net\nhosts: [{{ local: true }}]\n\
             network: {{ pods: '{pods}', services: '{services}' }}\n"
        );
        let file = write(&folder, "cozy.yaml", &cloud);
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_cozy"))
            .args(["render", "-o", "json", "-f", &file, "--catalogue", "."])
            .current_dir(folder.path())
            .env_clear()
            .env("XDG_CACHE_HOME", folder.path().join("cache"))
            .env("XDG_STATE_HOME", folder.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let objects: Value = serde_json::from_slice(&output.stdout).unwrap();
        let printed =
            objects["items"].as_array().unwrap().iter().find_map(|item| item["data"]["is"].as_str());
        serde_json::from_str::<Value>(printed.unwrap()).unwrap()
    };
    let six = of("fd42::/56", "fd43::/112");
    assert_eq!(six["ipam"]["operator"]["clusterPoolIPv6PodCIDRList"], serde_json::json!(["fd42::/56"]));
    assert_eq!(six["ipam"]["operator"]["clusterPoolIPv4PodCIDRList"], Value::Null);
    assert_eq!((&six["ipv6"]["enabled"], &six["ipv4"]["enabled"]), (&true.into(), &false.into()));
    let four = of("10.42.0.0/16", "10.43.0.0/16");
    assert_eq!(four["ipam"]["operator"]["clusterPoolIPv4PodCIDRList"], serde_json::json!(["10.42.0.0/16"]));
    assert_eq!(four["ipv6"], Value::Null);
}

/// A catalogue with one bundle of two components in one namespace; `more` is of the second.
fn catalogue(folder: &tempfile::TempDir, first: &str, second: &str) -> String {
    for (name, more) in [("one", first), ("two", second)] {
        let base = folder.path().join("templates").join(name);
        fs_err::create_dir_all(&base).unwrap();
        let contract = format!(
            "apiVersion: cozy/v1\nkind: Component\nname: {name}\nsummary: x\ncategory: x\nversion: 1.0.0\n\
             source: {{ templates: [a.yaml.j2] }}\n{more}\n"
        );
        fs_err::write(base.join("component.yaml"), contract).unwrap();
        let config = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name} }}\n");
        fs_err::write(base.join("a.yaml.j2"), config).unwrap();
    }
    fs_err::create_dir_all(folder.path().join("bundles")).unwrap();
    let bundle = "apiVersion: cozy/v1\nkind: Bundle\nname: two\nversion: 1.0.0\nsummary: x\n\
                  components: { one: {}, two: { optional: true } }\n";
    write(folder, "bundles/two.yaml", bundle);
    folder.path().to_str().unwrap().to_owned()
}

fn existing(folder: &tempfile::TempDir, more: &str) -> String {
    let cloud =
        "apiVersion: cozy/v1\nkind: Cloud\nname: demo\nbundle: two\nkubernetes: { provider: existing }\n";
    write(folder, "cozy.yaml", &format!("{cloud}{more}\n"))
}

#[test]
fn a_namespace_of_two_components_permits_what_both_need() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = catalogue(
        &folder,
        "namespace: { name: shared }",
        "namespace: { name: shared, podSecurity: privileged }",
    );
    let file = existing(&folder, "components: { two: { enabled: true } }");
    let output = cozy(&["render", "-f", &file, "--catalogue", &catalogue]);
    let objects = text(&output.stdout);
    assert_eq!(objects.matches("kind: Namespace").count(), 1, "{objects}{}", text(&output.stderr));
    assert!(objects.contains("pod-security.kubernetes.io/enforce: privileged"), "{objects}");
}

#[test]
fn components_that_stay_off_are_checked_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let namespace = "namespace: { name: shared }";
    let catalogue = catalogue(&folder, namespace, &format!("{namespace}\nsettings: s.json"));
    let schema = r#"{ "type": "object", "additionalProperties": false, "properties": { "a": { "type": "integer" } } }"#;
    write(&folder, "templates/two/s.json", schema);
    let validate = |more: &str| {
        let file = existing(&folder, more);
        let output = cozy(&["validate", "-f", &file, "--catalogue", &catalogue]);
        (output.status.code(), text(&output.stderr))
    };
    let (code, said) = validate("components: { two: { settings: { a: 1 } } }");
    assert!(code == Some(0) && said.contains("`two` is optional, and stays off"), "{said}");
    let (code, said) = validate("components: { two: { enabled: false, settings: { a: 1 } } }");
    assert!(code == Some(0) && !said.contains("stays off"), "{said}");
    let (code, said) = validate("components: { two: { settings: { a: x } } }");
    assert!(code == Some(2) && said.contains("`a` must be"), "{said}");
}

#[test]
fn mistakes_in_contracts_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let namespace = "namespace: { name: shared }";
    let catalogue = catalogue(
        &folder,
        &format!(
            "{namespace}\ndeadline: 1m\nneeds: [kubernetes, dns]\n\
             gates: [{{ cel: 'true', of: ConfigMap/one, stable: 2m, expect: 3m }}]\n\
             ignoreFields: [{{ kind: ConfigMap, paths: [data, /metadata/name, /data/x] }}]"
        ),
        namespace,
    );
    write(
        &folder,
        "templates/two/component.yaml",
        &format!(
            "apiVersion: cozy/v1\nkind: Component\nname: two\nsummary: x\ncategory: x\nversion: 1.0.0\n\
         source: {{ chart: {{ repository: 'https://:x y', name: a, version: '1' }} }}\n{namespace}\n"
        ),
    );
    let output = cozy(&["bundle", "lint", "--catalogue", &catalogue]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    let heads: Vec<&str> = said.lines().filter(|line| line.starts_with("error[")).collect();
    insta::assert_snapshot!(heads.join("\n"), @"
    error[C1106]: `stable` (2m) is longer than the component may take (1m)
    error[C1106]: `expect` (3m) is longer than the component may take (1m)
    error[C1245]: `data` is not a JSON pointer
    error[C1245]: `/metadata/name` says which object it is
    error[C1226]: `https://:x y` is not a URL that starts with https://, http://, oci://, file://
    ");
}

/// What stands for the cluster itself is there on clouds of hosts, too.
#[test]
fn components_may_need_what_kubeadm_brings() {
    let folder = tempfile::tempdir().unwrap();
    let namespace = "namespace: { name: shared }";
    let catalogue = catalogue(&folder, &format!("{namespace}\nneeds: [kubernetes, dns]"), namespace);
    let cloud =
        "apiVersion: cozy/v1\nkind: Cloud\nname: demo\nbundle: two\nhosts: [{ address: 10.0.0.11 }]\n";
    let file = write(&folder, "cozy.yaml", cloud);
    for command in [&["validate"][..], &["install", "--rehearse", "--yes"]] {
        let output = cozy(&[command, &["-f", &file, "--catalogue", &catalogue]].concat());
        assert_eq!(output.status.code(), Some(0), "{command:?}: {}", text(&output.stderr));
    }
}

#[test]
fn flags_are_used_or_refused() {
    let file = "examples/edge.yaml";
    for command in [
        &["plan", "-f", file, "--skip-check", "nope"][..],
        &["install", "--rehearse", "--yes", "-f", file, "--skip-check", "nope"],
        &["uninstall", "--hosts", "--yes", "-f", file, "--skip-check", "nope"],
        &["render", "--chart", "tests/charts/web/chart", "-o", "json"],
        &["install", "--rehearse", "--yes", "-f", file, "--inject", "api=latency:10h"],
    ] {
        let output = cozy(command);
        assert_eq!(output.status.code(), Some(2), "{command:?}: {}", text(&output.stderr));
    }
    let output = cozy(&["plan", "-f", file, "--kubeconfig", "/nope", "--context", "zzz"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        text(&output.stderr).contains("--kubeconfig and --context are not used"),
        "{}",
        text(&output.stderr)
    );
}
