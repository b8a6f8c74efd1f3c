//! Numbers as Go's `strconv` reads and writes them.

/// Go's `strconv.ParseInt`; base 0 takes prefixes and underscores.
pub(crate) fn parse_int(text: &str, base: u32) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let value = i128::from(unsigned(digits, base)?);
    i64::try_from(if negative { -value } else { value }).ok()
}

/// Go's `strconv.ParseUint` with base 0.
pub(crate) fn parse_uint(text: &str) -> Option<u64> {
    unsigned(text, 0)
}

fn unsigned(digits: &str, base: u32) -> Option<u64> {
    let (radix, digits, prefixed) = match (base, digits.as_bytes()) {
        (0, [b'0', b'x' | b'X', ..]) => (16, digits.get(2..)?, true),
        (0, [b'0', b'o' | b'O', ..]) => (8, digits.get(2..)?, true),
        (0, [b'0', b'b' | b'B', ..]) => (2, digits.get(2..)?, true),
        (0, [b'0', _, ..]) => (8, digits.get(1..)?, true),
        (0, _) => (10, digits, false),
        (base, _) => (base, digits, false),
    };
    let bytes = digits.as_bytes();
    if base == 0 && digits.contains('_') {
        // Underscores stand between digits, or after a prefix.
        let misplaced = bytes.windows(2).any(|pair| pair == b"__")
            || digits.ends_with('_')
            || digits.starts_with('_') && !prefixed;
        if misplaced {
            return None;
        }
        return plain(&digits.replace('_', ""), radix);
    }
    plain(digits, radix)
}

fn plain(digits: &str, radix: u32) -> Option<u64> {
    // `from_str_radix` would take a sign.
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

/// Go's `strconv.ParseFloat`.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    let unsigned = lower.trim_start_matches(['+', '-']);
    if lower.len() - unsigned.len() > 1 {
        return None;
    }
    match unsigned {
        "inf" | "infinity" => {
            return Some(if lower.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        "nan" => return Some(f64::NAN),
        _ => {}
    }
    if let Some(digits) = unsigned.strip_prefix("0x") {
        return hexadecimal(digits).map(|float| if lower.starts_with('-') { -float } else { float });
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let float: f64 = lower.parse().ok()?;
    float.is_finite().then_some(float)
}

fn hexadecimal(digits: &str) -> Option<f64> {
    let (mantissa, exponent) = digits.split_once('p')?;
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut value = 0.0_f64;
    for digit in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let places = i32::try_from(fraction.len()).ok()?;
    Some(value * 2.0_f64.powi(exponent - 4 * places))
}

/// The shortest digits that read back as the number, and the power of ten of the first.
fn digits(float: f64) -> (String, i32) {
    let text = format!("{:e}", float.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (mantissa.replace('.', ""), exponent.parse().unwrap_or(0))
}

/// Go's `%e` with the shortest digits: `1.5e+07`.
pub(crate) fn exponent(float: f64) -> String {
    let (digits, power) = digits(float);
    let sign = if float.is_sign_negative() { "-" } else { "" };
    let (first, rest) = digits.split_at(1.min(digits.len()));
    let point = if rest.is_empty() { "" } else { "." };
    let power_sign = if power < 0 { '-' } else { '+' };
    format!("{sign}{first}{point}{rest}e{power_sign}{:02}", power.abs())
}

/// Go's `strconv.FormatFloat(f, 'g', -1, 64)`, which is `%v`.
pub(crate) fn general(float: f64) -> String {
    if float.is_nan() {
        return "NaN".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if float == 0.0 {
        return if float.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    if (1e-4..1e6).contains(&float.abs()) { format!("{float}") } else { exponent(float) }
}

/// A whole number, where it is one far below 2^63.
pub(crate) fn whole(float: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "whole, and far below 2^63")]
    (float.fract() == 0.0 && float.abs() < 1e15).then_some(float as i64)
}

/// Go's `encoding/json`: no exponent between 1e-6 and 1e21.
pub(crate) fn json(float: f64) -> String {
    let size = float.abs();
    if float == 0.0 {
        return if float.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    if let Some(whole) = whole(float) {
        return whole.to_string();
    }
    if (1e-6..1e21).contains(&size) {
        return format!("{float}");
    }
    let text = exponent(float);
    // e-09 becomes e-9
    match text.split_once("e-0") {
        Some((mantissa, power)) => format!("{mantissa}e-{power}"),
        None => text,
    }
}
