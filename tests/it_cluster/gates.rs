//! Gates on real control planes: an install prunes what other clouds made, so
//! those on one go one after the other.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::made::Made;
use crate::proxy::Proxy;
use crate::support::control_plane::ControlPlane;

const CONFIG: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: door, namespace: doors }\ndata: { is: closed }\n";

const DOOR: &str = "gates:\n  - { cel: \"object.data.is == 'open'\", of: ConfigMap/door }\ndeadline: 3m";

/// Starts an install, calls `then` with each line that it says, and gives its exit code and its words.
pub(crate) fn while_waiting(cloud: &Made, mut then: impl FnMut(&str)) -> (Option<i32>, String) {
    let mut child =
        cloud.command(&["install", "--yes", "--force-conflicts"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap) {
        then(&line);
        said += &line;
        said.push('\n');
    }
    (child.wait().unwrap().code(), said)
}

#[test]
fn gates_of_objects_hold_when_they_should_and_not_before() {
    let plane = ControlPlane::own();
    let cloud = || Made::on(Arc::clone(&plane));
    a_job_with_a_time_to_live_is_done_once(cloud());
    a_claim_that_waits_for_its_first_pod_is_ready(cloud());
    relations_are_gates(cloud());
    a_policy_with_warnings_is_not_ready(cloud());
}

#[test]
fn gates_of_what_others_answer_hold_when_they_should_and_not_before() {
    let plane = ControlPlane::own();
    let cloud = || Made::on(Arc::clone(&plane));
    a_quota_that_never_fits_is_a_failure_at_once(cloud());
    a_webhook_that_nobody_answers_is_not_ready(cloud());
    an_api_without_a_server_is_not_ready(cloud());
}

#[test]
fn watches_survive_dead_and_cut_connections() {
    let plane = ControlPlane::own();
    for (silence, most) in [(true, Duration::from_secs(60)), (false, Duration::from_secs(30))] {
        let mut cloud = Made::on(Arc::clone(&plane));
        let direct = fs_err::read_to_string(cloud.plane.kubeconfig()).unwrap();
        let proxy = Proxy::start(Proxy::port_of(&direct));
        let path = cloud.path("kubeconfig");
        fs_err::write(&path, proxy.kubeconfig(&direct)).unwrap();
        cloud.kubeconfig = Some(path);
        cloud.component("doors", DOOR, CONFIG);
        let mut since = None;
        let plane = Arc::clone(&cloud.plane);
        let mut took = None;
        let (code, said) = while_waiting(&cloud, |line| {
            if line.contains(" ready ") && line.contains("doors") {
                took = took.or(since.map(|since: Instant| since.elapsed()));
            }
            if line.contains(" waiting ") && since.is_none() {
                if silence {
                    proxy.silence();
                } else {
                    proxy.cut();
                }
                plane.ask(&["-n", "doors", "patch", "configmap", "door", "-p", r#"{"data":{"is":"open"}}"#]);
                since = Some(Instant::now());
            }
        });
        assert_eq!(code, Some(0), "{said}");
        assert!(took.is_some_and(|took| took < most), "noticed after {took:?}:\n{said}");
    }
}

fn a_job_with_a_time_to_live_is_done_once(mut cloud: Made) {
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: { name: once, namespace: jobs }\n\
        spec:\n  ttlSecondsAfterFinished: 0\n  template:\n    spec:\n      restartPolicy: Never\n      \
        containers: [{ name: c, image: example.org/c }]\n";
    cloud.component("jobs", "deadline: 2m", job);
    cloud.expect(&["install", "--yes"], 0);
    cloud.plane.ask(&["-n", "jobs", "wait", "--for=delete", "job/once", "--timeout=180s"]);
    assert!(cloud.expect(&["install", "--yes"], 0).contains("nothing to do"));
    assert!(cloud.expect(&["plan", "--exit-code"], 0).contains("jobs"));
    // A Job that is wanted otherwise is another one.
    cloud.component("jobs", "deadline: 2m", &job.replace("example.org/c", "example.org/d"));
    assert!(cloud.expect(&["install", "--yes"], 0).contains("1 created"));
}

fn a_claim_that_waits_for_its_first_pod_is_ready(mut cloud: Made) {
    let objects = |mode: &str| {
        format!(
            "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {{ name: claims-{} }}\nprovisioner: example.org/none\nvolumeBindingMode: {mode}\n\
             ---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{ name: {}, namespace: claims }}\nspec:\n  storageClassName: claims-{}\n  \
             accessModes: [ReadWriteOnce]\n  resources: {{ requests: {{ storage: 1Gi }} }}\n",
            mode.to_lowercase(),
            mode.to_lowercase(),
            mode.to_lowercase()
        )
    };
    cloud.component("claims", "deadline: 1m", &objects("WaitForFirstConsumer"));
    cloud.expect(&["install", "--yes"], 0);
    // kubectl's users write this, and wait for ever.
    let kubectl = cloud.plane.kubectl(&[
        "-n",
        "claims",
        "wait",
        "--for=jsonpath={.status.phase}=Bound",
        "pvc/waitforfirstconsumer",
        "--timeout=1s",
    ]);
    assert!(!kubectl.status.success());
    cloud.component("claims", "deadline: 15s", &objects("Immediate"));
    let failed = cloud.expect(&["install", "--yes"], 5);
    assert!(failed.contains("not bound yet by StorageClass claims-immediate"), "{failed}");
    // The failure ends with the diagnosis.
    assert!(failed.contains("└ StorageClass claims-immediate"), "{failed}");
    assert!(failed.contains("the pods of provisioner example.org/none must run"), "{failed}");
}

fn relations_are_gates(mut cloud: Made) {
    let gate = "gates:\n  - cel: \"objects('ConfigMap', object.metadata.namespace, 'door=yes').exists(c, c.data.is == 'open')\"\n    \
        of: Secret/key\ndeadline: 2m";
    let key = "apiVersion: v1\nkind: Secret\nmetadata: { name: key, namespace: keys }\n";
    cloud.component("keys", gate, key);
    let plane = Arc::clone(&cloud.plane);
    let mut waited = false;
    let (code, said) = while_waiting(&cloud, |line| {
        if line.contains("the gate of Secret/key does not hold yet") && !waited {
            waited = true;
            plane.ask(&["-n", "keys", "create", "configmap", "door", "--from-literal=is=open"]);
            plane.ask(&["-n", "keys", "label", "configmap", "door", "door=yes"]);
        }
    });
    assert_eq!((code, waited), (Some(0), true), "{said}");
    assert!(cloud.expect(&["install", "--yes"], 0).contains("nothing to do"));
}

fn a_policy_with_warnings_is_not_ready(mut cloud: Made) {
    let policy = |field: &str| {
        format!(
            "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {{ name: policies }}\nspec:\n  \
             matchConstraints:\n    resourceRules: [{{ apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: [deployments] }}]\n  \
             validations: [{{ expression: 'object.spec.{field} >= 0' }}]\n"
        )
    };
    cloud.component("policies", "grace: 1s\ndeadline: 1m", &policy("nonsense"));
    let failed = cloud.expect(&["install", "--yes"], 5);
    assert!(failed.contains("undefined field 'nonsense'"), "{failed}");
    cloud.component("policies", "grace: 1s\ndeadline: 1m", &policy("replicas"));
    cloud.expect(&["install", "--yes"], 0);
}

fn a_quota_that_never_fits_is_a_failure_at_once(mut cloud: Made) {
    let quota = "apiVersion: v1\nkind: ResourceQuota\nmetadata: { name: small, namespace: quotas }\nspec: { hard: { requests.cpu: 1500m } }\n";
    let workload = |kind: &str, name: &str| {
        format!(
            "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{ name: {name}, namespace: quotas }}\nspec:\n  selector: {{ matchLabels: {{ app: {name} }} }}\n  \
             template:\n    metadata: {{ labels: {{ app: {name} }} }}\n    spec: {{ containers: [{{ name: c, image: x, resources: {{ requests: {{ cpu: 2 }} }} }}] }}\n"
        )
    };
    for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
        let name = kind.to_lowercase();
        cloud.component("quotas", "deadline: 3m", &format!("{quota}---\n{}", workload(kind, &name)));
        let begun = Instant::now();
        let failed = cloud.expect(&["install", "--yes"], 5);
        let failed = failed.split_whitespace().collect::<Vec<_>>().join(" ");
        let words = "ResourceQuota small never lets one of its pods in: it asks for 2 requests.cpu, of 1500m";
        assert!(failed.contains(words), "{failed}");
        assert!(failed.contains("raise ResourceQuota small"), "{failed}");
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    }
}

/// A Service with an endpoint where nobody listens.
const BACK: &str = "apiVersion: v1\nkind: Service\nmetadata: { name: hook, namespace: back }\nspec: { ports: [{ port: 443, targetPort: 9 }] }\n\
    ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
    metadata: { name: hook-1, namespace: back, labels: { kubernetes.io/service-name: hook } }\n\
    addressType: IPv4\nendpoints: [{ addresses: [192.0.2.1] }]\nports: [{ port: 9 }]\n";

/// A webhook for the `ConfigMap`s of a namespace whose Service has an endpoint where nobody listens.
fn webhook(policy: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: judged, namespace: hooks }}\n\
         ---\napiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {{ name: hooks }}\n\
         webhooks:\n  - name: hook.example.org\n    failurePolicy: {policy}\n    sideEffects: None\n    admissionReviewVersions: [v1]\n    timeoutSeconds: 1\n    \
         namespaceSelector: {{ matchLabels: {{ kubernetes.io/metadata.name: hooks }} }}\n    \
         rules: [{{ apiGroups: [''], apiVersions: [v1], operations: ['*'], resources: [configmaps] }}]\n    \
         clientConfig: {{ service: {{ namespace: back, name: hook }}{} }}\n",
        if policy == "Ignore" { String::new() } else { format!(", caBundle: {}", certificate()) }
    )
}

/// A whole certificate, which the API server insists on.
pub(crate) fn certificate() -> String {
    use base64::Engine as _;
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["hook".to_owned()]).unwrap().self_signed(&key).unwrap();
    base64::engine::general_purpose::STANDARD.encode(certificate.pem())
}

fn a_webhook_that_nobody_answers_is_not_ready(mut cloud: Made) {
    // What fails open stops nobody. What is judged is there before something fails closed.
    cloud.component("back", "", BACK).component("hooks", "deadline: 1m", &webhook("Ignore"));
    cloud.expect(&["install", "--yes"], 0);
    cloud.component("hooks", "deadline: 20s", &webhook("Fail"));
    let failed = cloud.expect(&["install", "--yes"], 5);
    assert!(failed.contains("its webhook does not answer a dry-run yet"), "{failed}");
    assert!(failed.contains("failed calling webhook"), "{failed}");
    cloud.component("hooks", "deadline: 1m", &webhook("Ignore"));
    cloud.expect(&["install", "--yes"], 0);
}

fn an_api_without_a_server_is_not_ready(mut cloud: Made) {
    let api = "apiVersion: v1\nkind: Service\nmetadata: { name: api, namespace: apis }\nspec: { ports: [{ port: 443 }] }\n\
        ---\napiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: { name: v1.apis.example.org }\n\
        spec: { group: apis.example.org, version: v1, groupPriorityMinimum: 100, versionPriority: 1, insecureSkipTLSVerify: true, service: { namespace: apis, name: api } }\n";
    cloud.component("apis", "deadline: 20s", api);
    let failed = cloud.expect(&["install", "--yes"], 5);
    // The API server may not have seen the Service yet when it first looks for its endpoints.
    let reasons = ["Available=False: EndpointsNotFound", "Available=False: ServiceNotFound"];
    assert!(reasons.iter().any(|reason| failed.contains(reason)), "{failed}");
}
