//! What goyaml's emitters allow a text to look like: its style, and how its
//! characters are escaped. goyaml.v2's, with what is different in goyaml.v3.

use super::read::{Resolved, resolve};

/// Which of goyaml's emitters writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goyaml {
    /// goyaml.v2
    V2,
    /// goyaml.v3
    V3,
}

/// The style that goyaml asks for: quotes for what would be read as another
/// type. Dates went through JSON as text, and goyaml sees them as dates again.
pub(super) fn wanted(text: &str) -> Style {
    if text.contains('\n') {
        Style::Literal
    } else if resolve(text) != Resolved::Text || is_base60(text) {
        Style::Double
    } else {
        Style::Plain
    }
}

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

/// What a text allows (libyaml's `yaml_emitter_analyze_scalar`).
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "libyaml's own flags")]
pub(super) struct Shape {
    multiline: bool,
    plain: bool,
    single: bool,
    block: bool,
}

impl Shape {
    pub(super) fn of(text: &str, goyaml: Goyaml) -> Self {
        if text.is_empty() {
            return Self { multiline: false, plain: true, single: true, block: false };
        }
        if is_word(text) {
            return Self { multiline: false, plain: true, single: true, block: true };
        }
        let mut indicators = text.starts_with("---") || text.starts_with("...");
        let (mut breaks, mut special, mut tabs) = (false, false, false);
        let (mut break_space, mut space_break) = (false, false);
        let (mut previous_space, mut previous_break) = (false, false);
        let mut preceded = true;
        let mut characters = text.chars().peekable();
        let mut first = true;
        while let Some(character) = characters.next() {
            let followed = characters.peek().is_none_or(|next| is_blank(*next));
            if first {
                indicators |= match character {
                    '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%'
                    | '@' | '`' => true,
                    '?' | ':' | '-' => followed,
                    _ => false,
                };
            } else {
                indicators |= character == ':' && followed || character == '#' && preceded;
            }
            if character == '\t' && goyaml == Goyaml::V3 {
                tabs = true;
            } else {
                special |= !is_printable(character);
            }
            if character == ' ' {
                break_space |= previous_break;
                (previous_space, previous_break) = (true, false);
            } else if is_break(character) {
                breaks = true;
                space_break |= previous_space;
                (previous_space, previous_break) = (false, true);
            } else {
                (previous_space, previous_break) = (false, false);
            }
            preceded = is_blank(character) || is_break(character);
            first = false;
        }
        let edge = |character: Option<char>| character.is_some_and(|c| c == ' ' || is_break(c));
        let edges = edge(text.chars().next()) || edge(text.chars().next_back());
        let awkward = break_space || space_break || special || tabs;
        Self {
            multiline: breaks,
            plain: !(edges || awkward || breaks || indicators),
            single: !awkward,
            block: !(text.ends_with(' ') || space_break || special),
        }
    }

    pub(super) fn style(self, wanted: Style, text: &str, key: bool) -> Style {
        let mut style = if key && self.multiline { Style::Double } else { wanted };
        if style == Style::Plain && (!self.plain || text.is_empty() && key) {
            style = Style::Single;
        }
        if style == Style::Single && !self.single {
            style = Style::Double;
        }
        if style == Style::Literal && (!self.block || key) {
            style = Style::Double;
        }
        style
    }
}

/// Whether a text is one word that no style changes.
pub(super) fn is_word(text: &str) -> bool {
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
    text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.bytes().all(usual)
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

/// A line break of YAML 1.1.
pub(super) fn is_break(character: char) -> bool {
    matches!(character, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// goyaml's printable characters: neither U+0085 nor those beyond the basic plane are.
fn is_printable(character: char) -> bool {
    matches!(character, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && character != '\u{feff}'
}

/// Whether double quotes write a character as it is.
pub(super) fn is_plain(character: char) -> bool {
    is_printable(character) && !is_break(character) && !matches!(character, '"' | '\\')
}

/// A text that begins with a byte order mark: goyaml looks at the beginning of the text for each of its characters, and
/// so escapes them all (`is_bom`).
pub(super) fn marked(text: &str) -> Option<String> {
    text.starts_with('\u{feff}').then(|| text.chars().map(escape).collect())
}

/// How double quotes escape a character (`yaml_emitter_write_double_quoted_scalar`).
pub(super) fn escape(character: char) -> String {
    let short = match character {
        '\0' => "\\0",
        '\x07' => "\\a",
        '\x08' => "\\b",
        '\t' => "\\t",
        '\n' => "\\n",
        '\x0b' => "\\v",
        '\x0c' => "\\f",
        '\r' => "\\r",
        '\x1b' => "\\e",
        '"' => "\\\"",
        '\\' => "\\\\",
        '\u{85}' => "\\N",
        '\u{a0}' => "\\_",
        '\u{2028}' => "\\L",
        '\u{2029}' => "\\P",
        character => {
            let code = u32::from(character);
            return match code {
                0..=0xff => format!("\\x{code:02X}"),
                0x100..=0xffff => format!("\\u{code:04X}"),
                _ => format!("\\U{code:08X}"),
            };
        }
    };
    short.to_owned()
}

/// goyaml's `^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$`.
fn is_base60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut parts = unsigned.split(':');
    let Some(first) = parts.next() else { return false };
    if !first.starts_with(|c: char| c.is_ascii_digit())
        || !first.bytes().all(|b| b.is_ascii_digit() || b == b'_')
    {
        return false;
    }
    let rest: Vec<&str> = parts.collect();
    let Some((last, middle)) = rest.split_last() else { return false };
    let sixty = |part: &str| match part.as_bytes() {
        [digit] => digit.is_ascii_digit(),
        [tens, ones] => (b'0'..=b'5').contains(tens) && ones.is_ascii_digit(),
        _ => false,
    };
    let (whole, fraction) = last.split_once('.').unwrap_or((last, ""));
    middle.iter().all(|part| sixty(part))
        && sixty(whole)
        && fraction.bytes().all(|b| b.is_ascii_digit() || b == b'_')
}
