//! The rows of everything that has no pods.
//! See the parent for what they mean.

use super::*;

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn rows() -> Vec<Row> {
    let webhook = |bundle: Value| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": { "name": "a" },
            "webhooks": [{ "name": "w.example", "clientConfig": { "caBundle": bundle, "service": { "namespace": "n", "name": "s" } } }],
        })
    };
    let slice = |ready: Value| {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": { "name": "s-1", "namespace": "n", "labels": { "kubernetes.io/service-name": "s" } },
            "endpoints": [{ "addresses": ["10.0.0.1"], "conditions": { "ready": ready } }],
        })
    };
    let class = |mode: &str| json!({ "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": { "name": "fast" }, "volumeBindingMode": mode });
    let claim = object(
        "v1",
        "PersistentVolumeClaim",
        json!({ "storageClassName": "fast" }),
        json!({ "phase": "Pending" }),
    );
    let consumer = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p", "namespace": "n" },
        "spec": { "volumes": [{ "persistentVolumeClaim": { "claimName": "a" } }] }, "status": { "phase": "Pending" } });
    let policy = |status: Value| {
        object("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", json!({}), status)
    };
    let service = |status: Value| {
        object("v1", "Service", json!({ "type": "LoadBalancer", "clusterIP": "10.96.0.9" }), status)
    };
    let node =
        |taints: Value| object("v1", "Node", json!({ "taints": taints }), condition_of("Ready", "True"));
    let custom = |status: Value| object("x.example/v1", "Thing", json!({}), status);
    let gateway = |status: Value| object("gateway.networking.k8s.io/v1", "Gateway", json!({}), status);
    let nobody: &'static [&'static str] = &["helm 4 (no rule)", "kapp (no rule)"];
    vec![
        Row {
            rule: "webhook: its CA is not filled in yet",
            fooled: nobody,
            around: vec![slice(json!(true))],
            early: webhook(json!("Cg==")),
            says: "webhook w.example has no caBundle yet",
            then: vec![slice(json!(null))],
            ready: webhook(json!(CERTIFICATE)),
        },
        Row {
            rule: "webhook: nobody behind its Service is ready",
            fooled: nobody,
            around: vec![slice(json!(false))],
            early: webhook(json!(CERTIFICATE)),
            says: "has no ready endpoint",
            then: vec![slice(json!(false))],
            // What fails open stops nobody.
            ready: with(webhook(json!("")), &[("/webhooks/0/failurePolicy", json!("Ignore"))]),
        },
        Row {
            rule: "admission policy: not type-checked yet",
            fooled: nobody,
            around: Vec::new(),
            early: policy(json!({})),
            says: "not type-checked yet",
            then: Vec::new(),
            ready: policy(json!({ "observedGeneration": 2, "typeChecking": {} })),
        },
        Row {
            rule: "admission policy: an expression does not fit",
            fooled: nobody,
            around: Vec::new(),
            early: policy(
                json!({ "observedGeneration": 2, "typeChecking": { "expressionWarnings": [{ "fieldRef": "spec.validations[0].expression", "warning": "apps/v1:\n undefined field 'x'" }] } }),
            ),
            says: "spec.validations[0].expression: apps/v1: undefined field 'x'",
            then: Vec::new(),
            ready: policy(json!({ "observedGeneration": 2 })),
        },
        Row {
            rule: "APIService: nobody answers",
            fooled: &["helm 4 (no rule)"],
            around: Vec::new(),
            early: object(
                "apiregistration.k8s.io/v1",
                "APIService",
                json!({}),
                condition_of("Available", "False"),
            ),
            says: "Available=False",
            then: Vec::new(),
            ready: object(
                "apiregistration.k8s.io/v1",
                "APIService",
                json!({}),
                condition_of("Available", "True"),
            ),
        },
        Row {
            rule: "CRD: established, its names not accepted",
            fooled: &["helm 4 (the first condition decides)", "kubectl wait --for=condition=Established"],
            around: Vec::new(),
            early: object(
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                json!({}),
                condition_of("Established", "True"),
            ),
            says: "not established yet",
            then: Vec::new(),
            ready: object(
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                json!({}),
                json!({ "conditions": [{ "type": "NamesAccepted", "status": "True" }, { "type": "Established", "status": "True" }] }),
            ),
        },
        Row {
            rule: "Service: no load balancer has given it an address",
            fooled: &["helm 4 (serviceConditions: clusterIP)"],
            around: Vec::new(),
            early: service(json!({ "loadBalancer": {} })),
            says: "no load-balancer address yet",
            then: Vec::new(),
            ready: service(json!({ "loadBalancer": { "ingress": [{ "hostname": "x" }] } })),
        },
        Row {
            rule: "claim: its class binds at once, and has not",
            fooled: &["kapp (no rule)"],
            around: vec![class("Immediate")],
            early: claim.clone(),
            says: "not bound yet by StorageClass fast",
            then: vec![class("WaitForFirstConsumer")],
            // helm 4 and kubectl wait for ever: nobody uses it yet, and the class waits for that.
            ready: claim.clone(),
        },
        Row {
            rule: "claim: its class waits for a pod, and there is one",
            fooled: &["kapp (no rule)"],
            around: vec![class("WaitForFirstConsumer"), consumer],
            early: claim.clone(),
            says: "not bound yet: Pod p uses it",
            then: Vec::new(),
            ready: with(claim.clone(), &[("/status/phase", json!("Bound"))]),
        },
        Row {
            rule: "claim: there is no such class",
            fooled: &["kapp (no rule)"],
            around: Vec::new(),
            early: claim.clone(),
            says: "there is no StorageClass fast",
            then: Vec::new(),
            ready: with(claim, &[("/status/phase", json!("Bound"))]),
        },
        Row {
            rule: "Ingress: no controller has given it an address",
            fooled: nobody,
            around: Vec::new(),
            early: object("networking.k8s.io/v1", "Ingress", json!({}), json!({ "loadBalancer": {} })),
            says: "no address yet",
            then: Vec::new(),
            ready: object(
                "networking.k8s.io/v1",
                "Ingress",
                json!({}),
                json!({ "loadBalancer": { "ingress": [{ "ip": "192.0.2.1" }] } }),
            ),
        },
        Row {
            rule: "Gateway: accepted, not programmed",
            fooled: nobody,
            around: Vec::new(),
            early: gateway(
                json!({ "addresses": [{ "value": "192.0.2.1" }], "conditions": [{ "type": "Accepted", "status": "True" }, { "type": "Programmed", "status": "Unknown" }] }),
            ),
            says: "Programmed=Unknown",
            then: Vec::new(),
            ready: gateway(
                json!({ "addresses": [{ "value": "192.0.2.1" }], "conditions": [{ "type": "Programmed", "status": "True", "observedGeneration": 2 }] }),
            ),
        },
        Row {
            rule: "Gateway: programmed for an older generation",
            fooled: &["helm 4", "kapp"],
            around: Vec::new(),
            early: gateway(
                json!({ "addresses": [{ "value": "192.0.2.1" }], "conditions": [{ "type": "Programmed", "status": "True", "observedGeneration": 1 }] }),
            ),
            says: "Programmed is of an older generation",
            then: Vec::new(),
            ready: gateway(
                json!({ "addresses": [{ "value": "192.0.2.1" }], "conditions": [{ "type": "Programmed", "status": "True" }] }),
            ),
        },
        Row {
            rule: "Node: ready, but without a network",
            fooled: &["kubectl wait --for=condition=Ready", "helm 4"],
            around: Vec::new(),
            early: node(json!([{ "key": "node.kubernetes.io/network-unavailable", "effect": "NoSchedule" }])),
            says: "it has the taint node.kubernetes.io/network-unavailable",
            then: Vec::new(),
            ready: node(json!([{ "key": "dedicated", "value": "gpu", "effect": "NoSchedule" }])),
        },
        Row {
            rule: "PodDisruptionBudget: not observed",
            fooled: &["helm 4 (pdbConditions)", "kapp (no rule)"],
            around: Vec::new(),
            early: object("policy/v1", "PodDisruptionBudget", json!({}), json!({})),
            says: "not observed by its controller yet",
            then: Vec::new(),
            ready: object("policy/v1", "PodDisruptionBudget", json!({}), json!({ "observedGeneration": 2 })),
        },
        Row {
            rule: "PodDisruptionBudget: its pods cannot be counted",
            fooled: &["helm 4 (pdbConditions)", "kapp (no rule)"],
            around: Vec::new(),
            early: object(
                "policy/v1",
                "PodDisruptionBudget",
                json!({}),
                json!({ "observedGeneration": 1, "conditions": [{ "type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "observedGeneration": 1,
                    "message": "daemonsets.apps does not implement the scale subresource" }] }),
            ),
            says: "SyncFailed: daemonsets.apps does not implement the scale subresource",
            then: Vec::new(),
            // It was counted before its first pods were there.
            ready: object(
                "policy/v1",
                "PodDisruptionBudget",
                json!({}),
                json!({ "observedGeneration": 2, "conditions": [{ "type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "observedGeneration": 2 }] }),
            ),
        },
        Row {
            rule: "HorizontalPodAutoscaler: not observed",
            fooled: nobody,
            around: Vec::new(),
            early: object("autoscaling/v2", "HorizontalPodAutoscaler", json!({}), json!({})),
            says: "not observed by its controller yet",
            then: Vec::new(),
            ready: object(
                "autoscaling/v2",
                "HorizontalPodAutoscaler",
                json!({}),
                condition_of("ScalingActive", "False"),
            ),
        },
        Row {
            rule: "Namespace: it goes",
            fooled: &["kapp (no rule)"],
            around: Vec::new(),
            early: object("v1", "Namespace", json!({}), json!({ "phase": "Terminating" })),
            says: "phase Terminating",
            then: Vec::new(),
            ready: object("v1", "Namespace", json!({}), json!({ "phase": "Active" })),
        },
        Row {
            rule: "custom resource: Available, not yet Ready",
            fooled: &["helm 4 (no standard condition)", "kubectl wait --for=condition=Available"],
            around: Vec::new(),
            early: custom(
                json!({ "conditions": [{ "type": "Available", "status": "True" }, { "type": "Ready", "status": "False" }] }),
            ),
            says: "Ready=False",
            then: Vec::new(),
            ready: custom(json!({ "phase": "Running" })),
        },
        Row {
            rule: "custom resource: its condition is of an older generation",
            fooled: &["helm 4"],
            around: Vec::new(),
            early: custom(
                json!({ "conditions": [{ "type": "Ready", "status": "True", "observedGeneration": 1 }] }),
            ),
            says: "Ready is of an older generation",
            then: Vec::new(),
            ready: custom(condition_of("Ready", "True")),
        },
        Row {
            rule: "anything: its status is of an older generation",
            fooled: &["kubectl wait --for=jsonpath (with --for=condition it looks at the generation)"],
            around: Vec::new(),
            early: custom(
                json!({ "observedGeneration": 1, "conditions": [{ "type": "Ready", "status": "True" }] }),
            ),
            says: "generation 2 not observed yet (status is of 1)",
            then: Vec::new(),
            ready: custom(
                json!({ "observedGeneration": 2, "conditions": [{ "type": "Ready", "status": "True" }] }),
            ),
        },
        Row {
            rule: "anything: Reconciling, though still Ready",
            fooled: &["kapp (no rule)", "kubectl wait --for=condition=Ready"],
            around: Vec::new(),
            early: custom(
                json!({ "conditions": [{ "type": "Ready", "status": "True" }, { "type": "Reconciling", "status": "True", "reason": "NewGeneration" }] }),
            ),
            says: "Reconciling=True: NewGeneration",
            then: Vec::new(),
            ready: custom(
                json!({ "conditions": [{ "type": "Ready", "status": "True" }, { "type": "Reconciling", "status": "False" }] }),
            ),
        },
        Row {
            rule: "mutating webhook: nobody behind its Service is ready",
            fooled: nobody,
            around: vec![slice(json!(false))],
            early: with(webhook(json!(CERTIFICATE)), &[("/kind", json!("MutatingWebhookConfiguration"))]),
            says: "has no ready endpoint",
            then: vec![slice(json!(true))],
            ready: with(webhook(json!(CERTIFICATE)), &[("/kind", json!("MutatingWebhookConfiguration"))]),
        },
        Row {
            rule: "anything: it is being deleted",
            fooled: &["kubectl wait --for=condition=Ready"],
            around: Vec::new(),
            early: with(
                custom(condition_of("Ready", "True")),
                &[("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"))],
            ),
            says: "it is being deleted",
            then: Vec::new(),
            ready: custom(condition_of("Ready", "True")),
        },
    ]
}
