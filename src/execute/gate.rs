//! Waits until every object of a step is ready, and says what it waits for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::Instant;

use super::event::{Cause, EventKind, Failure};
use super::failed::failed;
use super::judge::{Bench, Ends};
use super::probe;
use super::run::Shared;
use crate::cluster::error::ClusterError;
use crate::code::Code;
use crate::diagnose::Diagnosis;
use crate::health;
use crate::health::around::{self, Need};
use crate::health::cel::{Gate, GateError};
use crate::model::component::GateSpec;
use crate::model::duration::human;
use crate::model::object::{Object, ObjectId};
use crate::plan::{Plan, Step, edges};

/// How long the look for a cause may take.
const DIAGNOSIS: Duration = Duration::from_secs(20);

/// How long the last look at what is waited for may take, beyond the deadline.
const LAST_LOOK: Duration = Duration::from_secs(3);

/// Begins to watch what a step is about to write and will wait for: then what the server answers to the writes is known,
/// and a Job that is gone before anybody waits for it was seen.
pub(crate) fn expect(shared: &Shared<'_>, step: &Step) {
    let Ok(cluster) = shared.cluster() else { return };
    for object in expected(step) {
        shared.watches.expect(cluster, object);
    }
}

/// The objects that a step writes and waits for.
fn expected(step: &Step) -> impl Iterator<Item = &Object> {
    let written = step.actions.iter().filter(|action| action.verb.writes() && !action.finished);
    written.filter_map(|action| action.object.as_deref()).filter(|object| is_awaited(step, object))
}

fn is_awaited(step: &Step, object: &Object) -> bool {
    health::is_gated(&object.id.kind.group, &object.id.kind.kind)
        || step.gates.iter().any(|spec| edges::gate_is_of(spec, &object.id))
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
        .filter(|object| is_awaited(step, object))
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
    for object in objects.iter().copied().chain(expected(step)) {
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
    let mut asked = false;
    loop {
        let now = Instant::now();
        match bench.look(now) {
            Ok(()) => {}
            Err(Ends::Broken(message)) => return Err(broken_gate(message)),
            Err(Ends::Failed(id, reason)) => return Err(not_ready(shared, &id, &reason, started).await),
        }
        let (id, reason, soft, until) = if let Some((id, first)) = bench.first_open() {
            ready_since = None;
            let (mut reason, soft) = first.missing();
            if let Some(trouble) = shared.watches.trouble(&id.kind) {
                reason = format!("{reason} (not watched: {trouble})");
            }
            (id, reason, soft, deadline)
        } else {
            let end = *ready_since.get_or_insert(now) + stable;
            if end <= now {
                warn_ungated(shared, step, &bench);
                return Ok(bench.complete());
            }
            (steady(step, objects), format!("ready, and must stay so for {}", human(stable)), false, end)
        };
        if now >= deadline {
            // Its watch may have fallen silent.
            if !std::mem::replace(&mut asked, true) {
                ask_once_more(shared, &bench.open()).await;
                continue;
            }
            return Err(not_ready(shared, id, &reason, started).await);
        }
        let current = (id.clone(), without_generated(&reason));
        if shown.as_ref() != Some(&current) {
            shared.report(EventKind::Waiting {
                step: step.id.clone(),
                object: id.to_string(),
                reason,
                remaining: bench.count_open(),
                soft_failure: soft,
            });
            shown = Some(current);
        }
        bench.turn(until.min(deadline)).await;
    }
}

/// Reads what is waited for, in as little time as servers that are well take; what cannot be read stays what it was.
async fn ask_once_more(shared: &Shared<'_>, open: &[&Object]) {
    let Ok(cluster) = shared.cluster() else { return };
    let asked = stream::iter(open).for_each_concurrent(shared.options.concurrency, |object| async move {
        if let Ok(Some(live)) = cluster.get(&object.id, &object.version).await {
            shared.watches.told(&object.id, &live);
        }
    });
    let _ = tokio::time::timeout(LAST_LOOK, asked).await;
}

/// The object that must stay ready: the first that such a gate is of.
fn steady<'a>(step: &Step, objects: &[&'a Object]) -> &'a ObjectId {
    let is_awaited = |object: &&&Object| {
        let mut gates = step.gates.iter().filter(|gate| gate.stable.is_some());
        gates.any(|gate| edges::gate_is_of(gate, &object.id))
    };
    let found = objects.iter().find(is_awaited).or(objects.first());
    &found.expect("a step without objects waits for nothing").id
}

/// A reason with `*` in the place of what Kubernetes adds to names that it makes up: each try has another pod's name, and
/// is the same wait.
fn without_generated(reason: &str) -> String {
    let mut text = String::with_capacity(reason.len());
    for word in reason.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
        let end = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).len();
        let (mut name, rest) = word.split_at(end);
        let mut made_up = 0;
        while let Some((stem, _)) = name.rsplit_once('-').filter(|(_, last)| is_generated(last)) {
            (name, made_up) = (stem, made_up + 1);
        }
        text.push_str(name);
        text.push_str(&"-*".repeat(made_up));
        text.push_str(rest);
    }
    text
}

/// Whether a part of a name was made up: five characters, or the eight to ten of a template's hash, of those that
/// Kubernetes takes (`k8s.io/apimachinery/pkg/util/rand`: no vowels, and nothing that looks like another).
fn is_generated(part: &str) -> bool {
    matches!(part.len(), 5 | 8..=10)
        && part.bytes().all(|byte| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte))
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

fn warn_ungated(shared: &Shared<'_>, step: &Step, bench: &Bench<'_>) {
    for id in bench.unknown() {
        shared.report(EventKind::Warning {
            message: format!(
                "{id} of {} was applied and is not gated: no rule knows its kind",
                step.id.component()
            ),
        });
    }
}

async fn not_ready(shared: &Shared<'_>, id: &ObjectId, reason: &str, started: Instant) -> Failure {
    let took = human(started.elapsed());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_that_differ_in_made_up_names_only_are_the_same() {
        for (reason, masked) in [
            ("pods \"x-557r5b4prg-wldg5\" is forbidden", "pods \"x-*-*\" is forbidden"),
            ("pods \"x-557r5b4prg-zzz22\" is forbidden", "pods \"x-*-*\" is forbidden"),
            ("pod web-0 of cert-manager, 1 of 3", "pod web-0 of cert-manager, 1 of 3"),
        ] {
            assert_eq!(without_generated(reason), masked);
        }
    }
}
