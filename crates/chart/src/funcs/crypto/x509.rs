//! Certificates, byte for byte as Go's `crypto/x509` writes them for sprig (`CreateCertificate`).

use std::net::IpAddr;

use jiff::Timestamp;
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA256, PKCS_ECDSA_P521_SHA384,
    PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData as _, SigningKey as _,
};
use sha2::{Digest as _, Sha256};
use x509_parser::extensions::ParsedExtension;

use super::keys::{self, BITS, IDENTIFIER, INTEGER, NULL, OCTETS, SEQUENCE, der};

const SET: u8 = 0x31;
const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const KEY_IDENTIFIER: u8 = 0x80;
const DNS_NAME: u8 = 0x82;
const ADDRESS: u8 = 0x87;

/// `BOOLEAN TRUE`
const TRUE: [u8; 3] = [0x01, 0x01, 0xff];

const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

/// Server and client authentication.
const PURPOSES: [[u8; 8]; 2] =
    [[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01], [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02]];

/// The last numbers of extensions, after 2.5.29.
const KEY_USAGE: u8 = 0x0f;
const EXTENDED_KEY_USAGE: u8 = 0x25;
const BASIC_CONSTRAINTS: u8 = 0x13;
const SUBJECT_KEY_IDENTIFIER: u8 = 0x0e;
const AUTHORITY_KEY_IDENTIFIER: u8 = 0x23;
const SUBJECT_ALTERNATIVE_NAME: u8 = 0x11;

/// What a certificate says.
pub(super) struct Certificate<'a> {
    /// The common name of the subject.
    pub(super) name: &'a [u8],
    /// The number, as it is drawn.
    pub(super) serial: [u8; 16],
    /// From when it is valid, in seconds since 1970.
    pub(super) begins: i64,
    /// Until when.
    pub(super) ends: i64,
    pub(super) hosts: Vec<String>,
    pub(super) addresses: Vec<IpAddr>,
    /// Whether it may sign others.
    pub(super) is_authority: bool,
}

/// Who signs certificates of others.
pub(super) struct Issuer {
    subject: Vec<u8>,
    key_identifier: Option<Vec<u8>>,
    key: KeyPair,
}

impl Issuer {
    /// Reads a certificate and its key.
    pub(super) fn read(cert: &str, key: &str) -> Result<Self, String> {
        let (_, bytes) = keys::first_block(cert).ok_or("unable to decode certificate")?;
        let (_, cert) = x509_parser::parse_x509_certificate(&bytes)
            .map_err(|error| format!("error parsing certificate: decodedSignerCert.Bytes: {error}"))?;
        let key = keys::read(key).map_err(|problem| format!("error parsing private key: {problem}"))?;
        if *cert.public_key().subject_public_key.data != *key.public_key_raw() {
            let problem = "x509: provided PrivateKey doesn't match parent's PublicKey";
            return Err(format!("error creating certificate: {problem}"));
        }
        let key_identifier =
            cert.extensions().iter().find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
                _ => None,
            });
        Ok(Self { subject: cert.subject().as_raw().to_vec(), key_identifier, key })
    }
}

impl Certificate<'_> {
    /// The certificate of a key in DER, signed by an issuer or by the key itself.
    pub(super) fn signed(&self, key: &KeyPair, issuer: Option<&Issuer>) -> Result<Vec<u8>, String> {
        let signer = issuer.map_or(key, |issuer| &issuer.key);
        let algorithm = algorithm(signer)?;
        let subject = self.subject()?;
        let other = issuer.filter(|issuer| issuer.subject != subject);
        let authority = other.and_then(|issuer| issuer.key_identifier.as_deref());
        let body = [
            der(VERSION, &der(INTEGER, &[2])),
            der(INTEGER, &positive(&self.serial)),
            algorithm.clone(),
            issuer.map_or_else(|| subject.clone(), |issuer| issuer.subject.clone()),
            der(SEQUENCE, &[time(self.begins)?, time(self.ends)?].concat()),
            subject.clone(),
            key.subject_public_key_info(),
            der(EXTENSIONS, &der(SEQUENCE, &self.extensions(&subject, key, authority)?)),
        ];
        let body = der(SEQUENCE, &body.concat());
        let signature = signer.sign(&body).map_err(|error| error.to_string())?;
        Ok(der(SEQUENCE, &[body, algorithm, bits(0, &signature)].concat()))
    }

    fn subject(&self) -> Result<Vec<u8>, String> {
        if self.name.is_empty() {
            return Ok(der(SEQUENCE, &[]));
        }
        // Go takes the smaller alphabet where it can (`encoding/asn1`).
        let is_printable = |byte: &u8| {
            byte.is_ascii_alphanumeric()
                || matches!(byte, b'\''..=b')' | b'+'..=b'/' | b' ' | b':' | b'=' | b'?')
        };
        let tag = if self.name.iter().all(is_printable) { PRINTABLE } else { UTF8 };
        if std::str::from_utf8(self.name).is_err() {
            return Err("asn1: string not valid UTF-8".to_owned());
        }
        let attribute = [der(IDENTIFIER, &COMMON_NAME), der(tag, self.name)].concat();
        Ok(der(SEQUENCE, &der(SET, &der(SEQUENCE, &attribute))))
    }

    /// The extensions in Go's order (`buildCertExtensions`).
    fn extensions(&self, subject: &[u8], key: &KeyPair, authority: Option<&[u8]>) -> Result<Vec<u8>, String> {
        // Digital signature and key encipherment; an authority signs certificates, too.
        let usage = if self.is_authority { bits(2, &[0xa4]) } else { bits(5, &[0xa0]) };
        let purposes = PURPOSES.map(|purpose| der(IDENTIFIER, &purpose)).concat();
        let constraints: &[u8] = if self.is_authority { &TRUE } else { &[] };
        let mut all = vec![
            extension(KEY_USAGE, true, &usage),
            extension(EXTENDED_KEY_USAGE, false, &der(SEQUENCE, &purposes)),
            extension(BASIC_CONSTRAINTS, true, &der(SEQUENCE, constraints)),
        ];
        if self.is_authority {
            // RFC 7093, section 2, method 1.
            let digest = Sha256::digest(key.public_key_raw());
            let identifier = digest.get(..20).unwrap_or(&digest);
            all.push(extension(SUBJECT_KEY_IDENTIFIER, false, &der(OCTETS, identifier)));
        }
        if let Some(identifier) = authority {
            let value = der(SEQUENCE, &der(KEY_IDENTIFIER, identifier));
            all.push(extension(AUTHORITY_KEY_IDENTIFIER, false, &value));
        }
        if let Some(host) = self.hosts.iter().find(|host| !host.is_ascii()) {
            return Err(format!("x509: {host:?} cannot be encoded as an IA5String"));
        }
        let hosts = self.hosts.iter().map(|host| der(DNS_NAME, host.as_bytes()));
        let addresses = self.addresses.iter().map(|address| match address.to_canonical() {
            IpAddr::V4(address) => der(ADDRESS, &address.octets()),
            IpAddr::V6(address) => der(ADDRESS, &address.octets()),
        });
        let names: Vec<u8> = hosts.chain(addresses).flatten().collect();
        if !names.is_empty() {
            // RFC 5280, section 4.2.1.6: critical, where the subject is nobody.
            let critical = subject == der(SEQUENCE, &[]);
            all.push(extension(SUBJECT_ALTERNATIVE_NAME, critical, &der(SEQUENCE, &names)));
        }
        Ok(all.concat())
    }
}

fn extension(last: u8, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &TRUE } else { &[] };
    der(SEQUENCE, &[&*der(IDENTIFIER, &[0x55, 0x1d, last]), critical, &der(OCTETS, value)].concat())
}

/// A string of bits, of which the last ones are not used.
fn bits(unused: u8, bytes: &[u8]) -> Vec<u8> {
    der(BITS, &[&[unused], bytes].concat())
}

/// The bytes of a positive number: no more than it needs, and no sign.
fn positive(bytes: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    if digits.first().is_none_or(|first| *first >= 0x80) { [vec![0], digits].concat() } else { digits }
}

/// A time, in the short form from 1950 to 2049.
fn time(seconds: i64) -> Result<Vec<u8>, String> {
    let wrong = || "asn1: structure error: cannot represent time as GeneralizedTime".to_owned();
    let time = Timestamp::from_second(seconds).map_err(|_| wrong())?;
    let year = time.to_zoned(jiff::tz::TimeZone::UTC).year();
    let (tag, format) = match year {
        1950..=2049 => (UTC_TIME, "%y%m%d%H%M%SZ"),
        0.. => (GENERALIZED_TIME, "%Y%m%d%H%M%SZ"),
        _ => return Err(wrong()),
    };
    Ok(der(tag, time.strftime(format).to_string().as_bytes()))
}

/// The algorithm that a key signs with.
fn algorithm(key: &KeyPair) -> Result<Vec<u8>, String> {
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
    const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
    const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
    let ecdsa = |hash: u8| der(IDENTIFIER, &[ECDSA, &[hash]].concat());
    let known = [
        (&PKCS_RSA_SHA256, [der(IDENTIFIER, RSA), der(NULL, &[])].concat()),
        (&PKCS_ECDSA_P256_SHA256, ecdsa(2)),
        (&PKCS_ECDSA_P384_SHA384, ecdsa(3)),
        (&PKCS_ECDSA_P521_SHA256, ecdsa(2)),
        (&PKCS_ECDSA_P521_SHA384, ecdsa(3)),
        (&PKCS_ECDSA_P521_SHA512, ecdsa(4)),
        (&PKCS_ED25519, der(IDENTIFIER, ED25519)),
    ];
    let found = known.into_iter().find(|(known, _)| *known == key.algorithm());
    let (_, identifier) = found.ok_or("x509: only RSA, ECDSA and Ed25519 keys supported")?;
    Ok(der(SEQUENCE, &identifier))
}
