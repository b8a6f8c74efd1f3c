//! `EndpointSlices`: the ready pods that a Service selects.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Objects;
use super::world::World;
use crate::json as tree;

const VERSION: &str = "discovery.k8s.io/v1";

/// Takes in a new or changed Service, and writes its slice.
pub(super) async fn serve(objects: &Objects<'_>, world: &World, service: &Value) {
    let name = tree::text(service, &["metadata", "name"]);
    let selector = tree::at(service, &["spec", "selector"]).and_then(Value::as_object);
    // Without a selector, somebody else says where it leads.
    if selector.is_none_or(serde_json::Map::is_empty) {
        return;
    }
    world.known().services.insert((objects.namespace.to_owned(), name.to_owned()), service.clone());
    let slice = slice(world, objects.namespace, service);
    if objects.create(VERSION, "EndpointSlice", "endpointslices", &slice).await.is_err() {
        write(objects, world, name, &slice).await;
    }
}

/// Writes the slices of the Services that select pods with these labels.
pub(super) async fn publish(objects: &Objects<'_>, world: &World, labels: &BTreeMap<String, String>) {
    let found: Vec<_> = {
        let known = world.known();
        let here = known.services.range((objects.namespace.to_owned(), String::new())..);
        here.take_while(|((namespace, _), _)| namespace == objects.namespace)
            .filter(|(_, service)| selects(service, labels))
            .map(|((_, name), service)| (name.clone(), service.clone()))
            .collect()
    };
    for (name, service) in found {
        let slice = slice(world, objects.namespace, &service);
        write(objects, world, &name, &slice).await;
    }
}

async fn write(objects: &Objects<'_>, world: &World, service: &str, slice: &Value) {
    let name = tree::text(slice, &["metadata", "name"]);
    let change = json!({ "endpoints": slice["endpoints"], "ports": slice["ports"] });
    // Its slice goes with a Service, which is then forgotten.
    if objects.change(VERSION, "EndpointSlice", "endpointslices", name, &change).await.is_none() {
        world.known().services.remove(&(objects.namespace.to_owned(), service.to_owned()));
    }
}

fn selects(service: &Value, labels: &BTreeMap<String, String>) -> bool {
    let selector = tree::at(service, &["spec", "selector"]).and_then(Value::as_object);
    selector.is_some_and(|selector| {
        selector.iter().all(|(name, value)| labels.get(name).map(String::as_str) == value.as_str())
    })
}

fn slice(world: &World, namespace: &str, service: &Value) -> Value {
    let known = world.known();
    let here = known.pods.range((namespace.to_owned(), String::new())..);
    let ready: Vec<_> = here
        .take_while(|((of, _), _)| of == namespace)
        .filter(|(_, ready)| selects(service, &ready.labels))
        .map(|(_, ready)| &ready.pod)
        .collect();
    let endpoints: Vec<_> = ready
        .iter()
        .map(|pod| {
            json!({
                "addresses": [pod["status"]["podIP"]],
                "conditions": { "ready": true, "serving": true, "terminating": false },
                "nodeName": pod["spec"]["nodeName"],
                "targetRef": {
                    "kind": "Pod", "namespace": namespace, "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"],
                },
            })
        })
        .collect();
    let ports: Vec<_> = tree::items(service.get("spec").unwrap_or(&Value::Null), "ports")
        .iter()
        .filter_map(|port| {
            let number = target(port, ready.first().copied())?;
            Some(json!({ "name": tree::text(port, &["name"]), "protocol": port["protocol"], "port": number }))
        })
        .collect();
    let name = tree::text(service, &["metadata", "name"]);
    json!({
        "apiVersion": VERSION, "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{name}-endpoints"), "namespace": namespace,
            "labels": {
                "kubernetes.io/service-name": name,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Service", "name": name, "uid": service["metadata"]["uid"],
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "addressType": "IPv4", "endpoints": endpoints, "ports": ports,
    })
}

/// Answers the number of a Service's target port, which may be the name of a container's.
fn target(port: &Value, pod: Option<&Value>) -> Option<i64> {
    let wanted = port.get("targetPort").unwrap_or(&port["port"]);
    if let Some(number) = wanted.as_i64() {
        return Some(number);
    }
    let spec = pod?.get("spec")?;
    let mut ports =
        tree::items(spec, "containers").iter().flat_map(|container| tree::items(container, "ports"));
    ports.find(|port| port.get("name") == Some(wanted))?.get("containerPort")?.as_i64()
}
