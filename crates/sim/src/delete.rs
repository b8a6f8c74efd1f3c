//! Deletion: preconditions, finalizers, propagation, collections.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::json as tree;
use crate::kinds::Kind;
use crate::request::{Request, Target};
use crate::selector::Selector;
use crate::service::Reply;
use crate::state::{Chore, State};
use crate::status::{Answer, bad_request, conflict, not_found};
use crate::store::{Key, Stored};
use crate::webhooks::{self, Call};
use crate::{crd, crud};

/// What happens to the objects that name a deleted one as owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// How something is deleted.
#[derive(Clone, Debug)]
pub(crate) struct Deletion {
    propagation: Propagation,
    uid: String,
    version: String,
    dry_run: bool,
}

impl Deletion {
    /// The server's own deletions: in the background, without conditions.
    pub(crate) const BACKGROUND: Self = Self {
        propagation: Propagation::Background,
        uid: String::new(),
        version: String::new(),
        dry_run: false,
    };

    fn read(request: &Request, kind: &Kind) -> Answer<Self> {
        let body: Value = if request.body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&request.body).map_err(|error| bad_request(error.to_string()))?
        };
        let policy =
            request.param("propagationPolicy").unwrap_or_else(|| tree::text(&body, &["propagationPolicy"]));
        let propagation = match policy {
            "Foreground" => Propagation::Foreground,
            "Orphan" => Propagation::Orphan,
            // The API keeps the old default of jobs.
            "" if kind.is("batch", "jobs") => Propagation::Orphan,
            _ => Propagation::Background,
        };
        let dry_run = request.dry_run() || tree::items(&body, "dryRun").iter().any(|value| value == "All");
        let uid = tree::text(&body, &["preconditions", "uid"]).to_owned();
        let version = tree::text(&body, &["preconditions", "resourceVersion"]).to_owned();
        Ok(Self { propagation, uid, version, dry_run })
    }
}

/// Deletes one object.
pub(crate) fn delete(state: &mut State, request: &Request, target: &Target, kind: &Kind) -> Answer<Reply> {
    let how = Deletion::read(request, kind)?;
    let key = crud::key(target);
    let stored = crud::find(state, target, kind)?.clone();
    let object = stored.value(kind);
    webhooks::admit(state, &Call { kind, operation: "DELETE", subresource: "", object: &object })?;
    match remove(state, kind, &key, &how)? {
        Some(body) => Ok(Reply::ok(body)),
        None => Ok(Reply::ok(gone(kind, &stored, &key))),
    }
}

/// Deletes all objects that match.
pub(crate) fn delete_collection(
    state: &mut State,
    request: &Request,
    target: &Target,
    kind: &Kind,
) -> Answer<Reply> {
    let how = Deletion::read(request, kind)?;
    let selector = Selector::parse(kind, request.param("labelSelector"), request.param("fieldSelector"))?;
    let found: Vec<_> = crud::matching(state, target, kind, &selector, None)
        .map(|(key, stored)| (key.clone(), stored.clone()))
        .collect();
    let mut items = Vec::new();
    for (key, stored) in found {
        remove(state, kind, &key, &how)?;
        items.push(stored.value(kind));
    }
    let metadata = json!({ "resourceVersion": state.version.to_string() });
    let (kind, version) = (&kind.list_kind, kind.api_version());
    Ok(Reply::ok(
        json!({ "kind": kind, "apiVersion": version, "metadata": metadata, "items": items }).to_string(),
    ))
}

/// Deletes an object, or marks it where a finalizer holds it: then answers it.
pub(crate) fn remove(state: &mut State, kind: &Kind, key: &Key, how: &Deletion) -> Answer<Option<Bytes>> {
    let stored = state.get(kind, key).cloned().ok_or_else(|| not_found(kind, &key.name))?;
    let mut object = stored.value(kind);
    let version = stored.version.to_string();
    for (what, wanted, found, happened) in [
        ("UID", &how.uid, &stored.uid, "deleted and then recreated"),
        ("ResourceVersion", &how.version, &version, "modified"),
    ] {
        if !wanted.is_empty() && wanted != found {
            let why = format!(
                "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). The object \
                might have been {happened}"
            );
            let mut failure = conflict(kind, &key.name, &why);
            failure.message = failure.message.replacen(&kind.qualified(), &kind.qualified_kind(), 1);
            if let Some(details) = &mut failure.details {
                details["kind"] = json!(kind.kind);
            }
            return Err(failure);
        }
    }
    let mut finalizers: Vec<Value> =
        tree::at(&object, &["metadata"]).map_or(&[][..], |it| tree::items(it, "finalizers")).to_vec();
    let wait = match how.propagation {
        Propagation::Background => None,
        Propagation::Foreground => Some("foregroundDeletion"),
        Propagation::Orphan => Some("orphan"),
    };
    if let Some(wait) = wait.filter(|_| !stored.deleting) {
        finalizers.push(json!(wait));
    }
    let namespace = kind.is("", "namespaces");
    let definition = kind.is("apiextensions.k8s.io", "customresourcedefinitions");
    if definition && !stored.deleting {
        finalizers.push(json!(crd::FINALIZER));
        crd::terminating(state, &mut object);
    }
    if finalizers.is_empty() && !namespace {
        if how.dry_run {
            return Ok(None);
        }
        if kind.is("", "pods") {
            tree::object(&mut object, "metadata").insert("deletionGracePeriodSeconds".to_owned(), json!(0));
        }
        let last = state.remove(kind, object);
        // Pods and the like answer with the object even when it is gone.
        return Ok(answers_object(kind).then_some(last));
    }
    if stored.deleting {
        return Ok(Some(stored.text(kind)));
    }
    mark(state, kind, &mut object, &finalizers);
    if how.dry_run {
        return Ok(Some(Stored::new(&object, stored.version).text(kind)));
    }
    let body = state.put(kind, &mut object);
    let lag = state.options.lag;
    if namespace {
        state.later(lag, Chore::EmptyNamespace(key.name.clone()));
    } else if definition {
        state.later(lag, Chore::DropCustom(key.name.clone()));
    } else if kind.is("", "persistentvolumes")
        || kind.is("", "persistentvolumeclaims")
        || kind.is("storage.k8s.io", "volumeattributesclasses")
    {
        state.later(lag, Chore::Unprotect(kind.id.clone(), key.clone()));
    }
    if wait.is_some() {
        state.waiting.insert(stored.uid.clone(), (kind.id.clone(), key.clone()));
        state.later(lag, Chore::Release(kind.id.clone(), key.clone()));
    }
    Ok(Some(body))
}

fn mark(state: &State, kind: &Kind, object: &mut Value, finalizers: &[Value]) {
    let now = state.stamp();
    let metadata = tree::object(object, "metadata");
    metadata.insert("deletionTimestamp".to_owned(), json!(now));
    metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(0));
    if !finalizers.is_empty() {
        metadata.insert("finalizers".to_owned(), json!(finalizers));
    }
    if kind.generation
        && let Some(generation) = metadata.get("generation").and_then(Value::as_i64)
    {
        metadata.insert("generation".to_owned(), json!(generation + 1));
    }
    if kind.is("", "namespaces") {
        metadata.shift_remove("deletionGracePeriodSeconds");
        object["status"]["phase"] = json!("Terminating");
    }
}

fn answers_object(kind: &Kind) -> bool {
    let plurals = [
        "pods",
        "services",
        "serviceaccounts",
        "persistentvolumes",
        "persistentvolumeclaims",
        "resourcequotas",
        "podtemplates",
        "replicationcontrollers",
    ];
    kind.group().is_empty() && kind.plural() != "replicationcontrollers" && plurals.contains(&kind.plural())
        || kind.group() == "storage.k8s.io" && !kind.is("storage.k8s.io", "csistoragecapacities")
}

fn gone(kind: &Kind, stored: &Stored, key: &Key) -> String {
    let mut details = json!({ "name": key.name });
    if !kind.group().is_empty() {
        details["group"] = json!(kind.group());
    }
    details["kind"] = json!(kind.plural());
    details["uid"] = json!(stored.uid);
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details })
        .to_string()
}
