//! Go's `text/template`: reading templates into trees.

pub(crate) mod ast;
mod lex;
mod literal;
pub(crate) mod parse;
