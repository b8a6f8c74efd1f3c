//! What a template can ask of the world outside the chart.

use std::rc::Rc;
use std::time::SystemTime;

/// Where a random value is made: the same place asks with the same key, and
/// other templates do not change it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueKey {
    /// The template's path.
    pub template: String,
    /// The function, `randAlphaNum`.
    pub function: &'static str,
    /// Its arguments, as Go prints them.
    pub arguments: String,
    /// How often this template called this function with these arguments before.
    pub occurrence: usize,
}

/// Answers what templates ask of the world outside the chart.
pub trait Environment {
    /// An object of the cluster, or a list of objects where `name` is empty, as
    /// JSON; `None` where there is none. The answer without a cluster.
    ///
    /// # Errors
    /// With words, where the cluster cannot be asked.
    fn lookup(
        &mut self,
        api_version: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<serde_json::Value>, String> {
        let _ = (api_version, kind, namespace, name);
        Ok(None)
    }

    /// The document at the URL of a schema that a chart's `values.schema.json` refers to, as far as it is there (see
    /// [`Chart::missing_schemas`](crate::Chart::missing_schemas)). Values are refused where it is not.
    fn schema(&mut self, url: &str) -> Option<Rc<[u8]>> {
        let _ = url;
        None
    }

    /// A value that was generated before under this key: passwords,
    /// certificates. `None`: a fresh one is made, and given to [`Self::keep`].
    fn kept(&mut self, key: &ValueKey) -> Option<Vec<u8>> {
        let _ = key;
        None
    }

    /// Takes a fresh value.
    fn keep(&mut self, key: ValueKey, value: &[u8]) {
        let _ = (key, value);
    }

    /// Fills a buffer with random bytes.
    ///
    /// # Errors
    /// Where the system has none.
    fn random(&mut self, buffer: &mut [u8]) -> Result<(), String> {
        getrandom::fill(buffer).map_err(|error| error.to_string())
    }

    /// What `now` answers.
    fn now(&mut self) -> SystemTime {
        SystemTime::now()
    }

    /// When a certificate that is made now begins.
    fn issued(&mut self) -> SystemTime {
        self.now()
    }

    /// The local time zone's name, as `TZ` gives it; `None`: the system's.
    fn time_zone(&mut self) -> Option<Rc<str>> {
        None
    }
}

/// Behaves as Helm without a cluster: every value is fresh.
#[derive(Debug, Default)]
pub struct Standalone;

impl Environment for Standalone {}
