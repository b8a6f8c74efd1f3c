//! A mistake in a user's file, with its place: what validation returns
//! instead of stopping at the first error.

use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;

use crate::code::Code;

/// A file that was read, kept so that findings can show its lines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The name to show: a path relative to where the user is, or `<stdin>`.
    pub(crate) name: String,
    /// The text; lossily decoded where the file is not UTF-8.
    pub(crate) text: String,
}

impl Source {
    /// A place, cut to its first line.
    pub(crate) fn first_line(&self, range: &Range<usize>) -> Range<usize> {
        let text = self.text.get(range.clone()).unwrap_or_default();
        let line = text.lines().next().unwrap_or_default().trim_end();
        range.start..range.start + line.len()
    }

    /// The character at a line and a column of bytes, both from 1; the nearest where there is none.
    pub(crate) fn place(&self, line: usize, column: usize) -> Range<usize> {
        let lines = self.text.split_inclusive('\n');
        let start: usize = lines.take(line.saturating_sub(1)).map(str::len).sum();
        let wanted = (start + column.saturating_sub(1)).min(self.text.len());
        let at = (0..=wanted).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or_default();
        let character = self.text.get(at..).and_then(|rest| rest.chars().next());
        at..at + character.map_or(0, char::len_utf8)
    }
}

/// A file, and a range of bytes in its text.
pub(crate) type Place = (Arc<Source>, Range<usize>);

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// Nothing can be done before it is fixed.
    Error,
    /// Worth a look; nothing stops.
    Warning,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The stable code.
    pub(crate) code: Code,
    /// Error or warning.
    pub(crate) level: Level,
    /// What is wrong, lower case, no period.
    pub(crate) message: String,
    /// The text under the caret, short; may be empty.
    pub(crate) label: String,
    /// Where: a file and a byte range in its text. `None`: the whole input.
    pub(crate) place: Option<Place>,
    /// What to do.
    pub(crate) hint: Option<String>,
}

/// The most findings of one file: more are the same mistake over and over,
/// and showing them would take longer than reading the file did.
pub(crate) const MOST: usize = 100;

impl Finding {
    /// An error without a place.
    pub(crate) fn error(code: u16, message: impl Into<String>) -> Self {
        Self {
            code: Code(code),
            level: Level::Error,
            message: message.into(),
            label: String::new(),
            place: None,
            hint: None,
        }
    }

    /// Gives it a place, cut to its first line.
    pub(crate) fn on(mut self, source: &Arc<Source>, range: Range<usize>) -> Self {
        let range = source.first_line(&range);
        self.place = Some((Arc::clone(source), range));
        self
    }

    /// Gives it the text under the caret.
    pub(crate) fn labelled(mut self, label: String) -> Self {
        self.label = label;
        self
    }

    /// Says what to do.
    pub(crate) fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Makes it a warning.
    pub(crate) fn warning(mut self) -> Self {
        self.level = Level::Warning;
        self
    }

    /// Line and column of its start, both from 1; columns count characters.
    pub(crate) fn position(&self) -> Option<(usize, usize)> {
        let (source, range) = self.place.as_ref()?;
        let before = source.text.get(..range.start)?;
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(1, |last| last.chars().count() + 1);
        Some((line, column))
    }
}

/// Findings in the order in which they are shown: file, place, code.
pub(crate) fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| key(a).cmp(&key(b)));
}

fn key(finding: &Finding) -> (Option<(&str, usize)>, Code, &str) {
    let place = finding.place.as_ref().map(|(source, range)| (source.name.as_str(), range.start));
    (place, finding.code, &finding.message)
}
