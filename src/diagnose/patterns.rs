//! What the API server, the scheduler and kubelets say in words only: one
//! table that tells causes apart which share a code (quota, pod security,
//! RBAC and policies are all 403). For diagnosis only, never for control flow.

/// What a message means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Explained {
    /// The cause, in words.
    pub(crate) cause: &'static str,
    /// What to do.
    pub(crate) fix: String,
}

struct Pattern {
    /// All of these are in the message, whatever their case.
    all: &'static [&'static str],
    cause: &'static str,
    /// `{}` is the name that stands after [`Pattern::name`].
    fix: &'static str,
    /// What stands before a name, which ends at a quote, a comma or a blank.
    name: &'static str,
}

const fn row(
    all: &'static [&'static str],
    cause: &'static str,
    name: &'static str,
    fix: &'static str,
) -> Pattern {
    Pattern { all, cause, fix, name }
}

/// The first that fits counts: the more special stand first.
const PATTERNS: &[Pattern] = &[
    // Webhooks that cannot be called.
    row(
        &["failed calling webhook", "no endpoints available"],
        "a webhook has nobody who answers it",
        "failed calling webhook \"",
        "the pods behind webhook {} must be ready first: see its Service's endpoints",
    ),
    row(
        &["failed calling webhook", "not found"],
        "a webhook's Service is not there",
        "failed calling webhook \"",
        "install what serves webhook {}, or delete its configuration if that was removed",
    ),
    row(
        &["failed calling webhook", "certificate has expired"],
        "a webhook's certificate has expired",
        "failed calling webhook \"",
        "renew the certificate of webhook {}, and its caBundle with it",
    ),
    row(
        &["failed calling webhook", "x509:"],
        "a webhook's certificate is not of the CA that its configuration names",
        "failed calling webhook \"",
        "put the CA that signed the certificate of webhook {} into its configuration's caBundle",
    ),
    row(
        &["failed calling webhook"],
        "a webhook does not answer",
        "failed calling webhook \"",
        "look at the pods and the network behind webhook {}",
    ),
    row(
        &["conversion webhook for", "failed"],
        "what converts objects between the versions of their kind does not answer",
        "conversion webhook for ",
        "the pods behind the conversion webhook of {} must run: see spec.conversion of its CRD",
    ),
    row(
        &["certificate has expired"],
        "a certificate has expired",
        "",
        "renew the certificate, and start what serves it again",
    ),
    row(
        &["x509:"],
        "a certificate is not of the CA that is expected",
        "",
        "check the CA that is named, and who signed the certificate",
    ),
    // Refusals.
    row(
        &["admission webhook", "denied the request"],
        "a webhook refuses it",
        "admission webhook \"",
        "change the object as webhook {} asks for, or exempt it there",
    ),
    row(
        &["validatingadmissionpolicy", "denied request"],
        "an admission policy denies it",
        "ValidatingAdmissionPolicy '",
        "change the object as policy {} asks for, or exempt it in the policy's binding",
    ),
    row(
        &["resourcequota", "never lets one of its pods in"],
        "a quota is too small for even one pod",
        "ResourceQuota ",
        "raise ResourceQuota {}, or ask for less",
    ),
    row(
        &["exceeded quota"],
        "a quota is used up",
        "exceeded quota: ",
        "raise ResourceQuota {}, or ask for less",
    ),
    row(
        &["failed quota"],
        "a quota wants requests or limits that are not there",
        "failed quota: ",
        "set what ResourceQuota {} counts, or a LimitRange with defaults",
    ),
    row(
        &["violates podsecurity"],
        "Pod Security refuses the pod",
        "violates PodSecurity \"",
        "harden the pod as the message lists, or lower the namespace's level (podSecurity in component.yaml) from {}",
    ),
    row(
        &["usage per"],
        "a LimitRange refuses it",
        "",
        "stay within the namespace's LimitRange, or change that",
    ),
    row(
        &["discovery failed for some groups"],
        "an aggregated API does not answer, so that nobody knows what is in the namespace",
        "list of server APIs: ",
        "mend what serves {}, or delete its APIService (`kubectl get apiservices`)",
    ),
    row(
        &["because it is being terminated"],
        "the namespace is being deleted",
        "namespace ",
        "wait until namespace {} is gone: `cozy diagnose` names what holds it",
    ),
    row(
        &["cannot", "in the namespace"],
        "RBAC denies it",
        "User \"",
        "give {} a Role and a RoleBinding with this right",
    ),
    row(
        &["cannot", "at the cluster scope"],
        "RBAC denies it",
        "User \"",
        "give {} a ClusterRole and a ClusterRoleBinding with this right",
    ),
    row(
        &["serviceaccount", "not found"],
        "the pod's ServiceAccount is not there",
        "serviceaccount \"",
        "make ServiceAccount {}",
    ),
    row(
        &["no priorityclass with name"],
        "the PriorityClass is not there",
        "with name ",
        "make PriorityClass {}",
    ),
    row(
        &["storedversions"],
        "objects are stored in a version that the CRD would lose",
        "Invalid value: \"",
        "keep version {} in spec.versions (served: false will do) until everything is migrated and it is out of status.storedVersions",
    ),
    row(
        &["must appear in spec.versions"],
        "objects are stored in a version that the CRD would lose",
        "\"",
        "keep version {} in spec.versions until everything is migrated",
    ),
    row(
        &["already in use"],
        "another CRD of the group has these names",
        "\"",
        "remove or rename the other CRD with the name {}",
    ),
    row(
        &["field is immutable"],
        "a field changes that cannot be changed",
        "",
        "delete the object, and it is made again",
    ),
    // Images.
    row(
        &["toomanyrequests"],
        "the registry's rate limit is used up",
        "",
        "give pull credentials, or a mirror (artifacts.mirror)",
    ),
    row(
        &["429 too many requests"],
        "the registry's rate limit is used up",
        "",
        "give pull credentials, or a mirror (artifacts.mirror)",
    ),
    row(
        &["unauthorized"],
        "the registry wants credentials",
        "",
        "give the pod's ServiceAccount an imagePullSecret that is good for this registry",
    ),
    row(
        &["authentication required"],
        "the registry wants credentials",
        "",
        "give the pod's ServiceAccount an imagePullSecret that is good for this registry",
    ),
    row(
        &["insufficient_scope"],
        "the image is not there, or needs credentials",
        "",
        "check the image's name, and the imagePullSecret",
    ),
    row(
        &["403 forbidden"],
        "the registry refuses these credentials",
        "",
        "check what the imagePullSecret may read",
    ),
    row(&["manifest unknown"], "the image is not there", "", "check the image's name and tag"),
    row(&["failed to pull", "not found"], "the image is not there", "", "check the image's name and tag"),
    row(
        &["failed to pull", "lookup ", "no such host"],
        "the registry's name cannot be resolved on the node",
        "lookup ",
        "mend the image's name, or the name servers of the node: they do not know {}",
    ),
    row(
        &["failed to pull", "lookup "],
        "the registry's name cannot be resolved on the node",
        "lookup ",
        "look at the node's name servers: they do not answer for {}",
    ),
    row(&["failed to pull"], "the image cannot be pulled", "", "check that nodes reach the registry"),
    // Probes.
    row(
        &["readiness probe failed"],
        "the container runs, and does not say that it is ready",
        "",
        "look at its log (`kubectl logs`), and at the readinessProbe's port and path",
    ),
    row(
        &["startup probe failed"],
        "the container does not start in time",
        "",
        "look at its log (`kubectl logs`), or give its startupProbe more time",
    ),
    // Mounts and configuration.
    row(
        &["list of registered csi drivers"],
        "the node lacks the volume's CSI driver",
        "driver name ",
        "the pods of CSI driver {} must run on this node",
    ),
    row(
        &["secret \"", "not found"],
        "a Secret is not there",
        "secret \"",
        "make Secret {} in the pod's namespace",
    ),
    row(
        &["configmap \"", "not found"],
        "a ConfigMap is not there",
        "configmap \"",
        "make ConfigMap {} in the pod's namespace",
    ),
    row(
        &["couldn't find key"],
        "a key is not in what the container takes its environment from",
        "find key ",
        "add key {} there",
    ),
    row(
        &["mountvolume"],
        "a volume cannot be mounted",
        "volume \"",
        "look at volume {}, and at its driver on this node",
    ),
    row(
        &["attachvolume"],
        "a volume cannot be attached",
        "volume \"",
        "look at volume {}, and at its driver",
    ),
    row(&["unable to attach or mount"], "volumes are not there yet", "", "look at the pod's claims"),
    // Scheduling.
    row(
        &["volume node affinity conflict"],
        "the pod's volume is in another zone or on another node",
        "",
        "free a node where the volume is, or move the volume",
    ),
    row(
        &["persistentvolume's node affinity"],
        "the pod's volume is in another zone or on another node",
        "",
        "free a node where the volume is, or move the volume",
    ),
    row(
        &["unbound immediate persistentvolumeclaims"],
        "a claim of the pod is not bound",
        "",
        "look at the pod's claims",
    ),
    row(
        &["insufficient cpu"],
        "no node has that much CPU left",
        "",
        "add nodes, free CPU, or lower requests.cpu",
    ),
    row(
        &["insufficient memory"],
        "no node has that much memory left",
        "",
        "add nodes, free memory, or lower requests.memory",
    ),
    row(
        &["insufficient"],
        "no node has that much of it left",
        "Insufficient ",
        "add nodes with {}, or ask for less",
    ),
    row(
        &["untolerated taint {"],
        "every node that would do has a taint",
        "taint {",
        "tolerate taint {}, or take it off a node",
    ),
    row(
        &["untolerated taint"],
        "every node that would do has a taint",
        "",
        "tolerate a taint of these nodes, or take it off one",
    ),
    row(
        &["node affinity/selector"],
        "no node has the labels that the pod wants",
        "",
        "label a node, or change nodeSelector or affinity",
    ),
    row(&["no nodes available"], "there is no node that takes pods", "", "add a node, or uncordon one"),
    // Volumes.
    row(
        &["external provisioner"],
        "nobody has made the volume yet",
        "external provisioner '",
        "the pods of provisioner {} must run",
    ),
    row(
        &["storageclass", "not found"],
        "the StorageClass is not there",
        "storageclass.storage.k8s.io \"",
        "make StorageClass {}, or name another",
    ),
    row(
        &["no persistent volumes available"],
        "no volume fits, and no class makes one",
        "",
        "name a StorageClass, make one the default, or make a volume",
    ),
];

/// Reads a message; `None`: it is none that is known.
pub(crate) fn explain(message: &str) -> Option<Explained> {
    let lower = message.to_ascii_lowercase();
    let found = PATTERNS.iter().find(|pattern| pattern.all.iter().all(|words| lower.contains(words)))?;
    let name = lower
        .find(&found.name.to_ascii_lowercase())
        .filter(|_| !found.name.is_empty())
        .and_then(|at| message.get(at + found.name.len()..))
        .and_then(|rest| rest.split(['"', '\'', ',', ' ', '}']).next())
        .map(|name| name.trim_end_matches(':'))
        .filter(|name| !name.is_empty());
    Some(Explained { cause: found.cause, fix: found.fix.replace("{}", name.unwrap_or("it")) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    #[test]
    fn every_message_has_its_own_cause_and_fix() {
        // As Kubernetes 1.36 and its kubelets say them.
        let messages = [
            r#"pods "a" is forbidden: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1"#,
            r"ResourceQuota small never lets one of its pods in: it asks for 2 cpu, of 1",
            r#"pods "a" is forbidden: failed quota: small: must specify limits.cpu for: c"#,
            r#"pods "a" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false"#,
            r#"configmaps "a" is forbidden: User "jane" cannot patch resource "configmaps" in API group "" in the namespace "n""#,
            r#"nodes is forbidden: User "system:serviceaccount:n:s" cannot list resource "nodes" in API group "" at the cluster scope"#,
            r#"configmaps "a" is forbidden: ValidatingAdmissionPolicy 'no-a' with binding 'all' denied request: names must not be a"#,
            r#"admission webhook "guard.example.org" denied the request: no"#,
            r#"pods "a" is forbidden: maximum cpu usage per Container is 1, but limit is 2"#,
            r#"configmaps "a" is forbidden: unable to create new content in namespace n because it is being terminated"#,
            r"Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: away.example/v1: stale GroupVersion discovery: away.example/v1",
            r#"pods "a" is forbidden: error looking up service account n/s: serviceaccount "s" not found"#,
            r#"Internal error occurred: failed calling webhook "guard.example.org": failed to call webhook: Post "https://g.n.svc:443/?timeout=1s": no endpoints available for service "g""#,
            r#"Internal error occurred: failed calling webhook "guard.example.org": failed to call webhook: Post "https://g.n.svc:443/": service "g" not found"#,
            r#"Internal error occurred: failed calling webhook "guard.example.org": failed to call webhook: Post "https://g.n.svc:443/": tls: failed to verify certificate: x509: certificate signed by unknown authority"#,
            r#"Internal error occurred: failed calling webhook "guard.example.org": failed to call webhook: Post "https://g.n.svc:443/": tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2026-01-01T00:00:00Z is after 2025-01-01T00:00:00Z"#,
            r#"Internal error occurred: failed calling webhook "guard.example.org": failed to call webhook: Post "https://g.n.svc:443/": context deadline exceeded"#,
            r#"conversion webhook for conv.example/v2, Kind=Conv failed: Post "https://127.0.0.1:9/?timeout=30s": dial tcp 127.0.0.1:9: connect: connection refused"#,
            r"failing or missing response from https://10.0.0.1:443/apis: tls: failed to verify certificate: x509: certificate has expired or is not yet valid",
            r#"CustomResourceDefinition.apiextensions.k8s.io "a.x" is invalid: status.storedVersions[0]: Invalid value: "v1alpha1": missing from spec.versions; v1alpha1 was previously a storage version"#,
            r#"PluralConflict: "widgets" is already in use"#,
            r#"Failed to pull image "example.org/a:9": rpc error: code = NotFound desc = failed to pull and unpack image "example.org/a:9": failed to resolve reference "example.org/a:9": example.org/a:9: not found"#,
            r#"Failed to pull image "example.org/a": failed to authorize: failed to fetch anonymous token: unexpected status: 401 Unauthorized"#,
            r#"Failed to pull image "registry.invalid/web:1.2": failed to do request: Head "https://registry.invalid/v2/web/manifests/1.2": dial tcp: lookup registry.invalid on 10.0.0.1:53: no such host"#,
            r#"Failed to pull image "registry.example/web:1.2": failed to do request: Head "https://registry.example/v2/web/manifests/1.2": dial tcp: lookup registry.example on 10.0.0.1:53: read udp 10.0.0.2:4711->10.0.0.1:53: i/o timeout"#,
            r"Readiness probe failed: dial tcp 10.42.1.3:8080: connect: connection refused",
            r"failed to pull and unpack image: unexpected status code 429 Too Many Requests - toomanyrequests: You have reached your pull rate limit",
            r"0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available",
            r"0/3 nodes are available: 3 node(s) had untolerated taint {dedicated: gpu}",
            r"0/3 nodes are available: 3 node(s) had untolerated taint(s). no new claims to deallocate",
            r"0/4 nodes are available: 1 node(s) had untolerated taint(s), 3 node(s) didn't match PersistentVolume's node affinity",
            r"0/3 nodes are available: 3 node(s) had volume node affinity conflict",
            r#"MountVolume.SetUp failed for volume "keys" : secret "web-tls" not found"#,
            r#"MountVolume.MountDevice failed for volume "data" : driver name csi.example.org not found in the list of registered CSI drivers"#,
            r"Waiting for a volume to be created either by the external provisioner 'csi.example.org' or manually by the system administrator",
            r#"storageclass.storage.k8s.io "fast" not found"#,
            r"no persistent volumes available for this claim and no storage class is set",
        ];
        let explained = messages.map(|message| {
            let Explained { cause, fix } = explain(message).expect(message);
            format!("{cause}: {fix}")
        });
        assert_snapshot!(explained.join("\n"), @"
            a quota is used up: raise ResourceQuota small, or ask for less
            a quota is too small for even one pod: raise ResourceQuota small, or ask for less
            a quota wants requests or limits that are not there: set what ResourceQuota small counts, or a LimitRange with defaults
            Pod Security refuses the pod: harden the pod as the message lists, or lower the namespace's level (podSecurity in component.yaml) from restricted:latest
            RBAC denies it: give jane a Role and a RoleBinding with this right
            RBAC denies it: give system:serviceaccount:n:s a ClusterRole and a ClusterRoleBinding with this right
            an admission policy denies it: change the object as policy no-a asks for, or exempt it in the policy's binding
            a webhook refuses it: change the object as webhook guard.example.org asks for, or exempt it there
            a LimitRange refuses it: stay within the namespace's LimitRange, or change that
            the namespace is being deleted: wait until namespace n is gone: `cozy diagnose` names what holds it
            an aggregated API does not answer, so that nobody knows what is in the namespace: mend what serves away.example/v1, or delete its APIService (`kubectl get apiservices`)
            the pod's ServiceAccount is not there: make ServiceAccount s
            a webhook has nobody who answers it: the pods behind webhook guard.example.org must be ready first: see its Service's endpoints
            a webhook's Service is not there: install what serves webhook guard.example.org, or delete its configuration if that was removed
            a webhook's certificate is not of the CA that its configuration names: put the CA that signed the certificate of webhook guard.example.org into its configuration's caBundle
            a webhook's certificate has expired: renew the certificate of webhook guard.example.org, and its caBundle with it
            a webhook does not answer: look at the pods and the network behind webhook guard.example.org
            what converts objects between the versions of their kind does not answer: the pods behind the conversion webhook of conv.example/v2 must run: see spec.conversion of its CRD
            a certificate has expired: renew the certificate, and start what serves it again
            objects are stored in a version that the CRD would lose: keep version v1alpha1 in spec.versions (served: false will do) until everything is migrated and it is out of status.storedVersions
            another CRD of the group has these names: remove or rename the other CRD with the name widgets
            the image is not there: check the image's name and tag
            the registry wants credentials: give the pod's ServiceAccount an imagePullSecret that is good for this registry
            the registry's name cannot be resolved on the node: mend the image's name, or the name servers of the node: they do not know registry.invalid
            the registry's name cannot be resolved on the node: look at the node's name servers: they do not answer for registry.example
            the container runs, and does not say that it is ready: look at its log (`kubectl logs`), and at the readinessProbe's port and path
            the registry's rate limit is used up: give pull credentials, or a mirror (artifacts.mirror)
            no node has that much CPU left: add nodes, free CPU, or lower requests.cpu
            every node that would do has a taint: tolerate taint dedicated, or take it off a node
            every node that would do has a taint: tolerate a taint of these nodes, or take it off one
            the pod's volume is in another zone or on another node: free a node where the volume is, or move the volume
            the pod's volume is in another zone or on another node: free a node where the volume is, or move the volume
            a Secret is not there: make Secret web-tls in the pod's namespace
            the node lacks the volume's CSI driver: the pods of CSI driver csi.example.org must run on this node
            nobody has made the volume yet: the pods of provisioner csi.example.org must run
            the StorageClass is not there: make StorageClass fast, or name another
            no volume fits, and no class makes one: name a StorageClass, make one the default, or make a volume
        ");
        assert_eq!(explain("all is well"), None);
    }
}
