//! The certificates that end: kubeadm's own, and those of kubelets. When they
//! are renewed, and which requests of kubelets are approved. Pure, but for
//! [`here`], which runs on hosts.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::Node;
use crate::model::cloud::{Cloud, Role};
use crate::x509::{self, Request};

/// Certificates with less time left than this are renewed by the next run.
const EARLY: Duration = Duration::from_secs(60 * 86_400);

/// What kubeadm makes for a year on servers. Its authorities live ten.
const LEAVES: [&str; 11] = [
    "/etc/kubernetes/pki/apiserver.crt",
    "/etc/kubernetes/pki/apiserver-etcd-client.crt",
    "/etc/kubernetes/pki/apiserver-kubelet-client.crt",
    "/etc/kubernetes/pki/front-proxy-client.crt",
    "/etc/kubernetes/pki/etcd/server.crt",
    "/etc/kubernetes/pki/etcd/peer.crt",
    "/etc/kubernetes/pki/etcd/healthcheck-client.crt",
    "/etc/kubernetes/admin.conf",
    "/etc/kubernetes/super-admin.conf",
    "/etc/kubernetes/controller-manager.conf",
    "/etc/kubernetes/scheduler.conf",
];

/// What a kubelet shows to the API server, and renews itself while it can reach it.
const CLIENT: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";

/// What a kubelet shows to those who ask it for logs and metrics.
pub(super) const SERVING: &str = "/var/lib/kubelet/pki/kubelet-server-current.pem";

/// Prints how many seconds each certificate of this host has left, `SECONDS PATH` a line.
pub(crate) fn here(now: i64) -> String {
    let paths = LEAVES.into_iter().chain([CLIENT, SERVING]);
    let lines = paths.filter_map(|path| {
        let text = fs_err::read(path).ok()?;
        // A kubeconfig has its certificate inside.
        Some(format!("{} {path}\n", x509::ends(&text).or_else(|| embedded(&text))? - now))
    });
    lines.collect::<Vec<_>>().concat()
}

/// When the client certificate of a kubeconfig ends.
pub(crate) fn embedded(kubeconfig: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(kubeconfig).ok()?;
    let data = text.lines().find_map(|line| line.trim().strip_prefix("client-certificate-data:"))?;
    x509::ends(&BASE64_STANDARD.decode(data.trim()).ok()?)
}

/// What a host's certificates are found to be: seconds left, by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ends {
    all: Vec<(i64, String)>,
    /// A run that renewed kubeadm's was interrupted: what runs may still have those of before.
    interrupted: bool,
}

impl Ends {
    /// Takes a line of [`here`].
    pub(super) fn read(&mut self, line: &str) {
        if let Some((left, path)) = line.split_once(' ')
            && let Ok(left) = left.parse()
        {
            self.all.push((left, path.to_owned()));
        }
    }

    /// Takes note that a run was interrupted while it renewed them.
    pub(super) fn interrupted(&mut self) {
        self.interrupted = true;
    }

    fn left(&self, path: &str) -> Option<i64> {
        self.all.iter().find(|(_, known)| known == path).map(|(left, _)| *left)
    }

    /// The nearest end of kubeadm's certificates; 0 where nobody knows which of them are in use.
    fn leaves(&self) -> Option<i64> {
        let leaves = self.all.iter().filter(|(_, path)| path != CLIENT && path != SERVING);
        let nearest = leaves.map(|(left, _)| *left).min();
        if self.interrupted { nearest.or(Some(0)).map(|left| left.min(0)) } else { nearest }
    }
}

/// Whether kubelets ask for serving certificates.
pub(super) fn asks(cloud: &Cloud) -> bool {
    cloud.kubernetes.kubelet.get("serverTLSBootstrap") != Some(&serde_json::Value::Bool(false))
}

/// What is done about a host's certificates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Renewal {
    /// kubeadm's are made anew, and what reads them is restarted. Seconds left of the first to end.
    pub(super) leaves: Option<i64>,
    /// The kubelet gets a new client certificate: with one that has ended it cannot ask for another.
    pub(super) client: bool,
    /// The kubelet asks for a serving certificate, and gets it.
    pub(super) serving: bool,
    /// The kubelet has one that is about to end, and is made to ask now.
    pub(super) again: bool,
}

impl Renewal {
    /// Decides. `joined`: the host belongs to the cluster; `fresh`: it is about to.
    pub(super) fn of(cloud: &Cloud, role: Role, joined: bool, ends: &Ends) -> Self {
        let early = i64::try_from(EARLY.as_secs()).unwrap_or(i64::MAX);
        let asks = asks(cloud);
        let serving = ends.left(SERVING);
        let old = serving.is_some_and(|left| left < early);
        Self {
            leaves: ends.leaves().filter(|left| joined && role == Role::Server && *left < early),
            client: joined && ends.left(CLIENT).is_some_and(|left| left <= 0),
            serving: asks && (!joined || serving.is_none() || old),
            again: asks && joined && old,
        }
    }

    /// Whether nothing works before this is done: the API server does not let anybody in.
    pub(super) fn is_urgent(&self) -> bool {
        self.client || self.leaves.is_some_and(|left| left <= 0)
    }

    /// Whether there is nothing to do.
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What is done, for people.
    pub(super) fn work(&self) -> Vec<String> {
        let mut work = Vec::new();
        if let Some(left) = self.leaves {
            let when = match left {
                ..=0 => "ended".to_owned(),
                left => format!("end in {} days", left / 86_400),
            };
            work.push(format!("renew kubeadm's certificates, which {when}"));
            work.push("restart etcd and the control plane".to_owned());
        }
        if self.client {
            work.push("make a new certificate for the kubelet, whose own has ended".to_owned());
            work.push("restart kubelet".to_owned());
        }
        if self.again {
            work.push("restart kubelet, so that it asks for a new serving certificate".to_owned());
        }
        if self.serving {
            work.push("approve the kubelet's serving certificate".to_owned());
        }
        work
    }
}

/// A request of a kubelet for a serving certificate, as the API has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// Its name.
    pub(super) name: String,
    user: String,
    usages: BTreeSet<String>,
    /// In PEM, base64.
    request: String,
}

impl Asked {
    /// Reads what the script printed: `NAME|USER|USAGES|REQUEST`, USAGES as JSON.
    pub(super) fn read(line: &str) -> Option<Self> {
        let mut words = line.trim().split('|');
        let mut next = || words.next().map(str::to_owned);
        let (name, user, usages, request) = (next()?, next()?, next()?, next()?);
        Some(Self { name, user, usages: serde_json::from_str(&usages).ok()?, request })
    }

    /// Whether it asks for nothing but what its node is. Else why not.
    pub(super) fn judge(&self, node: &Node) -> Result<(), String> {
        let user = format!("system:node:{}", node.name);
        if self.user != user {
            return Err(format!("it was made by {}", self.user));
        }
        let allowed = ["digital signature", "key encipherment", "server auth"];
        if let Some(usage) = self.usages.iter().find(|usage| !allowed.contains(&usage.as_str())) {
            return Err(format!("it is for `{usage}`"));
        }
        let pem = BASE64_STANDARD.decode(&self.request).ok();
        let Some(request) = pem.as_deref().and_then(Request::read) else {
            return Err("it cannot be read".to_owned());
        };
        if request.names != [user] || request.organizations != ["system:nodes"] {
            let [names, organizations] = [request.names, request.organizations].map(|all| all.join(", "));
            return Err(format!("its subject is {names} of {organizations}"));
        }
        if let Some(name) = request.dns.iter().find(|name| **name != node.name) {
            return Err(format!("it names the host {name}"));
        }
        let own = node.address.parse().ok();
        if let Some(address) = request.addresses.iter().find(|address| Some(**address) != own) {
            return Err(format!("it names the address {address}"));
        }
        if request.others > 0 {
            return Err("it names something that is neither a host nor an address".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::resolve::CloudFile;

    const DAY: i64 = 86_400;

    fn cloud(more: &str) -> Cloud {
        let text = format!(
            "apiVersion: cozy/v1\nkind: Cloud\nname: demo\nbundle: edge\nhosts: [{{ address: 10.0.0.11 }}]\n{more}"
        );
        CloudFile::read(text.as_bytes(), "cozy.yaml").unwrap().cloud
    }

    fn ends(all: &[(i64, &str)]) -> Ends {
        let mut ends = Ends::default();
        for (left, path) in all {
            ends.read(&format!("{left} {path}"));
        }
        ends
    }

    fn work(role: Role, joined: bool, all: &[(i64, &str)]) -> String {
        let renewal = Renewal::of(&cloud(""), role, joined, &ends(all));
        format!("{}{}", if renewal.is_urgent() { "first: " } else { "" }, renewal.work().join("; "))
    }

    #[test]
    fn certificates_are_renewed_sixty_days_before_their_end_and_ended_ones_first_of_all() {
        let (server, agent) = (Role::Server, Role::Agent);
        let [api, admin] = [LEAVES[0], LEAVES[7]];
        let fine = [(300 * DAY, api), (61 * DAY, admin), (200 * DAY, CLIENT), (200 * DAY, SERVING)];
        assert_eq!(work(server, true, &fine), "");
        let soon = [(300 * DAY, api), (59 * DAY, admin), (200 * DAY, SERVING)];
        assert_eq!(
            work(server, true, &soon),
            "renew kubeadm's certificates, which end in 59 days; restart etcd and the control plane"
        );
        let ended = [(-1, api), (59 * DAY, admin), (200 * DAY, SERVING)];
        assert_eq!(
            work(server, true, &ended),
            "first: renew kubeadm's certificates, which ended; restart etcd and the control plane"
        );
        assert_eq!(
            work(agent, true, &[(-5, CLIENT), (10 * DAY, SERVING)]),
            "first: make a new certificate for the kubelet, whose own has ended; restart kubelet; \
             restart kubelet, so that it asks for a new serving certificate; approve the kubelet's serving certificate"
        );
        // What a kubelet renews itself is left to it.
        assert_eq!(work(agent, true, &[(10 * DAY, CLIENT), (200 * DAY, SERVING)]), "");
        // A fresh host, and one whose run was killed before its request was approved.
        assert_eq!(work(server, false, &[]), "approve the kubelet's serving certificate");
        assert_eq!(work(agent, true, &[(200 * DAY, CLIENT)]), "approve the kubelet's serving certificate");
        // Renewed, and what runs has those of before: a run was killed in between.
        let mut half = ends(&fine);
        half.interrupted();
        let half = Renewal::of(&cloud(""), server, true, &half);
        assert!(half.leaves.is_some() && half.is_urgent(), "{half:?}");
        let own = cloud("kubernetes: { kubelet: { serverTLSBootstrap: false } }\n");
        assert!(Renewal::of(&own, agent, true, &ends(&[])).is_nothing());
    }

    fn asked(user: &str, usages: &str, common: &str, names: &[&str]) -> Asked {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, common);
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:nodes");
        let pem = params.serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap().pem().unwrap();
        Asked::read(&format!("csr-1|{user}|{usages}|{}\n", BASE64_STANDARD.encode(pem))).unwrap()
    }

    #[test]
    fn only_requests_for_what_a_node_is_are_approved() {
        let node = Node {
            name: "h1".to_owned(),
            role: Role::Agent,
            address: "10.0.0.11".to_owned(),
            arch: "amd64",
            labels: std::collections::BTreeMap::new(),
            taints: Vec::new(),
        };
        let user = "system:node:h1";
        let usages = r#"["digital signature","server auth"]"#;
        let judge = |asked: &Asked| asked.judge(&node).unwrap_err();
        assert_eq!(asked(user, usages, user, &["h1", "10.0.0.11"]).judge(&node), Ok(()));
        assert_eq!(judge(&asked("system:node:h2", usages, user, &["h1"])), "it was made by system:node:h2");
        assert_eq!(judge(&asked(user, r#"["client auth"]"#, user, &["h1"])), "it is for `client auth`");
        assert_eq!(
            judge(&asked(user, usages, "system:node:h2", &["h1"])),
            "its subject is system:node:h2 of system:nodes"
        );
        assert_eq!(judge(&asked(user, usages, user, &["h1", "kubernetes"])), "it names the host kubernetes");
        assert_eq!(judge(&asked(user, usages, user, &["10.0.0.12"])), "it names the address 10.0.0.12");
        let broken = Asked { request: "AAAA".to_owned(), ..asked(user, usages, user, &["h1"]) };
        assert_eq!(judge(&broken), "it cannot be read");
    }
}
