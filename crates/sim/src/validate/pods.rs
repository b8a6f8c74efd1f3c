//! Pod specs, alone and in templates.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{LABEL, is_label};
use crate::json;
use crate::status::Cause;

/// The kinds of volumes, in the order in which the server looks for them.
const SOURCES: [&str; 16] = [
    "emptyDir",
    "hostPath",
    "secret",
    "nfs",
    "iscsi",
    "persistentVolumeClaim",
    "rbd",
    "cephfs",
    "downwardAPI",
    "fc",
    "configMap",
    "flexVolume",
    "projected",
    "csi",
    "ephemeral",
    "image",
];

/// Says what is wrong with a pod spec at a path.
pub(super) fn spec(spec: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut volumes = BTreeSet::new();
    for (index, volume) in json::items(spec, "volumes").iter().enumerate() {
        let path = format!("{path}.volumes[{index}]");
        let name = json::text(volume, &["name"]);
        named(volume, &path, &mut causes);
        if !name.is_empty() && !volumes.insert(name) {
            causes.push(Cause::duplicate(format!("{path}.name"), &Value::from(name)));
        }
        if let Some(second) = SOURCES.iter().filter(|source| volume.get(**source).is_some()).nth(1) {
            let why = "may not specify more than 1 volume type";
            causes.push(Cause::forbidden(format!("{path}.{second}"), why));
        }
    }
    if json::items(spec, "containers").is_empty() {
        causes.push(Cause::required(format!("{path}.containers"), ""));
    }
    let mut names = BTreeSet::new();
    for list in ["containers", "initContainers"] {
        for (index, container) in json::items(spec, list).iter().enumerate() {
            let path = format!("{path}.{list}[{index}]");
            self::container(container, &path, &volumes, &mut causes);
            let name = json::text(container, &["name"]);
            if !name.is_empty() && !names.insert(name) {
                causes.push(Cause::duplicate(format!("{path}.name"), &Value::from(name)));
            }
        }
    }
    causes
}

fn named(item: &Value, path: &str, causes: &mut Vec<Cause>) {
    let name = json::text(item, &["name"]);
    if name.is_empty() {
        causes.push(Cause::required(format!("{path}.name"), ""));
    } else if !is_label(name) {
        causes.push(Cause::invalid(format!("{path}.name"), &Value::from(name), LABEL));
    }
}

fn container(container: &Value, path: &str, volumes: &BTreeSet<&str>, causes: &mut Vec<Cause>) {
    named(container, path, causes);
    if container.get("image").and_then(Value::as_str).is_none_or(str::is_empty) {
        causes.push(Cause::required(format!("{path}.image"), ""));
    }
    for (index, port) in json::items(container, "ports").iter().enumerate() {
        let number = port.get("containerPort").and_then(Value::as_i64).unwrap_or_default();
        if !(1..=65535).contains(&number) {
            let path = format!("{path}.ports[{index}].containerPort");
            causes.push(Cause::invalid(path, &Value::from(number), "must be between 1 and 65535, inclusive"));
        }
    }
    for (index, mount) in json::items(container, "volumeMounts").iter().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        let name = json::text(mount, &["name"]);
        if !volumes.contains(name) {
            let (field, message) = (format!("{path}.name"), format!("Not found: {name:?}"));
            causes.push(Cause { reason: "FieldValueNotFound", field, message });
        }
        if json::text(mount, &["mountPath"]).is_empty() {
            causes.push(Cause::required(format!("{path}.mountPath"), ""));
        }
    }
}
