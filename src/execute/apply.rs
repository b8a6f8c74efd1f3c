//! The requests of one step: the inventory first, then the objects with
//! bounded concurrency, then what they became.

use std::collections::HashSet;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::Instant;

use super::event::{EventKind, Failure};
use super::failed::failed;
use super::hosts;
use super::run::Shared;
use crate::cluster::ApplyMode;
use crate::cluster::apply::{Pruned, holds, uid};
use crate::cluster::error::ClusterError;
use crate::cluster::inventory::{Entry, Inventory};
use crate::model::names::ComponentName;
use crate::model::object::{Object, ObjectId};
use crate::plan::hooks;
use crate::plan::prune::turn;
use crate::plan::{Action, Stage, Step, StepId, Verb};

/// An object that was written, and what it became.
type Written = (ObjectId, Entry);

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
                Stage::PreHooksDone | Stage::PostHooksDone => writer.clean_up().await,
                Stage::Generated
                | Stage::Namespaces
                | Stage::Crds
                | Stage::PreHooks(_)
                | Stage::Objects
                | Stage::Webhooks
                | Stage::Resources
                | Stage::PostHooks(_) => writer.write(&mut inventory).await,
            };
            written.map_err(|error| failed(&error))
        }
    };
    (inventory, result)
}

/// Deletes the hooks of a step that failed, where their policy says so.
pub(crate) async fn delete_failed(shared: &Shared<'_>, step: &Step) {
    let StepId::Stage(component, stage) = &step.id else { return };
    let deadline = Instant::now() + DELETION;
    let writer = Writer { shared, step, component, deadline };
    let objects = step.actions.iter().filter_map(|action| action.object.as_deref());
    for object in objects.filter(|object| stage.is_hook() && hooks::deleted_when_failed(object)) {
        match writer.remove(&object.id).await {
            Ok(()) => writer.wrote(&object.id, Verb::Delete),
            Err(error) => shared.report(EventKind::Warning {
                message: format!("{} failed and could not be deleted: {error}", object.id),
            }),
        }
    }
}

/// How long the deletion of what failed may take.
const DELETION: Duration = Duration::from_secs(30);

/// Writes the objects of one step.
struct Writer<'a> {
    shared: &'a Shared<'a>,
    step: &'a Step,
    component: &'a ComponentName,
    deadline: Instant,
}

impl Writer<'_> {
    async fn write(&self, inventory: &mut Inventory) -> Result<(), ClusterError> {
        for action in &self.step.actions {
            inventory.add(&action.id);
        }
        if inventory.has_news() {
            self.save(inventory).await?;
        }
        let to_write: Vec<(&Object, &Action, Option<&Entry>)> = self
            .step
            .actions
            .iter()
            .filter(|action| action.verb.writes())
            .filter_map(|action| Some((action.object.as_deref()?, action, inventory.get(&action.id))))
            .collect();
        let written: Vec<Result<Written, ClusterError>> = stream::iter(to_write)
            .map(|(object, action, entry)| self.one(object, action, entry))
            .buffer_unordered(self.shared.options.concurrency)
            .collect()
            .await;
        let (mut first_error, mut sets) = (None, HashSet::new());
        for result in written {
            match result {
                Ok((id, entry)) => inventory.record(&id, entry.share(&mut sets)),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        if inventory.has_news() {
            self.save(inventory).await?;
        }
        first_error.map_or(Ok(()), Err)
    }

    /// Applies one object. Fields that others own are taken over only where the
    /// inventory says that they were ours, or the user said so.
    async fn one(
        &self,
        object: &Object,
        action: &Action,
        entry: Option<&Entry>,
    ) -> Result<Written, ClusterError> {
        if action.verb == Verb::Replace {
            self.remove(&object.id).await?;
        }
        let act = async || {
            // Held for the request alone, so that others go on while this one waits to be tried again.
            let _permit = self.shared.requests.acquire().await;
            let cluster = self.shared.cluster()?;
            if action.autoscaled {
                cluster.hand_over_replicas(object, entry).await?;
            }
            if self.shared.options.force_conflicts {
                cluster.apply(object, ApplyMode { force: true, dry_run: false }).await
            } else {
                cluster.apply_ours(object, entry).await
            }
        };
        let live = self.insist(&object.id.to_string(), act).await?;
        self.shared.watches.told(&object.id, &live);
        self.wrote(&object.id, action.verb);
        Ok((object.id.clone(), Entry::of(object, &live)))
    }

    async fn prune(&self, inventory: &mut Inventory) -> Result<(), ClusterError> {
        for turns in self.step.actions.chunk_by(|a, b| turn(&a.id.kind) == turn(&b.id.kind)) {
            let known = &*inventory;
            stream::iter(turns)
                .filter(|action| std::future::ready(action.verb == Verb::Delete))
                .map(|action| self.prune_one(&action.id, known.get(&action.id)))
                .buffer_unordered(self.shared.options.concurrency)
                .try_collect::<()>()
                .await?;
            for action in turns {
                inventory.remove(&action.id);
            }
        }
        self.save(inventory).await
    }

    /// Deletes what nobody wants any more, and waits until it is gone. What others have made in its place is left alone.
    async fn prune_one(&self, id: &ObjectId, entry: Option<&Entry>) -> Result<(), ClusterError> {
        let act = async || {
            let _permit = self.shared.requests.acquire().await;
            self.shared.cluster()?.prune(id, entry).await
        };
        match self.insist(&id.to_string(), act).await? {
            Pruned::Foreign => {
                let message = format!("{id} is kept: what is there now was made by others");
                self.shared.report(EventKind::Warning { message });
                return Ok(());
            }
            Pruned::Going(uid) => self.until_gone(id, &uid).await?,
            Pruned::Gone => {}
        }
        self.wrote(id, Verb::Delete);
        Ok(())
    }

    /// Deletes hooks that have succeeded. The inventory remembers that they ran.
    async fn clean_up(&self) -> Result<(), ClusterError> {
        stream::iter(&self.step.actions)
            .map(|action| async move {
                self.remove(&action.id).await?;
                self.wrote(&action.id, Verb::Delete);
                Ok::<(), ClusterError>(())
            })
            .buffer_unordered(self.shared.options.concurrency)
            .try_collect()
            .await
    }

    /// Deletes an object, and waits until it is gone.
    async fn remove(&self, id: &ObjectId) -> Result<(), ClusterError> {
        let act = async || {
            let _permit = self.shared.requests.acquire().await;
            self.shared.cluster()?.delete(id).await
        };
        match self.insist(&id.to_string(), act).await? {
            Some(going) => self.until_gone(id, &going).await,
            None => Ok(()),
        }
    }

    /// Waits until an object that was deleted is gone.
    async fn until_gone(&self, id: &ObjectId, going: &str) -> Result<(), ClusterError> {
        // Most are gone by now, though the server's answer still shows them.
        let act = async || self.shared.cluster()?.get(id, "").await;
        let live = self.insist(&id.to_string(), act).await?;
        if live.as_ref().and_then(uid) != Some(going) {
            return Ok(());
        }
        let watches = &self.shared.watches;
        let act = async || watches.want_named(self.shared.cluster()?, id, "").await;
        self.insist(&id.to_string(), act).await?;
        let gone = self.gone(id, going).await;
        watches.forget(id);
        gone
    }

    /// Waits until the object of a uid is not there any more.
    async fn gone(&self, id: &ObjectId, going: &str) -> Result<(), ClusterError> {
        let listener = self.shared.watches.listen();
        let mut said = None;
        loop {
            let Some(live) = listener.view(0).get(id).filter(|live| uid(live) == Some(going)) else {
                return Ok(());
            };
            let holds = holds(&live);
            if Instant::now() >= self.deadline {
                return Err(ClusterError::StillThere { object: id.to_string(), holds });
            }
            let reason = holds.clone().unwrap_or_else(|| "it is being deleted".to_owned());
            if said.as_ref() != Some(&reason) {
                self.shared.report(EventKind::Waiting {
                    step: self.step.id.clone(),
                    object: id.to_string(),
                    reason: reason.clone(),
                    remaining: 1,
                    soft_failure: false,
                });
                said = Some(reason);
            }
            tokio::select! {
                biased;
                () = self.shared.stopped() => {
                    return Err(ClusterError::StillThere { object: id.to_string(), holds });
                }
                () = listener.changed() => {}
                () = tokio::time::sleep_until(self.deadline) => {}
            }
        }
    }

    async fn save(&self, inventory: &mut Inventory) -> Result<(), ClusterError> {
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
