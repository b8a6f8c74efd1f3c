//! Certificates as sprig makes them with Go's `crypto/x509`.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration as Span, SystemTime, UNIX_EPOCH};

use rcgen::{KeyPair, RsaKeySize};

use super::x509::{Certificate, Issuer};
use super::{KEY, keys};
use crate::environment::Environment;
use crate::exec::{Engine, Stop};
use crate::format;
use crate::funcs::{Answer, arg, bytes, encoding, int, printed};
use crate::object::Object;
use crate::value::Value;

/// How many milliseconds a signature takes with a key that is given, about.
const SIGNATURE: u64 = 4;

/// What separates certificate and key where they are kept.
const MARK: u8 = 0;

fn value(cert: String, key: String) -> Value {
    Value::Object(Rc::new(Object::Certificate { cert, key }))
}

fn unpacked(kept: &[u8]) -> Value {
    let mut parts =
        kept.splitn(2, |byte| *byte == MARK).map(|part| String::from_utf8_lossy(part).into_owned());
    value(parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

/// From when to when a certificate is valid; what was kept of a function that
/// makes one begins with it.
pub fn validity(kept: &[u8]) -> Option<(SystemTime, SystemTime)> {
    let text = String::from_utf8_lossy(kept.split(|byte| *byte == MARK).next()?);
    let (label, der) = keys::first_block(&text)?;
    let (_, cert) = x509_parser::parse_x509_certificate(&der).ok().filter(|_| label == "CERTIFICATE")?;
    let time = |seconds: i64| UNIX_EPOCH.checked_add(Span::from_secs(u64::try_from(seconds).ok()?));
    let validity = cert.validity();
    Some((time(validity.not_before.timestamp())?, time(validity.not_after.timestamp())?))
}

/// A key that is given, or a new one.
fn key_or_new(given: Option<&str>) -> Result<KeyPair, String> {
    match given {
        Some(pem) => keys::read(pem),
        None => keys::rsa(RsaKeySize::_2048),
    }
}

/// sprig's `getBaseCertTemplate`.
fn template<'a>(
    environment: &mut dyn Environment,
    name: &'a [u8],
    days: i64,
) -> Result<Certificate<'a>, String> {
    /// A day in Go's unit of durations, nanoseconds, of which 292 years are too many.
    const DAY: i64 = 86_400_000_000_000;
    let mut serial = [0; 16];
    environment.random(&mut serial)?;
    let since = environment.issued().duration_since(UNIX_EPOCH).unwrap_or_default();
    let begins = i64::try_from(since.as_secs()).unwrap_or(0);
    let ends = begins.saturating_add(days.wrapping_mul(DAY).div_euclid(1_000_000_000));
    let (hosts, addresses) = (Vec::new(), Vec::new());
    Ok(Certificate { name, serial, begins, ends, hosts, addresses, is_authority: false })
}

/// Certificate and key as they are kept.
fn packed(cert: &Certificate<'_>, key: &KeyPair, issuer: Option<&Issuer>) -> Result<Vec<u8>, String> {
    let cert =
        cert.signed(key, issuer).map_err(|problem| format!("error creating certificate: {problem}"))?;
    Ok([keys::pem("CERTIFICATE", &cert).as_bytes(), &[MARK], keys::pem_of(key)?.as_bytes()].concat())
}

/// `genCA` and `genCAWithKey`
pub(super) fn authority(
    engine: &mut Engine<'_>,
    function: &'static str,
    a: &[Value],
    key: Option<&str>,
) -> Answer {
    let cost = if key.is_some() { SIGNATURE } else { KEY };
    let kept = engine.generated(function, printed(a), cost, |environment| {
        let pair = key_or_new(key)?;
        let cert = template(environment, bytes(a, 0), int(a, 1))?;
        packed(&Certificate { is_authority: true, ..cert }, &pair, None)
    })?;
    Ok(unpacked(&kept))
}

/// `genSelfSignedCert`, `genSignedCert`, and those with a key.
pub(super) fn leaf(
    engine: &mut Engine<'_>,
    function: &'static str,
    a: &[Value],
    signer: Option<&Value>,
    key: Option<&str>,
) -> Answer {
    let cost = if key.is_some() { SIGNATURE } else { KEY };
    let addresses: Vec<IpAddr> = texts(arg(a, 1), "error parsing ip")?
        .iter()
        .map(|address| address.parse().map_err(|_| Stop::Failed(format!("error parsing ip: {address}"))))
        .collect::<Result<_, _>>()?;
    let hosts = texts(arg(a, 2), "error processing alternate dns name")?;
    let signer = match signer {
        Some(Value::Object(object)) => match object.as_ref() {
            Object::Certificate { cert, key } => Some((cert.clone(), key.clone())),
            _ => return Err("the signer is not a certificate".into()),
        },
        _ => None,
    };
    let kept = engine.generated(function, printed(a), cost, |environment| {
        let pair = key_or_new(key)?;
        let issuer = signer.map(|(cert, key)| Issuer::read(&cert, &key)).transpose()?;
        let cert = template(environment, bytes(a, 0), int(a, 3))?;
        packed(&Certificate { hosts, addresses, ..cert }, &pair, issuer.as_ref())
    })?;
    Ok(unpacked(&kept))
}

fn texts(list: &Value, problem: &str) -> Result<Vec<String>, Stop> {
    let items = list.elements().unwrap_or_default();
    items
        .iter()
        .map(|item| match item.string_text() {
            Some(text) => Ok(text.into_owned()),
            None => Err(Stop::Failed(format!("{problem}: {} is not a string", format::text(item)))),
        })
        .collect()
}

/// `buildCustomCert`
pub(super) fn custom(cert: &[u8], key: &[u8]) -> Answer {
    let decode = |text: &[u8], what: &str| {
        encoding::from_base64(text).map_err(|_| Stop::Failed(format!("unable to decode base64 {what}")))
    };
    let (cert, key) = (decode(cert, "certificate")?, decode(key, "private key")?);
    let (cert, key) =
        (String::from_utf8_lossy(&cert).into_owned(), String::from_utf8_lossy(&key).into_owned());
    let (_, der) = keys::first_block(&cert).ok_or("unable to decode certificate")?;
    if x509_parser::parse_x509_certificate(&der).is_err() {
        return Err("error parsing certificate".into());
    }
    keys::read(&key).map_err(|problem| format!("error parsing private key: {problem}"))?;
    Ok(value(cert, key))
}
