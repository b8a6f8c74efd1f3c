//! The encodings of YAML files, as libyaml's reader has them: UTF-8, and UTF-16 with a byte order mark.

use std::borrow::Cow;

/// What is said besides libyaml's words.
const ADVICE: &str = "save the file as UTF-8";

/// Whether a file begins with the byte order mark of UTF-16.
pub(crate) fn is_utf16(bytes: &[u8]) -> bool {
    matches!(bytes, [0xfe, 0xff, ..] | [0xff, 0xfe, ..])
}

/// The text of a file. What is neither UTF-8 nor UTF-16 is refused in libyaml's words.
pub(crate) fn decoded(bytes: &[u8]) -> Result<Cow<'_, str>, String> {
    match bytes {
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes).map(Cow::Owned),
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes).map(Cow::Owned),
        _ => utf8(bytes).map(Cow::Borrowed),
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| {
        let first = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
        let problem = match error.error_len() {
            None => "incomplete UTF-8 octet sequence",
            Some(_) if (0xc0..=0xf7).contains(&first) => "invalid trailing UTF-8 octet",
            Some(_) => "invalid leading UTF-8 octet",
        };
        let line = bytes.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count() + 1;
        format!("yaml: line {line}: {problem}: {ADVICE}")
    })
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, String> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut text = String::with_capacity(bytes.len());
    let mut units = char::decode_utf16(pairs.iter().map(|pair| unit(*pair))).peekable();
    while let Some(decoded) = units.next() {
        match decoded {
            Ok(character) => text.push(character),
            Err(error) => {
                let problem = match error.unpaired_surrogate() {
                    0xdc00..=0xdfff => "unexpected low surrogate area",
                    _ if units.peek().is_none() => "incomplete UTF-16 surrogate pair",
                    _ => "expected low surrogate area",
                };
                return Err(format!("yaml: {problem}: {ADVICE}"));
            }
        }
    }
    if rest.is_empty() { Ok(text) } else { Err(format!("yaml: incomplete UTF-16 character: {ADVICE}")) }
}
