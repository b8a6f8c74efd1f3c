//! Another installer of many charts at once, on the same charts: forty of 25 objects each, in eight waves.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::measure::{self, Took};
use super::{Row, Target, ratio};
use crate::made::Made;
use crate::support::control_plane::ControlPlane;

const WAVES: usize = 8;
const WIDTH: usize = 5;

/// The objects of a chart: what usually stands beside a Deployment, and one.
fn template() -> String {
    let mut text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web }\nspec:\n  replicas: {{ .Values.replicas }}\n  \
        selector: { matchLabels: { app: {{ .Chart.Name }} } }\n  template:\n    metadata: { labels: { app: {{ .Chart.Name }} } }\n    \
        spec: { serviceAccountName: web, containers: [{ name: main, image: example.org/web, readinessProbe: { tcpSocket: { port: 80 } } }] }\n\
        ---\napiVersion: v1\nkind: ServiceAccount\nmetadata: { name: web }\n\
        ---\napiVersion: v1\nkind: Service\nmetadata: { name: web }\nspec: { selector: { app: {{ .Chart.Name }} }, ports: [{ port: 80 }] }\n\
        ---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: { name: web }\nrules: [{ apiGroups: [''], resources: [pods], verbs: [get] }]\n\
        ---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: { name: web }\nroleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: web }\n\
        subjects: [{ kind: ServiceAccount, name: web, namespace: {{ .Release.Namespace }} }]\n"
        .to_owned();
    for number in 0..20 {
        writeln!(text, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: c-{number} }}\ndata: {{ of: '{{{{ .Release.Name }}}}' }}").unwrap();
    }
    text
}

fn name(wave: usize, column: usize) -> String {
    format!("wave-{wave}-{column}")
}

/// What each release waits for: the whole wave before.
fn needs(wave: usize) -> Vec<String> {
    match wave.checked_sub(1) {
        Some(before) => (0..WIDTH).map(|column| name(before, column)).collect(),
        None => Vec::new(),
    }
}

fn all() -> impl Iterator<Item = (usize, usize)> {
    (0..WAVES).flat_map(|wave| (0..WIDTH).map(move |column| (wave, column)))
}

/// Writes what helmfile reads, of the same charts.
fn helmfile(folder: &Path, charts: &Path) -> PathBuf {
    let mut text = "helmDefaults: { wait: true, createNamespace: true }\nreleases:\n".to_owned();
    for (wave, column) in all() {
        let name = name(wave, column);
        let needs: Vec<String> =
            needs(wave).into_iter().map(|need| format!("helmfile-{need}/{need}")).collect();
        writeln!(
            text,
            "  - {{ name: {name}, namespace: helmfile-{name}, chart: {}/{name}, needs: [{}] }}",
            charts.display(),
            needs.join(", ")
        )
        .unwrap();
    }
    let path = folder.join("helmfile.yaml");
    fs_err::write(&path, text).unwrap();
    path
}

/// Both install the charts, and then find them unchanged.
pub(super) fn rows(plane: &Arc<ControlPlane>) -> Vec<Row> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let mut cloud = Made::on(Arc::clone(plane));
    let template = template();
    for (wave, column) in all() {
        let name = name(wave, column);
        let files = [("values.yaml", "replicas: 1\n"), ("templates/all.yaml", template.as_str())];
        let needs = format!("needs: [{}]", needs(wave).join(", "));
        cloud.chart_with(&name, &needs, "1.0.0", &files);
    }
    let charts = cloud.path("charts/1.0.0");
    let file = helmfile(&cloud.path(""), &charts);
    let theirs = |arguments: &[&str]| -> Took {
        let mut command = Command::new(tools.join("peers/bin/helmfile"));
        command.arg("--helm-binary").arg(tools.join("helm/helm")).arg("--file").arg(&file).args(arguments);
        command.env("KUBECONFIG", plane.kubeconfig()).env("HOME", cloud.path("home"));
        command.env("HELM_PLUGINS", tools.join("peers/plugins"));
        measure::run(&mut command)
    };
    let install = measure::run(&mut cloud.command(&["install", "--yes"])).wall;
    let again = measure::best(|| measure::run(&mut cloud.command(&["install", "--yes"])), 3).wall;
    let sync = theirs(&["sync"]).wall;
    // `sync` upgrades every release; `apply` looks first what differs.
    let unchanged = theirs(&["apply"]).wall.min(theirs(&["sync"]).wall);
    vec![
        Row {
            what: "helmfile ÷ install, 40 charts in 8 waves",
            figures: format!("{sync:.2?} ÷ {install:.2?}"),
            value: ratio(sync, install),
            target: Target::AtLeast(5.0),
        },
        Row {
            what: "unchanged: helmfile ÷ install",
            figures: format!("{unchanged:.2?} ÷ {again:.2?}"),
            value: ratio(unchanged, again),
            target: Target::AtLeast(25.0),
        },
    ]
}
