//! Installs through a network and an API server that fail all the time once they write: what is left is what was wanted, and nothing
//! was written twice that arrived the first time.

use crate::faulty::{Fault, Faulty};
use crate::killed::{there, want};
use crate::made::{Made, both};
use crate::settings_are_long;
use crate::support::control_plane::ControlPlane;

/// Of 100 requests so many go wrong.
const PERCENT: u64 = 30;

/// Installs new rounds through faults until so many were injected; each must end as it says it did.
fn installs_through_faults(
    plane: &'static ControlPlane,
    cloud: &mut Made,
    round: &mut usize,
    seed: u64,
    faults: usize,
) {
    let proxy = Faulty::start(plane, seed, PERCENT);
    let through = cloud.path("faulty");
    fs_err::write(&through, proxy.kubeconfig()).unwrap();
    let injected = || proxy.log.lock().unwrap().faults.values().sum::<usize>();
    let mut rounds = 0;
    while injected() < faults {
        *round += 1;
        rounds += 1;
        let wanted = want(cloud, *round);
        proxy.log.lock().unwrap().again();
        cloud.kubeconfig = Some(through.clone());
        let output = cloud.command(&["install", "--yes"]).output().unwrap();
        let said = both(&output);
        cloud.kubeconfig = None;
        assert_eq!(output.status.code(), Some(0), "seed {seed}, round {rounds}:\n{said}");
        // No plan that a fault made blind, and no object that was missed.
        cloud.expect(&["plan", "--exit-code"], 0);
        for (request, times) in &proxy.log.lock().unwrap().writes {
            let ours = !request.contains("/cozy-system");
            assert!(!ours || *times == 1, "seed {seed}, round {rounds}: {times} times {request}\n{said}");
        }
        let there = there(plane);
        let [more, less] = [there.difference(&wanted), wanted.difference(&there)].map(Vec::from_iter);
        assert!(
            more.is_empty() && less.is_empty(),
            "seed {seed}: orphans {more:?}, missing {less:?}\n{said}"
        );
        assert!(cloud.expect(&["install", "--yes"], 0).contains("nothing to do"));
    }
    let log = proxy.log.lock().unwrap();
    assert!(log.faults.contains_key(&Fault::CutWatch) && log.faults.len() >= 8, "{:?}", log.faults);
}

#[test]
fn an_install_through_faults_leaves_what_is_wanted_and_writes_nothing_twice() {
    let plane = ControlPlane::own();
    let mut cloud = Made::on(plane);
    let mut round = 0;
    want(&mut cloud, round);
    cloud.expect(&["install", "--yes"], 0);
    let (seeds, faults) = if settings_are_long() { (20, 1000) } else { (3, 150) };
    for seed in 0..seeds {
        installs_through_faults(plane, &mut cloud, &mut round, seed, faults);
    }
}
