//! What follows a document, as far as libyaml has scanned it when the document ends.

use crate::block::Reader;
use crate::flow::LONGEST_KEY;
use crate::{Error, Visitor, scalar};

/// What may turn out to be a key.
#[derive(Debug, Clone, Copy)]
struct Key {
    /// The line and the place where it began.
    began: Option<(u64, usize)>,
    /// It is what follows the document; else it is the document itself, with something behind it.
    follows: bool,
}

impl<'a, V: Visitor<'a>> Reader<'a, '_, V> {
    /// Refuses a document that is followed by what cannot be scanned. libyaml has scanned one token more when it finds
    /// that a document has ended, and where the document might have been a key, all tokens on its line. `key`: the line
    /// and the place where it began, where a key may stand.
    pub(crate) fn scan_on(&mut self, key: Option<(u64, usize)>) -> Result<(), Error> {
        let before = self.cursor.clone();
        // What follows may be a key itself.
        let follows = self.cursor.is_first() && !matches!(self.cursor.peek(), b'|' | b'>');
        let began = if follows { Some((before.line, before.at)) } else { key };
        let key = Key { began, follows };
        let mut open = 0;
        while self.token(&mut open, key)? && self.may_be(key) {
            self.blanks(open > 0)?;
        }
        self.cursor = before;
        Ok(())
    }

    /// Whether it may still turn out to be a key.
    fn may_be(&self, key: Key) -> bool {
        key.began.is_some_and(|(line, at)| {
            line == self.cursor.line && self.cursor.at.saturating_sub(at) <= LONGEST_KEY
        })
    }

    /// Moves over white space and comments; within flow collections tabs may stand anywhere.
    fn blanks(&mut self, flow: bool) -> Result<(), Error> {
        while flow && (matches!(self.cursor.peek(), b' ' | b'\t' | b'#') || self.cursor.is_break()) {
            match self.cursor.peek() {
                b'#' => self.cursor.skip_line(),
                b' ' | b'\t' => self.cursor.skip_blanks(),
                _ => {
                    self.cursor.take_break();
                }
            }
        }
        if flow { Ok(()) } else { self.gap(true).map(drop) }
    }

    /// Scans a token; `open` is how many flow collections are around it. `false`: what was before it is no key any
    /// more, or nothing follows.
    fn token(&mut self, open: &mut usize, key: Key) -> Result<bool, Error> {
        if self.at_end() {
            return Ok(false);
        }
        let flow = *open > 0;
        let indicator = flow || self.cursor.is_blank_or_end(1);
        match self.cursor.peek() {
            b'%' if self.cursor.column() == 0 => return self.directives().map(|_| false),
            b'[' | b'{' => {
                *open += 1;
                self.cursor.skip(1);
            }
            b']' | b'}' => {
                *open = open.saturating_sub(1);
                self.cursor.skip(1);
                return Ok(flow);
            }
            b',' => {
                self.cursor.skip(1);
                return Ok(flow);
            }
            b'-' if self.cursor.is_blank_or_end(1) => return self.indicator("block sequence entries", flow),
            b'?' if indicator => return self.indicator("mapping keys", flow),
            b':' if indicator && !flow && self.may_be(key) => {
                if key.follows {
                    return Ok(false);
                }
                return Err(self.cursor.error("did not find expected key"));
            }
            b':' if indicator => return self.indicator("mapping values", flow),
            b'*' | b'&' => {
                self.name()?;
            }
            b'!' => {
                self.tag()?;
            }
            b'|' | b'>' if !flow => {
                scalar::block(&mut self.cursor, -1, false)?;
            }
            b'"' | b'\'' => {
                scalar::quoted(&mut self.cursor)?;
            }
            _ if scalar::starts_plain(&self.cursor, flow) => {
                scalar::plain(&mut self.cursor, flow, 0)?;
            }
            _ => return Err(self.cursor.error("found character that cannot start any token")),
        }
        Ok(true)
    }

    /// Scans an indicator of block collections, which stands first on its line, or within a flow collection.
    fn indicator(&mut self, of: &str, flow: bool) -> Result<bool, Error> {
        if !flow && !self.cursor.is_first() {
            return Err(self.cursor.error(format!("{of} are not allowed in this context")));
        }
        self.cursor.skip(1);
        Ok(flow)
    }
}
