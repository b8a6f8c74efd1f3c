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
/// `text`, or uses `text` elsewhere. What stands in comments is nobody's value.
pub(crate) fn check(template: &str) -> Vec<TemplateFault> {
    let mut faults = Vec::new();
    let mut block: Option<usize> = None;
    for (index, line) in without_comments(template).lines().enumerate() {
        let bare = without_tags(line);
        let indent = line.len() - line.trim_start().len();
        let only_tags = bare.trim_start().is_empty();
        if let Some(parent) = block
            && !only_tags
            && indent <= parent
        {
            block = None;
        }
        let all = expressions(line);
        let mut at = 0;
        while let Some(expression) = all.get(at) {
            let mut to = at;
            let fault = if block.is_some() {
                in_block(expression)
            } else if is_in_comment(expression.before) {
                break;
            } else {
                while all.get(to + 1).is_some_and(|next| are_one(all.get(to), next)) {
                    to += 1;
                }
                in_value(&all[at..=to])
            };
            if let Some((problem, fix)) = fault {
                let after = all.get(to).map_or("", |last| last.after);
                let columns = expression.before.len()..line.len() - after.len();
                faults.push(TemplateFault { line: index + 1, columns, problem, fix });
            }
            at = to + 1;
        }
        if block.is_none() && opens_block_scalar(&bare) {
            block = Some(indent);
        }
    }
    faults
}

/// A template with spaces in the place of `{# … #}`.
fn without_comments(template: &str) -> Cow<'_, str> {
    let Some(mut start) = find(template, *b"{#") else { return Cow::Borrowed(template) };
    let mut text = template.to_owned();
    loop {
        let end = find(&text[start..], *b"#}").map_or(text.len(), |end| start + end + 2);
        let blank: String =
            text[start..end].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect();
        text.replace_range(start..end, &blank);
        match find(&text[end..], *b"{#") {
            Some(next) => start = end + next,
            None => return Cow::Owned(text),
        }
    }
}

/// Whether a comment of YAML begins in what stands before an expression.
fn is_in_comment(before: &str) -> bool {
    let (mut quote, mut last) = (None, ' ');
    for c in before.chars() {
        match (quote, c) {
            (None, '#') if last.is_whitespace() => return true,
            // An apostrophe in a word opens nothing.
            (None, '"' | '\'') if last.is_whitespace() || "[{,:(".contains(last) => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
        last = c;
    }
    false
}

/// Whether two expressions of a line are parts of one value: only text is between them.
fn are_one(first: Option<&Expression<'_>>, second: &Expression<'_>) -> bool {
    first.is_some_and(|first| {
        let between = between(first, second);
        !between.contains([',', '[', ']', '{', '}']) && !between.contains(": ") && !between.contains(" #")
    })
}

fn between<'a>(first: &Expression<'a>, second: &Expression<'a>) -> &'a str {
    first.after.get(..first.after.len().saturating_sub(second.after.len() + second.width)).unwrap_or_default()
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
    /// How long it is, with its braces.
    width: usize,
}

fn expressions(line: &str) -> Vec<Expression<'_>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = find(&line[from..], *b"{{").map(|at| at + from) {
        let Some(end) = find(&line[start..], *b"}}").map(|at| at + start) else { break };
        let inner = line[start + 2..end].trim_matches(['-', '+']).trim();
        found.push(Expression {
            before: &line[..start],
            inner,
            after: &line[end + 2..],
            width: end + 2 - start,
        });
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

/// Why expressions with nothing but text between them are no whole value.
fn in_value(all: &[Expression<'_>]) -> Option<(String, String)> {
    let (first, last) = (all.first()?, all.last()?);
    let inner = first.inner;
    if uses_text(inner) {
        return Some((
            format!(
                "`{{{{ {inner} }}}}` prints raw text outside a block scalar, where it could be read as YAML"
            ),
            "leave out `| text`: the value is printed as JSON, which is YAML".to_owned(),
        ));
    }
    // The branches of an inline `if` stand for each other.
    let before = match find(first.before, *b"{%").and_then(|_| first.before.find("{% if")) {
        Some(start) if first.before.contains("{% el") => &first.before[..start],
        _ => first.before,
    };
    let after = match find(last.after, *b"{%").and_then(|_| last.after.rfind("{% endif %}")) {
        Some(end) if last.after.trim_start().starts_with("{% el") => &last.after[end + "{% endif %}".len()..],
        _ => last.after,
    };
    let before = without_tags(before);
    let after = without_tags(after);
    let value_starts = starts_a_value(before.trim_end(), before.ends_with([' ', '\t']));
    let trimmed = after.trim_start();
    let value_ends = trimmed.is_empty()
        || trimmed.starts_with([',', ']', '}', ':'])
        || (trimmed.starts_with('#') && trimmed.len() < after.len());
    if value_starts && value_ends && all.len() == 1 {
        return None;
    }
    let mut parts: Vec<String> = Vec::new();
    parts.extend(quoted(if value_starts { "" } else { head(&before) }));
    parts.push(inner.to_owned());
    for pair in all.windows(2) {
        let [first, second] = pair else { continue };
        parts.extend(quoted(between(first, second)));
        parts.push(second.inner.to_owned());
    }
    parts.extend(quoted(if value_ends { "" } else { tail(&after) }));
    Some((
        format!("`{{{{ {inner} }}}}` is glued to other text: each expression is a whole value"),
        format!("write `{{{{ {} }}}}`", parts.join(" ~ ")),
    ))
}

/// The text of the same value before an expression.
fn head(before: &str) -> &str {
    let ends = [": ", "[", "{", ","].iter().filter_map(|end| Some(before.rfind(end)? + end.len()));
    let start = ends.max().unwrap_or_default();
    let value = before.get(start..).unwrap_or_default().trim_start();
    value.strip_prefix("- ").unwrap_or(value)
}

/// The text of the same value after an expression.
fn tail(after: &str) -> &str {
    let ends = [": ", "]", "}", ",", " #"].iter().filter_map(|end| after.find(end));
    let value = after.get(..ends.min().unwrap_or(after.len())).unwrap_or_default().trim_end();
    value.strip_suffix(':').unwrap_or(value)
}

/// Text as a string of an expression, without quotes of YAML around it; `None`: there is no more to it.
fn quoted(text: &str) -> Option<String> {
    let text = text.trim_matches(['"', '\'']);
    let quote = if text.contains('\'') { '"' } else { '\'' };
    (!text.is_empty()).then(|| format!("{quote}{text}{quote}"))
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
                "7: write `{{ 'a ' ~ b }}`",
            ]
        );
    }

    #[test]
    fn what_is_glued_is_one_value_and_comments_are_none() {
        for (template, fix) in [
            ("x: {{ a }}{{ a }}", "write `{{ a ~ a }}`"),
            ("x: {{ a }}-{{ b }} c", "write `{{ a ~ '-' ~ b ~ ' c' }}`"),
            ("{{ cloud.name }}x: '1'", "write `{{ cloud.name ~ 'x' }}`"),
            ("- [a-{{ b }}, {{ c }}]", "write `{{ 'a-' ~ b }}`"),
            ("x: http://h/{{ p }}/q # {{ a }}x", "write `{{ 'http://h/' ~ p ~ '/q' }}`"),
            ("x: it's {{ b }}", "write `{{ \"it's \" ~ b }}`"),
            ("x: 'a # {{ b }}'", "write `{{ 'a # ' ~ b }}`"),
        ] {
            assert_eq!(fixes(template), [format!("1: {fix}")], "{template}");
        }
        for template in [
            "# {{ a }}x",
            "x: 1 # {{ a }}x",
            "x: 1\n{# {{ a }}x\n{{ b }}y #}\n",
            "{{ k }}: {{ v }}",
            "a: {{ x }} {# c-{{ y }} #}",
        ] {
            assert_eq!(fixes(template), Vec::<String>::new(), "{template}");
        }
    }
}
