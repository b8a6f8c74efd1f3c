//! What the specs of workloads must have: Deployments and their kin, Jobs and `CronJobs`, as
//! `k8s.io/kubernetes/pkg/apis/{apps,batch}/validation` has it.

use serde_json::{Value, json};

use super::names::{LABEL, annotations, is_label, labels};
use super::{cron, pods};
use crate::json as tree;
use crate::kinds::Kind;
use crate::selector::labels_match;
use crate::status::Cause;

const NEGATIVE: &str = "must be greater than or equal to 0";

/// Says which numbers of a spec are negative that may not be.
fn not_negative(spec: &Value, path: &str, fields: &[&str], causes: &mut Vec<Cause>) {
    for field in fields {
        let parts: Vec<&str> = field.split('.').collect();
        if let Some(found) = tree::at(spec, &parts).filter(|it| it.as_i64().is_some_and(|it| it < 0)) {
            causes.push(Cause::invalid(format!("{path}.{field}"), found, NEGATIVE));
        }
    }
}

fn number(spec: &Value, field: &str) -> Option<i64> {
    spec.get(field).and_then(Value::as_i64)
}

/// Says what is wrong with a spec of `apps`.
pub(super) fn workload(kind: &Kind, spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    match kind.plural() {
        "deployments" | "replicasets" => not_negative(spec, "spec", &["replicas"], &mut causes),
        "statefulsets" => stateful(spec, &mut causes),
        _ => {}
    }
    selected(kind, spec, &mut causes);
    let pod = tree::at(spec, &["template", "spec"]).unwrap_or(&Value::Null);
    // Volumes of a StatefulSet come from its claims, too.
    let claims = tree::items(spec, "volumeClaimTemplates").iter();
    let claims: Vec<&str> = claims.map(|claim| tree::text(claim, &["metadata", "name"])).collect();
    causes.extend(pods::spec(pod, "spec.template.spec", &claims));
    if let Some(policy) = pod.get("restartPolicy").filter(|policy| *policy != "Always") {
        let always = ["Always".to_owned()];
        causes.push(Cause::unsupported("spec.template.spec.restartPolicy", policy, &always));
    }
    if pod.get("activeDeadlineSeconds").is_some() {
        let kind = match kind.plural() {
            "daemonsets" => "DaemonSet",
            "statefulsets" => "StatefulSet",
            _ => "ReplicaSet",
        };
        let why = format!("activeDeadlineSeconds in {kind} is not Supported");
        causes.push(Cause::forbidden("spec.template.spec.activeDeadlineSeconds", &why));
    }
    match kind.plural() {
        "deployments" => deployment(spec, &mut causes),
        "daemonsets" => daemons(spec, &mut causes),
        "replicasets" => not_negative(spec, "spec", &["minReadySeconds"], &mut causes),
        _ => {}
    }
    causes
}

/// The selector, and whether the template has its labels.
fn selected(kind: &Kind, spec: &Value, causes: &mut Vec<Cause>) {
    let template = spec.get("template").unwrap_or(&Value::Null);
    let own = tree::labels(template);
    let Some(selector) = spec.get("selector").filter(|it| !it.is_null()) else {
        causes.push(Cause::required("spec.selector", ""));
        let shown = tree::at(template, &["metadata", "labels"]).cloned().unwrap_or_default();
        let why = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", &shown, why));
        return;
    };
    let before = causes.len();
    causes.extend(selector_of(selector, "spec.selector"));
    if causes.len() > before {
        causes.push(Cause::invalid("spec.selector", selector, "invalid label selector"));
    }
    let empty = tree::items(selector, "matchExpressions").is_empty()
        && selector.get("matchLabels").and_then(Value::as_object).is_none_or(serde_json::Map::is_empty);
    if empty {
        let name = kind.kind.to_lowercase();
        let why = format!("empty selector is invalid for {name}");
        causes.push(Cause::invalid("spec.selector", selector, &why));
    }
    if causes.len() > before {
        return;
    }
    if !labels_match(selector, &own) {
        let shown = tree::at(template, &["metadata", "labels"]).cloned().unwrap_or_default();
        let why = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", &shown, why));
    }
    causes.extend(labels(template, "spec.template.labels"));
    causes.extend(annotations(template, "spec.template.annotations"));
}

/// What is wrong with a label selector.
fn selector_of(selector: &Value, path: &str) -> Vec<Cause> {
    const OPERATORS: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];
    let mut causes = labels(
        &json!({ "metadata": { "labels": selector.get("matchLabels") } }),
        &format!("{path}.matchLabels"),
    );
    for (index, one) in tree::items(selector, "matchExpressions").iter().enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        let operator = tree::text(one, &["operator"]);
        let values = tree::items(one, "values");
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                let why = "must be specified when `operator` is 'In' or 'NotIn'";
                causes.push(Cause::required(format!("{path}.values"), why));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                causes.push(Cause::forbidden(format!("{path}.values"), why));
            }
            operator if !OPERATORS.contains(&operator) => {
                let why = "not a valid selector operator";
                causes.push(Cause::invalid(format!("{path}.operator"), &json!(operator), why));
            }
            _ => {}
        }
    }
    causes
}

/// A number, or a share in percent; `None`: neither.
fn amount(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.strip_suffix('%')?.parse::<u32>().ok().map(i64::from),
        _ => Some(0),
    }
}

const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', \
    regex used for validation is '[0-9]+%')";

/// Says what is wrong with a number or share.
fn share(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    match amount(value) {
        None => causes.push(Cause::invalid(path, value, PERCENT)),
        Some(found) if found < 0 => causes.push(Cause::invalid(path, value, NEGATIVE)),
        Some(_) => {}
    }
}

fn at_most_all(value: &Value, path: &str, causes: &mut Vec<Cause>) {
    if value.is_string() && amount(value).is_some_and(|found| found > 100) {
        causes.push(Cause::invalid(path, value, "must not be greater than 100%"));
    }
}

/// The two numbers of a rolling update.
fn rolling(update: &Value) -> (Value, Value) {
    let of = |field: &str| update.get(field).cloned().unwrap_or_else(|| json!(0));
    (of("maxUnavailable"), of("maxSurge"))
}

fn deployment(spec: &Value, causes: &mut Vec<Cause>) {
    let path = "spec.strategy.rollingUpdate";
    let update = tree::at(spec, &["strategy", "rollingUpdate"]);
    match tree::text(spec, &["strategy", "type"]) {
        "Recreate" if update.is_some() => {
            causes.push(Cause::forbidden(path, "may not be specified when strategy `type` is 'Recreate'"));
        }
        "RollingUpdate" => {
            let (down, up) = update.map(rolling).unwrap_or_default();
            let unavailable = format!("{path}.maxUnavailable");
            share(&down, &unavailable, causes);
            share(&up, &format!("{path}.maxSurge"), causes);
            if amount(&down).unwrap_or(0) == 0 && amount(&up).unwrap_or(0) == 0 {
                causes.push(Cause::invalid(&unavailable, &down, "may not be 0 when `maxSurge` is 0"));
            }
            at_most_all(&down, &unavailable, causes);
        }
        "Recreate" => {}
        _ => {
            let known = ["Recreate", "RollingUpdate"].map(str::to_owned);
            let shown = spec.get("strategy").map(shown_strategy).unwrap_or_default();
            causes.push(Cause::unsupported("spec.strategy", &shown, &known));
        }
    }
    let times = ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"];
    not_negative(spec, "spec", &times, causes);
    if let Some(deadline) = number(spec, "progressDeadlineSeconds")
        && deadline <= number(spec, "minReadySeconds").unwrap_or(0)
    {
        let why = "must be greater than minReadySeconds";
        causes.push(Cause::invalid("spec.progressDeadlineSeconds", &json!(deadline), why));
    }
}

/// A strategy as the server's own type is printed.
fn shown_strategy(strategy: &Value) -> Value {
    json!({ "Type": strategy["type"], "RollingUpdate": strategy.get("rollingUpdate") })
}

fn stateful(spec: &Value, causes: &mut Vec<Cause>) {
    let management = tree::text(spec, &["podManagementPolicy"]);
    if !["OrderedReady", "Parallel"].contains(&management) {
        let why = "must be 'OrderedReady' or 'Parallel'";
        causes.push(Cause::invalid("spec.podManagementPolicy", &json!(management), why));
    }
    let update = tree::at(spec, &["updateStrategy", "rollingUpdate"]);
    match tree::text(spec, &["updateStrategy", "type"]) {
        "OnDelete" => {
            if let Some(update) = update {
                let why = "only allowed for updateStrategy 'RollingUpdate'";
                let shown = json!({ "Partition": update.get("partition"), "MaxUnavailable": update.get("maxUnavailable") });
                causes.push(Cause::invalid("spec.updateStrategy.rollingUpdate", &shown, why));
            }
        }
        "RollingUpdate" => not_negative(spec, "spec", &["updateStrategy.rollingUpdate.partition"], causes),
        _ => {
            let why = "must be 'RollingUpdate' or 'OnDelete'";
            let shown = spec.get("updateStrategy").map(shown_strategy).unwrap_or_default();
            causes.push(Cause::invalid("spec.updateStrategy", &shown, why));
        }
    }
    let known = ["Retain", "Delete"].map(str::to_owned);
    for field in ["whenDeleted", "whenScaled"] {
        let policy = tree::at(spec, &["persistentVolumeClaimRetentionPolicy", field]);
        if let Some(policy) =
            policy.filter(|policy| policy.as_str().is_none_or(|it| !known.contains(&it.to_owned())))
        {
            let path = format!("spec.persistentVolumeClaimRetentionPolicy.{field}");
            causes.push(Cause::unsupported(path, policy, &known));
        }
    }
    not_negative(spec, "spec", &["replicas", "minReadySeconds", "ordinals.start"], causes);
    let service = tree::text(spec, &["serviceName"]);
    if !service.is_empty() && !is_label(service) {
        causes.push(Cause::invalid("spec.serviceName", &json!(service), LABEL));
    }
}

fn daemons(spec: &Value, causes: &mut Vec<Cause>) {
    not_negative(spec, "spec", &["minReadySeconds"], causes);
    let path = "spec.updateStrategy.rollingUpdate";
    match tree::text(spec, &["updateStrategy", "type"]) {
        "OnDelete" => {}
        "RollingUpdate" => {
            let (down, up) =
                tree::at(spec, &["updateStrategy", "rollingUpdate"]).map(rolling).unwrap_or_default();
            let (unavailable, surge) = (format!("{path}.maxUnavailable"), format!("{path}.maxSurge"));
            share(&down, &unavailable, causes);
            share(&up, &surge, causes);
            at_most_all(&down, &unavailable, causes);
            at_most_all(&up, &surge, causes);
            match (amount(&down).unwrap_or(0) != 0, amount(&up).unwrap_or(0) != 0) {
                (true, true) => {
                    let why = "may not be set when maxUnavailable is non-zero";
                    causes.push(Cause::invalid(surge, &up, why));
                }
                (false, false) => {
                    causes.push(Cause::required(unavailable, "cannot be 0 when maxSurge is 0"));
                }
                _ => {}
            }
        }
        _ => {
            let known = ["RollingUpdate", "OnDelete"].map(str::to_owned);
            let shown = spec.get("updateStrategy").map(shown_strategy).unwrap_or_default();
            causes.push(Cause::unsupported("spec.updateStrategy", &shown, &known));
        }
    }
    not_negative(spec, "spec", &["revisionHistoryLimit"], causes);
}

/// Says what is wrong with a `PodDisruptionBudget`'s spec.
pub(super) fn budget(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (least, most) = (spec.get("minAvailable"), spec.get("maxUnavailable"));
    if let (Some(least), Some(most)) = (least, most) {
        let shown = json!({
            "MinAvailable": least, "Selector": spec.get("selector"), "MaxUnavailable": most,
            "UnhealthyPodEvictionPolicy": spec.get("unhealthyPodEvictionPolicy"),
        });
        let why = "minAvailable and maxUnavailable cannot be both set";
        causes.push(Cause::invalid("spec", &shown, why));
    }
    for (field, found) in [("minAvailable", least), ("maxUnavailable", most)] {
        if let Some(found) = found {
            share(found, &format!("spec.{field}"), &mut causes);
            at_most_all(found, &format!("spec.{field}"), &mut causes);
        }
    }
    causes
}

/// Says what is wrong with a Job's spec at a path.
pub(super) fn job(spec: &Value, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let numbers = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    not_negative(spec, path, &numbers, &mut causes);
    if spec.get("maxFailedIndexes").is_some() && spec.get("backoffLimitPerIndex").is_none() {
        let why = "when maxFailedIndexes is specified";
        causes.push(Cause::required(format!("{path}.backoffLimitPerIndex"), why));
    }
    indexed(spec, path, &mut causes);
    if let Some(policy) =
        spec.get("podReplacementPolicy").filter(|it| *it != "Failed" && *it != "TerminatingOrFailed")
    {
        let known = ["Failed", "TerminatingOrFailed"].map(str::to_owned);
        causes.push(Cause::unsupported(format!("{path}.podReplacementPolicy"), policy, &known));
    }
    let pod = tree::at(spec, &["template", "spec"]).unwrap_or(&Value::Null);
    causes.extend(pods::spec(pod, &format!("{path}.template.spec"), &[]));
    if let Some(template) = spec.get("template") {
        causes.extend(labels(template, &format!("{path}.template.labels")));
        causes.extend(annotations(template, &format!("{path}.template.annotations")));
    }
    let field = format!("{path}.template.spec.restartPolicy");
    match tree::text(pod, &["restartPolicy"]) {
        "Always" | "" => {
            causes.push(Cause::required(field, "valid values: \"OnFailure\", \"Never\""));
        }
        policy if spec.get("podFailurePolicy").is_some() && policy != "Never" => {
            let why = "only \"Never\" is supported when podFailurePolicy is specified";
            causes.push(Cause::invalid(field, &json!(policy), why));
        }
        _ => {}
    }
    causes
}

/// What the completion mode of a Job allows.
fn indexed(spec: &Value, path: &str, causes: &mut Vec<Cause>) {
    const MOST: i64 = 100_000;
    let mode = tree::text(spec, &["completionMode"]);
    let field = |name: &str| format!("{path}.{name}");
    if !["", "NonIndexed", "Indexed"].contains(&mode) {
        let known = ["NonIndexed", "Indexed"].map(str::to_owned);
        causes.push(Cause::unsupported(field("completionMode"), &json!(mode), &known));
    }
    let failed = spec.get("maxFailedIndexes");
    match mode {
        "Indexed" => {
            let completions = number(spec, "completions");
            if completions.is_none() {
                causes.push(Cause::required(field("completions"), "when completion mode is Indexed"));
            }
            if let Some(wide) = number(spec, "parallelism").filter(|wide| *wide > MOST) {
                let why = format!("must be less than or equal to {MOST} when completion mode is Indexed");
                causes.push(Cause::invalid(field("parallelism"), &json!(wide), &why));
            }
            if let (Some(failed), Some(most)) = (failed.filter(|it| it.is_i64()), completions)
                && failed.as_i64() > Some(most)
            {
                let why = "must be less than or equal to completions";
                causes.push(Cause::invalid(field("maxFailedIndexes"), failed, why));
            }
        }
        "" | "NonIndexed" => {
            for name in ["backoffLimitPerIndex", "maxFailedIndexes"] {
                if let Some(found) = spec.get(name) {
                    causes.push(Cause::invalid(field(name), found, "requires indexed completion mode"));
                }
            }
        }
        _ => {}
    }
}

/// Says what is wrong with a `CronJob`'s spec.
pub(super) fn cron_job(name: &str, spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let schedule = tree::text(spec, &["schedule"]);
    let field = "spec.schedule";
    if schedule.is_empty() {
        causes.push(Cause::required(field, ""));
    } else {
        causes.extend(cron::mistake(schedule).map(|why| Cause::invalid(field, &json!(schedule), &why)));
        if schedule.contains("TZ") {
            let why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            causes.push(Cause::invalid(field, &json!(schedule), why));
        }
    }
    not_negative(spec, "spec", &["startingDeadlineSeconds"], &mut causes);
    if let Some(zone) = spec.get("timeZone") {
        causes.extend(time_zone(zone));
    }
    let policies = ["Allow", "Forbid", "Replace"].map(str::to_owned);
    let policy = tree::text(spec, &["concurrencyPolicy"]);
    if !policies.contains(&policy.to_owned()) {
        causes.push(Cause::unsupported("spec.concurrencyPolicy", &json!(policy), &policies));
    }
    let template = tree::at(spec, &["jobTemplate", "spec"]).unwrap_or(&Value::Null);
    causes.extend(job(template, "spec.jobTemplate.spec"));
    let limits = ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"];
    not_negative(spec, "spec", &limits, &mut causes);
    if name.len() > 52 {
        causes.push(Cause::invalid("metadata.name", &json!(name), "must be no more than 52 characters"));
    }
    causes
}

/// What is wrong with the form of a time zone: which ones there are is not known here.
fn time_zone(zone: &Value) -> Vec<Cause> {
    let field = "spec.timeZone";
    let name = zone.as_str().unwrap_or_default();
    if name.is_empty() {
        return vec![Cause::invalid(field, zone, "timeZone must be nil or non-empty string")];
    }
    let fits = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && !part.starts_with('-')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-+".contains(c))
    };
    if !name.split('/').all(fits) {
        return vec![Cause::invalid(field, zone, &format!("unknown time zone {name}"))];
    }
    if !name.eq_ignore_ascii_case("local") {
        return Vec::new();
    }
    let why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
    // Only the word itself is known to the server by that name.
    let unknown = (name != "Local").then(|| format!("unknown time zone {name}"));
    [why.to_owned()].into_iter().chain(unknown).map(|why| Cause::invalid(field, zone, &why)).collect()
}
