#!/usr/bin/env bash
# docs/apply.md's session on the two hosts of `machinectl lab up --machines 2`, run for real. Shows each command and what
# it prints. Needs what first-session.sh needs; leaves the lab running.
set -euo pipefail

if machinectl --version 2>/dev/null | grep -q systemd; then
  echo "the machinectl in PATH is systemd's; put ours first" >&2
  exit 1
fi

node1=${NODE1:-198.18.0.11}
node2=${NODE2:-198.18.0.12}
lab=${MACHINECTL_LAB_DIR:-/var/lib/machinectl-lab}
examples=$(cd "$(dirname "$0")/../inventories" && pwd)

folder=$(mktemp -d "${TMPDIR:-/tmp}/machinectl-inventory.XXXXXX")
cd "$folder"
export MACHINECTL_STORAGE_PATH=$folder/store
unset MACHINE_STORAGE_PATH MACHINECTL_INVENTORY DOCKER_HOST DOCKER_TLS_VERIFY DOCKER_CERT_PATH DOCKER_CONTEXT

show() {
  printf '\n$ %s\n' "$1"
  eval "$1"
}

machinectl lab up --machines 2 >/dev/null
cp -r "$examples/lab" inventory
sed -i "s|198.18.0.11|$node1|; s|198.18.0.12|$node2|; s|/var/lib/machinectl-lab|$lab|" inventory/hosts.yml
git -C inventory init -q -b main
git -C inventory config user.name "$(id -un)"
git -C inventory config user.email "$(id -un)@localhost"
git -C inventory add -A
git -C inventory commit -q -m "two hosts"

show "machinectl inventory graph"
show "machinectl plan"
show "machinectl -q apply --yes"
show "machinectl ls"
show "sed -i 's/mirror.lab:5000/mirror.lab:5001/' inventory/group_vars/all.yml"
show "git -C inventory commit -q -a -m 'the mirror has moved'"
show "machinectl plan --diff"
show "machinectl -q apply --yes"
show "machinectl plan --exit-code"
show "git -C inventory revert --no-edit HEAD"
show "machinectl -q apply --yes"
show "machinectl ssh node1 -- docker info -f '\"{{.RegistryConfig.Mirrors}}\"'"
