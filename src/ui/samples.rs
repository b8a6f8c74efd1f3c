//! Events and plans for the tests of this folder.

use std::time::Duration;

use crate::error::Code;
use crate::execute::event::{Cause, Event, EventKind, Failure, Outcome};
use crate::model::object::{GroupKind, ObjectId};
use crate::plan::planner::Phase;
use crate::plan::{Action, Blocks, Change, Counts, Edge, Milestone, Plan, Reason, Stage, Step, StepId, Verb};

/// An event at a number of milliseconds.
pub(crate) fn at(millis: u64, kind: EventKind) -> Event {
    Event { at: Duration::from_millis(millis), kind }
}

/// A stage of a component.
pub(crate) fn stage(component: &str, stage: Stage) -> StepId {
    StepId::Stage(component.parse().unwrap(), stage)
}

/// An object without a group in namespace `x`, or in none.
pub(crate) fn id(kind: &str, namespace: Option<&str>, name: &str) -> ObjectId {
    ObjectId {
        kind: GroupKind::new("", kind),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    }
}

/// A warning at 1m05s.
pub(crate) fn warning(message: &str) -> Event {
    at(65_000, EventKind::Warning { message: message.to_owned() })
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn started(components: &[&str], create: usize, expected: u64) -> Event {
    at(
        0,
        EventKind::RunStarted {
            cloud: "demo".to_owned(),
            bundle: "edge 1.0.0".to_owned(),
            hosts: 3,
            provider: "kubeadm v1.36.1".to_owned(),
            rehearsal: true,
            stood_in: vec!["cilium".parse().unwrap()],
            components: names(components),
            counts: Counts { create, ..Counts::default() },
            expected: Duration::from_secs(expected),
        },
    )
}

fn step(id: &StepId, objects: usize, times: [u64; 3], after: Option<StepId>) -> Vec<Event> {
    let [start, applied, ready] = times;
    vec![
        at(start, EventKind::StepStarted { step: id.clone(), objects }),
        at(applied, EventKind::StepApplied { step: id.clone() }),
        at(ready, EventKind::StepReady { step: id.clone(), after }),
    ]
}

fn ready(millis: u64, component: &str, objects: usize, took: u64, after: &[&str]) -> Event {
    at(
        millis,
        EventKind::ComponentReady {
            component: component.to_owned(),
            objects,
            took: Duration::from_millis(took),
            after: names(after),
        },
    )
}

fn waiting(millis: u64, step: &StepId, reason: &str, remaining: usize, soft_failure: bool) -> Event {
    let object = format!("Deployment {0}/{0}", step.component());
    at(
        millis,
        EventKind::Waiting { step: step.clone(), object, reason: reason.to_owned(), remaining, soft_failure },
    )
}

/// A run in which all goes well.
pub(crate) fn run() -> Vec<Event> {
    let crds = stage("cert-manager", Stage::Crds);
    let objects = stage("cert-manager", Stage::Objects);
    let cilium = stage("cilium", Stage::Objects);
    let mut events = vec![started(&["kubernetes", "cilium", "cert-manager", "issuers"], 86, 161)];
    events.extend(step(&first_server(), 0, [0, 2_000, 62_000], None));
    events.push(ready(62_000, "kubernetes", 0, 62_000, &[]));
    events.extend(step(&crds, 6, [62_000, 62_400, 63_000], Some(first_server())));
    events.extend(step(&cilium, 38, [62_000, 66_000, 110_000], Some(first_server())));
    events.push(ready(110_000, "cilium", 38, 48_000, &["kubernetes"]));
    events.push(at(110_000, EventKind::StepStarted { step: objects.clone(), objects: 41 }));
    events.push(at(
        110_100,
        EventKind::Object {
            step: objects.clone(),
            object: "Deployment cert-manager/webhook".to_owned(),
            verb: Verb::Create,
        },
    ));
    events.push(at(
        110_200,
        EventKind::Retry {
            step: Some(objects.clone()),
            object: "ConfigMap cert-manager/ca".to_owned(),
            attempt: 1,
            delay: Duration::from_millis(500),
            reason: "429: too many requests".to_owned(),
        },
    ));
    events.push(at(112_000, EventKind::StepApplied { step: objects.clone() }));
    events.push(waiting(113_000, &objects, "0 of 1 replicas available", 3, false));
    events.push(waiting(120_000, &objects, "0 of 1 replicas available", 3, false));
    events.push(waiting(131_000, &objects, "endpoint 0 of 1 ready", 1, false));
    events.push(at(140_000, EventKind::StepReady { step: objects, after: Some(cilium) }));
    events.push(ready(140_000, "cert-manager", 47, 78_000, &["cilium", "kubernetes"]));
    events.extend(step(&stage("issuers", Stage::Resources), 1, [140_000, 140_200, 161_000], None));
    events.push(ready(161_000, "issuers", 1, 21_000, &["cert-manager"]));
    events.push(at(
        161_000,
        EventKind::RunFinished {
            outcome: Outcome::Done,
            counts: Counts { create: 86, ..Counts::default() },
            failed: Vec::new(),
            unfinished: Vec::new(),
            took: Duration::from_secs(161),
            critical_path: names(&["kubernetes", "cilium", "cert-manager", "issuers"]),
        },
    ));
    events
}

/// The failure that gates.md draws.
pub(crate) fn failure() -> Failure {
    let cause =
        |object: &str, message: &str| Cause { object: object.to_owned(), message: message.to_owned() };
    Failure {
        code: Code(3012),
        message: "not ready after 62s (gate: deployment/piraeus-operator)".to_owned(),
        chain: vec![
            cause("deployment cozy-storage/piraeus-operator", "1 of 1 replicas unavailable"),
            cause(
                "pod piraeus-operator-6d9f-x2k4q",
                "container manager: CrashLoopBackOff (restarts 4, exit 1)\nfailed to load kernel module drbd: exec format error",
            ),
        ],
        hint: Some(
            "apt-get install linux-headers-$(uname -r) on node-2, then `cozy install` goes on from here"
                .to_owned(),
        ),
    }
}

/// A run with a failure, a signal and a warning.
pub(crate) fn failing_run() -> Vec<Event> {
    let linstor = stage("linstor", Stage::Objects);
    let mut events = vec![started(&["kubernetes", "linstor", "vm-images"], 20, 100)];
    events.extend(step(&first_server(), 0, [0, 1_000, 60_000], None));
    events.push(ready(60_000, "kubernetes", 0, 60_000, &[]));
    events.push(at(60_000, EventKind::StepStarted { step: linstor.clone(), objects: 12 }));
    events.push(at(61_000, EventKind::StepApplied { step: linstor.clone() }));
    events.push(waiting(62_000, &linstor, "container manager: CrashLoopBackOff", 1, true));
    events.push(warning("component vm-images has no gate"));
    events.push(at(
        122_000,
        EventKind::ComponentFailed {
            component: "linstor".to_owned(),
            step: linstor,
            failure: failure(),
            blocks: names(&["vm-images"]),
        },
    ));
    events.push(at(122_500, EventKind::Interrupted { signal: "SIGINT".to_owned() }));
    events.push(at(
        123_000,
        EventKind::RunFinished {
            outcome: Outcome::Failed,
            counts: Counts { create: 11, update: 1, keep: 2, ..Counts::default() },
            failed: names(&["linstor"]),
            unfinished: names(&["vm-images"]),
            took: Duration::from_secs(123),
            critical_path: names(&["kubernetes", "linstor"]),
        },
    ));
    events
}

fn action(verb: Verb, id: ObjectId, changes: &[(&str, Option<&str>, Option<&str>)]) -> Action {
    let changes = changes.iter().map(|(field, from, to)| Change {
        field: (*field).to_owned(),
        from: from.map(str::to_owned),
        to: to.map(str::to_owned),
    });
    Action { changes: changes.collect(), ..Action::new(id, verb) }
}

/// The step that makes the cluster.
fn first_server() -> StepId {
    StepId::Host { host: "node-1".to_owned(), phase: Phase::Init }
}

fn planned(id: StepId, expect: u64, actions: Vec<Action>) -> Step {
    let done = !matches!(id, StepId::Host { .. }) && actions.iter().all(|action| action.verb == Verb::Keep);
    Step { actions, expect: Duration::from_secs(expect), done, ..Step::new(id, Duration::from_secs(600)) }
}

/// A plan with each verb, each kind of edge, and a dropped edge.
pub(crate) fn plan() -> Plan {
    let crd = id("CustomResourceDefinition", None, "issuers.cert-manager.io");
    let deployment = id("Deployment", Some("cert-manager"), "cert-manager");
    let issuer = id("ClusterIssuer", None, "cozy");
    let edge = |from, milestone, to, blocks, reason| Edge { from, milestone, to, blocks, reason };
    let kind = GroupKind::new("cert-manager.io", "ClusterIssuer");
    Plan {
        steps: vec![
            planned(first_server(), 60, Vec::new()),
            planned(stage("cert-manager", Stage::Crds), 1, vec![action(Verb::Create, crd.clone(), &[])]),
            planned(
                stage("cert-manager", Stage::Objects),
                30,
                vec![
                    action(Verb::Create, deployment.clone(), &[]),
                    action(
                        Verb::Update,
                        id("ConfigMap", Some("cert-manager"), "ca"),
                        &[
                            (".data.bundle", Some("\"old\""), Some("\"new \\\"quoted\\\"\"")),
                            (".data.added", None, Some("1")),
                            (".data.gone", Some("true"), None),
                        ],
                    ),
                    action(Verb::Keep, id("Namespace", None, "cert-manager"), &[]),
                ],
            ),
            planned(stage("issuers", Stage::Resources), 20, vec![action(Verb::Create, issuer.clone(), &[])]),
            planned(
                stage("multus", Stage::Objects),
                5,
                vec![action(Verb::Keep, id("DaemonSet", Some("kube-system"), "multus"), &[])],
            ),
            planned(
                stage("issuers", Stage::Prune),
                1,
                vec![action(Verb::Delete, id("Issuer", Some("old"), "cozy"), &[])],
            ),
        ],
        edges: vec![
            edge(0, Milestone::Ready, 1, Blocks::Apply, Reason::Kubernetes),
            edge(1, Milestone::Ready, 2, Blocks::Apply, Reason::StageOrder),
            edge(0, Milestone::Ready, 2, Blocks::Apply, Reason::Kubernetes),
            edge(1, Milestone::Ready, 3, Blocks::Apply, Reason::Kind { object: issuer.clone(), kind }),
            edge(
                2,
                Milestone::Applied,
                3,
                Blocks::Ready,
                Reason::Reference { object: issuer, target: deployment.clone() },
            ),
            edge(2, Milestone::Ready, 3, Blocks::Apply, Reason::Needs("cert-manager".to_owned())),
            edge(0, Milestone::Ready, 4, Blocks::Apply, Reason::Kubernetes),
            edge(3, Milestone::Ready, 5, Blocks::Apply, Reason::PruneOrder),
        ],
        dropped: vec![edge(
            3,
            Milestone::Applied,
            2,
            Blocks::Ready,
            Reason::Reference { object: deployment, target: crd },
        )],
        stood_in: vec!["multus".parse().unwrap()],
        guarded: Vec::new(),
        critical_path: vec![0, 1, 2, 3],
        expected: Duration::from_secs(111),
    }
}
