//! A real registry: Debian's `docker-registry`, with TLS and a password, that
//! the test itself pushes to.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use insta::assert_snapshot;
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, Config, ImageLayer};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

use crate::{Cloud, chart, named, server, sha256};

/// `me` with the password `hunter22`, as `htpasswd -B` writes it (bcrypt).
const LOGIN: &str = "me:$2b$04$De8hbaNYGA1ssK1P/9mBIek.v.EJT2J7Ee.tXjO0VcqBNv5J4thX.\n";

/// The same for docker's config.json.
const AUTH: &str = "bWU6aHVudGVyMjI=";

pub(crate) const CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

pub(crate) struct Registry {
    process: Child,
    _folder: tempfile::TempDir,
    pub(crate) host: String,
    ca: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Registry {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificate = server::Certificate::new();
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs_err::write(path("ca.pem"), &certificate.pem).unwrap();
        fs_err::write(path("key.pem"), &certificate.key_pem).unwrap();
        fs_err::write(path("htpasswd"), LOGIN).unwrap();
        // A port that was free a moment ago: the registry cannot say which one it took.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "version: 0.1\nlog: {{ level: info, accesslog: {{ disabled: true }} }}\n\
             storage: {{ filesystem: {{ rootdirectory: {} }} }}\n\
             http: {{ addr: '127.0.0.1:{port}', tls: {{ certificate: {}, key: {} }} }}\n\
             auth: {{ htpasswd: {{ realm: test, path: {} }} }}\n",
            path("data"),
            path("ca.pem"),
            path("key.pem"),
            path("htpasswd"),
        );
        fs_err::write(path("config.yml"), config).unwrap();
        let mut process = Command::new("docker-registry")
            .args(["serve", &path("config.yml")])
            .env_clear()
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry is Debian's package of that name");
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let listens = lines.by_ref().any(|line| line.unwrap().contains("listening on"));
        assert!(listens, "docker-registry ended");
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, _folder: folder, host: format!("127.0.0.1:{port}"), ca: certificate.pem }
    }

    /// Pushes bytes as an artefact with one layer; the digest of its manifest.
    pub(crate) fn push(&self, name: &str, media: &str, bytes: &[u8]) -> String {
        let root = Certificate { encoding: CertificateEncoding::Pem, data: self.ca.clone().into_bytes() };
        let config = ClientConfig { extra_root_certificates: vec![root], ..ClientConfig::default() };
        let client = Client::new(config);
        let image: Reference = format!("{}/{name}", self.host).parse().unwrap();
        let layers = [ImageLayer::new(bytes.to_vec(), media.to_owned(), None)];
        let config = Config::new(b"{}".to_vec(), "application/vnd.cncf.helm.config.v1+json".to_owned(), None);
        let auth = RegistryAuth::Basic("me".to_owned(), "hunter22".to_owned());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            client.push(&image, &layers, config, &auth, None).await.unwrap();
            client.fetch_manifest_digest(&image, &auth).await.unwrap()
        })
    }

    /// A cloud whose chart is here, or below a path.
    fn cloud(&self, path: &str) -> Cloud {
        self.known(Cloud::chart(&format!("oci://{}/{path}", self.host)).artifacts("ca: ca.pem"))
    }

    /// Gives a cloud the registry's authority and its password.
    pub(crate) fn known(&self, cloud: Cloud) -> Cloud {
        cloud.write("ca.pem", &self.ca);
        cloud.write(
            "docker/config.json",
            format!(r#"{{"auths": {{"{}": {{"auth": "{AUTH}"}}}}}}"#, self.host),
        );
        cloud
    }
}

#[test]
fn charts_come_from_a_registry_by_tag_and_are_pinned_by_digest() {
    let registry = Registry::start();
    let digest = registry.push("charts/app:1.0.0", CHART, &chart());
    let cloud = registry.cloud("charts");
    cloud.fetch().ok();
    assert_eq!(fs_err::read(cloud.blob(&chart())).unwrap(), chart());
    let lock = cloud.read("catalogue/bundles/mine.lock");
    assert!(lock.contains(&format!("url: \"oci://{}/charts/app:1.0.0@{digest}\"", registry.host)), "{lock}");
    assert!(lock.contains(&sha256(&chart())), "{lock}");
    // The tag moves; what is pinned is still what comes.
    registry.push("charts/app:1.0.0", CHART, b"newer");
    fs_err::remove_file(cloud.blob(&chart())).unwrap();
    cloud.fetch().ok();
    assert!(cloud.blob(&chart()).is_file());
    // Without the registry the cache is enough.
    drop(registry);
    cloud.fetch().ok();
}

#[test]
fn registries_that_refuse_or_lack_are_told_apart() {
    let registry = Registry::start();
    registry.push("charts/app:1.0.0", "text/plain", b"no chart");
    let missing = registry.cloud("other");
    let wrong = registry.cloud("charts");
    let stranger = registry.cloud("charts");
    fs_err::remove_file(stranger.path("docker/config.json")).unwrap();
    let denied = registry.cloud("charts");
    denied.write(
        "docker/config.json",
        format!(r#"{{"auths": {{"{}": {{"username": "me", "password": "canary"}}}}}}"#, registry.host),
    );
    let untrusted = registry.cloud("charts").artifacts("verify: true");
    let said: String = [missing, wrong, stranger, denied, untrusted]
        .iter()
        .map(|cloud| cloud.fetch().said(cloud) + "\n")
        .collect();
    assert!(!said.contains("canary"), "{said}");
    assert_snapshot!(said, @"
        exit 1
        error[C8006]: there is no chart app 1.0.0 at oci://[server]/other/app:1.0.0

        hint: check its name, its version, and where it is said to be

        error: 1 artefact of 1 could not be fetched

        exit 1
        error[C8009]: cannot read chart app 1.0.0 from oci://[server]/charts/app:1.0.0: it is no Helm chart

        hint: check the URL with a browser: is it what it should be?

        error: 1 artefact of 1 could not be fetched

        exit 1
        error[C8004]: cannot download chart app 1.0.0 from oci://[server]/charts/app:1.0.0: the server answered 401

        hint: log in with `docker login`: credentials are read from docker's config.json (`auths`, not credential helpers)

        error: 1 artefact of 1 could not be fetched

        exit 1
        error[C8004]: cannot download chart app 1.0.0 from oci://[server]/charts/app:1.0.0: the server answered 401

        hint: log in with `docker login`: credentials are read from docker's config.json (`auths`, not credential helpers)

        error: 1 artefact of 1 could not be fetched

        exit 1
        error[C8002]: cannot download chart app 1.0.0 from oci://[server]/charts/app:1.0.0
          caused by: invalid peer certificate: UnknownIssuer

        hint: if its certificate is from a company's own authority, name that authority with `artifacts.ca` in cozy.yaml

        error: 1 artefact of 1 could not be fetched
    ");
}

#[test]
fn a_registry_is_a_mirror_for_charts_and_manifests() {
    let registry = Registry::start();
    registry.push("mirror/charts/app:1.0.0_build.1", CHART, &named("app", "1.0.0+build.1"));
    registry.push("mirror/manifests/plain:1.0.0", "application/yaml", b"kind: List\n");
    let cloud = Cloud::new("chart: { repository: 'http://127.0.0.1:1', name: app, version: 1.0.0+build.1 }");
    cloud.component(
        "plain",
        &format!("manifest: {{ url: 'http://127.0.0.1:1/x', sha256: {} }}", sha256(b"kind: List\n")),
    );
    let bundle = cloud.read("catalogue/bundles/mine.yaml").replace("app: {}", "app: {}, plain: {}");
    cloud.write("catalogue/bundles/mine.yaml", bundle);
    let cloud = cloud.artifacts(&format!("mirror: 'oci://{}/mirror', ca: ca.pem", registry.host));
    let cloud = registry.known(cloud);
    let ran = cloud.fetch();
    assert_eq!(ran.ok().stdout.matches("mirror").count(), 2, "{}", ran.stdout);
    assert!(cloud.blob(&named("app", "1.0.0+build.1")).is_file() && cloud.blob(b"kind: List\n").is_file());
}
