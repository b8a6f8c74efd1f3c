//! Parts of files that others read, and that no schema here describes: kubeadm's documents, containerd's configuration,
//! values of charts, values of patches. What those others would read as something else is a finding.

use std::sync::Arc;

use super::finding::{Finding, MOST, Source};
use super::yaml::{Node, NodeValue};

/// Keys of `kubernetes` whose parts are merged into documents.
pub(super) const MERGED: [&str; 5] = ["kubelet", "kubeProxy", "apiServer", "etcd", "containerd"];

/// The lists of kubeadm's `apiServer` of which cozy has entries of its own.
const NAMED: [&str; 2] = ["extraArgs", "extraVolumes"];

/// The mistakes in such parts of `cozy.yaml`.
pub(super) fn in_cloud(source: &Arc<Source>, root: &Node) -> Vec<Finding> {
    let mut found = Vec::new();
    for key in MERGED {
        let Some(node) = root.get("kubernetes").and_then(|kubernetes| kubernetes.get(key)) else { continue };
        found.extend(words(source, node));
        nothing(source, node, key, &mut found);
        for list in NAMED.iter().filter(|_| key == "apiServer") {
            found.extend(node.get(list).and_then(|node| named(source, node, list)));
        }
    }
    if let Some(NodeValue::Map(components)) = root.get("components").map(|components| &components.value) {
        for (_, component) in components {
            found.extend(component.get("values").into_iter().flat_map(|node| words(source, node)));
            let patches = component.get("patches").map(items).unwrap_or_default();
            let operations = patches.iter().filter_map(|patch| patch.get("patch")).flat_map(items);
            let values = operations.filter_map(|operation| operation.get("value"));
            found.extend(values.flat_map(|node| words(source, node)));
        }
    }
    found.truncate(MOST);
    found
}

fn items(node: &Node) -> &[Node] {
    match &node.value {
        NodeValue::List(items) => items,
        NodeValue::Scalar(_) | NodeValue::Map(_) => &[],
    }
}

/// Words without quotes that are text here, and true, false or a number for Helm and Kubernetes (YAML 1.1).
pub(super) fn words(source: &Arc<Source>, node: &Node) -> Vec<Finding> {
    let mut found = Vec::new();
    scalars(node, &mut |node, value| {
        let Some(text) = value.as_str().filter(|text| source.text.get(node.range.clone()) == Some(*text))
        else {
            return;
        };
        if let Some(meant) = elsewhere(text)
            && found.len() < MOST
        {
            let message = format!("`{text}` is {meant} for others, and text here");
            let finding = Finding::error(1244, message).on(source, node.range.clone());
            found.push(finding.hinted(format!("write `{meant}`, or quote it: \"{text}\"")));
        }
    });
    found
}

fn scalars<'a>(node: &'a Node, visit: &mut dyn FnMut(&'a Node, &'a serde_json::Value)) {
    match &node.value {
        NodeValue::Scalar(value) => visit(node, value),
        NodeValue::List(items) => items.iter().for_each(|item| scalars(item, visit)),
        NodeValue::Map(entries) => entries.iter().for_each(|(_, node)| scalars(node, visit)),
    }
}

/// What a word that is text in YAML 1.2 is in YAML 1.1, as goyaml reads it.
fn elsewhere(text: &str) -> Option<String> {
    let same = |words: [&str; 3]| {
        words.iter().any(|word| {
            let title = word[..1].to_uppercase() + &word[1..];
            [*word, &title, &word.to_uppercase()].contains(&text)
        })
    };
    if same(["yes", "on", "y"]) {
        return Some("true".to_owned());
    }
    if same(["no", "off", "n"]) {
        return Some("false".to_owned());
    }
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let digits = digits.replace('_', "");
    let lower = digits.to_lowercase();
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = lower.strip_prefix(prefix) {
            let signed = digits.starts_with(['+', '-']);
            return u64::from_str_radix(digits, radix)
                .ok()
                .filter(|_| !signed)
                .map(|number| format!("{sign}{number}"));
        }
    }
    if digits.len() > 1
        && digits.starts_with('0')
        && let Ok(number) = u64::from_str_radix(&digits, 8)
    {
        return Some(format!("{sign}{number}"));
    }
    let is_number = digits.contains(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    let number = digits.parse::<f64>().ok().filter(|number| is_number && number.is_finite())?;
    Some(format!("{sign}{number}"))
}

/// Keys without a value: they would take away what cozy writes there.
fn nothing(source: &Arc<Source>, node: &Node, name: &str, found: &mut Vec<Finding>) {
    match &node.value {
        NodeValue::Scalar(serde_json::Value::Null) if found.len() < MOST => {
            let message = format!("`{name}` has no value");
            let finding = Finding::error(1102, message).on(source, node.range.clone());
            found.push(finding.hinted("write its value, or take the key out"));
        }
        NodeValue::Scalar(_) => {}
        NodeValue::List(items) => {
            for item in items {
                nothing(source, item, name, found);
            }
        }
        NodeValue::Map(entries) => {
            for (key, node) in entries {
                nothing(source, node, &key.text, found);
            }
        }
    }
}

/// Whether a list can be joined with cozy's own, entry by entry.
fn named(source: &Arc<Source>, node: &Node, name: &str) -> Option<Finding> {
    let is_named = |item: &Node| {
        matches!(
            item.get("name").map(|name| &name.value),
            Some(NodeValue::Scalar(serde_json::Value::String(_)))
        )
    };
    let wrong = match &node.value {
        NodeValue::Scalar(serde_json::Value::Null) => None,
        NodeValue::List(items) => items.iter().find(|item| !is_named(item)),
        NodeValue::Scalar(_) | NodeValue::Map(_) => Some(node),
    }?;
    let message = format!("`{name}` must be a list of entries with a `name`");
    let finding = Finding::error(1102, message).on(source, wrong.range.clone());
    Some(finding.hinted("write it like `[{ name: audit-log-maxage, value: \"30\" }]` (kubeadm v1beta4)"))
}

#[cfg(test)]
mod tests {
    use super::elsewhere;

    #[test]
    fn words_that_others_read_as_something_else_are_known() {
        for (text, meant) in [
            ("no", "false"),
            ("On", "true"),
            ("Y", "true"),
            ("OFF", "false"),
            ("0644", "420"),
            ("-0644", "-420"),
            ("089", "89"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("0b101", "5"),
            ("1_000", "1000"),
            ("+5", "5"),
            (".5", "0.5"),
            ("0_1.5", "1.5"),
        ] {
            assert_eq!(elsewhere(text).as_deref(), Some(meant), "{text}");
        }
        for text in [
            "nope",
            "yess",
            "nO",
            "10.0.0.1",
            "1.2.3",
            "0123abc",
            "10m",
            "1-2",
            "0x",
            "0xg",
            "v1",
            "",
            ".",
            "-",
            "..",
            "1e999",
            "_1",
            "2026-01-01",
            "1:30",
            "e5",
            "0x-1",
        ] {
            assert_eq!(elsewhere(text), None, "{text}");
        }
    }
}
