//! The namespaces of objects: those that components make, those that every cluster has, and those that must be there
//! already, or that somebody makes who may.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Plan, Step};
use crate::model::kept::SYSTEM_NAMESPACE;
use crate::model::object::{Object, ObjectId};

/// The namespaces of every cluster, and the engine's own, which it makes first.
const USUAL: [&str; 5] = ["default", "kube-node-lease", "kube-public", "kube-system", SYSTEM_NAMESPACE];

/// Whether every cluster has a namespace.
pub(crate) fn is_usual(name: &str) -> bool {
    USUAL.contains(&name)
}

/// The namespaces that no step makes, each with the first object in it.
pub(crate) fn unmade(steps: &[Step]) -> BTreeMap<&str, &ObjectId> {
    let mut found = BTreeMap::new();
    for object in objects(steps) {
        if let Some(namespace) = object.id.namespace.as_deref()
            && !is_usual(namespace)
        {
            found.entry(namespace).or_insert(&object.id);
        }
    }
    for object in objects(steps).filter(|object| object.id.kind.is("", "Namespace")) {
        found.remove(object.id.name.as_str());
    }
    found
}

/// Whether something in the plan may make namespaces when it runs, as operators of tenants do.
pub(crate) fn may_be_made(steps: &[Step]) -> bool {
    objects(steps).any(|object| {
        let id = &object.id;
        let text = |pointer: &str| object.value.pointer(pointer).and_then(Value::as_str);
        let rules = object.value.get("rules").and_then(Value::as_array).into_iter().flatten();
        match id.kind.kind.as_str() {
            _ if id.kind.group != "rbac.authorization.k8s.io" => false,
            "ClusterRoleBinding" => text("/roleRef/name") == Some("cluster-admin"),
            "ClusterRole" => rules.into_iter().any(makes_namespaces),
            _ => false,
        }
    })
}

fn makes_namespaces(rule: &Value) -> bool {
    let has = |key: &str, wanted: &str| {
        let entries = rule.get(key).and_then(Value::as_array).into_iter().flatten();
        entries.filter_map(Value::as_str).any(|entry| entry == "*" || entry == wanted)
    };
    has("apiGroups", "") && has("resources", "namespaces") && has("verbs", "create")
}

fn objects(steps: &[Step]) -> impl Iterator<Item = &Object> {
    steps.iter().flat_map(|step| &step.actions).filter_map(|action| action.object.as_deref())
}

impl Plan {
    /// The namespaces that must be there already for the plan to end well.
    pub(crate) fn presumed_namespaces(&self) -> Vec<&str> {
        unmade(&self.steps).into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::facility::Facility;
    use super::super::planner::{Observed, plan};
    use super::super::tests::{component, named, object, of};
    use super::super::{PlanError, Stage};
    use crate::plan::planner::DesiredComponent;

    fn app(more: Vec<std::sync::Arc<crate::model::object::Object>>) -> DesiredComponent {
        let config = |namespace: &str, name: &str| named("v1", "ConfigMap", Some(namespace), name);
        let own = vec![config("elsewhere", "a"), config("elsewhere", "b"), config("kube-system", "c")];
        let objects = own.into_iter().chain(more).map(|object| (Stage::Objects, object));
        component("app", objects.collect())
    }

    fn refused(component: DesiredComponent, observed: &Observed) -> Vec<String> {
        let errors = plan(&of(vec![component]), observed).err().unwrap_or_default();
        errors.iter().map(PlanError::to_string).collect()
    }

    #[test]
    fn a_namespace_that_nobody_makes_is_said_before_the_run() {
        let nothing = Observed::nothing(false);
        let said = "component `app`: ConfigMap elsewhere/a uses Namespace elsewhere, which no enabled component provides \
            and the cluster does not have";
        assert_eq!(refused(app(Vec::new()), &nothing), [said]);
        // The cluster has it, or nobody looked: then it is presumed.
        let has = Observed {
            provided: Some([Facility::Namespace("elsewhere".to_owned())].into()),
            ..Observed::nothing(false)
        };
        assert_eq!(refused(app(Vec::new()), &has), [""; 0]);
        let unseen = plan(&of(vec![app(Vec::new())]), &Observed::nothing(true)).unwrap();
        assert_eq!(unseen.presumed_namespaces(), ["elsewhere"]);
        // A component makes it, or what may make namespaces runs.
        let made = named("v1", "Namespace", None, "elsewhere");
        assert_eq!(refused(app(vec![made.clone()]), &nothing), [""; 0]);
        let whole = plan(&of(vec![app(vec![made])]), &nothing).unwrap();
        assert_eq!(whole.presumed_namespaces(), [""; 0]);
        let role = |verb: &str| {
            object(json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "tenants" },
                "rules": [{ "apiGroups": [""], "resources": ["namespaces"], "verbs": [verb] }],
            }))
        };
        assert_eq!(refused(app(vec![role("create")]), &nothing), [""; 0]);
        assert_eq!(refused(app(vec![role("list")]), &nothing), [said]);
    }
}
