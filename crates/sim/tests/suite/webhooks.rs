//! Webhooks that answer: who is asked, and what a refusal looks like. Who answers is given: a server of the test's own
//! for a real API server, the simulated answer for the embedded one.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{apply, config_map, deployment, object, refusal};

/// Where webhooks are answered.
pub(crate) struct Backend {
    /// An address that endpoints may have.
    pub(crate) address: String,
    /// The port there.
    pub(crate) port: u16,
    /// Whom a configuration must trust to get an answer, as `caBundle` has it.
    pub(crate) ca: String,
}

/// What a webhook says to everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It passes.
    Allowed,
    /// It is refused: "not on a Friday".
    Denied,
    /// Nothing: it shows a certificate that nobody trusts.
    Untrusted,
}

/// Starts to answer for a configuration of a namespace's name, whose Service there is `hook`.
pub(crate) trait Answers {
    /// Answers where.
    fn answer(&self, namespace: &str, said: Said) -> Backend;
}

/// Calls a macro with all tests.
macro_rules! every_webhook_test {
    ($run:ident) => {
        $run! {
            what_is_allowed_passes
            what_is_denied_says_why
            dry_runs_are_judged_too
            applying_is_judged_as_what_it_does
            updates_are_judged_where_the_rules_say_so
            deletions_are_judged_where_the_rules_say_so
            labels_select_what_is_judged
            namespaces_select_what_is_judged
            a_subresource_is_judged_by_its_own_name
            a_certificate_that_nobody_trusts_refuses
            a_certificate_that_nobody_trusts_is_ignored_where_the_policy_says_so
        }
    };
}
pub(crate) use every_webhook_test;

/// A rule for `ConfigMap`s.
fn maps(operations: &[&str]) -> Value {
    json!([{ "apiGroups": [""], "apiVersions": ["v1"], "operations": operations, "resources": ["configmaps"] }])
}

/// Configures a webhook for the namespace; `more` goes over it.
async fn configure(client: &Client, namespace: &str, backend: &Backend, rules: &Value, more: &Value) {
    let service = json!({ "metadata": { "name": "hook" }, "spec": { "ports": [{ "port": 443, "targetPort": backend.port }] } });
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    services.create(&PostParams::default(), &object(service)).await.unwrap();
    let slice = json!({
        "metadata": { "name": "hook-1", "labels": { "kubernetes.io/service-name": "hook" } },
        "addressType": "IPv4", "endpoints": [{ "addresses": [backend.address] }],
        "ports": [{ "name": "", "port": backend.port, "protocol": "TCP" }],
    });
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
    slices.create(&PostParams::default(), &object(slice)).await.unwrap();
    let mut webhook = json!({
        "name": "judge.suite.test", "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 5,
        "clientConfig": { "caBundle": backend.ca, "service": { "name": "hook", "namespace": namespace } },
        "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } }, "rules": rules,
    });
    webhook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let configuration = json!({ "metadata": { "name": namespace }, "webhooks": [webhook] });
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    configurations.create(&PostParams::default(), &object(configuration)).await.unwrap();
}

/// Asks until a real server, which hears of a configuration a moment later, refuses.
async fn refused<T: std::fmt::Debug>(
    ask: impl AsyncFn() -> Result<T, kube::Error>,
) -> kube::core::response::Status {
    for _ in 0..10_000 {
        let answer = ask().await;
        if answer.is_err() {
            return refusal(answer);
        }
    }
    panic!("it is never refused");
}

const DENIED: &str = "admission webhook \"judge.suite.test\" denied the request: not on a Friday";

fn dry_run() -> PostParams {
    PostParams { dry_run: true, ..PostParams::default() }
}

fn is_denied(status: &kube::core::response::Status) {
    assert_eq!((status.code, status.reason.as_str(), status.message.as_str()), (400, "", DENIED));
}

pub(crate) async fn what_is_allowed_passes(client: Client, namespace: &str, answers: &dyn Answers) {
    let backend = answers.answer(namespace, Said::Allowed);
    configure(&client, namespace, &backend, &maps(&["*"]), &json!({})).await;
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let made = api.create(&PostParams::default(), &config_map("a", "1")).await.unwrap();
    assert_eq!(made.data.unwrap()["entry"], "1");
    api.delete("a", &DeleteParams::default()).await.unwrap();
}

pub(crate) async fn what_is_denied_says_why(client: Client, namespace: &str, answers: &dyn Answers) {
    let backend = answers.answer(namespace, Said::Denied);
    configure(&client, namespace, &backend, &maps(&["CREATE"]), &json!({})).await;
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    refused(async || api.create(&dry_run(), &config_map("probe", "1")).await).await;
    is_denied(&refusal(api.create(&PostParams::default(), &config_map("a", "1")).await));
    assert_eq!(api.get_opt("a").await.unwrap(), None);
}

pub(crate) async fn dry_runs_are_judged_too(client: Client, namespace: &str, answers: &dyn Answers) {
    let backend = answers.answer(namespace, Said::Denied);
    configure(&client, namespace, &backend, &maps(&["CREATE"]), &json!({})).await;
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    is_denied(&refused(async || api.create(&dry_run(), &config_map("a", "1")).await).await);
}

pub(crate) async fn applying_is_judged_as_what_it_does(
    client: Client,
    namespace: &str,
    answers: &dyn Answers,
) {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &config_map("old", "1")).await.unwrap();
    let backend = answers.answer(namespace, Said::Denied);
    configure(&client, namespace, &backend, &maps(&["CREATE"]), &json!({})).await;
    refused(async || api.create(&dry_run(), &config_map("probe", "1")).await).await;
    let entry = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "other": "2" } });
    is_denied(&refusal(apply(&api, "new", "suite", &entry).await));
    let changed = apply(&api, "old", "suite", &entry).await.unwrap();
    assert_eq!(changed.data.unwrap()["other"], "2");
}

pub(crate) async fn updates_are_judged_where_the_rules_say_so(
    client: Client,
    namespace: &str,
    answers: &dyn Answers,
) {
    let backend = answers.answer(namespace, Said::Denied);
    configure(&client, namespace, &backend, &maps(&["UPDATE"]), &json!({})).await;
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    api.create(&PostParams::default(), &config_map("a", "1")).await.unwrap();
    let change = Patch::Merge(json!({ "data": { "entry": "2" } }));
    let dry = PatchParams { dry_run: true, ..PatchParams::default() };
    refused(async || api.patch("a", &dry, &change).await).await;
    is_denied(&refusal(api.patch("a", &PatchParams::default(), &change).await));
    assert_eq!(api.get("a").await.unwrap().data.unwrap()["entry"], "1");
}

pub(crate) async fn deletions_are_judged_where_the_rules_say_so(
    client: Client,
    namespace: &str,
    answers: &dyn Answers,
) {
    let backend = answers.answer(namespace, Said::Denied);
    configure(&client, namespace, &backend, &maps(&["DELETE"]), &json!({})).await;
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    api.create(&PostParams::default(), &config_map("a", "1")).await.unwrap();
    let dry = DeleteParams { dry_run: true, ..DeleteParams::default() };
    refused(async || api.delete("a", &dry).await.map(|_| ())).await;
    is_denied(&refusal(api.delete("a", &DeleteParams::default()).await.map(|_| ())));
    assert!(api.get_opt("a").await.unwrap().is_some());
}

pub(crate) async fn labels_select_what_is_judged(client: Client, namespace: &str, answers: &dyn Answers) {
    let backend = answers.answer(namespace, Said::Denied);
    let more = json!({ "objectSelector": { "matchLabels": { "judged": "yes" } } });
    configure(&client, namespace, &backend, &maps(&["CREATE"]), &more).await;
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let labelled: ConfigMap = object(json!({ "metadata": { "name": "a", "labels": { "judged": "yes" } } }));
    is_denied(&refused(async || api.create(&dry_run(), &labelled).await).await);
    api.create(&PostParams::default(), &config_map("b", "1")).await.unwrap();
}

pub(crate) async fn namespaces_select_what_is_judged(client: Client, namespace: &str, answers: &dyn Answers) {
    let backend = answers.answer(namespace, Said::Denied);
    configure(&client, namespace, &backend, &maps(&["CREATE"]), &json!({})).await;
    let own: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    is_denied(&refused(async || own.create(&dry_run(), &config_map("a", "1")).await).await);
    let other: Api<ConfigMap> = Api::namespaced(client, "default");
    other.create(&dry_run(), &config_map("a", "1")).await.unwrap();
}

pub(crate) async fn a_subresource_is_judged_by_its_own_name(
    client: Client,
    namespace: &str,
    answers: &dyn Answers,
) {
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let mut idle = deployment("a");
    idle["spec"]["replicas"] = json!(0);
    idle["spec"]["paused"] = json!(true);
    api.create(&PostParams::default(), &object(idle)).await.unwrap();
    let backend = answers.answer(namespace, Said::Denied);
    let rules = json!([{
        "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments/status"],
    }]);
    configure(&client, namespace, &backend, &rules, &json!({})).await;
    let seen = Patch::Merge(json!({ "status": { "observedGeneration": 1 } }));
    let dry = PatchParams { dry_run: true, ..PatchParams::default() };
    is_denied(&refused(async || api.patch_status("a", &dry, &seen).await).await);
    let labelled = Patch::Merge(json!({ "metadata": { "labels": { "a": "b" } } }));
    api.patch("a", &PatchParams::default(), &labelled).await.unwrap();
}

pub(crate) async fn a_certificate_that_nobody_trusts_refuses(
    client: Client,
    namespace: &str,
    answers: &dyn Answers,
) {
    let backend = answers.answer(namespace, Said::Untrusted);
    configure(&client, namespace, &backend, &maps(&["CREATE"]), &json!({})).await;
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let status = refused(async || api.create(&dry_run(), &config_map("a", "1")).await).await;
    assert_eq!((status.code, status.reason.as_str()), (500, "InternalError"));
    let start = format!(
        "Internal error occurred: failed calling webhook \"judge.suite.test\": failed to call webhook: Post \
         \"https://hook.{namespace}.svc:443/?timeout=5s\": tls: failed to verify certificate: x509: certificate signed by unknown authority"
    );
    assert!(status.message.starts_with(&start), "{}", status.message);
}

pub(crate) async fn a_certificate_that_nobody_trusts_is_ignored_where_the_policy_says_so(
    client: Client,
    namespace: &str,
    answers: &dyn Answers,
) {
    let backend = answers.answer(namespace, Said::Untrusted);
    configure(&client, namespace, &backend, &maps(&["CREATE"]), &json!({ "failurePolicy": "Ignore" })).await;
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    api.create(&PostParams::default(), &config_map("a", "1")).await.unwrap();
}
