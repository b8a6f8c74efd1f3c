//! From rendered files to manifests and hooks, in Helm's order and words
//! (Helm's `release/v1/util`, and what `helm template` prints).

mod head;

use std::rc::Rc;

use self::head::Head;
use crate::chart::path_matches;
use crate::error::Error;
use crate::yaml;

/// A document that is part of the release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The template that it comes from, `chart/templates/x.yaml`.
    pub path: String,
    /// Its text.
    pub text: String,
    /// `apps/v1`; empty where the document says none.
    pub api_version: String,
    /// `Deployment`; empty where the document says none.
    pub kind: String,
    /// `metadata.name`
    pub name: String,
}

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// `pre-install`
    PreInstall,
    /// `post-install`
    PostInstall,
    /// `pre-delete`
    PreDelete,
    /// `post-delete`
    PostDelete,
    /// `pre-upgrade`
    PreUpgrade,
    /// `post-upgrade`
    PostUpgrade,
    /// `pre-rollback`
    PreRollback,
    /// `post-rollback`
    PostRollback,
    /// `test`, `test-success`
    Test,
}

impl Event {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "pre-install" => Self::PreInstall,
            "post-install" => Self::PostInstall,
            "pre-delete" => Self::PreDelete,
            "post-delete" => Self::PostDelete,
            "pre-upgrade" => Self::PreUpgrade,
            "post-upgrade" => Self::PostUpgrade,
            "pre-rollback" => Self::PreRollback,
            "post-rollback" => Self::PostRollback,
            "test" | "test-success" => Self::Test,
            _ => return None,
        })
    }
}

/// A document that runs at events, not as part of the release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The document.
    pub manifest: Manifest,
    /// When it runs.
    pub events: Vec<Event>,
    /// Lower ones run first.
    pub weight: i64,
    /// `helm.sh/hook-delete-policy`, as it is written.
    pub delete_policies: Vec<String>,
}

/// A file of `crds/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crd {
    /// Its path, `chart/crds/x.yaml`.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// What a chart renders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The files of `crds/`, of subcharts too.
    pub crds: Vec<Crd>,
    /// The documents, in the order in which Helm installs them.
    pub manifests: Vec<Manifest>,
    /// The hooks, by kind.
    pub hooks: Vec<Hook>,
    /// The chart's own `NOTES.txt`.
    pub notes: String,
}

/// What `helm template` is to print.
#[derive(Debug, Clone, Default)]
pub struct Printed {
    /// `--include-crds`
    pub crds: bool,
    /// `--no-hooks`
    pub no_hooks: bool,
    /// `--skip-tests`
    pub skip_tests: bool,
    /// `--show-only`; all, where it is empty.
    pub show_only: Vec<String>,
}

impl Rendered {
    /// The text that `helm template` prints.
    ///
    /// # Errors
    /// Where a template of `--show-only` is not there.
    pub fn print(&self, printed: &Printed) -> Result<String, Error> {
        let lengths = self.manifests.iter().map(|manifest| manifest.path.len() + manifest.text.len() + 32);
        let mut out = String::with_capacity(lengths.sum());
        if printed.crds {
            for crd in &self.crds {
                document(&mut out, &crd.path, &crd.text);
            }
        }
        for manifest in &self.manifests {
            document(&mut out, &manifest.path, &manifest.text);
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        if !printed.no_hooks {
            let shown =
                self.hooks.iter().filter(|hook| !(printed.skip_tests && hook.events.contains(&Event::Test)));
            for hook in shown {
                document(&mut out, &hook.manifest.path, &hook.manifest.text);
            }
        }
        if printed.show_only.is_empty() { Ok(out) } else { select(&out, &printed.show_only) }
    }
}

fn document(out: &mut String, path: &str, text: &str) {
    out.push_str("---\n# Source: ");
    out.push_str(path);
    out.push('\n');
    out.push_str(text);
    out.push('\n');
}

/// Keeps the documents of some templates.
fn select(text: &str, patterns: &[String]) -> Result<String, Error> {
    let documents = split(text);
    let mut out = String::new();
    for pattern in patterns {
        let mut any = false;
        for document in &documents {
            let Some(path) = source(document) else { continue };
            if path_matches(pattern, path) == Some(true) {
                out.push_str("---\n");
                out.push_str(document);
                out.push('\n');
                any = true;
            }
        }
        if !any {
            return Err(Error::Values(format!("could not find template {pattern} in chart")));
        }
    }
    Ok(out)
}

/// The path after `# Source: chart/`.
fn source(document: &str) -> Option<&str> {
    document.split("# Source: ").skip(1).find_map(|rest| {
        let line = rest.lines().next()?;
        let (chart, path) = line.split_once('/')?;
        (!chart.is_empty() && !path.is_empty()).then_some(path)
    })
}

/// Splits documents: at lines that start with `---`, of which blanks that follow
/// are taken, too.
pub(crate) fn split(text: &str) -> Vec<&str> {
    let text = text.trim_start_matches(char::is_whitespace);
    let mut pieces = Vec::new();
    let (mut start, mut line) = (0, 0);
    loop {
        let rest = text.get(line..).unwrap_or_default();
        if let Some(rest) = rest.strip_prefix("---") {
            pieces.push(text.get(start..line).unwrap_or_default());
            start = text.len() - rest.trim_start_matches([' ', '\t']).len();
        }
        match yaml::next_separator(rest) {
            Some(ahead) => line += ahead,
            None => break,
        }
    }
    pieces.push(text.get(start..).unwrap_or_default());
    pieces
        .into_iter()
        .map(|piece| piece.trim_start_matches(char::is_whitespace))
        .filter(|piece| !piece.is_empty())
        .collect()
}

/// Helm's `InstallOrder`; kinds that are not in it come last, by name.
const ORDER: &[&str] = &[
    "PriorityClass",
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "SecretList",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleList",
    "ClusterRoleBinding",
    "ClusterRoleBindingList",
    "Role",
    "RoleList",
    "RoleBinding",
    "RoleBindingList",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];

fn rank(kind: &str) -> (usize, String) {
    match ORDER.iter().position(|known| *known == kind) {
        Some(rank) => (rank, String::new()),
        None => (ORDER.len(), kind.to_owned()),
    }
}

/// Reads the documents of rendered files, which are sorted by path.
pub(crate) fn sort(files: &[(Rc<str>, String)]) -> Result<(Vec<Manifest>, Vec<Hook>), Error> {
    let (mut manifests, mut hooks) = (Vec::new(), Vec::new());
    for (path, content) in files {
        let file = path.rsplit('/').next().unwrap_or(path);
        if file.starts_with('_') || content.trim().is_empty() {
            continue;
        }
        for text in split(content) {
            let head =
                Head::read(text).map_err(|problem| Error::Rendered { file: path.to_string(), problem })?;
            let manifest = Manifest {
                path: path.to_string(),
                text: text.to_owned(),
                api_version: head.api_version,
                kind: head.kind,
                name: head.name,
            };
            let annotation =
                |name: &str| head.annotations.iter().find(|(key, _)| key == name).map(|(_, value)| value);
            let Some(events) = annotation("helm.sh/hook") else {
                manifests.push(manifest);
                continue;
            };
            let events = events.split(',').map(|event| Event::parse(&event.trim().to_lowercase()));
            // Helm leaves out what runs at events that it does not know.
            let Some(events) = events.collect::<Option<Vec<_>>>() else { continue };
            let weight =
                annotation("helm.sh/hook-weight").and_then(|weight| weight.parse().ok()).unwrap_or(0);
            let policies = annotation("helm.sh/hook-delete-policy").map(String::as_str).unwrap_or_default();
            let delete_policies = policies.split(',').map(|policy| policy.trim().to_lowercase());
            let delete_policies = delete_policies.filter(|policy| !policy.is_empty()).collect();
            hooks.push(Hook { manifest, events, weight, delete_policies });
        }
    }
    manifests.sort_by_cached_key(|manifest| rank(&manifest.kind));
    hooks.sort_by_cached_key(|hook| rank(&hook.manifest.kind));
    Ok((manifests, hooks))
}
