//! Server-side apply: who owns which field, what merges, what conflicts.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::{apply, causes, config_map, deployment, fields, managers, object, refusal, value};

const POST: PostParams = PostParams { dry_run: false, field_manager: None };

fn map(data: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" }, "data": data })
}

fn operation(name: &str, operation: &str, subresource: &str) -> (String, String, String) {
    (name.to_owned(), operation.to_owned(), subresource.to_owned())
}

/// A Deployment that no controller acts on.
fn idle(name: &str) -> Value {
    let mut deployment = deployment(name);
    deployment["spec"]["paused"] = json!(true);
    deployment["spec"]["replicas"] = json!(0);
    deployment
}

pub(crate) async fn applying_creates_then_updates(client: Client, namespace: &str) {
    let path = format!("/api/v1/namespaces/{namespace}/configmaps/a?fieldManager=one");
    let mut codes = Vec::new();
    for entry in ["one", "two"] {
        let body = map(&json!({ "entry": entry })).to_string().into_bytes();
        let request = http::Request::patch(&path).header("content-type", "application/apply-patch+yaml");
        let answer = client.send(request.body(body.into()).unwrap()).await.unwrap();
        codes.push(answer.status().as_u16());
    }
    assert_eq!(codes, [201, 200]);
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let found = api.get("a").await.unwrap();
    assert_eq!(value(&found.data), json!({ "entry": "two" }));
    assert_eq!(managers(&found), [operation("one", "Apply", "")]);
    assert_eq!(fields(&found, "one"), json!({ "f:data": { "f:entry": {} } }));
}

pub(crate) async fn applying_needs_a_manager(client: Client, namespace: &str) {
    let path = format!("/api/v1/namespaces/{namespace}/configmaps/a");
    let request = http::Request::patch(&path).header("content-type", "application/apply-patch+yaml");
    let request = request.body(map(&json!({})).to_string().into_bytes()).unwrap();
    let status = refusal(client.request::<Value>(request).await);
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    assert_eq!(
        status.message,
        r#"PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch"#
    );
}

pub(crate) async fn applying_twice_changes_nothing(client: Client, namespace: &str) {
    let api: Api<Deployment> = Api::namespaced(client, namespace);
    let one = apply(&api, "a", "one", &idle("a")).await.unwrap();
    let two = apply(&api, "a", "one", &idle("a")).await.unwrap();
    assert_eq!(two.metadata.generation, Some(1));
    assert_eq!(fields(&one, "one"), fields(&two, "one"));
    let time =
        |it: &Deployment| value(&it.managed_fields().iter().find(|it| it.manager.as_deref() == Some("one")));
    assert_eq!(time(&one), time(&two));
}

pub(crate) async fn fields_given_up_are_removed(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    apply(&api, "a", "one", &map(&json!({ "x": "1", "y": "2" }))).await.unwrap();
    let found = apply(&api, "a", "one", &map(&json!({ "x": "1" }))).await.unwrap();
    assert_eq!(value(&found.data), json!({ "x": "1" }));
    let mut none = map(&json!({}));
    none["data"].take();
    let found = apply(&api, "a", "one", &none).await.unwrap();
    assert_eq!(found.data, None);
}

pub(crate) async fn fields_of_others_stay(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    apply(&api, "a", "one", &map(&json!({ "x": "1", "shared": "s" }))).await.unwrap();
    apply(&api, "a", "two", &map(&json!({ "y": "2", "shared": "s" }))).await.unwrap();
    let found = apply(&api, "a", "one", &map(&json!({ "x": "1" }))).await.unwrap();
    assert_eq!(value(&found.data), json!({ "x": "1", "y": "2", "shared": "s" }));
    assert_eq!(managers(&found), [operation("one", "Apply", ""), operation("two", "Apply", "")]);
    let found = apply(&api, "a", "two", &map(&json!({ "y": "2" }))).await.unwrap();
    assert_eq!(value(&found.data), json!({ "x": "1", "y": "2" }));
}

pub(crate) async fn conflicts_name_the_manager(client: Client, namespace: &str) {
    let api: Api<Deployment> = Api::namespaced(client, namespace);
    let post = PostParams { field_manager: Some("kubectl".to_owned()), ..POST };
    api.create(&post, &object(idle("a"))).await.unwrap();
    let mut mine = idle("a");
    mine["spec"]["revisionHistoryLimit"] = json!(3);
    let status = refusal(apply(&api, "a", "one", &mine).await);
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    assert_eq!(
        status.message,
        r#"Apply failed with 1 conflict: conflict with "kubectl" using apps/v1: .spec.revisionHistoryLimit"#
    );
    let wanted =
        ("FieldManagerConflict", ".spec.revisionHistoryLimit", r#"conflict with "kubectl" using apps/v1"#);
    assert_eq!(causes(&status), [(wanted.0.to_owned(), wanted.1.to_owned(), wanted.2.to_owned())]);
    let mut mine = idle("a");
    mine["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.test/main:2");
    let status = refusal(apply(&api, "a", "one", &mine).await);
    assert_eq!(causes(&status)[0].1, r#".spec.template.spec.containers[name="main"].image"#);
}

pub(crate) async fn several_conflicts_are_listed(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    apply(&api, "a", "one", &map(&json!({ "x": "1", "y": "2" }))).await.unwrap();
    let status = refusal(apply(&api, "a", "two", &map(&json!({ "x": "3", "y": "4" }))).await);
    assert_eq!(
        status.message,
        "Apply failed with 2 conflicts: conflicts with \"one\":\n- .data.x\n- .data.y"
    );
    assert_eq!(causes(&status).len(), 2);
    assert_eq!(causes(&status)[1].2, r#"conflict with "one""#);
}

pub(crate) async fn force_takes_fields_over(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    apply(&api, "a", "one", &map(&json!({ "x": "1", "y": "2" }))).await.unwrap();
    let patch = Patch::Apply(map(&json!({ "x": "3" })));
    let found = api.patch("a", &PatchParams::apply("two").force(), &patch).await.unwrap();
    assert_eq!(value(&found.data), json!({ "x": "3", "y": "2" }));
    assert_eq!(fields(&found, "one"), json!({ "f:data": { "f:y": {} } }));
    let status = refusal(apply(&api, "a", "one", &map(&json!({ "x": "1", "y": "2" }))).await);
    assert_eq!(status.message, r#"Apply failed with 1 conflict: conflict with "two": .data.x"#);
}

pub(crate) async fn equal_values_are_shared(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    apply(&api, "a", "one", &map(&json!({ "x": "1" }))).await.unwrap();
    let found = apply(&api, "a", "two", &map(&json!({ "x": "1" }))).await.unwrap();
    assert_eq!(fields(&found, "one"), fields(&found, "two"));
}

pub(crate) async fn updates_take_fields_over(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    apply(&api, "a", "one", &map(&json!({ "x": "1", "y": "2", "z": "3" }))).await.unwrap();
    let params = PatchParams { field_manager: Some("hand".to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({ "data": { "x": "9", "z": null, "new": "4" } }));
    let found = api.patch("a", &params, &patch).await.unwrap();
    assert_eq!(managers(&found), [operation("hand", "Update", ""), operation("one", "Apply", "")]);
    assert_eq!(fields(&found, "one"), json!({ "f:data": { "f:y": {} } }));
    assert_eq!(fields(&found, "hand"), json!({ "f:data": { "f:x": {}, "f:new": {} } }));
    let status = refusal(apply(&api, "a", "one", &map(&json!({ "x": "1", "y": "2" }))).await);
    assert_eq!(status.message, r#"Apply failed with 1 conflict: conflict with "hand" using v1: .data.x"#);
}

pub(crate) async fn lists_merge_by_key(client: Client, namespace: &str) {
    let api: Api<Deployment> = Api::namespaced(client, namespace);
    apply(&api, "a", "one", &idle("a")).await.unwrap();
    let sidecar = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "spec": { "template": { "spec": { "containers": [{ "name": "sidecar", "image": "registry.test/side:1" }] } } },
    });
    let found = apply(&api, "a", "two", &sidecar).await.unwrap();
    let names = |it: &Deployment| -> Vec<String> {
        let spec = it.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
        spec.containers.iter().map(|container| container.name.clone()).collect()
    };
    assert_eq!(names(&found), ["main", "sidecar"]);
    let owned = fields(&found, "two");
    let owned = &owned["f:spec"]["f:template"]["f:spec"]["f:containers"];
    assert_eq!(*owned, json!({ r#"k:{"name":"sidecar"}"#: { ".": {}, "f:image": {}, "f:name": {} } }));
    let gone = json!({ "apiVersion": "apps/v1", "kind": "Deployment" });
    let found = apply(&api, "a", "two", &gone).await.unwrap();
    assert_eq!(names(&found), ["main"]);
}

pub(crate) async fn ports_merge_by_port_and_protocol(client: Client, namespace: &str) {
    let api: Api<Service> = Api::namespaced(client, namespace);
    let service = |ports: Value| json!({ "apiVersion": "v1", "kind": "Service", "spec": { "ports": ports } });
    apply(&api, "a", "one", &service(json!([{ "name": "dns", "port": 53 }]))).await.unwrap();
    let both = service(json!([{ "name": "dns-udp", "port": 53, "protocol": "UDP" }]));
    let found = apply(&api, "a", "two", &both).await.unwrap();
    let ports = found.spec.as_ref().unwrap().ports.clone().unwrap();
    assert_eq!(ports.iter().map(|port| port.name.clone().unwrap()).collect::<Vec<_>>(), ["dns", "dns-udp"]);
    let owned = fields(&found, "one");
    let ports = owned["f:spec"]["f:ports"].as_object().unwrap();
    assert_eq!(ports.keys().collect::<Vec<_>>(), [r#"k:{"port":53,"protocol":"TCP"}"#]);
}

pub(crate) async fn defaults_belong_to_nobody(client: Client, namespace: &str) {
    let api: Api<Deployment> = Api::namespaced(client, namespace);
    let found = apply(&api, "a", "one", &idle("a")).await.unwrap();
    let owned = fields(&found, "one");
    assert_eq!(owned["f:spec"]["f:progressDeadlineSeconds"], Value::Null);
    let mut mine = json!({ "apiVersion": "apps/v1", "kind": "Deployment" });
    mine["spec"] = json!({ "progressDeadlineSeconds": 5 });
    let found = apply(&api, "a", "two", &mine).await.unwrap();
    assert_eq!(found.spec.as_ref().unwrap().progress_deadline_seconds, Some(5));
    let none = json!({ "apiVersion": "apps/v1", "kind": "Deployment" });
    let found = apply(&api, "a", "two", &none).await.unwrap();
    assert_eq!(found.spec.as_ref().unwrap().progress_deadline_seconds, Some(600));
}

pub(crate) async fn atomic_lists_are_replaced(client: Client, namespace: &str) {
    let api: Api<Deployment> = Api::namespaced(client, namespace);
    let with = |arguments: Value| {
        let mut deployment = idle("a");
        deployment["spec"]["template"]["spec"]["containers"][0]["args"] = arguments;
        deployment
    };
    apply(&api, "a", "one", &with(json!(["x", "y"]))).await.unwrap();
    let status = refusal(apply(&api, "a", "two", &with(json!(["z"]))).await);
    assert_eq!(causes(&status)[0].1, r#".spec.template.spec.containers[name="main"].args"#);
    let found = apply(&api, "a", "one", &with(json!(["z"]))).await.unwrap();
    let spec = value(&found.spec);
    assert_eq!(spec["template"]["spec"]["containers"][0]["args"], json!(["z"]));
}

pub(crate) async fn selectors_are_atomic(client: Client, namespace: &str) {
    let api: Api<Service> = Api::namespaced(client, namespace);
    let service = |selector: Value| json!({ "apiVersion": "v1", "kind": "Service", "spec": { "selector": selector, "ports": [{ "port": 80 }] } });
    let found = apply(&api, "a", "one", &service(json!({ "x": "1", "y": "2" }))).await.unwrap();
    assert_eq!(fields(&found, "one")["f:spec"]["f:selector"], json!({}));
    let status = refusal(apply(&api, "a", "two", &service(json!({ "x": "1" }))).await);
    assert_eq!(causes(&status)[0].1, ".spec.selector");
}

pub(crate) async fn environment_variables_given_up_are_removed(client: Client, namespace: &str) {
    let api: Api<Deployment> = Api::namespaced(client, namespace);
    let with = |variables: &[&str]| {
        let mut deployment = idle("a");
        let variables: Vec<_> = variables.iter().map(|name| json!({ "name": name, "value": "v" })).collect();
        deployment["spec"]["template"]["spec"]["containers"][0]["env"] = json!(variables);
        deployment
    };
    apply(&api, "a", "one", &with(&["A", "B"])).await.unwrap();
    let found = apply(&api, "a", "one", &with(&["C", "B"])).await.unwrap();
    let spec = value(&found.spec);
    let wanted = json!([{ "name": "C", "value": "v" }, { "name": "B", "value": "v" }]);
    assert_eq!(spec["template"]["spec"]["containers"][0]["env"], wanted);
    assert_eq!(found.metadata.generation, Some(2));
}

pub(crate) async fn applied_status_is_apart(client: Client, namespace: &str) {
    let api: Api<Service> = Api::namespaced(client, namespace);
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "spec": { "ports": [{ "port": 80 }] },
        "status": { "loadBalancer": { "ingress": [{ "ip": "192.0.2.1" }] } },
    });
    let found = apply(&api, "a", "one", &service).await.unwrap();
    assert_eq!(value(&found.status), json!({ "loadBalancer": {} }));
    let status = json!({
        "apiVersion": "v1", "kind": "Service", "status": { "conditions": [
            { "type": "Ready", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" },
        ] },
    });
    let params = PatchParams::apply("two");
    let found = api.patch_status("a", &params, &Patch::Apply(&status)).await.unwrap();
    assert_eq!(managers(&found), [operation("one", "Apply", ""), operation("two", "Apply", "status")]);
    let owned = fields(&found, "two");
    assert_eq!(owned["f:status"]["f:conditions"][r#"k:{"type":"Ready"}"#]["f:status"], json!({}));
}

pub(crate) async fn applied_dry_runs_keep_nothing(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let patch = Patch::Apply(map(&json!({ "x": "1" })));
    let params = PatchParams::apply("one").dry_run();
    let found = api.patch("a", &params, &patch).await.unwrap();
    assert_eq!(value(&found.data), json!({ "x": "1" }));
    assert_eq!(api.get_opt("a").await.unwrap(), None);
    api.create(&POST, &config_map("a", "one")).await.unwrap();
    let found = api.patch("a", &params, &patch).await.unwrap();
    assert_eq!(value(&found.data), json!({ "entry": "one", "x": "1" }));
    assert_eq!(value(&api.get("a").await.unwrap().data), json!({ "entry": "one" }));
}

pub(crate) async fn applied_versions_are_checked(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let found = apply(&api, "a", "one", &map(&json!({ "x": "1" }))).await.unwrap();
    let mut stale = map(&json!({ "x": "2" }));
    stale["metadata"]["resourceVersion"] = json!(found.resource_version());
    apply(&api, "a", "one", &stale).await.unwrap();
    stale["data"]["x"] = json!("3");
    assert!(refusal(apply(&api, "a", "one", &stale).await).is_conflict());
}

pub(crate) async fn finalizers_are_a_set(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let with = |finalizers: Value| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "finalizers": finalizers } });
    apply(&api, "a", "one", &with(json!(["test/one"]))).await.unwrap();
    let found = apply(&api, "a", "two", &with(json!(["test/two"]))).await.unwrap();
    assert_eq!(found.finalizers(), ["test/one", "test/two"]);
    let found = apply(&api, "a", "one", &with(json!([]))).await.unwrap();
    assert_eq!(found.finalizers(), ["test/two"]);
    let patch = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    api.patch("a", &PatchParams::default(), &patch).await.unwrap();
}
