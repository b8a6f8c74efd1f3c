//! What is planned for hosts in the states in which a run can find them.

use insta::assert_snapshot;
use serde_json::json;

use super::documents::merge;
use super::steps::{Found, rehearsed};
use super::{Node, Site, files, scripts, steps, toml};
use crate::model::cloud::{Cloud, Role};
use crate::model::resolve::CloudFile;

const CLOUD: &str = "apiVersion: cozy/v1\nkind: Cloud\nname: demo\nbundle: edge\nhosts:\n  - { address: 10.0.0.11, role: server }\n  - { address: 10.0.0.12, role: server }\n  - { address: 10.0.0.13, role: server }\n  - { address: 10.0.0.14 }\n";

fn cloud() -> Cloud {
    CloudFile::read(CLOUD.as_bytes(), "cozy.yaml").unwrap().cloud
}

fn nodes(cloud: &Cloud) -> Vec<Node> {
    cloud
        .present_hosts()
        .map(|(index, host)| Node {
            name: format!("h{}", index + 1),
            role: cloud.role(index),
            address: host.address.clone().unwrap(),
            arch: "amd64",
            labels: [("zone".to_owned(), "a".to_owned())].into(),
            taints: Vec::new(),
        })
        .collect()
}

/// What is planned when hosts are found as these texts say.
fn planned(found: [&str; 4]) -> String {
    let cloud = cloud();
    let nodes = nodes(&cloud);
    let site = Site { cloud: &cloud, version: "v1.36.3", sandbox: "pause:1", nodes: &nodes };
    let wanted: Vec<_> = nodes.iter().map(|node| steps::items(&site, node, None)).collect();
    let found: Vec<Found> = found
        .iter()
        .zip(&wanted)
        .map(|(text, items)| {
            let mut all = (*text).to_owned();
            if text.contains("files") {
                all.extend(items.iter().map(|item| format!("\n{}  {}", item.digest, item.probe)));
            }
            Found::read(&all)
        })
        .collect();
    let mut lines = Vec::new();
    for planned in steps::steps(&nodes, wanted, &found) {
        let step = planned.step;
        let needs: Vec<String> =
            step.needs.iter().map(|(index, reason)| format!("{index}: {reason}")).collect();
        let work =
            if step.work.len() > 3 { format!("{} things", step.work.len()) } else { step.work.join(", ") };
        lines.push(format!("{} {}: {work} [{}]", step.host, step.phase, needs.join("; ")));
    }
    lines.join("\n")
}

#[test]
fn fresh_hosts_are_prepared_at_once_and_servers_join_one_at_a_time() {
    assert_snapshot!(planned([""; 4]), @"
        h1 prepare: 11 things []
        h2 prepare: 11 things []
        h3 prepare: 11 things []
        h4 prepare: 10 things []
        h1 init: kubeadm init [0: stages go in order]
        h2 join: kubeadm join as a server [1: stages go in order; 4: there is no API server before]
        h3 join: kubeadm join as a server [2: stages go in order; 4: there is no API server before; 5: servers join one at a time, for etcd's quorum]
        h4 join: kubeadm join [3: stages go in order; 4: there is no API server before]
        h1 ready: wait until the node is ready [4: stages go in order]
        h2 ready: wait until the node is ready [5: stages go in order]
        h3 ready: wait until the node is ready [6: stages go in order]
        h4 ready: wait until the node is ready [7: stages go in order]
    ");
}

#[test]
fn a_second_run_finds_nothing_to_do() {
    let done = "files\nactive containerd\nactive cozy-proxy\nactive kubelet\njoined";
    assert_snapshot!(planned([done; 4]), @"
        h1 prepare:  []
        h2 prepare:  []
        h3 prepare:  []
        h4 prepare:  []
        h1 init:  [0: stages go in order]
        h2 join:  [1: stages go in order; 4: there is no API server before]
        h3 join:  [2: stages go in order; 4: there is no API server before; 5: servers join one at a time, for etcd's quorum]
        h4 join:  [3: stages go in order; 4: there is no API server before]
        h1 ready:  [4: stages go in order]
        h2 ready:  [5: stages go in order]
        h3 ready:  [6: stages go in order]
        h4 ready:  [7: stages go in order]
    ");
}

#[test]
fn a_run_that_was_killed_goes_on() {
    let done = "files\nactive containerd\nactive cozy-proxy\nactive kubelet\njoined";
    let working = "files\nactive containerd\nactive cozy-proxy\nactive kubelet\nworking cozy-join\nbegun";
    let broken = "files\nactive containerd\nactive kubelet\nbegun";
    assert_snapshot!(planned([done, working, broken, ""]), @"
        h1 prepare:  []
        h2 prepare:  []
        h3 prepare: start cozy-proxy []
        h4 prepare: 10 things []
        h1 init:  [0: stages go in order]
        h2 join: wait for cozy-join, which is at work [1: stages go in order; 4: there is no API server before]
        h3 join: clear what an interrupted run left (kubeadm reset), kubeadm join as a server [2: stages go in order; 4: there is no API server before; 5: servers join one at a time, for etcd's quorum]
        h4 join: kubeadm join [3: stages go in order; 4: there is no API server before]
        h1 ready:  [4: stages go in order]
        h2 ready: wait until the node is ready [5: stages go in order]
        h3 ready: wait until the node is ready [6: stages go in order]
        h4 ready: wait until the node is ready [7: stages go in order]
    ");
}

#[test]
fn the_first_server_that_is_in_the_cluster_leads() {
    let done = "files\nactive containerd\nactive cozy-proxy\nactive kubelet\njoined";
    assert_snapshot!(planned(["", done, done, done]), @"
        h1 prepare: 11 things []
        h2 prepare:  []
        h3 prepare:  []
        h4 prepare:  []
        h2 init:  [1: stages go in order]
        h1 join: kubeadm join as a server [0: stages go in order; 4: there is no API server before]
        h3 join:  [2: stages go in order; 4: there is no API server before; 5: servers join one at a time, for etcd's quorum]
        h4 join:  [3: stages go in order; 4: there is no API server before]
        h2 ready:  [4: stages go in order]
        h1 ready: wait until the node is ready [5: stages go in order]
        h3 ready:  [6: stages go in order]
        h4 ready:  [7: stages go in order]
    ");
}

#[test]
fn rehearsals_have_the_same_steps() {
    let steps = rehearsed(&cloud(), "v1.36.3");
    let names: Vec<String> = steps.iter().map(|step| format!("{}/{}", step.host, step.phase)).collect();
    assert_eq!(names.len(), 12, "{names:?}");
    assert!(
        steps.iter().enumerate().all(|(index, step)| step.needs.iter().all(|(before, _)| *before < index))
    );
}

#[test]
fn containerds_configuration_is_toml_with_the_users_words_over_ours() {
    let mut cloud = cloud();
    let words = json!({ "plugins": { "io.containerd.cri.v1.runtime": { "enable_selinux": true } }, "debug": { "level": "info" } });
    cloud.kubernetes.containerd = words.as_object().unwrap().clone();
    let nodes = nodes(&cloud);
    let site = Site { cloud: &cloud, version: "v1.36.3", sandbox: "pause:1", nodes: &nodes };
    let all = files::all(&site, &nodes[3]);
    let config = all.iter().find(|file| file.path.ends_with("config.toml")).unwrap();
    assert_snapshot!(config.text, @r#"
        # Written by cozy; `kubernetes.containerd` in cozy.yaml is merged into it.
        version = 3

        [plugins]

        [plugins."io.containerd.cri.v1.images"]

        [plugins."io.containerd.cri.v1.images".pinned_images]
        sandbox = "pause:1"

        [plugins."io.containerd.cri.v1.images".registry]
        config_path = "/etc/containerd/certs.d"

        [plugins."io.containerd.cri.v1.runtime"]
        enable_selinux = true

        [plugins."io.containerd.cri.v1.runtime".cni]
        bin_dirs = ["/opt/cni/bin"]
        conf_dir = "/etc/cni/net.d"

        [plugins."io.containerd.cri.v1.runtime".containerd]

        [plugins."io.containerd.cri.v1.runtime".containerd.runtimes]

        [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
        runtime_type = "io.containerd.runc.v2"

        [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        SystemdCgroup = true

        [debug]
        level = "info"
    "#);
    assert!(!all.iter().any(|file| file.path.contains("kubeadm")), "agents get no document of the cluster");
    assert_eq!(
        toml::document(json!({ "a": [1, "x\"y"], "b": { "c d": {} } }).as_object().unwrap()),
        "a = [1, \"x\\\"y\"]\n\n[b]\n\n[b.\"c d\"]\n"
    );
}

#[test]
fn lists_of_named_things_are_merged_by_name() {
    let mut base =
        json!({ "extraArgs": [{ "name": "a", "value": "1" }, { "name": "b", "value": "2" }], "list": [1] });
    let over =
        json!({ "extraArgs": [{ "name": "b", "value": "3" }, { "name": "c", "value": "4" }], "list": [2] });
    merge(&mut base, over.as_object().unwrap());
    assert_eq!(
        base,
        json!({ "extraArgs": [{ "name": "a", "value": "1" }, { "name": "b", "value": "3" }, { "name": "c", "value": "4" }], "list": [2] })
    );
}

#[test]
fn scripts_are_what_a_posix_shell_takes() {
    let all = [
        scripts::init(),
        scripts::join(Role::Server),
        scripts::join(Role::Agent),
        scripts::credentials(Role::Server),
        scripts::credentials(Role::Agent),
        scripts::phase("init"),
        scripts::ready_node("h1"),
        scripts::observe(&["/a b", "/c"]),
        scripts::settle(&[files::Service::Containerd]),
    ];
    for script in all {
        let output = std::process::Command::new("sh").args(["-n", "-c", &script]).output().unwrap();
        assert!(output.status.success(), "{script}\n{output:?}");
    }
}
