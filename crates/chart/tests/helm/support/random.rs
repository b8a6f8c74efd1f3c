//! Seeded choices, mutations of values, and calls of template functions.

use std::fmt::Write as _;

use serde_json::Value;

/// `SplitMix64`: the same seed makes the same choices everywhere.
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).expect("usize fits u64");
        usize::try_from(self.next() % bound).expect("it is below a usize")
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// What values are replaced with, as YAML flow text.
const MUTANTS: &[&str] = &[
    "null",
    "~",
    "\"\"",
    "text",
    "\"two words\"",
    "0",
    "-1",
    "1",
    "42",
    "1.5",
    "-0.5",
    "1e3",
    "1e21",
    "12345678",
    "9007199254740993",
    "12345678901234567890",
    "true",
    "false",
    "[]",
    "[1]",
    "[a, {b: 1}]",
    "[null]",
    "[[]]",
    "{}",
    "{k: v}",
    "{x: null}",
    "{a: {b: {c: d}}}",
    "0644",
    "yes",
    "\"yes\"",
    "1_000",
    "2001-01-01",
    ".inf",
    "\"0x1F\"",
    "0x1F",
    "1:30",
    "!!str 5",
    "\"1.10\"",
    "\"multi\\nline\\n\"",
    "\"\\n\"",
    "\"{{ .Release.Name }}\"",
    "\"{{ .Values.nope.x }}\"",
    "\"{{\"",
    "\"🐎 é\"",
    "\" lead and trail \"",
    "\"a: b\"",
    "\"# x\"",
    "\"- a\"",
    "\"it's \\\"q\\\"\"",
    "\"<b>&\"",
    "\"\\t\"",
    "\"\\u0007\"",
    "\"tab\\there\"",
    "\"$1 %d %s\"",
    "\"a,b,c\"",
    "\"null\"",
    "\"true\"",
    "\"-\"",
    "\"*x\"",
    "\"!x\"",
    "\"Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore\"",
];

/// A step into values.
#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Index(usize),
}

fn paths(value: &Value, at: &mut Vec<Step>, found: &mut Vec<Vec<Step>>) {
    if !at.is_empty() {
        found.push(at.clone());
    }
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                at.push(Step::Key(key.clone()));
                paths(inner, at, found);
                at.pop();
            }
        }
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                at.push(Step::Index(index));
                paths(inner, at, found);
                at.pop();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A value file that changes one or two places of `values`.
pub(crate) fn mutation(seed: &mut Seed, values: &Value) -> String {
    let mut found = Vec::new();
    paths(values, &mut Vec::new(), &mut found);
    if found.is_empty() {
        return format!("{{extra: {}}}", seed.pick(MUTANTS));
    }
    let mut overlay = Overlay::default();
    for _ in 0..=seed.below(2) {
        let path = seed.pick(&found).clone();
        let mutant = (*seed.pick(MUTANTS)).to_owned();
        match seed.below(8) {
            // a new key beside the others
            0 => {
                let mut beside: Vec<_> =
                    path.iter().take_while(|step| matches!(step, Step::Key(_))).cloned().collect();
                beside.pop();
                beside.push(Step::Key("added".to_owned()));
                overlay.put(&beside, mutant, values);
            }
            1 => overlay.put(&path, "null".to_owned(), values),
            _ => overlay.put(&path, mutant, values),
        }
    }
    overlay.text()
}

/// Nested maps whose leaves are YAML flow text.
#[derive(Default)]
struct Overlay {
    entries: Vec<(String, Leaf)>,
}

enum Leaf {
    Text(String),
    Map(Overlay),
}

impl Overlay {
    /// Lists cannot be changed in place, so a whole list is written again.
    fn put(&mut self, path: &[Step], text: String, values: &Value) {
        let Some((Step::Key(key), rest)) = path.split_first() else { return };
        let inner = values.get(key).unwrap_or(&Value::Null);
        match rest.first() {
            None => self.set(key, Leaf::Text(text)),
            Some(Step::Index(_)) => self.set(key, Leaf::Text(replaced(inner, rest, &text))),
            Some(Step::Key(_)) => {
                if !self.entries.iter().any(|(name, leaf)| name == key && matches!(leaf, Leaf::Map(_))) {
                    self.set(key, Leaf::Map(Self::default()));
                }
                for (name, leaf) in &mut self.entries {
                    if let (true, Leaf::Map(map)) = (name == key, leaf) {
                        return map.put(rest, text, inner);
                    }
                }
            }
        }
    }

    fn set(&mut self, key: &str, leaf: Leaf) {
        self.entries.retain(|(name, _)| name != key);
        self.entries.push((key.to_owned(), leaf));
    }

    fn text(&self) -> String {
        let entries = self.entries.iter().map(|(key, leaf)| {
            let value = match leaf {
                Leaf::Text(text) => text.clone(),
                Leaf::Map(map) => map.text(),
            };
            format!("{}: {value}", Value::from(key.as_str()))
        });
        format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
    }
}

/// `value` as flow text, with the place at `path` replaced.
fn replaced(value: &Value, path: &[Step], text: &str) -> String {
    let Some((step, rest)) = path.split_first() else { return text.to_owned() };
    let mut out = String::new();
    match (value, step) {
        (Value::Array(list), Step::Index(at)) => {
            for (index, inner) in list.iter().enumerate() {
                let inner = if index == *at { replaced(inner, rest, text) } else { inner.to_string() };
                let _ = write!(out, "{}{inner}", if index > 0 { ", " } else { "" });
            }
            format!("[{out}]")
        }
        (Value::Object(map), Step::Key(at)) => {
            for (index, (key, inner)) in map.iter().enumerate() {
                let inner = if key == at { replaced(inner, rest, text) } else { inner.to_string() };
                let _ = write!(
                    out,
                    "{}{}: {inner}",
                    if index > 0 { ", " } else { "" },
                    Value::from(key.as_str())
                );
            }
            format!("{{{out}}}")
        }
        (other, _) => other.to_string(),
    }
}

/// Arguments of random calls. Integers stay small, as some functions make
/// lists or texts of that length.
const ARGUMENTS: &[&str] = &[
    "nil",
    "true",
    "false",
    "0",
    "1",
    "2",
    "-1",
    "5",
    "'a'",
    "0.0",
    "1.5",
    "-2.5",
    "1e21",
    "\"\"",
    "\"a\"",
    "\"hello World\"",
    "\"5\"",
    "\"-3\"",
    "\"1.5\"",
    "\"true\"",
    "\"a.b.c\"",
    "\"a,b\"",
    "\"b\"",
    "\"é🐎\"",
    "\" x \"",
    "\"1.2.3\"",
    "\"^1.2\"",
    "\"[a-z]+\"",
    "\"$1\"",
    "\"a: 1\"",
    "\"[1, 2]\"",
    "\"{\\\"a\\\": 1}\"",
    "\"aGVsbG8=\"",
    "\"%v %d %s\"",
    "\"2006-01-02\"",
    "\"2021-03-04\"",
    "\"1h30m\"",
    "\"line\\nbreak\"",
    "\"yes\"",
    "\"~\"",
    "\"0x1F\"",
    "(list)",
    "(list 1 2 3)",
    "(list \"b\" \"a\" nil)",
    "(list (dict \"a\" 1))",
    "(dict)",
    "(dict \"a\" 1)",
    "(dict \"a\" (dict \"b\" \"c\"))",
    "(dict \"k\" nil)",
    "(int64 3)",
    "(until 3)",
    "(splitList \",\" \"b,a\")",
    "(split \",\" \"x,y\")",
    "(b64dec \"/2Fi\")",
    ".Values.int",
    ".Values.float",
    ".Values.big",
    ".Values.s",
    ".Values.list",
    ".Values.words",
    ".Values.map",
    ".Values.nested",
    ".Values.missing",
    ".Values.off1",
    ".Values.none",
    ".Values.nothing",
    ".Values.multi",
    ".Values.mixed",
    ".Values.when",
    ".Release.Name",
    ".Chart.Version",
];

/// Functions whose answers differ from call to call, or that do not end soon.
const UNSTABLE: &[&str] = &[
    "ago",
    "bcrypt",
    "break",
    "continue",
    "date",
    "dateInZone",
    "date_in_zone",
    "derivePassword",
    "encryptAES",
    "genCA",
    "genCAWithKey",
    "genPrivateKey",
    "genSelfSignedCert",
    "genSelfSignedCertWithKey",
    "genSignedCert",
    "genSignedCertWithKey",
    "htmlDate",
    "htmlDateInZone",
    "htpasswd",
    "keys",
    "now",
    "randAlpha",
    "randAlphaNum",
    "randAscii",
    "randBytes",
    "randInt",
    "randNumeric",
    "shuffle",
    "uuidv4",
    "values",
    "durationRound",
];

/// A template that calls a function with random arguments, perhaps in a pipeline.
pub(crate) fn call(seed: &mut Seed, functions: &[&str]) -> String {
    let known: Vec<&str> = functions.iter().copied().filter(|name| !UNSTABLE.contains(name)).collect();
    let mut text = String::from("{{ ");
    let stages = 1 + seed.below(4) / 3;
    for stage in 0..stages {
        let _ = write!(text, "{}{}", if stage > 0 { " | " } else { "" }, seed.pick(&known));
        for _ in 0..seed.below(4) {
            if seed.below(12) == 0 {
                let _ = write!(text, " ({} {})", seed.pick(&known), seed.pick(ARGUMENTS));
            } else {
                let _ = write!(text, " {}", seed.pick(ARGUMENTS));
            }
        }
    }
    text + " }}"
}
