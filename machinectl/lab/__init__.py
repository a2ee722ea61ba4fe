"""Real systemd hosts on one Linux machine, by systemd-nspawn: for newcomers, and for the project's own tests.

    state folder (/var/lib/machinectl-lab)       cache folder (/var/cache/machinectl-lab)
      lab.json  key  known_hosts                   images/SUITE/     a base system, made once
      hosts/NAME/{root,upper,work,docker,…}

    machine ── bridge (198.18.0.1/24) ──┬── node1 198.18.0.11   overlay mount of images/SUITE, own systemd,
                     │ NAT              └── node2 198.18.0.12   own cgroup, own network namespace, own sshd
                   uplink

Every host has a keeper (keeper.sh): a background process that starts systemd-nspawn, again when the host
reboots. Nothing else runs; all that the lab needs to know is in lab.json and in the kernel.
"""
