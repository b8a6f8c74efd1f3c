//! What the planner decides about what is there already: what moved, what is
//! left over, and what the user must allow.

use std::sync::Arc;

use serde_json::json;

use super::admission_tests::{any_rule, webhook};
use super::live::{FieldConflict, Leftover, Live, goes_along};
use super::planner::{Allowed, Desired, Observed, Verdict, plan};
use super::tests::{as_wanted, component, crd, deployment, edges, named, of};
use super::{Plan, Reason, Stage};
use crate::model::names::ComponentName;
use crate::model::object::Object;

/// A component, its objects, and what it waited for.
type Known<'a> = (&'a str, &'a [&'a Arc<Object>], &'a [&'a str]);

/// What the inventories have, and what their components need.
fn known(inventories: &[Known<'_>]) -> Observed {
    let mut observed = Observed::default();
    for (name, objects, needs) in inventories {
        let component: ComponentName = name.parse().unwrap();
        let ids = objects.iter().map(|object| object.id.clone()).collect();
        observed.inventories.insert(component.clone(), ids);
        observed.needs.insert(component, needs.iter().map(|need| need.parse().unwrap()).collect());
    }
    observed
}

fn actions(plan: &Plan) -> Vec<String> {
    let steps = plan.steps.iter().flat_map(|step| step.actions.iter().map(move |action| (step, action)));
    steps
        .map(|(step, action)| {
            let note = action.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
            format!("{} {:?} {}{note}", step.id, action.verb, action.id)
        })
        .collect()
}

#[test]
fn what_moved_to_another_component_is_forgotten_by_the_old_one_and_not_deleted() {
    let config = named("v1", "ConfigMap", Some("x"), "moved");
    let desired = of(vec![component("new", vec![(Stage::Objects, Arc::clone(&config))])]);
    let mut observed = known(&[("old", &[&config], &[])]);
    observed.objects.insert(config.id.clone(), Live { recorded: false, ..as_wanted() });
    let made = plan(&desired, &observed).unwrap();
    assert_eq!(
        actions(&made),
        ["new/objects Keep ConfigMap x/moved", "old/prune Forget ConfigMap x/moved: it is of new now"]
    );
    assert!(!made.is_empty() && made.edges.iter().any(|edge| edge.reason == Reason::PruneOrder));
}

#[test]
fn components_go_before_what_they_needed_and_in_turns() {
    let (crd, database) = (crd("db.example", "Database"), named("db.example/v1", "Database", Some("x"), "a"));
    let operator = deployment("x", "operator", &json!({}));
    let config = named("v1", "ConfigMap", Some("x"), "a");
    let webhook = webhook(&any_rule(), &json!({}));
    let observed = known(&[
        ("a-operator", &[&crd, &operator, &webhook], &["network"]),
        ("b-app", &[&config, &database], &["c-between"]),
        ("c-between", &[], &["a-operator"]),
        ("network", &[&named("v1", "ConfigMap", Some("y"), "n")], &[]),
        // These need each other: by name, and without a cycle.
        ("y", &[&named("v1", "ConfigMap", Some("y"), "y")], &["z"]),
        ("z", &[&named("v1", "ConfigMap", Some("y"), "z")], &["y"]),
    ]);
    let mut desired = of(Vec::new());
    desired.allowed.data_loss = true;
    let made = plan(&desired, &observed).unwrap();
    let order: Vec<String> = made.steps.iter().map(|step| step.id.to_string()).collect();
    insta::assert_debug_snapshot!(order, @r#"
        [
            "y/prune",
            "z/prune",
            "b-app/prune",
            "c-between/prune",
            "a-operator/prune",
            "network/prune",
        ]
    "#);
    insta::assert_debug_snapshot!(actions(&made), @r#"
        [
            "y/prune Delete ConfigMap y/y",
            "z/prune Delete ConfigMap y/z",
            "b-app/prune Delete Database x/a",
            "b-app/prune Delete ConfigMap x/a",
            "a-operator/prune Delete ValidatingWebhookConfiguration judge",
            "a-operator/prune Delete Deployment x/operator",
            "a-operator/prune Delete CustomResourceDefinition databases.db.example",
            "network/prune Delete ConfigMap y/n",
        ]
    "#);
    insta::assert_debug_snapshot!(edges(&made), @r#"
        [
            "y/prune Ready -> z/prune Apply: what is used goes after what uses it",
            "b-app/prune Ready -> c-between/prune Apply: what is used goes after what uses it",
            "b-app/prune Ready -> a-operator/prune Apply: what is used goes after what uses it",
            "c-between/prune Ready -> a-operator/prune Apply: what is used goes after what uses it",
            "b-app/prune Ready -> network/prune Apply: what is used goes after what uses it",
            "c-between/prune Ready -> network/prune Apply: what is used goes after what uses it",
            "a-operator/prune Ready -> network/prune Apply: what is used goes after what uses it",
        ]
    "#);
}

#[test]
fn data_and_what_is_marked_is_kept_and_named() {
    let config = |name: &str| named("v1", "ConfigMap", Some("x"), name);
    let (claim, mine) = (named("v1", "PersistentVolumeClaim", Some("x"), "data"), config("mine"));
    // Only the real ones hold data.
    let other = named("other.example/v1", "Namespace", None, "x");
    let (marked, gone, foreign) = (config("marked"), config("gone"), config("foreign"));
    let mut observed = known(&[("old", &[&claim, &mine, &other, &marked, &gone, &foreign], &[])]);
    observed.leftovers = [
        (marked.id.clone(), Leftover::Marked),
        (gone.id.clone(), Leftover::Gone),
        (foreign.id.clone(), Leftover::Foreign),
    ]
    .into();
    let mut desired = of(Vec::new());
    let made = plan(&desired, &observed).unwrap();
    insta::assert_debug_snapshot!(actions(&made), @r#"
        [
            "old/prune Delete Namespace x",
            "old/prune Forget ConfigMap x/foreign: what is there now was made by others",
            "old/prune Forget ConfigMap x/gone: it is not there",
            "old/prune Delete ConfigMap x/mine",
        ]
    "#);
    let kept: Vec<String> = made.guarded.iter().map(|it| format!("{} {}", it.object, it.why)).collect();
    assert_eq!(
        kept,
        [
            "ConfigMap x/marked is marked to be kept: `--allow-data-loss` deletes it",
            "PersistentVolumeClaim x/data holds data: `--allow-data-loss` deletes it",
        ]
    );
    // What is kept is no work.
    let rest = known(&[("old", &[&claim], &[])]);
    assert!(plan(&desired, &rest).unwrap().is_empty());
    desired.allowed.data_loss = true;
    let made = plan(&desired, &observed).unwrap();
    assert_eq!((made.counts().delete, made.guarded.len()), (4, 0));
    // What claims belong to holds their data.
    let set = named("apps/v1", "StatefulSet", Some("x"), "set");
    let mut observed = known(&[("old", &[&set], &[])]);
    observed.leftovers = [(set.id.clone(), Leftover::Claims)].into();
    assert_eq!(plan(&desired, &observed).unwrap().counts().delete, 1);
    desired.allowed.data_loss = false;
    let made = plan(&desired, &observed).unwrap();
    let kept: Vec<String> = made.guarded.iter().map(|it| format!("{} {}", it.object, it.why)).collect();
    assert_eq!(kept, ["StatefulSet x/set holds data: `--allow-data-loss` deletes it"]);
    desired.allowed.data_loss = true;
    // But never what others stand on.
    let (space, kind) = (named("v1", "Namespace", None, "x"), crd("db.example", "Database"));
    let observed = known(&[("old", &[&space, &kind], &[])]);
    let database = named("db.example/v1", "Database", Some("x"), "a");
    let served = Some([(database.id.kind.clone(), ["v1".to_owned()].into())].into());
    desired.components.push(component("app", vec![(Stage::Objects, database)]));
    let made = plan(&desired, &Observed { served, ..observed }).unwrap();
    assert_eq!((made.counts().delete, made.guarded.len()), (0, 2));
}

/// Found by reading: `kube-system` was said to hold data in each run, and namespaces of others were deleted.
#[test]
fn namespaces_of_every_cluster_and_of_others_are_forgotten() {
    let namespace = |name: &str| named("v1", "Namespace", None, name);
    let (usual, engines, theirs, ours) =
        (namespace("kube-system"), namespace("cozy-system"), namespace("theirs"), namespace("ours"));
    let mut observed = known(&[("old", &[&usual, &engines, &theirs, &ours], &[])]);
    observed.leftovers = [(theirs.id.clone(), Leftover::Shared)].into();
    let mut desired = of(Vec::new());
    let forgotten = [
        "old/prune Forget Namespace theirs: others made it, or have fields in it",
        "old/prune Forget Namespace cozy-system: every cluster has it",
        "old/prune Forget Namespace kube-system: every cluster has it",
    ];
    let made = plan(&desired, &observed).unwrap();
    assert_eq!((actions(&made), made.guarded.len()), (forgotten.map(str::to_owned).to_vec(), 1));
    desired.allowed.data_loss = true;
    let made = plan(&desired, &observed).unwrap();
    let gone = ["old/prune Delete Namespace ours"].into_iter().chain(forgotten);
    assert_eq!(actions(&made), gone.collect::<Vec<_>>());
}

/// Found by reading: a second cloud on a cluster deleted all of the first.
#[test]
fn a_cluster_with_components_of_another_cloud_is_refused() {
    let desired = super::planner::Desired { cloud: Some("b".to_owned()), ..of(Vec::new()) };
    let config = named("v1", "ConfigMap", Some("x"), "a");
    let of_clouds = |clouds: &[&str]| Observed {
        clouds: clouds.iter().map(|cloud| (*cloud).to_owned()).collect(),
        ..known(&[("old", &[&config], &[])])
    };
    let errors = plan(&desired, &of_clouds(&["a", "b"])).unwrap_err();
    let said: Vec<String> =
        errors.iter().map(|error| format!("{}: {error}; {}", error.code(), error.hint())).collect();
    insta::assert_debug_snapshot!(said, @r#"
        [
            "C2518: this cluster has components of cloud `a`, and this is cloud `b`: they would be deleted; put the components of both into one cozy.yaml; where it is the same cloud under a new name: `kubectl -n cozy-system label secret -l cozy/inventory cozy/cloud=b --overwrite`",
        ]
    "#);
    assert!(errors.iter().all(super::PlanError::is_of_cluster));
    // Earlier versions of cozy did not say.
    for own in [&["b"][..], &[]] {
        assert_eq!(plan(&desired, &of_clouds(own)).unwrap().counts().delete, 1);
    }
}

#[test]
fn what_the_user_must_allow_is_refused_all_at_once() {
    let (taken, ours) =
        (named("v1", "ConfigMap", Some("x"), "taken"), named("v1", "ConfigMap", Some("x"), "ours"));
    let (set, theirs) =
        (named("apps/v1", "StatefulSet", Some("x"), "set"), named("v1", "Secret", Some("x"), "theirs"));
    let job = named("batch/v1", "Job", Some("x"), "job");
    let objects = [&taken, &ours, &set, &theirs, &job].map(|object| (Stage::Objects, Arc::clone(object)));
    let mut desired = of(vec![component("app", objects.into())]);
    let conflict = |field: &str, ours| FieldConflict {
        field: field.to_owned(),
        manager: "hand".to_owned(),
        ours,
        scaled: false,
    };
    let change = |conflicts| Live {
        verdict: Verdict::Change { changes: Vec::new(), conflicts, refused: None },
        ready: true,
        recorded: true,
        ..Live::default()
    };
    let fixed =
        || Live { verdict: Verdict::Fixed { fields: vec!["spec (no)".to_owned()] }, ..change(Vec::new()) };
    let objects = [
        (taken.id.clone(), change(vec![conflict(".data.a", true), conflict(".data.b", false)])),
        (ours.id.clone(), change(vec![conflict(".data.a", true)])),
        (set.id.clone(), fixed()),
        (theirs.id.clone(), Live { foreign: Some(vec!["kubectl".to_owned()]), ..as_wanted() }),
        (job.id.clone(), fixed()),
    ]
    .into();
    let mut observed = Observed { objects, ..Observed::default() };
    let said = |desired: &Desired| -> Vec<String> {
        let errors = plan(desired, &observed).unwrap_err();
        errors.iter().map(|error| format!("{}: {error}; {}", error.code(), error.hint())).collect()
    };
    insta::assert_debug_snapshot!(said(&desired), @r#"
        [
            "C4003: component `app`: ConfigMap x/taken has fields that others own: .data.b (`hand`); `--force-conflicts` takes these fields over; `ignoreFields:` in component.yaml leaves them to their managers",
            "C2506: component `app`: StatefulSet x/set cannot be changed as wanted: spec (no); take the change back; or delete the object with `kubectl delete`, where that loses nothing, and run the same command again",
            "C2507: component `app`: Secret x/theirs exists, and is of no inventory: `kubectl` made it; `--adopt` takes it over; else give one of the two another name",
        ]
    "#);
    desired.allowed = Allowed { conflicts: true, adopt: true, data_loss: false };
    assert_eq!(said(&desired).len(), 1);
    observed.objects.remove(&set.id);
    insta::assert_debug_snapshot!(actions(&plan(&desired, &observed).unwrap()), @r#"
        [
            "app/objects Update ConfigMap x/taken",
            "app/objects Update ConfigMap x/ours",
            "app/objects Create StatefulSet x/set",
            "app/objects Adopt Secret x/theirs: kubectl made it",
            "app/objects Replace Job x/job: only a new one can have spec (no)",
        ]
    "#);
}

#[test]
fn what_goes_with_its_namespace_or_definition_is_made_again() {
    let (namespace, other) = (named("v1", "Namespace", None, "x"), named("v1", "Namespace", None, "y"));
    let inside = named("v1", "ConfigMap", Some("x"), "a");
    let outside = named("v1", "ConfigMap", Some("y"), "a");
    let (crd, database) = (crd("db.example", "Database"), named("db.example/v1", "Database", Some("y"), "a"));
    let all = [
        (Stage::Namespaces, &namespace),
        (Stage::Namespaces, &other),
        (Stage::Crds, &crd),
        (Stage::Objects, &inside),
        (Stage::Objects, &outside),
        (Stage::Resources, &database),
    ];
    let objects = all.map(|(stage, object)| (stage, Arc::clone(object)));
    let desired = of(vec![component("app", objects.to_vec())]);
    let mut observed = Observed::default();
    for (_, object) in all {
        observed.objects.insert(object.id.clone(), as_wanted());
    }
    for object in [&namespace, &crd] {
        observed.objects.insert(object.id.clone(), Live { verdict: Verdict::Going, ..as_wanted() });
    }
    goes_along(&desired, &mut observed.objects);
    let made = plan(&desired, &observed).unwrap();
    let verbs: Vec<String> =
        actions(&made).iter().map(|action| action.split(": ").next().unwrap().to_owned()).collect();
    insta::assert_debug_snapshot!(verbs, @r#"
    [
        "app/namespaces Replace Namespace x",
        "app/namespaces Keep Namespace y",
        "app/crds Replace CustomResourceDefinition databases.db.example",
        "app/objects Replace ConfigMap x/a",
        "app/objects Keep ConfigMap y/a",
        "app/resources Replace Database y/a",
    ]
    "#);
}
