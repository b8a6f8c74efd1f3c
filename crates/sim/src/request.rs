//! From an HTTP request to a verb, a target and parameters.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, header};
use serde_json::json;

use crate::status::{
    Answer, Cause, bad_request, invalid_options, method_not_allowed, no_such_page, not_simulated,
};

/// What a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Apply,
    Delete,
    DeleteCollection,
}

impl Verb {
    /// Answers the verb's name, as faults and counters know it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Apply => "apply",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

/// What a request is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Version,
    /// `/api` and `/apis`.
    Groups {
        core: bool,
    },
    /// `/apis/GROUP`.
    Group(String),
    /// `/api/v1` and `/apis/GROUP/VERSION`: group and version.
    GroupVersion(String, String),
    Health,
    Objects(Target),
}

/// A request, read.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) accept: String,
    pub(crate) content_type: String,
    pub(crate) agent: String,
    pub(crate) body: Bytes,
}

impl Request {
    /// Reads a request.
    pub(crate) fn new(parts: &Parts, body: Bytes) -> Self {
        let header = |name| {
            parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        Self {
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            query: parse_query(parts.uri.query().unwrap_or_default()),
            accept: header(header::ACCEPT),
            content_type: header(header::CONTENT_TYPE),
            agent: header(header::USER_AGENT),
            body,
        }
    }

    /// Answers a parameter that is not empty.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Tells whether a parameter says yes.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.param(name).is_some_and(|value| value == "true" || value == "1")
    }

    /// Tells whether unknown and duplicate fields are refused.
    pub(crate) fn strict(&self) -> bool {
        self.param("fieldValidation") == Some("Strict")
    }

    /// Tells whether nothing shall be kept.
    pub(crate) fn dry_run(&self) -> bool {
        self.param("dryRun") == Some("All")
    }

    /// Refuses parameters of a write that make no sense.
    pub(crate) fn check_options(&self, verb: Verb) -> Answer<()> {
        let options = match verb {
            Verb::Create => "CreateOptions",
            Verb::Update => "UpdateOptions",
            Verb::Patch | Verb::Apply => "PatchOptions",
            Verb::Delete | Verb::DeleteCollection => "DeleteOptions",
            Verb::Get | Verb::List | Verb::Watch => return self.check_list(),
        };
        let mut causes = Vec::new();
        if let Some(word) = self.param("dryRun").filter(|word| *word != "All") {
            causes.push(Cause::unsupported("dryRun", &json!([word]), &["All".to_owned()]));
        }
        let known = ["", "Ignore", "Strict", "Warn"].map(str::to_owned);
        if let Some(word) = self.param("fieldValidation").filter(|word| !known.iter().any(|it| it == word)) {
            causes.push(Cause::unsupported("fieldValidation", &json!(word), &known));
        }
        if self.param("fieldManager").is_some_and(|name| name.len() > 128) {
            let message = "Too long: may not be more than 128 bytes".to_owned();
            causes.push(Cause { reason: "FieldValueTooLong", field: "fieldManager".to_owned(), message });
        }
        if causes.is_empty() { Ok(()) } else { Err(invalid_options(options, &causes)) }
    }

    fn check_list(&self) -> Answer<()> {
        if self.param("resourceVersionMatch").is_some() && self.param("resourceVersion").is_none() {
            let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            let causes = [Cause::forbidden("resourceVersionMatch", why)];
            // Watches with initial events say how, not from where.
            if self.param("sendInitialEvents").is_none() {
                return Err(invalid_options("ListOptions", &causes));
            }
        }
        if self.param("limit").is_some_and(|limit| limit.parse::<i64>().is_err()) {
            return Err(bad_request("strconv.ParseInt: parsing \"limit\": invalid syntax"));
        }
        Ok(())
    }

    /// Answers where the path leads.
    pub(crate) fn place(&self) -> Answer<Place> {
        let mut parts: Vec<_> = self.path.trim_matches('/').split('/').map(decode).collect();
        parts.reverse();
        let mut next = || parts.pop();
        match next().as_deref() {
            Some("version") => Ok(Place::Version),
            Some("healthz" | "livez" | "readyz") => Ok(Place::Health),
            Some("api") => match next() {
                None => Ok(Place::Groups { core: true }),
                Some(version) => objects(String::new(), version, parts),
            },
            Some("apis") => match (next(), next()) {
                (None, _) => Ok(Place::Groups { core: false }),
                (Some(group), None) => Ok(Place::Group(group)),
                (Some(group), Some(version)) => objects(group, version, parts),
            },
            Some("openapi") => Err(not_simulated("openapi")),
            _ => Err(no_such_page()),
        }
    }

    /// Answers the verb for a target.
    pub(crate) fn verb(&self, target: &Target) -> Answer<Verb> {
        let named = target.name.is_some();
        Ok(match self.method {
            Method::GET if self.flag("watch") => Verb::Watch,
            Method::GET if named => Verb::Get,
            Method::GET => Verb::List,
            Method::POST if !named || target.subresource.is_some() => Verb::Create,
            Method::PUT if named => Verb::Update,
            Method::PATCH if self.content_type.starts_with("application/apply-patch") => Verb::Apply,
            Method::PATCH => Verb::Patch,
            Method::DELETE if named => Verb::Delete,
            Method::DELETE => Verb::DeleteCollection,
            _ => return Err(method_not_allowed()),
        })
    }
}

/// Reads the rest of a path, given in reverse.
fn objects(group: String, version: String, mut rest: Vec<String>) -> Answer<Place> {
    let Some(first) = rest.pop() else { return Ok(Place::GroupVersion(group, version)) };
    let mut target = Target { group, version, plural: first, ..Target::default() };
    // `namespaces/a/pods` is in a namespace, `namespaces/a/status` is about one.
    if target.plural == "namespaces" && rest.len() > 1 && !is_of_namespace(&rest) {
        target.namespace = rest.pop();
        target.plural = rest.pop().unwrap_or_default();
    }
    target.name = rest.pop();
    target.subresource = rest.pop();
    if rest.is_empty() { Ok(Place::Objects(target)) } else { Err(no_such_page()) }
}

fn is_of_namespace(rest: &[String]) -> bool {
    matches!(rest, [last, _] if last == "status" || last == "finalize")
}

fn parse_query(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(&name.replace('+', " ")), decode(&value.replace('+', " "))))
        .collect()
}

/// Undoes percent encoding.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| first == b'%') {
            bytes.push(byte);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
