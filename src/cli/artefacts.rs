//! From a cloud or a bundle to its artefacts in the cache: what commands that
//! fetch share. Locks are read and written here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use cozy_chart::{Chart, Limits};

use super::flow::Loaded;
use super::{schemas, signals};
use crate::catalogue;
use crate::error::{Code, Exit, Problem, Said};
use crate::execute::event::Reporter;
use crate::execute::run::Signal;
use crate::fetch::{self, FetchError, Fetched, Fetcher, Held, Mirror, Network, Store};
use crate::model::artefact::{Artefact, Kind};
use crate::model::catalogue::{Catalogue, File};
use crate::model::cloud::{Artifacts, Cloud};
use crate::model::component::Component;
use crate::model::lock::{Lock, Pin};
use crate::model::names::BundleName;
use crate::model::release::Binary;
use crate::model::secret::Secret;
use crate::settings::Settings;
use crate::ui::Ui;

/// How long a download of an installation may go without progress.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What to fetch, and how.
pub(super) struct Wanted<'a> {
    /// The bundle whose lock counts.
    pub(super) bundle: &'a BundleName,
    /// `artifacts:` of cozy.yaml, or its defaults.
    pub(super) artifacts: &'a Artifacts,
    /// The folder that paths of cozy.yaml are relative to.
    pub(super) base: &'a Path,
    /// How long a download may go without progress.
    pub(super) patience: Duration,
    /// Whether the schemas that charts refer to are fetched with them.
    pub(super) schemas: bool,
}

impl<'a> Wanted<'a> {
    /// What a cloud says of it.
    pub(super) fn of(cloud: &'a Cloud, settings: &'a Settings, patience: Duration) -> Self {
        let base = settings.base();
        Self { bundle: &cloud.bundle, artifacts: &cloud.artifacts, base, patience, schemas: true }
    }
}

/// Artefacts with their pins, and the pins of all else.
pub(super) struct Pinned {
    pub(super) artefacts: Vec<Artefact>,
    pub(super) lock: Lock,
}

/// The artefacts of some components, pinned by the catalogue's lock files and
/// by what this user locked before.
pub(super) fn pinned<'a>(
    components: impl IntoIterator<Item = &'a Component>,
    bundle: &BundleName,
    catalogue: &Catalogue,
    settings: &Settings,
) -> anyhow::Result<Pinned> {
    let mut artefacts = crate::model::artefact::artefacts(components).map_err(Problem::Findings)?;
    let mut lock = catalogue.lock(bundle);
    lock.fill(&own(bundle, settings)?);
    for artefact in &mut artefacts {
        lock.pin(artefact);
    }
    Ok(Pinned { artefacts, lock })
}

/// The user's own lock of a bundle: for a catalogue that cannot be written to,
/// above all the built-in one.
fn own_path(bundle: &BundleName, settings: &Settings) -> Option<PathBuf> {
    settings.state.as_ref().map(|state| state.join("locks").join(format!("{bundle}.lock")))
}

/// The user's own lock of a bundle.
pub(super) fn own(bundle: &BundleName, settings: &Settings) -> anyhow::Result<Lock> {
    own_path(bundle, settings).map_or_else(|| Ok(Lock::default()), |path| read(&path, bundle))
}

/// Reads a lock file; one that is not there locks nothing.
pub(super) fn read(path: &Path, bundle: &BundleName) -> anyhow::Result<Lock> {
    let shown = path.display().to_string();
    match fs_err::read(path) {
        Ok(bytes) => Ok(Lock::read(bundle.as_str(), &File { shown, bytes: Cow::Owned(bytes) })
            .map_err(Problem::Findings)?),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Lock::default())
        }
        Err(source) => Err(failed(&file("read", path, source))),
    }
}

/// Changes a lock file, alone: what other runs write meanwhile is seen, and not lost. Nothing is written where nothing
/// changes.
pub(super) fn change<T>(
    path: &Path,
    bundle: &BundleName,
    change: impl FnOnce(&mut Lock) -> T,
) -> anyhow::Result<T> {
    let failed = |source| failed(&file("write", path, source));
    let _held = fetch::alone(path).map_err(failed)?;
    let mut lock = read(path, bundle)?;
    let before = lock.clone();
    let answer = change(&mut lock);
    if lock != before || !path.is_file() {
        fetch::atomically(path, lock.text(bundle).as_bytes()).map_err(failed)?;
    }
    Ok(answer)
}

fn file(verb: &'static str, path: &Path, source: io::Error) -> FetchError {
    FetchError::File { verb, what: "the lock".to_owned(), path: path.to_owned(), source }
}

/// An error of fetching for the user.
pub(super) fn failed(error: &FetchError) -> anyhow::Error {
    let exit = match error {
        FetchError::Location { .. } | FetchError::NoCache => Exit::Usage,
        _ => Exit::Failed,
    };
    Problem::One(error.said(), None, exit).into()
}

/// The cache that a cloud's artefacts are in.
pub(super) fn store(artifacts: &Artifacts, settings: &Settings) -> Result<Store, FetchError> {
    Store::new(settings.cache.as_deref(), artifacts.verify)
}

/// Gives components the charts and manifests that are at hand; with `network`,
/// fetches what is not. `Err(signal)` inside: interrupted.
pub(super) fn attach(
    loaded: &mut Loaded,
    settings: &Settings,
    network: Option<&Ui>,
) -> anyhow::Result<Result<(), Signal>> {
    let cloud = &loaded.file.cloud;
    let pinned = || {
        let components = loaded.components.iter().map(|resolved| &resolved.component);
        pinned(components, &cloud.bundle, &loaded.catalogue, settings)
    };
    let mut wanted = pinned()?;
    if wanted.artefacts.is_empty() {
        return Ok(Ok(()));
    }
    if let Some(ui) = network {
        if let Err(signal) = fetch(&wanted, &Wanted::of(cloud, settings, PATIENCE), settings, ui)? {
            return Ok(Err(signal));
        }
        // What was fetched now may have been locked now.
        wanted = pinned()?;
    }
    let store = match store(&cloud.artifacts, settings) {
        Ok(store) => store,
        // Without a cache nothing is at hand.
        Err(FetchError::NoCache) if network.is_none() => return Ok(Ok(())),
        Err(error) => return Err(failed(&error)),
    };
    let held: Vec<Option<Bytes>> = loaded
        .components
        .iter()
        .map(|resolved| {
            let own = Artefact::of(&resolved.component).map_err(|found| Problem::Findings(vec![found]))?;
            let pinned = own.and_then(|own| wanted.artefacts.iter().find(|one| one.id == own.id));
            pinned.map_or(Ok(None), |one| store.get(one)).map_err(|error| failed(&error))
        })
        .collect::<anyhow::Result<_>>()?;
    // Without pins there are schemas only where all is taken unverified.
    let schemas = !store.verifies() || wanted.lock.0.keys().any(|id| id.kind == Kind::Schema);
    for (resolved, bytes) in loaded.components.iter_mut().zip(held) {
        resolved.artefact = bytes;
        if let Some(bytes) = resolved.artefact.as_ref().filter(|_| schemas && resolved.is_chart())
            && let Ok(chart) = Chart::from_archive(bytes, &Limits::default())
        {
            resolved.schemas = schemas::held(&chart, &wanted.lock, &store);
        }
    }
    Ok(Ok(()))
}

/// What fetching takes.
pub(super) struct Tools {
    store: Store,
    network: Network,
    mirror: Option<Mirror>,
    reporter: Box<dyn Reporter>,
}

impl Tools {
    /// Collects it from what the user says.
    pub(super) fn new(wanted: &Wanted<'_>, settings: &Settings, ui: &Ui) -> anyhow::Result<Self> {
        let Wanted { artifacts, base, patience, .. } = *wanted;
        let store = store(artifacts, settings).map_err(|error| failed(&error))?;
        let mirror =
            artifacts.mirror.as_deref().map(Mirror::parse).transpose().map_err(|error| failed(&error))?;
        let proxy = |environment: &Option<Secret<String>>| {
            artifacts.proxy.clone().map(Secret::new).or_else(|| environment.clone())
        };
        let network = Network {
            http_proxy: proxy(&settings.proxy.http),
            https_proxy: proxy(&settings.proxy.https),
            no_proxy: settings.proxy.none.clone(),
            ca: artifacts.ca.as_ref().map(|path| base.join(path)),
            docker_config: settings.docker_config.clone(),
            patience,
        };
        Ok(Self { store, network, mirror, reporter: ui.progress() })
    }

    /// Prepares; nothing is sent.
    pub(super) fn fetcher(&self) -> anyhow::Result<Fetcher<'_>> {
        Fetcher::new(&self.network, &self.store, self.mirror.clone(), &*self.reporter)
            .map_err(|error| failed(&error))
    }
}

/// Fetches, with the schemas that charts need, and locks what nothing pinned before. `Err(signal)` inside: interrupted.
pub(super) fn fetch(
    pinned: &Pinned,
    wanted: &Wanted<'_>,
    settings: &Settings,
    ui: &Ui,
) -> anyhow::Result<Result<Vec<Fetched>, Signal>> {
    let Pinned { artefacts, lock } = pinned;
    let tools = Tools::new(wanted, settings, ui)?;
    let fetcher = tools.fetcher()?;
    let answers = interruptible(async {
        let (mut done, mut said) = (Vec::new(), Vec::new());
        for answer in fetcher.all(artefacts, settings.concurrency).await {
            match answer {
                Ok(one) => done.push(one),
                Err(error) => said.push(error.said()),
            }
        }
        if wanted.schemas {
            let charts = schemas::charts(artefacts, &done, &tools.store);
            done.extend(schemas::fetch(&charts, lock, &fetcher, settings.concurrency).await);
        }
        (done, said)
    })?;
    let (done, mut said) = match answers {
        Ok(answers) => answers,
        Err(signal) => return Ok(Err(signal)),
    };
    // What came is locked even where something else failed: it is in the cache.
    said.extend(lock_new(&done, wanted.bundle, settings, &fetcher)?);
    if said.is_empty() { Ok(Ok(done)) } else { Err(many(said, artefacts.len()).into()) }
}

/// Fetches the schemas that a chart needs and that are not in the cache, and locks those that nothing pinned before.
/// Answers all that there are, by URL. `Err(signal)` inside: interrupted.
pub(super) fn schemas_of(
    chart: &Chart,
    wanted: &Wanted<'_>,
    settings: &Settings,
    ui: &Ui,
) -> anyhow::Result<Result<BTreeMap<String, Bytes>, Signal>> {
    if chart.missing_schemas(&mut |_| None).is_empty() {
        return Ok(Ok(BTreeMap::new()));
    }
    let tools = Tools::new(wanted, settings, ui)?;
    let fetcher = tools.fetcher()?;
    let lock = own(wanted.bundle, settings)?;
    let charts = std::slice::from_ref(chart);
    let done = match interruptible(schemas::fetch(charts, &lock, &fetcher, settings.concurrency))? {
        Ok(done) => done,
        Err(signal) => return Ok(Err(signal)),
    };
    if let Some(said) = lock_new(&done, wanted.bundle, settings, &fetcher)?.into_iter().next() {
        return Err(Problem::One(said, None, Exit::Failed).into());
    }
    let lock = own(wanted.bundle, settings)?;
    Ok(Ok(schemas::held(chart, &lock, &tools.store)))
}

/// Waits for work, or for a signal.
fn interruptible<T>(work: impl Future<Output = T>) -> anyhow::Result<Result<T, Signal>> {
    Ok(super::flow::runtime()?.block_on(async {
        tokio::select! {
            biased;
            signal = signals::listen() => Err(signal),
            done = work => Ok(done),
        }
    }))
}

/// Fetches files of a release of Kubernetes. `Err(signal)` inside: interrupted.
pub(super) async fn binaries(
    needed: &[Binary],
    wanted: &Wanted<'_>,
    settings: &Settings,
    ui: &Ui,
) -> anyhow::Result<Result<Vec<Held>, Signal>> {
    let tools = Tools::new(wanted, settings, ui)?;
    let fetcher = tools.fetcher()?;
    let answers = tokio::select! {
        biased;
        signal = signals::listen() => return Ok(Err(signal)),
        answers = fetcher.files(needed, settings.concurrency) => answers,
    };
    let (done, failed): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    let said: Vec<Said> = failed.into_iter().filter_map(Result::err).map(|error| error.said()).collect();
    if said.is_empty() {
        Ok(Ok(done.into_iter().filter_map(Result::ok).collect()))
    } else {
        Err(many(said, needed.len()).into())
    }
}

fn many(said: Vec<Said>, of: usize) -> Problem {
    let summary = format!("{} of {of} could not be fetched", crate::ui::text::count(said.len(), "artefact"));
    Problem::Several { said, summary, exit: Exit::Failed }
}

/// Adds pins for what has none to the lock beside the bundle, or to the user's own where that cannot be written; tells
/// where. Answers what another run pinned meanwhile to other bytes.
fn lock_new(
    done: &[Fetched],
    bundle: &BundleName,
    settings: &Settings,
    fetcher: &Fetcher<'_>,
) -> anyhow::Result<Vec<Said>> {
    let new: Vec<&Fetched> = done.iter().filter(|one| one.is_new).collect();
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let add = |path: PathBuf| -> anyhow::Result<(PathBuf, Vec<Option<Pin>>)> {
        let pins = new.iter().map(|one| Pin { url: one.url.clone(), sha256: one.sha256 });
        let others = change(&path, bundle, |lock| {
            let added = new.iter().zip(pins).map(|(one, pin)| lock.add(one.id.clone(), pin).err());
            added.collect()
        })?;
        Ok((path, others))
    };
    let own = own_path(bundle, settings);
    let (path, others) = if let Some(path) = catalogue::lock_path(&settings.catalogue, bundle) {
        match (add(path), own) {
            // A catalogue that others look after.
            (Err(_), Some(own)) => add(own)?,
            (added, _) => added?,
        }
    } else {
        add(own.ok_or_else(|| Problem::One(no_state(), None, Exit::Usage))?)?
    };
    let mut said = Vec::new();
    for (Fetched { id, url, sha256, .. }, other) in new.into_iter().zip(others) {
        if let Some(other) = other {
            said.push(FetchError::differs(id, url, other.sha256, *sha256).said());
        } else {
            let path = path.display();
            fetcher.warn(format!("{id} had no confirmed digest: locked as sha256 {sha256} in {path}"));
        }
    }
    Ok(said)
}

fn no_state() -> Said {
    Said {
        code: Code(8011),
        message: "there is no place for locks: neither XDG_STATE_HOME nor HOME is set".to_owned(),
        hint: Some("set one of them".to_owned()),
    }
}

/// How a command ends that a signal interrupted.
pub(super) fn interrupted(signal: Signal, command: &str, ui: &Ui) -> Exit {
    ui.note(format!("interrupted: what is in the cache stays there, and `{command}` goes on from here"));
    signals::exit(signal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::artefact::{Digest, Id, artefacts};

    fn id(name: String) -> Id {
        Id { kind: Kind::Chart, name, version: "1.0.0".to_owned() }
    }

    fn pin(text: &str) -> Pin {
        Pin { url: "https://x/a.tgz".to_owned(), sha256: Digest::of(text.as_bytes()) }
    }

    #[test]
    fn pins_that_others_add_at_the_same_time_are_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundles/edge.lock");
        let bundle: BundleName = "edge".parse().unwrap();
        std::thread::scope(|scope| {
            for run in 0..8 {
                let (path, bundle) = (&path, &bundle);
                scope.spawn(move || {
                    for count in 0..20 {
                        let id = id(format!("chart-{run}-{count}"));
                        change(path, bundle, |lock| lock.add(id, pin("a"))).unwrap().unwrap();
                    }
                });
            }
        });
        assert_eq!(read(&path, &bundle).unwrap().0.len(), 160);
    }

    #[test]
    fn what_is_pinned_meanwhile_to_other_bytes_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.lock");
        let bundle: BundleName = "edge".parse().unwrap();
        let add = |text| change(&path, &bundle, |lock| lock.add(id("a".to_owned()), pin(text))).unwrap();
        assert_eq!(add("a"), Ok(()));
        assert_eq!(add("a"), Ok(()));
        assert_eq!(add("b"), Err(pin("a")));
        assert_eq!(read(&path, &bundle).unwrap().0.into_values().collect::<Vec<_>>(), [pin("a")]);
    }

    #[test]
    fn everything_in_the_built_in_bundles_is_locked() {
        let files = catalogue::built_in();
        let (catalogue, findings) = Catalogue::load(&files);
        assert!(findings.is_empty(), "{findings:?}");
        for name in catalogue.bundles.keys() {
            let entries = catalogue.flatten(name).unwrap();
            let components = entries.keys().map(|name| &catalogue.components[name].component);
            let lock = catalogue.lock(name);
            for mut artefact in artefacts(components).unwrap() {
                let own = artefact.sha256;
                lock.pin(&mut artefact);
                let pin = lock.0.get(&artefact.id).unwrap_or_else(|| panic!("{} is not locked", artefact.id));
                assert!(own.is_none_or(|own| own == pin.sha256), "{} has two digests", artefact.id);
            }
            let file = files.get(&format!("bundles/{name}.lock")).unwrap();
            let written = Lock::read(name.as_str(), file).unwrap().text(name);
            assert_eq!(String::from_utf8_lossy(&file.bytes), written, "as `cozy bundle lock` writes it");
        }
    }
}
