//! What a chart is told of the world: what it generated before, the time, and
//! the cluster's objects. Without a cluster all of it is made up.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::SystemTime;

use bytes::Bytes;
use cozy_chart::{Environment, ValueKey};
use jiff::Timestamp;
use serde_json::Value;

use super::Known;
use crate::model::artefact::Digest;
use crate::model::component::Resolved;
use crate::model::kept::{Kept, Key};

/// What a chart asks of a cluster, in Helm's words: `lookup "v1" "Secret" "shop" "password"`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lookup {
    /// `apps/v1`
    pub(crate) api_version: String,
    /// `Deployment`
    pub(crate) kind: String,
    /// Empty: all, or none.
    pub(crate) namespace: String,
    /// Empty: a list of all.
    pub(crate) name: String,
}

/// What `now` answers in a rehearsal: 2000-01-01.
const MADE_UP: i64 = 946_684_800;

/// The world of one chart.
pub(super) struct World<'a> {
    known: &'a Known,
    schemas: &'a BTreeMap<String, Bytes>,
    made: Option<&'a Kept>,
    now: Timestamp,
    /// What will be kept.
    pub(super) kept: Kept,
    /// What of it this chart really uses.
    pub(super) used: BTreeSet<Key>,
    /// What it asked of a cluster, and was not told.
    pub(super) asked: BTreeSet<Lookup>,
}

impl<'a> World<'a> {
    /// The world of a component's chart that is rendered from `inputs`.
    pub(super) fn new(resolved: &'a Resolved, known: &'a Known, inputs: Digest) -> Self {
        let component = &resolved.component.name;
        let now = known.now.unwrap_or_else(|| Timestamp::from_second(MADE_UP).unwrap_or_default());
        let unfinished = known.unfinished.contains(component);
        let kept = Kept::now(known.kept.get(component), (inputs, unfinished), now);
        let made = known.made.get(component);
        let schemas = &resolved.schemas;
        Self { known, schemas, made, now, kept, used: BTreeSet::new(), asked: BTreeSet::new() }
    }

    fn before(&self, key: &ValueKey) -> Option<Vec<u8>> {
        let found = Key::from(key);
        let kept = self.kept.get(&found, self.now).or_else(|| self.made?.get(&found, self.now));
        kept.map(<[u8]>::to_vec).or_else(|| self.known.now.is_none().then(|| made_up(key)))
    }
}

impl Environment for World<'_> {
    fn lookup(
        &mut self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, String> {
        let lookup = Lookup {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let answer = self.known.answers.get(&lookup);
        if answer.is_none() {
            self.asked.insert(lookup);
        }
        Ok(answer.cloned().flatten())
    }

    fn schema(&mut self, url: &str) -> Option<Rc<[u8]>> {
        self.schemas.get(url).map(|bytes| Rc::from(&**bytes))
    }

    fn kept(&mut self, key: &ValueKey) -> Option<Vec<u8>> {
        let value = self.before(key)?;
        self.keep(key.clone(), &value);
        Some(value)
    }

    fn keep(&mut self, key: ValueKey, value: &[u8]) {
        let key = Key::from(&key);
        self.used.insert(key.clone());
        self.kept.put(key, value);
    }

    fn now(&mut self) -> SystemTime {
        self.kept.at.into()
    }

    fn issued(&mut self) -> SystemTime {
        self.now.into()
    }

    fn time_zone(&mut self) -> Option<Rc<str>> {
        // Wherever it is rendered.
        Some("UTC".into())
    }
}

/// A value made up from where it is generated: the same each time, of the
/// length that is asked for. It never reaches a cluster.
fn made_up(key: &ValueKey) -> Vec<u8> {
    let digest = Digest::of(format!("{key:?}").as_bytes());
    let digits = digest.to_string();
    let endless = || digits.bytes().cycle();
    let count = key.arguments.parse().unwrap_or(digits.len()).min(1 << 20);
    match key.function {
        "randInt" => b"0".to_vec(),
        "randNumeric" => endless().map(|byte| b'0' + byte % 10).take(count).collect(),
        "randAlpha" => endless().map(|byte| b'a' + byte % 26).take(count).collect(),
        "randAlphaNum" | "randAscii" | "randBytes" => endless().take(count).collect(),
        "uuidv4" | "encryptAES" => digest.bytes().iter().take(16).copied().collect(),
        function if function.starts_with("gen") && function != "genPrivateKey" => {
            format!("made up {digits}\0made up {digits}").into_bytes()
        }
        _ => digits.into_bytes(),
    }
}
