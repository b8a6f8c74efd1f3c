//! What certificates, and requests for them, say of themselves. What follows
//! from it is decided elsewhere. No I/O.

use std::net::IpAddr;

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;

/// When the first certificate of a PEM text ends, in seconds since 1970.
pub(crate) fn ends(pem: &[u8]) -> Option<i64> {
    let first = Pem::iter_from_buffer(pem).flatten().find(|pem| pem.label == "CERTIFICATE")?;
    Some(first.parse_x509().ok()?.validity().not_after.timestamp())
}

/// Whom a request wants a certificate for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// The subject's common names.
    pub(crate) names: Vec<String>,
    /// The subject's organizations.
    pub(crate) organizations: Vec<String>,
    /// DNS names.
    pub(crate) dns: Vec<String>,
    /// IP addresses.
    pub(crate) addresses: Vec<IpAddr>,
    /// Mail addresses, URIs and what else cannot be read.
    pub(crate) others: usize,
}

impl Request {
    /// Reads a request in PEM.
    pub(crate) fn read(pem: &[u8]) -> Option<Self> {
        let pem = Pem::iter_from_buffer(pem).flatten().next()?;
        let (_, request) = X509CertificationRequest::from_der(&pem.contents).ok()?;
        let subject = &request.certification_request_info.subject;
        let texts = |all: Vec<Option<String>>| all.into_iter().collect::<Option<Vec<String>>>();
        let text =
            |name: &x509_parser::x509::AttributeTypeAndValue<'_>| name.as_str().ok().map(str::to_owned);
        let mut found = Self {
            names: texts(subject.iter_common_name().map(text).collect())?,
            organizations: texts(subject.iter_organization().map(text).collect())?,
            ..Self::default()
        };
        for extension in request.requested_extensions().into_iter().flatten() {
            let ParsedExtension::SubjectAlternativeName(all) = extension else { continue };
            for name in &all.general_names {
                match name {
                    GeneralName::DNSName(name) => found.dns.push((*name).to_owned()),
                    GeneralName::IPAddress(bytes) => match address(bytes) {
                        Some(address) => found.addresses.push(address),
                        None => found.others += 1,
                    },
                    _ => found.others += 1,
                }
            }
        }
        Some(found)
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    four.or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_and_requests_are_read() {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = ["h1".to_owned(), "10.0.0.11".to_owned(), "fd00::1".to_owned()];
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.not_after = rcgen::date_time_ymd(2031, 5, 6);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "system:node:h1");
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:nodes");
        let certificate = params.clone().self_signed(&key).unwrap().pem();
        assert_eq!(ends(certificate.as_bytes()), Some(1_935_792_000));
        let request = params.serialize_request(&key).unwrap().pem().unwrap();
        assert_eq!(
            Request::read(request.as_bytes()),
            Some(Request {
                names: vec!["system:node:h1".to_owned()],
                organizations: vec!["system:nodes".to_owned()],
                dns: vec!["h1".to_owned()],
                addresses: vec!["10.0.0.11".parse().unwrap(), "fd00::1".parse().unwrap()],
                others: 0,
            })
        );
        params.subject_alt_names.push(rcgen::SanType::URI("https://x".try_into().unwrap()));
        let request = params.serialize_request(&key).unwrap().pem().unwrap();
        assert_eq!(Request::read(request.as_bytes()).unwrap().others, 1);
        assert_eq!(Request::read(b"nothing"), None);
        assert_eq!(ends(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), None);
    }
}
