//! Preflight of a cluster that others made, with an account that may do little.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::Cloud;
use crate::support::control_plane::ControlPlane;

impl Cloud {
    /// Runs as the account of a kubeconfig.
    fn run_as(&self, kubeconfig: &str, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_cozy"))
            .args(arguments)
            .arg("--file")
            .arg(self.folder.path().join("hello/cozy.yaml"))
            .arg("--catalogue")
            .arg(self.folder.path().join("hello/catalogue"))
            .args(["--kubeconfig", kubeconfig])
            .env("XDG_STATE_HOME", self.folder.path())
            .output()
            .unwrap()
    }

    /// The findings of preflight, and its exit code.
    fn preflight(&self, kubeconfig: &str) -> (Vec<Value>, Option<i32>) {
        let output = self.run_as(kubeconfig, &["preflight", "-o", "json"]);
        let document: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        (document["findings"].as_array().unwrap().clone(), output.status.code())
    }
}

/// A role that gives rights away, and its binding.
const ROLE: &str = "---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: reader, namespace: hello }
rules: [{ apiGroups: [\"\"], resources: [pods/log], verbs: [get] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: reader, namespace: hello }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader }
subjects: [{ kind: ServiceAccount, name: default, namespace: hello }]
";

/// An account that may do nothing, and a kubeconfig of its own.
fn account(plane: &ControlPlane, folder: &std::path::Path) -> String {
    plane.ask(&["create", "namespace", "accounts"]);
    plane.ask(&["-n", "accounts", "create", "serviceaccount", "installer"]);
    let token = plane.ask(&["-n", "accounts", "create", "token", "installer"]);
    let copy: PathBuf = folder.join("kubeconfig");
    fs_err::copy(plane.kubeconfig(), &copy).unwrap();
    let copy = copy.to_str().unwrap().to_owned();
    plane.ask(&["--kubeconfig", &copy, "config", "set-credentials", "installer", "--token", &token]);
    plane.ask(&["--kubeconfig", &copy, "config", "set-context", "--current", "--user", "installer"]);
    copy
}

/// Roles that allow what findings miss, where they miss it, and nothing more; with their bindings to the account.
fn account_roles(findings: &[Value]) -> Value {
    let mut places: BTreeMap<Option<&str>, Vec<Value>> = BTreeMap::new();
    for found in findings {
        let word = |key: &str| found[key].as_str().unwrap();
        let name = word("checked").strip_prefix("rights to ").unwrap();
        let (name, place) = name.split_once(" in ").map_or((name, None), |(name, place)| (name, Some(place)));
        let (resource, group) = name.split_once('.').unwrap_or((name, ""));
        let verbs: Vec<&str> = word("observed").strip_prefix("may not ").unwrap().split(", ").collect();
        let rule = json!({ "apiGroups": [group], "resources": [resource], "verbs": verbs });
        places.entry(place).or_default().push(rule);
    }
    let made = places.into_iter().flat_map(|(place, rules)| {
        let kind = if place.is_some() { "Role" } else { "ClusterRole" };
        let of = |kind: &str| {
            let mut metadata = json!({ "name": "installer" });
            if let Some(place) = place {
                metadata["namespace"] = json!(place);
            }
            json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata })
        };
        let (mut role, mut binding) = (of(kind), of(&format!("{kind}Binding")));
        role["rules"] = json!(rules);
        binding["roleRef"] =
            json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "installer" });
        binding["subjects"] =
            json!([{ "kind": "ServiceAccount", "name": "installer", "namespace": "accounts" }]);
        [role, binding]
    });
    json!({ "apiVersion": "v1", "kind": "List", "items": made.collect::<Vec<_>>() })
}

/// Kinds that are looked at wherever a cluster has them.
fn known_kinds(plane: &ControlPlane, folder: &std::path::Path) {
    let all = [
        ("gateway.networking.k8s.io", "gatewayclasses", "GatewayClass", "Cluster"),
        ("cert-manager.io", "issuers", "Issuer", "Namespaced"),
        ("cert-manager.io", "clusterissuers", "ClusterIssuer", "Cluster"),
    ];
    let items: Vec<Value> = all
        .iter()
        .map(|(group, plural, kind, scope)| {
            let schema = json!({ "openAPIV3Schema": { "type": "object" } });
            json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": { "name": format!("{plural}.{group}"), "annotations": { "api-approved.kubernetes.io": "unapproved" } },
                "spec": { "group": group, "scope": scope, "names": { "plural": plural, "kind": kind },
                    "versions": [{ "name": "v1", "served": true, "storage": true, "schema": schema }] },
            })
        })
        .collect();
    let file = folder.join("kinds.json");
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    fs_err::write(&file, list.to_string()).unwrap();
    plane.ask(&["apply", "-f", file.to_str().unwrap()]);
    plane.wait_until("these kinds are served", || {
        all.iter().all(|(group, plural, ..)| {
            plane.kubectl(&["get", &format!("{plural}.{group}"), "-A"]).status.success()
        })
    });
}

#[test]
fn what_an_account_may_not_do_is_said_at_once_and_is_all_that_it_needs() {
    let cloud = Cloud { plane: ControlPlane::own(), ..Cloud::new() };
    let plane = &cloud.plane;
    cloud.edit("catalogue/templates/base/base.yaml.j2", |text| format!("{text}{ROLE}"));
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = account(plane, folder.path());
    known_kinds(plane, folder.path());

    let (findings, code) = cloud.preflight(&kubeconfig);
    assert_eq!(code, Some(4));
    assert!(
        findings.iter().all(|found| found["check"] == "rights" && found["host"] == "cluster"),
        "{findings:?}"
    );
    let deployments =
        findings.iter().find(|found| found["checked"] == "rights to deployments.apps in hello").unwrap();
    assert_eq!(deployments["observed"], "may not create, delete, get, patch");
    assert_eq!(
        deployments["fix"],
        "ask for a role that allows it; to see: `kubectl auth can-i create deployments.apps -n hello`"
    );
    // A kind that is still to come is asked for, too.
    assert!(
        findings.iter().any(|found| found["checked"] == "rights to databases.hello.example.org in hello"),
        "{findings:?}"
    );
    // The API server takes a role only from who has its rights, or may escalate.
    let roles = "rights to roles.rbac.authorization.k8s.io in hello";
    let roles = findings.iter().find(|found| found["checked"] == roles).unwrap();
    assert_eq!(roles["observed"], "may not bind, create, delete, escalate, get, patch");
    // Install says the same beforehand, and writes nothing.
    let output = cloud.run_as(&kubeconfig, &["install", "--yes"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("rights to deployments.apps in hello: may not create"), "{said}");
    assert!(!plane.kubectl(&["get", "namespace", "hello"]).status.success());

    // With what was missing, and nothing more, it passes, and the install ends.
    plane.ask(&["create", "namespace", "hello"]);
    plane.kubectl(&["create", "namespace", "cozy-system"]);
    let file = folder.path().join("roles.json");
    fs_err::write(&file, account_roles(&findings).to_string()).unwrap();
    plane.ask(&["apply", "-f", file.to_str().unwrap()]);
    plane.wait_until("the account may list nodes", || {
        plane.kubectl(&["--kubeconfig", &kubeconfig, "get", "nodes"]).status.success()
    });
    let (findings, code) = cloud.preflight(&kubeconfig);
    assert_eq!((findings, code), (Vec::new(), Some(0)));
    // What others made of what this cloud brings is found.
    plane.ask(&["-n", "hello", "create", "configmap", "hello", "--from-literal=a=b"]);
    let (findings, code) = cloud.preflight(&kubeconfig);
    assert_eq!(code, Some(4));
    assert!(
        findings.iter().any(|found| found["check"] == "leftovers"
            && found["observed"].as_str().unwrap().contains("ConfigMap hello/hello exists")),
        "{findings:?}"
    );
    plane.ask(&["-n", "hello", "delete", "configmap", "hello"]);
    let output = cloud.run_as(&kubeconfig, &["install", "--yes"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let (findings, code) = cloud.preflight(&kubeconfig);
    assert_eq!((findings, code), (Vec::new(), Some(0)));
}
