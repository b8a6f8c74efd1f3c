//! Fresh servers for a test: systemd-nspawn hosts of `tests/bed/hosts`, gone
//! when the value is dropped or the test process ends.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

/// Hosts h1 … at 10.98.0.21 …, in a network of their own.
pub(crate) struct Bed {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    folder: tempfile::TempDir,
    namespace: String,
}

impl Bed {
    /// Boots `count` hosts.
    pub(crate) fn boot(count: usize) -> Self {
        let folder = tempfile::Builder::new().prefix("cozy-bed-").tempdir().unwrap();
        let mut child = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bed/hosts"))
            .arg(folder.path())
            .arg(count.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        let namespace = line.trim().strip_prefix("ready ").expect("tests/bed/node/build was run").to_owned();
        Self { child, commands, answers, folder, namespace }
    }

    /// `off N` or `on N`: pulls the plug of a host, or boots it again.
    pub(crate) fn power(&mut self, command: &str) {
        let pipe = self.commands.as_mut().unwrap();
        writeln!(pipe, "{command}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "done", "{command}");
    }

    /// A path in the bed's own folder.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// A program in the hosts' network.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.namespace))
            .arg(program)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.folder.path())
            .env("COLUMNS", "100")
            .env("COZY_SSH_CONFIG", self.path("ssh_config"));
        command
    }

    /// A program in the network of one host, which must run.
    pub(crate) fn within(&self, host: usize, program: &str) -> Command {
        let cgroup = format!("/sys/fs/cgroup/pids/{}-h{host}", self.namespace);
        let procs =
            Command::new("find").args([&cgroup, "-name", "cgroup.procs", "-exec", "cat", "{}", "+"]).output();
        let network = |pid: &str| fs_err::read_link(format!("/proc/{pid}/ns/net")).ok();
        let outside = network("self");
        let bed = fs_err::metadata(format!("/run/netns/{}", self.namespace)).unwrap();
        let bed = std::path::PathBuf::from(format!("net:[{}]", std::os::unix::fs::MetadataExt::ino(&bed)));
        let procs = String::from_utf8(procs.unwrap().stdout).unwrap();
        let pid = procs
            .split_whitespace()
            .find(|pid| network(pid).is_some_and(|net| Some(&net) != outside.as_ref() && net != bed))
            .unwrap_or_else(|| panic!("h{host} does not run"));
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{pid}/ns/net")).arg(program);
        command
    }

    /// Pulls a host's network cable, or puts it back.
    pub(crate) fn cable(&self, host: usize, state: &str) {
        let link = format!("vb-{}-h{host}", self.namespace);
        let status =
            Command::new("ip").args(["-n", &self.namespace, "link", "set", &link, state]).status().unwrap();
        assert!(status.success());
    }

    /// The binary in the hosts' network.
    pub(crate) fn cozy(&self, arguments: &[&str]) -> Output {
        self.command(env!("CARGO_BIN_EXE_cozy")).args(arguments).output().unwrap()
    }

    /// The binary without debug information, as it goes to hosts.
    pub(crate) fn program(&self) -> String {
        let path = self.path("cozy");
        if !std::path::Path::new(&path).exists() {
            let status = Command::new("objcopy")
                .args(["--strip-debug", env!("CARGO_BIN_EXE_cozy"), &path])
                .status()
                .unwrap();
            assert!(status.success());
        }
        path
    }

    /// Runs a script on a host as root, which must succeed.
    pub(crate) fn on(&self, host: usize, script: &str) -> String {
        let output = self
            .command("ssh")
            .args([
                "-F",
                &self.path("ssh_config"),
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
            ])
            .args(["-o", "LogLevel=ERROR", &format!("root@10.98.0.2{host}"), script])
            .output()
            .unwrap();
        assert!(output.status.success(), "h{host}: {script}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.child.wait();
    }
}
