//! JSON schemas that the schemas of charts' values refer to by URLs. As Helm
//! does, they are fetched; unlike Helm, once: they are pinned like charts.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bytes::Bytes;
use cozy_chart::{Chart, Limits};

use crate::fetch::{Fetched, Fetcher, Store};
use crate::model::artefact::{Artefact, Kind};
use crate::model::lock::Lock;

/// The charts among artefacts that are at hand.
pub(super) fn charts(artefacts: &[Artefact], fetched: &[Fetched], store: &Store) -> Vec<Chart> {
    let charts = artefacts.iter().filter(|artefact| artefact.id.kind == Kind::Chart);
    let held = charts.filter_map(|artefact| {
        let sha256 = fetched.iter().find(|one| one.id == artefact.id)?.sha256;
        store.get(&Artefact { sha256: Some(sha256), ..artefact.clone() }).ok()?
    });
    // What is wrong with a chart is said when it is rendered.
    held.filter_map(|bytes| Chart::from_archive(&bytes, &Limits::default()).ok()).collect()
}

/// The schemas that a chart needs, by URL, as far as they are in the cache.
pub(super) fn held(chart: &Chart, lock: &Lock, store: &Store) -> BTreeMap<String, Bytes> {
    let mut held = BTreeMap::new();
    chart.missing_schemas(&mut |url| {
        // One that was damaged is fetched again.
        let bytes = store.get(&pinned(url, lock)).ok()??;
        held.insert(url.to_owned(), bytes.clone());
        Some(Rc::from(&*bytes))
    });
    held
}

/// Fetches the schemas that charts need; each may lead to more. What does not come is warned of: a chart that needs it
/// after all cannot be rendered, and says so.
pub(super) async fn fetch(
    charts: &[Chart],
    lock: &Lock,
    fetcher: &Fetcher<'_>,
    concurrency: usize,
) -> Vec<Fetched> {
    // By URL; nothing for those that did not come.
    let mut documents: BTreeMap<String, Option<Rc<[u8]>>> = BTreeMap::new();
    let mut came = Vec::new();
    loop {
        let mut known = |url: &str| documents.get(url).cloned().flatten();
        let missing = charts.iter().flat_map(|chart| chart.missing_schemas(&mut known));
        let missing: BTreeSet<String> = missing.filter(|url| !documents.contains_key(url)).collect();
        if missing.is_empty() {
            return came;
        }
        let artefacts: Vec<Artefact> = missing.iter().map(|url| pinned(url, lock)).collect();
        let answers = fetcher.all(&artefacts, concurrency).await;
        for ((url, artefact), answer) in missing.into_iter().zip(artefacts).zip(answers) {
            let bytes = match answer {
                Ok(one) => {
                    let sha256 = Some(one.sha256);
                    came.push(one);
                    fetcher.store().get(&Artefact { sha256, ..artefact }).ok().flatten()
                }
                Err(error) => {
                    fetcher.warn(error.said().message);
                    None
                }
            };
            documents.insert(url, bytes.map(|bytes| Rc::from(&*bytes)));
        }
    }
}

fn pinned(url: &str, lock: &Lock) -> Artefact {
    let mut artefact = Artefact::schema(url);
    lock.pin(&mut artefact);
    artefact
}
