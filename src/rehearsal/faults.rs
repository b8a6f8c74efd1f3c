//! The faults of `--inject`: how they are written, what each does, and what it does it to.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use cozy_sim::{Answers, Fault as Mishap, Flaky, Flaws, Trouble, Troubled};
use kube::Client;
use tokio::time::Instant;
use tower::Layer as _;

use super::hosts::HostFault;
use crate::model::duration::{Span, human};
use crate::model::object::ObjectId;
use crate::model::suggest::did_you_mean;
use crate::plan::{Plan, edges};

/// The most that requests may take longer.
const SLOWEST: Duration = Duration::from_secs(10 * 60);

/// How long the API server is away when it restarts, if nothing else is said.
const RESTART: Duration = Duration::from_secs(10);

/// How long a watch lasts when watches are dropped, if nothing else is said.
const DROPPED: Duration = Duration::from_secs(10);

/// How long a host is unreachable, if nothing else is said.
const UNREACHABLE: Duration = Duration::from_secs(30);

/// A fault, as it was written.
#[derive(Debug, Clone)]
pub(crate) struct Injected {
    text: String,
    fault: Fault,
}

impl fmt::Display for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[derive(Debug, Clone)]
enum Fault {
    /// A share of the requests, in percent, meets with a mishap.
    Api(Mishap, f64),
    Latency(Duration),
    Restart {
        at: Duration,
        lasts: Duration,
    },
    WatchDrop(Duration),
    WatchStall(Duration),
    WatchGone(Duration),
    Object {
        pattern: String,
        trouble: Trouble,
    },
    Webhook {
        name: String,
        answers: Answers,
        lasts: Option<Duration>,
    },
    ApiService {
        name: String,
        lasts: Option<Duration>,
    },
    Slow {
        component: String,
        factor: f64,
    },
    Host {
        name: String,
        mishap: HostFault,
    },
}

/// The faults that there are: how they are written, and what they do. The place of each `…` is the user's.
pub(crate) const KNOWN: &[(&str, &str)] = &[
    ("api=429:PERCENT%", "requests are answered 429 with Retry-After"),
    ("api=500:PERCENT%", "requests are answered 500 (503 and 504 likewise)"),
    ("api=reset:PERCENT%", "connections are reset before the server sees the request"),
    ("api=lost:PERCENT%", "connections are reset after the server has acted"),
    ("api=latency:DURATION", "each request takes that much longer"),
    ("api=restart@TIME[+DURATION]", "the API server is away, for 10s if not said"),
    ("watch=drop[:DURATION]", "each watch is cut after that long, 10s if not said"),
    ("watch=stall@TIME", "open watches fall silent without ending"),
    ("watch=gone@TIME", "watches are cut, and what they missed is forgotten (410 Gone)"),
    ("WORKLOAD/NAME=CrashLoopBackOff[+DURATION]", "its containers keep ending with code 1"),
    ("WORKLOAD/NAME=OOMKilled[+DURATION]", "its containers use too much memory"),
    ("WORKLOAD/NAME=ImagePullBackOff[+DURATION]", "its image cannot be pulled just now"),
    ("WORKLOAD/NAME=ErrImagePull[+DURATION]", "its image does not exist"),
    ("WORKLOAD/NAME=CreateContainerConfigError[+DURATION]", "a ConfigMap it names is not there"),
    ("WORKLOAD/NAME=Unschedulable[+DURATION]", "no node takes its pods"),
    ("WORKLOAD/NAME=FailedMount[+DURATION]", "a volume cannot be mounted"),
    ("KIND/NAME=silent[+DURATION]", "nobody acts on a claim, a Service or a custom resource"),
    ("webhook/NAME=down[+DURATION]", "its backend takes no connections"),
    ("webhook/NAME=deny[+DURATION]", "it lets nothing pass"),
    ("webhook/NAME=certificate[+DURATION]", "its certificate does not verify"),
    ("apiservice/NAME=down[+DURATION]", "its backend has no endpoints"),
    (
        "host/NAME=unreachable@TIME[+DURATION]",
        "nothing comes or goes, for 30s if not said; five minutes are waited for",
    ),
    ("host/NAME=refused@TIME", "nobody listens for SSH any more"),
    ("host/NAME=reboot@TIME", "it is started anew: what runs on it ends"),
    ("host/NAME=disk-full", "no space is left for what is put there"),
    ("host/NAME=slow:FACTOR", "all that is done on it takes that many times as long"),
    ("component/NAME=slow:FACTOR", "it takes that many times as long to become ready"),
];

/// Why a fault cannot be injected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FaultError {
    /// It is not written as faults are.
    #[error("`{text}` is not a fault: {problem}")]
    Form {
        /// The whole text.
        text: String,
        /// What is wrong.
        problem: String,
    },
    /// What it names is not in the plan.
    #[error("`{text}`: the plan has no {target}{hint}")]
    Unknown {
        /// The whole text.
        text: String,
        /// What is missing.
        target: String,
        /// The nearest that there is.
        hint: String,
    },
}

impl FromStr for Injected {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let fault = parse(text).map_err(|problem| FaultError::Form { text: text.to_owned(), problem })?;
        Ok(Self { text: text.to_owned(), fault })
    }
}

/// The parts after `=`: `WHAT[:AMOUNT][@TIME][+DURATION]`.
struct Parts<'a> {
    what: &'a str,
    amount: Option<&'a str>,
    at: Option<Duration>,
    lasts: Option<Duration>,
}

impl<'a> Parts<'a> {
    fn read(text: &'a str) -> Result<Self, String> {
        let span = |text: &str| text.parse::<Span>().map(|span| span.0).map_err(|error| error.to_string());
        let (rest, lasts) = match text.split_once('+') {
            Some((rest, lasts)) => (rest, Some(span(lasts)?)),
            None => (text, None),
        };
        let (rest, at) = match rest.split_once('@') {
            Some((rest, at)) => (rest, Some(span(at)?)),
            None => (rest, None),
        };
        let (what, amount) = match rest.split_once(':') {
            Some((what, amount)) => (what, Some(amount)),
            None => (rest, None),
        };
        Ok(Self { what, amount, at, lasts })
    }

    /// Refuses parts that this fault does not take.
    fn only(&self, amount: bool, at: bool, lasts: bool) -> Result<(), String> {
        for (given, taken, what) in [
            (self.amount.is_some(), amount, "amount (`:`)"),
            (self.at.is_some(), at, "time (`@`)"),
            (self.lasts.is_some(), lasts, "duration (`+`)"),
        ] {
            if given && !taken {
                return Err(format!("`{}` takes no {what}", self.what));
            }
        }
        Ok(())
    }

    fn amount(&self, what: &str) -> Result<&'a str, String> {
        self.amount.ok_or_else(|| format!("say how much: `{}:{what}`", self.what))
    }

    fn time(&self) -> Result<Duration, String> {
        self.at.ok_or_else(|| format!("say when: `{}@60s`", self.what))
    }
}

fn parse(text: &str) -> Result<Fault, String> {
    let (target, rest) = text
        .split_once('=')
        .ok_or_else(|| "it is written TARGET=FAULT; `--inject help` lists them".to_owned())?;
    let parts = Parts::read(rest)?;
    match target.split_once('/') {
        None => connection(target, &parts),
        Some((_, "")) => Err("the name after `/` is missing".to_owned()),
        Some(("component", name)) => {
            parts.only(true, false, false)?;
            expect(&parts, &["slow"])?;
            Ok(Fault::Slow { component: name.to_owned(), factor: factor(&parts)? })
        }
        Some(("host", name)) => Ok(Fault::Host { name: name.to_owned(), mishap: mishap(&parts)? }),
        Some(("webhook", name)) => {
            parts.only(false, false, true)?;
            let answers = match parts.what {
                "down" => Answers::Nothing,
                "deny" => Answers::Deny("denied by --inject".to_owned()),
                "certificate" => Answers::BadCertificate,
                _ => return Err(unknown(&parts, &["down", "deny", "certificate"])),
            };
            Ok(Fault::Webhook { name: name.to_owned(), answers, lasts: parts.lasts })
        }
        Some(("apiservice", name)) => {
            parts.only(false, false, true)?;
            expect(&parts, &["down"])?;
            Ok(Fault::ApiService { name: name.to_owned(), lasts: parts.lasts })
        }
        Some((kind, name)) => {
            parts.only(false, false, true)?;
            let what = match parts.what {
                "CrashLoopBackOff" => Troubled::CrashLoop,
                "OOMKilled" => Troubled::OutOfMemory,
                "ImagePullBackOff" => Troubled::ImagePull,
                "ErrImagePull" => Troubled::ImageMissing,
                "CreateContainerConfigError" => Troubled::Configuration,
                "Unschedulable" => Troubled::Unschedulable,
                "FailedMount" => Troubled::Mount,
                "silent" => Troubled::Silent,
                _ => return Err(unknown(&parts, &PODS)),
            };
            let trouble = Trouble { what, lasts: parts.lasts };
            Ok(Fault::Object { pattern: format!("{}/{name}", full_name(kind)), trouble })
        }
    }
}

fn factor(parts: &Parts<'_>) -> Result<f64, String> {
    let factor = parts.amount("3x")?.trim_end_matches('x').parse::<f64>();
    let factor = factor.ok().filter(|factor| (0.0..=1000.0).contains(factor));
    factor.ok_or_else(|| "a factor is a number of at most 1000, such as `3x`".to_owned())
}

/// What goes wrong with a host.
fn mishap(parts: &Parts<'_>) -> Result<HostFault, String> {
    let (amount, at, lasts) = match parts.what {
        "unreachable" => (false, true, true),
        "refused" | "reboot" => (false, true, false),
        "disk-full" => (false, false, false),
        "slow" => (true, false, false),
        _ => return Err(unknown(parts, &["unreachable", "refused", "reboot", "disk-full", "slow"])),
    };
    parts.only(amount, at, lasts)?;
    Ok(match parts.what {
        "unreachable" => {
            HostFault::Unreachable { at: parts.time()?, lasts: parts.lasts.unwrap_or(UNREACHABLE) }
        }
        "refused" => HostFault::Refused { at: parts.time()? },
        "reboot" => HostFault::Reboot { at: parts.time()? },
        "slow" => HostFault::Slow(factor(parts)?),
        _ => HostFault::DiskFull,
    })
}

const PODS: [&str; 8] = [
    "CrashLoopBackOff",
    "OOMKilled",
    "ImagePullBackOff",
    "ErrImagePull",
    "CreateContainerConfigError",
    "Unschedulable",
    "FailedMount",
    "silent",
];

fn connection(target: &str, parts: &Parts<'_>) -> Result<Fault, String> {
    let mishap = match (target, parts.what) {
        ("api", "429" | "500" | "503" | "504") => Mishap::Answer(parts.what.parse().unwrap_or(500)),
        ("api", "reset") => Mishap::Reset,
        ("api", "lost") => Mishap::Lost,
        ("api", "latency") => {
            parts.only(true, false, false)?;
            let span = parts.amount("200ms")?.parse::<Span>().map_err(|error| error.to_string())?;
            if span.0 > SLOWEST {
                return Err(format!("`{}` is longer than any request lasts: at most 10m", human(span.0)));
            }
            return Ok(Fault::Latency(span.0));
        }
        ("api", "restart") => {
            parts.only(false, true, true)?;
            return Ok(Fault::Restart { at: parts.time()?, lasts: parts.lasts.unwrap_or(RESTART) });
        }
        ("watch", "drop") => {
            parts.only(true, false, false)?;
            let after = parts.amount.map(|text| text.parse::<Span>().map_err(|error| error.to_string()));
            return Ok(Fault::WatchDrop(after.transpose()?.map_or(DROPPED, |span| span.0)));
        }
        ("watch", "stall") => {
            parts.only(false, true, false)?;
            return Ok(Fault::WatchStall(parts.time()?));
        }
        ("watch", "gone") => {
            parts.only(false, true, false)?;
            return Ok(Fault::WatchGone(parts.time()?));
        }
        ("api", _) => {
            return Err(unknown(parts, &["429", "500", "503", "504", "reset", "lost", "latency", "restart"]));
        }
        ("watch", _) => return Err(unknown(parts, &["drop", "stall", "gone"])),
        _ => {
            return Err(format!(
                "`{target}` is nothing that fails: use api, watch, or KIND/NAME; `--inject help` lists them"
            ));
        }
    };
    parts.only(true, false, false)?;
    let percent = parts.amount("5%")?.trim_end_matches('%').parse::<f64>();
    let percent = percent.ok().filter(|percent| (0.0..=100.0).contains(percent));
    Ok(Fault::Api(mishap, percent.ok_or("a share is a number from 0% to 100%")?))
}

fn expect(parts: &Parts<'_>, known: &[&str]) -> Result<(), String> {
    if known.contains(&parts.what) { Ok(()) } else { Err(unknown(parts, known)) }
}

fn unknown(parts: &Parts<'_>, known: &[&str]) -> String {
    format!("`{}` is unknown here; there are {}", parts.what, known.join(", "))
}

/// Kinds by kubectl's short names.
fn full_name(kind: &str) -> &str {
    match kind {
        "deploy" => "Deployment",
        "sts" => "StatefulSet",
        "ds" => "DaemonSet",
        "pvc" => "PersistentVolumeClaim",
        "svc" => "Service",
        other => other,
    }
}

/// All faults of a rehearsal, sorted by whom they concern.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// What was written, for people.
    pub(super) injected: Vec<String>,
    /// What happens on the way to the API server.
    flaws: Flaws,
    /// When the API server forgets the past.
    forgets: Vec<Duration>,
    /// How webhooks answer, by configuration.
    webhooks: Vec<(String, Answers, Option<Duration>)>,
    troubles: Vec<(String, Trouble)>,
    slow: Vec<(String, f64)>,
    /// What goes wrong with hosts, by name.
    pub(super) hosts: Vec<(String, HostFault)>,
}

impl Faults {
    /// Checks that the plan has what the faults name.
    pub(crate) fn new(injected: &[Injected], seed: u64, plan: &Plan) -> Result<Self, FaultError> {
        let mut faults = Self { flaws: Flaws { seed, ..Flaws::default() }, ..Self::default() };
        for one in injected {
            faults.injected.push(one.text.clone());
            faults.add(one, plan)?;
        }
        Ok(faults)
    }

    fn add(&mut self, one: &Injected, plan: &Plan) -> Result<(), FaultError> {
        let missing =
            |target: String, hint: String| Err(FaultError::Unknown { text: one.text.clone(), target, hint });
        match &one.fault {
            Fault::Api(mishap, percent) => self.flaws.chances.push((*mishap, *percent)),
            Fault::Latency(latency) => self.flaws.latency += *latency,
            Fault::Restart { at, lasts } => self.flaws.outages.push((*at, *lasts)),
            Fault::WatchDrop(after) => self.flaws.cut_watches = Some(*after),
            Fault::WatchStall(at) => self.flaws.stalls.push(*at),
            Fault::WatchGone(at) => {
                self.flaws.outages.push((*at, Duration::ZERO));
                self.forgets.push(*at);
            }
            Fault::Object { pattern, trouble } => {
                // Claims are also made by StatefulSets.
                let made_later = pattern.starts_with("PersistentVolumeClaim/");
                if !made_later && !ids(plan).any(|id| edges::names(pattern, id)) {
                    let kind = pattern.split(['/', '.']).next().unwrap_or_default();
                    let same = ids(plan).filter(|id| id.kind.kind.eq_ignore_ascii_case(kind));
                    let names: Vec<&str> = same.map(|id| id.name.as_str()).collect();
                    let wanted = pattern.rsplit('/').next().unwrap_or_default();
                    return missing(pattern.clone(), hint(wanted, &names));
                }
                self.troubles.push((pattern.clone(), *trouble));
            }
            Fault::Webhook { name, answers, lasts } => {
                let webhooks: Vec<&str> = ids(plan)
                    .filter(|id| id.kind.kind.ends_with("WebhookConfiguration"))
                    .map(|id| id.name.as_str())
                    .collect();
                if !webhooks.contains(&name.as_str()) {
                    return missing(format!("webhook configuration {name}"), hint(name, &webhooks));
                }
                self.webhooks.push((name.clone(), answers.clone(), *lasts));
            }
            Fault::ApiService { name, lasts } => {
                let objects =
                    || plan.steps.iter().flat_map(|step| &step.actions).filter_map(|it| it.object.as_ref());
                let services = || objects().filter(|object| object.aggregates().is_some());
                let Some(object) = services().find(|object| object.id.name == *name) else {
                    let names: Vec<&str> = services().map(|object| object.id.name.as_str()).collect();
                    return missing(
                        format!("APIService {name} with a server of its own"),
                        hint(name, &names),
                    );
                };
                let part = |key: &str| {
                    object.value.pointer(&format!("/spec/service/{key}")).and_then(serde_json::Value::as_str)
                };
                let pattern = format!(
                    "Service/{}/{}",
                    part("namespace").unwrap_or_default(),
                    part("name").unwrap_or_default()
                );
                self.troubles.push((pattern, Trouble { what: Troubled::Silent, lasts: *lasts }));
            }
            Fault::Slow { component, factor } => {
                let components = plan.components();
                if !components.contains(&component.as_str()) {
                    return missing(format!("component {component}"), hint(component, &components));
                }
                self.slow.push((component.clone(), *factor));
            }
            Fault::Host { name, mishap } => {
                let hosts: BTreeSet<&str> = plan.steps.iter().filter_map(|step| step.id.host()).collect();
                if !hosts.contains(name.as_str()) {
                    let hosts: Vec<&str> = hosts.into_iter().collect();
                    return missing(format!("host {name}"), hint(name, &hosts));
                }
                self.hosts.push((name.clone(), *mishap));
            }
        }
        Ok(())
    }

    /// What goes wrong with an object.
    pub(crate) fn trouble(&self, id: &ObjectId) -> Option<Trouble> {
        self.troubles.iter().find(|(pattern, _)| edges::names(pattern, id)).map(|(_, trouble)| *trouble)
    }

    /// How many times as long a component takes.
    pub(crate) fn factor(&self, component: &str) -> f64 {
        self.slow.iter().filter(|(name, _)| name == component).map(|(_, factor)| factor).product()
    }

    /// A connection to the simulated cluster on which things go wrong; `None`: nothing does.
    pub(super) fn client(&self, cluster: &cozy_sim::Cluster) -> Option<Client> {
        for (name, answers, lasts) in &self.webhooks {
            cluster.answer_webhooks(name, answers.clone(), *lasts);
        }
        let Flaws { seed: _, chances, latency, outages, cut_watches, stalls, most: _ } = &self.flaws;
        let calm = chances.is_empty()
            && latency.is_zero()
            && outages.is_empty()
            && cut_watches.is_none()
            && stalls.is_empty();
        (!calm).then(|| Client::new(Flaky::new(self.flaws.clone()).layer(cluster.server()), "default"))
    }

    /// Lets the simulated API server forget the past at the times that were asked for; never ends.
    pub(super) async fn forget(&self, cluster: &cozy_sim::Cluster) {
        let begun = Instant::now();
        let mut times = self.forgets.clone();
        times.sort_unstable();
        for at in times {
            tokio::time::sleep_until(begun + at).await;
            cluster.compact();
        }
        std::future::pending::<()>().await;
    }
}

fn ids(plan: &Plan) -> impl Iterator<Item = &ObjectId> {
    plan.steps.iter().flat_map(|step| &step.actions).map(|action| &action.id)
}

fn hint(wanted: &str, known: &[&str]) -> String {
    let hint = did_you_mean(wanted, known.iter().copied());
    if hint.is_empty() { hint } else { format!("; {hint}") }
}
