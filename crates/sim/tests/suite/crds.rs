//! `CustomResourceDefinition`s, from coming to going, and their objects.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::{apply, crd, custom, established, object, refusal, until, wait};

const POST: PostParams = PostParams { dry_run: false, field_manager: None };

fn open() -> Value {
    json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

fn thing(resource: &ApiResource, name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": resource.api_version, "kind": resource.kind, "metadata": { "name": name }, "spec": spec })
}

pub(crate) async fn established_then_served(client: Client, namespace: &str) {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let crd = crd(namespace, "Thing", &open());
    let name = format!("things.{namespace}.test");
    let (_, resource) = {
        let created = apply(&crds, &name, "one", &crd).await.unwrap();
        assert!(!established(Some(&created)));
        let resource = ApiResource {
            group: format!("{namespace}.test"),
            version: "v1".to_owned(),
            api_version: format!("{namespace}.test/v1"),
            kind: "Thing".to_owned(),
            plural: "things".to_owned(),
        };
        (created, resource)
    };
    let found = until(&crds, &name, established).await.unwrap();
    let status = found.status.unwrap();
    assert_eq!(status.accepted_names.unwrap().kind, "Thing");
    assert_eq!(status.stored_versions.unwrap(), ["v1"]);
    let conditions = status.conditions.unwrap();
    assert!(conditions.iter().any(|it| it.type_ == "NamesAccepted" && it.status == "True"));
    // Discovery shows the kind at last: a real server needs a moment, and so does the simulated one.
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let path = format!("/apis/{}", resource.api_version);
    for turn in 0.. {
        let request = http::Request::get(&path).body(Vec::new()).unwrap();
        if client.request::<Value>(request).await.is_ok_and(|it| it["resources"][0]["name"] == "things") {
            break;
        }
        assert!(turn < 5000, "discovery never shows the kind");
    }
    // Its storage comes a moment later on a real server.
    for turn in 0.. {
        match api.list(&ListParams::default()).await {
            Ok(list) => return assert!(list.items.is_empty()),
            Err(error) => assert!(turn < 5000, "the kind is never served: {error}"),
        }
    }
}

pub(crate) async fn custom_resources(client: Client, namespace: &str) {
    let (api, resource) = custom(&client, namespace, &crd(namespace, "Thing", &open())).await;
    let made = api.create(&POST, &object(thing(&resource, "a", &json!({ "size": 1 })))).await.unwrap();
    assert_eq!(made.metadata.generation, Some(1));
    let patch = Patch::Merge(json!({ "spec": { "size": 2 } }));
    let made = api.patch("a", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(made.metadata.generation, Some(2));
    let list = api.list(&ListParams::default()).await.unwrap();
    assert_eq!(list.items[0].types.as_ref().unwrap().kind, "Thing");
    assert_eq!(list.types.kind, "ThingList");
    let status = refusal(api.get("b").await);
    assert_eq!(status.message, format!(r#"things.{namespace}.test "b" not found"#));
    api.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(api.get_opt("a").await.unwrap().is_none());
}

pub(crate) async fn custom_lists_merge_as_the_schema_says(client: Client, namespace: &str) {
    let item = json!({ "type": "object", "properties": { "name": { "type": "string" }, "size": { "type": "integer" } } });
    let mut keyed = item.clone();
    keyed["required"] = json!(["name"]);
    let schema = json!({ "type": "object", "properties": {
        "atomic": { "type": "array", "items": item },
        "keyed": {
            "type": "array", "items": keyed,
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        },
        "set": { "type": "array", "items": { "type": "string" }, "x-kubernetes-list-type": "set" },
        "whole": { "type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": { "type": "string" } },
    } });
    let (api, resource) = custom(&client, namespace, &crd(namespace, "Thing", &schema)).await;
    let one = json!({ "keyed": [{ "name": "a", "size": 1 }], "set": ["x"], "atomic": [{ "name": "a" }], "whole": { "a": "1" } });
    apply(&api, "a", "one", &thing(&resource, "a", &one)).await.unwrap();
    let two = json!({ "keyed": [{ "name": "b", "size": 2 }], "set": ["y"] });
    let found = apply(&api, "a", "two", &thing(&resource, "a", &two)).await.unwrap();
    let wanted = json!([{ "name": "a", "size": 1 }, { "name": "b", "size": 2 }]);
    assert_eq!(found.data["spec"]["keyed"], wanted);
    assert_eq!(found.data["spec"]["set"], json!(["x", "y"]));
    let two = json!({ "atomic": [{ "name": "b" }] });
    let status = refusal(apply(&api, "a", "three", &thing(&resource, "a", &two)).await);
    assert_eq!(status.message, r#"Apply failed with 1 conflict: conflict with "one": .spec.atomic"#);
    let two = json!({ "whole": { "b": "1" } });
    let status = refusal(apply(&api, "a", "three", &thing(&resource, "a", &two)).await);
    assert_eq!(status.message, r#"Apply failed with 1 conflict: conflict with "one": .spec.whole"#);
    let two = json!({ "keyed": [{ "name": "a", "size": 3 }] });
    let status = refusal(apply(&api, "a", "three", &thing(&resource, "a", &two)).await);
    assert_eq!(
        status.message,
        r#"Apply failed with 1 conflict: conflict with "one": .spec.keyed[name="a"].size"#
    );
}

pub(crate) async fn custom_status(client: Client, namespace: &str) {
    let (api, resource) = custom(&client, namespace, &crd(namespace, "Thing", &open())).await;
    let mut sent = thing(&resource, "a", &json!({ "size": 1 }));
    sent["status"] = json!({ "ready": true });
    let made = api.create(&POST, &object(sent)).await.unwrap();
    assert_eq!(made.data.get("status"), None);
    let patch = Patch::Merge(json!({ "spec": { "size": 2 }, "status": { "ready": true } }));
    let made = api.patch_status("a", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(made.data["status"], json!({ "ready": true }));
    assert_eq!(made.data["spec"], json!({ "size": 1 }));
    assert_eq!(made.metadata.generation, Some(1));
}

pub(crate) async fn versions_of_one_kind(client: Client, namespace: &str) {
    let mut crd = crd(namespace, "Thing", &open());
    let mut old = crd["spec"]["versions"][0].clone();
    old["name"] = json!("v1beta1");
    old["storage"] = json!(false);
    crd["spec"]["versions"].as_array_mut().unwrap().push(old);
    let (api, resource) = custom(&client, namespace, &crd).await;
    api.create(&POST, &object(thing(&resource, "a", &json!({ "size": 1 })))).await.unwrap();
    let beta = ApiResource {
        version: "v1beta1".to_owned(),
        api_version: format!("{namespace}.test/v1beta1"),
        ..resource.clone()
    };
    let beta: Api<DynamicObject> = Api::namespaced_with(client, namespace, &beta);
    let found = beta.get("a").await.unwrap();
    assert_eq!(found.types.unwrap().api_version, format!("{namespace}.test/v1beta1"));
    assert_eq!(found.data["spec"], json!({ "size": 1 }));
}

pub(crate) async fn deleting_a_crd_deletes_its_objects(client: Client, namespace: &str) {
    let (api, resource) = custom(&client, namespace, &crd(namespace, "Thing", &open())).await;
    let mut held = thing(&resource, "a", &json!({}));
    held["metadata"]["finalizers"] = json!(["test/hold"]);
    api.create(&POST, &object(held)).await.unwrap();
    api.create(&POST, &object(thing(&resource, "b", &json!({})))).await.unwrap();
    let crds: Api<CustomResourceDefinition> = Api::all(client);
    let name = format!("things.{namespace}.test");
    let going = crds.delete(&name, &DeleteParams::default()).await.unwrap().left().expect("the CRD waits");
    assert_eq!(going.finalizers(), ["customresourcecleanup.apiextensions.k8s.io"]);
    wait(&api, "b", |thing| thing.is_none()).await;
    wait(&api, "a", |thing| thing.is_some_and(|it| it.metadata.deletion_timestamp.is_some())).await;
    let patch = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    api.patch("a", &PatchParams::default(), &patch).await.unwrap();
    until(&crds, &name, |crd| crd.is_none()).await;
    assert_eq!(refusal(api.list(&ListParams::default()).await).code, 404);
}

pub(crate) async fn unknown_kinds(client: Client, namespace: &str) {
    let resource = ApiResource {
        group: "nobody.test".to_owned(),
        version: "v1".to_owned(),
        api_version: "nobody.test/v1".to_owned(),
        kind: "Thing".to_owned(),
        plural: "things".to_owned(),
    };
    let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &resource);
    let status = refusal(apply(&api, "a", "one", &thing(&resource, "a", &json!({}))).await);
    assert_eq!((status.code, status.message.as_str()), (404, "404 page not found"));
}
