//! What the specs of Services and Ingresses must have.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::containers::{one_of, port_name};
use super::names::{label, subdomain};
use crate::json as tree;
use crate::status::Cause;

const ADDRESS: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const RANGE: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

fn is_range(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

/// Says what is wrong with a Service's spec.
pub(super) fn service(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let kind = tree::text(spec, &["type"]);
    let ports = tree::items(spec, "ports");
    if ports.is_empty() && kind != "ExternalName" && tree::text(spec, &["clusterIP"]) != "None" {
        causes.push(Cause::required("spec.ports", ""));
    }
    if kind == "ExternalName" {
        match tree::text(spec, &["externalName"]) {
            "" => causes.push(Cause::required("spec.externalName", "")),
            name => causes.extend(
                subdomain(name).iter().map(|why| Cause::invalid("spec.externalName", &json!(name), why)),
            ),
        }
    }
    self::ports(ports, kind, &mut causes);
    one_of(spec, "sessionAffinity", "spec", &["ClientIP", "None"], &mut causes);
    one_of(spec, "type", "spec", &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], &mut causes);
    let address = tree::text(spec, &["clusterIP"]);
    if !matches!(address, "" | "None") && !is_address(address) {
        causes.push(Cause::invalid("spec.clusterIPs[0]", &json!(address), ADDRESS));
    }
    let lists = [
        ("externalIPs", "externalIPs", ADDRESS, is_address as fn(&str) -> bool),
        ("loadBalancerSourceRanges", "LoadBalancerSourceRanges", RANGE, is_range as fn(&str) -> bool),
    ];
    for (field, shown, why, fits) in lists {
        for (index, item) in tree::items(spec, field).iter().enumerate() {
            if !item.as_str().is_some_and(fits) {
                causes.push(Cause::invalid(format!("spec.{shown}[{index}]"), item, why));
            }
        }
    }
    causes
}

fn ports(ports: &[Value], kind: &str, causes: &mut Vec<Cause>) {
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        let name = tree::text(port, &["name"]);
        if name.is_empty() {
            if ports.len() > 1 {
                causes.push(Cause::required(format!("{path}.name"), ""));
            }
        } else {
            let wrong = label(name);
            causes.extend(wrong.iter().map(|why| Cause::invalid(format!("{path}.name"), &json!(name), why)));
            if !names.insert(name) {
                causes.push(Cause::duplicate(format!("{path}.name"), &json!(name)));
            }
        }
        for field in ["port", "targetPort"] {
            let number =
                port.get(field).filter(|it| it.as_i64().is_some_and(|it| !(1..=65535).contains(&it)));
            if let Some(number) = number {
                let why = "must be between 1 and 65535, inclusive";
                causes.push(Cause::invalid(format!("{path}.{field}"), number, why));
            }
        }
        one_of(port, "protocol", &path, &["SCTP", "TCP", "UDP"], causes);
        if let Some(target) = port.get("targetPort").and_then(Value::as_str) {
            let wrong = port_name(target);
            causes.extend(
                wrong.iter().map(|why| Cause::invalid(format!("{path}.targetPort"), &json!(target), why)),
            );
        }
        if kind == "ClusterIP" && port.get("nodePort").and_then(Value::as_i64).unwrap_or(0) != 0 {
            let why = "may not be used when `type` is 'ClusterIP'";
            causes.push(Cause::forbidden(format!("{path}.nodePort"), why));
        }
        let (protocol, number) = (tree::text(port, &["protocol"]), port.get("port").and_then(Value::as_i64));
        if !numbers.insert((protocol, number)) {
            let shown = json!({
                "Name": "", "Protocol": protocol, "AppProtocol": null, "Port": number, "TargetPort": 0, "NodePort": 0,
            });
            causes.push(Cause::duplicate(path, &shown));
        }
    }
}

/// Says what is wrong with an Ingress's spec.
pub(super) fn ingress(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let rules = tree::items(spec, "rules");
    if rules.is_empty() && spec.get("defaultBackend").is_none() {
        let why = "either `defaultBackend` or `rules` must be specified";
        causes.push(Cause::invalid("spec", &Value::Null, why));
    }
    for (index, rule) in rules.iter().enumerate() {
        let paths = rule.get("http").map(|http| tree::items(http, "paths")).unwrap_or_default();
        for (number, path) in paths.iter().enumerate() {
            let field = format!("spec.rules[{index}].http.paths[{number}]");
            let (kind, at) = (tree::text(path, &["pathType"]), tree::text(path, &["path"]));
            if kind.is_empty() {
                causes.push(Cause::required(format!("{field}.pathType"), "pathType must be specified"));
            } else if kind != "ImplementationSpecific" && !at.starts_with('/') {
                causes.push(Cause::invalid(format!("{field}.path"), &json!(at), "must be an absolute path"));
            }
        }
    }
    causes
}
