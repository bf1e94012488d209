#!/usr/bin/env bash
# Prints an image for "ctr images import", made without an engine:   image.sh NAME:TAG[,NAME:TAG ...] SOURCE CONFIG
# SOURCE is a folder, which becomes the only layer, or a static program, which runs as nobody then.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
source=$2 config=${3:-} owner=()
if [ -f "$source" ]; then
  config='{"User": "65532:65532", "Entrypoint": ["/'$(basename "$source")'"]}'
  mkdir "$folder/root"
  cp "$source" "$folder/root"
  source=$folder/root
  owner=(--owner 0 --group 0)
fi
tar -C "$source" "${owner[@]}" --numeric-owner --sort name -cf "$folder/layer.tar" .
layer=$(sha256sum "$folder/layer.tar" | cut -d' ' -f1)
cat >"$folder/config.json" <<JSON
{"architecture": "$(dpkg --print-architecture)", "os": "linux", "config": $config,
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$layer"]}}
JSON
echo "[{\"Config\": \"config.json\", \"RepoTags\": [\"${1//,/\", \"}\"], \"Layers\": [\"layer.tar\"]}]" >"$folder/manifest.json"
tar -C "$folder" -cf - manifest.json config.json layer.tar
