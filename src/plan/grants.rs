//! Rights that roles and bindings give away. The API server takes those only
//! from who has the rights, or may `escalate` roles and `bind` them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::planner::Desired;
use super::rights::Right;
use crate::model::object::Object;

const GROUP: &str = "rbac.authorization.k8s.io";

/// A role, or the binding of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Grant {
    /// The right that is enough for it: to escalate, or to bind.
    pub(crate) enough: Right,
    /// The role's name.
    pub(crate) role: String,
    /// What is given away.
    pub(crate) gives: Gives,
}

/// What is given away.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Gives {
    /// These rights.
    Rights(BTreeSet<Right>),
    /// Those of a role that no component brings; `Some`: a namespace's.
    Of(Option<String>),
}

/// What a plan for `desired` gives away, each once.
pub(crate) fn grants(desired: &Desired) -> BTreeSet<Grant> {
    let objects = || {
        let all = desired.components.iter().flat_map(|component| &component.objects);
        all.map(|(_, object)| &**object).filter(|object| object.id.kind.group == GROUP)
    };
    let known: BTreeMap<(&str, Option<&str>), &Object> = objects()
        .filter(|object| matches!(object.id.kind.kind.as_str(), "Role" | "ClusterRole"))
        .map(|object| ((object.id.name.as_str(), object.id.namespace.as_deref()), object))
        .collect();
    let right = |resource: &str, namespace: Option<&str>, verb: &'static str| Right {
        group: GROUP.to_owned(),
        resource: resource.to_owned(),
        namespace: namespace.map(str::to_owned),
        verb: verb.into(),
    };
    let grant = |object: &Object| {
        let namespace = object.id.namespace.as_deref();
        let resource = if namespace.is_some() { "roles" } else { "clusterroles" };
        match object.id.kind.kind.as_str() {
            "Role" | "ClusterRole" => Some(Grant {
                enough: right(resource, namespace, "escalate"),
                role: object.id.name.clone(),
                gives: Gives::Rights(rights_of(&object.value, namespace)),
            }),
            "RoleBinding" | "ClusterRoleBinding" => {
                let word = |key: &str| object.value["roleRef"][key].as_str();
                let own = namespace.filter(|_| word("kind") == Some("Role"));
                let resource = if own.is_some() { "roles" } else { "clusterroles" };
                let role = word("name")?;
                let gives = match known.get(&(role, own)) {
                    Some(known) => Gives::Rights(rights_of(&known.value, namespace)),
                    None => Gives::Of(own.map(str::to_owned)),
                };
                Some(Grant { enough: right(resource, namespace, "bind"), role: role.to_owned(), gives })
            }
            _ => None,
        }
    };
    objects().filter_map(grant).collect()
}

/// The rights that a role consists of, in a namespace or everywhere. What is about single objects and about paths of the
/// API server is left out.
pub(crate) fn rights_of(role: &Value, namespace: Option<&str>) -> BTreeSet<Right> {
    if role.get("aggregationRule").is_some_and(|rule| !rule.is_null()) {
        // Its rules are those of roles that are still to come.
        return [Right::everything()].into();
    }
    let words = |rule: &Value, key: &str| -> Vec<String> {
        let all = rule.get(key).and_then(Value::as_array).into_iter().flatten();
        all.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let rules = role.get("rules").and_then(Value::as_array).into_iter().flatten();
    let mut rights = BTreeSet::new();
    for rule in rules.filter(|rule| words(rule, "resourceNames").is_empty()) {
        for group in words(rule, "apiGroups") {
            for resource in words(rule, "resources") {
                rights.extend(words(rule, "verbs").into_iter().map(|verb| Right {
                    group: group.clone(),
                    resource: resource.clone(),
                    namespace: namespace.map(str::to_owned),
                    verb: verb.into(),
                }));
            }
        }
    }
    rights
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Stage;
    use super::super::tests::{component, object, of};
    use super::*;

    #[test]
    fn roles_and_bindings_give_away_what_their_rules_say() {
        let kind = |kind: &str, namespace: Option<&str>, name: &str, more: &Value| {
            let mut value =
                json!({ "apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": { "name": name } });
            if let Some(namespace) = namespace {
                value["metadata"]["namespace"] = json!(namespace);
            }
            value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            (Stage::Objects, object(value))
        };
        let rules = json!({ "rules": [
            { "apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get"] },
            { "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["one"], "verbs": ["get"] },
            { "nonResourceURLs": ["/metrics"], "verbs": ["get"] },
        ] });
        let bound =
            |kind: &str, name: &str| json!({ "roleRef": { "apiGroup": GROUP, "kind": kind, "name": name } });
        let desired = of(vec![component(
            "web",
            vec![
                kind("ClusterRole", None, "reader", &rules),
                kind("RoleBinding", Some("n"), "reads", &bound("ClusterRole", "reader")),
                kind("RoleBinding", Some("kube-system"), "looks", &bound("Role", "auth-reader")),
                kind("ClusterRole", None, "sum", &json!({ "aggregationRule": {}, "rules": [] })),
            ],
        )]);
        let line = |right: &Right| {
            let place =
                right.namespace.as_ref().map(|namespace| format!(" in {namespace}")).unwrap_or_default();
            format!("{} {}{place}", right.verb, right.name())
        };
        let lines: Vec<String> = grants(&desired)
            .iter()
            .map(|Grant { enough, role, gives }| {
                let gives = match gives {
                    Gives::Rights(all) => all.iter().map(line).collect::<Vec<_>>().join(", "),
                    Gives::Of(place) => format!("what it has in {place:?}"),
                };
                format!("{} {role}: {gives}", line(enough))
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        escalate clusterroles.rbac.authorization.k8s.io reader: get pods, get pods/log
        escalate clusterroles.rbac.authorization.k8s.io sum: * *.*
        bind clusterroles.rbac.authorization.k8s.io in n reader: get pods in n, get pods/log in n
        bind roles.rbac.authorization.k8s.io in kube-system auth-reader: what it has in Some("kube-system")
        "#);
    }
}
