//! A chart's hooks: when Helm would delete what they leave behind, and which
//! of them are run again by a new object.

use super::Stage;
use crate::model::object::{GroupKind, Object};

/// Whether what an object of a hook does ends: Helm waits for that, and for nothing else.
pub(crate) fn ends(kind: &GroupKind) -> bool {
    matches!((kind.group.as_str(), kind.kind.as_str()), ("batch", "Job") | ("", "Pod"))
}

/// The stage in which a hook is deleted that has succeeded; `None`: it stays.
pub(crate) fn deleted_in(stage: Stage, object: &Object) -> Option<Stage> {
    if !stage.is_hook() || !has_policy(object, "hook-succeeded") {
        return None;
    }
    match stage {
        // What is a hook before and after serves both times.
        Stage::PreHooks(_) if is_also_after(object) => Some(Stage::PostHooksDone),
        Stage::PreHooks(_) => Some(Stage::PreHooksDone),
        Stage::PostHooks(_) => Some(Stage::PostHooksDone),
        Stage::Generated
        | Stage::Namespaces
        | Stage::Crds
        | Stage::PreHooksDone
        | Stage::Objects
        | Stage::Webhooks
        | Stage::Resources
        | Stage::PostHooksDone
        | Stage::Prune => None,
    }
}

/// Whether a hook is deleted when it has failed.
pub(crate) fn deleted_when_failed(object: &Object) -> bool {
    has_policy(object, "hook-failed")
}

/// Whether a delete policy is among a hook's; Helm never deletes CRDs.
fn has_policy(object: &Object, policy: &str) -> bool {
    object.id.kind.kind != "CustomResourceDefinition"
        && words(object, "helm.sh/hook-delete-policy").any(|word| word == policy)
}

fn is_also_after(object: &Object) -> bool {
    words(object, "helm.sh/hook").any(|event| event.starts_with("post-"))
}

/// The words of an annotation, as Helm reads them.
fn words<'a>(object: &'a Object, annotation: &str) -> impl Iterator<Item = String> + 'a {
    let annotations = object.value.pointer("/metadata/annotations");
    let text = annotations.and_then(|all| all.get(annotation)).and_then(serde_json::Value::as_str);
    text.unwrap_or_default().split(',').map(|word| word.trim().to_lowercase())
}
