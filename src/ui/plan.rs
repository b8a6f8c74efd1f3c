//! A plan for people: a row a component, and what changes in each object.

use std::collections::BTreeSet;

use crate::model::duration::human;
use crate::model::names::ComponentName;
use crate::plan::planner::Phase;
use crate::plan::savings::{self, Cost};
use crate::plan::{Change, Counts, Edge, Plan, Stage, Step, StepId, Verb};

use super::diagnosis::Facts;
use super::text::{self, clean};

/// The plan as a header and a row for each component.
pub(crate) fn plan_text(plan: &Plan, facts: &Facts<'_>, width: usize) -> String {
    let mut out = facts.line(width) + "\n";
    out.push_str(&text::wrap(&headline(plan), width, 8));
    out.push('\n');
    let critical: BTreeSet<&str> = critical_components(plan).into_iter().collect();
    let costs = savings::expected(plan);
    for name in plan.components() {
        out.push_str(&row(plan, &costs, name, critical.contains(name), width, facts.hosts));
    }
    for line in plan.steps.iter().filter_map(on_host) {
        out.push_str(&text::wrap(&line, width, 6));
        out.push('\n');
    }
    if !plan.stood_in.is_empty() {
        let names: Vec<&str> = plan.stood_in.iter().map(ComponentName::as_str).collect();
        out.push_str(&text::wrap(&format!("stands in by contract: {}", names.join(", ")), width, 8));
        out.push('\n');
    }
    out.push_str(&kept(plan, width));
    if !plan.dropped.is_empty() {
        out.push_str("not waited for, as it would close a cycle:\n");
        for edge in &plan.dropped {
            let line = format!(
                "  {} after {}: {}",
                step_name(plan, edge.to),
                step_name(plan, edge.from),
                clean(&edge.reason.to_string())
            );
            out.push_str(&text::wrap(&line, width, 4));
            out.push('\n');
        }
    }
    out
}

/// What nobody wants any more, and is kept all the same.
fn kept(plan: &Plan, width: usize) -> String {
    if plan.guarded.is_empty() {
        return String::new();
    }
    let mut out = "not wanted any more, and kept:\n".to_owned();
    for guarded in &plan.guarded {
        let object = clean(&guarded.object.to_string());
        let line = format!("  {object} of {} {}", guarded.component, guarded.why);
        out.push_str(&text::wrap(&line, width, 4));
        out.push('\n');
    }
    out
}

fn headline(plan: &Plan) -> String {
    let components = text::count(plan.components().len(), "component");
    match text::to_write(plan.counts()) {
        None if plan.is_empty() => format!("plan    {components}, nothing to do: all is as wanted"),
        objects => {
            let objects = objects.unwrap_or_else(|| "nothing to write".to_owned());
            let path = critical_components(plan).join(" → ");
            format!("plan    {components}, {objects}; critical path {}: {path}", human(plan.expected))
        }
    }
}

/// Components on the critical path, each once where its steps follow each other.
fn critical_components(plan: &Plan) -> Vec<&str> {
    let mut names: Vec<&str> = plan
        .critical_path
        .iter()
        .filter_map(|&index| plan.steps.get(index))
        .map(|step| step.id.component())
        .collect();
    names.dedup();
    names
}

fn row(plan: &Plan, costs: &[Cost], name: &str, critical: bool, width: usize, hosts: usize) -> String {
    let steps: Vec<&Step> = plan.steps.iter().filter(|step| step.id.component() == name).collect();
    let mark = if critical { '◆' } else { '·' };
    let done = steps.iter().all(|step| step.done);
    let took = if done { String::new() } else { human(savings::alone(plan, costs, name)) };
    let what = match steps.first() {
        _ if done => "as wanted".to_owned(),
        Some(Step { id: StepId::Host { .. }, .. }) if hosts > 0 => text::count(hosts, "host"),
        _ => signs(Counts::of(steps.iter().copied())),
    };
    let after = text::after(&befores(plan, name));
    let line = format!("  {mark} {}  {} {took:>6}{after}", text::fit(&clean(name), 22), text::fit(&what, 13));
    // What follows stands below the first name, where there is room for that.
    let indent = if width < 80 { 8 } else { 57 };
    text::wrap(line.trim_end(), width, indent) + "\n"
}

/// What is done on a host that takes something away or stops it; what is only added needs no words.
fn on_host(step: &Step) -> Option<String> {
    let StepId::Host { host, phase } = &step.id else { return None };
    let all = match phase {
        Phase::Remove | Phase::Clean => true,
        Phase::Prepare | Phase::Init | Phase::Join | Phase::Configure | Phase::Certify | Phase::Ready => {
            false
        }
    };
    let words = ["restart ", "clear ", "remove "];
    let work: Vec<&str> = step
        .work
        .iter()
        .map(String::as_str)
        .filter(|work| all || words.iter().any(|word| work.starts_with(word)))
        .collect();
    (!work.is_empty()).then(|| format!("    {}: {}", clean(host), clean(&work.join(", "))))
}

/// `+38 ~2 -1`, as `plan --diff` marks objects; without zeros.
fn signs(counts: Counts) -> String {
    let Counts { create, update, replace, adopt, keep, delete } = counts;
    let parts: Vec<String> = [(create, '+'), (update, '~'), (replace, '±'), (adopt, '>'), (delete, '-')]
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, sign)| format!("{sign}{number}"))
        .collect();
    if parts.is_empty() { text::count(keep, "object") } else { parts.join(" ") }
}

/// What a component waits for: components, or single stages of them.
fn befores(plan: &Plan, name: &str) -> Vec<String> {
    let mut befores: BTreeSet<usize> = BTreeSet::new();
    for edge in &plan.edges {
        let (Some(from), Some(to)) = (plan.steps.get(edge.from), plan.steps.get(edge.to)) else { continue };
        if to.id.component() == name && from.id.component() != name {
            befores.insert(edge.from);
        }
    }
    let whole: BTreeSet<&str> = befores
        .iter()
        .filter(|&&index| is_last(plan, index))
        .filter_map(|&index| plan.steps.get(index))
        .map(|step| step.id.component())
        .collect();
    let mut names: Vec<String> = befores
        .iter()
        .filter_map(|&index| plan.steps.get(index))
        .map(|step| match step.id.component() {
            component if whole.contains(component) => component.to_owned(),
            _ => step.id.to_string(),
        })
        .collect();
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// Whether no stage of the component comes later, but for pruning.
fn is_last(plan: &Plan, index: usize) -> bool {
    let Some(step) = plan.steps.get(index) else { return false };
    let prunes = |id: &StepId| matches!(id, StepId::Stage(_, Stage::Prune));
    !plan
        .steps
        .iter()
        .skip(index + 1)
        .any(|later| later.id.component() == step.id.component() && !prunes(&later.id))
}

/// A step by its index, as people read it.
pub(crate) fn step_name(plan: &Plan, index: usize) -> String {
    plan.steps.get(index).map_or_else(|| format!("step {index}"), |step| clean(&step.id.to_string()))
}

/// Whether an edge joins two neighbours of the critical path.
pub(crate) fn is_critical(plan: &Plan, edge: &Edge) -> bool {
    plan.critical_path.windows(2).any(|pair| *pair == [edge.from, edge.to])
}

/// Each object that is created, changed or deleted, with its fields.
pub(crate) fn plan_diff(plan: &Plan) -> String {
    let mut out = String::new();
    for step in &plan.steps {
        if step.work.is_empty() && step.actions.iter().all(|action| action.verb == Verb::Keep) {
            continue;
        }
        text::push_line(&mut out, &clean(&step.id.to_string()));
        for work in &step.work {
            text::push_line(&mut out, &format!("  ! {}", clean(work)));
        }
        for action in &step.actions {
            let sign = match action.verb {
                Verb::Create => '+',
                Verb::Update => '~',
                Verb::Replace => '±',
                Verb::Adopt => '>',
                Verb::Delete => '-',
                Verb::Forget => '·',
                Verb::Keep => continue,
            };
            let word = match action.verb {
                Verb::Replace => " (replace)",
                Verb::Adopt => " (adopt)",
                Verb::Forget => " (forget)",
                Verb::Create | Verb::Update | Verb::Keep | Verb::Delete => "",
            };
            text::push_line(&mut out, &format!("  {sign} {}{word}", clean(&action.id.to_string())));
            if let Some(note) = &action.note {
                text::push_line(&mut out, &format!("      {}", clean(note)));
            }
            for taken in &action.takes {
                let (field, manager) = (clean(&taken.field), clean(&taken.manager));
                text::push_line(&mut out, &format!("      {field}: taken over from `{manager}`"));
            }
            for change in &action.changes {
                out.push_str(&change_line(change));
            }
        }
    }
    if out.is_empty() { "no object changes\n".to_owned() } else { out }
}

fn change_line(change: &Change) -> String {
    // Whole files live in ConfigMaps; `-o json` has them in full length.
    const LONGEST: usize = 100;
    let value = |value: &Option<String>, none: &str| {
        value.as_ref().map_or_else(|| none.to_owned(), |value| text::cut(&clean(value), LONGEST))
    };
    let Change { field, from, to } = change;
    format!("      {}: {} → {}\n", clean(field), value(from, "(not set)"), value(to, "(removed)"))
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use insta::assert_snapshot;

    const FACTS: Facts<'_> =
        Facts { cloud: "demo", bundle: "edge 1.0.0", hosts: 3, provider: "kubeadm v1.36.1", rehearsal: true };

    #[test]
    fn a_plan_has_a_row_for_each_component() {
        let text = plan_text(&samples::plan(), &FACTS, 80);
        assert!(text.lines().all(|line| text::width(line) <= 80), "{text}");
        assert_snapshot!(text, @r"
        cloud demo · bundle edge 1.0.0 · 3 hosts · kubeadm v1.36.1 · rehearsal: nothing
          real is touched
        plan    4 components, 3 objects to create, 1 to change, 1 to delete; critical
                path 1m51s: kubernetes → cert-manager → issuers
          ◆ kubernetes              3 hosts           1m
          ◆ cert-manager            +2 ~1            31s   after kubernetes
          ◆ issuers                 +1 -1            21s   after cert-manager
          · multus                  as wanted              after kubernetes
        stands in by contract: multus
        not waited for, as it would close a cycle:
          cert-manager/objects after issuers/resources: Deployment
            cert-manager/cert-manager uses CustomResourceDefinition
            issuers.cert-manager.io
        ");
    }

    #[test]
    fn a_plan_that_does_nothing_says_so() {
        let mut plan = samples::plan();
        plan.steps.retain(|step| step.done);
        plan.edges.clear();
        plan.dropped.clear();
        plan.critical_path.clear();
        assert_snapshot!(plan_text(&plan, &FACTS, 80) + &plan_diff(&plan), @r"
        cloud demo · bundle edge 1.0.0 · 3 hosts · kubeadm v1.36.1 · rehearsal: nothing
          real is touched
        plan    1 component, nothing to do: all is as wanted
          · multus                  as wanted
        stands in by contract: multus
        no object changes
        ");
    }

    #[test]
    fn a_diff_names_objects_and_fields() {
        assert_snapshot!(plan_diff(&samples::plan()), @r#"
        cert-manager/crds
          + CustomResourceDefinition issuers.cert-manager.io
        cert-manager/objects
          + Deployment cert-manager/cert-manager
          ~ ConfigMap cert-manager/ca
              .data.bundle: "old" → "new \"quoted\""
              .data.added: (not set) → 1
              .data.gone: true → (removed)
        issuers/resources
          + ClusterIssuer cozy
        issuers/prune
          - Issuer old/cozy
        "#);
    }

    #[test]
    fn hostile_names_and_values_are_shown_and_do_nothing() {
        let hostile = "a\u{1b}[2J\nb\u{202e}\u{9b}1A";
        let mut plan = samples::plan();
        plan.steps[2].actions[1].id.name = hostile.to_owned();
        plan.steps[2].actions[1].changes[0].from = Some(hostile.to_owned());
        plan.dropped[0].reason = crate::plan::Reason::Needs(hostile.to_owned());
        let facts = Facts { cloud: hostile, bundle: hostile, provider: hostile, ..FACTS };
        let graphs = [super::super::graph::graph_text(&plan), super::super::graph::graph_dot(&plan)];
        for text in [plan_text(&plan, &facts, 80), plan_diff(&plan)].iter().chain(&graphs) {
            assert!(!text.chars().any(|c| c != '\n' && text::is_hostile(c)), "{text}");
            assert!(!text.lines().any(|line| line.starts_with('b')), "{text}");
        }
    }
}
