//! A host as it was: what is remembered of it before anything is put there,
//! and the script that takes everything away again.
//!
//! What is removed is what was put there (`placed`, the lists of archives) and
//! what the programs that came along leave in places of their own. What stood
//! there before stays, or comes back.

use super::STATE;
use crate::host::quote;

/// Folders that belong to Kubernetes and its runtime. Where one was there before,
/// only what was not in it goes.
const FOLDERS: &str = "/etc/kubernetes /etc/containerd /etc/cozy /etc/cni/net.d /etc/cni /opt/cni/bin /opt/cni \
    /opt/containerd/bin /opt/containerd/lib /opt/containerd /var/lib/kubelet /var/lib/etcd /var/lib/containerd \
    /var/lib/cni /var/log/pods /var/log/containers /run/containerd /run/nri /run/cilium /run/flannel /run/xtables.lock \
    /usr/libexec/kubernetes /root/.kube";

/// Folders of the system's that files are put into.
const SHARED: &str = "/etc/modules-load.d /etc/sysctl.d /usr/local/bin /usr/local/lib /usr/local/share /usr/lib/modules /run/netns";

/// Kernel settings that the files, kubelet, kube-proxy and CNI plugins change.
const SETTINGS: &str = "net/ipv4/ip_forward net/ipv6/conf/all/forwarding net/ipv6/conf/default/forwarding \
    net/ipv6/conf/all/accept_ra net/ipv6/conf/default/accept_ra net/ipv4/conf/all/route_localnet \
    net/bridge/bridge-nf-call-iptables net/bridge/bridge-nf-call-ip6tables net/netfilter/nf_conntrack_max \
    net/netfilter/nf_conntrack_tcp_timeout_established net/netfilter/nf_conntrack_tcp_timeout_close_wait \
    vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys \
    kernel/keys/root_maxbytes";

/// Links of pod networks. Bridges of CNI's own files are found in them.
const LINKS: &str = "cilium_vxlan cilium_geneve cilium_host cilium_net cilium_wg0 lxc_health cni0 flannel.1 \
    kube-ipvs0 kube-bridge nodelocaldns vxlan.calico tunl0";

/// Remembers how the host is before the first file is put there. The files come on
/// standard input, a path a line; what stands in the place of one is set aside.
pub(super) fn remember() -> String {
    format!(
        "set -eu
umask 022
mkdir -p {STATE}
if ! grep -qx end {STATE}/before 2>/dev/null; then
  {{
    for dir in {FOLDERS} {SHARED}; do
      [ -e \"$dir\" ] && echo \"there $dir\"
    done
    for dir in {FOLDERS}; do
      [ -d \"$dir\" ] && find \"$dir\" -xdev -mindepth 1 | sed 's/^/there /'
    done
    for name in {SETTINGS}; do
      [ -e \"/proc/sys/$name\" ] && echo \"setting $name $(cat \"/proc/sys/$name\")\"
    done
    for dir in {FOLDERS}; do
      [ -d \"$dir\" ] && stat -c 'mode %n %a' -- \"$dir\"
    done
    for unit in containerd kubelet; do
      systemctl is-enabled -q $unit 2>/dev/null && echo \"enabled $unit\"
      systemctl is-active -q $unit && echo \"active $unit\"
    done
    nft list tables 2>/dev/null | sed 's/^/firewall /'
    {{ ip -4 route; ip -6 route; }} 2>/dev/null | sed 's/^/route /; s/ *$//'
    echo end
  }} >{STATE}/before.new || true
  sync {STATE}/before.new
  grep -qx end {STATE}/before.new || {{ echo 'what stands here cannot be written down: is the disk full?' >&2; exit 1; }}
  mv {STATE}/before.new {STATE}/before
fi
touch {STATE}/placed
while read -r path; do
  # What an upload left that was cut off with its host.
  rm -f -- \"${{path%/*}}\"/.cozy-??????
  grep -qxF -- \"$path\" {STATE}/placed && continue
  if [ -e \"$path\" ]; then
    mkdir -p \"{STATE}/saved${{path%/*}}\"
    cp -a -- \"$path\" \"{STATE}/saved$path\"
  fi
  echo \"$path\" >>{STATE}/placed
done"
    )
}

/// Unpacks an archive, and keeps the list of its files. What stands in the place of one is set aside.
pub(super) fn unpack(archive: &str, into: &str) -> String {
    format!(
        "set -eu
mkdir -p {into}
touch {STATE}/placed
tar -tzf {archive} | while read -r name; do
  name=${{name#./}}
  path={into}/$name
  case $name in '' | */) continue ;; esac
  grep -qxF -- \"$path\" {STATE}/placed && continue
  if [ -e \"$path\" ]; then
    mkdir -p \"{STATE}/saved${{path%/*}}\"
    cp -a -- \"$path\" \"{STATE}/saved$path\"
  fi
  echo \"$path\" >>{STATE}/placed
done
tar --no-same-owner --no-overwrite-dir -xzf {archive} -C {into}
rm {archive}"
    )
}

/// Takes everything away that `cloud` put on the host. Ends with 0 on a host
/// that is none of its own, and changes nothing there. What fails is tried on
/// the next run: whose host it is is forgotten last.
/// `pods` is the range of its pods, to which no route stays.
pub(super) fn clean(cloud: &str, pods: &str) -> String {
    let (cloud, pods) = (quote(cloud), quote(pods));
    [
        format!(
            "state={STATE}
[ \"$(cat $state/host 2>/dev/null)\" = {cloud} ] || exit 0
before=$state/before pods={pods}
[ -e $before ] || : >$before
# Where it is not known what was there, nothing goes but what was put there.
grep -qx end $before && whole=yes || whole=
there() {{ [ -z \"$whole\" ] || grep -qxF -- \"there $1\" $before; }}"
        ),
        SERVICES.to_owned(),
        MOUNTS.to_owned(),
        NETWORK.replace("@LINKS@", LINKS),
        FIREWALL.to_owned(),
        FILES.replace("@FOLDERS@", FOLDERS).replace("@SHARED@", SHARED),
    ]
    .join("\n")
}

/// Stops everything, pods included.
const SERVICES: &str = r#"
for unit in cozy-init cozy-join cozy-configure cozy-certify; do systemctl stop $unit 2>/dev/null; done
systemctl disable -q --now kubelet 2>/dev/null
ctr() { timeout 30 /usr/local/bin/ctr -n k8s.io "$@" 2>/dev/null; }
if systemctl is-active -q containerd; then
  # Through the runtime, so that the plugins of the pod network take theirs back.
  [ -x /usr/local/bin/kubeadm ] && timeout 120 /usr/local/bin/kubeadm reset --force \
    --skip-phases=preflight,remove-etcd-member --cri-socket unix:///run/containerd/containerd.sock >/dev/null 2>&1
  for id in $(ctr tasks ls -q); do ctr tasks kill -a -s KILL "$id"; done
  for id in $(ctr containers ls -q); do ctr tasks rm -f "$id"; ctr containers rm "$id"; done
fi
systemctl disable -q --now cozy-proxy 2>/dev/null
systemctl disable -q --now containerd 2>/dev/null
for exe in /proc/[0-9]*/exe; do
  case $(readlink "$exe" 2>/dev/null) in
    /usr/local/bin/containerd-shim-runc-v2*) pid=${exe#/proc/}; kill -KILL "${pid%/exe}" ;;
  esac
done
systemctl stop kubepods.slice 2>/dev/null
find /sys/fs/cgroup -depth -type d \( -path '*/kubepods/*' -o -name kubepods -o -path '*/kubepods.slice/*' -o -name kubepods.slice \) -exec rmdir {} \; 2>/dev/null"#;

const MOUNTS: &str = r#"
awk '$2 ~ "^/(var/lib/kubelet|run/containerd|var/lib/containerd|run/cilium)/" || $2 ~ "^/run/netns/cni-" { print $2 }' /proc/mounts |
  sort -ru | while read -r mount; do umount -l "$mount"; done
rm -f /run/netns/cni-*
# It became a mount of its own with the first pod.
there /run/netns || umount -l /run/netns 2>/dev/null"#;

const NETWORK: &str = r#"
# Cilium's rules go before its links, or the host loses its network: it moves the rule of local addresses.
if ip rule 2>/dev/null | grep -q '^100:.*lookup local'; then
  ip rule add pref 0 lookup local 2>/dev/null
  ip rule del pref 100 lookup local
fi
for table in 2004 2005; do
  while ip rule 2>/dev/null | grep -q "lookup $table"; do ip rule del lookup $table || break; done
  ip route flush table $table 2>/dev/null
done
for link in /sys/class/net/*; do
  tc filter show dev "${link##*/}" ingress 2>/dev/null | grep -q cil_ && tc qdisc del dev "${link##*/}" clsact
done
rm -rf /sys/fs/bpf/cilium /sys/fs/bpf/tc/globals/cilium_* 2>/dev/null
bridges=$(sed -n 's/.*"bridge": *"\([^"]*\)".*/\1/p' /etc/cni/net.d/* 2>/dev/null)
for link in @LINKS@ $bridges; do
  # Tunnels that the kernel makes by itself cannot go.
  [ -e "/sys/class/net/$link" ] && ip link del "$link" 2>/dev/null
done
case $pods in *:*) family=-6 ;; *) family=-4 ;; esac
ip $family route show root "$pods" 2>/dev/null | sed 's/ *$//' | while read -r route; do
  grep -qxF -- "route $route" $before || ip $family route del $route
done
while read -r kind name value; do
  [ "$kind" = setting ] || continue
  [ "$(cat "/proc/sys/$name" 2>/dev/null)" = "$value" ] || echo "$value" >"/proc/sys/$name" 2>/dev/null
done <$before"#;

const FIREWALL: &str = r#"
for family in ip ip6; do
  nft delete table $family kube-proxy 2>/dev/null
done
ours='(^:|-A |-j |-g )(KUBE-|CNI-|CILIUM_|OLD_CILIUM_|FLANNEL-)'
for save in iptables-save ip6tables-save; do
  command -v $save >/dev/null || continue
  rules=$($save 2>/dev/null)
  echo "$rules" | grep -qE "$ours" && echo "$rules" | grep -vE "$ours" | ${save%-save}-restore
done
# Tables that came with the first rule, and are empty again.
nft list tables 2>/dev/null | while read -r word family name; do
  grep -qxF "firewall $word $family $name" $before && continue
  case $name in filter | nat | mangle | raw | security) ;; *) continue ;; esac
  nft list table $family $name 2>/dev/null | grep -vE '^(table|#)|^[[:space:]]*(chain .*|type .* hook .*policy accept;|\}|)$' | grep -q . ||
    nft delete table $family $name
done"#;

const FILES: &str = r#"
set -e
tac $state/placed 2>/dev/null | while read -r path; do
  rm -f -- "$path"
  if [ -e "$state/saved$path" ]; then cp -a -- "$state/saved$path" "$path"; fi
done
for dir in @FOLDERS@; do
  if ! there "$dir"; then
    rm -rf --one-file-system -- "$dir"
  elif [ -d "$dir" ]; then
    find "$dir" -xdev -depth -mindepth 1 | while read -r path; do
      there "$path" || if [ -d "$path" ] && ! [ -L "$path" ]; then rmdir -- "$path" 2>/dev/null || true; else rm -f -- "$path"; fi
    done
  fi
done
while read -r kind dir mode; do
  if [ "$kind" = mode ] && [ -d "$dir" ]; then chmod "$mode" "$dir"; fi
done <$before
for dir in @SHARED@; do there "$dir" || rmdir -- "$dir" 2>/dev/null || true; done
systemctl daemon-reload
# A runtime that was there works again, as it did.
while read -r kind unit; do
  case $kind in enabled) systemctl enable -q $unit ;; active) systemctl start $unit ;; esac || true
done <$before
systemctl reset-failed kubelet containerd cozy-proxy cozy-init cozy-join cozy-configure cozy-certify 2>/dev/null || true
find $state -mindepth 1 -maxdepth 1 ! -name host -exec rm -rf {} +
rm -rf $state"#;
