#!/usr/bin/env bash
# Runs a command on a Kubernetes node of one machine. The node exists for as long as the command runs:
#
#   test/cluster/run.sh COMMAND [ARGUMENT ...]      kubectl is in the command's PATH; "bash" gives a shell on the node
#   test/cluster/run.sh --check                     only says what is missing here; --check-machine: but for the node's programs
#
# Processes, mounts, interfaces and rules of the node live in namespaces of their own and end with them. Cgroups and the
# node's folder have no namespace; clean.sh removes them, however this script ends. It exits with the command's status,
# with 3 where a node cannot run whatever is installed, and with 1 when something is not installed or the node fails.
#
# CLUSTER_BIN  folder of the node's programs (default: .dapr/cluster/bin; kit/build.sh makes it)
# CLUSTER_LOG  folder that keeps the node's logs (default: they are removed)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
hierarchies() { awk '$3 == "cgroup" {print $2}' /proc/self/mounts; }
export CLUSTER_BIN=${CLUSTER_BIN:-$(realpath -m "$here/../../.dapr/cluster/bin")}

never=() missing=()
[ "$(id -u)" = 0 ] || never+=("root")
[ "$(id -u)" != 0 ] || unshare --mount --net --pid --fork true 2>/dev/null || never+=("the right to make namespaces (CAP_SYS_ADMIN)")
[ -n "$(hierarchies)" ] && [ -w /sys/fs/cgroup ] || never+=("cgroups of version 1 that can be written (/sys/fs/cgroup)")
for program in containerd:containerd runc:runc iptables:iptables ip:iproute2 setpriv:util-linux openssl:openssl; do
  command -v "${program%:*}" >/dev/null || missing+=("${program%:*} (Debian's package ${program#*:})")
done
[ -x /usr/lib/cni/ptp ] || missing+=("/usr/lib/cni/ptp (Debian's package containernetworking-plugins)")
[ "${1:-}" = --check-machine ] || [ -x "$CLUSTER_BIN/kubelet" ] || missing+=("$CLUSTER_BIN/kubelet (test/cluster/kit/build.sh $CLUSTER_BIN)")
if [ ${#never[@]} -gt 0 ] || [ ${#missing[@]} -gt 0 ]; then
  echo "cluster: a node cannot run here. Missing:" >&2
  printf '  %s\n' "${never[@]}" "${missing[@]}" | sed '/^ *$/d' >&2
  [ ${#never[@]} -eq 0 ] && exit 1 || exit 3
fi
[[ "${1:-}" != --check* ]] || exit 0
[ $# -gt 0 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2; }

state=$(mktemp -d "$CLUSTER_BIN/../node.XXXXXX")
export CLUSTER_STATE=$state CLUSTER_CGROUP=caravan-${state##*/}
mkdir -p "$state"/{containerd,kubelet,volumes,log}
# Its input ends with this script; then it waits for the node's end and removes the rest.
exec {alive}> >(exec setsid "$here/clean.sh" "$state" "$CLUSTER_CGROUP")
cleaner=$!

# One more level of cgroups for the pods, in every hierarchy. A new cpuset takes no process before it has cores.
for controller in $(hierarchies); do
  mkdir "$controller/$CLUSTER_CGROUP"
  if [ -e "$controller/cpuset.cpus" ]; then
    cat "$controller/cpuset.cpus" >"$controller/$CLUSTER_CGROUP/cpuset.cpus"
    cat "$controller/cpuset.mems" >"$controller/$CLUSTER_CGROUP/cpuset.mems"
  fi
done

# unshare dies with this script, the node's first process with unshare, and everything on the node with that.
setpriv --pdeathsig KILL unshare --mount --net --pid --fork --kill-child --mount-proc \
  "$here/node.sh" "$@" <&0 {alive}>&- &
node=$!
echo "$node" >"$state/pid"
trap 'kill -KILL "$node" 2>/dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
status=0
wait "$node" || status=$?
[ -z "${CLUSTER_LOG:-}" ] || { mkdir -p "$CLUSTER_LOG"; cp -r "$state/log/." "$CLUSTER_LOG"; }
trap - EXIT
exec {alive}>&-
wait "$cleaner" || status=1
exit "$status"
