#!/usr/bin/env bash
# Prints an image that stands in for the official ones of RabbitMQ and PostgreSQL where they cannot be downloaded: the
# servers that are installed on this machine, with the libraries they need.   servers.sh NAME:TAG[,NAME:TAG ...]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(mktemp -d)
trap 'rm -r "$root"' EXIT
chmod 755 "$root"
postgres=$(compgen -G '/usr/lib/postgresql/*' | sort -V | tail -1)

mkdir -p "$root"/{usr/bin,usr/sbin,usr/lib,usr/lib64,etc/rabbitmq/conf.d,etc/postgresql,proc,sys,dev}
mkdir -p -m 1777 "$root"/{tmp,run,run/postgresql,var/log/rabbitmq,var/lib/rabbitmq,var/lib/postgresql/data}
for link in bin sbin lib lib64; do ln -s "usr/$link" "$root/$link"; done
copied=(/usr/lib/erlang /usr/lib/rabbitmq "$postgres" /usr/share/postgresql /usr/lib/locale/C.utf8)
for tool in bash sh env sed grep awk cat cut cp rm mv ls ln id mkdir mktemp chmod basename dirname readlink hostname sleep date uname tr head tail wc expr stat touch df; do
  copied+=("$(command -v "$tool")")
done
tar -C / -cf - --exclude '*/bitcode' --exclude '*llvmjit*' --exclude '*/man' "${copied[@]#/}" $(readlink -f /usr/bin/awk /usr/bin/sh | sed 's#^/##') | tar -C "$root" -xf - --keep-directory-symlink
# What they are linked with, as the loader finds it, and the loader.
find "$root/usr" -type f \( -perm /111 -o -name '*.so*' \) -exec sh -c 'ldd "$@" 2>/dev/null; true' - {} + |
  sed -n 's#.*=> \(/[^ ]*\) .*#\1#p; s#^[[:space:]]*\(/[^ ]*ld-[^ ]*\) .*#\1#p' | sort -u |
  while read -r library; do mkdir -p "$root$(dirname "$library")"; cp -L "$library" "$root$library"; done
ln -sf ../lib/erlang/bin/erl "$root/usr/bin/erl"

echo '[].' >"$root/etc/rabbitmq/enabled_plugins"
# Of the official images: 999 is rabbitmq in the one and postgres in the other.
printf 'root:x:0:0::/root:/bin/sh\npostgres:x:999:999::/var/lib/postgresql:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\npostgres:x:999:\n' >"$root/etc/group"
install -m 755 "$here/../compose/standin-postgres.sh" "$root/usr/bin/postgres-entrypoint"
cat >"$root/usr/bin/servers-entrypoint" <<'SH'
#!/bin/sh
# The settings say which of the two this is.
[ -z "${POSTGRES_USER:-}" ] || exec postgres-entrypoint postgres "$@"
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-noinput ${RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS:-}"
exec rabbitmq-server "$@"
SH
chmod 755 "$root/usr/bin/servers-entrypoint"
"$here/image.sh" "$1" "$root" '{"Entrypoint": ["servers-entrypoint"], "Env": [
  "PATH=/usr/lib/rabbitmq/bin:'"$postgres"'/bin:/usr/bin", "LANG=C.UTF-8", "HOME=/var/lib/rabbitmq", "PGDATA=/var/lib/postgresql/data",
  "RABBITMQ_LOGS=-", "RABBITMQ_ALLOW_INPUT=true"]}'
