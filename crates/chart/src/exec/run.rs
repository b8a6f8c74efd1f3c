//! The execution of one template: nodes, pipelines, variables, fields.

use std::rc::Rc;

use super::range::{copied, is_number, pairs};
use super::{Engine, Stop};
use crate::error::{Error, Frame};
use crate::format;
use crate::funcs::{Function, Type};
use crate::object::{Member, Object};
use crate::template::ast::{Branch, Command, Node, Number, Operand, OperandKind, Pipe, Span, Template};
use crate::value::{Extent, MapKind, Value};
use crate::values;

/// The execution of one template.
pub(super) struct Run<'r, 'e> {
    pub(super) engine: &'r mut Engine<'e>,
    pub(super) template: &'r Template,
    pub(super) variables: Vec<(&'r str, Value)>,
}

impl<'r> Run<'r, '_> {
    /// A part of the template's text.
    fn text(&self, span: Span) -> &'r str {
        self.template.text(span)
    }

    /// A place, for an error.
    fn frame(&self, span: Span) -> Frame {
        let (line, column) = self.template.place(span.at);
        Frame {
            file: self.template.file.to_string(),
            line,
            column,
            template: self.template.name.to_string(),
            expression: shortened(self.text(span)),
        }
    }

    /// Adds this place to an error.
    fn placed<T>(&self, result: Result<T, Stop>, span: Span) -> Result<T, Stop> {
        match result {
            Err(Stop::Failed(problem)) => {
                let frames = vec![self.frame(span)];
                Err(Stop::Placed(Box::new(Error::Execute { frames, problem })))
            }
            other => other,
        }
    }

    /// Adds the place of a call to an error from within it.
    fn called<T>(&self, result: Result<T, Stop>, span: Span) -> Result<T, Stop> {
        match result {
            Err(Stop::Placed(mut error)) => {
                if let Error::Execute { frames, .. } = error.as_mut()
                    && frames.len() < 12
                {
                    frames.push(self.frame(span));
                }
                Err(Stop::Placed(error))
            }
            other => self.placed(other, span),
        }
    }

    pub(super) fn list(&mut self, nodes: &[Node], dot: &Value, out: &mut Vec<u8>) -> Result<(), Stop> {
        nodes.iter().try_for_each(|node| self.node(node, dot, out))
    }

    fn node(&mut self, node: &Node, dot: &Value, out: &mut Vec<u8>) -> Result<(), Stop> {
        if let Err(stop) = self.engine.step() {
            return self.stopped(stop, node);
        }
        match node {
            Node::Text(span) => {
                let text = self.text(*span);
                if let Err(stop) = self.engine.spend(text.len()) {
                    return self.stopped(stop, node);
                }
                out.extend_from_slice(text.as_bytes());
                Ok(())
            }
            Node::Action(pipe) => {
                let value = self.pipe(pipe, dot)?;
                if !pipe.variables.is_empty() {
                    return Ok(());
                }
                let before = out.len();
                self.print(pipe, value, out)?;
                if let Err(stop) = self.engine.spend(out.len() - before) {
                    return self.stopped(stop, node);
                }
                Ok(())
            }
            Node::If(branch) => self.branch(branch, dot, out, false),
            Node::With(branch) => self.branch(branch, dot, out, true),
            Node::Range(branch) => {
                let scope = self.variables.len();
                let result = self.range(branch, dot, out);
                self.variables.truncate(scope);
                result
            }
            Node::Template { span, name, pipe } => {
                let data = match pipe {
                    Some(pipe) => self.pipe(pipe, dot)?,
                    None => Value::Nil,
                };
                let Some(template) = self.engine.find(name) else {
                    let missing = Err(Stop::Failed(format!("template {name:?} not defined")));
                    return self.placed(missing, *span);
                };
                let result = self.engine.execute(&template, &data, out);
                self.called(result, *span)
            }
            Node::Break(_) => Err(Stop::Break),
            Node::Continue(_) => Err(Stop::Continue),
        }
    }

    /// Prints the value of a pipeline.
    fn print(&mut self, pipe: &Pipe, value: Value, out: &mut Vec<u8>) -> Result<(), Stop> {
        match value {
            Value::Nil | Value::Null => out.extend_from_slice(b"<no value>"),
            // A template can take its address, and so its method `String`.
            Value::Object(object) if matches!(*object, Object::Kube(_)) => {
                format::print(&field(&Value::Object(object), "String", None)?, out);
            }
            value => {
                let extent = match self.engine.extent(&value) {
                    Ok(extent) => extent,
                    Err(stop) => return self.placed(Err(stop), pipe.span),
                };
                extent.with_stack(|| format::print(&value, out));
            }
        }
        Ok(())
    }

    /// A limit that was reached at a node.
    fn stopped(&self, stop: Stop, node: &Node) -> Result<(), Stop> {
        match node {
            Node::Action(pipe) => self.placed(Err(stop), pipe.span),
            Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
                self.placed(Err(stop), branch.pipe.span)
            }
            Node::Text(span) | Node::Template { span, .. } | Node::Break(span) | Node::Continue(span) => {
                self.placed(Err(stop), *span)
            }
        }
    }

    fn branch(&mut self, branch: &Branch, dot: &Value, out: &mut Vec<u8>, with: bool) -> Result<(), Stop> {
        let scope = self.variables.len();
        let value = self.pipe(&branch.pipe, dot)?;
        let result = if value.truth() {
            self.list(&branch.body, if with { &value } else { dot }, out)
        } else if let Some(otherwise) = &branch.otherwise {
            self.list(otherwise, dot, out)
        } else {
            Ok(())
        };
        self.variables.truncate(scope);
        result
    }

    fn range(&mut self, branch: &Branch, dot: &Value, out: &mut Vec<u8>) -> Result<(), Stop> {
        let pipe = &branch.pipe;
        // The variables are set before the first round.
        let value = self.pipe(pipe, dot)?;
        let mark = self.variables.len();
        // The elements are copied: templates may change a map meanwhile.
        let held = copied(&value);
        let counted = self.engine.hold(held);
        self.placed(counted, pipe.span)?;
        let pairs = match pairs(&value) {
            // Go counts, but has no keys for that.
            Ok(_) if pipe.variables.len() > 1 && is_number(&value) => {
                Err(format!("can't use {} to iterate over more than one variable", format::text(&value)))
            }
            other => other,
        };
        let pairs = match pairs {
            Ok(pairs) => pairs,
            Err(problem) => return self.placed(Err(Stop::Failed(problem)), pipe.span),
        };
        let mut any = false;
        for pair in pairs {
            any = true;
            let (key, element) = pair;
            match pipe.variables.as_slice() {
                [] => {}
                [one] => self.set(*one, element.clone(), pipe.assigns, mark, 1)?,
                [first, second, ..] => {
                    self.set(*second, element.clone(), pipe.assigns, mark, 1)?;
                    self.set(*first, key, pipe.assigns, mark, 2)?;
                }
            }
            let result = self.list(&branch.body, &element, out);
            self.variables.truncate(mark);
            match result {
                Ok(()) | Err(Stop::Continue) => {}
                Err(Stop::Break) => break,
                Err(other) => return Err(other),
            }
            let step = self.engine.step();
            self.placed(step, pipe.span)?;
        }
        self.engine.release(held);
        match &branch.otherwise {
            Some(otherwise) if !any => self.list(otherwise, dot, out),
            _ => Ok(()),
        }
    }

    /// Sets a variable of `range`: one of its own, or one from outside.
    fn set(
        &mut self,
        name: Span,
        value: Value,
        assigns: bool,
        mark: usize,
        from_top: usize,
    ) -> Result<(), Stop> {
        if assigns {
            return self.assign(name, value);
        }
        if let Some(slot) = self.variables.get_mut(mark - from_top) {
            slot.1 = value;
        }
        Ok(())
    }

    fn assign(&mut self, name: Span, value: Value) -> Result<(), Stop> {
        let name = self.text(name);
        let known = self.variables.iter_mut().rev().find(|(known, _)| *known == name);
        known.ok_or_else(|| undefined(name))?.1 = value;
        Ok(())
    }

    /// Evaluates a pipeline, and sets its variables.
    fn pipe(&mut self, pipe: &Pipe, dot: &Value) -> Result<Value, Stop> {
        let value = self.commands(pipe, dot)?;
        for name in &pipe.variables {
            if pipe.assigns {
                let assigned = self.assign(*name, value.clone());
                self.placed(assigned, pipe.span)?;
            } else {
                self.variables.push((self.text(*name), value.clone()));
            }
        }
        Ok(value)
    }

    fn commands(&mut self, pipe: &Pipe, dot: &Value) -> Result<Value, Stop> {
        let mut value = taken_out(self.command(&pipe.first, dot, None)?);
        for command in &pipe.rest {
            value = taken_out(self.command(command, dot, Some(value))?);
        }
        Ok(value)
    }

    fn command(&mut self, command: &Command, dot: &Value, last: Option<Value>) -> Result<Value, Stop> {
        self.engine.step()?;
        let Command { span, operand, arguments } = command;
        let result = match &operand.kind {
            OperandKind::Field => self.chain(dot.clone(), self.text(operand.span), arguments, dot, last),
            OperandKind::Variable => match self.variable(operand.span) {
                Ok((value, "")) => self.no_arguments(command, last.as_ref()).map(|()| value),
                Ok((value, names)) => self.chain(value, names, arguments, dot, last),
                Err(stop) => Err(stop),
            },
            OperandKind::Chain(inner, names) => match self.bare(inner, dot) {
                Ok(value) => self.chain(value, self.text(*names), arguments, dot, last),
                Err(error) => Err(error),
            },
            OperandKind::Function(function) => {
                let result = self.call(function, arguments, dot, last);
                return self.called(result, *span);
            }
            OperandKind::Pipe(pipe) => {
                self.no_arguments(command, last.as_ref()).and_then(|()| self.pipe(pipe, dot))
            }
            OperandKind::Nil => Err(Stop::from("nil is not a command")),
            OperandKind::Dot | OperandKind::Bool(_) | OperandKind::Number(_) | OperandKind::Text(_) => {
                self.no_arguments(command, last.as_ref()).and_then(|()| self.bare(operand, dot))
            }
        };
        self.placed(result, operand.span)
    }

    fn no_arguments(&self, command: &Command, last: Option<&Value>) -> Result<(), Stop> {
        if command.arguments.is_empty() && last.is_none() {
            return Ok(());
        }
        let shown = self.text(command.operand.span);
        Err(Stop::Failed(format!("can't give argument to non-function {shown}")))
    }

    /// The value of a variable, and the fields that are asked of it: `.a.b` of `$x.a.b`.
    fn variable(&self, written: Span) -> Result<(Value, &'r str), Stop> {
        let written = self.text(written);
        let (name, names) = written.split_at(written.find('.').unwrap_or(written.len()));
        let found = self.variables.iter().rev().find(|(known, _)| *known == name);
        found.map(|(_, value)| (value.clone(), names)).ok_or_else(|| undefined(name))
    }

    /// Fields one after the other, `.a.b`; the last one may be a method with arguments.
    fn chain(
        &mut self,
        mut value: Value,
        names: &str,
        arguments: &[Operand],
        dot: &Value,
        last: Option<Value>,
    ) -> Result<Value, Stop> {
        let Some((before, end)) = names.rsplit_once('.') else { return Ok(value) };
        // No value at all: Go gives none for each of its fields, too.
        if matches!(value, Value::Nil) {
            return Ok(Value::Nil);
        }
        let mut asked = 0;
        for name in before.split('.').skip(1) {
            self.engine.can_ask(&value, name, &[])?;
            let path = || before.get(..asked).unwrap_or_default();
            value = field(&value, name, None).map_err(|stop| without_value(stop, &value, path()))?;
            asked += 1 + name.len();
        }
        if arguments.is_empty() && last.is_none() {
            self.engine.can_ask(&value, end, &[])?;
            return field(&value, end, None).map_err(|stop| without_value(stop, &value, before));
        }
        let mut values = Vec::with_capacity(arguments.len() + 1);
        for argument in arguments {
            values.push(self.bare(argument, dot)?);
        }
        values.extend(last);
        self.engine.can_ask(&value, end, &values)?;
        field(&value, end, Some(&values))
    }

    /// An operand's value where any type will do.
    fn bare(&mut self, operand: &Operand, dot: &Value) -> Result<Value, Stop> {
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Value::Nil),
            OperandKind::Bool(value) => Ok(Value::Bool(*value)),
            OperandKind::Number(number) => constant(**number, self.text(operand.span)),
            OperandKind::Text(text) => Ok(Value::Text(Rc::clone(text))),
            OperandKind::Field => {
                let result = self.chain(dot.clone(), self.text(operand.span), &[], dot, None);
                self.placed(result, operand.span)
            }
            OperandKind::Variable => {
                let found = self.variable(operand.span);
                let result = found.and_then(|(value, names)| self.chain(value, names, &[], dot, None));
                self.placed(result, operand.span)
            }
            OperandKind::Function(function) => {
                let result = self.call(function, &[], dot, None);
                self.called(result, operand.span)
            }
            OperandKind::Pipe(pipe) => self.pipe(pipe, dot),
            OperandKind::Chain(inner, names) => {
                if matches!(inner.kind, OperandKind::Nil) {
                    return Err(Stop::from("indirection through explicit nil"));
                }
                let value = self.bare(inner, dot)?;
                let result = self.chain(value, self.text(*names), &[], dot, None);
                self.placed(result, operand.span)
            }
        }
    }

    fn call(
        &mut self,
        function: &'static Function,
        arguments: &[Operand],
        dot: &Value,
        last: Option<Value>,
    ) -> Result<Value, Stop> {
        if matches!(function.name, "and" | "or") {
            return self.and_or(function, arguments, dot, last);
        }
        let count = arguments.len() + usize::from(last.is_some());
        function.accepts(count)?;
        let mut values = Vec::with_capacity(count);
        for (index, argument) in arguments.iter().enumerate() {
            match self.argument(argument, function.type_at(index), dot) {
                Ok(value) => values.push(value),
                Err(stop) => return self.placed(Err(stop), argument.span),
            }
        }
        if let Some(last) = last {
            values.push(checked(last, function.type_at(arguments.len()))?);
        }
        let mut deepest = Extent::default();
        if function.walks {
            for value in &values {
                deepest = deepest.deeper(self.engine.extent(value)?);
            }
        }
        self.engine.can_take(&values, function.slow)?;
        let before = self.engine.spent();
        let made = deepest.with_stack(|| (function.body)(self.engine, &values));
        let counted = made.and_then(|made| {
            self.engine.spend_made(&made, &values, before)?;
            Ok(made)
        });
        counted.map_err(|stop| match stop {
            Stop::Failed(problem) if function.is_said_plainly() => Stop::Failed(problem),
            Stop::Failed(problem) => Stop::Failed(format!("{}: {problem}", function.name)),
            other => other,
        })
    }

    fn and_or(
        &mut self,
        function: &Function,
        arguments: &[Operand],
        dot: &Value,
        last: Option<Value>,
    ) -> Result<Value, Stop> {
        if arguments.is_empty() && last.is_none() {
            return Err(Stop::Failed(format!(
                "wrong number of args for {}: want at least 1 got 0",
                function.name
            )));
        }
        let mut value = Value::Nil;
        for argument in arguments {
            value = self.bare(argument, dot)?;
            if value.truth() == (function.name == "or") {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    /// Evaluates an argument for a parameter of a type.
    fn argument(&mut self, operand: &Operand, wanted: Type, dot: &Value) -> Result<Value, Stop> {
        let written = || self.text(operand.span);
        let literal = match (&operand.kind, wanted) {
            (OperandKind::Number(number), Type::Int) => match number.int {
                Some(number) => Value::Int(number),
                None => return Err(Stop::Failed(format!("expected integer; found {}", written()))),
            },
            (OperandKind::Number(number), Type::Uint32) => match number.uint {
                Some(number) => Value::Uint(number, 32),
                None => return Err(Stop::Failed(format!("expected unsigned integer; found {}", written()))),
            },
            (OperandKind::Number(number), Type::Float) => Value::Float(number.float),
            (OperandKind::Number(number), Type::Any) => constant(**number, written())?,
            (OperandKind::Text(text), Type::Text | Type::Any) => Value::Text(Rc::clone(text)),
            (OperandKind::Bool(value), Type::Bool | Type::Any) => Value::Bool(*value),
            (OperandKind::Number(_) | OperandKind::Text(_) | OperandKind::Bool(_), _) => {
                return Err(Stop::Failed(format!("expected {}; found {}", wanted.name(), written())));
            }
            (OperandKind::Nil, Type::Any | Type::Map | Type::List) => Value::Nil,
            (OperandKind::Nil, _) => {
                return Err(Stop::Failed(format!("cannot assign nil to {}", wanted.name())));
            }
            _ => {
                let value = self.bare(operand, dot)?;
                return checked(value, wanted);
            }
        };
        Ok(literal)
    }
}

/// The parser knows variables by where they are written; whether what sets them was executed shows here.
fn undefined(name: &str) -> Stop {
    Stop::Failed(format!("undefined variable: {name}"))
}

/// A value for a parameter of a type, as Go's assignability has it.
fn checked(value: Value, wanted: Type) -> Result<Value, Stop> {
    if wanted.takes(&value) {
        return Ok(if wanted == Type::Map { taken_out(value).as_plain() } else { taken_out(value) });
    }
    Err(Stop::Failed(if value.is_nil() {
        format!("invalid value; expected {}", wanted.name())
    } else {
        format!("wrong type for value; expected {}; got {}", wanted.name(), value.type_name())
    }))
}

/// A numeric constant where any type will do (Go's `idealConstant`).
fn constant(number: Number, written: &str) -> Result<Value, Stop> {
    match number.int {
        _ if number.is_float => Ok(Value::Float(number.float)),
        Some(number) => Ok(Value::Int(number)),
        None => Err(Stop::Failed(format!("{written} overflows int"))),
    }
}

/// What a command gives, or an argument: Go takes it out of its interface here.
fn taken_out(value: Value) -> Value {
    if matches!(value, Value::Null) { Value::Nil } else { value }
}

/// Adds what it was that has no value, `.a.b`, to the error of asking it for a field.
fn without_value(stop: Stop, value: &Value, path: &str) -> Stop {
    match stop {
        Stop::Failed(problem) if value.is_nil() && !path.is_empty() => {
            Stop::Failed(format!("{problem}: {path} has no value"))
        }
        other => other,
    }
}

/// A field, key or method of a value.
fn field(value: &Value, name: &str, arguments: Option<&[Value]>) -> Result<Value, Stop> {
    match value {
        Value::Nil | Value::Null => {
            Err(Stop::Failed(format!("nil pointer evaluating interface {{}}.{name}")))
        }
        Value::Map(map) => {
            if map.kind == MapKind::Values
                && let Some(answer) = values::method(value, name, arguments.unwrap_or_default())
            {
                return Ok(answer?);
            }
            if arguments.is_some() {
                return Err(Stop::Failed(format!("{name} is not a method but has arguments")));
            }
            Ok(match map.get(name) {
                Some(Value::Nil) => Value::Null,
                Some(value) => value,
                None if matches!(map.kind, MapKind::Text | MapKind::NilText) => Value::text(""),
                None => Value::Null,
            })
        }
        Value::Object(object) => match object.member(name, arguments.unwrap_or_default())? {
            Member::Value(value) => Ok(value),
            Member::None => {
                Err(Stop::Failed(format!("can't evaluate field {name} in type {}", object.type_name())))
            }
        },
        other => Err(Stop::Failed(format!("can't evaluate field {name} in type {}", other.type_name()))),
    }
}

/// An expression on one line, and not too long.
fn shortened(expression: &str) -> String {
    let lines: Vec<&str> = expression.lines().map(str::trim).collect();
    let line: String = lines.join(" ").chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.char_indices().nth(80) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}
