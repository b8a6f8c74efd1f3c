//! `cozy install`: plan, confirm, run with gates; or the same as a rehearsal.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::OptionFuture;
use jiff::Timestamp;
use serde_json::json;
use tokio::time::Instant;

use super::allow::Allow;
use super::artefacts;
use super::desire::{self, Before};
use super::existing;
use super::flow::{self, Loaded};
use super::hosts::Purpose;
use super::plan::{OwnFacts, Place, Planned, planned};
use super::preflight::{WorkArgs, leave_out, skipped};
use super::{secrets, signals, unplanned};
use crate::cluster::Cluster;
use crate::cluster::error::ClusterError;
use crate::cluster::inventory::Inventories;
use crate::cluster::lease::Lock;
use crate::cluster::suspend::SuspendCheck;
use crate::error::{Exit, Problem};
use crate::execute::event::{EventKind, Outcome, Reporter};
use crate::execute::hosts::{Hosts, NoHosts};
use crate::execute::retry;
use crate::execute::run::{self, Finished, Options, Shared, Stop};
use crate::model::cloud::Provider;
use crate::model::mask::Masks;
use crate::plan::Plan;
use crate::plan::planner::{self, Allowed, Desired, Observed};
use crate::provider::kubeadm::Runner;
use crate::rehearsal::faults::{self, FaultError, Faults, Injected};
use crate::rehearsal::{Rehearsal, Script, SimulatedNode};
use crate::render::{Missing, Rendered};
use crate::settings::{self, Settings, Switch, ThisMachine};
use crate::ui::diagnosis::Facts;
use crate::ui::picture::{self, Form, Picture};
use crate::ui::timeline::Timeline;
use crate::ui::{Format, Tee, Ui, log, plan as draw};

/// Flags of `cozy install`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Run the whole plan on a simulated cluster; nothing real is touched
    #[arg(long)]
    rehearse: bool,
    /// The seed of the faults that `--inject` lets happen by chance
    #[arg(long, value_name = "N", default_value_t = 0, requires = "rehearse")]
    seed: u64,
    /// Let something go wrong in the rehearsal, such as `api=503:5%`; `help` lists what can (repeatable)
    #[arg(long, value_name = "FAULT")]
    inject: Vec<String>,
    /// Write when what happened, and why: FILE.svg, FILE.html or FILE.json
    #[arg(long, value_name = "FILE", value_parser = timeline_file, env = "COZY_TIMELINE")]
    timeline: Option<String>,
    /// Do not ask
    #[arg(long, env = "COZY_YES", value_parser = Switch)]
    yes: bool,
    /// How long each component may be at work until it is ready, instead of its own deadline; waiting for others does
    /// not count. On hosts: how long each step may take
    #[arg(long, value_name = "DURATION", value_parser = settings::span, env = "COZY_TIMEOUT")]
    timeout: Option<Duration>,
    /// How long to wait for another run that works on this cluster, instead of giving up
    #[arg(long, value_name = "DURATION", value_parser = settings::span, env = "COZY_WAIT_LOCK")]
    wait_lock: Option<Duration>,
    #[command(flatten)]
    allow: Allow,
    #[command(flatten)]
    hosts: WorkArgs,
}

/// Runs the command.
pub(super) fn run(args: &Args, settings: &Settings, ui: &Ui) -> anyhow::Result<Exit> {
    let Args { rehearse, seed, ref inject, ref timeline, yes, timeout, wait_lock, allow, ref hosts } = *args;
    let allowed = Allowed::from(allow);
    if ui.format() == Format::Yaml {
        return Err(Problem::new(
            7003,
            Exit::Usage,
            "`install` has no YAML output",
            "use `-o json`: one event a line",
        )
        .into());
    }
    if inject.iter().any(|fault| fault == "help") {
        return known_faults(ui);
    }
    skipped(&hosts.look)?;
    let injected = injected(inject, rehearse)?;
    timeline.as_deref().map_or(Ok(()), flow::writable)?;
    if !rehearse && !yes && !settings.interactive {
        // Not an error yet: there may be nothing to confirm.
        ui.note("note: nobody can be asked here: without `--yes` nothing is written");
    }
    let mut loaded = flow::load(settings)?;
    flow::own_version(&loaded.file.cloud)?;
    flow::warn(&loaded, ui);
    unplanned::supported(&loaded)?;
    if !rehearse {
        secrets::read(&mut loaded, settings)?;
    }
    if let Err(signal) = artefacts::attach(&mut loaded, settings, (!rehearse).then_some(ui))? {
        return Ok(artefacts::interrupted(signal, "cozy install", ui));
    }
    let options = Options {
        concurrency: settings.concurrency,
        force_conflicts: allowed.conflicts,
        timeout,
        cloud: Some(loaded.file.cloud.name.to_string()),
    };
    let run = Run {
        settings,
        ui,
        loaded: &loaded,
        options,
        yes,
        wait_lock: wait_lock.unwrap_or_default(),
        timeline: Arc::default(),
        picture: timeline.as_deref(),
        injected: said_again(inject, seed, timeout),
    };
    if rehearse {
        let desired = flow::desired(&loaded, flow::rendered(&loaded, Missing::StandIn)?, allowed);
        let existing = loaded.file.cloud.kubernetes.provider == Provider::Existing;
        let plan = planner::plan(&desired, &Observed::nothing(existing))
            .map_err(|errors| unplanned::no_plan(errors, &loaded.components))?;
        flow::mention_idle_gates(&desired, ui);
        let faults = Faults::new(&injected, seed, &plan).map_err(|error| no_fault(&error))?;
        run.rehearsed(&desired, &plan, faults)
    } else {
        let rendered = desire::refuse(&loaded)?;
        flow::runtime()?.block_on(run.real(hosts, rendered, allowed))
    }
}

/// Lists the faults that can be injected.
fn known_faults(ui: &Ui) -> anyhow::Result<Exit> {
    if ui.format() == Format::Text {
        let lines = faults::KNOWN.iter().map(|(form, what)| format!("{form}\n    {what}\n"));
        ui.data(&lines.collect::<String>())?;
    } else {
        let known = faults::KNOWN.iter().map(|(form, what)| json!({ "form": form, "what": what }));
        ui.document(&json!({ "schema": "cozy/v1/faults", "faults": known.collect::<Vec<_>>() }))?;
    }
    Ok(Exit::Done)
}

/// A file that a timeline can be written to.
fn timeline_file(file: &str) -> Result<String, String> {
    match Form::of(file) {
        Some(_) => Ok(file.to_owned()),
        None => Err("name a file that ends in .svg, .html or .json".to_owned()),
    }
}

/// Reads the faults; without a rehearsal there are none.
fn injected(texts: &[String], rehearse: bool) -> anyhow::Result<Vec<Injected>> {
    if !rehearse && !texts.is_empty() {
        let hint = "add --rehearse: nothing is broken on purpose for real";
        return Err(Problem::new(7007, Exit::Usage, "`--inject` needs a rehearsal", hint).into());
    }
    Ok(texts.iter().map(|text| text.parse()).collect::<Result<_, _>>().map_err(|error| no_fault(&error))?)
}

/// The flags that make a rehearsal the same once more.
fn said_again(faults: &[String], seed: u64, timeout: Option<Duration>) -> String {
    let faults = faults.iter().map(|fault| format!(" --inject {}", settings::quoted(fault)));
    let seed = (seed > 0).then(|| format!(" --seed {seed}"));
    let timeout = timeout.map(|timeout| match timeout.subsec_millis() {
        0 => format!(" --timeout {}s", timeout.as_secs()),
        _ => format!(" --timeout {}ms", timeout.as_millis()),
    });
    faults.chain(seed).chain(timeout).collect()
}

fn no_fault(error: &FaultError) -> Problem {
    Problem::new(7006, Exit::Usage, error.to_string(), "`cozy install --inject help` lists the faults")
}

/// How long an API server that does not answer well is asked for the lock.
const LOCKING: Duration = Duration::from_secs(30);

struct Run<'a> {
    settings: &'a Settings,
    ui: &'a Ui,
    loaded: &'a Loaded,
    options: Options,
    yes: bool,
    /// How long another run is waited for.
    wait_lock: Duration,
    timeline: Arc<Mutex<Timeline>>,
    /// Where the picture of the run goes.
    picture: Option<&'a str>,
    /// The flags of its faults, for a shell.
    injected: String,
}

impl Run<'_> {
    fn show(&self, plan: &Plan, facts: &OwnFacts, rehearsal: bool) {
        if self.ui.format() == Format::Text {
            self.ui.note(draw::plan_text(plan, &facts.borrow(rehearsal), self.ui.width()).trim_end());
        }
    }

    /// Shows the plan and asks; `false`: declined.
    async fn confirm(&self, plan: &Plan, facts: &OwnFacts) -> anyhow::Result<bool> {
        self.show(plan, facts, false);
        let question = format!("install this on cloud {}?", self.loaded.file.cloud.name);
        flow::confirm(&question, self.yes, self.settings).await
    }

    /// Reports to the user, the timeline, and the run's log.
    fn reporter(&self, log: Option<&Arc<log::Log>>) -> Tee {
        let mut all: Vec<Arc<dyn Reporter>> =
            vec![Arc::from(self.ui.reporter()), Arc::clone(&self.timeline) as Arc<dyn Reporter>];
        if let Some(log) = log {
            all.push(Arc::clone(log) as Arc<dyn Reporter>);
        }
        Tee(all)
    }

    fn rehearsed(&self, desired: &Desired, plan: &Plan, faults: Faults) -> anyhow::Result<Exit> {
        let facts = OwnFacts::new(self.loaded, &flow::version(&self.loaded.file.cloud));
        // It touches nothing: there is nothing to confirm.
        self.show(plan, &facts, true);
        let mut samples = Vec::new();
        for component in &self.loaded.components {
            let found = flow::samples(&component.component, &component.files)
                .map_err(|said| Problem::Many(vec![said]))?;
            samples.extend(found.into_iter().flat_map(|(_, ready, _)| ready));
        }
        let log = self.open_log();
        let reporter = self.reporter(log.as_ref());
        let rehearsal = Rehearsal {
            nodes: SimulatedNode::of(&self.loaded.file.cloud),
            script: Script::new(plan, desired, samples, faults),
            started: facts.started(plan, true),
            options: self.options.clone(),
            signal: signals::listen().boxed(),
        };
        let rehearsed = rehearsal.run(plan, &reporter)?;
        drop(reporter);
        for request in &rehearsed.not_simulated {
            self.ui.note(format!("not simulated: {request}"));
        }
        let same = self.settings.same();
        let (next, again) = (
            format!("cozy install{same} does the same for real"),
            format!("cozy install --rehearse{same}{} rehearses it again", self.injected),
        );
        let words = Words { facts: facts.borrow(true), next: &next, again: &again };
        self.end(plan, &rehearsed.finished, log.as_deref(), &words)
    }

    /// `rendered`: the components, where they are the same for every cluster.
    async fn real(
        &self,
        hosts: &WorkArgs,
        rendered: Option<Vec<Rendered>>,
        allowed: Allowed,
    ) -> anyhow::Result<Exit> {
        let kubeadm = self.loaded.file.cloud.kubernetes.provider == Provider::Kubeadm;
        let (runner, cluster, before) = if kubeadm {
            // Where another run is waited for, what it does meanwhile counts.
            let ahead =
                self.wait_lock.is_zero().then(|| super::hosts::ahead(&self.loaded.file.cloud, self.settings));
            let ahead = OptionFuture::from(ahead).map(Option::flatten);
            let runner = match self.runner(hosts).await? {
                Ok(runner) => runner,
                Err(exit) => return Ok(exit),
            };
            let cluster = runner.cluster(ahead, |said| self.ui.note(said)).await.map_err(flow::failure)?;
            let (cluster, said) = cluster.unzip();
            (Some(runner), cluster, Before::of(said.flatten(), rendered))
        } else {
            let cluster = flow::connect(&self.loaded.file.cloud, self.settings, self.ui).await?;
            let (mut findings, about) = existing::basics(self.loaded, &cluster, self.settings).await?;
            let skipped = leave_out(&mut findings, &skipped(&hosts.look)?);
            if let Some(exit) = existing::refused(self.loaded, &findings, skipped, self.ui) {
                return Ok(exit);
            }
            (None, Some(cluster), Before { about: Some(about), rendered, ..Before::default() })
        };
        let Settled { plan, facts, inventories, masks, mut lock } =
            match self.settled(cluster.as_ref(), runner.as_ref(), before, allowed).await? {
                Ok(settled) => settled,
                Err(exit) => return Ok(exit),
            };
        let hosts: &dyn Hosts = runner.as_ref().map_or(&NoHosts, |runner| runner);
        let log = self.open_log();
        let reporter = self.reporter(log.as_ref());
        let mut shared = Shared::new(cluster.as_ref(), hosts, &reporter, self.options.clone())
            .with_operators(&plan)
            .with_masks(masks);
        // Only who holds a lock renews it, and so hears that it is still theirs.
        if lock.is_some() {
            shared = shared.with_suspends(SuspendCheck::new(settings::uptime));
        }
        shared.report(facts.started(&plan, false));
        let finished = {
            let stop = stop(&shared, lock.as_mut());
            run::run(&shared, &plan, inventories.all, stop).await
        };
        if finished.outcome != Outcome::LockLost
            && let Some(lock) = lock
            && let Err(error) = lock.release().await
        {
            self.ui.note(format!("the lock could not be given back, and expires by itself: {error}"));
        }
        drop(shared);
        drop(reporter);
        let same = self.settings.same();
        let next = if kubeadm {
            format!("cozy install{same} changes nothing when all is well")
        } else {
            format!("cozy status{same}")
        };
        let again = format!("cozy install{same} goes on from here");
        let words = Words { facts: facts.borrow(false), next: &next, again: &again };
        self.end(&plan, &finished, log.as_deref(), &words)
    }

    /// Plans, asks, and takes the lock: again when another run was at work meanwhile. `Err`: there is nothing to do, or
    /// it was declined.
    async fn settled(
        &self,
        cluster: Option<&Cluster>,
        runner: Option<&Runner>,
        mut before: Before,
        allowed: Allowed,
    ) -> anyhow::Result<Result<Settled, Exit>> {
        let hosts: &dyn Hosts = runner.map_or(&NoHosts, |runner| runner);
        let patience = Instant::now() + self.wait_lock;
        loop {
            // Where another run was at work meanwhile, all is found out again.
            let place = Place { cluster, runner, before: std::mem::take(&mut before) };
            let Planned { plan, facts, inventories, masks } =
                planned(self.loaded, place, allowed, self.settings, self.ui).await?;
            if plan.is_empty() {
                return self.nothing_to_do(&plan, (inventories, cluster, hosts), &facts).await.map(Err);
            }
            if !self.confirm(&plan, &facts).await? {
                self.ui.note("declined: nothing was written");
                return Ok(Err(Exit::Failed));
            }
            // Before there is an API server, the names of the units on hosts exclude a second run.
            let Some(cluster) = cluster else {
                return Ok(Ok(Settled { plan, facts, inventories, masks, lock: None }));
            };
            if let Some(lock) = self.lock(cluster, &inventories, patience).await.map_err(flow::cluster)? {
                return Ok(Ok(Settled { plan, facts, inventories, masks, lock: Some(lock) }));
            }
            self.ui.note("another run was at work: looking again");
        }
    }

    /// The hosts, with certificates and settings that let work be done.
    async fn runner(&self, hosts: &WorkArgs) -> anyhow::Result<Result<Runner, Exit>> {
        let purpose = Purpose::Install(self.wait_lock);
        let found = super::hosts::runner(hosts, purpose, self.loaded, self.settings, self.ui).await?;
        let runner = match found {
            Ok(runner) => runner,
            Err(exit) => return Ok(Err(exit)),
        };
        let Some(plan) = super::hosts::urgent(&runner, self.ui)? else { return Ok(Ok(runner)) };
        let facts = OwnFacts::new(self.loaded, runner.version());
        if !self.confirm(&plan, &facts).await? {
            self.ui.note("declined: nothing was written");
            return Ok(Err(Exit::Failed));
        }
        let log = self.open_log();
        let reporter = self.reporter(log.as_ref());
        let shared = Shared::new(None, &runner, &reporter, self.options.clone());
        shared.report(facts.started(&plan, false));
        let stop = stop(&shared, None);
        let finished = run::run(&shared, &plan, Inventories::default().all, stop).await;
        drop(shared);
        drop(reporter);
        if finished.outcome != Outcome::Done {
            let again = format!("cozy install{} goes on from here", self.settings.same());
            let words = Words { facts: facts.borrow(false), next: &again, again: &again };
            return Ok(Err(self.end(&plan, &finished, log.as_deref(), &words)?));
        }
        runner.again().await.map(Ok).map_err(super::hosts::refused)
    }

    async fn nothing_to_do(
        &self,
        plan: &Plan,
        (inventories, cluster, hosts): (Inventories, Option<&Cluster>, &dyn Hosts),
        facts: &OwnFacts,
    ) -> anyhow::Result<Exit> {
        self.show(plan, facts, false);
        let reporter: Box<dyn Reporter> = match self.ui.format() {
            Format::Text => Box::new(Tee(Vec::new())),
            Format::Json | Format::Yaml => self.ui.reporter(),
        };
        let shared = Shared::new(cluster, hosts, &*reporter, self.options.clone());
        shared.report(facts.started(plan, false));
        let finished = run::run(&shared, plan, inventories.all, std::future::pending().boxed_local()).await;
        Ok(exit(&finished))
    }

    /// Takes the lock; `None`: another run had it since the cluster was looked at.
    async fn lock(
        &self,
        cluster: &Cluster,
        inventories: &Inventories,
        patience: Instant,
    ) -> Result<Option<Lock>, ClusterError> {
        let soon = Instant::now() + LOCKING;
        let locker = cluster.locker()?;
        let holder = settings::holder("cozy install");
        let take = async || match locker.take(&holder, &ThisMachine).await {
            // The first run on a cluster makes the namespace that the lock is in.
            Err(error) if error.is_not_found() => {
                cluster.ensure_system_namespace().await?;
                locker.take(&holder, &ThisMachine).await
            }
            taken => taken,
        };
        match retry::until(soon, take, |_| {}).await {
            Ok(lock) => match cluster.inventories_state().await.map(|now| now == inventories.state) {
                Ok(true) => Ok(Some(lock)),
                Ok(false) => lock.release().await.map(|()| None),
                Err(error) => {
                    // Else others would wait until it expires. The first error says more than a second one.
                    let _ = lock.release().await;
                    Err(error)
                }
            },
            Err(ClusterError::Locked { holder }) if Instant::now() < patience => {
                self.ui.note(format!("waiting for {holder}"));
                locker.wait(&ThisMachine, patience).await.map(|()| None)
            }
            Err(error) => Err(error),
        }
    }

    fn open_log(&self) -> Option<Arc<log::Log>> {
        let Some(folder) = self.settings.logs.as_deref() else {
            self.ui.note("this run has no log: neither XDG_STATE_HOME nor HOME is set");
            return None;
        };
        match log::Log::create(folder, self.loaded.file.cloud.name.as_str(), Timestamp::now()) {
            Ok(log) => Some(Arc::new(log)),
            Err(error) => {
                // An install is worth more than its log.
                self.ui.note(format!("this run has no log: {error}"));
                None
            }
        }
    }

    /// The timeline, the summary, and the diagnosis as the last thing on the screen.
    fn end(
        &self,
        plan: &Plan,
        finished: &Finished,
        log: Option<&log::Log>,
        words: &Words<'_>,
    ) -> anyhow::Result<Exit> {
        let timeline = self.timeline.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unwritten = false;
        if let Some(file) = self.picture {
            let form = Form::of(file).unwrap_or(Form::Json);
            let picture = Picture::new(plan, &words.facts, &timeline.course(plan));
            // A run is worth more than its picture.
            if let Err(error) = flow::written(file, &picture.render(form)?) {
                flow::tell(&error, self.ui);
                unwritten = true;
            }
        }
        if self.ui.format() == Format::Text {
            let next = match finished.outcome {
                Outcome::Done => words.next,
                Outcome::Failed | Outcome::Interrupted | Outcome::Terminated | Outcome::LockLost => {
                    words.again
                }
            };
            let shorter = match finished.outcome {
                Outcome::Done => picture::shorter(plan, &timeline.course(plan).costs),
                _ => Vec::new(),
            };
            self.ui.note(timeline.render(plan, self.ui.width()).trim_end());
            self.ui.note(timeline.summary(plan, &shorter, next, self.ui.width()).trim_end());
            if finished.outcome != Outcome::Done {
                if let Some(log) = log {
                    self.ui.note(format!("log     {}", log.path().display()));
                }
                let failures = timeline.failures(self.ui.paint(), self.ui.width());
                if !failures.is_empty() {
                    self.ui.error(&failures);
                }
            }
        }
        if let Some(why) = self.ui.unwritten() {
            self.ui.error(&format!("error: events could not be written to stdout: {why}"));
            unwritten = true;
        }
        Ok(match exit(finished) {
            Exit::Done if unwritten => Exit::Failed,
            exit => exit,
        })
    }
}

/// A plan that was agreed to, and what it was made from.
struct Settled {
    plan: Plan,
    facts: OwnFacts,
    inventories: Inventories,
    /// What nothing may show.
    masks: Masks,
    /// `None`: there is no API server yet that could hold a lock.
    lock: Option<Lock>,
}

/// What is said at the end of a run.
struct Words<'a> {
    facts: Facts<'a>,
    /// What to type when all is done.
    next: &'a str,
    /// What to type when it is not.
    again: &'a str,
}

/// How the process ends after a run.
pub(super) fn exit(finished: &Finished) -> Exit {
    match finished.outcome {
        Outcome::Done => Exit::Done,
        // 3000: not ready in time or unhealthy.
        // Another run works on a host, or did so while this one did not hold it.
        Outcome::Failed
            if finished.failures.iter().any(|(_, failure)| matches!(failure.code.0, 5027 | 5028)) =>
        {
            Exit::Locked
        }
        Outcome::Failed if finished.failures.iter().any(|(_, failure)| failure.code.0 / 1000 == 3) => {
            Exit::Unhealthy
        }
        Outcome::Failed => Exit::Failed,
        Outcome::Interrupted => Exit::Interrupted,
        Outcome::Terminated => Exit::Terminated,
        Outcome::LockLost => Exit::Locked,
    }
}

/// What ends a run: a signal, or that the lock is lost, which is renewed until the run has ended.
fn stop<'a>(shared: &'a Shared<'_>, lock: Option<&'a mut Lock>) -> Stop<'a> {
    let lost = async move {
        match lock {
            Some(lock) => shared.report(EventKind::Warning { message: lock.keep(&shared.suspends).await }),
            None => std::future::pending().await,
        }
    };
    Stop::new(shared.interrupted(signals::listen()), lost)
}
