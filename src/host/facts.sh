# Prints what a host is, one JSON object a line. POSIX sh; changes nothing but
# temporary files that it removes. Arguments come in variables:
#   peers    ADDRESS:PORT words that this host must reach
#   modules  kernel modules that must be there or loadable
#   devices  block devices that are named for storage
#   registries  ADDRESS:PORT words of registries that images may come from
#   pool     addresses that nobody should have
say() { printf '%s\t%s\n' "$1" "$2"; }

system() {
  say clock "$(date +%s)"
  ( . /etc/os-release 2>/dev/null
    say os "${ID:-}"; say osLike "${ID_LIKE:-}"; say osVersion "${VERSION_ID:-}"; say osName "${PRETTY_NAME:-}" )
  say kernel "$(uname -r)"
  say arch "$(uname -m)"
  [ -d /run/systemd/system ] && say systemd "$(systemctl --version 2>/dev/null | awk 'NR == 1 { print $2 }')"
  say hostname "$(cat /proc/sys/kernel/hostname)"
  say machineId "$(cat /etc/machine-id 2>/dev/null)"
  ip -o addr show scope global 2>/dev/null | awk '{ print $2, $4 }' | while read -r line; do say address "$line"; done
  { ip -4 route show default; ip -6 route show default; } 2>/dev/null | head -n 1 | while read -r line; do say route "$line"; done
  awk '$1 == "nameserver" { print $2 }' /etc/resolv.conf 2>/dev/null | while read -r line; do say nameserver "$line"; done
  # A name that never exists: an answer is quick, a server that is silent is not.
  if timeout 4 getent ahosts cozy-preflight.invalid >/dev/null 2>&1; [ $? = 124 ]; then say dns silent; else say dns answers; fi
  awk '$1 == "MemTotal:" { print "memory\t" $2 } $1 == "SwapTotal:" { print "swap\t" $2 }' /proc/meminfo
  say cpus "$(nproc 2>/dev/null)"
  case $(stat -fc %T /sys/fs/cgroup 2>/dev/null) in cgroup2fs) say cgroup 2 ;; *) say cgroup 1 ;; esac
  say virtualization "$(grep -m 1 -oE '\b(vmx|svm)\b' /proc/cpuinfo)"
  [ -c /dev/kvm ] && say kvm yes
  for file in /sys/firmware/efi/efivars/SecureBoot-*; do
    [ -e "$file" ] && say secureBoot "$(od -An -t u1 -j 4 -N 1 "$file" 2>/dev/null | tr -d ' ')"
  done
  say selinux "$(getenforce 2>/dev/null)"
  if [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ]; then
    if command -v apparmor_parser >/dev/null; then say apparmor on; else say apparmor noparser; fi
  fi
  systemctl show-environment 2>/dev/null | grep -iE '^(https?|no)_proxy=' | sed "s/=\$'\(.*\)'$/=\1/; s#//[^/]*@#//#" |
    while read -r line; do say proxy "$line"; done
  for name in net.ipv4.ip_forward fs.inotify.max_user_instances fs.inotify.max_user_watches fs.file-max; do
    say sysctl "$name=$(cat "/proc/sys/$(echo "$name" | tr . /)" 2>/dev/null)"
  done
  [ -e /var/lib/cozy/host ] && say cozy "$(cat /var/lib/cozy/host)"
  [ -e /var/lib/cozy/joined ] && say joined "$(cat /var/lib/cozy/joined)"
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
  for folder in /etc /usr/local/bin /opt /var/lib; do
    [ -d "$folder" ] || continue
    new=$(mktemp -p "$folder" .cozy-XXXXXX 2>&1) && rm -f "$new" || say unwritable "$folder: ${new##*: }"
    df -Pk "$folder" 2>/dev/null | awk -v folder="$folder" 'NR == 2 { print "space\t" folder " " $4 " " $6 }'
  done
  # What etcd does: small writes, each on the disk before the next.
  new=$(mktemp -p /var/lib .cozy-XXXXXX 2>/dev/null) && {
    dd if=/dev/zero of="$new" bs=2300 count=20 oflag=dsync 2>&1 | awk '/copied/ {
      for (i = 2; i <= NF; i++) if ($i ~ /^s(ec|,|$)/) { printf "sync\t%d\n", $(i - 1) * 1000000 / 20; exit } }'
    rm -f "$new"
  }
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

# dial KIND SECONDS ADDRESS:PORT…: says which cannot be reached. A refused connection is a way that is open: only
# silence and rejections block.
dial() {
  kind=$1 limit=$2
  shift 2
  for peer in "$@"; do
    (
      said=$(timeout "$limit" bash -c "exec 3<>/dev/tcp/${peer%:*}/${peer##*:}" 2>&1)
      case $?:$said in
        0:* | *refused*) ;;
        124:*) say "$kind" "$peer no answer" ;;
        *) say "$kind" "$peer $(echo "$said" | head -n 1 | sed 's/.*: //')" ;;
      esac
    ) &
  done
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
  dial blocked 5 $peers
  # On a host that is ours already these are of no interest any more, and may take their time.
  if ! [ -e /var/lib/cozy/host ]; then
    # shellcheck disable=SC2086
    dial noRegistry 5 $registries
    [ -z "$pool" ] || occupied
  fi
  wait
}

{ system; kernel; software; storage; reach; } 2>/dev/null | tr -d '\000-\010\013-\037\177' | awk -F '\t' '{
  value = substr($0, length($1) + 2)
  gsub(/\\/, "\\\\", value); gsub(/"/, "\\\"", value); gsub(/\t/, " ", value)
  printf "{\"%s\":\"%s\"}\n", $1, value
} END { print "{\"end\":\"\"}" }'
