//! Regular expressions: Go's dialect, read by the crate `regex`.

mod subject;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write as _;

use regex::bytes::{Captures, Match, Regex, RegexBuilder};

use self::subject::Subject;
use super::Type::{Int, Text};
use super::{Function, arg, bytes, fixed, int, text};
use crate::exec::{Engine, Stop};
use crate::value::{ListKind, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("regexMatch", &[Text, Text], |engine, a| {
        Ok(Value::Bool(match compiled(engine, a) {
            Ok(regex) => matches(&regex, &Subject::of(arg(a, 1))),
            Err(Refusal::Wrong(_)) => false,
            Err(Refusal::Costly(stop)) => return Err(stop),
        }))
    }),
    fixed("mustRegexMatch", &[Text, Text], |engine, a| {
        let regex = compiled(engine, a)?;
        Ok(Value::Bool(matches(&regex, &Subject::of(arg(a, 1)))))
    }),
    fixed("regexFind", &[Text, Text], find),
    fixed("mustRegexFind", &[Text, Text], find),
    fixed("regexFindAll", &[Text, Text, Int], find_all),
    fixed("mustRegexFindAll", &[Text, Text, Int], find_all),
    fixed("regexReplaceAll", &[Text, Text, Text], replace_all),
    fixed("mustRegexReplaceAll", &[Text, Text, Text], replace_all),
    fixed("regexReplaceAllLiteral", &[Text, Text, Text], replace_literally),
    fixed("mustRegexReplaceAllLiteral", &[Text, Text, Text], replace_literally),
    fixed("regexSplit", &[Text, Text, Int], split),
    fixed("mustRegexSplit", &[Text, Text, Int], split),
    fixed("regexQuoteMeta", &[Text], |_, a| {
        let mut out = Vec::new();
        for byte in bytes(a, 0) {
            if br"\.+*?()|[]{}^$".contains(byte) {
                out.push(b'\\');
            }
            out.push(*byte);
        }
        Ok(Value::from_bytes(out))
    }),
];

type Answer = Result<Value, Stop>;

/// Expressions that stay compiled, and how many bytes they may have together.
const KEPT: usize = 128;
const KEPT_BYTES: usize = 32 << 20;

/// The sizes that compiled expressions may have. How long it takes to compile
/// one, and to match a byte with it, grows with the size.
const SIZES: [Size; 4] = [
    Size { bytes: 32 << 10, steps: 1_000, slow: 8 },
    Size { bytes: 256 << 10, steps: 8_000, slow: 64 },
    Size { bytes: 1 << 20, steps: 30_000, slow: 512 },
    Size { bytes: 4 << 20, steps: 150_000, slow: 2_048 },
];

/// The size of compiled expressions, at most.
#[derive(Debug, Clone, Copy)]
struct Size {
    bytes: usize,
    /// What it costs to compile one.
    steps: u64,
    /// How many times as long it takes to match a byte as to copy it.
    slow: usize,
}

/// A compiled expression.
#[derive(Debug, Clone)]
struct Compiled {
    regex: Regex,
    size: Size,
}

impl std::ops::Deref for Compiled {
    type Target = Regex;

    fn deref(&self) -> &Regex {
        &self.regex
    }
}

/// Why there is no compiled expression.
enum Refusal {
    /// It is wrong, as Go says.
    Wrong(String),
    /// It takes too long.
    Costly(Stop),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Wrong(problem) => Self::Failed(problem),
            Refusal::Costly(stop) => stop,
        }
    }
}

/// Compiles the first argument, an expression of Go's dialect, and counts how
/// long it takes to go through the second with it.
fn compiled(engine: &mut Engine<'_>, a: &[Value]) -> Result<Compiled, Refusal> {
    thread_local! {
        static COMPILED: RefCell<HashMap<String, Compiled>> = RefCell::default();
    }
    let pattern = text(a, 0);
    let known = COMPILED.with_borrow(|all| all.get(pattern.as_ref()).cloned());
    let found = if let Some(known) = known {
        known
    } else {
        let found = compile(engine, &pattern)?;
        COMPILED.with_borrow_mut(|all| {
            let bytes: usize = all.values().map(|compiled| compiled.size.bytes).sum();
            if all.len() >= KEPT || bytes + found.size.bytes > KEPT_BYTES {
                all.clear();
            }
            all.insert(pattern.into_owned(), found.clone());
        });
        found
    };
    engine.go_through(bytes(a, 1).len(), found.size.slow).map_err(Refusal::Costly)?;
    Ok(found)
}

fn compile(engine: &mut Engine<'_>, pattern: &str) -> Result<Compiled, Refusal> {
    let translated = translate(pattern).map_err(|problem| Refusal::Wrong(wrong(pattern, problem)))?;
    let mut problem = None;
    for size in SIZES {
        engine.many_steps(size.steps).map_err(Refusal::Costly)?;
        let built = RegexBuilder::new(&translated)
            .size_limit(size.bytes)
            .dfa_size_limit(512 << 10)
            .nest_limit(1_000)
            .build();
        match built {
            Ok(regex) => return Ok(Compiled { regex, size }),
            Err(error @ regex::Error::CompiledTooBig(_)) => problem = Some(error),
            Err(error) => {
                problem = Some(error);
                break;
            }
        }
    }
    let problem = problem.map(|error| error.to_string()).unwrap_or_default();
    Err(Refusal::Wrong(wrong(pattern, problem.lines().last().unwrap_or_default())))
}

fn wrong(pattern: &str, problem: &str) -> String {
    let shown: String = pattern.chars().take(1_000).collect();
    format!("error parsing regexp: {problem}: `{shown}`")
}

/// An expression of Go's dialect in that of the crate `regex`.
pub(crate) fn expression(pattern: &str) -> Result<String, String> {
    translate(pattern).map_err(|problem| wrong(pattern, problem))
}

/// Go's syntax (RE2) in that of the crate `regex`: classes like `\d` are of
/// ASCII only, `\Q…\E` quotes, brackets and braces may stand for themselves.
fn translate(pattern: &str) -> Result<String, &'static str> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    // Whether what comes before is repeated already.
    let mut repeated = false;
    while let Some(character) = rest.chars().next() {
        let after = rest.get(character.len_utf8()..).unwrap_or_default();
        let counts = if character == '{' { repetition(after) } else { None };
        let repeats = counts.is_some() || matches!(character, '*' | '+' | '?');
        if repeats && repeated {
            return Err("invalid nested repetition operator");
        }
        repeated = repeats;
        rest = match (character, counts) {
            ('\\', _) => backslash(after, &mut out)?,
            ('[', _) => class(after, &mut out)?,
            ('(', _) if after.starts_with('?') => group(after, &mut out)?,
            ('*' | '+' | '?', _) => {
                out.push(character);
                lazy(after, &mut out)
            }
            ('{', Some(length)) => counted(after, length, &mut out)?,
            ('{' | '}' | ']', _) => {
                out.extend(['\\', character]);
                after
            }
            (other, _) => {
                out.push(other);
                after
            }
        };
    }
    Ok(out)
}

/// Writes the head of a group; answers what comes after it. Names, `(?P<name>`, are made different, and begin with a
/// letter: in Go they need not. Flags that Go does not have are refused; all else is the crate's to refuse.
fn group<'a>(after: &'a str, out: &mut String) -> Result<&'a str, &'static str> {
    let named = after.strip_prefix("?P<").or_else(|| after.strip_prefix("?<"));
    if let Some(rest) = named.filter(|rest| !rest.starts_with(['=', '!'])) {
        let (name, next) = rest.split_once('>').ok_or("invalid named capture")?;
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err("invalid named capture");
        }
        // Writing to a string cannot fail.
        let _ = write!(out, "(?P<g{}_{name}>", out.len());
        return Ok(next);
    }
    let rest = after.get(1..).unwrap_or_default();
    let mut flags = rest.bytes().take_while(|byte| byte.is_ascii_alphabetic() || *byte == b'-');
    if flags.any(|flag| matches!(flag, b'x' | b'u' | b'R')) {
        return Err("invalid or unsupported Perl syntax");
    }
    out.push_str("(?");
    Ok(rest)
}

/// The group of a name: of several, the first that has found something.
fn named_group<'t>(regex: &Regex, found: &Captures<'t>, name: &str) -> Option<Match<'t>> {
    let is_it = |known: Option<&str>| {
        known.and_then(|known| known.split_once('_')).is_some_and(|(_, known)| known == name)
    };
    regex.capture_names().enumerate().filter(|(_, known)| is_it(*known)).find_map(|(at, _)| found.get(at))
}

/// Writes what follows a `\` outside of classes; answers what comes after it.
fn backslash<'a>(after: &'a str, out: &mut String) -> Result<&'a str, &'static str> {
    let escaped = after.chars().next().ok_or("trailing backslash at end of expression")?;
    let tail = after.get(escaped.len_utf8()..).unwrap_or_default();
    if escaped != 'Q' {
        return escape(escaped, tail, false, out);
    }
    let (quoted, next) = tail.split_once("\\E").unwrap_or((tail, ""));
    out.push_str(&regex::escape(quoted));
    Ok(next)
}

/// Writes the `?` that makes a repetition lazy; answers what follows it.
fn lazy<'a>(after: &'a str, out: &mut String) -> &'a str {
    let Some(rest) = after.strip_prefix('?') else { return after };
    out.push('?');
    rest
}

/// Writes the repetition `{2,3}`, whose counts have a length; answers what follows it.
fn counted<'a>(after: &'a str, length: usize, out: &mut String) -> Result<&'a str, &'static str> {
    let counts = after.get(..length).unwrap_or_default();
    if counts.split(',').any(|count| count.parse::<u32>().is_ok_and(|count| count > 1_000)) {
        return Err("invalid repeat count");
    }
    out.push('{');
    out.push_str(counts);
    out.push('}');
    Ok(lazy(after.get(length + 1..).unwrap_or_default(), out))
}

/// The length of `2,3` in `2,3}`.
fn repetition(text: &str) -> Option<usize> {
    let end = text.find('}')?;
    let inner = text.get(..end)?;
    let (least, most) = inner.split_once(',').unwrap_or((inner, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    (!least.is_empty() && digits(least) && digits(most)).then_some(end)
}

/// What an escape that stands for many characters, or for a place, is in the crate's syntax; empty for others.
fn named(escaped: char, in_class: bool) -> &'static str {
    match (escaped, in_class) {
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
    }
}

/// Writes an escape; answers what follows it.
fn escape<'a>(
    escaped: char,
    tail: &'a str,
    in_class: bool,
    out: &mut String,
) -> Result<&'a str, &'static str> {
    let named = named(escaped, in_class);
    if !named.is_empty() {
        out.push_str(named);
        return Ok(tail);
    }
    match escaped {
        'a' | 'f' | 't' | 'n' | 'r' | 'v' => out.extend(['\\', escaped]),
        'A' | 'z' if !in_class => out.extend(['\\', escaped]),
        'p' | 'P' | 'x' => {
            // What belongs to it is not taken for anything else.
            let length = match escaped {
                _ if tail.starts_with('{') => tail.find('}').map_or(tail.len(), |at| at + 1),
                'x' => 2,
                _ => 1,
            };
            let own = tail.split_at_checked(length.min(tail.len()));
            let (own, next) = own.ok_or("invalid escape sequence")?;
            out.extend(['\\', escaped]);
            out.push_str(own);
            return Ok(next);
        }
        '0'..='7' => return octal(escaped, tail, out),
        punctuation if punctuation.is_ascii() && !punctuation.is_ascii_alphanumeric() => {
            if r".+*?()|[]{}^$#&-~\".contains(punctuation) {
                out.push('\\');
            }
            out.push(punctuation);
        }
        _ => return Err("invalid escape sequence"),
    }
    Ok(tail)
}

/// Writes `\123`, which is octal; `\1` alone would be a reference, which there is not.
fn octal<'a>(first: char, tail: &'a str, out: &mut String) -> Result<&'a str, &'static str> {
    let digits = tail.bytes().take(2).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
    if first != '0' && digits == 0 {
        return Err("invalid escape sequence");
    }
    let (own, next) = tail.split_at(digits);
    let code = u32::from_str_radix(&format!("{first}{own}"), 8).unwrap_or(0);
    // Writing to a string cannot fail.
    let _ = write!(out, "\\x{{{code:X}}}");
    Ok(next)
}

/// Go's names of classes, `[:alpha:]`.
const CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

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
            if !CLASSES.contains(&named.trim_matches(['[', ':', ']']).trim_start_matches('^')) {
                return Err("invalid character class range");
            }
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

/// Whether something is found.
fn matches(regex: &Regex, subject: &Subject<'_>) -> bool {
    // What is found within a character is nothing, and is found in nothing, too.
    let found = || regex.find_iter(subject.searched()).any(|found| subject.counts(found));
    regex.is_match(subject.searched()) && (!regex.is_match(b"") || found())
}

/// What a match costs of the bytes that templates may write, whatever comes of it.
const MATCH: usize = 128;

/// Replaces all matches by what a function makes of each. It may stop
/// when there are more bytes than it is told.
fn replaced(
    engine: &mut Engine<'_>,
    a: &[Value],
    mut replacement: impl FnMut(&Regex, &Subject<'_>, &Captures<'_>, &mut Vec<u8>, usize),
) -> Answer {
    let regex = compiled(engine, a)?;
    let subject = Subject::of(arg(a, 1));
    let most = engine.left();
    let mut out = Vec::new();
    let (mut last, mut count) = (0, 0);
    for found in regex.captures_iter(subject.searched()) {
        let Some(whole) = found.get(0).filter(|whole| subject.counts(*whole)) else { continue };
        let (from, to) = (subject.at(whole.start()), subject.at(whole.end()));
        searched(engine, &regex, subject.len() - from)?;
        out.extend_from_slice(subject.between(last, from));
        replacement(&regex, &subject, &found, &mut out, most);
        count += MATCH;
        engine.can_write(out.len().max(count))?;
        last = to;
    }
    out.extend_from_slice(subject.between(last, subject.len()));
    engine.spend(out.len().max(count))?;
    Ok(Value::from_bytes(out))
}

/// Counts the search for a match: it may have looked at all that follows.
fn searched(engine: &mut Engine<'_>, regex: &Compiled, rest: usize) -> Result<(), Stop> {
    engine.go_through(rest / 8, regex.size.slow)
}

fn replace_all(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
    let template = template(&text(a, 2));
    replaced(engine, a, |regex, subject, found, out, most| {
        for (literal, group) in &template {
            out.extend_from_slice(literal.as_bytes());
            let group = match group {
                Some(Group::Number(number)) => found.get(*number),
                Some(Group::Name(name)) => named_group(regex, found, name),
                None => None,
            };
            out.extend_from_slice(group.map_or(b"", |group| subject.found(group)));
            if out.len() > most {
                return;
            }
        }
    })
}

fn replace_literally(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
    replaced(engine, a, |_, _, _, out, _| out.extend_from_slice(bytes(a, 2)))
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

fn find(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
    let regex = compiled(engine, a)?;
    let subject = Subject::of(arg(a, 1));
    let found = regex.find(subject.searched()).map(|found| subject.found(found));
    Ok(Value::from_bytes(found.unwrap_or_default()))
}

fn find_all(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
    let regex = compiled(engine, a)?;
    let most = usize::try_from(int(a, 2)).unwrap_or(usize::MAX);
    let subject = Subject::of(arg(a, 1));
    let mut all = Vec::new();
    for found in regex.find_iter(subject.searched()).filter(|found| subject.counts(*found)).take(most) {
        searched(engine, &regex, subject.len() - subject.at(found.start()))?;
        engine.spend(MATCH)?;
        all.push(subject.found(found));
    }
    Ok(if all.is_empty() { Value::nil_list(ListKind::NilText) } else { Value::strings(all) })
}

/// Go's `Regexp.Split`.
fn split(engine: &mut Engine<'_>, a: &[Value]) -> Answer {
    let regex = compiled(engine, a)?;
    let (subject, most) = (Subject::of(arg(a, 1)), int(a, 2));
    if most == 0 {
        return Ok(Value::nil_list(ListKind::NilText));
    }
    if subject.len() == 0 && !bytes(a, 0).is_empty() {
        return Ok(Value::texts([""]));
    }
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut parts: Vec<&[u8]> = Vec::new();
    let (mut start, mut end) = (0, 0);
    for found in regex.find_iter(subject.searched()).filter(|found| subject.counts(*found)).take(most) {
        if parts.len() == most - 1 {
            break;
        }
        end = subject.at(found.start());
        searched(engine, &regex, subject.len() - end)?;
        if found.end() != 0 {
            engine.spend(MATCH)?;
            parts.push(subject.between(start, end));
        }
        start = subject.at(found.end());
    }
    if end != subject.len() {
        parts.push(subject.between(start, subject.len()));
    }
    Ok(Value::strings(parts))
}
