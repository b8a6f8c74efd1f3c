//! What a template is made of (Go's `text/template/parse`).

use std::cell::Cell;
use std::rc::Rc;

/// A place in a template's text, in bytes.
pub(crate) type Position = u32;

/// A part of a template's text, in bytes. Names stay where they are written:
/// a tree of few allocations is read, and thrown away, several times as fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Where it starts.
    pub(crate) at: Position,
    /// How long it is.
    pub(crate) length: Position,
}

impl Span {
    /// What is written there.
    pub(crate) fn of(self, source: &str) -> &str {
        source.get(self.at as usize..self.end() as usize).unwrap_or_default()
    }

    /// Where it ends.
    pub(crate) fn end(self) -> Position {
        self.at.saturating_add(self.length)
    }
}

/// A named template.
#[derive(Debug)]
pub(crate) struct Template {
    /// The file that it is written in.
    pub(crate) file: Rc<str>,
    /// Its name: the file, or what `define` says.
    pub(crate) name: Rc<str>,
    /// The file's text, from which lines and columns are counted.
    pub(crate) source: Rc<str>,
    /// What it does.
    pub(crate) body: Vec<Node>,
    /// How often it is being included just now.
    pub(crate) including: Cell<usize>,
}

impl Template {
    /// Line and column of a position, from 1.
    pub(crate) fn place(&self, position: Position) -> (usize, usize) {
        place(&self.source, position)
    }

    /// A part of its text.
    pub(crate) fn text(&self, span: Span) -> &str {
        span.of(&self.source)
    }

    /// Whether it has nothing but white space and definitions.
    pub(crate) fn is_empty(&self) -> bool {
        self.body.iter().all(|node| match node {
            Node::Text(span) => self.text(*span).trim_ascii().is_empty(),
            _ => false,
        })
    }
}

/// Line and column of a position in a text, from 1.
pub(crate) fn place(source: &str, position: Position) -> (usize, usize) {
    let before = source.get(..position as usize).unwrap_or(source);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before.len() - line_start + 1)
}

/// A part of a template.
#[derive(Debug)]
pub(crate) enum Node {
    /// Text between actions.
    Text(Span),
    /// `{{ pipeline }}`
    Action(Pipe),
    /// `{{ if }}`
    If(Box<Branch>),
    /// `{{ with }}`
    With(Box<Branch>),
    /// `{{ range }}`
    Range(Box<Branch>),
    /// `{{ template "name" pipeline }}`; the span is up to the name.
    Template { span: Span, name: Rc<str>, pipe: Option<Box<Pipe>> },
    /// `{{ break }}`
    Break(Span),
    /// `{{ continue }}`
    Continue(Span),
}

/// `if`, `with` and `range`.
#[derive(Debug)]
pub(crate) struct Branch {
    /// What decides.
    pub(crate) pipe: Pipe,
    /// What is done.
    pub(crate) body: Vec<Node>,
    /// What is done otherwise.
    pub(crate) otherwise: Option<Vec<Node>>,
}

/// Commands, each of which takes the result of the one before.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// Where it is written, without braces and parentheses.
    pub(crate) span: Span,
    /// The variables that it sets, with their `$`.
    pub(crate) variables: Vec<Span>,
    /// `=` instead of `:=`.
    pub(crate) assigns: bool,
    /// The first command.
    pub(crate) first: Command,
    /// Those after it.
    pub(crate) rest: Vec<Command>,
}

/// An operand with arguments.
#[derive(Debug)]
pub(crate) struct Command {
    /// Where it is written.
    pub(crate) span: Span,
    /// The operand.
    pub(crate) operand: Operand,
    /// Its arguments.
    pub(crate) arguments: Vec<Operand>,
}

/// An operand.
#[derive(Debug)]
pub(crate) struct Operand {
    /// Where it is written.
    pub(crate) span: Span,
    /// What it is.
    pub(crate) kind: OperandKind,
}

/// A numeric constant; which of Go's kinds it can be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number {
    /// As an integer.
    pub(crate) int: Option<i64>,
    /// As an unsigned integer.
    pub(crate) uint: Option<u64>,
    /// As a float.
    pub(crate) float: f64,
    /// Whether it is written as a float, and so is one where any type will do.
    pub(crate) is_float: bool,
}

/// What an operand is.
#[derive(Debug)]
pub(crate) enum OperandKind {
    /// `.`
    Dot,
    /// `nil`
    Nil,
    /// `true`, `false`
    Bool(bool),
    /// `1`, `0x1f`, `1.5`, `'a'`
    Number(Box<Number>),
    /// `"text"`
    Text(Rc<str>),
    /// `.a.b`
    Field,
    /// `$x.a.b`
    Variable,
    /// A function, by its place in the table.
    Function(&'static crate::funcs::Function),
    /// `( pipeline )`
    Pipe(Box<Pipe>),
    /// An operand with fields, which the span is of: `(…).a.b`.
    Chain(Box<Operand>, Span),
}
