//! Checks of a cluster that others made: its version, its nodes, what one may
//! do there, and what stands in the way of a plan.

use std::collections::BTreeSet;

use super::{Finding, Level};
use crate::model::component::Component;
use crate::model::texts::MINORS;
use crate::plan::PlanError;
use crate::plan::rights::{Right, summed_up};

/// What findings of a cluster stand under.
const CLUSTER: &str = "cluster";

fn finding(check: &'static str, level: Level, [checked, observed, expected, fix]: [String; 4]) -> Finding {
    Finding { host: CLUSTER.to_owned(), check, level, checked, observed, expected, fix, script: None }
}

/// Whether a version is one that cozy and the components know, `v1.36.3+k3s1`.
pub(crate) fn version<'a>(
    version: &str,
    components: impl IntoIterator<Item = &'a Component>,
) -> Vec<Finding> {
    let Ok(parsed) = semver::Version::parse(version.trim_start_matches('v')) else { return Vec::new() };
    // Distributions name builds of their own behind the version; a range would not let those pass.
    let plain = semver::Version::new(parsed.major, parsed.minor, parsed.patch);
    let range = format!("v1.{} to v1.{}", MINORS.start(), MINORS.end());
    let wrong = |checked: String, expected: String, fix: &str| {
        let words = [checked, version.to_owned(), expected, fix.to_owned()];
        finding("kubernetes", Level::Error, words)
    };
    let mut findings = Vec::new();
    if plain.major != 1 || !MINORS.contains(&plain.minor) {
        let fix = "upgrade the cluster, or use a cozy that knows its version";
        findings.push(wrong("version of Kubernetes".to_owned(), range, fix));
    }
    for component in components {
        let Some(text) = &component.requires.kubernetes else { continue };
        let Ok(range) = semver::VersionReq::parse(text) else { continue };
        if !range.matches(&plain) {
            let checked = format!("version of Kubernetes for {}", component.name);
            findings.push(wrong(checked, text.clone(), "take a version that it works with, or leave it out"));
        }
    }
    findings
}

/// The name of `kubernetes.endpoint` has no address.
pub(crate) fn endpoint(name: &str) -> Finding {
    let words = [
        "name of `kubernetes.endpoint`".to_owned(),
        format!("{name} has no address here"),
        "the address of a load balancer, or of the servers".to_owned(),
        format!("give {name} an address in DNS, or name another endpoint in cozy.yaml"),
    ];
    finding("endpoint", Level::Error, words)
}

/// Whether the API of a cluster on hosts can be reached from this machine. `silent` are the places, `ADDRESS:PORT` of
/// `all`, from which no answer came, not even a refusal. `endpoint`: they are `kubernetes.endpoint`, behind which there
/// may be nobody yet who answers.
pub(crate) fn api(all: usize, silent: &[String], endpoint: bool) -> Option<Finding> {
    if silent.is_empty() || silent.len() < all {
        return None;
    }
    let words = [
        "way from this machine to the API servers".to_owned(),
        format!("no answer from {}", silent.join(", ")),
        "open, or refused as long as nothing listens there".to_owned(),
        "open port 6443 from here to the servers, or name an address by which they are reached from here under `kubernetes.endpoint`, or run cozy within their network".to_owned(),
    ];
    Some(finding("api", if endpoint { Level::Warning } else { Level::Error }, words))
}

/// Nodes that can take nothing.
pub(crate) fn nodes(nodes: usize, unready: &[(String, String)], brings_network: bool) -> Vec<Finding> {
    let words = |checked: &str, observed: String, fix: &str| {
        [checked.to_owned(), observed, "ready nodes".to_owned(), fix.to_owned()]
    };
    if nodes == 0 {
        let fix = "add a node: there is nothing that pods could run on";
        return vec![finding("nodes", Level::Error, words("nodes", "there are none".to_owned(), fix))];
    }
    if brings_network {
        // They are not ready because of what is still to come.
        return Vec::new();
    }
    let level = if unready.len() == nodes { Level::Error } else { Level::Warning };
    let one = |(name, why): &(String, String)| {
        let fix = if level == Level::Error {
            "no node is ready: if there is no pod network, enable a component that brings one, such as cilium"
        } else {
            "`kubectl describe node` says more"
        };
        finding("nodes", level, words(&format!("node {name}"), why.clone(), fix))
    };
    unready.iter().map(one).collect()
}

/// What one may not do.
pub(crate) fn rights(missing: &BTreeSet<Right>) -> Vec<Finding> {
    let one = |(name, namespace, verbs): (String, Option<String>, Vec<&str>)| {
        let place = namespace.as_ref().map(|namespace| format!(" in {namespace}")).unwrap_or_default();
        let flag = namespace.map(|namespace| format!(" -n {namespace}")).unwrap_or_default();
        let verb = verbs.first().copied().unwrap_or_default();
        let fix = format!("ask for a role that allows it; to see: `kubectl auth can-i {verb} {name}{flag}`");
        let words = [
            format!("rights to {name}{place}"),
            format!("may not {}", verbs.join(", ")),
            "allowed".to_owned(),
            fix,
        ];
        finding("rights", Level::Error, words)
    };
    summed_up(missing).into_iter().map(one).collect()
}

/// What stands in the way of a plan.
pub(crate) fn plan(errors: &[PlanError]) -> Vec<Finding> {
    let one = |error: &PlanError| {
        let (check, expected) = match error {
            PlanError::Foreign { .. } => ("leftovers", "nothing of others' that this cloud brings, too"),
            PlanError::OtherCloud { .. } => ("leftovers", "no components of another cloud"),
            PlanError::Conflict { .. } | PlanError::Fixed { .. } => ("leftovers", "as this cloud wants it"),
            PlanError::UnknownKind { .. }
            | PlanError::UnknownVersion { .. }
            | PlanError::UnknownGate { .. }
            | PlanError::UnknownNeed { .. }
            | PlanError::Unprovided { .. }
            | PlanError::Unanswered { .. } => ("provided", "brought by a component, or there already"),
            PlanError::NoPool { .. } => ("provided", "addresses for load balancers"),
            PlanError::Quorum { .. }
            | PlanError::Stranded { .. }
            | PlanError::Release { .. }
            | PlanError::Other { .. }
            | PlanError::TwoClusters { .. }
            | PlanError::Orphan { .. }
            | PlanError::Expelled { .. }
            | PlanError::Nameless { .. }
            | PlanError::Cycle { .. } => ("plan", "a plan that can be made"),
        };
        let words = [
            format!("plan [{}]", error.code()),
            error.to_string(),
            expected.to_owned(),
            error.hint().into_owned(),
        ];
        finding(check, Level::Error, words)
    };
    errors.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(findings: &[Finding]) -> String {
        let line = |found: &Finding| {
            let Finding { check, level, checked, observed, expected, fix, .. } = found;
            format!("{check} {level:?}: {checked}: {observed}; {expected}; {fix}")
        };
        findings.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn versions_are_judged_without_what_distributions_add() {
        let catalogue = crate::catalogue::built_in();
        let (catalogue, _) = crate::model::catalogue::Catalogue::load(&catalogue);
        let cilium = || catalogue.components.values().map(|known| &known.component);
        let cilium = || cilium().filter(|component| component.name.as_str() == "cilium");
        assert_eq!(lines(&version("v1.36.4+k3s1", cilium())), "");
        assert_eq!(lines(&version("v1.32.1-eks-1", cilium())), "");
        let found = version("v1.30.2", cilium());
        assert_eq!(
            lines(&found),
            "kubernetes Error: version of Kubernetes: v1.30.2; v1.31 to v1.36; upgrade the cluster, or use a cozy that knows its version\n\
             kubernetes Error: version of Kubernetes for cilium: v1.30.2; >=1.31; take a version that it works with, or leave it out"
        );
    }

    /// Found by review: SSH worked, and that the API did not was found once there was a cluster of one.
    #[test]
    fn an_api_that_cannot_be_reached_from_here_is_found_beforehand() {
        let silent = ["10.0.0.11:6443", "10.0.0.12:6443"].map(str::to_owned);
        assert_eq!(
            lines(api(2, &silent, false).as_slice()),
            "api Error: way from this machine to the API servers: no answer from 10.0.0.11:6443, 10.0.0.12:6443; open, or \
             refused as long as nothing listens there; open port 6443 from here to the servers, or name an address by which \
             they are reached from here under `kubernetes.endpoint`, or run cozy within their network"
        );
        assert_eq!(api(1, &silent[..1], true).map(|found| found.level), Some(Level::Warning));
        // Another server is asked where one is silent.
        assert_eq!(api(2, &silent[..1], false), None);
        assert_eq!(api(0, &[], false), None);
    }

    #[test]
    fn nodes_that_wait_for_a_network_are_fine_where_one_is_to_come() {
        let unready = [("n1".to_owned(), "KubeletNotReady: no network".to_owned())];
        assert_eq!(nodes(1, &unready, true), []);
        assert_eq!(nodes(1, &unready, false)[0].level, Level::Error);
        assert_eq!(nodes(2, &unready, false)[0].level, Level::Warning);
        assert_eq!(nodes(0, &[], true).len(), 1);
    }

    #[test]
    fn what_is_missing_is_summed_up_by_what_and_where() {
        let right = |group: &str, namespace: Option<&str>, verb: &'static str| Right {
            group: group.to_owned(),
            resource: "deployments".to_owned(),
            namespace: namespace.map(str::to_owned),
            verb: verb.into(),
        };
        let missing = [
            right("apps", Some("hello"), "patch"),
            right("apps", Some("hello"), "create"),
            right("apps", None, "list"),
        ];
        assert_eq!(
            lines(&rights(&missing.into())),
            "rights Error: rights to deployments.apps: may not list; allowed; ask for a role that allows it; to see: `kubectl auth can-i list deployments.apps`\n\
             rights Error: rights to deployments.apps in hello: may not create, patch; allowed; ask for a role that allows it; to see: `kubectl auth can-i create deployments.apps -n hello`"
        );
    }
}
