//! What `range` goes over.

use std::rc::Rc;

use crate::exec::ELEMENT;
use crate::format;
use crate::object::Object;
use crate::value::Value;

/// Keys and elements of what `range` goes over.
pub(super) fn pairs(value: &Value) -> Result<Box<dyn Iterator<Item = (Value, Value)>>, String> {
    fn element(value: Value) -> Value {
        if value.is_nil() { Value::Null } else { value }
    }
    fn count(index: usize) -> Value {
        Value::Int(i64::try_from(index).unwrap_or(i64::MAX))
    }
    Ok(match value {
        Value::Nil | Value::Null => Box::new(std::iter::empty()),
        Value::List(list) => {
            let list = Rc::clone(list);
            Box::new((0..list.items.len()).map(move |index| {
                let item = list.items.get(index).cloned().unwrap_or(Value::Nil);
                (count(index), element(item))
            }))
        }
        Value::Map(map) => {
            Box::new(map.entries().into_iter().map(|(key, value)| (Value::Text(key), element(value))))
        }
        Value::Int(number) => Box::new((0..*number).map(|index| (Value::Int(index), Value::Int(index)))),
        Value::Int64(number) => {
            Box::new((0..*number).map(|index| (Value::Int64(index), Value::Int64(index))))
        }
        Value::Uint(number, bits) => {
            let bits = *bits;
            Box::new((0..*number).map(move |index| (Value::Uint(index, bits), Value::Uint(index, bits))))
        }
        Value::Object(object) => match (object.as_ref(), object.elements()) {
            (Object::Files(files), _) => {
                let files: Vec<_> = files
                    .iter()
                    .map(|(name, bytes)| (Value::Text(Rc::clone(name)), Value::Bytes(Rc::clone(bytes))))
                    .collect();
                Box::new(files.into_iter())
            }
            (_, Some(elements)) => {
                Box::new(elements.into_iter().enumerate().map(|(index, value)| (count(index), value)))
            }
            (Object::Duration(number), _) => {
                Box::new((0..*number).map(|index| (Value::Int64(index), Value::Int64(index))))
            }
            _ => return Err(format!("range can't iterate over {}", format::text(value))),
        },
        Value::Bytes(_) => match value.elements() {
            Some(elements) => {
                let elements = elements.into_owned();
                Box::new(elements.into_iter().enumerate().map(|(index, value)| (count(index), value)))
            }
            None => Box::new(std::iter::empty()),
        },
        Value::Bool(_) | Value::Float(_) | Value::Text(_) | Value::Raw(_) => {
            return Err(format!("range can't iterate over {}", format::text(value)));
        }
    })
}

/// Whether `range` counts up to it.
pub(super) fn is_number(value: &Value) -> bool {
    match value {
        Value::Int(_) | Value::Int64(_) | Value::Uint(..) => true,
        Value::Object(object) => matches!(**object, Object::Duration(_)),
        _ => false,
    }
}

/// The memory that `range` takes for a copy of what it goes over.
pub(super) fn copied(value: &Value) -> usize {
    match value {
        Value::Map(map) => map.len() * 2 * ELEMENT,
        Value::Bytes(bytes) => bytes.len().saturating_mul(2 * ELEMENT),
        Value::Object(object) => object.elements_held() * 2 * ELEMENT,
        _ => 0,
    }
}
