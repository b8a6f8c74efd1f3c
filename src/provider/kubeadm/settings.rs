//! Settings of Kubernetes that changed since a host joined: what they concern,
//! and nothing else, is restarted, server by server. Pure.

use std::fmt::Write as _;

use super::steps::{Found, mark};
use super::{Node, STATE, Site, documents};
use crate::model::artefact::Digest;
use crate::model::cloud::Role;

/// What a host's settings are when they are applied: digests, for the marks that say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    /// Of the kubelet's configuration.
    pub(super) kubelet: Digest,
    /// Of the control plane's; servers have one.
    pub(super) control_plane: Option<Digest>,
}

/// Where the marks are.
pub(super) fn marks() -> [String; 2] {
    ["kubelet", "control-plane"].map(|name| format!("{STATE}/applied/{name}"))
}

impl Settings {
    /// What a node is to have.
    pub(super) fn of(site: &Site<'_>, node: &Node) -> Self {
        let digest = |text: String| Digest::of(text.as_bytes());
        let control_plane = (node.role == Role::Server).then(|| digest(documents::cluster(site).to_string()));
        Self { kubelet: digest(documents::kubelet(site).to_string()), control_plane }
    }

    /// The end of a phase's script: what was applied is marked.
    pub(super) fn marked(&self) -> String {
        let [kubelet, control_plane] = marks();
        let mut script = format!("mkdir -p {STATE}/applied\necho {} >{kubelet}\n", self.kubelet);
        if let Some(digest) = &self.control_plane {
            let _ = writeln!(script, "echo {digest} >{control_plane}");
        }
        script
    }

    /// What of it a host that belongs to the cluster does not have yet.
    pub(super) fn changed(&self, found: &Found) -> Change {
        let [kubelet, control_plane] = marks();
        let differs = |path: &str, digest: Digest| {
            let wanted = Digest::of(mark(digest).as_bytes()).to_string();
            found.joined && found.digest(path) != Some(wanted.as_str())
        };
        Change {
            kubelet: differs(&kubelet, self.kubelet),
            control_plane: self.control_plane.is_some_and(|digest| differs(&control_plane, digest)),
        }
    }
}

/// What changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// The kubelet's configuration.
    pub(super) kubelet: bool,
    /// The control plane's.
    pub(super) control_plane: bool,
}

impl Change {
    /// Whether nothing did.
    pub(super) fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// Takes the marks away of what is about to change: settings that fail are not those of before, and going back
    /// to those is a change, too.
    pub(super) fn forgotten(self) -> String {
        let all = marks().into_iter().zip([self.kubelet, self.control_plane]);
        let marks: Vec<String> = all.filter(|(_, changes)| *changes).map(|(mark, _)| mark).collect();
        format!("rm -f {}", marks.join(" "))
    }

    /// What is done, for people.
    pub(super) fn work(self) -> Vec<String> {
        let mut work = Vec::new();
        if self.control_plane {
            work.push("write the control plane's manifests anew".to_owned());
            work.push("restart what changed of etcd and the control plane".to_owned());
        }
        if self.kubelet {
            work.push("write the kubelet's configuration anew".to_owned());
            work.push("restart kubelet".to_owned());
        }
        work
    }
}
