//! The Pod Security Standards, as far as plain pods break them: what a namespace's level forbids, in the words and the
//! order of `k8s.io/pod-security-admission/policy`.

use serde_json::Value;

use crate::json as tree;

/// Capabilities that `baseline` lets containers add.
const USUAL: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The kinds of volumes that `restricted` lets pods have.
const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// What a level forbids in a pod's spec; `None`: nothing.
pub(crate) fn violations(level: &str, spec: &Value) -> Option<String> {
    let found: Vec<String> = match level {
        "baseline" => [capabilities(spec), namespaces(spec), paths(spec), ports(spec), privileged(spec)]
            .into_iter()
            .flatten()
            .collect(),
        "restricted" => [
            namespaces(spec),
            ports(spec),
            privileged(spec),
            escalation(spec),
            all_capabilities(spec),
            volumes(spec),
            root(spec),
            seccomp(spec),
        ]
        .into_iter()
        .flatten()
        .collect(),
        _ => Vec::new(),
    };
    (!found.is_empty()).then(|| format!("violates PodSecurity \"{level}:latest\": {}", found.join(", ")))
}

fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["initContainers", "containers", "ephemeralContainers"].into_iter();
    lists.flat_map(|list| tree::items(spec, list))
}

/// The containers for which something is so, as the server lists them: `container "a"`, `containers "a", "b"`.
fn those(spec: &Value, is: impl Fn(&Value) -> bool) -> Option<String> {
    let names: Vec<String> = containers(spec)
        .filter(|container| is(container))
        .map(|container| format!("{:?}", tree::text(container, &["name"])))
        .collect();
    let word = if names.len() == 1 { "container" } else { "containers" };
    (!names.is_empty()).then(|| format!("{word} {}", names.join(", ")))
}

fn at<'a>(container: &'a Value, path: &[&str]) -> Option<&'a Value> {
    tree::at(container.get("securityContext")?, path)
}

fn namespaces(spec: &Value) -> Option<String> {
    let set = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|key| spec.get(*key) == Some(&Value::Bool(true)));
    let set: Vec<String> = set.map(|key| format!("{key}=true")).collect();
    (!set.is_empty()).then(|| format!("host namespaces ({})", set.join(", ")))
}

fn paths(spec: &Value) -> Option<String> {
    let volumes = tree::items(spec, "volumes").iter().filter(|volume| volume.get("hostPath").is_some());
    let names: Vec<String> = volumes.map(|volume| format!("{:?}", tree::text(volume, &["name"]))).collect();
    let word = if names.len() == 1 { "volume" } else { "volumes" };
    (!names.is_empty()).then(|| format!("hostPath volumes ({word} {})", names.join(", ")))
}

fn ports(spec: &Value) -> Option<String> {
    let of = |container: &Value| -> Vec<i64> {
        let ports = tree::items(container, "ports").iter();
        ports.filter_map(|port| port.get("hostPort")?.as_i64()).filter(|port| *port != 0).collect()
    };
    let who = those(spec, |container| !of(container).is_empty())?;
    let mut ports: Vec<i64> = containers(spec).flat_map(of).collect();
    ports.sort_unstable();
    ports.dedup();
    let uses = if who.starts_with("containers") { "use" } else { "uses" };
    let word = if ports.len() == 1 { "hostPort" } else { "hostPorts" };
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    Some(format!("hostPort ({who} {uses} {word} {})", ports.join(", ")))
}

fn privileged(spec: &Value) -> Option<String> {
    let who = those(spec, |container| at(container, &["privileged"]) == Some(&Value::Bool(true)))?;
    Some(format!("privileged ({who} must not set securityContext.privileged=true)"))
}

fn added(container: &Value) -> impl Iterator<Item = &str> {
    let capabilities = at(container, &["capabilities"]);
    capabilities.map(|it| tree::items(it, "add")).unwrap_or_default().iter().filter_map(Value::as_str)
}

/// The capabilities that containers add beside some, and who.
fn beside(spec: &Value, usual: &[&str]) -> Option<(String, String)> {
    let unusual = |name: &&str| !usual.contains(name);
    let who = those(spec, |container| added(container).any(|name| unusual(&name)))?;
    let mut names: Vec<&str> = containers(spec).flat_map(added).filter(unusual).collect();
    names.sort_unstable();
    names.dedup();
    let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    Some((who, names.join(", ")))
}

fn capabilities(spec: &Value) -> Option<String> {
    let (who, names) = beside(spec, &USUAL)?;
    Some(format!(
        "non-default capabilities ({who} must not include {names} in securityContext.capabilities.add)"
    ))
}

fn all_capabilities(spec: &Value) -> Option<String> {
    let drops = |container: &Value| {
        at(container, &["capabilities"])
            .is_some_and(|it| tree::items(it, "drop").iter().any(|name| name == "ALL"))
    };
    let keeps = those(spec, |container| !drops(container))
        .map(|who| format!("{who} must set securityContext.capabilities.drop=[\"ALL\"]"));
    let adds = beside(spec, &["NET_BIND_SERVICE"])
        .map(|(who, names)| format!("{who} must not include {names} in securityContext.capabilities.add"));
    let both: Vec<String> = keeps.into_iter().chain(adds).collect();
    (!both.is_empty()).then(|| format!("unrestricted capabilities ({})", both.join("; ")))
}

fn escalation(spec: &Value) -> Option<String> {
    let who =
        those(spec, |container| at(container, &["allowPrivilegeEscalation"]) != Some(&Value::Bool(false)))?;
    Some(format!(
        "allowPrivilegeEscalation != false ({who} must set securityContext.allowPrivilegeEscalation=false)"
    ))
}

fn volumes(spec: &Value) -> Option<String> {
    let forbidden = |volume: &&Value| {
        let map = volume.as_object();
        map.is_some_and(|map| map.keys().any(|key| key != "name" && !VOLUMES.contains(&key.as_str())))
    };
    let found: Vec<&Value> = tree::items(spec, "volumes").iter().filter(forbidden).collect();
    let names: Vec<String> =
        found.iter().map(|volume| format!("{:?}", tree::text(volume, &["name"]))).collect();
    let mut kinds: Vec<&str> = found
        .iter()
        .filter_map(|volume| volume.as_object()?.keys().map(String::as_str).find(|key| *key != "name"))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    let (volume, uses) = if names.len() == 1 { ("volume", "uses") } else { ("volumes", "use") };
    let kind = if kinds.len() == 1 { "type" } else { "types" };
    let kinds: Vec<String> = kinds.iter().map(|kind| format!("{kind:?}")).collect();
    (!names.is_empty()).then(|| {
        format!(
            "restricted volume types ({volume} {} {uses} restricted volume {kind} {})",
            names.join(", "),
            kinds.join(", ")
        )
    })
}

fn root(spec: &Value) -> Option<String> {
    let pod = at(spec, &["runAsNonRoot"]) == Some(&Value::Bool(true));
    let wrong = |container: &Value| match at(container, &["runAsNonRoot"]) {
        Some(own) => own != true,
        None => !pod,
    };
    let who = those(spec, wrong)?;
    Some(format!("runAsNonRoot != true (pod or {who} must set securityContext.runAsNonRoot=true)"))
}

fn seccomp(spec: &Value) -> Option<String> {
    let good = |profile: &Value| profile == "RuntimeDefault" || profile == "Localhost";
    let pod = at(spec, &["seccompProfile", "type"]).is_some_and(good);
    let wrong = |container: &Value| match at(container, &["seccompProfile", "type"]) {
        Some(own) => !good(own),
        None => !pod,
    };
    let who = those(spec, wrong)?;
    Some(format!(
        "seccompProfile (pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
    ))
}
