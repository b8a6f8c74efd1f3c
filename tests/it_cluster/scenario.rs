//! One large cloud on the embedded cluster and on a real one: the same binary, the same order of events in each
//! component, and the same objects in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use cozy_sim::{Cluster, Controllers, Options, run_controllers};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, PostParams};
use kube::discovery::{Discovery, verbs};
use serde_json::{Value, json};

use crate::answer::Webhook;
use crate::made::Made;
use crate::support::control_plane::ControlPlane;
use crate::{behaviours, served};

/// How many applications there are besides what they stand on.
const APPLICATIONS: usize = 24;

#[test]
fn a_cloud_of_300_objects_goes_the_same_way_on_both_clusters() {
    let address = own_address();
    let webhook = Webhook::allowing(address);
    let mut real = cloud(Made::on(ControlPlane::own()), address, &webhook);
    let embedded = Cluster::new(Options::default());
    let mut simulated = cloud(Made::on(Arc::clone(&real.plane)), address, &webhook);
    let kubeconfig = simulated.path("kubeconfig");
    simulated.kubeconfig = Some(kubeconfig.clone());

    let [on_real, on_embedded] = [
        on_a_runtime(async {
            let client = behaviours::client(&real.plane).await;
            installed(&mut real, client, false).await
        }),
        on_a_runtime(async {
            served::serve(&embedded, &kubeconfig).await;
            installed(&mut simulated, embedded.client(), true).await
        }),
    ];
    assert_eq!(embedded.not_simulated(), Vec::<String>::new());
    for (component, events) in &on_real.events {
        assert_eq!(Some(events), on_embedded.events.get(component), "events of {component}");
    }
    assert_eq!(on_real.events.len(), on_embedded.events.len());
    let ids: BTreeSet<_> = on_real.objects.keys().chain(on_embedded.objects.keys()).collect();
    let differences: Vec<_> = ids
        .into_iter()
        .filter_map(|id| {
            let [real, embedded] = [&on_real, &on_embedded].map(|went| went.objects.get(id).map(pretty));
            let [real, embedded] = [real, embedded].map(Option::unwrap_or_default);
            let diff = similar::TextDiff::from_lines(&real, &embedded)
                .unified_diff()
                .header("real", "embedded")
                .to_string();
            (real != embedded).then(|| format!("{id}\n{diff}"))
        })
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(on_real.created >= 300, "{} objects", on_real.created);
}

pub(crate) fn on_a_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}

/// An address of this machine that is not the loopback's: endpoints may not have that. Nothing is sent.
pub(crate) fn own_address() -> IpAddr {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).unwrap();
    socket.connect(("192.0.2.1", 9)).unwrap();
    socket.local_addr().unwrap().ip()
}

/// How an install went.
struct Went {
    /// What happened in each component, in order.
    events: BTreeMap<String, Vec<String>>,
    /// Every object in the end, without what differs by nature.
    objects: BTreeMap<String, Value>,
    created: u64,
}

/// Installs, while a cloud, a driver and an operator do their part; twice: the second time nothing is to do.
async fn installed(made: &mut Made, client: Client, pods: bool) -> Went {
    let ready = |object: &Value| {
        matches!(object["kind"].as_str(), Some("Widget" | "Gadget" | "Pool")).then(|| {
            let generation = &object["metadata"]["generation"];
            json!({ "observedGeneration": generation, "conditions": [{ "type": "Ready", "status": "True", "reason": "Made" }] })
        })
    };
    let config = Controllers {
        status_of: Box::new(ready),
        usual: Duration::from_millis(100),
        pods,
        ..Controllers::default()
    };
    let controllers = tokio::spawn(run_controllers(client.clone(), config));
    let operator = tokio::spawn(bring_late(client.clone()));
    let mut install = made.command(&["install", "--yes", "-o", "json", "--timeout", "60s"]);
    let mut again = made.command(&["install", "--yes"]);
    let both = tokio::task::spawn_blocking(move || (install.output().unwrap(), again.output().unwrap()));
    let (first, second) = both.await.unwrap();
    let errors = String::from_utf8_lossy(&first.stderr);
    let text = String::from_utf8(first.stdout).unwrap();
    assert!(
        first.status.success(),
        "{errors}{}",
        text.lines().rev().take(40).fold(String::new(), |all, line| all + "\n" + line)
    );
    let second = crate::made::both(&second);
    assert!(second.contains("nothing to do"), "{second}");
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let created = events.last().unwrap()["counts"]["create"].as_u64().unwrap();
    let objects = dump(&client).await;
    controllers.abort();
    operator.abort();
    Went { events: by_component(&events), objects, created }
}

/// An operator that defines its kind when it runs, as many do.
async fn bring_late(client: Client) {
    let operators: Api<Deployment> = Api::namespaced(client.clone(), "late");
    crate::suite::wait(&operators, "late-operator", |found| {
        let status = found.and_then(|operator| operator.status.as_ref());
        status.is_some_and(|status| status.ready_replicas == Some(1))
    })
    .await;
    let schema =
        json!({ "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } });
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "pools.late.example.org" },
        "spec": {
            "group": "late.example.org", "scope": "Cluster", "names": { "kind": "Pool", "plural": "pools" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "subresources": { "status": {} }, "schema": schema }],
        },
    });
    let definitions: Api<CustomResourceDefinition> = Api::all(client);
    let definition = serde_json::from_value(definition).unwrap();
    definitions.create(&PostParams::default(), &definition).await.unwrap();
}

/// What happened in each component: steps and their objects. Objects of one step go at the same time, so that they
/// are put into one order; what a wait says meanwhile, and when, is the cluster's own business.
pub(crate) fn by_component(events: &[Value]) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut objects: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for event in events {
        let (what, step) = (event["event"].as_str().unwrap(), event["step"].as_str());
        let component = step.and_then(|step| step.split_once('/')).map(|(component, _)| component);
        let Some(component) = component.or(event["component"].as_str()) else { continue };
        let lines = all.entry(component.to_owned()).or_default();
        match what {
            "waiting" => {}
            "object" => {
                let line =
                    format!("  {} {}", event["verb"].as_str().unwrap(), event["object"].as_str().unwrap());
                objects.entry(step.unwrap()).or_default().push(line);
            }
            _ => {
                if let Some(mut sent) =
                    step.filter(|_| what == "stepApplied").and_then(|step| objects.remove(step))
                {
                    sent.sort();
                    lines.append(&mut sent);
                }
                lines.push(format!("{what} {}", step.unwrap_or(component)));
            }
        }
    }
    all
}

/// Kinds that only the clusters themselves make and that say nothing of an install.
const OWN: &[&str] =
    &["Event", "Node", "Pod", "ReplicaSet", "ControllerRevision", "Endpoints", "Lease", "APIService"];

/// All objects that an install is answerable for, without what the server owns.
async fn dump(client: &Client) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    let discovery = Discovery::new(client.clone()).run().await.unwrap();
    let resources = discovery.groups().flat_map(kube::discovery::ApiGroup::recommended_resources);
    for (resource, capabilities) in resources {
        if !capabilities.supports_operation(verbs::LIST) || OWN.contains(&resource.kind.as_str()) {
            continue;
        }
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        for object in api.list(&ListParams::default()).await.unwrap().items {
            if let Some((id, value)) = comparable(&resource, &object) {
                all.insert(id, value);
            }
        }
    }
    all
}

/// An object as both clusters must have it; none, if it is the cluster's own.
fn comparable(resource: &ApiResource, object: &DynamicObject) -> Option<(String, Value)> {
    // A Job's pods are found by its UID.
    let uid = object.metadata.uid.as_deref().unwrap_or("none");
    let text = serde_json::to_string(object).unwrap().replace(uid, "its UID");
    let mut value: Value = serde_json::from_str(&text).unwrap();
    let managers: BTreeMap<String, Value> = value["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|entry| entry["manager"] == "cozy")
        .map(|entry| (entry["subresource"].to_string(), entry["fieldsV1"].clone()))
        .collect();
    // What cozy did not write is a namespace's furniture, the control plane's own, or another controller's.
    if managers.is_empty() {
        return None;
    }
    let metadata = value["metadata"].as_object_mut().unwrap();
    for own in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "selfLink"] {
        metadata.remove(own);
    }
    // The Deployment controller counts its revisions here.
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove("deployment.kubernetes.io/revision");
        annotations.retain(|name, _| !name.starts_with("pv.kubernetes.io/") && !name.starts_with("volume."));
    }
    if metadata.get("annotations").is_some_and(|annotations| annotations.as_object().unwrap().is_empty()) {
        metadata.remove("annotations");
    }
    metadata.insert("managedBy".to_owned(), json!(managers));
    // Inventories and the like hold UIDs and times.
    if object.metadata.namespace.as_deref() == Some("cozy-system") {
        value.as_object_mut().unwrap().remove("data");
    }
    let status = value.as_object_mut().unwrap().remove("status").unwrap_or_default();
    // Of statuses, what users look at.
    value["status"] = match resource.kind.as_str() {
        "Deployment" | "StatefulSet" => {
            json!({ "ready": status["readyReplicas"], "seen": status["observedGeneration"] })
        }
        "DaemonSet" => json!({ "ready": status["numberReady"], "seen": status["observedGeneration"] }),
        "Job" => json!({ "succeeded": status["succeeded"] }),
        "PersistentVolumeClaim" | "Namespace" => json!({ "phase": status["phase"] }),
        "Widget" | "Gadget" | "Pool" => status,
        _ => Value::Null,
    };
    for allocated in ["clusterIP", "clusterIPs", "volumeName", "healthCheckNodePort"] {
        if let Some(spec) = value["spec"].as_object_mut() {
            spec.remove(allocated);
        }
    }
    for port in value["spec"]["ports"].as_array_mut().into_iter().flatten() {
        port.as_object_mut().unwrap().remove("nodePort");
    }
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    Some((format!("{} {namespace}/{}", resource.kind, object.metadata.name.as_ref().unwrap()), value))
}

/// An object as text, with its maps in one order, whoever sent them.
fn pretty(value: &Value) -> String {
    let mut value = value.clone();
    value.sort_all_objects();
    serde_json::to_string_pretty(&value).unwrap()
}

/// A cloud like the edge bundle: kinds, an operator, webhooks, storage, load balancers, and applications on them.
fn cloud(mut made: Made, address: IpAddr, webhook: &Webhook) -> Made {
    made.component("kinds", "", &kinds());
    made.component("storage", "provides: { capabilities: [storage] }", STORAGE);
    made.component("operator", "needs: [kinds]", &operator());
    made.component("guard", "needs: [operator]", &guard(address, webhook));
    made.component("agents", "", &agents());
    let brings =
        "provides: { clusterKinds: [Pool.v1.late.example.org] }\nsource: { templates: [operator.yaml] }";
    made.component("late", brings, &pool("own"));
    let operator = workload("Deployment", "late-operator", "late", "");
    fs_err::write(made.path("catalogue/templates/late/operator.yaml"), operator).unwrap();
    made.component("pools", "", &pool("others"));
    for number in 0..APPLICATIONS {
        let needs = match number {
            0 => String::new(),
            // Chains of three.
            number if number % 3 != 0 => format!("needs: [app-{}]", number - 1),
            _ => "needs: [agents]".to_owned(),
        };
        made.component(&format!("app-{number}"), &needs, &application(number));
    }
    made
}

fn kinds() -> String {
    let mut text = String::new();
    for (kind, scope) in [("Widget", "Namespaced"), ("Gadget", "Cluster")] {
        let lower = kind.to_lowercase();
        write!(
            text,
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{ name: {lower}s.scenario.example.org }}\n\
             spec:\n  group: scenario.example.org\n  scope: {scope}\n  names: {{ kind: {kind}, plural: {lower}s, singular: {lower} }}\n  \
             versions:\n  - name: v1\n    served: true\n    storage: true\n    subresources: {{ status: {{}} }}\n    schema:\n      openAPIV3Schema:\n        \
             type: object\n        properties:\n          spec:\n            type: object\n            required: [size]\n            properties:\n              \
             size: {{ type: integer, minimum: 1 }}\n              mode: {{ type: string, default: fast, enum: [fast, safe] }}\n              \
             parts:\n                type: array\n                x-kubernetes-list-type: map\n                x-kubernetes-list-map-keys: [name]\n                \
             items: {{ type: object, required: [name], properties: {{ name: {{ type: string }}, weight: {{ type: integer, default: 1 }} }} }}\n          \
             status: {{ type: object, x-kubernetes-preserve-unknown-fields: true }}\n---\n"
        )
        .unwrap();
    }
    text
}

const STORAGE: &str = "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: { name: late }\nprovisioner: driver.example.org\n\
    volumeBindingMode: WaitForFirstConsumer\n---\napiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: { name: soon }\n\
    provisioner: driver.example.org\nreclaimPolicy: Retain\nallowVolumeExpansion: true\n---\n\
    apiVersion: storage.k8s.io/v1\nkind: CSIDriver\nmetadata: { name: driver.example.org }\nspec: { attachRequired: false }\n---\n\
    apiVersion: v1\nkind: ConfigMap\nmetadata: { name: pool, namespace: storage }\ndata: { path: /var/lib/pool }\n";

fn account(name: &str, namespace: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{ name: {name}, namespace: {namespace} }}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{ name: {name}, namespace: {namespace} }}\n\
         rules: [{{ apiGroups: [''], resources: [configmaps], verbs: [get, list, watch] }}]\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{ name: {name}, namespace: {namespace} }}\n\
         roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: Role, name: {name} }}\n\
         subjects: [{{ kind: ServiceAccount, name: {name}, namespace: {namespace} }}]\n---\n"
    )
}

fn workload(kind: &str, name: &str, namespace: &str, more: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{ name: {name}, namespace: {namespace}, labels: {{ app: {name} }} }}\n\
         spec:\n  selector: {{ matchLabels: {{ app: {name} }} }}\n{more}  template:\n    metadata: {{ labels: {{ app: {name} }} }}\n    \
         spec:\n      containers:\n      - name: main\n        image: registry.example.org/{name}:1\n        \
         ports: [{{ containerPort: 8080, name: http }}]\n        readinessProbe: {{ tcpSocket: {{ port: http }} }}\n        resources: {{ requests: {{ cpu: 0.01, memory: 1Mi }} }}\n---\n"
    )
}

fn operator() -> String {
    let mut text = account("operator", "operator");
    text += &workload("Deployment", "operator", "operator", "  replicas: 2\n");
    text + "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: { name: scenario-operator }\n\
        rules: [{ apiGroups: [scenario.example.org], resources: ['*'], verbs: ['*'] }]\n---\n\
        apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: { name: scenario-operator }\n\
        roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: scenario-operator }\n\
        subjects: [{ kind: ServiceAccount, name: operator, namespace: operator }]\n---\n\
        apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: { name: scenario }\nvalue: 1000\n---\n\
        apiVersion: scenario.example.org/v1\nkind: Gadget\nmetadata: { name: whole }\nspec: { size: 3, parts: [{ name: a }, { name: b, weight: 2 }] }\n"
}

/// Webhooks for widgets, answered by this test behind a Service without a selector.
fn guard(address: IpAddr, webhook: &Webhook) -> String {
    let (port, ca) = (webhook.port, &webhook.ca);
    let mut text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: hook, namespace: guard }}\nspec: {{ ports: [{{ port: 443, targetPort: {port} }}] }}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{ name: hook-1, namespace: guard, labels: {{ kubernetes.io/service-name: hook }} }}\n\
         addressType: IPv4\nendpoints: [{{ addresses: [{address}] }}]\nports: [{{ port: {port}, protocol: TCP, name: '' }}]\n---\n"
    );
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        write!(
            text,
            "apiVersion: admissionregistration.k8s.io/v1\nkind: {kind}\nmetadata: {{ name: guard }}\nwebhooks:\n\
             - name: guard.scenario.example.org\n  sideEffects: None\n  admissionReviewVersions: [v1]\n  timeoutSeconds: 5\n  \
             rules: [{{ apiGroups: [scenario.example.org], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [widgets] }}]\n  \
             clientConfig: {{ service: {{ namespace: guard, name: hook }}, caBundle: {ca} }}\n---\n"
        )
        .unwrap();
    }
    text
}

/// An object of a kind that an operator defines when it runs.
fn pool(name: &str) -> String {
    format!(
        "apiVersion: late.example.org/v1\nkind: Pool\nmetadata: {{ name: {name} }}\nspec: {{ size: 1 }}\n"
    )
}

fn agents() -> String {
    ["logs", "metrics", "network"]
        .map(|name| account(name, "agents") + &workload("DaemonSet", name, "agents", ""))
        .concat()
}

fn application(number: usize) -> String {
    let name = format!("app-{number}");
    let mut text = account(&name, &name);
    let late = "  serviceName: data\n  replicas: 2\n  volumeClaimTemplates:\n  - metadata: { name: data }\n    \
        spec: { accessModes: [ReadWriteOnce], storageClassName: late, resources: { requests: { storage: 1Gi } } }\n";
    text += &match number % 3 {
        0 => workload("StatefulSet", "data", &name, late),
        _ => workload("Deployment", "web", &name, "  replicas: 2\n"),
    };
    let balanced = if number.is_multiple_of(4) { "LoadBalancer" } else { "ClusterIP" };
    let app = if number.is_multiple_of(3) { "data" } else { "web" };
    write!(
        text,
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: {app}, namespace: {name} }}\n\
         spec: {{ type: {balanced}, selector: {{ app: {app} }}, ports: [{{ name: http, port: 80, targetPort: http }}] }}\n---\n\
         apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: settings, namespace: {name} }}\ndata: {{ number: '{number}', empty: '' }}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {{ name: access, namespace: {name} }}\nstringData: {{ token: t{number} }}\n---\n\
         apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {{ name: {app}, namespace: {name} }}\n\
         spec: {{ maxUnavailable: 1, selector: {{ matchLabels: {{ app: {app} }} }} }}\n---\n\
         apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{ name: {app}, namespace: {name} }}\n\
         spec: {{ podSelector: {{}}, policyTypes: [Ingress], ingress: [{{ ports: [{{ port: http }}] }}] }}\n---\n\
         apiVersion: scenario.example.org/v1\nkind: Widget\nmetadata: {{ name: {name}, namespace: {name} }}\n\
         spec: {{ size: {}, parts: [{{ name: x }}] }}\n---\n\
         apiVersion: batch/v1\nkind: Job\nmetadata: {{ name: prepare, namespace: {name} }}\n\
         spec:\n  template:\n    spec:\n      restartPolicy: Never\n      containers: [{{ name: main, image: 'registry.example.org/prepare:1' }}]\n---\n\
         apiVersion: batch/v1\nkind: CronJob\nmetadata: {{ name: nightly, namespace: {name} }}\n\
         spec:\n  schedule: 0 3 * * *\n  jobTemplate:\n    spec:\n      template:\n        spec:\n          restartPolicy: OnFailure\n          \
         containers: [{{ name: main, image: 'registry.example.org/nightly:1' }}]\n---\n\
         apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{ name: files, namespace: {name} }}\n\
         spec: {{ accessModes: [ReadWriteOnce], storageClassName: soon, resources: {{ requests: {{ storage: 1024Mi }} }} }}\n---\n\
         apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{ name: {app}, namespace: {name} }}\n\
         spec: {{ rules: [{{ host: {name}.example.org, http: {{ paths: [{{ path: /, pathType: Prefix, backend: {{ service: {{ name: {app}, port: {{ name: http }} }} }} }}] }} }}] }}\n",
        number + 1
    )
    .unwrap();
    text
}
