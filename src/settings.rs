//! Flags and environment become [`Settings`] once; nothing else reads the
//! environment.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{Resettable, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Args, Command, ValueEnum};

use crate::cluster::lease::{Holder, Liveness};
use crate::model::duration::Span;
use crate::model::secret::Secret;
use crate::ui;

/// Flags that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct GlobalArgs {
    /// The cloud's file; `-` is stdin
    #[arg(short, long, global = true, value_name = "PATH", default_value = "cozy.yaml", env = "COZY_FILE")]
    file: String,
    /// A catalogue to lay over the built-in one (repeatable; the last wins)
    #[arg(long, global = true, value_name = "DIR", env = "COZY_CATALOGUE")]
    catalogue: Vec<PathBuf>,
    /// The kubeconfig, for provider `existing`; else those of KUBECONFIG, or ~/.kube/config
    #[arg(long, global = true, value_name = "PATH", env = "COZY_KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig
    #[arg(long, global = true, value_name = "NAME", env = "COZY_CONTEXT")]
    context: Option<String>,
    /// How to print
    #[arg(short, long, global = true, value_name = "FORMAT", default_value = "text", env = "COZY_OUTPUT")]
    output: Output,
    /// Never ask: what needs an answer is an error that names its flag
    #[arg(long, global = true, env = "COZY_NO_INPUT", value_parser = Switch)]
    no_input: bool,
    /// Requests in flight at most
    #[arg(long, global = true, value_name = "N", default_value_t = 64, env = "COZY_CONCURRENCY",
        value_parser = clap::value_parser!(u16).range(1..=512))]
    concurrency: u16,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", env = "COZY_COLOR")]
    color: When,
    /// Say only what is wrong
    #[arg(short, long, global = true, env = "COZY_QUIET", value_parser = Switch)]
    quiet: bool,
    /// Say more
    #[arg(short, long, global = true, env = "COZY_VERBOSE", value_parser = Switch)]
    verbose: bool,
}

/// The formats of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
    Yaml,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

/// What a run was told by flags and environment.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The cloud's file; `-` is stdin.
    pub(crate) file: String,
    /// Overlays of the catalogue, in order.
    pub(crate) catalogue: Vec<PathBuf>,
    /// The kubeconfig; `None`: those of `KUBECONFIG`, or the one in the user's home.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The usual kubeconfigs: those of `KUBECONFIG`, or the one in the user's home.
    pub(crate) usual_kubeconfigs: Vec<PathBuf>,
    /// Its context.
    pub(crate) context: Option<String>,
    /// OpenSSH's configuration, instead of the user's own.
    pub(crate) ssh_config: Option<PathBuf>,
    /// Requests in flight at most.
    pub(crate) concurrency: usize,
    /// Whether somebody can be asked.
    pub(crate) interactive: bool,
    /// Where run logs go; `None`: nowhere can be found.
    pub(crate) logs: Option<PathBuf>,
    /// cozy's own files that last; `None`: nowhere can be found.
    pub(crate) state: Option<PathBuf>,
    /// The cache; `None`: nowhere can be found.
    pub(crate) cache: Option<PathBuf>,
    /// docker's `config.json`, which may hold credentials.
    pub(crate) docker_config: Option<PathBuf>,
    /// The environment's proxies.
    pub(crate) proxy: Proxies,
    /// What the UI is told.
    pub(crate) ui: ui::Settings,
}

/// Proxies as most programs read them from the environment. URLs may hold credentials.
#[derive(Debug, Clone)]
pub(crate) struct Proxies {
    /// For `http://`.
    pub(crate) http: Option<Secret<String>>,
    /// For `https://`.
    pub(crate) https: Option<Secret<String>>,
    /// Hosts that are reached without.
    pub(crate) none: Option<String>,
}

impl Proxies {
    fn read() -> Self {
        let either = |lower: &str| variable(lower).or_else(|| variable(&lower.to_uppercase()));
        let all = either("all_proxy");
        Self {
            // Only lower case: a CGI script's `HTTP_PROXY` is set by who asks it (CVE-2016-5385).
            http: variable("http_proxy").or_else(|| all.clone()).map(Secret::new),
            https: either("https_proxy").or(all).map(Secret::new),
            none: either("no_proxy"),
        }
    }
}

/// An environment variable; `None` also where it is empty or not UTF-8.
#[expect(clippy::disallowed_methods, reason = "the only reader of the environment")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// An environment variable that names files, whose names need not be UTF-8.
#[expect(clippy::disallowed_methods, reason = "the only reader of the environment")]
fn path_variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

impl From<GlobalArgs> for Settings {
    fn from(args: GlobalArgs) -> Self {
        let GlobalArgs {
            file,
            catalogue,
            kubeconfig,
            context,
            output,
            no_input,
            concurrency,
            color,
            quiet,
            verbose,
        } = args;
        let stderr_is_terminal = std::io::stderr().is_terminal();
        let color = match color {
            When::Always => true,
            When::Never => false,
            When::Auto if variable("NO_COLOR").is_some() => false,
            When::Auto => stderr_is_terminal || variable("CLICOLOR_FORCE").is_some_and(|value| value != "0"),
        };
        let width = match console::Term::stderr().size_checked() {
            Some((_, columns)) => columns,
            None => variable("COLUMNS").and_then(|columns| columns.parse().ok()).unwrap_or(100),
        };
        let place = |variable_name: &str, below_home: &str| {
            let home = || variable("HOME").map(|home| PathBuf::from(home).join(below_home));
            variable(variable_name).map(PathBuf::from).or_else(home)
        };
        let state = place("XDG_STATE_HOME", ".local/state").map(|state| state.join("cozy"));
        Self {
            file,
            catalogue,
            kubeconfig,
            usual_kubeconfigs: usual_kubeconfigs(),
            context,
            ssh_config: variable("COZY_SSH_CONFIG").map(PathBuf::from),
            concurrency: usize::from(concurrency),
            interactive: !no_input && stderr_is_terminal && std::io::stdin().is_terminal(),
            logs: state.as_ref().map(|state| state.join("logs")),
            state,
            cache: place("XDG_CACHE_HOME", ".cache").map(|cache| cache.join("cozy")),
            docker_config: place("DOCKER_CONFIG", ".docker").map(|folder| folder.join("config.json")),
            proxy: Proxies::read(),
            ui: ui::Settings {
                color,
                width: width.max(40),
                stderr_is_terminal,
                verbosity: match (quiet, verbose) {
                    (true, _) => ui::Verbosity::Quiet,
                    (false, true) => ui::Verbosity::Verbose,
                    (false, false) => ui::Verbosity::Normal,
                },
                format: match output {
                    Output::Text => ui::Format::Text,
                    Output::Json => ui::Format::Json,
                    Output::Yaml => ui::Format::Yaml,
                },
            },
        }
    }
}

/// Where kubectl looks for a kubeconfig (<https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/>).
fn usual_kubeconfigs() -> Vec<PathBuf> {
    let named = path_variable("KUBECONFIG").unwrap_or_default();
    let named: Vec<PathBuf> =
        std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()).collect();
    if named.is_empty() {
        return path_variable("HOME")
            .map(|home| PathBuf::from(home).join(".kube/config"))
            .into_iter()
            .collect();
    }
    named
}

/// The value of a flag that is there or not, as its variable has it: the words that people use for yes and no.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Switch;

impl TypedValueParser for Switch {
    type Value = bool;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<bool, clap::Error> {
        match value.to_string_lossy().to_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            _ => {
                let variable = arg.and_then(Arg::get_env).map(OsStr::to_string_lossy).unwrap_or_default();
                let message = format!(
                    "the variable `{variable}` is `{}`, which is neither yes nor no: write `true` or `false`",
                    value.to_string_lossy()
                );
                Err(clap::Error::raw(ErrorKind::InvalidValue, message).with_cmd(command))
            }
        }
    }
}

/// The command line without variables that are empty: those mean the same as none at all. Help names variables, and does
/// not print what is in them.
#[expect(clippy::disallowed_methods, reason = "the only reader of the environment")]
pub(crate) fn without_empty(command: Command) -> Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let command = command.mut_args(|arg| match arg.get_env() {
        Some(name) if is_empty(name) => arg.env(Resettable::Reset),
        Some(_) => arg.hide_env_values(true),
        None => arg,
    });
    command.mut_subcommands(without_empty)
}

/// A duration as a flag's value; none at all is a slip.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    match text.parse::<Span>() {
        Ok(span) if span.0.is_zero() => Err("it is no time at all".to_owned()),
        Ok(span) => Ok(span.0),
        Err(error) => Err(error.to_string()),
    }
}

impl Settings {
    /// The folder that paths in the cloud's file are relative to.
    pub(crate) fn base(&self) -> &Path {
        Path::new(&self.file).parent().unwrap_or(Path::new(""))
    }

    /// The flags that say again which cloud and which cluster are meant, for a shell.
    pub(crate) fn same(&self) -> String {
        let file = (self.file != "cozy.yaml").then(|| ("file", self.file.clone()));
        let catalogues = self.catalogue.iter().map(|path| ("catalogue", path.display().to_string()));
        let kubeconfig = self.kubeconfig.iter().map(|path| ("kubeconfig", path.display().to_string()));
        let context = self.context.iter().map(|name| ("context", name.clone()));
        let flags = file.into_iter().chain(catalogues).chain(kubeconfig).chain(context);
        let said = flags.map(|(name, value)| match (name, value.as_str()) {
            // A shell gives it once more what stdin gave.
            ("file", "-") => " --file - < FILE".to_owned(),
            _ => format!(" --{name} {}", quoted(&value)),
        });
        said.collect()
    }
}

/// A word as a POSIX shell reads it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// This process as the holder of a lock.
pub(crate) fn holder(command: &str) -> Holder {
    let read = |path: &str| fs_err::read_to_string(path).unwrap_or_default().trim().to_owned();
    let pid = std::process::id();
    Holder {
        machine: read("/etc/machine-id"),
        boot: read("/proc/sys/kernel/random/boot_id"),
        pid_namespace: fs_err::read_link("/proc/self/ns/pid")
            .map(|link| link.display().to_string())
            .unwrap_or_default(),
        pid,
        started: started(pid).unwrap_or_default(),
        host: read("/proc/sys/kernel/hostname"),
        command: command.to_owned(),
    }
}

/// When a process started, in clock ticks since boot (`proc(5)`, `/proc/PID/stat`, field 22).
fn started(pid: u32) -> Option<u64> {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, the program's name in brackets, may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

/// The time since this machine's boot, with that of suspends (`proc(5)`, `/proc/uptime`).
pub(crate) fn uptime() -> Option<Duration> {
    let text = fs_err::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Asks this machine's `/proc`.
pub(crate) struct ThisMachine;

impl Liveness for ThisMachine {
    fn is_dead(&self, holder: &Holder) -> bool {
        let here = self::holder("");
        let same_boot = !holder.machine.is_empty()
            && holder.machine == here.machine
            && holder.boot == here.boot
            && holder.pid_namespace == here.pid_namespace
            && holder.host == here.host;
        same_boot && started(holder.pid) != Some(holder.started)
    }
}
