//! Watches: what they see, where they start, how they end.

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use serde_json::json;

use super::{config_map, events, object};

const POST: PostParams = PostParams { dry_run: false, field_manager: None };

fn of_tests() -> WatchParams {
    WatchParams::default().fields("metadata.name!=kube-root-ca.crt")
}

async fn version(api: &Api<ConfigMap>) -> String {
    api.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap()
}

async fn change(api: &Api<ConfigMap>, name: &str, patch: serde_json::Value) {
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

pub(crate) async fn a_watch_sees_what_happens(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let version = version(&api).await;
    let acts = async {
        api.create(&POST, &config_map("a", "one")).await.unwrap();
        change(&api, "a", json!({ "data": { "entry": "two" } })).await;
        change(&api, "a", json!({ "data": { "entry": "two" } })).await;
        api.delete("a", &DeleteParams::default()).await.unwrap();
    };
    let params = of_tests();
    let (seen, ()) = futures::join!(events(&api, &params, &version, 3), acts);
    assert_eq!(seen, [("ADDED", "a".to_owned()), ("MODIFIED", "a".to_owned()), ("DELETED", "a".to_owned())]);
}

pub(crate) async fn a_watch_from_a_version(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    api.create(&POST, &config_map("a", "one")).await.unwrap();
    let version = version(&api).await;
    api.create(&POST, &config_map("b", "one")).await.unwrap();
    let seen = events(&api, &of_tests(), &version, 1).await;
    assert_eq!(seen, [("ADDED", "b".to_owned())]);
    // From `0`, what is there comes first.
    let seen = events(&api, &of_tests(), "0", 2).await;
    let mut names: Vec<_> = seen.into_iter().map(|(seen, name)| format!("{seen} {name}")).collect();
    names.sort();
    assert_eq!(names, ["ADDED a", "ADDED b"]);
}

pub(crate) async fn a_watch_by_label_sees_objects_come_and_go(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let version = version(&api).await;
    let map: ConfigMap = object(json!({ "metadata": { "name": "a", "labels": { "tier": "x" } } }));
    api.create(&POST, &map).await.unwrap();
    change(&api, "a", json!({ "metadata": { "labels": { "tier": "y" } } })).await;
    change(&api, "a", json!({ "metadata": { "labels": { "tier": "x" } } })).await;
    let seen = events(&api, &WatchParams::default().labels("tier=x"), &version, 3).await;
    let seen: Vec<_> = seen.iter().map(|(seen, _)| *seen).collect();
    assert_eq!(seen, ["ADDED", "DELETED", "ADDED"]);
}

pub(crate) async fn a_watch_ends_at_its_timeout(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let version = version(&api).await;
    let params = of_tests().timeout(1).disable_bookmarks();
    let mut stream = Box::pin(api.watch(&params, &version).await.unwrap());
    assert!(stream.try_next().await.unwrap().is_none());
}

pub(crate) async fn an_initial_list_by_watch(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    api.create(&POST, &config_map("a", "one")).await.unwrap();
    let params = of_tests().initial_events();
    let mut stream = Box::pin(api.watch(&params, "").await.unwrap());
    let mut names = Vec::new();
    loop {
        match stream.try_next().await.unwrap().unwrap() {
            WatchEvent::Added(map) => names.push(map.name_any()),
            WatchEvent::Bookmark(bookmark) => {
                assert_eq!(bookmark.metadata.annotations["k8s.io/initial-events-end"], "true");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(names, ["a"]);
}

pub(crate) async fn a_watcher_follows(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    api.create(&POST, &config_map("a", "one")).await.unwrap();
    let config = watcher::Config::default().fields("metadata.name!=kube-root-ca.crt");
    let mut objects = watcher(api.clone(), config).default_backoff().applied_objects().boxed();
    assert_eq!(objects.next().await.unwrap().unwrap().name_any(), "a");
    api.create(&POST, &config_map("b", "one")).await.unwrap();
    assert_eq!(objects.next().await.unwrap().unwrap().name_any(), "b");
}
