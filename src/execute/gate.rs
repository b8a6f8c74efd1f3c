//! Waits until every object of a step is ready, and says what it waits for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use super::event::{EventKind, Failure};
use super::retry;
use super::run::Shared;
use crate::cluster::error::ClusterError;
use crate::error::Code;
use crate::health::cel::{Gate, GateError};
use crate::health::{self, Context, Health};
use crate::model::component::GateSpec;
use crate::model::object::{GroupKind, Object, ObjectId};
use crate::plan::{Step, edges};

/// What a gate says of one object now.
struct Judged {
    seen: Option<Arc<Value>>,
    health: Health,
    /// Since when it looks like a failure.
    stuck_since: Option<Instant>,
}

/// How long an object of a kind that nobody knows may be silent before it
/// counts as applied and not gated.
const SILENT: Duration = Duration::from_secs(30);

/// Waits until all objects of `step` are ready.
pub(crate) async fn wait(shared: &Shared<'_>, step: &Step, deadline: Instant) -> Result<(), Failure> {
    let gates: Vec<(&GateSpec, Gate)> = step
        .gates
        .iter()
        .map(|spec| Ok((spec, Gate::parse(&spec.cel)?)))
        .collect::<Result<_, GateError>>()
        .map_err(|error| broken_gate(format!("a gate of this component cannot be evaluated: {error}")))?;
    let objects: Vec<&Object> = step
        .actions
        .iter()
        .filter_map(|action| action.object.as_deref())
        .filter(|object| {
            health::is_gated(&object.id.kind.group, &object.id.kind.kind)
                || step.gates.iter().any(|spec| edges::gate_is_of(spec, &object.id))
        })
        .collect();
    if objects.is_empty() {
        return Ok(());
    }
    let wanted = want(shared, step, &objects, deadline).await;
    let result = match wanted {
        Ok(()) => judge(shared, step, &objects, &gates, deadline).await,
        Err(error) => Err(super::run::failed(&error)),
    };
    for object in &objects {
        shared.watches.forget(&object.id);
    }
    result?;
    served(shared, step, &objects, deadline).await
}

async fn want(
    shared: &Shared<'_>,
    step: &Step,
    objects: &[&Object],
    deadline: Instant,
) -> Result<(), ClusterError> {
    stream::iter(objects)
        .map(|object| async move {
            let act = async || shared.watches.want(shared.cluster()?, object).await;
            shared.insist(&step.id, &object.id.to_string(), deadline, act).await
        })
        .buffer_unordered(shared.options.concurrency)
        .try_collect::<()>()
        .await
}

async fn judge(
    shared: &Shared<'_>,
    step: &Step,
    objects: &[&Object],
    gates: &[(&GateSpec, Gate)],
    deadline: Instant,
) -> Result<(), Failure> {
    let mut judged: BTreeMap<&ObjectId, Judged> = BTreeMap::new();
    let mut shown: Option<(ObjectId, String)> = None;
    let started = Instant::now();
    let stable =
        step.gates.iter().filter_map(|gate| gate.stable).map(|span| span.0).max().unwrap_or_default();
    let mut ready_since: Option<Instant> = None;
    loop {
        // Before the look, so that nothing falls between.
        let changed = shared.watches.changed();
        let now = Instant::now();
        look(shared, step, objects, gates, &mut judged)?;
        let silent = now >= started + SILENT;
        let waiting: Vec<(&&ObjectId, &Judged)> = judged
            .iter()
            .filter(|(_, judged)| match judged.health {
                Health::Ready => false,
                Health::Unknown => !silent,
                Health::Progressing(_) | Health::Stuck(_) | Health::Failed(_) => true,
            })
            .collect();
        let Some((id, first)) = waiting.first() else {
            let end = *ready_since.get_or_insert(now) + stable;
            if end <= now {
                warn_ungated(shared, step, &judged);
                return Ok(());
            }
            turn(changed, end).await;
            continue;
        };
        ready_since = None;
        let mut wake = deadline;
        for (id, judged) in &waiting {
            let (reason, limit) = match &judged.health {
                Health::Failed(reason) => (reason, Some(now)),
                Health::Stuck(soft) => (
                    &soft.message,
                    judged.stuck_since.map(|since| since + step.grace.unwrap_or(soft.cause.grace())),
                ),
                Health::Unknown => {
                    wake = wake.min(started + SILENT);
                    continue;
                }
                Health::Ready | Health::Progressing(_) => continue,
            };
            match limit {
                Some(limit) if limit <= now => return Err(not_ready(shared, id, reason, started).await),
                Some(limit) => wake = wake.min(limit),
                None => {}
            }
        }
        let (reason, soft) = match &first.health {
            Health::Progressing(reason) | Health::Failed(reason) => (reason.clone(), false),
            Health::Stuck(soft) => (soft.message.clone(), true),
            Health::Ready | Health::Unknown => ("no status yet".to_owned(), false),
        };
        if now >= deadline {
            return Err(not_ready(shared, id, &reason, started).await);
        }
        let current = ((**id).clone(), reason);
        if shown.as_ref() != Some(&current) {
            shared.report(EventKind::Waiting {
                step: step.id.clone(),
                object: current.0.to_string(),
                reason: current.1.clone(),
                remaining: waiting.len(),
                soft_failure: soft,
            });
            shown = Some(current);
        }
        turn(changed, wake).await;
    }
}

/// Judges each object that changed since the last look.
fn look<'a>(
    shared: &Shared<'_>,
    step: &Step,
    objects: &[&'a Object],
    gates: &[(&GateSpec, Gate)],
    judged: &mut BTreeMap<&'a ObjectId, Judged>,
) -> Result<(), Failure> {
    let context = Context { may_be_empty: step.may_be_empty };
    let now = Instant::now();
    for object in objects {
        let seen = shared.watches.get(&object.id);
        let before = judged.get(&object.id);
        let same = before.is_some_and(|before| match (&before.seen, &seen) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        });
        if same {
            continue;
        }
        let health = match &seen {
            None => Health::Progressing("it does not exist yet".to_owned()),
            Some(live) => {
                let own = gates.iter().filter(|(spec, _)| edges::gate_is_of(spec, &object.id));
                health::judge(live, own.map(|(spec, gate)| (spec.of.as_str(), gate)), context)
                    .map_err(broken_gate)?
            }
        };
        let since = before.and_then(|before| before.stuck_since);
        let stuck_since = matches!(health, Health::Stuck(_)).then(|| since.unwrap_or(now));
        judged.insert(&object.id, Judged { seen, health, stuck_since });
    }
    Ok(())
}

/// Waits until any wanted object changes, but no longer than `until`.
async fn turn(changed: Notified<'_>, until: Instant) {
    tokio::select! {
        biased;
        () = changed => {}
        () = tokio::time::sleep_until(until) => {}
    }
}

/// A gate that cannot be evaluated, on this object or on any.
fn broken_gate(message: String) -> Failure {
    Failure {
        code: Code(3002),
        message,
        chain: Vec::new(),
        hint: Some("mend `gates:` in component.yaml".to_owned()),
    }
}

fn warn_ungated(shared: &Shared<'_>, step: &Step, judged: &BTreeMap<&ObjectId, Judged>) {
    for (id, _) in judged.iter().filter(|(_, judged)| judged.health == Health::Unknown) {
        shared.report(EventKind::Warning {
            message: format!(
                "{id} of {} was applied and is not gated: no rule knows its kind",
                step.id.component()
            ),
        });
    }
}

async fn not_ready(shared: &Shared<'_>, id: &ObjectId, reason: &str, started: Instant) -> Failure {
    let took = crate::model::duration::human(started.elapsed());
    let chain = match shared.cluster() {
        Ok(cluster) => crate::diagnose::causes(cluster, id, reason).await,
        Err(_) => Vec::new(),
    };
    Failure {
        code: Code(3001),
        message: format!("not ready after {took} (gate: {id})"),
        chain,
        hint: Some("mend the cause; `cozy install` goes on from here".to_owned()),
    }
}

/// Discovery lags behind an established CRD, so ask until its kinds are served.
async fn served(
    shared: &Shared<'_>,
    step: &Step,
    objects: &[&Object],
    deadline: Instant,
) -> Result<(), Failure> {
    let expected: Vec<(&&Object, GroupKind, String)> = objects
        .iter()
        .filter_map(|object| object.defines().map(|kind| (object, kind)))
        .flat_map(|(object, kind)| {
            let versions = object.value.pointer("/spec/versions").and_then(Value::as_array);
            versions.into_iter().flatten().filter_map(move |version| {
                let served = version.get("served").and_then(Value::as_bool) == Some(true);
                let name = version.get("name")?.as_str()?.to_owned();
                served.then(|| (object, kind.clone(), name))
            })
        })
        .collect();
    let Some((first, ..)) = expected.first() else { return Ok(()) };
    let act = async || {
        let cluster = shared.cluster()?;
        let missing = || expected.iter().find(|(_, kind, version)| !cluster.serves(kind, version));
        if missing().is_some() {
            cluster.discover().await?;
        }
        match missing() {
            None => Ok(()),
            Some((object, ..)) => Err(ClusterError::NoSuchKind { object: object.id.to_string() }),
        }
    };
    // The lag is expected: it is waited for, and said once.
    let report = |retry: retry::Retry<'_>| {
        if retry.attempt == 1 {
            shared.report(EventKind::Waiting {
                step: step.id.clone(),
                object: first.id.to_string(),
                reason: "established, not served in discovery yet".to_owned(),
                remaining: expected.len(),
                soft_failure: false,
            });
        }
    };
    retry::until(deadline, act, report).await.map_err(|error| super::run::failed(&error))
}
