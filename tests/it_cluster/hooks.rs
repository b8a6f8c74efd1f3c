//! A chart's hooks on both clusters: which run when, in which order, and what
//! is left of them.

use std::sync::Arc;
use std::time::Duration;

use cozy_sim::{Cluster, Controllers, Options, run_controllers};
use serde_json::Value;

use crate::made::{Made, both};
use crate::served;
use crate::support::control_plane::ControlPlane;

/// Hooks of all weights and events; `broken` ones never end well.
const HOOKS: &str = r#"
{{- define "job" }}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .name }}
  annotations: { helm.sh/hook: "{{ .on }}", helm.sh/hook-weight: "{{ .weight }}"{{ with .policy }}, helm.sh/hook-delete-policy: "{{ . }}"{{ end }} }
spec:
  backoffLimit: 0
  {{- if .broken }}
  activeDeadlineSeconds: 1
  {{- end }}
  template:
    spec:
      restartPolicy: Never
      {{- if .broken }}
      nodeSelector: { there-is: none }
      {{- end }}
      containers: [{ name: main, image: "example.org/job:1" }]
{{- end }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: hooks
  annotations:
    helm.sh/hook: pre-install,pre-upgrade,post-install,post-upgrade
    helm.sh/hook-weight: "-10"
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
---
apiVersion: v1
kind: ConfigMap
metadata: { name: seed, annotations: { helm.sh/hook: pre-install, helm.sh/hook-weight: "-5" } }
{{- $broken := .Values.broken | default "" }}
{{- template "job" dict "name" "z-first" "on" "pre-install,pre-upgrade" "weight" 1 "policy" "before-hook-creation,hook-succeeded" "broken" (eq $broken "first") }}
{{- template "job" dict "name" "b-second" "on" "pre-install" "weight" 2 }}
{{- template "job" dict "name" "a-third" "on" "pre-install, pre-upgrade" "weight" 10 "policy" "hook-failed" "broken" (eq $broken "third") }}
{{- template "job" dict "name" "upgrade" "on" "pre-upgrade" "weight" -1 "policy" "hook-succeeded" }}
{{- template "job" dict "name" "after" "on" "post-install,post-upgrade" "weight" 0 }}
{{- template "job" dict "name" "after-upgrade" "on" "post-upgrade" "weight" 5 "policy" "hook-succeeded" }}
{{- template "job" dict "name" "probe" "on" "test" "weight" 0 }}
{{- template "job" dict "name" "goodbye" "on" "pre-delete" "weight" 0 }}
---
apiVersion: v1
kind: ConfigMap
metadata: { name: shop }
data: { color: {{ .Values.color }} }
"#;

/// What an install did to objects of the chart, step by step.
fn installed(made: &Made, code: i32) -> String {
    let output = made.command(&["install", "--yes", "-o", "json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", both(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let done = events.filter(|event| event["event"] == "object").map(|event| {
        let text = |key: &str| event[key].as_str().unwrap().to_owned();
        (text("step").replace("shop/", ""), text("verb"), text("object").replace(" shop/", " "))
    });
    let done = done.filter(|(step, ..)| step != "generated" && step != "namespaces");
    let mut lines: Vec<String> =
        done.map(|(step, verb, object)| format!("{step}: {verb} {object}")).collect();
    // Those of one step go at the same time.
    for step in lines.chunk_by_mut(|a, b| a.split(':').next() == b.split(':').next()) {
        step.sort();
    }
    lines.join("\n")
}

/// The first installation, twice, and an upgrade, twice.
fn installs_and_upgrades(made: &mut Made) {
    insta::assert_snapshot!(installed(made, 0), @"
        pre-hooks: create ServiceAccount hooks
        pre-hooks-2: create ConfigMap seed
        pre-hooks-3: create Job z-first
        pre-hooks-4: create Job b-second
        pre-hooks-5: create Job a-third
        pre-hooks-done: delete Job z-first
        objects: create ConfigMap shop
        post-hooks: create Job after
        post-hooks-done: delete ServiceAccount hooks
    ");
    let again = made.expect(&["install", "--yes"], 0);
    assert!(again.contains("nothing to do"), "{again}");
    made.expect(&["status"], 0);
    made.expect(&["diagnose"], 0);

    made.values("shop", "{ color: green }");
    insta::assert_snapshot!(installed(made, 0), @"
        pre-hooks: create ServiceAccount hooks
        pre-hooks-2: create Job upgrade
        pre-hooks-3: create Job z-first
        pre-hooks-4: replace Job a-third
        pre-hooks-done: delete Job upgrade
        pre-hooks-done: delete Job z-first
        objects: update ConfigMap shop
        post-hooks: replace Job after
        post-hooks-2: create Job after-upgrade
        post-hooks-done: delete Job after-upgrade
        post-hooks-done: delete ServiceAccount hooks
    ");
    let again = made.expect(&["install", "--yes"], 0);
    assert!(again.contains("nothing to do"), "{again}");
}

fn made(plane: Arc<ControlPlane>) -> Made {
    let mut made = Made::on(plane);
    made.chart("shop", "1.0.0", &[("templates/hooks.yaml", HOOKS)]);
    made
}

#[test]
fn hooks_run_in_their_turns_on_the_simulated_cluster() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let embedded = Cluster::new(Options::default());
    let mut made = made(ControlPlane::shared());
    let kubeconfig = made.path("kubeconfig");
    made.kubeconfig = Some(kubeconfig.clone());
    runtime.block_on(served::serve(&embedded, &kubeconfig));
    let config = Controllers { usual: Duration::from_millis(100), pods: true, ..Controllers::default() };
    let _inside = runtime.enter();
    runtime.spawn(run_controllers(embedded.client(), config));
    made.values("shop", "{ color: red }");
    installs_and_upgrades(&mut made);
    assert_eq!(embedded.not_simulated(), Vec::<String>::new());
}

#[test]
fn hooks_run_in_their_turns_and_when_they_failed_again() {
    let mut made = made(ControlPlane::own());
    let uid = |made: &Made, job: &str| {
        let job = made.plane.ask(&[
            "-n",
            "shop",
            "get",
            "job",
            job,
            "--ignore-not-found",
            "-o",
            "jsonpath={.metadata.uid}",
        ]);
        (!job.is_empty()).then_some(job)
    };
    let colored = |made: &Made| {
        made.plane.ask(&[
            "-n",
            "shop",
            "get",
            "configmap",
            "shop",
            "--ignore-not-found",
            "-o",
            "jsonpath={.data.color}",
        ])
    };

    // The first one fails, each time anew; nothing after it is made.
    made.values("shop", "{ color: red, broken: first }");
    insta::assert_snapshot!(installed(&made, 5), @"
        pre-hooks: create ServiceAccount hooks
        pre-hooks-2: create ConfigMap seed
        pre-hooks-3: create Job z-first
    ");
    let failed = uid(&made, "z-first").unwrap();
    insta::assert_snapshot!(installed(&made, 5), @"pre-hooks-3: replace Job z-first");
    assert_ne!(uid(&made, "z-first").unwrap(), failed);
    assert_eq!(colored(&made), "");

    // One that is deleted when it fails. It is the first installation still, and all of its hooks run.
    made.values("shop", "{ color: red, broken: third }");
    insta::assert_snapshot!(installed(&made, 5), @"
        pre-hooks-3: replace Job z-first
        pre-hooks-4: create Job b-second
        pre-hooks-5: create Job a-third
        pre-hooks-5: delete Job a-third
    ");
    assert_eq!((uid(&made, "a-third"), colored(&made)), (None, String::new()));
    made.values("shop", "{ color: red }");
    insta::assert_snapshot!(installed(&made, 0), @"
        pre-hooks-5: create Job a-third
        pre-hooks-done: delete Job z-first
        objects: create ConfigMap shop
        post-hooks: create Job after
        post-hooks-done: delete ServiceAccount hooks
    ");
    assert_eq!((uid(&made, "z-first"), colored(&made)), (None, "red".to_owned()));

    // An upgrade leaves alone what only an installation runs, and runs again what both do.
    let before = [uid(&made, "b-second"), uid(&made, "after")];
    made.values("shop", "{ color: green }");
    insta::assert_snapshot!(installed(&made, 0), @"
        pre-hooks: create ServiceAccount hooks
        pre-hooks-2: create Job upgrade
        pre-hooks-3: create Job z-first
        pre-hooks-4: replace Job a-third
        pre-hooks-done: delete Job upgrade
        pre-hooks-done: delete Job z-first
        objects: update ConfigMap shop
        post-hooks: replace Job after
        post-hooks-2: create Job after-upgrade
        post-hooks-done: delete Job after-upgrade
        post-hooks-done: delete ServiceAccount hooks
    ");
    let after = [uid(&made, "b-second"), uid(&made, "after")];
    assert_eq!(before[0], after[0]);
    assert!(before[1].is_some() && after[1].is_some() && before[1] != after[1]);
    assert_eq!((uid(&made, "upgrade"), uid(&made, "probe"), uid(&made, "goodbye")), (None, None, None));
    assert_eq!(made.plane.ask(&["-n", "shop", "get", "configmap", "seed", "-o", "name"]), "configmap/seed");
    let again = made.expect(&["install", "--yes"], 0);
    assert!(again.contains("nothing to do"), "{again}");

    // One that fails in an upgrade: what is after it stays as it was.
    made.values("shop", "{ color: blue, broken: third }");
    installed(&made, 5);
    assert_eq!(colored(&made), "green");
    made.values("shop", "{ color: blue }");
    installed(&made, 0);
    assert_eq!(colored(&made), "blue");
}
