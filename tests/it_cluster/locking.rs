//! Exclusive runs on a real API server: two at once, one that waits, one whose network is gone, locks of other hosts.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::Arc;

use crate::made::{Made, both};
use crate::proxy::Proxy;
use crate::support::control_plane::ControlPlane;

const DOOR: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: door, namespace: doors }\ndata: { is: closed }\n";

const GATE: &str = "gates:\n  - { cel: \"object.data.is == 'open'\", of: ConfigMap/door }\ndeadline: 3m";

/// A cloud whose install waits until somebody opens the door.
fn doors(plane: Arc<ControlPlane>) -> Made {
    let mut cloud = Made::on(plane);
    cloud.component("doors", GATE, DOOR);
    cloud.component("after", "needs: [doors]", &DOOR.replace("doors", "after").replace("closed", "there"));
    cloud
}

/// An install that has begun to wait at its gate, and what it says from then on.
struct Waiting {
    child: Child,
    said: BufReader<std::process::ChildStderr>,
}

impl Waiting {
    fn start(cloud: &Made) -> Self {
        let mut child = cloud
            .command(&["install", "--yes", "--force-conflicts"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut waiting = Self { said: BufReader::new(child.stderr.take().unwrap()), child };
        waiting.until(" waiting ");
        waiting
    }

    fn until(&mut self, word: &str) {
        let mut all = String::new();
        while !all.contains(word) {
            let before = all.len();
            self.said.read_line(&mut all).unwrap();
            assert!(all.len() > before, "it ended: {all}");
        }
    }

    /// How it ended, and what it said before.
    fn end(mut self) -> (Option<i32>, String) {
        let mut all = String::new();
        std::io::Read::read_to_string(&mut self.said, &mut all).unwrap();
        (self.child.wait().unwrap().code(), all)
    }
}

fn open(plane: &ControlPlane) {
    plane.ask(&["-n", "doors", "patch", "configmap", "door", "-p", r#"{"data":{"is":"open"}}"#]);
}

#[test]
fn of_two_runs_one_works_and_the_other_ends_or_waits() {
    let plane = ControlPlane::own();
    let cloud = doors(Arc::clone(&plane));
    let first = Waiting::start(&cloud);
    let refused = cloud.expect(&["install", "--yes"], 6);
    let pid = format!("(pid {})", first.child.id());
    for word in ["locked by another run: `cozy install`", &pid, "since 20", "--wait-lock", "cozy unlock"] {
        assert!(refused.contains(word), "no {word}: {refused}");
    }
    // One that waits goes on when the first has ended, from what that one left.
    let mut second = cloud.command(&["install", "--yes", "--wait-lock", "2m", "--timeout", "5s"]);
    let mut second = second.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let said = second.stderr.take().unwrap();
    let mut waiting = Waiting { child: second, said: BufReader::new(said) };
    waiting.until("waiting for `cozy install`");
    let impatient = cloud.expect(&["install", "--yes", "--wait-lock", "1s"], 6);
    assert!(impatient.contains(&pid), "{impatient}");
    open(&plane);
    let (code, said) = first.end();
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = waiting.end();
    assert!(said.contains("another run was at work: looking again"), "{said}");
    // It has closed the door again: the inventory says that the field was ours.
    assert_eq!(code, Some(5), "{said}");
}

#[test]
fn of_runs_that_start_at_once_exactly_one_works() {
    let plane = ControlPlane::own();
    let cloud = doors(Arc::clone(&plane));
    let (ended, ends) = std::sync::mpsc::channel();
    // Each writes the cloud's files, which those that run read.
    let commands: Vec<_> = (0..4).map(|_| cloud.command(&["install", "--yes"])).collect();
    for mut command in commands {
        let ended = ended.clone();
        std::thread::spawn(move || ended.send(command.output().unwrap()).unwrap());
    }
    // The one that works waits at its door until the others have ended.
    for _ in 0..3 {
        let other = ends.recv().unwrap();
        assert_eq!(other.status.code(), Some(6), "{}", both(&other));
    }
    open(&plane);
    let one = ends.recv().unwrap();
    assert_eq!(one.status.code(), Some(0), "{}", both(&one));
}

#[test]
fn a_run_without_its_network_writes_nothing_more() {
    let plane = ControlPlane::own();
    let mut cloud = doors(Arc::clone(&plane));
    let direct = fs_err::read_to_string(plane.kubeconfig()).unwrap();
    let proxy = Proxy::start(Proxy::port_of(&direct));
    let path = cloud.path("kubeconfig");
    fs_err::write(&path, proxy.kubeconfig(&direct)).unwrap();
    cloud.kubeconfig = Some(path);
    let run = Waiting::start(&cloud);
    proxy.part();
    // What it waits for happens, but it cannot know.
    open(&plane);
    let (code, said) = run.end();
    assert_eq!(code, Some(6), "{said}");
    assert!(
        said.contains("the lock could not be renewed for") && said.contains("the lock was lost"),
        "{said}"
    );
    assert!(!plane.kubectl(&["-n", "after", "get", "configmap", "door"]).status.success());
    // Its lock has expired by then, or the next run waits until it has.
    cloud.kubeconfig = None;
    cloud.component("doors", "", &DOOR.replace("closed", "open"));
    cloud.expect(&["install", "--yes", "--force-conflicts", "--wait-lock", "1m"], 0);
}

/// A lock of another host, whose clock is a day ahead.
fn foreign() -> String {
    let holder =
        r#"{"machine":"other","boot":"b","pid":1,"started":1,"host":"far","command":"cozy install"}"#;
    let tomorrow = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    let time = tomorrow.strftime("%Y-%m-%dT%H:%M:%S.000000Z");
    format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{ name: cozy-system }}\n---\n\
         apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {{ name: cozy, namespace: cozy-system, annotations: {{ cozy/holder: '{holder}' }} }}\n\
         spec: {{ holderIdentity: far/1, leaseDurationSeconds: 15, acquireTime: '{time}', renewTime: '{time}' }}\n"
    )
}

#[test]
fn locks_of_other_hosts_expire_by_the_servers_clock_or_are_taken_away() {
    let plane = ControlPlane::own();
    let mut cloud = Made::on(Arc::clone(&plane));
    cloud.component("doors", "", DOOR);
    let nobody = cloud.expect(&["unlock"], 0);
    assert!(nobody.contains("nobody holds the lock"), "{nobody}");
    let path = cloud.path("lease.yaml");
    fs_err::write(&path, foreign()).unwrap();
    let put = || drop(plane.ask(&["apply", "-f", path.to_str().unwrap()]));
    put();
    let refused = cloud.expect(&["install", "--yes"], 6);
    assert!(refused.contains("`cozy install` (pid 1) on far since"), "{refused}");
    let asked = cloud.expect(&["unlock"], 2);
    assert!(asked.contains("on far since") && asked.contains("--yes"), "{asked}");
    let unlocked = cloud.expect(&["unlock", "--yes"], 0);
    assert!(unlocked.contains("unlocked: it was held by `cozy install` (pid 1) on far"), "{unlocked}");
    put();
    cloud.expect(&["install", "--yes", "--wait-lock", "1m"], 0);
}
