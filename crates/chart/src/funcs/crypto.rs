//! Random values, hashes of passwords, keys and certificates. All that is
//! generated is asked of the environment first, which may have kept it.

mod certificates;
mod keys;
mod x509;

pub use certificates::validity;

use aes::Aes256;
use cbc::cipher::block_padding::{NoPadding, Pkcs7};
use cbc::cipher::{BlockDecryptMut as _, BlockEncryptMut as _, KeyIvInit as _};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::Type::{Certificate, Int, List, Text, Uint32};
use super::{Answer, Function, arg, bytes, encoding, fixed, int, printed, text, walking};
use crate::environment::Environment;
use crate::exec::{Engine, Stop};
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    fixed("randAlphaNum", &[Int], |engine, a| {
        random_text(engine, "randAlphaNum", a, |c| c.is_ascii_alphanumeric())
    }),
    fixed("randAlpha", &[Int], |engine, a| random_text(engine, "randAlpha", a, |c| c.is_ascii_alphabetic())),
    fixed("randNumeric", &[Int], |engine, a| random_text(engine, "randNumeric", a, |c| c.is_ascii_digit())),
    fixed("randAscii", &[Int], |engine, a| random_text(engine, "randAscii", a, |c| (b' '..127).contains(&c))),
    fixed("randInt", &[Int, Int], |engine, a| {
        let (least, past) = (int(a, 0), int(a, 1));
        let span = past.checked_sub(least).and_then(|span| u64::try_from(span).ok()).filter(|span| *span > 0);
        let span = span.ok_or("invalid argument to Intn")?;
        let drawn = engine.generated("randInt", printed(a), 0, |environment| {
            Ok(below(environment, span)?.to_string().into_bytes())
        })?;
        let drawn = String::from_utf8_lossy(&drawn).parse::<i64>().unwrap_or(0);
        Ok(Value::Int(least.wrapping_add(drawn)))
    }),
    fixed("randBytes", &[Int], |engine, a| {
        let count = usize::try_from(int(a, 0)).map_err(|_| "makeslice: len out of range")?;
        engine.spend(count)?;
        let drawn = engine.generated("randBytes", printed(a), 0, |environment| {
            let mut buffer = vec![0; count];
            environment.random(&mut buffer)?;
            Ok(buffer)
        })?;
        Ok(Value::text(encoding::base64(&drawn)))
    }),
    fixed("uuidv4", &[], |engine, a| {
        let drawn = engine.generated("uuidv4", printed(a), 0, |environment| {
            let mut buffer = [0; 16];
            environment.random(&mut buffer)?;
            buffer[6] = buffer[6] & 0x0f | 0x40;
            buffer[8] = buffer[8] & 0x3f | 0x80;
            Ok(buffer.to_vec())
        })?;
        let hex = data_encoding::HEXLOWER.encode(&drawn);
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| hex.get(range).unwrap_or_default());
        Ok(Value::text(parts.join("-")))
    }),
    fixed("shuffle", &[Text], |engine, a| {
        let whole = text(a, 0).into_owned();
        let shuffled = engine.generated("shuffle", printed(a), 0, |environment| {
            let mut all: Vec<char> = whole.chars().collect();
            for at in (1..all.len()).rev() {
                let other = usize::try_from(below(environment, at as u64 + 1)?).unwrap_or(0);
                all.swap(at, other);
            }
            Ok(all.into_iter().collect::<String>().into_bytes())
        })?;
        Ok(Value::from_bytes(shuffled))
    })
    .slow(160),
    fixed("bcrypt", &[Text], |engine, a| bcrypt_of(engine, bytes(a, 0))),
    fixed("htpasswd", &[Text, Text], |engine, a| {
        let user = text(a, 0);
        if user.contains(':') {
            return Ok(Value::text(format!("invalid username: {user}")));
        }
        let hash = bcrypt_of(engine, bytes(a, 1))?;
        Ok(Value::text(format!("{user}:{}", hash.string_text().unwrap_or_default())))
    }),
    fixed("derivePassword", &[Uint32, Text, Text, Text, Text], |engine, a| {
        let counter = match arg(a, 0) {
            Value::Uint(number, _) => u32::try_from(*number).map_err(|_| "the counter overflows uint32")?,
            _ => 0,
        };
        engine.work(SCRYPT, |_| derived(counter, &text(a, 1), bytes(a, 2), bytes(a, 3), bytes(a, 4)))?
    }),
    fixed("encryptAES", &[Text, Text], |engine, a| {
        if bytes(a, 1).is_empty() {
            return Ok(Value::text(""));
        }
        let iv = engine.generated("encryptAES", printed(a), 0, |environment| {
            let mut iv = vec![0; 16];
            environment.random(&mut iv)?;
            Ok(iv)
        })?;
        let cipher = cbc::Encryptor::<Aes256>::new_from_slices(&aes_key(bytes(a, 0)), &iv);
        let cipher = cipher.map_err(|error| error.to_string())?;
        let sealed = cipher.encrypt_padded_vec_mut::<Pkcs7>(bytes(a, 1));
        Ok(Value::text(encoding::base64(&[iv, sealed].concat())))
    })
    .slow(8),
    fixed("decryptAES", &[Text, Text], |_, a| decrypted(bytes(a, 0), bytes(a, 1))).slow(8),
    fixed("genPrivateKey", &[Text], |engine, a| {
        let kind = text(a, 0).into_owned();
        let cost = if matches!(kind.as_str(), "" | "rsa") { LARGE_KEY } else { 1 };
        let key = engine.generated("genPrivateKey", printed(a), cost, |environment| {
            keys::generate(&kind, environment).map(String::into_bytes)
        })?;
        Ok(Value::from_bytes(key))
    }),
    fixed("buildCustomCert", &[Text, Text], |_, a| certificates::custom(bytes(a, 0), bytes(a, 1))),
    fixed("genCA", &[Text, Int], |engine, a| certificates::authority(engine, "genCA", a, None)),
    fixed("genCAWithKey", &[Text, Int, Text], |engine, a| {
        certificates::authority(engine, "genCAWithKey", a, Some(&text(a, 2)))
    }),
    walking("genSelfSignedCert", &[Text, List, List, Int], |engine, a| {
        certificates::leaf(engine, "genSelfSignedCert", a, None, None)
    }),
    walking("genSelfSignedCertWithKey", &[Text, List, List, Int, Text], |engine, a| {
        certificates::leaf(engine, "genSelfSignedCertWithKey", a, None, Some(&text(a, 4)))
    }),
    walking("genSignedCert", &[Text, List, List, Int, Certificate], |engine, a| {
        certificates::leaf(engine, "genSignedCert", a, Some(arg(a, 4)), None)
    }),
    walking("genSignedCertWithKey", &[Text, List, List, Int, Certificate, Text], |engine, a| {
        certificates::leaf(engine, "genSignedCertWithKey", a, Some(arg(a, 4)), Some(&text(a, 5)))
    }),
];

/// How many milliseconds keys and hashes take, about: an RSA key of 2,048 bits,
/// one of 4,096, `bcrypt`, `derivePassword`.
const KEY: u64 = 50;
const LARGE_KEY: u64 = 400;
const BCRYPT: u64 = 60;
const SCRYPT: u64 = 120;

/// A number below a limit, each as likely as the other.
fn below(environment: &mut dyn Environment, limit: u64) -> Result<u64, String> {
    let fair = u64::MAX - u64::MAX % limit;
    loop {
        let mut buffer = [0; 8];
        environment.random(&mut buffer)?;
        let drawn = u64::from_le_bytes(buffer);
        if drawn < fair {
            return Ok(drawn % limit);
        }
    }
}

fn random_text(engine: &mut Engine<'_>, function: &'static str, a: &[Value], fits: fn(u8) -> bool) -> Answer {
    // Go drops the error of a negative count, and the text with it.
    let count = usize::try_from(int(a, 0)).unwrap_or(0);
    // Random text is slow to make: it counts for more than its bytes.
    engine.spend(count.saturating_mul(8))?;
    let drawn = engine.generated(function, printed(a), 0, |environment| {
        let mut out = Vec::with_capacity(count);
        let mut buffer = vec![0_u8; count.saturating_mul(3).clamp(64, 1 << 16)];
        while out.len() < count {
            environment.random(&mut buffer)?;
            // Seven bits of each byte: every character is as likely as the other.
            out.extend(
                buffer.iter().map(|byte| byte & 0x7f).filter(|byte| fits(*byte)).take(count - out.len()),
            );
        }
        Ok(out)
    })?;
    Ok(Value::from_bytes(drawn))
}

/// The cost of Go's `bcrypt.DefaultCost`.
const COST: u32 = 10;

fn bcrypt_of(engine: &mut Engine<'_>, password: &[u8]) -> Answer {
    if password.len() > 72 {
        let problem = "failed to encrypt string with bcrypt: bcrypt: password length exceeds 72 bytes";
        return Ok(Value::text(problem));
    }
    let shown = String::from_utf8_lossy(password).into_owned();
    let hash = engine.generated("bcrypt", shown, BCRYPT, |environment| {
        let mut salt = [0; 16];
        environment.random(&mut salt)?;
        let parts = bcrypt::hash_with_salt(password, COST, salt).map_err(|error| error.to_string())?;
        Ok(parts.format_for_version(bcrypt::Version::TwoA).into_bytes())
    })?;
    Ok(Value::from_bytes(hash))
}

fn aes_key(password: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    for (slot, byte) in key.iter_mut().zip(password) {
        *slot = *byte;
    }
    key
}

fn decrypted(password: &[u8], sealed: &[u8]) -> Answer {
    if sealed.is_empty() {
        return Ok(Value::text(""));
    }
    let sealed =
        encoding::from_base64(sealed).map_err(|at| format!("illegal base64 data at input byte {at}"))?;
    let Some((iv, content)) = sealed.split_at_checked(16) else {
        return Err("crypto/cipher: input not full blocks".into());
    };
    let cipher = cbc::Decryptor::<Aes256>::new_from_slices(&aes_key(password), iv)
        .map_err(|error| error.to_string())?;
    let open = cipher
        .decrypt_padded_vec_mut::<NoPadding>(content)
        .map_err(|_| Stop::from("crypto/cipher: input not full blocks"))?;
    let padding = open.last().copied().map_or(1, usize::from);
    let kept = open
        .len()
        .checked_sub(padding)
        .and_then(|kept| open.get(..kept))
        .ok_or("slice bounds out of range")?;
    Ok(Value::from_bytes(kept))
}

/// The Master Password algorithm.
fn derived(counter: u32, kind: &str, password: &[u8], user: &[u8], site: &[u8]) -> Answer {
    const SEED: &[u8] = b"com.lyndir.masterpassword";
    let templates: &[&str] = match kind {
        "maximum" => &["anoxxxxxxxxxxxxxxxxx", "axxxxxxxxxxxxxxxxxno"],
        "long" => &[
            "CvcvnoCvcvCvcv",
            "CvcvCvcvnoCvcv",
            "CvcvCvcvCvcvno",
            "CvccnoCvcvCvcv",
            "CvccCvcvnoCvcv",
            "CvccCvcvCvcvno",
            "CvcvnoCvccCvcv",
            "CvcvCvccnoCvcv",
            "CvcvCvccCvcvno",
            "CvcvnoCvcvCvcc",
            "CvcvCvcvnoCvcc",
            "CvcvCvcvCvccno",
            "CvccnoCvccCvcv",
            "CvccCvccnoCvcv",
            "CvccCvccCvcvno",
            "CvcvnoCvccCvcc",
            "CvcvCvccnoCvcc",
            "CvcvCvccCvccno",
            "CvccnoCvcvCvcc",
            "CvccCvcvnoCvcc",
            "CvccCvcvCvccno",
        ],
        "medium" => &["CvcnoCvc", "CvcCvcno"],
        "short" => &["Cvcn"],
        "basic" => &["aaanaaan", "aannaaan", "aaannaaa"],
        "pin" => &["nnnn"],
        unknown => return Ok(Value::text(format!("cannot find password template {unknown}"))),
    };
    let length = |text: &[u8]| u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes();
    let salt = [SEED, &length(user), user].concat();
    let mut key = [0; 64];
    let params = scrypt::Params::new(15, 8, 2, 64).map_err(|error| error.to_string())?;
    scrypt::scrypt(password, &salt, &params, &mut key).map_err(|error| error.to_string())?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|error| error.to_string())?;
    mac.update(&[SEED, &length(site), site, &counter.to_be_bytes()].concat());
    let seed = mac.finalize().into_bytes();
    let pick =
        |index: usize, among: usize| seed.get(index).map_or(0, |byte| usize::from(*byte)) % among.max(1);
    let template = templates.get(pick(0, templates.len())).copied().unwrap_or_default();
    let chosen = template.bytes().enumerate().map(|(index, class)| {
        let characters: &[u8] = match class {
            b'V' => b"AEIOU",
            b'C' => b"BCDFGHJKLMNPQRSTVWXYZ",
            b'v' => b"aeiou",
            b'c' => b"bcdfghjklmnpqrstvwxyz",
            b'a' => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz",
            b'n' => b"0123456789",
            b'o' => b"@&%?,=[]_:-+*$#!'^~;()/.",
            _ => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz0123456789!@#$%^&*()",
        };
        char::from(characters.get(pick(index + 1, characters.len())).copied().unwrap_or_default())
    });
    Ok(Value::text(chosen.collect::<String>()))
}
