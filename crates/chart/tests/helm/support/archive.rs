//! Archives that lie: bent tar headers, links, absolute paths, bombs.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::random::Seed;

/// Compresses a tar file.
pub(crate) fn packed(tar: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(tar).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}

/// A tar entry with a correct checksum, whatever its fields say.
pub(crate) fn entry(path: &str, kind: u8, size: u64, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0_u8; 512];
    let mut field = |at: usize, bytes: &[u8]| {
        for (offset, byte) in bytes.iter().enumerate() {
            header[at + offset] = *byte;
        }
    };
    field(0, path.as_bytes().get(..path.len().min(100)).expect("a short prefix"));
    field(100, b"0000644\0");
    field(124, format!("{size:011o}\0").as_bytes());
    field(136, b"00000000000\0");
    field(156, &[kind]);
    field(157, b"../../outside");
    field(257, b"ustar\x0000");
    field(148, b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    for (offset, byte) in format!("{sum:06o}\0 ").bytes().enumerate() {
        header[148 + offset] = byte;
    }
    header.extend_from_slice(content);
    header.resize(header.len().next_multiple_of(512), 0);
    header
}

/// An archive made from a good one and a seed.
pub(crate) fn hostile(
    seed: &mut Seed,
    good: &[u8],
    mutated: impl Fn(&mut Seed, &[u8]) -> Vec<u8>,
) -> Vec<u8> {
    let mut tar = Vec::new();
    GzDecoder::new(good).read_to_end(&mut tar).expect("the archive is good");
    match seed.below(5) {
        0 => mutated(seed, good),
        1 => packed(&mutated(seed, &tar)),
        2 => {
            let at = seed.below(tar.len());
            packed(&tar[..at])
        }
        3 => {
            let path = *seed.pick(&[
                "/etc/passwd",
                "../up",
                "inner/../../up",
                "inner/a/../b",
                "C:/windows",
                "inner\\..\\x",
                "",
                "inner",
                "inner/",
                "./inner/x",
                "inner//double",
                "inner/\u{1}",
                "charts/x.tgz",
                "inner/charts/y.tgz",
                "inner/charts/z/Chart.yaml",
            ]);
            let kind = *seed.pick(b"0123456xgLKV7S");
            let size = *seed.pick(&[0, 5, 511, 512, 1 << 20, (1 << 33) - 1]);
            let mut bytes = entry(path, kind, size, b"hello");
            bytes.extend_from_slice(&tar);
            packed(&bytes)
        }
        // a bomb: much more than any chart may hold, tiny when packed
        _ => {
            let size = 1_usize << (20 + seed.below(8));
            let mut bytes = entry("inner/bomb", b'0', size as u64, &vec![b'0'; size]);
            bytes.extend_from_slice(&tar);
            packed(&bytes)
        }
    }
}
