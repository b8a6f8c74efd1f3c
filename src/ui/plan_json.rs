//! A plan for programs. Objects themselves are left out: they may hold secrets,
//! and `cozy render` prints them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::plan::{Action, Edge, Guarded, Plan, Reason, Step, StepId};

/// The plan as one document, `cozy/v1/plan`.
pub(crate) fn plan_json(plan: &Plan) -> Value {
    let edges = |edges: &[Edge]| edges.iter().map(|edge| edge_json(plan, edge)).collect::<Vec<_>>();
    json!({
        "schema": "cozy/v1/plan",
        "components": plan.components(),
        "counts": plan.counts(),
        "nothingToDo": plan.is_empty(),
        "expectedMs": millis(plan.expected),
        "criticalPath": plan.critical_path.iter().map(|&index| name(plan, index)).collect::<Vec<_>>(),
        "stoodIn": plan.stood_in,
        "guarded": plan.guarded.iter().map(guarded_json).collect::<Vec<_>>(),
        "steps": plan.steps.iter().map(step_json).collect::<Vec<_>>(),
        "edges": edges(&plan.edges),
        "dropped": edges(&plan.dropped),
    })
}

fn step_json(step: &Step) -> Value {
    let stage = match &step.id {
        StepId::Host { .. } => None,
        StepId::Stage(_, stage) => Some(stage),
    };
    json!({
        "id": step.id,
        "component": step.id.component(),
        "stage": stage,
        "work": step.work,
        "expectMs": millis(step.expect),
        "deadlineMs": millis(step.deadline),
        "done": step.done,
        "actions": step.actions.iter().map(action_json).collect::<Vec<_>>(),
    })
}

fn action_json(action: &Action) -> Value {
    let Action { id, verb, object: _, changes, takes, note, replaces: _, finished: _, autoscaled: _ } =
        action;
    json!({ "object": id, "verb": verb, "changes": changes, "takes": takes, "note": note })
}

fn guarded_json(guarded: &Guarded) -> Value {
    let Guarded { component, object, why } = guarded;
    json!({ "component": component, "object": object, "why": why })
}

fn edge_json(plan: &Plan, edge: &Edge) -> Value {
    let reason = match &edge.reason {
        Reason::Needs(_) => "needs",
        Reason::StageOrder => "stageOrder",
        Reason::Kind { .. } => "kind",
        Reason::Namespace { .. } => "namespace",
        Reason::Network { .. } | Reason::NodeNetwork { .. } => "network",
        Reason::Reference { .. } => "reference",
        Reason::Provided { .. } => "provided",
        Reason::Api { .. } => "api",
        Reason::Admission { .. } => "admission",
        Reason::Backend { .. } => "backend",
        Reason::Kubernetes => "kubernetes",
        Reason::Quorum => "quorum",
        Reason::Turns => "turns",
        Reason::Endpoints => "endpoints",
        Reason::Agents => "agents",
        Reason::PruneOrder => "pruneOrder",
    };
    json!({
        "from": name(plan, edge.from),
        "milestone": edge.milestone,
        "to": name(plan, edge.to),
        "blocks": edge.blocks,
        "reason": reason,
        "why": edge.reason.to_string(),
    })
}

fn name(plan: &Plan, index: usize) -> Option<&StepId> {
    plan.steps.get(index).map(|step| &step.id)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::model::object::Object;
    use insta::assert_snapshot;

    #[test]
    fn a_plan_is_one_document() {
        let plan = plan_json(&samples::plan());
        let mut text = String::new();
        for (key, value) in plan.as_object().unwrap() {
            match value.as_array() {
                Some(items) if items.iter().all(Value::is_object) => {
                    text.extend(items.iter().map(|item| format!("{key}[]: {item}\n")));
                }
                _ => text.push_str(&[key, ": ", &value.to_string(), "\n"].concat()),
            }
        }
        assert_snapshot!(text, @r#"
            schema: "cozy/v1/plan"
            components: ["kubernetes","cert-manager","issuers","multus"]
            counts: {"create":3,"update":1,"replace":0,"adopt":0,"keep":2,"delete":1}
            nothingToDo: false
            expectedMs: 111000
            criticalPath: ["kubernetes/node-1/init","cert-manager/crds","cert-manager/objects","issuers/resources"]
            stoodIn: ["multus"]
            steps[]: {"id":"kubernetes/node-1/init","component":"kubernetes","stage":null,"work":[],"expectMs":60000,"deadlineMs":600000,"done":false,"actions":[]}
            steps[]: {"id":"cert-manager/crds","component":"cert-manager","stage":"crds","work":[],"expectMs":1000,"deadlineMs":600000,"done":false,"actions":[{"object":{"group":"","kind":"CustomResourceDefinition","name":"issuers.cert-manager.io"},"verb":"create","changes":[],"takes":[],"note":null}]}
            steps[]: {"id":"cert-manager/objects","component":"cert-manager","stage":"objects","work":[],"expectMs":30000,"deadlineMs":600000,"done":false,"actions":[{"object":{"group":"","kind":"Deployment","namespace":"cert-manager","name":"cert-manager"},"verb":"create","changes":[],"takes":[],"note":null},{"object":{"group":"","kind":"ConfigMap","namespace":"cert-manager","name":"ca"},"verb":"update","changes":[{"field":".data.bundle","from":"\"old\"","to":"\"new \\\"quoted\\\"\""},{"field":".data.added","from":null,"to":"1"},{"field":".data.gone","from":"true","to":null}],"takes":[],"note":null},{"object":{"group":"","kind":"Namespace","name":"cert-manager"},"verb":"keep","changes":[],"takes":[],"note":null}]}
            steps[]: {"id":"issuers/resources","component":"issuers","stage":"resources","work":[],"expectMs":20000,"deadlineMs":600000,"done":false,"actions":[{"object":{"group":"","kind":"ClusterIssuer","name":"cozy"},"verb":"create","changes":[],"takes":[],"note":null}]}
            steps[]: {"id":"multus/objects","component":"multus","stage":"objects","work":[],"expectMs":5000,"deadlineMs":600000,"done":true,"actions":[{"object":{"group":"","kind":"DaemonSet","namespace":"kube-system","name":"multus"},"verb":"keep","changes":[],"takes":[],"note":null}]}
            steps[]: {"id":"issuers/prune","component":"issuers","stage":"prune","work":[],"expectMs":1000,"deadlineMs":600000,"done":false,"actions":[{"object":{"group":"","kind":"Issuer","namespace":"old","name":"cozy"},"verb":"delete","changes":[],"takes":[],"note":null}]}
            edges[]: {"from":"kubernetes/node-1/init","milestone":"ready","to":"cert-manager/crds","blocks":"apply","reason":"kubernetes","why":"there is no API server before"}
            edges[]: {"from":"cert-manager/crds","milestone":"ready","to":"cert-manager/objects","blocks":"apply","reason":"stageOrder","why":"stages go in order"}
            edges[]: {"from":"kubernetes/node-1/init","milestone":"ready","to":"cert-manager/objects","blocks":"apply","reason":"kubernetes","why":"there is no API server before"}
            edges[]: {"from":"cert-manager/crds","milestone":"ready","to":"issuers/resources","blocks":"apply","reason":"kind","why":"ClusterIssuer cozy is a ClusterIssuer.cert-manager.io"}
            edges[]: {"from":"cert-manager/objects","milestone":"applied","to":"issuers/resources","blocks":"ready","reason":"reference","why":"ClusterIssuer cozy uses Deployment cert-manager/cert-manager"}
            edges[]: {"from":"cert-manager/objects","milestone":"ready","to":"issuers/resources","blocks":"apply","reason":"needs","why":"needs: cert-manager"}
            edges[]: {"from":"kubernetes/node-1/init","milestone":"ready","to":"multus/objects","blocks":"apply","reason":"kubernetes","why":"there is no API server before"}
            edges[]: {"from":"issuers/resources","milestone":"ready","to":"issuers/prune","blocks":"apply","reason":"pruneOrder","why":"what is used goes after what uses it"}
            dropped[]: {"from":"issuers/resources","milestone":"applied","to":"cert-manager/objects","blocks":"ready","reason":"reference","why":"Deployment cert-manager/cert-manager uses CustomResourceDefinition issuers.cert-manager.io"}
        "#);
    }

    #[test]
    fn a_secrets_data_is_not_in_it() {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "data": { "key": "c2VjcmV0" }
        });
        let mut plan = samples::plan();
        plan.steps[1].actions[0].object = Some(std::sync::Arc::new(Object::from_value(secret).unwrap()));
        assert!(!plan_json(&plan).to_string().contains("c2VjcmV0"));
    }
}
