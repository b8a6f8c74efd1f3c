//! Which of a chart's hooks take a turn, and in which order: as Helm runs
//! them, by weight and name, one after the other.

use cozy_chart::{Event, Hook};
use serde_json::Value;

use crate::model::object::{GroupKind, Object, split_api_version};

use crate::plan::{Stage, hooks};

/// The annotation that makes a hook of a later revision another object: it is run again.
const REVISION: &str = "cozy/revision";

/// A hook with its turn.
pub(super) struct Turn<'a> {
    pub(super) hook: &'a Hook,
    /// `None`: it has none now, and what is there of it stays.
    pub(super) stage: Option<Stage>,
}

impl Turn<'_> {
    /// What the hook is called in what is kept.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.hook.manifest.kind, self.hook.manifest.name)
    }

    /// Whether Helm runs it twice in one run, and an object cannot serve both times.
    pub(super) fn runs_twice(&self) -> bool {
        let after =
            self.hook.events.iter().any(|event| matches!(event, Event::PostInstall | Event::PostUpgrade));
        matches!(self.stage, Some(Stage::PreHooks(_))) && after && ends(self.hook)
    }
}

fn ends(hook: &Hook) -> bool {
    let (group, _) = split_api_version(&hook.manifest.api_version);
    hooks::ends(&GroupKind::new(group, hook.manifest.kind.as_str()))
}

/// The hooks in the order of their turns; those that have none last. Tests are left out.
pub(super) fn turns(hooks: &[Hook], is_upgrade: bool) -> Vec<Turn<'_>> {
    let (before, after) = if is_upgrade {
        (Event::PreUpgrade, Event::PostUpgrade)
    } else {
        (Event::PreInstall, Event::PostInstall)
    };
    let is = |hook: &&Hook, event: Event| hook.events.contains(&event);
    let pre: Vec<&Hook> = hooks.iter().filter(|hook| is(hook, before)).collect();
    let post: Vec<&Hook> = hooks.iter().filter(|hook| is(hook, after) && !is(hook, before)).collect();
    let idle = hooks.iter().filter(|hook| {
        !is(hook, before) && !is(hook, after) && hook.events.iter().any(|event| *event != Event::Test)
    });
    let idle = idle.map(|hook| Turn { hook, stage: None });
    in_turn(pre, Stage::PreHooks).into_iter().chain(in_turn(post, Stage::PostHooks)).chain(idle).collect()
}

/// By weight and name, and else by kind, as they come. What ends has a turn of its own; other
/// hooks of one weight share theirs.
fn in_turn(mut hooks: Vec<&Hook>, stage: fn(u16) -> Stage) -> Vec<Turn<'_>> {
    hooks.sort_by(|a, b| (a.weight, &a.manifest.name).cmp(&(b.weight, &b.manifest.name)));
    let mut turn = 0_u16;
    let mut before: Option<&Hook> = None;
    hooks
        .into_iter()
        .map(|hook| {
            let shares = |before: &Hook| before.weight == hook.weight && !ends(before) && !ends(hook);
            if before.is_some_and(|before| !shares(before)) {
                turn = turn.saturating_add(1);
            }
            before = Some(hook);
            Turn { hook, stage: Some(stage(turn)) }
        })
        .collect()
}

/// Marks a hook's object with the revision that runs it.
pub(super) fn mark(object: &mut Object, revision: u32) {
    let Some(metadata) = object.value.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(serde_json::Map::new()));
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert(REVISION.to_owned(), Value::String(revision.to_string()));
    }
}
