//! Installs over a connection that loses, delays and refuses requests, and while the API server is killed: each ends
//! with what is wanted, nothing else, and no object written twice.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::ops::RangeInclusive;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cozy_sim::{Fault, Flaky, Flaws};
use http::{Method, Request, header};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::runtime::Runtime;
use tower::{BoxError, Layer as _, ServiceExt as _};

use crate::killed::{settled, want};
use crate::made::{Made, both};
use crate::served::serve_any;
use crate::settings_are_long;
use crate::support::control_plane::ControlPlane;

/// How many faults a run of installs meets.
const FAULTS: u64 = 1_000;

/// Each kind of fault, with its chance in percent.
const CHANCES: [(Fault, f64); 6] = [
    (Fault::Answer(429), 1.0),
    (Fault::Answer(500), 4.0),
    (Fault::Answer(503), 4.0),
    (Fault::Answer(504), 4.0),
    (Fault::Reset, 6.0),
    (Fault::Lost, 6.0),
];

/// Writes that were answered with success, by path: the client knows that they were done.
type Writes = Arc<Mutex<BTreeMap<String, u32>>>;

/// A server in front of the API server, with faults in between.
struct Between {
    runtime: Runtime,
    flaky: Flaky,
    writes: Writes,
}

impl Between {
    /// Serves until it is dropped; the cloud goes through it from now on.
    fn new(cloud: &mut Made, flaws: Flaws) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let path = cloud.path("between.kubeconfig");
        let writes = Writes::default();
        let flaky = runtime.block_on(async {
            let flaky = Flaky::new(flaws);
            let config = Kubeconfig::read_from(cloud.plane.kubeconfig()).unwrap();
            let options = KubeConfigOptions::default();
            let config = kube::Config::from_custom_kubeconfig(config, &options).await.unwrap();
            let client = kube::Client::try_from(config).unwrap();
            let real = tower::service_fn(move |mut request: Request<Body>| {
                // They are about the connection on this side.
                request.headers_mut().remove(header::HOST);
                request.headers_mut().remove(header::CONNECTION);
                let client = client.clone();
                async move { client.send(request).await }
            });
            let behind = flaky.layer(real);
            let counted = Arc::clone(&writes);
            let counting = tower::service_fn(move |request: Request<Body>| {
                let (behind, counted) = (behind.clone(), Arc::clone(&counted));
                let written = written(&request);
                async move {
                    let answer = behind.oneshot(request).await?;
                    if let Some(path) = written.filter(|_| answer.status().is_success()) {
                        *counted.lock().unwrap().entry(path).or_default() += 1;
                    }
                    Ok::<_, BoxError>(answer)
                }
            });
            serve_any(counting, &path).await;
            flaky
        });
        cloud.kubeconfig = Some(path);
        Self { runtime, flaky, writes }
    }

    /// The objects that were written more than once since it was last asked.
    fn twice(&self) -> Vec<(String, u32)> {
        let writes = std::mem::take(&mut *self.writes.lock().unwrap());
        writes.into_iter().filter(|(_, times)| *times > 1).collect()
    }

    /// Ends it.
    fn end(self) {
        self.runtime.shutdown_background();
    }
}

/// The path of an object of the cloud that a request writes; cozy's own lock and inventories change all the time.
fn written(request: &Request<Body>) -> Option<String> {
    let uri = request.uri();
    let asks = [Method::GET, Method::HEAD].contains(request.method())
        || uri.query().is_some_and(|query| query.contains("dryRun"))
        || uri.path().contains("/namespaces/cozy-system")
        || uri.path().ends_with("reviews");
    (!asks).then(|| format!("{} {}", request.method(), uri.path()))
}

/// Installs until it ends well; what ends badly must say why, and how to go on.
fn converge(cloud: &Made, between: &Between) -> usize {
    let mut last = String::new();
    for failed in 0..20 {
        between.twice();
        let output = cloud.command(&["install", "--yes"]).output().unwrap();
        let twice = between.twice();
        assert!(twice.is_empty(), "written twice: {twice:?}\n{}", both(&output));
        let text = both(&output);
        match output.status.code() {
            Some(0) => return failed,
            Some(1 | 5 | 6) => {
                assert!(text.contains("error[C") || text.contains("code      C"), "{text}");
                last = text;
            }
            other => panic!("{other:?}: {text}"),
        }
    }
    panic!("twenty installs in a row failed, the last with\n{last}");
}

/// What is there is what is wanted, it is ready, and another run would do nothing.
fn ready_and_settled(cloud: &mut Made, round: usize) {
    let columns = "jsonpath={range .items[*]}{.metadata.namespace} {.metadata.generation}={.status.observedGeneration} {.spec.replicas}={.status.availableReplicas}={.status.updatedReplicas}{\"\\n\"}{end}";
    for line in cloud.plane.ask(&["get", "deployments", "-A", "-o", columns]).lines() {
        for pair in line.split(' ').skip(1) {
            let parts: Vec<&str> = pair.split('=').collect();
            assert!(parts.iter().all(|part| *part == parts[0]), "round {round} was not ready: {line}");
        }
    }
    let wanted = want(cloud, round);
    let through = cloud.kubeconfig.take();
    settled(cloud, &wanted, &format!("round {round}"));
    cloud.kubeconfig = through;
}

/// Seeds of their own, so that they can go side by side.
mod with_a_thousand_faults_installs_end_with_what_is_wanted_and_write_nothing_twice {
    #[test]
    fn seed_1() {
        super::thousands(1..=1);
    }

    #[test]
    fn seed_2() {
        super::thousands(2..=2);
    }

    #[test]
    fn seed_3() {
        super::thousands(3..=3);
    }

    #[test]
    #[ignore = "an hour: tests/run long"]
    fn seeds_4_to_20() {
        super::thousands(4..=20);
    }
}

#[expect(clippy::print_stderr, reason = "what a run met is worth knowing")]
fn thousands(seeds: RangeInclusive<u64>) {
    let mut cloud = Made::on(ControlPlane::own());
    let mut round = 0;
    for seed in seeds {
        let flaws = Flaws {
            seed,
            chances: CHANCES.to_vec(),
            cut_watches: Some(Duration::from_millis(900)),
            // It takes most of a minute until a watch that says nothing is known to be dead.
            stalls: if settings_are_long() { vec![Duration::from_secs(3)] } else { Vec::new() },
            ..Flaws::default()
        };
        let between = Between::new(&mut cloud, flaws);
        let mut failed = 0;
        while between.flaky.hurt() < FAULTS {
            round += 1;
            want(&mut cloud, round);
            failed += converge(&cloud, &between);
            ready_and_settled(&mut cloud, round);
        }
        eprintln!(
            "seed {seed}: {} faults until round {round}, {failed} installs failed",
            between.flaky.hurt()
        );
        between.end();
    }
}

#[test]
fn an_install_outlives_the_api_server_and_an_etcd_that_stands_still() {
    let mut cloud = Made::on(ControlPlane::own());
    want(&mut cloud, 1);
    let mut command = cloud.command(&["install", "--yes", "-o", "json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut kills = 0;
    // An event is written when a request was answered: the run is in the middle of its work.
    for (at, _) in lines.by_ref().enumerate() {
        if [5, 25, 50].contains(&at) {
            cloud.plane.restart_api();
            kills += 1;
        }
        if settings_are_long() && at == 40 {
            cloud.plane.stop_etcd(true);
            std::thread::park_timeout(Duration::from_secs(20));
            cloud.plane.stop_etcd(false);
        }
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(kills, 3);
    // Where the machine is so busy that the lock outlives its lifetime unrenewed, nothing more is written.
    if output.status.code() == Some(6) {
        cloud.expect(&["install", "--yes"], 0);
    } else {
        assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    }
    ready_and_settled(&mut cloud, 1);
}
