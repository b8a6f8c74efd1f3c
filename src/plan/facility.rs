//! What objects use by a general name, and who provides it: classes, issuers, load-balancer addresses.

use std::fmt;

use foldhash::HashMap;
use serde_json::Value;

use super::planner::Desired;
use super::{Stage, Step, StepId};
use crate::model::object::Object;

/// Something that is used by a general name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Facility {
    /// A named `StorageClass`.
    StorageClass(String),
    /// The `StorageClass` of claims that name none.
    DefaultStorageClass,
    /// A named `IngressClass`.
    IngressClass(String),
    /// A named `GatewayClass`.
    GatewayClass(String),
    /// A cert-manager `Issuer`.
    Issuer {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A cert-manager `ClusterIssuer`.
    ClusterIssuer(String),
    /// An address for a Service of type `LoadBalancer`.
    LoadBalancer,
    /// A Service that answers webhooks.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A namespace for objects.
    Namespace(String),
    /// What a component or a cluster offers under a general name, such as `cni`.
    Capability(String),
}

impl Facility {
    /// A network for pods.
    pub(crate) fn network() -> Self {
        Self::Capability("cni".to_owned())
    }

    /// Whether nothing can become ready without it. A claim may also be bound to a volume made by hand.
    pub(crate) fn is_required(&self) -> bool {
        !matches!(self, Self::StorageClass(_) | Self::DefaultStorageClass)
    }

    /// What to do where nobody provides it.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::StorageClass(_) | Self::DefaultStorageClass => "enable a component that provides storage",
            Self::IngressClass(_) => {
                "enable an ingress controller, or name a class that a component provides"
            }
            Self::GatewayClass(_) => "enable a Gateway controller, or name a class that a component provides",
            Self::Issuer { .. } | Self::ClusterIssuer(_) => {
                "enable the component that makes this issuer, or name one that exists"
            }
            Self::LoadBalancer => {
                "enable a component that provides `load-balancer`, and give it addresses with `network.loadBalancer`"
            }
            Self::Service { .. } => "enable the component that brings this Service",
            Self::Namespace(_) => {
                "let a component make it: with `namespace:` in component.yaml, or a Namespace among its objects"
            }
            Self::Capability(_) => "enable a component that provides it",
        }
    }
}

impl fmt::Display for Facility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StorageClass(name) => write!(f, "StorageClass {name}"),
            Self::DefaultStorageClass => f.write_str("the default StorageClass"),
            Self::IngressClass(name) => write!(f, "IngressClass {name}"),
            Self::GatewayClass(name) => write!(f, "GatewayClass {name}"),
            Self::Issuer { namespace, name } => write!(f, "Issuer {namespace}/{name}"),
            Self::ClusterIssuer(name) => write!(f, "ClusterIssuer {name}"),
            Self::LoadBalancer => f.write_str("a load-balancer address"),
            Self::Service { namespace, name } => write!(f, "Service {namespace}/{name}"),
            Self::Namespace(name) => write!(f, "Namespace {name}"),
            Self::Capability(name) if name == "cni" => f.write_str("a pod network (`cni`)"),
            Self::Capability(name) => write!(f, "`{name}`"),
        }
    }
}

/// The steps after which facilities are there.
#[derive(Debug, Default)]
pub(crate) struct Providers {
    steps: HashMap<Facility, usize>,
}

impl Providers {
    /// Finds what components declare, and what their objects are.
    pub(crate) fn new(desired: &Desired, steps: &[Step]) -> Self {
        let mut last: HashMap<&str, usize> = HashMap::default();
        for (index, step) in steps.iter().enumerate() {
            if matches!(&step.id, StepId::Stage(_, stage) if *stage != Stage::Prune) {
                last.insert(step.id.component(), index);
            }
        }
        let mut found = Self::default();
        for component in &desired.components {
            let Some(&step) = last.get(component.name.as_str()) else { continue };
            let provides = &component.provides;
            let storage = provides.storage_classes.iter().cloned().map(Facility::StorageClass);
            let ingress = provides.ingress_classes.iter().cloned().map(Facility::IngressClass);
            let gateway = provides.gateway_classes.iter().cloned().map(Facility::GatewayClass);
            let addresses = provides.capabilities.iter().filter(|name| *name == LOAD_BALANCER);
            for facility in
                storage.chain(ingress).chain(gateway).chain(addresses.map(|_| Facility::LoadBalancer))
            {
                found.steps.insert(facility, step);
            }
        }
        for (index, step) in steps.iter().enumerate() {
            for object in step.actions.iter().filter_map(|action| action.object.as_deref()) {
                for facility in provided(object) {
                    // An issuer is ready by itself; a class needs what serves it.
                    let own = matches!(facility, Facility::Issuer { .. } | Facility::ClusterIssuer(_));
                    let last = last.get(step.id.component()).filter(|_| !own);
                    found.steps.insert(facility, last.copied().unwrap_or(index));
                }
            }
        }
        found
    }

    /// The step after which a facility is there.
    pub(crate) fn of(&self, facility: &Facility) -> Option<usize> {
        self.steps.get(facility).copied()
    }
}

/// The capability of components that give Services addresses.
pub(crate) const LOAD_BALANCER: &str = "load-balancer";

/// What an object provides by being there.
pub(crate) fn provided(object: &Object) -> Vec<Facility> {
    let name = || object.id.name.clone();
    match (object.id.kind.group.as_str(), object.id.kind.kind.as_str()) {
        ("storage.k8s.io", "StorageClass") => {
            let annotation = "/metadata/annotations/storageclass.kubernetes.io~1is-default-class";
            let default = object.value.pointer(annotation).and_then(Value::as_str) == Some("true");
            let mut found = vec![Facility::StorageClass(name())];
            found.extend(default.then_some(Facility::DefaultStorageClass));
            found
        }
        ("networking.k8s.io", "IngressClass") => vec![Facility::IngressClass(name())],
        ("gateway.networking.k8s.io", "GatewayClass") => vec![Facility::GatewayClass(name())],
        ("cert-manager.io", "ClusterIssuer") => vec![Facility::ClusterIssuer(name())],
        ("cert-manager.io", "Issuer") => {
            let namespace = object.id.namespace.clone().unwrap_or_default();
            vec![Facility::Issuer { namespace, name: name() }]
        }
        _ => Vec::new(),
    }
}

/// What an object uses.
pub(crate) fn used(object: &Object) -> Vec<Facility> {
    let text = |pointer: &str| object.value.pointer(pointer).and_then(Value::as_str);
    let spec = |key: &str| object.value.get("spec")?.get(key)?.as_str();
    let claim = |spec: &Value| match spec.get("storageClassName").and_then(Value::as_str) {
        // An empty name asks for a volume without a class.
        Some("") => None,
        Some(name) => Some(Facility::StorageClass(name.to_owned())),
        None => Some(Facility::DefaultStorageClass),
    };
    let mut found = Vec::new();
    match (object.id.kind.group.as_str(), object.id.kind.kind.as_str()) {
        ("", "PersistentVolumeClaim") => found.extend(object.value.get("spec").and_then(claim)),
        ("apps", "StatefulSet") => {
            let claims = object.value.pointer("/spec/volumeClaimTemplates").and_then(Value::as_array);
            found.extend(claims.into_iter().flatten().filter_map(|template| claim(template.get("spec")?)));
        }
        ("", "Service") if spec("type") == Some("LoadBalancer") => found.push(Facility::LoadBalancer),
        ("networking.k8s.io", "Ingress") => {
            let class = spec("ingressClassName")
                .or_else(|| text("/metadata/annotations/kubernetes.io~1ingress.class"));
            found.extend(class.map(|class| Facility::IngressClass(class.to_owned())));
            found.extend(annotated_issuer(object));
        }
        ("gateway.networking.k8s.io", "Gateway") => {
            found.extend(spec("gatewayClassName").map(|class| Facility::GatewayClass(class.to_owned())));
            found.extend(annotated_issuer(object));
        }
        ("cert-manager.io", "Certificate" | "CertificateRequest") => {
            let part = |key: &str| text(&format!("/spec/issuerRef/{key}"));
            found.extend(part("name").and_then(|name| issuer(object, name, part("kind"), part("group"))));
        }
        _ => {}
    }
    found
}

/// The issuer that cert-manager's annotations name
/// (<https://cert-manager.io/docs/usage/ingress/#supported-annotations>).
fn annotated_issuer(object: &Object) -> Option<Facility> {
    let annotation = |key: &str| {
        object.value.pointer(&format!("/metadata/annotations/cert-manager.io~1{key}")).and_then(Value::as_str)
    };
    if let Some(name) = annotation("cluster-issuer") {
        return issuer(object, name, Some("ClusterIssuer"), None);
    }
    issuer(object, annotation("issuer")?, annotation("issuer-kind"), annotation("issuer-group"))
}

/// An issuer of cert-manager itself; those of other groups are not known here.
fn issuer(object: &Object, name: &str, kind: Option<&str>, group: Option<&str>) -> Option<Facility> {
    if group.is_some_and(|group| group != "cert-manager.io") {
        return None;
    }
    match kind.unwrap_or("Issuer") {
        "ClusterIssuer" => Some(Facility::ClusterIssuer(name.to_owned())),
        "Issuer" => {
            let namespace = object.id.namespace.clone().unwrap_or_default();
            Some(Facility::Issuer { namespace, name: name.to_owned() })
        }
        _ => None,
    }
}
