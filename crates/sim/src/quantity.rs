//! Quantities in canonical form, as the server gives them back: `0.5` is `500m`, `1024Mi` is `1Gi`.

/// What a bad quantity is refused with.
pub(crate) const PATTERN: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

/// How a quantity was written, and is written again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Binary,
    Decimal,
    Exponent,
}

/// Answers a quantity in canonical form; none where it is no quantity.
pub(crate) fn canonical(text: &str) -> Option<String> {
    let (mantissa, exponent, style) = read(text)?;
    Some(write(mantissa, exponent, style))
}

/// Answers a quantity in billionths, rounded away from zero; none where it is no quantity, or too large to be counted.
pub(crate) fn billionths(text: &str) -> Option<i128> {
    let (mantissa, exponent, _) = read(text)?;
    let (mantissa, exponent) = capped(mantissa, exponent);
    mantissa.checked_mul(10_i128.checked_pow(u32::try_from(exponent + 9).ok()?)?)
}

/// Reads a quantity: a whole number, a power of ten, and how it was written.
fn read(text: &str) -> Option<(i128, i32, Style)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && !"+-.".contains(c)).unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(end)?;
    let (mut mantissa, mut exponent) = decimal(number)?;
    let style = if let Some(power) = BINARY.iter().position(|known| *known == suffix).filter(|it| *it > 0) {
        mantissa = mantissa.checked_mul(1024_i128.checked_pow(u32::try_from(power).ok()?)?)?;
        Style::Binary
    } else if let Some((_, power)) = DECIMAL.iter().find(|(known, _)| *known == suffix) {
        exponent += power;
        Style::Decimal
    } else {
        exponent = exponent.checked_add(suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?)?;
        Style::Exponent
    };
    Some((mantissa, exponent, style))
}

/// The most digits of a number that is kept as it is, whatever its power of ten (`maxInt64Factors`).
const KEPT: i128 = 1_000_000_000_000_000_000;

/// The largest quantity; larger ones become it (`maxAllowed` of apimachinery's `resource` package).
const LARGEST: i128 = i64::MAX as i128;

/// Rounds to billionths, away from zero, and to the largest that there may be: then nothing below can overflow or go on.
fn capped(mut mantissa: i128, mut exponent: i32) -> (i128, i32) {
    while exponent < -9 && mantissa != 0 {
        let up = i128::from(mantissa % 10 != 0) * mantissa.signum();
        mantissa = mantissa / 10 + up;
        exponent += 1;
        if mantissa.abs() == 1 {
            // However often that is rounded further.
            exponent = -9;
        }
    }
    let largest = || (LARGEST * mantissa.signum(), 0);
    if mantissa == 0 {
        (0, 0)
    } else if exponent < 0 {
        let power = 10_i128.pow(exponent.unsigned_abs());
        if mantissa.abs() / power >= LARGEST { largest() } else { (mantissa, exponent) }
    } else {
        match 10_i128.checked_pow(exponent.unsigned_abs()).and_then(|power| mantissa.checked_mul(power)) {
            Some(whole) if whole.abs() <= LARGEST => (mantissa, exponent),
            Some(_) | None => largest(),
        }
    }
}

/// Reads digits and a point as a whole number and a power of ten.
fn decimal(number: &str) -> Option<(i128, i32)> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.trim_start_matches(['+', '-']).is_empty() && part.is_empty() || part.contains(['+', '-', '.']) {
        return None;
    }
    let digits = format!("{whole}{part}");
    Some((digits.parse().ok()?, -i32::try_from(part.len()).ok()?))
}

fn write(mantissa: i128, exponent: i32, style: Style) -> String {
    let kept = style != Style::Binary && exponent >= -9 && mantissa.abs() < KEPT;
    let (mut mantissa, mut exponent) = if kept { (mantissa, exponent) } else { capped(mantissa, exponent) };
    if mantissa == 0 {
        return "0".to_owned();
    }
    if style == Style::Binary
        && let Some(whole) = whole(mantissa, exponent).filter(|whole| whole.abs() >= 1024)
    {
        let (mut rest, mut power) = (whole, 0);
        while rest % 1024 == 0 && power + 1 < BINARY.len() {
            rest /= 1024;
            power += 1;
        }
        return format!("{rest}{}", BINARY.get(power).unwrap_or(&""));
    }
    while mantissa % 10 == 0 {
        mantissa /= 10;
        exponent += 1;
    }
    while exponent % 3 != 0 || exponent > 18 && style != Style::Exponent {
        mantissa *= 10;
        exponent -= 1;
    }
    if style == Style::Exponent {
        return if exponent == 0 { mantissa.to_string() } else { format!("{mantissa}e{exponent}") };
    }
    let suffix = DECIMAL.iter().find(|(_, power)| *power == exponent).map_or("", |(suffix, _)| suffix);
    format!("{mantissa}{suffix}")
}

fn whole(mantissa: i128, exponent: i32) -> Option<i128> {
    let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
    if exponent >= 0 {
        mantissa.checked_mul(power)
    } else {
        (mantissa % power == 0).then_some(mantissa / power)
    }
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn quantities_are_canonical() {
        for (sent, back) in [
            ("1", "1"),
            ("0", "0"),
            ("0.5", "500m"),
            ("1500m", "1500m"),
            ("1000m", "1"),
            ("1024Mi", "1Gi"),
            ("2.5Gi", "2560Mi"),
            ("1000", "1k"),
            ("128974848", "128974848"),
            ("1e3", "1e3"),
            ("12e6", "12e6"),
            ("100Ki", "100Ki"),
            ("0.5Ki", "512"),
            ("-1.5", "-1500m"),
            ("0.0000000001", "1n"),
            ("-0.0000000001", "-1n"),
            ("-1e-2147483000", "-1e-9"),
            ("0.00000000011", "1n"),
            ("0e-2147483000", "0"),
            ("1e2147483000", "100e2147482998"),
            ("900E", "900E"),
            ("1000000000000000000000", "9223372036854775807"),
            ("-9000000000000000000000", "-9223372036854775807"),
            ("9Ei", "9223372036854775807"),
        ] {
            assert_eq!(canonical(sent).as_deref(), Some(back), "{sent}");
        }
        for bad in ["", "lots", "1Xi", "1.2.3", "Gi"] {
            assert_eq!(canonical(bad), None, "{bad}");
        }
    }
}
