//! The plan: what will happen, as pure data. Steps, the edges between them
//! with their reasons, and what is done to each object.
//!
//! No I/O, no clock, no client: what must be asked of a cluster was asked by
//! `cluster::observe` before. `cozy plan` prints a [`Plan`], `execute` runs it.

mod admission;
#[cfg(test)]
mod admission_tests;
pub(crate) mod backends;
pub(crate) mod diff;
pub(crate) mod edges;
mod error;
pub(crate) mod facility;
pub(crate) mod grants;
mod graph;
pub(crate) mod hooks;
pub(crate) mod live;
#[cfg(test)]
mod live_tests;
pub(crate) mod namespaces;
pub(crate) mod planner;
pub(crate) mod prune;
pub(crate) mod references;
pub(crate) mod rights;
mod runtime;
#[cfg(test)]
mod runtime_tests;
pub(crate) mod savings;
pub(crate) mod send;
mod stages;
#[cfg(test)]
pub(crate) mod tests;
mod unknown;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::model::component::GateSpec;
use crate::model::mask::Masks;
use crate::model::names::ComponentName;
use crate::model::object::{GroupKind, Object, ObjectId};
pub(crate) use error::PlanError;
use facility::Facility;
use live::FieldConflict;
use planner::Phase;

/// Everything that would happen.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The steps, by when they are expected to be applied. Invariant: an edge
    /// that blocks *apply* goes forward.
    pub(crate) steps: Vec<Step>,
    /// What waits for what. Invariant: indices are valid, and there is no cycle.
    pub(crate) edges: Vec<Edge>,
    /// Inferred edges that were left out because they would have closed a cycle.
    pub(crate) dropped: Vec<Edge>,
    /// Components whose objects are made from their contract (charts and
    /// manifests that are not at hand); only in rehearsals.
    pub(crate) stood_in: Vec<ComponentName>,
    /// What nobody wants any more, and is kept all the same.
    pub(crate) guarded: Vec<Guarded>,
    /// The longest chain of expected times: steps in order.
    pub(crate) critical_path: Vec<usize>,
    /// How long that chain takes.
    pub(crate) expected: Duration,
}

/// An object that would be deleted, but for what speaks against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guarded {
    /// The component whose inventory has it.
    pub(crate) component: ComponentName,
    /// The object.
    pub(crate) object: ObjectId,
    /// Why.
    pub(crate) why: Guard,
}

/// Why an object is kept that nobody wants any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Guard {
    /// Its deletion would lose data.
    Data,
    /// It says of itself that it is to be kept.
    Marked,
    /// It is the namespace or the kind of objects that are wanted.
    Used,
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Data => "holds data: `--allow-data-loss` deletes it",
            Self::Marked => "is marked to be kept: `--allow-data-loss` deletes it",
            Self::Used => "is used by objects that are wanted",
        })
    }
}

/// One stage of one component, or one phase of a host.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// Its name.
    pub(crate) id: StepId,
    /// What is done to each object, in order.
    pub(crate) actions: Vec<Action>,
    /// What is done on a host, for people.
    pub(crate) work: Vec<String>,
    /// CRDs that its pods make when they run. Nothing is sent for them; they are waited for like its own objects.
    pub(crate) awaits: Vec<Arc<Object>>,
    /// Conditions of its objects beyond the built-in health rules.
    pub(crate) gates: Vec<GateSpec>,
    /// Its `DaemonSet`s may match no node.
    pub(crate) may_be_empty: bool,
    /// How long soft failures may last; each cause's own time when not given.
    pub(crate) grace: Option<Duration>,
    /// How long it takes from applied to ready.
    pub(crate) expect: Duration,
    /// How long it may take.
    pub(crate) deadline: Duration,
    /// Nothing to apply, and all of it is ready already.
    pub(crate) done: bool,
}

impl Step {
    /// A step that does nothing yet, and whose objects have no conditions of their own.
    pub(crate) fn new(id: StepId, deadline: Duration) -> Self {
        Self {
            id,
            actions: Vec::new(),
            work: Vec::new(),
            awaits: Vec::new(),
            gates: Vec::new(),
            may_be_empty: false,
            grace: None,
            expect: Duration::ZERO,
            deadline,
            done: false,
        }
    }
}

/// The name of a step: `cert-manager/crds`, `kubernetes/node-1/init`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum StepId {
    /// A phase of a host on its way into the cluster.
    Host {
        /// The node's name.
        host: String,
        /// The phase.
        phase: Phase,
    },
    /// A stage of a component.
    Stage(ComponentName, Stage),
}

impl StepId {
    /// Whether it is a turn of a chart's hooks.
    pub(crate) fn is_hook(&self) -> bool {
        matches!(self, Self::Stage(_, stage) if stage.is_hook())
    }

    /// The component, or `kubernetes`: what a person sees one line for.
    pub(crate) fn component(&self) -> &str {
        match self {
            Self::Host { .. } => "kubernetes",
            Self::Stage(component, _) => component.as_str(),
        }
    }

    /// The component, of a step on the cluster.
    pub(crate) fn component_name(&self) -> Option<&ComponentName> {
        match self {
            Self::Host { .. } => None,
            Self::Stage(component, _) => Some(component),
        }
    }

    /// The host, of a step on one.
    pub(crate) fn host(&self) -> Option<&str> {
        match self {
            Self::Host { host, .. } => Some(host),
            Self::Stage(..) => None,
        }
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { host, phase } => f.pad(&format!("kubernetes/{host}/{phase}")),
            Self::Stage(component, stage) => f.pad(&format!("{component}/{stage}")),
        }
    }
}

impl Serialize for StepId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The stages of a component, in the order in which they are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Stage {
    /// What is kept of a chart: the values that it generated, before the objects that use them.
    Generated,
    /// `Namespace` objects.
    Namespaces,
    /// `CustomResourceDefinition` objects.
    Crds,
    /// A chart's hooks before its objects: each turn ends before the next begins. From 0.
    PreHooks(u16),
    /// Hooks that have succeeded are deleted.
    PreHooksDone,
    /// Everything else of the source.
    Objects,
    /// What the API server calls or evaluates: webhook configurations, admission policies, aggregated APIs.
    Webhooks,
    /// The component's own `resources:`, after its source is ready.
    Resources,
    /// A chart's hooks after everything is ready, in turns.
    PostHooks(u16),
    /// Hooks that have succeeded are deleted.
    PostHooksDone,
    /// Objects that are in the inventory and no longer wanted.
    Prune,
}

impl Stage {
    /// Whether it is a turn of a chart's hooks.
    pub(crate) fn is_hook(self) -> bool {
        matches!(self, Self::PreHooks(_) | Self::PostHooks(_))
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let turn = |name: &str, turn: u16| match turn {
            0 => name.to_owned(),
            turn => format!("{name}-{}", u32::from(turn) + 1),
        };
        f.pad(match self {
            Self::Generated => "generated",
            Self::Namespaces => "namespaces",
            Self::Crds => "crds",
            Self::PreHooks(number) => return f.pad(&turn("pre-hooks", *number)),
            Self::PreHooksDone => "pre-hooks-done",
            Self::Objects => "objects",
            Self::Webhooks => "webhooks",
            Self::Resources => "resources",
            Self::PostHooks(number) => return f.pad(&turn("post-hooks", *number)),
            Self::PostHooksDone => "post-hooks-done",
            Self::Prune => "prune",
        })
    }
}

impl Serialize for Stage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What waits for what, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edge {
    /// The index of the step that comes first.
    pub(crate) from: usize,
    /// What of it must be reached.
    pub(crate) milestone: Milestone,
    /// The index of the step that waits.
    pub(crate) to: usize,
    /// What of it waits.
    pub(crate) blocks: Blocks,
    /// Why.
    pub(crate) reason: Reason,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Milestone {
    /// Every request was answered.
    Applied,
    /// Every gate holds.
    Ready,
}

/// What an edge holds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Blocks {
    /// The requests: they would fail before.
    Apply,
    /// The gates: they cannot hold before; the objects may go in early.
    Ready,
}

/// Why an edge is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// The component says `needs: [x]`.
    Needs(String),
    /// Stages of one component follow each other.
    StageOrder,
    /// An object's kind is defined by the other's CRD.
    Kind { object: ObjectId, kind: GroupKind },
    /// An object's namespace is made by the other.
    Namespace { object: ObjectId, namespace: String },
    /// An object names one of the other's objects.
    Reference { object: ObjectId, target: ObjectId },
    /// An object uses what the other provides under a general name.
    Provided { object: ObjectId, facility: Facility },
    /// An object's group is served by the other's aggregated API server.
    Api { object: ObjectId, service: ObjectId },
    /// An object is judged by the other's webhook or admission policy.
    Admission { object: ObjectId, guard: ObjectId },
    /// A webhook or an aggregated API is answered by the other's pods, and nothing works before.
    Backend { caller: ObjectId, service: String },
    /// An object's pods need the pod network.
    Network { object: ObjectId },
    /// A host's node is not ready without the pod network.
    NodeNetwork { host: String },
    /// Everything needs an API server.
    Kubernetes,
    /// etcd takes one new member at a time.
    Quorum,
    /// Servers are changed one after the other, so that the API is never away.
    Turns,
    /// A server that leaves must not be talked to any more.
    Endpoints,
    /// Servers do the work until an agent is there for it.
    Agents,
    /// The other step's objects are not needed any more, and go first.
    PruneOrder,
}

impl Reason {
    /// How soon it is left out where it would close a cycle; `None`: never. What a webhook judges waits for it last
    /// of all, so that what its own backend needs comes before it.
    pub(crate) fn softness(&self, blocks: Blocks) -> Option<u8> {
        match self {
            Self::Backend { .. } => Some(0),
            Self::Admission { .. } => Some(2),
            _ if blocks == Blocks::Ready && self.is_inferred() => Some(1),
            _ => None,
        }
    }

    /// Whether it was found in rendered objects, not written by someone.
    pub(crate) fn is_inferred(&self) -> bool {
        match self {
            Self::Kind { .. }
            | Self::Namespace { .. }
            | Self::Reference { .. }
            | Self::Provided { .. }
            | Self::Api { .. }
            | Self::Admission { .. }
            | Self::Backend { .. }
            | Self::Network { .. } => true,
            Self::Needs(_)
            | Self::NodeNetwork { .. }
            | Self::StageOrder
            | Self::Kubernetes
            | Self::Quorum
            | Self::Turns
            | Self::Endpoints
            | Self::Agents
            | Self::PruneOrder => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Needs(need) => write!(f, "needs: {need}"),
            Self::StageOrder => f.write_str("stages go in order"),
            Self::Kind { object, kind } => write!(f, "{object} is a {kind}"),
            Self::Namespace { object, namespace } => write!(f, "{object} is in namespace {namespace}"),
            Self::Reference { object, target } => write!(f, "{object} uses {target}"),
            Self::Provided { object, facility } => write!(f, "{object} uses {facility}"),
            Self::Api { object, service } => write!(f, "{object} is served by {service}"),
            Self::Admission { object, guard } => write!(f, "{object} is judged by {guard}"),
            Self::Backend { caller, service } => write!(f, "{caller} is answered by Service {service}"),
            Self::Network { object } => write!(f, "{object} has pods on the pod network"),
            Self::NodeNetwork { host } => {
                write!(f, "the node of {host} is ready when it has the pod network")
            }
            Self::Kubernetes => f.write_str("there is no API server before"),
            Self::Quorum => f.write_str("servers come and go one at a time, for etcd's quorum"),
            Self::Turns => f.write_str("servers are changed one after the other"),
            Self::Endpoints => f.write_str("the others stop using it first"),
            Self::Agents => f.write_str("servers do the work until an agent is there"),
            Self::PruneOrder => f.write_str("what is used goes after what uses it"),
        }
    }
}

/// What is done to one object.
#[derive(Debug, Clone)]
pub(crate) struct Action {
    /// Which object.
    pub(crate) id: ObjectId,
    /// What.
    pub(crate) verb: Verb,
    /// The desired object; `None` for deletions.
    pub(crate) object: Option<Arc<Object>>,
    /// What changes in our fields, for updates.
    pub(crate) changes: Vec<Change>,
    /// Fields that are taken over from other managers.
    pub(crate) takes: Vec<FieldConflict>,
    /// What is special about it, for people.
    pub(crate) note: Option<String>,
    /// The uid of the object that a new one replaces: no other by its name is deleted for that.
    pub(crate) replaces: Option<String>,
    /// A Job that was complete, and is gone by now: there is nothing to wait for.
    pub(crate) finished: bool,
    /// Its replicas are an autoscaler's, and stay as they are until that changes them.
    pub(crate) autoscaled: bool,
}

impl Action {
    /// Nothing more is known of it.
    pub(crate) fn new(id: ObjectId, verb: Verb) -> Self {
        Self {
            id,
            verb,
            object: None,
            changes: Vec::new(),
            takes: Vec::new(),
            note: None,
            replaces: None,
            finished: false,
            autoscaled: false,
        }
    }
}

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verb {
    /// It is not there yet.
    Create,
    /// It differs in fields that are ours.
    Update,
    /// It differs in fields that only a new object can have: it is deleted, and made again.
    Replace,
    /// Others made it, and it becomes ours.
    Adopt,
    /// Nothing is sent.
    Keep,
    /// It is in the inventory and not wanted any more.
    Delete,
    /// It is taken out of the inventory, and left as it is.
    Forget,
}

impl Verb {
    /// Whether something is sent to the object.
    pub(crate) fn writes(self) -> bool {
        !matches!(self, Self::Keep | Self::Forget)
    }
}

/// One field that changes. Values of Secrets are masked before they get here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    /// The field, as kubectl writes it: `.spec.replicas`.
    pub(crate) field: String,
    /// The value in the cluster, as JSON; `None`: not there.
    pub(crate) from: Option<String>,
    /// The value wanted, as JSON; `None`: removed.
    pub(crate) to: Option<String>,
}

/// How many objects a plan creates, changes, leaves and deletes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// To create.
    pub(crate) create: usize,
    /// To change.
    pub(crate) update: usize,
    /// To delete and make again.
    pub(crate) replace: usize,
    /// To take over from those who made them.
    pub(crate) adopt: usize,
    /// To leave alone.
    pub(crate) keep: usize,
    /// To delete.
    pub(crate) delete: usize,
}

impl Counts {
    /// Counts one more object.
    pub(crate) fn add(&mut self, verb: Verb) {
        match verb {
            Verb::Create => self.create += 1,
            Verb::Update => self.update += 1,
            Verb::Replace => self.replace += 1,
            Verb::Adopt => self.adopt += 1,
            Verb::Keep => self.keep += 1,
            Verb::Delete => self.delete += 1,
            Verb::Forget => {}
        }
    }

    /// Counts what some steps do.
    pub(crate) fn of<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Self {
        let mut counts = Self::default();
        for action in steps.into_iter().flat_map(|step| &step.actions) {
            counts.add(action.verb);
        }
        counts
    }
}

impl Plan {
    /// Counts what is done to objects.
    pub(crate) fn counts(&self) -> Counts {
        Counts::of(&self.steps)
    }

    /// Takes what nobody is to see out of what it shows.
    pub(crate) fn mask(&mut self, masks: &Masks) {
        for action in self.steps.iter_mut().flat_map(|step| &mut step.actions) {
            let values = action.changes.iter_mut().flat_map(|change| [&mut change.from, &mut change.to]);
            // A note may have the server's words, and those may quote what it was sent.
            for text in values.chain([&mut action.note]) {
                *text = text.take().map(|text| masks.mask(&text));
            }
        }
    }

    /// Nothing to write, and nothing to wait for.
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.iter().all(|step| step.done)
    }

    /// Components with a written need that the edges found in their objects imply already, so that it could go.
    pub(crate) fn implied_needs(&self) -> Vec<(&str, &str)> {
        let mut needs: Vec<(&str, &str)> = Vec::new();
        for edge in &self.edges {
            if let (Reason::Needs(need), Some(step)) = (&edge.reason, self.steps.get(edge.to)) {
                let written = (step.id.component(), need.as_str());
                if !needs.contains(&written) {
                    needs.push(written);
                }
            }
        }
        needs.retain(|(component, need)| {
            let is_of = |edge: &&Edge| {
                matches!(&edge.reason, Reason::Needs(written) if written == need)
                    && self.steps.get(edge.to).is_some_and(|step| step.id.component() == *component)
            };
            let (own, others): (Vec<&Edge>, Vec<&Edge>) = self.edges.iter().partition(is_of);
            let others: Vec<Edge> = others.into_iter().cloned().collect();
            own.iter()
                .all(|edge| graph::reaches(self.steps.len(), &others, graph::tail(edge), graph::head(edge)))
        });
        needs
    }

    /// Components in the order of their first step, each once.
    pub(crate) fn components(&self) -> Vec<&str> {
        let mut seen = std::collections::BTreeSet::new();
        self.steps.iter().map(|step| step.id.component()).filter(|name| seen.insert(*name)).collect()
    }
}
