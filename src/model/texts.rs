//! Texts of `cozy.yaml` that others read: Kubernetes versions, labels, taints, URLs, users, address ranges that
//! mean something. Each function says what is wrong, or nothing.

use std::net::IpAddr;

use super::names::is_dns_subdomain;
use super::ranges::Range;

/// The minor versions of Kubernetes 1 that cozy can install and knows the kinds of.
pub(crate) const MINORS: std::ops::RangeInclusive<u64> = 31..=36;

/// Checks a version of Kubernetes: `v1.36.3`, `1.36.3`, or `1.36` for the newest patch that is locked.
pub(super) fn kubernetes(version: &str) -> Result<(), String> {
    let numbers = version.strip_prefix('v').unwrap_or(version);
    let whole = if numbers.matches('.').count() == 1 { format!("{numbers}.0") } else { numbers.to_owned() };
    let Ok(parsed) = semver::Version::parse(&whole) else {
        let newest = MINORS.end();
        return Err(format!(
            "`{version}` is not a version of Kubernetes, such as `1.{newest}` or `v1.{newest}.0`"
        ));
    };
    if parsed.major == 1 && MINORS.contains(&parsed.minor) {
        return Ok(());
    }
    Err(format!(
        "Kubernetes {version} is not supported: this cozy knows v1.{} to v1.{}",
        MINORS.start(),
        MINORS.end()
    ))
}

/// `HOST` or `HOST:PORT` in its parts.
fn host_and_port(text: &str) -> (&str, Option<&str>) {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match bracketed {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, rest.strip_prefix(':').or(Some(rest))),
        None if text.parse::<std::net::Ipv6Addr>().is_ok() => (text, None),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    }
}

/// The address of `HOST` or `HOST:PORT`; `None`: it is a name.
pub(super) fn endpoint_address(text: &str) -> Option<IpAddr> {
    host_and_port(text).0.parse().ok()
}

/// Checks `HOST` or `HOST:PORT`.
pub(super) fn endpoint(text: &str) -> Result<(), String> {
    let (host, port) = host_and_port(text);
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    if port.is_some_and(|port| !is_port(port)) {
        return Err(format!("`{text}` has no port from 1 to 65535"));
    }
    let known = host.parse::<IpAddr>().is_ok() || is_dns_subdomain(host);
    if known { Ok(()) } else { Err(format!("`{text}` is not a name or address, with or without a port")) }
}

/// Checks the name or address at which others reach the API.
pub(super) fn api(text: &str) -> Result<(), String> {
    if text.parse::<IpAddr>().is_ok() || is_dns_subdomain(text) {
        return Ok(());
    }
    Err(match endpoint(text) {
        Ok(()) => format!("`{text}` is more than a name or address"),
        Err(_) => format!("`{text}` is not a name or address"),
    })
}

/// Checks a user's name for SSH, as `useradd` takes it.
pub(super) fn user(name: &str) -> Result<(), String> {
    let mut letters = name.chars();
    let first = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    let rest = letters.all(|c| c.is_ascii_alphanumeric() || "_-.$".contains(c));
    if first && rest && name.len() <= 32 { Ok(()) } else { Err(format!("`{name}` is not a user's name")) }
}

/// Checks a label's key (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/>).
pub(super) fn label_key(key: &str) -> Result<(), String> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let prefix = prefix.is_none_or(|prefix| is_dns_subdomain(prefix) && prefix.len() <= 253);
    let known = prefix && !name.is_empty() && is_label_text(name);
    if known { Ok(()) } else { Err(format!("`{key}` is not a label's key")) }
}

/// Checks a label's value.
pub(super) fn label_value(value: &str) -> Result<(), String> {
    if is_label_text(value) { Ok(()) } else { Err(format!("`{value}` is not a label's value")) }
}

/// At most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends.
fn is_label_text(text: &str) -> bool {
    let ends = [text.chars().next(), text.chars().next_back()];
    text.len() <= 63
        && ends.into_iter().flatten().all(|c| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// Checks a taint, `KEY=VALUE:EFFECT` or `KEY:EFFECT`.
pub(super) fn taint(text: &str) -> Result<(), String> {
    const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    let (rest, effect) = text.rsplit_once(':').ok_or_else(|| format!("the taint `{text}` has no effect"))?;
    if !EFFECTS.contains(&effect) {
        return Err(format!("the taint's effect `{effect}` is none of {}", EFFECTS.join(", ")));
    }
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    label_key(key).and_then(|()| label_value(value))
}

/// Checks a URL with one of some schemes.
pub(super) fn url(text: &str, schemes: &[&str]) -> Result<(), String> {
    let wrong = || format!("`{text}` is not a URL that starts with {}", schemes.join(", "));
    let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
    if !schemes.iter().any(|known| known.trim_end_matches("://") == scheme) {
        return Err(wrong());
    }
    if scheme == "file" {
        let absolute = rest.starts_with('/');
        return if absolute {
            Ok(())
        } else {
            Err(format!("`{text}` has no absolute path: write `file:///…`"))
        };
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // Names in URLs are not looked at as closely: capitals mean nothing, and networks of containers have `_`.
    let host = host.to_lowercase().replace('_', "-");
    if text.contains(char::is_whitespace) { Err(wrong()) } else { endpoint(&host).map_err(|_| wrong()) }
}

/// Ranges in which no Service and no pod can be reached (RFC 6890, RFC 4291).
const UNFIT: [(&str, &str); 8] = [
    ("0.0.0.0/8", "\"this network\""),
    ("127.0.0.0/8", "the loopback addresses"),
    ("224.0.0.0/4", "multicast addresses"),
    ("255.255.255.255/32", "the broadcast address"),
    ("::/128", "the unspecified address"),
    ("::1/128", "the loopback address"),
    ("ff00::/8", "multicast addresses"),
    ("fe80::/10", "link-local addresses"),
];

/// Checks that addresses of a range can be reached.
pub(super) fn reachable(range: &Range) -> Result<(), String> {
    let unfit = UNFIT.iter().find(|(text, _)| Range::cidr(text).is_ok_and(|unfit| unfit.overlaps(range)));
    unfit.map_or(Ok(()), |(text, what)| Err(format!("it holds {what} ({text})")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_what_others_read() {
        for (check, good, bad) in [
            (
                kubernetes as fn(&str) -> Result<(), String>,
                &["v1.31.0", "v1.36.3", "1.36.3", "v1.36", "1.36"][..],
                &["v1.30.1", "v9.99.0", "1", "v1", "1.36.3.1", "1.x", "", "latest"][..],
            ),
            (
                endpoint,
                &["a", "a.b:6443", "10.0.0.1", "::1", "[::1]:6443", "[::1]"],
                &["https://a", "a:0", "a:99999", "a:+8443", "a b", "", "[::1]x"],
            ),
            (api, &["a", "api.a.b", "10.0.0.1", "::1"], &["a:6443", "10.0.0.1:6443", "[::1]", "a b", ""]),
            (user, &["root", "_a", "a.b-c"], &["-l root", "", "a b", "0a"]),
            (label_key, &["a", "a.b/c_d"], &["a b", "a/b/c", "/a", "-a", ""]),
            (label_value, &["", "a", "A.b-c"], &["-a", "c/d", "c d"]),
            (taint, &["a=b:NoSchedule", "a/b:NoExecute"], &["a", "a:no", "a b:NoSchedule"]),
        ] {
            for text in good {
                assert_eq!(check(text), Ok(()), "{text}");
            }
            for text in bad {
                assert!(check(text).is_err(), "{text}");
            }
        }
        let schemes = ["https://", "file://"];
        for (text, good) in [
            ("https://a/b", true),
            ("https://user:word@a:8443/b", true),
            ("file:///a", true),
            ("file://a", false),
            ("http://a", false),
            ("a", false),
            ("https://", false),
            ("https://a:0/", false),
        ] {
            assert_eq!(url(text, &schemes).is_ok(), good, "{text}");
        }
        for (text, good) in
            [("10.0.0.1-10.0.0.9", true), ("127.0.0.1-127.0.0.3", false), ("::-ffff::", false)]
        {
            assert_eq!(reachable(&Range::pool(text).unwrap()).is_ok(), good, "{text}");
        }
    }
}
