//! The requests of one step: the inventory first, then the objects with
//! bounded concurrency, then what they became.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt as _, stream};
use tokio::time::Instant;

use super::event::EventKind;
use super::retry;
use super::run::Shared;
use crate::cluster::error::ClusterError;
use crate::cluster::inventory::Inventory;
use crate::cluster::{ApplyMode, observed_digests};
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
) -> (Inventory, Result<(), ClusterError>) {
    let result = match &step.id {
        StepId::Kubernetes => {
            retry::pause(step.expect).await;
            Ok(())
        }
        StepId::Stage(component, Stage::Prune) => {
            prune(shared, step, component, &mut inventory, deadline).await
        }
        StepId::Stage(component, _) => write(shared, step, component, &mut inventory, deadline).await,
    };
    (inventory, result)
}

async fn write(
    shared: &Shared<'_>,
    step: &Step,
    component: &crate::model::names::ComponentName,
    inventory: &mut Inventory,
    deadline: Instant,
) -> Result<(), ClusterError> {
    let mut grown = false;
    for action in &step.actions {
        grown |= inventory.add(&action.id);
    }
    let to_write: Vec<(&Arc<Object>, Verb)> = step
        .actions
        .iter()
        .filter(|action| action.verb != Verb::Keep)
        .filter_map(|action| action.object.as_ref().map(|object| (object, action.verb)))
        .collect();
    if grown {
        save(shared, step, component, inventory, deadline).await?;
    }
    if to_write.is_empty() {
        return Ok(());
    }
    let known: BTreeSet<ObjectId> = inventory
        .objects
        .iter()
        .filter(|entry| entry.desired.is_some())
        .map(|entry| entry.id.clone())
        .collect();
    let written: Vec<Result<Written, ClusterError>> = stream::iter(to_write)
        .map(|(object, verb)| {
            let known = &known;
            async move {
                let live = one(shared, step, object, known.contains(&object.id), deadline).await?;
                shared.count(verb);
                shared.report(EventKind::Object {
                    step: step.id.clone(),
                    object: object.id.to_string(),
                    verb,
                });
                let (desired, live) = observed_digests(object, &live);
                Ok((object.id.clone(), desired, live))
            }
        })
        .buffer_unordered(shared.options.concurrency)
        .collect()
        .await;
    let mut first_error = None;
    for result in written {
        match result {
            Ok((id, desired, live)) => inventory.record(&id, desired, live),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    save(shared, step, component, inventory, deadline).await?;
    first_error.map_or(Ok(()), Err)
}

/// Applies one object. Fields that others own are taken over only where the
/// inventory says that the object was ours, or the user said so.
async fn one(
    shared: &Shared<'_>,
    step: &Step,
    object: &Object,
    ours: bool,
    deadline: Instant,
) -> Result<serde_json::Value, ClusterError> {
    let _permit = shared.requests.acquire().await;
    let force = shared.options.force_conflicts || ours;
    let act = async || shared.cluster()?.apply(object, ApplyMode { force, dry_run: false }).await;
    retry::until(deadline, act, |retry| shared.retry(Some(&step.id), &object.id.to_string(), &retry)).await
}

async fn prune(
    shared: &Shared<'_>,
    step: &Step,
    component: &crate::model::names::ComponentName,
    inventory: &mut Inventory,
    deadline: Instant,
) -> Result<(), ClusterError> {
    // In order: what is used was applied first, and goes last.
    for action in &step.actions {
        let act = async || shared.cluster()?.delete(&action.id).await;
        let report = |retry: retry::Retry<'_>| shared.retry(Some(&step.id), &action.id.to_string(), &retry);
        retry::until(deadline, act, report).await?;
        inventory.remove(&action.id);
        shared.count(Verb::Delete);
        shared.report(EventKind::Object {
            step: step.id.clone(),
            object: action.id.to_string(),
            verb: Verb::Delete,
        });
    }
    save(shared, step, component, inventory, deadline).await
}

async fn save(
    shared: &Shared<'_>,
    step: &Step,
    component: &crate::model::names::ComponentName,
    inventory: &Inventory,
    deadline: Instant,
) -> Result<(), ClusterError> {
    let _permit = shared.requests.acquire().await;
    let act = async || shared.cluster()?.write_inventory(component, inventory).await;
    let report =
        |retry: retry::Retry<'_>| shared.retry(Some(&step.id), &format!("inventory of {component}"), &retry);
    retry::until(deadline, act, report).await
}
