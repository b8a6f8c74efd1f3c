//! From a file's bytes to text: its size, its encoding, and characters that nobody means in a file of words. What can
//! be read nevertheless is, so that one look shows all mistakes.

use std::borrow::Cow;
use std::sync::Arc;

use super::finding::{Finding, MOST, Source};

/// The largest file, in bytes. A `cozy.yaml` of 1,000 hosts has a tenth of it.
const LARGEST: usize = 1024 * 1024;

/// What stands for bytes that are no text.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// A file's text.
pub(super) struct Decoded {
    /// The text that findings show.
    pub(super) source: Arc<Source>,
    /// What is wrong with it.
    pub(super) findings: Vec<Finding>,
}

impl Decoded {
    /// The text that a parser can read, each character in its place: tabs that indent lines are spaces.
    pub(super) fn readable(&self) -> Cow<'_, str> {
        let text = self.source.text.as_str();
        let tabs: Vec<usize> = tabs(text).collect();
        if tabs.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut readable = text.to_owned();
        for at in tabs {
            readable.replace_range(at..=at, " ");
        }
        Cow::Owned(readable)
    }
}

/// Reads bytes as text; `Err`: they are none.
pub(super) fn decode(bytes: &[u8], name: &str) -> Result<Decoded, Finding> {
    let whole = |code, message: String, hint| Finding::error(code, format!("{name}: {message}")).hinted(hint);
    if bytes.len() > LARGEST {
        return Err(whole(1001, "the file is larger than 1 MiB".to_owned(), "is it the right file?"));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(whole(1002, "the file is UTF-16".to_owned(), "save the file as UTF-8"));
    }
    let text = String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)).into_owned();
    let source = Arc::new(Source { name: name.to_owned(), text });
    let text = source.text.as_str();
    let at = |code, at: usize, len: usize, message: &str, hint: &str| {
        let mut finding = Finding::error(code, message).hinted(hint);
        finding.place = Some((Arc::clone(&source), at..at + len));
        finding
    };
    if let Some(nul) = text.find('\0') {
        return Err(at(1003, nul, 1, "the file has a NUL byte", "is it a text file?"));
    }
    let mut findings = Vec::new();
    if std::str::from_utf8(bytes).is_err() {
        let bad = first_in_lines(text, REPLACEMENT).take(MOST);
        findings.extend(bad.map(|bad| {
            at(1002, bad, REPLACEMENT.len_utf8(), "this line is not UTF-8", "save the file as UTF-8")
        }));
    }
    let mut line = None;
    for tab in tabs(text).take(MOST) {
        // One finding a line is enough.
        let start = text[..tab].rfind('\n');
        if line.replace(start) != Some(start) {
            findings.push(at(1004, tab, 1, "a tab indents this line", "indent with spaces"));
        }
    }
    Ok(Decoded { source, findings })
}

/// The first place of a character in each line that has it.
fn first_in_lines(text: &str, wanted: char) -> impl Iterator<Item = usize> {
    lines(text).filter_map(move |(start, line)| line.find(wanted).map(|at| start + at))
}

/// Lines with where they start.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut next = 0;
    text.split_inclusive('\n').map(move |line| {
        let start = next;
        next += line.len();
        (start, line)
    })
}

/// The tabs that indent lines.
fn tabs(text: &str) -> impl Iterator<Item = usize> {
    lines(text).filter(|(_, line)| !line.trim().is_empty()).flat_map(|(start, line)| {
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        line[..indent].match_indices('\t').map(move |(at, _)| start + at)
    })
}
