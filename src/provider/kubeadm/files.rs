//! The text files of a host: units, kernel settings, containerd's
//! configuration. Changing a text here restarts what reads it, everywhere.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::documents::{self, merge};
use super::{ENDPOINT, Node, PORT, STATE, Site, toml};
use crate::model::cloud::{ProxyMode, Role};

/// What must be restarted when a file changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Service {
    /// The container runtime.
    Containerd,
    /// The local endpoint of the API servers.
    Proxy,
    /// The node agent.
    Kubelet,
}

impl Service {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Containerd, Self::Proxy, Self::Kubelet];

    /// Its unit.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Proxy => "cozy-proxy",
            Self::Kubelet => "kubelet",
        }
    }
}

/// A text file of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TextFile {
    /// Where it goes.
    pub(super) path: String,
    /// What is in it.
    pub(super) text: String,
    /// Its permissions.
    pub(super) mode: u32,
    /// Who reads it at its start.
    pub(super) service: Option<Service>,
}

/// Where the list of API servers for the local endpoint is.
pub(crate) const SERVERS: &str = "/etc/cozy/servers";

/// Where containerd looks for mirrors of registries, a folder each.
pub(super) const CERTS_D: &str = "/etc/containerd/certs.d";

/// How files begin that were written from `cozy.yaml`.
pub(super) const WRITTEN: &str = "# Written by cozy";

const CONTAINERD_UNIT: &str = "# Written by cozy.
[Unit]
Description=container runtime
After=network.target local-fs.target

[Service]
Type=notify
ExecStartPre=-/sbin/modprobe overlay
ExecStart=/usr/local/bin/containerd
Delegate=yes
KillMode=process
Restart=always
RestartSec=5
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
OOMScoreAdjust=-999

[Install]
WantedBy=multi-user.target
";

const KUBELET_UNIT: &str = "# Written by cozy.
[Unit]
Description=Kubernetes node agent
Wants=network-online.target
After=network-online.target containerd.service cozy-proxy.service
ConditionPathExists=/var/lib/kubelet/config.yaml

[Service]
Environment=\"KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf\"
Environment=\"KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml\"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
ExecStart=/usr/local/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS
Restart=always
RestartSec=1
StartLimitInterval=0

[Install]
WantedBy=multi-user.target
";

/// All text files of a node, in the order in which they are written.
pub(super) fn all(site: &Site<'_>, node: &Node) -> Vec<TextFile> {
    let kube_proxy = site.cloud.network.proxy_mode != ProxyMode::Cilium;
    let modules = if kube_proxy { "overlay\nbr_netfilter\n" } else { "overlay\n" };
    let mut settings = "net.ipv4.ip_forward = 1\n".to_owned();
    if kube_proxy {
        settings
            .push_str("net.bridge.bridge-nf-call-iptables = 1\nnet.bridge.bridge-nf-call-ip6tables = 1\n");
    }
    // kubeadm wants it where anything in the cluster has an IPv6 address. A host that forwards takes its default route
    // from no router any more, unless it is told to.
    let network = &site.cloud.network;
    if [&network.pods, &network.services, &node.address].iter().any(|text| text.contains(':')) {
        settings.push_str(
            "net.ipv6.conf.all.forwarding = 1\nnet.ipv6.conf.default.forwarding = 1\nnet.ipv6.conf.all.accept_ra = 2\n\
             net.ipv6.conf.default.accept_ra = 2\n",
        );
    }
    let mut servers = String::new();
    for server in site.servers() {
        let _ = writeln!(servers, "{}", authority(&server.address));
    }
    let file =
        |path: &str, text: String, service| TextFile { path: path.to_owned(), text, mode: 0o644, service };
    let mut files = vec![
        file("/etc/modules-load.d/cozy.conf", modules.to_owned(), None),
        file("/etc/sysctl.d/80-cozy.conf", settings, None),
        // The proxy reads it again by itself.
        file(SERVERS, servers, None),
        file("/etc/containerd/config.toml", containerd(site), Some(Service::Containerd)),
        file("/etc/systemd/system/containerd.service", CONTAINERD_UNIT.to_owned(), Some(Service::Containerd)),
        file("/etc/systemd/system/cozy-proxy.service", proxy_unit(), Some(Service::Proxy)),
        file("/etc/systemd/system/kubelet.service", KUBELET_UNIT.to_owned(), Some(Service::Kubelet)),
    ];
    for (registry, endpoints) in &site.cloud.artifacts.registries {
        // containerd reads these at each pull.
        let path = format!("{CERTS_D}/{registry}/hosts.toml");
        files.push(file(&path, mirror(registry, endpoints), None));
    }
    if node.role == Role::Server {
        let mut own = file(&format!("{STATE}/kubeadm.json"), documents::init(site, node), None);
        own.mode = 0o600;
        files.push(own);
    }
    files
}

/// An API server as it is dialed.
pub(crate) fn authority(address: &str) -> String {
    if address.contains(':') { format!("[{address}]:{PORT}") } else { format!("{address}:{PORT}") }
}

fn proxy_unit() -> String {
    format!(
        "# Written by cozy.
[Unit]
Description=local endpoint of the Kubernetes API servers
After=network.target
Before=kubelet.service

[Service]
ExecStart=/usr/local/bin/cozy host proxy --listen {ENDPOINT} --servers {SERVERS}
DynamicUser=yes
Restart=always
RestartSec=1
StartLimitInterval=0
LimitNOFILE=65536
OOMScoreAdjust=-900

[Install]
WantedBy=multi-user.target
"
    )
}

fn containerd(site: &Site<'_>) -> String {
    let mut config = json!({
        "version": 3,
        "plugins": {
            "io.containerd.cri.v1.images": {
                "pinned_images": { "sandbox": site.sandbox },
                "registry": { "config_path": CERTS_D },
            },
            "io.containerd.cri.v1.runtime": {
                "cni": { "bin_dirs": ["/opt/cni/bin"], "conf_dir": "/etc/cni/net.d" },
                "containerd": { "runtimes": { "runc": {
                    "runtime_type": "io.containerd.runc.v2",
                    "options": { "SystemdCgroup": true },
                } } },
            },
        },
    });
    merge(&mut config, &site.cloud.kubernetes.containerd);
    let map = match config {
        Value::Object(map) => map,
        _ => serde_json::Map::new(),
    };
    format!(
        "# Written by cozy; `kubernetes.containerd` in cozy.yaml is merged into it.\n{}",
        toml::document(&map)
    )
}

fn mirror(registry: &str, endpoints: &[String]) -> String {
    // containerd knows by itself where Docker's registry is, unless a server is named.
    let server = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
    let mut text = format!("{WRITTEN} from `artifacts.registries`.\nserver = \"https://{server}\"\n");
    for endpoint in endpoints {
        let _ = write!(
            text,
            "\n[host.{}]\ncapabilities = [\"pull\", \"resolve\"]\n",
            Value::from(endpoint.as_str())
        );
    }
    text
}
