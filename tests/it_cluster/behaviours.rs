//! The suite of API behaviours on a real API server: the bodies that `crates/sim` runs on the embedded cluster.

use std::future::Future;

use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::answer::Webhook;
use crate::scenario::own_address;
use crate::suite;
use crate::suite::webhooks::{Answers, Backend, Said};
use crate::support::control_plane::ControlPlane;

/// Runs a test on the control plane that all tests of this binary share, with a client of its own.
fn on_the_real_server<F: Future<Output = ()>>(test: impl FnOnce(kube::Client) -> F) {
    let plane = ControlPlane::shared();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(async {
        test(client(&plane).await).await;
    });
}

/// Connects as an administrator.
pub(crate) async fn client(plane: &ControlPlane) -> kube::Client {
    // Whoever comes first installs it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig()).unwrap();
    let options = KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    config.default_retry = false;
    kube::Client::try_from(config).unwrap()
}

macro_rules! tests {
    ($($module:ident: $($test:ident)+;)+) => {
        $(mod $module {
            $(#[test]
            fn $test() {
                super::on_the_real_server(|client| async move {
                    let namespace = crate::suite::namespace(&client, stringify!($test)).await;
                    crate::suite::$module::$test(client, &namespace).await;
                });
            })+
        })+
    };
}

suite::every_test!(tests);

/// Where the scripts are.
fn folder() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/sim/tests/suite/scripts")
}

macro_rules! scripts {
    ($($topic:ident)+) => {
        mod scripts {
            $(#[test]
            fn $topic() {
                #[expect(clippy::disallowed_methods, reason = "whether to record is asked of the tests alone")]
                let record = std::env::var_os("RECORD").is_some();
                super::on_the_real_server(|client| async move {
                    crate::suite::scripts::run(client, &super::folder(), stringify!($topic), record).await;
                });
            })+
        }

        const TOPICS: &[&str] = &[$(stringify!($topic)),+];
    };
}

suite::every_script!(scripts);

/// A webhook of the test's own, where pods are thought to be.
struct Listening;

impl Answers for Listening {
    fn answer(&self, namespace: &str, said: Said) -> Backend {
        let address = own_address();
        let webhook = Webhook::of_service(&format!("hook.{namespace}.svc"), address, said == Said::Denied);
        let ca = match said {
            Said::Allowed | Said::Denied => webhook.ca,
            Said::Untrusted => Webhook::of_service("other", address, false).ca,
        };
        Backend { address: address.to_string(), port: webhook.port, ca }
    }
}

macro_rules! webhooks {
    ($($test:ident)+) => {
        mod answered {
            $(#[test]
            fn $test() {
                super::on_the_real_server(|client| async move {
                    // Namespaces' names are short.
                    let name: String = stringify!($test).chars().take(50).collect();
                    let namespace = crate::suite::namespace(&client, name.trim_end_matches('_')).await;
                    crate::suite::webhooks::$test(client, &namespace, &super::Listening).await;
                });
            })+
        }

        const WEBHOOKS: usize = [$(stringify!($test)),+].len();
    };
}

suite::webhooks::every_webhook_test!(webhooks);

macro_rules! count {
    ($($module:ident: $($test:ident)+;)+) => { [$($(stringify!($test)),+),+].len() };
}

/// The count that issue and design ask for, in the open: past the capture of the test harness.
#[test]
fn the_suite_has_at_least_200_behaviours() {
    use std::io::Write as _;
    let scripts: usize = TOPICS.iter().map(|topic| suite::scripts::count(&folder(), topic)).sum();
    let tests = suite::every_test!(count) + WEBHOOKS;
    writeln!(
        std::io::stderr(),
        "API behaviours, each on the embedded cluster and on the real one: {}",
        scripts + tests
    )
    .unwrap();
    assert!(scripts + tests >= 200, "{scripts} scripts and {tests} tests");
}

/// What a rehearsal does not know, it would wait for in vain.
#[test]
fn every_kind_of_the_real_server_is_simulated() {
    on_the_real_server(|client| async move {
        let real = kinds(client).await;
        let embedded = kinds(cozy_sim::Cluster::new(cozy_sim::Options::default()).client()).await;
        let missing: Vec<_> = real.difference(&embedded).collect();
        assert_eq!(missing, Vec::<&String>::new());
    });
}

/// What a server serves of its own: group, version, kind, plural and scope. Tests put further kinds on the real one.
async fn kinds(client: kube::Client) -> std::collections::BTreeSet<String> {
    let discovery = kube::discovery::Discovery::new(client).run_aggregated().await.unwrap();
    // Events are one kind in two groups, of which the embedded cluster has the older.
    let own = |group: &&kube::discovery::ApiGroup| {
        !group.name().contains("example")
            && !group.name().contains(".test")
            && group.name() != "events.k8s.io"
    };
    let resources = discovery.groups().filter(own).flat_map(kube::discovery::ApiGroup::recommended_resources);
    resources
        // Reviews and bindings are questions, not objects.
        .filter(|(_, capabilities)| capabilities.supports_operation("patch"))
        .map(|(resource, capabilities)| {
            format!("{} {} {} {:?}", resource.api_version, resource.kind, resource.plural, capabilities.scope)
        })
        .collect()
}
