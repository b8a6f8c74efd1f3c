//! What a server says of itself.

use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use kube::Client;
use kube::api::{Api, PostParams};
use kube::discovery::{Discovery, Scope, verbs};
use serde_json::{Value, json};

use super::{object, refusal};

pub(crate) async fn version(client: Client, _: &str) {
    let version = client.apiserver_version().await.unwrap();
    assert_eq!(version.major, "1");
    assert!(version.git_version.starts_with("v1."), "{}", version.git_version);
}

fn check(found: &Discovery) {
    let deployments = kube::core::GroupVersionKind::gvk("apps", "v1", "Deployment");
    let (resource, capabilities) = found.resolve_gvk(&deployments).unwrap();
    assert_eq!(resource.plural, "deployments");
    assert_eq!(capabilities.scope, Scope::Namespaced);
    assert!(capabilities.supports_operation(verbs::PATCH));
    let nodes = kube::core::GroupVersionKind::gvk("", "v1", "Node");
    assert_eq!(found.resolve_gvk(&nodes).unwrap().1.scope, Scope::Cluster);
    assert!(found.has_group("apiextensions.k8s.io"));
    assert_eq!(found.get("autoscaling").unwrap().preferred_version(), Some("v2"));
}

pub(crate) async fn aggregated_discovery(client: Client, _: &str) {
    check(&Discovery::new(client).run_aggregated().await.unwrap());
}

pub(crate) async fn plain_discovery(client: Client, _: &str) {
    check(&Discovery::new(client).run().await.unwrap());
}

pub(crate) async fn paths_that_are_not_served(client: Client, namespace: &str) {
    const NO_PAGE: &str = "404 page not found";
    for (path, wanted) in [
        ("/apis/nobody.test/v1/things", NO_PAGE),
        ("/apis/nobody.test/v1", NO_PAGE),
        ("/apis/apps/v1/things", "the server could not find the requested resource"),
        ("/nothing", NO_PAGE),
    ] {
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        let status = refusal(client.request::<Value>(request).await);
        assert_eq!((status.code, status.message.as_str()), (404, wanted), "{path} for {namespace}");
    }
}

pub(crate) async fn access_reviews(client: Client, namespace: &str) {
    let review = json!({ "spec": { "resourceAttributes": {
        "namespace": namespace, "verb": "create", "resource": "configmaps",
    } } });
    let review: SelfSubjectAccessReview = object(review);
    let answer = Api::all(client).create(&PostParams::default(), &review).await.unwrap();
    assert!(answer.status.unwrap().allowed);
}
