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
use crate::status::{Answer, Cause, bad_request, invalid_options, not_found};
use crate::{defaults, json};

/// Applies a configuration: creates its object, or makes it so.
pub(crate) fn apply(state: &mut State, request: &Request, target: &Target, kind: &Kind) -> Answer<Reply> {
    if request.param("fieldManager").is_none() {
        return Err(invalid_options(&[Cause {
            reason: "FieldValueRequired",
            field: "fieldManager".to_owned(),
            message: "Required value: is required for apply patch".to_owned(),
        }]));
    }
    let mut config: Value = serde_json::from_slice(&request.body)
        .map_err(|error| bad_request(format!("error decoding YAML: {error}")))?;
    if json::at(&config, &["metadata", "managedFields"]).is_some_and(|managers| !managers.is_null()) {
        return Err(bad_request("metadata.managedFields must be nil"));
    }
    json::strip_nulls(&mut config);
    crud::address(&mut config, target, kind)?;
    let by = Manager { operation: Operation::Apply, ..crud::manager(state, request, target, kind) };
    let Ok(stored) = crud::find(state, target, kind) else {
        if target.subresource.is_some() {
            return Err(not_found(kind, target.name.as_deref().unwrap_or_default()));
        }
        // A version was asked for, so the object was meant to be there.
        if json::at(&config, &["metadata", "resourceVersion"]).is_some() {
            return Err(not_found(kind, target.name.as_deref().unwrap_or_default()));
        }
        let mut managers = Managers::default();
        managers.own(Managers::applied(&config, kind, &by), &by);
        let body = crud::insert(state, request, kind, Insert { object: config, managers, by: &by })?;
        return Ok(Reply::Full(StatusCode::CREATED, body));
    };
    let mut live = stored.value(kind);
    crud::check_version(kind, &live, &config)?;
    let mut managers = Managers::take(&mut live);
    let (last, all) = managers.own(Managers::applied(&config, kind, &by), &by);
    let mut merged = merge(&live, &config, &kind.shape);
    prune(&mut merged, &last, Some(&all), &kind.shape);
    let mut new = crud::keep(kind, &live, merged, by.subresource == "status");
    managers.settle(&live, &new, kind, (&by, request.flag("force")))?;
    defaults::fill(state, kind, Some(&live), &mut new);
    crud::settle(state, request, kind, Settle { live, new, managers }).map(Reply::ok)
}
