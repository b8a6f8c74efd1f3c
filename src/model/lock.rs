//! Lock files, `bundles/NAME.lock`: which bytes the artefacts of a bundle are.
//! Written by `cozy bundle lock`, read like the other users' files.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

use super::artefact::{Artefact, Digest, Id, Kind};
use super::catalogue::File;
use super::file::Parsed;
use super::finding::Finding;
use super::names::BundleName;
use super::schema::FileKind;

/// `kind: Lock`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LockFile {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    name: BundleName,
    #[serde(default)]
    artifacts: Vec<Locked>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Locked {
    kind: Kind,
    name: String,
    version: String,
    url: String,
    sha256: Digest,
}

/// Where an artefact was found, and what its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pin {
    /// The URL, without credentials.
    pub(crate) url: String,
    /// The digest.
    pub(crate) sha256: Digest,
}

/// Pins by artefact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lock(pub(crate) BTreeMap<Id, Pin>);

impl Lock {
    /// Reads `NAME.lock`.
    pub(crate) fn read(name: &str, file: &File) -> Result<Self, Vec<Finding>> {
        let (parsed, mut findings) = Parsed::<LockFile>::read(FileKind::Lock, &file.bytes, &file.shown, name);
        let Some(Parsed { value: lock, tree }) = parsed else { return Err(findings) };
        let (source, root) = (&tree.source, &tree.root);
        if lock.name.as_str() != name {
            let message = format!("the lock is of bundle `{}`, but its file `{name}.lock`", lock.name);
            let place = root.at(["name"]).range.clone();
            findings.push(Finding::error(1211, message).on(source, place).hinted("give both the same name"));
        }
        let mut pins = BTreeMap::new();
        for (index, Locked { kind, name, version, url, sha256 }) in lock.artifacts.into_iter().enumerate() {
            let id = Id { kind, name, version };
            let message = format!("{id} is locked twice");
            if pins.insert(id, Pin { url, sha256 }).is_some() {
                let place = root.at(["artifacts", &index.to_string()]).range.clone();
                findings.push(Finding::error(1233, message).on(source, place).hinted("remove one of them"));
            }
        }
        if findings.is_empty() { Ok(Self(pins)) } else { Err(findings) }
    }

    /// Takes over what another lock pins and this one does not.
    pub(crate) fn fill(&mut self, other: &Self) {
        for (id, pin) in &other.0 {
            self.0.entry(id.clone()).or_insert_with(|| pin.clone());
        }
    }

    /// Pins an artefact. One that is pinned already keeps its pin; `Err(pin)`: that one, of other bytes.
    pub(crate) fn add(&mut self, id: Id, pin: Pin) -> Result<(), Pin> {
        let sha256 = pin.sha256;
        let kept = self.0.entry(id).or_insert(pin);
        if kept.sha256 == sha256 { Ok(()) } else { Err(kept.clone()) }
    }

    /// Gives an artefact its pin. A digest that its component names itself stays.
    pub(crate) fn pin(&self, artefact: &mut Artefact) {
        let Some(pin) = self.0.get(&artefact.id) else { return };
        if artefact.sha256.is_none() {
            artefact.sha256 = Some(pin.sha256);
        }
        if artefact.url.is_none() {
            artefact.url = Some(pin.url.clone());
        }
    }

    /// The file's text: the same pins are the same bytes.
    pub(crate) fn text(&self, bundle: &BundleName) -> String {
        // Quoted: a version such as 1.10 must stay text.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let mut text = format!(
            "# Which bytes the bundle's artifacts are. Written by cozy; see `cozy bundle lock --help`.\n\
             apiVersion: cozy/v1\nkind: Lock\nname: {}\n",
            quoted(bundle.as_str())
        );
        text.push_str(if self.0.is_empty() { "artifacts: []\n" } else { "artifacts:\n" });
        for (id, pin) in &self.0 {
            let _ = write!(
                text,
                "  - kind: {}\n    name: {}\n    version: {}\n    url: {}\n    sha256: {}\n",
                id.kind.word(),
                quoted(&id.name),
                quoted(&id.version),
                quoted(&pin.url),
                quoted(&pin.sha256.to_string()),
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::ui::findings::render;

    fn read(text: &str) -> Result<Lock, String> {
        let file =
            File { shown: "bundles/edge.lock".to_owned(), bytes: Cow::Owned(text.as_bytes().to_vec()) };
        Lock::read("edge", &file).map_err(|findings| render(&findings))
    }

    #[test]
    fn what_is_written_is_read_again() {
        let id = |name: &str| Id { kind: Kind::Chart, name: name.to_owned(), version: "1.10".to_owned() };
        let pin = |url: &str| Pin { url: url.to_owned(), sha256: Digest::of(url.as_bytes()) };
        let lock = Lock(BTreeMap::from([
            (id("a"), pin("https://x/a-1.10.tgz")),
            (id("b"), pin("oci://x/b:1.10@sha256:00")),
        ]));
        let bundle: BundleName = "edge".parse().unwrap();
        assert_eq!(read(&lock.text(&bundle)), Ok(lock));
        assert_eq!(read(&Lock::default().text(&bundle)), Ok(Lock::default()));
    }

    #[test]
    fn mistakes_are_found_with_their_place() {
        let sha = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let text = format!(
            "apiVersion: cozy/v1\nkind: Lock\nname: other\nartifacts:\n\
             - {{ kind: chart, name: a, version: '1', url: 'https://x/a', sha256: {sha} }}\n\
             - {{ kind: chart, name: a, version: '1', url: 'https://x/b', sha256: {sha} }}\n"
        );
        insta::assert_snapshot!(read(&text).unwrap_err(), @"
            error[C1211]: the lock is of bundle `other`, but its file `edge.lock`
             --> bundles/edge.lock:3:7
              |
            3 | name: other
              |       ^^^^^
              |
              = help: give both the same name

            error[C1233]: chart a 1 is locked twice
             --> bundles/edge.lock:6:3
              |
            6 | - { kind: chart, name: a, version: '1', url: 'https://x/b', sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 }
              |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              |
              = help: remove one of them
        ");
        insta::assert_snapshot!(
            read("apiVersion: cozy/v1\nkind: Lock\nname: edge\nartifacts: [{ kind: image, name: a, version: 1, sha256: abc }]\n").unwrap_err(),
            @r#"
            error[C1103]: entry 1 of `artifacts` lacks the key `url`
             --> bundles/edge.lock:4:13
              |
            4 | artifacts: [{ kind: image, name: a, version: 1, sha256: abc }]
              |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              |
              = help: `url`: where it was found

            error[C1104]: `kind` cannot be `image`
             --> bundles/edge.lock:4:21
              |
            4 | artifacts: [{ kind: image, name: a, version: 1, sha256: abc }]
              |                     ^^^^^
              |
              = help: one of: chart, manifest, schema

            error[C1102]: `version` must be text, not the number 1
             --> bundles/edge.lock:4:46
              |
            4 | artifacts: [{ kind: image, name: a, version: 1, sha256: abc }]
              |                                              ^
              |
              = help: quote it: "1"

            error[C1105]: `sha256` cannot be `abc`
             --> bundles/edge.lock:4:57
              |
            4 | artifacts: [{ kind: image, name: a, version: 1, sha256: abc }]
              |                                                         ^^^
              |
              = help: write 64 hexadecimal digits in lower case
        "#
        );
    }
}
