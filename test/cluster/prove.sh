#!/usr/bin/env bash
# Builds a Kubernetes and Caravan's images, and proves Caravan on a node of this machine:   test/cluster/prove.sh [TEST ...]
# A TEST is one of test/cluster/shop: TestPlain, TestProduction, TestDapr, TestEndToEnd, TestBench. Without any it runs the first, and test/cluster.
# It needs root; run.sh says what is missing. With CI set it breaks fewer things, to be done in five minutes once all is
# built; installs Debian's packages that are missing; and says by name what was not run on a machine that cannot run a node.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
export CLUSTER_BIN=${CLUSTER_BIN:-$PWD/.dapr/cluster/bin}
export CLUSTER_IMAGES=${CLUSTER_IMAGES:-$PWD/.dapr/cluster/images}
step() { printf -- '-- cluster: %s (after %d s)\n' "$1" "$SECONDS"; }
tests=("$@")
[ ${#tests[@]} -gt 0 ] || tests=(TestPlain)

if [ -n "${CI:-}" ] && [ "$(id -u)" = 0 ]; then
  packages=()
  for program in containerd:containerd runc:runc iptables:iptables ip:iproute2 openssl:openssl; do
    command -v "${program%:*}" >/dev/null || packages+=("${program#*:}")
  done
  [ -x /usr/lib/cni/ptp ] || packages+=(containernetworking-plugins)
  if [ ${#packages[@]} -gt 0 ]; then
    step "packages: ${packages[*]}"
    # No service of theirs is started: a node brings its own.
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    apt-get update -q
    apt-get install -y -q --no-install-recommends "${packages[@]}"
  fi
fi
status=0
"$here/run.sh" --check-machine || status=$?
if [ "$status" = 3 ]; then
  echo "NOT RUN on this machine: test/cluster (${tests[*]}): a Kubernetes node, and Caravan on it"
  [ -n "${CI:-}" ] && exit 0 || exit 3
fi

step "Kubernetes"
"$here/kit/build.sh" "$CLUSTER_BIN"
"$here/run.sh" --check
step "images"
mkdir -p "$CLUSTER_IMAGES"
go run ./dapr k8s secrets
go run ./dapr k8s images --output "$CLUSTER_IMAGES/caravan.tar" --only users,products,orders,payments,notifications,gateway,daprd,mailbox,victoria-logs,collector
"$here/servers.sh" rabbitmq:3.13.7,postgres:17.2 >"$CLUSTER_IMAGES/servers.tar"
case " ${tests[*]} " in *Dapr*)
  step "Dapr's control plane"
  "$here/dapr/build.sh" "$CLUSTER_IMAGES" ;;
esac
step "tests"
go test -c -o "$CLUSTER_IMAGES/shop.test" ./test/cluster/shop
[ $# -gt 0 ] || go test -count=1 ./test/cluster
case " ${tests[*]} " in *EndToEnd*) go test -c -o "$CLUSTER_IMAGES/e2e.test" ./test/e2e ;; esac
case " ${tests[*]} " in *Bench*) go build -o "$CLUSTER_IMAGES/dapr" ./dapr ;; esac
short=()
[ -z "${CI:-}" ] || short=(-test.short)
cd test/cluster/shop
for test in "${tests[@]}"; do
  step "$test"
  "$here/run.sh" "$CLUSTER_IMAGES/shop.test" -test.v "${short[@]}" -test.timeout=30m -test.run "^$test\$"
done
