//! Forty components in eight layers whose workloads become ready at set times, so that the critical path is known
//! beforehand: the longest chain of those times. What an install takes more than that is cozy's own.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{Api, DynamicObject, Patch, PatchParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use super::measure;
use crate::made::Made;
use crate::support::control_plane::ControlPlane;

const LAYERS: usize = 8;
const WIDTH: usize = 5;

/// The kind that an operator, played by the bench, makes ready when its time has come.
const CRD: &str = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: { name: parts.bench.example.org }\n\
    spec:\n  group: bench.example.org\n  scope: Namespaced\n  names: { plural: parts, singular: part, kind: Part }\n  \
    versions:\n    - name: v1\n      served: true\n      storage: true\n      subresources: { status: {} }\n      \
    schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } }\n";

/// When a part becomes ready after it was made; odd numbers, so that no two chains are alike.
fn after(layer: usize, column: usize) -> u64 {
    700 + 130 * u64::try_from((layer * 7 + column * 3) % 11).unwrap()
}

/// The columns of the layer before that a component waits for.
fn needs(layer: usize, column: usize) -> Vec<usize> {
    if layer == 0 { Vec::new() } else { vec![column, (column + layer) % WIDTH] }
}

fn name(layer: usize, column: usize) -> String {
    format!("layer-{layer}-{column}")
}

/// The longest chain of set times.
fn critical() -> Duration {
    let mut until = [0; WIDTH];
    for layer in 0..LAYERS {
        until = std::array::from_fn(|column| {
            let before = needs(layer, column).into_iter().map(|need| until[need]).max();
            before.unwrap_or(0) + after(layer, column)
        });
    }
    Duration::from_millis(until.into_iter().max().unwrap())
}

fn objects(layer: usize, column: usize) -> String {
    let (name, after) = (name(layer, column), after(layer, column));
    let mut text = format!(
        "apiVersion: bench.example.org/v1\nkind: Part\nmetadata: {{ name: part, namespace: {name} }}\nspec: {{ afterMs: {after} }}\n\
         ---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {{ name: web, namespace: {name} }}\n\
         ---\napiVersion: v1\nkind: Service\nmetadata: {{ name: web, namespace: {name} }}\nspec: {{ selector: {{ app: web }}, ports: [{{ port: 80 }}] }}\n"
    );
    for number in 0..4 {
        write!(text, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: c-{number}, namespace: {name} }}\ndata: {{ a: b }}\n")
            .unwrap();
    }
    text
}

/// Makes parts ready when their time has come, for ever.
async fn operate(parts: Api<DynamicObject>) {
    let mut version = "0".to_owned();
    let mut due = BTreeSet::new();
    loop {
        let params = WatchParams::default();
        let mut events = parts.watch(&params, &version).await.unwrap().boxed();
        while let Ok(Some(event)) = events.try_next().await {
            let WatchEvent::Added(part) = event else { continue };
            version = part.metadata.resource_version.clone().unwrap_or_default();
            let uid = part.metadata.uid.clone().unwrap_or_default();
            if !due.insert(uid) {
                continue;
            }
            let after = part.data["spec"]["afterMs"].as_u64().unwrap();
            let at = Instant::now() + Duration::from_millis(after);
            tokio::spawn(ready(parts.clone(), part, at));
        }
    }
}

async fn ready(parts: Api<DynamicObject>, part: DynamicObject, at: Instant) {
    sleep_until(at).await;
    let namespace = part.metadata.namespace.unwrap_or_default();
    let own: Api<DynamicObject> = Api::namespaced_with(parts.into_client(), &namespace, &resource());
    let status = json!({ "status": { "ready": true } });
    own.patch_status("part", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
}

fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("bench.example.org", "v1", "Part"), "parts")
}

/// How long the install took, and the critical path.
pub(super) fn install(plane: &Arc<ControlPlane>) -> (Duration, Duration) {
    let mut cloud = Made::on(Arc::clone(plane));
    let path = cloud.path("crd.yaml");
    fs_err::write(&path, CRD).unwrap();
    plane.ask(&["apply", "-f", path.to_str().unwrap()]);
    plane.ask(&["wait", "crd/parts.bench.example.org", "--for=condition=Established"]);
    plane.wait_until("parts are served", || plane.kubectl(&["get", "parts", "-A"]).status.success());
    for (layer, column) in (0..LAYERS).flat_map(|layer| (0..WIDTH).map(move |column| (layer, column))) {
        let needs: Vec<String> = needs(layer, column).into_iter().map(|need| name(layer - 1, need)).collect();
        let more = format!(
            "needs: [{}]\ngates: [{{ cel: \"object.status.ready == true\", of: Part/part }}]",
            needs.join(", ")
        );
        cloud.component(&name(layer, column), &more, &objects(layer, column));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let config = Kubeconfig::read_from(plane.kubeconfig()).unwrap();
        let config =
            kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
        let client = kube::Client::try_from(config).unwrap();
        tokio::spawn(operate(Api::all_with(client, &resource())));
    });
    let took = measure::run(&mut cloud.command(&["install", "--yes"])).wall;
    runtime.shutdown_background();
    (took, critical())
}
