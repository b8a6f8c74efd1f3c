//! Values that templates nest deeper than a stack is, or within themselves.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::Value;

/// The deepest nesting that is written, printed, copied or compared; goyaml's own limit.
const DEEPEST: usize = 10_000;

/// Each time a value is nested so much deeper, it is suspected to be within itself.
const SUSPECT: usize = 100;

/// How much stack a level of the deepest functions takes, in bytes.
const STACK_OF_LEVEL: usize = 3 << 10;

/// Why a value cannot be walked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endless {
    /// A map that is within itself.
    Cycle,
    /// Nested deeper than [`DEEPEST`].
    TooDeep,
    /// More nodes than are allowed; what is shared counts each time it is met.
    TooLarge,
}

impl Endless {
    /// What is wrong, in words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Cycle => "the value contains itself",
            Self::TooDeep => "the value is nested too deep",
            Self::TooLarge => "the value is too large",
        }
    }
}

/// What walking through a value takes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extent {
    /// How many nodes it has; what is shared counts each time it is met.
    pub(crate) nodes: u64,
    /// How many bytes its texts have, and what else is long when it is printed.
    pub(crate) bytes: usize,
    /// How deep all its nodes are together.
    pub(crate) indentation: usize,
    /// How many lists and maps it has.
    collections: usize,
    /// How deep it is nested.
    depth: usize,
}

impl Extent {
    /// The extent of a value of at most `most` nodes.
    pub(crate) fn of(value: &Value, most: u64) -> Result<Self, Endless> {
        let mut walk = Walk { extent: Self::default(), most, above: Vec::new() };
        walk.value(value)?;
        Ok(walk.extent)
    }

    /// The deeper of both.
    pub(crate) fn deeper(self, other: Self) -> Self {
        if self.depth < other.depth { other } else { self }
    }

    /// What it takes in memory, where each collection and each node takes so
    /// many bytes besides its texts.
    pub(crate) fn size(self, collection: usize, node: usize) -> usize {
        let nodes = usize::try_from(self.nodes).unwrap_or(usize::MAX);
        self.collections
            .saturating_mul(collection)
            .saturating_add(nodes.saturating_mul(node))
            .saturating_add(self.bytes)
    }

    /// About how many bytes it has when it is written, as far as it is worth to
    /// have room for them at once.
    pub(crate) fn written(self) -> usize {
        const MOST: usize = 16 << 20;
        self.size(0, 4).saturating_add(2 * self.indentation).min(MOST)
    }

    /// Runs what recurses as deep as the value is nested.
    pub(crate) fn with_stack<T>(self, run: impl FnOnce() -> T) -> T {
        // The stack that every template has is enough for usual values.
        if self.depth < SUSPECT / 2 {
            return run();
        }
        let bytes = self.depth * STACK_OF_LEVEL;
        stacker::maybe_grow(bytes, 2 * bytes, run)
    }
}

struct Walk {
    extent: Extent,
    most: u64,
    /// The collections around the value, by address.
    above: Vec<*const ()>,
}

impl Walk {
    fn value(&mut self, value: &Value) -> Result<(), Endless> {
        self.extent.nodes += 1;
        if self.extent.nodes > self.most {
            return Err(Endless::TooLarge);
        }
        self.extent.indentation += self.above.len();
        self.extent.bytes += match value {
            Value::Text(text) => text.len(),
            Value::Raw(bytes) => bytes.len(),
            // Each is printed as a number.
            Value::Bytes(bytes) => 4 * bytes.len(),
            Value::Object(object) => object.bytes(),
            Value::Map(map) => {
                return self.within(map.address(), |walk| {
                    map.with(|entries| {
                        entries.iter().try_for_each(|(key, value)| {
                            walk.extent.bytes += key.len();
                            walk.value(value)
                        })
                    })
                });
            }
            Value::List(list) => {
                return self.within(Rc::as_ptr(list).cast(), |walk| {
                    list.items.iter().try_for_each(|item| walk.value(item))
                });
            }
            _ => 0,
        };
        Ok(())
    }

    /// Goes into the collection at an address.
    fn within(
        &mut self,
        address: *const (),
        go: impl FnOnce(&mut Self) -> Result<(), Endless>,
    ) -> Result<(), Endless> {
        self.enter(address)?;
        if self.above.len().is_multiple_of(SUSPECT) {
            stacker::maybe_grow(SUSPECT * STACK_OF_LEVEL, SUSPECT * STACK_OF_LEVEL * 8, || go(self))?;
        } else {
            go(self)?;
        }
        self.above.pop();
        Ok(())
    }

    fn enter(&mut self, address: *const ()) -> Result<(), Endless> {
        let depth = self.above.len() + 1;
        if depth.is_multiple_of(SUSPECT) && self.above.contains(&address) {
            return Err(Endless::Cycle);
        }
        if depth > DEEPEST {
            return Err(Endless::TooDeep);
        }
        self.extent.depth = self.extent.depth.max(depth);
        self.extent.collections += 1;
        self.above.push(address);
        Ok(())
    }
}

/// How deep drops may nest before what is left is put aside.
const DEEPEST_DROP: usize = 100;

thread_local! {
    static DROPPING: Cell<usize> = const { Cell::new(0) };
    static ASIDE: RefCell<Vec<Value>> = const { RefCell::new(Vec::new()) };
}

/// Drops what a collection held, without a stack as deep as it is nested.
pub(super) fn dropped<C, I: IntoIterator<Item = Value>>(content: C, values: impl FnOnce(C) -> I) {
    let Ok(depth) = DROPPING.try_with(Cell::get) else { return };
    if depth >= DEEPEST_DROP {
        let nested =
            values(content).into_iter().filter(|value| matches!(value, Value::Map(_) | Value::List(_)));
        let nested: Vec<Value> = nested.collect();
        let _ = ASIDE.try_with(|aside| aside.borrow_mut().extend(nested));
        return;
    }
    let _ = DROPPING.try_with(|dropping| dropping.set(depth + 1));
    drop(content);
    if depth == 0 {
        while let Ok(Some(value)) = ASIDE.try_with(|aside| aside.borrow_mut().pop()) {
            drop(value);
        }
    }
    let _ = DROPPING.try_with(|dropping| dropping.set(depth));
}
