//! The scripts that renew certificates and apply changed settings on hosts that
//! belong to the cluster.

use super::certificates::SERVING;
use super::scripts::{ADMIN, RENEWING};
use super::{PORT, STATE};

/// A function of the shell: those of some containers that run.
const RUNNING: &str = r#"running() { ctr -n k8s.io tasks ls | awk -v ids="$*" '
  BEGIN { split(ids, all, " "); for (n in all) ours[all[n]] = 1 } $3 == "RUNNING" && $1 in ours { print $1 }'; }"#;

/// Writes the manifests of a server's control plane anew, and waits until nothing runs with its old ones.
/// How etcd's members came together stays as it is: that is no setting.
pub(super) fn control_plane() -> String {
    format!(
        "set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH
{RUNNING}
folder=/etc/kubernetes/manifests new={STATE}/manifests
rm -rf $new; mkdir -p $new
KUBEADM_INIT_DRYRUN_DIR=$new; export KUBEADM_INIT_DRYRUN_DIR
kubeadm init phase control-plane all --dry-run --config {STATE}/kubeadm.json >/dev/null
kubeadm init phase etcd local --dry-run --config {STATE}/kubeadm.json >/dev/null
awk 'NR == FNR {{ if (/--initial-cluster/) kept = kept $0 \"\\n\"; next }}
  /--initial-cluster/ {{ if (kept != \"\") printf \"%s\", kept; kept = \"\"; next }} {{ print }}' $folder/etcd.yaml $new/etcd.yaml >$new/merged
mv $new/merged $new/etcd.yaml
for name in etcd kube-apiserver kube-controller-manager kube-scheduler; do
  cmp -s $new/$name.yaml $folder/$name.yaml && continue
  old=$(ctr -n k8s.io containers ls -q \"labels.\\\"io.kubernetes.container.name\\\"==$name\")
  install -m 0600 $new/$name.yaml $folder/.$name
  mv $folder/.$name $folder/$name.yaml
  tries=0
  while left=$(running $old); [ -n \"$left\" ]; do
    tries=$((tries + 1))
    [ $tries -lt 1200 ] || {{ echo \"$name still runs with its old settings\" >&2; exit 1; }}
    # It was asked to end; who waits for connections of the past keeps the API away.
    [ $tries -ne 80 ] || for id in $left; do ctr -n k8s.io tasks kill -s KILL \"$id\" || true; done
    sleep 0.1
  done
done
rm -rf $new"
    )
}

/// Makes a new certificate for a server's API server, and waits until it shows that one: it reads it again by itself.
/// The one that there is stays until there is another.
pub(super) fn new_names(endpoint: &str) -> String {
    let endpoint = crate::host::quote(endpoint);
    format!(
        "set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH
pki=/etc/kubernetes/pki new=/etc/kubernetes/pki/new
rm -rf $new; mkdir -m 0700 $new
cp -p $pki/ca.crt $pki/ca.key $new/
sed '0,/\"clusterName\"/s##\"certificatesDir\": \"'$new'\", &#' {STATE}/kubeadm.json >$new/kubeadm.json
kubeadm init phase certs apiserver --config $new/kubeadm.json >/dev/null
mv $new/apiserver.key $pki/apiserver.key
mv $new/apiserver.crt $pki/apiserver.crt
rm -rf $new
tries=0
until said=$(kubectl --kubeconfig {ADMIN} --server https://127.0.0.1:{PORT} --tls-server-name {endpoint} \
  --request-timeout 10s get --raw /readyz 2>&1)
do
  tries=$((tries + 1))
  [ $tries -lt 240 ] || {{ echo \"the API server does not answer as {endpoint}: $said\" >&2; exit 1; }}
  sleep 0.5
done"
    )
}

/// Writes kube-proxy's configuration anew, and restarts it on all nodes if it changed: another server may have done so.
pub(super) fn kube_proxy() -> String {
    format!(
        "set -eu
KUBECONFIG={ADMIN}; export KUBECONFIG
proxy() {{ kubectl -n kube-system get configmap kube-proxy --ignore-not-found -o jsonpath='{{.metadata.resourceVersion}}'; }}
before=$(proxy)
kubeadm init phase addon kube-proxy --config {STATE}/kubeadm.json >/dev/null
[ \"$before\" = \"$(proxy)\" ] || kubectl -n kube-system rollout restart daemonset/kube-proxy >/dev/null"
    )
}

/// Prints whether there is a kube-proxy.
pub(super) fn has_kube_proxy() -> String {
    format!(
        "kubectl --kubeconfig {ADMIN} --request-timeout 10s -n kube-system get daemonset kube-proxy --ignore-not-found -o name"
    )
}

/// Takes the kubelet's configuration from the cluster.
pub(super) const KUBELET_CONFIG: &str = "set -eu
kubeadm upgrade node phase kubelet-config >/dev/null
systemctl restart kubelet";

/// Makes kubeadm's certificates of a server anew, and restarts what reads them at its start only. What was restarted
/// is not waited for: where all servers' certificates have ended, etcd is well again once most have new ones.
/// All at once, as short as possible: while there is one server only, the lock cannot be renewed meanwhile.
pub(super) fn renew() -> String {
    format!(
        "set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH
touch {RENEWING}
kubeadm certs renew all --config {STATE}/kubeadm.json
ids=$(for name in etcd kube-apiserver kube-controller-manager kube-scheduler; do
  ctr -n k8s.io containers ls -q \"labels.\\\"io.kubernetes.container.name\\\"==$name\"
done)
{RUNNING}
for id in $(running $ids); do ctr -n k8s.io tasks kill -s TERM \"$id\" || true; done
tries=0
while [ -n \"$(running $ids)\" ] && [ $tries -lt 60 ]; do tries=$((tries + 1)); sleep 0.1; done
for id in $(running $ids); do ctr -n k8s.io tasks kill -s KILL \"$id\" || true; done
tries=0
while [ -n \"$(running $ids)\" ]; do
  tries=$((tries + 1))
  [ $tries -lt 300 ] || {{ echo 'etcd or the control plane still runs with its old certificates' >&2; exit 1; }}
  sleep 0.1
done
rm -f {RENEWING}"
    )
}

/// A kubeconfig with a new certificate for a kubelet, printed on a server.
pub(super) fn kubelet_kubeconfig(name: &str) -> String {
    let user = crate::host::quote(&format!("system:node:{name}"));
    format!(
        "/usr/local/bin/kubeadm kubeconfig user --config {STATE}/kubeadm.json --org system:nodes --client-name {user} 2>/dev/null"
    )
}

/// Lets a kubelet begin with the kubeconfig that it was given.
pub(super) const NEW_CLIENT: &str =
    "rm -f /var/lib/kubelet/pki/kubelet-client-current.pem\nsystemctl restart kubelet";

/// Makes a kubelet ask for a serving certificate now.
pub(super) fn ask_again() -> String {
    format!("rm -f {SERVING}\nsystemctl restart kubelet")
}

/// Waits a while for a kubelet to ask for a serving certificate, and prints what it asks for, for
/// [`super::certificates::Asked::read`].
pub(super) fn asked(name: &str) -> String {
    let user = crate::host::quote(&format!("system:node:{name}"));
    format!(
        "KUBECONFIG={ADMIN}; export KUBECONFIG
tries=0
while :; do
  found=$(kubectl --request-timeout 20s get csr --field-selector spec.signerName=kubernetes.io/kubelet-serving -o jsonpath='{{range .items[*]}}\
{{.metadata.name}}|{{.spec.username}}|{{.spec.usages}}|{{.spec.request}}|{{.status.conditions}}{{\"\\n\"}}{{end}}' 2>/dev/null |
    awk -F'|' -v user={user} '$2 == user && $5 == \"\"') || true
  tries=$((tries + 1))
  [ -z \"$found\" ] && [ $tries -lt 20 ] || break
  sleep 0.4
done
echo \"$found\""
    )
}

/// Waits until a kubelet has its serving certificate; fails where it seems to have asked anew.
pub(super) fn served() -> String {
    format!(
        "tries=0
until [ -e {SERVING} ]; do
  tries=$((tries + 1))
  [ $tries -lt 40 ] || exit 1
  sleep 0.1
done"
    )
}

/// Approves requests.
pub(super) fn approve(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| crate::host::quote(name)).collect();
    format!("kubectl --kubeconfig {ADMIN} --request-timeout 20s certificate approve {}", names.join(" "))
}
