//! The API of three servers while one of them fails: a client on every host
//! writes twenty times a second through the local endpoint there.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::config::KubeConfigOptions;

use crate::away::until;
use crate::bed::Bed;
use crate::{THREE, cozy, done, install, kubectl, members, nodes, whole};

/// etcd's election timeout in the cloud of the tests is 5 s; an election begins after at most twice that.
/// <https://etcd.io/docs/v3.6/tuning/>
const ELECTION: Duration = Duration::from_secs(10);

/// What else a client may wait for.
const SLACK: Duration = Duration::from_secs(3);

/// How long a client may write nothing before the test gives up.
const GIVES_UP: Duration = Duration::from_secs(120);

/// Writes, and when each was acknowledged.
#[derive(Default)]
struct Acknowledged {
    all: Mutex<Vec<(String, Instant)>>,
    more: Condvar,
}

/// A client on a host.
struct Writer {
    host: usize,
    child: Child,
    acknowledged: Arc<Acknowledged>,
}

impl Writer {
    fn start(bed: &Bed, host: usize) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut command = bed.within(host, program.to_str().unwrap());
        let mut child = command
            .args(["--exact", "available::the_writer", "--ignored", "--nocapture"])
            .env("COZY_BED_WRITER", format!("h{host}"))
            .env("COZY_BED_KUBECONFIG", bed.path("bed.kubeconfig"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let acknowledged = Arc::new(Acknowledged::default());
        let all = Arc::clone(&acknowledged);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(name) = line.strip_prefix("acknowledged ") {
                    all.all.lock().unwrap().push((name.to_owned(), Instant::now()));
                    all.more.notify_all();
                }
            }
        });
        Self { host, child, acknowledged }
    }

    /// The longest time between two acknowledged writes since then.
    fn gap(&self, since: Instant) -> Duration {
        let all = self.acknowledged.all.lock().unwrap();
        let times = all.iter().map(|(_, at)| *at).filter(|at| *at >= since).chain([Instant::now()]);
        let mut last = since;
        let mut longest = Duration::ZERO;
        for at in times {
            longest = longest.max(at - last);
            last = at;
        }
        longest
    }

    /// Waits until it has written that often more.
    fn goes_on(&self, writes: usize) {
        let all = self.acknowledged.all.lock().unwrap();
        let enough = all.len() + writes;
        let more = &self.acknowledged.more;
        let (all, _) = more.wait_timeout_while(all, GIVES_UP, |all| all.len() < enough).unwrap();
        assert!(all.len() >= enough, "the client on h{} writes no more", self.host);
    }

    /// Ends it; what was acknowledged.
    fn end(mut self) -> Vec<String> {
        self.stop();
        self.acknowledged.all.lock().unwrap().iter().map(|(name, _)| name.clone()).collect()
    }
}

impl Writer {
    fn stop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Writer {
    /// A test that fails leaves no client behind.
    fn drop(&mut self) {
        self.stop();
    }
}

/// Not a test: the client, which the test below starts in the network of a host.
#[test]
#[ignore = "a program of the next test's"]
fn the_writer() {
    #[expect(clippy::disallowed_methods, reason = "how the test tells its program")]
    let (Ok(name), Ok(kubeconfig)) = (std::env::var("COZY_BED_WRITER"), std::env::var("COZY_BED_KUBECONFIG"))
    else {
        return;
    };
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let config = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
        let mut config =
            kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
        config.cluster_url = "https://127.0.0.1:7443".parse().unwrap();
        config.default_retry = false;
        let api: Api<ConfigMap> = Api::namespaced(kube::Client::try_from(config).unwrap(), "default");
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for number in 0.. {
            ticks.tick().await;
            // A client that is started again begins anew.
            let name = format!("write-{name}-{}-{number}", std::process::id());
            let labels = BTreeMap::from([("written-by".to_owned(), "the-test".to_owned())]);
            let metadata =
                ObjectMeta { name: Some(name.clone()), labels: Some(labels), ..ObjectMeta::default() };
            let object = ConfigMap { metadata, ..ConfigMap::default() };
            loop {
                let write = async { api.create(&PostParams::default(), &object).await };
                match tokio::time::timeout(Duration::from_secs(2), write).await {
                    Ok(Ok(_)) => break,
                    // What was asked before was done, and its answer was lost.
                    Ok(Err(kube::Error::Api(status))) if status.code == 409 => break,
                    Ok(Err(_)) | Err(_) => ticks.tick().await,
                };
            }
            let mut out = std::io::stdout().lock();
            if writeln!(out, "acknowledged {name}").and_then(|()| out.flush()).is_err() {
                return;
            }
        }
    });
}

/// Whether the etcd of a host leads.
fn leads(bed: &Bed, host: usize) -> bool {
    let leads = "timeout 2 bash -c 'exec 3<>/dev/tcp/127.0.0.1/2381; printf \"GET /metrics HTTP/1.0\\r\\n\\r\\n\" >&3; grep -c \"^etcd_server_is_leader 1\" <&3' || true";
    bed.on(host, leads).trim() == "1"
}

/// Waits until the etcd of a host leads, of all but one that is gone.
fn leader(bed: &Bed, gone: Option<usize>) -> usize {
    let begun = Instant::now();
    loop {
        let mut hosts = [1, 2, 3].into_iter().filter(|host| Some(*host) != gone);
        if let Some(host) = hosts.find(|host| leads(bed, *host)) {
            return host;
        }
        assert!(begun.elapsed() < GIVES_UP, "etcd has no leader");
    }
}

/// The API server of a host.
const READY: &str = "/usr/local/bin/kubectl --kubeconfig /etc/kubernetes/admin.conf --server https://127.0.0.1:6443 get --raw /readyz >/dev/null 2>&1";

/// Kills a program of a static pod.
fn kill(bed: &Bed, host: usize, program: &str) {
    bed.on(host, &format!("pkill -KILL -x {program}"));
}

struct Clients {
    writers: Vec<Writer>,
    names: Vec<String>,
}

impl Clients {
    /// Lets something fail, waits until that is over and all clients on other hosts write on, and measures.
    fn bear(
        &mut self,
        (what, dead, limit): (&str, Option<usize>, Duration),
        fail: impl FnOnce(),
        over: impl FnOnce(),
    ) {
        for writer in &self.writers {
            writer.goes_on(20);
        }
        if let Some(dead) = dead {
            let at = self.writers.iter().position(|writer| writer.host == dead).unwrap();
            self.names.extend(self.writers.remove(at).end());
        }
        let since = Instant::now();
        fail();
        over();
        for writer in &self.writers {
            writer.goes_on(20);
        }
        let gaps: Vec<Duration> = self.writers.iter().map(|writer| writer.gap(since)).collect();
        println!("{what}: longest gaps {gaps:.2?}");
        assert!(gaps.iter().all(|gap| *gap <= limit), "{what}: {gaps:?}");
    }

    fn again(&mut self, bed: &Bed, host: usize) {
        until(bed, host, READY);
        if !self.writers.iter().any(|writer| writer.host == host) {
            self.writers.push(Writer::start(bed, host));
        }
    }
}

#[test]
#[ignore = "long"]
fn no_acknowledged_write_is_lost_and_the_api_is_back_after_one_election() {
    let mut bed = Bed::boot(4);
    done(&install(&bed, THREE).output().unwrap());
    whole(&bed);
    let writers = [1, 2, 3].map(|host| Writer::start(&bed, host)).into();
    let mut clients = Clients { writers, names: Vec::new() };
    // Another process than the one that was killed.
    let before = bed.on(2, "pgrep -o -x kube-apiserver");
    clients.bear(
        ("API server killed", None, SLACK),
        || kill(&bed, 2, "kube-apiserver"),
        || {
            until(&bed, 2, &format!("pid=$(pgrep -o -x kube-apiserver) && [ $pid != {} ]", before.trim()));
            until(&bed, 2, READY);
        },
    );
    let host = leader(&bed, None);
    clients.bear(
        ("etcd's leader killed", None, ELECTION + SLACK),
        || kill(&bed, host, "etcd"),
        || {
            leader(&bed, None);
        },
    );
    clients.again(&bed, host);
    let host = leader(&bed, None);
    clients.bear(
        ("the leader's host powered off", Some(host), ELECTION + SLACK),
        || bed.power(&format!("off {host}")),
        || {},
    );
    leader(&bed, Some(host));
    bed.power(&format!("on {host}"));
    clients.again(&bed, host);
    until(&bed, host, "systemctl is-active -q kubelet");
    let host = leader(&bed, None);
    // Everything to and from the other hosts is dropped; only the way in from outside stays.
    let drops = "nft 'add table ip silent; add chain ip silent in { type filter hook input priority -300; }; add chain ip silent out { type filter hook output priority -300; }; \
                add rule ip silent in ip saddr 10.98.0.21-10.98.0.24 iif != lo drop; add rule ip silent out ip daddr 10.98.0.21-10.98.0.24 oif != lo drop'";
    clients.bear(
        ("the leader's packets silently dropped", Some(host), ELECTION + SLACK),
        || drop(bed.on(host, drops)),
        || {
            leader(&bed, Some(host));
        },
    );
    bed.on(host, "nft delete table ip silent");
    clients.again(&bed, host);
    for writer in &clients.writers {
        writer.goes_on(20);
    }
    let mut names = clients.names;
    for writer in clients.writers {
        names.extend(writer.end());
    }
    let there = kubectl(
        &bed,
        &[
            "get",
            "configmaps",
            "-n",
            "default",
            "-l",
            "written-by=the-test",
            "-o",
            "jsonpath={.items[*].metadata.name}",
        ],
    );
    let there: std::collections::BTreeSet<&str> = there.split_whitespace().collect();
    let lost: Vec<&String> = names.iter().filter(|name| !there.contains(name.as_str())).collect();
    println!("{} writes acknowledged, {} there", names.len(), there.len());
    assert!(lost.is_empty(), "{lost:?}");
    replaced(&mut bed);
}

/// A server that is gone for good is replaced by another host.
fn replaced(bed: &mut Bed) {
    bed.power("off 3");
    let hosts = THREE.replace("10.98.0.23, role: server", "10.98.0.23, role: server, state: removed");
    let hosts = format!("{hosts}  - {{ address: 10.98.0.24, role: server }}\n");
    crate::cloud(bed, &hosts, "");
    let output = cozy(bed, &["install", "--yes", "--remove-hosts", "-o", "json"]).output().unwrap();
    done(&output);
    assert_eq!(nodes(bed), "h1=True h2=True h4=True");
    assert_eq!(members(bed, 1), "h1 voter up\nh2 voter up\nh4 voter up");
}
