//! The `tower` service: takes a request, waits its latency, and hands it to the module that answers it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use kube::client::Body;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::request::{Place, Request, Target, Verb};
use crate::state::State;
use crate::status::{Answer, Failure, bad_request, no_such_page, no_such_resource, not_simulated};
use crate::{apply, crud, delete, discovery, json, kinds, patch, subresources, watch};

/// The body of a response.
pub type ServerBody = UnsyncBoxBody<Bytes, Infallible>;

/// The server, as a `tower` service.
#[derive(Clone, Debug)]
pub struct Server {
    cluster: Cluster,
}

/// What answers a request.
pub(crate) enum Reply {
    /// A document.
    Full(StatusCode, Bytes),
    /// A stream of events.
    Stream(ServerBody),
    /// A text, of logs.
    Text(String),
}

impl Reply {
    /// Answers a document with 200.
    pub(crate) fn ok(body: impl Into<Bytes>) -> Self {
        Self::Full(StatusCode::OK, body.into())
    }
}

/// Waits on the virtual clock.
#[expect(clippy::disallowed_methods, reason = "simulated latency on the virtual clock")]
pub(crate) async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

impl Server {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self { cluster }
    }

    async fn answer(self, request: http::Request<Body>) -> Result<Response<ServerBody>, kube::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await?;
        let latency = self.cluster.lock().options.latency;
        if !latency.is_zero() {
            pause(latency).await;
        }
        let request = Request::new(&parts, body);
        let (answer, chores) = {
            let mut state = self.cluster.lock();
            let answer = dispatch(&self.cluster, &mut state, &request);
            (answer, std::mem::take(&mut state.chores))
        };
        self.cluster.start_chores(chores);
        Ok(respond(answer))
    }
}

impl tower::Service<http::Request<Body>> for Server {
    type Response = Response<ServerBody>;
    type Error = kube::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.clone().answer(request))
    }
}

fn respond(answer: Answer<Reply>) -> Response<ServerBody> {
    let mut response = Response::builder();
    let (code, content, body) = match answer {
        Ok(Reply::Full(code, body)) => (code, "application/json", full(body)),
        Ok(Reply::Stream(body)) => (StatusCode::OK, "application/json", body),
        Ok(Reply::Text(text)) => (StatusCode::OK, "text/plain", full(text)),
        Err(failure) => {
            if let Some(seconds) = failure.retry_after {
                response = response.header(header::RETRY_AFTER, seconds);
            }
            let content = if failure.plain { "text/plain; charset=utf-8" } else { "application/json" };
            let code = StatusCode::from_u16(failure.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (code, content, full(failure.body()))
        }
    };
    let response = response.status(code).header(header::CONTENT_TYPE, content).body(body);
    response.expect("the headers above are all valid")
}

fn full(body: impl Into<Bytes>) -> ServerBody {
    Full::new(body.into()).boxed_unsync()
}

fn dispatch(cluster: &Cluster, state: &mut State, request: &Request) -> Answer<Reply> {
    let answer = place(cluster, state, request);
    if let Err(failure) = &answer
        && failure.reason == "NotSimulated"
    {
        state.not_simulated.push(format!("{} {}: {}", request.method, request.path, failure.message));
    }
    answer
}

fn place(cluster: &Cluster, state: &mut State, request: &Request) -> Answer<Reply> {
    let place = request.place()?;
    let target = match place {
        Place::Objects(target) => target,
        other => {
            count(state, "discovery");
            return discovery::answer(state, request, &other);
        }
    };
    let verb = request.verb(&target)?;
    count(state, if request.dry_run() { "dry-run" } else { verb.name() });
    refused(state, verb, request, &target)?;
    objects(cluster, state, (request, verb, &target))
}

fn objects(
    cluster: &Cluster,
    state: &mut State,
    (request, verb, target): (&Request, Verb, &Target),
) -> Answer<Reply> {
    if target.group == "authorization.k8s.io" {
        return discovery::review(request, target);
    }
    let missing = || if kinds::is_builtin_group(&target.group) { no_such_resource() } else { no_such_page() };
    let key = (target.group.clone(), target.version.clone(), target.plural.clone());
    let kind = state.kinds.get(&key).cloned().ok_or_else(missing)?;
    if target.namespace.is_some() && !kind.namespaced {
        return Err(missing());
    }
    let cluster_wide_only = kind.namespaced && target.namespace.is_none();
    if cluster_wide_only && !matches!(verb, Verb::List | Verb::Watch) {
        return Err(missing());
    }
    request.check_options(verb)?;
    match (target.subresource.as_deref(), verb) {
        (None, _) | (Some("status"), Verb::Get | Verb::Update | Verb::Patch | Verb::Apply) => {}
        (Some("log"), Verb::Get) if kind.is("", "pods") => return subresources::log(state, target, &kind),
        (Some("eviction"), Verb::Create) if kind.is("", "pods") => {
            return subresources::evict(state, request, target, &kind);
        }
        (Some("scale"), Verb::Get) if kind.group() == "apps" => {
            return subresources::scale(state, target, &kind);
        }
        (Some(subresource), _) if !SUBRESOURCES.contains(&subresource) => return Err(missing()),
        (Some(subresource), _) => {
            return Err(not_simulated(&format!("{} {}/{subresource}", verb.name(), kind.qualified())));
        }
    }
    if target.subresource.is_some() && !kind.status {
        return Err(missing());
    }
    match verb {
        Verb::Get => crud::get(state, target, &kind),
        Verb::List => crud::list(state, request, target, &kind),
        Verb::Watch => watch::watch(cluster, state, (request, target), kind),
        Verb::Create => crud::create(state, request, target, &kind),
        Verb::Update => crud::update(state, request, target, &kind),
        Verb::Patch => patch::patch(state, request, target, &kind),
        Verb::Apply => apply::apply(state, request, target, &kind),
        Verb::Delete => delete::delete(state, request, target, &kind),
        Verb::DeleteCollection => delete::delete_collection(state, request, target, &kind),
    }
}

/// Subresources that a real server has somewhere.
const SUBRESOURCES: [&str; 14] = [
    "approval",
    "attach",
    "binding",
    "ephemeralcontainers",
    "eviction",
    "exec",
    "finalize",
    "log",
    "portforward",
    "proxy",
    "resize",
    "scale",
    "status",
    "token",
];

fn count(state: &mut State, verb: &str) {
    match state.requests.by_verb.get_mut(verb) {
        Some(count) => *count += 1,
        None => {
            state.requests.by_verb.insert(verb.to_owned(), 1);
        }
    }
}

/// Answers with the first fault that matches.
fn refused(state: &mut State, verb: Verb, request: &Request, target: &Target) -> Answer<()> {
    if state.refusals.is_empty() {
        return Ok(());
    }
    let mut path = request.path.clone();
    if verb == Verb::Create && target.name.is_none() {
        let body: Value =
            serde_json::from_slice(&request.body).map_err(|error| bad_request(error.to_string()))?;
        path = format!("{path}/{}", json::text(&body, &["metadata", "name"]));
    }
    let found = state.refusals.iter_mut().find(|refusal| {
        let verbs = [verb.name(), if verb == Verb::Apply { "patch" } else { verb.name() }];
        refusal.times != Some(0)
            && refusal.verb.as_deref().is_none_or(|verb| verbs.contains(&verb))
            && (refusal.object.is_empty()
                || path == refusal.object
                || path.ends_with(&format!("/{}", refusal.object)))
    });
    let Some(refusal) = found else { return Ok(()) };
    if let Some(times) = &mut refusal.times {
        *times -= 1;
    }
    let mut failure = Failure::new(refusal.code, &refusal.reason, refusal.message.clone());
    failure.retry_after = refusal.retry_after;
    Err(failure)
}
