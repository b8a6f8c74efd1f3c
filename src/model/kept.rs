//! What is kept of a component that is a chart: the values that the chart
//! generated, and what is told to it that changes by itself (the time, the
//! revision). Kept in a Secret, so that the chart renders the same objects again.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cozy_chart::ValueKey;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::artefact::Digest;
use super::names::ComponentName;
use super::object::{GroupKind, Object, ObjectId};

/// The namespace of the engine itself: inventories, the lock, and what is kept of charts.
pub(crate) const SYSTEM_NAMESPACE: &str = "cozy-system";

/// The label by which these Secrets are found.
pub(crate) const LABEL: &str = "cozy/generated";

/// The most bytes that a Secret may hold.
const LARGEST: usize = 1 << 20;

const PREFIX: &str = "cozy-generated-";

/// The Secret that holds what is kept of a component.
pub(crate) fn secret(component: &ComponentName) -> ObjectId {
    ObjectId {
        kind: GroupKind::new("", "Secret"),
        namespace: Some(SYSTEM_NAMESPACE.to_owned()),
        name: format!("{PREFIX}{component}"),
    }
}

/// Whether an object is such a Secret.
pub(crate) fn is_secret(id: &ObjectId) -> bool {
    id.kind.is("", "Secret")
        && id.namespace.as_deref() == Some(SYSTEM_NAMESPACE)
        && id.name.starts_with(PREFIX)
}

/// What is kept of one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    /// The digest of what the component was rendered from: the chart and its values.
    pub(crate) inputs: Digest,
    /// How often that has changed, from 1.
    pub(crate) revision: u32,
    /// When it changed last: what `now` answers.
    pub(crate) at: Timestamp,
    /// The chart's hooks that run in this revision, `Job/migrate`.
    #[serde(default)]
    pub(crate) hooks: Vec<String>,
    values: Values,
}

/// Values by where they are generated.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Entry>", into = "Vec<Entry>")]
pub(crate) struct Values(BTreeMap<Key, Vec<u8>>);

/// Where a value is generated. Arguments are kept as a digest: a password may be among them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Key {
    template: String,
    function: String,
    arguments: Digest,
    occurrence: usize,
}

/// A value as it is written.
#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    key: Key,
    value: String,
}

impl TryFrom<Vec<Entry>> for Values {
    type Error = base64::DecodeError;

    fn try_from(entries: Vec<Entry>) -> Result<Self, Self::Error> {
        let decoded = |entry: Entry| Ok((entry.key, STANDARD.decode(entry.value)?));
        entries.into_iter().map(decoded).collect::<Result<_, _>>().map(Self)
    }
}

impl From<Values> for Vec<Entry> {
    fn from(values: Values) -> Self {
        values.0.into_iter().map(|(key, value)| Entry { key, value: STANDARD.encode(value) }).collect()
    }
}

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl From<&ValueKey> for Key {
    fn from(key: &ValueKey) -> Self {
        Self {
            template: key.template.clone(),
            function: key.function.to_owned(),
            arguments: Digest::of(key.arguments.as_bytes()),
            occurrence: key.occurrence,
        }
    }
}

impl Kept {
    /// What is kept of a component with these inputs now, given what was kept of it before. A first installation
    /// that is `unfinished` goes on with other inputs: its hooks are to run.
    pub(crate) fn now(before: Option<&Self>, (inputs, unfinished): (Digest, bool), now: Timestamp) -> Self {
        let (revision, values) = match before {
            None => (1, Values::default()),
            Some(before) if before.inputs == inputs => return before.clone(),
            Some(before) => {
                let revision = before.revision.saturating_add(u32::from(!unfinished));
                (revision, before.values.clone())
            }
        };
        Self { inputs, revision, at: now, hooks: Vec::new(), values }
    }

    /// Whether this is a first installation of which not all hooks ran, by what the inventory says of them.
    pub(crate) fn is_unfinished(&self, ran: impl Fn(&str, &str) -> bool) -> bool {
        let done = |hook: &String| hook.split_once('/').is_none_or(|(kind, name)| ran(kind, name));
        self.revision == 1 && !self.hooks.iter().all(done)
    }

    /// A value that was generated before, unless it is a certificate that is to be renewed: after two thirds of its life.
    pub(crate) fn get(&self, key: &Key, now: Timestamp) -> Option<&[u8]> {
        let value = self.values.0.get(key)?;
        let life = cozy_chart::validity(value).and_then(|(from, until)| {
            Some((Timestamp::try_from(from).ok()?, Timestamp::try_from(until).ok()?))
        });
        let (from, until) = life.unwrap_or((Timestamp::MIN, Timestamp::MAX));
        let left: SignedDuration = until.duration_since(now);
        (left >= until.duration_since(from) / 3).then_some(value)
    }

    /// Keeps a value.
    pub(crate) fn put(&mut self, key: Key, value: &[u8]) {
        self.values.0.insert(key, value.to_vec());
    }

    /// The texts that nobody is to see.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = String> {
        self.values.0.iter().filter_map(|(key, value)| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
            match key.function.as_str() {
                "randInt" | "uuidv4" | "encryptAES" => None,
                "randBytes" => Some(STANDARD.encode(value)),
                "genPrivateKey" => text(value),
                // The certificate itself is for everybody.
                function if function.starts_with("gen") => text(value.rsplit(|byte| *byte == 0).next()?),
                _ => text(value),
            }
        })
    }

    /// The Secret. What was not `used` is left out where there is no room for it.
    ///
    /// # Errors
    /// How many bytes there are, where a Secret cannot hold them.
    pub(crate) fn object(&self, component: &ComponentName, used: &BTreeSet<Key>) -> Result<Object, usize> {
        let mut text = serde_json::to_string(self).unwrap_or_default();
        if text.len() > LARGEST {
            let mut smaller = self.clone();
            smaller.values.0.retain(|key, _| used.contains(key));
            text = serde_json::to_string(&smaller).unwrap_or_default();
        }
        if text.len() > LARGEST {
            return Err(text.len());
        }
        let id = secret(component);
        let value = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": id.name,
                "namespace": SYSTEM_NAMESPACE,
                "labels": { LABEL: component.as_str(), "app.kubernetes.io/managed-by": "cozy" },
            },
            "type": LABEL,
            "data": { "generated": STANDARD.encode(text) },
        });
        Ok(Object { id, version: "v1".to_owned(), value })
    }

    /// Reads such a Secret.
    ///
    /// # Errors
    /// With words, where it is damaged: nothing is generated anew without a word.
    pub(crate) fn read(secret: &Value) -> Result<(ComponentName, Self), String> {
        let name = secret.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let component = name.strip_prefix(PREFIX).unwrap_or(name).parse();
        let component = component.map_err(|error: super::names::InvalidName| error.to_string())?;
        let data = secret.pointer("/data/generated").and_then(Value::as_str);
        let bytes =
            STANDARD.decode(data.ok_or("it has no `generated`")?).map_err(|error| error.to_string())?;
        let kept = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        Ok((component, kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(function: &'static str, occurrence: usize) -> Key {
        let (template, arguments) = ("shop/templates/a.yaml".to_owned(), "12".to_owned());
        Key::from(&ValueKey { template, function, arguments, occurrence })
    }

    fn shop() -> ComponentName {
        "shop".parse().unwrap()
    }

    #[test]
    fn what_is_kept_comes_back_and_the_revision_counts_changes_of_inputs() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let (then, now) = (Timestamp::from_second(1).unwrap(), Timestamp::from_second(2).unwrap());
        let mut first = Kept::now(None, (one, false), then);
        first.put(key("randAlphaNum", 0), b"hunter2-canary");
        let secret = first.object(&shop(), &BTreeSet::new()).unwrap();
        assert!(!secret.value.to_string().contains("hunter2"));
        let (component, read) = Kept::read(&secret.value).unwrap();
        assert_eq!((component, &read), (shop(), &first));
        assert_eq!(Kept::now(Some(&read), (one, true), now), first);
        assert_eq!(Kept::now(Some(&read), (two, true), now).revision, 1);
        let changed = Kept::now(Some(&read), (two, false), now);
        assert_eq!((changed.revision, changed.at), (2, now));
        assert_eq!(changed.get(&key("randAlphaNum", 0), now), Some(&b"hunter2-canary"[..]));
        assert_eq!(changed.get(&key("randAlphaNum", 1), now), None);
        assert_eq!(first.secrets().collect::<Vec<_>>(), ["hunter2-canary"]);
        assert!(!format!("{first:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_not_used_any_more_makes_room_and_the_rest_must_fit() {
        let mut kept = Kept::now(None, (Digest::of(b""), false), Timestamp::UNIX_EPOCH);
        kept.put(key("randAlphaNum", 0), &vec![b'a'; 600_000]);
        kept.put(key("randAlphaNum", 1), &vec![b'b'; 600_000]);
        let both: BTreeSet<Key> = [key("randAlphaNum", 0), key("randAlphaNum", 1)].into();
        assert_eq!(kept.object(&shop(), &both).unwrap_err() / 100_000, 16);
        let secret = kept.object(&shop(), &[key("randAlphaNum", 1)].into()).unwrap();
        let (_, read) = Kept::read(&secret.value).unwrap();
        assert_eq!(read.values.0.keys().collect::<Vec<_>>(), [&key("randAlphaNum", 1)]);
    }

    #[test]
    fn a_damaged_secret_is_no_reason_to_generate_anew() {
        let of = |data: &str| json!({ "metadata": { "name": "cozy-generated-shop" }, "data": { "generated": data } });
        assert!(Kept::read(&of("e30=")).unwrap_err().contains("missing field"));
        assert!(Kept::read(&of("?")).is_err());
        assert_eq!(
            Kept::read(&json!({ "metadata": { "name": "cozy-generated-shop" } })).unwrap_err(),
            "it has no `generated`"
        );
    }
}
