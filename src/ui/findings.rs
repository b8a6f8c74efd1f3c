//! Findings for people: each with its line, a caret, and what to do.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::text::clean_block;
use crate::model::finding::{self, Finding};

/// Renders findings without colour, each followed by an empty line.
pub(crate) fn render(findings: &[Finding]) -> String {
    let renderer = Renderer::plain();
    let mut text = String::new();
    for found in findings {
        let level = match found.level {
            finding::Level::Error => Level::ERROR,
            finding::Level::Warning => Level::WARNING,
        };
        let code = found.code.to_string();
        let title = level.primary_title(found.message.as_str()).id(code.as_str());
        let mut group = match &found.place {
            Some((source, range)) => {
                let (lines, first) = lines(&source.text, range);
                let span = range.start - lines.start..range.end - lines.start;
                title.element(
                    Snippet::source(&source.text[lines])
                        .line_start(first)
                        .path(source.name.as_str())
                        .annotation(AnnotationKind::Primary.span(span).label(found.label.as_str())),
                )
            }
            None => title.elements(Vec::<annotate_snippets::Element<'_>>::new()),
        };
        if let Some(hint) = &found.hint {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        text.push_str(&clean_block(&renderer.render(&[group]), false));
        text.push_str("\n\n");
    }
    text
}

/// The whole lines around a range, and the number of the first one. The renderer would go through all of a large file
/// for each finding.
fn lines(text: &str, range: &Range<usize>) -> (Range<usize>, usize) {
    let start = text[..range.start].rfind('\n').map_or(0, |at| at + 1);
    // One line more: a range may end with its line, or with the text.
    let end = text[range.end..].match_indices('\n').nth(1).map_or(text.len(), |(at, _)| range.end + at + 1);
    (start..end, text[..start].bytes().filter(|byte| *byte == b'\n').count() + 1)
}
