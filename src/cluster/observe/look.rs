//! Looks at wanted objects: at many of a kind by one list, at others one by one.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use super::super::Cluster;
use super::super::apply::uid;
use super::super::error::ClusterError;
use super::super::inventory::Entry;
use super::super::owned::digest;
use super::super::turns::Turns;
use super::super::verdict::foreign;
use super::{Lists, is_ready, unreadable};
use crate::health;
use crate::model::names::ComponentName;
use crate::model::object::{Object, ObjectId};
use crate::plan::Stage;
use crate::plan::live::{Live, Verdict};
use crate::plan::planner::DesiredComponent;

/// What is known of an object, by whichever inventory.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    /// The inventory of the component that wants it.
    pub(super) own: Option<&'a Entry>,
    /// Any inventory.
    pub(super) any: Option<&'a Entry>,
}

/// What was found of one wanted object.
pub(super) struct Found {
    pub(super) live: Live,
    /// What the inventory should know of it, where it does not.
    pub(super) entry: Option<Entry>,
}

/// An object that is wanted.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a, 'k> {
    pub(super) component: &'a DesiredComponent,
    pub(super) stage: Stage,
    pub(super) object: &'a Object,
    pub(super) known: Known<'k>,
}

/// What was found of a wanted object; `None`: it is not there.
pub(super) type Seen<'a> = Option<(&'a ComponentName, ObjectId, Found)>;

/// From how many wanted objects of a kind on they are listed: one request then tells of all.
pub(super) const MANY: usize = 8;

/// How many times as many objects as are wanted a list may have; where there are more, the wanted ones are asked for.
pub(super) const OTHERS: usize = 4;

/// Wanted objects of one kind that are looked at by their list, and the namespace of that; `None`: the list of all.
pub(super) type Group<'a, 'k> = (Option<&'a str>, Vec<Wanted<'a, 'k>>);

/// Groups wanted objects that one list tells of, and gives those that are asked for one by one. A list of all namespaces
/// is read where many have some; but not of Secrets: those of others are nobody's business, and large.
pub(super) fn grouped<'a, 'k>(
    all: impl Iterator<Item = Wanted<'a, 'k>>,
) -> (Vec<Group<'a, 'k>>, Vec<Wanted<'a, 'k>>) {
    let mut kinds: BTreeMap<_, BTreeMap<Option<&str>, Vec<Wanted<'a, 'k>>>> = BTreeMap::new();
    for wanted in all {
        let Object { id, version, .. } = wanted.object;
        let kind = kinds.entry((&id.kind, version.as_str())).or_default();
        kind.entry(id.namespace.as_deref()).or_default().push(wanted);
    }
    let (mut many, mut few) = (Vec::new(), Vec::new());
    for ((kind, _), namespaces) in kinds {
        if namespaces.len() >= MANY && !kind.is("", "Secret") {
            many.push((None, namespaces.into_values().flatten().collect()));
            continue;
        }
        for (namespace, group) in namespaces {
            if group.len() >= MANY { many.push((namespace, group)) } else { few.extend(group) }
        }
    }
    (many, few)
}

/// Takes out the objects of namespaces that each have many.
fn by_namespace<'a, 'k>(all: &mut Vec<Wanted<'a, 'k>>) -> Vec<(&'a str, Vec<Wanted<'a, 'k>>)> {
    let mut namespaces: BTreeMap<&str, Vec<Wanted<'a, 'k>>> = BTreeMap::new();
    for wanted in &*all {
        if let Some(namespace) = &wanted.object.id.namespace {
            namespaces.entry(namespace).or_default().push(*wanted);
        }
    }
    namespaces.retain(|_, group| group.len() >= MANY);
    all.retain(|wanted| {
        wanted.object.id.namespace.as_deref().is_none_or(|namespace| !namespaces.contains_key(namespace))
    });
    namespaces.into_iter().collect()
}

/// Looks at wanted objects.
pub(super) struct Looker<'a, 'b> {
    pub(super) cluster: &'a Cluster,
    pub(super) lists: &'b Lists<'a>,
    /// What autoscalers scale; `None`: not known.
    pub(super) scaled: Option<&'b BTreeSet<ObjectId>>,
    pub(super) turns: &'b Turns,
}

impl Looker<'_, '_> {
    /// Looks at an object that is asked for by its name.
    pub(super) async fn alone<'w>(&self, wanted: Wanted<'w, '_>) -> Result<Seen<'w>, ClusterError> {
        let _turn = self.turns.turn().await;
        match self.cluster.get(&wanted.object.id, &wanted.object.version).await {
            Ok(live) => self.seen(wanted, live).await,
            // It is some component's, so that it may be applied whatever it is like.
            Err(error) if wanted.known.any.is_some() => {
                let words = unreadable(&wanted.object.id.kind, error)?;
                let recorded = wanted.known.own.is_some_and(|entry| entry.desired.is_some());
                let verdict =
                    Verdict::Change { changes: Vec::new(), conflicts: Vec::new(), refused: Some(words) };
                let found = Found { live: Live { verdict, recorded, ..Live::default() }, entry: None };
                Ok(Some((&wanted.component.name, wanted.object.id.clone(), found)))
            }
            Err(error) => Err(error),
        }
    }

    /// Looks at an object that a list has.
    async fn listed<'w>(
        &self,
        wanted: Wanted<'w, '_>,
        live: Option<Value>,
    ) -> Result<Seen<'w>, ClusterError> {
        let _turn = self.turns.turn().await;
        self.seen(wanted, live).await
    }

    /// Looks at objects of one kind by the list of a namespace, or of all, page by page. Where that is refused, ends
    /// early, or has mostly other objects, namespaces are looked at each by itself, and at last objects one by one.
    pub(super) async fn group<'w>(
        &self,
        namespace: Option<&str>,
        group: Vec<Wanted<'w, '_>>,
    ) -> Result<Vec<Seen<'w>>, ClusterError> {
        let mut found = Vec::with_capacity(group.len());
        let most = group.len() * OTHERS;
        let Some(first) = group.first() else { return Ok(found) };
        let (id, version) = (&first.object.id, first.object.version.as_str());
        let mut open: BTreeMap<&ObjectId, Wanted<'w, '_>> =
            group.iter().map(|wanted| (&wanted.object.id, *wanted)).collect();
        let mut whole = false;
        if let Ok(mut pages) = self.cluster.pages((&id.kind, namespace), version) {
            if let Some(params) = &mut pages.params {
                params.limit = params.limit.min(u32::try_from(most).ok().or(params.limit));
            }
            loop {
                let page = match pages.next(self.cluster).await {
                    Ok(Some(page)) => page,
                    Ok(None) => {
                        whole = true;
                        break;
                    }
                    Err(_) => break,
                };
                let here: Vec<(Wanted<'w, '_>, Value)> = page
                    .into_iter()
                    .filter_map(|live| {
                        let text = |pointer| live.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
                        let namespace = text("/metadata/namespace").or_else(|| id.namespace.clone());
                        let name = text("/metadata/name")?;
                        let found = open.remove(&ObjectId { kind: id.kind.clone(), namespace, name })?;
                        Some((found, live))
                    })
                    .collect();
                let seen = stream::iter(here).map(|(wanted, live)| self.listed(wanted, Some(live)));
                found.extend(seen.buffer_unordered(most).try_collect::<Vec<_>>().await?);
                let remaining = pages.remaining.and_then(|count| usize::try_from(count).ok());
                if open.is_empty() || remaining.is_some_and(|remaining| remaining > most) {
                    break;
                }
            }
        }
        let mut rest: Vec<Wanted<'w, '_>> = open.into_values().collect();
        if namespace.is_none() && !whole {
            for (namespace, group) in by_namespace(&mut rest) {
                found.extend(Box::pin(self.group(Some(namespace), group)).await?);
            }
        }
        let rest = stream::iter(rest).map(|wanted| async move {
            if whole { self.listed(wanted, None).await } else { self.alone(wanted).await }
        });
        found.extend(rest.buffer_unordered(most).try_collect::<Vec<_>>().await?);
        Ok(found)
    }

    /// What there is to say of an object that is like this.
    async fn seen<'w>(&self, wanted: Wanted<'w, '_>, live: Option<Value>) -> Result<Seen<'w>, ClusterError> {
        let Wanted { component, stage, object, known: Known { own, any } } = wanted;
        let found = |found| Ok(Some((&component.name, object.id.clone(), found)));
        let Some(live) = live else {
            let recorded = own.is_some_and(|entry| entry.desired.is_some());
            let ran = any.is_some_and(|entry| {
                entry.complete && entry.desired.as_deref() == Some(&digest(&object.value))
            });
            let live = Live { verdict: Verdict::Finished, ready: true, recorded, ..Live::default() };
            return if ran { found(Found { live, entry: None }) } else { Ok(None) };
        };
        // A hook, or a Job that will be gone, may have ended while nobody looked: that it did is to be remembered.
        let remembered = |entry: &Entry| entry.complete || !(stage.is_hook() || health::is_done_job(&live));
        let recorded = own.is_some_and(|entry| entry.desired.is_some() && remembered(entry));
        let ended = !stage.is_hook() || health::has_ended(&live);
        let ready = ended && is_ready(component, object, &live, self.lists).await;
        let failed = health::has_failed(&live);
        let unscaled = any.is_some() && self.scaled.is_some_and(|scaled| !scaled.contains(&object.id));
        let (verdict, entry) = self.cluster.verdict(object, &live, (any, unscaled)).await?;
        let foreign = match any {
            Some(entry) if entry.desired.is_some() => None,
            // A run ended before it knew what became of this: what has nothing but a name may be its own.
            Some(_) => foreign(object, &live).filter(|managers| !managers.is_empty()),
            None => foreign(object, &live),
        };
        let uid = uid(&live).map(str::to_owned);
        found(Found { live: Live { verdict, ready, failed, recorded, foreign, uid }, entry })
    }
}
