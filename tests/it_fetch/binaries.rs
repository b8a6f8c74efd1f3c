//! The files that hosts get: large, pinned, from upstream or a mirror, and
//! refused before any host hears of them.

use crate::registry::Registry;
use crate::server::{After, Certificate, Reply, Server};
use crate::{Cloud, files, sha256};

/// Some bytes that stand for a kubelet.
fn kubelet() -> Vec<u8> {
    (0..700_000_u32).flat_map(u32::to_le_bytes).collect()
}

const ARCH: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// A cloud on hosts, with one file locked.
fn cloud(url: &str, digest: &str) -> Cloud {
    let cloud = Cloud::new("templates: []").kubernetes("provider: kubeadm").hosts("{ address: 192.0.2.1 }");
    cloud.write("catalogue/templates/app/component.yaml", NOTHING);
    cloud.write(
        "catalogue/templates/app/app.yaml.j2",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a, namespace: default }\n",
    );
    cloud.write(
        "catalogue/bundles/kubernetes.lock",
        format!(
            "kubernetes: v1.36.4\nsandbox: example.org/pause:1\nartifacts:\n\
             - {{ name: kubelet, version: v1.36.4, arch: {ARCH}, url: '{url}/release/kubelet', sha256: {digest} }}\n\
             ---\nkubernetes: v1.35.8\nsandbox: example.org/pause:1\nartifacts: []\n"
        ),
    );
    cloud
}

const NOTHING: &str = "apiVersion: cozy/v1\nkind: Component\nname: app\nsummary: x\ncategory: x\nversion: 1.0.0\n\
    source: { templates: [app.yaml.j2] }\n";

fn with_ca(cloud: Cloud, ca: &str, more: &str) -> Cloud {
    cloud.write("ca.pem", ca);
    cloud.artifacts(&format!("ca: ca.pem{more}"))
}

#[test]
fn a_file_is_downloaded_once_also_when_it_breaks_off() {
    let server = Server::https(|request| {
        let reply = Reply::ranged(request, &kubelet(), "\"one\"");
        if request.before == 0 {
            return reply.cut(1_000_000, After::Close);
        }
        assert_eq!(request.header("range"), Some("bytes=1000000-"));
        reply
    });
    let cloud = with_ca(cloud(&server.url, &sha256(&kubelet())), &server.ca, "");
    let ran = cloud.run(&["fetch", "-o", "json"]);
    let document: serde_json::Value = serde_json::from_str(&ran.ok().stdout).unwrap();
    let kubelet_row = &document["artifacts"][0];
    assert_eq!(kubelet_row["kind"], "binary");
    assert_eq!((&kubelet_row["name"], &kubelet_row["arch"]), (&"kubelet".into(), &ARCH.into()));
    assert_eq!((&kubelet_row["from"], &kubelet_row["bytes"]), (&"upstream".into(), &2_800_000.into()));
    assert_eq!(fs_err::read(cloud.blob(&kubelet())).unwrap(), kubelet());
    assert!(cloud.fetch().ok().stdout.contains("cache"));
    assert_eq!(server.asked(), ["/release/kubelet", "/release/kubelet"]);
    // What rotted in the cache is noticed, and fetched again.
    fs_err::write(cloud.blob(&kubelet()), "rot").unwrap();
    let server = Server::https(|_| Reply::ok(kubelet()));
    let cloud = with_ca(self::cloud(&server.url, &sha256(&kubelet())), &server.ca, "");
    cloud.write(&format!("cache/cozy/blobs/sha256/{}", sha256(&kubelet())), "rot");
    let ran = cloud.fetch();
    assert!(ran.ok().stderr.contains("was damaged in the cache"), "{}", ran.stderr);
    assert_eq!(fs_err::read(cloud.blob(&kubelet())).unwrap(), kubelet());
}

#[test]
fn other_bytes_are_refused_and_nothing_of_them_is_kept() {
    let server = Server::https(|request| match request.path.as_str() {
        "/release/kubelet" => Reply::ok("evil"),
        _ => Reply::new(404, ""),
    });
    // `verify: false` is for charts: what runs as root on hosts is always what was locked.
    for more in ["", ", verify: false"] {
        let cloud = with_ca(cloud(&server.url, &sha256(&kubelet())), &server.ca, more);
        let ran = cloud.fetch();
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        for words in ["C8007", &sha256(b"evil"), &sha256(&kubelet()), "from bundles/kubernetes.lock"] {
            assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
        }
        assert_eq!(files(&cloud.path("cache/cozy/blobs/sha256")), 0);
    }
}

#[test]
fn truncated_downloads_are_refused() {
    // As long as the server says, and shorter than what was locked.
    let server = Server::https(|_| Reply::ok(&kubelet()[..2_000_000]));
    let cloud = with_ca(self::cloud(&server.url, &sha256(&kubelet())), &server.ca, "");
    let ran = cloud.fetch();
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("C8007"), "{}", ran.stderr);
    // Shorter than the server says, again and again, from a server that cannot take up where it was.
    let server = Server::https(|_| Reply::ok(kubelet()).cut(500_000, After::Close));
    let cloud = with_ca(self::cloud(&server.url, &sha256(&kubelet())), &server.ca, "");
    let ran = cloud.run(&["fetch", "--timeout", "2s"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("C8001"), "{}", ran.stderr);
    assert_eq!(files(&cloud.path("cache/cozy/blobs/sha256")), 0);
}

#[test]
fn a_mirror_whose_certificate_has_ended_is_refused() {
    let upstream = Server::https(|_| Reply::ok(kubelet()));
    let mirror = Server::https_with(Certificate::ended(), |_| Reply::ok(kubelet()));
    let cloud = cloud(&upstream.url, &sha256(&kubelet()));
    let cloud = with_ca(cloud, &mirror.ca, &format!(", mirror: '{}'", mirror.url));
    let ran = cloud.fetch();
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("C8002") && ran.stderr.contains("xpired"), "{}", ran.stderr);
    assert_eq!(upstream.asked(), Vec::<String>::new(), "nobody else is asked");
    assert_eq!(mirror.asked(), Vec::<String>::new());
}

#[test]
fn mirrors_are_folders_web_servers_and_registries() {
    let path = |name: &str| format!("kubernetes/v1.36.4/{ARCH}/{name}");
    let locked = || cloud("http://127.0.0.1:1", &sha256(&kubelet()));
    let cloud = locked();
    let folder = cloud.path("mirror").display().to_string();
    cloud.write(&format!("mirror/{}", path("kubelet")), kubelet());
    let cloud = cloud.artifacts(&format!("mirror: 'file://{folder}'"));
    assert!(cloud.fetch().ok().stdout.contains("mirror"));
    assert_eq!(files(&cloud.path("cache/cozy/blobs/sha256")), 0, "it stays where it is");
    cloud.write(&format!("mirror/{}", path("kubelet")), "evil");
    let ran = cloud.fetch();
    assert!(ran.code == Some(1) && ran.stderr.contains("C8007"), "{}", ran.stderr);

    let server = Server::http(move |request| match request.path.strip_prefix("/m/") {
        Some(asked) if asked == path("kubelet") => Reply::ok(kubelet()),
        _ => Reply::new(404, ""),
    });
    let cloud = locked().artifacts(&format!("mirror: '{}/m'", server.url));
    assert!(cloud.fetch().ok().stdout.contains("mirror"));

    let registry = Registry::start();
    registry.push(&format!("m/kubernetes/kubelet:v1.36.4-{ARCH}"), "application/octet-stream", &kubelet());
    let cloud =
        registry.known(locked()).artifacts(&format!("ca: ca.pem, mirror: 'oci://{}/m'", registry.host));
    assert!(cloud.fetch().ok().stdout.contains("mirror"));
    assert_eq!(fs_err::read(cloud.blob(&kubelet())).unwrap(), kubelet());
}

#[test]
fn a_version_that_is_not_locked_shows_those_that_are() {
    let cloud = cloud("http://127.0.0.1:1", &sha256(&kubelet()));
    let cloud = cloud.kubernetes("provider: kubeadm, version: v1.34.1");
    let ran = cloud.run(&["validate"]);
    insta::assert_snapshot!(ran.said(&cloud), @"
        exit 2
        error[C5031]: Kubernetes v1.34.1 is not in `bundles/kubernetes.lock`, which has v1.36.4, v1.35.8
         --> cozy.yaml:5:43
          |
        5 | kubernetes: { provider: kubeadm, version: v1.34.1 }
          |                                           ^^^^^^^
          |
          = help: write one of them as `kubernetes.version`, leave it out for the newest, or name a catalogue that locks it with --catalogue

        error: 1 mistake in the input
    ");
}
