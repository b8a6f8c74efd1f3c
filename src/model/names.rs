//! Names as newtypes: a string from a user becomes one of these at the edge,
//! and is known to be well-formed from there on.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a valid {what}: {rule}")]
pub(crate) struct InvalidName {
    what: &'static str,
    name: String,
    rule: &'static str,
}

/// The rule of a DNS-1123 label (RFC 1123, as Kubernetes reads it).
const LABEL_RULE: &str =
    "1 to 63 lower-case letters, digits and `-`, starting and ending with a letter or digit";

/// Whether `text` is a DNS-1123 label.
pub(crate) fn is_dns_label(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(&first), Some(&last)) if alphanumeric(first) && alphanumeric(last))
        && bytes.len() <= 63
        && bytes.iter().all(|&byte| alphanumeric(byte) || byte == b'-')
}

/// Whether `text` is a DNS-1123 subdomain: labels joined by dots, at most 253 bytes.
pub(crate) fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub(crate) struct $name(String);

        impl $name {
            /// The name as text.
            pub(crate) fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                if is_dns_label(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidName { what: $what, name: text.to_owned(), rule: LABEL_RULE })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

label!(
    /// The name of a component: its folder in `templates/`.
    ComponentName,
    "component name"
);
label!(
    /// The name of a bundle: its file in `bundles/`.
    BundleName,
    "bundle name"
);
label!(
    /// The name of a cloud.
    CloudName,
    "cloud name"
);
label!(
    /// The name of a host, which becomes its node's name.
    HostName,
    "host name"
);
label!(
    /// The name of a Kubernetes namespace.
    Namespace,
    "namespace"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_follow_rfc_1123() {
        for good in ["a", "a1", "1a", "cert-manager", &"x".repeat(63)] {
            assert!(is_dns_label(good), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "ü", &"x".repeat(64)] {
            assert!(!is_dns_label(bad), "{bad}");
        }
        assert!(is_dns_subdomain("a.b-c.d"));
        assert!(!is_dns_subdomain("a..b"));
    }
}
