//! Settings that change, and certificates that end, on three servers.

use std::process::Output;

use crate::bed::Bed;
use crate::{THREE, cloud, cozy, done, kubectl, services, text, whole};

/// An address that moves between servers, as a person would give it to a cluster.
const SHARED: &str = "10.98.0.100";

/// Installs three servers with what is changed of the cloud of the tests.
fn install(bed: &Bed, yes: &[&str], hosts: &str, change: impl Fn(String) -> String) -> Output {
    let path = cloud(bed, hosts, "");
    let changed = change(fs_err::read_to_string(&path).unwrap());
    fs_err::write(&path, changed).unwrap();
    cozy(bed, &[&["install", "-o", "json"], yes].concat()).output().unwrap()
}

/// Labels and taints of h3.
fn node(bed: &Bed) -> String {
    let path = "jsonpath={.metadata.labels.zone} {.metadata.labels.rack} {.metadata.labels.owner} {.spec.taints[*].key}";
    kubectl(bed, &["get", "node", "h3", "-o", path])
}

/// What runs of the control planes.
fn control_planes(bed: &Bed) -> Vec<String> {
    let all =
        "for name in etcd kube-apiserver kube-controller-manager kube-scheduler; do pgrep -x $name; done";
    [1, 2, 3].into_iter().map(|host| bed.on(host, all)).collect()
}

fn configured(output: &Output) -> Vec<String> {
    let events = done(output);
    let steps = events.iter().filter(|event| event["event"] == "stepReady");
    let steps = steps.map(|event| event["step"].as_str().unwrap().to_owned());
    steps.filter(|step| step.ends_with("/configure")).collect()
}

#[test]
#[ignore = "long"]
fn what_changes_is_applied_and_servers_whose_certificates_have_all_ended_come_back() {
    let bed = Bed::boot(3);
    done(&install(&bed, &["--yes"], THREE, |text| text));
    whole(&bed);
    let (running, before) = (control_planes(&bed), services(&bed, &[1, 2, 3]));

    // Labels and taints, and kube-proxy; what others gave a node stays.
    kubectl(&bed, &["label", "node", "h3", "owner=ana"]);
    let h3 = "10.98.0.23, role: server";
    let labelled =
        THREE.replace(h3, &format!("{h3}, labels: {{ zone: a, rack: r }}, taints: [a=b:PreferNoSchedule]"));
    let proxied = |text: String| text.replace("maxPerCore: 0,", "maxPerCore: 0, tcpEstablishedTimeout: 2h,");
    let output = install(&bed, &["--yes"], &labelled, proxied);
    assert_eq!(configured(&output), [1, 2, 3].map(|host| format!("kubernetes/h{host}/configure")));
    assert_eq!(node(&bed), "a r ana a");
    let config = kubectl(&bed, &["get", "configmap", "kube-proxy", "-n", "kube-system", "-o", "yaml"]);
    assert!(config.contains("tcpEstablishedTimeout: 2h"), "{config}");
    let rolled = ["rollout", "status", "daemonset/kube-proxy", "-n", "kube-system", "--timeout=2m"];
    kubectl(&bed, &rolled);
    let fewer = THREE.replace(h3, &format!("{h3}, labels: {{ zone: b }}"));
    assert_eq!(configured(&install(&bed, &["--yes"], &fewer, proxied)), ["kubernetes/h3/configure"]);
    assert_eq!(node(&bed), "b  ana");
    assert_eq!(configured(&install(&bed, &["--yes"], &fewer, proxied)), [""; 0]);

    // Another endpoint: the kubeconfig names it once certificates do.
    bed.on(1, &format!("ip addr add {SHARED}/24 dev host0"));
    let named = |text: String| {
        proxied(text).replace("kubernetes:\n", &format!("kubernetes:\n  endpoint: {SHARED}\n"))
    };
    let kubeconfig = || fs_err::read_to_string(bed.path("bed.kubeconfig")).unwrap();
    let output = install(&bed, &[], &fewer, named);
    assert_ne!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(kubeconfig().contains("server: https://10.98.0.21:6443"), "nothing was confirmed");
    let output = install(&bed, &["--yes"], &fewer, named);
    assert_eq!(configured(&output), [1, 2, 3].map(|host| format!("kubernetes/h{host}/configure")));
    assert!(kubeconfig().contains(&format!("server: https://{SHARED}:6443")), "{}", kubeconfig());
    kubectl(&bed, &["get", "nodes"]);
    // Whichever server answers there.
    bed.on(1, &format!("ip addr del {SHARED}/24 dev host0"));
    bed.on(2, &format!("ip addr add {SHARED}/24 dev host0"));
    kubectl(&bed, &["get", "nodes"]);
    assert_eq!(
        (running, before),
        (control_planes(&bed), services(&bed, &[1, 2, 3])),
        "nothing was restarted"
    );

    // All certificates have ended, and are in use: no member of etcd talks to another one.
    let end = "sed '0,/\"clusterName\"/s//\"certificateValidityPeriod\": \"1s\", &/' /var/lib/cozy/kubeadm.json >/root/short.json
         /usr/local/bin/kubeadm certs renew all --config /root/short.json >/dev/null
         pkill -KILL -x etcd; pkill -KILL -x kube-apiserver; true";
    for server in [1, 2, 3] {
        bed.on(server, end);
    }
    let output = install(&bed, &["--yes"], &fewer, named);
    done(&output);
    let said = text(&output.stdout);
    assert_eq!(said.matches("renewing certificates, and restarting").count(), 3, "{said}");
    whole(&bed);
}
