//! Faults that are injected into rehearsals: how each ends, and that a seed decides all of it.

use std::process::Output;

use serde_json::Value;

use super::{REHEARSAL, cozy, some, text};

/// Rehearses `examples/edge.yaml` with faults.
pub(crate) fn faulty(faults: &[&str], seed: &str) -> Output {
    let mut arguments: Vec<&str> = REHEARSAL.to_vec();
    arguments.extend(["-o", "json", "--seed", seed]);
    for fault in faults {
        arguments.extend(["--inject", fault]);
    }
    cozy(&arguments)
}

/// What was wrong with the component that failed first: gate, the chain down to the cause, and what to do.
fn diagnosis(output: &Output) -> String {
    let events = text(&output.stdout);
    let mut events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let failed = events.find(|event| event["event"] == "componentFailed").expect("a component failed");
    let failure = &failed["failure"];
    let chain = failure["chain"].as_array().unwrap().iter();
    let chain = chain.map(|cause| {
        format!("{}: {}", cause["object"].as_str().unwrap(), cause["message"].as_str().unwrap())
    });
    let words = [&failed["component"], &failure["message"], &failure["hint"]]
        .map(|it| it.as_str().unwrap_or_default().to_owned());
    words.into_iter().chain(chain).collect::<Vec<_>>().join("\n")
}

/// Faults that a run gets over.
const PASSING: &[&str] = &[
    "api=429:20%",
    "api=500:20%",
    "api=503:20%",
    "api=504:20%",
    "api=reset:20%",
    "api=lost:20%",
    "api=latency:200ms",
    "api=restart@62s+20s",
    "watch=drop:5s",
    "watch=stall@100s",
    "watch=gone@80s",
    "deployment/cert-manager=CrashLoopBackOff+30s",
    "deployment/cert-manager=OOMKilled+20s",
    "daemonset/cilium=ImagePullBackOff+30s",
    "deployment/metrics-server=CreateContainerConfigError+30s",
    "deployment/metrics-server=FailedMount+60s",
    "deployment/local-path-provisioner=Unschedulable+1m",
    "Certificate/cozy-ca=silent+30s",
    "webhook/cert-manager-webhook=down+3m",
    "webhook/cert-manager-webhook=certificate+3m",
    "webhook/cert-manager-webhook=deny+2m",
    "apiservice/v1beta1.metrics.k8s.io=down+2m",
    "component/cilium=slow:3x",
    "host/node-2=unreachable@65s+10s",
    "host/node-2=unreachable@65s+4m",
    "host/node-1=reboot@40s",
    "host/node-3=slow:3x",
];

/// Faults that last: the exit code, and what the diagnosis says.
const LASTING: &[(&str, i32, &[&str])] = &[
    (
        "deployment/cert-manager=CrashLoopBackOff",
        5,
        &["cert-manager", "CrashLoopBackOff (restarts 6, exit 1)", "event: BackOff"],
    ),
    ("deployment/cert-manager=OOMKilled", 5, &["cert-manager", "OOMKilled, exit 137"]),
    ("daemonset/cilium=ErrImagePull", 5, &["cilium", "not ready after 1m", "stand-in: not found"]),
    ("deployment/metrics-server=ImagePullBackOff", 5, &["metrics-server", "Back-off pulling image"]),
    (
        "deployment/metrics-server=CreateContainerConfigError",
        5,
        &["metrics-server", "configmap \"stand-in\" not found"],
    ),
    ("deployment/metrics-server=FailedMount", 5, &["metrics-server", "MountVolume.SetUp failed"]),
    (
        "deployment/local-path-provisioner=Unschedulable",
        5,
        &["local-storage", "PodScheduled=False: Unschedulable", "Insufficient cpu"],
    ),
    (
        "apiservice/v1beta1.metrics.k8s.io=down",
        5,
        &["metrics-server", "gate: APIService v1beta1.metrics.k8s.io", "MissingEndpoints"],
    ),
    (
        "Certificate/cozy-ca=silent",
        5,
        &["issuers", "gate: Certificate cozy-cert-manager/cozy-ca", "no field `status`"],
    ),
    ("webhook/cert-manager-webhook=down", 5, &["cert-manager", "connect: connection refused"]),
    (
        "webhook/cert-manager-webhook=certificate",
        5,
        &["cert-manager", "x509: certificate signed by unknown authority"],
    ),
    (
        "webhook/cert-manager-webhook=deny",
        1,
        &["issuers", "denied the request: denied by --inject", "a webhook refuses it"],
    ),
    ("host/node-2=unreachable@65s+10m", 1, &["kubernetes", "host `node-2`"]),
    ("host/node-3=refused@10s", 1, &["kubernetes", "node-3"]),
    ("host/node-3=disk-full", 1, &["kubernetes", "node-3"]),
];

/// Faults that are none: what is said.
const WRONG: &[(&str, &str)] = &[
    ("webhook/cert-manager-webhok=down", "did you mean `cert-manager-webhook`?"),
    ("deployment/cert-manger=OOMKilled", "did you mean `cert-manager`?"),
    ("component/cilum=slow:3x", "did you mean `cilium`?"),
    ("api=429", "say how much"),
    ("api=429:101%", "a share is a number from 0% to 100%"),
    ("api=restart", "say when"),
    ("watch=drop@10s", "takes no time"),
    ("nope/x=silent", "the plan has no"),
    ("deployment/cert-manager=Sulks", "is unknown here; there are"),
    ("disk=full", "is nothing that fails"),
    ("host/node-9=reboot@40s", "the plan has no"),
    ("host/node-1=melts", "is unknown here"),
];

#[test]
fn what_passes_is_got_over_and_what_lasts_is_diagnosed() {
    for fault in PASSING.iter().step_by(some(3)) {
        let output = faulty(&[fault], "0");
        assert_eq!(output.status.code(), Some(0), "{fault}: {}", text(&output.stdout));
    }
    for (fault, code, words) in LASTING.iter().step_by(some(3)) {
        let output = faulty(&[fault], "0");
        assert_eq!(output.status.code(), Some(*code), "{fault}: {}", text(&output.stdout));
        let diagnosis = diagnosis(&output);
        for word in *words {
            assert!(diagnosis.contains(word), "{fault}: no {word:?} in\n{diagnosis}");
        }
    }
}

#[test]
fn every_form_of_a_fault_is_tried() {
    let help = cozy(&["install", "--rehearse", "--inject", "help"]);
    let forms = text(&help.stdout);
    let tried: Vec<&str> = PASSING.iter().copied().chain(LASTING.iter().map(|(fault, ..)| *fault)).collect();
    let mut known = 0;
    for form in forms.lines().filter(|line| line.contains('=')) {
        let form = form.split_whitespace().next().unwrap();
        let (target, what) = form.split_once('=').unwrap();
        let what: String = what.chars().take_while(char::is_ascii_alphanumeric).collect();
        let upper = |text: &str| text.chars().all(|c| c.is_ascii_uppercase());
        let matches = |fault: &&str| {
            let (own, rest) = fault.split_once('=').unwrap();
            let kind = target.split('/').next().unwrap();
            rest.starts_with(&what) && (upper(kind) || own.split('/').next() == Some(kind))
        };
        assert!(tried.iter().any(matches), "{form} is not tried");
        known += 1;
    }
    assert!(known >= 20, "{known} forms:\n{forms}");
}

#[test]
fn what_is_no_fault_is_refused_with_the_nearest() {
    for (fault, words) in WRONG {
        let output = faulty(&[fault], "0");
        assert_eq!(output.status.code(), Some(2), "{fault}");
        let said = text(&output.stderr);
        assert!(said.contains(words), "{fault}: no {words:?} in\n{said}");
    }
}

#[test]
fn transient_faults_converge_with_every_seed_and_one_seed_gives_the_same_bytes() {
    let transient = ["api=429:20%", "api=503:20%", "api=reset:20%", "api=lost:20%", "watch=drop:7s"];
    for seed in (0..20).step_by(some(5)) {
        let output = faulty(&transient, &seed.to_string());
        assert_eq!(output.status.code(), Some(0), "seed {seed}: {}", text(&output.stdout));
    }
    // More than once: an order by chance can be the same by chance.
    let first = faulty(&transient, "7").stdout;
    for _ in 0..4 {
        assert_eq!(first, faulty(&transient, "7").stdout);
    }
    assert_ne!(first, faulty(&transient, "8").stdout);
}
