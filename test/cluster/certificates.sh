#!/usr/bin/env bash
# Makes the keys and certificates of the cluster, and a kubeconfig per program.
# certificates.sh FOLDER NODE-IP SERVICE-IP
set -euo pipefail
cd "$1"; node_ip=$2 service_ip=$3

# ca NAME
ca() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
    -subj "/CN=$1" -keyout "$1.key" -out "$1.crt" 2>/dev/null
}
# issue NAME SUBJECT [SUBJECT-ALTERNATIVE-NAMES], signed by $ca
issue() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "$2" -keyout "$1.key" -out "$1.csr" 2>/dev/null
  { echo "extendedKeyUsage=clientAuth,serverAuth"; [ $# -lt 3 ] || echo "subjectAltName=$3"; } >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA "$ca.crt" -CAkey "$ca.key" -CAcreateserial -days 30 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
  rm "$1.csr" "$1.ext"
}
# kubeconfig NAME SERVER
kubeconfig() {
  cat >"$1.kubeconfig" <<END
apiVersion: v1
kind: Config
clusters: [{name: caravan, cluster: {server: "$2", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}}]
contexts: [{name: caravan, context: {cluster: caravan, user: $1}}]
current-context: caravan
END
}

ca front-ca # of the proxy to aggregated APIs, which may speak for anybody: not the CA of clients
ca=front-ca issue front-proxy /CN=front-proxy-client
ca ca
ca=ca
issue apiserver /CN=kube-apiserver "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:$service_ip,IP:$node_ip,IP:127.0.0.1"
issue admin /O=system:masters/CN=admin
issue apiserver-kubelet /O=system:masters/CN=kube-apiserver-kubelet-client
issue kube-controller-manager /CN=system:kube-controller-manager
issue kube-scheduler /CN=system:kube-scheduler
issue kube-proxy /CN=system:kube-proxy
issue kubelet /O=system:nodes/CN=system:node:node "DNS:node,IP:$node_ip"
openssl ecparam -name prime256v1 -genkey -noout -out accounts.key
openssl ec -in accounts.key -pubout -out accounts.pub 2>/dev/null
for name in admin kube-controller-manager kube-scheduler kube-proxy kubelet; do
  kubeconfig "$name" "https://$node_ip:6443"
done
