//! A real Kubernetes control plane for tests: etcd, API server, controllers,
//! scheduler and kwok, built by `tests/cluster/build`, on free ports, in a
//! folder of its own. Everything ends with the test that uses it, and with the
//! test process, also when that is killed; the folder of a test that fails
//! stays until the next run.

use fs_err as fs;
use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

/// How long a part may take to answer.
const PATIENCE: Duration = Duration::from_secs(180);

/// How the names of their folders begin; the process ID of the test binary comes next.
const PREFIX: &str = "cozy-cluster-";

/// Folders of test processes that have ended are looked for once.
static SWEPT: OnceLock<()> = OnceLock::new();

/// A control plane that runs.
pub(crate) struct ControlPlane {
    folder: PathBuf,
    bin: PathBuf,
    /// Every process that was started.
    processes: Mutex<Vec<u32>>,
    /// The processes of etcd and the API server.
    etcd: AtomicU32,
    api: AtomicU32,
    /// The ports of etcd for clients and of the API server.
    ports: [u16; 2],
}

impl ControlPlane {
    /// The one of this test binary.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: OnceLock<Arc<ControlPlane>> = OnceLock::new();
        Arc::clone(SHARED.get_or_init(Self::own))
    }

    /// One of its own for a test.
    pub(crate) fn own() -> Arc<Self> {
        Arc::new(Self::start(None))
    }

    /// One of its own, all of whose pods have one address: that of whoever answers for them.
    pub(crate) fn with_pods_at(address: IpAddr) -> Arc<Self> {
        Arc::new(Self::start(Some(address)))
    }

    /// Starts one.
    fn start(pods: Option<IpAddr>) -> Self {
        let bin = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/cluster/bin");
        assert!(
            bin.join("control-plane").exists(),
            "the control plane is not built: run `tests/run`, or tests/cluster/build"
        );
        SWEPT.get_or_init(sweep);
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir().unwrap().keep();
        let [client, peer, api, controllers, scheduler] = free_ports();
        let [etcd, server] = [AtomicU32::new(0), AtomicU32::new(0)];
        let processes = Mutex::default();
        let plane = Self { folder, bin, processes, etcd, api: server, ports: [client, api] };
        plane.certificates();
        plane.write("kubeconfig", &plane.kubeconfig_text(api));
        plane.write(
            "etcd.yaml",
            &format!(
                "name: test\ndata-dir: {}/etcd\nlisten-client-urls: http://127.0.0.1:{client}\nadvertise-client-urls: http://127.0.0.1:{client}\n\
                 listen-peer-urls: http://127.0.0.1:{peer}\ninitial-advertise-peer-urls: http://127.0.0.1:{peer}\n\
                 initial-cluster: test=http://127.0.0.1:{peer}\nunsafe-no-fsync: true\n",
                plane.folder.display()
            ),
        );
        let etcd = plane.spawn("control-plane", &["etcd", "--config-file=etcd.yaml"]);
        plane.etcd.store(etcd, Ordering::Relaxed);
        plane.serve();
        plane.wait_until("the API server is ready", || {
            plane.kubectl(&["get", "--raw", "/readyz"]).status.success()
        });
        plane.spawn(
            "control-plane",
            &[
                "kube-controller-manager",
                "--kubeconfig=kubeconfig",
                "--service-account-private-key-file=sa.key",
                "--root-ca-file=ca.crt",
                "--use-service-account-credentials=true",
                "--leader-elect=false",
                // A busy machine makes kwok's heartbeats late; its nodes are no less ready for that.
                "--node-monitor-grace-period=1h",
                "--bind-address=127.0.0.1",
                &format!("--secure-port={controllers}"),
                "--authentication-kubeconfig=kubeconfig",
                "--authorization-kubeconfig=kubeconfig",
            ],
        );
        plane.spawn(
            "control-plane",
            &[
                "kube-scheduler",
                "--kubeconfig=kubeconfig",
                "--leader-elect=false",
                "--bind-address=127.0.0.1",
                &format!("--secure-port={scheduler}"),
                "--authentication-kubeconfig=kubeconfig",
                "--authorization-kubeconfig=kubeconfig",
            ],
        );
        plane.nodes(pods);
        plane.wait_until("the controllers work", || {
            plane.kubectl(&["-n", "default", "get", "serviceaccount", "default"]).status.success()
        });
        plane
    }

    /// Starts the API server.
    fn serve(&self) {
        let [etcd, api] = self.ports;
        let server = self.spawn(
            "control-plane",
            &[
                "kube-apiserver",
                &format!("--etcd-servers=http://127.0.0.1:{etcd}"),
                &format!("--secure-port={api}"),
                "--bind-address=127.0.0.1",
                "--client-ca-file=ca.crt",
                "--tls-cert-file=server.crt",
                "--tls-private-key-file=server.key",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--service-account-signing-key-file=sa.key",
                "--service-account-key-file=sa.pub",
                "--service-cluster-ip-range=10.96.0.0/16",
                "--authorization-mode=RBAC",
                "--allow-privileged=true",
                // Webhooks and APIServices are reached by endpoints alone: no request leaves this machine.
                "--enable-aggregator-routing=true",
            ],
        );
        self.api.store(server, Ordering::Relaxed);
    }

    /// Kills the API server with SIGKILL, and starts it again.
    pub(crate) fn restart_api(&self) {
        signal("KILL", self.api.load(Ordering::Relaxed));
        // It is gone a moment after the signal was sent.
        let [_, port] = self.ports;
        self.wait_until("the API server's port is free", || TcpListener::bind(("127.0.0.1", port)).is_ok());
        self.serve();
    }

    /// Stops etcd, as if its disk did not answer, or lets it go on.
    pub(crate) fn stop_etcd(&self, stopped: bool) {
        signal(if stopped { "STOP" } else { "CONT" }, self.etcd.load(Ordering::Relaxed));
    }

    /// The kubeconfig of an administrator.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// The folder of its certificates.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A program that was built with it.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// A command of kubectl for this control plane. What it caches stays in the folder.
    pub(crate) fn kubectl_command(&self) -> Command {
        let mut command = Command::new(self.program("kubectl"));
        command.arg("--kubeconfig").arg(self.kubeconfig());
        command.arg("--cache-dir").arg(self.folder.join("kubectl")).stdin(Stdio::null());
        command
    }

    /// Runs kubectl.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Output {
        self.kubectl_command().args(arguments).output().unwrap()
    }

    /// What kubectl prints; it must succeed.
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        let output = self.kubectl(arguments);
        assert!(
            output.status.success(),
            "kubectl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Three nodes that kwok keeps ready.
    fn nodes(&self, pods: Option<IpAddr>) {
        let stages = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/cluster/stages");
        let mut files = Vec::new();
        for entry in fs::read_dir(stages).unwrap() {
            let mut path = entry.unwrap().path();
            if let (Some(address), true) = (pods, path.ends_with("pod-ready.yaml")) {
                self.write("pod-ready.yaml", &pods_at(&fs::read_to_string(path).unwrap(), address));
                path = self.folder.join("pod-ready.yaml");
            }
            files.push(format!("--config={}", path.display()));
        }
        files.sort();
        let node = |number: u8| {
            format!(
                "---\napiVersion: v1\nkind: Node\nmetadata: {{ name: node-{number}, labels: {{ kubernetes.io/hostname: node-{number}, kubernetes.io/os: linux }} }}\n\
                 status:\n  capacity: {{ cpu: '64', memory: 256Gi, pods: '1000' }}\n  allocatable: {{ cpu: '64', memory: 256Gi, pods: '1000' }}\n"
            )
        };
        let nodes = [1, 2, 3].map(node).concat();
        self.write("nodes.yaml", &nodes);
        let path = self.folder.join("nodes.yaml");
        self.ask(&["apply", "-f", path.to_str().unwrap()]);
        let mut arguments = vec!["--kubeconfig=kubeconfig", "--manage-all-nodes=true"];
        arguments.extend(files.iter().map(String::as_str));
        self.spawn("kwok", &arguments);
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).unwrap();
    }

    fn kubeconfig_text(&self, port: u16) -> String {
        let folder = self.folder.display();
        format!(
            "apiVersion: v1\nkind: Config\n\
             clusters: [{{ name: test, cluster: {{ server: 'https://127.0.0.1:{port}', certificate-authority: {folder}/ca.crt }} }}]\n\
             users: [{{ name: test, user: {{ client-certificate: {folder}/admin.crt, client-key: {folder}/admin.key }} }}]\n\
             contexts: [{{ name: test, context: {{ cluster: test, user: test }} }}]\ncurrent-context: test\n"
        )
    }

    fn certificates(&self) {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name.push(DnType::CommonName, "test");
        self.write("ca.crt", &ca.self_signed(&ca_key).unwrap().pem());
        let issuer = Issuer::new(ca, ca_key);
        let leaf = |name: &str, names: &[&str], usage, subject: &[(DnType, &str)]| {
            let key = KeyPair::generate().unwrap();
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let mut params = CertificateParams::new(names).unwrap();
            params.extended_key_usages = vec![usage];
            for (kind, value) in subject {
                params.distinguished_name.push(kind.clone(), *value);
            }
            self.write(&format!("{name}.crt"), &params.signed_by(&key, &issuer).unwrap().pem());
            self.write(&format!("{name}.key"), &key.serialize_pem());
        };
        let admin = [(DnType::OrganizationName, "system:masters"), (DnType::CommonName, "admin")];
        leaf("admin", &[], ExtendedKeyUsagePurpose::ClientAuth, &admin);
        let server = [(DnType::CommonName, "kube-apiserver")];
        leaf(
            "server",
            &["127.0.0.1", "10.96.0.1", "localhost"],
            ExtendedKeyUsagePurpose::ServerAuth,
            &server,
        );
        let accounts = KeyPair::generate().unwrap();
        self.write("sa.key", &accounts.serialize_pem());
        self.write("sa.pub", &accounts.public_key_pem());
    }

    /// Starts a program, and answers its process ID.
    fn spawn(&self, program: &str, arguments: &[&str]) -> u32 {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(
                self.folder
                    .join(format!("{}.log", arguments[0].trim_start_matches('-').replace(['=', '/'], "-"))),
            )
            .unwrap();
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(self.bin.join(program))
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap().into_parts().0)
            .stderr(log.into_parts().0);
        let (done, answer) = channel();
        spawner().send((command, done)).unwrap();
        let process = answer.recv().unwrap();
        self.processes.lock().unwrap().push(process);
        process
    }

    /// Asks until it holds: readiness of foreign processes has no event.
    pub(crate) fn wait_until(&self, what: &str, holds: impl Fn() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < end, "not in time: {what}; logs are in {}", self.folder.display());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        for process in self.processes.get_mut().into_iter().flat_map(|all| all.iter()) {
            // The process IDs of those that have ended are still theirs: nobody waits for them.
            let _ = Command::new("kill").args(["-KILL", &process.to_string()]).status();
        }
        if !std::thread::panicking() {
            // What was killed a moment ago may still write.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Removes the folders of test processes that have ended.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).unwrap().map(Result::unwrap) {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let Some((process, _)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')) else {
            continue;
        };
        if process.parse::<u32>().is_ok() && !Path::new("/proc").join(process).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// kwok's stage that makes pods ready, with this address for all of them.
fn pods_at(stage: &str, address: IpAddr) -> String {
    let (before, after) = stage.split_once("{{ $podIPs :=").expect("kwok's stage gives pods addresses");
    let fixed = after
        .replace("podIP: {{ index . 0 | Quote }}", &format!("podIP: \"{address}\""))
        .replace("- ip: {{ . | Quote }}", &format!("- ip: \"{address}\""));
    format!("{before}{{{{ $podIPs :={fixed}")
}

/// The thread that starts processes. Their death signal fires when the thread
/// that spawned them ends, so it lives as long as the test binary.
fn spawner() -> &'static Sender<(Command, Sender<u32>)> {
    static SPAWNER: OnceLock<Sender<(Command, Sender<u32>)>> = OnceLock::new();
    SPAWNER.get_or_init(|| {
        let (sender, jobs) = channel::<(Command, Sender<u32>)>();
        std::thread::spawn(move || {
            let mut children = Vec::new();
            while let Ok((mut command, done)) = jobs.recv() {
                // setpriv becomes the program: its process ID is that of the program.
                let child = command.spawn().expect("setpriv is part of util-linux");
                let _ = done.send(child.id());
                children.push(child);
            }
        });
        sender
    })
}

/// Sends a signal to a process.
fn signal(name: &str, process: u32) {
    let sent = Command::new("kill").args([format!("-{name}"), process.to_string()]).status().unwrap();
    assert!(sent.success(), "kill -{name} {process}");
}

fn free_ports<const N: usize>() -> [u16; N] {
    // All are held at once, so that no two are the same.
    let held: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}
