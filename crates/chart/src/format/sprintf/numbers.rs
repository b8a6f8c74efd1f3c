//! `Sprintf` of numbers, after Go's `fmt/format.go` and `strconv`.

use super::{Flags, pad};
use crate::format::{is_print, quote_with};
use crate::number;

/// A float has no more digits than this after its point, but zeros.
const EXACT: usize = 1_100;

/// Writes a whole number; `false`: it has no such verb. `bits` is its two's complement.
pub(super) fn integer(out: &mut Vec<u8>, verb: char, bits: u64, signed: bool, flags: Flags) -> bool {
    match verb {
        'v' if flags.sharp_v && !signed => based(out, 'x', bits, signed, Flags { sharp: true, ..flags }),
        'v' | 'd' | 'b' | 'o' | 'O' | 'x' | 'X' => based(out, verb, bits, signed, flags),
        'c' => pad(out, character(bits).encode_utf8(&mut [0; 4]).as_bytes(), flags),
        'q' => {
            let quoted = quote_with(character(bits).encode_utf8(&mut [0; 4]).as_bytes(), '\'', flags.plus);
            pad(out, quoted.as_bytes(), flags);
        }
        'U' => {
            let printable = character(bits);
            let is_shown = flags.sharp && u64::from(printable) == bits && is_print(printable);
            let shown = if is_shown { format!(" '{printable}'") } else { String::new() };
            let digits = filled(&format!("{bits:X}"), flags.precision.unwrap_or(0).max(4));
            pad(out, format!("U+{digits}{shown}").as_bytes(), Flags { zero: false, ..flags });
        }
        _ => return false,
    }
    true
}

/// What a code point is; U+FFFD, where it is none.
fn character(bits: u64) -> char {
    u32::try_from(bits).ok().and_then(char::from_u32).unwrap_or('\u{fffd}')
}

/// A whole number in a base.
fn based(out: &mut Vec<u8>, verb: char, bits: u64, signed: bool, flags: Flags) {
    let negative = signed && bits >> 63 == 1;
    let size = if negative { bits.wrapping_neg() } else { bits };
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
    let plain = Flags { zero: false, ..flags };
    if let Some(precision) = flags.precision {
        if precision == 0 && size == 0 {
            return pad(out, b"", plain);
        }
        digits = filled(&digits, precision);
    } else if flags.zero && !flags.minus {
        digits = filled(&digits, flags.width.unwrap_or(0).saturating_sub(sign.len()));
    }
    let prefix = match verb {
        'b' if flags.sharp => "0b",
        'o' if flags.sharp && !digits.starts_with('0') => "0",
        'O' if flags.sharp && !digits.starts_with('0') => "0o0",
        'O' => "0o",
        'x' if flags.sharp => "0x",
        'X' if flags.sharp => "0X",
        _ => "",
    };
    pad(out, format!("{sign}{prefix}{digits}").as_bytes(), plain);
}

/// Writes a float; `false`: it has no such verb.
pub(super) fn float(out: &mut Vec<u8>, verb: char, number: f64, flags: Flags) -> bool {
    let (style, usual) = match verb {
        'v' => ('g', None),
        'b' | 'g' | 'G' | 'x' | 'X' => (verb, None),
        'f' | 'e' | 'E' => (verb, Some(6)),
        'F' => ('f', Some(6)),
        _ => return false,
    };
    let precision = flags.precision.or(usual);
    let sign = if number.is_sign_negative() && !number.is_nan() {
        '-'
    } else if flags.space && !flags.plus {
        ' '
    } else {
        '+'
    };
    if !number.is_finite() {
        let plain = Flags { zero: false, ..flags };
        let text = match (number.is_nan(), flags.space || flags.plus) {
            (true, false) => "NaN".to_owned(),
            (true, true) => format!("{sign}NaN"),
            (false, _) => format!("{sign}Inf"),
        };
        pad(out, text.as_bytes(), plain);
        return true;
    }
    let mut body = digits(number.abs(), style, precision);
    if flags.sharp && style != 'b' {
        body = with_point(&body, style, precision);
    }
    if !flags.plus && sign == '+' {
        pad(out, body.as_bytes(), flags);
    } else if flags.zero && !flags.minus {
        let body = filled(&body, flags.width.unwrap_or(0).saturating_sub(1));
        out.extend_from_slice(format!("{sign}{body}").as_bytes());
    } else {
        pad(out, format!("{sign}{body}").as_bytes(), flags);
    }
    true
}

/// Go's `strconv.FormatFloat` of a finite size; without a precision, the shortest digits.
fn digits(size: f64, style: char, precision: Option<usize>) -> String {
    match (style, precision) {
        ('f', precision) => fixed_point(size, precision.unwrap_or(6)),
        ('e' | 'E', precision) => {
            let (mantissa, power) = scientific(size, precision.unwrap_or(6));
            let sign = if power < 0 { '-' } else { '+' };
            format!("{mantissa}{style}{sign}{:02}", power.abs())
        }
        ('x' | 'X', precision) => hexadecimal(size, precision, style == 'X'),
        ('b', _) => {
            let bits = size.to_bits();
            let (fraction, exponent) = (bits & ((1 << 52) - 1), bits >> 52);
            let mantissa = if exponent == 0 { fraction } else { fraction | 1 << 52 };
            let power = i64::try_from(exponent.max(1)).unwrap_or(0) - 1075;
            format!("{mantissa}p{}{}", if power < 0 { "" } else { "+" }, power)
        }
        (_, precision) => {
            let text =
                precision.map_or_else(|| number::general(size), |precision| general(size, precision.max(1)));
            if style == 'G' { text.to_uppercase() } else { text }
        }
    }
}

/// What `#` does to a float: it has a point, and `%g` and `%x` keep their zeros.
fn with_point(body: &str, style: char, precision: Option<usize>) -> String {
    let wanted = if matches!(style, 'g' | 'G' | 'x') { precision.unwrap_or(6) } else { 0 };
    let marks: &[char] = if matches!(style, 'x' | 'X') { &['p', 'P'] } else { &['p', 'P', 'e', 'E'] };
    let (number, tail) = body.split_at(body.find(marks).unwrap_or(body.len()));
    let significant = number.chars().filter(|c| *c != '.').skip_while(|c| *c == '0').count();
    let mut missing = wanted.saturating_sub(significant);
    let mut out = number.to_owned();
    if !number.contains('.') {
        // A leading 0 counts once.
        missing -= usize::from(number == "0" && missing > 0);
        out.push('.');
    }
    out.extend(std::iter::repeat_n('0', missing));
    out + tail
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
fn general(size: f64, precision: usize) -> String {
    if size == 0.0 {
        return "0".to_owned();
    }
    let (mantissa, power) = scientific(size, precision - 1);
    let trim = |text: &str| {
        if text.contains('.') {
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
