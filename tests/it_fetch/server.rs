//! A web server that does what it is told: each request is answered by a
//! function of the test, also by breaking off and by saying nothing.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What a client asked for.
pub(crate) struct Request {
    pub(crate) path: String,
    head: String,
    /// How often this path was asked for before.
    pub(crate) before: usize,
}

impl Request {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }
}

/// What a client gets.
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Send only so many bytes of the body, and then…
    cut: Option<(usize, After)>,
}

/// … do this.
#[derive(Clone, Copy)]
pub(crate) enum After {
    /// Close the connection.
    Close,
    /// Say nothing until the client goes.
    Stall,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), cut: None }
    }

    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200, body)
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn cut(mut self, at: usize, after: After) -> Self {
        self.cut = Some((at, after));
        self
    }

    /// The whole body, or the part that was asked for.
    pub(crate) fn ranged(request: &Request, body: &[u8], tag: &str) -> Self {
        let range = request
            .header("range")
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        match range {
            Some(start) if request.header("if-range") == Some(tag) => {
                let range = format!("bytes {start}-{}/{}", body.len() - 1, body.len());
                Self::new(206, &body[start..]).header("ETag", tag).header("Content-Range", range)
            }
            _ => Self::ok(body).header("ETag", tag),
        }
    }
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// A server on a port of its own, until the test ends.
pub(crate) struct Server {
    pub(crate) url: String,
    /// The certificate authority that its certificate is from, as PEM.
    pub(crate) ca: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn http(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(None, Arc::new(handler))
    }

    pub(crate) fn https(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(Some(Certificate::new()), Arc::new(handler))
    }

    pub(crate) fn https_with(
        certificate: Certificate,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(certificate), Arc::new(handler))
    }

    /// The paths that were asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn start(certificate: Option<Certificate>, handler: Arc<Handler>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let scheme = if certificate.is_some() { "https" } else { "http" };
        let ca = certificate.as_ref().map(|certificate| certificate.pem.clone()).unwrap_or_default();
        let config = certificate.map(|certificate| Arc::new(certificate.config()));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, handler, seen) = (config.clone(), Arc::clone(&handler), Arc::clone(&seen));
                std::thread::spawn(move || match config {
                    None => serve(stream, &*handler, &seen),
                    Some(config) => {
                        serve(
                            StreamOwned::new(ServerConnection::new(config).unwrap(), stream),
                            &*handler,
                            &seen,
                        );
                    }
                });
            }
        });
        Self { url: format!("{scheme}://127.0.0.1:{port}"), ca, asked }
    }
}

/// A certificate for 127.0.0.1 that nobody knows, unless told.
pub(crate) struct Certificate {
    pub(crate) pem: String,
    pub(crate) key_pem: String,
    der: Vec<u8>,
    key: Vec<u8>,
}

impl Certificate {
    /// One that was good until the end of 2020.
    pub(crate) fn ended() -> Self {
        let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 12, 31);
        let key = rcgen::KeyPair::generate().unwrap();
        let cert = params.self_signed(&key).unwrap();
        Self {
            pem: cert.pem(),
            key_pem: key.serialize_pem(),
            der: cert.der().to_vec(),
            key: key.serialize_der(),
        }
    }

    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let (pem, key_pem) = (made.cert.pem(), made.signing_key.serialize_pem());
        Self { pem, key_pem, der: made.cert.der().to_vec(), key: made.signing_key.serialize_der() }
    }

    fn config(self) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key));
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.der.into()], key)
            .unwrap()
    }
}

/// One request, one answer. A client that went away is none of the server's business.
fn serve(mut stream: impl Read + Write + Peek, handler: &Handler, seen: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let before = {
        let mut seen = seen.lock().unwrap();
        let before = seen.iter().filter(|known| **known == path).count();
        seen.push(path.clone());
        before
    };
    let Reply { status, headers, body, cut } = handler(&Request { path, head, before });
    let mut answer =
        format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        answer.extend([&name, ": ", &value, "\r\n"]);
    }
    let sent = cut.map_or(body.len(), |(at, _)| at.min(body.len()));
    let written = stream
        .write_all((answer + "\r\n").as_bytes())
        .and_then(|()| stream.write_all(&body[..sent]))
        .and_then(|()| stream.flush());
    if written.is_err() {
        return;
    }
    match cut {
        Some((_, After::Stall)) => while matches!(stream.read(&mut byte), Ok(1)) {},
        Some((_, After::Close)) => {}
        None => stream.end(),
    }
}

/// Streams that can say goodbye properly.
trait Peek {
    fn end(&mut self);
}

impl Peek for TcpStream {
    fn end(&mut self) {}
}

impl Peek for StreamOwned<ServerConnection, TcpStream> {
    fn end(&mut self) {
        self.conn.send_close_notify();
        let _ = self.flush();
    }
}
