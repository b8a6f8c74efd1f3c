//! Installs that are killed, on a real API server: whatever the moment, the next run ends with what is wanted then,
//! and with nothing else.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::made::Made;
use crate::settings_are_long;
use crate::support::control_plane::ControlPlane;

/// How many components there are, of twelve objects each.
const COMPONENTS: usize = 5;

/// The objects of a component. Some have other names in each round: those of the round before are to go.
fn objects(namespace: &str, round: usize) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{ name: round-{round}, namespace: {namespace} }}\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {{ name: web, namespace: {namespace} }}\n\
         spec: {{ selector: {{ app: web }}, ports: [{{ port: 80 }}] }}\n---\n\
         apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: web, namespace: {namespace} }}\n\
         spec:\n  selector: {{ matchLabels: {{ app: web }} }}\n  template:\n    metadata: {{ labels: {{ app: web }} }}\n    \
         spec: {{ containers: [{{ name: main, image: 'registry.example.org/web:{round}', readinessProbe: {{ tcpSocket: {{ port: 80 }} }} }}] }}\n"
    );
    for number in 0..8 {
        let name = if number < 4 { format!("stays-{number}") } else { format!("round-{round}-{number}") };
        write!(
            text,
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name}, namespace: {namespace} }}\ndata: {{ round: '{round}' }}\n"
        )
        .unwrap();
    }
    text
}

/// Sets the cloud to a round, and answers every object that is wanted then.
pub(crate) fn want(cloud: &mut Made, round: usize) -> BTreeSet<String> {
    let mut wanted = BTreeSet::new();
    for number in 0..COMPONENTS {
        let name = format!("part-{number}");
        let needs = if number == 0 { String::new() } else { format!("needs: [part-{}]", number - 1) };
        cloud.component(&name, &needs, &objects(&name, round));
        wanted.insert(format!("Namespace /{name}"));
        wanted.insert(format!("ServiceAccount {name}/round-{round}"));
        wanted.extend(["Service", "Deployment"].map(|kind| format!("{kind} {name}/web")));
        wanted.extend((0..4).map(|number| format!("ConfigMap {name}/stays-{number}")));
        wanted.extend((4..8).map(|number| format!("ConfigMap {name}/round-{round}-{number}")));
    }
    wanted
}

/// Every object in which cozy has fields, but for its own.
fn there(plane: &ControlPlane) -> BTreeSet<String> {
    let kinds = "namespaces,serviceaccounts,services,deployments,configmaps,secrets";
    let text = plane.ask(&["get", kinds, "-A", "-o", "json", "--show-managed-fields"]);
    let list: Value = serde_json::from_str(&text).unwrap();
    let ours = |object: &&Value| {
        let mut managers = object["metadata"]["managedFields"].as_array().into_iter().flatten();
        // With nothing but a name, an object has no fields that could be anybody's.
        managers.any(|entry| entry["manager"] == "cozy")
            || object["kind"] == "ServiceAccount" && object["metadata"]["name"] != "default"
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(ours)
        .map(|object| {
            let metadata = &object["metadata"];
            format!("{} {}/{}", text(&object["kind"]), text(&metadata["namespace"]), text(&metadata["name"]))
        })
        .filter(|id| !id.contains("cozy-system") && !id.contains(" kube-"))
        .collect()
}

/// What is there is what is wanted, and another run would do nothing.
pub(crate) fn settled(cloud: &Made, wanted: &BTreeSet<String>, when: &str) {
    let there = there(&cloud.plane);
    let [more, less] = [there.difference(wanted), wanted.difference(&there)].map(Vec::from_iter);
    assert!(more.is_empty() && less.is_empty(), "{when}: orphans {more:?}, missing {less:?}");
    cloud.expect(&["plan", "--exit-code"], 0);
}

/// Starts an install, and kills it with SIGKILL after so many events; answers whether it got that far.
fn killed_after(cloud: &Made, events: usize) -> bool {
    let mut command = cloud.command(&["install", "--yes", "-o", "json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let seen = lines.take(events).map(Result::unwrap).count();
    child.kill().unwrap();
    child.wait().unwrap();
    seen == events
}

#[test]
fn whenever_a_run_is_killed_the_next_one_leaves_what_is_wanted_and_nothing_else() {
    let mut cloud = Made::on(ControlPlane::own());
    assert_eq!(want(&mut cloud, 0).len(), 60);
    cloud.expect(&["install", "--yes"], 0);
    // A round writes about 80 events: each step's beginning, every object, its end.
    let every = if settings_are_long() { 1 } else { 8 };
    let (mut round, mut kills) = (0, 0);
    loop {
        round += 1;
        want(&mut cloud, round);
        if !killed_after(&cloud, 1 + kills * every) {
            break;
        }
        kills += 1;
        // The next run wants other things again: what the killed one made and nobody knows would stay.
        round += 1;
        let wanted = want(&mut cloud, round);
        cloud.expect(&["install", "--yes"], 0);
        settled(&cloud, &wanted, &format!("after kill {kills}"));
    }
    assert!(kills >= 8, "{kills} kills");
}
