//! The user's OpenSSH, so that their configuration, agents, jump hosts,
//! hardware keys and `known_hosts` all keep working.
//!
//! Plain `ssh` processes instead of the crate `openssh`: its control master
//! detaches itself and outlives a killed process. Ours is a child whose remote
//! command reads standard input: when cozy ends, however it ends, the pipe
//! closes, the command ends, and the connection with it.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Once, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

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

impl Ssh {
    /// The same with a configuration that jump hosts are reached by, too: the `ssh` that ssh starts for them (`ProxyJump`)
    /// gets none of its options but `-F`. Of an option the first value counts. Where ssh would refuse the user's
    /// configuration, it is to say so itself.
    fn for_jumps(&self, folder: &Path) -> std::io::Result<Self> {
        let named = self.config.as_deref().map(fs_err::read);
        let usual = home().join(".ssh/config");
        let system = ["/etc/ssh/ssh_config", "/usr/etc/ssh/ssh_config"].map(Path::new);
        let system = system.into_iter().find(|path| path.exists());
        let included = [Some(usual.as_path()), system];
        let included = || included.into_iter().flatten().filter(|_| named.is_none());
        if named.as_ref().is_some_and(Result::is_err) || !included().all(is_taken) {
            return Ok(self.clone());
        }
        let mut text = "Host *\n".to_owned();
        for option in self.for_all() {
            text.push_str(&option.replacen('=', " ", 1));
            text.push('\n');
        }
        text.push_str("Match all\n");
        for path in included() {
            let _ = writeln!(text, "Include \"{}\"", path.display());
        }
        // ssh checks who may write what is included, and not what `-F` names.
        let text = [text.into_bytes(), named.transpose()?.unwrap_or_default()].concat();
        let config = folder.join("config");
        fs_err::write(&config, text)?;
        Ok(Self { config: Some(config), ..self.clone() })
    }

    /// The options that count on the way, too.
    fn for_all(&self) -> [String; 4] {
        [
            "BatchMode=yes".to_owned(),
            "LogLevel=ERROR".to_owned(),
            format!("StrictHostKeyChecking={}", if self.accept_new { "accept-new" } else { "yes" }),
            format!("ConnectTimeout={}", self.patience.as_secs().max(1)),
        ]
    }

    /// Whether the client knows the options of OpenSSH 8.7. `IgnoreUnknown` would tell an older one to pass over them,
    /// and override the one in the user's configuration.
    fn knows_sessions() -> bool {
        static KNOWS: OnceLock<bool> = OnceLock::new();
        *KNOWS.get_or_init(|| {
            let said = std::process::Command::new("ssh").arg("-V").output();
            said.is_ok_and(|said| release(&String::from_utf8_lossy(&said.stderr)) >= Some((8, 7)))
        })
    }
}

/// Whether ssh takes a configuration that is included: it may be missing, and nobody else may write it (`readconf.c`,
/// `SSHCONF_CHECKPERM`).
fn is_taken(config: &Path) -> bool {
    let Ok(found) = fs_err::metadata(config) else { return true };
    let me = user_id();
    fs_err::File::open(config).is_ok() && found.mode() & 0o022 == 0 && [0, me].contains(&found.uid())
}

fn user_id() -> u32 {
    fs_err::metadata("/proc/self").map_or(0, |me| me.uid())
}

/// Where ssh looks for a user's files: what `passwd(5)` says, whatever HOME says.
fn home() -> PathBuf {
    let users = fs_err::read_to_string("/etc/passwd").unwrap_or_default();
    let me = user_id().to_string();
    let own = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let own = own
        .filter(|words| words.get(2) == Some(&me.as_str()))
        .find_map(|words| words.get(5).map(PathBuf::from));
    own.or_else(std::env::home_dir).unwrap_or_default()
}

/// The release that a client says it is of: `OpenSSH_9.2p1 Debian-2+deb12u3, …`.
fn release(said: &str) -> Option<(u32, u32)> {
    let (major, rest) = said.trim().strip_prefix("OpenSSH_")?.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// What the first command prints when it got all it needs.
const READY: &str = "cozy-ready";

/// How long the login may take once the host has answered: resolvers and PAM modules may be slow.
const LOGIN: Duration = Duration::from_secs(60);

/// ssh's own exit status, for all that goes wrong before the command.
const OWN: i32 = 255;

/// Where the folders of control sockets are.
const SOCKETS: &str = "/tmp";

/// Folders of runs that are gone are looked for once.
static SWEPT: Once = Once::new();

/// How the names of folders begin; then comes the number of their process, which means nothing without the namespace
/// that it is of (`pid_namespaces(7)`).
fn prefix() -> String {
    let namespace = fs_err::metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.ino());
    format!("cozy-{namespace}-")
}

/// Removes what runs left behind that were killed.
fn sweep() {
    let Ok(me) = fs_err::metadata("/proc/self") else { return };
    let prefix = prefix();
    let process_of =
        |name: &OsStr| name.to_str()?.strip_prefix(&prefix)?.split('-').next()?.parse::<u32>().ok();
    for entry in fs_err::read_dir(SOCKETS).into_iter().flatten().flatten() {
        let Some(process) = process_of(&entry.file_name()) else { continue };
        // `DirEntry::metadata` follows no links.
        let mine = entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == me.uid());
        if mine && !Path::new("/proc").join(process.to_string()).exists() {
            let _ = fs_err::remove_dir_all(entry.path());
        }
    }
}

/// An open connection that further commands use.
pub(crate) struct Master {
    ssh: Ssh,
    /// Holds the control socket; removed at the end.
    folder: tempfile::TempDir,
    /// Kept for its standard input: see above.
    _child: Child,
    /// Whether commands need `sudo`.
    pub(crate) sudo: bool,
    /// The host's own address that the connection came to, as the host sees it.
    pub(crate) reached: String,
}

impl Master {
    /// Connects, and finds out whether we may do everything there.
    pub(crate) async fn open(target: &Target, ssh: &Ssh) -> Result<Self, HostError> {
        let fail = |trouble| HostError::new(target, trouble);
        let start = |error: std::io::Error| fail(Trouble::NoClient(error.to_string()));
        // In /tmp, because a socket's path may have 108 bytes at most (unix(7)), of which ssh takes 17.
        SWEPT.call_once(sweep);
        let own = format!("{}{}-", prefix(), std::process::id());
        let folder = tempfile::Builder::new().prefix(&own).tempdir_in(SOCKETS).map_err(start)?;
        // Without quotes, backslashes and line breaks within: any login shell gives it on as it is.
        let script = format!(
            "LC_ALL=C; export LC_ALL; \
             if [ \"$(id -u)\" = 0 ]; then as=root; elif sudo -n true; then as=sudo; else as=none; fi; \
             set -- $SSH_CONNECTION; echo; echo {READY} $as $3; exec cat >/dev/null"
        );
        let ssh = &ssh.for_jumps(folder.path()).map_err(start)?;
        let mut child = command(target, ssh, &socket(&folder), true, &format!("sh -c {}", quote(&script)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(start)?;
        let limit = ssh.patience + LOGIN;
        let answer = tokio::time::timeout(limit, answer(&mut child)).await;
        let (rights, reached) = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(said)) => {
                let stderr = rest(&mut child, ssh.patience).await;
                let ended = tokio::time::timeout(ssh.patience, child.wait()).await;
                let status = ended.ok().and_then(Result::ok).and_then(|status| status.code());
                return Err(fail(match status {
                    Some(OWN) | None => classify(target, &stderr),
                    // The login went well, and something else than our command was started: an account of which only
                    // its message is left, a command that the key is bound to, a shell that does not start.
                    Some(_) => {
                        let detail = last_words(&format!("{said}{stderr}"));
                        Trouble::Refuses { user: user(target), detail }
                    }
                }));
            }
            Err(_) => return Err(fail(Trouble::TooSlow { what: "the login".to_owned(), limit })),
        };
        if rights == "none" {
            // What sudo said is there already: ssh gave it on before the answer, or gives it now.
            drop(child.stdin.take());
            let detail = last_words(&rest(&mut child, ssh.patience).await);
            return Err(fail(Trouble::NoSudo { user: user(target), detail }));
        }
        Ok(Self { ssh: ssh.clone(), folder, _child: child, sudo: rights == "sudo", reached })
    }

    /// A command on the host, over this connection; over one of its own where it broke.
    pub(crate) fn command(&self, target: &Target, remote: &str) -> Command {
        command(target, &self.ssh, &socket(&self.folder), false, remote)
    }
}

/// What a program prints, line by line, in whatever character set.
pub(super) struct Lines(BufReader<ChildStdout>);

impl Lines {
    pub(super) fn new(stdout: ChildStdout) -> Self {
        Self(BufReader::new(stdout))
    }

    /// The next line; `None`: it prints nothing more.
    pub(super) async fn next(&mut self) -> Option<String> {
        let mut line = Vec::new();
        match self.0.read_until(b'\n', &mut line).await {
            Ok(read) if read > 0 => Some(String::from_utf8_lossy(&line).trim_end().to_owned()),
            Ok(_) | Err(_) => None,
        }
    }
}

/// The rights that the first command found, and the address; where it ended before, what was printed instead.
async fn answer(child: &mut Child) -> Result<(String, String), String> {
    let mut said = String::new();
    let Some(stdout) = child.stdout.take() else { return Err(said) };
    let mut lines = Lines::new(stdout);
    while let Some(line) = lines.next().await {
        // Start-up files of the user's shell may print, too.
        if let Some(answer) = line.strip_prefix(READY) {
            let mut words = answer.split_whitespace().map(str::to_owned);
            return Ok((words.next().unwrap_or_default(), words.next().unwrap_or_default()));
        }
        said.push_str(&line);
        said.push('\n');
    }
    Err(said)
}

/// What a program still says of what went wrong.
async fn rest(child: &mut Child, patience: Duration) -> String {
    let mut said = Vec::new();
    if let Some(mut pipe) = child.stderr.take() {
        let _ = tokio::time::timeout(patience, pipe.read_to_end(&mut said)).await;
    }
    String::from_utf8_lossy(&said).into_owned()
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
    ssh.for_all().into_iter().for_each(&mut option);
    for text in ["ServerAliveInterval=5", "ServerAliveCountMax=3"] {
        option(text.to_owned());
    }
    // What the user's configuration may want of a session at a terminal.
    for text in ["RequestTTY=no", "ForwardAgent=no", "ForwardX11=no", "ControlPersist=no"] {
        option(text.to_owned());
    }
    for text in ["RemoteCommand=none", "PermitLocalCommand=no", "ClearAllForwardings=yes"] {
        option(text.to_owned());
    }
    if Ssh::knows_sessions() {
        for text in ["SessionType=default", "StdinNull=no", "ForkAfterAuthentication=no"] {
            option(text.to_owned());
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by review: ssh asked for passphrases of jump hosts in the middle of everything, and took no new keys there.
    #[test]
    fn jump_hosts_are_reached_by_the_same_options() {
        let folder = tempfile::tempdir().unwrap();
        let user = folder.path().join("user's own");
        fs_err::write(&user, "Host node\n  ProxyJump jump\n  BatchMode no\nHost jump\n  User ops\n  StrictHostKeyChecking no\n").unwrap();
        let ssh = Ssh { accept_new: true, config: Some(user.clone()), patience: Duration::from_secs(7) };
        let config = ssh.for_jumps(folder.path()).unwrap().config.unwrap();
        let told = |host: &str| {
            let said =
                std::process::Command::new("ssh").arg("-F").arg(&config).args(["-G", host]).output().unwrap();
            String::from_utf8(said.stdout).unwrap()
        };
        let jump = told("jump");
        for line in ["user ops", "batchmode yes", "stricthostkeychecking accept-new", "connecttimeout 7"] {
            assert!(jump.lines().any(|known| known == line), "{line} is not in {jump}");
        }
        assert!(told("node").lines().any(|line| line == "proxyjump jump"));
        // What ssh refuses it is to refuse itself.
        let missing = Ssh { config: Some(folder.path().join("missing")), ..ssh.clone() };
        assert_eq!(missing.for_jumps(folder.path()).unwrap().config, missing.config);
        // What is named is taken whoever may write it.
        fs_err::set_permissions(&user, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        assert!(!is_taken(&user) && is_taken(&folder.path().join("missing")));
        ssh.for_jumps(folder.path()).unwrap();
        assert!(told("jump").lines().any(|line| line == "user ops"));
        let null = Ssh { config: Some(PathBuf::from("/dev/null")), ..ssh };
        null.for_jumps(folder.path()).unwrap();
        assert!(told("jump").lines().any(|line| line == "batchmode yes"));
    }

    #[test]
    fn clients_say_of_which_release_they_are() {
        assert_eq!(release("OpenSSH_9.2p1 Debian-2+deb12u3, OpenSSL 3.0.15 3 Sep 2024\n"), Some((9, 2)));
        assert_eq!(release("OpenSSH_10.0p2, LibreSSL 4.1.0"), Some((10, 0)));
        assert_eq!(release("OpenSSH_8.4p1"), Some((8, 4)));
        assert!(release("OpenSSH_8.4p1") < Some((8, 7)));
        assert_eq!(release("dropbear"), None);
        assert!(release("dropbear") < Some((8, 7)));
    }
}
