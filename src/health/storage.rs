//! Claims: bound, or with a class that waits for the first pod and no pod that
//! uses it.

use serde_json::Value;

use super::around::By;
use super::{Context, Health, text};
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
    let by = By::Name(class.to_owned());
    let Some(classes) = context.around.parts(&GroupKind::new("storage.k8s.io", "StorageClass"), &by) else {
        return progressing("looking for its StorageClass");
    };
    let Some(found) = classes.first() else {
        return Health::Progressing(format!("not bound: there is no StorageClass {class}"));
    };
    if text(found, "/mode") != Some("WaitForFirstConsumer") {
        return Health::Progressing(format!("not bound yet by StorageClass {class}"));
    }
    if object.pointer("/metadata/annotations/volume.kubernetes.io~1selected-node").is_some() {
        return progressing("not bound yet: a pod that uses it has its node");
    }
    let part = |pointer: &str| text(object, pointer).unwrap_or_default().to_owned();
    let by = By::Claim(part("/metadata/namespace"), part("/metadata/name"));
    let Some(users) = context.around.parts(&GroupKind::new("", "Pod"), &by) else {
        return progressing("looking for pods that use it");
    };
    match users.first() {
        // It binds when somebody uses it: as far as it goes by itself.
        None => Health::Ready,
        Some(pod) => Health::Progressing(format!(
            "not bound yet: Pod {} uses it",
            text(pod, "/metadata/name").unwrap_or_default()
        )),
    }
}
