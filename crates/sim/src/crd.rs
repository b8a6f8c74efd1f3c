//! `CustomResourceDefinitions`: established a little after they come, in discovery a little later; their objects go
//! with them. Custom resources are not held against their schema yet; that would be done in `validate`.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::apply::shape_of_schema;
use crate::delete::{self, Deletion};
use crate::json as tree;
use crate::kinds::{Kind, ResourceId, api_version, key, prefix};
use crate::state::{Chore, State};
use crate::store::Key;

/// Holds a definition that is deleted until its objects are gone.
pub(crate) const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Follows a write of a CRD.
pub(crate) fn written(state: &mut State, name: &str, object: &Value, created: bool) {
    if created {
        let after = state.options.establish;
        state.later(after, Chore::Establish(name.to_owned()));
    } else if established(object) {
        serve(state, object);
        let after = state.options.discovery_lag;
        state.later(after, Chore::Publish(name.to_owned()));
    }
}

/// Accepts a CRD's names, and serves its kinds.
pub(crate) fn establish(state: &mut State, name: &str) {
    let Some(mut object) = find(state, name) else { return };
    if established(&object) || tree::at(&object, &["metadata", "deletionTimestamp"]).is_some() {
        return;
    }
    let now = state.stamp();
    let taken = taken(state, &object);
    let condition = |kind: &str, yes: bool, reason: &str, message: &str| {
        let status = if yes { "True" } else { "False" };
        json!({ "type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": now })
    };
    let stored: Vec<_> = tree::items(&object["spec"], "versions")
        .iter()
        .filter(|version| version.get("storage").is_some_and(|it| it == true))
        .map(|version| version["name"].clone())
        .collect();
    object["status"] = match &taken {
        None => json!({
            "acceptedNames": object["spec"]["names"],
            "storedVersions": stored,
            "conditions": [
                condition("NamesAccepted", true, "NoConflicts", "no conflicts found"),
                condition("Established", true, "InitialNamesAccepted", "the initial names have been accepted"),
            ],
        }),
        // A taken kind takes its list's name with it, and that is what is said last.
        Some(by) => json!({
            "acceptedNames": { "kind": "", "plural": object["spec"]["names"]["plural"] },
            "storedVersions": stored,
            "conditions": [
                condition("NamesAccepted", false, "ListKindConflict", &format!("{:?} is already in use", format!("{by}List"))),
                condition("Established", false, "NotAccepted", "not all names are accepted"),
            ],
        }),
    };
    let kind = crds(state);
    state.put(&kind, &mut object);
    if taken.is_none() {
        serve(state, &object);
        let after = state.options.discovery_lag;
        state.later(after, Chore::Publish(name.to_owned()));
    }
}

/// Says in a definition's status that it goes away.
pub(crate) fn terminating(state: &State, object: &mut Value) {
    let now = state.stamp();
    let condition = json!({
        "type": "Terminating", "status": "True", "reason": "InstanceDeletionPending",
        "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        "lastTransitionTime": now,
    });
    let status = tree::object(object, "status");
    if let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) {
        conditions.push(condition);
    } else {
        status.insert("conditions".to_owned(), json!([condition]));
    }
}

/// Tells whether a kind's definition goes away.
pub(crate) fn goes(state: &State, kind: &Kind) -> bool {
    let key = Key::new("", &kind.qualified());
    kind.custom && state.get(&crds(state), &key).is_some_and(|stored| stored.deleting)
}

/// Shows a CRD's kinds in discovery.
pub(crate) fn publish(state: &mut State, name: &str) {
    let Some(object) = find(state, name) else { return };
    let (group, plural) = names(&object);
    state.published.retain(|(g, _, p)| !(*g == group && *p == plural));
    let served = state.kinds.keys().filter(|(g, _, p)| *g == group && *p == plural);
    state.published.extend(served.cloned().collect::<Vec<_>>());
}

/// Deletes the objects of a CRD that goes, and the CRD once none is left.
pub(crate) fn drop_custom(state: &mut State, name: &str) {
    let Some(object) = find(state, name) else { return };
    if tree::at(&object, &["metadata", "deletionTimestamp"]).is_none() {
        return;
    }
    let (group, plural) = names(&object);
    let id = Arc::new(ResourceId { group: group.clone(), plural: plural.clone() });
    if let Some(kind) = state.kind_of(&id) {
        let objects = state.store(&id).objects.iter();
        let keys: Vec<_> =
            objects.filter(|(_, stored)| !stored.deleting).map(|(key, _)| key.clone()).collect();
        for key in &keys {
            drop(delete::remove(state, &kind, key, &Deletion::BACKGROUND));
        }
        if !state.store(&id).objects.is_empty() {
            return;
        }
    }
    state.kinds.retain(|(g, _, p), _| !(*g == group && *p == plural));
    state.published.retain(|(g, _, p)| !(*g == group && *p == plural));
    let version = state.version;
    if let Some(mut store) = state.stores.remove(&id) {
        // Watches of the kind end; who lists again is told that the kind is gone.
        store.compact(version);
    }
    let kind = crds(state);
    state.drop_finalizer(&kind, &Key::new("", name), FINALIZER);
}

fn crds(state: &State) -> Arc<Kind> {
    state.builtin("apiextensions.k8s.io", "v1", "customresourcedefinitions")
}

fn find(state: &State, name: &str) -> Option<Value> {
    let kind = crds(state);
    Some(state.get(&kind, &Key::new("", name))?.value(&kind))
}

fn names(object: &Value) -> (String, String) {
    let text = |path: &[&str]| tree::text(object, path).to_owned();
    (text(&["spec", "group"]), text(&["spec", "names", "plural"]))
}

fn established(object: &Value) -> bool {
    let conditions = tree::items(object.get("status").unwrap_or(&Value::Null), "conditions");
    conditions
        .iter()
        .any(|it| tree::text(it, &["type"]) == "Established" && tree::text(it, &["status"]) == "True")
}

/// Answers the kind's name where another resource of the group has it already.
fn taken(state: &State, object: &Value) -> Option<String> {
    let (group, plural) = names(object);
    let kind = tree::text(object, &["spec", "names", "kind"]);
    let mut others = state.kinds.values().filter(|it| it.group() == group && it.plural() != plural);
    others.find(|it| it.kind == kind).map(|it| it.kind.clone())
}

/// Makes requests for a CRD's versions find their kind.
fn serve(state: &mut State, object: &Value) {
    let (group, plural) = names(object);
    state.kinds.retain(|(g, _, p), _| !(*g == group && *p == plural));
    let id = Arc::new(ResourceId { group: group.clone(), plural: plural.clone() });
    let spec = &object["spec"];
    let word = |field: &str| tree::text(spec, &["names", field]).to_owned();
    let kind_name = word("kind");
    let or = |given: String, made: String| if given.is_empty() { made } else { given };
    let list = |field: &str| -> Vec<String> {
        tree::items(&spec["names"], field).iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    for version in tree::items(spec, "versions") {
        if version.get("served").is_none_or(|it| it != true) {
            continue;
        }
        let name = tree::text(version, &["name"]);
        let kind = Kind {
            id: id.clone(),
            version: name.to_owned(),
            list_kind: or(word("listKind"), format!("{kind_name}List")),
            singular: or(word("singular"), kind_name.to_lowercase()),
            namespaced: tree::text(spec, &["scope"]) == "Namespaced",
            status: tree::at(version, &["subresources", "status"]).is_some(),
            generation: true,
            short_names: list("shortNames"),
            categories: list("categories"),
            custom: true,
            schema: tree::at(version, &["schema", "openAPIV3Schema"]).cloned(),
            type_name: None,
            shape: shape_of_schema(tree::at(version, &["schema", "openAPIV3Schema"])),
            prefix: prefix(&api_version(&group, name), &kind_name),
            kind: kind_name.clone(),
        };
        state.kinds.insert(key(&kind), Arc::new(kind));
    }
    state.store(&id);
}
