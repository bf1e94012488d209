#!/usr/bin/env bash
# The first process of a node, in mount, network and process namespaces that run.sh has made: sets up both, starts the
# programs of Kubernetes, runs the command, and ends. See run.sh.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
log=$CLUSTER_STATE/log
export PATH="$CLUSTER_BIN:/usr/local/sbin:$PATH:/usr/sbin:/sbin" KUBECONFIG=/run/node/pki/admin.kubeconfig KUBECACHEDIR=/run/node/cache
address=198.51.100.1 services=10.96.0.0/16 # no way leads out of the node; 10.96.0.1 is the API's, 10.96.0.10 DNS'

# Files. What programs write to /run and /var is gone with the node. Kubelet and containerd see each other's mounts.
mount --make-rshared /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/node/{pki,etcd,var,work,tunables,containerd,cni}
cp "$here/etc/pods.conflist" /run/node/cni/
mount -t overlay -o lowerdir=/var,upperdir=/run/node/var,workdir=/run/node/work overlay /var
mkdir -p /var/lib/kubelet
mount --bind "$CLUSTER_STATE/kubelet" /var/lib/kubelet
mount --bind "$CLUSTER_STATE/containerd" /run/node/containerd
# Layers of images cannot lie on an overlay, as the disk of a container is.
[ "$(stat -f -c %T /run/node/containerd)" != overlayfs ] || mount -t tmpfs tmpfs /run/node/containerd
mkdir -m 777 /run/node/volumes "$CLUSTER_STATE"/volumes/{1,2,3}
mount --bind "$CLUSTER_STATE/volumes" /run/node/volumes
mount --make-shared /var/lib/kubelet
mount --make-shared /run/node/containerd
# Kubelet sets these for the whole machine. Here it finds them set.
while read -r name value; do
  echo "$value" >"/run/node/tunables/$name"
  mount --bind "/run/node/tunables/$name" "/proc/sys/${name//.//}"
done <<LIST
vm.overcommit_memory 1
vm.panic_on_oom 0
kernel.panic 10
kernel.panic_on_oops 1
kernel.keys.root_maxkeys 1000000
kernel.keys.root_maxbytes 25000000
LIST

# Network: the node's address is on a bridge without ports. Services have no interface; what the node itself sends them
# needs a route to be rewritten.
ip link set lo up
ip link add node0 type bridge
ip address add "$address/24" dev node0
ip link set node0 up
ip route add "$services" dev node0
echo 1 >/proc/sys/net/ipv4/ip_forward

"$here/certificates.sh" /run/node/pki "$address" 10.96.0.1

# A program of the node that ends is a failure of the node.
trap 'exit 1' USR1
program() {
  local name=$1
  { "$@" >"$log/$name.log" 2>&1 || true
    echo "cluster: $name has ended; its last lines:" >&2
    tail -5 "$log/$name.log" >&2
    kill -USR1 1; } </dev/null &
}
# await SECONDS WHAT COMMAND ...
await() {
  local limit=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >"$log/await.log" 2>&1; do
    [ $SECONDS -lt $limit ] || { echo "cluster: $what: not after $SECONDS s; $(tail -1 "$log/await.log")" >&2; exit 1; }
    sleep 0.2
  done
}
limit=${CLUSTER_TIMEOUT:-180}
pki=/run/node/pki
as() { echo "--kubeconfig=$pki/$1.kubeconfig --authentication-kubeconfig=$pki/$1.kubeconfig --authorization-kubeconfig=$pki/$1.kubeconfig --leader-elect=false"; }
program containerd --config "$here/etc/containerd.toml"
program etcd --data-dir /run/node/etcd --unsafe-no-fsync --log-level warn
program kube-apiserver --advertise-address "$address" --etcd-servers http://127.0.0.1:2379 --service-cluster-ip-range "$services" \
  --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged=true \
  --client-ca-file $pki/ca.crt --tls-cert-file $pki/apiserver.crt --tls-private-key-file $pki/apiserver.key \
  --kubelet-certificate-authority $pki/ca.crt --kubelet-client-certificate $pki/apiserver-kubelet.crt \
  --kubelet-client-key $pki/apiserver-kubelet.key --kubelet-preferred-address-types InternalIP \
  --service-account-issuer https://kubernetes.default.svc.cluster.local \
  --service-account-key-file $pki/accounts.pub --service-account-signing-key-file $pki/accounts.key \
  --requestheader-client-ca-file $pki/front-ca.crt --requestheader-allowed-names front-proxy-client \
  --requestheader-username-headers X-Remote-User --requestheader-group-headers X-Remote-Group \
  --requestheader-extra-headers-prefix X-Remote-Extra- --proxy-client-cert-file $pki/front-proxy.crt \
  --proxy-client-key-file $pki/front-proxy.key
await "$limit" "the API answers" kubectl get --raw /livez
# shellcheck disable=SC2046 # several words
program kube-controller-manager $(as kube-controller-manager) --root-ca-file $pki/ca.crt --cluster-signing-cert-file $pki/ca.crt \
  --cluster-signing-key-file $pki/ca.key --service-account-private-key-file $pki/accounts.key --use-service-account-credentials
# shellcheck disable=SC2046
program kube-scheduler $(as kube-scheduler)
await "$limit" "containerd answers" ctr version
program kubelet --config "$here/etc/kubelet.yaml" --kubeconfig $pki/kubelet.kubeconfig --hostname-override node --node-ip "$address" \
  --cgroup-root "/$CLUSTER_CGROUP"
program kube-proxy --config "$here/etc/kube-proxy.yaml"
# netpol's own rules need a kernel with nftables' queue expression; where it is missing (the log says so) this rule does the
# same. Packets that no program reads from the queue are lost, so the rule comes with the program.
program netpol --kubeconfig $pki/admin.kubeconfig --node node
iptables -t mangle -A POSTROUTING -m conntrack --ctstate NEW -m addrtype ! --src-type LOCAL -j NFQUEUE --queue-num 100

await "$limit" "the node is ready" kubectl wait --for=condition=Ready node/node --timeout=1s
for name in pause coredns; do
  "$here/image.sh" "localhost/$name:1" "$CLUSTER_BIN/$name" | ctr -n k8s.io images import - >/dev/null
done
kubectl apply -f "$here/etc/coredns.yaml" -f "$here/etc/volumes.yaml" >/dev/null
await "$limit" "names are resolved" kubectl -n kube-system rollout status deployment/coredns --timeout=1s
echo "cluster: ready after $SECONDS s" >&2

"$@" <&0 &
wait $!
