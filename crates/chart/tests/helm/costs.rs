//! What charts may cost whoever renders them. Each chart is rendered in a
//! process of its own, which says how much memory it took at most.

use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use cozy_chart::{Chart, File, Limits, Release, Standalone, ValueSource, Values};

use crate::support::job::Job;
use crate::support::time::timed;
use crate::support::{archive, cases, ours};

/// How long a refusal may take; not optimized, and beside others on the same cores, three times as long.
const SLOWEST: Duration = Duration::from_secs(if cfg!(debug_assertions) { 6 } else { 2 });
/// How much memory it may take, in bytes.
const MOST: usize = 512 << 20;

/// Templates that never end, or that want more than there is; one a line.
const TEMPLATES: &str = r#"{{ define "f" }}{{ include "f" . }}{{ end }}{{ include "f" . }}
{{ define "f" }}{{ template "f" . }}{{ end }}{{ template "f" . }}
{{ define "f" }}{{ tpl "{{ include \"f\" . }}" . }}{{ end }}{{ include "f" . }}
{{ define "f" }}{{ include "g" . }}{{ end }}{{ define "g" }}{{ include "f" . }}{{ end }}{{ include "f" . }}
{{ define "f" }}{{ include "f" . }}{{ include "f" . }}{{ end }}{{ include "f" . }}
{{ range 9223372036854775807 }}{{ end }}
{{ range 9223372036854775807 }}x{{ end }}
{{ range until 5000 }}{{ range until 5000 }}{{ range until 5000 }}{{ end }}{{ end }}{{ end }}
{{ range 9223372036854775807 }}{{ repeat 1000000 "x" }}{{ end }}
{{ $s := "x" }}{{ range 60 }}{{ $s = print $s $s }}{{ end }}{{ len $s }}
{{ $s := "x" }}{{ range 60 }}{{ $s = cat $s $s }}{{ end }}{{ len $s }}
{{ $s := "x" }}{{ range 60 }}{{ $s = list $s $s | join "" }}{{ end }}{{ len $s }}
{{ $s := "\"" }}{{ range 60 }}{{ $s = quote $s }}{{ end }}{{ len $s }}
{{ $s := "a" }}{{ range 60 }}{{ $s = regexReplaceAll "a" $s "aa" }}{{ end }}{{ len $s }}
{{ $s := "a" }}{{ range 90 }}{{ $s = b64enc $s }}{{ end }}{{ len $s }}
{{ $l := list 1 }}{{ range 60 }}{{ $l = concat $l $l }}{{ end }}{{ len $l }}
{{ $l := list }}{{ range 9223372036854775807 }}{{ $l = append $l 1 }}{{ end }}
{{ $d := dict }}{{ range $i := until 9999999 }}{{ $_ := set $d (toString $i) $d }}{{ end }}
{{ $d := dict }}{{ range $i := 9223372036854775807 }}{{ $_ := set $d (toString $i) (until 999) }}{{ end }}
{{ splitList "" (repeat 50000000 "x") | len }}
{{ split "" (repeat 50000000 "x") | len }}
{{ regexFindAll "x" (repeat 50000000 "x") -1 | len }}
{{ regexSplit "x" (repeat 50000000 "x") -1 | len }}
{{ fromJsonArray (printf "[%s1]" (repeat 20000000 "1,")) | len }}
{{ fromYamlArray (printf "[%s1]" (repeat 20000000 "1,")) | len }}
{{ fromYaml (repeat 99999 "{a: ") }}{{ fail "nested" }}
{{ $d := dict "a" 1 }}{{ range 60 }}{{ $d = dict "a" $d "b" $d }}{{ end }}{{ toJson $d }}
{{ $d := dict "a" 1 }}{{ range 60 }}{{ $d = dict "a" $d "b" $d }}{{ end }}{{ $d }}
{{ $d := dict "a" 1 }}{{ range 60 }}{{ $d = dict "a" $d "b" $d }}{{ end }}{{ deepCopy $d | len }}
{{ $d := dict "a" 1 }}{{ range 60 }}{{ $d = list $d $d }}{{ end }}{{ toYaml $d }}
{{ $d := dict "a" 1 }}{{ $e := dict "a" 1 }}{{ range 60 }}{{ $d = dict "a" $d "b" $d }}{{ $e = dict "a" $e "b" $e }}{{ end }}{{ deepEqual $d $e }}
{{ $d := dict "a" 1 }}{{ $e := dict "a" 1 }}{{ range 60 }}{{ $d = dict "a" $d "b" $d }}{{ $e = dict "a" $e "b" $e }}{{ end }}{{ merge $d $e | len }}
{{ $d := dict }}{{ $_ := set $d "a" $d }}{{ $d }}
{{ $d := dict }}{{ $_ := set $d "a" $d }}{{ mustToJson $d }}
{{ $d := dict }}{{ $_ := set $d "a" (list $d) }}{{ printf "%v" $d }}
{{ $d := dict }}{{ $_ := set $d "a" $d }}{{ deepCopy $d | len }}
{{ $d := dict }}{{ $_ := set $d "a" $d }}{{ toYamlPretty $d }}
{{ $d := dict }}{{ $_ := set $d "a" $d }}{{ toToml $d }}
{{ $d := dict }}{{ $_ := set $d "a" $d }}{{ $e := dict }}{{ $_ := set $e "a" $e }}{{ merge $d $e | len }}
{{ $_ := set .Values "all" .Values }}{{ .Values.YAML }}{{ fail "printed" }}
{{ $d := dict }}{{ range until 1000000 }}{{ $d = dict "a" $d }}{{ end }}{{ toYaml $d }}
{{ $d := list }}{{ range until 1000000 }}{{ $d = list $d }}{{ end }}{{ toString $d }}
{{ $d := dict }}{{ range until 1000000 }}{{ $d = dict "a" $d }}{{ end }}{{ fail "dropped" }}
{{ tpl (repeat 99999 "{{ if 1 }}") . }}
{{ tpl (printf "{{ %s1%s }}" (repeat 99999 "(") (repeat 99999 ")")) . }}
{{ tpl (repeat 3999999 "{{ 1 }}") . | len }}
{{ tpl (printf "{{ list %s }}" (repeat 9999999 "1 ")) . | len }}
{{ regexMatch "(((a{100}){100}){100})" "a" }}{{ fail "compiled" }}
{{ join (repeat 100000 "x") (until 10000) }}
{{ replace "x" (repeat 20000 "y") (repeat 20000 "x") }}
{{ replace "" (repeat 20000 "y") (repeat 20000 "x") }}
{{ regexReplaceAll "x" (repeat 20000 "x") (repeat 20000 "y") }}
{{ regexReplaceAllLiteral "x" (repeat 20000 "x") (repeat 20000 "y") }}
{{ regexReplaceAll ".*" (repeat 1000000 "x") (repeat 100000 "$0") }}
{{ wrapWith 1 (repeat 20000 "y") (repeat 20000 "x") }}
{{ printf (repeat 99999 "%[1]s") (repeat 100000 "x") }}
{{ printf (repeat 999 "%999999[1]d") 1 }}
{{ printf (repeat 999 "%.999999[1]f") 1.0 }}
{{ printf "%999999d" (until 100000) }}
{{ printf "%-999999v" (fromJson (printf "{%s\"b\": 1}" (repeat 999 "\"a\": [1,1,1,1,1,1],"))) }}{{ range 999 }}{{ printf "%999999d" 1 }}{{ end }}
{{ $s := repeat 1000000 "x" }}{{ $l := list }}{{ range until 1000 }}{{ $l = append $l $s }}{{ end }}{{ toJson $l }}
{{ $s := repeat 1000000 "x" }}{{ $l := list }}{{ range until 1000 }}{{ $l = append $l $s }}{{ end }}{{ join "" $l }}
{{ $s := repeat 1000000 "x" }}{{ $l := list }}{{ range until 1000 }}{{ $l = append $l (upper $s) }}{{ end }}
{{ $s := repeat 1000000 "x" }}{{ $l := list }}{{ range until 1000 }}{{ $l = append $l (trunc 999999 $s) }}{{ end }}
{{ $s := repeat 1000000 "x" }}{{ $d := dict }}{{ range until 1000 }}{{ $_ := set $d (toString .) (dict $s 1) }}{{ end }}
{{ $d := dict }}{{ range until 5000 }}{{ $d = dict "a" $d }}{{ end }}{{ $_ := set $d "l" 1 }}{{ $l := list }}{{ range until 99 }}{{ $l = append $l $d }}{{ end }}{{ toYaml $l }}
{{ $l := until 99999 }}{{ range until 9000 }}{{ $l = list $l }}{{ end }}{{ toPrettyJson $l }}
{{ $d := dict }}{{ range until 1000000 }}{{ $_ := set $d (toString .) (dict "a" (dict "b" .)) }}{{ end }}
{{ $d := dict }}{{ range until 9999999 }}{{ $_ := set $d (toString .) (list (list .)) }}{{ end }}
{{ $l := list 1 }}{{ $a := list }}{{ range 60 }}{{ $l = concat $l $l }}{{ $a = append $a (reverse $l) }}{{ end }}
{{ $l := until 1000000 }}{{ $a := list }}{{ range 60 }}{{ $a = append $a (slice $l 1) }}{{ end }}
{{ $l := until 1000000 }}{{ $a := list }}{{ range 60 }}{{ $a = append $a (chunk 1 $l) }}{{ end }}
{{ $s := repeat 999999 "[1,[2,[3]]]," }}{{ fromJsonArray (printf "[%s1]" $s) | len }}
{{ $a := list }}{{ range 99999 }}{{ $a = append $a (fromYaml "{a: {b: {c: {d: [[[[]]]]}}}}") }}{{ end }}
{{ $d := dict }}{{ range until 300000 }}{{ $_ := set $d (toString .) . }}{{ end }}{{ define "f" }}{{ range $k, $v := . }}{{ include "f" $ }}{{ end }}{{ end }}{{ include "f" $d }}
{{ $s := repeat 10000000 "x" }}{{ range until 20000 }}{{ $_ := sha256sum $s }}{{ end }}
{{ $s := repeat 10000000 "x" }}{{ range until 20000 }}{{ $_ := sha512sum $s }}{{ end }}
{{ $s := repeat 10000000 "x" }}{{ range until 20000 }}{{ $_ := adler32sum $s }}{{ end }}
{{ $s := repeat 10000000 "x" }}{{ range until 20000 }}{{ $_ := contains "y" $s }}{{ end }}
{{ $s := repeat 10000000 "x" }}{{ range until 20000 }}{{ $_ := upper $s }}{{ end }}
{{ $s := repeat 10000000 "x" }}{{ range until 20000 }}{{ $_ := snakecase $s }}{{ end }}
{{ $s := repeat 10000000 "x" }}{{ range until 20000 }}{{ $_ := trimAll "x" $s }}{{ end }}
{{ $s := repeat 10000000 "x" }}{{ range until 20000 }}{{ $_ := semverCompare ">1" $s }}{{ end }}
{{ $s := repeat 10000000 "x" }}{{ range until 20000 }}{{ $_ := eq $s (print $s) }}{{ end }}
{{ $s := repeat 1000000 "x" }}{{ range until 20000 }}{{ $_ := shuffle $s }}{{ end }}
{{ $s := repeat 1000000 "x" }}{{ range until 20000 }}{{ $_ := regexMatch "y" $s }}{{ end }}
{{ $s := printf "{{/*%s*/}}" (repeat 1000000 "x") }}{{ range until 10000 }}{{ tpl $s $ }}{{ end }}
{{ $s := printf "{{/*%s*/}}" (repeat 1000000 "x") }}{{ range until 10000 }}{{ tpl (printf "%d%s" . $s) $ }}{{ end }}
{{ range until 999999 }}{{ range $.Files.Glob "**" }}{{ end }}{{ end }}
{{ range until 9999999 }}{{ $_ := $.Values.YAML }}{{ end }}
{{ $s := repeat 999 "x" }}{{ $l := list }}{{ range until 4000 }}{{ $l = append $l (printf "%s%d" $s .) }}{{ end }}{{ range until 999 }}{{ $_ := sortAlpha $l }}{{ end }}
{{ $s := repeat 9999 "x" }}{{ $l := list }}{{ range until 3000 }}{{ $l = append $l (printf "%s%d" $s .) }}{{ end }}{{ $_ := uniq $l }}{{ $_ := uniq $l }}{{ $_ := uniq $l }}
{{ fail (repeat 50000000 "x") }}"#;

/// Keys and hashes without end; one a line.
const KEYS: &str = r#"{{ range until 999 }}{{ $_ := bcrypt "x" }}{{ end }}
{{ range until 999 }}{{ $_ := derivePassword 1 "long" "x" "y" "z" }}{{ end }}
{{ range until 999 }}{{ $_ := genPrivateKey "rsa" }}{{ end }}
{{ range until 999 }}{{ $_ := genCA "x" 1 }}{{ end }}
{{ $k := genPrivateKey "ecdsa" }}{{ range until 99999 }}{{ $_ := genCAWithKey "x" 1 $k }}{{ end }}"#;

/// Expressions that take long to compile or to match; one a line.
const EXPRESSIONS: &str = r#"{{ $s := repeat 1000000 "ab" }}{{ range until 20000 }}{{ $_ := regexMatch "[ab]*a[ab]{60}c" $s }}{{ end }}
{{ $s := repeat 100000 "A" }}{{ regexFindAll ".*[^A-Z]|[A-Z]" $s -1 | len }}
{{ range $i := until 99999 }}{{ $_ := regexMatch (printf "a{%d}" (mod $i 999)) "x" }}{{ $_ := regexMatch (printf "b{%d}" $i) "x" }}{{ end }}
{{ range $i := until 99999 }}{{ $_ := regexMatch (printf "((a{90}){90}){%d}" (mod $i 9)) "x" }}{{ $_ := regexMatch (printf "%d((b{90}){90})" $i) "x" }}{{ end }}"#;

/// One hostile chart, or a large one.
enum Input {
    Job(Box<Job>),
    Archive(Vec<u8>),
}

fn archive_of(entries: &[(&str, u8, u64, &[u8])]) -> Input {
    let tar: Vec<u8> = entries
        .iter()
        .flat_map(|(path, kind, size, content)| archive::entry(path, *kind, *size, content))
        .collect();
    Input::Archive(archive::packed(&tar))
}

/// An input by name, made when it is needed.
type Named = (String, Box<dyn Fn() -> Input>);

fn job(name: &str, template: &str, values: String) -> Named {
    let template = template.to_owned();
    (name.to_owned(), Box::new(move || Input::Job(Box::new(Job::snippet(&template, &values)))))
}

fn archive_with(name: &str, path: &'static str, kind: u8, size: u64, content: &'static [u8]) -> Named {
    let entry = move || archive_of(&[HEAD, (path, kind, size, content)]);
    (format!("archive: {name}"), Box::new(entry))
}

/// The file that makes an archive a chart.
const CHART: &[u8] = b"apiVersion: v2\nname: a\nversion: 0.1.0\n";
const HEAD: (&str, u8, u64, &[u8]) = ("a/Chart.yaml", b'0', CHART.len() as u64, CHART);

/// All that is to be refused.
fn hostile() -> Vec<Named> {
    let mut inputs: Vec<Named> = TEMPLATES.lines().map(|line| job(line, line, "a: 1\n".to_owned())).collect();
    let bomb = (0..30).fold("a0: &a0 [x]\n".to_owned(), |text, level| {
        format!("{text}a{}: &a{} [*a{level}, *a{level}, *a{level}]\n", level + 1, level + 1)
    });
    inputs.push(job("values: an alias bomb", "", bomb));
    inputs.push(job("values: brackets", "", "[".repeat(1_000_000)));
    inputs.push(job("values: dashes", "", "- ".repeat(1_000_000)));
    inputs.push((
        "archive: a bomb".to_owned(),
        Box::new(|| {
            let zeros = vec![0_u8; 200 << 20];
            archive_of(&[HEAD, ("a/bomb", b'0', zeros.len() as u64, &zeros)])
        }),
    ));
    inputs.push((
        "archive: too many files".to_owned(),
        Box::new(|| {
            let many: Vec<String> = (0..30_000).map(|index| format!("a/templates/{index}.yaml")).collect();
            let empty = many.iter().map(|path| (path.as_str(), b'0', 0, b"".as_slice()));
            archive_of(&std::iter::once(HEAD).chain(empty).collect::<Vec<_>>())
        }),
    ));
    inputs.extend([
        archive_with("out of its folder", "a/../../b", b'0', 1, b"x"),
        archive_with("an absolute path", "a//etc/passwd", b'0', 1, b"x"),
        archive_with("a link out", "a/link", b'2', 0, b""),
        archive_with("a device", "a/device", b'3', 0, b""),
        archive_with("more than it holds", "a/x", b'0', 1 << 32, b"x"),
        ("archive: nothing".to_owned(), Box::new(|| Input::Archive(Vec::new()))),
    ]);
    inputs
}

/// Archives within archives, each 1,000 times the size of the one around it.
#[test]
fn an_archive_within_archives_is_refused() {
    let mut inner = archive::packed(&archive::entry("a/x", b'0', 64 << 20, &vec![0; 64 << 20]));
    for level in 0..12 {
        let name = format!("a/charts/a{level}.tgz");
        let mut tar = archive::entry(HEAD.0, HEAD.1, HEAD.2, HEAD.3);
        tar.extend(archive::entry(&name, b'0', inner.len() as u64, &inner));
        inner = archive::packed(&tar);
    }
    let began = Instant::now();
    let error = ours::archive(&inner).error.expect("it is refused");
    assert!(error.contains("nested more than 8 deep"), "{error}");
    assert!(began.elapsed() < SLOWEST);
}

/// Large charts.
fn large() -> Vec<Named> {
    let named =
        |(name, job): (String, Job)| -> Named { (name, Box::new(move || Input::Job(Box::new(job.clone())))) };
    cases::large().into_iter().map(named).collect()
}

/// What a process said about one input.
struct Cost {
    took: Duration,
    /// The most memory that the process had, in bytes.
    memory: usize,
    /// How many bytes were rendered, or why none.
    answer: Result<usize, String>,
}

/// Renders one input in a process of its own.
fn cost(index: usize) -> Result<Cost, String> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "costs::one", "--ignored", "--nocapture", "--test-threads", "1"])
        .env("COST_OF", index.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("cost "));
    let Some(line) = line.filter(|_| output.status.success()) else {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{}: {}", output.status, error.lines().take(4).collect::<Vec<_>>().join(" ")));
    };
    let mut words = line.splitn(4, ' ');
    let mut number = || words.next().unwrap().parse::<usize>().unwrap();
    let (took, memory, rendered) = (number(), number(), number());
    let words = words.next().unwrap_or_default().to_owned();
    let answer = if words.is_empty() { Ok(rendered) } else { Err(words) };
    Ok(Cost { took: Duration::from_millis(took as u64), memory, answer })
}

/// The process that renders one input; `COST_OF` says which.
#[test]
#[ignore = "is run by other tests, in a process of its own"]
#[expect(clippy::print_stdout, reason = "the other process reads it")]
fn one() {
    #[expect(clippy::disallowed_methods, reason = "the other process says which")]
    let index: usize = std::env::var("COST_OF").unwrap().parse().unwrap();
    let (_, make) = hostile().into_iter().chain(large()).nth(index).unwrap();
    let input = make();
    let (answer, took) = timed(|| match &input {
        Input::Job(job) => ours::answer(job),
        Input::Archive(bytes) => ours::archive(bytes),
    });
    let rendered = answer.output.as_ref().map_or(0, String::len);
    let words: String = answer.error.unwrap_or_default().replace('\n', " ").chars().take(200).collect();
    // The harness has begun a line.
    println!("\ncost {} {} {rendered} {words}", took.as_millis(), most_memory());
}

/// The most memory that this process had, in bytes.
fn most_memory() -> usize {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
}

#[test]
fn hostile_charts_end_in_an_error_soon_and_cheaply() {
    let mut wrong = String::new();
    #[expect(clippy::disallowed_methods, reason = "tests/run says how thorough its tests are")]
    let step = if std::env::var("COZY_TESTS").is_ok_and(|tests| tests == "quick") { 4 } else { 1 };
    for (index, (name, _)) in hostile().iter().enumerate().step_by(step) {
        match cost(index) {
            Ok(Cost { took, memory, answer: Err(_) }) if took <= SLOWEST && memory <= MOST => {}
            Ok(Cost { took, memory, answer }) => {
                let _ = writeln!(wrong, "{name}\n  {took:?}, {} MiB, {answer:?}", memory >> 20);
            }
            Err(problem) => {
                let _ = writeln!(wrong, "{name}\n  {problem}");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn large_charts_take_little_memory() {
    let before = hostile().len();
    for (index, (name, _)) in large().iter().enumerate() {
        let Cost { memory, answer, .. } = cost(before + index).unwrap();
        let rendered = answer.unwrap();
        let most = (64 << 20) + 20 * rendered;
        assert!(memory <= most, "{name}: {memory} bytes for {rendered} rendered ones; {most} are allowed");
    }
}

/// A chart that renders itself into its own values leaves nothing else behind.
#[test]
fn values_within_themselves_are_written_as_helm_writes_them() {
    let chart = [
        ("Chart.yaml", "apiVersion: v2\nname: a\nversion: 0.1.0\n"),
        (
            "templates/NOTES.txt",
            "{{ $_ := set .Values \"root\" $ }}[{{ toYaml .Values }}][{{ toJson .Values }}]{{ .Values.root.Values.root.Release.Name }}",
        ),
    ];
    let files = chart.map(|(path, text)| File::new(path, text.as_bytes())).into();
    let chart = Chart::from_files(files, &Limits::default()).unwrap();
    let values = Values::read(&[ValueSource::File("values", b"a: 1")]).unwrap();
    let rendered =
        cozy_chart::render(&chart, &values, &Release::new("demo", "default"), &mut Standalone).unwrap();
    assert_eq!(rendered.notes, "[][]demo");
}

/// Renders one template with limits.
fn rendered(template: &str, limits: Limits) -> Result<String, String> {
    let files =
        [("Chart.yaml", "apiVersion: v2\nname: a\nversion: 0.1.0\n"), ("templates/NOTES.txt", template)];
    let files = files.map(|(path, text)| File::new(path, text.as_bytes())).into();
    let chart = Chart::from_files(files, &limits).unwrap();
    let release = Release { limits, ..Release::new("demo", "default") };
    let rendered = cozy_chart::render(&chart, &Values::default(), &release, &mut Standalone);
    rendered.map(|rendered| rendered.notes).map_err(|error| error.to_string())
}

/// The crate that matches expressions is some twenty times as slow without
/// optimisation as with it, so it gets a twentieth of the steps.
#[test]
fn expressions_cost_what_they_take() {
    for template in EXPRESSIONS.lines() {
        let steps = Limits::default().steps / 20;
        let (answer, took) = timed(|| rendered(template, Limits { steps, ..Limits::default() }));
        let error = answer.expect_err(template);
        assert!(error.contains("take more than") && took <= SLOWEST, "{template}: {took:?}: {error}");
    }
}

#[test]
fn keys_have_an_end() {
    for template in KEYS.lines() {
        let limits = Limits { key_milliseconds: 400, ..Limits::default() };
        let (answer, took) = timed(|| rendered(template, limits));
        let error = answer.expect_err(template);
        assert!(error.contains("keys and hashes") && took <= SLOWEST, "{template}: {took:?}: {error}");
    }
}

#[test]
fn a_chart_may_have_thirty_certificates() {
    let template =
        "{{ $ca := genCA \"x\" 1 }}{{ range 29 }}{{ $_ := genSignedCert \"a\" nil nil 1 $ca }}.{{ end }}";
    assert_eq!(rendered(template, Limits::default()).unwrap().len(), 29);
}
