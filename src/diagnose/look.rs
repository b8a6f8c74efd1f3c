//! Reads what a diagnosis needs. A look-up that fails is left out: it must
//! not hide the failure behind another.

use kube::api::{ListParams, LogParams};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::model::object::{GroupKind, ObjectId};

/// How many objects of a kind are looked at: the first that is not well tells enough.
const MOST: u32 = 200;

/// How many of a log's last lines are read.
const LINES: i64 = 5;

/// Reads from one cluster.
pub(super) struct Look<'a>(pub(super) &'a Cluster);

impl Look<'_> {
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
        self.0.get(&id, "").await.ok().flatten()
    }

    pub(super) async fn list(
        &self,
        kind: &GroupKind,
        namespace: Option<&str>,
        params: ListParams,
    ) -> Vec<Value> {
        let Some(api) = self.0.list_api(kind, namespace) else { return Vec::new() };
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

    /// The newest events of an object that are warnings, the newest first, as `Reason: message`.
    pub(super) async fn warnings(&self, namespace: Option<&str>, kind: &str, name: &str) -> Vec<String> {
        let fields = format!("involvedObject.name={name},involvedObject.kind={kind},type!=Normal");
        // Events of cluster-scoped objects are kept in `default`.
        let namespace = Some(namespace.unwrap_or("default"));
        let events = GroupKind::new("", "Event");
        let mut events = self.list(&events, namespace, ListParams::default().fields(&fields)).await;
        let at = |event: &Value| {
            ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"]
                .iter()
                .find_map(|pointer| event.pointer(pointer)?.as_str().map(str::to_owned))
        };
        events.sort_by_key(|event| std::cmp::Reverse(at(event)));
        let text = |event: &Value, key: &str| {
            event.get(key).and_then(Value::as_str).unwrap_or_default().trim().to_owned()
        };
        let mut said: Vec<String> = events
            .iter()
            .map(|event| format!("{}: {}", text(event, "reason"), text(event, "message")))
            .collect();
        said.dedup();
        said
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
            let log = self.0.logs(namespace, pod, &params).await.unwrap_or_default();
            let lines: Vec<String> =
                log.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned).collect();
            if !lines.is_empty() {
                return lines;
            }
        }
        Vec::new()
    }
}
