//! `cozy render --chart` of charts that are somewhere else: the bytes that
//! helm prints, fetched once, checked, and found again without a network.

use std::process::Command;

use insta::assert_snapshot;

use crate::registry::{CHART, Registry};
use crate::server::{Reply, Server};
use crate::{Cloud, Ran, sha256};

/// The test chart `web` 1.4.0, packed.
fn web() -> Vec<u8> {
    let folder = format!("{}/tests/charts/web", env!("CARGO_MANIFEST_DIR"));
    let packed = Command::new("tar")
        .args(["--transform", "s/^chart/web/", "-czf", "-", "-C", &folder, "chart"])
        .output()
        .unwrap();
    assert!(packed.status.success());
    packed.stdout
}

/// What helm printed of it.
fn golden() -> String {
    fs_err::read_to_string(format!("{}/tests/charts/web/golden/default.txt", env!("CARGO_MANIFEST_DIR")))
        .unwrap()
}

/// Without cozy.yaml and catalogue.
pub(crate) fn render(cloud: &Cloud, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cozy"));
    command
        .args(["render", "--name", "demo"])
        .args(arguments)
        .current_dir(cloud.folder.path())
        .env_clear()
        .env("XDG_STATE_HOME", cloud.path("state"))
        .env("XDG_CACHE_HOME", cloud.path("cache"))
        .env("DOCKER_CONFIG", cloud.path("docker"))
        .env("COLUMNS", "160");
    Ran::from(command.output().unwrap())
}

fn repository(digest: String) -> Server {
    let bytes = web();
    Server::http(move |request| match request.path.split('?').next().unwrap() {
        "/index.yaml" => Reply::ok(format!(
            "apiVersion: v1\nentries:\n  web:\n  - {{ name: web, version: 2.0.0-rc.1, urls: [none.tgz] }}\n  \
             - {{ name: web, version: 1.3.9, urls: [none.tgz] }}\n  \
             - {{ name: web, version: 1.4.0, urls: [web-1.4.0.tgz], digest: '{digest}' }}\n"
        )),
        "/web-1.4.0.tgz" => Reply::ok(bytes.clone()),
        _ => Reply::new(404, ""),
    })
}

#[test]
fn a_chart_of_a_repository_is_rendered_as_helm_does_and_without_it_again() {
    let cloud = Cloud::new("templates: []");
    let server = repository(sha256(&web()));
    let whole = ["--chart", "web", "--repo", &server.url, "--version", "1.4.0"];
    assert_eq!(render(&cloud, &whole).ok().stdout, golden());
    assert_eq!(server.asked(), ["/index.yaml", "/web-1.4.0.tgz"]);
    assert_eq!(render(&cloud, &whole).ok().stdout, golden());
    assert_eq!(server.asked().len(), 2, "{:?}", server.asked());
    // The newest that is no pre-release, and the newest that meets a constraint.
    assert_eq!(render(&cloud, &["--chart", "web", "--repo", &server.url]).ok().stdout, golden());
    let range = render(&cloud, &["--chart", "web", "--repo", &server.url, "--version", "^1.3"]);
    assert_eq!(range.ok().stdout, golden());
    let said: String = ["~1.5", "three", "3.0.0"]
        .iter()
        .map(|version| {
            render(&cloud, &["--chart", "web", "--repo", &server.url, "--version", version]).said(&cloud)
        })
        .collect();
    assert_snapshot!(said, @r#"
        exit 1
        error[C8006]: there is no chart web ~1.5 at http://[server]/index.yaml: it has 2.0.0-rc.1, 1.3.9, 1.4.0

        hint: check its name, its version, and where it is said to be
        exit 2
        error[C8014]: --version: "three" is not a constraint on versions

        hint: a version is `1.2.3`, a constraint `^1.2` or `>=1.2 <2`
        exit 1
        error[C8006]: there is no chart web 3.0.0 at http://[server]/index.yaml: it has 2.0.0-rc.1, 1.3.9, 1.4.0

        hint: check its name, its version, and where it is said to be

        error: 1 artefact of 1 could not be fetched
    "#);
}

#[test]
fn a_chart_that_is_not_what_its_repository_says_is_not_rendered() {
    let cloud = Cloud::new("templates: []");
    let server = repository(sha256(b"other"));
    let ran = render(&cloud, &["--chart", "web", "--repo", &server.url]);
    assert_eq!(ran.stdout, "");
    let said = ran.said(&cloud).replace(&sha256(&web()), "[found]").replace(&sha256(b"other"), "[expected]");
    assert_snapshot!(said, @"
        exit 1
        error[C8007]: chart web 1.4.0 from http://[server]/web-1.4.0.tgz is not what it should be
          expected sha256 [expected], from the repository's index
          found    sha256 [found]

        hint: somebody changed it, on the way or at its home: find out who before you remove its entry from the lock, or set `artifacts.verify: false`

        error: 1 artefact of 1 could not be fetched
    ");
}

#[test]
fn a_chart_at_a_url_is_pinned_by_its_first_download() {
    let cloud = Cloud::new("templates: []");
    let server = repository(String::new());
    let url = format!("{}/web-1.4.0.tgz?token=canary", server.url);
    let first = render(&cloud, &["--chart", &url]);
    assert_eq!(first.ok().stdout, golden());
    assert!(first.stderr.contains("chart web 1.4.0 had no confirmed digest"), "{}", first.stderr);
    assert!(!first.stderr.contains("canary"), "{}", first.stderr);
    assert_eq!(render(&cloud, &["--chart", &url]).ok().stdout, golden());
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn what_is_not_there_is_said_with_what_to_check() {
    let cloud = Cloud::new("templates: []");
    let server = Server::http(|_| Reply::new(404, ""));
    cloud.write("values/x.yaml", "a: b");
    let url = format!("{}/latest.tgz", server.url);
    let web = format!("{}/tests/charts/web/chart", env!("CARGO_MANIFEST_DIR"));
    let runs: [&[&str]; 4] = [
        &["--chart", &url],
        &["--chart", "nowhere"],
        &["--chart", &web, "--values", "values"],
        &["--chart", &web, "--values", "values/x.yaml/y"],
    ];
    assert_snapshot!(runs.map(|arguments| render(&cloud, arguments).said(&cloud)).concat(), @"
    exit 1
    error[C8006]: there is no chart latest at http://[server]/latest.tgz

    hint: check its name, its version, and where it is said to be

    error: 1 artefact of 1 could not be fetched
    exit 2
    error[C2021]: failed to open file `nowhere`: No such file or directory (os error 2)

    hint: check the path: it is relative to the folder that cozy runs in, and a link must lead somewhere
    exit 2
    error[C2021]: failed to read from file `values`: Is a directory (os error 21)

    hint: name a file in it
    exit 2
    error[C2021]: failed to open file `values/x.yaml/y`: Not a directory (os error 20)

    hint: check the path: it is relative to the folder that cozy runs in, and a link must lead somewhere
    ");
}

/// A file without a version is pinned, and its pin is read again.
#[test]
fn a_chart_at_a_url_without_a_version_is_pinned_too() {
    let cloud = Cloud::new("templates: []");
    let server = Server::http(|_| Reply::ok(web()));
    for path in ["/latest", "/"] {
        let url = format!("{}{path}", server.url);
        let first = render(&cloud, &["--chart", &url]);
        assert_eq!(first.ok().stdout, golden());
        assert!(render(&cloud, &["--chart", &url]).ok().stderr.contains("from cache"));
    }
    assert_eq!(server.asked(), ["/latest", "/"]);
}

#[test]
fn a_chart_of_a_registry_is_rendered_by_tag_by_digest_and_by_constraint() {
    let registry = Registry::start();
    let digest = registry.push("charts/web:1.4.0", CHART, &web());
    registry.push("charts/web:1.3.0_build", CHART, b"older");
    let cloud = registry.known(Cloud::new("templates: []"));
    let home = format!("oci://{}/charts/web", registry.host);
    let forms = [vec!["--version", "1.4.0"], vec![], vec!["--version", ">=1.3 <2"]];
    for form in forms {
        let arguments = [vec!["--chart", &home, "--ca-file", "ca.pem"], form].concat();
        assert_eq!(render(&cloud, &arguments).ok().stdout, golden());
    }
    for chart in [format!("{home}:1.4.0"), format!("{home}@{digest}")] {
        let ran = render(&cloud, &["--chart", &chart, "--ca-file", "ca.pem"]);
        assert_eq!(ran.ok().stdout, golden());
    }
    drop(registry);
    let ran = render(&cloud, &["--chart", &home, "--version", "1.4.0", "--ca-file", "ca.pem"]);
    assert_eq!(ran.ok().stdout, golden());
    let ran = render(&cloud, &["--chart", &format!("{home}@{digest}"), "--ca-file", "ca.pem"]);
    assert_eq!(ran.ok().stdout, golden());
}
