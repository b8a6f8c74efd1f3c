//! Kinds that components bring when their pods run.

use std::sync::Arc;

use serde_json::json;

use super::planner::{Desired, Observed, plan};
use super::tests::{as_wanted, bare, component, crd, deployment, edges, named, object, of};
use super::{Plan, Stage};
use crate::model::object::GroupKind;

/// An operator that brings pools and peers when it runs, one pool of its own, and another component's.
fn desired(rendered: bool) -> Desired {
    let pool = |name: &str| named("net.example/v1", "Pool", None, name);
    let mut objects = vec![
        (Stage::Objects, deployment("net", "operator", &json!({ "hostNetwork": true }))),
        (Stage::Resources, pool("own")),
    ];
    if rendered {
        objects.insert(0, (Stage::Crds, crd("net.example", "Pool")));
    }
    let mut network = component("network", objects);
    network.provides.cluster_kinds = vec!["Pool.v1.net.example".parse().unwrap()];
    network.provides.kinds = vec!["Peer.v1.net.example".parse().unwrap()];
    of(vec![network, component("app", vec![(Stage::Objects, pool("others"))])])
}

/// What each step waits for besides its objects.
fn awaits(plan: &Plan) -> Vec<String> {
    let steps = plan.steps.iter();
    steps.flat_map(|step| step.awaits.iter().map(move |made| format!("{}: {}", step.id, made.id))).collect()
}

#[test]
fn a_kind_that_pods_define_is_waited_for_before_its_objects_are_sent() {
    let plan = plan(&desired(false), &bare()).unwrap();
    // Nobody uses peers: whether they come may hang on a setting.
    assert_eq!(awaits(&plan), ["network/objects: CustomResourceDefinition pools.net.example"]);
    assert_eq!(plan.steps[0].awaits[0].value["spec"]["scope"], "Cluster");
    insta::assert_debug_snapshot!(edges(&plan), @r#"
        [
            "network/objects Ready -> network/resources Apply: stages go in order",
            "network/objects Ready -> app/objects Apply: Pool others is a Pool.net.example",
        ]
    "#);
}

#[test]
fn a_kind_that_is_rendered_or_served_is_not_waited_for() {
    let rendered = plan(&desired(true), &bare()).unwrap();
    assert_eq!(awaits(&rendered), [""; 0]);
    let served = Some([(GroupKind::new("net.example", "Pool"), ["v1".to_owned()].into())].into());
    let observed = Observed { served, ..bare() };
    assert_eq!(awaits(&plan(&desired(false), &observed).unwrap()), [""; 0]);
}

#[test]
fn an_operator_that_is_there_without_its_kind_is_waited_for_again() {
    let desired = desired(false);
    let operator = Arc::clone(&desired.components[0].objects[0].1);
    let observed = Observed { objects: [(operator.id.clone(), as_wanted())].into(), ..bare() };
    let plan = plan(&desired, &observed).unwrap();
    assert_eq!(awaits(&plan).len(), 1);
    assert!(!plan.steps[0].done);
}

#[test]
fn a_kind_that_nobody_declares_is_refused() {
    let mut desired = desired(false);
    desired.components[0].provides.cluster_kinds.clear();
    let stray =
        object(json!({ "apiVersion": "net.example/v1", "kind": "Pool", "metadata": { "name": "own" } }));
    let errors = plan(&desired, &bare()).unwrap_err();
    assert_eq!(
        errors[0].to_string(),
        format!(
            "component `network`: {} is a Pool.net.example, which no component provides and the cluster does not serve",
            stray.id
        )
    );
}
