//! What happens during a run, as typed events. The core reports them; `ui`
//! draws them; nothing here knows a terminal.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::code::Code;
use crate::model::mask::Masks;
use crate::model::names::ComponentName;
use crate::plan::{Counts, StepId, Verb};

/// Takes events as they happen.
pub(crate) trait Reporter: Send + Sync {
    /// Takes one event; must not block.
    fn report(&self, event: &Event);
}

/// Something that happened, and when.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event {
    /// Since the start of the run; virtual in a rehearsal.
    #[serde(rename = "atMs", serialize_with = "millis")]
    pub(crate) at: Duration,
    /// What.
    #[serde(flatten)]
    pub(crate) kind: EventKind,
}

/// Writes a duration as whole milliseconds.
fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// What happened.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum EventKind {
    /// The run begins. First event of a run.
    RunStarted {
        /// The cloud's name.
        cloud: String,
        /// Bundle and version, `edge 1.0.0`.
        bundle: String,
        /// How many hosts; 0 with provider `existing`.
        hosts: usize,
        /// `kubeadm` or `existing`, with the Kubernetes version.
        provider: String,
        /// Whether nothing real is touched.
        rehearsal: bool,
        /// Components stood in for by their contract.
        stood_in: Vec<ComponentName>,
        /// Components in the order of the plan, `kubernetes` included.
        components: Vec<String>,
        /// What the plan does.
        counts: Counts,
        /// How long the critical path is expected to take.
        #[serde(rename = "expectedMs", serialize_with = "millis")]
        expected: Duration,
    },
    /// The edges of a step hold: its requests begin.
    StepStarted {
        /// Which.
        step: StepId,
        /// How many objects are written.
        objects: usize,
    },
    /// An object was written.
    Object {
        /// The step.
        step: StepId,
        /// The object, as people read it.
        object: String,
        /// Created, updated or deleted.
        verb: Verb,
    },
    /// Every request of a step was answered.
    StepApplied {
        /// Which.
        step: StepId,
    },
    /// What a step waits for; reported when it changes.
    Waiting {
        /// The step.
        step: StepId,
        /// The object.
        object: String,
        /// What is missing, `1 of 3 replicas available`.
        reason: String,
        /// How many objects of the step are not ready yet.
        remaining: usize,
        /// It looks like a failure, and becomes one if it lasts.
        soft_failure: bool,
    },
    /// A request failed for a reason that passes, and is tried again.
    Retry {
        /// The step; `None` outside steps.
        step: Option<StepId>,
        /// The object, or what was asked.
        object: String,
        /// The first is 1.
        attempt: u32,
        /// How long until the next try.
        #[serde(rename = "delayMs", serialize_with = "millis")]
        delay: Duration,
        /// Why.
        reason: String,
    },
    /// All gates of a step hold.
    StepReady {
        /// Which.
        step: StepId,
        /// The edge that held it back longest: the step, if there was one.
        after: Option<StepId>,
    },
    /// All steps of a component are ready.
    ComponentReady {
        /// Which; `kubernetes` for the hosts.
        component: String,
        /// How many objects it has.
        objects: usize,
        /// From its first step's start.
        #[serde(rename = "tookMs", serialize_with = "millis")]
        took: Duration,
        /// Components that held it back, the last first.
        after: Vec<String>,
    },
    /// A component failed; what depends on it does not start.
    ComponentFailed {
        /// Which.
        component: String,
        /// The step that failed.
        step: StepId,
        /// Why, with what to do.
        failure: Failure,
        /// Components that cannot go on.
        blocks: Vec<String>,
    },
    /// A source is asked for an artefact.
    Fetching {
        /// Which, `chart cilium 1.20.2`.
        artefact: String,
        /// The URL, without credentials.
        from: String,
    },
    /// More of an artefact came.
    FetchProgress {
        /// Which.
        artefact: String,
        /// Bytes so far.
        received: u64,
        /// Bytes altogether, if the server says.
        total: Option<u64>,
    },
    /// An artefact is at hand, and is what it should be.
    Fetched {
        /// Which.
        artefact: String,
        /// Its size.
        bytes: u64,
        /// Its digest.
        sha256: String,
        /// Where it came from.
        from: FetchedFrom,
        /// How long it took.
        #[serde(rename = "tookMs", serialize_with = "millis")]
        took: Duration,
    },
    /// A signal came; what is in flight is finished.
    Interrupted {
        /// `SIGINT` or `SIGTERM`.
        signal: String,
    },
    /// A warning that stops nothing.
    Warning {
        /// What.
        message: String,
    },
    /// The run is over. Last event of a run.
    RunFinished {
        /// How.
        outcome: Outcome,
        /// What was really written.
        counts: Counts,
        /// Components that failed.
        failed: Vec<String>,
        /// Components that were not started or not finished.
        unfinished: Vec<String>,
        /// Since the start.
        #[serde(rename = "tookMs", serialize_with = "millis")]
        took: Duration,
        /// Components on the chain that decided how long it took, first to last.
        critical_path: Vec<String>,
    },
}

impl EventKind {
    /// Takes what nobody is to see out of the words of others.
    pub(crate) fn mask(&mut self, masks: &Masks) {
        let mask = |text: &mut String| *text = masks.mask(text);
        match self {
            Self::Waiting { reason, .. } | Self::Retry { reason, .. } => mask(reason),
            Self::Warning { message } => mask(message),
            Self::ComponentFailed { failure, .. } => failure.mask(masks),
            Self::RunStarted { .. }
            | Self::StepStarted { .. }
            | Self::Object { .. }
            | Self::StepApplied { .. }
            | Self::StepReady { .. }
            | Self::ComponentReady { .. }
            | Self::Fetching { .. }
            | Self::FetchProgress { .. }
            | Self::Fetched { .. }
            | Self::Interrupted { .. }
            | Self::RunFinished { .. } => {}
        }
    }
}

/// Where an artefact came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FetchedFrom {
    /// It was there already.
    Cache,
    /// A folder of the user's own.
    Folder,
    /// The mirror.
    Mirror,
    /// Its upstream home.
    Upstream,
}

impl fmt::Display for FetchedFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cache => "cache",
            Self::Folder => "folder",
            Self::Mirror => "mirror",
            Self::Upstream => "upstream",
        })
    }
}

/// Why a component failed: what a person reads last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Failure {
    /// The stable code.
    pub(crate) code: Code,
    /// One line: `not ready after 62s (gate: Deployment web/web)`.
    pub(crate) message: String,
    /// From the failed gate down to the cause; each entry one level deeper.
    pub(crate) chain: Vec<Cause>,
    /// What to do.
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// Takes what nobody is to see out of the words of others.
    pub(crate) fn mask(&mut self, masks: &Masks) {
        let mask = |text: &mut String| *text = masks.mask(text);
        mask(&mut self.message);
        self.chain.iter_mut().for_each(|cause| mask(&mut cause.message));
        self.hint.iter_mut().for_each(mask);
    }
}

/// One level of a diagnosis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cause {
    /// The object, `Pod web/web-6d9f-x2k4q`.
    pub(crate) object: String,
    /// What is known of it.
    pub(crate) message: String,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Outcome {
    /// Everything is ready.
    Done,
    /// Something failed or was not ready in time.
    Failed,
    /// SIGINT ended it.
    Interrupted,
    /// SIGTERM ended it.
    Terminated,
    /// The lock could not be renewed, or another run has taken it.
    LockLost,
}
