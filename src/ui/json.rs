//! One JSON document a line and event, for programs.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use serde::Serialize;

use crate::execute::event::{Event, Reporter};

use super::out::Sink;
use super::text::is_hostile;

/// Prints events as JSON lines.
pub(crate) struct Json {
    sink: Sink,
    /// Why the first event that could not be printed was not.
    unwritten: Arc<OnceLock<String>>,
}

/// An event with its schema in front.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    #[serde(flatten)]
    event: &'a Event,
}

impl Json {
    /// Prints to `sink`; what goes wrong is put into `unwritten`.
    pub(crate) fn new(sink: Sink, unwritten: Arc<OnceLock<String>>) -> Self {
        Self { sink, unwritten }
    }
}

impl Reporter for Json {
    fn report(&self, event: &Event) {
        // A full disk must not stop a run half way; the log file has it all.
        if let Err(error) = self.sink.write(&line(event)) {
            let _ = self.unwritten.set(error.to_string());
        }
    }
}

/// The event as one line.
pub(crate) fn line(event: &Event) -> String {
    let document = Document { schema: "cozy/v1/event", event };
    let text = serde_json::to_string(&document).expect("events are maps with keys that are strings");
    escape(&text) + "\n"
}

/// Writes what a terminal acts on as `\u` escapes: the same JSON, but safe to
/// look at. Such characters can only be inside strings.
pub(crate) fn escape(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_hostile(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}").expect("a String takes every write");
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use insta::assert_snapshot;

    #[test]
    fn one_event_a_line_with_the_schema_first() {
        let text: String = samples::run().iter().chain(&samples::failing_run()).map(line).collect();
        assert_snapshot!(text, @r#"
            {"schema":"cozy/v1/event","atMs":0,"event":"runStarted","cloud":"demo","bundle":"edge 1.0.0","hosts":3,"provider":"kubeadm v1.36.1","rehearsal":true,"stoodIn":["cilium"],"components":["kubernetes","cilium","cert-manager","issuers"],"counts":{"create":86,"update":0,"replace":0,"adopt":0,"keep":0,"delete":0},"expectedMs":161000}
            {"schema":"cozy/v1/event","atMs":0,"event":"stepStarted","step":"kubernetes/node-1/init","objects":0}
            {"schema":"cozy/v1/event","atMs":2000,"event":"stepApplied","step":"kubernetes/node-1/init"}
            {"schema":"cozy/v1/event","atMs":62000,"event":"stepReady","step":"kubernetes/node-1/init","after":null}
            {"schema":"cozy/v1/event","atMs":62000,"event":"componentReady","component":"kubernetes","objects":0,"tookMs":62000,"after":[]}
            {"schema":"cozy/v1/event","atMs":62000,"event":"stepStarted","step":"cert-manager/crds","objects":6}
            {"schema":"cozy/v1/event","atMs":62400,"event":"stepApplied","step":"cert-manager/crds"}
            {"schema":"cozy/v1/event","atMs":63000,"event":"stepReady","step":"cert-manager/crds","after":"kubernetes/node-1/init"}
            {"schema":"cozy/v1/event","atMs":62000,"event":"stepStarted","step":"cilium/objects","objects":38}
            {"schema":"cozy/v1/event","atMs":66000,"event":"stepApplied","step":"cilium/objects"}
            {"schema":"cozy/v1/event","atMs":110000,"event":"stepReady","step":"cilium/objects","after":"kubernetes/node-1/init"}
            {"schema":"cozy/v1/event","atMs":110000,"event":"componentReady","component":"cilium","objects":38,"tookMs":48000,"after":["kubernetes"]}
            {"schema":"cozy/v1/event","atMs":110000,"event":"stepStarted","step":"cert-manager/objects","objects":41}
            {"schema":"cozy/v1/event","atMs":110100,"event":"object","step":"cert-manager/objects","object":"Deployment cert-manager/webhook","verb":"create"}
            {"schema":"cozy/v1/event","atMs":110200,"event":"retry","step":"cert-manager/objects","object":"ConfigMap cert-manager/ca","attempt":1,"delayMs":500,"reason":"429: too many requests"}
            {"schema":"cozy/v1/event","atMs":112000,"event":"stepApplied","step":"cert-manager/objects"}
            {"schema":"cozy/v1/event","atMs":113000,"event":"waiting","step":"cert-manager/objects","object":"Deployment cert-manager/cert-manager","reason":"0 of 1 replicas available","remaining":3,"softFailure":false}
            {"schema":"cozy/v1/event","atMs":120000,"event":"waiting","step":"cert-manager/objects","object":"Deployment cert-manager/cert-manager","reason":"0 of 1 replicas available","remaining":3,"softFailure":false}
            {"schema":"cozy/v1/event","atMs":131000,"event":"waiting","step":"cert-manager/objects","object":"Deployment cert-manager/cert-manager","reason":"endpoint 0 of 1 ready","remaining":1,"softFailure":false}
            {"schema":"cozy/v1/event","atMs":140000,"event":"stepReady","step":"cert-manager/objects","after":"cilium/objects"}
            {"schema":"cozy/v1/event","atMs":140000,"event":"componentReady","component":"cert-manager","objects":47,"tookMs":78000,"after":["cilium","kubernetes"]}
            {"schema":"cozy/v1/event","atMs":140000,"event":"stepStarted","step":"issuers/resources","objects":1}
            {"schema":"cozy/v1/event","atMs":140200,"event":"stepApplied","step":"issuers/resources"}
            {"schema":"cozy/v1/event","atMs":161000,"event":"stepReady","step":"issuers/resources","after":null}
            {"schema":"cozy/v1/event","atMs":161000,"event":"componentReady","component":"issuers","objects":1,"tookMs":21000,"after":["cert-manager"]}
            {"schema":"cozy/v1/event","atMs":161000,"event":"runFinished","outcome":"done","counts":{"create":86,"update":0,"replace":0,"adopt":0,"keep":0,"delete":0},"failed":[],"unfinished":[],"tookMs":161000,"criticalPath":["kubernetes","cilium","cert-manager","issuers"]}
            {"schema":"cozy/v1/event","atMs":0,"event":"runStarted","cloud":"demo","bundle":"edge 1.0.0","hosts":3,"provider":"kubeadm v1.36.1","rehearsal":true,"stoodIn":["cilium"],"components":["kubernetes","linstor","vm-images"],"counts":{"create":20,"update":0,"replace":0,"adopt":0,"keep":0,"delete":0},"expectedMs":100000}
            {"schema":"cozy/v1/event","atMs":0,"event":"stepStarted","step":"kubernetes/node-1/init","objects":0}
            {"schema":"cozy/v1/event","atMs":1000,"event":"stepApplied","step":"kubernetes/node-1/init"}
            {"schema":"cozy/v1/event","atMs":60000,"event":"stepReady","step":"kubernetes/node-1/init","after":null}
            {"schema":"cozy/v1/event","atMs":60000,"event":"componentReady","component":"kubernetes","objects":0,"tookMs":60000,"after":[]}
            {"schema":"cozy/v1/event","atMs":60000,"event":"stepStarted","step":"linstor/objects","objects":12}
            {"schema":"cozy/v1/event","atMs":61000,"event":"stepApplied","step":"linstor/objects"}
            {"schema":"cozy/v1/event","atMs":62000,"event":"waiting","step":"linstor/objects","object":"Deployment linstor/linstor","reason":"container manager: CrashLoopBackOff","remaining":1,"softFailure":true}
            {"schema":"cozy/v1/event","atMs":65000,"event":"warning","message":"component vm-images has no gate"}
            {"schema":"cozy/v1/event","atMs":122000,"event":"componentFailed","component":"linstor","step":"linstor/objects","failure":{"code":"C3012","message":"not ready after 62s (gate: deployment/piraeus-operator)","chain":[{"object":"deployment cozy-storage/piraeus-operator","message":"1 of 1 replicas unavailable"},{"object":"pod piraeus-operator-6d9f-x2k4q","message":"container manager: CrashLoopBackOff (restarts 4, exit 1)\nfailed to load kernel module drbd: exec format error"}],"hint":"apt-get install linux-headers-$(uname -r) on node-2, then `cozy install` goes on from here"},"blocks":["vm-images"]}
            {"schema":"cozy/v1/event","atMs":122500,"event":"interrupted","signal":"SIGINT"}
            {"schema":"cozy/v1/event","atMs":123000,"event":"runFinished","outcome":"failed","counts":{"create":11,"update":1,"replace":0,"adopt":0,"keep":2,"delete":0},"failed":["linstor"],"unfinished":["vm-images"],"tookMs":123000,"criticalPath":["kubernetes","linstor"]}
        "#);
        for line in text.lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(value["schema"], "cozy/v1/event");
        }
    }

    #[test]
    fn hostile_text_is_escaped_and_the_same_when_read() {
        let hostile = "a\u{1b}[2J\u{9b}\u{202e}\u{e0041}\u{7f}";
        let text = line(&samples::warning(hostile));
        assert!(!text.trim_end().chars().any(is_hostile), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["message"], hostile);
    }
}
