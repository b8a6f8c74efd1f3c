//! Pods that really fail, on a real kubelet: `cozy install` ends with why, and with what to do.

use std::fmt::Write as _;

use crate::bed::Bed;
use crate::{cloud, text};

/// A Deployment of one pod; `more` is of the container, `pod` of the pod.
fn deployment(command: &str, more: &str, pod: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: web }}\nspec:\n  selector: {{ matchLabels: {{ app: web }} }}\n  template:\n    \
         metadata: {{ labels: {{ app: web }} }}\n    spec:\n      terminationGracePeriodSeconds: 1\n{pod}      containers:\n        - name: web\n          \
         image: docker.io/library/busybox:1\n          imagePullPolicy: IfNotPresent\n          command: [/bin/sh, -c, '{command}']\n{more}"
    )
}

/// Without it, a container is ready as soon as it was started.
const PROBE: &str = "          readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 }\n";

/// The components, each with what goes wrong in it.
fn components() -> Vec<(&'static str, String)> {
    let runs = "while true; do sleep 3600; done";
    vec![
        ("crash", deployment("echo starting; echo cannot open /data/config.json >&2; exit 3", PROBE, "")),
        (
            "pull",
            deployment(runs, "", "").replace("docker.io/library/busybox:1", "registry.invalid/team/web:1.2"),
        ),
        (
            "memory",
            deployment(
                "/bin/busybox head -c 200000000 /dev/zero | /bin/busybox tail",
                &format!("{PROBE}          resources: {{ limits: {{ memory: 24Mi }} }}\n"),
                "",
            ),
        ),
        (
            "probe",
            deployment(
                runs,
                "          readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 }\n",
                "",
            ),
        ),
        ("room", deployment(runs, "          resources: { requests: { cpu: 64 } }\n", "")),
        (
            "mount",
            deployment(
                runs,
                "          volumeMounts: [{ name: config, mountPath: /config }]\n",
                "      volumes: [{ name: config, configMap: { name: web-config } }]\n",
            ),
        ),
        (
            "claim",
            deployment(
                runs,
                "          volumeMounts: [{ name: data, mountPath: /data }]\n",
                "      volumes: [{ name: data, persistentVolumeClaim: { claimName: web-data } }]\n",
            ),
        ),
    ]
}

/// A catalogue with these components, and a bundle `broken` of them and the pod network.
fn catalogue(bed: &Bed) -> String {
    let folder = bed.path("broken");
    let mut bundle = "apiVersion: cozy/v1\nkind: Bundle\nname: broken\nversion: 1.0.0\nsummary: What goes wrong\ncomponents:\n  network: {}\n".to_owned();
    for (name, objects) in components() {
        let home = format!("{folder}/templates/{name}");
        fs_err::create_dir_all(&home).unwrap();
        let component = format!(
            "apiVersion: cozy/v1\nkind: Component\nname: {name}\nsummary: Goes wrong\ncategory: test\nversion: 1.0.0\nnamespace: {{ name: {name}, podSecurity: baseline }}\n\
             source: {{ templates: [web.yaml.j2] }}\nexpect: 5s\ngrace: 10s\ndeadline: 90s\n"
        );
        fs_err::write(format!("{home}/component.yaml"), component).unwrap();
        fs_err::write(format!("{home}/web.yaml.j2"), objects).unwrap();
        writeln!(bundle, "  {name}: {{}}").unwrap();
    }
    fs_err::create_dir_all(format!("{folder}/bundles")).unwrap();
    fs_err::write(format!("{folder}/bundles/broken.yaml"), bundle).unwrap();
    folder
}

#[test]
#[ignore = "long"]
fn pods_that_fail_are_diagnosed_down_to_the_cause() {
    let bed = Bed::boot(1);
    let file = cloud(&bed, "  - { address: 10.98.0.21, role: server }\n", "");
    let broken = fs_err::read_to_string(&file).unwrap().replace("bundle: bed\n", "bundle: broken\n");
    fs_err::write(&file, broken).unwrap();
    let catalogue = catalogue(&bed);
    let output = crate::cozy(&bed, &["install", "--yes"]).args(["--catalogue", &catalogue]).output().unwrap();
    let said = text(&output.stderr);
    println!("{said}");
    assert_eq!(output.status.code(), Some(5), "{said}");
    let block = |name: &str| {
        let from = said.find(&format!("✗ {name}: ")).unwrap_or_else(|| panic!("no block of {name}"));
        let rest = &said[from..];
        rest[..rest[4..].find("✗ ").map_or(rest.len(), |end| end + 4)].to_owned()
    };
    for (name, words) in [
        ("crash", &["exit 3", "cannot open /data/config.json"][..]),
        ("pull", &["registry.invalid/team/web:1.2", "they do not answer for registry.invalid"]),
        ("memory", &["OOMKilled", "limits.memory"]),
        ("probe", &["Readiness probe failed", "8080", "connection refused"]),
        ("room", &["Insufficient cpu"]),
        ("mount", &["configmap \"web-config\" not found"]),
        ("claim", &["PersistentVolumeClaim claim/web-data", "it is not there"]),
    ] {
        let block = block(name);
        for word in words {
            assert!(block.contains(word), "no `{word}` in:\n{block}");
        }
        assert!(block.contains("fix"), "{block}");
    }
    // Later, and from the cluster alone, the same.
    let output =
        crate::cozy(&bed, &["diagnose", "crash"]).args(["--catalogue", &catalogue]).output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    let later = text(&output.stdout);
    assert!(later.contains("cannot open /data/config.json") && later.contains("exit 3"), "{later}");
}
