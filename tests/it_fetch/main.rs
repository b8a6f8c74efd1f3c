//! Fetching, with the binary as a user runs it, from servers that behave and
//! from servers that do not.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

mod binaries;
mod faults;
mod locks;
mod logins;
mod mirrors;
mod registry;
mod render;
mod schemas;
mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha2::{Digest as _, Sha256};

/// A cloud of one component in a catalogue of its own, with cache and state of its own.
struct Cloud {
    folder: tempfile::TempDir,
    /// More keys of cozy.yaml.
    extra: String,
    /// Its `kubernetes`, and its `hosts`.
    kubernetes: String,
    hosts: String,
    environment: Vec<(String, String)>,
}

/// What a run said.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

impl Cloud {
    /// Made from a chart `app` 1.0.0.
    fn chart(repository: &str) -> Self {
        Self::new(&format!("chart: {{ repository: '{repository}', name: app, version: 1.0.0 }}"))
    }

    fn new(source: &str) -> Self {
        let cloud = Self {
            folder: tempfile::tempdir().unwrap(),
            extra: String::new(),
            kubernetes: "provider: existing".to_owned(),
            hosts: String::new(),
            environment: Vec::new(),
        };
        cloud.write(
            "catalogue/bundles/mine.yaml",
            "apiVersion: cozy/v1\nkind: Bundle\nname: mine\nversion: 1.0.0\nsummary: x\ncomponents: { app: {} }\n",
        );
        cloud.component("app", source);
        cloud
    }

    fn component(&self, name: &str, source: &str) {
        self.write(
            &format!("catalogue/templates/{name}/component.yaml"),
            format!(
                "apiVersion: cozy/v1\nkind: Component\nname: {name}\nsummary: x\ncategory: x\nversion: 1.0.0\nsource: {{ {source} }}\n"
            ),
        );
    }

    fn kubernetes(self, text: &str) -> Self {
        Self { kubernetes: text.to_owned(), ..self }
    }

    fn hosts(self, text: &str) -> Self {
        Self { hosts: format!("hosts: [{text}]\n"), ..self }
    }

    /// Adds `artifacts:` to cozy.yaml.
    fn artifacts(mut self, text: &str) -> Self {
        self.extra = format!("artifacts: {{ {text} }}\n");
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs_err::read_to_string(self.path(name)).unwrap()
    }

    /// Locks the chart by hand.
    fn lock(&self, url: &str, sha256: &str) {
        self.write(
            "catalogue/bundles/mine.lock",
            format!(
                "apiVersion: cozy/v1\nkind: Lock\nname: mine\nartifacts:\n  - {{ kind: chart, name: app, version: 1.0.0, url: '{url}', sha256: {sha256} }}\n"
            ),
        );
    }

    /// Where the cache keeps some bytes.
    fn blob(&self, bytes: &[u8]) -> PathBuf {
        self.path("cache/cozy/blobs/sha256").join(sha256(bytes))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.write(
            "cozy.yaml",
            format!(
                "apiVersion: cozy/v1\nkind: Cloud\nname: demo\nbundle: mine\nkubernetes: {{ {} }}\n{}{}",
                self.kubernetes, self.hosts, self.extra
            ),
        );
        let mut command = Command::new(env!("CARGO_BIN_EXE_cozy"));
        command
            .args(arguments)
            .args(["-f", "cozy.yaml", "--catalogue", "catalogue"])
            .current_dir(self.folder.path())
            .env_clear()
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("DOCKER_CONFIG", self.path("docker"))
            .env("COLUMNS", "160")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }

    fn fetch(&self) -> Ran {
        self.run(&["fetch"])
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Ran {
    /// The run succeeded.
    #[track_caller]
    fn ok(&self) -> &Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// What was said, without ports, folders and times.
    fn said(&self, cloud: &Cloud) -> String {
        let text = self.stderr.replace(&cloud.folder.path().display().to_string(), "[folder]");
        let mut said = format!("exit {}\n", self.code.unwrap());
        for line in text.lines().filter(|line| !line.contains("retry ")) {
            let mut rest = line;
            while let Some((before, after)) = rest.split_once("127.0.0.1:") {
                said.push_str(before);
                said.push_str("[server]");
                rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
            }
            said.push_str(rest);
            said.push('\n');
        }
        said
    }
}

/// The index of a repository with the chart `app` 1.0.0 at a URL.
fn index(url: &str, digest: &str) -> String {
    format!(
        "apiVersion: v1\nentries:\n  app:\n  - {{ name: app, version: 1.0.0, urls: ['{url}'], digest: '{digest}' }}\n"
    )
}

/// The chart `app` 1.0.0, packed, of almost a megabyte: always the same bytes.
fn chart() -> Vec<u8> {
    named("app", "1.0.0")
}

/// A packed chart.
fn named(name: &str, version: &str) -> Vec<u8> {
    let metadata = format!("apiVersion: v2\nname: {name}\nversion: {version}\n");
    let large: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    packed(name, &[("Chart.yaml", metadata.as_bytes()), ("files/large", &large)])
}

/// An archive of files within a folder.
fn packed(folder: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none()));
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append_data(&mut header, format!("{folder}/{path}"), *content).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

/// A folder's files.
fn files(folder: &Path) -> usize {
    fs_err::read_dir(folder).map_or(0, Iterator::count)
}
