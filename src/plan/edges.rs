//! Edges: written ones (`needs:`), and those found in rendered objects, each
//! with its reason and what it holds back.

use std::collections::BTreeSet;

use foldhash::{HashMap, HashMapExt as _};

use super::admission::Admission;
use super::backends::{self, Backends};
use super::facility::{self, Facility, Providers};
use super::planner::{Desired, Observed, Phase};
use super::{Blocks, Edge, Milestone, PlanError, Reason, Stage, Step, StepId, namespaces, references};
use crate::model::component::GateSpec;
use crate::model::names::ComponentName;
use crate::model::object::{GroupKind, Object, ObjectId, ObjectRef};
use crate::parallel::in_parallel;

/// Which step applies what others may wait for. Every object of a plan asks here several times.
#[derive(Debug, Default)]
struct Owners<'a> {
    kinds: HashMap<GroupKind, usize>,
    namespaces: HashMap<&'a str, usize>,
    /// `APIService`s of other servers, by the group they serve.
    apis: HashMap<&'a str, (usize, &'a ObjectId)>,
    objects: HashMap<ObjectRef<'a>, usize>,
}

impl<'a> Owners<'a> {
    /// Indexes the objects of all steps.
    fn new(steps: &'a [Step]) -> Self {
        let count = steps.iter().map(|step| step.actions.len()).sum();
        let mut owners = Self { objects: HashMap::with_capacity(count), ..Self::default() };
        for (index, step) in steps.iter().enumerate() {
            owners.kinds.extend(step.awaits.iter().filter_map(|made| Some((made.defines()?, index))));
            for object in step.actions.iter().filter_map(|action| action.object.as_ref()) {
                let id = &object.id;
                owners.objects.insert(id.into(), index);
                if let Some(kind) = object.defines() {
                    owners.kinds.insert(kind, index);
                }
                if let Some(group) = object.aggregates() {
                    owners.apis.insert(group, (index, id));
                }
                if id.kind.is("", "Namespace") {
                    owners.namespaces.insert(&id.name, index);
                }
            }
        }
        owners
    }
}

/// Whether a gate's `of:` names an object.
pub(crate) fn gate_is_of(gate: &GateSpec, id: &ObjectId) -> bool {
    names(&gate.of, id)
}

/// Whether `KIND` or `KIND.GROUP` names a kind.
pub(super) fn names_kind(pattern: &str, known: &GroupKind) -> bool {
    let (kind, group) = pattern.split_once('.').map_or((pattern, None), |(kind, group)| (kind, Some(group)));
    kind.eq_ignore_ascii_case(&known.kind) && group.is_none_or(|group| group == known.group)
}

/// Whether `KIND/NAME`, `KIND.GROUP/NAME` or `KIND/NAMESPACE/NAME` names an object.
pub(crate) fn names(pattern: &str, id: &ObjectId) -> bool {
    let parts: Vec<&str> = pattern.split('/').collect();
    let (kind, namespace, name) = match parts.as_slice() {
        [kind, name] => (*kind, None, *name),
        [kind, namespace, name] => (*kind, Some(*namespace), *name),
        _ => return false,
    };
    names_kind(kind, &id.kind)
        && namespace.is_none_or(|namespace| id.namespace.as_deref() == Some(namespace))
        && name == id.name
}

/// Edges from `needs:`: a component, one of its stages, or a capability.
pub(crate) fn needs(
    desired: &Desired,
    observed: &Observed,
    steps: &[Step],
    edges: &mut Vec<Edge>,
) -> Vec<PlanError> {
    let mut of: HashMap<&str, Vec<(usize, Stage)>> = HashMap::default();
    for (index, step) in steps.iter().enumerate() {
        if let StepId::Stage(component, stage) = &step.id {
            of.entry(component.as_str()).or_default().push((index, *stage));
        }
    }
    let mut providers: HashMap<&str, BTreeSet<&str>> = HashMap::default();
    for component in &desired.components {
        let name = component.name.as_str();
        for offered in component.provides.capabilities.iter().map(String::as_str).chain([name]) {
            providers.entry(offered).or_default().insert(name);
        }
    }
    let mut errors = Vec::new();
    for component in &desired.components {
        let own = of.get(component.name.as_str()).map(Vec::as_slice).unwrap_or_default();
        // Others may be in a namespace of this component, and it needs nobody.
        let first = own.iter().find(|(_, stage)| *stage > Stage::Namespaces).or(own.first());
        let Some(&(first, _)) = first else { continue };
        for need in &component.needs {
            let (name, stage) =
                need.split_once('/').map_or((need.as_str(), None), |(name, stage)| (name, Some(stage)));
            // The names of a cluster on hosts are answered once its pods have a network.
            let by_network = name == "dns" && !desired.hosts.is_empty();
            let mut found: Vec<usize> = providers
                .get(name)
                .or_else(|| providers.get("cni").filter(|_| by_network))
                .into_iter()
                .flatten()
                .filter(|provider| **provider != component.name.as_str())
                .filter_map(|provider| of.get(provider))
                .flatten()
                .filter(|(_, of)| stage.is_none_or(|stage| of.to_string() == stage))
                .map(|(index, _)| *index)
                .collect();
            found.sort_unstable();
            // A component without objects has no steps to wait for.
            let there = || {
                let facility = Facility::Capability(name.to_owned());
                match &observed.provided {
                    // Nothing is applied where there is no API server.
                    _ if name == "kubernetes" || by_network => true,
                    Some(provided) => provided.contains(&facility),
                    // A cluster that nobody looked at has capabilities, and none of our components.
                    None => !desired.unwanted.iter().any(|unwanted| unwanted.as_str() == name),
                }
            };
            let nothing_to_wait_for = (providers.contains_key(name) || there()) && stage.is_none();
            if found.is_empty() && !nothing_to_wait_for {
                errors.push(PlanError::UnknownNeed { component: component.name.clone(), need: need.clone() });
            }
            edges.extend(found.into_iter().map(|from| Edge {
                from,
                milestone: Milestone::Ready,
                to: first,
                blocks: Blocks::Apply,
                reason: Reason::Needs(need.clone()),
            }));
        }
    }
    errors
}

/// Edges found in the objects. Each pair of steps gets one edge a kind of
/// reason: the first object that shows it. Answers what nobody provides.
pub(crate) fn inferred(
    desired: &Desired,
    observed: &Observed,
    steps: &[Step],
    edges: &mut Vec<Edge>,
) -> Vec<PlanError> {
    let sources = Sources {
        owners: Owners::new(steps),
        admission: Admission::new(steps),
        backends: Backends::new(steps),
        stood_in: desired.components.iter().filter(|it| it.stood_in).map(|it| it.name.as_str()).collect(),
        providers: Providers::new(desired, steps),
        cni: networks(desired, steps).collect(),
        provided: observed.provided.as_ref(),
        pool: desired.load_balancer_pool,
    };
    let ignored: HashMap<&str, &[ComponentName]> = desired
        .components
        .iter()
        .filter(|component| !component.ignore_edges.is_empty())
        .map(|component| (component.name.as_str(), component.ignore_edges.as_slice()))
        .collect();
    let numbered: Vec<(usize, &Step)> = steps.iter().enumerate().collect();
    let of_step = |(to, step): &(usize, &Step)| {
        let ignored = ignored.get(step.id.component()).copied().unwrap_or_default();
        let (edges, errors, seen) = (Vec::new(), Vec::new(), Vec::new());
        let mut found = Found { to: *to, steps, ignored, edges, errors, seen };
        for object in step.actions.iter().filter_map(|action| action.object.as_deref()) {
            found.of_object(object, &sources);
        }
        (found.edges, found.errors)
    };
    let mut errors = Vec::new();
    for (mut own, wrong) in in_parallel(&numbered, |part| part.iter().map(of_step).collect()) {
        edges.append(&mut own);
        for error in wrong {
            if !is_said(&error, &errors) {
                errors.push(error);
            }
        }
    }
    errors.extend(placeless(observed, steps, &sources.stood_in));
    errors
}

/// Whether an error is said once, and was: without a pod network nothing runs, so the first object that needs it is
/// enough, and one webhook without an answer is enough for a configuration.
fn is_said(error: &PlanError, errors: &[PlanError]) -> bool {
    if let PlanError::Unprovided { facility: wanted, .. } = error
        && *wanted == Facility::network()
    {
        let is_it =
            |said: &PlanError| matches!(said, PlanError::Unprovided { facility, .. } if facility == wanted);
        return errors.iter().any(is_it);
    }
    matches!(error, PlanError::Unanswered { .. }) && errors.contains(error)
}

/// Objects whose namespaces neither a component makes nor the cluster has, the first of each: they would be refused.
/// What is known of components that are stood in for is not all that they bring.
fn placeless(observed: &Observed, steps: &[Step], stood_in: &BTreeSet<&str>) -> Vec<PlanError> {
    let Some(provided) = &observed.provided else { return Vec::new() };
    if !stood_in.is_empty() || namespaces::may_be_made(steps) {
        return Vec::new();
    }
    let mut placeless = namespaces::unmade(steps);
    placeless.retain(|namespace, _| !provided.contains(&Facility::Namespace((*namespace).to_owned())));
    for id in observed.objects.keys() {
        placeless.remove(id.namespace.as_deref().unwrap_or_default());
    }
    let owner = |id: &ObjectId| {
        let step = steps.iter().find(|step| step.actions.iter().any(|action| action.id == *id));
        step.and_then(|step| step.id.component_name()).cloned()
    };
    placeless
        .into_iter()
        .filter_map(|(namespace, id)| {
            let facility = Facility::Namespace(namespace.to_owned());
            Some(PlanError::Unprovided { component: owner(id)?, object: Box::new(id.clone()), facility })
        })
        .collect()
}

/// The steps that give pods their network.
fn networks(desired: &Desired, steps: &[Step]) -> impl Iterator<Item = usize> {
    let networks = desired
        .components
        .iter()
        .filter(|component| component.provides.capabilities.iter().any(|capability| capability == "cni"));
    networks.filter_map(|component| {
        steps.iter().position(|step| step.id == StepId::Stage(component.name.clone(), Stage::Objects))
    })
}

/// Edges to the nodes: the kubelet says that a node is ready when it finds the pod network that a component brings.
pub(crate) fn nodes(desired: &Desired, steps: &[Step], edges: &mut Vec<Edge>) {
    let networks: Vec<usize> =
        networks(desired, steps).filter(|from| steps.get(*from).is_some_and(|step| !step.done)).collect();
    for (to, step) in steps.iter().enumerate() {
        let StepId::Host { host, phase: Phase::Ready } = &step.id else { continue };
        if step.done {
            continue;
        }
        edges.extend(networks.iter().map(|from| Edge {
            from: *from,
            milestone: Milestone::Ready,
            to,
            blocks: Blocks::Apply,
            reason: Reason::NodeNetwork { host: host.clone() },
        }));
    }
}

/// Where edges can come from.
struct Sources<'a> {
    owners: Owners<'a>,
    admission: Admission<'a>,
    backends: Backends<'a>,
    /// Components whose objects are not their own.
    stood_in: BTreeSet<&'a str>,
    providers: Providers,
    /// The steps that give pods their network.
    cni: Vec<usize>,
    /// What the cluster has; `None`: not known.
    provided: Option<&'a BTreeSet<Facility>>,
    /// There are addresses for load balancers.
    pool: bool,
}

/// Collects the edges into one step.
struct Found<'a> {
    to: usize,
    steps: &'a [Step],
    ignored: &'a [ComponentName],
    edges: Vec<Edge>,
    errors: Vec<PlanError>,
    seen: Vec<(usize, Blocks, std::mem::Discriminant<Reason>, Option<Facility>)>,
}

impl Found<'_> {
    fn of_object(&mut self, object: &Object, sources: &Sources<'_>) {
        let id = &object.id;
        let owners = &sources.owners;
        if let Some(&from) = owners.kinds.get(&id.kind) {
            let reason = || Reason::Kind { object: id.clone(), kind: id.kind.clone() };
            self.add(from, Milestone::Ready, Blocks::Apply, reason);
        }
        if let Some(&(from, service)) = owners.apis.get(id.kind.group.as_str()) {
            let reason = || Reason::Api { object: id.clone(), service: service.clone() };
            self.add(from, Milestone::Ready, Blocks::Apply, reason);
        }
        if let Some(namespace) = &id.namespace
            && let Some(&from) = owners.namespaces.get(namespace.as_str())
        {
            let reason = || Reason::Namespace { object: id.clone(), namespace: namespace.clone() };
            self.add(from, Milestone::Applied, Blocks::Apply, reason);
        }
        for guard in sources.admission.of(object) {
            let reason = || Reason::Admission { object: id.clone(), guard: guard.id.clone() };
            self.add(guard.step, Milestone::Ready, Blocks::Apply, reason);
        }
        self.answered(object, sources);
        for facility in facility::used(object) {
            self.facility(id, facility, sources);
        }
        let Some(pod) = references::pod_spec(object) else { return };
        for (target, blocks) in references::references(pod, id.namespace.as_deref()) {
            if let Some(&from) = owners.objects.get(&target) {
                let reason = || Reason::Reference { object: id.clone(), target: target.into() };
                self.add(from, Milestone::Applied, blocks, reason);
            }
        }
        if !references::is_on_host_network(pod) {
            if sources.cni.is_empty() {
                self.no_network(id, sources);
            }
            for &from in &sources.cni {
                self.add(from, Milestone::Ready, Blocks::Ready, || Reason::Network { object: id.clone() });
            }
        }
    }

    /// What is called comes after all that answers; a webhook that nobody will ever answer is not applied at all.
    fn answered(&mut self, object: &Object, sources: &Sources<'_>) {
        let id = &object.id;
        for (namespace, name) in backends::called(object) {
            for from in sources.backends.steps((namespace, name)) {
                self.add_any(from, Milestone::Ready, Blocks::Apply, || Reason::Backend {
                    caller: id.clone(),
                    service: format!("{namespace}/{name}"),
                });
            }
        }
        for (namespace, name) in backends::of_webhooks(object) {
            let service = Facility::Service { namespace: namespace.to_owned(), name: name.to_owned() };
            if sources.backends.has((namespace, name))
                || sources.provided.is_some_and(|provided| provided.contains(&service))
            {
                continue;
            }
            if let Some(StepId::Stage(component, _)) = self.steps.get(self.to).map(|step| &step.id)
                && !sources.stood_in.contains(component.as_str())
            {
                let (component, object) = (component.clone(), Box::new(id.clone()));
                let service = format!("{namespace}/{name}");
                self.errors.push(PlanError::Unanswered { component, object, service });
            }
        }
    }

    /// Without a pod network nothing runs.
    fn no_network(&mut self, id: &ObjectId, sources: &Sources<'_>) {
        let facility = Facility::network();
        if sources.provided.is_none_or(|provided| provided.contains(&facility)) {
            return;
        }
        if let Some(StepId::Stage(component, _)) = self.steps.get(self.to).map(|step| &step.id) {
            let component = component.clone();
            self.errors.push(PlanError::Unprovided { component, object: Box::new(id.clone()), facility });
        }
    }

    /// What an object uses by a general name comes first, or from the cluster, or not at all.
    fn facility(&mut self, id: &ObjectId, facility: Facility, sources: &Sources<'_>) {
        let there = sources.provided.is_none_or(|provided| provided.contains(&facility));
        let component = || match self.steps.get(self.to).map(|step| &step.id) {
            Some(StepId::Stage(component, _)) => Some(component.clone()),
            Some(StepId::Host { .. }) | None => None,
        };
        if let Some(from) = sources.providers.of(&facility) {
            if facility == Facility::LoadBalancer
                && !sources.pool
                && !there
                && !self.ignores(from)
                && let Some(component) = component()
            {
                self.errors.push(PlanError::NoPool { component, object: id.clone() });
            }
            let reason = || Reason::Provided { object: id.clone(), facility };
            self.add(from, Milestone::Ready, Blocks::Ready, reason);
        } else if facility.is_required()
            && !there
            && let Some(component) = component()
        {
            self.errors.push(PlanError::Unprovided { component, object: Box::new(id.clone()), facility });
        }
    }

    /// Whether the component says that it does not wait for a step's.
    fn ignores(&self, from: usize) -> bool {
        let Some(first) = self.steps.get(from) else { return false };
        self.ignored.iter().any(|name| name.as_str() == first.id.component())
    }

    /// Adds an edge from another component's step.
    fn add(&mut self, from: usize, milestone: Milestone, blocks: Blocks, reason: impl FnOnce() -> Reason) {
        let (Some(first), Some(second)) = (self.steps.get(from), self.steps.get(self.to)) else { return };
        if first.id.component() != second.id.component() {
            self.add_any(from, milestone, blocks, reason);
        }
    }

    /// Adds an edge from another step, the first of its kind.
    fn add_any(
        &mut self,
        from: usize,
        milestone: Milestone,
        blocks: Blocks,
        reason: impl FnOnce() -> Reason,
    ) {
        if from == self.to || self.ignores(from) {
            return;
        }
        let reason = reason();
        let facility = match &reason {
            Reason::Provided { facility, .. } => Some(facility.clone()),
            _ => None,
        };
        let key = (from, blocks, std::mem::discriminant(&reason), facility);
        if !self.seen.contains(&key) {
            self.seen.push(key);
            self.edges.push(Edge { from, milestone, to: self.to, blocks, reason });
        }
    }
}
