//! What one template may cost: instructions and bytes. Lists can be repeated for nothing, and are long only where they
//! are written out: so what is written out is measured before.

use std::fmt;
use std::io::{self, Write};

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Error, ErrorKind, Output as Written, State, escape_formatter, filters};
use serde::Serialize as _;
use serde_json::ser::{PrettyFormatter, Serializer};

/// How many instructions one template may take; 64 bytes of what it makes count as one, so that it makes 64 MB at most.
/// Loops over loops end, and no template of the catalogue takes a hundredth of it.
pub(super) const FUEL: u64 = 1_000_000;

/// How many bytes one template may render.
pub(super) const LARGEST: usize = 16 * 1024 * 1024;

/// Takes what a template renders, up to [`LARGEST`].
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    full: bool,
}

impl Output {
    /// With room for so many bytes; more may come.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), full: false }
    }

    /// Whether there was more than fits.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// The text.
    pub(super) fn text(self) -> Result<String, String> {
        String::from_utf8(self.bytes).map_err(|_| "it does not render UTF-8".to_owned())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.full |= self.bytes.len().saturating_add(bytes.len()) > LARGEST;
        if self.full {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A value that would be more than [`LARGEST`] when it is written out.
#[derive(Debug, thiserror::Error)]
#[error("it renders more than {} MiB", LARGEST >> 20)]
pub(super) struct TooLong;

impl TooLong {
    /// Whether an error is this one.
    pub(super) fn is(error: &Error) -> bool {
        std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<Self>)
    }
}

fn too_long() -> Error {
    Error::new(ErrorKind::InvalidOperation, TooLong.to_string()).with_source(TooLong)
}

/// How many bytes may still come.
struct Left(usize);

impl Left {
    fn take(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.checked_sub(bytes)?;
        Some(())
    }
}

impl Write for Left {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take(bytes.len()).map(|()| bytes.len()).ok_or_else(|| io::ErrorKind::FileTooLarge.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Refuses a value that is too long as JSON. Texts are paid for when they are made.
fn fits(value: &Value, indent: &[u8]) -> Result<(), Error> {
    if !matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::Iterable) {
        return Ok(());
    }
    let mut left = Left(LARGEST);
    let formatter = PrettyFormatter::with_indent(indent);
    // What cannot be written out at all is said by who writes it.
    let written = value.serialize(&mut Serializer::with_formatter(&mut left, formatter));
    if written.is_err_and(|error| error.is_io()) { Err(too_long()) } else { Ok(()) }
}

/// Prints a value as JSON, as minijinja does.
pub(super) fn print(output: &mut Written<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    fits(value, b"")?;
    escape_formatter(output, state, value)
}

/// minijinja's filter.
pub(super) fn tojson(
    state: &State<'_, '_>,
    value: &Value,
    indent: Option<Value>,
    args: Kwargs,
) -> Result<Value, Error> {
    let columns = indent.clone().or(args.peek::<Option<Value>>("indent")?);
    let columns = columns.and_then(|columns| usize::try_from(columns).ok()).unwrap_or_default();
    if columns > LARGEST {
        return Err(too_long());
    }
    fits(value, &vec![b' '; columns])?;
    let text = filters::tojson(value, indent, args)?;
    charge(state, text.as_str().map_or(0, str::len))?;
    Ok(text)
}

/// Counts what was made as minijinja counts what it makes itself.
fn charge(state: &State<'_, '_>, bytes: usize) -> Result<(), Error> {
    state.consume_fuel(bytes as u64 / 64)
}

/// A value as raw text.
pub(super) fn text(state: &State<'_, '_>, value: &Value) -> Result<String, Error> {
    struct Text(String, Left);
    impl fmt::Write for Text {
        fn write_str(&mut self, more: &str) -> fmt::Result {
            self.1.take(more.len()).ok_or(fmt::Error)?;
            self.0.push_str(more);
            Ok(())
        }
    }
    let mut text = Text(String::new(), Left(LARGEST));
    fmt::write(&mut text, format_args!("{value}")).map_err(|_| too_long())?;
    charge(state, text.0.len())?;
    Ok(text.0)
}
