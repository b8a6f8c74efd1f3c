//! `index.yaml` of a Helm repository: which file is a chart's version. No I/O.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::model::artefact::Digest;

/// The largest index, in bytes; those of large collections have 20 MiB.
pub(crate) const LARGEST: usize = 64 * 1024 * 1024;

#[derive(Debug, Deserialize)]
struct Index {
    #[serde(default)]
    entries: BTreeMap<String, Vec<Entry>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Entry {
    #[serde(default)]
    version: String,
    #[serde(default)]
    urls: Vec<String>,
    #[serde(default)]
    digest: Option<String>,
}

/// Where a chart is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The URL, possibly relative to the repository's.
    pub(crate) url: String,
    /// What the index says of its bytes.
    pub(crate) sha256: Option<Digest>,
}

/// The versions of a chart.
pub(crate) fn versions(index: &[u8], name: &str) -> Result<Vec<String>, String> {
    let entries = read(index)?.entries.remove(name).unwrap_or_default();
    Ok(entries.into_iter().map(|entry| entry.version).collect())
}

fn read(index: &[u8]) -> Result<Index, String> {
    let text = std::str::from_utf8(index).map_err(|_| "it is not UTF-8".to_owned())?;
    // The size is bounded by the download; aliases, which could blow it up, stay bounded.
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_reader_input_bytes: None,
            max_events: LARGEST,
            max_nodes: LARGEST,
            max_total_scalar_bytes: LARGEST,
            max_total_comment_bytes: LARGEST,
        },
        legacy_octal_numbers: true,
    };
    serde_yaml::from_str_with_options(text, options)
        .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
}

/// Finds a chart. `Ok(Err(known))`: the index does not have it, only these versions.
pub(crate) fn find(index: &[u8], name: &str, version: &str) -> Result<Result<Place, Vec<String>>, String> {
    let index = read(index)?;
    let entries = index.entries.get(name).map(Vec::as_slice).unwrap_or_default();
    // Helm takes v1.2.3 for 1.2.3; the same spelling comes first.
    let plain = |version: &str| version.strip_prefix('v').unwrap_or(version).to_owned();
    let found = entries
        .iter()
        .find(|entry| entry.version == version)
        .or_else(|| entries.iter().find(|entry| plain(&entry.version) == plain(version)));
    let Some(entry) = found else {
        return Ok(Err(entries.iter().map(|entry| entry.version.clone()).collect()));
    };
    let url = entry.urls.first().ok_or_else(|| format!("{name} {version} has no URL"))?;
    Ok(Ok(Place { url: url.clone(), sha256: entry.digest.as_deref().and_then(|text| text.parse().ok()) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "apiVersion: v1\nentries:\n  a:\n  - { version: v1.2.0, urls: [a-1.2.0.tgz], digest: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 }\n  - { version: 1.1.0, urls: ['https://x/a.tgz'], digest: '' }\n  - { version: 1.0.0 }\n  b: []\n";

    #[test]
    fn charts_are_found_by_version_with_and_without_v() {
        let find = |version| find(INDEX.as_bytes(), "a", version);
        let place = find("1.2.0").unwrap().unwrap();
        assert_eq!((place.url.as_str(), place.sha256), ("a-1.2.0.tgz", Some(Digest::of(b""))));
        assert_eq!(find("v1.1.0").unwrap().unwrap().sha256, None);
        assert_eq!(find("2").unwrap().unwrap_err(), ["v1.2.0", "1.1.0", "1.0.0"]);
        assert_eq!(find("1.0.0").unwrap_err(), "a 1.0.0 has no URL");
        assert_eq!(versions(INDEX.as_bytes(), "a").unwrap(), ["v1.2.0", "1.1.0", "1.0.0"]);
    }

    #[test]
    fn what_is_no_index_is_said() {
        assert_eq!(find(INDEX.as_bytes(), "c", "1").unwrap(), Err(Vec::new()));
        assert!(find(b"<html></html>", "a", "1").is_err());
        assert!(find(b"\xff", "a", "1").is_err());
        let bomb =
            format!("a: &a [{}]\n{}", "x,".repeat(1000), "b: [*a,*a,*a,*a,*a,*a,*a,*a]\n".repeat(1000));
        assert!(find(bomb.as_bytes(), "a", "1").is_err());
    }
}
