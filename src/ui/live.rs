//! A terminal: one live line for each component that is working, finished ones
//! scroll up, and a bar at the bottom with what is left of the critical path.
//!
//! Lines are made in `live_lines`; indicatif redraws them on its own threads
//! and reads only [`Face`]s and the clock, which are never locked while it draws.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use crate::execute::event::{Event, EventKind, Reporter};
use crate::model::duration::human;
use crate::plan::StepId;

use super::diagnosis;
use super::live_lines::{Bottom, Done, Face, bottom_line, ready_line, working_line};
use super::out::lock;
use super::text::{self, Paint, clean};

/// Draws events on a terminal.
pub(crate) struct Live {
    screen: MultiProgress,
    width: usize,
    paint: Paint,
    clock: Arc<Clock>,
    rows: Mutex<Rows>,
}

#[derive(Default)]
struct Rows {
    hosts: usize,
    working: BTreeMap<String, (ProgressBar, Arc<Mutex<Face>>)>,
    bottom: Option<(ProgressBar, Arc<Mutex<Bottom>>)>,
    /// What is being fetched, and how far it is.
    downloads: BTreeMap<String, (ProgressBar, Arc<Mutex<String>>)>,
}

/// Time between events: the wall's in real runs, standing still in rehearsals.
struct Clock(Mutex<Tick>);

struct Tick {
    at: Duration,
    seen: Instant,
    virtual_time: bool,
}

impl Clock {
    fn now(&self) -> Duration {
        let tick = lock(&self.0);
        if tick.virtual_time { tick.at } else { tick.at + tick.seen.elapsed() }
    }

    fn set(&self, event: &Event) {
        let mut tick = lock(&self.0);
        tick.at = event.at;
        tick.seen = Instant::now();
        if let EventKind::RunStarted { rehearsal, .. } = event.kind {
            tick.virtual_time = rehearsal;
        }
    }
}

impl Live {
    /// Draws on `screen`, in lines of at most `width` columns.
    pub(crate) fn new(screen: MultiProgress, width: usize, paint: Paint) -> Self {
        let tick = Tick { at: Duration::ZERO, seen: Instant::now(), virtual_time: false };
        Self { screen, width, paint, clock: Arc::new(Clock(Mutex::new(tick))), rows: Mutex::default() }
    }

    fn bar(
        &self,
        template: &str,
        line: impl Fn(Duration) -> String + Clone + Send + Sync + 'static,
    ) -> ProgressBar {
        let clock = Arc::clone(&self.clock);
        let draw = move |_: &ProgressState, out: &mut dyn fmt::Write| {
            // A line that cannot be drawn now is drawn again in a moment.
            let _ = out.write_str(&line(clock.now()));
        };
        let style = ProgressStyle::with_template(template)
            .expect("templates are constants of this file")
            .tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
            .with_key("line", draw);
        ProgressBar::no_length().with_style(style)
    }

    fn begin(&self, rows: &mut Rows, event: &Event) {
        let EventKind::RunStarted { hosts, components, expected, .. } = &event.kind else { return };
        rows.hosts = *hosts;
        let face = Arc::new(Mutex::new(Bottom { expected: *expected, ready: 0, total: components.len() }));
        let (shown, width) = (Arc::clone(&face), self.width);
        let bar = self.screen.add(self.bar("{line}", move |now| bottom_line(*lock(&shown), now, width)));
        bar.enable_steady_tick(Duration::from_millis(250));
        rows.bottom = Some((bar, face));
    }

    /// The face of a component's line, which appears with its first step.
    fn face(&self, rows: &mut Rows, step: &StepId) -> Arc<Mutex<Face>> {
        let name = step.component();
        if let Some((_, face)) = rows.working.get(name) {
            return Arc::clone(face);
        }
        let hosts = if matches!(step, StepId::Host { .. }) { rows.hosts } else { 0 };
        let fresh = Face { name: name.to_owned(), started: lock(&self.clock.0).at, hosts, ..Face::default() };
        let face = Arc::new(Mutex::new(fresh));
        let (shown, columns, paint) = (Arc::clone(&face), self.width.saturating_sub(5), self.paint);
        let bar = self.bar("  {spinner} {line}", move |now| working_line(&lock(&shown), now, columns, paint));
        let bar = match &rows.bottom {
            Some((bottom, _)) => self.screen.insert_before(bottom, bar),
            None => self.screen.add(bar),
        };
        bar.enable_steady_tick(Duration::from_millis(120));
        rows.working.insert(name.to_owned(), (bar, Arc::clone(&face)));
        face
    }

    /// The text of an artefact's line.
    fn download(&self, rows: &mut Rows, artefact: &str) -> Arc<Mutex<String>> {
        if let Some((_, state)) = rows.downloads.get(artefact) {
            return Arc::clone(state);
        }
        let state = Arc::new(Mutex::new(String::new()));
        let (shown, name, columns) = (Arc::clone(&state), clean(artefact), self.width.saturating_sub(5));
        let line = move |_| text::cut(&format!("{name}  {}", lock(&shown)), columns);
        let bar = self.screen.add(self.bar("  {spinner} {line}", line));
        bar.enable_steady_tick(Duration::from_millis(120));
        rows.downloads.insert(artefact.to_owned(), (bar, Arc::clone(&state)));
        state
    }

    fn finish(&self, rows: &mut Rows, component: &str) {
        if let Some((bar, _)) = rows.working.remove(component) {
            bar.finish_and_clear();
            self.screen.remove(&bar);
        }
    }

    fn close(&self, rows: &mut Rows) {
        while let Some((_, (bar, _))) = rows.working.pop_first() {
            bar.finish_and_clear();
            self.screen.remove(&bar);
        }
        while let Some((_, (bar, _))) = rows.downloads.pop_first() {
            bar.finish_and_clear();
            self.screen.remove(&bar);
        }
        if let Some((bar, _)) = rows.bottom.take() {
            bar.finish_and_clear();
            self.screen.remove(&bar);
        }
    }

    /// Lines that scroll up. A terminal that is gone is no reason to stop a run.
    fn print(&self, text: &str) {
        drop(self.screen.println(text.trim_end_matches('\n')));
    }

    fn ready(&self, rows: &mut Rows, done: &Done<'_>) {
        if let Some((_, face)) = &rows.bottom {
            lock(face).ready += 1;
        }
        self.finish(rows, done.name);
        self.print(&ready_line(done, self.width, self.paint));
    }
}

impl Live {
    /// An artefact's row becomes a line.
    fn fetched(&self, rows: &mut Rows, artefact: &str, what: &str) {
        if let Some((bar, _)) = rows.downloads.remove(artefact) {
            bar.finish_and_clear();
            self.screen.remove(&bar);
        }
        let line = text::cut(&format!("{}  {what}", clean(artefact)), self.width.saturating_sub(4));
        self.print(&format!("  {} {line}", self.paint.good("✓")));
    }

    fn warn(&self, line: &str) {
        self.print(&self.paint.doubtful(line));
    }
}

impl Reporter for Live {
    fn report(&self, event: &Event) {
        let mut rows = lock(&self.rows);
        self.clock.set(event);
        match &event.kind {
            EventKind::RunStarted { .. } => self.begin(&mut rows, event),
            EventKind::StepStarted { step, objects } => {
                let face = self.face(&mut rows, step);
                let mut face = lock(&face);
                face.objects += objects;
                "applying".clone_into(&mut face.state);
            }
            EventKind::Object { step, .. } => lock(&self.face(&mut rows, step)).written += 1,
            EventKind::StepApplied { step } | EventKind::StepReady { step, .. } => {
                let face = self.face(&mut rows, step);
                let mut face = lock(&face);
                face.state.clear();
                face.trouble = false;
            }
            EventKind::Waiting { step, object, reason, soft_failure, remaining: _ } => {
                let face = self.face(&mut rows, step);
                let mut face = lock(&face);
                face.state = format!("waiting for {}: {}", clean(object), clean(reason));
                face.trouble = *soft_failure;
            }
            EventKind::Retry { step: Some(step), object, attempt, reason, delay: _ } => {
                let face = self.face(&mut rows, step);
                lock(&face).state = format!("retry {attempt} of {}: {}", clean(object), clean(reason));
            }
            EventKind::Retry { step: None, object, reason, attempt, delay: _ } => {
                let line = format!("  retry {attempt} of {}: {}", clean(object), clean(reason));
                self.print(&self.paint.faint(&text::cut(&line, self.width)));
            }
            EventKind::ComponentReady { component, objects, took, after } => {
                let hosts = if component == "kubernetes" { rows.hosts } else { 0 };
                self.ready(
                    &mut rows,
                    &Done { name: component, objects: *objects, hosts, took: *took, after },
                );
            }
            EventKind::ComponentFailed { component, failure, blocks: _, step: _ } => {
                self.finish(&mut rows, component);
                self.warn(&text::cut(&diagnosis::failed_now(component, failure), self.width));
            }
            EventKind::Fetching { artefact, from } => {
                *lock(&self.download(&mut rows, artefact)) = format!("asking {}", clean(from));
            }
            EventKind::FetchProgress { artefact, received, total } => {
                *lock(&self.download(&mut rows, artefact)) = text::received(*received, *total);
            }
            EventKind::Fetched { artefact, bytes, from, took, sha256: _ } => {
                let what = format!("{} from {from}  {}", text::size(*bytes), human(*took));
                self.fetched(&mut rows, artefact, &what);
            }
            EventKind::Interrupted { signal } => {
                let what = "what is in flight is finished; a second signal stops at once";
                self.warn(&format!("{}: {what}", clean(signal)));
            }
            EventKind::Warning { message } => self.warn(&format!("warning: {}", clean(message))),
            EventKind::RunFinished { .. } => self.close(&mut rows),
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.close(&mut lock(&self.rows));
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use indicatif::{ProgressDrawTarget, TermLike};
    use std::io;

    /// A terminal that remembers what was written, and not where.
    #[derive(Debug, Clone, Default)]
    struct Paper(Arc<Mutex<String>>);

    impl TermLike for Paper {
        fn width(&self) -> u16 {
            80
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)?;
            self.write_str("\n")
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            lock(&self.0).push_str(text);
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            self.write_str("\n")
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_whole_run_is_drawn_and_leaves_no_bars() {
        let paper = Paper::default();
        let target = ProgressDrawTarget::term_like(Box::new(paper.clone()));
        let screen = MultiProgress::with_draw_target(target);
        for events in [samples::run(), samples::failing_run()] {
            let live = Live::new(screen.clone(), 80, Paint(false));
            for event in &events {
                live.report(event);
            }
            let rows = lock(&live.rows);
            assert!(rows.working.is_empty() && rows.bottom.is_none());
        }
        let text = lock(&paper.0).clone();
        for part in ["✓ cilium", "✗ linstor", "of 4 components ready"] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
    }
}
