//! Reads what a diagnosis needs. A look-up that fails is left out: it must
//! not hide the failure behind another.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{ListParams, LogParams};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::cluster::Cluster;
use crate::cluster::error::ClusterError;
use crate::model::mask::Masks;
use crate::model::object::{GroupKind, ObjectId};

/// How many objects of a kind are looked at: the first that is not well tells enough.
const MOST: u32 = 200;

/// How many of a log's last lines are read.
const LINES: i64 = 5;

/// Reads from one cluster.
pub(super) struct Look<'a> {
    pub(super) cluster: &'a Cluster,
    /// The API server's time, once anybody asked for it.
    now: OnceCell<Option<Timestamp>>,
}

/// An event that is a warning.
pub(super) struct Warning {
    /// How long ago it happened last, by the API server's clock; `None`: that does not tell its time.
    pub(super) age: Option<Duration>,
    /// `Reason: message`.
    pub(super) words: String,
}

impl<'a> Look<'a> {
    pub(super) fn new(cluster: &'a Cluster) -> Self {
        Self { cluster, now: OnceCell::new() }
    }

    pub(super) async fn get(
        &self,
        group: &str,
        kind: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Option<Value> {
        let id = ObjectId {
            kind: GroupKind::new(group, kind),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        };
        self.cluster.get(&id, "").await.ok().flatten()
    }

    pub(super) async fn list(
        &self,
        kind: &GroupKind,
        namespace: Option<&str>,
        params: ListParams,
    ) -> Vec<Value> {
        let Some(api) = self.cluster.list_api(kind, namespace) else { return Vec::new() };
        let list = api.list(&params.limit(MOST)).await.map(|list| list.items).unwrap_or_default();
        let typed = list.into_iter().filter_map(|object| serde_json::to_value(object).ok());
        typed
            .map(|mut object: Value| {
                // Items of a list do not say what they are.
                if let Some(object) = object.as_object_mut() {
                    object.entry("kind").or_insert_with(|| Value::String(kind.kind.clone()));
                }
                object
            })
            .collect()
    }

    /// What must not be shown of what is in some namespaces; and, where that is not all, why.
    pub(super) async fn masks(&self, namespaces: &BTreeSet<&str>) -> (Masks, Option<ClusterError>) {
        let (mut secrets, mut unread) = (Vec::new(), None);
        for namespace in namespaces {
            match self.cluster.secrets(namespace).await {
                Ok(found) => secrets.extend(found),
                Err(error) => unread = Some(error),
            }
        }
        (Masks::of(&secrets), unread)
    }

    /// The newest event of an object that is a warning.
    pub(super) async fn warning(&self, namespace: Option<&str>, kind: &str, name: &str) -> Option<Warning> {
        let fields = format!("involvedObject.name={name},involvedObject.kind={kind},type!=Normal");
        // Events of cluster-scoped objects are kept in `default`.
        let namespace = Some(namespace.unwrap_or("default"));
        let events = GroupKind::new("", "Event");
        let events = self.list(&events, namespace, ListParams::default().fields(&fields)).await;
        let (at, event) = events.iter().map(|event| (last(event), event)).max_by_key(|(at, _)| *at)?;
        let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default().trim();
        let now = *self.now.get_or_init(|| self.cluster.time()).await;
        let age = at.zip(now).map(|(at, now)| now.duration_since(at).try_into().unwrap_or_default());
        Some(Warning { age, words: format!("{}: {}", text("reason"), text("message")) })
    }

    /// The last lines that a container wrote, of its life before this one if it ended.
    pub(super) async fn log(&self, namespace: &str, pod: &str, container: &str, ended: bool) -> Vec<String> {
        for previous in [ended, !ended] {
            let params = LogParams {
                container: Some(container.to_owned()),
                previous,
                tail_lines: Some(LINES),
                limit_bytes: Some(16 * 1024),
                ..LogParams::default()
            };
            let log = self.cluster.logs(namespace, pod, &params).await.unwrap_or_default();
            let lines: Vec<String> =
                log.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned).collect();
            if !lines.is_empty() {
                return lines;
            }
        }
        Vec::new()
    }
}

/// When an event happened last: series and repeated events are one object.
fn last(event: &Value) -> Option<Timestamp> {
    let times = ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
    times.iter().find_map(|pointer| event.pointer(pointer)?.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_happened_when_it_was_last_seen() {
        let at = |event: Value| last(&event).map(|at| at.to_string());
        let made = json!({ "creationTimestamp": "2026-01-01T00:00:00Z" });
        let event = json!({ "metadata": made, "eventTime": null, "lastTimestamp": null });
        assert_eq!(at(event).as_deref(), Some("2026-01-01T00:00:00Z"));
        let event = json!({ "metadata": made, "eventTime": "2026-01-01T00:00:01.5Z", "series": { "lastObservedTime": "2026-01-01T00:00:09Z" } });
        assert_eq!(at(event).as_deref(), Some("2026-01-01T00:00:09Z"));
        let event = json!({ "metadata": made, "lastTimestamp": "2026-01-01T00:00:05Z", "eventTime": null });
        assert_eq!(at(event).as_deref(), Some("2026-01-01T00:00:05Z"));
        assert_eq!(at(json!({ "lastTimestamp": "yesterday" })), None);
    }
}
