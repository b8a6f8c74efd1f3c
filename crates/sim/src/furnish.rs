//! What a fresh cluster has (namespaces, nodes), and what a fresh namespace gets (its `ServiceAccount` and CA).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::kinds::Kind;
use crate::state::State;
use crate::store::Key;
use crate::{decode, defaults};

/// The label of servers.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

/// What the kubelet says of its node: status, reason and message.
pub(crate) fn readiness(ready: bool) -> (&'static str, &'static str, &'static str) {
    if ready {
        ("True", "KubeletReady", "kubelet is posting ready status")
    } else {
        ("False", "KubeletNotReady", "container runtime network not ready: cni plugin not initialized")
    }
}

impl State {
    /// Makes one of the namespaces that every cluster has.
    pub(crate) fn first_namespace(&mut self, name: &str) {
        let kind = self.builtin("", "v1", "namespaces");
        self.install(&kind, json!({ "metadata": { "name": name } }));
        self.furnish(name);
    }

    /// Makes one of the nodes that are there from the start, ready.
    pub(crate) fn first_node(&mut self, number: usize) {
        let mut labels = Map::new();
        if number == 1 {
            labels.insert(CONTROL_PLANE.to_owned(), json!(""));
        }
        self.node(&format!("node-{number}"), number, labels, true);
    }

    /// Makes a node that joins: it is not ready before it has a pod network.
    pub(crate) fn join(&mut self, name: &str, server: bool, more: &BTreeMap<String, String>) {
        let kind = self.builtin("", "v1", "nodes");
        if self.get(&kind, &Key::new("", name)).is_some() {
            return;
        }
        let number = self.stores.get(&kind.id).map_or(0, |nodes| nodes.objects.len()) + 1;
        let mut labels: Map<String, Value> =
            more.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        if server {
            labels.insert(CONTROL_PLANE.to_owned(), json!(""));
        }
        self.node(name, number, labels, false);
    }

    fn node(&mut self, name: &str, number: usize, more: Map<String, Value>, ready: bool) {
        let kind = self.builtin("", "v1", "nodes");
        let room = json!({ "cpu": "8", "memory": "32Gi", "pods": "110", "ephemeral-storage": "200Gi" });
        let now = self.stamp();
        let (is_ready, reason, message) = readiness(ready);
        let condition = |kind: &str, status: &str, reason: &str, message: &str| {
            json!({ "type": kind, "status": status, "reason": reason, "message": message,
                "lastHeartbeatTime": now, "lastTransitionTime": now })
        };
        let mut labels = json!({
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
            "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "amd64",
        });
        if let Some(labels) = labels.as_object_mut() {
            labels.extend(more);
        }
        self.install(
            &kind,
            json!({
                "metadata": { "name": name, "labels": labels },
                "spec": { "podCIDR": format!("10.244.{number}.0/24"), "podCIDRs": [format!("10.244.{number}.0/24")] },
                "status": {
                    "capacity": room, "allocatable": room,
                    "addresses": [
                        { "type": "InternalIP", "address": format!("192.0.2.{}", 10 + number) },
                        { "type": "Hostname", "address": name },
                    ],
                    "conditions": [
                        condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
                        condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
                        condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
                        condition("Ready", is_ready, reason, message),
                    ],
                    "nodeInfo": {
                        "kubeletVersion": self.options.version, "kubeProxyVersion": "", "architecture": "amd64",
                        "operatingSystem": "linux", "osImage": "simulated", "kernelVersion": "6.12.0",
                        "containerRuntimeVersion": "containerd://2.1.0", "bootID": "", "machineID": "", "systemUUID": "",
                    },
                },
            }),
        );
    }

    /// Puts into a namespace what every namespace gets.
    pub(crate) fn furnish(&mut self, namespace: &str) {
        let account = self.builtin("", "v1", "serviceaccounts");
        self.install_once(&account, json!({ "metadata": { "name": "default", "namespace": namespace } }));
        let config = self.builtin("", "v1", "configmaps");
        let about = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
            endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed \
            across distributions of Kubernetes clusters.";
        let ca = "-----BEGIN CERTIFICATE-----\nc2ltdWxhdGVk\n-----END CERTIFICATE-----\n";
        self.install_once(
            &config,
            json!({
                "metadata": {
                    "name": "kube-root-ca.crt", "namespace": namespace,
                    "annotations": { "kubernetes.io/description": about },
                },
                "data": { "ca.crt": ca },
            }),
        );
    }

    fn install_once(&mut self, kind: &Kind, object: Value) {
        if self.get(kind, &Key::of(&object)).is_none() {
            self.install(kind, object);
        }
    }

    /// Stores an object that the server itself makes.
    fn install(&mut self, kind: &Kind, mut object: Value) {
        let (uid, now) = (self.new_uid(), self.stamp());
        object["apiVersion"] = json!(kind.api_version());
        object["kind"] = json!(kind.kind);
        object["metadata"]["uid"] = json!(uid);
        object["metadata"]["creationTimestamp"] = json!(now);
        decode::object(&mut object, kind);
        defaults::fill(self, kind, None, &mut object);
        self.put(kind, &mut object);
    }
}
