//! `cozy preflight`: what this cloud needs of its hosts, and what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;

use futures::future;
use serde_json::json;
use tokio::net::TcpStream;

use super::artefacts;
use super::flow::{self, Loaded};
use super::signals;
use crate::error::{Exit, Problem};
use crate::host::facts::Questions;
use crate::host::{Facts, HostError, Session, Ssh, Target, Trouble};
use crate::model::cloud::{Cloud, Provider, Role};
use crate::model::finding::Level;
use crate::preflight::{self, CHECKS, Finding, Seen, Wanted};
use crate::provider::kubeadm::{self, authority};
use crate::settings::{Settings, Switch};
use crate::ui::{Format, Ui, preflight as draw};

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long an API server may take to answer a connection, or to refuse it.
const DIAL: Duration = Duration::from_secs(3);

/// How long a fix may take: packages may have to be fetched.
const FIXING: Duration = Duration::from_secs(600);

/// Flags of `cozy preflight`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Apply the fixes that can do no harm, after showing them
    #[arg(long)]
    fix: bool,
    /// Do not ask
    #[arg(long, env = "COZY_YES", value_parser = Switch)]
    yes: bool,
    #[command(flatten)]
    hosts: HostArgs,
}

/// Flags of commands that look at hosts.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct HostArgs {
    /// Leave out a check, by its name (repeatable)
    #[arg(long, value_name = "NAME", env = "COZY_SKIP_CHECK", value_delimiter = ',')]
    skip_check: Vec<String>,
    /// Take the SSH keys of hosts that are not known yet, and store them
    #[arg(long, env = "COZY_ACCEPT_NEW_HOST_KEYS", value_parser = Switch)]
    accept_new_host_keys: bool,
}

/// Flags of commands that plan what is done on hosts.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct WorkArgs {
    /// Take hosts with `state: removed` out of the cluster, and clean them
    #[arg(long, env = "COZY_REMOVE_HOSTS", value_parser = Switch)]
    pub(super) remove_hosts: bool,
    #[command(flatten)]
    pub(super) look: HostArgs,
}

/// What was found on all hosts.
#[derive(Default)]
pub(super) struct Found {
    /// The hosts that answered, in the order of `cozy.yaml`.
    pub(super) seen: Vec<Seen>,
    /// What is not as it must be.
    pub(super) findings: Vec<Finding>,
    /// Hosts that cannot be worked on, whatever was left out.
    pub(super) silent: Vec<Finding>,
    /// How many were left out because of `--skip-check`.
    pub(super) skipped: usize,
}

impl Found {
    /// Whether nothing stands in the way.
    pub(super) fn passes(&self) -> bool {
        passes(&self.findings)
    }
}

/// Runs the command.
pub(super) fn run(args: &Args, settings: &Settings, ui: &Ui) -> anyhow::Result<Exit> {
    let mut loaded = flow::load(settings)?;
    flow::warn(&loaded, ui);
    if loaded.file.cloud.kubernetes.provider == Provider::Existing {
        return existing(args, &mut loaded, settings, ui);
    }
    let work = async {
        let (mut found, sessions) = look(&args.hosts, &loaded, settings).await?;
        if args.fix && mend(&found, &sessions, args.yes, settings, ui).await? {
            (found, _) = look(&args.hosts, &loaded, settings).await?;
        }
        print(&found, &loaded, ui)?;
        Ok(if found.passes() { Exit::Done } else { Exit::Preflight })
    };
    flow::runtime()?.block_on(signals::or_stop(work)).unwrap_or_else(Ok)
}

/// Looks at a cluster that others made. There is nothing that cozy would mend there.
fn existing(args: &Args, loaded: &mut Loaded, settings: &Settings, ui: &Ui) -> anyhow::Result<Exit> {
    let skip = skipped(&args.hosts)?;
    if args.fix {
        ui.note("note    --fix mends hosts only: nothing is changed in a cluster that others made");
    }
    super::secrets::read(loaded, settings)?;
    if let Err(signal) = artefacts::attach(loaded, settings, Some(ui))? {
        return Ok(artefacts::interrupted(signal, "cozy preflight", ui));
    }
    let looked = flow::runtime()?.block_on(signals::or_stop(super::existing::look(loaded, settings, ui)));
    let mut findings = match looked {
        Ok(found) => found?,
        Err(exit) => return Ok(exit),
    };
    let skipped = leave_out(&mut findings, &skip);
    let found = Found { findings, skipped, ..Found::default() };
    print(&found, loaded, ui)?;
    Ok(if found.passes() { Exit::Done } else { Exit::Preflight })
}

/// Leaves out what `--skip-check` names, and answers how much that is.
pub(super) fn leave_out(findings: &mut Vec<Finding>, skip: &BTreeSet<&str>) -> usize {
    let all = findings.len();
    findings.retain(|found| !skip.contains(found.check));
    all - findings.len()
}

/// Whether nothing stands in the way.
pub(super) fn passes(findings: &[Finding]) -> bool {
    findings.iter().all(|found| found.level != Level::Error)
}

fn print(found: &Found, loaded: &Loaded, ui: &Ui) -> anyhow::Result<()> {
    let cloud = loaded.file.cloud.name.as_str();
    match ui.format() {
        Format::Text => {
            let hosts = loaded.file.cloud.present_hosts().count();
            ui.data(&draw::text(cloud, hosts, &found.findings, found.skipped, ui.width()))?;
        }
        Format::Json | Format::Yaml => {
            let hosts: Vec<_> = found
                .seen
                .iter()
                .map(|seen| json!({ "name": seen.name, "role": seen.role, "facts": seen.facts }))
                .collect();
            ui.document(&json!({ "schema": "cozy/v1/preflight", "cloud": cloud, "passes": found.passes(),
                "skipped": found.skipped, "findings": found.findings, "hosts": hosts }))?;
        }
    }
    Ok(())
}

/// Connects to all hosts at once, asks them, and checks what they say; with the sessions to those that answered, in
/// the order of [`Found::seen`].
async fn look(
    args: &HostArgs,
    loaded: &Loaded,
    settings: &Settings,
) -> anyhow::Result<(Found, Vec<Session>)> {
    let opened = open(args, &loaded.file.cloud, settings).await;
    let asked = ask(&opened, loaded, false).await;
    let answered: Vec<bool> = asked.iter().map(Result::is_ok).collect();
    let found = found(&opened, asked, args, loaded).await?;
    let sessions = opened.sessions.into_iter().zip(answered).filter(|(_, answered)| *answered);
    Ok((found, sessions.map(|((_, session), _)| session).collect()))
}

/// The hosts that could be connected to, by their place in `cozy.yaml`, and those that could not.
pub(super) struct Opened {
    pub(super) sessions: Vec<(usize, Session)>,
    refused: Vec<HostError>,
}

/// Connects to all hosts at once.
pub(super) async fn open(args: &HostArgs, cloud: &Cloud, settings: &Settings) -> Opened {
    let ssh = &ssh(args, settings);
    let all = cloud
        .present_hosts()
        .map(|(index, host)| async move { Ok((index, Session::open(Target::new(host), ssh).await?)) });
    let mut opened = Opened { sessions: Vec::new(), refused: Vec::new() };
    for answer in future::join_all(all).await {
        match answer {
            Ok(session) => opened.sessions.push(session),
            Err(error) => opened.refused.push(error),
        }
    }
    opened
}

/// Asks all hosts for facts at once. `brief`: of hosts of a cluster only what may keep a run from working on them.
pub(super) async fn ask(opened: &Opened, loaded: &Loaded, brief: bool) -> Vec<Result<Facts, HostError>> {
    let wanted = &wanted(loaded);
    let reached = opened.sessions.iter().map(|(index, session)| (*index, session.reached().to_owned()));
    let reached = &reached.collect::<BTreeMap<_, _>>();
    let all = opened.sessions.iter().map(|(index, session)| async move {
        session.facts(&Questions { brief, ..wanted.questions(*index, reached) }).await
    });
    future::join_all(all).await
}

/// Checks what hosts said.
pub(super) async fn found(
    opened: &Opened,
    asked: Vec<Result<Facts, HostError>>,
    args: &HostArgs,
    loaded: &Loaded,
) -> anyhow::Result<Found> {
    let skip = skipped(args)?;
    let cloud = &loaded.file.cloud;
    let mut seen = Vec::new();
    let mut findings: Vec<Finding> = opened.refused.iter().map(unreachable).collect();
    for ((index, session), facts) in opened.sessions.iter().zip(asked) {
        match facts {
            Ok(facts) => {
                let host = cloud.hosts.get(*index);
                let named = host.and_then(|host| host.name.as_ref());
                seen.push(Seen {
                    name: named.map_or(session.target().name.clone(), ToString::to_string),
                    named: named.map(ToString::to_string),
                    address: host.and_then(|host| host.address.clone()),
                    role: cloud.role(*index),
                    devices: host.map(preflight::devices).unwrap_or_default(),
                    facts,
                });
            }
            Err(error) => findings.push(unreachable(&error)),
        }
    }
    let silent = findings.clone();
    findings.extend(preflight::check(&wanted(loaded), &seen));
    let order: Vec<String> = cloud.present_hosts().map(|(_, host)| Target::new(host).name).collect();
    findings.sort_by_key(|found| order.iter().position(|name| *name == found.host));
    let components = loaded.components.iter().map(|resolved| &resolved.component);
    findings.extend(preflight::cluster::version(&loaded.release.kubernetes, components));
    let (endpoint, api) = tokio::join!(endpoint(cloud), api(cloud, &seen));
    findings.extend(endpoint.into_iter().chain(api));
    let skipped = leave_out(&mut findings, &skip);
    Ok(Found { seen, findings, silent, skipped })
}

/// What hosts must have for a cloud.
fn wanted(loaded: &Loaded) -> Wanted<'_> {
    Wanted::new(&loaded.file.cloud, loaded.components.iter().map(|resolved| &resolved.component))
}

/// Whether the name that users reach the cluster by has an address here.
async fn endpoint(cloud: &Cloud) -> Option<Finding> {
    let name = cloud.kubernetes.endpoint.as_deref().filter(|name| name.parse::<IpAddr>().is_err())?;
    let looked_up = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((name, kubeadm::PORT))).await;
    let found = looked_up.is_ok_and(|found| found.is_ok_and(|mut all| all.next().is_some()));
    (!found).then(|| preflight::cluster::endpoint(name))
}

/// Whether the API servers can be reached from here, at the addresses that an install dials.
async fn api(cloud: &Cloud, seen: &[Seen]) -> Option<Finding> {
    let endpoint = cloud.kubernetes.endpoint.as_deref();
    // Before there is a cluster only the first server is to have an API: the others join later.
    let fresh = seen.iter().all(|seen| seen.facts.joined.is_empty());
    let most = if fresh { 1 } else { usize::MAX };
    let servers =
        || seen.iter().filter(|seen| seen.role == Role::Server).filter_map(Seen::own_address).take(most);
    let all: Vec<String> =
        endpoint.map_or_else(|| servers().map(|own| own.to_string()).collect(), |name| vec![name.to_owned()]);
    let silent = future::join_all(all.iter().map(|address| is_silent(address, kubeadm::PORT))).await;
    let silent: Vec<String> =
        all.iter().zip(silent).filter(|(_, silent)| *silent).map(|(address, _)| authority(address)).collect();
    preflight::cluster::api(all.len(), &silent, endpoint.is_some())
}

/// Whether nothing answers at an address. A refusal is an answer; a name without an address is another finding.
async fn is_silent(address: &str, port: u16) -> bool {
    match tokio::time::timeout(DIAL, TcpStream::connect((address, port))).await {
        Ok(Ok(_)) => false,
        Ok(Err(error)) => matches!(
            error.kind(),
            ErrorKind::TimedOut
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::PermissionDenied
        ),
        Err(_) => true,
    }
}

/// How hosts are reached.
pub(super) fn ssh(args: &HostArgs, settings: &Settings) -> Ssh {
    Ssh { accept_new: args.accept_new_host_keys, config: settings.ssh_config.clone(), patience: PATIENCE }
}

/// The names of checks to leave out.
pub(super) fn skipped(args: &HostArgs) -> anyhow::Result<BTreeSet<&str>> {
    let unknown = args.skip_check.iter().find(|name| !CHECKS.iter().any(|(known, _)| known == name));
    if let Some(name) = unknown {
        let names: Vec<&str> = CHECKS.iter().map(|(name, _)| *name).collect();
        let hint = format!("one of: {}", names.join(", "));
        return Err(Problem::new(7005, Exit::Usage, format!("there is no check `{name}`"), hint).into());
    }
    Ok(args.skip_check.iter().map(String::as_str).collect())
}

/// A host that cannot be worked on, as a finding beside the others.
fn unreachable(error: &HostError) -> Finding {
    let observed = format!("{} [{}]", error.trouble, error.code());
    let checked = match error.trouble {
        Trouble::NoSudo { .. } => "rights of root",
        _ => "connection",
    };
    Finding {
        host: error.host.clone(),
        check: "ssh",
        level: Level::Error,
        checked: checked.to_owned(),
        observed,
        expected: "a login as root, or `sudo` without a password".to_owned(),
        fix: if error.is_away() {
            format!("{}; one that is gone for good gets `state: removed` in cozy.yaml", error.hint())
        } else {
            error.hint()
        },
        script: None,
    }
}

/// Shows the safe fixes, asks, and applies them; `false`: nothing was done.
async fn mend(
    found: &Found,
    sessions: &[Session],
    yes: bool,
    settings: &Settings,
    ui: &Ui,
) -> anyhow::Result<bool> {
    let fixes: Vec<(&Session, &str)> = found
        .findings
        .iter()
        .filter_map(|finding| {
            let at = found.seen.iter().position(|seen| seen.name == finding.host)?;
            Some((sessions.get(at)?, finding.script.as_deref()?))
        })
        .collect();
    if fixes.is_empty() {
        return Ok(false);
    }
    for (session, script) in &fixes {
        ui.note(format!("fix     {}: {script}", session.target().name));
    }
    let agreed = flow::confirm("apply these fixes?", yes, settings).await?;
    if agreed {
        for (session, script) in fixes {
            if let Err(error) = session.must("the fix", script, &[], FIXING).await {
                ui.note(error);
            }
        }
    }
    Ok(agreed)
}
