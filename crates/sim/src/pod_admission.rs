//! What the API server's own admission plugins have against a new pod: its account, its classes, its namespace's level
//! of pod security, in the order of the plugins.

use serde_json::Value;

use crate::kinds::Kind;
use crate::state::State;
use crate::status::{Answer, Failure};
use crate::store::Key;
use crate::{defaults, json as tree, pod_security};

/// Priority classes that the API server makes itself.
const OWN: [&str; 2] = ["system-cluster-critical", "system-node-critical"];

/// Refuses a new pod that names what is not there.
pub(crate) fn admit(state: &State, kind: &Kind, pod: &Value) -> Answer<()> {
    if !kind.is("", "pods") {
        return Ok(());
    }
    let text = |path: &[&str]| tree::text(pod, path);
    let (name, namespace) = (text(&["metadata", "name"]), text(&["metadata", "namespace"]));
    let refused =
        |why: String| Err(Failure::new(403, "Forbidden", format!("pods {name:?} is forbidden: {why}")));
    let there =
        |group: &str, plural: &str, key: Key| state.get(&state.builtin(group, "v1", plural), &key).is_some();
    let account = text(&["spec", "serviceAccountName"]);
    // Every namespace gets the default one, a moment later.
    if !matches!(account, "" | "default") && !there("", "serviceaccounts", Key::new(namespace, account)) {
        return refused(format!(
            "error looking up service account {namespace}/{account}: serviceaccount {account:?} not found"
        ));
    }
    let class = text(&["spec", "priorityClassName"]);
    if !class.is_empty()
        && !OWN.contains(&class)
        && !there("scheduling.k8s.io", "priorityclasses", Key::new("", class))
    {
        return refused(format!("no PriorityClass with name {class} was found"));
    }
    let own = defaults::own_priority(class);
    let priority = tree::at(pod, &["spec", "priority"]).and_then(Value::as_i64);
    if let Some(priority) =
        priority.filter(|priority| (class.is_empty() || OWN.contains(&class)) && *priority != own)
    {
        return refused(format!(
            "the integer value of priority ({priority}) must not be provided in pod spec; priority admission controller \
             computed {own} from the given PriorityClass name"
        ));
    }
    let class = text(&["spec", "runtimeClassName"]);
    if !class.is_empty() && !there("node.k8s.io", "runtimeclasses", Key::new("", class)) {
        return refused(format!("pod rejected: RuntimeClass {class:?} not found"));
    }
    Ok(())
}

/// Refuses a new pod that its namespace forbids: asked when it is known to be valid.
pub(crate) fn secure(state: &State, kind: &Kind, pod: &Value) -> Answer<()> {
    if !kind.is("", "pods") {
        return Ok(());
    }
    let (name, namespace) =
        (tree::text(pod, &["metadata", "name"]), tree::text(pod, &["metadata", "namespace"]));
    let namespaces = state.builtin("", "v1", "namespaces");
    let labels = state.get(&namespaces, &Key::new("", namespace)).map(|stored| &stored.labels);
    match labels.and_then(|labels| pod_security::violations(labels, pod)) {
        Some(why) => Err(Failure::new(403, "Forbidden", format!("pods {name:?} is forbidden: {why}"))),
        None => Ok(()),
    }
}
