//! The way that most commands share: files, catalogue, components, objects.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::unplanned;
use crate::catalogue::{self, CatalogueError};
use crate::cluster::Cluster;
use crate::cluster::error::ClusterError;
use crate::error::{Exit, Problem, Said};
use crate::execute::event::Failure;
use crate::execute::failed;
use crate::fetch;
use crate::model::catalogue::{Catalogue, Files};
use crate::model::cloud::{Cloud, Provider};
use crate::model::component::{Component, GateSpec, PROVIDED, Resolved};
use crate::model::finding::{self, Finding};
use crate::model::names::ComponentName;
use crate::model::release::{Release, ReleaseError};
use crate::model::resolve::CloudFile;
use crate::model::suggest::did_you_mean;
use crate::model::texts::MINORS;
use crate::plan::planner::{self, Allowed, Desired, DesiredComponent};
use crate::plan::send;
use crate::provider::kubeadm::{self, steps};
use crate::render::{self, Known, Missing, Rendered};
use crate::settings::Settings;
use crate::ui::{Ui, prompt};

/// The largest `cozy.yaml` that is read; the model refuses at a lower limit, with a finding.
const LARGEST: u64 = 2 * 1024 * 1024;

/// Everything that was read.
pub(crate) struct Loaded {
    /// `cozy.yaml`.
    pub(crate) file: CloudFile,
    /// The catalogue with all overlays.
    pub(crate) catalogue: Catalogue,
    /// The components of this cloud.
    pub(crate) components: Vec<Resolved>,
    /// The release of Kubernetes that its hosts get.
    pub(crate) release: Release,
}

/// What a catalogue is, for those who name something else.
const CATALOGUE: &str = "a catalogue is a folder with `templates/` and `bundles/`";

/// Reads the catalogue: built in, and the overlays.
pub(crate) fn files(settings: &Settings) -> anyhow::Result<Files> {
    let mut files = catalogue::built_in();
    for path in &settings.catalogue {
        catalogue::overlay(path, &mut files).map_err(|error| unread(error, CATALOGUE))?;
    }
    Ok(files)
}

/// A folder of a catalogue that cannot be read, for the user.
fn unread(error: CatalogueError, hint: &str) -> Problem {
    Problem::new(1300, Exit::Usage, error.to_string(), hint).because(error)
}

/// The catalogue without a cloud.
pub(crate) fn catalogue(settings: &Settings) -> anyhow::Result<(Catalogue, Vec<Finding>)> {
    Ok(Catalogue::load(&files(settings)?))
}

/// Reads `cozy.yaml` and the catalogue; all mistakes of both at once.
pub(crate) fn load(settings: &Settings) -> anyhow::Result<Loaded> {
    let (bytes, name) = read(&settings.file)?;
    let (file, mut findings) = CloudFile::read_far(&bytes, &name);
    let mut files = match files(settings) {
        Ok(files) => files,
        Err(error) if findings.is_empty() => return Err(error),
        Err(error) => {
            let why = error.chain().skip(1).fold(String::new(), |all, why| format!("{all}: {why}"));
            findings.push(Finding::error(1300, format!("{error}{why}")).hinted(CATALOGUE));
            return Err(Problem::Findings(findings).into());
        }
    };
    if let Some(file) = &file {
        findings.extend(own_components(file, settings, &mut files));
        findings.extend(authorities(file, settings));
    }
    let (catalogue, found) = Catalogue::load(&files);
    findings.extend(found);
    findings.extend(file.as_ref().and_then(|file| unknown_release(file, &catalogue, &findings)));
    let resolved = file.map(|file| (catalogue.resolve(&file), file));
    match resolved {
        Some((Ok(components), mut file)) if findings.is_empty() => {
            file.warnings.extend(catalogue.off(&file));
            Loaded::new(file, catalogue, components).map_err(|error| {
                let (message, hint) = (error.to_string(), error.hint());
                Problem::new(error.code(), Exit::Usage, message, hint).into()
            })
        }
        resolved => {
            findings.extend(resolved.and_then(|(resolved, _)| resolved.err()).into_iter().flatten());
            // What is wrong with templates is seen without a cloud.
            findings.extend(catalogue.components.values().flat_map(render::mistakes));
            finding::sort(&mut findings);
            Err(Problem::Findings(findings).into())
        }
    }
}

impl Loaded {
    /// Puts together what was read, and settles which release of Kubernetes it is.
    pub(crate) fn new(
        mut file: CloudFile,
        catalogue: Catalogue,
        components: Vec<Resolved>,
    ) -> Result<Self, ReleaseError> {
        let kubernetes = &mut file.cloud.kubernetes;
        let release = match kubernetes.provider {
            Provider::Kubeadm => catalogue.release(kubernetes.version.as_deref())?,
            // Its version is what the cluster has.
            Provider::Existing => catalogue.release(None)?,
        };
        if kubernetes.provider == Provider::Kubeadm {
            kubernetes.version = Some(release.kubernetes.clone());
        }
        Ok(Self { file, catalogue, components, release })
    }
}

/// Lays the components that a cloud brings itself over the catalogue.
fn own_components(file: &CloudFile, settings: &Settings, files: &mut Files) -> Vec<Finding> {
    let base = settings.base();
    let mut findings = Vec::new();
    for (name, config) in &file.cloud.components {
        let Some(path) = &config.path else { continue };
        if let Err(error) = catalogue::component(name, &base.join(path), files) {
            let why = std::error::Error::source(&error).map(|why| format!(": {why}")).unwrap_or_default();
            let place = ["components", name.as_str(), "path"];
            let mistake = file.mistake(1300, &place, format!("{error}{why}"));
            findings.push(mistake.hinted(relative(settings)));
        }
    }
    findings
}

/// Whether the file with additional certificate authorities can be read, and has some.
fn authorities(file: &CloudFile, settings: &Settings) -> Option<Finding> {
    let path = settings.base().join(file.cloud.artifacts.ca.as_ref()?);
    let error = fetch::authorities(&path).err()?;
    let message = format!("cannot read the certificate authorities: {error}");
    Some(file.mistake(1239, &["artifacts", "ca"], message).hinted(relative(settings)))
}

/// A version of Kubernetes that the catalogue does not have, where nothing else is wrong with it.
fn unknown_release(file: &CloudFile, catalogue: &Catalogue, found: &[Finding]) -> Option<Finding> {
    let kubernetes = &file.cloud.kubernetes;
    let version = kubernetes.version.as_deref().filter(|_| kubernetes.provider == Provider::Kubeadm)?;
    let error = catalogue.release(Some(version)).err()?;
    let is_said = found.iter().any(|one| [UNSUPPORTED, error.code(), BROKEN_RELEASES].contains(&one.code.0));
    let mistake = file.mistake(error.code(), &["kubernetes", "version"], error.to_string());
    (!is_said).then(|| mistake.hinted(error.hint()))
}

/// The codes of a version that cozy does not know at all, and of releases that cannot be read.
const UNSUPPORTED: u16 = 1223;
const BROKEN_RELEASES: u16 = 5030;

/// What paths in the cloud's file are relative to.
fn relative(settings: &Settings) -> String {
    match settings.file.as_str() {
        "-" => "it is relative to the current folder".to_owned(),
        file => format!("it is relative to {file}"),
    }
}

/// Says that a catalogue has mistakes, where they do not stop anything.
pub(crate) fn mention(findings: &[Finding], ui: &Ui) {
    if !findings.is_empty() {
        ui.note(format!(
            "note: the catalogue has mistakes ({}): `cozy bundle lint` shows them",
            findings.len()
        ));
    }
}

/// Keeps the components that are named; all when none is.
pub(crate) fn only(loaded: &mut Loaded, named: &[ComponentName]) -> anyhow::Result<()> {
    known(loaded, named)?;
    if !named.is_empty() {
        loaded.components.retain(|known| named.contains(&known.component.name));
    }
    Ok(())
}

/// Refuses names of components that this cloud does not have.
pub(crate) fn known(loaded: &Loaded, named: &[ComponentName]) -> anyhow::Result<()> {
    let all = || loaded.components.iter().map(|known| &known.component.name);
    let unknown = named.iter().filter(|name| !all().any(|known| known == *name));
    let mut said: Vec<Said> = unknown
        .map(|unknown| {
            let near = did_you_mean(unknown.as_str(), all().map(ComponentName::as_str));
            let hint = if near.is_empty() {
                let own: Vec<&str> = all().map(ComponentName::as_str).collect();
                format!("its components: {}", own.join(", "))
            } else {
                near
            };
            let message = format!("component `{unknown}` is not part of this cloud");
            Said { code: crate::error::Code(7001), message, hint: Some(hint) }
        })
        .collect();
    match said.len() {
        0 => Ok(()),
        1 => Err(Problem::One(said.remove(0), None, Exit::Usage).into()),
        _ => Err(Problem::Many(said).into()),
    }
}

/// Says which gates judge nothing: those of objects that this cloud does not have.
pub(crate) fn mention_idle_gates(desired: &Desired, ui: &Ui) {
    for (component, of) in planner::idle_gates(desired) {
        ui.note(format!(
            "note: component `{component}`: its gate of {of} judges nothing: there is no such object"
        ));
    }
}

/// Refuses to change a cloud that is another version's (`version` in `cozy.yaml`).
///
/// # Errors
/// C7010.
pub(crate) fn own_version(cloud: &Cloud) -> anyhow::Result<()> {
    let own = env!("CARGO_PKG_VERSION");
    match cloud.version.as_deref() {
        Some(wants) if wants.trim_start_matches('v') != own => {
            let message =
                format!("cloud {} is changed by cozy {wants} only, and this is cozy {own}", cloud.name);
            let hint = "take that version, or change `version` in the cloud's file";
            Err(Problem::new(7010, Exit::Usage, message, hint).into())
        }
        _ => Ok(()),
    }
}

/// Shows what is doubtful in `cozy.yaml`, and stops nothing.
pub(crate) fn warn(loaded: &Loaded, ui: &Ui) {
    if !loaded.file.warnings.is_empty() {
        ui.note(crate::ui::findings::drawn(&loaded.file.warnings, ui.paint().0).trim_end());
    }
}

fn read(file: &str) -> anyhow::Result<(Vec<u8>, String)> {
    let mut bytes = Vec::new();
    if file == "-" {
        std::io::stdin().take(LARGEST).read_to_end(&mut bytes).context("cannot read stdin")?;
        return Ok((bytes, "<stdin>".to_owned()));
    }
    let opened =
        fs_err::File::open(PathBuf::from(file)).and_then(|open| open.take(LARGEST).read_to_end(&mut bytes));
    match opened {
        Ok(_) => Ok((bytes, file.to_owned())),
        Err(error) => {
            let message = format!("cannot read the cloud's file `{file}`");
            let hint = "name it with --file; `cozy schema cloud` says what can stand in it";
            Err(Problem::new(1000, Exit::Usage, message, hint).because(error).into())
        }
    }
}

/// What templates see of a cloud.
pub(crate) fn facts(cloud: &Cloud, components: &[Resolved], nodes: Option<usize>) -> Map<String, Value> {
    let kubeadm = cloud.kubernetes.provider == Provider::Kubeadm;
    let nodes = nodes.unwrap_or_else(|| cloud.present_hosts().count()).max(1);
    let names: Map<String, Value> = components
        .iter()
        .map(|resolved| {
            let component = &resolved.component;
            (component.name.to_string(), json!({ "version": component.version }))
        })
        .collect();
    let facts = json!({
        "cloud": { "name": cloud.name.as_str(), "domain": cloud.domain },
        "cluster": {
            "nodes": nodes,
            "servers": cloud.servers().max(1),
            "version": version(cloud),
            "provider": cloud.kubernetes.provider,
        },
        "network": {
            "pods": cloud.network.pods,
            "services": cloud.network.services,
            "announce": cloud.network.announce,
            "loadBalancer": cloud.network.load_balancer.iter().map(|range| pool(range)).collect::<Vec<_>>(),
            "proxyMode": cloud.network.proxy_mode,
            "apiHost": if kubeadm { json!("127.0.0.1") } else { Value::Null },
            "apiPort": if kubeadm { json!(7443) } else { Value::Null },
        },
        "storage": { "replicas": cloud.storage_replicas() },
        "components": names,
    });
    match facts {
        Value::Object(facts) => facts,
        _ => Map::new(),
    }
}

/// An address pool as templates see it: `cidr`, or `start` and `stop`.
fn pool(range: &str) -> Value {
    if range.contains('/') {
        return json!({ "cidr": range });
    }
    let (start, stop) = range.split_once('-').unwrap_or((range, range));
    json!({ "start": start.trim(), "stop": stop.trim() })
}

/// The Kubernetes version that a cloud gets; of a cluster that nobody asked yet, the newest that is known.
pub(crate) fn version(cloud: &Cloud) -> String {
    cloud.kubernetes.version.clone().unwrap_or_else(|| format!("v1.{}.0", MINORS.end()))
}

/// Renders the components of a cloud without a cluster: what charts generate is made up.
pub(crate) fn rendered(loaded: &Loaded, missing: Missing) -> anyhow::Result<Vec<Rendered>> {
    let facts = facts(&loaded.file.cloud, &loaded.components, None);
    rendered_with((&loaded.file, &loaded.components), &facts, missing)
}

/// Renders some components with given facts, and without a cluster.
pub(crate) fn rendered_with(
    (file, components): (&CloudFile, &[Resolved]),
    facts: &Map<String, Value>,
    missing: Missing,
) -> anyhow::Result<Vec<Rendered>> {
    let rendering = render::render(components, facts, &Known::nothing(missing));
    rendering.result.map_err(|errors| unplanned::not_rendered(errors, file, components))
}

/// A gate, objects for which it holds, and objects for which it does not.
pub(crate) type Samples<'a> = (&'a GateSpec, Vec<Value>, Vec<Value>);

/// The sample objects of a component's gates: for which they hold, and for which they do not.
pub(crate) fn samples<'a>(
    component: &'a Component,
    files: &BTreeMap<String, Cow<'static, [u8]>>,
) -> Result<Vec<Samples<'a>>, Said> {
    let read = |name: &String| -> Result<Vec<Value>, Said> {
        let text = files.get(name).map(|bytes| String::from_utf8_lossy(bytes)).unwrap_or_default();
        let documents = render::yaml::read(&text).map_err(|error| Said {
            code: crate::error::Code(2012),
            message: format!("component `{}`, {name}: {error}", component.name),
            hint: None,
        })?;
        Ok(documents.into_iter().map(|document| document.value).filter(|value| !value.is_null()).collect())
    };
    let all = |names: &Vec<String>| -> Result<Vec<Value>, Said> {
        Ok(names.iter().map(read).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    };
    component
        .gates
        .iter()
        .map(|gate| Ok((gate, all(&gate.samples.ready)?, all(&gate.samples.not_ready)?)))
        .collect()
}

/// What a cloud wants of its cluster.
pub(crate) fn desired(loaded: &Loaded, rendered: Vec<Rendered>, allowed: Allowed) -> Desired {
    let cloud = &loaded.file.cloud;
    let kubeadm = cloud.kubernetes.provider == Provider::Kubeadm;
    // Real hosts say later what is missing on them.
    let hosts = if kubeadm { steps::rehearsed(cloud, &version(cloud)) } else { Vec::new() };
    let components = loaded
        .components
        .iter()
        .zip(rendered)
        .map(|(resolved, rendered)| {
            let component = &resolved.component;
            DesiredComponent {
                name: component.name.clone(),
                namespace: component.namespace.as_ref().map(|namespace| namespace.name.to_string()),
                objects: rendered.objects,
                needs: component.needs.clone(),
                ignore_edges: component.ignore_edges.clone(),
                provides: component.provides.clone(),
                gates: component.gates.clone(),
                expect: component.expect.0,
                deadline: component.deadline.0,
                may_be_empty: component.may_be_empty,
                grace: component.grace.map(|grace| grace.0),
                stood_in: rendered.stood_in.is_some(),
                idle: rendered.idle.iter().map(|object| object.id.clone()).collect(),
            }
        })
        .collect();
    let load_balancer_pool = !cloud.network.load_balancer.is_empty();
    let mut desired = Desired {
        hosts,
        components,
        autoscaled: BTreeSet::new(),
        allowed,
        load_balancer_pool,
        unwanted: unwanted(loaded),
        cloud: Some(cloud.name.to_string()),
    };
    send::prepare(&mut desired);
    desired
}

/// Components of the catalogue that a cloud does not have, and whose names are no capabilities.
fn unwanted(loaded: &Loaded) -> BTreeSet<ComponentName> {
    let all = &loaded.catalogue.components;
    let offered: BTreeSet<&str> = all
        .values()
        .flat_map(|known| &known.component.provides.capabilities)
        .map(String::as_str)
        .chain(PROVIDED)
        .collect();
    let own: BTreeSet<&ComponentName> = loaded.components.iter().map(|one| &one.component.name).collect();
    let others = all.keys().filter(|name| !own.contains(*name) && !offered.contains(name.as_str()));
    others.cloned().collect()
}

/// Where the kubeconfig of a cluster on hosts is kept: beside `cozy.yaml`.
pub(crate) fn own_kubeconfig(cloud: &Cloud, settings: &Settings) -> PathBuf {
    settings.base().join(format!("{}.kubeconfig", cloud.name))
}

/// Connects to the cluster of a cloud: the user's kubeconfig, or that of its hosts.
///
/// # Errors
/// C5002 when there is no cluster on the hosts yet, as far as this folder knows.
pub(crate) async fn connect(cloud: &Cloud, settings: &Settings, ui: &Ui) -> anyhow::Result<Cluster> {
    let own = own_kubeconfig(cloud, settings);
    let path = match (&settings.kubeconfig, cloud.kubernetes.provider) {
        (Some(path), _) => Some(path.as_path()),
        (None, Provider::Existing) => None,
        (None, Provider::Kubeadm) if own.exists() => Some(own.as_path()),
        (None, Provider::Kubeadm) => {
            let said =
                format!("there is no kubeconfig of cloud {}: `{}` is missing", cloud.name, own.display());
            let hint = "`cozy install` writes it when the first server is up; --kubeconfig names another one";
            return Err(Problem::new(5002, Exit::Failed, said, hint).into());
        }
    };
    let found = match path {
        Some(path) if settings.kubeconfig.is_none() => kubeadm::of_all(cloud, path).await,
        Some(_) | None => None,
    };
    let tell = |note: String| ui.note(note);
    let connection = if let Some(text) = found {
        crate::cluster::connect_text(&text).await
    } else {
        let (usual, context) = (&settings.usual_kubeconfigs, settings.context.as_deref());
        crate::cluster::connect(path, usual, context, &tell).await
    };
    crate::cluster::reach(connection.map_err(cluster)?, &tell).await.map_err(cluster)
}

/// An error of the cluster for the user.
pub(crate) fn cluster(error: ClusterError) -> anyhow::Error {
    let exit = match error {
        ClusterError::Locked { .. } => Exit::Locked,
        ClusterError::Kubeconfig { .. } => Exit::Usage,
        _ => Exit::Failed,
    };
    let said = Said { code: error.code(), message: error.to_string(), hint: failed::hint(&error) };
    Problem::One(said, Some(error.into()), exit).into()
}

/// Prints an error, and answers how the process ends because of it.
pub(crate) fn tell(error: &anyhow::Error, ui: &Ui) -> Exit {
    let (text, exit) = crate::error::render(error, ui.paint().0);
    ui.error(&text);
    exit
}

/// A step that failed before a run began, for the user.
pub(crate) fn failure(failure: Failure) -> anyhow::Error {
    let said = Said { code: failure.code, message: failure.message, hint: failure.hint };
    Problem::One(said, None, Exit::Failed).into()
}

/// Writes a file that the user asked for.
///
/// # Errors
/// C7009 when it cannot be written.
pub(crate) fn written(file: &str, text: &str) -> anyhow::Result<()> {
    let path = Path::new(file);
    // What is there is kept until all of the new one is; devices and pipes take what comes.
    let result = if fs_err::metadata(path).is_ok_and(|known| !known.is_file()) {
        fs_err::write(path, text)
    } else {
        let real = fs_err::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        // One that may be written, in a folder where nothing may be made.
        fetch::atomically(&real, text.as_bytes()).or_else(|error| match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ResourceBusy if real.exists() => {
                fs_err::write(&real, text)
            }
            _ => Err(error),
        })
    };
    // It could be written before the work began: only now something stands in the way.
    result.map_err(|error| unwritable(file, Exit::Failed).because(error).into())
}

fn unwritable(file: &str, exit: Exit) -> Problem {
    let hint = "name a file in a folder that exists, can be written to and has room";
    Problem::new(7009, exit, format!("cannot write `{file}`"), hint)
}

/// Refuses a file that cannot be written, before the work for it begins.
///
/// # Errors
/// C7009.
pub(crate) fn writable(file: &str) -> anyhow::Result<()> {
    let path = Path::new(file);
    let tried = if path.exists() {
        // Neither made nor changed.
        fs_err::OpenOptions::new().append(true).open(path).map(drop)
    } else {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        tempfile::tempfile_in(folder.unwrap_or(Path::new("."))).map(drop)
    };
    tried.map_err(|error| unwritable(file, Exit::Usage).because(error).into())
}

/// Asks before something is done that cannot be taken back; `yes` answers for the person. `false`: declined.
///
/// # Errors
/// C7004 when there is nobody to ask.
pub(crate) async fn confirm(question: &str, yes: bool, settings: &Settings) -> anyhow::Result<bool> {
    let (question, interactive) = (question.to_owned(), settings.interactive);
    // Locks that are held are kept while a person thinks.
    let answer = tokio::task::spawn_blocking(move || prompt::confirm(&question, false, yes, interactive));
    answer
        .await
        .context("cannot ask")?
        .map_err(|error| Problem::new(7004, Exit::Usage, error.to_string(), error.hint()).into())
}

/// The runtime for work on a real cluster.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")
}
