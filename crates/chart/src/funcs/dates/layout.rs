//! Go's layouts of times, `Mon Jan _2 15:04:05 2006`: writing and reading by them.

use std::fmt::Write as _;

use jiff::Zoned;
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{Offset, TimeZone};

/// A part of a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    LongMonth,
    Month,
    NumMonth,
    ZeroMonth,
    LongWeekday,
    Weekday,
    Day,
    UnderDay,
    ZeroDay,
    UnderYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    UpperPm,
    LowerPm,
    ZoneName,
    /// `Z07:00`: `Z` for UTC, colons, seconds, minutes.
    Zone {
        iso: bool,
        colon: bool,
        seconds: bool,
        minutes: bool,
    },
    /// `.000`, `,999`: how many digits; zeros are kept, or dropped.
    Fraction {
        comma: bool,
        digits: usize,
        zeros: bool,
    },
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

#[expect(clippy::fn_params_excessive_bools, reason = "the marks of a layout")]
const fn zone(iso: bool, colon: bool, seconds: bool, minutes: bool) -> Part {
    Part::Zone { iso, colon, seconds, minutes }
}

/// The parts by how they are written, longer ones first.
const PARTS: &[(&str, Part)] = &[
    ("January", Part::LongMonth),
    ("Jan", Part::Month),
    ("Monday", Part::LongWeekday),
    ("Mon", Part::Weekday),
    ("MST", Part::ZoneName),
    ("002", Part::ZeroYearDay),
    ("01", Part::ZeroMonth),
    ("02", Part::ZeroDay),
    ("03", Part::ZeroHour12),
    ("04", Part::ZeroMinute),
    ("05", Part::ZeroSecond),
    ("06", Part::Year),
    ("15", Part::Hour),
    ("1", Part::NumMonth),
    ("2006", Part::LongYear),
    ("2", Part::Day),
    ("__2", Part::UnderYearDay),
    ("_2", Part::UnderDay),
    ("3", Part::Hour12),
    ("4", Part::Minute),
    ("5", Part::Second),
    ("PM", Part::UpperPm),
    ("pm", Part::LowerPm),
    ("-070000", zone(false, false, true, true)),
    ("-07:00:00", zone(false, true, true, true)),
    ("-0700", zone(false, false, false, true)),
    ("-07:00", zone(false, true, false, true)),
    ("-07", zone(false, false, false, false)),
    ("Z070000", zone(true, false, true, true)),
    ("Z07:00:00", zone(true, true, true, true)),
    ("Z0700", zone(true, false, false, true)),
    ("Z07:00", zone(true, true, false, true)),
    ("Z07", zone(true, false, false, false)),
];

/// The text before the next part, the part, and the rest (Go's `nextStdChunk`).
fn next(layout: &str) -> (&str, Option<(Part, &str)>, &str) {
    for (at, _) in layout.char_indices() {
        let (before, here) = layout.split_at(at);
        // `_2006` is an underscore and a year.
        if here.starts_with("_2006") {
            let (before, rest) = layout.split_at(at + 1);
            return (before, Some((Part::LongYear, "2006")), rest.get(4..).unwrap_or_default());
        }
        // `Jan` is a month only where no small letter follows.
        let word = |length: usize| !here.as_bytes().get(length).is_some_and(u8::is_ascii_lowercase);
        for (written, part) in PARTS {
            if here.starts_with(written) && (!matches!(part, Part::Month | Part::Weekday) || word(3)) {
                return (before, Some((*part, written)), here.get(written.len()..).unwrap_or_default());
            }
        }
        if let Some(mark @ (b'.' | b',')) = here.as_bytes().first().copied()
            && let Some(digit @ (b'0' | b'9')) = here.as_bytes().get(1).copied()
        {
            let digits = here.bytes().skip(1).take_while(|byte| *byte == digit).count();
            let follows = here.as_bytes().get(digits + 1);
            if !follows.is_some_and(u8::is_ascii_digit) {
                let part = Part::Fraction { comma: mark == b',', digits, zeros: digit == b'0' };
                let (written, rest) = here.split_at(digits + 1);
                return (before, Some((part, written)), rest);
            }
        }
    }
    (layout, None, "")
}

fn hour12(hour: i8) -> i8 {
    match hour % 12 {
        0 => 12,
        hour => hour,
    }
}

fn month_name(month: i8) -> &'static str {
    usize::try_from(month - 1).ok().and_then(|index| MONTHS.get(index)).copied().unwrap_or_default()
}

fn day_name(day: Weekday) -> &'static str {
    usize::try_from(day.to_sunday_zero_offset())
        .ok()
        .and_then(|index| DAYS.get(index))
        .copied()
        .unwrap_or_default()
}

fn short(name: &str) -> &str {
    name.get(..3).unwrap_or(name)
}

/// Writes a time (Go's `Time.Format`).
pub(super) fn format(layout: &str, time: &Zoned) -> String {
    let mut out = String::new();
    let mut rest = layout;
    loop {
        let (before, part, after) = next(rest);
        out.push_str(before);
        let Some((part, _)) = part else { return out };
        // Writing to a string cannot fail.
        let _ = put(&mut out, part, time);
        rest = after;
    }
}

fn put(out: &mut String, part: Part, time: &Zoned) -> std::fmt::Result {
    match part {
        Part::LongMonth => out.push_str(month_name(time.month())),
        Part::Month => out.push_str(short(month_name(time.month()))),
        Part::NumMonth => write!(out, "{}", time.month())?,
        Part::ZeroMonth => write!(out, "{:02}", time.month())?,
        Part::LongWeekday => out.push_str(day_name(time.weekday())),
        Part::Weekday => out.push_str(short(day_name(time.weekday()))),
        Part::Day => write!(out, "{}", time.day())?,
        Part::UnderDay => write!(out, "{:2}", time.day())?,
        Part::ZeroDay => write!(out, "{:02}", time.day())?,
        Part::UnderYearDay => write!(out, "{:3}", time.day_of_year())?,
        Part::ZeroYearDay => write!(out, "{:03}", time.day_of_year())?,
        Part::Hour => write!(out, "{:02}", time.hour())?,
        Part::Hour12 => write!(out, "{}", hour12(time.hour()))?,
        Part::ZeroHour12 => write!(out, "{:02}", hour12(time.hour()))?,
        Part::Minute => write!(out, "{}", time.minute())?,
        Part::ZeroMinute => write!(out, "{:02}", time.minute())?,
        Part::Second => write!(out, "{}", time.second())?,
        Part::ZeroSecond => write!(out, "{:02}", time.second())?,
        Part::LongYear => write!(out, "{:04}", time.year())?,
        Part::Year => write!(out, "{:02}", time.year().rem_euclid(100))?,
        Part::UpperPm => out.push_str(if time.hour() >= 12 { "PM" } else { "AM" }),
        Part::LowerPm => out.push_str(if time.hour() >= 12 { "pm" } else { "am" }),
        Part::ZoneName => zone_name(out, time)?,
        Part::Zone { iso, .. } if iso && time.offset().seconds() == 0 => out.push('Z'),
        Part::Zone { colon, seconds, minutes, .. } => offset(out, time.offset(), (colon, seconds, minutes))?,
        Part::Fraction { comma, digits, zeros } => {
            let all = format!("{:09}", time.subsec_nanosecond());
            let mut shown = all.get(..digits.min(9)).unwrap_or(&all);
            if !zeros {
                shown = shown.trim_end_matches('0');
                if shown.is_empty() {
                    return Ok(());
                }
            }
            write!(out, "{}{shown}{:0<2$}", if comma { ',' } else { '.' }, "", digits.saturating_sub(9))?;
        }
    }
    Ok(())
}

fn offset(
    out: &mut String,
    offset: Offset,
    (colon, seconds, minutes): (bool, bool, bool),
) -> std::fmt::Result {
    let total = offset.seconds();
    let size = total.unsigned_abs();
    let mark = if colon { ":" } else { "" };
    write!(out, "{}{:02}", if total < 0 { '-' } else { '+' }, size / 3600)?;
    if minutes {
        write!(out, "{mark}{:02}", size / 60 % 60)?;
    }
    if seconds {
        write!(out, "{mark}{:02}", size % 60)?;
    }
    Ok(())
}

/// A zone without a name is written as its offset.
fn zone_name(out: &mut String, time: &Zoned) -> std::fmt::Result {
    if time.time_zone().iana_name().is_none() && time.offset() != Offset::UTC {
        return offset(out, time.offset(), (false, false, true));
    }
    let info = time.time_zone().to_offset_info(time.timestamp());
    out.push_str(info.abbreviation());
    Ok(())
}

/// What was read so far.
#[derive(Debug, Default)]
struct Read {
    year: Option<i16>,
    month: Option<i8>,
    day: Option<i8>,
    year_day: Option<i16>,
    hour: i8,
    minute: i8,
    second: i8,
    nanosecond: i32,
    afternoon: Option<bool>,
    offset: Option<i32>,
    zone: Option<String>,
}

/// Reads a time (Go's `ParseInLocation`).
pub(super) fn parse(layout: &str, text: &str, local: &TimeZone) -> Result<Zoned, String> {
    let wrong = || format!("parsing time {text:?} as {layout:?}: cannot parse it");
    let mut read = Read::default();
    let (mut layout_rest, mut rest) = (layout, text);
    loop {
        let (before, part, after) = next(layout_rest);
        rest = skip(rest, before).ok_or_else(wrong)?;
        let Some((part, _)) = part else { break };
        rest = take(part, rest, after, &mut read).ok_or_else(wrong)?;
        layout_rest = after;
    }
    if !rest.is_empty() {
        return Err(format!("parsing time {text:?}: extra text: {rest:?}"));
    }
    assemble(read, local).ok_or_else(|| format!("parsing time {text:?}: out of range"))
}

/// Skips literal text; one space stands for many.
fn skip<'a>(text: &'a str, literal: &str) -> Option<&'a str> {
    let mut rest = text;
    let mut wanted = literal;
    while let Some(character) = wanted.chars().next() {
        if character == ' ' {
            if !rest.is_empty() && !rest.starts_with(' ') {
                return None;
            }
            rest = rest.trim_start_matches(' ');
            wanted = wanted.trim_start_matches(' ');
            continue;
        }
        rest = rest.strip_prefix(character)?;
        wanted = wanted.get(character.len_utf8()..)?;
    }
    Some(rest)
}

fn number(text: &str, least: usize, most: usize) -> Option<(i64, &str)> {
    let digits = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if digits < least {
        return None;
    }
    let (digits, rest) = text.split_at(digits);
    Some((digits.parse().ok()?, rest))
}

fn name<'a>(text: &'a str, names: &[&str], shortened: bool) -> Option<(usize, &'a str)> {
    names.iter().enumerate().find_map(|(index, name)| {
        let name = if shortened { short(name) } else { name };
        let (head, rest) = text.split_at_checked(name.len())?;
        head.eq_ignore_ascii_case(name).then_some((index, rest))
    })
}

/// Reads one part; answers what follows it.
fn take<'a>(part: Part, text: &'a str, after: &str, read: &mut Read) -> Option<&'a str> {
    if part == Part::ZoneName {
        return zone_named(text, read);
    }
    if let Part::Zone { iso, colon, seconds, minutes } = part {
        return zoned(text, (iso, colon, seconds, minutes), read);
    }
    if let Part::Fraction { digits, zeros, .. } = part {
        return fractional(text, digits, zeros, read);
    }
    let (value, rest) = value(part, text)?;
    read.keep(part, value)?;
    // A fraction may follow seconds without being in the layout.
    if matches!(part, Part::Second | Part::ZeroSecond)
        && !matches!(next(after).1, Some((Part::Fraction { .. }, _)))
    {
        return fractional(rest, 0, false, read);
    }
    Some(rest)
}

/// The number that a part is, or the index of its name.
fn value<'a>(part: Part, text: &'a str) -> Option<(i64, &'a str)> {
    let named = |(index, rest): (usize, &'a str)| Some((i64::try_from(index).ok()?, rest));
    match part {
        Part::LongMonth | Part::Month => {
            let (index, rest) = named(name(text, &MONTHS, part == Part::Month)?)?;
            Some((index + 1, rest))
        }
        Part::LongWeekday | Part::Weekday => named(name(text, &DAYS, part == Part::Weekday)?),
        Part::NumMonth | Part::Day | Part::Hour12 | Part::Minute | Part::Second => number(text, 1, 2),
        Part::UnderDay => number(text.strip_prefix(' ').unwrap_or(text), 1, 2),
        Part::Hour
        | Part::ZeroMonth
        | Part::ZeroDay
        | Part::ZeroHour12
        | Part::ZeroMinute
        | Part::ZeroSecond
        | Part::Year => number(text, 2, 2),
        Part::UnderYearDay => number(text.trim_start_matches(' '), 1, 3),
        Part::ZeroYearDay => number(text, 3, 3),
        Part::LongYear => number(text, 4, 4),
        Part::UpperPm | Part::LowerPm => {
            let (head, rest) = text.split_at_checked(2)?;
            let expected = if part == Part::UpperPm { ["AM", "PM"] } else { ["am", "pm"] };
            named((expected.iter().position(|name| *name == head)?, rest))
        }
        Part::ZoneName | Part::Zone { .. } | Part::Fraction { .. } => None,
    }
}

impl Read {
    /// Keeps what a part says; `None`: it cannot be that.
    fn keep(&mut self, part: Part, value: i64) -> Option<()> {
        let small = i8::try_from(value).ok();
        let below = |limit: i8| small.filter(|value| *value < limit);
        match part {
            Part::LongMonth | Part::Month | Part::NumMonth | Part::ZeroMonth => self.month = small,
            Part::Day | Part::UnderDay | Part::ZeroDay => self.day = small,
            Part::UnderYearDay | Part::ZeroYearDay => self.year_day = i16::try_from(value).ok(),
            Part::Hour => self.hour = below(24)?,
            Part::Hour12 | Part::ZeroHour12 => self.hour = below(13)?,
            Part::Minute | Part::ZeroMinute => self.minute = below(60)?,
            Part::Second | Part::ZeroSecond => self.second = below(60)?,
            Part::LongYear => self.year = i16::try_from(value).ok(),
            Part::Year => {
                self.year = i16::try_from(if value >= 69 { value + 1900 } else { value + 2000 }).ok();
            }
            Part::UpperPm | Part::LowerPm => self.afternoon = Some(value == 1),
            Part::LongWeekday
            | Part::Weekday
            | Part::ZoneName
            | Part::Zone { .. }
            | Part::Fraction { .. } => {}
        }
        Some(())
    }
}

/// Reads `.123`: so many digits where `zeros` must be kept, and else as many as there are, also none.
fn fractional<'a>(text: &'a str, digits: usize, zeros: bool, read: &mut Read) -> Option<&'a str> {
    let mark = text.starts_with(['.', ',']);
    let found = text.bytes().skip(1).take_while(u8::is_ascii_digit).count();
    if !mark || found == 0 {
        return (!zeros).then_some(text);
    }
    let used = if zeros { digits } else { found };
    if used > found {
        return None;
    }
    let (digits, rest) = text.get(1..)?.split_at(used);
    read.nanosecond = fraction(digits)?;
    Some(rest)
}

fn fraction(digits: &str) -> Option<i32> {
    format!("{:0<9}", digits.get(..digits.len().min(9))?).parse().ok()
}

fn zone_named<'a>(text: &'a str, read: &mut Read) -> Option<&'a str> {
    if let Some(rest) = text.strip_prefix("UTC") {
        read.offset = Some(0);
        return Some(rest);
    }
    let length = text.bytes().take_while(u8::is_ascii_uppercase).count();
    if !(3..=5).contains(&length) {
        return None;
    }
    let (name, rest) = text.split_at(length);
    read.zone = Some(name.to_owned());
    Some(rest)
}

fn zoned<'a>(
    text: &'a str,
    (iso, colon, seconds, minutes): (bool, bool, bool, bool),
    read: &mut Read,
) -> Option<&'a str> {
    if iso && let Some(rest) = text.strip_prefix('Z') {
        read.offset = Some(0);
        return Some(rest);
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let mut rest = text.get(1..)?;
    let mut total = 0;
    for (unit, wanted) in [(3600, true), (60, minutes), (1, seconds)] {
        if !wanted {
            continue;
        }
        if colon && unit != 3600 {
            rest = rest.strip_prefix(':')?;
        }
        let (value, after) = number(rest, 2, 2)?;
        if value >= if unit == 3600 { 24 } else { 60 } {
            return None;
        }
        total += i32::try_from(value).ok()? * unit;
        rest = after;
    }
    read.offset = Some(sign * total);
    Some(rest)
}

fn assemble(read: Read, local: &TimeZone) -> Option<Zoned> {
    let hour = match read.afternoon {
        Some(true) if read.hour < 12 => read.hour + 12,
        Some(false) if read.hour == 12 => 0,
        _ => read.hour,
    };
    let year = read.year.unwrap_or(0);
    let date = match read.year_day {
        Some(day) => {
            let date = Date::new(year, 1, 1).ok()?.with().day_of_year(day).build().ok()?;
            if read.month.is_some_and(|month| month != date.month())
                || read.day.is_some_and(|day| day != date.day())
            {
                return None;
            }
            date
        }
        None => Date::new(year, read.month.unwrap_or(1), read.day.unwrap_or(1)).ok()?,
    };
    let civil = DateTime::from_parts(date, Time::new(hour, read.minute, read.second, read.nanosecond).ok()?);
    match (read.offset, read.zone) {
        // Go makes up a zone of a name that it does not know, without an offset.
        (Some(0), _) | (None, Some(_)) => civil.to_zoned(TimeZone::UTC).ok(),
        (Some(seconds), _) => civil.to_zoned(TimeZone::fixed(Offset::from_seconds(seconds).ok()?)).ok(),
        (None, None) => civil.to_zoned(local.clone()).ok(),
    }
}
