//! API servers on this machine, without certificates, so that the binary itself can be run against them: the simulated
//! cluster, or a real one with something in between.

use std::path::Path;

use cozy_sim::Cluster;
use http::{Request, Response};
use http_body::Body as HttpBody;
use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use kube::client::Body;
use tokio::net::TcpListener;
use tower::{BoxError, Service, ServiceExt as _};

/// Serves a simulated cluster as long as the runtime of the caller runs; writes a kubeconfig for it.
pub(crate) async fn serve(cluster: &Cluster, kubeconfig: &Path) {
    serve_any(cluster.server(), kubeconfig).await;
}

/// Serves anything that answers as an API server does, as long as the runtime of the caller runs; writes a kubeconfig
/// for it. Where it fails, the connection ends without an answer.
pub(crate) async fn serve_any<S, B>(server: S, kubeconfig: &Path)
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let text = format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{ name: sim, cluster: {{ server: 'http://127.0.0.1:{port}' }} }}]\n\
         users: [{{ name: sim, user: {{}} }}]\ncontexts: [{{ name: sim, context: {{ cluster: sim, user: sim }} }}]\n\
         current-context: sim\n"
    );
    fs_err::write(kubeconfig, text).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let server = server.clone();
            let service = tower::service_fn(move |request| answer(server.clone(), request));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
            // A client that hangs up ends its connection.
            tokio::spawn(async move { drop(connection.await) });
        }
    });
}

async fn answer<S, B>(server: S, request: Request<Incoming>) -> Result<Response<B>, BoxError>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
{
    let (parts, body) = request.into_parts();
    let body = Body::from(body.collect().await?.to_bytes().to_vec());
    server.oneshot(Request::from_parts(parts, body)).await.map_err(Into::into)
}
