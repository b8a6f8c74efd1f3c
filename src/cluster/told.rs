//! When a server wants to be asked again stands in a header (`Retry-After`) that kube's errors do not have. It is put
//! where they have it: into the answer's Status, as `details.retryAfterSeconds`.

use bytes::Bytes;
use http::{Response, header};
use http_body::Body as HttpBody;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::BoxError;

use super::again::asked_for;

/// The body of an answer, whatever it was.
pub(super) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Passes an answer on; one that is an error also says in its body when to ask again.
pub(super) async fn tell<B>(answer: Response<B>) -> Result<Response<Body>, BoxError>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let status = answer.status();
    let wait = asked_for(&answer).filter(|_| status.is_client_error() || status.is_server_error());
    let Some(wait) = wait else { return Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync())) };
    let (mut parts, body) = answer.into_parts();
    let body = body.collect().await.map_err(Into::into)?.to_bytes();
    let body = with(&body, status.as_u16(), wait.as_secs());
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(Response::from_parts(parts, Full::from(body).map_err(Into::into).boxed_unsync()))
}

/// A Status that says when to ask again. What a server says without one (`Too many requests, please try again later.`)
/// becomes its message.
fn with(body: &[u8], code: u16, seconds: u64) -> Vec<u8> {
    let mut status = match serde_json::from_slice::<Value>(body) {
        Ok(status) if status["kind"] == "Status" => status,
        Ok(_) | Err(_) => json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
            "message": String::from_utf8_lossy(body).trim(),
        }),
    };
    if !status["details"].is_object() {
        status["details"] = json!({});
    }
    if !status["details"]["retryAfterSeconds"].is_number() {
        status["details"]["retryAfterSeconds"] = Value::from(seconds);
    }
    status.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn told(code: u16, after: Option<&str>, body: &'static str) -> (u16, String) {
        let mut answer = Response::builder().status(code);
        if let Some(after) = after {
            answer = answer.header(header::RETRY_AFTER, after);
        }
        let answer = tell(answer.body(Full::from(body)).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn when_to_ask_again_is_in_the_status() {
        let (code, body) = told(429, Some("7"), "Too many requests, please try again later.\n").await;
        let status: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((code, &status["details"]["retryAfterSeconds"]), (429, &json!(7)));
        assert_eq!(status["message"], "Too many requests, please try again later.");
        let own = r#"{"kind":"Status","reason":"ServiceUnavailable","details":{"kind":"pods"},"code":503}"#;
        let status: Value = serde_json::from_str(&told(503, Some("2"), own).await.1).unwrap();
        assert_eq!(status["details"], json!({ "kind": "pods", "retryAfterSeconds": 2 }));
        let known = r#"{"kind":"Status","details":{"retryAfterSeconds":9},"code":429}"#;
        let status: Value = serde_json::from_str(&told(429, Some("2"), known).await.1).unwrap();
        assert_eq!(status["details"]["retryAfterSeconds"], 9);
        // What is no error, or does not say when, passes as it is.
        assert_eq!(told(200, Some("2"), "x").await, (200, "x".to_owned()));
        assert_eq!(told(503, None, "x").await, (503, "x".to_owned()));
        assert_eq!(told(503, Some("Fri, 31 Dec 1999 23:59:59 GMT"), "x").await, (503, "x".to_owned()));
    }
}
