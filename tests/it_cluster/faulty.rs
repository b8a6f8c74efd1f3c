//! Stands between `cozy` and `kubectl proxy` on plain HTTP, and does by a seed what networks and overloaded API
//! servers do: refuses, answers late or not at all, loses answers after the server acted, cuts and stalls watches.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::control_plane::ControlPlane;

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Answered with a code, and maybe the seconds of a `Retry-After`.
    Refused(u16, Option<u8>),
    /// The connection ends before the server saw the request.
    ResetBefore,
    /// The connection ends after the server acted.
    ResetAfter,
    /// The answer's second half is lost.
    Truncated,
    /// The answer comes late.
    Late,
    /// A watch ends soon, maybe in the middle of an event.
    CutWatch,
    /// A watch stays open, and nothing comes any more.
    StalledWatch,
}

const REQUESTS: [Fault; 9] = [
    Fault::Refused(429, None),
    Fault::Refused(429, Some(1)),
    Fault::Refused(500, None),
    Fault::Refused(503, None),
    Fault::Refused(504, None),
    Fault::ResetBefore,
    Fault::ResetAfter,
    Fault::Truncated,
    Fault::Late,
];

/// What was done so far.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// How often a request came, by method and path.
    seen: BTreeMap<String, u64>,
    /// Something is being written: what goes wrong before that ends a run that has done nothing yet.
    begun: bool,
    /// Faults, by their kind.
    pub(crate) faults: BTreeMap<Fault, usize>,
    /// Writes that the server did and whose answer arrived whole, by method and path.
    pub(crate) writes: BTreeMap<String, usize>,
}

impl Log {
    /// Another run: all goes well until it writes.
    pub(crate) fn again(&mut self) {
        self.begun = false;
        self.writes.clear();
    }
}

/// A proxy that lives as long as this; its threads end with the process.
pub(crate) struct Faulty {
    pub(crate) port: u16,
    pub(crate) log: Arc<Mutex<Log>>,
    kubectl: Child,
}

impl Faulty {
    /// Starts one before a control plane: of 100 requests so many go wrong.
    pub(crate) fn start(plane: &ControlPlane, seed: u64, percent: u64) -> Self {
        let mut kubectl = plane.command(&["proxy", "--port=0"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(kubectl.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let to: u16 = line.trim().rsplit(':').next().unwrap().parse().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = Arc::<Mutex<Log>>::default();
        let shared = Arc::clone(&log);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let log = Arc::clone(&shared);
                // A connection that breaks is what this is for.
                std::thread::spawn(move || serve(&client, to, (seed, percent), &log).ok());
            }
        });
        Self { port, log, kubectl }
    }

    /// The kubeconfig that leads here.
    pub(crate) fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{ name: test, cluster: {{ server: 'http://127.0.0.1:{}' }} }}]\n\
             users: [{{ name: test, user: {{}} }}]\ncontexts: [{{ name: test, context: {{ cluster: test, user: test }} }}]\n\
             current-context: test\n",
            self.port
        )
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}

/// One request: its line, its head without what concerns the connection, and its body.
fn read(client: &TcpStream) -> std::io::Result<(String, String, Vec<u8>)> {
    let mut reader = BufReader::new(client);
    let (mut line, mut head, mut length) = (String::new(), String::new(), 0);
    reader.read_line(&mut line)?;
    loop {
        let mut field = String::new();
        reader.read_line(&mut field)?;
        let lower = field.to_ascii_lowercase();
        if field.trim().is_empty() {
            break;
        }
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        // Lost halves are found by length, not by luck with a compressor.
        if !lower.starts_with("connection:") && !lower.starts_with("accept-encoding:") {
            head += &field;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((line, head, body))
}

fn serve(client: &TcpStream, to: u16, how: (u64, u64), log: &Mutex<Log>) -> std::io::Result<()> {
    let (line, head, body) = read(client)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let watch = path.contains("watch=true") || path.contains("watch=1");
    let key = format!("{method} {}", path.split('?').next().unwrap_or_default());
    let writes = method != "GET" && !path.contains("dryRun");
    // The lock is taken before anything is written.
    log.lock().unwrap().begun |= writes && !path.contains("/leases");
    let fault = choose(&key, watch, how, log);
    match fault {
        Some(Fault::Refused(code, after)) => return refuse(client, code, after),
        Some(Fault::ResetBefore) => return client.shutdown(Shutdown::Both),
        Some(Fault::Late) => std::thread::park_timeout(Duration::from_millis(100)),
        _ => {}
    }
    let mut server = TcpStream::connect(("127.0.0.1", to))?;
    write!(server, "{line}{head}Connection: close\r\n\r\n")?;
    server.write_all(&body)?;
    if watch {
        return relay(client, server, fault);
    }
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    match fault {
        Some(Fault::ResetAfter) => return client.shutdown(Shutdown::Both),
        Some(Fault::Truncated) => answer.truncate(answer.len() / 2),
        _ if writes && answer.starts_with(b"HTTP/1.1 2") => {
            *log.lock().unwrap().writes.entry(key).or_default() += 1;
        }
        _ => {}
    }
    let mut client = client;
    client.write_all(&answer)?;
    client.shutdown(Shutdown::Both)
}

/// What goes wrong is a matter of the seed, the request and how often it came before: not of what came between.
fn choose(key: &str, watch: bool, (seed, percent): (u64, u64), log: &Mutex<Log>) -> Option<Fault> {
    let mut log = log.lock().unwrap();
    if !log.begun {
        return None;
    }
    let turn = log.seen.entry(key.to_owned()).or_default();
    *turn += 1;
    let mut hasher = DefaultHasher::new();
    (seed, key, watch, *turn).hash(&mut hasher);
    let number = hasher.finish();
    if number % 100 >= percent {
        return None;
    }
    let fault = match (watch, number / 100 % 9) {
        (false, kind) => REQUESTS[usize::try_from(kind).unwrap()],
        (true, 0..6) => Fault::CutWatch,
        (true, 6) => Fault::StalledWatch,
        (true, _) => Fault::Refused(503, None),
    };
    *log.faults.entry(fault).or_default() += 1;
    Some(fault)
}

fn refuse(mut client: &TcpStream, code: u16, after: Option<u8>) -> std::io::Result<()> {
    let body = format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"injected","reason":"Injected","code":{code}}}"#
    );
    let after = after.map(|seconds| format!("Retry-After: {seconds}\r\n")).unwrap_or_default();
    let length = body.len();
    write!(
        client,
        "HTTP/1.1 {code} Injected\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{after}Connection: close\r\n\r\n{body}"
    )?;
    client.shutdown(Shutdown::Both)
}

/// Relays a watch: whole, a little of it, or a little and then nothing on an open connection.
fn relay(mut client: &TcpStream, mut server: TcpStream, fault: Option<Fault>) -> std::io::Result<()> {
    let mut left = if fault.is_some() { 3000 } else { usize::MAX };
    let mut buffer = [0; 4096];
    loop {
        let read = server.read(&mut buffer)?;
        if read == 0 {
            return client.shutdown(Shutdown::Both);
        }
        let sent = read.min(left);
        client.write_all(&buffer[..sent])?;
        left -= sent;
        if left == 0 && fault == Some(Fault::CutWatch) {
            return client.shutdown(Shutdown::Both);
        }
    }
}
