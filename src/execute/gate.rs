//! Waits until every object of a step is ready, and says what it waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use super::event::{Cause, EventKind, Failure};
use super::failed::failed;
use super::judge::{Bench, Judged, Stand};
use super::probe;
use super::run::Shared;
use crate::cluster::error::ClusterError;
use crate::code::Code;
use crate::diagnose::Diagnosis;
use crate::health;
use crate::health::around::{self, Need};
use crate::health::cel::{Gate, GateError};
use crate::model::component::GateSpec;
use crate::model::object::{Object, ObjectId};
use crate::plan::{Plan, Step, Verb, edges};

/// How long the look for a cause may take.
const DIAGNOSIS: Duration = Duration::from_secs(20);

/// Begins to watch the Jobs of a step that may be gone before anybody waits for them.
pub(crate) async fn expect(shared: &Shared<'_>, step: &Step, deadline: Instant) {
    let jobs: Vec<&Object> = passing(step).collect();
    // What cannot be watched now is said when it is waited for.
    let _ = want(shared, step, &jobs, deadline).await;
}

/// The Jobs that are made, and that their time to live takes away once they are done.
fn passing(step: &Step) -> impl Iterator<Item = &Object> {
    let made = step.actions.iter().filter(|action| matches!(action.verb, Verb::Create | Verb::Replace));
    made.filter_map(|action| action.object.as_deref()).filter(|object| health::is_passing_job(&object.value))
}

/// Waits until all objects of `step` are ready, and gives the Jobs that were
/// seen complete and that will be gone some time, and hooks.
pub(crate) async fn wait(
    shared: &Shared<'_>,
    plan: &Plan,
    step: &Step,
    deadline: Instant,
) -> Result<Vec<ObjectId>, Failure> {
    let gates: Vec<(&GateSpec, Gate)> = step
        .gates
        .iter()
        .map(|spec| Ok((spec, Gate::parse(&spec.cel)?)))
        .collect::<Result<_, GateError>>()
        .map_err(|error| broken_gate(format!("a gate of this component cannot be evaluated: {error}")))?;
    let objects: Vec<&Object> = step
        .actions
        .iter()
        .filter(|action| !action.finished)
        .filter_map(|action| action.object.as_deref())
        .filter(|object| {
            health::is_gated(&object.id.kind.group, &object.id.kind.kind)
                || step.gates.iter().any(|spec| edges::gate_is_of(spec, &object.id))
        })
        .chain(step.awaits.iter().map(Arc::as_ref))
        .collect();
    let hooks = ran(step);
    if objects.is_empty() {
        return Ok(hooks);
    }
    let wanted = match want(shared, step, &objects, deadline).await {
        Ok(()) => look_around(shared, step, (&objects, &gates), deadline).await,
        Err(error) => Err(error),
    };
    let result = match wanted {
        Ok(()) => judge(shared, step, &objects, &gates, deadline).await,
        Err(error) => Err(failed(&error)),
    };
    for object in objects.iter().copied().chain(passing(step)) {
        shared.watches.forget(&object.id);
    }
    let complete = result?;
    probe::ask(shared, (plan, &step.id), &objects, deadline).await?;
    Ok(if hooks.is_empty() { complete } else { hooks })
}

/// The hooks of a step: they are not run again once it is ready.
fn ran(step: &Step) -> Vec<ObjectId> {
    let hooks = step.actions.iter().filter(|action| step.id.is_hook() && !action.finished);
    hooks.map(|action| action.id.clone()).collect()
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

/// Begins to watch what rules and gates look at besides the objects.
async fn look_around(
    shared: &Shared<'_>,
    step: &Step,
    (objects, gates): (&[&Object], &[(&GateSpec, Gate)]),
    deadline: Instant,
) -> Result<(), ClusterError> {
    let rules = objects.iter().flat_map(|object| {
        around::needs(&object.id.kind, gates.iter().any(|(spec, _)| edges::gate_is_of(spec, &object.id)))
    });
    let whole = gates.iter().flat_map(|(_, gate)| gate.kinds()).cloned().map(Need::Whole);
    let needs: BTreeSet<Need> = rules.chain(whole).collect();
    for need in needs {
        let (Need::Parts(kind, _) | Need::Whole(kind)) = &need;
        let act = async || shared.watches.look_around(shared.cluster()?, &need);
        shared.insist(&step.id, &kind.to_string(), deadline, act).await?;
    }
    Ok(())
}

/// Waits until all objects hold, or one has failed.
async fn judge(
    shared: &Shared<'_>,
    step: &Step,
    objects: &[&Object],
    gates: &[(&GateSpec, Gate)],
    deadline: Instant,
) -> Result<Vec<ObjectId>, Failure> {
    let mut bench = Bench::new(shared, step, objects, gates);
    let mut shown: Option<(ObjectId, String)> = None;
    let started = Instant::now();
    let stable =
        step.gates.iter().filter_map(|gate| gate.stable).map(|span| span.0).max().unwrap_or_default();
    let mut ready_since: Option<Instant> = None;
    loop {
        // Before the look, so that nothing falls between.
        let changed = shared.watches.changed();
        let now = Instant::now();
        bench.look(now).map_err(broken_gate)?;
        let open = match still_open(step, bench.all(), (now, started)) {
            Ok(open) => open,
            Err((id, reason)) => return Err(not_ready(shared, &id, &reason, started).await),
        };
        let Some((id, first)) = open.first else {
            let end = *ready_since.get_or_insert(now) + stable;
            if end <= now {
                warn_ungated(shared, step, bench.all());
                return Ok(bench.complete());
            }
            turn(changed, end).await;
            continue;
        };
        ready_since = None;
        let (mut reason, soft) = first.missing();
        if let Some(trouble) = shared.watches.trouble(&id.kind) {
            reason = format!("{reason} (not watched: {trouble})");
        }
        if now >= deadline {
            return Err(not_ready(shared, id, &reason, started).await);
        }
        let current = (id.clone(), reason);
        if shown.as_ref() != Some(&current) {
            shared.report(EventKind::Waiting {
                step: step.id.clone(),
                object: current.0.to_string(),
                reason: current.1.clone(),
                remaining: open.count,
                soft_failure: soft,
            });
            shown = Some(current);
        }
        turn(changed, open.wake.map_or(deadline, |wake| wake.min(deadline))).await;
    }
}

/// What a step still waits for.
struct Open<'a> {
    /// What is said to be waited for.
    first: Option<(&'a ObjectId, &'a Judged)>,
    count: usize,
    /// When to look again, even if nothing changes.
    wake: Option<Instant>,
}

/// What is waited for of what was judged; `Err`: what has failed, and why.
fn still_open<'a>(
    step: &Step,
    judged: &'a BTreeMap<&'a ObjectId, Judged>,
    (now, started): (Instant, Instant),
) -> Result<Open<'a>, (ObjectId, String)> {
    let mut open = Open { first: None, count: 0, wake: None };
    // What pods make when they run says less than the pods.
    let made = |id: &ObjectId| step.awaits.iter().any(|made| made.id == *id);
    for (id, judged) in judged {
        match judged.stands(now, started, step.grace) {
            Stand::Ready => {}
            Stand::Failed(reason) => return Err(((*id).clone(), reason)),
            Stand::Open(until) => {
                open.count += 1;
                open.wake = open.wake.into_iter().chain(until).min();
                if open.first.is_none_or(|(first, _)| made(first) && !made(id)) {
                    open.first = Some((*id, judged));
                }
            }
        }
    }
    Ok(open)
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
    for (id, _) in judged.iter().filter(|(_, judged)| judged.is_unknown()) {
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
    let diagnosis = match shared.cluster() {
        Ok(cluster) => {
            // The deadline has passed: the diagnosis has one of its own.
            let found = crate::diagnose::diagnose(cluster, id, reason, &shared.operators);
            tokio::time::timeout(DIAGNOSIS, found).await.ok()
        }
        Err(_) => None,
    };
    let diagnosis = diagnosis.unwrap_or_else(|| Diagnosis {
        chain: vec![Cause { object: id.to_string(), message: reason.to_owned() }],
        fix: None,
    });
    let fix = diagnosis.fix.unwrap_or_else(|| "mend the cause".to_owned());
    Failure {
        code: Code(3001),
        message: format!("not ready after {took} (gate: {id})"),
        chain: diagnosis.chain,
        hint: Some(format!("{fix}; then run the same command again")),
    }
}
