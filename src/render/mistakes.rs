//! What is wrong with a component's templates, each with its place: without rendering them expressions that are glued
//! to text, and what is no template at all; with it why they cannot be rendered.

use std::ops::Range;
use std::sync::Arc;

use super::{RenderError, environment, job, template};
use crate::model::catalogue;
use crate::model::component::Resolved;
use crate::model::finding::{Finding, Source};

/// The mistakes in the templates that a component names.
pub(crate) fn mistakes(known: &catalogue::Known) -> Vec<Finding> {
    let component = &known.component;
    let source = &component.source;
    let named = source.templates.iter().flatten().chain(&source.values).chain(&component.resources);
    let texts = named.filter_map(|name| {
        let text = std::str::from_utf8(known.files.get(name)?).ok()?;
        Some(Arc::new(Source { name: format!("{}{name}", known.folder), text: text.to_owned() }))
    });
    texts.flat_map(|source| in_template(&source)).collect()
}

impl RenderError {
    /// The error at its line in the component's folder, where it has one.
    pub(crate) fn finding(self, components: &[Resolved]) -> Finding {
        let resolved = components.iter().find(|resolved| resolved.component.name == self.component);
        let place = self.file.as_ref().zip(self.line).and_then(|(file, line)| {
            let resolved = resolved?;
            let text = std::str::from_utf8(resolved.files.get(file)?).ok()?;
            let source = Source { name: format!("{}{file}", resolved.folder), text: text.to_owned() };
            let place = in_line(text, usize::try_from(line).ok()?, 0..usize::MAX);
            Some((Arc::new(source), place))
        });
        let message = match place {
            Some(_) => format!("component `{}`: {}", self.component, self.problem),
            None => self.to_string(),
        };
        let mut finding = Finding::error(self.code.0, message);
        finding.hint = self.hint;
        match place {
            Some((source, place)) => finding.on(&source, place),
            None => finding,
        }
    }
}

fn in_template(source: &Arc<Source>) -> Vec<Finding> {
    let faults = template::check(&source.text);
    if !faults.is_empty() {
        let finding = |fault: template::TemplateFault| {
            let place = in_line(&source.text, fault.line, fault.columns);
            Finding::error(2003, fault.problem).on(source, place).hinted(fault.fix)
        };
        return faults.into_iter().map(finding).collect();
    }
    let Err(error) = environment().template_from_named_str(&source.name, &source.text).map(drop) else {
        return Vec::new();
    };
    let line = error.line().unwrap_or(1);
    let place = in_line(&source.text, line, 0..usize::MAX);
    let finding = Finding::error(2004, job::message_of(&error)).on(source, place);
    vec![finding.hinted("check `{{`, `{%` and what ends them here and above")]
}

/// Columns of a line, as a place in the text: from where the line's text begins.
fn in_line(text: &str, line: usize, columns: Range<usize>) -> Range<usize> {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let line = text[start..].lines().next().unwrap_or_default();
    let indent = line.len() - line.trim_start().len();
    start + columns.start.clamp(indent, line.len())..start + columns.end.min(line.len())
}
