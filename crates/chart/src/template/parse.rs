//! From tokens to trees (Go's `text/template/parse/parse.go`).

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;

use super::ast::{Branch, Command, Node, Operand, OperandKind, Pipe, Position, Span, Template, place};
use super::lex::{Kind, Token, lex};
use super::literal::{number, unescape};
use crate::error::Error;
use crate::funcs;

/// The deepest nesting of actions and parentheses.
const DEEPEST: usize = 200;

/// Reads a file: its own template, and those that it defines. The file's own
/// is the last.
pub(crate) fn parse(
    file: &Rc<str>,
    name: &Rc<str>,
    source: &str,
    left: &mut usize,
) -> Result<Vec<Rc<Template>>, Error> {
    let source: Rc<str> = Rc::from(source);
    let tokens = lex(&source, *left).map_err(|error| at(file, &source, error.at, error.problem))?;
    *left -= tokens.len().min(*left);
    let mut parser = Parser {
        file,
        source: &source,
        tokens: &tokens,
        next: 0,
        variables: vec!["$"],
        defined: Vec::new(),
        ranges: 0,
        depth: 0,
    };
    let (body, end) = parser.list(true)?;
    match end {
        End::Text => {}
        End::Else(position) => return Err(parser.error_at(position, "unexpected {{else}}")),
        End::Closed(position) => return Err(parser.error_at(position, "unexpected {{end}}")),
    }
    let own = Template {
        file: Rc::clone(file),
        name: Rc::clone(name),
        source: Rc::clone(&source),
        body,
        including: Cell::default(),
    };
    let same = parser.defined.iter().position(|known| known.name == own.name && !known.is_empty());
    let own = match same {
        None => Rc::new(own),
        // It defines itself, and has nothing else.
        Some(at) if own.is_empty() => parser.defined.remove(at),
        Some(_) => {
            let problem = format!("multiple definition of template {:?}", own.name);
            return Err(parser.error_at(parser.peek().at, problem));
        }
    };
    let mut defined = parser.defined;
    defined.push(own);
    Ok(defined)
}

fn at(file: &str, source: &str, position: Position, problem: String) -> Error {
    let (line, column) = place(source, position);
    Error::Parse { file: file.to_owned(), line, column, problem }
}

/// What ended a list of nodes.
enum End {
    Text,
    /// After `{{else`: the rest of the action is still to be read.
    Else(Position),
    Closed(Position),
}

struct Parser<'a> {
    file: &'a Rc<str>,
    source: &'a Rc<str>,
    tokens: &'a [Token<'a>],
    next: usize,
    variables: Vec<&'a str>,
    defined: Vec<Rc<Template>>,
    /// Loops around this place.
    ranges: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        let end = Token {
            kind: Kind::End,
            at: Position::try_from(self.source.len()).unwrap_or(Position::MAX),
            text: "",
        };
        self.tokens.get(self.next).copied().unwrap_or(end)
    }

    fn take(&mut self) -> Token<'a> {
        let token = self.peek();
        self.next += 1;
        token
    }

    fn text(&self, span: Span) -> &'a str {
        span.of(self.source)
    }

    /// From a place to the end of the token that was taken last.
    fn since(&self, at: Position) -> Span {
        let last = self.next.checked_sub(1).and_then(|last| self.tokens.get(last));
        Span { at, length: last.map_or(at, |token| token.span().end()).saturating_sub(at) }
    }

    fn skip_space(&mut self) {
        while self.peek().kind == Kind::Space {
            self.next += 1;
        }
    }

    fn peek_solid(&mut self) -> Token<'a> {
        self.skip_space();
        self.peek()
    }

    fn take_solid(&mut self) -> Token<'a> {
        self.skip_space();
        self.take()
    }

    fn error_at(&self, position: Position, problem: impl Into<String>) -> Error {
        at(self.file, self.source, position, problem.into())
    }

    fn unexpected(&self, token: Token<'_>, context: &str) -> Error {
        let what = match token.kind {
            Kind::End => "unexpected end of the template".to_owned(),
            Kind::Close => "unexpected \"}}\"".to_owned(),
            _ => format!("unexpected {:?}", token.text),
        };
        self.error_at(token.at, format!("{what} in {context}"))
    }

    fn deeper(&mut self, position: Position) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > DEEPEST { Err(self.error_at(position, "nested too deep")) } else { Ok(()) }
    }

    /// Reads nodes up to `{{else}}`, `{{end}}`, or the end of the text.
    fn list(&mut self, top: bool) -> Result<(Vec<Node>, End), Error> {
        let mut nodes = Vec::new();
        loop {
            let token = self.take();
            match token.kind {
                Kind::End => {
                    if !top {
                        return Err(
                            self.error_at(token.at, "unexpected end of the template: an {{end}} is missing")
                        );
                    }
                    return Ok((nodes, End::Text));
                }
                Kind::Text => nodes.push(Node::Text(self.since(token.at))),
                _ => {
                    let word = self.peek_solid();
                    if word.kind == Kind::Word {
                        match word.text {
                            "end" => {
                                self.next += 1;
                                self.close("end")?;
                                return Ok((nodes, End::Closed(word.at)));
                            }
                            "else" => {
                                self.next += 1;
                                return Ok((nodes, End::Else(word.at)));
                            }
                            "define" => {
                                if !top {
                                    return Err(self.unexpected(word, "{{define}} clause"));
                                }
                                self.next += 1;
                                self.define()?;
                                continue;
                            }
                            _ => {}
                        }
                    }
                    nodes.push(self.action()?);
                }
            }
        }
    }

    fn close(&mut self, context: &str) -> Result<(), Error> {
        let token = self.take_solid();
        if token.kind == Kind::Close { Ok(()) } else { Err(self.unexpected(token, context)) }
    }

    fn name(&mut self, context: &str) -> Result<Rc<str>, Error> {
        let token = self.take_solid();
        match token.kind {
            Kind::Text2 | Kind::Raw => Ok(Rc::from(&*self.unquote(token)?)),
            _ => Err(self.unexpected(token, context)),
        }
    }

    fn define(&mut self) -> Result<(), Error> {
        let name = self.name("define clause")?;
        self.close("define clause")?;
        self.definition(name)
    }

    fn definition(&mut self, name: Rc<str>) -> Result<(), Error> {
        let variables = std::mem::replace(&mut self.variables, vec!["$"]);
        let ranges = std::mem::take(&mut self.ranges);
        let (body, end) = self.list(false)?;
        self.variables = variables;
        self.ranges = ranges;
        if let End::Else(position) = end {
            return Err(self.error_at(position, "unexpected {{else}} in define clause"));
        }
        let (file, source) = (Rc::clone(self.file), Rc::clone(self.source));
        let template = Template { file, name, source, body, including: Cell::default() };
        match self.defined.iter_mut().find(|known| known.name == template.name) {
            Some(known) if known.is_empty() => *known = Rc::new(template),
            Some(_) if template.is_empty() => {}
            Some(_) => {
                let problem = format!("multiple definition of template {:?}", template.name);
                return Err(self.error_at(self.peek().at, problem));
            }
            None => self.defined.push(Rc::new(template)),
        }
        Ok(())
    }

    fn action(&mut self) -> Result<Node, Error> {
        let token = self.peek_solid();
        if token.kind == Kind::Word {
            let keyword = token.text;
            match keyword {
                "if" | "with" | "range" => {
                    self.next += 1;
                    self.deeper(token.at)?;
                    let branch = Box::new(self.branch(keyword)?);
                    self.depth -= 1;
                    return Ok(match keyword {
                        "if" => Node::If(branch),
                        "with" => Node::With(branch),
                        _ => Node::Range(branch),
                    });
                }
                "template" => {
                    self.next += 1;
                    let name = self.name("template clause")?;
                    let span = self.since(token.at);
                    let pipe = match self.peek_solid().kind {
                        Kind::Close => {
                            self.next += 1;
                            None
                        }
                        _ => Some(Box::new(self.pipe(Kind::Close, "template clause")?)),
                    };
                    return Ok(Node::Template { span, name, pipe });
                }
                "block" => {
                    self.next += 1;
                    let name = self.name("block clause")?;
                    let span = self.since(token.at);
                    let pipe = Box::new(self.pipe(Kind::Close, "block clause")?);
                    self.deeper(token.at)?;
                    self.definition(Rc::clone(&name))?;
                    self.depth -= 1;
                    return Ok(Node::Template { span, name, pipe: Some(pipe) });
                }
                "break" | "continue" => {
                    self.next += 1;
                    let span = self.since(token.at);
                    let word = keyword;
                    self.close(word)?;
                    if self.ranges == 0 {
                        return Err(self.error_at(token.at, format!("{{{{{word}}}}} outside {{{{range}}}}")));
                    }
                    return Ok(if word == "break" { Node::Break(span) } else { Node::Continue(span) });
                }
                _ => {}
            }
        }
        // Variables that an action declares live to the end of the block around it.
        self.pipe(Kind::Close, "command").map(Node::Action)
    }

    fn branch(&mut self, keyword: &str) -> Result<Branch, Error> {
        let scope = self.variables.len();
        let pipe = self.pipe(Kind::Close, keyword)?;
        let loops = usize::from(keyword == "range");
        self.ranges += loops;
        let (body, end) = self.list(false)?;
        self.ranges -= loops;
        let otherwise = match end {
            End::Else(position) => Some(self.otherwise(keyword, position)?),
            End::Closed(_) | End::Text => None,
        };
        self.variables.truncate(scope);
        Ok(Branch { pipe, body, otherwise })
    }

    /// Reads what follows `{{else`: `{{else if …}}` is an `if` within it.
    fn otherwise(&mut self, keyword: &str, position: Position) -> Result<Vec<Node>, Error> {
        let token = self.peek_solid();
        let chained = token.kind == Kind::Word && token.text == keyword && matches!(keyword, "if" | "with");
        if chained {
            self.next += 1;
            self.deeper(token.at)?;
            let branch = Box::new(self.branch(keyword)?);
            self.depth -= 1;
            return Ok(vec![if keyword == "if" { Node::If(branch) } else { Node::With(branch) }]);
        }
        self.close("else")?;
        let (nodes, end) = self.list(false)?;
        match end {
            End::Closed(_) | End::Text => Ok(nodes),
            End::Else(_) => Err(self.error_at(position, "expected end; found {{else}}")),
        }
    }

    /// Reads a pipeline and the token that ends it.
    fn pipe(&mut self, end: Kind, context: &str) -> Result<Pipe, Error> {
        let position = self.peek_solid().at;
        let (variables, assigns) = self.declarations(context)?;
        if self.peek_solid().kind == end {
            return Err(self.error_at(position, format!("missing value for {context}")));
        }
        let first = self.command(end, context)?;
        let mut rest: Vec<Command> = Vec::new();
        while self.peek_solid().kind != end {
            let command = self.command(end, context)?;
            if matches!(
                command.operand.kind,
                OperandKind::Bool(_)
                    | OperandKind::Dot
                    | OperandKind::Nil
                    | OperandKind::Number(_)
                    | OperandKind::Text(_)
            ) {
                let problem = format!("non executable command in pipeline stage {}", rest.len() + 2);
                return Err(self.error_at(command.span.at, problem));
            }
            rest.push(command);
        }
        self.next += 1;
        let end = rest.last().unwrap_or(&first).span.end();
        let span = Span { at: position, length: end.saturating_sub(position) };
        Ok(Pipe { span, variables, assigns, first, rest })
    }

    /// Reads `$x :=`, `$x =` or `$i, $x :=`. As for Go, each name is known from here on to the end of the block,
    /// whether it was before or not.
    fn declarations(&mut self, context: &str) -> Result<(Vec<Span>, bool), Error> {
        let from = self.next;
        let mut names = Vec::new();
        loop {
            let token = self.peek_solid();
            if token.kind != Kind::Variable {
                break;
            }
            self.next += 1;
            let next = self.peek_solid();
            match next.kind {
                Kind::Declare | Kind::Assign => {
                    self.next += 1;
                    names.push(token.span());
                    self.variables.push(token.text);
                    return Ok((names, next.kind == Kind::Assign));
                }
                Kind::Comma if context == "range" && names.is_empty() => {
                    self.next += 1;
                    names.push(token.span());
                    self.variables.push(token.text);
                }
                Kind::Comma => {
                    return Err(self.error_at(token.at, format!("too many declarations in {context}")));
                }
                _ => break,
            }
        }
        if !names.is_empty() {
            let token = self.peek();
            return Err(self.unexpected(token, context));
        }
        self.next = from;
        Ok((Vec::new(), false))
    }

    fn command(&mut self, end: Kind, context: &str) -> Result<Command, Error> {
        let position = self.peek_solid().at;
        let (mut first, mut arguments) = (None, Vec::new());
        loop {
            let start = self.peek_solid();
            match (self.operand()?, &first) {
                (None, _) => {}
                (operand, None) => first = operand,
                (Some(argument), Some(_)) => arguments.push(argument),
            }
            let token = self.peek();
            match token.kind {
                Kind::Space => self.skip_space(),
                Kind::Pipe => {
                    self.next += 1;
                    // Go takes one at the end for nothing.
                    if self.peek_solid().kind == Kind::Pipe {
                        return Err(
                            self.error_at(token.at, format!("missing command after `|` in {context}"))
                        );
                    }
                    break;
                }
                kind if kind == end => break,
                _ if start == token
                    || matches!(
                        token.kind,
                        Kind::Close
                            | Kind::RightParenthesis
                            | Kind::Comma
                            | Kind::Declare
                            | Kind::Assign
                            | Kind::End
                    ) =>
                {
                    return Err(self.unexpected(token, context));
                }
                _ => return Err(self.unexpected(token, "operand")),
            }
            if self.peek().kind == end {
                break;
            }
            if self.peek().kind == Kind::Pipe {
                self.next += 1;
                break;
            }
        }
        let Some(operand) = first else { return Err(self.error_at(position, "empty command")) };
        let end = arguments.last().unwrap_or(&operand).span.end();
        let span = Span { at: position, length: end.saturating_sub(position) };
        Ok(Command { span, operand, arguments })
    }

    /// Reads an operand with its fields.
    fn operand(&mut self) -> Result<Option<Operand>, Error> {
        let Some(operand) = self.term()? else { return Ok(None) };
        if self.peek().kind != Kind::Field {
            return Ok(Some(operand));
        }
        let from = self.peek().at;
        while self.peek().kind == Kind::Field {
            self.next += 1;
        }
        let span = self.since(operand.span.at);
        let kind = match operand.kind {
            kind @ (OperandKind::Field | OperandKind::Variable) => kind,
            OperandKind::Bool(_)
            | OperandKind::Text(_)
            | OperandKind::Number(_)
            | OperandKind::Nil
            | OperandKind::Dot => {
                let shown = self.text(operand.span);
                return Err(self.error_at(span.at, format!("unexpected . after term \"{shown}\"")));
            }
            OperandKind::Function(_) | OperandKind::Pipe(_) | OperandKind::Chain(..) => {
                OperandKind::Chain(Box::new(operand), self.since(from))
            }
        };
        Ok(Some(Operand { span, kind }))
    }

    fn term(&mut self) -> Result<Option<Operand>, Error> {
        let token = self.peek_solid();
        let kind = match token.kind {
            Kind::Word => match token.text {
                "true" | "false" => OperandKind::Bool(token.text == "true"),
                "nil" => OperandKind::Nil,
                "if" | "else" | "end" | "with" | "range" | "define" | "template" | "block" | "break"
                | "continue" => {
                    return Err(self.unexpected(token, "operand"));
                }
                name => match funcs::find(name) {
                    Some(function) => OperandKind::Function(function),
                    None => return Err(self.error_at(token.at, format!("function {name:?} not defined"))),
                },
            },
            Kind::Dot => OperandKind::Dot,
            Kind::Field => OperandKind::Field,
            Kind::Variable => {
                if !self.variables.contains(&token.text) {
                    return Err(self.error_at(token.at, format!("undefined variable {:?}", token.text)));
                }
                OperandKind::Variable
            }
            Kind::Number | Kind::Character => {
                let number = number(token)
                    .ok_or_else(|| self.error_at(token.at, format!("bad number syntax: {:?}", token.text)))?;
                OperandKind::Number(Box::new(number))
            }
            Kind::Text2 | Kind::Raw => OperandKind::Text(Rc::from(&*self.unquote(token)?)),
            Kind::LeftParenthesis => {
                self.next += 1;
                self.deeper(token.at)?;
                let pipe = self.pipe(Kind::RightParenthesis, "parenthesized pipeline")?;
                self.depth -= 1;
                let span = self.since(token.at);
                return Ok(Some(Operand { span, kind: OperandKind::Pipe(Box::new(pipe)) }));
            }
            _ => return Ok(None),
        };
        self.next += 1;
        Ok(Some(Operand { span: token.span(), kind }))
    }

    fn unquote(&self, token: Token<'a>) -> Result<Cow<'a, str>, Error> {
        if token.kind == Kind::Raw {
            return Ok(Cow::Owned(token.text.trim_matches('`').replace('\r', "")));
        }
        let inner = token.text.get(1..token.text.len().saturating_sub(1)).unwrap_or_default();
        unescape(inner, '"').ok_or_else(|| self.error_at(token.at, "invalid syntax in a quoted string"))
    }
}
