//! What is wrong with the containers of a pod: `validateContainerCommon` of `k8s.io/kubernetes/pkg/apis/core/validation`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::names::{LABEL, is_label, subdomain};
use crate::status::Cause;
use crate::{json as tree, quantity};

const PORT: &str = "must be between 1 and 65535, inclusive";
const NEGATIVE: &str = "must be greater than or equal to 0";

/// The pod around a container.
pub(super) struct Around<'a> {
    /// The names of its volumes.
    pub(super) volumes: BTreeSet<&'a str>,
    /// It uses the network of its host.
    pub(super) host_network: bool,
}

/// Refuses a word that is none of those that are known.
pub(super) fn one_of(item: &Value, field: &str, path: &str, known: &[&str], causes: &mut Vec<Cause>) {
    let found = item.get(field).filter(|it| !it.is_null());
    if let Some(found) = found.filter(|it| it.as_str().is_none_or(|it| !known.contains(&it))) {
        let known: Vec<String> = known.iter().map(|it| (*it).to_owned()).collect();
        causes.push(Cause::unsupported(format!("{path}.{field}"), found, &known));
    }
}

/// Refuses paths that lead out.
pub(super) fn stays_below(path: &str, field: String, causes: &mut Vec<Cause>) {
    if path.split('/').any(|part| part == "..") {
        causes.push(Cause::invalid(field, &json!(path), "must not contain '..'"));
    }
}

/// Says what is wrong with a container of a list at a path.
pub(super) fn check(container: &Value, path: &str, init: bool, around: &Around<'_>, causes: &mut Vec<Cause>) {
    named(container, path, causes);
    match tree::text(container, &["image"]) {
        "" => causes.push(Cause::required(format!("{path}.image"), "")),
        image if image.trim() != image => {
            let why = "must not have leading or trailing whitespace";
            causes.push(Cause::invalid(format!("{path}.image"), &json!(image), why));
        }
        _ => {}
    }
    for handler in ["postStart", "preStop"] {
        if let Some(found) = tree::at(container, &["lifecycle", handler]) {
            asked(found, &format!("{path}.lifecycle.{handler}"), causes);
        }
    }
    let restarts = tree::text(container, &["restartPolicy"]) == "Always";
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(found) = container.get(probe).filter(|it| !it.is_null()) {
            let path = format!("{path}.{probe}");
            if init && !restarts {
                let why = "may not be set for init containers without restartPolicy=Always";
                causes.push(Cause::forbidden(path, why));
            } else {
                self::probe(found, &path, probe == "readinessProbe", causes);
            }
        }
    }
    one_of(container, "terminationMessagePolicy", path, &["File", "FallbackToLogsOnError"], causes);
    ports(container, path, around, causes);
    environment(container, path, causes);
    mounts(container, path, around, causes);
    one_of(container, "imagePullPolicy", path, &["Always", "IfNotPresent", "Never"], causes);
    resources(container, path, causes);
    security(container, path, causes);
}

pub(super) fn named(item: &Value, path: &str, causes: &mut Vec<Cause>) {
    let name = tree::text(item, &["name"]);
    let field = || format!("{path}.name");
    if name.is_empty() {
        causes.push(Cause::required(field(), ""));
    } else if !is_label(name) {
        causes.push(Cause::invalid(field(), &json!(name), LABEL));
    } else if name.len() > 63 {
        causes.push(Cause::invalid(field(), &json!(name), "must be no more than 63 characters"));
    }
}

/// What is wrong with a handler: it asks in exactly one way.
fn asked(handler: &Value, path: &str, causes: &mut Vec<Cause>) {
    let ways = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];
    let mut found = ways.iter().filter(|way| handler.get(**way).is_some());
    if found.next().is_none() {
        causes.push(Cause::required(path, "must specify a handler type"));
    }
    if let Some(second) = found.next() {
        let why = "may not specify more than 1 handler type";
        causes.push(Cause::forbidden(format!("{path}.{second}"), why));
    }
    if handler.get("exec").is_some_and(|exec| tree::items(exec, "command").is_empty()) {
        causes.push(Cause::required(format!("{path}.exec.command"), ""));
    }
    for way in ["httpGet", "tcpSocket"] {
        let port = tree::at(handler, &[way, "port"]);
        if let Some(port) = port.filter(|it| it.as_i64().is_some_and(|it| !(1..=65535).contains(&it))) {
            causes.push(Cause::invalid(format!("{path}.{way}.port"), port, PORT));
        }
    }
}

fn probe(probe: &Value, path: &str, readiness: bool, causes: &mut Vec<Cause>) {
    asked(probe, path, causes);
    let numbers =
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];
    for field in numbers {
        if let Some(found) = probe.get(field).filter(|it| it.as_i64().is_some_and(|it| it < 0)) {
            causes.push(Cause::invalid(format!("{path}.{field}"), found, NEGATIVE));
        }
    }
    let successes = probe.get("successThreshold").and_then(Value::as_i64).unwrap_or(1);
    if !readiness && successes > 1 {
        causes.push(Cause::invalid(format!("{path}.successThreshold"), &json!(successes), "must be 1"));
    }
}

/// What is wrong with the name of a port.
pub(super) fn port_name(name: &str) -> Vec<&'static str> {
    let mut wrong = Vec::new();
    if name.len() > 15 {
        wrong.push("must be no more than 15 characters long");
    }
    if !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
        wrong.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    }
    if !name.contains(|c: char| c.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)");
    }
    if name.contains("--") {
        wrong.push("must not contain consecutive hyphens");
    }
    if name.starts_with('-') || name.ends_with('-') {
        wrong.push("must not begin or end with a hyphen");
    }
    wrong
}

fn ports(container: &Value, path: &str, around: &Around<'_>, causes: &mut Vec<Cause>) {
    let mut names = BTreeSet::new();
    for (index, port) in tree::items(container, "ports").iter().enumerate() {
        let path = format!("{path}.ports[{index}]");
        let name = tree::text(port, &["name"]);
        if !name.is_empty() {
            let wrong = port_name(name);
            causes.extend(wrong.iter().map(|why| Cause::invalid(format!("{path}.name"), &json!(name), why)));
            if wrong.is_empty() && !names.insert(name) {
                causes.push(Cause::duplicate(format!("{path}.name"), &json!(name)));
            }
        }
        let number = port.get("containerPort").and_then(Value::as_i64).unwrap_or_default();
        match number {
            0 => causes.push(Cause::required(format!("{path}.containerPort"), "")),
            1..=65535 => {}
            _ => causes.push(Cause::invalid(format!("{path}.containerPort"), &json!(number), PORT)),
        }
        if let Some(host) = port.get("hostPort").and_then(Value::as_i64).filter(|host| *host != 0) {
            let field = format!("{path}.hostPort");
            if !(1..=65535).contains(&host) {
                causes.push(Cause::invalid(field, &json!(host), PORT));
            } else if around.host_network && host != number {
                let why = "must match `containerPort` when `hostNetwork` is true";
                causes.push(Cause::invalid(field, &json!(host), why));
            }
        }
        one_of(port, "protocol", &path, &["SCTP", "TCP", "UDP"], causes);
    }
}

fn environment(container: &Value, path: &str, causes: &mut Vec<Cause>) {
    for (index, variable) in tree::items(container, "env").iter().enumerate() {
        let path = format!("{path}.env[{index}]");
        let name = tree::text(variable, &["name"]);
        if name.is_empty() {
            causes.push(Cause::required(format!("{path}.name"), ""));
        } else if !name.chars().all(|c| (' '..='~').contains(&c) && c != '=') {
            let why = "a valid environment variable name must consist only of printable ASCII characters other than '='";
            causes.push(Cause::invalid(format!("{path}.name"), &json!(name), why));
        }
        let Some(source) = variable.get("valueFrom").filter(|it| !it.is_null()) else { continue };
        let path = format!("{path}.valueFrom");
        if source.as_object().is_none_or(serde_json::Map::is_empty) {
            let why = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
            causes.push(Cause::invalid(&path, &json!(""), why));
        } else if !tree::text(variable, &["value"]).is_empty() {
            causes.push(Cause::invalid(&path, &json!(""), "may not be specified when `value` is not empty"));
        }
        for kind in ["configMapKeyRef", "secretKeyRef"] {
            let Some(key) = source.get(kind) else { continue };
            let name = tree::text(key, &["name"]);
            let wrong = subdomain(name);
            causes.extend(
                wrong.iter().map(|why| Cause::invalid(format!("{path}.{kind}.name"), &json!(name), why)),
            );
            if tree::text(key, &["key"]).is_empty() {
                causes.push(Cause::required(format!("{path}.{kind}.key"), ""));
            }
        }
    }
    for (index, source) in tree::items(container, "envFrom").iter().enumerate() {
        let kinds = ["configMapRef", "secretRef"].into_iter().filter(|kind| source.get(*kind).is_some());
        let kinds: Vec<&str> = kinds.collect();
        if kinds.is_empty() {
            let why = "must specify one of: `configMapRef` or `secretRef`";
            causes.push(Cause::invalid(format!("{path}.envFrom"), &json!(""), why));
        }
        for kind in kinds.into_iter().filter(|kind| tree::text(source, &[*kind, "name"]).is_empty()) {
            causes.push(Cause::required(format!("{path}.envFrom[{index}].{kind}.name"), ""));
        }
    }
}

fn mounts(container: &Value, path: &str, around: &Around<'_>, causes: &mut Vec<Cause>) {
    let mut places = BTreeSet::new();
    for (index, mount) in tree::items(container, "volumeMounts").iter().enumerate() {
        let at = format!("{path}.volumeMounts[{index}]");
        let (name, place) = (tree::text(mount, &["name"]), tree::text(mount, &["mountPath"]));
        if !around.volumes.contains(name) {
            let (field, message) = (format!("{at}.name"), format!("Not found: {name:?}"));
            causes.push(Cause { reason: "FieldValueNotFound", field, message });
        }
        if place.is_empty() {
            causes.push(Cause::required(format!("{at}.mountPath"), ""));
        } else if !places.insert(place) {
            causes.push(Cause::invalid(format!("{at}.mountPath"), &json!(place), "must be unique"));
        }
        // The server leaves the index out.
        let field = format!("{path}.volumeMounts.subPath");
        stays_below(tree::text(mount, &["subPath"]), field, causes);
    }
}

/// A quantity of a list of resources, in billionths.
fn amounts<'a>(container: &'a Value, list: &str) -> Vec<(&'a String, &'a Value, i128)> {
    let list = tree::at(container, &["resources", list]).and_then(Value::as_object);
    let amount =
        |(name, value): (&'a String, &'a Value)| Some((name, value, quantity::billionths(value.as_str()?)?));
    list.into_iter().flatten().filter_map(amount).collect()
}

fn resources(container: &Value, path: &str, causes: &mut Vec<Cause>) {
    const BILLION: i128 = 1_000_000_000;
    let (limits, requests) = (amounts(container, "limits"), amounts(container, "requests"));
    for (list, all) in [("limits", &limits), ("requests", &requests)] {
        for (name, value, amount) in all {
            let field = format!("{path}.resources.{list}[{name}]");
            if *amount < 0 {
                causes.push(Cause::invalid(&field, value, NEGATIVE));
            }
            if is_extended(name) && amount % BILLION != 0 {
                causes.push(Cause::invalid(&field, value, "must be an integer"));
            }
        }
    }
    for (name, value, amount) in &requests {
        let field = format!("{path}.resources.requests");
        match limits.iter().find(|(limited, ..)| limited == name) {
            Some((_, most, limit)) if is_extended(name) && limit != amount => {
                let most = most.as_str().unwrap_or_default();
                let why = format!("must be equal to {name} limit of {most}");
                causes.push(Cause::invalid(field, value, &why));
            }
            Some((_, most, limit)) if amount > limit => {
                let most = most.as_str().unwrap_or_default();
                let why = format!("must be less than or equal to {name} limit of {most}");
                causes.push(Cause::invalid(field, value, &why));
            }
            None if is_extended(name) => {
                let why = "Limit must be set for non overcommitable resources";
                causes.push(Cause::required(format!("{path}.resources.limits"), why));
            }
            Some(_) | None => {}
        }
    }
}

/// Whether a resource is counted by others than Kubernetes.
fn is_extended(name: &str) -> bool {
    name.split_once('/').is_some_and(|(domain, _)| !domain.ends_with("kubernetes.io"))
}

fn security(container: &Value, path: &str, causes: &mut Vec<Cause>) {
    let Some(context) = container.get("securityContext") else { return };
    let path = format!("{path}.securityContext");
    if let Some(user) = context.get("runAsUser").filter(|it| it.as_i64().is_some_and(|it| it < 0)) {
        let why = "must be between 0 and 2147483647, inclusive";
        causes.push(Cause::invalid(format!("{path}.runAsUser"), user, why));
    }
    if tree::text(context, &["seccompProfile", "type"]) == "Localhost"
        && tree::text(context, &["seccompProfile", "localhostProfile"]).is_empty()
    {
        let why = "must be set when seccomp type is Localhost";
        causes.push(Cause::required(format!("{path}.seccompProfile.localhostProfile"), why));
    }
}
