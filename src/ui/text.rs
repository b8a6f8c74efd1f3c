//! Text for terminals: cleaned of control characters, measured in columns,
//! cut, wrapped, coloured.

use std::time::Duration;

use crate::plan::Counts;

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint(pub(crate) bool);

impl Paint {
    /// Something went well.
    pub(crate) fn good(self, text: &str) -> String {
        console::style(text).green().force_styling(self.0).to_string()
    }

    /// Something failed.
    pub(crate) fn bad(self, text: &str) -> String {
        console::style(text).red().bold().force_styling(self.0).to_string()
    }

    /// Something may fail.
    pub(crate) fn doubtful(self, text: &str) -> String {
        console::style(text).yellow().force_styling(self.0).to_string()
    }

    /// Less important.
    pub(crate) fn faint(self, text: &str) -> String {
        console::style(text).dim().force_styling(self.0).to_string()
    }
}

/// One line of text without anything that a terminal acts on: control
/// characters, escape sequences, marks that reorder or hide what is read.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(visible).collect()
}

/// Like [`clean`], but lines stay lines, and with `styled` colours stay.
pub(crate) fn clean_block(text: &str, styled: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let style = if styled { style_sequence(rest) } else { None };
        let taken = if let Some(sequence) = style {
            out.push_str(sequence);
            sequence.len()
        } else {
            out.push(if first == '\n' { first } else { visible(first) });
            first.len_utf8()
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    out
}

/// An escape sequence at the start that sets colours and nothing else.
fn style_sequence(text: &str) -> Option<&str> {
    let body = text.strip_prefix("\u{1b}[")?;
    let end = body.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    if body.get(end..)?.starts_with('m') { text.get(..end + 3) } else { None }
}

fn visible(c: char) -> char {
    match c {
        '\n' | '\r' | '\t' => ' ',
        _ if is_hostile(c) => '\u{fffd}',
        _ => c,
    }
}

/// Characters that a terminal acts on, or that change how others are shown.
pub(crate) fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// A number of bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    let mut unit = "bytes";
    let mut tenths = bytes * 10;
    for larger in ["KiB", "MiB", "GiB"] {
        if tenths < 10 * 1024 {
            break;
        }
        tenths /= 1024;
        unit = larger;
    }
    match (unit, tenths / 10) {
        ("bytes", bytes) => count(usize::try_from(bytes).unwrap_or(usize::MAX), "byte"),
        (_, whole @ ..10) => format!("{whole}.{} {unit}", tenths % 10),
        (_, whole) => format!("{whole} {unit}"),
    }
}

/// How far a download is.
pub(crate) fn received(received: u64, total: Option<u64>) -> String {
    match total {
        Some(total) => format!("{} of {}", size(received), size(total)),
        None => size(received),
    }
}

/// Columns that a text takes.
pub(crate) fn width(text: &str) -> usize {
    console::measure_text_width(text)
}

/// Cuts to at most `columns`, with an ellipsis where something is missing.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    console::truncate_str(text, columns, "…").into_owned()
}

/// Cuts or fills with blanks to exactly `columns`.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    console::pad_str(&cut(text, columns), columns, console::Alignment::Left, None).into_owned()
}

/// Breaks at blanks so that lines are at most `columns` wide where possible;
/// lines after the first are indented.
pub(crate) fn wrap(text: &str, columns: usize, indent: usize) -> String {
    let mut out = String::new();
    let mut used = 0;
    for (index, word) in text.split(' ').enumerate() {
        let wide = width(word);
        if used > indent && used + 1 + wide > columns {
            out.truncate(out.trim_end().len());
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            out.push_str(word);
            used = indent + wide;
        } else {
            if index > 0 {
                out.push(' ');
                used += 1;
            }
            out.push_str(word);
            used += wide;
        }
    }
    out
}

/// Adds a line and its line break.
pub(crate) fn push_line(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

/// `1 object`, `3 objects`.
pub(crate) fn count(number: usize, what: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {what}{ending}")
}

/// What a component consists of: `3 hosts` for Kubernetes, else its objects.
pub(crate) fn amount(hosts: usize, objects: usize) -> String {
    if hosts > 0 { count(hosts, "host") } else { count(objects, "object") }
}

/// `   after a, b`; empty where nothing was waited for.
pub(crate) fn after(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| clean(name)).collect();
    if names.is_empty() { String::new() } else { format!("   after {}", names.join(", ")) }
}

/// Time since the start in minutes and seconds, `0m48s`.
pub(crate) fn clock(at: Duration) -> String {
    let seconds = at.as_secs();
    format!("{}m{:02}s", seconds / 60, seconds % 60)
}

/// What was written: `214 created, 3 changed, 2 left alone`.
pub(crate) fn written(counts: Counts) -> String {
    let Counts { create, update, replace, adopt, keep, delete } = counts;
    let parts = [
        (create, "created"),
        (update, "changed"),
        (replace, "replaced"),
        (adopt, "adopted"),
        (delete, "deleted"),
        (keep, "left alone"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{number} {what}"))
        .collect();
    if parts.is_empty() { "no objects".to_owned() } else { parts.join(", ") }
}

/// What would be written: `214 objects to create, 3 to change`; `None`: nothing.
pub(crate) fn to_write(counts: Counts) -> Option<String> {
    let Counts { create, update, replace, adopt, keep: _, delete } = counts;
    let mut parts: Vec<String> = Vec::new();
    let all =
        [(create, "create"), (update, "change"), (replace, "replace"), (adopt, "adopt"), (delete, "delete")];
    for (number, what) in all {
        match (number, parts.is_empty()) {
            (0, _) => {}
            (_, true) => parts.push(format!("{} to {what}", count(number, "object"))),
            (_, false) => parts.push(format!("{number} to {what}")),
        }
    }
    if parts.is_empty() { None } else { Some(parts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_terminal_acts_on_gets_through() {
        let hostile = "a\u{1b}[2J\u{1b}]0;title\u{7}b\rc\nd\u{9b}31m\u{202e}e\u{200b}\u{7f}\0ü語";
        assert_eq!(
            clean(hostile),
            "a\u{fffd}[2J\u{fffd}]0;title\u{fffd}b c d\u{fffd}31m\u{fffd}e\u{fffd}\u{fffd}\u{fffd}ü語"
        );
        assert!(!clean_block(hostile, true).contains('\u{1b}'));
        let styled = "\u{1b}[1;31mred\u{1b}[0m\n\u{1b}[3A\u{1b}[";
        assert_eq!(clean_block(styled, true), "\u{1b}[1;31mred\u{1b}[0m\n\u{fffd}[3A\u{fffd}[");
        assert_eq!(clean_block(styled, false), "\u{fffd}[1;31mred\u{fffd}[0m\n\u{fffd}[3A\u{fffd}[");
    }

    #[test]
    fn widths_are_columns() {
        assert_eq!(width("日本"), 4);
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(fit("ab", 4), "ab  ");
        assert_eq!(wrap("plan    a b c d", 11, 8), "plan    a b\n        c d");
    }

    #[test]
    fn numbers_are_words() {
        let counts = Counts { create: 1, update: 2, replace: 4, adopt: 5, keep: 3, delete: 0 };
        assert_eq!(written(counts), "1 created, 2 changed, 4 replaced, 5 adopted, 3 left alone");
        assert_eq!(to_write(counts).unwrap(), "1 object to create, 2 to change, 4 to replace, 5 to adopt");
        assert_eq!(to_write(Counts::default()), None);
        assert_eq!(clock(Duration::from_secs(61)), "1m01s");
    }
}
