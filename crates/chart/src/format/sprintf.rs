//! Go's `Sprintf`: verbs with flags, width and precision (`fmt/print.go`).

mod numbers;
mod values;

use crate::value::{Extent, Value};

/// The flags of a verb.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "Go's own flags")]
struct Flags {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    /// `%+v`: the names of fields.
    plus_v: bool,
    /// `%#v`: values as Go writes them.
    sharp_v: bool,
    /// Within a complaint: values do not print themselves.
    erroring: bool,
    /// How deep in other values.
    depth: usize,
    width: Option<usize>,
    precision: Option<usize>,
}

impl Flags {
    /// Whether it is worth a look how much is filled.
    fn is_wide(self) -> bool {
        self.width.max(self.precision).is_some_and(|width| width > 64)
    }

    /// The same for what is within a value.
    fn deeper(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }
}

/// The widest field that an argument may ask for; of a number in the format Go reads one digit more.
const WIDEST: usize = 1_000_000;

/// Go's `Sprintf`; `None`: it would be longer than `most` bytes.
pub(crate) fn sprintf(format: &[u8], arguments: &[Value], most: usize) -> Option<Vec<u8>> {
    let mut reader = Reader { out: Vec::new(), rest: format, arguments, next: 0, reordered: false };
    while let Some(at) = memchr::memchr(b'%', reader.rest) {
        let before = reader.skip(at);
        reader.out.extend_from_slice(before);
        reader.skip(1);
        let ended = !reader.verb(most)?;
        if reader.out.len() > most {
            return None;
        }
        if ended {
            break;
        }
    }
    reader.out.extend_from_slice(reader.rest);
    reader.extra();
    Some(reader.out)
}

/// Reads a format.
struct Reader<'a> {
    out: Vec<u8>,
    rest: &'a [u8],
    arguments: &'a [Value],
    /// The argument that is next.
    next: usize,
    /// Whether arguments were named by number.
    reordered: bool,
}

impl<'a> Reader<'a> {
    /// Moves over some bytes.
    fn skip(&mut self, count: usize) -> &'a [u8] {
        let (skipped, rest) = self.rest.split_at_checked(count).unwrap_or((self.rest, &[]));
        self.rest = rest;
        skipped
    }

    /// Reads what follows `%`, and writes it. `None`: too much is wanted of it;
    /// `false`: the format has ended.
    fn verb(&mut self, most: usize) -> Option<bool> {
        let mut flags = self.flags();
        let mut is_good = true;
        let mut after_index = self.index(&mut is_good);
        if self.rest.first() == Some(&b'*') {
            self.skip(1);
            self.width(&mut flags);
            after_index = false;
        } else {
            flags.width = digits(&mut self.rest);
            is_good &= !after_index || flags.width.is_none();
        }
        if self.rest.len() > 1 && self.rest.first() == Some(&b'.') {
            self.skip(1);
            is_good &= !after_index;
            after_index = self.index(&mut is_good);
            if self.rest.first() == Some(&b'*') {
                self.skip(1);
                flags.precision = self.star().and_then(|precision| usize::try_from(precision).ok());
                if flags.precision.is_none() {
                    self.out.extend_from_slice(b"%!(BADPREC)");
                }
                after_index = false;
            } else {
                flags.precision = Some(digits(&mut self.rest).unwrap_or(0));
            }
        }
        if !after_index {
            self.index(&mut is_good);
        }
        let Some(verb) = self.letter() else {
            self.out.extend_from_slice(b"%!(NOVERB)");
            return Some(false);
        };
        if verb == '%' {
            self.out.push(b'%');
        } else if !is_good {
            self.out.extend_from_slice(format!("%!{verb}(BADINDEX)").as_bytes());
        } else if let Some(value) = self.arguments.get(self.next) {
            self.next += 1;
            if matches!(verb, 'v' | 'w') {
                (flags.sharp_v, flags.plus_v) = (flags.sharp, flags.plus);
                (flags.sharp, flags.plus) = (false, false);
            }
            if flags.is_wide() && too_wide(value, flags, most) {
                return None;
            }
            values::argument(&mut self.out, verb, value, flags);
        } else {
            self.out.extend_from_slice(format!("%!{verb}(MISSING)").as_bytes());
        }
        Some(true)
    }

    fn flags(&mut self) -> Flags {
        let mut flags = Flags::default();
        loop {
            match self.rest.first() {
                Some(b'-') => flags.minus = true,
                Some(b'+') => flags.plus = true,
                Some(b'#') => flags.sharp = true,
                Some(b' ') => flags.space = true,
                Some(b'0') => flags.zero = true,
                _ => return flags,
            }
            self.skip(1);
        }
    }

    /// Reads `[2]`; says whether there was a number.
    fn index(&mut self, is_good: &mut bool) -> bool {
        if self.rest.first() != Some(&b'[') {
            return false;
        }
        self.reordered = true;
        let end = memchr::memchr(b']', self.rest).filter(|_| self.rest.len() > 2);
        let Some(end) = end else {
            self.skip(1);
            *is_good = false;
            return false;
        };
        let mut inner = self.skip(end + 1).get(1..end).unwrap_or_default();
        let number = digits(&mut inner).filter(|_| inner.is_empty());
        match number.filter(|number| (1..=self.arguments.len()).contains(number)) {
            Some(number) => self.next = number - 1,
            None => *is_good = false,
        }
        number.is_some()
    }

    /// Reads a width from an argument.
    fn width(&mut self, flags: &mut Flags) {
        let width = self.star();
        if let Some(width) = width {
            flags.width = usize::try_from(width.unsigned_abs()).ok();
            if width < 0 {
                (flags.minus, flags.zero) = (true, false);
            }
        } else {
            self.out.extend_from_slice(b"%!(BADWIDTH)");
        }
    }

    /// The whole number that the next argument is.
    fn star(&mut self) -> Option<i64> {
        let value = self.arguments.get(self.next)?;
        self.next += 1;
        let number = match value {
            Value::Int(number) | Value::Int64(number) => Some(*number),
            Value::Uint(number, _) => i64::try_from(*number).ok(),
            _ => None,
        };
        number.filter(|number| number.unsigned_abs() <= WIDEST as u64)
    }

    /// Reads the verb's letter.
    fn letter(&mut self) -> Option<char> {
        let valid = self.rest.utf8_chunks().next()?.valid();
        let letter = valid.chars().next().unwrap_or('\u{fffd}');
        self.skip(if valid.is_empty() { 1 } else { letter.len_utf8() });
        Some(letter)
    }

    /// Arguments that nothing asked for.
    fn extra(&mut self) {
        let Self { out, arguments, next, .. } = self;
        if self.reordered || *next >= arguments.len() {
            return;
        }
        out.extend_from_slice(b"%!(EXTRA ");
        for (index, value) in arguments.iter().enumerate().skip(*next) {
            if index > *next {
                out.extend_from_slice(b", ");
            }
            if !value.is_nil() {
                out.extend_from_slice(value.type_name().as_bytes());
                out.push(b'=');
            }
            values::argument(out, 'v', value, Flags::default());
        }
        out.push(b')');
    }
}

/// Whether a field for each element of a value would be too much.
fn too_wide(value: &Value, flags: Flags, most: usize) -> bool {
    let width = flags.width.unwrap_or(0).saturating_add(flags.precision.unwrap_or(0));
    let nodes = match value {
        Value::Bytes(bytes) => bytes.len(),
        Value::Map(_) | Value::List(_) => {
            // Keys are filled, too.
            let nodes = Extent::of(value, most as u64).map_or(u64::MAX, |extent| extent.nodes);
            usize::try_from(nodes).unwrap_or(usize::MAX).saturating_mul(2)
        }
        Value::Object(object) => object.bytes(),
        _ => 1,
    };
    width.saturating_mul(nodes) > most
}

/// Reads a number. Of one that is too large Go reads no further in the format.
fn digits(rest: &mut &[u8]) -> Option<usize> {
    let mut number = None;
    while let Some((digit @ b'0'..=b'9', after)) = rest.split_first() {
        let before = number.unwrap_or(0);
        if before > WIDEST {
            *rest = &[];
            return None;
        }
        number = Some(before * 10 + usize::from(digit - b'0'));
        *rest = after;
    }
    number
}

/// Writes a text in a field. Each byte that is not UTF-8 counts as a character.
fn pad(out: &mut Vec<u8>, text: &[u8], flags: Flags) {
    let fill = flags.width.map_or(0, |width| {
        let characters =
            text.utf8_chunks().map(|chunk| chunk.valid().chars().count() + chunk.invalid().len());
        width.saturating_sub(characters.sum())
    });
    if flags.minus {
        out.extend_from_slice(text);
        out.extend(std::iter::repeat_n(b' ', fill));
    } else {
        out.extend(std::iter::repeat_n(if flags.zero { b'0' } else { b' ' }, fill));
        out.extend_from_slice(text);
    }
}
