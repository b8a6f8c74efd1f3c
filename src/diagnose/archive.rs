//! What others need to look at a cloud from afar: live objects and warnings,
//! without the data of Secrets and without their values anywhere else.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::ListParams;
use serde_json::{Value, json};

use super::look::Look;
use crate::cluster::Cluster;
use crate::cluster::error::ClusterError;
use crate::model::mask::{MASK, Masks};
use crate::model::object::GroupKind;
use crate::plan::planner::DesiredComponent;

/// Collects the files of an archive: name and contents, in order. `masks`: what they must not say besides.
///
/// # Errors
/// Where Secrets cannot be read: then nobody knows what must not be said.
pub(crate) async fn collect(
    cluster: &Cluster,
    components: &[&DesiredComponent],
    masks: &Masks,
) -> Result<BTreeMap<String, Vec<u8>>, ClusterError> {
    let look = Look::new(cluster);
    let namespaces: BTreeSet<&str> = components
        .iter()
        .flat_map(|component| &component.objects)
        .filter_map(|(_, object)| object.id.namespace.as_deref())
        .collect();
    let (found, unread) = look.masks(&namespaces).await;
    if let Some(error) = unread {
        return Err(error);
    }
    let masks = found.and(masks);
    let mut files = BTreeMap::new();
    for component in components {
        for (_, object) in &component.objects {
            if let Ok(Some(live)) = cluster.get(&object.id, &object.version).await {
                let name = format!(
                    "objects/{}/{}-{}-{}.json",
                    component.name,
                    object.id.kind,
                    object.id.namespace.as_deref().unwrap_or("_"),
                    object.id.name.replace(['/', ':'], "_")
                );
                files.insert(name, pretty(&clean(live, &masks)));
            }
        }
    }
    for namespace in namespaces {
        for kind in ["Pod", "Event"] {
            let list = look.list(&GroupKind::new("", kind), Some(namespace), ListParams::default()).await;
            let list: Vec<Value> = list.into_iter().map(|object| clean(object, &masks)).collect();
            files.insert(
                format!("namespaces/{namespace}/{}s.json", kind.to_lowercase()),
                pretty(&json!(list)),
            );
        }
    }
    Ok(files)
}

fn pretty(value: &Value) -> Vec<u8> {
    serde_json::to_vec_pretty(value).unwrap_or_default()
}

/// An object without secrets, and without what only servers read.
fn clean(mut object: Value, masks: &Masks) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    if object.get("kind").and_then(Value::as_str) == Some("Secret") {
        for key in ["data", "stringData"] {
            for (_, value) in object.get_mut(key).and_then(Value::as_object_mut).into_iter().flatten() {
                *value = json!(MASK);
            }
        }
    }
    masked(&mut object, masks);
    object
}

fn masked(value: &mut Value, masks: &Masks) {
    match value {
        Value::String(text) => *text = masks.mask(text),
        Value::Array(items) => items.iter_mut().for_each(|item| masked(item, masks)),
        Value::Object(map) => map.values_mut().for_each(|value| masked(value, masks)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_in_no_file() {
        // `canary-value` as base64.
        let secret = json!({ "kind": "Secret", "data": { "a": "Y2FuYXJ5LXZhbHVl" } });
        let masks = Masks::of([&secret]);
        assert_eq!(clean(secret, &masks), json!({ "kind": "Secret", "data": { "a": "[secret]" } }));
        let pod =
            json!({ "metadata": { "managedFields": [1] }, "spec": { "args": ["--token=canary-value"] } });
        assert_eq!(clean(pod, &masks), json!({ "metadata": {}, "spec": { "args": ["--token=[secret]"] } }));
    }
}
