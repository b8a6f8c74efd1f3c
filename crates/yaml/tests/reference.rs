//! The reader against libyaml-safer, a port of libyaml: the same events, or
//! both refuse.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::borrow::Cow;
use std::fmt::Write as _;

use cozy_yaml::{Properties, Style, Visitor, read};
use libyaml_safer::{EventData, Parser, ScalarStyle};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

#[derive(Default)]
struct Events(String);

impl Events {
    fn add(&mut self, what: &str, properties: &Properties<'_>) {
        let Properties { anchor, tag } = properties;
        writeln!(self.0, "{what} &{} !{}", anchor.unwrap_or_default(), tag.as_deref().unwrap_or_default())
            .unwrap();
    }
}

impl<'a> Visitor<'a> for Events {
    fn document(&mut self, _: u64) {
        self.0 += "document\n";
    }
    fn document_end(&mut self) {
        self.0 += "end\n";
    }
    fn scalar(&mut self, text: Cow<'a, str>, style: Style, properties: Properties<'a>) -> Result<(), String> {
        self.add(&format!("{style:?} {text:?}"), &properties);
        Ok(())
    }
    fn sequence(&mut self, properties: Properties<'a>) -> Result<(), String> {
        self.add("[", &properties);
        Ok(())
    }
    fn sequence_end(&mut self) -> Result<(), String> {
        self.0 += "]\n";
        Ok(())
    }
    fn mapping(&mut self, properties: Properties<'a>) -> Result<(), String> {
        self.add("{", &properties);
        Ok(())
    }
    fn mapping_end(&mut self) -> Result<(), String> {
        self.0 += "}\n";
        Ok(())
    }
    fn alias(&mut self, name: &'a str) -> Result<(), String> {
        writeln!(self.0, "*{name}").unwrap();
        Ok(())
    }
}

fn ours(text: &str) -> Result<String, String> {
    let mut events = Events::default();
    read(text, 100, &mut events).map_err(|error| error.to_string())?;
    Ok(events.0)
}

/// `None`: the reference panics.
fn reference(text: &str) -> Option<Result<String, String>> {
    let text = text.to_owned();
    std::panic::catch_unwind(move || {
        let mut bytes = text.as_bytes();
        let mut parser = Parser::new();
        parser.set_input_string(&mut bytes);
        let mut events = Events::default();
        loop {
            let event = match parser.parse() {
                Ok(event) => event.data,
                Err(error) => return Err(error.to_string()),
            };
            let of = |anchor: &Option<String>, tag: Option<String>| {
                (anchor.clone().unwrap_or_default(), tag.unwrap_or_default())
            };
            let mut add = |what: &str, (anchor, tag): (String, String)| {
                writeln!(events.0, "{what} &{anchor} !{tag}").unwrap();
            };
            match event {
                EventData::StreamStart { .. } => {}
                EventData::StreamEnd => return Ok(events.0),
                EventData::DocumentStart { .. } => events.0 += "document\n",
                EventData::DocumentEnd { .. } => events.0 += "end\n",
                EventData::Alias { anchor } => writeln!(events.0, "*{anchor}").unwrap(),
                EventData::Scalar { anchor, tag, value, style, .. } => {
                    let style = match style {
                        ScalarStyle::SingleQuoted => Style::SingleQuoted,
                        ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
                        ScalarStyle::Literal => Style::Literal,
                        ScalarStyle::Folded => Style::Folded,
                        _ => Style::Plain,
                    };
                    add(&format!("{style:?} {value:?}"), of(&anchor, tag));
                }
                EventData::SequenceStart { anchor, tag, .. } => add("[", of(&anchor, tag)),
                EventData::SequenceEnd => events.0 += "]\n",
                EventData::MappingStart { anchor, tag, .. } => add("{", of(&anchor, tag)),
                EventData::MappingEnd => events.0 += "}\n",
            }
        }
    })
    .ok()
}

fn same(text: &str) -> Result<(), String> {
    // Here goyaml differs from libyaml, and we follow goyaml: `:` ends a plain
    // scalar in a flow collection before a blank only, and `\\/` is no escape.
    let like_goyaml = flow_colon(text) || text.contains("\\/");
    // Anchors and tags around `?` are not read alike in every place; nobody writes them.
    let explicit = text.contains('?') && text.contains(['!', '&']);
    if like_goyaml || explicit {
        return Ok(());
    }
    let Some(expected) = reference(text) else { return Ok(()) };
    match (&expected, ours(text)) {
        (Ok(expected), Ok(found)) if *expected == found => Ok(()),
        (Err(_), Err(_)) => Ok(()),
        (_, found) => Err(format!("{text:?}\n--- libyaml\n{expected:?}\n--- ours\n{found:?}")),
    }
}

/// Whether a `:` has an indicator of flow collections behind it.
fn flow_colon(text: &str) -> bool {
    [":,", ":?", ":[", ":]", ":{", ":}"].iter().any(|pair| text.contains(pair))
}

const HANDWRITTEN: &[&str] = &[
    "",
    "\n",
    "# c\n",
    "---\n",
    "---\n---\n",
    "...\n",
    "--- a\n",
    "--- |\n  a\n",
    "--- a: b\n",
    "--- {a: b}\n",
    "--- # c\na: b\n",
    "a\n",
    "a: b\n",
    "a: b\nc: d\n",
    "a:\n  b: c\n",
    "a:\n- b\n- c\nd: e\n",
    "a:\n  - b\n  -\n  - c: d\n    e: f\n",
    "- - a\n  - b\n- c\n",
    "- a: 1\n  b:\n  - x\n  - y\n- c\n",
    "a: b c   d  # x\n",
    "a: b#c\n",
    "a: b:c\n",
    "a: http://x/y?z=1,2[3]\n",
    "a: 'it''s'\n",
    "a: \"x\\ty\\u00e9\\\"\"\n",
    "a: 'x\n  y\n\n  z'\n",
    "a: \"x\n  y\\\n   z\"\n",
    "a: x\n  y\n\n\n  z\n",
    "a:\n  x\n  y\nb: c\n",
    "a: |\n  x\n   y\n\n  z\n\n\nb: c\n",
    "a: >\n  x\n  y\n\n  z\n   w\n  v\n",
    "a: |-\n  x\n\n",
    "a: |+\n  x\n\n",
    "a: |2\n    x\n",
    "a: >-\n  x\n  y\n",
    "a: |\n\n  x\n",
    "a: |\nb: c\n",
    "a: | # c\n  x\n",
    "a: |x\n",
    "[a, b, c]\n",
    "[a, , b]\n",
    "[a, b,]\n",
    "{a: b, c, d: }\n",
    "{a: b\n, c: [1,\n 2]}\n",
    "[a: b, c]\n",
    "{\"a\":b}\n",
    "{a:b}\n",
    "[{a: b}: c]\n",
    "[a, b]: c\n",
    "{a: b}: c\n",
    "? a\n: b\n",
    "? a\n",
    "? - x\n: - y\n",
    "? a\n? b\n: c\n",
    ": a\n",
    "a: &x b\nc: *x\n",
    "a: &x\n  b: c\n",
    "&x a: b\n",
    "&x\na: b\n",
    "!!str a: !!int 1\n",
    "a: !foo b\n",
    "a: !<x:y> b\n",
    "a: !!binary |\n  eA==\n",
    "a: *x\n",
    "*x : b\n",
    "a: b: c\n",
    "a: - b\n",
    "a\nb: c\n",
    "a: b\n c\n",
    "a: b\n c: d\n",
    "a: b\n  c: d\n",
    "  a: b\n c: d\n",
    "a: b\n- c\n",
    "- a\nb: c\n",
    "a:\n\tb: c\n",
    "a:\tb\n",
    "a: \tb\n",
    "-\ta\n",
    "- \ta\n",
    "a: 'b' c\n",
    "a: 'b\n",
    "a: [b\n",
    "a: @b\n",
    "a: `b\n",
    "a: %b\n",
    "%YAML 1.1\n---\na: b\n",
    "%FOO\n---\na\n",
    "a: b\n---\nc: d\n...\ne: f\n",
    "a: b\n...\n",
    "a\n...\nb\n",
    "a: \"\\x41\\q\"\n",
    "a: b\r\nc: d\r\n",
    "a: \u{e9}\u{1f600}\n",
    "\u{feff}a: b\n",
    "a: \u{85}b\n",
    "a: x\u{2028}y\n",
    "a: \u{7f}\n",
    "a: - \n",
    "a: -b\n",
    "a: ?b\n",
    "a: :b\n",
    "- -\n",
    "-\n",
    "- ? a\n  : b\n",
    "a: [b, 'c d', \"e\"]\nf: {g: h}\n",
    "a: [\n  b,\n  c\n]\n",
    "a: {\n  b: c,\n}\n",
    "a:\n  [b]\n",
    "a:\n  'b'\n",
    "a:\n  \"b\": c\n",
    "'a': b\n",
    "\"a\" : b\n",
    "a : b\n",
    "a:  b\n",
    "a: ''\n",
    "a: \"\"\n",
    "a:\n\n\n  b\n",
    "a: |\n  x",
    "a: x",
    "- |\n x\n- y\n",
    "- >\n\n x\n\n",
    "a: >+\n\n",
    "a: |1\n x\n",
    "a: # c\n  b\n",
    "a: b # c\n# d\nc: d\n",
    "# x\na: b\n  # y\nc: d\n",
    "a:\n# x\n  b: c\n",
    "a:\n  b: c\n # x\n  d: e\n",
    "a: b\n  \n\nc: d\n",
    "a: {b: [c, {d: e}], f: g}\n",
    "a: [b]c\n",
    "a: 'b'#c\n",
    "a: {b: c}#d\n",
    "{a: b}c\n",
    "a: &x\nb: c\n",
    "a: !!str\nb: c\n",
    "- &x\n- b\n",
    "- &x a: b\n  c: d\n",
    "a: [&x b, *x]\n",
    "{? a : b}\n",
    "[? a : b, c]\n",
    "[? a, b]\n",
    "[: b]\n",
    "{: b}\n",
    "[a\n b: c]\n",
    "{a\n b: c}\n",
    "a:\n - b\n - c\n",
    "a:\n - b\n -c\n",
    "<<: *x\n",
    "a: <<\n",
    "a: [b: c, d: e]\n",
    "a: [b:c, d]\n",
    "a: {b: , c: d}\n",
    "a: [',', \":\"]\n",
    "a: [b#c, d]\n",
    "a: [b #c\n, d]\n",
    "a:\n  - b: |\n      x\n    c: d\n",
    "---\n# nothing\n---\na: b\n",
    "a: b\n--- \nc\n",
    "--- !!map\na: b\n",
    "--- &x\na: b\n",
    "---\ta\n",
    "a: b ---\n",
    "---a: b\n",
    "a: '---'\n",
    "a: '\n--- '\n",
    "key with spaces: v\n",
    "a: \"b\"\"c\"\n",
    "a: b 'c' \"d\"\n",
];

#[test]
fn handwritten_documents_are_read_alike() {
    let mut different = Vec::new();
    for text in HANDWRITTEN {
        if let Err(difference) = same(text) {
            different.push(difference);
        }
    }
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), different.join("\n\n"));
}

/// Texts of what YAML is made of.
fn yamlish() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        4 => "[a-c]{1,2}", 3 => Just(": ".to_owned()), 3 => Just("\n".to_owned()), 2 => Just("\n  ".to_owned()), 1 => Just("\n    ".to_owned()), 2 => Just("- ".to_owned()), 2 => Just("\n- ".to_owned()),
        1 => Just("[".to_owned()), 1 => Just("]".to_owned()), 1 => Just("{".to_owned()), 1 => Just("}".to_owned()), 1 => Just(", ".to_owned()),
        1 => Just("'".to_owned()), 1 => Just("\"".to_owned()), 1 => Just("|\n".to_owned()), 1 => Just(">-\n".to_owned()), 1 => Just(" #c".to_owned()), 1 => Just("&x ".to_owned()), 1 => Just("*x".to_owned()),
        1 => Just("!t ".to_owned()), 1 => Just(" ".to_owned()), 1 => Just("\n---\n".to_owned()), 1 => Just("1".to_owned()), 1 => Just(":".to_owned()), 1 => Just("? ".to_owned()), 1 => Just("\\n".to_owned()), 1 => Just("\t".to_owned()),
    ];
    proptest::collection::vec(token, 1..14).prop_map(|tokens| tokens.concat())
}

#[test]
fn generated_documents_are_read_alike() {
    let mut runner = TestRunner::deterministic();
    let documents = yamlish();
    // The reference panics at some texts, and would say so.
    std::panic::set_hook(Box::new(|_| {}));
    let mut different: Vec<String> =
        (0..4_000).filter_map(|_| same(&documents.new_tree(&mut runner).unwrap().current()).err()).collect();
    drop(std::panic::take_hook());
    different.sort_by_key(String::len);
    different.dedup();
    let shortest: Vec<&str> = different.iter().take(12).map(String::as_str).collect();
    assert!(different.is_empty(), "{} differ:\n{}", different.len(), shortest.join("\n\n"));
}

#[test]
fn nesting_is_bounded() {
    assert!(ours(&"[".repeat(100_000)).unwrap_err().contains("too deep"));
    assert!(ours(&"- ".repeat(100_000)).unwrap_err().contains("too deep"));
    assert!(ours(&"a: {".repeat(100_000)).unwrap_err().contains("too deep"));
}
