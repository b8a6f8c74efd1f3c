//! How an object that exists differs from what is wanted: asked of the API
//! server by dry-runs, so that its defaults, its way of writing values and its
//! webhooks change nothing twice. Writes nothing.

use serde_json::Value;

use super::apply::claim;
use super::error::{ClusterError, FieldRefusal};
use super::inventory::Entry;
use super::observe::unreadable;
use super::owned::{digest, digest_of_owned, others, owned};
use super::{ApplyMode, Cluster};
use crate::model::object::{Object, ObjectId};
use crate::plan::diff;
use crate::plan::live::{FieldConflict, Leftover, Verdict};

/// The annotation of Helm's by which an object asks to be kept (`helm.sh/docs/howto/charts_tips_and_tricks`).
const KEEP: (&str, &str) = ("helm.sh/resource-policy", "keep");

/// The part of the control plane that makes objects of its own.
const CONTROL_PLANE: [&str; 2] = ["kube-apiserver", "kube-controller-manager"];

/// What the server makes in every cluster or namespace, and others may have changed since.
const SERVERS_OWN: [(&str, &str); 3] =
    [("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt"), ("Service", "kubernetes")];

impl Cluster {
    /// How a live object differs. `entry`: what some inventory knows of it; `unscaled`: no autoscaler scales it, any
    /// more. Gives what it should know of an object that is as wanted, where it does not.
    pub(super) async fn verdict(
        &self,
        object: &Object,
        live: &Value,
        (entry, unscaled): (Option<&Entry>, bool),
    ) -> Result<(Verdict, Option<Entry>), ClusterError> {
        if live.pointer("/metadata/deletionTimestamp").is_some() {
            return Ok((Verdict::Going, None));
        }
        let recorded = entry.is_some_and(|entry| {
            entry.desired.is_some()
                && entry.desired == Some(digest(&object.value))
                && entry.live == digest_of_owned(live)
        });
        if recorded {
            return Ok((Verdict::Same, None));
        }
        let verdict = self.rehearse(object, live, (entry, unscaled)).await?;
        let entry = matches!(verdict, Verdict::Same).then(|| Entry::of(object, live));
        Ok((verdict, entry))
    }

    /// Asks what applying an object would change.
    async fn rehearse(
        &self,
        object: &Object,
        live: &Value,
        (entry, unscaled): (Option<&Entry>, bool),
    ) -> Result<Verdict, ClusterError> {
        let ask = |force| self.apply(object, ApplyMode { force, dry_run: true });
        let (answer, conflicts) = match ask(false).await {
            Err(ClusterError::Conflict { conflicts, .. }) => {
                (ask(true).await, claim(conflicts, entry, unscaled))
            }
            answer => (answer, Vec::new()),
        };
        match answer {
            Ok(result) => {
                let changes = diff::changes(live, &result);
                // Without a change, sending it would still make the fields ours.
                let ours = owned(live);
                let same =
                    changes.is_empty() && conflicts.is_empty() && ours.is_some() && ours == owned(&result);
                Ok(if same { Verdict::Same } else { Verdict::Change { changes, conflicts, refused: None } })
            }
            Err(error) if error.is_transient() => Err(error),
            Err(ClusterError::Refused { code: 422, causes, message, .. }) => {
                if self.is_fine_as_new(object).await? {
                    return Ok(Verdict::Fixed { fields: fixed(&causes, &message) });
                }
                Ok(refused(conflicts, message))
            }
            // It is refused as things are: what comes before it in the plan may change that.
            Err(ClusterError::Refused { message, .. }) => Ok(refused(conflicts, message)),
            Err(error) => Ok(refused(conflicts, error.to_string())),
        }
    }

    /// What is special about an object that nobody wants any more.
    pub(super) async fn leftover(
        &self,
        id: &ObjectId,
        entry: &Entry,
    ) -> Result<Option<Leftover>, ClusterError> {
        let live = match self.get(id, "").await {
            Ok(live) => live,
            Err(error) => return unreadable(&id.kind, error).map(|_| None),
        };
        let Some(live) = live else { return Ok(Some(Leftover::Gone)) };
        if is_of_others(entry, &live) {
            return Ok(Some(Leftover::Foreign));
        }
        Ok(is_marked(&live).then_some(Leftover::Marked))
    }
}

/// Whether an object says of itself that it is to be kept.
pub(super) fn is_marked(live: &Value) -> bool {
    let annotation = live.pointer("/metadata/annotations").and_then(|all| all.get(KEEP.0));
    annotation.and_then(Value::as_str) == Some(KEEP.1)
}

/// Whether what is there is not what was applied: others have fields in it, and cozy has none. A run may have been killed
/// before it applied it, or somebody deleted it and others made it anew. What has nothing but a name never had fields
/// of ours.
pub(super) fn is_of_others(entry: &Entry, live: &Value) -> bool {
    let had_fields = entry.desired.is_none() || entry.fields.is_some();
    had_fields && owned(live).is_none() && !others(live).is_empty()
}

fn refused(conflicts: Vec<FieldConflict>, message: String) -> Verdict {
    Verdict::Change { changes: Vec::new(), conflicts, refused: Some(message) }
}

/// The fields that cannot be changed, each with why. The server's words begin with the value, which may be long,
/// and which the plan shows where it may be shown.
fn fixed(causes: &[FieldRefusal], message: &str) -> Vec<String> {
    let why = |message: &str| message.rsplit(": ").next().unwrap_or_default().to_owned();
    if causes.is_empty() {
        return vec![why(message)];
    }
    let mut fields: Vec<String> =
        causes.iter().map(|cause| format!("{} ({})", cause.field, why(&cause.message))).collect();
    fields.dedup();
    fields
}

/// Who made an object that nobody's inventory has; `None`: the server itself, or cozy.
pub(super) fn foreign(object: &Object, live: &Value) -> Option<Vec<String>> {
    let id = &object.id;
    let servers = SERVERS_OWN
        .iter()
        .any(|(kind, name)| id.kind.group.is_empty() && id.kind.kind == *kind && id.name == *name)
        || live.pointer("/metadata/labels/kubernetes.io~1bootstrapping").is_some();
    let namespace = id.kind.group.is_empty() && id.kind.kind == "Namespace";
    if namespace || servers || owned(live).is_some() {
        return None;
    }
    let managers = others(live);
    let made_by_server =
        !managers.is_empty() && managers.iter().all(|manager| CONTROL_PLANE.contains(&manager.as_str()));
    (!made_by_server).then_some(managers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn made_by(kind: &str, name: &str, managers: &[&str]) -> Option<Vec<String>> {
        let entries: Vec<Value> = managers
            .iter()
            .map(|manager| json!({ "manager": manager, "operation": "Update", "fieldsV1": {} }))
            .collect();
        let value = json!({
            "apiVersion": "v1", "kind": kind, "metadata": { "name": name, "namespace": "x", "managedFields": entries },
        });
        let object = Object::from_value(value.clone()).unwrap();
        foreign(&object, &value)
    }

    #[test]
    fn what_the_server_made_is_nobodys() {
        assert_eq!(
            made_by("ConfigMap", "a", &["kubectl", "hand"]),
            Some(vec!["hand".to_owned(), "kubectl".to_owned()])
        );
        assert_eq!(made_by("ConfigMap", "a", &[]), Some(Vec::new()));
        assert_eq!(made_by("ConfigMap", "a", &["kube-controller-manager"]), None);
        assert_eq!(made_by("ServiceAccount", "default", &["kube-controller-manager", "kubectl"]), None);
        assert_eq!(made_by("Namespace", "x", &["kubectl"]), None);
    }

    #[test]
    fn fixed_fields_are_named_without_their_values() {
        let cause = |field: &str, message: &str| FieldRefusal {
            field: field.to_owned(),
            message: message.to_owned(),
        };
        let causes = vec![
            cause("spec.template", "Invalid value: core.PodTemplateSpec{A: \"b: c\"}: field is immutable"),
            cause("spec", "Forbidden: updates to statefulset spec are forbidden"),
        ];
        assert_eq!(
            fixed(&causes, ""),
            ["spec.template (field is immutable)", "spec (updates to statefulset spec are forbidden)"]
        );
        assert_eq!(fixed(&[], "x: no"), ["no"]);
    }
}
