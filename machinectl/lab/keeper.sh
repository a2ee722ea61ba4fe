#!/bin/sh
# Keeps one host: enters a cgroup of its own, starts systemd-nspawn, and starts it again when the host reboots.
#   keeper.sh CGROUP NSPAWN-ARGUMENTS…
# nspawn calls its own cgroup `supervisor` and the host's `payload`: two hosts in one cgroup would collide.
cgroup=$1
shift
while read -r _ hierarchy type _; do
  # one cgroup2 mount on newer systems, several of type cgroup beside it on hybrid ones
  case $type:$hierarchy in cgroup:/sys/fs/cgroup/* | cgroup2:/sys/fs/cgroup*) ;; *) continue ;; esac
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
done < /proc/mounts
while :; do
  systemd-nspawn "$@"
  # 133 is nspawn's way to say: the host asked for a reboot (systemd-nspawn(1), --keep-unit)
  [ $? -eq 133 ] || exit
done
