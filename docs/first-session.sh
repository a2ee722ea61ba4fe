#!/usr/bin/env bash
# The README's first session on two lab hosts, run for real: `make demo`. Shows each command and what it prints.
# Needs root, the lab's tools, a docker client. Leaves the lab running; `machinectl lab down` removes it.
set -euo pipefail

if machinectl --version 2>/dev/null | grep -q systemd; then
  echo "the machinectl in PATH is systemd's; run \`make demo\`, or put ours first" >&2
  exit 1
fi

node1=${NODE1:-198.18.0.11}
node2=${NODE2:-198.18.0.12}
lab=${MACHINECTL_LAB_DIR:-/var/lib/machinectl-lab}

# a store of its own: the demo touches nobody's machines
MACHINECTL_STORAGE_PATH=$(mktemp -d "${TMPDIR:-/tmp}/machinectl-demo.XXXXXX")
export MACHINECTL_STORAGE_PATH
# docker-machine's and docker's own settings of the caller would get in the way
unset MACHINE_STORAGE_PATH DOCKER_HOST DOCKER_TLS_VERIFY DOCKER_CERT_PATH DOCKER_CONTEXT DOCKER_MACHINE_NAME

show() {
  printf '\n$ %s\n' "$1"
  eval "$1"
}

show "machinectl lab up --machines 2"
show "machinectl create --ip $node1 --ssh-key $lab/key node1"
show "machinectl create --ip $node2 --ssh-key $lab/key node2"
show "machinectl ls"

# without the Internet there is no image to pull: one is made from Debian's busybox
show 'eval $(machinectl env node1) && machinectl lab busybox | docker import - busybox:latest'
show 'eval $(machinectl env node2) && machinectl lab busybox | docker import - busybox:latest'

show 'eval $(machinectl env node1) && docker run --rm busybox echo hello'
show 'eval $(machinectl env node1) && docker run -d --name one --restart always busybox sleep infinity'
show 'eval $(machinectl env node2) && docker run -d --name two --restart always busybox sleep infinity'
show "machinectl ssh node1 -- docker ps"
show "machinectl ssh node2 -- docker ps"
show "machinectl create --ip $node1 --ssh-key $lab/key node1"

cat <<EOF

Two bare Debian hosts run Docker now, and a container each. To go on:
  export MACHINECTL_STORAGE_PATH=$MACHINECTL_STORAGE_PATH
  eval \$(machinectl env node1)
  docker info
To remove it all: machinectl lab down
EOF
