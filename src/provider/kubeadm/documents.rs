//! kubeadm's own documents (v1beta4) from `cozy.yaml`, as JSON, which is YAML.

use serde_json::{Map, Value, json};

use super::{ENDPOINT, Node, PORT, Site, certificates};
use crate::model::cloud::{ProxyMode, Role};

/// Where the key that encrypts Secrets is.
pub(super) const ENCRYPTION: &str = "/etc/kubernetes/encryption";

const SOCKET: &str = "unix:///run/containerd/containerd.sock";

/// What a join needs of the cluster. Secret.
pub(super) struct Credentials {
    /// The bootstrap token.
    pub(super) token: String,
    /// The digest of the cluster's CA.
    pub(super) ca: String,
    /// What the uploaded certificates are encrypted with; for servers.
    pub(super) key: Option<String>,
}

/// Cluster, kubelets and kube-proxy, and the first server.
pub(super) fn init(site: &Site<'_>, node: &Node) -> String {
    let init = json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "InitConfiguration",
        "localAPIEndpoint": { "advertiseAddress": node.address, "bindPort": PORT },
        "nodeRegistration": registration(site, node),
        "timeouts": timeouts(),
    });
    let mut documents = vec![init, cluster(site), kubelet(site)];
    documents.extend(proxy(site));
    join_documents(&documents)
}

/// A further server or an agent.
pub(super) fn join(site: &Site<'_>, node: &Node, credentials: &Credentials) -> String {
    let mut document = json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "JoinConfiguration",
        "discovery": { "bootstrapToken": {
            "apiServerEndpoint": ENDPOINT,
            "token": credentials.token,
            "caCertHashes": [credentials.ca],
        } },
        "nodeRegistration": registration(site, node),
        "timeouts": timeouts(),
    });
    if node.role == Role::Server {
        document["controlPlane"] = json!({
            "localAPIEndpoint": { "advertiseAddress": node.address, "bindPort": PORT },
            "certificateKey": credentials.key,
        });
    }
    join_documents(&[document])
}

/// kubeadm's own limits that slow machines exceed; a phase has another, which is longer.
fn timeouts() -> Value {
    json!({ "kubernetesAPICall": "4m0s", "etcdAPICall": "4m0s", "tlsBootstrap": "8m0s", "discovery": "8m0s" })
}

fn join_documents(documents: &[Value]) -> String {
    let texts: Vec<String> = documents.iter().map(|document| format!("{document:#}\n")).collect();
    texts.join("---\n")
}

pub(super) fn cluster(site: &Site<'_>) -> Value {
    let mut cluster = control_plane(site);
    cluster["apiServer"]["certSANs"] = json!(names(site));
    cluster
}

/// The names that API servers' certificates have besides their own: a server's has its own name and address anyway, so
/// that one more server changes nothing here.
pub(super) fn names(site: &Site<'_>) -> Vec<String> {
    let more = site.cloud.kubernetes.api_server.get("certSANs").and_then(Value::as_array);
    let more = more.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    let mut names = vec![site.endpoint()];
    names.extend(more.filter(|name| *name != site.endpoint()));
    names
}

/// The cluster but for the names in certificates, which running programs do not depend on.
pub(super) fn control_plane(site: &Site<'_>) -> Value {
    let cloud = site.cloud;
    let mut cluster = json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "ClusterConfiguration",
        "clusterName": cloud.name,
        "kubernetesVersion": site.version,
        "controlPlaneEndpoint": ENDPOINT,
        "networking": { "podSubnet": cloud.network.pods, "serviceSubnet": cloud.network.services },
        "apiServer": {
            "extraArgs": [{ "name": "encryption-provider-config", "value": format!("{ENCRYPTION}/config.yaml") }],
            "extraVolumes": [{ "name": "encryption", "hostPath": ENCRYPTION, "mountPath": ENCRYPTION,
                "readOnly": true, "pathType": "Directory" }],
        },
        "proxy": { "disabled": cloud.network.proxy_mode == ProxyMode::Cilium },
    });
    if certificates::asks(cloud)
        && let Some(arguments) = cluster["apiServer"]["extraArgs"].as_array_mut()
    {
        let path = "/etc/kubernetes/pki/ca.crt";
        arguments.push(json!({ "name": "kubelet-certificate-authority", "value": path }));
    }
    let mut over = cloud.kubernetes.api_server.clone();
    over.remove("certSANs");
    merge(&mut cluster["apiServer"], &over);
    if !cloud.kubernetes.etcd.is_empty() {
        cluster["etcd"] = Value::Object(cloud.kubernetes.etcd.clone());
    }
    cluster
}

pub(super) fn kubelet(site: &Site<'_>) -> Value {
    let mut kubelet = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "systemd",
        "rotateCertificates": true,
        // What logs and metrics come over is of the cluster's authority; cozy approves the requests.
        "serverTLSBootstrap": true,
    });
    merge(&mut kubelet, &site.cloud.kubernetes.kubelet);
    kubelet
}

pub(super) fn proxy(site: &Site<'_>) -> Option<Value> {
    let mode = match site.cloud.network.proxy_mode {
        ProxyMode::Cilium => return None,
        ProxyMode::Nftables => "nftables",
        ProxyMode::Iptables => "iptables",
    };
    let mut document = json!({ "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": mode });
    merge(&mut document, &site.cloud.kubernetes.kube_proxy);
    Some(document)
}

fn registration(site: &Site<'_>, node: &Node) -> Value {
    // No labels: a server gives them. Kubelets do not start with most of kubernetes.io, and give themselves back what
    // they were started with.
    let arguments = [json!({ "name": "node-ip", "value": node.address })];
    let taints: Vec<Value> = site.taints(node).iter().filter_map(|taint| self::taint(taint)).collect();
    json!({
        "name": node.name,
        "criSocket": SOCKET,
        "imagePullPolicy": "IfNotPresent",
        "kubeletExtraArgs": arguments,
        "taints": taints,
        "ignorePreflightErrors": site.cloud.kubernetes.ignore_preflight_errors,
    })
}

/// Reads `key=value:Effect`; the schema of `cozy.yaml` has checked its form.
fn taint(text: &str) -> Option<Value> {
    let (pair, effect) = text.rsplit_once(':')?;
    Some(match pair.split_once('=') {
        Some((key, value)) => json!({ "key": key, "value": value, "effect": effect }),
        None => json!({ "key": pair, "effect": effect }),
    })
}

/// Lays the user's words over ours: maps deeply, lists of named things by name. A list or map of ours stays one,
/// whatever is laid over it.
pub(super) fn merge(base: &mut Value, over: &Map<String, Value>) {
    let Value::Object(map) = base else { return };
    for (key, value) in over {
        match (map.get_mut(key), value) {
            (Some(below @ Value::Object(_)), Value::Object(inner)) => merge(below, inner),
            (Some(Value::Array(below)), Value::Array(all)) if named(below) => {
                for one in all {
                    let same = |known: &&mut Value| known.get("name") == one.get("name");
                    match below.iter_mut().find(same) {
                        Some(known) => *known = one.clone(),
                        None => below.push(one.clone()),
                    }
                }
            }
            (Some(Value::Object(_)), _) => {}
            (Some(Value::Array(_)), other) if !other.is_array() => {}
            _ => {
                map.insert(key.clone(), value.clone());
            }
        }
    }
}

fn named(list: &[Value]) -> bool {
    !list.is_empty() && list.iter().all(|one| one.get("name").is_some())
}
