//! The loader's checks of a template's text, before minijinja sees it.
//!
//! Templates are named `*.yaml.j2`, and each expression prints a whole JSON
//! value. So an expression that is glued to other text would make broken or,
//! worse, different YAML: it is refused here, with the fix.

use std::borrow::Cow;
use std::ops::Range;

/// A template that would not render what its author means.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub(crate) struct TemplateFault {
    /// The line, from 1.
    pub(crate) line: usize,
    /// Where in the line, in bytes.
    pub(crate) columns: Range<usize>,
    /// What is wrong.
    pub(crate) problem: String,
    /// How to write it instead.
    pub(crate) fix: String,
}

/// Finds every expression that is glued to text, is in a block scalar without
/// `text`, or uses `text` elsewhere.
pub(crate) fn check(template: &str) -> Vec<TemplateFault> {
    let mut faults = Vec::new();
    let mut block: Option<usize> = None;
    for (index, line) in template.lines().enumerate() {
        let bare = without_tags(line);
        let indent = line.len() - line.trim_start().len();
        let only_tags = bare.trim_start().is_empty();
        if let Some(parent) = block
            && !only_tags
            && indent <= parent
        {
            block = None;
        }
        for expression in expressions(line) {
            let fault = if block.is_some() { in_block(&expression) } else { in_value(&expression) };
            if let Some((problem, fix)) = fault {
                let columns = expression.before.len()..line.len() - expression.after.len();
                faults.push(TemplateFault { line: index + 1, columns, problem, fix });
            }
        }
        if block.is_none() && opens_block_scalar(&bare) {
            block = Some(indent);
        }
    }
    faults
}

/// Where two ASCII characters stand first. Most lines have none of those that
/// are looked for, which a plain scan says soonest.
fn find(text: &str, pair: [u8; 2]) -> Option<usize> {
    text.as_bytes().windows(2).position(|found| found == pair)
}

/// One `{{ … }}` with what stands around it on its line.
struct Expression<'a> {
    before: &'a str,
    inner: &'a str,
    after: &'a str,
}

fn expressions(line: &str) -> Vec<Expression<'_>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = find(&line[from..], *b"{{").map(|at| at + from) {
        let Some(end) = find(&line[start..], *b"}}").map(|at| at + start) else { break };
        let inner = line[start + 2..end].trim_matches(['-', '+']).trim();
        found.push(Expression { before: &line[..start], inner, after: &line[end + 2..] });
        from = end + 2;
    }
    found
}

/// A line without `{% … %}` and `{# … #}`.
fn without_tags(line: &str) -> Cow<'_, str> {
    let tag = |text: &str| text.as_bytes().windows(2).position(|pair| matches!(pair, b"{%" | b"{#"));
    if tag(line).is_none() {
        return Cow::Borrowed(line);
    }
    let mut rest = line;
    let mut bare = String::with_capacity(line.len());
    while let Some(start) = tag(rest) {
        bare.push_str(&rest[..start]);
        let close = if rest[start..].starts_with("{%") { "%}" } else { "#}" };
        match rest[start..].find(close) {
            Some(end) => rest = &rest[start + end + 2..],
            None => return Cow::Owned(bare),
        }
    }
    bare.push_str(rest);
    Cow::Owned(bare)
}

/// Whether a line ends in a block scalar's header: `key: |`, `- >-`, `key: |2+`.
fn opens_block_scalar(bare: &str) -> bool {
    let line = bare.trim_end();
    let line = line.rfind(" #").map_or(line, |comment| line[..comment].trim_end());
    let header = line.trim_end_matches(|c: char| c == '-' || c == '+' || c.is_ascii_digit());
    let Some(rest) = header.strip_suffix(['|', '>']) else { return false };
    rest.ends_with(": ")
        || rest.ends_with("- ")
        || rest.ends_with(":\t")
        || rest.trim().is_empty() && !rest.is_empty()
}

fn uses_text(inner: &str) -> bool {
    inner.split('|').skip(1).any(|filter| {
        let filter = filter.trim();
        filter == "text" || filter.starts_with("text(")
    })
}

fn in_block(expression: &Expression<'_>) -> Option<(String, String)> {
    (!uses_text(expression.inner)).then(|| {
        (
            format!("`{{{{ {} }}}}` in a block scalar prints JSON, not text", expression.inner),
            format!("write `{{{{ {} | text }}}}`", expression.inner),
        )
    })
}

fn in_value(expression: &Expression<'_>) -> Option<(String, String)> {
    let Expression { before, inner, after } = *expression;
    if uses_text(inner) {
        return Some((
            format!(
                "`{{{{ {inner} }}}}` prints raw text outside a block scalar, where it could be read as YAML"
            ),
            "leave out `| text`: the value is printed as JSON, which is YAML".to_owned(),
        ));
    }
    // The branches of an inline `if` stand for each other.
    let before = match find(before, *b"{%").and_then(|_| before.find("{% if")) {
        Some(start) if before.contains("{% el") => &before[..start],
        _ => before,
    };
    let after = match find(after, *b"{%").and_then(|_| after.rfind("{% endif %}")) {
        Some(end) if after.trim_start().starts_with("{% el") => &after[end + "{% endif %}".len()..],
        _ => after,
    };
    let before = without_tags(before);
    let after = without_tags(after);
    let value_starts = starts_a_value(before.trim_end(), before.ends_with([' ', '\t']));
    let trimmed = after.trim_start();
    let value_ends = trimmed.is_empty()
        || trimmed.starts_with([',', ']', '}', ':'])
        || (trimmed.starts_with('#') && trimmed.len() < after.len());
    if value_starts && value_ends {
        return None;
    }
    let word = |text: &str| text.split_whitespace().next_back().unwrap_or_default().to_owned();
    let head = if value_starts { String::new() } else { word(&before) };
    let tail = if value_ends {
        String::new()
    } else {
        trimmed.split_whitespace().next().unwrap_or_default().to_owned()
    };
    let quote = |text: &str| format!("'{}'", text.trim_matches(['"', '\'']));
    let mut parts: Vec<String> = Vec::new();
    if !head.trim_matches(['"', '\'']).is_empty() {
        parts.push(quote(&head));
    }
    parts.push(inner.to_owned());
    if !tail.trim_matches(['"', '\'']).is_empty() {
        parts.push(quote(&tail));
    }
    Some((
        format!("`{{{{ {inner} }}}}` is glued to other text: each expression is a whole value"),
        format!("write `{{{{ {} }}}}`", parts.join(" ~ ")),
    ))
}

/// Whether a YAML value may start after `before`.
fn starts_a_value(before: &str, spaced: bool) -> bool {
    match before.chars().next_back() {
        None | Some('[' | '{' | ',') => true,
        Some(':') => spaced,
        Some('-') => spaced && before.chars().all(|c| c == '-' || c == ' '),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixes(template: &str) -> Vec<String> {
        check(template).into_iter().map(|fault| format!("{}: {}", fault.line, fault.fix)).collect()
    }

    #[test]
    fn whole_values_are_fine() {
        let template = "a: {{ x }}\n- {{ x }}\nb: [{{ x }}, {{ y }}]\nc: { d: {{ x }} }\n{{ k }}: v\ne: {{ x }} # why\n\
            {% for x in y %}\n  - {{ x }}\n{% endfor %}\nf: {% if a %}{{ a }}{% else %}{{ b }}{% endif %}\n- - {{ x }}\n\
            t: |\n  hello {{ name | text }} and\n{% if x %}\n  more {{ y | text }}\n{% endif %}\ng: {{ x }}\n";
        assert_eq!(fixes(template), Vec::<String>::new());
    }

    #[test]
    fn glued_expressions_are_refused_with_the_fix() {
        assert_eq!(
            fixes(
                "a: cozy-{{ name }}\nb: \"{{ name }}\"\nc: {{ name }}-x\nd: |\n  {{ name }}\ne: {{ name | text }}\nf: a {{ b }}\n"
            ),
            [
                "1: write `{{ 'cozy-' ~ name }}`",
                "2: write `{{ name }}`",
                "3: write `{{ name ~ '-x' }}`",
                "5: write `{{ name | text }}`",
                "6: leave out `| text`: the value is printed as JSON, which is YAML",
                "7: write `{{ 'a' ~ b }}`",
            ]
        );
    }
}
