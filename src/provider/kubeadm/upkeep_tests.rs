//! What is planned for hosts of a cluster whose settings change, or whose certificates end.

use insta::assert_snapshot;

use super::leave::Departures;
use super::steps::Found;
use super::tests::{CLOUD, CLUSTER, cloud, departures, leaver, nodes};
use super::{Node, Site, scripts_upkeep, steps, upkeep};
use crate::model::artefact::Digest;
use crate::model::cloud::Role;
use crate::model::resolve::CloudFile;
use crate::plan::planner::Phase;

/// What a host says that has the settings of a site.
fn applied_settings(site: &Site<'_>, node: &Node) -> String {
    let settings = super::settings::Settings::of(site, node);
    let line = |(path, text): (String, &str)| format!("{}  {path}", Digest::of(text.as_bytes()));
    settings.texts().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn control_planes_are_renewed_one_after_the_other_and_ended_ones_first_of_all() {
    let cloud = cloud();
    let nodes = nodes(&cloud);
    let state = |left: i64| {
        let ends = format!(
            "{left} /etc/kubernetes/pki/apiserver.crt\nends 9999999 {}",
            super::certificates::SERVING
        );
        format!("joined\nactive containerd\nactive cozy-proxy\nactive kubelet\nends {ends}")
    };
    let site = Site { cloud: &cloud, version: "v1.36.3", sandbox: "pause:1", nodes: &nodes };
    let applied = |left: i64, node: &Node| format!("{}\n{}", state(left), applied_settings(&site, node));
    let plan = |left: [i64; 4]| {
        let found: Vec<Found> = left
            .into_iter()
            .zip(&nodes)
            .map(|(left, node)| Found::read(&applied(left, node)).judged(&site, node))
            .collect();
        let wanted = vec![Vec::new(); 4];
        steps::steps(&nodes, wanted, &found, &Departures::default())
    };
    let lines = |steps: &[crate::plan::planner::HostStep]| -> Vec<String> {
        let line = |step: &crate::plan::planner::HostStep| {
            let needs: Vec<String> = step.needs.iter().map(|(on, why)| format!("{on}: {why}")).collect();
            format!("{} {}: {} [{}]", step.host, step.phase, step.work.join(", "), needs.join("; "))
        };
        steps.iter().filter(|step| !step.done).map(line).collect()
    };
    let day = 86_400;
    let all = plan([30 * day, 200 * day, 31 * day, 0]);
    assert!(upkeep::urgent(&all).is_empty());
    let all: Vec<_> = all.into_iter().map(|planned| planned.step).collect();
    assert_snapshot!(lines(&all).join("\n"), @"
        h1 certify: renew kubeadm's certificates, which end in 30 days, restart etcd and the control plane [0: stages go in order; 4: stages go in order]
        h3 certify: renew kubeadm's certificates, which end in 31 days, restart etcd and the control plane [2: stages go in order; 6: stages go in order; 8: servers come and go one at a time, for etcd's quorum]
    ");
    let all = plan([-day, 200 * day, -1, 0]);
    assert_snapshot!(lines(&upkeep::urgent(&all)).join("\n"), @"
        h1 certify: renew kubeadm's certificates, which ended, restart etcd and the control plane []
        h3 certify: renew kubeadm's certificates, which ended, restart etcd and the control plane []
    ");
    // A member of etcd does not talk to one whose certificate has ended: who waited for health here waited in vain.
    assert!(!scripts_upkeep::renew().contains("readyz"));
}

#[test]
fn changed_settings_are_applied_server_by_server_and_a_new_server_changes_none() {
    let between = |before: &str, text: &str| {
        let read = |text: &str| CloudFile::read(text.as_bytes(), "cozy.yaml").unwrap().cloud;
        let (cloud, other) = (read(before), read(text));
        let nodes = nodes(&cloud);
        let mut all = self::nodes(&other);
        all.truncate(4);
        let before = Site { cloud: &cloud, version: "v1.36.3", sandbox: "pause:1", nodes: &nodes };
        let after = Site { cloud: &other, version: "v1.36.3", sandbox: "pause:1", nodes: &all };
        let found: Vec<Found> = nodes
            .iter()
            .zip(&all)
            .map(|(node, wanted)| {
                let serving = super::certificates::SERVING;
                let text = format!("joined\nends 9999999 {serving}\n{}", applied_settings(&before, node));
                Found::read(&text).judged(&after, &Node { role: node.role, ..wanted.clone() })
            })
            .collect();
        let steps = steps::steps(&nodes, vec![Vec::new(); 4], &found, &Departures::default());
        let steps =
            steps.into_iter().map(|planned| planned.step).filter(|step| step.phase == Phase::Configure);
        let line = |step: crate::plan::planner::HostStep| {
            let needs: Vec<String> = step.needs.iter().map(|(on, _)| on.to_string()).collect();
            format!("{}: {} [{}]", step.host, step.work.join(", "), needs.join(", "))
        };
        steps.map(line).collect::<Vec<_>>().join("\n")
    };
    let change = |text: &str| between(CLOUD, text);
    assert_eq!(change(CLOUD), "");
    assert_eq!(
        change(&CLOUD.replace(
            "10.0.0.14 }",
            "10.0.0.14 }\n  - { address: 10.0.0.15, role: server }\n  - { address: 10.0.0.16, role: server }"
        )),
        ""
    );
    let of = |settings: &str| change(&format!("{CLOUD}kubernetes: {{ {settings} }}\n"));
    assert_snapshot!(of("kubelet: { maxPods: 50 }"), @"
        h1: write the kubelet's configuration anew, restart kubelet [0, 4]
        h2: write the kubelet's configuration anew, restart kubelet [1, 5, 8]
        h3: write the kubelet's configuration anew, restart kubelet [2, 6, 9]
        h4: write the kubelet's configuration anew, restart kubelet [3, 7, 10]
    ");
    assert_snapshot!(of("endpoint: api.example.org"), @"
        h1: make a new certificate for the API server, with the names that changed [0, 4]
        h2: make a new certificate for the API server, with the names that changed [1, 5, 8]
        h3: make a new certificate for the API server, with the names that changed [2, 6, 9]
    ");
    // The names in certificates are no reason to restart anything.
    assert_eq!(
        of("apiServer: { certSANs: [api.example.org] }").lines().next(),
        of("endpoint: api.example.org").lines().next()
    );
    assert_snapshot!(change(&CLOUD.replace("10.0.0.14 }", "10.0.0.14, taints: [a=b:NoSchedule], labels: { zone: b } }")), @"h4: set the node's labels and taints [3, 7]");
    let nftables = format!("{CLOUD}network: {{ proxyMode: nftables }}\n");
    let other = format!("{nftables}kubernetes: {{ kubeProxy: {{ conntrack: {{ min: 0 }} }} }}\n");
    assert_snapshot!(between(&nftables, &other), @"
        h1: write kube-proxy's configuration anew, restart kube-proxy on all nodes [0, 4]
        h2: write kube-proxy's configuration anew, restart kube-proxy on all nodes [1, 5, 8]
        h3: write kube-proxy's configuration anew, restart kube-proxy on all nodes [2, 6, 9]
    ");
    assert_snapshot!(of("apiServer: { extraArgs: [{ name: a, value: b }] }"), @"
        h1: write the control plane's manifests anew, restart what changed of etcd and the control plane [0, 4]
        h2: write the control plane's manifests anew, restart what changed of etcd and the control plane [1, 5, 8]
        h3: write the control plane's manifests anew, restart what changed of etcd and the control plane [2, 6, 9]
    ");
}

/// What is planned when h9 leaves, h3 is to join, and settings differ; `silent`: h1's API server does not answer.
fn changed_with_joins(silent: bool) -> Vec<steps::Planned> {
    let cloud = cloud();
    let nodes = nodes(&cloud);
    let settings = "kubernetes: { apiServer: { extraArgs: [{ name: a, value: b }] } }\n";
    let other = CloudFile::read(format!("{CLOUD}{settings}").as_bytes(), "cozy.yaml").unwrap().cloud;
    let before = Site { cloud: &cloud, version: "v1.36.3", sandbox: "pause:1", nodes: &nodes };
    let after = Site { cloud: &other, ..before };
    let state = |node: &Node| match node.name.as_str() {
        "h3" => String::new(),
        _ => format!(
            "joined\nends 9999999 {}\n{}",
            super::certificates::SERVING,
            applied_settings(&before, node)
        ),
    };
    let mut found: Vec<Found> =
        nodes.iter().map(|node| Found::read(&state(node)).judged(&after, node)).collect();
    found[0].silent = silent;
    let leavers = [leaver("10.0.0.19", Role::Agent, Some("name h9\naddress 10.0.0.19\ncloud demo\njoined"))];
    let departures = departures(&leavers, CLUSTER).unwrap();
    let wanted = nodes.iter().map(|node| steps::items(&after, node, None)).collect();
    steps::steps(&nodes, wanted, &found, &departures)
}

#[test]
fn hosts_that_join_get_the_settings_that_changed_and_servers_restart_once_nobody_comes_or_goes() {
    let all = changed_with_joins(false);
    let line = |(index, planned): (usize, &steps::Planned)| {
        let step = &planned.step;
        let needs: Vec<String> = step.needs.iter().map(|(on, _)| on.to_string()).collect();
        let known = matches!(step.phase, Phase::Join | Phase::Remove | Phase::Configure) && !step.done;
        known
            .then(|| format!("{index} {} {}: {} [{}]", step.host, step.phase, step.work[0], needs.join(", ")))
    };
    let lines: Vec<String> = all.iter().enumerate().filter_map(line).collect();
    assert_snapshot!(lines.join("\n"), @"
        6 h3 join: put the settings that changed where joins take them from [2, 4]
        8 h9 remove: drain node h9 [0, 1, 2, 3, 4, 6]
        9 h1 configure: write the control plane's manifests anew [0, 4, 8]
        10 h2 configure: write the control plane's manifests anew [1, 5, 9]
    ");
    assert!(upkeep::urgent(&all).is_empty());
}

#[test]
fn settings_without_which_the_api_server_does_not_answer_are_corrected_before_anything_else() {
    let all = changed_with_joins(true);
    let urgent: Vec<String> =
        upkeep::urgent(&all).iter().map(|step| format!("{} {}", step.host, step.phase)).collect();
    assert_eq!(urgent, ["h1 prepare", "h1 configure"]);
}

#[test]
fn servers_take_over_the_work_before_the_last_agent_leaves() {
    let cloud = cloud();
    let nodes = nodes(&cloud);
    let before = Site { cloud: &cloud, version: "v1.36.3", sandbox: "pause:1", nodes: &nodes };
    let after = Site { nodes: &nodes[..3], ..before };
    let found = |node: &Node| {
        let serving = super::certificates::SERVING;
        let text = format!("joined\nends 9999999 {serving}\n{}", applied_settings(&before, node));
        Found::read(&text).judged(&after, node)
    };
    let found: Vec<Found> = after.nodes.iter().map(found).collect();
    let answer = Some("name h4\naddress 10.0.0.14\ncloud demo\njoined agent h4 10.0.0.14");
    let cluster = format!("{CLUSTER}node h4 10.0.0.14, True\n");
    let departures = departures(&[leaver("10.0.0.14", Role::Agent, answer)], &cluster).unwrap();
    let all = steps::steps(after.nodes, vec![Vec::new(); 3], &found, &departures);
    let line = |(index, planned): (usize, &steps::Planned)| {
        let step = &planned.step;
        let needs: Vec<String> = step.needs.iter().map(|(on, _)| on.to_string()).collect();
        (!step.done && step.phase != Phase::Prepare)
            .then(|| format!("{index} {} {}: {} [{}]", step.host, step.phase, step.work[0], needs.join(", ")))
    };
    let lines: Vec<String> = all.iter().enumerate().filter_map(line).collect();
    assert_snapshot!(lines.join("\n"), @"
        6 h1 configure: set the node's labels and taints [0, 3]
        7 h2 configure: set the node's labels and taints [1, 4, 6]
        8 h3 configure: set the node's labels and taints [2, 5, 7]
        9 h4 remove: drain node h4 [0, 1, 2, 3, 8]
    ");
}

#[test]
fn labels_are_given_by_a_server_and_what_was_cut_off_before_that_is_made_up_for() {
    let cloud = cloud();
    let nodes = nodes(&cloud);
    let site = Site { cloud: &cloud, version: "v1.36.3", sandbox: "pause:1", nodes: &nodes };
    let key = "node-role.kubernetes.io/worker".to_owned();
    let node = Node {
        labels: [(key, String::new())].into(),
        taints: vec!["a=b:NoSchedule".to_owned()],
        ..nodes[3].clone()
    };
    // A kubelet does not start with labels of kubernetes.io.
    let credentials = super::documents::Credentials { token: "t".to_owned(), ca: "c".to_owned(), key: None };
    let document = super::documents::join(&site, &node, &credentials);
    assert!(!document.contains("worker") && document.contains("NoSchedule"), "{document}");
    let settings = super::settings::Settings::of_join(&site, &node);
    let marks: Vec<(String, String)> = settings.texts().map(|(path, text)| (path, text.to_owned())).collect();
    let of = |path: &str| marks.iter().find(|(one, _)| one.ends_with(path)).map(|(_, text)| text.as_str());
    assert_eq!(of("/node"), Some("taint a=b:NoSchedule\n"));
    let lines = marks.iter().map(|(path, text)| format!("{}  {path}\n", Digest::of(text.as_bytes())));
    let found = Found::read(&format!("joined\n{}", lines.collect::<String>())).judged(&site, &node);
    assert_eq!(found.change.work(), ["set the node's labels and taints"]);
    let script = super::settings::label_and_taint(&site, &node, "taint a=b:NoSchedule\n");
    assert!(
        script.contains("kubectl label --overwrite node h4 node-role.kubernetes.io/worker= "),
        "{script}"
    );
}

#[test]
fn servers_leave_the_work_to_agents_once_one_has_joined_and_take_it_back_when_all_are_gone() {
    let cloud = cloud();
    let nodes = nodes(&cloud);
    let (three, four) = (nodes.get(..3).unwrap(), nodes.as_slice());
    let of = |nodes| Site { cloud: &cloud, version: "v1.36.3", sandbox: "pause:1", nodes };
    let plan = |before: &Site<'_>, after: &Site<'_>| {
        let found = |node: &Node| {
            let serving = super::certificates::SERVING;
            let text = format!("joined\nends 9999999 {serving}\n{}", applied_settings(before, node));
            let text = if before.nodes.contains(node) { text } else { String::new() };
            Found::read(&text).judged(after, node)
        };
        let found: Vec<Found> = after.nodes.iter().map(found).collect();
        let wanted = vec![Vec::new(); found.len()];
        let all = steps::steps(after.nodes, wanted, &found, &Departures::default());
        let all = all.into_iter().map(|planned| planned.step);
        let line = |(index, step): (usize, crate::plan::planner::HostStep)| {
            let needs: Vec<String> = step.needs.iter().map(|(on, why)| format!("{on}: {why}")).collect();
            format!("{index} {} {}: {} [{}]", step.host, step.phase, step.work.join(", "), needs.join("; "))
        };
        let wanted = all
            .enumerate()
            .filter(|(_, step)| !step.done && matches!(step.phase, Phase::Join | Phase::Configure));
        wanted.map(line).collect::<Vec<_>>().join("\n")
    };
    let (three, four) = (of(three), of(four));
    assert_eq!(plan(&four, &four), "");
    assert_snapshot!(plan(&three, &four), @"
        7 h4 join: kubeadm join [3: stages go in order; 4: there is no API server before]
        8 h1 configure: set the node's labels and taints [0: stages go in order; 4: stages go in order; 7: servers do the work until an agent is there]
        9 h2 configure: set the node's labels and taints [1: stages go in order; 5: stages go in order; 8: servers come and go one at a time, for etcd's quorum; 7: servers do the work until an agent is there]
        10 h3 configure: set the node's labels and taints [2: stages go in order; 6: stages go in order; 9: servers come and go one at a time, for etcd's quorum; 7: servers do the work until an agent is there]
    ");
    assert_snapshot!(plan(&four, &three), @"
        6 h1 configure: set the node's labels and taints [0: stages go in order; 3: stages go in order]
        7 h2 configure: set the node's labels and taints [1: stages go in order; 4: stages go in order; 6: servers come and go one at a time, for etcd's quorum]
        8 h3 configure: set the node's labels and taints [2: stages go in order; 5: stages go in order; 7: servers come and go one at a time, for etcd's quorum]
    ");
    let change = |before: &Site<'_>, after: &Site<'_>| {
        let settings = super::settings::Settings::of(before, &nodes[0]);
        let (_, before) = settings.texts().find(|(path, _)| path.ends_with("/node")).unwrap();
        super::settings::label_and_taint(after, &nodes[0], before)
    };
    let taint = "node-role.kubernetes.io/control-plane:NoSchedule";
    assert!(change(&three, &four).contains(&format!("kubectl taint --overwrite node h1 {taint} ")));
    assert!(change(&four, &three).contains(&format!("kubectl taint node h1 {taint}- ")));
}
