//! The user's patches (RFC 6902) of rendered objects: each must match an
//! object, and apply to all that it matches.

use std::collections::BTreeSet;

use json_patch::{PatchError, PatchErrorKind};
use serde_json::Value;

use super::RenderError;
use crate::code::Code;
use crate::model::cloud::{ObjectPatch, PatchTarget};
use crate::model::component::Resolved;
use crate::model::object::Object;
use crate::model::suggest::nearest;
use crate::plan::Stage;

/// Applies all patches; with all mistakes in them.
pub(super) fn apply(resolved: &Resolved, objects: &mut [(Stage, Object)]) -> Vec<RenderError> {
    let mut errors = Vec::new();
    for (index, patch) in resolved.patches.iter().enumerate() {
        let fail =
            |below: &[&str], problem: String, hint: &str| mistake(resolved, index, below, (problem, hint));
        let operations: json_patch::Patch = match serde_json::from_value(Value::Array(patch.patch.clone())) {
            Ok(operations) => operations,
            Err(error) => {
                let problem = format!("not a JSON patch (RFC 6902): {error}");
                errors.push(fail(&["patch"], problem, "write `op`, `path` and `value` of each operation"));
                continue;
            }
        };
        let mut matched = false;
        for (_, object) in objects.iter_mut().filter(|(_, object)| targets(patch, object)) {
            matched = true;
            if let Err(error) = json_patch::patch(&mut object.value, &operations) {
                let (problem, hint) = words(&error);
                let at = error.operation.to_string();
                errors.push(fail(&["patch", &at], format!("{}: {problem}", object.id), hint));
                continue;
            }
            match Object::from_value(std::mem::take(&mut object.value)) {
                Ok(patched) => *object = patched,
                Err(error) => {
                    let problem = format!("{} would be no object: {error}", object.id);
                    errors.push(fail(
                        &["patch"],
                        problem,
                        "leave `apiVersion`, `kind` and `metadata.name` alone",
                    ));
                }
            }
        }
        if !matched {
            let problem = format!("there is no {} to patch", named(&patch.target));
            errors.push(fail(&["target"], problem, &meant(&patch.target, objects)));
        }
    }
    errors
}

fn mistake(
    resolved: &Resolved,
    index: usize,
    below: &[&str],
    (problem, hint): (String, &str),
) -> RenderError {
    let name = &resolved.component.name;
    let index = index.to_string();
    let above = ["components", name.as_str(), "patches", &index];
    RenderError {
        code: Code(2009),
        component: name.clone(),
        file: None,
        line: None,
        in_cloud: Some(above.iter().chain(below).map(|step| (*step).to_owned()).collect()),
        problem,
        hint: Some(hint.to_owned()),
    }
}

/// Why an operation cannot be done, and what to do.
fn words(error: &PatchError) -> (String, &'static str) {
    let path = &error.path;
    match error.kind {
        PatchErrorKind::TestFailed => {
            (format!("the test of `{path}` fails"), "what stands there is not what the patch expects")
        }
        PatchErrorKind::InvalidFromPointer => {
            (format!("there is nothing at `from` to bring to `{path}`"), SHOW)
        }
        PatchErrorKind::CannotMoveInsideItself => {
            (format!("what is moved to `{path}` would be inside itself"), "move it somewhere else")
        }
        PatchErrorKind::InvalidPointer => (format!("there is nothing at `{path}`"), SHOW),
        ref other => (format!("`{path}`: {other}"), SHOW),
    }
}

/// Where to look for what can be patched.
const SHOW: &str =
    "`cozy render` shows the objects; what is not there yet is added part by part, with `op: add`";

/// What a target names.
fn named(target: &PatchTarget) -> String {
    let PatchTarget { kind, group, name, namespace } = target;
    let kind = group
        .as_deref()
        .filter(|group| !group.is_empty())
        .map_or_else(|| kind.clone(), |group| format!("{kind}.{group}"));
    let name = name.as_deref().map(|name| format!(" `{name}`")).unwrap_or_default();
    let namespace = namespace.as_deref().map(|name| format!(" in namespace `{name}`")).unwrap_or_default();
    format!("{kind}{name}{namespace}")
}

/// What may have been meant: the nearest kind, or the nearest name of that kind; else what there is.
fn meant(target: &PatchTarget, objects: &[(Stage, Object)]) -> String {
    let of_kind = objects.iter().filter(|(_, object)| object.id.kind.kind == target.kind);
    let names: BTreeSet<&str> = of_kind.map(|(_, object)| object.id.name.as_str()).collect();
    let kinds: BTreeSet<&str> = objects.iter().map(|(_, object)| object.id.kind.kind.as_str()).collect();
    let (written, known) = match &target.name {
        Some(name) if !names.is_empty() => (name.as_str(), &names),
        _ => (target.kind.as_str(), &kinds),
    };
    match nearest(written, known.iter().copied()).filter(|near| *near != written) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "the component has no objects".to_owned(),
        None => {
            let some: Vec<&str> = known.iter().copied().take(10).collect();
            format!("the component has: {}", some.join(", "))
        }
    }
}

fn targets(patch: &ObjectPatch, object: &Object) -> bool {
    let target = &patch.target;
    let agrees = |wanted: &Option<String>, found: Option<&str>| {
        wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
    };
    target.kind == object.id.kind.kind
        && agrees(&target.group, Some(&object.id.kind.group))
        && agrees(&target.name, Some(&object.id.name))
        && agrees(&target.namespace, object.id.namespace.as_deref())
}
