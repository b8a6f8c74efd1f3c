//! What `.Capabilities` says: versions of Kubernetes and Helm, and the API
//! versions that are known.

use std::rc::Rc;

use crate::object::{KubeVersion, Object};
use crate::value::Value;

/// The version of Helm whose behaviour this crate has.
pub const HELM_VERSION: &str = "v4.3.1";

/// The API versions that Helm knows without a cluster: those of `client-go`'s
/// scheme, in its order.
const KNOWN: &[&str] = &[
    "v1",
    "admissionregistration.k8s.io/v1",
    "admissionregistration.k8s.io/v1alpha1",
    "admissionregistration.k8s.io/v1beta1",
    "internal.apiserver.k8s.io/v1alpha1",
    "apps/v1",
    "apps/v1beta1",
    "apps/v1beta2",
    "authentication.k8s.io/v1",
    "authentication.k8s.io/v1alpha1",
    "authentication.k8s.io/v1beta1",
    "authorization.k8s.io/v1",
    "authorization.k8s.io/v1beta1",
    "autoscaling/v1",
    "autoscaling/v2",
    "batch/v1",
    "batch/v1beta1",
    "certificates.k8s.io/v1",
    "certificates.k8s.io/v1beta1",
    "certificates.k8s.io/v1alpha1",
    "coordination.k8s.io/v1alpha2",
    "coordination.k8s.io/v1beta1",
    "coordination.k8s.io/v1",
    "discovery.k8s.io/v1",
    "discovery.k8s.io/v1beta1",
    "events.k8s.io/v1",
    "events.k8s.io/v1beta1",
    "extensions/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1",
    "flowcontrol.apiserver.k8s.io/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1beta2",
    "flowcontrol.apiserver.k8s.io/v1beta3",
    "lifecycle.k8s.io/v1alpha1",
    "networking.k8s.io/v1",
    "networking.k8s.io/v1beta1",
    "node.k8s.io/v1",
    "node.k8s.io/v1alpha1",
    "node.k8s.io/v1beta1",
    "policy/v1",
    "policy/v1beta1",
    "rbac.authorization.k8s.io/v1",
    "rbac.authorization.k8s.io/v1beta1",
    "rbac.authorization.k8s.io/v1alpha1",
    "resource.k8s.io/v1",
    "resource.k8s.io/v1beta2",
    "resource.k8s.io/v1beta1",
    "resource.k8s.io/v1alpha3",
    "scheduling.k8s.io/v1alpha3",
    "scheduling.k8s.io/v1beta1",
    "scheduling.k8s.io/v1",
    "storage.k8s.io/v1beta1",
    "storage.k8s.io/v1",
    "storage.k8s.io/v1alpha1",
    "storagemigration.k8s.io/v1",
    "storagemigration.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1",
];

/// What templates are told of the cluster.
#[derive(Debug, Clone)]
pub struct Capabilities {
    /// The version of Kubernetes.
    pub kube: KubeVersion,
    /// `v1`, `apps/v1`, `monitoring.coreos.com/v1`, `batch/v1/CronJob`.
    pub api_versions: Vec<String>,
}

impl Default for Capabilities {
    /// Those of `helm template` without flags.
    fn default() -> Self {
        let version = "v1.37.0".to_owned();
        Self {
            kube: KubeVersion {
                normalized: version.clone(),
                version,
                major: "1".to_owned(),
                minor: "37".to_owned(),
            },
            api_versions: KNOWN.iter().map(|version| (*version).to_owned()).collect(),
        }
    }
}

impl Capabilities {
    pub(crate) fn to_value(&self) -> Value {
        let helm = Object::Helm(vec![
            ("Version", HELM_VERSION.to_owned()),
            ("GitCommit", String::new()),
            ("GitTreeState", String::new()),
            ("GoVersion", "go1.26.8".to_owned()),
            ("KubeClientVersion", "v1.37".to_owned()),
        ]);
        Value::Object(Rc::new(Object::Capabilities {
            kube: Rc::new(Object::Kube(self.kube.clone())),
            versions: Rc::new(Object::Versions(Rc::new(self.api_versions.clone()))),
            helm: Rc::new(helm),
        }))
    }
}

impl KubeVersion {
    /// Reads a version as `--kube-version` has it (apimachinery's `ParseGeneric`):
    /// `1.33`, `v1.33.4-gke.1`.
    ///
    /// # Errors
    /// With words, where it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a version of Kubernetes");
        let bare = text.trim_matches([' ', '\t', '\n', '\r']);
        let bare = bare.strip_prefix('v').unwrap_or(bare);
        let end = bare.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(bare.len());
        let numbers = bare.get(..end).unwrap_or_default();
        let numbers = numbers.strip_suffix('.').unwrap_or(numbers);
        let parts: Vec<&str> = numbers.split('.').collect();
        let parsed: Vec<u64> =
            parts.iter().map(|part| part.parse()).collect::<Result<_, _>>().map_err(|_| wrong())?;
        let (Some(major), Some(minor)) = (parsed.first(), parsed.get(1)) else { return Err(wrong()) };
        if parts.first().is_some_and(|first| first.len() > 1 && first.starts_with('0')) {
            return Err(wrong());
        }
        let normalized = parsed.iter().map(u64::to_string).collect::<Vec<_>>().join(".");
        Ok(Self {
            version: if text.starts_with('v') { text.to_owned() } else { format!("v{text}") },
            normalized: format!("v{normalized}"),
            major: major.to_string(),
            minor: minor.to_string(),
        })
    }
}
