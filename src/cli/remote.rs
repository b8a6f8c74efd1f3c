//! Charts of `cozy render --chart` that are somewhere else: in a repository, in
//! a registry, or at a URL. They are fetched, checked and cached like those of
//! components, and locked in the user's own state.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use cozy_chart::is_version;

use super::artefacts::{self, Pinned, Tools, Wanted};
use super::{flow, signals};
use crate::error::{Code, Exit, Problem, Said};
use crate::execute::run::Signal;
use crate::model::artefact::{Artefact, Digest, Home, Id, Kind};
use crate::model::cloud::Artifacts;
use crate::model::names::BundleName;
use crate::settings::Settings;
use crate::ui::Ui;

/// A chart that is somewhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remote {
    home: Home,
    name: String,
    /// A version or a constraint; empty: the newest.
    version: String,
    /// The version is a tag, or of a file: it is what it is.
    exact: bool,
    /// The digest of an image.
    digest: Option<String>,
}

impl Remote {
    /// What the flags of Helm mean; `None`: a path.
    pub(super) fn of(chart: &str, repo: Option<&str>, version: Option<&str>) -> Option<Self> {
        let version = version.unwrap_or_default().to_owned();
        if let Some(repo) = repo {
            let home = Home::Repository(repo.to_owned());
            return Some(Self { home, name: chart.to_owned(), version, exact: false, digest: None });
        }
        let (scheme, rest) = chart.split_once("://")?;
        if scheme != "oci" {
            let file =
                rest.split(['?', '#']).next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
            let (name, version) = versioned(file.strip_suffix(".tgz").unwrap_or(file));
            return Some(Self {
                home: Home::File(chart.to_owned()),
                name,
                version,
                exact: true,
                digest: None,
            });
        }
        let (folder, last) = chart.rsplit_once('/')?;
        let (last, digest) = last.split_once('@').map_or((last, None), |(last, digest)| (last, Some(digest)));
        let (name, tag) = last.split_once(':').map_or((last, None), |(name, tag)| (name, Some(tag)));
        Some(Self {
            home: Home::Registry(folder.to_owned()),
            name: name.to_owned(),
            version: match (tag, digest) {
                (Some(tag), _) => tag.replace('_', "+"),
                (None, Some(_)) if version.is_empty() => "latest".to_owned(),
                (None, _) => version,
            },
            exact: tag.is_some() || digest.is_some(),
            digest: digest.map(str::to_owned),
        })
    }

    fn artefact(&self, version: String) -> Artefact {
        let id = Id { kind: Kind::Chart, name: self.name.clone(), version };
        let url = self.digest.as_ref().map(|digest| format!("oci://{}@{digest}", self.name));
        Artefact { id, home: self.home.clone(), url, sha256: None }
    }

    /// The lock of its home: others may have other charts of the same name.
    pub(super) fn lock(&self) -> Option<BundleName> {
        let digest = Digest::of(format!("{:?} {:?}", self.home, self.digest).as_bytes()).to_string();
        format!("charts-{}", digest.get(..16)?).parse().ok()
    }

    /// The chart's bytes, from the cache or from its home. `Err(signal)` inside: interrupted.
    pub(super) fn fetch(
        &self,
        ca: Option<&Path>,
        settings: &Settings,
        ui: &Ui,
    ) -> anyhow::Result<Result<Bytes, Signal>> {
        if let Err(problem) = cozy_chart::newest([], &self.version)
            && !self.exact
        {
            let hint = "a version is `1.2.3`, a constraint `^1.2` or `>=1.2 <2`";
            return Err(Problem::new(8014, Exit::Usage, format!("--version: {problem}"), hint).into());
        }
        let artifacts = Artifacts { ca: ca.map(PathBuf::from), ..Artifacts::default() };
        let problem = |message: &str| {
            let said = Said { code: Code(8015), message: message.to_owned(), hint: None };
            anyhow::Error::from(Problem::One(said, None, Exit::Usage))
        };
        let bundle = self.lock().ok_or_else(|| problem("a digest makes no name"))?;
        let wanted = Wanted {
            bundle: &bundle,
            artifacts: &artifacts,
            base: Path::new(""),
            patience: artefacts::PATIENCE,
            schemas: false,
        };
        // One whole version is asked for as it is; all else means one of those that are there.
        let whole = self.exact || is_version(&self.version);
        let version = if whole {
            self.version.clone()
        } else {
            match self.newest(&wanted, settings, ui)? {
                Ok(version) => version,
                Err(signal) => return Ok(Err(signal)),
            }
        };
        let mut artefact = self.artefact(version);
        let lock = artefacts::own(&bundle, settings)?;
        lock.pin(&mut artefact);
        if self.digest.is_some() {
            // What its user pinned, and not where it was found before.
            artefact.url = self.artefact(String::new()).url;
        }
        let pinned = Pinned { artefacts: vec![artefact.clone()], lock };
        let fetched = match artefacts::fetch(&pinned, &wanted, settings, ui)? {
            Ok(fetched) => fetched,
            Err(signal) => return Ok(Err(signal)),
        };
        artefact.sha256 = fetched.first().map(|fetched| fetched.sha256);
        let store = artefacts::store(&artifacts, settings).map_err(|error| artefacts::failed(&error))?;
        let bytes = store.get(&artefact).map_err(|error| artefacts::failed(&error))?;
        Ok(Ok(bytes.ok_or_else(|| problem("what was fetched is not in the cache"))?))
    }

    fn newest(
        &self,
        wanted: &Wanted<'_>,
        settings: &Settings,
        ui: &Ui,
    ) -> anyhow::Result<Result<String, Signal>> {
        let tools = Tools::new(wanted, settings, ui)?;
        let fetcher = tools.fetcher()?;
        let id = self.artefact(self.version.clone()).id;
        let newest = flow::runtime()?.block_on(async {
            tokio::select! {
                biased;
                signal = signals::listen() => Err(signal),
                newest = fetcher.newest(&id, &self.home) => Ok(newest),
            }
        });
        newest.map_or_else(
            |signal| Ok(Err(signal)),
            |newest| newest.map(Ok).map_err(|error| artefacts::failed(&error)),
        )
    }
}

/// Name and version of a file, `cert-manager-v1.2.3`; without one the version is empty.
fn versioned(file: &str) -> (String, String) {
    let splits = file.match_indices('-').filter_map(|(at, _)| Some((file.get(..at)?, file.get(at + 1..)?)));
    let found = splits.into_iter().find(|(_, version)| is_version(version));
    let (name, version) = found.unwrap_or((if file.is_empty() { "chart" } else { file }, ""));
    (name.to_owned(), version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_are_named_as_helm_names_them() {
        let said = |chart, repo, version| match Remote::of(chart, repo, version) {
            Some(Remote { home, name, version, digest, .. }) => {
                format!("{home:?} {name} {version:?} {digest:?}")
            }
            None => "a path".to_owned(),
        };
        let all = [
            said("./charts/web", None, None),
            said("web", Some("https://charts.example.org/a"), None),
            said("web", Some("https://charts.example.org/a"), Some("^1.2")),
            said("oci://r.example.org:5000/a/web", None, Some("1.2.3")),
            said("oci://r.example.org:5000/a/web:1.2.3_build", None, None),
            said("oci://r.example.org/web@sha256:00", None, None),
            said("https://example.org/x/cert-manager-v1.2.3-rc.1.tgz?token=x", None, None),
            said("https://example.org/latest", None, None),
            said("https://example.org/", None, None),
        ];
        insta::assert_snapshot!(all.join("\n"), @r#"
            a path
            Repository("https://charts.example.org/a") web "" None
            Repository("https://charts.example.org/a") web "^1.2" None
            Registry("oci://r.example.org:5000/a") web "1.2.3" None
            Registry("oci://r.example.org:5000/a") web "1.2.3+build" None
            Registry("oci://r.example.org") web "latest" Some("sha256:00")
            File("https://example.org/x/cert-manager-v1.2.3-rc.1.tgz?token=x") cert-manager "v1.2.3-rc.1" None
            File("https://example.org/latest") latest "" None
            File("https://example.org/") chart "" None
        "#);
    }
}
