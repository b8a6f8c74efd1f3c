//! From `cozy.yaml` to hosts that can be installed: preflight, the lock, the
//! mirror, and a runner that knows what is missing.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use futures::future;

use super::flow::{self, Loaded};
use super::preflight::{self, HostArgs};
use crate::error::{Code, Exit, Problem, Said};
use crate::host::{HostError, Session, Target};
use crate::model::artefact::Digest;
use crate::model::cloud::{Cloud, HostState};
use crate::model::names::is_dns_label;
use crate::preflight::Seen;
use crate::provider::kubeadm::lock::{Lock, LockError};
use crate::provider::kubeadm::steps::{LocalFile, Supplies};
use crate::provider::kubeadm::{Gone, Node, Parts, Refusal, Runner};
use crate::settings::Settings;
use crate::ui::{Ui, preflight as draw};

/// Looks at the hosts; `Err`: preflight failed, and it was said why.
pub(super) async fn runner(
    args: &HostArgs,
    remove: bool,
    loaded: &Loaded,
    settings: &Settings,
    ui: &Ui,
) -> anyhow::Result<Result<Runner, Exit>> {
    let cloud = &loaded.file.cloud;
    let lock = lock(loaded)?;
    let mirror = mirror(cloud)?;
    // Hundreds of megabytes are read while the hosts are asked.
    let folder = mirror.clone();
    let digests = tokio::task::spawn_blocking(move || Ok::<_, anyhow::Error>((images(&folder)?, itself()?)));
    let (found, gone) = tokio::join!(preflight::look(args, loaded, settings), gone(args, cloud, settings));
    let found = found?;
    let hosts = cloud.present_hosts().count();
    if !found.passes() || found.sessions.len() < hosts {
        ui.error(&draw::text(cloud.name.as_str(), hosts, &found.findings, found.skipped, ui.width()));
        return Ok(Err(Exit::Preflight));
    }
    let nodes =
        found.seen.iter().zip(cloud.present_hosts()).map(|(seen, (index, _))| node(cloud, index, seen));
    let nodes = nodes.collect::<Result<Vec<Node>, Problem>>()?;
    let (images, itself) = digests.await.context("cannot read the images")??;
    let supplies = Supplies { lock: &lock, mirror, images: &images, itself: &itself };
    let kubeconfig = super::flow::own_kubeconfig(cloud, settings);
    let parts = Parts { cloud: cloud.clone(), nodes, sessions: found.sessions, gone, remove, kubeconfig };
    let runner = Runner::new(parts, &supplies).await.map_err(|refusal| match refusal {
        Refusal::Host(error) => host(&error),
        Refusal::Plan(error) => flow::no_plan(vec![error]),
    })?;
    for name in runner.held() {
        ui.note(format!("{name} has `state: removed` and is still there: --remove-hosts takes it out"));
    }
    runner.verify(&supplies).map_err(locked)?;
    Ok(Ok(runner))
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
                session: Session::open(target, ssh).await.ok(),
            }
        }
    });
    future::join_all(all).await
}

fn lock(loaded: &Loaded) -> anyhow::Result<Lock> {
    let bytes = loaded.catalogue.kubernetes.as_ref().ok_or(LockError::None).map_err(locked)?;
    let lock = Lock::read(bytes).map_err(locked)?;
    match &loaded.file.cloud.kubernetes.version {
        Some(wants) if wants.trim_start_matches('v') != lock.kubernetes.trim_start_matches('v') => {
            Err(locked(LockError::Version { has: lock.kubernetes, wants: wants.clone() }))
        }
        Some(_) | None => Ok(lock),
    }
}

fn mirror(cloud: &Cloud) -> anyhow::Result<PathBuf> {
    let mirror = cloud.artifacts.mirror.as_deref().unwrap_or("their homes");
    let folder = mirror.strip_prefix("file://").map(PathBuf::from);
    folder.ok_or_else(|| locked(LockError::Mirror(mirror.to_owned())))
}

/// The archives of images in a mirror.
fn images(mirror: &Path) -> anyhow::Result<Vec<LocalFile>> {
    let folder = mirror.join("images");
    let mut images = Vec::new();
    let Ok(entries) = fs_err::read_dir(&folder) else { return Ok(images) };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if path.extension().is_some_and(|extension| extension == "tar") && !name.is_empty() {
            let sha256 = Digest::of(&fs_err::read(&path)?).to_string();
            images.push(LocalFile { name, path, sha256 });
        }
    }
    images.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(images)
}

/// The running program, which goes to hosts as their local endpoint.
fn itself() -> anyhow::Result<LocalFile> {
    let path = std::env::current_exe()?;
    let sha256 = Digest::of(&fs_err::read(&path)?).to_string();
    Ok(LocalFile { name: format!("cozy {}", env!("CARGO_PKG_VERSION")), path, sha256 })
}

fn node(cloud: &Cloud, index: usize, seen: &Seen) -> Result<Node, Problem> {
    let refuse = |message: String, hint: &str| Problem::new(5037, Exit::Usage, message, hint);
    let host = cloud.hosts.get(index);
    let name = match host.and_then(|host| host.name.as_ref()) {
        Some(name) => name.to_string(),
        None => seen.facts.short_name(),
    };
    if !is_dns_label(&name) {
        let message = format!("host {} has the name `{name}`, which no node can have", seen.name);
        return Err(refuse(message, "give it a `name:` in cozy.yaml, or another host name"));
    }
    let written = seen.address.as_deref().and_then(|address| address.parse().ok());
    let address = written.or_else(|| seen.facts.ips().next());
    let Some(address) = address else {
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

fn said(error: &HostError) -> Said {
    Said { code: error.code(), message: error.to_string(), hint: Some(error.hint()) }
}

/// An error of a host for the user.
pub(super) fn host(error: &HostError) -> anyhow::Error {
    Problem::One(said(error), None, Exit::Failed).into()
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

fn locked(error: LockError) -> anyhow::Error {
    let said =
        Said { code: Code(error.code()), message: error.to_string(), hint: Some(error.hint().to_owned()) };
    Problem::One(said, Some(error.into()), Exit::Failed).into()
}
