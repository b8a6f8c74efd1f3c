//! One line an event, for logs and pipes: no colour, no cursor movement.
//! Objects and single stages are shown with `-v`; a wait when its reason changes.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::execute::event::{Event, EventKind, Reporter};
use crate::model::duration::human;
use crate::plan::{Stage, StepId, Verb};

use super::Verbosity;
use super::out::{Sink, lock};
use super::text::{self, clean};

/// Prints events as lines.
pub(crate) struct Plain {
    sink: Sink,
    lines: Mutex<Lines>,
}

impl Plain {
    /// Prints to `sink`.
    pub(crate) fn new(sink: Sink, verbosity: Verbosity) -> Self {
        Self { sink, lines: Mutex::new(Lines::new(verbosity)) }
    }
}

impl Reporter for Plain {
    fn report(&self, event: &Event) {
        let mut lines = lock(&self.lines);
        let text = lines.next(event);
        if !text.is_empty() {
            self.sink.say(&text);
        }
    }
}

/// What must be remembered between events to write the next line.
struct Lines {
    verbosity: Verbosity,
    hosts: usize,
    name_width: usize,
    waits: BTreeMap<StepId, String>,
}

impl Lines {
    fn new(verbosity: Verbosity) -> Self {
        Self { verbosity, hosts: 0, name_width: 16, waits: BTreeMap::new() }
    }

    /// The text of an event; empty where it is not shown.
    fn next(&mut self, event: &Event) -> String {
        if self.verbosity == Verbosity::Quiet && !is_grave(&event.kind) {
            self.remember(&event.kind);
            return String::new();
        }
        self.remember(&event.kind);
        match &event.kind {
            // The plan stands above, the summary and the diagnosis below.
            EventKind::RunStarted { .. } | EventKind::RunFinished { .. } => String::new(),
            EventKind::StepStarted { step, objects } => {
                self.line(event, step.component(), "applying", &started(step, *objects))
            }
            EventKind::Object { step, object, verb } => {
                self.verbose(|| self.line(event, step.component(), past(*verb), &clean(object)))
            }
            EventKind::StepApplied { step } => {
                self.verbose(|| self.line(event, step.component(), "applied", &stage(step)))
            }
            EventKind::StepReady { step, after } => self.verbose(|| {
                let after = after.as_ref().map(|after| format!("   after {after}")).unwrap_or_default();
                self.line(event, step.component(), "holds", &(stage(step) + &after))
            }),
            EventKind::Waiting { step, object, reason, remaining, soft_failure } => self.waiting(
                event,
                step,
                &Wait { object, reason, remaining: *remaining, soft: *soft_failure },
            ),
            EventKind::Retry { step, object, attempt, delay, reason } => {
                let name = step.as_ref().map_or("-", StepId::component);
                let what = format!("{}: {}; again in {}", clean(object), clean(reason), human(*delay));
                self.line(event, name, &format!("retry {attempt}"), &what)
            }
            EventKind::ComponentReady { component, objects, took, after } => {
                let hosts = if component == "kubernetes" { self.hosts } else { 0 };
                let (what, after) = (text::amount(hosts, *objects), text::after(after));
                self.line(event, component, "ready", &format!("{what}  {}{after}", human(*took)))
            }
            EventKind::ComponentFailed { component, step, failure, blocks: _ } => {
                let message = clean(failure.message.lines().next().unwrap_or_default());
                self.line(event, component, "failed", &format!("{}: {message}", stage(step)))
            }
            EventKind::Fetching { artefact, from } => {
                self.verbose(|| fetch_line(event, artefact, "asking", &clean(from)))
            }
            EventKind::FetchProgress { artefact, received, total } => {
                self.verbose(|| fetch_line(event, artefact, "fetching", &text::received(*received, *total)))
            }
            EventKind::Fetched { artefact, bytes, from, took, sha256: _ } => {
                let what = format!("{} from {from}  {}", text::size(*bytes), human(*took));
                fetch_line(event, artefact, "fetched", &what)
            }
            EventKind::Interrupted { signal } => {
                let what = "what is in flight is finished; a second signal stops at once";
                self.line(event, "-", &clean(signal), what)
            }
            EventKind::Warning { message } => self.line(event, "-", "warning", &clean(message)),
        }
    }

    fn remember(&mut self, kind: &EventKind) {
        if let EventKind::RunStarted { hosts, components, .. } = kind {
            self.hosts = *hosts;
            let longest = components.iter().map(|name| text::width(name)).max().unwrap_or(0);
            self.name_width = longest.clamp(16, 40);
        }
    }

    fn verbose(&self, line: impl FnOnce() -> String) -> String {
        if self.verbosity == Verbosity::Verbose { line() } else { String::new() }
    }

    fn waiting(&mut self, event: &Event, step: &StepId, wait: &Wait<'_>) -> String {
        let what = format!("{}: {}", clean(wait.object), clean(wait.reason));
        let seen = format!("{what} {}", wait.soft);
        if self.waits.insert(step.clone(), seen.clone()).as_ref() == Some(&seen) {
            return String::new();
        }
        let state = if wait.soft { "in trouble" } else { "waiting" };
        let more = match wait.remaining {
            0 | 1 => String::new(),
            more => format!(" ({} left)", text::count(more, "object")),
        };
        self.line(event, step.component(), state, &(what + &more))
    }

    fn line(&self, event: &Event, name: &str, state: &str, what: &str) -> String {
        let name = text::fit(&clean(name), self.name_width);
        let line = format!("{:>7}  {name} {state:<10} {what}", text::clock(event.at));
        format!("{}\n", line.trim_end())
    }
}

/// What a step begins with.
fn started(step: &StepId, objects: usize) -> String {
    match step {
        StepId::Host { host, phase } => format!("{phase} {host}"),
        StepId::Stage(_, Stage::Objects) => text::count(objects, "object"),
        StepId::Stage(_, stage) => format!("{stage}: {}", text::count(objects, "object")),
    }
}

/// A line about an artefact: these have longer names than components.
fn fetch_line(event: &Event, artefact: &str, state: &str, what: &str) -> String {
    let line = format!("{:>7}  {state:<10} {} {what}", text::clock(event.at), clean(artefact));
    format!("{}\n", line.trim_end())
}

/// What a step waits for, as an event says it.
struct Wait<'a> {
    object: &'a str,
    reason: &'a str,
    remaining: usize,
    soft: bool,
}

/// What is shown even when quiet.
fn is_grave(kind: &EventKind) -> bool {
    match kind {
        EventKind::ComponentFailed { .. } | EventKind::Interrupted { .. } | EventKind::Warning { .. } => true,
        EventKind::RunFinished { .. }
        | EventKind::RunStarted { .. }
        | EventKind::StepStarted { .. }
        | EventKind::Object { .. }
        | EventKind::StepApplied { .. }
        | EventKind::Waiting { .. }
        | EventKind::Retry { .. }
        | EventKind::Fetching { .. }
        | EventKind::FetchProgress { .. }
        | EventKind::Fetched { .. }
        | EventKind::StepReady { .. }
        | EventKind::ComponentReady { .. } => false,
    }
}

fn stage(step: &StepId) -> String {
    match step {
        StepId::Host { host, phase } => format!("{phase} {host}"),
        StepId::Stage(_, stage) => stage.to_string(),
    }
}

fn past(verb: Verb) -> &'static str {
    match verb {
        Verb::Create => "created",
        Verb::Update => "changed",
        Verb::Replace => "replaced",
        Verb::Adopt => "adopted",
        Verb::Keep => "kept",
        Verb::Delete => "deleted",
        Verb::Forget => "forgotten",
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use insta::assert_snapshot;

    fn all(verbosity: Verbosity, events: &[Event]) -> String {
        let sink = Sink::memory();
        let plain = Plain::new(sink.clone(), verbosity);
        for event in events {
            plain.report(event);
        }
        sink.text()
    }

    #[test]
    fn a_run_is_one_line_an_event() {
        assert_snapshot!(all(Verbosity::Normal, &samples::run()), @"
            0m00s  kubernetes       applying   init node-1
            1m02s  kubernetes       ready      3 hosts  1m02s
            1m02s  cert-manager     applying   crds: 6 objects
            1m02s  cilium           applying   38 objects
            1m50s  cilium           ready      38 objects  48s   after kubernetes
            1m50s  cert-manager     applying   41 objects
            1m50s  cert-manager     retry 1    ConfigMap cert-manager/ca: 429: too many requests; again in 500ms
            1m53s  cert-manager     waiting    Deployment cert-manager/cert-manager: 0 of 1 replicas available (3 objects left)
            2m11s  cert-manager     waiting    Deployment cert-manager/cert-manager: endpoint 0 of 1 ready
            2m20s  cert-manager     ready      47 objects  1m18s   after cilium, kubernetes
            2m20s  issuers          applying   resources: 1 object
            2m41s  issuers          ready      1 object  21s   after cert-manager
        ");
    }

    #[test]
    fn verbose_shows_objects_and_stages() {
        assert_snapshot!(all(Verbosity::Verbose, &samples::run()), @"
            0m00s  kubernetes       applying   init node-1
            0m02s  kubernetes       applied    init node-1
            1m02s  kubernetes       holds      init node-1
            1m02s  kubernetes       ready      3 hosts  1m02s
            1m02s  cert-manager     applying   crds: 6 objects
            1m02s  cert-manager     applied    crds
            1m03s  cert-manager     holds      crds   after kubernetes/node-1/init
            1m02s  cilium           applying   38 objects
            1m06s  cilium           applied    objects
            1m50s  cilium           holds      objects   after kubernetes/node-1/init
            1m50s  cilium           ready      38 objects  48s   after kubernetes
            1m50s  cert-manager     applying   41 objects
            1m50s  cert-manager     created    Deployment cert-manager/webhook
            1m50s  cert-manager     retry 1    ConfigMap cert-manager/ca: 429: too many requests; again in 500ms
            1m52s  cert-manager     applied    objects
            1m53s  cert-manager     waiting    Deployment cert-manager/cert-manager: 0 of 1 replicas available (3 objects left)
            2m11s  cert-manager     waiting    Deployment cert-manager/cert-manager: endpoint 0 of 1 ready
            2m20s  cert-manager     holds      objects   after cilium/objects
            2m20s  cert-manager     ready      47 objects  1m18s   after cilium, kubernetes
            2m20s  issuers          applying   resources: 1 object
            2m20s  issuers          applied    resources
            2m41s  issuers          holds      resources
            2m41s  issuers          ready      1 object  21s   after cert-manager
        ");
    }

    #[test]
    fn a_failure_has_its_diagnosis() {
        assert_snapshot!(all(Verbosity::Normal, &samples::failing_run()), @"
            0m00s  kubernetes       applying   init node-1
            1m00s  kubernetes       ready      3 hosts  1m
            1m00s  linstor          applying   12 objects
            1m02s  linstor          in trouble Deployment linstor/linstor: container manager: CrashLoopBackOff
            1m05s  -                warning    component vm-images has no gate
            2m02s  linstor          failed     objects: not ready after 62s (gate: deployment/piraeus-operator)
            2m02s  -                SIGINT     what is in flight is finished; a second signal stops at once
        ");
    }

    #[test]
    fn quiet_shows_what_went_wrong_only() {
        assert_eq!(all(Verbosity::Quiet, &samples::run()), "");
    }

    #[test]
    fn hostile_messages_cannot_write_lines_or_move_the_cursor() {
        let text = all(Verbosity::Normal, &[samples::warning("a\u{1b}[1A\n  0m00s  forged\u{85}\u{2028}")]);
        assert_eq!(
            text,
            "  1m05s  -                warning    a\u{fffd}[1A   0m00s  forged\u{fffd}\u{fffd}\n"
        );
    }
}
