//! Gates in CEL (the Common Expression Language) over one object, and over
//! others by `objects(kind, namespace, selector)`; with Kubernetes' quantities.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr, LiteralValue};
use cel::{Context, Env, ExecutionError, IdedExpr, Value as CelValue};
use serde_json::Value;

use super::around::Around;
use super::cel_type::is_never_bool;
use super::current;
use super::fuel::{self, Tank, Unbounded};
use super::quantity;
use crate::model::object::GroupKind;
use crate::model::selector::Selector;

/// The longest expression. Longer ones are mistakes, and the parser recurses.
const LONGEST: usize = 4096;

/// The deepest nesting of brackets, for the same reason.
const DEEPEST: usize = 32;

/// The functions of CEL that gates may use, besides operators and macros.
const FUNCTIONS: &[&str] = &[
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "hasValue",
    "int",
    "matches",
    "max",
    "min",
    "none",
    "of",
    "ofNonZeroValue",
    "or",
    "orValue",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
    "value",
    OBJECTS,
    "optional.of",
    "optional.none",
    "optional.ofNonZeroValue",
];

/// The function that gives other objects: `objects('Pod', namespace, selector)`.
const OBJECTS: &str = "objects";

/// An expression that was parsed.
pub(crate) struct Gate {
    /// With its loops counted.
    expression: IdedExpr,
    /// The kinds whose objects it asks for.
    kinds: BTreeSet<GroupKind>,
    /// It looks itself at which generation conditions are of.
    whole: bool,
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
    /// It uses a function that gates do not have.
    #[error("unknown function `{0}`")]
    Function(String),
    /// It asks for objects in a way that is not known before it is evaluated.
    #[error(
        "`objects` takes a kind as text ('Pod', 'Deployment.apps'), a namespace ('' for all), and a label selector"
    )]
    Objects,
    /// It uses regular expressions in a way that is not known before it is evaluated.
    #[error("`matches` takes a regular expression as text ('^v[0-9]+$') of a moderate size")]
    Pattern,
    /// It is never true or false.
    #[error("the expression is never true or false: compare what it gives with something")]
    NoBool,
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
    /// What it reads is not there (yet).
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
        // The crate's parser is generated, and not proved free of panics. `Program::compile` knows no optional syntax.
        let program = catch_unwind(AssertUnwindSafe(|| Env::stdlib().compile(expression)))
            .map_err(|_| GateError::Syntax("the parser gave up".to_owned()))?
            .map_err(|error| GateError::Syntax(error.to_string()))?;
        let references = program.references();
        let mut unknown = references
            .variables()
            .into_iter()
            .filter(|name| !["object", "optional"].contains(name) && !name.starts_with('@'));
        if let Some(unknown) = unknown.find(|name| !is_bound(expression, name)) {
            return Err(GateError::Variable(unknown.to_owned()));
        }
        // Operators are functions, too, with names that no identifier has.
        let is_operator = |name: &str| !name.starts_with(|first: char| first.is_ascii_alphabetic());
        let mut functions = references.functions().into_iter();
        let is_known = |name: &str| FUNCTIONS.contains(&name) || quantity::FUNCTIONS.contains(&name);
        if let Some(unknown) = functions.find(|name| !is_operator(name) && !is_known(name)) {
            return Err(GateError::Function(unknown.to_owned()));
        }
        let mut asked = Asked::default();
        asked_for(program.expression(), &mut asked)?;
        let whole = expression.contains("observedGeneration");
        let expression = fuel::counted(program.expression()).map_err(|why| match why {
            Unbounded::Depth => GateError::TooLarge,
            Unbounded::Pattern => GateError::Pattern,
        })?;
        if is_never_bool(program.expression()) {
            return Err(GateError::NoBool);
        }
        Ok(Self { expression, kinds: asked.kinds, whole })
    }

    /// The kinds whose objects it asks for.
    pub(crate) fn kinds(&self) -> &BTreeSet<GroupKind> {
        &self.kinds
    }

    /// Evaluates it on an object.
    pub(crate) fn evaluate(&self, object: &Value, around: &dyn Around) -> Verdict {
        let mut context = Context::default();
        let seen = if self.whole { Cow::Borrowed(object) } else { current(object) };
        if let Err(error) = context.add_variable("object", signed(&seen)) {
            return Verdict::Error(error.to_string());
        }
        if let Err(error) = quantity::add_to(&mut context) {
            return Verdict::Error(error.to_string());
        }
        let mut known = BTreeMap::new();
        for kind in &self.kinds {
            match around.whole(kind) {
                Some(objects) => drop(known.insert(kind.to_string(), objects)),
                None => return Verdict::Missing(format!("objects of kind {kind} are not read yet")),
            }
        }
        let tank = Tank::full();
        if let Err(error) = tank.add_to(&mut context) {
            return Verdict::Error(error);
        }
        let objects = move |kind: Arc<String>, namespace: Arc<String>, selector: Arc<String>| {
            let of = known.get(kind.as_str()).map(Vec::as_slice).unwrap_or_default();
            tank.spend(of.len() as u64)?;
            let found = select(of, &namespace, &selector).ok_or_else(|| {
                ExecutionError::function_error(OBJECTS, format!("`{selector}` is not a label selector"))
            })?;
            tank.spend(fuel::parts(&found)).map(|()| found)
        };
        if let Err(error) = context.add_function(OBJECTS, objects) {
            return Verdict::Error(error.to_string());
        }
        match context.resolve(&self.expression) {
            Ok(CelValue::Bool(true)) => Verdict::True,
            Ok(CelValue::Bool(false)) => Verdict::False,
            Ok(CelValue::Null) => Verdict::Missing("the result is null".to_owned()),
            Ok(other) => Verdict::Error(format!("the result is {other:?}, not a bool")),
            Err(error) => match missing(&error) {
                Some(what) => Verdict::Missing(what),
                None => Verdict::Error(error.to_string()),
            },
        }
    }
}

/// What is not there yet, where that is why an evaluation failed: a field, an element of a list, or a value that is
/// `null` so far.
fn missing(error: &ExecutionError) -> Option<String> {
    let null = || Some("a value that it reads is null".to_owned());
    match error {
        ExecutionError::NoSuchKey(key) => Some(format!("no field `{key}`")),
        ExecutionError::IndexOutOfBounds(CelValue::Int(index)) if *index >= 0 => {
            Some(format!("no element {index} in a list"))
        }
        ExecutionError::NoSuchOverload(call) if call.argument_types().iter().any(|name| name == NULL) => {
            null()
        }
        ExecutionError::UnexpectedType { got, .. } if got == NULL => null(),
        ExecutionError::ValuesNotComparable(left, right)
        | ExecutionError::UnsupportedBinaryOperator(_, left, right)
            if [left, right].contains(&&CelValue::Null) =>
        {
            null()
        }
        _ => None,
    }
}

/// The name of `null`'s type.
const NULL: &str = "null_type";

/// The objects in a namespace (empty: in all) whose labels a selector takes; `None`: it is no selector.
fn select(objects: &[Arc<Value>], namespace: &str, selector: &str) -> Option<CelValue> {
    let selector = Selector::parse(selector)?;
    let here = objects.iter().filter(|object| {
        let own = object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
        (namespace.is_empty() || own == namespace) && selector.takes(object.pointer("/metadata/labels"))
    });
    Some(CelValue::from(here.map(|object| signed(&current(object))).collect::<Vec<_>>()))
}

/// What is found in an expression.
#[derive(Debug, Default)]
struct Asked {
    kinds: BTreeSet<GroupKind>,
}

/// Collects the kinds that `objects(…)` is asked for: they are watched before
/// anything is evaluated, so they must be literals.
fn asked_for(expression: &IdedExpr, asked: &mut Asked) -> Result<(), GateError> {
    match &expression.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Ok(()),
        Expr::Call(call) => {
            all(call.target.iter().map(|target| &**target).chain(&call.args), asked)?;
            if call.func_name != OBJECTS {
                return Ok(());
            }
            match call.args.first().map(|first| &first.expr) {
                Some(Expr::Literal(LiteralValue::String(kind)))
                    if call.args.len() == 3 && call.target.is_none() =>
                {
                    let (kind, group) = kind.inner().split_once('.').unwrap_or((kind.inner(), ""));
                    asked.kinds.insert(GroupKind::new(group, kind));
                    Ok(())
                }
                _ => Err(GateError::Objects),
            }
        }
        Expr::Comprehension(inner) => {
            let parts =
                [&inner.iter_range, &inner.accu_init, &inner.loop_cond, &inner.loop_step, &inner.result];
            all(parts, asked)
        }
        Expr::List(list) => all(&list.elements, asked),
        Expr::Select(select) => asked_for(&select.operand, asked),
        Expr::Map(map) => map.entries.iter().try_for_each(|entry| entry_asks(&entry.expr, asked)),
        Expr::Struct(made) => made.entries.iter().try_for_each(|entry| entry_asks(&entry.expr, asked)),
    }
}

fn all<'a>(several: impl IntoIterator<Item = &'a IdedExpr>, asked: &mut Asked) -> Result<(), GateError> {
    several.into_iter().try_for_each(|inner| asked_for(inner, asked))
}

fn entry_asks(entry: &EntryExpr, asked: &mut Asked) -> Result<(), GateError> {
    match entry {
        EntryExpr::StructField(field) => asked_for(&field.value, asked),
        EntryExpr::MapEntry(entry) => {
            asked_for(&entry.key, asked)?;
            asked_for(&entry.value, asked)
        }
    }
}

/// The macros that bind a variable.
const BINDING: [&str; 8] =
    [".all(", ".exists(", ".exists_one(", ".existsOne(", ".filter(", ".map(", ".optMap(", ".optFlatMap("];

/// Whether a macro such as `exists(c, …)` binds a variable.
fn is_bound(expression: &str, name: &str) -> bool {
    BINDING.iter().any(|call| {
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
    use super::super::around::{Listed, Nothing};
    use super::*;
    use serde_json::json;

    fn verdict(expression: &str, object: &Value) -> Verdict {
        Gate::parse(expression).unwrap().evaluate(object, &Nothing)
    }

    #[test]
    fn loops_end_whatever_they_go_over() {
        let many = json!({ "a": (0..2000).collect::<Vec<_>>(), "s": "xxxxxxxx" });
        let long = json!({ "s": "x".repeat(1 << 20) });
        let doubled = format!("[object.s]{}.size() > 1", ".map(s, s + s)".repeat(9));
        let too_much = Verdict::Error("Error executing function 'loop': it goes over too much".to_owned());
        for (expression, object) in [
            ("object.a.all(a, object.a.all(b, object.a.all(c, a + b + c >= 0)))", &many),
            ("object.a.map(a, object.a.map(b, [a, b])).size() > 1", &many),
            ("object.a.all(a, object.a.all(b, !object.s.matches('^(x+)+y$')))", &many),
            (doubled.as_str(), &long),
        ] {
            assert_eq!(verdict(expression, object), too_much, "{expression}");
        }
        let last: Vec<u32> = (0..100_000).rev().collect();
        let lists = json!({ "a": vec![0; 100_000], "b": last, "t": "x".repeat(1 << 20) });
        for expression in [
            "object.a.all(x, x in object.b)",
            "object.a.all(x, object.a == object.b || x == 0)",
            "object.a.exists(x, (object.a + object.b).size() == x)",
            "object.a.map(x, object.b).size() == 0",
            "object.a.exists(x, object.t.contains('y'))",
            "object.a.exists(x, size(object.t) == x)",
            "object.a.exists(x, object.t.matches('(x+)+y'))",
        ] {
            assert_eq!(verdict(expression, &lists), too_much, "{expression}");
        }
        let objects = "objects('Pod', '', '').all(p, objects('Node', '', '').size() > 0)";
        let one = Arc::new(json!({ "metadata": { "name": "a" } }));
        let whole =
            ["Pod", "Node"].map(|kind| (GroupKind::new("", kind), Arc::new(vec![Arc::clone(&one); 10_000])));
        let around = Listed { whole: whole.into(), ..Listed::default() };
        assert_eq!(Gate::parse(objects).unwrap().evaluate(&lists, &around), too_much);
        let deep = "object.a.all(a, a < 0 || object.a.exists(b, b == a))";
        let few = json!({ "a": (0..100).collect::<Vec<_>>() });
        assert_eq!(verdict(deep, &few), Verdict::True);
    }

    #[test]
    fn relations_are_judged_when_the_others_are_known() {
        let gate = Gate::parse(
            "objects('Disk.x.example', object.metadata.namespace, 'of=' + object.metadata.name)\
             .filter(d, d.status.phase == 'Bound').size() >= object.spec.disks",
        );
        let gate = gate.unwrap();
        let kind = GroupKind::new("x.example", "Disk");
        assert_eq!(gate.kinds().iter().collect::<Vec<_>>(), [&kind]);
        let disk = |namespace: &str, of: &str, phase: &str| {
            Arc::new(
                json!({ "metadata": { "namespace": namespace, "labels": { "of": of } }, "status": { "phase": phase } }),
            )
        };
        let object = json!({ "metadata": { "name": "a", "namespace": "n" }, "spec": { "disks": 2 } });
        let judged = |disks: &[Arc<Value>]| {
            let whole = [(kind.clone(), Arc::new(disks.to_vec()))].into();
            gate.evaluate(&object, &Listed { whole, ..Listed::default() })
        };
        let (good, bad) = (disk("n", "a", "Bound"), disk("n", "a", "Lost"));
        let (elsewhere, others) = (disk("m", "a", "Bound"), disk("n", "b", "Bound"));
        assert_eq!(judged(&[good.clone(), good.clone(), bad.clone()]), Verdict::True);
        assert_eq!(judged(&[good.clone(), bad, elsewhere, others]), Verdict::False);
        assert_eq!(judged(&[]), Verdict::False);
        let unread = "objects of kind Disk.x.example are not read yet".to_owned();
        assert_eq!(gate.evaluate(&object, &Nothing), Verdict::Missing(unread));
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

    /// Found by reading: a controller that says only what has changed was waited for until the deadline.
    #[test]
    fn a_gate_that_looks_at_generations_itself_sees_the_conditions_of_older_ones() {
        let conditions = json!([{ "type": "Counted", "status": "Unknown", "observedGeneration": 2 },
            { "type": "Conflict", "status": "False", "observedGeneration": 1 }]);
        let object = json!({ "metadata": { "generation": 2 }, "status": { "conditions": conditions } });
        let calm = "object.status.conditions.exists(c, c.type == 'Conflict' && c.status == 'False')";
        assert_eq!(verdict(calm, &object), Verdict::False);
        let counted = |at: &str| {
            format!(
                "object.status.conditions.exists(c, c.type == 'Counted' && c.?observedGeneration.orValue(0) == {at}) && {calm}"
            )
        };
        assert_eq!(verdict(&counted("object.metadata.generation"), &object), Verdict::True);
        assert_eq!(verdict(&counted("3"), &object), Verdict::False);
    }

    #[test]
    fn what_is_empty_or_null_so_far_is_waited_for() {
        let object = json!({ "metadata": { "generation": 2 }, "spec": { "n": 2 },
            "status": { "addresses": [], "phase": null, "load": null, "list": [1] } });
        for expression in [
            "object.status.addresses[0].value != ''",
            "object.status.list[1] == 1",
            "object.status.load.ingress.size() > 0",
            "has(object.status.load.ingress)",
            "object.status.load[0] == 1",
            "object.status.phase.startsWith('R')",
            "object.status.phase > 2",
            "object.status.phase + 1 > 2",
            "object.status.load.exists(x, x == 1)",
            "size(object.status.load) > 0",
            "object.status.phase",
        ] {
            assert!(
                matches!(verdict(expression, &object), Verdict::Missing(_)),
                "{expression}: {:?}",
                verdict(expression, &object)
            );
        }
        assert_eq!(verdict("object.status.phase == null", &object), Verdict::True);
        assert_eq!(verdict("object.status.phase == 'Ready'", &object), Verdict::False);
        for expression in
            ["object.status.list[-1] == 1", "object.spec.n.startsWith('R')", "object.spec.n + 'a' == ''"]
        {
            assert!(
                matches!(verdict(expression, &object), Verdict::Error(_)),
                "{expression}: {:?}",
                verdict(expression, &object)
            );
        }
    }

    #[test]
    fn every_macro_may_bind_a_variable() {
        let object = json!({ "status": { "list": [1, 2], "phase": "Ready" } });
        for expression in [
            "object.status.list.existsOne(x, x == 2)",
            "object.status.list.exists_one(x, x == 2)",
            "object.?status.?phase.optMap(p, p == 'Ready').orValue(false)",
            "object.?status.optFlatMap(s, s.?phase).orValue('') == 'Ready'",
            "!object.?spec.optMap(s, s == 1).hasValue()",
        ] {
            assert_eq!(verdict(expression, &object), Verdict::True, "{expression}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_when_it_is_parsed() {
        let refused = |text: &str| Gate::parse(text).err().map(|error| error.to_string());
        assert_eq!(refused("self.x == 1").as_deref(), Some("unknown variable `self`: gates see `object`"));
        assert_eq!(refused("quantities(object.x) > 1").as_deref(), Some("unknown function `quantities`"));
        for text in ["objects('Pod').size() > 0", "objects(object.kind, '', '').size() > 0"] {
            assert!(refused(text).unwrap().starts_with("`objects` takes a kind as text"), "{text}");
        }
        for text in
            ["object.a.matches(object.b)", "object.a.matches('(')", "object.a.matches('(a{900}){900}')"]
        {
            assert!(refused(text).unwrap().starts_with("`matches` takes"), "{text}");
        }
        assert!(refused("object.").unwrap().starts_with("not a CEL expression"));
        assert!(refused(&"(".repeat(100)).unwrap().contains("nested deeper"));
        assert!(refused(&format!("[1]{}", ".map(a, a)".repeat(100))).unwrap().contains("nested deeper"));
    }
}
