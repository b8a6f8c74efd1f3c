//! The chores: what the server does by itself after a while. Owners' dependants, namespaces' contents.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::crd;
use crate::delete::{self, Deletion};
use crate::json as tree;
use crate::kinds::{Kind, ResourceId};
use crate::state::{Chore, State};
use crate::store::Key;

impl State {
    /// Does a chore.
    pub(crate) fn run(&mut self, chore: Chore) {
        match chore {
            Chore::Establish(name) => crd::establish(self, &name),
            Chore::Publish(name) => crd::publish(self, &name),
            Chore::DropCustom(name) => crd::drop_custom(self, &name),
            Chore::Furnish(namespace) => {
                if !self.namespace_is_deleting(&namespace) {
                    self.furnish(&namespace);
                }
            }
            Chore::EmptyNamespace(namespace) => self.empty_namespace(&namespace),
            Chore::Collect(uid) => self.collect(&uid),
            Chore::Availability(name) => self.availability(&name),
            Chore::Unprotect(id, key) => self.unprotect(&id, &key),
            Chore::Release(id, key) => self.release(&id, &key),
        }
    }

    /// Lets go of a claim that no pod uses, of a volume that no claim is bound to, and of a class of attributes.
    fn unprotect(&mut self, id: &Arc<ResourceId>, key: &Key) {
        let Some(kind) = self.kind_of(id) else { return };
        let Some(stored) = self.get(&kind, key).filter(|stored| stored.deleting) else { return };
        let used = if kind.is("", "persistentvolumeclaims") {
            let pods = self.builtin("", "v1", "pods");
            let store =
                self.stores.get(&pods.id).map(|store| store.objects.range(Key::new(&key.namespace, "")..));
            let mut pods_here =
                store.into_iter().flatten().take_while(|(pod, _)| pod.namespace == key.namespace);
            pods_here.any(|(_, pod)| claims(&pod.value(&pods)).any(|claim| claim == key.name))
        } else {
            tree::text(&stored.value(&kind), &["status", "phase"]) == "Bound"
        };
        if !used {
            let short = match kind.plural() {
                "persistentvolumes" => "pv",
                "volumeattributesclasses" => "vac",
                _ => "pvc",
            };
            self.drop_finalizer(&kind, key, &format!("kubernetes.io/{short}-protection"));
        }
    }

    /// Looks again at the claims of a pod that is gone.
    pub(crate) fn unprotect_claims(&mut self, pod: &Value) {
        let kind = self.builtin("", "v1", "persistentvolumeclaims");
        let namespace = tree::text(pod, &["metadata", "namespace"]).to_owned();
        let lag = self.options.lag;
        for claim in claims(pod).map(str::to_owned).collect::<Vec<_>>() {
            self.later(lag, Chore::Unprotect(kind.id.clone(), Key::new(&namespace, &claim)));
        }
    }

    /// Deletes what named a gone object as its only owner; from the rest takes that owner out.
    fn collect(&mut self, uid: &str) {
        let dependents: Vec<_> = self.dependents.get(uid).into_iter().flatten().cloned().collect();
        for (id, key) in dependents {
            let Some(kind) = self.kind_of(&id) else { continue };
            self.disown(&kind, &key, uid);
        }
    }

    fn disown(&mut self, kind: &Kind, key: &Key, uid: &str) {
        let Some(stored) = self.get(kind, key).cloned() else { return };
        let alone = stored.owners.iter().all(|owner| owner == uid || !self.lives(owner));
        if alone {
            // A refusal can only say that it is gone, which is what is wanted.
            drop(delete::remove(self, kind, key, &Deletion::BACKGROUND));
        } else {
            self.take_owner_out(kind, key, uid);
        }
    }

    fn take_owner_out(&mut self, kind: &Kind, key: &Key, uid: &str) {
        let Some(stored) = self.get(kind, key).cloned() else { return };
        let mut object = stored.value(kind);
        let metadata = tree::object(&mut object, "metadata");
        if let Some(Value::Array(owners)) = metadata.get_mut("ownerReferences") {
            owners.retain(|owner| owner.get("uid").is_none_or(|it| it != uid));
            if owners.is_empty() {
                metadata.shift_remove("ownerReferences");
            }
        }
        self.put(kind, &mut object);
    }

    /// Tells whether an owner is still there: everything with this uid in any store.
    fn lives(&self, uid: &str) -> bool {
        self.stores.values().any(|store| store.objects.values().any(|stored| stored.uid == uid))
    }

    /// Deletes (foreground) or frees (orphan) dependants, and lets the owner go when none is left.
    fn release(&mut self, id: &Arc<ResourceId>, key: &Key) {
        let Some(kind) = self.kind_of(id) else { return };
        let Some(stored) = self.get(&kind, key).cloned() else { return };
        let object = stored.value(&kind);
        let finalizers = tree::items(object.get("metadata").unwrap_or(&Value::Null), "finalizers");
        let dependents: Vec<_> = self.dependents.get(&stored.uid).into_iter().flatten().cloned().collect();
        let orphan = finalizers.iter().any(|it| it == "orphan");
        if !orphan && !finalizers.iter().any(|it| it == "foregroundDeletion") {
            return;
        }
        let mut blocked = false;
        for (id, key) in dependents {
            let Some(kind) = self.kind_of(&id) else { continue };
            if orphan {
                self.take_owner_out(&kind, &key, &stored.uid);
            } else {
                let blocks = self.blocks(&kind, &key, &stored.uid);
                self.disown(&kind, &key, &stored.uid);
                blocked |= blocks && self.get(&kind, &key).is_some();
            }
        }
        if !blocked {
            self.waiting.remove(&stored.uid);
            self.drop_finalizer(&kind, key, if orphan { "orphan" } else { "foregroundDeletion" });
        }
    }

    fn blocks(&self, kind: &Kind, key: &Key, owner: &str) -> bool {
        let Some(stored) = self.get(kind, key) else { return false };
        let object = stored.value(kind);
        let owners = tree::items(object.get("metadata").unwrap_or(&Value::Null), "ownerReferences");
        owners.iter().any(|it| {
            it.get("uid").is_some_and(|it| it == owner)
                && it.get("blockOwnerDeletion").is_some_and(|it| it == true)
        })
    }

    /// Takes a finalizer off an object, which goes when it was the last.
    pub(crate) fn drop_finalizer(&mut self, kind: &Kind, key: &Key, finalizer: &str) {
        let Some(stored) = self.get(kind, key).cloned() else { return };
        let mut object = stored.value(kind);
        let metadata = tree::object(&mut object, "metadata");
        let mut left = 0;
        if let Some(Value::Array(finalizers)) = metadata.get_mut("finalizers") {
            finalizers.retain(|it| it != finalizer);
            left = finalizers.len();
        }
        if left == 0 {
            metadata.shift_remove("finalizers");
        }
        if left == 0 && stored.deleting {
            self.remove(kind, object);
        } else {
            self.put(kind, &mut object);
        }
    }

    /// Deletes what is in a namespace that goes, and the namespace once nothing is left.
    fn empty_namespace(&mut self, namespace: &str) {
        let namespaces = self.builtin("", "v1", "namespaces");
        let key = Key::new("", namespace);
        let Some(stored) = self.get(&namespaces, &key).cloned().filter(|stored| stored.deleting) else {
            return;
        };
        let mut contents = Vec::new();
        for (id, store) in &self.stores {
            let range = store.objects.range(Key::new(namespace, "")..);
            let inside = range.take_while(|(key, _)| key.namespace == namespace && !namespace.is_empty());
            contents.extend(inside.map(|(key, stored)| (id.clone(), key.clone(), stored.deleting)));
        }
        let held = contents.iter().filter(|(.., deleting)| *deleting).count();
        if contents.len() > held {
            for (id, key, deleting) in contents {
                if let Some(kind) = self.kind_of(&id).filter(|_| !deleting) {
                    drop(delete::remove(self, &kind, &key, &Deletion::BACKGROUND));
                }
            }
            let lag = self.options.lag;
            self.later(lag, Chore::EmptyNamespace(namespace.to_owned()));
            return;
        }
        let mut object = stored.value(&namespaces);
        if held > 0 {
            self.say_what_remains(&namespaces, object, held);
            return;
        }
        if tree::at(&object, &["metadata"]).is_some_and(|it| tree::items(it, "finalizers").is_empty()) {
            object["spec"] = json!({});
            self.remove(&namespaces, object);
        }
    }

    fn say_what_remains(&mut self, namespaces: &Kind, mut object: Value, held: usize) {
        let now = self.stamp();
        let message =
            format!("Some content in the namespace has finalizers remaining: {held} resource instances");
        let conditions = json!([{
            "type": "NamespaceFinalizersRemaining", "status": "True", "reason": "SomeFinalizersRemain",
            "message": message, "lastTransitionTime": now,
        }]);
        let same = tree::at(&object, &["status", "conditions"]).and_then(Value::as_array).is_some_and(
            |conditions| conditions.iter().any(|it| it.get("message").is_some_and(|it| *it == message)),
        );
        if !same {
            object["status"]["conditions"] = conditions;
            self.put(namespaces, &mut object);
        }
    }
}

/// Answers the names of the claims that a pod uses.
fn claims(pod: &Value) -> impl Iterator<Item = &str> {
    let volumes = pod.get("spec").map_or(&[][..], |spec| tree::items(spec, "volumes"));
    volumes.iter().filter_map(|volume| tree::at(volume, &["persistentVolumeClaim", "claimName"])?.as_str())
}
