//! What applying changes on a real API server, and what it leaves alone:
//! nothing is written twice, and nobody's fields are taken unasked.

use std::sync::Arc;

use crate::answer::Webhook;
use crate::made::Made;
use crate::support::control_plane::ControlPlane;

/// Objects that come back different from what was sent.
const NORMALIZED: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: app, annotations: null, labels: { app: web } }
spec:
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web }, creationTimestamp: null }
    spec:
      nodeSelector: null
      containers:
        - name: c
          image: x
          ports: [{ containerPort: 80 }]
          env: [{ name: A, value: "" }, { name: B, valueFrom: { fieldRef: { fieldPath: metadata.name } } }]
          resources: { requests: { cpu: "0.5", memory: 1024Mi }, limits: { cpu: 1000m } }
          readinessProbe: { httpGet: { path: /, port: 80 } }
---
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: set, namespace: app }
spec:
  serviceName: web
  selector: { matchLabels: { app: set } }
  template:
    metadata: { labels: { app: set } }
    spec: { containers: [{ name: c, image: x, resources: { limits: { memory: 0.5Gi } } }] }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: app }
spec: { selector: { app: web }, ports: [{ name: a, port: 80 }, { name: b, port: 81, targetPort: 82 }] }
---
apiVersion: v1
kind: Secret
metadata: { name: s, namespace: app }
stringData: { password: hunter2 }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: labelled, namespace: app, labels: { a: b } }
data: { a: "1", nothing: null }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: r, namespace: app }
roleRef: { kind: ClusterRole, name: view, apiGroup: rbac.authorization.k8s.io }
subjects: [{ kind: ServiceAccount, name: default }, { kind: User, name: somebody }]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: net, namespace: app }
spec: { podSelector: {}, ingress: [{ ports: [{ port: 80 }] }] }
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: { name: p, namespace: app }
spec: { minAvailable: 0, selector: { matchLabels: { app: web } } }
---
apiVersion: v1
kind: ResourceQuota
metadata: { name: q, namespace: app }
spec: { hard: { requests.storage: 0.5Ti, configmaps: "1e2" } }
---
apiVersion: batch/v1
kind: CronJob
metadata: { name: c, namespace: app }
spec:
  schedule: "0 0 1 1 *"
  jobTemplate: { spec: { template: { spec: { restartPolicy: Never, containers: [{ name: c, image: x }] } } } }
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: { name: l, namespace: app }
spec: { renewTime: "2020-01-01T01:00:00.000000+01:00" }
---
apiVersion: resource.example/v1
kind: Thing
metadata: { name: t, namespace: app }
spec: { size: 1, colour: null }
"#;

/// More of the component of those objects: nobody acts on its custom resource.
const APP: &str = "needs: [label]\ngates: [{ cel: object.spec.size >= 0, of: Thing/t }]";

const THINGS: &str = r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: things.resource.example }
spec:
  group: resource.example
  names: { kind: Thing, listKind: ThingList, plural: things, singular: thing }
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              properties:
                size: { type: integer, x-kubernetes-validations: [{ rule: self >= oldSelf, message: it cannot shrink }] }
                colour: { type: string, default: blue }
";

/// Each object with its version; of what controllers write to, with its generation.
fn versions(plane: &ControlPlane) -> String {
    let of = |kinds: &str, version: &str| {
        let columns = format!("custom-columns=:kind,:metadata.name,:metadata.{version}");
        plane.ask(&["-n", "app", "get", kinds, "-o", &columns])
    };
    let quiet =
        "configmaps,secrets,services,rolebindings,networkpolicies,leases.coordination.k8s.io,cronjobs";
    let engine = [
        "-n",
        "cozy-system",
        "get",
        "secrets",
        "-o",
        "custom-columns=:metadata.name,:metadata.resourceVersion",
    ];
    format!(
        "{}\n{}\n{}",
        of(quiet, "resourceVersion"),
        of("deployments,statefulsets,pdb", "generation"),
        plane.ask(&engine)
    )
}

fn nothing_to_do(cloud: &Made) {
    let before = versions(&cloud.plane);
    let plan = cloud.expect(&["plan", "--diff"], 0);
    let said = cloud.expect(&["install", "--yes"], 0);
    assert!(said.contains("nothing to do"), "{plan}{said}");
    assert_eq!(before, versions(&cloud.plane));
}

#[test]
fn what_comes_back_different_is_not_written_twice() {
    let plane = ControlPlane::own();
    let webhook = Webhook::labelling();
    let mut cloud = Made::on(Arc::clone(&plane));
    let configuration = format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingWebhookConfiguration\nmetadata: {{ name: label }}\nwebhooks:\n  - name: label.example.org\n    \
         clientConfig: {{ url: 'https://127.0.0.1:{}/', caBundle: {} }}\n    sideEffects: None\n    admissionReviewVersions: [v1]\n    \
         objectSelector: {{ matchLabels: {{ a: b }} }}\n    \
         rules: [{{ apiGroups: [''], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps] }}]\n",
        webhook.port, webhook.ca
    );
    cloud.component("things", "", THINGS);
    cloud.component("label", "", &configuration);
    cloud.component("app", APP, NORMALIZED);
    cloud.expect(&["install", "--yes", "--timeout", "60s"], 0);
    let get = |path: &str| {
        plane.ask(&[
            "-n",
            "app",
            "get",
            path.split_once(' ').unwrap().0,
            "-o",
            path.split_once(' ').unwrap().1,
        ])
    };
    assert_eq!(get("configmap/labelled jsonpath={.metadata.labels.injected}"), "yes");
    assert_eq!(
        get("deployment/web jsonpath={.spec.template.spec.containers[0].resources.requests}"),
        r#"{"cpu":"500m","memory":"1Gi"}"#
    );
    nothing_to_do(&cloud);
    assert_eq!(get("things/t jsonpath={.spec.colour} {.metadata.generation}"), "blue 1");

    // Written in another way, it is still the same.
    let other = NORMALIZED
        .replace("cpu: \"0.5\", memory: 1024Mi", "cpu: 500m, memory: 1Gi")
        .replace("stringData: { password: hunter2 }", "data: { password: aHVudGVyMg== }");
    assert_ne!(other, NORMALIZED);
    cloud.component("app", APP, &other);
    nothing_to_do(&cloud);

    // What others add is theirs.
    plane.ask(&["-n", "app", "label", "configmap/labelled", "theirs=1"]);
    plane.ask(&["-n", "app", "annotate", "deployment/web", "theirs=1"]);
    plane.ask(&[
        "-n",
        "app",
        "patch",
        "configmap/labelled",
        "--type=merge",
        "-p",
        r#"{"data":{"theirs":"1"}}"#,
    ]);
    nothing_to_do(&cloud);

    // Drift in our fields is mended, a field that was removed comes back, and theirs stay.
    plane.ask(&["-n", "app", "scale", "deployment/web", "--replicas=3"]);
    plane.ask(&[
        "-n",
        "app",
        "patch",
        "configmap/labelled",
        "--type=merge",
        "-p",
        r#"{"data":{"a":"theirs","theirs":"2"}}"#,
    ]);
    plane.ask(&[
        "-n",
        "app",
        "patch",
        "service/web",
        "--type=json",
        "-p",
        r#"[{"op":"remove","path":"/spec/ports/1"}]"#,
    ]);
    let plan = cloud.expect(&["plan", "--diff"], 0);
    assert!(
        plan.contains(".data.a: \"theirs\" → \"1\"") && plan.contains("taken over from `kubectl-patch`"),
        "{plan}"
    );
    let said = cloud.expect(&["install", "--yes"], 0);
    assert!(said.contains("2 changed"), "{said}");
    assert_eq!(get("configmap/labelled jsonpath={.data.a} {.data.theirs}"), "1 2");
    assert_eq!(get("service/web jsonpath={.spec.ports[*].port}"), "80 81");
    // Replicas were never ours.
    assert_eq!(get("deployment/web jsonpath={.spec.replicas}"), "3");
    nothing_to_do(&cloud);

    assert_eq!(get("things/t jsonpath={.spec.colour} {.metadata.generation}"), "blue 1");

    // So is data that was sent as text.
    plane.ask(&[
        "-n",
        "app",
        "patch",
        "secret/s",
        "--type=merge",
        "-p",
        r#"{"stringData":{"password":"theirs"}}"#,
    ]);
    cloud.expect(&["install", "--yes"], 0);
    assert_eq!(get("secret/s jsonpath={.data.password}"), "aHVudGVyMg==");

    // A field that is not wanted any more goes.
    let other = other.replace("data: { a: \"1\", nothing: null }", "data: { b: \"1\" }");
    cloud.component("app", APP, &other);
    cloud.expect(&["install", "--yes"], 0);
    assert_eq!(get("configmap/labelled jsonpath={.data}"), r#"{"b":"1","theirs":"2"}"#);
    nothing_to_do(&cloud);

    // What only its own kind knows to be fixed is known before.
    cloud.component("app", APP, &other.replace("size: 1", "size: 0"));
    let said = cloud.expect(&["plan"], 1);
    assert!(said.contains("C2506") && said.contains("it cannot shrink"), "{said}");
}

const CONFIG: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: c, namespace: app }\ndata: { a: '1', b: '2' }\n";

fn config(plane: &ControlPlane) -> String {
    plane.ask(&["-n", "app", "get", "configmap/c", "-o", "jsonpath={.data}"])
}

/// Sets fields of an object by server-side apply, as somebody else.
fn by_hand(cloud: &Made, text: &str) {
    let path = cloud.path("hand.yaml");
    fs_err::write(&path, text).unwrap();
    cloud.plane.ask(&[
        "apply",
        "--server-side",
        "--field-manager=hand",
        "--force-conflicts",
        "-f",
        path.to_str().unwrap(),
    ]);
}

#[test]
fn fields_of_others_are_taken_only_when_they_were_ours_or_the_user_says_so() {
    let plane = ControlPlane::own();
    let mut cloud = Made::on(Arc::clone(&plane));
    let set = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: { name: s, namespace: app }\nspec:\n  serviceName: one\n  selector: { matchLabels: { app: s } }\n  \
        template: { metadata: { labels: { app: s } }, spec: { containers: [{ name: c, image: x }] } }\n";
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: { name: j, namespace: app }\nspec: { template: { spec: { restartPolicy: Never, containers: [{ name: c, image: x }] } } }\n";
    let all = |config: &str, set: &str, job: &str| format!("{config}---\n{set}---\n{job}");
    cloud.component("app", "", &all(CONFIG, set, job));
    cloud.expect(&["install", "--yes"], 0);

    // A new field of ours is another manager's: it is named, with whose it is, and nothing is written.
    by_hand(&cloud, &CONFIG.replace("a: '1', b: '2'", "c: theirs"));
    plane.ask(&["-n", "app", "patch", "configmap/c", "--type=merge", "-p", r#"{"data":{"a":"theirs"}}"#]);
    let more = CONFIG.replace("b: '2'", "b: '2', c: '3'");
    cloud.component("app", "", &all(&more, set, job));
    let before = versions(&plane);
    for command in [&["plan"][..], &["install", "--yes"]] {
        let said = cloud.expect(command, 1);
        assert!(
            said.contains("C4003") && said.contains(".data.c (`hand`)") && said.contains("--force-conflicts"),
            "{said}"
        );
        // That one was ours.
        assert!(!said.contains(".data.a"), "{said}");
    }
    assert_eq!(before, versions(&plane));
    let plan = cloud.expect(&["plan", "--diff", "--force-conflicts"], 0);
    assert!(plan.contains(".data.c: taken over from `hand`"), "{plan}");
    cloud.expect(&["install", "--yes", "--force-conflicts"], 0);
    assert_eq!(config(&plane), r#"{"a":"1","b":"2","c":"3"}"#);
    nothing_to_do(&cloud);

    // Now it is ours by the inventory, and is taken back unasked.
    by_hand(&cloud, &CONFIG.replace("a: '1', b: '2'", "c: theirs"));
    cloud.expect(&["install", "--yes"], 0);
    assert_eq!(config(&plane), r#"{"a":"1","b":"2","c":"3"}"#);

    // A Job is replaced, and the plan says so before.
    let uid = || plane.ask(&["-n", "app", "get", "job/j", "-o", "jsonpath={.metadata.uid}"]);
    let first = uid();
    let second_job = job.replace("image: x", "image: other");
    cloud.component("app", "", &all(&more, set, &second_job));
    let plan = cloud.expect(&["plan", "--diff"], 0);
    assert!(
        plan.contains("1 object to replace") && plan.contains("spec.template (field is immutable)"),
        "{plan}"
    );
    assert!(cloud.expect(&["install", "--yes"], 0).contains("1 replaced"));
    assert_ne!(uid(), first);
    nothing_to_do(&cloud);

    // A StatefulSet is not: the plan fails, and nothing is written.
    let second = uid();
    cloud.component("app", "", &all(&more, &set.replace("one", "two"), job));
    let said = cloud.expect(&["install", "--yes"], 1);
    assert!(
        said.contains("C2506")
            && said.contains("updates to statefulset spec")
            && said.contains("kubectl delete"),
        "{said}"
    );
    assert_eq!(uid(), second);

    // What is invalid anyway is no question of replacing.
    cloud.component(
        "app",
        "",
        &all(&more, &set.replace("serviceName: one", "serviceName: one\n  replicas: -1"), &second_job),
    );
    let said = cloud.expect(&["install", "--yes"], 1);
    assert!(!said.contains("C2506") && said.contains("spec.replicas"), "{said}");
    assert_eq!(uid(), second);
}

#[test]
fn replicas_under_an_autoscaler_are_left_to_it() {
    let plane = ControlPlane::own();
    let mut cloud = Made::on(Arc::clone(&plane));
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: d, namespace: app }\nspec:\n  replicas: 3\n  selector: { matchLabels: { app: d } }\n  \
        template: { metadata: { labels: { app: d } }, spec: { containers: [{ name: c, image: x }] } }\n";
    let scaler = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: { name: s, namespace: app }\nspec:\n  maxReplicas: 9\n  \
        scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: d }\n";
    let replicas = || plane.ask(&["-n", "app", "get", "deployment/d", "-o", "jsonpath={.spec.replicas}"]);
    cloud.component("app", "", deployment);
    cloud.expect(&["install", "--yes"], 0);
    assert_eq!(replicas(), "3");

    // Somebody's autoscaler: replicas are its from now on, and stay until it changes them.
    let path = cloud.path("scaler.yaml");
    fs_err::write(&path, scaler).unwrap();
    plane.ask(&["apply", "-f", path.to_str().unwrap()]);
    cloud.expect(&["install", "--yes"], 0);
    assert_eq!(replicas(), "3");
    plane.ask(&["-n", "app", "scale", "deployment/d", "--replicas=5"]);
    nothing_to_do(&cloud);
    assert_eq!(replicas(), "5");

    // Without it they are ours again, once the user says so: somebody else set them last.
    plane.ask(&["delete", "-f", path.to_str().unwrap()]);
    let said = cloud.expect(&["install", "--yes"], 1);
    assert!(said.contains(".spec.replicas (`kubectl`)"), "{said}");
    cloud.expect(&["install", "--yes", "--force-conflicts"], 0);
    assert_eq!(replicas(), "3");
    nothing_to_do(&cloud);
}

#[test]
fn what_others_made_is_adopted_only_when_the_user_says_so() {
    let plane = ControlPlane::own();
    let mut cloud = Made::on(Arc::clone(&plane));
    plane.ask(&["create", "namespace", "app"]);
    plane.ask(&["-n", "app", "create", "configmap", "c", "--from-literal=a=1"]);
    let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: { name: default, namespace: app, labels: { ours: '1' } }\n";
    cloud.component("app", "", &format!("{CONFIG}---\n{account}"));
    let said = cloud.expect(&["install", "--yes"], 1);
    assert!(
        said.contains("C2507") && said.contains("ConfigMap app/c") && said.contains("`kubectl-create`"),
        "{said}"
    );
    // Neither the namespace nor what the server made in it is anybody's.
    assert!(!said.contains("ServiceAccount") && !said.contains("Namespace"), "{said}");
    assert_eq!(config(&plane), r#"{"a":"1"}"#);
    let plan = cloud.expect(&["plan", "--diff", "--adopt"], 0);
    assert!(plan.contains("1 to adopt") && plan.contains("ConfigMap app/c (adopt)"), "{plan}");
    assert!(cloud.expect(&["install", "--yes", "--adopt"], 0).contains("1 adopted"));
    assert_eq!(config(&plane), r#"{"a":"1","b":"2"}"#);
    nothing_to_do(&cloud);
    assert_eq!(
        plane.ask(&["-n", "app", "get", "serviceaccount/default", "-o", "jsonpath={.metadata.labels.ours}"]),
        "1"
    );
}

#[test]
fn names_of_any_characters_are_applied_found_and_deleted() {
    let plane = ControlPlane::own();
    let mut cloud = Made::on(Arc::clone(&plane));
    let role = |name: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{ name: \"{name}\" }}\nrules: []\n"
        )
    };
    cloud.component("app", "", &format!("{}---\n{}", role("odd: a?b#c é"), role("odd: stays&x=1")));
    cloud.expect(&["install", "--yes"], 0);
    nothing_to_do(&cloud);
    cloud.component("app", "", &role("odd: stays&x=1"));
    cloud.expect(&["install", "--yes"], 0);
    let names = plane.ask(&["get", "clusterroles", "-o", "jsonpath={.items[*].metadata.name}"]);
    assert!(names.contains("odd: stays&x=1") && !names.contains("odd: a?b#c"), "{names}");
}

#[test]
fn objects_of_kinds_that_only_the_cluster_knows_are_put_where_these_live_and_refused_at_other_versions() {
    let plane = ControlPlane::own();
    let mut cloud = Made::on(Arc::clone(&plane));
    let definition = |plural: &str, kind: &str, scope: &str| {
        format!(
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{ name: {plural}.theirs.example.org }}\nspec:\n  group: theirs.example.org\n  scope: {scope}\n  \
             names: {{ plural: {plural}, singular: {}, kind: {kind} }}\n  versions: [{{ name: v1, served: true, storage: true, subresources: {{ status: {{}} }}, \
             schema: {{ openAPIV3Schema: {{ type: object, x-kubernetes-preserve-unknown-fields: true }} }} }}]\n",
            kind.to_lowercase()
        )
    };
    let path = cloud.path("definitions.yaml");
    let both = [definition("tins", "Tin", "Namespaced"), definition("tops", "Top", "Cluster")].join("---\n");
    fs_err::write(&path, both).unwrap();
    plane.ask(&["apply", "-f", path.to_str().unwrap()]);
    plane.wait_until("both kinds are served", || {
        ["tins", "tops"].iter().all(|kind| plane.kubectl(&["get", kind, "-A"]).status.success())
    });
    let objects = |version: &str| {
        format!(
            "apiVersion: theirs.example.org/{version}\nkind: Tin\nmetadata: {{ name: a }}\n---\n\
             apiVersion: theirs.example.org/v1\nkind: Top\nmetadata: {{ name: a, namespace: app }}\n"
        )
    };
    let gates = "gates: [{ cel: 'has(object.metadata.uid)', of: Tin/a }, { cel: 'has(object.metadata.uid)', of: Top/a }]\ndeadline: 30s";
    cloud.component("app", gates, &objects("v1beta1"));
    let said = cloud.expect(&["install", "--yes"], 2);
    assert!(said.contains("C2501") && said.contains("write `apiVersion: theirs.example.org/v1`"), "{said}");
    cloud.component("app", gates, &objects("v1"));
    cloud.expect(&["install", "--yes"], 0);
    plane.ask(&["-n", "app", "get", "tin", "a"]);
    plane.ask(&["get", "top", "a"]);
    nothing_to_do(&cloud);
    assert!(cloud.expect(&["diagnose", "app"], 0).contains("all ready"));
    cloud.component("app", "", CONFIG);
    cloud.expect(&["install", "--yes"], 0);
    assert!(!plane.kubectl(&["-n", "app", "get", "tin", "a"]).status.success());
    assert!(!plane.kubectl(&["get", "top", "a"]).status.success());
}
