#!/usr/bin/env bash
# Builds Dapr's operator, sentry and injector as one image, and renders Dapr's Helm chart:   build.sh FOLDER
# Both are those of the release in controlplane/go.mod. FOLDER gets dapr.tar, crds.yaml and dapr.yaml.
set -euo pipefail
out=$(realpath -m "$1")
cd "$(dirname "$0")"
root=$(mktemp -d)
trap 'rm -r "$root"' EXIT
(cd controlplane && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$root/controlplane" .)
tags=()
for name in operator sentry injector; do
  ln -s controlplane "$root/$name"
  tags+=("localhost/dapr/$name:local")
done
chmod 755 "$root"
(IFS=,; ../image.sh "${tags[*]}" "$root" '{"User": "65532:65532"}' >"$out/dapr.tar")
chart=$(cd controlplane && go list -m -f '{{.Dir}}' github.com/dapr/dapr)/charts/dapr
for crd in "$chart"/crds/*.yaml; do
  echo ---
  cat "$crd"
done >"$out/crds.yaml"
# What Caravan does not use is left out. A pod in a "restricted" namespace may have no capabilities.
(cd render && go run . "$chart" dapr-system global.actors.enabled=false global.scheduler.enabled=false global.registry=localhost/dapr \
  global.tag=local dapr_sidecar_injector.sidecarDropALLCapabilities=true) >"$out/dapr.yaml"
