//! The planner: from what is wanted and what is there to what will be done.
//! A pure function, so that every decision can be tested without a cluster.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::facility::Facility;
use super::graph::{self, Schedule};
use super::{Action, Blocks, Change, Edge, Milestone, Plan, PlanError, Reason, Stage, Step, StepId, Verb};
use super::{edges, references};
use crate::model::component::{GateSpec, Provides};
use crate::model::kinds;
use crate::model::names::ComponentName;
use crate::model::object::{GroupKind, Object, ObjectId};

/// How long one object takes to be applied, for the estimate only: 600 objects
/// a second, a third of what a local API server was measured to take.
const APPLY_EACH: Duration = Duration::from_micros(1_700);

/// How long a step on a host may take: slow lines and registries, not hangs.
const HOST_DEADLINE: Duration = Duration::from_secs(1800);

/// How long a CRD takes from applied to served in discovery, for the estimate.
const CRD_SERVED: Duration = Duration::from_millis(500);

/// What is wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desired {
    /// What is to be done on hosts; empty with a cluster that is there already.
    pub(crate) hosts: Vec<HostStep>,
    /// The components.
    pub(crate) components: Vec<DesiredComponent>,
    /// Whether data may be deleted: CRDs, namespaces, volumes.
    pub(crate) allow_data_loss: bool,
    /// There are addresses for load balancers.
    pub(crate) load_balancer_pool: bool,
}

/// A phase of a host on its way into the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// Artefacts, files, containerd, the local endpoint.
    Prepare,
    /// The first server makes the cluster.
    Init,
    /// A further host joins it.
    Join,
    /// Its node is ready: the pod network is there.
    Ready,
    /// It leaves the cluster.
    Remove,
    /// What was put on it goes away.
    Clean,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Prepare => "prepare",
            Self::Init => "init",
            Self::Join => "join",
            Self::Ready => "ready",
            Self::Remove => "remove",
            Self::Clean => "clean",
        })
    }
}

/// One step on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostStep {
    /// The node's name.
    pub(crate) host: String,
    /// The phase.
    pub(crate) phase: Phase,
    /// The steps of the same list that come first, with why. Invariant: they stand before it.
    pub(crate) needs: Vec<(usize, Reason)>,
    /// What is done, for people.
    pub(crate) work: Vec<String>,
    /// How long it takes.
    pub(crate) expect: Duration,
    /// Nothing is to be done.
    pub(crate) done: bool,
}

/// One wanted component.
#[derive(Debug, Clone)]
pub(crate) struct DesiredComponent {
    /// Its name.
    pub(crate) name: ComponentName,
    /// Its objects. Invariant: sorted by stage.
    pub(crate) objects: Vec<(Stage, Arc<Object>)>,
    /// What it says that it needs.
    pub(crate) needs: Vec<String>,
    /// Components that no edge may be inferred to.
    pub(crate) ignore_edges: Vec<ComponentName>,
    /// What it declares to bring.
    pub(crate) provides: Provides,
    /// Its gates.
    pub(crate) gates: Vec<GateSpec>,
    /// How long its workloads take.
    pub(crate) expect: Duration,
    /// How long it may take.
    pub(crate) deadline: Duration,
    /// Its `DaemonSet`s may match no node.
    pub(crate) may_be_empty: bool,
    /// How long soft failures may last.
    pub(crate) grace: Option<Duration>,
    /// Its source is stood in for.
    pub(crate) stood_in: bool,
}

/// What is there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    /// The kinds that the cluster serves; `None`: there is no cluster yet.
    pub(crate) served: Option<BTreeSet<GroupKind>>,
    /// What the cluster has that objects use by a general name; `None`: there is a cluster, and nobody looked.
    pub(crate) provided: Option<BTreeSet<Facility>>,
    /// What is known of each wanted object that exists.
    pub(crate) objects: BTreeMap<ObjectId, Live>,
    /// What earlier runs applied, by component.
    pub(crate) inventories: BTreeMap<ComponentName, Vec<ObjectId>>,
}

impl Observed {
    /// What is known where no cluster was asked: `unseen`, there is one; else there is nothing yet.
    pub(crate) fn nothing(unseen: bool) -> Self {
        Self { provided: (!unseen).then(BTreeSet::new), ..Self::default() }
    }
}

/// What is known of an object that exists.
#[derive(Debug, Clone, Default)]
pub(crate) struct Live {
    /// Fields that would change; empty: nothing is to be sent.
    pub(crate) changes: Vec<Change>,
    /// It is as wanted, and our fields in it are recorded.
    pub(crate) same: bool,
    /// Its health rule holds.
    pub(crate) ready: bool,
    /// It is a Job that was complete, and is gone by now.
    pub(crate) finished: bool,
}

/// Makes the plan.
pub(crate) fn plan(desired: &Desired, observed: &Observed) -> Result<Plan, Vec<PlanError>> {
    let mut steps = Vec::new();
    let mut edges = Vec::new();
    hosts(&desired.hosts, &mut steps, &mut edges);
    for component in &desired.components {
        stages(component, observed, &mut steps, &mut edges);
    }
    let mut errors = unknown_kinds(desired, observed);
    errors.extend(edges::needs(desired, observed, &steps, &mut edges));
    errors.extend(edges::inferred(desired, observed, &steps, &mut edges));
    // With the first server there is an API server; what others bring, gates wait for.
    let first = desired.hosts.iter().position(|host| host.phase == Phase::Init && !host.done);
    if let Some(from) = first {
        let root = |to| Edge {
            from,
            milestone: Milestone::Ready,
            to,
            blocks: Blocks::Apply,
            reason: Reason::Kubernetes,
        };
        edges.extend((desired.hosts.len()..steps.len()).map(root));
    }
    prune(desired, observed, &mut steps, &mut edges);
    let dropped = graph::drop_soft(steps.len(), &mut edges, |edge| edge.reason.softness(edge.blocks));
    if let Some(cycle) = graph::cycle(steps.len(), &edges) {
        errors.push(PlanError::cycle(&steps, cycle.iter().filter_map(|index| edges.get(*index))));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(finish(desired, steps, edges, dropped))
}

/// The steps on hosts, and the edges between them.
fn hosts(hosts: &[HostStep], steps: &mut Vec<Step>, edges: &mut Vec<Edge>) {
    for (to, host) in hosts.iter().enumerate() {
        steps.push(Step {
            id: StepId::Host { host: host.host.clone(), phase: host.phase },
            actions: Vec::new(),
            work: host.work.clone(),
            gates: Vec::new(),
            may_be_empty: false,
            grace: None,
            expect: if host.done { Duration::ZERO } else { host.expect },
            deadline: HOST_DEADLINE,
            done: host.done,
        });
        edges.extend(host.needs.iter().map(|(from, reason)| Edge {
            from: *from,
            milestone: Milestone::Ready,
            to,
            blocks: Blocks::Apply,
            reason: reason.clone(),
        }));
    }
}

/// The steps of one component, and the edges between them.
fn stages(component: &DesiredComponent, observed: &Observed, steps: &mut Vec<Step>, edges: &mut Vec<Edge>) {
    let mut previous: Option<(usize, Stage)> = None;
    for objects in component.objects.chunk_by(|(a, _), (b, _)| a == b) {
        let Some((stage, _)) = objects.first() else { continue };
        let index = steps.len();
        steps.push(step(component, *stage, objects, observed));
        if let Some((from, before)) = previous {
            // CRDs must be served, hooks done, and a source ready, before what builds on them is sent.
            let ready = matches!(before, Stage::Crds | Stage::PreInstall)
                || matches!(stage, Stage::Resources | Stage::PostInstall);
            let milestone = if ready { Milestone::Ready } else { Milestone::Applied };
            edges.push(Edge {
                from,
                milestone,
                to: index,
                blocks: Blocks::Apply,
                reason: Reason::StageOrder,
            });
        }
        previous = Some((index, *stage));
    }
}

fn step(
    component: &DesiredComponent,
    stage: Stage,
    objects: &[(Stage, Arc<Object>)],
    observed: &Observed,
) -> Step {
    let actions: Vec<Action> = objects
        .iter()
        .map(|(_, object)| {
            let live = observed.objects.get(&object.id);
            let verb = match live {
                None => Verb::Create,
                Some(live) if live.same => Verb::Keep,
                Some(_) => Verb::Update,
            };
            let changes = live.map(|live| live.changes.clone()).unwrap_or_default();
            let finished = live.is_some_and(|live| live.finished);
            Action { id: object.id.clone(), verb, object: Some(Arc::clone(object)), changes, finished }
        })
        .collect();
    let gates: Vec<GateSpec> = component
        .gates
        .iter()
        .filter(|gate| objects.iter().any(|(_, object)| edges::gate_is_of(gate, &object.id)))
        .cloned()
        .collect();
    let done = objects
        .iter()
        .all(|(_, object)| observed.objects.get(&object.id).is_some_and(|live| live.same && live.ready));
    let extra: Duration = gates.iter().filter_map(|gate| gate.expect).map(|span| span.0).sum();
    let expect = match stage {
        Stage::Crds => CRD_SERVED,
        Stage::Objects if objects.iter().any(|(_, object)| references::has_pods(object)) => {
            component.expect + extra
        }
        Stage::PreInstall | Stage::Objects | Stage::Resources | Stage::PostInstall => extra,
        Stage::Namespaces | Stage::Webhooks | Stage::Prune => Duration::ZERO,
    };
    Step {
        id: StepId::Stage(component.name.clone(), stage),
        actions,
        work: Vec::new(),
        gates,
        may_be_empty: component.may_be_empty,
        grace: component.grace,
        expect: if done { Duration::ZERO } else { expect },
        deadline: component.deadline,
        done,
    }
}

/// Objects whose kind is neither built in, nor defined by a component, nor served.
fn unknown_kinds(desired: &Desired, observed: &Observed) -> Vec<PlanError> {
    let defined: BTreeSet<GroupKind> = desired
        .components
        .iter()
        .flat_map(|component| &component.objects)
        .filter_map(|(_, object)| object.defines())
        .collect();
    let aggregated: BTreeSet<&str> = desired
        .components
        .iter()
        .flat_map(|component| &component.objects)
        .filter_map(|(_, object)| object.aggregates())
        .collect();
    let mut reported = BTreeSet::new();
    desired
        .components
        .iter()
        .flat_map(|component| component.objects.iter().map(move |(_, object)| (&component.name, &object.id)))
        .filter(|(_, id)| {
            kinds::built_in(&id.kind).is_none()
                && !defined.contains(&id.kind)
                && !aggregated.contains(id.kind.group.as_str())
                && !observed.served.as_ref().is_some_and(|served| served.contains(&id.kind))
                && reported.insert(id.kind.clone())
        })
        .map(|(component, id)| PlanError::UnknownKind { component: component.clone(), object: id.clone() })
        .collect()
}

/// Deletes what earlier runs applied and nobody wants any more, after
/// everything that is wanted is ready.
fn prune(desired: &Desired, observed: &Observed, steps: &mut Vec<Step>, edges: &mut Vec<Edge>) {
    if observed.inventories.is_empty() {
        return;
    }
    let wanted: HashSet<&ObjectId> = desired
        .components
        .iter()
        .flat_map(|component| &component.objects)
        .map(|(_, object)| &object.id)
        .collect();
    let others = steps.len();
    for (component, inventory) in &observed.inventories {
        let mut gone: Vec<&ObjectId> = inventory
            .iter()
            .filter(|id| !wanted.contains(id) && (desired.allow_data_loss || !holds_data(id)))
            .collect();
        let forgotten = !desired.components.iter().any(|wanted| wanted.name == *component);
        if gone.is_empty() && !(forgotten && inventory.is_empty()) {
            continue;
        }
        gone.reverse();
        let to = steps.len();
        steps.push(Step {
            id: StepId::Stage(component.clone(), Stage::Prune),
            actions: gone
                .into_iter()
                .map(|id| Action {
                    id: id.clone(),
                    verb: Verb::Delete,
                    object: None,
                    changes: Vec::new(),
                    finished: false,
                })
                .collect(),
            work: Vec::new(),
            gates: Vec::new(),
            may_be_empty: false,
            grace: None,
            expect: Duration::ZERO,
            deadline: Duration::from_secs(600),
            done: false,
        });
        edges.extend((0..others).map(|from| Edge {
            from,
            milestone: Milestone::Ready,
            to,
            blocks: Blocks::Apply,
            reason: Reason::PruneOrder,
        }));
    }
}

/// Objects whose deletion loses data that cozy cannot make again.
fn holds_data(id: &ObjectId) -> bool {
    matches!(
        id.kind.kind.as_str(),
        "CustomResourceDefinition" | "Namespace" | "PersistentVolume" | "PersistentVolumeClaim"
    )
}

/// How long a step's requests are expected to take.
pub(super) fn apply_time(step: &Step) -> Duration {
    let writes = step.actions.iter().filter(|action| action.verb != Verb::Keep).count();
    APPLY_EACH * u32::try_from(writes).unwrap_or(u32::MAX)
}

/// Orders the steps by when they are expected to start, and finds the critical path.
fn finish(desired: &Desired, steps: Vec<Step>, mut edges: Vec<Edge>, mut dropped: Vec<Edge>) -> Plan {
    let schedule = Schedule::new(
        steps.len(),
        &edges,
        |step| steps.get(step).map_or(Duration::ZERO, apply_time),
        |step| steps.get(step).map_or(Duration::ZERO, |step| step.expect),
    );
    let mut order: Vec<usize> = (0..steps.len()).collect();
    order.sort_by_key(|step| (schedule.applied(*step), *step));
    let mut position = vec![0; steps.len()];
    for (rank, old) in order.iter().enumerate() {
        position[*old] = rank;
    }
    for edge in edges.iter_mut().chain(&mut dropped) {
        (edge.from, edge.to) = (position[edge.from], position[edge.to]);
    }
    edges.sort_by(|a, b| (a.to, a.from, a.blocks, &a.reason).cmp(&(b.to, b.from, b.blocks, &b.reason)));
    let (path, expected) = schedule.critical_path();
    let mut slots: HashMap<usize, Step> = steps.into_iter().enumerate().collect();
    Plan {
        steps: order.iter().filter_map(|old| slots.remove(old)).collect(),
        edges,
        dropped,
        stood_in: desired
            .components
            .iter()
            .filter(|component| component.stood_in)
            .map(|component| component.name.clone())
            .collect(),
        critical_path: path.into_iter().map(|old| position[old]).collect(),
        expected,
    }
}
