//! Fields of built-in kinds that may not change, or not in every way.

use serde_json::{Value, json};

use crate::json as tree;
use crate::kinds::Kind;
use crate::status::Cause;

/// Says what of a change is not allowed.
pub(super) fn check(kind: &Kind, old: &Value, new: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut fixed = |path: &[&str]| immutable(path, (old, new), &mut causes);
    match (kind.group(), kind.plural()) {
        ("", "configmaps" | "secrets") => frozen(old, new, &mut causes),
        ("apps", "deployments" | "daemonsets" | "replicasets") => fixed(&["spec", "selector"]),
        ("apps", "statefulsets") => stateful(old, new, &mut causes),
        ("batch", "jobs") => {
            fixed(&["spec", "completions"]);
            fixed(&["spec", "selector"]);
            fixed(&["spec", "completionMode"]);
            if tree::at(old, &["spec", "suspend"]).is_none_or(|it| it != true) {
                fixed(&["spec", "template"]);
            }
        }
        ("", "services") => cluster_ip(old, new, &mut causes),
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings")
            if old.get("roleRef") != new.get("roleRef") =>
        {
            let text = |field: &str| tree::text(new, &["roleRef", field]).to_owned();
            let shown = json!({ "APIGroup": text("apiGroup"), "Kind": text("kind"), "Name": text("name") });
            causes.push(Cause::invalid("roleRef", &shown, "cannot change roleRef"));
        }
        ("storage.k8s.io", "storageclasses") => {
            for field in ["parameters", "provisioner", "volumeBindingMode"] {
                fixed(&[field]);
            }
            if old.get("reclaimPolicy") != new.get("reclaimPolicy") {
                causes.push(Cause::forbidden("reclaimPolicy", "updates to reclaimPolicy are forbidden."));
            }
        }
        ("scheduling.k8s.io", "priorityclasses") if old.get("value") != new.get("value") => {
            causes.push(Cause::forbidden("value", "may not be changed in an update."));
        }
        ("apiextensions.k8s.io", "customresourcedefinitions") => {
            fixed(&["spec", "scope"]);
            fixed(&["spec", "names", "kind"]);
        }
        ("", "persistentvolumeclaims") => claim(old, new, &mut causes),
        _ => {}
    }
    causes
}

fn immutable(path: &[&str], (old, new): (&Value, &Value), causes: &mut Vec<Cause>) {
    let found = tree::at(new, path);
    if tree::at(old, path) != found {
        let found = found.cloned().unwrap_or_default();
        causes.push(Cause::invalid(path.join("."), &found, "field is immutable"));
    }
}

/// `ConfigMaps` and Secrets that say so do not change any more; the type of a Secret never does.
fn frozen(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    immutable(&["type"], (old, new), causes);
    if old.get("immutable").is_none_or(|it| it != true) {
        return;
    }
    for field in ["immutable", "data", "binaryData"] {
        if old.get(field) != new.get(field) {
            causes.push(Cause::forbidden(field, "field is immutable when `immutable` is set"));
        }
    }
}

fn without(object: &Value, fields: &[&str]) -> Value {
    let mut spec = object.get("spec").cloned().unwrap_or_default();
    let map = tree::as_map(&mut spec);
    for field in fields {
        map.shift_remove(*field);
    }
    spec
}

/// Of a `StatefulSet`, only a few fields may change.
fn stateful(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    const MAY: [&str; 7] = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    if without(old, &MAY) != without(new, &MAY) {
        let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
            'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are \
            forbidden";
        causes.push(Cause::forbidden("spec", why));
    }
}

/// A Service keeps its address as long as it has one.
fn cluster_ip(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    let (was, is) = (tree::text(old, &["spec", "clusterIP"]), tree::text(new, &["spec", "clusterIP"]));
    let external = tree::text(new, &["spec", "type"]) == "ExternalName";
    if !was.is_empty() && was != is && !external {
        causes.push(Cause::invalid("spec.clusterIPs[0]", &json!([is]), "may not change once set"));
    }
}

/// A claim may only grow, and only when it is bound. Binding gives it its volume and its class.
fn claim(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    let bound = tree::text(old, &["status", "phase"]) == "Bound";
    let size = if bound { "resources" } else { "" };
    let fresh = |field: &'static str| if tree::text(old, &["spec", field]).is_empty() { field } else { "" };
    let may = ["volumeAttributesClassName", size, fresh("volumeName"), fresh("storageClassName")];
    if without(old, &may) != without(new, &may) {
        let why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound \
            claims";
        causes.push(Cause::forbidden("spec", why));
    }
}
