//! The steps of one component: a stage after the other, and what is done to
//! each object in them.

use std::sync::Arc;
use std::time::Duration;

use super::live::{Live, Observed, Verdict};
use super::planner::{Desired, DesiredComponent};
use super::{Action, Blocks, Edge, Milestone, Reason, Stage, Step, StepId, Verb};
use super::{edges, hooks, references};
use crate::model::component::GateSpec;
use crate::model::object::{GroupKind, Object};

/// How long a CRD takes from applied to served in discovery, for the estimate.
const CRD_SERVED: Duration = Duration::from_millis(500);

/// The steps of one component, in the order of their stages.
pub(super) fn of(component: &DesiredComponent, desired: &Desired, observed: &Observed) -> Vec<(Stage, Step)> {
    let stages = component.objects.chunk_by(|(a, _), (b, _)| a == b);
    let mut own: Vec<(Stage, Step)> = stages
        .filter_map(|objects| {
            let (stage, _) = objects.first()?;
            Some((*stage, step(component, *stage, objects, (desired, observed))))
        })
        .collect();
    let cleanups = [Stage::PreHooksDone, Stage::PostHooksDone];
    own.extend(cleanups.into_iter().filter_map(|stage| Some((stage, cleanup(component, stage, observed)?))));
    own.sort_by_key(|(stage, _)| *stage);
    own
}

/// Adds the steps of one component, and the edges between them.
pub(super) fn add(own: Vec<(Stage, Step)>, steps: &mut Vec<Step>, edges: &mut Vec<Edge>) {
    let mut previous: Option<(usize, Stage)> = None;
    let mut open = previous;
    for (stage, step) in own {
        let (to, done) = (steps.len(), step.done);
        steps.push(step);
        // What is done waits for nobody: behind it the last stage that is not done counts, too.
        let before = previous.into_iter().chain(open.filter(|_| open != previous));
        edges.extend(before.map(|(from, before)| {
            let milestone = if needs_ready(before, stage) { Milestone::Ready } else { Milestone::Applied };
            Edge { from, milestone, to, blocks: Blocks::Apply, reason: Reason::StageOrder }
        }));
        previous = Some((to, stage));
        open = if done { open } else { previous };
    }
}

/// CRDs must be served, hooks done, and a source ready, before what builds on them is sent.
fn needs_ready(before: Stage, stage: Stage) -> bool {
    matches!(before, Stage::Crds | Stage::PreHooks(_) | Stage::PostHooks(_))
        || matches!(stage, Stage::Resources | Stage::PostHooks(_) | Stage::PostHooksDone)
}

fn step(
    component: &DesiredComponent,
    stage: Stage,
    objects: &[(Stage, Arc<Object>)],
    (desired, observed): (&Desired, &Observed),
) -> Step {
    let actions: Vec<Action> = objects
        .iter()
        .map(|(_, object)| Action {
            autoscaled: desired.autoscaled.contains(&object.id),
            ..action(object, observed.objects.get(&object.id), stage)
        })
        .collect();
    let gates: Vec<GateSpec> = component
        .gates
        .iter()
        .filter(|gate| objects.iter().any(|(_, object)| edges::gate_is_of(gate, &object.id)))
        .cloned()
        .collect();
    let done = objects.iter().all(|(_, object)| {
        observed.objects.get(&object.id).is_some_and(|live| live.is_settled() && live.ready)
    });
    let extra: Duration = gates.iter().filter_map(|gate| gate.expect).map(|span| span.0).sum();
    let expect = match stage {
        Stage::Crds => CRD_SERVED,
        Stage::Objects if objects.iter().any(|(_, object)| references::has_pods(object)) => {
            component.expect + extra
        }
        Stage::PreHooks(_) | Stage::Objects | Stage::Resources | Stage::PostHooks(_) => extra,
        Stage::Generated
        | Stage::Namespaces
        | Stage::PreHooksDone
        | Stage::Webhooks
        | Stage::PostHooksDone
        | Stage::Prune => Duration::ZERO,
    };
    Step {
        actions,
        gates,
        may_be_empty: component.may_be_empty,
        grace: component.grace,
        expect: if done { Duration::ZERO } else { expect },
        done,
        ..Step::new(StepId::Stage(component.name.clone(), stage), component.deadline)
    }
}

/// Deletes the hooks that their policy deletes when they have succeeded; `None`: there are none.
fn cleanup(component: &DesiredComponent, stage: Stage, observed: &Observed) -> Option<Step> {
    let left = component.objects.iter().rev().filter(|(of, object)| {
        let live = observed.objects.get(&object.id);
        let gone = live.is_some_and(|live| matches!(live.verdict, Verdict::Finished));
        hooks::deleted_in(*of, object) == Some(stage) && !gone
    });
    let actions: Vec<Action> = left.map(|(_, object)| Action::new(object.id.clone(), Verb::Delete)).collect();
    let id = StepId::Stage(component.name.clone(), stage);
    (!actions.is_empty()).then(|| Step { actions, ..Step::new(id, component.deadline) })
}

/// What is done to one wanted object.
fn action(object: &Arc<Object>, live: Option<&Live>, stage: Stage) -> Action {
    let mut action = Action::new(object.id.clone(), Verb::Create);
    action.object = Some(Arc::clone(object));
    let Some(live) = live else { return action };
    let again = stage.is_hook() && hooks::ends(&object.id.kind);
    action.verb = match &live.verdict {
        _ if live.foreign.is_some() => Verb::Adopt,
        Verdict::Same if live.failed && is_safely_replaced(&object.id.kind, stage) => Verb::Replace,
        Verdict::Same | Verdict::Finished => Verb::Keep,
        Verdict::Change { .. } if again => Verb::Replace,
        Verdict::Change { .. } => Verb::Update,
        Verdict::Fixed { .. } | Verdict::Going => Verb::Replace,
    };
    match &live.verdict {
        Verdict::Same => {}
        Verdict::Change { .. } | Verdict::Fixed { .. } if again => {}
        Verdict::Finished => action.finished = true,
        Verdict::Change { changes, conflicts, refused } => {
            action.changes.clone_from(changes);
            action.takes.clone_from(conflicts);
            action.note =
                refused.as_ref().map(|words| format!("the API server refuses it as things are: {words}"));
        }
        Verdict::Fixed { fields } => {
            action.note = Some(format!("only a new one can have {}", fields.join(", ")));
        }
        Verdict::Going => {
            action.note = Some("it is being deleted, and made again when it is gone".to_owned());
        }
    }
    if action.verb == Verb::Replace {
        action.replaces.clone_from(&live.uid);
        let why = if again { "a hook that is run again" } else { "it has failed, and is run again" };
        action.note.get_or_insert_with(|| why.to_owned());
    }
    if let Some(managers) = live.foreign.as_ref().filter(|managers| !managers.is_empty()) {
        action.note = Some(format!("{} made it", managers.join(", ")));
    }
    action
}

/// Objects of which a new one does what the old one did, and nothing is lost with that.
pub(super) fn is_safely_replaced(kind: &GroupKind, stage: Stage) -> bool {
    (kind.group.as_str(), kind.kind.as_str()) == ("batch", "Job") || (stage.is_hook() && hooks::ends(kind))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plan::planner::plan;
    use crate::plan::tests::{component, of};

    fn object(kind: &str, name: &str, hook: &str, policy: &str) -> Arc<Object> {
        let api_version = if kind == "Job" { "batch/v1" } else { "v1" };
        let annotations = json!({ "helm.sh/hook": hook, "helm.sh/hook-delete-policy": policy });
        let metadata = json!({ "name": name, "namespace": "a", "annotations": annotations });
        let value: Value = json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata });
        Arc::new(Object::from_value(value).unwrap())
    }

    fn there(verdict: Verdict) -> Live {
        Live { verdict, ready: true, recorded: true, ..Live::default() }
    }

    #[test]
    fn a_stage_waits_for_a_changed_one_also_behind_one_that_is_done() {
        let objects = vec![
            (Stage::Generated, object("Secret", "generated", "", "")),
            (Stage::Namespaces, object("ConfigMap", "stands-for-a-namespace", "", "")),
            (Stage::Objects, object("ConfigMap", "b", "", "")),
            (Stage::PostHooks(0), object("ConfigMap", "c", "", "")),
        ];
        let done = objects[1].1.id.clone();
        let observed = Observed { objects: [(done, there(Verdict::Same))].into(), ..Observed::nothing(true) };
        let plan = plan(&of(vec![component("a", objects)]), &observed).unwrap();
        let edges: Vec<_> = plan.edges.iter().map(|edge| (edge.from, edge.to, edge.milestone)).collect();
        let (applied, ready) = (Milestone::Applied, Milestone::Ready);
        assert_eq!(edges, [(0, 1, applied), (0, 2, applied), (1, 2, applied), (2, 3, ready)]);
    }

    /// Each step with what it does.
    fn shown(objects: &[(Stage, Arc<Object>)], live: &[(usize, Live)]) -> String {
        let observed = Observed {
            objects: live.iter().map(|(at, live)| (objects[*at].1.id.clone(), live.clone())).collect(),
            ..Observed::nothing(true)
        };
        let plan = plan(&of(vec![component("a", objects.to_vec())]), &observed).unwrap();
        let described = |step: &Step| {
            let actions: Vec<String> =
                step.actions.iter().map(|action| format!("{:?} {}", action.verb, action.id)).collect();
            format!("{}{}: {}", step.id, if step.done { " (done)" } else { "" }, actions.join(", "))
        };
        plan.steps.iter().map(described).collect::<Vec<_>>().join("\n")
    }

    /// Found by reading: "run the same command again" never ran it again.
    #[test]
    fn a_job_that_failed_is_run_again_and_only_it_is_deleted_for_that() {
        let objects = [
            (Stage::Objects, object("Job", "failed", "", "")),
            (Stage::Objects, object("Job", "done", "", "")),
            (Stage::Objects, object("Pod", "pod", "", "")),
        ];
        let failed =
            || Live { failed: true, ready: false, uid: Some("u".to_owned()), ..there(Verdict::Same) };
        let live = [(0, failed()), (1, there(Verdict::Same)), (2, failed())];
        insta::assert_snapshot!(shown(&objects, &live), @"a/objects: Replace Job a/failed, Keep Job a/done, Keep Pod a/pod");
        let made = action(&objects[0].1, Some(&failed()), Stage::Objects);
        assert_eq!(made.note.as_deref(), Some("it has failed, and is run again"));
        assert_eq!(made.replaces.as_deref(), Some("u"));
    }

    #[test]
    fn hooks_take_their_turns_are_run_again_and_are_cleaned_up() {
        let both = "pre-install,pre-upgrade,post-install,post-upgrade";
        let policy = "before-hook-creation,hook-succeeded";
        let objects = [
            (Stage::PreHooks(0), object("ServiceAccount", "hook", both, policy)),
            (Stage::PreHooks(1), object("Job", "before", "pre-install", policy)),
            (Stage::PreHooks(2), object("Job", "stays", "pre-install", "")),
            (Stage::Objects, object("ConfigMap", "b", "", "")),
            (Stage::PostHooks(0), object("Pod", "after", "post-install", policy)),
        ];
        insta::assert_snapshot!(shown(&objects, &[]), @"
            a/pre-hooks: Create ServiceAccount a/hook
            a/pre-hooks-2: Create Job a/before
            a/pre-hooks-3: Create Job a/stays
            a/pre-hooks-done: Delete Job a/before
            a/objects: Create ConfigMap a/b
            a/post-hooks: Create Pod a/after
            a/post-hooks-done: Delete Pod a/after, Delete ServiceAccount a/hook
        ");
        // All of it ran: what was deleted is not made again.
        let finished = || there(Verdict::Finished);
        let same = || there(Verdict::Same);
        let all = [(0, finished()), (1, finished()), (2, same()), (3, same()), (4, finished())];
        insta::assert_snapshot!(shown(&objects, &all), @"
            a/pre-hooks (done): Keep ServiceAccount a/hook
            a/pre-hooks-2 (done): Keep Job a/before
            a/pre-hooks-3 (done): Keep Job a/stays
            a/objects (done): Keep ConfigMap a/b
            a/post-hooks (done): Keep Pod a/after
        ");
        // Killed before the clean-up; one that failed; one of an older revision.
        let failed = Live { failed: true, ready: false, ..same() };
        let older = there(Verdict::default());
        insta::assert_snapshot!(shown(&objects, &[(0, same()), (1, same()), (2, failed), (4, older)]), @"
            a/pre-hooks (done): Keep ServiceAccount a/hook
            a/pre-hooks-2 (done): Keep Job a/before
            a/pre-hooks-3: Replace Job a/stays
            a/pre-hooks-done: Delete Job a/before
            a/objects: Create ConfigMap a/b
            a/post-hooks: Replace Pod a/after
            a/post-hooks-done: Delete Pod a/after, Delete ServiceAccount a/hook
        ");
    }
}
