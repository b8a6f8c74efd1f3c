//! Behaviours as scripts: what is sent, and what a real API server answered, word for word.
//!
//! `scripts/TOPIC.txt` holds behaviours, each in a namespace of its own: a title `== …`, then steps. A step is a
//! line of verb and path, a body, and after `--- CODE` the answer. Paths without a leading slash are in the
//! behaviour's namespace, `$NS`. A body `apps/v1 Deployment a {…}` is YAML with its first words filled in; `raw …` is
//! sent as it is. After ` | ` stand the parts of the answer that matter; `| -` is its code alone. What differs from
//! run to run (uids, versions, times, addresses) is blanked. `AWAIT PATH FIELD=VALUE` and `AWAIT PATH gone` wait by
//! a watch; `SERVED PATH` asks until a new kind is served, `REFUSED PATH` until a new webhook refuses dry runs. Run on the real server with `RECORD=1` to write answers.

use std::fmt::Write as _;
use std::path::Path;

use futures::TryStreamExt as _;
use kube::Client;
use kube::api::{DynamicObject, WatchEvent};
use serde_json::{Map, Value, json};

/// One step: what is asked, and the answer on record.
struct Step<'a> {
    line: &'a str,
    body: &'a str,
    answer: &'a str,
}

/// One behaviour.
struct Script<'a> {
    title: &'a str,
    steps: Vec<Step<'a>>,
}

const VERBS: [&str; 9] =
    ["GET ", "POST ", "PUT ", "MERGE ", "APPLY ", "DELETE ", "AWAIT ", "SERVED ", "REFUSED "];

/// Answers how many behaviours a topic has.
pub(crate) fn count(folder: &Path, topic: &str) -> usize {
    let text = read(folder, topic);
    text.lines().filter(|line| line.starts_with("== ")).count()
}

#[expect(clippy::disallowed_methods, reason = "tests of a crate that has no fs_err read their own files")]
fn read(folder: &Path, topic: &str) -> String {
    std::fs::read_to_string(folder.join(format!("{topic}.txt"))).unwrap()
}

/// Runs all behaviours of a topic; with `record`, writes down what the server answers instead of comparing.
#[expect(clippy::disallowed_methods, reason = "recording writes the script that it runs")]
pub(crate) async fn run(client: Client, folder: &Path, topic: &str, record: bool) {
    let text = read(folder, topic);
    let mut recorded = String::new();
    let mut failures = Vec::new();
    for (number, script) in parse(&text).into_iter().enumerate() {
        let namespace = super::namespace(&client, &format!("{topic}-{number}")).await;
        let mut answers = Vec::new();
        for step in &script.steps {
            let asked = script.steps.iter().map(|step| step.body).collect::<String>();
            let answer = take(&client, step, &namespace, &asked).await;
            let awaited = ["AWAIT", "SERVED", "REFUSED"].iter().any(|verb| step.line.starts_with(verb));
            if !awaited && answer != step.answer && !record {
                failures.push(format!(
                    "== {}\n{}\n--- wanted {}\n+++ found {answer}",
                    script.title, step.line, step.answer
                ));
                break;
            }
            answers.push(if awaited { String::new() } else { answer });
        }
        write(&mut recorded, &script, &answers);
    }
    if record {
        std::fs::write(folder.join(format!("{topic}.txt")), recorded).unwrap();
    }
    assert!(failures.is_empty(), "{} behaviours differ:\n{}", failures.len(), failures.join("\n\n"));
}

fn parse(text: &str) -> Vec<Script<'_>> {
    let scripts = text.split("\n== ").map(|part| part.trim_start_matches("== "));
    scripts.map(script).collect()
}

fn script(text: &str) -> Script<'_> {
    let (title, rest) = text.split_once('\n').unwrap();
    let starts = |line: &str| VERBS.iter().any(|verb| line.starts_with(verb));
    let mut marks: Vec<usize> = Vec::new();
    let mut at = 0;
    for line in rest.split_inclusive('\n') {
        if starts(line) {
            marks.push(at);
        }
        at += line.len();
    }
    marks.push(rest.len());
    let steps = marks.windows(2).map(|pair| {
        let whole = rest[pair[0]..pair[1]].trim();
        let (asked, answer) = whole.split_once("\n--- ").unwrap_or((whole, ""));
        let (line, body) = asked.split_once('\n').unwrap_or((asked, ""));
        Step { line, body, answer: answer.trim() }
    });
    Script { title, steps: steps.collect() }
}

fn write(out: &mut String, script: &Script<'_>, answers: &[String]) {
    writeln!(out, "{}== {}", if out.is_empty() { "" } else { "\n" }, script.title).unwrap();
    for (step, answer) in script.steps.iter().zip(answers) {
        writeln!(out, "{}", step.line).unwrap();
        for text in [step.body.to_owned(), format!("--- {answer}")] {
            if !text.is_empty() && text != "--- " {
                writeln!(out, "{text}").unwrap();
            }
        }
    }
}

/// Takes a step, and answers what came of it.
async fn take(client: &Client, step: &Step<'_>, namespace: &str, asked: &str) -> String {
    let (line, shown) = step.line.split_once(" | ").unwrap_or((step.line, ""));
    let line = line.replace("$NS", namespace);
    let mut words = line.split(' ');
    let (verb, path) = (words.next().unwrap(), address(words.next().unwrap(), namespace));
    match verb {
        "AWAIT" => {
            let wish = words.collect::<Vec<_>>().join(" ");
            let patience = std::time::Duration::from_secs(60);
            let waited = tokio::time::timeout(patience, wait(client, &path, &wish)).await;
            waited.unwrap_or_else(|_| panic!("not after a minute: {line}"));
            return String::new();
        }
        "SERVED" => {
            for _ in 0..10_000 {
                if send(client, "GET", &path, Vec::new()).await.0 == 200 {
                    return String::new();
                }
            }
            panic!("never served: {path}");
        }
        "REFUSED" => {
            let probe = json!({ "metadata": { "name": "probe", "labels": { "seen": "yes" } } }).to_string();
            for _ in 0..10_000 {
                let tried =
                    send(client, "POST", &format!("{path}?dryRun=All"), probe.clone().into_bytes()).await;
                if tried.0 == 500 {
                    return String::new();
                }
            }
            panic!("never refused: {path}");
        }
        _ => {}
    }
    let (code, answer) = send(client, verb, &path, body(&step.body.replace("$NS", namespace))).await;
    if shown == "-" {
        return code.to_string();
    }
    let answer = blank(parts(answer, shown), &asked.replace("$NS", namespace), namespace);
    let mut text = format!("{code}\n");
    print(&answer, 0, &mut text);
    text
}

/// Makes a path of its short form.
fn address(path: &str, namespace: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let parts: Vec<_> = path.splitn(3, '/').collect();
    match parts.as_slice() {
        [group, version, rest] if version.starts_with('v') && version[1..].starts_with(char::is_numeric) => {
            format!("/apis/{group}/{version}/namespaces/{namespace}/{rest}")
        }
        _ => format!("/api/v1/namespaces/{namespace}/{path}"),
    }
}

fn body(text: &str) -> Vec<u8> {
    if let Some(raw) = text.strip_prefix("raw ") {
        return raw.as_bytes().to_vec();
    }
    if text.is_empty() {
        return Vec::new();
    }
    let at = text.find('{').unwrap_or_else(|| panic!("a body is a map: {text}"));
    let mut object: Value =
        serde_yaml::from_str(&text[at..]).unwrap_or_else(|error| panic!("{error}: {text}"));
    let words: Vec<_> = text[..at].split_whitespace().collect();
    for (field, word) in ["apiVersion", "kind"].iter().zip(&words) {
        object[field] = json!(word);
    }
    if let Some(name) = words.get(2) {
        object["metadata"]["name"] = json!(name);
    }
    serde_json::to_vec(&object).unwrap()
}

async fn send(client: &Client, verb: &str, path: &str, body: Vec<u8>) -> (u16, Value) {
    let (method, content) = match verb {
        "MERGE" => ("PATCH", "application/merge-patch+json"),
        "APPLY" => ("PATCH", "application/apply-patch+yaml"),
        method => (method, "application/json"),
    };
    let request = http::Request::builder().method(method).uri(path).header("content-type", content);
    let request = request.header("user-agent", "suite/1").body(body.into()).unwrap();
    let answer = client.send(request).await.unwrap();
    let code = answer.status().as_u16();
    let bytes = answer.into_body().collect_bytes().await.unwrap();
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    (code, serde_json::from_slice(&bytes).unwrap_or(Value::String(text)))
}

/// Waits until an object is gone, or has a field.
async fn wait(client: &Client, path: &str, wish: &str) {
    let (collection, name) = path.rsplit_once('/').unwrap();
    let selected = format!("{collection}?fieldSelector=metadata.name%3D{name}");
    loop {
        let (code, list) = send(client, "GET", &selected, Vec::new()).await;
        let object = list.pointer("/items/0");
        let reached = match wish.split_once('=') {
            None => code == 404 || code == 200 && object.is_none(),
            Some((field, value)) => {
                let found = object.and_then(|it| part(it, field));
                found.is_some_and(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned) == value)
            }
        };
        if reached {
            return;
        }
        let version = list.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or("0");
        let watch = format!("{selected}&watch=1&resourceVersion={version}&timeoutSeconds=30");
        let request = http::Request::get(watch).body(Vec::new()).unwrap();
        let Ok(events) = client.request_events::<DynamicObject>(request).await else { continue };
        // Whatever it is, it is looked at again.
        let _: Result<Option<WatchEvent<_>>, _> = Box::pin(events).try_next().await;
    }
}

/// Answers a part of an object; items of lists are found by type, name or index.
fn part<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, field| match value {
        Value::Array(items) => items
            .iter()
            .find(|item| ["type", "name"].iter().any(|key| item[key] == field))
            .or_else(|| items.get(field.parse::<usize>().ok()?)),
        other => other.get(field),
    })
}

/// Answers the parts that matter.
fn parts(mut answer: Value, shown: &str) -> Value {
    if shown.is_empty() {
        forget(&mut answer);
        return answer;
    }
    let picked =
        shown.split(' ').map(|path| (path.to_owned(), part(&answer, path).cloned().unwrap_or_default()));
    Value::Object(picked.collect())
}

/// Takes managed fields out, here and in lists.
fn forget(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.shift_remove("managedFields");
            map.values_mut().for_each(forget);
        }
        Value::Array(items) => items.iter_mut().for_each(forget),
        _ => {}
    }
}

/// Blanks what differs from run to run.
fn blank(value: Value, asked: &str, namespace: &str) -> Value {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<_> = map.into_iter().collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            let fields = fields.into_iter().map(|(field, value)| {
                let value = match field.as_str() {
                    "resourceVersion" if value.is_string() => json!("<version>"),
                    "nodePort" | "healthCheckNodePort" if !asked.contains(&value.to_string()) => {
                        json!("<port>")
                    }
                    _ => blank(value, asked, namespace),
                };
                (text(&field, asked, namespace), value)
            });
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.into_iter().map(|item| blank(item, asked, namespace)).collect(),
        Value::String(found) => Value::String(text(&found, asked, namespace)),
        other => other,
    }
}

fn text(found: &str, asked: &str, namespace: &str) -> String {
    let mut out = String::new();
    let mut rest = found;
    'next: while let Some(first) = rest.chars().next() {
        for (shape, name) in [
            ("hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh", "<uid>"),
            ("dddd-dd-ddTdd:dd:dd.ddddddZ", "<time>"),
            ("dddd-dd-ddTdd:dd:ddZ", "<time>"),
        ] {
            let start: String = rest.chars().take(shape.len()).collect();
            if fits(&start, shape) && !asked.contains(&start) {
                out.push_str(name);
                rest = &rest[start.len()..];
                continue 'next;
            }
        }
        out.push(first);
        rest = &rest[first.len_utf8()..];
    }
    if out.starts_with("10.") && out.split('.').count() == 4 && !asked.contains(&out) {
        return "<address>".to_owned();
    }
    out.replace(namespace, "$NS")
}

fn fits(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text.chars().zip(shape.chars()).all(|(c, like)| match like {
            'h' => c.is_ascii_hexdigit(),
            'd' => c.is_ascii_digit(),
            other => c == other,
        })
}

/// Prints JSON with what fits on a line on one.
fn print(value: &Value, depth: usize, out: &mut String) {
    let short = value.to_string();
    let indent = "  ".repeat(depth + 1);
    match value {
        Value::Object(map) if short.len() > 110 => {
            out.push_str("{\n");
            for (index, (field, value)) in map.iter().enumerate() {
                write!(out, "{indent}{}: ", json!(field)).unwrap();
                print(value, depth + 1, out);
                out.push_str(if index + 1 < map.len() { ",\n" } else { "\n" });
            }
            write!(out, "{}}}", "  ".repeat(depth)).unwrap();
        }
        Value::Array(items) if short.len() > 110 => {
            out.push_str("[\n");
            for (index, item) in items.iter().enumerate() {
                out.push_str(&indent);
                print(item, depth + 1, out);
                out.push_str(if index + 1 < items.len() { ",\n" } else { "\n" });
            }
            write!(out, "{}]", "  ".repeat(depth)).unwrap();
        }
        _ => out.push_str(&short),
    }
}
