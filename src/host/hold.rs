//! One cozy at a time on a host: a lock that lives as long as the process that
//! took it, and as the connection. Holding it costs a few bytes every ten
//! seconds; when they stay out for half a minute, the host lets others in.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin};
use tokio::task::JoinHandle;

use super::error::{HostError, Trouble, classify, last_words};
use super::quote;
use super::session::Session;

/// How often the host is told that the holder lives.
const BEAT: Duration = Duration::from_secs(10);

/// How long the host waits for that, in seconds.
const SILENCE: u64 = 30;

/// How long an answer may take, beside the time that is waited for others.
const PATIENCE: Duration = Duration::from_secs(30);

/// In a folder that no reboot survives.
const FILE: &str = "/run/cozy.lock";

/// A host that nobody else works on.
pub(crate) struct Hold {
    /// Killed when this is dropped; the host then notices that the connection ended.
    _child: Child,
    beats: JoinHandle<()>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Its end of the pipe goes with it, which ends the lock at once.
        self.beats.abort();
    }
}

impl Session {
    /// Keeps other runs of cozy off this host as long as the answer lives. `holder` is what they are told;
    /// `patience` is how long another one is waited for.
    ///
    /// # Errors
    /// [`Trouble::Held`] when another one has it.
    pub(crate) async fn hold(&self, holder: &str, patience: Duration) -> Result<Hold, HostError> {
        let script = format!("exec bash -c {}", quote(&script(holder, patience.as_secs())));
        let start = |error: std::io::Error| self.error(Trouble::NoClient(error.to_string()));
        let mut command = self.command(&script);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(start)?;
        let limit = PATIENCE + patience;
        match tokio::time::timeout(limit, answer(&mut child)).await {
            Ok(Some(None)) => {}
            Ok(Some(Some(by))) => return Err(self.error(Trouble::Held { by })),
            Ok(None) => {
                let mut said = String::new();
                if let Some(mut pipe) = child.stderr.take() {
                    let _ = tokio::time::timeout(PATIENCE, pipe.read_to_string(&mut said)).await;
                }
                let what = "taking the lock of the host".to_owned();
                return Err(self.error(match child.wait().await.ok().and_then(|status| status.code()) {
                    Some(255) => classify(self.target(), &said),
                    status => {
                        Trouble::Failed { what, status: status.unwrap_or(-1), detail: last_words(&said) }
                    }
                }));
            }
            Err(_) => {
                return Err(self.error(Trouble::TooSlow { what: "taking the lock".to_owned(), limit }));
            }
        }
        let stdin = child.stdin.take();
        Ok(Hold { _child: child, beats: tokio::spawn(beat(stdin)) })
    }
}

/// Tells the host that the holder lives, until it does not, or the connection ends.
async fn beat(stdin: Option<ChildStdin>) {
    let Some(mut stdin) = stdin else { return };
    let mut ticks = tokio::time::interval(BEAT);
    loop {
        ticks.tick().await;
        if stdin.write_all(b"\n").await.is_err() {
            return;
        }
    }
}

/// What the script answered: nothing, or who has it. The outer `None`: it ended without an answer.
async fn answer(child: &mut Child) -> Option<Option<String>> {
    let mut lines = BufReader::new(child.stdout.take()?).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line == "cozy-holds" {
            return Some(None);
        }
        if let Some(by) = line.strip_prefix("cozy-held ") {
            return Some(Some(by.to_owned()));
        }
    }
    None
}

/// Takes the lock, or says who has it; then waits for what is written to it.
fn script(holder: &str, patience: u64) -> String {
    format!(
        "exec 9<>{FILE} || exit
if ! flock -w {patience} 9; then
  echo \"cozy-held $(head -n 1 {FILE})\"
  exit 0
fi
printf '%s, since %s\\n' {} \"$(date -u +%H:%M:%SZ)\" >{FILE}
echo cozy-holds
while read -rt {SILENCE} _; do :; done",
        quote(holder)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Ssh, Target, Way};

    #[tokio::test]
    async fn a_host_is_held_by_one_at_a_time_and_freed_when_it_ends() {
        let ssh = Ssh { accept_new: false, config: None, patience: Duration::from_secs(5) };
        let target = Target { name: "here".to_owned(), way: Way::Local };
        let Ok(session) = Session::open(target, &ssh).await else { return };
        let first = session.hold("ana (pid 1)", Duration::ZERO).await.unwrap();
        let refused = session.hold("ben", Duration::ZERO).await.map(drop).unwrap_err();
        let said = refused.to_string();
        assert!(said.starts_with("host `here`: another run works on it: ana (pid 1), since "), "{said}");
        drop(first);
        session.hold("ben", Duration::from_secs(20)).await.map(drop).unwrap();
    }
}
