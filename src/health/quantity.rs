//! Kubernetes' quantities in gates, as its own CEL library has them (`k8s.io/apiserver/pkg/cel/library/quantity.go`):
//! `quantity(object.spec.size).isGreaterThan(quantity('1Gi'))`. Exact, in billionths, as `resource.Quantity` is.

use std::sync::Arc;

use cel::extractors::This;
use cel::objects::Opaque;
use cel::{Context, ExecutionError, Value as CelValue};

/// The functions of this library.
pub(super) const FUNCTIONS: [&str; 11] = [
    "quantity",
    "isQuantity",
    "isInteger",
    "asInteger",
    "asApproximateFloat",
    "sign",
    "add",
    "sub",
    "isLessThan",
    "isGreaterThan",
    "compareTo",
];

/// A billionth: finer parts are rounded up, away from zero.
const NANO: i128 = 1_000_000_000;

/// The largest that is kept apart: beyond, a quantity is this one (`resource.maxAllowed`).
const LARGEST: i128 = (i64::MAX as i128) * NANO;

/// The powers of ten that suffixes stand for.
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

/// The powers of 1024 that suffixes stand for, from 1 on.
const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// An amount, in billionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Quantity(i128);

impl Opaque for Quantity {
    fn runtime_type_name(&self) -> &'static str {
        "kubernetes.Quantity"
    }
}

impl Quantity {
    /// Reads `<number><suffix>`, such as `1.5Gi`, `200m` and `12e6`.
    fn parse(text: &str) -> Option<Self> {
        let (negative, number) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
        let (digits, suffix) = number.split_at_checked(end)?;
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && part.is_empty() || part.contains('.') {
            return None;
        }
        let (factor, mut power) = if let Some(at) = BINARY.iter().position(|known| *known == suffix) {
            (1024_i128.pow(u32::try_from(at).ok()? + 1), 0)
        } else if let Some((_, power)) = DECIMAL.iter().find(|(known, _)| *known == suffix) {
            (1, *power)
        } else {
            (1, suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?)
        };
        let part = part.trim_end_matches('0');
        power = power.saturating_add(9).saturating_sub(i32::try_from(part.len()).ok()?);
        let digits = format!("{whole}{part}");
        let digits = digits.trim_start_matches('0');
        // Digits finer than a billionth only round up. A power of 1024 makes ten more count, and they still fit.
        let finest: i32 = if factor == 1 { 0 } else { -10 };
        let fine = usize::try_from(finest.saturating_sub(power)).unwrap_or_default().min(digits.len());
        let (digits, cut) = digits.split_at(digits.len() - fine);
        power = power.saturating_add(i32::try_from(fine).ok()?);
        let up = i128::from(cut.bytes().any(|digit| digit != b'0'));
        let amount = if digits.is_empty() { Some(0) } else { digits.parse::<i128>().ok() };
        let amount = amount.and_then(|amount| scaled((amount + up).checked_mul(factor)?, power));
        // What does not even fit is larger than the largest.
        let amount = amount.unwrap_or(LARGEST).min(LARGEST);
        Some(Self(if negative { -amount } else { amount }))
    }

    fn of(value: &CelValue) -> Result<Self, ExecutionError> {
        match value {
            CelValue::Int(whole) => Ok(Self(i128::from(*whole) * NANO)),
            CelValue::Opaque(opaque) => {
                opaque.downcast_ref::<Self>().copied().ok_or_else(|| wrong("quantity"))
            }
            _ => Err(wrong("quantity")),
        }
    }

    /// As a whole number, where it is one.
    fn whole(self) -> Option<i64> {
        (self.0 % NANO == 0).then(|| i64::try_from(self.0 / NANO).ok()).flatten()
    }

    fn value(self) -> CelValue {
        CelValue::Opaque(Arc::new(self))
    }
}

/// `amount` times ten to the power, rounded up; `None`: it does not fit.
fn scaled(amount: i128, power: i32) -> Option<i128> {
    if amount == 0 {
        return Some(0);
    }
    let factor = 10_i128.checked_pow(power.unsigned_abs());
    match (power >= 0, factor) {
        (true, factor) => amount.checked_mul(factor?),
        // All that is left of it is that it is not nothing.
        (false, None) => Some(1),
        (false, Some(factor)) => Some((amount + factor - 1) / factor),
    }
}

/// An amount as an object has it, text or a number, in billionths.
pub(super) fn amount(value: &serde_json::Value) -> Option<i128> {
    match value {
        serde_json::Value::String(text) => Quantity::parse(text).map(|quantity| quantity.0),
        serde_json::Value::Number(number) => Quantity::parse(&number.to_string()).map(|quantity| quantity.0),
        _ => None,
    }
}

fn wrong(function: &str) -> ExecutionError {
    ExecutionError::function_error(function, "it takes quantities: quantity('1Gi')")
}

/// Lets an expression use the library.
pub(super) fn add_to(context: &mut Context<'_, '_>) -> Result<(), ExecutionError> {
    let failed =
        |error: &dyn std::fmt::Display| ExecutionError::function_error("quantity", error.to_string());
    let two = |a: &CelValue, b: &CelValue| Ok::<_, ExecutionError>((Quantity::of(a)?, Quantity::of(b)?));
    let read = |text: Arc<String>| -> Result<CelValue, ExecutionError> {
        let quantity = Quantity::parse(&text)
            .ok_or_else(|| ExecutionError::function_error("quantity", format!("`{text}` is no quantity")))?;
        Ok(quantity.value())
    };
    let is_quantity = |text: Arc<String>| Quantity::parse(&text).is_some();
    let is_integer =
        |This(own): This<CelValue>| Ok::<_, ExecutionError>(Quantity::of(&own)?.whole().is_some());
    let as_integer = |This(own): This<CelValue>| -> Result<i64, ExecutionError> {
        let whole = Quantity::of(&own)?.whole();
        whole.ok_or_else(|| ExecutionError::function_error("asInteger", "it is no whole number"))
    };
    #[expect(clippy::cast_precision_loss, reason = "approximate, as its name says")]
    let as_float =
        |This(own): This<CelValue>| Ok::<_, ExecutionError>(Quantity::of(&own)?.0 as f64 / NANO as f64);
    let sign = |This(own): This<CelValue>| Ok::<_, ExecutionError>(sign_of(Quantity::of(&own)?.0));
    let add = move |This(own): This<CelValue>, other: CelValue| -> Result<CelValue, ExecutionError> {
        let (own, other) = two(&own, &other)?;
        Ok(Quantity(own.0 + other.0).value())
    };
    let sub = move |This(own): This<CelValue>, other: CelValue| -> Result<CelValue, ExecutionError> {
        let (own, other) = two(&own, &other)?;
        Ok(Quantity(own.0 - other.0).value())
    };
    let less = move |This(own): This<CelValue>, other: CelValue| -> Result<bool, ExecutionError> {
        let (own, other) = two(&own, &other)?;
        Ok(own < other)
    };
    let greater = move |This(own): This<CelValue>, other: CelValue| -> Result<bool, ExecutionError> {
        let (own, other) = two(&own, &other)?;
        Ok(own > other)
    };
    let compare = move |This(own): This<CelValue>, other: CelValue| -> Result<i64, ExecutionError> {
        let (own, other) = two(&own, &other)?;
        Ok(sign_of(own.0 - other.0))
    };
    let added = [
        context.add_function("quantity", read),
        context.add_function("isQuantity", is_quantity),
        context.add_function("isInteger", is_integer),
        context.add_function("asInteger", as_integer),
        context.add_function("asApproximateFloat", as_float),
        context.add_function("sign", sign),
        context.add_function("add", add),
        context.add_function("sub", sub),
        context.add_function("isLessThan", less),
        context.add_function("isGreaterThan", greater),
        context.add_function("compareTo", compare),
    ];
    added.into_iter().collect::<Result<Vec<_>, _>>().map(drop).map_err(|error| failed(&error))
}

fn sign_of(amount: i128) -> i64 {
    i64::try_from(amount.signum()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::around::Nothing;
    use super::super::cel::{Gate, Verdict};
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        let amount = |text: &str| Quantity::parse(text).map(|quantity| quantity.0);
        // From the tests of `k8s.io/apimachinery/pkg/api/resource`.
        for (text, expected) in [
            ("0", 0),
            ("1Ki", 1024 * NANO),
            ("1.5Gi", 3 * 512 * 1024 * 1024 * NANO),
            ("100m", NANO / 10),
            (".5", NANO / 2),
            ("5.", 5 * NANO),
            ("+1", NANO),
            ("-1.5k", -1500 * NANO),
            ("12e6", 12_000_000 * NANO),
            ("12E-3", 12_000_000),
            ("1E", 1_000_000_000_000_000_000 * NANO),
            ("0.1n", 1),
            ("-0.1n", -1),
            ("1e-99", 1),
            ("0e99", 0),
            ("1e2147483647", LARGEST),
            ("0.1e-2147483648", 1),
            ("0.10000000000000000000000000000000000000000000000000000", NANO / 10),
            ("0.10000000000000000000000000000000000000000000000000001", NANO / 10 + 1),
            ("0.00000000000000000000000000000000000000000000000000001Ei", 1),
            ("1.00000000000000000000000000000000000000000000000000000Gi", 1024 * 1024 * 1024 * NANO),
            ("0.00000000000000000000000000000000000000000000000005e50", 5 * NANO),
            ("9999999999999E", LARGEST),
            ("99999999999999999999999999999999999999999999", LARGEST),
        ] {
            assert_eq!(amount(text), Some(expected), "{text}");
        }
        for text in ["", "-", ".", "1.2.3", "1 Gi", "1gi", "Gi", "0x1", "1ee3", "1e", "--1", "1Kib"] {
            assert_eq!(amount(text), None, "{text}");
        }
    }

    #[test]
    fn gates_compare_and_add_quantities() {
        let object = json!({ "spec": { "size": "10Gi", "bad": "10 apples", "replicas": 3 } });
        let verdict = |expression: &str| Gate::parse(expression).unwrap().evaluate(&object, &Nothing);
        for holds in [
            "quantity(object.spec.size).isGreaterThan(quantity('9.9Gi'))",
            "quantity(object.spec.size).isLessThan(quantity('11Gi'))",
            "quantity(object.spec.size).compareTo(quantity('10240Mi')) == 0",
            "quantity(object.spec.size) == quantity('10240Mi')",
            "quantity('50k').add(20000).compareTo(quantity('70k')) == 0",
            "quantity('50k').sub(quantity('20k')) == quantity('30k')",
            "quantity('50k').sub(100000).sign() == -1 && quantity('0').sign() == 0",
            "quantity('3').asInteger() == object.spec.replicas",
            "!quantity('200m').isInteger() && quantity('2k').isInteger()",
            "quantity('500m').asApproximateFloat() == 0.5",
            "isQuantity(object.spec.size) && !isQuantity(object.spec.bad)",
        ] {
            assert_eq!(verdict(holds), Verdict::True, "{holds}");
        }
        assert_eq!(verdict("quantity(object.spec.size).isLessThan(quantity('1'))"), Verdict::False);
        assert_eq!(
            verdict("quantity(object.spec.none).isLessThan(quantity('1'))"),
            Verdict::Missing("no field `none`".to_owned())
        );
        for broken in [
            "quantity(object.spec.bad).sign() == 1",
            "quantity('1').isLessThan('2')",
            "quantity('200m').asInteger() == 0",
        ] {
            assert!(matches!(verdict(broken), Verdict::Error(_)), "{broken}: {:?}", verdict(broken));
        }
    }
}
