//! What the specs of built-in kinds must have.

use serde_json::{Value, json};

use super::{containers, crds, pods, services, workloads};
use crate::json as tree;
use crate::kinds::Kind;
use crate::status::Cause;

/// Says what is wrong with an object of a built-in kind.
pub(super) fn check(kind: &Kind, object: &Value) -> Vec<Cause> {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    match (kind.group(), kind.plural()) {
        ("", "pods") => pods::spec(spec, "spec", &[]),
        ("apps", "deployments" | "statefulsets" | "daemonsets" | "replicasets") => {
            workloads::workload(kind, spec)
        }
        ("batch", "jobs") => workloads::job(spec, "spec"),
        ("batch", "cronjobs") => workloads::cron_job(tree::text(object, &["metadata", "name"]), spec),
        ("", "services") => services::service(spec),
        ("networking.k8s.io", "ingresses") => services::ingress(spec),
        ("networking.k8s.io", "networkpolicies") => policy(spec),
        ("policy", "poddisruptionbudgets") => workloads::budget(spec),
        ("storage.k8s.io", "storageclasses") => storage_class(object),
        ("scheduling.k8s.io", "priorityclasses") => priority_class(object),
        ("", "secrets") if tree::text(object, &["type"]) == "kubernetes.io/tls" => {
            keys(object).into_iter().chain(certificate(object)).collect()
        }
        ("", "persistentvolumeclaims") => claim(spec),
        ("", "configmaps" | "secrets") => keys(object),
        ("", "events") => event(object),
        ("rbac.authorization.k8s.io", "roles" | "clusterroles") => rules(object),
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => binding(kind, object),
        ("apiregistration.k8s.io", "apiservices") => api_service(object),
        ("apiextensions.k8s.io", "customresourcedefinitions") => crds::check(object),
        (
            "admissionregistration.k8s.io",
            "mutatingwebhookconfigurations" | "validatingwebhookconfigurations",
        ) => webhooks(object),
        _ => Vec::new(),
    }
}

fn policy(spec: &Value) -> Vec<Cause> {
    let known = ["Ingress", "Egress"];
    let wrong = tree::items(spec, "policyTypes").iter().enumerate();
    let wrong = wrong.filter(|(_, it)| it.as_str().is_none_or(|it| !known.contains(&it)));
    wrong
        .map(|(index, it)| {
            Cause::unsupported(format!("spec.policyTypes[{index}]"), it, &known.map(str::to_owned))
        })
        .collect()
}

fn storage_class(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if tree::text(object, &["provisioner"]).is_empty() {
        causes.push(Cause::required("provisioner", ""));
    }
    let modes = ["Immediate", "WaitForFirstConsumer"].map(str::to_owned);
    if let Some(mode) = object
        .get("volumeBindingMode")
        .filter(|it| it.as_str().is_none_or(|it| !modes.contains(&it.to_owned())))
    {
        causes.push(Cause::unsupported("volumeBindingMode", mode, &modes));
    }
    causes
}

fn priority_class(object: &Value) -> Vec<Cause> {
    const MOST: i64 = 1_000_000_000;
    let value = object.get("value").and_then(Value::as_i64).unwrap_or_default();
    let own = tree::text(object, &["metadata", "name"]).starts_with("system-");
    let why = format!("maximum allowed value of a user defined priority is {MOST}");
    if value > MOST && !own { vec![Cause::forbidden("value", &why)] } else { Vec::new() }
}

/// A Secret with a certificate has both of its halves.
fn certificate(object: &Value) -> Vec<Cause> {
    let has =
        |key: &str| ["data", "stringData"].iter().any(|field| tree::at(object, &[field, key]).is_some());
    let missing = ["tls.crt", "tls.key"].into_iter().filter(|key| !has(key));
    missing.map(|key| Cause::required(format!("data[{key}]"), "")).collect()
}

fn binding(kind: &Kind, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let known: &[&str] =
        if kind.plural() == "rolebindings" { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    let role = object.get("roleRef").unwrap_or(&Value::Null);
    containers::one_of(role, "kind", "roleRef", known, &mut causes);
    for (index, subject) in tree::items(object, "subjects").iter().enumerate() {
        let known = ["ServiceAccount", "User", "Group"];
        containers::one_of(subject, "kind", &format!("subjects[{index}]"), &known, &mut causes);
    }
    causes
}

fn claim(spec: &Value) -> Vec<Cause> {
    const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
    let mut causes = Vec::new();
    for mode in
        tree::items(spec, "accessModes").iter().filter(|it| it.as_str().is_none_or(|it| !MODES.contains(&it)))
    {
        causes.push(Cause::unsupported("spec.accessModes", mode, &MODES.map(str::to_owned)));
    }
    let size = tree::text(spec, &["resources", "requests", "storage"]);
    if size.starts_with('-') || size == "0" {
        causes.push(Cause::invalid("spec.resources[storage]", &json!(size), "must be greater than zero"));
    }
    if tree::items(spec, "accessModes").is_empty() {
        causes.push(Cause::required("spec.accessModes", "at least 1 access mode is required"));
    }
    if tree::at(spec, &["resources", "requests", "storage"]).is_none() {
        causes.push(Cause::required("spec.resources[storage]", ""));
    }
    causes
}

fn keys(object: &Value) -> Vec<Cause> {
    let fits = |key: &str| key.chars().all(|c| c.is_ascii_alphanumeric() || ['-', '_', '.'].contains(&c));
    let maps =
        ["data", "binaryData"].into_iter().filter_map(|field| Some((field, object.get(field)?.as_object()?)));
    let keys = maps.flat_map(|(field, map)| map.keys().map(move |key| (field, key)));
    let why = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
        'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
    keys.filter(|(_, key)| key.is_empty() || !fits(key))
        .map(|(field, key)| Cause::invalid(format!("{field}[{key}]"), &json!(key), why))
        .collect()
}

fn event(object: &Value) -> Vec<Cause> {
    let about = tree::text(object, &["involvedObject", "namespace"]);
    let own = tree::text(object, &["metadata", "namespace"]);
    if about == own || about.is_empty() && own == "default" {
        return Vec::new();
    }
    vec![Cause::invalid("involvedObject.namespace", &json!(about), "does not match event.namespace")]
}

fn rules(object: &Value) -> Vec<Cause> {
    let rules = tree::items(object, "rules").iter().enumerate();
    rules
        .filter(|(_, rule)| tree::items(rule, "verbs").is_empty())
        .map(|(index, _)| {
            Cause::required(format!("rules[{index}].verbs"), "verbs must contain at least one value")
        })
        .collect()
}

fn api_service(object: &Value) -> Vec<Cause> {
    let name = tree::text(object, &["metadata", "name"]);
    let text = |field: &str| tree::text(object, &["spec", field]);
    let wanted = format!("{}.{}", text("version"), text("group"));
    if name == wanted {
        return Vec::new();
    }
    let why = format!("must be `spec.version+\".\"+spec.group`: {wanted:?}");
    vec![Cause::invalid("metadata.name", &json!(name), &why)]
}

fn webhooks(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (index, hook) in tree::items(object, "webhooks").iter().enumerate() {
        let path = format!("webhooks[{index}]");
        let name = tree::text(hook, &["name"]);
        if name.split('.').count() < 3 {
            let why = "should be a domain with at least three segments separated by dots";
            causes.push(Cause::invalid(format!("{path}.name"), &json!(name), why));
        }
        if tree::text(hook, &["sideEffects"]).is_empty() {
            causes.push(Cause::required(
                format!("{path}.sideEffects"),
                "must specify one of None, NoneOnDryRun",
            ));
        }
        let ways =
            ["url", "service"].iter().filter(|way| tree::at(hook, &["clientConfig", way]).is_some()).count();
        if ways != 1 {
            let why = "exactly one of url or service is required";
            causes.push(Cause::required(format!("{path}.clientConfig"), why));
        }
        if tree::items(hook, "admissionReviewVersions").is_empty() {
            let field = format!("{path}.admissionReviewVersions");
            causes.push(Cause::required(field, "must specify one of v1, v1beta1"));
        }
    }
    causes
}
