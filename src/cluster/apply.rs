//! Writing objects: server-side apply by one field manager, which takes over
//! no more than it may, and deletion.

use std::borrow::Cow;
use std::collections::BTreeSet;

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::error::{ClusterError, is_uncalled};
use super::inventory::Entry;
use super::verdict::is_of_others;
use super::{Cluster, FIELD_MANAGER, segment};
use crate::model::object::{Object, ObjectId};
use crate::plan::live::FieldConflict;

/// Holds the replicas of what an autoscaler scales, from when they are not sent any more until it changes them:
/// without any manager they would be the default.
const HANDOVER_MANAGER: &str = "cozy-autoscaled";

/// As whom Kubernetes' own controllers write.
const CONTROLLERS: &str = "kube-controller-manager";

/// How an object is applied.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ApplyMode {
    /// Take fields over from other managers.
    pub(crate) force: bool,
    /// Ask what would be, and change nothing.
    pub(crate) dry_run: bool,
}

/// Says of each conflict whether the field is ours to take: the inventory says that it was, or what scaled an object of
/// ours does not scale it any more (`unscaled`).
pub(crate) fn claim(
    conflicts: Vec<FieldConflict>,
    entry: Option<&Entry>,
    unscaled: bool,
) -> Vec<FieldConflict> {
    let ours = entry.map(Entry::paths).unwrap_or_default();
    let claimed = |conflict: FieldConflict| FieldConflict {
        ours: is_ours(&conflict, &ours) || (unscaled && was_scaled(&conflict)),
        ..conflict
    };
    conflicts.into_iter().map(claimed).collect()
}

/// Whether a `HorizontalPodAutoscaler` has set a field: Kubernetes' controllers scale nothing else.
fn was_scaled(conflict: &FieldConflict) -> bool {
    conflict.scaled && conflict.manager == CONTROLLERS
}

/// Whether a field was ours, and may be taken back. An autoscaler that nobody saw has taken the replicas over that it
/// set.
fn was_ours(conflict: &FieldConflict, ours: &BTreeSet<String>) -> bool {
    ours.contains(&conflict.field) && !conflict.scaled
}

fn is_ours(conflict: &FieldConflict, ours: &BTreeSet<String>) -> bool {
    conflict.manager == HANDOVER_MANAGER || was_ours(conflict, ours)
}

/// Whether all fields were ours, or the plan says that they are (`takes`).
fn are_ours(conflicts: &[FieldConflict], ours: &BTreeSet<String>, takes: &[FieldConflict]) -> bool {
    let planned = |conflict: &FieldConflict| {
        let same = |take: &&FieldConflict| take.field == conflict.field && take.manager == conflict.manager;
        takes.iter().find(same).is_some_and(|take| take.ours)
    };
    conflicts.iter().all(|conflict| is_ours(conflict, ours) || planned(conflict))
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
    /// inventory says that they were ours, or the plan does (`takes`).
    pub(crate) async fn apply_ours(
        &self,
        object: &Object,
        entry: Option<&Entry>,
        takes: &[FieldConflict],
    ) -> Result<Value, ClusterError> {
        let (free, force) = (ApplyMode::default(), ApplyMode { force: true, ..ApplyMode::default() });
        let first = self.apply(object, free).await;
        let Err(ClusterError::Conflict { conflicts, .. }) = &first else { return first };
        let ours = entry.map(Entry::paths).unwrap_or_default();
        if !are_ours(conflicts, &ours, takes) {
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
            Err(ClusterError::Conflict { conflicts, .. }) if are_ours(&conflicts, &ours, takes) => {
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
        match answer.map_err(|error| ClusterError::from_kube("patch", &object.id.to_string(), error)) {
            // Its autoscaler has set them since they were looked at, and holds them by that.
            Ok(_) | Err(ClusterError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
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
                // Nobody knows: it is not deleted for that.
                ClusterError::Refused { code: 500, message, .. } if is_uncalled(&message) => Ok(false),
                error => Err(error),
            },
        }
    }

    /// Deletes an object that nobody wants any more, but not what others have made in its place. `entry`: what the
    /// inventory knows of it.
    ///
    /// # Errors
    /// A transient refusal when it is another object than the one that was looked at.
    pub(crate) async fn prune(&self, id: &ObjectId, entry: Option<&Entry>) -> Result<Pruned, ClusterError> {
        let Some(live) = self.get(id, "").await? else {
            let hidden = self.is_hidden(&id.kind, &OnceCell::new()).await?;
            let unknown = ClusterError::NoSuchKind { object: id.to_string() };
            return if hidden { Err(unknown) } else { Ok(Pruned::Gone) };
        };
        if entry.is_some_and(|entry| is_of_others(entry, &live)) {
            return Ok(Pruned::Foreign);
        }
        let params = exactly(uid(&live).unwrap_or_default());
        Ok(self.delete_with(id, &params).await?.map_or(Pruned::Gone, Pruned::Going))
    }

    /// Deletes the object of a uid, and no other by its name; it may be gone already. Gives the uid if it is still on
    /// its way out.
    pub(crate) async fn delete_exactly(
        &self,
        id: &ObjectId,
        old: &str,
    ) -> Result<Option<String>, ClusterError> {
        match self.delete_with(id, &exactly(old)).await {
            Err(error) if error.is_outdated() => match self.get(id, "").await? {
                Some(live) if uid(&live) == Some(old) => Err(error),
                Some(_) | None => Ok(None),
            },
            answer => answer,
        }
    }

    /// Deletes an object; it may be gone already. Gives the uid of what is still on its way out.
    pub(crate) async fn delete(&self, id: &ObjectId) -> Result<Option<String>, ClusterError> {
        self.delete_with(id, &DeleteParams::background()).await
    }

    async fn delete_with(
        &self,
        id: &ObjectId,
        params: &DeleteParams,
    ) -> Result<Option<String>, ClusterError> {
        let api = self.api(id, "")?;
        match api.delete(&segment(&id.name), params).await {
            Ok(answer) => Ok(answer.left().and_then(|object| object.metadata.uid)),
            Err(error) => match ClusterError::from_kube("delete", &id.to_string(), error) {
                error if error.is_not_found() => Ok(None),
                error => Err(error),
            },
        }
    }
}

/// Deletes in the background the object of a uid only; none: whichever is there.
fn exactly(uid: &str) -> DeleteParams {
    let uid = Some(uid.to_owned()).filter(|uid| !uid.is_empty());
    let preconditions = Preconditions { uid, resource_version: None };
    DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() }
}

/// What became of an object that nobody wants any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pruned {
    /// It is not there.
    Gone,
    /// It was deleted, and this uid is still on its way out.
    Going(String),
    /// What is there is of others, and was left alone.
    Foreign,
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

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use kube::core::Status;

    use super::*;
    use crate::cluster::ApplyMode;
    use crate::plan::live::Leftover;

    #[test]
    fn replicas_that_were_scaled_are_not_taken_back() {
        let conflicts = |message: &str| {
            let cause =
                json!({ "reason": "FieldManagerConflict", "field": ".spec.replicas", "message": message });
            let status = json!({ "status": "Failure", "code": 409, "reason": "Conflict", "message": "no", "details": { "causes": [cause] } });
            let status: Status = serde_json::from_value(status).unwrap();
            match ClusterError::from_kube("patch", "Deployment x/a", kube::Error::Api(Box::new(status))) {
                ClusterError::Conflict { conflicts, .. } => conflicts,
                other => panic!("{other}"),
            }
        };
        let fields = Some(r#"{"f:spec":{"f:replicas":{}}}"#.to_owned().into());
        let entry = Entry { fields, ..Entry::default() };
        let by_hand = conflicts(r#"conflict with "kubectl" with subresource "scale" using apps/v1"#);
        let scaled =
            conflicts(r#"conflict with "kube-controller-manager" with subresource "scale" using apps/v1"#);
        assert_eq!(scaled[0].manager, "kube-controller-manager");
        assert!(are_ours(&by_hand, &entry.paths(), &[]) && !are_ours(&scaled, &entry.paths(), &[]));
        let claimed = |conflicts: &[FieldConflict], entry: &Entry, unscaled| {
            claim(conflicts.to_vec(), Some(entry), unscaled)[0].ours
        };
        assert!(claimed(&by_hand, &entry, false) && !claimed(&scaled, &entry, false));
        // Found by reading: with their autoscaler gone they were nobody's, and the next run was refused.
        let left = Entry::default();
        assert!(claimed(&scaled, &left, true) && !claimed(&by_hand, &left, true));
        let foreign = conflicts(r#"conflict with "scaler" with subresource "scale" using apps/v1"#);
        assert!(!claimed(&foreign, &entry, true));
        // What the plan says is taken is taken, and nothing else.
        let takes = claim(scaled.clone(), Some(&left), true);
        assert!(are_ours(&scaled, &left.paths(), &takes) && !are_ours(&foreign, &left.paths(), &takes));
        // Found by reading: what was handed over to an autoscaler was not taken back when it was not wanted any more.
        let handed = conflicts(r#"conflict with "cozy-autoscaled" using apps/v1"#);
        assert!(claimed(&handed, &left, false));
    }

    fn config(data: &Value) -> Object {
        let value = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "namespace": "default" }, "data": data });
        Object::from_value(value).unwrap()
    }

    /// Somebody deletes a `ConfigMap` of the namespace default, and somebody else makes it anew, as `theirs`.
    pub(crate) async fn made_anew(client: kube::Client, theirs: Value) {
        let api: kube::Api<k8s_openapi::api::core::v1::ConfigMap> = kube::Api::namespaced(client, "default");
        api.delete(theirs["metadata"]["name"].as_str().unwrap(), &DeleteParams::default()).await.unwrap();
        let params = PostParams { field_manager: Some("theirs".to_owned()), ..PostParams::default() };
        api.create(&params, &serde_json::from_value(theirs).unwrap()).await.unwrap();
    }

    fn theirs() -> Value {
        config(&json!({ "theirs": "1" })).value
    }

    async fn applied(cluster: &Cluster, data: &Value) -> Entry {
        let object = config(data);
        let live = cluster.apply(&object, ApplyMode { force: true, dry_run: false }).await.unwrap();
        Entry::of(&object, &live)
    }

    /// Found by reading: what was to go was known by its name alone.
    #[tokio::test(start_paused = true)]
    async fn what_others_made_anew_is_not_deleted() {
        let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
        let cluster = Cluster::new(simulated.client()).await.unwrap();
        let id = config(&json!({})).id;
        let entry = applied(&cluster, &json!({ "ours": "1" })).await;
        assert_eq!(cluster.leftover(&id, &entry, &OnceCell::new()).await.unwrap(), None);
        made_anew(simulated.client(), theirs()).await;
        assert_eq!(cluster.leftover(&id, &entry, &OnceCell::new()).await.unwrap(), Some(Leftover::Foreign));
        assert_eq!(cluster.prune(&id, Some(&entry)).await.unwrap(), Pruned::Foreign);
        assert!(cluster.get(&id, "v1").await.unwrap().is_some());
        // Ours goes, whoever added to it.
        let entry = applied(&cluster, &json!({ "ours": "1" })).await;
        assert!(matches!(cluster.prune(&id, Some(&entry)).await.unwrap(), Pruned::Gone | Pruned::Going(_)));
        assert_eq!(cluster.get(&id, "v1").await.unwrap(), None);
        assert_eq!(cluster.prune(&id, Some(&entry)).await.unwrap(), Pruned::Gone);
    }

    /// Found by reading: what had taken the place of an object that was to be replaced was deleted, too.
    #[tokio::test(start_paused = true)]
    async fn only_the_object_that_was_looked_at_is_deleted_for_a_new_one() {
        let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
        let cluster = Cluster::new(simulated.client()).await.unwrap();
        let id = config(&json!({})).id;
        applied(&cluster, &json!({ "ours": "1" })).await;
        let seen =
            async || cluster.get(&id, "v1").await.unwrap().and_then(|live| uid(&live).map(str::to_owned));
        let old = seen().await.unwrap();
        made_anew(simulated.client(), theirs()).await;
        assert_eq!(cluster.delete_exactly(&id, &old).await.unwrap(), None);
        let new = seen().await.unwrap();
        assert_ne!(new, old);
        cluster.delete_exactly(&id, &new).await.unwrap();
        assert_eq!(seen().await, None);
        // The answer to the first try was lost.
        assert_eq!(cluster.delete_exactly(&id, &new).await.unwrap(), None);
    }

    /// Found by reading: replicas that an autoscaler set between a look and a write failed the step.
    #[tokio::test(start_paused = true)]
    async fn replicas_that_are_scaled_meanwhile_are_handed_over() {
        let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
        let (server, scaler) = (simulated.server(), simulated.client());
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let (mut server, scaler) = (server.clone(), scaler.clone());
            async move {
                if request.uri().query().is_some_and(|query| query.contains(HANDOVER_MANAGER)) {
                    let api: kube::Api<k8s_openapi::api::apps::v1::Deployment> =
                        kube::Api::namespaced(scaler, "default");
                    let params =
                        PatchParams { field_manager: Some("a".to_owned()), ..PatchParams::default() };
                    let patch = json!({ "spec": { "replicas": 5 } });
                    api.patch("d", &params, &Patch::Merge(&patch)).await.unwrap();
                }
                tower::Service::call(&mut server, request).await
            }
        });
        let cluster = Cluster::new(kube::Client::new(service, "default")).await.unwrap();
        let labels = json!({ "app": "d" });
        let pod = json!({ "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "c", "image": "x" }] } });
        let value = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "d", "namespace": "default" },
            "spec": { "replicas": 3, "selector": { "matchLabels": labels }, "template": pod },
        });
        let object = Object::from_value(value).unwrap();
        let live = cluster.apply(&object, ApplyMode::default()).await.unwrap();
        cluster.hand_over_replicas(&object, Some(&Entry::of(&object, &live))).await.unwrap();
        let live = cluster.get(&object.id, "v1").await.unwrap().unwrap();
        assert_eq!(live["spec"]["replicas"], 5);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_made_anew_after_it_was_looked_at_is_looked_at_again() {
        let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
        let (server, others, armed) =
            (simulated.server(), simulated.client(), Arc::new(AtomicBool::new(false)));
        let between = Arc::clone(&armed);
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let (mut server, others, armed) = (server.clone(), others.clone(), Arc::clone(&between));
            async move {
                let reads =
                    request.method() == http::Method::GET && request.uri().path().ends_with("/configmaps/a");
                let answer = tower::Service::call(&mut server, request).await?;
                if reads && armed.swap(false, Ordering::Relaxed) {
                    made_anew(others, theirs()).await;
                }
                Ok::<_, kube::Error>(answer)
            }
        });
        let cluster = Cluster::new(kube::Client::new(service, "default")).await.unwrap();
        let id = config(&json!({})).id;
        let entry = applied(&cluster, &json!({ "ours": "1" })).await;
        armed.store(true, Ordering::Relaxed);
        let refused = cluster.prune(&id, Some(&entry)).await.unwrap_err();
        assert!(refused.is_transient(), "{refused}");
        assert_eq!(cluster.prune(&id, Some(&entry)).await.unwrap(), Pruned::Foreign);
        assert!(cluster.get(&id, "v1").await.unwrap().is_some());
    }
}
