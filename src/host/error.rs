//! What goes wrong on the way to a host and on it, with the host's name and
//! what to do.

use std::time::Duration;

use super::{Target, Way, quote};
use crate::code::{Code, REPORT};
use crate::model::duration;

/// Something went wrong with one host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("host `{host}`: {trouble}")]
pub(crate) struct HostError {
    /// The host's name.
    pub(crate) host: String,
    /// What went wrong.
    pub(crate) trouble: Trouble,
    /// What a person types to get there.
    pub(crate) command: String,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    /// There is no OpenSSH client here, or it cannot be started.
    #[error("the program `ssh` cannot be started: {0}")]
    NoClient(String),
    /// The name has no address.
    #[error("its name `{0}` cannot be resolved")]
    UnknownName(String),
    /// Nobody listens on the port.
    #[error("the connection was refused")]
    Refused,
    /// No answer, or no way there.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// A key is not in the user's `known_hosts`: its own, or that of the host named, which may be on the way.
    #[error("{} host key is not known yet", whose(.0.as_deref()))]
    UnknownKey(Option<String>),
    /// A key is another than the one in `known_hosts`, where it stands under this name.
    #[error("{} host key has changed", whose(Some(.name).filter(|_| *.other).map(String::as_str)))]
    ChangedKey {
        /// As `known_hosts` has it.
        name: String,
        /// It is not the name that this host has there: one on the way may be meant.
        other: bool,
    },
    /// The client and the server do not come to terms, or the client not with its configuration.
    #[error("ssh refuses: {0}")]
    Misfit(String),
    /// The server did not let us in.
    #[error("the login as `{user}` was refused ({detail})")]
    Refuses {
        /// As whom.
        user: String,
        /// What the server would take.
        detail: String,
    },
    /// The connection broke.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// The user is not root, and `sudo` asks for a password or refuses.
    #[error("`sudo` without a password is refused for `{user}`: {detail}")]
    NoSudo {
        /// For whom.
        user: String,
        /// sudo's words.
        detail: String,
    },
    /// A command did not end in time.
    #[error("{what} did not end within {}", duration::human(*.limit))]
    TooSlow {
        /// What was done.
        what: String,
        /// For how long it was waited.
        limit: Duration,
    },
    /// A command failed.
    #[error("{what} failed (exit {status}): {detail}")]
    Failed {
        /// What was done.
        what: String,
        /// Its exit status.
        status: i32,
        /// The end of what it said.
        detail: String,
    },
    /// No space is left.
    #[error("{what} failed: no space is left on the device")]
    NoSpace {
        /// What was done.
        what: String,
    },
    /// Nothing can be written; dash does not say why.
    #[error("{what} failed: the disk is full or broken")]
    Unwritten {
        /// What was done.
        what: String,
    },
    /// A file system takes no writes.
    #[error("{what} failed: the file system is read-only")]
    ReadOnly {
        /// What was done.
        what: String,
    },
    /// The bytes that arrived are not those that were sent.
    #[error("`{path}` arrived damaged: its sha256 differs")]
    Damaged {
        /// Which file.
        path: String,
    },
    /// What was to be sent cannot be read here.
    #[error("nothing was sent: {0}")]
    Unsent(String),
    /// cozy itself does not start there.
    #[error("this build of cozy does not start there: {0}")]
    NoStart(String),
    /// Another run of cozy works on it.
    #[error("another run works on it: {by}")]
    Held {
        /// Who.
        by: String,
    },
    /// This run does not keep others off it any more.
    #[error("its lock was lost{}", .by.as_ref().map(|by| format!(", and another run took it: {by}")).unwrap_or_default())]
    LockLost {
        /// Who was there since.
        by: Option<String>,
    },
    /// What it said of itself cannot be read.
    #[error("its facts cannot be read: {0}")]
    Unreadable(String),
    /// A kubelet gets no certificate to serve with.
    #[error("{0}")]
    NoCertificate(String),
    /// What is to be done there would cost etcd its quorum.
    #[error("{problem}")]
    Quorum {
        /// What stands in the way.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// kubeadm was asked for what a join needs.
    #[error("kubeadm gave no token to join with")]
    NoToken,
    /// A step for which the run has no session, or nothing planned: a mistake of cozy's.
    #[error("this run does not know what is to be done there")]
    Unknown,
}

impl HostError {
    /// An error of one host.
    pub(crate) fn new(target: &Target, trouble: Trouble) -> Self {
        Self { host: target.name.clone(), trouble, command: target.command() }
    }

    /// Whether the host may be back by itself: it boots, or its network is mended.
    pub(crate) fn is_away(&self) -> bool {
        matches!(
            self.trouble,
            Trouble::Refused | Trouble::Unreachable(_) | Trouble::Lost(_) | Trouble::LockLost { by: None }
        )
    }

    /// The stable code.
    pub(crate) fn code(&self) -> Code {
        Code(match self.trouble {
            Trouble::NoClient(_) => 5010,
            Trouble::UnknownName(_) => 5011,
            Trouble::Refused => 5012,
            Trouble::Unreachable(_) => 5013,
            Trouble::UnknownKey(_) => 5014,
            Trouble::ChangedKey { .. } => 5015,
            Trouble::Refuses { .. } => 5016,
            Trouble::Lost(_) => 5017,
            Trouble::NoSudo { .. } => 5018,
            Trouble::TooSlow { .. } => 5019,
            Trouble::Failed { .. } => 5020,
            Trouble::NoSpace { .. } => 5021,
            Trouble::ReadOnly { .. } => 5022,
            Trouble::Damaged { .. } => 5023,
            Trouble::Unreadable(_) => 5024,
            Trouble::Unsent(_) => 5025,
            Trouble::NoStart(_) => 5026,
            Trouble::Held { .. } => 5027,
            Trouble::LockLost { .. } => 5028,
            Trouble::Misfit(_) => 5029,
            // 5030 to 5039 are of artefacts.
            Trouble::Unwritten { .. } => 5040,
            Trouble::NoCertificate(_) => 5041,
            Trouble::Quorum { .. } => 5042,
            Trouble::NoToken => 5043,
            Trouble::Unknown => 5044,
        })
    }

    /// What to do.
    pub(crate) fn hint(&self) -> String {
        let command = &self.command;
        match &self.trouble {
            Trouble::NoClient(_) => "install OpenSSH's client (package openssh-client)".to_owned(),
            Trouble::UnknownName(_) => {
                "mend `address:` in cozy.yaml, or the name in DNS or your ssh configuration".to_owned()
            }
            Trouble::Refused => "start sshd there, or set the host's `port:` in cozy.yaml".to_owned(),
            Trouble::Unreachable(_) => {
                format!("check that the host is on, its address, and firewalls between: `{command}`")
            }
            Trouble::UnknownKey(_) => format!(
                "compare its fingerprint and connect once with `{command}`, or take it on trust with --accept-new-host-keys"
            ),
            Trouble::ChangedKey { name, .. } => format!(
                "if the server was set up anew, remove the old key with `ssh-keygen -R {}`; else somebody may stand between: `{command}`",
                quote(name)
            ),
            Trouble::Misfit(_) => {
                format!("mend your ssh configuration, or sshd's there, until this works: `{command}`")
            }
            Trouble::Refuses { .. } => format!(
                "`{command}` must work without a password: put your public key into its authorized_keys, load it into your agent, or set `user:` in cozy.yaml"
            ),
            Trouble::Lost(_) => "`cozy install` goes on from here once the host answers again".to_owned(),
            Trouble::NoSudo { user, detail } if detail.to_lowercase().contains("tty") => format!(
                "commands come without a terminal: allow that there with `echo 'Defaults:{user} !requiretty' > /etc/sudoers.d/{user}-tty`"
            ),
            Trouble::NoSudo { user, .. } => format!(
                "log in as root, or allow it there: `echo '{user} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{user}`"
            ),
            Trouble::TooSlow { .. } => format!("look what keeps it busy: `{command}`"),
            Trouble::Failed { .. } | Trouble::Unreadable(_) => {
                format!("look there: `{command}`; `cozy install` goes on from here")
            }
            Trouble::NoCertificate(_) => {
                format!("look there what its kubelet says: `{command} journalctl -u kubelet`; `cozy install` goes on from here")
            }
            Trouble::Quorum { hint, .. } => hint.clone(),
            Trouble::NoToken => format!(
                "look there what `kubeadm token create --print-join-command` says: `{command}`; `cozy install` goes on from here"
            ),
            Trouble::Unknown => REPORT.to_owned(),
            Trouble::NoSpace { .. } => {
                format!("free space there: `{command} df -h`; `cozy install` goes on from here")
            }
            Trouble::Unwritten { .. } => format!(
                "look there with `df -h` and `dmesg`: `{command}`; `cozy install` goes on from here once there is space"
            ),
            Trouble::ReadOnly { .. } => {
                format!("mount it writable; often its disk has failed: `{command} dmesg`")
            }
            Trouble::Held { .. } => {
                "let it end, or wait for it with --wait-lock; a run whose machine or network died lets go within 30s".to_owned()
            }
            Trouble::LockLost { .. } => {
                "this run does nothing there any more; once the other one has ended, the same command goes on from here".to_owned()
            }
            Trouble::Unsent(_) => "mend the mirror, and run again".to_owned(),
            Trouble::NoStart(_) => {
                "use a static build, as releases are: `cargo build --release --target ARCH-unknown-linux-musl`, ARCH being x86_64 or aarch64"
                    .to_owned()
            }
            Trouble::Damaged { .. } => "run again; if it stays, check the host's disk and memory".to_owned(),
        }
    }
}

/// What ssh's own words mean. ssh has one exit status (255) for all its
/// failures, so its text is all there is; it is asked to speak English.
pub(crate) fn classify(target: &Target, stderr: &str) -> Trouble {
    let has = |words: &str| stderr.contains(words);
    let last = || last_words(stderr);
    let user = match &target.way {
        Way::Ssh { user, .. } => user.clone(),
        Way::Local => String::new(),
    };
    // Where it is not the host's own key, it is that of a jump host, or of what the user's configuration says it is.
    let other = |before: &str, after: &str| {
        let (_, rest) = stderr.split_once(before)?;
        let (name, _) = rest.split_once(after)?;
        Some(name.to_owned()).filter(|name| *name != known_as(target))
    };
    if has("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        let named = other("Host key for ", " has changed");
        let other = named.is_some();
        Trouble::ChangedKey { name: named.unwrap_or_else(|| known_as(target)), other }
    } else if has("Host key verification failed") || has("host key is known for") {
        Trouble::UnknownKey(other("host key is known for ", " and you have"))
    } else if has("Permission denied (") || has("Too many authentication failures") {
        let detail = stderr.split_once("Permission denied (").and_then(|(_, rest)| rest.split_once(')'));
        let detail = detail.map_or_else(last, |(methods, _)| format!("it takes: {methods}"));
        Trouble::Refuses { user, detail }
    } else if MISFITS.into_iter().any(has) {
        Trouble::Misfit(last())
    } else if has("Could not resolve hostname") {
        let name = stderr.split_once("Could not resolve hostname ").map_or("", |(_, rest)| rest);
        Trouble::UnknownName(name.split(':').next().unwrap_or_default().trim().to_owned())
    } else if has("Connection refused") {
        Trouble::Refused
    } else if has("timed out during banner exchange") {
        Trouble::Unreachable("something listens there and does not speak SSH in time".to_owned())
    } else if has("timed out") || has("No route to host") || has("Network is unreachable") {
        let reason = ["timed out", "No route to host", "Network is unreachable"]
            .into_iter()
            .find(|words| has(words))
            .unwrap_or_default();
        Trouble::Unreachable(reason.to_lowercase())
    } else {
        Trouble::Lost(last())
    }
}

/// What ssh says of its own configuration, and where it and the server have no algorithm in common.
const MISFITS: [&str; 5] = [
    "Bad owner or permissions on",
    "Bad configuration option",
    "bad configuration options",
    "Can't open user config file",
    "Unable to negotiate with",
];

/// Whose key it is.
fn whose(other: Option<&str>) -> String {
    other.map_or_else(|| "its".to_owned(), |name| format!("`{name}`'s"))
}

/// The name that a host's key has in `known_hosts`.
fn known_as(target: &Target) -> String {
    match &target.way {
        Way::Ssh { address, port: Some(port), .. } if *port != 22 => format!("[{address}]:{port}"),
        Way::Ssh { address, .. } => address.clone(),
        Way::Local => String::new(),
    }
}

/// The last lines that say something, at most three.
pub(crate) fn last_words(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let from = lines.len().saturating_sub(3);
    let words = lines.get(from..).unwrap_or_default().join("; ");
    if words.is_empty() { "it said nothing".to_owned() } else { words }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn said(stderr: &str) -> String {
        let way = Way::Ssh { address: "10.0.0.11".to_owned(), user: "admin".to_owned(), port: None };
        let target = Target { name: "node-1".to_owned(), way };
        let error = HostError::new(&target, classify(&target, stderr));
        format!("error[{}]: {error}\nhint: {}", error.code(), error.hint())
    }

    #[test]
    fn every_way_in_which_ssh_fails_has_a_message_and_a_fix() {
        assert_snapshot!(said("ssh: connect to host 10.0.0.11 port 22: Connection refused"), @"
            error[C5012]: host `node-1`: the connection was refused
            hint: start sshd there, or set the host's `port:` in cozy.yaml
        ");
        assert_snapshot!(said("ssh: connect to host 10.0.0.11 port 22: Connection timed out"), @"
            error[C5013]: host `node-1`: it cannot be reached: timed out
            hint: check that the host is on, its address, and firewalls between: `ssh admin@10.0.0.11`
        ");
        assert_snapshot!(said("Connection timed out during banner exchange\nConnection to 10.0.0.11 port 22 timed out"), @"
            error[C5013]: host `node-1`: it cannot be reached: something listens there and does not speak SSH in time
            hint: check that the host is on, its address, and firewalls between: `ssh admin@10.0.0.11`
        ");
        assert_snapshot!(said("ssh: Could not resolve hostname node-x: Name or service not known"), @"
            error[C5011]: host `node-1`: its name `node-x` cannot be resolved
            hint: mend `address:` in cozy.yaml, or the name in DNS or your ssh configuration
        ");
        assert_snapshot!(said("No ED25519 host key is known for 10.0.0.11 and you have requested strict checking.\nHost key verification failed."), @"
            error[C5014]: host `node-1`: its host key is not known yet
            hint: compare its fingerprint and connect once with `ssh admin@10.0.0.11`, or take it on trust with --accept-new-host-keys
        ");
        assert_snapshot!(said("@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed."), @"
            error[C5015]: host `node-1`: its host key has changed
            hint: if the server was set up anew, remove the old key with `ssh-keygen -R 10.0.0.11`; else somebody may stand between: `ssh admin@10.0.0.11`
        ");
        let changed = "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key for ";
        let own = said(&format!("{changed}10.0.0.11 has changed and you have requested strict checking."));
        assert!(own.starts_with("error[C5015]: host `node-1`: its host key has changed\n"), "{own}");
        // Found by review: what was to be removed was the key of the host behind.
        assert_snapshot!(said(&format!("{changed}[jump]:2222 has changed and you have requested strict checking.\nHost key verification failed.")), @"
            error[C5015]: host `node-1`: `[jump]:2222`'s host key has changed
            hint: if the server was set up anew, remove the old key with `ssh-keygen -R '[jump]:2222'`; else somebody may stand between: `ssh admin@10.0.0.11`
        ");
        assert_snapshot!(said("No ED25519 host key is known for jump and you have requested strict checking.\nHost key verification failed."), @"
            error[C5014]: host `node-1`: `jump`'s host key is not known yet
            hint: compare its fingerprint and connect once with `ssh admin@10.0.0.11`, or take it on trust with --accept-new-host-keys
        ");
        assert_snapshot!(said("/root/.ssh/config: line 3: Bad configuration option: usr\n/root/.ssh/config: terminating, 1 bad configuration options"), @"
            error[C5029]: host `node-1`: ssh refuses: /root/.ssh/config: line 3: Bad configuration option: usr; /root/.ssh/config: terminating, 1 bad configuration options
            hint: mend your ssh configuration, or sshd's there, until this works: `ssh admin@10.0.0.11`
        ");
        for words in [
            "Bad owner or permissions on /root/.ssh/config",
            "Unable to negotiate with 10.0.0.11 port 22: no matching host key type found. Their offer: ssh-rsa",
        ] {
            assert!(
                said(words).contains(&format!("error[C5029]: host `node-1`: ssh refuses: {words}\n")),
                "{}",
                said(words)
            );
        }
        assert_snapshot!(said("admin@10.0.0.11: Permission denied (publickey,password)."), @"
            error[C5016]: host `node-1`: the login as `admin` was refused (it takes: publickey,password)
            hint: `ssh admin@10.0.0.11` must work without a password: put your public key into its authorized_keys, load it into your agent, or set `user:` in cozy.yaml
        ");
        assert_snapshot!(said("Connection closed by 10.0.0.11 port 22"), @"
            error[C5017]: host `node-1`: the connection was lost: Connection closed by 10.0.0.11 port 22
            hint: `cozy install` goes on from here once the host answers again
        ");
    }

    #[test]
    fn a_sudo_that_wants_a_terminal_is_no_sudo_that_wants_a_password() {
        let hint = |detail: &str| {
            let way = Way::Ssh { address: "10.0.0.11".to_owned(), user: "admin".to_owned(), port: None };
            let target = Target { name: "node-1".to_owned(), way };
            let trouble = Trouble::NoSudo { user: "admin".to_owned(), detail: detail.to_owned() };
            HostError::new(&target, trouble).hint()
        };
        assert_snapshot!(hint("sudo: sorry, you must have a tty to run sudo"), @"commands come without a terminal: allow that there with `echo 'Defaults:admin !requiretty' > /etc/sudoers.d/admin-tty`");
        assert_snapshot!(hint("sudo: a password is required"), @"log in as root, or allow it there: `echo 'admin ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/admin`");
    }
}
