//! The house itself: the map of the modules is true, and every file says what it owns.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Uses that go up in the map, and why they may.
const UPWARDS: [(&str, &str); 2] = [
    // A diagnosis is told in the words of a run's events.
    ("diagnose", "execute"),
    // Gates are parsed when their file is checked.
    ("model", "health"),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_file_says_first_what_it_owns() {
    for folder in
        ["src", "crates", "benches", "tests/it", "tests/it_cluster", "tests/it_fetch", "tests/support"]
    {
        for path in sources(&root().join(folder)) {
            let text = fs_err::read_to_string(&path).unwrap();
            assert!(text.starts_with("//! "), "{} does not begin with what it owns", path.display());
        }
    }
}

#[test]
fn the_map_of_the_modules_is_true() {
    let text = fs_err::read_to_string(root().join("src/lib.rs")).unwrap();
    let mapped: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("//! - `")?.split('`').next()).collect();
    let declared = text.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
    assert_eq!(mapped.iter().copied().collect::<BTreeSet<_>>(), declared.collect());
    let place = |module: &str| mapped.iter().position(|known| *known == module);
    let src = root().join("src");
    for path in sources(&src) {
        let inner = path.strip_prefix(&src).unwrap().with_extension("");
        let module = inner.iter().next().unwrap().to_str().unwrap();
        let Some(own) = place(module) else { continue };
        let text = fs_err::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let only_tests = |part: &str| part.contains("tests") || part == "samples";
        if inner.iter().any(|part| only_tests(part.to_str().unwrap())) {
            continue;
        }
        for used in code.split("crate::").skip(1).flat_map(modules) {
            let upwards = place(&used).is_some_and(|place| place < own);
            assert!(
                !upwards || UPWARDS.contains(&(module, used.as_str())),
                "{}: `{module}` uses `{used}`, which stands above it in src/lib.rs",
                path.display()
            );
        }
    }
}

/// The modules that the rest of a path after `crate::` names: one, or those of a group such as `{ui, plan::{self}}`.
fn modules(path: &str) -> Vec<String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut depth, mut names, mut start) = (0, Vec::new(), 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                names.push(name(group[start..at].trim_start()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names
}

#[test]
fn the_modules_of_grouped_imports_are_seen() {
    assert_eq!(modules("ui::{Format, Ui};"), ["ui"]);
    assert_eq!(modules("{\n    cli::{flow, plan},\n    ui,\n};"), ["cli", "ui", ""]);
}
