//! Preflight findings for people: by host, each with what was seen and the fix.

use std::fmt::Write as _;

use super::text::{clean, count, wrap};
use crate::model::finding::Level;
use crate::preflight::Finding;

/// Renders all findings, and how many there are.
pub(crate) fn text(cloud: &str, hosts: usize, findings: &[Finding], skipped: usize, width: usize) -> String {
    let mut text = String::new();
    let mut host = "";
    for found in findings {
        if found.host != host {
            host = &found.host;
            let _ = writeln!(text, "{}", clean(host));
        }
        let mark = match found.level {
            Level::Error => "✗",
            Level::Warning => "!",
        };
        let line = format!(
            "  {mark} {:<12}  {}: {}; expected: {}",
            found.check, found.checked, found.observed, found.expected
        );
        let _ = writeln!(text, "{}", wrap(&clean(&line), width, 18));
        let _ =
            writeln!(text, "{}", wrap(&clean(&format!("                  fix: {}", found.fix)), width, 23));
    }
    if !findings.is_empty() {
        text.push('\n');
    }
    let errors = findings.iter().filter(|found| found.level == Level::Error).count();
    let warnings = findings.len() - errors;
    let _ = write!(
        text,
        "preflight of cloud {cloud}: {}, {}, {}",
        count(hosts, "host"),
        count(errors, "error"),
        count(warnings, "warning")
    );
    if skipped > 0 {
        let _ = write!(text, ", {skipped} skipped");
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn finding(host: &str, check: &'static str, level: Level) -> Finding {
        Finding {
            host: host.to_owned(),
            check,
            level,
            checked: "port 6443/tcp of the API server".to_owned(),
            observed: "taken by `nginx\u{1b}[2J`".to_owned(),
            expected: "free".to_owned(),
            fix: "stop `nginx`, or move it to another port, whichever of the two is easier".to_owned(),
            script: None,
        }
    }

    #[test]
    fn findings_stand_under_their_host() {
        let findings = [
            finding("a", "ports", Level::Error),
            finding("a", "disk-space", Level::Warning),
            finding("b", "ports", Level::Error),
        ];
        assert_snapshot!(text("demo", 2, &findings, 1, 80), @"
            a
              ✗ ports         port 6443/tcp of the API server: taken by `nginx�[2J`;
                              expected: free
                              fix: stop `nginx`, or move it to another port, whichever of
                                   the two is easier
              ! disk-space    port 6443/tcp of the API server: taken by `nginx�[2J`;
                              expected: free
                              fix: stop `nginx`, or move it to another port, whichever of
                                   the two is easier
            b
              ✗ ports         port 6443/tcp of the API server: taken by `nginx�[2J`;
                              expected: free
                              fix: stop `nginx`, or move it to another port, whichever of
                                   the two is easier

            preflight of cloud demo: 2 hosts, 2 errors, 1 warning, 1 skipped
        ");
        assert_snapshot!(text("demo", 3, &[], 0, 80), @"preflight of cloud demo: 3 hosts, 0 errors, 0 warnings");
    }
}
