//! Writing: goyaml.v2's emitter for values that went through JSON. Its width
//! of 80 columns counts, because checksums of this text land in annotations.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fmt::{Display, Write as _};

use super::read::{Resolved, read, resolve};
use super::shape::{Goyaml, Shape, Style, escape, is_break, is_plain, is_word, marked, wanted};
use crate::json;
use crate::number;
use crate::value::{Entries, Value};

/// Lines are folded at the first space after this column.
const WIDTH: usize = 80;

/// Writes a value as `yaml.Marshal` does, of about so many bytes; with a line
/// break at the end.
pub(crate) fn write(value: &Value, length: usize) -> Result<String, String> {
    let mut emitter = Emitter { out: String::with_capacity(length), column: 0 };
    emitter.document(value)?;
    Ok(emitter.out)
}

struct Emitter {
    out: String,
    column: usize,
}

/// Where a scalar stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Columns of continuation lines.
    pub(super) indent: usize,
    /// As a key, on one line.
    pub(super) key: bool,
}

impl Emitter {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    fn integer(&mut self, number: impl Display) {
        let before = self.out.len();
        // Writing to a string cannot fail.
        let _ = write!(self.out, "{number}");
        self.column += self.out.len() - before;
    }

    fn line(&mut self, indent: usize) {
        // A block of text may have ended its line itself, and not with `\n` only.
        if !self.out.ends_with(is_break) {
            self.out.push('\n');
        }
        self.out.extend(std::iter::repeat_n(' ', indent));
        self.column = indent;
    }

    fn document(&mut self, value: &Value) -> Result<(), String> {
        self.node(value, 0, Context::Root)?;
        if !self.out.ends_with(is_break) {
            self.out.push('\n');
        }
        Ok(())
    }

    /// Writes a value. The cursor is where it starts; `indent` is the column
    /// of the collection it is in.
    fn node(&mut self, value: &Value, indent: usize, context: Context) -> Result<(), String> {
        match value {
            value if value.is_nil_collection() => {
                self.put("null");
                Ok(())
            }
            Value::Map(map) => map.with(|entries| self.mapping(entries, indent, context)),
            Value::List(_) | Value::Bytes(_) if !matches!(value, Value::Bytes(_)) => {
                let items = value.elements().unwrap_or_default();
                if items.is_empty() {
                    self.put("[]");
                    return Ok(());
                }
                let own = indent;
                for (index, item) in items.iter().enumerate() {
                    if index > 0 || matches!(context, Context::Value) {
                        self.line(own);
                    }
                    self.put("- ");
                    self.node(item, own + 2, Context::Item)?;
                }
                Ok(())
            }
            Value::Object(object) => {
                let json = object.as_json();
                self.node(&json, indent, context)
            }
            scalar => {
                let inner = match context {
                    Context::Root => 2,
                    Context::Item => indent,
                    Context::Value => indent + 2,
                };
                self.scalar(scalar, Place { indent: inner, key: false })
            }
        }
    }

    fn mapping(&mut self, entries: &Entries, indent: usize, context: Context) -> Result<(), String> {
        if entries.is_empty() {
            self.put("{}");
            return Ok(());
        }
        let mut sorted: Vec<_> = entries.iter().collect();
        // Keys of letters are in this order already.
        if !sorted.iter().all(|(key, _)| is_letters(key)) {
            sorted = in_order(sorted, Goyaml::V2);
        }
        let own = match context {
            Context::Root | Context::Item => indent,
            Context::Value => indent + 2,
        };
        for (index, (key, value)) in sorted.into_iter().enumerate() {
            if index > 0 || matches!(context, Context::Value) {
                self.line(own);
            }
            self.entry(key, value, own)?;
        }
        Ok(())
    }

    fn entry(&mut self, key: &str, value: &Value, own: usize) -> Result<(), String> {
        check_key(key)?;
        // goyaml writes keys of more than 128 bytes, or of several lines, with `? `.
        let simple = key.len() <= 128 && (is_word(key) || !key.contains(is_break));
        if !simple {
            self.put("? ");
        }
        self.checked_text(key, Place { indent: own + 2, key: simple })?;
        if simple {
            self.put(":");
        } else {
            self.line(own);
            self.put(":");
        }
        let block = match value {
            Value::Map(map) => map.len() > 0,
            Value::List(list) => !list.items.is_empty(),
            Value::Object(object) => match object.as_json() {
                Value::Map(map) => map.len() > 0,
                Value::List(list) => !list.items.is_empty(),
                _ => false,
            },
            _ => false,
        };
        if !block || !simple {
            self.put(" ");
        }
        // After a key with `? ` a collection begins on the line of the `:`.
        if block && !simple {
            self.node(value, own + 2, Context::Item)
        } else {
            self.node(value, own, Context::Value)
        }
    }

    fn scalar(&mut self, value: &Value, place: Place) -> Result<(), String> {
        match value {
            Value::Nil | Value::Null => self.put("null"),
            Value::Bool(value) => self.put(if *value { "true" } else { "false" }),
            Value::Int(number) | Value::Int64(number) => self.integer(number),
            Value::Uint(number, _) => self.integer(number),
            Value::Float(number) if number.is_finite() => match number::whole(*number) {
                Some(whole) => self.integer(whole),
                None => self.put(&json_number(*number)),
            },
            Value::Float(number) => {
                return Err(format!("json: unsupported value: {}", number::general(*number)));
            }
            Value::Text(text) => self.checked_text(text, place)?,
            Value::Raw(bytes) => self.checked_text(&json::replaced(bytes), place)?,
            Value::Bytes(bytes) => self.text(&crate::funcs::encoding::base64(bytes), place),
            Value::List(_) | Value::Map(_) | Value::Object(_) => {}
        }
        Ok(())
    }

    /// Values are written as JSON first, and that is read as YAML, which refuses
    /// control characters that JSON does not escape.
    fn checked_text(&mut self, text: &str, place: Place) -> Result<(), String> {
        if is_word(text) && resolve(text) == Resolved::Text {
            self.out.push_str(text);
            self.column += text.len();
            return Ok(());
        }
        // Usual text is ASCII, which has one of them.
        let usual = text.bytes().all(|byte| byte < 0x7f);
        if !usual
            && text.contains(
                |c: char| matches!(c, '\x7f'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}'),
            )
        {
            return Err("yaml: control characters are not allowed".to_owned());
        }
        // JSON does not escape U+0085 either, which is read as the end of a line.
        if !usual && text.contains(NEXT_LINE) {
            let mut json = String::new();
            json::string(text, true, &mut json);
            let folded = read(&json)?;
            self.text(&folded.string_text().unwrap_or_default(), place);
        } else {
            self.text(text, place);
        }
        Ok(())
    }

    fn text(&mut self, text: &str, place: Place) {
        match Shape::of(text, Goyaml::V2).style(wanted(text), text, place.key) {
            Style::Plain => self.folded(text, place),
            Style::Single => {
                self.put("'");
                self.single(text, place);
                self.put("'");
            }
            Style::Double => self.double(text, place),
            Style::Literal => self.literal(text, place),
        }
    }

    /// Whether text needs no other line.
    fn fits(&self, text: &str, place: Place) -> bool {
        place.key || self.column + text.len() <= WIDTH
    }

    /// Writes text, and breaks lines at single spaces.
    fn folded(&mut self, text: &str, place: Place) {
        if self.fits(text, place) {
            return self.put(text);
        }
        let mut after_space = false;
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            if character == ' ' {
                if !place.key && !after_space && self.column > WIDTH && characters.peek() != Some(&' ') {
                    self.line(place.indent);
                } else {
                    self.put(" ");
                }
                after_space = true;
            } else {
                self.out.push(character);
                self.column += 1;
                after_space = false;
            }
        }
    }

    /// The inside of single quotes.
    fn single(&mut self, text: &str, place: Place) {
        if self.fits(text, place) && text.is_ascii() && !text.contains('\'') {
            return self.put(text);
        }
        let last = text.chars().count().saturating_sub(1);
        let (mut after_space, mut after_break) = (false, false);
        let mut characters = text.chars().enumerate().peekable();
        while let Some((index, character)) = characters.next() {
            if character == ' ' {
                let next_is_space = characters.peek().is_some_and(|(_, next)| *next == ' ');
                if !place.key
                    && !after_space
                    && self.column > WIDTH
                    && index > 0
                    && index < last
                    && !next_is_space
                {
                    self.line(place.indent);
                } else {
                    self.put(" ");
                }
                after_space = true;
            } else if is_break(character) {
                // U+2028 or U+2029: goyaml takes it for the end of the line, and indents what follows.
                self.out.push(character);
                after_break = true;
            } else {
                if std::mem::take(&mut after_break) {
                    self.out.extend(std::iter::repeat_n(' ', place.indent));
                    self.column = place.indent;
                }
                if character == '\'' {
                    self.put("'");
                }
                self.out.push(character);
                self.column += 1;
                after_space = false;
            }
        }
        if after_break {
            self.column = 0;
        }
    }

    fn double(&mut self, text: &str, place: Place) {
        if let Some(escaped) = marked(text) {
            self.put(&format!("\"{escaped}\""));
            return;
        }
        self.put("\"");
        let length = text.len();
        let mut after_space = false;
        let mut characters = text.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            if character == ' ' {
                if !place.key && !after_space && self.column > WIDTH && at > 0 && at + 1 < length {
                    self.line(place.indent);
                    if characters.peek().is_some_and(|(_, next)| *next == ' ') {
                        self.put("\\");
                    }
                } else {
                    self.put(" ");
                }
                after_space = true;
            } else {
                if is_plain(character) {
                    self.out.push(character);
                    self.column += 1;
                } else {
                    self.put(&escape(character));
                }
                after_space = false;
            }
        }
        self.put("\"");
    }

    fn literal(&mut self, text: &str, place: Place) {
        literal(text, place.indent, &mut self.out);
        self.column = 0;
    }
}

/// Writes a literal block: its header with the hints, and its lines.
pub(super) fn literal(text: &str, indent: usize, out: &mut String) {
    out.push('|');
    if text.starts_with(|first| first == ' ' || is_break(first)) {
        out.push('2');
    }
    let mut ends = text.chars().rev();
    match (ends.next().is_some_and(is_break), ends.next().is_none_or(is_break)) {
        (false, _) => out.push('-'),
        (true, true) => out.push('+'),
        (true, false) => {}
    }
    out.push('\n');
    // U+2028 and U+2029 end lines, too.
    for line in text.split_inclusive(is_break) {
        if !line.starts_with(is_break) {
            out.extend(std::iter::repeat_n(' ', indent.max(2)));
        }
        out.push_str(line);
    }
}

/// U+0085, a line break of YAML 1.1.
const NEXT_LINE: char = '\u{85}';

/// The longest key that goyaml reads in JSON, in characters, with quotes and escapes.
const LONGEST_KEY: usize = 1024;

/// Values are written as JSON first, in which goyaml takes no keys that are longer, or have several lines.
fn check_key(key: &str) -> Result<(), String> {
    // An escape has six characters at most.
    if key.len() < LONGEST_KEY / 6 - 1 && (key.is_ascii() || !key.contains(NEXT_LINE)) {
        return Ok(());
    }
    let mut json = String::new();
    json::string(key, true, &mut json);
    if json.chars().count() > LONGEST_KEY || json.contains(NEXT_LINE) {
        return Err("yaml: did not find expected ',' or '}'".to_owned());
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Context {
    /// The document itself.
    Root,
    /// After `- `.
    Item,
    /// After `key:`.
    Value,
}

/// A number as JSON writes it, and goyaml reads and writes again.
fn json_number(float: f64) -> String {
    if let Some(whole) = number::whole(float) {
        return whole.to_string();
    }
    if float.fract() != 0.0 {
        return number::general(float);
    }
    let json = number::json(float);
    match resolve(&json) {
        Resolved::Int(number) => number.to_string(),
        Resolved::Uint(number) => number.to_string(),
        _ => number::general(float),
    }
}

fn is_letters(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// Entries in goyaml's order. That goes in circles for some keys (`1e+06`, `0644`, `1234567890123456`): a heap takes it as
/// it is, where a sort may panic.
pub(super) fn in_order<K: AsRef<str>, V>(entries: Vec<(K, V)>, goyaml: Goyaml) -> Vec<(K, V)> {
    struct Ordered<K, V>(K, V, Goyaml);
    impl<K: AsRef<str>, V> Ord for Ordered<K, V> {
        fn cmp(&self, other: &Self) -> Ordering {
            natural(self.0.as_ref(), other.0.as_ref(), self.2)
        }
    }
    impl<K: AsRef<str>, V> PartialOrd for Ordered<K, V> {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }
    impl<K: AsRef<str>, V> PartialEq for Ordered<K, V> {
        fn eq(&self, other: &Self) -> bool {
            self.cmp(other) == Ordering::Equal
        }
    }
    impl<K: AsRef<str>, V> Eq for Ordered<K, V> {}
    let heap: BinaryHeap<_> = entries.into_iter().map(|(key, value)| Ordered(key, value, goyaml)).collect();
    heap.into_sorted_vec().into_iter().map(|Ordered(key, value, _)| (key, value)).collect()
}

/// goyaml's order of keys: letters after others, but for goyaml.v3 before them where a digit is in front; digits as
/// numbers.
fn natural(left: &str, right: &str, goyaml: Goyaml) -> Ordering {
    if is_letters(left) && is_letters(right) {
        return left.cmp(right);
    }
    let (a, b): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let digit = |characters: &[char], at: usize| characters.get(at).copied().filter(char::is_ascii_digit);
    for (at, (x, y)) in a.iter().zip(&b).enumerate() {
        if x == y {
            continue;
        }
        let (x_letter, y_letter) = (x.is_alphabetic(), y.is_alphabetic());
        if x_letter && y_letter {
            return x.cmp(y);
        }
        if x_letter || y_letter {
            let after_digit =
                at.checked_sub(1).and_then(|before| a.get(before)).is_some_and(char::is_ascii_digit);
            let letters_first = goyaml == Goyaml::V3 && after_digit;
            return if y_letter == letters_first { Ordering::Greater } else { Ordering::Less };
        }
        let (mut x_number, mut y_number) = (0_i64, 0_i64);
        if *x == '0' || *y == '0' {
            let mut before = at;
            while before > 0
                && let Some(known) = digit(&a, before - 1)
            {
                before -= 1;
                if known != '0' {
                    (x_number, y_number) = (1, 1);
                    break;
                }
            }
        }
        let number = |characters: &[char], from: usize, start: i64| {
            let mut value = start;
            let mut end = from;
            while let Some(found) = digit(characters, end) {
                value = value.wrapping_mul(10).wrapping_add(i64::from(found.to_digit(10).unwrap_or(0)));
                end += 1;
            }
            (value, end)
        };
        let (x_number, x_end) = number(&a, at, x_number);
        let (y_number, y_end) = number(&b, at, y_number);
        return x_number.cmp(&y_number).then(x_end.cmp(&y_end)).then(x.cmp(y));
    }
    a.len().cmp(&b.len())
}
