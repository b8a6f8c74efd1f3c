//! Times and durations: sprig's and Helm's functions on them. The layouts are in
//! `layout`.

mod layout;

use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, Zoned};

use super::Type::{Any, Text, Time};
use super::{Function, arg, fixed, text};
use crate::exec::Engine;
use crate::number;
use crate::object::Object;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("now", &[], |engine, _| {
        let now = now(engine);
        Ok(time_value(now))
    }),
    fixed("date", &[Text, Any], |engine, a| Ok(dated(engine, &text(a, 0), arg(a, 1), "Local"))),
    fixed("date_in_zone", &[Text, Any, Text], |engine, a| {
        Ok(dated(engine, &text(a, 0), arg(a, 1), &text(a, 2)))
    }),
    fixed("dateInZone", &[Text, Any, Text], |engine, a| {
        Ok(dated(engine, &text(a, 0), arg(a, 1), &text(a, 2)))
    }),
    fixed("htmlDate", &[Any], |engine, a| Ok(dated(engine, "2006-01-02", arg(a, 0), "Local"))),
    fixed("htmlDateInZone", &[Any, Text], |engine, a| {
        Ok(dated(engine, "2006-01-02", arg(a, 0), &text(a, 1)))
    }),
    fixed("date_modify", &[Text, Time], |_, a| Ok(modified(a).unwrap_or_else(|_| arg(a, 1).clone()))),
    fixed("dateModify", &[Text, Time], |_, a| Ok(modified(a).unwrap_or_else(|_| arg(a, 1).clone()))),
    fixed("must_date_modify", &[Text, Time], |_, a| Ok(modified(a)?)),
    fixed("mustDateModify", &[Text, Time], |_, a| Ok(modified(a)?)),
    fixed("toDate", &[Text, Text], |engine, a| {
        let zone = zone(engine, "Local");
        Ok(time_value(layout::parse(&text(a, 0), &text(a, 1), &zone).unwrap_or_else(|_| zero())))
    }),
    fixed("mustToDate", &[Text, Text], |engine, a| {
        let zone = zone(engine, "Local");
        Ok(time_value(layout::parse(&text(a, 0), &text(a, 1), &zone)?))
    }),
    fixed("unixEpoch", &[Time], |_, a| {
        Ok(Value::text(time_of(arg(a, 0)).map_or(0, |time| time.timestamp().as_second()).to_string()))
    }),
    fixed("ago", &[Any], |engine, a| {
        let then = instant(engine, arg(a, 0));
        let since = nanoseconds(now(engine).timestamp()) - nanoseconds(then);
        let rounded = round_to(clamp(since), SECOND);
        Ok(Value::text(print_duration(rounded)))
    }),
    fixed("duration", &[Any], |_, a| {
        let seconds = match arg(a, 0) {
            Value::Int64(number) => *number,
            Value::Text(text) => text.parse().unwrap_or(0),
            _ => 0,
        };
        Ok(Value::text(print_duration(seconds.wrapping_mul(SECOND))))
    }),
    fixed("durationRound", &[Any], |engine, a| {
        let span = match arg(a, 0) {
            Value::Text(text) => parse_duration(text).unwrap_or(0),
            Value::Int64(number) => *number,
            other => match time_of(other) {
                Some(time) => clamp(nanoseconds(now(engine).timestamp()) - nanoseconds(time.timestamp())),
                None => 0,
            },
        };
        Ok(Value::text(rounded(span)))
    }),
    fixed("mustToDuration", &[Any], |_, a| Ok(duration_value(as_duration(arg(a, 0))?))),
    fixed("durationSeconds", &[Any], |_, a| Ok(Value::Float(seconds(as_duration(arg(a, 0)).unwrap_or(0))))),
    fixed("durationMinutes", &[Any], |_, a| {
        Ok(Value::Float(in_units(as_duration(arg(a, 0)).unwrap_or(0), MINUTE)))
    }),
    fixed("durationHours", &[Any], |_, a| {
        Ok(Value::Float(in_units(as_duration(arg(a, 0)).unwrap_or(0), HOUR)))
    }),
    fixed("durationDays", &[Any], |_, a| {
        Ok(Value::Float(in_units(as_duration(arg(a, 0)).unwrap_or(0), HOUR) / 24.0))
    }),
    fixed("durationWeeks", &[Any], |_, a| {
        Ok(Value::Float(in_units(as_duration(arg(a, 0)).unwrap_or(0), HOUR) / 24.0 / 7.0))
    }),
    fixed("durationMilliseconds", &[Any], |_, a| {
        Ok(Value::Int64(as_duration(arg(a, 0)).unwrap_or(0) / 1_000_000))
    }),
    fixed("durationMicroseconds", &[Any], |_, a| {
        Ok(Value::Int64(as_duration(arg(a, 0)).unwrap_or(0) / 1_000))
    }),
    fixed("durationNanoseconds", &[Any], |_, a| Ok(Value::Int64(as_duration(arg(a, 0)).unwrap_or(0)))),
    fixed("durationRoundTo", &[Any, Any], |_, a| Ok(to_multiple(a, round_to))),
    fixed("durationTruncateTo", &[Any, Any], |_, a| {
        Ok(to_multiple(a, |span, unit| if unit <= 0 { span } else { span - span % unit }))
    }),
];

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

fn time_value(time: Zoned) -> Value {
    Value::Object(Rc::new(Object::Time(time)))
}

fn duration_value(nanoseconds: i64) -> Value {
    Value::Object(Rc::new(Object::Duration(nanoseconds)))
}

fn time_of(value: &Value) -> Option<&Zoned> {
    match value {
        Value::Object(object) => match object.as_ref() {
            Object::Time(time) => Some(time),
            _ => None,
        },
        _ => None,
    }
}

/// Go's zero time.
fn zero() -> Zoned {
    jiff::civil::date(1, 1, 1).to_zoned(TimeZone::UTC).unwrap_or_default()
}

fn nanoseconds(at: Timestamp) -> i128 {
    at.as_nanosecond()
}

fn clamp(nanoseconds: i128) -> i64 {
    i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX })
}

fn now(engine: &mut Engine<'_>) -> Zoned {
    let now: SystemTime = engine.environment.now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = i128::try_from(since.as_nanos()).ok().and_then(|nanos| Timestamp::from_nanosecond(nanos).ok());
    at.unwrap_or_default().to_zoned(zone(engine, "Local"))
}

/// Go's `LoadLocation`; UTC where there is no such zone.
fn zone(engine: &mut Engine<'_>, name: &str) -> TimeZone {
    match name {
        "" | "UTC" => TimeZone::UTC,
        "Local" => match engine.environment.time_zone() {
            Some(name) => TimeZone::get(&name).unwrap_or(TimeZone::UTC),
            None => TimeZone::try_system().unwrap_or(TimeZone::UTC),
        },
        // Zones are files for Go, whose names have one case.
        name => {
            let found = TimeZone::get(name).ok().filter(|zone| zone.iana_name() == Some(name));
            found.unwrap_or(TimeZone::UTC)
        }
    }
}

fn instant(engine: &mut Engine<'_>, value: &Value) -> Timestamp {
    match value {
        Value::Int(seconds) | Value::Int64(seconds) => Timestamp::from_second(*seconds).unwrap_or_default(),
        other => match time_of(other) {
            Some(time) => time.timestamp(),
            None => now(engine).timestamp(),
        },
    }
}

fn dated(engine: &mut Engine<'_>, layout: &str, value: &Value, name: &str) -> Value {
    let at = instant(engine, value);
    let time = at.to_zoned(zone(engine, name));
    Value::text(layout::format(layout, &time))
}

fn modified(a: &[Value]) -> Result<Value, String> {
    let span = parse_duration(&text(a, 0))?;
    let time = time_of(arg(a, 1)).ok_or("not a time")?;
    time.checked_add(SignedDuration::from_nanos(span)).map(time_value).map_err(|error| error.to_string())
}

/// The zones in which BurntSushi/toml reads what has no offset.
pub(super) const LOCAL_DATE: &str = "date-local";
pub(super) const LOCAL_TIME: &str = "time-local";
pub(super) const LOCAL_TIME_OF_DATE: &str = "datetime-local";

/// Reads a time of TOML: its offset, in minutes, or the name of the zone that it is in without one.
pub(super) fn from_toml(text: &str, offset: Option<i16>, local: &str) -> Value {
    let zone = match offset {
        Some(0) => Ok(TimeZone::UTC),
        Some(minutes) => Offset::from_seconds(i32::from(minutes) * 60).map(TimeZone::fixed),
        None => TimeZone::posix(&format!("<{local}>0")),
    };
    let read = zone.and_then(|zone| text.parse::<DateTime>()?.to_zoned(zone));
    read.map_or_else(|_| Value::text(text), time_value)
}

/// A time as BurntSushi/toml writes it.
pub(super) fn to_toml(time: &Zoned) -> String {
    match layout::format("MST", time).as_str() {
        LOCAL_DATE => layout::format("2006-01-02", time),
        LOCAL_TIME => layout::format("15:04:05.999999999", time),
        LOCAL_TIME_OF_DATE => layout::format("2006-01-02T15:04:05.999999999", time),
        _ => to_rfc3339(time),
    }
}

/// Go's `ParseDuration`, in nanoseconds.
pub(super) fn parse_duration(text: &str) -> Result<i64, String> {
    let wrong = || format!("time: invalid duration {text:?}");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (whole, after) = rest.split_at(digits(rest));
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(digits(after)),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(wrong());
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let size: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => i128::from(SECOND),
            "m" => i128::from(MINUTE),
            "h" => i128::from(HOUR),
            _ => return Err(wrong()),
        };
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| wrong())? };
        total = whole.checked_mul(size).and_then(|span| total.checked_add(span)).ok_or_else(wrong)?;
        // Digits beyond what a number holds do not change it.
        let kept = fraction.get(..fraction.len().min(18)).unwrap_or(fraction);
        if !kept.is_empty() {
            let scale = 10_i128.pow(u32::try_from(kept.len()).unwrap_or(0));
            total += kept.parse::<i128>().map_err(|_| wrong())? * size / scale;
        }
        if total > i128::from(i64::MAX) + i128::from(negative) {
            return Err(wrong());
        }
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).map_err(|_| wrong())
}

/// Go's `Duration.String`.
pub(crate) fn print_duration(nanoseconds: i64) -> String {
    let size = nanoseconds.unsigned_abs();
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let fraction = |value: u64, unit: u64| {
        let digits = unit.ilog10() as usize;
        let whole = value / unit;
        let rest = format!("{:0digits$}", value % unit);
        match rest.trim_end_matches('0') {
            "" => whole.to_string(),
            rest => format!("{whole}.{rest}"),
        }
    };
    match size {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{size}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", fraction(size, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", fraction(size, 1_000_000)),
        _ => {
            let minutes = size / 60_000_000_000;
            let seconds = fraction(size % 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// Go's `Time.String`.
pub(crate) fn print_time(time: &Zoned) -> String {
    layout::format("2006-01-02 15:04:05.999999999 -0700 MST", time)
}

/// As Go's JSON writes a time.
pub(crate) fn to_rfc3339(time: &Zoned) -> String {
    layout::format("2006-01-02T15:04:05.999999999Z07:00", time)
}

/// sprig's `durationRound`: the largest unit alone.
fn rounded(span: i64) -> String {
    const DAY: u64 = 24 * HOUR as u64;
    let size = span.unsigned_abs();
    let units = [
        (365 * DAY, "y"),
        (30 * DAY, "mo"),
        (DAY, "d"),
        (HOUR as u64, "h"),
        (MINUTE as u64, "m"),
        (SECOND as u64, "s"),
    ];
    let unit = units.into_iter().find(|(unit, _)| size > *unit);
    unit.map_or_else(|| "0s".to_owned(), |(unit, name)| format!("{}{name}", size / unit))
}

/// Go's `Duration.Round`: half away from zero.
fn round_to(span: i64, unit: i64) -> i64 {
    if unit <= 0 {
        return span;
    }
    let rest = span % unit;
    let down = span - rest;
    if rest.unsigned_abs() * 2 < unit.unsigned_abs() {
        return down;
    }
    let away = if span < 0 { down.checked_sub(unit) } else { down.checked_add(unit) };
    away.unwrap_or(if span < 0 { i64::MIN } else { i64::MAX })
}

/// Helm's `asDuration`: numbers are seconds.
fn as_duration(value: &Value) -> Result<i64, String> {
    let whole = |seconds: i64| {
        seconds.checked_mul(SECOND).ok_or_else(|| format!("duration seconds overflow: {seconds}"))
    };
    match value {
        Value::Object(object) => match object.as_ref() {
            Object::Duration(span) => Ok(*span),
            other => Err(format!("unsupported duration type {}", other.type_name())),
        },
        Value::Text(text) => {
            let text = text.trim();
            if text.is_empty() {
                return Err("empty duration".to_owned());
            }
            if let Ok(span) = parse_duration(text) {
                return Ok(span);
            }
            match number::parse_float(text) {
                Some(float) => from_seconds(float),
                None => Err(format!("could not parse duration {text:?}")),
            }
        }
        Value::Nil | Value::Null => Err("invalid duration".to_owned()),
        Value::Int(number) | Value::Int64(number) => whole(*number),
        Value::Uint(number, _) => {
            i64::try_from(*number).map_err(|_| format!("duration seconds overflow: {number}")).and_then(whole)
        }
        Value::Float(float) => from_seconds(*float),
        other => Err(format!("unsupported duration type {}", other.type_name())),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "checked to be in range")]
fn from_seconds(seconds: f64) -> Result<i64, String> {
    let nanoseconds = seconds * SECOND as f64;
    if !nanoseconds.is_finite() || nanoseconds > i64::MAX as f64 || nanoseconds < i64::MIN as f64 {
        return Err(format!("duration seconds overflow: {}", number::general(seconds)));
    }
    Ok(nanoseconds as i64)
}

/// Go's `Duration.Hours` and its like.
#[expect(clippy::cast_precision_loss, reason = "as Go converts")]
fn in_units(span: i64, unit: i64) -> f64 {
    (span / unit) as f64 + (span % unit) as f64 / unit as f64
}

fn seconds(span: i64) -> f64 {
    in_units(span, SECOND)
}

fn to_multiple(a: &[Value], round: fn(i64, i64) -> i64) -> Value {
    duration_value(match (as_duration(arg(a, 0)), as_duration(arg(a, 1))) {
        (Ok(span), Ok(unit)) => round(span, unit),
        (Ok(span), Err(_)) => span,
        (Err(_), _) => 0,
    })
}

/// A method of a duration.
pub(crate) fn duration_member(span: i64, name: &str) -> Option<Value> {
    Some(match name {
        "Hours" => Value::Float(in_units(span, HOUR)),
        "Minutes" => Value::Float(in_units(span, MINUTE)),
        "Seconds" => Value::Float(seconds(span)),
        "Milliseconds" => Value::Int64(span / 1_000_000),
        "Microseconds" => Value::Int64(span / 1_000),
        "Nanoseconds" => Value::Int64(span),
        "String" => Value::text(print_duration(span)),
        "Abs" => duration_value(span.checked_abs().unwrap_or(i64::MAX)),
        _ => return None,
    })
}

/// A method of a time.
pub(crate) fn time_member(time: &Zoned, name: &str, arguments: &[Value]) -> Result<Option<Value>, String> {
    let other = || arguments.first().and_then(time_of).ok_or_else(|| format!("{name} takes a time"));
    let whole = |number: i64| Ok(Some(Value::Int(number)));
    let number = |index: usize| match arguments.get(index) {
        Some(Value::Int(number)) => Ok(*number),
        _ => Err(format!("argument {} of {name} is to be an int", index + 1)),
    };
    Ok(Some(match name {
        "Unix" => Value::Int64(time.timestamp().as_second()),
        "UnixMilli" => Value::Int64(time.timestamp().as_millisecond()),
        "UnixMicro" => Value::Int64(time.timestamp().as_microsecond()),
        "UnixNano" => Value::Int64(clamp(nanoseconds(time.timestamp()))),
        "Year" => return whole(time.year().into()),
        "Day" => return whole(time.day().into()),
        "Hour" => return whole(time.hour().into()),
        "Minute" => return whole(time.minute().into()),
        "Second" => return whole(time.second().into()),
        "Nanosecond" => return whole(time.subsec_nanosecond().into()),
        "YearDay" => return whole(time.day_of_year().into()),
        "Month" => Value::text(layout::format("January", time)),
        "Weekday" => Value::text(layout::format("Monday", time)),
        "String" => Value::text(print_time(time)),
        "Format" => match arguments.first().and_then(Value::string_text) {
            Some(layout) => Value::text(layout::format(&layout, time)),
            None => return Err("wrong number of args for Format: want 1 got 0".to_owned()),
        },
        "UTC" => time_value(time.with_time_zone(TimeZone::UTC)),
        "Local" => time_value(time.clone()),
        "IsZero" => Value::Bool(time.timestamp() == zero().timestamp()),
        "Before" => Value::Bool(time.timestamp() < other()?.timestamp()),
        "After" => Value::Bool(time.timestamp() > other()?.timestamp()),
        "Equal" => Value::Bool(time.timestamp() == other()?.timestamp()),
        "Sub" => duration_value(clamp(nanoseconds(time.timestamp()) - nanoseconds(other()?.timestamp()))),
        "Add" => match arguments.first() {
            Some(Value::Object(object)) => match object.as_ref() {
                Object::Duration(span) => time_value(
                    time.checked_add(SignedDuration::from_nanos(*span)).map_err(|error| error.to_string())?,
                ),
                _ => return Err("Add takes a duration".to_owned()),
            },
            _ => return Err("Add takes a duration".to_owned()),
        },
        "AddDate" => {
            let span = jiff::Span::new()
                .try_years(number(0)?)
                .and_then(|span| span.try_months(number(1).unwrap_or(0)))
                .and_then(|span| span.try_days(number(2).unwrap_or(0)))
                .map_err(|error| error.to_string())?;
            time_value(time.checked_add(span).map_err(|error| error.to_string())?)
        }
        _ => return Ok(None),
    }))
}
