//! Writing objects: server-side apply by one field manager, which takes over
//! no more than it may, and deletion.

use std::borrow::Cow;
use std::collections::BTreeSet;

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::error::ClusterError;
use super::inventory::Entry;
use super::{Cluster, FIELD_MANAGER, segment};
use crate::model::object::{Object, ObjectId};
use crate::plan::live::FieldConflict;

/// Holds the replicas of what an autoscaler scales, from when they are not sent any more until it changes them:
/// without any manager they would be the default.
const HANDOVER_MANAGER: &str = "cozy-autoscaled";

/// How an object is applied.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ApplyMode {
    /// Take fields over from other managers.
    pub(crate) force: bool,
    /// Ask what would be, and change nothing.
    pub(crate) dry_run: bool,
}

/// Says of each conflict whether the inventory says that the field was ours.
pub(crate) fn claim(conflicts: Vec<FieldConflict>, entry: Option<&Entry>) -> Vec<FieldConflict> {
    let ours = entry.map(Entry::paths).unwrap_or_default();
    let claimed =
        |conflict: FieldConflict| FieldConflict { ours: ours.contains(&conflict.field), ..conflict };
    conflicts.into_iter().map(claimed).collect()
}

fn is_ours(conflict: &FieldConflict, ours: &BTreeSet<String>) -> bool {
    conflict.manager == HANDOVER_MANAGER || ours.contains(&conflict.field)
}

/// Whether all fields were ours.
fn are_ours(conflicts: &[FieldConflict], ours: &BTreeSet<String>) -> bool {
    conflicts.iter().all(|conflict| is_ours(conflict, ours))
}

/// An object without the nulls that templates leave in its metadata: with `annotations: null` the server would give
/// us everybody's annotations.
fn without_null_metadata(value: &Value) -> Cow<'_, Value> {
    let metadata = || value.get("metadata").and_then(Value::as_object).into_iter().flatten();
    if !metadata().any(|(_, field)| field.is_null()) {
        return Cow::Borrowed(value);
    }
    let mut value = value.clone();
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|_, field| !field.is_null());
    }
    Cow::Owned(value)
}

impl Cluster {
    /// Applies an object, and gives what the server made of it.
    pub(crate) async fn apply(&self, object: &Object, mode: ApplyMode) -> Result<Value, ClusterError> {
        self.send(object, &object.value, mode).await
    }

    async fn send(&self, object: &Object, value: &Value, mode: ApplyMode) -> Result<Value, ClusterError> {
        let requests = self.requests(&object.id, &object.version)?;
        let mut params = PatchParams::apply(FIELD_MANAGER).validation_strict();
        params.force = mode.force;
        params.dry_run = mode.dry_run;
        let request =
            requests.patch(&segment(&object.id.name), &params, &Patch::Apply(&without_null_metadata(value)));
        let answer = self.asked(request).await;
        answer.map_err(|error| ClusterError::from_kube("patch", &object.id.to_string(), error))
    }

    /// Applies an object, and takes over fields of others only where the
    /// inventory says that they were ours.
    pub(crate) async fn apply_ours(
        &self,
        object: &Object,
        entry: Option<&Entry>,
    ) -> Result<Value, ClusterError> {
        let (free, force) = (ApplyMode::default(), ApplyMode { force: true, ..ApplyMode::default() });
        let first = self.apply(object, free).await;
        let Err(ClusterError::Conflict { conflicts, .. }) = &first else { return first };
        let ours = entry.map(Entry::paths).unwrap_or_default();
        if !are_ours(conflicts, &ours) {
            return first;
        }
        // A server takes over all conflicting fields or none: what is forced must be what was looked at.
        let Some(live) = self.get(&object.id, &object.version).await? else {
            return self.apply(object, free).await;
        };
        let mut pinned = object.value.clone();
        pinned["metadata"]["resourceVersion"] =
            live.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
        match self.send(object, &pinned, free).await {
            Err(ClusterError::Conflict { conflicts, .. }) if are_ours(&conflicts, &ours) => {
                self.send(object, &pinned, force).await
            }
            other => other,
        }
    }

    /// Leaves the replicas of an object as they are, where they were ours and are an autoscaler's now.
    pub(crate) async fn hand_over_replicas(
        &self,
        object: &Object,
        entry: Option<&Entry>,
    ) -> Result<(), ClusterError> {
        if !entry.is_some_and(|entry| entry.paths().contains(".spec.replicas")) {
            return Ok(());
        }
        let live = self.get(&object.id, &object.version).await?;
        let Some(replicas) = live.as_ref().and_then(|live| live.pointer("/spec/replicas")) else {
            return Ok(());
        };
        let value = json!({
            "apiVersion": object.value.get("apiVersion"), "kind": object.id.kind.kind,
            "metadata": { "name": object.id.name, "namespace": object.id.namespace },
            "spec": { "replicas": replicas },
        });
        let api = self.api(&object.id, &object.version)?;
        let params = PatchParams::apply(HANDOVER_MANAGER).validation_strict();
        let answer = api.patch(&segment(&object.id.name), &params, &Patch::Apply(&value)).await;
        answer.map(drop).map_err(|error| ClusterError::from_kube("patch", &object.id.to_string(), error))
    }

    /// Whether an object that the server does not want as a change would be fine as a new one. It is validated
    /// before the server notices that its name is taken.
    pub(crate) async fn is_fine_as_new(&self, object: &Object) -> Result<bool, ClusterError> {
        let api = self.api(&object.id, &object.version)?;
        let params = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.to_owned()) };
        let Ok(new) = serde_json::from_value::<DynamicObject>(object.value.clone()) else { return Ok(false) };
        match api.create(&params, &new).await {
            Ok(_) => Ok(true),
            Err(error) => match ClusterError::from_kube("create", &object.id.to_string(), error) {
                ClusterError::Refused { code: 422, .. } => Ok(false),
                ClusterError::Refused { code: 403 | 409, .. } => Ok(true),
                error => Err(error),
            },
        }
    }

    /// Deletes an object; it may be gone already. Gives the uid of what is still on its way out.
    pub(crate) async fn delete(&self, id: &ObjectId) -> Result<Option<String>, ClusterError> {
        let api = match self.api(id, "") {
            Ok(api) => api,
            // Nothing of a kind that is not served exists.
            Err(ClusterError::NoSuchKind { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        match api.delete(&segment(&id.name), &DeleteParams::background()).await {
            Ok(answer) => Ok(answer.left().and_then(|object| object.metadata.uid)),
            Err(error) => match ClusterError::from_kube("delete", &id.to_string(), error) {
                error if error.is_not_found() => Ok(None),
                error => Err(error),
            },
        }
    }
}

/// What holds an object that was deleted, for people.
pub(crate) fn holds(live: &Value) -> Option<String> {
    // A namespace says itself what keeps it.
    let conditions = live.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let text =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let says: Vec<String> = conditions
        .filter(|condition| {
            text(condition, "status") == "True" && text(condition, "type").starts_with("Namespace")
        })
        .map(|condition| text(condition, "message"))
        .collect();
    if !says.is_empty() {
        return Some(says.join("; "));
    }
    let finalizers = live.pointer("/metadata/finalizers").or_else(|| live.pointer("/spec/finalizers"))?;
    let names: Vec<&str> = finalizers.as_array()?.iter().filter_map(Value::as_str).collect();
    (!names.is_empty()).then(|| format!("its finalizers are {}", names.join(", ")))
}

/// The uid of a live object.
pub(crate) fn uid(live: &Value) -> Option<&str> {
    live.pointer("/metadata/uid")?.as_str()
}
