//! kubectl and helm 4 run beside cozy on states of the real control plane: they
//! say ready, cozy says what is missing. (All rules, and kapp by its source:
//! `health::early`.)

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use crate::gates::{certificate, while_waiting};
use crate::made::{Made, both};
use crate::support::control_plane::ControlPlane;

/// Objects that kubectl, asked as its users ask, takes for ready too early.
fn fooled(plane: &Arc<ControlPlane>, name: &str, objects: &str, ready: &[&str], missing: &str) {
    fooled_after(plane, name, (objects, || {}), ready, missing);
}

/// The same, once something was done to them.
fn fooled_after(
    plane: &Arc<ControlPlane>,
    name: &str,
    (objects, done): (&str, impl FnOnce()),
    ready: &[&str],
    missing: &str,
) {
    let mut cloud = Made::on(Arc::clone(plane));
    cloud.component(name, "", objects);
    put(&cloud, objects);
    done();
    plane.ask(&[&["-n", name], ready].concat());
    says(&cloud, name, missing);
}

/// Puts objects there, and their namespace.
fn put(cloud: &Made, objects: &str) {
    let path = cloud.path("objects.yaml");
    fs_err::write(&path, objects).unwrap();
    let namespace = |line: &str| line.split_once("namespace: ").map(|(_, rest)| rest.to_owned());
    if let Some(rest) = objects.lines().find_map(namespace) {
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '-').collect();
        cloud.plane.kubectl(&["create", "namespace", &name]);
    }
    cloud.plane.ask(&["apply", "--server-side", "-f", path.to_str().unwrap()]);
}

/// cozy says what is missing.
fn says(cloud: &Made, name: &str, missing: &str) {
    let said = cloud.expect(&["diagnose", name], 5);
    let unfolded = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(unfolded(&said).contains(missing), "{name}: no {missing:?} in\n{said}");
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
    let timeout = "--timeout=180s";
    // A DaemonSet of which not one pod is wanted.
    let set = workload("DaemonSet", "none", "", "nodeSelector: { gpu: 'yes' },");
    fooled(&plane, "none", &set, &["rollout", "status", "daemonset/web", timeout], "no node matches it");
    // Pods that are ready, but must be so for ten minutes.
    let set = workload("StatefulSet", "young", "serviceName: web\n  minReadySeconds: 600", "");
    fooled(
        &plane,
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
        &plane,
        "short",
        &more,
        &["wait", "--for=condition=Available", "deployment/web", timeout],
        "3 of 4 replicas ready",
    );
    // A load balancer that nobody makes; kubectl has nothing to ask for but that it is there.
    let service = "apiVersion: v1\nkind: Service\nmetadata: { name: web, namespace: nowhere }\nspec: { type: LoadBalancer, ports: [{ port: 80 }] }\n";
    fooled(
        &plane,
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
    fooled(&plane, "misfit", policy, &checked, "undefined field 'nonsense'");
}

/// Installs objects as a chart, and waits for them as helm does; whatever of them is there becomes the chart's.
fn helm(cloud: &Made, name: &str, objects: &str, timeout: &str) -> Output {
    let chart = cloud.path("chart");
    fs_err::create_dir_all(chart.join("templates")).unwrap();
    fs_err::write(chart.join("Chart.yaml"), format!("apiVersion: v2\nname: {name}\nversion: 1.0.0\n"))
        .unwrap();
    fs_err::write(chart.join("templates/all.yaml"), objects).unwrap();
    let helm = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/helm/helm");
    Command::new(helm)
        .args(["install", name, "--namespace", name, "--create-namespace", "--take-ownership"])
        .args(["--wait", "--timeout", timeout])
        .arg("--kubeconfig")
        .arg(cloud.plane.kubeconfig())
        .arg(&chart)
        .env("HOME", cloud.path("home"))
        .output()
        .expect("helm is built by tests/helm/build")
}

/// Objects that helm, which waits for all of them, takes for ready too early.
fn fools_helm(plane: &Arc<ControlPlane>, name: &str, objects: &str, missing: &str) {
    let mut cloud = Made::on(Arc::clone(plane));
    cloud.component(name, "", objects);
    let installed = helm(&cloud, name, objects, "60s");
    assert!(installed.status.success(), "{name}: helm was not fooled: {}", both(&installed));
    says(&cloud, name, missing);
}

/// The same with objects that are there already, to which something was done.
fn fools_helm_after(
    plane: &Arc<ControlPlane>,
    name: &str,
    (objects, done): (&str, impl FnOnce()),
    missing: &str,
) {
    put(&Made::on(Arc::clone(plane)), objects);
    done();
    fools_helm(plane, name, objects, missing);
}

#[test]
fn helm_says_ready_too_early_and_cozy_does_not() {
    let plane = ControlPlane::own();
    let set = workload("DaemonSet", "helm-none", "", "nodeSelector: { gpu: 'yes' },");
    fools_helm(&plane, "helm-none", &set, "no node matches it");
    let service = "apiVersion: v1\nkind: Service\nmetadata: { name: web, namespace: helm-nowhere }\nspec: { type: LoadBalancer, ports: [{ port: 80 }] }\n";
    fools_helm(&plane, "helm-nowhere", service, "no load-balancer address yet");
    let policy = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: { name: helm-misfit }\nspec:\n  \
        matchConstraints: { resourceRules: [{ apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: [deployments] }] }\n  \
        validations: [{ expression: 'object.spec.nonsense > 0' }]\n";
    fools_helm(&plane, "helm-misfit", policy, "undefined field 'nonsense'");
    let ingress = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: { name: web, namespace: helm-closed }\n\
        spec: { defaultBackend: { service: { name: web, port: { number: 80 } } } }\n";
    fools_helm(&plane, "helm-closed", ingress, "no address yet");
    let api = "apiVersion: v1\nkind: Service\nmetadata: { name: api, namespace: helm-away }\nspec: { ports: [{ port: 443 }], selector: { app: api } }\n\
        ---\napiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: { name: v1.helm.example.org }\n\
        spec: { group: helm.example.org, version: v1, groupPriorityMinimum: 100, versionPriority: 1, insecureSkipTLSVerify: true, service: { namespace: helm-away, name: api } }\n";
    fools_helm(&plane, "helm-away", api, "Available=False");
}

/// A kind, `things.early.example.org`, and what else there is of its group.
fn definition(plural: &str, kind: &str, short: &str) -> String {
    let lower = kind.to_lowercase();
    format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{ name: {plural}.early.example.org }}\nspec:\n  group: early.example.org\n  scope: Namespaced\n  \
         names: {{ plural: {plural}, singular: {lower}, kind: {kind}, shortNames: [{short}] }}\n  versions:\n    - name: v1\n      served: true\n      storage: true\n      \
         subresources: {{ status: {{}} }}\n      schema: {{ openAPIV3Schema: {{ type: object, x-kubernetes-preserve-unknown-fields: true }} }}\n"
    )
}

fn thing(name: &str, size: u32) -> String {
    format!(
        "apiVersion: early.example.org/v1\nkind: Thing\nmetadata: {{ name: t, namespace: {name} }}\nspec: {{ size: {size} }}\n"
    )
}

/// Its operator says this of it.
fn status(plane: &ControlPlane, object: &[&str], status: &str) {
    let patch = format!("{{\"status\":{status}}}");
    plane.ask(&[object, &["--subresource=status", "--type=merge", "-p", &patch]].concat());
}

const READY: &str = r#"{ "type": "Ready", "status": "True" }"#;

#[test]
fn custom_resources_fool_kubectl_and_helm() {
    let plane = ControlPlane::own();
    put(&Made::on(Arc::clone(&plane)), &definition("things", "Thing", "th"));
    plane.ask(&["wait", "crd/things.early.example.org", "--for=condition=Established"]);
    plane.wait_until("things are served", || plane.kubectl(&["get", "things", "-A"]).status.success());
    let patch = |name: &str, conditions: &str| {
        status(&plane, &["-n", name, "patch", "thing", "t"], &format!("{{\"conditions\":[{conditions}]}}"));
    };
    let wait = |condition: &str| {
        [
            "wait".to_owned(),
            format!("--for=condition={condition}"),
            "thing/t".to_owned(),
            "--timeout=30s".to_owned(),
        ]
    };
    // Of two conditions the weaker one holds.
    let weaker = r#"{ "type": "Available", "status": "True" }, { "type": "Ready", "status": "False" }"#;
    let asked = wait("Available");
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    fooled_after(&plane, "weaker", (&thing("weaker", 1), || patch("weaker", weaker)), &asked, "Ready=False");
    // It is ready, as it was before the change that is under way.
    let asked = wait("Ready");
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    let busy = format!(r#"{READY}, {{ "type": "Reconciling", "status": "True", "reason": "NewSize" }}"#);
    fooled_after(
        &plane,
        "busy",
        (&thing("busy", 1), || patch("busy", &busy)),
        &asked,
        "Reconciling=True: NewSize",
    );
    // It is ready, and on its way out.
    let going = thing("going", 1)
        .replace("namespace: going", "namespace: going, finalizers: [early.example.org/stays]");
    let delete = || {
        patch("going", READY);
        plane.ask(&["-n", "going", "delete", "thing", "t", "--wait=false"]);
    };
    fooled_after(&plane, "going", (&going, delete), &asked, "it is being deleted");
    plane.ask(&[
        "-n",
        "going",
        "patch",
        "thing",
        "t",
        "--type=merge",
        "-p",
        r#"{"metadata":{"finalizers":null}}"#,
    ]);
    // It was ready before the change, and only a wait for the condition itself looks at that.
    let condition = "--for=jsonpath={.status.conditions[?(@.type=='Ready')].status}=True";
    let asked = ["wait", condition, "thing/t", "--timeout=30s"];
    let before = || {
        let ready = format!(r#"{{"observedGeneration":1,"conditions":[{READY}]}}"#);
        status(&plane, &["-n", "before", "patch", "thing", "t"], &ready);
        plane.ask(&["-n", "before", "patch", "thing", "t", "--type=merge", "-p", r#"{"spec":{"size":2}}"#]);
    };
    let older = "generation 2 not observed yet (status is of 1)";
    fooled_after(&plane, "before", (&thing("before", 1), before), &asked, older);
    // helm looks at no other conditions than those of kstatus, and not at whose generation they are.
    let weaker = r#"{ "type": "Available", "status": "False", "reason": "NoDisk" }"#;
    let name = "helm-weaker";
    fools_helm_after(&plane, name, (&thing(name, 1), || patch(name, weaker)), "Available=False: NoDisk");
    let name = "helm-stale";
    let stale = || {
        patch(name, r#"{ "type": "Ready", "status": "True", "observedGeneration": 1 }"#);
        plane.ask(&["-n", name, "patch", "thing", "t", "--type=merge", "-p", r#"{"spec":{"size":2}}"#]);
    };
    put(&Made::on(Arc::clone(&plane)), &thing(name, 1));
    stale();
    fools_helm(&plane, name, &thing(name, 2), "Ready is of an older generation");
}

/// kstatus takes what a custom resource says for current where it does not say of what it is.
#[test]
fn what_a_custom_resource_said_before_it_was_changed_is_not_taken_for_ready() {
    let plane = ControlPlane::own();
    let mut cloud = Made::on(Arc::clone(&plane));
    put(&cloud, &definition("things", "Thing", "th"));
    plane.ask(&["wait", "crd/things.early.example.org", "--for=condition=Established"]);
    plane.wait_until("things are served", || plane.kubectl(&["get", "things", "-A"]).status.success());
    let says_ready = |value: &str| {
        let ready = format!(r#"{{"conditions":[{{ "type": "Ready", "status": "{value}" }}]}}"#);
        status(&plane, &["-n", "undated", "patch", "thing", "t"], &ready);
    };
    cloud.component("undated", "deadline: 40s", &thing("undated", 1));
    let mut first = true;
    let (code, said) = while_waiting(&cloud, |line| {
        if line.contains(" waiting ") && std::mem::take(&mut first) {
            says_ready("True");
        }
    });
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("must stay so"), "{said}");
    // Its operator looks at the change a little later, and is not done at once.
    cloud.component("undated", "deadline: 40s", &thing("undated", 2));
    let (mut looked, mut done) = (false, false);
    let (code, said) = while_waiting(&cloud, |line| {
        if line.contains("its status does not say of which generation it is") && !looked {
            looked = true;
            says_ready("False");
        } else if line.contains("Ready=False") && !done {
            done = true;
            says_ready("True");
        }
    });
    assert_eq!((code, looked, done), (Some(0), true, true), "{said}");
}

#[test]
fn what_the_cluster_itself_knows_fools_kubectl() {
    let plane = ControlPlane::own();
    let timeout = "--timeout=180s";
    // The new revision waits until its rollout is let go, and the old pods are all available.
    let web = workload("Deployment", "paused", "", "");
    let other = workload("Deployment", "paused", "paused: true", "hostname: other,");
    let cloud = Made::on(Arc::clone(&plane));
    put(&cloud, &web);
    plane.ask(&["-n", "paused", "wait", "--for=condition=Available", "deployment/web", timeout]);
    let seen = || {
        drop(plane.ask(&[
            "-n",
            "paused",
            "wait",
            "--for=jsonpath={.status.observedGeneration}=2",
            "deployment/web",
            timeout,
        ]));
    };
    let available = ["wait", "--for=condition=Available", "deployment/web", timeout];
    fooled_after(&plane, "paused", (&other, seen), &available, "0 of 1 replicas updated");
    // A kind that is served, under names that another one has taken.
    let (taken, ours) = (definition("gadgets", "Gadget", "gg"), definition("gizmos", "Gizmo", "gz"));
    put(&cloud, &format!("{taken}---\n{ours}"));
    for name in ["gadgets", "gizmos"] {
        plane.ask(&["wait", &format!("crd/{name}.early.example.org"), "--for=condition=Established"]);
    }
    let crd = "crd/gizmos.early.example.org";
    let refused = || drop(plane.ask(&["wait", crd, "--for=condition=NamesAccepted=False", timeout]));
    let both = definition("gizmos", "Gizmo", "gg");
    let established = ["wait", "--for=condition=Established", crd, timeout];
    fooled_after(&plane, "names", (&both, refused), &established, "NamesAccepted=False: ShortNamesConflict");
    // A node that is ready, and whose network is not.
    let node = "apiVersion: v1\nkind: Node\nmetadata: { name: unconnected }\n";
    let disconnect = || {
        plane.ask(&["wait", "node/unconnected", "--for=condition=Ready", timeout]);
        let condition = r#"{"status":{"conditions":[{"type":"NetworkUnavailable","status":"True","reason":"NoRoutes"}]}}"#;
        plane.ask(&["patch", "node", "unconnected", "--subresource=status", "-p", condition]);
        let tainted = "--for=jsonpath={.spec.taints[0].key}=node.kubernetes.io/network-unavailable";
        plane.ask(&["wait", "node/unconnected", tainted, timeout]);
    };
    let ready = ["wait", "--for=condition=Ready", "node/unconnected", timeout];
    fooled_after(
        &plane,
        "network",
        (node, disconnect),
        &ready,
        "taint node.kubernetes.io/network-unavailable",
    );
    // Its pods are ready as soon as they are started, and crash a moment later.
    crashes_after_it_was_ready(&plane);
}

/// kubectl says that a rollout is done; cozy looks a little longer, and says why it is not.
fn crashes_after_it_was_ready(plane: &Arc<ControlPlane>) {
    let mut cloud = Made::on(Arc::clone(plane));
    cloud.component("crashes", "deadline: 20s", &workload("Deployment", "crashes", "", ""));
    let mut crashed = false;
    let (code, said) = while_waiting(&cloud, |line| {
        if !line.contains("must stay so") || crashed {
            return;
        }
        crashed = true;
        plane.ask(&["-n", "crashes", "rollout", "status", "deployment/web", "--timeout=30s"]);
        let pod = plane.ask(&["-n", "crashes", "get", "pods", "-o", "jsonpath={.items[0].metadata.name}"]);
        let container = r#"{ "name": "c", "image": "x", "imageID": "", "ready": false, "restartCount": 1,
            "state": { "waiting": { "reason": "CrashLoopBackOff" } },
            "lastState": { "terminated": { "exitCode": 2, "startedAt": null, "finishedAt": null } } }"#;
        let not =
            r#"[{ "type": "Ready", "status": "False" }, { "type": "ContainersReady", "status": "False" }]"#;
        let now = format!(r#"{{ "conditions": {not}, "containerStatuses": [{container}] }}"#);
        status(plane, &["-n", "crashes", "patch", "pod", &pod], &now);
    });
    assert_eq!((code, crashed), (Some(5), true), "{said}");
    assert!(said.contains("CrashLoopBackOff (restarts 1, exit 2)"), "{said}");
}

#[test]
fn helm_says_ready_too_early_of_what_runs_and_is_called() {
    let plane = ControlPlane::own();
    let nowhere = "nodeSelector: { gpu: 'yes' },";
    let set = workload(
        "StatefulSet",
        "helm-delete",
        "serviceName: web\n  updateStrategy: { type: OnDelete }",
        nowhere,
    );
    fools_helm(&plane, "helm-delete", &set, "0 of 1 replicas ready");
    let set = workload("StatefulSet", "helm-young", "serviceName: web\n  minReadySeconds: 600", "");
    fools_helm(&plane, "helm-young", &set, "0 of 1 replicas available");
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: { name: job, namespace: helm-runs }\nspec:\n  template:\n    spec:\n      \
        restartPolicy: Never\n      nodeSelector: { gpu: 'yes' }\n      containers: [{ name: c, image: x }]\n";
    fools_helm(&plane, "helm-runs", job, "0 of 1 completions");
    let service = "apiVersion: v1\nkind: Service\nmetadata: { name: hook, namespace: helm-hook }\nspec: { ports: [{ port: 443 }], selector: { app: hook } }\n";
    for kind in ["Validating", "Mutating"] {
        let name = format!("helm-{}", kind.to_lowercase());
        let hook = format!(
            "{service}---\napiVersion: admissionregistration.k8s.io/v1\nkind: {kind}WebhookConfiguration\nmetadata: {{ name: {name} }}\n\
             webhooks:\n  - name: hook.example.org\n    sideEffects: None\n    admissionReviewVersions: [v1]\n    \
             rules: [{{ apiGroups: [x.example.org], apiVersions: [v1], operations: ['*'], resources: ['*'] }}]\n    \
             clientConfig: {{ caBundle: CA, service: {{ namespace: {name}, name: hook }} }}\n"
        )
        .replace("helm-hook", &name);
        fools_helm(
            &plane,
            &name,
            &hook.replace("caBundle: CA, ", ""),
            "webhook hook.example.org has no caBundle yet",
        );
        let other = format!("{name}-alone");
        let alone = hook.replace(&name, &other).replace("CA", &certificate());
        fools_helm(&plane, &other, &alone, "has no ready endpoint");
    }
    // A kind of the Gateway API, whose CRDs are no part of a cluster.
    let gateways = definition("gateways", "Gateway", "gtw")
        .replace("early.example.org", "gateway.networking.k8s.io")
        .replace(
            "metadata: { name:",
            "metadata: { annotations: { api-approved.kubernetes.io: unapproved }, name:",
        );
    put(&Made::on(Arc::clone(&plane)), &gateways);
    plane.ask(&["wait", "crd/gateways.gateway.networking.k8s.io", "--for=condition=Established"]);
    plane.wait_until("gateways are served", || plane.kubectl(&["get", "gateways", "-A"]).status.success());
    let gateway = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: g, namespace: helm-gateway }\nspec: {}\n";
    let accepted = r#"{"conditions":[{ "type": "Accepted", "status": "True" }, { "type": "Programmed", "status": "Unknown" }]}"#;
    let accept = || status(&plane, &["-n", "helm-gateway", "patch", "gateway", "g"], accepted);
    fools_helm_after(&plane, "helm-gateway", (gateway, accept), "Programmed=Unknown");
    // A pod that was put off its node, and that nobody makes again.
    let pod = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{ name: p, namespace: helm-evicted }}\nspec: {{ {nowhere} containers: [{{ name: c, image: x }}] }}\n"
    );
    let evict = || {
        status(
            &plane,
            &["-n", "helm-evicted", "patch", "pod", "p"],
            r#"{"phase":"Failed","reason":"Evicted"}"#,
        );
    };
    fools_helm_after(&plane, "helm-evicted", (&pod, evict), "Evicted: to be replaced");
}

#[test]
fn helm_and_kubectl_wait_for_ever_and_cozy_does_not() {
    let plane = ControlPlane::own();
    // Nobody uses it yet, and its class waits for that.
    let claim = "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: { name: later }\nprovisioner: example.org/none\nvolumeBindingMode: WaitForFirstConsumer\n\
        ---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: { name: data, namespace: patient }\nspec: { storageClassName: later, accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } }\n";
    let mut cloud = Made::on(Arc::clone(&plane));
    cloud.component("patient", "", claim);
    let waited = helm(&cloud, "patient", claim, "5s");
    assert!(!waited.status.success() && both(&waited).contains("deadline"), "{}", both(&waited));
    assert!(cloud.expect(&["diagnose", "patient"], 0).contains("all ready"));
    // Only its user replaces the pods: the rollout is as far as it goes by itself.
    let set = |pod: &str| {
        workload("StatefulSet", "ondelete", "serviceName: web\n  updateStrategy: { type: OnDelete }", pod)
    };
    cloud = Made::on(Arc::clone(&plane));
    cloud.component("ondelete", "", &set("hostname: other,"));
    put(&cloud, &set(""));
    plane.ask(&[
        "-n",
        "ondelete",
        "wait",
        "statefulset/web",
        "--for=jsonpath={.status.availableReplicas}=1",
        "--timeout=180s",
    ]);
    put(&cloud, &set("hostname: other,"));
    plane.ask(&[
        "-n",
        "ondelete",
        "wait",
        "statefulset/web",
        "--for=jsonpath={.status.observedGeneration}=2",
        "--timeout=180s",
    ]);
    assert!(
        !plane
            .kubectl(&["-n", "ondelete", "rollout", "status", "statefulset/web", "--timeout=3s"])
            .status
            .success()
    );
    assert!(cloud.expect(&["diagnose", "ondelete"], 0).contains("all ready"));
}
