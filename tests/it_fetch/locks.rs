//! What is pinned, and what happens when it is something else.

use std::process::Stdio;
use std::sync::Barrier;

use insta::assert_snapshot;

use crate::server::{Reply, Server};
use crate::{Cloud, Ran, chart, index, named, sha256};

fn repository(bytes: &[u8]) -> Server {
    let bytes = bytes.to_vec();
    Server::http(move |request| match request.path.as_str() {
        "/index.yaml" => Reply::ok(index("app-1.0.0.tgz", "")),
        "/app-1.0.0.tgz" => Reply::ok(bytes.clone()),
        _ => Reply::new(404, ""),
    })
}

#[test]
fn other_bytes_than_the_locks_stop_with_both_digests() {
    let server = repository(b"evil");
    let cloud = Cloud::chart(&server.url);
    cloud.lock(&format!("{}/app-1.0.0.tgz", server.url), &sha256(&chart()));
    assert_snapshot!(cloud.fetch().said(&cloud), @"
        exit 1
        error[C8007]: chart app 1.0.0 from http://[server]/app-1.0.0.tgz is not what it should be
          expected sha256 2b1854d47cbacb8d8412cd48d47abb9b8e456fedbb286a04275fb61bc85903ac, from the lock
          found    sha256 b5c1fb2efc6d6b4674c2fdcc48ce01b43a3b7c03763c0c3355de0099ee0f8c73

        hint: somebody changed it, on the way or at its home: find out who before you remove its entry from the lock, or set `artifacts.verify: false`

        error: 1 artefact of 1 could not be fetched
    ");
    assert!(!cloud.blob(b"evil").exists());
    let ran = cloud.run(&["bundle", "lock", "mine"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("C8007"), "{}", ran.stderr);
}

#[test]
fn other_bytes_than_the_indexs_stop_too() {
    let server = Server::http(|request| match request.path.as_str() {
        "/index.yaml" => Reply::ok(index("app.tgz", &sha256(&chart()))),
        _ => Reply::ok("evil"),
    });
    let cloud = Cloud::chart(&server.url);
    assert_snapshot!(cloud.fetch().said(&cloud), @"
        exit 1
        error[C8007]: chart app 1.0.0 from http://[server]/app.tgz is not what it should be
          expected sha256 2b1854d47cbacb8d8412cd48d47abb9b8e456fedbb286a04275fb61bc85903ac, from the repository's index
          found    sha256 b5c1fb2efc6d6b4674c2fdcc48ce01b43a3b7c03763c0c3355de0099ee0f8c73

        hint: somebody changed it, on the way or at its home: find out who before you remove its entry from the lock, or set `artifacts.verify: false`

        error: 1 artefact of 1 could not be fetched
    ");
}

#[test]
fn unverified_means_a_warning_each_and_the_last_bytes_again_offline() {
    let server = repository(b"other");
    let cloud = Cloud::chart(&server.url).artifacts("verify: false");
    cloud.lock(&format!("{}/app-1.0.0.tgz", server.url), &sha256(&chart()));
    let ran = cloud.fetch();
    ran.ok();
    assert!(ran.stderr.contains("is not what it should be"), "{}", ran.stderr);
    assert!(cloud.blob(b"other").is_file());
    let again = cloud.run(&["fetch", "-o", "json"]);
    assert!(again.ok().stdout.contains(&sha256(b"other")), "{}", again.stdout);
    assert!(again.stderr.contains("is not what it should be"), "{}", again.stderr);
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_manifest_is_held_to_its_components_digest() {
    let server = Server::http(|_| Reply::ok("kind: List"));
    let cloud =
        |sha: &str| Cloud::new(&format!("manifest: {{ url: '{}/all.yaml', sha256: {sha} }}", server.url));
    let good = cloud(&sha256(b"kind: List"));
    let ran = good.fetch();
    assert!(!ran.ok().stderr.contains("locked"), "{}", ran.stderr);
    let bad = cloud(&sha256(b"kind: Other"));
    assert_eq!(bad.fetch().code, Some(1));
}

#[test]
fn a_lock_is_written_kept_and_cleaned() {
    let server = repository(&chart());
    let cloud = Cloud::chart(&server.url);
    cloud.run(&["bundle", "lock", "mine"]).ok();
    let text = cloud.read("catalogue/bundles/mine.lock");
    assert_snapshot!(text.replace(&server.url, "http://[server]"), @r#"
        # Which bytes the bundle's artifacts are. Written by cozy; see `cozy bundle lock --help`.
        apiVersion: cozy/v1
        kind: Lock
        name: "mine"
        artifacts:
          - kind: chart
            name: "app"
            version: "1.0.0"
            url: "http://[server]/app-1.0.0.tgz"
            sha256: "2b1854d47cbacb8d8412cd48d47abb9b8e456fedbb286a04275fb61bc85903ac"
    "#);
    let ran = cloud.run(&["bundle", "lock", "mine", "-o", "json"]);
    let document: serde_json::Value = serde_json::from_str(&ran.ok().stdout).unwrap();
    assert_eq!(document["schema"], "cozy/v1/lock");
    assert_eq!(cloud.read("catalogue/bundles/mine.lock"), text);
    assert_eq!(server.asked().len(), 2);
    cloud.write("catalogue/templates/app/x.yaml.j2", "");
    cloud.component("app", "templates: [x.yaml.j2]");
    let ran = cloud.run(&["bundle", "lock", "mine"]);
    assert!(ran.ok().stderr.contains("0 locked, 0 of them new, 1 removed"), "{}", ran.stderr);
    assert!(cloud.read("catalogue/bundles/mine.lock").ends_with("artifacts: []\n"));
    cloud.run(&["validate"]).ok();
}

#[test]
fn a_built_in_bundle_cannot_be_locked_here() {
    let cloud = Cloud::chart("https://example.org");
    assert_snapshot!(cloud.run(&["bundle", "lock", "edge"]).said(&cloud), @"
        exit 2
        error[C1301]: bundle `edge` is built in: its lock cannot be written

        hint: name the catalogue on disk that holds it with --catalogue
    ");
    assert_eq!(cloud.run(&["bundle", "lock", "mien"]).code, Some(2));
}

#[test]
fn where_the_catalogue_cannot_be_written_the_user_locks() {
    let server = repository(&chart());
    let cloud = Cloud::chart(&server.url);
    // Root writes everywhere; but a folder where the lock should be stops even root.
    fs_err::create_dir_all(cloud.path("catalogue/bundles/mine.lock/x")).unwrap();
    cloud.fetch().ok();
    assert!(cloud.read("state/cozy/locks/mine.lock").contains(&sha256(&chart())));
    let evil = repository(b"evil");
    cloud.component("app", &format!("chart: {{ repository: '{}', name: app, version: 1.0.0 }}", evil.url));
    fs_err::remove_file(cloud.blob(&chart())).unwrap();
    drop(server);
    let text = cloud.read("state/cozy/locks/mine.lock");
    let at = text.find("http://").unwrap();
    let end = text[at..].find("/app").unwrap() + at;
    cloud.write("state/cozy/locks/mine.lock", text.replace(&text[at..end], &evil.url));
    let ran = cloud.fetch();
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("C8007"), "{}", ran.stderr);
}

#[test]
fn a_blob_that_was_damaged_is_fetched_again() {
    let server = repository(&chart());
    let cloud = Cloud::chart(&server.url);
    cloud.fetch().ok();
    fs_err::write(cloud.blob(&chart()), "rot").unwrap();
    let ran = cloud.fetch();
    assert!(ran.ok().stderr.contains("was damaged in the cache"), "{}", ran.stderr);
    assert_eq!(fs_err::read(cloud.blob(&chart())).unwrap(), chart());
}

#[test]
fn a_broken_lock_is_a_finding() {
    let cloud = Cloud::chart("https://example.org");
    cloud.lock("ftp://example.org/x", "abc");
    assert_snapshot!(cloud.fetch().said(&cloud), @"
        exit 2
        error[C1105]: `url` cannot be `ftp://example.org/x`
         --> catalogue/bundles/mine.lock:5:52
          |
        5 |   - { kind: chart, name: app, version: 1.0.0, url: 'ftp://example.org/x', sha256: abc }
          |                                                    ^^^^^^^^^^^^^^^^^^^^^
          |
          = help: write a URL with https://, oci:// or file://

        error[C1105]: `sha256` cannot be `abc`
         --> catalogue/bundles/mine.lock:5:83
          |
        5 |   - { kind: chart, name: app, version: 1.0.0, url: 'ftp://example.org/x', sha256: abc }
          |                                                                                   ^^^
          |
          = help: write 64 hexadecimal digits in lower case

        error: 2 mistakes in the input
    ");
}

#[test]
fn what_cannot_be_the_chart_is_not_locked() {
    let index = "entries:\n  app:\n  - { version: 1.0.0, urls: [app-1.0.0.tgz] }\n";
    for (bytes, said) in [
        (b"<html>login</html>".to_vec(), "gzip"),
        (named("other", "1.0.0"), "chart other 1.0.0"),
        (named("app", "9.9.9"), "chart app 9.9.9"),
    ] {
        let server = Server::http(move |request| match request.path.as_str() {
            "/index.yaml" => Reply::ok(index),
            _ => Reply::ok(bytes.clone()),
        });
        let cloud = Cloud::chart(&server.url);
        let ran = cloud.fetch();
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
        assert!(!ran.stderr.contains("locked as"), "{}", ran.stderr);
        // Nothing of it is kept: the next run asks again.
        let asked = server.asked().len();
        assert_eq!(cloud.fetch().code, Some(1));
        assert!(server.asked().len() > asked);
    }
}

#[test]
fn two_homes_may_call_different_charts_the_same() {
    let (one, other) = (repository(b"one"), repository(b"other"));
    let cloud = Cloud::chart(&one.url).artifacts("verify: false");
    cloud.fetch().ok();
    cloud.component("app", &format!("chart: {{ repository: '{}', name: app, version: 1.0.0 }}", other.url));
    let ran = cloud.run(&["fetch", "-o", "json"]);
    assert!(ran.ok().stdout.contains(&sha256(b"other")), "{}", ran.stdout);
}

/// Runs at the same time.
fn together(cloud: &Cloud, runs: [&[&str]; 2]) -> [Ran; 2] {
    let commands = runs.map(|arguments| cloud.command(arguments));
    let children = commands.map(|mut run| run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    children.map(|child| Ran::from(child.wait_with_output().unwrap()))
}

/// Neither gets its chart before both have asked: both find that nothing is pinned.
#[test]
fn two_runs_at_once_lose_no_pin() {
    let both = Barrier::new(2);
    let server = Server::http(move |request| {
        if request.path == "/index.yaml" {
            let entries =
                ["app", "other"].map(|name| format!("  {name}: [{{ version: 1.0.0, urls: [{name}] }}]\n"));
            return Reply::ok(format!("entries:\n{}", entries.concat()));
        }
        both.wait();
        Reply::ok(named(request.path.trim_start_matches('/'), "1.0.0"))
    });
    let cloud = Cloud::chart(&server.url);
    cloud.component(
        "other",
        &format!("chart: {{ repository: '{}', name: other, version: 1.0.0 }}", server.url),
    );
    cloud.write(
        "catalogue/bundles/mine.yaml",
        "apiVersion: cozy/v1\nkind: Bundle\nname: mine\nversion: 1.0.0\nsummary: x\ncomponents: { app: {}, other: {} }\n",
    );
    for ran in together(&cloud, [&["fetch", "app"], &["fetch", "other"]]) {
        assert!(ran.ok().stderr.contains("had no confirmed digest"), "{}", ran.stderr);
    }
    let lock = cloud.read("catalogue/bundles/mine.lock");
    for name in ["app", "other"] {
        assert!(lock.contains(&sha256(&named(name, "1.0.0"))), "{lock}");
    }
}

#[test]
fn of_two_runs_that_get_other_bytes_one_fails() {
    let both = Barrier::new(2);
    let server = Server::http(move |request| {
        if request.path == "/index.yaml" {
            return Reply::ok(index("app-1.0.0.tgz", ""));
        }
        both.wait();
        let mut bytes = chart();
        // The time in gzip's header.
        bytes[4] = u8::try_from(request.before).unwrap();
        Reply::ok(bytes)
    });
    let cloud = Cloud::chart(&server.url);
    let mut runs = together(&cloud, [&["fetch"], &["fetch"]]);
    runs.sort_by_key(|ran| ran.code);
    let [first, second] = runs;
    first.ok();
    let locked = cloud.read("catalogue/bundles/mine.lock");
    let digests = [0, 1].map(|count| {
        let mut bytes = chart();
        bytes[4] = count;
        sha256(&bytes)
    });
    let [pinned, other] = if locked.contains(&digests[0]) {
        digests
    } else {
        let [a, b] = digests;
        [b, a]
    };
    let said = second.said(&cloud).replace(&pinned, "[pinned]").replace(&other, "[other]");
    // How long it took is another thing each time.
    let (_, said) = said.split_once("error").unwrap();
    assert_snapshot!(said, @"
    [C8007]: chart app 1.0.0 from http://[server]/app-1.0.0.tgz is not what it should be
      expected sha256 [pinned], from the lock
      found    sha256 [other]

    hint: somebody changed it, on the way or at its home: find out who before you remove its entry from the lock, or set `artifacts.verify: false`

    error: 1 artefact of 1 could not be fetched
    ");
    assert_eq!(second.code, Some(1));
}
