//! `bundles/kubernetes.lock`: the releases of Kubernetes that hosts can get,
//! with everything that belongs to each, and how a mirror lays it out. No I/O.

use std::fmt;

use serde::Deserialize;

use super::artefact::{Digest, is_file_name};

/// One release of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Release {
    /// Its version, `v1.36.4`.
    pub(crate) kubernetes: String,
    /// Its sandbox image.
    pub(crate) sandbox: String,
    /// What hosts need.
    pub(crate) artifacts: Vec<Binary>,
}

/// One file that hosts need.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Binary {
    /// `kubelet`, `containerd`, `cni-plugins`.
    pub(crate) name: String,
    /// Its own version.
    pub(crate) version: String,
    /// `amd64`, `arm64`.
    pub(crate) arch: String,
    /// Its home.
    pub(crate) url: String,
    /// What its bytes are.
    pub(crate) sha256: Digest,
}

/// Why there is no release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReleaseError {
    /// It is not a lock.
    #[error("`bundles/kubernetes.lock` cannot be read: {0}")]
    Broken(String),
    /// It has no release of that version.
    #[error("Kubernetes {wants} is not in `bundles/kubernetes.lock`, which has {}", .has.join(", "))]
    Unknown {
        /// What was asked for.
        wants: String,
        /// The versions that there are.
        has: Vec<String>,
    },
}

impl ReleaseError {
    /// The stable code.
    pub(crate) fn code(&self) -> u16 {
        match self {
            Self::Broken(_) => 5030,
            Self::Unknown { .. } => 5031,
        }
    }

    /// What to do.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Broken(_) => "name a catalogue whose lock is whole with --catalogue",
            Self::Unknown { .. } => {
                "write one of them as `kubernetes.version`, leave it out for the newest, or name a catalogue that locks it with --catalogue"
            }
        }
    }
}

impl Release {
    /// Reads a lock: one document a release, the newest first.
    pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Self>, ReleaseError> {
        let text = std::str::from_utf8(bytes).map_err(|error| ReleaseError::Broken(error.to_string()))?;
        let releases: Vec<Self> = serde_yaml::from_multiple(text)
            .map_err(|error| ReleaseError::Broken(plainly(&error.to_string())))?;
        if releases.is_empty() {
            return Err(ReleaseError::Broken("it has no release".to_owned()));
        }
        // They become parts of paths, here and on hosts.
        let wrong = releases.iter().flat_map(|release| &release.artifacts).find_map(|binary| {
            let parts = [&binary.name, &binary.version, &binary.arch, binary.file()];
            parts.into_iter().find(|part| !is_file_name(part))
        });
        if let Some(part) = wrong {
            return Err(ReleaseError::Broken(format!("`{part}` cannot be part of a file's name")));
        }
        for release in &releases {
            release.check()?;
        }
        Ok(releases)
    }

    /// Whether its texts can stand in what is written on hosts.
    fn check(&self) -> Result<(), ReleaseError> {
        let version = self.kubernetes.strip_prefix('v').unwrap_or(&self.kubernetes);
        if semver::Version::parse(version).is_err() {
            return Err(ReleaseError::Broken(format!("`{}` is no version of Kubernetes", self.kubernetes)));
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | ':' | '@');
        if !self.sandbox.starts_with(|first: char| first.is_ascii_alphanumeric())
            || !self.sandbox.chars().all(fits)
        {
            return Err(ReleaseError::Broken(format!("`{}` is no image", self.sandbox)));
        }
        Ok(())
    }

    /// The release of a version, with or without `v`; of a minor version such as `1.36` the first one; the first of
    /// all when none is named.
    pub(crate) fn choose(all: Vec<Self>, wants: Option<&str>) -> Result<Self, ReleaseError> {
        let has = all.iter().map(|release| release.kubernetes.clone()).collect();
        let is = |release: &Self| {
            wants.is_none_or(|wants| {
                let (wants, has) =
                    (wants.trim_start_matches('v'), release.kubernetes.trim_start_matches('v'));
                let of_minor = wants.matches('.').count() == 1
                    && has.strip_prefix(wants).is_some_and(|patch| patch.starts_with('.'));
                wants == has || of_minor
            })
        };
        let wants = || wants.unwrap_or_default().to_owned();
        all.into_iter().find(is).ok_or_else(|| ReleaseError::Unknown { wants: wants(), has })
    }

    /// What hosts of an architecture need.
    pub(crate) fn of<'a>(&'a self, arch: &'a str) -> impl Iterator<Item = &'a Binary> {
        self.artifacts.iter().filter(move |binary| binary.arch == arch)
    }
}

/// A parser's words without the picture that follows them.
fn plainly(error: &str) -> String {
    let words = error.strip_prefix("error: ").unwrap_or(error);
    words.lines().next().unwrap_or_default().trim_end_matches([':', ' ']).to_owned()
}

impl Binary {
    /// Where it lies in a mirror: `kubernetes/VERSION/ARCH/FILE`, FILE as upstream calls it.
    pub(crate) fn path(&self) -> String {
        format!("kubernetes/{}/{}/{}", self.version, self.arch, self.file())
    }

    /// Its file's name.
    fn file(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} for {}", self.name, self.version, self.arch)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn built_in() -> Vec<Release> {
        let files = crate::catalogue::built_in();
        Release::read(&files.get("bundles/kubernetes.lock").unwrap().bytes).unwrap()
    }

    #[test]
    fn the_built_in_lock_has_four_minors_whole_and_the_newest_first() {
        let releases = built_in();
        let versions: Vec<semver::Version> = releases
            .iter()
            .map(|release| release.kubernetes.trim_start_matches('v').parse().unwrap())
            .collect();
        assert!(versions.is_sorted_by(|a, b| a > b), "{versions:?}");
        let minors: Vec<u64> = versions.iter().map(|version| version.minor).collect();
        assert!(minors.len() >= 4 && minors.windows(2).all(|pair| pair[0] == pair[1] + 1), "{minors:?}");
        let every = ["cni-plugins", "containerd", "crictl", "kubeadm", "kubectl", "kubelet", "runc"];
        let mut digests = BTreeSet::new();
        for release in &releases {
            for arch in ["amd64", "arm64"] {
                let names: BTreeSet<&str> = release.of(arch).map(|binary| binary.name.as_str()).collect();
                assert_eq!(names, BTreeSet::from(every), "{} {arch}", release.kubernetes);
            }
            for binary in &release.artifacts {
                assert!(binary.url.starts_with("https://") && binary.url.contains(&binary.arch), "{binary}");
                assert!(binary.url.contains(binary.version.trim_start_matches('v')), "{binary}");
                let own = binary.name.starts_with("kube");
                assert!(!own || binary.version == release.kubernetes, "{binary}");
                digests.insert((binary.to_string(), binary.sha256));
            }
        }
        // One digest for each file, and no file with another one's.
        let unlike: BTreeSet<Digest> = digests.iter().map(|(_, digest)| *digest).collect();
        let names: BTreeSet<&String> = digests.iter().map(|(name, _)| name).collect();
        assert_eq!((unlike.len(), names.len()), (digests.len(), digests.len()));
    }

    #[test]
    fn a_version_picks_its_release_and_an_unknown_one_shows_all() {
        let versions: Vec<String> = built_in().into_iter().map(|release| release.kubernetes).collect();
        let pick = |wants| Release::choose(built_in(), wants).map(|release| release.kubernetes);
        assert_eq!(pick(None).as_ref(), Ok(&versions[0]));
        assert_eq!(pick(Some(&versions[2])).as_ref(), Ok(&versions[2]));
        assert_eq!(pick(Some(versions[3].trim_start_matches('v'))).as_ref(), Ok(&versions[3]));
        let minor = versions[1].rsplit_once('.').unwrap().0;
        assert_eq!(pick(Some(minor)).as_ref(), Ok(&versions[1]));
        assert!(pick(Some("1.3")).is_err());
        let error = pick(Some("v1.20.0")).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "Kubernetes v1.20.0 is not in `bundles/kubernetes.lock`, which has {}",
                versions.join(", ")
            )
        );
    }

    #[test]
    fn locks_that_would_leave_their_folder_or_are_broken_are_refused() {
        let lock = |name: &str, sha: &str| {
            let text = format!(
                "kubernetes: v1.36.4\nsandbox: pause\nartifacts: [{{ name: {name}, version: v1, arch: amd64, url: 'https://x/y', sha256: {sha} }}]\n"
            );
            Release::read(text.as_bytes()).map(drop)
        };
        let sha = Digest::of(b"").to_string();
        assert_eq!(lock("kubelet", &sha), Ok(()));
        assert!(lock("../kubelet", &sha).unwrap_err().to_string().contains("part of a file's name"));
        let whole = |kubernetes: &str, sandbox: &str, url: &str| {
            let text = format!(
                "kubernetes: '{kubernetes}'\nsandbox: '{sandbox}'\nartifacts: [{{ name: runc, version: v1, arch: amd64, url: '{url}', sha256: {sha} }}]\n"
            );
            Release::read(text.as_bytes()).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(whole("v1.36.4", "r.example:5000/pause@sha256:ab", "https://x/y-1.tgz"), Ok(()));
        for (kubernetes, sandbox, url, said) in [
            ("v1.36.4", "pause", "https://x/..", "`..` cannot be part of a file's name"),
            ("v1.36.4", "pause", "https://x/y?sig=a", "`y?sig=a` cannot be part of a file's name"),
            ("v1.36.4", "pause", "https://x/", "`` cannot be part of a file's name"),
            ("../x", "pause", "https://x/y", "`../x` is no version of Kubernetes"),
            ("v1.36.4", "", "https://x/y", "`` is no image"),
            ("v1.36.4", "pause\"", "https://x/y", "`pause\"` is no image"),
        ] {
            assert!(whole(kubernetes, sandbox, url).unwrap_err().ends_with(said), "{said}");
        }
        assert!(matches!(lock("kubelet", "abc"), Err(ReleaseError::Broken(_))));
        assert!(matches!(Release::read(b""), Err(ReleaseError::Broken(_))));
        assert!(matches!(Release::read(&[0xff]), Err(ReleaseError::Broken(_))));
    }
}
