//! How much of an answer is read. What a server sends without end would fill the memory: an answer has a largest size,
//! and a watch, which goes on for long, a largest event.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use kube::client::Body;
use tower::{BoxError, Layer, Service};

use super::told;

/// The most that is read. Objects have at most about 1.5 MiB (etcd's limit), and lists come in pages.
const MOST: u64 = 128 * 1024 * 1024;

/// An answer that is larger than anything an API server says.
#[derive(Debug, thiserror::Error)]
#[error("the answer has more than {} MiB", MOST / 1024 / 1024)]
pub(crate) struct TooLarge;

impl TooLarge {
    /// Whether an error, or what is below it, is this one.
    pub(crate) fn is_in(error: &(dyn std::error::Error + 'static)) -> bool {
        let mut cause = Some(error);
        while let Some(current) = cause {
            if current.is::<Self>() {
                return true;
            }
            // Its own source is that of the error within, and not that error.
            let inner = current.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            if inner.is_some_and(|inner| Self::is_in(inner)) {
                return true;
            }
            cause = current.source();
        }
        false
    }
}

/// Caps the answers of what is below.
#[derive(Debug, Clone, Copy)]
pub(super) struct Capped;

impl<S> Layer<S> for Capped {
    type Service = CappedService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CappedService(inner)
    }
}

/// A server whose answers end.
#[derive(Debug, Clone)]
pub(super) struct CappedService<S>(S);

impl<S, B> Service<Request<Body>> for CappedService<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<told::Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let watch = request.uri().query().is_some_and(|query| query.split('&').any(|it| it == "watch=true"));
        let answer = self.0.call(request);
        async move { Ok(answer.await?.map(|body| capped(body, watch))) }.boxed()
    }
}

fn capped<B>(body: B, watch: bool) -> told::Body
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    CappedBody { body: body.map_err(Into::into).boxed_unsync(), watch, left: MOST }.boxed_unsync()
}

/// A body that ends with an error where it is too large.
struct CappedBody {
    body: told::Body,
    /// Each line counts by itself.
    watch: bool,
    left: u64,
}

impl CappedBody {
    /// Counts what came; answers whether there may be more.
    fn count(&mut self, data: &[u8]) -> bool {
        let mut lines = data.split(|byte| *byte == b'\n' && self.watch);
        let length = |bytes: &[u8]| bytes.len() as u64;
        let mut next = lines.next();
        while let Some(line) = next {
            if length(line) > self.left {
                return false;
            }
            self.left -= length(line);
            next = lines.next();
            if next.is_some() {
                self.left = MOST;
            }
        }
        true
    }
}

impl HttpBody for CappedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // One that says beforehand that it is too large need not be read.
        if !self.watch && self.body.size_hint().lower() > self.left {
            return Poll::Ready(Some(Err(TooLarge.into())));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && frame.data_ref().is_some_and(|data| !self.count(data))
        {
            return Poll::Ready(Some(Err(TooLarge.into())));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http_body_util::{Full, StreamBody};
    use kube::api::{Api, ListParams, WatchParams};
    use tower::service_fn;

    use super::*;
    use crate::cluster::error::ClusterError;
    use futures::StreamExt as _;
    use k8s_openapi::api::core::v1::ConfigMap;

    const CHUNK: usize = 1024 * 1024;

    /// A client of a server that never stops talking: what it says, over and over.
    fn endless(chunk: impl Fn(usize) -> Vec<u8> + Clone + Send + Sync + 'static) -> kube::Client {
        let server = service_fn(move |_: Request<Body>| {
            let chunk = chunk.clone();
            async move {
                let frames = stream::iter(0..)
                    .map(move |number| Ok::<_, BoxError>(Frame::data(Bytes::from(chunk(number)))));
                Ok::<_, BoxError>(Response::new(StreamBody::new(frames)))
            }
        });
        kube::Client::new(Capped.layer(server), "default")
    }

    #[tokio::test]
    async fn what_never_ends_is_not_read_for_ever() {
        let spaces = endless(|_| vec![b' '; CHUNK]);
        let maps: Api<ConfigMap> = Api::all(spaces.clone());
        let error = maps.list(&ListParams::default()).await.unwrap_err();
        let error = ClusterError::from_kube("list", "ConfigMap", error);
        assert_eq!(error.to_string(), "cannot list ConfigMap: its answer is too large");
        assert!(!error.is_transient());
        assert!(error.hint().is_some_and(|hint| hint.contains("kubeconfig")));
        let error = spaces.request_text(http::Request::get("/").body(Vec::new()).unwrap()).await.unwrap_err();
        assert!(TooLarge::is_in(&error), "{error:?}");
        // One event of a watch, without an end.
        let mut events = Box::pin(maps.watch(&WatchParams::default(), "0").await.unwrap());
        let error = events.next().await.unwrap().unwrap_err();
        assert!(TooLarge::is_in(&error), "{error:?}");
    }

    #[tokio::test]
    async fn a_watch_may_go_on_for_ever() {
        let event = |number| {
            let filler = " ".repeat(CHUNK);
            let object = format!(r#"{{"metadata":{{"name":"c-{number}"}}}}"#);
            format!("{{\"type\":\"ADDED\",{filler}\"object\":{object}}}\n").into_bytes()
        };
        let maps: Api<ConfigMap> = Api::all(endless(event));
        let mut events = Box::pin(maps.watch(&WatchParams::default(), "0").await.unwrap());
        for _ in 0..MOST / CHUNK as u64 + 2 {
            events.next().await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn an_answer_that_says_how_long_it_is_need_not_be_read() {
        let whole = |size: u64| {
            let size = usize::try_from(size).unwrap();
            capped(Full::from(Bytes::from(vec![b' '; size])), false).collect()
        };
        assert!(whole(MOST).await.is_ok());
        assert!(whole(MOST + 1).await.is_err_and(|error| error.is::<TooLarge>()));
    }
}
