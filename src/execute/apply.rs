//! The requests of one step: the inventory where it has news, then the objects
//! with bounded concurrency, then what they became.

use std::cell::Cell;
use std::collections::HashSet;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::Instant;

use super::event::{EventKind, Failure};
use super::failed::failed;
use super::hosts;
use super::run::Shared;
use crate::cluster::apply::{Pruned, holds, uid};
use crate::cluster::error::ClusterError;
use crate::cluster::inventory::{Entry, Inventory};
use crate::cluster::turns::Turn;
use crate::cluster::{ApplyMode, Cluster};
use crate::model::names::ComponentName;
use crate::model::object::{Object, ObjectId};
use crate::plan::hooks;
use crate::plan::prune::turn;
use crate::plan::{Action, Stage, Step, StepId, Verb};

/// An object that was written, and what it became.
type Written = (ObjectId, Entry);

/// How far the requests of a step came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Every one was answered.
    All,
    /// The run is to stop, and not all were sent.
    Part,
}

impl Sent {
    /// How far several came together.
    fn of(all: &[Self]) -> Self {
        if all.contains(&Self::Part) { Self::Part } else { Self::All }
    }
}

/// Applies a step. The inventory is given back as it is now in the cluster,
/// also after a failure.
pub(crate) async fn apply(
    shared: &Shared<'_>,
    step: &Step,
    mut inventory: Inventory,
    deadline: Instant,
) -> (Inventory, Result<Sent, Failure>) {
    let result = match &step.id {
        StepId::Host { .. } => hosts::work(shared, step, deadline).await.map(|()| Sent::All),
        StepId::Stage(component, stage) => {
            let writer = Writer { shared, step, component, deadline };
            let written = match stage {
                Stage::Prune => writer.prune(&mut inventory).await,
                Stage::PreHooksDone | Stage::PostHooksDone => writer.clean_up(&inventory).await,
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
        // Only where it has fields of ours.
        if let Err(error) = writer.prune_one(&object.id, Some(&Entry::default())).await {
            shared.report(EventKind::Warning {
                message: format!("{} failed and could not be deleted: {error}", object.id),
            });
        }
    }
}

/// How long the deletion of what failed may take.
const DELETION: Duration = Duration::from_secs(30);

/// How long a run that is to stop waits for answers to what it only asks.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes the objects of one step.
struct Writer<'a> {
    shared: &'a Shared<'a>,
    step: &'a Step,
    component: &'a ComponentName,
    deadline: Instant,
}

impl Writer<'_> {
    async fn write(&self, inventory: &mut Inventory) -> Result<Sent, ClusterError> {
        // It knows all that its component is about to have.
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
        let written: Vec<Result<Option<Written>, ClusterError>> = stream::iter(to_write)
            // One of a step at a time waits for its first turn: of thousands that wait nothing is held.
            .then(|wanted| async move { (wanted, self.shared.turn().await) })
            .map(|((object, action, entry), turn)| self.one(object, action, entry, turn))
            .buffer_unordered(self.shared.options.concurrency)
            .collect()
            .await;
        let (mut first_error, mut sets, mut sent) = (None, HashSet::new(), Sent::All);
        for result in written {
            match result {
                Ok(Some((id, entry))) => inventory.record(&id, entry.share(&mut sets)),
                Ok(None) => sent = Sent::Part,
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        if inventory.has_news() {
            self.save(inventory).await?;
        }
        first_error.map_or(Ok(sent), Err)
    }

    /// Applies one object, first in this `turn`; `None`: the run is to stop. Fields that others own are taken over only
    /// where the inventory says that they were ours, or the user said so.
    async fn one(
        &self,
        object: &Object,
        action: &Action,
        entry: Option<&Entry>,
        turn: Turn<'_>,
    ) -> Result<Option<Written>, ClusterError> {
        let turn = Cell::new(Some(turn));
        if let Some(old) = &action.replaces {
            let delete = async |cluster: &Cluster| cluster.delete_exactly(&object.id, old).await;
            match self.send(&object.id, false, &turn, delete).await? {
                None => return Ok(None),
                Some(None) => {}
                Some(Some(going)) => self.until_gone(&object.id, &going).await?,
            }
        }
        let act = async |cluster: &Cluster| {
            if action.autoscaled {
                cluster.hand_over_replicas(object, entry).await?;
            }
            let written = if self.shared.options.force_conflicts {
                cluster.apply(object, ApplyMode { force: true, dry_run: false }).await
            } else {
                cluster.apply_ours(object, entry, &action.takes).await
            };
            let outdated = |error: &ClusterError| error.is_of_schema() && self.shared.is_new(&object.id.kind);
            written.map_err(|error| if outdated(&error) { error.passing() } else { error })
        };
        let Some(live) = self.send(&object.id, action.replaces.is_some(), &turn, act).await? else {
            return Ok(None);
        };
        if let Some(kind) = object.defines() {
            self.shared.defines(kind);
        }
        self.shared.watches.told(&object.id, &live);
        self.wrote(&object.id, action.verb);
        Ok(Some((object.id.clone(), Entry::of(object, &live))))
    }

    /// Sends what is asked of the cluster for an object, first in a turn that it may have already; `None`: the run is to
    /// stop, and nothing was `begun`.
    async fn send<T>(
        &self,
        id: &ObjectId,
        begun: bool,
        first: &Cell<Option<Turn<'_>>>,
        act: impl AsyncFn(&Cluster) -> Result<T, ClusterError>,
    ) -> Result<Option<T>, ClusterError> {
        let act = async || {
            // Held for the request alone, so that others go on while this one waits to be tried again.
            let _turn = match first.take() {
                Some(turn) => turn,
                None => self.shared.turn().await,
            };
            if self.shared.is_stopping() && !begun {
                return Ok(None);
            }
            act(self.shared.cluster()?).await.map(Some)
        };
        // What was begun is ended: an object that was deleted to be replaced is made again, however late it went.
        let deadline = if begun { self.deadline.max(Instant::now()) } else { self.deadline };
        self.shared.insist(&self.step.id, &id.to_string(), deadline, act).await
    }

    async fn prune(&self, inventory: &mut Inventory) -> Result<Sent, ClusterError> {
        let mut sent = Sent::All;
        for turns in self.step.actions.chunk_by(|a, b| turn(&a.id.kind) == turn(&b.id.kind)) {
            let known = &*inventory;
            let all: Vec<Sent> = stream::iter(turns)
                .filter(|action| std::future::ready(action.verb == Verb::Delete))
                .map(|action| self.prune_one(&action.id, known.get(&action.id)))
                .buffer_unordered(self.shared.options.concurrency)
                .try_collect()
                .await?;
            sent = Sent::of(&all);
            if sent == Sent::Part {
                break;
            }
            for action in turns {
                inventory.remove(&action.id);
            }
        }
        self.save(inventory).await?;
        Ok(sent)
    }

    /// Deletes what nobody wants any more, and waits until it is gone. What others have made in its place is left alone.
    async fn prune_one(&self, id: &ObjectId, entry: Option<&Entry>) -> Result<Sent, ClusterError> {
        let act = async |cluster: &Cluster| cluster.prune(id, entry).await;
        match self.send(id, false, &Cell::default(), act).await? {
            None => return Ok(Sent::Part),
            Some(Pruned::Foreign) => {
                let message = format!("{id} is kept: what is there now was made by others");
                self.shared.report(EventKind::Warning { message });
                return Ok(Sent::All);
            }
            Some(Pruned::Going(uid)) => self.until_gone(id, &uid).await?,
            Some(Pruned::Gone) => {}
        }
        self.wrote(id, Verb::Delete);
        Ok(Sent::All)
    }

    /// Deletes hooks that have succeeded. The inventory remembers that they ran.
    async fn clean_up(&self, inventory: &Inventory) -> Result<Sent, ClusterError> {
        let all: Vec<Sent> = stream::iter(&self.step.actions)
            .map(|action| self.prune_one(&action.id, inventory.get(&action.id)))
            .buffer_unordered(self.shared.options.concurrency)
            .try_collect()
            .await?;
        Ok(Sent::of(&all))
    }

    /// Waits until an object that was deleted is gone; not for a server that says nothing, once the run is to stop.
    async fn until_gone(&self, id: &ObjectId, going: &str) -> Result<(), ClusterError> {
        let patience = async {
            self.shared.stopped().await;
            tokio::time::sleep_until(Instant::now() + PATIENCE).await;
        };
        tokio::select! {
            biased;
            gone = self.see_it_go(id, going) => gone,
            () = patience => Err(ClusterError::StillThere { object: id.to_string(), holds: None }),
        }
    }

    async fn see_it_go(&self, id: &ObjectId, going: &str) -> Result<(), ClusterError> {
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
        let act = async || self.shared.write_inventory(self.component, inventory).await;
        // What was written before the deadline is written down after it.
        let deadline = self.deadline.max(Instant::now());
        self.shared.insist(&self.step.id, &format!("inventory of {}", self.component), deadline, act).await
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
