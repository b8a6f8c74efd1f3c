//! Strings, characters and numbers as templates write them (Go's `strconv`).

use std::borrow::Cow;

use super::ast::Number;
use super::lex::{Kind, Token};

/// Go's escapes in strings and characters.
pub(super) fn unescape(text: &str, quote: char) -> Option<Cow<'_, str>> {
    if !text.contains('\\') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            bytes.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let escape = characters.next()?;
        let mut digits = |count: usize, radix: u32, first: Option<char>| -> Option<u32> {
            let mut value = match first {
                Some(first) => first.to_digit(radix)?,
                None => 0,
            };
            for _ in 0..count {
                value = value * radix + characters.next()?.to_digit(radix)?;
            }
            Some(value)
        };
        let byte = match escape {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' => b'\\',
            'x' => u8::try_from(digits(2, 16, None)?).ok()?,
            '0'..='7' => u8::try_from(digits(2, 8, Some(escape))?).ok()?,
            'u' | 'U' => {
                let code = digits(if escape == 'u' { 4 } else { 8 }, 16, None)?;
                bytes.extend(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            escape if escape == quote => u8::try_from(quote).ok()?,
            _ => return None,
        };
        bytes.push(byte);
    }
    // Strings of other bytes are not worth a type of their own here.
    let text = String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    Some(Cow::Owned(text))
}

/// Reads a number, and which kinds it can be (Go's `newNumber`).
pub(super) fn number(token: Token<'_>) -> Option<Number> {
    if token.kind == Kind::Character {
        let inner = token.text.get(1..token.text.len() - 1)?;
        let text = unescape(inner, '\'')?;
        let mut characters = text.chars();
        let code = u32::from(characters.next()?);
        if characters.next().is_some() {
            return None;
        }
        return Some(Number {
            int: Some(code.into()),
            uint: Some(code.into()),
            float: f64::from(code),
            is_float: false,
        });
    }
    let text = token.text;
    let int = crate::number::parse_int(text, 0);
    let uint = crate::number::parse_uint(text);
    if let Some(number) = int {
        #[expect(clippy::cast_precision_loss, reason = "as Go converts")]
        let float = number as f64;
        return Some(Number { int, uint, float, is_float: false });
    }
    if let Some(number) = uint {
        #[expect(clippy::cast_precision_loss, reason = "as Go converts")]
        let float = number as f64;
        return Some(Number { int: None, uint, float, is_float: false });
    }
    // A constant without point and exponent is an integer, and this one does not fit.
    if !text.contains(['.', 'e', 'E', 'p', 'P']) {
        return None;
    }
    let float = crate::number::parse_float(text)?;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
    let int = (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64);
    let uint = int.and_then(|int| u64::try_from(int).ok());
    Some(Number { int, uint, float, is_float: true })
}
