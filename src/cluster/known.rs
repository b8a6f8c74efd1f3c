//! What watches know, and who hears of which change: a judgement is made again only when something that it was made of
//! has changed, however many others there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::Notify;

use super::apply::uid;
use crate::health::around::{Around, By, Kept};
use crate::model::object::{GroupKind, ObjectId};

/// A piece of what is known, as far as one judgement looks at it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Piece {
    Object(ObjectId),
    Parts(GroupKind, By),
    Whole(GroupKind),
}

impl Piece {
    fn is_around(&self, kind: &GroupKind) -> bool {
        match self {
            Self::Object(_) => false,
            Self::Parts(of, _) | Self::Whole(of) => of == kind,
        }
    }
}

/// Who is told of changes.
struct Ear {
    /// What of theirs is to be judged again.
    changed: BTreeSet<usize>,
    wake: Arc<Notify>,
    /// What they have looked at.
    pieces: Vec<Piece>,
}

/// What of a kind is kept, once its first list is whole.
#[derive(Default)]
struct All<T> {
    kept: T,
    listed: bool,
}

/// What is known of the objects that gates look at.
#[derive(Default)]
pub(super) struct Known {
    /// By how many an object is waited for.
    wanted: HashMap<ObjectId, usize>,
    objects: BTreeMap<ObjectId, Arc<Value>>,
    /// The last state of wanted objects that were deleted.
    last: HashMap<ObjectId, Arc<Value>>,
    parts: BTreeMap<GroupKind, All<Kept>>,
    whole: BTreeMap<GroupKind, All<BTreeMap<ObjectId, Arc<Value>>>>,
    /// The kinds that cannot be watched now, with why.
    trouble: BTreeMap<GroupKind, String>,
    /// Listeners by number, and who of them looked at what for which of their judgements.
    ears: BTreeMap<usize, Ear>,
    looked: HashMap<Piece, BTreeSet<(usize, usize)>>,
    /// The number of the next listener.
    next: usize,
    /// Listeners that are to be woken, in the order of their numbers.
    woken: BTreeMap<usize, Arc<Notify>>,
}

impl Known {
    /// A piece has changed.
    fn touch(&mut self, piece: &Piece) {
        for (listener, judgement) in self.looked.get(piece).into_iter().flatten() {
            if let Some(ear) = self.ears.get_mut(listener) {
                ear.changed.insert(*judgement);
                self.woken.insert(*listener, Arc::clone(&ear.wake));
            }
        }
    }

    /// Everything around that is of a kind may have changed.
    fn touch_around(&mut self, kind: &GroupKind) {
        let pieces: Vec<Piece> = self.looked.keys().filter(|piece| piece.is_around(kind)).cloned().collect();
        for piece in &pieces {
            self.touch(piece);
        }
    }

    /// One more waits for an object. Answers whether it is known already.
    pub(super) fn want(&mut self, id: &ObjectId) -> bool {
        *self.wanted.entry(id.clone()).or_default() += 1;
        self.objects.contains_key(id)
    }

    /// Whether anybody waits for an object.
    pub(super) fn wants(&self, id: &ObjectId) -> bool {
        self.wanted.contains_key(id)
    }

    /// One less waits for an object.
    pub(super) fn forget(&mut self, id: &ObjectId) {
        let Some(count) = self.wanted.get_mut(id) else { return };
        *count -= 1;
        if *count == 0 {
            self.wanted.remove(id);
            self.objects.remove(id);
            self.last.remove(id);
        }
    }

    /// Keeps a wanted object's newer state. What a late watch tells of an
    /// older one must not undo what was read since.
    pub(super) fn store(&mut self, id: &ObjectId, value: Value) {
        let is_news = |known: &Arc<Value>| match (version(known), version(&value)) {
            (Some(known), Some(new)) => new > known,
            (None, _) | (_, None) => true,
        };
        if self.wants(id) && self.objects.get(id).is_none_or(is_news) && self.last.get(id).is_none_or(is_news)
        {
            // What another object of this name was like says nothing of this one.
            if self.last.get(id).is_some_and(|last| uid(last) != uid(&value)) {
                self.last.remove(id);
            }
            self.objects.insert(id.clone(), Arc::new(value));
            self.touch(&Piece::Object(id.clone()));
        }
    }

    /// A wanted object was deleted in this state. What a late watch tells of an older one of the same name says nothing
    /// of the one that has been made since.
    pub(super) fn delete(&mut self, id: &ObjectId, last: Arc<Value>) {
        let known = self.objects.get(id);
        let is_older = known.is_some_and(|known| match (version(known), version(&last)) {
            (Some(known), Some(gone)) => gone < known,
            (None, _) | (_, None) => uid(known) != uid(&last),
        });
        if self.wants(id) && !is_older {
            self.last.insert(id.clone(), last);
            self.objects.remove(id);
            self.touch(&Piece::Object(id.clone()));
        }
    }

    /// A list of a kind, taken `at` a version of the cluster, is whole: wanted objects that it does not have are gone,
    /// but for those that were written since.
    pub(super) fn wanted_are_whole(&mut self, kind: &GroupKind, listed: &BTreeSet<ObjectId>, at: &str) {
        let at: Option<u64> = at.parse().ok();
        let is_newer = |value: &Value| version(value).zip(at).is_some_and(|(own, at)| own > at);
        let gone = self.objects.iter().filter(|(id, _)| id.kind == *kind && !listed.contains(id));
        let gone = gone.filter(|(_, value)| !is_newer(value));
        let gone: Vec<_> = gone.map(|(id, value)| (id.clone(), Arc::clone(value))).collect();
        for (id, last) in gone {
            self.delete(&id, last);
        }
    }

    /// Keeps what rules look at of an object.
    pub(super) fn keep_part(&mut self, kind: &GroupKind, object: &Value) {
        let changed = self.parts.entry(kind.clone()).or_default().kept.put(kind, object);
        for by in changed {
            self.touch(&Piece::Parts(kind.clone(), by));
        }
    }

    /// Forgets what rules look at of an object that is gone.
    pub(super) fn forget_part(&mut self, kind: &GroupKind, object: &Value) {
        let changed = self.parts.get_mut(kind).map(|all| all.kept.forget(kind, object));
        changed.into_iter().flatten().for_each(|by| self.touch(&Piece::Parts(kind.clone(), by)));
    }

    /// A list of a kind of which parts are kept is whole.
    pub(super) fn parts_are_whole(&mut self, kind: &GroupKind, listed: &BTreeSet<ObjectId>) {
        let places: BTreeSet<(&str, &str)> =
            listed.iter().map(|id| (id.namespace.as_deref().unwrap_or_default(), id.name.as_str())).collect();
        let all = self.parts.entry(kind.clone()).or_default();
        all.kept.retain(kind, |namespace, name| places.contains(&(namespace, name)));
        all.listed = true;
        self.touch_around(kind);
    }

    /// Keeps an object of a kind all of which are kept.
    pub(super) fn keep_whole(&mut self, id: &ObjectId, object: &Value) {
        let objects = &mut self.whole.entry(id.kind.clone()).or_default().kept;
        if objects.get(id).is_none_or(|before| **before != *object) {
            objects.insert(id.clone(), Arc::new(object.clone()));
            self.touch(&Piece::Whole(id.kind.clone()));
        }
    }

    /// Forgets such an object.
    pub(super) fn forget_whole(&mut self, id: &ObjectId) {
        if self.whole.get_mut(&id.kind).is_some_and(|all| all.kept.remove(id).is_some()) {
            self.touch(&Piece::Whole(id.kind.clone()));
        }
    }

    /// A list of a kind all of whose objects are kept is whole.
    pub(super) fn all_are_whole(&mut self, kind: &GroupKind, listed: &BTreeSet<ObjectId>) {
        let all = self.whole.entry(kind.clone()).or_default();
        all.kept.retain(|id, _| listed.contains(id));
        all.listed = true;
        self.touch_around(kind);
    }

    /// A kind cannot be watched now, or can again. All hear of it, as they say so.
    pub(super) fn trouble(&mut self, kind: &GroupKind, what: Option<String>) {
        let is_news = self.trouble.get(kind) != what.as_ref();
        match what {
            Some(what) => drop(self.trouble.insert(kind.clone(), what)),
            None => drop(self.trouble.remove(kind)),
        }
        if is_news {
            self.woken.extend(self.ears.iter().map(|(listener, ear)| (*listener, Arc::clone(&ear.wake))));
        }
    }

    /// Why a kind cannot be watched now.
    pub(super) fn has_trouble(&self, kind: &GroupKind) -> Option<String> {
        self.trouble.get(kind).cloned()
    }
}

/// An object's version: a number that grows with every change of it.
fn version(object: &Value) -> Option<u64> {
    object.pointer("/metadata/resourceVersion")?.as_str()?.parse().ok()
}

/// What is known, for watches and listeners.
#[derive(Default)]
pub(super) struct Shared(Mutex<Known>);

impl Shared {
    /// What is known now.
    pub(super) fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known, and wakes those who looked at what changed, always in the same order.
    pub(super) fn change(&self, act: impl FnOnce(&mut Known)) {
        let woken = {
            let mut known = self.lock();
            act(&mut known);
            std::mem::take(&mut known.woken)
        };
        for wake in woken.values() {
            wake.notify_one();
        }
    }
}

/// Somebody who makes judgements, told by numbers, of what is known, and hears which are to be made again.
pub(crate) struct Listener {
    shared: Arc<Shared>,
    number: usize,
    wake: Arc<Notify>,
}

impl Listener {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let wake = Arc::new(Notify::new());
        let mut known = shared.lock();
        let number = known.next;
        known.next += 1;
        let ear = Ear { changed: BTreeSet::new(), wake: Arc::clone(&wake), pieces: Vec::new() };
        known.ears.insert(number, ear);
        drop(known);
        Self { shared, number, wake }
    }

    /// What is known as one judgement looks at it.
    pub(crate) fn view(&self, judgement: usize) -> View<'_> {
        View { listener: self, judgement }
    }

    /// The judgements of whose pieces any has changed since this was called last.
    pub(crate) fn take(&self) -> BTreeSet<usize> {
        let mut known = self.shared.lock();
        known.ears.get_mut(&self.number).map(|ear| std::mem::take(&mut ear.changed)).unwrap_or_default()
    }

    /// Ends when there is something to take, or a kind can be watched again or no more.
    pub(crate) async fn changed(&self) {
        self.wake.notified().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut known = self.shared.lock();
        let pieces = known.ears.remove(&self.number).map(|ear| ear.pieces).unwrap_or_default();
        for piece in pieces {
            if let Some(all) = known.looked.get_mut(&piece) {
                all.retain(|(listener, _)| *listener != self.number);
                if all.is_empty() {
                    known.looked.remove(&piece);
                }
            }
        }
    }
}

/// What is known as one judgement looks at it: it is made again when that changes.
pub(crate) struct View<'a> {
    listener: &'a Listener,
    judgement: usize,
}

impl View<'_> {
    /// Remembers what is looked at, in one go with the look, so that no change falls between.
    fn look<T>(&self, piece: Piece, at: impl FnOnce(&Known) -> T) -> T {
        let mut known = self.listener.shared.lock();
        let number = self.listener.number;
        if known.looked.entry(piece.clone()).or_default().insert((number, self.judgement))
            && let Some(ear) = known.ears.get_mut(&number)
        {
            ear.pieces.push(piece);
        }
        at(&known)
    }

    /// An object as it is now; `None`: it is not there.
    pub(crate) fn get(&self, id: &ObjectId) -> Option<Arc<Value>> {
        self.look(Piece::Object(id.clone()), |known| known.objects.get(id).cloned())
    }

    /// The last state of an object that was deleted since somebody wanted it.
    pub(crate) fn last(&self, id: &ObjectId) -> Option<Arc<Value>> {
        self.look(Piece::Object(id.clone()), |known| known.last.get(id).cloned())
    }
}

impl Around for View<'_> {
    fn parts(&self, kind: &GroupKind, by: &By) -> Option<Vec<Arc<Value>>> {
        self.look(Piece::Parts(kind.clone(), by.clone()), |known| {
            known.parts.get(kind).filter(|all| all.listed).map(|all| all.kept.find(by))
        })
    }

    fn whole(&self, kind: &GroupKind) -> Option<Vec<Arc<Value>>> {
        self.look(Piece::Whole(kind.clone()), |known| {
            let all = known.whole.get(kind).filter(|all| all.listed)?;
            Some(all.kept.values().cloned().collect())
        })
    }
}
