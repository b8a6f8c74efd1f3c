//! Writing: goyaml.v2's emitter for values that went through JSON. Its width
//! of 80 columns counts, because checksums of this text land in annotations.

use std::cmp::Ordering;

use super::read::{Resolved, resolve};
use crate::number;
use crate::value::{Entries, Value};

/// Lines are folded at the first space after this column.
const WIDTH: usize = 80;

/// Writes a value as `yaml.Marshal` does; with a line break at the end.
pub(crate) fn write(value: &Value) -> Result<String, String> {
    let mut emitter = Emitter { out: String::new(), column: 0 };
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

    fn line(&mut self, indent: usize) {
        // A block of text may have ended its line itself.
        if !self.out.ends_with('\n') {
            self.out.push('\n');
        }
        self.out.extend(std::iter::repeat_n(' ', indent));
        self.column = indent;
    }

    fn document(&mut self, value: &Value) -> Result<(), String> {
        self.node(value, 0, Context::Root)?;
        if !self.out.ends_with('\n') {
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
        sorted.sort_by(|a, b| natural(a.0, b.0));
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
        // goyaml writes keys of more than 128 bytes, or of several lines, with `? `.
        let simple = key.len() <= 128 && !key.contains(is_break);
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
        if !block {
            self.put(" ");
        }
        self.node(value, own, Context::Value)
    }

    fn scalar(&mut self, value: &Value, place: Place) -> Result<(), String> {
        match value {
            Value::Nil | Value::Null => self.put("null"),
            Value::Bool(value) => self.put(if *value { "true" } else { "false" }),
            Value::Int(number) | Value::Int64(number) => self.put(&number.to_string()),
            Value::Uint(number, _) => self.put(&number.to_string()),
            Value::Float(number) if number.is_finite() => self.put(&json_number(*number)),
            Value::Float(number) => {
                return Err(format!("json: unsupported value: {}", number::general(*number)));
            }
            Value::Text(text) => self.checked_text(text, place)?,
            Value::Raw(_) => self.checked_text(&value.string_text().unwrap_or_default(), place)?,
            Value::Bytes(bytes) => self.text(&crate::funcs::encoding::base64(bytes), place),
            Value::List(_) | Value::Map(_) | Value::Object(_) => {}
        }
        Ok(())
    }

    /// Values are written as JSON first, and that is read as YAML, which refuses
    /// control characters that JSON does not escape.
    fn checked_text(&mut self, text: &str, place: Place) -> Result<(), String> {
        // Usual text is ASCII, which has one of them.
        let usual = text.bytes().all(|byte| byte < 0x7f);
        if !usual
            && text.contains(
                |c: char| matches!(c, '\x7f'..='\u{84}' | '\u{86}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}'),
            )
        {
            return Err("yaml: control characters are not allowed".to_owned());
        }
        self.text(text, place);
        Ok(())
    }

    fn text(&mut self, text: &str, place: Place) {
        match Shape::of(text).style(wanted(text), text, place.key) {
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
        if self.fits(text, place) && !text.contains('\'') {
            return self.put(text);
        }
        let last = text.chars().count().saturating_sub(1);
        let mut after_space = false;
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
            } else {
                if character == '\'' {
                    self.put("'");
                }
                self.out.push(character);
                self.column += 1;
                after_space = false;
            }
        }
    }

    fn double(&mut self, text: &str, place: Place) {
        if text.starts_with('\u{feff}') {
            // goyaml escapes all that follows a byte order mark.
            let escaped: String = text
                .chars()
                .map(|c| {
                    escape(c).unwrap_or_else(|| {
                        let code = u32::from(c);
                        if code <= 0xff { format!("\\x{code:02X}") } else { format!("\\u{code:04X}") }
                    })
                })
                .collect();
            self.put(&format!("\"{escaped}\""));
            return;
        }
        self.put("\"");
        let length = text.len();
        let mut after_space = false;
        let mut characters = text.char_indices().peekable();
        while let Some((at, character)) = characters.next() {
            match escape(character) {
                Some(escaped) => {
                    self.put(&escaped);
                    after_space = false;
                }
                None if character == ' ' => {
                    if !place.key && !after_space && self.column > WIDTH && at > 0 && at + 1 < length {
                        self.line(place.indent);
                        if characters.peek().is_some_and(|(_, next)| *next == ' ') {
                            self.put("\\");
                        }
                    } else {
                        self.put(" ");
                    }
                    after_space = true;
                }
                None => {
                    self.out.push(character);
                    self.column += 1;
                    after_space = false;
                }
            }
        }
        self.put("\"");
    }

    fn literal(&mut self, text: &str, place: Place) {
        literal(text, place.indent, &mut self.out);
        self.column = 0;
    }
}

/// The style that goyaml asks for: quotes for what would be read as another
/// type. Dates went through JSON as text, and goyaml sees them as dates again.
pub(super) fn wanted(text: &str) -> Style {
    if text.contains('\n') {
        Style::Literal
    } else if resolve(text) != Resolved::Text || is_base60(text) {
        Style::Double
    } else {
        Style::Plain
    }
}

/// Writes a literal block: its header with the hints, and its lines.
pub(super) fn literal(text: &str, indent: usize, out: &mut String) {
    out.push('|');
    if text.starts_with([' ', '\n']) {
        out.push('2');
    }
    if !text.ends_with('\n') {
        out.push('-');
    } else if text.ends_with("\n\n") || text == "\n" {
        out.push('+');
    }
    out.push('\n');
    for line in text.split_inclusive('\n') {
        if line != "\n" {
            out.extend(std::iter::repeat_n(' ', indent.max(2)));
        }
        out.push_str(line);
    }
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

/// What a text allows (libyaml's `yaml_emitter_analyze_scalar`).
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "libyaml's own flags")]
pub(super) struct Shape {
    multiline: bool,
    plain: bool,
    single: bool,
    block: bool,
}

impl Shape {
    pub(super) fn of(text: &str) -> Self {
        if text.is_empty() {
            return Self { multiline: false, plain: true, single: true, block: false };
        }
        let usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
        if text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.bytes().all(usual) {
            return Self { multiline: false, plain: true, single: true, block: true };
        }
        let mut indicators = text.starts_with("---") || text.starts_with("...");
        let (mut breaks, mut special) = (false, false);
        let (mut break_space, mut space_break) = (false, false);
        let (mut previous_space, mut previous_break) = (false, false);
        let mut preceded = true;
        let mut characters = text.chars().peekable();
        let mut first = true;
        while let Some(character) = characters.next() {
            let followed = characters.peek().is_none_or(|next| is_blank(*next));
            if first {
                indicators |= match character {
                    '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%'
                    | '@' | '`' => true,
                    '?' | ':' | '-' => followed,
                    _ => false,
                };
            } else {
                indicators |= character == ':' && followed || character == '#' && preceded;
            }
            special |= !is_printable(character) || character == '\u{feff}';
            if character == ' ' {
                break_space |= previous_break;
                (previous_space, previous_break) = (true, false);
            } else if is_break(character) {
                breaks = true;
                space_break |= previous_space;
                (previous_space, previous_break) = (false, true);
            } else {
                (previous_space, previous_break) = (false, false);
            }
            preceded = is_blank(character) || is_break(character);
            first = false;
        }
        let edge = |character: Option<char>| character.is_some_and(|c| c == ' ' || is_break(c));
        let edges = edge(text.chars().next()) || edge(text.chars().next_back());
        let awkward = break_space || space_break || special;
        Self {
            multiline: breaks,
            plain: !(edges || awkward || breaks || indicators),
            single: !awkward,
            block: !(text.ends_with(' ') || space_break || special),
        }
    }

    pub(super) fn style(self, wanted: Style, text: &str, key: bool) -> Style {
        let mut style = if key && self.multiline { Style::Double } else { wanted };
        if style == Style::Plain && (!self.plain || text.is_empty() && key) {
            style = Style::Single;
        }
        if style == Style::Single && !self.single {
            style = Style::Double;
        }
        if style == Style::Literal && (!self.block || key) {
            style = Style::Double;
        }
        style
    }
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

fn is_break(character: char) -> bool {
    matches!(character, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// goyaml's printable characters: those beyond the basic plane are not.
fn is_printable(character: char) -> bool {
    matches!(character, '\n' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && character != '\u{feff}'
}

/// How double quotes write a character; `None`: as it is.
pub(super) fn escape(character: char) -> Option<String> {
    let short = match character {
        '\0' => "\\0",
        '\x07' => "\\a",
        '\x08' => "\\b",
        '\t' => "\\t",
        '\n' => "\\n",
        '\x0b' => "\\v",
        '\x0c' => "\\f",
        '\r' => "\\r",
        '\x1b' => "\\e",
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{85}' => "\\N",
        '\u{2028}' => "\\L",
        '\u{2029}' => "\\P",
        character if is_printable(character) => return None,
        character => {
            let code = u32::from(character);
            return Some(match code {
                0..=0xff => format!("\\x{code:02X}"),
                0x100..=0xffff => format!("\\u{code:04X}"),
                _ => format!("\\U{code:08X}"),
            });
        }
    };
    Some(short.to_owned())
}

/// A number as JSON writes it, and goyaml reads and writes again.
pub(super) fn json_number(float: f64) -> String {
    if let Some(whole) = number::whole(float) {
        return whole.to_string();
    }
    let json = number::json(float);
    match resolve(&json) {
        Resolved::Int(number) => number.to_string(),
        Resolved::Uint(number) => number.to_string(),
        _ => number::general(float),
    }
}

/// goyaml's `^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$`.
pub(super) fn is_base60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut parts = unsigned.split(':');
    let Some(first) = parts.next() else { return false };
    if !first.starts_with(|c: char| c.is_ascii_digit())
        || !first.bytes().all(|b| b.is_ascii_digit() || b == b'_')
    {
        return false;
    }
    let rest: Vec<&str> = parts.collect();
    let Some((last, middle)) = rest.split_last() else { return false };
    let sixty = |part: &str| match part.as_bytes() {
        [digit] => digit.is_ascii_digit(),
        [tens, ones] => (b'0'..=b'5').contains(tens) && ones.is_ascii_digit(),
        _ => false,
    };
    let (whole, fraction) = last.split_once('.').unwrap_or((last, ""));
    middle.iter().all(|part| sixty(part))
        && sixty(whole)
        && fraction.bytes().all(|b| b.is_ascii_digit() || b == b'_')
}

/// goyaml's order of keys: letters after others, digits as numbers.
pub(super) fn natural(left: &str, right: &str) -> Ordering {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphabetic());
    if plain(left) && plain(right) {
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
            return if y_letter { Ordering::Less } else { Ordering::Greater };
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
