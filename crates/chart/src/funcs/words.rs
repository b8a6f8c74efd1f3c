//! Words and letters: cases, initials, wrapping (Go's `strings`, goutils, xstrings).

use super::Type::{Int, Text};
use super::strings::is_space;
use super::{Answer, Function, bytes, fixed, int, text};
use crate::exec::Engine;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("upper", &[Text], |_, a| Ok(Value::text(text(a, 0).chars().map(upper).collect::<String>())))
        .slow(8),
    fixed("lower", &[Text], |_, a| Ok(Value::text(text(a, 0).chars().map(lower).collect::<String>())))
        .slow(8),
    fixed("title", &[Text], |_, a| Ok(Value::text(title(&text(a, 0))))).slow(8),
    fixed("untitle", &[Text], |_, a| Ok(Value::text(untitle(&text(a, 0))))).slow(8),
    fixed("swapcase", &[Text], |_, a| Ok(Value::text(swap_case(&text(a, 0))))).slow(8),
    fixed("initials", &[Text], |_, a| Ok(Value::text(initials(bytes(a, 0))))).slow(8),
    fixed("nospace", &[Text], |_, a| Ok(without_space(bytes(a, 0)))).slow(8),
    fixed("snakecase", &[Text], |_, a| Ok(Value::text(separated(&text(a, 0), '_')))).slow(8),
    fixed("kebabcase", &[Text], |_, a| Ok(Value::text(separated(&text(a, 0), '-')))).slow(8),
    fixed("camelcase", &[Text], |_, a| Ok(Value::text(pascal(&text(a, 0))))).slow(8),
    fixed("wrap", &[Int, Text], |engine, a| wrap(engine, bytes(a, 1), int(a, 0), b"\n", false)).slow(4),
    fixed("wrapWith", &[Int, Text, Text], |engine, a| {
        let separator = if bytes(a, 1).is_empty() { b"\n" } else { bytes(a, 1) };
        wrap(engine, bytes(a, 2), int(a, 0), separator, true)
    })
    .slow(4),
];

/// Go's `unicode.ToUpper`: one character for one.
pub(super) fn upper(character: char) -> char {
    let mut upper = character.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(only), None) => only,
        _ => character,
    }
}

/// Go's `unicode.ToLower`: one character for one.
pub(super) fn lower(character: char) -> char {
    character.to_lowercase().next().unwrap_or(character)
}

/// Go's `strings.Title`.
fn title(text: &str) -> String {
    let mut before = ' ';
    text.chars()
        .map(|character| {
            let starts = separates(before);
            before = character;
            if starts { title_case(character) } else { character }
        })
        .collect()
}

/// Go's `unicode.ToTitle`: digraphs have a form of their own.
fn title_case(character: char) -> char {
    match character {
        'Ǆ' | 'ǆ' => 'ǅ',
        'Ǉ' | 'ǉ' => 'ǈ',
        'Ǌ' | 'ǌ' => 'ǋ',
        'Ǳ' | 'ǳ' => 'ǲ',
        other => upper(other),
    }
}

fn separates(character: char) -> bool {
    if character.is_ascii() {
        return !(character.is_ascii_alphanumeric() || character == '_');
    }
    !character.is_alphanumeric() && is_space(character)
}

/// goutils' `Uncapitalize`.
fn untitle(text: &str) -> String {
    let mut next = true;
    text.chars()
        .map(|character| {
            if is_space(character) {
                next = true;
                character
            } else if std::mem::take(&mut next) {
                lower(character)
            } else {
                character
            }
        })
        .collect()
}

/// goutils' `SwapCase`.
fn swap_case(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        out.push(if character.is_uppercase() {
            lower(character)
        } else if character.is_lowercase() {
            upper(character)
        } else {
            character
        });
    }
    out
}

/// goutils takes bytes for characters here.
fn initials(text: &[u8]) -> String {
    let mut after_gap = true;
    let mut out = String::new();
    for character in text.iter().map(|byte| char::from(*byte)) {
        if is_space(character) {
            after_gap = true;
        } else if std::mem::take(&mut after_gap) {
            out.push(character);
        }
    }
    out
}

/// goutils takes bytes for characters here, if there is any space.
fn without_space(text: &[u8]) -> Value {
    let is_gap = |byte: &u8| is_space(char::from(*byte));
    if !text.iter().any(is_gap) {
        return Value::from_bytes(text);
    }
    Value::text(text.iter().filter(|byte| !is_gap(byte)).map(|byte| char::from(*byte)).collect::<String>())
}

/// goutils' `WrapCustom`, in bytes.
fn wrap(engine: &mut Engine<'_>, text: &[u8], width: i64, separator: &[u8], cut_words: bool) -> Answer {
    let width = usize::try_from(width.max(1)).unwrap_or(usize::MAX);
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while text.len() - at > width {
        if text.get(at) == Some(&b' ') {
            at += 1;
            continue;
        }
        let line = text.get(at..=at + width).unwrap_or_default();
        let end = match line.iter().rposition(|byte| *byte == b' ') {
            Some(space) => Some((at + space, at + space + 1)),
            None if cut_words => Some((at + width, at + width)),
            None => {
                let rest = text.get(at + width..).unwrap_or_default();
                rest.iter()
                    .position(|byte| *byte == b' ')
                    .map(|space| (at + width + space, at + width + space + 1))
            }
        };
        let Some((end, next)) = end else { break };
        out.extend_from_slice(text.get(at..end).unwrap_or_default());
        out.extend_from_slice(separator);
        engine.can_write(out.len())?;
        at = next;
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default());
    Ok(Value::from_bytes(out))
}

fn is_connector(character: char) -> bool {
    character == '-' || character == '_' || is_space(character)
}

/// xstrings' `ToPascalCase`.
fn pascal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    let mut first_is_upper = false;
    let mut current = None;
    for character in characters.by_ref() {
        if !is_connector(character) {
            first_is_upper = character.is_uppercase();
            current = Some(upper(character));
            break;
        }
        out.push(character);
        current = Some(character);
    }
    let Some(mut current) = current else { return out };
    if characters.as_str().is_empty() {
        // xstrings writes a last connector twice.
        out.push(current);
        return out;
    }
    for character in characters {
        let before = current;
        current = character;
        if is_connector(current) && is_connector(before) {
            out.push(before);
            continue;
        }
        if is_connector(before) {
            first_is_upper = current.is_uppercase();
            current = upper(current);
        } else {
            if first_is_upper {
                if current.is_uppercase() {
                    current = lower(current);
                } else {
                    first_is_upper = false;
                }
            }
            out.push(before);
        }
    }
    out.push(current);
    out
}

/// What xstrings takes for a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    None,
    Number,
    Upper,
    Letters,
    Connector,
    Punctuation,
    Other,
}

fn is_letter(character: char) -> bool {
    character.is_alphabetic()
        && !matches!(character, '\u{3041}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fcc}')
}

/// Go's `unicode.IsPunct`, for what charts hold.
fn is_punctuation(character: char) -> bool {
    match character {
        '$' | '+' | '<' | '=' | '>' | '^' | '`' | '|' | '~' => false,
        character if character.is_ascii() => character.is_ascii_punctuation(),
        '¡'
        | '§'
        | '«'
        | '¶'
        | '·'
        | '»'
        | '¿'
        | '‐'..='‧'
        | '‰'..='⁃'
        | '⁅'..='⁑'
        | '⁓'..='⁞'
        | '、'..='〃'
        | '〈'..='】' => true,
        _ => false,
    }
}

/// The next word: its sort, its length in bytes.
fn next_word(text: &str) -> (Word, usize) {
    let mut characters = text.chars();
    let Some(first) = characters.next() else { return (Word::None, 0) };
    let run = |from: usize, fits: &dyn Fn(char) -> bool| {
        from + text
            .get(from..)
            .unwrap_or_default()
            .chars()
            .take_while(|c| fits(*c))
            .map(char::len_utf8)
            .sum::<usize>()
    };
    let start = first.len_utf8();
    let small = |c: char| is_letter(c) && !c.is_uppercase();
    if is_connector(first) {
        (Word::Connector, run(0, &is_connector))
    } else if is_punctuation(first) {
        (Word::Punctuation, run(0, &is_punctuation))
    } else if first.is_uppercase() {
        match characters.next() {
            Some(second) if second.is_uppercase() => {
                let end = run(0, &char::is_uppercase);
                let last =
                    text.get(..end).and_then(|word| word.chars().next_back()).map_or(0, char::len_utf8);
                let next = text.get(end..).and_then(|rest| rest.chars().next());
                // The last capital belongs to the word that follows.
                (Word::Upper, if next.is_some_and(is_letter) { end - last } else { end })
            }
            Some(second) if is_letter(second) => (Word::Upper, run(start, &small)),
            _ => (Word::Upper, start),
        }
    } else if is_letter(first) {
        (Word::Letters, run(start, &small))
    } else if first.is_numeric() {
        (Word::Number, run(0, &char::is_numeric))
    } else {
        let other = |c: char| !(is_connector(c) || is_letter(c) || c.is_numeric() || is_punctuation(c));
        (Word::Other, run(start, &other))
    }
}

/// A word as it is taken from a text: what it is, and whether nothing follows.
type Taken<'a> = (Word, &'a str, bool);

/// The words of a text, one after the other.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn take(&mut self) -> Taken<'a> {
        let (sort, length) = next_word(self.0);
        let (word, after) = self.0.split_at(length);
        self.0 = after;
        (sort, word, after.is_empty())
    }

    /// Writes letters and numbers that follow a number, and what separates them from the rest; answers what comes next.
    fn after_number(&mut self, mut next: Taken<'a>, connector: char, out: &mut String) -> Taken<'a> {
        while matches!(next.0, Word::Letters | Word::Number) {
            put(out, next.0, next.1, connector);
            next = self.take();
        }
        if !matches!(next.0, Word::None | Word::Punctuation | Word::Connector) {
            out.push(connector);
        }
        next
    }
}

/// xstrings' `ToSnakeCase` and `ToKebabCase`.
fn separated(text: &str, connector: char) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut words = Words(text);
    let (mut sort, mut word, mut is_last) = words.take();
    while !is_last {
        if sort != Word::Connector {
            put(&mut out, sort, word, connector);
        }
        let (before, last) = (sort, word);
        (sort, word, is_last) = words.take();
        match before {
            Word::Number => {
                (sort, word, is_last) = words.after_number((sort, word, is_last), connector, &mut out);
            }
            Word::Connector => put(&mut out, before, last, connector),
            Word::Punctuation => {}
            Word::None | Word::Upper | Word::Letters | Word::Other => {
                if sort != Word::Number {
                    if !matches!(sort, Word::Connector | Word::Punctuation) {
                        out.push(connector);
                    }
                    continue;
                }
                if is_last {
                    continue;
                }
                let number = word;
                (sort, word, is_last) = words.take();
                if sort != Word::Letters {
                    put(&mut out, Word::Number, number, connector);
                    if !matches!(sort, Word::Connector | Word::Punctuation) {
                        out.push(connector);
                    }
                    continue;
                }
                out.push(connector);
                put(&mut out, Word::Number, number, connector);
                (sort, word, is_last) = words.after_number((sort, word, is_last), connector, &mut out);
            }
        }
    }
    put(&mut out, sort, word, connector);
    out
}

fn put(out: &mut String, sort: Word, word: &str, connector: char) {
    if !matches!(sort, Word::Upper | Word::Connector) {
        out.push_str(word);
        return;
    }
    out.extend(word.chars().map(|c| {
        if is_connector(c) {
            connector
        } else if c.is_uppercase() {
            lower(c)
        } else {
            c
        }
    }));
}
