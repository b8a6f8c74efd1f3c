//! What a schema cannot say of `component.yaml`: files that must exist
//! beside it, one source only, names, gates and version ranges.
#![expect(clippy::too_many_lines, reason = "a list of independent checks reads best in one place")]

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::catalogue::{File, Files, Known, Tree, typed};
use super::component::Component;
use super::finding::Finding;
use super::schema::{FileKind, SettingsSchema};
use super::yaml;

/// Reads a component beside its files.
pub(super) fn read(files: &Files, folder: &str, file: &File) -> Result<(Known, Tree), Vec<Finding>> {
    let (source, root) = yaml::read(&file.bytes, &file.shown)?;
    let component: Component = typed(FileKind::Component, &source, &root)?;
    let mut findings = Vec::new();
    let mut add = |code: u16, path: &[&str], message: String, hint: &str| {
        let place = root.at(path.iter().copied()).range.clone();
        findings.push(Finding::error(code, message).on(&source, place).hinted(hint));
    };
    let prefix = format!("templates/{folder}/");
    let own: BTreeMap<String, Cow<'static, [u8]>> = files
        .range(prefix.clone()..)
        .take_while(|(path, _)| path.starts_with(&prefix))
        .map(|(path, file)| (path[prefix.len()..].to_owned(), file.bytes.clone()))
        .collect();
    if component.name.as_str() != folder {
        add(
            1211,
            &["name"],
            format!("the component is named `{}`, but its folder `{folder}`", component.name),
            "give both the same name",
        );
    }
    let from = &component.source;
    let sources = [from.chart.is_some(), from.manifest.is_some(), from.templates.is_some()];
    if sources.iter().filter(|given| **given).count() > 1 {
        add(
            1212,
            &["source"],
            "the component has several sources".to_owned(),
            "keep one of `chart`, `manifest` and `templates`",
        );
    }
    if from.values.is_some() && from.chart.is_none() {
        add(1212, &["source", "values"], "`values` without a chart".to_owned(), "values are for charts");
    }
    if let Some(manifest) = &from.manifest
        && manifest.url.is_some() == manifest.file.is_some()
    {
        add(
            1213,
            &["source", "manifest"],
            "a manifest has exactly one of `url` and `file`".to_owned(),
            "keep one of them",
        );
    }
    let templates =
        from.templates.iter().flatten().enumerate().map(|(index, name)| {
            (vec!["source".to_owned(), "templates".to_owned(), index.to_string()], name)
        });
    let resources = component
        .resources
        .iter()
        .enumerate()
        .map(|(index, name)| (vec!["resources".to_owned(), index.to_string()], name));
    let single = [
        (vec!["source".to_owned(), "values".to_owned()], from.values.as_ref()),
        (
            vec!["source".to_owned(), "manifest".to_owned(), "file".to_owned()],
            from.manifest.as_ref().and_then(|manifest| manifest.file.as_ref()),
        ),
        (vec!["settings".to_owned()], component.settings.as_ref()),
    ];
    let single = single.into_iter().filter_map(|(path, name)| name.map(|name| (path, name)));
    let samples = component.gates.iter().enumerate().flat_map(|(index, gate)| {
        let path = move |kind: &str, at: usize| {
            vec!["gates".to_owned(), index.to_string(), "samples".to_owned(), kind.to_owned(), at.to_string()]
        };
        let ready = gate.samples.ready.iter().enumerate().map(move |(at, name)| (path("ready", at), name));
        let not_ready =
            gate.samples.not_ready.iter().enumerate().map(move |(at, name)| (path("notReady", at), name));
        ready.chain(not_ready).collect::<Vec<_>>()
    });
    let named: Vec<(Vec<String>, &String)> =
        templates.chain(resources).chain(single).chain(samples).collect();
    for (path, name) in named {
        if !own.contains_key(name) {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            add(
                1214,
                &path,
                format!("there is no file `{name}` beside component.yaml"),
                "mend the name, or add the file",
            );
        }
    }
    for (index, gate) in component.gates.iter().enumerate() {
        if let Err(error) = crate::health::cel::Gate::parse(&gate.cel) {
            let index = index.to_string();
            add(
                1215,
                &["gates", &index, "cel"],
                error.to_string().lines().next().unwrap_or_default().replace("ERROR: <input>:", "at "),
                "gates are CEL expressions over `object`",
            );
        }
    }
    let ranges = [
        (["requires", "kubernetes"], component.requires.kubernetes.as_ref()),
        (["upgrade", "from"], component.upgrade.as_ref().and_then(|upgrade| upgrade.from.as_ref())),
    ];
    for (path, range) in ranges {
        if let Some(range) = range
            && semver::VersionReq::parse(range).is_err()
        {
            add(
                1221,
                &path,
                format!("`{range}` is not a version range"),
                "write it like `>=1.31` or `>=2.8, <3`",
            );
        }
    }
    let settings =
        component.settings.as_ref().and_then(|name| own.get(name)).map(|bytes| SettingsSchema::parse(bytes));
    let settings = match settings {
        None => None,
        Some(Ok(schema)) => Some(schema),
        Some(Err(problem)) => {
            add(1216, &["settings"], format!("not a JSON schema: {problem}"), "see https://json-schema.org");
            None
        }
    };
    if findings.is_empty() {
        Ok((Known { component, settings, files: own }, Tree { source, root }))
    } else {
        Err(findings)
    }
}
