//! The Pod Security Standards: what the labels of a namespace forbid its pods, in the words and the order of
//! `k8s.io/pod-security-admission/policy`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::json as tree;

/// The newest version of the standards, that of the simulated server.
const NEWEST: u32 = 36;

const LEVEL: &str = "pod-security.kubernetes.io/enforce";
const VERSION: &str = "pod-security.kubernetes.io/enforce-version";

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
const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// Kernel parameters that pods may set, with the version from which on they may.
const SYSCTLS: [(&str, u32); 12] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];

/// What the labels of a namespace forbid in a pod; `None`: nothing. A level that nobody knows is the strictest.
pub(crate) fn violations(labels: &BTreeMap<String, String>, pod: &Value) -> Option<String> {
    let level = labels.get(LEVEL).map(String::as_str).filter(|level| *level != "privileged")?;
    let baseline = level == "baseline";
    let asked = labels.get(VERSION).and_then(|version| version.strip_prefix("v1.")?.parse::<u32>().ok());
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    let annotations = tree::at(pod, &["metadata", "annotations"]).unwrap_or(&Value::Null);
    let pod = Pod { spec, annotations, version: asked.unwrap_or(NEWEST).min(NEWEST) };
    let found = if baseline { pod.baseline() } else { pod.restricted() };
    let level = if baseline { "baseline" } else { "restricted" };
    let version = asked.map_or_else(|| "latest".to_owned(), |minor| format!("v1.{minor}"));
    (!found.is_empty()).then(|| format!("violates PodSecurity \"{level}:{version}\": {}", found.join(", ")))
}

/// A pod that is held against a version of the standards.
struct Pod<'a> {
    spec: &'a Value,
    annotations: &'a Value,
    version: u32,
}

fn quoted<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("\"{name}\"")).collect();
    names.join(", ")
}

fn plural<'a>(one: &'a str, more: &'a str, count: usize) -> &'a str {
    if count == 1 { one } else { more }
}

fn name(item: &Value) -> &str {
    tree::text(item, &["name"])
}

/// What the security context of a container, or of the pod, has at a path.
fn at<'a>(item: &'a Value, path: &[&str]) -> Option<&'a Value> {
    tree::at(item.get("securityContext")?, path).filter(|found| !found.is_null())
}

fn added(container: &Value) -> impl Iterator<Item = &str> {
    let capabilities = at(container, &["capabilities"]);
    capabilities.map(|it| tree::items(it, "add")).unwrap_or_default().iter().filter_map(Value::as_str)
}

/// The hosts that probes and handlers of a container ask instead of the pod.
fn hosts(container: &Value) -> Vec<&str> {
    let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|probe| container.get(probe));
    let handlers = ["postStart", "preStop"].map(|handler| tree::at(container, &["lifecycle", handler]));
    let asking = probes.into_iter().chain(handlers).flatten();
    let hosts = asking.flat_map(|it| ["httpGet", "tcpSocket"].map(|way| tree::text(it, &[way, "host"])));
    hosts.filter(|host| !host.is_empty()).collect()
}

impl<'a> Pod<'a> {
    fn baseline(&self) -> Vec<String> {
        let all = [
            self.app_armor(),
            self.capabilities(),
            self.namespaces(),
            self.paths(),
            self.ports(),
            self.hosts(),
            self.privileged(),
            self.proc_mount(true),
            self.se_linux(),
            self.seccomp(),
            self.sysctls(),
            self.host_process(),
        ];
        all.into_iter().flatten().collect()
    }

    /// What `baseline` forbids and `restricted` says no more strictly, and then the rest.
    fn restricted(&self) -> Vec<String> {
        let all = [
            self.app_armor(),
            self.namespaces(),
            self.ports(),
            self.hosts(),
            self.privileged(),
            self.se_linux(),
            self.sysctls(),
            self.host_process(),
            self.escalation(),
            self.all_capabilities(),
            self.proc_mount(false),
            self.volumes(),
            self.non_root(),
            self.user(),
            self.some_seccomp(),
        ];
        all.into_iter().flatten().collect()
    }

    fn containers(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        let spec = self.spec;
        let lists = ["initContainers", "containers", "ephemeralContainers"].into_iter();
        lists.flat_map(move |list| tree::items(spec, list))
    }

    /// The containers for which something is so, as the server lists them: `container "a"`, `containers "a", "b"`.
    fn those(&self, is: impl Fn(&Value) -> bool) -> Option<String> {
        let names: Vec<&str> = self.containers().filter(|container| is(container)).map(name).collect();
        let word = plural("container", "containers", names.len());
        (!names.is_empty()).then(|| format!("{word} {}", quoted(names)))
    }

    /// The pod, containers or both, for which something is so: `pod and container "a"`.
    fn setters(&self, is: impl Fn(&Value) -> bool) -> Option<String> {
        let pod = is(self.spec).then(|| "pod".to_owned());
        let both: Vec<String> = pod.into_iter().chain(self.those(&is)).collect();
        (!both.is_empty()).then(|| both.join(" and "))
    }

    /// The values at a path of the security contexts of the pod and its containers, sorted, each once.
    fn values(&self, path: &[&str]) -> BTreeSet<&'a str> {
        let all = std::iter::once(self.spec).chain(self.containers());
        all.filter_map(|item| at(item, path)?.as_str()).collect()
    }

    fn is_windows(&self) -> bool {
        self.version >= 25 && tree::text(self.spec, &["os", "name"]) == "windows"
    }

    /// Whether root in the pod is nobody outside of it.
    fn has_own_users(&self) -> bool {
        self.version >= 35 && self.spec.get("hostUsers") == Some(&Value::Bool(false))
    }

    fn app_armor(&self) -> Option<String> {
        const PATH: [&str; 2] = ["appArmorProfile", "type"];
        const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
        let bad = |kind: &str| !["RuntimeDefault", "Localhost"].contains(&kind);
        let set = |item: &Value| at(item, &PATH).and_then(Value::as_str).is_some_and(bad);
        let annotations = self.annotations.as_object().into_iter().flatten();
        let annotations: BTreeSet<String> = annotations
            .filter_map(|(key, value)| Some((key, value.as_str()?)).filter(|_| key.starts_with(PREFIX)))
            .filter(|(_, value)| {
                !value.is_empty() && *value != "runtime/default" && !value.starts_with("localhost/")
            })
            .map(|(key, value)| format!("{key}={value:?}"))
            .collect();
        let word = plural("annotation", "annotations", annotations.len());
        let word = (!annotations.is_empty()).then(|| word.to_owned());
        let who: Vec<String> = self.setters(set).into_iter().chain(word).collect();
        let kinds = self.values(&PATH);
        let values: Vec<&str> = kinds
            .into_iter()
            .filter(|kind| bad(kind))
            .chain(annotations.iter().map(String::as_str))
            .collect();
        let what = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", values.len());
        (!who.is_empty()).then(|| {
            format!(
                "{what} ({} must not set AppArmor profile type to {})",
                who.join(" and "),
                quoted(values.iter().copied())
            )
        })
    }

    /// The capabilities that containers add beside some, and who.
    fn beside(&self, usual: &[&str]) -> Option<String> {
        let unusual = |name: &&str| !usual.contains(name);
        let who = self.those(|container| added(container).any(|name| unusual(&name)))?;
        let names: BTreeSet<&str> = self.containers().flat_map(added).filter(unusual).collect();
        Some(format!("{who} must not include {} in securityContext.capabilities.add", quoted(names)))
    }

    fn capabilities(&self) -> Option<String> {
        self.beside(&USUAL).map(|what| format!("non-default capabilities ({what})"))
    }

    fn all_capabilities(&self) -> Option<String> {
        if self.is_windows() {
            return None;
        }
        if self.version < 22 {
            return self.capabilities();
        }
        let drops = |container: &Value| {
            at(container, &["capabilities"])
                .is_some_and(|it| tree::items(it, "drop").iter().any(|name| name == "ALL"))
        };
        let keeps = self.those(|container| !drops(container));
        let keeps = keeps.map(|who| format!("{who} must set securityContext.capabilities.drop=[\"ALL\"]"));
        let both: Vec<String> = keeps.into_iter().chain(self.beside(&["NET_BIND_SERVICE"])).collect();
        (!both.is_empty()).then(|| format!("unrestricted capabilities ({})", both.join("; ")))
    }

    fn namespaces(&self) -> Option<String> {
        let set = ["hostNetwork", "hostPID", "hostIPC"]
            .into_iter()
            .filter(|key| self.spec.get(*key) == Some(&Value::Bool(true)));
        let set: Vec<String> = set.map(|key| format!("{key}=true")).collect();
        (!set.is_empty()).then(|| format!("host namespaces ({})", set.join(", ")))
    }

    fn paths(&self) -> Option<String> {
        let volumes = tree::items(self.spec, "volumes").iter();
        let names: Vec<&str> = volumes.filter(|volume| volume.get("hostPath").is_some()).map(name).collect();
        let word = plural("volume", "volumes", names.len());
        (!names.is_empty()).then(|| format!("hostPath volumes ({word} {})", quoted(names)))
    }

    fn ports(&self) -> Option<String> {
        let of = |container: &Value| -> Vec<i64> {
            let ports = tree::items(container, "ports").iter();
            ports.filter_map(|port| port.get("hostPort")?.as_i64()).filter(|port| *port != 0).collect()
        };
        let who = self.those(|container| !of(container).is_empty())?;
        // Sorted as texts.
        let ports: BTreeSet<String> = self.containers().flat_map(of).map(|port| port.to_string()).collect();
        let uses = if who.starts_with("containers") { "use" } else { "uses" };
        let word = plural("hostPort", "hostPorts", ports.len());
        let ports: Vec<String> = ports.into_iter().collect();
        Some(format!("hostPort ({who} {uses} {word} {})", ports.join(", ")))
    }

    fn hosts(&self) -> Option<String> {
        if self.version < 34 {
            return None;
        }
        let bad = self.containers().filter(|container| !hosts(container).is_empty());
        let (names, hosts): (BTreeSet<&str>, BTreeSet<&str>) =
            (bad.map(name).collect(), self.containers().flat_map(hosts).collect());
        let (word, uses) =
            (plural("container", "containers", names.len()), plural("uses", "use", names.len()));
        let what = plural("probe or lifecycle host", "probe or lifecycle hosts", hosts.len());
        (!names.is_empty()).then(|| {
            format!("probe or lifecycle host ({word} {} {uses} {what} {})", quoted(names), quoted(hosts))
        })
    }

    fn privileged(&self) -> Option<String> {
        let who = self.those(|container| at(container, &["privileged"]) == Some(&Value::Bool(true)))?;
        Some(format!("privileged ({who} must not set securityContext.privileged=true)"))
    }

    /// `relaxed`: a pod with users of its own may.
    fn proc_mount(&self, relaxed: bool) -> Option<String> {
        if relaxed && self.has_own_users() {
            return None;
        }
        let bad = |kind: &str| kind != "Default";
        let who = self.those(|it| at(it, &["procMount"]).and_then(Value::as_str).is_some_and(bad))?;
        let kinds = self.values(&["procMount"]).into_iter().filter(|kind| bad(kind));
        Some(format!("procMount ({who} must not set securityContext.procMount to {})", quoted(kinds)))
    }

    fn se_linux(&self) -> Option<String> {
        let bad = |kind: &str| {
            let known = ["", "container_t", "container_init_t", "container_kvm_t"].contains(&kind);
            !(known || self.version >= 31 && kind == "container_engine_t")
        };
        let part = |item: &Value, key: &str| {
            at(item, &["seLinuxOptions", key]).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let set = |item: &Value, key: &str| !part(item, key).is_empty();
        let who = self.setters(|it| bad(&part(it, "type")) || set(it, "user") || set(it, "role"))?;
        let kinds = self.values(&["seLinuxOptions", "type"]);
        let kinds: Vec<&str> = kinds.into_iter().filter(|kind| bad(kind)).collect();
        let mut what = Vec::new();
        if !kinds.is_empty() {
            what.push(format!("{} {}", plural("type", "types", kinds.len()), quoted(kinds)));
        }
        for key in ["user", "role"] {
            if self.setters(|item| set(item, key)).is_some() {
                what.push(format!("{key} may not be set"));
            }
        }
        Some(format!(
            "seLinuxOptions ({who} set forbidden securityContext.seLinuxOptions: {})",
            what.join("; ")
        ))
    }

    /// Who sets a bad profile, and which.
    fn seccomp(&self) -> Option<String> {
        const PATH: [&str; 2] = ["seccompProfile", "type"];
        let bad = |kind: &str| !["RuntimeDefault", "Localhost"].contains(&kind);
        let who = self.setters(|it| at(it, &PATH).and_then(Value::as_str).is_some_and(bad))?;
        let kinds = self.values(&PATH).into_iter().filter(|kind| bad(kind));
        Some(format!(
            "seccompProfile ({who} must not set securityContext.seccompProfile.type to {})",
            quoted(kinds)
        ))
    }

    fn some_seccomp(&self) -> Option<String> {
        if self.is_windows() || self.version < 19 {
            return None;
        }
        let set = |item: &Value| at(item, &["seccompProfile"]).is_some();
        if let Some(bad) = self.seccomp() {
            return Some(bad);
        }
        let who = self.those(|container| !set(container)).filter(|_| !set(self.spec))?;
        Some(format!(
            "seccompProfile (pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
        ))
    }

    fn sysctls(&self) -> Option<String> {
        let set = at(self.spec, &["sysctls"]).and_then(Value::as_array).into_iter().flatten().map(name);
        let may = |name: &str| SYSCTLS.iter().any(|(known, from)| *known == name && *from <= self.version);
        let bad: Vec<&str> = set.filter(|name| !may(name)).collect();
        (!bad.is_empty()).then(|| format!("forbidden sysctls ({})", bad.join(", ")))
    }

    fn host_process(&self) -> Option<String> {
        let set = |item: &Value| at(item, &["windowsOptions", "hostProcess"]) == Some(&Value::Bool(true));
        let who = self.setters(set)?;
        Some(format!("hostProcess ({who} must not set securityContext.windowsOptions.hostProcess=true)"))
    }

    fn escalation(&self) -> Option<String> {
        if self.is_windows() {
            return None;
        }
        let may = |it: &Value| at(it, &["allowPrivilegeEscalation"]) != Some(&Value::Bool(false));
        let who = self.those(may)?;
        Some(format!(
            "allowPrivilegeEscalation != false ({who} must set securityContext.allowPrivilegeEscalation=false)"
        ))
    }

    fn volumes(&self) -> Option<String> {
        let kind =
            |volume: &'a Value| volume.as_object()?.keys().map(String::as_str).find(|key| *key != "name");
        let forbidden = |volume: &&'a Value| kind(volume).is_none_or(|kind| !VOLUMES.contains(&kind));
        let found: Vec<&Value> = tree::items(self.spec, "volumes").iter().filter(forbidden).collect();
        let kinds: BTreeSet<&str> = found.iter().filter_map(|volume| kind(volume)).collect();
        let (volume, uses) = (plural("volume", "volumes", found.len()), plural("uses", "use", found.len()));
        let what = plural("restricted volume type", "restricted volume types", kinds.len());
        (!found.is_empty()).then(|| {
            let names = quoted(found.iter().map(|volume| name(volume)));
            format!("restricted volume types ({volume} {names} {uses} {what} {})", quoted(kinds))
        })
    }

    fn non_root(&self) -> Option<String> {
        if self.has_own_users() {
            return None;
        }
        let says = |item: &Value, what: bool| at(item, &["runAsNonRoot"]) == Some(&Value::Bool(what));
        let words = "runAsNonRoot != true";
        if let Some(who) = self.setters(|item| says(item, false)) {
            return Some(format!("{words} ({who} must not set securityContext.runAsNonRoot=false)"));
        }
        let who = self.those(|container| !says(container, true)).filter(|_| !says(self.spec, true))?;
        Some(format!("{words} (pod or {who} must set securityContext.runAsNonRoot=true)"))
    }

    fn user(&self) -> Option<String> {
        if self.has_own_users() || self.version < 23 {
            return None;
        }
        let root = |item: &Value| at(item, &["runAsUser"]).and_then(Value::as_i64) == Some(0);
        Some(format!("runAsUser=0 ({} must not set runAsUser=0)", self.setters(root)?))
    }
}
