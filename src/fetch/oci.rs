//! OCI registries: tokens by `oci-client`, credentials from docker's
//! `config.json`, manifests and blobs by our own downloads, so that they are
//! bounded, taken up again and tried again like all others.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig};
use oci_client::errors::OciDistributionError;
use oci_client::manifest::OciImageManifest;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use serde::Deserialize;
use tokio::time::Instant;

use super::error::{FetchError, Stalled};
use super::http::{Ask, Credentials, Http, Network};
use super::{Teller, parse};
use crate::execute::retry;
use crate::files;
use crate::model::artefact::{Digest, Id, Kind, shown};
use crate::model::secret::Secret;

/// The media types of manifests that hold an artefact.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The media type of a chart's layer (<https://helm.sh/docs/topics/registries/>).
const CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// Users and their passwords by registry.
type Logins = BTreeMap<String, (String, Secret<String>)>;

/// The largest manifest, in bytes: what registries accept at least
/// (OCI distribution specification 1.1, "Pushing Manifests").
const LARGEST: usize = 4 * 1024 * 1024;

/// How many tags are asked for at a time, and at most.
const PAGE: usize = 1000;
const MOST_TAGS: usize = 100_000;

/// What is looked for in a registry.
pub(super) struct Wanted<'a> {
    /// For people.
    pub(super) what: &'a str,
    /// The repository below its home.
    pub(super) name: &'a str,
    /// The tag.
    pub(super) version: &'a str,
    /// `None`: a file of any kind.
    pub(super) kind: Option<Kind>,
    /// The digest of its manifest, where that is known.
    pub(super) pinned: Option<&'a str>,
}

/// A client for registries.
pub(crate) struct Registry {
    client: Client,
    docker_config: Option<PathBuf>,
    /// Logins by registry, read when a registry is asked first.
    logins: OnceLock<Logins>,
    patience: std::time::Duration,
    stall: std::time::Duration,
}

impl Registry {
    /// Prepares; nothing is sent.
    pub(crate) fn new(network: &Network) -> Result<Self, FetchError> {
        let extra_root_certificates = network
            .authorities()?
            .map(|data| Certificate { encoding: CertificateEncoding::Pem, data })
            .into_iter()
            .collect();
        let proxy = |url: &Option<Secret<String>>| url.as_ref().map(|url| url.expose().clone());
        let config = ClientConfig {
            extra_root_certificates,
            read_timeout: Some(network.stall()),
            connect_timeout: Some(network.stall()),
            user_agent: concat!("cozy/", env!("CARGO_PKG_VERSION")),
            http_proxy: proxy(&network.http_proxy),
            https_proxy: proxy(&network.https_proxy),
            no_proxy: network.no_proxy.clone(),
            ..ClientConfig::default()
        };
        let client =
            Client::try_from(config).map_err(|source| FetchError::Client { source: Box::new(source) })?;
        let docker_config = network.docker_config.clone();
        let (patience, stall) = (network.patience, network.stall());
        Ok(Self { client, docker_config, logins: OnceLock::new(), patience, stall })
    }

    /// Pulls the one layer that is the artefact; also where exactly it was.
    pub(super) async fn pull(
        &self,
        http: &Http,
        id: &Id,
        home: &str,
        pinned: Option<&str>,
        teller: &Teller<'_>,
    ) -> Result<(Bytes, String), FetchError> {
        let what = id.to_string();
        let wanted =
            Wanted { what: &what, name: &id.name, version: &id.version, kind: Some(id.kind), pinned };
        let (blob, layer, url) = self.locate(http, &wanted, home, id.kind.limit(), teller).await?;
        let bytes = http.get(&blob, teller).await?;
        let found = Digest::of(&bytes);
        if found != layer {
            let problem = format!("its layer has the digest sha256:{found}, not sha256:{layer}");
            return Err(FetchError::Damaged { what: what.clone(), from: blob.from, problem });
        }
        Ok((bytes.into(), url))
    }

    /// Finds the layer that is the artefact: what to ask for, its digest, and where exactly it is.
    pub(super) async fn locate<'a>(
        &self,
        http: &Http,
        wanted: &Wanted<'a>,
        home: &str,
        limit: usize,
        teller: &Teller<'_>,
    ) -> Result<(Ask<'a>, Digest, String), FetchError> {
        let Wanted { what, kind, pinned, .. } = *wanted;
        let (image, from) = reference(wanted, home)?;
        teller.asking(&from);
        let credentials = self.credentials(&image, what, &from, teller).await?;
        let ask = |path: String, limit: usize, accept| -> Result<Ask<'a>, FetchError> {
            let url = format!("https://{}/v2/{}/{path}", image.resolve_registry(), image.repository());
            Ok(Ask {
                from: from.clone(),
                credentials: credentials.clone(),
                accept,
                ..Ask::new(what, parse("the registry", &url)?, limit)
            })
        };
        let tag = image.tag().unwrap_or("latest");
        let manifest = ask(format!("manifests/{}", pinned.unwrap_or(tag)), LARGEST, Some(MANIFEST))?;
        let manifest = http.get(&manifest, teller).await?;
        let damaged =
            |problem: String| FetchError::Damaged { what: what.to_owned(), from: from.clone(), problem };
        let digest = Digest::of(&manifest);
        if let Some(pinned) = pinned
            && pinned.parse() != Ok(digest)
        {
            return Err(damaged(format!("its manifest has the digest sha256:{digest}, not {pinned}")));
        }
        let layer = layer(&manifest, kind).map_err(&damaged)?;
        let blob = ask(format!("blobs/sha256:{layer}"), limit, None)?;
        Ok((blob, layer, format!("{from}@sha256:{digest}")))
    }

    /// The versions that a registry has of a chart.
    pub(super) async fn tags(
        &self,
        id: &Id,
        home: &str,
        teller: &Teller<'_>,
    ) -> Result<(Vec<String>, String), FetchError> {
        let what = id.to_string();
        let wanted =
            Wanted { what: &what, name: &id.name, version: "latest", kind: Some(id.kind), pinned: None };
        let (image, from) = reference(&wanted, home)?;
        let from = from.trim_end_matches(":latest").to_owned();
        teller.asking(&from);
        let auth = self.auth(&image)?;
        let mut tags: Vec<String> = Vec::new();
        loop {
            let last = tags.last().cloned();
            let act = async || {
                let page = self.client.list_tags(&image, &auth, Some(PAGE), last.as_deref());
                let Ok(page) = tokio::time::timeout(self.stall, page).await else {
                    let (what, from) = (what.clone(), from.clone());
                    return Err(FetchError::Unreachable {
                        what,
                        from,
                        source: Box::new(Stalled(self.stall)),
                    });
                };
                page.map_err(|error| refused(&what, &from, error))
            };
            let page = retry::until(Instant::now() + self.patience, act, |retry| teller.retry(&from, &retry))
                .await?;
            let whole = page.tags.len() < PAGE;
            tags.extend(page.tags);
            if whole || tags.len() > MOST_TAGS {
                break;
            }
        }
        // What Helm writes for `+` (https://helm.sh/docs/topics/registries/).
        Ok((tags.into_iter().map(|tag| tag.replace('_', "+")).collect(), from))
    }

    /// The login of a registry, if there is one.
    fn login(&self, image: &Reference) -> Result<Option<&(String, Secret<String>)>, FetchError> {
        let known = if let Some(known) = self.logins.get() {
            known
        } else {
            let read = self.docker_config.as_deref().map_or_else(|| Ok(BTreeMap::new()), logins)?;
            self.logins.get_or_init(|| read)
        };
        let hosts = [image.resolve_registry(), image.registry()];
        Ok(hosts.iter().find_map(|host| known.get(*host)))
    }

    fn auth(&self, image: &Reference) -> Result<RegistryAuth, FetchError> {
        Ok(self.login(image)?.map_or(RegistryAuth::Anonymous, |(user, password)| {
            RegistryAuth::Basic(user.clone(), password.expose().clone())
        }))
    }

    /// What lets us in: a token if the registry gives one, else the login.
    async fn credentials(
        &self,
        image: &Reference,
        what: &str,
        from: &str,
        teller: &Teller<'_>,
    ) -> Result<Credentials, FetchError> {
        let (login, auth) = (self.login(image)?, self.auth(image)?);
        let act = async || {
            let token = self.client.auth(image, &auth, RegistryOperation::Pull);
            let Ok(token) = tokio::time::timeout(self.stall, token).await else {
                let (what, from) = (what.to_owned(), from.to_owned());
                return Err(FetchError::Unreachable { what, from, source: Box::new(Stalled(self.stall)) });
            };
            token.map_err(|error| refused(what, from, error))
        };
        let token =
            retry::until(Instant::now() + self.patience, act, |retry| teller.retry(from, &retry)).await?;
        Ok(match (token, login) {
            (Some(token), _) => Credentials::Bearer(Secret::new(token)),
            (None, Some((user, password))) => Credentials::Basic(user.clone(), password.clone()),
            (None, None) => Credentials::None,
        })
    }
}

/// What a registry's error means. Its own texts hold URLs, and are left out.
fn refused(what: &str, from: &str, error: OciDistributionError) -> FetchError {
    let (what, from) = (what.to_owned(), from.to_owned());
    match error {
        OciDistributionError::AuthenticationFailure(_) | OciDistributionError::UnauthorizedError { .. } => {
            FetchError::Refused { what, from, status: 401, retry_after: None }
        }
        OciDistributionError::ServerError { code: status, .. } => {
            FetchError::Refused { what, from, status, retry_after: None }
        }
        OciDistributionError::RequestError(error) => {
            FetchError::Unreachable { what, from, source: Box::new(error.without_url()) }
        }
        _ => FetchError::Damaged { what, from, problem: "the registry's answer makes no sense".to_owned() },
    }
}

/// The reference of an artefact below a registry's path, and its URL for people.
fn reference(wanted: &Wanted<'_>, home: &str) -> Result<(Reference, String), FetchError> {
    let Wanted { what, name, version, .. } = wanted;
    let url = format!("{}/{name}:{}", home.trim_end_matches('/'), version.replace('+', "_"));
    let from = shown(&url);
    // Tags have no `+`: Helm writes `_` (https://helm.sh/docs/topics/registries/).
    let image =
        from.strip_prefix("oci://").unwrap_or(&from).parse().map_err(|error: oci_client::ParseError| {
            FetchError::Location {
                what: format!("the registry of {what}"),
                url: from.clone(),
                problem: error.to_string(),
            }
        })?;
    Ok((image, from))
}

/// The digest of the layer that is the artefact.
fn layer(manifest: &[u8], kind: Option<Kind>) -> Result<Digest, String> {
    let manifest: OciImageManifest =
        serde_json::from_slice(manifest).map_err(|error| format!("its manifest is damaged: {error}"))?;
    let mut layers = manifest.layers.iter();
    let layer = match kind {
        Some(Kind::Chart) => layers.find(|layer| layer.media_type == CHART).ok_or("it is no Helm chart")?,
        Some(Kind::Manifest | Kind::Schema) | None => layers.next().ok_or("it has no layer")?,
    };
    if !layer.digest.starts_with("sha256:") {
        return Err(format!("its layer has the digest `{}`, which is not sha256", layer.digest));
    }
    layer.digest.parse().map_err(|error: crate::model::artefact::InvalidDigest| error.to_string())
}

#[derive(Deserialize)]
struct DockerConfig {
    auths: Option<BTreeMap<String, Option<Login>>>,
}

#[derive(Deserialize)]
struct Login {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

/// Logins by registry, as `docker login` and `helm registry login` write them.
fn logins(path: &Path) -> Result<Logins, FetchError> {
    let failed = |source| FetchError::File {
        verb: "read",
        what: "docker's credentials".to_owned(),
        path: path.to_owned(),
        source,
    };
    let text = match files::read(path, LARGEST as u64) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(failed(error)),
    };
    // docker makes such files, too.
    if text.trim_ascii().is_empty() {
        return Ok(BTreeMap::new());
    }
    // Where it is broken is said, what stands there is not.
    let config: DockerConfig = serde_json::from_slice(&text).map_err(|error| {
        failed(io::Error::other(format!("it is broken in line {}, column {}", error.line(), error.column())))
    })?;
    let logins = config
        .auths
        .into_iter()
        .flatten()
        .filter_map(|(host, login)| Some((host_of(&host).to_owned(), login?.read()?)));
    Ok(logins.collect())
}

/// The registry that a key of `auths` is about: older ones are URLs.
fn host_of(key: &str) -> &str {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest);
    key.split('/').next().unwrap_or_default()
}

impl Login {
    fn read(self) -> Option<(String, Secret<String>)> {
        if let Some(auth) = self.auth.filter(|auth| !auth.is_empty()) {
            let text = String::from_utf8(BASE64_STANDARD.decode(auth.trim()).ok()?).ok()?;
            let (user, password) = text.trim_end_matches('\0').split_once(':')?;
            return Some((user.to_owned(), Secret::new(password.to_owned())));
        }
        Some((self.username?, Secret::new(self.password?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_logins_are_read_by_host() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        assert!(logins(&path).unwrap().is_empty());
        // user:pa:ss
        let text = r#"{"auths": {"https://index.docker.io/v1/": {"auth": "dXNlcjpwYTpzcw=="}, "r:5000": {"username": "a", "password": "b"},
            "broken": {"auth": "!!!"}, "helper": {}}, "credsStore": "desktop"}"#;
        fs_err::write(&path, text).unwrap();
        let found: Vec<_> = logins(&path)
            .unwrap()
            .into_iter()
            .map(|(host, (user, password))| format!("{host} {user} {}", password.expose()))
            .collect();
        assert_eq!(found, ["index.docker.io user pa:ss", "r:5000 a b"]);
        for none in ["", " \n", "{}", "{\"auths\": null}", "{\"auths\": {\"r\": null}}"] {
            fs_err::write(&path, none).unwrap();
            assert!(logins(&path).unwrap().is_empty(), "{none}");
        }
        fs_err::write(&path, "{\"auths\": hunter22}").unwrap();
        let said = logins(&path).unwrap_err().said();
        assert!(
            said.message.contains("line 1, column") && !said.message.contains("hunter22"),
            "{}",
            said.message
        );
    }

    #[test]
    fn only_charts_are_taken_for_charts() {
        let manifest = |media: &str, digest: &str| {
            format!(
                r#"{{"schemaVersion": 2, "config": {{"mediaType": "x", "digest": "sha256:00", "size": 1}}, "layers": [{{"mediaType": "{media}", "digest": "{digest}", "size": 1}}]}}"#
            )
        };
        let sha = format!("sha256:{}", Digest::of(b""));
        assert_eq!(layer(manifest(CHART, &sha).as_bytes(), Some(Kind::Chart)), Ok(Digest::of(b"")));
        assert_eq!(
            layer(manifest("text/x", &sha).as_bytes(), Some(Kind::Chart)),
            Err("it is no Helm chart".to_owned())
        );
        assert_eq!(layer(manifest("text/x", &sha).as_bytes(), Some(Kind::Manifest)), Ok(Digest::of(b"")));
        assert!(layer(manifest(CHART, "sha512:00").as_bytes(), Some(Kind::Chart)).is_err());
        assert!(layer(b"[]", Some(Kind::Chart)).is_err());
    }
}
