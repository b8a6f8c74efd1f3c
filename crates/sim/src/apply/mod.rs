//! Server-side apply and who owns which field, by the rules of structured-merge-diff.
//!
//! - `shape`: which lists and maps merge, which are replaced whole
//! - `fields`: sets of fields, and what changed between two objects
//! - `merge`: a configuration laid over an object, and what its manager gave up removed
//! - `managers`: `metadata.managedFields`, read, changed and written

mod fields;
mod managers;
mod merge;
mod shape;

pub(crate) use fields::{element, shown};
pub(crate) use managers::{Manager, Managers, Operation};
pub(crate) use merge::{merge, prune};
pub(crate) use shape::{
    ListShape, Shape, list_shape, list_shape_of_schema, shape_of_builtin, shape_of_schema,
};

use http::StatusCode;
use serde_json::Value;

use crate::crud::{self, Insert, Settle};
use crate::kinds::Kind;
use crate::request::{Request, Target};
use crate::service::Reply;
use crate::state::State;
use crate::status::{Answer, Cause, bad_request, conflict, internal, invalid_options, not_found};
use crate::{decode, defaults, json};

/// Applies a configuration: creates its object, or makes it so.
pub(crate) fn apply(state: &mut State, request: &Request, target: &Target, kind: &Kind) -> Answer<Reply> {
    if request.param("fieldManager").is_none() {
        let missing = Cause::required("fieldManager", "is required for apply patch");
        return Err(invalid_options("PatchOptions", &[missing]));
    }
    let mut config = configuration(request, kind)?;
    let nameless = json::text(&config, &["metadata", "name"]).is_empty();
    crud::address(&mut config, target, kind)?;
    let by = Manager { operation: Operation::Apply, ..crud::manager(state, request, target, kind) };
    let Ok(stored) = crud::find(state, target, kind) else {
        if target.subresource.is_some() {
            return Err(not_found(kind, target.name.as_deref().unwrap_or_default()));
        }
        if nameless {
            return Err(crud::nameless(request));
        }
        let name = json::text(&config, &["metadata", "name"]);
        let uid = json::text(&config, &["metadata", "uid"]);
        if !uid.is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            return Err(conflict(kind, name, &why));
        }
        json::object(&mut config, "metadata").shift_remove("resourceVersion");
        let mut managers = Managers::default();
        managers.own(Managers::applied(&config, kind, &by), &by);
        crud::typed(&mut config, kind)?;
        let body = crud::insert(state, request, kind, Insert { object: config, managers, by: &by })?;
        return Ok(Reply::Full(StatusCode::CREATED, body));
    };
    let mut live = stored.value(kind);
    crud::check_version(kind, &live, &config)?;
    let mut managers = Managers::take(&mut live);
    if managers.is_empty() {
        // Who wrote what is unknown: it belongs to a manager of its own, so that nothing is taken over unnoticed.
        let unknown = Manager {
            name: "before-first-apply".to_owned(),
            operation: Operation::Update,
            ..crud::manager(state, request, target, kind)
        };
        managers.update(&json::empty(), &live, kind, &unknown);
    }
    let (last, all) = managers.own(Managers::applied(&config, kind, &by), &by);
    let mut merged = merge(&live, &config, &kind.shape);
    prune(&mut merged, &last, Some(&all), &kind.shape);
    crud::typed(&mut merged, kind)?;
    let mut new = crud::keep(kind, &live, merged, by.subresource == "status");
    managers.settle(&live, &new, kind, (&by, request.flag("force")))?;
    defaults::fill(state, kind, Some(&live), &mut new);
    defaults::allocate(state, kind, Some(&live), &mut new);
    crud::settle(state, request, kind, Settle { live, new, managers, target }).map(Reply::ok)
}

/// Reads the configuration that a request applies, and refuses what its type does not have.
fn configuration(request: &Request, kind: &Kind) -> Answer<Value> {
    let mut config: Value = serde_json::from_slice(&request.body)
        .map_err(|error| bad_request(format!("error decoding YAML: {error}")))?;
    json::strip_nulls(&mut config);
    let twice = decode::duplicates(&request.body);
    if request.strict() && !twice.is_empty() {
        let lines: Vec<_> = twice
            .iter()
            .filter_map(|path| path.rsplit('.').next())
            .map(|name| format!("\n  line 1: key {name:?} already set in map"))
            .collect();
        return Err(bad_request(format!(
            "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:{}",
            lines.concat()
        )));
    }
    let (api_version, given) = (json::text(&config, &["apiVersion"]), json::text(&config, &["kind"]));
    if given.is_empty() || api_version.is_empty() {
        return Err(bad_request(format!(
            "invalid object type: {}, Kind={given}",
            group_version(api_version)
        )));
    }
    if json::at(&config, &["metadata", "managedFields"]).is_some_and(|managers| !managers.is_null()) {
        return Err(bad_request("metadata.managedFields must be nil"));
    }
    let errors = decode::typed(&config, kind.type_name.unwrap_or_default(), kind.schema.as_ref());
    if errors.is_empty() || kind.custom && kind.schema.is_none() {
        return Ok(config);
    }
    let place = format!(
        "{}/{}; {}, Kind={given}",
        json::text(&config, &["metadata", "namespace"]),
        json::text(&config, &["metadata", "name"]),
        group_version(api_version)
    );
    let errors = match errors.as_slice() {
        [one] => one.clone(),
        several => format!("errors:\n  {}", several.join("\n  ")),
    };
    Err(internal(format!("failed to create typed patch object ({place}): {errors}")))
}

/// Writes an `apiVersion` as the server's own errors do: the core group is empty.
fn group_version(api_version: &str) -> String {
    if api_version.contains('/') { api_version.to_owned() } else { format!("/{api_version}") }
}
