//! What evaluating a gate may cost. CEL always ends, but loops multiply: what each one goes over is counted while it
//! is evaluated, and too much is an error.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue};
use cel::{Context, ExecutionError, Value as CelValue};

/// How many parts of an expression and of values may be looked at: about a second in a release build. The gates of the
/// catalogue take a few hundred.
const FUEL: u64 = 4_000_000;

/// The function that counts what a loop goes over; no expression can name it.
const COUNTED: &str = "@counted";

/// What one call of `matches` costs, by the bytes that its pattern is compiled to, each time: a microsecond is about 8.
/// Larger ones are refused.
const MATCHES: [(usize, u64); 3] = [(16 * 1024, 500), (128 * 1024, 5_000), (1024 * 1024, 40_000)];

/// How deep an expression may nest, chains such as `a.filter(…).map(…)` included: they are evaluated by recursion, with
/// large frames. A loop counts twice.
const DEEPEST: usize = 24;

/// Why an expression may cost too much, whatever it is evaluated on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unbounded {
    /// It nests too deep.
    Depth,
    /// A pattern of `matches` is not written out, or no pattern, or too large.
    Pattern,
}

/// The expression with each loop counted.
pub(super) fn counted(expression: &IdedExpr) -> Result<IdedExpr, Unbounded> {
    let mut counted = expression.clone();
    count(&mut counted, 0)?;
    Ok(counted)
}

/// Fills the tank for one evaluation.
pub(super) fn fill(context: &mut Context<'_, '_>) -> Result<(), String> {
    let left = Arc::new(AtomicU64::new(FUEL));
    let spend = move |of: CelValue, each: i64| {
        let parts = parts(&of);
        let elements = match &of {
            CelValue::List(items) => items.len() as u64,
            CelValue::Map(map) => map.map.len() as u64,
            _ => 0,
        };
        let cost = parts.saturating_add(elements.saturating_mul(each.unsigned_abs()));
        let spent = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(cost));
        match spent {
            Ok(_) => Ok(of),
            Err(_) => Err(ExecutionError::function_error("loop", "it goes over too much")),
        }
    };
    context.add_function(COUNTED, spend).map_err(|error| error.to_string())
}

/// How large a value is: its parts, and 16 bytes of text for one.
fn parts(value: &CelValue) -> u64 {
    let text = |bytes: usize| 1 + bytes as u64 / 16;
    match value {
        CelValue::List(items) => items.iter().map(parts).fold(1, u64::saturating_add),
        CelValue::Map(map) => map.map.values().map(parts).fold(1, u64::saturating_add),
        CelValue::String(value) => text(value.len()),
        CelValue::Bytes(value) => text(value.len()),
        _ => 1,
    }
}

/// Counts the loops in an expression; answers what it costs itself.
fn count(expression: &mut IdedExpr, depth: usize) -> Result<u64, Unbounded> {
    if depth > DEEPEST {
        return Err(Unbounded::Depth);
    }
    let (id, depth) = (expression.id, depth + 1);
    let inner = match &mut expression.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => 0,
        Expr::Call(call) => call_cost(call, depth)?,
        Expr::Comprehension(inner) => {
            let depth = depth + 1;
            let mut each = 0;
            for part in [&mut inner.loop_cond, &mut inner.loop_step] {
                each += count(part, depth)?;
            }
            let once = count(&mut inner.iter_range, depth)?
                + count(&mut inner.accu_init, depth)?
                + count(&mut inner.result, depth)?;
            let each = i64::try_from(each).unwrap_or(i64::MAX);
            let range = std::mem::take(&mut inner.iter_range);
            let each = IdedExpr { id, expr: Expr::Literal(LiteralValue::Int(each.into())) };
            let call = CallExpr { func_name: COUNTED.to_owned(), target: None, args: vec![range, each] };
            inner.iter_range = IdedExpr { id, expr: Expr::Call(call) };
            once
        }
        Expr::List(list) => all(&mut list.elements, depth)?,
        Expr::Select(select) => count(&mut select.operand, depth)?,
        Expr::Map(map) => entries(map.entries.iter_mut().map(|entry| &mut entry.expr), depth)?,
        Expr::Struct(made) => entries(made.entries.iter_mut().map(|entry| &mut entry.expr), depth)?,
    };
    Ok(inner + 1)
}

fn call_cost(call: &mut CallExpr, depth: usize) -> Result<u64, Unbounded> {
    let mut cost = all(&mut call.args, depth)?;
    if let Some(target) = &mut call.target {
        cost += count(target, depth)?;
    }
    if call.func_name == "matches" {
        let Some(Expr::Literal(LiteralValue::String(pattern))) = call.args.last().map(|last| &last.expr)
        else {
            return Err(Unbounded::Pattern);
        };
        let fits = |bytes| regex::RegexBuilder::new(pattern.inner()).size_limit(bytes).build().is_ok();
        let (_, of_pattern) = MATCHES.iter().find(|(bytes, _)| fits(*bytes)).ok_or(Unbounded::Pattern)?;
        cost += of_pattern;
    }
    Ok(cost)
}

fn all(several: &mut [IdedExpr], depth: usize) -> Result<u64, Unbounded> {
    several.iter_mut().map(|one| count(one, depth)).sum()
}

fn entries<'a>(several: impl Iterator<Item = &'a mut EntryExpr>, depth: usize) -> Result<u64, Unbounded> {
    let each = |entry: &mut EntryExpr| match entry {
        EntryExpr::StructField(field) => count(&mut field.value, depth),
        EntryExpr::MapEntry(entry) => Ok(count(&mut entry.key, depth)? + count(&mut entry.value, depth)?),
    };
    several.map(each).sum()
}
