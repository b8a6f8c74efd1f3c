//! What is wrong with a component's templates, each with its place: without rendering them expressions that are glued
//! to text, and what is no template at all; with it why they cannot be rendered.

use std::ops::Range;
use std::sync::Arc;

use super::{RenderError, environment, job, template};
use crate::code::Code;
use crate::model::catalogue;
use crate::model::component::Resolved;
use crate::model::finding::{Finding, Place, Source};
use crate::model::object::ObjectId;

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

/// Where something stands in a component's files.
pub(super) struct Written<'a> {
    /// The file in its folder.
    pub(super) file: &'a str,
    /// The line, from 1.
    pub(super) line: u64,
    /// The bytes of the file.
    range: Range<usize>,
}

/// Where an object is written in a component's own files, as far as its kind stands there word by word: first to last.
/// Where its name is put together by a template, it is where no other name stands.
pub(super) fn places<'a>(resolved: &'a Resolved, id: &ObjectId) -> Vec<Written<'a>> {
    let Resolved { component, files, .. } = resolved;
    let manifest = component.source.manifest.as_ref().and_then(|manifest| manifest.file.as_ref());
    let named = component.source.templates.iter().flatten().chain(&component.resources).chain(manifest);
    let kind = format!("kind: {}", id.kind.kind);
    let (mut by_name, mut others) = (Vec::new(), Vec::new());
    for file in named {
        let Some(text) = files.get(file).and_then(|bytes| std::str::from_utf8(bytes).ok()) else { continue };
        // A CustomResourceDefinition names the kind that it defines, too, and its group without a version.
        let group = format!("{}/", id.kind.group);
        let mut start = 0;
        for document in text.split_inclusive("\n---") {
            let found = document.match_indices(&kind).map(|(at, _)| at).find(|at| {
                let next = document[at + kind.len()..].chars().next();
                next.is_none_or(|next| !next.is_alphanumeric())
            });
            let is_of_group = id.kind.group.is_empty() || document.contains(&group);
            if let Some(at) = found.filter(|_| is_of_group) {
                let range = start + at..start + at + kind.len();
                let line = text[..range.start].matches('\n').count() as u64 + 1;
                let written = Written { file, line, range };
                let is_named = document.contains(id.name.as_str());
                let known = if is_named { &mut by_name } else { &mut others };
                known.push(written);
            }
            start += document.len();
        }
    }
    match (by_name.is_empty(), others.len()) {
        (true, 1) => others,
        _ => by_name,
    }
}

/// Where an object is written, for findings.
pub(crate) fn written(resolved: &Resolved, id: &ObjectId) -> Option<Place> {
    let Written { file, range, .. } = places(resolved, id).into_iter().next()?;
    Some((source(resolved, file)?, range))
}

/// Where a word stands in `component.yaml`, behind a key.
pub(crate) fn in_contract(resolved: &Resolved, key: &str, word: &str) -> Option<Place> {
    let source = source(resolved, "component.yaml")?;
    let from = source.text.find(key)?;
    let at = from + source.text.get(from..)?.find(word)?;
    Some((source, at..at + word.len()))
}

/// A file of a component, as findings show it.
fn source(resolved: &Resolved, file: &str) -> Option<Arc<Source>> {
    let text = std::str::from_utf8(resolved.files.get(file)?).ok()?;
    Some(Arc::new(Source { name: format!("{}{file}", resolved.folder), text: text.to_owned() }))
}

impl RenderError {
    /// The error at its line in the component's folder, where it has one.
    pub(crate) fn finding(self, components: &[Resolved]) -> Finding {
        let resolved = components.iter().find(|resolved| resolved.component.name == self.component);
        let place = self.file.as_ref().zip(self.line).and_then(|(file, line)| {
            let source = source(resolved?, file)?;
            let line = usize::try_from(line).ok()?;
            let place = match self.code {
                // The place is the message's own: the same problem stands nowhere else on the line.
                GLUED => template::check(&source.text)
                    .into_iter()
                    .find(|fault| fault.line == line && fault.problem == self.problem)
                    .map(|fault| in_line(&source.text, line, fault.columns)),
                _ => None,
            };
            let place = place.unwrap_or_else(|| in_line(&source.text, line, only_tag(&source.text, line)));
            Some((source, place))
        });
        let message = match place {
            // What is seen without rendering is said in the same words as there.
            Some(_) if self.code == GLUED => self.problem,
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

/// The code of expressions that are glued to text.
const GLUED: Code = Code(2003);

fn in_template(source: &Arc<Source>) -> Vec<Finding> {
    let faults = template::check(&source.text);
    let glued = faults.into_iter().map(|fault| {
        let place = in_line(&source.text, fault.line, fault.columns);
        Finding::error(GLUED.0, fault.problem).on(source, place).hinted(fault.fix)
    });
    let mut found: Vec<Finding> = glued.collect();
    if let Err(error) = environment().template_from_named_str(&source.name, &source.text).map(drop) {
        let line = error.line().unwrap_or(1);
        let place = in_line(&source.text, line, only_tag(&source.text, line));
        let finding = Finding::error(2004, job::message_of(&error)).on(source, place);
        found.push(finding.hinted("check `{{`, `{%` and what ends them here and above"));
    }
    found
}

/// The columns of the one expression or tag on a line; the whole line where there are several, or none.
fn only_tag(text: &str, line: usize) -> Range<usize> {
    let whole = 0..usize::MAX;
    let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let opens = |from: usize| {
        let all = ["{{", "{%"].iter().filter_map(|open| Some(from + line.get(from..)?.find(open)?));
        all.min()
    };
    let Some(start) = opens(0) else { return whole };
    if opens(start + 2).is_some() {
        return whole;
    }
    let close = if line[start..].starts_with("{{") { "}}" } else { "%}" };
    line[start..].find(close).map_or(whole, |end| start..start + end + close.len())
}

/// Columns of a line, as a place in the text: from where the line's text begins.
fn in_line(text: &str, line: usize, columns: Range<usize>) -> Range<usize> {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let line = text[start..].lines().next().unwrap_or_default();
    let indent = line.len() - line.trim_start().len();
    start + columns.start.clamp(indent, line.len())..start + columns.end.min(line.len())
}
