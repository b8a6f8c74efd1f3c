//! Claims and volumes: bound at once or with their first pod, as their class says.
//! A class that nobody made here is taken to be one that the real cluster has, and to bind at once.

use kube::Client;
use serde_json::{Value, json};

use super::Objects;
use super::world::World;
use crate::json as tree;

/// Makes the claims of a `StatefulSet`'s pod, and mounts them.
pub(super) async fn claims_of(objects: &Objects<'_>, set: &Value, pod_name: &str, pod: &mut Value) {
    let templates = set.get("spec").map_or(&[][..], |spec| tree::items(spec, "volumeClaimTemplates"));
    for template in templates {
        let volume = tree::text(template, &["metadata", "name"]);
        let name = format!("{volume}-{pod_name}");
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": { "name": name, "namespace": objects.namespace, "labels": set["spec"]["selector"]["matchLabels"] },
            "spec": template["spec"],
        });
        // It stays when its pod goes, and is there when it comes back.
        let _ = objects.create("v1", "PersistentVolumeClaim", "persistentvolumeclaims", &claim).await;
        let mounted = json!({ "name": volume, "persistentVolumeClaim": { "claimName": name } });
        let spec = tree::object(pod, "spec");
        match spec.get_mut("volumes").and_then(Value::as_array_mut) {
            Some(volumes) => volumes.push(mounted),
            None => {
                spec.insert("volumes".to_owned(), json!([mounted]));
            }
        }
    }
}

/// Notes the claims that a pod uses, and binds those that waited for it.
pub(super) async fn used(client: &Client, world: &World, pod: &Value) {
    let namespace = tree::text(pod, &["metadata", "namespace"]);
    let objects = Objects { client, namespace };
    for volume in pod.get("spec").map_or(&[][..], |spec| tree::items(spec, "volumes")) {
        let name = tree::text(volume, &["persistentVolumeClaim", "claimName"]);
        if name.is_empty() || !world.known().used.insert((namespace.to_owned(), name.to_owned())) {
            continue;
        }
        if let Some(claim) = objects.get("v1", "PersistentVolumeClaim", "persistentvolumeclaims", name).await
        {
            bind(&objects, world, &claim).await;
        }
    }
}

/// The annotation by which the scheduler tells a driver that a claim's pod has its node.
pub(super) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// Binds a claim to a new volume, unless its class wants to see a pod first.
pub(super) async fn bind(objects: &Objects<'_>, world: &World, claim: &Value) {
    let name = tree::text(claim, &["metadata", "name"]);
    let class = class_of(objects, claim).await;
    if waits(&class) && !world.known().used.contains(&(objects.namespace.to_owned(), name.to_owned())) {
        return;
    }
    let volume = make(objects, claim, &class).await;
    let everywhere = Objects { client: objects.client, namespace: "" };
    let bound = json!({ "status": { "phase": "Bound" } });
    everywhere.change_status("v1", "PersistentVolume", "persistentvolumes", &volume, &bound).await;
    let change = json!({ "spec": { "volumeName": volume } });
    objects.change("v1", "PersistentVolumeClaim", "persistentvolumeclaims", name, &change).await;
    let spec = &claim["spec"];
    let capacity = json!({ "storage": spec["resources"]["requests"]["storage"] });
    let bound =
        json!({ "status": { "phase": "Bound", "capacity": capacity, "accessModes": spec["accessModes"] } });
    objects.change_status("v1", "PersistentVolumeClaim", "persistentvolumeclaims", name, &bound).await;
}

/// Makes the volume of a claim, as a CSI driver's provisioner does; Kubernetes' own controller binds them.
pub(super) async fn provision(objects: &Objects<'_>, claim: &Value) {
    let class = class_of(objects, claim).await;
    let scheduled = tree::at(claim, &["metadata", "annotations", SELECTED_NODE]).is_some();
    let bound = !tree::text(claim, &["spec", "volumeName"]).is_empty();
    if !bound && !class.is_null() && (scheduled || !waits(&class)) {
        make(objects, claim, &class).await;
    }
}

async fn class_of(objects: &Objects<'_>, claim: &Value) -> Value {
    let name = tree::text(claim, &["spec", "storageClassName"]);
    let everywhere = Objects { client: objects.client, namespace: "" };
    let class = everywhere.get("storage.k8s.io/v1", "StorageClass", "storageclasses", name).await;
    class.unwrap_or_default()
}

fn waits(class: &Value) -> bool {
    tree::text(class, &["volumeBindingMode"]) == "WaitForFirstConsumer"
}

/// Makes a volume that is meant for a claim, and answers its name.
async fn make(objects: &Objects<'_>, claim: &Value, class: &Value) -> String {
    let volume = format!("pvc-{}", tree::text(claim, &["metadata", "uid"]));
    let (spec, driver) = (&claim["spec"], tree::text(class, &["provisioner"]));
    let driver = if driver.is_empty() { "simulated" } else { driver };
    let reclaim = class.get("reclaimPolicy").cloned().unwrap_or(json!("Delete"));
    let made = json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": { "name": volume, "annotations": { "pv.kubernetes.io/provisioned-by": driver } },
        "spec": {
            "capacity": { "storage": spec["resources"]["requests"]["storage"] },
            "accessModes": spec["accessModes"], "volumeMode": spec["volumeMode"],
            "persistentVolumeReclaimPolicy": reclaim, "storageClassName": spec["storageClassName"],
            "csi": { "driver": driver, "volumeHandle": volume },
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": objects.namespace,
                "name": claim["metadata"]["name"], "uid": claim["metadata"]["uid"],
            },
        },
    });
    // Made twice is made.
    let everywhere = Objects { client: objects.client, namespace: "" };
    let _ = everywhere.create("v1", "PersistentVolume", "persistentvolumes", &made).await;
    volume
}
