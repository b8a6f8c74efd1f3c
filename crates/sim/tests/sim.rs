//! The suite on the simulated cluster: each behaviour a test of its own, on the paused clock.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::future::Future;

use cozy_sim::{Cluster, Options};

mod suite;

/// Runs a test as a rehearsal runs: one thread, no I/O, a clock that waits for nobody.
fn on_the_paused_clock<F: Future<Output = ()>>(test: impl FnOnce(kube::Client) -> F) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let cluster = Cluster::new(Options::default());
        test(cluster.client()).await;
        assert_eq!(cluster.not_simulated(), [""; 0], "the suite asks only for what is simulated");
    });
}

macro_rules! tests {
    ($($module:ident: $($test:ident)+;)+) => {
        $(mod $module {
            $(#[test]
            fn $test() {
                super::on_the_paused_clock(|client| async move {
                    let namespace = crate::suite::namespace(&client, stringify!($test)).await;
                    crate::suite::$module::$test(client, &namespace).await;
                });
            })+
        })+
    };
}

suite::every_test!(tests);

macro_rules! scripts {
    ($($topic:ident)+) => {
        mod scripts {
            $(#[test]
            fn $topic() {
                let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/scripts");
                super::on_the_paused_clock(|client| async move {
                    crate::suite::scripts::run(client, &folder, stringify!($topic), false).await;
                });
            })+

            #[test]
            fn there_are_behaviours_in_every_topic() {
                let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/scripts");
                $(assert!(crate::suite::scripts::count(&folder, stringify!($topic)) > 0, stringify!($topic));)+
            }
        }
    };
}

suite::every_script!(scripts);
