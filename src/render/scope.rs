//! What can only be said once all components are rendered: which namespace an
//! object is in, and that no two components have the same object.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::HashMapExt as _;
use serde_json::Value;

use super::mistakes::places;
use super::{RenderError, Rendered};
use crate::code::Code;
use crate::model::component::Resolved;
use crate::model::kinds::{Scope, built_in};
use crate::model::names::ComponentName;
use crate::model::object::{GroupKind, Object, ObjectId};

/// Gives namespaced objects without a namespace that of their component (those of a kind whose CRD is not at hand stay as
/// they were written), and checks that each object has one owner. A namespace that several components declare belongs to
/// the first of them.
pub(crate) fn finish(rendered: &mut [Rendered], components: &[&Resolved]) -> Result<(), Vec<RenderError>> {
    let scopes = custom_scopes(rendered, components);
    let mut errors = Vec::new();
    for (component, resolved) in rendered.iter_mut().zip(components) {
        let namespace = resolved.component.namespace.as_ref().map(|namespace| namespace.name.as_str());
        let objects = component.objects.iter_mut().map(|(_, object)| object);
        for object in objects.chain(&mut component.idle) {
            // Those of built-in kinds are in their places already.
            let scope = scopes.get(&object.id.kind).filter(|_| built_in(&object.id.kind).is_none());
            let Some(scope) = scope.filter(|scope| !is_in_place(object, **scope)) else { continue };
            errors.extend(placed(Arc::make_mut(object), *scope, namespace, &component.component).err());
        }
    }
    let again = repeated(rendered, components, &mut errors);
    for (component, object) in again.into_iter().rev() {
        if let Some(component) = rendered.get_mut(component) {
            let (_, namespace) = component.objects.remove(object);
            permit(rendered, &namespace);
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The levels of the Pod Security Standards, those that permit more first.
const LEVELS: [&str; 3] = ["privileged", "baseline", "restricted"];

/// Where the level stands that a namespace enforces.
const ENFORCED: &str = "/metadata/labels/pod-security.kubernetes.io~1enforce";

/// Lets a namespace permit what another component, which declares it, too, asks of it.
fn permit(rendered: &mut [Rendered], again: &Object) {
    let level = |object: &Object| {
        let level = object.value.pointer(ENFORCED)?.as_str()?;
        LEVELS.iter().position(|known| *known == level)
    };
    let mut objects = rendered.iter_mut().flat_map(|component| &mut component.objects);
    let Some((_, first)) = objects.find(|(_, object)| object.id == again.id) else { return };
    if let (Some(own), Some(other)) = (level(first), level(again))
        && other < own
        && let Some(text) = again.value.pointer(ENFORCED)
        && let Some(enforced) = Arc::make_mut(first).value.pointer_mut(ENFORCED)
    {
        enforced.clone_from(text);
    }
}

/// Objects that were rendered before: namespaces, which are given by place
/// and are left out, and all others, which are errors.
fn repeated(
    rendered: &[Rendered],
    components: &[&Resolved],
    errors: &mut Vec<RenderError>,
) -> Vec<(usize, usize)> {
    let count = rendered.iter().map(|component| component.objects.len()).sum();
    let mut owners: foldhash::HashMap<&ObjectId, &ComponentName> = foldhash::HashMap::with_capacity(count);
    let mut again = Vec::new();
    for (at, Rendered { component, objects, .. }) in rendered.iter().enumerate() {
        for (index, (_, object)) in objects.iter().enumerate() {
            match owners.entry(&object.id) {
                Entry::Vacant(free) => {
                    free.insert(component);
                }
                Entry::Occupied(_) if object.id.kind.kind == "Namespace" => again.push((at, index)),
                Entry::Occupied(owner) => {
                    let problem = if *owner.get() == component {
                        format!("{} is rendered twice", object.id)
                    } else {
                        format!("{} is also rendered by component `{}`", object.id, owner.get())
                    };
                    // The last place is the one that is too much.
                    let place = components.get(at).and_then(|resolved| places(resolved, &object.id).pop());
                    errors.push(RenderError {
                        file: place.as_ref().map(|place| place.file.to_owned()),
                        line: place.map(|place| place.line),
                        hint: Some("leave one of the two out, or give it another name".to_owned()),
                        ..error(component, 2010, problem)
                    });
                }
            }
        }
    }
    again
}

fn error(component: &ComponentName, code: u16, problem: String) -> RenderError {
    RenderError {
        code: Code(code),
        component: component.clone(),
        file: None,
        line: None,
        in_cloud: None,
        problem,
        hint: None,
    }
}

/// Why an object cannot be placed, and what to do.
const NO_NAMESPACE: &str = "it needs a namespace: neither the object nor the component names one";
pub(crate) const NAMESPACE_HINT: &str = "write `metadata.namespace`, or `namespace` in component.yaml";

/// Whether the namespace of an object agrees with the scope of its kind.
pub(crate) fn is_in_place(object: &Object, scope: Scope) -> bool {
    object.id.namespace.is_some() == (scope == Scope::Namespaced)
}

/// Makes the namespace of an object agree with the scope of its kind, or says why it belongs nowhere.
pub(super) fn placed(
    object: &mut Object,
    scope: Scope,
    namespace: Option<&str>,
    component: &ComponentName,
) -> Result<(), RenderError> {
    place(object, scope, namespace).map_err(|problem| RenderError {
        hint: Some(NAMESPACE_HINT.to_owned()),
        ..error(component, 2011, format!("{}: {problem}", object.id))
    })
}

/// Makes the namespace of an object agree with the scope of its kind: `namespace` is that of its component.
pub(crate) fn place(object: &mut Object, scope: Scope, namespace: Option<&str>) -> Result<(), &'static str> {
    match (scope, object.id.namespace.is_some()) {
        (Scope::Namespaced, false) => {
            let namespace = namespace.ok_or(NO_NAMESPACE)?.to_owned();
            if let Some(metadata) = object.value.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.insert("namespace".to_owned(), Value::String(namespace.clone()));
            }
            object.id.namespace = Some(namespace);
            Ok(())
        }
        (Scope::Cluster, true) => {
            if let Some(metadata) = object.value.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.shift_remove("namespace");
            }
            object.id.namespace = None;
            Ok(())
        }
        (Scope::Namespaced, true) | (Scope::Cluster, false) => Ok(()),
    }
}

/// The kinds that components declare, and those that rendered CRDs define, which know better, with their scope.
fn custom_scopes(rendered: &[Rendered], components: &[&Resolved]) -> HashMap<GroupKind, Scope> {
    let declared = components.iter().flat_map(|resolved| resolved.component.provides.all_kinds());
    let declared = declared.map(|(provided, scope)| (provided.kind.clone(), scope));
    let defined = rendered.iter().flat_map(|component| &component.objects).filter_map(|(_, object)| {
        let kind = object.defines()?;
        let scope = match object.value.pointer("/spec/scope")?.as_str()? {
            "Namespaced" => Scope::Namespaced,
            _ => Scope::Cluster,
        };
        Some((kind, scope))
    });
    declared.chain(defined).collect()
}
