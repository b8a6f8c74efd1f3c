//! What the server refuses of an object: bad names, and changes of fields that may not change.
//! Objects are not held against their schema yet (strict field validation, CRD schemas): that would be done here.

use serde_json::Value;

use crate::json;
use crate::kinds::Kind;
use crate::status::Cause;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
    start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

/// Says what is wrong with a new object.
pub(crate) fn new(kind: &Kind, object: &Value) -> Vec<Cause> {
    let name = json::text(object, &["metadata", "name"]);
    if name.is_empty() {
        let message = "Required value: name or generateName is required".to_owned();
        return vec![Cause { reason: "FieldValueRequired", field: "metadata.name".to_owned(), message }];
    }
    let mut causes = Vec::new();
    // RBAC names may hold nearly anything.
    let label = kind.is("", "namespaces") || kind.is("", "services");
    if kind.group() == "rbac.authorization.k8s.io" {
        return causes;
    }
    let parts: Vec<_> = if label { vec![name] } else { name.split('.').collect() };
    if !parts.iter().all(|part| is_label(part)) {
        let message = format!("Invalid value: {name:?}: {}", if label { LABEL } else { SUBDOMAIN });
        causes.push(Cause { reason: "FieldValueInvalid", field: "metadata.name".to_owned(), message });
    }
    let most = if label { 63 } else { 253 };
    if name.len() > most {
        let message = format!("Invalid value: {name:?}: must be no more than {most} bytes");
        causes.push(Cause { reason: "FieldValueInvalid", field: "metadata.name".to_owned(), message });
    }
    causes
}

fn is_label(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    part.starts_with(plain) && part.ends_with(plain) && part.chars().all(|c| plain(c) || c == '-')
}

/// Says what is wrong with a change.
pub(crate) fn changed(kind: &Kind, old: &Value, new: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    match (kind.group(), kind.plural()) {
        ("", "configmaps" | "secrets") => frozen(old, new, &mut causes),
        ("apps", "deployments" | "daemonsets" | "replicasets") => {
            immutable(&["spec", "selector"], (old, new), &mut causes);
        }
        ("apps", "statefulsets") => stateful(old, new, &mut causes),
        ("batch", "jobs") => {
            immutable(&["spec", "selector"], (old, new), &mut causes);
            let suspended = json::at(old, &["spec", "suspend"]).is_some_and(|it| it == true);
            if !suspended {
                immutable(&["spec", "template"], (old, new), &mut causes);
            }
        }
        ("", "services") => cluster_ip(old, new, &mut causes),
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings")
            if old.get("roleRef") != new.get("roleRef") =>
        {
            invalid("roleRef", new.get("roleRef"), "cannot change roleRef", &mut causes);
        }
        ("storage.k8s.io", "storageclasses") => {
            for field in ["provisioner", "reclaimPolicy", "volumeBindingMode"] {
                if old.get(field) != new.get(field) {
                    forbidden(field, &("updates to ".to_owned() + field + " are forbidden."), &mut causes);
                }
            }
        }
        ("", "persistentvolumeclaims") => claim(old, new, &mut causes),
        _ => {}
    }
    causes
}

fn immutable(path: &[&str], (old, new): (&Value, &Value), causes: &mut Vec<Cause>) {
    let found = json::at(new, path);
    if json::at(old, path) != found {
        invalid(&path.join("."), found, "field is immutable", causes);
    }
}

fn invalid(field: &str, value: Option<&Value>, why: &str, causes: &mut Vec<Cause>) {
    let value = value.map_or_else(|| "null".to_owned(), Value::to_string);
    let message = format!("Invalid value: {value}: {why}");
    causes.push(Cause { reason: "FieldValueInvalid", field: field.to_owned(), message });
}

fn forbidden(field: &str, why: &str, causes: &mut Vec<Cause>) {
    let message = format!("Forbidden: {why}");
    causes.push(Cause { reason: "FieldValueForbidden", field: field.to_owned(), message });
}

/// `ConfigMaps` and Secrets that say so do not change any more; the type of a Secret never does.
fn frozen(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    if old.get("type") != new.get("type") {
        invalid("type", new.get("type"), "field is immutable", causes);
    }
    if old.get("immutable").is_none_or(|it| it != true) {
        return;
    }
    for field in ["immutable", "data", "binaryData"] {
        if old.get(field) != new.get(field) {
            forbidden(field, "field is immutable when `immutable` is set", causes);
        }
    }
}

/// Of a `StatefulSet`, only a few fields may change.
fn stateful(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    const MAY: [&str; 8] = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
        "podManagementPolicyTrailing",
    ];
    let rest = |object: &Value| {
        let mut spec = object.get("spec").cloned().unwrap_or_default();
        let map = json::as_map(&mut spec);
        for field in MAY {
            map.shift_remove(field);
        }
        spec
    };
    if rest(old) != rest(new) {
        let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
            'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are \
            forbidden";
        forbidden("spec", why, causes);
    }
}

/// A Service keeps its address as long as it has one.
fn cluster_ip(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    let (was, is) = (json::text(old, &["spec", "clusterIP"]), json::text(new, &["spec", "clusterIP"]));
    let external = json::text(new, &["spec", "type"]) == "ExternalName";
    if !was.is_empty() && was != is && !external {
        let first = json::at(new, &["spec", "clusterIPs"]).or_else(|| json::at(new, &["spec", "clusterIP"]));
        let field = "spec.clusterIPs[0]";
        let _ = first;
        invalid(field, Some(&Value::from(vec![is])), "may not change once set", causes);
    }
}

/// A claim may only grow.
fn claim(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    let rest = |object: &Value| {
        let mut spec = object.get("spec").cloned().unwrap_or_default();
        let map = json::as_map(&mut spec);
        for field in ["resources", "volumeName", "volumeAttributesClassName"] {
            map.shift_remove(field);
        }
        spec
    };
    if rest(old) != rest(new) {
        let why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound \
            claims";
        forbidden("spec", why, causes);
    }
}
