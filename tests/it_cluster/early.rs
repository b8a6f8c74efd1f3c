//! kubectl run beside cozy on states of the real control plane: kubectl says
//! ready, cozy says what is missing. (helm 4 and kapp by their sources:
//! `health::early`.)

use crate::made::Made;
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
