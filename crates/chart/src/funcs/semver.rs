//! Semantic versions and constraints on them (Masterminds/semver v3).

use std::cmp::Ordering;
use std::fmt;
use std::rc::Rc;
use std::sync::OnceLock;

use regex::Regex;

use super::Type::Text;
use super::{Function, fixed, text};
use crate::object::Object;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("semver", &[Text], |_, a| {
        Ok(Value::Object(Rc::new(Object::Version(Version::parse(&text(a, 0))?))))
    })
    .slow(64),
    fixed("semverCompare", &[Text, Text], |_, a| {
        let constraint = Constraint::parse(&text(a, 0))?;
        Ok(Value::Bool(constraint.allows(&Version::parse(&text(a, 1))?)))
    })
    .slow(64),
];

/// A version: `1`, `v1.2` and `01.2` are, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) major: u64,
    pub(crate) minor: u64,
    pub(crate) patch: u64,
    pre: String,
    metadata: String,
    original: String,
}

impl Version {
    /// The fields of Go's struct.
    pub(crate) fn own_fields(&self) -> Vec<(&'static str, Value)> {
        let number = |number| Value::Uint(number, 64);
        vec![
            ("major", number(self.major)),
            ("minor", number(self.minor)),
            ("patch", number(self.patch)),
            ("pre", Value::text(&self.pre)),
            ("metadata", Value::text(&self.metadata)),
            ("original", Value::text(&self.original)),
        ]
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if !self.pre.is_empty() {
            write!(f, "-{}", self.pre)?;
        }
        if !self.metadata.is_empty() {
            write!(f, "+{}", self.metadata)?;
        }
        Ok(())
    }
}

const LONGEST_VERSION: usize = 256;
const LONGEST_CONSTRAINT: usize = 512;
const MOST_ALTERNATIVES: usize = 32;

fn version_regex() -> Option<&'static Regex> {
    static REGEX: OnceLock<Option<Regex>> = OnceLock::new();
    REGEX
        .get_or_init(|| {
            Regex::new(
                r"^v?([0-9]+)(\.[0-9]+)?(\.[0-9]+)?(-([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?(\+([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?$",
            )
            .ok()
        })
        .as_ref()
}

impl Version {
    /// Reads a version.
    ///
    /// # Errors
    /// Where it is none.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a version");
        if text.len() > LONGEST_VERSION {
            return Err(format!("a version has at most {LONGEST_VERSION} bytes"));
        }
        let found = version_regex().and_then(|regex| regex.captures(text)).ok_or_else(wrong)?;
        let part = |index: usize| found.get(index).map_or("", |part| part.as_str());
        let number = |index: usize| match part(index).trim_start_matches('.') {
            "" => Ok(0),
            digits => digits.parse::<u64>().map_err(|_| wrong()),
        };
        let pre = part(5);
        if pre.split('.').any(|piece| {
            piece.len() > 1 && piece.starts_with('0') && piece.bytes().all(|b| b.is_ascii_digit())
        }) {
            return Err(format!("{text:?} has a number that starts with 0 in its pre-release"));
        }
        Ok(Self {
            major: number(1)?,
            minor: number(2)?,
            patch: number(3)?,
            pre: pre.to_owned(),
            metadata: part(8).to_owned(),
            original: text.to_owned(),
        })
    }

    fn compare(&self, other: &Self) -> Ordering {
        (self.major, self.minor, self.patch).cmp(&(other.major, other.minor, other.patch)).then_with(
            || match (self.pre.is_empty(), other.pre.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => compare_pre(&self.pre, &other.pre),
            },
        )
    }

    /// A method's answer.
    pub(crate) fn member(&self, name: &str, arguments: &[Value]) -> Result<Option<Value>, String> {
        let number = |number: u64| Ok(Some(Value::Uint(number, 64)));
        let version = |major, minor, patch| {
            let mut next = Self {
                major,
                minor,
                patch,
                pre: String::new(),
                metadata: String::new(),
                original: String::new(),
            };
            next.original = format!("{}{next}", if self.original.starts_with('v') { "v" } else { "" });
            Ok(Some(Value::Object(Rc::new(Object::Version(next)))))
        };
        let other = || match arguments {
            [Value::Object(object)] => match object.as_ref() {
                Object::Version(version) => Ok(version),
                other => {
                    Err(format!("wrong type for value; expected *semver.Version; got {}", other.type_name()))
                }
            },
            [other] => {
                Err(format!("wrong type for value; expected *semver.Version; got {}", other.type_name()))
            }
            _ => Err(format!("wrong number of args for {name}: want 1 got {}", arguments.len())),
        };
        match name {
            "Major" => number(self.major),
            "Minor" => number(self.minor),
            "Patch" => number(self.patch),
            "Prerelease" => Ok(Some(Value::text(&self.pre))),
            "Metadata" => Ok(Some(Value::text(&self.metadata))),
            "Original" => Ok(Some(Value::text(&self.original))),
            "String" => Ok(Some(Value::text(self.to_string()))),
            "IncMajor" => version(self.major + 1, 0, 0),
            "IncMinor" => version(self.major, self.minor + 1, 0),
            "IncPatch" if self.pre.is_empty() => version(self.major, self.minor, self.patch + 1),
            "IncPatch" => version(self.major, self.minor, self.patch),
            "Compare" => Ok(Some(Value::Int(self.compare(other()?) as i64))),
            "Equal" => Ok(Some(Value::Bool(self.compare(other()?).is_eq()))),
            "LessThan" => Ok(Some(Value::Bool(self.compare(other()?).is_lt()))),
            "LessThanEqual" => Ok(Some(Value::Bool(self.compare(other()?).is_le()))),
            "GreaterThan" => Ok(Some(Value::Bool(self.compare(other()?).is_gt()))),
            "GreaterThanEqual" => Ok(Some(Value::Bool(self.compare(other()?).is_ge()))),
            _ => Ok(None),
        }
    }
}

fn compare_pre(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => match (a.parse::<u64>(), b.parse::<u64>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => a.cmp(b),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Alternatives of conditions that must all hold.
#[derive(Debug)]
pub(crate) struct Constraint(Vec<Vec<Condition>>);

#[derive(Debug)]
struct Condition {
    operator: String,
    version: Version,
    minor_dirty: bool,
    patch_dirty: bool,
    dirty: bool,
}

/// The regular expressions of a constraint.
struct Grammar {
    condition: Regex,
    range: Regex,
    find: Regex,
    valid: Regex,
}

fn grammar() -> Option<&'static Grammar> {
    static GRAMMAR: OnceLock<Option<Grammar>> = OnceLock::new();
    GRAMMAR
        .get_or_init(|| {
            let version = r"v?([0-9|x|X|\*]+)(\.[0-9|x|X|\*]+)?(\.[0-9|x|X|\*]+)?(-([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?(\+([0-9A-Za-z\-]+(\.[0-9A-Za-z\-]+)*))?";
            let operators = r"=||!=|>|<|>=|=>|<=|=<|~|~>|\^";
            let space = r"[\t\n\x0C\r ]";
            Some(Grammar {
                condition: Regex::new(&format!("^{space}*({operators}){space}*({version}){space}*$")).ok()?,
                range: Regex::new(&format!("{space}*({version}){space}+-{space}+({version}){space}*")).ok()?,
                find: Regex::new(&format!("({operators}){space}*({version})")).ok()?,
                valid: Regex::new(&format!(
                    "^({space}*({operators}){space}*({version}){space}*)((?:{space}+|,{space}*)({operators}){space}*({version}){space}*)*$"
                ))
                .ok()?,
            })
        })
        .as_ref()
}

impl Constraint {
    /// Reads a constraint.
    ///
    /// # Errors
    /// Where it is none.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a constraint on versions");
        if text.len() > LONGEST_CONSTRAINT {
            return Err(format!("a constraint has at most {LONGEST_CONSTRAINT} bytes"));
        }
        let grammar = grammar().ok_or_else(wrong)?;
        let mut spread = text.to_owned();
        for range in grammar.range.captures_iter(text) {
            let part = |index: usize| range.get(index).map_or("", |part| part.as_str());
            spread = spread.replacen(part(0), &format!(">= {}, <= {} ", part(1), part(11)), 1);
        }
        let alternatives: Vec<&str> = spread.split("||").collect();
        if alternatives.len() > MOST_ALTERNATIVES {
            return Err(format!("a constraint has at most {MOST_ALTERNATIVES} alternatives"));
        }
        let mut all = Vec::new();
        for alternative in alternatives {
            if !grammar.valid.is_match(alternative) {
                return Err(wrong());
            }
            let conditions = grammar.find.find_iter(alternative);
            all.push(
                conditions
                    .map(|found| Condition::parse(grammar, found.as_str()))
                    .collect::<Result<_, _>>()?,
            );
        }
        Ok(Self(all))
    }

    /// Whether a version meets it.
    pub(crate) fn allows(&self, version: &Version) -> bool {
        self.0.iter().any(|conditions| {
            let with_pre = conditions.iter().any(|condition| !condition.version.pre.is_empty());
            conditions
                .iter()
                .all(|condition| (version.pre.is_empty() || with_pre) && condition.holds(version))
        })
    }
}

/// The version of a chart that Helm takes for a constraint (`^1.2`, `>=2 <3`; empty: the newest that is no
/// pre-release): the one that is spelled so, or else the newest that meets it.
///
/// # Errors
/// With words, where the constraint is none.
pub fn newest<'a>(
    versions: impl IntoIterator<Item = &'a str> + Clone,
    constraint: &str,
) -> Result<Option<&'a str>, String> {
    if let Some(same) = versions.clone().into_iter().find(|version| *version == constraint) {
        return Ok(Some(same));
    }
    let wanted = Constraint::parse(if constraint.is_empty() { "*" } else { constraint })?;
    let mut best: Option<(Version, &str)> = None;
    for text in versions {
        let Ok(version) = Version::parse(text) else { continue };
        let newer = best.as_ref().is_none_or(|(best, _)| version.compare(best) == Ordering::Greater);
        if newer && wanted.allows(&version) {
            best = Some((version, text));
        }
    }
    Ok(best.map(|(_, text)| text))
}

/// Whether a text is one whole version, `1.2.3` or `v1.2.3-rc.1`.
pub fn is_version(text: &str) -> bool {
    Version::parse(text).is_ok_and(|version| version.to_string() == text.strip_prefix('v').unwrap_or(text))
}

fn is_x(text: &str) -> bool {
    matches!(text, "" | "x" | "*" | "X")
}

impl Condition {
    fn parse(grammar: &Grammar, text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a condition on versions");
        let found = grammar.condition.captures(text).ok_or_else(wrong)?;
        let part = |index: usize| found.get(index).map_or("", |part| part.as_str());
        let (mut minor_dirty, mut patch_dirty, mut dirty) = (false, false, false);
        let mut version = part(2).to_owned();
        if is_x(part(3)) {
            version = format!("0.0.0{}", part(6));
            dirty = true;
        } else if is_x(part(4).trim_start_matches('.')) {
            version = format!("{}.0.0{}", part(3), part(6));
            (dirty, minor_dirty) = (true, true);
        } else if is_x(part(5).trim_start_matches('.')) {
            version = format!("{}{}.0{}", part(3), part(4), part(6));
            (dirty, patch_dirty) = (true, true);
        }
        let version = Version::parse(&version).map_err(|_| wrong())?;
        Ok(Self { operator: part(1).to_owned(), version, minor_dirty, patch_dirty, dirty })
    }

    fn holds(&self, v: &Version) -> bool {
        let c = &self.version;
        let order = v.compare(c);
        match self.operator.as_str() {
            "" | "=" if !self.dirty => order.is_eq(),
            "" | "=" | "~" | "~>" => self.tilde(v),
            "!=" => self.differs(v),
            ">" if !self.dirty => order.is_gt(),
            ">" if v.major != c.major => v.major > c.major,
            ">" if self.minor_dirty => false,
            ">" if self.patch_dirty => v.minor > c.minor,
            ">" => order.is_gt(),
            "<" => order.is_lt(),
            ">=" | "=>" => order.is_ge(),
            "<=" | "=<" if !self.dirty => order.is_le(),
            "<=" | "=<" => {
                v.major < c.major || v.major == c.major && (v.minor <= c.minor || self.minor_dirty)
            }
            "^" => self.caret(v),
            _ => false,
        }
    }

    fn differs(&self, v: &Version) -> bool {
        let c = &self.version;
        if self.dirty {
            if c.major != v.major || c.minor != v.minor && !self.minor_dirty {
                return true;
            }
            if self.minor_dirty {
                return false;
            }
            if c.patch != v.patch && !self.patch_dirty {
                return true;
            }
            if self.patch_dirty {
                let pre = !v.pre.is_empty() || !c.pre.is_empty();
                return pre && compare_pre(&v.pre, &c.pre).is_ne();
            }
        }
        v.compare(c).is_ne()
    }

    fn tilde(&self, v: &Version) -> bool {
        let c = &self.version;
        if v.compare(c).is_lt() {
            return false;
        }
        if (c.major, c.minor, c.patch) == (0, 0, 0) && !self.minor_dirty && !self.patch_dirty {
            return true;
        }
        v.major == c.major && (v.minor == c.minor || self.minor_dirty)
    }

    fn caret(&self, v: &Version) -> bool {
        let c = &self.version;
        if v.compare(c).is_lt() {
            return false;
        }
        if c.major > 0 || self.minor_dirty {
            return v.major == c.major;
        }
        if v.major > 0 {
            return false;
        }
        if c.minor > 0 || self.patch_dirty {
            return v.minor == c.minor;
        }
        v.minor == 0 && c.patch == v.patch
    }
}
