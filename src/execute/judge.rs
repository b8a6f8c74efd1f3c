//! What a gate knows of each of its objects: how it is judged now, since when it looks like a failure, and until when
//! its readiness has yet to prove itself.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::run::Shared;
use crate::health::cel::Gate;
use crate::health::{self, Context, Health, SoftCause};
use crate::model::component::GateSpec;
use crate::model::duration::human;
use crate::model::object::{Object, ObjectId};
use crate::plan::{Step, edges};

/// How long an object of a kind that nobody knows may be silent before it counts as applied and not gated.
const SILENT: Duration = Duration::from_secs(30);

/// How long a workload must stay ready whose containers count as ready as soon as they are started.
const PROOF: Duration = Duration::from_secs(5);

/// The same, once it was ready and then was not.
const LONGER_PROOF: Duration = Duration::from_secs(30);

/// What a gate says of one object now.
pub(super) struct Judged {
    seen: Option<Arc<Value>>,
    /// The version of what was known around it.
    version: u64,
    health: Health,
    /// Since when it looks like which failure.
    stuck: BTreeMap<SoftCause, Instant>,
    /// Until when it must stay ready to count as it.
    proves: Option<Instant>,
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
                (format!("ready, and must stay so for {span}: it has no readiness probe"), false)
            }
        }
    }

    /// Whether it counts as ready without any rule for its kind.
    pub(super) fn is_unknown(&self) -> bool {
        self.health == Health::Unknown
    }

    /// What follows on `before`. `unproved`: readiness alone is no proof of it.
    fn follow(mut self, before: Option<&Self>, unproved: bool, now: Instant) -> Self {
        let was_ready = before.is_some_and(|before| before.health == Health::Ready);
        let proving =
            before.is_some_and(|before| was_ready && before.proves.is_some_and(|until| now < until));
        let was_stuck = before.is_some_and(|before| matches!(before.health, Health::Stuck(_)));
        self.fell = before.is_some_and(|before| before.fell || proving && self.health != Health::Ready);
        match &self.health {
            Health::Ready if was_ready => self.proves = before.and_then(|before| before.proves),
            Health::Ready if unproved => {
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

/// All objects of a gate.
pub(super) struct Bench<'a> {
    shared: &'a Shared<'a>,
    step: &'a Step,
    objects: &'a [&'a Object],
    gates: &'a [(&'a GateSpec, Gate)],
    /// What this run has changed.
    written: HashSet<&'a ObjectId>,
    judged: BTreeMap<&'a ObjectId, Judged>,
}

impl<'a> Bench<'a> {
    /// Nothing is judged yet.
    pub(super) fn new(
        shared: &'a Shared<'a>,
        step: &'a Step,
        objects: &'a [&'a Object],
        gates: &'a [(&'a GateSpec, Gate)],
    ) -> Self {
        let written = step.actions.iter().filter(|action| action.verb.writes()).map(|action| &action.id);
        Self { shared, step, objects, gates, written: written.collect(), judged: BTreeMap::new() }
    }

    /// What was judged.
    pub(super) fn all(&self) -> &BTreeMap<&'a ObjectId, Judged> {
        &self.judged
    }

    /// Judges each object that changed since the last look. `Err`: a gate cannot be evaluated.
    pub(super) fn look(&mut self, now: Instant) -> Result<(), String> {
        let watches = &self.shared.watches;
        let version = watches.version();
        for object in self.objects {
            let seen = watches.get(&object.id);
            let before = self.judged.get(&object.id);
            let same = before.is_some_and(|before| match (&before.seen, &seen) {
                (Some(a), Some(b)) => Arc::ptr_eq(a, b) && before.version == version,
                // Such a Job may have come, and gone, since.
                (None, None) => !health::is_passing_job(&object.value),
                (Some(_), None) | (None, Some(_)) => false,
            });
            if same {
                continue;
            }
            let (health, unproved) = match &seen {
                None => (health::gone(watches.last(&object.id).as_deref()), false),
                Some(live) => self.judge(object, live)?,
            };
            // What was ready before the run has proved itself.
            let unproved = unproved && (before.is_some() || self.written.contains(&object.id));
            let judged = Judged { seen, version, health, stuck: BTreeMap::new(), proves: None, fell: false };
            let judged = judged.follow(before, unproved, now);
            self.judged.insert(&object.id, judged);
        }
        Ok(())
    }

    /// How an object is judged, and whether readiness alone is no proof of it.
    fn judge(&self, object: &Object, live: &Value) -> Result<(Health, bool), String> {
        let context = Context { may_be_empty: self.step.may_be_empty, around: &self.shared.watches };
        let mut own = self.gates.iter().filter(|(spec, _)| edges::gate_is_of(spec, &object.id)).peekable();
        // Its maker says when it is ready.
        let unproved = own.peek().is_none() && health::is_unproved(live);
        let health = health::judge(live, own.map(|(spec, gate)| (spec.of.as_str(), gate)), context)?;
        let ended = !self.step.id.is_hook() || health::has_ended(live);
        Ok(match health {
            Health::Ready if !ended => (Health::Progressing("it has not ended yet".to_owned()), unproved),
            health => (health, unproved),
        })
    }

    /// The Jobs that are done, and that their time to live takes away.
    pub(super) fn complete(&self) -> Vec<ObjectId> {
        let last =
            |id: &ObjectId, judged: &Judged| judged.seen.clone().or_else(|| self.shared.watches.last(id));
        let done = |(id, judged): &(&&ObjectId, &Judged)| {
            last(id, judged).is_some_and(|job| health::is_done_job(&job))
        };
        self.judged.iter().filter(done).map(|(id, _)| (*id).clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Soft;

    fn stuck(cause: SoftCause, ripe: bool) -> Health {
        Health::Stuck(Soft { cause, message: format!("{cause:?}"), ripe })
    }

    /// Where an object stands after each of some changes, at these seconds: `ready`, `failed`, or `open`, until when.
    fn stands(unproved: bool, changes: &[(u64, Health)]) -> Vec<String> {
        let start = Instant::now();
        let mut before: Option<Judged> = None;
        let mut all = Vec::new();
        for (at, health) in changes {
            let now = start + Duration::from_secs(*at);
            let health = health.clone();
            let judged =
                Judged { seen: None, version: 0, health, stuck: BTreeMap::new(), proves: None, fell: false };
            let judged = judged.follow(before.as_ref(), unproved, now);
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
            stands(false, &[pull(0), refused(100), pull(110), refused(160)]),
            ["open until 180", "open until 160", "open until 180", "failed"]
        );
        let slow = || Health::Progressing("slow".to_owned());
        assert_eq!(
            stands(false, &[pull(0), (100, slow()), pull(170)]),
            ["open until 180", "open", "open until 350"]
        );
        // Too few restarts: no time is enough.
        assert_eq!(
            stands(
                false,
                &[(0, stuck(SoftCause::CrashLoop, false)), (900, stuck(SoftCause::CrashLoop, true))]
            ),
            ["open", "failed"]
        );
    }

    #[test]
    fn without_a_probe_readiness_must_last_and_longer_once_it_did_not() {
        let crash = |at, ripe| (at, stuck(SoftCause::CrashLoop, ripe));
        let ready = |at| (at, Health::Ready);
        assert_eq!(stands(false, &[ready(1), ready(2)]), ["ready", "ready"]);
        assert_eq!(stands(true, &[ready(1), ready(5), ready(6)]), ["open until 6", "open until 6", "ready"]);
        // Ready for a moment between two ends is no end of the failure.
        assert_eq!(
            stands(
                true,
                &[ready(1), crash(3, false), ready(20), crash(25, false), ready(60), crash(183, true)]
            ),
            ["open until 6", "open", "open until 50", "open", "open until 90", "open until 363"]
        );
        assert_eq!(
            stands(
                true,
                &[ready(1), crash(3, false), ready(20), crash(25, false), ready(160), crash(183, true)]
            ),
            ["open until 6", "open", "open until 50", "open", "open until 190", "failed"]
        );
    }
}
