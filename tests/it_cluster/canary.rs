//! A secret of `cozy.yaml` on a real cluster: it is in the Secret that is meant for it, and nowhere else, neither in
//! the cluster nor in anything that is printed or written on this machine.

use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::made::{Made, both};
use crate::support::control_plane::ControlPlane;

/// Secrets by where they come from.
const CANARIES: [&str; 2] = ["canary-env-5f1c!7Q\"x", "canary-file-93ab'\\Zw"];

/// Every form in which a secret could be read.
fn forms() -> Vec<String> {
    CANARIES
        .iter()
        .flat_map(|secret| {
            let json = Value::from(*secret).to_string();
            [(*secret).to_owned(), json.trim_matches('"').to_owned(), STANDARD.encode(secret)]
        })
        .collect()
}

fn is_in(text: &str) -> bool {
    forms().iter().any(|form| text.contains(form))
}

/// A cloud with a component whose Secret has both.
fn cloud() -> Made {
    let mut cloud = Made::on(ControlPlane::own());
    let more = "source: { templates: [secret.yaml.j2] }\nsettings: settings.schema.json";
    let config =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: open, namespace: vault }\ndata: { a: b }\n";
    cloud.component("vault", more, config);
    let schema = r#"{"type":"object","properties":{"env":{"type":"secret"},"file":{"type":"secret"}}}"#;
    let template = "apiVersion: v1\nkind: Secret\nmetadata: { name: keys, namespace: vault }\n\
        stringData: { env: {{ settings.env | tojson }}, file: {{ settings.file | tojson }} }\n";
    let folder = cloud.path("catalogue/templates/vault");
    fs_err::write(folder.join("settings.schema.json"), schema).unwrap();
    fs_err::write(folder.join("secret.yaml.j2"), template).unwrap();
    fs_err::write(cloud.path("canary"), CANARIES[1]).unwrap();
    cloud.config("vault", "{ settings: { env: { env: CANARY }, file: { file: canary } } }");
    cloud
}

/// Runs, and shows no secret.
fn run(cloud: &Made, arguments: &[&str], code: i32) -> String {
    let output = cloud.command(arguments).env("CANARY", CANARIES[0]).output().unwrap();
    let text = both(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    assert!(!is_in(&text), "{arguments:?} shows a secret: {text}");
    text
}

/// Every file below a folder but the secret's own and cozy's input.
fn look(folder: &Path) -> usize {
    let mut files = 0;
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files += look(&path);
        } else if path.file_name().is_none_or(|name| name != "canary") {
            let mut bytes = fs_err::read(&path).unwrap();
            if path.extension().is_some_and(|ending| ending == "zst") {
                bytes = zstd::decode_all(bytes.as_slice()).unwrap();
            }
            assert!(!is_in(&String::from_utf8_lossy(&bytes)), "{} has a secret", path.display());
            files += 1;
        }
    }
    files
}

/// The objects of every kind that have a secret in them, packed or not.
fn holders(plane: &ControlPlane) -> Vec<String> {
    let kinds = plane.ask(&["api-resources", "--verbs=list", "-o", "name"]).replace('\n', ",");
    let list: Value = serde_json::from_str(&plane.ask(&["get", &kinds, "-A", "-o", "json"])).unwrap();
    let items = list["items"].as_array().unwrap();
    assert!(items.len() > 100, "{} objects", items.len());
    let holds = |object: &&Value| {
        let data = object["data"].as_object().into_iter().flatten();
        let packed = data.filter_map(|(_, value)| STANDARD.decode(value.as_str()?).ok());
        let mut unpacked = packed.map(|bytes| {
            let mut text = String::from_utf8_lossy(&bytes).into_owned();
            let _ = flate2::read::GzDecoder::new(bytes.as_slice()).read_to_string(&mut text);
            let _ = flate2::read::ZlibDecoder::new(bytes.as_slice()).read_to_string(&mut text);
            text + &zstd::decode_all(bytes.as_slice())
                .map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
        });
        is_in(&object.to_string()) || unpacked.any(|text| is_in(&text))
    };
    let name = |object: &Value| format!("{} {}", object["kind"], object["metadata"]["name"]).replace('"', "");
    items.iter().filter(holds).map(name).collect()
}

#[test]
fn a_secret_is_in_its_own_secret_and_nowhere_else() {
    let mut cloud = cloud();
    let everything = |cloud: &Made, code: i32| {
        for arguments in [
            &["plan", "--diff"][..],
            &["plan", "-o", "json"],
            &["plan", "-o", "yaml"],
            &["plan", "--graph", "-"],
            &["install", "--rehearse", "--yes"],
            &["render"],
            &["render", "-o", "json"],
            &["validate"],
        ] {
            run(cloud, arguments, 0);
        }
        let archive = cloud.path(&format!("archive-{code}.tar.zst"));
        for arguments in [
            &["status"][..],
            &["status", "-o", "json"],
            &["diagnose"],
            &["diagnose", "-o", "json"],
            &["diagnose", "--archive", archive.to_str().unwrap()],
        ] {
            run(cloud, arguments, code);
        }
    };
    run(&cloud, &["install", "--yes", "-v"], 0);
    assert_eq!(holders(&cloud.plane), ["Secret keys"]);
    everything(&cloud, 0);

    // Somebody changed it: what it was and is to be is not shown.
    let patch = r#"{"stringData":{"env":"theirs"}}"#;
    cloud.plane.ask(&["-n", "vault", "patch", "secret", "keys", "-p", patch]);
    let diff = run(&cloud, &["plan", "--diff", "--force-conflicts"], 0);
    assert!(diff.contains("Secret vault/keys"), "{diff}");
    run(&cloud, &["install", "--yes", "--force-conflicts", "-o", "json"], 0);

    // The API server refuses it, and quotes what it refuses, as it is stored.
    let policy = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: { name: telltale }\n\
        spec:\n  matchConstraints: { resourceRules: [{ apiGroups: [''], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [secrets], resourceNames: [keys] }] }\n  \
        validations: [{ expression: 'false', messageExpression: \"'refused: ' + object.data.map(k, string(object.data[k])).join(' ')\" }]\n---\n\
        apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: { name: telltale }\n\
        spec: { policyName: telltale, validationActions: [Deny] }\n";
    let file = cloud.path("policy.yaml");
    fs_err::write(&file, policy).unwrap();
    cloud.plane.ask(&["apply", "-f", file.to_str().unwrap()]);
    let probe = [
        "-n",
        "vault",
        "patch",
        "secret",
        "keys",
        "--dry-run=server",
        "-p",
        r#"{"metadata":{"labels":{"a":"b"}}}"#,
    ];
    let refused = |plane: &ControlPlane| !plane.kubectl(&probe).status.success();
    cloud.plane.wait_until("the policy is in force", || refused(&cloud.plane));
    let words = String::from_utf8(cloud.plane.kubectl(&probe).stderr).unwrap();
    assert!(is_in(&words), "the API server does not quote it: {words}");
    let template = cloud.path("catalogue/templates/vault/secret.yaml.j2");
    let text = fs_err::read_to_string(&template).unwrap();
    fs_err::write(&template, text.replace("stringData: {", "stringData: { more: x,")).unwrap();
    let said = run(&cloud, &["install", "--yes", "-v"], 1);
    assert!(said.contains("refused: "), "{said}");
    run(&cloud, &["plan", "--diff"], 0);
    run(&cloud, &["diagnose"], 0);
    assert_eq!(holders(&cloud.plane), ["Secret keys"]);

    fs_err::remove_file(cloud.path("canary")).unwrap();
    cloud.config("vault", "{}");
    assert!(look(&cloud.path("")) > 5);
}
