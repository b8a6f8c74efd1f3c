//! A fast reader of YAML 1.1 as libyaml reads it, and with it goyaml, kubectl
//! and Helm. It finds the structure and the text of scalars, and hands them to
//! a [`Visitor`]; what a plain scalar means (`yes`, `0644`) is the visitor's. A
//! [`Builder`] is the visitor of readers that make values.
//!
//! A recursive descent over bytes instead of libyaml's queue of tokens: single
//! lines, which nearly all scalars are, are borrowed from the input.

mod block;
mod build;
mod cursor;
mod flow;
mod rest;
mod scalar;

use std::borrow::Cow;
use std::fmt;

pub use build::{Alias, Builder, Values, is_float};
use cursor::Cursor;

/// Why a text is not YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The line, from 1.
    pub line: u64,
    /// The column, from 1, in bytes.
    pub column: u64,
    /// What is wrong there.
    pub problem: Cow<'static, str>,
    /// The line, from 1, up to which was read when it was noticed: that a key has no `:` is noticed after it. The end of
    /// the text is on a line of its own.
    pub noticed: u64,
}

impl Error {
    fn at((line, column): block::Place, problem: impl Into<Cow<'static, str>>) -> Self {
        Self { line, column, problem: problem.into(), noticed: line }
    }

    /// The same, noticed at another place.
    fn noticed(self, cursor: &Cursor<'_>) -> Self {
        let ended = cursor.is_end() && cursor.column() > 0;
        Self { noticed: cursor.line + 1 + u64::from(ended), ..self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for Error {}

/// How a scalar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Without quotes: its type is resolved from its text.
    Plain,
    /// `'…'`
    SingleQuoted,
    /// `"…"`
    DoubleQuoted,
    /// `|`
    Literal,
    /// `>`
    Folded,
}

/// Anchor and tag of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties<'a> {
    /// The name after `&`.
    pub anchor: Option<&'a str>,
    /// The tag, with `!!` written out as `tag:yaml.org,2002:`.
    pub tag: Option<String>,
}

/// Takes the nodes of a stream, in order. A visitor may refuse with words,
/// which become an [`Error`] with the place.
pub trait Visitor<'a> {
    /// A document begins; `line` is that of its first node, from 1.
    fn document(&mut self, line: u64);
    /// The document ends.
    fn document_end(&mut self);
    /// Whether the text of the scalar that comes next is looked at: the text of a block scalar that is not may be empty.
    fn wants_text(&self) -> bool {
        true
    }
    /// A scalar. A node that is not there is an empty plain one.
    fn scalar(&mut self, text: Cow<'a, str>, style: Style, properties: Properties<'a>) -> Result<(), String>;
    /// A sequence begins.
    fn sequence(&mut self, properties: Properties<'a>) -> Result<(), String>;
    /// It ends.
    fn sequence_end(&mut self) -> Result<(), String>;
    /// A mapping begins: keys and values follow in turn.
    fn mapping(&mut self, properties: Properties<'a>) -> Result<(), String>;
    /// It ends.
    fn mapping_end(&mut self) -> Result<(), String>;
    /// The node that an anchor named before.
    fn alias(&mut self, name: &'a str) -> Result<(), String>;
}

/// Reads a stream of documents. `depth` is the deepest nesting allowed.
///
/// # Errors
/// Where the text is not YAML, is nested deeper, or the visitor refuses.
pub fn read<'a>(text: &'a str, depth: usize, visitor: &mut impl Visitor<'a>) -> Result<(), Error> {
    let cursor = Cursor::new(text);
    cursor.check_characters()?;
    block::stream(&mut block::Reader { cursor, visitor, depth, began: (1, 1) })
}
