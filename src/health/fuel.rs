//! What evaluating a gate may cost. CEL always ends, but loops multiply: what each one goes over is counted while it
//! is evaluated, and too much is an error.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};
use cel::{Context, ExecutionError, Value as CelValue};

/// How many parts of an expression and of values may be looked at: about a second in a release build. The gates of the
/// catalogue take a few hundred.
const FUEL: u64 = 4_000_000;

/// The function that counts what a loop goes over, or a function looks through; no expression can name it.
const COUNTED: &str = "@counted";

/// The function that ends a loop once there is no fuel left: `all` and `exists` go on after errors.
const LIVE: &str = "@live";

/// Functions that look through the whole of their operands.
const THROUGH: [&str; 19] = [
    operators::IN,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::LESS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
    operators::ADD,
    "bytes",
    "contains",
    "endsWith",
    "isQuantity",
    "matches",
    "max",
    "min",
    "quantity",
    "size",
    "startsWith",
    "string",
];

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

/// The fuel for one evaluation.
#[derive(Clone)]
pub(super) struct Tank(Arc<AtomicU64>);

impl Tank {
    /// A full one.
    pub(super) fn full() -> Self {
        Self(Arc::new(AtomicU64::new(FUEL)))
    }

    /// Lets a context spend it.
    pub(super) fn add_to(&self, context: &mut Context<'_, '_>) -> Result<(), String> {
        let (tank, live) = (self.clone(), self.clone());
        let counted = move |of: CelValue, each: i64| {
            let elements = match &of {
                CelValue::List(items) => items.len(),
                CelValue::Map(map) => map.map.len(),
                // What a pattern is looked for in.
                CelValue::String(text) => text.len() / 16,
                _ => 0,
            };
            let of_elements = (elements as u64).saturating_mul(each.unsigned_abs());
            tank.spend(parts(&of).saturating_add(of_elements)).map(|()| of)
        };
        let live = move |goes_on: bool| live.spend(1).map(|()| goes_on);
        context.add_function(COUNTED, counted).map_err(|error| error.to_string())?;
        context.add_function(LIVE, live).map_err(|error| error.to_string())
    }

    /// Spends some; once it was not enough, none is left.
    pub(super) fn spend(&self, cost: u64) -> Result<(), ExecutionError> {
        let left = self.0.load(Ordering::Relaxed).checked_sub(cost);
        self.0.store(left.unwrap_or_default(), Ordering::Relaxed);
        left.map(drop).ok_or_else(|| ExecutionError::function_error("loop", "it goes over too much"))
    }
}

/// How large a value is: its parts, and 16 bytes of text for one.
pub(super) fn parts(value: &CelValue) -> u64 {
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
            let range = std::mem::take(&mut inner.iter_range);
            inner.iter_range = spending(range, each);
            // `map` and `filter` end with the first error, and are quick only if this stays as it is.
            if !matches!(inner.loop_cond.expr, Expr::Literal(_)) {
                let args = vec![std::mem::take(&mut inner.loop_cond)];
                let call = CallExpr { func_name: LIVE.to_owned(), target: None, args };
                inner.loop_cond = IdedExpr { id, expr: Expr::Call(call) };
            }
            once
        }
        Expr::List(list) => {
            let cost = all(&mut list.elements, depth)?;
            list.elements.iter_mut().for_each(|element| look_through(element, 0));
            cost
        }
        Expr::Select(select) => count(&mut select.operand, depth)?,
        Expr::Map(map) => entries(map.entries.iter_mut().map(|entry| &mut entry.expr), depth)?,
        Expr::Struct(made) => entries(made.entries.iter_mut().map(|entry| &mut entry.expr), depth)?,
    };
    Ok(inner + 1)
}

/// The expression, counted each time that it is evaluated; `each` for each element.
fn spending(expression: IdedExpr, each: u64) -> IdedExpr {
    let id = expression.id;
    let each = i64::try_from(each).unwrap_or(i64::MAX);
    let each = IdedExpr { id, expr: Expr::Literal(LiteralValue::Int(each.into())) };
    let args = vec![expression, each];
    IdedExpr { id, expr: Expr::Call(CallExpr { func_name: COUNTED.to_owned(), target: None, args }) }
}

/// Counts an operand that is looked through, or copied. Literals are short, what loops have gathered was counted, and
/// the operands of `+` are.
fn look_through(operand: &mut IdedExpr, each: u64) {
    let counts = match &operand.expr {
        Expr::Ident(name) => !name.starts_with('@'),
        Expr::Select(_) => true,
        Expr::Call(call) => each > 0 || !THROUGH.contains(&call.func_name.as_str()),
        _ => each > 0,
    };
    if counts {
        *operand = spending(std::mem::take(operand), each);
    }
}

fn call_cost(call: &mut CallExpr, depth: usize) -> Result<u64, Unbounded> {
    let (mut cost, mut each) = (all(&mut call.args, depth)?, 0);
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
        each = of_pattern / 32;
    }
    if THROUGH.contains(&call.func_name.as_str()) {
        let operands = call.target.as_deref_mut().into_iter().chain(&mut call.args);
        operands.for_each(|operand| look_through(operand, if is_literal(operand) { 0 } else { each }));
    }
    Ok(cost)
}

fn is_literal(expression: &IdedExpr) -> bool {
    matches!(expression.expr, Expr::Literal(_))
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
