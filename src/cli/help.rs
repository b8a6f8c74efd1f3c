//! The overview that `cozy --help` prints: all commands and common flags on one screen of 24 lines and 80 columns. The
//! help of each command says more.

use std::fmt::Write as _;

use clap::Command;

/// Commands for other programs than people: one line for all of them.
const FOR_PROGRAMS: [&str; 4] = ["schema", "completion", "man", "version"];

/// What is the same for all commands.
const REST: &str = "
  -f, --file PATH   --catalogue DIR   --kubeconfig PATH   --context NAME
  -o, --output text|json|yaml   --no-input   --concurrency N   --color WHEN
  -q, --quiet   -v, --verbose   -h, --help   -V, --version

Exit codes: 0 done · 1 failed or declined · 2 wrong use or input · 3 changes
  4 preflight failed · 5 unhealthy or late · 6 locked · 130 SIGINT · 143 SIGTERM
";

/// The overview of a command line.
pub(super) fn overview(cli: &Command) -> String {
    let about = cli.get_about().map(ToString::to_string).unwrap_or_default();
    let mut text = format!("{about}\nUsage: cozy COMMAND [OPTIONS]   (cozy COMMAND --help says more)\n\n");
    let shown = |command: &&Command| !command.is_hide_set() && !FOR_PROGRAMS.contains(&command.get_name());
    for command in cli.get_subcommands().filter(shown) {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "  {:<10} {about}", command.get_name());
    }
    let _ = writeln!(text, "  {}: for editors, shells and scripts", FOR_PROGRAMS.join(", "));
    text + REST
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::super::Cli;
    use super::*;

    #[test]
    fn the_overview_fits_a_screen_and_leaves_nothing_out() {
        let cli = Cli::command();
        let text = overview(&cli);
        // The shell's next prompt takes a line, too.
        assert!(text.lines().count() <= 23, "{} lines:\n{text}", text.lines().count());
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        for command in cli.get_subcommands().filter(|command| !command.is_hide_set()) {
            assert!(text.contains(command.get_name()), "{}", command.get_name());
        }
        for flag in cli.get_arguments().filter_map(clap::Arg::get_long) {
            assert!(text.contains(&format!("--{flag}")), "{flag}");
        }
    }
}
