//! Durations as people write them: `90s`, `2m30s`, `1h`, `250ms`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A length of time in a user's file or flag, in the form of Go's
/// `time.ParseDuration`, without signs and fractions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Span(pub(crate) Duration);

/// Why a duration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration: write it like `90s`, `2m30s` or `1h`, at most one year")]
pub(crate) struct InvalidSpan(String);

/// The longest span: a year. Longer ones are mistakes, and would overflow clocks.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        parse(text).filter(|span| *span <= LONGEST).map(Self).ok_or_else(|| InvalidSpan(text.to_owned()))
    }
}

/// Reads pairs of number and unit; `None` for anything else.
fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        total = total.checked_add(match unit {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3600)?),
            _ => return None,
        })?;
        rest = tail;
    }
    Some(total)
}

impl TryFrom<String> for Span {
    type Error = InvalidSpan;

    fn try_from(text: String) -> Result<Self, InvalidSpan> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&human(self.0))
    }
}

/// A duration for people: `1h02m`, `2m41s`, `48s`, `1.2s`, `350ms`.
pub(crate) fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if duration.subsec_millis() == 0 => "0s".to_owned(),
        0 => format!("{}ms", duration.subsec_millis()),
        1..=9 if duration.subsec_millis() >= 100 => {
            format!("{seconds}.{}s", duration.subsec_millis() / 100)
        }
        1..=59 => format!("{seconds}s"),
        60..=3599 if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        60..=3599 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ if seconds % 3600 < 60 => format!("{}h", seconds / 3600),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_go_reads_them() {
        let read = |text: &str| text.parse::<Span>().map(|span| span.0);
        assert_eq!(read("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(read("2m30s"), Ok(Duration::from_secs(150)));
        assert_eq!(read("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(read("250ms"), Ok(Duration::from_millis(250)));
        for bad in ["", "5", "s", "-1s", "1.5s", "1d", "99999999999999999999s", "9999999h", "1s "] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_written_for_people() {
        let write = |millis| human(Duration::from_millis(millis));
        assert_eq!(write(0), "0s");
        assert_eq!(write(350), "350ms");
        assert_eq!(write(1_250), "1.2s");
        assert_eq!(write(48_000), "48s");
        assert_eq!(write(161_000), "2m41s");
        assert_eq!(write(120_000), "2m");
        assert_eq!(write(3_720_000), "1h02m");
    }
}
