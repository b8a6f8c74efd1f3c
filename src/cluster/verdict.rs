//! How an object that exists differs from what is wanted: asked of the API
//! server by dry-runs, so that its defaults, its way of writing values and its
//! webhooks change nothing twice. Writes nothing.

use std::collections::{BTreeSet, HashMap, HashSet};

use kube::discovery::Scope;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::apply::{claim, uid};
use super::error::{ClusterError, FieldRefusal, is_uncalled};
use super::inventory::Entry;
use super::observe::unreadable;
use super::owned::{digest, digest_of_owned, others, owned};
use super::{ApplyMode, Cluster};
use crate::model::kinds;
use crate::model::object::{GroupKind, Object, ObjectId, split_api_version};
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
            // The plan may bring back who answers the webhook; until then the step is tried again.
            Err(ClusterError::Refused { code: 500, message, .. }) if is_uncalled(&message) => {
                Ok(refused(conflicts, message))
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

    /// What is special about an object that nobody wants any more. `claims` keeps what claims belong to for further ones.
    pub(super) async fn leftover(
        &self,
        id: &ObjectId,
        entry: &Entry,
        claims: &OnceCell<Option<HashSet<String>>>,
    ) -> Result<Option<Leftover>, ClusterError> {
        // There are no objects of a kind where it does not live: they were written down before they were placed.
        let scope = self.resource(&id.kind, "").map(|(_, scope)| scope);
        if scope.is_some_and(|scope| (scope == Scope::Namespaced) != id.namespace.is_some()) {
            return Ok(Some(Leftover::Gone));
        }
        let live = match self.get(id, "").await {
            Ok(live) => live,
            Err(error) => return unreadable(&id.kind, error).map(|_| None),
        };
        let Some(live) = live else { return Ok(Some(Leftover::Gone)) };
        if is_of_others(entry, &live) {
            return Ok(Some(Leftover::Foreign));
        }
        if is_shared(id, &live) {
            return Ok(Some(Leftover::Shared));
        }
        if is_marked(&live) {
            return Ok(Some(Leftover::Marked));
        }
        let owners = claims.get_or_try_init(|| self.owners_of_claims()).await?;
        let owns = match owners {
            Some(owners) => uid(&live).is_some_and(|uid| owners.contains(uid)),
            // Nobody says what belongs to it.
            None => kinds::built_in(&id.kind).is_none(),
        };
        Ok((owns || deletes_claims(&live)).then_some(Leftover::Claims))
    }

    /// The uids of what claims belong to, themselves or through others: they go with it. `None`: one may not list them.
    async fn owners_of_claims(&self) -> Result<Option<HashSet<String>>, ClusterError> {
        let (mut owners, mut belongs, mut listed) = (HashSet::new(), HashMap::new(), BTreeSet::new());
        let Some(claims) = self.owned(&GroupKind::new("", "PersistentVolumeClaim")).await? else {
            return Ok(None);
        };
        let mut open: Vec<Owner> = claims.into_values().flatten().collect();
        while let Some(Owner { uid, kind }) = open.pop() {
            if listed.insert(kind.clone()) {
                belongs.extend(self.owned(&kind).await?.unwrap_or_default());
            }
            if owners.insert(uid.clone()) {
                open.extend(belongs.get(&uid).cloned().unwrap_or_default());
            }
        }
        Ok(Some(owners))
    }

    /// By uid, the objects of a kind that belong to others, with these. `None`: one may not list them.
    async fn owned(&self, kind: &GroupKind) -> Result<Option<HashMap<String, Vec<Owner>>>, ClusterError> {
        let keep = |live: Value| {
            let owners = Owner::all(&live);
            Some((uid(&live)?.to_owned(), owners)).filter(|(_, owners)| !owners.is_empty())
        };
        match self.list((kind, None), "", keep).await {
            Ok(found) => Ok(Some(found.into_iter().collect())),
            Err(ClusterError::NoSuchKind { .. }) => Ok(Some(HashMap::new())),
            Err(error) if error.is_forbidden() => Ok(None),
            Err(error) => unreadable(kind, error).map(|_| Some(HashMap::new())),
        }
    }
}

/// What an object belongs to, and goes with.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    uid: String,
    kind: GroupKind,
}

impl Owner {
    fn all(live: &Value) -> Vec<Self> {
        let owners =
            live.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten();
        let owner = |owner: &Value| {
            let text = |key: &str| owner.get(key)?.as_str();
            let (group, _) = split_api_version(text("apiVersion")?);
            Some(Self { uid: text("uid")?.to_owned(), kind: GroupKind::new(group, text("kind")?) })
        };
        // What belongs to a pod goes whenever the pod does (generic ephemeral volumes): nobody keeps data there.
        owners.filter_map(owner).filter(|owner| !owner.kind.is("", "Pod")).collect()
    }
}

/// Whether an object is a `StatefulSet` that takes its claims with it.
fn deletes_claims(live: &Value) -> bool {
    let when = live.pointer("/spec/persistentVolumeClaimRetentionPolicy/whenDeleted");
    when.and_then(Value::as_str) == Some("Delete")
}

/// Whether an object is a namespace in which others have fields, as who made it before has (`kubectl create`, Helm).
fn is_shared(id: &ObjectId, live: &Value) -> bool {
    id.kind.is("", "Namespace")
        && others(live).iter().any(|manager| !CONTROL_PLANE.contains(&manager.as_str()))
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

/// Who made an object that no inventory says was applied; `None`: the server itself, or cozy.
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

    /// Found by reading: a `StatefulSet`, or a custom resource, took its claims with it.
    #[tokio::test(start_paused = true)]
    async fn what_claims_belong_to_is_known_if_only_through_others() {
        let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
        let cluster = Cluster::new(simulated.client()).await.unwrap();
        let made = async |kind: &str, name: &str, owner: Option<&Value>, spec: Value| {
            let version = if kind == "StatefulSet" { "apps/v1" } else { "v1" };
            let mut value = json!({ "apiVersion": version, "kind": kind, "metadata": { "name": name, "namespace": "default" } });
            if let Some(owner) = owner {
                value["metadata"]["ownerReferences"] = json!([{ "apiVersion": owner["apiVersion"], "kind": owner["kind"],
                    "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"] }]);
            }
            if !spec.is_null() {
                value["spec"] = spec;
            }
            let object = Object::from_value(value).unwrap();
            cluster.apply(&object, super::super::ApplyMode::default()).await.unwrap()
        };
        let claim =
            json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } });
        let labels = json!({ "app": "s" });
        let pod = json!({ "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "c", "image": "x" }] } });
        let set = |policy: &str| {
            json!({ "serviceName": "s", "selector": { "matchLabels": labels }, "template": pod,
                "persistentVolumeClaimRetentionPolicy": { "whenDeleted": policy, "whenScaled": "Retain" } })
        };
        let far = made("ConfigMap", "far", None, Value::Null).await;
        let near = made("Secret", "near", Some(&far), Value::Null).await;
        made("PersistentVolumeClaim", "claim", Some(&near), claim).await;
        let none = made("ConfigMap", "none", None, Value::Null).await;
        let kept = made("StatefulSet", "kept", None, set("Retain")).await;
        let goes = made("StatefulSet", "goes", None, set("Delete")).await;
        let claims = OnceCell::new();
        let leftover = async |live: &Value, claims: &OnceCell<Option<HashSet<String>>>| {
            let object = Object::from_value(live.clone()).unwrap();
            cluster.leftover(&object.id, &Entry::of(&object, live), claims).await.unwrap()
        };
        for (live, owns) in [(&far, true), (&near, true), (&none, false), (&kept, false), (&goes, true)] {
            let found = leftover(live, &claims).await;
            assert_eq!(found, owns.then_some(Leftover::Claims), "{}", live["metadata"]["name"]);
        }
        assert_eq!(simulated.requests().by_verb["list"], 3, "claims, Secrets and ConfigMaps");
        // Who may not list claims knows what a set says of itself.
        simulated.refuse(cozy_sim::Refusal::of("list", "persistentvolumeclaims", 403, "Forbidden", "no"));
        assert_eq!(leftover(&far, &OnceCell::new()).await, None);
        assert_eq!(leftover(&goes, &OnceCell::new()).await, Some(Leftover::Claims));
    }

    #[tokio::test(start_paused = true)]
    async fn a_namespace_that_others_made_is_theirs_too() {
        let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
        let cluster = Cluster::new(simulated.client()).await.unwrap();
        let api: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(simulated.client());
        let labels = json!({ "theirs": "1" });
        let theirs = json!({ "metadata": { "name": "theirs", "labels": labels } });
        let params =
            kube::api::PostParams { field_manager: Some("kubectl-create".to_owned()), ..Default::default() };
        api.create(&params, &serde_json::from_value(theirs).unwrap()).await.unwrap();
        for (name, expected) in [("theirs", Some(Leftover::Shared)), ("ours", None)] {
            let value = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": { "ours": "1" } } });
            let object = Object::from_value(value).unwrap();
            let live = cluster.apply(&object, super::super::ApplyMode::default()).await.unwrap();
            let entry = Entry::of(&object, &live);
            assert_eq!(cluster.leftover(&object.id, &entry, &OnceCell::new()).await.unwrap(), expected);
        }
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
