//! What cozy applied, one Secret a component: written before the first
//! request of a step, so that nothing is ever orphaned.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use indexmap::IndexMap;
use kube::api::{Api, DynamicObject, ListParams};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::ClusterError;
use super::{ApplyMode, Cluster, SYSTEM_NAMESPACE};
use crate::model::names::ComponentName;
use crate::model::object::{GroupKind, Object, ObjectId};

/// The label by which inventories are found.
const LABEL: &str = "cozy/inventory";

/// What one component has in the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub(crate) struct Inventory {
    /// Its objects, in the order in which they were applied.
    objects: IndexMap<ObjectId, Digests>,
}

/// What is known of an object that was, or is about to be, applied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Digests {
    /// The digest of what was desired; `None`: not known to be applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) desired: Option<String>,
    /// The digest of the live values under our fields after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) live: Option<String>,
    /// A Job that was seen complete: it is not run again when its time to live has taken it away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) complete: bool,
}

/// An inventory as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    objects: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    id: ObjectId,
    #[serde(flatten)]
    digests: Digests,
}

impl From<Stored> for Inventory {
    fn from(stored: Stored) -> Self {
        Self { objects: stored.objects.into_iter().map(|entry| (entry.id, entry.digests)).collect() }
    }
}

impl From<Inventory> for Stored {
    fn from(inventory: Inventory) -> Self {
        let objects = inventory.objects.into_iter().map(|(id, digests)| Entry { id, digests }).collect();
        Self { objects }
    }
}

impl Inventory {
    /// What is known of an object; `None`: it is not of this component.
    pub(crate) fn get(&self, id: &ObjectId) -> Option<&Digests> {
        self.objects.get(id)
    }

    /// The objects, in the order in which they were applied.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &ObjectId> {
        self.objects.keys()
    }

    /// Whether an object was applied, and is not only about to be.
    pub(crate) fn was_applied(&self, id: &ObjectId) -> bool {
        self.get(id).is_some_and(|digests| digests.desired.is_some())
    }

    /// Adds an object that is about to be applied; says whether it was new.
    pub(crate) fn add(&mut self, id: &ObjectId) -> bool {
        if self.objects.contains_key(id) {
            return false;
        }
        self.objects.insert(id.clone(), Digests::default());
        true
    }

    /// Takes an object out.
    pub(crate) fn remove(&mut self, id: &ObjectId) {
        self.objects.shift_remove(id);
    }

    /// Remembers what an object became.
    pub(crate) fn record(&mut self, id: &ObjectId, desired: String, live: Option<String>) {
        if let Some(digests) = self.objects.get_mut(id) {
            let complete = digests.complete && digests.desired.as_ref() == Some(&desired);
            *digests = Digests { desired: Some(desired), live, complete };
        }
    }

    /// Remembers that a Job was seen complete; says whether that is news.
    pub(crate) fn complete(&mut self, id: &ObjectId) -> bool {
        match self.objects.get_mut(id) {
            Some(digests) => !std::mem::replace(&mut digests.complete, true),
            None => false,
        }
    }
}

fn secret_id(component: &str) -> ObjectId {
    ObjectId {
        kind: GroupKind::new("", "Secret"),
        namespace: Some(SYSTEM_NAMESPACE.to_owned()),
        name: format!("cozy-inventory-{component}"),
    }
}

impl Cluster {
    /// Makes the engine's own namespace.
    pub(crate) async fn ensure_system_namespace(&self) -> Result<(), ClusterError> {
        let id = ObjectId {
            kind: GroupKind::new("", "Namespace"),
            namespace: None,
            name: SYSTEM_NAMESPACE.to_owned(),
        };
        if self.get(&id, "v1").await?.is_some() {
            return Ok(());
        }
        let value =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": SYSTEM_NAMESPACE } });
        self.apply(&Object { id, version: "v1".to_owned(), value }, ApplyMode::default()).await.map(drop)
    }

    /// Reads all inventories.
    pub(crate) async fn inventories(&self) -> Result<BTreeMap<ComponentName, Inventory>, ClusterError> {
        let api: Api<DynamicObject> = self.api(&secret_id("x"), "v1")?;
        let list = api
            .list(&ListParams::default().labels(LABEL))
            .await
            .map_err(|error| ClusterError::from_kube("list", "the inventories", error))?;
        list.items.into_iter().map(|secret| read(&super::to_value(secret))).collect()
    }

    /// Writes an inventory; an empty one is deleted.
    pub(crate) async fn write_inventory(
        &self,
        component: &ComponentName,
        inventory: &Inventory,
    ) -> Result<(), ClusterError> {
        let id = secret_id(component.as_str());
        if inventory.objects.is_empty() {
            return self.delete(&id).await;
        }
        let text = serde_json::to_string(inventory).unwrap_or_default();
        let value = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": id.name,
                "namespace": SYSTEM_NAMESPACE,
                "labels": { LABEL: component.as_str(), "app.kubernetes.io/managed-by": "cozy" },
            },
            "type": "cozy/inventory",
            "data": { "inventory": STANDARD.encode(text) },
        });
        // The inventory is the engine's own: nobody else is meant to have fields in it.
        let mode = ApplyMode { force: true, dry_run: false };
        self.apply(&Object { id, version: "v1".to_owned(), value }, mode).await.map(drop)
    }
}

fn read(secret: &Value) -> Result<(ComponentName, Inventory), ClusterError> {
    let name = secret.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let damaged = |problem: String| ClusterError::Damaged {
        object: format!("inventory Secret {SYSTEM_NAMESPACE}/{name}"),
        problem,
    };
    let component = name.strip_prefix("cozy-inventory-").unwrap_or(name);
    let component = component.parse().map_err(|error| damaged(format!("{error}")))?;
    let data = secret
        .pointer("/data/inventory")
        .and_then(Value::as_str)
        .ok_or_else(|| damaged("it has no `inventory`".to_owned()))?;
    let bytes = STANDARD.decode(data).map_err(|error| damaged(error.to_string()))?;
    let inventory = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    Ok((component, inventory))
}
