//! The text of scalars: plain, quoted and block ones, with libyaml's folding
//! of lines (`yaml_parser_scan_plain_scalar`, `…_flow_scalar`, `…_block_scalar`).

use std::borrow::Cow;

use crate::cursor::Cursor;
use crate::{Error, Style};

/// White space between the parts of a scalar of several lines.
#[derive(Default)]
struct Fold {
    blanks: String,
    first: &'static str,
    more: String,
    lines: bool,
    /// A tab stands where spaces must indent.
    tab: bool,
}

impl Fold {
    /// Reads blanks and line breaks; lines are to be indented by `indent` columns.
    fn read(&mut self, cursor: &mut Cursor<'_>, indent: usize) {
        loop {
            match cursor.peek() {
                blank @ (b' ' | b'\t') => {
                    if !self.lines {
                        self.blanks.push(char::from(blank));
                    }
                    self.tab |= self.lines && blank == b'\t' && cursor.column() < indent;
                    cursor.skip(1);
                }
                _ if cursor.is_break() => {
                    let text = cursor.take_break();
                    if self.lines {
                        self.more.push_str(text);
                    } else {
                        self.lines = true;
                        self.first = text;
                    }
                }
                _ => return,
            }
        }
    }

    /// Adds what the white space stands for.
    fn join(&self, text: &mut String) {
        match (self.lines, self.first, self.more.is_empty()) {
            (false, ..) => text.push_str(&self.blanks),
            (true, "\n", true) => text.push(' '),
            (true, "\n", false) => text.push_str(&self.more),
            (true, first, _) => {
                text.push_str(first);
                text.push_str(&self.more);
            }
        }
    }
}

/// Whether a plain scalar may start here.
pub(crate) fn starts_plain(cursor: &Cursor<'_>, flow: bool) -> bool {
    match cursor.peek() {
        0 | b',' | b'[' | b']' | b'{' | b'}' | b'#' | b'&' | b'*' | b'!' | b'|' | b'>' | b'\'' | b'"'
        | b'%' | b'@' | b'`' | b' ' | b'\t' => false,
        b'-' => !matches!(cursor.peek_at(1), b' ' | b'\t') && !cursor.is_blank_or_end(1),
        b'?' | b':' => !flow && !cursor.is_blank_or_end(1),
        _ => !cursor.is_break(),
    }
}

/// Moves over one line's part of a plain scalar, and gives where its last
/// character ends.
fn plain_part(cursor: &mut Cursor<'_>, flow: bool) -> usize {
    let mut end = cursor.at;
    loop {
        match cursor.peek() {
            b' ' | b'\t' => {
                // Blanks belong to it when more follows on this line.
                let mut ahead = 1;
                while matches!(cursor.peek_at(ahead), b' ' | b'\t') {
                    ahead += 1;
                }
                if cursor.peek_at(ahead) == b'#' || cursor.is_blank_or_end(ahead) || ends(cursor, ahead, flow)
                {
                    return end;
                }
                cursor.skip(ahead);
            }
            b':' | b',' | b'[' | b']' | b'{' | b'}' | b'?' if ends(cursor, 0, flow) => return end,
            0 | b'\n' | b'\r' => return end,
            0xc2 | 0xe2 if cursor.is_break() => return end,
            _ => {
                cursor.skip(1);
                cursor.skip_while(|byte| !MAY_END.get(usize::from(byte)).is_some_and(|may| *may));
                end = cursor.at;
            }
        }
    }
}

/// Bytes at which a part of a plain scalar may end.
const MAY_END: [bool; 256] = {
    let mut table = [false; 256];
    let mut rest: &[u8] = b" \t\n\r:,[]{}?\0\xc2\xe2";
    while let [first, after @ ..] = rest {
        table[*first as usize] = true;
        rest = after;
    }
    table
};

/// Whether an indicator ends a plain scalar.
fn ends(cursor: &Cursor<'_>, ahead: usize, flow: bool) -> bool {
    match cursor.peek_at(ahead) {
        // Other than libyaml, goyaml reads `{a:}` as the key `a:`.
        b':' => cursor.is_blank_or_end(ahead + 1),
        b',' | b'[' | b']' | b'{' | b'}' | b'?' => flow,
        _ => false,
    }
}

/// Reads a plain scalar; lines that are indented by at least `indent` columns
/// go on with it. `true`: the line has ended.
pub(crate) fn plain<'a>(
    cursor: &mut Cursor<'a>,
    flow: bool,
    indent: usize,
) -> Result<(Cow<'a, str>, bool), Error> {
    let start = cursor.at;
    let mut end = plain_part(cursor, flow);
    let mut text = Cow::Borrowed(cursor.slice(start, end));
    // Most keys end right at their colon.
    if cursor.at == end && cursor.peek() == b':' {
        return Ok((text, false));
    }
    let mut several = false;
    loop {
        let mut ahead = cursor.clone();
        ahead.at = end;
        ahead.skip_blanks();
        // Only what ends its line may go on.
        if !ahead.is_break() {
            cursor.at = end;
            return Ok((text, several));
        }
        let mut fold = Fold::default();
        fold.read(&mut ahead, indent);
        if fold.tab {
            return Err(ahead.error("found a tab character that violates indentation"));
        }
        let goes_on = !ahead.is_end()
            && !ahead.is_marker()
            && ahead.peek() != b'#'
            && (flow || ahead.column() >= indent)
            && !ends(&ahead, 0, flow);
        if !goes_on {
            // libyaml takes the lines after a scalar with it, tabs and all.
            *cursor = ahead;
            return Ok((text, true));
        }
        several = true;
        fold.join(text.to_mut());
        *cursor = ahead;
        let from = cursor.at;
        end = plain_part(cursor, flow);
        text.to_mut().push_str(cursor.slice(from, end));
    }
}

/// Reads the rest of a quoted scalar of one line without escapes; of others nothing.
fn unchanged<'a>(cursor: &mut Cursor<'a>, quote: u8) -> Option<&'a str> {
    let single = quote == b'\'';
    let start = cursor.at;
    let mut at = 0;
    loop {
        match cursor.peek_at(at) {
            byte if byte == quote && !(single && cursor.peek_at(at + 1) == b'\'') => {
                cursor.skip(at + 1);
                return Some(cursor.slice(start, start + at));
            }
            b'\\' if !single => return None,
            0 | b'\'' | b'\n' | b'\r' | 0xc2 | 0xe2 => return None,
            _ => at += 1,
        }
    }
}

/// Reads a quoted scalar. `true`: it has several lines.
pub(crate) fn quoted<'a>(cursor: &mut Cursor<'a>) -> Result<(Cow<'a, str>, Style, bool), Error> {
    let single = cursor.peek() == b'\'';
    let style = if single { Style::SingleQuoted } else { Style::DoubleQuoted };
    let (quote, place) = (cursor.peek(), cursor.place());
    cursor.skip(1);
    let line = cursor.line;
    // Most need no change.
    if let Some(text) = unchanged(cursor, quote) {
        return Ok((Cow::Borrowed(text), style, false));
    }
    let mut text = String::new();
    loop {
        if cursor.is_marker() {
            return Err(cursor.error("found unexpected document indicator in a quoted scalar"));
        }
        let mut fold = Fold::default();
        loop {
            let from = cursor.at;
            match cursor.peek() {
                0 if cursor.is_end() => {
                    let error = Error::at(place, "a quoted scalar does not end");
                    return Err(Error { noticed: cursor.line + 1, ..error });
                }
                b'\'' if single && cursor.peek_at(1) == b'\'' => {
                    text.push('\'');
                    cursor.skip(2);
                }
                byte if byte == quote => {
                    cursor.skip(1);
                    return Ok((Cow::Owned(text), style, cursor.line != line));
                }
                b'\\' if !single => {
                    cursor.skip(1);
                    if cursor.is_break() {
                        cursor.take_break();
                        fold.lines = true;
                        break;
                    }
                    text.push(escape(cursor)?);
                }
                b' ' | b'\t' => break,
                _ if cursor.is_break() => break,
                _ => {
                    cursor.skip(1);
                    while !matches!(cursor.peek(), 0..=b' ' | b'\'' | b'"' | b'\\' | 0xc2 | 0xe2) {
                        cursor.skip(1);
                    }
                    // Never in the middle of a character: continuation bytes were skipped.
                    while cursor.peek() & 0xc0 == 0x80 {
                        cursor.skip(1);
                    }
                    text.push_str(cursor.slice(from, cursor.at));
                }
            }
        }
        fold.read(cursor, 0);
        fold.join(&mut text);
    }
}

/// Reads what follows a backslash.
fn escape(cursor: &mut Cursor<'_>) -> Result<char, Error> {
    let code = cursor.peek();
    let plain = match code {
        b'0' => '\0',
        b'a' => '\x07',
        b'b' => '\x08',
        b't' | b'\t' => '\t',
        b'n' => '\n',
        b'v' => '\x0b',
        b'f' => '\x0c',
        b'r' => '\r',
        b'e' => '\x1b',
        b' ' => ' ',
        b'"' => '"',
        b'\\' => '\\',
        b'\'' => '\'',
        b'N' => '\u{85}',
        b'_' => '\u{a0}',
        b'L' => '\u{2028}',
        b'P' => '\u{2029}',
        b'x' | b'u' | b'U' => {
            let digits = match code {
                b'x' => 2,
                b'u' => 4,
                _ => 8,
            };
            let from = cursor.at + 1;
            let hexadecimal = cursor.slice(from, from + digits);
            let is_hexadecimal =
                hexadecimal.len() == digits && hexadecimal.bytes().all(|b| b.is_ascii_hexdigit());
            let found = u32::from_str_radix(hexadecimal, 16).ok().filter(|_| is_hexadecimal);
            let Some(found) = found else {
                return Err(cursor.error("did not find expected hexadecimal number"));
            };
            let Some(character) = char::from_u32(found) else {
                return Err(cursor.error("found invalid Unicode character escape code"));
            };
            cursor.skip(1 + digits);
            return Ok(character);
        }
        _ => return Err(cursor.error("found unknown escape character")),
    };
    cursor.skip(1);
    Ok(plain)
}

/// Reads a block scalar in a collection at column `parent` (-1: none). Its text is empty where it is not wanted.
pub(crate) fn block<'a>(
    cursor: &mut Cursor<'a>,
    parent: isize,
    wanted: bool,
) -> Result<(Cow<'a, str>, Style), Error> {
    let literal = cursor.peek() == b'|';
    let style = if literal { Style::Literal } else { Style::Folded };
    cursor.skip(1);
    let (mut chomping, mut increment) = (None, None);
    loop {
        match cursor.peek() {
            sign @ (b'+' | b'-') if chomping.is_none() => chomping = Some(sign),
            b'0' if increment.is_none() => {
                return Err(cursor.error("found an indentation indicator equal to 0"));
            }
            digit @ b'1'..=b'9' if increment.is_none() => increment = Some(usize::from(digit - b'0')),
            _ => break,
        }
        cursor.skip(1);
    }
    cursor.skip_blanks();
    if cursor.peek() == b'#' {
        cursor.skip_line();
    }
    if !cursor.is_end() {
        if !cursor.is_break() {
            return Err(cursor.error("did not find expected comment or line break"));
        }
        cursor.take_break();
    }
    let outer = usize::try_from(parent).unwrap_or(0);
    let mut indent = increment.map_or(0, |increment| outer + increment);
    let mut text = String::new();
    let mut leading = "";
    let mut trailing = String::new();
    let mut was_blank = false;
    breaks(cursor, parent, &mut indent, &mut trailing)?;
    while cursor.column() == indent && !cursor.is_end() {
        if !wanted {
            cursor.skip_line();
            if !cursor.is_end() {
                cursor.take_break();
            }
            breaks(cursor, parent, &mut indent, &mut trailing)?;
            continue;
        }
        let is_blank = matches!(cursor.peek(), b' ' | b'\t');
        if !literal && leading == "\n" && !was_blank && !is_blank {
            if trailing.is_empty() {
                text.push(' ');
            }
        } else {
            text.push_str(leading);
        }
        text.push_str(&trailing);
        trailing.clear();
        was_blank = is_blank;
        let from = cursor.at;
        cursor.skip_line();
        text.push_str(cursor.slice(from, cursor.at));
        leading = if cursor.is_end() { "" } else { cursor.take_break() };
        breaks(cursor, parent, &mut indent, &mut trailing)?;
    }
    if chomping != Some(b'-') {
        text.push_str(leading);
    }
    if chomping == Some(b'+') {
        text.push_str(&trailing);
    }
    Ok((Cow::Owned(text), style))
}

/// Reads indentation and empty lines of a block scalar; finds its indentation.
fn breaks(
    cursor: &mut Cursor<'_>,
    parent: isize,
    indent: &mut usize,
    found: &mut String,
) -> Result<(), Error> {
    let mut deepest = 0;
    loop {
        let inside = |cursor: &Cursor<'_>| *indent == 0 || cursor.column() < *indent;
        while inside(cursor) && cursor.peek() == b' ' {
            cursor.skip(1);
        }
        deepest = deepest.max(cursor.column());
        if inside(cursor) && cursor.peek() == b'\t' {
            return Err(cursor.error("found a tab character where an indentation space is expected"));
        }
        if !cursor.is_break() {
            break;
        }
        found.push_str(cursor.take_break());
    }
    if *indent == 0 {
        *indent = deepest.max(usize::try_from(parent + 1).unwrap_or(0)).max(1);
    }
    Ok(())
}
