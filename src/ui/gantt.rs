//! The chart of a run in block characters: a row a component, time to the right.

use std::time::Duration;

use crate::model::duration::human;

use super::text::{self, clean};

/// A row of the chart.
pub(crate) struct Row<'a> {
    /// The component.
    pub(crate) name: &'a str,
    /// It decided how long the run took.
    pub(crate) critical: bool,
    /// It failed.
    pub(crate) failed: bool,
    /// When its steps were worked on.
    pub(crate) spans: Vec<Span>,
}

/// The times of a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    /// Its requests began.
    pub(crate) started: Duration,
    /// They were answered.
    pub(crate) applied: Option<Duration>,
    /// What it waited for of other steps was there.
    pub(crate) free: Option<Duration>,
    /// Its gates held.
    pub(crate) ready: Option<Duration>,
}

/// Draws rows over a run of `total`, in lines of at most `width` columns.
pub(crate) fn gantt(rows: &[Row<'_>], total: Duration, width: usize) -> String {
    let longest = rows.iter().map(|row| text::width(row.name)).max().unwrap_or(0);
    let name_width = longest.clamp(8, (width / 3).max(8));
    let cells = width.saturating_sub(name_width + 14).max(10);
    let total = micros(total).max(1);
    let mut out = String::new();
    for row in rows {
        let mark = if row.critical { '◆' } else { ' ' };
        let bar: String = (0..cells)
            .map(|cell| shade(row, edge(cell, cells, total), edge(cell + 1, cells, total)))
            .collect();
        let name = text::fit(&clean(row.name), name_width);
        text::push_line(&mut out, &format!("  {mark} {name} {bar} {:>7}", took(row)));
    }
    let indent = " ".repeat(name_width + 5);
    let (ticks, labels) = axis(cells, total);
    text::push_line(&mut out, &format!("{indent}{ticks}\n{indent}{labels}"));
    out
}

fn took(row: &Row<'_>) -> String {
    let start = row.spans.iter().map(|span| span.started).min();
    let end = row.spans.iter().filter_map(|span| span.ready).max();
    match (start, end) {
        _ if row.failed => "failed".to_owned(),
        (Some(start), Some(end)) if row.spans.iter().all(|span| span.ready.is_some()) => {
            human(end.saturating_sub(start))
        }
        (Some(_), _) => "…".to_owned(),
        (None, _) => "-".to_owned(),
    }
}

/// What stands in the cell between two times.
fn shade(row: &Row<'_>, from: u64, to: u64) -> char {
    let overlaps = |start: u64, end: u64| start < to && end.max(start + 1) > from;
    let end_of = |span: &Span| span.ready.map_or(u64::MAX, micros);
    let last = row.spans.iter().map(end_of).max().unwrap_or(u64::MAX);
    let gated = |span: &Span| {
        let begun = span.applied.map(|applied| applied.max(span.free.unwrap_or_default()));
        begun.is_some_and(|begun| overlaps(micros(begun), end_of(span)))
    };
    let applying =
        |span: &Span| overlaps(micros(span.started), span.applied.map_or_else(|| end_of(span), micros));
    if row.failed && last > from && last <= to {
        '✗'
    } else if row.spans.iter().any(gated) {
        '█'
    } else if row.spans.iter().any(applying) {
        '▒'
    } else if from < last {
        '░'
    } else {
        ' '
    }
}

/// The axis' line, and the times under it.
fn axis(cells: usize, total: u64) -> (String, String) {
    let step = tick(cells, total);
    let mut ticks = String::new();
    let mut labels = String::new();
    for cell in 0..cells {
        let (from, to) = (edge(cell, cells, total), edge(cell + 1, cells, total));
        let time = from.div_ceil(step) * step;
        if time < to {
            ticks.push(if cell == 0 { '└' } else { '┴' });
            let label = human(Duration::from_micros(time));
            if cell + text::width(&label) <= cells {
                labels.push_str(&" ".repeat(cell.saturating_sub(text::width(&labels))));
                labels.push_str(&label);
            }
        } else {
            ticks.push('─');
        }
    }
    // The end stands at the right edge where there is room for it.
    let end = human(Duration::from_micros(total));
    let room = cells.saturating_sub(text::width(&labels));
    if room > text::width(&end) {
        ticks.pop();
        ticks.push('┘');
        labels.push_str(&" ".repeat(room - text::width(&end)));
        labels.push_str(&end);
    }
    (ticks, labels)
}

/// A round time between two ticks of so many microseconds, so that their labels have room.
pub(super) fn tick(cells: usize, total: u64) -> u64 {
    /// In milliseconds.
    const ROUND: [u64; 22] = [
        1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000,
        300_000, 600_000, 1_800_000, 3_600_000, 14_400_000,
    ];
    let most = u64::try_from(cells / 10).unwrap_or(1).max(1);
    let day = 86_400_000;
    let steps = ROUND.into_iter().chain([day]).map(|step| step * 1_000);
    steps.into_iter().find(|step| total / step <= most).unwrap_or(total)
}

/// Where a cell begins, in microseconds.
fn edge(cell: usize, cells: usize, total: u64) -> u64 {
    let (cell, cells) = (u64::try_from(cell).unwrap_or(0), u64::try_from(cells).unwrap_or(1));
    total.saturating_mul(cell) / cells
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
