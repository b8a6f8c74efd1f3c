//! Findings for people: each with its line, a caret, and what to do.

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
            Some((source, range)) => title.element(
                Snippet::source(source.text.as_str())
                    .path(source.name.as_str())
                    .annotation(AnnotationKind::Primary.span(range.clone()).label(found.label.as_str())),
            ),
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
