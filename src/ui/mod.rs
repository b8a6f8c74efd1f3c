//! Everything a person or a program reads: stdout is data, stderr is talk,
//! and both are written here only. The core sends events and knows none of it.
//!
//! Settings are passed in; nothing here reads the environment. Text that came
//! from a cluster goes through [`text::clean`] before a terminal sees it.

pub(crate) mod diagnosis;
pub(crate) mod findings;
mod gantt;
pub(crate) mod graph;
pub(crate) mod json;
mod live;
mod live_lines;
pub(crate) mod log;
mod out;
pub(crate) mod picture;
mod plain;
pub(crate) mod plan;
pub(crate) mod plan_json;
pub(crate) mod preflight;
pub(crate) mod prompt;
#[cfg(test)]
mod samples;
pub(crate) mod schemas;
pub(crate) mod table;
pub(crate) mod text;
pub(crate) mod timeline;

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};

use indicatif::{MultiProgress, ProgressDrawTarget};

use crate::execute::event::{Event, Reporter};

use out::Sink;
use text::Paint;

/// How results are printed on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One document, or one event a line.
    Json,
    /// One document.
    Yaml,
}

/// How much is said on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    /// Failures, warnings and signals.
    Quiet,
    /// What a person wants to follow.
    Normal,
    /// Each object, too.
    Verbose,
}

/// What the surroundings allow; resolved once by the settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// Colours may be used on stderr.
    pub(crate) color: bool,
    /// Columns of the terminal; 80 where there is none.
    pub(crate) width: u16,
    /// Lines on stderr can be redrawn.
    pub(crate) stderr_is_terminal: bool,
    /// How much is said.
    pub(crate) verbosity: Verbosity,
    /// How results are printed.
    pub(crate) format: Format,
}

/// The two streams, and how they are used.
pub(crate) struct Ui {
    settings: Settings,
    stdout: Sink,
    stderr: Sink,
    screen: MultiProgress,
    /// Lines are redrawn.
    live: bool,
    /// Why events could not be printed, once that was so.
    unwritten: Arc<OnceLock<String>>,
}

impl Ui {
    /// Takes the process' own streams.
    pub(crate) fn new(settings: Settings) -> Self {
        let drawn = if is_live(settings) {
            ProgressDrawTarget::stderr_with_hz(10)
        } else {
            ProgressDrawTarget::hidden()
        };
        Self::on(settings, Sink::Stdout, Sink::Stderr, drawn)
    }

    fn on(settings: Settings, stdout: Sink, stderr: Sink, drawn: ProgressDrawTarget) -> Self {
        Self {
            settings,
            stdout,
            stderr,
            // Terminals that cannot move their cursor (`TERM=dumb`) are drawn on by nobody.
            live: !drawn.is_hidden(),
            screen: MultiProgress::with_draw_target(drawn),
            unwritten: Arc::default(),
        }
    }

    /// Draws the events of a run: events as JSON on stdout, live lines on a
    /// terminal, one line an event elsewhere.
    pub(crate) fn reporter(&self) -> Box<dyn Reporter> {
        if self.settings.format == Format::Json {
            return Box::new(json::Json::new(self.stdout.clone(), Arc::clone(&self.unwritten)));
        }
        self.progress()
    }

    /// Draws progress beside a result: like [`Self::reporter`], but stdout is the result's.
    pub(crate) fn progress(&self) -> Box<dyn Reporter> {
        if self.live {
            return Box::new(live::Live::new(self.screen.clone(), self.width(), self.paint()));
        }
        Box::new(plain::Plain::new(self.stderr.clone(), self.settings.verbosity))
    }

    /// Writes a result to stdout, as it is. A reader that went away is no error.
    pub(crate) fn data(&self, text: &str) -> io::Result<()> {
        self.screen
            .suspend(|| self.stdout.write(text))
            .map_err(|error| io::Error::new(error.kind(), format!("cannot write to stdout: {error}")))
    }

    /// Writes a document to stdout, in the format asked for: YAML, or indented JSON.
    pub(crate) fn document(&self, document: &serde_json::Value) -> io::Result<()> {
        if self.settings.format == Format::Yaml {
            let text = serde_yaml::to_string(document).map_err(io::Error::other)?;
            // What a terminal acts on can be escaped in quotes only: JSON is YAML, too.
            if !text.chars().any(|c| c != '\n' && text::is_hostile(c)) {
                return self.data(&text);
            }
        }
        self.data(&(json::escape(&format!("{document:#}")) + "\n"))
    }

    /// Says something on stderr, on lines of its own; nothing when quiet.
    pub(crate) fn note(&self, text: impl fmt::Display) {
        if self.settings.verbosity > Verbosity::Quiet {
            self.talk(&text.to_string());
        }
    }

    /// Prints a rendered error on stderr, also when quiet.
    pub(crate) fn error(&self, rendered: &str) {
        self.talk(rendered);
    }

    /// Why events could not be printed, if so: a run goes on without a reader, but does not end well.
    pub(crate) fn unwritten(&self) -> Option<&str> {
        self.unwritten.get().map(String::as_str)
    }

    /// Columns to print in.
    pub(crate) fn width(&self) -> usize {
        usize::from(self.settings.width.max(20))
    }

    /// The format asked for.
    pub(crate) fn format(&self) -> Format {
        self.settings.format
    }

    /// Colours for stderr, where they are allowed.
    pub(crate) fn paint(&self) -> Paint {
        Paint(self.settings.color)
    }

    fn talk(&self, text: &str) {
        let mut text = text::clean_block(text, self.settings.color);
        if !text.ends_with('\n') {
            text.push('\n');
        }
        self.screen.suspend(|| self.stderr.say(&text));
    }
}

/// Whether lines are redrawn. `-v` prints each object, which scrolls anyway.
fn is_live(settings: Settings) -> bool {
    settings.stderr_is_terminal && settings.format == Format::Text && settings.verbosity == Verbosity::Normal
}

/// Hands each event to several reporters, in order.
pub(crate) struct Tee(pub(crate) Vec<Arc<dyn Reporter>>);

impl Reporter for Tee {
    fn report(&self, event: &Event) {
        for part in &self.0 {
            part.report(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(verbosity: Verbosity, format: Format) -> (Ui, Sink, Sink) {
        let settings = Settings { color: false, width: 80, stderr_is_terminal: false, verbosity, format };
        let (stdout, stderr) = (Sink::memory(), Sink::memory());
        let drawn = ProgressDrawTarget::hidden();
        (Ui::on(settings, stdout.clone(), stderr.clone(), drawn), stdout, stderr)
    }

    #[test]
    fn data_goes_to_stdout_and_talk_to_stderr() {
        let (ui, stdout, stderr) = recorded(Verbosity::Normal, Format::Text);
        ui.data("apiVersion: v1\n").unwrap();
        ui.document(&serde_json::json!({ "schema": "cozy/v1/x", "name": "\u{9b}" })).unwrap();
        ui.note("one\u{1b}[2J");
        ui.error("error: x\n");
        assert_eq!(
            stdout.text(),
            "apiVersion: v1\n{\n  \"schema\": \"cozy/v1/x\",\n  \"name\": \"\\u009b\"\n}\n"
        );
        assert_eq!(stderr.text(), "one\u{fffd}[2J\nerror: x\n");
    }

    #[test]
    fn documents_are_yaml_when_yaml_is_asked_for() {
        let (ui, stdout, _) = recorded(Verbosity::Normal, Format::Yaml);
        let document = serde_json::json!({ "schema": "cozy/v1/x", "names": ["yes", "\u{9b}"], "none": null });
        ui.document(&document).unwrap();
        assert_eq!(stdout.text(), "schema: cozy/v1/x\nnames:\n- \"yes\"\n- \"\\x9B\"\nnone: null\n");
        let (ui, stdout, _) = recorded(Verbosity::Normal, Format::Yaml);
        ui.document(&serde_json::json!({ "name": "\u{202e}" })).unwrap();
        assert_eq!(stdout.text(), "{\n  \"name\": \"\\u202e\"\n}\n");
    }

    /// A terminal on which nothing is drawn (`TERM=dumb`) swallows nothing.
    #[test]
    fn what_cannot_be_drawn_is_printed() {
        let (ui, stdout, stderr) = recorded(Verbosity::Normal, Format::Text);
        let settings = Settings { stderr_is_terminal: true, ..ui.settings };
        let ui = Ui::on(settings, stdout, stderr.clone(), ProgressDrawTarget::hidden());
        for event in samples::failing_run() {
            ui.reporter().report(&event);
        }
        assert!(stderr.text().contains("linstor          failed"), "{}", stderr.text());
    }

    #[test]
    fn quiet_keeps_errors() {
        let (ui, _, stderr) = recorded(Verbosity::Quiet, Format::Text);
        ui.note("one");
        ui.error("error: x");
        for event in samples::failing_run() {
            ui.reporter().report(&event);
        }
        let text = stderr.text();
        assert!(text.starts_with("error: x\n"), "{text}");
        assert!(text.contains("linstor          failed"), "{text}");
        assert!(!text.contains("applying"), "{text}");
    }

    #[test]
    fn json_keeps_stderr_empty() {
        let (ui, stdout, stderr) = recorded(Verbosity::Normal, Format::Json);
        let reporter = Tee(vec![Arc::from(ui.reporter())]);
        for event in samples::run() {
            reporter.report(&event);
        }
        assert_eq!(stderr.text(), "");
        assert_eq!(stdout.text().lines().count(), samples::run().len());
    }
}
