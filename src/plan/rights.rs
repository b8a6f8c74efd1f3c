//! What must be allowed in a cluster for a plan to be made and run. Pure.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::backends::of_webhooks;
use super::edges::gate_is_of;
use super::planner::Desired;
use crate::health::around::{self, Need};
use crate::health::cel::Gate;
use crate::model::kept::SYSTEM_NAMESPACE;
use crate::model::kinds;
use crate::model::object::GroupKind;

/// Something that one may do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Right {
    /// The API group.
    pub(crate) group: String,
    /// The plural.
    pub(crate) resource: String,
    /// Where; `None`: everywhere, or the kind has no namespaces.
    pub(crate) namespace: Option<String>,
    /// What.
    pub(crate) verb: Cow<'static, str>,
}

impl Right {
    /// All rights that there are.
    pub(crate) fn everything() -> Self {
        let any = || "*".to_owned();
        Self { group: any(), resource: any(), namespace: None, verb: "*".into() }
    }

    /// `deployments.apps`.
    pub(crate) fn name(&self) -> String {
        if self.group.is_empty() {
            self.resource.clone()
        } else {
            format!("{}.{}", self.resource, self.group)
        }
    }
}

/// What is done with objects that are wanted: looked at, applied, waited for by watches of all namespaces, pruned.
const HERE: [&str; 4] = ["get", "create", "patch", "delete"];
const EVERYWHERE: [&str; 2] = ["list", "watch"];

/// What the engine itself keeps in its namespace, and reads of the cluster.
const OWN: [(&str, &str, &[&str]); 2] = [
    ("", "secrets", &["get", "list", "create", "patch", "delete"]),
    ("coordination.k8s.io", "leases", &["get", "create", "update", "patch", "delete"]),
];
const READ: [(&str, &str); 5] = [
    ("", "nodes"),
    ("", "persistentvolumeclaims"),
    ("storage.k8s.io", "storageclasses"),
    ("networking.k8s.io", "ingressclasses"),
    ("", "pods"),
];

/// What is listed wherever a cluster has the kind: group, plural and kind (`cluster::provided`).
const READ_IF_SERVED: [(&str, &str, &str); 3] = [
    ("gateway.networking.k8s.io", "gatewayclasses", "GatewayClass"),
    ("cert-manager.io", "issuers", "Issuer"),
    ("cert-manager.io", "clusterissuers", "ClusterIssuer"),
];

/// What a plan for `desired` needs. `served` gives the plurals of kinds that the cluster has.
pub(crate) fn needed(desired: &Desired, served: impl Fn(&GroupKind) -> Option<String>) -> BTreeSet<Right> {
    let mut all = BTreeSet::new();
    let mut add = |group: &str, resource: &str, namespace: Option<&str>, verbs: &[&'static str]| {
        all.extend(verbs.iter().map(|verb| Right {
            group: group.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.map(str::to_owned),
            verb: (*verb).into(),
        }));
    };
    add("", "namespaces", None, &["get", "create", "patch"]);
    for (group, resource, verbs) in OWN {
        add(group, resource, Some(SYSTEM_NAMESPACE), verbs);
    }
    for (group, resource) in READ {
        add(group, resource, None, &["list"]);
    }
    for (group, resource, kind) in READ_IF_SERVED {
        if served(&GroupKind::new(group, kind)).is_some() {
            add(group, resource, None, &["list"]);
        }
    }
    let objects = || desired.components.iter().flat_map(|component| &component.objects).map(|(_, it)| it);
    // The cluster's DNS, and who answers webhooks.
    add("", "services", Some("kube-system"), &["get"]);
    for (namespace, _) in objects().flat_map(|object| of_webhooks(object)) {
        add("", "services", Some(namespace), &["get"]);
    }
    let defined: BTreeMap<GroupKind, String> = objects()
        .filter_map(|object| {
            let plural = object.value.pointer("/spec/names/plural")?.as_str()?;
            Some((object.defines()?, plural.to_owned()))
        })
        .collect();
    let plural = |kind: &GroupKind| {
        let known = served(kind).or_else(|| defined.get(kind).cloned());
        known.unwrap_or_else(|| kinds::plural(&kind.kind))
    };
    for object in objects() {
        let kind = &object.id.kind;
        let plural = plural(kind);
        add(&kind.group, &plural, object.id.namespace.as_deref(), &HERE);
        add(&kind.group, &plural, None, &EVERYWHERE);
    }
    for kind in watched(desired) {
        add(&kind.group, &plural(&kind), None, &EVERYWHERE);
    }
    all
}

/// The kinds that are watched besides those of the objects: what rules and gates look at, and the CRDs of kinds that
/// components define when they run.
fn watched(desired: &Desired) -> BTreeSet<GroupKind> {
    let mut all = BTreeSet::new();
    for component in &desired.components {
        for (_, object) in &component.objects {
            let gated = component.gates.iter().any(|gate| gate_is_of(gate, &object.id));
            all.extend(around::deciding(&object.id.kind, gated).into_iter().map(|need| match need {
                Need::Parts(kind, _) | Need::Whole(kind) => kind,
            }));
        }
        // What is no gate is said elsewhere.
        let gates = component.gates.iter().filter_map(|gate| Gate::parse(&gate.cel).ok());
        all.extend(gates.flat_map(|gate| gate.kinds().clone()));
        if component.provides.all_kinds().next().is_some() {
            all.insert(GroupKind::new("apiextensions.k8s.io", "CustomResourceDefinition"));
        }
    }
    all
}

/// Rights for people: by what and where they are, with all that is missing of it.
pub(crate) fn summed_up(missing: &BTreeSet<Right>) -> Vec<(String, Option<String>, Vec<&str>)> {
    let mut sums: BTreeMap<(String, Option<String>), Vec<&str>> = BTreeMap::new();
    for right in missing {
        sums.entry((right.name(), right.namespace.clone())).or_default().push(&right.verb);
    }
    sums.into_iter().map(|((name, namespace), verbs)| (name, namespace, verbs)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Stage;
    use super::super::admission_tests::{any_rule, webhook};
    use super::super::tests::{component, crd, named, of};
    use super::*;

    /// Found by reading: an account with the rights that were asked for could not plan.
    #[test]
    fn what_is_looked_at_before_a_plan_must_be_allowed_too() {
        let rights = |desired: &Desired, has: &[&str]| -> Vec<String> {
            let served = |kind: &GroupKind| has.contains(&kind.kind.as_str()).then(|| "plural".to_owned());
            let needed = needed(desired, served).into_iter();
            let read = needed.filter(|right| right.name().contains("issuers") || right.name() == "services");
            read.map(|right| {
                format!(
                    "{} {} in {}",
                    right.verb,
                    right.name(),
                    right.namespace.as_deref().unwrap_or_default()
                )
            })
            .collect()
        };
        let desired = of(Vec::new());
        assert_eq!(rights(&desired, &[]), ["get services in kube-system"]);
        let both = [
            "get services in kube-system",
            "list clusterissuers.cert-manager.io in ",
            "list issuers.cert-manager.io in ",
        ];
        assert_eq!(rights(&desired, &["Issuer", "ClusterIssuer"]), both);
        let hook = webhook(&any_rule(), &json!({}));
        let answered = rights(&of(vec![component("hooks", vec![(Stage::Webhooks, hook)])]), &[]);
        assert_eq!(answered, ["get services in judge", "get services in kube-system"]);
    }

    #[test]
    fn what_gates_and_rules_look_at_must_be_listed_too() {
        let everywhere = |desired: &Desired| -> Vec<String> {
            let needed = needed(desired, |_| None).into_iter();
            needed.filter(|right| right.verb == "watch").map(|right| right.name()).collect()
        };
        let service = named("v1", "Service", Some("n"), "web");
        let mut web = component("web", vec![(Stage::Objects, service)]);
        assert_eq!(everywhere(&of(vec![web.clone()])), ["services"]);
        let gate = json!({ "of": "Service/web", "cel": "objects('Disk.x.example', '', '').size() > 0" });
        web.gates = vec![serde_json::from_value(gate).unwrap()];
        let slices = "endpointslices.discovery.k8s.io";
        assert_eq!(everywhere(&of(vec![web.clone()])), ["services", slices, "disks.x.example"]);
        web.provides.kinds = vec!["Disk.v1.x.example".parse().unwrap()];
        let crds = "customresourcedefinitions.apiextensions.k8s.io";
        assert_eq!(everywhere(&of(vec![web])), ["services", crds, slices, "disks.x.example"]);
        let guard = named("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", None, "guard");
        let guard =
            component("guard", vec![(Stage::Crds, crd("y.example", "Lock")), (Stage::Objects, guard)]);
        let hooks = "validatingwebhookconfigurations.admissionregistration.k8s.io";
        assert_eq!(everywhere(&of(vec![guard])), [hooks, crds, slices]);
    }
}
