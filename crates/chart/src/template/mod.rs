//! Go's `text/template`: reading templates into trees.

pub(crate) mod ast;
mod lex;
pub(crate) mod parse;
