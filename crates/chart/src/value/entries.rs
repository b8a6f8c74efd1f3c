//! The entries of a map, in the order of their keys.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::rc::Rc;

use super::{Value, nesting};

/// Up to so many entries are kept in one sorted list. Nearly all maps of
/// values are this small; a tree's nodes would take several times as much.
const FEW: usize = 32;

/// The entries of a map, in the order of their keys, which is Go's for `range`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entries(Store);

#[derive(Debug, Clone)]
enum Store {
    /// Sorted by key, without two of one key; at most [`FEW`].
    Few(Vec<(Rc<str>, Value)>),
    Many(BTreeMap<Rc<str>, Value>),
}

impl Default for Store {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Entries {
    /// No entries.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The value under a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        match &self.0 {
            Store::Few(list) => Some(&list.get(place(list, key).ok()?)?.1),
            Store::Many(tree) => tree.get(key),
        }
    }

    /// Whether there is such a key.
    pub(crate) fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Sets a key.
    pub(crate) fn insert(&mut self, key: Rc<str>, value: Value) {
        match &mut self.0 {
            Store::Few(list) => match place(list, &key) {
                Ok(at) => {
                    if let Some((_, before)) = list.get_mut(at) {
                        *before = value;
                    }
                }
                Err(at) if list.len() < FEW => list.insert(at, (key, value)),
                Err(_) => {
                    let mut tree: BTreeMap<_, _> = std::mem::take(list).into_iter().collect();
                    tree.insert(key, value);
                    self.0 = Store::Many(tree);
                }
            },
            Store::Many(tree) => {
                tree.insert(key, value);
            }
        }
    }

    /// Takes a key out.
    pub(crate) fn remove(&mut self, key: &str) {
        match &mut self.0 {
            Store::Few(list) => {
                if let Ok(at) = place(list, key) {
                    list.remove(at);
                }
            }
            Store::Many(tree) => {
                tree.remove(key);
            }
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Store::Few(list) => list.len(),
            Store::Many(tree) => tree.len(),
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keys and values, in the order of the keys.
    pub(crate) fn iter(&self) -> Iter<'_> {
        match &self.0 {
            Store::Few(list) => Iter::Few(list.iter()),
            Store::Many(tree) => Iter::Many(tree.iter()),
        }
    }

    /// The values, in the order of their keys.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Value> {
        self.iter().map(|(_, value)| value)
    }
}

/// Where a key is, or is to be.
fn place(list: &[(Rc<str>, Value)], key: &str) -> Result<usize, usize> {
    match list.last() {
        // Files and copies come in order.
        Some((greatest, _)) if **greatest < *key => Err(list.len()),
        _ => list.binary_search_by(|(known, _)| (**known).cmp(key)),
    }
}

/// Goes over entries in the order of their keys.
pub(crate) enum Iter<'a> {
    Few(std::slice::Iter<'a, (Rc<str>, Value)>),
    Many(btree_map::Iter<'a, Rc<str>, Value>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a Rc<str>, &'a Value);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Few(list) => list.next().map(|(key, value)| (key, value)),
            Self::Many(tree) => tree.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::Few(list) => list.size_hint(),
            Self::Many(tree) => tree.size_hint(),
        }
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'a> IntoIterator for &'a Entries {
    type Item = (&'a Rc<str>, &'a Value);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl FromIterator<(Rc<str>, Value)> for Entries {
    fn from_iter<I: IntoIterator<Item = (Rc<str>, Value)>>(entries: I) -> Self {
        let entries = entries.into_iter();
        let list = Vec::with_capacity(entries.size_hint().0.min(FEW));
        let mut all = Self(Store::Few(list));
        all.extend(entries);
        all
    }
}

impl Extend<(Rc<str>, Value)> for Entries {
    fn extend<I: IntoIterator<Item = (Rc<str>, Value)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        match std::mem::take(&mut self.0) {
            Store::Few(list) => nesting::dropped(list, |list| list.into_iter().map(|(_, value)| value)),
            Store::Many(tree) => nesting::dropped(tree, BTreeMap::into_values),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_entries_behave_alike() {
        let mut entries = Entries::new();
        let mut reference = BTreeMap::new();
        for number in (0..200_i64).map(|number| number * 7 % 101) {
            let key: Rc<str> = Rc::from(format!("k{number}"));
            entries.insert(Rc::clone(&key), Value::Int(number));
            reference.insert(key, number);
            if number % 5 == 0 {
                entries.remove("k7");
                reference.remove("k7");
            }
            assert_eq!(entries.len(), reference.len());
            assert!(entries.iter().map(|(key, _)| key).eq(reference.keys()), "in the order of the keys");
            assert_eq!(entries.contains_key("k7"), reference.contains_key("k7"));
        }
        assert!(matches!(entries.0, Store::Many(_)), "both forms were met");
        assert!(matches!(entries.get("k50"), Some(Value::Int(50))));
    }
}
