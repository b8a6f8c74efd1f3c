//! What is served, as clients ask for it: aggregated and plain discovery, the version, reviews of access.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use kube::core::Version;
use serde_json::{Value, json};

use crate::kinds::{Kind, api_version};
use crate::request::{Place, Request, Target};
use crate::service::Reply;
use crate::state::State;
use crate::status::{Answer, bad_request, no_such_page, not_simulated};

/// The kinds of a group by version, the preferred one first.
type Group = Vec<(String, Vec<Arc<Kind>>)>;

/// Answers a request that is about no object.
pub(crate) fn answer(state: &State, request: &Request, place: &Place) -> Answer<Reply> {
    let aggregated =
        request.accept.contains("g=apidiscovery.k8s.io;v=v2;") || request.accept.contains("v=v2beta1");
    let document = match place {
        Place::Version => version(&state.options.version),
        Place::Health => return Ok(Reply::Text("ok".to_owned())),
        Place::Groups { core } if aggregated => aggregate(state, *core),
        Place::Groups { core: true } => json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": "192.0.2.11:6443" }],
        }),
        Place::Groups { core: false } => {
            let groups = groups(state).into_iter().filter(|(name, _)| !name.is_empty());
            let groups: Vec<_> = groups.map(|(name, group)| group_document(&name, &group)).collect();
            json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
        }
        Place::Group(name) => {
            let group = groups(state).remove(name).filter(|_| !name.is_empty()).ok_or_else(no_such_page)?;
            let mut document = group_document(name, &group);
            document["kind"] = json!("APIGroup");
            document["apiVersion"] = json!("v1");
            document
        }
        Place::GroupVersion(name, version) => {
            let group = groups(state).remove(name).unwrap_or_default();
            let kinds = match group.into_iter().find(|(served, _)| served == version) {
                Some((_, kinds)) => kinds,
                // A server of its own answers for the group: what it serves is not known here.
                None if state.is_aggregated(name, version)? => Vec::new(),
                None => return Err(no_such_page()),
            };
            let resources: Vec<_> = kinds.iter().flat_map(|kind| resources(kind)).collect();
            let version = api_version(name, version);
            json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources })
        }
        Place::Objects(_) => return Err(no_such_page()),
    };
    Ok(Reply::ok(document.to_string()))
}

/// Answers a `SelfSubjectAccessReview`: everything is allowed.
pub(crate) fn review(request: &Request, target: &Target) -> Answer<Reply> {
    if target.plural != "selfsubjectaccessreviews" || request.method != http::Method::POST {
        return Err(not_simulated(&format!("{} {}", request.method, target.plural)));
    }
    let mut review: Value =
        serde_json::from_slice(&request.body).map_err(|error| bad_request(error.to_string()))?;
    review["status"] = json!({ "allowed": true, "reason": "simulated" });
    Ok(Reply::Full(StatusCode::CREATED, review.to_string().into()))
}

fn version(version: &str) -> Value {
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    json!({
        "major": major, "minor": minor, "gitVersion": version, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z", "goVersion": "go1.26.0", "compiler": "gc", "platform": "linux/amd64",
    })
}

fn groups(state: &State) -> BTreeMap<String, Group> {
    let mut groups: BTreeMap<String, BTreeMap<String, Vec<Arc<Kind>>>> = BTreeMap::new();
    for (key, kind) in state.kinds.iter().filter(|(key, _)| state.published.contains(key)) {
        groups.entry(key.0.clone()).or_default().entry(key.1.clone()).or_default().push(kind.clone());
    }
    let sorted = |versions: BTreeMap<String, Vec<Arc<Kind>>>| {
        let mut versions: Vec<_> = versions.into_iter().collect();
        versions.sort_by_cached_key(|(version, _)| Reverse(Version::parse(version).priority()));
        versions
    };
    groups.into_iter().map(|(name, versions)| (name, sorted(versions))).collect()
}

fn group_document(name: &str, group: &Group) -> Value {
    let versions: Vec<_> = group
        .iter()
        .map(|(version, _)| json!({ "groupVersion": api_version(name, version), "version": version }))
        .collect();
    json!({ "name": name, "versions": versions, "preferredVersion": versions.first() })
}

fn resources(kind: &Kind) -> Vec<Value> {
    let mut resource = json!({
        "name": kind.plural(), "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
        "verbs": verbs(),
    });
    if !kind.short_names.is_empty() {
        resource["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        resource["categories"] = json!(kind.categories);
    }
    let mut resources = vec![resource];
    if kind.status {
        resources.push(json!({
            "name": format!("{}/status", kind.plural()), "singularName": "", "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": ["get", "patch", "update"],
        }));
    }
    resources
}

fn verbs() -> [&'static str; 8] {
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
}

fn aggregate(state: &State, core: bool) -> Value {
    let groups = groups(state).into_iter().filter(|(name, _)| name.is_empty() == core);
    let items: Vec<_> = groups
        .map(|(name, group)| {
            let versions: Vec<_> = group
                .iter()
                .map(|(version, kinds)| {
                    let resources: Vec<_> = kinds.iter().map(|kind| aggregated(kind)).collect();
                    json!({ "version": version, "freshness": "Current", "resources": resources })
                })
                .collect();
            let metadata = if name.is_empty() { json!({}) } else { json!({ "name": name }) };
            json!({ "metadata": metadata, "versions": versions })
        })
        .collect();
    json!({ "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items })
}

fn aggregated(kind: &Kind) -> Value {
    let response = json!({ "group": kind.group(), "version": kind.version, "kind": kind.kind });
    let mut resource = json!({
        "resource": kind.plural(), "responseKind": response,
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular, "verbs": verbs(),
    });
    if !kind.short_names.is_empty() {
        resource["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        resource["categories"] = json!(kind.categories);
    }
    if kind.status {
        resource["subresources"] = json!([{ "subresource": "status", "responseKind": response, "verbs": ["get", "patch", "update"] }]);
    }
    resource
}
