//! What is planned for hosts in the states in which a run can find them.

use insta::assert_snapshot;
use serde_json::json;

use super::documents::merge;
use super::leave::{self, Answer, Departures, Leaver};
use super::members::{Known, Membership};
use super::steps::{Found, rehearsed};
use super::{Node, Site, clean, files, scripts, scripts_upkeep, steps, toml};
use crate::model::artefact::Digest;
use crate::model::cloud::{Cloud, Role};
use crate::model::resolve::CloudFile;
use crate::plan::PlanError;

pub(super) const CLOUD: &str = "apiVersion: cozy/v1\nkind: Cloud\nname: demo\nbundle: edge\nhosts:\n  - { address: 10.0.0.11, role: server }\n  - { address: 10.0.0.12, role: server }\n  - { address: 10.0.0.13, role: server }\n  - { address: 10.0.0.14 }\n";

pub(super) fn cloud() -> Cloud {
    CloudFile::read(CLOUD.as_bytes(), "cozy.yaml").unwrap().cloud
}

pub(super) fn nodes(cloud: &Cloud) -> Vec<Node> {
    cloud
        .present_hosts()
        .map(|(index, host)| Node {
            name: format!("h{}", index + 1),
            role: cloud.role(index),
            address: host.address.clone().unwrap(),
            arch: "amd64",
            labels: [("zone".to_owned(), "a".to_owned())].into_iter().chain(host.labels.clone()).collect(),
            taints: host.taints.clone(),
        })
        .collect()
}

/// What is planned when hosts are found as these texts say.
fn planned(found: [&str; 4]) -> String {
    planned_with(found, &Departures::default())
}

fn planned_with(found: [&str; 4], departures: &Departures) -> String {
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
    for planned in steps::steps(&nodes, wanted, &found, departures) {
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
        h3 join: kubeadm join as a server [2: stages go in order; 4: there is no API server before; 5: servers come and go one at a time, for etcd's quorum]
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
        h3 join:  [2: stages go in order; 4: there is no API server before]
        h4 join:  [3: stages go in order; 4: there is no API server before]
        h1 ready:  [4: stages go in order]
        h2 ready:  [5: stages go in order]
        h3 ready:  [6: stages go in order]
        h4 ready:  [7: stages go in order]
    ");
}

#[test]
fn hosts_that_are_something_else_are_strangers() {
    let cloud = cloud();
    let nodes = nodes(&cloud);
    let found = [
        "joined server h1 10.0.0.11\n1  /etc/kubernetes/pki/ca.crt",
        "joined agent h2 10.0.0.12\n1  /etc/kubernetes/pki/ca.crt",
        "joined server h3 10.0.0.13\n2  /etc/kubernetes/pki/ca.crt",
        // Of a version that did not say more.
        "joined",
    ];
    let found: Vec<Found> = found.iter().map(|text| Found::read(text)).collect();
    let said: Vec<String> =
        steps::strangers(&nodes, &found).iter().map(|error| format!("{}: {error}", error.code())).collect();
    assert_snapshot!(said.join("\n"), @"
        C2511: host `h2` belongs to the cluster as agent h2 10.0.0.12, and cozy.yaml wants server h2 10.0.0.12
        C2512: hosts `h1` and `h3` belong to two different clusters
    ");
    // All servers were set up anew, and an agent was not.
    let found = ["", "", "", "joined agent h4 10.0.0.14\n1  /etc/kubernetes/pki/ca.crt"].map(Found::read);
    let said: Vec<String> = steps::strangers(&nodes, &found)
        .iter()
        .map(|error| format!("{}: {error}\n{}", error.code(), error.hint()))
        .collect();
    assert_snapshot!(said.join("\n"), @"
        C2515: host `h4` belongs to a cluster of which no server is among the hosts
        put its servers back into cozy.yaml; where they are gone, `cozy uninstall --hosts` first makes it a fresh server again, without what it holds
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
        h3 join: clear what an interrupted run left (kubeadm reset), kubeadm join as a server [2: stages go in order; 4: there is no API server before; 5: servers come and go one at a time, for etcd's quorum]
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
        h3 join:  [2: stages go in order; 4: there is no API server before; 5: servers come and go one at a time, for etcd's quorum]
        h4 join:  [3: stages go in order; 4: there is no API server before]
        h2 ready:  [4: stages go in order]
        h1 ready: wait until the node is ready [5: stages go in order]
        h3 ready:  [6: stages go in order]
        h4 ready:  [7: stages go in order]
    ");
}

/// Hosts that leave a cluster that looks like this.
pub(super) fn departures(leavers: &[Leaver], cluster: &str) -> Result<Departures, PlanError> {
    let membership = Membership::read(cluster);
    let leaving = leave::leaving("demo", leavers, &membership, true)?;
    let departures = Departures { leaving, former: Vec::new() };
    departures.check(&membership, &[], &[])?;
    Ok(departures)
}

pub(super) fn leaver(address: &str, role: Role, answer: Option<&str>) -> Leaver {
    let written = Known { names: Vec::new(), addresses: vec![address.to_owned()] };
    Leaver { host: address.to_owned(), role, written, vague: false, answer: answer.map(Answer::read) }
}

pub(super) const CLUSTER: &str = "node h1 10.0.0.11, True\nnode h2 10.0.0.12, True\nnode h3 10.0.0.13, True\n\
    node h8 10.0.0.18, Unknown\nnode h9 10.0.0.19, True\nmember a h1 10.0.0.11 voter up\n\
    member b h2 10.0.0.12 voter up\nmember c h8 10.0.0.18 voter down\n";

#[test]
fn the_dead_leave_before_servers_join_and_the_living_after() {
    let leavers = [
        leaver("10.0.0.19", Role::Agent, Some("name h9\naddress 10.0.0.19\ncloud demo\njoined")),
        leaver("10.0.0.18", Role::Server, None),
        // Never joined, or gone already.
        leaver("10.0.0.17", Role::Agent, Some("name h7")),
        leaver("10.0.0.16", Role::Agent, None),
        // Another cloud's.
        leaver("10.0.0.15", Role::Agent, Some("name h5\ncloud other\njoined")),
    ];
    let done = "files\nactive containerd\nactive cozy-proxy\nactive kubelet\njoined";
    let departures = departures(&leavers, CLUSTER).unwrap();
    assert_snapshot!(planned_with([done, done, "", done], &departures), @"
        h1 prepare:  []
        h2 prepare:  []
        h3 prepare: 11 things []
        h4 prepare:  []
        h1 init:  [0: stages go in order]
        h8 remove: remove etcd's member c, delete Node h8, it does not answer: nothing is cleaned there [4: there is no API server before]
        h2 join:  [1: stages go in order; 4: there is no API server before; 5: servers come and go one at a time, for etcd's quorum]
        h3 join: kubeadm join as a server [2: stages go in order; 4: there is no API server before; 5: servers come and go one at a time, for etcd's quorum]
        h4 join:  [3: stages go in order; 4: there is no API server before]
        h9 remove: drain node h9, delete Node h9, stop everything, and take away what was put there, local volumes included [0: the others stop using it first; 1: the others stop using it first; 2: the others stop using it first; 3: the others stop using it first; 4: there is no API server before; 7: servers come and go one at a time, for etcd's quorum]
        h1 ready:  [4: stages go in order]
        h2 ready:  [6: stages go in order]
        h3 ready: wait until the node is ready [7: stages go in order]
        h4 ready:  [8: stages go in order]
    ");
}

#[test]
fn a_removal_that_gives_up_the_quorum_is_no_plan() {
    let alive = leaver("10.0.0.12", Role::Server, Some("name h2\naddress 10.0.0.12\ncloud demo\njoined"));
    let error = departures(std::slice::from_ref(&alive), CLUSTER).unwrap_err();
    assert_snapshot!(format!("{}: {error}\n{}", error.code(), error.hint()), @"
        C2508: `h2` cannot be removed: then 1 of 2 members of etcd would be up, and 2 are needed for a quorum
        start the servers that are down, or let others join first; a server that is gone for good is removed before one that lives
    ");
    // The dead one first, and both may go.
    let both = [alive, leaver("10.0.0.18", Role::Server, None)];
    assert_eq!(departures(&both, CLUSTER).map(|departures| departures.leaving.len()), Ok(2));
}

#[test]
fn no_second_cluster_is_made_beside_one_whose_servers_are_to_leave() {
    let membership = Membership::default();
    for (answer, refused) in [(None, true), (Some("cloud demo\njoined"), true), (Some("name h1"), false)] {
        let leavers = [leaver("10.0.0.11", Role::Server, answer)];
        let found = leave::leaving("demo", &leavers, &membership, false);
        assert_eq!(found.is_err(), refused, "{answer:?}: {found:?}");
    }
}

#[test]
fn rehearsals_have_the_same_steps() {
    let steps = rehearsed(&cloud(), "v1.36.3");
    let names: Vec<String> = steps.iter().map(|step| format!("{}/{}", step.host, step.phase)).collect();
    assert_eq!(names.len(), 16, "{names:?}");
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
    // containerd maps Docker's name to its registry only where no server is named.
    let mut cloud = cloud.clone();
    cloud.artifacts.registries.insert("docker.io".to_owned(), vec!["https://mirror.example.org".to_owned()]);
    let site = Site { cloud: &cloud, ..site };
    let mirrors = files::all(&site, &nodes[3]);
    let mirror = mirrors.iter().find(|file| file.path == "/etc/containerd/certs.d/docker.io/hosts.toml");
    assert!(mirror.unwrap().text.contains("\nserver = \"https://registry-1.docker.io\"\n"));
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

/// `extraArgs:` without a value took the encryption of Secrets away.
#[test]
fn lists_and_maps_of_ours_stay_what_they_are() {
    let ours = json!({ "extraArgs": [{ "name": "a", "value": "1" }], "map": { "b": 1 }, "text": "c" });
    for over in [
        json!({ "extraArgs": null, "map": null }),
        json!({ "extraArgs": { "a": "2" }, "map": [1] }),
        json!({ "extraArgs": "a", "map": "b" }),
    ] {
        let mut base = ours.clone();
        merge(&mut base, over.as_object().unwrap());
        assert_eq!(base, ours, "{over}");
    }
    let mut base = ours.clone();
    merge(&mut base, json!({ "extraArgs": [{ "value": "2" }], "text": "d" }).as_object().unwrap());
    let args = json!([{ "name": "a", "value": "1" }, { "value": "2" }]);
    assert_eq!(base, json!({ "extraArgs": args, "map": { "b": 1 }, "text": "d" }));
}

#[test]
fn scripts_are_what_a_posix_shell_takes() {
    let cloud = cloud();
    let nodes = nodes(&cloud);
    let site = Site { cloud: &cloud, version: "v1.36.3", sandbox: "pause:1", nodes: &nodes };
    let settings = super::settings::Settings::of(&site, &nodes[0]);
    let all = [
        scripts::init(&nodes[0], &settings),
        scripts::join(&nodes[0], &settings),
        scripts::join(&nodes[3], &settings),
        scripts::upload_settings(),
        scripts_upkeep::control_plane(),
        scripts_upkeep::new_names("cloud.example.org"),
        scripts_upkeep::kube_proxy(),
        scripts_upkeep::has_kube_proxy(),
        super::settings::label_and_taint(&site, &nodes[0], "label it's=x\ntaint a=b:NoSchedule\n"),
        scripts_upkeep::KUBELET_CONFIG.to_owned(),
        scripts_upkeep::renew(),
        scripts_upkeep::asked("h1"),
        scripts_upkeep::served(),
        scripts::credentials(Role::Server),
        scripts::credentials(Role::Agent),
        scripts::phase("init"),
        scripts::ready_node("h1"),
        scripts::observe(&["/a b", "/c"], &["/d".to_owned()]),
        scripts::keep_digests(),
        scripts::membership(),
        scripts::observe_leaver(),
        scripts::drain("h1"),
        scripts::joining(),
        scripts::soon(&scripts::membership(), 60),
        scripts::unsettled(&[files::Service::Kubelet]),
        scripts::clear(),
        clean::remember("it's"),
        clean::take_back("/a b/c"),
        scripts::import("/x"),
        scripts::settled(true, true),
        scripts::answers(),
        scripts::phase("configure"),
        scripts::try_itself(),
        clean::unpack("/x", "/opt/cni/bin"),
        clean::clean("it's", "10.42.0.0/16"),
        scripts::settle(&[files::Service::Containerd]),
    ];
    for script in all {
        let output = std::process::Command::new("sh").args(["-n", "-c", &script]).output().unwrap();
        assert!(output.status.success(), "{script}\n{output:?}");
    }
}

#[test]
fn files_are_read_again_only_when_they_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let run = |script: &str, input: &str| {
        let script = script.replace("/var/lib/cozy", folder.path().to_str().unwrap());
        let mut child = std::process::Command::new("sh")
            .args(["-c", &script])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        Found::read(&String::from_utf8(output.stdout).unwrap())
    };
    for name in ["same", "changed", "new it's"] {
        fs_err::write(path(name), name).unwrap();
    }
    run(&scripts::keep_digests(), &format!("{}\n{}\n{}\n", path("same"), path("changed"), path("missing")));
    // What is kept is what is there, whatever was to be there. Another digest shows what is read again.
    let kept = fs_err::read_to_string(path("digests")).unwrap();
    assert!(kept.contains(&Digest::of(b"changed").to_string()), "{kept}");
    fs_err::write(path("digests"), kept.replace(&Digest::of(b"same").to_string(), "aa")).unwrap();
    fs_err::write(path("changed"), "CHANGED").unwrap();
    let names = ["same", "changed", "new it's", "missing"].map(path);
    let found = run(&scripts::observe(&names.each_ref().map(String::as_str), &[]), "");
    assert_eq!(found.digest(&names[0]), Some("aa"));
    assert_eq!(found.digest(&names[1]), Some(&*Digest::of(b"CHANGED").to_string()));
    assert_eq!(found.digest(&names[2]), Some(&*Digest::of(b"new it's").to_string()));
    assert_eq!(found.digest(&names[3]), None);
}

#[test]
fn no_script_clears_what_may_be_a_voter_of_etcd() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let run = |script: &str| {
        let places = [
            ("/etc/kubernetes", "etc"),
            ("/var/lib/etcd", "etcd"),
            ("/var/lib/cozy", "cozy"),
            ("/usr/local/sbin", "bin"),
        ];
        let script = places.iter().fold(script.to_owned(), |script, (place, name)| {
            script.replace(place, path(name).to_str().unwrap())
        });
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    for name in ["etc", "etcd/member", "cozy", "bin"] {
        fs_err::create_dir_all(path(name)).unwrap();
    }
    let called = path("called");
    fs_err::write(path("bin/kubeadm"), format!("#!/bin/sh\ntouch {}\nexit 1\n", called.display())).unwrap();
    fs_err::set_permissions(path("bin/kubeadm"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let cloud = cloud();
    let nodes = nodes(&cloud);
    let site = Site { cloud: &cloud, version: "v1.36.3", sandbox: "pause:1", nodes: &nodes };
    let join = scripts::join(&nodes[1], &super::settings::Settings::of(&site, &nodes[1]));
    fs_err::write(path("etc/kubelet.conf"), "").unwrap();
    assert_eq!(run(&scripts::joining()), (true, "begun\n".to_owned()));
    assert_eq!(run(&join), (false, String::new()));
    assert!(!called.exists() && path("etcd/member").exists());
    // Nothing was left: kubeadm is begun.
    fs_err::remove_file(path("etc/kubelet.conf")).unwrap();
    assert_eq!(run(&scripts::joining()), (true, String::new()));
    assert_eq!(run(&join), (false, String::new()));
    assert!(called.exists());
}

#[test]
fn what_a_join_needs_is_made_on_a_server_with_its_own_settings() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs_err::write(
        path("kubeadm"),
        "#!/bin/sh
case $1$2 in
  certscertificate-key) echo 0123 ;;
  initphase) cp \"$6\" \"${0%/*}/given\" ;;
  tokencreate) echo 'kubeadm join a:1 --token t0.k --discovery-token-ca-cert-hash sha256:ca' ;;
esac
",
    )
    .unwrap();
    fs_err::set_permissions(path("kubeadm"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let cloud = cloud();
    let nodes = nodes(&cloud);
    let site = Site { cloud: &cloud, version: "v1.36.3", sandbox: "pause:1", nodes: &nodes };
    fs_err::write(path("kubeadm.json"), super::documents::init(&site, &nodes[0])).unwrap();
    let script = scripts::credentials(Role::Server).replace("/var/lib/cozy", folder.path().to_str().unwrap());
    let script = format!("PATH={}:$PATH\n{script}", folder.path().display());
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "key=0123\ntoken=t0.k\nca=sha256:ca\n");
    let given = fs_err::read_to_string(path("given")).unwrap();
    let documents = given.split("---\n").map(|text| serde_json::from_str::<serde_json::Value>(text).unwrap());
    let init = documents.into_iter().next().unwrap();
    assert_eq!((&init["certificateKey"], &init["kind"]), (&json!("0123"), &json!("InitConfiguration")));
    // It is a secret, and was for kubeadm alone.
    assert!(!path("upload.json").exists());
}

#[test]
fn what_was_written_down_of_a_host_counts_only_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let before = folder.path().join("before");
    let remember = clean::remember("demo").replace("/var/lib/cozy", folder.path().to_str().unwrap());
    let run = || {
        let done = std::process::Command::new("sh")
            .args(["-c", &remember])
            .stdin(std::process::Stdio::null())
            .status();
        assert!(done.unwrap().success());
        fs_err::read_to_string(&before).unwrap()
    };
    // The disk was full, or the power went.
    fs_err::write(&before, "there /cut off").unwrap();
    let whole = run();
    assert!(whole.contains("there /usr/local/bin\n") && whole.ends_with("\nend\n"), "{whole}");
    fs_err::write(&before, "there /else\nend\n").unwrap();
    assert_eq!(run(), "there /else\nend\n");
}

#[test]
fn a_cozy_that_does_not_start_takes_no_place() {
    let folder = tempfile::tempdir().unwrap();
    let (new, place) = (folder.path().join(".cozy-new"), folder.path().join("cozy"));
    let run = |script: String| {
        let script = script.replace("/usr/local/bin", folder.path().to_str().unwrap());
        std::process::Command::new("sh").args(["-c", &script]).output().unwrap().status.success()
    };
    let put = |text: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        fs_err::write(&new, text).unwrap();
        fs_err::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    fs_err::write(&place, "works").unwrap();
    put("#!/bin/sh\nexit 1\n");
    assert!(!run(scripts::try_itself()));
    assert!(!new.exists());
    assert_eq!(fs_err::read_to_string(&place).unwrap(), "works");
    put("#!/bin/sh\n[ \"$1\" = version ]\n");
    assert!(run(scripts::try_itself()) && run(scripts::take_itself()));
    assert!(!new.exists() && fs_err::read_to_string(&place).unwrap().contains("version"));
}

#[test]
fn files_that_a_killed_run_put_there_are_not_taken_for_what_runs() {
    let done = "files\nactive containerd\nactive cozy-proxy\nactive kubelet\njoined";
    let restarts = format!("{done}\nunsettled\nunsettled containerd\nunsettled kubelet");
    // Kernel settings: nothing is restarted for them.
    let settings = format!("{done}\nunsettled");
    let prepared = |text: &str| planned([text, done, done, done]).lines().next().unwrap().to_owned();
    assert_snapshot!(prepared(done), @"h1 prepare:  []");
    assert_snapshot!(prepared(&restarts), @"h1 prepare: finish what an interrupted run began, restart containerd, restart kubelet []");
    let mirror = format!("{done}\nmirror /etc/containerd/certs.d/a/hosts.toml");
    assert_snapshot!(prepared(&mirror), @"h1 prepare: remove /etc/containerd/certs.d/a/hosts.toml []");
    assert_snapshot!(prepared(&settings), @"h1 prepare: finish what an interrupted run began []");
    // What the note is made of is what is read.
    let folder = tempfile::tempdir().unwrap();
    let run = |script: &str| {
        let script = script.replace("/var/lib/cozy", folder.path().to_str().unwrap());
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    run(&scripts::unsettled(&[files::Service::Containerd, files::Service::Kubelet]));
    assert!(
        run(&scripts::observe(&[], &[])).contains("unsettled\nunsettled containerd\nunsettled kubelet\n")
    );
    run(&scripts::unsettled(&[]));
    assert!(run(&scripts::observe(&[], &[])).contains("unsettled\n"));
}
