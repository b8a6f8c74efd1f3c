//! Whether an expression of CEL can be a bool, as far as its text tells: what reads fields has any type.

use cel::IdedExpr;
use cel::common::ast::{Expr, LiteralValue, operators};

/// The operators and functions whose result is never a bool.
const OTHERS: &[&str] = &[
    operators::ADD,
    operators::SUBSTRACT,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::NEGATE,
    "add",
    "asApproximateFloat",
    "asInteger",
    "bytes",
    "compareTo",
    "double",
    "int",
    "objects",
    "quantity",
    "sign",
    "size",
    "string",
    "sub",
    "type",
    "uint",
];

/// Whether an expression is a text, a number, a list or a mapping whatever the object is.
pub(super) fn is_never_bool(expression: &IdedExpr) -> bool {
    match &expression.expr {
        Expr::Literal(LiteralValue::Boolean(_)) | Expr::Unspecified | Expr::Select(_) => false,
        Expr::Literal(_) | Expr::List(_) | Expr::Map(_) | Expr::Struct(_) => true,
        Expr::Ident(name) => name == "object",
        Expr::Call(call) if call.func_name == operators::CONDITIONAL => {
            call.args.iter().skip(1).any(is_never_bool)
        }
        Expr::Call(call) => OTHERS.contains(&call.func_name.as_str()),
        // `map` and `filter` collect a list; `all` and `exists` collect a bool.
        Expr::Comprehension(inner) => match &inner.result.expr {
            Expr::Ident(_) => is_never_bool(&inner.accu_init),
            _ => is_never_bool(&inner.result),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::cel::{Gate, GateError};

    #[test]
    fn what_is_never_a_bool_is_no_gate() {
        for expression in [
            "'yes'",
            "1",
            "object",
            "[true]",
            "{'a': true}",
            "object.status.replicas + 1",
            "size(object.spec.containers)",
            "object.spec.containers.size()",
            "string(object.status.ready)",
            "objects('Pod', '', '')",
            "object.a.map(x, x == 1)",
            "object.a.filter(x, x == 1)",
            "object.a == 1 ? true : 'no'",
        ] {
            assert_eq!(Gate::parse(expression).err(), Some(GateError::NoBool), "{expression}");
        }
        for expression in [
            "true",
            "object.status.ready",
            "has(object.status) && object.status.ready",
            "object.a.all(x, x > 1)",
            "object.a.exists(x, x > 1)",
            "object.a.exists_one(x, x > 1)",
            "object.a.map(x, x + 1).size() > 1",
            "object.a == 1 ? true : object.b",
            "!object.paused",
            "'a' in object.labels",
            "object.name.startsWith('a')",
            "bool(object.ready)",
            "objects('Pod', '', '').all(p, p.ready)",
            "quantity('1').isLessThan(quantity('2'))",
        ] {
            assert!(Gate::parse(expression).is_ok(), "{expression}");
        }
    }
}
