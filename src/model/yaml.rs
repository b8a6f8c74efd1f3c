//! The strict reader for users' own files: a tree in which every value knows
//! its place. What YAML allows and nobody means in a configuration file
//! (duplicate keys, aliases, tags, several documents) is a finding.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

use super::decode::decode;
use super::finding::{Finding, MOST, Source};

/// The deepest nesting.
const DEEPEST: usize = 64;

/// Keys and values in one file; more are mistakes or attacks.
const MOST_NODES: usize = 250_000;

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// Where it stands, in bytes.
    pub(crate) range: Range<usize>,
    /// What it is.
    pub(crate) value: NodeValue,
}

/// What stands there.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NodeValue {
    /// Null, boolean, number or string.
    Scalar(Value),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the file's order. Invariant: keys are unique.
    Map(Vec<(Key, Node)>),
}

/// A key and its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    /// Its text.
    pub(crate) text: String,
    /// Where it stands, in bytes.
    pub(crate) range: Range<usize>,
}

impl Node {
    /// The value without places.
    pub(crate) fn to_json(&self) -> Value {
        match &self.value {
            NodeValue::Scalar(value) => value.clone(),
            NodeValue::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            NodeValue::Map(entries) => Value::Object(
                entries.iter().map(|(key, node)| (key.text.clone(), node.to_json())).collect::<Map<_, _>>(),
            ),
        }
    }

    /// The node under a key or index.
    pub(crate) fn get(&self, step: &str) -> Option<&Self> {
        match &self.value {
            NodeValue::Scalar(_) => None,
            NodeValue::List(items) => items.get(step.parse::<usize>().ok()?),
            NodeValue::Map(entries) => entries.iter().find(|(key, _)| key.text == step).map(|(_, node)| node),
        }
    }

    /// The place of a key of this mapping.
    pub(crate) fn key(&self, name: &str) -> Option<&Key> {
        match &self.value {
            NodeValue::Map(entries) => entries.iter().map(|(key, _)| key).find(|key| key.text == name),
            NodeValue::Scalar(_) | NodeValue::List(_) => None,
        }
    }

    /// The tree without what findings are about, keys with their values; `None`: nothing is left.
    pub(crate) fn without(&self, source: &Source, places: &[Range<usize>]) -> Option<Self> {
        if places.contains(&source.first_line(&self.range)) {
            return None;
        }
        let value = match &self.value {
            NodeValue::Scalar(value) => NodeValue::Scalar(value.clone()),
            NodeValue::List(items) => {
                NodeValue::List(items.iter().filter_map(|item| item.without(source, places)).collect())
            }
            NodeValue::Map(entries) => NodeValue::Map(
                entries
                    .iter()
                    .filter(|(key, _)| !places.contains(&key.range))
                    .filter_map(|(key, node)| Some((key.clone(), node.without(source, places)?)))
                    .collect(),
            ),
        };
        Some(Self { range: self.range.clone(), value })
    }

    /// Whether a finding is about something that holds a place.
    pub(crate) fn holds(&self, source: &Source, finding: &Range<usize>, place: &Range<usize>) -> bool {
        let inside = self.range.start <= place.start && place.end <= self.range.end;
        let here = inside && source.first_line(&self.range) == *finding;
        here || match &self.value {
            NodeValue::Scalar(_) => false,
            NodeValue::List(items) => items.iter().any(|item| item.holds(source, finding, place)),
            NodeValue::Map(entries) => entries.iter().any(|(_, node)| node.holds(source, finding, place)),
        }
    }

    /// The node at a path, or the last one on the way that exists.
    pub(crate) fn at<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> &Self {
        let mut node = self;
        for step in path {
            match node.get(step) {
                Some(next) => node = next,
                None => break,
            }
        }
        node
    }
}

/// A file, read as far as it can be.
pub(crate) struct Read {
    /// The file; without its text where that cannot be read.
    pub(crate) source: Arc<Source>,
    /// Its values; `None`: it is no YAML.
    pub(crate) root: Option<Node>,
    /// What is wrong with it.
    pub(crate) findings: Vec<Finding>,
    /// The places where something is missing in the tree, because of what was found.
    pub(crate) left_out: Vec<Range<usize>>,
}

/// Reads one file.
pub(crate) fn read(bytes: &[u8], name: &str) -> Read {
    let decoded = match decode(bytes, name) {
        Ok(decoded) => decoded,
        Err(finding) => {
            let source = Arc::new(Source { name: name.to_owned(), text: String::new() });
            return Read { source, root: None, findings: vec![finding], left_out: Vec::new() };
        }
    };
    let text = decoded.readable();
    let mut reader = Reader {
        places: Places::new(&text),
        parser: Parser::new_from_str(&text),
        source: &decoded.source,
        findings: Vec::new(),
        left_out: Vec::new(),
        nodes: 0,
    };
    let root = match reader.document() {
        Ok(root) => root,
        Err(fatal) => {
            // Tabs stand for any number of spaces: what they break is no second mistake.
            if decoded.findings.is_empty() {
                reader.findings.push(*fatal);
            }
            None
        }
    };
    let (own, left_out) = (reader.findings, reader.left_out);
    let mut findings = decoded.findings.clone();
    findings.extend(own);
    if root.is_none() && findings.is_empty() {
        let empty = Finding::error(1005, format!("{name}: the file is empty"));
        findings.push(
            empty.hinted("`cozy schema cloud`, `bundle` and `component` print what can stand in such a file"),
        );
    }
    Read { source: Arc::clone(&decoded.source), root, findings, left_out }
}

/// From the parser's character counts to bytes.
struct Places {
    /// For each character its byte; `None`: the text is ASCII, and they are the same.
    bytes: Option<Vec<usize>>,
    len: usize,
}

impl Places {
    fn new(text: &str) -> Self {
        let bytes = (!text.is_ascii()).then(|| text.char_indices().map(|(at, _)| at).collect());
        Self { bytes, len: text.len() }
    }

    fn byte(&self, character: usize) -> usize {
        match &self.bytes {
            None => character.min(self.len),
            Some(bytes) => bytes.get(character).copied().unwrap_or(self.len),
        }
    }
}

struct Reader<'a> {
    places: Places,
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    source: &'a Arc<Source>,
    findings: Vec<Finding>,
    left_out: Vec<Range<usize>>,
    /// Keys and values read so far.
    nodes: usize,
}

type Fatal = Box<Finding>;

impl<'a> Reader<'a> {
    fn finding(&self, code: u16, range: Range<usize>, message: String, hint: &str) -> Finding {
        let mut finding = Finding::error(code, message).hinted(hint);
        finding.place = Some((Arc::clone(self.source), range));
        finding
    }

    /// Keeps a finding and goes on; with too many of them, gives up.
    fn push(&mut self, finding: Finding) -> Result<(), Fatal> {
        if self.findings.len() + 1 >= MOST {
            return Err(Box::new(finding));
        }
        self.findings.push(finding);
        Ok(())
    }

    fn next(&mut self) -> Result<(Event<'a>, Range<usize>), Fatal> {
        match self.parser.next() {
            Some(Ok((event, span))) => {
                let start = self.places.byte(span.start.index());
                let end = self.places.byte(span.end.index()).max(start);
                Ok((event, start..end))
            }
            Some(Err(error)) => {
                let at = self.places.byte(error.marker().index());
                if error.info().contains("unknown anchor") {
                    let message = "aliases are not allowed".to_owned();
                    return Err(Box::new(self.finding(1009, at..at, message, "write the value out")));
                }
                let message = format!("not YAML: {}", error.info());
                Err(Box::new(self.finding(
                    1006,
                    at..at,
                    message,
                    "check indentation, colons and quotes here and above",
                )))
            }
            None => Ok((Event::StreamEnd, self.places.len..self.places.len)),
        }
    }

    fn document(&mut self) -> Result<Option<Node>, Fatal> {
        let mut root = None;
        loop {
            let (event, range) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::DocumentStart(_) if root.is_some() => {
                    let message = "a second document starts here".to_owned();
                    let hint = "one file holds one document: remove the `---`";
                    let second = self.finding(1007, range, message, hint);
                    self.push(second)?;
                    return Ok(root);
                }
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
                event => {
                    let node = self.node(event, range, 0)?;
                    if node.value != NodeValue::Scalar(Value::Null) {
                        root = Some(node);
                    }
                }
            }
        }
    }

    fn node(&mut self, event: Event<'a>, range: Range<usize>, depth: usize) -> Result<Node, Fatal> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            let message = format!("the file has more than {MOST_NODES} keys and values");
            return Err(Box::new(self.finding(1013, range, message, "is it the right file?")));
        }
        if depth > DEEPEST {
            let message = format!("nested deeper than {DEEPEST} levels");
            return Err(Box::new(self.finding(1008, range, message, "nothing in these files is that deep")));
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.plain_only(anchor, tag.is_some(), &range)?;
                let value = if style == ScalarStyle::Plain {
                    resolve(text)
                } else {
                    Value::String(text.into_owned())
                };
                Ok(Node { range, value: NodeValue::Scalar(value) })
            }
            Event::SequenceStart(anchor, tag) => {
                self.plain_only(anchor, tag.is_some(), &range)?;
                let mut items = Vec::new();
                loop {
                    let (event, inner) = self.next()?;
                    if event == Event::SequenceEnd {
                        return Ok(Node {
                            range: range.start..inner.end.max(range.end),
                            value: NodeValue::List(items),
                        });
                    }
                    items.push(self.node(event, inner, depth + 1)?);
                }
            }
            Event::MappingStart(anchor, tag) => {
                self.plain_only(anchor, tag.is_some(), &range)?;
                self.mapping(range, depth)
            }
            Event::Alias(_) => {
                let finding = self.finding(
                    1009,
                    range.clone(),
                    "aliases are not allowed".to_owned(),
                    "write the value out",
                );
                self.push(finding)?;
                self.left_out.push(self.source.first_line(&range));
                Ok(Node { range, value: NodeValue::Scalar(Value::Null) })
            }
            _ => Err(Box::new(self.finding(
                1006,
                range,
                "not YAML: a value is missing".to_owned(),
                "check the lines above",
            ))),
        }
    }

    fn mapping(&mut self, range: Range<usize>, depth: usize) -> Result<Node, Fatal> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut seen = std::collections::HashMap::new();
        loop {
            let (event, inner) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Node {
                    range: range.start..inner.end.max(range.end),
                    value: NodeValue::Map(entries),
                });
            }
            let key = self.node(event, inner, depth + 1)?;
            let (event, inner) = self.next()?;
            let value = self.node(event, inner, depth + 1)?;
            let text = match key.value {
                NodeValue::Scalar(Value::String(text)) => text,
                NodeValue::Scalar(other @ (Value::Bool(_) | Value::Number(_))) => {
                    // `on: x`, `8080: y`: the text as it was written.
                    self.source.text.get(key.range.clone()).map_or_else(|| other.to_string(), str::to_owned)
                }
                NodeValue::Scalar(_) | NodeValue::List(_) | NodeValue::Map(_) => {
                    let place = key.range.clone();
                    let finding =
                        self.finding(1010, key.range, "this cannot be a key".to_owned(), "keys are words");
                    self.push(finding)?;
                    self.left_out.push(place);
                    continue;
                }
            };
            if text == "<<" {
                self.left_out.push(key.range.clone());
                let finding = self.finding(
                    1009,
                    key.range,
                    "merge keys are not allowed".to_owned(),
                    "write the values out",
                );
                self.push(finding)?;
            } else if let Some(first) = seen.get(&text) {
                let line = self.source.text[..*first].matches('\n').count() + 1;
                let message = format!("duplicate key `{text}`: it is already on line {line}");
                let finding = self.finding(1011, key.range, message, "keep one of them");
                self.push(finding)?;
            } else {
                seen.insert(text.clone(), key.range.start);
                entries.push((Key { text, range: key.range }, value));
            }
        }
    }

    fn plain_only(&mut self, anchor: usize, tagged: bool, range: &Range<usize>) -> Result<(), Fatal> {
        if anchor > 0 {
            let finding = self.finding(
                1009,
                range.clone(),
                "anchors are not allowed".to_owned(),
                "write the value out where it is used",
            );
            self.push(finding)?;
        }
        if tagged {
            let finding =
                self.finding(1012, range.clone(), "tags are not allowed".to_owned(), "remove the `!…`");
            self.push(finding)?;
        }
        Ok(())
    }
}

/// The type of a plain scalar in YAML 1.2's core schema. `yes` and `on` stay
/// text: where a boolean is wanted, the schema says so.
fn resolve(text: Cow<'_, str>) -> Value {
    match text.as_ref() {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix('-').unwrap_or(&text);
    let starts_with_digit = digits.starts_with(|c: char| c.is_ascii_digit());
    if starts_with_digit && let Ok(integer) = text.parse::<i64>() {
        // `0644` is no number that anybody means: it stays text.
        if digits == "0" || !digits.starts_with('0') {
            return Value::Number(Number::from(integer));
        }
    } else if starts_with_digit
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'))
        && let Ok(float) = text.parse::<f64>()
        && let Some(number) = Number::from_f64(float)
    {
        return Value::Number(number);
    }
    Value::String(text.into_owned())
}
