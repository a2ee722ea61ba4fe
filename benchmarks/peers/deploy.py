"""The role that `machinectl apply` plays, as people write it for pyinfra."""

from io import StringIO

from pyinfra import host
from pyinfra.operations import apt, files, systemd

certificates, mirror = host.data.certificates, host.data.mirror

files.put(src=StringIO("overlay\nbr_netfilter\n"), dest="/etc/modules-load.d/role.conf")
files.put(
    src=StringIO("net.ipv4.ip_forward = 1\nnet.bridge.bridge-nf-call-iptables = 1\n"),
    dest="/etc/sysctl.d/99-role.conf",
)
apt.packages(packages=["docker.io"], no_recommends=True, update=True, cache_time=86400)
files.directory(path="/etc/docker", mode="755")
changed = [
    files.put(src=f"{certificates}/{name}", dest=f"/etc/docker/{name}", mode="600")
    for name in ("ca.pem", "server.pem", "server-key.pem")
]
changed.append(
    files.put(
        src=StringIO(
            "[Service]\nExecStart=\n"
            "ExecStart=/usr/sbin/dockerd --containerd=/run/containerd/containerd.sock\nRestart=always\n"
        ),
        dest="/etc/systemd/system/docker.service.d/90-role.conf",
    )
)
configured = files.template(src="daemon.json.j2", dest="/etc/docker/daemon.json", mode="644", mirror=mirror)
systemd.service(service="docker", running=True, enabled=True)
systemd.service(
    service="docker", restarted=True, daemon_reload=True, _if=lambda: any(one.did_change() for one in changed)
)
systemd.service(service="docker", reloaded=True, _if=configured.did_change)
files.template(src="motd.j2", dest="/etc/motd", inventory_hostname=host.name)
