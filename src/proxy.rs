//! The local endpoint of the API servers: every host forwards TCP from
//! 127.0.0.1 to those that are healthy, so that no load balancer and no
//! virtual address is needed. Runs on hosts as a systemd unit, and within cozy
//! where it works on such a cluster.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use futures::future::{self, FutureExt as _};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsConnector;

/// How often servers are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long a look and a connection may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Failures in a row after which open connections are closed, so that clients turn to another.
const FAILURES: u32 = 2;

/// How long sent bytes may stay unacknowledged: a server whose packets are dropped is noticed by this.
const SILENCE: Duration = Duration::from_secs(5);

/// One API server.
struct Server {
    address: String,
    /// Whether it answers; connections to it end when this turns false.
    up: watch::Sender<bool>,
}

/// What is known of all servers.
type Servers = Arc<RwLock<Vec<Arc<Server>>>>;

/// Why the proxy cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// TLS cannot be had.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
}

/// Forwards until the process ends. `file` has one `ADDRESS:PORT` a line, and is read again when it changes.
pub(crate) async fn serve(address: SocketAddr, file: PathBuf) -> Result<(), ProxyError> {
    let listener =
        TcpListener::bind(address).await.map_err(|source| ProxyError::Listen { address, source })?;
    let servers = Servers::default();
    let looker = tokio::spawn(look(Arc::clone(&servers), Some(file), connector().map_err(ProxyError::Tls)?));
    accept(listener, servers, looker).await;
    Ok(())
}

/// The same within this process, until its runtime ends, for servers that are known: whoever talks to a cluster while
/// its servers are changed or fail goes on with another one. Gives the port on 127.0.0.1, which their certificates name.
pub(crate) async fn within(servers: &[String]) -> Result<u16, ProxyError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listen = |source| ProxyError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let port = listener.local_addr().map_err(listen)?.port();
    let all = parse(&servers.join("\n"), &[]);
    let tls = connector().map_err(ProxyError::Tls)?;
    // The first connection comes at once: it is not to go to one that has just started.
    let first = all.iter().map(|server| {
        let tls = &tls;
        async move {
            let ready = answers(&server.address, tls).await == Answer::Ready;
            server.up.send_replace(ready);
            if ready { Ok(()) } else { Err(()) }
        }
        .boxed()
    });
    if !all.is_empty() {
        let _ = future::select_ok(first).await;
    }
    let servers: Servers = Arc::new(RwLock::new(all.clone()));
    let looker = tokio::spawn(look(Arc::clone(&servers), None, tls));
    tokio::spawn(accept(listener, servers, looker));
    Ok(port)
}

/// Takes connections as long as somebody looks at the servers.
async fn accept(listener: TcpListener, servers: Servers, looker: JoinHandle<()>) {
    let turn = AtomicUsize::new(0);
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !looker.is_finished() {
        let Ok((client, _)) = listener.accept().await else {
            // A connection that broke before it was taken is no reason to stop. Where there are too many, the next
            // one fails at once, too.
            ticks.tick().await;
            continue;
        };
        let order = order(
            &servers.read().unwrap_or_else(PoisonError::into_inner),
            turn.fetch_add(1, Ordering::Relaxed),
        );
        tokio::spawn(forward(client, order));
    }
}

/// Servers in the order in which they are tried: those that answer first, each in turn.
fn order(servers: &[Arc<Server>], turn: usize) -> Vec<Arc<Server>> {
    let mut order: Vec<Arc<Server>> = servers.to_vec();
    if !order.is_empty() {
        let by = turn % order.len();
        order.rotate_left(by);
    }
    order.sort_by_key(|server| !*server.up.borrow());
    order
}

async fn forward(mut client: TcpStream, order: Vec<Arc<Server>>) {
    for server in order {
        let dialed = tokio::time::timeout(PATIENCE, TcpStream::connect(&server.address)).await;
        let Ok(Ok(mut upstream)) = dialed else { continue };
        for stream in [&client, &upstream] {
            let _ = stream.set_nodelay(true);
        }
        let _ = socket2::SockRef::from(&upstream).set_tcp_user_timeout(Some(SILENCE));
        let mut up = server.up.subscribe();
        // It may not have been looked at yet: only a fall from here on counts.
        let down = async move {
            let mut was = *up.borrow_and_update();
            while up.changed().await.is_ok() {
                let is = *up.borrow_and_update();
                if was && !is {
                    return;
                }
                was = is;
            }
        };
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut client, &mut upstream) => {}
            () = down => {}
        }
        return;
    }
}

/// Looks at all servers, again and again.
async fn look(servers: Servers, file: Option<PathBuf>, tls: TlsConnector) {
    let mut ticks = tokio::time::interval(INTERVAL);
    let mut read = None;
    let mut failures = vec![0_u32; servers.read().unwrap_or_else(PoisonError::into_inner).len()];
    loop {
        if let Some(file) = &file
            && let now @ Some(_) = changed(file)
            && now != read
        {
            read = now;
            let text = fs_err::read_to_string(file).unwrap_or_default();
            let mut servers = servers.write().unwrap_or_else(PoisonError::into_inner);
            *servers = parse(&text, &servers);
            failures = vec![0; servers.len()];
        }
        let all: Vec<Arc<Server>> = servers.read().unwrap_or_else(PoisonError::into_inner).clone();
        let answers = future::join_all(all.iter().map(|server| answers(&server.address, &tls))).await;
        let best = answers.iter().max().copied().unwrap_or(Answer::None);
        let any = best > Answer::None;
        for ((server, answer), failures) in all.iter().zip(answers).zip(&mut failures) {
            *failures = if any && answer == best { 0 } else { failures.saturating_add(1) };
            let was = *server.up.borrow();
            let up = is_up(was, *failures, any);
            server.up.send_if_modified(|before| std::mem::replace(before, up) != up);
        }
        ticks.tick().await;
    }
}

/// Whether a server counts as up after so many failures in a row. Where none answers, as while etcd elects a leader,
/// what is open stays open: there is no other to turn to.
fn is_up(was: bool, failures: u32, any: bool) -> bool {
    failures == 0 || (was && (failures < FAILURES || !any))
}

fn changed(file: &Path) -> Option<SystemTime> {
    fs_err::metadata(file).and_then(|meta| meta.modified()).ok()
}

/// The servers of a list; those that are known keep what is known of them.
fn parse(text: &str, known: &[Arc<Server>]) -> Vec<Arc<Server>> {
    text.split_whitespace()
        .map(|address| {
            let same = known.iter().find(|server| server.address == address).cloned();
            same.unwrap_or_else(|| {
                Arc::new(Server { address: address.to_owned(), up: watch::Sender::new(false) })
            })
        })
        .collect()
}

/// What a server says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    /// Nothing, or that it is not ready.
    None,
    /// That it does not know yet who may ask: its roles are not there early in `kubeadm init`, or not read since its
    /// start. It is turned to where no other one is ready: until it knows, it lets nobody do anything.
    Early,
    /// That it is ready.
    Ready,
}

/// What a server answers to `/readyz`.
async fn answers(address: &str, tls: &TlsConnector) -> Answer {
    let ask = async {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("kubernetes").map_err(std::io::Error::other)?;
        let mut stream = tls.connect(name, stream).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: kubernetes\r\nConnection: close\r\n\r\n").await?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await?;
        Ok::<_, std::io::Error>(head)
    };
    match tokio::time::timeout(PATIENCE, ask).await {
        Ok(Ok(head)) if head.starts_with(b"HTTP/1.") => match head.get(9) {
            Some(b'2') => Answer::Ready,
            Some(b'1'..=b'4') => Answer::Early,
            _ => Answer::None,
        },
        Ok(_) | Err(_) => Answer::None,
    }
}

fn connector() -> Result<TlsConnector, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Takes any certificate: only whether a server answers is asked, nothing is
/// told and nothing believed. Those who talk through the proxy verify it themselves.
#[derive(Debug)]
struct Unverified(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_falls_after_two_failures_while_another_one_answers() {
        assert!(is_up(false, 0, true));
        assert!(is_up(true, 1, true));
        assert!(!is_up(true, 2, true));
        assert!(is_up(true, 9, false));
        assert!(!is_up(false, 1, false));
    }

    #[test]
    fn healthy_servers_take_turns_and_the_others_come_last() {
        let servers = parse("a:1 b:1\nc:1\n", &[]);
        servers[1].up.send_replace(true);
        servers[2].up.send_replace(true);
        let names = |turn| {
            order(&servers, turn).iter().map(|server| server.address.clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(0), "b:1 c:1 a:1");
        assert_eq!(names(2), "c:1 b:1 a:1");
        assert!(order(&[], 7).is_empty());
        let again = parse("c:1\nd:1", &servers);
        assert!(Arc::ptr_eq(&again[0], &servers[2]));
    }
}
