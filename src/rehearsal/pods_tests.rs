//! Pods that would never start on a real cluster do not start in a rehearsal, for the same reason.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use serde_json::{Value, json};

use super::faults::Faults;
use super::{Rehearsal, Script, SimulatedNode};
use crate::execute::event::{Event, EventKind, Outcome, Reporter};
use crate::execute::run::Options;
use crate::model::object::Object;
use crate::plan::planner::{DesiredComponent, Observed, plan};
use crate::plan::{Stage, tests as made};

/// Remembers all events.
#[derive(Default)]
struct Recorder(Mutex<Vec<Event>>);

impl Reporter for Recorder {
    fn report(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

fn object(value: Value) -> Arc<Object> {
    Arc::new(Object::from_value(value).unwrap())
}

fn plain(api_version: &str, kind: &str, name: &str, rest: &Value) -> (Stage, Arc<Object>) {
    let mut value = json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": name } });
    if !["Namespace", "ClusterRole"].contains(&kind) {
        value["metadata"]["namespace"] = json!("web");
    }
    value.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    (if kind == "Namespace" { Stage::Namespaces } else { Stage::Objects }, object(value))
}

/// A workload with a pod of that kind, in a namespace with that level of security.
fn workload(kind: &str, pod: &Value, level: &str) -> Vec<(Stage, Arc<Object>)> {
    let labels = json!({ "name": "web", "labels": { "pod-security.kubernetes.io/enforce": level } });
    let mut spec = json!({ "containers": [{ "name": "main", "image": "x" }] });
    spec.as_object_mut().unwrap().extend(pod.as_object().unwrap().clone());
    let template = json!({ "metadata": { "labels": { "app": "web" } }, "spec": spec });
    let selector = json!({ "matchLabels": { "app": "web" } });
    let spec = json!({ "spec": { "selector": selector, "template": template } });
    vec![
        plain("v1", "Namespace", "web", &json!({ "metadata": labels })),
        plain("apps/v1", kind, "web", &spec),
    ]
}

/// Rehearses components: how it ended after how many seconds, and what was said of the failure.
fn rehearse(components: Vec<DesiredComponent>) -> (Outcome, u64, String) {
    let desired = made::of(components);
    let plan = plan(&desired, &Observed::nothing(true)).unwrap();
    let rehearsal = Rehearsal {
        nodes: SimulatedNode::some(3),
        script: Script::new(&plan, &desired, [], Faults::default()),
        started: EventKind::Warning { message: String::new() },
        options: Options { concurrency: 32, force_conflicts: false, timeout: None, cloud: None },
        signal: std::future::pending().boxed(),
    };
    let recorder = Recorder::default();
    let finished = rehearsal.run(&plan, &recorder).unwrap().finished;
    let failures = finished.failures.iter().flat_map(|(_, failure)| {
        let chain = failure.chain.iter().map(|cause| cause.message.clone());
        std::iter::once(failure.message.clone()).chain(chain)
    });
    let took = recorder.0.into_inner().unwrap().last().unwrap().at.as_secs();
    (finished.outcome, took, failures.collect::<Vec<_>>().join("\n"))
}

fn web(objects: Vec<(Stage, Arc<Object>)>) -> DesiredComponent {
    DesiredComponent { grace: Some(Duration::from_secs(20)), ..made::component("web", objects) }
}

#[test]
fn pods_that_would_never_start_do_not_start() {
    let from = json!({ "containers": [{ "name": "main", "image": "x", "envFrom": [{ "configMapRef": { "name": "nope" } }] }] });
    let mounted = json!({ "volumes": [{ "name": "v", "secret": { "secretName": "nope" } }] });
    let privileged = json!({ "containers": [{ "name": "main", "image": "x", "securityContext": { "privileged": true } }] });
    let rows = [
        (json!({ "serviceAccountName": "nope" }), "privileged", "serviceaccount \"nope\" not found"),
        (json!({ "priorityClassName": "nope" }), "privileged", "no PriorityClass with name nope was found"),
        (json!({ "runtimeClassName": "nope" }), "privileged", "RuntimeClass \"nope\" not found"),
        (privileged, "baseline", "must not set securityContext.privileged=true"),
        (json!({}), "restricted", "allowPrivilegeEscalation != false"),
        (from, "privileged", "configmap \"nope\" not found"),
        (mounted, "privileged", "MountVolume.SetUp failed for volume \"v\" : secret \"nope\" not found"),
        (
            json!({ "nodeSelector": { "disk": "ssd" } }),
            "privileged",
            "3 node(s) didn't match Pod's node affinity/selector",
        ),
    ];
    for (pod, level, words) in rows {
        let (outcome, took, said) = rehearse(vec![web(workload("Deployment", &pod, level))]);
        assert_eq!(outcome, Outcome::Failed, "{words}");
        assert!(said.contains(words) && (20..40).contains(&took), "{words}: {took} s: {said}");
    }
    // Others have no condition for it: only their deadline ends it.
    for kind in ["StatefulSet", "DaemonSet"] {
        let web = DesiredComponent {
            deadline: Duration::from_secs(60),
            ..web(workload(kind, &json!({ "serviceAccountName": "nope" }), "privileged"))
        };
        let (outcome, took, said) = rehearse(vec![web]);
        assert_eq!(outcome, Outcome::Failed, "{kind}");
        assert!(said.contains("serviceaccount \"nope\" not found") && took <= 65, "{kind}: {took} s: {said}");
    }
}

#[test]
fn pods_start_when_what_they_name_comes_or_may_be_made_by_somebody() {
    let volume = json!({ "name": "v", "secret": { "secretName": "made" } });
    let pod = json!({ "serviceAccountName": "late", "volumes": [volume] });
    // It comes with what is ready after 15 s: 10 s, and 5 s that it must stay so. From then on it is 15 s again.
    let base = made::component("base", workload("Deployment", &json!({}), "privileged"));
    let mut late = made::component("late", vec![plain("v1", "ServiceAccount", "late", &json!({}))]);
    late.needs = vec!["base".to_owned()];
    let rules = json!({ "rules": [{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["create"] }] });
    let role = |verb: &str| {
        let mut rules = rules.clone();
        rules["rules"][0]["verbs"] = json!([verb]);
        plain("rbac.authorization.k8s.io/v1", "Role", "maker", &rules)
    };
    let of = |verb: &str| {
        let mut objects = workload("StatefulSet", &pod, "privileged");
        objects.remove(0);
        objects.push(role(verb));
        rehearse(vec![base.clone(), late.clone(), web(objects)])
    };
    let (outcome, took, said) = of("create");
    assert_eq!((outcome, took), (Outcome::Done, 30), "{said}");
    assert_eq!(of("get").0, Outcome::Failed);
}
