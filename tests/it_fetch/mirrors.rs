//! Mirrors, folders and proxies.

use std::sync::Arc;

use crate::server::{Reply, Server};
use crate::{Cloud, chart, sha256};

fn upstream() -> Server {
    Server::http(|request| match request.path.as_str() {
        "/index.yaml" => Reply::ok(crate::index("app-1.0.0.tgz", "")),
        "/app-1.0.0.tgz" => Reply::ok(chart()),
        _ => Reply::new(404, ""),
    })
}

#[test]
fn a_mirror_answers_first_and_is_held_to_the_lock() {
    let upstream = upstream();
    let mirror = Server::http(|request| match request.path.as_str() {
        "/m/charts/app-1.0.0.tgz" => Reply::ok(chart()),
        "/evil/charts/app-1.0.0.tgz" => Reply::ok("evil"),
        _ => Reply::new(404, ""),
    });
    let with = |path: &str| {
        let cloud = Cloud::chart(&upstream.url).artifacts(&format!("mirror: '{}/{path}'", mirror.url));
        cloud.lock(&format!("{}/app-1.0.0.tgz", upstream.url), &sha256(&chart()));
        cloud
    };
    assert!(with("m").fetch().ok().stdout.contains("mirror"));
    assert_eq!(upstream.asked(), Vec::<String>::new());
    let ran = with("evil").fetch();
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains(&sha256(b"evil")) && ran.stderr.contains(&sha256(&chart())),
        "{}",
        ran.stderr
    );
    assert!(with("empty").fetch().ok().stdout.contains("upstream"));
}

#[test]
fn a_mirror_that_fails_is_no_reason_to_ask_others() {
    let upstream = upstream();
    let mirror = Server::http(|_| Reply::new(403, ""));
    let cloud = Cloud::chart(&upstream.url).artifacts(&format!("mirror: '{}'", mirror.url));
    let ran = cloud.fetch();
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("C8004"), "{}", ran.stderr);
    assert_eq!(upstream.asked(), Vec::<String>::new());
}

#[test]
fn a_folder_is_a_mirror_packed_and_unpacked() {
    let cloud = Cloud::chart("http://127.0.0.1:1");
    let mirror = format!("mirror: 'file://{}'", cloud.path("mirror").display());
    let cloud = cloud.artifacts(&mirror);
    cloud.lock("http://127.0.0.1:1/app-1.0.0.tgz", &sha256(&chart()));
    cloud.write("mirror/charts/app/Chart.yaml", "apiVersion: v2\nname: app\nversion: 1.2.0\n");
    cloud.write("mirror/charts/app/templates/a.yaml", "kind: A\n");
    let ran = cloud.fetch();
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("is unpacked at") && ran.stderr.contains("helm package"), "{}", ran.stderr);
    let cloud = cloud.artifacts(&format!("{mirror}, verify: false"));
    let ran = cloud.fetch();
    let first = ran.ok().stdout.clone();
    assert!(
        ran.stderr.contains("is not verified") && ran.stderr.contains("has version 1.2.0"),
        "{}",
        ran.stderr
    );
    assert_eq!(cloud.fetch().ok().stdout, first, "the same bytes each time");
    cloud.write("mirror/charts/app/templates/a.yaml", "kind: B\n");
    assert_ne!(cloud.fetch().ok().stdout, first);
    cloud.write("mirror/charts/app-1.0.0.tgz", chart());
    let cloud = cloud.artifacts(&mirror);
    assert!(cloud.fetch().ok().stdout.contains(&sha256(&chart())));
}

#[test]
fn a_component_may_have_its_chart_in_a_folder() {
    let cloud = Cloud::chart("file:///nonexistent");
    let ran = cloud.fetch();
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("there is no chart app 1.0.0 at /nonexistent"), "{}", ran.stderr);
    let charts = cloud.path("charts");
    cloud.component(
        "app",
        &format!("chart: {{ repository: 'file://{}', name: app, version: 1.0.0 }}", charts.display()),
    );
    cloud.write("charts/app/Chart.yaml", "apiVersion: v2\nname: app\nversion: 1.0.0\n");
    assert!(cloud.fetch().ok().stdout.contains("folder"));
    assert!(!cloud.path("catalogue/bundles/mine.lock").exists());
}

/// As `cozy render --chart` reads it, and Helm.
#[test]
fn an_unpacked_chart_of_a_mirror_is_without_what_it_ignores_and_with_what_it_links_to() {
    let cloud = Cloud::chart("http://127.0.0.1:1");
    let mirror = cloud.path("mirror");
    let cloud = cloud.artifacts(&format!("mirror: 'file://{}', verify: false", mirror.display()));
    cloud.write("mirror/charts/app/Chart.yaml", "apiVersion: v2\nname: app\nversion: 1.0.0\n");
    cloud.write("mirror/charts/app/.helmignore", "*.bak\n");
    cloud.write("mirror/charts/app/templates/a.yaml", "kind: A\n");
    let before = cloud.fetch().ok().stdout.clone();
    cloud.write("mirror/charts/app/templates/a.yaml.bak", "{{ this is no template\n");
    assert_eq!(cloud.fetch().ok().stdout, before);
    cloud.write("shared/b.yaml", "kind: B\n");
    std::os::unix::fs::symlink(cloud.path("shared"), cloud.path("mirror/charts/app/templates/shared"))
        .unwrap();
    let linked = cloud.fetch().ok().stdout.clone();
    assert_ne!(linked, before);
    cloud.write("shared/b.yaml", "kind: C\n");
    assert_ne!(cloud.fetch().ok().stdout, linked);
    cloud.write("mirror/charts/app/.helmignore", "a/**\n");
    let ran = cloud.fetch();
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("double-star"), "{}", ran.stderr);
}

/// A proxy for `http://` sees the whole URL.
fn proxy(upstream: &Arc<Server>) -> Server {
    let known = Arc::clone(upstream);
    Server::http(move |request| match request.path.strip_prefix(&known.url) {
        Some("/index.yaml") => Reply::ok(crate::index("app-1.0.0.tgz", "")),
        Some("/app-1.0.0.tgz") => Reply::ok(chart()),
        _ => Reply::new(502, ""),
    })
}

#[test]
fn proxies_of_file_and_environment_are_used_and_left_out_where_asked() {
    let upstream = Arc::new(upstream());
    let proxy = proxy(&upstream);
    let with = |environment: &[(&str, &str)]| {
        let mut cloud = Cloud::chart(&upstream.url);
        cloud.environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        cloud
    };
    with(&[]).artifacts(&format!("proxy: '{}'", proxy.url)).fetch().ok();
    with(&[("http_proxy", &proxy.url)]).fetch().ok();
    assert_eq!((proxy.asked().len(), upstream.asked().len()), (4, 0));
    with(&[("http_proxy", &proxy.url), ("NO_PROXY", "127.0.0.1")]).fetch().ok();
    assert_eq!((proxy.asked().len(), upstream.asked().len()), (4, 2));
    let broken = with(&[("http_proxy", "http://me:canary@[broken")]).fetch();
    assert_eq!(broken.code, Some(1));
    assert!(broken.stderr.contains("C8013") && !broken.stderr.contains("canary"), "{}", broken.stderr);
}
