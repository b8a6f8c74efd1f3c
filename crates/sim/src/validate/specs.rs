//! What the specs of built-in kinds must have.

use serde_json::{Value, json};

use super::{crds, pods};
use crate::json as tree;
use crate::kinds::Kind;
use crate::selector::labels_match;
use crate::status::Cause;

/// Says what is wrong with an object of a built-in kind.
pub(super) fn check(kind: &Kind, object: &Value) -> Vec<Cause> {
    let spec = object.get("spec").unwrap_or(&Value::Null);
    match (kind.group(), kind.plural()) {
        ("", "pods") => pods::spec(spec, "spec"),
        ("apps", "deployments" | "statefulsets" | "daemonsets" | "replicasets") => workload(kind, spec),
        ("batch", "jobs") => job(spec, "spec"),
        ("batch", "cronjobs") => {
            let template = tree::at(spec, &["jobTemplate", "spec"]).unwrap_or(&Value::Null);
            let mut causes: Vec<Cause> = schedule(spec).into_iter().collect();
            causes.extend(job(template, "spec.jobTemplate.spec"));
            causes
        }
        ("", "services") => service(spec),
        ("", "persistentvolumeclaims") => claim(spec),
        ("", "configmaps" | "secrets") => keys(object),
        ("", "events") => event(object),
        ("rbac.authorization.k8s.io", "roles" | "clusterroles") => rules(object),
        ("apiregistration.k8s.io", "apiservices") => api_service(object),
        ("apiextensions.k8s.io", "customresourcedefinitions") => crds::check(object),
        (
            "admissionregistration.k8s.io",
            "mutatingwebhookconfigurations" | "validatingwebhookconfigurations",
        ) => webhooks(object),
        _ => Vec::new(),
    }
}

/// Says what is wrong with a `CronJob`'s schedule: how many fields it has, or the name that stands for them.
fn schedule(spec: &Value) -> Option<Cause> {
    let schedule = tree::text(spec, &["schedule"]);
    if schedule.is_empty() {
        return Some(Cause::required("spec.schedule", ""));
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    let names = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
    let why = if schedule.starts_with('@') {
        let known = names.contains(&schedule) || schedule.starts_with("@every ");
        (!known).then(|| format!("unrecognized descriptor: {schedule}"))
    } else {
        let wrong = fields.len() != 5;
        wrong.then(|| format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")))
    };
    why.map(|why| Cause::invalid("spec.schedule", &Value::from(schedule), &why))
}

fn workload(kind: &Kind, spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(replicas) = spec.get("replicas").filter(|it| it.as_i64().is_some_and(|it| it < 0)) {
        causes.push(Cause::invalid("spec.replicas", replicas, "must be greater than or equal to 0"));
    }
    let selector = spec.get("selector").filter(|it| !it.is_null());
    if selector.is_none() {
        causes.push(Cause::required("spec.selector", ""));
    }
    let template = spec.get("template").unwrap_or(&Value::Null);
    let labels = tree::labels(template);
    if selector.is_none_or(|selector| !labels_match(selector, &labels)) {
        let shown = tree::at(template, &["metadata", "labels"]).cloned().unwrap_or_default();
        let why = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", &shown, why));
    }
    let pod = template.get("spec").unwrap_or(&Value::Null);
    // Volumes of a StatefulSet come from its claims, too, so its pod spec is not looked at before it makes pods.
    if kind.plural() != "statefulsets" {
        causes.extend(pods::spec(pod, "spec.template.spec"));
    }
    if let Some(policy) = pod.get("restartPolicy").filter(|policy| *policy != "Always") {
        let always = ["Always".to_owned()];
        causes.push(Cause::unsupported("spec.template.spec.restartPolicy", policy, &always));
    }
    causes
}

fn job(spec: &Value, path: &str) -> Vec<Cause> {
    let pod = tree::at(spec, &["template", "spec"]).unwrap_or(&Value::Null);
    let mut causes = pods::spec(pod, &format!("{path}.template.spec"));
    if tree::text(pod, &["restartPolicy"]) == "Always" {
        let field = format!("{path}.template.spec.restartPolicy");
        causes.push(Cause::required(field, "valid values: \"OnFailure\", \"Never\""));
    }
    causes
}

fn service(spec: &Value) -> Vec<Cause> {
    const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    let mut causes = Vec::new();
    let kind = tree::text(spec, &["type"]);
    let ports = tree::items(spec, "ports");
    if ports.is_empty() && kind != "ExternalName" && tree::text(spec, &["clusterIP"]) != "None" {
        causes.push(Cause::required("spec.ports", ""));
    }
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        if ports.len() > 1 && tree::text(port, &["name"]).is_empty() {
            causes.push(Cause::required(format!("{path}.name"), ""));
        }
        for field in ["port", "targetPort"] {
            let number =
                port.get(field).filter(|it| it.as_i64().is_some_and(|it| !(1..=65535).contains(&it)));
            if let Some(number) = number {
                let why = "must be between 1 and 65535, inclusive";
                causes.push(Cause::invalid(format!("{path}.{field}"), number, why));
            }
        }
    }
    if !TYPES.contains(&kind) {
        causes.push(Cause::unsupported("spec.type", &json!(kind), &TYPES.map(str::to_owned)));
    }
    causes
}

fn claim(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
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
