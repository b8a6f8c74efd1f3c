//! What becomes, on a real API server, of objects that are not wanted any
//! more, or are another component's now.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::made::Made;
use crate::support::control_plane::ControlPlane;

fn config(namespace: &str, name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name}, namespace: {namespace} }}\ndata: {{ a: b }}\n"
    )
}

fn inventories(plane: &ControlPlane) -> String {
    plane.ask(&[
        "-n",
        "cozy-system",
        "get",
        "secrets",
        "-l",
        "cozy/inventory",
        "-o",
        "jsonpath={.items[*].metadata.name}",
    ])
}

#[test]
fn a_renamed_component_keeps_its_objects_and_data_is_kept() {
    let plane = ControlPlane::own();
    let mut cloud = Made::on(Arc::clone(&plane));
    let claim = "apiVersion: v1\nkind: PersistentVolume\nmetadata: { name: v }\nspec: { capacity: { storage: 1Gi }, accessModes: [ReadWriteOnce], hostPath: { path: /tmp/none }, storageClassName: '' }\n";
    let marked = config("old", "marked")
        .replace("name: marked", "name: marked, annotations: { helm.sh/resource-policy: keep }");
    let all = [config("old", "a"), config("old", "b"), marked, claim.to_owned()].join("---\n");
    cloud.component("old", "", &all);
    cloud.component("other", "", &config("other", "c"));
    cloud.expect(&["install", "--yes"], 0);
    let uid = || {
        plane.ask(&[
            "-n",
            "old",
            "get",
            "configmap",
            "a",
            "-o",
            "jsonpath={.metadata.uid} {.metadata.resourceVersion}",
        ])
    };
    let before = uid();

    // Renamed: what it has is the new one's, untouched; what is not wanted any more goes, but for data.
    cloud.without("old").component("new", "", &config("old", "a"));
    let plan = cloud.expect(&["plan", "--diff"], 0);
    assert!(plan.contains("· ConfigMap old/a (forget)") && plan.contains("it is of new now"), "{plan}");
    assert!(plan.contains("- ConfigMap old/b"), "{plan}");
    for kept in [
        "ConfigMap old/marked of old is marked to be kept",
        "PersistentVolume v of old holds data",
        "Namespace old of old is used by objects that are wanted",
    ] {
        assert!(plan.contains(kept), "no {kept} in {plan}");
    }
    cloud.expect(&["install", "--yes"], 0);
    assert_eq!(uid(), before);
    assert!(!plane.kubectl(&["-n", "old", "get", "configmap", "b"]).status.success());
    assert_eq!(inventories(&plane), "cozy-inventory-new cozy-inventory-old cozy-inventory-other");
    let again = cloud.expect(&["install", "--yes"], 0);
    assert!(again.contains("nothing to do") && again.contains("PersistentVolume v"), "{again}");

    // Allowed, they go as well, but never what others stand on; in the end goes what remembered them.
    cloud.expect(&["install", "--yes", "--allow-data-loss"], 0);
    assert!(!plane.kubectl(&["get", "pv", "v"]).status.success());
    assert_eq!(uid(), before);
    cloud.component("new", "", &config("new", "a"));
    cloud.expect(&["install", "--yes", "--allow-data-loss"], 0);
    assert!(!plane.kubectl(&["get", "namespace", "old"]).status.success());
    assert_eq!(inventories(&plane), "cozy-inventory-new cozy-inventory-other");
}

#[test]
fn what_claims_belong_to_and_what_others_made_stays() {
    let plane = ControlPlane::own();
    let mut cloud = Made::on(Arc::clone(&plane));
    plane.ask(&["create", "namespace", "shared"]);
    plane.ask(&["-n", "shared", "create", "configmap", "theirs"]);
    cloud.component("shared", "", &config("shared", "ours")).component("rest", "", &config("rest", "c"));
    cloud.component("system", "", &config("kube-system", "ours"));
    let file = cloud.path("catalogue/templates/system/component.yaml");
    let text = fs_err::read_to_string(&file)
        .unwrap()
        .replace("namespace: { name: system", "namespace: { name: kube-system");
    fs_err::write(&file, text).unwrap();
    cloud.expect(&["install", "--yes"], 0);
    let uid = plane.ask(&["-n", "shared", "get", "configmap", "ours", "-o", "jsonpath={.metadata.uid}"]);
    let claim = format!(
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata:\n  name: data\n  namespace: shared\n  \
         ownerReferences: [{{ apiVersion: v1, kind: ConfigMap, name: ours, uid: {uid} }}]\n\
         spec: {{ storageClassName: '', accessModes: [ReadWriteOnce], resources: {{ requests: {{ storage: 1Gi }} }} }}\n"
    );
    let path = cloud.path("claim.yaml");
    fs_err::write(&path, claim).unwrap();
    plane.ask(&["apply", "-f", path.to_str().unwrap()]);

    cloud.without("shared").without("system");
    let plan = cloud.expect(&["plan", "--diff"], 0);
    for words in [
        "ConfigMap shared/ours of shared holds data",
        "Namespace shared (forget)",
        "others made it, or have fields in it",
        "Namespace kube-system (forget)",
        "every cluster has it",
    ] {
        assert!(plan.contains(words), "no {words} in {plan}");
    }
    cloud.expect(&["install", "--yes"], 0);
    plane.ask(&["-n", "shared", "get", "pvc/data", "configmap/ours", "configmap/theirs"]);
    let again = cloud.expect(&["install", "--yes"], 0);
    assert!(again.contains("nothing to do") && again.contains("ConfigMap shared/ours"), "{again}");
    cloud.expect(&["install", "--yes", "--allow-data-loss"], 0);
    plane.wait_until("the claim is gone with what it belonged to", || {
        !plane.kubectl(&["-n", "shared", "get", "pvc/data"]).status.success()
    });
    plane.ask(&["-n", "shared", "get", "configmap/theirs"]);
    assert_eq!(inventories(&plane), "cozy-inventory-rest");
}

#[test]
fn a_second_cloud_on_a_cluster_is_refused_and_deletes_nothing() {
    let plane = ControlPlane::own();
    let mut first = Made::on(Arc::clone(&plane));
    first.component("app", "", &config("app", "a")).component("web", "", &config("web", "a"));
    first.expect(&["install", "--yes"], 0);
    let mut second = Made::on(Arc::clone(&plane));
    second.name = "second";
    second.component("app", "", &config("app", "b"));
    for (command, code) in [(&["plan"][..], 1), (&["install", "--yes"], 1), (&["preflight"], 4)] {
        let said = second.expect(command, code);
        let unfolded = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(unfolded.contains("C2518"), "{said}");
        assert!(
            unfolded.contains("this cluster has components of cloud `made`, and this is cloud `second`"),
            "{said}"
        );
    }
    plane.ask(&["-n", "app", "get", "configmap", "a"]);
    plane.ask(&["-n", "web", "get", "configmap", "a"]);
    assert!(first.expect(&["install", "--yes"], 0).contains("nothing to do"));
    // The same cloud under another name, as the hint says.
    let label =
        ["-n", "cozy-system", "label", "secret", "-l", "cozy/inventory", "cozy/cloud=second", "--overwrite"];
    plane.ask(&label);
    second.expect(&["install", "--yes"], 0);
    plane.ask(&["-n", "app", "get", "configmap", "b"]);
    assert!(!plane.kubectl(&["-n", "web", "get", "configmap", "a"]).status.success());
    first.expect(&["plan"], 1);
}

#[test]
fn while_a_webhook_does_not_answer_there_is_a_plan_that_mends_it() {
    let plane = ControlPlane::own();
    let mut cloud = Made::on(Arc::clone(&plane));
    cloud.component("hooks", "", &config("hooks", "judged"));
    cloud.expect(&["install", "--yes"], 0);
    let hook = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: { name: hooks }\n\
        webhooks:\n  - name: hook.example.org\n    failurePolicy: POLICY\n    sideEffects: None\n    admissionReviewVersions: [v1]\n    timeoutSeconds: 1\n    \
        namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: hooks } }\n    \
        rules: [{ apiGroups: [''], apiVersions: [v1], operations: ['*'], resources: [configmaps] }]\n    \
        clientConfig: { url: 'https://127.0.0.1:9/' }\n";
    let path = cloud.path("hook.yaml");
    fs_err::write(&path, hook.replace("POLICY", "Fail")).unwrap();
    plane.ask(&["apply", "-f", path.to_str().unwrap()]);
    plane.wait_until("the webhook is called", || {
        !plane
            .kubectl(&["-n", "hooks", "annotate", "configmap", "judged", "--overwrite", "a=b"])
            .status
            .success()
    });
    // What mends it stands beside what it judges.
    let changed = config("hooks", "judged").replace("a: b", "a: c");
    cloud.component("hooks", "", &changed).component("mends", "", &hook.replace("POLICY", "Ignore"));
    let plan = cloud.expect(&["plan", "--diff", "--adopt", "--force-conflicts"], 0);
    assert!(plan.contains("ConfigMap hooks/judged") && plan.contains("failed calling webhook"), "{plan}");
    let status = cloud.expect(&["status"], 5);
    assert!(status.contains("ConfigMap hooks/judged differs"), "{status}");
    cloud.expect(&["install", "--yes", "--adopt", "--force-conflicts"], 0);
    let data = plane.ask(&["-n", "hooks", "get", "configmap", "judged", "-o", "jsonpath={.data.a}"]);
    assert_eq!(data, "c");
}

#[test]
fn custom_resources_go_while_their_operator_still_runs() {
    let plane = ControlPlane::own();
    let mut cloud = Made::on(Arc::clone(&plane));
    let crd = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: { name: things.app.example }\nspec:\n  group: app.example\n  scope: Namespaced\n  \
        names: { kind: Thing, listKind: ThingList, plural: things, singular: thing }\n  \
        versions: [{ name: v1, served: true, storage: true, schema: { openAPIV3Schema: { type: object } } }]\n";
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: operator, namespace: operator }\nspec:\n  selector: { matchLabels: { app: o } }\n  \
        template: { metadata: { labels: { app: o } }, spec: { containers: [{ name: c, image: x }] } }\n";
    let thing = "apiVersion: app.example/v1\nkind: Thing\nmetadata: { name: t, namespace: zoo, finalizers: [app.example/clean-up] }\n";
    cloud.component("operator", "", &format!("{crd}---\n{deployment}"));
    cloud.component("zoo", "", &format!("{}---\n{thing}", config("zoo", "c")));
    cloud.component("rest", "", &config("rest", "c"));
    cloud.expect(&["install", "--yes"], 0);

    cloud.without("operator").without("zoo");
    let mut run = cloud
        .command(&["install", "--yes", "--allow-data-loss", "-o", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines().map(Result::unwrap);
    let waiting = lines.find(|line| line.contains("\"waiting\"") && line.contains("Thing zoo/t")).unwrap();
    assert!(waiting.contains("its finalizers are app.example/clean-up"), "{waiting}");
    // As its operator would, which is still there, as is everything beside it.
    plane.ask(&["-n", "operator", "get", "deployment", "operator"]);
    plane.ask(&["-n", "zoo", "get", "configmap", "c"]);
    plane.ask(&[
        "-n",
        "zoo",
        "patch",
        "things.app.example/t",
        "--type=merge",
        "-p",
        r#"{"metadata":{"finalizers":null}}"#,
    ]);
    lines.for_each(drop);
    assert!(run.wait().unwrap().success());
    for gone in [
        &["get", "crd", "things.app.example"],
        &["get", "namespace", "operator"],
        &["get", "namespace", "zoo"],
    ] {
        assert!(!plane.kubectl(gone).status.success(), "{gone:?}");
    }
    assert_eq!(inventories(&plane), "cozy-inventory-rest");
}

#[test]
fn what_goes_with_its_namespace_or_its_definition_is_made_again() {
    let plane = ControlPlane::own();
    let mut cloud = Made::on(Arc::clone(&plane));
    let crd = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: { name: things.going.example }\nspec:\n  group: going.example\n  scope: Namespaced\n  \
        names: { kind: Thing, listKind: ThingList, plural: things, singular: thing }\n  \
        versions: [{ name: v1, served: true, storage: true, schema: { openAPIV3Schema: { type: object } } }]\n";
    let held = "apiVersion: going.example/v1\nkind: Thing\nmetadata: { name: t, namespace: stays, finalizers: [going.example/held] }\n";
    cloud.component("going", "", &config("going", "a"));
    let gate = "gates: [{ cel: 'true', of: Thing/t }]";
    cloud.component("stays", gate, &format!("{crd}---\n{held}---\n{}", config("stays", "a")));
    cloud.expect(&["install", "--yes"], 0);
    // Somebody keeps the namespace, and the kind, from going at once: all that is in them looks as it should.
    let guard = r#"{"metadata":{"finalizers":["going.example/held"]}}"#;
    plane.ask(&["-n", "going", "patch", "configmap", "a", "--type=merge", "-p", guard]);
    plane.ask(&["delete", "namespace", "going", "--wait=false"]);
    plane.ask(&["delete", "crd", "things.going.example", "--wait=false"]);
    let plan = cloud.expect(&["plan", "--diff"], 0);
    for going in ["Namespace going", "ConfigMap going/a", "Thing stays/t", "things.going.example"] {
        assert!(plan.contains(going), "no {going} in {plan}");
    }
    let mut run = cloud.command(&["install", "--yes", "-o", "json"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(run.stdout.take().unwrap()).lines().map(Result::unwrap);
    let free = r#"{"metadata":{"finalizers":null}}"#;
    let (mut held, mut said) = (vec!["configmap/a", "thing/t"], Vec::new());
    for line in lines {
        if line.contains("\"waiting\"") {
            let namespace = |object: &str| if object == "thing/t" { "stays" } else { "going" };
            held.retain(|object| {
                let mine = if *object == "thing/t" { "things.going.example" } else { "Namespace going" };
                let waits = line.contains(mine);
                if waits {
                    plane.ask(&["-n", namespace(object), "patch", object, "--type=merge", "-p", free]);
                }
                !waits
            });
        }
        said.push(line);
    }
    assert!(run.wait().unwrap().success(), "{}", said.join("\n"));
    plane.ask(&["-n", "going", "get", "configmap", "a"]);
    plane.ask(&["-n", "stays", "get", "thing/t", "configmap/a"]);
    assert!(cloud.expect(&["install", "--yes"], 0).contains("nothing to do"));
    plane.ask(&["-n", "stays", "patch", "thing", "t", "--type=merge", "-p", free]);
}

#[test]
fn a_namespace_that_cannot_go_says_why_and_is_not_waited_for_after_a_signal() {
    let plane = ControlPlane::own();
    let mut cloud = Made::on(Arc::clone(&plane));
    cloud.component("leaves", "", &config("leaves", "a")).component("rest", "", &config("rest", "a"));
    cloud.expect(&["install", "--yes"], 0);
    let api = "apiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: { name: v1.silent.example.org }\n\
        spec: { group: silent.example.org, version: v1, groupPriorityMinimum: 100, versionPriority: 1, insecureSkipTLSVerify: true, service: { namespace: default, name: nobody } }\n";
    let path = cloud.path("api.yaml");
    fs_err::write(&path, api).unwrap();
    plane.ask(&["apply", "-f", path.to_str().unwrap()]);
    plane.ask(&[
        "wait",
        "apiservice/v1.silent.example.org",
        "--for=condition=Available=False",
        "--timeout=30s",
    ]);
    cloud.without("leaves");
    let mut run =
        cloud.command(&["install", "--yes", "--allow-data-loss"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut sent = None;
    let mut said = String::new();
    for line in BufReader::new(run.stderr.take().unwrap()).lines().map(Result::unwrap) {
        if line.contains(" waiting ") && line.contains("Discovery failed") && sent.is_none() {
            let kill = Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap();
            assert!(kill.success());
            sent = Some(Instant::now());
        }
        said += &line;
        said.push('\n');
    }
    let ended = sent.map(|sent| sent.elapsed());
    assert_eq!(run.wait().unwrap().code(), Some(130), "{said}");
    assert!(ended.is_some_and(|took| took < Duration::from_secs(20)), "{ended:?}: {said}");
    let unfolded = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(unfolded.contains("mend what serves silent.example.org/v1, or delete its APIService"), "{said}");
    plane.ask(&["delete", "-f", path.to_str().unwrap()]);
    cloud.expect(&["install", "--yes", "--allow-data-loss"], 0);
    assert!(!plane.kubectl(&["get", "namespace", "leaves"]).status.success());
}

#[test]
fn objects_that_cannot_be_read_do_not_keep_what_mends_that_from_being_installed() {
    let plane = ControlPlane::own();
    let mut cloud = Made::on(Arc::clone(&plane));
    let version = |name: &str, stored: bool| {
        format!(
            "{{ name: {name}, served: true, storage: {stored}, schema: {{ openAPIV3Schema: {{ type: object, x-kubernetes-preserve-unknown-fields: true }} }} }}"
        )
    };
    let crd = |conversion: &str| {
        format!(
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{ name: things.turned.example }}\nspec:\n  group: turned.example\n  scope: Namespaced\n  \
             names: {{ kind: Thing, listKind: ThingList, plural: things, singular: thing }}\n  conversion: {conversion}\n  versions: [{}, {}]\n",
            version("v1", false),
            version("v2", true)
        )
    };
    let thing = |version: &str| {
        format!(
            "apiVersion: turned.example/{version}\nkind: Thing\nmetadata: {{ name: t, namespace: turned }}\n"
        )
    };
    // Its versions are converted by somebody who does not answer.
    let broken = "{ strategy: Webhook, webhook: { conversionReviewVersions: [v1], clientConfig: { url: 'https://127.0.0.1:9/' } } }";
    let gate = "gates: [{ cel: 'true', of: Thing/t }]";
    cloud.component("turned", gate, &format!("{}---\n{}", crd(broken), thing("v2")));
    cloud.expect(&["install", "--yes"], 0);
    cloud.component("turned", gate, &format!("{}---\n{}", crd("{ strategy: None }"), thing("v1")));
    let plan = cloud.expect(&["plan", "--diff"], 0);
    assert!(plan.contains("things.turned.example") && plan.contains("conversion webhook for"), "{plan}");
    let status = cloud.expect(&["status"], 5);
    assert!(status.contains("Thing turned/t is not ready"), "{status}");
    let diagnosis = cloud.expect(&["diagnose", "turned"], 5);
    assert!(diagnosis.contains("conversion webhook"), "{diagnosis}");
    cloud.expect(&["install", "--yes"], 0);
    plane.ask(&["-n", "turned", "get", "things.v1.turned.example", "t"]);
    assert!(cloud.expect(&["install", "--yes"], 0).contains("nothing to do"));
}
