//! Webhooks and policies: ready when a request that they judge can be
//! answered, not when their object exists.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::around::endpoints;
use super::{Context, Health, Soft, SoftCause, number, text};
use crate::model::object::Object;
use crate::model::selector::Selector;

fn progressing(reason: String) -> Health {
    Health::Progressing(reason)
}

/// One webhook of a configuration.
pub(crate) struct Webhook<'a>(&'a Value);

/// The webhooks of a configuration that fail closed: without an answer of
/// theirs, nothing that they judge can be written.
pub(crate) fn closed(configuration: &Value) -> Vec<Webhook<'_>> {
    let webhooks = configuration.get("webhooks").and_then(Value::as_array).into_iter().flatten();
    webhooks.filter(|webhook| text(webhook, "/failurePolicy") != Some("Ignore")).map(Webhook).collect()
}

impl Webhook<'_> {
    /// Whether its rules name an object's resource.
    pub(crate) fn judges(&self, object: &Object, plural: &str) -> bool {
        self.rules().any(|rule| {
            has(rule, "apiGroups", &object.id.kind.group)
                && has(rule, "apiVersions", &object.version)
                && (has(rule, "resources", plural) || has(rule, "resources", "*/*"))
                && match text(rule, "/scope") {
                    Some("Cluster") => object.id.namespace.is_none(),
                    Some("Namespaced") => object.id.namespace.is_some(),
                    _ => true,
                }
        })
    }

    /// Whether an operation is judged, `CREATE` or `UPDATE`.
    pub(crate) fn is_called(&self, operation: &str) -> bool {
        self.rules().any(|rule| has(rule, "operations", operation))
    }

    /// Whether its selectors take an object, and the namespace that it is in.
    pub(crate) fn selects(&self, object: &Object, namespace: Option<&Value>) -> bool {
        let selector = |key: &str| Selector::of(self.0.get(key));
        // The namespace selector judges a namespace by its own labels, and no other cluster-scoped object.
        let is_namespace = object.id.kind.group.is_empty() && object.id.kind.kind == "Namespace";
        let namespace = if is_namespace { Some(&object.value) } else { namespace };
        selector("objectSelector").takes(object.value.pointer("/metadata/labels"))
            && namespace.is_none_or(|namespace| {
                selector("namespaceSelector").takes(namespace.pointer("/metadata/labels"))
            })
    }

    /// The namespace and name of the Service that answers it; `None`: it has a URL.
    pub(crate) fn service(&self) -> Option<(String, String)> {
        let part = |key: &str| text(self.0, &format!("/clientConfig/service/{key}")).map(str::to_owned);
        Some((part("namespace")?, part("name")?))
    }

    fn rules(&self) -> impl Iterator<Item = &Value> {
        self.0.get("rules").and_then(Value::as_array).into_iter().flatten()
    }
}

/// Whether a rule's list has an entry, or the one for all.
fn has(rule: &Value, list: &str, wanted: &str) -> bool {
    let entries = rule.get(list).and_then(Value::as_array).into_iter().flatten();
    entries.filter_map(Value::as_str).any(|entry| entry == "*" || entry == wanted)
}

/// Every webhook that fails closed needs a CA and somebody who answers.
pub(super) fn webhooks(object: &Value, context: Context<'_>) -> Health {
    for Webhook(webhook) in closed(object) {
        let name = text(webhook, "/name").unwrap_or("?");
        // A URL may be served with a certificate of a CA that the API server knows anyway.
        let Some(service) = webhook.pointer("/clientConfig/service") else { continue };
        if !has_certificate(text(webhook, "/clientConfig/caBundle")) {
            return progressing(format!("webhook {name} has no caBundle yet"));
        }
        let (namespace, service) =
            (text(service, "/namespace").unwrap_or_default(), text(service, "/name").unwrap_or_default());
        match endpoints(context.around, namespace, service) {
            Some(0) => {
                return progressing(format!(
                    "webhook {name}: Service {namespace}/{service} has no ready endpoint"
                ));
            }
            Some(_) => {}
            None => {
                return progressing(format!("looking for the endpoints of Service {namespace}/{service}"));
            }
        }
    }
    Health::Ready
}

/// Whether a `caBundle` holds a certificate: charts fill in a newline, and others put the real one there later.
fn has_certificate(bundle: Option<&str>) -> bool {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let decoded = bundle.and_then(|bundle| STANDARD.decode(bundle).ok()).unwrap_or_default();
    decoded.windows(BEGIN.len()).any(|window| window == BEGIN)
}

/// A `ValidatingAdmissionPolicy` is type-checked before it can be trusted.
pub(super) fn policy(object: &Value) -> Health {
    if number(object, "/status/observedGeneration").is_none() {
        return progressing("its expressions are not type-checked yet".to_owned());
    }
    let warnings = object.pointer("/status/typeChecking/expressionWarnings").and_then(Value::as_array);
    match warnings.and_then(|warnings| warnings.first()) {
        None => Health::Ready,
        Some(first) => {
            let field = text(first, "/fieldRef").unwrap_or_default();
            let words = text(first, "/warning").unwrap_or_default();
            let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
            Health::Stuck(Soft::new(SoftCause::PolicyWarnings, format!("{field}: {words}")))
        }
    }
}

/// A Service with somebody behind it. Without a selector, others keep its endpoints, or it is but a name.
pub(super) fn answered(object: &Value, context: Context<'_>) -> Health {
    if text(object, "/spec/type") == Some("ExternalName") {
        return Health::Ready;
    }
    let part = |pointer: &str| text(object, pointer).unwrap_or_default();
    match endpoints(context.around, part("/metadata/namespace"), part("/metadata/name")) {
        Some(0) => progressing("no ready endpoint yet".to_owned()),
        Some(_) => Health::Ready,
        None => progressing("looking for its endpoints".to_owned()),
    }
}
