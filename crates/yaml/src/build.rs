//! From nodes to values: what readers that make values of documents share.
//! Collections, anchors, aliases within a limit, and `<<`.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::{Properties, Style, Visitor};

/// Why an alias is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alias<'a> {
    /// Its anchor is around it.
    Recursive(&'a str),
    /// There is no such anchor before it.
    Unknown(&'a str),
    /// Aliases made the document too large: an alias bomb.
    TooLarge,
}

/// The values that a reader makes.
pub trait Values {
    /// A value.
    type Value: Clone;
    /// A key of a mapping.
    type Key;

    /// A scalar, by its tag, or its text where it is plain.
    ///
    /// # Errors
    /// With words, where it is not what its tag says, or cannot be a value.
    fn scalar(&self, text: Cow<'_, str>, tag: Option<&str>, plain: bool) -> Result<Self::Value, String>;
    /// A value where it stands as one, which may not be what it is as a key: by default the same.
    fn settled(&self, value: Self::Value) -> Self::Value {
        value
    }
    /// A sequence.
    fn list(items: impl ExactSizeIterator<Item = Self::Value>) -> Self::Value;
    /// A mapping. Of entries with the same key the last counts.
    fn map(entries: impl ExactSizeIterator<Item = (Self::Key, Self::Value)>) -> Self::Value;
    /// A value as a key.
    ///
    /// # Errors
    /// With words, where it cannot be one.
    fn key(value: Self::Value) -> Result<Self::Key, String>;
    /// Adds the entries of what stands at `<<`.
    ///
    /// # Errors
    /// With words, where it is no mapping.
    fn merge(entries: &mut Vec<(Self::Key, Self::Value)>, value: Self::Value) -> Result<(), String>;
    /// How many nodes a value has.
    fn count(value: &Self::Value) -> usize;
    /// The value for an alias; shares nothing with the anchor's.
    fn copy(value: &Self::Value) -> Self::Value;
    /// The words for an alias that is refused.
    fn refused(alias: Alias<'_>) -> String;
}

/// A collection that is not complete yet, and where its items or entries begin among all.
enum Open<V: Values> {
    List { from: usize },
    Map { from: usize, key: Option<Key<V>> },
}

enum Key<V: Values> {
    Named(V::Key),
    /// A plain `<<`: its value is merged in.
    Merge,
}

/// Builds the values of a stream's documents.
pub struct Builder<'a, V: Values> {
    values: V,
    /// Nodes that aliases may add to the stream.
    most_aliased: usize,
    aliased: usize,
    /// Collections from the outermost to the innermost, with their anchors.
    open: Vec<(Open<V>, Option<&'a str>)>,
    /// The items of all open sequences; those of the innermost are the last.
    items: Vec<V::Value>,
    /// The entries of all open mappings; those of the innermost are the last.
    entries: Vec<(V::Key, V::Value)>,
    anchors: HashMap<&'a str, V::Value>,
    /// The documents: the line of the first node, from 1, and the value once it is complete.
    pub documents: Vec<(u64, Option<V::Value>)>,
    /// How many documents have ended.
    pub ended: usize,
}

impl<'a, V: Values> Builder<'a, V> {
    /// A builder; `most_aliased` is how many nodes aliases may add to the stream.
    pub fn new(values: V, most_aliased: usize) -> Self {
        Self {
            values,
            most_aliased,
            aliased: 0,
            open: Vec::new(),
            items: Vec::new(),
            entries: Vec::new(),
            anchors: HashMap::new(),
            documents: Vec::new(),
            ended: 0,
        }
    }

    /// Puts a complete value where it belongs.
    fn put(&mut self, value: V::Value, anchor: Option<&'a str>) -> Result<(), String> {
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut() {
            None => {
                if let Some((_, document)) = self.documents.last_mut() {
                    *document = Some(self.values.settled(value));
                }
            }
            Some((Open::List { .. }, _)) => self.items.push(self.values.settled(value)),
            Some((Open::Map { key, .. }, _)) => match key.take() {
                None => *key = Some(Key::Named(V::key(value)?)),
                Some(Key::Named(name)) => self.entries.push((name, self.values.settled(value))),
                Some(Key::Merge) => V::merge(&mut self.entries, value)?,
            },
        }
        Ok(())
    }

    /// Ends the innermost collection.
    fn close(&mut self) -> Result<(), String> {
        match self.open.pop() {
            Some((Open::List { from }, anchor)) => {
                let list = V::list(self.items.drain(from..));
                self.put(list, anchor)
            }
            Some((Open::Map { from, .. }, anchor)) => {
                let map = V::map(self.entries.drain(from..));
                self.put(map, anchor)
            }
            None => Ok(()),
        }
    }
}

impl<'a, V: Values> Visitor<'a> for Builder<'a, V> {
    fn document(&mut self, line: u64) {
        self.anchors.clear();
        self.documents.push((line, None));
    }

    fn document_end(&mut self) {
        self.ended += 1;
    }

    fn scalar(&mut self, text: Cow<'a, str>, style: Style, properties: Properties<'a>) -> Result<(), String> {
        let Properties { anchor, tag } = properties;
        if style == Style::Plain
            && text == "<<"
            && tag.is_none()
            && let Some((Open::Map { key: key @ None, .. }, _)) = self.open.last_mut()
        {
            *key = Some(Key::Merge);
            return Ok(());
        }
        let value = self.values.scalar(text, tag.as_deref(), style == Style::Plain)?;
        self.put(value, anchor)
    }

    fn sequence(&mut self, properties: Properties<'a>) -> Result<(), String> {
        self.open.push((Open::List { from: self.items.len() }, properties.anchor));
        Ok(())
    }

    fn sequence_end(&mut self) -> Result<(), String> {
        self.close()
    }

    fn mapping(&mut self, properties: Properties<'a>) -> Result<(), String> {
        self.open.push((Open::Map { from: self.entries.len(), key: None }, properties.anchor));
        Ok(())
    }

    fn mapping_end(&mut self) -> Result<(), String> {
        self.close()
    }

    fn alias(&mut self, name: &'a str) -> Result<(), String> {
        if self.open.iter().any(|(_, anchor)| *anchor == Some(name)) {
            return Err(V::refused(Alias::Recursive(name)));
        }
        let value = self.anchors.get(name).map(V::copy).ok_or_else(|| V::refused(Alias::Unknown(name)))?;
        self.aliased += V::count(&value);
        if self.aliased > self.most_aliased {
            return Err(V::refused(Alias::TooLarge));
        }
        self.put(value, None)
    }
}

/// goyaml's `^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`.
#[must_use]
pub fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_holds = match mantissa.split_once('.') {
        Some((whole, fraction)) => {
            all_digits(whole) && all_digits(fraction) && !(whole.is_empty() && fraction.is_empty())
        }
        None => !mantissa.is_empty() && all_digits(mantissa),
    };
    let exponent_holds = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    mantissa_holds && exponent_holds
}
