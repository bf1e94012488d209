#!/bin/bash
# Makes stand-ins for the public images of compose/ from Debian's packages, for a machine that cannot download
# the official ones: caravan-standin/rabbitmq, caravan-standin/postgres and caravan-standin/redis. They take the
# settings that compose/ uses and no others. Needs root, debootstrap and a Docker engine.
#
#   test/compose/standins.sh [FOLDER]
#
# FOLDER keeps the Debian system that the images are made of (default: a temporary one). Images that this version of the
# script has made are left as they are.
# Use them by naming them: RABBITMQ_IMAGE, POSTGRES_IMAGE and REDIS_IMAGE in the environment of docker compose.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
for needed in debootstrap docker; do
  command -v "$needed" >/dev/null || { echo "standins: $needed is not installed" >&2; exit 1; }
done

version=$(cat "$here"/standin*.sh | sha256sum | cut -c1-16)
made() { [ "$(docker image inspect -f '{{index .Config.Labels "caravan.standin"}}' "caravan-standin/$1" 2>/dev/null)" = "$version" ]; }
if made rabbitmq && made postgres && made redis; then
  echo "caravan-standin/rabbitmq, postgres and redis are there"
  exit
fi

root=${1:-}
if [ -z "$root" ]; then
  root=$(mktemp -d)
  trap 'rm -rf "$root"' EXIT
fi
mkdir -p "$root"
if [ "$(cat "$root/installed" 2>/dev/null)" != "$version" ]; then
  rm -rf "$root/debian" # what an earlier run did not finish
  debootstrap --variant=minbase bookworm "$root/debian" >"$root/debootstrap.log" || { tail -5 "$root/debootstrap.log" >&2; exit 1; }
  # Without a sync after each file, and without what nobody reads in a container.
  printf 'force-unsafe-io\npath-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\npath-exclude=/usr/share/locale/*\n' \
    >"$root/debian/etc/dpkg/dpkg.cfg.d/standins"
  # No server starts while its package is installed.
  printf '#!/bin/sh\nexit 101\n' >"$root/debian/usr/sbin/policy-rc.d"
  chmod 755 "$root/debian/usr/sbin/policy-rc.d"
  DEBIAN_FRONTEND=noninteractive chroot "$root/debian" apt-get install -y -q --no-install-recommends \
    rabbitmq-server postgresql-15 redis-server >"$root/apt.log" 2>&1 || { tail -5 "$root/apt.log" >&2; exit 1; }
  cd "$root/debian"
  rm -rf var/lib/apt/lists/* var/cache/apt/* var/log/* var/lib/postgresql/15 etc/postgresql etc/rabbitmq/* \
    var/lib/rabbitmq/* var/lib/rabbitmq/.erlang.cookie var/lib/redis/*
  mkdir -p data etc/rabbitmq/conf.d var/lib/postgresql/data var/log/rabbitmq
  echo '[].' >etc/rabbitmq/enabled_plugins
  for program in initdb pg_ctl postgres; do ln -sf "/usr/lib/postgresql/15/bin/$program" usr/local/bin/; done
  # Debian's start scripts insist on root, and stay in front of the server, so that signals would not reach it.
  for program in rabbitmq-server rabbitmq-diagnostics rabbitmqctl; do
    printf '#!/bin/sh\nexec /usr/lib/rabbitmq/bin/%s "$@"\n' "$program" >"usr/local/bin/$program"
    chmod 755 "usr/local/bin/$program"
  done
  sed -i '2i export RABBITMQ_ALLOW_INPUT=true RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-noinput $RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"' \
    usr/local/bin/rabbitmq-server
  # As in the official images: a tmpfs over them takes their mode.
  mkdir -p run/postgresql
  chmod 1777 run/postgresql var/log/rabbitmq
  chroot . chown rabbitmq:rabbitmq /var/lib/rabbitmq /var/log/rabbitmq /etc/rabbitmq
  chroot . chown postgres:postgres /var/lib/postgresql/data
  chroot . chown redis:redis /data
  echo "$version" >"$root/installed"
fi
install -m 755 "$here/standin-postgres.sh" "$root/debian/usr/local/bin/postgres-entrypoint"

# One layer, three images. A container that never runs is made into each, as a builder would do it.
tar -C "$root/debian" -c --numeric-owner . | docker import - caravan-standin/debian >/dev/null
image() {
  name=$1; shift
  changes=()
  for change in "LABEL caravan.standin=$version" 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' "$@"; do
    changes+=(--change "$change")
  done
  container=$(docker create caravan-standin/debian true)
  docker commit "${changes[@]}" "$container" "caravan-standin/$name" >/dev/null
  docker rm "$container" >/dev/null
  echo "caravan-standin/$name"
}
image rabbitmq 'ENV HOME=/var/lib/rabbitmq' 'ENV RABBITMQ_LOGS=-' 'ENV LANG=C.UTF-8' 'VOLUME /var/lib/rabbitmq' 'CMD ["rabbitmq-server"]'
image postgres 'ENV PGDATA=/var/lib/postgresql/data' 'VOLUME /var/lib/postgresql/data' 'ENTRYPOINT ["postgres-entrypoint"]' 'CMD ["postgres"]'
image redis 'VOLUME /data' 'WORKDIR /data' 'CMD ["redis-server"]'
