//! Pod specs, alone and in templates.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::containers::{self, Around, named, one_of, stays_below};
use super::names::{label, qualified};
use crate::json as tree;
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

/// The field without which a volume of a kind is nothing.
const NEEDED: [(&str, &str); 5] = [
    ("hostPath", "path"),
    ("secret", "secretName"),
    ("persistentVolumeClaim", "claimName"),
    ("configMap", "name"),
    ("csi", "driver"),
];

/// Says what is wrong with a pod spec at a path. `claims`: the names of volumes that others give it.
pub(super) fn spec(spec: &Value, path: &str, claims: &[&str]) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut volumes: BTreeSet<&str> = claims.iter().copied().collect();
    for (index, volume) in tree::items(spec, "volumes").iter().enumerate() {
        let path = format!("{path}.volumes[{index}]");
        let name = tree::text(volume, &["name"]);
        named(volume, &path, &mut causes);
        if !name.is_empty() && !volumes.insert(name) {
            causes.push(Cause::duplicate(format!("{path}.name"), &json!(name)));
        }
        self::volume(volume, &path, &mut causes);
    }
    if tree::items(spec, "containers").is_empty() {
        causes.push(Cause::required(format!("{path}.containers"), ""));
    }
    let around = Around { volumes, host_network: spec.get("hostNetwork") == Some(&Value::Bool(true)) };
    let mut names = BTreeSet::new();
    for list in ["containers", "initContainers"] {
        for (index, container) in tree::items(spec, list).iter().enumerate() {
            let path = format!("{path}.{list}[{index}]");
            containers::check(container, &path, list == "initContainers", &around, &mut causes);
            let name = tree::text(container, &["name"]);
            if !name.is_empty() && !names.insert(name) {
                causes.push(Cause::duplicate(format!("{path}.name"), &json!(name)));
            }
        }
    }
    whole(spec, path, &mut causes);
    placed(spec, path, &mut causes);
    causes
}

fn volume(volume: &Value, path: &str, causes: &mut Vec<Cause>) {
    if let Some(second) = SOURCES.iter().filter(|source| volume.get(**source).is_some()).nth(1) {
        let why = "may not specify more than 1 volume type";
        causes.push(Cause::forbidden(format!("{path}.{second}"), why));
    }
    for (kind, field) in NEEDED {
        if volume.get(kind).is_some_and(|source| tree::text(source, &[field]).is_empty()) {
            causes.push(Cause::required(format!("{path}.{kind}.{field}"), ""));
        }
    }
    if let Some(host) = volume.get("hostPath") {
        let known = [
            "",
            "BlockDevice",
            "CharDevice",
            "Directory",
            "DirectoryOrCreate",
            "File",
            "FileOrCreate",
            "Socket",
        ];
        one_of(host, "type", &format!("{path}.hostPath"), &known, causes);
    }
    let limit = tree::text(volume, &["emptyDir", "sizeLimit"]);
    if limit.starts_with('-') {
        let why = "SizeLimit field must be a valid resource quantity";
        causes.push(Cause::forbidden(format!("{path}.emptyDir.sizeLimit"), why));
    }
    for kind in ["secret", "configMap", "downwardAPI", "projected"] {
        let Some(source) = volume.get(kind) else { continue };
        let mode =
            source.get("defaultMode").filter(|it| it.as_i64().is_some_and(|it| !(0..=0o777).contains(&it)));
        if let Some(mode) = mode {
            let why = "must be a number between 0 and 0777 (octal), both inclusive";
            causes.push(Cause::invalid(format!("{path}.{kind}.defaultMode"), mode, why));
        }
        for (index, item) in tree::items(source, "items").iter().enumerate() {
            let field = format!("{path}.{kind}.items[{index}].path");
            stays_below(tree::text(item, &["path"]), field, causes);
        }
    }
}

/// What the whole pod says of itself.
fn whole(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    one_of(spec, "restartPolicy", path, &["Always", "OnFailure", "Never"], causes);
    one_of(spec, "dnsPolicy", path, &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"], causes);
    if tree::text(spec, &["dnsPolicy"]) == "None" && tree::at(spec, &["dnsConfig", "nameservers"]).is_none() {
        let why = "must provide `dnsConfig` when `dnsPolicy` is None";
        causes.push(Cause::required(format!("{path}.dnsConfig"), why));
    }
    if let Some(deadline) =
        spec.get("activeDeadlineSeconds").filter(|it| it.as_i64().is_some_and(|it| it < 1))
    {
        let why = "must be between 1 and 2147483647, inclusive";
        causes.push(Cause::invalid(format!("{path}.activeDeadlineSeconds"), deadline, why));
    }
    for field in ["hostname", "subdomain"] {
        let name = tree::text(spec, &[field]);
        let wrong = if name.is_empty() { Vec::new() } else { label(name) };
        causes.extend(wrong.iter().map(|why| Cause::invalid(format!("{path}.{field}"), &json!(name), why)));
    }
    if let Some(os) = tree::at(spec, &["os", "name"]).filter(|os| *os != "linux" && *os != "windows") {
        causes.push(Cause::unsupported(format!("{path}.os"), os, &["linux", "windows"].map(str::to_owned)));
    }
}

/// Where a pod may run.
fn placed(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    let wanted = spec.get("nodeSelector").and_then(Value::as_object).into_iter().flatten();
    for (key, why) in wanted.flat_map(|(key, _)| qualified(key).into_iter().map(move |why| (key, why))) {
        causes.push(Cause::invalid(format!("{path}.nodeSelector"), &json!(key), &why));
    }
    for (index, toleration) in tree::items(spec, "tolerations").iter().enumerate() {
        let path = format!("{path}.tolerations[{index}]");
        let operator = tree::text(toleration, &["operator"]);
        if tree::text(toleration, &["key"]).is_empty() && operator != "Exists" {
            let why =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            causes.push(Cause::invalid(format!("{path}.operator"), &json!(operator), why));
        }
        one_of(toleration, "operator", &path, &["Equal", "Exists"], causes);
        one_of(toleration, "effect", &path, &["NoSchedule", "PreferNoSchedule", "NoExecute"], causes);
    }
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    if let Some(required_terms) = tree::at(spec, &["affinity", "nodeAffinity", required]) {
        let path = format!("{path}.affinity.nodeAffinity.{required}.nodeSelectorTerms");
        let terms = tree::items(required_terms, "nodeSelectorTerms");
        if terms.is_empty() {
            causes.push(Cause::required(&path, "must have at least one node selector term"));
        }
        for (index, term) in terms.iter().enumerate() {
            for (number, one) in tree::items(term, "matchExpressions").iter().enumerate() {
                let operator = tree::text(one, &["operator"]);
                if !["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"].contains(&operator) {
                    let field = format!("{path}[{index}].matchExpressions[{number}].operator");
                    causes.push(Cause::invalid(field, &json!(operator), "not a valid selector operator"));
                }
            }
        }
    }
    for (index, spread) in tree::items(spec, "topologySpreadConstraints").iter().enumerate() {
        let path = format!("{path}.topologySpreadConstraints[{index}]");
        let skew = spread.get("maxSkew").and_then(Value::as_i64).unwrap_or_default();
        if skew <= 0 {
            causes.push(Cause::invalid(format!("{path}.maxSkew"), &json!(skew), "must be greater than zero"));
        }
        if tree::text(spread, &["topologyKey"]).is_empty() {
            causes.push(Cause::required(format!("{path}.topologyKey"), "can not be empty"));
        }
        one_of(spread, "whenUnsatisfiable", &path, &["DoNotSchedule", "ScheduleAnyway"], causes);
    }
}
