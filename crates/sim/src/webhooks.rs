//! Admission webhooks and `APIServices`: whom the server calls, and what it says when nobody answers. A webhook whose
//! Service has ready endpoints lets everything pass; match conditions are not looked at.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::json as tree;
use crate::kinds::Kind;
use crate::selector::labels_match;
use crate::state::{Chore, State};
use crate::status::{Answer, Failure};
use crate::store::Key;

const GROUP: &str = "admissionregistration.k8s.io";

/// How the webhooks of a configuration answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answers {
    /// They let nothing pass, and say why.
    Deny(String),
    /// Their certificate is signed by nobody whom the configuration trusts.
    BadCertificate,
    /// Their backend does not take connections.
    Nothing,
}

/// What a webhook would be called for.
pub(crate) struct Call<'a> {
    pub(crate) kind: &'a Kind,
    /// `CREATE`, `UPDATE` or `DELETE`.
    pub(crate) operation: &'static str,
    /// Empty for the object itself.
    pub(crate) subresource: &'a str,
    pub(crate) object: &'a Value,
}

impl State {
    /// Answers the webhooks of all configurations, mutating ones first.
    fn webhooks(&mut self) -> Arc<Vec<(String, Value)>> {
        if let Some(known) = &self.webhooks {
            return Arc::clone(known);
        }
        let mut hooks = Vec::new();
        for plural in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
            let kind = self.builtin(GROUP, "v1", plural);
            let stored = self.stores.get(&kind.id).into_iter().flat_map(|store| store.objects.values());
            hooks.extend(stored.flat_map(|stored| {
                let value = stored.value(&kind);
                let name = tree::text(&value, &["metadata", "name"]).to_owned();
                let hooks = tree::items(&value, "webhooks").to_vec();
                hooks.into_iter().map(move |hook| (name.clone(), hook))
            }));
        }
        let hooks = Arc::new(hooks);
        self.webhooks = Some(Arc::clone(&hooks));
        hooks
    }

    /// Follows a write or a removal of anything that webhooks and `APIServices` depend on.
    pub(crate) fn watch_backends(&mut self, kind: &Kind, object: &Value) {
        if kind.group() == GROUP {
            self.webhooks = None;
        }
        let lag = self.options.lag;
        if kind.is("apiregistration.k8s.io", "apiservices") {
            self.later(lag, Chore::Availability(tree::text(object, &["metadata", "name"]).to_owned()));
        } else if kind.is("", "services") || kind.is("discovery.k8s.io", "endpointslices") {
            let services = self.builtin("apiregistration.k8s.io", "v1", "apiservices");
            let store = self.stores.get(&services.id);
            let names: Vec<_> = store.into_iter().flat_map(|store| store.objects.keys()).cloned().collect();
            for key in names {
                self.later(lag, Chore::Availability(key.name));
            }
        }
    }

    /// Says why a Service cannot be reached, if it cannot.
    fn unreachable(&self, namespace: &str, name: &str) -> Option<Unreachable> {
        let services = self.builtin("", "v1", "services");
        if self.get(&services, &Key::new(namespace, name)).is_none() {
            return Some(Unreachable::NoService);
        }
        let slices = self.builtin("discovery.k8s.io", "v1", "endpointslices");
        let Some(store) = self.stores.get(&slices.id) else { return Some(Unreachable::NoEndpoints) };
        let here =
            store.objects.range(Key::new(namespace, "")..).take_while(|(key, _)| key.namespace == namespace);
        let mut here = here.filter(|(_, stored)| {
            stored.labels.get("kubernetes.io/service-name").is_some_and(|service| service == name)
        });
        let ready = here.any(|(_, stored)| {
            let slice = stored.value(&slices);
            tree::items(&slice, "endpoints")
                .iter()
                .any(|endpoint| tree::at(endpoint, &["conditions", "ready"]).is_none_or(|it| it != false))
        });
        (!ready).then_some(Unreachable::NoEndpoints)
    }

    /// Tells whether a server of its own answers for a group and version.
    ///
    /// # Errors
    /// It should, and cannot be reached.
    pub(crate) fn is_aggregated(&self, group: &str, version: &str) -> Answer<bool> {
        let kind = self.builtin("apiregistration.k8s.io", "v1", "apiservices");
        let Some(stored) = self.get(&kind, &Key::new("", &format!("{version}.{group}"))) else {
            return Ok(false);
        };
        let object = stored.value(&kind);
        let Some(service) = tree::at(&object, &["spec", "service"]) else { return Ok(false) };
        match self.unreachable(tree::text(service, &["namespace"]), tree::text(service, &["name"])) {
            None => Ok(true),
            Some(_) => Err(Failure::new(503, "ServiceUnavailable", "service unavailable")),
        }
    }

    /// Says in an `APIService`'s status whether its backend can be reached.
    pub(crate) fn availability(&mut self, name: &str) {
        let kind = self.builtin("apiregistration.k8s.io", "v1", "apiservices");
        let key = Key::new("", name);
        let Some(stored) = self.get(&kind, &key) else { return };
        let mut object = stored.value(&kind);
        let service = tree::at(&object, &["spec", "service"]).cloned();
        let (available, reason, message) = match &service {
            None => (true, "Local", "Local APIServices are always available".to_owned()),
            Some(service) => {
                let (namespace, name) = (tree::text(service, &["namespace"]), tree::text(service, &["name"]));
                match self.unreachable(namespace, name) {
                    None => (true, "Passed", "all checks passed".to_owned()),
                    Some(Unreachable::NoService) => {
                        (false, "ServiceNotFound", format!("service/{name} in {namespace:?} is not present"))
                    }
                    Some(Unreachable::NoEndpoints) => {
                        let message = format!(
                            "endpoints for service/{name} in {namespace:?} have no addresses with port name \"\""
                        );
                        (false, "MissingEndpoints", message)
                    }
                }
            }
        };
        let status = if available { "True" } else { "False" };
        let known = object.get("status").and_then(|it| tree::items(it, "conditions").first()).cloned();
        let known = known.unwrap_or_default();
        if tree::text(&known, &["status"]) == status && tree::text(&known, &["message"]) == message {
            return;
        }
        let now = self.stamp();
        let condition = json!({
            "type": "Available", "status": status, "lastTransitionTime": now, "reason": reason, "message": message,
        });
        tree::object(&mut object, "status").insert("conditions".to_owned(), json!([condition]));
        self.put(&kind, &mut object);
    }
}

#[derive(Clone, Copy)]
enum Unreachable {
    NoService,
    NoEndpoints,
}

/// Calls the webhooks that want to see a write, and refuses it where one that must answer cannot be reached.
pub(crate) fn admit(state: &mut State, call: &Call<'_>) -> Answer<()> {
    let hooks = state.webhooks();
    // Nobody may lock itself out of the webhooks' own configurations.
    if hooks.is_empty() || call.kind.group() == GROUP {
        return Ok(());
    }
    for (configuration, hook) in hooks.iter().filter(|(_, hook)| wants(state, hook, call)) {
        let Some(service) = tree::at(hook, &["clientConfig", "service"]) else { continue };
        let text = |field: &str| tree::text(service, &[field]);
        let (namespace, name) = (text("namespace"), text("name"));
        let trouble = state
            .answers
            .get(configuration)
            .filter(|(_, until)| until.is_none_or(|until| Instant::now() < until));
        let why = match (state.unreachable(namespace, name), trouble.map(|(answers, _)| answers)) {
            (Some(Unreachable::NoService), _) => format!("service {name:?} not found"),
            (Some(Unreachable::NoEndpoints), _) => format!("no endpoints available for service {name:?}"),
            (None, None) => continue,
            (None, Some(Answers::Deny(why))) => {
                let hook = tree::text(hook, &["name"]);
                let message = format!("admission webhook {hook:?} denied the request: {why}");
                // A webhook that gives no reason leaves the field empty.
                return Err(Failure::new(400, "", message));
            }
            (None, Some(Answers::BadCertificate)) => {
                "tls: failed to verify certificate: x509: certificate signed by unknown authority".to_owned()
            }
            (None, Some(Answers::Nothing)) => {
                "dial tcp 10.96.0.1:443: connect: connection refused".to_owned()
            }
        };
        if tree::text(hook, &["failurePolicy"]) == "Ignore" {
            continue;
        }
        let path = if text("path").is_empty() { "/" } else { text("path") };
        let seconds = hook.get("timeoutSeconds").and_then(Value::as_i64).unwrap_or(10);
        let port = service.get("port").and_then(Value::as_i64).unwrap_or(443);
        let hook = tree::text(hook, &["name"]);
        let message = format!(
            "failed calling webhook {hook:?}: failed to call webhook: Post \
            \"https://{name}.{namespace}.svc:{port}{path}?timeout={seconds}s\": {why}"
        );
        return Err(Failure::new(500, "InternalError", format!("Internal error occurred: {message}"))
            .with(json!({ "causes": [{ "message": message }] })));
    }
    Ok(())
}

fn wants(state: &State, hook: &Value, call: &Call<'_>) -> bool {
    tree::items(hook, "rules").iter().any(|rule| rule_matches(rule, call))
        && selects(hook, "objectSelector", &tree::labels(call.object))
        && namespace_labels(state, call).is_none_or(|labels| selects(hook, "namespaceSelector", &labels))
}

fn selects(hook: &Value, field: &str, labels: &BTreeMap<String, String>) -> bool {
    hook.get(field).is_none_or(|selector| labels_match(selector, labels))
}

/// Answers the labels of the object's namespace, which for a namespace are its own; none for all else.
fn namespace_labels(state: &State, call: &Call<'_>) -> Option<BTreeMap<String, String>> {
    if call.kind.is("", "namespaces") {
        return Some(tree::labels(call.object));
    }
    let namespace = tree::text(call.object, &["metadata", "namespace"]);
    let namespaces = state.builtin("", "v1", "namespaces");
    state.get(&namespaces, &Key::new("", namespace)).map(|stored| stored.labels.clone())
}

fn rule_matches(rule: &Value, call: &Call<'_>) -> bool {
    let has = |field: &str, wanted: &str| {
        tree::items(rule, field).iter().any(|it| it == "*" || it.as_str() == Some(wanted))
    };
    let (plural, sub) = (call.kind.plural(), call.subresource);
    let resource = tree::items(rule, "resources").iter().filter_map(Value::as_str).any(|it| {
        let (resource, subresource) = it.split_once('/').unwrap_or((it, ""));
        (resource == "*" || resource == plural) && (subresource == sub || subresource == "*")
    });
    let scope = match tree::text(rule, &["scope"]) {
        "Namespaced" => call.kind.namespaced,
        "Cluster" => !call.kind.namespaced,
        _ => true,
    };
    let version = has("apiVersions", &call.kind.version);
    resource && scope && version && has("operations", call.operation) && has("apiGroups", call.kind.group())
}
