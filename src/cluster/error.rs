//! What a cluster answers when it does not do what was asked, translated at
//! the call where verb and object are known.

use std::time::Duration;

use kube::client::AuthError;

use super::capped::TooLarge;
use crate::code::{Code, is_tls};
use crate::plan::live::FieldConflict;
use crate::render::scope::NAMESPACE_HINT;

/// The reason that a refusal has here when its namespace is on its way out.
const NAMESPACE_GOES: &str = "NamespaceTerminating";

/// The reason that a refusal has here when the server does not serve what was to be patched: another one of several
/// API servers, or this one a moment later, does.
const NOT_SERVED: &str = "NotServed";

/// The reason that a refusal has here when what is known besides says that it passes ([`ClusterError::passing`]).
const PASSES: &str = "Passes";

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterError {
    /// The server answered with an error.
    #[error("the API server refused to {verb} {object}: {message}")]
    Refused {
        /// What was tried.
        verb: &'static str,
        /// On what.
        object: String,
        /// The HTTP status code.
        code: u16,
        /// The server's reason, `Forbidden`.
        reason: String,
        /// The server's words.
        message: String,
        /// Single fields that it refuses, each with its words.
        causes: Box<[FieldRefusal]>,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// Other managers own fields that differ.
    #[error("{object} has fields that others own: {}", FieldConflict::words(.conflicts))]
    Conflict {
        /// Which object.
        object: String,
        /// Each field with its manager.
        conflicts: Vec<FieldConflict>,
    },
    /// An object was asked to go, and does not.
    #[error("{object} was deleted, and does not go{}", .holds.as_ref().map(|holds| format!(": {holds}")).unwrap_or_default())]
    StillThere {
        /// Which object.
        object: String,
        /// What holds it.
        holds: Option<String>,
    },
    /// No answer came.
    #[error("cannot {verb} {object}: no answer from the API server")]
    Unreachable {
        /// What was tried.
        verb: &'static str,
        /// On what.
        object: String,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// What answered does not speak as an API server does: a proxy, or a login page.
    #[error("cannot {verb} {object}: what answers there is no API server")]
    Foreign {
        /// What was tried.
        verb: &'static str,
        /// On what.
        object: String,
        /// What its answer has.
        #[source]
        source: Box<kube::Error>,
    },
    /// What answered did not stop talking.
    #[error("cannot {verb} {object}: its answer is too large")]
    TooLarge {
        /// What was tried.
        verb: &'static str,
        /// On what.
        object: String,
        /// How large.
        #[source]
        source: TooLarge,
    },
    /// The cluster does not serve an object's kind.
    #[error("the cluster does not serve the kind of {object}")]
    NoSuchKind {
        /// Which object.
        object: String,
    },
    /// Nobody says in which namespace an object is.
    #[error("{object}: {problem}")]
    Unplaced {
        /// Which object.
        object: String,
        /// Why.
        problem: &'static str,
    },
    /// The kubeconfig cannot be used.
    #[error("cannot read the kubeconfig{}", .path.as_ref().map(|path| format!(" at `{path}`")).unwrap_or_default())]
    Kubeconfig {
        /// Where it was looked for; `None`: the default places.
        path: Option<String>,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There are no credentials: a plugin of the kubeconfig, or a file of it, gave none.
    #[error("the kubeconfig's credentials cannot be had: {problem}")]
    Plugin {
        /// Why, without what a plugin printed: that may be a token.
        problem: String,
    },
    /// Another run works on this cluster.
    #[error("locked by another run: {holder}")]
    Locked {
        /// Who, where, and since when.
        holder: String,
    },
    /// What cozy itself stored in the cluster cannot be read.
    #[error("{object} was damaged: {problem}")]
    Damaged {
        /// Which object.
        object: String,
        /// How.
        problem: String,
    },
}

/// A field that the server refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldRefusal {
    /// The field, `spec.template`.
    pub(crate) field: String,
    /// The server's words.
    pub(crate) message: String,
}

/// The manager that a conflict names: `conflict with "kubectl" with subresource "scale" using apps/v1`.
/// The server says it in these words only (`k8s.io/apimachinery/pkg/util/managedfields`).
fn manager(message: &str) -> String {
    message.split('"').nth(1).unwrap_or(message).to_owned()
}

/// Whether such a message says that a controller scaled the object: what a person scales by kubectl is drift.
fn scaled(message: &str) -> bool {
    message.contains("with subresource \"scale\"") && !manager(message).starts_with("kubectl")
}

impl ClusterError {
    /// Translates kube's error.
    pub(crate) fn from_kube(verb: &'static str, object: &str, error: kube::Error) -> Self {
        if let Some(problem) = Self::no_credentials(&error) {
            return Self::Plugin { problem };
        }
        match error {
            kube::Error::Api(status) => {
                let details = status.details.as_ref();
                let causes = || details.into_iter().flat_map(|details| &details.causes);
                let conflicts: Vec<FieldConflict> = causes()
                    .filter(|cause| cause.reason == "FieldManagerConflict")
                    .map(|cause| FieldConflict {
                        field: cause.field.clone(),
                        manager: manager(&cause.message),
                        ours: false,
                        scaled: scaled(&cause.message),
                    })
                    .collect();
                if status.code == 409 && !conflicts.is_empty() {
                    return Self::Conflict { object: object.to_owned(), conflicts };
                }
                // What is made in a namespace that is on its way out may be made again when it is gone.
                let passing = causes().any(|cause| cause.reason == "NamespaceTerminating");
                // An apply makes what is not there: only its namespace could be missing, and would be named.
                let unserved = (verb, status.code) == ("patch", 404)
                    && details.is_none_or(|details| details.name.is_empty());
                let reason = match (passing, unserved) {
                    (true, _) => NAMESPACE_GOES.to_owned(),
                    (false, true) => NOT_SERVED.to_owned(),
                    (false, false) => status.reason.clone(),
                };
                Self::Refused {
                    verb,
                    object: object.to_owned(),
                    code: status.code,
                    reason,
                    message: status.message.clone(),
                    causes: causes()
                        .map(|cause| FieldRefusal {
                            field: cause.field.clone(),
                            message: cause.message.clone(),
                        })
                        .collect(),
                    retry_after: details
                        .map(|details| details.retry_after_seconds)
                        .filter(|seconds| *seconds > 0)
                        .map(|seconds| Duration::from_secs(u64::from(seconds))),
                }
            }
            other if TooLarge::is_in(&other) => {
                Self::TooLarge { verb, object: object.to_owned(), source: TooLarge }
            }
            other if is_foreign(&other) => {
                Self::Foreign { verb, object: object.to_owned(), source: Box::new(other) }
            }
            other => Self::Unreachable { verb, object: object.to_owned(), source: Box::new(other) },
        }
    }

    /// Why there are no credentials, if that is what an error says.
    pub(super) fn no_credentials(error: &kube::Error) -> Option<String> {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(current) = cause {
            if let Some(error) = current.downcast_ref::<AuthError>() {
                return Some(match error {
                    AuthError::AuthExecStart(error) => format!("the plugin cannot be run: {error}"),
                    AuthError::AuthExecRun { out, .. } => format!("the plugin failed: {}", out.status),
                    AuthError::AuthExecParse(_) | AuthError::ParseTokenKey(_) => {
                        "the plugin: what it prints is no ExecCredential".to_owned()
                    }
                    AuthError::ExecPluginFailed => "the plugin: it gives no credentials".to_owned(),
                    other => other.to_string(),
                });
            }
            cause = current.source();
        }
        None
    }

    /// No answer came by the end of the time that there was for it.
    pub(crate) fn silent(object: &str) -> Self {
        let source = Box::new(kube::Error::Service("it says nothing".into()));
        Self::Unreachable { verb: "reach", object: object.to_owned(), source }
    }

    /// The object does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    /// The user may not do this.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused { code: 403, .. })
    }

    /// The server does not know who asks.
    pub(crate) fn is_unknown_user(&self) -> bool {
        matches!(self, Self::Refused { code: 401, .. })
    }

    /// The server has another object than the one that was looked at.
    pub(crate) fn is_outdated(&self) -> bool {
        matches!(self, Self::Refused { code: 409, .. })
    }

    /// Whether the server refuses an object for what it knows of its kind.
    pub(crate) fn is_of_schema(&self) -> bool {
        match self {
            Self::Refused { code, message, .. } => matches!(code, 400 | 422) || is_untyped(message),
            _ => false,
        }
    }

    /// The same, where it will pass though it does not look like it.
    pub(crate) fn passing(mut self) -> Self {
        if let Self::Refused { reason, .. } = &mut self {
            PASSES.clone_into(reason);
        }
        self
    }

    /// Whether asking again may help. A certificate that does not verify, a
    /// refusal and a conflict stay what they are.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Refused { code, reason, message, .. } => {
                let passes = matches!(code, 429 | 500 | 502 | 503 | 504)
                    || (*code == 409 && matches!(reason.as_str(), "Conflict" | "AlreadyExists"))
                    || [NAMESPACE_GOES, NOT_SERVED].contains(&reason.as_str());
                reason == PASSES || passes && !is_untyped(message) && !is_oversized(message)
            }
            // A request that cannot be built is never sent.
            Self::Unreachable { source, .. } => {
                !matches!(**source, kube::Error::BuildRequest(_) | kube::Error::HttpError(_))
                    && !is_tls(&**source)
            }
            // Tokens are fetched anew in the middle of a run, too: a network that is away for a moment is no end of it.
            Self::NoSuchKind { .. } | Self::Plugin { .. } => true,
            Self::Conflict { .. }
            | Self::Foreign { .. }
            | Self::TooLarge { .. }
            | Self::StillThere { .. }
            | Self::Unplaced { .. }
            | Self::Kubeconfig { .. }
            | Self::Locked { .. }
            | Self::Damaged { .. } => false,
        }
    }

    /// When the server wants to be asked again.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The stable code.
    pub(crate) fn code(&self) -> Code {
        Code(match self {
            Self::Refused { code: 401 | 403, .. } => 4002,
            Self::Refused { .. } => 4001,
            Self::Conflict { .. } => 4003,
            Self::Unreachable { .. } => 4004,
            Self::NoSuchKind { .. } => 4005,
            // The same where it is seen when it is rendered.
            Self::Unplaced { .. } => 2011,
            Self::Kubeconfig { .. } => 4006,
            Self::Damaged { .. } => 4007,
            Self::StillThere { .. } => 4008,
            Self::Foreign { .. } => 4009,
            Self::TooLarge { .. } => 4010,
            Self::Plugin { .. } => 4011,
            Self::Locked { .. } => 6001,
        })
    }

    /// What to do.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { code: 403, verb, .. } => {
                Some(format!("check your rights with `kubectl auth can-i {verb}`, and the server's words above"))
            }
            Self::Refused { code: 401, .. } => Some("the kubeconfig's credentials are not valid any more".to_owned()),
            Self::Refused { message, .. } if is_untyped(message) => Some(
                "it has what its kind does not: mend the field that the server names, then run the same command again".to_owned(),
            ),
            Self::Refused { message, .. } if is_oversized(message) => Some(
                "etcd takes no object that is this large (1.5 MiB, unless it was told otherwise): make it smaller, or several of it".to_owned(),
            ),
            Self::Refused { code: 429 | 500..=599, .. } => Some(
                "the API server, or what is in front of it, is not well: look at its log; then run the same command again".to_owned(),
            ),
            Self::Refused { .. } => None,
            Self::Foreign { .. } => Some(
                "check `server` in the kubeconfig, and proxies on the way (HTTPS_PROXY, NO_PROXY): `kubectl version` asks the same server".to_owned(),
            ),
            Self::TooLarge { .. } => Some(
                "check `server` in the kubeconfig, and what is in front of it: API servers answer lists in pages".to_owned(),
            ),
            Self::Conflict { .. } => Some(FieldConflict::REMEDY.to_owned()),
            Self::StillThere { .. } => Some(
                "whoever put a finalizer there must take it away: see that it runs; then run the same command again".to_owned(),
            ),
            Self::Unreachable { source, .. } if is_tls(&**source) => {
                Some("the server's certificate does not verify: check the kubeconfig's certificate-authority and server".to_owned())
            }
            Self::Unreachable { .. } => Some("check that the API server runs and can be reached from here".to_owned()),
            Self::NoSuchKind { .. } => Some("its CustomResourceDefinition must be there first".to_owned()),
            Self::Unplaced { .. } => Some(NAMESPACE_HINT.to_owned()),
            Self::Kubeconfig { .. } => Some("name it with --kubeconfig and --context".to_owned()),
            Self::Plugin { .. } => Some(
                "log in again where it wants that, and see that `kubectl get nodes` works with the same kubeconfig".to_owned(),
            ),
            Self::Locked { .. } => Some(
                "wait until it ends, or let `--wait-lock 10m` wait; `cozy unlock` frees the lock of a run that is dead".to_owned(),
            ),
            Self::Damaged { .. } => Some("restore it, or delete it and run with --force-conflicts".to_owned()),
        }
    }
}

/// Whether an answer was whole, and none of an API server's. One that breaks off is not: it may be whole next time.
fn is_foreign(error: &kube::Error) -> bool {
    match error {
        kube::Error::SerdeError(error) => !error.is_eof(),
        kube::Error::FromUtf8(_) => true,
        _ => false,
    }
}

/// Whether an object does not fit its kind's schema. The API server answers that with 500 for server-side applies
/// (`structured-merge-diff`, and the conversion after it), and only its words tell it from what passes.
fn is_untyped(message: &str) -> bool {
    ["failed to create typed patch object", "failed to convert new object"]
        .iter()
        .any(|words| message.contains(words))
}

/// Whether a webhook that must judge an object does not answer (`ErrCallingWebhook` of apiserver's `util/webhook`). The API
/// server answers that with 500, and only its words tell it from what is wrong with itself.
pub(super) fn is_uncalled(message: &str) -> bool {
    message.contains("failed calling webhook")
}

/// Whether an object is larger than etcd takes (`ErrRequestTooLarge` of etcd's `rpctypes`), or than its client sends
/// (grpc-go). The API server answers both with 500, and only their words tell them from what passes.
fn is_oversized(message: &str) -> bool {
    ["etcdserver: request is too large", "trying to send message larger than max"]
        .iter()
        .any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use serde_json::{Value, json};

    use super::*;

    fn refused(verb: &'static str, code: u16, details: Option<Value>) -> ClusterError {
        let mut status = json!({ "status": "Failure", "reason": "NotFound", "message": "no", "code": code });
        status["details"] = details.unwrap_or_default();
        let status: Status = serde_json::from_value(status).unwrap();
        ClusterError::from_kube(verb, "Thing x/a", kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn what_is_not_served_yet_passes_and_what_is_not_there_does_not() {
        // `the server could not find the requested resource`, and `404 page not found`, which is no Status.
        for details in [Some(json!({})), Some(json!({ "causes": [] })), None] {
            assert!(refused("patch", 404, details.clone()).is_transient(), "{details:?}");
            assert!(!refused("get", 404, details.clone()).is_transient(), "{details:?}");
            assert!(refused("patch", 404, details).is_not_found());
        }
        assert!(!refused("patch", 404, Some(json!({ "name": "x", "kind": "namespaces" }))).is_transient());
        assert!(!refused("patch", 403, Some(json!({}))).is_transient());
    }

    /// Found by reading: it was tried until the deadline, and the API server's log was looked at for it.
    #[test]
    fn what_is_too_large_for_etcd_stays_so() {
        let said = |message: &str| {
            let status =
                json!({ "status": "Failure", "reason": "InternalError", "message": message, "code": 500 });
            let status: Status = serde_json::from_value(status).unwrap();
            ClusterError::from_kube("patch", "ConfigMap x/a", kube::Error::Api(Box::new(status)))
        };
        for message in [
            "etcdserver: request is too large",
            "rpc error: code = ResourceExhausted desc = trying to send message larger than max (2097279 vs. 2097152)",
        ] {
            let error = said(message);
            assert!(!error.is_transient(), "{message}");
            assert!(error.hint().is_some_and(|hint| hint.contains("make it smaller")), "{message}");
        }
        assert!(said("etcdserver: request timed out").is_transient());
    }
}
