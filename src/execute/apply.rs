//! The requests of one step: the inventory first, then the objects with
//! bounded concurrency, then what they became.

use futures::{StreamExt as _, stream};
use tokio::time::Instant;

use super::event::{EventKind, Failure};
use super::hosts;
use super::run::{Shared, failed};
use crate::cluster::error::ClusterError;
use crate::cluster::inventory::Inventory;
use crate::cluster::{ApplyMode, observed_digests};
use crate::model::names::ComponentName;
use crate::model::object::{Object, ObjectId};
use crate::plan::{Stage, Step, StepId, Verb};

/// An object that was written: the digests of what was desired and of what it became.
type Written = (ObjectId, String, Option<String>);

/// Applies a step. The inventory is given back as it is now in the cluster,
/// also after a failure.
pub(crate) async fn apply(
    shared: &Shared<'_>,
    step: &Step,
    mut inventory: Inventory,
    deadline: Instant,
) -> (Inventory, Result<(), Failure>) {
    let result = match &step.id {
        StepId::Host { .. } => hosts::work(shared, step, deadline).await,
        StepId::Stage(component, stage) => {
            let writer = Writer { shared, step, component, deadline };
            let written = match stage {
                Stage::Prune => writer.prune(&mut inventory).await,
                Stage::Generated
                | Stage::Namespaces
                | Stage::Crds
                | Stage::PreInstall
                | Stage::Objects
                | Stage::Webhooks
                | Stage::Resources
                | Stage::PostInstall => writer.write(&mut inventory).await,
            };
            written.map_err(|error| failed(&error))
        }
    };
    (inventory, result)
}

/// Writes the objects of one step.
struct Writer<'a> {
    shared: &'a Shared<'a>,
    step: &'a Step,
    component: &'a ComponentName,
    deadline: Instant,
}

impl Writer<'_> {
    async fn write(&self, inventory: &mut Inventory) -> Result<(), ClusterError> {
        let mut grown = false;
        for action in &self.step.actions {
            grown |= inventory.add(&action.id);
        }
        if grown {
            self.save(inventory).await?;
        }
        let to_write: Vec<(&Object, Verb, bool)> = self
            .step
            .actions
            .iter()
            .filter(|action| action.verb != Verb::Keep)
            .filter_map(|action| {
                Some((action.object.as_deref()?, action.verb, inventory.was_applied(&action.id)))
            })
            .collect();
        if to_write.is_empty() {
            return Ok(());
        }
        let written: Vec<Result<Written, ClusterError>> = stream::iter(to_write)
            .map(|(object, verb, ours)| self.one(object, verb, ours))
            .buffer_unordered(self.shared.options.concurrency)
            .collect()
            .await;
        let mut first_error = None;
        for result in written {
            match result {
                Ok((id, desired, live)) => inventory.record(&id, desired, live),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        self.save(inventory).await?;
        first_error.map_or(Ok(()), Err)
    }

    /// Applies one object. Fields that others own are taken over only where the
    /// inventory says that the object was ours, or the user said so.
    async fn one(&self, object: &Object, verb: Verb, ours: bool) -> Result<Written, ClusterError> {
        let mode = ApplyMode { force: self.shared.options.force_conflicts || ours, dry_run: false };
        let live = {
            let act = async || {
                // Held for the request alone, so that others go on while this one waits to be tried again.
                let _permit = self.shared.requests.acquire().await;
                self.shared.cluster()?.apply(object, mode).await
            };
            self.insist(&object.id.to_string(), act).await?
        };
        self.wrote(&object.id, verb);
        let (desired, live) = observed_digests(object, &live);
        Ok((object.id.clone(), desired, live))
    }

    async fn prune(&self, inventory: &mut Inventory) -> Result<(), ClusterError> {
        // In order: what is used was applied first, and goes last.
        for action in &self.step.actions {
            let act = async || self.shared.cluster()?.delete(&action.id).await;
            self.insist(&action.id.to_string(), act).await?;
            inventory.remove(&action.id);
            self.wrote(&action.id, Verb::Delete);
        }
        self.save(inventory).await
    }

    async fn save(&self, inventory: &Inventory) -> Result<(), ClusterError> {
        let act = async || {
            let _permit = self.shared.requests.acquire().await;
            self.shared.cluster()?.write_inventory(self.component, inventory).await
        };
        self.insist(&format!("inventory of {}", self.component), act).await
    }

    async fn insist<T>(
        &self,
        object: &str,
        act: impl AsyncFnMut() -> Result<T, ClusterError>,
    ) -> Result<T, ClusterError> {
        self.shared.insist(&self.step.id, object, self.deadline, act).await
    }

    fn wrote(&self, id: &ObjectId, verb: Verb) {
        self.shared.count(verb);
        self.shared.report(EventKind::Object { step: self.step.id.clone(), object: id.to_string(), verb });
    }
}
