#!/bin/sh
# Keeps one host: enters a cgroup of its own, starts systemd-nspawn, and starts it again when the host reboots.
#   keeper.sh CGROUP NSPAWN-ARGUMENTS…
# nspawn calls its own cgroup `supervisor` and the host's `payload`: two hosts in one cgroup would collide.
cgroup=$1
shift
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/*; do
  [ -e "$hierarchy/cgroup.procs" ] || continue
  # children of the unified root are that, not hierarchies
  [ "$hierarchy" = /sys/fs/cgroup ] || [ ! -e /sys/fs/cgroup/cgroup.procs ] || continue
  mkdir -p "$hierarchy/$cgroup" || continue
  if [ -e "$hierarchy/cpuset.cpus" ] && [ -e "$hierarchy/$cgroup/cpuset.mems" ]; then
    # a new cpuset is empty, from the top down, and takes no process until it is filled (v1)
    path=$hierarchy
    for part in $(echo "$cgroup" | tr / ' '); do
      cat "$path/cpuset.cpus" > "$path/$part/cpuset.cpus"
      cat "$path/cpuset.mems" > "$path/$part/cpuset.mems"
      path=$path/$part
    done
  fi
  echo $$ > "$hierarchy/$cgroup/cgroup.procs"
done
while :; do
  systemd-nspawn "$@"
  # 133 is nspawn's way to say: the host asked for a reboot (systemd-nspawn(1), --keep-unit)
  [ $? -eq 133 ] || exit
done
