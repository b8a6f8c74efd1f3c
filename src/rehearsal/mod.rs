//! A plan run against the simulated cluster, on a virtual clock: a thread
//! and a runtime of its own, no network, the same bytes for the same input.

pub(crate) mod faults;
#[cfg(test)]
mod gate_tests;
mod hosts;
#[cfg(test)]
mod killed_tests;
#[cfg(test)]
mod pods_tests;
#[cfg(test)]
mod runs_tests;
#[cfg(test)]
mod served_tests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use cozy_sim::{Controllers, Options as SimOptions, Says, Trouble, run_controllers};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use self::faults::Faults;
use self::hosts::RehearsedHosts;
use crate::cluster::error::ClusterError;
use crate::cluster::{ApplyMode, Cluster};
use crate::execute::event::{EventKind, Reporter};
use crate::execute::run::{Finished, Options, Shared, Signal, run};
use crate::model::cloud::{Cloud, Role};
use crate::model::object::{GroupKind, Object, ObjectId};
use crate::plan::planner::{Desired, DesiredComponent, Phase};
use crate::plan::{Plan, Step, StepId, edges, references};

/// What the simulated operators know of the plan.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    /// How long objects take until they are ready.
    times: HashMap<ObjectId, Duration>,
    /// The status that an operator gives to its custom resources.
    statuses: HashMap<GroupKind, Value>,
    /// The CRDs that workloads make when they run.
    brings: HashMap<ObjectId, Vec<Value>>,
    /// The `DaemonSet`s that give pods their network.
    networks: HashSet<ObjectId>,
    /// What goes wrong.
    faults: Faults,
}

impl Script {
    /// Takes expected times from the plan, and statuses from the gates' samples.
    pub(crate) fn new(
        plan: &Plan,
        desired: &Desired,
        samples: impl IntoIterator<Item = Value>,
        faults: Faults,
    ) -> Self {
        let mut script = Self { faults, ..Self::default() };
        let cni = |component: &&DesiredComponent| {
            component.provides.capabilities.iter().any(|capability| capability == "cni")
        };
        let objects = desired.components.iter().filter(cni).flat_map(|component| &component.objects);
        let networks = objects.map(|(_, object)| &object.id).filter(|id| id.kind.kind == "DaemonSet");
        script.networks = networks.cloned().collect();
        for step in &plan.steps {
            script.add_operator(step);
            let factor = script.faults.factor(step.id.component());
            let connects = step.actions.iter().any(|action| script.networks.contains(&action.id));
            for object in step.actions.iter().filter_map(|action| action.object.as_deref()) {
                let gated: Duration = step
                    .gates
                    .iter()
                    .filter(|gate| edges::gate_is_of(gate, &object.id))
                    .filter_map(|gate| gate.expect)
                    .map(|span| span.0)
                    .sum();
                let time = match references::pod_spec(object) {
                    // They wait for the network beside them, and the component's time is that of both.
                    Some(pod) if connects && !references::is_on_host_network(pod) => Duration::ZERO,
                    Some(_) => step.expect,
                    None => gated,
                };
                script.times.insert(object.id.clone(), time.mul_f64(factor));
            }
        }
        for sample in samples {
            if let (Ok(object), Some(status)) = (Object::from_value(sample.clone()), sample.get("status")) {
                script.statuses.insert(object.id.kind, status.clone());
            }
        }
        script
    }

    /// Finds the workload of a step that makes what the step awaits: the one that is called an operator, or the last.
    fn add_operator(&mut self, step: &Step) {
        if step.awaits.is_empty() {
            return;
        }
        let objects = step.actions.iter().filter_map(|action| action.object.as_deref());
        let workloads = objects.filter(|object| references::has_pods(object)).map(|object| &object.id);
        let operator = workloads.max_by_key(|id| id.name.contains("operator"));
        let made = step.awaits.iter().map(|definition| definition.value.clone()).collect();
        self.brings.extend(operator.map(|operator| (operator.clone(), made)));
    }

    fn brought_by(&self, object: &Value) -> Option<Vec<Value>> {
        let object = Object::from_value(object.clone()).ok()?;
        self.brings.get(&object.id).cloned()
    }

    fn time(&self, object: &Value) -> Option<Duration> {
        let object = Object::from_value(object.clone()).ok()?;
        self.times.get(&object.id).copied()
    }

    fn trouble(&self, object: &Value) -> Option<Trouble> {
        let object = Object::from_value(object.clone()).ok()?;
        self.faults.trouble(&object.id)
    }

    fn is_network(&self, object: &Value) -> Option<()> {
        let object = Object::from_value(object.clone()).ok()?;
        self.networks.contains(&object.id).then_some(())
    }

    fn status(&self, object: &Value) -> Option<Value> {
        let object = Object::from_value(object.clone()).ok()?;
        let kind = &object.id.kind;
        let condition = |name: &str| json!({ "type": name, "status": "True", "reason": "Rehearsed" });
        Some(match self.statuses.get(kind) {
            Some(known) => known.clone(),
            None if kind.group == "gateway.networking.k8s.io" && kind.kind == "Gateway" => json!({
                "addresses": [{ "type": "IPAddress", "value": "192.0.2.1" }],
                "conditions": [condition("Accepted"), condition("Programmed")],
            }),
            None => json!({ "conditions": [condition("Ready")] }),
        })
    }
}

/// The host that becomes a node with a step.
fn joins(step: &Step) -> Option<&str> {
    match &step.id {
        StepId::Host { host, phase: Phase::Init | Phase::Join } if !step.done => Some(host),
        StepId::Host { .. } | StepId::Stage(..) => None,
    }
}

/// A namespace that is in the cluster before the run.
fn namespace_of(name: &str) -> Object {
    let id = ObjectId { kind: GroupKind::new("", "Namespace"), namespace: None, name: name.to_owned() };
    let value = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    Object { id, version: "v1".to_owned(), value }
}

/// The workloads of which a rehearsal makes a part of the pods only.
fn shortened(plan: &Plan) -> impl Iterator<Item = String> {
    let actions = plan.steps.iter().filter(|step| !step.done).flat_map(|step| &step.actions);
    actions.filter_map(|action| action.object.as_deref()).filter_map(|object| {
        let wanted = cozy_sim::wanted_pods(&object.value);
        (wanted > cozy_sim::PODS_OF_A_WORKLOAD).then(|| {
            format!("{} wants {wanted} pods: a rehearsal makes {}", object.id, cozy_sim::PODS_OF_A_WORKLOAD)
        })
    })
}

/// How a rehearsal ended.
#[derive(Debug)]
pub(crate) struct Rehearsed {
    /// The run.
    pub(crate) finished: Finished,
    /// Requests that the simulation does not know.
    pub(crate) not_simulated: Vec<String>,
}

/// Why a rehearsal could not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RehearsalError {
    /// No thread or runtime could be had.
    #[error("cannot start the rehearsal")]
    Start(#[source] std::io::Error),
    /// The simulated cluster did not answer.
    #[error("the simulated cluster failed")]
    Cluster(#[source] Box<ClusterError>),
    /// A defect of cozy.
    #[error("the rehearsal ended without a result; please report this")]
    Lost,
}

impl From<ClusterError> for RehearsalError {
    fn from(error: ClusterError) -> Self {
        Self::Cluster(Box::new(error))
    }
}

/// A node of the simulated cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct SimulatedNode {
    /// Its name, which is its host's.
    pub(crate) name: String,
    /// It is a server.
    pub(crate) server: bool,
    /// The labels that its host has in `cozy.yaml`.
    pub(crate) labels: BTreeMap<String, String>,
}

impl SimulatedNode {
    /// The nodes of a cloud, named as the plan of a rehearsal names its hosts; one where it names none.
    pub(crate) fn of(cloud: &Cloud) -> Vec<Self> {
        let mut nodes: Vec<Self> = cloud
            .present_hosts()
            .map(|(index, host)| Self {
                name: host.name.as_ref().map_or_else(|| format!("node-{}", index + 1), ToString::to_string),
                server: cloud.role(index) == Role::Server,
                labels: host.labels.clone(),
            })
            .collect();
        if nodes.is_empty() {
            nodes = Self::some(1);
        }
        nodes
    }

    /// So many nodes, the first a server.
    pub(crate) fn some(count: usize) -> Vec<Self> {
        let one =
            |number| Self { name: format!("node-{number}"), server: number == 1, labels: BTreeMap::new() };
        (1..=count).map(one).collect()
    }
}

/// What a rehearsal is besides its plan.
pub(crate) struct Rehearsal {
    /// The nodes of the simulated cluster: there from the start, or as hosts of the plan join.
    pub(crate) nodes: Vec<SimulatedNode>,
    /// What its operators know.
    pub(crate) script: Script,
    /// The first event of the run.
    pub(crate) started: EventKind,
    /// How the plan is run.
    pub(crate) options: Options,
    /// Ends when the run is to stop.
    pub(crate) signal: BoxFuture<'static, Signal>,
}

impl Rehearsal {
    /// Runs `plan` on a simulated cluster.
    pub(crate) fn run(self, plan: &Plan, reporter: &dyn Reporter) -> Result<Rehearsed, RehearsalError> {
        std::thread::scope(|scope| {
            let worker =
                std::thread::Builder::new().name("rehearsal".to_owned()).spawn_scoped(scope, move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_time()
                        .start_paused(true)
                        .build()
                        .map_err(RehearsalError::Start)?;
                    runtime.block_on(self.simulate(plan, reporter))
                });
            let worker = worker.map_err(RehearsalError::Start)?;
            worker.join().unwrap_or(Err(RehearsalError::Lost))
        })
    }

    async fn simulate(self, plan: &Plan, reporter: &dyn Reporter) -> Result<Rehearsed, RehearsalError> {
        let Self { nodes, script, started, options, signal } = self;
        let simulated = cozy_sim::Cluster::new(SimOptions { nodes: 0, ..SimOptions::default() });
        let joining: HashSet<&str> = plan.steps.iter().filter_map(joins).collect();
        for node in nodes.iter().filter(|node| !joining.contains(node.name.as_str())) {
            simulated.join(&node.name, node.server, &node.labels);
        }
        let script = Arc::new(script);
        let (times, statuses) = (Arc::clone(&script), Arc::clone(&script));
        let (networks, troubles, brings) = (Arc::clone(&script), Arc::clone(&script), Arc::clone(&script));
        let faults = &script.faults;
        let controllers = run_controllers(
            simulated.client(),
            Controllers {
                readiness: Box::new(move |object| times.time(object)),
                status_of: Box::new(move |object| statuses.status(object)),
                trouble: Box::new(move |object| troubles.trouble(object)),
                brings: Box::new(move |object| brings.brought_by(object)),
                // What is not known of components that are stood in for, their operators may make.
                references: plan.stood_in.is_empty(),
                // A cluster where no component brings a pod network has one already.
                network: (!script.networks.is_empty())
                    .then(|| -> Says<()> { Box::new(move |object| networks.is_network(object)) }),
                ..Controllers::default()
            },
        );
        let work = async {
            // The run's own connection is the one that suffers.
            let calm = Cluster::new(simulated.client()).await?;
            calm.ensure_system_namespace().await?;
            let presumed = plan.presumed_namespaces();
            for namespace in &presumed {
                calm.apply(&namespace_of(namespace), ApplyMode::default()).await?;
            }
            let cluster = match faults.client(&simulated) {
                Some(client) => calm.through(client),
                None => calm,
            };
            let hosts = RehearsedHosts::new(&faults.hosts, &simulated, &nodes);
            let shared = Shared::new(Some(&cluster), &hosts, reporter, options);
            shared.report(started);
            for fault in &faults.injected {
                shared.report(EventKind::Warning { message: format!("injected: {fault}") });
            }
            for namespace in presumed {
                let message = format!("no component makes Namespace {namespace}: it is thought to be there");
                shared.report(EventKind::Warning { message });
            }
            for message in shortened(plan) {
                shared.report(EventKind::Warning { message });
            }
            let stop = shared.interrupted(signal).boxed_local();
            Ok(run(&shared, plan, BTreeMap::new(), stop).await)
        };
        tokio::select! {
            biased;
            () = faults.forget(&simulated) => Err(RehearsalError::Lost),
            finished = work => {
                finished.map(|finished| Rehearsed { finished, not_simulated: simulated.not_simulated() })
            }
            () = controllers => Err(RehearsalError::Lost),
        }
    }
}
