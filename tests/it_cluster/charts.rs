//! Charts on the real API server: what they generate is kept, is the same
//! ever after, and is shown nowhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::made::Made;
use crate::support::control_plane::ControlPlane;

/// Passwords and certificates, in a Secret and beside it.
const GENERATES: &str = r#"{{- $ca := genCA "shop-ca" 365 }}
{{- $cert := genSignedCert "shop" nil (list "shop.svc") 365 $ca }}
{{- $before := lookup "v1" "Secret" .Release.Namespace "by-lookup" }}
apiVersion: v1
kind: Secret
metadata: { name: by-helm }
stringData: { password: {{ randAlphaNum 24 | quote }}, hash: {{ htpasswd "admin" "pass" | quote }} }
---
apiVersion: v1
kind: Secret
metadata: { name: tls }
type: kubernetes.io/tls
data: { ca.crt: {{ $ca.Cert | b64enc }}, tls.crt: {{ $cert.Cert | b64enc }}, tls.key: {{ $cert.Key | b64enc }} }
---
apiVersion: v1
kind: Secret
metadata: { name: by-lookup }
data: { password: {{ dig "data" "password" (randAlphaNum 24 | b64enc) $before }} }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: careless }
data:
  token: {{ randAlphaNum 24 }}
  at: {{ now | unixEpoch | quote }}
  revision: {{ .Release.Revision | quote }}
  color: {{ .Values.color | default "red" }}
  jobs: {{ .Capabilities.APIVersions.Has "batch/v1/Job" | quote }}
  kube: {{ .Capabilities.KubeVersion.Version }}
"#;

/// A template that comes before the other in every order, and generates with the same arguments.
const MORE: &str = r#"{{- $ca := genCA "shop-ca" 365 }}
apiVersion: v1
kind: Secret
metadata: { name: more }
stringData: { password: {{ randAlphaNum 24 | quote }}, ca: {{ $ca.Key | quote }} }
"#;

/// Every value that nobody but the cluster is to know.
fn secrets(made: &Made) -> Vec<String> {
    let of = |name: &str, path: &str| {
        made.plane.ask(&["-n", "shop", "get", name, "-o", &format!("jsonpath={{.data.{path}}}")])
    };
    let encoded = [
        of("secret/by-helm", "password"),
        of("secret/by-helm", "hash"),
        of("secret/tls", "tls\\.key"),
        of("secret/by-lookup", "password"),
    ];
    let mut all: Vec<String> = encoded
        .iter()
        .flat_map(|value| {
            let text = String::from_utf8(STANDARD.decode(value).unwrap()).unwrap();
            let line = text.lines().find(|line| !line.starts_with("-----")).unwrap().to_owned();
            [value.clone(), line]
        })
        .collect();
    all.push(of("configmap/careless", "token"));
    assert!(all.iter().all(|value| value.len() >= 24), "{all:?}");
    all
}

fn versions(made: &Made) -> String {
    let columns = "custom-columns=:kind,:metadata.namespace,:metadata.name,:metadata.resourceVersion";
    made.plane
        .ask(&["get", "-A", "secrets,configmaps,leases.coordination.k8s.io", "-o", columns])
        .lines()
        .filter(|line| line.contains(" shop ") || line.contains("cozy-system"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn what_a_chart_generates_is_kept_and_shown_nowhere() {
    let mut made = Made::on(ControlPlane::own());
    made.chart("shop", "1.0.0", &[("templates/b.yaml", GENERATES)]);
    let mut said = vec![made.expect(&["plan", "--diff"], 0), made.expect(&["install", "--yes"], 0)];
    let first = secrets(&made);
    assert!(
        first
            .iter()
            .all(|value| !made.plane.ask(&["-n", "shop", "get", "secret", "-o", "name"]).contains(value))
    );

    // What it is told of the cluster.
    let told = ["-n", "shop", "get", "configmap", "careless", "-o", "jsonpath={.data.jobs} {.data.kube}"];
    let version = made.plane.ask(&["version", "-o", "json"]);
    let version: serde_json::Value = serde_json::from_str(&version).unwrap();
    assert_eq!(
        made.plane.ask(&told),
        format!("true {}", version["serverVersion"]["gitVersion"].as_str().unwrap())
    );

    // Again: nothing is to do, and nothing is written.
    let before = versions(&made);
    let again = made.expect(&["install", "--yes"], 0);
    assert!(again.contains("nothing to do"), "{again}");
    said.push(again);
    said.push(made.expect(&["plan", "--exit-code"], 0));
    said.push(made.expect(&["status"], 0));
    assert_eq!(versions(&made), before);
    assert_eq!(secrets(&made), first);

    // A template that is added before changes nothing of the others; inputs that change count.
    made.chart(
        "shop",
        "1.1.0",
        &[
            ("templates/b.yaml", GENERATES),
            ("templates/a/a.yaml", MORE),
            ("templates/z.yaml", &MORE.replace("more", "last")),
        ],
    );
    said.push(made.expect(&["plan", "--diff", "-o", "json"], 0));
    said.push(made.expect(&["install", "--yes", "-o", "json"], 0));
    assert_eq!(secrets(&made), first);
    let revision = ["-n", "shop", "get", "configmap", "careless", "-o", "jsonpath={.data.revision}"];
    assert_eq!(made.plane.ask(&revision), "2");
    let diff = made.expect(&["plan", "--diff"], 0);
    assert!(diff.contains("nothing to do"), "{diff}");

    // Drift is mended, and the diff does not say what to.
    let drift = r#"{"data":{"token":"theirs"}}"#;
    made.plane.ask(&["-n", "shop", "patch", "configmap", "careless", "--type=merge", "-p", drift]);
    let diff = made.expect(&["plan", "--diff"], 0);
    assert!(diff.contains(".data.token: \"theirs\" → \"[secret]\""), "{diff}");
    said.extend([diff, made.expect(&["install", "--yes"], 0)]);
    assert_eq!(secrets(&made), first);

    // What is lost is said before all of it is made anew.
    made.plane.ask(&["-n", "cozy-system", "delete", "secret", "cozy-generated-shop"]);
    let lost = made.expect(&["plan"], 0);
    assert!(lost.contains("warning: Secret cozy-system/cozy-generated-shop is lost"), "{lost}");
    let lost = made.expect(&["install", "--yes"], 0);
    assert!(lost.contains("is lost"), "{lost}");
    let second = secrets(&made);
    // All but what the chart itself looks up.
    let (looked_up, generated) = (6..8, (0..6).chain(8..9));
    assert!(looked_up.clone().all(|index| second[index] == first[index]));
    assert!(generated.clone().all(|index| second[index] != first[index]));
    let diff = made.expect(&["plan", "--diff", "--exit-code"], 0);
    assert!(diff.contains("nothing to do"), "{diff}");

    // A damaged one is no reason to generate anew.
    let damage = r#"{"data":{"generated":"e30="}}"#;
    made.plane.ask(&[
        "-n",
        "cozy-system",
        "patch",
        "secret",
        "cozy-generated-shop",
        "--type=merge",
        "-p",
        damage,
    ]);
    let damaged = made.expect(&["install", "--yes"], 1);
    assert!(damaged.contains("Secret cozy-system/cozy-generated-shop"), "{damaged}");
    assert_eq!(secrets(&made), second);

    said.extend([lost, damaged]);
    let logs = std::process::Command::new("grep").args(["-rh", ""]).arg(made.path("cozy")).output().unwrap();
    let logs = String::from_utf8_lossy(&logs.stdout).into_owned();
    assert!(logs.contains("runFinished"), "no log: {logs}");
    said.push(logs);
    for value in first.iter().chain(&second) {
        for text in &said {
            assert!(!text.contains(value), "{value} in\n{text}");
        }
    }
}
