//! Deletion: finalizers, preconditions, owners, namespaces.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::{causes, config_map, object, refusal, until};

const POST: PostParams = PostParams { dry_run: false, field_manager: None };

async fn unhold(api: &Api<ConfigMap>, name: &str) -> ConfigMap {
    let patch = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    api.patch(name, &PatchParams::default(), &patch).await.unwrap()
}

fn held(name: &str) -> ConfigMap {
    object(json!({ "metadata": { "name": name, "finalizers": ["test/hold"] } }))
}

fn owned(name: &str, owner: &ConfigMap, block: bool) -> Value {
    json!({ "metadata": { "name": name, "ownerReferences": [{
        "apiVersion": "v1", "kind": "ConfigMap", "name": owner.name_any(), "uid": owner.uid(),
        "blockOwnerDeletion": block,
    }] } })
}

pub(crate) async fn finalizers_hold(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    api.create(&POST, &held("a")).await.unwrap();
    let going = api.delete("a", &DeleteParams::default()).await.unwrap().left().expect("the object waits");
    assert!(going.metadata.deletion_timestamp.is_some());
    assert_eq!(going.metadata.deletion_grace_period_seconds, Some(0));
    let again = api.delete("a", &DeleteParams::default()).await.unwrap().left().expect("it still waits");
    assert_eq!(again.metadata.deletion_timestamp, going.metadata.deletion_timestamp);
    unhold(&api, "a").await;
    assert_eq!(api.get_opt("a").await.unwrap(), None);
}

pub(crate) async fn preconditions(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let map = api.create(&POST, &config_map("a", "one")).await.unwrap();
    let with = |uid: Option<String>, resource_version: Option<String>| DeleteParams {
        preconditions: Some(Preconditions { uid, resource_version }),
        ..DeleteParams::default()
    };
    let status = refusal(api.delete("a", &with(Some("other".to_owned()), None)).await);
    assert!(status.is_conflict());
    let uid = map.uid().unwrap();
    assert_eq!(
        status.message,
        format!(
            "Operation cannot be fulfilled on ConfigMap \"a\": the UID in the precondition (other) does not match the \
             UID in record ({uid}). The object might have been deleted and then recreated"
        )
    );
    assert!(refusal(api.delete("a", &with(None, Some("1".to_owned()))).await).is_conflict());
    api.delete("a", &with(Some(uid), map.resource_version())).await.unwrap();
    assert_eq!(api.get_opt("a").await.unwrap(), None);
}

pub(crate) async fn collections(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    for (name, tier) in [("a", "x"), ("b", "y"), ("c", "x")] {
        let map: ConfigMap = object(json!({ "metadata": { "name": name, "labels": { "tier": tier } } }));
        api.create(&POST, &map).await.unwrap();
    }
    api.delete_collection(&DeleteParams::default(), &ListParams::default().labels("tier=x")).await.unwrap();
    let left = api.list(&ListParams::default().labels("tier")).await.unwrap();
    assert_eq!(left.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["b"]);
}

pub(crate) async fn owned_objects_go_with_their_owner(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let owner = api.create(&POST, &config_map("owner", "one")).await.unwrap();
    let child = api.create(&POST, &object(owned("child", &owner, false))).await.unwrap();
    api.create(&POST, &object(owned("grandchild", &child, false))).await.unwrap();
    let other = api.create(&POST, &config_map("other", "one")).await.unwrap();
    let mut both = owned("both", &owner, false);
    let second = owned("both", &other, false)["metadata"]["ownerReferences"][0].clone();
    both["metadata"]["ownerReferences"].as_array_mut().unwrap().push(second);
    api.create(&POST, &object(both)).await.unwrap();
    api.delete("owner", &DeleteParams::background()).await.unwrap();
    until(&api, "child", |map| map.is_none()).await;
    until(&api, "grandchild", |map| map.is_none()).await;
    until(&api, "both", |map| map.is_some_and(|map| map.owner_references().len() == 1)).await;
}

pub(crate) async fn orphans_stay(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let owner = api.create(&POST, &config_map("owner", "one")).await.unwrap();
    api.create(&POST, &object(owned("child", &owner, false))).await.unwrap();
    api.delete("owner", &DeleteParams::orphan()).await.unwrap();
    until(&api, "owner", |map| map.is_none()).await;
    until(&api, "child", |map| map.is_some_and(|map| map.owner_references().is_empty())).await;
}

pub(crate) async fn foreground_deletion_waits(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let owner = api.create(&POST, &config_map("owner", "one")).await.unwrap();
    let mut child: ConfigMap = object(owned("child", &owner, true));
    child.metadata.finalizers = Some(vec!["test/hold".to_owned()]);
    api.create(&POST, &child).await.unwrap();
    let going =
        api.delete("owner", &DeleteParams::foreground()).await.unwrap().left().expect("the owner waits");
    assert_eq!(going.finalizers(), ["foregroundDeletion"]);
    until(&api, "child", |map| map.is_some_and(|map| map.metadata.deletion_timestamp.is_some())).await;
    assert!(api.get_opt("owner").await.unwrap().is_some());
    unhold(&api, "child").await;
    until(&api, "owner", |map| map.is_none()).await;
    assert_eq!(api.get_opt("child").await.unwrap(), None);
}

pub(crate) async fn namespaces_go_with_their_contents(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    api.create(&POST, &config_map("a", "one")).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(client);
    let going =
        namespaces.delete(namespace, &DeleteParams::default()).await.unwrap().left().expect("it waits");
    assert_eq!(going.status.unwrap().phase.as_deref(), Some("Terminating"));
    until(&namespaces, namespace, |namespace| namespace.is_none()).await;
    assert!(api.list(&ListParams::default()).await.unwrap().items.is_empty());
}

pub(crate) async fn namespaces_wait_for_finalizers(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    api.create(&POST, &held("a")).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(client);
    namespaces.delete(namespace, &DeleteParams::default()).await.unwrap();
    let found = until(&namespaces, namespace, |namespace| {
        let status = namespace.and_then(|namespace| namespace.status.as_ref());
        let mut conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
        conditions.any(|it| it.type_ == "NamespaceFinalizersRemaining" && it.status == "True")
    });
    assert!(found.await.is_some());
    unhold(&api, "a").await;
    until(&namespaces, namespace, |namespace| namespace.is_none()).await;
}

pub(crate) async fn nothing_new_in_a_terminating_namespace(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    api.create(&POST, &held("a")).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(client);
    namespaces.delete(namespace, &DeleteParams::default()).await.unwrap();
    let status = refusal(api.create(&POST, &config_map("b", "one")).await);
    assert_eq!((status.code, status.reason.as_str()), (403, "Forbidden"));
    assert_eq!(
        status.message,
        format!(
            "configmaps \"b\" is forbidden: unable to create new content in namespace {namespace} because it is being \
             terminated"
        )
    );
    let found = causes(&status);
    assert_eq!(found[0].0, "NamespaceTerminating");
    assert_eq!(
        (found[0].1.as_str(), found[0].2.clone()),
        ("metadata.namespace", format!("namespace {namespace} is being terminated"))
    );
    unhold(&api, "a").await;
}
