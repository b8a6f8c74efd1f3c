//! `bundles/kubernetes.lock`: the artefacts of a version with their digests,
//! and how a mirror lays them out.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The lock.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lock {
    /// The version that it is for.
    pub(crate) kubernetes: String,
    /// The sandbox image of that version.
    pub(crate) sandbox: String,
    /// What hosts need.
    pub(crate) artifacts: Vec<Artefact>,
}

/// One file that hosts need.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Artefact {
    /// `kubelet`, `containerd`, `cni-plugins`.
    pub(crate) name: String,
    /// Its own version.
    pub(crate) version: String,
    /// `amd64`, `arm64`.
    pub(crate) arch: String,
    /// Its home.
    pub(crate) url: String,
    /// The sha256 of its bytes, in hexadecimal.
    pub(crate) sha256: String,
}

/// Why there is no lock or artefact.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// It is not there.
    #[error(
        "no catalogue has `bundles/kubernetes.lock`, which names the artefacts of Kubernetes and their digests"
    )]
    None,
    /// It is not a lock.
    #[error("`bundles/kubernetes.lock` cannot be read: {0}")]
    Broken(String),
    /// It is for another version.
    #[error("`bundles/kubernetes.lock` is for Kubernetes {has}, and this cloud wants {wants}")]
    Version {
        /// The lock's.
        has: String,
        /// The cloud's.
        wants: String,
    },
    /// Artefacts cannot be had from there.
    #[error("artefacts of Kubernetes cannot be fetched from `{0}` by this version of cozy")]
    Mirror(String),
    /// An artefact is not in the mirror.
    #[error("the mirror has no {name} {version}: cannot read `{path}`")]
    Missing {
        /// Which.
        name: String,
        /// Its version.
        version: String,
        /// Where it was looked for.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An artefact is not what was locked.
    #[error("{name} {version} is not what the lock says: sha256 {found}, expected {expected} (`{path}`)")]
    Digest {
        /// Which.
        name: String,
        /// Its version.
        version: String,
        /// Where it is.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What the lock says.
        expected: String,
    },
}

impl LockError {
    /// The stable code.
    pub(crate) fn code(&self) -> u16 {
        match self {
            Self::None | Self::Broken(_) => 5030,
            Self::Version { .. } => 5031,
            Self::Mirror(_) => 5032,
            Self::Missing { .. } => 5033,
            Self::Digest { .. } => 5034,
        }
    }

    /// What to do.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::None | Self::Broken(_) => "name a catalogue that has it with --catalogue",
            Self::Version { .. } => {
                "take `kubernetes.version` out of cozy.yaml, or name a catalogue with its lock"
            }
            Self::Mirror(_) => {
                "set `artifacts.mirror: file:///DIR`, with `kubernetes/VERSION/ARCH/FILE` and `images/*.tar` in it"
            }
            Self::Missing { .. } => {
                "fill the mirror: `kubernetes/VERSION/ARCH/FILE`, FILE as upstream calls it"
            }
            Self::Digest { .. } => {
                "fetch it anew; if it is meant to differ, lock it in a catalogue of your own"
            }
        }
    }
}

impl Lock {
    /// Reads it.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, LockError> {
        let text = std::str::from_utf8(bytes).map_err(|error| LockError::Broken(error.to_string()))?;
        serde_yaml::from_str(text).map_err(|error| LockError::Broken(error.to_string()))
    }

    /// What hosts of an architecture need.
    pub(crate) fn of<'a>(&'a self, arch: &'a str) -> impl Iterator<Item = &'a Artefact> {
        self.artifacts.iter().filter(move |artefact| artefact.arch == arch)
    }
}

impl Artefact {
    /// Where it is in a mirror.
    pub(crate) fn path(&self, mirror: &Path) -> PathBuf {
        let file = self.url.rsplit('/').next().unwrap_or_default();
        mirror.join("kubernetes").join(&self.version).join(&self.arch).join(file)
    }
}
