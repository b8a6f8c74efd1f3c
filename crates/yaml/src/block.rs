//! The stream, its documents, and block collections.

use std::borrow::Cow;

use crate::cursor::Cursor;
use crate::flow::LONGEST_KEY;
use crate::{Error, Properties, Style, Visitor, scalar};

/// A reader within a stream.
pub(crate) struct Reader<'a, 'v, V> {
    pub(crate) cursor: Cursor<'a>,
    pub(crate) visitor: &'v mut V,
    /// How much deeper collections may nest.
    pub(crate) depth: usize,
    /// Where the flow collection began that is being read.
    pub(crate) began: Place,
}

/// A line and a column, from 1.
pub(crate) type Place = (u64, u64);

/// Where a node starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// First on its line, or after `- `: block collections may start.
    Line,
    /// After a key or `---` on the same line.
    Inline,
}

/// A node on its way, after its properties.
struct Found<'a> {
    /// The column of the collection that it is in.
    parent: isize,
    /// The column at which it starts.
    column: usize,
    /// Whether it may be a block collection.
    collections: bool,
    /// The properties on lines of their own before it: those of a collection.
    outer: Properties<'a>,
}

/// How a key was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    /// Before its `:`.
    Simple,
    /// After `?`, with a `:` on a later line.
    Explicit,
    /// After `?`, without a value.
    Alone,
}

/// Reads all documents.
pub(crate) fn stream<'a, V: Visitor<'a>>(reader: &mut Reader<'a, '_, V>) -> Result<(), Error> {
    let mut first = true;
    loop {
        reader.gap(false)?;
        while !first && reader.cursor.is_marker() && reader.cursor.peek() == b'.' {
            reader.cursor.skip(3);
            reader.gap(true)?;
        }
        if first && reader.cursor.is_marker() && reader.cursor.peek() == b'.' {
            return Err(reader.cursor.error("did not find expected node content"));
        }
        let directives = reader.directives()?;
        if reader.cursor.is_end() {
            return if directives {
                Err(reader.cursor.error("did not find expected <document start>"))
            } else {
                Ok(())
            };
        }
        let mut start = Start::Line;
        if reader.cursor.is_marker() {
            reader.cursor.skip(3);
            if !reader.gap(true)? {
                start = Start::Inline;
            }
        } else if directives || !first {
            return Err(reader.cursor.error("did not find expected <document start>"));
        }
        first = false;
        let line = reader.cursor.line + 1;
        reader.visitor.document(line);
        let root = (start == Start::Line && !matches!(reader.cursor.peek(), b'[' | b'{' | b'"' | b'\''))
            .then(|| reader.cursor.column());
        // After `---` on the same line there is no key.
        let key = (start == Start::Line).then_some((reader.cursor.line, reader.cursor.at));
        if reader.at_end() {
            reader.nothing(Properties::default())?;
        } else {
            reader.node(-1, start)?;
        }
        reader.gap(true)?;
        reader.scan_on(key)?;
        // What stands in a collection's column is to be its next item.
        if root == Some(reader.cursor.column()) && !reader.cursor.is_end() && !reader.cursor.is_marker() {
            return Err(reader.cursor.error("did not find expected key or '-' indicator"));
        }
        reader.visitor.document_end();
        if !reader.cursor.is_end() && !reader.cursor.is_marker() {
            return Err(reader.cursor.error("did not find expected <document start>"));
        }
    }
}

impl<'a, V: Visitor<'a>> Reader<'a, '_, V> {
    /// Hands something to the visitor.
    pub(crate) fn tell(&mut self, tell: impl FnOnce(&mut V) -> Result<(), String>) -> Result<(), Error> {
        tell(self.visitor).map_err(|problem| self.cursor.error(problem))
    }

    /// Hands a scalar to the visitor, which may refuse it: then at the place where it began.
    pub(crate) fn told(
        &mut self,
        place: Place,
        text: Cow<'a, str>,
        style: Style,
        properties: Properties<'a>,
    ) -> Result<(), Error> {
        self.visitor.scalar(text, style, properties).map_err(|problem| Error::at(place, problem))
    }

    /// Enters a collection.
    pub(crate) fn deeper(&mut self) -> Result<(), Error> {
        self.depth = self.depth.checked_sub(1).ok_or_else(|| self.cursor.error("nested too deep"))?;
        Ok(())
    }

    pub(crate) fn at_end(&self) -> bool {
        self.cursor.is_end() || self.cursor.is_marker()
    }

    /// Moves over white space, comments and line breaks; says whether a line
    /// ended. Tabs may stand within a line only, never where they would indent.
    pub(crate) fn gap(&mut self, tabs: bool) -> Result<bool, Error> {
        let mut ended = false;
        loop {
            match self.cursor.peek() {
                b' ' => self.cursor.skip(1),
                b'\t' if tabs && !ended => self.cursor.skip(1),
                b'\t' => return Err(self.cursor.error("found character that cannot start any token")),
                b'#' => self.cursor.skip_line(),
                _ if self.cursor.is_break() => {
                    self.cursor.take_break();
                    ended = true;
                }
                _ => return Ok(ended),
            }
        }
    }

    /// Reads `%YAML` and `%TAG` lines; says whether there were any.
    pub(crate) fn directives(&mut self) -> Result<bool, Error> {
        let mut found = false;
        while self.cursor.peek() == b'%' && self.cursor.column() == 0 {
            let from = self.cursor.at;
            self.cursor.skip_line();
            let line = self.cursor.slice(from, self.cursor.at);
            if !line.starts_with("%YAML ") && !line.starts_with("%TAG ") {
                return Err(self.cursor.error("found unknown directive name"));
            }
            found = true;
            self.gap(false)?;
        }
        Ok(found)
    }

    /// Reads an anchor or a tag, where one stands here.
    pub(crate) fn property(&mut self, properties: &mut Properties<'a>) -> Result<bool, Error> {
        match self.cursor.peek() {
            b'&' if properties.anchor.is_none() => properties.anchor = Some(self.name()?),
            b'!' if properties.tag.is_none() => properties.tag = Some(self.tag()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The name after `&` or `*`.
    pub(crate) fn name(&mut self) -> Result<&'a str, Error> {
        self.cursor.skip(1);
        let from = self.cursor.at;
        while matches!(self.cursor.peek(), b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-') {
            self.cursor.skip(1);
        }
        let ends = self.cursor.is_blank_or_end(0)
            || matches!(self.cursor.peek(), b'?' | b':' | b',' | b']' | b'}' | b'%' | b'@' | b'`');
        if from == self.cursor.at || !ends {
            return Err(self.cursor.error("did not find expected alphabetic or numeric character"));
        }
        Ok(self.cursor.slice(from, self.cursor.at))
    }

    pub(crate) fn tag(&mut self) -> Result<String, Error> {
        self.cursor.skip(1);
        let from = self.cursor.at;
        if self.cursor.peek() == b'<' {
            while !self.cursor.is_blank_or_end(0) && self.cursor.peek() != b'>' {
                self.cursor.skip(1);
            }
            let uri = self.cursor.slice(from + 1, self.cursor.at).to_owned();
            if self.cursor.peek() != b'>' || uri.is_empty() {
                return Err(self.cursor.error("did not find the expected '>'"));
            }
            self.cursor.skip(1);
            return Ok(uri);
        }
        // goyaml takes `,`, `[` and `]` for parts of a tag.
        while matches!(self.cursor.peek(), b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b';' | b'/' | b'?' | b':'
            | b'@' | b'&' | b'=' | b'+' | b'$' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')' | b'%' | b',' | b'[' | b']')
        {
            self.cursor.skip(1);
        }
        if !self.cursor.is_blank_or_end(0) {
            return Err(self.cursor.error("did not find expected whitespace or line break"));
        }
        let written = self.cursor.slice(from, self.cursor.at);
        if written.find('!').is_some_and(|end| {
            end > 0
                && written
                    .bytes()
                    .take(end)
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        }) {
            return Err(self.cursor.error("found undefined tag handle"));
        }
        Ok(match written.strip_prefix('!') {
            Some(known) => format!("tag:yaml.org,2002:{known}"),
            None => format!("!{written}"),
        })
    }

    /// Reads an alias.
    pub(crate) fn alias(&mut self, properties: &Properties<'a>) -> Result<(), Error> {
        if *properties != Properties::default() {
            return Err(self.cursor.error("an alias has neither anchor nor tag"));
        }
        let name = self.name()?;
        self.tell(|visitor| visitor.alias(name))
    }

    /// Reads the node that starts here, in a collection at column `parent`.
    fn node(&mut self, parent: isize, mut start: Start) -> Result<(), Error> {
        let mut outer = Properties::default();
        let mut column = self.cursor.column();
        let mut properties = Properties::default();
        while self.property(&mut properties)? {
            if !self.cursor.is_blank_or_end(0) {
                return Err(self.cursor.error("did not find expected whitespace or line break"));
            }
            if self.gap(true)? {
                let indentless =
                    start == Start::Inline && self.is_entry() && as_parent(self.cursor.column()) == parent;
                if self.at_end() || as_parent(self.cursor.column()) <= parent && !indentless {
                    let properties = self.merged(outer, properties)?;
                    return self.nothing(properties);
                }
                // What stands on an earlier line belongs to the collection, if one follows.
                outer = self.merged(outer, std::mem::take(&mut properties))?;
                column = self.cursor.column();
                start = Start::Line;
            } else if self.at_end() {
                let properties = self.merged(outer, properties)?;
                return self.nothing(properties);
            }
        }
        self.content(Found { parent, column, collections: start == Start::Line, outer }, properties)
    }

    /// Reads what stands after the properties of a node.
    fn content(&mut self, found: Found<'a>, properties: Properties<'a>) -> Result<(), Error> {
        let Found { parent, column, collections, outer } = found;
        match self.cursor.peek() {
            b'-' if self.is_entry() => {
                if !collections || properties != Properties::default() {
                    return Err(self.cursor.error("block sequence entries are not allowed in this context"));
                }
                self.sequence(self.cursor.column(), outer)
            }
            b'?' if self.cursor.is_blank_or_end(1) => {
                if !collections || properties != Properties::default() {
                    return Err(self.cursor.error("mapping keys are not allowed in this context"));
                }
                self.mapping(column, outer, properties)
            }
            b':' if collections && properties != Properties::default() && self.cursor.is_blank_or_end(1) => {
                self.mapping(column, outer, properties)
            }
            b'[' | b'{' | b'*' | b'"' | b'\'' if collections && self.key_ahead(false) => {
                self.mapping(column, outer, properties)
            }
            b'[' | b'{' => {
                let properties = self.merged(outer, properties)?;
                self.flow(properties)
            }
            b'*' => {
                let properties = self.merged(outer, properties)?;
                self.alias(&properties)
            }
            b'|' | b'>' => {
                let (place, wanted) = (self.cursor.place(), self.visitor.wants_text());
                let (text, style) = scalar::block(&mut self.cursor, parent, wanted)?;
                let properties = self.merged(outer, properties)?;
                self.told(place, text, style, properties)
            }
            b'"' | b'\'' => {
                let place = self.cursor.place();
                let (text, style, _) = scalar::quoted(&mut self.cursor)?;
                let properties = self.merged(outer, properties)?;
                self.told(place, text, style, properties)?;
                self.no_key_here()
            }
            _ if scalar::starts_plain(&self.cursor, false) => {
                self.plain(Found { parent, column, collections, outer }, properties)
            }
            b'}' | b']' | b',' => Err(self.cursor.error("did not find expected node content")),
            _ => Err(self.cursor.error("found character that cannot start any token")),
        }
    }

    /// Reads a plain scalar, or a mapping whose first key is one.
    fn plain(&mut self, found: Found<'a>, properties: Properties<'a>) -> Result<(), Error> {
        let Found { parent, column, collections, outer } = found;
        let place = self.cursor.place();
        let (text, ended) = scalar::plain(&mut self.cursor, false, usize::try_from(parent + 1).unwrap_or(0))?;
        if collections && !ended && self.is_value() {
            if text.len() > LONGEST_KEY {
                return Err(self.cursor.error("a key must be on one line, and short"));
            }
            self.deeper()?;
            self.tell(|visitor| visitor.mapping(outer))?;
            self.told(place, text, Style::Plain, properties)?;
            self.entries(column, Key::Simple)?;
            self.depth += 1;
            return Ok(());
        }
        let properties = self.merged(outer, properties)?;
        self.told(place, text, Style::Plain, properties)?;
        if ended { Ok(()) } else { self.no_key_here() }
    }

    /// Why a key is refused that has no `:`: libyaml notices when it has read on to another line.
    fn no_value(&mut self, place: Place, line: u64) -> Error {
        if self.cursor.line == line {
            // What is wrong there is not said: the key comes first.
            let _ = self.gap(true);
        }
        Error::at(place, "could not find expected ':'").noticed(&self.cursor)
    }

    /// Refuses a `:` after a scalar that is no key.
    fn no_key_here(&mut self) -> Result<(), Error> {
        if self.is_value() {
            return Err(self.cursor.error("mapping values are not allowed in this context"));
        }
        Ok(())
    }

    fn is_entry(&self) -> bool {
        self.cursor.peek() == b'-' && self.cursor.is_blank_or_end(1)
    }

    /// Properties of one node from two lines.
    fn merged(&self, outer: Properties<'a>, inner: Properties<'a>) -> Result<Properties<'a>, Error> {
        if outer.anchor.is_some() && inner.anchor.is_some() || outer.tag.is_some() && inner.tag.is_some() {
            return Err(self.cursor.error("a node has one anchor and one tag"));
        }
        Ok(Properties { anchor: inner.anchor.or(outer.anchor), tag: inner.tag.or(outer.tag) })
    }

    /// Whether a block scalar starts at a collection's own column, which libyaml allows.
    fn block_scalar_at(&self, column: usize) -> bool {
        self.cursor.column() == column && matches!(self.cursor.peek(), b'|' | b'>')
    }

    /// Moves over blanks to a `:` that makes what stood before a key.
    fn is_value(&mut self) -> bool {
        let before = self.cursor.at;
        self.cursor.skip_blanks();
        let found = self.cursor.peek() == b':' && self.cursor.is_blank_or_end(1);
        if !found {
            self.cursor.at = before;
        }
        found
    }

    fn sequence(&mut self, column: usize, properties: Properties<'a>) -> Result<(), Error> {
        self.deeper()?;
        self.tell(|visitor| visitor.sequence(properties))?;
        loop {
            self.cursor.skip(1);
            self.gap(false)?;
            let empty = self.at_end() || self.cursor.column() <= column;
            if self.block_scalar_at(column) {
                self.node(as_parent(column), Start::Inline)?;
            } else if empty {
                self.nothing(Properties::default())?;
            } else {
                self.node(as_parent(column), Start::Line)?;
            }
            self.gap(true)?;
            if self.at_end() || self.cursor.column() < column {
                break;
            }
            if self.cursor.column() > column {
                return Err(self.cursor.error("did not find expected '-' indicator"));
            }
            if !self.is_entry() {
                break;
            }
        }
        self.depth += 1;
        self.tell(Visitor::sequence_end)
    }

    /// Reads a mapping whose first key is no plain scalar, or is explicit.
    fn mapping(
        &mut self,
        column: usize,
        properties: Properties<'a>,
        first: Properties<'a>,
    ) -> Result<(), Error> {
        self.deeper()?;
        self.tell(|visitor| visitor.mapping(properties))?;
        let key = self.key(column, first)?;
        self.entries(column, key)?;
        self.depth += 1;
        Ok(())
    }

    /// Reads the rest of a mapping, after its first key.
    fn entries(&mut self, column: usize, mut key: Key) -> Result<(), Error> {
        loop {
            self.value(column, key)?;
            self.gap(true)?;
            if self.at_end() || self.cursor.column() < column {
                break;
            }
            // After a scalar of several lines, which cannot be a key.
            if self.cursor.peek() == b':' && self.cursor.is_blank_or_end(1) && self.cursor.column() > column {
                return Err(self.cursor.error("mapping values are not allowed in this context"));
            }
            if self.cursor.column() > column || self.is_entry() {
                return Err(self.cursor.error("did not find expected key"));
            }
            let (place, mut properties) = (self.cursor.place(), Properties::default());
            while self.property(&mut properties)? {
                if self.gap(true)? {
                    return Err(self.no_value(place, self.cursor.line));
                }
            }
            key = self.key(column, properties)?;
        }
        self.tell(Visitor::mapping_end)
    }

    /// Reads a key; afterwards the cursor is at its `:`, or after an explicit
    /// key where there is none.
    fn key(&mut self, column: usize, properties: Properties<'a>) -> Result<Key, Error> {
        let (line, place) = (self.cursor.line, self.cursor.place());
        match self.cursor.peek() {
            b'?' if self.cursor.is_blank_or_end(1) => {
                self.cursor.skip(1);
                self.gap(false)?;
                if !self.at_end() && self.cursor.column() == column && self.is_entry() {
                    self.sequence(column, properties)?;
                } else if self.at_end() || self.cursor.column() <= column {
                    self.nothing(properties)?;
                } else {
                    self.node(as_parent(column), Start::Line)?;
                    self.gap(true)?;
                }
                let value = self.cursor.column() == column
                    && self.cursor.peek() == b':'
                    && self.cursor.is_blank_or_end(1);
                return Ok(if value { Key::Explicit } else { Key::Alone });
            }
            // Only an anchor or a tag makes a key of nothing.
            b':' if properties != Properties::default() => self.nothing(properties)?,
            b'[' | b'{' => self.flow(properties)?,
            b'*' => self.alias(&properties)?,
            b'"' | b'\'' => {
                let (text, style, _) = scalar::quoted(&mut self.cursor)?;
                self.told(place, text, style, properties)?;
            }
            _ if scalar::starts_plain(&self.cursor, false) => {
                let (text, _) = scalar::plain(&mut self.cursor, false, column + 1)?;
                if text.len() > LONGEST_KEY {
                    return Err(self.cursor.error("a key must be on one line, and short"));
                }
                self.told(place, text, Style::Plain, properties)?;
            }
            _ => return Err(self.cursor.error("did not find expected key")),
        }
        // A key without a `:` is told where it is, though it is known on a later line only.
        if self.cursor.line != line || !self.is_value() {
            return Err(self.no_value(place, line));
        }
        Ok(Key::Simple)
    }

    /// Reads the value of a key.
    fn value(&mut self, column: usize, key: Key) -> Result<(), Error> {
        if key == Key::Alone {
            return self.nothing(Properties::default());
        }
        self.cursor.skip(1);
        let ended = self.gap(key == Key::Simple)? || key == Key::Explicit;
        if self.at_end() {
            return self.nothing(Properties::default());
        }
        if !ended {
            return self.node(as_parent(column), Start::Inline);
        }
        match self.cursor.column() {
            found if found > column => self.node(as_parent(column), Start::Line),
            _ if self.block_scalar_at(column) => self.node(as_parent(column), Start::Inline),
            found if found == column && self.is_entry() => self.sequence(column, Properties::default()),
            _ => self.nothing(Properties::default()),
        }
    }
}

/// Columns are far below what an `isize` holds.
fn as_parent(column: usize) -> isize {
    isize::try_from(column).unwrap_or(isize::MAX)
}
