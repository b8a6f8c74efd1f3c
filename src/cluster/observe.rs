//! Looks at a cluster before the plan: what is served, which of the wanted
//! objects exist, and what applying them would change. Writes nothing.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use super::error::ClusterError;
use super::inventory::Inventory;
use super::owned::{digest, owned};
use super::{ApplyMode, Cluster};
use crate::health::cel::{Gate, GateError};
use crate::health::{self, Context, Health};
use crate::model::object::Object;
use crate::plan::diff;
use crate::plan::edges::gate_is_of;
use crate::plan::planner::{Desired, DesiredComponent, Live, Observed};

impl Cluster {
    /// Observes everything that the plan of `desired` depends on.
    pub(crate) async fn observe(
        &self,
        desired: &Desired,
        concurrency: usize,
    ) -> Result<
        (Observed, std::collections::BTreeMap<crate::model::names::ComponentName, Inventory>),
        ClusterError,
    > {
        let inventories = self.inventories().await?;
        let none = Inventory::default();
        let wanted = desired.components.iter().flat_map(|component| {
            let inventory = inventories.get(&component.name).unwrap_or(&none);
            component.objects.iter().map(move |(_, object)| (component, inventory, object))
        });
        let objects = stream::iter(wanted)
            .map(|(component, inventory, object)| async move {
                let live = self.observe_object(component, inventory, object).await?;
                Ok::<_, ClusterError>(live.map(|live| (object.id.clone(), live)))
            })
            .buffer_unordered(concurrency.max(1))
            .try_filter_map(|found| async move { Ok(found) })
            .try_collect()
            .await?;
        let observed = Observed {
            served: Some(self.kinds()),
            provided: Some(self.provided(desired.hosts.is_empty()).await?),
            objects,
            inventories: inventories
                .iter()
                .map(|(name, inventory)| (name.clone(), inventory.ids().cloned().collect()))
                .collect(),
        };
        Ok((observed, inventories))
    }

    async fn observe_object(
        &self,
        component: &DesiredComponent,
        inventory: &Inventory,
        object: &Object,
    ) -> Result<Option<Live>, ClusterError> {
        let Some(live) = self.get(&object.id, &object.version).await? else { return Ok(None) };
        let ready = is_ready(component, object, &live);
        let entry = inventory.get(&object.id);
        let ours = owned(&live);
        let recorded = entry.is_some_and(|entry| {
            entry.desired.is_some()
                && entry.desired == Some(digest(&object.value))
                && entry.live == ours.as_ref().map(digest)
        });
        if recorded {
            return Ok(Some(Live { changes: Vec::new(), same: true, ready }));
        }
        let mode = ApplyMode { force: true, dry_run: true };
        match self.apply(object, mode).await {
            Ok(result) => {
                let changes = diff::changes(&live, &result);
                // Without a change, sending it would still make the fields ours.
                let same = changes.is_empty() && ours.is_some() && ours == owned(&result) && entry.is_some();
                Ok(Some(Live { changes, same, ready }))
            }
            // What the server refuses now is reported when it is applied, with its step.
            Err(error) if !error.is_transient() => Ok(Some(Live { changes: Vec::new(), same: false, ready })),
            Err(error) => Err(error),
        }
    }
}

/// Whether an object's gates hold, or without any its health rule.
fn is_ready(component: &DesiredComponent, object: &Object, live: &Value) -> bool {
    let own = component.gates.iter().filter(|spec| gate_is_of(spec, &object.id));
    let Ok(gates) = own
        .map(|spec| Ok((spec.of.as_str(), Gate::parse(&spec.cel)?)))
        .collect::<Result<Vec<_>, GateError>>()
    else {
        return false;
    };
    if gates.is_empty() && !health::is_gated(&object.id.kind.group, &object.id.kind.kind) {
        return true;
    }
    let context = Context { may_be_empty: component.may_be_empty };
    let judged = health::judge(live, gates.iter().map(|(of, gate)| (*of, gate)), context);
    matches!(judged, Ok(Health::Ready | Health::Unknown))
}
