//! The kinds that every supported Kubernetes serves without any CRD, and
//! whether their objects live in namespaces.

use std::collections::BTreeSet;

use super::object::{GroupKind, split_api_version};

/// Where objects of a kind live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// In a namespace.
    Namespaced,
    /// In the cluster as a whole.
    Cluster,
}

/// Built-in kinds by group (Kubernetes 1.31 to 1.36, the stable APIs):
/// group, namespaced kinds, cluster-scoped kinds.
const BUILT_IN: &[(&str, &[&str], &[&str])] = &[
    (
        "",
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
    ),
    (
        "admissionregistration.k8s.io",
        &[],
        &[
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "ValidatingWebhookConfiguration",
        ],
    ),
    ("apiextensions.k8s.io", &[], &["CustomResourceDefinition"]),
    ("apiregistration.k8s.io", &[], &["APIService"]),
    ("apps", &["ControllerRevision", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"], &[]),
    ("autoscaling", &["HorizontalPodAutoscaler"], &[]),
    ("batch", &["CronJob", "Job"], &[]),
    ("certificates.k8s.io", &[], &["CertificateSigningRequest"]),
    ("coordination.k8s.io", &["Lease"], &[]),
    ("discovery.k8s.io", &["EndpointSlice"], &[]),
    ("events.k8s.io", &["Event"], &[]),
    ("flowcontrol.apiserver.k8s.io", &[], &["FlowSchema", "PriorityLevelConfiguration"]),
    ("networking.k8s.io", &["Ingress", "NetworkPolicy"], &["IPAddress", "IngressClass", "ServiceCIDR"]),
    ("node.k8s.io", &[], &["RuntimeClass"]),
    ("policy", &["PodDisruptionBudget"], &[]),
    ("rbac.authorization.k8s.io", &["Role", "RoleBinding"], &["ClusterRole", "ClusterRoleBinding"]),
    ("resource.k8s.io", &["ResourceClaim", "ResourceClaimTemplate"], &["DeviceClass", "ResourceSlice"]),
    ("scheduling.k8s.io", &[], &["PriorityClass"]),
    (
        "storage.k8s.io",
        &["CSIStorageCapacity"],
        &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment", "VolumeAttributesClass"],
    ),
];

/// What Kubernetes 1.36 serves by default, as a kube-apiserver without flags
/// says it: API version, kinds, the minor version that served them first (31:
/// every supported one).
pub(crate) const SERVED: &[(&str, &[&str], u32)] = &[
    (
        "v1",
        &[
            "Binding",
            "ComponentStatus",
            "ConfigMap",
            "Endpoints",
            "Event",
            "LimitRange",
            "Namespace",
            "Node",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "Pod",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "Service",
            "ServiceAccount",
        ],
        31,
    ),
    (
        "admissionregistration.k8s.io/v1",
        &[
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "ValidatingWebhookConfiguration",
        ],
        31,
    ),
    ("admissionregistration.k8s.io/v1", &["MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"], 36),
    ("apiextensions.k8s.io/v1", &["CustomResourceDefinition"], 31),
    ("apiregistration.k8s.io/v1", &["APIService"], 31),
    ("apps/v1", &["ControllerRevision", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"], 31),
    ("authentication.k8s.io/v1", &["SelfSubjectReview", "TokenReview"], 31),
    (
        "authorization.k8s.io/v1",
        &[
            "LocalSubjectAccessReview",
            "SelfSubjectAccessReview",
            "SelfSubjectRulesReview",
            "SubjectAccessReview",
        ],
        31,
    ),
    ("autoscaling/v1", &["HorizontalPodAutoscaler"], 31),
    ("autoscaling/v2", &["HorizontalPodAutoscaler"], 31),
    ("batch/v1", &["CronJob", "Job"], 31),
    ("certificates.k8s.io/v1", &["CertificateSigningRequest"], 31),
    ("coordination.k8s.io/v1", &["Lease"], 31),
    ("discovery.k8s.io/v1", &["EndpointSlice"], 31),
    ("events.k8s.io/v1", &["Event"], 31),
    ("flowcontrol.apiserver.k8s.io/v1", &["FlowSchema", "PriorityLevelConfiguration"], 31),
    ("networking.k8s.io/v1", &["Ingress", "IngressClass", "NetworkPolicy"], 31),
    ("networking.k8s.io/v1", &["IPAddress", "ServiceCIDR"], 33),
    ("node.k8s.io/v1", &["RuntimeClass"], 31),
    ("policy/v1", &["PodDisruptionBudget"], 31),
    ("rbac.authorization.k8s.io/v1", &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"], 31),
    ("resource.k8s.io/v1", &["DeviceClass", "ResourceClaim", "ResourceClaimTemplate", "ResourceSlice"], 34),
    ("scheduling.k8s.io/v1", &["PriorityClass"], 31),
    (
        "storage.k8s.io/v1",
        &["CSIDriver", "CSINode", "CSIStorageCapacity", "StorageClass", "VolumeAttachment"],
        31,
    ),
    ("storage.k8s.io/v1", &["VolumeAttributesClass"], 34),
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
    let of = SERVED.iter().filter_map(|(api_version, kinds, _)| {
        let (group, version) = split_api_version(api_version);
        (group == kind.group && kinds.contains(&kind.kind.as_str())).then(|| version.to_owned())
    });
    Some(of.collect()).filter(|versions: &BTreeSet<String>| !versions.is_empty())
}

/// Every built-in kind.
pub(crate) fn all_built_in() -> impl Iterator<Item = GroupKind> {
    BUILT_IN.iter().flat_map(|(group, namespaced, cluster)| {
        namespaced.iter().chain(*cluster).map(|kind| GroupKind::new(*group, *kind))
    })
}

/// Where objects of a built-in kind live; `None` for every other kind.
pub(crate) fn built_in(kind: &GroupKind) -> Option<Scope> {
    let (_, namespaced, cluster) = BUILT_IN.iter().find(|(group, ..)| *group == kind.group)?;
    if namespaced.contains(&kind.kind.as_str()) {
        Some(Scope::Namespaced)
    } else if cluster.contains(&kind.kind.as_str()) {
        Some(Scope::Cluster)
    } else {
        None
    }
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
