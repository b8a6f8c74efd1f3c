//! Claims: bound, or with a class that waits for the first pod and no pod that
//! uses it.

use serde_json::Value;

use super::{Context, Health, pods, text};
use crate::model::object::GroupKind;

/// Judges a `PersistentVolumeClaim`.
pub(super) fn claim(object: &Value, context: Context<'_>) -> Health {
    let progressing = |reason: &str| Health::Progressing(reason.to_owned());
    match text(object, "/status/phase") {
        Some("Bound") => return Health::Ready,
        Some("Lost") => return Health::Failed("its volume is lost".to_owned()),
        Some("Pending") => {}
        phase => return Health::Progressing(format!("phase {}", phase.unwrap_or("unknown"))),
    }
    // An empty name means a volume without a class; none at all waits for a default class.
    let class = match text(object, "/spec/storageClassName") {
        Some("") => return progressing("not bound: no volume without a class fits yet"),
        Some(class) => class,
        None => return progressing("not bound: it names no StorageClass, and there is no default"),
    };
    let Some(classes) = context.around.all(&GroupKind::new("storage.k8s.io", "StorageClass"), None) else {
        return progressing("looking for its StorageClass");
    };
    let Some(found) = classes.iter().find(|found| text(found, "/metadata/name") == Some(class)) else {
        return Health::Progressing(format!("not bound: there is no StorageClass {class}"));
    };
    if text(found, "/mode") != Some("WaitForFirstConsumer") {
        return Health::Progressing(format!("not bound yet by StorageClass {class}"));
    }
    if object.pointer("/metadata/annotations/volume.kubernetes.io~1selected-node").is_some() {
        return progressing("not bound yet: a pod that uses it has its node");
    }
    let namespace = text(object, "/metadata/namespace");
    let Some(all) = context.around.all(&GroupKind::new("", "Pod"), namespace) else {
        return progressing("looking for pods that use it");
    };
    let name = text(object, "/metadata/name").unwrap_or_default();
    match all.iter().find(|pod| pods::uses_claim(pod, name)) {
        // It binds when somebody uses it: as far as it goes by itself.
        None => Health::Ready,
        Some(pod) => Health::Progressing(format!(
            "not bound yet: Pod {} uses it",
            text(pod, "/metadata/name").unwrap_or_default()
        )),
    }
}
