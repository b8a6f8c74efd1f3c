//! Creating, reading, changing objects; what the server checks and fills in.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use super::{causes, config_map, deployment, object, refusal, value};

const POST: PostParams = PostParams { dry_run: false, field_manager: None };

pub(crate) async fn create_get_list_update_delete(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let created = api.create(&POST, &config_map("a", "one")).await.unwrap();
    assert!(created.uid().is_some_and(|uid| uid.len() == 36));
    assert!(created.creation_timestamp().is_some());
    assert_eq!(created.metadata.generation, None);
    let got = api.get("a").await.unwrap();
    assert_eq!(got, created);
    let list = api.list(&ListParams::default()).await.unwrap();
    assert_eq!(list.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["a", "kube-root-ca.crt"]);
    assert_eq!(value(&list)["kind"], "ConfigMapList");
    let mut changed = got;
    changed.data = config_map("a", "two").data;
    let updated = api.replace("a", &POST, &changed).await.unwrap();
    assert_eq!(updated.uid(), created.uid());
    assert_ne!(updated.resource_version(), created.resource_version());
    let deleted = api.delete("a", &DeleteParams::default()).await.unwrap();
    let status = deleted.right().expect("a status, as nothing is left");
    assert!(status.is_success());
    assert_eq!(status.details.unwrap().uid, created.uid().unwrap());
    assert_eq!(api.get_opt("a").await.unwrap(), None);
}

pub(crate) async fn generated_names(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let map: ConfigMap = object(json!({ "metadata": { "generateName": "made-" } }));
    let one = api.create(&POST, &map).await.unwrap().name_any();
    let two = api.create(&POST, &map).await.unwrap().name_any();
    assert!(one.starts_with("made-") && one.len() == 10, "{one}");
    assert_ne!(one, two);
}

pub(crate) async fn creating_twice_is_a_conflict(client: Client, namespace: &str) {
    let api: Api<Deployment> = Api::namespaced(client, namespace);
    api.create(&POST, &object(deployment("a"))).await.unwrap();
    let status = refusal(api.create(&POST, &object(deployment("a"))).await);
    assert_eq!((status.code, status.reason.as_str()), (409, "AlreadyExists"));
    assert_eq!(status.message, r#"deployments.apps "a" already exists"#);
    let details = status.details.unwrap();
    assert_eq!(
        (details.name.as_str(), details.group.as_str(), details.kind.as_str()),
        ("a", "apps", "deployments")
    );
}

pub(crate) async fn an_object_that_is_not_there(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let status = refusal(api.get("a").await);
    assert_eq!((status.code, status.reason.as_str()), (404, "NotFound"));
    assert_eq!(status.message, r#"configmaps "a" not found"#);
    let details = status.details.unwrap();
    assert_eq!(
        (details.name.as_str(), details.group.as_str(), details.kind.as_str()),
        ("a", "", "configmaps")
    );
    assert_eq!(refusal(api.delete("a", &DeleteParams::default()).await).code, 404);
    assert_eq!(refusal(api.replace("a", &POST, &config_map("a", "one")).await).code, 404);
    let patch = Patch::Merge(json!({ "data": {} }));
    assert_eq!(refusal(api.patch("a", &PatchParams::default(), &patch).await).code, 404);
}

pub(crate) async fn a_namespace_that_is_not_there(client: Client, _: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, "nowhere");
    let status = refusal(api.create(&POST, &config_map("a", "one")).await);
    assert_eq!((status.code, status.reason.as_str()), (404, "NotFound"));
    assert_eq!(status.message, r#"namespaces "nowhere" not found"#);
    let status =
        refusal(super::apply(&api, "a", "one", &json!({ "apiVersion": "v1", "kind": "ConfigMap" })).await);
    assert_eq!(status.message, r#"namespaces "nowhere" not found"#);
    assert!(api.list(&ListParams::default()).await.unwrap().items.is_empty());
}

pub(crate) async fn names_are_checked(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let status = refusal(api.create(&POST, &config_map("A_b", "one")).await);
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    let found = causes(&status);
    assert_eq!((found[0].0.as_str(), found[0].1.as_str()), ("FieldValueInvalid", "metadata.name"));
    let start = r#"ConfigMap "A_b" is invalid: metadata.name: Invalid value: "A_b": a lowercase RFC 1123 subdomain must"#;
    assert!(status.message.starts_with(start), "{}", status.message);
    let status = refusal(api.create(&POST, &object(json!({}))).await);
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    assert_eq!(
        status.message,
        r#"ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required"#
    );
}

pub(crate) async fn stale_updates_are_refused(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let mut map = api.create(&POST, &config_map("a", "one")).await.unwrap();
    map.data = config_map("a", "two").data;
    let newer = api.replace("a", &POST, &map).await.unwrap();
    map.data = config_map("a", "three").data;
    let status = refusal(api.replace("a", &POST, &map).await);
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    assert_eq!(
        status.message,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to \
         the latest version and try again"
    );
    map.metadata.resource_version = None;
    api.replace("a", &POST, &map).await.unwrap();
    let patch =
        json!({ "metadata": { "resourceVersion": newer.resource_version() }, "data": { "entry": "four" } });
    assert!(refusal(api.patch("a", &PatchParams::default(), &Patch::Merge(patch)).await).is_conflict());
    map.metadata.uid = Some("00000000-0000-0000-0000-000000000000".to_owned());
    let status = refusal(api.replace("a", &POST, &map).await);
    assert!(
        status.is_conflict() && status.message.contains("Precondition failed: UID in precondition"),
        "{status:?}"
    );
}

pub(crate) async fn writes_without_change_keep_the_version(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let map = api.create(&POST, &config_map("a", "one")).await.unwrap();
    let same = api.replace("a", &POST, &map).await.unwrap();
    assert_eq!(same, map);
    let patch = Patch::Merge(json!({ "data": { "entry": "one" } }));
    let same = api.patch("a", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(same, map);
}

pub(crate) async fn merge_patches(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    api.create(&POST, &config_map("a", "one")).await.unwrap();
    let patch = json!({ "metadata": { "labels": { "x": "y" } }, "data": { "entry": null, "other": "two" } });
    let map = api.patch("a", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    assert_eq!(value(&map.data), json!({ "other": "two" }));
    assert_eq!(value(map.labels()), json!({ "x": "y" }));
}

pub(crate) async fn status_is_a_world_of_its_own(client: Client, namespace: &str) {
    let api: Api<Deployment> = Api::namespaced(client, namespace);
    let mut sent = deployment("a");
    // Paused, and without replicas, so that no controller has a say.
    sent["spec"]["paused"] = json!(true);
    sent["spec"]["replicas"] = json!(0);
    sent["status"] = json!({ "replicas": 7 });
    let created = api.create(&POST, &object(sent)).await.unwrap();
    assert_eq!(created.status.unwrap_or_default().replicas, None);
    let patch = json!({ "metadata": { "resourceVersion": null }, "spec": { "replicas": 3 }, "status": { "collisionCount": 7 } });
    let patched = api.patch_status("a", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    assert_eq!(patched.spec.as_ref().unwrap().replicas, Some(0));
    assert_eq!(patched.status.as_ref().unwrap().collision_count, Some(7));
    assert_eq!(patched.metadata.generation, Some(1));
    let patch = json!({ "spec": { "minReadySeconds": 1 }, "status": { "collisionCount": 9 } });
    let patched = api.patch("a", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    assert_eq!(patched.status.as_ref().unwrap().collision_count, Some(7));
    assert_eq!(api.get_status("a").await.unwrap().status.unwrap().collision_count, Some(7));
}

pub(crate) async fn generations_count_changes_of_the_spec(client: Client, namespace: &str) {
    let api: Api<Deployment> = Api::namespaced(client, namespace);
    let created = api.create(&POST, &object(deployment("a"))).await.unwrap();
    assert_eq!(created.metadata.generation, Some(1));
    let patch = Patch::Merge(json!({ "metadata": { "labels": { "x": "y" } } }));
    let labelled = api.patch("a", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(labelled.metadata.generation, Some(1));
    let patch = Patch::Merge(json!({ "spec": { "replicas": 2 } }));
    let scaled = api.patch("a", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(scaled.metadata.generation, Some(2));
}

pub(crate) async fn dry_runs_keep_nothing(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let dry = PostParams { dry_run: true, field_manager: None };
    let created = api.create(&dry, &config_map("a", "one")).await.unwrap();
    assert!(created.uid().is_some());
    assert_eq!(created.resource_version(), None);
    assert_eq!(api.get_opt("a").await.unwrap(), None);
    let map = api.create(&POST, &config_map("a", "one")).await.unwrap();
    let patch = Patch::Merge(json!({ "data": { "entry": "two" } }));
    let patched =
        api.patch("a", &PatchParams { dry_run: true, ..PatchParams::default() }, &patch).await.unwrap();
    assert_eq!(patched.data.as_ref().unwrap()["entry"], "two");
    assert_eq!(patched.resource_version(), map.resource_version());
    api.delete("a", &DeleteParams { dry_run: true, ..DeleteParams::default() }).await.unwrap();
    assert_eq!(api.get("a").await.unwrap(), map);
    let mut stale = map;
    stale.metadata.resource_version = Some("1".to_owned());
    assert!(refusal(api.replace("a", &dry, &stale).await).is_conflict());
}

pub(crate) async fn selectors(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    for (name, tier) in [("a", "front"), ("b", "back"), ("c", "back")] {
        let map: ConfigMap =
            object(json!({ "metadata": { "name": name, "labels": { "tier": tier, name: "" } } }));
        api.create(&POST, &map).await.unwrap();
    }
    for (labels, wanted) in [
        ("tier=back", "b c"),
        ("tier!=back,tier", "a"),
        ("tier in (back,middle),!c", "b"),
        ("tier notin (back)", "a kube-root-ca.crt"),
        ("b", "b"),
    ] {
        let list = api.list(&ListParams::default().labels(labels)).await.unwrap();
        let found = list.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>().join(" ");
        assert_eq!(found, wanted, "{labels}");
    }
    let list = api.list(&ListParams::default().fields("metadata.name=c")).await.unwrap();
    assert_eq!(list.items.len(), 1);
    let status = refusal(api.list(&ListParams::default().fields("data.x=c")).await);
    assert_eq!((status.code, status.reason.as_str()), (400, "BadRequest"));
    assert!(status.message.contains("\"data.x\" is not a known field selector"), "{}", status.message);
}

pub(crate) async fn pages(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    for name in ["a", "b", "c", "d"] {
        api.create(&POST, &config_map(name, "one")).await.unwrap();
    }
    let mut names = Vec::new();
    let mut params = ListParams::default().limit(2);
    let mut versions = Vec::new();
    let mut remaining = Vec::new();
    loop {
        let page = api.list(&params).await.unwrap();
        names.push(page.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>().join(" "));
        versions.push(page.metadata.resource_version.clone());
        remaining.push(page.metadata.remaining_item_count);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => break,
        }
    }
    assert_eq!(names, ["a b", "c d", "kube-root-ca.crt"]);
    assert_eq!(remaining, [Some(3), Some(1), None]);
    versions.dedup();
    assert_eq!(versions.len(), 1);
}

pub(crate) async fn immutable_config_maps(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let mut map = config_map("a", "one");
    map.immutable = Some(true);
    api.create(&POST, &map).await.unwrap();
    let patch = Patch::Merge(json!({ "data": { "entry": "two" } }));
    let status = refusal(api.patch("a", &PatchParams::default(), &patch).await);
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    assert_eq!(
        status.message,
        r#"ConfigMap "a" is invalid: data: Forbidden: field is immutable when `immutable` is set"#
    );
    let details = status.details.as_ref().unwrap();
    assert_eq!((details.name.as_str(), details.kind.as_str()), ("a", "ConfigMap"));
    let wanted = ("FieldValueForbidden", "data", "Forbidden: field is immutable when `immutable` is set");
    assert_eq!(causes(&status), [(wanted.0.to_owned(), wanted.1.to_owned(), wanted.2.to_owned())]);
}

pub(crate) async fn immutable_selectors(client: Client, namespace: &str) {
    let api: Api<Deployment> = Api::namespaced(client, namespace);
    api.create(&POST, &object(deployment("a"))).await.unwrap();
    let patch = json!({ "spec": {
        "selector": { "matchLabels": { "app": "b" } }, "template": { "metadata": { "labels": { "app": "b" } } },
    } });
    let status = refusal(api.patch("a", &PatchParams::default(), &Patch::Merge(patch)).await);
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    assert_eq!(
        status.message,
        r#"Deployment.apps "a" is invalid: spec.selector: Invalid value: {"matchLabels":{"app":"b"}}: field is immutable"#
    );
    assert_eq!(causes(&status)[0].1, "spec.selector");
    let details = status.details.unwrap();
    assert_eq!((details.group.as_str(), details.kind.as_str()), ("apps", "Deployment"));
}

pub(crate) async fn immutable_jobs(client: Client, namespace: &str) {
    let api: Api<Job> = Api::namespaced(client, namespace);
    let job = json!({ "metadata": { "name": "a" }, "spec": { "template": { "spec": {
        "restartPolicy": "Never", "containers": [{ "name": "main", "image": "registry.test/main:1" }],
    } } } });
    let created = api.create(&POST, &object(job)).await.unwrap();
    let spec = created.spec.unwrap();
    assert_eq!((spec.completions, spec.parallelism, spec.backoff_limit), (Some(1), Some(1), Some(6)));
    let patch = json!({ "spec": { "template": { "spec": { "restartPolicy": "OnFailure" } } } });
    let status = refusal(api.patch("a", &PatchParams::default(), &Patch::Merge(patch)).await);
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    assert_eq!(causes(&status)[0].1, "spec.template");
    assert!(status.message.ends_with(": field is immutable"), "{}", status.message);
}

pub(crate) async fn services_keep_their_address(client: Client, namespace: &str) {
    let api: Api<Service> = Api::namespaced(client, namespace);
    let service = json!({ "metadata": { "name": "a" }, "spec": { "ports": [{ "port": 80 }] } });
    let created = api.create(&POST, &object(service.clone())).await.unwrap();
    let address = created.spec.as_ref().unwrap().cluster_ip.clone();
    assert!(address.is_some());
    // A replacement without an address keeps it.
    let mut again: Service = object(service);
    again.metadata.resource_version = created.resource_version();
    let replaced = api.replace("a", &POST, &again).await.unwrap();
    assert_eq!(replaced.spec.unwrap().cluster_ip, address);
    let patch = json!({ "spec": { "clusterIP": "10.96.77.77", "clusterIPs": ["10.96.77.77"] } });
    let status = refusal(api.patch("a", &PatchParams::default(), &Patch::Merge(patch)).await);
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    assert_eq!(causes(&status)[0].1, "spec.clusterIPs[0]");
}

pub(crate) async fn deployments_come_back_with_defaults(client: Client, namespace: &str) {
    let api: Api<Deployment> = Api::namespaced(client, namespace);
    let mut sent = deployment("a");
    sent["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([{ "containerPort": 80 }]);
    let created = api.create(&POST, &object(sent)).await.unwrap();
    let spec = value(&created.spec);
    assert_eq!(
        spec,
        json!({
            "replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": "25%", "maxSurge": "25%" } },
            "selector": { "matchLabels": { "app": "a" } },
            "template": {
                "metadata": { "labels": { "app": "a" } },
                "spec": {
                    "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "terminationGracePeriodSeconds": 30,
                    "schedulerName": "default-scheduler", "securityContext": {},
                    "containers": [{
                        "name": "main", "image": "registry.test/main:1", "imagePullPolicy": "IfNotPresent",
                        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                        "resources": {}, "ports": [{ "containerPort": 80, "protocol": "TCP" }],
                    }],
                },
            },
        })
    );
}

pub(crate) async fn services_come_back_with_defaults(client: Client, namespace: &str) {
    let api: Api<Service> = Api::namespaced(client, namespace);
    let service = json!({ "metadata": { "name": "a" }, "spec": { "selector": { "app": "a" }, "ports": [{ "port": 80 }] } });
    let created = api.create(&POST, &object(service)).await.unwrap();
    let mut spec = value(&created.spec);
    let address = spec["clusterIP"].take();
    assert!(address.as_str().is_some_and(|address| address.starts_with("10.")), "{address}");
    assert_eq!(spec["clusterIPs"], json!([address]));
    spec["clusterIPs"].take();
    assert_eq!(
        spec,
        json!({
            "type": "ClusterIP", "sessionAffinity": "None", "selector": { "app": "a" }, "clusterIP": null,
            "clusterIPs": null, "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster", "ports": [{ "port": 80, "protocol": "TCP", "targetPort": 80 }],
        })
    );
    assert_eq!(value(&created.status), json!({ "loadBalancer": {} }));
}

pub(crate) async fn secrets_come_back_encoded(client: Client, namespace: &str) {
    let api: Api<Secret> = Api::namespaced(client, namespace);
    let secret = json!({ "metadata": { "name": "a" }, "stringData": { "password": "hunter2" } });
    let created = api.create(&POST, &object(secret)).await.unwrap();
    assert_eq!(created.type_.as_deref(), Some("Opaque"));
    assert_eq!(created.string_data, None);
    assert_eq!(value(&created.data), json!({ "password": "aHVudGVyMg==" }));
    let patch = Patch::Merge(json!({ "type": "other" }));
    let status = refusal(api.patch("a", &PatchParams::default(), &patch).await);
    assert_eq!(status.message, r#"Secret "a" is invalid: type: Invalid value: "other": field is immutable"#);
}

pub(crate) async fn namespaces_are_furnished(client: Client, namespace: &str) {
    let api: Api<Namespace> = Api::all(client);
    let found = api.get(namespace).await.unwrap();
    assert_eq!(found.labels()["kubernetes.io/metadata.name"], namespace);
    assert_eq!(value(&found.spec), json!({ "finalizers": ["kubernetes"] }));
    assert_eq!(value(&found.status), json!({ "phase": "Active" }));
    for name in ["default", "kube-system", "kube-public"] {
        api.get(name).await.unwrap();
    }
}

pub(crate) async fn leases_with_a_stale_version(client: Client, namespace: &str) {
    let api: Api<Lease> = Api::namespaced(client, namespace);
    let lease = json!({ "metadata": { "name": "a" }, "spec": {
        "holderIdentity": "one", "leaseDurationSeconds": 30, "renewTime": "2026-01-01T00:00:00.000000Z",
    } });
    let mut one = api.create(&POST, &object(lease)).await.unwrap();
    let mut two = one.clone();
    two.spec.as_mut().unwrap().holder_identity = Some("two".to_owned());
    api.replace("a", &POST, &two).await.unwrap();
    one.spec.as_mut().unwrap().lease_duration_seconds = Some(60);
    let status = refusal(api.replace("a", &POST, &one).await);
    assert!(status.is_conflict());
    assert!(
        status.message.starts_with(r#"Operation cannot be fulfilled on leases.coordination.k8s.io "a": "#)
    );
}

pub(crate) async fn foreign_versions_and_names_are_refused(client: Client, namespace: &str) {
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let mut map = config_map("a", "one");
    map.metadata.resource_version = Some("1".to_owned());
    let status = refusal(api.create(&POST, &map).await);
    assert_eq!((status.code, status.reason.as_str()), (500, ""));
    assert_eq!(status.message, "resourceVersion should not be set on objects to be created");
    let mut map = config_map("a", "one");
    map.metadata.namespace = Some("elsewhere".to_owned());
    let status = refusal(api.create(&POST, &map).await);
    assert_eq!(status.code, 400);
    assert_eq!(
        status.message,
        "the namespace of the provided object does not match the namespace sent on the request"
    );
    api.create(&POST, &config_map("a", "one")).await.unwrap();
    let status = refusal(api.replace("a", &POST, &config_map("b", "one")).await);
    assert_eq!(status.code, 400);
    assert_eq!(status.message, "the name of the object (b) does not match the name on the URL (a)");
}
