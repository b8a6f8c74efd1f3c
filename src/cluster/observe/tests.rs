//! What is seen of a cluster before a plan.

use serde_json::json;

use super::look::{MANY, OTHERS};
use super::*;
use crate::plan::live::Verdict;
use crate::plan::tests::{component, of};

/// Found by reading: that nobody could say who scales what was taken for "nobody does".
#[tokio::test(start_paused = true)]
async fn replicas_are_not_taken_from_autoscalers_that_cannot_be_listed() {
    let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
    let cluster = Cluster::new(simulated.client()).await.unwrap();
    let metadata = json!({ "name": "d", "namespace": "default" });
    let wanted = |spec: Value| {
        let value =
            json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec });
        of(vec![component("a", vec![(Stage::Objects, Arc::new(Object::from_value(value).unwrap()))])])
    };
    let (mut scaled, mut unscaled) = (wanted(json!({ "replicas": 3 })), wanted(json!({})));
    assert!(cluster.observe(&mut scaled, Inventories::default(), 4).await.is_ok());
    let scalers = "horizontalpodautoscalers";
    simulated.refuse(cozy_sim::Refusal::of("list", scalers, 503, "ServiceUnavailable", "not now"));
    let refused = cluster.observe(&mut scaled, Inventories::default(), 4).await.err().unwrap();
    assert!(refused.is_transient() && refused.to_string().contains("HorizontalPodAutoscaler"), "{refused}");
    assert!(cluster.observe(&mut unscaled, Inventories::default(), 4).await.is_ok());
}

/// Found by reading: while nobody answered a webhook, nothing could be planned, what mends it included.
#[tokio::test(start_paused = true)]
async fn a_webhook_that_does_not_answer_does_not_end_the_look() {
    let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
    let cluster = Cluster::new(simulated.client()).await.unwrap();
    let config = |data: &str| {
        let value = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "namespace": "default" }, "data": { "is": data } });
        Arc::new(Object::from_value(value).unwrap())
    };
    cluster.apply(&config("1"), ApplyMode::default()).await.unwrap();
    let words = "Internal error occurred: failed calling webhook \"x.example.org\": connection refused";
    for (message, passes) in [(words, true), ("Internal error occurred: etcd is away", false)] {
        simulated.refuse_nothing();
        simulated.refuse(cozy_sim::Refusal::of("patch", "configmaps/a", 500, "InternalError", message));
        let mut desired = of(vec![component("a", vec![(Stage::Objects, config("2"))])]);
        let found = cluster.observe(&mut desired, Inventories::default(), 4).await;
        let verdict = found.ok().map(|(observed, _)| observed.objects[&config("2").id].verdict.clone());
        let refused = matches!(&verdict, Some(Verdict::Change { refused: Some(said), .. }) if said == words);
        assert_eq!((verdict.is_some(), refused), (passes, passes), "{message}");
    }
}

/// Objects of one kind in many namespaces are looked at by one list; those of others in it are not taken for ours.
#[tokio::test(start_paused = true)]
async fn many_namespaces_are_looked_at_together() {
    let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
    let cluster = Cluster::new(simulated.client()).await.unwrap();
    let object = |kind: &str, namespace: &str, name: &str| {
        let metadata = json!({ "name": name, "namespace": namespace });
        let value = json!({ "apiVersion": "v1", "kind": kind, "metadata": metadata, "data": {} });
        Arc::new(Object::from_value(value).unwrap())
    };
    let namespaces: Vec<String> = (0..MANY).map(|number| format!("n-{number}")).collect();
    for namespace in [namespaces[3].as_str(), "other"] {
        let own = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
        cluster.apply(&Object::from_value(own).unwrap(), ApplyMode::default()).await.unwrap();
        for kind in ["ConfigMap", "Secret"] {
            cluster.apply(&object(kind, namespace, "a"), ApplyMode::default()).await.unwrap();
        }
    }
    // What was found, and how many objects and lists were asked for.
    let look = async |kind: &str, names: &[&str]| {
        let all =
            namespaces.iter().flat_map(|namespace| names.iter().map(|name| object(kind, namespace, name)));
        let mut desired = of(vec![component("a", all.map(|object| (Stage::Objects, object)).collect())]);
        let asked = || {
            ["get", "list"].map(|verb| simulated.requests().by_verb.get(verb).copied().unwrap_or_default())
        };
        let before = asked();
        let (observed, _) = cluster.observe(&mut desired, Inventories::default(), 4).await.unwrap();
        let ([gets, lists], [gets_before, lists_before]) = (asked(), before);
        (observed.objects.into_keys().collect::<Vec<_>>(), gets - gets_before, lists - lists_before)
    };
    let many = MANY as u64;
    let (configs, gets, lists) = look("ConfigMap", &["a"]).await;
    assert_eq!(configs, [object("ConfigMap", &namespaces[3], "a").id.clone()]);
    let (secrets, gets_alone, lists_alone) = look("Secret", &["a"]).await;
    assert_eq!(secrets, [object("Secret", &namespaces[3], "a").id.clone()]);
    assert_eq!((gets_alone, lists_alone), (gets + many, lists - 1));

    // Where most of a kind are others', nobody reads them all: namespaces are looked at one by one.
    for number in 0..MANY * OTHERS * 2 {
        let other = object("ConfigMap", "other", &format!("b-{number}"));
        cluster.apply(&other, ApplyMode::default()).await.unwrap();
    }
    assert_eq!(look("ConfigMap", &["a"]).await, (configs.clone(), gets + many - 1, lists));
    let some = ["a", "c", "d", "e", "f", "g", "h", "i"];
    for number in 0..MANY * OTHERS * some.len() * 2 {
        let other = object("ConfigMap", "other", &format!("d-{number}"));
        cluster.apply(&other, ApplyMode::default()).await.unwrap();
    }
    // One of them was on the first page: what is left of its namespace is not many.
    assert_eq!(look("ConfigMap", &some).await, (configs, gets + many - 1, lists + many - 1));
}

/// What was applied counts before what another component was only about to apply.
#[test]
fn inventories_say_what_was_applied() {
    let value =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "namespace": "x" } });
    let id = Object::from_value(value).unwrap().id;
    let mut planned = Inventory::default();
    planned.add(&id);
    let mut applied = planned.clone();
    applied.record(&id, Entry { desired: Some("x".to_owned()), ..Entry::default() });
    for [a, b] in [[planned.clone(), applied.clone()], [applied, planned]] {
        let all = [("a".parse().unwrap(), a), ("b".parse().unwrap(), b)].into();
        assert!(indexed(&all)[&id].desired.is_some());
    }
}

/// What a run was about to apply when it ended was made by others since: that is asked about, as if no run had been.
#[tokio::test(start_paused = true)]
async fn what_others_made_in_the_place_of_what_never_was_is_foreign() {
    let simulated = cozy_sim::Cluster::new(cozy_sim::Options::default());
    let cluster = Cluster::new(simulated.client()).await.unwrap();
    let value = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "namespace": "default" }, "data": { "a": "b" } });
    let object = Arc::new(Object::from_value(value).unwrap());
    let api = cluster.api(&object.id, "").unwrap();
    let params = kube::api::PostParams { field_manager: Some("hand".to_owned()), ..Default::default() };
    api.create(&params, &serde_json::from_value(object.value.clone()).unwrap()).await.unwrap();
    let mut planned = Inventory::default();
    planned.add(&object.id);
    let mut applied = planned.clone();
    applied.record(&object.id, Entry { desired: Some("x".to_owned()), ..Entry::default() });
    for (inventory, foreign) in [(planned, Some(vec!["hand".to_owned()])), (applied, None)] {
        let all = [("a".parse().unwrap(), inventory)].into();
        let inventories = Inventories { all, ..Inventories::default() };
        let mut desired = of(vec![component("a", vec![(Stage::Objects, Arc::clone(&object))])]);
        let (observed, _) = cluster.observe(&mut desired, inventories, 4).await.unwrap();
        assert_eq!(observed.objects[&object.id].foreign, foreign);
    }
}
