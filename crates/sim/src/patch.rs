//! Merge patches (RFC 7386). JSON patches and strategic merge patches are not simulated.

use serde_json::Value;

use crate::crud::{self, Write};
use crate::json;
use crate::kinds::Kind;
use crate::request::{Request, Target};
use crate::service::Reply;
use crate::state::State;
use crate::status::{Answer, bad_request, not_simulated};

/// Patches an object, or its status.
pub(crate) fn patch(state: &mut State, request: &Request, target: &Target, kind: &Kind) -> Answer<Reply> {
    if !request.content_type.starts_with("application/merge-patch+json") {
        return Err(not_simulated(&format!("a patch of type {}", request.content_type)));
    }
    let patch: Value =
        serde_json::from_slice(&request.body).map_err(|error| bad_request(error.to_string()))?;
    let live = crud::find(state, target, kind)?.value(kind);
    let mut new = live.clone();
    lay(&mut new, &patch);
    json::object(&mut new, "metadata").shift_remove("managedFields");
    crud::address(&mut new, target, kind)?;
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
