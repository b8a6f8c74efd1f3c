//! `cozy.yaml`: what the user wants, as typed data with defaults filled in.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::names::{BundleName, CloudName, ComponentName, HostName};

/// `kind: Cloud`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Cloud {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    /// Its name.
    pub(crate) name: CloudName,
    /// The cozy version that may change this cloud; `None`: any.
    pub(crate) version: Option<String>,
    /// The bundle to install.
    pub(crate) bundle: BundleName,
    /// The DNS domain under which services are published.
    pub(crate) domain: Option<String>,
    /// The servers; empty with provider `existing`.
    #[serde(default)]
    pub(crate) hosts: Vec<Host>,
    /// How Kubernetes gets there.
    #[serde(default)]
    pub(crate) kubernetes: Kubernetes,
    /// Address ranges and announcements.
    #[serde(default)]
    pub(crate) network: Network,
    /// Replication.
    #[serde(default)]
    pub(crate) storage: Storage,
    /// What the user says of single components.
    #[serde(default)]
    pub(crate) components: BTreeMap<ComponentName, ComponentConfig>,
    /// Where charts, manifests, binaries and images come from.
    #[serde(default)]
    pub(crate) artifacts: Artifacts,
}

/// One server.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Host {
    /// IP address or DNS name; `None` for this machine.
    pub(crate) address: Option<String>,
    /// The node's name; from the host when not given.
    pub(crate) name: Option<HostName>,
    /// This machine, without SSH.
    #[serde(default)]
    pub(crate) local: bool,
    /// Server or agent; see [`Cloud::role`].
    pub(crate) role: Option<Role>,
    /// The user for SSH.
    pub(crate) user: Option<String>,
    /// The port for SSH.
    pub(crate) port: Option<u16>,
    /// Block devices that storage may format.
    #[serde(default)]
    pub(crate) devices: Vec<PathBuf>,
    /// Node labels.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// Node taints, `key=value:Effect`.
    #[serde(default)]
    pub(crate) taints: Vec<String>,
    /// Present, or to be removed.
    #[serde(default)]
    pub(crate) state: HostState,
}

/// What a host does in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Control plane and etcd.
    Server,
    /// Worker.
    Agent,
}

/// Whether a host belongs to the cloud.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HostState {
    /// It does.
    #[default]
    Present,
    /// It is to be drained and taken out.
    Removed,
}

/// `kubernetes:`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Kubernetes {
    /// Who installs it.
    #[serde(default)]
    pub(crate) provider: Provider,
    /// The version; the newest that is known when not given.
    pub(crate) version: Option<String>,
    /// Name or address under which the API is reached from outside.
    pub(crate) endpoint: Option<String>,
    /// Merged into kubeadm's `KubeletConfiguration`.
    #[serde(default)]
    pub(crate) kubelet: Map<String, Value>,
    /// Merged into `KubeProxyConfiguration`, where kube-proxy is used.
    #[serde(default)]
    pub(crate) kube_proxy: Map<String, Value>,
    /// Merged into kubeadm's `ClusterConfiguration.apiServer`.
    #[serde(default)]
    pub(crate) api_server: Map<String, Value>,
    /// Merged into kubeadm's `ClusterConfiguration.etcd`.
    #[serde(default)]
    pub(crate) etcd: Map<String, Value>,
    /// Merged into containerd's configuration.
    #[serde(default)]
    pub(crate) containerd: Map<String, Value>,
    /// kubeadm's own preflight checks to leave out.
    #[serde(default)]
    pub(crate) ignore_preflight_errors: Vec<String>,
}

/// How Kubernetes gets onto hosts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Provider {
    /// Upstream Kubernetes by kubeadm.
    #[default]
    Kubeadm,
    /// A cluster that is there already, reached by a kubeconfig.
    Existing,
}

impl Provider {
    /// Its name in `cozy.yaml`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Kubeadm => "kubeadm",
            Self::Existing => "existing",
        }
    }
}

/// `network:`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Network {
    /// The pods' CIDR.
    pub(crate) pods: String,
    /// The Services' CIDR.
    pub(crate) services: String,
    /// How load-balancer addresses are announced.
    pub(crate) announce: Announce,
    /// Address ranges or CIDRs for load balancers; empty: no pool.
    pub(crate) load_balancer: Vec<String>,
    /// Who implements Services.
    pub(crate) proxy_mode: ProxyMode,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            pods: "10.42.0.0/16".to_owned(),
            services: "10.43.0.0/16".to_owned(),
            announce: Announce::default(),
            load_balancer: Vec::new(),
            proxy_mode: ProxyMode::default(),
        }
    }
}

/// How load-balancer addresses are announced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Announce {
    /// By ARP and NDP in the hosts' subnet.
    #[default]
    L2,
    /// By BGP.
    Bgp,
    /// Not by this cloud.
    None,
}

/// Who implements Services.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProxyMode {
    /// Cilium, without kube-proxy.
    #[default]
    Cilium,
    /// kube-proxy with nftables.
    Nftables,
    /// kube-proxy with iptables.
    Iptables,
}

/// `storage:`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Storage {
    /// Copies of a replicated volume; see [`Cloud::storage_replicas`].
    pub(crate) replicas: Option<u32>,
}

/// `components.NAME:`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ComponentConfig {
    /// On or off, over what the bundle says.
    pub(crate) enabled: Option<bool>,
    /// Settings, over the bundle's.
    #[serde(default)]
    pub(crate) settings: Map<String, Value>,
    /// Raw chart values, merged last.
    #[serde(default)]
    pub(crate) values: Map<String, Value>,
    /// JSON patches (RFC 6902) of rendered objects.
    #[serde(default)]
    pub(crate) patches: Vec<ObjectPatch>,
    /// A component folder of the user's own, relative to `cozy.yaml`.
    pub(crate) path: Option<PathBuf>,
}

/// A JSON patch for the objects that `target` matches.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ObjectPatch {
    /// Which objects.
    pub(crate) target: PatchTarget,
    /// The operations of RFC 6902.
    pub(crate) patch: Vec<Value>,
}

/// Which objects a patch is for; what is not given matches all.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PatchTarget {
    /// The kind.
    pub(crate) kind: String,
    /// The API group.
    pub(crate) group: Option<String>,
    /// The name.
    pub(crate) name: Option<String>,
    /// The namespace.
    pub(crate) namespace: Option<String>,
}

/// `artifacts:`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Artifacts {
    /// Where everything is looked for first: `https://`, `oci://` or `file://`.
    pub(crate) mirror: Option<String>,
    /// Registry mirrors for containerd: registry to endpoints.
    pub(crate) registries: BTreeMap<String, Vec<String>>,
    /// The proxy for downloads.
    pub(crate) proxy: Option<String>,
    /// A file with additional certificate authorities (PEM).
    pub(crate) ca: Option<PathBuf>,
    /// Whether digests must match the lock.
    pub(crate) verify: bool,
}

impl Default for Artifacts {
    fn default() -> Self {
        Self { mirror: None, registries: BTreeMap::new(), proxy: None, ca: None, verify: true }
    }
}

impl Cloud {
    /// Hosts that belong to the cloud.
    pub(crate) fn present_hosts(&self) -> impl Iterator<Item = (usize, &Host)> {
        self.hosts.iter().enumerate().filter(|(_, host)| host.state == HostState::Present)
    }

    /// The role of the host at `index`: as written, else server for the first
    /// and agent for the others.
    pub(crate) fn role(&self, index: usize) -> Role {
        let written = self.hosts.get(index).and_then(|host| host.role);
        written.unwrap_or(if index == 0 { Role::Server } else { Role::Agent })
    }

    /// Servers that stay.
    pub(crate) fn servers(&self) -> usize {
        self.present_hosts().filter(|(index, _)| self.role(*index) == Role::Server).count()
    }

    /// Copies of a replicated volume: as written, else min(3, hosts with devices), at least 1.
    pub(crate) fn storage_replicas(&self) -> usize {
        let with_devices = self.present_hosts().filter(|(_, host)| !host.devices.is_empty()).count();
        self.storage.replicas.map_or(with_devices.clamp(1, 3), |replicas| replicas as usize)
    }
}
