//! The scripts that run on hosts. Phases are transient units: they survive
//! the connection, and a second run joins one that is still at work.

use std::fmt::Write as _;

use super::documents::ENCRYPTION;
use super::files::{CERTS_D, Service, WRITTEN};
use super::settings::Settings;
use super::{ENDPOINT, Node, PORT, STATE, steps};
use crate::health::NOT_UP;
use crate::model::cloud::Role;

/// A file of those that cozy keeps on a host.
macro_rules! state {
    ($name:literal) => {
        concat!("/var/lib/cozy/", $name)
    };
}

/// Says that a host belongs to a cluster; written as the last thing of a phase.
pub(super) const JOINED: &str = state!("joined");

/// Says that a phase began to bring the host into a cluster; gone when it has.
const BEGUN: &str = state!("begun");

/// Says that files were put on the host that do not count yet, with the services that must be restarted for it.
const UNSETTLED: &str = state!("unsettled");

/// Says that certificates are being renewed.
pub(super) const RENEWING: &str = state!("renewing");

/// Where the digests of a host's files are kept, each with what `stat` says of the file.
const DIGESTS: &str = state!("digests");

/// The administrator's kubeconfig, on servers.
pub(super) const ADMIN: &str = "/etc/kubernetes/admin.conf";

/// How long what a phase needs may take, in seconds; together less than [`super::run::PHASE`], which ends the phase:
/// a kubelet that starts, an API server that gets ready with its etcd, a node that registers and gets ready.
const KUBELET_STARTS: u32 = 120;
const SERVER_READY: u32 = 300;
const NODE_READY: u32 = 900;

/// How long what is asked of a cluster may be asked again, in seconds: less than [`super::run::SETTLE`].
pub(super) const SOON: u32 = 60;

/// The certificate of the cluster's authority: by it a host's cluster is known.
pub(super) const CA: &str = "/etc/kubernetes/pki/ca.crt";

/// What a file is known by: it cannot change without one of them changing.
const STAMP: &str = "stat -c '%s:%i:%.9Y:%.9Z  %n' --";

/// Prints the sha256 of files, and what state the host is in. Of `paths` only those are read that changed since their
/// digest was kept; `marks` are small, and always read. Few programs are started: each of many hosts does this at every
/// run.
pub(super) fn observe(paths: &[&str], marks: &[String]) -> String {
    let quoted = |path: &str| crate::host::quote(path);
    let paths: Vec<String> = paths.iter().map(|path| quoted(path)).collect();
    let marks: Vec<String> = marks.iter().map(|path| quoted(path)).collect();
    format!(
        "{STAMP} {} 2>/dev/null | awk '
BEGIN {{ while ((getline line <\"{DIGESTS}\") > 0) {{ at = index(line, \" \"); known[substr(line, at + 1)] = substr(line, 1, at - 1) }} }}
{{ path = substr($0, index($0, \"  \") + 2)
  if ($0 in known) print known[$0] \"  \" path
  else print path | \"while read -r path; do sha256sum -- \\\"$path\\\"; done\" }}'
sha256sum -- {CA} {} 2>/dev/null
{STATES_OF}
states_of containerd cozy-proxy kubelet cozy-init cozy-join | while read -r unit state; do
  case $unit:$state in
    *:inactive | *:failed) ;;
    cozy-init:* | cozy-join:*) echo \"working $unit\" ;;
    *:active | *:reloading) echo \"active $unit\" ;;
  esac
done
[ -e {JOINED} ] && {{
  echo \"joined $(cat {JOINED})\"
  /usr/local/bin/cozy host certificates 2>/dev/null | while read -r line; do echo \"ends $line\"; done
  [ -e {RENEWING} ] && echo renewing
}}
for file in {CERTS_D}/*/hosts.toml; do
  [ -e \"$file\" ] && read -r line <\"$file\" && case $line in '{WRITTEN}'*) echo \"mirror $file\" ;; esac
done
[ -e {UNSETTLED} ] && {{ echo unsettled; while read -r unit || [ -n \"$unit\" ]; do echo \"unsettled $unit\"; done <{UNSETTLED}; }}
if {}; then echo begun; fi
true",
        paths.join(" "),
        marks.join(" "),
        begun()
    )
}

/// Prints the release of Kubernetes that a host's kubelet is of.
pub(super) const RELEASE: &str =
    "version=$(/usr/local/bin/kubelet --version 2>/dev/null) && echo \"${version#Kubernetes }\"";

/// Keeps the digests of the files whose paths come on standard input, one a line, for [`observe`]: what they
/// are, not what they were to be. Somebody else may have written one since it was looked at.
pub(super) fn keep_digests() -> String {
    format!(
        "set -eu
while read -r path; do
  # The stamp first: who writes meanwhile makes another.
  if stamp=$({STAMP} \"$path\") && digest=$(sha256sum <\"$path\"); then
    printf '%s %s\\n' \"${{digest%% *}}\" \"$stamp\"
  fi
done >{DIGESTS}.new
mv {DIGESTS}.new {DIGESTS}"
    )
}

/// Notes which services must be restarted for files that are about to be put there: a run that is killed before
/// [`settle`] does it leaves files that look as if they had been read.
pub(super) fn unsettled(changed: &[Service]) -> String {
    let units: Vec<String> = changed.iter().map(|service| format!("{}\n", service.unit())).collect();
    format!(
        "printf %s {} >{UNSETTLED}.new\nmv {UNSETTLED}.new {UNSETTLED}",
        crate::host::quote(&units.concat())
    )
}

/// Makes the files count: modules, kernel settings, units, services.
pub(super) fn settle(changed: &[Service]) -> String {
    let mut script = "set -eu
for module in $(cat /etc/modules-load.d/cozy.conf); do modprobe -q \"$module\" || true; done
# Before it forwards, or its default route from a router goes at once: the kernel looks at the interface's own setting.
if grep -q '^net.ipv6.conf.all.accept_ra ' /etc/sysctl.d/80-cozy.conf; then
  for file in /proc/sys/net/ipv6/conf/*/accept_ra; do
    [ ! -e \"$file\" ] || [ \"$(cat \"$file\")\" != 1 ] || echo 2 >\"$file\"
  done
fi
sed 's/ *= */ /' /etc/sysctl.d/80-cozy.conf | while read -r name value; do
  file=/proc/sys/$(echo \"$name\" | tr . /)
  # A module that preflight was told to pass over brings no settings.
  [ -e \"$file\" ] || continue
  [ \"$(cat \"$file\")\" = \"$value\" ] || sysctl -q -w \"$name=$value\"
done
systemctl daemon-reload
systemctl enable -q containerd cozy-proxy kubelet
"
    .to_owned();
    for service in [Service::Containerd, Service::Proxy] {
        let verb = if changed.contains(&service) { "restart" } else { "start" };
        let _ = writeln!(script, "systemctl {verb} {}", service.unit());
    }
    if changed.contains(&Service::Kubelet) {
        // Before a node has joined, its kubelet has nothing to do.
        script.push_str("if [ -e /var/lib/kubelet/config.yaml ]; then systemctl restart kubelet; fi\n");
    } else {
        script.push_str("systemctl start kubelet\n");
    }
    let _ = writeln!(script, "rm -f {UNSETTLED}");
    script
}

/// Starts the cozy that was put beside its place. One that does not start goes.
pub(super) fn try_itself() -> String {
    let new = steps::UNTRIED;
    format!("{new} version >/dev/null || {{ rm -f {new}; exit 1; }}")
}

/// Puts the cozy that starts in its place.
pub(super) fn take_itself() -> String {
    format!("mv {} {}", steps::UNTRIED, steps::ITSELF)
}

/// Imports images. A mark will say that they are there: they must survive a power cut as well as that.
pub(super) fn import(archive: &str) -> String {
    format!(
        "set -eu\n/usr/local/bin/ctr -n k8s.io images import {archive} >/dev/null\nsync -f /var/lib/containerd\nrm {archive}"
    )
}

/// Clears what a phase left that was killed, whatever moment that was. kubeadm takes away no data of an etcd whose
/// manifest is gone already, and asks the API server for a minute if it knows one.
fn clear_left() -> String {
    format!(
        "rm -f {ADMIN} /etc/kubernetes/super-admin.conf
timeout 300 kubeadm reset --force --kubeconfig {ADMIN} --cri-socket unix:///run/containerd/containerd.sock >/dev/null 2>&1 || true
rm -rf /etc/kubernetes/manifests /etc/kubernetes/pki /etc/kubernetes/*.conf
if [ -d /var/lib/etcd ]; then find -H /var/lib/etcd -mindepth 1 -delete; fi"
    )
}

/// Clears what a join left. Only for hosts that etcd does not have as a member any more.
pub(super) fn clear() -> String {
    format!("{}\nrm -f {BEGUN}", clear_left())
}

/// Whether a phase began on a host that does not belong to the cluster.
fn begun() -> String {
    format!(
        "[ -e {BEGUN} ] || [ -e /etc/kubernetes/kubelet.conf ] || [ -e /etc/kubernetes/bootstrap-kubelet.conf ] || \
  [ -e /etc/kubernetes/manifests ]"
    )
}

/// Begins a phase that brings a host into a cluster. `left` is done about what another one left.
fn begin(left: &str) -> String {
    // A disk of etcd's own is not empty when it is new, and kubeadm insists on that.
    format!(
        "if {}; then
  {left}
fi
rmdir /var/lib/etcd/lost+found 2>/dev/null || true
touch {BEGUN}",
        begun()
    )
}

/// A script never clears what may be a voter of etcd: who lets the host join takes it out of etcd first.
const LEFT: &str = "echo 'what an interrupted join left is still here' >&2\n  exit 1";

/// The kubelet of a server asks all API servers, not only its own.
fn local_endpoint() -> String {
    format!(
        "sed -i 's#server: https://.*#server: https://{ENDPOINT}#' /etc/kubernetes/kubelet.conf
systemctl restart kubelet"
    )
}

/// `kubeadm init` on the first server.
pub(super) fn init(node: &Node, settings: &Settings) -> String {
    format!(
        "set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH
{}
if ! [ -s {ENCRYPTION}/config.yaml ]; then
  umask 077
  mkdir -p {ENCRYPTION}
  key=$(head -c 32 /dev/urandom | base64 -w 0)
  cat >{ENCRYPTION}/config.yaml.new <<END
{{\"apiVersion\":\"apiserver.config.k8s.io/v1\",\"kind\":\"EncryptionConfiguration\",\"resources\":[{{\"resources\":[\"secrets\"],\
\"providers\":[{{\"secretbox\":{{\"keys\":[{{\"name\":\"cozy\",\"secret\":\"$key\"}}]}}}},{{\"identity\":{{}}}}]}}]}}
END
  sync {ENCRYPTION}/config.yaml.new
  mv {ENCRYPTION}/config.yaml.new {ENCRYPTION}/config.yaml
  umask 022
fi
kubeadm init --skip-token-print --config {STATE}/kubeadm.json
{}
{}
{}",
        begin(&clear_left()),
        local_endpoint(),
        ready(),
        joined(node, settings)
    )
}

/// Says on a host that it belongs to the cluster, as what, and with which settings.
fn joined(node: &Node, settings: &Settings) -> String {
    let identity = crate::host::quote(&steps::identity(node));
    // On the disk before anybody relies on it, and after what it vouches for: a host that forgot it is cleared, and
    // joins anew.
    format!(
        "{}sync -f /etc/kubernetes /var/lib/kubelet {STATE}
echo {identity} >{JOINED}.new\nsync {JOINED}.new\nmv {JOINED}.new {JOINED}\nsync {STATE}\nrm -f {BEGUN}",
        settings.marked()
    )
}

/// Asks this server's API server whether it is ready.
pub(super) fn answers() -> String {
    format!(
        "kubectl --kubeconfig {ADMIN} --server https://127.0.0.1:{PORT} --request-timeout 10s get --raw /readyz >/dev/null 2>&1"
    )
}

/// Waits until what was restarted on a host that belongs to the cluster does its work again: its kubelet, and on
/// servers with an API server that worked before, that.
pub(super) fn settled(kubelet: bool, control_plane: bool) -> String {
    let wait = || {
        format!(
            "end=$(($(date +%s) + {KUBELET_STARTS}))
until timeout 10 bash -c 'exec 3<>/dev/tcp/127.0.0.1/10248; printf \"GET /healthz HTTP/1.0\\r\\n\\r\\n\" >&3; grep -q \"200 OK\" <&3' 2>/dev/null; do
  [ \"$(date +%s)\" -lt $end ] || {{ echo 'kubelet does not answer on port 10248 after 2 minutes: journalctl -u kubelet' >&2; exit 1; }}
  sleep 0.5
done"
        )
    };
    let parts = [kubelet.then(wait), control_plane.then(ready)];
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

/// Waits until this server's etcd has a leader and takes writes as a voter,
/// and its API server is ready.
fn ready() -> String {
    // On hosts with IPv6 addresses etcd says so on IPv6 alone.
    format!(
        "healthy() {{
  timeout 10 bash -c 'exec 3<>/dev/tcp/$0/2381; printf \"GET /health HTTP/1.0\\r\\n\\r\\n\" >&3; grep -q \"\\\"health\\\":\\\"true\\\"\" <&3' $1 2>/dev/null
}}
end=$(($(date +%s) + {SERVER_READY}))
until {} && {{ healthy 127.0.0.1 || healthy ::1; }}; do
  [ \"$(date +%s)\" -lt $end ] || {{ echo 'etcd or the API server of this host is not ready after 5 minutes' >&2; exit 1; }}
  sleep 0.5
done",
        answers()
    )
}

/// `kubeadm join` on a further host. The document is removed: it holds secrets.
pub(super) fn join(node: &Node, settings: &Settings) -> String {
    let after = match node.role {
        Role::Server => format!("{}\n{}", local_endpoint(), ready()),
        Role::Agent => String::new(),
    };
    format!(
        "set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH
trap 'rm -f {STATE}/join.json' EXIT
{}
kubeadm join --config {STATE}/join.json
{after}
{}",
        begin(LEFT),
        joined(node, settings)
    )
}

/// Puts the settings of control planes and kubelets where joins and upgrades take them from.
pub(super) fn upload_settings() -> String {
    format!(
        "set -eu
for part in kubeadm kubelet; do kubeadm init phase upload-config $part --config {STATE}/kubeadm.json >/dev/null; done"
    )
}

/// Waits until a node is ready, and pods may come: its taints go a moment after its condition came.
pub(super) fn ready_node(name: &str) -> String {
    let name = crate::host::quote(name);
    let taints = NOT_UP.join("|");
    format!(
        "KUBECONFIG={ADMIN}; export KUBECONFIG
end=$(($(date +%s) + {NODE_READY}))
until kubectl --request-timeout 20s get node {name} >/dev/null 2>&1; do
  [ \"$(date +%s)\" -lt $end ] || {{ echo {name}' has not registered: look there with journalctl -u kubelet' >&2; exit 1; }}
  sleep 0.2
done
up() {{
  left=$((end - $(date +%s)))
  [ $left -gt 0 ] || left=1
  kubectl wait --for=condition=Ready --timeout=${{left}}s node/{name} &&
    taints=$(kubectl get node {name} -o jsonpath='{{.spec.taints[*].key}}') &&
    ! echo \"$taints\" | grep -qwE '{taints}'
}}
# An API server that restarts ends a wait, too.
until up; do
  [ \"$(date +%s)\" -lt $end ] || exit 1
  sleep 0.2
done"
    )
}

/// Who belongs to the cluster, printed on a server for [`super::members::Membership::read`].
pub(super) fn membership() -> String {
    let nodes = "{range .items[*]}node {.metadata.name} {range .status.addresses[*]}{.address},{end} \
        {.status.conditions[?(@.type==\"Ready\")].status}{\"\\n\"}{end}";
    format!(
        "set -eu
/usr/local/bin/kubectl --kubeconfig {ADMIN} --request-timeout 20s get nodes -o jsonpath='{nodes}'
/usr/local/bin/cozy host etcd members"
    )
}

/// A script that asks something of the cluster, and may do so more than once: again until it succeeds, for so many
/// seconds. While etcd elects a leader, and while a server or its API server starts, there is no answer.
pub(super) fn soon(script: &str, for_seconds: u32) -> String {
    let script = crate::host::quote(script);
    format!(
        "end=$(($(date +%s) + {for_seconds}))
until said=$(sh -c {script}); do
  [ \"$(date +%s)\" -lt $end ] || exit 1
  sleep 1
done
printf '%s\\n' \"$said\""
    )
}

/// Prints what a host is that is to join: at it, done with it, or left in the middle; else nothing.
pub(super) fn joining() -> String {
    format!(
        "{STATE_OF}
if [ \"$(state_of cozy-join)\" = working ]; then echo working
elif [ -e {JOINED} ]; then echo joined
elif {}; then echo begun; fi",
        begun()
    )
}

/// Prints what a host is that is to leave: its name, its addresses, whose it is, and whether it is in a cluster.
pub(super) fn observe_leaver() -> String {
    format!(
        "echo \"name $(cat /proc/sys/kernel/hostname)\"
ip -o addr show scope global 2>/dev/null | awk '{{ sub(\"/.*\", \"\", $4); print \"address\", $4 }}'
[ -e {STATE}/host ] && echo \"cloud $(cat {STATE}/host)\"
[ -e {JOINED} ] && echo \"joined $(cat {JOINED})\"
true"
    )
}

/// Moves a node's pods to others. A node that is gone already is no error.
pub(super) fn drain(name: &str) -> String {
    let name = crate::host::quote(name);
    format!(
        "KUBECONFIG={ADMIN}; export KUBECONFIG
[ -n \"$(kubectl get node {name} --ignore-not-found -o name)\" ] || exit 0
kubectl drain {name} --ignore-daemonsets --delete-emptydir-data --force --timeout=10m"
    )
}

/// Deletes a Node.
pub(super) fn delete_node(name: &str) -> String {
    let name = crate::host::quote(name);
    format!("kubectl --kubeconfig {ADMIN} delete node {name} --ignore-not-found --timeout=1m")
}

/// What a join needs, made on a server: `token=`, `ca=`, for servers `key=`.
pub(super) fn credentials(role: Role) -> String {
    let key = match role {
        Role::Server => format!(
            "key=$(kubeadm certs certificate-key)
umask 077
trap 'rm -f {STATE}/upload.json' EXIT
trap 'exit 143' TERM
# Not as an argument: anybody on the host can read those.
sed -f - {STATE}/kubeadm.json >{STATE}/upload.json <<END
0,/\"kind\": \"InitConfiguration\"/s//\"certificateKey\": \"$key\", &/
END
kubeadm init phase upload-certs --upload-certs --config {STATE}/upload.json >/dev/null
echo \"key=$key\"
"
        ),
        Role::Agent => String::new(),
    };
    format!(
        "set -eu
KUBECONFIG={ADMIN}; export KUBECONFIG
{key}line=$(kubeadm token create --ttl 2h --print-join-command)
echo \"$line\" | sed -n 's/.*--token \\([^ ]*\\).*/token=\\1/p'
echo \"$line\" | sed -n 's/.*--discovery-token-ca-cert-hash \\([^ ]*\\).*/ca=\\1/p'"
    )
}

/// A function of the shell: whether a unit is at work, also while it starts or ends. A system that is too busy to say
/// is asked again.
const STATE_OF: &str = "state_of() {
  [ -d /run/systemd/system ] || return 0
  while :; do
    case $(systemctl show -p ActiveState --value $1 2>/dev/null) in
      inactive | failed) return ;;
      ?*) echo working; return ;;
    esac
    sleep 0.2
  done
}";

/// The same for several units at once: `states_of UNIT…` prints each with its state.
const STATES_OF: &str = "states_of() {
  [ -d /run/systemd/system ] || return 0
  until states=$(systemctl show -p ActiveState --value \"$@\" 2>/dev/null) && [ -n \"$states\" ]; do sleep 0.2; done
  for state in $states; do echo \"$1 $state\"; shift; done
}";

/// Starts a phase as a transient unit, unless it is at work, and waits for its end.
/// Its script is in place. Prints the end of what it said; its status is the phase's.
/// A join that has ended well since it was looked for is not begun again: it would
/// clear a host that belongs to the cluster by now. Phases of hosts that belong to it
/// are begun again: the one at work may have read settings that are old by now.
pub(super) fn phase(name: &str) -> String {
    let joins = if matches!(name, "init" | "join") { "true" } else { "false" };
    format!(
        "unit=cozy-{name} base={STATE}/phases/{name}
# Scripts and what they said are nobody else's.
chmod 0700 {STATE}/phases
{STATE_OF}
await() {{
  while [ \"$(state_of $unit)\" = working ]; do
    pid=$(systemctl show -p MainPID --value $unit)
    case $pid in '' | 0) sleep 0.1 ;; *) tail --pid=\"$pid\" -s 0.1 -f /dev/null ;; esac
  done
}}
if ! {joins} && [ \"$(state_of $unit)\" = working ]; then
  await
  # Nothing of it runs any more; this waits until its name is free.
  systemctl stop $unit 2>/dev/null
fi
if [ \"$(state_of $unit)\" != working ]; then
  if {joins} && [ -e {JOINED} ]; then exit 0; fi
  rm -f $base.status
  systemctl reset-failed $unit 2>/dev/null
  rm -f $base.status
  systemd-run --quiet --unit=$unit --service-type=exec --description='cozy: {name}' \
    sh -c \"sh $base.sh >$base.log 2>&1; echo \\$? >$base.status\" || exit
fi
await
tail -n 12 $base.log >&2
# What kubeadm finds wrong stands before its last words.
grep -F '[ERROR ' $base.log | tail -n 3 >&2
status=$(cat $base.status 2>/dev/null)
[ -n \"$status\" ] || ! [ -e $base.status ] || echo 'its end could not be written down: is the disk full?' >&2
exit \"${{status:-1}}\""
    )
}
