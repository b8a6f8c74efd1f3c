//! What an execution may cost: steps, bytes that are written, memory of values.
//! Costs are counted before they arise, wherever they can be known.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Engine, Stop};
use crate::environment::Environment;
use crate::object::Object;
use crate::value::{Endless, Extent, MapKind, Value};

/// Nodes of values that are written, printed or copied for one step of templates.
const NODES_OF_STEP: u64 = 4;

/// Bytes of texts that a function goes through for one step of templates.
const BYTES_OF_STEP: usize = 32;

/// What a list takes in memory besides its elements.
pub(crate) const LIST: usize = 64;
/// What an element of a list takes.
pub(crate) const ELEMENT: usize = size_of::<Value>();
/// What a map takes besides its entries.
const MAP: usize = 192;
/// What an entry of a map takes, its key's allocation included.
pub(crate) const ENTRY: usize = 96;
/// What a text takes besides its bytes.
pub(crate) const TEXT: usize = 32;

/// What has been spent.
#[derive(Debug, Default)]
pub(super) struct Costs {
    steps: u64,
    written: usize,
    made: usize,
    /// What making keys and hashing passwords took.
    worked: Duration,
}

impl Engine<'_> {
    /// Counts bytes that are written, or made by a function.
    pub(crate) fn spend(&mut self, bytes: usize) -> Result<(), Stop> {
        self.costs.written = self.costs.written.saturating_add(bytes);
        if self.costs.written > self.limits.output_bytes { Err(self.too_long()) } else { Ok(()) }
    }

    /// How many bytes may still be written.
    pub(crate) fn left(&self) -> usize {
        self.limits.output_bytes.saturating_sub(self.costs.written)
    }

    /// Refuses to write so much at once; counts nothing.
    pub(crate) fn can_write(&self, bytes: usize) -> Result<(), Stop> {
        if bytes > self.left() { Err(self.too_long()) } else { Ok(()) }
    }

    /// Counts the memory of values, before they are made.
    pub(crate) fn make(&mut self, bytes: usize) -> Result<(), Stop> {
        self.costs.made = self.costs.made.saturating_add(bytes);
        if self.costs.made > self.limits.value_bytes { Err(self.too_much()) } else { Ok(()) }
    }

    /// Counts a list of so many elements, and the time that it takes to make it.
    pub(crate) fn make_list(&mut self, elements: usize) -> Result<(), Stop> {
        self.many_steps(elements as u64 / 16)?;
        self.make(LIST + elements.saturating_mul(ELEMENT))
    }

    /// Counts a map of so many entries, and the time that it takes to make it.
    pub(crate) fn make_map(&mut self, entries: usize) -> Result<(), Stop> {
        self.many_steps(entries as u64 / 2)?;
        self.make(MAP + entries.saturating_mul(ENTRY))
    }

    /// Counts an entry that is set in a map.
    pub(crate) fn make_entry(&mut self, key: &str) -> Result<(), Stop> {
        self.make(ENTRY + key.len())
    }

    /// Counts a copy of all of a value, or that it was read.
    pub(crate) fn make_all(&mut self, extent: Extent) -> Result<(), Stop> {
        self.make(extent.size(LIST.max(MAP), ENTRY))
    }

    /// Refuses to make so much at once; counts nothing.
    pub(crate) fn can_make(&self, bytes: usize) -> Result<(), Stop> {
        if self.costs.made.saturating_add(bytes) > self.limits.value_bytes {
            Err(self.too_much())
        } else {
            Ok(())
        }
    }

    /// Counts memory that is only held for a while, and the time to fill it.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), Stop> {
        self.many_steps((bytes / 256) as u64)?;
        self.make(bytes)
    }

    /// Counts memory that is only held for a while as free again.
    pub(super) fn release(&mut self, bytes: usize) {
        self.costs.made = self.costs.made.saturating_sub(bytes);
    }

    /// Counts what a function made that did not count it itself.
    pub(super) fn spend_made(
        &mut self,
        made: &Value,
        arguments: &[Value],
        before: usize,
    ) -> Result<(), Stop> {
        if self.spent() != before {
            return Ok(());
        }
        match made {
            // What others hold, too, is not new.
            Value::Text(text) if Rc::strong_count(text) == 1 => self.spend_text(text.len(), arguments),
            Value::Raw(bytes) if Rc::strong_count(bytes) == 1 => self.spend_text(bytes.len(), arguments),
            Value::List(list) if Rc::strong_count(list) == 1 => self.make_list(list.items.len()),
            Value::Map(map) if Rc::strong_count(map) == 1 => self.make_map(map.len()),
            _ => Ok(()),
        }
    }

    /// Counts a new text: as written by how much it is longer than the
    /// arguments, which were counted before, and else as a value.
    fn spend_text(&mut self, length: usize, arguments: &[Value]) -> Result<(), Stop> {
        let lengths = arguments.iter().filter_map(Value::string_bytes).map(<[u8]>::len);
        let longer = length.saturating_sub(lengths.max().unwrap_or(0));
        self.spend(longer)?;
        self.make(TEXT + length - longer)
    }

    /// Counts the time that a function takes to go through its texts, and
    /// refuses those that are so long that what is made of them would be
    /// beyond the limit.
    pub(super) fn can_take(&mut self, arguments: &[Value], slow: usize) -> Result<(), Stop> {
        let mut length = 0_usize;
        for argument in arguments {
            length += match argument {
                Value::Text(text) => text.len(),
                Value::Raw(bytes) => bytes.len(),
                // Each byte becomes a value where they are taken as a list.
                Value::Bytes(bytes) => bytes.len() * 6,
                _ => 0,
            };
        }
        if length.saturating_mul(4) > self.limits.output_bytes {
            return Err(self.too_long());
        }
        self.many_steps((length * slow / BYTES_OF_STEP) as u64)
    }

    /// Counts what a method makes, before it does.
    pub(super) fn can_ask(&mut self, value: &Value, name: &str, arguments: &[Value]) -> Result<(), Stop> {
        match value {
            Value::Map(map) if map.kind == MapKind::Values => match name {
                "YAML" => {
                    let extent = self.extent(value)?;
                    self.can_indent(extent)?;
                    self.spend(extent.bytes + extent.indentation)
                }
                "AsMap" => self.make_map(map.len()),
                _ => Ok(()),
            },
            Value::Object(object) => match object.as_ref() {
                Object::Files(files) => {
                    self.can_take(arguments, 32)?;
                    let named = arguments.first().and_then(Value::string_text);
                    let file = named.and_then(|name| files.get(name.as_ref()));
                    self.can_read(name, file.map(Rc::as_ref).unwrap_or_default(), files.len(), object.bytes())
                }
                _ => self.can_take(arguments, 16),
            },
            _ => Ok(()),
        }
    }

    /// Counts what a method of `.Files` makes: of one file, or of all.
    fn can_read(&mut self, name: &str, file: &[u8], files: usize, all: usize) -> Result<(), Stop> {
        match name {
            "Get" => {
                self.go_through(file.len(), 1)?;
                self.spend(file.len())
            }
            "Lines" => {
                self.go_through(file.len(), 4)?;
                let lines = memchr::memchr_iter(b'\n', file).count() + 1;
                self.make(file.len() + lines.saturating_mul(ELEMENT + TEXT))
            }
            "Glob" => {
                self.many_steps(4_000)?;
                self.make_map(files)
            }
            "AsConfig" | "AsSecrets" => {
                self.can_write(all)?;
                self.go_through(all, 4)?;
                self.spend(all / 4)
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn too_long(&self) -> Stop {
        Stop::Failed(format!("the templates write more than {} bytes", self.limits.output_bytes))
    }

    fn too_much(&self) -> Stop {
        Stop::Failed(format!("the templates make values of more than {} bytes", self.limits.value_bytes))
    }

    /// How many bytes were counted so far.
    pub(super) fn spent(&self) -> usize {
        self.costs.written + self.costs.made
    }

    /// Counts a step.
    pub(crate) fn step(&mut self) -> Result<(), Stop> {
        self.many_steps(1)
    }

    /// Counts what takes as long as several steps.
    pub(crate) fn many_steps(&mut self, count: u64) -> Result<(), Stop> {
        self.costs.steps = self.costs.steps.saturating_add(count);
        if self.costs.steps > self.limits.steps { self.too_many_steps() } else { Ok(()) }
    }

    fn too_many_steps(&self) -> Result<(), Stop> {
        Err(Stop::Failed(format!("the templates take more than {} steps", self.limits.steps)))
    }

    /// Counts going through so many bytes, each of which takes `slow` times as
    /// long as a function that only copies them.
    pub(crate) fn go_through(&mut self, bytes: usize, slow: usize) -> Result<(), Stop> {
        self.many_steps((bytes.saturating_mul(slow) / BYTES_OF_STEP) as u64)
    }

    /// Makes a key or hashes a password, unless so many milliseconds are more than what is left. It counts with what it
    /// took, but not with more than was expected: a busy machine refuses no more than a quiet one.
    pub(crate) fn work<T>(
        &mut self,
        milliseconds: u64,
        run: impl FnOnce(&mut dyn Environment) -> T,
    ) -> Result<T, Stop> {
        let expected = Duration::from_millis(milliseconds);
        if self.costs.worked + expected > Duration::from_millis(self.limits.key_milliseconds) {
            return Err(Stop::Failed(format!(
                "the templates make keys and hashes of passwords that take more than {} ms together",
                self.limits.key_milliseconds
            )));
        }
        let began = Instant::now();
        let made = run(self.environment);
        self.costs.worked += began.elapsed().min(expected);
        Ok(made)
    }

    /// Looks how large and deep a value is, before something goes through it.
    /// A value that contains itself is `None`.
    pub(crate) fn finite(&mut self, value: &Value) -> Result<Option<Extent>, Stop> {
        match value {
            Value::Map(_) | Value::List(_) => {}
            Value::Object(object) => {
                let bytes = object.bytes();
                if bytes > self.limits.output_bytes {
                    return Err(self.too_long());
                }
                self.go_through(bytes, 1)?;
                return Ok(Some(Extent::default()));
            }
            _ => return Ok(Some(Extent::default())),
        }
        let left = self.limits.steps.saturating_sub(self.costs.steps);
        match Extent::of(value, left.saturating_mul(NODES_OF_STEP)) {
            Ok(extent) => {
                if extent.bytes.saturating_mul(4) > self.limits.output_bytes {
                    return Err(self.too_long());
                }
                self.costs.steps += extent.nodes / NODES_OF_STEP;
                self.go_through(extent.bytes, 1)?;
                Ok(Some(extent))
            }
            Err(Endless::Cycle) => Ok(None),
            Err(Endless::TooLarge) => self.too_many_steps().map(|()| None),
            Err(problem @ Endless::TooDeep) => Err(Stop::from(problem.words())),
        }
    }

    /// As [`Self::finite`], but refuses a value that contains itself.
    pub(crate) fn extent(&mut self, value: &Value) -> Result<Extent, Stop> {
        self.finite(value)?.ok_or_else(|| Stop::from(Endless::Cycle.words()))
    }

    /// Refuses a value whose lines would be indented beyond the limit.
    pub(crate) fn can_indent(&self, extent: Extent) -> Result<(), Stop> {
        if extent.indentation.saturating_mul(2) > self.limits.output_bytes {
            Err(self.too_long())
        } else {
            Ok(())
        }
    }
}
