//! A run or a plan as a picture, SVG or HTML, and the same as JSON: a row a component and host, time to the right,
//! what each waited for and why, and what made the whole longer.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, context};
use serde::Serialize;

use crate::model::duration::human;
use crate::plan::savings::{self, Cost, Culprit, Saving, Times};
use crate::plan::{Edge, Milestone, Plan, StepId};

use super::diagnosis::Facts;
use super::gantt;
use super::plan::step_name;
use super::text::{self, clean};

/// What can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One drawing.
    Svg,
    /// A page that fits any width, with all reasons.
    Html,
    /// The same data for programs.
    Json,
}

impl Form {
    /// What a file's name asks for.
    pub(crate) fn of(file: &str) -> Option<Self> {
        match Path::new(file).extension()?.to_str()? {
            "svg" => Some(Self::Svg),
            "html" => Some(Self::Html),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// What the picture shows.
#[derive(Debug, Serialize)]
pub(crate) struct Picture {
    schema: &'static str,
    title: String,
    subtitle: String,
    #[serde(rename = "totalMs")]
    total: u64,
    rows: Vec<Row>,
    ticks: Vec<Tick>,
    /// What would make it shorter.
    savings: Vec<Said>,
}

/// A component, or a host.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    critical: bool,
    failed: bool,
    took: String,
    bars: Vec<Bar>,
    reasons: Vec<Reason>,
}

/// A stretch of time, in hundredths of a percent of the whole.
#[derive(Debug, Serialize)]
struct Bar {
    kind: &'static str,
    left: u64,
    width: u64,
    label: String,
}

#[derive(Debug, Serialize)]
struct Reason {
    text: String,
    critical: bool,
}

#[derive(Debug, Serialize)]
struct Tick {
    left: u64,
    label: String,
}

#[derive(Debug, Serialize)]
struct Said {
    what: String,
    why: String,
    saves: String,
    #[serde(rename = "savesMs")]
    saves_ms: u64,
}

/// The whole width.
const WHOLE: u64 = 10_000;

/// When the steps of a plan were worked on, `None` where one never began or did not end.
pub(crate) struct Course {
    /// Begun, applied, ready, as far as it came.
    pub(crate) spans: Vec<Option<gantt::Span>>,
    /// What each cost.
    pub(crate) costs: Vec<Cost>,
    /// The steps that failed.
    pub(crate) failed: BTreeSet<usize>,
    /// How long all of it took.
    pub(crate) total: Duration,
    /// How it ended: `done in 2m21s`, or `expected`.
    pub(crate) end: String,
}

impl Course {
    /// Whether it came to its end.
    fn whole(&self) -> bool {
        self.spans.iter().all(|span| span.is_some_and(|span| span.ready.is_some())) && self.failed.is_empty()
    }

    /// The course that a plan is expected to take.
    pub(crate) fn expected(plan: &Plan) -> Self {
        let costs = savings::expected(plan);
        let span = |times: Times| gantt::Span {
            started: times.started,
            applied: Some(times.applied),
            free: None,
            ready: Some(times.ready),
        };
        Self {
            spans: savings::times(plan, &costs).into_iter().map(|times| Some(span(times))).collect(),
            costs,
            failed: BTreeSet::new(),
            total: plan.expected,
            end: format!("expected to take {}", human(plan.expected)),
        }
    }
}

impl Picture {
    /// Draws a plan with the course that it took or is expected to take.
    pub(crate) fn new(plan: &Plan, facts: &Facts<'_>, course: &Course) -> Self {
        let total = millis(course.total).max(1);
        let path = savings::critical_path(plan, &course.costs);
        let mut members: Vec<(String, Vec<usize>)> = Vec::new();
        for (index, step) in plan.steps.iter().enumerate() {
            let name = row_name(&step.id);
            if let Some((_, steps)) = members.iter_mut().find(|(known, _)| *known == name) {
                steps.push(index);
            } else {
                members.push((name, vec![index]));
            }
        }
        let drawn = Drawn { plan, course, path: &path, total };
        let rows = members.into_iter().map(|(name, steps)| row(&drawn, name, &steps));
        let mut subtitle =
            vec![format!("bundle {}", facts.bundle), facts.provider.to_owned(), course.end.clone()];
        if facts.rehearsal {
            subtitle.push("rehearsal".to_owned());
        }
        Self {
            schema: "cozy/v1/timeline",
            title: format!("cloud {}", clean(facts.cloud)),
            subtitle: clean(&subtitle.join(" · ")),
            total,
            rows: rows.collect(),
            ticks: ticks(total),
            // What broke off says nothing of how long the whole takes.
            savings: if course.whole() { shortest(plan, &course.costs) } else { Vec::new() },
        }
    }

    /// Writes it out.
    pub(crate) fn render(&self, form: Form) -> Result<String, minijinja::Error> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment
            .add_filter("percent", |hundredths: u64| format!("{}.{:02}", hundredths / 100, hundredths % 100));
        environment.add_filter("short", |name: String| text::cut(&name, 24));
        let source = match form {
            Form::Svg => include_str!("picture.svg.j2"),
            Form::Html => include_str!("picture.html.j2"),
            Form::Json => return Ok(format!("{}\n", serde_json::to_string_pretty(self).unwrap_or_default())),
        };
        environment.render_str(source, context! { picture => minijinja::Value::from(Serde(self)) })
    }
}

fn shortest(plan: &Plan, costs: &[Cost]) -> Vec<Said> {
    savings::savings(plan, costs).iter().map(|saving| said(plan, saving)).collect()
}

/// What would make a run shorter, a line each.
pub(crate) fn shorter(plan: &Plan, costs: &[Cost]) -> Vec<String> {
    shortest(plan, costs).into_iter().map(|said| format!("{} {}", said.saves, said.what)).collect()
}

fn said(plan: &Plan, saving: &Saving) -> Said {
    let (what, why) = match saving.what {
        Culprit::Step(step) => (format!("if {} took no time", step_name(plan, step)), String::new()),
        Culprit::Edge(edge) => match plan.edges.get(edge) {
            Some(edge) => (
                format!("if {} did not wait for {}", step_name(plan, edge.to), step_name(plan, edge.from)),
                clean(&edge.reason.to_string()),
            ),
            None => (String::new(), String::new()),
        },
    };
    Said { what, why, saves: human(saving.saves), saves_ms: millis(saving.saves) }
}

/// Hosts are worked on side by side, so each has a row.
fn row_name(id: &StepId) -> String {
    match id {
        StepId::Host { host, .. } => format!("kubernetes on {}", clean(host)),
        StepId::Stage(component, _) => component.to_string(),
    }
}

/// What rows are drawn from.
struct Drawn<'a> {
    plan: &'a Plan,
    course: &'a Course,
    /// The critical path, as it was.
    path: &'a [usize],
    total: u64,
}

fn row(drawn: &Drawn<'_>, name: String, steps: &[usize]) -> Row {
    let Drawn { plan, course, path, total } = *drawn;
    let place = |at: Duration| millis(at).min(total) * WHOLE / total;
    let mut bars = Vec::new();
    let mut bar = |kind: &'static str, from: Duration, to: Duration, label: String| {
        let (left, right) = (place(from), place(to));
        // What took no time is still to be seen.
        bars.push(Bar { kind, left, width: (right.saturating_sub(left)).max(15), label });
    };
    let spans = || steps.iter().filter_map(|step| Some((*step, course.spans.get(*step).copied().flatten()?)));
    let failed = steps.iter().any(|step| course.failed.contains(step));
    for (step, span) in spans() {
        let name = step_name(plan, step);
        let applied = span.applied.unwrap_or(course.total);
        bar(
            "apply",
            span.started,
            applied,
            format!("{name}: applied in {}", human(applied.saturating_sub(span.started))),
        );
        if span.applied.is_some() {
            let ready = span.ready.unwrap_or(course.total);
            let gating = course.costs.get(step).map_or(Duration::ZERO, |cost| cost.gating);
            let waits = ready.saturating_sub(gating).max(applied);
            let broke = course.failed.contains(&step);
            if !broke && waits > applied {
                bar(
                    "wait",
                    applied,
                    waits,
                    format!("{name}: waits {}", human(waits.saturating_sub(applied))),
                );
            }
            let from = if broke { applied } else { waits };
            let (kind, what) = if broke { ("failed", "failed after") } else { ("gate", "ready after") };
            bar(kind, from, ready, format!("{name}: {what} {}", human(ready.saturating_sub(from))));
        }
    }
    let start = spans().map(|(_, span)| span.started).min();
    let end = spans().filter_map(|(_, span)| span.ready).max();
    let took = match (start, end) {
        _ if failed => "failed".to_owned(),
        (Some(start), Some(end)) => human(end.saturating_sub(start)),
        (Some(_) | None, None) | (None, Some(_)) => "not done".to_owned(),
    };
    Row {
        critical: steps.iter().any(|step| path.contains(step)),
        failed,
        took,
        bars,
        reasons: reasons(plan, path, &name, steps),
        name,
    }
}

/// What a row waited for of others, each reason once, the critical ones first.
fn reasons(plan: &Plan, path: &[usize], name: &str, steps: &[usize]) -> Vec<Reason> {
    let other = |edge: &&Edge| plan.steps.get(edge.from).is_some_and(|step| row_name(&step.id) != name);
    let mut found: Vec<Reason> = Vec::new();
    for edge in plan.edges.iter().filter(|edge| steps.contains(&edge.to)).filter(other) {
        let milestone = match edge.milestone {
            Milestone::Applied => "is applied",
            Milestone::Ready => "is ready",
        };
        let text =
            format!("after {} {milestone}: {}", step_name(plan, edge.from), clean(&edge.reason.to_string()));
        let critical = path.windows(2).any(|pair| *pair == [edge.from, edge.to]);
        match found.iter_mut().find(|known| known.text == text) {
            Some(known) => known.critical |= critical,
            None => found.push(Reason { text, critical }),
        }
    }
    found.sort_by_key(|reason| !reason.critical);
    found
}

/// Round times along the axis, with room for their labels.
fn ticks(total: u64) -> Vec<Tick> {
    let step = gantt::tick(80, total.saturating_mul(1_000)) / 1_000;
    let last = total / step;
    let ticks = (0..=last).map(|index| index * step).filter(|at| *at == 0 || at * 100 / total <= 94);
    ticks.map(|at| Tick { left: at * WHOLE / total, label: human(Duration::from_millis(at)) }).collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / WHOLE)
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn facts() -> Facts<'static> {
        Facts {
            cloud: "<demo>",
            bundle: "edge 1.0.0",
            hosts: 3,
            provider: "kubeadm v1.36.3",
            rehearsal: true,
        }
    }

    fn picture() -> Picture {
        let plan = samples::plan();
        Picture::new(&plan, &facts(), &Course::expected(&plan))
    }

    #[test]
    fn a_plan_as_data() {
        let picture = serde_json::to_value(picture()).unwrap();
        assert_eq!(picture["schema"], "cozy/v1/timeline");
        let rows: Vec<_> = picture["rows"].as_array().unwrap().iter().map(|row| &row["name"]).collect();
        assert_eq!(rows, ["kubernetes on node-1", "cert-manager", "issuers", "multus"]);
        let reasons = picture["rows"][2]["reasons"].as_array().unwrap();
        assert!(reasons.iter().any(|reason| reason["critical"] == true), "{reasons:?}");
        assert!(!picture["savings"].as_array().unwrap().is_empty());
    }

    #[test]
    fn drawings_hold_every_row_and_escape_what_is_not_theirs() {
        for form in [Form::Svg, Form::Html] {
            let text = picture().render(form).unwrap();
            assert!(text.contains("cert-manager") && text.contains("kubernetes on node-1"), "{text}");
            assert!(text.contains("&lt;demo&gt;") && !text.contains("<demo>"), "{text}");
        }
        assert!(Form::of("a.png").is_none() && Form::of("svg").is_none());
    }
}
