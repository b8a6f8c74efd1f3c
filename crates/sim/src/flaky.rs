//! A `tower` layer that loses, delays and refuses what goes between a client and an API server, by a seed. It goes
//! around the simulated server and around a connection to a real one alike.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::client::Body;
use serde_json::json;
use tokio::time::{Instant, sleep_until};
use tower::{BoxError, Layer, Service};

/// What goes wrong. Times count from when the layer was made.
#[derive(Clone, Debug, Default)]
pub struct Flaws {
    /// Where chances come from: the same seed, the same faults.
    pub seed: u64,
    /// Faults with their chance for each request, in percent.
    pub chances: Vec<(Fault, f64)>,
    /// How much longer each request takes.
    pub latency: Duration,
    /// When nothing answers, and for how long: connections are refused, and open watches end.
    pub outages: Vec<(Duration, Duration)>,
    /// How long each watch lasts until it is cut.
    pub cut_watches: Option<Duration>,
    /// When all open watches fall silent without ending.
    pub stalls: Vec<Duration>,
    /// How many requests are hurt at most; then all is well.
    pub most: Option<u64>,
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with a status code, and never reaches the server.
    Answer(u16),
    /// The connection is reset before it reaches the server.
    Reset,
    /// The connection is reset after the server has done what it asks.
    Lost,
}

/// A body that may end early.
pub type FlakyBody = UnsyncBoxBody<Bytes, BoxError>;

/// Makes connections flaky; clones share one source of chance.
#[derive(Clone, Debug)]
pub struct Flaky {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    flaws: Flaws,
    origin: Instant,
    random: Mutex<u64>,
    hurt: AtomicU64,
}

impl Flaky {
    /// Makes a layer; its times begin now.
    #[must_use]
    pub fn new(flaws: Flaws) -> Self {
        let random = Mutex::new(flaws.seed);
        Self { shared: Arc::new(Shared { flaws, origin: Instant::now(), random, hurt: AtomicU64::new(0) }) }
    }

    /// Answers how many requests were hurt.
    #[must_use]
    pub fn hurt(&self) -> u64 {
        self.shared.hurt.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Draws a number of at least 0 and below 100 (`SplitMix64`).
    #[expect(clippy::cast_precision_loss, reason = "53 bits are kept")]
    fn draw(&self) -> f64 {
        let mut state = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = *state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) >> 11) as f64 / (1_u64 << 53) as f64 * 100.0
    }

    /// Chooses what happens to the next request.
    fn choose(&self) -> Option<Fault> {
        let spent = || self.flaws.most.is_some_and(|most| self.hurt.load(Ordering::Relaxed) >= most);
        let hits = |chance: &f64| self.draw() < *chance;
        let fault = self.flaws.chances.iter().find(|(_, chance)| hits(chance))?.0;
        if spent() {
            return None;
        }
        self.hurt.fetch_add(1, Ordering::Relaxed);
        Some(fault)
    }

    /// Answers whether nothing answers now.
    fn out(&self) -> bool {
        let now = self.origin.elapsed();
        self.flaws.outages.iter().any(|(at, lasts)| *at <= now && now < *at + *lasts)
    }

    /// Answers when the next of some times is.
    fn next(&self, times: impl Iterator<Item = Duration>) -> Option<Instant> {
        let now = self.origin.elapsed();
        times.filter(|at| *at > now).min().map(|at| self.origin + at)
    }
}

impl<S> Layer<S> for Flaky {
    type Service = FlakyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        FlakyService { inner, shared: Arc::clone(&self.shared) }
    }
}

/// A server behind a flaky connection.
#[derive(Clone, Debug)]
pub struct FlakyService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S, B> Service<Request<Body>> for FlakyService<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<FlakyBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        let watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let fault = shared.choose();
        // The service that was polled ready takes the request; a clone of it waits for the next.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        Box::pin(async move {
            if !shared.flaws.latency.is_zero() {
                crate::service::pause(shared.flaws.latency).await;
            }
            if shared.out() {
                return Err(broken(io::ErrorKind::ConnectionRefused));
            }
            match fault {
                Some(Fault::Answer(code)) => return Ok(refusal(code)),
                Some(Fault::Reset) => return Err(broken(io::ErrorKind::ConnectionReset)),
                Some(Fault::Lost) => {
                    drop(inner.call(request).await);
                    return Err(broken(io::ErrorKind::ConnectionReset));
                }
                None => {}
            }
            let response = inner.call(request).await.map_err(Into::into)?;
            Ok(response.map(|body| if watch { ending(body, &shared) } else { whole(body) }))
        })
    }
}

fn broken(kind: io::ErrorKind) -> BoxError {
    io::Error::from(kind).into()
}

fn whole<B>(body: B) -> FlakyBody
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// A refusal in the words of a real API server.
fn refusal(code: u16) -> Response<FlakyBody> {
    let (reason, message) = match code {
        429 => (
            "TooManyRequests",
            "the server has received too many requests and has asked us to try again later",
        ),
        500 => ("InternalError", "Internal error occurred: etcdserver: request timed out"),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
        504 => ("Timeout", "the server was unable to return a response in the time allotted"),
        _ => ("", "the server could not do that"),
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": reason, "code": code, "details": if code == 429 { json!({ "retryAfterSeconds": 1 }) } else { json!({}) },
    });
    let body = whole(Full::new(Bytes::from(status.to_string())));
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    if code == 429 {
        headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

/// The body of a watch, which is cut or falls silent when its time has come.
fn ending<B>(body: B, shared: &Shared) -> FlakyBody
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let flaws = &shared.flaws;
    let cut = flaws.cut_watches.map(|after| Instant::now() + after);
    let outage = shared.next(flaws.outages.iter().map(|(at, _)| *at));
    let end = [cut, outage].into_iter().flatten().min();
    let stall = shared.next(flaws.stalls.iter().copied());
    let data = Box::pin(body.map_err(Into::into).into_data_stream());
    let lines = stream::unfold(Some(data), move |data| async move {
        let mut data = data?;
        tokio::select! {
            biased;
            () = at(end) => Some((Err(broken(io::ErrorKind::ConnectionReset)), None)),
            () = at(stall) => {
                // Nothing more is said until the connection ends.
                at(end).await;
                Some((Err(broken(io::ErrorKind::ConnectionReset)), None))
            }
            line = data.next() => line.map(|line| (line, Some(data))),
        }
    });
    StreamBody::new(lines.map(|line| line.map(Frame::data))).boxed_unsync()
}

/// Ends at a time, or never.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
