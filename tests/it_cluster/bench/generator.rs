//! A raw load generator: the requests that cozy sends to apply objects, made beforehand, over a number of connections
//! that are always busy. What it reaches is what the API server gives on this machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::proxy::Proxy;
use crate::support::control_plane::ControlPlane;

/// One object to apply: its path, and its content.
pub(super) struct Shot {
    pub(super) path: String,
    pub(super) body: Bytes,
}

/// Applies all objects over so many connections, and answers how many a second were.
pub(super) fn rate(plane: &ControlPlane, shots: Vec<Shot>, connections: usize) -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let count = shots.len();
    let took = runtime.block_on(async {
        let mut senders = Vec::new();
        for _ in 0..connections {
            senders.push(connect(plane).await);
        }
        let (shots, next) = (Arc::new(shots), Arc::new(AtomicUsize::new(0)));
        let begun = Instant::now();
        let busy: Vec<_> = senders
            .into_iter()
            .map(|sender| tokio::spawn(fire(sender, Arc::clone(&shots), Arc::clone(&next))))
            .collect();
        for one in busy {
            one.await.unwrap();
        }
        begun.elapsed()
    });
    f64::from(u32::try_from(count).unwrap()) / took.as_secs_f64()
}

async fn fire(mut sender: SendRequest<Full<Bytes>>, shots: Arc<Vec<Shot>>, next: Arc<AtomicUsize>) {
    while let Some(shot) = shots.get(next.fetch_add(1, Ordering::Relaxed)) {
        let uri = format!("{}?fieldManager=bench&fieldValidation=Strict", shot.path);
        let request = Request::patch(uri)
            .header(header::HOST, "127.0.0.1")
            .header(header::CONTENT_TYPE, "application/apply-patch+yaml")
            .body(Full::new(shot.body.clone()))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
    }
}

/// A connection as an administrator.
async fn connect(plane: &ControlPlane) -> SendRequest<Full<Bytes>> {
    let file = |name: &str| plane.folder().join(name);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("ca.crt")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_file(file("admin.crt")).unwrap()],
            PrivateKeyDer::from_pem_file(file("admin.key")).unwrap(),
        )
        .unwrap();
    let port = Proxy::port_of(&fs_err::read_to_string(plane.kubeconfig()).unwrap());
    let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    sender
}
