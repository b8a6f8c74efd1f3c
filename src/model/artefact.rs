//! Artefacts: what components are made from and no catalogue holds, charts
//! and manifests. Which ones a cloud needs, what they are called, and where
//! they lie in a mirror. No I/O.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::component::Component;
use super::finding::Finding;

/// The kinds of artefacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// A Helm chart, a `.tgz`.
    Chart,
    /// A file of plain objects.
    Manifest,
    /// A JSON schema that the schema of a chart's values refers to.
    Schema,
}

impl Kind {
    /// The largest artefact of this kind, in bytes.
    pub(crate) fn limit(self) -> usize {
        match self {
            Self::Chart => 64 * 1024 * 1024,
            Self::Manifest => 32 * 1024 * 1024,
            Self::Schema => 4 * 1024 * 1024,
        }
    }

    /// The folder and the ending of its files in a mirror.
    pub(crate) fn layout(self) -> (&'static str, &'static str) {
        match self {
            Self::Chart => ("charts", ".tgz"),
            Self::Manifest => ("manifests", ".yaml"),
            Self::Schema => ("schemas", ""),
        }
    }

    /// The word for it, as lock files spell it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Chart => "chart",
            Self::Manifest => "manifest",
            Self::Schema => "schema",
        }
    }
}

/// A sha256 digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    /// The digest of some bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<Sha256> for Digest {
    fn from(hash: Sha256) -> Self {
        Self(hash.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a sha256 digest: 64 hexadecimal digits")]
pub(crate) struct InvalidDigest(String);

impl FromStr for Digest {
    type Err = InvalidDigest;

    /// Reads 64 hexadecimal digits, also with `sha256:` in front.
    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let invalid = || InvalidDigest(text.to_owned());
        let digits = text.strip_prefix("sha256:").unwrap_or(text).as_bytes();
        let mut bytes = [0; 32];
        let (pairs, rest) = digits.as_chunks::<2>();
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return Err(invalid());
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            let digit = |of: u8| char::from(of).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            *byte = digit(*high).ok_or_else(invalid)? << 4 | digit(*low).ok_or_else(invalid)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What an artefact is called; unique in a cloud.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Id {
    /// Chart or manifest.
    pub(crate) kind: Kind,
    /// The chart's name; of a manifest the component's; of a schema its URL.
    pub(crate) name: String,
    /// The chart's version, empty where only a file is named; of a manifest the component's.
    pub(crate) version: String,
}

impl Id {
    /// Where it lies in a mirror: `charts/NAME-VERSION.tgz`, `manifests/NAME-VERSION.yaml`, `schemas/HOST/PATH`.
    pub(crate) fn path(&self) -> String {
        let (folder, _) = self.kind.layout();
        format!("{folder}/{}", self.file())
    }

    /// Where it lies in its folder of a mirror.
    pub(crate) fn file(&self) -> String {
        let (_, ending) = self.kind.layout();
        if self.kind != Kind::Schema {
            return format!("{}-{}{ending}", self.name, self.version);
        }
        let place = self.name.split_once("://").map_or(self.name.as_str(), |(_, place)| place);
        if place.split('/').all(is_file_name) {
            place.to_owned()
        } else {
            // What others wrote is not taken for a path as it is.
            format!("{}.json", Digest::of(self.name.as_bytes()))
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.word(), self.name)?;
        if self.version.is_empty() { Ok(()) } else { write!(f, " {}", self.version) }
    }
}

/// Where upstream keeps an artefact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Home {
    /// A Helm repository with an `index.yaml`, `https://…`.
    Repository(String),
    /// The path of an OCI registry that holds the chart, `oci://…`.
    Registry(String),
    /// A file on a web server.
    File(String),
    /// A folder with `NAME-VERSION.tgz`, or the unpacked chart `NAME/`.
    Folder(PathBuf),
}

/// Something to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Artefact {
    /// What it is called.
    pub(crate) id: Id,
    /// Where upstream keeps it.
    pub(crate) home: Home,
    /// Where exactly it was found when it was locked.
    pub(crate) url: Option<String>,
    /// The digest of its bytes, as far as it is confirmed.
    pub(crate) sha256: Option<Digest>,
}

impl Artefact {
    /// The schema at a URL. Queries, which may be secret, are not shown, but tell schemas apart.
    pub(crate) fn schema(url: &str) -> Self {
        let mut name = shown(url);
        if url != name {
            let digest = Digest::of(url.as_bytes()).to_string();
            let _ = write!(name, "?{}", digest.get(..16).unwrap_or_default());
        }
        let id = Id { kind: Kind::Schema, name, version: String::new() };
        Self { id, home: Home::File(url.to_owned()), url: None, sha256: None }
    }

    /// What a component is made from; `None`: its own templates, or a file beside it.
    pub(crate) fn of(component: &Component) -> Result<Option<Self>, Finding> {
        let source = &component.source;
        let artefact = if let Some(chart) = &source.chart {
            let home = match chart.repository.split_once("://") {
                Some(("oci", _)) => Home::Registry(chart.repository.clone()),
                Some(("file", path)) => Home::Folder(PathBuf::from(path)),
                _ => Home::Repository(chart.repository.clone()),
            };
            let id = Id { kind: Kind::Chart, name: chart.name.clone(), version: chart.version.clone() };
            Self { id, home, url: None, sha256: None }
        } else if let Some((manifest, url)) =
            source.manifest.as_ref().and_then(|manifest| Some((manifest, manifest.url.as_ref()?)))
        {
            let sha256 = manifest.sha256.parse().map_err(|error: InvalidDigest| {
                Finding::error(1231, format!("component `{}`: {error}", component.name))
            })?;
            let id = Id {
                kind: Kind::Manifest,
                name: component.name.to_string(),
                version: component.version.clone(),
            };
            Self { id, home: Home::File(url.clone()), url: Some(url.clone()), sha256: Some(sha256) }
        } else {
            return Ok(None);
        };
        for (what, text) in [("name", &artefact.id.name), ("version", &artefact.id.version)] {
            if !is_file_name(text) {
                let message = format!(
                    "component `{}`: the {what} `{text}` of its {} cannot be part of a file's name",
                    component.name,
                    artefact.id.kind.word()
                );
                let rule = "letters, digits, `.`, `-`, `_` and `+`, beginning with a letter or digit";
                return Err(Finding::error(1231, message).hinted(rule));
            }
        }
        Ok(Some(artefact))
    }
}

/// Whether a text can stand in paths and URLs as it is.
pub(super) fn is_file_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.len() <= 128
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+'))
}

/// The artefacts of some components in the order of their ids, each once.
pub(crate) fn artefacts<'a>(
    components: impl IntoIterator<Item = &'a Component>,
) -> Result<Vec<Artefact>, Vec<Finding>> {
    let mut found: BTreeMap<Id, (&Component, Artefact)> = BTreeMap::new();
    let mut findings = Vec::new();
    for component in components {
        match Artefact::of(component) {
            Ok(None) => {}
            Ok(Some(artefact)) => match found.get(&artefact.id) {
                Some((other, known)) if known.home != artefact.home => {
                    let message = format!(
                        "components `{}` and `{}` take {} from different places",
                        other.name, component.name, artefact.id
                    );
                    findings.push(Finding::error(1232, message).hinted("a mirror has one place for it"));
                }
                Some(_) => {}
                None => {
                    found.insert(artefact.id.clone(), (component, artefact));
                }
            },
            Err(finding) => findings.push(finding),
        }
    }
    if findings.is_empty() {
        Ok(found.into_values().map(|(_, artefact)| artefact).collect())
    } else {
        Err(findings)
    }
}

/// A URL for people and lock files: without credentials and query, both of
/// which may be secret.
pub(crate) fn shown(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (host, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let mut shown = String::new();
    let _ = write!(shown, "{scheme}://{host}{path}");
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_and_written() {
        let digest = Digest::of(b"");
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse(), Ok(digest));
        assert_eq!(format!("sha256:{}", text.to_uppercase()).parse(), Ok(digest));
        for wrong in ["", "sha256:", "e3", &text.replace('e', "g"), &format!("{text}0"), "é"] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_secret_is_shown_of_a_url() {
        assert_eq!(shown("https://me:pa@ss@host:1/a/b?token=x#y"), "https://host:1/a/b");
        assert_eq!(shown("oci://host/a@sha256:00"), "oci://host/a@sha256:00");
        assert_eq!(shown("file:///srv/x"), "file:///srv/x");
    }

    #[test]
    fn schemas_lie_by_their_urls_where_those_are_harmless() {
        let path = |url: &str| Artefact::schema(url).id.path();
        assert_eq!(
            path("https://example.org/k8s/v1.34.1/definitions.json"),
            "schemas/example.org/k8s/v1.34.1/definitions.json"
        );
        for url in [
            "https://example.org/../../etc/passwd",
            "https://example.org//x",
            "https://example.org/x?token=canary",
            "https://example.org:8080/x",
            "https://example.org/",
        ] {
            let path = path(url);
            let digest = path.strip_prefix("schemas/").and_then(|file| file.strip_suffix(".json"));
            assert!(digest.is_some_and(|digest| digest.parse::<Digest>().is_ok()), "{url}: {path}");
        }
        let shown = Artefact::schema("https://me:canary@example.org/x?token=canary").id.to_string();
        assert!(shown.starts_with("schema https://example.org/x?") && !shown.contains("canary"), "{shown}");
    }

    #[test]
    fn names_that_leave_their_folder_are_refused() {
        for name in ["../x", "a/b", "", ".x", "a\\b", "a b", "a\n"] {
            assert!(!is_file_name(name), "{name:?}");
        }
        assert!(is_file_name("v1.0.0-rc.1+build_2"));
    }
}
