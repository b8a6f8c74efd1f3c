//! The place in the text: bytes, lines and columns, and what may be skipped.

use std::borrow::Cow;

use crate::Error;
use crate::block::Place;

/// A place in a text.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    bytes: &'a [u8],
    /// The next byte.
    pub(crate) at: usize,
    /// The line, from 0.
    pub(crate) line: u64,
    /// Where the line starts.
    line_start: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self { text, bytes: text.as_bytes(), at, line: 0, line_start: at }
    }

    /// Refuses what libyaml's reader refuses: control characters.
    pub(crate) fn check_characters(&self) -> Result<(), Error> {
        const MANY: usize = 32;
        let (chunks, rest) = self.bytes.get(self.at..).unwrap_or_default().as_chunks::<MANY>();
        // Without a branch for each byte, so that many are looked at together.
        let usual = |chunk: &[u8; MANY]| {
            chunk.iter().fold(true, |all, byte| all & matches!(byte, b' '..=b'~' | b'\n'))
        };
        for (index, chunk) in chunks.iter().enumerate() {
            if !usual(chunk) {
                self.check_each(self.at + index * MANY, MANY)?;
            }
        }
        self.check_each(self.bytes.len() - rest.len(), rest.len())
    }

    /// Refuses control characters among so many bytes.
    fn check_each(&self, from: usize, count: usize) -> Result<(), Error> {
        let allowed = |at: &usize| match self.byte(*at) {
            b'\t' | b'\n' | b'\r' | b' '..=b'~' | 0x80..=0xc1 | 0xc3..=0xee | 0xf0..=0xff => true,
            0xc2 => self.byte(at + 1) >= 0xa0 || self.byte(at + 1) == 0x85,
            // U+FFFE and U+FFFF; goyaml allows a byte order mark anywhere.
            0xef => !matches!((self.byte(at + 1), self.byte(at + 2)), (0xbf, 0xbe | 0xbf)),
            _ => false,
        };
        let Some(at) = (from..from + count).find(|at| !allowed(at)) else { return Ok(()) };
        let line = self.bytes.get(..at).unwrap_or_default().split(|byte| *byte == b'\n').count();
        Err(Error::at((line as u64, 1), "control characters are not allowed"))
    }

    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// The next byte; 0 at the end.
    pub(crate) fn peek(&self) -> u8 {
        self.byte(self.at)
    }

    /// The byte after so many others; 0 beyond the end.
    pub(crate) fn peek_at(&self, ahead: usize) -> u8 {
        self.byte(self.at + ahead)
    }

    pub(crate) fn is_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// The column, from 0.
    pub(crate) fn column(&self) -> usize {
        self.at - self.line_start
    }

    pub(crate) fn slice(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to).unwrap_or_default()
    }

    /// How many bytes a line break has at a place; 0 where there is none.
    pub(crate) fn break_at(&self, at: usize) -> usize {
        match self.byte(at) {
            b'\n' => 1,
            b'\r' => 1 + usize::from(self.byte(at + 1) == b'\n'),
            0xc2 if self.byte(at + 1) == 0x85 => 2,
            0xe2 if self.byte(at + 1) == 0x80 && matches!(self.byte(at + 2), 0xa8 | 0xa9) => 3,
            _ => 0,
        }
    }

    pub(crate) fn is_break(&self) -> bool {
        self.break_at(self.at) > 0
    }

    /// Whether a blank, a line break or the end is at a place.
    pub(crate) fn is_blank_or_end(&self, ahead: usize) -> bool {
        let at = self.at + ahead;
        matches!(self.byte(at), b' ' | b'\t' | b'\n' | b'\r' | 0) || self.break_at(at) > 0
    }

    /// Moves over a line break, and gives the text that it stands for.
    pub(crate) fn take_break(&mut self) -> &'static str {
        let text = match (self.peek(), self.peek_at(2)) {
            (0xe2, 0xa8) => "\u{2028}",
            (0xe2, _) => "\u{2029}",
            _ => "\n",
        };
        self.at += self.break_at(self.at);
        self.line += 1;
        self.line_start = self.at;
        text
    }

    /// Moves by bytes of the same line.
    pub(crate) fn skip(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// Moves over bytes of the same line.
    pub(crate) fn skip_while(&mut self, usual: impl Fn(u8) -> bool) {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at += rest.iter().position(|byte| !usual(*byte)).unwrap_or(rest.len());
    }

    /// Moves to the end of the line.
    pub(crate) fn skip_line(&mut self) {
        while !self.is_end() && !self.is_break() {
            self.at += 1;
            self.skip_while(|byte| !matches!(byte, b'\n' | b'\r' | 0xc2 | 0xe2));
        }
    }

    /// Moves over spaces and tabs.
    pub(crate) fn skip_blanks(&mut self) {
        while matches!(self.peek(), b' ' | b'\t') {
            self.at += 1;
        }
    }

    /// Whether `---` or `...` stands at the start of this line.
    pub(crate) fn is_marker(&self) -> bool {
        self.column() == 0
            && matches!(self.bytes.get(self.at..self.at + 3), Some(b"---" | b"..."))
            && self.is_blank_or_end(3)
    }

    /// The line and the column of what comes next, from 1.
    pub(crate) fn place(&self) -> Place {
        (self.line + 1, self.column() as u64 + 1)
    }

    /// Whether nothing but blanks stands before what comes next on its line.
    pub(crate) fn is_first(&self) -> bool {
        self.slice(self.line_start, self.at).bytes().all(|byte| matches!(byte, b' ' | b'\t'))
    }

    pub(crate) fn error(&self, problem: impl Into<Cow<'static, str>>) -> Error {
        Error::at(self.place(), problem)
    }
}
