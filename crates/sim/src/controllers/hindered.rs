//! What keeps a pod that was let in from starting, in the words of the scheduler and the kubelet: no node that it
//! selects, and `ConfigMaps` and Secrets that are not there.

use serde_json::Value;

use super::trouble::Troubled;
use super::{Objects, nodes};
use crate::json as tree;

/// What keeps a pod from starting now; `None`: nothing. `references`: whether objects that it names count.
pub(super) async fn by(objects: &Objects<'_>, pod: &Value, references: bool) -> Option<(Troubled, String)> {
    let spec = pod.get("spec")?;
    if tree::text(spec, &["nodeName"]).is_empty() && nodes::selects(spec) {
        let all = nodes::names(objects.client).await.len();
        if nodes::selected(objects.client, spec).await.is_empty() {
            let why = format!(
                "0/{all} nodes are available: {all} node(s) didn't match Pod's node affinity/selector. preemption: \
                0/{all} nodes are available: {all} Preemption is not helpful for scheduling."
            );
            return Some((Troubled::Unschedulable, why));
        }
    }
    if !references {
        return None;
    }
    for volume in tree::items(spec, "volumes") {
        for object in mounted(volume) {
            if is_missing(objects, &object).await {
                let volume = tree::text(volume, &["name"]);
                let why =
                    format!("MountVolume.SetUp failed for volume {volume:?} : {} not found", object.words());
                return Some((Troubled::Mount, why));
            }
        }
    }
    for list in ["initContainers", "containers"] {
        for object in tree::items(spec, list).iter().flat_map(read) {
            if is_missing(objects, &object).await {
                return Some((Troubled::Configuration, format!("{} not found", object.words())));
            }
        }
    }
    None
}

/// An object that a pod names.
struct Named<'a> {
    kind: &'static str,
    name: &'a str,
}

impl Named<'_> {
    fn words(&self) -> String {
        format!("{} {:?}", self.kind.to_lowercase(), self.name)
    }
}

/// What a source names, unless the pod starts without it.
fn named<'a>(source: Option<&'a Value>, kind: &'static str, key: &str) -> Option<Named<'a>> {
    let source = source.filter(|source| source.get("optional") != Some(&Value::Bool(true)))?;
    let name = tree::text(source, &[key]);
    (!name.is_empty()).then_some(Named { kind, name })
}

fn mounted(volume: &Value) -> Vec<Named<'_>> {
    let projected = volume.get("projected").map(|it| tree::items(it, "sources")).unwrap_or_default().iter();
    let projected = projected.flat_map(|source| {
        [named(source.get("secret"), "Secret", "name"), named(source.get("configMap"), "ConfigMap", "name")]
    });
    [named(volume.get("secret"), "Secret", "secretName"), named(volume.get("configMap"), "ConfigMap", "name")]
        .into_iter()
        .chain(projected)
        .flatten()
        .collect()
}

fn read(container: &Value) -> Vec<Named<'_>> {
    let sources = tree::items(container, "env").iter().filter_map(|variable| variable.get("valueFrom"));
    let single = sources.flat_map(|source| {
        [
            named(source.get("secretKeyRef"), "Secret", "name"),
            named(source.get("configMapKeyRef"), "ConfigMap", "name"),
        ]
    });
    let whole = tree::items(container, "envFrom").iter().flat_map(|source| {
        [
            named(source.get("secretRef"), "Secret", "name"),
            named(source.get("configMapRef"), "ConfigMap", "name"),
        ]
    });
    single.chain(whole).flatten().collect()
}

/// Whether an object is not there, and nobody may make it: what somebody may make, an operator may be about to.
async fn is_missing(objects: &Objects<'_>, object: &Named<'_>) -> bool {
    let plural = if object.kind == "Secret" { "secrets" } else { "configmaps" };
    objects.get("v1", object.kind, plural, object.name).await.is_none() && !may_be_made(objects, plural).await
}

/// Whether a role lets anybody make objects of a resource in the namespace.
async fn may_be_made(objects: &Objects<'_>, plural: &str) -> bool {
    let version = "rbac.authorization.k8s.io/v1";
    let everywhere = Objects { client: objects.client, namespace: "" };
    let mut roles = objects.list(version, "Role", "roles", "").await;
    roles.extend(everywhere.list(version, "ClusterRole", "clusterroles", "").await);
    let mut bindings = objects.list(version, "RoleBinding", "rolebindings", "").await;
    bindings.extend(everywhere.list(version, "ClusterRoleBinding", "clusterrolebindings", "").await);
    // Roles that every cluster has, and that are not simulated.
    let whole = |binding: &Value| {
        matches!(tree::text(binding, &["roleRef", "name"]), "cluster-admin" | "admin" | "edit")
    };
    bindings.iter().any(whole)
        || roles.iter().flat_map(|role| tree::items(role, "rules")).any(|rule| {
            let has =
                |key: &str, wanted: &str| tree::items(rule, key).iter().any(|it| it == "*" || it == wanted);
            has("apiGroups", "") && has("resources", plural) && has("verbs", "create")
        })
}
