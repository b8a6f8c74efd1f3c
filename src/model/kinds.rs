//! The kinds that every supported Kubernetes serves without any CRD, and
//! whether their objects live in namespaces.

use super::object::GroupKind;

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

/// Every built-in kind.
#[cfg(test)]
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
