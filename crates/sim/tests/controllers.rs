//! What the controllers make of workloads, Services and claims: names, owners, endpoints, volumes, networks.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::time::Duration;

use cozy_sim::{Cluster, Controllers, Options, run_controllers};
use futures::StreamExt as _;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::runtime::watcher;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

/// Runs a test beside the controllers, on the paused clock.
fn beside_controllers<F: Future<Output = ()>>(config: Controllers, test: impl FnOnce(Cluster, Client) -> F) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let cluster = Cluster::new(Options::default());
        let controllers = run_controllers(cluster.client(), config);
        tokio::select! {
            biased;
            () = test(cluster.clone(), cluster.client()) => {}
            () = controllers => panic!("the controllers ended"),
        }
        assert_eq!(cluster.not_simulated(), [""; 0]);
    });
}

fn api(client: &Client, object: &Value) -> (Api<DynamicObject>, String) {
    let (version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    if ["StorageClass", "APIService", "ValidatingWebhookConfiguration", "CustomResourceDefinition"]
        .contains(&kind)
    {
        return (Api::all_with(client.clone(), &resource), name);
    }
    (Api::namespaced_with(client.clone(), "default", &resource), name)
}

async fn apply(client: &Client, object: &Value) {
    let (api, name) = api(client, object);
    api.patch(&name, &PatchParams::apply("test"), &Patch::Apply(object)).await.unwrap();
}

/// Waits until a part of an object is as wished.
async fn until(client: &Client, object: &Value, path: &str, wish: impl Into<Option<Value>>) -> Value {
    let wish = wish.into();
    let (api, name) = api(client, object);
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = Box::pin(watcher(api, config));
    while let Some(event) = events.next().await {
        if let watcher::Event::Apply(found) | watcher::Event::InitApply(found) = event.unwrap() {
            let found = serde_json::to_value(found).unwrap();
            if found.pointer(path) == wish.as_ref() {
                return found;
            }
        }
    }
    unreachable!("a watcher does not end")
}

/// Shows the objects of some kinds with their controllers.
fn owned(cluster: &Cluster, kinds: &[&str]) -> Vec<String> {
    let objects = cluster.objects().into_iter().filter(|it| kinds.contains(&it["kind"].as_str().unwrap()));
    objects
        .map(|it| {
            let owner = &it["metadata"]["ownerReferences"][0];
            let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            let (kind, name) = (text(&it["kind"]), text(&it["metadata"]["name"]));
            format!("{kind} {name} of {} {}", text(&owner["kind"]), text(&owner["name"]))
        })
        .collect()
}

fn workload(kind: &str, name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": name },
        "spec": {
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "main", "image": "registry.test/main:1", "ports": [{ "name": "web", "containerPort": 8080 }] }] },
            },
        },
    })
}

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
        "spec": { "selector": { "app": name }, "ports": [{ "port": 443, "targetPort": "web" }] },
    })
}

#[test]
fn a_deployment_has_replica_sets_pods_and_endpoints() {
    beside_controllers(Controllers::default(), async |cluster, client| {
        let mut web = workload("Deployment", "web");
        web["spec"]["replicas"] = json!(2);
        apply(&client, &service("web")).await;
        apply(&client, &web).await;
        until(&client, &web, "/status/availableReplicas", json!(2)).await;
        let before = owned(&cluster, &["ReplicaSet", "Pod"]);
        assert_eq!(before.len(), 3, "{before:?}");
        assert!(before[0].starts_with("Pod web-") && before[0].contains(" of ReplicaSet web-"), "{before:?}");
        assert!(
            before[2].starts_with("ReplicaSet web-") && before[2].ends_with(" of Deployment web"),
            "{before:?}"
        );
        let slice = json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": { "name": "web-endpoints" } });
        let slice = until(&client, &slice, "/ports/0/port", json!(8080)).await;
        assert_eq!(slice["endpoints"].as_array().unwrap().len(), 2);

        // Another template: another set, and the old pods go.
        web["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.test/main:2");
        apply(&client, &web).await;
        until(&client, &web, "/status/unavailableReplicas", json!(2)).await;
        until(&client, &web, "/status/unavailableReplicas", None).await;
        let after = owned(&cluster, &["Pod"]);
        assert_eq!(after.len(), 2, "{after:?}");
        assert!(after.iter().all(|pod| !before.contains(pod)), "{after:?}");
    });
}

#[test]
fn a_stateful_set_waits_with_its_claims() {
    beside_controllers(Controllers::default(), async |cluster, client| {
        let class = json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": { "name": "late" },
            "provisioner": "disks.test", "volumeBindingMode": "WaitForFirstConsumer",
        });
        apply(&client, &class).await;
        let claim_spec = json!({
            "storageClassName": "late", "accessModes": ["ReadWriteOnce"],
            "resources": { "requests": { "storage": "1Gi" } },
        });
        let unused = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "unused" }, "spec": claim_spec });
        apply(&client, &unused).await;
        let mut set = workload("StatefulSet", "db");
        set["spec"]["serviceName"] = json!("db");
        set["spec"]["volumeClaimTemplates"] = json!([{ "metadata": { "name": "data" }, "spec": claim_spec }]);
        apply(&client, &set).await;
        until(&client, &set, "/status/readyReplicas", json!(1)).await;
        assert_eq!(owned(&cluster, &["Pod"]), ["Pod db-0 of StatefulSet db"]);
        let claim = json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": "data-db-0" } });
        let claim = until(&client, &claim, "/status/phase", json!("Bound")).await;
        assert_eq!(claim["status"]["capacity"]["storage"], "1Gi");
        let waiting = until(&client, &unused, "/status/phase", json!("Pending")).await;
        assert_eq!(waiting["spec"]["volumeName"], Value::Null);
    });
}

#[test]
fn nodes_and_pods_wait_for_the_network() {
    let network = |object: &Value| (object["metadata"]["name"] == "cni").then_some(());
    let config = Controllers { network: Some(Box::new(network)), ..Controllers::default() };
    beside_controllers(config, async |cluster, client| {
        apply(&client, &workload("Deployment", "web")).await;
        let agent = |name: &str| {
            let mut agent = workload("DaemonSet", name);
            agent["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
            agent["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([]);
            agent
        };
        apply(&client, &agent("other")).await;
        until(&client, &agent("other"), "/status/numberReady", json!(3)).await;
        let ready = |cluster: &Cluster| -> Vec<String> {
            let nodes = cluster.objects().into_iter().filter(|it| it["kind"] == "Node");
            let conditions = nodes.flat_map(|it| it["status"]["conditions"].as_array().unwrap().clone());
            conditions
                .filter(|it| it["type"] == "Ready")
                .map(|it| it["status"].as_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(ready(&cluster), ["False"; 3]);
        apply(&client, &agent("cni")).await;
        until(&client, &workload("Deployment", "web"), "/status/availableReplicas", json!(1)).await;
        assert_eq!(ready(&cluster), ["True"; 3]);
    });
}

#[test]
fn a_daemon_set_runs_on_the_nodes_that_it_selects() {
    beside_controllers(Controllers::default(), async |cluster, client| {
        let term = |key: &str, operator: &str, values: Value| {
            let one = json!({ "key": key, "operator": operator, "values": values });
            json!({ "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [
                { "matchExpressions": [one] }, {} ] } })
        };
        let (server, host) = ("node-role.kubernetes.io/control-plane", "kubernetes.io/hostname");
        let named = json!({ "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [
            { "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["node-3"] }] } ] } });
        let rows = [
            ("every", Value::Null, Value::Null, vec!["node-1", "node-2", "node-3"]),
            ("selector", json!({ "kubernetes.io/os": "linux", server: "" }), Value::Null, vec!["node-1"]),
            ("agents", Value::Null, term(server, "DoesNotExist", Value::Null), vec!["node-2", "node-3"]),
            ("in", Value::Null, term(host, "In", json!(["node-2", "node-9"])), vec!["node-2"]),
            ("both", json!({ host: "node-2" }), term(server, "Exists", Value::Null), vec![]),
            ("field", Value::Null, named, vec!["node-3"]),
        ];
        for (name, selector, affinity, on) in rows {
            let mut agent = workload("DaemonSet", name);
            agent["spec"]["template"]["spec"]["nodeSelector"] = selector;
            agent["spec"]["template"]["spec"]["affinity"] = json!({ "nodeAffinity": affinity });
            apply(&client, &agent).await;
            until(&client, &agent, "/status/numberReady", json!(on.len())).await;
            let pods = cluster
                .objects()
                .into_iter()
                .filter(|it| it["kind"] == "Pod" && it["metadata"]["labels"]["app"] == name);
            let mut nodes: Vec<_> =
                pods.map(|pod| pod["spec"]["nodeName"].as_str().unwrap().to_owned()).collect();
            nodes.sort();
            assert_eq!(nodes, on, "{name}");
        }
        // Another selector: the pods move.
        let mut agent = workload("DaemonSet", "in");
        agent["spec"]["template"]["spec"]["nodeSelector"] = json!({ host: "node-3" });
        agent["spec"]["template"]["spec"]["affinity"] = json!({});
        apply(&client, &agent).await;
        until(&client, &agent, "/status/observedGeneration", json!(2)).await;
        let pod = until(&client, &agent, "/status/numberReady", json!(1)).await;
        assert_eq!(pod["status"]["desiredNumberScheduled"], 1);
    });
}

#[test]
fn what_rests_has_no_pods_and_what_must_stay_ready_takes_its_time() {
    beside_controllers(Controllers::default(), async |cluster, client| {
        let mut paused = workload("Deployment", "paused");
        paused["spec"]["paused"] = json!(true);
        apply(&client, &paused).await;
        until(&client, &paused, "/status/observedGeneration", json!(1)).await;
        let pod = json!({ "restartPolicy": "Never", "containers": [{ "name": "main", "image": "registry.test/main:1" }] });
        let mut job = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "later" },
            "spec": { "suspend": true, "template": { "spec": pod } },
        });
        apply(&client, &job).await;
        until(&client, &job, "/status/conditions/0/type", json!("Suspended")).await;
        assert_eq!(owned(&cluster, &["Pod", "ReplicaSet"]), [""; 0]);
        paused["spec"]["paused"] = json!(false);
        job["spec"]["suspend"] = json!(false);
        apply(&client, &paused).await;
        apply(&client, &job).await;
        until(&client, &paused, "/status/availableReplicas", json!(1)).await;
        until(&client, &job, "/status/succeeded", json!(1)).await;
        let mut slow = workload("Deployment", "slow");
        slow["spec"]["minReadySeconds"] = json!(40);
        let begun = Instant::now();
        apply(&client, &slow).await;
        until(&client, &slow, "/status/availableReplicas", json!(1)).await;
        assert!(begun.elapsed() >= Duration::from_secs(42), "{:?}", begun.elapsed());
    });
}

#[test]
fn webhooks_and_api_services_answer_when_their_pods_do() {
    beside_controllers(Controllers::default(), async |_, client| {
        let backend = json!({ "name": "hook", "namespace": "default" });
        let hooks = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": { "name": "hook" },
            "webhooks": [{
                "name": "a.hook.test", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                "clientConfig": { "service": backend },
                "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"] }],
            }],
        });
        let extension = json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": { "name": "v1.more.test" },
            "spec": {
                "group": "more.test", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1,
                "insecureSkipTLSVerify": true, "service": backend,
            },
        });
        apply(&client, &extension).await;
        until(&client, &extension, "/status/conditions/0/reason", json!("ServiceNotFound")).await;
        apply(&client, &service("hook")).await;
        until(&client, &extension, "/status/conditions/0/reason", json!("MissingEndpoints")).await;
        apply(&client, &hooks).await;
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" } });
        let (api, _) = api(&client, &map);
        let refused = api.patch("a", &PatchParams::apply("test"), &Patch::Apply(&map)).await.unwrap_err();
        assert!(refused.to_string().contains("no endpoints available for service"), "{refused}");
        apply(&client, &workload("Deployment", "hook")).await;
        until(&client, &extension, "/status/conditions/0/status", json!("True")).await;
        apply(&client, &map).await;
    });
}

#[test]
fn an_operator_brings_its_kinds_when_it_runs() {
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "pools.example.org" },
        "spec": {
            "group": "example.org", "scope": "Cluster", "names": { "kind": "Pool", "plural": "pools" },
            "versions": [{ "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } }],
        },
    });
    let made = definition.clone();
    let config = Controllers {
        brings: Box::new(move |object| {
            (object["metadata"]["name"] == "operator").then(|| vec![made.clone()])
        }),
        ..Controllers::default()
    };
    beside_controllers(config, |cluster, client| async move {
        apply(&client, &workload("Deployment", "other")).await;
        until(&client, &workload("Deployment", "other"), "/status/readyReplicas", json!(1)).await;
        assert_eq!(owned(&cluster, &["CustomResourceDefinition"]), [""; 0]);
        apply(&client, &workload("Deployment", "operator")).await;
        let found = until(&client, &definition, "/status/conditions/1/status", json!("True")).await;
        assert_eq!(found["spec"]["names"]["kind"], "Pool");
    });
}

#[test]
fn nobody_works_on_what_an_object_was_before() {
    let image = |object: &Value, tag: &str| {
        object["spec"]["template"]["spec"]["containers"][0]["image"] == format!("registry.test/main:{tag}")
    };
    let slow = move |object: &Value| image(object, "1").then(|| Duration::from_secs(30));
    let config = Controllers { readiness: Box::new(slow), ..Controllers::default() };
    beside_controllers(config, async |_, client| {
        let mut web = workload("Deployment", "web");
        apply(&client, &web).await;
        until(&client, &web, "/status/observedGeneration", json!(1)).await;
        web["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.test/main:2");
        apply(&client, &web).await;
        until(&client, &web, "/status/observedGeneration", json!(2)).await;
        until(&client, &web, "/status/availableReplicas", json!(1)).await;
        // The first generation would have been ready by now.
        sleep_until(Instant::now() + Duration::from_secs(60)).await;
        let (api, name) = api(&client, &web);
        let status = &api.get(&name).await.unwrap().data["status"];
        assert_eq!((&status["observedGeneration"], &status["availableReplicas"]), (&json!(2), &json!(1)));
    });
}

/// Found by reading: what was changed was ready at once, so that nothing that waits for it was shown to wait.
#[test]
fn changed_workloads_are_ready_when_their_new_pods_are() {
    let rows = [
        ("Deployment", "updatedReplicas", "readyReplicas", 1),
        ("StatefulSet", "updatedReplicas", "readyReplicas", 1),
        ("DaemonSet", "updatedNumberScheduled", "numberReady", 3),
    ];
    for (kind, updated, ready, all) in rows {
        beside_controllers(Controllers::default(), async |cluster, client| {
            let mut web = workload(kind, "web");
            apply(&client, &web).await;
            until(&client, &web, &format!("/status/{updated}"), json!(all)).await;
            until(&client, &web, &format!("/status/{ready}"), json!(all)).await;
            web["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.test/main:2");
            apply(&client, &web).await;
            let begun = Instant::now();
            let seen = until(&client, &web, "/status/observedGeneration", json!(2)).await;
            let count = |field: &str| seen["status"][field].as_i64().unwrap_or_default();
            assert_eq!((count(updated), count(ready)), (0, all), "{kind}");
            let done = until(&client, &web, &format!("/status/{updated}"), json!(all)).await;
            assert!(begun.elapsed() >= Duration::from_secs(2), "{kind}: {:?}", begun.elapsed());
            assert_eq!(done["status"]["currentRevision"], done["status"]["updateRevision"], "{kind}");
            let revision = |set: Value| {
                let annotation = &set["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
                (annotation.as_str().unwrap().parse::<u64>().unwrap(), set["spec"]["replicas"].clone())
            };
            let sets = cluster.objects().into_iter().filter(|it| it["kind"] == "ReplicaSet");
            let mut sets: Vec<_> = sets.map(revision).collect();
            sets.sort_by_key(|(revision, _)| *revision);
            let wanted = if kind == "Deployment" { vec![(1, json!(0)), (2, json!(1))] } else { Vec::new() };
            assert_eq!(sets, wanted, "{kind}");
        });
    }
}

/// Found by reading: a claim that named no class was bound at once, whatever the default class says.
#[test]
fn claims_without_a_class_have_the_default_one() {
    beside_controllers(Controllers::default(), async |_, client| {
        let class = |name: &str, default: &str| {
            json!({
                "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "disks.test",
                "metadata": { "name": name, "annotations": { "storageclass.kubernetes.io/is-default-class": default } },
                "volumeBindingMode": if default == "true" { "WaitForFirstConsumer" } else { "Immediate" },
            })
        };
        for (name, default) in [("a", "false"), ("b", "true"), ("c", "false")] {
            apply(&client, &class(name, default)).await;
        }
        let resources = json!({ "requests": { "storage": "1Gi" } });
        let claim = |name: &str, class: &Value| {
            let spec = json!({ "accessModes": ["ReadWriteOnce"], "storageClassName": class, "resources": resources });
            json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": name }, "spec": spec })
        };
        let (unclassed, named) = (claim("unclassed", &Value::Null), claim("named", &json!("c")));
        apply(&client, &unclassed).await;
        apply(&client, &named).await;
        until(&client, &named, "/status/phase", json!("Bound")).await;
        let waiting = until(&client, &unclassed, "/spec/storageClassName", json!("b")).await;
        assert_eq!(waiting["status"]["phase"], "Pending");
    });
}
