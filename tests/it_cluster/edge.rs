//! The bundle `edge` with its real charts, on a real API server and in a rehearsal: every object is taken, all becomes
//! ready, and each component goes the same way on both. Upstream's charts are not in this repository: run by hand,
//! `tests/run edge --from MIRROR`, where MIRROR is laid out as `artifacts.mirror` wants it.

use std::process::Command;

use cozy_sim::{Controllers, run_controllers};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use crate::answer::Webhook;
use crate::behaviours;
use crate::scenario::{by_component, on_a_runtime, own_address};
use crate::support::control_plane::ControlPlane;

/// What cert-manager's webhook and metrics-server listen on.
const PORT: u16 = 10250;

#[test]
#[ignore = "needs upstream's charts: tests/run edge --from MIRROR"]
fn edge_with_its_real_charts_goes_as_rehearsed() {
    #[expect(clippy::disallowed_methods, reason = "where the charts are is asked of the tests alone")]
    let mirror = std::env::var("EDGE_FROM").expect("EDGE_FROM names a mirror");
    let address = own_address();
    let plane = ControlPlane::with_pods_at(address);
    let webhook = Webhook::behind("cert-manager-webhook.cozy-cert-manager.svc", (address, PORT).into());
    let folder = tempfile::tempdir().unwrap();
    let cloud = |name: &str, kubernetes: &str| {
        let file = folder.path().join(name);
        let text = format!(
            "apiVersion: cozy/v1\nkind: Cloud\nname: real\nbundle: edge\ndomain: cloud.example.org\n{kubernetes}\n\
             network: {{ loadBalancer: [192.0.2.200-192.0.2.220] }}\ncomponents: {{ cilium: {{ settings: {{ hubble: true }} }} }}\n\
             artifacts: {{ mirror: 'file://{mirror}', verify: false }}\n"
        );
        fs_err::write(&file, text).unwrap();
        file
    };
    let existing = cloud("existing.yaml", "kubernetes: { provider: existing }");
    // As many as the control plane has nodes.
    let fresh = cloud(
        "fresh.yaml",
        "hosts: [{ address: 192.0.2.1 }, { address: 192.0.2.2 }, { address: 192.0.2.3 }]",
    );
    let run_of = |file: &std::path::Path, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cozy"));
        command.args(arguments).arg("--file").arg(file).arg("--kubeconfig").arg(plane.kubeconfig());
        command.env("XDG_STATE_HOME", folder.path()).env("XDG_CACHE_HOME", folder.path().join("cache"));
        let output = command.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), errors)
    };
    let run = |arguments: &[&str]| run_of(&existing, arguments);
    assert_eq!(run(&["fetch"]).0, Some(0), "{:?}", run(&["fetch"]));
    let install = ["install", "--yes", "-o", "json", "--timeout", "120s"];
    let (code, real, errors) = on_a_runtime(async {
        let client = behaviours::client(&plane).await;
        let played = tokio::spawn(play(client, webhook.ca.clone()));
        let result = tokio::task::block_in_place(|| run(&install));
        played.abort();
        result
    });
    let last: Vec<&str> = real.lines().rev().take(30).collect();
    assert_eq!(code, Some(0), "{errors}{}", last.join("\n"));
    let (code, again, errors) = run(&["install", "--yes"]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(format!("{again}{errors}").contains("nothing to do"), "{again}{errors}");
    let (code, rehearsed, errors) = run_of(&fresh, &["install", "--rehearse", "--yes", "-o", "json"]);
    assert_eq!(code, Some(0), "{errors}");
    let [real, rehearsed] = [real, rehearsed].map(|events| {
        let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let created = events.last().unwrap()["counts"]["create"].as_u64().unwrap();
        (by_component(&events), created)
    });
    #[expect(clippy::print_stdout, reason = "run by hand, for its figures")]
    {
        println!("created {} on the real API server, {} in the rehearsal", real.1, rehearsed.1);
    }
    for (component, events) in &real.0 {
        let other = rehearsed.0.get(component).cloned().unwrap_or_default();
        // The real cluster has this namespace from the start.
        let events =
            events.join("\n").replace("update Namespace kube-system", "create Namespace kube-system");
        let other = other.join("\n");
        let diff = similar::TextDiff::from_lines(&events, &other)
            .unified_diff()
            .header("real", "rehearsed")
            .to_string();
        assert!(events == other, "{component}:\n{diff}");
    }
}

/// Plays what no kwok does: Cilium's operator, cert-manager with its CA injector, and the Gateway controller.
async fn play(client: Client, ca: String) {
    let condition = |name: &str, status: &str| {
        json!({
            "type": name, "status": status, "reason": "Played", "message": "by a test",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    let status = move |object: &Value| {
        let conditions = match object["kind"].as_str()? {
            "Certificate" | "ClusterIssuer" | "Issuer" => json!([condition("Ready", "True")]),
            "GatewayClass" => json!([condition("Accepted", "True")]),
            "CiliumLoadBalancerIPPool" => {
                let mut counted = condition("cilium.io/IPsTotal", "Unknown");
                counted["observedGeneration"] = object["metadata"]["generation"].clone();
                json!([condition("cilium.io/PoolConflict", "False"), counted])
            }
            _ => return None,
        };
        Some(json!({ "conditions": conditions }))
    };
    let config = Controllers { status_of: Box::new(status), pods: false, ..Controllers::default() };
    tokio::join!(run_controllers(client.clone(), config), bring(client.clone()), inject(client, ca));
}

/// Cilium's operator defines its kinds when it runs.
async fn bring(client: Client) {
    let operators: Api<Deployment> = Api::namespaced(client.clone(), "kube-system");
    crate::suite::wait(&operators, "cilium-operator", |found| {
        let status = found.and_then(|operator| operator.status.as_ref());
        status.is_some_and(|status| status.ready_replicas.is_some())
    })
    .await;
    let definitions: Api<CustomResourceDefinition> = Api::all(client);
    for (plural, kind, version) in [
        ("ciliumloadbalancerippools", "CiliumLoadBalancerIPPool", "v2"),
        ("ciliuml2announcementpolicies", "CiliumL2AnnouncementPolicy", "v2alpha1"),
    ] {
        let schema =
            json!({ "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } });
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{plural}.cilium.io") },
            "spec": {
                "group": "cilium.io", "scope": "Cluster", "names": { "kind": kind, "plural": plural },
                "versions": [{ "name": version, "served": true, "storage": true, "subresources": { "status": {} }, "schema": schema }],
            },
        });
        definitions
            .create(&PostParams::default(), &serde_json::from_value(definition).unwrap())
            .await
            .unwrap();
    }
}

/// cert-manager's CA injector fills in the bundle that its webhooks leave to it.
async fn inject(client: Client, ca: String) {
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        let resource =
            ApiResource::from_gvk(&GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind));
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let mut client_config = json!(null);
        while client_config.is_null() {
            let found =
                crate::suite::wait(&api, "cert-manager-webhook", |found| found.is_some()).await.unwrap();
            client_config = found.data["webhooks"].clone();
        }
        for webhook in client_config.as_array_mut().unwrap() {
            webhook["clientConfig"]["caBundle"] = json!(ca);
        }
        let change = json!({ "webhooks": client_config });
        let params = PatchParams { field_manager: Some("cainjector".to_owned()), ..PatchParams::default() };
        api.patch("cert-manager-webhook", &params, &Patch::Merge(&change)).await.unwrap();
    }
}
