//! A relay between `cozy` and the API server whose connections can be made to
//! die: cut, or silent for ever, as behind a router that forgot them.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Connections, each with whether it is silent.
type Open = Arc<Mutex<Vec<(TcpStream, Arc<AtomicBool>)>>>;

/// A relay that runs as long as the process.
pub(crate) struct Proxy {
    port: u16,
    open: Open,
    /// New connections are silent, too.
    parted: Arc<AtomicBool>,
}

impl Proxy {
    /// Relays to a port of this machine.
    pub(crate) fn start(to: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let open: Open = Arc::default();
        let connections = Arc::clone(&open);
        let parted = Arc::new(AtomicBool::new(false));
        let all = Arc::clone(&parted);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                let silent = Arc::new(AtomicBool::new(all.load(Ordering::SeqCst)));
                let both = [(&client, &server), (&server, &client)];
                for (from, to) in both.map(|(from, to)| (from.try_clone().unwrap(), to.try_clone().unwrap()))
                {
                    let silent = Arc::clone(&silent);
                    std::thread::spawn(move || relay(from, to, &silent));
                }
                connections.lock().unwrap().push((client, silent));
            }
        });
        Self { port, open, parted }
    }

    /// A kubeconfig of another server's port, for this one.
    pub(crate) fn kubeconfig(&self, other: &str) -> String {
        let at = other.find("https://127.0.0.1:").unwrap() + "https://127.0.0.1:".len();
        let end = at + other[at..].find(|digit: char| !digit.is_ascii_digit()).unwrap();
        format!("{}{}{}", &other[..at], self.port, &other[end..])
    }

    /// The port of the server that a kubeconfig names.
    pub(crate) fn port_of(kubeconfig: &str) -> u16 {
        let rest = kubeconfig.split("https://127.0.0.1:").nth(1).unwrap();
        rest.split(|digit: char| !digit.is_ascii_digit()).next().unwrap().parse().unwrap()
    }

    /// Every connection stays open, and nothing comes through any more.
    pub(crate) fn silence(&self) {
        for (_, silent) in &*self.open.lock().unwrap() {
            silent.store(true, Ordering::SeqCst);
        }
    }

    /// Nothing comes through any more, on old connections and on new ones.
    pub(crate) fn part(&self) {
        self.parted.store(true, Ordering::SeqCst);
        self.silence();
    }

    /// Every connection is cut.
    pub(crate) fn cut(&self) {
        for (client, _) in self.open.lock().unwrap().drain(..) {
            let _ = client.shutdown(Shutdown::Both);
        }
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream, silent: &AtomicBool) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        // What a dead connection carries is lost.
        if !silent.load(Ordering::SeqCst) && to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    if !silent.load(Ordering::SeqCst) {
        let _ = to.shutdown(Shutdown::Both);
    }
}
