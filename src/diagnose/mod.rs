//! From a gate that does not hold down to the cause: by owners, claims,
//! endpoints, finalizers and operators, as far as the cluster tells; ended by
//! what to do. Secrets are masked. Nothing here decides what a run does.
//!
//! - `walk`: from object to object; `workloads`: from a workload to a container's last words
//! - `archive`: files for others; `look`: the reading
//! - `patterns`: what messages mean

pub(crate) mod archive;
mod look;
pub(crate) mod patterns;
mod walk;
mod workloads;

use std::collections::BTreeMap;

use kube::api::ListParams;

use crate::cluster::Cluster;
use crate::execute::event::Cause;
use crate::model::mask::Masks;
use crate::model::object::{GroupKind, Object, ObjectId};
use look::Look;

/// What is known of why something is not ready.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    /// From the object down to the cause.
    pub(crate) chain: Vec<Cause>,
    /// What to do, where the cause is known.
    pub(crate) fix: Option<String>,
}

/// The workloads that are likely to look after a kind's objects: those of the component that brings its CRD.
#[derive(Debug, Clone, Default)]
pub(crate) struct Operators(BTreeMap<GroupKind, Vec<ObjectId>>);

impl Operators {
    /// Takes the objects of one component.
    pub(crate) fn add<'a>(&mut self, objects: impl Iterator<Item = &'a Object> + Clone) {
        let runs = |object: &&Object| {
            object.id.kind.group == "apps"
                && ["Deployment", "StatefulSet", "DaemonSet"].contains(&object.id.kind.kind.as_str())
        };
        let workloads: Vec<ObjectId> = objects.clone().filter(runs).map(|object| object.id.clone()).collect();
        for kind in objects.filter_map(Object::defines) {
            self.0.entry(kind).or_default().extend(workloads.iter().cloned());
        }
    }

    fn of(&self, kind: &GroupKind) -> &[ObjectId] {
        self.0.get(kind).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Finds out why an object is not as it should be. `reason` is what its rule or gate says.
pub(crate) async fn diagnose(
    cluster: &Cluster,
    id: &ObjectId,
    reason: &str,
    operators: &Operators,
) -> Diagnosis {
    let look = Look::new(cluster);
    let mut walk = walk::Walk::new(&look, operators);
    walk.from(id, reason).await;
    let Diagnosis { chain, fix } = walk.end();
    let mut secrets = Vec::new();
    for namespace in
        chain.iter().filter_map(|cause| namespace_of(&cause.object)).chain(id.namespace.as_deref())
    {
        secrets
            .extend(look.list(&GroupKind::new("", "Secret"), Some(namespace), ListParams::default()).await);
    }
    let masks = Masks::of(&secrets);
    Diagnosis {
        chain: chain
            .into_iter()
            .map(|cause| Cause { message: masks.mask(&cause.message), ..cause })
            .collect(),
        fix: fix.map(|fix| masks.mask(&fix)),
    }
}

/// The namespace in `Pod n/a`.
fn namespace_of(object: &str) -> Option<&str> {
    object.split_once(' ')?.1.split_once('/').map(|(namespace, _)| namespace)
}
