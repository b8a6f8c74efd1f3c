//! What charts generate stays what it is; what a chart is told does not change
//! by itself; nothing that is generated is shown.

use std::collections::BTreeMap;
use std::io::Write as _;

use bytes::Bytes;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Known, Lookup, Missing, Rendering, render, sees};
use crate::model::component::Resolved;
use crate::model::object::ObjectId;
use crate::plan::Stage;

/// The files of a chart by their path.
type Files = BTreeMap<String, String>;

fn packed(files: &Files) -> Bytes {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let metadata = ("Chart.yaml".to_owned(), "apiVersion: v2\nname: shop\nversion: 1.0.0\n".to_owned());
    for (name, text) in std::iter::once(&metadata).map(|(a, b)| (a, b)).chain(files) {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, format!("shop/{name}"), text.as_bytes()).unwrap();
    }
    let mut gzip = tar.into_inner().unwrap();
    gzip.flush().unwrap();
    gzip.finish().unwrap().into()
}

fn shop(files: &Files, values: &Value) -> Resolved {
    let component = json!({
        "apiVersion": "cozy/v1", "kind": "Component", "name": "shop", "summary": "x", "category": "x",
        "version": "1", "namespace": { "name": "shop" },
        "source": { "chart": { "repository": "https://charts.example.org", "name": "shop", "version": "1.0.0" } },
    });
    Resolved {
        component: serde_json::from_value(component).unwrap(),
        settings: Map::new(),
        secrets: Vec::new(),
        values: values.as_object().cloned().unwrap(),
        patches: Vec::new(),
        files: BTreeMap::new(),
        folder: String::new(),
        artefact: Some(packed(files)),
        schemas: BTreeMap::new(),
    }
}

fn at(second: i64) -> Known {
    Known { now: Some(Timestamp::from_second(second).unwrap()), ..Known::nothing(Missing::Refuse) }
}

fn rendering(files: &Files, values: &Value, known: &Known) -> Rendering {
    render(&[shop(files, values)], &Map::new(), known)
}

/// The objects of a chart, with what is known before and after.
fn rendered(files: &Files, values: &Value, known: &mut Known) -> BTreeMap<ObjectId, Value> {
    let all = rendering(files, values, known).result.unwrap();
    for component in &all {
        known.kept.insert(component.component.clone(), component.kept.clone().unwrap());
    }
    let objects = all.into_iter().flat_map(|component| component.objects);
    objects.map(|(_, object)| (object.id.clone(), object.value.clone())).collect()
}

/// An object with every kind of generated value, some of them twice, two made by a helper.
fn generating(name: &str) -> String {
    let text = "apiVersion: v1\nkind: Secret\nmetadata: { name: \"NAME\" }\nstringData:\n\
        \x20 one: {{ randAlphaNum 16 | quote }}\n  two: {{ randAlphaNum 16 | quote }}\n  alpha: {{ randAlpha 8 | quote }}\n\
        \x20 ascii: {{ randAscii 9 | quote }}\n  number: {{ randNumeric 7 | quote }}\n  bytes: {{ randBytes 9 | quote }}\n\
        \x20 int: {{ randInt 0 1000000 | quote }}\n  uuid: {{ uuidv4 | quote }}\n\
        \x20 private: {{ genPrivateKey \"ecdsa\" | quote }}\n\
        \x20 aes: {{ encryptAES \"key\" \"text\" | quote }}\n  shuffled: {{ shuffle \"abcdefghijklmnop\" | quote }}\n\
        \x20 helper: {{ include \"password\" . | quote }}\n  again: {{ include \"password\" . | quote }}\n";
    text.replace("NAME", name)
}

/// Keys take long to make.
const TLS: &str = "{{ $ca := genCA \"shop-ca\" 365 }}{{ $cert := genSignedCert \"shop\" nil (list \"shop.svc\") 365 $ca }}\n\
    apiVersion: v1\nkind: Secret\nmetadata: { name: tls }\nstringData:\n\
    \x20 ca: {{ $ca.Cert | quote }}\n  key: {{ $cert.Key | quote }}\n  cert: {{ $cert.Cert | quote }}\n";

fn base() -> Files {
    let hashes = "apiVersion: v1\nkind: Secret\nmetadata: { name: hashes }\nstringData:\n\
        \x20 hash: {{ htpasswd \"admin\" \"pass\" | quote }}\n  crypt: {{ bcrypt \"pass\" | quote }}\n";
    let helper = "{{ define \"password\" }}{{ randAlphaNum 16 }}{{ end }}".to_owned();
    [
        ("templates/_helpers.tpl".to_owned(), helper),
        ("templates/m.yaml".to_owned(), generating("m")),
        ("templates/sub/n.yaml".to_owned(), generating("n")),
        ("templates/slow.yaml".to_owned(), hashes.to_owned()),
        ("templates/tls.yaml".to_owned(), TLS.to_owned()),
    ]
    .into()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_template_added_before_another_changes_no_generated_password_or_certificate_of_the_other(
        added in prop::collection::btree_set("(sub/|aa/|zz/b/)?[a-z0-9]{1,3}", 1..3),
    ) {
        let mut known = at(1_000_000);
        let first = rendered(&base(), &json!({}), &mut known);
        let mut more = base();
        more.insert("templates/a/tls.yaml".to_owned(), TLS.replace("name: tls", "name: tls-before"));
        for name in added {
            let object = format!("x-{}", name.replace('/', "-"));
            more.entry(format!("templates/{name}.yaml")).or_insert_with(|| generating(&object));
        }
        let second = rendered(&more, &json!({}), &mut known);
        prop_assert!(second.len() > first.len());
        for (id, value) in first.iter().filter(|(id, _)| !crate::model::kept::is_secret(id)) {
            prop_assert_eq!(second.get(id), Some(value));
        }
        // Taken out again, and once more: the same as ever.
        prop_assert_eq!(rendered(&more, &json!({}), &mut known), second);
        let back = rendered(&base(), &json!({}), &mut known);
        for (id, value) in first.iter().filter(|(id, _)| !crate::model::kept::is_secret(id)) {
            prop_assert_eq!(back.get(id), Some(value));
        }
    }
}

#[test]
fn without_what_was_kept_all_is_generated_anew_and_nothing_is_the_same_twice() {
    let strings = |known: &mut Known| -> Vec<String> {
        let objects = rendered(&base(), &json!({}), known);
        let of = |value: &Value| value["stringData"].as_object().cloned().unwrap_or_default();
        objects.values().flat_map(of).map(|(_, value)| value.as_str().unwrap().to_owned()).collect()
    };
    let mut all: Vec<String> = [strings(&mut at(1)), strings(&mut at(1))].concat();
    assert_eq!(all.len(), 2 * (2 * 13 + 5));
    all.sort();
    all.dedup();
    // A number below a million may come twice.
    assert!(all.len() > 2 * (2 * 13 + 5) - 2, "{all:?}");
}

#[test]
fn time_and_revision_change_with_the_inputs_only() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: when }\ndata:\n  now: {{ now | unixEpoch | quote }}\n\
        \x20 is: {{ .Release.Revision }} {{ .Release.IsInstall }} {{ .Release.IsUpgrade }}\n  color: {{ .Values.color }}\n";
    let files: Files = [("templates/when.yaml".to_owned(), text.to_owned())].into();
    let mut known = at(1_000);
    let mut said = |second: i64, color: &str| {
        known.now = Some(Timestamp::from_second(second).unwrap());
        let objects = rendered(&files, &json!({ "color": color }), &mut known);
        let data = objects.values().find_map(|value| value["data"].get("now").and(value.get("data")));
        data.unwrap().to_string()
    };
    insta::assert_snapshot!([said(1_000, "red"), said(2_000, "red"), said(3_000, "blue"), said(4_000, "blue")].join("\n"), @r#"
        {"now":"1000","is":"1 true false","color":"red"}
        {"now":"1000","is":"1 true false","color":"red"}
        {"now":"3000","is":"2 false true","color":"blue"}
        {"now":"3000","is":"2 false true","color":"blue"}
    "#);
}

#[test]
fn certificates_are_renewed_after_two_thirds_of_their_life() {
    let text = "apiVersion: v1\nkind: Secret\nmetadata: { name: tls }\n{{ $ca := genCA \"ca\" 30 }}\n\
        {{ $cert := genSignedCert \"shop\" nil nil 90 $ca }}\nstringData: { ca: {{ $ca.Cert | quote }}, key: {{ $cert.Key | quote }} }\n";
    let files: Files = [("templates/tls.yaml".to_owned(), text.to_owned())].into();
    let mut known = at(0);
    let mut on = |day: i64| {
        known.now = Some(Timestamp::from_second(day * 86_400).unwrap());
        let objects = rendered(&files, &json!({}), &mut known);
        objects.values().find_map(|value| value.get("stringData")).unwrap().clone()
    };
    let first = on(1);
    assert_eq!(on(20), first);
    // What is signed by another authority is another certificate.
    let renewed = on(22);
    assert_ne!((&renewed["ca"], &renewed["key"]), (&first["ca"], &first["key"]));
    assert_eq!(on(23), renewed);
}

#[test]
fn an_error_shows_nothing_that_was_generated() {
    let text = "{{ fail (printf \"the password is %s!\" (randAlphaNum 24)) }}";
    let files: Files = [("templates/a.yaml".to_owned(), text.to_owned())].into();
    let errors = rendering(&files, &json!({}), &at(1)).result.unwrap_err();
    let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
        component `shop`, component.yaml: chart shop 1.0.0: shop/templates/a.yaml:1:4: the password is [secret]!
          at <fail (printf "the password is %s!" (randAlphaNum 24))>
    "#);
}

#[test]
fn a_lookup_is_asked_once_and_its_answer_is_used() {
    let text = "{{ $old := lookup \"v1\" \"Secret\" \"shop\" \"old\" }}\napiVersion: v1\nkind: Secret\nmetadata: { name: new }\n\
        stringData: { password: {{ dig \"data\" \"password\" (randAlphaNum 16) $old | quote }} }\n";
    let files: Files = [("templates/a.yaml".to_owned(), text.to_owned())].into();
    let mut known = at(1);
    let asked = rendering(&files, &json!({}), &known).asked;
    let lookup = Lookup {
        api_version: "v1".to_owned(),
        kind: "Secret".to_owned(),
        namespace: "shop".to_owned(),
        name: "old".to_owned(),
    };
    assert_eq!(asked, [lookup.clone()].into());
    known.answers.insert(lookup, Some(json!({ "data": { "password": "b2xk" } })));
    assert!(rendering(&files, &json!({}), &known).asked.is_empty());
    let objects = rendered(&files, &json!({}), &mut known);
    assert!(objects.values().any(|value| value["stringData"]["password"] == "b2xk"));
}

#[test]
fn rehearsals_make_the_same_up_each_time() {
    let twice = [0, 1].map(|_| {
        let known = Known::nothing(Missing::StandIn);
        let all = rendering(&base(), &json!({}), &known).result.unwrap();
        let objects = all.into_iter().flat_map(|component| component.objects);
        objects.map(|(stage, object)| (stage, object.value.to_string())).collect::<Vec<_>>()
    });
    assert_eq!(twice[0], twice[1]);
    assert!(twice[0].iter().any(|(stage, _)| *stage == Stage::Generated));
}

/// A component with the CRD of `Thing`, in templates of its own.
fn things(name: &str) -> Resolved {
    let component = json!({
        "apiVersion": "cozy/v1", "kind": "Component", "name": name, "summary": "x", "category": "x", "version": "1",
        "source": { "templates": ["crd.yaml"] },
    });
    let crd = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: { name: things.example.org }\n\
        spec: { group: example.org, scope: Namespaced, names: { kind: Thing, plural: things }, versions: [{ name: v1, served: true }, { name: v2, served: false }] }\n";
    Resolved {
        component: serde_json::from_value(component).unwrap(),
        files: [("crd.yaml".to_owned(), crd.as_bytes().into())].into(),
        folder: String::new(),
        artefact: None,
        schemas: BTreeMap::new(),
        ..shop(&Files::new(), &json!({}))
    }
}

#[test]
fn a_chart_sees_the_kinds_of_components_before_it_and_what_the_cluster_serves_besides() {
    let asked = [
        "example.org/v1",
        "example.org/v1/Thing",
        "example.org/v2/Thing",
        "apps/v1/Deployment",
        "theirs/v1/Own",
    ];
    let has = asked.map(|api| format!("{{{{ .Capabilities.APIVersions.Has \"{api}\" }}}}"));
    let text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: told }}\ndata: {{ has: \"{} {{{{ .Capabilities.KubeVersion }}}}\" }}\n",
        has.join(" ")
    );
    let files: Files = [("templates/a.yaml".to_owned(), text)].into();
    let facts = json!({ "cluster": { "version": "v1.35.2" } });
    let told = |components: &[Resolved], known: &Known| {
        let all = render(components, facts.as_object().unwrap(), known).result.unwrap();
        let mut objects = all.iter().flat_map(|component| &component.objects);
        let said = objects.find_map(|(_, object)| object.value.pointer("/data/has").cloned());
        said.unwrap().as_str().unwrap().to_owned()
    };
    let chart = shop(&files, &json!({}));
    let mut needing = chart.clone();
    needing.component.needs = vec!["things".to_owned()];
    let before = told(&[things("kinds"), chart.clone()], &at(1));
    let after = told(&[chart, things("things")], &at(1));
    let needed = told(&[needing, things("things")], &at(1));
    // Without a cluster there is what Kubernetes has; with one, what it serves.
    let apis = ["theirs/v1", "theirs/v1/Own"].map(str::to_owned).into();
    let cluster = told(&[shop(&files, &json!({}))], &Known { apis: Some(apis), ..at(1) });
    insta::assert_snapshot!([before, after, needed, cluster].join("\n"), @"
        true true false true false v1.35.2
        false false false true false v1.35.2
        true true false true false v1.35.2
        false false false false true v1.35.2
    ");
}

#[test]
fn whether_a_template_sees_a_fact_is_known_without_rendering_it() {
    let sees = |text: &str| {
        let mut resolved = things("x");
        resolved.component.resources = vec!["a.yaml".to_owned()];
        resolved.files = [("a.yaml".to_owned(), text.as_bytes().to_vec().into())].into();
        sees(&[resolved], "cluster")
    };
    for text in
        ["a: {{ cluster.nodes }}", "{% if cluster %}\na: 1\n{% endif %}", "a: {{ debug() }}", "a: {{ broken"]
    {
        assert!(sees(text), "{text}");
    }
    for text in
        ["host: a.cluster.local", "a: {{ settings.cluster }}", "a: {{ 'cluster' }}", "{# cluster #}\na: 1"]
    {
        assert!(!sees(text), "{text}");
    }
}

/// What the cloud file sets reaches a chart as it is. YAML, which a chart's own values are, has no DEL and folds U+0085.
#[test]
fn values_of_a_chart_may_have_any_character() {
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: told }\ndata: { odd: {{ b64enc .Values.odd }} }\n";
    let files: Files = [("templates/a.yaml".to_owned(), text.to_owned())].into();
    let chart = shop(&files, &json!({ "odd": "\u{7f}\u{85}" }));
    let all = render(&[chart], &Map::new(), &at(1)).result.unwrap();
    let mut objects = all.iter().flat_map(|component| &component.objects);
    let told = objects.find_map(|(_, object)| object.value.pointer("/data/odd").cloned());
    assert_eq!(told, Some(json!("f8KF")));
}
