//! Why there can be no plan, with the code and what to do.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::facility::Facility;
use super::live::FieldConflict;
use super::{Edge, Step};
use crate::code::Code;
use crate::model::names::ComponentName;
use crate::model::object::{ObjectId, api_version};

/// Why there can be no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlanError {
    /// Nobody provides an object's kind.
    #[error("component `{component}`: {object} is a {}, which no component provides and the cluster does not serve", .object.kind)]
    UnknownKind {
        /// Whose object.
        component: ComponentName,
        /// The first object of that kind.
        object: Box<ObjectId>,
        /// The kind that may have been meant.
        near: Option<String>,
    },
    /// A kind is known, and not at this version.
    #[error("component `{component}`: {object} is written as `{}`, {}", api_version(&.object.kind.group, .version), served_as(.object, .served))]
    UnknownVersion {
        /// Whose object.
        component: ComponentName,
        /// The first object of that kind and version.
        object: Box<ObjectId>,
        /// Its version.
        version: String,
        /// The versions at which the kind is served.
        served: BTreeSet<String>,
    },
    /// A gate is to judge a kind that nobody knows.
    #[error(
        "component `{component}`: its gate of `{of}` judges a kind that no component provides and the cluster does not serve"
    )]
    UnknownGate {
        /// Whose gate.
        component: ComponentName,
        /// What it judges, as it is written.
        of: String,
        /// The kind that may have been meant.
        near: Option<String>,
    },
    /// Nobody provides what a component needs.
    #[error("component `{component}` needs `{need}`, which no enabled component is or provides")]
    UnknownNeed {
        /// Who needs it.
        component: ComponentName,
        /// What.
        need: String,
    },
    /// Nobody provides what an object uses by a general name.
    #[error(
        "component `{component}`: {object} uses {facility}, which no enabled component provides and the cluster does not have"
    )]
    Unprovided {
        /// Whose object.
        component: ComponentName,
        /// The object.
        object: Box<ObjectId>,
        /// What it uses.
        facility: Facility,
    },
    /// There are no addresses for load balancers.
    #[error(
        "component `{component}`: {object} is of type LoadBalancer, and `network.loadBalancer` names no addresses"
    )]
    NoPool {
        /// Whose object.
        component: ComponentName,
        /// The Service.
        object: ObjectId,
    },
    /// Nobody would answer a fail-closed webhook.
    #[error(
        "component `{component}`: {object} is answered by Service {service}, which is neither in the plan nor known to be in the cluster: it would refuse all that it judges"
    )]
    Unanswered {
        /// Whose object.
        component: ComponentName,
        /// The webhook configuration.
        object: Box<ObjectId>,
        /// The Service's namespace and name.
        service: String,
    },
    /// Other managers own fields that would change.
    #[error("component `{component}`: {object} has fields that others own: {}", FieldConflict::words(.conflicts))]
    Conflict {
        /// Whose object.
        component: ComponentName,
        /// The object.
        object: Box<ObjectId>,
        /// Each field with its manager.
        conflicts: Vec<FieldConflict>,
    },
    /// An object would have to be deleted and made again.
    #[error("component `{component}`: {object} cannot be changed as wanted: {}", .fields.join(", "))]
    Fixed {
        /// Whose object.
        component: ComponentName,
        /// The object.
        object: Box<ObjectId>,
        /// The fields, each with the server's words.
        fields: Vec<String>,
    },
    /// Others made an object.
    #[error("component `{component}`: {object} exists, and is of no inventory{}", by(.managers))]
    Foreign {
        /// Whose object.
        component: ComponentName,
        /// The object.
        object: Box<ObjectId>,
        /// Who has fields in it.
        managers: Vec<String>,
    },
    /// The cluster has components of another cloud.
    #[error(
        "this cluster has components of cloud `{other}`, and this is cloud `{own}`: they would be deleted"
    )]
    OtherCloud {
        /// Whose components there are.
        other: String,
        /// The cloud that is wanted.
        own: String,
    },
    /// A server's removal would give up etcd's quorum.
    #[error(
        "`{host}` cannot be removed: {}{up} of {all} members of etcd {} up, and {needed} {} needed for a quorum",
        if *.then { "then " } else { "" },
        if *.then { "would be" } else if *.up == 1 { "is" } else { "are" },
        if *.needed == 1 { "is" } else { "are" }
    )]
    Quorum {
        /// The host.
        host: String,
        /// Whether it is so after the removal; else before it.
        then: bool,
        /// Voting members that answer.
        up: usize,
        /// Voting members.
        all: usize,
        /// How many must answer.
        needed: usize,
    },
    /// A new cluster would be made beside one that may live.
    #[error(
        "`{host}` is to be removed, and no server that stays belongs to its cluster: a second cluster would be made"
    )]
    Stranded {
        /// The server that is to be removed.
        host: String,
    },
    /// A host runs another release of Kubernetes than the one that is wanted.
    #[error(
        "`{host}` runs Kubernetes {has}, and this cloud is to have {wants}: an install does not change it"
    )]
    Release {
        /// The host.
        host: String,
        /// What it runs.
        has: String,
        /// What is wanted.
        wants: String,
    },
    /// A host is in the cluster as something else than is wanted.
    #[error("host `{host}` belongs to the cluster as {is}, and cozy.yaml wants {wanted}")]
    Other {
        /// The host.
        host: String,
        /// What it is.
        is: String,
        /// What it should be.
        wanted: String,
    },
    /// Hosts belong to clusters that know nothing of each other.
    #[error("hosts `{one}` and `{other}` belong to two different clusters")]
    TwoClusters {
        /// The host that speaks for the cluster.
        one: String,
        /// One with another certificate authority.
        other: String,
    },
    /// An agent belongs to a cluster, and no server does.
    #[error("host `{host}` belongs to a cluster of which no server is among the hosts")]
    Orphan {
        /// The agent.
        host: String,
    },
    /// A server was taken out of its cluster, and does not know it.
    #[error("`{host}` was taken out of the cluster while it was off: it is there again, and etcd refuses it")]
    Expelled {
        /// The server.
        host: String,
    },
    /// A host that leaves may be any of the nodes.
    #[error("`{host}` is to be removed and does not answer, and which node it was cannot be told")]
    Nameless {
        /// The host.
        host: String,
    },
    /// Steps wait for each other.
    #[error("steps wait for each other: {path}")]
    Cycle {
        /// The steps of the cycle with the reason of each edge.
        path: String,
    },
}

fn by(managers: &[String]) -> String {
    let names: Vec<String> = managers.iter().map(|manager| format!("`{manager}`")).collect();
    if names.is_empty() { String::new() } else { format!(": {} made it", names.join(", ")) }
}

fn served_as(object: &ObjectId, served: &BTreeSet<String>) -> String {
    let kind = &object.kind.kind;
    if served.is_empty() {
        return format!("and {kind} is served at no version");
    }
    let served: Vec<String> =
        served.iter().map(|version| format!("`{}`", api_version(&object.kind.group, version))).collect();
    format!("and {kind} is served as {} only", served.join(" and "))
}

impl PlanError {
    /// Whether what is in the cluster stands in the way, and nothing that was written wrongly.
    pub(crate) fn is_of_cluster(&self) -> bool {
        match self {
            Self::Conflict { .. }
            | Self::Fixed { .. }
            | Self::Foreign { .. }
            | Self::OtherCloud { .. }
            | Self::Quorum { .. }
            | Self::Stranded { .. }
            | Self::Release { .. }
            | Self::Other { .. }
            | Self::TwoClusters { .. }
            | Self::Orphan { .. }
            | Self::Expelled { .. }
            | Self::Nameless { .. } => true,
            Self::UnknownKind { .. }
            | Self::UnknownVersion { .. }
            | Self::UnknownGate { .. }
            | Self::UnknownNeed { .. }
            | Self::Unprovided { .. }
            | Self::NoPool { .. }
            | Self::Unanswered { .. }
            | Self::Cycle { .. } => false,
        }
    }

    /// Whether it may be well in a cluster that has more than what the components bring.
    pub(crate) fn may_be_there(&self) -> bool {
        matches!(
            self,
            Self::UnknownKind { .. }
                | Self::UnknownGate { .. }
                | Self::Unprovided { .. }
                | Self::NoPool { .. }
        )
    }

    pub(super) fn cycle<'a>(steps: &[Step], cycle: impl Iterator<Item = &'a Edge>) -> Self {
        let name = |index: usize| steps.get(index).map(|step| step.id.to_string()).unwrap_or_default();
        let mut path = String::new();
        for edge in cycle {
            if path.is_empty() {
                path = name(edge.from);
            }
            let _ = write!(path, " → {} ({})", name(edge.to), edge.reason);
        }
        Self::Cycle { path }
    }

    /// The stable code.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::UnknownKind { .. } | Self::UnknownVersion { .. } => Code(2501),
            Self::UnknownGate { .. } => Code(2514),
            Self::UnknownNeed { .. } => Code(2502),
            Self::Cycle { .. } => Code(2503),
            Self::Unprovided { .. } => Code(2504),
            Self::NoPool { .. } => Code(2505),
            Self::Fixed { .. } => Code(2506),
            Self::Foreign { .. } => Code(2507),
            Self::Quorum { .. } => Code(2508),
            Self::Stranded { .. } => Code(2509),
            Self::Release { .. } => Code(2510),
            Self::Other { .. } => Code(2511),
            Self::TwoClusters { .. } => Code(2512),
            Self::Unanswered { .. } => Code(2513),
            Self::Orphan { .. } => Code(2515),
            Self::Expelled { .. } => Code(2516),
            Self::Nameless { .. } => Code(2517),
            Self::OtherCloud { .. } => Code(2518),
            // The same when it turns up while it is applied.
            Self::Conflict { .. } => Code(4003),
        }
    }

    /// What to do.
    pub(crate) fn hint(&self) -> Cow<'static, str> {
        match self {
            Self::UnknownKind { near: Some(near), .. } | Self::UnknownGate { near: Some(near), .. } => {
                Cow::Owned(format!("did you mean `{near}`?"))
            }
            Self::UnknownVersion { object, served, .. } => {
                // Stable versions come after all others: `v1` is less than `v1beta1` as a text.
                let best = served.iter().max_by_key(|version| (!version.contains(['a', 'b']), *version));
                match best {
                    Some(version) => Cow::Owned(format!(
                        "write `apiVersion: {}`",
                        api_version(&object.kind.group, version)
                    )),
                    None => {
                        Cow::Borrowed("let one of its versions be served, in its CustomResourceDefinition")
                    }
                }
            }
            Self::OtherCloud { own, .. } => Cow::Owned(format!(
                "{}; where it is the same cloud under a new name: \
                 `kubectl -n cozy-system label secret -l cozy/inventory cozy/cloud={own} --overwrite`",
                self.fixed_hint()
            )),
            others => Cow::Borrowed(others.fixed_hint()),
        }
    }

    /// What to do, where it is always the same.
    fn fixed_hint(&self) -> &'static str {
        match self {
            Self::UnknownKind { .. } | Self::UnknownVersion { .. } => {
                "enable the component that brings this kind, or install its CustomResourceDefinition"
            }
            Self::UnknownGate { .. } => {
                "write `of: KIND/NAME`, or `KIND.GROUP/NAME`, of an object of this component"
            }
            Self::UnknownNeed { .. } => {
                "enable that component in cozy.yaml, or mend `needs:` in component.yaml"
            }
            Self::Unprovided { facility, .. } => facility.remedy(),
            Self::NoPool { .. } => {
                "give a range with `network: { loadBalancer: [10.0.0.200-10.0.0.220] }` in cozy.yaml"
            }
            Self::Unanswered { .. } => {
                "name the Service that serves the webhook; or let everything pass while nobody answers, with `failurePolicy: Ignore`"
            }
            Self::Conflict { .. } => FieldConflict::REMEDY,
            Self::Fixed { .. } => {
                "take the change back; or delete the object with `kubectl delete`, where that loses nothing, and run the same command again"
            }
            Self::Foreign { .. } => "`--adopt` takes it over; else give one of the two another name",
            Self::OtherCloud { .. } => "put the components of both into one cozy.yaml",
            Self::Quorum { .. } => {
                "start the servers that are down, or let others join first; a server that is gone for good is removed before one that lives"
            }
            Self::Stranded { .. } => {
                "let the new servers join first: install once with `state: present` on the old ones, then remove these"
            }
            Self::Release { .. } => {
                "write the version that it runs as `kubernetes.version` in cozy.yaml; that of a catalogue's lock comes in with an upgrade"
            }
            Self::Other { .. } => {
                "put it back in cozy.yaml; or take the host out first (`state: removed` and --remove-hosts), then let it join anew"
            }
            Self::TwoClusters { .. } => {
                "take the one out of cozy.yaml that does not belong here; `cozy uninstall --hosts` with a cozy.yaml of its own makes it a fresh server again"
            }
            Self::Orphan { .. } => {
                "put its servers back into cozy.yaml; where they are gone, `cozy uninstall --hosts` first makes it a fresh server again, without what it holds"
            }
            Self::Expelled { .. } => {
                "`state: removed` and --remove-hosts clean it; after that, with `state: present`, it joins anew"
            }
            Self::Nameless { .. } => {
                "say with `name:` in cozy.yaml which node it was; or take the host out there, if it has left already"
            }
            Self::Cycle { .. } => {
                "take one of the written `needs:` out, or stop it at a stage such as `needs: [x/crds]`"
            }
        }
    }
}
