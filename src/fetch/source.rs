//! Where an artefact comes from: the mirror first, then its upstream home.

use std::path::PathBuf;

use bytes::Bytes;
use reqwest::Url;

use super::error::FetchError;
use super::http::Ask;
use super::{Fetcher, Teller, index, local, parse};
use crate::execute::event::FetchedFrom;
use crate::model::artefact::{Artefact, Digest, Home, Id, Kind, shown};

/// Where everything is looked for first.
#[derive(Debug, Clone)]
pub(crate) enum Mirror {
    /// A web server.
    Web(Url),
    /// The path of an OCI registry.
    Registry(String),
    /// A folder.
    Folder(PathBuf),
}

impl Mirror {
    /// Reads `artifacts.mirror`.
    pub(crate) fn parse(url: &str) -> Result<Self, FetchError> {
        Ok(match url.split_once("://") {
            Some(("oci", _)) => Self::Registry(url.to_owned()),
            Some(("file", path)) => Self::Folder(PathBuf::from(path)),
            _ => Self::Web(folder(parse("the mirror", url)?)),
        })
    }
}

/// What a source had.
pub(super) struct Found {
    pub(super) bytes: Bytes,
    /// Where exactly, for lock and messages.
    pub(super) url: String,
    /// What the source itself says of the bytes.
    pub(super) claimed: Option<Digest>,
    /// An unpacked chart: its folder, and its version.
    pub(super) unpacked: Option<(PathBuf, String)>,
    pub(super) from: FetchedFrom,
}

/// A URL as a folder, so that names can be joined to it.
fn folder(mut url: Url) -> Url {
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    url
}

impl Fetcher<'_> {
    /// The artefact from the mirror, or else from its home.
    pub(super) async fn find(&self, artefact: &Artefact) -> Result<Found, FetchError> {
        if !matches!(artefact.home, Home::Folder(_)) {
            match self.mirrored(artefact).await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        self.upstream(artefact).await
    }

    async fn mirrored(&self, artefact: &Artefact) -> Result<Option<Found>, FetchError> {
        let id = &artefact.id;
        let teller = self.teller(id);
        let from = FetchedFrom::Mirror;
        Ok(Some(match &self.mirror {
            None => return Ok(None),
            Some(Mirror::Web(mirror)) => {
                // `+` of versions means a space to some servers.
                let url = join(mirror, &id.path().replace('+', "%2B"), id)?;
                Found { from, ..self.file(id, url, &teller).await? }
            }
            // Registries have no names such as those of schemas.
            Some(Mirror::Registry(_)) if id.kind == Kind::Schema => return Ok(None),
            Some(Mirror::Registry(mirror)) => {
                let (folder, _) = id.kind.layout();
                let url = format!("{}/{folder}", mirror.trim_end_matches('/'));
                Found { from, ..self.pulled(id, &url, None, &teller).await? }
            }
            Some(Mirror::Folder(mirror)) => {
                let (folder, _) = id.kind.layout();
                let found = local::read(&mirror.join(folder), id)?;
                Found { from, ..Found::from(found) }
            }
        }))
    }

    async fn upstream(&self, artefact: &Artefact) -> Result<Found, FetchError> {
        let id = &artefact.id;
        let teller = self.teller(id);
        match &artefact.home {
            Home::File(url) => self.file(id, parse(&format!("the URL of {id}"), url)?, &teller).await,
            Home::Folder(folder) => Ok(local::read(folder, id)?.into()),
            Home::Registry(home) => {
                let pinned = artefact.url.as_deref().and_then(|url| Some(url.rsplit_once('@')?.1));
                self.pulled(id, home, pinned, &teller).await
            }
            Home::Repository(home) => {
                let home = folder(parse(&format!("the repository of {id}"), home)?);
                if let Some(url) = artefact.url.as_deref().filter(|url| url.starts_with("http")) {
                    let url = with_credentials(parse(&format!("the URL of {id}"), url)?, &home);
                    match self.file(id, url, &teller).await {
                        // Repositories move their files; the index knows where to.
                        Err(error) if error.is_not_found() => {}
                        other => return other,
                    }
                }
                self.indexed(id, &home, &teller).await
            }
        }
    }

    /// The version that a constraint means where a chart is at home. `id` has the constraint instead of a version.
    pub(crate) async fn newest(&self, id: &Id, home: &Home) -> Result<String, FetchError> {
        let teller = self.teller(id);
        let (known, from) = match home {
            Home::Registry(home) => self.registry.tags(id, home, &teller).await?,
            Home::Repository(home) => {
                let home = folder(parse(&format!("the repository of {id}"), home)?);
                let (index, from) = self.index(id, &home, &teller).await?;
                let damaged = |problem| {
                    let (what, from) = ("the repository's index".to_owned(), from.clone());
                    FetchError::Damaged { what, from, problem }
                };
                (index::versions(&index, &id.name).map_err(damaged)?, from)
            }
            Home::File(_) | Home::Folder(_) => return Ok(id.version.clone()),
        };
        let newest = cozy_chart::newest(known.iter().map(String::as_str), &id.version);
        let what = || format!("the version of {id}");
        let newest = newest.map_err(|problem| FetchError::Location {
            what: what(),
            url: id.version.clone(),
            problem,
        })?;
        newest.map(str::to_owned).ok_or_else(|| not_among(id, from, &known))
    }

    async fn index(&self, id: &Id, home: &Url, teller: &Teller<'_>) -> Result<(Vec<u8>, String), FetchError> {
        let url = join(home, "index.yaml", id)?;
        let from = shown(url.as_str());
        teller.asking(&from);
        let index = self.http.get(&Ask::new("the repository's index", url, index::LARGEST), teller).await?;
        Ok((index, from))
    }

    async fn indexed(&self, id: &Id, home: &Url, teller: &Teller<'_>) -> Result<Found, FetchError> {
        let (index, from) = self.index(id, home, teller).await?;
        let place = match index::find(&index, &id.name, &id.version) {
            Ok(Ok(place)) => place,
            Ok(Err(versions)) => {
                return Err(not_among(id, from, &versions));
            }
            Err(problem) => {
                let what = "the repository's index".to_owned();
                return Err(FetchError::Damaged { what, from, problem });
            }
        };
        // A URL of an index is the repository's business, but it cannot lead to local files.
        let url = with_credentials(join(home, &place.url, id)?, home);
        let found = self.file(id, url, teller).await?;
        Ok(Found { claimed: place.sha256, ..found })
    }

    async fn file(&self, id: &Id, url: Url, teller: &Teller<'_>) -> Result<Found, FetchError> {
        let what = id.to_string();
        let ask = Ask::new(&what, url, id.kind.limit());
        teller.asking(&ask.from);
        let bytes = self.http.get(&ask, teller).await?.into();
        Ok(Found { bytes, url: ask.from, claimed: None, unpacked: None, from: FetchedFrom::Upstream })
    }

    async fn pulled(
        &self,
        id: &Id,
        home: &str,
        pinned: Option<&str>,
        teller: &Teller<'_>,
    ) -> Result<Found, FetchError> {
        let (bytes, url) = self.registry.pull(&self.http, id, home, pinned, teller).await?;
        Ok(Found { bytes, url, claimed: None, unpacked: None, from: FetchedFrom::Upstream })
    }
}

fn not_among(id: &Id, from: String, versions: &[String]) -> FetchError {
    let known = match versions {
        [] => ": it has no chart of this name".to_owned(),
        some => format!(": it has {}", some.iter().take(5).cloned().collect::<Vec<_>>().join(", ")),
    };
    FetchError::NotFound { what: id.to_string(), from, known }
}

impl From<local::Found> for Found {
    fn from(found: local::Found) -> Self {
        let local::Found { bytes, path, unpacked } = found;
        let url = format!("file://{}", path.display());
        let unpacked = unpacked.map(|version| (path, version));
        Self { bytes, url, claimed: None, unpacked, from: FetchedFrom::Folder }
    }
}

/// Joins, and stays with HTTP.
fn join(base: &Url, path: &str, id: &Id) -> Result<Url, FetchError> {
    let problem = match base.join(path) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => return Ok(url),
        Ok(url) => format!("{}:// is not meant here", url.scheme()),
        Err(error) => error.to_string(),
    };
    Err(FetchError::Location { what: format!("the URL of {id}"), url: shown(path), problem })
}

/// Credentials of a repository's URL go to the same server, and to no other.
fn with_credentials(mut url: Url, home: &Url) -> Url {
    if url.origin() == home.origin() && url.username().is_empty() {
        // Neither can fail for a URL with a host.
        let _ = url.set_username(home.username());
        let _ = url.set_password(home.password());
    }
    url
}
