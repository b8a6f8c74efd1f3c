//! Questions. Without a terminal nothing is ever asked: what needs an answer
//! is an error that names the flag.

use std::io;

use dialoguer::Confirm;

use super::text::clean;

/// A question that nobody could answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot ask `{question}`: there is no terminal to ask on, and `{flag}` was not given")]
pub(crate) struct NeedsFlag {
    question: String,
    flag: &'static str,
}

impl NeedsFlag {
    /// What to do.
    pub(crate) fn hint(&self) -> String {
        format!("add `{}` to confirm it, after a look at what `cozy plan` prints", self.flag)
    }
}

/// Asks yes or no. `yes` answers for the person; Ctrl-C is a no.
pub(crate) fn confirm(
    question: &str,
    default: bool,
    yes: bool,
    interactive: bool,
) -> Result<bool, NeedsFlag> {
    if yes {
        return Ok(true);
    }
    let needs_flag = || NeedsFlag { question: clean(question), flag: "--yes" };
    if !interactive {
        return Err(needs_flag());
    }
    match Confirm::new().with_prompt(clean(question)).default(default).interact() {
        Ok(answer) => Ok(answer),
        Err(dialoguer::Error::IO(error)) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(dialoguer::Error::IO(_)) => Err(needs_flag()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_the_flag_is_named() {
        assert_eq!(confirm("go on?", false, true, false), Ok(true));
        let error = confirm("go on?", true, false, false).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot ask `go on?`: there is no terminal to ask on, and `--yes` was not given"
        );
        assert_eq!(error.hint(), "add `--yes` to confirm it, after a look at what `cozy plan` prints");
    }
}
