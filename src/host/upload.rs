//! Files onto hosts: verified by sha256 there, mode and owner set, then moved
//! into place in one step.

use std::path::Path;
use std::time::Duration;

use super::error::{HostError, Trouble};
use super::quote;
use super::session::{Feed, Session};
use crate::model::artefact::Digest;

/// How long one upload may take at least.
const PATIENCE: Duration = Duration::from_secs(600);

/// How many bytes a second arrive on the slowest lines: whatever is slower is taken for dead.
const SLOWEST: u64 = 100_000;

/// The exit status of the script for bytes that are not those that were sent.
const DAMAGED: i32 = 91;

/// A file for a host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Upload<'a> {
    /// Where it goes; absolute.
    pub(crate) path: &'a str,
    /// What is in it.
    pub(crate) content: Content<'a>,
    /// Its permissions.
    pub(crate) mode: u32,
}

/// What a file for a host consists of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Content<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// A file here, sent piece by piece, with the sha256 that must arrive.
    File(&'a Path, Digest),
}

impl Session {
    /// Puts a file in place, owned by root. Its folder is made where it is missing.
    pub(crate) async fn upload(&self, file: Upload<'_>) -> Result<(), HostError> {
        let Upload { path, content, mode } = file;
        let what = format!("writing {path}");
        let (feed, digest, size) = match content {
            Content::Bytes(bytes) => (Feed::Bytes(bytes), Digest::of(bytes), 0),
            Content::File(file, digest) => {
                let opened = async {
                    let opened = tokio::fs::File::open(file).await?;
                    let size = opened.metadata().await?.len();
                    Ok::<_, std::io::Error>((opened, size))
                };
                let unsent = |error| Trouble::Unsent(format!("cannot read `{}`: {error}", file.display()));
                let (opened, size) = opened.await.map_err(|error| self.error(unsent(error)))?;
                (Feed::File(opened), digest, size)
            }
        };
        let script = script(path, &digest.to_string(), mode);
        let output = self.run(&what, &script, feed, patience(size)).await?;
        match output.status {
            0 => Ok(()),
            DAMAGED => Err(self.error(Trouble::Damaged { path: path.to_owned() })),
            _ => Err(self.failed(&what, &output)),
        }
    }
}

/// How long the upload of so many bytes may take.
fn patience(size: u64) -> Duration {
    PATIENCE.max(Duration::from_secs(size / SLOWEST))
}

fn script(path: &str, digest: &str, mode: u32) -> String {
    let path = quote(path);
    format!(
        "set -eu
umask 077
path={path}
folder=$(dirname \"$path\")
[ -d \"$folder\" ] || (umask 022; mkdir -p \"$folder\")
new=$(mktemp -p \"$folder\" .cozy-XXXXXX)
trap 'rm -f \"$new\"' EXIT
trap 'exit 143' TERM
cat >\"$new\"
got=$(sha256sum <\"$new\")
[ \"${{got%% *}}\" = {digest} ] || exit {DAMAGED}
chown 0:0 \"$new\"
chmod {mode:o} \"$new\"
sync \"$new\"
mv -fT \"$new\" \"$path\"
trap - EXIT TERM"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Ssh, Target, Way};

    #[test]
    fn large_files_have_time_on_slow_lines() {
        assert_eq!(patience(0), Duration::from_secs(600));
        assert_eq!(patience(1_000_000_000), Duration::from_secs(10_000));
    }

    #[tokio::test]
    async fn files_arrive_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let ssh = Ssh { accept_new: false, config: None, patience: Duration::from_secs(5) };
        let target = Target { name: "here".to_owned(), way: Way::Local };
        let Ok(session) = Session::open(target, &ssh).await else { return };
        let path = folder.path().join("new folder/it's");
        let path = path.to_str().unwrap();
        let large = vec![7_u8; 1 << 20];
        session.upload(Upload { path, content: Content::Bytes(&large), mode: 0o640 }).await.unwrap();
        assert_eq!(fs_err::read(path).unwrap(), large);
        let damaged = script(path, &Digest::of(b"other").to_string(), 0o600);
        let output = session.run("writing", &damaged, b"bytes", PATIENCE).await.unwrap();
        assert_eq!(output.status, DAMAGED);
        assert_eq!(fs_err::read(path).unwrap(), large, "the old file stays");
        let file = folder.path().join("local");
        fs_err::write(&file, &large[..300_000]).unwrap();
        let digest = Digest::of(&large[..300_000]);
        let content = Content::File(&file, digest);
        session.upload(Upload { path, content, mode: 0o640 }).await.unwrap();
        assert_eq!(fs_err::read(path).unwrap(), large[..300_000]);
        // A file that changed since it was verified does not take its place.
        fs_err::write(&file, "other").unwrap();
        let error = session.upload(Upload { path, content, mode: 0o640 }).await.unwrap_err();
        assert!(matches!(error.trouble, Trouble::Damaged { .. }), "{error}");
        assert_eq!(fs_err::read(path).unwrap(), large[..300_000]);
        let left = fs_err::read_dir(folder.path().join("new folder")).unwrap().count();
        assert_eq!(left, 1, "no temporary file stays");
        let error = session
            .upload(Upload { path: "/proc/x", content: Content::Bytes(b""), mode: 0o600 })
            .await
            .unwrap_err();
        assert!(error.to_string().starts_with("host `here`: writing /proc/x failed"), "{error}");
    }
}
