//! Decimal arithmetic of `addf` and its like (shopspring/decimal).

/// `mantissa · 10^exponent`
#[derive(Debug, Clone, Copy)]
pub(super) struct Decimal {
    mantissa: i128,
    exponent: i32,
}

/// Digits after the point of a quotient (`DivisionPrecision`).
const PRECISION: i32 = 16;

impl Decimal {
    /// The shortest decimal that is this float; `None`: it is not a number.
    pub(super) fn from_float(float: f64) -> Option<Self> {
        if !float.is_finite() {
            return None;
        }
        let shown = format!("{float:e}");
        let (digits, exponent) = shown.split_once('e')?;
        let fraction = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let mantissa = digits.replace('.', "").parse().ok()?;
        let exponent = exponent.parse::<i32>().ok()? - i32::try_from(fraction).ok()?;
        Some(Self { mantissa, exponent })
    }

    /// The nearest float.
    pub(super) fn to_float(self) -> f64 {
        format!("{}e{}", self.mantissa, self.exponent).parse().unwrap_or(f64::NAN)
    }

    fn scaled(self, exponent: i32) -> Option<i128> {
        let power = u32::try_from(self.exponent.checked_sub(exponent)?).ok()?;
        self.mantissa.checked_mul(10_i128.checked_pow(power)?)
    }

    pub(super) fn add(self, other: Self) -> Option<Self> {
        let exponent = self.exponent.min(other.exponent);
        let mantissa = self.scaled(exponent)?.checked_add(other.scaled(exponent)?)?;
        Some(Self { mantissa, exponent })
    }

    pub(super) fn subtract(self, other: Self) -> Option<Self> {
        self.add(Self { mantissa: -other.mantissa, ..other })
    }

    pub(super) fn multiply(self, other: Self) -> Option<Self> {
        let mantissa = self.mantissa.checked_mul(other.mantissa)?;
        Some(Self { mantissa, exponent: self.exponent + other.exponent })
    }

    /// Rounded half away from zero, to 16 digits after the point.
    pub(super) fn divide(self, other: Self) -> Option<Self> {
        // self / other = m1/m2 · 10^(e1-e2); wanted as q · 10^-16.
        let shift = self.exponent - other.exponent + PRECISION;
        let power = 10_i128.checked_pow(shift.unsigned_abs())?;
        let (top, bottom) = if shift >= 0 {
            (self.mantissa.checked_mul(power)?, other.mantissa)
        } else {
            (self.mantissa, other.mantissa.checked_mul(power)?)
        };
        let (quotient, remainder) = (top.checked_div(bottom)?, top.checked_rem(bottom)?);
        let half = remainder.checked_mul(2)?.unsigned_abs() >= bottom.unsigned_abs();
        let away = if (top < 0) == (bottom < 0) { 1 } else { -1 };
        Some(Self { mantissa: if half { quotient + away } else { quotient }, exponent: -PRECISION })
    }
}
