//! Kubeconfigs: read from files up to a limit, decoded, joined as kubectl joins them, and looked through for what the
//! client breaks on.

use std::io;
use std::path::{Path, PathBuf};

use http::HeaderValue;
use kube::config::{AuthInfo, Kubeconfig, KubeconfigError};
use serde_json::Value;

use crate::files;
use crate::model::suggest::did_you_mean;

/// The largest kubeconfig, in bytes: a thousand clusters with their certificates have half of it.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Where tokens stand that are sent as they are.
const TOKENS: [&str; 3] = ["/token", "/auth-provider/config/id-token", "/auth-provider/config/access-token"];

/// Why a kubeconfig cannot be used. Never its content: it holds keys and tokens.
pub(super) type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Reads one file; without it, the usual ones, of which the first that says something counts.
pub(super) fn read(path: Option<&Path>, usual: &[PathBuf]) -> Result<Kubeconfig, Fault> {
    let Some(path) = path else {
        if usual.is_empty() {
            return Err("there is no kubeconfig: neither KUBECONFIG nor ~/.kube/config".into());
        }
        return usual.iter().try_fold(Kubeconfig::default(), |all, path| {
            all.merge(one(path)?).map_err(|error| unreadable(&error))
        });
    };
    one(path)
}

fn one(path: &Path) -> Result<Kubeconfig, Fault> {
    let failed =
        |kind: io::ErrorKind| -> Fault { format!("`{}`: {}", path.display(), io::Error::from(kind)).into() };
    let bytes = files::read(path, LARGEST).map_err(|error| failed(error.kind()))?;
    let text = text(bytes)
        .ok_or_else(|| -> Fault { format!("`{}`: it is neither UTF-8 nor UTF-16", path.display()).into() })?;
    let mut kubeconfig = parsed(&text)?;
    rebase(&mut kubeconfig, path.parent().unwrap_or(Path::new("")));
    Ok(kubeconfig)
}

/// A kubeconfig from its text.
pub(super) fn parsed(text: &str) -> Result<Kubeconfig, Fault> {
    Kubeconfig::from_yaml(text).map_err(|error| unreadable(&error))
}

/// Text as kubectl's other readers take it: UTF-8, or UTF-16 with its mark.
fn text(bytes: Vec<u8>) -> Option<String> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
        rest.is_empty().then(|| String::from_utf16(&units).ok())?
    };
    match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        _ => String::from_utf8(bytes).ok(),
    }
}

/// Paths in a kubeconfig are relative to it; a plugin without a slash is looked for in `PATH`.
fn rebase(kubeconfig: &mut Kubeconfig, folder: &Path) {
    let rebase = |path: &mut Option<String>| {
        if let Some(path) = path.as_mut().filter(|path| Path::new(path).is_relative()) {
            *path = folder.join(&*path).display().to_string();
        }
    };
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        rebase(&mut cluster.certificate_authority);
    }
    for user in kubeconfig.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        rebase(&mut user.client_certificate);
        rebase(&mut user.client_key);
        rebase(&mut user.token_file);
        if let Some(exec) = &mut user.exec
            && exec.command.as_ref().is_some_and(|command| command.contains('/'))
        {
            rebase(&mut exec.command);
        }
    }
}

/// Why a kubeconfig cannot be read, without its content: parsers quote it.
fn unreadable(error: &KubeconfigError) -> Fault {
    match error {
        KubeconfigError::Parse(source) => {
            let place = source.location().map(|at| format!(", line {}, column {}", at.line(), at.column()));
            format!("it is not a kubeconfig{}", place.unwrap_or_default()).into()
        }
        other => other.to_string().lines().next().unwrap_or_default().to_owned().into(),
    }
}

/// Refuses a context that is not there, with the one that may be meant.
pub(super) fn has_context(kubeconfig: &Kubeconfig, context: &str) -> Result<(), Fault> {
    let known = || kubeconfig.contexts.iter().map(|known| known.name.as_str());
    if known().any(|known| known == context) {
        return Ok(());
    }
    let near = match did_you_mean(context, known()) {
        near if near.is_empty() => format!("it has: {}", known().collect::<Vec<_>>().join(", ")),
        near => near,
    };
    Err(format!("there is no context `{context}`: {near}").into())
}

/// Takes care that no proxy is used: kube would use the environment's for every cluster that names none, without a look
/// at `NO_PROXY` (its `config/file_loader.rs`), and API servers of one's own are not behind it.
///
/// # Errors
/// The chosen cluster names a proxy, which this build cannot use.
pub(super) fn direct(kubeconfig: &mut Kubeconfig, context: Option<&str>) -> Result<(), Fault> {
    let chosen = context.or(kubeconfig.current_context.as_deref());
    let chosen = kubeconfig.contexts.iter().find(|known| Some(known.name.as_str()) == chosen);
    let cluster = chosen.and_then(|known| known.context.as_ref()).map(|context| context.cluster.clone());
    for named in &mut kubeconfig.clusters {
        let Some(known) = &mut named.cluster else { continue };
        let proxy = known.proxy_url.replace(UNUSED.to_owned()).filter(|proxy| !proxy.is_empty());
        if let Some(proxy) = proxy.filter(|_| cluster.as_ref() == Some(&named.name)) {
            // A name and a password may stand before the host.
            let proxy = proxy.rsplit('@').next().unwrap_or_default();
            return Err(format!(
                "its cluster `{}` is behind the proxy `{proxy}` (`proxy-url`), and cozy uses none for API servers",
                named.name
            )
            .into());
        }
    }
    Ok(())
}

/// What [`direct`] names, so that the environment is not asked; it never gets to a connection.
const UNUSED: &str = "http://unused.invalid";

/// Takes the name that [`direct`] put there out again.
pub(super) fn without_proxy(config: &mut kube::Config) {
    config.proxy_url = None;
    if let Some(cluster) = config.auth_info.exec.as_mut().and_then(|exec| exec.cluster.as_mut()) {
        cluster.proxy_url = None;
    }
}

/// A user whose tokens can be sent: without the spaces and line breaks that editors leave around them.
pub(super) fn sendable(user: AuthInfo) -> Result<AuthInfo, Fault> {
    let mut value = serde_json::to_value(&user)?;
    let mut trimmed = false;
    for token in TOKENS {
        let Some(Value::String(token)) = value.pointer_mut(token) else { continue };
        trimmed |= token.trim() != token;
        *token = token.trim().to_owned();
        if HeaderValue::try_from(format!("Bearer {token}")).is_err() {
            return Err("its token has a character that no token has, such as a line break".into());
        }
    }
    Ok(if trimmed { serde_json::from_value(value).map_err(|_| "its user cannot be read")? } else { user })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k");
        fs_err::write(&path, bytes).unwrap();
        let read = one(&path).map(|read| read.current_context.unwrap_or_default());
        read.unwrap_or_else(|error| error.to_string()).replace(&path.display().to_string(), "k")
    }

    #[test]
    fn texts_are_decoded_and_what_is_none_is_no_panic() {
        let utf16 = |text: &str, mark: [u8; 2], bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            mark.into_iter().chain(text.encode_utf16().flat_map(bytes)).collect()
        };
        assert_eq!(said(b"current-context: a"), "a");
        assert_eq!(said(b"\xef\xbb\xbfcurrent-context: a"), "a");
        assert_eq!(said(&utf16("current-context: a", [0xff, 0xfe], u16::to_le_bytes)), "a");
        assert_eq!(said(&utf16("current-context: a", [0xfe, 0xff], u16::to_be_bytes)), "a");
        for bytes in [&b"\xff\xfe\0"[..], b"\xfe\xff\0", b"\xff\xfe\0\xd8", b"\xff", b"\xef\xbb\xbf\xff"] {
            assert_eq!(said(bytes), "`k`: it is neither UTF-8 nor UTF-16", "{bytes:?}");
        }
        assert_eq!(one(Path::new("/dev/zero")).unwrap_err().to_string(), "`/dev/zero`: file too large");
    }

    #[test]
    fn paths_are_those_beside_the_file_and_the_first_of_several_counts() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs_err::write(&path, text).unwrap();
            path
        };
        let user = "users: [{ name: u, user: { tokenFile: t, exec: { command: ./p }, client-key: /k } }]";
        let first = write("a", &format!("current-context: a\n{user}\n"));
        let second = write("b", "current-context: b\nusers: [{ name: u, user: { token: x } }]\n");
        let read = read(None, &[first, second]).unwrap();
        assert_eq!(read.current_context.as_deref(), Some("a"));
        let user = read.auth_infos[0].auth_info.clone().unwrap();
        let below = |name: &str| Some(folder.path().join(name).display().to_string());
        assert_eq!((user.token_file, user.client_key), (below("t"), Some("/k".to_owned())));
        assert_eq!(user.exec.unwrap().command, below("./p"));
        assert!(self::read(None, &[]).unwrap_err().to_string().contains("neither KUBECONFIG nor"));
    }

    #[test]
    fn tokens_are_trimmed_and_those_that_cannot_be_sent_are_refused() {
        let user = |user: Value| sendable(serde_json::from_value(user).unwrap());
        let token = |user: AuthInfo| serde_json::to_value(&user).unwrap()["token"].clone();
        assert_eq!(token(user(serde_json::json!({ "token": "abc\n" })).unwrap()), "abc");
        let provider = |token: &str| serde_json::json!({ "auth-provider": { "name": "oidc", "config": { "id-token": token } } });
        for wrong in [serde_json::json!({ "token": "a\nbc" }), provider("a\u{0}b")] {
            let said = user(wrong).unwrap_err().to_string();
            assert_eq!(said, "its token has a character that no token has, such as a line break");
        }
        assert!(user(provider("abc")).is_ok());
    }

    #[test]
    fn the_nearest_context_is_named() {
        let known = parsed("contexts: [{ name: prod, context: { cluster: c } }]").unwrap();
        assert!(has_context(&known, "prod").is_ok());
        let said = |name: &str| has_context(&known, name).unwrap_err().to_string();
        assert_eq!(said("pord"), "there is no context `pord`: did you mean `prod`?");
        assert_eq!(said("elsewhere"), "there is no context `elsewhere`: it has: prod");
    }
}
