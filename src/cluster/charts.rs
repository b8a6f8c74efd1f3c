//! What charts are told of a cluster: API versions, what is kept of earlier
//! runs, and objects that they look up.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::{DynamicObject, ListParams};
use serde_json::{Value, json};

use super::error::ClusterError;
use super::{Cluster, SYSTEM_NAMESPACE, to_value};
use crate::model::kept::{self, Kept};
use crate::model::names::ComponentName;
use crate::model::object::{GroupKind, ObjectId, split_api_version};
use crate::render::{Lookup, served};

impl Cluster {
    /// What is kept of each component that is a chart.
    pub(crate) async fn kept(&self) -> Result<BTreeMap<ComponentName, Kept>, ClusterError> {
        let kind = GroupKind::new("", "Secret");
        let Some(api) = self.list_api(&kind, Some(SYSTEM_NAMESPACE)) else { return Ok(BTreeMap::new()) };
        let list = api.list(&ListParams::default().labels(kept::LABEL)).await;
        let list = list.map_err(|error| ClusterError::from_kube("list", "what charts generated", error))?;
        let read = |secret: DynamicObject| {
            let name = secret.metadata.name.clone().unwrap_or_default();
            Kept::read(&to_value(secret)).map_err(|problem| ClusterError::Damaged {
                object: format!("Secret {SYSTEM_NAMESPACE}/{name}"),
                problem,
            })
        };
        list.items.into_iter().map(read).collect()
    }

    /// The API versions that the cluster serves without those kinds, and without what `ours` defines: CRDs and
    /// `APIService`s that components brought.
    pub(crate) fn apis<'a>(
        &self,
        without: &BTreeSet<GroupKind>,
        ours: impl Iterator<Item = &'a ObjectId>,
    ) -> BTreeSet<String> {
        let names: BTreeSet<&str> = ours
            .filter(|id| matches!(id.kind.kind.as_str(), "CustomResourceDefinition" | "APIService"))
            .map(|id| id.name.as_str())
            .collect();
        let all = self.served();
        let own = all.iter().filter(|(kind, _)| !without.contains(*kind));
        let own = own.flat_map(|(kind, versions)| versions.iter().map(move |(resource, _)| (kind, resource)));
        let own = own.filter(|(_, resource)| {
            let crd = format!("{}.{}", resource.plural, resource.group);
            let service = format!("{}.{}", resource.version, resource.group);
            !names.contains(crd.as_str()) && !names.contains(service.as_str())
        });
        served(own.map(|(kind, resource)| (kind, resource.version.as_str())))
    }

    /// What a chart looks up: an object, or a list; `None`: it, or its kind, is not there.
    pub(crate) async fn lookup(&self, lookup: &Lookup) -> Result<Option<Value>, ClusterError> {
        let Lookup { api_version, kind, namespace, name } = lookup;
        let (group, version) = split_api_version(api_version);
        let id = ObjectId {
            kind: GroupKind::new(group, kind.as_str()),
            namespace: Some(namespace.clone()).filter(|namespace| !namespace.is_empty()),
            name: name.clone(),
        };
        if !name.is_empty() {
            return self.get(&id, version).await;
        }
        let items = match self.list((&id.kind, id.namespace.as_deref()), version, Some).await {
            Ok(items) => items,
            Err(ClusterError::NoSuchKind { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(json!({ "apiVersion": api_version, "kind": format!("{kind}List"), "items": items })))
    }
}
