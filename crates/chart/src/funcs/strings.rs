//! sprig's functions on text. Those on strings that are not UTF-8 are `binary`'s.

mod binary;

use super::Type::{Any, Int, Text};
use super::{Answer, Function, arg, bytes, fixed, int, open_walking, text, walking};
use crate::exec::{ELEMENT, ENTRY, Engine, Stop, TEXT};
use crate::format;
use crate::value::{Entries, List, ListKind, MapKind, Value};
use memchr::memmem;
use std::rc::Rc;

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("hello", &[], |_, _| Ok(Value::text("Hello!"))),
    walking("toString", &[Any], |_, a| Ok(format::string(arg(a, 0)))),
    fixed("trim", &[Text], |_, a| {
        Ok(match arg(a, 0) {
            Value::Raw(whole) => Value::from_bytes(binary::trimmed(whole, is_space)),
            _ => Value::text(text(a, 0).trim_matches(is_space)),
        })
    }),
    fixed("trimall", &[Text, Text], trim_all),
    fixed("trimAll", &[Text, Text], trim_all),
    fixed("trimSuffix", &[Text, Text], |_, a| {
        Ok(bytes(a, 1).strip_suffix(bytes(a, 0)).map_or_else(|| arg(a, 1).clone(), Value::from_bytes))
    }),
    fixed("trimPrefix", &[Text, Text], |_, a| {
        Ok(bytes(a, 1).strip_prefix(bytes(a, 0)).map_or_else(|| arg(a, 1).clone(), Value::from_bytes))
    }),
    fixed("trunc", &[Int, Text], |_, a| {
        Ok(truncated(int(a, 0), bytes(a, 1)).map_or_else(|| arg(a, 1).clone(), Value::from_bytes))
    }),
    fixed("abbrev", &[Int, Text], |_, a| Ok(abbreviated(0, int(a, 0), a, 1))),
    fixed("abbrevboth", &[Int, Int, Text], |_, a| Ok(abbreviated(int(a, 0), int(a, 1), a, 2))),
    fixed("substr", &[Int, Int, Text], |_, a| substring(int(a, 0), int(a, 1), bytes(a, 2))),
    fixed("repeat", &[Int, Text], |engine, a| {
        let count = size(int(a, 0))?;
        engine.spend(count.saturating_mul(bytes(a, 1).len()))?;
        Ok(Value::from_bytes(bytes(a, 1).repeat(count)))
    }),
    fixed("contains", &[Text, Text], |_, a| {
        Ok(Value::Bool(memmem::find(bytes(a, 1), bytes(a, 0)).is_some()))
    }),
    fixed("hasPrefix", &[Text, Text], |_, a| Ok(Value::Bool(bytes(a, 1).starts_with(bytes(a, 0))))),
    fixed("hasSuffix", &[Text, Text], |_, a| Ok(Value::Bool(bytes(a, 1).ends_with(bytes(a, 0))))),
    open_walking("quote", &[], Any, |_, a| {
        let mut quoted =
            a.iter().filter(|value| !value.is_nil()).map(|value| format::quote(&format::string(value)));
        let first = quoted.next().unwrap_or_default();
        Ok(Value::text(quoted.fold(first, |before, next| before + " " + &next)))
    }),
    open_walking("squote", &[], Any, |_, a| {
        let mut out = Vec::new();
        for value in a.iter().filter(|value| !value.is_nil()) {
            out.extend_from_slice(if out.is_empty() { b"'" } else { b" '" });
            format::print(value, &mut out);
            out.push(b'\'');
        }
        Ok(Value::from_bytes(out))
    }),
    open_walking("cat", &[], Any, |_, a| {
        let mut out = Vec::new();
        for (index, value) in a.iter().filter(|value| !value.is_nil()).enumerate() {
            if index > 0 {
                out.push(b' ');
            }
            format::print(value, &mut out);
        }
        Ok(Value::from_bytes(out))
    }),
    fixed("indent", &[Int, Text], |engine, a| indent(engine, a, false)),
    fixed("nindent", &[Int, Text], |engine, a| indent(engine, a, true)),
    fixed("replace", &[Text, Text, Text], |engine, a| {
        let (old, new, whole) = (bytes(a, 0), bytes(a, 1), bytes(a, 2));
        // Only what grows is counted first.
        if new.len() > old.len() && whole.len().saturating_mul(new.len()) > engine.left() {
            let matches = memmem::find_iter(whole, old).count();
            engine.can_write(matches.saturating_mul(new.len() - old.len()))?;
        }
        let replaced = match (arg(a, 0), arg(a, 1), arg(a, 2)) {
            (Value::Text(old), Value::Text(new), Value::Text(whole)) => {
                Value::text(whole.replace(old.as_ref(), new))
            }
            _ => Value::from_bytes(binary::replaced(whole, old, new)),
        };
        engine.spend(replaced.string_bytes().unwrap_or_default().len())?;
        Ok(replaced)
    }),
    fixed("plural", &[Text, Text, Int], |_, a| Ok(arg(a, usize::from(int(a, 2) != 1)).clone())),
    fixed("split", &[Text, Text], |engine, a| Ok(numbered(parts(engine, a, 1, -1, ENTRY)?))).slow(4),
    fixed("splitn", &[Text, Int, Text], |engine, a| Ok(numbered(parts(engine, a, 2, int(a, 1), ENTRY)?)))
        .slow(4),
    fixed("splitList", &[Text, Text], |engine, a| {
        let items = parts(engine, a, 1, -1, ELEMENT)?;
        Ok(Value::List(Rc::new(List { kind: ListKind::Text, items })))
    })
    .slow(4),
];

/// Go's `unicode.IsSpace`.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace()
}

/// A count of bytes, elements or repetitions.
fn size(count: i64) -> Result<usize, Stop> {
    usize::try_from(count).map_err(|_| Stop::from("strings: negative Repeat count"))
}

fn trim_all(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
    let (cutset, whole) = (text(a, 0), text(a, 1));
    engine.go_through(whole.len().saturating_mul(cutset.len()), 4)?;
    if let Value::Raw(whole) = arg(a, 1) {
        return Ok(Value::from_bytes(binary::trimmed(whole, |character| cutset.contains(character))));
    }
    Ok(Value::text(whole.trim_matches(|character| cutset.contains(character))))
}

/// What is left of a text that is longer than so many bytes, or after all but so many.
fn truncated(count: i64, text: &[u8]) -> Option<&[u8]> {
    let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let at = |position: i64| usize::try_from(position).unwrap_or(0);
    if count < 0 && length + count > 0 {
        text.get(at(length + count)..)
    } else if count >= 0 && length > count {
        text.get(..at(count))
    } else {
        None
    }
}

/// goutils' `AbbreviateFull`, in bytes.
fn abbreviated(left: i64, width: i64, a: &[Value], place: usize) -> Value {
    let whole = bytes(a, place);
    if width < 4 || left > 0 && width < 7 {
        return arg(a, place).clone();
    }
    Value::from_bytes(abbreviate(whole, left, usize::try_from(width).unwrap_or(usize::MAX)))
}

fn abbreviate(text: &[u8], offset: i64, width: usize) -> Vec<u8> {
    const MARK: &[u8] = b"...";
    if text.len() <= width {
        return text.to_vec();
    }
    let keep = width - 3;
    let mut offset = usize::try_from(offset).unwrap_or(0).min(text.len());
    if text.len() - offset < keep {
        offset = text.len() - keep;
    }
    if offset <= 4 {
        return [text.get(..keep).unwrap_or(text), MARK].concat();
    }
    let rest = if offset + keep < text.len() {
        // Go drops the error of a width that is too small, and the text with it.
        if keep < 4 { Vec::new() } else { abbreviate(text.get(offset..).unwrap_or_default(), 0, keep) }
    } else {
        text.get(text.len() - keep..).unwrap_or(text).to_vec()
    };
    [MARK, &rest].concat()
}

fn substring(start: i64, end: i64, text: &[u8]) -> Answer {
    let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let (from, to) = if start < 0 {
        (0, end)
    } else if end < 0 || end > length {
        (start, length)
    } else {
        (start, end)
    };
    let cut =
        usize::try_from(from).ok().zip(usize::try_from(to).ok()).and_then(|(from, to)| text.get(from..to));
    match cut {
        Some(cut) => Ok(Value::from_bytes(cut)),
        None => Err(Stop::Failed(format!("slice bounds out of range [{from}:{to}] of {length}"))),
    }
}

fn indent(engine: &mut Engine<'_>, a: &[Value], new_line: bool) -> Answer {
    let spaces = size(int(a, 0))?;
    let whole = bytes(a, 1);
    let lines = memchr::memchr_iter(b'\n', whole).count() + 1;
    engine.spend(lines.saturating_mul(spaces).saturating_add(whole.len()))?;
    let mut out = Vec::with_capacity(whole.len() + lines * spaces + 1);
    if new_line {
        out.push(b'\n');
    }
    let mut from = 0;
    for end in memchr::memchr_iter(b'\n', whole).map(|at| at + 1).chain([whole.len()]) {
        out.resize(out.len() + spaces, b' ');
        out.extend_from_slice(whole.get(from..end).unwrap_or_default());
        from = end;
    }
    Ok(Value::from_bytes(out))
}

/// The parts of the argument at a place, between those that are the first argument. They are counted before they are
/// made, each with what else it takes.
fn parts(
    engine: &mut Engine<'_>,
    a: &[Value],
    place: usize,
    count: i64,
    each: usize,
) -> Result<Vec<Value>, Stop> {
    let size = |part: &[u8]| part.len() + TEXT + size_of::<&str>() + each;
    let parts = binary::split(bytes(a, place), bytes(a, 0), count);
    engine.make(parts.clone().map(size).sum())?;
    Ok(parts.map(Value::from_bytes).collect())
}

fn numbered(parts: Vec<Value>) -> Value {
    let entries: Entries =
        parts.into_iter().enumerate().map(|(index, part)| (Rc::from(format!("_{index}")), part)).collect();
    Value::map_of(MapKind::Text, entries)
}
