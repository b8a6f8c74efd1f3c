//! Get, list, create and update, and the path that every change of an object takes.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;
use serde_json::{Value, json};

use crate::apply::{Manager, Managers, Operation};
use crate::kinds::Kind;
use crate::request::{Request, Target};
use crate::selector::Selector;
use crate::service::Reply;
use crate::state::{Chore, State};
use crate::status::{
    Answer, Cause, Failure, MODIFIED, already_exists, bad_request, conflict, forbidden, internal, invalid,
    not_found, terminating,
};
use crate::store::{Key, Stored};
use crate::webhooks::Call;
use crate::{class_admission, crd, decode, defaults, json as tree, kinds, pod_admission, validate, webhooks};

/// Answers one object.
pub(crate) fn get(state: &State, target: &Target, kind: &Kind) -> Answer<Reply> {
    Ok(Reply::ok(find(state, target, kind)?.text(kind)))
}

/// Answers the objects of a resource, page by page where a limit is given.
pub(crate) fn list(state: &State, request: &Request, target: &Target, kind: &Kind) -> Answer<Reply> {
    let selector = Selector::parse(kind, request.param("labelSelector"), request.param("fieldSelector"))?;
    let limit = request.param("limit").and_then(|limit| limit.parse().ok()).filter(|limit| *limit > 0);
    let after = request.param("continue").map(read_token).transpose()?;
    let version = after.as_ref().map_or(state.version, |(version, _)| *version);
    let mut body = BytesMut::with_capacity(1024);
    let (list_kind, api_version) = (&kind.list_kind, kind.api_version());
    let mut metadata = json!({ "resourceVersion": version.to_string() });
    let mut items = BytesMut::new();
    let mut taken = 0_usize;
    let mut found = matching(state, target, kind, &selector, after.as_ref().map(|(_, key)| key)).peekable();
    let mut last = None;
    for (key, stored) in found.by_ref() {
        items.put_slice(if taken == 0 { b"" } else { b"," });
        // Items of built-in lists carry no kind of their own; those of custom resources do.
        items.put_slice(if kind.custom { &kind.prefix } else { b"{" });
        items.put_slice(stored.tail());
        taken += 1;
        last = Some(key);
        if Some(taken) == limit {
            break;
        }
    }
    if let Some(last) = last.filter(|_| found.peek().is_some()) {
        metadata["continue"] = json!(format!("{version}/{}/{}", last.namespace, last.name));
        if selector.is_empty() {
            metadata["remainingItemCount"] = json!(found.count());
        }
    }
    let start =
        format!(r#"{{"kind":"{list_kind}","apiVersion":"{api_version}","metadata":{metadata},"items":["#);
    body.put_slice(start.as_bytes());
    body.put_slice(&items);
    body.put_slice(b"]}");
    Ok(Reply::ok(body.freeze()))
}

/// Answers the objects that a target and a selector name, after a key.
pub(crate) fn matching<'a>(
    state: &'a State,
    target: &Target,
    kind: &'a Kind,
    selector: &'a Selector,
    after: Option<&Key>,
) -> impl Iterator<Item = (&'a Key, &'a Arc<Stored>)> + use<'a> {
    let namespace = target.namespace.clone();
    let name = target.name.clone();
    let after = after.cloned();
    let first = after.clone().unwrap_or_else(|| Key::new(namespace.as_deref().unwrap_or_default(), ""));
    let objects = state.stores.get(&kind.id).map(|store| store.objects.range(first..));
    objects
        .into_iter()
        .flatten()
        .take_while(move |(key, _)| namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace))
        .filter(move |(key, _)| {
            after.as_ref() != Some(*key) && name.as_ref().is_none_or(|name| *name == key.name)
        })
        .filter(move |(key, stored)| selector.matches(kind, key, stored))
}

/// Creates an object.
pub(crate) fn create(state: &mut State, request: &Request, target: &Target, kind: &Kind) -> Answer<Reply> {
    if target.name.is_some() {
        return Err(bad_request("the path names an object"));
    }
    let mut object = decode(request, target, kind)?;
    if !tree::text(&object, &["metadata", "resourceVersion"]).is_empty() {
        return Err(internal("resourceVersion should not be set on objects to be created"));
    }
    let generate = tree::text(&object, &["metadata", "generateName"]).to_owned();
    if tree::text(&object, &["metadata", "name"]).is_empty() && !generate.is_empty() {
        let suffix = state.new_suffix();
        object["metadata"]["name"] = json!(format!("{generate}{suffix}"));
    }
    Managers::take(&mut object);
    let by = manager(state, request, target, kind);
    let body = insert(state, request, kind, Insert { object, managers: Managers::default(), by: &by })?;
    Ok(Reply::Full(StatusCode::CREATED, body))
}

/// A new object on its way in.
pub(crate) struct Insert<'a> {
    pub(crate) object: Value,
    pub(crate) managers: Managers,
    pub(crate) by: &'a Manager,
}

/// Puts a new object in, if it may come in.
pub(crate) fn insert(state: &mut State, request: &Request, kind: &Kind, insert: Insert<'_>) -> Answer<Bytes> {
    let Insert { mut object, mut managers, by } = insert;
    admit(state, kind, &object)?;
    let key = Key::of(&object);
    fresh(state, kind, &mut object);
    let addresses = state.addresses();
    defaults::fill(state, kind, None, &mut object);
    class_admission::admit(state, kind, &mut object);
    pod_admission::admit(state, kind, &object)?;
    webhooks::admit(state, &Call { kind, operation: "CREATE", subresource: "", object: &object })?;
    let mut causes = validate::new(kind, &object);
    causes.extend(taken(state, kind, &object));
    if !causes.is_empty() {
        return Err(invalid(kind, &key.name, &causes));
    }
    pod_admission::secure(state, kind, &object)?;
    if state.get(kind, &key).is_some() {
        return Err(already_exists(kind, &key.name));
    }
    if by.operation == Operation::Update {
        managers.update(&tree::empty(), &object, kind, by);
    }
    defaults::allocate(state, kind, None, &mut object);
    managers.put(&mut object);
    if request.dry_run() {
        state.restore_addresses(addresses);
        return Ok(Stored::new(&object, 0).text(kind));
    }
    let body = state.put(kind, &mut object);
    follow(state, kind, &object, true);
    Ok(body)
}

/// Says that a Service asks for an address that another one has.
fn taken(state: &State, kind: &Kind, object: &Value) -> Option<Cause> {
    let address = tree::text(object, &["spec", "clusterIP"]);
    if !kind.is("", "services") || address.is_empty() || address == "None" {
        return None;
    }
    let mut others = state.stores.get(&kind.id)?.objects.values();
    others.find(|other| tree::text(&other.value(kind), &["spec", "clusterIP"]) == address)?;
    let why = format!("failed to allocate IP {address}: provided IP is already allocated");
    Some(Cause::invalid("spec.clusterIPs", &json!([address]), &why))
}

/// Kinds that a put creates where there is nothing.
const PUT_CREATES: [(&str, &str); 6] = [
    ("coordination.k8s.io", "leases"),
    ("", "endpoints"),
    ("", "events"),
    ("", "limitranges"),
    ("", "podtemplates"),
    ("", "services"),
];

/// Updates an object, or its status.
pub(crate) fn update(state: &mut State, request: &Request, target: &Target, kind: &Kind) -> Answer<Reply> {
    let mut new = decode(request, target, kind)?;
    let creates =
        target.subresource.is_none() && PUT_CREATES.iter().any(|(group, plural)| kind.is(group, plural));
    if creates && find(state, target, kind).is_err() {
        Managers::take(&mut new);
        tree::object(&mut new, "metadata").shift_remove("resourceVersion");
        let by = manager(state, request, target, kind);
        let body =
            insert(state, request, kind, Insert { object: new, managers: Managers::default(), by: &by })?;
        return Ok(Reply::Full(StatusCode::CREATED, body));
    }
    let live = find(state, target, kind)?.value(kind);
    Managers::take(&mut new);
    change(state, request, kind, Write { live, new, target }).map(Reply::ok)
}

/// A changed object on its way in, by a write that is no apply.
pub(crate) struct Write<'a> {
    pub(crate) live: Value,
    pub(crate) new: Value,
    pub(crate) target: &'a Target,
}

/// Puts a changed object in, if it may come in.
pub(crate) fn change(state: &mut State, request: &Request, kind: &Kind, write: Write<'_>) -> Answer<Bytes> {
    let Write { mut live, new, target } = write;
    check_version(kind, &live, &new)?;
    let mut managers = Managers::take(&mut live);
    let by = manager(state, request, target, kind);
    let mut new = keep(kind, &live, new, by.subresource == "status");
    defaults::fill(state, kind, Some(&live), &mut new);
    defaults::allocate(state, kind, Some(&live), &mut new);
    managers.update(&live, &new, kind, &by);
    settle(state, request, kind, Settle { live, new, managers, target })
}

/// A changed object whose managers are known.
pub(crate) struct Settle<'a> {
    /// Without managers, which are still in the store.
    pub(crate) live: Value,
    pub(crate) new: Value,
    pub(crate) managers: Managers,
    pub(crate) target: &'a Target,
}

/// The end of every change: validation, generation, and the store, unless nothing changed.
pub(crate) fn settle(state: &mut State, request: &Request, kind: &Kind, settle: Settle<'_>) -> Answer<Bytes> {
    let Settle { live, mut new, managers, target } = settle;
    let key = Key::of(&live);
    let status = target.subresource.as_deref() == Some("status");
    let subresource = if status { "status" } else { "" };
    webhooks::admit(state, &Call { kind, operation: "UPDATE", subresource, object: &new })?;
    let causes = validate::changed(kind, &live, &new, status);
    if !causes.is_empty() {
        return Err(invalid(kind, &key.name, &causes));
    }
    let stored = state.get(kind, &key).cloned().ok_or_else(|| not_found(kind, &key.name))?;
    let before = Managers::take(&mut stored.value(kind));
    if new == live && managers.same(&before) {
        return Ok(stored.text(kind));
    }
    if generation_grows(kind, &live, &new) {
        let generation =
            tree::at(&live, &["metadata", "generation"]).and_then(Value::as_i64).unwrap_or_default();
        new["metadata"]["generation"] = json!(generation + 1);
    }
    managers.put(&mut new);
    if request.dry_run() {
        return Ok(Stored::new(&new, 0).text(kind));
    }
    let free = tree::at(&new, &["metadata"]).is_some_and(|it| tree::items(it, "finalizers").is_empty());
    if stored.deleting && free && !kind.is("", "namespaces") {
        // The answer is the object as it was last; watches only see it go.
        return Ok(state.remove(kind, new));
    }
    let body = state.put(kind, &mut new);
    follow(state, kind, &new, false);
    Ok(body)
}

/// Refuses a write whose object is not the one in the store any more.
pub(crate) fn check_version(kind: &Kind, live: &Value, new: &Value) -> Answer<()> {
    let (was, is) =
        (|field| tree::text(live, &["metadata", field]), |field| tree::text(new, &["metadata", field]));
    let name = was("name");
    if !is("uid").is_empty() && is("uid") != was("uid") {
        let group = if kind.custom { format!("{}/", kind.group()) } else { String::new() };
        let namespace = was("namespace");
        let key = if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") };
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{group}{}/{key}, ResourceVersion: 0, \
            AdditionalErrorMsg: Precondition failed: UID in precondition: {}, UID in object meta: {}",
            kind.plural(),
            is("uid"),
            was("uid")
        );
        return Err(conflict(kind, name, &why));
    }
    if !is("resourceVersion").is_empty() && is("resourceVersion").parse::<u64>().is_err() {
        let version = is("resourceVersion");
        return Err(internal(format!("strconv.ParseUint: parsing {version:?}: invalid syntax")));
    }
    if !is("resourceVersion").is_empty() && is("resourceVersion") != was("resourceVersion") {
        return Err(conflict(kind, name, MODIFIED));
    }
    Ok(())
}

/// Keeps what a write may not change.
pub(crate) fn keep(kind: &Kind, live: &Value, mut new: Value, status: bool) -> Value {
    if status {
        let mut kept = live.clone();
        match new.get_mut("status").map(Value::take) {
            Some(status) => kept["status"] = status,
            None => {
                tree::as_map(&mut kept).shift_remove("status");
            }
        }
        return kept;
    }
    let metadata = tree::object(&mut new, "metadata");
    metadata.shift_remove("managedFields");
    let fields = [
        "name",
        "namespace",
        "generateName",
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "selfLink",
    ];
    for field in fields {
        match tree::at(live, &["metadata", field]) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.shift_remove(field),
        };
    }
    let new_map = tree::as_map(&mut new);
    for field in ["apiVersion", "kind"] {
        new_map.insert(field.to_owned(), live.get(field).cloned().unwrap_or_default());
    }
    if kind.status {
        match live.get("status") {
            Some(status) => new_map.insert("status".to_owned(), status.clone()),
            None => new_map.shift_remove("status"),
        };
    }
    new
}

/// Finds the object that a request names.
pub(crate) fn find<'a>(state: &'a State, target: &Target, kind: &Kind) -> Answer<&'a Arc<Stored>> {
    let key = key(target);
    state.get(kind, &key).ok_or_else(|| not_found(kind, &key.name))
}

/// Answers where a request's object stands.
pub(crate) fn key(target: &Target) -> Key {
    Key::new(target.namespace.as_deref().unwrap_or_default(), target.name.as_deref().unwrap_or_default())
}

/// Answers who a request writes as.
pub(crate) fn manager(state: &State, request: &Request, target: &Target, kind: &Kind) -> Manager {
    let agent = request.agent.split('/').next().filter(|agent| !agent.is_empty()).unwrap_or("unknown");
    Manager {
        name: request.param("fieldManager").unwrap_or(agent).to_owned(),
        operation: Operation::Update,
        api_version: kind.api_version(),
        subresource: target.subresource.clone().unwrap_or_default(),
        now: state.stamp(),
    }
}

/// Reads the object that a request carries, and holds it against the path.
pub(crate) fn decode(request: &Request, target: &Target, kind: &Kind) -> Answer<Value> {
    let mut object: Value =
        serde_json::from_slice(&request.body).map_err(|error| bad_request(error.to_string()))?;
    if !object.is_object() {
        return Err(bad_request("the request body is no object"));
    }
    recognize(&mut object, kind, &request.body)?;
    let found = decode::object(&mut object, kind);
    let version = tree::text(&object, &["apiVersion"]).rsplit('/').next().unwrap_or_default();
    let refused = |why: &str| {
        bad_request(format!(
            "{} in version {version:?} cannot be handled as a {}: {why}",
            kind.kind, kind.kind
        ))
    };
    if let Some(wrong) = &found.wrong {
        return Err(refused(wrong));
    }
    if request.strict() {
        let twice =
            decode::duplicates(&request.body).into_iter().map(|path| format!("duplicate field {path:?}"));
        let unknown = found.unknown.iter().map(|path| format!("unknown field {path:?}"));
        let wrong: Vec<_> = twice.chain(unknown).collect();
        if !wrong.is_empty() {
            return Err(refused(&format!("strict decoding error: {}", wrong.join(", "))));
        }
    }
    if target.name.is_some() && tree::text(&object, &["metadata", "name"]).is_empty() {
        return Err(nameless(request));
    }
    address(&mut object, target, kind)?;
    Ok(object)
}

/// Refuses an object that names no object, where the path does.
pub(crate) fn nameless(request: &Request) -> Box<Failure> {
    let name = request.path.trim_end_matches("/status").rsplit('/').next().unwrap_or_default();
    bad_request(format!(
        "the name of the object ({name} based on URL) was undeterminable: name must be provided"
    ))
}

/// Makes an object that was merged by the server what its type allows.
pub(crate) fn typed(object: &mut Value, kind: &Kind) -> Answer<()> {
    match decode::object(object, kind).wrong {
        Some(wrong) => Err(bad_request(wrong)),
        None => Ok(()),
    }
}

/// Refuses an object of another kind or version than the path has.
fn recognize(object: &mut Value, kind: &Kind, text: &Bytes) -> Answer<()> {
    let api_version = kind.api_version();
    let theirs = (tree::text(object, &["apiVersion"]).to_owned(), tree::text(object, &["kind"]).to_owned());
    if kind.custom {
        if theirs.1.is_empty() {
            let text = String::from_utf8_lossy(text);
            return Err(bad_request(format!(
                "the object provided is unrecognized (must be of type {}): Object 'Kind' is missing in '{text}' ({text})",
                kind.kind
            )));
        }
        if theirs.0 != api_version {
            return Err(bad_request(format!(
                "the API version in the data ({}) does not match the expected API version ({api_version})",
                theirs.0
            )));
        }
        if theirs.1 != kind.kind {
            let wrong = Cause::invalid("kind", &json!(theirs.1), &format!("must be {}", kind.kind));
            let name = tree::text(object, &["metadata", "name"]);
            let mut failure = invalid(kind, name, &[wrong]);
            failure.message = failure.message.replacen(&kind.kind, &theirs.1, 1);
            return Err(failure);
        }
        return Ok(());
    }
    let map = tree::as_map(object);
    for (field, ours) in [("apiVersion", &api_version), ("kind", &kind.kind)] {
        if map.get(field).and_then(Value::as_str).unwrap_or_default().is_empty() {
            map.insert(field.to_owned(), json!(ours));
        }
    }
    let (given, of) = (tree::text(object, &["apiVersion"]), tree::text(object, &["kind"]));
    if given == api_version && of == kind.kind {
        return Ok(());
    }
    let version = given.rsplit('/').next().unwrap_or_default();
    let known = kinds::builtin().values().any(|it| it.api_version() == given && it.kind == of);
    let group = kind.group().split('.').next().filter(|group| !group.is_empty()).unwrap_or("core");
    let why = if known {
        format!("converting ({version}.{of}) to ({group}.{}): unknown conversion", kind.kind)
    } else {
        format!("no kind {of:?} is registered for version {given:?} in scheme \"pkg/runtime/scheme.go:111\"")
    };
    Err(bad_request(format!("{of} in version {version:?} cannot be handled as a {}: {why}", kind.kind)))
}

/// Fills in what the path says of an object, and refuses what contradicts it.
pub(crate) fn address(object: &mut Value, target: &Target, kind: &Kind) -> Answer<()> {
    let api_version = kind.api_version();
    for (field, ours) in [("apiVersion", &api_version), ("kind", &kind.kind)] {
        let theirs = tree::text(object, &[field]);
        if !theirs.is_empty() && theirs != ours {
            return Err(bad_request(format!(
                "{} in version {:?} cannot be handled as a {}: {field} is {theirs:?}",
                kind.kind, kind.version, kind.kind
            )));
        }
    }
    let name = tree::text(object, &["metadata", "name"]).to_owned();
    let namespace = tree::text(object, &["metadata", "namespace"]).to_owned();
    let map = tree::as_map(object);
    map.insert("apiVersion".to_owned(), json!(api_version));
    map.insert("kind".to_owned(), json!(kind.kind));
    let metadata = tree::object(object, "metadata");
    if let Some(wanted) = &target.name {
        if !name.is_empty() && name != *wanted {
            return Err(bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({wanted})"
            )));
        }
        metadata.insert("name".to_owned(), json!(wanted));
    }
    match &target.namespace {
        Some(wanted) if !namespace.is_empty() && namespace != *wanted => Err(bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        )),
        Some(wanted) => {
            metadata.insert("namespace".to_owned(), json!(wanted));
            Ok(())
        }
        None => {
            metadata.shift_remove("namespace");
            Ok(())
        }
    }
}

/// Refuses new objects where there is no namespace for them.
fn admit(state: &State, kind: &Kind, object: &Value) -> Answer<()> {
    if crd::goes(state, kind) {
        let name = tree::text(object, &["metadata", "name"]);
        return Err(forbidden(
            kind,
            name,
            "create not allowed while custom resource definition is terminating",
        ));
    }
    let namespace = tree::text(object, &["metadata", "namespace"]);
    if namespace.is_empty() {
        return Ok(());
    }
    let namespaces = state.builtin("", "v1", "namespaces");
    let found =
        state.get(&namespaces, &Key::new("", namespace)).ok_or_else(|| not_found(&namespaces, namespace))?;
    if found.deleting {
        return Err(terminating(kind, tree::text(object, &["metadata", "name"]), namespace));
    }
    Ok(())
}

/// Gives a new object what only the server gives.
fn fresh(state: &mut State, kind: &Kind, object: &mut Value) {
    let (uid, now) = (state.new_uid(), state.stamp());
    // A node reports its status when it comes; all others get theirs later.
    if kind.status && !kind.is("", "nodes") {
        let map = tree::as_map(object);
        map.shift_remove("status");
        if let Some(empty) = decode::empty(kind).get("status") {
            map.insert("status".to_owned(), empty.clone());
        }
    }
    let metadata = tree::object(object, "metadata");
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"] {
        metadata.shift_remove(field);
    }
    metadata.insert("uid".to_owned(), json!(uid));
    metadata.insert("creationTimestamp".to_owned(), json!(now));
    if kind.generation {
        metadata.insert("generation".to_owned(), json!(1));
    }
}

/// Tells whether a change counts as a new generation: anything but metadata and status.
fn generation_grows(kind: &Kind, live: &Value, new: &Value) -> bool {
    let rest = |object: &Value| {
        let mut rest = object.clone();
        let map = tree::as_map(&mut rest);
        map.shift_remove("metadata");
        if kind.status {
            map.shift_remove("status");
        }
        rest
    };
    kind.generation && rest(live) != rest(new)
}

/// Leaves the chores that follow a write.
fn follow(state: &mut State, kind: &Kind, object: &Value, created: bool) {
    let name = tree::text(object, &["metadata", "name"]).to_owned();
    if kind.is("", "namespaces") && created {
        let lag = state.options.lag;
        state.later(lag, Chore::Furnish(name));
    } else if kind.is("apiextensions.k8s.io", "customresourcedefinitions") {
        crd::written(state, &name, object, created);
    }
}

fn read_token(token: &str) -> Answer<(u64, Key)> {
    let mut parts = token.splitn(3, '/');
    let mut read = || -> Option<(u64, Key)> {
        let version = parts.next()?.parse().ok()?;
        Some((version, Key::new(parts.next()?, parts.next()?)))
    };
    read().ok_or_else(|| bad_request("continue key is not valid: illegal base64 data"))
}
