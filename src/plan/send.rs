//! What of a rendered object is sent: fields that others are meant to own are
//! not, and fields that the server only takes in are written as it keeps them,
//! so that drift in them is seen.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::planner::Desired;
use crate::model::object::{GroupKind, Object, ObjectId, split_api_version};

/// Kinds that scale the object that their `spec.scaleTargetRef` names, with the kind it has when none is said.
const SCALERS: [(&str, &str, &str); 2] =
    [("autoscaling", "HorizontalPodAutoscaler", ""), ("keda.sh", "ScaledObject", "Deployment")];

/// The kinds that scale others.
pub(crate) fn scalers() -> impl Iterator<Item = GroupKind> {
    SCALERS.iter().map(|(group, kind, _)| GroupKind::new(*group, *kind))
}

/// The object that an autoscaler scales.
pub(crate) fn scaled(object: &Object) -> Option<ObjectId> {
    let (.., default) = SCALERS
        .iter()
        .find(|(group, name, _)| object.id.kind.group == *group && object.id.kind.kind == *name)?;
    let target = object.value.pointer("/spec/scaleTargetRef")?;
    let text = |key: &str| target.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (group, _) = split_api_version(text("apiVersion").unwrap_or("apps/v1"));
    let kind = GroupKind::new(group, text("kind").unwrap_or(default));
    Some(ObjectId { kind, namespace: object.id.namespace.clone(), name: text("name")?.to_owned() })
}

/// Makes all objects what is sent of them.
pub(crate) fn prepare(desired: &mut Desired) {
    let objects = || desired.components.iter().flat_map(|component| &component.objects);
    let wanted: BTreeSet<ObjectId> = objects().filter_map(|(_, object)| scaled(object)).collect();
    leave_replicas(desired, &wanted);
    for (_, object) in desired.components.iter_mut().flat_map(|component| &mut component.objects) {
        if is_text_secret(object) || placeholders(&object.value).next().is_some() {
            let object = Arc::make_mut(object);
            write_secret(object);
            let pointers: Vec<String> = placeholders(&object.value).collect();
            for parent in pointers {
                if let Some(parent) = object.value.pointer_mut(&parent).and_then(Value::as_object_mut) {
                    parent.shift_remove("caBundle");
                }
            }
        }
    }
}

/// Leaves the replicas of some objects to the autoscalers that scale them.
pub(crate) fn leave_replicas(desired: &mut Desired, scaled: &BTreeSet<ObjectId>) {
    for (_, object) in desired.components.iter_mut().flat_map(|component| &mut component.objects) {
        if !scaled.contains(&object.id) || object.value.pointer("/spec/replicas").is_none() {
            continue;
        }
        if let Some(spec) = Arc::make_mut(object).value.get_mut("spec").and_then(Value::as_object_mut) {
            spec.shift_remove("replicas");
            desired.autoscaled.insert(object.id.clone());
        }
    }
}

fn is_text_secret(object: &Object) -> bool {
    object.id.kind.group.is_empty()
        && object.id.kind.kind == "Secret"
        && object.value.get("stringData").is_some()
}

/// Writes a Secret's text as the data that it becomes.
fn write_secret(object: &mut Object) {
    if !is_text_secret(object) {
        return;
    }
    let Some(map) = object.value.as_object_mut() else { return };
    let is_map = |key: &str| matches!(map.get(key), None | Some(Value::Null | Value::Object(_)));
    if !is_map("data") || !is_map("stringData") {
        // The server refuses it, in its own words.
        return;
    }
    let text = map.shift_remove("stringData");
    let Some(Value::Object(text)) = text else { return };
    let data = map.entry("data").or_insert(Value::Null);
    if data.is_null() {
        *data = json!({});
    }
    for (key, value) in text {
        match value {
            Value::String(text) => data[key] = json!(STANDARD.encode(text)),
            Value::Null => {}
            // The server refuses it, in its own words.
            other => data[key] = other,
        }
    }
}

/// Where a `caBundle` stands that holds no certificate: whoever knows the real one puts it there.
fn placeholders(object: &Value) -> impl Iterator<Item = String> {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let group = split_api_version(text("apiVersion")).0;
    let parents: Vec<String> = match (group, text("kind")) {
        ("admissionregistration.k8s.io", _) => {
            let webhooks = object.get("webhooks").and_then(Value::as_array).map_or(0, Vec::len);
            (0..webhooks).map(|index| format!("/webhooks/{index}/clientConfig")).collect()
        }
        ("apiextensions.k8s.io", _) => vec!["/spec/conversion/webhook/clientConfig".to_owned()],
        ("apiregistration.k8s.io", _) => vec!["/spec".to_owned()],
        _ => Vec::new(),
    };
    parents.into_iter().filter(|parent| {
        let bundle = object.pointer(parent).and_then(|parent| parent.get("caBundle"));
        bundle.is_some_and(|bundle| !holds_certificate(bundle))
    })
}

fn holds_certificate(bundle: &Value) -> bool {
    let bytes = bundle.as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).contains("BEGIN CERTIFICATE")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{component, of};
    use super::*;
    use crate::plan::Stage;

    fn sent(objects: &[Value], autoscaled: &[&str]) -> Vec<Value> {
        let objects = objects.iter().map(|value| Arc::new(Object::from_value(value.clone()).unwrap()));
        let mut desired = of(vec![component("a", objects.map(|object| (Stage::Objects, object)).collect())]);
        let id = |name: &&str| ObjectId {
            kind: GroupKind::new("apps", "Deployment"),
            namespace: Some("x".to_owned()),
            name: (*name).to_owned(),
        };
        prepare(&mut desired);
        leave_replicas(&mut desired, &autoscaled.iter().map(id).collect());
        desired.components[0].objects.iter().map(|(_, object)| object.value.clone()).collect()
    }

    fn deployment(name: &str) -> Value {
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "namespace": "x" }, "spec": { "replicas": 3 } })
    }

    #[test]
    fn replicas_are_the_autoscalers() {
        let scaler = |api_version: &str, kind: &str, target: Value| {
            json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": "s", "namespace": "x" },
                "spec": { "scaleTargetRef": target } })
        };
        let objects = [
            deployment("a"),
            deployment("b"),
            deployment("c"),
            deployment("d"),
            scaler(
                "autoscaling/v2",
                "HorizontalPodAutoscaler",
                json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "a" }),
            ),
            scaler("keda.sh/v1alpha1", "ScaledObject", json!({ "name": "b" })),
        ];
        let sent = sent(&objects, &["c"]);
        let replicas: Vec<_> = sent[..4].iter().map(|it| it["spec"].get("replicas").is_some()).collect();
        assert_eq!(replicas, [false, false, false, true]);
    }

    #[test]
    fn text_of_secrets_is_sent_as_data() {
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" },
            "data": { "a": "YQ==", "b": "old" }, "stringData": { "b": "c", "none": null } });
        assert_eq!(sent(&[secret], &[])[0]["data"], json!({ "a": "YQ==", "b": "Yw==" }));
        // What is no map is left to the server's refusal.
        for (data, text) in
            [(json!(""), json!({ "a": "b" })), (json!([]), json!({ "a": "b" })), (json!({}), json!("a"))]
        {
            let odd = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "data": data, "stringData": text });
            assert_eq!(sent(std::slice::from_ref(&odd), &[])[0], odd);
        }
        let other = json!({ "apiVersion": "x.example/v1", "kind": "Secret", "metadata": { "name": "s" }, "stringData": { "b": "c" } });
        assert_eq!(sent(std::slice::from_ref(&other), &[])[0], other);
    }

    #[test]
    fn bundles_without_a_certificate_are_left_to_others() {
        let real = STANDARD.encode("-----BEGIN CERTIFICATE-----\n");
        let webhooks = json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": { "name": "w" }, "webhooks": [
                { "clientConfig": { "caBundle": "Cg==" } }, { "clientConfig": { "caBundle": real } }, { "clientConfig": { "url": "https://x" } }] });
        let service = json!({ "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": { "name": "v1.x" },
            "spec": { "caBundle": "" } });
        let sent = sent(&[webhooks, service], &[]);
        assert_eq!(
            sent[0]["webhooks"],
            json!([{ "clientConfig": {} }, { "clientConfig": { "caBundle": real } }, { "clientConfig": { "url": "https://x" } }])
        );
        assert_eq!(sent[1]["spec"], json!({}));
    }
}
