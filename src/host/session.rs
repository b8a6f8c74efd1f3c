//! An open session: scripts run on a host as root, with a deadline each.

use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::error::{HostError, Trouble, classify, last_words};
use super::hold::{Held, Holds, MARK, NOT_OURS};
use super::ssh::{Master, Ssh};
use super::{Target, Way, quote};

/// How long a command may take when nothing else is said.
const PATIENCE: Duration = Duration::from_secs(120);

/// Commands at once on one host: sshd's `MaxSessions` is 10 by default, one is the master's.
const SESSIONS: usize = 6;

/// How long a command whose host's lock was lost may take to say why.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The exit statuses of scripts that were ended by a signal: SIGTERM and SIGKILL.
const KILLED: [i32; 2] = [143, 137];

/// Where programs are, whatever the login says.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Printed before a script's own output: start-up files of the user's shell may print, too.
const BEGIN: char = '\u{1e}';

/// A host that can be worked on.
pub(crate) struct Session {
    target: Target,
    channel: Channel,
    sudo: bool,
    sessions: Semaphore,
    holds: Holds,
}

enum Channel {
    Local,
    Ssh(Box<Master>),
}

/// What a script reads.
pub(crate) enum Feed<'a> {
    /// Some bytes.
    Bytes(&'a [u8]),
    /// A file, piece by piece.
    File(tokio::fs::File),
}

impl<'a> From<&'a [u8]> for Feed<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Feed<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Bytes(bytes)
    }
}

/// How a script ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    /// Its exit status.
    pub(crate) status: i32,
    /// What it printed.
    pub(crate) stdout: String,
    /// What it said.
    pub(crate) stderr: String,
}

impl Session {
    /// Connects to a host.
    pub(crate) async fn open(target: Target, ssh: &Ssh) -> Result<Self, HostError> {
        let (channel, sudo) = match &target.way {
            Way::Local => (Channel::Local, false),
            Way::Ssh { .. } => {
                let master = Master::open(&target, ssh).await?;
                let sudo = master.sudo;
                (Channel::Ssh(Box::new(master)), sudo)
            }
        };
        let mut session =
            Self { target, channel, sudo, sessions: Semaphore::new(SESSIONS), holds: Holds::new() };
        if matches!(session.channel, Channel::Local) {
            let script = "[ \"$(id -u)\" = 0 ] || { sudo -n true && exit 3; exit 4; }";
            let output = session.run("the check of your rights", script, &[], PATIENCE).await?;
            match output.status {
                0 => {}
                3 => session.sudo = true,
                _ => {
                    let detail = last_words(&output.stderr);
                    return Err(session.error(Trouble::NoSudo { user: "you".to_owned(), detail }));
                }
            }
        }
        Ok(session)
    }

    /// Which host this is.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Whether others are kept off it.
    pub(super) fn holds(&self) -> &Holds {
        &self.holds
    }

    /// An error of this host.
    pub(crate) fn error(&self, trouble: Trouble) -> HostError {
        HostError::new(&self.target, trouble)
    }

    /// Runs a POSIX shell script as root. Any exit status is an answer.
    pub(crate) async fn run(
        &self,
        what: &str,
        script: &str,
        stdin: impl Into<Feed<'_>>,
        limit: Duration,
    ) -> Result<Output, HostError> {
        let stdin = stdin.into();
        let held = self.held().await?;
        let _permit = self.sessions.acquire().await;
        let script = held.as_ref().map_or_else(|| script.to_owned(), |held| held.guards(script));
        let script = format!("printf '\\036'\n{script}");
        let mut command = self.command(&script, held.is_some());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let work = async {
            let mut child = command.spawn()?;
            let mut pipe = child.stdin.take();
            let feed = async {
                if let Some(pipe) = &mut pipe {
                    // A script that ends early reads no more: its exit status says why.
                    match stdin {
                        Feed::Bytes(bytes) => drop(pipe.write_all(bytes).await),
                        Feed::File(mut file) => drop(tokio::io::copy(&mut file, pipe).await),
                    }
                    let _ = pipe.shutdown().await;
                }
                drop(pipe);
            };
            let (output, ()) = tokio::join!(child.wait_with_output(), feed);
            output
        };
        let work = under(held.as_ref(), tokio::time::timeout(limit, work));
        let Some(worked) = work.await else { return Err(self.error(Trouble::LockLost { by: None })) };
        let output = match worked {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Err(self.error(Trouble::NoClient(error.to_string()))),
            Err(_) => return Err(self.error(Trouble::TooSlow { what: what.to_owned(), limit })),
        };
        if let (Some(held), true) = (&held, output.status.code().is_some_and(|code| KILLED.contains(&code)))
            && tokio::time::timeout(LAST_WORDS, held.lost()).await.is_ok()
        {
            // The host let others in, and ended what was still at work for this run.
            return Err(self.error(Trouble::LockLost { by: None }));
        }
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let own = stdout.split_once(BEGIN).map(|(_, own)| own.to_owned());
        match (output.status.code(), own) {
            // Without the mark the script never began: ssh's or sudo's words say why.
            (Some(255), None) => Err(self.error(classify(&self.target, &stderr))),
            (Some(255), Some(_)) if matches!(self.channel, Channel::Ssh(_)) => {
                Err(self.error(Trouble::Lost(last_words(&stderr))))
            }
            (Some(NOT_OURS), Some(_)) if held.is_some() => {
                held.iter().for_each(Held::lose);
                Err(self.error(Trouble::LockLost { by: None }))
            }
            (Some(status), Some(stdout)) => Ok(Output { status, stdout, stderr }),
            (Some(status), None) => Err(self.error(Trouble::Failed {
                what: what.to_owned(),
                status,
                detail: last_words(&stderr),
            })),
            (None, _) => Err(self.error(Trouble::Lost("the command was killed".to_owned()))),
        }
    }

    /// The host's own address that it was reached at; empty: it is this machine.
    pub(crate) fn reached(&self) -> &str {
        match &self.channel {
            Channel::Local => "",
            Channel::Ssh(master) => &master.reached,
        }
    }

    /// A POSIX shell script as root on the host, not started yet. `marked`: it may be ended by who takes the lock.
    pub(super) fn command(&self, script: &str, marked: bool) -> Command {
        let script = format!("LC_ALL=C HOME=/root; export LC_ALL HOME; umask 022\n{script}");
        // Login shells quote in different ways; these characters are the same to all of them.
        let script = BASE64_STANDARD.encode(script);
        let start = format!("PATH={PATH}; export PATH; eval \"$(printf %s {script} | base64 -d)\"");
        let mut words = String::new();
        if self.sudo {
            words.push_str("sudo -n -- ");
        }
        if marked {
            words.push_str("env ");
            words.push_str(MARK);
            words.push(' ');
        }
        words.push_str("sh -c ");
        words.push_str(&quote(&start));
        match &self.channel {
            Channel::Local => {
                let mut command = Command::new("sh");
                command.args(["-c", &words]);
                command
            }
            Channel::Ssh(master) => master.command(&self.target, &words),
        }
    }

    /// Runs a script that must succeed, and gives what it printed.
    pub(crate) async fn must(
        &self,
        what: &str,
        script: &str,
        stdin: impl Into<Feed<'_>>,
        limit: Duration,
    ) -> Result<String, HostError> {
        let output = self.run(what, script, stdin, limit).await?;
        if output.status == 0 { Ok(output.stdout) } else { Err(self.failed(what, &output)) }
    }

    /// Runs a short script that must succeed.
    pub(crate) async fn sh(&self, what: &str, script: &str) -> Result<String, HostError> {
        self.must(what, script, &[], PATIENCE).await
    }

    /// What a failed script means.
    pub(crate) fn failed(&self, what: &str, output: &Output) -> HostError {
        self.error(trouble(what, output))
    }
}

/// What a failed script's words mean. Programs begin them as they like.
fn trouble(what: &str, output: &Output) -> Trouble {
    let what = what.to_owned();
    let words = format!("{}{}", output.stderr, output.stdout).to_lowercase();
    if words.contains("no space left on device") {
        Trouble::NoSpace { what }
    } else if words.contains("read-only file system") {
        Trouble::ReadOnly { what }
    } else if words.contains(": i/o error") {
        // What dash's own `echo` and `printf` say, whatever the reason.
        Trouble::Unwritten { what }
    } else {
        let said = if output.stderr.trim().is_empty() { &output.stdout } else { &output.stderr };
        Trouble::Failed { what, status: output.status, detail: last_words(said) }
    }
}

/// Does work under a lock, if there is one; `None`: the lock was lost on the way.
async fn under<T>(held: Option<&Held>, work: impl Future<Output = T>) -> Option<T> {
    let Some(held) = held else { return Some(work.await) };
    let mut work = std::pin::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => Some(done),
        // Where the connection broke, ssh says so in a moment.
        () = held.lost() => tokio::time::timeout(LAST_WORDS, work).await.ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Login shells of people, and how their `-c` is told not to read start-up files.
    const SHELLS: [(&str, &[&str]); 8] = [
        ("sh", &[]),
        ("bash", &[]),
        ("dash", &[]),
        ("zsh", &["-f"]),
        ("fish", &["-N"]),
        ("tcsh", &["-f"]),
        ("csh", &["-f"]),
        ("ksh", &[]),
    ];

    #[tokio::test]
    async fn scripts_are_the_same_to_every_login_shell() {
        let ssh = super::super::Ssh { accept_new: false, config: None, patience: Duration::from_secs(5) };
        let target = Target { name: "here".to_owned(), way: Way::Local };
        let Ok(session) = Session::open(target, &ssh).await else { return };
        let script = "for word in 'it'\\''s' \"a\\\\b!c\" '$(reboot)'; do printf '%s\\n' \"$word\"; done\ncat; umask; echo ${LC_ALL:-none} ~";
        let command = session.command(script, true);
        let words = command.as_std().get_args().last().unwrap().to_str().unwrap().to_owned();
        assert!(!words.contains(['\\', '!', '\n']) && words.matches('\'').count() == 2, "{words}");
        let there =
            |shell: &str| std::process::Command::new("which").arg(shell).output().unwrap().status.success();
        for (shell, options) in SHELLS.into_iter().filter(|(shell, _)| there(shell)) {
            let mut command = Command::new(shell);
            command.args(options).args(["-c", &words]);
            command.env("LC_ALL", "de_DE.UTF-8").env("PATH", "/no where:.::/usr/bin:/bin").env("HOME", "/no");
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            child.stdin.take().unwrap().write_all(b"fed\n").await.unwrap();
            let output = child.wait_with_output().await.unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            assert_eq!(said, "it's\na\\b!c\n$(reboot)\nfed\n0022\nC /root\n", "{shell}");
        }
    }

    #[test]
    fn a_full_disk_is_known_by_the_words_of_every_program() {
        let said = |stderr: &str| {
            let output = Output { status: 1, stdout: String::new(), stderr: stderr.to_owned() };
            trouble("importing images", &output).to_string()
        };
        let full = "importing images failed: no space is left on the device";
        assert_eq!(said("cat: write error: No space left on device"), full);
        assert_eq!(said("ctr: failed to open writer: mkdir /var/lib/x: no space left on device"), full);
        assert_eq!(
            said("touch: /etc/x: Read-only file system"),
            "importing images failed: the file system is read-only"
        );
        assert_eq!(
            said("sh: 1: echo: echo: I/O error"),
            "importing images failed: the disk is full or broken"
        );
        assert_eq!(said("no"), "importing images failed (exit 1): no");
    }
}
