//! Sentences that each way of drawing shares: the start and the end of a run,
//! and the block that says why a component failed.

use crate::execute::event::{Failure, Outcome};
use crate::model::duration::human;

use super::text::{self, Paint, clean};

/// What a run or a plan is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// The cloud's name.
    pub(crate) cloud: &'a str,
    /// Bundle and version.
    pub(crate) bundle: &'a str,
    /// How many hosts; 0: none are cozy's.
    pub(crate) hosts: usize,
    /// Who runs Kubernetes, and its version.
    pub(crate) provider: &'a str,
    /// Whether nothing real is touched.
    pub(crate) rehearsal: bool,
}

impl Facts<'_> {
    /// The first line, without a line break at its end.
    pub(crate) fn line(&self, width: usize) -> String {
        let Self { cloud, bundle, hosts, provider, rehearsal } = *self;
        let mut facts = vec![format!("cloud {}", clean(cloud)), format!("bundle {}", clean(bundle))];
        if hosts > 0 {
            facts.push(text::count(hosts, "host"));
        }
        facts.push(clean(provider));
        if rehearsal {
            facts.push("rehearsal: nothing real is touched".to_owned());
        }
        text::wrap(&facts.join(" · "), width, 2)
    }
}

/// `done in 2m41s`, `failed after 1m02s`.
pub(crate) fn outcome(outcome: Outcome, took: std::time::Duration) -> String {
    let took = human(took);
    match outcome {
        Outcome::Done => format!("done in {took}"),
        Outcome::Failed => format!("failed after {took}"),
        Outcome::Interrupted | Outcome::Terminated => format!("interrupted after {took}"),
        Outcome::LockLost => format!("stopped after {took}: the lock was lost"),
    }
}

/// A failure as one line, when it happens; the whole of it is said at the end.
pub(crate) fn failed_now(component: &str, failure: &Failure) -> String {
    let message = failure.message.lines().next().unwrap_or_default();
    format!("✗ {}: {}", clean(component), clean(message))
}

/// Why a component failed, from the gate down to the cause, and what to do.
pub(crate) struct Block<'a> {
    /// What failed.
    pub(crate) component: &'a str,
    /// Why.
    pub(crate) failure: &'a Failure,
    /// What cannot go on.
    pub(crate) blocks: &'a [String],
    /// How many components the plan has, where that is known.
    pub(crate) total: Option<usize>,
}

impl Block<'_> {
    /// The block as text of at most `width` columns, ended by a line break.
    pub(crate) fn render(&self, paint: Paint, width: usize) -> String {
        let Failure { code, message, chain, hint } = self.failure;
        let mut out = paint.bad(&format!("✗ {}: {}", clean(self.component), clean(message)));
        out.push('\n');
        let objects: Vec<String> = chain
            .iter()
            .enumerate()
            .map(|(depth, cause)| format!("{}└ {}", "  ".repeat(depth + 1), clean(&cause.object)))
            .collect();
        let column = objects.iter().map(|object| text::width(object)).max().unwrap_or(0).min(56);
        for (depth, (object, cause)) in objects.iter().zip(chain).enumerate() {
            let mut lines = cause.message.lines();
            let line = format!("{}   {}", pad(object, column), clean(lines.next().unwrap_or_default()));
            text::push_line(&mut out, &text::wrap(line.trim_end(), width, 2 * depth + 6));
            for more in lines {
                out.push_str(&format_more(depth, more));
            }
        }
        match hint {
            Some(hint) => {
                let hint: Vec<String> = hint.lines().map(clean).collect();
                let hint = format!("  fix       {}", hint.join("\n            "));
                // Room for the code, which stands in another colour.
                let lines = hint.lines().map(|line| text::wrap(line, width.saturating_sub(10), 12));
                out.push_str(&lines.collect::<Vec<_>>().join("\n"));
                out.push_str(&paint.faint(&format!("   ({code})")));
            }
            None => out.extend(["  code      ", &code.to_string()]),
        }
        out.push('\n');
        if !self.blocks.is_empty() {
            out.push_str(&self.blocked());
        }
        out
    }

    fn blocked(&self) -> String {
        const SHOWN: usize = 12;
        let mut names: Vec<String> = self.blocks.iter().take(SHOWN).map(|name| clean(name)).collect();
        if self.blocks.len() > SHOWN {
            names.push("…".to_owned());
        }
        let number = match self.total {
            Some(total) => format!("{} of {}", self.blocks.len(), text::count(total, "component")),
            None => text::count(self.blocks.len(), "component"),
        };
        format!("  blocks    {} ({number})\n", names.join(", "))
    }
}

/// A further line of a cause: a log line, an event.
fn format_more(depth: usize, line: &str) -> String {
    format!("{}│ {}\n", "  ".repeat(depth + 2), clean(line))
}

fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(text::width(text))))
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::error::Code;
    use crate::execute::event::Cause;
    use insta::assert_snapshot;

    #[test]
    fn a_failure_goes_from_the_gate_to_the_fix() {
        let failure = samples::failure();
        let blocks = ["vm-images".to_owned(), "monitoring".to_owned()];
        let block = Block { component: "linstor", failure: &failure, blocks: &blocks, total: Some(38) };
        assert_snapshot!(block.render(Paint(false), 200), @r"
        ✗ linstor: not ready after 62s (gate: deployment/piraeus-operator)
          └ deployment cozy-storage/piraeus-operator   1 of 1 replicas unavailable
            └ pod piraeus-operator-6d9f-x2k4q          container manager: CrashLoopBackOff (restarts 4, exit 1)
              │ failed to load kernel module drbd: exec format error
          fix       apt-get install linux-headers-$(uname -r) on node-2, then `cozy install` goes on from here   (C3012)
          blocks    vm-images, monitoring (2 of 38 components)
        ");
    }

    #[test]
    fn a_failure_without_a_hint_names_the_page() {
        let failure = Failure {
            code: Code(3001),
            message: "not ready after 62s".to_owned(),
            chain: Vec::new(),
            hint: None,
        };
        let block = Block { component: "web", failure: &failure, blocks: &[], total: None };
        assert_snapshot!(block.render(Paint(false), 200), @r"
        ✗ web: not ready after 62s
          code      C3001
        ");
    }

    #[test]
    fn hostile_text_stays_on_its_line() {
        let failure = Failure {
            code: Code(3001),
            message: "bad\u{1b}[2Jnews\n✓ all fine".to_owned(),
            chain: vec![Cause {
                object: "Pod a/b\u{202e}".to_owned(),
                message: "log\n\u{1b}]0;x\u{7}line".to_owned(),
            }],
            hint: Some("do\u{9b}1A this".to_owned()),
        };
        let block = Block { component: "web", failure: &failure, blocks: &[], total: None };
        assert_snapshot!(block.render(Paint(false), 200), @r"
        ✗ web: bad�[2Jnews ✓ all fine
          └ Pod a/b�   log
            │ �]0;x�line
          fix       do�1A this   (C3001)
        ");
    }
}
