//! The simulated cluster as a server on this machine, so that the binary
//! itself can be run against it.

use std::path::Path;

use cozy_sim::{Cluster, Server, ServerBody};
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use kube::client::Body;
use tokio::net::TcpListener;
use tower::ServiceExt as _;

/// Serves a cluster as long as the runtime of the caller runs; writes a kubeconfig for it.
pub(crate) async fn serve(cluster: &Cluster, kubeconfig: &Path) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let text = format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{ name: sim, cluster: {{ server: 'http://127.0.0.1:{port}' }} }}]\n\
         users: [{{ name: sim, user: {{}} }}]\ncontexts: [{{ name: sim, context: {{ cluster: sim, user: sim }} }}]\n\
         current-context: sim\n"
    );
    fs_err::write(kubeconfig, text).unwrap();
    let server = cluster.server();
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

fn answer(
    server: Server,
    request: Request<Incoming>,
) -> BoxFuture<'static, Result<Response<ServerBody>, std::io::Error>> {
    Box::pin(async move {
        let (parts, body) = request.into_parts();
        let body = Body::from(body.collect().await.map_err(std::io::Error::other)?.to_bytes().to_vec());
        server.oneshot(Request::from_parts(parts, body)).await.map_err(std::io::Error::other)
    })
}
