//! The text that an expression is matched with.

use std::borrow::Cow;

use regex::bytes::Match;

use crate::value::Value;

/// A text to search. Where it is not UTF-8, it is searched as Go reads it, with U+FFFD for each byte that is of no
/// character; what is found there are the bytes themselves.
pub(super) struct Subject<'a> {
    own: &'a [u8],
    searched: Cow<'a, [u8]>,
    /// Where U+FFFD stands for a byte, in what is searched.
    replaced: Vec<usize>,
}

/// Bytes that U+FFFD has more than what it stands for.
const WIDER: usize = char::REPLACEMENT_CHARACTER.len_utf8() - 1;

impl<'a> Subject<'a> {
    /// The text that a value is.
    pub(super) fn of(value: &'a Value) -> Self {
        let own = value.string_bytes().unwrap_or_default();
        if !matches!(value, Value::Raw(_)) {
            return Self { own, searched: Cow::Borrowed(own), replaced: Vec::new() };
        }
        let (mut searched, mut replaced) = (Vec::with_capacity(own.len()), Vec::new());
        for chunk in own.utf8_chunks() {
            searched.extend_from_slice(chunk.valid().as_bytes());
            for _ in chunk.invalid() {
                replaced.push(searched.len());
                searched.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
        Self { own, searched: Cow::Owned(searched), replaced }
    }

    /// What is searched.
    pub(super) fn searched(&self) -> &[u8] {
        &self.searched
    }

    /// How many bytes the text has.
    pub(super) fn len(&self) -> usize {
        self.own.len()
    }

    /// A place of what is searched in the text.
    pub(super) fn at(&self, place: usize) -> usize {
        place - WIDER * self.replaced.partition_point(|from| *from < place)
    }

    /// The bytes of the text between two places of it.
    pub(super) fn between(&self, from: usize, to: usize) -> &'a [u8] {
        self.own.get(from..to).unwrap_or_default()
    }

    /// What was found.
    pub(super) fn found(&self, found: Match<'_>) -> &'a [u8] {
        self.between(self.at(found.start()), self.at(found.end()))
    }

    /// Whether a match is one for Go, which finds nothing within a character.
    pub(super) fn counts(&self, found: Match<'_>) -> bool {
        !found.is_empty() || self.searched.get(found.start()).is_none_or(|byte| byte & 0xc0 != 0x80)
    }
}
