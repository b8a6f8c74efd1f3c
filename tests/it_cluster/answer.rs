//! An admission webhook over TLS with a certificate that a test chooses: it
//! refuses everything, adds a label, or lets everything pass.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;

use base64::Engine as _;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// What a webhook answers.
#[derive(Clone, Copy)]
enum Answer {
    Refuse,
    Label,
    Allow,
}

/// A webhook that runs as long as the process.
pub(crate) struct Webhook {
    pub(crate) port: u16,
    /// Its own certificate as PEM in base64, as a `caBundle` has it.
    pub(crate) ca: String,
}

impl Webhook {
    /// Starts one that refuses; `expired`: its certificate is of the past.
    pub(crate) fn start(expired: bool) -> Self {
        Self::answering([127, 0, 0, 1].into(), expired, Answer::Refuse)
    }

    /// Starts one that labels what has labels.
    pub(crate) fn labelling() -> Self {
        Self::answering([127, 0, 0, 1].into(), false, Answer::Label)
    }

    /// Starts one that lets everything pass, at an address that endpoints may have.
    pub(crate) fn allowing(address: IpAddr) -> Self {
        Self::answering(address, false, Answer::Allow)
    }

    /// Starts one for a Service, at an address that endpoints may have: it refuses everything, or lets all pass.
    pub(crate) fn of_service(name: &str, address: IpAddr, refuses: bool) -> Self {
        Self::named(&[name], (address, 0).into(), false, if refuses { Answer::Refuse } else { Answer::Allow })
    }

    /// Starts one that lets everything pass, where the pods of a Service are thought to be. It also answers as the
    /// server of an aggregated API does that has no resources.
    pub(crate) fn behind(service: &str, at: SocketAddr) -> Self {
        Self::named(&["127.0.0.1", service], at, false, Answer::Allow)
    }

    fn answering(address: IpAddr, expired: bool, answer: Answer) -> Self {
        Self::named(&["127.0.0.1", "hook.guard.svc"], (address, 0).into(), expired, answer)
    }

    fn named(names: &[&str], at: SocketAddr, expired: bool, answer: Answer) -> Self {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        if expired {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2020, 1, 2);
        }
        let certificate = params.self_signed(&key).unwrap();
        let ca = base64::engine::general_purpose::STANDARD.encode(certificate.pem());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from(certificate.der().to_vec())],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind(at).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = rustls::StreamOwned::new(connection, stream);
                // Whoever does not trust the certificate hangs up.
                let _ = review(&mut stream, answer);
            }
        });
        Self { port, ca }
    }
}

fn review<S: std::io::Read + std::io::Write>(stream: &mut S, answer: Answer) -> Option<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
        request.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() < length.unwrap_or(0) {
            continue;
        }
        if head.starts_with("GET ") {
            let list = serde_json::json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "", "resources": [] });
            return say(stream, &list);
        }
        let review: serde_json::Value = serde_json::from_str(body).ok()?;
        let patch = r#"[{"op":"add","path":"/metadata/labels/injected","value":"yes"}]"#;
        let mut response = match answer {
            Answer::Refuse => {
                serde_json::json!({ "allowed": false, "status": { "message": "not on a Friday" } })
            }
            Answer::Allow => serde_json::json!({ "allowed": true }),
            Answer::Label => serde_json::json!({
                "allowed": true, "patchType": "JSONPatch",
                "patch": base64::engine::general_purpose::STANDARD.encode(patch),
            }),
        };
        response["uid"] = review["request"]["uid"].clone();
        let answer = serde_json::json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response });
        return say(stream, &answer);
    }
}

fn say<S: std::io::Write>(stream: &mut S, answer: &serde_json::Value) -> Option<()> {
    let answer = answer.to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(answer.as_bytes()).ok()?;
    stream.flush().ok()
}
