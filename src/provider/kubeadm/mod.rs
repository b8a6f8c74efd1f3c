//! The provider kubeadm: upstream Kubernetes on any supported distribution.
//!
//! - `documents`, `files`: everything that is written on a host, from `cozy.yaml`
//! - `steps`: what must be done on which host, from what is there. Pure
//! - `upkeep`: the same on hosts that belong to the cluster: settings, certificates. Pure
//! - `members`, `leave`: who belongs to the cluster, and who may leave it. Pure
//! - `settings`: what changed of them since a host joined. Pure
//! - `scripts`, `scripts_upkeep`: what runs on hosts, the phases as transient units
//! - `certificates`: when they are renewed, and what is approved. Pure
//! - `clean`: a host as it was before
//! - `observe`: looks what is there
//! - `reach`: the API while some of its servers are away
//! - `run`, `run_join`, `run_upkeep`: do it; `uninstall`: undoes it

pub(crate) mod certificates;
mod clean;
mod documents;
mod files;
mod leave;
mod members;
mod observe;
mod reach;
mod run;
mod run_join;
mod run_upkeep;
mod scripts;
#[cfg(test)]
mod scripts_tests;
mod scripts_upkeep;
mod settings;
pub(crate) mod steps;
#[cfg(test)]
mod tests;
mod toml;
mod uninstall;
mod upkeep;
#[cfg(test)]
mod upkeep_tests;

use std::collections::BTreeMap;

pub(crate) use files::authority;
pub(crate) use observe::{Refusal, of_cloud};
pub(crate) use reach::{Ahead, Said, ahead, of_all};
pub(crate) use run::{Gone, Parts, Runner, broken};
pub(crate) use uninstall::Cleaner;

use crate::model::cloud::{Cloud, Role};

/// The port of the local endpoint on every host.
const ENDPOINT: &str = "127.0.0.1:7443";

/// The port of the API servers.
pub(crate) const PORT: u16 = 6443;

/// The taint of servers that leave the work to agents.
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#node-role-kubernetes-io-control-plane-taint>
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane:NoSchedule";

/// What cozy keeps on a host.
const STATE: &str = "/var/lib/cozy";

/// One host as a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Its name in the cluster.
    pub(crate) name: String,
    /// What it is.
    pub(crate) role: Role,
    /// Its own IP address.
    pub(crate) address: String,
    /// Its architecture as releases call it.
    pub(crate) arch: &'static str,
    /// Labels from `cozy.yaml`.
    pub(crate) labels: BTreeMap<String, String>,
    /// Taints from `cozy.yaml`.
    pub(crate) taints: Vec<String>,
}

/// What all nodes share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site<'a> {
    /// What the user wants.
    pub(crate) cloud: &'a Cloud,
    /// The version, `v1.36.3`.
    pub(crate) version: &'a str,
    /// The sandbox image, which containerd must not remove.
    pub(crate) sandbox: &'a str,
    /// All nodes, in the order of `cozy.yaml`.
    pub(crate) nodes: &'a [Node],
}

/// An address as the cluster writes it, whatever form it has in `cozy.yaml`; names stay what they are.
fn canonical(address: &str) -> String {
    address.parse::<std::net::IpAddr>().map_or_else(|_| address.to_owned(), |address| address.to_string())
}

impl Site<'_> {
    /// The servers.
    fn servers(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.role == Role::Server)
    }

    /// The taints of a node: those of `cozy.yaml`, and where there are agents, servers leave the work to them.
    fn taints(&self, node: &Node) -> Vec<String> {
        let mut taints = node.taints.clone();
        let agents = self.nodes.iter().any(|node| node.role == Role::Agent);
        if node.role == Role::Server && agents && !taints.iter().any(|taint| taint == CONTROL_PLANE) {
            taints.push(CONTROL_PLANE.to_owned());
        }
        taints
    }

    /// Where the API is reached from outside.
    pub(crate) fn endpoint(&self) -> String {
        let first = || self.servers().next().map(|node| node.address.clone()).unwrap_or_default();
        self.cloud.kubernetes.endpoint.clone().unwrap_or_else(first)
    }
}
