//! Broken files, what is said of them, and how they are survived.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::catalogue::{Catalogue, File, Files};
use super::finding::Finding;
use super::resolve::{CloudFile, read_cloud};
use crate::ui::findings::render;

mod bundle;
mod cloud;
mod component;
mod texts;
mod yaml;

const SCHEMA: &str = r#"{ "type": "object", "additionalProperties": false, "properties": {
    "hubble": { "type": "boolean", "default": false }, "mtu": { "type": "integer", "minimum": 1280 },
    "password": { "type": "secret", "description": "A password." } } }"#;
const STRICT: &str =
    r#"{ "type": "object", "properties": { "email": { "type": "string" } }, "required": ["email"] }"#;

fn component_file(name: &str, rest: &str) -> String {
    format!(
        "apiVersion: cozy/v1\nkind: Component\n{}summary: x\ncategory: x\nversion: '1'\n{rest}\n",
        key("name", name, rest)
    )
}

fn bundle_file(name: &str, rest: &str) -> String {
    let version = key("version", "1.0.0", rest);
    format!("apiVersion: cozy/v1\nkind: Bundle\n{}{version}summary: x\n{rest}\n", key("name", name, rest))
}

/// A key of a valid file, unless the test gives it.
fn key(key: &str, value: &str, rest: &str) -> String {
    if rest.starts_with(&format!("{key}:")) { String::new() } else { format!("{key}: {value}\n") }
}

fn load(more: &[(&str, String)]) -> (Catalogue, Vec<Finding>) {
    let mut files = Files::new();
    let known = [
        ("templates/cilium/component.yaml", component_file("cilium", "settings: s.json")),
        ("templates/cilium/s.json", SCHEMA.to_owned()),
        ("templates/plain/component.yaml", component_file("plain", "")),
        ("templates/strict/component.yaml", component_file("strict", "settings: s.json")),
        ("templates/strict/s.json", STRICT.to_owned()),
        (
            "bundles/edge.yaml",
            bundle_file(
                "edge",
                "components: { cilium: { settings: { mtu: 1400 } }, plain: { optional: true } }",
            ),
        ),
    ];
    for (path, text) in known.iter().chain(more) {
        let file = File { shown: (*path).to_owned(), bytes: Cow::Owned(text.clone().into_bytes()) };
        files.insert((*path).to_owned(), file);
    }
    Catalogue::load(&files)
}

fn said(result: Result<CloudFile, Vec<Finding>>) -> String {
    result.map_or_else(|findings| render(&findings), |_| "valid".to_owned())
}

fn yaml(text: &str) -> String {
    let findings = super::yaml::read(text.as_bytes(), "cozy.yaml").findings;
    if findings.is_empty() { "valid".to_owned() } else { render(&findings) }
}

fn cloud(rest: &str) -> String {
    // A server, unless the test is about those.
    let more = if ["host", "kubernetes"].iter().any(|key| rest.contains(key)) {
        ""
    } else {
        "hosts: [{ local: true }]\n"
    };
    let text = format!("apiVersion: cozy/v1\nkind: Cloud\nname: demo\nbundle: edge\n{rest}\n{more}");
    said(read_cloud(text.as_bytes(), "cozy.yaml", Some(&load(&[]).0)))
}

fn bundle(rest: &str) -> String {
    render(
        &load(&[
            ("bundles/mine.yaml", bundle_file("mine", rest)),
            (
                "bundles/edge.yaml",
                bundle_file("edge", if rest == "extends: [edge]" { "extends: [mine]" } else { "" }),
            ),
        ])
        .1,
    )
}

fn component(rest: &str) -> String {
    render(&load(&[("templates/mine/component.yaml", component_file("mine", rest))]).1)
}

#[test]
fn settings_are_merged_and_defaults_filled_in() {
    let (catalogue, findings) = load(&[]);
    assert_eq!(render(&findings), "");
    let text = "apiVersion: cozy/v1\nkind: Cloud\nname: demo\nbundle: edge\nhosts: [{ local: true }]\ncomponents: { cilium: { settings: { password: { env: A } } } }\n";
    let file = read_cloud(text.as_bytes(), "cozy.yaml", None).unwrap();
    let resolved = catalogue.resolve(&file).unwrap();
    let names: Vec<&str> = resolved.iter().map(|one| one.component.name.as_str()).collect();
    assert_eq!(names, ["cilium"]);
    let settings = serde_json::to_value(&resolved[0].settings).unwrap();
    assert_eq!(settings, serde_json::json!({ "hubble": false, "mtu": 1400, "password": { "env": "A" } }));
}

#[test]
fn hosts_beside_an_existing_cluster_are_a_warning() {
    let text = "apiVersion: cozy/v1\nkind: Cloud\nname: demo\nbundle: edge\nhosts: [{ local: true }]\nkubernetes: { provider: existing }\n";
    let file = read_cloud(text.as_bytes(), "cozy.yaml", None).unwrap();
    assert!(render(&file.warnings).starts_with("warning[C1220]: hosts are not used"));
}

#[test]
fn hostile_files_are_refused_quickly() {
    let bomb = "a: &a [x]\n".to_owned() + &"b: [*a,*a,*a]\n".repeat(50_000);
    let duplicates = "x: 1\n".repeat(200_000);
    let files: Vec<Vec<u8>> = vec![
        bomb.into_bytes(),
        duplicates.into_bytes(),
        "[".repeat(1_000_000).into_bytes(),
        "{a: ".repeat(200_000).into_bytes(),
        "- ".repeat(500_000).into_bytes(),
        vec![b'a'; 2_000_000],
        vec![0xff; 100],
        b"a: \0".to_vec(),
        (0..100_000).flat_map(|n| format!("k{n}: 1\n").into_bytes()).collect(),
    ];
    for bytes in files {
        let start = Instant::now();
        let Err(findings) = CloudFile::read(&bytes, "cozy.yaml") else { panic!("accepted") };
        assert!(!render(&findings).is_empty());
        let beginning = String::from_utf8_lossy(&bytes[..20.min(bytes.len())]).into_owned();
        assert!(start.elapsed() < Duration::from_secs(10), "{beginning}: {:?}", start.elapsed());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = said(CloudFile::read(&bytes, "cozy.yaml"));
    }

    #[test]
    fn arbitrary_yaml_never_panics(text in "[a-c:\\-\\[\\]{}, \n\"'#&*!|>?ü\t]{0,80}") {
        let _ = said(CloudFile::read(text.as_bytes(), "cozy.yaml"));
    }
}
