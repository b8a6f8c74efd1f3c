//! What a run was like, told at its end: a chart, what was written, what took
//! longest, the failures once more, and what to type next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use crate::execute::event::{Event, EventKind, Failure, Outcome, Reporter};
use crate::model::duration::human;
use crate::plan::savings::{self, Times};
use crate::plan::{Counts, Plan, StepId};

use super::diagnosis::{Block, outcome};
use super::gantt::{Row, Span, gantt};
use super::out::lock;
use super::picture::Course;
use super::text::{self, Paint, clean};

/// Collects events; renders when the run is over.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    components: Vec<String>,
    steps: BTreeMap<StepId, Track>,
    took: BTreeMap<String, Duration>,
    gates: BTreeMap<(StepId, String), Duration>,
    failures: Vec<(String, Failure, Vec<String>)>,
    failed: BTreeSet<StepId>,
    last: Duration,
    end: Option<End>,
}

#[derive(Debug)]
struct Track {
    span: Span,
    waits: Option<(String, Duration)>,
}

#[derive(Debug)]
struct End {
    outcome: Outcome,
    counts: Counts,
    unfinished: Vec<String>,
    took: Duration,
    critical: Vec<String>,
}

/// A timeline can stand in a `Tee` and be read afterwards.
impl Reporter for Mutex<Timeline> {
    fn report(&self, event: &Event) {
        lock(self).feed(event);
    }
}

impl Timeline {
    /// Takes an event.
    pub(crate) fn feed(&mut self, event: &Event) {
        self.last = self.last.max(event.at);
        match &event.kind {
            EventKind::RunStarted { components, .. } => self.components.clone_from(components),
            EventKind::StepStarted { step, .. } => drop(self.track(step, event.at)),
            EventKind::StepApplied { step } => self.track(step, event.at).span.applied = Some(event.at),
            EventKind::Waiting { step, object, .. } => self.wait(step, Some(object), event.at),
            EventKind::StepReady { step, .. } => {
                self.wait(step, None, event.at);
                self.track(step, event.at).span.ready = Some(event.at);
            }
            EventKind::ComponentReady { component, took, .. } => {
                self.took.insert(component.clone(), *took);
            }
            EventKind::ComponentFailed { component, step, failure, blocks } => {
                self.wait(step, None, event.at);
                self.track(step, event.at).span.ready = Some(event.at);
                self.failed.insert(step.clone());
                self.failures.push((component.clone(), failure.clone(), blocks.clone()));
            }
            EventKind::RunFinished { outcome, counts, failed: _, unfinished, took, critical_path } => {
                self.end = Some(End {
                    outcome: *outcome,
                    counts: *counts,
                    unfinished: unfinished.clone(),
                    took: *took,
                    critical: critical_path.clone(),
                });
            }
            EventKind::Object { .. }
            | EventKind::Retry { .. }
            | EventKind::Fetching { .. }
            | EventKind::FetchProgress { .. }
            | EventKind::Fetched { .. }
            | EventKind::Interrupted { .. }
            | EventKind::Warning { .. } => {}
        }
    }

    fn track(&mut self, step: &StepId, at: Duration) -> &mut Track {
        let fresh = Track { span: Span { started: at, applied: None, free: None, ready: None }, waits: None };
        self.steps.entry(step.clone()).or_insert(fresh)
    }

    /// Books the time since the last wait on the object that was waited for.
    fn wait(&mut self, step: &StepId, object: Option<&str>, at: Duration) {
        let track = self.track(step, at);
        let before = track.waits.take();
        track.waits = object.map(|object| (object.to_owned(), at));
        if let Some((waited, since)) = before {
            *self.gates.entry((step.clone(), waited)).or_default() += at.saturating_sub(since);
        }
    }

    /// The course of a run, for its picture and what would make it shorter.
    pub(crate) fn course(&self, plan: &Plan) -> Course {
        let spans: Vec<Option<Span>> =
            plan.steps.iter().map(|step| self.steps.get(&step.id).map(|track| track.span)).collect();
        let failed: BTreeSet<usize> = (0..plan.steps.len())
            .filter(|index| plan.steps.get(*index).is_some_and(|step| self.failed.contains(&step.id)))
            .collect();
        let times: Vec<Option<Times>> = spans
            .iter()
            .map(|span| {
                let span = (*span)?;
                Some(Times { started: span.started, applied: span.applied?, ready: span.ready? })
            })
            .collect();
        let end = self.end.as_ref().map_or_else(String::new, |end| outcome(end.outcome, end.took));
        Course { spans, costs: savings::measured(plan, &times), failed, total: self.last, end }
    }

    /// The chart; `plan` says what steps waited for of others.
    pub(crate) fn render(&self, plan: &Plan, width: usize) -> String {
        let course = self.course(plan);
        let free = |step: &StepId| {
            let at = plan.steps.iter().position(|planned| planned.id == *step)?;
            let ready = course.spans.get(at).copied().flatten()?.ready?;
            Some(ready.saturating_sub(course.costs.get(at)?.gating))
        };
        let critical = self.end.as_ref().map_or(&[][..], |end| &end.critical);
        let rows: Vec<Row<'_>> = self
            .components
            .iter()
            .map(|name| Row {
                name,
                critical: critical.contains(name),
                failed: self.failures.iter().any(|(failed, ..)| failed == name),
                spans: self
                    .steps
                    .iter()
                    .filter(|(step, _)| step.component() == name)
                    .map(|(step, track)| Span { free: free(step), ..track.span })
                    .collect(),
            })
            .collect();
        let legend = "timeline   ░ waits  ▒ is applied  █ becomes ready  ◆ on the critical path";
        format!("{}\n{}", text::cut(legend, width), gantt(&rows, self.last, width))
    }

    /// How long each component was worked on itself, without its waits for others.
    fn own(&self, plan: &Plan) -> BTreeMap<String, Duration> {
        let costs = self.course(plan).costs;
        self.took.keys().map(|name| (name.clone(), savings::alone(plan, &costs, name))).collect()
    }

    /// What was done, what took longest, what would make it shorter, and the command to type next.
    pub(crate) fn summary(&self, plan: &Plan, shorter: &[String], next: &str, width: usize) -> String {
        let mut lines = Vec::new();
        if let Some(end) = &self.end {
            lines.push(outcome(end.outcome, end.took));
            lines.push(format!("  objects         {}", text::written(end.counts)));
            push_names(&mut lines, "critical path", &end.critical, " → ");
        }
        let mut failed: Vec<String> = self.failures.iter().map(|(name, ..)| name.clone()).collect();
        failed.dedup();
        push_names(&mut lines, "failed", &failed, ", ");
        let unfinished = self.end.as_ref().map_or(&[][..], |end| &end.unfinished);
        let others: Vec<String> = unfinished.iter().filter(|name| !failed.contains(name)).cloned().collect();
        push_names(&mut lines, "not done", &others, ", ");
        let components = slowest(self.own(plan).into_iter());
        push_names(&mut lines, "slowest", &components, ", ");
        // What a host works on has no name but its step's.
        let named = |step: &str, object: &str| {
            if step == object { step.to_owned() } else { format!("{} of {step}", clean(object)) }
        };
        let gates = slowest(
            self.gates.iter().map(|((step, object), took)| (named(&step.to_string(), object), *took)),
        );
        push_names(&mut lines, "slowest gates", &gates, ", ");
        push_names(&mut lines, "shorter by", shorter, ", ");
        if !next.is_empty() {
            lines.push(format!("  next            {next}"));
        }
        lines.iter().map(|line| text::wrap(line, width, 18) + "\n").collect()
    }

    /// The diagnosis of each failure: the last thing on the screen.
    pub(crate) fn failures(&self, paint: Paint, width: usize) -> String {
        let total = Some(self.components.len());
        let blocks = self.failures.iter().map(|(component, failure, blocks)| {
            Block { component, failure, blocks, total }.render(paint, width)
        });
        blocks.collect::<Vec<_>>().join("\n")
    }
}

fn push_names(lines: &mut Vec<String>, label: &str, names: &[String], between: &str) {
    if !names.is_empty() {
        let names: Vec<String> = names.iter().map(|name| clean(name)).collect();
        lines.push(format!("  {label:<15} {}", names.join(between)));
    }
}

/// The three that took longest, the longest first.
fn slowest(times: impl Iterator<Item = (String, Duration)>) -> Vec<String> {
    let mut times: Vec<(String, Duration)> = times.filter(|(_, took)| !took.is_zero()).collect();
    times.sort_by(|(a, took_a), (b, took_b)| took_b.cmp(took_a).then_with(|| a.cmp(b)));
    times.into_iter().take(3).map(|(name, took)| format!("{name} {}", human(took))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use insta::assert_snapshot;

    fn timeline(events: &[Event]) -> Timeline {
        let mut timeline = Timeline::default();
        for event in events {
            timeline.feed(event);
        }
        timeline
    }

    #[test]
    fn a_run_at_80_columns() {
        let text = timeline(&samples::run()).render(&samples::plan(), 80);
        assert!(text.lines().all(|line| text::width(line) <= 80));
        assert_snapshot!(text, @r"
        timeline   ░ waits  ▒ is applied  █ becomes ready  ◆ on the critical path
          ◆ kubernetes   █████████████████████                                    1m02s
          ◆ cilium       ░░░░░░░░░░░░░░░░░░░░▒▒███████████████                      48s
          ◆ cert-manager ░░░░░░░░░░░░░░░░░░░░██░░░░░░░░░░░░░░▒██████████          1m18s
          ◆ issuers      ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░▒███████     21s
                         └─────────┴─────────┴─────────┴─────────┴─────────┴──┘
                         0s        30s       1m        1m30s     2m       2m41s
        ");
    }

    #[test]
    fn a_run_at_160_columns() {
        let text = timeline(&samples::run()).render(&samples::plan(), 160);
        assert!(text.lines().all(|line| text::width(line) <= 160));
        assert_snapshot!(text, @r"
        timeline   ░ waits  ▒ is applied  █ becomes ready  ◆ on the critical path
          ◆ kubernetes   ▒███████████████████████████████████████████████████                                                                                     1m02s
          ◆ cilium       ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░▒▒▒██████████████████████████████████████                                               48s
          ◆ cert-manager ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░██░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░▒▒████████████████████████                    1m18s
          ◆ issuers      ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░██████████████████     21s
                         └───────────┴───────────┴────────────┴───────────┴────────────┴───────────┴────────────┴───────────┴────────────┴───────────┴─────────
                         0s          15s         30s          45s         1m           1m15s       1m30s        1m45s       2m           2m15s       2m30s
        ");
    }

    #[test]
    fn a_failed_run_at_80_columns() {
        assert_snapshot!(timeline(&samples::failing_run()).render(&samples::plan(), 80), @r"
        timeline   ░ waits  ▒ is applied  █ becomes ready  ◆ on the critical path
          ◆ kubernetes ████████████████████████████                                  1m
          ◆ linstor    ░░░░░░░░░░░░░░░░░░░░░░░░░░░████████████████████████████✗  failed
            vm-images  ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░       -
                       └────────────┴─────────────┴────────────┴─────────────┴─
                       0s           30s           1m           1m30s         2m
        ");
    }

    #[test]
    fn summaries_end_with_what_to_type() {
        let done = timeline(&samples::run()).summary(
            &samples::plan(),
            &["1m if cilium/objects took no time".to_owned()],
            "cozy status",
            80,
        );
        let failed = timeline(&samples::failing_run()).summary(&samples::plan(), &[], "cozy install", 80);
        assert_snapshot!(format!("{done}{failed}"), @"
            done in 2m41s
              objects         86 created
              critical path   kubernetes → cilium → cert-manager → issuers
              slowest         kubernetes 1m02s, cert-manager 31s, issuers 21s
              slowest gates   Deployment cert-manager/cert-manager of cert-manager/objects
                              27s
              shorter by      1m if cilium/objects took no time
              next            cozy status
            failed after 2m03s
              objects         11 created, 1 changed, 2 left alone
              critical path   kubernetes → linstor
              failed          linstor
              not done        vm-images
              slowest         kubernetes 1m
              slowest gates   Deployment linstor/linstor of linstor/objects 1m
              next            cozy install
        ");
    }

    #[test]
    fn nothing_happened() {
        let timeline = Timeline::default();
        assert_eq!(timeline.summary(&samples::plan(), &[], "cozy plan", 80), "  next            cozy plan\n");
        assert!(timeline.render(&samples::plan(), 80).starts_with("timeline"));
        assert_eq!(timeline.failures(Paint(false), 80), "");
    }
}
