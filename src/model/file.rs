//! A user's file as a typed value, as far as it can be read: what has the wrong form is found and left out, so that
//! the meaning of the rest can be checked, too.

use std::ops::Range;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::finding::{Finding, MOST, Source};
use super::schema::FileKind;
use super::suggest::did_you_mean;
use super::yaml::{self, Node, NodeValue};

/// How many mistakes that the schema does not see are looked for, one after the other.
const ROUNDS: usize = 16;

/// A file's values with their places.
#[derive(Debug)]
pub(super) struct Tree {
    /// The file.
    pub(super) source: Arc<Source>,
    /// Its values, without what was left out.
    pub(super) root: Node,
    /// The places of what was left out.
    left_out: Vec<Range<usize>>,
    /// All that was written.
    written: Node,
}

/// A file, and what it says.
#[derive(Debug)]
pub(super) struct Parsed<T> {
    /// What it says. Required keys that are missing or wrong have values that stand in for them.
    pub(super) value: T,
    /// Where it says so.
    pub(super) tree: Tree,
}

impl Tree {
    /// Takes out what is only found because something was left out.
    pub(super) fn keep_own(&self, findings: &mut Vec<Finding>) {
        let caused = |finding: &Range<usize>| {
            self.left_out.iter().any(|left| self.root.holds(&self.source, finding, left))
        };
        findings.retain(|found| {
            let place = found.place.as_ref().filter(|(source, _)| Arc::ptr_eq(source, &self.source));
            !place.is_some_and(|(_, range)| caused(range))
        });
    }

    /// Whether a key at the top may be missing only because it, or what may have been meant as it, was left out.
    pub(super) fn is_lost(&self, key: &str) -> bool {
        let whole = self.source.first_line(&self.written.range);
        let NodeValue::Map(entries) = &self.written.value else { return true };
        self.left_out.iter().filter(|left| **left != whole).any(|left| {
            let holder = entries.iter().find(|(name, node)| {
                *left == name.range || node.range.start <= left.start && left.end <= node.range.end
            });
            holder.is_none_or(|(name, _)| name.text == key || !did_you_mean(&name.text, [key]).is_empty())
        })
    }

    /// Leaves out what findings are about; `false`: nothing can be left of the file, or nothing went.
    fn leave_out(&mut self, findings: &[Finding]) -> bool {
        let places: Vec<_> =
            findings.iter().filter_map(|found| Some(found.place.as_ref()?.1.clone())).collect();
        let whole = self.source.first_line(&self.root.range);
        let parts: Vec<_> = places.iter().filter(|place| **place != whole).cloned().collect();
        let Some(rest) = self.root.without(&self.source, &parts) else { return false };
        let less = rest != self.root || parts.len() < places.len();
        self.root = rest;
        self.left_out.extend(places);
        less
    }

    /// Puts values in the place of required keys that are not there.
    fn stand_in(&mut self, kind: FileKind, name: &str) {
        let written = &self.written;
        let NodeValue::Map(entries) = &mut self.root.value else { return };
        for (key, value) in kind.required(name) {
            if !entries.iter().any(|(known, _)| known.text == key) {
                let range = written.get(key).map_or(&written.range, |node| &node.range).clone();
                let value = NodeValue::Scalar(Value::String(value.to_owned()));
                entries
                    .push((yaml::Key { text: key.to_owned(), range: range.clone() }, Node { range, value }));
            }
        }
    }
}

impl<T: DeserializeOwned> Parsed<T> {
    /// Reads a file that is to have a name, where its kind has one; with all mistakes of its form.
    pub(super) fn read(
        kind: FileKind,
        bytes: &[u8],
        shown: &str,
        name: &str,
    ) -> (Option<Self>, Vec<Finding>) {
        let yaml::Read { source, root, mut findings, left_out } = yaml::read(bytes, shown);
        let Some(written) = root else { return (None, findings) };
        let Some(root) = written.without(&source, &left_out) else { return (None, findings) };
        let is_mapping = matches!(root.value, NodeValue::Map(_));
        let mut tree = Tree { source, root, left_out, written };
        let mut form = kind.check(&tree.source, &tree.root);
        tree.keep_own(&mut form);
        let readable = form.is_empty() || tree.leave_out(&form);
        findings.extend(form);
        // A file that is wrong everywhere is not worth the time.
        if !readable || !is_mapping || findings.len() >= MOST {
            return (None, findings);
        }
        for _ in 0..ROUNDS {
            tree.stand_in(kind, name);
            let mistake = match serde_path_to_error::deserialize(tree.root.to_json()) {
                Ok(value) => return (Some(Self { value, tree }), findings),
                Err(error) => mistake(&error, &tree),
            };
            let mut mistakes = vec![mistake];
            // What lacks a key that was left out goes, too, and is no mistake of its own.
            let caused = mistakes.clone();
            tree.keep_own(&mut mistakes);
            let less = tree.leave_out(&caused);
            findings.append(&mut mistakes);
            if !less {
                break;
            }
        }
        (None, findings)
    }
}

/// A mistake that the schema does not see.
fn mistake(error: &serde_path_to_error::Error<serde_json::Error>, tree: &Tree) -> Finding {
    let path = error.path().iter().map(|segment| match segment {
        serde_path_to_error::Segment::Seq { index } => index.to_string(),
        other => other.to_string(),
    });
    let path: Vec<String> = path.collect();
    let node = tree.root.at(path.iter().map(String::as_str));
    let key = path.iter().rfind(|step| step.parse::<usize>().is_err());
    let what = key.map_or_else(|| "the file".to_owned(), |key| format!("`{key}`"));
    let finding = match &node.value {
        NodeValue::Scalar(Value::Number(number)) if number.is_f64() => {
            Finding::error(1108, format!("{what} must be a whole number, not `{number}`"))
                .hinted("write it without a decimal point")
        }
        _ => Finding::error(1108, format!("{what}: {}", error.inner())),
    };
    finding.on(&tree.source, node.range.clone())
}
