//! The planner: from what is wanted and what is there to what will be done.
//! A pure function, so that every decision can be tested without a cluster.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::graph::{self, Schedule};
pub(crate) use super::live::{Observed, Verdict};
use super::{Blocks, Edge, Milestone, Plan, PlanError, Reason, Stage, Step, StepId};
use super::{edges, prune, runtime, stages, unknown};
use crate::model::component::{GateSpec, Provides};
use crate::model::names::ComponentName;
use crate::model::object::{Object, ObjectId};
use crate::parallel::in_parallel;

/// How long one object takes to be applied, for the estimate only: 600 objects
/// a second, a third of what a local API server was measured to take.
const APPLY_EACH: Duration = Duration::from_micros(1_700);

/// How long a step on a host may take: slow lines and registries, not hangs.
const HOST_DEADLINE: Duration = Duration::from_secs(1800);

/// What is wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desired {
    /// What is to be done on hosts; empty with a cluster that is there already.
    pub(crate) hosts: Vec<HostStep>,
    /// The components.
    pub(crate) components: Vec<DesiredComponent>,
    /// Objects whose replicas are left to an autoscaler.
    pub(crate) autoscaled: BTreeSet<ObjectId>,
    /// What the user allowed.
    pub(crate) allowed: Allowed,
    /// There are addresses for load balancers.
    pub(crate) load_balancer_pool: bool,
    /// Components that are known and not wanted: no cluster has them under these names.
    pub(crate) unwanted: BTreeSet<ComponentName>,
    /// The cloud.
    pub(crate) cloud: Option<String>,
}

/// What is only done when the user says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// Delete data: CRDs, namespaces, volumes, and what is marked to be kept.
    pub(crate) data_loss: bool,
    /// Take fields over from other managers.
    pub(crate) conflicts: bool,
    /// Take over objects that others made.
    pub(crate) adopt: bool,
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
    /// Settings that changed are applied.
    Configure,
    /// Its certificates are made, or made anew.
    Certify,
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
            Self::Configure => "configure",
            Self::Certify => "certify",
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
    /// The namespace of its objects that name none.
    pub(crate) namespace: Option<String>,
    /// Its objects. Invariant: sorted by stage.
    pub(crate) objects: Vec<(Stage, Arc<Object>)>,
    /// A chart's hooks that have no turn now. What of them is there stays.
    pub(crate) idle: Vec<ObjectId>,
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

/// Gates that judge nothing: their component has no such object in this cloud. Settings may leave objects out, so it is
/// worth a look, and no mistake. Stand-ins are not the component's own objects.
pub(crate) fn idle_gates(desired: &Desired) -> Vec<(ComponentName, String)> {
    let own = desired.components.iter().filter(|component| !component.stood_in);
    own.flat_map(|component| {
        let judges = |gate: &&GateSpec| {
            component.objects.iter().any(|(_, object)| edges::gate_is_of(gate, &object.id))
        };
        let idle = component.gates.iter().filter(move |gate| !judges(gate));
        idle.map(|gate| (component.name.clone(), gate.of.clone()))
    })
    .collect()
}

/// Makes the plan.
pub(crate) fn plan(desired: &Desired, observed: &Observed) -> Result<Plan, Vec<PlanError>> {
    let mut steps = Vec::new();
    let mut edges = Vec::new();
    hosts(&desired.hosts, &mut steps, &mut edges);
    let own = |part: &[DesiredComponent]| {
        part.iter().map(|component| stages::of(component, desired, observed)).collect()
    };
    for own in in_parallel(&desired.components, own) {
        stages::add(own, &mut steps, &mut edges);
    }
    runtime::add(desired, observed, &mut steps);
    let mut errors = unknown::errors(desired, observed);
    errors.extend(refusals(desired, observed));
    errors.extend(edges::needs(desired, observed, &steps, &mut edges));
    errors.extend(edges::inferred(desired, observed, &steps, &mut edges));
    edges::nodes(desired, &steps, &mut edges);
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
    let guarded = prune::steps(desired, observed, &mut steps, &mut edges);
    let dropped = graph::drop_soft(steps.len(), &mut edges, |edge| edge.reason.softness(edge.blocks));
    errors.extend(cycles(&steps, &edges));
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Plan { guarded, ..finish(desired, steps, edges, dropped) })
}

/// All cycles that share no step.
fn cycles(steps: &[Step], edges: &[Edge]) -> Vec<PlanError> {
    let mut left = Cow::Borrowed(edges);
    let mut errors = Vec::new();
    while let Some(cycle) = graph::cycle(steps.len(), &left) {
        let own: Vec<&Edge> = cycle.iter().filter_map(|index| left.get(*index)).collect();
        errors.push(PlanError::cycle(steps, own.iter().copied()));
        let of: BTreeSet<usize> = own.iter().flat_map(|edge| [edge.from, edge.to]).collect();
        if of.is_empty() {
            break;
        }
        left.to_mut().retain(|edge| !of.contains(&edge.from) && !of.contains(&edge.to));
    }
    errors
}

/// The steps on hosts, and the edges between them.
fn hosts(hosts: &[HostStep], steps: &mut Vec<Step>, edges: &mut Vec<Edge>) {
    for (to, host) in hosts.iter().enumerate() {
        let id = StepId::Host { host: host.host.clone(), phase: host.phase };
        steps.push(Step {
            work: host.work.clone(),
            expect: if host.done { Duration::ZERO } else { host.expect },
            done: host.done,
            ..Step::new(id, HOST_DEADLINE)
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

/// What may not be done to objects that exist, unless the user says so.
fn refusals(desired: &Desired, observed: &Observed) -> Vec<PlanError> {
    let objects = desired.components.iter().flat_map(|component| {
        let all = component.objects.iter();
        all.map(move |(stage, object)| (&component.name, &object.id, *stage))
    });
    let Allowed { data_loss: _, conflicts: force, adopt } = desired.allowed;
    // What is of no component of this cloud would be deleted.
    let own = desired.cloud.iter();
    let other = own.flat_map(|own| {
        observed.clouds.iter().filter(move |other| *other != own).map(move |other| (own, other))
    });
    let mut errors: Vec<PlanError> =
        other.map(|(own, other)| PlanError::OtherCloud { other: other.clone(), own: own.clone() }).collect();
    for (component, object, stage) in objects {
        let Some(live) = observed.objects.get(object) else { continue };
        let (component, object) = (component.clone(), Box::new(object.clone()));
        if let Some(managers) = live.foreign.as_ref().filter(|_| !adopt) {
            errors.push(PlanError::Foreign {
                component: component.clone(),
                object: object.clone(),
                managers: managers.clone(),
            });
        }
        match &live.verdict {
            Verdict::Change { conflicts, .. }
                if !force && conflicts.iter().any(|conflict| !conflict.ours) =>
            {
                let conflicts = conflicts.iter().filter(|conflict| !conflict.ours).cloned().collect();
                errors.push(PlanError::Conflict { component, object, conflicts });
            }
            Verdict::Fixed { fields }
                if live.foreign.is_some() || !stages::is_safely_replaced(&object.kind, stage) =>
            {
                errors.push(PlanError::Fixed { component, object, fields: fields.clone() });
            }
            Verdict::Same
            | Verdict::Finished
            | Verdict::Change { .. }
            | Verdict::Fixed { .. }
            | Verdict::Going => {}
        }
    }
    errors
}

/// How long a step's requests are expected to take.
pub(super) fn apply_time(step: &Step) -> Duration {
    let writes = step.actions.iter().filter(|action| action.verb.writes()).count();
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
    let mut slots: Vec<Option<Step>> = steps.into_iter().map(Some).collect();
    Plan {
        steps: order.iter().filter_map(|old| slots.get_mut(*old)?.take()).collect(),
        edges,
        dropped,
        stood_in: desired
            .components
            .iter()
            .filter(|component| component.stood_in)
            .map(|component| component.name.clone())
            .collect(),
        guarded: Vec::new(),
        critical_path: path.into_iter().map(|old| position[old]).collect(),
        expected,
    }
}
