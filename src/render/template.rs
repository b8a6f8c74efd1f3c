//! The loader's checks of a template's text, before minijinja sees it.
//!
//! Templates are named `*.yaml.j2`, and each expression prints a whole JSON
//! value. So an expression that is glued to other text would make broken or,
//! worse, different YAML: it is refused here, with the fix.

use std::borrow::Cow;
use std::ops::Range;

use crate::model::finding::MOST;

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
        let indent = line.len() - line.trim_start().len();
        let line = Line::new(line);
        if block.is_some_and(|parent| indent <= parent) && !line.bare.trim_start().is_empty() {
            block = None;
        }
        let all = expressions(line.text);
        let comment = if all.is_empty() { None } else { comment(line.text) };
        let mut at = 0;
        while let Some(expression) = all.get(at) {
            let mut to = at;
            let fault = if block.is_some() {
                in_block(expression)
            } else if comment.is_some_and(|comment| comment < expression.before.len()) {
                break;
            } else {
                while all.get(to + 1).is_some_and(|next| are_one(all.get(to), next)) {
                    to += 1;
                }
                in_value(&line, &all[at..=to])
            };
            if let Some((problem, fix)) = fault {
                let after = all.get(to).map_or("", |last| last.after);
                let columns = expression.before.len()..line.text.len() - after.len();
                faults.push(TemplateFault { line: index + 1, columns, problem, fix });
            }
            if faults.len() >= MOST {
                return faults;
            }
            at = to + 1;
        }
        if block.is_none() && opens_block_scalar(&line.bare) {
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

/// Where a comment of YAML begins in a line.
fn comment(line: &str) -> Option<usize> {
    // Most lines have none.
    line.find('#')?;
    let (mut quote, mut last) = (None, ' ');
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '#') if last.is_whitespace() => return Some(at),
            // An apostrophe in a word opens nothing.
            (None, '"' | '\'') if last.is_whitespace() || "[{,:(".contains(last) => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
        last = c;
    }
    None
}

/// A line with what its expressions are judged by, looked for once: a line may be long, and have many of them.
struct Line<'a> {
    text: &'a str,
    /// Without tags.
    bare: Cow<'a, str>,
    /// Where tags begin and end in the text, each with how long those before it are.
    tags: Vec<(Range<usize>, usize)>,
    /// Where the first `{% if` begins.
    branches: Option<usize>,
    /// Where the first `{% el…` begins.
    other: Option<usize>,
    /// Where the last `{% endif %}` ends.
    end: Option<usize>,
}

impl<'a> Line<'a> {
    fn new(text: &'a str) -> Self {
        let tags = tags(text);
        let any = !tags.is_empty();
        Self {
            text,
            bare: without(text, &tags),
            branches: any.then(|| text.find("{% if")).flatten(),
            other: any.then(|| text.find("{% el")).flatten(),
            end: any.then(|| Some(text.rfind("{% endif %}")? + "{% endif %}".len())).flatten(),
            tags: tags
                .into_iter()
                .scan(0, |less, tag| {
                    let before = *less;
                    *less += tag.len();
                    Some((tag, before))
                })
                .collect(),
        }
    }

    /// What stands before a place, and after another one, without tags.
    fn around(&self, before: usize, after: usize) -> (&str, &str) {
        let bare = |place: usize| {
            let before = self.tags.partition_point(|(tag, _)| tag.start < place);
            let last = before.checked_sub(1).and_then(|last| self.tags.get(last));
            last.map_or(place, |(tag, less)| place - less - (tag.end.min(place) - tag.start))
        };
        (self.bare.get(..bare(before)).unwrap_or_default(), self.bare.get(bare(after)..).unwrap_or_default())
    }
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

/// Where two ASCII characters stand first.
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
    let Some(mut from) = line.find('{') else { return found };
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

/// Where `{% … %}` and `{# … #}` are in a line.
fn tags(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let Some(mut from) = line.find('{') else { return found };
    let tag = |text: &str| text.as_bytes().windows(2).position(|found| matches!(found, b"{%" | b"{#"));
    while let Some(start) = tag(&line[from..]).map(|at| at + from) {
        let close = if line[start..].starts_with("{%") { *b"%}" } else { *b"#}" };
        let end = find(&line[start..], close).map_or(line.len(), |end| start + end + 2);
        found.push(start..end);
        from = end;
    }
    found
}

/// A line without its tags.
fn without<'a>(line: &'a str, tags: &[Range<usize>]) -> Cow<'a, str> {
    if tags.is_empty() {
        return Cow::Borrowed(line);
    }
    let starts = std::iter::once(0).chain(tags.iter().map(|tag| tag.end));
    let ends = tags.iter().map(|tag| tag.start).chain([line.len()]);
    Cow::Owned(starts.zip(ends).map(|(start, end)| &line[start..end]).collect())
}

/// Whether a line ends in a block scalar's header: `key: |`, `- >-`, `key: |2+`.
fn opens_block_scalar(bare: &str) -> bool {
    if !bare.bytes().any(|byte| matches!(byte, b'|' | b'>')) {
        return false;
    }
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
fn in_value(line: &Line<'_>, all: &[Expression<'_>]) -> Option<(String, String)> {
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
    let (start, end) = (first.before.len(), line.text.len() - last.after.len());
    // The branches of an inline `if` stand for each other.
    let before = match line.branches {
        Some(branches) if branches < start && line.other.is_some_and(|other| other < start) => branches,
        _ => start,
    };
    let after = match line.end {
        Some(branches) if branches > end && last.after.trim_start().starts_with("{% el") => branches,
        _ => end,
    };
    let (before, after) = line.around(before, after);
    let value_starts = starts_a_value(before.trim_end(), before.ends_with([' ', '\t']));
    let trimmed = after.trim_start();
    let value_ends = trimmed.is_empty()
        || trimmed.starts_with([',', ']', '}', ':'])
        || (trimmed.starts_with('#') && trimmed.len() < after.len());
    if value_starts && value_ends && all.len() == 1 {
        return None;
    }
    let mut parts: Vec<String> = Vec::new();
    parts.extend(quoted(if value_starts { "" } else { head(before) }));
    parts.push(inner.to_owned());
    for pair in all.windows(2) {
        let [first, second] = pair else { continue };
        parts.extend(quoted(between(first, second)));
        parts.push(second.inner.to_owned());
    }
    parts.extend(quoted(if value_ends { "" } else { tail(after) }));
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

    /// Each expression was looked at with all that stands before and after it: minutes for a megabyte.
    #[test]
    fn lines_of_many_expressions_are_looked_at_once() {
        let begun = std::time::Instant::now();
        let fine = format!("a: [{}]\n", "{{ a }}, {% if x %}{{ b }},{% endif %}".repeat(30_000));
        assert_eq!(fixes(&fine), Vec::<String>::new());
        let wrong = format!("a: [{}]\n", "x{{ a }}, ".repeat(60_000));
        assert_eq!(fixes(&wrong).len(), MOST);
        assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
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
