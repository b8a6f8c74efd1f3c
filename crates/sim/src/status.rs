//! Why a request is refused, in the words and shapes of a real API server.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::kinds::Kind;

/// A refusal on its way to the client. Boxed in results, because it is large and rare.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code} {reason}: {message}")]
pub(crate) struct Failure {
    pub(crate) code: u16,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) details: Option<Value>,
    /// Seconds for the header `Retry-After`.
    pub(crate) retry_after: Option<u32>,
    /// Is answered as text, not as a `Status`.
    pub(crate) plain: bool,
}

/// The result of everything that can be refused.
pub(crate) type Answer<T> = Result<T, Box<Failure>>;

impl Failure {
    /// Makes a refusal without details.
    pub(crate) fn new(code: u16, reason: &str, message: impl Into<String>) -> Box<Self> {
        let (reason, message) = (reason.to_owned(), message.into());
        Box::new(Self { code, reason, message, details: None, retry_after: None, plain: false })
    }

    /// Adds details.
    pub(crate) fn with(mut self: Box<Self>, details: Value) -> Box<Self> {
        self.details = Some(details);
        self
    }

    /// Answers the body that the client reads.
    pub(crate) fn body(&self) -> String {
        if self.plain {
            return format!("{}\n", self.message);
        }
        self.status().to_string()
    }

    /// Answers the `Status` object.
    pub(crate) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status["code"] = json!(self.code);
        status
    }
}

/// The path is not served.
pub(crate) fn no_such_page() -> Box<Failure> {
    let mut failure = Failure::new(404, "NotFound", "404 page not found");
    failure.plain = true;
    failure
}

/// The group is served, but not this path in it.
pub(crate) fn no_such_resource() -> Box<Failure> {
    Failure::new(404, "NotFound", "the server could not find the requested resource").with(json!({}))
}

/// The path does not take this method.
pub(crate) fn method_not_allowed() -> Box<Failure> {
    let message = "the server does not allow this method on the requested resource";
    Failure::new(405, "MethodNotAllowed", message).with(json!({}))
}

/// The request is outside the closed list.
pub(crate) fn not_simulated(what: &str) -> Box<Failure> {
    Failure::new(501, "NotSimulated", format!("not simulated: {what}"))
}

/// The request makes no sense.
pub(crate) fn bad_request(message: impl Into<String>) -> Box<Failure> {
    Failure::new(400, "BadRequest", message)
}

/// There is no such object.
pub(crate) fn not_found(kind: &Kind, name: &str) -> Box<Failure> {
    let message = format!("{} {name:?} not found", kind.qualified());
    Failure::new(404, "NotFound", message).with(details(kind, name))
}

/// There is such an object already.
pub(crate) fn already_exists(kind: &Kind, name: &str) -> Box<Failure> {
    let message = format!("{} {name:?} already exists", kind.qualified());
    Failure::new(409, "AlreadyExists", message).with(details(kind, name))
}

/// The object changed since it was read, or a precondition does not hold.
pub(crate) fn conflict(kind: &Kind, name: &str, why: &str) -> Box<Failure> {
    let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind.qualified());
    Failure::new(409, "Conflict", message).with(details(kind, name))
}

/// What [`conflict`] says of a stale version.
pub(crate) const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

/// The version to watch from is no longer kept.
pub(crate) fn too_old(asked: u64, oldest: u64) -> Box<Failure> {
    Failure::new(410, "Expired", format!("too old resource version: {asked} ({oldest})"))
}

/// The server does not let it happen.
pub(crate) fn forbidden(kind: &Kind, name: &str, why: &str) -> Box<Failure> {
    let message = format!("{} {name:?} is forbidden: {why}", kind.qualified());
    Failure::new(403, "Forbidden", message).with(details(kind, name))
}

/// The namespace goes away, so nothing new may come in.
pub(crate) fn terminating(kind: &Kind, name: &str, namespace: &str) -> Box<Failure> {
    let message = format!(
        "{} {name:?} is forbidden: unable to create new content in namespace {namespace} because it is being terminated",
        kind.qualified()
    );
    let mut details = details(kind, name);
    details["causes"] = json!([{
        "reason": "NamespaceTerminating",
        "message": format!("namespace {namespace} is being terminated"),
        "field": "metadata.namespace",
    }]);
    Failure::new(403, "Forbidden", message).with(details)
}

/// One thing that is wrong with an object.
#[derive(Clone, Debug)]
pub(crate) struct Cause {
    pub(crate) reason: &'static str,
    pub(crate) field: String,
    pub(crate) message: String,
}

impl Cause {
    /// A value that is not as it must be.
    pub(crate) fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        let message = format!("Invalid value: {value}: {why}");
        Self { reason: "FieldValueInvalid", field: field.into(), message }
    }

    /// A value that is missing; `why` may be empty.
    pub(crate) fn required(field: impl Into<String>, why: &str) -> Self {
        let message =
            if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
        Self { reason: "FieldValueRequired", field: field.into(), message }
    }

    /// A value that must not be there, or not change.
    pub(crate) fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self { reason: "FieldValueForbidden", field: field.into(), message: format!("Forbidden: {why}") }
    }

    /// A value that is there already.
    pub(crate) fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self {
            reason: "FieldValueDuplicate",
            field: field.into(),
            message: format!("Duplicate value: {value}"),
        }
    }

    /// A value that is none of those known.
    pub(crate) fn unsupported(field: impl Into<String>, value: &Value, known: &[String]) -> Self {
        let known: Vec<_> = known.iter().map(|known| format!("{known:?}")).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", known.join(", "));
        Self { reason: "FieldValueNotSupported", field: field.into(), message }
    }

    fn json(&self) -> Value {
        json!({ "reason": self.reason, "message": self.message, "field": self.field })
    }
}

/// The object is not valid.
pub(crate) fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Box<Failure> {
    let mut details = details(kind, name);
    details["kind"] = json!(kind.kind);
    details["causes"] = causes.iter().map(Cause::json).collect();
    let mut list: Vec<_> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
    // What is said twice is written once.
    let mut seen = BTreeSet::new();
    list.retain(|said| seen.insert(said.clone()));
    let list = if list.len() == 1 { list.concat() } else { format!("[{}]", list.join(", ")) };
    let message = format!("{} {name:?} is invalid: {list}", kind.qualified_kind());
    Failure::new(422, "Invalid", message).with(details)
}

/// The parameters of a request are not valid: `options` is `CreateOptions`, `PatchOptions` and so on.
pub(crate) fn invalid_options(options: &str, causes: &[Cause]) -> Box<Failure> {
    let list: Vec<_> = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
    let message = format!("{options}.meta.k8s.io \"\" is invalid: {}", list.join(", "));
    let causes: Vec<_> = causes.iter().map(Cause::json).collect();
    Failure::new(422, "Invalid", message)
        .with(json!({ "group": "meta.k8s.io", "kind": options, "causes": causes }))
}

/// The server failed, without a reason that it knows.
pub(crate) fn internal(message: impl Into<String>) -> Box<Failure> {
    Failure::new(500, "", message)
}

fn details(kind: &Kind, name: &str) -> Value {
    let mut details = json!({ "name": name });
    if !kind.group().is_empty() {
        details["group"] = json!(kind.group());
    }
    details["kind"] = json!(kind.plural());
    details
}
