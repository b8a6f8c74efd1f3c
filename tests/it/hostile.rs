//! Files of a megabyte that are wrong in every line, or in one very long one: refused soon, and in few words.

use std::fmt::Write as _;
use std::process::Command;

use super::{text, write};

/// What a debug build may take in CPU seconds; a release build takes a fifth of it.
const SECONDS: u32 = 8;

/// The most that is said of one file, in bytes.
const WORDS: usize = 64 * 1024;

const HEAD: &str = "apiVersion: cozy/v1\nkind: Cloud\nname: demo\nbundle: edge\n";

/// Many copies of a text with a number in it: a little less than the megabyte that is read at all.
fn many(before: &str, each: impl Fn(usize) -> String, after: &str) -> String {
    let mut file = format!("{HEAD}{before}");
    for number in 0.. {
        if file.len() > 1_040_000 {
            break;
        }
        let _ = write!(file, "{}", each(number));
    }
    file + after
}

#[test]
fn files_full_of_mistakes_are_refused_soon_and_in_few_words() {
    let same = |words: &'static str| move |_| words.to_owned();
    let pool = |n: usize| format!("10.{}.{}.1-10.{}.{}.9,", n >> 8 & 255, n & 255, n >> 8 & 255, n & 255);
    let files = [
        ("nesting", many("x: ", same("{a: "), "")),
        ("duplicate keys", many("", same("x: 1\n"), "")),
        ("unknown keys", many("", |n| format!("k{n}: 1\n"), "")),
        ("hosts without a word that is known", many("hosts:\n", same("  - { adress: 1 }\n"), "")),
        ("the same host", many("hosts:\n", same("  - { address: 10.0.0.11 }\n"), "")),
        ("this machine, often", many("hosts:\n", same("  - { local: true }\n"), "")),
        ("unknown components", many("components:\n", |n| format!("  c{n}: {{}}\n"), "")),
        ("names that are none", many("components:\n", |n| format!("  C{n}: {{}}\n"), "")),
        ("pools", many("network: { loadBalancer: [", pool, "] }\n")),
        ("pools that are none", many("network: { loadBalancer: [", same("x,"), "] }\n")),
        ("the same device", many("hosts: [{ local: true, devices: [", same("/dev/a,"), "] }]\n")),
        (
            "patches that are none",
            many("components: { cilium: { patches: [", same("{ kind: A },"), "] } }\n"),
        ),
        ("settings", many("components: { cilium: { settings: {", |n| format!("a{n}: 1,"), "} } }\n")),
        ("anchors", many("x:\n", |n| format!("- &a{n} 1\n"), "")),
        ("one long name", many("domain: ", same("d"), "\n")),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (what, file) in files {
        let path = write(&folder, "cozy.yaml", &file);
        let run = format!("ulimit -t {SECONDS}; exec \"$0\" validate -f \"$1\"");
        let output = Command::new("sh")
            .args(["-c", &run, env!("CARGO_BIN_EXE_cozy"), &path])
            .env_clear()
            .output()
            .unwrap();
        let stderr = text(&output.stderr);
        let shown: String = stderr.chars().take(300).collect();
        assert_eq!(output.status.code(), Some(2), "{what}: {:?} {shown}", output.status);
        assert!(stderr.starts_with("error[C1") && stderr.len() < WORDS, "{what}: {} {shown}", stderr.len());
    }
}
