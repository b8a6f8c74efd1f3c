//! Which objects a fail-closed webhook or admission policy of the plan judges: rules and selectors, as the API
//! server matches them (`k8s.io/apiserver/pkg/admission/plugin/webhook/predicates`). Match conditions are not
//! evaluated: what they might let through counts as judged.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use crate::model::kinds;
use crate::model::object::{GroupKind, Object, ObjectId};

use super::Step;

/// The API group of webhooks and policies.
const GROUP: &str = "admissionregistration.k8s.io";

/// Labels of an object.
type Labels<'a> = BTreeMap<&'a str, &'a str>;

/// All that judges objects in a plan.
#[derive(Debug)]
pub(crate) struct Admission<'a> {
    guards: Vec<Guard<'a>>,
    /// The resources of custom kinds; empty, as the namespaces are, where nothing judges.
    plurals: HashMap<GroupKind, &'a str>,
    namespaces: HashMap<&'a str, &'a Object>,
}

/// A webhook or a policy.
#[derive(Debug)]
pub(crate) struct Guard<'a> {
    /// The step that applies it.
    pub(crate) step: usize,
    /// Its configuration or policy.
    pub(crate) id: &'a ObjectId,
    rules: Vec<&'a Value>,
    except: Vec<&'a Value>,
    /// It judges other versions of the same kind, too.
    equivalent: bool,
    namespaces: Option<&'a Value>,
    objects: Option<&'a Value>,
}

impl<'a> Admission<'a> {
    /// Indexes the objects of all steps.
    pub(crate) fn new(steps: &'a [Step]) -> Self {
        let mut admission = Self { guards: Vec::new(), plurals: HashMap::new(), namespaces: HashMap::new() };
        let all = || {
            steps.iter().enumerate().flat_map(|(index, step)| {
                step.actions.iter().filter_map(move |action| Some((index, action.object.as_deref()?)))
            })
        };
        let judging: Vec<(usize, &Object)> =
            all().filter(|(_, object)| object.id.kind.group == GROUP).collect();
        let bound: HashSet<&str> = judging
            .iter()
            .filter(|(_, object)| object.id.kind.kind.ends_with("Binding"))
            .filter_map(|(_, object)| object.value.pointer("/spec/policyName")?.as_str())
            .collect();
        admission.guards = judging.iter().flat_map(|(step, object)| guards(*step, object, &bound)).collect();
        if admission.guards.is_empty() {
            return admission;
        }
        for (_, object) in all() {
            if let Some(kind) = object.defines()
                && let Some(plural) = object.value.pointer("/spec/names/plural").and_then(Value::as_str)
            {
                admission.plurals.insert(kind, plural);
            }
            if object.id.kind.is("", "Namespace") {
                admission.namespaces.insert(&object.id.name, object);
            }
        }
        admission
    }

    /// What judges an object when it is applied.
    pub(crate) fn of<'b>(&'b self, object: &'b Object) -> impl Iterator<Item = &'b Guard<'a>> {
        // Nothing judges what judges others.
        let guards = if object.id.kind.group == GROUP { &[][..] } else { &self.guards };
        guards.iter().filter(move |guard| self.judges(guard, object))
    }

    fn judges(&self, guard: &Guard<'_>, object: &Object) -> bool {
        let rule = |rule: &&Value| self.matches(rule, object, guard.equivalent);
        guard.rules.iter().any(rule)
            && !guard.except.iter().any(rule)
            && guard.objects.is_none_or(|selector| selects(selector, &labels(object)))
            && guard.namespaces.is_none_or(|selector| self.in_namespace(selector, object))
    }

    /// Objects in namespaces are selected by those, namespaces by themselves, and others always.
    fn in_namespace(&self, selector: &Value, object: &Object) -> bool {
        let name = match &object.id.namespace {
            Some(namespace) => namespace,
            None if object.id.kind.is("", "Namespace") => &object.id.name,
            None => return true,
        };
        let mut labels =
            self.namespaces.get(name.as_str()).map(|namespace| labels(namespace)).unwrap_or_default();
        // The API server sets it on every namespace (KEP-2161).
        labels.insert("kubernetes.io/metadata.name", name);
        selects(selector, &labels)
    }

    fn matches(&self, rule: &Value, object: &Object, equivalent: bool) -> bool {
        let has =
            |key: &str, wanted: &[&str]| texts(rule, key).any(|text| text == "*" || wanted.contains(&text));
        let usual;
        let plural = if let Some(plural) = self.plurals.get(&object.id.kind) {
            *plural
        } else {
            usual = kinds::plural(&object.id.kind.kind);
            &usual
        };
        let scope = match rule.get("scope").and_then(Value::as_str) {
            Some("Cluster") => object.id.namespace.is_none(),
            Some("Namespaced") => object.id.namespace.is_some(),
            _ => true,
        };
        scope
            && has("apiGroups", &[&object.id.kind.group])
            && (equivalent || has("apiVersions", &[&object.version]))
            && has("operations", &["CREATE", "UPDATE"])
            && texts(rule, "resources").any(|resource| is_of(resource, plural))
            && (rule.get("resourceNames").is_none() || has("resourceNames", &[&object.id.name]))
    }
}

/// Whether a rule's resource is of a kind's objects, and not of its subresources alone.
fn is_of(resource: &str, plural: &str) -> bool {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    (resource == "*" || resource == plural) && matches!(subresource, "" | "*")
}

/// The fail-closed guards that an object brings.
fn guards<'a>(step: usize, object: &'a Object, bound: &HashSet<&str>) -> Vec<Guard<'a>> {
    let id = &object.id;
    let closed = |value: &Value| value.get("failurePolicy").and_then(Value::as_str) != Some("Ignore");
    let equivalent = |value: &Value| value.get("matchPolicy").and_then(Value::as_str) != Some("Exact");
    match (id.kind.group.as_str(), id.kind.kind.as_str()) {
        (GROUP, "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration") => {
            items(&object.value, "webhooks")
                .iter()
                .filter(|webhook| closed(webhook))
                .map(|webhook| Guard {
                    step,
                    id,
                    rules: items(webhook, "rules").iter().collect(),
                    except: Vec::new(),
                    equivalent: equivalent(webhook),
                    namespaces: webhook.get("namespaceSelector"),
                    objects: webhook.get("objectSelector"),
                })
                .collect()
        }
        (GROUP, "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy")
            if bound.contains(id.name.as_str()) =>
        {
            let spec = object.value.get("spec").unwrap_or(&Value::Null);
            let constraints = spec.get("matchConstraints").unwrap_or(&Value::Null);
            let guard = Guard {
                step,
                id,
                rules: items(constraints, "resourceRules").iter().collect(),
                except: items(constraints, "excludeResourceRules").iter().collect(),
                equivalent: equivalent(constraints),
                namespaces: constraints.get("namespaceSelector"),
                objects: constraints.get("objectSelector"),
            };
            if closed(spec) { vec![guard] } else { Vec::new() }
        }
        _ => Vec::new(),
    }
}

/// Whether a label selector (`metav1.LabelSelector`) selects labels. One that is not valid selects nothing.
fn selects(selector: &Value, labels: &Labels<'_>) -> bool {
    let by_labels = selector.get("matchLabels").and_then(Value::as_object).is_none_or(|wanted| {
        wanted.iter().all(|(key, value)| labels.get(key.as_str()).copied() == value.as_str())
    });
    let expression = |expression: &Value| {
        let Some(key) = expression.get("key").and_then(Value::as_str) else { return false };
        let label = labels.get(key).copied();
        let listed = || label.is_some_and(|label| texts(expression, "values").any(|value| value == label));
        match expression.get("operator").and_then(Value::as_str) {
            Some("In") => listed(),
            Some("NotIn") => !listed(),
            Some("Exists") => label.is_some(),
            Some("DoesNotExist") => label.is_none(),
            _ => false,
        }
    };
    by_labels && items(selector, "matchExpressions").iter().all(expression)
}

fn labels(object: &Object) -> Labels<'_> {
    let labels = object.value.pointer("/metadata/labels").and_then(Value::as_object);
    labels.into_iter().flatten().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
}

pub(super) fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn texts<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a str> {
    items(value, key).iter().filter_map(Value::as_str)
}
