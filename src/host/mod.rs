//! The hosts' side: the only place where commands run on servers, over the
//! user's OpenSSH or on this machine. Sessions, facts, uploads.
//!
//! What is to be done on a host is decided elsewhere; nothing here knows
//! Kubernetes.

pub(crate) mod error;
pub(crate) mod facts;
mod hold;
mod session;
mod ssh;
mod upload;

pub(crate) use error::{HostError, Trouble};
pub(crate) use facts::Facts;
pub(crate) use session::Session;
pub(crate) use ssh::Ssh;
pub(crate) use upload::{Content, Upload};

use crate::model::cloud::Host;

/// A host as it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// What people call it: its name in `cozy.yaml`, else its address.
    pub(crate) name: String,
    /// The way there.
    pub(crate) way: Way,
}

/// The way to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// This machine.
    Local,
    /// Over SSH.
    Ssh {
        /// IP address, DNS name, or an alias of the user's ssh configuration.
        address: String,
        /// The user; root when not given.
        user: String,
        /// The port; what the user's configuration says when not given.
        port: Option<u16>,
    },
}

impl Target {
    /// The host as `cozy.yaml` describes it.
    pub(crate) fn new(host: &Host) -> Self {
        let address = host.address.clone().unwrap_or_else(|| "localhost".to_owned());
        let name = host.name.as_ref().map_or_else(|| address.clone(), ToString::to_string);
        let way = if host.local {
            Way::Local
        } else {
            Way::Ssh {
                address,
                user: host.user.clone().unwrap_or_else(|| "root".to_owned()),
                port: host.port,
            }
        };
        Self { name, way }
    }

    /// What a person types to get there, for hints.
    pub(crate) fn command(&self) -> String {
        match &self.way {
            Way::Local => "sh".to_owned(),
            Way::Ssh { address, user, port: None } => format!("ssh {user}@{address}"),
            Way::Ssh { address, user, port: Some(port) } => format!("ssh -p {port} {user}@{address}"),
        }
    }
}

/// A text as one word of a POSIX shell.
pub(crate) fn quote(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn words_survive_the_shell() {
        for text in ["", "a b", "it's", "$(reboot)", "a\nb", "*", "~", "plain-1.2/x", "`x`", "\"", "\\"] {
            let output = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quote(text))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
    }
}
