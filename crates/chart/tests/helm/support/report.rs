//! Compares answers, counts them in a table, and shows the smallest
//! differences first.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::job::{Answer, Job};

/// How many differences a failure shows.
const SHOWN: usize = 40;

#[derive(Default)]
struct Count {
    equal: usize,
    refused: usize,
    different: usize,
}

/// Whether two texts are equal, but for the words of errors that templates print.
fn same(left: Option<&str>, right: Option<&str>) -> bool {
    left == right || left.map(without_words) == right.map(without_words)
}

/// Takes out the words of errors of `fromYaml` and its like, and where things
/// are in memory.
fn without_words(text: &str) -> String {
    let text = &without_addresses(text);
    let mut out = String::new();
    let mut rest = text.as_str();
    let starts = [
        "error converting YAML to JSON: ",
        "[Error:toml: ",
        "Error: 'toml: ",
        "\"Error\":\"toml: ",
        "\"Error\": \"toml: ",
        "Error:toml: ",
        "invalid character ",
    ];
    while let Some((at, start)) = starts.iter().filter_map(|start| Some((rest.find(start)?, start))).min() {
        let (before, words) = rest.split_at(at + start.len());
        out.push_str(before);
        let mut escaped = false;
        let end = words.find(|c: char| {
            let ends = match c {
                ']' => start.starts_with('['),
                '\n' => true,
                '"' | '|' => !escaped && !start.starts_with('[') && !start.contains('\''),
                _ => false,
            };
            escaped = !escaped && c == '\\';
            ends
        });
        rest = &words[end.unwrap_or(words.len())..];
    }
    out + rest
}

/// Go prints where a struct is when a map holds a pointer to it.
fn without_addresses(text: &str) -> String {
    let mut out = String::new();
    for (index, piece) in text.split("0x").enumerate() {
        let digits = piece.bytes().take_while(u8::is_ascii_hexdigit).count();
        let is_address = index > 0 && digits >= 8;
        out.push_str(if index > 0 { "0x" } else { "" });
        out.push_str(if is_address { &piece[digits..] } else { piece });
    }
    out
}

/// The outcome of many comparisons.
#[derive(Default)]
pub(crate) struct Report {
    counts: BTreeMap<String, Count>,
    /// Shortest first, once sorted.
    differences: Vec<String>,
}

impl Report {
    /// Counts one job of `group`; answers are equal, or both refuse.
    pub(crate) fn add(&mut self, group: &str, name: &str, job: &Job, helm: &Answer, ours: &Answer) {
        let count = self.counts.entry(group.to_owned()).or_default();
        match (&helm.error, &ours.error) {
            (Some(_), Some(_)) => count.refused += 1,
            (None, None)
                if same(helm.output.as_deref(), ours.output.as_deref())
                    && same(helm.notes.as_deref(), ours.notes.as_deref()) =>
            {
                count.equal += 1;
            }
            (None, None) => {
                count.different += 1;
                let text = |answer: &Answer| {
                    let notes = answer.notes.as_deref().unwrap_or_default();
                    format!("{}{notes}", answer.output.as_deref().unwrap_or_default())
                };
                self.differences.push(described(name, job, &differing(&text(helm), &text(ours))));
            }
            (Some(error), None) => {
                count.different += 1;
                let output = ours.notes.as_ref().filter(|text| !text.is_empty()).or(ours.output.as_ref());
                let text =
                    format!("helm refuses: {error}\nwe print: {:?}", output.map(|text| clipped(text, 300)));
                self.differences.push(described(name, job, &text));
            }
            (None, Some(error)) => {
                count.different += 1;
                let output = helm.notes.as_ref().filter(|text| !text.is_empty()).or(helm.output.as_ref());
                let text =
                    format!("helm prints: {:?}\nwe refuse: {error}", output.map(|text| clipped(text, 300)));
                self.differences.push(described(name, job, &text));
            }
        }
    }

    /// How many jobs were compared.
    pub(crate) fn total(&self) -> usize {
        self.counts.values().map(|count| count.equal + count.refused + count.different).sum()
    }

    /// How many jobs both answered alike, and did not refuse.
    pub(crate) fn equal(&self) -> usize {
        self.counts.values().map(|count| count.equal).sum()
    }

    /// The table of counts, a line for each group.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{:<40} {:>7} {:>7} {:>9}\n", "chart", "equal", "refused", "different");
        let mut sum = Count::default();
        for (group, count) in &self.counts {
            let Count { equal, refused, different } = count;
            let _ = writeln!(text, "{group:<40} {equal:>7} {refused:>7} {different:>9}");
            sum.equal += equal;
            sum.refused += refused;
            sum.different += different;
        }
        let Count { equal, refused, different } = sum;
        let _ = writeln!(text, "{:<40} {equal:>7} {refused:>7} {different:>9}", "all");
        text
    }

    /// Prints the table.
    ///
    /// # Panics
    /// When answers differ, with the smallest differences.
    #[expect(clippy::print_stdout, reason = "the table is what a run of the tests shows")]
    pub(crate) fn finish(mut self) {
        let table = self.table();
        println!("{table}");
        self.differences.sort_by_key(String::len);
        let count = self.differences.len();
        self.differences.truncate(SHOWN);
        assert!(count == 0, "{count} answers differ; the smallest:\n\n{}", self.differences.join("\n\n"));
    }
}

fn described(name: &str, job: &Job, difference: &str) -> String {
    let values = job.values.join("\n---\n");
    let template = job.files.as_ref().and_then(|files| files.get("templates/NOTES.txt"));
    let template = template.map(|text| format!("template: {:?}\n", clipped(text, 400))).unwrap_or_default();
    format!("== {name}\n{template}values: {}\n{difference}", clipped(&values, 400))
}

fn clipped(text: &str, most: usize) -> String {
    let short: String = text.chars().take(most).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}

/// The lines that differ: what is left without the common start and end.
fn differing(helm: &str, ours: &str) -> String {
    let (left, right): (Vec<_>, Vec<_>) = (helm.split('\n').collect(), ours.split('\n').collect());
    let start = left.iter().zip(&right).take_while(|(a, b)| a == b).count();
    let (left, right) = (left.get(start..).unwrap_or_default(), right.get(start..).unwrap_or_default());
    let end = left.iter().rev().zip(right.iter().rev()).take_while(|(a, b)| a == b).count();
    let mut text = format!("line {}:", start + 1);
    for (sign, lines) in [('-', left), ('+', right)] {
        let lines = lines.get(..lines.len().saturating_sub(end)).unwrap_or_default();
        for line in lines.iter().take(6) {
            let _ = write!(text, "\n{sign} {:?}", clipped(line, 300));
        }
        if lines.len() > 6 {
            let _ = write!(text, "\n{sign} … {} more lines", lines.len() - 6);
        }
    }
    text
}
