//! Gates in CEL (the Common Expression Language) over one object.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cel::{Context, ExecutionError, Program, Value as CelValue};
use serde_json::Value;

/// The longest expression. Longer ones are mistakes, and the parser recurses.
const LONGEST: usize = 4096;

/// The deepest nesting of brackets, for the same reason.
const DEEPEST: usize = 32;

/// An expression that was parsed.
pub(crate) struct Gate {
    program: Program,
}

/// Why an expression was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GateError {
    /// It is no CEL.
    #[error("not a CEL expression: {0}")]
    Syntax(String),
    /// It uses a variable that gates do not have.
    #[error("unknown variable `{0}`: gates see `object`")]
    Variable(String),
    /// It is too long or too deep.
    #[error("the expression is longer than {LONGEST} bytes or nested deeper than {DEEPEST} levels")]
    TooLarge,
}

/// What an expression says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It holds.
    True,
    /// It does not.
    False,
    /// A field that it reads is not there (yet).
    Missing(String),
    /// It cannot be evaluated, on this object or any.
    Error(String),
}

impl Gate {
    /// Parses an expression.
    pub(crate) fn parse(expression: &str) -> Result<Self, GateError> {
        let depth = expression.bytes().fold((0_usize, 0_usize), |(now, most), byte| match byte {
            b'(' | b'[' | b'{' => (now + 1, most.max(now + 1)),
            b')' | b']' | b'}' => (now.saturating_sub(1), most),
            _ => (now, most),
        });
        if expression.len() > LONGEST || depth.1 > DEEPEST {
            return Err(GateError::TooLarge);
        }
        // The crate's parser is generated, and not proved free of panics.
        let program = catch_unwind(AssertUnwindSafe(|| Program::compile(expression)))
            .map_err(|_| GateError::Syntax("the parser gave up".to_owned()))?
            .map_err(|error| GateError::Syntax(error.to_string()))?;
        let references = program.references();
        let mut unknown =
            references.variables().into_iter().filter(|name| *name != "object" && !name.starts_with('@'));
        if let Some(unknown) = unknown.find(|name| !is_bound(expression, name)) {
            return Err(GateError::Variable(unknown.to_owned()));
        }
        Ok(Self { program })
    }

    /// Evaluates it on an object.
    pub(crate) fn evaluate(&self, object: &Value) -> Verdict {
        let mut context = Context::default();
        if let Err(error) = context.add_variable("object", signed(object)) {
            return Verdict::Error(error.to_string());
        }
        match self.program.execute(&context) {
            Ok(CelValue::Bool(true)) => Verdict::True,
            Ok(CelValue::Bool(false)) => Verdict::False,
            Ok(other) => Verdict::Error(format!("the result is {other:?}, not a bool")),
            Err(ExecutionError::NoSuchKey(key)) => Verdict::Missing(format!("no field `{key}`")),
            Err(error) => Verdict::Error(error.to_string()),
        }
    }
}

/// Whether a macro such as `exists(c, …)` binds a variable.
fn is_bound(expression: &str, name: &str) -> bool {
    [".all(", ".exists(", ".exists_one(", ".filter(", ".map("].iter().any(|call| {
        expression.match_indices(call).any(|(at, _)| {
            let arguments = expression.get(at + call.len()..).unwrap_or_default();
            arguments.split(',').next().is_some_and(|first| first.trim() == name)
        })
    })
}

/// JSON as CEL values, with integers as CEL's `int`, as Kubernetes has them.
fn signed(value: &Value) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(flag) => CelValue::Bool(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => CelValue::Int(integer),
            None => CelValue::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => CelValue::from(text.as_str()),
        Value::Array(items) => CelValue::from(items.iter().map(signed).collect::<Vec<_>>()),
        Value::Object(map) => CelValue::from(
            map.iter()
                .map(|(key, value)| (key.clone(), signed(value)))
                .collect::<std::collections::HashMap<_, _>>(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn verdict(expression: &str, object: &Value) -> Verdict {
        Gate::parse(expression).unwrap().evaluate(object)
    }

    #[test]
    fn expressions_are_judged() {
        let object = json!({ "spec": { "size": 3 }, "status": { "conditions": [{ "type": "Available", "status": "True" }] } });
        let available = "object.status.conditions.exists(c, c.type == 'Available' && c.status == 'True')";
        assert_eq!(verdict(available, &object), Verdict::True);
        assert_eq!(verdict("object.spec.size >= 4", &object), Verdict::False);
        assert_eq!(verdict("has(object.spec.size) && object.spec.size == 3", &object), Verdict::True);
        assert!(matches!(verdict(available, &json!({ "spec": {} })), Verdict::Missing(_)));
        assert!(matches!(verdict("object.spec.size", &object), Verdict::Error(_)));
    }

    #[test]
    fn what_cannot_work_is_refused_when_it_is_parsed() {
        let refused = |text: &str| Gate::parse(text).err().map(|error| error.to_string());
        assert_eq!(refused("self.x == 1").as_deref(), Some("unknown variable `self`: gates see `object`"));
        assert!(refused("object.").unwrap().starts_with("not a CEL expression"));
        assert!(refused(&"(".repeat(100)).unwrap().contains("nested deeper"));
    }
}
