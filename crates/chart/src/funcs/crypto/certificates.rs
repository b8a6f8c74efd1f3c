//! Certificates as sprig makes them with Go's `crypto/x509`.

use std::rc::Rc;
use std::time::{Duration as Span, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, RsaKeySize, SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use super::{KEY, keys};
use crate::environment::Environment;
use crate::exec::{Engine, Stop};
use crate::format;
use crate::funcs::{Answer, arg, encoding, int, printed, text};
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
fn template(environment: &mut dyn Environment, name: &str, days: i64) -> Result<CertificateParams, String> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let mut serial = [0; 16];
    environment.random(&mut serial)?;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let since = environment.issued().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(0);
    let now = OffsetDateTime::from_unix_timestamp(seconds).map_err(|error| error.to_string())?;
    params.not_before = now;
    let end = Duration::seconds(days.saturating_mul(86_400));
    params.not_after = now.checked_add(end).ok_or("the certificate ends after the year 9999")?;
    params.key_usages = vec![KeyUsagePurpose::KeyEncipherment, KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.is_ca = IsCa::ExplicitNoCa;
    Ok(params)
}

/// `genCA` and `genCAWithKey`
pub(super) fn authority(
    engine: &mut Engine<'_>,
    function: &'static str,
    a: &[Value],
    key: Option<&str>,
) -> Answer {
    let (name, days) = (text(a, 0).into_owned(), int(a, 1));
    let cost = if key.is_some() { SIGNATURE } else { KEY };
    let kept = engine.generated(function, printed(a), cost, |environment| {
        let pair = key_or_new(key)?;
        let mut params = template(environment, &name, days)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        let cert =
            params.self_signed(&pair).map_err(|error| format!("error creating certificate: {error}"))?;
        Ok([cert_pem(&cert).as_bytes(), &[MARK], keys::pem_of(&pair)?.as_bytes()].concat())
    })?;
    Ok(unpacked(&kept))
}

fn cert_pem(cert: &rcgen::Certificate) -> String {
    keys::pem("CERTIFICATE", cert.der())
}

/// `genSelfSignedCert`, `genSignedCert`, and those with a key.
pub(super) fn leaf(
    engine: &mut Engine<'_>,
    function: &'static str,
    a: &[Value],
    signer: Option<&Value>,
    key: Option<&str>,
) -> Answer {
    let (name, days) = (text(a, 0).into_owned(), int(a, 3));
    let cost = if key.is_some() { SIGNATURE } else { KEY };
    let mut names = Vec::new();
    for address in texts(arg(a, 1), "error parsing ip")? {
        let parsed = address.parse().map_err(|_| Stop::Failed(format!("error parsing ip: {address}")))?;
        names.push(SanType::IpAddress(parsed));
    }
    for host in texts(arg(a, 2), "error processing alternate dns name")? {
        let host =
            host.as_str().try_into().map_err(|_| Stop::Failed(format!("{host:?} is not a DNS name")))?;
        names.push(SanType::DnsName(host));
    }
    let signer = match signer {
        Some(Value::Object(object)) => match object.as_ref() {
            Object::Certificate { cert, key } => Some((cert.clone(), key.clone())),
            _ => return Err("the signer is not a certificate".into()),
        },
        _ => None,
    };
    let kept = engine.generated(function, printed(a), cost, |environment| {
        let pair = key_or_new(key)?;
        let mut params = template(environment, &name, days)?;
        params.subject_alt_names = names;
        let cert = match &signer {
            None => params.self_signed(&pair),
            Some((cert, key)) => {
                let (label, _) = keys::first_block(cert).ok_or("unable to decode certificate")?;
                if label != "CERTIFICATE" {
                    return Err("unable to decode certificate".to_owned());
                }
                let issuer = Issuer::from_ca_cert_pem(cert, keys::read(key)?)
                    .map_err(|error| format!("error parsing certificate: {error}"))?;
                params.use_authority_key_identifier_extension = true;
                params.signed_by(&pair, &issuer)
            }
        };
        let cert = cert.map_err(|error| format!("error creating certificate: {error}"))?;
        Ok([cert_pem(&cert).as_bytes(), &[MARK], keys::pem_of(&pair)?.as_bytes()].concat())
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
