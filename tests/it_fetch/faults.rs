//! Servers that break off, stall, redirect, refuse, and serve other bytes.

use std::process::{Command, Stdio};

use insta::assert_snapshot;

use crate::server::{After, Reply, Request, Server};
use crate::{Cloud, Ran, chart, files, index, sha256};

/// A repository whose chart is answered by a function.
fn repository(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
    Server::http(move |request| match request.path.as_str() {
        "/index.yaml" => Reply::ok(index("app-1.0.0.tgz", &sha256(&chart()))),
        "/app-1.0.0.tgz" => answer(request),
        _ => Reply::new(404, ""),
    })
}

#[test]
fn a_chart_is_fetched_once_and_offline_ever_after() {
    let server = repository(|_| Reply::ok(chart()));
    let cloud = Cloud::chart(&server.url);
    let first = cloud.fetch();
    first.ok();
    assert_eq!(fs_err::read(cloud.blob(&chart())).unwrap(), chart());
    assert!(first.stderr.contains("had no confirmed digest: locked as sha256"), "{}", first.stderr);
    assert_eq!(server.asked(), ["/index.yaml", "/app-1.0.0.tgz"]);
    let again = cloud.run(&["fetch", "app", "-o", "json"]);
    let document: serde_json::Value = serde_json::from_str(&again.ok().stdout).unwrap();
    assert_eq!(document["schema"], "cozy/v1/fetch");
    assert_eq!(document["artifacts"][0]["from"], "cache");
    assert_eq!(document["artifacts"][0]["sha256"], sha256(&chart()));
    assert_eq!(document["artifacts"][0]["url"], format!("{}/app-1.0.0.tgz", server.url));
    assert_eq!(server.asked().len(), 2, "{:?}", server.asked());
}

#[test]
fn a_download_that_breaks_off_is_taken_up_where_it_was() {
    let server = repository(|request| {
        let reply = Reply::ranged(request, &chart(), "\"one\"");
        match request.before {
            0 => reply.cut(300_000, After::Close),
            1 => reply.cut(200_000, After::Stall),
            _ => {
                assert_eq!(request.header("range"), Some("bytes=500000-"));
                reply
            }
        }
    });
    let cloud = Cloud::chart(&server.url);
    let ran = cloud.run(&["fetch", "--timeout", "10s"]);
    ran.ok();
    assert_eq!(fs_err::read(cloud.blob(&chart())).unwrap(), chart());
    assert_eq!(server.asked().len(), 4);
    assert!(ran.stderr.contains("retry 1"), "{}", ran.stderr);
}

#[test]
fn a_file_that_changed_meanwhile_is_fetched_from_its_beginning() {
    let server = repository(|request| match request.before {
        0 => Reply::ok(vec![0; 100_000]).header("ETag", "\"old\"").cut(50_000, After::Close),
        _ => Reply::ranged(request, &chart(), "\"new\""),
    });
    let cloud = Cloud::chart(&server.url);
    cloud.fetch().ok();
    assert!(cloud.blob(&chart()).is_file());
}

#[test]
fn a_server_that_is_busy_is_asked_again_when_it_says() {
    let server = repository(|request| match request.before {
        0 => Reply::new(503, "busy"),
        1 => Reply::new(429, "slowly").header("Retry-After", "1"),
        _ => Reply::ok(chart()),
    });
    let cloud = Cloud::chart(&server.url);
    let ran = cloud.fetch();
    ran.ok();
    assert!(ran.stderr.contains("the server answered 503; again in 50ms"), "{}", ran.stderr);
    assert!(ran.stderr.contains("the server answered 429; again in 1s"), "{}", ran.stderr);
}

#[test]
fn a_server_that_wants_too_much_patience_is_given_up() {
    let server = repository(|_| Reply::new(429, "slowly").header("Retry-After", "3600"));
    let cloud = Cloud::chart(&server.url);
    assert_snapshot!(cloud.fetch().said(&cloud), @"
        exit 1
        error[C8005]: cannot download chart app 1.0.0 from http://[server]/app-1.0.0.tgz: the server answered 429

        hint: try again later, or name a mirror with `artifacts.mirror`

        error: 1 artefact of 1 could not be fetched
    ");
}

/// A cloud with a manifest that a function answers for: one request, no index.
fn manifest(server: &Server) -> Cloud {
    Cloud::new(&format!("manifest: {{ url: '{}/all.yaml', sha256: {} }}", server.url, sha256(b"x")))
}

#[test]
fn a_download_that_always_breaks_off_fails() {
    let server = Server::http(|_| Reply::ok(chart()).cut(1000, After::Close));
    let cloud = manifest(&server);
    assert_snapshot!(cloud.run(&["fetch", "--timeout", "4s"]).said(&cloud), @"
        exit 1
        error[C8001]: cannot download manifest app 1.0.0 from http://[server]/all.yaml
          caused by: end of file before message length reached

        hint: check the network; `artifacts.proxy` names a proxy, `artifacts.mirror` another place to look at first

        error: 1 artefact of 1 could not be fetched
    ");
    assert!(server.asked().len() > 2);
    assert_eq!(files(&cloud.path("cache/cozy/blobs/sha256")), 0);
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let server = Server::http(|_| Reply::ok(chart()).cut(0, After::Stall));
    let cloud = manifest(&server);
    assert_snapshot!(cloud.run(&["fetch", "--timeout", "300ms"]).said(&cloud), @"
        exit 1
        error[C8001]: cannot download manifest app 1.0.0 from http://[server]/all.yaml
          caused by: nothing came for 150ms

        hint: check the network; `artifacts.proxy` names a proxy, `artifacts.mirror` another place to look at first

        error: 1 artefact of 1 could not be fetched
    ");
}

#[test]
fn nobody_listens() {
    let cloud = Cloud::chart("http://127.0.0.1:1/charts");
    assert_snapshot!(cloud.run(&["fetch", "--timeout", "2s"]).said(&cloud), @"
        exit 1
        error[C8001]: cannot download the repository's index from http://[server]/charts/index.yaml
          caused by: Connection refused (os error 111)

        hint: check the network; `artifacts.proxy` names a proxy, `artifacts.mirror` another place to look at first

        error: 1 artefact of 1 could not be fetched
    ");
}

#[test]
fn a_signal_ends_a_download_that_hangs() {
    let (tell, told) = std::sync::mpsc::channel();
    let server = Server::http(move |_| {
        // The test may be over.
        let _ = tell.send(());
        Reply::ok(chart()).cut(10, After::Stall)
    });
    let cloud = manifest(&server);
    let mut command = cloud.command(&["fetch"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    told.recv().unwrap();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    assert!(ran.stderr.contains("`cozy fetch` goes on from here"), "{}", ran.stderr);
}

#[test]
fn redirects_are_followed_but_not_in_a_circle() {
    let server = Server::http(|request| match request.path.as_str() {
        "/charts/index.yaml" => Reply::ok(index("/old/app.tgz", "")),
        "/old/app.tgz" => Reply::new(302, "").header("Location", "/new/app.tgz"),
        "/new/app.tgz" => Reply::ok(chart()),
        _ => Reply::new(301, "").header("Location", request.path.clone()),
    });
    Cloud::chart(&format!("{}/charts/", server.url)).fetch().ok();
    let cloud = Cloud::chart(&format!("{}/circle", server.url));
    assert_snapshot!(cloud.fetch().said(&cloud), @"
        exit 1
        error[C8003]: cannot download the repository's index from http://[server]/circle/index.yaml
          caused by: more than 5 redirects

        hint: check the URL: it leads in a circle, or to a server without TLS

        error: 1 artefact of 1 could not be fetched
    ");
    assert!(server.asked().len() < 12, "{:?}", server.asked());
}

#[test]
fn a_redirect_never_leaves_tls() {
    let plain = Server::http(|_| Reply::ok(index("app.tgz", "")));
    let to = format!("{}/index.yaml", plain.url);
    let server = Server::https(move |_| Reply::new(302, "").header("Location", to.clone()));
    let cloud = Cloud::chart(&server.url).artifacts("ca: ca.pem");
    cloud.write("ca.pem", &server.ca);
    assert_snapshot!(cloud.fetch().said(&cloud), @"
        exit 1
        error[C8003]: cannot download the repository's index from https://[server]/index.yaml
          caused by: a redirect from https:// to http://

        hint: check the URL: it leads in a circle, or to a server without TLS

        error: 1 artefact of 1 could not be fetched
    ");
    assert_eq!(plain.asked(), Vec::<String>::new());
}

#[test]
fn a_certificate_that_does_not_verify_is_final_unless_its_authority_is_named() {
    let server = Server::https(|request| match request.path.as_str() {
        "/index.yaml" => Reply::ok(index("app.tgz", "")),
        _ => Reply::ok(chart()),
    });
    let cloud = Cloud::chart(&server.url);
    assert_snapshot!(cloud.fetch().said(&cloud), @"
        exit 1
        error[C8002]: cannot download the repository's index from https://[server]/index.yaml
          caused by: invalid peer certificate: UnknownIssuer

        hint: if its certificate is from a company's own authority, name that authority with `artifacts.ca` in cozy.yaml

        error: 1 artefact of 1 could not be fetched
    ");
    let cloud = cloud.artifacts("ca: ca.pem");
    cloud.write("ca.pem", "nothing");
    assert_snapshot!(cloud.fetch().said(&cloud), @"
        exit 2
        error[C1239]: cannot read the certificate authorities: it holds no PEM certificate
         --> cozy.yaml:6:18
          |
        6 | artifacts: { ca: ca.pem }
          |                  ^^^^^^
          |
          = help: it is relative to cozy.yaml

        error: 1 mistake in the input
    ");
    cloud.write("ca.pem", &server.ca);
    cloud.fetch().ok();
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let server = Server::http(|request| match request.path.as_str() {
        "/a/index.yaml" => Reply::ok("entries: { app: [{ version: 2.0.0 }, { version: 1.9.0 }] }"),
        "/b/index.yaml" => Reply::ok("entries: {}"),
        "/c/index.yaml" => Reply::ok("<html><body>hello</body></html>"),
        "/d/index.yaml" => Reply::ok(index("file:///etc/passwd", "")),
        _ => Reply::new(404, ""),
    });
    let said: String = ["a", "b", "c", "d", "e"]
        .iter()
        .map(|path| {
            let cloud = Cloud::chart(&format!("{}/{path}", server.url));
            cloud.fetch().said(&cloud) + "\n"
        })
        .collect();
    assert_snapshot!(said, @"
        exit 1
        error[C8006]: there is no chart app 1.0.0 at http://[server]/a/index.yaml: it has 2.0.0, 1.9.0

        hint: check its name, its version, and where it is said to be

        error: 1 artefact of 1 could not be fetched

        exit 1
        error[C8006]: there is no chart app 1.0.0 at http://[server]/b/index.yaml: it has no chart of this name

        hint: check its name, its version, and where it is said to be

        error: 1 artefact of 1 could not be fetched

        exit 1
        error[C8009]: cannot read the repository's index from http://[server]/c/index.yaml: error: line 1 column 1: expected mapping start

        hint: check the URL with a browser: is it what it should be?

        error: 1 artefact of 1 could not be fetched

        exit 1
        error[C8010]: cannot use the URL of chart app 1.0.0 `file:///etc/passwd`: file:// is not meant here

        hint: write it as https://, oci:// or file://

        error: 1 artefact of 1 could not be fetched

        exit 1
        error[C8006]: there is no the repository's index at http://[server]/e/index.yaml

        hint: check its name, its version, and where it is said to be

        error: 1 artefact of 1 could not be fetched
    ");
}

#[test]
fn credentials_of_a_url_are_sent_and_never_shown() {
    let server = Server::http(|request| match (request.path.as_str(), request.header("authorization")) {
        (_, None) => Reply::new(401, ""),
        // me:hunter22
        ("/index.yaml", Some("Basic bWU6aHVudGVyMjI=")) => Reply::ok(index("app.tgz?token=canary", "")),
        (_, Some("Basic bWU6aHVudGVyMjI=")) => Reply::ok(chart()),
        (_, Some(_)) => Reply::new(403, ""),
    });
    let cloud = Cloud::chart(&server.url);
    assert_snapshot!(cloud.fetch().said(&cloud), @"
        exit 1
        error[C8004]: cannot download the repository's index from http://[server]/index.yaml: the server answered 401

        hint: the server wants credentials: write them into the URL as `https://USER:PASSWORD@HOST/…`

        error: 1 artefact of 1 could not be fetched
    ");
    for (password, code) in [("hunter22", 0), ("hunter23", 1)] {
        let cloud = Cloud::chart(&server.url.replace("://", &format!("://me:{password}@")));
        let ran = cloud.run(&["fetch", "-v"]);
        assert_eq!(ran.code, Some(code), "{}", ran.stderr);
        let lock = if code == 0 { cloud.read("catalogue/bundles/mine.lock") } else { String::new() };
        for text in [&ran.stderr, &ran.stdout, &lock] {
            assert!(!text.contains("hunter") && !text.contains("canary"), "{text}");
        }
    }
}

#[test]
fn a_file_that_is_too_large_is_refused_at_once() {
    let server = Server::http(|_| Reply::ok(vec![0; 33 * 1024 * 1024]).cut(1000, After::Stall));
    let cloud = manifest(&server);
    assert_snapshot!(cloud.fetch().said(&cloud), @"
        exit 1
        error[C8008]: manifest app 1.0.0 from http://[server]/all.yaml is larger than 32 MiB

        hint: check the URL: charts and manifests are much smaller

        error: 1 artefact of 1 could not be fetched
    ");
}

#[test]
fn all_that_fails_is_said_at_once_and_what_came_is_kept() {
    let server = repository(|_| Reply::ok(chart()));
    let cloud = Cloud::chart(&server.url);
    for name in ["one", "two"] {
        cloud.component(
            name,
            &format!("manifest: {{ url: '{}/{name}.yaml', sha256: {} }}", server.url, sha256(b"x")),
        );
    }
    let bundle =
        cloud.read("catalogue/bundles/mine.yaml").replace("{ app: {} }", "{ app: {}, one: {}, two: {} }");
    cloud.write("catalogue/bundles/mine.yaml", bundle);
    let ran = cloud.fetch();
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("/one.yaml") && ran.stderr.contains("/two.yaml"), "{}", ran.stderr);
    assert!(ran.stderr.ends_with("error: 2 artefacts of 3 could not be fetched\n"), "{}", ran.stderr);
    assert!(cloud.blob(&chart()).is_file());
    cloud.run(&["fetch", "app"]).ok();
}
