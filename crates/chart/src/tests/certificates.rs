//! Certificates byte for byte as Go writes them.

use std::time::{Duration, SystemTime};

use crate::Environment;

/// A world in which nothing is random, and time stands still.
struct Still;

impl Environment for Still {
    fn random(&mut self, buffer: &mut [u8]) -> Result<(), String> {
        buffer.fill(0x81);
        Ok(())
    }

    fn now(&mut self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }
}

/// An Ed25519 key of 32 bytes 0x07: its signatures are not random. PKCS #8.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\\nMC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\\n-----END PRIVATE KEY-----\\n";

/// Calls, and the certificates that Go makes of them.
const GO: [(&str, &str); 5] = [
    (
        r#"genCAWithKey "my ca" 365 $k"#,
        "MIIBPzCB8qADAgECAhEAgYGBgYGBgYGBgYGBgYGBgTAFBgMrZXAwEDEOMAwGA1UEAxMFbXkgY2EwHhcNMjMxMTE0MjIxMzIwWhcNMjQxMTEzMjIxMzIwWjAQMQ4wDAYDVQQDEwVteSBjYTAqMAUGAytlcAMhAOpKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIso2EwXzAOBgNVHQ8BAf8EBAMCAqQwHQYDVR0lBBYwFAYIKwYBBQUHAwEGCCsGAQUFBwMCMA8GA1UdEwEB/wQFMAMBAf8wHQYDVR0OBBYEFP6BLBLzq0zmrF22msNS+QbLGxHvMAUGAytlcANBAHaKyEH1g+StbyG4myKH272dOOZAa8obGBTA+dChkO7ZvB/yoDdvhS/fcK5YO2O6KA0WDAkDKTQZ2HdkcjqS4gU=",
    ),
    (
        r#"genCAWithKey "Zoë & Co*" 20000 $k"#,
        "MIIBSzCB/qADAgECAhEAgYGBgYGBgYGBgYGBgYGBgTAFBgMrZXAwFTETMBEGA1UEAwwKWm/DqyAmIENvKjAgFw0yMzExMTQyMjEzMjBaGA8yMDc4MDgxNzIyMTMyMFowFTETMBEGA1UEAwwKWm/DqyAmIENvKjAqMAUGAytlcAMhAOpKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIso2EwXzAOBgNVHQ8BAf8EBAMCAqQwHQYDVR0lBBYwFAYIKwYBBQUHAwEGCCsGAQUFBwMCMA8GA1UdEwEB/wQFMAMBAf8wHQYDVR0OBBYEFP6BLBLzq0zmrF22msNS+QbLGxHvMAUGAytlcANBAPh6DB2eYSw74hP329VptUPhlcbqdnrzHxTCqx8qQHIblYS/KNXlKei38erJ5FEr/Pv3fEWfOZHKxUtXGpPypAE=",
    ),
    (
        r#"genSelfSignedCertWithKey "" (list "10.0.0.1" "::1" "::ffff:1.2.3.4") (list "a.example" "*.b") 1 $k"#,
        "MIIBOTCB7KADAgECAhEAgYGBgYGBgYGBgYGBgYGBgTAFBgMrZXAwADAeFw0yMzExMTQyMjEzMjBaFw0yMzExMTUyMjEzMjBaMAAwKjAFBgMrZXADIQDqSmxj4pxSCr71UHsTLsX5lUd2rr6+e5JCHuppFEbSLKN7MHkwDgYDVR0PAQH/BAQDAgWgMB0GA1UdJQQWMBQGCCsGAQUFBwMBBggrBgEFBQcDAjAMBgNVHRMBAf8EAjAAMDoGA1UdEQEB/wQwMC6CCWEuZXhhbXBsZYIDKi5ihwQKAAABhxAAAAAAAAAAAAAAAAAAAAABhwQBAgMEMAUGAytlcANBACJYceBeym/FqCOuxnAMDgGS+XaAWm/G9yTOnvK5nwnI71gYQ1TfQU+iyMGXgcls+2kYKIu+XTFY6yQixeg3pwI=",
    ),
    (
        r#"genSignedCertWithKey "leaf" (list) (list "x") 10 (genCAWithKey "my ca" 365 $k) $k"#,
        "MIIBSzCB/qADAgECAhEAgYGBgYGBgYGBgYGBgYGBgTAFBgMrZXAwEDEOMAwGA1UEAxMFbXkgY2EwHhcNMjMxMTE0MjIxMzIwWhcNMjMxMTI0MjIxMzIwWjAPMQ0wCwYDVQQDEwRsZWFmMCowBQYDK2VwAyEA6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iyjbjBsMA4GA1UdDwEB/wQEAwIFoDAdBgNVHSUEFjAUBggrBgEFBQcDAQYIKwYBBQUHAwIwDAYDVR0TAQH/BAIwADAfBgNVHSMEGDAWgBT+gSwS86tM5qxdtprDUvkGyxsR7zAMBgNVHREEBTADggF4MAUGAytlcANBAKq04kQyZnNxB4fS6MFvf5dt8sT5nLA1h+aHOHMR2B4S/CJb7WD19psXgcCjpxCA/AuyFYA4fXPI3Ioa7X0OiQo=",
    ),
    (
        r#"genSignedCertWithKey "my ca" (list) (list) 200000 (genCAWithKey "my ca" 365 $k) $k"#,
        "MIIBHTCB0KADAgECAhEAgYGBgYGBgYGBgYGBgYGBgTAFBgMrZXAwEDEOMAwGA1UEAxMFbXkgY2EwHhcNMjMxMTE0MjIxMzIwWhcNODYxMTI0MjIzODQ2WjAQMQ4wDAYDVQQDEwVteSBjYTAqMAUGAytlcAMhAOpKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIsoz8wPTAOBgNVHQ8BAf8EBAMCBaAwHQYDVR0lBBYwFAYIKwYBBQUHAwEGCCsGAQUFBwMCMAwGA1UdEwEB/wQCMAAwBQYDK2VwA0EAZ9Q31OeHexeDtggueDUhVM++coFQU1r86/OXxOblMCmgw6s7IPPDD6QaMwRnN3hiG7xIGR/nwcQ8N8m1Qc5aAQ==",
    ),
];

/// What `x509.CreateCertificate` of Go 1.26 makes of sprig's template with this serial number, this time and this key.
#[test]
fn certificates_are_those_of_go() {
    for (call, helm) in GO {
        let template = format!(r#"{{{{ $k := "{KEY}" }}}}{{{{ ({call}).Cert }}}}"#);
        let ours = super::notes_of(&[("templates/NOTES.txt", &template)], "", &mut Still).unwrap();
        let body: String = ours.lines().filter(|line| !line.starts_with("-----")).collect();
        assert_eq!(body, helm, "{call}");
    }
}
