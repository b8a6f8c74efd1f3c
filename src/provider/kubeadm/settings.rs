//! Settings that changed since a host joined: what they concern, and nothing
//! else, is applied, server by server. Pure.
//!
//! Marks on the host say what was applied there: a digest, or for labels and
//! taints the text itself, as those that are gone must be taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::steps::{Found, mark};
use super::{Node, STATE, Site, documents, scripts};
use crate::host::quote;
use crate::model::artefact::Digest;
use crate::model::cloud::Role;

/// What settings concern, in the order in which they are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// etcd, the API server, the controller manager, the scheduler.
    ControlPlane,
    /// The names in the API server's certificate.
    Names,
    /// The kubelet's configuration.
    Kubelet,
    /// kube-proxy, of the whole cluster.
    KubeProxy,
    /// Labels and taints.
    Node,
}

impl Part {
    const ALL: [Self; 5] = [Self::ControlPlane, Self::Names, Self::Kubelet, Self::KubeProxy, Self::Node];

    /// Where the mark is.
    pub(super) fn path(self) -> String {
        let name = match self {
            Self::ControlPlane => "control-plane",
            Self::Names => "names",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
            Self::Node => "node",
        };
        format!("{STATE}/applied/{name}")
    }

    /// What is done, for people.
    fn work(self) -> &'static [&'static str] {
        match self {
            Self::ControlPlane => &[
                "write the control plane's manifests anew",
                "restart what changed of etcd and the control plane",
            ],
            Self::Names => &["make a new certificate for the API server, with the names that changed"],
            Self::Kubelet => &["write the kubelet's configuration anew", "restart kubelet"],
            Self::KubeProxy => &["write kube-proxy's configuration anew", "restart kube-proxy on all nodes"],
            Self::Node => &["set the node's labels and taints"],
        }
    }
}

/// The paths of all marks.
pub(super) fn marks() -> impl Iterator<Item = String> {
    Part::ALL.into_iter().map(Part::path)
}

/// A host's settings once they are applied: the texts of the marks that say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings(BTreeMap<Part, String>);

impl Settings {
    /// What a node is to have.
    pub(super) fn of(site: &Site<'_>, node: &Node) -> Self {
        let digest = |text: String| mark(Digest::of(text.as_bytes()));
        let mut parts = BTreeMap::from([
            (Part::Kubelet, digest(documents::kubelet(site).to_string())),
            (Part::Node, labels_and_taints(site, node)),
        ]);
        if node.role == Role::Server {
            parts.insert(Part::ControlPlane, digest(documents::control_plane(site).to_string()));
            parts.insert(Part::Names, digest(documents::names(site).join("\n")));
            parts.insert(Part::KubeProxy, kube_proxy(site));
        }
        Self(parts)
    }

    /// What a node has once it has joined: a server gives it its labels after that.
    pub(super) fn of_join(site: &Site<'_>, node: &Node) -> Self {
        Self::of(site, &Node { labels: BTreeMap::new(), ..node.clone() })
    }

    /// This part of them.
    pub(super) fn only(self, part: Part) -> Self {
        Self(self.0.into_iter().filter(|(one, _)| *one == part).collect())
    }

    /// The end of a phase's script: what was applied is marked.
    pub(super) fn marked(&self) -> String {
        let mut script = format!("mkdir -p {STATE}/applied\n");
        for (path, text) in self.texts() {
            let _ = writeln!(script, "printf %s {} >{path}.new\nmv {path}.new {path}", quote(text));
        }
        script
    }

    /// The marks: where each is, and its text.
    pub(super) fn texts(&self) -> impl Iterator<Item = (String, &str)> {
        self.0.iter().map(|(part, text)| (part.path(), text.as_str()))
    }

    /// What of it a host that belongs to the cluster does not have yet.
    pub(super) fn changed(&self, found: &Found) -> Change {
        let differs = |(part, text): &(&Part, &String)| match found.digest(&part.path()) {
            Some(digest) => digest != Digest::of(text.as_bytes()).to_string(),
            // Hosts of a cozy that did not mark these.
            None => !(matches!(part, Part::Node | Part::KubeProxy) && is_nothing(text)),
        };
        let parts = self.0.iter().filter(|_| found.joined).filter(differs).map(|(part, _)| *part);
        let mut change = Change { parts: parts.collect(), kube_proxy_stays: false };
        // Whoever needs it has nothing else before Cilium is there, and its rules stay until a host starts anew.
        if self.0.get(&Part::KubeProxy).is_some_and(|text| is_nothing(text)) {
            change.kube_proxy_stays = change.parts.remove(&Part::KubeProxy);
        }
        change
    }
}

/// The mark of a cluster without kube-proxy, and of a node without labels and taints.
const NOTHING: &str = "";

fn is_nothing(text: &str) -> bool {
    text == NOTHING
}

fn kube_proxy(site: &Site<'_>) -> String {
    documents::proxy(site)
        .map_or_else(|| NOTHING.to_owned(), |document| mark(Digest::of(document.to_string().as_bytes())))
}

/// `label KEY=VALUE` and `taint KEY=VALUE:EFFECT` lines of what a node is to have.
fn labels_and_taints(site: &Site<'_>, node: &Node) -> String {
    let labels = node.labels.iter().map(|(key, value)| format!("label {key}={value}\n"));
    let taints = site.taints(node).into_iter().map(|taint| format!("taint {taint}\n"));
    labels.chain(taints).collect()
}

/// The script, for a server, that gives a Node its labels and taints, and takes those away that are not wanted any
/// more of `before`, the mark of what it got last. Those of others stay.
pub(super) fn label_and_taint(site: &Site<'_>, node: &Node, before: &str) -> String {
    let name = quote(&node.name);
    let wanted = labels_and_taints(site, node);
    let lines = |text: &str, kind: &str| -> BTreeSet<String> {
        text.lines().filter_map(|line| line.strip_prefix(kind)).map(str::to_owned).collect()
    };
    let mut script = format!("set -eu\nKUBECONFIG={}; export KUBECONFIG\n", scripts::ADMIN);
    let key = |line: &str| line.split('=').next().unwrap_or_default().to_owned();
    let labels = lines(&wanted, "label ");
    let gone = lines(before, "label ").into_iter().map(|line| key(&line));
    let gone = gone.filter(|one| labels.iter().all(|line| key(line) != *one)).map(|key| format!("{key}-"));
    let words: Vec<String> = labels.iter().cloned().chain(gone).map(|word| quote(&word)).collect();
    if !words.is_empty() {
        let _ = writeln!(script, "kubectl label --overwrite node {name} {} >/dev/null", words.join(" "));
    }
    let taints = lines(&wanted, "taint ");
    let words: Vec<String> = taints.iter().map(|word| quote(word)).collect();
    if !words.is_empty() {
        let _ = writeln!(script, "kubectl taint --overwrite node {name} {} >/dev/null", words.join(" "));
    }
    let one = |taint: &String| {
        let (pair, effect) = taint.rsplit_once(':').unwrap_or((taint, ""));
        format!("{}:{effect}", key(pair))
    };
    let wanted: BTreeSet<String> = taints.iter().map(one).collect();
    for gone in lines(before, "taint ").iter().map(one).filter(|one| !wanted.contains(one)) {
        // Somebody may have taken it away already.
        let path = r#"{range .spec.taints[*]}{.key}:{.effect}{"\n"}{end}"#;
        let (has, gone) = (quote(&gone), quote(&format!("{gone}-")));
        let _ = writeln!(
            script,
            "if kubectl get node {name} -o jsonpath='{path}' | grep -qxF {has}; then kubectl taint node {name} {gone} >/dev/null; fi"
        );
    }
    script
}

/// What changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Change {
    parts: BTreeSet<Part>,
    /// Cilium is to replace kube-proxy, which is there.
    pub(super) kube_proxy_stays: bool,
}

impl Change {
    /// Whether there is nothing to apply.
    pub(super) fn is_nothing(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether something of this changed.
    pub(super) fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    /// Whether joins and upgrades must know of it: they take these settings from the cluster.
    pub(super) fn is_shared(&self) -> bool {
        [Part::ControlPlane, Part::Names, Part::Kubelet].into_iter().any(|part| self.has(part))
    }

    /// Takes the marks away of what is about to change: settings that fail are not those of before, and going back
    /// to those is a change, too. That of labels and taints stays: it says what is to be taken away.
    pub(super) fn forgotten(&self) -> String {
        let parts = self.parts.iter().filter(|part| **part != Part::Node);
        let marks: Vec<String> = parts.map(|part| part.path()).collect();
        if marks.is_empty() { "true".to_owned() } else { format!("rm -f {}", marks.join(" ")) }
    }

    /// What is done, for people.
    pub(super) fn work(&self) -> Vec<String> {
        self.parts.iter().flat_map(|part| part.work()).map(|line| (*line).to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(labels: &[(&str, &str)], taints: &[&str]) -> Node {
        Node {
            name: "h1".to_owned(),
            role: Role::Agent,
            address: "10.0.0.11".to_owned(),
            arch: "amd64",
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            taints: taints.iter().map(|taint| (*taint).to_owned()).collect(),
        }
    }

    #[test]
    fn labels_and_taints_that_are_gone_from_cozy_yaml_are_taken_away_and_no_others() {
        let text =
            "apiVersion: cozy/v1\nkind: Cloud\nname: demo\nbundle: edge\nhosts: [{ address: 10.0.0.11 }]\n";
        let cloud = crate::model::resolve::CloudFile::read(text.as_bytes(), "cozy.yaml").unwrap().cloud;
        let site = Site { cloud: &cloud, version: "", sandbox: "", nodes: &[] };
        let before = labels_and_taints(
            &site,
            &node(&[("zone", "a"), ("old", "1")], &["gpu=yes:NoSchedule", "x:NoExecute"]),
        );
        let node = node(&[("zone", "b")], &["gpu=no:NoSchedule", "y:NoExecute"]);
        let script = label_and_taint(&site, &node, &before);
        insta::assert_snapshot!(script, @r#"
        set -eu
        KUBECONFIG=/etc/kubernetes/admin.conf; export KUBECONFIG
        kubectl label --overwrite node h1 zone=b old- >/dev/null
        kubectl taint --overwrite node h1 gpu=no:NoSchedule y:NoExecute >/dev/null
        if kubectl get node h1 -o jsonpath='{range .spec.taints[*]}{.key}:{.effect}{"\n"}{end}' | grep -qxF x:NoExecute; then kubectl taint node h1 x:NoExecute- >/dev/null; fi
        "#);
    }
}
