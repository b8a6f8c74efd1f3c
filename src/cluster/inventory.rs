//! What cozy applied, by component: written before the first request of a
//! component, so that nothing is ever orphaned. Compressed, in one Secret; where
//! that is too small in parts, whose names tell their content, and a head
//! that is written last and names them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use indexmap::{IndexMap, IndexSet};
use kube::api::{Api, DynamicObject, ListParams, ObjectMeta};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::ClusterError;
use super::owned::{self, Fields};
use super::{ApplyMode, Cluster, SYSTEM_NAMESPACE};
use crate::model::artefact::Digest;
use crate::model::names::ComponentName;
use crate::model::object::{GroupKind, Object, ObjectId};

/// The label by which inventories and their parts are found; its value is the component.
const LABEL: &str = "cozy/inventory";

/// The label that says which cloud they are of: names of clouds are DNS labels, and so fit.
const CLOUD: &str = "cozy/cloud";

/// How inventories are stored now.
const FORMAT: u32 = 1;

/// The bytes that one Secret takes: Kubernetes allows 1 MiB of data.
const LARGEST: usize = 768 * 1024;

/// The bytes that an inventory may have when it is unpacked, against damaged ones.
const LARGEST_UNPACKED: u64 = 1 << 30;

/// How many Secrets are read at a time.
const PAGE: u32 = 20;

/// What one component has in the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Inventory {
    /// Its objects, in the order in which they were, or are to be, applied.
    objects: IndexMap<ObjectId, Entry>,
    /// The components that it waited for when it was applied last.
    needs: BTreeSet<ComponentName>,
    /// The parts that are in the cluster, also those that no head names.
    parts: BTreeSet<String>,
    /// It knows more than the cluster's.
    news: bool,
}

/// What is known of an object that was, or is about to be, applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The digest of what was desired; `None`: not known to be applied.
    pub(crate) desired: Option<String>,
    /// The digest of the live values under our fields after that.
    pub(crate) live: Option<String>,
    /// The fields that were ours after that.
    pub(crate) fields: Option<Fields>,
    /// A Job that was seen complete: it is not run again when its time to live has taken it away.
    pub(crate) complete: bool,
}

impl Entry {
    /// What is known of an object that was applied, and is like this now.
    pub(crate) fn of(desired: &Object, live: &Value) -> Self {
        Self {
            desired: Some(owned::digest(&desired.value)),
            live: owned::digest_of_owned(live),
            fields: Fields::of(live),
            complete: false,
        }
    }

    /// Shares its set of fields with an equal one: most objects of a kind have the same.
    pub(crate) fn share(mut self, sets: &mut HashSet<Fields>) -> Self {
        if let Some(fields) = &mut self.fields {
            match sets.get(fields) {
                Some(known) => fields.clone_from(known),
                None => drop(sets.insert(fields.clone())),
            }
        }
        self
    }

    /// The names of the fields that were ours.
    pub(crate) fn paths(&self) -> BTreeSet<String> {
        self.fields.as_ref().map(Fields::paths).unwrap_or_default()
    }
}

/// An inventory as it is written, compressed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    /// Sets of fields, each once: most objects of a kind have the same.
    fields: Vec<String>,
    needs: BTreeSet<ComponentName>,
    objects: Vec<StoredEntry>,
}

/// An object and what is known of it, all in one map.
#[derive(Serialize, Deserialize)]
struct StoredEntry {
    group: String,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    desired: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    live: Option<String>,
    /// The index of its set of fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fields: Option<usize>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    complete: bool,
}

impl From<Stored> for Inventory {
    fn from(stored: Stored) -> Self {
        let sets: Vec<Fields> = stored.fields.into_iter().map(Fields::from).collect();
        let entry = |stored: StoredEntry| {
            let StoredEntry { group, kind, namespace, name, desired, live, fields, complete } = stored;
            let id = ObjectId { kind: GroupKind { group, kind }, namespace, name };
            let fields = fields.and_then(|index| sets.get(index).cloned());
            (id, Entry { desired, live, fields, complete })
        };
        let objects = stored.objects.into_iter().map(entry).collect();
        Self { objects, needs: stored.needs, ..Self::default() }
    }
}

impl From<&Inventory> for Stored {
    fn from(inventory: &Inventory) -> Self {
        let mut sets: IndexSet<&str> = IndexSet::new();
        let objects = inventory
            .objects
            .iter()
            .map(|(id, entry)| StoredEntry {
                group: id.kind.group.clone(),
                kind: id.kind.kind.clone(),
                namespace: id.namespace.clone(),
                name: id.name.clone(),
                desired: entry.desired.clone(),
                live: entry.live.clone(),
                fields: entry.fields.as_ref().map(|fields| sets.insert_full(fields.as_str()).0),
                complete: entry.complete,
            })
            .collect();
        Self {
            fields: sets.into_iter().map(str::to_owned).collect(),
            needs: inventory.needs.clone(),
            objects,
        }
    }
}

impl Inventory {
    /// What is known of an object; `None`: it is not of this component.
    pub(crate) fn get(&self, id: &ObjectId) -> Option<&Entry> {
        self.objects.get(id)
    }

    /// The objects, in the order in which they were, or are to be, applied.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &ObjectId> {
        self.objects.keys()
    }

    /// The objects, with what is known of them.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&ObjectId, &Entry)> {
        self.objects.iter()
    }

    /// The components that it waited for.
    pub(crate) fn needs(&self) -> &BTreeSet<ComponentName> {
        &self.needs
    }

    /// Remembers the components that it waits for, when it is written for another reason.
    pub(crate) fn wait_for(&mut self, needs: BTreeSet<ComponentName>) {
        self.needs = needs;
    }

    /// Whether it knows more than the cluster's.
    pub(crate) fn has_news(&self) -> bool {
        self.news
    }

    /// Adds an object that is about to be applied.
    pub(crate) fn add(&mut self, id: &ObjectId) {
        if !self.objects.contains_key(id) {
            self.objects.insert(id.clone(), Entry::default());
            self.news = true;
        }
    }

    /// Takes an object over from another component's inventory.
    pub(crate) fn take_over(&mut self, id: &ObjectId, entry: Entry) {
        self.objects.insert(id.clone(), entry);
        self.news = true;
    }

    /// Takes an object out.
    pub(crate) fn remove(&mut self, id: &ObjectId) {
        self.news |= self.objects.shift_remove(id).is_some();
    }

    /// Remembers what an object became.
    pub(crate) fn record(&mut self, id: &ObjectId, entry: Entry) {
        if let Some(known) = self.objects.get_mut(id) {
            let complete = known.complete && known.desired == entry.desired;
            let entry = Entry { complete, ..entry };
            self.news |= *known != entry;
            *known = entry;
        }
    }

    /// Remembers that a Job was seen complete; says whether that is news.
    pub(crate) fn complete(&mut self, id: &ObjectId) -> bool {
        match self.objects.get_mut(id) {
            Some(entry) => !std::mem::replace(&mut entry.complete, true),
            None => false,
        }
    }

    fn pack(&self) -> Vec<u8> {
        let text = serde_json::to_vec(&Stored::from(self)).unwrap_or_default();
        // Only memory could fail.
        zstd::bulk::compress(&text, 3).unwrap_or_default()
    }

    fn unpack(bytes: &[u8]) -> Result<Self, String> {
        let mut text = Vec::new();
        let unpacked = zstd::Decoder::new(bytes)
            .and_then(|decoder| decoder.take(LARGEST_UNPACKED).read_to_end(&mut text));
        unpacked.map_err(|error| error.to_string())?;
        serde_json::from_slice::<Stored>(&text).map(Self::from).map_err(|error| error.to_string())
    }
}

fn secret_id(name: String) -> ObjectId {
    ObjectId { kind: GroupKind::new("", "Secret"), namespace: Some(SYSTEM_NAMESPACE.to_owned()), name }
}

fn head_name(component: &str) -> String {
    format!("cozy-inventory-{component}")
}

/// The name of a part: it says what is in it, so that no part is ever changed.
fn part_name(component: &str, bytes: &[u8]) -> String {
    let digest = Digest::of(bytes).to_string();
    format!("{}.{}", head_name(component), digest.get(..16).unwrap_or(&digest))
}

/// Whose an inventory is.
#[derive(Clone, Copy)]
struct Owner<'a> {
    /// The cloud, where there is one.
    cloud: Option<&'a str>,
    component: &'a str,
}

/// A Secret of the engine's own.
fn secret(Owner { cloud, component }: Owner<'_>, name: &str, data: &Value) -> Object {
    let mut value = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": SYSTEM_NAMESPACE,
            "labels": { LABEL: component, "app.kubernetes.io/managed-by": "cozy" },
        },
        "type": "cozy/inventory",
        "data": data,
    });
    if let Some(cloud) = cloud {
        value["metadata"]["labels"][CLOUD] = json!(cloud);
    }
    Object { id: secret_id(name.to_owned()), version: "v1".to_owned(), value }
}

/// What is written for an inventory.
struct Written {
    /// What the head refers to, by name.
    parts: BTreeMap<String, Object>,
    head: Object,
}

fn written(owner: Owner<'_>, inventory: &Inventory, largest: usize) -> Written {
    let (packed, component) = (inventory.pack(), owner.component);
    let head = |data: &Value| secret(owner, &head_name(component), data);
    let format = STANDARD.encode(FORMAT.to_string());
    if packed.len() <= largest {
        let head = head(&json!({ "format": format, "inventory": STANDARD.encode(packed) }));
        return Written { parts: BTreeMap::new(), head };
    }
    let parts: Vec<Object> = packed
        .chunks(largest)
        .map(|part| {
            let data = json!({ "part": STANDARD.encode(part) });
            secret(owner, &part_name(component, part), &data)
        })
        .collect();
    let names: Vec<&str> = parts.iter().map(|part| part.id.name.as_str()).collect();
    let head = head(&json!({ "format": format, "parts": STANDARD.encode(names.join("\n")) }));
    Written { parts: parts.into_iter().map(|part| (part.id.name.clone(), part)).collect(), head }
}

/// The data of Secrets by key, decoded.
type Data = BTreeMap<String, Vec<u8>>;

/// Reads inventories from the Secrets of one component, by name.
fn read(component: &str, secrets: &BTreeMap<String, Data>) -> Result<Option<Inventory>, String> {
    let head = head_name(component);
    let parts: BTreeSet<String> = secrets.keys().filter(|name| **name != head).cloned().collect();
    let Some(data) = secrets.get(&head) else {
        // Parts without a head: the run that wrote them did not come so far as to apply anything by them.
        return Ok((!parts.is_empty()).then(|| Inventory { parts, ..Inventory::default() }));
    };
    let text = |key: &str| data.get(key).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    match text("format").map(|format| format.parse::<u32>()) {
        Some(Ok(FORMAT)) => {}
        Some(Ok(newer)) => return Err(format!("its format {newer} is of another version of cozy")),
        Some(Err(_)) | None => return Err("it has no `format`".to_owned()),
    }
    let packed = match (data.get("inventory"), text("parts")) {
        (Some(packed), _) => packed.clone(),
        (None, Some(names)) => {
            let mut packed = Vec::new();
            for name in names.lines() {
                let part = secrets.get(name).and_then(|data| data.get("part"));
                packed.extend(part.ok_or_else(|| format!("its part {name} is missing"))?);
            }
            packed
        }
        (None, None) => return Err("it has no `inventory`".to_owned()),
    };
    let inventory = Inventory::unpack(&packed)?;
    Ok(Some(Inventory { parts, ..inventory }))
}

/// All inventories, and which state of the cluster they are of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Inventories {
    /// By component.
    pub(crate) all: BTreeMap<ComponentName, Inventory>,
    /// The name and version of each Secret: equal to an earlier one, nothing was written in between.
    pub(crate) state: BTreeMap<String, String>,
    /// The clouds that they say they are of: earlier versions of cozy did not.
    pub(crate) clouds: BTreeSet<String>,
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
    pub(crate) async fn inventories(&self) -> Result<Inventories, ClusterError> {
        let api: Api<DynamicObject> = self.api(&secret_id(String::new()), "v1")?;
        let mut params = ListParams::default().labels(LABEL).limit(PAGE);
        let mut secrets: BTreeMap<String, BTreeMap<String, Data>> = BTreeMap::new();
        let (mut state, mut clouds) = (BTreeMap::new(), BTreeSet::new());
        loop {
            let page = api.list(&params).await;
            let page = page.map_err(|error| ClusterError::from_kube("list", "the inventories", error))?;
            for secret in page.items {
                let name = secret.metadata.name.clone().unwrap_or_default();
                state.insert(name.clone(), secret.metadata.resource_version.clone().unwrap_or_default());
                let label = |key| secret.metadata.labels.as_ref().and_then(|labels| labels.get(key));
                let component = label(LABEL).cloned().unwrap_or_default();
                clouds.extend(label(CLOUD).filter(|_| name == head_name(&component)).cloned());
                let data = data(&secret.data).map_err(|problem| damaged(&name, problem))?;
                secrets.entry(component).or_default().insert(name, data);
            }
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                break;
            }
        }
        let mut all = BTreeMap::new();
        for (component, secrets) in secrets {
            let failed = |problem: String| damaged(&head_name(&component), problem);
            let name = component.parse().map_err(|error| failed(format!("{error}")))?;
            if let Some(inventory) = read(&component, &secrets).map_err(failed)? {
                all.insert(name, inventory);
            }
        }
        Ok(Inventories { all, state, clouds })
    }

    /// In which state of the cluster the inventories are now, without what is in them.
    pub(crate) async fn inventories_state(&self) -> Result<BTreeMap<String, String>, ClusterError> {
        let api: Api<DynamicObject> = self.api(&secret_id(String::new()), "v1")?;
        let mut params = ListParams::default().labels(LABEL).limit(super::PAGE);
        let mut state = BTreeMap::new();
        loop {
            let page = api.list_metadata(&params).await;
            let page = page.map_err(|error| ClusterError::from_kube("list", "the inventories", error))?;
            state.extend(page.items.into_iter().map(|secret| {
                let ObjectMeta { name, resource_version, .. } = secret.metadata;
                (name.unwrap_or_default(), resource_version.unwrap_or_default())
            }));
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                return Ok(state);
            }
        }
    }

    /// Writes the inventory of a cloud's component; an empty one is deleted. What it refers to is there before its head is.
    pub(crate) async fn write_inventory(
        &self,
        (cloud, component): (Option<&str>, &ComponentName),
        inventory: &mut Inventory,
    ) -> Result<(), ClusterError> {
        // The inventory is the engine's own: nobody else is meant to have fields in it.
        let mode = ApplyMode { force: true, dry_run: false };
        let mut parts = BTreeMap::new();
        if inventory.objects.is_empty() {
            self.delete(&secret_id(head_name(component.as_str()))).await?;
        } else {
            let owner = Owner { cloud, component: component.as_str() };
            let written = written(owner, inventory, LARGEST);
            parts = written.parts;
            for (name, part) in &parts {
                if !inventory.parts.contains(name) {
                    self.apply(part, mode).await?;
                    inventory.parts.insert(name.clone());
                }
            }
            self.apply(&written.head, mode).await?;
        }
        inventory.news = false;
        let stale: Vec<String> =
            inventory.parts.iter().filter(|name| !parts.contains_key(*name)).cloned().collect();
        for name in stale {
            self.delete(&secret_id(name.clone())).await?;
            inventory.parts.remove(&name);
        }
        Ok(())
    }
}

fn damaged(name: &str, problem: String) -> ClusterError {
    ClusterError::Damaged { object: format!("inventory Secret {SYSTEM_NAMESPACE}/{name}"), problem }
}

fn data(fields: &Value) -> Result<Data, String> {
    let data = fields.get("data").and_then(Value::as_object).into_iter().flatten();
    data.map(|(key, value)| {
        let bytes = STANDARD.decode(value.as_str().unwrap_or_default());
        Ok((key.clone(), bytes.map_err(|error| error.to_string())?))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: Owner<'static> = Owner { cloud: Some("a"), component: "app" };

    fn id(name: &str) -> ObjectId {
        ObjectId {
            kind: GroupKind::new("", "ConfigMap"),
            namespace: Some("x".to_owned()),
            name: name.to_owned(),
        }
    }

    fn made(count: usize) -> Inventory {
        let mut inventory = Inventory::default();
        for number in 0..count {
            let id = id(&format!("c{number}"));
            inventory.add(&id);
            let digest = |what: &str| Some(Digest::of(format!("{what}{number}").as_bytes()).to_string());
            let fields = Some(Fields::from("{\"f:data\":{\"f:a\":{}}}".to_owned()));
            inventory.record(&id, Entry { desired: digest("d"), live: digest("l"), fields, complete: false });
            if number == 1 {
                inventory.complete(&id);
            }
        }
        inventory.wait_for(["base".parse().unwrap()].into());
        inventory.news = false;
        inventory
    }

    /// What the cluster has after a write, as Secrets.
    fn stored(written: &Written) -> BTreeMap<String, Data> {
        let objects = written.parts.values().chain([&written.head]);
        objects.map(|object| (object.id.name.clone(), data(&object.value).unwrap())).collect()
    }

    #[test]
    fn an_inventory_is_read_as_it_was_written_whole_and_in_parts() {
        let inventory = made(50);
        let whole = written(APP, &inventory, LARGEST);
        assert!(whole.parts.is_empty());
        assert_eq!(read("app", &stored(&whole)).unwrap().unwrap(), inventory);
        let split = written(APP, &inventory, 1000);
        assert!(split.parts.len() > 2);
        let found = read("app", &stored(&split)).unwrap().unwrap();
        assert_eq!(found.parts, split.parts.keys().cloned().collect());
        assert_eq!(Inventory { parts: BTreeSet::new(), ..found }, inventory);
        // Parts that no head names yet say nothing, and are remembered to be deleted.
        let mut between = stored(&split);
        between.extend(stored(&whole));
        let found = read("app", &between).unwrap().unwrap();
        assert_eq!((found.objects.len(), found.parts.len()), (50, split.parts.len()));
        between.remove("cozy-inventory-app");
        assert_eq!(read("app", &between).unwrap().unwrap().objects.len(), 0);
        assert_eq!(read("app", &BTreeMap::new()).unwrap(), None);
    }

    #[test]
    fn damaged_inventories_say_how() {
        let split = written(APP, &made(50), 1000);
        let mut secrets = stored(&split);
        let first = split.parts.keys().next().unwrap();
        secrets.remove(first);
        assert_eq!(read("app", &secrets).unwrap_err(), format!("its part {first} is missing"));
        let with = |entries: &[(&str, &str)]| {
            let data =
                entries.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect();
            read("app", &BTreeMap::from([("cozy-inventory-app".to_owned(), data)])).unwrap_err()
        };
        assert_eq!(with(&[]), "it has no `format`");
        assert_eq!(with(&[("format", "2")]), "its format 2 is of another version of cozy");
        assert_eq!(with(&[("format", "1")]), "it has no `inventory`");
        assert!(!with(&[("format", "1"), ("inventory", "x")]).is_empty());
    }

    #[test]
    fn equal_sets_of_fields_are_stored_once() {
        assert_eq!(Stored::from(&made(50)).fields.len(), 1);
        // A thousand objects are far from what a Secret takes.
        assert!(made(1000).pack().len() < 128 * 1024);
    }

    #[test]
    fn a_changed_job_is_not_complete_any_more() {
        let mut inventory = made(2);
        let known = inventory.get(&id("c1")).unwrap().clone();
        inventory.record(&id("c1"), Entry { complete: false, ..known.clone() });
        assert!(inventory.get(&id("c1")).unwrap().complete && !inventory.has_news());
        inventory.record(&id("c1"), Entry { desired: Some("new".to_owned()), ..known });
        assert!(!inventory.get(&id("c1")).unwrap().complete && inventory.has_news());
    }
}
