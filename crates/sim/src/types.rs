//! The fields of all built-in types, from a table that `tests/cluster/types` prints from the real server's own types.
//! A line is a type and its fields, `NAME FLAG : FORM`. Flags: `?` is left out when empty, `~` when missing, none: is
//! always written. Forms: `s` text, `i` and `l` integers, `b` boolean, `n` number, `q` quantity, `x` integer or text,
//! `t` and `T` time to the second and microsecond, `y` bytes, `*` anything, a type, `!` a type that is replaced whole,
//! `[KEYS]FORM` a list (`=` a set), `{}FORM` a map, `{!}FORM` a map that is replaced whole.

use std::collections::BTreeMap;
use std::sync::OnceLock;

/// What a value looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    /// With its width in bits.
    Integer(u8),
    Boolean,
    Number,
    Quantity,
    IntegerOrText,
    Time {
        micro: bool,
    },
    Bytes,
    Any,
    Struct {
        name: &'static str,
        atomic: bool,
    },
    List {
        keys: &'static str,
        items: Box<Self>,
    },
    Map {
        atomic: bool,
        values: Box<Self>,
    },
}

/// When a field is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Always,
    /// Unless it is empty: zero, false, no text, no items.
    Filled,
    /// Whenever it is there.
    Present,
}

/// One field of a type.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) written: Written,
    pub(crate) form: Form,
}

/// The fields of a type.
pub(crate) type Fields = BTreeMap<&'static str, Field>;

/// Answers all types by name.
pub(crate) fn types() -> &'static BTreeMap<&'static str, Fields> {
    static TYPES: OnceLock<BTreeMap<&str, Fields>> = OnceLock::new();
    TYPES.get_or_init(|| {
        let lines = include_str!("types.txt").lines();
        lines
            .map(|line| line.split_once(' ').unwrap_or((line, "")))
            .map(|(name, fields)| (name, fields.split(' ').filter_map(field).collect()))
            .collect()
    })
}

/// Answers the fields of a type.
pub(crate) fn fields(name: &str) -> Option<&'static Fields> {
    types().get(name)
}

/// Answers the name of the type that a kind has, which lives as long as the table.
/// Where two types have one name, that of the later group has the group's first word at its end.
pub(crate) fn of_kind(group: &str, kind: &str) -> Option<&'static str> {
    let first = group.split('.').next().unwrap_or_default();
    let found = types().get_key_value(format!("{kind}_{first}").as_str());
    found.or_else(|| types().get_key_value(kind)).map(|(name, _)| *name)
}

fn field(text: &'static str) -> Option<(&'static str, Field)> {
    let (name, kind) = text.split_once(':')?;
    let (name, written) = match name.strip_suffix('?') {
        Some(name) => (name, Written::Filled),
        None => name.strip_suffix('~').map_or((name, Written::Always), |name| (name, Written::Present)),
    };
    Some((name, Field { written, form: form(kind) }))
}

fn form(text: &'static str) -> Form {
    if let Some((keys, items)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return Form::List { keys, items: Box::new(form(items)) };
    }
    if let Some((mark, values)) = text.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        return Form::Map { atomic: mark == "!", values: Box::new(form(values)) };
    }
    match text {
        "s" => Form::Text,
        "i" => Form::Integer(32),
        "l" => Form::Integer(64),
        "b" => Form::Boolean,
        "n" => Form::Number,
        "q" => Form::Quantity,
        "x" => Form::IntegerOrText,
        "t" => Form::Time { micro: false },
        "T" => Form::Time { micro: true },
        "y" => Form::Bytes,
        "*" => Form::Any,
        name => match name.strip_prefix('!') {
            Some(name) => Form::Struct { name, atomic: true },
            None => Form::Struct { name, atomic: false },
        },
    }
}
