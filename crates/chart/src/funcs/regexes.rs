//! Regular expressions: Go's dialect, read by the crate `regex`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write as _;

use regex::bytes::{Captures, Regex, RegexBuilder};

use super::Type::{Int, Text};
use super::{Function, bytes, fixed, int, text};
use crate::exec::{Engine, Stop};
use crate::value::{ListKind, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("regexMatch", &[Text, Text], |_, a| {
        Ok(Value::Bool(compiled(&text(a, 0)).is_ok_and(|regex| regex.is_match(bytes(a, 1)))))
    }),
    fixed("mustRegexMatch", &[Text, Text], |_, a| {
        Ok(Value::Bool(compiled(&text(a, 0))?.is_match(bytes(a, 1))))
    }),
    fixed("regexFind", &[Text, Text], |_, a| find(a)),
    fixed("mustRegexFind", &[Text, Text], |_, a| find(a)),
    fixed("regexFindAll", &[Text, Text, Int], find_all),
    fixed("mustRegexFindAll", &[Text, Text, Int], find_all),
    fixed("regexReplaceAll", &[Text, Text, Text], replace_all),
    fixed("mustRegexReplaceAll", &[Text, Text, Text], replace_all),
    fixed("regexReplaceAllLiteral", &[Text, Text, Text], replace_literally),
    fixed("mustRegexReplaceAllLiteral", &[Text, Text, Text], replace_literally),
    fixed("regexSplit", &[Text, Text, Int], split),
    fixed("mustRegexSplit", &[Text, Text, Int], split),
    fixed("regexQuoteMeta", &[Text], |_, a| {
        let mut out = String::new();
        for character in text(a, 0).chars() {
            if r"\.+*?()|[]{}^$".contains(character) {
                out.push('\\');
            }
            out.push(character);
        }
        Ok(Value::text(out))
    }),
];

type Answer = Result<Value, Stop>;

/// Expressions that stay compiled.
const KEPT: usize = 256;

/// Compiles an expression of Go's dialect.
pub(super) fn compiled(pattern: &str) -> Result<Regex, Stop> {
    thread_local! {
        static COMPILED: RefCell<HashMap<String, Regex>> = RefCell::default();
    }
    if let Some(known) = COMPILED.with_borrow(|all| all.get(pattern).cloned()) {
        return Ok(known);
    }
    let translated = translate(pattern).map_err(|problem| wrong(pattern, problem))?;
    let regex = RegexBuilder::new(&translated)
        .size_limit(4 << 20)
        .dfa_size_limit(4 << 20)
        .nest_limit(1_000)
        .build()
        .map_err(|error| wrong(pattern, error.to_string().lines().last().unwrap_or_default()))?;
    COMPILED.with_borrow_mut(|all| {
        if all.len() >= KEPT {
            all.clear();
        }
        all.insert(pattern.to_owned(), regex.clone());
    });
    Ok(regex)
}

fn wrong(pattern: &str, problem: &str) -> Stop {
    Stop::Failed(format!("error parsing regexp: {problem}: `{pattern}`"))
}

/// Go's syntax (RE2) in that of the crate `regex`: classes like `\d` are of
/// ASCII only, `\Q…\E` quotes, brackets and braces may stand for themselves.
fn translate(pattern: &str) -> Result<String, &'static str> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    // Whether there is something that may be repeated, and whether it was.
    let mut repeated = false;
    while let Some(character) = rest.chars().next() {
        let after = rest.get(character.len_utf8()..).unwrap_or_default();
        match character {
            '\\' => {
                let Some(escaped) = after.chars().next() else {
                    return Err("trailing backslash at end of expression");
                };
                let tail = after.get(escaped.len_utf8()..).unwrap_or_default();
                if escaped == 'Q' {
                    let (quoted, next) = tail.split_once("\\E").unwrap_or((tail, ""));
                    out.push_str(&regex::escape(quoted));
                    rest = next;
                    repeated = false;
                    continue;
                }
                rest = escape(escaped, tail, false, &mut out)?;
                repeated = false;
                continue;
            }
            '[' => {
                rest = class(after, &mut out)?;
                repeated = false;
                continue;
            }
            '*' | '+' | '?' => {
                if repeated {
                    return Err("invalid nested repetition operator");
                }
                out.push(character);
                rest = after;
                if let Some(lazy) = rest.strip_prefix('?') {
                    out.push('?');
                    rest = lazy;
                }
                repeated = true;
                continue;
            }
            '{' => match repetition(after) {
                Some(length) => {
                    if repeated {
                        return Err("invalid nested repetition operator");
                    }
                    let counts = after.get(..length).unwrap_or_default();
                    if counts.split(',').any(|count| count.parse::<u32>().is_ok_and(|count| count > 1_000)) {
                        return Err("invalid repeat count");
                    }
                    out.push('{');
                    out.push_str(counts);
                    out.push('}');
                    rest = after.get(length + 1..).unwrap_or_default();
                    if let Some(lazy) = rest.strip_prefix('?') {
                        out.push('?');
                        rest = lazy;
                    }
                    repeated = true;
                    continue;
                }
                None => out.push_str("\\{"),
            },
            '}' | ']' => {
                out.push('\\');
                out.push(character);
            }
            other => out.push(other),
        }
        repeated = false;
        rest = after;
    }
    Ok(out)
}

/// The length of `2,3` in `2,3}`.
fn repetition(text: &str) -> Option<usize> {
    let end = text.find('}')?;
    let inner = text.get(..end)?;
    let (least, most) = inner.split_once(',').unwrap_or((inner, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    (!least.is_empty() && digits(least) && digits(most)).then_some(end)
}

/// Writes an escape; answers what follows it.
fn escape<'a>(
    escaped: char,
    tail: &'a str,
    in_class: bool,
    out: &mut String,
) -> Result<&'a str, &'static str> {
    let named = match (escaped, in_class) {
        ('d', false) => "[0-9]",
        ('d', true) => "0-9",
        ('D', _) => "[^0-9]",
        ('w', false) => "[0-9A-Za-z_]",
        ('w', true) => "0-9A-Za-z_",
        ('W', _) => "[^0-9A-Za-z_]",
        ('s', false) => r"[\t\n\x0C\r ]",
        ('s', true) => r"\t\n\x0C\r ",
        ('S', _) => r"[^\t\n\x0C\r ]",
        ('b', false) => r"(?-u:\b)",
        ('B', false) => r"(?-u:\B)",
        _ => "",
    };
    if !named.is_empty() {
        out.push_str(named);
        return Ok(tail);
    }
    match escaped {
        'a' | 'f' | 't' | 'n' | 'r' | 'v' => {
            out.push('\\');
            out.push(escaped);
        }
        'A' | 'z' if !in_class => {
            out.push('\\');
            out.push(escaped);
        }
        'p' | 'P' | 'x' => {
            out.push('\\');
            out.push(escaped);
            // What belongs to it is not taken for anything else.
            let length = if tail.starts_with('{') {
                tail.find('}').map_or(tail.len(), |at| at + 1)
            } else if escaped == 'x' {
                2
            } else {
                1
            };
            let Some((own, next)) = tail.split_at_checked(length.min(tail.len())) else {
                return Err("invalid escape sequence");
            };
            out.push_str(own);
            return Ok(next);
        }
        '0'..='7' => {
            // `\123` is octal; `\1` alone would be a reference, which there is not.
            let digits = tail.bytes().take(2).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
            if escaped != '0' && digits == 0 {
                return Err("invalid escape sequence");
            }
            let (own, next) = tail.split_at(digits);
            let code = u32::from_str_radix(&format!("{escaped}{own}"), 8).unwrap_or(0);
            // Writing to a string cannot fail.
            let _ = write!(out, "\\x{{{code:X}}}");
            return Ok(next);
        }
        punctuation if punctuation.is_ascii() && !punctuation.is_ascii_alphanumeric() => {
            if matches!(punctuation, '<' | '>') || punctuation.is_ascii_control() || punctuation == ' ' {
                out.push(punctuation);
            } else if "\\.+*?()|[]{}^$#&-~/\"'%,:;=@!_`".contains(punctuation) {
                if !matches!(
                    punctuation,
                    '"' | '\'' | '_' | '`' | '/' | '%' | ',' | ':' | ';' | '=' | '@' | '!'
                ) {
                    out.push('\\');
                }
                out.push(punctuation);
            }
        }
        _ => return Err("invalid escape sequence"),
    }
    Ok(tail)
}

/// Writes a class; answers what follows it.
fn class<'a>(after: &'a str, out: &mut String) -> Result<&'a str, &'static str> {
    out.push('[');
    let mut rest = after;
    if let Some(next) = rest.strip_prefix('^') {
        out.push('^');
        rest = next;
    }
    let mut first = true;
    while !rest.is_empty() {
        if let Some(next) = rest.strip_prefix(']').filter(|_| !first) {
            out.push(']');
            return Ok(next);
        }
        first = false;
        // A class within the class starts no range: the `-` after it is itself.
        if let Some(end) = rest.find(":]").filter(|_| rest.starts_with("[:")) {
            let (named, next) = rest.split_at(end + 2);
            out.push_str(named);
            rest = next;
            continue;
        }
        if let Some(escaped) = named_class(rest) {
            rest = escape(escaped, rest.get(2..).unwrap_or_default(), true, out)?;
            continue;
        }
        rest = class_character(rest, out)?;
        if let Some(next) = rest.strip_prefix('-')
            && !next.is_empty()
            && !next.starts_with(']')
        {
            out.push('-');
            rest = class_character(next, out)?;
        }
    }
    Err("missing closing ]")
}

/// The letter of an escape that stands for many characters.
fn named_class(text: &str) -> Option<char> {
    let letter = text.strip_prefix('\\')?.chars().next()?;
    "dDwWsSpP".contains(letter).then_some(letter)
}

/// Writes one character of a class; answers what follows it.
fn class_character<'a>(text: &'a str, out: &mut String) -> Result<&'a str, &'static str> {
    if named_class(text).is_some() {
        return Err("invalid escape sequence");
    }
    let mut characters = text.chars();
    match characters.next() {
        None => return Err("missing closing ]"),
        Some('\\') => {
            let escaped = characters.next().ok_or("missing closing ]")?;
            return escape(escaped, characters.as_str(), true, out);
        }
        Some(special @ ('[' | ']' | '&' | '~' | '-' | '^')) => out.extend(['\\', special]),
        Some(other) => out.push(other),
    }
    Ok(characters.as_str())
}

/// The most matches that are replaced at once.
const MOST_MATCHES: usize = 500_000;

/// What a match costs of the bytes that templates may write, whatever comes of it.
const MATCH: usize = 128;

/// Replaces all matches by what a function makes of each.
fn replaced(
    engine: &mut Engine<'_>,
    a: &[Value],
    mut replacement: impl FnMut(&Captures<'_>, &mut Vec<u8>),
) -> Answer {
    let mut count = 0;
    let out = compiled(&text(a, 0))?.replacen(bytes(a, 1), MOST_MATCHES, |found: &Captures<'_>| {
        count += 1;
        let mut out = Vec::new();
        replacement(found, &mut out);
        out
    });
    if count == MOST_MATCHES {
        return Err("there are too many matches".into());
    }
    engine.spend(out.len().max(count * MATCH))?;
    Ok(Value::from_bytes(out.into_owned()))
}

fn replace_all(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
    let template = template(&text(a, 2));
    replaced(engine, a, |found, out| {
        for (literal, group) in &template {
            out.extend_from_slice(literal.as_bytes());
            let group = match group {
                Some(Group::Number(number)) => found.get(*number),
                Some(Group::Name(name)) => found.name(name),
                None => None,
            };
            out.extend_from_slice(group.map_or(b"", |group| group.as_bytes()));
        }
    })
}

fn replace_literally(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
    replaced(engine, a, |_, out| out.extend_from_slice(bytes(a, 2)))
}

/// A group of a replacement.
enum Group {
    Number(usize),
    Name(String),
}

/// Reads `$1` and `${name}` (Go's `Regexp.expand`): texts, each with the group
/// that follows it.
fn template(text: &str) -> Vec<(String, Option<Group>)> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        literal.push_str(before);
        if let Some(escaped) = after.strip_prefix('$') {
            literal.push('$');
            rest = escaped;
            continue;
        }
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let (name, next) = match after.strip_prefix('{') {
            Some(inner) => match inner.split_once('}') {
                Some((name, next)) if !name.is_empty() && name.chars().all(is_name) => (name, next),
                _ => ("", after),
            },
            None => after.split_at(after.find(|c: char| !is_name(c)).unwrap_or(after.len())),
        };
        if name.is_empty() {
            literal.push('$');
            rest = after;
            continue;
        }
        // Numbers have no leading zeros.
        let is_number =
            name == "0" || !name.starts_with('0') && name.bytes().all(|byte| byte.is_ascii_digit());
        let group = match name.parse() {
            Ok(number) if is_number => Group::Number(number),
            _ => Group::Name(name.to_owned()),
        };
        parts.push((std::mem::take(&mut literal), Some(group)));
        rest = next;
    }
    literal.push_str(rest);
    parts.push((literal, None));
    parts
}

fn find(a: &[Value]) -> Answer {
    let found = compiled(&text(a, 0))?.find(bytes(a, 1)).map(|found| found.as_bytes().to_vec());
    Ok(Value::from_bytes(found.unwrap_or_default()))
}

fn find_all(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
    let regex = compiled(&text(a, 0))?;
    let most = usize::try_from(int(a, 2)).unwrap_or(usize::MAX);
    let subject = text(a, 1);
    let found = regex.find_iter(subject.as_bytes()).take(most);
    let mut all = Vec::new();
    for found in found {
        engine.spend(MATCH)?;
        all.push(String::from_utf8_lossy(found.as_bytes()).into_owned());
    }
    Ok(if all.is_empty() { Value::nil_list(ListKind::NilText) } else { Value::texts(all) })
}

/// Go's `Regexp.Split`.
fn split(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
    let regex = compiled(&text(a, 0))?;
    let (subject, most) = (text(a, 1), int(a, 2));
    if most == 0 {
        return Ok(Value::nil_list(ListKind::NilText));
    }
    if subject.is_empty() && !text(a, 0).is_empty() {
        return Ok(Value::texts([""]));
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut parts: Vec<String> = Vec::new();
    let (mut start, mut end) = (0, 0);
    let slice = |from: usize, to: usize| {
        String::from_utf8_lossy(subject.as_bytes().get(from..to).unwrap_or_default()).into_owned()
    };
    for found in regex.find_iter(subject.as_bytes()).take(most) {
        if parts.len() == most - 1 {
            break;
        }
        end = found.start();
        if found.end() != 0 {
            engine.spend(MATCH)?;
            parts.push(slice(start, end));
        }
        start = found.end();
    }
    if end != subject.len() {
        parts.push(slice(start, subject.len()));
    }
    Ok(Value::texts(parts))
}
