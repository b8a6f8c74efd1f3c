//! The kinds that the server knows: a table of the built-in ones (`kinds.txt`), and what a CRD adds.
//! `kinds.txt` has one line a kind: group, version, kind, plural, flags, short names. Flags: `n`amespaced or
//! `c`luster-wide, has a `s`tatus subresource, counts its `g`enerations, is in the category `a`ll.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::apply::{Shape, shape_of_builtin};
use crate::types;

/// Names where objects are stored: all versions of a kind share one place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ResourceId {
    pub(crate) group: String,
    pub(crate) plural: String,
}

/// One kind in one version.
#[derive(Debug)]
#[expect(
    clippy::struct_field_names,
    clippy::struct_excessive_bools,
    reason = "the names and flags of the API's own discovery"
)]
pub(crate) struct Kind {
    pub(crate) id: Arc<ResourceId>,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) singular: String,
    pub(crate) namespaced: bool,
    /// Has a status subresource.
    pub(crate) status: bool,
    /// Counts changes of its spec in `metadata.generation`.
    pub(crate) generation: bool,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    /// Was defined by a CRD.
    pub(crate) custom: bool,
    /// What a custom resource may hold: the schema of its version.
    pub(crate) schema: Option<Value>,
    /// The type of a built-in kind, in the table of types.
    pub(crate) type_name: Option<&'static str>,
    /// How its lists and maps merge.
    pub(crate) shape: Arc<Shape>,
    /// What every object of it starts with: `{"apiVersion":"…","kind":"…",`.
    pub(crate) prefix: Bytes,
}

impl Kind {
    /// Answers the group, empty for the core one.
    pub(crate) fn group(&self) -> &str {
        &self.id.group
    }

    /// Answers the plural name, as in URLs.
    pub(crate) fn plural(&self) -> &str {
        &self.id.plural
    }

    /// Answers `group/version`, or the version alone for the core group.
    pub(crate) fn api_version(&self) -> String {
        api_version(self.group(), &self.version)
    }

    /// Answers `plural.group`, as error messages name resources.
    pub(crate) fn qualified(&self) -> String {
        if self.group().is_empty() {
            self.plural().to_owned()
        } else {
            format!("{}.{}", self.plural(), self.group())
        }
    }

    /// Answers `Kind.group`, as error messages name kinds.
    pub(crate) fn qualified_kind(&self) -> String {
        if self.group().is_empty() { self.kind.clone() } else { format!("{}.{}", self.kind, self.group()) }
    }

    /// Tells whether it is this built-in kind.
    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.group() == group && self.plural() == plural
    }
}

/// Joins a group and a version as `apiVersion` has them.
pub(crate) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// Makes the start that all objects of a kind share.
pub(crate) fn prefix(api_version: &str, kind: &str) -> Bytes {
    Bytes::from(format!(r#"{{"apiVersion":"{api_version}","kind":"{kind}","#))
}

/// What is served, by group, version and plural.
pub(crate) type Kinds = BTreeMap<(String, String, String), Arc<Kind>>;

/// Reads the table of built-in kinds.
pub(crate) fn builtin() -> Kinds {
    include_str!("kinds.txt").lines().filter_map(parse).map(|kind| (key(&kind), Arc::new(kind))).collect()
}

/// Tells whether the server itself serves a group, whatever the kind.
pub(crate) fn is_builtin_group(group: &str) -> bool {
    let name = if group.is_empty() { "-" } else { group };
    include_str!("kinds.txt").lines().any(|line| line.split(' ').next() == Some(name))
}

/// Answers the key under which a kind is served.
pub(crate) fn key(kind: &Kind) -> (String, String, String) {
    (kind.group().to_owned(), kind.version.clone(), kind.plural().to_owned())
}

fn parse(line: &str) -> Option<Kind> {
    let mut words = line.split_whitespace();
    let group = words.next().map(|group| if group == "-" { "" } else { group })?;
    let (version, kind, plural, flags) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let type_name = types::of_kind(group, kind);
    Some(Kind {
        id: Arc::new(ResourceId { group: group.to_owned(), plural: plural.to_owned() }),
        version: version.to_owned(),
        kind: kind.to_owned(),
        list_kind: format!("{kind}List"),
        singular: kind.to_lowercase(),
        namespaced: flags.contains('n'),
        status: flags.contains('s'),
        generation: flags.contains('g'),
        short_names: words.next().into_iter().flat_map(|names| names.split(',')).map(str::to_owned).collect(),
        categories: flags.contains('a').then(|| "all".to_owned()).into_iter().collect(),
        custom: false,
        schema: None,
        type_name,
        shape: shape_of_builtin(type_name.unwrap_or(kind)),
        prefix: prefix(&api_version(group, version), kind),
    })
}
