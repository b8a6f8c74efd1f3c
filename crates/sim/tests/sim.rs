//! The suite on the simulated cluster: each behaviour a test of its own, on the paused clock.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::future::Future;

use cozy_sim::{Cluster, Options};
use suite::webhooks::{Answers, Backend, Said};

mod suite;

/// Runs a test as a rehearsal runs: one thread, no I/O, a clock that waits for nobody.
fn on_the_paused_clock<F: Future<Output = ()>>(test: impl FnOnce(kube::Client) -> F) {
    beside_the_cluster(|_, client| test(client));
}

/// Likewise, with the cluster itself.
fn beside_the_cluster<F: Future<Output = ()>>(test: impl FnOnce(Cluster, kube::Client) -> F) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let cluster = Cluster::new(Options::default());
        test(cluster.clone(), cluster.client()).await;
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

/// The simulated cluster calls nobody: it is told what its webhooks say.
struct Told(Cluster);

impl Answers for Told {
    fn answer(&self, namespace: &str, said: Said) -> Backend {
        match said {
            Said::Allowed => {}
            Said::Denied => {
                let why = cozy_sim::Answers::Deny("not on a Friday".to_owned());
                self.0.answer_webhooks(namespace, why, None);
            }
            Said::Untrusted => self.0.answer_webhooks(namespace, cozy_sim::Answers::BadCertificate, None),
        }
        Backend {
            address: "192.0.2.1".to_owned(),
            port: 8443,
            ca: "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==".to_owned(),
        }
    }
}

macro_rules! webhooks {
    ($($test:ident)+) => {
        mod answered {
            $(#[test]
            fn $test() {
                super::beside_the_cluster(|cluster, client| async move {
                    // Namespaces' names are short.
                    let name: String = stringify!($test).chars().take(50).collect();
                    let namespace = crate::suite::namespace(&client, name.trim_end_matches('_')).await;
                    crate::suite::webhooks::$test(client, &namespace, &super::Told(cluster)).await;
                });
            })+
        }
    };
}

suite::webhooks::every_webhook_test!(webhooks);
