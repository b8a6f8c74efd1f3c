# Prints what a host is, one JSON object a line. POSIX sh; changes nothing but
# a temporary file in each of four folders, which it removes. Starts few
# programs: they are most of the time that this takes. Arguments come in
# variables:
#   brief    not empty: of a host that belongs to a cluster only what may keep a run from working on it
#   peers    ADDRESS:PORT words that this host must reach
#   modules  kernel modules that must be there or loadable
#   devices  block devices that are named for storage
#   registries  ADDRESS:PORT words of registries that images may come from
#   pool     addresses that nobody should have
known=
if [ -n "$brief" ] && [ -e /var/lib/cozy/joined ]; then known=yes; fi
newline='
'
say() { printf '%s\t%s\n' "$1" "$2"; }

# first FILE: its first line in $value.
first() {
  value=
  if [ -r "$1" ]; then read -r value <"$1"; fi
}

system() {
  say clock "$(date +%s)"
  ( . /etc/os-release 2>/dev/null
    say os "${ID:-}"; say osLike "${ID_LIKE:-}"; say osVersion "${VERSION_ID:-}"; say osName "${PRETTY_NAME:-}" )
  # shellcheck disable=SC2046
  set -- $(uname -rm)
  say kernel "$1"
  say arch "$2"
  if [ -d /run/systemd/system ]; then
    # shellcheck disable=SC2046
    set -- $(systemctl --version 2>/dev/null)
    say systemd "$2"
  fi
  first /proc/sys/kernel/hostname
  say hostname "$value"
  first /etc/machine-id
  say machineId "$value"
  ip -o addr show scope global 2>/dev/null | while read -r _ device _ address _; do say address "$device $address"; done
  route=$(ip -4 route show default 2>/dev/null)
  [ -n "$route" ] || route=$(ip -6 route show default 2>/dev/null)
  say route "${route%%"$newline"*}"
  # Default routes that routers announce, to interfaces that would not take them if the host forwarded.
  for device in $(ip -6 route show default proto ra 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p' | sort -u); do
    first "/proc/sys/net/ipv6/conf/$device/accept_ra"
    [ "$value" = 1 ] && say announced "$device"
  done
  # Where it is at work, kubeadm gives pods the servers of systemd-resolved.
  resolv=/run/systemd/resolve/resolv.conf
  if ! [ -r $resolv ] || ! systemctl is-active -q systemd-resolved 2>/dev/null; then resolv=/etc/resolv.conf; fi
  if [ -r $resolv ]; then
    # Also the last line without its end.
    while read -r word value _ || [ -n "$word" ]; do
      [ "$word" = nameserver ] && say nameserver "$value"
      word=
    done <$resolv
  fi
  # A name that never exists: an answer is quick, a server that is silent is not. Each time another one, so that it is
  # in no cache; of a zone that servers without the Internet know, too (RFC 8375), and that systemd-resolved, unlike
  # `invalid`, does not answer by itself.
  if timeout 4 getent ahosts "cozy-$(date +%s).home.arpa" >/dev/null 2>&1; [ $? = 124 ]; then say dns silent; else say dns answers; fi
  while read -r word value _; do
    case $word in MemTotal:) say memory "$value" ;; SwapTotal:) say swap "$value" ;; esac
  done </proc/meminfo
  say cpus "$(nproc 2>/dev/null)"
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then say cgroup 2; else say cgroup 1; fi
  if [ -c /dev/kvm ]; then say kvm yes; else say virtualization "$(grep -m 1 -oE '\b(vmx|svm)\b' /proc/cpuinfo)"; fi
  for file in /sys/firmware/efi/efivars/SecureBoot-*; do
    [ -e "$file" ] && say secureBoot "$(od -An -t u1 -j 4 -N 1 "$file" 2>/dev/null | tr -d ' ')"
  done
  first /var/lib/cozy/host
  [ -n "$value" ] && say cozy "$value"
  first /var/lib/cozy/joined
  [ -n "$value" ] && say joined "$value"
  [ -n "$known" ] || policies
}

policies() {
  say selinux "$(getenforce 2>/dev/null)"
  if [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ]; then
    if command -v apparmor_parser >/dev/null; then say apparmor on; else say apparmor noparser; fi
  fi
  systemctl show-environment 2>/dev/null | grep -iE '^(https?|no)_proxy=' | sed "s/=\$'\(.*\)'$/=\1/; s#//[^/]*@#//#" |
    while read -r line; do say proxy "$line"; done
  # Not `read`: dash reads byte by byte, and of these the kernel gives the first one only.
  say sysctl "fs.inotify.max_user_instances=$(cat /proc/sys/fs/inotify/max_user_instances 2>/dev/null)"
  say sysctl "fs.inotify.max_user_watches=$(cat /proc/sys/fs/inotify/max_user_watches 2>/dev/null)"
  say sysctl "fs.file-max=$(cat /proc/sys/fs/file-max 2>/dev/null)"
}

# Built-in ones have no file of their own, and some no folder in /sys/module.
present() {
  [ -d "/sys/module/$1" ] && return
  case $1 in
    overlay) grep -qw overlay /proc/filesystems ;;
    br_netfilter) [ -d /proc/sys/net/bridge ] ;;
    nf_conntrack) [ -d /proc/sys/net/netfilter ] ;;
    *) false ;;
  esac
}

kernel() {
  for name in $modules; do
    if present "$name"; then say module "$name=present"
    elif modprobe -nq "$name" 2>/dev/null; then say module "$name=loadable"
    else say module "$name=missing"; fi
  done
}

software() {
  for name in awk conntrack ethtool gzip ip iptables modprobe mount nsenter sha256sum systemd-run tar; do
    command -v "$name" >/dev/null 2>&1 || say lacks "$name"
  done
  [ -n "$known" ] || rivals
}

# What may be in the way of a cluster, or is another one.
rivals() {
  for name in firewalld ufw; do
    [ "$(systemctl is-active "$name" 2>/dev/null)" = active ] && say firewall "$name is active"
  done
  if command -v nft >/dev/null 2>&1; then
    nft list ruleset 2>/dev/null | grep -v 'comment "kubernetes' | awk '
      /chain / { chain = $2 } /hook input/ { input[chain] = 1; if (/policy drop/) print "policy drop in chain " chain }
      / (drop|reject)/ && !/policy/ && input[chain] { sub(/^[ \t]+/, ""); print chain ": " $0 }' |
      while read -r line; do say firewall "$line"; done
  elif command -v iptables >/dev/null 2>&1; then
    iptables -S INPUT 2>/dev/null | grep -E 'DROP|REJECT' | while read -r line; do say firewall "$line"; done
  fi
  ss -Hlntu 2>/dev/null -p | awk '{
    who = ""; if (match($0, /\(\("[^"]*"/)) who = substr($0, RSTART + 3, RLENGTH - 4); print $1, $5, who }' |
    while read -r line; do say port "$line"; done
  for path in /etc/kubernetes/manifests/*.yaml /etc/kubernetes/kubelet.conf /var/lib/kubelet/config.yaml \
    /var/lib/etcd/member /etc/cni/net.d/*.conf /etc/cni/net.d/*.conflist /var/lib/rancher /etc/rancher \
    /usr/bin/kubelet /usr/local/bin/kubelet /usr/bin/containerd /usr/local/bin/containerd /usr/bin/dockerd /usr/bin/crio; do
    [ -e "$path" ] && say leftover "$path"
  done
}

storage() {
  set --
  made=
  for folder in /etc /usr/local/bin /opt /var/lib; do
    [ -d "$folder" ] || continue
    set -- "$@" "$folder"
    new=$folder/.cozy-probed
    if said=$( { : >"$new"; } 2>&1 ); then made="$made $new"; else say unwritable "$folder: ${said##*: }"; fi
  done
  spaces "$@" || for folder in "$@"; do spaces "$folder"; done
  # What etcd does: small writes, each on the disk before the next. One that runs there is not disturbed.
  [ -n "$known" ] || dd if=/dev/zero of=/var/lib/.cozy-probed bs=2300 count=20 oflag=dsync 2>&1 | awk '/copied/ {
    for (i = 2; i <= NF; i++) if ($i ~ /^s(ec|,|$)/) { printf "sync\t%d\n", $(i - 1) * 1000000 / 20; exit } }'
  # shellcheck disable=SC2086
  [ -z "$made" ] || rm -f $made
  for path in $devices; do
    if [ -b "$path" ]; then
      real=$(readlink -f "$path")
      say device "$path $real $(lsblk -dnbro TYPE,SIZE "$real" 2>/dev/null)"
      lsblk -nrpo FSTYPE,MOUNTPOINT "$real" 2>/dev/null | grep -v '^ *$' | while read -r line; do say deviceUse "$path holds $line"; done
      blkid -p "$real" 2>/dev/null | sed 's/^[^:]*: //' | while read -r line; do say deviceUse "$path bears $line"; done
      for holder in "/sys/class/block/${real##*/}/holders/"*; do [ -e "$holder" ] && say deviceUse "$path is held by ${holder##*/}"; done
    else say device "$path missing"; fi
  done
}

# spaces FOLDER…: how much is free in each, unless df cannot say so of all.
spaces() {
  listed=$(df -Pk "$@" 2>/dev/null) || return
  echo "$listed" | awk -v folders="$*" 'BEGIN { split(folders, folder, " ") }
    NR > 1 { print "space\t" folder[NR - 1] " " $4 " " $6 }'
}

# dial KIND SECONDS ADDRESS:PORT…: says which cannot be reached. A refused connection is a way that is open: only
# silence and rejections block. One bash dials them all; of those that it names none at its end nothing was heard.
dial() {
  kind=$1 limit=$2
  shift 2
  [ $# -gt 0 ] || return 0
  LC_ALL=C timeout "$limit" bash -c 'for peer do
    file=/dev/tcp/${peer%:*}/${peer##*:}
    { exec 3<>"$file" && echo "$file: open"; } &
  done; wait' - "$@" 2>&1 | awk -v kind="$kind" -v peers="$*" '
    match($0, /\/dev\/tcp\/[^ ]*: /) { said[substr($0, RSTART, RLENGTH - 2)] = substr($0, RSTART + RLENGTH) }
    END {
      count = split(peers, peer, " ")
      for (i = 1; i <= count; i++) {
        at = match(peer[i], /:[0-9]*$/)
        file = "/dev/tcp/" substr(peer[i], 1, at - 1) "/" substr(peer[i], at + 1)
        if (!(file in said)) print kind "\t" peer[i] " no answer"
        else if (said[file] ~ /Invalid argument/) print kind "\t" peer[i] " the name has no address"
        else if (said[file] !~ /open|refused/) print kind "\t" peer[i] " " said[file]
      }
    }'
}

# Who has an address answers when it is looked for, whatever it lets in.
occupied() {
  bash -c 'for address in "$@"; do echo >"/dev/udp/$address/9"; done' - $pool 2>/dev/null
  tries=0
  while ip neigh 2>/dev/null | grep -q INCOMPLETE && [ $tries -lt 12 ]; do tries=$((tries + 1)); sleep 0.1; done
  for address in $pool; do
    link=$(ip neigh show "$address" 2>/dev/null | sed -n 's/.*lladdr \([^ ]*\).*/\1/p')
    [ -n "$link" ] && say taken "$address $link"
  done
}

reach() {
  # Longer than it takes to find out that nobody has an address (3 s): which of both it is must not be chance.
  # shellcheck disable=SC2086
  dial blocked 5 $peers &
  # On a host that is ours already these are of no interest any more, and may take their time.
  if ! [ -e /var/lib/cozy/host ]; then
    # shellcheck disable=SC2086
    dial noRegistry 5 $registries &
    [ -z "$pool" ] || occupied
  fi
  wait
}

{ system; kernel; software; storage; reach; } 2>/dev/null | tr -d '\000-\010\013-\037\177' | awk -F '\t' '{
  value = substr($0, length($1) + 2)
  gsub(/\\/, "\\\\", value); gsub(/"/, "\\\"", value); gsub(/\t/, " ", value)
  printf "{\"%s\":\"%s\"}\n", $1, value
} END { print "{\"end\":\"\"}" }'
