//! The class of claims that name none.

use std::cmp::Reverse;

use serde_json::{Value, json};

use crate::json as tree;
use crate::kinds::Kind;
use crate::state::State;

/// Gives a claim that names no class the default one, the newest where there are several (`DefaultStorageClass`, an
/// admission plugin).
pub(crate) fn admit(state: &State, kind: &Kind, it: &mut Value) {
    let named = tree::at(it, &["spec", "storageClassName"]).is_some_and(|class| !class.is_null());
    if named || !kind.is("", "persistentvolumeclaims") {
        return;
    }
    let of = state.builtin("storage.k8s.io", "v1", "storageclasses");
    let classes = state.stores.get(&of.id).into_iter().flat_map(|store| store.objects.values());
    let metadata = |class: &Value, path: &[&str]| tree::text(class, path).to_owned();
    let default = ["metadata", "annotations", "storageclass.kubernetes.io/is-default-class"];
    let newest = classes
        .map(|stored| stored.value(&of))
        .filter(|class| tree::text(class, &default) == "true")
        .map(|class| {
            let made = metadata(&class, &["metadata", "creationTimestamp"]);
            (made, Reverse(metadata(&class, &["metadata", "name"])))
        })
        .max();
    if let Some((_, Reverse(name))) = newest {
        tree::object(it, "spec").insert("storageClassName".to_owned(), json!(name));
    }
}
