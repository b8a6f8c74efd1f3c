//! Hostile templates, values, YAML and archives, made by seeded mutation of
//! the test charts: never a panic, never longer than the limit of time.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::support::cases;
use crate::support::job::Job;
use crate::support::ours;
use crate::support::random::Seed;
use crate::support::time::timed;

/// How long each target runs: `tests/run` says 15 s.
fn budget() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "the caller says how long")]
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(2))
}

/// The slowest answer that is allowed, in an unoptimised build beside others.
const SLOWEST: Duration = Duration::from_secs(2);

/// Pieces that break lexers, parsers and readers, between spaces.
const PIECES: &str = concat!(
    "{{ }} {{- -}} /* */ \" ` ' ( ) | $ $x := = . .. .Values end if range with define block template include tpl ",
    "else break continue nil 0x 1e999 - 9223372036854775808 é 🐎 &a *a <<: !!binary ? - : |2- >+ %YAML [ ] { } , # ~ \\ ",
    "\\u12 index slice set merge toYaml printf trunc substr round semver urlParse toDate dig chunk \u{0} \u{feff} 0644 1:30",
);

/// Pieces that have spaces or line breaks in them.
const SPACED: &[&str] = &["\r", "\t", "\n", " ", "---\n", "...\n", "- ", ": ", "? ", " #", "\n  - "];

/// What would take long, or much memory.
const COSTLY: &str = concat!(
    "until 99999999;repeat 99999999 \"x\";untilStep 0 9223372036854775807 1;seq 1 99999999;randAlphaNum 99999999;",
    "indent 99999999 \"x\";nindent 99999999 \"x\";printf \"%999999999d\" 1;printf \"%*d\" 99999999 1;round 1.5 999999999;",
    "regexMatch \"(a*)*$\" (repeat 9999 \"a\");repeat 9999 (repeat 9999 \"x\");chunk 1 (until 9999999);",
    "range 9223372036854775807 }}x{{ end;tpl (repeat 9999 \"{{ \") .;tpl (repeat 9999 \"(\") .;toYaml (until 9999999);",
    "fromYaml (repeat 99999 \"[\");fromJson (repeat 99999 \"[\");fromToml (repeat 99999 \"a.\");fromYaml (repeat 99999 \"- \");",
    "define \"f\" }}{{ include \"f\" . }}{{ end }}{{ include \"f\" .;define \"g\" }}{{ template \"g\" . }}{{ end }}{{ template \"g\" .;",
    "define \"h\" }}{{ tpl \"{{ include \\\"h\\\" . }}\" . }}{{ end }}{{ include \"h\" .;wrap 1 (repeat 999999 \"a \");",
    "printf \"%.WIDEf|%WIDEd|%0WIDE.1f\" 1.5 7 2.5;printf \"%.WIDEe|%.WIDEg|%#.WIDEg\" 1.5 0.1 1e30;",
    "printf \"%.WIDEv|%.WIDEd|%.WIDEU|%.WIDEx|%WIDEs\" 1.5 7 65 1.5 .;",
    "fromYaml \"a: &a [x,x,x,x,x,x,x,x]\\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e]\\ng: [*f,*f,*f,*f,*f,*f,*f,*f]\"",
);

/// `text` with one to four cuts, copies, swaps or insertions.
fn mutated(seed: &mut Seed, text: &[u8]) -> Vec<u8> {
    let mut bytes = text.to_vec();
    for _ in 0..=seed.below(4) {
        let (a, b) = (seed.below(bytes.len() + 1), seed.below(bytes.len() + 1));
        let (start, end) = (a.min(b), a.max(b).min(a.min(b) + 40));
        match seed.below(8) {
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
            3 => drop(bytes.splice(start..start, seed.pick(SPACED).bytes())),
            _ => {
                let pieces: Vec<_> = PIECES.split(' ').collect();
                drop(bytes.splice(start..start, seed.pick(&pieces).bytes()));
            }
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
        let (result, took) = timed(|| std::panic::catch_unwind(|| ours::answer(&job)));
        assert!(result.is_ok(), "{name}: seed {number} panics: {job:#?}");
        assert!(took <= SLOWEST, "{name}: seed {number} takes {took:?}: {job:#?}");
        slowest = slowest.max((took, number));
        count += 1;
    }
    assert!(count > 20, "{name}: {count} inputs, the slowest took {slowest:?}");
}

/// Snippets that end soon, as texts.
static TEXTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let slow = ["gen", "derivePassword", "crypt", "htpasswd", "rand", "now", "shuffle", "uuid"];
    cases::snippets()
        .into_iter()
        .flat_map(|(_, snippets)| snippets)
        .map(|snippet| snippet.job.files.unwrap()["templates/NOTES.txt"].clone())
        .filter(|text| !slow.iter().any(|word| text.contains(word)))
        .collect()
});

static VALUES: LazyLock<String> =
    LazyLock::new(|| fs_err::read_to_string(cases::folder().join("yaml/chart/values.yaml")).unwrap());

/// A bent template.
pub(crate) fn template(seed: &mut Seed) -> Job {
    let text = seed.pick(&TEXTS).clone();
    let text = mutated(seed, text.as_bytes());
    // Helm takes byte order marks out of files on disk only.
    let text = String::from_utf8_lossy(&text).replace('\u{fffd}', "?");
    Job::snippet(text.trim_start_matches('\u{feff}'), "s: x\nlist: [1]\nmap: {a: 1}\n")
}

/// A bent value file.
pub(crate) fn value_file(seed: &mut Seed) -> Job {
    let lines: Vec<_> = VALUES.lines().collect();
    let start = seed.below(lines.len());
    let text = lines[start..(start + 6).min(lines.len())].join("\n");
    let text = mutated(seed, text.as_bytes());
    let mut job = Job::snippet("{{ toYaml .Values }}{{ toJson .Values }}", "a: {b: c}\n");
    job.values.push(String::from_utf8_lossy(&text).into_owned());
    job
}

/// A bent `--set` flag.
pub(crate) fn flag(seed: &mut Seed) -> Job {
    let flags = ["a.b=1,c[0].d=x", "l={a,b,c}", "a\\.b=null,c[2]=3", "{\"a\": [1, {}]}", "x={\"a\":1}"];
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
}

#[test]
fn templates() {
    fuzz("templates", 1_000_000, |seed| {
        let job = template(seed);
        if seed.below(9) == 0 { costly(seed, job) } else { job }
    });
}

/// Adds something that would take long or much to a template.
fn costly(seed: &mut Seed, mut job: Job) -> Job {
    let pieces: Vec<_> = COSTLY.split(';').collect();
    if let Some(text) = job.files.as_mut().and_then(|files| files.get_mut("templates/NOTES.txt")) {
        // Wider than what Rust's own formats take, up to Go's widest.
        let width = (65_000 + seed.below(935_001)).to_string();
        *text = format!("{{{{ {} }}}}{text}", seed.pick(&pieces).replace("WIDE", &width));
    }
    job
}

#[test]
fn values() {
    fuzz("values", 2_000_000, value_file);
}

#[test]
fn flags() {
    fuzz("flags", 3_000_000, flag);
}

#[test]
fn metadata() {
    let file =
        |path: &str| fs_err::read_to_string(cases::folder().join("dependencies/chart").join(path)).unwrap();
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
        let bytes = crate::support::archive::hostile(&mut seed, &packed, mutated);
        let (result, took) = timed(|| std::panic::catch_unwind(|| ours::archive(&bytes)));
        assert!(result.is_ok(), "archives: seed {} panics", 5_000_000 + count);
        assert!(took <= SLOWEST, "archives: seed {} takes {took:?}", 5_000_000 + count);
        count += 1;
    }
    assert!(count > 20, "archives: {count} inputs");
}
