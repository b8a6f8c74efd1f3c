//! What `cozy bundle lint` says of a catalogue beyond its files' form.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::flow::{self, Loaded, samples};
use super::unplanned;
use crate::error::{Code, Problem, Said};
use crate::health::around::Listed;
use crate::health::cel::{Gate, Verdict};
use crate::model::catalogue::Catalogue;
use crate::model::component::{Component, GateSpec, Resolved};
use crate::model::finding::Finding;
use crate::model::names::BundleName;
use crate::model::object::{GroupKind, split_api_version};
use crate::model::resolve::CloudFile;
use crate::plan::PlanError;
use crate::plan::planner::{self, Allowed, Observed};
use crate::render::Missing;

/// What is wrong in a catalogue beyond its files' form: gates that judge
/// their own samples wrongly, bundles that name what is not there.
pub(super) fn lint(catalogue: &Catalogue) -> Vec<Said> {
    let said = |code: u16, message: String| Said { code: Code(code), message, hint: None };
    let mut found = Vec::new();
    for bundle in catalogue.bundles.keys() {
        match catalogue.flatten(bundle) {
            Err(problem) => found.push(said(problem.code(), format!("bundle `{bundle}`: {problem}"))),
            Ok(entries) => {
                let unknown = entries.keys().filter(|name| !catalogue.components.contains_key(*name));
                found
                    .extend(unknown.map(|name| {
                        said(1209, format!("bundle `{bundle}`: there is no component `{name}`"))
                    }));
            }
        }
    }
    for known in catalogue.components.values() {
        let samples = match samples(&known.component, &known.files) {
            Ok(samples) => samples,
            Err(error) => {
                found.push(error);
                continue;
            }
        };
        for (spec, ready, not_ready) in samples {
            let Ok(gate) = Gate::parse(&spec.cel) else { continue };
            for (objects, expected) in [(ready, true), (not_ready, false)] {
                let (related, objects): (Vec<Value>, Vec<Value>) = objects
                    .into_iter()
                    .partition(|object| kind_of(object).is_some_and(|kind| is_related(&gate, spec, &kind)));
                let mut around = Listed::default();
                for kind in gate.kinds() {
                    let own = related.iter().filter(|object| kind_of(object).as_ref() == Some(kind));
                    around.whole.insert(kind.clone(), Arc::new(own.cloned().map(Arc::new).collect()));
                }
                for object in objects {
                    let verdict = gate.evaluate(&object, &around);
                    let agrees = match &verdict {
                        Verdict::True => expected,
                        Verdict::False | Verdict::Missing(_) => !expected,
                        Verdict::Error(_) => false,
                    };
                    if !agrees {
                        let sample = if expected { "ready" } else { "notReady" };
                        found.push(said(
                            3003,
                            format!(
                                "component `{}`: the gate of {} says {verdict:?} of a sample in `{sample}`",
                                known.component.name, spec.of
                            ),
                        ));
                    }
                }
            }
        }
    }
    found
}

/// The kind that a sample says it is.
fn kind_of(object: &Value) -> Option<GroupKind> {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    Some(GroupKind::new(split_api_version(text("apiVersion")?).0, text("kind")?))
}

/// Whether samples of a kind are not judged themselves, but are what `objects()` gives.
fn is_related(gate: &Gate, spec: &GateSpec, kind: &GroupKind) -> bool {
    let of = spec.of.split('/').next().unwrap_or_default();
    let judged = of.split_once('.').map_or(of == kind.kind, |_| of == kind.to_string());
    !judged && gate.kinds().contains(kind)
}

/// What the objects and graphs of a catalogue's bundles show.
#[derive(Default)]
pub(super) struct Planned {
    /// Why they cannot be rendered, or planned.
    pub(super) mistakes: Vec<Finding>,
    /// Written needs that are implied already, edges that were left out, bundles that could not be looked at.
    pub(super) notes: Vec<String>,
}

/// Renders and plans each bundle, as a cloud of one server.
pub(super) fn planned(mut catalogue: Catalogue) -> anyhow::Result<Planned> {
    let bundles: Vec<BundleName> = catalogue.bundles.keys().cloned().collect();
    let (mut planned, mut known) = (Planned::default(), BTreeSet::new());
    for Component { name, expect, deadline, .. } in
        catalogue.components.values().map(|known| &known.component)
    {
        if expect > deadline {
            planned.notes.push(format!(
                "component `{name}`: it is expected to take {expect}, and may take {deadline}"
            ));
        }
    }
    for bundle in &bundles {
        let (file, components) = match example(&catalogue, bundle) {
            Ok(example) => example,
            Err(why) => {
                planned
                    .notes
                    .push(format!("bundle `{bundle}` is not planned: a cloud has to say more: {why}"));
                continue;
            }
        };
        let loaded = Loaded::new(file, catalogue, components)?;
        match graph(&loaded, bundle) {
            Ok(notes) => planned.notes.extend(notes),
            Err(error) => match error.downcast::<Problem>()? {
                // What is wrong with a component is said once, not for each bundle that has it.
                Problem::Many(said) => planned.mistakes.extend(
                    said.into_iter()
                        .filter(|said| known.insert(said.message.clone()))
                        .map(|said| said.of_bundle(bundle)),
                ),
                Problem::Findings(found) => {
                    let new = found.into_iter().filter(|found| known.insert(found.message.clone()));
                    planned.mistakes.extend(new.map(|found| match found.place {
                        Some(_) => found,
                        None => Finding { message: format!("bundle `{bundle}`: {}", found.message), ..found },
                    }));
                }
                other => return Err(other.into()),
            },
        }
        catalogue = loaded.catalogue;
    }
    Ok(planned)
}

impl Said {
    /// The same as a finding of a bundle.
    fn of_bundle(self, bundle: &BundleName) -> Finding {
        let finding = Finding::error(self.code.0, format!("bundle `{bundle}`: {}", self.message));
        Finding { hint: self.hint, ..finding }
    }
}

/// A cloud of one server with a bundle's components; or what else it would have to say.
fn example(catalogue: &Catalogue, bundle: &BundleName) -> Result<(CloudFile, Vec<Resolved>), String> {
    let text = format!(
        "apiVersion: cozy/v1\nkind: Cloud\nname: lint\nbundle: {bundle}\ndomain: example.org\n\
         hosts: [{{ address: 192.0.2.11, devices: [/dev/disk/by-id/lint] }}]\n\
         network: {{ loadBalancer: [192.0.2.100-192.0.2.110] }}\n"
    );
    let first = |findings: Vec<Finding>| {
        findings.into_iter().next().map(|finding| finding.message).unwrap_or_default()
    };
    let file = CloudFile::read(text.as_bytes(), "lint").map_err(first)?;
    let components = catalogue.resolve(&file).map_err(first)?;
    Ok((file, components))
}

fn graph(loaded: &Loaded, bundle: &BundleName) -> anyhow::Result<Vec<String>> {
    let rendered = flow::rendered(loaded, Missing::StandIn)?;
    let desired = flow::desired(loaded, rendered, Allowed::default());
    let plan = match planner::plan(&desired, &Observed::nothing(false)) {
        Ok(plan) => plan,
        Err(errors) if errors.iter().all(PlanError::may_be_there) => {
            let needs = errors
                .iter()
                .map(|error| format!("bundle `{bundle}` is for clusters that have more: {error}"));
            return Ok(needs.collect());
        }
        Err(errors) => {
            let errors = errors.into_iter().filter(|error| !error.may_be_there()).collect();
            return Err(unplanned::no_plan(errors, &loaded.components));
        }
    };
    let name = |index: usize| plan.steps.get(index).map(|step| step.id.to_string()).unwrap_or_default();
    let implied = plan.implied_needs().into_iter().map(|(component, need)| {
        format!(
            "bundle `{bundle}`: component `{component}` need not say `needs: {need}`: its objects imply it"
        )
    });
    let dropped = plan.dropped.iter().map(|edge| {
        let (from, to) = (name(edge.from), name(edge.to));
        format!(
            "bundle `{bundle}`: {to} does not wait for {from}, which would close a cycle: {}",
            edge.reason
        )
    });
    let idle = planner::idle_gates(&desired).into_iter().map(|(component, of)| {
        format!("bundle `{bundle}`: component `{component}`: its gate of {of} judges nothing: there is no such object")
    });
    Ok(implied.chain(dropped).chain(idle).collect())
}
