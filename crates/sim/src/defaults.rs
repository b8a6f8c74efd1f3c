//! What the server fills in, so that objects come back different from what was sent.

use k8s_openapi::ByteString;
use serde_json::{Map, Value, json};

use crate::json::{as_map, at, default, items_mut, object, text};
use crate::kinds::Kind;
use crate::state::State;

/// Fills an object in, new or changed.
pub(crate) fn fill(state: &mut State, kind: &Kind, live: Option<&Value>, it: &mut Value) {
    if kind.custom {
        return;
    }
    match (kind.group(), kind.plural()) {
        ("", "namespaces") => namespace(it),
        ("", "services") => service(it),
        ("", "secrets") => secret(it),
        ("", "persistentvolumeclaims") => {
            protect(it, live, "kubernetes.io/pvc-protection");
            claim(it);
        }
        ("", "persistentvolumes") => {
            protect(it, live, "kubernetes.io/pv-protection");
            volume(it);
            let now = state.stamp();
            default(status(it), "lastPhaseTransitionTime", now);
        }
        ("", "pods") => pod(it),
        ("", "replicationcontrollers") | ("apps", "replicasets") => replicas(it),
        ("apps", "deployments") => deployment(it),
        ("apps", "statefulsets") => stateful_set(it),
        ("apps", "daemonsets") => {
            daemon_set(it);
            template_generation(live, it);
        }
        ("batch", "jobs") => job(it),
        ("batch", "cronjobs") => cron_job(it),
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => binding(it),
        ("storage.k8s.io", "storageclasses") => class(it),
        ("storage.k8s.io", "csidrivers") => driver(spec(it)),
        ("storage.k8s.io", "volumeattributesclasses") => protect(it, live, "kubernetes.io/vac-protection"),
        ("networking.k8s.io", "networkpolicies") => policy(it),
        ("networking.k8s.io", "ingresses") => default(status(it), "loadBalancer", json!({})),
        ("admissionregistration.k8s.io", "mutatingwebhookconfigurations") => webhooks(it, true),
        ("admissionregistration.k8s.io", "validatingwebhookconfigurations") => webhooks(it, false),
        ("admissionregistration.k8s.io", "validatingadmissionpolicies" | "mutatingadmissionpolicies") => {
            default(spec(it), "failurePolicy", "Fail");
            matched(inner(spec(it), "matchConstraints"));
        }
        (
            "admissionregistration.k8s.io",
            "validatingadmissionpolicybindings" | "mutatingadmissionpolicybindings",
        ) => {
            if let Some(resources) = spec(it).get_mut("matchResources") {
                matched(as_map(resources));
            }
        }
        ("resource.k8s.io", "resourceclaims") => devices(spec(it)),
        ("resource.k8s.io", "resourceclaimtemplates") => devices(inner(spec(it), "spec")),
        ("scheduling.k8s.io", "priorityclasses") => {
            default(as_map(it), "preemptionPolicy", "PreemptLowerPriority");
        }
        ("apiextensions.k8s.io", "customresourcedefinitions") => crd(it),
        ("apiregistration.k8s.io", "apiservices") => {
            if let Some(service) = spec(it).get_mut("service") {
                default(as_map(service), "port", 443);
            }
        }
        ("policy", "poddisruptionbudgets") => drop(status(it)),
        ("autoscaling", "horizontalpodautoscalers") => autoscaler(it),
        ("discovery.k8s.io", "endpointslices") => {
            for port in items_mut(as_map(it), "ports").iter_mut().map(as_map) {
                default(port, "name", "");
                default(port, "protocol", "TCP");
            }
        }
        ("", "limitranges") => {
            for limit in items_mut(spec(it), "limits").iter_mut().map(as_map) {
                if let Some(usual) = limit.get("default").cloned() {
                    default(limit, "defaultRequest", usual);
                }
            }
        }
        _ => {}
    }
}

fn spec(it: &mut Value) -> &mut Map<String, Value> {
    object(it, "spec")
}

fn status(it: &mut Value) -> &mut Map<String, Value> {
    object(it, "status")
}

fn inner<'a>(map: &'a mut Map<String, Value>, field: &str) -> &'a mut Map<String, Value> {
    as_map(map.entry(field).or_insert_with(|| json!({})))
}

fn namespace(it: &mut Value) {
    let name = text(it, &["metadata", "name"]).to_owned();
    let labels = inner(object(it, "metadata"), "labels");
    labels.insert("kubernetes.io/metadata.name".to_owned(), json!(name));
    default(spec(it), "finalizers", json!(["kubernetes"]));
    default(status(it), "phase", "Active");
}

fn secret(it: &mut Value) {
    let map = as_map(it);
    default(map, "type", "Opaque");
    if let Some(Value::Object(strings)) = map.shift_remove("stringData") {
        let data = inner(map, "data");
        for (name, value) in strings {
            let bytes = ByteString(value.as_str().unwrap_or_default().as_bytes().to_vec());
            data.insert(name, serde_json::to_value(bytes).unwrap_or_default());
        }
    }
}

fn service(it: &mut Value) {
    let map = spec(it);
    default(map, "type", "ClusterIP");
    default(map, "sessionAffinity", "None");
    let kind = map.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    for port in items_mut(map, "ports").iter_mut().map(as_map) {
        default(port, "protocol", "TCP");
        let number = port.get("port").cloned().unwrap_or_default();
        if port.get("targetPort").is_none_or(|it| *it == 0) {
            port.insert("targetPort".to_owned(), number);
        }
    }
    if kind != "ExternalName" {
        default(map, "internalTrafficPolicy", "Cluster");
    }
    if kind == "NodePort" || kind == "LoadBalancer" {
        default(map, "externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        default(map, "allocateLoadBalancerNodePorts", true);
    }
    default(status(it), "loadBalancer", json!({}));
}

/// Gives a Service its addresses and ports, which nobody owns who creates it.
pub(crate) fn allocate(state: &mut State, kind: &Kind, live: Option<&Value>, it: &mut Value) {
    if !kind.is("", "services") {
        return;
    }
    let map = spec(it);
    // Who replaces a Service without naming its addresses keeps them.
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort"] {
        if let Some(value) = live.and_then(|live| at(live, &["spec", field]))
            && map.get("type") == live.and_then(|live| at(live, &["spec", "type"])).or(map.get("type"))
        {
            default(map, field, value.clone());
        }
    }
    let kind = map.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    if kind != "ExternalName" {
        if map.get("clusterIP").and_then(Value::as_str).unwrap_or_default().is_empty() {
            map.insert("clusterIP".to_owned(), json!(state.new_address()));
        }
        let address = map.get("clusterIP").cloned().unwrap_or_default();
        default(map, "clusterIPs", json!([address]));
        default(map, "ipFamilies", json!(["IPv4"]));
        default(map, "ipFamilyPolicy", "SingleStack");
    }
    if kind == "NodePort" || kind == "LoadBalancer" {
        let first = 30000 + u64::from(state.addresses() % 2768);
        for (port, number) in items_mut(map, "ports").iter_mut().map(as_map).zip(first..) {
            default(port, "nodePort", number);
        }
    }
}

/// Holds a claim or a volume as long as it is used.
fn protect(it: &mut Value, live: Option<&Value>, finalizer: &str) {
    if live.is_some() {
        return;
    }
    let metadata = object(it, "metadata");
    let mut finalizers = metadata.get("finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
    if !finalizers.iter().any(|it| it == finalizer) {
        finalizers.push(json!(finalizer));
    }
    metadata.insert("finalizers".to_owned(), json!(finalizers));
}

fn claim(it: &mut Value) {
    default(spec(it), "volumeMode", "Filesystem");
    default(status(it), "phase", "Pending");
}

fn volume(it: &mut Value) {
    default(spec(it), "volumeMode", "Filesystem");
    default(spec(it), "persistentVolumeReclaimPolicy", "Retain");
    if let Some(path) = spec(it).get_mut("hostPath") {
        default(as_map(path), "type", "");
    }
    default(status(it), "phase", "Pending");
}

/// The priority of a class that the API server makes itself; 0 of any other.
pub(crate) fn own_priority(class: &str) -> i64 {
    match class {
        "system-cluster-critical" => 2_000_000_000,
        "system-node-critical" => 2_000_001_000,
        _ => 0,
    }
}

fn pod(it: &mut Value) {
    pod_spec(spec(it));
    let map = spec(it);
    // The older name of the field counts where the newer one is not there.
    let older = map.get("serviceAccount").cloned().unwrap_or_else(|| "default".into());
    default(map, "serviceAccountName", older);
    let account = map.get("serviceAccountName").cloned().unwrap_or_default();
    default(map, "serviceAccount", account);
    default(map, "enableServiceLinks", true);
    default(map, "preemptionPolicy", "PreemptLowerPriority");
    let class = map.get("priorityClassName").and_then(Value::as_str).unwrap_or_default();
    let priority = own_priority(class);
    default(map, "priority", priority);
    if !map.contains_key("tolerations") {
        let tolerate = |key: &str| json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 });
        let all = [tolerate("node.kubernetes.io/not-ready"), tolerate("node.kubernetes.io/unreachable")];
        map.insert("tolerations".to_owned(), json!(all));
    }
    for list in ["initContainers", "containers"] {
        items_mut(spec(it), list).iter_mut().map(as_map).for_each(requests);
    }
    let quality = quality(spec(it));
    default(status(it), "phase", "Pending");
    status(it).insert("qosClass".to_owned(), json!(quality));
}

/// Asks for what a container is limited to, where it asks for nothing else: in pods alone, not in templates.
fn requests(container: &mut Map<String, Value>) {
    let resources = inner(container, "resources");
    if let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() {
        let requests = inner(resources, "requests");
        for (name, limit) in limits {
            default(requests, &name, limit);
        }
    }
}

/// Answers the quality of service that follows from a pod's resources.
fn quality(spec: &mut Map<String, Value>) -> &'static str {
    let mut containers: Vec<Value> = Vec::new();
    for list in ["initContainers", "containers"] {
        containers.extend(items_mut(spec, list).iter().cloned());
    }
    let resource =
        |container: &Value, part: &str, name: &str| at(container, &["resources", part, name]).cloned();
    let names = ["cpu", "memory"];
    let any = containers.iter().any(|it| {
        ["limits", "requests"].iter().any(|part| names.iter().any(|name| resource(it, part, name).is_some()))
    });
    let all = containers.iter().all(|it| {
        names.iter().all(|name| {
            let limit = resource(it, "limits", name);
            limit.is_some() && limit == resource(it, "requests", name)
        })
    });
    if !any {
        "BestEffort"
    } else if all {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

fn replicas(it: &mut Value) {
    default(spec(it), "replicas", 1);
    template(spec(it));
    default(status(it), "replicas", 0);
}

fn deployment(it: &mut Value) {
    let map = spec(it);
    default(map, "replicas", 1);
    default(map, "revisionHistoryLimit", 10);
    default(map, "progressDeadlineSeconds", 600);
    let strategy = inner(map, "strategy");
    default(strategy, "type", "RollingUpdate");
    if strategy.get("type").is_some_and(|kind| kind == "RollingUpdate") {
        let rolling = inner(strategy, "rollingUpdate");
        default(rolling, "maxUnavailable", "25%");
        default(rolling, "maxSurge", "25%");
    }
    template(map);
    status(it);
}

fn stateful_set(it: &mut Value) {
    let map = spec(it);
    default(map, "replicas", 1);
    default(map, "revisionHistoryLimit", 10);
    default(map, "podManagementPolicy", "OrderedReady");
    default(map, "serviceName", "");
    let keep = json!({ "whenDeleted": "Retain", "whenScaled": "Retain" });
    default(map, "persistentVolumeClaimRetentionPolicy", keep);
    let strategy = inner(map, "updateStrategy");
    default(strategy, "type", "RollingUpdate");
    if strategy.get("type").is_some_and(|kind| kind == "RollingUpdate") {
        default(inner(strategy, "rollingUpdate"), "partition", 0);
    }
    for claim in items_mut(map, "volumeClaimTemplates") {
        as_map(claim).insert("apiVersion".to_owned(), json!("v1"));
        as_map(claim).insert("kind".to_owned(), json!("PersistentVolumeClaim"));
        self::claim(claim);
    }
    template(map);
    default(status(it), "replicas", 0);
    default(status(it), "availableReplicas", 0);
}

fn daemon_set(it: &mut Value) {
    let map = spec(it);
    default(map, "revisionHistoryLimit", 10);
    let strategy = inner(map, "updateStrategy");
    default(strategy, "type", "RollingUpdate");
    if strategy.get("type").is_some_and(|kind| kind == "RollingUpdate") {
        let rolling = inner(strategy, "rollingUpdate");
        default(rolling, "maxUnavailable", 1);
        default(rolling, "maxSurge", 0);
    }
    template(map);
    for field in ["currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"] {
        default(status(it), field, 0);
    }
}

/// Counts the templates of a `DaemonSet`, as an API version of old had it.
fn template_generation(live: Option<&Value>, it: &mut Value) {
    const NAME: &str = "deprecated.daemonset.template.generation";
    let before = live
        .map_or(0, |live| text(live, &["metadata", "annotations", NAME]).parse::<u64>().unwrap_or_default());
    let changed = live.is_none_or(|live| {
        ["template", "updateStrategy"]
            .iter()
            .any(|field| at(live, &["spec", field]) != at(it, &["spec", field]))
    });
    let annotations = inner(object(it, "metadata"), "annotations");
    annotations.insert(NAME.to_owned(), json!((before + u64::from(changed)).to_string()));
}

fn job(it: &mut Value) {
    let uid = text(it, &["metadata", "uid"]).to_owned();
    let name = text(it, &["metadata", "name"]).to_owned();
    let map = spec(it);
    job_spec(map);
    let manual = map.get("manualSelector").is_some_and(|it| it == true);
    if !manual && !map.contains_key("selector") && !uid.is_empty() {
        map.insert(
            "selector".to_owned(),
            json!({ "matchLabels": { "batch.kubernetes.io/controller-uid": uid } }),
        );
        let labels = inner(inner(inner(map, "template"), "metadata"), "labels");
        for prefix in ["batch.kubernetes.io/", ""] {
            default(labels, &format!("{prefix}controller-uid"), uid.clone());
            default(labels, &format!("{prefix}job-name"), name.clone());
        }
    }
    let labels = at(it, &["spec", "template", "metadata", "labels"]).cloned();
    if let Some(labels) = labels {
        default(object(it, "metadata"), "labels", labels);
    }
    status(it);
}

fn job_spec(map: &mut Map<String, Value>) {
    for field in ["completions", "parallelism"] {
        default(map, field, 1);
    }
    default(map, "backoffLimit", 6);
    default(map, "completionMode", "NonIndexed");
    default(map, "suspend", false);
    default(map, "manualSelector", false);
    default(map, "podReplacementPolicy", "TerminatingOrFailed");
    template(map);
}

fn cron_job(it: &mut Value) {
    let map = spec(it);
    default(map, "concurrencyPolicy", "Allow");
    default(map, "suspend", false);
    default(map, "successfulJobsHistoryLimit", 3);
    default(map, "failedJobsHistoryLimit", 1);
    if let Some(job) = map.get_mut("jobTemplate").and_then(|it| it.get_mut("spec")) {
        template(as_map(job));
    }
    status(it);
}

/// Fills in a pod template.
fn template(map: &mut Map<String, Value>) {
    let template = inner(map, "template");
    inner(template, "metadata");
    pod_spec(inner(template, "spec"));
}

fn pod_spec(map: &mut Map<String, Value>) {
    default(map, "restartPolicy", "Always");
    default(map, "dnsPolicy", "ClusterFirst");
    default(map, "terminationGracePeriodSeconds", 30);
    default(map, "schedulerName", "default-scheduler");
    default(map, "securityContext", json!({}));
    if let Some(account) = map.get("serviceAccountName").cloned() {
        default(map, "serviceAccount", account);
    }
    for list in ["initContainers", "containers"] {
        items_mut(map, list).iter_mut().map(as_map).for_each(container);
    }
    for volume in items_mut(map, "volumes").iter_mut().map(as_map) {
        if !volume.keys().any(|field| field != "name") {
            volume.insert("emptyDir".to_owned(), json!({}));
        }
        for source in
            volume.get_mut("projected").map(as_map).map_or(&mut [][..], |it| items_mut(it, "sources"))
        {
            if let Some(token) = source.get_mut("serviceAccountToken") {
                default(as_map(token), "expirationSeconds", 3600);
            }
        }
        for kind in ["configMap", "secret", "projected", "downwardAPI"] {
            if let Some(source) = volume.get_mut(kind) {
                default(as_map(source), "defaultMode", 420);
            }
        }
        if let Some(path) = volume.get_mut("hostPath") {
            default(as_map(path), "type", "");
        }
    }
}

fn container(map: &mut Map<String, Value>) {
    default(map, "terminationMessagePath", "/dev/termination-log");
    default(map, "terminationMessagePolicy", "File");
    let image = map.get("image").and_then(Value::as_str).unwrap_or_default();
    let last = image.rsplit('/').next().unwrap_or_default();
    let latest = !image.contains('@') && (!last.contains(':') || last.ends_with(":latest"));
    default(map, "imagePullPolicy", if latest { "Always" } else { "IfNotPresent" });
    default(map, "resources", json!({}));
    for port in items_mut(map, "ports").iter_mut().map(as_map) {
        default(port, "protocol", "TCP");
    }
    for variable in items_mut(map, "env") {
        if let Some(from) = variable.get_mut("valueFrom").and_then(|from| from.get_mut("fieldRef")) {
            default(as_map(from), "apiVersion", "v1");
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = map.get_mut(probe).map(as_map) {
            default(probe, "timeoutSeconds", 1);
            default(probe, "periodSeconds", 10);
            default(probe, "successThreshold", 1);
            default(probe, "failureThreshold", 3);
            if let Some(get) = probe.get_mut("httpGet").map(as_map) {
                default(get, "scheme", "HTTP");
                default(get, "path", "/");
            }
        }
    }
}

fn autoscaler(it: &mut Value) {
    let target = json!({ "type": "Utilization", "averageUtilization": 80 });
    let cpu = json!({ "type": "Resource", "resource": { "name": "cpu", "target": target } });
    default(spec(it), "minReplicas", 1);
    default(spec(it), "metrics", json!([cpu]));
}

/// What an admission policy matches.
fn matched(resources: &mut Map<String, Value>) {
    default(resources, "matchPolicy", "Equivalent");
    default(resources, "namespaceSelector", json!({}));
    default(resources, "objectSelector", json!({}));
    for field in ["resourceRules", "excludeResourceRules"] {
        for rule in items_mut(resources, field).iter_mut().map(as_map) {
            default(rule, "scope", "*");
        }
    }
}

/// What a claim asks of devices.
fn devices(claim: &mut Map<String, Value>) {
    for request in items_mut(inner(claim, "devices"), "requests").iter_mut().map(as_map) {
        let Some(exactly) = request.get_mut("exactly").map(as_map) else { continue };
        default(exactly, "allocationMode", "ExactCount");
        if exactly.get("allocationMode").is_some_and(|mode| mode == "ExactCount") {
            default(exactly, "count", 1);
        }
    }
}

fn binding(it: &mut Value) {
    let map = as_map(it);
    let role = inner(map, "roleRef");
    if role.get("apiGroup").is_none_or(|it| it == "") {
        role.insert("apiGroup".to_owned(), json!("rbac.authorization.k8s.io"));
    }
    for subject in items_mut(map, "subjects").iter_mut().map(as_map) {
        if subject.get("kind").is_some_and(|kind| kind != "ServiceAccount") {
            default(subject, "apiGroup", "rbac.authorization.k8s.io");
        }
    }
}

fn driver(spec: &mut Map<String, Value>) {
    default(spec, "attachRequired", true);
    default(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    default(spec, "volumeLifecycleModes", json!(["Persistent"]));
    for off in ["podInfoOnMount", "requiresRepublish", "seLinuxMount", "storageCapacity"] {
        default(spec, off, false);
    }
}

fn class(it: &mut Value) {
    default(as_map(it), "reclaimPolicy", "Delete");
    default(as_map(it), "volumeBindingMode", "Immediate");
}

fn policy(it: &mut Value) {
    let egress = at(it, &["spec", "egress"]).is_some_and(|it| it.as_array().is_some_and(|it| !it.is_empty()));
    let kinds = if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    default(spec(it), "policyTypes", kinds);
    default(spec(it), "podSelector", json!({}));
    for rule in items_mut(spec(it), "ingress").iter_mut().map(as_map) {
        for port in items_mut(rule, "ports").iter_mut().map(as_map) {
            default(port, "protocol", "TCP");
        }
    }
}

fn webhooks(it: &mut Value, mutating: bool) {
    for hook in items_mut(as_map(it), "webhooks").iter_mut().map(as_map) {
        default(hook, "failurePolicy", "Fail");
        default(hook, "matchPolicy", "Equivalent");
        default(hook, "namespaceSelector", json!({}));
        default(hook, "objectSelector", json!({}));
        default(hook, "timeoutSeconds", 10);
        if mutating {
            default(hook, "reinvocationPolicy", "Never");
        }
        if let Some(service) = hook.get_mut("clientConfig").and_then(|it| it.get_mut("service")) {
            default(as_map(service), "port", 443);
        }
        for rule in items_mut(hook, "rules").iter_mut().map(as_map) {
            default(rule, "scope", "*");
        }
    }
}

fn crd(it: &mut Value) {
    let map = spec(it);
    default(map, "conversion", json!({ "strategy": "None" }));
    let versions = items_mut(map, "versions");
    let stored: Vec<_> = versions
        .iter()
        .filter(|version| version.get("storage").is_some_and(|it| it == true))
        .map(|version| version.get("name").cloned().unwrap_or_default())
        .collect();
    if !stored.is_empty() {
        default(object(it, "status"), "storedVersions", json!(stored));
    }
    let map = spec(it);
    let names = inner(map, "names");
    let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    default(names, "singular", kind.to_lowercase());
    default(names, "listKind", format!("{kind}List"));
}
