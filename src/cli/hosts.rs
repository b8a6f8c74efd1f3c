//! From `cozy.yaml` to hosts that can be installed: preflight, a runner that
//! knows what is missing, and the release's files.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use anyhow::Context as _;
use futures::FutureExt as _;
use futures::future::{self, Either};
use tokio::task::JoinSet;

use super::artefacts;
use super::flow::Loaded;
use super::preflight::{self, HostArgs, WorkArgs};
use super::unplanned;
use crate::cluster::lease::Holder;
use crate::error::{Exit, Problem, Said};
use crate::execute::run::Signal;
use crate::fetch::{self, Digests, Held};
use crate::host::{HostError, Session, Target, Trouble};
use crate::model::artefact::Digest;
use crate::model::cloud::{Cloud, HostState};
use crate::model::names::is_dns_label;
use crate::model::release::Binary;
use crate::plan::Plan;
use crate::plan::planner::{self, Desired, Observed};
use crate::preflight::Seen;
use crate::provider::kubeadm::steps::{LocalFile, Supplies};
use crate::provider::kubeadm::{self, Ahead, Gone, Node, Parts, Refusal, Runner};
use crate::settings::{self, Settings};
use crate::ui::{Ui, preflight as draw};

/// The release of cozy that this is.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long a cluster that is looked at while its hosts are asked may take when they have answered.
const AHEAD: Duration = Duration::from_secs(10);

/// Why hosts are looked at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// To show what would be done: nothing is fetched, and other runs go on.
    Plan,
    /// To do it: other runs are waited for so long, and kept off as long as the runner lives.
    Install(Duration),
}

/// Looks at the hosts; `Err`: preflight failed, and it was said why.
pub(super) async fn runner(
    args: &WorkArgs,
    purpose: Purpose,
    loaded: &Loaded,
    settings: &Settings,
    ui: &Ui,
) -> anyhow::Result<Result<Runner, Exit>> {
    let WorkArgs { remove_hosts: remove, look: args } = args;
    let cloud = &loaded.file.cloud;
    let release = &loaded.release;
    // Hundreds of megabytes are read while the hosts are asked.
    let (folder, cache) = (images_folder(cloud), settings.cache.clone());
    let digests = tokio::task::spawn_blocking(move || {
        let mut digests = Digests::of_cache(cache.as_deref());
        let images = folder.map_or_else(|| Ok(Vec::new()), |folder| images(&folder, &mut digests))?;
        let itself = itself(&mut digests)?;
        digests.keep();
        Ok::<_, anyhow::Error>((images, itself))
    });
    let (opened, gone) = tokio::join!(preflight::open(args, cloud, settings), gone(args, cloud, settings));
    let held = async {
        let Purpose::Install(patience) = purpose else { return Ok(()) };
        let away = gone.iter().filter_map(|gone| gone.session.as_ref().ok());
        let away = kubeadm::of_cloud(away, cloud).await;
        hold(opened.sessions.iter().map(|(_, session)| session).chain(away), "cozy install", patience).await
    };
    // Hosts are asked while another run may be waited for; what is wrong with them is said at once.
    let (asked, held) =
        match future::select(pin!(preflight::ask(&opened, loaded, true)), Box::pin(held)).await {
            Either::Left((asked, held)) => (asked, held.left_future()),
            Either::Right((held, asked)) => (asked.await, future::ready(held).right_future()),
        };
    let mut found = preflight::found(&opened, asked, args, loaded).await?;
    let hosts = cloud.present_hosts().count();
    // Nothing is installed around a host: what is to be done on the others depends on what is on that one.
    if found.findings.iter().all(|finding| finding.check != "ssh") {
        found.findings.append(&mut found.silent);
    }
    if !found.passes() {
        ui.error(&draw::text(cloud.name.as_str(), hosts, &found.findings, found.skipped, ui.width()));
        return Ok(Err(Exit::Preflight));
    }
    held.await?;
    let nodes =
        found.seen.iter().zip(cloud.present_hosts()).map(|(seen, (index, _))| node(cloud, index, seen));
    let nodes = nodes.collect::<Result<Vec<Node>, Problem>>()?;
    distinct(&nodes)?;
    let (images, itself) = digests.await.context("cannot read the images")??;
    let programs = programs(&nodes, cloud, itself)?;
    let supplies = Supplies { release, images: &images, programs: &programs };
    let kubeconfig = super::flow::own_kubeconfig(cloud, settings);
    let sessions = opened.sessions.into_iter().map(|(_, session)| session).collect();
    let parts = Parts { cloud: cloud.clone(), nodes, sessions, gone, remove: *remove, kubeconfig };
    let mut runner = Runner::new(parts, &supplies).await.map_err(refused)?;
    for note in runner.notes() {
        ui.note(note);
    }
    for name in runner.held() {
        ui.note(format!("{name} has `state: removed` and is still there: --remove-hosts takes it out"));
    }
    if matches!(purpose, Purpose::Plan) {
        return Ok(Ok(runner));
    }
    // Before the plan is shown: what cannot be had, or is not what was locked, stops everything.
    match binaries(&runner.needs(release), cloud, settings, ui).await? {
        Ok(held) => runner.hold(held),
        Err(signal) => return Ok(Err(artefacts::interrupted(signal, "cozy install", ui))),
    }
    Ok(Ok(runner))
}

/// Looks at the cluster that was installed from here, if there is one, from now on: the hosts are asked meanwhile.
/// `None` after [`AHEAD`], too: those that wait for it go another way.
pub(super) fn ahead(cloud: &Cloud, settings: &Settings) -> impl Future<Output = Option<Ahead>> {
    let kubeconfig = super::flow::own_kubeconfig(cloud, settings);
    let mut looking = JoinSet::new();
    looking.spawn(kubeadm::ahead(cloud.clone(), kubeconfig));
    async move { tokio::time::timeout(AHEAD, looking.join_next()).await.ok()??.ok()? }
}

/// What is done on hosts before anything else can be planned, because the API server lets nobody in, or does not run.
pub(super) fn urgent(runner: &Runner, ui: &Ui) -> anyhow::Result<Option<Plan>> {
    let hosts = runner.urgent();
    if hosts.is_empty() {
        return Ok(None);
    }
    ui.note(if runner.has_ended() {
        "certificates have ended: they are renewed before anything else"
    } else {
        "an API server does not answer, and settings changed: they are applied before anything else"
    });
    let desired = Desired { hosts, ..Desired::default() };
    planner::plan(&desired, &Observed::nothing(false))
        .map(Some)
        .map_err(|errors| unplanned::no_plan(errors, &[]))
}

/// Fetches files of a release. `Err(signal)` inside: interrupted.
async fn binaries(
    needed: &[Binary],
    cloud: &Cloud,
    settings: &Settings,
    ui: &Ui,
) -> anyhow::Result<Result<Vec<Held>, Signal>> {
    if needed.is_empty() {
        return Ok(Ok(Vec::new()));
    }
    let wanted = artefacts::Wanted::of(cloud, settings, artefacts::PATIENCE);
    artefacts::binaries(needed, &wanted, settings, ui).await
}

/// Hosts with `state: removed`. One that does not answer may be gone for good.
async fn gone(args: &HostArgs, cloud: &Cloud, settings: &Settings) -> Vec<Gone> {
    let ssh = preflight::ssh(args, settings);
    let removed = cloud.hosts.iter().enumerate().filter(|(_, host)| host.state == HostState::Removed);
    let all = removed.map(|(index, host)| {
        let ssh = &ssh;
        async move {
            let target = Target::new(host);
            Gone {
                host: target.name.clone(),
                role: cloud.role(index),
                name: host.name.as_ref().map(ToString::to_string),
                address: host.address.clone(),
                session: Session::open(target, ssh).await,
            }
        }
    });
    future::join_all(all).await
}

/// Where archives of images are: beside everything else in a mirror that is a folder. A web server does not
/// tell what it has; images from there come through `artifacts.registries`.
fn images_folder(cloud: &Cloud) -> Option<PathBuf> {
    cloud.artifacts.mirror.as_deref()?.strip_prefix("file://").map(|folder| Path::new(folder).join("images"))
}

/// The archives of images in a folder.
fn images(folder: &Path, digests: &mut Digests) -> anyhow::Result<Vec<LocalFile>> {
    let mut images = Vec::new();
    let entries = match fs_err::read_dir(folder) {
        Ok(entries) => entries,
        // A mirror may have none; one that cannot be read is another matter.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(images),
        Err(error) => return Err(error.into()),
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if path.extension().is_some_and(|extension| extension == "tar") && !name.is_empty() {
            let sha256 = digests.of(&path)?;
            images.push(LocalFile { name, path, sha256 });
        }
    }
    images.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(images)
}

/// cozy for hosts of each architecture: the running program for its own, else the one of the same release that
/// lies beside it, or in a mirror that is a folder, with the release's `SHA256SUMS`.
fn programs(
    nodes: &[Node],
    cloud: &Cloud,
    own: LocalFile,
) -> Result<BTreeMap<&'static str, LocalFile>, Problem> {
    let beside = own.path.parent().map(Path::to_owned);
    let mirror = cloud.artifacts.mirror.as_deref().and_then(|mirror| mirror.strip_prefix("file://"));
    let mirror = mirror.map(|folder| Path::new(folder).join("cozy").join(VERSION));
    let folders: Vec<PathBuf> = beside.into_iter().chain(mirror).collect();
    let mut programs = BTreeMap::from([(arch_here(), own)]);
    for node in nodes {
        if !programs.contains_key(node.arch) {
            programs.insert(node.arch, program(node, &folders)?);
        }
    }
    Ok(programs)
}

fn arch_here() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

/// Looks for cozy of another architecture.
fn program(node: &Node, folders: &[PathBuf]) -> Result<LocalFile, Problem> {
    let file = format!("cozy-linux-{}", node.arch);
    let missing = || {
        let message = format!(
            "host {} is {}, this cozy is {}, and there is no `{file}` of the same release",
            node.name,
            node.arch,
            arch_here()
        );
        let hint = format!("put `{file}` and `SHA256SUMS` of cozy {VERSION} beside this one");
        Problem::new(5038, Exit::Failed, message, hint)
    };
    let path =
        folders.iter().map(|folder| folder.join(&file)).find(|path| path.is_file()).ok_or_else(missing)?;
    let sums = fs_err::read_to_string(path.with_file_name("SHA256SUMS"));
    let line = |sums: &str| {
        let mut lines = sums.lines().filter_map(|line| line.split_once(char::is_whitespace));
        let (digest, _) = lines.find(|(_, name)| name.trim_start().trim_start_matches('*') == file)?;
        digest.parse::<Digest>().ok()
    };
    let wrong = |message: String| {
        Problem::new(
            5039,
            Exit::Failed,
            message,
            format!("fetch `{file}` and `SHA256SUMS` of cozy {VERSION} anew"),
        )
    };
    let expected = sums.ok().as_deref().and_then(line);
    let expected =
        expected.ok_or_else(|| wrong(format!("`{}` is in no `SHA256SUMS` beside it", path.display())))?;
    let (sha256, _) = fetch::digest_of(&path)
        .map_err(|error| wrong(format!("cannot read `{}`: {error}", path.display())))?;
    if sha256 != expected {
        let path = path.display();
        return Err(wrong(format!(
            "`{path}` is not what `SHA256SUMS` says: sha256 {sha256}, expected {expected}"
        )));
    }
    Ok(LocalFile { name: format!("cozy {VERSION}"), path, sha256 })
}

/// The running program, which goes to hosts as their local endpoint.
fn itself(digests: &mut Digests) -> anyhow::Result<LocalFile> {
    let path = std::env::current_exe()?;
    let sha256 = digests.of(&path)?;
    Ok(LocalFile { name: format!("cozy {VERSION}"), path, sha256 })
}

fn node(cloud: &Cloud, index: usize, seen: &Seen) -> Result<Node, Problem> {
    let refuse = |message: String, hint: &str| Problem::new(5037, Exit::Usage, message, hint);
    let host = cloud.hosts.get(index);
    let name = seen.node_name();
    if !is_dns_label(&name) {
        let message = format!("host {} has the name `{name}`, which no node can have", seen.name);
        return Err(refuse(message, "give it a `name:` in cozy.yaml, or another host name"));
    }
    let Some(address) = seen.own_address() else {
        return Err(refuse(
            format!("host {} has no IP address", seen.name),
            "give it one on a network that the others reach",
        ));
    };
    let Some(arch) = seen.facts.architecture() else {
        return Err(refuse(
            format!("host {} has the architecture {}", seen.name, seen.facts.arch),
            "use x86-64 or arm64",
        ));
    };
    Ok(Node {
        name,
        role: cloud.role(index),
        address: address.to_string(),
        arch,
        labels: host.map(|host| host.labels.clone()).unwrap_or_default(),
        taints: host.map(|host| host.taints.clone()).unwrap_or_default(),
    })
}

/// Refuses two hosts that would be one node: what is done for the one would be taken for done on the other.
fn distinct(nodes: &[Node]) -> Result<(), Problem> {
    let mut names = BTreeMap::new();
    for node in nodes {
        if let Some(other) = names.insert(node.name.as_str(), &node.address) {
            let message = format!("hosts {other} and {} would both be node `{}`", node.address, node.name);
            return Err(Problem::new(
                5037,
                Exit::Usage,
                message,
                "give one of them another `name:` in cozy.yaml",
            ));
        }
    }
    Ok(())
}

/// Keeps other runs off hosts as long as the sessions live. One host is taken before all others, the same by
/// every run: of two runs that begin at once one gets all, and neither waits for what the other has.
///
/// # Errors
/// Exit 6 when another run works on one of them.
pub(super) async fn hold<'a>(
    sessions: impl IntoIterator<Item = &'a Session>,
    command: &str,
    patience: Duration,
) -> anyhow::Result<()> {
    let Holder { host: machine, pid, .. } = settings::holder(command);
    let holder = format!("`{command}` on {machine} (pid {pid})");
    let mut sessions: Vec<&Session> = sessions.into_iter().collect();
    sessions.sort_by(|a, b| a.target().name.cmp(&b.target().name));
    if let Some((first, others)) = sessions.split_first() {
        first.hold(&holder, patience).await.map_err(|error| host(&error))?;
        let others = future::join_all(others.iter().map(|session| session.hold(&holder, patience))).await;
        others.into_iter().collect::<Result<(), HostError>>().map_err(|error| host(&error))?;
    }
    Ok(())
}

fn said(error: &HostError) -> Said {
    Said { code: error.code(), message: error.to_string(), hint: Some(error.hint()) }
}

/// An error of a host for the user.
pub(super) fn host(error: &HostError) -> anyhow::Error {
    let exit = if matches!(error.trouble, Trouble::Held { .. }) { Exit::Locked } else { Exit::Failed };
    Problem::One(said(error), None, exit).into()
}

/// Why nothing is done on hosts, for the user.
pub(super) fn refused(refusal: Refusal) -> anyhow::Error {
    match refusal {
        Refusal::Host(error) => host(&error),
        Refusal::Plan(errors) => unplanned::no_plan(errors, &[]),
    }
}

/// Hosts that do not answer, for the user.
pub(super) fn silent(errors: &[HostError]) -> anyhow::Error {
    let summary = format!("{} cannot be worked on", crate::ui::text::count(errors.len(), "host"));
    Problem::Several { said: errors.iter().map(said).collect(), summary, exit: Exit::Failed }.into()
}

/// There are no hosts.
pub(super) fn none(what: &str) -> anyhow::Error {
    let message = format!("{what}: `kubernetes.provider` is `existing`");
    Problem::new(5001, Exit::Usage, message, "this command is for clouds with `hosts`").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by review: one of the two was never touched, and every run was green.
    #[test]
    fn two_hosts_are_never_one_node() {
        let other = Node { address: "10.0.0.12".to_owned(), ..node("amd64") };
        let error = distinct(&[node("amd64"), other.clone()]).unwrap_err();
        assert_eq!(error.to_string(), "hosts 10.0.0.11 and 10.0.0.12 would both be node `h1`");
        assert!(distinct(&[node("amd64"), Node { name: "h2".to_owned(), ..other }]).is_ok());
    }

    #[test]
    fn a_folder_of_images_that_cannot_be_read_is_not_one_without_images() {
        let folder = tempfile::tempdir().unwrap();
        let mut digests = Digests::of_cache(None);
        let mut found = |name: &str| images(&folder.path().join(name), &mut digests).map(|all| all.len());
        assert_eq!(found("missing").unwrap(), 0);
        fs_err::write(folder.path().join("file"), "").unwrap();
        assert!(found("file").is_err());
    }

    fn node(arch: &'static str) -> Node {
        Node {
            name: "h1".to_owned(),
            role: crate::model::cloud::Role::Agent,
            address: "10.0.0.11".to_owned(),
            arch,
            labels: BTreeMap::new(),
            taints: Vec::new(),
        }
    }

    #[test]
    fn hosts_of_another_architecture_get_the_same_release_or_a_clear_error() {
        let other = if arch_here() == "amd64" { "arm64" } else { "amd64" };
        let folder = tempfile::tempdir().unwrap();
        let (beside, file) = (folder.path().to_owned(), format!("cozy-linux-{other}"));
        let find =
            || program(&node(other), std::slice::from_ref(&beside)).map_err(|problem| problem.to_string());
        assert!(find().unwrap_err().contains("there is no `cozy-linux-"));
        fs_err::write(beside.join(&file), "program").unwrap();
        assert!(find().unwrap_err().contains("is in no `SHA256SUMS` beside it"));
        let sums = |digest: Digest| format!("{}  other\n{digest} *{file}\n", Digest::of(b""));
        fs_err::write(beside.join("SHA256SUMS"), sums(Digest::of(b"another"))).unwrap();
        assert!(find().unwrap_err().contains("is not what `SHA256SUMS` says"));
        fs_err::write(beside.join("SHA256SUMS"), sums(Digest::of(b"program"))).unwrap();
        assert_eq!(find().unwrap().sha256, Digest::of(b"program"));
    }
}
