//! The kinds that every supported Kubernetes serves without any CRD, and
//! whether their objects live in namespaces.

use std::collections::BTreeSet;

use super::object::{GroupKind, api_version};

/// Where objects of a kind live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// In a namespace.
    Namespaced,
    /// In the cluster as a whole.
    Cluster,
}

/// Kinds that an API version has.
pub(crate) struct Served {
    /// The group; empty: core.
    group: &'static str,
    version: &'static str,
    /// The minor version of Kubernetes that served them first; 31: every supported one.
    pub(crate) since: u32,
    /// Kinds whose objects live in namespaces.
    namespaced: &'static [&'static str],
    /// Kinds whose objects live in no namespace.
    cluster: &'static [&'static str],
    /// Kinds of which nothing is kept: questions, and what is derived from others.
    unkept: &'static [&'static str],
}

impl Served {
    /// `apps/v1`.
    pub(crate) fn api_version(&self) -> String {
        api_version(self.group, self.version)
    }

    /// All kinds.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &'static str> {
        self.namespaced.iter().chain(self.cluster).chain(self.unkept).copied()
    }

    /// The kinds whose objects are kept, as everything that components bring is.
    fn kept(&self) -> impl Iterator<Item = &'static str> {
        self.namespaced.iter().chain(self.cluster).copied()
    }
}

const fn row(
    (group, version, since): (&'static str, &'static str, u32),
    namespaced: &'static [&'static str],
    cluster: &'static [&'static str],
    unkept: &'static [&'static str],
) -> Served {
    Served { group, version, since, namespaced, cluster, unkept }
}

/// What Kubernetes 1.36 serves by default, as a kube-apiserver without flags says it.
pub(crate) const SERVED: &[Served] = &[
    row(
        ("", "v1", 31),
        &[
            "ConfigMap",
            "Endpoints",
            "Event",
            "LimitRange",
            "PersistentVolumeClaim",
            "Pod",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "Service",
            "ServiceAccount",
        ],
        &["Namespace", "Node", "PersistentVolume"],
        &["Binding", "ComponentStatus"],
    ),
    row(
        ("admissionregistration.k8s.io", "v1", 31),
        &[],
        &[
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "ValidatingWebhookConfiguration",
        ],
        &[],
    ),
    row(
        ("admissionregistration.k8s.io", "v1", 36),
        &[],
        &["MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"],
        &[],
    ),
    row(("apiextensions.k8s.io", "v1", 31), &[], &["CustomResourceDefinition"], &[]),
    row(("apiregistration.k8s.io", "v1", 31), &[], &["APIService"], &[]),
    row(
        ("apps", "v1", 31),
        &["ControllerRevision", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"],
        &[],
        &[],
    ),
    row(("authentication.k8s.io", "v1", 31), &[], &[], &["SelfSubjectReview", "TokenReview"]),
    row(
        ("authorization.k8s.io", "v1", 31),
        &[],
        &[],
        &[
            "LocalSubjectAccessReview",
            "SelfSubjectAccessReview",
            "SelfSubjectRulesReview",
            "SubjectAccessReview",
        ],
    ),
    row(("autoscaling", "v1", 31), &["HorizontalPodAutoscaler"], &[], &[]),
    row(("autoscaling", "v2", 31), &["HorizontalPodAutoscaler"], &[], &[]),
    row(("batch", "v1", 31), &["CronJob", "Job"], &[], &[]),
    row(("certificates.k8s.io", "v1", 31), &[], &["CertificateSigningRequest"], &[]),
    row(("coordination.k8s.io", "v1", 31), &["Lease"], &[], &[]),
    row(("discovery.k8s.io", "v1", 31), &["EndpointSlice"], &[], &[]),
    row(("events.k8s.io", "v1", 31), &["Event"], &[], &[]),
    row(("flowcontrol.apiserver.k8s.io", "v1", 31), &[], &["FlowSchema", "PriorityLevelConfiguration"], &[]),
    row(("networking.k8s.io", "v1", 31), &["Ingress", "NetworkPolicy"], &["IngressClass"], &[]),
    row(("networking.k8s.io", "v1", 33), &[], &["IPAddress", "ServiceCIDR"], &[]),
    row(("node.k8s.io", "v1", 31), &[], &["RuntimeClass"], &[]),
    row(("policy", "v1", 31), &["PodDisruptionBudget"], &[], &[]),
    row(
        ("rbac.authorization.k8s.io", "v1", 31),
        &["Role", "RoleBinding"],
        &["ClusterRole", "ClusterRoleBinding"],
        &[],
    ),
    row(
        ("resource.k8s.io", "v1", 34),
        &["ResourceClaim", "ResourceClaimTemplate"],
        &["DeviceClass", "ResourceSlice"],
        &[],
    ),
    row(("scheduling.k8s.io", "v1", 31), &[], &["PriorityClass"], &[]),
    row(
        ("storage.k8s.io", "v1", 31),
        &["CSIStorageCapacity"],
        &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"],
        &[],
    ),
    row(("storage.k8s.io", "v1", 34), &[], &["VolumeAttributesClass"], &[]),
];

/// Groups of which alpha and beta versions can be turned on (`--runtime-config` of the API server, Kubernetes 1.31 to
/// 1.36); those of all other groups are gone for good.
const GROWING: [&str; 7] = [
    "admissionregistration.k8s.io",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "networking.k8s.io",
    "resource.k8s.io",
    "storage.k8s.io",
];

/// The versions at which a built-in kind is served; `None` where one may be served that is not known here.
pub(crate) fn versions(kind: &GroupKind, wanted: &str) -> Option<BTreeSet<String>> {
    let is_early = wanted.contains("alpha") || wanted.contains("beta");
    if is_early && GROWING.contains(&kind.group.as_str()) {
        return None;
    }
    let of = SERVED.iter().filter(|row| row.group == kind.group && row.kept().any(|own| own == kind.kind));
    let of = of.map(|row| row.version.to_owned());
    Some(of.collect()).filter(|versions: &BTreeSet<String>| !versions.is_empty())
}

/// Every built-in kind, at all its versions.
pub(crate) fn all_built_in() -> impl Iterator<Item = GroupKind> {
    SERVED.iter().flat_map(|row| row.kept().map(|kind| GroupKind::new(row.group, kind)))
}

/// Where objects of a built-in kind live; `None` for every other kind.
pub(crate) fn built_in(kind: &GroupKind) -> Option<Scope> {
    let has = |kinds: &[&str]| kinds.contains(&kind.kind.as_str());
    SERVED.iter().filter(|row| row.group == kind.group).find_map(|row| {
        if has(row.namespaced) { Some(Scope::Namespaced) } else { has(row.cluster).then_some(Scope::Cluster) }
    })
}

/// The resource name that API conventions give a kind: `networkpolicies` for `NetworkPolicy`.
pub(crate) fn plural(kind: &str) -> String {
    let singular = kind.to_lowercase();
    if singular == "endpoints" {
        return singular;
    }
    if let Some(stem) = singular.strip_suffix('y')
        && !stem.ends_with(['a', 'e', 'o', 'u'])
    {
        format!("{stem}ies")
    } else if singular.ends_with(['s', 'x']) || singular.ends_with("ch") {
        format!("{singular}es")
    } else {
        format!("{singular}s")
    }
}
