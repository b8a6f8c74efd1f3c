//! `.helmignore`: which files of a folder are not part of its chart (Helm's `ignore`).

/// The rules of a `.helmignore`, and Helm's own.
#[derive(Debug, Clone)]
pub struct IgnoreRules {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone)]
struct Pattern {
    rule: String,
    negate: bool,
    folders_only: bool,
    /// Matches the whole path, not the last name alone.
    whole: bool,
}

impl IgnoreRules {
    /// Reads the rules; `None`: there is no such file.
    ///
    /// # Errors
    /// Where a pattern is wrong, or has `**`.
    pub fn parse(text: Option<&str>) -> Result<Self, String> {
        let mut rules = Self { patterns: Vec::new() };
        let text = text.unwrap_or_default();
        for line in text.strip_prefix('\u{feff}').unwrap_or(text).lines() {
            rules.add(line)?;
        }
        rules.add("templates/.?*")?;
        Ok(rules)
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let rule = line.trim();
        if rule.is_empty() || rule.starts_with('#') {
            return Ok(());
        }
        if rule.contains("**") {
            return Err(format!(".helmignore: {rule:?}: double-star (**) syntax is not supported"));
        }
        if path_matches(rule, "abc").is_none() {
            return Err(format!(".helmignore: {rule:?} is not a pattern"));
        }
        let (negate, rule) = rule.strip_prefix('!').map_or((false, rule), |rule| (true, rule));
        let (folders_only, rule) = rule.strip_suffix('/').map_or((false, rule), |rule| (true, rule));
        let (whole, rule) = match rule.strip_prefix('/') {
            Some(rule) => (true, rule),
            None => (rule.contains('/'), rule),
        };
        self.patterns.push(Pattern { rule: rule.to_owned(), negate, folders_only, whole });
        Ok(())
    }

    /// Whether a file or folder is left out; a folder takes all within it along.
    #[must_use]
    pub fn ignores(&self, path: &str, is_folder: bool) -> bool {
        if matches!(path, "" | "." | "./") {
            return false;
        }
        for pattern in &self.patterns {
            let subject = if pattern.whole { path } else { path.rsplit('/').next().unwrap_or(path) };
            let matches = path_matches(&pattern.rule, subject).unwrap_or(false);
            if pattern.negate {
                if pattern.folders_only && !is_folder || !matches {
                    return true;
                }
            } else if matches && (is_folder || !pattern.folders_only) {
                return true;
            }
        }
        false
    }
}

/// Go's `filepath.Match`; `None`: the pattern is wrong.
pub(crate) fn path_matches(pattern: &str, name: &str) -> Option<bool> {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    check(&pattern)?;
    Some(matches(&pattern, &name))
}

/// Whether all of a pattern is well formed.
fn check(pattern: &[char]) -> Option<()> {
    let mut at = 0;
    while let Some(character) = pattern.get(at) {
        at += 1;
        match character {
            '\\' => {
                pattern.get(at)?;
                at += 1;
            }
            '[' => at += class_length(pattern.get(at..)?)?,
            _ => {}
        }
    }
    Some(())
}

/// The length of a class after its `[`, its `]` included.
fn class_length(rest: &[char]) -> Option<usize> {
    let mut at = usize::from(rest.first() == Some(&'^'));
    let mut ranges = 0;
    loop {
        if rest.get(at) == Some(&']') && ranges > 0 {
            return Some(at + 1);
        }
        at += element(rest.get(at..)?)?.1;
        if rest.get(at) == Some(&'-') {
            at += 1;
            at += element(rest.get(at..)?)?.1;
        }
        ranges += 1;
    }
}

/// A character of a class, and how long it is written.
fn element(rest: &[char]) -> Option<(char, usize)> {
    match rest.first()? {
        '-' | ']' => None,
        '\\' => rest.get(1).filter(|_| rest.len() > 2).map(|character| (*character, 2)),
        other => (rest.len() > 1).then_some((*other, 1)),
    }
}

fn class_has(class: &[char], character: char) -> bool {
    let negated = class.first() == Some(&'^');
    let mut rest = class.get(usize::from(negated)..).unwrap_or_default();
    let mut found = false;
    while rest.first().is_some_and(|first| *first != ']') {
        let Some((low, length)) = element(rest) else { break };
        rest = rest.get(length..).unwrap_or_default();
        let mut high = low;
        if rest.first() == Some(&'-') {
            rest = rest.get(1..).unwrap_or_default();
            let Some((end, length)) = element(rest) else { break };
            high = end;
            rest = rest.get(length..).unwrap_or_default();
        }
        found |= (low..=high).contains(&character);
    }
    found != negated
}

/// Matches with one point to come back to: the last `*`.
fn matches(pattern: &[char], name: &[char]) -> bool {
    let (mut at, mut position) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(at) {
            Some('*') => {
                star = Some((at, position));
                at += 1;
                continue;
            }
            None if position == name.len() => return true,
            None => None,
            Some(wanted) => name.get(position).copied().and_then(|found| match wanted {
                '?' => (found != '/').then_some(1),
                '[' => {
                    let class = pattern.get(at + 1..).unwrap_or_default();
                    let length = class_length(class)?;
                    class_has(class, found).then_some(length + 1)
                }
                '\\' => (pattern.get(at + 1) == Some(&found)).then_some(2),
                wanted => (*wanted == found).then_some(1),
            }),
        };
        match step {
            Some(length) => {
                at += length;
                position += 1;
            }
            None => match star {
                Some((back, from)) if name.get(from).is_some_and(|skipped| *skipped != '/') => {
                    star = Some((back, from + 1));
                    (at, position) = (back + 1, from + 1);
                }
                _ => return false,
            },
        }
    }
}
