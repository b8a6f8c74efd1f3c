//! The lines that [`super::live`] draws, as pure functions.

use std::time::Duration;

use crate::model::duration::human;

use super::text::{self, Paint, clean};

/// What a live line shows.
#[derive(Debug, Clone, Default)]
pub(super) struct Face {
    /// The component.
    pub(super) name: String,
    /// When its first step began.
    pub(super) started: Duration,
    /// Objects written so far.
    pub(super) written: usize,
    /// Its objects.
    pub(super) objects: usize,
    /// Hosts, for `kubernetes`; else 0.
    pub(super) hosts: usize,
    /// What it does, or waits for.
    pub(super) state: String,
    /// It looks like a failure.
    pub(super) trouble: bool,
}

/// What the line at the bottom shows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bottom {
    /// The length of the critical path.
    pub(super) expected: Duration,
    /// Components that are ready.
    pub(super) ready: usize,
    /// All components.
    pub(super) total: usize,
}

/// A component that is ready.
pub(super) struct Done<'a> {
    /// The component.
    pub(super) name: &'a str,
    /// Its objects.
    pub(super) objects: usize,
    /// Hosts, for `kubernetes`; else 0.
    pub(super) hosts: usize,
    /// From its first step on.
    pub(super) took: Duration,
    /// What held it back.
    pub(super) after: &'a [String],
}

const NAME: usize = 22;

fn columns(name: &str, what: &str, took: Duration) -> String {
    format!("{}  {} {:>6}", text::fit(&clean(name), NAME), text::fit(what, 13), human(took))
}

/// A finished component, at most `width` columns.
pub(super) fn ready_line(done: &Done<'_>, width: usize, paint: Paint) -> String {
    let (what, after) = (text::amount(done.hosts, done.objects), text::after(done.after));
    let line = text::cut(&(columns(done.name, &what, done.took) + &after), width.saturating_sub(4));
    format!("  {} {line}", paint.good("✓"))
}

/// A component at work, at most `width` columns, without its spinner.
pub(super) fn working_line(face: &Face, now: Duration, width: usize, paint: Paint) -> String {
    let what = match (face.hosts, face.written) {
        (0, written) if written > 0 && written < face.objects => {
            format!("{written}/{} objects", face.objects)
        }
        (0, _) => text::count(face.objects, "object"),
        (hosts, _) => text::count(hosts, "host"),
    };
    let took = Duration::from_secs(now.saturating_sub(face.started).as_secs());
    let line = text::cut(&format!("{}   {}", columns(&face.name, &what, took), face.state), width);
    let line = line.trim_end();
    if face.trouble { paint.doubtful(line) } else { line.to_owned() }
}

/// The bar: what is left of the critical path.
pub(super) fn bottom_line(bottom: Bottom, now: Duration, width: usize) -> String {
    const CELLS: u128 = 20;
    let full = (CELLS * now.as_millis()).checked_div(bottom.expected.as_millis()).unwrap_or(CELLS).min(CELLS);
    let bar: String = (0..CELLS).map(|cell| if cell < full { '█' } else { '░' }).collect();
    let left = match bottom.expected.checked_sub(now) {
        Some(left) => format!("about {} left", human(Duration::from_secs(left.as_secs()))),
        None => format!(
            "{} longer than expected",
            human(Duration::from_secs(now.saturating_sub(bottom.expected).as_secs()))
        ),
    };
    let line =
        format!("  {bar} {left} · {} of {} ready", bottom.ready, text::count(bottom.total, "component"));
    text::cut(&line, width.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    const PLAIN: Paint = Paint(false);

    #[test]
    fn lines_fit_80_columns() {
        let face = Face {
            name: "cert-manager".to_owned(),
            started: Duration::from_secs(100),
            written: 12,
            objects: 47,
            state: "waiting for Deployment cert-manager/webhook: endpoint 0 of 1 ready".to_owned(),
            ..Face::default()
        };
        let after =
            ["kubernetes".to_owned(), "gateway-api".to_owned(), "a-component-with-a-long-name".to_owned()];
        let took = Duration::from_secs(48);
        let done = Done { name: "cilium", objects: 38, hosts: 0, took, after: &after };
        let bottom = Bottom { expected: Duration::from_secs(161), ready: 2, total: 9 };
        let lines = [
            "lines".to_owned(),
            ready_line(&Done { name: "kubernetes", objects: 0, hosts: 3, took, after: &[] }, 80, PLAIN),
            ready_line(&done, 80, PLAIN),
            format!("  ⠼ {}", working_line(&face, Duration::from_secs(112), 75, PLAIN)),
            bottom_line(bottom, Duration::from_secs(90), 80),
            bottom_line(bottom, Duration::from_secs(190), 80),
        ];
        assert!(lines.iter().all(|line| text::width(line) <= 80));
        assert_snapshot!(lines.join("\n"), @r"
        lines
          ✓ kubernetes              3 hosts          48s
          ✓ cilium                  38 objects       48s   after kubernetes, gateway-ap…
          ⠼ cert-manager            12/47 objects    12s   waiting for Deployment cert…
          ███████████░░░░░░░░░ about 1m11s left · 2 of 9 components ready
          ████████████████████ 29s longer than expected · 2 of 9 components ready
        ");
    }
}
