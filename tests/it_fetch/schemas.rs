//! Schemas that the schema of a chart's values refers to by URLs: fetched with
//! the chart, pinned, and found again without a network.

use std::time::{Duration, Instant};

use insta::assert_snapshot;

use crate::render::render;
use crate::server::{Reply, Server};
use crate::{Cloud, packed, sha256};

const PORT: &str = r#"{"$defs": {"port": {"$ref": "types.json#/$defs/small"}}}"#;
const TYPES: &str = r#"{"$defs": {"small": {"type": "integer", "maximum": 65535}}}"#;

fn server() -> Server {
    Server::http(|request| match request.path.as_str() {
        "/defs/port.json" => Reply::ok(PORT),
        // Somebody changes it afterwards.
        "/defs/types.json" => Reply::ok(if request.before == 0 { TYPES } else { "{}" }),
        "/index.yaml" => Reply::ok(crate::index("app-1.0.0.tgz", "")),
        _ => Reply::new(404, ""),
    })
}

/// The files of the chart `app` 1.0.0, whose schema refers to a URL.
fn files(url: &str) -> Vec<(&'static str, Vec<u8>)> {
    let schema = format!(r#"{{"properties": {{"port": {{"$ref": "{url}/defs/port.json#/$defs/port"}}}}}}"#);
    vec![
        ("Chart.yaml", b"apiVersion: v2\nname: app\nversion: 1.0.0\n".to_vec()),
        ("values.yaml", b"port: 80\n".to_vec()),
        ("values.schema.json", schema.into_bytes()),
        (
            "templates/a.yaml",
            b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: b}\ndata: {port: {{ .Values.port | quote }}}\n"
                .to_vec(),
        ),
    ]
}

fn archive(url: &str) -> Vec<u8> {
    let files = files(url);
    let files: Vec<_> = files.iter().map(|(path, content)| (*path, content.as_slice())).collect();
    packed("app", &files)
}

#[test]
fn any_charts_schemas_are_fetched_once() {
    let cloud = Cloud::new("templates: []");
    let server = server();
    for (path, content) in files(&server.url) {
        cloud.write(&format!("shop/{path}"), content);
    }
    let first = render(&cloud, &["--chart", "shop"]);
    assert!(first.ok().stdout.contains("port: \"80\""), "{}", first.stdout);
    assert!(
        first.stderr.contains(&sha256(PORT.as_bytes())) && first.stderr.contains("had no confirmed digest")
    );
    assert_eq!(server.asked(), ["/defs/port.json", "/defs/types.json"]);
    let again = render(&cloud, &["--chart", "shop"]);
    assert_eq!(again.ok().stdout, first.stdout);
    assert!(again.stderr.contains("from cache"), "{}", again.stderr);
    let wrong = render(&cloud, &["--chart", "shop", "--set", "port=70000"]);
    assert_eq!((wrong.code, server.asked().len()), (Some(2), 2));
    assert!(wrong.stderr.contains("- /port: "), "{}", wrong.stderr);
    // Nothing of them is in another user's cache.
    let other = Cloud::new("templates: []");
    for (path, content) in files("http://127.0.0.1:1") {
        other.write(&format!("shop/{path}"), content);
    }
    let skipped = render(&other, &["--chart", "shop", "--skip-schema-validation"]);
    assert_eq!((skipped.ok().stdout.as_str(), skipped.stderr.as_str()), (first.stdout.as_str(), ""));
}

#[test]
fn a_schema_that_is_not_there_is_said_with_a_way_out() {
    let cloud = Cloud::new("templates: []");
    let server = Server::http(|_| Reply::new(404, ""));
    for (path, content) in files(&server.url) {
        cloud.write(&format!("shop/{path}"), content);
    }
    assert_snapshot!(render(&cloud, &["--chart", "shop"]).said(&cloud), @"
    exit 2
      0m00s  -                warning    there is no schema http://[server]/defs/port.json at http://[server]/defs/port.json
    error[C2020]: app: values.schema.json refers to http://[server]/defs/port.json, which is not at hand

    hint: check the network, or do without it: `--skip-schema-validation`
    ");
    let page = Server::http(|_| Reply::ok("<html>log in</html>"));
    for (path, content) in files(&page.url) {
        cloud.write(&format!("shop/{path}"), content);
    }
    let said = render(&cloud, &["--chart", "shop"]).said(&cloud);
    assert!(said.contains("it is not JSON") && said.contains("C2020"), "{said}");
}

/// Nothing listens at port 1: what refuses connections is not asked for a minute.
#[test]
fn a_server_of_schemas_that_is_not_there_is_given_up_within_seconds() {
    let cloud = Cloud::new("templates: []");
    for (path, content) in files("http://127.0.0.1:1") {
        cloud.write(&format!("shop/{path}"), content);
    }
    let began = Instant::now();
    let refused = render(&cloud, &["--chart", "shop"]);
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let problem = "refers to http://127.0.0.1:1/defs/port.json, which is not at hand";
    assert!(refused.code == Some(2) && refused.stderr.contains(problem), "{}", refused.stderr);
}

#[test]
fn a_components_schemas_are_locked_with_its_chart() {
    let server = server();
    let cloud = Cloud::chart("file:///nowhere");
    let folder = cloud.path("charts").display().to_string();
    cloud.component("app", &format!("chart: {{ repository: 'file://{folder}', name: app, version: 1.0.0 }}"));
    cloud.write("charts/app-1.0.0.tgz", archive(&server.url));
    let before = cloud.run(&["render", "app"]);
    let problem = "app: values.schema.json refers to http://127.0.0.1:";
    assert!(
        before.stderr.contains(problem) && before.stderr.contains("help: `cozy fetch`"),
        "{}",
        before.stderr
    );
    let table = cloud.fetch().ok().stdout.clone();
    assert!(table.contains("schema"), "{table}");
    let lock = cloud.read("catalogue/bundles/mine.lock");
    assert!(lock.contains("kind: schema") && lock.contains(&sha256(TYPES.as_bytes())), "{lock}");
    cloud.run(&["bundle", "lock", "mine"]).ok();
    assert_eq!(cloud.read("catalogue/bundles/mine.lock"), lock);
    assert_eq!(server.asked(), ["/defs/port.json", "/defs/types.json"]);
    assert!(cloud.run(&["render", "app"]).ok().stdout.contains("ConfigMap"));
    // Other bytes than those that are pinned are not used.
    fs_err::remove_dir_all(cloud.path("cache")).unwrap();
    let ran = cloud.fetch();
    assert!(ran.ok().stderr.contains("is not what it should be"), "{}", ran.stderr);
    assert_eq!(cloud.run(&["render", "app"]).code, Some(2));
}

#[test]
fn a_mirror_has_schemas_by_their_urls() {
    let cloud = Cloud::chart("file:///nowhere");
    let (charts, mirror) = (cloud.path("charts"), cloud.path("mirror"));
    let cloud = cloud.artifacts(&format!("mirror: 'file://{}'", mirror.display()));
    cloud.component(
        "app",
        &format!("chart: {{ repository: 'file://{}', name: app, version: 1.0.0 }}", charts.display()),
    );
    cloud.write("charts/app-1.0.0.tgz", archive("http://schemas.invalid"));
    cloud.write("mirror/schemas/schemas.invalid/defs/port.json", PORT);
    cloud.write("mirror/schemas/schemas.invalid/defs/types.json", TYPES);
    cloud.fetch().ok();
    assert!(cloud.run(&["render", "app"]).ok().stdout.contains("ConfigMap"));
}
