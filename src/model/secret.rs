//! Secret settings: in `cozy.yaml` a reference, in memory a value that cannot
//! be printed, in the cluster a Secret. Reading them is the command line's work.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

/// What stands for a secret that was not read: rehearsals and `cozy render`
/// need none.
pub(crate) const PLACEHOLDER: &str = "(secret)";

/// The shortest secret that is looked for in other text; shorter ones would be
/// found everywhere.
const SHORTEST: usize = 6;

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a value.
    pub(crate) fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for where it really has to go.
    pub(crate) fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PLACEHOLDER)
    }
}

/// Where a secret is read from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file; relative to the file that names it.
    File(String),
}

/// One secret among a component's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretSetting {
    /// Its place among the settings, a JSON pointer (RFC 6901).
    pub(crate) pointer: String,
    /// Where it is read from.
    pub(crate) source: SecretSource,
    /// What was read; `None`: not read yet, or not needed.
    pub(crate) value: Option<Secret<String>>,
}

impl SecretSetting {
    /// The setting as people name it: `smtp.password`.
    pub(crate) fn name(&self) -> String {
        self.pointer.trim_start_matches('/').replace('/', ".")
    }

    /// Puts the value, or what stands for it, where the reference was.
    pub(crate) fn put(&self, settings: &mut Value) {
        if let Some(place) = settings.pointer_mut(&self.pointer) {
            let text = self.value.as_ref().map_or(PLACEHOLDER, |value| value.expose());
            *place = Value::String(text.to_owned());
        }
    }
}

/// Replaces every secret in a text.
pub(crate) fn mask(text: String, secrets: &[SecretSetting]) -> String {
    secrets
        .iter()
        .filter_map(|secret| secret.value.as_ref())
        .filter(|value| value.expose().len() >= SHORTEST)
        .fold(text, |text, value| text.replace(value.expose(), PLACEHOLDER))
}

/// The first secret that an object holds.
pub(crate) fn found_in<'a>(object: &Value, secrets: &'a [SecretSetting]) -> Option<&'a SecretSetting> {
    secrets.iter().find(|secret| {
        secret
            .value
            .as_ref()
            .is_some_and(|value| value.expose().len() >= SHORTEST && holds(object, value.expose()))
    })
}

fn holds(value: &Value, secret: &str) -> bool {
    match value {
        Value::String(text) => text.contains(secret),
        Value::Array(items) => items.iter().any(|item| holds(item, secret)),
        Value::Object(map) => map.iter().any(|(key, value)| key.contains(secret) || holds(value, secret)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
