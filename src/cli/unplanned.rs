//! Why nothing is planned, for the user: errors of rendering and of the planner
//! as findings at their places, and components that the release does not suit.

use super::flow::Loaded;
use crate::error::{Exit, Problem, Said};
use crate::model::cloud::Provider;
use crate::model::component::Resolved;
use crate::model::finding::{self, Finding};
use crate::model::mask::Masks;
use crate::model::names::ComponentName;
use crate::model::resolve::CloudFile;
use crate::plan::PlanError;
use crate::render::{self, RenderError};

/// Errors of rendering for the user.
pub(crate) fn not_rendered(
    errors: Vec<RenderError>,
    file: &CloudFile,
    components: &[Resolved],
) -> anyhow::Error {
    let findings = errors.into_iter().map(|error| match error.in_cloud.clone() {
        Some(path) => {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            let mistake = file.mistake(error.code.0, &path, error.to_string());
            Finding { hint: error.hint, ..mistake }
        }
        None => error.finding(components),
    });
    Problem::Findings(findings.collect()).into()
}

/// Refuses components that do not work with the release of Kubernetes that the hosts get.
///
/// # Errors
/// C1241 for each of them.
pub(crate) fn supported(loaded: &Loaded) -> anyhow::Result<()> {
    let unfit = unfit(loaded);
    if unfit.is_empty() { Ok(()) } else { Err(Problem::Findings(unfit).into()) }
}

/// Components that do not work with the release of Kubernetes that the hosts get. What a cluster that exists has is seen
/// by preflight.
pub(crate) fn unfit(loaded: &Loaded) -> Vec<Finding> {
    let kubernetes = &loaded.file.cloud.kubernetes;
    let version = &loaded.release.kubernetes;
    let (Provider::Kubeadm, Ok(parsed)) =
        (kubernetes.provider, semver::Version::parse(version.trim_start_matches('v')))
    else {
        return Vec::new();
    };
    let unfit = loaded.components.iter().filter_map(|resolved| {
        let component = &resolved.component;
        let text = component.requires.kubernetes.as_ref()?;
        let range = semver::VersionReq::parse(text).ok().filter(|range| !range.matches(&parsed))?;
        let name = &component.name;
        let message = format!("component `{name}` requires Kubernetes {range}, and this cloud gets {version}");
        let mistake = loaded.file.mistake(1241, &["kubernetes", "version"], message);
        Some(mistake.hinted(format!(
            "name a version that it works with as `kubernetes.version`, or leave it out: `components: {{ {name}: {{ enabled: false }} }}`"
        )))
    });
    unfit.collect()
}

/// Errors of the planner for the user.
pub(crate) fn no_plan(errors: Vec<PlanError>, components: &[Resolved]) -> anyhow::Error {
    no_plan_of(errors, components, &Masks::default())
}

/// Where what an error of the planner is about is written.
fn place(error: &PlanError, components: &[Resolved]) -> Option<finding::Place> {
    let of = |name: &ComponentName| components.iter().find(|resolved| resolved.component.name == *name);
    match error {
        PlanError::UnknownKind { component, object, .. }
        | PlanError::UnknownVersion { component, object, .. }
        | PlanError::Unprovided { component, object, .. }
        | PlanError::Unanswered { component, object, .. } => render::written(of(component)?, object),
        PlanError::NoPool { component, object } => render::written(of(component)?, object),
        PlanError::UnknownNeed { component, need } => render::in_contract(of(component)?, "needs:", need),
        PlanError::UnknownGate { component, of: what, .. } => {
            render::in_contract(of(component)?, "gates:", what)
        }
        PlanError::Conflict { .. }
        | PlanError::Fixed { .. }
        | PlanError::Foreign { .. }
        | PlanError::OtherCloud { .. }
        | PlanError::Quorum { .. }
        | PlanError::Stranded { .. }
        | PlanError::Release { .. }
        | PlanError::Other { .. }
        | PlanError::TwoClusters { .. }
        | PlanError::Orphan { .. }
        | PlanError::Expelled { .. }
        | PlanError::Nameless { .. }
        | PlanError::Cycle { .. } => None,
    }
}

/// Errors of the planner for the user, without what nobody is to see: the server's words may quote it.
pub(crate) fn no_plan_of(errors: Vec<PlanError>, components: &[Resolved], masks: &Masks) -> anyhow::Error {
    if !errors.iter().any(PlanError::is_of_cluster) {
        let found = errors.iter().map(|error| {
            let mistake = Finding::error(error.code().0, masks.mask(&error.to_string()));
            Finding { place: place(error, components), ..mistake.hinted(error.hint()) }
        });
        return Problem::Findings(found.collect()).into();
    }
    let of_cluster = errors.iter().all(PlanError::is_of_cluster);
    let said: Vec<Said> = errors
        .into_iter()
        .map(|error| Said {
            code: error.code(),
            message: masks.mask(&error.to_string()),
            hint: Some(error.hint().into_owned()),
        })
        .collect();
    if of_cluster {
        let summary = "what is in the cluster stands in the way: nothing was written".to_owned();
        return Problem::Several { said, summary, exit: Exit::Failed }.into();
    }
    Problem::Many(said).into()
}
