//! `cozy diagnose` on the real API server: each cause is put there, by the
//! real controllers and scheduler where they can make it, else into the status
//! that a kubelet would write, and must be named with its fix.

use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use crate::answer::Webhook;
use crate::made::Made;
use crate::support::control_plane::ControlPlane;

/// Nothing is installed here: other tests' runs would prune it.
fn plane() -> Arc<ControlPlane> {
    static PLANE: OnceLock<Arc<ControlPlane>> = OnceLock::new();
    Arc::clone(PLANE.get_or_init(ControlPlane::own))
}

/// A component, whose objects are put there by kubectl as far as `there` says.
struct Case {
    name: &'static str,
    cloud: Made,
}

impl Case {
    fn new(name: &'static str, more: &str, objects: &str) -> Self {
        let mut cloud = Made::on(plane());
        cloud.component(name, more, objects);
        plane().ask(&["create", "namespace", name]);
        Self { name, cloud }
    }

    /// Puts objects there.
    fn put(self, objects: &str) -> Self {
        let path = self.cloud.path("put.yaml");
        fs_err::write(&path, objects).unwrap();
        plane().ask(&["apply", "--server-side", "-f", path.to_str().unwrap()]);
        self
    }

    /// Waits as kubectl does.
    fn wait(self, object: &str, what: &str) -> Self {
        plane().ask(&["-n", self.name, "wait", object, what, "--timeout=180s"]);
        self
    }

    /// Writes what a kubelet would into the only pod's status.
    fn kubelet(self, status: &Value) -> Self {
        let name = plane().ask(&["-n", self.name, "get", "pods", "-o", "jsonpath={.items[0].metadata.name}"]);
        let not_ready =
            json!([{ "type": "Ready", "status": "False" }, { "type": "ContainersReady", "status": "False" }]);
        let mut status = status.clone();
        status["conditions"] = not_ready;
        let patch = json!({ "status": status }).to_string();
        plane().ask(&[
            "-n",
            self.name,
            "patch",
            "pod",
            &name,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ]);
        self.wait("deployment/web", "--for=jsonpath={.status.unavailableReplicas}=1")
    }

    /// The diagnosis has all of these, and the exit code says unhealthy.
    fn says(&self, words: &[&str]) -> String {
        let said = self.cloud.expect(&["diagnose", self.name], 5);
        // Long lines are folded.
        let unfolded = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        for words in words {
            assert!(unfolded(&said).contains(&unfolded(words)), "{}: no {words:?} in\n{said}", self.name);
        }
        said
    }
}

fn deployment(namespace: &str, pod: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: web, namespace: {namespace} }}\nspec:\n  selector: {{ matchLabels: {{ app: web }} }}\n  \
         template:\n    metadata: {{ labels: {{ app: web }} }}\n    spec: {pod}\n"
    )
}

const POD: &str = "{ containers: [{ name: main, image: example.org/web }] }";

fn running(name: &'static str) -> Case {
    let objects = deployment(name, POD);
    Case::new(name, "", &objects).put(&objects).wait("deployment/web", "--for=condition=Available")
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({ "phase": "Pending", "containerStatuses": [{
        "name": "main", "image": "example.org/web", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "waiting": { "reason": reason, "message": message } } }] })
}

#[test]
fn containers_that_do_not_run_are_named_with_their_last_words_and_without_secrets() {
    let case = running("crash").put(
        "apiVersion: v1\nkind: Secret\nmetadata: { name: s, namespace: crash }\nstringData: { password: canary-hunter2 }\n",
    );
    let case = case.kubelet(&json!({ "phase": "Running", "containerStatuses": [{
        "name": "main", "image": "example.org/web", "imageID": "", "ready": false, "restartCount": 7,
        "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 5m0s" } },
        "lastState": { "terminated": { "exitCode": 1, "reason": "Error", "message": "login with canary-hunter2: exec format error",
            "startedAt": null, "finishedAt": null } } }] }));
    let said = case.says(&[
        "✗ crash",
        "└ Deployment crash/web",
        "└ Pod crash/web-",
        "CrashLoopBackOff (restarts 7, exit 1)",
        "last log  login with [secret]: exec format error",
        "fix       mend what container main",
    ]);
    assert!(!said.contains("canary"), "{said}");
    // The same as data, and as an archive, in neither of which the secret is.
    let archive = case.cloud.path("archive.tar.zst");
    let output = case
        .cloud
        .command(&["diagnose", "crash", "-o", "json", "--archive", archive.to_str().unwrap()])
        .output()
        .unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&document["schema"], &document["healthy"]), (&json!("cozy/v1/diagnosis"), &json!(false)));
    assert!(document["components"][0]["failures"][0]["chain"].as_array().unwrap().len() >= 3, "{document}");
    let mut all = Vec::new();
    std::io::Read::read_to_end(
        &mut zstd::Decoder::new(fs_err::File::open(&archive).unwrap()).unwrap(),
        &mut all,
    )
    .unwrap();
    let all = String::from_utf8_lossy(&all);
    assert!(
        all.contains("diagnosis.json")
            && all.contains("namespaces/crash/pods.json")
            && all.contains("[secret]")
    );
    assert!(!all.contains("canary") && !document.to_string().contains("canary"));
}

#[test]
fn images_that_cannot_be_pulled_are_told_apart() {
    let case = running("images");
    let rows = [
        (
            "ErrImagePull",
            "failed to resolve reference \"example.org/web:9\": example.org/web:9: manifest unknown",
            "the image is not there",
        ),
        (
            "ImagePullBackOff",
            "Back-off pulling image: unexpected status: 401 Unauthorized",
            "the registry wants credentials",
        ),
        (
            "ErrImagePull",
            "toomanyrequests: You have reached your pull rate limit",
            "the registry's rate limit is used up",
        ),
    ];
    let case = rows.into_iter().fold(case, |case, (reason, message, says)| {
        let case = case.kubelet(&waiting(reason, message));
        case.says(&[&format!("container main: {reason}"), says]);
        case
    });
    // A mount that fails is said by an event alone.
    let pod = plane().ask(&["-n", "images", "get", "pods", "-o", "jsonpath={.items[0].metadata.name}"]);
    let case = case.kubelet(&waiting("ContainerCreating", "")).put(&format!(
        "apiVersion: v1\nkind: Event\nmetadata: {{ name: mount, namespace: images }}\ntype: Warning\nreason: FailedMount\n\
         message: 'MountVolume.SetUp failed for volume \"keys\" : secret \"web-tls\" not found'\n\
         involvedObject: {{ kind: Pod, namespace: images, name: {pod} }}\n"
    ));
    case.says(&["FailedMount: MountVolume.SetUp failed", "a Secret is not there: make Secret web-tls"]);
}

#[test]
fn pods_that_no_node_takes_are_told_apart() {
    let unscheduled = |name: &'static str, pod: &str, before: &str, says: &[&str]| {
        let objects = deployment(name, pod);
        let case = Case::new(name, "", &objects).put(&format!("{before}---\n{objects}"));
        let case = case.wait("deployment/web", "--for=jsonpath={.status.unavailableReplicas}=1");
        plane().ask(&["-n", name, "wait", "pod", "-l", "app=web", "--for=condition=PodScheduled=False"]);
        case.says(says);
    };
    unscheduled(
        "cpu",
        "{ containers: [{ name: main, image: x, resources: { requests: { cpu: '900' } } }] }",
        "",
        &["Insufficient cpu", "no node has that much CPU left"],
    );
    unscheduled(
        "taint",
        "{ nodeSelector: { only: taint }, containers: [{ name: main, image: x }] }",
        "apiVersion: v1\nkind: Node\nmetadata: { name: taint-1, labels: { only: taint } }\nspec: { taints: [{ key: dedicated, value: gpu, effect: NoSchedule }] }\n",
        &[
            "untolerated taint",
            "node taint-1 has taint dedicated=gpu:NoSchedule",
            "tolerate a taint of these nodes",
        ],
    );
    unscheduled(
        "zone",
        "{ containers: [{ name: main, image: x }], volumes: [{ name: v, persistentVolumeClaim: { claimName: data } }] }",
        "apiVersion: v1\nkind: PersistentVolume\nmetadata: { name: zone-pv }\nspec:\n  capacity: { storage: 1Gi }\n  accessModes: [ReadWriteOnce]\n  storageClassName: ''\n  \
         local: { path: /x }\n  claimRef: { namespace: zone, name: data }\n  \
         nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [{ key: zone, operator: In, values: [far] }] }] } }\n\
         ---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: { name: data, namespace: zone }\nspec: { storageClassName: '', volumeName: zone-pv, accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } }\n",
        &["in another zone or on another node"],
    );
}

#[test]
fn claims_without_class_or_provisioner_are_told_apart() {
    let claim = |namespace: &str, class: &str| {
        format!(
            "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{ name: data, namespace: {namespace} }}\nspec: {{ {class}accessModes: [ReadWriteOnce], resources: {{ requests: {{ storage: 1Gi }} }} }}\n"
        )
    };
    let none = claim("noclass", "");
    Case::new("noclass", "", &none).put(&none).says(&["it names no StorageClass", "make one the default"]);
    let gone = claim("goneclass", "storageClassName: gone, ");
    Case::new("goneclass", "", &gone).put(&gone).says(&["└ StorageClass gone", "make StorageClass gone"]);
    let slow = format!(
        "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {{ name: slow }}\nprovisioner: csi.example.org\n---\n{}",
        claim("provisioner", "storageClassName: slow, ")
    );
    Case::new("provisioner", "", &slow).put(&slow).says(&[
        "provisioner csi.example.org: not registered",
        "the pods of provisioner csi.example.org must run",
    ]);
}

#[test]
fn refusals_of_pods_are_told_apart() {
    let objects = deployment("quota", POD);
    let quota = "apiVersion: v1\nkind: ResourceQuota\nmetadata: { name: none, namespace: quota }\nspec: { hard: { pods: '0' } }\n";
    let case = Case::new("quota", "", &objects)
        .put(quota)
        .wait("resourcequota/none", "--for=jsonpath={.status.hard.pods}=0");
    let case = case.put(&objects).wait("deployment/web", "--for=condition=ReplicaFailure");
    let never = "ResourceQuota none never lets one of its pods in: it asks for 1 pods, of 0";
    case.says(&[never, "exceeded quota: none", "a quota is used up: raise ResourceQuota none"]);
    let objects = deployment("security", POD);
    let case = Case::new("security", "", &objects)
        .put("apiVersion: v1\nkind: Namespace\nmetadata: { name: security, labels: { pod-security.kubernetes.io/enforce: restricted } }\n");
    let case = case.put(&objects).wait("deployment/web", "--for=condition=ReplicaFailure");
    case.says(&["violates PodSecurity \"restricted:latest\"", "Pod Security refuses the pod"]);
}

fn config(namespace: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: config, namespace: {namespace} }}\n")
}

fn guarded(name: &'static str, client: &str) -> Case {
    Case::new(name, "", &config(name)).put(&format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {{ name: {name} }}\n\
         webhooks:\n  - name: guard.example.org\n    sideEffects: None\n    admissionReviewVersions: [v1]\n    timeoutSeconds: 3\n    \
         namespaceSelector: {{ matchLabels: {{ kubernetes.io/metadata.name: {name} }} }}\n    \
         rules: [{{ apiGroups: [''], apiVersions: [v1], operations: ['*'], resources: [configmaps] }}]\n    clientConfig: {client}\n"
    ))
}

/// Until the API server knows the webhook: it hears of it a little later.
fn once_it_is_called(case: &Case, words: &[&str]) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while case.cloud.expect(&["diagnose", case.name], 5).contains("it is not there") {
        assert!(std::time::Instant::now() < end, "{} is never called", case.name);
    }
    case.says(words);
}

#[test]
fn webhooks_that_stand_in_the_way_are_told_apart() {
    let nobody = guarded("nobody", "{ service: { namespace: nobody, name: guard } }")
        .put("apiVersion: v1\nkind: Service\nmetadata: { name: guard, namespace: nobody }\nspec: { ports: [{ port: 443 }], selector: { app: guard } }\n");
    once_it_is_called(&nobody, &["failed calling webhook", "behind webhook guard.example.org"]);
    let (good, other, old) = (Webhook::start(false), Webhook::start(false), Webhook::start(true));
    let client = |server: &Webhook, ca: &str| {
        format!("{{ url: 'https://127.0.0.1:{}/', caBundle: {ca} }}", server.port)
    };
    once_it_is_called(
        &guarded("refuses", &client(&good, &good.ca)),
        &[
            "denied the request: not on a Friday",
            "a webhook refuses it: change the object as webhook guard.example.org asks for",
        ],
    );
    once_it_is_called(
        &guarded("wrongca", &client(&good, &other.ca)),
        &["x509:", "put the CA that signed the certificate of webhook guard.example.org"],
    );
    once_it_is_called(
        &guarded("expired", &client(&old, &old.ca)),
        &["certificate has expired", "renew the certificate of webhook guard.example.org"],
    );
    let policy = Case::new("policy", "", &config("policy")).put(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: { name: never }\nspec:\n  \
         matchConstraints: { resourceRules: [{ apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [configmaps] }] }\n  \
         validations: [{ expression: 'false', message: never here }]\n\
         ---\napiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: { name: never }\nspec:\n  policyName: never\n  \
         validationActions: [Deny]\n  matchResources: { namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: policy } } }\n",
    );
    once_it_is_called(
        &policy,
        &["never here", "an admission policy denies it: change the object as policy never asks for"],
    );
}

#[test]
fn rights_that_are_missing_are_named() {
    let mut case = Case::new("rights", "", &config("rights"));
    let path = case.cloud.path("kubeconfig");
    let text = fs_err::read_to_string(plane().kubeconfig()).unwrap();
    fs_err::write(&path, text.replace("user: { client-certificate", "user: { as: jane, client-certificate"))
        .unwrap();
    case.cloud.kubeconfig = Some(path);
    case.says(&[
        "User \"jane\" cannot get resource \"configmaps\"",
        "RBAC denies it: give jane a Role and a RoleBinding",
    ]);
}

fn definition(plural: &str, singular: &str, kind: &str, versions: &[&str]) -> String {
    let versions: Vec<String> = versions
        .iter()
        .enumerate()
        .map(|(index, version)| {
            format!("    - {{ name: {version}, served: true, storage: {}, subresources: {{ status: {{}} }}, schema: {{ openAPIV3Schema: {{ type: object, x-kubernetes-preserve-unknown-fields: true }} }} }}\n", index == 0)
        })
        .collect();
    format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{ name: {plural}.diagnosis.example.org }}\nspec:\n  group: diagnosis.example.org\n  scope: Namespaced\n  \
         names: {{ plural: {plural}, singular: {singular}, kind: {kind} }}\n  versions:\n{}",
        versions.concat()
    )
}

#[test]
fn definitions_in_each_others_way_are_named() {
    let ours = definition("gizmos", "gadget", "Gadget", &["v1"]);
    let case = Case::new("names", "", &ours).put(&definition("gadgets", "gadget", "Gadget", &["v1"]));
    plane().ask(&["wait", "crd/gadgets.diagnosis.example.org", "--for=condition=Established"]);
    let case = case.put(&ours);
    plane().ask(&["wait", "crd/gizmos.diagnosis.example.org", "--for=condition=NamesAccepted=False"]);
    case.says(&[
        "└ CustomResourceDefinition gadgets.diagnosis.example.org",
        "remove CustomResourceDefinition gadgets.diagnosis.example.org",
    ]);
    let case = Case::new("stored", "", &definition("parts", "part", "Part", &["v2"])).put(&definition(
        "parts",
        "part",
        "Part",
        &["v1"],
    ));
    plane().ask(&["wait", "crd/parts.diagnosis.example.org", "--for=condition=Established"]);
    case.says(&["status.storedVersions[0]", "keep version v1 in spec.versions"]);
}

#[test]
fn who_holds_a_namespace_is_named() {
    let case = Case::new("stuck", "", &config("stuck"))
        .put("apiVersion: v1\nkind: ConfigMap\nmetadata: { name: held, namespace: stuck, finalizers: [example.org/guard] }\n");
    plane().ask(&["delete", "namespace", "stuck", "--wait=false"]);
    plane().ask(&[
        "wait",
        "namespace/stuck",
        "--for=condition=NamespaceFinalizersRemaining",
        "--timeout=180s",
    ]);
    case.says(&[
        "it is being deleted",
        "└ ConfigMap stuck/held",
        "held by finalizer example.org/guard",
        "whoever set finalizer example.org/guard must run",
    ]);
    plane().ask(&[
        "-n",
        "stuck",
        "patch",
        "configmap",
        "held",
        "--type=merge",
        "-p",
        r#"{"metadata":{"finalizers":null}}"#,
    ]);
}

#[test]
fn what_nobody_stands_behind_is_named() {
    let service = "apiVersion: v1\nkind: Service\nmetadata: { name: web, namespace: lonely }\nspec: { ports: [{ port: 80 }], selector: { app: nobody } }\n";
    Case::new("lonely", "gates: [{ cel: 'true', of: Service/web }]", service).put(service).says(&[
        "no ready endpoint yet",
        "no pod has the labels app=nobody",
        "start the pods of Service lonely/web",
    ]);
    let api = "apiVersion: v1\nkind: Service\nmetadata: { name: api, namespace: away }\nspec: { ports: [{ port: 443 }], selector: { app: api } }\n\
        ---\napiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: { name: v1.away.example.org }\n\
        spec: { group: away.example.org, version: v1, groupPriorityMinimum: 100, versionPriority: 1, insecureSkipTLSVerify: true, service: { namespace: away, name: api } }\n";
    let case = Case::new("away", "", api).put(api);
    plane().ask(&[
        "wait",
        "apiservice/v1.away.example.org",
        "--for=condition=Available=False",
        "--timeout=30s",
    ]);
    case.says(&[
        "└ APIService v1.away.example.org",
        "└ Service away/api",
        "start the pods of Service away/api",
    ]);
    plane().ask(&["delete", "apiservice", "v1.away.example.org"]);
    let set = "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: { name: agent, namespace: few }\nspec:\n  selector: { matchLabels: { app: agent } }\n  \
        template: { metadata: { labels: { app: agent } }, spec: { nodeSelector: { gpu: 'yes' }, containers: [{ name: c, image: x }] } }\n";
    let case = Case::new("few", "", set)
        .put(set)
        .wait("daemonset/agent", "--for=jsonpath={.status.observedGeneration}=1");
    case.says(&["no node matches it", "nodeSelector gpu=yes matches 0 of", "label the nodes"]);
}

#[test]
fn an_operator_that_does_not_act_is_named() {
    let crd = definition("widgets", "widget", "Widget", &["v1"]);
    let widget =
        "apiVersion: diagnosis.example.org/v1\nkind: Widget\nmetadata: { name: w, namespace: operator }\n";
    let objects = format!("{crd}---\n{}---\n{widget}", deployment("operator", POD));
    let gate = "gates: [{ cel: object.status.ready, of: Widget/w }]";
    let case =
        Case::new("operator", gate, &objects).put(&format!("{crd}---\n{}", deployment("operator", POD)));
    plane().ask(&["wait", "crd/widgets.diagnosis.example.org", "--for=condition=Established"]);
    let case = case.wait("deployment/web", "--for=condition=Available").put(widget);
    case.says(&[
        "no field `status`",
        "└ Deployment operator/web",
        "it runs, and has not acted on this object",
        "look at the log of Deployment operator/web",
    ]);
}

/// kwok makes nodes ready at once, so it is kept from this one by a policy.
#[test]
fn a_node_that_is_not_ready_is_named() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: { name: p, namespace: lame }\nspec: { nodeName: lame-1, containers: [{ name: c, image: x }] }\n";
    let node = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{ name: {name} }}\nspec: {{ taints: [{{ key: lame, effect: NoSchedule }}] }}\n"
        )
    };
    let case = Case::new("lame", "", pod).put(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: { name: lame }\nspec:\n  \
         matchConstraints: { resourceRules: [{ apiGroups: [''], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [nodes, nodes/status] }] }\n  \
         validations:\n    - expression: >-\n        object.metadata.name != 'lame-probe' && (object.metadata.name != 'lame-1' || !has(object.status.conditions) ||\n        \
         !object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True'))\n\
         ---\napiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: { name: lame }\n\
         spec: { policyName: lame, validationActions: [Deny] }\n",
    );
    let probe = case.cloud.path("probe.yaml");
    fs_err::write(&probe, node("lame-probe")).unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while plane().kubectl(&["create", "--dry-run=server", "-f", probe.to_str().unwrap()]).status.success() {
        assert!(std::time::Instant::now() < end, "the policy is never asked");
    }
    let case = case.put(&node("lame-1")).put(pod);
    let lost = r#"{"status":{"conditions":[{"type":"Ready","status":"False","reason":"KubeletNotReady","message":"PLEG is not healthy"}]}}"#;
    plane().ask(&["patch", "node", "lame-1", "--subresource=status", "-p", lost]);
    let unready = r#"{"status":{"conditions":[{"type":"Ready","status":"False"}]}}"#;
    plane().ask(&["-n", "lame", "patch", "pod", "p", "--subresource=status", "-p", unready]);
    case.says(&["└ Node lame-1", "PLEG is not healthy", "look at the kubelet of lame-1"]);
}

#[test]
fn a_healthy_component_ends_with_0() {
    let said = running("healthy").cloud.expect(&["diagnose", "healthy"], 0);
    assert!(said.contains("✓ healthy: 2 objects, all ready"), "{said}");
}
