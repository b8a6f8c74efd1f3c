//! URLs as Go's `net/url` takes them apart and joins them.

use std::fmt::Write as _;

use super::Type::{Map, Text};
use super::{Function, arg, fixed, text};
use crate::exec::Stop;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("urlParse", &[Text], |_, a| {
        let url = parse(&text(a, 0)).map_err(|problem| format!("unable to parse url: {problem}"))?;
        Ok(Value::map_from([
            ("scheme", Value::text(&url.scheme)),
            ("host", Value::text(&url.host)),
            ("hostname", Value::text(host_name(&url.host))),
            ("path", Value::text(&url.path)),
            ("query", Value::text(&url.query)),
            ("opaque", Value::text(&url.opaque)),
            ("fragment", Value::text(&url.fragment)),
            ("userinfo", Value::text(url.user.as_ref().map(User::to_text).unwrap_or_default())),
        ]))
    })
    .slow(8),
    fixed("urlJoin", &[Map], |engine, a| {
        let part = |key: &str| -> Result<String, Stop> {
            match arg(a, 0).get(key) {
                None => Ok(String::new()),
                Some(value) => value.string_text().map(std::borrow::Cow::into_owned).ok_or_else(|| {
                    Stop::Failed(format!(
                        "unable to parse {key} key, must be of type string, but {} found",
                        value.kind()
                    ))
                }),
            }
        };
        let extent = engine.extent(arg(a, 0))?;
        engine.go_through(extent.bytes, 8)?;
        let info = part("userinfo")?;
        let user = match info.as_str() {
            "" => None,
            info => {
                parse(&format!("proto://{info}@host"))
                    .map_err(|problem| format!("unable to parse userinfo in dict: {problem}"))?
                    .user
            }
        };
        let url = Url {
            scheme: part("scheme")?,
            opaque: part("opaque")?,
            user,
            host: part("host")?,
            path: part("path")?,
            query: part("query")?,
            fragment: part("fragment")?,
        };
        Ok(Value::text(url.to_text()))
    }),
];

#[derive(Debug, Default)]
struct Url {
    scheme: String,
    opaque: String,
    user: Option<User>,
    host: String,
    path: String,
    query: String,
    fragment: String,
}

#[derive(Debug)]
struct User {
    name: String,
    password: Option<String>,
}

impl User {
    fn to_text(&self) -> String {
        let mut out = escape(&self.name, Part::User);
        if let Some(password) = &self.password {
            out.push(':');
            out.push_str(&escape(password, Part::User));
        }
        out
    }
}

/// Where an escaped text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    User,
    Host,
    Path,
    Query,
    Fragment,
}

/// Go's `shouldEscape`.
fn must_escape(byte: u8, part: Part) -> bool {
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
        return false;
    }
    if part == Part::Host
        && matches!(
            byte,
            b'!' | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'['
                | b']'
                | b'<'
                | b'>'
                | b'"'
        )
    {
        return false;
    }
    match (byte, part) {
        (b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'?' | b'@', part) => match part {
            Part::Path => byte == b'?',
            Part::User => matches!(byte, b'@' | b'/' | b'?' | b':'),
            Part::Query | Part::Host => true,
            Part::Fragment => false,
        },
        (b'!' | b'(' | b')' | b'*', Part::Fragment) => false,
        _ => true,
    }
}

fn escape(text: &str, part: Part) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte == b' ' && part == Part::Query {
            out.push('+');
        } else if must_escape(byte, part) {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        } else {
            out.push(char::from(byte));
        }
    }
    out
}

/// Go's `url.QueryEscape`.
pub(super) fn query_escape(text: &str) -> String {
    escape(text, Part::Query)
}

fn unescape(text: &str, part: Part) -> Result<String, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            if part == Part::Host && byte < 0x80 && must_escape(byte, part) {
                return Err(format!("invalid character {:?} in host name", char::from(byte)));
            }
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
            return Err(format!("invalid URL escape in {text:?}"));
        };
        let code = u8::try_from(high * 16 + low).unwrap_or_default();
        if part == Part::Host && code < 0x80 && code != b'%' {
            return Err(format!("invalid URL escape in {text:?}"));
        }
        out.push(code);
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// Splits off `scheme:`.
fn scheme(text: &str) -> Result<(&str, &str), String> {
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' => {
                if at == 0 {
                    return Ok(("", text));
                }
            }
            b':' => {
                if at == 0 {
                    return Err("missing protocol scheme".to_owned());
                }
                let (scheme, rest) = text.split_at(at);
                return Ok((scheme, rest.get(1..).unwrap_or_default()));
            }
            _ => return Ok(("", text)),
        }
    }
    Ok(("", text))
}

fn parse(text: &str) -> Result<Url, String> {
    let (whole, fragment) = text.split_once('#').unwrap_or((text, ""));
    if whole.bytes().chain(fragment.bytes()).any(|byte| byte < b' ' || byte == 0x7f) {
        return Err("invalid control character in URL".to_owned());
    }
    let mut url = Url { fragment: unescape(fragment, Part::Fragment)?, ..Url::default() };
    if whole == "*" {
        "*".clone_into(&mut url.path);
        return Ok(url);
    }
    let (scheme, rest) = scheme(whole)?;
    url.scheme = scheme.to_lowercase();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    query.clone_into(&mut url.query);
    if !rest.starts_with('/') {
        if !url.scheme.is_empty() {
            rest.clone_into(&mut url.opaque);
            return Ok(url);
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
    }
    let mut path = rest;
    if (!url.scheme.is_empty() || !rest.starts_with("///"))
        && let Some(after) = rest.strip_prefix("//")
    {
        let end = after.find('/').unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        (url.user, url.host) = self::authority(authority)?;
        path = tail;
    }
    url.path = unescape(path, Part::Path)?;
    Ok(url)
}

fn authority(text: &str) -> Result<(Option<User>, String), String> {
    let Some((info, host)) = text.rsplit_once('@') else { return Ok((None, self::host(text)?)) };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
    if !info.bytes().all(allowed) {
        return Err("net/url: invalid userinfo".to_owned());
    }
    let (name, password) = match info.split_once(':') {
        Some((name, password)) => (name, Some(unescape(password, Part::User)?)),
        None => (info, None),
    };
    Ok((Some(User { name: unescape(name, Part::User)?, password }), self::host(host)?))
}

fn host(text: &str) -> Result<String, String> {
    let port = if text.starts_with('[') {
        let end = text.rfind(']').ok_or("missing ']' in host")?;
        text.get(end + 1..).unwrap_or_default()
    } else {
        text.rfind(':').and_then(|at| text.get(at..)).unwrap_or_default()
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    if !port.is_empty() && (!port.starts_with(':') || !digits.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(format!("invalid port {port:?} after host"));
    }
    unescape(text, Part::Host)
}

/// A host without its port and brackets.
fn host_name(host: &str) -> &str {
    if let Some(inner) = host.strip_prefix('[') {
        return inner.split(']').next().unwrap_or(inner);
    }
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

impl Url {
    /// Go's `URL.String`.
    fn to_text(&self) -> String {
        let mut out = String::new();
        if !self.scheme.is_empty() {
            out.push_str(&self.scheme);
            out.push(':');
        }
        if self.opaque.is_empty() {
            if !self.scheme.is_empty() || !self.host.is_empty() || self.user.is_some() {
                if !self.host.is_empty() || !self.path.is_empty() || self.user.is_some() {
                    out.push_str("//");
                }
                if let Some(user) = &self.user {
                    out.push_str(&user.to_text());
                    out.push('@');
                }
                out.push_str(&escape(&self.host, Part::Host));
            }
            let path = if self.path == "*" { "*".to_owned() } else { escape(&self.path, Part::Path) };
            if !path.is_empty() && !path.starts_with('/') && !self.host.is_empty() {
                out.push('/');
            }
            if out.is_empty() && path.split('/').next().is_some_and(|segment| segment.contains(':')) {
                out.push_str("./");
            }
            out.push_str(&path);
        } else {
            out.push_str(&self.opaque);
        }
        if !self.query.is_empty() {
            out.push('?');
            out.push_str(&self.query);
        }
        if !self.fragment.is_empty() {
            out.push('#');
            out.push_str(&escape(&self.fragment, Part::Fragment));
        }
        out
    }
}
