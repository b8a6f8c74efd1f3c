//! Merge patches (RFC 7386). JSON patches and strategic merge patches are not simulated.

use serde_json::{Map, Value};

use crate::apply::Managers;
use crate::crud::{self, Settle, Write};
use crate::kinds::Kind;
use crate::request::{Request, Target};
use crate::service::Reply;
use crate::state::State;
use crate::status::{Answer, Cause, bad_request, invalid, invalid_options, not_simulated};
use crate::{decode, json};

/// Patches an object, or its status.
pub(crate) fn patch(state: &mut State, request: &Request, target: &Target, kind: &Kind) -> Answer<Reply> {
    if !request.content_type.starts_with("application/merge-patch+json") {
        return Err(not_simulated(&format!("a patch of type {}", request.content_type)));
    }
    if request.param("force").is_some() {
        let not_here = Cause::forbidden("force", "may not be specified for non-apply patch");
        return Err(invalid_options("PatchOptions", &[not_here]));
    }
    let patch: Value =
        serde_json::from_slice(&request.body).map_err(|error| bad_request(error.to_string()))?;
    let live = crud::find(state, target, kind)?.value(kind);
    let mut new = live.clone();
    lay(&mut new, &patch);
    json::object(&mut new, "metadata").shift_remove("managedFields");
    let reset = json::at(&patch, &["metadata", "managedFields"])
        .and_then(Value::as_array)
        .is_some_and(|entries| entries.iter().all(|entry| entry.as_object().is_some_and(Map::is_empty)));
    let found = decode::object(&mut new, kind);
    if let Some(wrong) = found.wrong {
        return Err(bad_request(wrong));
    }
    if request.strict() && !found.unknown.is_empty() {
        let name = target.name.as_deref().unwrap_or_default();
        let unknown: Vec<_> = found.unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
        let why = format!("strict decoding error: {}", unknown.join(", "));
        return Err(invalid(kind, name, &[Cause::invalid("patch", &patch, &why)]));
    }
    crud::address(&mut new, target, kind)?;
    if reset {
        return crud::settle(
            state,
            request,
            kind,
            Settle { live, new, managers: Managers::default(), target },
        )
        .map(Reply::ok);
    }
    crud::change(state, request, kind, Write { live, new, target }).map(Reply::ok)
}

fn lay(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    let map = json::as_map(object);
    for (field, value) in patch {
        if value.is_null() {
            map.shift_remove(field);
        } else {
            lay(map.entry(field).or_insert(Value::Null), value);
        }
    }
}
