//! A component and its contract: `templates/NAME/component.yaml`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::duration::Span;
use super::kinds::Scope;
use super::names::{ComponentName, Namespace};
use super::provided::ProvidedKind;
use super::secret::SecretSetting;

/// The capabilities that the provider of Kubernetes brings.
pub(crate) const PROVIDED: [&str; 3] = ["kubernetes", "cni", "dns"];

/// `kind: Component`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Component {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    /// Its name; equals the folder's.
    pub(crate) name: ComponentName,
    /// One line for `cozy component list`.
    pub(crate) summary: String,
    /// `network`, `storage`, `security`, ….
    pub(crate) category: String,
    /// The version of what it installs.
    pub(crate) version: String,
    /// The namespace it lives in; `None` for components without namespaced objects of their own.
    pub(crate) namespace: Option<NamespaceSpec>,
    /// Where its objects come from.
    #[serde(default)]
    pub(crate) source: Source,
    /// Our own templates, applied after the source is ready.
    #[serde(default)]
    pub(crate) resources: Vec<String>,
    /// The JSON schema of its settings, a file beside this one.
    pub(crate) settings: Option<String>,
    /// What it brings; what a stand-in is made of.
    #[serde(default)]
    pub(crate) provides: Provides,
    /// Components, capabilities or stages (`cert-manager/crds`) that must be ready first.
    #[serde(default)]
    pub(crate) needs: Vec<String>,
    /// Inferred edges to leave out: names of components.
    #[serde(default)]
    pub(crate) ignore_edges: Vec<ComponentName>,
    /// What hosts and Kubernetes must offer.
    #[serde(default)]
    pub(crate) requires: Requires,
    /// Conditions beyond the built-in health rules.
    #[serde(default)]
    pub(crate) gates: Vec<GateSpec>,
    /// How long its objects take to become ready, measured or estimated.
    #[serde(default = "default_expect")]
    pub(crate) expect: Span,
    /// How long it may take.
    #[serde(default = "default_deadline")]
    pub(crate) deadline: Span,
    /// How long a soft failure may last; the rules of `health` when not given.
    pub(crate) grace: Option<Span>,
    /// `DaemonSet`s of this component may match no node.
    #[serde(default)]
    pub(crate) may_be_empty: bool,
    /// Fields that others own and cozy never sends.
    #[serde(default)]
    pub(crate) ignore_fields: Vec<IgnoreField>,
    /// What an upgrade needs.
    pub(crate) upgrade: Option<Upgrade>,
}

const fn default_expect() -> Span {
    Span(std::time::Duration::from_secs(5))
}

const fn default_deadline() -> Span {
    Span(std::time::Duration::from_secs(600))
}

/// The namespace of a component.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NamespaceSpec {
    /// Its name.
    pub(crate) name: Namespace,
    /// The level of the Pod Security Standards it enforces.
    #[serde(default)]
    pub(crate) pod_security: PodSecurity,
}

/// Levels of the Pod Security Standards (<https://kubernetes.io/docs/concepts/security/pod-security-standards/>).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PodSecurity {
    /// No restriction.
    Privileged,
    /// No known privilege escalation.
    Baseline,
    /// Hardened.
    #[default]
    Restricted,
}

/// Where a component's objects come from. At most one of `chart`, `manifest`
/// and `templates` is given.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Source {
    /// A Helm chart.
    pub(crate) chart: Option<Chart>,
    /// The template of the chart's values.
    pub(crate) values: Option<String>,
    /// A file of plain objects.
    pub(crate) manifest: Option<Manifest>,
    /// minijinja templates beside `component.yaml`.
    pub(crate) templates: Option<Vec<String>>,
}

/// A Helm chart's home.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Chart {
    /// `https://` repository, or `oci://` registry path without the chart's name.
    pub(crate) repository: String,
    /// The chart's name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
}

/// A file of plain objects, pinned by its digest. One of `url` and `file` is given.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Manifest {
    /// Where it is downloaded from.
    pub(crate) url: Option<String>,
    /// A file beside `component.yaml`.
    pub(crate) file: Option<String>,
    /// The sha256 of its bytes, 64 hexadecimal digits.
    pub(crate) sha256: String,
}

/// What a component brings.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Provides {
    /// Kinds whose objects live in namespaces: by its CRDs, or by its pods when they run.
    pub(crate) kinds: Vec<ProvidedKind>,
    /// Likewise, kinds whose objects belong to no namespace.
    pub(crate) cluster_kinds: Vec<ProvidedKind>,
    /// Workloads, `deployment/NAME`, in its namespace.
    pub(crate) workloads: Vec<String>,
    /// Webhook configurations, `validating/NAME` or `mutating/NAME`.
    pub(crate) webhooks: Vec<String>,
    /// Storage classes.
    pub(crate) storage_classes: Vec<String>,
    /// Ingress classes.
    pub(crate) ingress_classes: Vec<String>,
    /// Gateway classes.
    pub(crate) gateway_classes: Vec<String>,
    /// Aggregated APIs, `v1beta1.metrics.k8s.io`.
    pub(crate) api_services: Vec<String>,
    /// What others may need by a general name: `cni`, `storage`, `load-balancer`.
    pub(crate) capabilities: Vec<String>,
}

impl Provides {
    /// All kinds, with where their objects live.
    pub(crate) fn all_kinds(&self) -> impl Iterator<Item = (&ProvidedKind, Scope)> {
        let namespaced = self.kinds.iter().map(|kind| (kind, Scope::Namespaced));
        namespaced.chain(self.cluster_kinds.iter().map(|kind| (kind, Scope::Cluster)))
    }
}

/// What a component requires; becomes preflight checks.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Requires {
    /// Of each host.
    pub(crate) host: HostRequirements,
    /// Of Kubernetes: a version range such as `>=1.31`.
    pub(crate) kubernetes: Option<String>,
}

/// What a component requires of each host.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct HostRequirements {
    /// Modules that can be loaded.
    pub(crate) kernel_modules: Vec<String>,
    /// Blank disks named in `cozy.yaml`.
    pub(crate) disks: u32,
    /// The oldest kernel, `5.10`.
    pub(crate) min_kernel: Option<String>,
    /// Hardware virtualization and `/dev/kvm`.
    pub(crate) virtualization: bool,
}

/// A condition beyond the built-in health rules.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GateSpec {
    /// A CEL expression over `object`.
    pub(crate) cel: String,
    /// The object, `KIND/NAME`, `KIND.GROUP/NAME` or `KIND/NAMESPACE/NAME`.
    pub(crate) of: String,
    /// How long it takes to hold.
    pub(crate) expect: Option<Span>,
    /// How long it must hold without a flip.
    pub(crate) stable: Option<Span>,
    /// Sample objects that prove it in `cozy bundle lint`.
    #[serde(default)]
    pub(crate) samples: GateSamples,
}

/// Sample objects of a gate, files beside `component.yaml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct GateSamples {
    /// Objects for which it holds.
    pub(crate) ready: Vec<String>,
    /// Objects for which it does not.
    pub(crate) not_ready: Vec<String>,
}

/// Fields of an object that others own.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct IgnoreField {
    /// The object's kind.
    pub(crate) kind: String,
    /// Its name; all of that kind when not given.
    pub(crate) name: Option<String>,
    /// JSON pointers (RFC 6901) into the object.
    pub(crate) paths: Vec<String>,
}

/// What an upgrade of a component needs.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Upgrade {
    /// The versions it can be upgraded from, a range such as `>=2.8`.
    pub(crate) from: Option<String>,
    /// What is saved first.
    #[expect(dead_code, reason = "read by upgrades")]
    pub(crate) backup: Option<String>,
}

/// A component as this cloud wants it: bundle and `cozy.yaml` merged in.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// The contract.
    pub(crate) component: Component,
    /// Settings with the schema's defaults filled in.
    pub(crate) settings: Map<String, Value>,
    /// Which settings are secrets, and what they are once they were read.
    pub(crate) secrets: Vec<SecretSetting>,
    /// Raw chart values, merged last.
    pub(crate) values: Map<String, Value>,
    /// The user's patches.
    pub(crate) patches: Vec<super::cloud::ObjectPatch>,
    /// The component's files by name, without its folder.
    pub(crate) files: BTreeMap<String, Cow<'static, [u8]>>,
    /// Their folder as people know it, with a slash at its end.
    pub(crate) folder: String,
    /// The chart's or manifest's bytes, where it is at hand.
    pub(crate) artefact: Option<Bytes>,
    /// What the schema of the chart's values refers to, by URL, as far as it is at hand.
    pub(crate) schemas: BTreeMap<String, Bytes>,
}

impl Resolved {
    /// Whether it is a chart that is at hand.
    pub(crate) fn is_chart(&self) -> bool {
        self.component.source.chart.is_some() && self.artefact.is_some()
    }
}
