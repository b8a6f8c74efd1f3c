//! Findings for people: each with its line, a caret, and what to do.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet};

use super::text::clean_block;
use crate::model::finding::{self, Finding};

/// Renders findings without colour.
#[cfg(test)]
pub(crate) fn render(findings: &[Finding]) -> String {
    drawn(findings, false)
}

/// Renders findings, each followed by an empty line.
pub(crate) fn drawn(findings: &[Finding], color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for found in findings {
        let code = found.code.to_string();
        let mut group = group(found, &code);
        if let Some(hint) = &found.hint {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        text.push_str(&clean_block(&renderer.render(&[group]), color));
        text.push_str("\n\n");
    }
    text
}

/// The longest lines that are shown, in bytes: nobody reads longer ones, and drawing them for each finding takes
/// longer than reading the file did.
const LONGEST: usize = 4096;

/// A finding with its place.
fn group<'a>(found: &'a Finding, code: &'a str) -> Group<'a> {
    let level = match found.level {
        finding::Level::Error => Level::ERROR,
        finding::Level::Warning => Level::WARNING,
    };
    let title = level.primary_title(found.message.as_str()).id(code);
    let Some((source, range)) = &found.place else {
        return title.elements(Vec::<Element<'_>>::new());
    };
    let (lines, first) = lines(&source.text, range);
    if lines.len() > LONGEST {
        let column = found.position().map_or(1, |(_, column)| column);
        let origin = Origin::path(source.name.as_str()).line(first).char_column(column);
        let label = Some(found.label.as_str()).filter(|label| !label.is_empty());
        return title.element(origin).elements(label.map(|label| Level::NOTE.message(label)));
    }
    let span = range.start - lines.start..range.end - lines.start;
    title.element(
        Snippet::source(&source.text[lines])
            .line_start(first)
            .path(source.name.as_str())
            .annotation(AnnotationKind::Primary.span(span).label(found.label.as_str())),
    )
}

/// The whole lines around a range, and the number of the first one. The renderer would go through all of a large file
/// for each finding.
fn lines(text: &str, range: &Range<usize>) -> (Range<usize>, usize) {
    let start = text[..range.start].rfind('\n').map_or(0, |at| at + 1);
    // One line more: a range may end with its line, or with the text.
    let end = text[range.end..].match_indices('\n').nth(1).map_or(text.len(), |(at, _)| range.end + at + 1);
    (start..end, text[..start].bytes().filter(|byte| *byte == b'\n').count() + 1)
}
