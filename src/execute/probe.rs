//! What no watch tells, so it is asked once the objects look ready: whether a
//! CRD's kinds are in discovery, whether an aggregated API answers, and
//! whether a webhook answers for what the plan will send through it.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::event::{Cause, EventKind, Failure};
use super::failed::failed;
use super::retry;
use super::run::Shared;
use crate::cluster::error::ClusterError;
use crate::cluster::{ApplyMode, Cluster};
use crate::code::Code;
use crate::health::admission::{self, Webhook};
use crate::model::duration::human;
use crate::model::object::{GroupKind, Object, ObjectId};
use crate::plan::{Plan, StepId};

/// How long one look at discovery is tried.
const DISCOVERY: Duration = Duration::from_secs(5);

/// A question about one object of a step.
enum Probe<'a> {
    /// Does discovery have this kind, at this version?
    Served(GroupKind, String),
    /// Does the server behind this group and version answer?
    Group(&'a str, &'a str),
    /// Do these webhooks answer?
    Webhooks(Vec<Webhook<'a>>),
}

impl Probe<'_> {
    /// What is waited for while there is no answer.
    fn waits(&self) -> &'static str {
        match self {
            Self::Served(..) => "established, not served in discovery yet",
            Self::Group(..) => "available, but it does not answer, or is not in discovery yet",
            Self::Webhooks(_) => "its webhook does not answer a dry-run yet",
        }
    }
}

/// Asks about all objects of a step, until each answer is there.
pub(super) async fn ask(
    shared: &Shared<'_>,
    (plan, step): (&Plan, &StepId),
    objects: &[&Object],
    deadline: Instant,
) -> Result<(), Failure> {
    let started = Instant::now();
    let probes: Vec<(&Object, Probe<'_>)> = objects
        .iter()
        .flat_map(|object| probes(object).into_iter().map(move |probe| (*object, probe)))
        .collect();
    let refresh = async || shared.cluster()?.discover().await;
    if probes
        .iter()
        .any(|(object, probe)| matches!(probe, Probe::Served(..)) && is_written(plan, step, object))
    {
        // What was known before it was written may be of another definition by the same name.
        let _ = retry::until(deadline.min(Instant::now() + DISCOVERY), refresh, |_| {}).await;
    }
    for (index, (object, probe)) in probes.iter().enumerate() {
        let act = async || answer(shared.cluster()?, plan, probe, &object.id).await;
        let report = |retry: retry::Retry<'_>| {
            // The lag is expected: it is waited for, and said once.
            if retry.attempt == 1 {
                shared.report(EventKind::Waiting {
                    step: step.clone(),
                    object: object.id.to_string(),
                    reason: probe.waits().to_owned(),
                    remaining: probes.len() - index,
                    soft_failure: false,
                });
            }
        };
        retry::until(deadline, act, report).await.map_err(|error| Failure {
            code: Code(3001),
            message: format!("not ready after {} (gate: {})", human(started.elapsed()), object.id),
            chain: vec![Cause {
                object: object.id.to_string(),
                message: format!("{}\n{}", probe.waits(), failed(&error).message),
            }],
            hint: Some("mend the cause, and run the same command again".to_owned()),
        })?;
    }
    Ok(())
}

/// Whether this run has written an object of a step.
fn is_written(plan: &Plan, step: &StepId, object: &Object) -> bool {
    let own = plan.steps.iter().filter(|known| known.id == *step).flat_map(|step| &step.actions);
    own.into_iter().any(|action| action.verb.writes() && action.id == object.id)
}

fn probes(object: &Object) -> Vec<Probe<'_>> {
    let text = |pointer: &str| object.value.pointer(pointer).and_then(Value::as_str);
    if let Some(kind) = object.defines() {
        let versions = object.value.pointer("/spec/versions").and_then(Value::as_array);
        let served = versions
            .into_iter()
            .flatten()
            .filter(|version| version.get("served").and_then(Value::as_bool) == Some(true))
            .filter_map(|version| version.get("name")?.as_str());
        return served.map(|version| Probe::Served(kind.clone(), version.to_owned())).collect();
    }
    match (object.id.kind.group.as_str(), object.id.kind.kind.as_str()) {
        ("apiregistration.k8s.io", "APIService") if object.value.pointer("/spec/service").is_some() => {
            match (text("/spec/group"), text("/spec/version")) {
                (Some(group), Some(version)) => vec![Probe::Group(group, version)],
                _ => Vec::new(),
            }
        }
        (
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
        ) => {
            vec![Probe::Webhooks(admission::closed(&object.value))]
        }
        _ => Vec::new(),
    }
}

async fn answer(
    cluster: &Cluster,
    plan: &Plan,
    probe: &Probe<'_>,
    of: &ObjectId,
) -> Result<(), ClusterError> {
    match probe {
        Probe::Served(kind, version) => is_served(cluster, &[(kind, version, of)]).await,
        Probe::Group(group, version) => {
            cluster.answers(group, version).await?;
            // The API server asks it for its kinds by and by.
            let theirs: Vec<(&GroupKind, &str, &ObjectId)> = planned(plan)
                .map(|object| (&object.id.kind, object.version.as_str(), &object.id))
                .filter(|(kind, of, _)| kind.group == *group && of == version)
                .collect();
            is_served(cluster, &theirs).await
        }
        Probe::Webhooks(webhooks) => {
            for webhook in webhooks {
                called(cluster, plan, webhook).await?;
            }
            Ok(())
        }
    }
}

/// The objects of a plan.
fn planned(plan: &Plan) -> impl Iterator<Item = &Object> {
    plan.steps.iter().flat_map(|step| &step.actions).filter_map(|action| action.object.as_deref())
}

/// Whether discovery has all of these kinds, each at a version, and for the sake of an object.
async fn is_served(cluster: &Cluster, all: &[(&GroupKind, &str, &ObjectId)]) -> Result<(), ClusterError> {
    let missing = || all.iter().find(|(kind, version, _)| !cluster.serves(kind, version));
    if missing().is_some() {
        // Discovery is several requests: that one of them failed says nothing of the kind.
        let soon = Instant::now() + DISCOVERY;
        retry::until(soon, async || cluster.discover().await, |_| {}).await?;
    }
    match missing() {
        None => Ok(()),
        Some((.., object)) => Err(ClusterError::NoSuchKind { object: object.to_string() }),
    }
}

/// Sends the first object of the plan that a webhook judges, as a dry-run.
/// That the webhook refuses it is an answer, too.
async fn called(cluster: &Cluster, plan: &Plan, webhook: &Webhook<'_>) -> Result<(), ClusterError> {
    for object in planned(plan) {
        let Some(plural) = cluster.plural(&object.id.kind) else { continue };
        if !webhook.judges(object, &plural) {
            continue;
        }
        let namespace = match &object.id.namespace {
            Some(name) => {
                let id =
                    ObjectId { kind: GroupKind::new("", "Namespace"), namespace: None, name: name.clone() };
                match cluster.get(&id, "v1").await? {
                    Some(namespace) => Some(namespace),
                    // Nothing gets as far as the webhook without its namespace.
                    None => continue,
                }
            }
            None => None,
        };
        let operation =
            if cluster.get(&object.id, &object.version).await?.is_some() { "UPDATE" } else { "CREATE" };
        if !webhook.is_called(operation) || !webhook.selects(object, namespace.as_ref()) {
            continue;
        }
        return match cluster.apply(object, ApplyMode { force: true, dry_run: true }).await {
            Err(error) if error.is_transient() => Err(error),
            Ok(_) | Err(_) => Ok(()),
        };
    }
    Ok(())
}
