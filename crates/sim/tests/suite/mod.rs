//! What a Kubernetes API server does, as tests that take a client and a namespace of their own: the same bodies run
//! on the simulated cluster and on a real control plane. Include with `#[path]`, and run [`every_test`] over a macro.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::core::response::Status;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

pub(crate) mod apply;
pub(crate) mod crds;
pub(crate) mod deletion;
pub(crate) mod discovery;
pub(crate) mod objects;
pub(crate) mod scripts;
pub(crate) mod watches;
pub(crate) mod webhooks;

/// Calls a macro with all modules and tests.
macro_rules! every_test {
    ($run:ident) => {
        $run! {
            objects:
                create_get_list_update_delete
                generated_names
                creating_twice_is_a_conflict
                an_object_that_is_not_there
                a_namespace_that_is_not_there
                names_are_checked
                stale_updates_are_refused
                writes_without_change_keep_the_version
                merge_patches
                status_is_a_world_of_its_own
                generations_count_changes_of_the_spec
                dry_runs_keep_nothing
                selectors
                pages
                immutable_config_maps
                immutable_selectors
                immutable_jobs
                services_keep_their_address
                deployments_come_back_with_defaults
                services_come_back_with_defaults
                secrets_come_back_encoded
                namespaces_are_furnished
                leases_with_a_stale_version
                foreign_versions_and_names_are_refused;
            apply:
                applying_creates_then_updates
                applying_needs_a_manager
                applying_twice_changes_nothing
                fields_given_up_are_removed
                fields_of_others_stay
                conflicts_name_the_manager
                several_conflicts_are_listed
                force_takes_fields_over
                equal_values_are_shared
                updates_take_fields_over
                lists_merge_by_key
                ports_merge_by_port_and_protocol
                defaults_belong_to_nobody
                atomic_lists_are_replaced
                selectors_are_atomic
                environment_variables_given_up_are_removed
                applied_status_is_apart
                applied_dry_runs_keep_nothing
                applied_versions_are_checked
                finalizers_are_a_set;
            crds:
                established_then_served
                custom_resources
                custom_lists_merge_as_the_schema_says
                custom_status
                versions_of_one_kind
                deleting_a_crd_deletes_its_objects
                unknown_kinds;
            deletion:
                finalizers_hold
                preconditions
                collections
                owned_objects_go_with_their_owner
                orphans_stay
                foreground_deletion_waits
                namespaces_go_with_their_contents
                namespaces_wait_for_finalizers
                nothing_new_in_a_terminating_namespace;
            watches:
                a_watch_sees_what_happens
                a_watch_from_a_version
                a_watch_by_label_sees_objects_come_and_go
                a_watch_ends_at_its_timeout
                an_initial_list_by_watch
                a_watcher_follows;
            discovery:
                version
                aggregated_discovery
                plain_discovery
                paths_that_are_not_served
                access_reviews;
        }
    };
}
pub(crate) use every_test;

/// Calls a macro with all topics of scripts.
macro_rules! every_script {
    ($run:ident) => {
        $run! { builtin crd create devices errors immutable lists managers names other quantities security strict webhooks workloads }
    };
}
pub(crate) use every_script;

/// Makes a namespace for a test, named after it.
pub(crate) async fn namespace(client: &Client, test: &str) -> String {
    let name = test.replace('_', "-");
    let object = object(json!({ "metadata": { "name": name } }));
    Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &object).await.unwrap();
    // Whoever comes before the default account is there may find it coming in the middle of a test.
    let accounts = Api::<k8s_openapi::api::core::v1::ServiceAccount>::namespaced(client.clone(), &name);
    until(&accounts, "default", |account| account.is_some()).await;
    let maps = Api::<ConfigMap>::namespaced(client.clone(), &name);
    until(&maps, "kube-root-ca.crt", |map| map.is_some()).await;
    name
}

/// Waits until an object is as wished: by a watch, without sleeping.
pub(crate) async fn until<K>(api: &Api<K>, name: &str, wished: impl Fn(Option<&K>) -> bool) -> Option<K>
where
    K: Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + 'static
        + kube::Resource<DynamicType: Default>,
{
    wait(api, name, wished).await
}

/// Like [`until`], for kinds known at run time, too.
pub(crate) async fn wait<K>(api: &Api<K>, name: &str, wished: impl Fn(Option<&K>) -> bool) -> Option<K>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static + kube::Resource,
{
    let objects = kube::runtime::watcher::watch_object(api.clone(), name);
    let mut objects = Box::pin(objects);
    let found = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let object = objects.next().await.unwrap().unwrap();
            if wished(object.as_ref()) {
                return object;
            }
        }
    });
    found.await.unwrap_or_else(|_| panic!("`{name}` is not as wished after a minute"))
}

/// Makes an object of its JSON.
pub(crate) fn object<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

/// Answers the JSON of an object.
pub(crate) fn value(object: &impl serde::Serialize) -> Value {
    serde_json::to_value(object).unwrap()
}

/// Answers the refusal of a request.
pub(crate) fn refusal<T: std::fmt::Debug>(answer: Result<T, kube::Error>) -> Status {
    match answer {
        Err(kube::Error::Api(status)) => *status,
        other => panic!("no refusal: {other:?}"),
    }
}

/// Answers the causes of a refusal: reason, field, message.
pub(crate) fn causes(status: &Status) -> Vec<(String, String, String)> {
    let causes = status.details.iter().flat_map(|details| details.causes.clone());
    causes.map(|cause| (cause.reason, cause.field, cause.message)).collect()
}

/// Makes a `ConfigMap` with one entry.
pub(crate) fn config_map(name: &str, entry: &str) -> ConfigMap {
    object(json!({ "metadata": { "name": name }, "data": { "entry": entry } }))
}

/// Makes a Deployment.
pub(crate) fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
        "spec": {
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "main", "image": "registry.test/main:1" }] },
            },
        },
    })
}

/// Applies as a manager.
pub(crate) async fn apply<K>(
    api: &Api<K>,
    name: &str,
    manager: &str,
    object: &Value,
) -> Result<K, kube::Error>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let mut object = object.clone();
    object["metadata"]["name"] = json!(name);
    api.patch(name, &PatchParams::apply(manager), &Patch::Apply(object)).await
}

/// Answers the managers of an object: name, operation, subresource.
pub(crate) fn managers(object: &impl ResourceExt) -> Vec<(String, String, String)> {
    let entries = object.managed_fields().iter();
    let mut found: Vec<_> = entries
        .map(|entry| {
            let entry = entry.clone();
            (entry.manager, entry.operation, entry.subresource)
        })
        .map(|(name, operation, sub)| {
            (name.unwrap_or_default(), operation.unwrap_or_default(), sub.unwrap_or_default())
        })
        .collect();
    found.sort();
    found
}

/// Answers the fields that a manager owns, as `fieldsV1` has them.
pub(crate) fn fields(object: &impl ResourceExt, manager: &str) -> Value {
    let mut entries = object.managed_fields().iter();
    let entry =
        entries.find(|entry| entry.manager.as_deref() == Some(manager)).expect("the manager is there");
    entry.fields_v1.clone().unwrap().0
}

/// Makes a CRD of the group `NAMESPACE.test`, so that tests do not meet.
pub(crate) fn crd(namespace: &str, kind: &str, schema: &Value) -> Value {
    let (plural, group) = (format!("{}s", kind.to_lowercase()), format!("{namespace}.test"));
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": { "kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List") },
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "properties": { "spec": schema, "status": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
                } },
            }],
        },
    })
}

/// Makes a kind known by a CRD, waits until it is served, and answers an API for it.
pub(crate) async fn custom(
    client: &Client,
    namespace: &str,
    crd: &Value,
) -> (Api<DynamicObject>, ApiResource) {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    crds.create(&PostParams::default(), &object(crd.clone())).await.unwrap();
    until(&crds, crd["metadata"]["name"].as_str().unwrap(), established).await;
    let text = |path: &str| crd.pointer(path).and_then(Value::as_str).unwrap().to_owned();
    let (group, version) = (text("/spec/group"), text("/spec/versions/0/name"));
    let resource = ApiResource {
        api_version: format!("{group}/{version}"),
        group,
        version,
        kind: text("/spec/names/kind"),
        plural: text("/spec/names/plural"),
    };
    let api = Api::namespaced_with(client.clone(), namespace, &resource);
    // A real server serves requests a moment after it says so.
    for _ in 0..1000 {
        match api.list(&kube::api::ListParams::default()).await {
            Ok(_) => return (api, resource),
            Err(_) => tokio::task::yield_now().await,
        }
    }
    panic!("the kind is not served");
}

/// Tells whether a CRD is established.
pub(crate) fn established(
    crd: Option<
        &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    >,
) -> bool {
    let status = crd.and_then(|crd| crd.status.as_ref());
    let mut conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    conditions.any(|condition| condition.type_ == "Established" && condition.status == "True")
}

/// Reads events of a watch until there are so many, bookmarks not counted: type and name.
pub(crate) async fn events<K>(
    api: &Api<K>,
    params: &WatchParams,
    version: &str,
    count: usize,
) -> Vec<(&'static str, String)>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned + kube::Resource,
{
    let mut stream = Box::pin(api.watch(params, version).await.unwrap());
    let mut seen = Vec::new();
    while seen.len() < count {
        match stream.try_next().await.unwrap() {
            Some(WatchEvent::Added(object)) => seen.push(("ADDED", object.name_any())),
            Some(WatchEvent::Modified(object)) => seen.push(("MODIFIED", object.name_any())),
            Some(WatchEvent::Deleted(object)) => seen.push(("DELETED", object.name_any())),
            Some(WatchEvent::Bookmark(_)) => {}
            Some(WatchEvent::Error(status)) => panic!("{status:?}"),
            None => break,
        }
    }
    seen
}
