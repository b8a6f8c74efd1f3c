//! A host as it was: what is remembered of it before anything is put there,
//! and the script that takes everything away again.
//!
//! What is removed is what was put there (`placed`, the lists of archives) and
//! what the programs that came along leave in places of their own. What stood
//! there before stays, or comes back.

use super::STATE;
use super::files::WRITTEN;
use crate::host::quote;

/// Folders, and files, that belong to Kubernetes, its runtime, and components that put something on hosts. Where one
/// was there before, only what was not in it goes. What is added here stays on hosts of earlier builds: their lists do
/// not say whether it was there.
const FOLDERS: &str = "/etc/kubernetes /etc/containerd /etc/cozy /etc/cni/net.d /etc/cni /opt/cni/bin /opt/cni \
    /opt/containerd/bin /opt/containerd/lib /opt/containerd /var/lib/kubelet /var/lib/etcd /var/lib/containerd \
    /var/lib/cni /var/log/pods /var/log/containers /run/containerd /run/nri /run/cilium /run/flannel /run/xtables.lock \
    /usr/libexec/kubernetes /root/.kube/cache /opt/local-path-provisioner /etc/sysctl.d/99-zzz-override_cilium.conf";

/// What the lists of the first builds say of whether it was there; they do not name what they were asked for. It never
/// changes.
const FIRST: &str = "/etc/kubernetes /etc/containerd /etc/cozy /etc/cni/net.d /etc/cni /opt/cni/bin /opt/cni \
    /opt/containerd/bin /opt/containerd/lib /opt/containerd /var/lib/kubelet /var/lib/etcd /var/lib/containerd \
    /var/lib/cni /var/log/pods /var/log/containers /run/containerd /run/nri /run/cilium /run/flannel /run/xtables.lock \
    /usr/libexec/kubernetes /root/.kube/cache";

/// Folders of the system's, and of people's, that files are put into. kubectl keeps its cache in root's `.kube`, where
/// kubeconfigs of other clusters are, too.
const SHARED: &str = "/etc/modules-load.d /etc/sysctl.d /usr/local/bin /usr/local/lib /usr/local/share /usr/lib/modules \
    /run/netns /root/.kube";

/// Kernel settings that the files, kubelet, kube-proxy and pod networks change. The last ones are Cilium's
/// (`pkg/datapath/loader/base.go` and `fb_tunnels_only_for_init_net` for its tunnels).
const SETTINGS: &str = "net/ipv4/ip_forward net/ipv6/conf/all/forwarding net/ipv6/conf/default/forwarding \
    net/ipv6/conf/*/accept_ra net/ipv4/conf/all/route_localnet net/ipv4/conf/all/rp_filter \
    net/bridge/bridge-nf-call-iptables net/bridge/bridge-nf-call-ip6tables net/netfilter/nf_conntrack_max \
    net/netfilter/nf_conntrack_tcp_timeout_established net/netfilter/nf_conntrack_tcp_timeout_close_wait \
    vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys \
    kernel/keys/root_maxbytes net/core/bpf_jit_enable net/ipv4/fib_multipath_use_neigh kernel/timer_migration \
    net/core/fb_tunnels_only_for_init_net";

/// Links of pod networks. Bridges of CNI's own files are found in them.
const LINKS: &str = "cilium_vxlan cilium_geneve cilium_host cilium_net cilium_wg0 lxc_health cni0 flannel.1 \
    kube-ipvs0 kube-bridge nodelocaldns vxlan.calico tunl0";

/// What gathering facts leaves where the power goes meanwhile.
const STRAYS: &str = "/etc/.cozy-?????? /usr/local/bin/.cozy-?????? /opt/.cozy-?????? /var/lib/.cozy-??????";

/// A function of the shell that sets aside what stands in the place of a file that is put on the host, and takes note of
/// the file.
fn set_aside() -> String {
    format!(
        "set_aside() {{
  grep -qxF -- \"$1\" {STATE}/placed && return
  if [ -e \"$1\" ]; then
    mkdir -p \"{STATE}/saved${{1%/*}}\"
    cp -a -- \"$1\" \"{STATE}/saved$1\"
    sync -f {STATE}
  fi
  echo \"$1\" >>{STATE}/placed
}}"
    )
}

/// Remembers whose host it is, and how it is before the first file is put there. The files come on
/// standard input, a path a line; what stands in the place of one is set aside.
pub(super) fn remember(cloud: &str) -> String {
    let (cloud, set_aside) = (quote(cloud), set_aside());
    format!(
        "set -eu
umask 022
{set_aside}
rm -f {STRAYS}
mkdir -p {STATE}
# First of all: nothing is taken away from a host that is nobody's.
if [ \"$(cat {STATE}/host 2>/dev/null)\" != {cloud} ]; then
  echo {cloud} >{STATE}/host.new
  sync {STATE}/host.new
  mv {STATE}/host.new {STATE}/host
fi
if ! grep -qx end {STATE}/before 2>/dev/null; then
  {{
    for dir in {FOLDERS} {SHARED}; do
      echo \"asked $dir\"
      [ -e \"$dir\" ] && echo \"there $dir\"
    done
    for dir in {FOLDERS}; do
      [ -d \"$dir\" ] && find -H \"$dir\" -xdev -mindepth 1 | sed 's/^/there /'
    done
    (
      cd /proc/sys
      for name in {SETTINGS}; do
        [ -e \"$name\" ] && echo \"setting $name $(cat \"$name\")\"
      done
    )
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
  # What is kept here goes with the folder.
  case $path in {STATE}/*) continue ;; esac
  set_aside \"$path\"
done
sync {STATE}/placed {STATE}"
    )
}

/// Unpacks an archive, and keeps the list of its files. What stands in the place of one is set aside.
pub(super) fn unpack(archive: &str, into: &str) -> String {
    let set_aside = set_aside();
    format!(
        "set -eu
{set_aside}
mkdir -p {into}
touch {STATE}/placed
tar -tzf {archive} | while read -r name; do
  name=${{name#./}}
  path={into}/$name
  case $name in '' | */) continue ;; esac
  set_aside \"$path\"
done
sync {STATE}/placed
tar --no-same-owner --no-overwrite-dir -xzf {archive} -C {into}
# A mark will say that all of it is there: it must survive a power cut as well as that.
sync -f {into}
rm {archive}"
    )
}

/// Removes one file that was put on the host. What stood in its place comes back, unless an earlier cozy wrote it; its
/// folder goes when it is empty. Who writes one there from now on keeps it.
pub(super) fn take_back(path: &str) -> String {
    let path = quote(path);
    format!(
        "set -eu
path={path}
saved={STATE}/saved$path
rm -f -- \"$path\"
if [ -e \"$saved\" ]; then
  line=
  read -r line <\"$saved\" || true
  case $line in '{WRITTEN}'*) ;; *) cp -a -- \"$saved\" \"$path\" ;; esac
fi
if [ -e {STATE}/placed ]; then
  grep -vxF -- \"$path\" {STATE}/placed >{STATE}/placed.new || true
  sync {STATE}/placed.new
  mv {STATE}/placed.new {STATE}/placed
fi
rm -f -- \"$saved\"
rmdir -- \"${{path%/*}}\" 2>/dev/null || true"
    )
}

/// Takes everything away that `cloud` put on the host. Ends with 0 on a host
/// that is none of its own, and changes nothing there. What fails is tried on
/// the next run: whose host it is is forgotten last.
/// `pods` is the range of its pods, to which no route stays.
pub(super) fn clean(cloud: &str, pods: &str) -> String {
    [
        guard(cloud, pods),
        SERVICES.to_owned(),
        MOUNTS.to_owned(),
        NETWORK.replace("@LINKS@", LINKS),
        FIREWALL.to_owned(),
        files(FOLDERS, SHARED),
    ]
    .join("\n")
}

/// Ends on hosts of others, and sets what the rest goes by.
fn guard(cloud: &str, pods: &str) -> String {
    let (cloud, pods) = (quote(cloud), quote(pods));
    format!(
        "state={STATE}
[ \"$(cat $state/host 2>/dev/null)\" = {cloud} ] || exit 0
before=$state/before pods={pods}
[ -e $before ] || : >$before
# Where it is not known what was there, nothing goes but what was put there.
grep -qx end $before && whole=yes || whole=
there() {{ [ -z \"$whole\" ] || grep -qxF -- \"there $1\" $before; }}
# Lists of the first builds do not say what they were asked for, and end at links.
grep -q '^asked ' $before && named=yes || named=
asked() {{
  if [ -n \"$named\" ]; then grep -qxF -- \"asked $1\" $before
  else case ' {FIRST} ' in *\" $1 \"*) ;; *) false ;; esac; fi
}}"
    )
}

fn files(folders: &str, shared: &str) -> String {
    FILES.replace("@FOLDERS@", folders).replace("@SHARED@", shared).replace("@STRAYS@", STRAYS)
}

/// Stops everything, pods included.
const SERVICES: &str = r#"
for unit in cozy-init cozy-join cozy-configure cozy-certify; do systemctl stop $unit 2>/dev/null; done
# From here on it belongs to no cluster, and nothing on it is whole: whatever ends this, an install begins anew.
touch $state/begun
rm -rf $state/joined $state/artifacts
sync $state
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
for family in -4 -6; do
  if ip $family rule 2>/dev/null | grep -q '^100:.*lookup local'; then
    ip $family rule add pref 0 lookup local 2>/dev/null
    ip $family rule del pref 100 lookup local
  fi
  for table in 2004 2005; do
    while ip $family rule 2>/dev/null | grep -q "lookup $table"; do ip $family rule del lookup $table || break; done
    ip $family route flush table $table 2>/dev/null
  done
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
  printf '%s\n' "$rules" | grep -qE "$ours" && printf '%s\n' "$rules" | grep -vE "$ours" | ${save%-save}-restore
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
  case $path in $state/*) continue ;; esac
  rm -f -- "$path"
  if [ -e "$state/saved$path" ]; then cp -a -- "$state/saved$path" "$path"; fi
done
# Cilium sets files of other pod networks aside.
for bak in /etc/cni/net.d/*.cilium_bak; do
  file=${bak%.cilium_bak}
  if [ -e "$bak" ] && ! [ -e "$file" ] && there "$file"; then mv -- "$bak" "$file"; fi
done
for dir in @FOLDERS@; do
  [ -z "$whole" ] || asked "$dir" || continue
  if ! there "$dir" && { [ -L "$dir" ] || ! mountpoint -q "$dir"; }; then
    # Of a link that came later, the link alone: nobody listed what was behind it.
    rm -rf --one-file-system -- "$dir"
  elif [ -n "$whole" ] && [ -d "$dir" ]; then
    # What a link leads to is known where the list follows it.
    if [ -n "$named" ]; then follow=-H; else follow=-P; fi
    # The topmost of what was not there, each as a whole: below may be a million files.
    find $follow "$dir" -xdev -mindepth 1 ! -path "$dir/lost+found*" 2>/dev/null | awk -v dir="$dir" '
      NR == FNR { if (sub(/^there /, "")) was[$0]; next }
      !($0 in was) { parent = $0; sub("/[^/]*$", "", parent); if (parent == dir || parent in was) print }' $before - |
      while IFS= read -r path; do rm -rf --one-file-system -- "$path"; done
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
rm -f @STRAYS@
# What came back must be on the disk before that which it came from goes, and is not to be taken away again.
[ ! -d $state/saved ] || sync
rm -f $state/placed
sync $state
find $state -mindepth 1 -maxdepth 1 ! -name host -exec rm -rf {} +
rm -rf $state"#;

#[cfg(test)]
#[path = "clean_tests.rs"]
mod tests;
