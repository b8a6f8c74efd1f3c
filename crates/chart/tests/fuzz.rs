//! Hostile templates, values, YAML and archives, made by seeded mutation of
//! the test charts: never a panic, never longer than the limit of time.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod support;

use std::time::{Duration, Instant};

use support::cases;
use support::job::Job;
use support::ours;
use support::random::Seed;

/// How long each target runs: 15 s in CI, `FUZZ_SECONDS` by hand.
fn budget() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "the caller says how long")]
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(15))
}

/// The slowest answer that is allowed, in an unoptimised build beside others.
const SLOWEST: Duration = Duration::from_secs(2);

/// Pieces that break lexers, parsers and readers.
const PIECES: &[&str] = &[
    "{{", "}}", "{{-", "-}}", "/*", "*/", "\"", "`", "'", "(", ")", "|", "$", "$x", ":=", "=", ".", "..", ".Values", "end", "if",
    "range", "with", "define \"a\"", "block", "template \"a\"", "include \"a\" .", "tpl", "else", "break", "continue", "nil", "0x",
    "1e999", "-", "9223372036854775808", "\u{0}", "\u{feff}", "\r", "\t", "é", "🐎", "&a", "*a", "<<:", "!!binary", "? ", "- ", ": ",
    "|2-", ">+", "%YAML", "---\n", "...\n", "[", "]", "{", "}", ",", "#", "~", "\\", "\\u12", "printf \"%*d\" 99999999 1",
    "until 99999999", "repeat 99999999 \"x\"", "range 9223372036854775807", "untilStep 0 9223372036854775807 1", "seq 1 99999999",
    "randAlphaNum 99999999", "index", "slice", "indent 99999999", "nindent -5", "set", "merge", "regexMatch \"(a*)*$\"", "toYaml .",
    "printf \"%999999999d\" 1", "trunc -9223372036854775808", "substr", "round 1.5 999999999", "duration 1e30", "semver",
    "derivePassword", "buildCustomCert", "decryptAES", "fromYaml", "fromToml", "urlParse", "toDate", "dig", "chunk 0",
];

/// `text` with one to four cuts, copies, swaps or insertions.
fn mutated(seed: &mut Seed, text: &[u8]) -> Vec<u8> {
    let mut bytes = text.to_vec();
    for _ in 0..=seed.below(4) {
        let (a, b) = (seed.below(bytes.len() + 1), seed.below(bytes.len() + 1));
        let (start, end) = (a.min(b), a.max(b).min(a.min(b) + 40));
        match seed.below(6) {
            0 => drop(bytes.drain(start..end)),
            1 => {
                let copy = bytes[start..end].to_vec();
                bytes.splice(start..start, copy);
            }
            2 => {
                if let Some(byte) = bytes.get_mut(start) {
                    *byte ^= 1 << seed.below(8);
                }
            }
            _ => drop(bytes.splice(start..start, seed.pick(PIECES).bytes())),
        }
    }
    bytes
}

/// Runs `target` on inputs that `make` makes until the time is over.
fn fuzz(name: &str, first: u64, make: impl Fn(&mut Seed) -> Job) {
    let start = Instant::now();
    let mut count = 0;
    let mut slowest = (Duration::ZERO, 0);
    while start.elapsed() < budget() {
        let number = first + count;
        let job = make(&mut Seed(number));
        let began = Instant::now();
        let result = std::panic::catch_unwind(|| ours::answer(&job));
        let took = began.elapsed();
        assert!(result.is_ok(), "{name}: seed {number} panics: {job:#?}");
        assert!(took <= SLOWEST, "{name}: seed {number} takes {took:?}: {job:#?}");
        slowest = slowest.max((took, number));
        count += 1;
    }
    assert!(count > 20, "{name}: {count} inputs, the slowest took {slowest:?}");
}

fn texts() -> Vec<String> {
    cases::snippets()
        .into_iter()
        .flat_map(|(_, snippets)| snippets)
        .map(|snippet| snippet.job.files.unwrap()["templates/NOTES.txt"].clone())
        .filter(|text| !text.contains("gen") && !text.contains("derivePassword") && !text.contains("crypt") && !text.contains("htpasswd"))
        .collect()
}

#[test]
fn templates() {
    let texts = texts();
    fuzz("templates", 1_000_000, |seed| {
        let text = seed.pick(&texts).clone();
        let text = mutated(seed, text.as_bytes());
        Job::snippet(&String::from_utf8_lossy(&text), "s: x\nlist: [1]\nmap: {a: 1}\n")
    });
}

#[test]
fn values() {
    let values = fs_err::read_to_string(cases::folder().join("yaml/chart/values.yaml")).unwrap();
    fuzz("values", 2_000_000, |seed| {
        let text = mutated(seed, values.as_bytes());
        let mut job = Job::snippet("{{ toYaml .Values }}{{ toJson .Values }}{{ toToml .Values }}", "a: {b: c}\n");
        job.values.push(String::from_utf8_lossy(&text).into_owned());
        job
    });
}

#[test]
fn flags() {
    let flags = ["a.b=1,c[0].d=x", "l={a,b,c}", "a\\.b=null,c[2]=3", "{\"a\": [1, {}]}", "x={\"a\":1}"];
    fuzz("flags", 3_000_000, |seed| {
        let flag = seed.pick(&flags).as_bytes().to_vec();
        let text = String::from_utf8_lossy(&mutated(seed, &flag)).into_owned();
        let mut job = Job::snippet("{{ toJson .Values }}", "a: {b: c}\nc: [1]\n");
        match seed.below(4) {
            0 => job.set.push(text),
            1 => job.set_string.push(text),
            2 => job.set_json.push(text),
            _ => job.set_literal.push(text),
        }
        job
    });
}

#[test]
fn metadata() {
    let file = |path: &str| fs_err::read_to_string(cases::folder().join("dependencies/chart").join(path)).unwrap();
    let (metadata, values) = (file("Chart.yaml"), file("values.yaml"));
    let schema = fs_err::read_to_string(cases::folder().join("schema/chart/values.schema.json")).unwrap();
    fuzz("metadata", 4_000_000, |seed| {
        let mut job = Job::snippet("{{ toJson .Values }}", &values);
        let files = job.files.as_mut().unwrap();
        let (path, text) = *seed.pick(&[
            ("Chart.yaml", &metadata),
            ("values.schema.json", &schema),
            ("requirements.yaml", &metadata),
            (".helmignore", &values),
            ("charts/a/Chart.yaml", &metadata),
        ]);
        let text = mutated(seed, text.as_bytes());
        files.insert(path.to_owned(), String::from_utf8_lossy(&text).into_owned());
        job
    });
}

#[test]
fn archives() {
    let packed = fs_err::read(cases::folder().join("packed/chart/charts/inner-0.1.0.tgz")).unwrap();
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < budget() {
        let mut seed = Seed(5_000_000 + count);
        let bytes = support::archive::hostile(&mut seed, &packed, mutated);
        let began = Instant::now();
        let result = std::panic::catch_unwind(|| ours::archive(&bytes));
        assert!(result.is_ok(), "archives: seed {} panics", 5_000_000 + count);
        let took = began.elapsed();
        assert!(took <= SLOWEST, "archives: seed {} takes {took:?}", 5_000_000 + count);
        count += 1;
    }
    assert!(count > 20, "archives: {count} inputs");
}
