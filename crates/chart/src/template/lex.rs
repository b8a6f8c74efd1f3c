//! The tokens of a template (Go's `text/template/parse/lex.go`).

use super::ast::{Position, Span, place};

/// A token with its place and text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    pub(crate) at: Position,
    pub(crate) text: &'a str,
}

impl Token<'_> {
    /// Where it is written.
    pub(crate) fn span(&self) -> Span {
        Span { at: self.at, length: position(self.text.len()) }
    }
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text outside actions.
    Text,
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// White space within an action.
    Space,
    /// `.`
    Dot,
    /// `.name`
    Field,
    /// `$name`
    Variable,
    /// A function, keyword or constant.
    Word,
    /// A number.
    Number,
    /// `'c'`
    Character,
    /// `"…"`
    Text2,
    /// `` `…` ``
    Raw,
    /// `(`
    LeftParenthesis,
    /// `)`
    RightParenthesis,
    /// `|`
    Pipe,
    /// `:=`
    Declare,
    /// `=`
    Assign,
    /// `,`
    Comma,
    /// The end of the text.
    End,
}

/// Why a text has no tokens.
#[derive(Debug, Clone)]
pub(crate) struct LexError {
    pub(crate) at: Position,
    pub(crate) problem: String,
}

/// What is said of templates that are too large.
const TOO_MANY: &str = "the templates have too many tokens";

const SPACES: &[char] = &[' ', '\t', '\r', '\n'];

/// Splits a template into at most `most` tokens.
pub(crate) fn lex(source: &str, most: usize) -> Result<Vec<Token<'_>>, LexError> {
    // Most tokens are longer, and text between actions is one.
    let tokens = Vec::with_capacity(source.len() / 16);
    let mut lexer = Lexer { source, at: 0, most, tokens, open: Vec::new() };
    lexer.run()?;
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    most: usize,
    tokens: Vec<Token<'a>>,
    /// Open parentheses.
    open: Vec<usize>,
}

fn position(at: usize) -> Position {
    Position::try_from(at).unwrap_or(Position::MAX)
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn bytes(&self) -> &'a [u8] {
        self.source.as_bytes()
    }

    fn push(&mut self, kind: Kind, from: usize, to: usize) {
        let text = self.source.get(from..to).unwrap_or_default();
        self.tokens.push(Token { kind, at: position(from), text });
    }

    /// Refuses more tokens than are allowed.
    fn count(&self) -> Result<(), LexError> {
        if self.tokens.len() < self.most { Ok(()) } else { self.error(TOO_MANY) }
    }

    fn error<T>(&self, problem: impl Into<String>) -> Result<T, LexError> {
        Err(LexError { at: position(self.at.min(self.source.len())), problem: problem.into() })
    }

    fn run(&mut self) -> Result<(), LexError> {
        // The text after `-}}` begins without white space.
        let mut trim = false;
        loop {
            let mut from = self.at;
            if trim {
                from += self.rest().len() - self.rest().trim_start_matches(SPACES).len();
            }
            let Some(open) = self.next_open(from) else {
                if from < self.source.len() {
                    self.push(Kind::Text, from, self.source.len());
                }
                self.at = self.source.len();
                self.push(Kind::End, self.at, self.at);
                return Ok(());
            };
            self.count()?;
            let after = self.source.get(open + 2..).unwrap_or_default();
            let trims_left = after.strip_prefix('-').is_some_and(|rest| rest.starts_with(SPACES));
            let text = self.source.get(from..open).unwrap_or_default();
            let text = if trims_left { text.trim_end_matches(SPACES) } else { text };
            if !text.is_empty() {
                self.push(Kind::Text, from, from + text.len());
            }
            self.at = open;
            // The marker is the `-` and one space.
            let marker = if trims_left { 2 } else { 0 };
            if self.source.get(open + 2 + marker..).is_some_and(|rest| rest.starts_with("/*")) {
                self.at = open + 2 + marker;
                trim = self.comment()?;
                continue;
            }
            self.push(Kind::Open, open, open + 2);
            self.at = open + 2 + marker;
            trim = self.action().map_err(|error| self.since(open, error))?;
        }
    }

    /// Where the next action begins.
    fn next_open(&self, from: usize) -> Option<usize> {
        let rest = self.bytes().get(from..).unwrap_or_default();
        let mut braces = memchr::memchr_iter(b'{', rest);
        braces.find(|at| rest.get(at + 1) == Some(&b'{')).map(|at| from + at)
    }

    /// Says where an action began that goes over several lines: mostly it is
    /// one that was not closed, and what follows it is not wrong.
    fn since(&self, open: usize, error: LexError) -> LexError {
        let within = self.source.get(open..error.at as usize).unwrap_or_default();
        if !within.contains('\n') {
            return error;
        }
        let (line, column) = place(self.source, position(open));
        let problem =
            format!("{}: the action begins at {line}:{column} and is not closed before", error.problem);
        LexError { problem, ..error }
    }

    /// Moves over a comment; says whether it trims what follows.
    fn comment(&mut self) -> Result<bool, LexError> {
        let within = self.rest().get("/*".len()..).unwrap_or_default();
        let Some(end) = within.find("*/") else { return self.error("unclosed comment") };
        self.at += "/*".len() + end + "*/".len();
        match self.closes() {
            Some((length, trims)) => {
                self.at += length;
                Ok(trims)
            }
            None => self.error("comment ends before closing delimiter"),
        }
    }

    /// Whether the action ends here: how long its end is, and whether it trims.
    fn closes(&self) -> Option<(usize, bool)> {
        match self.bytes().get(self.at..).unwrap_or_default() {
            [b'}', b'}', ..] => Some((2, false)),
            [b' ' | b'\t' | b'\r' | b'\n', b'-', b'}', b'}', ..] => Some((4, true)),
            _ => None,
        }
    }

    /// Reads the tokens of an action; says whether it trims what follows.
    fn action(&mut self) -> Result<bool, LexError> {
        loop {
            if let Some((length, trims)) = self.closes() {
                if let Some(open) = self.open.last() {
                    self.at = *open;
                    return self.error("unclosed left paren");
                }
                self.push(Kind::Close, self.at, self.at + length);
                self.at += length;
                return Ok(trims);
            }
            self.count()?;
            self.token()?;
        }
    }

    /// Reads the next token of an action.
    fn token(&mut self) -> Result<(), LexError> {
        let from = self.at;
        // Nearly all of an action is ASCII.
        let first = match self.bytes().get(self.at) {
            Some(byte) if byte.is_ascii() => char::from(*byte),
            _ => match self.rest().chars().next() {
                Some(first) => first,
                None => return self.error("unclosed action"),
            },
        };
        self.at += first.len_utf8();
        match first {
            ' ' | '\t' | '\r' | '\n' => {
                while self.at_space() && self.closes().is_none() {
                    self.at += 1;
                }
                self.push(Kind::Space, from, self.at);
            }
            '=' => self.push(Kind::Assign, from, self.at),
            ':' => {
                if !self.rest().starts_with('=') {
                    return self.error("expected :=");
                }
                self.at += 1;
                self.push(Kind::Declare, from, self.at);
            }
            '|' => self.push(Kind::Pipe, from, self.at),
            ',' => self.push(Kind::Comma, from, self.at),
            '(' => {
                self.open.push(from);
                self.push(Kind::LeftParenthesis, from, self.at);
            }
            ')' => {
                if self.open.pop().is_none() {
                    return self.error("unexpected right paren");
                }
                self.push(Kind::RightParenthesis, from, self.at);
            }
            '"' => self.quoted(from, '"', Kind::Text2)?,
            '\'' => self.quoted(from, '\'', Kind::Character)?,
            '`' => {
                let Some(end) = self.rest().find('`') else {
                    return self.error("unterminated raw quoted string");
                };
                self.at += end + 1;
                self.push(Kind::Raw, from, self.at);
            }
            '$' => self.name(from, Kind::Variable)?,
            '.' if !self.rest().starts_with(|c: char| c.is_ascii_digit()) => {
                self.name(from, Kind::Field)?;
            }
            '.' | '+' | '-' | '0'..='9' => self.number(from)?,
            first if first == '_' || first.is_alphanumeric() => self.name(from, Kind::Word)?,
            first => {
                self.at = from;
                return self.error(format!("unexpected {first:?} in action"));
            }
        }
        Ok(())
    }

    /// Reads the rest of a word, a variable or a field; a field without a name is the dot.
    fn name(&mut self, from: usize, kind: Kind) -> Result<(), LexError> {
        self.word();
        self.end_of_word(from)?;
        let is_dot = kind == Kind::Field && self.at == from + 1;
        self.push(if is_dot { Kind::Dot } else { kind }, from, self.at);
        Ok(())
    }

    /// Whether white space is next.
    fn at_space(&self) -> bool {
        matches!(self.bytes().get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n'))
    }

    fn word(&mut self) {
        let bytes = self.bytes().get(self.at..).unwrap_or_default();
        self.at += bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        if self.bytes().get(self.at).is_none_or(u8::is_ascii) {
            return;
        }
        let rest = self.rest();
        self.at += rest.find(|c: char| !(c == '_' || c.is_alphanumeric())).unwrap_or(rest.len());
    }

    /// Refuses words that are glued to something else.
    fn end_of_word(&self, from: usize) -> Result<(), LexError> {
        let ends = matches!(
            self.bytes().get(self.at..).unwrap_or_default(),
            [] | [b' ' | b'\t' | b'\r' | b'\n' | b'.' | b',' | b'|' | b':' | b')' | b'(', ..]
                | [b'}', b'}', ..]
        );
        if ends {
            return Ok(());
        }
        let word = self.source.get(from..self.at).unwrap_or_default();
        let next = self.rest().chars().next().unwrap_or_default();
        self.error(format!("bad character {next:?} after {word}"))
    }

    fn quoted(&mut self, from: usize, quote: char, kind: Kind) -> Result<(), LexError> {
        let what =
            if quote == '"' { "unterminated quoted string" } else { "unterminated character constant" };
        let mut characters = self.rest().char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => match characters.next() {
                    Some((_, '\n')) | None => return self.error(what),
                    Some(_) => {}
                },
                '\n' => return self.error(what),
                character if character == quote => {
                    self.at += at + 1;
                    self.push(kind, from, self.at);
                    return Ok(());
                }
                _ => {}
            }
        }
        self.error(what)
    }

    fn number(&mut self, from: usize) -> Result<(), LexError> {
        let text = self.source.get(from..).unwrap_or_default();
        let mut end = usize::from(text.starts_with(['+', '-']));
        let bytes = text.as_bytes();
        let at = |index: usize| bytes.get(index).copied().unwrap_or(0).to_ascii_lowercase();
        let mut digits: &[u8] = b"0123456789_";
        if at(end) == b'0' {
            end += 1;
            match at(end) {
                b'x' => (digits, end) = (b"0123456789abcdef_", end + 1),
                b'o' => (digits, end) = (b"01234567_", end + 1),
                b'b' => (digits, end) = (b"01_", end + 1),
                _ => {}
            }
        }
        while digits.contains(&at(end)) {
            end += 1;
        }
        if at(end) == b'.' {
            end += 1;
            while digits.contains(&at(end)) {
                end += 1;
            }
        }
        let exponent = if digits.len() > 12 { b'p' } else { b'e' };
        if digits.len() != 9 && digits.len() != 3 && at(end) == exponent {
            end += 1;
            end += usize::from(matches!(at(end), b'+' | b'-'));
            while at(end).is_ascii_digit() || at(end) == b'_' {
                end += 1;
            }
        }
        self.at = from + end;
        if self.rest().starts_with(|c: char| c == '_' || c.is_alphanumeric()) {
            let next = self.rest().chars().next().map_or(0, char::len_utf8);
            let text = self.source.get(from..self.at + next).unwrap_or_default();
            return self.error(format!("bad number syntax: {text:?}"));
        }
        self.push(Kind::Number, from, self.at);
        Ok(())
    }
}
