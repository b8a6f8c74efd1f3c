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

/// How old a question may be that is asked again: with a server that falls silent, each answer takes more than a minute.
const OLDEST: Duration = Duration::from_secs(10);

/// The policy for one request.
#[derive(Debug, Clone, Default)]
pub(super) struct Again {
    /// How often it failed.
    failed: usize,
    /// When it was asked first.
    begun: Option<Instant>,
}

impl<B> Policy<Request<Body>, Response<B>, BoxError> for Again {
    type Future = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn retry(
        &mut self,
        _: &mut Request<Body>,
        result: &mut Result<Response<B>, BoxError>,
    ) -> Option<Self::Future> {
        if self.begun.is_some_and(|begun| begun.elapsed() > OLDEST) {
            return None;
        }
        let delay = Duration::from_millis(*DELAYS.get(self.failed)?);
        let delay = match result {
            Ok(answer) if self.passes(answer.status()) => {
                asked_for(answer).map_or(delay, |asked| asked.min(PATIENCE))
            }
            Err(error) if !is_tls(&**error) && !TooLarge::is_in(&**error) => delay,
            Ok(_) | Err(_) => return None,
        };
        self.failed += 1;
        Some(Box::pin(sleep_until(Instant::now() + delay)))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        if !is_question(request) {
            return None;
        }
        if self.failed == 0 {
            self.begun = Some(Instant::now());
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
            500 => self.failed < INTERNAL,
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
    let reviews =
        request.method() == Method::POST && request.uri().path().ends_with("/selfsubjectaccessreviews");
    reads || reviews || says("dryRun=All")
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

    /// Found by reading: with a server that took connections and said nothing, a read took eight minutes.
    #[tokio::test(start_paused = true)]
    async fn a_server_that_falls_silent_is_not_asked_again_and_again() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let server = service_fn(move |_: Request<Body>| {
            counted.fetch_add(1, Ordering::Relaxed);
            async {
                sleep_until(Instant::now() + Duration::from_secs(70)).await;
                Err::<Response<Body>, _>(BoxError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)))
            }
        });
        let (begun, layer) = (Instant::now(), RetryLayer::new(Again::default()));
        // The one before says nothing of the next.
        for count in 1..3 {
            let request = Request::builder().uri("/api").body(Body::empty()).unwrap();
            assert!(layer.layer(server.clone()).oneshot(request).await.is_err());
            assert_eq!(asked.load(Ordering::Relaxed), count);
        }
        assert_eq!(begun.elapsed().as_secs(), 140);
    }

    #[tokio::test(start_paused = true)]
    async fn questions_are_asked_again_and_writes_are_not() {
        let millis = Duration::from_millis;
        assert_eq!(ask(Method::GET, "/api", 2, 503).await, (3, 200, millis(150)));
        assert_eq!(ask(Method::GET, "/api", 2, 0).await, (3, 200, millis(150)));
        assert_eq!(ask(Method::GET, "/api", 1, 429).await, (2, 200, millis(2000)));
        assert_eq!(ask(Method::PATCH, "/x?fieldManager=cozy&dryRun=All", 1, 504).await, (2, 200, millis(50)));
        // Found by reading: a review of one's rights keeps nothing, though it is posted.
        let review = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews?";
        assert_eq!(ask(Method::POST, review, 1, 503).await, (2, 200, millis(50)));
        assert_eq!(ask(Method::POST, "/api/v1/namespaces/x/pods?", 1, 503).await, (1, 503, millis(0)));
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
