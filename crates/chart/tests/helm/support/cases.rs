//! The charts, cases and snippets of `tests/charts`, and charts that are too
//! large to keep: they are generated.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::job::Job;

/// A job with a name, and where its golden is.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) chart: String,
    pub(crate) job: Job,
    /// Without `.txt` or `.err`.
    pub(crate) golden: PathBuf,
}

/// A line of a file of snippets.
pub(crate) struct Snippet {
    pub(crate) name: String,
    pub(crate) job: Job,
}

pub(crate) fn folder() -> PathBuf {
    super::root().join("tests/charts")
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs_err::read_dir(folder)
        .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default();
    paths.sort();
    paths
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

/// Every chart with its own values, and with each of its cases.
pub(crate) fn charts() -> Vec<Case> {
    let mut cases = Vec::new();
    for folder in listed(&folder()) {
        let path = folder.join("chart");
        if !path.is_dir() {
            continue;
        }
        let chart = stem(&folder);
        let plain = Job { notes: true, ..Job::chart(&path) };
        cases.push(Case {
            name: format!("{chart}/default"),
            chart: chart.clone(),
            job: plain.clone(),
            golden: folder.join("golden/default"),
        });
        for file in listed(&folder.join("cases")) {
            let text = fs_err::read_to_string(&file).unwrap();
            cases.push(Case {
                name: format!("{chart}/{}", stem(&file)),
                chart: chart.clone(),
                job: plain.clone().case(&text),
                golden: folder.join("golden").join(stem(&file)),
            });
        }
    }
    cases
}

/// Files of snippets with their lines, by the name of the file.
pub(crate) fn snippets() -> Vec<(String, Vec<Snippet>)> {
    let folder = folder().join("snippets");
    let values = fs_err::read_to_string(folder.join("values.yaml")).unwrap();
    let mut files = Vec::new();
    for path in listed(&folder) {
        if path.extension().is_none_or(|ext| ext != "txt") {
            continue;
        }
        let file = stem(&path);
        let text = fs_err::read_to_string(&path).unwrap();
        let lines = text.lines().enumerate().map(|(index, line)| Snippet {
            name: format!("{file}:{} {line}", index + 1),
            job: Job::snippet(&line.replace('⏎', "\n"), &values),
        });
        let lines = lines.collect();
        files.push((file, lines));
    }
    files
}

/// Charts that are large in one way each, by name.
pub(crate) fn large() -> Vec<(String, Job)> {
    vec![
        ("60 templates".to_owned(), many_templates(60)),
        ("300 templates".to_owned(), many_templates(300)),
        ("2,000 objects".to_owned(), many_objects(2000)),
        ("1 MB of values".to_owned(), large_values(1 << 20)),
    ]
}

/// A chart in memory with `count` templates of all usual shapes.
fn many_templates(count: usize) -> Job {
    let mut job = Job::snippet(
        "{{ .Chart.Name }} is installed",
        "replicas: 2\nlabels: {a: b, c: d}\nports: [80, 443]\n",
    );
    let files = job.files.as_mut().expect("a snippet is a chart in memory");
    files.insert(
        "Chart.yaml".to_owned(),
        "apiVersion: v2\nname: many\nversion: 1.2.3\nappVersion: '4'\n".to_owned(),
    );
    files.insert(
        "templates/_helpers.tpl".to_owned(),
        concat!(
            "{{- define \"many.labels\" -}}\napp: {{ .Chart.Name | quote }}\n",
            "release: {{ .Release.Name | trunc 63 | trimSuffix \"-\" }}\n",
            "{{- with .Values.labels }}\n{{ toYaml . }}\n{{- end }}\n{{- end }}\n",
        )
        .to_owned(),
    );
    for index in 0..count {
        let kind = ["Deployment", "Service", "ConfigMap", "Secret", "Role"][index % 5];
        files.insert(
            format!("templates/{}/t{index:04}.yaml", kind.to_lowercase()),
            format!(
                concat!(
                    "apiVersion: v1\nkind: {kind}\nmetadata:\n",
                    "  name: {{{{ printf \"%s-%d\" .Release.Name {index} }}}}\n",
                    "  labels: {{{{- include \"many.labels\" . | nindent 4 }}}}\n",
                    "spec:\n  replicas: {{{{ .Values.replicas | default 1 }}}}\n  ports:\n",
                    "  {{{{- range $i, $port := .Values.ports }}}}\n",
                    "    - {{{{ dict \"name\" (printf \"p%d\" $i) \"port\" $port | toJson }}}}\n  {{{{- end }}}}\n",
                    "  sum: {{{{ toYaml .Values | sha256sum }}}}\n",
                ),
                kind = kind,
                index = index
            ),
        );
    }
    job
}

/// A chart of one template that makes `count` objects.
fn many_objects(count: usize) -> Job {
    let mut job = Job::snippet("done", &format!("count: {count}\n"));
    let files = job.files.as_mut().expect("a snippet is a chart in memory");
    files.insert(
        "templates/all.yaml".to_owned(),
        concat!(
            "{{- range $i := until (int .Values.count) }}\n---\napiVersion: v1\n",
            "kind: {{ index (list \"ConfigMap\" \"Secret\" \"Service\" \"Deployment\") (mod $i 4) }}\n",
            "metadata:\n  name: object-{{ $i }}\n  labels: {n: {{ $i | quote }}, odd: {{ mod $i 2 | quote }}}\n",
            "data:\n  text: |\n    {{- repeat 5 (printf \"line %d\\n\" $i) | nindent 4 }}\n{{- end }}\n",
        )
        .to_owned(),
    );
    job
}

/// Values of about `bytes` bytes, printed back as YAML and JSON.
fn large_values(bytes: usize) -> Job {
    let mut values = String::from("items:\n");
    let mut index = 0;
    while values.len() < bytes {
        let _ = writeln!(
            values,
            "  - name: item-{index}\n    size: {}\n    on: {}\n    text: \"some text: {index} # é\"\n    nested: {{a: [1, 2, {{b: {index}.5}}], c: ~}}",
            index * 37,
            index % 2 == 0,
        );
        index += 1;
    }
    let mut job = Job::snippet("{{ len .Values.items }}", &values);
    let files = job.files.as_mut().expect("a snippet is a chart in memory");
    files.insert(
        "templates/all.yaml".to_owned(),
        "kind: ConfigMap\napiVersion: v1\nmetadata: {name: large}\nitems: {{- toYaml .Values.items | nindent 2 }}\nsum: {{ toJson .Values | sha256sum }}\n".to_owned(),
    );
    job.values.push(values.replace("size: 37", "size: 38"));
    job
}
