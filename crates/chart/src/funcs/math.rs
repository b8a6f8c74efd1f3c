//! Numbers: sprig's arithmetic, with its casts.

use std::fmt::Write as _;

use super::Type::{Any, Float, Int, Text};
use super::decimal::Decimal;
use super::{Answer, Function, arg, fixed, int, open, text, walking};
use crate::exec::{Engine, Stop};
use crate::format;
use crate::number;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("atoi", &[Text], |_, a| {
        Ok(Value::Int(text(a, 0).parse::<i64>().unwrap_or_else(|_| saturated(&text(a, 0)))))
    }),
    fixed("int", &[Any], |_, a| Ok(Value::Int(to_int64(arg(a, 0))))),
    fixed("int64", &[Any], |_, a| Ok(Value::Int64(to_int64(arg(a, 0))))),
    fixed("float64", &[Any], |_, a| Ok(Value::Float(to_float(arg(a, 0))))),
    walking("toDecimal", &[Any], |_, a| {
        let shown = String::from_utf8_lossy(&format::sprint(a)).into_owned();
        Ok(Value::Int64(octal(&shown).unwrap_or(0)))
    }),
    fixed("add1", &[Any], |_, a| Ok(Value::Int64(to_int64(arg(a, 0)).wrapping_add(1)))),
    open("add", &[], Any, |_, a| Ok(Value::Int64(a.iter().map(to_int64).fold(0, i64::wrapping_add)))),
    fixed("sub", &[Any, Any], |_, a| Ok(Value::Int64(to_int64(arg(a, 0)).wrapping_sub(to_int64(arg(a, 1)))))),
    fixed("div", &[Any, Any], |_, a| divided(a, i64::wrapping_div)),
    fixed("mod", &[Any, Any], |_, a| divided(a, i64::wrapping_rem)),
    open("mul", &[Any], Any, |_, a| Ok(Value::Int64(a.iter().map(to_int64).fold(1, i64::wrapping_mul)))),
    fixed("add1f", &[Any], |_, a| decimal(&[arg(a, 0).clone(), Value::Int(1)], Decimal::add, |a, b| a + b)),
    open("addf", &[], Any, |_, a| {
        let all: Vec<Value> = std::iter::once(Value::Float(0.0)).chain(a.iter().cloned()).collect();
        decimal(&all, Decimal::add, |a, b| a + b)
    }),
    open("subf", &[Any], Any, |_, a| decimal(a, Decimal::subtract, |a, b| a - b)),
    open("mulf", &[Any], Any, |_, a| decimal(a, Decimal::multiply, |a, b| a * b)),
    open("divf", &[Any], Any, |_, a| {
        if a.iter().skip(1).any(|value| to_float(value) == 0.0) {
            return Err("decimal division by 0".into());
        }
        decimal(a, Decimal::divide, |a, b| a / b)
    }),
    open("max", &[Any], Any, |_, a| Ok(Value::Int64(a.iter().map(to_int64).max().unwrap_or(0)))),
    open("biggest", &[Any], Any, |_, a| Ok(Value::Int64(a.iter().map(to_int64).max().unwrap_or(0)))),
    open("min", &[Any], Any, |_, a| Ok(Value::Int64(a.iter().map(to_int64).min().unwrap_or(0)))),
    open("maxf", &[Any], Any, |_, a| Ok(Value::Float(extreme(a, true)))),
    open("minf", &[Any], Any, |_, a| Ok(Value::Float(extreme(a, false)))),
    fixed("ceil", &[Any], |_, a| Ok(Value::Float(to_float(arg(a, 0)).ceil()))),
    fixed("floor", &[Any], |_, a| Ok(Value::Float(to_float(arg(a, 0)).floor()))),
    open("round", &[Any, Int], Float, |_, a| Ok(Value::Float(round(a)))),
    fixed("until", &[Int], |engine, a| {
        let count = int(a, 0);
        steps(engine, 0, count, if count < 0 { -1 } else { 1 }).map(Value::ints)
    }),
    fixed("untilStep", &[Int, Int, Int], |engine, a| {
        steps(engine, int(a, 0), int(a, 1), int(a, 2)).map(Value::ints)
    }),
    open("seq", &[], Int, sequence),
];

/// `strconv.Atoi` gives the nearest number with its error, and sprig takes it.
fn saturated(text: &str) -> i64 {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    if text.starts_with('-') { i64::MIN } else { i64::MAX }
}

/// Go's `float64` to `int64` on amd64: out of range is the smallest number.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "checked to be in range")]
fn truncate(float: f64) -> i64 {
    if float.is_nan() || float >= i64::MAX as f64 || float < i64::MIN as f64 {
        i64::MIN
    } else {
        float as i64
    }
}

/// spf13/cast's `ToInt64`; what is not a number is 0.
pub(super) fn to_int64(value: &Value) -> i64 {
    match value {
        Value::Int(number) | Value::Int64(number) => *number,
        Value::Uint(number, _) => number.cast_signed(),
        Value::Float(number) => truncate(*number),
        Value::Bool(value) => i64::from(*value),
        Value::Text(text) => number::parse_int(without_zero_fraction(text), 0).unwrap_or(0),
        _ => 0,
    }
}

/// `3.00` is `3` (cast's `trimZeroDecimal`).
fn without_zero_fraction(text: &str) -> &str {
    let trimmed = text.trim_end_matches('0');
    if trimmed.len() == text.len() {
        return text;
    }
    trimmed.strip_suffix('.').unwrap_or(text)
}

/// spf13/cast's `ToFloat64`; what is not a number is 0.
#[expect(clippy::cast_precision_loss, reason = "as Go converts")]
pub(super) fn to_float(value: &Value) -> f64 {
    match value {
        Value::Int(number) | Value::Int64(number) => *number as f64,
        Value::Uint(number, _) => *number as f64,
        Value::Float(number) => *number,
        Value::Bool(value) => f64::from(u8::from(*value)),
        Value::Text(text) => number::parse_float(text).unwrap_or(0.0),
        _ => 0.0,
    }
}

fn octal(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte)) {
        return None;
    }
    i64::from_str_radix(text, 8).ok()
}

fn divided(a: &[Value], operation: fn(i64, i64) -> i64) -> Answer {
    let (left, right) = (to_int64(arg(a, 0)), to_int64(arg(a, 1)));
    if right == 0 {
        return Err("runtime error: integer divide by zero".into());
    }
    Ok(Value::Int64(operation(left, right)))
}

/// One operation after the other on exact decimals; on floats where they grow too large.
fn decimal(
    all: &[Value],
    exact: fn(Decimal, Decimal) -> Option<Decimal>,
    float: fn(f64, f64) -> f64,
) -> Answer {
    let numbers: Vec<f64> = all.iter().map(to_float).collect();
    if numbers.iter().any(|number| !number.is_finite()) {
        return Err("Cannot create a Decimal from NaN or infinity".into());
    }
    let mut decimals = numbers.iter().map(|number| Decimal::from_float(*number));
    let first = decimals.next().flatten();
    let folded = decimals.fold(first, |sum, next| exact(sum?, next?));
    let mut floats = numbers.into_iter();
    let start = floats.next().unwrap_or(0.0);
    Ok(Value::Float(folded.map_or_else(|| floats.fold(start, float), Decimal::to_float)))
}

/// Go's `math.Max` and `math.Min`: not-a-number wins.
fn extreme(a: &[Value], greatest: bool) -> f64 {
    let mut numbers = a.iter().map(to_float);
    let first = numbers.next().unwrap_or(0.0);
    numbers.fold(first, |best, next| {
        if best.is_nan() || next.is_nan() {
            f64::NAN
        } else if if greatest { next > best } else { next < best } {
            next
        } else {
            best
        }
    })
}

fn round(a: &[Value]) -> f64 {
    let on = match a.get(2) {
        Some(Value::Float(on)) => *on,
        _ => 0.5,
    };
    #[expect(clippy::cast_precision_loss, reason = "as Go converts")]
    let power = 10_f64.powf(int(a, 1) as f64);
    let digit = power * to_float(arg(a, 0));
    let rounded = if digit.fract() >= on { digit.ceil() } else { digit.floor() };
    rounded / power
}

/// sprig's `untilStep`.
fn steps(engine: &mut Engine<'_>, start: i64, end: i64, step: i64) -> Result<Vec<i64>, Stop> {
    let runs = if end < start { step < 0 } else { step > 0 };
    if !runs {
        return Ok(Vec::new());
    }
    let count = (i128::from(end) - i128::from(start)).abs() / i128::from(step).abs() + 1;
    engine.make_list(usize::try_from(count).unwrap_or(usize::MAX))?;
    let mut all = Vec::new();
    let mut at = start;
    while if step < 0 { at > end } else { at < end } {
        all.push(at);
        match at.checked_add(step) {
            Some(next) => at = next,
            None => break,
        }
    }
    Ok(all)
}

fn sequence(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
    let (start, end, step) = match a.len() {
        1 => (1, int(a, 0), if int(a, 0) < 1 { -1 } else { 1 }),
        2 => (int(a, 0), int(a, 1), if int(a, 1) < int(a, 0) { -1 } else { 1 }),
        3 => (int(a, 0), int(a, 2), int(a, 1)),
        _ => return Ok(Value::text("")),
    };
    let down = end < start;
    if a.len() == 3 && down && step > 0 {
        return Ok(Value::text(""));
    }
    let past = end.saturating_add(if down { -1 } else { 1 });
    let numbers = steps(engine, start, past, step)?;
    let mut out = String::new();
    for (index, number) in numbers.iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(out, "{}{number}", if index > 0 { " " } else { "" });
    }
    engine.spend(out.len())?;
    Ok(Value::text(out))
}
