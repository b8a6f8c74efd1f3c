//! Go's `Sprintf`: verbs with flags, width and precision.

use super::{is_print, print, quote, quote_with};
use crate::number;
use crate::value::{Extent, Value};

/// The flags of a verb.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "Go's own flags")]
struct Flags {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

impl Flags {
    /// Whether it is worth a look how much is filled.
    fn is_wide(self) -> bool {
        self.width.max(self.precision).is_some_and(|width| width > 64)
    }
}

/// The widest field that is filled; Go's own limit is 1e6.
const WIDEST: usize = 1_000_000;

/// A float has no more digits than this after its point, but zeros.
const EXACT: usize = 1_100;

/// Go's `Sprintf`; `None`: it would be longer than `most` bytes.
pub(crate) fn sprintf(format: &str, arguments: &[Value], most: usize) -> Option<Vec<u8>> {
    let mut reader = Reader { out: Vec::new(), rest: format, arguments, next: 0, reordered: false };
    while let Some(at) = reader.rest.find('%') {
        reader.out.extend_from_slice(reader.rest.get(..at).unwrap_or_default().as_bytes());
        reader.rest = reader.rest.get(at + 1..).unwrap_or_default();
        let ended = !reader.verb(most)?;
        if reader.out.len() > most {
            return None;
        }
        if ended {
            break;
        }
    }
    reader.extra();
    Some(reader.out)
}

/// Reads a format.
struct Reader<'a> {
    out: Vec<u8>,
    rest: &'a str,
    arguments: &'a [Value],
    /// The argument that is next.
    next: usize,
    /// Whether arguments were named by number.
    reordered: bool,
}

impl Reader<'_> {
    /// Reads what follows `%`, and writes it. `None`: too much is wanted of it;
    /// `false`: the format has ended.
    fn verb(&mut self, most: usize) -> Option<bool> {
        let mut flags = self.flags();
        let count = self.arguments.len();
        let mut bad_index = !index(&mut self.rest, &mut self.next, &mut self.reordered, count);
        if let Some(after) = self.rest.strip_prefix('*') {
            self.rest = after;
            match star(self.arguments, &mut self.next) {
                Some(width) => {
                    flags.minus |= width < 0;
                    flags.zero &= width >= 0;
                    flags.width = usize::try_from(width.unsigned_abs()).ok();
                }
                None => self.out.extend_from_slice(b"%!(BADWIDTH)"),
            }
        } else {
            flags.width = digits(&mut self.rest);
        }
        if let Some(after) = self.rest.strip_prefix('.') {
            self.rest = after;
            bad_index |= !index(&mut self.rest, &mut self.next, &mut self.reordered, count);
            flags.precision = self.precision();
        }
        bad_index |= !index(&mut self.rest, &mut self.next, &mut self.reordered, count);
        let Some(verb) = self.rest.chars().next() else {
            self.out.extend_from_slice(b"%!(NOVERB)");
            return Some(false);
        };
        self.rest = self.rest.get(verb.len_utf8()..).unwrap_or_default();
        if verb == '%' {
            self.out.push(b'%');
        } else if bad_index {
            self.out.extend_from_slice(format!("%!{verb}(BADINDEX)").as_bytes());
        } else if let Some(value) = self.arguments.get(self.next) {
            self.next += 1;
            if flags.is_wide() && too_wide(value, flags, most) {
                return None;
            }
            verb_of(&mut self.out, verb, value, flags);
        } else {
            self.out.extend_from_slice(format!("%!{verb}(MISSING)").as_bytes());
        }
        Some(true)
    }

    fn flags(&mut self) -> Flags {
        let mut flags = Flags::default();
        loop {
            match self.rest.as_bytes().first() {
                Some(b'-') => {
                    flags.minus = true;
                    flags.zero = false;
                }
                Some(b'+') => flags.plus = true,
                Some(b'#') => flags.sharp = true,
                Some(b' ') => flags.space = true,
                Some(b'0') => flags.zero = true,
                _ => return flags,
            }
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
    }

    fn precision(&mut self) -> Option<usize> {
        let Some(after) = self.rest.strip_prefix('*') else {
            return Some(digits(&mut self.rest).unwrap_or(0));
        };
        self.rest = after;
        if let Some(precision) = star(self.arguments, &mut self.next) {
            return usize::try_from(precision).ok();
        }
        self.out.extend_from_slice(b"%!(BADPREC)");
        None
    }

    /// The end of the text, and arguments that nothing asked for.
    fn extra(&mut self) {
        let Self { out, arguments, next, .. } = self;
        if !out.ends_with(b"%!(NOVERB)") {
            out.extend_from_slice(self.rest.as_bytes());
        }
        if self.reordered || *next >= arguments.len() {
            return;
        }
        out.extend_from_slice(b"%!(EXTRA ");
        for (index, value) in arguments.iter().enumerate().skip(*next) {
            if index > *next {
                out.extend_from_slice(b", ");
            }
            if value.is_nil() {
                out.extend_from_slice(b"<nil>");
            } else {
                out.extend_from_slice(value.type_name().as_bytes());
                out.push(b'=');
                print(value, out);
            }
        }
        out.push(b')');
    }
}

/// Whether a field for each element of a value would be too much.
fn too_wide(value: &Value, flags: Flags, most: usize) -> bool {
    let width = flags.width.unwrap_or(0).saturating_add(flags.precision.unwrap_or(0));
    let nodes = match value {
        Value::Bytes(bytes) => bytes.len(),
        Value::Map(_) | Value::List(_) => {
            // Keys are filled, too.
            let nodes = Extent::of(value, most as u64).map_or(u64::MAX, |extent| extent.nodes);
            usize::try_from(nodes).unwrap_or(usize::MAX).saturating_mul(2)
        }
        _ => 1,
    };
    width.saturating_mul(nodes) > most
}

/// Reads `[2]`; `false`: it is wrong.
fn index(rest: &mut &str, next: &mut usize, reordered: &mut bool, count: usize) -> bool {
    let Some(after) = rest.strip_prefix('[') else { return true };
    *reordered = true;
    let Some((inner, after)) = after.split_once(']') else {
        *rest = after;
        return false;
    };
    *rest = after;
    match inner.parse::<usize>() {
        Ok(number) if (1..=count).contains(&number) => {
            *next = number - 1;
            true
        }
        _ => false,
    }
}

fn star(arguments: &[Value], next: &mut usize) -> Option<i64> {
    let value = arguments.get(*next);
    *next += 1;
    match value {
        Some(Value::Int(number) | Value::Int64(number)) if number.unsigned_abs() <= WIDEST as u64 => {
            Some(*number)
        }
        _ => None,
    }
}

fn digits(rest: &mut &str) -> Option<usize> {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, after) = rest.split_at(end);
    *rest = after;
    number.parse().ok().filter(|number| *number <= WIDEST)
}

fn verb_of(out: &mut Vec<u8>, verb: char, value: &Value, mut flags: Flags) {
    // `%+v` shows more of structs, and no signs.
    flags.plus &= verb != 'v';
    match (verb, value) {
        ('T', value) => pad_text(out, value.type_name().as_bytes(), flags),
        (verb, Value::Nil | Value::Null) => {
            if verb == 'v' {
                pad_text(out, b"<nil>", flags);
            } else {
                out.extend_from_slice(format!("%!{verb}(<nil>)").as_bytes());
            }
        }
        ('v', Value::Map(_) | Value::List(_) | Value::Bytes(_))
        | (
            's' | 'q' | 'd' | 'x' | 'X' | 't' | 'f' | 'g' | 'e' | 'c' | 'b' | 'o',
            Value::Map(_) | Value::List(_),
        ) => {
            if flags.sharp && verb == 'v' {
                return go_syntax(out, value);
            }
            collection(out, verb, value, flags);
        }
        ('s', Value::Bytes(bytes)) => string_verb(out, verb, &Value::from_bytes(bytes.to_vec()), flags),
        ('q' | 'x' | 'X', Value::Bytes(bytes)) => {
            string_verb(out, verb, &Value::from_bytes(bytes.to_vec()), flags);
        }
        ('d', Value::Bytes(_)) => collection(out, verb, value, flags),
        ('v', _) if flags.sharp => go_syntax(out, value),
        ('v' | 's' | 'q' | 'x' | 'X', Value::Text(_) | Value::Raw(_)) => string_verb(out, verb, value, flags),
        ('v' | 't', Value::Bool(value)) => {
            pad_text(out, value.to_string().as_bytes(), Flags { zero: false, ..flags });
        }
        (
            'v' | 'd' | 'b' | 'o' | 'O' | 'x' | 'X' | 'c' | 'q' | 'U',
            Value::Int(number) | Value::Int64(number),
        ) => {
            integer(out, verb, *number < 0, number.unsigned_abs(), flags);
        }
        ('v' | 'd' | 'b' | 'o' | 'O' | 'x' | 'X' | 'c' | 'q' | 'U', Value::Uint(number, _)) => {
            integer(out, verb, false, *number, flags);
        }
        ('v' | 'e' | 'E' | 'f' | 'F' | 'g' | 'G' | 'x' | 'X' | 'b', Value::Float(number)) => {
            float(out, verb, *number, flags);
        }
        ('v' | 's', Value::Object(object)) => string_verb(out, 's', &Value::text(object.print()), flags),
        ('q', Value::Object(object)) => string_verb(out, 'q', &Value::text(object.print()), flags),
        (verb, value) => {
            out.extend_from_slice(format!("%!{verb}({}=", value.type_name()).as_bytes());
            verb_of(out, 'v', value, Flags { sharp: false, ..flags });
            out.push(b')');
        }
    }
}

/// An element; nil is `<nil>` whatever the verb.
fn element(out: &mut Vec<u8>, verb: char, value: &Value, flags: Flags) {
    if value.is_nil() {
        pad_text(out, b"<nil>", flags);
    } else {
        verb_of(out, verb, value, flags);
    }
}

/// Each element with the same verb.
fn collection(out: &mut Vec<u8>, verb: char, value: &Value, flags: Flags) {
    if let Value::Map(map) = value {
        out.extend_from_slice(b"map[");
        for (index, (key, value)) in map.entries().iter().enumerate() {
            if index > 0 {
                out.push(b' ');
            }
            verb_of(out, verb, &Value::Text(key.clone()), flags);
            out.push(b':');
            element(out, verb, value, flags);
        }
        out.push(b']');
        return;
    }
    out.push(b'[');
    for (index, item) in value.elements().unwrap_or_default().iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        element(out, verb, item, flags);
    }
    out.push(b']');
}

/// `%#v`
fn go_syntax(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Nil | Value::Null => out.extend_from_slice(b"interface {}(nil)"),
        Value::Text(_) | Value::Raw(_) => out.extend_from_slice(quote(value).as_bytes()),
        Value::List(list) => {
            out.extend_from_slice(value.type_name().as_bytes());
            out.push(b'{');
            for (index, item) in list.items.iter().enumerate() {
                if index > 0 {
                    out.extend_from_slice(b", ");
                }
                go_syntax(out, item);
            }
            out.push(b'}');
        }
        Value::Map(map) => {
            out.extend_from_slice(value.type_name().as_bytes());
            out.push(b'{');
            for (index, (key, value)) in map.entries().iter().enumerate() {
                if index > 0 {
                    out.extend_from_slice(b", ");
                }
                out.extend_from_slice(quote(&Value::Text(key.clone())).as_bytes());
                out.push(b':');
                go_syntax(out, value);
            }
            out.push(b'}');
        }
        Value::Uint(number, _) => out.extend_from_slice(format!("{number:#x}").as_bytes()),
        other => print(other, out),
    }
}

fn string_verb(out: &mut Vec<u8>, verb: char, value: &Value, flags: Flags) {
    let bytes = value.string_bytes().unwrap_or_default();
    let cut: &[u8] = match (flags.precision, std::str::from_utf8(bytes)) {
        (Some(count), Ok(text)) if verb != 'x' && verb != 'X' => {
            let end = text.char_indices().nth(count).map_or(text.len(), |(at, _)| at);
            bytes.get(..end).unwrap_or(bytes)
        }
        (Some(count), _) => bytes.get(..count).unwrap_or(bytes),
        (None, _) => bytes,
    };
    match verb {
        'q' => {
            let quoted = if flags.sharp
                && !cut.contains(&b'`')
                && !cut.iter().any(|b| *b < b' ' && *b != b'\t' || *b == 0x7f)
            {
                format!("`{}`", String::from_utf8_lossy(cut))
            } else {
                quote_with(cut, '"', flags.plus)
            };
            pad_text(out, quoted.as_bytes(), flags);
        }
        'x' | 'X' => {
            let between = if flags.space { " " } else { "" };
            let digits: Vec<String> = cut
                .iter()
                .map(|byte| if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") })
                .collect();
            let prefix = if flags.sharp && !cut.is_empty() { "0x" } else { "" };
            pad_text(out, format!("{prefix}{}", digits.join(between)).as_bytes(), flags);
        }
        _ => pad_text(out, cut, flags),
    }
}

fn pad_text(out: &mut Vec<u8>, text: &[u8], flags: Flags) {
    let width = flags.width.unwrap_or(0);
    let length = String::from_utf8_lossy(text).chars().count();
    let fill = width.saturating_sub(length);
    let filler = if flags.zero && !flags.minus { b'0' } else { b' ' };
    if flags.minus {
        out.extend_from_slice(text);
        out.extend(std::iter::repeat_n(b' ', fill));
    } else {
        out.extend(std::iter::repeat_n(filler, fill));
        out.extend_from_slice(text);
    }
}

fn integer(out: &mut Vec<u8>, verb: char, negative: bool, size: u64, flags: Flags) {
    let character = || {
        char::from_u32(u32::try_from(size).unwrap_or(u32::MAX)).filter(|_| !negative).unwrap_or('\u{fffd}')
    };
    match verb {
        'c' => return pad_text(out, character().encode_utf8(&mut [0; 4]).as_bytes(), flags),
        'q' => {
            let quoted = quote_with(character().encode_utf8(&mut [0; 4]).as_bytes(), '\'', flags.plus);
            return pad_text(out, quoted.as_bytes(), flags);
        }
        'U' => {
            let shown = if flags.sharp && is_print(character()) {
                format!(" '{}'", character())
            } else {
                String::new()
            };
            let digits = filled(&format!("{size:X}"), flags.precision.unwrap_or(0).max(4));
            let flags = Flags { zero: false, ..flags };
            return pad_text(out, format!("U+{digits}{shown}").as_bytes(), flags);
        }
        _ => {}
    }
    let mut digits = match verb {
        'b' => format!("{size:b}"),
        'o' | 'O' => format!("{size:o}"),
        'x' => format!("{size:x}"),
        'X' => format!("{size:X}"),
        _ => size.to_string(),
    };
    let sign = match (negative, flags.plus, flags.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        _ => "",
    };
    if let Some(precision) = flags.precision {
        if precision == 0 && size == 0 {
            return pad_text(out, b"", Flags { zero: false, ..flags });
        }
        digits = filled(&digits, precision);
    } else if flags.zero && !flags.minus {
        let width = flags.width.unwrap_or(0).saturating_sub(sign.len());
        digits = filled(&digits, width);
    }
    let prefix = match verb {
        'b' if flags.sharp => "0b",
        'o' if flags.sharp && !digits.starts_with('0') => "0",
        'O' => "0o",
        'x' if flags.sharp => "0x",
        'X' if flags.sharp => "0X",
        _ => "",
    };
    pad_text(out, format!("{sign}{prefix}{digits}").as_bytes(), Flags { zero: false, ..flags });
}

fn float(out: &mut Vec<u8>, verb: char, number: f64, flags: Flags) {
    let size = number.abs();
    let body = if number.is_finite() {
        match (verb, flags.precision) {
            ('f' | 'F', precision) => fixed_point(size, precision.unwrap_or(6)),
            ('e' | 'E', precision) => {
                let (mantissa, power) = scientific(size, precision.unwrap_or(6));
                let sign = if power < 0 { '-' } else { '+' };
                format!("{mantissa}{verb}{sign}{:02}", power.abs())
            }
            ('x' | 'X', precision) => hexadecimal(size, precision, verb == 'X'),
            ('b', _) => {
                let bits = size.to_bits();
                let (fraction, exponent) = (bits & ((1 << 52) - 1), bits >> 52);
                let mantissa = if exponent == 0 { fraction } else { fraction | 1 << 52 };
                let power = i64::try_from(exponent.max(1)).unwrap_or(0) - 1075;
                format!("{mantissa}p{}{}", if power < 0 { "" } else { "+" }, power)
            }
            (_, precision) if flags.sharp => general_with(size, precision.unwrap_or(6).max(1), true),
            (_, Some(precision)) => general_with(size, precision.max(1), false),
            (_, None) => number::general(size),
        }
    } else if number.is_nan() {
        "NaN".to_owned()
    } else {
        "Inf".to_owned()
    };
    let body = if verb == 'G' { body.to_uppercase() } else { body };
    let sign = match (number.is_sign_negative() && !number.is_nan(), flags.plus, flags.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        _ => {
            if number.is_infinite() {
                "+"
            } else {
                ""
            }
        }
    };
    if flags.zero && !flags.minus && number.is_finite() {
        let width = flags.width.unwrap_or(0).saturating_sub(sign.len());
        let body = filled(&body, width);
        pad_text(out, format!("{sign}{body}").as_bytes(), Flags { zero: false, ..flags });
    } else {
        pad_text(out, format!("{sign}{body}").as_bytes(), Flags { zero: false, ..flags });
    }
}

/// A text with zeros before it: Rust's own formats are not as wide as Go's.
fn filled(text: &str, width: usize) -> String {
    let mut out = "0".repeat(width.saturating_sub(text.len()));
    out.push_str(text);
    out
}

/// `%.3f`, with as many digits as Go allows.
fn fixed_point(size: f64, precision: usize) -> String {
    let exact = precision.min(EXACT);
    let mut text = format!("{size:.exact$}");
    text.extend(std::iter::repeat_n('0', precision - exact));
    text
}

/// The digits and the power of `%.3e`.
fn scientific(size: f64, precision: usize) -> (String, i32) {
    let exact = precision.min(EXACT);
    let text = format!("{size:.exact$e}");
    let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
    let mut mantissa = mantissa.to_owned();
    mantissa.extend(std::iter::repeat_n('0', precision - exact));
    (mantissa, power.parse().unwrap_or(0))
}

/// `%x` of a float: `0x1.8p+00`.
fn hexadecimal(size: f64, precision: Option<usize>, upper: bool) -> String {
    let bits = size.to_bits();
    let (mut mantissa, mut exponent) = (bits & ((1 << 52) - 1), i64::try_from(bits >> 52).unwrap_or(0));
    if size == 0.0 {
        (mantissa, exponent) = (0, 0);
    } else if exponent == 0 {
        // Subnormal numbers are made normal.
        let shift = mantissa.leading_zeros() - 11;
        mantissa = mantissa << shift & ((1 << 52) - 1);
        exponent = -1022 - i64::from(shift);
    } else {
        exponent -= 1023;
    }
    let mut lead = u64::from(size != 0.0);
    let mut digits = format!("{mantissa:013x}");
    match precision {
        None => digits.truncate(digits.trim_end_matches('0').len()),
        Some(precision) if precision < 13 => {
            let dropped = u32::try_from(4 * (13 - precision)).unwrap_or(52);
            let whole = lead << 52 | mantissa;
            let (kept, rest, half) = (whole >> dropped, whole & ((1 << dropped) - 1), 1 << (dropped - 1));
            let rounded = kept + u64::from(rest > half || rest == half && kept & 1 == 1);
            lead = rounded >> (52 - dropped);
            digits = format!("{:013x}", rounded << dropped & ((1 << 52) - 1));
            digits.truncate(precision);
            if lead > 1 {
                lead = 1;
                exponent += 1;
            }
        }
        Some(precision) => digits.extend(std::iter::repeat_n('0', precision - 13)),
    }
    let point = if digits.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    let text = format!("0x{lead}{point}{digits}p{sign}{:02}", exponent.abs());
    if upper { text.to_uppercase() } else { text }
}

/// `%.3g`
fn general_with(size: f64, precision: usize, zeros: bool) -> String {
    if size == 0.0 && !zeros {
        return "0".to_owned();
    }
    let (mantissa, power) = scientific(size, precision - 1);
    let trim = |text: &str| {
        if text.contains('.') && !zeros {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    let limit = i32::try_from(precision).unwrap_or(i32::MAX);
    if power < -4 || power >= limit {
        let sign = if power < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(&mantissa), power.abs());
    }
    let places = usize::try_from(limit - 1 - power).unwrap_or(0);
    trim(&fixed_point(size, places))
}
