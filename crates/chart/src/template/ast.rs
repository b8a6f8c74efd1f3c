//! What a template is made of (Go's `text/template/parse`).

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

/// A place in a template's text, in bytes.
pub(crate) type Position = u32;

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
    pub(crate) fn text(&self, from: Position, length: Position) -> &str {
        let from = from as usize;
        self.source.get(from..from + length as usize).unwrap_or_default()
    }

    /// Whether it has nothing but white space and definitions.
    pub(crate) fn is_empty(&self) -> bool {
        self.body.iter().all(|node| match node {
            Node::Text { position, length } => self.text(*position, *length).trim_ascii().is_empty(),
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
    /// Text between actions: where it is in the template's, in bytes.
    Text { position: Position, length: Position },
    /// `{{ pipeline }}`
    Action(Pipe),
    /// `{{ if }}`
    If(Branch),
    /// `{{ with }}`
    With(Branch),
    /// `{{ range }}`
    Range(Branch),
    /// `{{ template "name" pipeline }}`
    Template { position: Position, name: Rc<str>, pipe: Option<Pipe> },
    /// `{{ break }}`
    Break(Position),
    /// `{{ continue }}`
    Continue(Position),
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
    /// Where it starts.
    pub(crate) position: Position,
    /// The variables that it sets, with their `$`.
    pub(crate) variables: Vec<Rc<str>>,
    /// `=` instead of `:=`.
    pub(crate) assigns: bool,
    /// The commands. Never empty.
    pub(crate) commands: Vec<Command>,
}

/// An operand with arguments.
#[derive(Debug)]
pub(crate) struct Command {
    /// Where it starts.
    pub(crate) position: Position,
    /// The operand and its arguments. Never empty.
    pub(crate) operands: Vec<Operand>,
}

/// An operand.
#[derive(Debug)]
pub(crate) struct Operand {
    /// Where it starts.
    pub(crate) position: Position,
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
    Number(Number, Rc<str>),
    /// `"text"`
    Text(Rc<str>, Rc<str>),
    /// `.a.b`
    Field(Vec<Rc<str>>),
    /// `$x.a.b`; the name with its `$`.
    Variable(Rc<str>, Vec<Rc<str>>),
    /// A function, by its place in the table.
    Function(&'static crate::funcs::Function),
    /// `( pipeline )`
    Pipe(Box<Pipe>),
    /// An operand with fields: `(…).a.b`.
    Chain(Box<Operand>, Vec<Rc<str>>),
}

fn fields(f: &mut fmt::Formatter<'_>, fields: &[Rc<str>]) -> fmt::Result {
    fields.iter().try_for_each(|field| write!(f, ".{field}"))
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            OperandKind::Dot => f.write_str("."),
            OperandKind::Nil => f.write_str("nil"),
            OperandKind::Bool(value) => write!(f, "{value}"),
            OperandKind::Number(_, written) | OperandKind::Text(_, written) => f.write_str(written),
            OperandKind::Field(names) => fields(f, names),
            OperandKind::Variable(name, names) => {
                f.write_str(name)?;
                fields(f, names)
            }
            OperandKind::Function(function) => f.write_str(function.name),
            OperandKind::Pipe(pipe) => write!(f, "({pipe})"),
            OperandKind::Chain(operand, names) => {
                write!(f, "{operand}")?;
                fields(f, names)
            }
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, operand) in self.operands.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{operand}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            f.write_str(&self.variables.join(", "))?;
            f.write_str(if self.assigns { " = " } else { " := " })?;
        }
        for (index, command) in self.commands.iter().enumerate() {
            if index > 0 {
                f.write_str(" | ")?;
            }
            write!(f, "{command}")?;
        }
        Ok(())
    }
}
