//! What a gate knows of each of its objects: how it is judged now, since when it looks like a failure, and until when
//! its readiness has yet to prove itself.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::run::Shared;
use crate::cluster::watch::Listener;
use crate::health::around::Around;
use crate::health::cel::Gate;
use crate::health::{self, Context, Health, SoftCause};
use crate::model::component::GateSpec;
use crate::model::duration::human;
use crate::model::object::{Object, ObjectId};
use crate::plan::{Action, Step, Verb, edges};

/// How long an object of a kind that nobody knows may be silent before it counts as applied and not gated.
const SILENT: Duration = Duration::from_secs(30);

/// How long a workload must stay ready whose containers count as ready as soon as they are started.
const PROOF: Duration = Duration::from_secs(5);

/// The same, once it was ready and then was not.
const LONGER_PROOF: Duration = Duration::from_secs(30);

/// Why readiness alone is no proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Its containers are ready as soon as they are started.
    NoProbe,
    /// It was changed, and what it says may be of before that.
    Undated,
}

/// What a gate says of one object now.
pub(super) struct Judged {
    seen: Option<Arc<Value>>,
    health: Health,
    /// Since when it looks like which failure.
    stuck: BTreeMap<SoftCause, Instant>,
    /// Until when it must stay ready to count as it.
    proves: Option<Instant>,
    /// Why readiness alone is no proof of it.
    doubt: Option<Doubt>,
    /// It was ready, and then was not.
    fell: bool,
}

/// Where an object stands at a moment.
pub(super) enum Stand {
    /// It holds nothing up.
    Ready,
    /// It is waited for; it stands elsewhere at that time, even if nothing changes.
    Open(Option<Instant>),
    /// It has failed.
    Failed(String),
}

impl Judged {
    /// Where it stands, in a gate that began at `started`. `grace`: the component's own.
    pub(super) fn stands(&self, now: Instant, started: Instant, grace: Option<Duration>) -> Stand {
        let ready_at = |at: Instant| if at <= now { Stand::Ready } else { Stand::Open(Some(at)) };
        match &self.health {
            Health::Ready => self.proves.map_or(Stand::Ready, ready_at),
            Health::Unknown => ready_at(started + SILENT),
            Health::Progressing(_) => Stand::Open(None),
            Health::Failed(reason) => Stand::Failed(reason.clone()),
            Health::Stuck(soft) => {
                let grace = grace.or(soft.ripe.then(|| soft.cause.grace()));
                match self.stuck.get(&soft.cause).zip(grace).map(|(since, grace)| *since + grace) {
                    Some(limit) if limit <= now => Stand::Failed(soft.message.clone()),
                    limit => Stand::Open(limit),
                }
            }
        }
    }

    /// What is missing, and whether it looks like a failure.
    pub(super) fn missing(&self) -> (String, bool) {
        match &self.health {
            Health::Progressing(reason) | Health::Failed(reason) => (reason.clone(), false),
            Health::Stuck(soft) => (soft.message.clone(), true),
            Health::Unknown => ("no status yet".to_owned(), false),
            Health::Ready => {
                let span = human(if self.fell { LONGER_PROOF } else { PROOF });
                let why = match self.doubt {
                    None | Some(Doubt::NoProbe) => "it has no readiness probe",
                    Some(Doubt::Undated) => "its status does not say of which generation it is",
                };
                (format!("ready, and must stay so for {span}: {why}"), false)
            }
        }
    }

    /// Whether it counts as ready without any rule for its kind.
    pub(super) fn is_unknown(&self) -> bool {
        self.health == Health::Unknown
    }

    /// What follows on `before`.
    fn follow(mut self, before: Option<&Self>, now: Instant) -> Self {
        let was_ready = before.is_some_and(|before| before.health == Health::Ready);
        let proving =
            before.is_some_and(|before| was_ready && before.proves.is_some_and(|until| now < until));
        let was_stuck = before.is_some_and(|before| matches!(before.health, Health::Stuck(_)));
        self.fell = before.is_some_and(|before| before.fell || proving && self.health != Health::Ready);
        // That it is ready again was said after the change.
        self.doubt = self.doubt.filter(|doubt| !(*doubt == Doubt::Undated && self.fell));
        match &self.health {
            Health::Ready if was_ready => self.proves = before.and_then(|before| before.proves),
            Health::Ready if self.doubt.is_some() => {
                self.proves = Some(now + if self.fell { LONGER_PROOF } else { PROOF });
            }
            Health::Ready
            | Health::Progressing(_)
            | Health::Stuck(_)
            | Health::Failed(_)
            | Health::Unknown => {}
        }
        // Between two ends a container that crashes is ready for a while: that is the same failure still.
        if was_stuck || proving || self.proves.is_some_and(|until| now < until) {
            self.stuck = before.map(|before| before.stuck.clone()).unwrap_or_default();
        }
        if let Health::Stuck(soft) = &self.health {
            self.stuck.entry(soft.cause).or_insert(now);
        }
        self
    }
}

/// All objects of a gate. Each is judged when something that it was judged by has changed, and looked at when it
/// stands elsewhere by the time alone.
pub(super) struct Bench<'a> {
    step: &'a Step,
    /// In the order of their names, each once.
    objects: Vec<&'a Object>,
    gates: &'a [(&'a GateSpec, Gate)],
    /// What this run has written.
    written: HashSet<&'a ObjectId>,
    /// What of it was there before.
    updated: HashSet<&'a ObjectId>,
    /// What is heard of is the place of an object in `objects`.
    listener: Listener,
    judged: Vec<Option<Judged>>,
    started: Instant,
    /// What is waited for: whether it is made by what the step applied, and its place.
    open: BTreeSet<(bool, usize)>,
    /// When which objects stand elsewhere, even if nothing changes.
    wakes: BTreeSet<(Instant, usize)>,
    /// The same by object.
    wake: Vec<Option<Instant>>,
}

/// Whether what an action changes may be what a status speaks of: what is in `metadata` is of no generation.
fn may_change_a_status(action: &Action) -> bool {
    let changes = &action.changes;
    changes.is_empty() || changes.iter().any(|change| !change.field.starts_with(".metadata."))
}

/// Why a gate ends without being ready.
pub(super) enum Ends {
    /// An expression cannot be evaluated.
    Broken(String),
    /// An object has failed, with why.
    Failed(ObjectId, String),
}

impl<'a> Bench<'a> {
    /// Nothing is judged yet.
    pub(super) fn new(
        shared: &'a Shared<'a>,
        step: &'a Step,
        objects: &[&'a Object],
        gates: &'a [(&'a GateSpec, Gate)],
    ) -> Self {
        let written = step.actions.iter().filter(|action| action.verb.writes());
        let updated = written.clone().filter(|action| matches!(action.verb, Verb::Update | Verb::Adopt));
        let updated = updated.filter(|action| may_change_a_status(action));
        let sorted: BTreeMap<&ObjectId, &Object> =
            objects.iter().rev().map(|object| (&object.id, *object)).collect();
        let objects: Vec<&Object> = sorted.into_values().collect();
        Self {
            step,
            gates,
            written: written.map(|action| &action.id).collect(),
            updated: updated.map(|action| &action.id).collect(),
            listener: shared.watches.listen(),
            judged: objects.iter().map(|_| None).collect(),
            started: Instant::now(),
            open: BTreeSet::new(),
            wakes: BTreeSet::new(),
            wake: vec![None; objects.len()],
            objects,
        }
    }

    /// Judges each object of which anything has changed since the last look.
    pub(super) fn look(&mut self, now: Instant) -> Result<(), Ends> {
        let mut changed = self.listener.take();
        let unseen = self.judged.iter().enumerate().filter(|(_, judged)| judged.is_none());
        changed.extend(unseen.map(|(index, _)| index));
        for index in &changed {
            self.judge_again(*index, now).map_err(Ends::Broken)?;
        }
        while let Some((at, index)) = self.wakes.first().copied().filter(|(at, _)| *at <= now) {
            self.wakes.remove(&(at, index));
            changed.insert(index);
        }
        changed.into_iter().try_for_each(|index| self.place(index, now))
    }

    fn judge_again(&mut self, index: usize, now: Instant) -> Result<(), String> {
        let Some(object) = self.objects.get(index).copied() else { return Ok(()) };
        let view = self.listener.view(index);
        let seen = view.get(&object.id);
        let (health, doubt) = match &seen {
            None => (health::gone(view.last(&object.id).as_deref()), None),
            Some(live) => self.judge(object, live, &view)?,
        };
        let Some(slot) = self.judged.get_mut(index) else { return Ok(()) };
        // What was ready before the run has proved itself.
        let doubt = doubt.filter(|_| slot.is_some() || self.written.contains(&object.id));
        let judged = Judged { seen, health, stuck: BTreeMap::new(), proves: None, doubt, fell: false };
        *slot = Some(judged.follow(slot.as_ref(), now));
        Ok(())
    }

    /// Says where an object stands now.
    fn place(&mut self, index: usize, now: Instant) -> Result<(), Ends> {
        let (Some(object), Some(Some(judged))) = (self.objects.get(index), self.judged.get(index)) else {
            return Ok(());
        };
        // What pods make when they run says less than the pods.
        let made = self.step.awaits.iter().any(|made| made.id == object.id);
        let until = match judged.stands(now, self.started, self.step.grace) {
            Stand::Ready => {
                self.open.remove(&(made, index));
                None
            }
            Stand::Failed(reason) => return Err(Ends::Failed(object.id.clone(), reason)),
            Stand::Open(until) => {
                self.open.insert((made, index));
                until
            }
        };
        let Some(wake) = self.wake.get_mut(index) else { return Ok(()) };
        if let Some(before) = std::mem::replace(wake, until) {
            self.wakes.remove(&(before, index));
        }
        self.wakes.extend(until.map(|at| (at, index)));
        Ok(())
    }

    /// What is said to be waited for, and how it is judged.
    pub(super) fn first_open(&self) -> Option<(&'a ObjectId, &Judged)> {
        let (_, index) = self.open.first()?;
        Some((&self.objects.get(*index)?.id, self.judged.get(*index)?.as_ref()?))
    }

    /// What is waited for.
    pub(super) fn open(&self) -> Vec<&'a Object> {
        self.open.iter().filter_map(|(_, index)| self.objects.get(*index).copied()).collect()
    }

    /// How many objects are waited for.
    pub(super) fn count_open(&self) -> usize {
        self.open.len()
    }

    /// Waits until there is something to look at, but no longer than `until`.
    pub(super) async fn turn(&self, until: Instant) {
        let until = self.wakes.first().map_or(until, |(at, _)| until.min(*at));
        tokio::select! {
            biased;
            () = self.listener.changed() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }

    /// The objects that count as ready though no rule knows their kinds.
    pub(super) fn unknown(&self) -> impl Iterator<Item = &'a ObjectId> {
        let all = self.objects.iter().zip(&self.judged);
        all.filter(|(_, judged)| judged.as_ref().is_some_and(Judged::is_unknown))
            .map(|(object, _)| &object.id)
    }

    /// How an object is judged, and why readiness alone is no proof of it.
    fn judge(
        &self,
        object: &Object,
        live: &Value,
        around: &dyn Around,
    ) -> Result<(Health, Option<Doubt>), String> {
        let context = Context { may_be_empty: self.step.may_be_empty, around };
        let mut own = self.gates.iter().filter(|(spec, _)| edges::gate_is_of(spec, &object.id)).peekable();
        let undated = self.updated.contains(&object.id) && health::is_undated(live);
        // Its maker says when it is ready.
        let unprobed = own.peek().is_none() && health::is_unproved(live);
        let doubt = if undated { Some(Doubt::Undated) } else { unprobed.then_some(Doubt::NoProbe) };
        let health = health::judge(live, own.map(|(spec, gate)| (spec.of.as_str(), gate)), context)?;
        let ended = !self.step.id.is_hook() || health::has_ended(live);
        Ok(match health {
            Health::Ready if !ended => (Health::Progressing("it has not ended yet".to_owned()), doubt),
            health => (health, doubt),
        })
    }

    /// The Jobs that are done, and that their time to live takes away.
    pub(super) fn complete(&self) -> Vec<ObjectId> {
        let last = |index: usize, object: &Object| {
            let seen = self.judged.get(index).and_then(Option::as_ref).and_then(|judged| judged.seen.clone());
            seen.or_else(|| self.listener.view(index).last(&object.id))
        };
        let all = self.objects.iter().enumerate();
        all.filter(|(index, object)| last(*index, object).is_some_and(|job| health::is_done_job(&job)))
            .map(|(_, object)| object.id.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Soft;

    const NO_PROBE: Option<Doubt> = Some(Doubt::NoProbe);

    fn stuck(cause: SoftCause, ripe: bool) -> Health {
        Health::Stuck(Soft { cause, message: format!("{cause:?}"), ripe })
    }

    /// Where an object stands after each of some changes, at these seconds: `ready`, `failed`, or `open`, until when.
    fn stands(doubt: Option<Doubt>, changes: &[(u64, Health)]) -> Vec<String> {
        let start = Instant::now();
        let mut before: Option<Judged> = None;
        let mut all = Vec::new();
        for (at, health) in changes {
            let now = start + Duration::from_secs(*at);
            let health = health.clone();
            let judged =
                Judged { seen: None, health, stuck: BTreeMap::new(), proves: None, doubt, fell: false };
            let judged = judged.follow(before.as_ref(), now);
            all.push(match judged.stands(now, start, None) {
                Stand::Ready => "ready".to_owned(),
                Stand::Failed(_) => "failed".to_owned(),
                Stand::Open(None) => "open".to_owned(),
                Stand::Open(Some(until)) => format!("open until {}", (until - start).as_secs()),
            });
            before = Some(judged);
        }
        all
    }

    #[test]
    fn a_failure_must_last_for_its_own_grace() {
        let pull = |at| (at, stuck(SoftCause::ImagePull, true));
        let refused = |at| (at, stuck(SoftCause::ImageRefused, true));
        // What is found out late has not lasted yet; what comes and goes has, as long as all is not well.
        assert_eq!(
            stands(None, &[pull(0), refused(100), pull(110), refused(160)]),
            ["open until 180", "open until 160", "open until 180", "failed"]
        );
        let slow = || Health::Progressing("slow".to_owned());
        assert_eq!(
            stands(None, &[pull(0), (100, slow()), pull(170)]),
            ["open until 180", "open", "open until 350"]
        );
        // Too few restarts: no time is enough.
        assert_eq!(
            stands(
                None,
                &[(0, stuck(SoftCause::CrashLoop, false)), (900, stuck(SoftCause::CrashLoop, true))]
            ),
            ["open", "failed"]
        );
    }

    #[test]
    fn without_a_probe_readiness_must_last_and_longer_once_it_did_not() {
        let crash = |at, ripe| (at, stuck(SoftCause::CrashLoop, ripe));
        let ready = |at| (at, Health::Ready);
        assert_eq!(stands(None, &[ready(1), ready(2)]), ["ready", "ready"]);
        assert_eq!(
            stands(NO_PROBE, &[ready(1), ready(5), ready(6)]),
            ["open until 6", "open until 6", "ready"]
        );
        // Ready for a moment between two ends is no end of the failure.
        assert_eq!(
            stands(
                NO_PROBE,
                &[ready(1), crash(3, false), ready(20), crash(25, false), ready(60), crash(183, true)]
            ),
            ["open until 6", "open", "open until 50", "open", "open until 90", "open until 363"]
        );
        assert_eq!(
            stands(
                NO_PROBE,
                &[ready(1), crash(3, false), ready(20), crash(25, false), ready(160), crash(183, true)]
            ),
            ["open until 6", "open", "open until 50", "open", "open until 190", "failed"]
        );
    }

    /// Found by reading: what a custom resource said before it was changed counted as said of the change.
    #[test]
    fn a_status_that_does_not_say_of_what_it_is_must_last_or_change() {
        let undated = Some(Doubt::Undated);
        let ready = |at| (at, Health::Ready);
        let busy = |at| (at, Health::Progressing("busy".to_owned()));
        assert_eq!(
            stands(undated, &[ready(1), ready(5), ready(6)]),
            ["open until 6", "open until 6", "ready"]
        );
        // Its operator has looked: what it says then is of the change, and there is nothing to prove.
        assert_eq!(stands(undated, &[ready(1), busy(2), ready(9)]), ["open until 6", "open", "ready"]);
    }
}
