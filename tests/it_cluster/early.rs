//! kubectl and helm 4 run beside cozy on states of the real control plane: they
//! say ready, cozy says what is missing. (All rules, and kapp by its source:
//! `health::early`.)

use std::path::Path;
use std::process::Command;

use crate::made::{Made, both};
use crate::support::control_plane::ControlPlane;

/// Objects that kubectl, asked as its users ask, takes for ready too early.
fn fooled(plane: &'static ControlPlane, name: &str, objects: &str, ready: &[&str], missing: &str) {
    let mut cloud = Made::on(plane);
    cloud.component(name, "", objects);
    let path = cloud.path("objects.yaml");
    fs_err::write(&path, objects).unwrap();
    plane.kubectl(&["create", "namespace", name]);
    plane.ask(&["apply", "--server-side", "-f", path.to_str().unwrap()]);
    plane.ask(&[&["-n", name], ready].concat());
    let said = cloud.expect(&["diagnose", name], 5);
    assert!(said.contains(missing), "{name}: no {missing:?} in\n{said}");
}

fn workload(kind: &str, name: &str, spec: &str, pod: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{ name: web, namespace: {name} }}\nspec:\n  {spec}\n  selector: {{ matchLabels: {{ app: web }} }}\n  \
         template: {{ metadata: {{ labels: {{ app: web }} }}, spec: {{ {pod} containers: [{{ name: c, image: x }}] }} }}\n"
    )
}

#[test]
fn kubectl_says_ready_too_early_and_cozy_does_not() {
    let plane = ControlPlane::own();
    let timeout = "--timeout=60s";
    // A DaemonSet of which not one pod is wanted.
    let set = workload("DaemonSet", "none", "", "nodeSelector: { gpu: 'yes' },");
    fooled(plane, "none", &set, &["rollout", "status", "daemonset/web", timeout], "no node matches it");
    // Pods that are ready, but must be so for ten minutes.
    let set = workload("StatefulSet", "young", "serviceName: web\n  minReadySeconds: 600", "");
    fooled(
        plane,
        "young",
        &set,
        &["rollout", "status", "statefulset/web", timeout],
        "0 of 1 replicas available",
    );
    // Available with a pod too few: one host port for each of the three nodes, and four pods.
    let more = workload("Deployment", "short", "replicas: 4", "").replace(
        "containers: [{ name: c, image: x }]",
        "containers: [{ name: c, image: x, ports: [{ containerPort: 1, hostPort: 1 }] }]",
    );
    fooled(
        plane,
        "short",
        &more,
        &["wait", "--for=condition=Available", "deployment/web", timeout],
        "3 of 4 replicas ready",
    );
    // A load balancer that nobody makes; kubectl has nothing to ask for but that it is there.
    let service = "apiVersion: v1\nkind: Service\nmetadata: { name: web, namespace: nowhere }\nspec: { type: LoadBalancer, ports: [{ port: 80 }] }\n";
    fooled(
        plane,
        "nowhere",
        service,
        &["wait", "--for=create", "service/web", timeout],
        "no load-balancer address yet",
    );
    // A policy whose expression does not fit what it judges.
    let policy = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: { name: misfit }\nspec:\n  \
        matchConstraints: { resourceRules: [{ apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: [deployments] }] }\n  \
        validations: [{ expression: 'object.spec.nonsense > 0' }]\n";
    let checked = [
        "wait",
        "--for=jsonpath={.status.observedGeneration}=1",
        "validatingadmissionpolicy/misfit",
        timeout,
    ];
    fooled(plane, "misfit", policy, &checked, "undefined field 'nonsense'");
}

/// Objects that helm, which waits for all of them, takes for ready too early.
fn fools_helm(plane: &'static ControlPlane, name: &str, objects: &str, missing: &str) {
    let mut cloud = Made::on(plane);
    cloud.component(name, "", objects);
    let chart = cloud.path("chart");
    fs_err::create_dir_all(chart.join("templates")).unwrap();
    fs_err::write(chart.join("Chart.yaml"), format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\n"))
        .unwrap();
    fs_err::write(chart.join("templates/all.yaml"), objects).unwrap();
    let helm = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/helm/helm");
    let installed = Command::new(helm)
        .args(["install", name, "--namespace", name, "--create-namespace", "--wait", "--timeout", "60s"])
        .arg("--kubeconfig")
        .arg(plane.kubeconfig())
        .arg(&chart)
        .env("HOME", cloud.path("home"))
        .output()
        .expect("helm is built by tests/helm/build");
    assert!(installed.status.success(), "{name}: helm was not fooled: {}", both(&installed));
    let said = cloud.expect(&["diagnose", name], 5);
    assert!(said.contains(missing), "{name}: no {missing:?} in\n{said}");
}

#[test]
fn helm_says_ready_too_early_and_cozy_does_not() {
    let plane = ControlPlane::own();
    let set = workload("DaemonSet", "helm-none", "", "nodeSelector: { gpu: 'yes' },");
    fools_helm(plane, "helm-none", &set, "no node matches it");
    let service = "apiVersion: v1\nkind: Service\nmetadata: { name: web, namespace: helm-nowhere }\nspec: { type: LoadBalancer, ports: [{ port: 80 }] }\n";
    fools_helm(plane, "helm-nowhere", service, "no load-balancer address yet");
    let policy = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: { name: helm-misfit }\nspec:\n  \
        matchConstraints: { resourceRules: [{ apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: [deployments] }] }\n  \
        validations: [{ expression: 'object.spec.nonsense > 0' }]\n";
    fools_helm(plane, "helm-misfit", policy, "undefined field 'nonsense'");
    let ingress = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: { name: web, namespace: helm-closed }\n\
        spec: { defaultBackend: { service: { name: web, port: { number: 80 } } } }\n";
    fools_helm(plane, "helm-closed", ingress, "no address yet");
    let api = "apiVersion: v1\nkind: Service\nmetadata: { name: api, namespace: helm-away }\nspec: { ports: [{ port: 443 }], selector: { app: api } }\n\
        ---\napiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: { name: v1.helm.example.org }\n\
        spec: { group: helm.example.org, version: v1, groupPriorityMinimum: 100, versionPriority: 1, insecureSkipTLSVerify: true, service: { namespace: helm-away, name: api } }\n";
    fools_helm(plane, "helm-away", api, "Available=False");
}
