//! Who is let in: registries that give tokens, and credentials that stay with
//! the host they are for.

use std::sync::{Arc, Mutex};

use insta::assert_snapshot;

use crate::registry::CHART;
use crate::server::{After, Reply, Request, Server};
use crate::{Cloud, chart, index, sha256};

/// `me:hunter22` for docker's config.json, and for HTTP.
const LOGIN: &str = "bWU6aHVudGVyMjI=";

/// The `Authorization` headers that a server saw.
type Seen = Arc<Mutex<Vec<Option<String>>>>;

/// A server that serves the chart to anybody, and notes who asks.
fn storage(seen: &Seen, tls: bool) -> Server {
    let seen = Arc::clone(seen);
    let answer = move |request: &Request| {
        seen.lock().unwrap().push(request.header("authorization").map(str::to_owned));
        Reply::ok(chart())
    };
    if tls { Server::https(answer) } else { Server::http(answer) }
}

/// The manifest of the chart, as registries have it.
fn manifest() -> String {
    format!(
        r#"{{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {{"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": "sha256:{}", "size": 2}}, "layers": [{{"mediaType": "{CHART}", "digest": "sha256:{}", "size": {}}}]}}"#,
        sha256(b"{}"),
        sha256(&chart()),
        chart().len()
    )
}

/// A registry that wants tokens, which only `login` gets, or anybody where it
/// is `None`; blobs are on another host.
fn registry(login: Option<&'static str>, blobs: String) -> Server {
    Server::https(move |request| {
        let path = request.path.split('?').next().unwrap();
        let said = request.header("authorization");
        if path == "/token" {
            let wanted = login.map(|login| format!("Basic {login}"));
            let scope = request.path.contains("scope=repository%3Acharts%2Fapp%3Apull")
                || request.path.contains("scope=repository:charts/app:pull");
            return if said == wanted.as_deref() && scope {
                Reply::ok(r#"{"token": "canary-token"}"#).header("Content-Type", "application/json")
            } else {
                Reply::new(401, r#"{"errors": [{"code": "UNAUTHORIZED", "message": "no", "detail": ""}]}"#)
            };
        }
        if said != Some("Bearer canary-token") {
            let realm = format!(
                "Bearer realm=\"https://{}/token\",service=\"registry\"",
                request.header("host").unwrap()
            );
            return Reply::new(401, "{}").header("WWW-Authenticate", realm);
        }
        match path {
            "/v2/charts/app/manifests/1.0.0" => {
                Reply::ok(manifest()).header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
            }
            _ if path.starts_with("/v2/charts/app/blobs/") => {
                Reply::new(307, "").header("Location", blobs.clone())
            }
            _ => Reply::new(404, ""),
        }
    })
}

/// A cloud whose chart is in a registry; both servers are trusted.
fn cloud(registry: &Server, storage: &Server, auths: &str) -> Cloud {
    let host = registry.url.trim_start_matches("https://");
    let cloud = Cloud::chart(&format!("oci://{host}/charts")).artifacts("ca: ca.pem");
    cloud.write("ca.pem", format!("{}{}", registry.ca, storage.ca));
    cloud.write("docker/config.json", format!(r#"{{"auths": {{{}}}}}"#, auths.replace("HOST", host)));
    cloud
}

#[test]
fn a_registry_that_gives_tokens_gets_the_login_and_its_storage_does_not() {
    let seen = Seen::default();
    let storage = storage(&seen, true);
    let blobs = format!("{}/blob", storage.url);
    let private = registry(Some(LOGIN), blobs.clone());
    let cloud_of = |auths: &str| cloud(&private, &storage, auths);
    let known = cloud_of(&format!(r#""HOST": {{"auth": "{LOGIN}"}}"#));
    let ran = known.run(&["fetch", "-v"]);
    ran.ok();
    assert!(known.blob(&chart()).is_file());
    for text in [&ran.stderr, &ran.stdout, &known.read("catalogue/bundles/mine.lock")] {
        assert!(!text.contains("canary") && !text.contains("hunter") && !text.contains(LOGIN), "{text}");
    }
    assert_eq!(*seen.lock().unwrap(), [None], "the storage is another host");
    // Without a login, with a wrong one, and with one for another host.
    let wrong = "bWU6d3Jvbmc=";
    let said: String = [
        String::new(),
        format!(r#""HOST": {{"auth": "{wrong}"}}"#),
        format!(r#""elsewhere.example": {{"auth": "{LOGIN}"}}"#),
    ]
    .iter()
    .map(|auths| {
        let cloud = cloud_of(auths);
        cloud.fetch().said(&cloud) + "\n"
    })
    .collect();
    assert_snapshot!(said, @"
        exit 1
        error[C8004]: cannot download chart app 1.0.0 from oci://[server]/charts/app:1.0.0: the server answered 401

        hint: log in with `docker login`: credentials are read from docker's config.json (`auths`, not credential helpers)

        error: 1 artefact of 1 could not be fetched

        exit 1
        error[C8004]: cannot download chart app 1.0.0 from oci://[server]/charts/app:1.0.0: the server answered 401

        hint: log in with `docker login`: credentials are read from docker's config.json (`auths`, not credential helpers)

        error: 1 artefact of 1 could not be fetched

        exit 1
        error[C8004]: cannot download chart app 1.0.0 from oci://[server]/charts/app:1.0.0: the server answered 401

        hint: log in with `docker login`: credentials are read from docker's config.json (`auths`, not credential helpers)

        error: 1 artefact of 1 could not be fetched
    ");
    // Anybody gets a token from a public one.
    let public = registry(None, blobs);
    let anybody = cloud(&public, &storage, "");
    anybody.fetch().ok();
    assert!(anybody.blob(&chart()).is_file());
}

#[test]
fn credentials_stay_with_the_host_that_they_are_for() {
    let seen = Seen::default();
    let elsewhere = storage(&seen, false);
    let to = format!("{}/app-1.0.0.tgz", elsewhere.url);
    // Once by a redirect, once because the index says so.
    for in_index in [false, true] {
        let to = to.clone();
        let server = Server::http(move |request| {
            if request.header("authorization") != Some(&format!("Basic {LOGIN}")) {
                return Reply::new(401, "");
            }
            match request.path.as_str() {
                "/index.yaml" if in_index => Reply::ok(index(&to, &sha256(&chart()))),
                "/index.yaml" => Reply::ok(index("app-1.0.0.tgz", &sha256(&chart()))),
                _ => Reply::new(302, "").header("Location", to.clone()),
            }
        });
        let cloud = Cloud::chart(&server.url.replace("://", "://me:hunter22@"));
        cloud.fetch().ok();
        assert!(cloud.blob(&chart()).is_file());
    }
    assert_eq!(*seen.lock().unwrap(), [None, None]);
}

#[test]
fn registries_that_serve_other_bytes_or_break_off_are_caught() {
    let answers: [fn() -> Reply; 4] = [
        || Reply::ok(vec![1; 800_000]),
        || Reply::ok(chart()).cut(1000, After::Close),
        || Reply::new(503, ""),
        || Reply::ok(vec![0; 70 << 20]).cut(1000, After::Stall),
    ];
    let said: String = answers
        .into_iter()
        .map(|answer| {
            let server = Server::https(move |request| match request.path.as_str() {
                "/v2/" => Reply::ok("{}"),
                "/v2/charts/app/manifests/1.0.0" => Reply::ok(manifest()),
                _ => answer(),
            });
            let cloud = cloud(&server, &server, "");
            let ran = cloud.run(&["fetch", "--timeout", "2s"]);
            assert_eq!(crate::files(&cloud.path("cache/cozy/blobs/sha256")), 0);
            ran.said(&cloud).replace(&sha256(&chart()), "[chart]") + "\n"
        })
        .collect();
    assert_snapshot!(said, @"
        exit 1
        error[C8009]: cannot read chart app 1.0.0 from oci://[server]/charts/app:1.0.0: its layer has the digest sha256:680b64f6b0b7f82e1a19160f2f2bf2c3f7b166b8580dfccc0408655006441c22, not sha256:[chart]

        hint: check the URL with a browser: is it what it should be?

        error: 1 artefact of 1 could not be fetched

        exit 1
        error[C8001]: cannot download chart app 1.0.0 from oci://[server]/charts/app:1.0.0
          caused by: peer closed connection without sending TLS close_notify: https://docs.rs/rustls/latest/rustls/manual/_03_howto/index.html#unexpected-eof

        hint: check the network; `artifacts.proxy` names a proxy, `artifacts.mirror` another place to look at first

        error: 1 artefact of 1 could not be fetched

        exit 1
        error[C8005]: cannot download chart app 1.0.0 from oci://[server]/charts/app:1.0.0: the server answered 503

        hint: try again later, or name a mirror with `artifacts.mirror`

        error: 1 artefact of 1 could not be fetched

        exit 1
        error[C8008]: chart app 1.0.0 from oci://[server]/charts/app:1.0.0 is larger than 64 MiB

        hint: check the URL: charts and manifests are much smaller

        error: 1 artefact of 1 could not be fetched
    ");
}
