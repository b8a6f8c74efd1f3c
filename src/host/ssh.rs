//! The user's OpenSSH, so that their configuration, agents, jump hosts,
//! hardware keys and `known_hosts` all keep working.
//!
//! Plain `ssh` processes instead of the crate `openssh`: its control master
//! detaches itself and outlives a killed process. Ours is a child whose remote
//! command reads standard input: when cozy ends, however it ends, the pipe
//! closes, the command ends, and the connection with it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::error::{HostError, Trouble, classify, last_words};
use super::{Target, Way, quote};

/// How SSH is used.
#[derive(Debug, Clone)]
pub(crate) struct Ssh {
    /// Take the keys of hosts that are not known yet, and store them.
    pub(crate) accept_new: bool,
    /// Another configuration than the user's own.
    pub(crate) config: Option<PathBuf>,
    /// How long a connection may take.
    pub(crate) patience: Duration,
}

/// What the first command prints when it got all it needs.
const READY: &str = "cozy-ready";

/// An open connection that further commands use.
pub(crate) struct Master {
    ssh: Ssh,
    /// Holds the control socket; removed at the end.
    folder: tempfile::TempDir,
    /// Kept for its standard input: see above.
    _child: Child,
    /// Whether commands need `sudo`.
    pub(crate) sudo: bool,
}

impl Master {
    /// Connects, and finds out whether we may do everything there.
    pub(crate) async fn open(target: &Target, ssh: &Ssh) -> Result<Self, HostError> {
        let fail = |trouble| HostError::new(target, trouble);
        let start = |error: std::io::Error| fail(Trouble::NoClient(error.to_string()));
        // In /tmp, because a socket's path may have 108 bytes at most (unix(7)), of which ssh takes 17.
        let folder = tempfile::Builder::new().prefix("cozy-").tempdir_in("/tmp").map_err(start)?;
        let script = format!(
            "if [ \"$(id -u)\" = 0 ]; then echo {READY} root; \
             elif sudo -n true; then echo {READY} sudo; else echo {READY} none; fi; exec cat >/dev/null"
        );
        let mut child = command(target, ssh, &socket(&folder), true, &format!("sh -c {}", quote(&script)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(start)?;
        let limit = ssh.patience * 2;
        let answer = tokio::time::timeout(limit, answer(&mut child)).await;
        let mut stderr = String::new();
        let rights = match answer {
            Ok(Some(rights)) => rights,
            Ok(None) => {
                if let Some(mut pipe) = child.stderr.take() {
                    let _ = tokio::time::timeout(ssh.patience, pipe.read_to_string(&mut stderr)).await;
                }
                return Err(fail(classify(target, &stderr)));
            }
            Err(_) => return Err(fail(Trouble::TooSlow { what: "the login".to_owned(), limit })),
        };
        if rights == "none" {
            if let Some(mut pipe) = child.stderr.take() {
                // What sudo said is there already: ssh gave it on before the answer, or gives it now.
                drop(child.stdin.take());
                let _ = tokio::time::timeout(ssh.patience, pipe.read_to_string(&mut stderr)).await;
            }
            let user = user(target);
            return Err(fail(Trouble::NoSudo { user, detail: last_words(&stderr) }));
        }
        Ok(Self { ssh: ssh.clone(), folder, _child: child, sudo: rights == "sudo" })
    }

    /// A command on the host, over this connection; over one of its own where it broke.
    pub(crate) fn command(&self, target: &Target, remote: &str) -> Command {
        command(target, &self.ssh, &socket(&self.folder), false, remote)
    }
}

/// The rights that the first command found; `None`: ssh ended before.
async fn answer(child: &mut Child) -> Option<String> {
    let mut lines = BufReader::new(child.stdout.take()?).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // Start-up files of the user's shell may print, too.
        if let Some(rights) = line.strip_prefix(READY) {
            return Some(rights.trim().to_owned());
        }
    }
    None
}

fn socket(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("c")
}

fn user(target: &Target) -> String {
    match &target.way {
        Way::Ssh { user, .. } => user.clone(),
        Way::Local => "this user".to_owned(),
    }
}

fn command(target: &Target, ssh: &Ssh, socket: &Path, master: bool, remote: &str) -> Command {
    let mut command = Command::new("ssh");
    // ssh's words are read, so they must be English.
    command.env("LC_ALL", "C");
    if let Some(config) = &ssh.config {
        command.arg("-F").arg(config);
    }
    let mut option = |text: String| {
        command.arg("-o").arg(OsString::from(text));
    };
    for text in ["BatchMode=yes", "LogLevel=ERROR", "ServerAliveInterval=5", "ServerAliveCountMax=3"] {
        option(text.to_owned());
    }
    for text in ["RequestTTY=no", "ForwardAgent=no", "ForwardX11=no", "ControlPersist=no"] {
        option(text.to_owned());
    }
    option(format!("StrictHostKeyChecking={}", if ssh.accept_new { "accept-new" } else { "yes" }));
    option(format!("ConnectTimeout={}", ssh.patience.as_secs().max(1)));
    option(format!("ControlMaster={}", if master { "yes" } else { "no" }));
    command.arg("-S").arg(socket);
    if let Way::Ssh { address, user, port } = &target.way {
        if let Some(port) = port {
            command.arg("-p").arg(port.to_string());
        }
        command.arg("-l").arg(user).arg("--").arg(address);
    }
    command.arg(remote);
    command
}
