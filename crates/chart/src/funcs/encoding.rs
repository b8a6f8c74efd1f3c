//! Base 64 and 32, checksums, paths.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_encoding::BASE32;
use sha1::{Digest as _, Sha1};
use sha2::{Sha256, Sha512};

use super::Type::Text;
use super::{Function, arg, bytes, fixed, text};
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("b64enc", &[Text], |_, a| Ok(Value::text(base64(bytes(a, 0))))),
    fixed("b64dec", &[Text], |_, a| Ok(decoded_base64(bytes(a, 0)))),
    fixed("b32enc", &[Text], |_, a| Ok(Value::text(BASE32.encode(bytes(a, 0))))).slow(4),
    fixed("b32dec", &[Text], |_, a| Ok(decoded_base32(bytes(a, 0)))).slow(4),
    fixed("sha1sum", &[Text], |_, a| Ok(hex(&Sha1::digest(bytes(a, 0))))).slow(4),
    fixed("sha256sum", &[Text], |_, a| Ok(hex(&Sha256::digest(bytes(a, 0))))).slow(4),
    fixed("sha512sum", &[Text], |_, a| Ok(hex(&Sha512::digest(bytes(a, 0))))).slow(4),
    fixed("adler32sum", &[Text], |_, a| Ok(Value::text(adler32(bytes(a, 0)).to_string()))).slow(4),
    fixed("base", &[Text], |_, a| Ok(of_path(a, base))),
    fixed("osBase", &[Text], |_, a| Ok(of_path(a, base))),
    fixed("dir", &[Text], |_, a| Ok(of_path(a, directory))).slow(4),
    fixed("osDir", &[Text], |_, a| Ok(of_path(a, directory))).slow(4),
    fixed("clean", &[Text], |_, a| Ok(of_path(a, clean))).slow(4),
    fixed("osClean", &[Text], |_, a| Ok(of_path(a, clean))).slow(4),
    fixed("ext", &[Text], |_, a| Ok(of_path(a, extension))),
    fixed("osExt", &[Text], |_, a| Ok(of_path(a, extension))),
    fixed("isAbs", &[Text], |_, a| Ok(Value::Bool(bytes(a, 0).starts_with(b"/")))),
    fixed("osIsAbs", &[Text], |_, a| Ok(Value::Bool(bytes(a, 0).starts_with(b"/")))),
];

/// Base 64, with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Go does not mind bits after the end.
const LENIENT: base64::engine::GeneralPurpose = base64::engine::GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    base64::engine::GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Reads base 64 as Go does: line breaks do not count.
pub(crate) fn from_base64(text: &[u8]) -> Result<Vec<u8>, usize> {
    let kept: Cow<'_, [u8]> = if text.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        Cow::Owned(text.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect())
    } else {
        Cow::Borrowed(text)
    };
    LENIENT.decode(kept.as_ref()).map_err(|_| wrong_base64(text))
}

/// Where Go finds base 64 to be wrong: at the first byte that cannot be, or at
/// the group of four that is not whole.
fn wrong_base64(text: &[u8]) -> usize {
    let mut digits = 0_usize;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'\r' | b'\n' => {}
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => {
                digits += 1;
            }
            b'=' if digits % 4 >= 2 => {
                let rest: Vec<(usize, u8)> = text
                    .iter()
                    .copied()
                    .enumerate()
                    .skip(at + 1)
                    .filter(|(_, byte)| !matches!(byte, b'\r' | b'\n'))
                    .collect();
                return match (digits % 4, rest.as_slice()) {
                    (2, []) => text.len(),
                    (2, [(_, b'='), (next, _), ..]) | (_, [(next, _), ..]) => *next,
                    _ => at,
                };
            }
            _ => return at,
        }
    }
    // What is missing is missed at the start of its group.
    text.len() - digits % 4
}

fn decoded_base64(text: &[u8]) -> Value {
    match from_base64(text) {
        Ok(bytes) => Value::from_bytes(bytes),
        Err(at) => Value::text(format!("illegal base64 data at input byte {at}")),
    }
}

fn decoded_base32(text: &[u8]) -> Value {
    let kept: Vec<u8> = text.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
    let mut specification = data_encoding::Specification::new();
    specification.symbols.push_str("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
    specification.padding = Some('=');
    specification.check_trailing_bits = false;
    let decoded = specification.encoding().ok().map(|encoding| encoding.decode(&kept));
    if let Some(Ok(bytes)) = decoded {
        Value::from_bytes(bytes)
    } else {
        let wrong = kept.iter().position(|byte| !matches!(byte, b'A'..=b'Z' | b'2'..=b'7'));
        Value::text(format!(
            "illegal base32 data at input byte {}",
            wrong.unwrap_or(kept.len() - kept.len() % 8)
        ))
    }
}

fn hex(bytes: &[u8]) -> Value {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    Value::text(digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect::<String>())
}

fn adler32(bytes: &[u8]) -> u32 {
    const MODULUS: u32 = 65_521;
    let (mut a, mut b) = (1_u32, 0_u32);
    for chunk in bytes.chunks(5_552) {
        for byte in chunk {
            a += u32::from(*byte);
            b += a;
        }
        a %= MODULUS;
        b %= MODULUS;
    }
    b << 16 | a
}

/// What a function makes of a path. It looks at ASCII only, so that of what is not UTF-8 any byte can be a character.
fn of_path(a: &[Value], function: fn(&str) -> String) -> Value {
    let Value::Raw(path) = arg(a, 0) else { return Value::text(function(&text(a, 0))) };
    let wide: String = path.iter().copied().map(char::from).collect();
    let made: Vec<u8> =
        function(&wide).chars().filter_map(|character| u8::try_from(character).ok()).collect();
    Value::from_bytes(made)
}

/// Go's `path.Base`.
pub(super) fn base(path: &str) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    let trimmed = path.trim_end_matches('/');
    match trimmed.rsplit('/').next() {
        Some("") | None => "/".to_owned(),
        Some(last) => last.to_owned(),
    }
}

/// Go's `path.Dir`.
fn directory(path: &str) -> String {
    clean(path.rfind('/').map_or("", |at| path.get(..=at).unwrap_or_default()))
}

/// Go's `path.Ext`.
fn extension(path: &str) -> String {
    let last = path.rsplit('/').next().unwrap_or_default();
    last.rfind('.').and_then(|at| last.get(at..)).unwrap_or_default().to_owned()
}

/// Go's `path.Clean`.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut kept: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if kept.last().is_some_and(|last| *last != "..") {
                    kept.pop();
                } else if !rooted {
                    kept.push("..");
                }
            }
            part => kept.push(part),
        }
    }
    let joined = kept.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}
