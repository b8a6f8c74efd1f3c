//! One cozy at a time on a host: a lock that lives as long as the process that
//! took it, and as the connection. Holding it costs a few bytes every ten
//! seconds; when they stay out for half a minute, the host lets others in.
//!
//! A lock that is lost is taken again before anything else is done there. Who
//! finds that somebody else was there meanwhile does nothing any more.
//!
//! What was started under a lock does not outlive it: scripts that are still at
//! work when it is let go, or taken, are ended. Else one that a killed run left
//! would remove what the next one has just sent. Phases are units of their own,
//! and go on.

use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::error::{HostError, Trouble, classify, last_words};
use super::quote;
use super::session::Session;
use super::ssh::Lines;

/// How often the host is told that the holder lives.
const BEAT: Duration = Duration::from_secs(10);

/// How long the host waits for that, in seconds.
const SILENCE: u64 = 30;

/// How long a lock that was lost is waited for: the host may not have noticed yet that the holder's connection ended.
const AGAIN: Duration = Duration::from_secs(SILENCE + 5);

/// How long a lock is waited for at least: who was killed a moment ago still has it.
const GRACE: Duration = Duration::from_secs(5);

/// How long an answer may take, beside the time that is waited for others.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long the end of what was at work under a lock is waited for, in seconds.
const ENDING: u64 = 40;

/// In a folder that no reboot survives.
const FILE: &str = "/run/cozy.lock";

/// What scripts that work under a lock have in their environment.
pub(super) const MARK: &str = "COZY_LOCKED=1";

/// The exit status of a script on a host whose lock is not ours any more.
pub(super) const NOT_OURS: i32 = 93;

/// Whether a session keeps others off its host.
pub(super) struct Holds {
    current: Mutex<Option<Hold>>,
    /// Who takes a lost lock again.
    turn: Semaphore,
}

/// The lock of a host.
struct Hold {
    /// What others are told.
    holder: String,
    held: Held,
    beats: JoinHandle<()>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        // The process goes with it; the host then notices that the connection ended.
        self.beats.abort();
    }
}

/// A lock as those see it who work under it.
#[derive(Clone)]
pub(super) struct Held {
    /// What stands in the file on the host as long as it is ours.
    line: String,
    lost: watch::Sender<bool>,
}

impl Held {
    /// A script that does nothing where the lock is somebody else's.
    pub(super) fn guards(&self, script: &str) -> String {
        let line = quote(&self.line);
        format!(
            "{{ read -r held <{FILE}; }} 2>/dev/null && [ \"$held\" = {line} ] || exit {NOT_OURS}\n{script}"
        )
    }

    /// Takes note that it is lost.
    pub(super) fn lose(&self) {
        self.lost.send_replace(true);
    }

    /// Ends when it is lost.
    pub(super) async fn lost(&self) {
        let _ = self.lost.subscribe().wait_for(|lost| *lost).await;
    }
}

/// What the script on the host answered.
enum Answer {
    /// The lock is ours: what stands in its file.
    Holds(String),
    /// Another run has it.
    Held(String),
    /// Another run had it since we lost it.
    Other(String),
}

impl Holds {
    pub(super) fn new() -> Self {
        Self { current: Mutex::new(None), turn: Semaphore::new(1) }
    }

    fn with<T>(&self, look: impl FnOnce(&mut Option<Hold>) -> T) -> T {
        look(&mut self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Session {
    /// Keeps other runs of cozy off this host as long as the session lives. `holder` is what they are told;
    /// `patience` is how long another one is waited for.
    ///
    /// # Errors
    /// [`Trouble::Held`] when another one has it.
    pub(crate) async fn hold(&self, holder: &str, patience: Duration) -> Result<(), HostError> {
        let hold = self.take(holder, patience, None).await?;
        self.holds().with(|current| *current = Some(hold));
        Ok(())
    }

    /// The lock that work is done under, taken again if it was lost; `None`: none was asked for.
    ///
    /// # Errors
    /// [`Trouble::LockLost`] when somebody else was there since, [`Trouble::Held`] when they still are.
    pub(super) async fn held(&self) -> Result<Option<Held>, HostError> {
        let known =
            || self.holds().with(|current| current.as_ref().map(|it| (it.holder.clone(), it.held.clone())));
        let lives = |known: Option<(String, Held)>| match known {
            Some((holder, held)) if *held.lost.borrow() => Err((holder, held)),
            Some((_, held)) => Ok(Some(held)),
            None => Ok(None),
        };
        if let Ok(held) = lives(known()) {
            return Ok(held);
        }
        let _turn = self.holds().turn.acquire().await;
        match lives(known()) {
            Ok(held) => Ok(held),
            Err((holder, lost)) => {
                let taken = self.take(&holder, AGAIN, Some(&lost.line)).await?;
                let held = taken.held.clone();
                self.holds().with(|current| *current = Some(taken));
                Ok(Some(held))
            }
        }
    }

    /// Takes the lock; `mine`: what stood in its file when it was ours before.
    async fn take(&self, holder: &str, patience: Duration, mine: Option<&str>) -> Result<Hold, HostError> {
        let patience = patience.max(GRACE);
        let script = format!("exec bash -c {}", quote(&script(holder, patience.as_secs(), mine)));
        let start = |error: std::io::Error| self.error(Trouble::NoClient(error.to_string()));
        let mut command = self.command(&script, false);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(start)?;
        let limit = PATIENCE + patience;
        let too_slow = || self.error(Trouble::TooSlow { what: "taking the lock".to_owned(), limit });
        let answered = tokio::time::timeout(limit, answer(&mut child)).await.map_err(|_| too_slow())?;
        match answered {
            Some((Answer::Holds(line), lines)) => {
                let held = Held { line, lost: watch::Sender::new(false) };
                let beats = tokio::spawn(beat(child, lines, held.clone()));
                Ok(Hold { holder: holder.to_owned(), held, beats })
            }
            Some((Answer::Held(by), _)) => Err(self.error(Trouble::Held { by })),
            Some((Answer::Other(by), _)) => Err(self.error(Trouble::LockLost { by: Some(by) })),
            None => {
                let mut said = String::new();
                if let Some(mut pipe) = child.stderr.take() {
                    let _ = tokio::time::timeout(PATIENCE, pipe.read_to_string(&mut said)).await;
                }
                let what = "taking the lock of the host".to_owned();
                Err(self.error(match child.wait().await.ok().and_then(|status| status.code()) {
                    Some(255) => classify(self.target(), &said),
                    status => {
                        Trouble::Failed { what, status: status.unwrap_or(-1), detail: last_words(&said) }
                    }
                }))
            }
        }
    }
}

/// Tells the host that the holder lives, until one of the two does not, or the connection ends.
async fn beat(mut child: Child, mut lines: Lines, held: Held) {
    if let Some(mut stdin) = child.stdin.take() {
        let mut ticks = tokio::time::interval(BEAT);
        let beats = async {
            loop {
                ticks.tick().await;
                if stdin.write_all(b"\n").await.is_err() {
                    return;
                }
            }
        };
        // It says nothing more: its end is what comes.
        let end = async { while lines.next().await.is_some() {} };
        tokio::select! { () = beats => {}, () = end => {} }
    }
    held.lose();
}

/// What the script answered, and where more would come from; `None`: it ended without an answer.
async fn answer(child: &mut Child) -> Option<(Answer, Lines)> {
    let mut lines = Lines::new(child.stdout.take()?);
    while let Some(line) = lines.next().await {
        let answer = match line.split_once(' ') {
            Some(("cozy-holds", line)) => Answer::Holds(line.to_owned()),
            Some(("cozy-held", by)) => Answer::Held(by.to_owned()),
            Some(("cozy-other", by)) => Answer::Other(by.to_owned()),
            _ => continue,
        };
        return Some((answer, lines));
    }
    None
}

/// Ends what is at work under a lock: not in containers, whose processes are no business of ours, and
/// nothing that does not go within 10 s.
fn end_scripts() -> String {
    format!(
        r#"end_scripts() {{
  tries=0 begun=$(date +%s)
  while [ $(($(date +%s) - begun)) -lt 10 ]; do
    left=
    for environ in $(grep -lszxF '{MARK}' /proc/[0-9]*/environ); do
      pid=${{environ#/proc/}} pid=${{pid%/environ}}
      [ "$(readlink /proc/$pid/ns/pid)" = "$(readlink /proc/self/ns/pid)" ] && left="$left $pid"
    done
    [ -n "$left" ] || return 0
    # Asked first, and once, so that they can take away what they were making.
    if [ $tries = 0 ]; then kill -TERM $left; elif [ $(($(date +%s) - begun)) -ge 2 ]; then kill -KILL $left; fi 2>/dev/null
    tries=$((tries + 1))
    sleep 0.1
  done
}}"#
    )
}

/// Takes the lock, or says who has it; then waits for what is written to it.
fn script(holder: &str, patience: u64, mine: Option<&str>) -> String {
    let since = mine.map_or_else(String::new, |mine| {
        format!(
            "was=$(head -n 1 {FILE})
case ${{was%, ending}} in '' | {}) ;; *) echo \"cozy-other $was\"; exit 0 ;; esac\n",
            quote(mine)
        )
    });
    format!(
        "{}
# Start-up files may have printed half a line.
echo
exec 9<>{FILE} || exit
# Who had it may be gone already, and what was at work for it is being ended.
ending() {{ case $(head -n 1 {FILE}) in *', ending') ;; *) false ;; esac; }}
if ! flock -w {patience} 9 && ! {{ ending && flock -w {ENDING} 9; }}; then
  echo \"cozy-held $(head -n 1 {FILE})\"
  exit 0
fi
{since}line={}\", since $(date -u +%H:%M:%SZ)\"
echo \"$line\" >{FILE}
# Whatever begins from here on sees that line; what began before is ended.
end_scripts
echo \"cozy-holds $line\"
while read -rt {SILENCE} _; do :; done
echo \"$line, ending\" >{FILE}
end_scripts",
        end_scripts(),
        quote(holder)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Ssh, Target, Way};

    async fn here() -> Option<Session> {
        let ssh = Ssh { accept_new: false, config: None, patience: Duration::from_secs(5) };
        let target = Target { name: "here".to_owned(), way: Way::Local };
        Session::open(target, &ssh).await.ok()
    }

    /// Ends the process that has the lock of this machine, as when its connection breaks.
    fn cut() {
        let script = format!(
            "for fd in /proc/[0-9]*/fd/9; do
                [ \"$(readlink $fd)\" = {FILE} ] || continue
                pid=${{fd#/proc/}} pid=${{pid%%/*}}
                [ \"$(readlink /proc/$pid/ns/mnt)\" = \"$(readlink /proc/self/ns/mnt)\" ] && kill -KILL $pid
            done
            true"
        );
        assert!(std::process::Command::new("sh").args(["-c", &script]).status().unwrap().success());
    }

    #[tokio::test]
    async fn a_host_is_held_by_one_at_a_time_and_a_lost_lock_is_taken_again_unless_somebody_was_there() {
        let (Some(ana), Some(ben)) = (here().await, here().await) else { return };
        ana.hold("ana (pid 1)", Duration::from_secs(20)).await.unwrap();
        let refused = ben.hold("ben", Duration::ZERO).await.unwrap_err();
        let said = refused.to_string();
        assert!(said.starts_with("host `here`: another run works on it: ana (pid 1), since "), "{said}");
        // Lost, and nobody else was there: work goes on under the lock.
        let lost = ana.held().await.unwrap().unwrap();
        cut();
        lost.lost().await;
        ana.sh("working", "true").await.unwrap();
        ben.hold("ben", Duration::ZERO).await.unwrap_err();
        // Lost while a script runs: it is cut off, and is to be done again.
        let folder = tempfile::tempdir().unwrap();
        let [file, trapped] = ["written", "trapped"].map(|name| folder.path().join(name));
        let long = format!(
            "trap 'echo >{}' EXIT; trap 'exit 143' TERM
             sh -c 'sleep 61; touch {}' & wait",
            trapped.display(),
            file.display()
        );
        let (worked, ()) = tokio::join!(ana.sh("working", &long), async {
            let held = ana.held().await.unwrap().unwrap();
            cut();
            held.lost().await;
        });
        let error = worked.unwrap_err();
        assert_eq!(error.trouble, Trouble::LockLost { by: None });
        assert!(error.is_away());
        // Another run was there, and has ended: what this one knows is old.
        ben.hold("ben", Duration::from_secs(20)).await.unwrap();
        // What was still at work for the one before was ended first, and cleaned up.
        assert!(trapped.exists());
        let left = std::process::Command::new("pgrep").args(["-fx", "sleep 61"]).output().unwrap();
        assert_eq!(String::from_utf8(left.stdout).unwrap(), "");
        drop(ben);
        for _ in 0..2 {
            let script = format!("touch {}", file.display());
            let error = ana.sh("working", &script).await.unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with("host `here`: its lock was lost, and another run took it: ben, since "),
                "{error}"
            );
            assert!(!error.is_away() && !file.exists());
        }
    }

    #[tokio::test]
    async fn a_script_does_nothing_on_a_host_whose_lock_is_somebody_elses() {
        let line = "ana, since 10:00:00Z".to_owned();
        let guarded = Held { line, lost: watch::Sender::new(false) }.guards("echo done");
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("lock");
        let script = guarded.replace(FILE, lock.to_str().unwrap());
        let run = || {
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            (output.status.code(), String::from_utf8(output.stdout).unwrap())
        };
        assert_eq!(run(), (Some(NOT_OURS), String::new()));
        fs_err::write(&lock, "ana, since 10:00:00Z\n").unwrap();
        assert_eq!(run(), (Some(0), "done\n".to_owned()));
        fs_err::write(&lock, "ben, since 10:01:00Z\n").unwrap();
        assert_eq!(run(), (Some(NOT_OURS), String::new()));
    }
}
