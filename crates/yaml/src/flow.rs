//! Flow collections: `[…]` and `{…}`.

use std::borrow::Cow;

use crate::block::Reader;
use crate::{Error, Properties, Style, Visitor, scalar};

/// The longest key without `?`, in bytes (libyaml's simple keys).
pub(crate) const LONGEST_KEY: usize = 1024;

/// What is expected where nothing is said of it.
const NODE: &str = "node content";

impl<'a, V: Visitor<'a>> Reader<'a, '_, V> {
    /// Reads the collection that starts here.
    pub(crate) fn flow(&mut self, properties: Properties<'a>) -> Result<(), Error> {
        self.deeper()?;
        let sequence = self.cursor.peek() == b'[';
        let outer = std::mem::replace(&mut self.began, self.cursor.place());
        self.cursor.skip(1);
        if sequence {
            self.flow_sequence(properties)?;
        } else {
            self.flow_mapping(properties)?;
        }
        self.began = outer;
        self.depth += 1;
        Ok(())
    }

    fn flow_sequence(&mut self, properties: Properties<'a>) -> Result<(), Error> {
        self.tell(|visitor| visitor.sequence(properties))?;
        loop {
            self.flow_gap(NODE)?;
            if self.cursor.peek() == b']' {
                break;
            }
            if self.cursor.peek() == b'?' {
                self.cursor.skip(1);
                self.pair(true)?;
            } else if self.key_ahead(true) {
                self.pair(false)?;
            } else {
                self.flow_node()?;
            }
            self.flow_gap("',' or ']'")?;
            match self.cursor.peek() {
                b',' => self.cursor.skip(1),
                b']' => break,
                _ => return Err(self.cursor.error("did not find expected ',' or ']'")),
            }
        }
        self.cursor.skip(1);
        self.tell(Visitor::sequence_end)
    }

    /// A mapping of one entry within a sequence, without braces.
    fn pair(&mut self, explicit: bool) -> Result<(), Error> {
        self.tell(|visitor| visitor.mapping(Properties::default()))?;
        self.flow_entry(explicit)?;
        self.tell(Visitor::mapping_end)
    }

    fn flow_mapping(&mut self, properties: Properties<'a>) -> Result<(), Error> {
        self.tell(|visitor| visitor.mapping(properties))?;
        loop {
            self.flow_gap(NODE)?;
            if self.cursor.peek() == b'}' {
                break;
            }
            let explicit = self.cursor.peek() == b'?';
            if explicit {
                self.cursor.skip(1);
            }
            self.flow_entry(explicit)?;
            self.flow_gap("',' or '}'")?;
            match self.cursor.peek() {
                b',' => self.cursor.skip(1),
                b'}' => break,
                _ => return Err(self.cursor.error("did not find expected ',' or '}'")),
            }
        }
        self.cursor.skip(1);
        self.tell(Visitor::mapping_end)
    }

    /// Key, and value where there is one.
    fn flow_entry(&mut self, explicit: bool) -> Result<(), Error> {
        self.flow_gap(NODE)?;
        let (line, start) = (self.cursor.line, self.cursor.at);
        match self.cursor.peek() {
            b',' | b']' | b'}' | b':' if explicit => self.nothing(Properties::default())?,
            _ => self.flow_node()?,
        }
        let (end_line, end) = (self.cursor.line, self.cursor.at);
        self.flow_gap("',' or '}'")?;
        if self.cursor.peek() != b':' {
            return self.nothing(Properties::default());
        }
        let simple = line == end_line && self.cursor.line == line && end - start <= LONGEST_KEY;
        if !explicit && !simple && start != end {
            return Err(self.cursor.error("a key must be on one line, and short"));
        }
        self.cursor.skip(1);
        self.flow_gap(NODE)?;
        match self.cursor.peek() {
            b',' | b']' | b'}' => self.nothing(Properties::default()),
            _ => self.flow_node(),
        }
    }

    fn flow_node(&mut self) -> Result<(), Error> {
        let mut properties = Properties::default();
        while self.property(&mut properties)? {
            self.flow_gap(NODE)?;
        }
        let place = self.cursor.place();
        match self.cursor.peek() {
            b'[' | b'{' => self.flow(properties),
            b'*' => self.alias(&properties),
            b'\'' | b'"' => {
                let (text, style, _) = scalar::quoted(&mut self.cursor)?;
                self.told(place, text, style, properties)
            }
            b',' | b']' | b'}' | b':' if properties != Properties::default() => self.nothing(properties),
            _ if scalar::starts_plain(&self.cursor, true) => {
                let (text, _) = scalar::plain(&mut self.cursor, true, 0)?;
                self.told(place, text, Style::Plain, properties)
            }
            _ => Err(self.cursor.error("did not find expected node content")),
        }
    }

    /// White space, line breaks and comments within a flow collection, before
    /// what is expected.
    fn flow_gap(&mut self, expected: &str) -> Result<(), Error> {
        loop {
            match self.cursor.peek() {
                b' ' | b'\t' => self.cursor.skip_blanks(),
                b'#' => self.cursor.skip_line(),
                _ if self.cursor.is_break() => {
                    self.cursor.take_break();
                }
                _ => break,
            }
        }
        if self.cursor.is_end() || self.cursor.is_marker() {
            let problem = format!("a flow collection does not end: did not find expected {expected}");
            return Err(Error::at(self.began, problem).noticed(&self.cursor));
        }
        Ok(())
    }

    /// Whether the node that starts here ends on this line, and a `:` follows; outside of flow collections with a blank
    /// behind it.
    pub(crate) fn key_ahead(&self, flow: bool) -> bool {
        let mut ahead = self.cursor.clone();
        let start = ahead.at;
        let (mut open, mut quote) = (0_usize, 0_u8);
        // A `:` within a tag is none that follows a key.
        while matches!(ahead.peek(), b'!' | b'&') {
            while !ahead.is_blank_or_end(0) {
                ahead.skip(1);
            }
            while matches!(ahead.peek(), b' ' | b'\t') {
                ahead.skip(1);
            }
        }
        loop {
            let byte = ahead.peek();
            if ahead.at - start > LONGEST_KEY || ahead.is_end() || ahead.is_break() {
                return false;
            }
            ahead.skip(1);
            match byte {
                b'\\' if quote == b'"' => ahead.skip(1),
                _ if quote != 0 && byte == quote => quote = 0,
                _ if quote != 0 => {}
                b'"' | b'\'' if starts_token(&ahead, start) => quote = byte,
                b'[' | b'{' => open += 1,
                b']' | b'}' | b',' if open == 0 => return false,
                b']' | b'}' => open -= 1,
                // A comment, which may be glued to the end of a collection.
                b'#' if matches!(self.cursor.slice(ahead.at - 2, ahead.at - 1), " " | "\t" | "]" | "}") => {
                    return false;
                }
                b':' if open == 0 => {
                    let after_json = matches!(
                        ahead.at.checked_sub(2).map(|at| ahead.slice(at, at + 1)),
                        Some("\"" | "'" | "]" | "}")
                    );
                    if flow && after_json || ahead.is_blank_or_end(0) {
                        return true;
                    }
                }
                _ => {}
            }
        }
    }

    /// Tells of a node that is not there.
    pub(crate) fn nothing(&mut self, properties: Properties<'a>) -> Result<(), Error> {
        self.tell(|visitor| visitor.scalar(Cow::Borrowed(""), Style::Plain, properties))
    }
}

/// Whether the byte before the cursor, a quote, starts a token: within a plain
/// scalar it is text.
fn starts_token(after: &crate::cursor::Cursor<'_>, start: usize) -> bool {
    let at = after.at - 1;
    at == start || matches!(after.slice(at - 1, at), " " | "\t" | "[" | "{" | "," | ":")
}
