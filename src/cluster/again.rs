//! Questions to the API server that are asked again, when the answer was lost
//! or the server could not give one: reads and dry runs change nothing, so
//! that asking twice is harmless. Watches are followed elsewhere, and writes
//! are the executor's to repeat.

use std::pin::Pin;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use kube::client::Body;
use tokio::time::{Instant, sleep_until};
use tower::BoxError;
use tower::retry::Policy;

use super::capped::TooLarge;
use crate::code::is_tls;

/// How long to wait after each failure, in milliseconds. What takes longer is not worth waiting for in silence.
const DELAYS: [u64; 6] = [50, 100, 200, 400, 800, 1600];

/// How often an internal error is asked about again: some are lasting refusals (`failed to create typed patch object`).
const INTERNAL: usize = 3;

/// The longest wait that a server may ask for (`Retry-After`).
const PATIENCE: Duration = Duration::from_secs(5);

/// The policy for one request: how often it failed.
#[derive(Debug, Clone, Default)]
pub(super) struct Again(usize);

impl<B> Policy<Request<Body>, Response<B>, BoxError> for Again {
    type Future = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn retry(
        &mut self,
        _: &mut Request<Body>,
        result: &mut Result<Response<B>, BoxError>,
    ) -> Option<Self::Future> {
        let delay = Duration::from_millis(*DELAYS.get(self.0)?);
        let delay = match result {
            Ok(answer) if self.passes(answer.status()) => {
                asked_for(answer).map_or(delay, |asked| asked.min(PATIENCE))
            }
            Err(error) if !is_tls(&**error) && !TooLarge::is_in(&**error) => delay,
            Ok(_) | Err(_) => return None,
        };
        self.0 += 1;
        Some(Box::pin(sleep_until(Instant::now() + delay)))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        if !is_question(request) {
            return None;
        }
        let mut again = Request::new(request.body().try_clone()?);
        again.method_mut().clone_from(request.method());
        again.uri_mut().clone_from(request.uri());
        again.headers_mut().clone_from(request.headers());
        again.extensions_mut().clone_from(request.extensions());
        Some(again)
    }
}

impl Again {
    /// Whether an answer may be another one soon.
    fn passes(&self, status: StatusCode) -> bool {
        match status.as_u16() {
            429 | 502..=504 => true,
            500 => self.0 < INTERNAL,
            _ => false,
        }
    }
}

/// When a server wants to be asked again.
pub(super) fn asked_for<B>(answer: &Response<B>) -> Option<Duration> {
    let seconds = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Whether a request changes nothing, and ends with its answer.
fn is_question(request: &Request<Body>) -> bool {
    let says = |parameter: &str| {
        request.uri().query().is_some_and(|query| query.split('&').any(|part| part == parameter))
    };
    let reads = request.method() == Method::GET && !says("watch=true") && !says("follow=true");
    reads || says("dryRun=All")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tower::retry::RetryLayer;
    use tower::{Layer as _, ServiceExt as _, service_fn};

    use super::*;

    /// Asks a server that fails as often as it is told, and gives how often it was asked, how it ended and when.
    async fn ask(method: Method, uri: &str, failures: usize, status: u16) -> (usize, u16, Duration) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let server = service_fn(move |_: Request<Body>| {
            let number = counted.fetch_add(1, Ordering::Relaxed);
            async move {
                let code = if number < failures { status } else { 200 };
                if code == 0 {
                    return Err(BoxError::from(std::io::Error::from(std::io::ErrorKind::ConnectionReset)));
                }
                let mut answer = Response::new(Body::empty());
                *answer.status_mut() = StatusCode::from_u16(code).unwrap();
                if code == 429 {
                    answer.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("2"));
                }
                Ok(answer)
            }
        });
        let begun = Instant::now();
        let request = Request::builder().method(method).uri(uri).body(Body::from(b"{}".to_vec())).unwrap();
        let answer = RetryLayer::new(Again::default()).layer(server).oneshot(request).await;
        let status = answer.map_or(0, |answer| answer.status().as_u16());
        (asked.load(Ordering::Relaxed), status, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn questions_are_asked_again_and_writes_are_not() {
        let millis = Duration::from_millis;
        assert_eq!(ask(Method::GET, "/api", 2, 503).await, (3, 200, millis(150)));
        assert_eq!(ask(Method::GET, "/api", 2, 0).await, (3, 200, millis(150)));
        assert_eq!(ask(Method::GET, "/api", 1, 429).await, (2, 200, millis(2000)));
        assert_eq!(ask(Method::PATCH, "/x?fieldManager=cozy&dryRun=All", 1, 504).await, (2, 200, millis(50)));
        // In the end the error is told.
        assert_eq!(ask(Method::GET, "/api", 99, 503).await, (7, 503, millis(3150)));
        assert_eq!(ask(Method::GET, "/api", 99, 500).await, (4, 500, millis(350)));
        assert_eq!(ask(Method::GET, "/api", 99, 0).await, (7, 0, millis(3150)));
        // What is no failure, or not harmless, is asked once.
        assert_eq!(ask(Method::GET, "/api", 99, 403).await, (1, 403, millis(0)));
        assert_eq!(ask(Method::PATCH, "/x?fieldManager=cozy", 99, 503).await, (1, 503, millis(0)));
        assert_eq!(ask(Method::GET, "/x?watch=true", 99, 503).await, (1, 503, millis(0)));
    }
}
