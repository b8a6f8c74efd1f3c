//! Private keys, in the forms that Go writes and reads.

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize};

use crate::environment::Environment;
use crate::funcs::encoding;

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const IDENTIFIER: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const BITS: u8 = 0x03;
const PARAMETERS: u8 = 0xa0;

/// sprig's `genPrivateKey`, as PEM; what it cannot do is said in its place.
pub(super) fn generate(kind: &str, environment: &mut dyn Environment) -> Result<String, String> {
    match kind {
        "" | "rsa" => pem_of(&rsa(RsaKeySize::_4096)?),
        "ecdsa" => {
            let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| error.to_string())?;
            pem_of(&pair)
        }
        "ed25519" => {
            let mut seed = [0; 32];
            environment.random(&mut seed)?;
            // PKCS #8, version 0, without the public key.
            let key = [&[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20][..], &seed]
                .concat();
            Ok(pem("PRIVATE KEY", &key))
        }
        "dsa" => {
            Err("keys of type dsa are not made: no Kubernetes component takes them; use ecdsa".to_owned())
        }
        unknown => Ok(format!("Unknown type {unknown}")),
    }
}

/// A new RSA key.
pub(super) fn rsa(size: RsaKeySize) -> Result<KeyPair, String> {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size)
        .map_err(|error| format!("error generating rsa key: {error}"))
}

/// Writes a block of PEM.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let encoded = encoding::base64(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in encoded.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out.push_str("-----END ");
    out.push_str(label);
    out.push_str("-----\n");
    out
}

/// The first block of PEM: its label and bytes.
pub(super) fn first_block(text: &str) -> Option<(String, Vec<u8>)> {
    let start = text.find("-----BEGIN ")?;
    let rest = text.get(start + 11..)?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body: String = body.lines().filter(|line| !line.contains(':')).map(str::trim).collect();
    Some((label.to_owned(), encoding::from_base64(body.as_bytes()).ok()?))
}

/// Reads the value of an element of DER: tag, content, rest.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        let length = digits
            .iter()
            .try_fold(0_usize, |sum, digit| sum.checked_mul(256)?.checked_add(usize::from(*digit)))?;
        (length, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// Writes an element of DER.
pub(super) fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    if let Ok(short @ 0..0x80) = u8::try_from(length) {
        out.push(short);
    } else {
        let digits: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|digit| *digit == 0).collect();
        out.push(0x80 | u8::try_from(digits.len()).unwrap_or(8));
        out.extend(digits);
    }
    out.extend_from_slice(content);
    out
}

/// What PKCS #8 holds: algorithm, its parameters, the key.
fn inner(pkcs8: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (_, content, _) = element(pkcs8)?;
    let (_, _, rest) = element(content)?;
    let (_, algorithm, rest) = element(rest)?;
    let (_, key, _) = element(rest)?;
    let (_, identifier, parameters) = element(algorithm)?;
    Some((identifier, parameters, key))
}

/// A key as Go writes it: PKCS #1, SEC 1 or PKCS #8.
pub(super) fn pem_of(pair: &KeyPair) -> Result<String, String> {
    let pkcs8 = pair.serialize_der();
    let (identifier, parameters, key) = inner(&pkcs8).ok_or("the key is not PKCS #8")?;
    match identifier {
        RSA => Ok(pem("RSA PRIVATE KEY", key)),
        EC => {
            let (_, content, _) = element(key).ok_or("the key is not SEC 1")?;
            let (version, rest) =
                element(content).map(|(_, version, rest)| (version, rest)).ok_or("the key is not SEC 1")?;
            let (_, secret, _) = element(rest).ok_or("the key is not SEC 1")?;
            let public = [&[0][..], pair.public_key_raw()].concat();
            let body = [
                der(INTEGER, version),
                der(OCTETS, secret),
                der(PARAMETERS, parameters),
                der(0xa1, &der(BITS, &public)),
            ]
            .concat();
            Ok(pem("EC PRIVATE KEY", &der(SEQUENCE, &body)))
        }
        _ => Ok(pem("PRIVATE KEY", &pkcs8)),
    }
}

/// Reads a key in any of the forms that Go reads.
pub(super) fn read(text: &str) -> Result<KeyPair, String> {
    let (label, bytes) = first_block(text).ok_or("no PEM data in input")?;
    let wrap = |identifier: &[u8], parameters: &[u8]| {
        let algorithm = [der(IDENTIFIER, identifier), parameters.to_vec()].concat();
        der(SEQUENCE, &[der(INTEGER, &[0]), der(SEQUENCE, &algorithm), der(OCTETS, &bytes)].concat())
    };
    let pkcs8 = match label.as_str() {
        "PRIVATE KEY" => bytes.clone(),
        "RSA PRIVATE KEY" => wrap(RSA, &[NULL, 0]),
        "EC PRIVATE KEY" => {
            let parameters = curve(&bytes).ok_or("parsing EC private key from PEM: no curve")?;
            wrap(EC, &parameters)
        }
        label => return Err(format!("no private key of a known type in PEM block of type {label}")),
    };
    KeyPair::try_from(pkcs8.as_slice()).map_err(|error| format!("parsing the private key: {error}"))
}

/// The curve that a SEC 1 key names.
fn curve(sec1: &[u8]) -> Option<Vec<u8>> {
    let (_, content, _) = element(sec1)?;
    let (_, _, rest) = element(content)?;
    let (_, _, rest) = element(rest)?;
    let (tag, parameters, _) = element(rest)?;
    (tag == PARAMETERS).then(|| parameters.to_vec())
}
