#!/usr/bin/env bash
# Waits until its input and then the node have ended, and removes what no namespace removes: clean.sh FOLDER CGROUP
set -euo pipefail
state=$1 cgroup=$2
cat >/dev/null || true
if [ -e "$state/pid" ]; then
  node=$(cat "$state/pid")
  while [ -e "/proc/$node" ] && grep -qs "^State:[[:space:]]*[^Z]" "/proc/$node/status"; do sleep 0.05; done
fi
left() { find /sys/fs/cgroup -depth -type d -path "*/$cgroup*" 2>/dev/null; }
for _ in $(seq 100); do
  [ -n "$(left)" ] || break
  left | xargs rmdir 2>/dev/null || sleep 0.1 # processes of the node are still ending
done
for _ in $(seq 100); do
  ! rm -rf "$state" 2>/dev/null || break
  sleep 0.1
done
[ ! -e "$state" ] || { echo "cluster: $state is left" >&2; exit 1; }
[ -z "$(left)" ] || { echo "cluster: these cgroups are left: $(left | tr '\n' ' ')" >&2; exit 1; }
